/* SPDX-License-Identifier: MIT */
/*
 * kv_bench.h - the driver of the workloads about objects found by name or key
 *
 * A peer's file defines the following and then includes this one. Keys end with NUL.
 *
 *   struct kv; struct kv_reader;       a store; a view or read transaction of one thread
 *   struct kv *kv_open(const char *dir, const char *variant, int create, uint64_t count,
 *                      size_t value_bytes);     create: a fresh store for count records
 *   void kv_close(struct kv *kv);
 *   void kv_write_begin(struct kv *kv), kv_write_commit(struct kv *kv);
 *   int kv_put(struct kv *, const char *key, size_t key_bytes, const void *value, size_t bytes);
 *   int kv_update(... the same);       of an existing record, in the transaction. 0 = done
 *   int kv_delete(struct kv *kv, const char *key, size_t key_bytes);
 *   struct kv_reader *kv_read_begin(struct kv *kv); void kv_read_end(struct kv_reader *reader);
 *   const void *kv_get(struct kv_reader *reader, const char *key, size_t key_bytes);
 *   void kv_flush(struct kv *kv);      what was committed is on the disk when it returns
 *   uint64_t kv_bytes(struct kv *kv, const char *dir);   of the file, in use; 0 = it is in RAM
 *   KV_DATA_DEVICE_BYTES               a macro, where the log and the data are files apart: what the
 *                                      device wrote so far while the data were synced
 *   KV_EXPECT, and void kv_expect(struct kv *, const char *key), kv_read_expect(struct kv_reader *,
 *   const char *key);                where it can be told, KV_EXPECT names before, which ones come
 * and, if it can walk over names that begin alike, KV_SCAN and
 *   uint64_t kv_scan(struct kv_reader *reader, const char *prefix, uint64_t *sum);   their number;
 *                                      adds the first 8 bytes of each name to *sum
 *
 * Usage: DRIVER DIR VARIANT names N | commit UPDATES SECONDS [raw] | load N sorted|random |
 *                           read N THREADS PROCESSES | scan N sorted|random |
 *                           view | open N | copy N SECONDS | compact N
 *
 *   names   names "obj/%08u", shuffled, 64-byte values: insert all in a transaction (its commit is
 *           in the figure, and told apart too), find, find missing ones, destroy in another order
 *   commit  100,000 records of 100 bytes; transactions of UPDATES random updates: p50, p99 and the
 *           bytes the device wrote meanwhile, for everybody on it; what a sync after them all writes
 *           counts, as data. With `raw` by turns, in slices of 50 ms, with appending 128 bytes for
 *           each update to a file and fdatasync: the median of the ratios of two slices' medians
 *   load    keys of 16 bytes, values of 100: from creating the store until all is on the disk;
 *           beside it the raw write and sync of as many bytes as the store then has in use, and the
 *           most private memory that the load took (what is mapped from the file doesn't count)
 *   read    as load; then one thread, two, ... (each with a view of its own), then one process, two,
 *           ... read a million random records each, within one view: ns a read, the mean over them
 *   scan    names as in `names`, inserted in their order or shuffled; walks over them all by their
 *           prefix: ns a name, and names in GB/s
 *   view    beginning and ending a view
 *   open    opening, reading one record and closing, by a process that has it for itself
 *   copy, compact   see kv_copy.h; for peers that define what it asks for
 *
 * A value's first 8 bytes are its number, and every read checks it.
 */
#ifndef HF_BENCH_KV_BENCH_H
#define HF_BENCH_KV_BENCH_H

#include "bench.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#ifdef KV_DATA_DEVICE_BYTES
enum { KV_HAS_LOG = 1 };
#else
enum { KV_HAS_LOG = 0 };
#define KV_DATA_DEVICE_BYTES UINT64_C(0)
#endif

#ifndef KV_EXPECT
enum { KV_EXPECT = 0 };
#define kv_expect(kv, key)          ((void)0)
#define kv_read_expect(reader, key) ((void)0)
#endif

