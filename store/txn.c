/* SPDX-License-Identifier: MIT */
/*
 * txn.c - transactions on the direct engine
 *
 *   hf_begin     thread lock, writer's word, gate closed and readers drained; what a dead owner
 *                left is undone; the file's header says "in use"
 *   hf_edit      old lines to the undo list (undo.h), then the caller writes in place
 *   hf_commit    pending frees are carried out, then one store empties the undo list
 *   hf_abort     the undo list is applied
 *   then         gate open, writer's word free
 *
 * Invariants
 *   X1  the segment is changed only by who holds the writer's word with the gate closed by him
 *   X2  every change of live bytes was announced first (undo.h, U1)
 *   X3  space freed in a transaction stays allocated until its commit, so what hf_alloc hands out
 *       was free at hf_begin and at every savepoint: its old content needn't be kept
 *   X4  seg.size_bytes is the segment header's size_bytes, cut to what the file really has and to
 *       what this handle can address; read anew whenever the lock is taken or changes are undone
 *
 * docs/recovery.md argues why a kill at any instruction leaves the last commit.
 */
#include "store.h"

#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has_file(const hf_store *store)
{
    return store->backing == HF__BACKING_FILE && store->role != HF__ROLE_FROZEN;
}

uint64_t hf__used_end(const struct hf__segment *seg)
{
    uint64_t end = hf__segment_header(seg)->heap.used_end;
    return end < seg->size_bytes ? end : seg->size_bytes;
}

/* X4 */
static int refresh_size(hf_store *store)
{
    uint64_t size = hf__segment_header(&store->seg)->size_bytes;
    if (size > store->constants.size_max_bytes)
        return hf__corrupt("segment.size", offsetof(struct hf__segment_header, size_bytes));
    if (size > store->size_max_bytes)
        return hf__fail_path(HF_EADDRSPACE, 0, store->path,
                             "it has grown past what this process could reserve");
    if (hf__segment_header(&store->seg)->heap.used_end > size)
        return hf__corrupt("segment.size", offsetof(struct hf__segment_header, size_bytes));
    store->seg.size_bytes = size;
    return 0;
}

/* ---- the writer's place ---------------------------------------------------------------------- */

static int open_undo(hf_store *store)
{
    struct hf__undo *undo = &store->undo;
    const uint8_t *uuid = store->constants.uuid;
    if (undo->map != NULL)
        return hf__undo_refresh(undo);
    if (!has_file(store))
        return hf__undo_open_private(undo);
    int code = hf__undo_open_file(undo, uuid, store->file_mode, true, false);
    if (code == HF_ESIDECAR && !store->locks.table->header.header_marked) {
        /* The header says that nothing can wait to be undone: this is a leftover. */
        hf__os->unlink(store->undo_path);
        code = hf__undo_open_file(undo, uuid, store->file_mode, true, false);
    }
    return code;
}

/* Bytes of the segment that the file really has. */
static int backed_bytes(const hf_store *store, uint64_t *out)
{
    struct stat st;
    if (!has_file(store)) {
        *out = store->seg.size_bytes;
        return 0;
    }
    if (hf__os->fstat(store->fd, &st) != 0)
        return hf__fail_os(errno, store->path, "fstat");
    *out = (uint64_t)st.st_size - HF__SEGMENT_OFFSET;
    if (*out > store->size_max_bytes)
        return hf__fail_path(HF_EADDRSPACE, 0, store->path,
                             "it has grown past what this process could reserve");
    return 0;
}

int hf__direct_recover(hf_store *store)
{
    struct hf__undo_stats stats = {0, 0};
    uint64_t limit;
    if (hf__undo_end(&store->undo) == HF__UNDO_FIRST)
        return 0;
    int code = backed_bytes(store, &limit);
    if (code == 0)
        code = hf__undo_apply(&store->undo, store->seg.base, limit, HF__UNDO_FIRST, false, &stats);
    if (code != 0)
        return code;
    store->recovery.recoveries++;
    store->recovery.cold += store->opening;
    store->recovery.undone_ranges += stats.ranges;
    store->recovery.undone_bytes += stats.bytes;
    store->recovery.last_pid = hf__undo_header(&store->undo)->pid;
    store->recovery.last_ns = hf__os->wall_ns();
    return 0;
}

