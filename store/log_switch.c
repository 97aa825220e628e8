/* SPDX-License-Identifier: MIT */
/*
 * log_switch.c - from one log to the next: first use, checkpoints, renewal, end
 *
 *   checkpoint  C1 sync, C2 apply, C3 sync the data, C4 C5 the other log file, C6 publish
 *   renew       after a failed write or sync: the log's records copied into the other file
 *   start       clean -> logged;  finish: logged -> clean
 *   adopt       a dead writer's record, which stands behind the tail
 *
 * Invariants
 *   S1  from the first write of another log header until it is published nobody appends
 *       (`switching`): on the disk either log may count, and both must lead to the same commit
 *   S2  a log file is written anew only when the data file holds its base's successor on stable
 *       storage, or its records stand durably in the other file
 *
 * The writer's place is held in all of it, the applier's from the moment the data has been synced.
 */
#include "base/bug.h"
#include "base/os.h"
#include "pages.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define LOG_BYTES_LEAST (UINT64_C(16) << 10) /* where the disk has no more room                    */
#define EPOCHS_BITS 32 /* epochs of different uses of the log never meet                          */
#define RECORD_LARGE (UINT64_C(1) << 20) /* so large a record fills at once what it takes          */

/* The segment header as the data file has it. */
static const struct hf__segment_header *shared_header(const hf_store *store)
{
    return (const struct hf__segment_header *)(const void *)(store->log.shared +
                                                             HF__SEGMENT_OFFSET);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* The page table becomes true of what the data file holds: of the pages that the log's records touch,
 * since the others have not changed (docs/pages.md). */
static int write_entries(hf_store *store, const struct hf__log_tail *tail)
{
    struct hf__touched touched;
    if (tail->appended == tail->base)
        return 0;
    int code = hf__touched_by_log(store, tail->appended, &touched);
    if (code != 0)
        return code;
    code = hf__pages_write(store->fd, store->path, store->constants.salt,
                           shared_header(store)->heap.used_end, &touched);
    hf__touched_free(&touched);
    return code;
}

/* C1 to C3, with the writer's place held. On success the applier's place is held, too. */
static int settle(hf_store *store, struct hf__log_tail *tail, uint64_t deadline)
{
    struct hf__log_front front;
    hf__tail_read(store, tail);
    __atomic_store_n(&hf__words(store)->sealed, tail->appended, __ATOMIC_SEQ_CST);
    int code = HF__BUG(CHECKPOINT_LOG_NOT_SYNCED) ? 0 : hf__log_sync_to(store, tail->appended);
    if (code == 0)
        code = hf__place_lock(&store->locks, &store->locks.applying, deadline);
    if (code != 0)
        return code;
    if (!HF__BUG(CHECKPOINT_NOT_APPLIED))
        code = hf__log_apply_to(store, tail->appended, deadline);
    hf__front_read(store, &front);
    if (code == 0 && front.applied != tail->appended && !HF__BUG(CHECKPOINT_NOT_APPLIED))
        code = hf__fail_path(HF_EIO, 0, store->path, "not all of the log could be applied");
    if (code == 0 && hf__flag(&hf__words(store)->data_failed) && !HF__BUG(FAILED_DATA_SYNC_FORGOTTEN))
        code = hf__log_apply_again(store, tail, deadline);
    if (code == 0 && !HF__BUG(PAGES_AFTER_SYNC))
        code = write_entries(store, tail);
    if (code == 0 && !HF__BUG(CHECKPOINT_DATA_NOT_SYNCED) && !HF__BUG(SWITCH_BEFORE_DATA))
        code = hf__log_sync_data(store);
    if (code == 0 && HF__BUG(PAGES_AFTER_SYNC))
        code = write_entries(store, tail);
    if (code == 0)
        hf__set_flag(&hf__words(store)->data_failed, 0);
    else
        hf__place_unlock(&store->locks, &store->locks.applying);
    return code;
}

/* C6, and the end of a renewal: everything is known by the new log. */
static void publish_log(hf_store *store, const struct hf__log_tail *tail,
                        const struct hf__log_front *front)
{
    struct hf__log *log = &store->log;
    struct hf__log_tail old;
    hf__tail_read(store, &old);
    bool followed = log->seen == tail->appended && log->seen_epoch == old.epoch;
    hf__front_publish(store, front);
    hf__tail_publish(store, tail);
    hf__set_flag(&hf__words(store)->switching, 0);
    if (followed) {
        log->seen_epoch = tail->epoch;
        log->seen_end = tail->end;
        log->seen_chain = tail->chain;
    }
}

/* A log file that isn't in use yet is synced through a descriptor opened before it is written: one
 * opened later could hear nothing of a failure that somebody else, who still syncs what stood there
 * before, was told of. */
static int witness_open(hf_store *store, int file, int *out)
{
    *out = hf__os->open(store->log.paths[file], O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
    return *out < 0 ? hf__fail_os(errno, store->log.paths[file], "open") : 0;
}

static int witness_sync(hf_store *store, int file, int fd)
{
    return hf__os->fdatasync(fd) == 0 ? 0
                                      : hf__fail_os(errno, store->log.paths[file], "fdatasync");
}

static void witness_close(int fd)
{
    if (fd >= 0)
        hf__os->close(fd);
}

/* How long a log file is whose records end at `end`: as far as that is known, and with its last block
 * whole. */
static uint64_t file_bytes_of(hf_store *store, int file, uint64_t end)
{
    struct stat st;
    const uint64_t least = hf__whole_blocks(end);
    if (hf__os->fstat(store->log.fds[file], &st) != 0)
        return least;
    const uint64_t have = (uint64_t)st.st_size / HF__LOG_BLOCK * HF__LOG_BLOCK;
    return have > least ? have : least;
}

/* What a log has to have room for: so many bytes, and where it is for a large record, how many of them
 * that takes at once. These aren't filled with zeros first. */
struct room {
    uint64_t size_bytes, taken_bytes;
};

/* C4 to C6, with both places held. Room comes first: on a full disk the old log is gone on with. */
static int switch_log(hf_store *store, const struct hf__log_tail *old, struct room room)
{
    struct hf__log_header header;
    const uint64_t epoch = old->epoch + 1, used_end = shared_header(store)->heap.used_end;
    const int file = (int)(epoch % 2);
    const uint64_t least = room.size_bytes < LOG_BYTES_LEAST ? LOG_BYTES_LEAST : room.size_bytes;
    const uint64_t first = hf__tuned(&store->log.first_bytes);
    int code = hf__log_reach(store, file, least < first ? first : least, room.taken_bytes);
    if (code == HF_ENOSPC && least < first)
        code = hf__log_reach(store, file, least, room.taken_bytes);
    if (code != 0)
        return code;
    int witness;
    code = witness_open(store, file, &witness);
    if (code != 0)
        return code;
    hf__set_flag(&hf__words(store)->switching, 1);
    hf__log_make_header(store, hf__words(store)->generation, epoch, old->appended, used_end, &header);
    if (HF__BUG(SWITCH_ERASES_OLD))
        (void)hf__write_at(store->log.fds[old->epoch % 2], (char[sizeof header]){0}, sizeof header,
                           0);
    code = hf__log_write_header(store, &header, least);
    if (code == 0 && !HF__BUG(SWITCH_NOT_SYNCED))
        code = witness_sync(store, file, witness);
    witness_close(witness);
    if (code != 0)
        return code;
    struct hf__log_tail tail = {.epoch = epoch,
                                .base = old->appended,
                                .appended = old->appended,
                                .end = HF__LOG_FIRST,
                                .chain = header.salt,
                                .file_bytes = file_bytes_of(store, file, HF__LOG_FIRST),
                                .fresh_end = used_end,
                                .salt = header.salt};
    const struct hf__log_front front = hf__front_at_base(&tail);
    publish_log(store, &tail, &front);
    return 0;
}

/* The header's state, and boot id where the state speaks of one. */
static int write_state(hf_store *store, uint32_t state, uint64_t generation)
{
    struct hf__file_header header;
    const struct hf__segment_header *segment = shared_header(store);
    int code = hf__header_read(store->fd, store->path, false, &header);
    if (code != 0)
        return code;
    header.state = state;
    header.generation = generation;
    memset(header.boot_id, 0, sizeof header.boot_id);
    if (state == HF__STATE_UNSYNCED && hf__boot_id(header.boot_id) != 0)
        return hf__fail_os(errno, "boot_id", "reading");
    if (state != HF__STATE_UNSYNCED) {
        header.size_bytes = segment->size_bytes;
        header.used_end = segment->heap.used_end;
    }
    const uint32_t before = hf__data_suspect(store);
    code = hf__header_write(store->fd, store->path, &header);
    if (code == 0)
        hf__data_acquit(store, before);
    return code;
}

int hf__log_mark_unsynced(hf_store *store)
{
    if (hf__log_runs_ahead(store))
        return 0;
    hf__set_flag(&hf__words(store)->unsynced, HF__UNSYNCED_MAYBE);
    int code = HF__BUG(UNSYNCED_NOT_MARKED)
                   ? 0
                   : write_state(store, HF__STATE_UNSYNCED, hf__words(store)->generation);
    if (code == 0)
        hf__set_flag(&hf__words(store)->unsynced, HF__UNSYNCED_YES);
    return code;
}

/* With both places held, and nothing applied that isn't durable. */
static int mark_logged(hf_store *store)
{
    hf__set_flag(&hf__words(store)->unsynced, HF__UNSYNCED_MAYBE);
    int code = write_state(store, HF__STATE_LOGGED, hf__words(store)->generation);
    if (code == 0 && !HF__BUG(UNSYNCED_FORGOTTEN))
        hf__set_flag(&hf__words(store)->unsynced, HF__UNSYNCED_NO);
    else if (code == 0)
        hf__set_flag(&hf__words(store)->unsynced, HF__UNSYNCED_YES);
    return code;
}

int hf__log_mark_synced(hf_store *store, uint64_t deadline)
{
    struct hf__log_tail tail;
    hf__tail_read(store, &tail);
    if (tail.epoch == 0 || !hf__flag(&hf__words(store)->unsynced) || HF__BUG(UNSYNCED_STAYS))
        return 0;
    __atomic_store_n(&hf__words(store)->sealed, tail.appended, __ATOMIC_SEQ_CST);
    int code = HF__BUG(UNSYNCED_ENDS_UNSYNCED) ? 0 : hf__log_sync_to(store, tail.appended);
    if (code == 0)
        code = hf__place_lock(&store->locks, &store->locks.applying, deadline);
    if (code != 0)
        return code;
    code = mark_logged(store);
    hf__place_unlock(&store->locks, &store->locks.applying);
    return code;
}

/* ---- renewing a log that failed -------------------------------------------------------------- */

struct renewal {
    struct hf__log_tail tail;
    struct hf__log_front front;
    struct hf__log_cursor from;
    uint64_t applied;
};

static int copy_records(hf_store *store, struct renewal *r)
{
    const int file = (int)(r->tail.epoch % 2), fd = store->log.fds[file];
    int found;
    while ((found = hf__cursor_next(&r->from)) == 1) {
        struct hf__record *record =
            (struct hf__record *)(void *)(r->from.bytes + r->from.start);
        uint64_t at = hf__whole_blocks(r->tail.end);
        record->chain = r->tail.chain;
        record->synced_through = r->tail.base;
        hf__record_seal(record, r->tail.salt);
        if (hf__write_at(fd, record, (size_t)record->length_bytes, at) != 0)
            return hf__fail_os(errno, store->log.paths[file], "write");
        r->tail.appended = record->commit;
        r->tail.end = at + record->length_bytes;
        r->tail.chain = record->check;
        if (record->used_end > r->tail.fresh_end)
            r->tail.fresh_end = record->used_end;
        if (record->commit == r->applied)
            r->front = (struct hf__log_front){.epoch = r->tail.epoch,
                                              .applied = record->commit,
                                              .end = r->tail.end,
                                              .chain = r->tail.chain};
    }
    return found;
}

/* Who renewed this log before may have died, or failed, behind the new header: that may be on the disk, and
 * counts there, with records that are about to be written over (S2). It goes first; the old log, which
 * counts then, still leads to the same commits. Zeros in the cache say nothing of the disk: their sync may
 * have failed. */
static int erase_unpublished(hf_store *store, int file, int witness)
{
    static const unsigned char zeros[sizeof(struct hf__log_header)];
    if (!HF__BUG(RENEWED_OVER_RENEWAL) &&
        hf__write_at(store->log.fds[file], zeros, sizeof zeros, 0) != 0)
        return hf__fail_os(errno, store->log.paths[file], "write");
    return witness_sync(store, file, witness);
}

/* On a full disk it may be long enough as it is, which copying tells. What was had of more may be needed
 * elsewhere. */
static int renew_room(hf_store *store, int file, uint64_t size_bytes)
{
    const uint64_t had = file_bytes_of(store, file, HF__LOG_FIRST);
    const int code = hf__log_reach(store, file, size_bytes, 0);
    if (code != HF_ENOSPC)
        return code;
    (void)hf__os->ftruncate(store->log.fds[file], (off_t)had);
    return 0;
}

/* With the writer's place held. Both logs lead to the same commits until the new one is published:
 * the old one's records and no more (S1). Its header comes last: it would be the one that counts from
 * the moment it is there, and its base is the old one's. */
static int renew(hf_store *store, uint64_t deadline)
{
    struct hf__log_tail old;
    struct hf__log_header headers[2], header;
    struct renewal r = {.from = {.bytes = NULL}};
    unsigned valid;
    int witness = -1, code = hf__place_lock(&store->locks, &store->locks.applying, deadline);
    if (code != 0)
        return code;
    hf__tail_read(store, &old);
    const int file = (int)((old.epoch + 1) % 2);
    code = witness_open(store, file, &witness);
    hf__front_read(store, &r.front);
    r.applied = r.front.applied;
    struct hf__log_front from = {.end = HF__LOG_FIRST, .chain = old.salt};
    if (HF__BUG(RENEWED_BASE_EARLY)) {
        from = r.front;
        old.base = from.applied;
    }
    hf__set_flag(&hf__words(store)->switching, 1);
    if (code == 0)
        code = hf__log_headers(store, hf__words(store)->generation, headers, &valid);
    if (code == 0 && (valid >> old.epoch % 2 & 1) == 0)
        code = hf__fail_path(HF_EIO, 0, store->path, "the log that failed can't be read any more");
    if (code == 0 && ((valid >> file & 1) == 0 || headers[file].epoch > old.epoch))
        code = erase_unpublished(store, file, witness);
    if (code == 0) {
        const uint64_t used_end = headers[old.epoch % 2].used_end;
        hf__log_make_header(store, hf__words(store)->generation, old.epoch + 1, old.base, used_end,
                            &header);
        r.tail = (struct hf__log_tail){.epoch = old.epoch + 1,
                                       .base = old.base,
                                       .appended = old.base,
                                       .end = HF__LOG_FIRST,
                                       .chain = header.salt,
                                       .fresh_end = old.fresh_end,
                                       .salt = header.salt};
        r.front = hf__front_at_base(&r.tail);
        hf__cursor_set(&r.from, store, (int)(old.epoch % 2), old.salt, old.base, from.chain,
                       from.end);
        code = renew_room(store, file, 2 * old.file_bytes);
    }
    if (code == 0 && HF__BUG(RENEWED_HEADER_FIRST))
        code = hf__log_write_header(store, &header, 0);
    if (code == 0)
        code = copy_records(store, &r);
    /* A record that is missing can't be left out: another commit would get its number, and who waits
     * for the first one would take it for his. */
    if (code == 0 && r.tail.appended < old.appended)
        code = hf__fail_path(HF_EIO, 0, store->path, "the log that failed can't be read any more");
    if (code == 0 && !HF__BUG(RENEWED_TOGETHER))
        code = witness_sync(store, file, witness);
    if (code == 0)
        code = hf__log_write_header(store, &header, 0);
    if (code == 0 && !HF__BUG(SWITCH_NOT_SYNCED))
        code = witness_sync(store, file, witness);
    if (code == 0) {
        r.tail.file_bytes = file_bytes_of(store, file, r.tail.end);
        publish_log(store, &r.tail, &r.front);
        __atomic_store_n(&hf__words(store)->sealed, r.tail.appended, __ATOMIC_SEQ_CST);
        hf__durable_raise(store, r.tail.appended);
        hf__set_flag(&hf__words(store)->log_failed, 0);
        /* What P shows was never published, or stands elsewhere in the file now. */
        store->log.seen_epoch = 0;
    }
    free(r.from.bytes);
    witness_close(witness);
    hf__place_unlock(&store->locks, &store->locks.applying);
    return code;
}

static int checkpoint(hf_store *store, struct room room, uint64_t deadline)
{
    struct hf__log_tail tail;
    hf__tail_read(store, &tail);
    if (tail.epoch == 0)
        return 0;
    int code = hf__log_open(store, false, false);
    if (code == 0 && hf__flag(&hf__words(store)->log_failed)) {
        code = renew(store, deadline);
        hf__tail_read(store, &tail);
        if (code != 0 || tail.file_bytes - tail.end >= room.size_bytes)
            return code;
    }
    if (code == 0 && HF__BUG(UNSYNCED_ENDS_EARLY) && hf__flag(&hf__words(store)->unsynced))
        code = write_state(store, HF__STATE_LOGGED, hf__words(store)->generation);
    if (code == 0)
        code = settle(store, &tail, deadline);
    if (code != 0)
        return code;
    code = switch_log(store, &tail, room);
    if (code == 0 && HF__BUG(SWITCH_BEFORE_DATA))
        code = hf__os->fdatasync(store->fd);
    if (code == 0 && hf__flag(&hf__words(store)->unsynced))
        code = mark_logged(store);
    hf__place_unlock(&store->locks, &store->locks.applying);
    return code;
}

int hf__log_checkpoint(hf_store *store, uint64_t size_bytes, uint64_t deadline)
{
    return checkpoint(store, (struct room){size_bytes, 0}, deadline);
}

/* What a record needs of the log. A large one fills at once what it takes, so that isn't filled with zeros
 * before; a huge one makes the log longer than where it is switched, for itself alone: behind it there is
 * room for small ones, since a switch just after it would wait for all it changed to be written. */
struct need {
    uint64_t length, spare;
    bool large, huge;
};

static struct need need_of(const hf_store *store, uint64_t length_bytes)
{
    const uint64_t most = hf__tuned(&store->log.switch_bytes);
    const uint64_t length = hf__whole_blocks(length_bytes);
    const bool large = length >= RECORD_LARGE, huge = large && 2 * length > most;
    const uint64_t eighth = hf__whole_blocks(most / 8);
    const uint64_t spare = huge && eighth < length ? eighth : length;
    return (struct need){length, spare, large, huge};
}

/* Makes the active log longer, for a record at `at`. How long it is may not be known (file_bytes_of): what
 * lies before `at` is records, whatever is said. */
static int extend_active(hf_store *store, const struct hf__log_tail *tail, uint64_t at,
                         const struct need *need)
{
    const uint64_t end = at + need->length, most = hf__tuned(&store->log.log_max_bytes);
    const uint64_t have = tail->file_bytes > at ? tail->file_bytes : at;
    struct hf__log_tail longer = *tail;
    uint64_t target = need->huge ? end + need->spare : have * 2;
    target = target > end ? target : end;
    target = (target < most ? target : most) / HF__LOG_BLOCK * HF__LOG_BLOCK;
    if (end > target) {
        hf_error who = *hf_last_error();
        return hf__fail_holder(HF_ELOGFULL, who.pid, store->path,
                               "a view has been open for too long");
    }
    const int file = (int)(tail->epoch % 2);
    int code = hf__log_extend(store, file, have, target, need->large ? end : 0);
    if (code == 0)
        code = hf__log_sync_file(store, file, tail->epoch);
    if (code == 0) {
        longer.file_bytes = target;
        hf__tail_publish(store, &longer);
    } else if (code == HF_ENOSPC) {
        /* What was had of it may be what somebody else needs, and be it the other file. */
        (void)hf__os->ftruncate(store->log.fds[file], (off_t)have);
    }
    return code;
}

/* The log doubles up to where it is switched; it is longer only for records that need it. */
static struct room room_for(const hf_store *store, const struct hf__log_tail *tail,
                            const struct need *need)
{
    const uint64_t most = hf__tuned(&store->log.switch_bytes);
    uint64_t size = tail->file_bytes * 2 <= most ? tail->file_bytes * 2 : tail->file_bytes;
    size = size < most ? size : most;
    const uint64_t least = HF__LOG_FIRST + need->length + need->spare;
    return (struct room){size > least ? size : least, need->large ? HF__LOG_FIRST + need->length : 0};
}

static int switch_for(hf_store *store, const struct hf__log_tail *tail, uint64_t at,
                      const struct need *need)
{
    const struct room room = room_for(store, tail, need);
    struct room least = room;
    least.size_bytes = HF__LOG_FIRST + need->length;
    int code = checkpoint(store, room, hf__log_soon(store));
    if (code == HF_ENOSPC && room.size_bytes > least.size_bytes)
        code = checkpoint(store, least, hf__log_soon(store));
    /* Either a reader keeps commits from being applied: then the log goes on, as long as it may. Or
     * somebody applies, and a disk that is busy makes him slow: at the limit he is waited for. */
    const uint64_t patience = hf__deadline_in_ms(store->lock_timeout_ms);
    while (code == HF_EBUSY && at + need->length > hf__tuned(&store->log.log_max_bytes) &&
           __atomic_load_n(&hf__words(store)->applier, __ATOMIC_SEQ_CST) != 0 &&
           hf__os->now_ns() < patience)
        code = checkpoint(store, room, hf__log_soon(store));
    return code;
}

int hf__log_make_room(hf_store *store, uint64_t length_bytes)
{
    const struct need need = need_of(store, length_bytes);
    struct hf__log_tail tail;
    if (hf__flag(&hf__words(store)->log_failed) || hf__flag(&hf__words(store)->switching)) {
        int code = hf__log_checkpoint(store, 0, hf__deadline_in_ms(store->lock_timeout_ms));
        if (code != 0)
            return code;
    }
    const struct hf__log_tail *own = hf__tail_own(store);
    uint64_t at = hf__whole_blocks(own->end);
    if (at + need.length <= own->file_bytes)
        return 0;
    hf__tail_read(store, &tail);
    /* For a huge record the next log would have to be as long: it goes behind what is less than itself. */
    if (need.huge && at <= need.length &&
        at + need.length + need.spare <= hf__tuned(&store->log.log_max_bytes)) {
        int code = extend_active(store, &tail, at, &need);
        if (code != HF_ENOSPC)
            return code;
    }
    int code = switch_for(store, &tail, at, &need);
    if (code != HF_EBUSY)
        return code;
    hf__tail_read(store, &tail);
    return extend_active(store, &tail, at, &need);
}

/* ---- first and last -------------------------------------------------------------------------- */

/* All depends on it that a private page which was never written shows what is written to the file:
 * Linux does so, but no manual page promises it. */
static bool slot_seen(const unsigned char *mapping, uint64_t generation)
{
    static const uint64_t slots[2] = {0, HF__SLOT_B_OFFSET};
    bool seen = false;
    for (int i = 0; i < 2; i++) {
        const volatile struct hf__file_header *slot =
            (const volatile struct hf__file_header *)(const volatile void *)(mapping + slots[i]);
        seen |= slot->generation == generation && slot->state == HF__STATE_LOGGED;
    }
    return seen;
}

static int test_following(hf_store *store, uint64_t generation)
{
    if (slot_seen(store->reserved, generation) && slot_seen(store->log.shared, generation))
        return 0;
    return hf__fail_path(HF_ENETFS, 0, store->path,
                         "private mappings don't follow the file on this file system");
}

/* On a full disk a smaller log will do: what frees something needs little. The other file's room is
 * taken now, too: a switch comes when the disk may be fuller still. */
static int write_first(hf_store *store, const struct hf__log_header *header)
{
    static const unsigned char zeros[LOG_BYTES_LEAST];
    uint64_t size_bytes = hf__tuned(&store->log.first_bytes);
    int code = 0;
    if (!HF__BUG(START_SAME_GENERATION) &&
        hf__write_at(store->log.fds[1], zeros, sizeof zeros, 0) != 0)
        return hf__fail_os(errno, store->log.paths[1], "write");
    /* If that isn't had, the first switch makes do with less. */
    (void)hf__os->fallocate(store->log.fds[1], FALLOC_FL_KEEP_SIZE, 0, (off_t)size_bytes);
    while ((code = hf__log_write_header(store, header, size_bytes)) == HF_ENOSPC &&
           size_bytes > LOG_BYTES_LEAST)
        size_bytes /= 2;
    return code;
}

int hf__log_start(hf_store *store)
{
    struct hf__file_header file_header;
    struct hf__log_header header;
    const struct hf__segment_header *segment = shared_header(store);
    hf__set_flag(&store->locks.table->header.touched, 1);
    int code = hf__header_read(store->fd, store->path, false, &file_header);
    /* Somebody died between making the file clean and saying so, or before he heard that this is on
     * the disk. As long as it isn't, the header there may ask for the very logs that are written
     * over now. */
    if (code == 0 && (file_header.state != HF__STATE_CLEAN || hf__log_leftovers(store))) {
        hf__set_flag(&store->locks.table->header.header_marked, 1); /* T6 of attach.c */
        code = write_state(store, HF__STATE_CLEAN, file_header.generation);
    }
    if (code == 0)
        code = hf__log_open(store, true, false);
    if (code != 0)
        return code;
    const uint64_t generation = file_header.generation + (HF__BUG(START_SAME_GENERATION) ? 0 : 1);
    const uint64_t epoch = generation << EPOCHS_BITS;
    hf__log_make_header(store, generation, epoch, segment->commit, segment->heap.used_end,
                        &header);
    code = write_first(store, &header);
    if (code == 0 && HF__BUG(START_HEADER_BEFORE_LOGS))
        code = write_state(store, HF__STATE_LOGGED, generation);
    /* These descriptors are older than what has just been written. */
    for (int file = 0; code == 0 && file < 2 && !HF__BUG(START_LOGS_NOT_SYNCED); file++)
        code = witness_sync(store, file, store->log.fds[file]);
    if (code == 0 && HF__BUG(START_DIRECTORY_LATE))
        code = write_state(store, HF__STATE_LOGGED, generation);
    if (code == 0 && !HF__BUG(START_DIRECTORY_NOT_SYNCED) &&
        hf__sync_directory_of(store->path) != 0)
        code = hf__fail_os(errno, store->path, "syncing the directory");
    /* Both mappings are looked at before and after. */
    (void)slot_seen(store->reserved, generation);
    (void)slot_seen(store->log.shared, generation);
    if (code == 0) {
        hf__set_flag(&store->locks.table->header.header_marked, 1);
        code = write_state(store, HF__STATE_LOGGED, generation);
    }
    if (code == 0)
        code = test_following(store, generation);
    if (code != 0)
        return code;
    struct hf__log_words *w = hf__words(store);
    w->generation = generation;
    __atomic_store_n(&w->durable, header.base, __ATOMIC_SEQ_CST);
    __atomic_store_n(&w->sealed, header.base, __ATOMIC_SEQ_CST);
    hf__set_flag(&w->log_failed, 0);
    hf__set_flag(&w->switching, 0);
    hf__set_flag(&w->unsynced, HF__UNSYNCED_NO);
    const struct hf__log_tail tail = {.epoch = epoch,
                                      .base = header.base,
                                      .appended = header.base,
                                      .end = HF__LOG_FIRST,
                                      .chain = header.salt,
                                      .file_bytes = file_bytes_of(store, 0, HF__LOG_FIRST),
                                      .fresh_end = header.used_end,
                                      .salt = header.salt};
    const struct hf__log_front front = hf__front_at_base(&tail);
    hf__front_publish(store, &front);
    hf__tail_publish(store, &tail);
    return 0;
}

/* `epoch = 0` is published before the header is written: who dies in between leaves a header that
 * says "logged" though nothing is, which the next start mends; never one that says "clean" while
 * commits go to a log. */
int hf__log_finish(hf_store *store, uint64_t deadline)
{
    struct hf__file_header header;
    struct hf__log_tail tail;
    hf__tail_read(store, &tail);
    if (tail.epoch != 0) {
        int code = hf__log_open(store, false, false);
        if (code == 0 && hf__flag(&hf__words(store)->log_failed))
            code = renew(store, deadline);
        if (code == 0 && HF__BUG(END_HEADER_BEFORE_DATA))
            code = write_state(store, HF__STATE_CLEAN, hf__words(store)->generation);
        if (code == 0)
            code = settle(store, &tail, deadline);
        if (code != 0)
            return code;
        struct hf__log_front front = {.epoch = 0, .applied = tail.appended};
        tail = (struct hf__log_tail){.appended = tail.appended};
        hf__tail_publish(store, &tail);
        hf__front_publish(store, &front);
        hf__set_flag(&hf__words(store)->switching, 0);
        hf__place_unlock(&store->locks, &store->locks.applying);
        store->log.seen_epoch = 0;
    }
    int code = hf__header_read(store->fd, store->path, false, &header);
    /* Also if it says so already: who wrote that may have died in the sync. */
    if (code == 0 && (header.state != HF__STATE_CLEAN ||
                      hf__flag(&store->locks.table->header.header_marked)))
        code = write_state(store, HF__STATE_CLEAN, header.generation);
    if (code == 0) {
        hf__set_flag(&hf__words(store)->unsynced, HF__UNSYNCED_NO);
        hf__set_flag(&store->locks.table->header.header_marked, 0);
    }
    return code;
}

int hf__log_adopt(hf_store *store)
{
    struct hf__log_tail tail;
    struct hf__log_cursor *cursor = &store->log.laying;
    int found = 0, code = 0;
    hf__tail_read(store, &tail);
    if (tail.epoch != 0 && !hf__flag(&hf__words(store)->log_failed))
        code = hf__log_open(store, false, false);
    if (code == 0 && tail.epoch != 0 && !hf__flag(&hf__words(store)->log_failed)) {
        hf__cursor_set(cursor, store, (int)(tail.epoch % 2), tail.salt, tail.appended, tail.chain,
                       tail.end);
        while ((found = hf__cursor_next(cursor)) == 1) {
            const struct hf__record *record = hf__cursor_record(cursor);
            tail.appended = cursor->commit;
            tail.end = cursor->end;
            tail.chain = cursor->chain;
            if (record->used_end > tail.fresh_end)
                tail.fresh_end = record->used_end;
            hf__tail_publish(store, &tail);
        }
        code = found;
    }
    if (code == 0) {
        __atomic_fetch_and(&hf__words(store)->sealed, ~HF__SHARING, __ATOMIC_SEQ_CST);
        hf__set_flag(&hf__words(store)->adopt, 0);
    }
    return code;
}
