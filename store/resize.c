/* SPDX-License-Identifier: MIT */
/*
 * resize.c - hf_grow and hf_shrink_to_fit: closed stores made larger and smaller
 *
 * Both hold the file alone (ATTACH exclusive), change the segment's recorded size in a transaction,
 * and keep the order that makes a kill harmless: growing allocates first and records then,
 * shrinking records first and cuts then. In between the file is longer than it need be, which is no
 * fault.
 */
#include "engine.h"
#include "store.h"

#include "base/os.h"

#include <errno.h>

/* kept: what a later cut of the tail leaves. */
static int record_size(hf_store *store, uint64_t size_bytes, uint64_t kept)
{
    hf_txn *txn;
    int code = hf_begin(store, &txn);
    if (code != 0)
        return code;
    code = hf__reserve(&store->seg, 2 * HF__EDIT_COST(sizeof(uint64_t)));
    if (code != 0) {
        hf_abort(txn);
        return code;
    }
    uint64_t *field = hf__edit(&store->seg, offsetof(struct hf__segment_header, size_bytes),
                               sizeof(uint64_t));
    *field = size_bytes;
    field = hf__edit(&store->seg, offsetof(struct hf__segment_header, size_kept_bytes),
                     sizeof(uint64_t));
    *field = kept;
    code = hf_commit(txn);
    store->seg.size_bytes = hf__segment_header(&store->seg)->size_bytes;
    return code;
}

static int grow(hf_store *store, uint64_t extra_bytes)
{
    const uint64_t size = store->seg.size_bytes, limit = store->constants.size_max_bytes;
    uint64_t target;
    if (__builtin_add_overflow(size, extra_bytes, &target) || target > limit)
        return hf__fail_path(HF_EFULL, 0, store->path, "%llu and %llu more, of at most %llu bytes",
                             (unsigned long long)size, (unsigned long long)extra_bytes,
                             (unsigned long long)limit);
    target = hf__whole_pages(target);
    if (target > limit)
        target = limit;
    if (hf__segment_allocate(store->fd, size, target) != 0) {
        int code = hf__fail_os(errno, store->path, "growing the file");
        /* What was allocated of it goes back. */
        (void)!hf__os->ftruncate(store->fd, (off_t)hf__file_bytes(size));
        return code;
    }
    /* The start of the log syncs the file, so blocks that a longer file lacked are there before the record. */
    return record_size(store, target, target);
}

/* What the allocator keeps for the next need. */
static int trim(hf_store *store)
{
    hf_txn *txn;
    if (store->heap.algorithm->trim == NULL)
        return 0;
    int code = hf_begin(store, &txn);
    if (code != 0)
        return code;
    code = store->heap.algorithm->trim(&store->heap);
    if (code == 0)
        return hf_commit(txn);
    hf_error failure = *hf_last_error();
    hf_abort(txn);
    return hf__fail_again(&failure);
}

static int shrink_to_fit(hf_store *store)
{
    int code = trim(store);
    if (code != 0)
        return code;
    uint64_t used = hf__heap_used_end(&store->heap);
    uint64_t target = hf__whole_pages(used);
    if (target < HF__SEGMENT_BYTES_MIN)
        target = HF__SEGMENT_BYTES_MIN;
    if (target < store->seg.size_bytes || hf__segment_header(&store->seg)->size_kept_bytes != 0)
        code = record_size(store, target, 0);
    /* Not before the log has begun anew: until then its base may have used what is cut. */
    if (code == 0)
        code = store->engine->clean(store, HF__NO_DEADLINE);
    if (code == 0 && hf__os->ftruncate(store->fd, (off_t)hf__file_bytes(target)) != 0)
        code = hf__fail_os(errno, store->path, "ftruncate");
    return code;
}

static int alone(const char *path, int (*change)(hf_store *, uint64_t), uint64_t argument)
{
    hf_store *store;
    int code = hf__open_alone(path, false, &store);
    if (code != 0)
        return code;
    code = change(store, argument);
    if (code == 0)
        return hf_close(store);
    hf_error failure = *hf_last_error();
    hf_close(store);
    return hf__fail_again(&failure);
}

int hf_grow(const char *path, uint64_t extra_bytes)
{
    if (path == NULL)
        return hf__fail(HF_EINVAL, "hf_grow");
    return alone(path, grow, extra_bytes);
}

static int shrink_change(hf_store *store, uint64_t unused)
{
    (void)unused;
    return shrink_to_fit(store);
}

int hf_shrink_to_fit(const char *path)
{
    if (path == NULL)
        return hf__fail(HF_EINVAL, "hf_shrink_to_fit");
    return alone(path, shrink_change, 0);
}
