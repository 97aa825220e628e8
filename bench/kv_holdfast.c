/* SPDX-License-Identifier: MIT */
/*
 * kv_holdfast.c - Holdfast: every record is a named object of plain bytes
 *
 * VARIANT is the index: set, hash or flat, and behind it how a commit is acknowledged: nothing (the
 * log engine, SYNC: it is durable), -lazy, -nosync, or -direct (the direct engine: it survives the
 * death of any process, but not that of the machine).
 */
#include <holdfast.h>

#include "base/os.h"
#include "bench.h"

struct kv {
    hf_store *store;
    hf_txn *txn;
};
struct kv_reader;

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
    (void)count;
    (void)value_bytes;
    options.mode = create ? HF_CREATE_NEW : HF_OPEN_EXISTING;
    options.engine = strstr(variant, "-direct") != NULL ? HF_ENGINE_DIRECT : HF_ENGINE_LOG;
    options.durability = strstr(variant, "-lazy") != NULL     ? HF_LAZY
                         : strstr(variant, "-nosync") != NULL ? HF_NOSYNC
                                                              : HF_SYNC;
    options.index = strncmp(variant, "hash", 4) == 0   ? HF_INDEX_HASH
                    : strncmp(variant, "flat", 4) == 0 ? HF_INDEX_FLAT
                                                       : HF_INDEX_SET;
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
}

static inline void kv_write_commit(struct kv *kv)
{
    must(hf_commit(kv->txn) == 0, hf_last_error()->message);
}

static inline int kv_put(struct kv *kv, const char *key, size_t key_bytes, const void *value,
                         size_t value_bytes)
{
    void *object = hf_construct(kv->txn, key, NULL, value_bytes);
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
    hf_cursor cursor = {.prefix = prefix};
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

#define KV_DATA_DEVICE_BYTES data_device_bytes
#include "kv_bench.h"
