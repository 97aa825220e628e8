/* SPDX-License-Identifier: MIT */
/*
 * kv_holdfast.c - Holdfast: every record is a named object of plain bytes
 *
 * VARIANT is the index: set, hash or flat, and behind it how a commit is acknowledged: nothing (the
 * log engine, SYNC: it is durable), -lazy, -nosync, or -direct (the direct engine: it survives the
 * death of any process, but not that of the machine). With -blob the bytes have a type that says that
 * they refer to nothing, so that compaction may move them. With -expect the store is told the number of
 * names before they come (hf_reserve_named), and each name a little before it is used (hf_expect).
 */
#include <holdfast.h>

#include "base/os.h"
#include "bench.h"

struct kv {
    hf_store *store;
    hf_txn *txn;
    const hf_type *type; /* of the records */
    uint64_t reserve;    /* so many names are about to come */
    int expects;
};
struct kv_reader;

static const hf_type blob = {"blob", 1, 1, 0, HF_TYPE_BLOB, NULL, 0};

/* ---- what the device writes for the data, apart from the log ----------------------------------- */

static uint64_t data_device_bytes;
static ino_t data_inode;
static const char *data_directory;

/* Which descriptors are the data's is looked up once for each: after an fstat, Linux (6.13 and later)
 * gives the next write a time of its own, and a sync then writes the file's inode too. That alone made
 * a durable commit half as long again. */
enum { DESCRIPTORS = 1024 };
enum { NOT_SEEN, DATA, OTHER };
static unsigned char kinds[DESCRIPTORS];

static int forgetting_close(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS)
        __atomic_store_n(&kinds[fd], NOT_SEEN, __ATOMIC_RELAXED);
    return hf__os_system.close(fd);
}

static int is_data(int fd)
{
    struct stat st;
    must(fd >= 0 && fd < DESCRIPTORS, "a descriptor beyond the table");
    unsigned char kind = __atomic_load_n(&kinds[fd], __ATOMIC_RELAXED);
    if (kind == NOT_SEEN) {
        kind = fstat(fd, &st) == 0 && st.st_ino == data_inode ? DATA : OTHER;
        __atomic_store_n(&kinds[fd], kind, __ATOMIC_RELAXED);
    }
    return kind == DATA;
}

/* The data are synced now and then, at a checkpoint: only then it is worth a look. */
static int counting_fdatasync(int fd)
{
    if (!is_data(fd))
        return hf__os_system.fdatasync(fd);
    uint64_t before = device_bytes(data_directory);
    int result = hf__os_system.fdatasync(fd);
    data_device_bytes += device_bytes(data_directory) - before;
    return result;
}

static void count_data_syncs(const char *dir, const char *path)
{
    static struct hf__os counting;
    struct stat st;
    must(stat(path, &st) == 0, path);
    data_inode = st.st_ino;
    data_directory = dir;
    counting = hf__os_system;
    counting.fdatasync = counting_fdatasync;
    counting.close = forgetting_close;
    hf__os = &counting;
}

/* ---- a store ----------------------------------------------------------------------------------- */

static struct kv *kv_open(const char *dir, const char *variant, int create, uint64_t count,
                          size_t value_bytes)
{
    hf_options options = HF_OPTIONS_INIT;
    char path[4096];
    struct kv *kv = (struct kv *)must_alloc(sizeof *kv);
    (void)value_bytes;
    options.mode = create ? HF_CREATE_NEW : HF_OPEN_EXISTING;
    options.engine = strstr(variant, "-direct") != NULL ? HF_ENGINE_DIRECT : HF_ENGINE_LOG;
    options.durability = strstr(variant, "-lazy") != NULL     ? HF_LAZY
                         : strstr(variant, "-nosync") != NULL ? HF_NOSYNC
                                                              : HF_SYNC;
    options.index = strncmp(variant, "hash", 4) == 0   ? HF_INDEX_HASH
                    : strncmp(variant, "flat", 4) == 0 ? HF_INDEX_FLAT
                                                       : HF_INDEX_SET;
    kv->type = strstr(variant, "-blob") != NULL ? &blob : NULL;
    kv->expects = strstr(variant, "-expect") != NULL;
    kv->reserve = create && kv->expects ? count : 0;
    snprintf(path, sizeof path, "%s/store.hf", dir);
    must(hf_open(path, &options, &kv->store) == 0, hf_last_error()->message);
    if (create && options.engine == HF_ENGINE_LOG)
        count_data_syncs(dir, path);
    return kv;
}

static void kv_close(struct kv *kv)
{
    must(hf_close(kv->store) == 0, hf_last_error()->message);
    free(kv);
}

static inline void kv_write_begin(struct kv *kv)
{
    must(hf_begin(kv->store, &kv->txn) == 0, hf_last_error()->message);
    if (kv->reserve != 0)
        must(hf_reserve_named(kv->txn, kv->reserve) == 0, hf_last_error()->message);
    kv->reserve = 0;
}

#define KV_EXPECT HF_NAMES_AHEAD
static int reader_expects; /* of kv_read_expect, which has no struct kv */

static inline void kv_expect(struct kv *kv, const char *key)
{
    if (kv->expects)
        hf_expect(hf_txn_view(kv->txn), key);
}

static inline void kv_read_expect(struct kv_reader *reader, const char *key)
{
    if (reader_expects)
        hf_expect((hf_view *)reader, key);
}

static inline void kv_write_commit(struct kv *kv)
{
    must(hf_commit(kv->txn) == 0, hf_last_error()->message);
}