int hf__direct_lock(hf_store *store, uint64_t deadline)
{
    int code = hf__writer_lock(&store->locks, deadline);
    if (code != 0)
        return code;
    code = hf__gate_close(&store->locks, deadline);
    if (code != 0)
        goto err_unlock;
    code = open_undo(store);
    if (code != 0)
        goto err_stuck;
    if (has_file(store) && !store->locks.table->header.header_marked)
        hf__undo_forget(&store->undo); /* nothing was changed since the file was clean */
    code = hf__direct_recover(store);
    if (code == 0)
        code = refresh_size(store);
    if (code == 0)
        return 0;
err_stuck:
    /* If changes wait to be undone, nobody may read them: the gate stays closed, by nobody. */
    if (store->locks.table->header.header_marked &&
        (store->undo.map == NULL || hf__undo_end(&store->undo) != HF__UNDO_FIRST))
        __atomic_store_n(&store->locks.table->header.gate, HF__NOBODY, __ATOMIC_SEQ_CST);
    else
        hf__gate_open(&store->locks);
err_unlock:
    hf__writer_unlock(&store->locks);
    return code;
}

void hf__direct_unlock(hf_store *store)
{
    hf__gate_open(&store->locks);
    hf__writer_unlock(&store->locks);
}

/* In this order: the undo list of the new generation is there, the header says so on stable
 * storage, the lock table remembers it, and only then is anything changed (attach.c, T3). */
int hf__direct_mark_in_use(hf_store *store)
{
    struct hf__file_header header;
    uint32_t *marked = &store->locks.table->header.header_marked;
    if (!has_file(store) || *marked)
        return 0;
    int code = hf__header_read(store->fd, store->path, false, &header);
    if (code != 0)
        return code;
    uint8_t boot_id[16];
    if (hf__boot_id(boot_id) != 0)
        return hf__fail_os(errno, "boot_id", "reading");
    /* Somebody got as far as the header and no further: list and header must go on to name the same
     * generation at every instant (T3). */
    if (header.state != HF__STATE_IN_USE || memcmp(header.boot_id, boot_id, 16) != 0 ||
        hf__undo_header(&store->undo)->generation != header.generation)
        header.generation++;
    header.state = HF__STATE_IN_USE;
    memcpy(header.boot_id, boot_id, 16);
    hf__undo_header(&store->undo)->generation = header.generation;
    code = hf__header_write(store->fd, store->path, &header);
    if (code == 0)
        *marked = 1;
    return code;
}

/* Data first, then forgetting that it was in use, then the header that says so: whoever dies between
 * the last two leaves a header that is marked again, never one that says clean while it is written. */
int hf__direct_mark_clean(hf_store *store)
{
    struct hf__file_header header;
    const struct hf__segment_header *segment = hf__segment_header(&store->seg);
    if (!has_file(store))
        return 0;
    struct hf__lock_header *table = &store->locks.table->header;
    int code = hf__header_read(store->fd, store->path, false, &header);
    if (code != 0 || (!table->header_marked && header.state == HF__STATE_CLEAN))
        return code;
    /* The kernel tells of a failed write-back once: a sync that succeeds after it proves nothing. */
    if (table->sync_failed)
        return hf__fail_path(HF_EIO, EIO, store->path, "an earlier sync failed");
    if (hf__os->fdatasync(store->fd) != 0) {
        code = hf__fail_os(errno, store->path, "fdatasync");
        table->sync_failed = 1; /* for all who are here, and for who finds the undo list later */
        if (store->undo.map != NULL)
            hf__undo_header(&store->undo)->sync_failed = 1;
        return code;
    }
    table->header_marked = 0;
    header.state = HF__STATE_CLEAN;
    header.size_bytes = segment->size_bytes;
    header.used_end = segment->heap.used_end;
    memset(header.boot_id, 0, sizeof header.boot_id);
    return hf__header_write(store->fd, store->path, &header);
}

