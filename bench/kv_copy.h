/* SPDX-License-Identifier: MIT */
/*
 * kv_copy.h - the workloads about copies of a store that is in use, and about making one small
 *
 * Part of kv_bench.h, for a peer that defines besides
 *
 *   KV_COPIES                        its ways of copying: initialisers of struct kv_copy, below
 *   void kv_path(char path[4096], const char *dir);        the store's file
 *   void kv_compact(const char *dir, const char *variant); makes the store in dir, which nobody has open,
 *                                    as small as it can; that is on the disk when it returns
 *
 *   copy     N records as in `load`, half of each value random. First nobody writes: each way of
 *            copying and `cp --reflink=never`, by turns, each with a sync of what it made; told are the
 *            medians of the turns: bytes in use a second, time over cp's in the same turn, bytes of the copy
 *            over those of the store. Then a thread commits single updates as fast as it can, first alone
 *            and then while copies are made: p50 and p99 of a commit, and how long commits were kept
 *            from new views
 *   compact  N records in random order, half of them deleted in another: time for each that is left, speed
 *            and a plain copy's (with a sync) for the bytes of the new file, time over that copy's, and
 *            bytes of the file for a byte of key and value, before and after
 *
 * Every copy that is a store is opened, and some of its records are read.
 */
#ifndef HF_BENCH_KV_COPY_H
#define HF_BENCH_KV_COPY_H

#include <dirent.h>
#include <spawn.h>

struct kv_copy {
    const char *name;
    int is_store; /* it can be opened                                                          */
    int beside_writer; /* measured beside one, too                                                  */
    int after_changes; /* before each time 1% of the records are changed, outside of the figure     */
    /* Writes the file `to`, in a directory that is empty but for what other ways of copying left there.
     * held_ns is 0 at first: how long commits were kept from views. Returns 0, or 1: not possible here */
    int (*make)(struct kv *kv, const char *to, uint64_t *held_ns);
};
static const struct kv_copy kv_copies[] = {KV_COPIES};
enum { COPIES = sizeof kv_copies / sizeof *kv_copies, COPY_TURNS = 3, CP = COPIES };

struct copying {
    struct kv *kv;
    const char *variant;
    uint64_t records, bytes, seed; /* bytes: of the store, in use */
    char from[4096], to_dir[4096], to[COPIES + 1][4200];
    double seconds[COPIES + 1][COPY_TURNS], over_cp[COPIES + 1][COPY_TURNS];
    int impossible[COPIES + 1];
};

/* Values that compress to about a half. */
static void set_half_random_value(char *value, uint64_t id, uint64_t *seed)
{
    set_value(value, VALUE_BYTES_MAX, id);
    for (size_t at = sizeof id; at + 8 <= VALUE_BYTES_MAX / 2; at += 8) {
        const uint64_t word = random_next(seed);
        memcpy(value + at, &word, sizeof word);
    }
}

static void load_half_random(struct kv *kv, uint64_t n)
{
    char value[VALUE_BYTES_MAX];
    uint64_t seed = 17;
    struct records records = make_records(n, 0);
    kv_write_begin(kv);
    for (uint64_t i = 0; i < n; i++) {
        set_half_random_value(value, records.order[i], &seed);
        must(kv_put(kv, records.keys + i * KEY_STRIDE, KEY_BYTES, value, sizeof value) == 0,
             "load");
    }
    kv_write_commit(kv);
    drop_records(&records);
}

static void update_some(struct kv *kv, uint64_t records, uint64_t updates, uint64_t *seed)
{
    char value[VALUE_BYTES_MAX], key[KEY_STRIDE];
    kv_write_begin(kv);
    for (uint64_t i = 0; i < updates; i++) {
        const uint32_t id = (uint32_t)random_below(seed, records);
        set_half_random_value(value, id, seed);
        snprintf(key, sizeof key, key_format, id);
        must(kv_update(kv, key, KEY_BYTES, value, sizeof value) == 0, "update");
    }
    kv_write_commit(kv);
}

static void sync_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    must(fd >= 0 && fsync(fd) == 0, path);
    close(fd);
}