enum { KEY_STRIDE = 24, VALUE_BYTES_MAX = 100, NAME_BYTES = 12, KEY_BYTES = 16 };

static const char name_format[] = "obj/%08u"; /* NAME_BYTES */
static const char key_format[] = "%016u";     /* KEY_BYTES */

/* count keys of the numbers[i] * factor + add, KEY_STRIDE apart; the caller frees them. */
static char *make_keys(const char *format, const uint32_t *numbers, uint64_t count, uint32_t factor,
                       uint32_t add)
{
    char *keys = (char *)must_alloc(count * KEY_STRIDE);
    for (uint64_t i = 0; i < count; i++)
        snprintf(keys + i * KEY_STRIDE, KEY_STRIDE, format, numbers[i] * factor + add);
    return keys;
}

static inline void set_value(char *value, size_t bytes, uint64_t id)
{
    memset(value, (int)(id & 127), bytes);
    memcpy(value, &id, sizeof id);
}

static inline uint64_t id_of(const void *value)
{
    uint64_t id;
    must(value != NULL, "a record is missing");
    memcpy(&id, value, sizeof id);
    return id;
}

static uint32_t *random_numbers(uint64_t count, uint64_t below, uint64_t seed)
{
    uint32_t *numbers = (uint32_t *)must_alloc(count * sizeof *numbers);
    for (uint64_t i = 0; i < count; i++)
        numbers[i] = (uint32_t)random_below(&seed, below);
    return numbers;
}

/* ---- names ---------------------------------------------------------------------------------- */

struct names {
    uint64_t count, finds;
    uint32_t *inserted, *wanted, *destroyed;
    char *insert_keys, *find_keys, *missing_keys, *destroy_keys;
};

static struct names make_names(uint64_t n)
{
    struct names names;
    names.count = n;
    names.finds = n < 200000 ? 200000 : n;
    names.inserted = shuffled(n, 7);
    names.wanted = random_numbers(names.finds, n, 99);
    names.destroyed = shuffled(n, 8);
    names.insert_keys = make_keys(name_format, names.inserted, n, 2, 0);
    names.find_keys = make_keys(name_format, names.wanted, names.finds, 2, 0);
    names.missing_keys = make_keys(name_format, names.wanted, names.finds, 2, 1);
    names.destroy_keys = make_keys(name_format, names.destroyed, n, 2, 0);
    return names;
}

static void insert_all(struct kv *kv, const struct names *names, uint64_t *total, uint64_t *commit)
{
    char value[64];
    uint64_t start = now_ns();
    kv_write_begin(kv);
    for (uint64_t i = 0; i < names->count; i++) {
        if (i + KV_EXPECT < names->count)
            kv_expect(kv, names->insert_keys + (i + KV_EXPECT) * KEY_STRIDE);
        set_value(value, sizeof value, names->inserted[i]);
        must(kv_put(kv, names->insert_keys + i * KEY_STRIDE, NAME_BYTES, value, sizeof value) == 0,
             "insert");
    }
    uint64_t middle = now_ns();
    kv_write_commit(kv);
    *total += now_ns() - start;
    *commit += now_ns() - middle;
}

static void destroy_all(struct kv *kv, const struct names *names, uint64_t *total, uint64_t *commit)
{
    uint64_t start = now_ns();
    kv_write_begin(kv);
    for (uint64_t i = 0; i < names->count; i++) {
        if (i + KV_EXPECT < names->count)
            kv_expect(kv, names->destroy_keys + (i + KV_EXPECT) * KEY_STRIDE);
        must(kv_delete(kv, names->destroy_keys + i * KEY_STRIDE, NAME_BYTES) == 0, "destroy");
    }
    uint64_t middle = now_ns();
    kv_write_commit(kv);
    *total += now_ns() - start;
    *commit += now_ns() - middle;
}

