/* SPDX-License-Identifier: MIT */
/*
 * apply.c - from the log to stable storage, and from there to the data file
 *
 *   sync        the log file; what was sealed before it began is durable after it
 *   apply       durable records into the data file, gate closed for a moment at a time
 *
 * Invariants
 *   A1  a byte of a record reaches the data file only after `durable` has reached the record (but
 *       for NOSYNC, when the header says so)
 *   A2  records are applied in order by who has the applier's place, with the gate closed; a gate
 *       that a dead applier closed is opened by who has applied from `applied` on again
 */
#include "base/bug.h"
#include "base/os.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- syncing the log ------------------------------------------------------------------------- */

static void tell_failed(hf_store *store, uint64_t epoch)
{
    struct hf__log_tail tail;
    hf__tail_read(store, &tail);
    if (tail.epoch == epoch)
        hf__set_flag(&hf__words(store)->log_failed, 1);
}

/* Writes the published records that aren't durable once more, as they stand. With the applier's place
 * held: nobody writes another log over them meanwhile. */
static int write_undurable(hf_store *store, const struct hf__log_tail *tail)
{
    struct hf__log_cursor *cursor = &store->log.reading;
    const uint64_t durable = hf__durable(store);
    const int file = (int)(tail->epoch % 2);
    struct hf__log_front front;
    hf__front_read(store, &front);
    if (front.applied <= durable)
        hf__cursor_set(cursor, store, file, tail->salt, front.applied, front.chain, front.end);
    else
        hf__cursor_set(cursor, store, file, tail->salt, tail->base, tail->salt, HF__LOG_FIRST);
    return hf__cursor_write_again(cursor, tail->appended, durable);
}

/* A descriptor opened now hears nothing of a failure that somebody was told of before, who may have
 * died since or not have passed it on yet. So it must not answer for what was written before: that is
 * written again (docs/recovery.md). */
static int answer_for_nothing_old(hf_store *store, int file)
{
    struct hf__log_tail tail;
    int code = hf__log_open(store, false, false);
    if (code == 0)
        code = hf__place_lock(&store->locks, &store->locks.applying, HF__NO_DEADLINE);
    if (code != 0)
        return code;
    hf__tail_read(store, &tail);
    /* Of the file that isn't in use everything will be written from now on. */
    if (tail.epoch != 0 && (int)(tail.epoch % 2) == file && hf__durable(store) < tail.appended)
        code = write_undurable(store, &tail);
    hf__place_unlock(&store->locks, &store->locks.applying);
    return code;
}

/* A descriptor of its own for each thread that syncs at a time: of a failed write-back the kernel
 * tells each opened file once, so threads that share one could hear of it in another's place.
 * fresh: it has just been opened. */
