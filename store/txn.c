/* SPDX-License-Identifier: MIT */
/*
 * txn.c - transactions, as far as they are the same on every engine (engine.h)
 *
 * Invariants
 *   X2  every change of live bytes was announced first
 *   X3  space freed in a transaction stays allocated until its commit, so what hf_alloc hands out
 *       was free at hf_begin and at every savepoint: its old content needn't be kept
 *
 * docs/recovery.md and docs/recovery-direct.md argue why a kill at any instruction leaves the last
 * commit.
 */
#include "alloc/slab_cache.h"
#include "engine.h"
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int hf__txn_refresh_size(hf_store *store)
{
    uint64_t size = hf__segment_header(&store->seg)->size_bytes;
    if (size > store->constants.size_max_bytes)
        return hf__corrupt("segment.size", offsetof(struct hf__segment_header, size_bytes));
    if (size > store->size_max_bytes)
        return hf__fail_outgrown(store);
    if (hf__segment_header(&store->seg)->heap.used_end > size)
        return hf__corrupt("segment.size", offsetof(struct hf__segment_header, size_bytes));
    store->seg.size_bytes = size;
    return 0;
}

/* ---- transactions ---------------------------------------------------------------------------- */

int hf__txn_judge(const hf_txn *txn)
{
    if (txn == NULL)
        return hf__fail(HF_EINVAL, "no transaction");
    if (txn->store->forked)
        return hf__fail(HF_EFORKED, "the transaction is the parent's");
    if (!txn->active)
        return hf__fail(HF_EINVAL, "the transaction has ended");
    return 0;
}

void hf__txn_fresh(hf_txn *txn, hf_ref offset, uint64_t size_bytes)
{
    hf_store *store = txn->store;
    if (store->engine->fresh != NULL)
        store->engine->fresh(store, offset, size_bytes);
}

static bool room_for_pending(hf_txn *txn, size_t count)
{
    if (txn->pending_count + count <= txn->pending_room)
        return true;
    size_t room = txn->pending_room == 0 ? 256 : txn->pending_room * 2;
    while (room < txn->pending_count + count)
        room *= 2;
    hf_ref *pending = realloc(txn->pending, room * sizeof *pending);
    if (pending == NULL)
        return false;
    txn->pending = pending;
    txn->pending_room = room;
    return true;
}

int hf__txn_prepare_free(hf_txn *txn)
{
    return room_for_pending(txn, 1) ? 0 : hf__fail(HF_ENOMEM, "list of freed blocks");
}

int hf__txn_make_room(hf_txn *txn)
{
    return room_for_pending(txn, HF__RELEASES_MAX) ? 0 : hf__fail(HF_ENOMEM, "list of freed blocks");
}

/* What marking the block announces is part of what the caller, or whoever allocated it, has reserved. */
int hf__txn_release(struct hf__segment *seg, hf_ref block)
{
    hf_store *store = seg->owner;
    const uint64_t reserved_end = store->undo.reserved_end;
    int code = hf__txn_free_later(&store->txn, block, 0);
    store->undo.reserved_end = reserved_end;
    return code;
}

int hf__txn_free_later(hf_txn *txn, hf_ref block, uint32_t kind)
{
    hf_ref entry = 0;
    int code = hf__txn_prepare_free(txn);
    if (code == 0)
        code = hf__block_free_later(&txn->store->heap, block, kind, &entry);
    if (code == 0 && entry != 0)
        txn->pending[txn->pending_count++] = entry;
    return code;
}

/* The heap's entries go to the transaction's list. Nothing is lost for want of memory: they are asked
 * for once there is room. */
static int take_entries(hf_txn *txn)
{
    struct hf__heap *heap = &txn->store->heap;
    const hf_ref *entries = NULL;
    if (heap->cache == NULL || heap->cache->entry_count == 0)
        return 0;
    if (!room_for_pending(txn, heap->cache->entry_count))
        return hf__fail(HF_ENOMEM, "list of freed blocks");
    const size_t count = hf__slab_entries(heap, &entries);
    memcpy(txn->pending + txn->pending_count, entries, count * sizeof *entries);
    txn->pending_count += count;
    return 0;
}