static void find_all(struct kv *kv, const struct names *names)
{
    const double count = (double)names->finds;
    struct kv_reader *reader = kv_read_begin(kv);
    for (uint64_t i = 0; i < names->finds / 4; i++)
        must(kv_get(reader, names->find_keys + i * KEY_STRIDE, NAME_BYTES) != NULL, "find");
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < names->finds; i++) {
        if (i + KV_EXPECT < names->finds)
            kv_read_expect(reader, names->find_keys + (i + KV_EXPECT) * KEY_STRIDE);
        must(id_of(kv_get(reader, names->find_keys + i * KEY_STRIDE, NAME_BYTES)) ==
                 names->wanted[i],
             "a wrong record was found");
    }
    uint64_t middle = now_ns();
    for (uint64_t i = 0; i < names->finds; i++) {
        if (i + KV_EXPECT < names->finds)
            kv_read_expect(reader, names->missing_keys + (i + KV_EXPECT) * KEY_STRIDE);
        must(kv_get(reader, names->missing_keys + i * KEY_STRIDE, NAME_BYTES) == NULL,
             "a missing record was found");
    }
    result("find", names->count, (double)(middle - start) / count, "ns");
    result("missing", names->count, (double)(now_ns() - middle) / count, "ns");
    kv_read_end(reader);
}

static void measure_names(const char *dir, const char *variant, uint64_t n)
{
    struct names all = make_names(n);
    const uint64_t rounds = n < 100000 ? 100000 / n : 1; /* so that small stores can be timed */
    const double count = (double)(n * rounds);
    uint64_t insert = 0, insert_commit = 0, destroy = 0, destroy_commit = 0;
    struct kv *kv = kv_open(dir, variant, 1, n, 64);
    for (uint64_t round = 0; round < rounds; round++) {
        insert_all(kv, &all, &insert, &insert_commit);
        if (round == rounds - 1) {
            kv_flush(kv); /* what was lazy shows */
            find_all(kv, &all);
        }
        destroy_all(kv, &all, &destroy, &destroy_commit);
    }
    result("insert", n, (double)insert / count, "ns");
    result("insert.commit_share", n, (double)insert_commit / count, "ns");
    result("destroy", n, (double)destroy / count, "ns");
    result("destroy.commit_share", n, (double)destroy_commit / count, "ns");
    kv_close(kv);
}

/* ---- loading and committing ----------------------------------------------------------------- */

/* What a load is made of, made beforehand: the order, and the keys in it. */
struct records {
    uint64_t count;
    uint32_t *order;
    char *keys;
};

static struct records make_records(uint64_t n, int sorted)
{
    struct records records;
    records.count = n;
    records.order = sorted ? (uint32_t *)must_alloc(n * sizeof *records.order) : shuffled(n, 11);
    for (uint64_t i = 0; sorted && i < n; i++)
        records.order[i] = (uint32_t)i;
    records.keys = make_keys(key_format, records.order, n, 1, 0);
    return records;
}

static void drop_records(struct records *records)
{
    free(records->order);
    free(records->keys);
}

static void load_records(struct kv *kv, const struct records *records)
{
    char value[VALUE_BYTES_MAX];
    kv_write_begin(kv);
    for (uint64_t i = 0; i < records->count; i++) {
        if (i + KV_EXPECT < records->count)
            kv_expect(kv, records->keys + (i + KV_EXPECT) * KEY_STRIDE);
        set_value(value, sizeof value, records->order[i]);
        must(kv_put(kv, records->keys + i * KEY_STRIDE, KEY_BYTES, value, sizeof value) == 0,
             "load");
    }
    kv_write_commit(kv);
}

/* A store with n records in random order, for what is measured next; what was lazy shows. */
static void load_some(struct kv *kv, uint64_t n)
{
    struct records records = make_records(n, 0);
    load_records(kv, &records);
    kv_flush(kv);
    drop_records(&records);
}