static int sync_fd_take(hf_store *store, int file, int *out_index, bool *fresh)
{
    struct hf__log *log = &store->log;
    for (int i = 0; i < HF__LOG_SYNC_FDS; i++) {
        uint32_t idle = 0;
        if (!__atomic_compare_exchange_n(&log->sync_busy[file][i], &idle, 1, false,
                                         __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            continue;
        *fresh = log->sync_fds[file][i] < 0;
        if (*fresh)
            log->sync_fds[file][i] =
                hf__os->open(log->paths[file], O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
        if (log->sync_fds[file][i] < 0) {
            int error = errno;
            __atomic_store_n(&log->sync_busy[file][i], 0, __ATOMIC_RELEASE);
            errno = error;
            return -1;
        }
        *out_index = i;
        return log->sync_fds[file][i];
    }
    errno = EAGAIN;
    return -1;
}

static void sync_fd_give(hf_store *store, int file, int index, bool useless)
{
    struct hf__log *log = &store->log;
    if (useless) {
        hf__os->close(log->sync_fds[file][index]);
        log->sync_fds[file][index] = -1;
    }
    __atomic_store_n(&log->sync_busy[file][index], 0, __ATOMIC_RELEASE);
}

/* Everybody is told of a failure before the descriptor is given back: who syncs through it next hears
 * nothing of it. */
int hf__log_sync_file(hf_store *store, int file, uint64_t epoch)
{
    uint32_t nothing = 0;
    int index, fd;
    bool fresh;
    while ((fd = sync_fd_take(store, file, &index, &fresh)) < 0 && errno == EAGAIN)
        hf__os->futex_wait(&nothing, 0, 50 * 1000);
    int code = fd < 0 ? hf__fail_os(errno, store->log.paths[file], "open") : 0;
    if (code == 0 && fresh)
        code = answer_for_nothing_old(store, file);
    const bool useless = code != 0;
    if (code == 0 && hf__os->fdatasync(fd) != 0)
        code = hf__fail_os(errno, store->log.paths[file], "fdatasync");
    if (code != 0)
        tell_failed(store, epoch);
    if (fd >= 0)
        sync_fd_give(store, file, index, useless);
    return code;
}

int hf__log_sync_to(hf_store *store, uint64_t commit)
{
    struct hf__log_tail before, after;
    for (;;) {
        if (hf__durable(store) + (HF__BUG(DURABLE_TOO_EARLY) ? 1 : 0) >= commit)
            return 0;
        hf__tail_read(store, &before);
        if (before.epoch == 0)
            return 0;
        uint64_t sealed = __atomic_load_n(&hf__words(store)->sealed, __ATOMIC_SEQ_CST);
        sealed &= ~HF__SHARING;
        hf__tail_read(store, &after);
        if (before.epoch != after.epoch)
            continue;
        if (hf__flag(&hf__words(store)->log_failed))
            return hf__fail_path(HF_ECOMMIT_UNKNOWN, 0, store->path, "an earlier sync failed");
        if (sealed < commit)
            return hf__fail_path(HF_EBUSY, 0, store->path, "the log is being written");
        const int file = (int)(before.epoch % 2);
        int code = HF__BUG(COMMIT_NOT_SYNCED) ? 0 : hf__log_sync_file(store, file, before.epoch);
        if (code == 0) {
            /* If another one's sync failed, this one says nothing: it was told, and not I. */
            if (!hf__flag(&hf__words(store)->log_failed))
                hf__durable_raise(store, sealed);
            continue;
        }
        if (HF__BUG(FAILED_LOG_SYNC_RETRIED)) {
            hf__set_flag(&hf__words(store)->log_failed, 0);
            continue;
        }
        if (hf__durable(store) >= commit)
            return 0; /* others have seen to it meanwhile */
        return hf__fail_path(HF_ECOMMIT_UNKNOWN, hf_last_error()->os_errno, store->path,
                             "the log could not be synced");
    }
}

int hf__log_sync_data(hf_store *store)
{
    const uint32_t before = hf__data_suspect(store);
    if (hf__os->fdatasync(store->fd) != 0)
        return hf__fail_os(errno, store->path, "fdatasync");
    hf__data_acquit(store, before);
    return 0;
}

/* ---- applying -------------------------------------------------------------------------------- */

/* A store through a mapping costs a tenth of a pwrite, but where the page cache holds large folios it
 * dirties all of one for a byte (pwrite doesn't), and the next checkpoint writes it. So it is used
 * where a checkpoint can't write more than this many bytes for each that was logged. */
#define THROUGH_RATIO 8u
/* Of records so large most lines aren't in the caches, and those that are shouldn't have to go. */
#define PAST_BYTES (UINT64_C(8) << 10)
/* Of a record of fewer bytes the lines are asked for while it is written to the log. */
#define EXPECTED_BYTES PAST_BYTES
#define AHEAD_BYTES ((size_t)32 << 10) /* of the log read at a time                                */

unsigned char *hf__log_through(hf_store *store)
{
    struct hf__log *log = &store->log;
    if (!store->written_mapped)
        return NULL; /* a full disk would be a signal */
    if (log->through == NULL && !log->through_refused) {
        __atomic_store_n(&log->through, hf__map_through(store), __ATOMIC_RELAXED);
        log->through_refused = log->through == NULL;
    }
    return log->through;
}

static bool stored_through(const hf_store *store, const struct hf__record *record)
{
    return record->used_end <= THROUGH_RATIO * hf__tuned(&store->log.switch_bytes) &&
           record->used_end <= store->size_max_bytes;
}

/* The lines that are about to change in the file are other ones than those of P: they come from memory, and
 * the next locked operation after the stores would wait for them. */
void hf__record_expect(const hf_store *store, const struct hf__record *record)
{
    const unsigned char *mapping = __atomic_load_n(&store->log.through, __ATOMIC_RELAXED);
    const struct hf__record_range *ranges = hf__record_ranges(record);
    if (mapping == NULL || record->length_bytes >= EXPECTED_BYTES || !stored_through(store, record))
        return;
    for (uint64_t i = 0; i < record->range_count; i++)
        for (uint64_t at = 0; at < ranges[i].size_bytes; at += HF__LINE_BYTES)
            __builtin_prefetch(mapping + HF__SEGMENT_OFFSET + ranges[i].offset + at, 1);
}

int hf__record_write(hf_store *store, const struct hf__record *record)
{
    const struct hf__record_range *ranges = hf__record_ranges(record);
    const unsigned char *data =
        (const unsigned char *)record + hf__record_data(record->range_count);
    const bool past = record->length_bytes >= PAST_BYTES;
    unsigned char *mapping = stored_through(store, record) ? hf__log_through(store) : NULL;
    for (uint64_t i = 0; i < record->range_count; i++) {
        if (mapping != NULL)
            (past ? hf__os->store_past : hf__os->store)(
                mapping + HF__SEGMENT_OFFSET + ranges[i].offset, data,
                (size_t)ranges[i].size_bytes);
        else if (hf__segment_write(store->fd, data, ranges[i].size_bytes, ranges[i].offset) != 0)
            return hf__fail_os(errno, store->path, "write");
        data += ranges[i].size_bytes;
    }
    if (past)
        hf__store_fence();
    return 0;
}

/* Nobody may read what is half applied: the gate stays closed, by nobody, and whoever comes next
 * tries again. */
static void leave_stuck(hf_store *store)
{
    __atomic_store_n(&store->locks.table->header.gate, HF__NOBODY, __ATOMIC_SEQ_CST);
}

static bool gate_closed(const hf_store *store)
{
    return hf__flag(&store->locks.table->header.gate);
}

/* What is to be applied next: a record in memory, and where it ends in the log. */
struct next {
    const struct hf__record *record; /* NULL: nothing, but the gate is to be opened               */
    uint64_t end;
};

/* The record behind the front: the caller's own, which spares reading it, or the log's. tail: as it was
 * since the applier's place was taken. */
static int find_next(hf_store *store, const struct hf__log_tail *tail, const struct hf__log_front *front,
                     const struct next *own, struct next *out)
{
    struct hf__log_cursor *cursor = &store->log.reading;
    if (own->record != NULL && own->record->commit == front->applied + 1 &&
        own->record->chain == front->chain) {
        *out = *own;
        return 0;
    }
    /* Where it stands already, what it has read is still true (docs/recovery.md). */
    if (cursor->still != tail->end || cursor->commit != front->applied || cursor->end != front->end) {
        hf__cursor_set(cursor, store, (int)(tail->epoch % 2), tail->salt, front->applied, front->chain,
                       front->end);
        cursor->ahead = AHEAD_BYTES;
        cursor->still = tail->end;
    }
    int found = hf__cursor_next(cursor);
    if (found <= 0)
        return found < 0 ? found : hf__corrupt("log.chain", front->end);
    *out = (struct next){hf__cursor_record(cursor), cursor->end};
    return 0;
}

/* Closes the gate and applies for a moment, `next` first. */
static int apply_some(hf_store *store, const struct hf__log_tail *tail, struct hf__log_front *front,
                      uint64_t limit, const struct next *own, struct next next, uint64_t deadline)
{
    const uint64_t wait_ns = hf__tuned(&store->log.gate_wait_ns);
    uint64_t until = 0;
    int code = hf__gate_close(&store->locks, wait_ns, deadline);
    if (code != 0)
        return code;
    while (code == 0 && next.record != NULL) {
        code = hf__record_write(store, next.record);
        if (code != 0)
            break;
        front->applied = next.record->commit;
        front->end = next.end;
        front->chain = next.record->check;
        hf__front_publish(store, front);
        if (front->applied >= limit)
            break;
        /* Mostly there was one: then nobody looks at the clock. */
        const uint64_t now = hf__os->now_ns();
        if (until == 0)
            until = now + wait_ns;
        if (now >= until)
            break;
        code = find_next(store, tail, front, own, &next);
    }
    if (code != 0)
        leave_stuck(store);
    else
        hf__gate_open(&store->locks);
    return code;
}

/* With the applier's place held it stays so: who writes another header takes that first. */
bool hf__log_runs_ahead(const hf_store *store)
{
    return __atomic_load_n(&hf__words(store)->unsynced, __ATOMIC_SEQ_CST) == HF__UNSYNCED_YES;
}

/* With the applier's place held. ahead: also what isn't durable, if the header says so. */
static int apply_to(hf_store *store, uint64_t limit, bool ahead, const struct next *own,
                    uint64_t deadline)
{
    struct hf__log_front front;
    struct hf__log_tail tail;
    hf__front_and_tail_read(store, &front, &tail);
    store->log.reading.still = 0; /* what it read for who had the place before says nothing now */
    if (hf__flag(&hf__words(store)->log_failed))
        return hf__fail_path(HF_EIO, 0, store->path,
                             "the log failed: the next transaction renews it");
    /* A dead applier, too, may have been ahead. */
    if (hf__log_runs_ahead(store) && (ahead || gate_closed(store)))
        limit = tail.appended;
    if (limit > tail.appended)
        limit = tail.appended;
    /* Without a log all is applied; but who recovered it may have died before he opened the gate. */
    if (tail.epoch == 0)
        limit = front.applied;
    int code = tail.epoch != 0 ? hf__log_open(store, false, false) : 0;
    while (code == 0 && (front.applied < limit || gate_closed(store))) {
        struct next next = {NULL, 0};
        if (front.applied < limit)
            code = find_next(store, &tail, &front, own, &next);
        if (code == 0)
            code = apply_some(store, &tail, &front, limit, own, next, deadline);
        /* A reader was inside for too long: others have been let in meanwhile. */
        if (code == HF_EBUSY && deadline != HF__SOON && hf__os->now_ns() < deadline)
            code = 0;
    }
    return code;
}

/* The applier's place. HF__SOON becomes a point in time here, if the place isn't free; if it is, the gate
 * makes it one (gate_wait_ns counts from its first look at the clock), and is tried once. */
static int take_place(hf_store *store, uint64_t *deadline)
{
    struct hf__place *place = &store->locks.applying;
    if (*deadline == HF__SOON) {
        if (hf__place_lock(&store->locks, place, 0) == 0)
            return 0;
        *deadline = hf__log_soon(store);
    }
    return hf__place_lock(&store->locks, place, *deadline);
}

int hf__log_apply(hf_store *store, const struct hf__record *own, uint64_t own_end, bool ahead,
                  uint64_t deadline)
{
    const struct next mine = {own, own_end};
    int code = take_place(store, &deadline);
    if (code != 0)
        return code;
    const uint64_t limit =
        ahead && HF__BUG(APPLIED_BEFORE_DURABLE) ? own->commit : hf__durable(store);
    code = apply_to(store, limit, ahead, &mine, deadline);
    hf__place_unlock(&store->locks, &store->locks.applying);
    return code;
}

int hf__log_apply_to(hf_store *store, uint64_t commit, uint64_t deadline)
{
    return apply_to(store, commit, false, &(struct next){NULL, 0}, deadline);
}

/* After a failed sync of the data file: the kernel may have lost pages and calls them clean. */
int hf__log_apply_again(hf_store *store, const struct hf__log_tail *tail, uint64_t deadline)
{
    struct hf__log_cursor *cursor = &store->log.reading;
    int code = hf__gate_close(&store->locks, UINT64_MAX, deadline);
    if (code != 0)
        return code;
    hf__cursor_set(cursor, store, (int)(tail->epoch % 2), tail->salt, tail->base, tail->salt,
                   HF__LOG_FIRST);
    while (code == 0 && cursor->commit < tail->appended) {
        int found = hf__cursor_next(cursor);
        code = found == 1  ? hf__record_write(store, hf__cursor_record(cursor))
               : found < 0 ? found
                           : hf__corrupt("log.chain", cursor->end);
    }
    if (code != 0)
        leave_stuck(store);
    else
        hf__gate_open(&store->locks);
    return code;
}
