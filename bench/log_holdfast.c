/* SPDX-License-Identifier: MIT */
/*
 * log_holdfast.c - the log engine beside what its disk allows, both in one program and by turns
 *
 * Usage: log_holdfast DIR VARIANT threads SECONDS | device COMMITS | recovery MIB   (VARIANT: "-")
 *
 *   threads   one and two threads that commit one update each, SYNC, through one handle; beside them
 *             one and two threads that write a block and fdatasync, each with a descriptor of its own,
 *             in one file that was written with zeros. In slices of 50 ms by turns; told are medians,
 *             of the ratios over those of the same turn
 *   recovery  opening a store whose process was killed when its log had so many MiB of records, beside
 *             a raw read of as many bytes, writing them to another file that is there, and a sync
 *   device    bytes the device wrote, for everybody, for a SYNC commit of one update: while COMMITS of
 *             them were made (the log), and while the store was closed (the data, once for all)
 */
#include <holdfast.h>

#include "bench.h"

#include <pthread.h>
#include <sys/wait.h>

enum { OBJECT_BYTES = 100, BLOCK = 4096 };

static void holdfast(int code)
{
    must(code == 0, hf_last_error()->message);
}

static void path_of(char out[4096], const char *dir, const char *name)
{
    snprintf(out, 4096, "%s/%s", dir, name);
}

static hf_store *open_store(const char *dir, uint32_t mode, uint32_t durability)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    char path[4096];
    options.mode = mode;
    options.durability = durability;
    path_of(path, dir, "store.hf");
    holdfast(hf_open(path, &options, &store));
    return store;
}

/* ---- threads -------------------------------------------------------------------------------- */

enum { THREADS = 2, OBJECTS = 10000, RAW_BLOCKS = 4096, TURNS_MAX = 4096 };
static const double slice_ns = 50e6;

struct committer {
    hf_store *store;
    hf_ref *objects;
    const char *raw_path;
    unsigned number;
    uint64_t seed, count;
    double seconds;
};

static void commit_one(hf_store *store, const hf_ref *objects, uint64_t *seed)
{
    hf_txn *txn;
    holdfast(hf_begin(store, &txn));
    const void *found = hf_at(hf_txn_view(txn), objects[random_below(seed, OBJECTS)]);
    memset(hf_edit(txn, found, OBJECT_BYTES), (int)*seed, OBJECT_BYTES);
    holdfast(hf_commit(txn));
}

static void *commit_for_a_while(void *argument)
{
    struct committer *me = (struct committer *)argument;
    uint64_t start = now_ns(), now = start;
    for (me->count = 0; (double)(now - start) < slice_ns; me->count++, now = now_ns())
        commit_one(me->store, me->objects, &me->seed);
    me->seconds = (double)(now - start) / 1e9;
    return NULL;
}

static void *write_for_a_while(void *argument)
{
    struct committer *me = (struct committer *)argument;
    char block[BLOCK];
    int fd = open(me->raw_path, O_RDWR | O_CLOEXEC);
    must(fd >= 0, me->raw_path);
    memset(block, (int)me->number, sizeof block);
    uint64_t start = now_ns(), now = start;
    for (me->count = 0; (double)(now - start) < slice_ns; me->count++, now = now_ns()) {
        off_t at = (off_t)((me->count * THREADS + me->number) % RAW_BLOCKS * BLOCK);
        must(pwrite(fd, block, sizeof block, at) == BLOCK, "pwrite");
        must(fdatasync(fd) == 0, "fdatasync");
    }
    me->seconds = (double)(now - start) / 1e9;
    close(fd);
    return NULL;
}

/* Operations a second of so many threads together. */
static double rate(struct committer *all, unsigned threads, void *(*work)(void *))
{
    pthread_t ids[THREADS];
    double sum = 0;
    for (unsigned i = 0; i < threads; i++)
        must(pthread_create(&ids[i], NULL, work, &all[i]) == 0, "pthread_create");
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        sum += (double)all[i].count / all[i].seconds;
    }
    return sum;
}

static hf_store *make_objects(const char *dir, hf_ref *objects)
{
    hf_store *store = open_store(dir, HF_CREATE_NEW, HF_SYNC);
    hf_txn *txn;
    holdfast(hf_begin(store, &txn));
    for (int i = 0; i < OBJECTS; i++) {
        void *object = hf_alloc(txn, OBJECT_BYTES);
        must(object != NULL, "hf_alloc");
        objects[i] = hf_ref_of(hf_txn_view(txn), object);
    }
    holdfast(hf_commit(txn));
    holdfast(hf_sync(store));
    return store;
}

static void make_zeros(const char *path, uint64_t bytes)
{
    static const char zeros[BLOCK]; /* by blocks: see write_zeros in store/log.c */
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(fd >= 0, path);
    for (uint64_t done = 0; done < bytes; done += sizeof zeros)
        must(write(fd, zeros, sizeof zeros) == (ssize_t)sizeof zeros, "write");
    must(fsync(fd) == 0, "fsync");
    close(fd);
}