static void load(const char *dir, const char *variant, uint64_t n, int sorted)
{
    char metric[64];
    const char *order = sorted ? "sorted" : "random";
    struct records records = make_records(n, sorted);
    struct memory_watch watch;
    sync();
    memory_watch_begin(&watch);
    uint64_t start = now_ns();
    struct kv *kv = kv_open(dir, variant, 1, n, VALUE_BYTES_MAX);
    load_records(kv, &records);
    kv_flush(kv);
    double seconds = (double)(now_ns() - start) / 1e9;
    uint64_t memory = memory_watch_end(&watch);
    snprintf(metric, sizeof metric, "load.%s", order);
    result(metric, n, seconds, "s");
    snprintf(metric, sizeof metric, "load.%s.memory", order);
    result(metric, n, (double)memory / 1e6, "MB");
    uint64_t size = kv_bytes(kv, dir);
    kv_close(kv);
    drop_records(&records);
    if (size == 0)
        return;
    double raw = raw_write_seconds(dir, size);
    snprintf(metric, sizeof metric, "load.%s.bytes", order);
    result(metric, n, (double)size / 1e6, "MB");
    snprintf(metric, sizeof metric, "load.%s.raw_same_bytes", order);
    result(metric, n, raw, "s");
    snprintf(metric, sizeof metric, "load.%s.over_raw", order); /* to be held against 0.2 */
    result(metric, n, (seconds - raw) * 1e6 / (double)n, "s/1M");
}

enum { COMMITS_MAX = 1000000, SLICES_MAX = 4096, RAW_UPDATE_BYTES = 128, RAW_BYTES = 1 << 26 };

struct latencies {
    double *us;
    size_t count;
};

static const double slice_ns = 50e6;

/* Commits for as long as a slice; returns the median. */
static double commit_slice(struct kv *kv, const struct records *records, uint64_t updates,
                           uint64_t *seed, struct latencies *all)
{
    char value[VALUE_BYTES_MAX];
    const size_t first = all->count;
    uint64_t begin = now_ns(), last = begin;
    while (all->count < COMMITS_MAX && (double)(last - begin) < slice_ns) {
        kv_write_begin(kv);
        for (uint64_t i = 0; i < updates; i++) {
            uint32_t id = (uint32_t)random_below(seed, records->count);
            set_value(value, sizeof value, id);
            value[50] = (char)all->count;
            must(kv_update(kv, records->keys + id * KEY_STRIDE, KEY_BYTES, value, sizeof value) ==
                     0,
                 "update");
        }
        kv_write_commit(kv);
        uint64_t now = now_ns();
        all->us[all->count++] = (double)(now - last) / 1e3;
        last = now;
    }
    return all->count == first ? 0 : percentile(all->us + first, all->count - first, 50);
}

/* The same of the least that is durable: so many bytes for each update appended and synced. */
static double raw_slice(int fd, uint64_t updates, off_t *at)
{
    static double us[COMMITS_MAX];
    static char piece[1 << 20];
    const size_t size = (size_t)updates * RAW_UPDATE_BYTES;
    size_t count = 0;
    must(size <= sizeof piece, "at most 8192 updates");
    uint64_t begin = now_ns(), last = begin;
    while (count < COMMITS_MAX && (double)(last - begin) < slice_ns) {
        memset(piece, (int)count, size);
        if (*at + (off_t)size > RAW_BYTES)
            *at = 0;
        must(pwrite(fd, piece, size, *at) == (ssize_t)size, "pwrite");
        must(fdatasync(fd) == 0, "fdatasync");
        *at += (off_t)size;
        uint64_t now = now_ns();
        us[count++] = (double)(now - last) / 1e3;
        last = now;
    }
    return percentile(us, count, 50);
}

