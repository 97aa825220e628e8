/* SPDX-License-Identifier: MIT */
/*
 * recover.c - a store that was left with its log: cold recovery, and private replay
 *
 * Both first prove the whole chain of records and only then use any of it. Recovery syncs the log, writes
 * the records into the data file, syncs that, and then lets the header say "clean"; killed anywhere, the
 * next one does the same from the same log. Who may not write lays the records over private memory instead.
 */
#include "base/bug.h"
#include "base/os.h"
#include "pages.h"
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* What a log that was left behind amounts to. */
struct left {
    struct hf__log_header header;
    uint64_t commits, ranges, bytes;
    uint64_t commit;              /* the last one                                                */
    uint64_t synced;              /* the last one that is known to have been durable             */
    uint64_t end;                 /* of the segment: behind the highest range                    */
    int64_t pid;                  /* who wrote the last record                                   */
    uint64_t used_end;            /* of the last state                                           */
    struct hf__replay replay;
    struct hf__touched touched;   /* all pages that the records touch                            */
};

#define AHEAD_BYTES      ((size_t)1 << 20)
#define HINT_AHEAD_BYTES (UINT64_C(8) << 20)

/* The log, mapped for no more than to tell the kernel what of it will be read next: so the disk reads on
 * while records are proved, and half the time of a large log is gone. */
struct ahead {
    unsigned char *log; /* NULL: it is read without                                              */
    uint64_t bytes, hinted;
};

static void begin_at(hf_store *store, struct hf__log_cursor *cursor,
                     const struct hf__log_header *header)
{
    hf__cursor_set(cursor, store, (int)(header->epoch % 2), header->salt, header->base,
                   header->salt, HF__LOG_FIRST);
    cursor->ahead = AHEAD_BYTES; /* nobody writes to a log that was left */
}

static void ahead_begin(struct ahead *ahead, int fd)
{
    struct stat st;
    *ahead = (struct ahead){.log = NULL};
    if (hf__os->fstat(fd, &st) != 0 || st.st_size <= (off_t)AHEAD_BYTES)
        return;
    void *log = hf__os->mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (log != MAP_FAILED)
        *ahead = (struct ahead){.log = log, .bytes = (uint64_t)st.st_size};
}

static void ahead_of(struct ahead *ahead, uint64_t at)
{
    while (ahead->log != NULL && ahead->hinted < at + HINT_AHEAD_BYTES &&
           ahead->hinted < ahead->bytes) {
        const uint64_t left = ahead->bytes - ahead->hinted;
        const uint64_t part = left < AHEAD_BYTES ? left : AHEAD_BYTES;
        hf__will_need(ahead->log + ahead->hinted, part);
        ahead->hinted += part;
    }
}

static void ahead_end(struct ahead *ahead)
{
    if (ahead->log != NULL)
        hf__os->munmap(ahead->log, (size_t)ahead->bytes);
}

static void left_dispose(struct left *left)
{
    hf__replay_dispose(&left->replay);
    hf__touched_free(&left->touched);
}

/* Nothing is applied before it is durable: a data file that shows a later commit than the log has lost
 * its end to something else than a crash, and older records over it would make a mixture. */
static int compare_data(hf_store *store, const struct left *left)
{
    struct hf__segment_header segment;
    if (hf__segment_read(store->fd, &segment, sizeof segment, 0) != sizeof segment)
        return hf__fail_os(errno, store->path, "read");
    if (segment.commit <= left->commit)
        return 0;
    return hf__fail_path(HF_ECORRUPT, 0, store->log.paths[left->header.epoch % 2],
                         "it ends with commit %llu, but the store shows commit %llu",
                         (unsigned long long)left->commit, (unsigned long long)segment.commit);
}