int hf__direct_clean(hf_store *store, uint64_t deadline)
{
    /* No gate: nothing in the segment changes, so readers may stay. */
    int code = hf__writer_lock(&store->locks, deadline);
    if (code != 0)
        return code;
    if (__atomic_load_n(&store->locks.table->header.gate, __ATOMIC_SEQ_CST) == 0) {
        code = hf__direct_mark_clean(store);
        hf__writer_unlock(&store->locks);
        return code;
    }
    /* A dead writer's leavings are nobody's commit: they are undone first. */
    hf__writer_unlock(&store->locks);
    code = hf__direct_lock(store, deadline);
    if (code == 0) {
        code = hf__direct_mark_clean(store);
        hf__direct_unlock(store);
    }
    return code;
}

/* ---- the edit door --------------------------------------------------------------------------- */

static int door_reserve(struct hf__segment *seg, uint64_t cost_bytes)
{
    hf_store *store = seg->owner;
    return hf__undo_reserve(&store->undo, cost_bytes);
}

static void door_edit(struct hf__segment *seg, uint64_t offset, uint64_t size_bytes)
{
    hf_store *store = seg->owner;
    hf__undo_record(&store->undo, seg, offset, size_bytes);
}

/* Growing, allocating and releasing happen inside operations that have reserved already: what is
 * left of their reservation is kept for them. */
static int reserve_more(hf_store *store, uint64_t cost_bytes)
{
    return hf__undo_reserve(&store->undo, hf__undo_reserved(&store->undo) + cost_bytes);
}

static int door_grow(struct hf__segment *seg, uint64_t size_bytes)
{
    hf_store *store = seg->owner;
    int code = reserve_more(store, HF__EDIT_COST(sizeof(uint64_t)));
    if (code == 0)
        code = hf__map_grow(store, size_bytes);
    if (code != 0)
        return code;
    uint64_t *field =
        hf__edit(seg, offsetof(struct hf__segment_header, size_bytes), sizeof(uint64_t));
    *field = seg->size_bytes;
    return 0;
}

static int door_allocate(struct hf__segment *seg, uint64_t size_bytes, hf_ref *out)
{
    hf_store *store = seg->owner;
    struct hf__alloc_request request = {size_bytes, HF__BLOCK_UNIT, 0, HF__BLOCK_SYSTEM};
    uint64_t kept = hf__undo_reserved(&store->undo);
    int code = hf__undo_reserve(&store->undo, kept + 5 * HF__OP_COST);
    if (code == 0)
        code = store->heap.algorithm->allocate(&store->heap, &request, out, NULL);
    store->undo.reserved_end = hf__undo_end(&store->undo) + kept;
    return code;
}

static int door_release(struct hf__segment *seg, hf_ref block)
{
    hf_store *store = seg->owner;
    uint64_t kept = hf__undo_reserved(&store->undo);
    int code = hf__undo_reserve(&store->undo, kept + 5 * HF__OP_COST);
    if (code == 0)
        code = hf__txn_free_later(&store->txn, block, 0);
    store->undo.reserved_end = hf__undo_end(&store->undo) + kept;
    return code;
}

const struct hf__door hf__direct_door = {door_reserve, door_edit, door_grow, door_allocate,
                                         door_release};

/* ---- transactions ---------------------------------------------------------------------------- */

int hf__txn_usable(const hf_txn *txn)
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
    /* X3: nothing to keep. */
    (void)txn;
    (void)offset;
    (void)size_bytes;
}

static bool room_for_pending(hf_txn *txn)
{
    if (txn->pending_count < txn->pending_room)
        return true;
    size_t room = txn->pending_room == 0 ? 256 : txn->pending_room * 2;
    hf_ref *pending = realloc(txn->pending, room * sizeof *pending);
    if (pending == NULL)
        return false;
    txn->pending = pending;
    txn->pending_room = room;
    return true;
}

