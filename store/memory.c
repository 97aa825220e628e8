/* SPDX-License-Identifier: MIT */
/*
 * memory.c - raw blocks: hf_alloc and its kin over the store's allocator
 *
 * The segment header counts raw blocks, so that all_memory_deallocated and hf_info need no walk.
 * Every function reserves room in the undo list for all it will do before it changes anything.
 * Counting is put off until somebody looks: hf__txn_settle.
 */
#include "alloc/slab_cache.h"
#include "engine.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>

static void *allocate(hf_txn *txn, size_t size_bytes, size_t align_bytes)
{
    if (hf__txn_usable(txn) != 0)
        return NULL;
    hf_store *store = txn->store;
    struct hf__alloc_request request = {size_bytes, align_bytes, 0, HF__BLOCK_RAW};
    uint64_t usable;
    hf_ref block;
    if (store->heap.algorithm->allocate(&store->heap, &request, &block, &usable) != 0)
        return NULL;
    hf__txn_fresh(txn, block, usable);
    txn->raw_change++;
    return store->seg.base + block;
}

void *hf_alloc(hf_txn *txn, size_t size_bytes)
{
    hf_ref block;
    if (size_bytes - 1 < HF__SLOT_BYTES_MAX && hf__txn_usable(txn) == 0) {
        struct hf__slab_cache *cache = txn->store->heap.cache;
        if (cache != NULL &&
            hf__slab_quick_take(cache, hf__slot_class_of(size_bytes), &block, NULL)) {
            txn->raw_change++;
            return txn->store->seg.base + block;
        }
    }
    return allocate(txn, size_bytes, size_bytes % 16 == 0 ? 16 : 8);
}

void *hf_alloc_aligned(hf_txn *txn, size_t size_bytes, size_t align_bytes)
{
    if (align_bytes == 0 || (align_bytes & (align_bytes - 1)) != 0 ||
        align_bytes > HF_ALIGN_BYTES_MAX) {
        hf__fail(HF_EINVAL, "alignment %zu is not a power of two up to %d", align_bytes,
                 HF_ALIGN_BYTES_MAX);
        return NULL;
    }
    if (txn != NULL && txn->active && (uintptr_t)txn->store->seg.base % align_bytes != 0) {
        hf__fail(HF_EINVAL, "the buffer itself is not aligned to %zu", align_bytes);
        return NULL;
    }
    return allocate(txn, size_bytes, align_bytes);
}

/* ---- freeing --------------------------------------------------------------------------------- */

/* The raw block at this address: its offset, or 0 and HF_EPTR. */
static hf_ref raw_block_at(const hf_view *view, const void *p, struct hf__block_info *out)
{
    struct hf__heap heap = hf__heap_over(view->store, view->seg);
    uint64_t offset = hf__offset_of(view, p);
    if (offset == UINT64_MAX || hf__heap_identify(&heap, offset, out) != 0 ||
        out->kind != HF__BLOCK_RAW || out->pending) {
        hf__fail(HF_EPTR, "%p is not a block of hf_alloc", p);
        return 0;
    }
    return offset;
}

static int free_block(hf_txn *txn, const void *p)
{
    uint64_t offset = hf__offset_of(&txn->view, p);
    int code = offset != UINT64_MAX ? hf__txn_free_later(txn, offset, HF__BLOCK_RAW) : HF_EPTR;
    if (code == 0)
        txn->raw_change--;
    return code != HF_EPTR ? code : hf__fail(HF_EPTR, "%p is not a block of hf_alloc", p);
}

/* What can't be freed fails the transaction. */
static __attribute__((noinline)) void free_or_fail(hf_txn *txn, const void *p)
{
    int code = free_block(txn, p);
    if (code != 0)
        hf__txn_fail(txn, code);
}

void hf_free(hf_txn *txn, const void *p)
{
    if (p == NULL || hf__txn_usable(txn) != 0)
        return;
    struct hf__heap *heap = &txn->store->heap;
    const uint64_t offset = (uint64_t)(uintptr_t)p - (uint64_t)(uintptr_t)heap->seg->base;
    if (heap->cache != NULL && offset < heap->seg->size_bytes &&
        hf__slab_quick_free(heap, offset, HF__BLOCK_RAW))
        txn->raw_change--;
    else
        free_or_fail(txn, p);
}