static void threads(const char *dir, double seconds)
{
    static double one[TURNS_MAX], two[TURNS_MAX], scale[TURNS_MAX], raw_scale[TURNS_MAX],
        over_raw[TURNS_MAX], share[TURNS_MAX];
    static hf_ref objects[OBJECTS];
    char raw_path[4096];
    struct committer all[THREADS];
    size_t turns = 0;
    /* As large at once as a log becomes in use: while it doubles, each of its blocks is written twice. */
    const hf_tuning grown = {.log_first_bytes = 32 << 20, .log_switch_bytes = 32 << 20};
    path_of(raw_path, dir, "raw");
    make_zeros(raw_path, (uint64_t)RAW_BLOCKS * BLOCK);
    hf_store *store = make_objects(dir, objects);
    holdfast(hf_tune(store, &grown));
    for (unsigned i = 0; i < THREADS; i++)
        all[i] = (struct committer){store, objects, raw_path, i, 5 + i, 0, 0};
    sync();
    (void)rate(all, THREADS, commit_for_a_while);
    for (uint64_t start = now_ns(); turns < TURNS_MAX && (double)(now_ns() - start) < seconds * 1e9;
         turns++) {
        one[turns] = rate(all, 1, commit_for_a_while);
        const double raw_one = rate(all, 1, write_for_a_while);
        two[turns] = rate(all, 2, commit_for_a_while);
        const double raw_two = rate(all, 2, write_for_a_while);
        scale[turns] = one[turns] / two[turns]; /* of a commit: 0.5 would be twice as many */
        raw_scale[turns] = raw_one / raw_two;
        over_raw[turns] = raw_one / one[turns];
        share[turns] = raw_two / two[turns];
    }
    result("threads.1", 1, percentile(one, turns, 50), "commits/s");
    result("threads.2", 1, percentile(two, turns, 50), "commits/s");
    result("threads.2_time", 1, percentile(scale, turns, 50), "x");
    result("threads.2_time_raw", 1, percentile(raw_scale, turns, 50), "x");
    result("threads.1_over_raw", 1, percentile(over_raw, turns, 50), "x");
    result("threads.2_over_raw", 1, percentile(share, turns, 50), "x");
    holdfast(hf_close(store));
}

/* ---- recovery ------------------------------------------------------------------------------- */

enum { MIB = 1 << 20, CHUNK = 1 << 20 };

/* Records of one shape: so many updates of objects of that size in a transaction. */
struct shape {
    const char *name;
    uint64_t object_bytes, updates;
};

/* Makes a store of objects of half as many bytes together, then commits until its log has that many
 * bytes of records, and dies. */
static void fill_log_and_die(const char *dir, const struct shape *shape, uint64_t bytes)
{
    const uint64_t objects = bytes / 2 / shape->object_bytes + shape->updates;
    hf_ref *refs = (hf_ref *)must_alloc(objects * sizeof *refs);
    hf_tuning tuning = {.log_first_bytes = bytes + bytes / 8 + MIB};
    hf_log_state state;
    hf_store *store = open_store(dir, HF_CREATE_NEW, HF_LAZY);
    hf_txn *txn;
    uint64_t seed = 9, count = 0;
    tuning.log_switch_bytes = tuning.log_first_bytes;
    tuning.log_max_bytes = 2 * tuning.log_first_bytes;
    holdfast(hf_begin(store, &txn));
    for (uint64_t i = 0; i < objects; i++) {
        void *object = hf_alloc(txn, shape->object_bytes);
        must(object != NULL, "hf_alloc");
        refs[i] = hf_ref_of(hf_txn_view(txn), object);
    }
    holdfast(hf_commit(txn));
    holdfast(hf_close(store)); /* the log begins with nothing in it */
    store = open_store(dir, HF_OPEN_EXISTING, HF_LAZY);
    holdfast(hf_tune(store, &tuning));
    do {
        holdfast(hf_begin(store, &txn));
        for (uint64_t i = 0; i < shape->updates; i++) {
            const void *found = hf_at(hf_txn_view(txn), refs[random_below(&seed, objects)]);
            memset(hf_edit(txn, found, shape->object_bytes), (int)++count, shape->object_bytes);
        }
        holdfast(hf_commit(txn));
        holdfast(hf_log_info(store, &state));
    } while (state.end_bytes < bytes);
    int code = hf_sync(store); /* HF_EBUSY: durable, but the housekeeper is applying it */
    holdfast(code == HF_EBUSY ? 0 : code);
    _exit(0);
}

/* As after a reboot: nothing of it is in memory. */
static void forget(const char *dir, const char *name)
{
    char path[4096];
    path_of(path, dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0, path);
    close(fd);
}

