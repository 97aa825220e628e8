/* SPDX-License-Identifier: MIT */
/*
 * log_engine.c - begin, commit and rollback on the log engine
 *
 *   begin      the writer's place; what a dead owner left is adopted or recovered; P follows
 *   edit       old lines to an undo list in this process's memory, changed lines to a set
 *   commit     room, fresh space synced, one record, published; the writer's place given up; then
 *              one sync (SYNC) and an attempt to apply
 *   rollback   the undo list is laid over P
 *
 * Invariants
 *   E1  nothing but records, fresh space and file growth leaves this process before the commit
 *   E2  a record is written only into a log that is whole (`log_failed`, `switching` are 0)
 *   E3  a record never shares a block with one that a sync may have made durable (`sealed`)
 *   E4  when the place is given up, P shows commit `seen`, and the window is closed
 *
 * docs/recovery.md has the argument.
 */
#include "alloc/slab_cache.h"
#include "base/bug.h"
#include "base/os.h"
#include "engine.h"
#include "store.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- the edit door --------------------------------------------------------------------------- */

static int reserve(hf_store *store, uint64_t cost_bytes)
{
    int code = hf__undo_reserve(&store->undo, cost_bytes);
    if (code == 0)
        code = hf__private_reserve(store, cost_bytes);
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
    hf__private_change(store, offset, size_bytes);
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

/* Fresh space needs no old lines, but its pages need places in the set. */
static void log_fresh(hf_store *store, uint64_t offset, uint64_t size_bytes)
{
    hf__private_change(store, offset, size_bytes);
}

static int door_allocate(struct hf__segment *seg, uint64_t size_bytes, hf_ref *out)
{
    hf_store *store = seg->owner;
    struct hf__alloc_request request = {size_bytes, HF__BLOCK_UNIT, 0, HF__BLOCK_SYSTEM};
    uint64_t kept = hf__undo_reserved(&store->undo), usable = 0;
    /* Of these the last is for giving it back. */
    int code = reserve(store, kept + 6 * HF__OP_COST + size_bytes / 32);
    if (code == 0)
        code = store->heap.algorithm->allocate(&store->heap, &request, out, &usable);
    if (code == 0)
        log_fresh(store, *out, usable);
    store->undo.reserved_end = hf__undo_end(&store->undo) + kept;
    return code;
}

static void door_fresh(struct hf__segment *seg, uint64_t offset, uint64_t size_bytes)
{
    log_fresh(seg->owner, offset, size_bytes);
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

static const struct hf__door log_door = {door_reserve,    door_edit,  door_grow, door_allocate,
                                         hf__txn_release, door_fresh, door_back, door_lower};

/* ---- the writer's place ---------------------------------------------------------------------- */

static void log_end(hf_store *store)
{
    hf__writer_unlock(&store->locks);
}

/* The place, and a log that can be gone on with. */
static int enter(hf_store *store, uint64_t deadline)
{
    int code = hf__writer_lock(&store->locks, deadline);
    if (code != 0)
        return code;
    if (store->locks.writing.stolen)
        __atomic_store_n(&hf__words(store)->adopt, 1, __ATOMIC_SEQ_CST);
    code = hf__map_writers(store);
    if (code == 0 && hf__flag(&hf__words(store)->recover))
        code = hf__log_recover(store, deadline);
    if (code == 0 && hf__flag(&hf__words(store)->adopt))
        code = hf__log_adopt(store);
    if (code == 0 &&
        (hf__flag(&hf__words(store)->log_failed) || hf__flag(&hf__words(store)->switching)))
        code = hf__log_checkpoint(store, 0, deadline);
    if (code != 0)
        log_end(store);
    return code;
}

static int log_begin(hf_store *store, bool prepare, uint64_t deadline)
{
    int code = enter(store, deadline);
    if (code != 0)
        return code;
    /* Before the transaction grows the file: the log's room mustn't be what is missing in the end. */
    if (hf__tail_own(store)->epoch != 0)
        code = hf__log_open(store, false, false);
    else if (prepare)
        code = hf__log_start(store);
    if (code == 0)
        code = hf__private_end(store); /* one that could not be closed */
    if (code == 0)
        hf__log_check_begin(store);
    if (code == 0)
        code = hf__private_follow(store);
    if (code == 0)
        hf__private_trim(store);
    if (code == 0 && store->undo.map == NULL)
        code = hf__undo_open_private(&store->undo);
    if (code == 0)
        code = hf__txn_refresh_size(store);
    if (code != 0) {
        log_end(store);
        return code;
    }
    hf__undo_forget(&store->undo);
    hf__private_begin(store);
    store->backed.from = store->backed.to = 0;
    return 0;
}

static int log_rollback(hf_store *store, uint64_t to)
{
    if (HF__BUG(LINES_FORGOTTEN_AT_ROLLBACK) && to != HF__UNDO_FIRST)
        hf__lines_empty(&store->log.changed);
    int code = HF__BUG(UNDO_SKIPPED) ? 0
                                     : hf__undo_apply(&store->undo, store->seg.base,
                                                      store->size_max_bytes, to, false, NULL);
    return code == 0 ? hf__txn_refresh_size(store) : code;
}

/* A rollback that failed leaves a P that shows no commit: it is dropped and made anew. */
static void log_abandon(hf_store *store, bool sound)
{
    (void)hf__private_end(store);
    if (!sound)
        store->log.seen_epoch = UINT64_MAX;
    hf__log_check_abandon(store);
    hf__undo_forget(&store->undo);
    hf__slab_forget(&store->heap); /* a commit that failed is none */
    struct hf__record *record = hf__private_record_take(&store->log);
    log_end(store);
    hf__private_record_put(&store->log, record);
}

/* ---- commit ---------------------------------------------------------------------------------- */

/* Undoes the transaction, for the sake of an error that has been recorded. */
static int give_up(hf_store *store, int code)
{
    hf_error failure = *hf_last_error();
    log_abandon(store, log_rollback(store, HF__UNDO_FIRST) == 0);
    hf__fail_again(&failure);
    return code;
}

/* The same after a record may have been written: whoever renews the log finds it whole, perhaps, and
 * then what it left in the window counts. So nothing is rolled back there: P is dropped instead. */
static int give_up_unknown(hf_store *store, int code)
{
    hf_error failure = *hf_last_error();
    if (hf__private_end(store) == 0 && hf__private_forget(store) == 0)
        (void)hf__txn_refresh_size(store);
    log_abandon(store, false);
    hf__fail_again(&failure);
    return code;
}

/* All that can fail without a byte logged. */
static int prepare_record(hf_store *store, uint64_t *length)
{
    int code = hf__log_check_commit(store);
    if (code == 0)
        code = hf__private_encode(store, length);
    if (code != 0 || *length == 0)
        return code;
    if (store->durability == HF_SYNC)
        code = hf__log_mark_synced(store, hf__deadline_in_ms(store->lock_timeout_ms));
    if (code == 0)
        code = hf__log_make_room(store, *length);
    /* Only now: making room may have been a checkpoint, after which the header doesn't say so, and
     * the commit would be shown only once it is durable. */
    if (code == 0 && store->durability == HF_NOSYNC)
        code = hf__log_mark_unsynced(store);
    if (code == 0)
        code = hf__private_write_window(store);
    /* Blocks that were put into holes are there for whoever replays the record, too. */
    if (code == 0 && store->backed.changed && store->log.window_start == UINT64_MAX &&
        !HF__BUG(BLOCKS_NOT_SYNCED))
        code = hf__log_sync_data(store);
    if (code == 0 && store->log.window_start != UINT64_MAX && !HF__BUG(WINDOW_NOT_SYNCED)) {
        code = hf__log_sync_data(store);
        if (code != 0 && (HF__BUG(WINDOW_FAILURE_UNTOLD) || HF__BUG(WINDOW_FAILURE_IGNORED)))
            hf__set_flag(&hf__words(store)->data_failed, 0);
        if (HF__BUG(WINDOW_FAILURE_IGNORED))
            code = 0;
    }
    return code;
}

/* Where the next record goes (E3), with the share noted if it shares a block. A housekeeper that has
 * read an older tail seals in the middle of a block, so it doesn't suffice that the last record isn't
 * sealed: the block's first one mustn't be, and only who wrote the last one knows which that is. */
static uint64_t place_record(hf_store *store, const struct hf__log_tail *tail)
{
    const struct hf__log *log = &store->log;
    uint64_t block = hf__whole_blocks(tail->end);
    uint64_t sealed = __atomic_load_n(&hf__words(store)->sealed, __ATOMIC_SEQ_CST);
    const bool known = log->block_chain == tail->chain && log->block_last == tail->appended;
    while (store->durability != HF_SYNC && known && sealed < log->block_first)
        if (__atomic_compare_exchange_n(&hf__words(store)->sealed, &sealed, sealed | HF__SHARING,
                                        false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return tail->end;
    return HF__BUG(BLOCK_SHARED_WITH_DURABLE) ? tail->end : block;
}

/* Remembers which records the log's last block has, the one just written the last of them. */
static void note_block(struct hf__log *log, const struct hf__record *record, uint64_t at)
{
    const uint64_t end = at + record->length_bytes;
    if (at % HF__LOG_BLOCK == 0 || at / HF__LOG_BLOCK != end / HF__LOG_BLOCK)
        log->block_first = record->commit;
    log->block_last = record->commit;
    log->block_chain = record->check;
}

static int append(hf_store *store, uint64_t length)
{
    struct hf__log *log = &store->log;
    struct hf__record *record = log->record;
    struct hf__log_tail tail = *hf__tail_own(store);
    const int file = (int)(tail.epoch % 2);
    const uint64_t at = place_record(store, &tail);
    record->commit = tail.appended + 1;
    record->chain = tail.chain;
    record->synced_through = HF__BUG(CLAIMS_TOO_MUCH) ? tail.appended : hf__durable(store);
    record->time_ns = hf__os->wall_ns();
    record->pid = log->pid;
    if (store->durability == HF_NOSYNC)
        hf__record_expect(store, record);
    hf__record_seal(record, tail.salt);
    if (hf__write_at(log->fds[file], record, (size_t)length, at) != 0) {
        int error = errno;
        /* It may stand there whole all the same. */
        __atomic_store_n(&hf__words(store)->log_failed, 1, __ATOMIC_SEQ_CST);
        __atomic_fetch_and(&hf__words(store)->sealed, ~HF__SHARING, __ATOMIC_SEQ_CST);
        return hf__fail_path(HF_ECOMMIT_UNKNOWN, error, log->paths[file],
                             "the log could not be written");
    }
    tail.appended = record->commit;
    tail.end = at + length;
    tail.chain = record->check;
    if (record->used_end > tail.fresh_end || HF__BUG(FRESH_END_FALLS))
        tail.fresh_end = record->used_end;
    hf__tail_publish(store, &tail);
    if (store->durability == HF_SYNC)
        __atomic_store_n(&hf__words(store)->sealed, tail.appended, __ATOMIC_SEQ_CST);
    else
        __atomic_fetch_and(&hf__words(store)->sealed, ~HF__SHARING, __ATOMIC_SEQ_CST);
    note_block(log, record, at);
    log->seen = tail.appended;
    log->seen_end = tail.end;
    log->seen_chain = tail.chain;
    return 0;
}

/* What the commit is acknowledged by, and the first try to let views see it. */
static int settle(hf_store *store, const struct hf__record *own, uint64_t own_end)
{
    int code = 0, later = HF_EBUSY;
    if (store->durability == HF_SYNC) {
        if (HF__BUG(APPLIED_BEFORE_DURABLE))
            (void)hf__log_apply(store, own, own_end, true, HF__SOON);
        code = hf__log_sync_to(store, own->commit);
        later = code == 0 ? hf__log_apply(store, own, own_end, false, HF__SOON) : 0;
    } else if (store->durability == HF_NOSYNC) {
        later = hf__log_apply(store, own, own_end, true, HF__SOON);
    }
    /* A view keeps it from being applied, or it is LAZY: the housekeeper sees to it. */
    if (later != 0)
        hf__lazy_wake(store);
    return code;
}

static int log_commit(hf_store *store)
{
    struct hf__record *own = NULL;
    uint64_t length;
    /* Not even counted: a savepoint was rolled back to, and what changed is as it was. A record would be
     * a commit that the segment's header doesn't know. */
    if (hf__undo_end(&store->undo) == HF__UNDO_FIRST)
        hf__lines_empty(&store->log.changed);
    int code = prepare_record(store, &length);
    if (code != 0)
        return give_up(store, code);
    if (length != 0)
        code = append(store, length);
    if (code != 0)
        return HF__BUG(UNKNOWN_ROLLED_BACK) ? give_up(store, code) : give_up_unknown(store, code);
    const uint64_t own_end = store->log.seen_end;
    store->backed.changed = false;
    if (length != 0)
        own = hf__private_record_take(&store->log);
    hf__undo_forget(&store->undo);
    (void)hf__private_end(store);
    hf__space_look(store);
    log_end(store);
    if (own != NULL)
        code = settle(store, own, own_end);
    hf__private_record_put(&store->log, own);
    return code;
}

/* ---- zeros above the used end ----------------------------------------------------------------- */

/* Records end at the used end, so what lies above is zeroed in the file itself. Up to fresh_end it
 * may belong to a state that a reader or a recovery still needs: a checkpoint comes first. */
static int log_zero_tail(hf_store *store)
{
    static const unsigned char zeros[65536];
    struct hf__log_tail tail;
    const uint64_t used_end = hf__used_end(&store->seg);
    const unsigned char *shared = store->log.shared + HF__SEGMENT_OFFSET;
    int code = hf__map_shown(store, store->seg.size_bytes);
    if (code != 0)
        return code;
    hf__tail_read(store, &tail);
    if (tail.fresh_end > used_end && !HF__BUG(ZEROS_TOO_LOW)) {
        code = hf__log_checkpoint(store, 0, hf__log_soon(store));
        if (code != 0)
            return code;
        hf__tail_read(store, &tail);
    }
    uint64_t at = tail.fresh_end > used_end && !HF__BUG(ZEROS_TOO_LOW) ? tail.fresh_end : used_end;
    while (at < store->seg.size_bytes) {
        uint64_t part = sizeof zeros - at % sizeof zeros;
        part = part < store->seg.size_bytes - at ? part : store->seg.size_bytes - at;
        if (memcmp(shared + at, zeros, (size_t)part) != 0 &&
            hf__segment_write(store->fd, zeros, part, at) != 0)
            return hf__fail_os(errno, store->path, "write");
        at += part;
    }
    return 0;
}

/* ---- what may be given back ------------------------------------------------------------------- */

/* After a checkpoint, as long as both places are held, the data file is the base on stable storage and
 * no record stands above it. */
static int log_begin_punch(hf_store *store, uint64_t deadline, struct hf__segment *shown,
                           uint64_t *base)
{
    struct hf__log_front front;
    struct hf__log_tail tail;
    int code = enter(store, deadline);
    if (code != 0)
        return code;
    hf__tail_read(store, &tail);
    if (tail.epoch != 0 && (tail.base != tail.appended || HF__BUG(PUNCHED_ABOVE_BASE)))
        code = HF__BUG(PUNCHED_ABOVE_BASE)
                   ? hf__log_apply(store, NULL, 0, false, hf__log_soon(store))
                   : hf__log_checkpoint(store, 0, hf__log_soon(store));
    if (code == 0)
        code = hf__place_lock(&store->locks, &store->locks.applying, deadline);
    if (code != 0)
        goto err_end;
    hf__tail_read(store, &tail);
    hf__front_read(store, &front);
    *shown = store->seg;
    shown->base = store->log.shared + HF__SEGMENT_OFFSET;
    shown->door = NULL;
    shown->size_bytes = hf__segment_header(shown)->size_bytes;
    *base = hf__segment_header(shown)->commit;
    const bool settled = tail.epoch == 0 ||
                         (tail.base == tail.appended && front.applied == tail.base) ||
                         HF__BUG(PUNCHED_ABOVE_BASE);
    if (settled && (tail.epoch == 0 || *base == tail.appended) &&
        shown->size_bytes <= store->size_max_bytes)
        code = hf__map_shown(store, shown->size_bytes);
    else
        code = hf__fail_path(HF_EBUSY, 0, store->path, "its log could not be emptied");
    if (code == 0)
        return 0;
    hf__place_unlock(&store->locks, &store->locks.applying);
err_end:
    log_end(store);
    return code;
}

static void log_end_punch(hf_store *store)
{
    hf__place_unlock(&store->locks, &store->locks.applying);
    log_end(store);
}

/* ---- syncing and leaving --------------------------------------------------------------------- */

static int log_sync(hf_store *store, uint64_t deadline)
{
    struct hf__log_tail tail;
    int code = enter(store, deadline);
    if (code != 0)
        return code;
    hf__tail_read(store, &tail);
    if (tail.epoch == 0) {
        log_end(store);
        return 0;
    }
    code = hf__log_open(store, false, false);
    if (code == 0)
        code = hf__log_mark_synced(store, deadline);
    __atomic_store_n(&hf__words(store)->sealed, tail.appended, __ATOMIC_SEQ_CST);
    log_end(store);
    if (code == 0 && !HF__BUG(LAZY_NOT_SYNCED))
        code = hf__log_sync_to(store, tail.appended);
    /* Whoever applies now is waited for, a reader inside not for long: durable it is. */
    if (code == 0)
        code = hf__place_lock(&store->locks, &store->locks.applying,
                              hf__os->now_ns() + HF__MOMENT_NS);
    if (code != 0)
        return code;
    code = hf__log_apply_to(store, hf__durable(store), hf__log_soon(store));
    hf__place_unlock(&store->locks, &store->locks.applying);
    return code;
}

static int log_clean(hf_store *store, uint64_t deadline)
{
    int code = enter(store, deadline);
    if (code == 0) {
        code = hf__log_finish(store, deadline);
        log_end(store);
    }
    return code;
}

static int log_unstick(hf_store *store, uint64_t deadline)
{
    int code = 0;
    if (hf__flag(&hf__words(store)->recover) || hf__flag(&hf__words(store)->log_failed)) {
        code = enter(store, deadline);
        if (code == 0)
            log_end(store);
    }
    return code == 0 ? hf__log_apply(store, NULL, 0, false, deadline) : code;
}

const struct hf__engine hf__engine_log = {
    .door = &log_door,
    .begin = log_begin,
    .end = log_end,
    .commit = log_commit,
    .rollback = log_rollback,
    .abandon = log_abandon,
    .fresh = log_fresh,
    .zero_tail = log_zero_tail,
    .begin_punch = log_begin_punch,
    .end_punch = log_end_punch,
    .sync = log_sync,
    .clean = log_clean,
    .unstick = log_unstick,
    .replay = hf__log_replay_stuck,
};
