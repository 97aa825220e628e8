/* SPDX-License-Identifier: MIT */
/*
 * direct.c - the direct engine: edits in place, undone from a list
 *
 *   begin      thread lock, writer's word, gate closed and readers drained; what a dead owner left
 *              is undone; the file's header says "in use"
 *   edit       old lines to the undo list (undo.h), then the caller writes in place
 *   commit     one store empties the undo list
 *   rollback   the undo list is applied
 *   then       gate open, writer's word free
 *
 * Invariants
 *   X1  the segment is changed only by who holds the writer's word with the gate closed by him
 *   X2  every change of live bytes was announced first (undo.h, U1)
 *   X4  seg.size_bytes is the segment header's size_bytes, cut to what the file really has and to
 *       what this handle can address; read anew whenever the lock is taken or changes are undone
 *
 * docs/recovery-direct.md argues why a kill at any instruction leaves the last commit.
 */
#include "engine.h"

#include "base/os.h"
#include "pages.h"
#include "store.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool has_file(const hf_store *store)
{
    return store->backing == HF__BACKING_FILE && store->role != HF__ROLE_FROZEN;
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
    hf__set_flag(&store->locks.table->header.touched, 1);
    int code = hf__undo_open_file(undo, uuid, store->file_mode, true, false);
    if (code == HF_ESIDECAR && !store->locks.table->header.header_marked) {
        /* The header says that nothing can wait to be undone: this is a leftover. */
        hf__os->unlink(store->undo_path);
        code = hf__undo_open_file(undo, uuid, store->file_mode, true, false);
    }
    return code;
}

/* Without a file it is all that this handle can address, since the size may have come down (door_lower)
 * after lines above it were recorded. */
static int undo_to(hf_store *store, uint64_t to, struct hf__undo_stats *stats)
{
    return has_file(store) ? hf__map_undo(store, &store->undo, store->seg.base,
                                          store->size_max_bytes, to, false, stats)
                           : hf__undo_apply(&store->undo, store->seg.base, store->size_max_bytes,
                                            to, false, stats);
}