static double raw_replay_seconds(const char *dir, uint64_t bytes)
{
    char from_path[4096], to_path[4096];
    char *chunk = (char *)must_alloc(CHUNK);
    path_of(from_path, dir, "raw.from");
    path_of(to_path, dir, "raw.to");
    int from = open(from_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int to = open(to_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(from >= 0 && to >= 0, from_path);
    for (uint64_t at = 0; at < bytes; at += CHUNK)
        must(write(from, chunk, CHUNK) == CHUNK && write(to, chunk, CHUNK) == CHUNK, "write");
    sync();
    forget(dir, "raw.from");
    forget(dir, "raw.to");
    uint64_t start = now_ns();
    for (uint64_t at = 0; at < bytes; at += CHUNK)
        must(pread(from, chunk, CHUNK, (off_t)at) == CHUNK &&
                 pwrite(to, chunk, CHUNK, (off_t)at) == CHUNK,
             "raw replay");
    must(fdatasync(to) == 0, "fdatasync");
    double seconds = (double)(now_ns() - start) / 1e9;
    close(from);
    close(to);
    unlink(from_path);
    unlink(to_path);
    free(chunk);
    return seconds;
}

static void recover(const char *dir, const struct shape *shape, uint64_t mib)
{
    const uint64_t bytes = mib * MIB;
    char metric[64], path[4096];
    hf_recovery told;
    int status;
    fflush(stdout);
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0)
        fill_log_and_die(dir, shape, bytes);
    must(waitpid(pid, &status, 0) == pid && status == 0, "filling the log");
    sync();
    forget(dir, "store.hf");
    forget(dir, "store.hf-log0");
    forget(dir, "store.hf-log1");
    const uint64_t resident = resident_bytes(), start = now_ns();
    hf_store *store = open_store(dir, HF_OPEN_EXISTING, HF_LAZY);
    const double seconds = (double)(now_ns() - start) / 1e9;
    const uint64_t after = resident_bytes(), more = after > resident ? after - resident : 0;
    holdfast(hf_recovery_info(store, &told));
    must(told.cold == 1 && told.replayed_bytes > bytes / 4, "nothing was recovered");
    holdfast(hf_close(store));
    const double raw = raw_replay_seconds(dir, bytes);
    snprintf(metric, sizeof metric, "recovery.%s", shape->name);
    result(metric, mib, seconds, "s");
    snprintf(metric, sizeof metric, "recovery.%s.raw", shape->name);
    result(metric, mib, raw, "s");
    snprintf(metric, sizeof metric, "recovery.%s.over_raw", shape->name);
    result(metric, mib, seconds / raw, "x");
    snprintf(metric, sizeof metric, "recovery.%s.memory", shape->name);
    result(metric, mib, (double)more / 1e6, "MB");
    path_of(path, dir, "store.hf");
    holdfast(hf_remove(path));
}

static void recovery(const char *dir, uint64_t mib)
{
    static const struct shape shapes[] = {{"small", OBJECT_BYTES, 1}, {"large", 32768, 32}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        recover(dir, &shapes[i], mib);
}

/* ---- bytes on the device -------------------------------------------------------------------- */

static void device(const char *dir, uint64_t commits)
{
    static hf_ref objects[OBJECTS];
    hf_tuning tuning = {.log_first_bytes = (commits + 16) * BLOCK};
    uint64_t seed = 5;
    hf_store *store = make_objects(dir, objects);
    holdfast(hf_close(store)); /* the log begins anew, and long enough */
    store = open_store(dir, HF_OPEN_EXISTING, HF_SYNC);
    tuning.log_switch_bytes = tuning.log_first_bytes;
    holdfast(hf_tune(store, &tuning));
    commit_one(store, objects, &seed);
    sync();
    const uint64_t start = device_bytes(dir);
    if (start == 0)
        return; /* it can't be told */
    for (uint64_t i = 0; i < commits; i++)
        commit_one(store, objects, &seed);
    const uint64_t middle = device_bytes(dir);
    holdfast(hf_close(store));
    const uint64_t end = device_bytes(dir);
    result("device.log", 1, (double)(middle - start) / (double)commits / 1e3, "kB");
    result("device.data", 1, (double)(end - middle) / (double)commits / 1e3, "kB");
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[3], "threads") == 0)
        threads(argv[1], strtod(argv[4], NULL));
    else if (argc == 5 && strcmp(argv[3], "device") == 0)
        device(argv[1], number(argv[4]));
    else if (argc == 5 && strcmp(argv[3], "recovery") == 0)
        recovery(argv[1], number(argv[4]));
    else {
        fprintf(stderr, "usage: %s DIR VARIANT threads SECONDS | device COMMITS | recovery MIB\n",
                argv[0]);
        return 2;
    }
    return 0;
}
