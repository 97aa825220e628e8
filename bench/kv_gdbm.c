/* SPDX-License-Identifier: MIT */
/* kv_gdbm.c - GNU dbm, a hash table in a file. It has no transactions: a commit is nothing at all, or
 * with VARIANT "sync" a gdbm_sync (durable, but a crash before it may leave the file damaged). Its
 * handle is for one thread. */
#include <gdbm.h>

#include "bench.h"

struct kv {
    GDBM_FILE file;
    int sync;
};
struct kv_reader {
    GDBM_FILE file;
    char *last; /* what was fetched is the caller's, who gives it back at the next one */
};
static struct kv_reader the_reader;

static datum datum_of(const void *bytes, size_t size_bytes)
{
    datum d;
    d.dptr = (char *)(uintptr_t)bytes;
    d.dsize = (int)size_bytes;
    return d;
}

static struct kv *kv_open(const char *dir, const char *variant, int create, uint64_t count,
                          size_t value_bytes)
{
    struct kv *kv = (struct kv *)must_alloc(sizeof *kv);
    char path[4096];
    (void)count;
    (void)value_bytes;
    snprintf(path, sizeof path, "%s/gdbm.db", dir);
    kv->sync = strcmp(variant, "sync") == 0;
    kv->file = gdbm_open(path, 0, create ? GDBM_NEWDB : GDBM_READER, 0600, NULL);
    if (kv->file == NULL)
        give_up(gdbm_strerror(gdbm_errno));
    return kv;
}

static void kv_close(struct kv *kv)
{
    free(the_reader.last);
    the_reader.last = NULL;
    gdbm_close(kv->file);
    free(kv);
}

static inline void kv_write_begin(struct kv *kv)
{
    (void)kv;
}

static inline void kv_write_commit(struct kv *kv)
{
    if (kv->sync)
        must(gdbm_sync(kv->file) == 0, "gdbm_sync");
}

static inline int kv_put(struct kv *kv, const char *key, size_t key_bytes, const void *value,
                         size_t value_bytes)
{
    return gdbm_store(kv->file, datum_of(key, key_bytes), datum_of(value, value_bytes),
                      GDBM_INSERT);
}

static inline int kv_update(struct kv *kv, const char *key, size_t key_bytes, const void *value,
                            size_t value_bytes)
{
    return gdbm_store(kv->file, datum_of(key, key_bytes), datum_of(value, value_bytes),
                      GDBM_REPLACE);
}

static inline int kv_delete(struct kv *kv, const char *key, size_t key_bytes)
{
    return gdbm_delete(kv->file, datum_of(key, key_bytes));
}

static inline struct kv_reader *kv_read_begin(struct kv *kv)
{
    the_reader.file = kv->file;
    return &the_reader;
}

static inline void kv_read_end(struct kv_reader *reader)
{
    (void)reader;
}

static inline const void *kv_get(struct kv_reader *reader, const char *key, size_t key_bytes)
{
    free(reader->last);
    reader->last = gdbm_fetch(reader->file, datum_of(key, key_bytes)).dptr;
    return reader->last;
}

static void kv_flush(struct kv *kv)
{
    must(gdbm_sync(kv->file) == 0, "gdbm_sync");
}

static uint64_t kv_bytes(struct kv *kv, const char *dir)
{
    char path[4096];
    (void)kv;
    snprintf(path, sizeof path, "%s/gdbm.db", dir);
    return file_bytes(path);
}

#include "kv_bench.h"