/* Proves the chain. HF_ELOGMISSING, HF_ELOGFOREIGN, HF_ECORRUPT, HF_ETRUNCATED. */
static int survey(hf_store *store, uint64_t generation, bool read_only, struct left *left)
{
    struct hf__log_cursor cursor = {.bytes = NULL};
    struct ahead ahead;
    struct stat st;
    int found = 0;
    memset(left, 0, sizeof *left);
    int code = hf__log_open(store, false, read_only);
    if (code == 0)
        code = hf__log_choose(store, generation, &left->header);
    if (code != 0)
        return code;
    begin_at(store, &cursor, &left->header);
    hf__touched_init(&left->touched, left->header.used_end);
    left->used_end = left->header.used_end;
    ahead_begin(&ahead, cursor.fd);
    ahead_of(&ahead, 0);
    while ((found = hf__cursor_next(&cursor)) == 1) {
        const struct hf__record *record = hf__cursor_record(&cursor);
        const struct hf__record_range *ranges = hf__record_ranges(record);
        ahead_of(&ahead, cursor.end);
        for (uint64_t i = 0; i < record->range_count; i++) {
            left->bytes += ranges[i].size_bytes;
            if (ranges[i].offset + ranges[i].size_bytes > left->end)
                left->end = ranges[i].offset + ranges[i].size_bytes;
        }
        hf__replay_note(&left->replay, record);
        hf__touched_record(&left->touched, record);
        left->commits++;
        left->ranges += record->range_count;
        left->pid = record->pid;
        left->used_end = record->used_end;
        left->synced = record->synced_through;
    }
    left->commit = cursor.commit - (HF__BUG(RECOVERY_LAST_LEFT_OUT) && left->commits != 0);
    if (found == 0)
        found = hf__touched_end(&left->touched, left->used_end, left->commit);
    ahead_of(&ahead, ahead.bytes);
    if (found == 0)
        found = hf__log_acknowledged_beyond(&cursor);
    ahead_end(&ahead);
    free(cursor.bytes);
    if (found < 0)
        return found;
    if (found == 1)
        return hf__fail_path(HF_ECORRUPT, 0, store->log.paths[left->header.epoch % 2],
                             "record %llu is damaged, and a later one says that it was durable",
                             (unsigned long long)left->commit + 1);
    if (hf__os->fstat(store->fd, &st) != 0)
        return hf__fail_os(errno, store->path, "fstat");
    if (hf__backed_bytes((uint64_t)st.st_size) < left->header.used_end)
        return hf__fail_path(HF_ETRUNCATED, 0, store->path,
                             "%llu bytes were used when its log began, the file ends after %llu",
                             (unsigned long long)left->header.used_end,
                             (unsigned long long)st.st_size);
    return compare_data(store, left);
}

static void report(hf_store *store, const struct left *left)
{
    store->recovery.recoveries += left->commits != 0;
    store->recovery.cold += left->commits != 0 && store->opening;
    store->recovery.replayed_commits += left->commits;
    store->recovery.replayed_ranges += left->ranges;
    store->recovery.replayed_bytes += left->bytes;
    store->recovery.last_pid = left->pid;
    store->recovery.last_ns = hf__os->wall_ns();
}

/* The file reaches to `end` of the segment, and has blocks there. */
static int reach(hf_store *store, uint64_t end)
{
    struct stat st;
    end = hf__whole_pages(end);
    if (hf__os->fstat(store->fd, &st) != 0)
        return hf__fail_os(errno, store->path, "fstat");
    const uint64_t have = hf__backed_bytes((uint64_t)st.st_size) & ~(uint64_t)(HF__PAGE_BYTES - 1);
    if (have < end && hf__segment_allocate(store->fd, have, end) != 0)
        return hf__fail_os(errno, store->path, "growing the file");
    return 0;
}

/* Writes what isn't known to be durable over itself. */
static int write_log_again(hf_store *store, const struct left *left)
{
    const uint64_t durable = hf__durable(store);
    const uint64_t known = durable > left->synced ? durable : left->synced;
    struct hf__log_cursor cursor = {.bytes = NULL};
    begin_at(store, &cursor, &left->header);
    int code = hf__cursor_write_again(&cursor, left->commit, known);
    free(cursor.bytes);
    return code;
}

/* Who was killed may have left records in the page cache alone; they are on the disk before a byte of them is
 * in the data file. The kernel may have told the dead that it lost some of them, and won't tell us; so those that
 * his table doesn't know as durable are written once more. Without a table that is done only after a failure: the
 * last record may be acknowledged. */
static int sync_log(hf_store *store, const struct left *left)
{
    const int file = (int)(left->header.epoch % 2);
    int code = 0;
    if (HF__BUG(RECOVERY_LOG_NOT_SYNCED))
        return 0;
    if (__atomic_load_n(&hf__words(store)->recover, __ATOMIC_SEQ_CST) == HF__RECOVER_UNDURABLE ||
        hf__flag(&hf__words(store)->log_failed))
        code = write_log_again(store, left);
    if (code == 0 && hf__os->fdatasync(store->log.fds[file]) != 0)
        code = hf__fail_os(errno, store->log.paths[file], "fdatasync");
    hf__set_flag(&hf__words(store)->log_failed, code != 0);
    return code;
}