int hf__txn_settle(hf_store *store)
{
    hf_txn *txn = &store->txn;
    int code = txn->active ? hf__slab_settle(&store->heap) : 0;
    if (code == 0 && txn->active)
        code = take_entries(txn);
    if (code != 0 || !txn->active || txn->raw_change == 0)
        return code;
    code = hf__reserve(&store->seg, HF__EDIT_COST(sizeof(uint64_t)));
    if (code != 0)
        return code;
    uint64_t *count = hf__edit(&store->seg, offsetof(struct hf__segment_header, raw_count),
                               sizeof(uint64_t));
    *count += txn->raw_change;
    txn->raw_change = 0;
    return 0;
}

void hf__txn_fail(hf_txn *txn, int code)
{
    if (txn->failed != 0)
        return;
    txn->failed = code;
    txn->failure = *hf_last_error();
    txn->failed_id = txn->savepoint_id;
}

void hf__txn_keep(hf_txn *txn, hf_ref block)
{
    hf_error failure = *hf_last_error();
    /* A slot's entry may stand for others of its chunk by now; one too many does no harm. */
    if (hf__block_clear_pending(&txn->store->heap, block) == 0 && txn->pending_count != 0 &&
        txn->pending[txn->pending_count - 1] == block)
        txn->pending_count--;
    hf__fail_again(&failure);
}

void hf__txn_dispose(hf_txn *txn)
{
    free(txn->pending);
    free(txn->savepoints);
    txn->pending = NULL;
    txn->savepoints = NULL;
    txn->pending_room = txn->savepoint_room = 0;
}

/* What is kept in process memory holds since the innermost savepoint, no longer. */
static void new_level(hf_store *store)
{
    /* A line that the used end parts is partly somebody's. */
    const uint64_t tail = (hf__used_end(&store->seg) + HF__LINE_BYTES - 1) / HF__LINE_BYTES;
    hf__undo_new_level(&store->undo,
                       store->engine->keeps_tail ? UINT64_MAX : tail * HF__LINE_BYTES);
    hf__slab_new_level(&store->heap);
    store->txn.raw_change = 0;
}

static uint64_t header_commit(const hf_store *store)
{
    return ((const struct hf__segment_header *)(const void *)store->seg.base)->commit;
}

static int check_begin(hf_store *store, hf_txn **out)
{
    if (store == NULL || out == NULL)
        return hf__fail(HF_EINVAL, "hf_begin");
    if (store->forked)
        return hf__fail(HF_EFORKED, "open the store anew in the child");
    if (store->mode == HF_READ_ONLY)
        return hf__fail_path(HF_EREADONLY, 0, store->path, "hf_begin");
    if (__atomic_load_n(&store->writer_thread, __ATOMIC_RELAXED) == hf__thread_id())
        return hf__fail_path(HF_ENESTED, 0, store->path, "use savepoints inside it");
    if (hf__view_of_thread(store) != NULL)
        return hf__fail_path(HF_EDEADLOCK, 0, store->path, "end the view first");
    return 0;
}

int hf__begin_by(hf_store *store, uint64_t deadline, hf_txn **out)
{
    int code = check_begin(store, out);
    if (code == 0)
        code = store->engine->begin(store, true, deadline);
    if (code != 0)
        return code;
    hf_txn *txn = &store->txn;
    hf__undo_header(&store->undo)->pid = store->log.pid;
    if (store->heap.cache == NULL && store->heap.algorithm->slabs)
        store->heap.cache = hf__slab_cache_new();
    hf__slab_begin(&store->heap, header_commit(store));
    new_level(store);
    txn->store = store;
    txn->serial++;
    txn->active = true;
    txn->failed = 0;
    txn->zeroed = false;
    txn->pending_count = txn->savepoint_count = 0;
    txn->savepoint_id = 0;
    hf__view_of_txn_init(txn);
    __atomic_store_n(&store->writer_thread, hf__thread_id(), __ATOMIC_RELAXED);
    *out = txn;
    return 0;
}