static int direct_recover(hf_store *store)
{
    struct hf__undo_stats stats = {0, 0};
    if (hf__undo_end(&store->undo) == HF__UNDO_FIRST)
        return 0;
    int code = undo_to(store, HF__UNDO_FIRST, &stats);
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

static int direct_lock(hf_store *store, uint64_t deadline)
{
    int code = hf__writer_lock(&store->locks, deadline);
    if (code != 0)
        return code;
    code = hf__gate_close(&store->locks, UINT64_MAX, deadline);
    if (code != 0)
        goto err_unlock;
    code = open_undo(store);
    if (code != 0)
        goto err_stuck;
    if (has_file(store) && !store->locks.table->header.header_marked)
        hf__undo_forget(&store->undo); /* nothing was changed since the file was clean */
    code = direct_recover(store);
    if (code == 0)
        code = hf__txn_refresh_size(store);
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

static void direct_unlock(hf_store *store)
{
    hf__gate_open(&store->locks);
    hf__writer_unlock(&store->locks);
}

/* In this order: the undo list of the new generation is there, the header says so on stable
 * storage, the lock table remembers it, and only then is anything changed (attach.c, T3). */
static int direct_mark_in_use(hf_store *store)
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
    header.table_state = HF__TABLE_STALE;
    memcpy(header.boot_id, boot_id, 16);
    hf__undo_header(&store->undo)->generation = header.generation;
    code = hf__header_write(store->fd, store->path, &header);
    if (code == 0)
        *marked = 1;
    return code;
}

/* Data first, then forgetting that it was in use, then the header that says so: whoever dies between
 * the last two leaves a header that is marked again, never one that says clean while it is written. */
static int direct_mark_clean(hf_store *store, bool leaving)
{
    struct hf__file_header header;
    const struct hf__segment_header *segment = hf__segment_header(&store->seg);
    if (!has_file(store))
        return 0;
    struct hf__lock_header *table = &store->locks.table->header;
    int code = hf__header_read(store->fd, store->path, false, &header);
    if (code != 0 || (!table->header_marked && header.state == HF__STATE_CLEAN &&
                      (!leaving || header.table_state == HF__TABLE_TRUE)))
        return code;
    /* The kernel tells of a failed write-back once: a sync that succeeds after it proves nothing. */
    if (table->sync_failed)
        return hf__fail_path(HF_EIO, EIO, store->path, "an earlier sync failed");
    /* Who never wrote has no undo list yet. It must be at hand before the sync, to say that it failed. */
    if (table->header_marked && store->undo.map == NULL && (code = open_undo(store)) != 0)
        return code;
    /* Which pages have changed nobody noted, so all are computed: only for the one who leaves. */
    if (leaving) {
        code = hf__pages_write_all(store->fd, store->path, store->constants.salt,
                                   segment->heap.used_end, segment->commit);
        if (code != 0)
            return code;
        header.table_state = HF__TABLE_TRUE;
    }
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

static int make_clean(hf_store *store, bool leaving, uint64_t deadline)
{
    /* No gate: nothing in the segment changes, so readers may stay. */
    int code = hf__writer_lock(&store->locks, deadline);
    if (code != 0)
        return code;
    if (__atomic_load_n(&store->locks.table->header.gate, __ATOMIC_SEQ_CST) == 0) {
        code = direct_mark_clean(store, leaving);
        hf__writer_unlock(&store->locks);
        return code;
    }
    /* A dead writer's leavings are nobody's commit: they are undone first. */
    hf__writer_unlock(&store->locks);
    code = direct_lock(store, deadline);
    if (code == 0) {
        code = direct_mark_clean(store, leaving);
        direct_unlock(store);
    }
    return code;
}

static int direct_sync(hf_store *store, uint64_t deadline)
{
    return make_clean(store, false, deadline);
}

static int direct_clean(hf_store *store, uint64_t deadline)
{
    return make_clean(store, true, deadline);
}

/* ---- the edit door --------------------------------------------------------------------------- */

static int reserve(hf_store *store, uint64_t cost_bytes)
{
    int code = hf__undo_reserve(&store->undo, cost_bytes);
    return code == 0 ? hf__txn_room_to_release(&store->txn, cost_bytes) : code;
}

static int door_reserve(struct hf__segment *seg, uint64_t cost_bytes)
{
    return reserve(seg->owner, cost_bytes);
}

static void door_edit(struct hf__segment *seg, uint64_t offset, uint64_t size_bytes)
{
    hf_store *store = seg->owner;
    hf__undo_record(&store->undo, seg, offset, size_bytes);
}

/* Growing and allocating happen inside operations that have reserved already: what is left of their
 * reservation is kept for them. */
static int reserve_more(hf_store *store, uint64_t cost_bytes)
{
    return reserve(store, hf__undo_reserved(&store->undo) + cost_bytes);
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
    int code = reserve(store, kept + 6 * HF__OP_COST); /* the last is for giving it back */
    if (code == 0)
        code = store->heap.algorithm->allocate(&store->heap, &request, out, NULL);
    store->undo.reserved_end = hf__undo_end(&store->undo) + kept;
    return code;
}

static int door_back(struct hf__segment *seg, uint64_t offset, uint64_t size_bytes, uint64_t end)
{
    return hf__map_back(seg->owner, offset, size_bytes, end);
}

static void door_lower(struct hf__segment *seg, uint64_t size_bytes)
{
    uint64_t *field =
        hf__edit(seg, offsetof(struct hf__segment_header, size_bytes), sizeof(uint64_t));
    *field = seg->size_bytes = size_bytes;
}

static const struct hf__door direct_door = {door_reserve,    door_edit, door_grow, door_allocate,
                                            hf__txn_release, NULL,      door_back, door_lower};

/* ---- the engine ------------------------------------------------------------------------------ */

static int direct_begin(hf_store *store, bool prepare, uint64_t deadline)
{
    int code = direct_lock(store, deadline);
    if (code != 0)
        return code;
    store->backed.from = store->backed.to = 0;
    if (prepare)
        code = direct_mark_in_use(store);
    if (code != 0)
        direct_unlock(store);
    return code;
}

static int direct_commit(hf_store *store)
{
    hf__undo_forget(&store->undo);
    direct_unlock(store);
    return 0;
}

static int direct_rollback(hf_store *store, uint64_t to)
{
    int code = undo_to(store, to, NULL);
    return code == 0 ? hf__txn_refresh_size(store) : code;
}

/* What could not be undone nobody may read: the gate stays closed then, by nobody, and whoever comes
 * next tries again. */
static void direct_abandon(hf_store *store, bool sound)
{
    if (sound) {
        hf__undo_forget(&store->undo);
        direct_unlock(store);
    } else {
        __atomic_store_n(&store->locks.table->header.gate, HF__NOBODY, __ATOMIC_SEQ_CST);
        hf__writer_unlock(&store->locks);
    }
}

/* A transaction that has ended leaves nothing to undo. The table is stale. */
static int direct_begin_punch(hf_store *store, uint64_t deadline, struct hf__segment *shown,
                              uint64_t *base)
{
    int code = direct_begin(store, true, deadline);
    if (code != 0)
        return code;
    *shown = store->seg;
    shown->door = NULL;
    *base = 0;
    return 0;
}

static int direct_unstick(hf_store *store, uint64_t deadline)
{
    int code = direct_lock(store, deadline);
    if (code == 0)
        direct_unlock(store);
    return code;
}

const struct hf__engine hf__engine_direct = {
    .door = &direct_door,
    .keeps_tail = true,
    .begin = direct_begin,
    .end = direct_unlock,
    .commit = direct_commit,
    .rollback = direct_rollback,
    .abandon = direct_abandon,
    .begin_punch = direct_begin_punch,
    .end_punch = direct_unlock,
    .sync = direct_sync,
    .clean = direct_clean,
    .unstick = direct_unstick,
    .replay = hf__map_replay,
};