static void empty_directory(const char *dir)
{
    char path[8192];
    DIR *all = opendir(dir);
    must(all != NULL, dir);
    for (struct dirent *one; (one = readdir(all)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", dir, one->d_name);
        if (one->d_name[0] != '.')
            must(unlink(path) == 0, path);
    }
    closedir(all);
}

static int run_cp(const char *from, const char *to)
{
    extern char **environ;
    char name[] = "cp", option[] = "--reflink=never", a[4200], b[4200];
    char *arguments[] = {name, option, a, b, NULL};
    pid_t pid;
    int status;
    snprintf(a, sizeof a, "%s", from);
    snprintf(b, sizeof b, "%s", to);
    must(posix_spawnp(&pid, "cp", NULL, NULL, arguments, environ) == 0, "cp");
    must(waitpid(pid, &status, 0) == pid && status == 0, "cp");
    return 0;
}

/* Seconds for one copy, on the disk. */
static double copy_once(struct copying *all, size_t which, uint64_t *held_ns)
{
    const struct kv_copy *how = which == CP ? NULL : &kv_copies[which];
    *held_ns = 0;
    unlink(all->to[which]);
    if (how != NULL && how->after_changes)
        update_some(all->kv, all->records, all->records / 100, &all->seed);
    sync();
    const uint64_t start = now_ns();
    all->impossible[which] = how == NULL ? run_cp(all->from, all->to[which])
                                         : how->make(all->kv, all->to[which], held_ns);
    if (all->impossible[which])
        return 0;
    sync_file(all->to[which]);
    return (double)(now_ns() - start) / 1e9;
}

/* The copy is a store and holds the records that were there when it was made. */
static void look_into(struct copying *all, size_t which)
{
    char key[KEY_STRIDE], path[4096], dir[4000];
    uint64_t seed = 21;
    must(snprintf(dir, sizeof dir, "%s/store", all->to_dir) < (int)sizeof dir, "a long path");
    must(mkdir(dir, 0700) == 0, dir);
    kv_path(path, dir);
    must(rename(all->to[which], path) == 0, path);
    struct kv *opened = kv_open(dir, all->variant, 0, all->records, VALUE_BYTES_MAX);
    struct kv_reader *reader = kv_read_begin(opened);
    for (int i = 0; i < 1000; i++) {
        const uint32_t id = (uint32_t)random_below(&seed, all->records);
        snprintf(key, sizeof key, key_format, id);
        must(id_of(kv_get(reader, key, KEY_BYTES)) == id, "a copy lacks a record");
    }
    kv_read_end(reader);
    kv_close(opened);
    empty_directory(dir);
    must(rmdir(dir) == 0, dir);
}

static void copy_result(struct copying *all, size_t which, const char *what, double value,
                        const char *unit)
{
    char metric[64];
    snprintf(metric, sizeof metric, "copy.%s%s", which == CP ? "cp" : kv_copies[which].name, what);
    result(metric, all->records, value, unit);
}

static void copies_by_turns(struct copying *all)
{
    uint64_t held;
    for (int turn = 0; turn < COPY_TURNS; turn++) {
        const double cp = copy_once(all, CP, &held);
        all->seconds[CP][turn] = cp;
        for (size_t i = 0; i < COPIES; i++) {
            all->seconds[i][turn] = copy_once(all, i, &held);
            all->over_cp[i][turn] = all->seconds[i][turn] / cp;
        }
    }
    for (size_t i = 0; i <= COPIES; i++) {
        if (all->impossible[i])
            continue;
        const double size = (double)file_bytes(all->to[i]) / (double)all->bytes;
        copy_result(all, i, "",
                    (double)all->bytes / percentile(all->seconds[i], COPY_TURNS, 50) / 1e9, "GB/s");
        if (i == CP)
            continue;
        copy_result(all, i, ".over_cp", percentile(all->over_cp[i], COPY_TURNS, 50), "x");
        copy_result(all, i, ".size", size, "x");
        if (kv_copies[i].is_store)
            look_into(all, i);
    }
    empty_directory(all->to_dir);
}

/* ---- beside a writer ------------------------------------------------------------------------- */

struct copy_writer {
    struct kv *kv;
    uint64_t records, seed;
    size_t count;
    double *latency;
    int done;
};
enum { COPY_LATENCIES = 1000000 };

static void *write_until_done(void *argument)
{
    struct copy_writer *me = (struct copy_writer *)argument;
    while (!__atomic_load_n(&me->done, __ATOMIC_ACQUIRE) && me->count < COPY_LATENCIES) {
        const uint64_t start = now_ns();
        update_some(me->kv, me->records, 1, &me->seed);
        me->latency[me->count++] = (double)(now_ns() - start) / 1e3;
    }
    return NULL;
}

/* Copies, one after another, for so many seconds, or (which = CP) nothing is copied. */
static void beside_writer(struct copying *all, size_t which, double limit_seconds)
{
    struct copy_writer writer = {.kv = all->kv, .records = all->records, .seed = 31 + which};
    double held_most = 0, copying = 0;
    pthread_t thread;
    uint64_t held;
    writer.latency = (double *)must_alloc(COPY_LATENCIES * sizeof *writer.latency);
    must(pthread_create(&thread, NULL, write_until_done, &writer) == 0, "pthread_create");
    if (which == CP)
        usleep((useconds_t)(limit_seconds * 1e6));
    for (; which != CP && copying < limit_seconds;) {
        copying += copy_once(all, which, &held);
        held_most = (double)held > held_most ? (double)held : held_most;
    }
    __atomic_store_n(&writer.done, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    must(writer.count != 0, "nothing was committed beside a copy");
    if (which == CP) {
        result("copy.quiet.p50", all->records, percentile(writer.latency, writer.count, 50), "us");
        result("copy.quiet.p99", all->records, percentile(writer.latency, writer.count, 99), "us");
    } else {
        copy_result(all, which, ".p50", percentile(writer.latency, writer.count, 50), "us");
        copy_result(all, which, ".p99", percentile(writer.latency, writer.count, 99), "us");
        if (held_most != 0)
            copy_result(all, which, ".held", held_most / 1e6, "ms");
        if (kv_copies[which].is_store)
            look_into(all, which);
    }
    empty_directory(all->to_dir);
    free(writer.latency);
}

static void copy(const char *dir, const char *variant, uint64_t n, double limit_seconds)
{
    static struct copying all;
    all.variant = variant;
    all.records = n;
    all.kv = kv_open(dir, variant, 1, n, VALUE_BYTES_MAX);
    load_half_random(all.kv, n);
    kv_flush(all.kv);
    kv_close(all.kv); /* what was loaded is in its place, and not in a log any more */
    all.kv = kv_open(dir, variant, 0, n, VALUE_BYTES_MAX);
    all.bytes = kv_bytes(all.kv, dir);
    kv_path(all.from, dir);
    snprintf(all.to_dir, sizeof all.to_dir, "%s/copies", dir);
    must(mkdir(all.to_dir, 0700) == 0, all.to_dir);
    for (size_t i = 0; i <= COPIES; i++)
        snprintf(all.to[i], sizeof all.to[i], "%s/%s", all.to_dir,
                 i == CP ? "cp" : kv_copies[i].name);
    copies_by_turns(&all);
    beside_writer(&all, CP, limit_seconds);
    for (size_t i = 0; i < COPIES; i++)
        if (kv_copies[i].beside_writer && !all.impossible[i])
            beside_writer(&all, i, limit_seconds);
    kv_close(all.kv);
}

/* ---- compacting ------------------------------------------------------------------------------ */

static void compact(const char *dir, const char *variant, uint64_t n)
{
    char path[4096], to[4200];
    uint32_t *order = shuffled(n, 13);
    char *keys = make_keys(key_format, order, n, 1, 0);
    const uint64_t left = n - n / 2;
    const double payload = (double)left * (KEY_BYTES + VALUE_BYTES_MAX);
    struct kv *kv = kv_open(dir, variant, 1, n, VALUE_BYTES_MAX);
    load_half_random(kv, n);
    kv_write_begin(kv);
    for (uint64_t i = 0; i < n / 2; i++)
        must(kv_delete(kv, keys + i * KEY_STRIDE, KEY_BYTES) == 0, "delete");
    kv_write_commit(kv);
    kv_flush(kv);
    kv_close(kv);
    kv_path(path, dir);
    snprintf(to, sizeof to, "%s/copy", dir);
    const double before = (double)file_bytes(path);
    sync();
    const uint64_t start = now_ns();
    kv_compact(dir, variant);
    const double ns = (double)(now_ns() - start), after = (double)file_bytes(path);
    kv = kv_open(dir, variant, 0, n, VALUE_BYTES_MAX);
    struct kv_reader *reader = kv_read_begin(kv);
    for (uint64_t i = 0; i < n; i++) {
        const void *found = kv_get(reader, keys + i * KEY_STRIDE, KEY_BYTES);
        must(i < n / 2 ? found == NULL : id_of(found) == order[i], "compaction changed a record");
    }
    kv_read_end(reader);
    kv_close(kv);
    compact_results(n, ns, after, plain_copy_ns(path, to, file_bytes(path)));
    result("compact.before", n, before / payload, "x");
    result("compact.after", n, after / payload, "x");
    free(order);
    free(keys);
}

#endif
