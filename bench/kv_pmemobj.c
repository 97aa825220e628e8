/* SPDX-License-Identifier: MIT */
/* kv_pmemobj.c - libpmemobj on an ordinary file. It has no names: the key is the number of a record
 * in one array, so there is nothing to look up in its figures, and only "commit" and "open" mean
 * anything. VARIANT "file" syncs with msync, as it does where there is no persistent memory; "pmem"
 * tells it that there is (a commit then survives the process, and nothing else). */
#include <libpmemobj.h>

#include "bench.h"

enum { RECORD_BYTES = 128 };

struct root {
    PMEMoid records;
};
struct kv {
    PMEMobjpool *pool;
    char *records;
    uint64_t count;
    int loaded; /* what is loaded first goes in without a transaction, which could not hold it */
};
struct kv_reader;

static struct kv *kv_open(const char *dir, const char *variant, int create, uint64_t count,
                          size_t value_bytes)
{
    struct kv *kv = (struct kv *)must_alloc(sizeof *kv);
    char path[4096];
    must(value_bytes <= RECORD_BYTES, "a record of at most 128 bytes");
    must(setenv("PMEM_IS_PMEM_FORCE", strcmp(variant, "pmem") == 0 ? "1" : "0", 1) == 0, "setenv");
    snprintf(path, sizeof path, "%s/pool", dir);
    kv->pool = create ? pmemobj_create(path, "bench", count * RECORD_BYTES + (64u << 20), 0600)
                      : pmemobj_open(path, "bench");
    if (kv->pool == NULL)
        give_up(pmemobj_errormsg());
    PMEMoid root = pmemobj_root(kv->pool, sizeof(struct root));
    struct root *r = (struct root *)pmemobj_direct(root);
    must(r != NULL, "pmemobj_root");
    if (create)
        must(pmemobj_zalloc(kv->pool, &r->records, count * RECORD_BYTES, 1) == 0, "pmemobj_zalloc");
    kv->records = (char *)pmemobj_direct(r->records);
    kv->count = count;
    kv->loaded = !create;
    return kv;
}

static void kv_close(struct kv *kv)
{
    pmemobj_close(kv->pool);
    free(kv);
}

static inline void *record_of(struct kv *kv, const char *key)
{
    return kv->records + strtoull(key, NULL, 10) * RECORD_BYTES;
}

static inline void kv_write_begin(struct kv *kv)
{
    if (kv->loaded)
        must(pmemobj_tx_begin(kv->pool, NULL, TX_PARAM_NONE) == 0, "pmemobj_tx_begin");
}

static inline void kv_write_commit(struct kv *kv)
{
    if (kv->loaded) {
        pmemobj_tx_commit();
        must(pmemobj_tx_end() == 0, "pmemobj_tx_end");
    } else {
        pmemobj_persist(kv->pool, kv->records, kv->count * RECORD_BYTES);
        kv->loaded = 1;
    }
}

static inline int kv_put(struct kv *kv, const char *key, size_t key_bytes, const void *value,
                         size_t value_bytes)
{
    (void)key_bytes;
    memcpy(record_of(kv, key), value, value_bytes);
    return 0;
}

static inline int kv_update(struct kv *kv, const char *key, size_t key_bytes, const void *value,
                            size_t value_bytes)
{
    void *record = record_of(kv, key);
    (void)key_bytes;
    int code = pmemobj_tx_add_range_direct(record, value_bytes);
    if (code == 0)
        memcpy(record, value, value_bytes);
    return code;
}

static inline int kv_delete(struct kv *kv, const char *key, size_t key_bytes)
{
    (void)kv;
    (void)key;
    (void)key_bytes;
    return 1;
}

static inline struct kv_reader *kv_read_begin(struct kv *kv)
{
    return (struct kv_reader *)kv;
}

static inline void kv_read_end(struct kv_reader *reader)
{
    (void)reader;
}

static inline const void *kv_get(struct kv_reader *reader, const char *key, size_t key_bytes)
{
    (void)key_bytes;
    return record_of((struct kv *)reader, key);
}

static void kv_flush(struct kv *kv)
{
    (void)kv;
}

static uint64_t kv_bytes(struct kv *kv, const char *dir)
{
    (void)kv;
    (void)dir;
    return 0;
}

#include "kv_bench.h"
