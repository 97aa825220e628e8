/* SPDX-License-Identifier: MIT */
/* kv_lmdb.c - LMDB. VARIANT "sync" (its default: a commit is durable) or "nosync" (it survives the
 * death of the process; after that of the machine the file may be damaged). */
#include <lmdb.h>

#include "bench.h"

struct kv {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi db;
};
struct kv_reader {
    MDB_txn *txn;
    MDB_dbi db;
};
static _Thread_local struct kv_reader this_reader;

static void must_mdb(int code)
{
    if (code != 0)
        give_up(mdb_strerror(code));
}

static struct kv *kv_open(const char *dir, const char *variant, int create, uint64_t count,
                          size_t value_bytes)
{
    struct kv *kv = (struct kv *)must_alloc(sizeof *kv);
    unsigned flags = strcmp(variant, "nosync") == 0 ? MDB_NOSYNC : 0;
    (void)create;
    must_mdb(mdb_env_create(&kv->env));
    must_mdb(mdb_env_set_mapsize(kv->env, ((size_t)1 << 28) + count * (value_bytes + 400)));
    must_mdb(mdb_env_open(kv->env, dir, flags, 0600));
    must_mdb(mdb_txn_begin(kv->env, NULL, create ? 0 : MDB_RDONLY, &kv->txn));
    must_mdb(mdb_dbi_open(kv->txn, NULL, 0, &kv->db));
    must_mdb(mdb_txn_commit(kv->txn));
    return kv;
}

static void kv_close(struct kv *kv)
{
    mdb_env_close(kv->env);
    free(kv);
}

static inline void kv_write_begin(struct kv *kv)
{
    must_mdb(mdb_txn_begin(kv->env, NULL, 0, &kv->txn));
}

static inline void kv_write_commit(struct kv *kv)
{
    must_mdb(mdb_txn_commit(kv->txn));
}

static inline int put(struct kv *kv, const char *key, size_t key_bytes, const void *value,
                      size_t value_bytes, unsigned flags)
{
    MDB_val k, v;
    k.mv_size = key_bytes;
    k.mv_data = (void *)(uintptr_t)key;
    v.mv_size = value_bytes;
    v.mv_data = (void *)(uintptr_t)value;
    return mdb_put(kv->txn, kv->db, &k, &v, flags);
}

static inline int kv_put(struct kv *kv, const char *key, size_t key_bytes, const void *value,
                         size_t value_bytes)
{
    return put(kv, key, key_bytes, value, value_bytes, MDB_NOOVERWRITE);
}

static inline int kv_update(struct kv *kv, const char *key, size_t key_bytes, const void *value,
                            size_t value_bytes)
{
    return put(kv, key, key_bytes, value, value_bytes, 0);
}

static inline int kv_delete(struct kv *kv, const char *key, size_t key_bytes)
{
    MDB_val k;
    k.mv_size = key_bytes;
    k.mv_data = (void *)(uintptr_t)key;
    return mdb_del(kv->txn, kv->db, &k, NULL);
}

static inline struct kv_reader *kv_read_begin(struct kv *kv)
{
    this_reader.db = kv->db;
    must_mdb(mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &this_reader.txn));
    return &this_reader;
}

static inline void kv_read_end(struct kv_reader *reader)
{
    mdb_txn_abort(reader->txn);
}

static inline const void *kv_get(struct kv_reader *reader, const char *key, size_t key_bytes)
{
    MDB_val k, v;
    k.mv_size = key_bytes;
    k.mv_data = (void *)(uintptr_t)key;
    return mdb_get(reader->txn, reader->db, &k, &v) == 0 ? v.mv_data : NULL;
}

#define KV_SCAN
static uint64_t kv_scan(struct kv_reader *reader, const char *prefix, uint64_t *sum)
{
    const size_t prefix_bytes = strlen(prefix);
    uint64_t count = 0, first;
    MDB_cursor *cursor;
    MDB_val k, v;
    k.mv_size = prefix_bytes;
    k.mv_data = (void *)(uintptr_t)prefix;
    must_mdb(mdb_cursor_open(reader->txn, reader->db, &cursor));
    int code = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    while (code == 0 && k.mv_size >= prefix_bytes && memcmp(k.mv_data, prefix, prefix_bytes) == 0) {
        memcpy(&first, k.mv_data, sizeof first);
        *sum += first;
        count++;
        code = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return count;
}

static void kv_flush(struct kv *kv)
{
    must_mdb(mdb_env_sync(kv->env, 1));
}

static uint64_t kv_bytes(struct kv *kv, const char *dir)
{
    char path[4096];
    (void)kv;
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    return file_bytes(path);
}

/* ---- copying and compacting -------------------------------------------------------------------- */

static void kv_path(char path[4096], const char *dir)
{
    snprintf(path, 4096, "%s/data.mdb", dir);
}

/* Through a descriptor: mdb_env_copy does no more than opening it. */
static int copy_with(struct kv *kv, const char *to, unsigned flags)
{
    int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_DIRECT, 0600);
    must(fd >= 0, to);
    must_mdb(mdb_env_copyfd2(kv->env, fd, flags));
    close(fd);
    return 0;
}

static int copy_file(struct kv *kv, const char *to, uint64_t *held_ns)
{
    (void)held_ns;
    return copy_with(kv, to, 0);
}

static int copy_compacted(struct kv *kv, const char *to, uint64_t *held_ns)
{
    (void)held_ns;
    return copy_with(kv, to, MDB_CP_COMPACT);
}

#define KV_COPIES                                                                                  \
    {"file", 1, 1, 0, copy_file},                                                                  \
    {                                                                                              \
        "compacted", 1, 1, 0, copy_compacted                                                       \
    }

/* What its mdb_copy -c does, and giving the copy the name. */
static void kv_compact(const char *dir, const char *variant)
{
    char path[4096], to[4200];
    struct kv *kv = kv_open(dir, variant, 0, 0, 0);
    kv_path(path, dir);
    snprintf(to, sizeof to, "%s/new.mdb", dir);
    copy_with(kv, to, MDB_CP_COMPACT);
    kv_close(kv);
    int fd = open(to, O_RDONLY | O_CLOEXEC), parent = open(dir, O_RDONLY | O_CLOEXEC);
    must(fd >= 0 && parent >= 0 && fsync(fd) == 0, to);
    must(rename(to, path) == 0 && fsync(parent) == 0, path);
    close(parent);
    close(fd);
}

#include "kv_bench.h"