void hf_free_many(hf_txn *txn, void *const *blocks, size_t count)
{
    for (size_t i = 0; blocks != NULL && i < count; i++)
        hf_free(txn, blocks[i]);
}

size_t hf_usable_bytes(hf_view *view, const void *p)
{
    struct hf__block_info block;
    if (hf__view_usable(view) != 0 || raw_block_at(view, p, &block) == 0)
        return 0;
    return (size_t)block.usable_bytes;
}

/* ---- many at once ---------------------------------------------------------------------------- */

static int allocate_many(hf_txn *txn, const size_t *sizes, size_t size, size_t count, void **out)
{
    _Static_assert(sizeof(size_t) == sizeof(uint64_t), "64-bit: sizes are as wide as in the file");
    int code = hf__txn_usable(txn);
    if (code != 0 || count == 0)
        return code;
    if (out == NULL)
        return hf__fail(HF_EINVAL, "hf_alloc_many");
    hf_store *store = txn->store;
    hf_ref *refs = count <= SIZE_MAX / sizeof *refs ? malloc(count * sizeof *refs) : NULL;
    if (refs == NULL)
        return hf__fail(HF_ENOMEM, "%zu references", count);
    code = store->heap.algorithm->allocate_many(&store->heap, (const uint64_t *)sizes, size, count,
                                                HF__BLOCK_RAW, refs);
    if (code == 0) {
        txn->raw_change += count;
        for (size_t i = 0; i < count; i++)
            out[i] = store->seg.base + refs[i];
    }
    free(refs);
    return code;
}

int hf_alloc_many(hf_txn *txn, size_t size_bytes, size_t count, void **out)
{
    return allocate_many(txn, NULL, size_bytes, count, out);
}

int hf_alloc_many_sizes(hf_txn *txn, const size_t *sizes_bytes, size_t count, void **out)
{
    if (sizes_bytes == NULL && count != 0)
        return hf__fail(HF_EINVAL, "hf_alloc_many_sizes");
    return allocate_many(txn, sizes_bytes, 0, count, out);
}

/* ---- resizing -------------------------------------------------------------------------------- */

/* Cuts the block and frees the end when the transaction ends: a savepoint may want it back (X3). */
static void *shrink(hf_txn *txn, hf_ref block, uint64_t usable, size_t limit_bytes,
                    size_t preferred_bytes, size_t *received)
{
    hf_store *store = txn->store;
    struct hf__block_info kept;
    hf_ref rest;
    const uint64_t smallest = HF__BLOCK_BYTES_MIN - HF__BLOCK_HEADER_BYTES;
    uint64_t reach = (preferred_bytes + HF__BLOCK_UNIT - 1) / HF__BLOCK_UNIT * HF__BLOCK_UNIT;
    reach = reach < smallest ? smallest : reach;
    if (reach > limit_bytes && usable > limit_bytes) {
        if (received != NULL)
            *received = (size_t)reach;
        hf__fail(HF_EFULL, "the block can't be made smaller than %llu bytes",
                 (unsigned long long)reach);
        return NULL;
    }
    if (hf__reserve(&store->seg, 10 * HF__OP_COST) != 0 || hf__txn_prepare_free(txn) != 0 ||
        store->heap.algorithm->split(&store->heap, block, preferred_bytes, &rest) != 0)
        return NULL;
    if (rest != 0) {
        if (hf__txn_free_later(txn, rest, HF__BLOCK_RAW) != 0)
            return NULL;
        hf__heap_identify(&store->heap, block, &kept);
        usable = kept.usable_bytes;
    }
    if (received != NULL)
        *received = (size_t)usable;
    if (usable > limit_bytes) {
        hf__fail(HF_EFULL, "the block can't be made smaller than %llu bytes",
                 (unsigned long long)usable);
        return NULL;
    }
    return store->seg.base + block;
}