int hf_begin(hf_store *store, hf_txn **out)
{
    return hf__begin_by(store,
                        hf__deadline_in_ms(store != NULL ? store->lock_timeout_ms : 0), out);
}

static void end(hf_txn *txn)
{
    txn->active = false;
    if (txn->pending_room > 65536 || txn->savepoint_room > 65536)
        hf__txn_dispose(txn);
    __atomic_store_n(&txn->store->writer_thread, 0, __ATOMIC_RELAXED);
}

void hf_abort(hf_txn *txn)
{
    if (txn == NULL || hf__txn_usable(txn) != 0)
        return;
    hf_store *store = txn->store;
    int code = store->engine->rollback(store, HF__UNDO_FIRST);
    hf__slab_forget(&store->heap);
    end(txn);
    store->engine->abandon(store, code == 0);
}

/* Chunks first, as they come. Then blocks in address order: neighbours are merged while they are in
 * the cache, and from the end backwards, so that the used end comes down without a detour through the
 * free structure. */
static int free_pending(hf_txn *txn)
{
    struct hf__heap *heap = &txn->store->heap;
    size_t blocks = 0;
    for (size_t i = 0; i < txn->pending_count; i++) {
        hf_ref entry = txn->pending[i];
        if ((entry & HF__ENTRY_OF_SLOTS) == 0) {
            txn->pending[blocks++] = entry;
            continue;
        }
        int code = hf__heap_free_entry(heap, entry);
        if (code != 0)
            return code;
    }
    if (blocks > 1)
        qsort(txn->pending, blocks, sizeof *txn->pending, hf__compare_refs);
    for (size_t i = blocks; i-- > 0;) {
        int code = hf__heap_free_entry(heap, txn->pending[i]);
        if (code != 0)
            return code;
    }
    return 0;
}

static int count_commit(hf_store *store)
{
    int code = hf__reserve(&store->seg, HF__EDIT_COST(sizeof(uint64_t)));
    if (code != 0)
        return code;
    uint64_t *commit =
        hf__edit(&store->seg, offsetof(struct hf__segment_header, commit), sizeof(uint64_t));
    ++*commit;
    return 0;
}

int hf_commit(hf_txn *txn)
{
    int code = hf__txn_usable(txn);
    if (code != 0)
        return code;
    if (txn->failed != 0) {
        hf_error failure = txn->failure;
        hf_abort(txn);
        return hf__fail_again(&failure);
    }
    code = hf__slab_finish(&txn->store->heap);
    if (code == 0)
        code = hf__txn_settle(txn->store);
    if (code == 0)
        code = free_pending(txn);
    /* A transaction that changed nothing is no commit, and leaves no record. */
    if (code == 0 && (txn->zeroed || hf__undo_end(&txn->store->undo) != HF__UNDO_FIRST))
        code = count_commit(txn->store);
    if (code != 0) {
        hf_error failure = *hf_last_error();
        hf_abort(txn);
        return hf__fail_again(&failure);
    }
    hf__slab_keep(&txn->store->heap, header_commit(txn->store));
    end(txn);
    return txn->store->engine->commit(txn->store);
}

/* ---- savepoints ------------------------------------------------------------------------------ */

int hf_savepoint(hf_txn *txn, hf_mark *out)
{
    int code = hf__txn_usable(txn);
    if (code != 0)
        return code;
    if (out == NULL)
        return hf__fail(HF_EINVAL, "hf_savepoint");
    code = hf__txn_settle(txn->store);
    if (code != 0)
        return code;
    if (txn->savepoint_count == txn->savepoint_room) {
        size_t room = txn->savepoint_room == 0 ? 16 : txn->savepoint_room * 2;
        struct hf__savepoint *savepoints =
            realloc(txn->savepoints, room * sizeof *txn->savepoints);
        if (savepoints == NULL)
            return hf__fail(HF_ENOMEM, "savepoints");
        txn->savepoints = savepoints;
        txn->savepoint_room = room;
    }
    txn->savepoints[txn->savepoint_count++] = (struct hf__savepoint){
        ++txn->savepoint_id, hf__undo_end(&txn->store->undo), txn->pending_count};
    new_level(txn->store);
    *out = (hf_mark){{txn->serial, txn->savepoint_id, (uint64_t)(uintptr_t)txn->store, 0, 0, 0}};
    return 0;
}