/* A file that was written with zeros by the block and synced, and whose name is gone. */
static int raw_file(const char *dir)
{
    static const char zeros[4096] = "";
    char path[4096];
    snprintf(path, sizeof path, "%s/raw", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(fd >= 0, path);
    for (size_t done = 0; done < RAW_BYTES; done += sizeof zeros)
        must(write(fd, zeros, sizeof zeros) == (ssize_t)sizeof zeros, "write");
    must(fsync(fd) == 0 && unlink(path) == 0, path);
    return fd;
}

static void commit(const char *dir, const char *variant, uint64_t updates, double limit_seconds,
                   int beside_raw)
{
    enum { RECORDS = 100000 };
    static double ratios[SLICES_MAX];
    struct latencies all = {(double *)must_alloc(COMMITS_MAX * sizeof *all.us), 0};
    uint64_t seed = 5;
    size_t slices = 0;
    off_t at = 0;
    struct kv *kv = kv_open(dir, variant, 1, RECORDS, VALUE_BYTES_MAX);
    struct records records = make_records(RECORDS, 1);
    load_records(kv, &records);
    kv_flush(kv);
    const int raw = beside_raw ? raw_file(dir) : -1;
    sync();
    const uint64_t data_before = KV_DATA_DEVICE_BYTES;
    uint64_t written = 0, begin = now_ns();
    while (slices < SLICES_MAX && (double)(now_ns() - begin) < limit_seconds * 1e9) {
        uint64_t before = device_bytes(dir);
        double p50 = commit_slice(kv, &records, updates, &seed, &all);
        written += device_bytes(dir) - before;
        if (beside_raw)
            ratios[slices] = p50 / raw_slice(raw, updates, &at);
        slices++;
    }
    uint64_t before_sync = device_bytes(dir);
    sync(); /* nothing is left unwritten that these commits dirtied */
    uint64_t after_sync = device_bytes(dir) - before_sync;
    written += after_sync;
    uint64_t data = KV_DATA_DEVICE_BYTES - data_before + after_sync;
    const double count = (double)all.count;
    double sum = 0;
    for (size_t i = 0; i < all.count; i++)
        sum += all.us[i];
    result("commit.mean", updates, sum / count, "us");
    result("commit.p50", updates, percentile(all.us, all.count, 50), "us");
    result("commit.p99", updates, percentile(all.us, all.count, 99), "us");
    if (beside_raw)
        result("commit.over_raw", updates, percentile(ratios, slices, 50), "x");
    if (written != 0)
        result("commit.device", updates, (double)written / count / 1e3, "kB");
    if (written != 0 && KV_HAS_LOG) {
        result("commit.log", updates, (double)(written - data) / count / 1e3, "kB");
        result("commit.data", updates, (double)data / count / 1e3, "kB");
    }
    if (beside_raw)
        close(raw);
    kv_close(kv);
    drop_records(&records);
    free(all.us);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Shared by all that read together, also between processes. */
struct together {
    pthread_barrier_t barrier;
    double ns[64];
};

struct reading {
    struct kv *kv;
    struct together *together;
    uint64_t records, reads, number;
};

static void *read_random(void *argument)
{
    const struct reading *reading = (const struct reading *)argument;
    const uint64_t reads = reading->reads;
    uint32_t *wanted = random_numbers(reads, reading->records, 1000 + reading->number);
    char *keys = make_keys(key_format, wanted, reads, 1, 0);
    struct kv_reader *reader = kv_read_begin(reading->kv);
    for (uint64_t i = 0; i < reads; i++)
        must(kv_get(reader, keys + i * KEY_STRIDE, KEY_BYTES) != NULL, "read");
    pthread_barrier_wait(&reading->together->barrier);
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < reads; i++)
        must(id_of(kv_get(reader, keys + i * KEY_STRIDE, KEY_BYTES)) == wanted[i], "wrong record");
    reading->together->ns[reading->number] = (double)(now_ns() - start) / (double)reads;
    kv_read_end(reader);
    free(keys);
    free(wanted);
    return NULL;
}

static void read_with_threads(struct reading *reading, uint64_t count)
{
    pthread_t threads[64];
    for (uint64_t i = 0; i < count; i++) {
        reading[i].number = i;
        must(pthread_create(&threads[i], NULL, read_random, &reading[i]) == 0, "pthread_create");
    }
    for (uint64_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static void read_with_processes(struct reading *reading, uint64_t count, const char *dir,
                                const char *variant)
{
    int status, bad = 0;
    for (uint64_t i = 0; i < count; i++) {
        fflush(stdout);
        pid_t pid = fork();
        must(pid >= 0, "fork");
        if (pid == 0) {
            reading[i].number = i;
            reading[i].kv = kv_open(dir, variant, 0, reading[i].records, VALUE_BYTES_MAX);
            read_random(&reading[i]);
            kv_close(reading[i].kv);
            _exit(0);
        }
    }
    while (wait(&status) > 0)
        bad |= status;
    must(bad == 0, "a reading process failed");
}

static void read_together(struct reading *reading, uint64_t count, int processes, const char *dir,
                          const char *variant)
{
    struct together *together = reading[0].together;
    pthread_barrierattr_t shared;
    char metric[64];
    double mean = 0;
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&together->barrier, &shared, (unsigned)count);
    if (processes)
        read_with_processes(reading, count, dir, variant);
    else
        read_with_threads(reading, count);
    for (uint64_t i = 0; i < count; i++)
        mean += together->ns[i] / (double)count;
    snprintf(metric, sizeof metric, "read.%llu%s", (unsigned long long)count,
             processes ? "processes" : "threads");
    result(metric, reading[0].records, mean, "ns");
}

static void read_many(const char *dir, const char *variant, uint64_t n, uint64_t threads,
                      uint64_t processes)
{
    struct reading reading[64];
    must(threads <= 64 && processes <= 64, "at most 64 readers");
    struct together *together = (struct together *)mmap(
        NULL, sizeof *together, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(together != MAP_FAILED, "mmap");
    struct kv *kv = kv_open(dir, variant, 1, n, VALUE_BYTES_MAX);
    load_some(kv, n);
    for (uint64_t i = 0; i < 64; i++) {
        reading[i].kv = kv;
        reading[i].together = together;
        reading[i].records = n;
        reading[i].reads = n < 1000000 ? 200000 : 1000000;
    }
    for (uint64_t count = 1; count <= threads; count++)
        read_together(reading, count, 0, dir, variant);
    kv_close(kv);
    for (uint64_t count = 1; count <= processes; count++)
        read_together(reading, count, 1, dir, variant);
}

#ifdef KV_SCAN
static void scan(const char *dir, const char *variant, uint64_t n, int sorted)
{
    enum { TIMES = 5 };
    double ns[TIMES];
    char value[64], key[KEY_STRIDE], metric[64];
    uint32_t *order = shuffled(n, 7);
    uint64_t sum = 0, expected = 0;
    struct kv *kv = kv_open(dir, variant, 1, n, sizeof value);
    kv_write_begin(kv);
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t id = sorted ? (uint32_t)i : order[i];
        uint64_t first;
        set_value(value, sizeof value, id);
        snprintf(key, sizeof key, name_format, id);
        memcpy(&first, key, sizeof first);
        expected += first;
        must(kv_put(kv, key, NAME_BYTES, value, sizeof value) == 0, "insert");
    }
    kv_write_commit(kv);
    kv_flush(kv); /* what was lazy shows */
    struct kv_reader *reader = kv_read_begin(kv);
    for (int i = -1; i < TIMES; i++) {
        const uint64_t start = now_ns();
        sum = 0;
        must(kv_scan(reader, "obj/", &sum) == n && sum == expected, "a scan missed names");
        if (i >= 0)
            ns[i] = (double)(now_ns() - start) / (double)n;
    }
    kv_read_end(reader);
    const double median = percentile(ns, TIMES, 50);
    snprintf(metric, sizeof metric, "scan.%s", sorted ? "sorted" : "random");
    result(metric, n, median, "ns");
    snprintf(metric, sizeof metric, "scan.%s.names", sorted ? "sorted" : "random");
    result(metric, n, (double)NAME_BYTES / median, "GB/s");
    kv_close(kv);
    free(order);
}
#endif

#ifdef KV_COPIES
#include "kv_copy.h"
#endif

static void view(const char *dir, const char *variant)
{
    enum { WARM = 10000, PAIRS = 1000000 };
    struct kv *kv = kv_open(dir, variant, 1, 1000, VALUE_BYTES_MAX);
    load_some(kv, 1000);
    for (int i = 0; i < WARM; i++)
        kv_read_end(kv_read_begin(kv));
    uint64_t start = now_ns();
    for (int i = 0; i < PAIRS; i++)
        kv_read_end(kv_read_begin(kv));
    result("view.pair", 1, (double)(now_ns() - start) / (double)PAIRS, "ns");
    kv_close(kv);
}

static void open_often(const char *dir, const char *variant, uint64_t n)
{
    enum { TIMES = 200 };
    static double us[TIMES];
    uint64_t seed = 3;
    char key[KEY_STRIDE];
    struct kv *kv = kv_open(dir, variant, 1, n, VALUE_BYTES_MAX);
    load_some(kv, n);
    kv_close(kv);
    for (int i = -3; i < TIMES; i++) {
        uint32_t id = (uint32_t)random_below(&seed, n);
        snprintf(key, sizeof key, key_format, id);
        uint64_t start = now_ns();
        kv = kv_open(dir, variant, 0, n, VALUE_BYTES_MAX);
        struct kv_reader *reader = kv_read_begin(kv);
        must(id_of(kv_get(reader, key, KEY_BYTES)) == id, "wrong record");
        kv_read_end(reader);
        kv_close(kv);
        if (i >= 0)
            us[i] = (double)(now_ns() - start) / 1e3;
    }
    result("open", n, percentile(us, TIMES, 50), "us");
}

int main(int argc, char **argv)
{
    const char *what = argc > 3 ? argv[3] : "";
    if (argc == 5 && strcmp(what, "names") == 0)
        measure_names(argv[1], argv[2], number(argv[4]));
    else if ((argc == 6 || (argc == 7 && strcmp(argv[6], "raw") == 0)) &&
             strcmp(what, "commit") == 0)
        commit(argv[1], argv[2], number(argv[4]), strtod(argv[5], NULL), argc == 7);
    else if (argc == 6 && strcmp(what, "load") == 0)
        load(argv[1], argv[2], number(argv[4]), strcmp(argv[5], "sorted") == 0);
    else if (argc == 7 && strcmp(what, "read") == 0)
        read_many(argv[1], argv[2], number(argv[4]), number(argv[5]), number(argv[6]));
#ifdef KV_SCAN
    else if (argc == 6 && strcmp(what, "scan") == 0)
        scan(argv[1], argv[2], number(argv[4]), strcmp(argv[5], "sorted") == 0);
#endif
#ifdef KV_COPIES
    else if (argc == 6 && strcmp(what, "copy") == 0)
        copy(argv[1], argv[2], number(argv[4]), strtod(argv[5], NULL));
    else if (argc == 5 && strcmp(what, "compact") == 0)
        compact(argv[1], argv[2], number(argv[4]));
#endif
    else if (argc == 4 && strcmp(what, "view") == 0)
        view(argv[1], argv[2]);
    else if (argc == 5 && strcmp(what, "open") == 0)
        open_often(argv[1], argv[2], number(argv[4]));
    else {
        fprintf(stderr,
                "usage: %s DIR VARIANT names N | commit UPDATES SECONDS [raw] | "
                "load N sorted|random | read N THREADS PROCESSES | scan N sorted|random | "
                "view | open N | copy N SECONDS | compact N\n",
                argv[0]);
        return 2;
    }
    return 0;
}

#endif