static bool command_ok(unsigned command, const void *p, size_t limit_bytes, size_t preferred_bytes)
{
    const unsigned expand = HF_EXPAND_FORWARD | HF_EXPAND_BACKWARD;
    if (command == HF_SHRINK_IN_PLACE)
        return p != NULL && preferred_bytes <= limit_bytes;
    if (command == 0 || (command & ~(expand | HF_ALLOCATE_NEW)) != 0)
        return false;
    return limit_bytes <= preferred_bytes && (p != NULL || command == HF_ALLOCATE_NEW);
}

static void *expand(hf_txn *txn, unsigned command, hf_ref block, size_t limit_bytes,
                    size_t preferred_bytes, uint64_t *received)
{
    hf_store *store = txn->store;
    hf_ref moved;
    int code = store->heap.algorithm->expand(&store->heap, block, command, limit_bytes,
                                             preferred_bytes, &moved, received);
    if (code != 0)
        return NULL;
    /* What was added is as new; what was there may go on being written, as before. */
    hf__txn_fresh(txn, moved, *received);
    return store->seg.base + moved;
}

void *hf_resize(hf_txn *txn, unsigned command, const void *p, size_t limit_bytes,
                size_t preferred_bytes, size_t *received_bytes)
{
    struct hf__block_info info = {0};
    uint64_t received = 0;
    hf_ref block = 0;
    void *result = NULL;
    if (hf__txn_usable(txn) != 0)
        return NULL;
    if (!command_ok(command, p, limit_bytes, preferred_bytes)) {
        hf__fail(HF_EINVAL, "hf_resize: command %#x with limit %zu, preferred %zu", command,
                 limit_bytes, preferred_bytes);
        return NULL;
    }
    if (p != NULL && (block = raw_block_at(&txn->view, p, &info)) == 0)
        return NULL;
    if (command == HF_SHRINK_IN_PLACE)
        return shrink(txn, block, info.usable_bytes, limit_bytes, preferred_bytes, received_bytes);
    unsigned in_place = command & (HF_EXPAND_FORWARD | HF_EXPAND_BACKWARD);
    if (in_place != 0)
        result = expand(txn, in_place, block, limit_bytes, preferred_bytes, &received);
    if (result == NULL && (command & HF_ALLOCATE_NEW) != 0) {
        result = hf_alloc(txn, preferred_bytes);
        if (result == NULL && limit_bytes < preferred_bytes)
            result = hf_alloc(txn, limit_bytes);
        if (result != NULL)
            received = hf_usable_bytes(&txn->view, result);
        else if (received < txn->store->heap.algorithm->largest_free(&txn->store->heap))
            received = txn->store->heap.algorithm->largest_free(&txn->store->heap);
    }
    if (received_bytes != NULL)
        *received_bytes = (size_t)received;
    return result;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void note_zeroed(void *user, uint64_t offset, uint64_t size_bytes)
{
    hf_store *store = user;
    if (store->engine->fresh == NULL)
        return;
    store->engine->fresh(store, offset, size_bytes);
    store->txn.zeroed = true;
}

int hf_zero_free_memory(hf_txn *txn)
{
    int code = hf__txn_usable(txn);
    if (code != 0)
        return code;
    hf_store *store = txn->store;
    code = hf__txn_settle(store);
    if (code != 0)
        return code;
    code = hf__space_zero(store, note_zeroed, store);
    if (code != 0)
        return code;
    store->heap.algorithm->zero_free(&store->heap, note_zeroed, store);
    return store->engine->zero_tail != NULL ? store->engine->zero_tail(store) : 0;
}

int hf_all_memory_deallocated(hf_view *view)
{
    if (hf__view_usable(view) != 0)
        return 0;
    if (view == &view->store->txn.view && hf__txn_settle(view->store) != 0)
        return 0;
    const struct hf__segment_header *header = hf__segment_header(view->seg);
    return header->raw_count == 0 && header->anonymous_count == 0 && header->named.count == 0 &&
           header->unique.count == 0;
}