int hf__txn_prepare_free(hf_txn *txn)
{
    return room_for_pending(txn) ? 0 : hf__fail(HF_ENOMEM, "list of freed blocks");
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

int hf_begin(hf_store *store, hf_txn **out)
{
    int code = check_begin(store, out);
    if (code == 0)
        code = hf__direct_lock(store, hf__deadline_in_ms(store->lock_timeout_ms));
    if (code != 0)
        return code;
    code = hf__direct_mark_in_use(store);
    if (code != 0) {
        hf__direct_unlock(store);
        return code;
    }
    hf_txn *txn = &store->txn;
    hf__undo_header(&store->undo)->pid = getpid();
    hf__undo_new_level(&store->undo);
    txn->store = store;
    txn->serial++;
    txn->active = true;
    txn->failed = 0;
    txn->pending_count = txn->savepoint_count = 0;
    txn->savepoint_id = 0;
    hf__view_of_txn_init(txn);
    __atomic_store_n(&store->writer_thread, hf__thread_id(), __ATOMIC_RELAXED);
    *out = txn;
    return 0;
}

/* What could not be undone nobody may read: the gate stays closed then, by nobody, and whoever comes
 * next tries again. */
static void end(hf_txn *txn, bool sound)
{
    hf_store *store = txn->store;
    txn->active = false;
    if (txn->pending_room > 65536 || txn->savepoint_room > 65536)
        hf__txn_dispose(txn);
    __atomic_store_n(&store->writer_thread, 0, __ATOMIC_RELAXED);
    if (sound) {
        hf__direct_unlock(store);
    } else {
        __atomic_store_n(&store->locks.table->header.gate, HF__NOBODY, __ATOMIC_SEQ_CST);
        hf__writer_unlock(&store->locks);
    }
}

void hf_abort(hf_txn *txn)
{
    uint64_t limit;
    if (txn == NULL || hf__txn_usable(txn) != 0)
        return;
    hf_store *store = txn->store;
    int code = backed_bytes(store, &limit);
    if (code == 0)
        code = hf__undo_apply(&store->undo, store->seg.base, limit, HF__UNDO_FIRST, false, NULL);
    if (code == 0) {
        hf__undo_forget(&store->undo);
        code = refresh_size(store);
    }
    end(txn, code == 0);
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
    code = free_pending(txn);
    if (code == 0)
        code = count_commit(txn->store);
    if (code != 0) {
        hf_error failure = *hf_last_error();
        hf_abort(txn);
        return hf__fail_again(&failure);
    }
    hf__undo_forget(&txn->store->undo);
    end(txn, true);
    return 0;
}

/* ---- savepoints ------------------------------------------------------------------------------ */

int hf_savepoint(hf_txn *txn, hf_mark *out)
{
    int code = hf__txn_usable(txn);
    if (code != 0)
        return code;
    if (out == NULL)
        return hf__fail(HF_EINVAL, "hf_savepoint");
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
    hf__undo_new_level(&txn->store->undo);
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
    uint64_t limit;
    code = backed_bytes(store, &limit);
    if (code == 0)
        code = hf__undo_apply(&store->undo, store->seg.base, limit, savepoint->undo_end, false,
                              NULL);
    if (code == 0)
        code = refresh_size(store);
    if (code != 0)
        return code;
    hf__undo_new_level(&store->undo);
    txn->pending_count = savepoint->pending_count;
    txn->savepoint_count = at;
    if (txn->failed != 0 && txn->failed_id >= savepoint->id)
        txn->failed = 0;
    return 0;
}

/* ---- editing --------------------------------------------------------------------------------- */

uint64_t hf__offset_of(const hf_view *view, const void *p)
{
    const hf_store *store = view->store;
    const uint64_t address = (uint64_t)(uintptr_t)p;
    const unsigned char *bases[2] = {view->seg->base, store->seg.base};
    for (int i = 0; i < 2; i++) {
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
    if (!has_file(store) || store->mode == HF_READ_ONLY)
        return 0;
    if (__atomic_load_n(&store->writer_thread, __ATOMIC_RELAXED) == hf__thread_id())
        return hf__fail_path(HF_ENESTED, 0, store->path, "hf_sync");
    if (hf__view_of_thread(store) != NULL)
        return hf__fail_path(HF_EDEADLOCK, 0, store->path, "end the view first");
    return hf__direct_clean(store, hf__deadline_in_ms(store->lock_timeout_ms));
}