static inline int kv_put(struct kv *kv, const char *key, size_t key_bytes, const void *value,
                         size_t value_bytes)
{
    void *object = hf_construct(kv->txn, key, kv->type, value_bytes);
    (void)key_bytes;
    if (object == NULL)
        return hf_last_error()->code;
    memcpy(object, value, value_bytes);
    return 0;
}

static inline int kv_update(struct kv *kv, const char *key, size_t key_bytes, const void *value,
                            size_t value_bytes)
{
    const void *found = hf_find(hf_txn_view(kv->txn), key, NULL, NULL);
    void *object = found == NULL ? NULL : hf_edit(kv->txn, found, value_bytes);
    (void)key_bytes;
    if (object == NULL)
        return hf_last_error()->code;
    memcpy(object, value, value_bytes);
    return 0;
}

static inline int kv_delete(struct kv *kv, const char *key, size_t key_bytes)
{
    (void)key_bytes;
    return hf_destroy(kv->txn, key);
}

static inline struct kv_reader *kv_read_begin(struct kv *kv)
{
    hf_view *view;
    must(hf_view_begin(kv->store, &view) == 0, "hf_view_begin");
    reader_expects = kv->expects;
    return (struct kv_reader *)view;
}

static inline void kv_read_end(struct kv_reader *reader)
{
    hf_view_end((hf_view *)reader);
}

static inline const void *kv_get(struct kv_reader *reader, const char *key, size_t key_bytes)
{
    (void)key_bytes;
    return hf_find((hf_view *)reader, key, NULL, NULL);
}

#define KV_SCAN
static uint64_t kv_scan(struct kv_reader *reader, const char *prefix, uint64_t *sum)
{
    hf_cursor cursor = {.prefix = prefix, .flags = HF_CURSOR_NO_FOOTPRINT};
    hf_object_info info;
    uint64_t count = 0, first;
    while (hf_next_named((hf_view *)reader, &cursor, &info) == 1) {
        memcpy(&first, info.name, sizeof first);
        *sum += first;
        count++;
    }
    return count;
}

static void kv_flush(struct kv *kv)
{
    int code;
    do
        code = hf_sync(kv->store);
    while (code == HF_EBUSY && usleep(1000) == 0); /* durable, but somebody is still applying it */
    must(code == 0, hf_last_error()->message);
}

static uint64_t kv_bytes(struct kv *kv, const char *dir)
{
    hf_store_info info;
    (void)dir;
    must(hf_info(kv->store, &info) == 0, hf_last_error()->message);
    return info.used_end_bytes;
}

/* ---- copying and compacting -------------------------------------------------------------------- */

static void kv_path(char path[4096], const char *dir)
{
    snprintf(path, 4096, "%s/store.hf", dir);
}

static int snapshot(struct kv *kv, const char *to, uint32_t method, uint64_t *held_ns)
{
    hf_snapshot_report report;
    hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
    options.method = method;
    options.report = &report;
    const int code = hf_snapshot(kv->store, to, &options);
    if (code == HF_ENOTSUP)
        return 1;
    must(code == 0, hf_last_error()->message);
    *held_ns = report.held_ns;
    return 0;
}

static int copy_any(struct kv *kv, const char *to, uint64_t *held_ns)
{
    return snapshot(kv, to, HF_SNAPSHOT_ANY, held_ns);
}

static int copy_clone(struct kv *kv, const char *to, uint64_t *held_ns)
{
    return snapshot(kv, to, HF_SNAPSHOT_CLONE, held_ns);
}

static int copy_range(struct kv *kv, const char *to, uint64_t *held_ns)
{
    return snapshot(kv, to, HF_SNAPSHOT_COPY_RANGE, held_ns);
}

static int copy_plain(struct kv *kv, const char *to, uint64_t *held_ns)
{
    return snapshot(kv, to, HF_SNAPSHOT_COPY, held_ns);
}

static char last_full[4200], last_increment[4200]; /* the archives that are there */

static int archive(struct kv *kv, const char *to, const char *since, uint64_t *held_ns)
{
    hf_archive_report report;
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    options.since_archive = since;
    const int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(fd >= 0, to);
    must(hf_archive_write(kv->store, fd, &options, &report) == 0, hf_last_error()->message);
    close(fd);
    *held_ns = report.view_ns;
    return 0;
}

static int copy_archive(struct kv *kv, const char *to, uint64_t *held_ns)
{
    snprintf(last_full, sizeof last_full, "%s", to);
    return archive(kv, to, NULL, held_ns);
}

static int copy_increment(struct kv *kv, const char *to, uint64_t *held_ns)
{
    snprintf(last_increment, sizeof last_increment, "%s", to);
    return archive(kv, to, last_full, held_ns);
}

static int copy_restored(struct kv *kv, const char *to, uint64_t *held_ns)
{
    const char *const archives[] = {last_full, last_increment};
    (void)kv;
    (void)held_ns;
    must(hf_restore(to, archives, 2, NULL, NULL) == 0, hf_last_error()->message);
    return 0;
}

#define KV_COPIES                                                                                  \
    {"file", 1, 1, 0, copy_any}, {"clone", 1, 1, 0, copy_clone}, {"range", 1, 0, 0, copy_range},   \
        {"plain", 1, 0, 0, copy_plain}, {"archive", 0, 1, 0, copy_archive},                        \
        {"increment", 0, 0, 1, copy_increment},                                                    \
    {                                                                                              \
        "restored", 1, 0, 0, copy_restored                                                         \
    }

static void kv_compact(const char *dir, const char *variant)
{
    char path[4096];
    (void)variant;
    kv_path(path, dir);
    must(hf_compact(path, NULL) == 0, hf_last_error()->message);
}

#define KV_DATA_DEVICE_BYTES data_device_bytes
#include "kv_bench.h"