static int write_all(hf_store *store, const struct left *left)
{
    struct hf__log_cursor cursor = {.bytes = NULL};
    int found, code = reach(store, left->end);
    if (code != 0)
        return code;
    code = hf__replay_prepare(store, &left->replay, left->end);
    begin_at(store, &cursor, &left->header);
    while (code == 0 && cursor.commit < left->commit) {
        found = hf__cursor_next(&cursor);
        code = found == 1 ? hf__replay_write(store, &left->replay, hf__cursor_record(&cursor))
               : found < 0 ? found
                           : hf__corrupt("log.chain", cursor.end);
    }
    hf__store_fence();
    free(cursor.bytes);
    return code;
}

/* With the writer's and the applier's place and the gate. */
static int replay(hf_store *store, struct hf__file_header *header, const struct left *left)
{
    struct hf__segment_header segment;
    int code = 0;
    if (HF__BUG(RECOVERY_CLEAN_FIRST)) {
        header->state = HF__STATE_CLEAN;
        code = hf__header_write(store->fd, store->path, header);
    }
    if (HF__BUG(RECOVERY_UNLINKS_FIRST)) {
        hf__os->unlink(store->log.paths[0]);
        hf__os->unlink(store->log.paths[1]);
    }
    if (code == 0)
        code = sync_log(store, left);
    if (code == 0)
        code = write_all(store, left);
    if (code == 0 && hf__segment_read(store->fd, &segment, sizeof segment, 0) != sizeof segment)
        code = hf__fail_os(errno, store->path, "read");
    if (code == 0 && (segment.size_bytes > store->constants.size_max_bytes ||
                      segment.heap.used_end > segment.size_bytes))
        code = hf__corrupt("segment.size", offsetof(struct hf__segment_header, size_bytes));
    if (code == 0 && !HF__BUG(RECOVERY_LEAVES_SHORT))
        code = reach(store, segment.size_bytes);
    if (code == 0)
        code = hf__pages_write(store->fd, store->path, store->constants.salt,
                               segment.heap.used_end, &left->touched);
    if (code == 0 && !HF__BUG(RECOVERY_DATA_NOT_SYNCED) && hf__os->fdatasync(store->fd) != 0)
        code = hf__fail_os(errno, store->path, "fdatasync");
    if (code != 0)
        return code;
    header->state = HF__STATE_CLEAN;
    header->size_bytes = segment.size_bytes;
    header->used_end = segment.heap.used_end;
    memset(header->boot_id, 0, sizeof header->boot_id);
    return hf__header_write(store->fd, store->path, header);
}

int hf__log_recover(hf_store *store, uint64_t deadline)
{
    struct hf__lock_header *table = &store->locks.table->header;
    struct hf__file_header header;
    struct left left;
    int code = hf__header_read(store->fd, store->path, false, &header);
    if (code != 0)
        return code;
    memset(&left, 0, sizeof left);
    const bool needed = header.state != HF__STATE_CLEAN;
    /* Somebody recovered it and didn't live to say so, or to hear that "clean" is on the disk. */
    if (!needed)
        code = hf__header_write(store->fd, store->path, &header);
    if (code == 0 && needed)
        code = survey(store, header.generation, false, &left);
    if (code == 0)
        code = hf__place_lock(&store->locks, &store->locks.applying, deadline);
    if (code != 0)
        goto out_dispose;
    code = hf__gate_close(&store->locks, UINT64_MAX, deadline);
    if (code != 0)
        goto out_unlock;
    if (needed)
        code = replay(store, &header, &left);
    if (code != 0) {
        /* Half of it may be written: nobody may read. */
        __atomic_store_n(&table->gate, HF__NOBODY, __ATOMIC_SEQ_CST);
        goto out_unlock;
    }
    struct hf__log_tail tail = {.appended = left.commit};
    struct hf__log_front front = {.applied = left.commit};
    hf__tail_publish(store, &tail);
    hf__front_publish(store, &front);
    table->header_marked = 0;
    __atomic_store_n(&table->log.recover, 0, __ATOMIC_SEQ_CST);
    if (needed)
        report(store, &left);
    hf__gate_open(&store->locks);
out_unlock:
    hf__place_unlock(&store->locks, &store->locks.applying);
out_dispose:
    left_dispose(&left);
    return code;
}