int hf_rollback_to(hf_txn *txn, hf_mark mark)
{
    int code = hf__txn_usable(txn);
    if (code != 0)
        return code;
    hf_store *store = txn->store;
    size_t at = txn->savepoint_count;
    while (at > 0 && txn->savepoints[at - 1].id > mark.opaque[1])
        at--;
    if (mark.opaque[0] != txn->serial || mark.opaque[2] != (uint64_t)(uintptr_t)store || at == 0 ||
        txn->savepoints[at - 1].id != mark.opaque[1])
        return hf__fail(HF_EINVAL, "not a savepoint of this transaction any more");
    const struct hf__savepoint *savepoint = &txn->savepoints[at - 1];
    txn->view.memory_id = 0;
    code = store->engine->rollback(store, savepoint->undo_end);
    hf__slab_forget(&store->heap);
    if (code != 0) { /* nobody knows what it is like now */
        hf__slab_new_level(&store->heap);
        hf__txn_fail(txn, code);
        return code;
    }
    new_level(store);
    txn->pending_count = savepoint->pending_count;
    txn->savepoint_count = at;
    if (txn->failed != 0 && txn->failed_id >= savepoint->id)
        txn->failed = 0;
    return 0;
}

/* ---- editing --------------------------------------------------------------------------------- */

uint64_t hf__offset_in_any(const hf_view *view, const void *p)
{
    const hf_store *store = view->store;
    const uint64_t address = (uint64_t)(uintptr_t)p;
    const unsigned char *shared = store->log.shared;
    const unsigned char *bases[3] = {view->seg->base, store->seg.base,
                                     shared == NULL ? NULL : shared + HF__SEGMENT_OFFSET};
    for (int i = 0; i < 3; i++) {
        if (bases[i] == NULL)
            continue;
        uint64_t base = (uint64_t)(uintptr_t)bases[i];
        if (address >= base && address - base < store->size_max_bytes)
            return address - base;
    }
    return UINT64_MAX;
}

void *hf_edit(hf_txn *txn, const void *p, size_t size_bytes)
{
    if (hf__txn_usable(txn) != 0)
        return NULL;
    struct hf__segment *seg = &txn->store->seg;
    uint64_t offset = hf__offset_of(&txn->view, p), end_of_used = hf__used_end(seg);
    if (offset < HF__FIRST_BLOCK || offset > end_of_used || size_bytes > end_of_used - offset) {
        hf__fail(HF_EPTR, "hf_edit: not inside the used part of the store");
        return NULL;
    }
    if (hf__reserve(seg, HF__EDIT_COST(size_bytes)) != 0)
        return NULL;
    return hf__edit(seg, offset, size_bytes);
}

/* ---- syncing --------------------------------------------------------------------------------- */

int hf_sync(hf_store *store)
{
    if (store == NULL)
        return hf__fail(HF_EINVAL, "hf_sync");
    if (store->forked)
        return hf__fail(HF_EFORKED, "hf_sync");
    if (store->backing != HF__BACKING_FILE || store->role != HF__ROLE_WRITER)
        return 0;
    if (__atomic_load_n(&store->writer_thread, __ATOMIC_RELAXED) == hf__thread_id())
        return hf__fail_path(HF_ENESTED, 0, store->path, "hf_sync");
    if (hf__view_of_thread(store) != NULL)
        return hf__fail_path(HF_EDEADLOCK, 0, store->path, "end the view first");
    return store->engine->sync(store, hf__deadline_in_ms(store->lock_timeout_ms));
}
