/* SPDX-License-Identifier: MIT */
/* alloc_holdfast.c - Holdfast. VARIANT is BACKING-ALLOCATOR: heap-slab, heap-best_fit, heap-seq_fit;
 * file-slab (the log engine, lazy: the log and its applying are in the figures, waiting for the disk
 * is not, unless the disk can't keep up); direct-slab (a file, changed in place, whose commits survive
 * what the peers' files survive). A block is kept as its address, as the peers keep theirs: it stays
 * where it is while the store is open. */
#include <holdfast.h>

typedef void *al_handle;

#include "bench.h"

static hf_store *store;
static hf_txn *txn;

static void al_open(const char *dir, const char *variant, uint64_t capacity_bytes)
{
    hf_options options = HF_OPTIONS_INIT;
    char path[4096];
    options.size_max_bytes = capacity_bytes * 4;
    options.durability = HF_LAZY;
    options.engine = strncmp(variant, "file", 4) == 0 ? HF_ENGINE_LOG : HF_ENGINE_DIRECT;
    options.allocator = strstr(variant, "seq_fit") != NULL    ? HF_ALLOC_SEQ_FIT
                        : strstr(variant, "best_fit") != NULL ? HF_ALLOC_BEST_FIT
                                                              : HF_ALLOC_SLAB;
    snprintf(path, sizeof path, "%s/store.hf", dir);
    int code = strncmp(variant, "heap", 4) == 0 ? hf_open_heap(1 << 20, &options, &store)
                                                : hf_open(path, &options, &store);
    must(code == 0, hf_last_error()->message);
}

static void al_close(void)
{
    must(hf_close(store) == 0, hf_last_error()->message);
}

static inline void al_begin(void)
{
    must(hf_begin(store, &txn) == 0, hf_last_error()->message);
}

static inline void al_commit(void)
{
    must(hf_commit(txn) == 0, hf_last_error()->message);
}

static inline void *al_alloc(size_t size_bytes, al_handle *out)
{
    return *out = hf_alloc(txn, size_bytes);
}

static inline void al_free(al_handle handle)
{
    hf_free(txn, handle);
}

#define AL_MANY
static void al_alloc_many(size_t size_bytes, uint64_t count, al_handle *out)
{
    must(hf_alloc_many(txn, size_bytes, count, out) == 0, hf_last_error()->message);
}

static void al_free_many(al_handle *handles, uint64_t count)
{
    hf_free_many(txn, handles, count);
}

#define AL_ALIGNED
static void *al_alloc_aligned(size_t size_bytes, size_t align, al_handle *out)
{
    return *out = hf_alloc_aligned(txn, size_bytes, align);
}

#define AL_RESIZE
static int al_resize(al_handle handle, size_t size_bytes)
{
    return hf_resize(txn, size_bytes > 2048 ? HF_EXPAND_FORWARD : HF_SHRINK_IN_PLACE, handle,
                     size_bytes + (size_bytes > 2048 ? 0 : 64), size_bytes, NULL) != NULL;
}

static uint64_t al_used_bytes(void)
{
    hf_store_info info;
    int code;
    do
        code = hf_sync(store); /* so that what was lazy shows */
    while (code == HF_EBUSY && usleep(1000) == 0);
    must(code == 0, hf_last_error()->message);
    must(hf_info(store, &info) == 0, hf_last_error()->message);
    return info.used_end_bytes;
}

#include "alloc_bench.h"