/* Lays the records with commits up to `last` over private memory, from where the cursor stands. */
static int lay_over(const hf_store *store, struct hf__log_cursor *cursor, uint64_t last,
                    unsigned char *segment)
{
    const uint64_t room = store->reserved_bytes - HF__SEGMENT_OFFSET;
    while (cursor->commit < last) {
        int found = hf__cursor_next(cursor);
        if (found <= 0)
            return found < 0 ? found : hf__corrupt("log.chain", cursor->end);
        const struct hf__record *record = hf__cursor_record(cursor);
        const struct hf__record_range *ranges = hf__record_ranges(record);
        const unsigned char *data =
            (const unsigned char *)record + hf__record_data(record->range_count);
        for (uint64_t i = 0; i < record->range_count; i++) {
            if (ranges[i].offset + ranges[i].size_bytes > room)
                return hf__fail_outgrown(store);
            memcpy(segment + ranges[i].offset, data, (size_t)ranges[i].size_bytes);
            data += ranges[i].size_bytes;
        }
    }
    return 0;
}

int hf__log_replay_over(hf_store *store, unsigned char *mapping, uint64_t generation)
{
    struct hf__log_cursor cursor = {.bytes = NULL};
    struct left left;
    int code = survey(store, generation, true, &left);
    if (code == 0)
        code = hf__map_private_to(store, mapping, 0, left.end);
    if (code == 0) {
        begin_at(store, &cursor, &left.header);
        code = lay_over(store, &cursor, left.commit, mapping + HF__SEGMENT_OFFSET);
        free(cursor.bytes);
    }
    if (code == 0) {
        const struct hf__segment_header *segment =
            (const struct hf__segment_header *)(const void *)(mapping + HF__SEGMENT_OFFSET);
        if (segment->size_bytes <= store->size_max_bytes)
            code = hf__map_private_to(store, mapping, left.end, segment->size_bytes);
        report(store, &left);
    }
    left_dispose(&left);
    return code;
}

int hf__touched_by_left_log(hf_store *store, uint64_t generation, struct hf__touched *out,
                            uint64_t *used_end)
{
    struct left left;
    int code = survey(store, generation, true, &left);
    *used_end = left.header.used_end;
    hf__replay_dispose(&left.replay);
    if (code == 0)
        *out = left.touched;
    else
        hf__touched_free(&left.touched);
    return code;
}

/* For a view that met a gate closed by a dead applier, and keeps its slot: nothing is applied until
 * it ends, so `applied` stands still. */
int hf__log_replay_stuck(hf_store *store, void **out)
{
    struct hf__file_header header;
    struct hf__log_front front, from;
    struct hf__log_tail tail;
    unsigned char *mapping;
    int code = hf__header_read(store->fd, store->path, true, &header);
    if (code == 0)
        code = hf__map_private(store, &mapping);
    if (code != 0)
        return code;
    hf__tail_read(store, &tail);
    hf__front_read(store, &front);
    hf__front_in(store, &tail, &from);
    if (hf__flag(&hf__words(store)->recover)) {
        if (header.state != HF__STATE_CLEAN)
            code = hf__log_replay_over(store, mapping, header.generation);
    } else if (tail.epoch != 0) {
        struct hf__log_cursor cursor = {.bytes = NULL};
        uint64_t last = hf__durable(store);
        if (__atomic_load_n(&store->locks.table->header.log.unsynced, __ATOMIC_SEQ_CST) ==
                HF__UNSYNCED_YES ||
            last > tail.appended)
            last = tail.appended;
        /* The dead one may have been in the midst of one record. Whoever opens the gate applies that at
         * least, and perhaps no more: to show more would be to go back afterwards. */
        if (last > front.applied + 1)
            last = front.applied + 1;
        code = hf__log_open(store, false, true);
        hf__cursor_set(&cursor, store, (int)(tail.epoch % 2), tail.salt, from.applied, from.chain,
                       from.end);
        if (code == 0)
            code = lay_over(store, &cursor, last, mapping + HF__SEGMENT_OFFSET);
        free(cursor.bytes);
    }
    if (code == 0)
        *out = mapping;
    else
        hf__os->munmap(mapping, (size_t)store->reserved_bytes);
    return code;
}
