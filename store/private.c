/* SPDX-License-Identifier: MIT */
/*
 * private.c - P, the private mapping in which the log engine's writer works
 *
 * Pages that this process never wrote are the data file's pages and follow it; the others are
 * private and show what was written there. Which ones may be private is noted, a bit each.
 *
 * Invariants
 *   P1  between transactions of this handle P shows the live bytes of commit `seen`, as long as
 *       nobody else applies or commits; hf__private_follow makes that true of the newest commit
 *   P2  a page whose bit is not set is not private
 *   P3  the set of changed lines holds each line below the window that this transaction announced
 *   P4  from window_start on P is mapped shared, or (where a store through a mapping may meet a full
 *       disk) written to the file before the record; that is at or above the highest used end of any
 *       state since the log's base, so nothing there belongs to a state that recovery could lead to
 *
 * Bytes above the used end mean nothing, in P as in the file.
 */
#include "base/bug.h"
#include "base/os.h"
#include "store.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RECORD_KEPT_BYTES (UINT64_C(4) << 20)
#define WINDOW_BYTES (UINT64_C(1) << 20)  /* logged above fresh_end before a window opens         */
#define AHEAD_BYTES  (UINT64_C(1) << 20)  /* of a window made ready in one go                     */
#define GRAIN_BYTES  (UINT64_C(16) << 10) /* of the file: written back together or not at all     */
#define BEHIND_BYTES (64 * GRAIN_BYTES)   /* of a window, a stretch: a bit a grain                */

static uint64_t page_of(uint64_t offset)
{
    return offset / HF__PAGE_BYTES;
}

/* ---- mappings -------------------------------------------------------------------------------- */

int hf__private_open(hf_store *store)
{
    struct hf__log *log = &store->log;
    uint64_t bytes = hf__whole_pages(page_of(store->reserved_bytes) / 8 + 8);
    void *bits = hf__os->mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bits == MAP_FAILED)
        return hf__fail_os(errno, store->path, "mmap");
    log->private_pages = bits;
    log->private_room_bytes = bytes;
    return 0;
}

void hf__private_close(hf_store *store)
{
    struct hf__log *log = &store->log;
    if (log->private_pages != NULL)
        hf__os->munmap(log->private_pages, (size_t)log->private_room_bytes);
    log->private_pages = NULL;
    free(log->window_hot);
    log->window_hot = NULL;
}

/* ---- which pages are private ----------------------------------------------------------------- */

static bool is_private(const struct hf__log *log, uint64_t page)
{
    return (log->private_pages[page / 64] >> page % 64 & 1) != 0;
}

static void set_private(struct hf__log *log, uint64_t page)
{
    uint64_t *word = &log->private_pages[page / 64], bit = UINT64_C(1) << page % 64;
    log->private_count += (*word & bit) == 0;
    *word |= bit;
    if (page >= log->private_end)
        log->private_end = page + 1;
}

/* The bits of pages [from, to) go; what the pages showed is somebody else's business. */
static void clear_private(struct hf__log *log, uint64_t from, uint64_t to)
{
    if (to > log->private_end)
        to = log->private_end;
    for (uint64_t page = from; page < to; page++) {
        if (page % 64 == 0 && to - page >= 64 && log->private_pages[page / 64] == 0) {
            page += 63;
            continue;
        }
        if (is_private(log, page)) {
            log->private_pages[page / 64] &= ~(UINT64_C(1) << page % 64);
            log->private_count--;
        }
    }
    if (to == log->private_end && from < to)
        log->private_end = from;
}

/* Private pages of [from, to) show the data file again. */
static int drop_private(hf_store *store, uint64_t from, uint64_t to)
{
    struct hf__log *log = &store->log;
    if (to > log->private_end)
        to = log->private_end;
    if (from >= to)
        return 0;
    if (hf__os->madvise(store->seg.base + from * HF__PAGE_BYTES,
                        (size_t)((to - from) * HF__PAGE_BYTES), MADV_DONTNEED) != 0)
        return hf__fail_os(errno, store->path, "madvise");
    clear_private(log, from, to);
    return 0;
}

int hf__private_forget(hf_store *store)
{
    const uint64_t bytes = hf__whole_pages(store->seg.size_bytes);
    if (hf__os->madvise(store->seg.base, (size_t)bytes, MADV_DONTNEED) != 0)
        return hf__fail_os(errno, store->path, "madvise");
    clear_private(&store->log, 0, page_of(bytes));
    return drop_private(store, page_of(bytes), store->log.private_end);
}

void hf__private_trim(hf_store *store)
{
    struct hf__log_tail tail;
    struct hf__log_front front;
    struct hf__log *log = &store->log;
    if (log->private_count * HF__PAGE_BYTES <= hf__tuned(&log->private_max_bytes))
        return;
    hf__tail_read(store, &tail);
    hf__front_read(store, &front);
    if (tail.epoch == 0 || front.applied >= tail.appended || HF__BUG(PRIVATE_TRIMMED_EARLY))
        (void)drop_private(store, 0, log->private_end);
}

/* ---- changes --------------------------------------------------------------------------------- */

int hf__private_reserve(hf_store *store, uint64_t cost_bytes)
{
    /* The cheapest announcement costs about 200 bytes and touches two pages at most. */
    if (!hf__lines_reserve(&store->log.changed, cost_bytes / 100 + 4))
        return hf__fail(HF_ENOMEM, "the set of changed lines");
    return 0;
}

/*
 * A window that is filled from below is made ready a stretch ahead, in one call instead of a fault
 * for each page, and written back a stretch behind, so that the disk works while the program does and
 * the sync at the end finds little left. Both are hints: what they don't do, or do to pages that
 * change again, faults and the sync see to. So neither says anything of what is durable, and an error
 * is no more than a hint that wasn't taken (the kernel keeps it for the sync to report).
 */
static void make_ready(hf_store *store, uint64_t end)
{
    struct hf__log *log = &store->log;
    const uint64_t from = log->window_next;
    const uint64_t backed = store->seg.size_bytes / HF__PAGE_BYTES * HF__PAGE_BYTES;
    uint64_t to = (end / AHEAD_BYTES + 1) * AHEAD_BYTES;
    to = to < backed ? to : backed;
    log->window_next = to > end ? to : end;
    /* Who jumps ahead may have no need of what lies between. */
    if (to > from && to - from <= 2 * AHEAD_BYTES)
        (void)hf__os->madvise(store->seg.base + from, (size_t)(to - from), MADV_POPULATE_WRITE);
}

/*
 * A page that changes again is written twice and faults again: the pages of an index, to which a program
 * comes back all the time, are better left to the sync. So a stretch is watched before it is written: from
 * when the one behind it is full until another one is. Of grains in which something was announced
 * meanwhile nothing is written. (Pages are folios of their own, since fresh space is met without readahead;
 * as they were of 64 KiB, writing one page made sixteen fault again, and a grain was as large.)
 *
 *   window_first  |  grains written or left  |  watched  |  full  | being filled
 *
 * Where what was written changes all the same (the index `hash` moves entries from chains, which are
 * everywhere), writing pauses: it goes by how many of the grains that were written changed since, the older
 * ones counting less with each stretch.
 */
static uint64_t grain_bit(const struct hf__log *log, uint64_t offset, uint64_t *stretch)
{
    const uint64_t grain = (offset - log->window_first) / GRAIN_BYTES;
    *stretch = grain / 64;
    return UINT64_C(1) << grain % 64;
}

/* A change of [offset, end), which begins in what is watched or lies before that. */
static void change_behind(struct hf__log *log, uint64_t offset, uint64_t end)
{
    if (offset < log->window_first)
        offset = log->window_first;
    offset -= (offset - log->window_first) % GRAIN_BYTES;
    end = end < log->window_watched ? end : log->window_watched;
    for (uint64_t stretch; offset < end; offset += GRAIN_BYTES) {
        const uint64_t bit = grain_bit(log, offset, &stretch);
        if ((log->window_hot[stretch] & bit) == 0 && stretch + 1 < log->window_stretches)
            log->window_again++;
        log->window_hot[stretch] |= bit;
    }
}

/* In the file there is a page table between one span and the next. */
static void begin_writing(hf_store *store, uint64_t from, uint64_t to)
{
    while (from < to) {
        const struct hf__piece piece = hf__piece_at(from, to);
        (void)hf__os->write_back(store->fd, (off_t)piece.file_offset, (off_t)piece.size_bytes);
        from += piece.size_bytes;
    }
}

static void write_cold(hf_store *store)
{
    struct hf__log *log = &store->log;
    const uint64_t hot = log->window_hot[log->window_stretches - 1];
    const uint64_t from = log->window_watched - BEHIND_BYTES;
    for (unsigned grain = 0, first; grain < 64; grain++) {
        for (first = grain; grain < 64 && (hot >> grain & 1) == 0;)
            grain++;
        log->window_written += grain - first;
        begin_writing(store, from + first * GRAIN_BYTES, from + grain * GRAIN_BYTES);
    }
}

/* Begins to watch another stretch; false: there was no memory to. */
static bool watch_next(struct hf__log *log)
{
    if (log->window_stretches == log->window_room) {
        const size_t room = log->window_room == 0 ? 64 : 2 * log->window_room;
        uint64_t *more = realloc(log->window_hot, room * sizeof *more);
        if (more == NULL)
            return false;
        log->window_hot = more;
        log->window_room = room;
    }
    log->window_hot[log->window_stretches++] = 0;
    log->window_watched = log->window_first + log->window_stretches * BEHIND_BYTES;
    return true;
}

/* What lies before `filled` is taken to be full. */
static void write_behind(hf_store *store, uint64_t filled)
{
    struct hf__log *log = &store->log;
    while (filled >= log->window_first + (log->window_stretches + 2) * BEHIND_BYTES) {
        if (log->window_stretches != 0) {
            if (log->window_again > log->window_written / 4 + 8)
                log->window_hot[log->window_stretches - 1] = UINT64_MAX;
            write_cold(store);
            log->window_written -= log->window_written / 4;
            log->window_again -= log->window_again / 4;
        }
        if (!watch_next(log)) {
            log->window_first = UINT64_MAX / 2; /* no more of this window */
            return;
        }
    }
}

/* Grains are those of the file. */
static uint64_t whole_grains(uint64_t offset)
{
    return (offset + HF__SEGMENT_OFFSET + GRAIN_BYTES - 1) / GRAIN_BYTES * GRAIN_BYTES -
           HF__SEGMENT_OFFSET;
}

static void open_window(hf_store *store, uint64_t end)
{
    struct hf__log *log = &store->log;
    struct hf__log_tail tail;
    hf__tail_read(store, &tail);
    const uint64_t fresh_end =
        HF__BUG(WINDOW_FROM_USED_END) ? log->window_limit - WINDOW_BYTES : tail.fresh_end;
    uint64_t start = fresh_end > log->changed_end ? fresh_end : log->changed_end;
    start = hf__whole_pages(start);
    if (end <= hf__whole_pages(fresh_end) + WINDOW_BYTES || start >= end)
        return;
    if (!store->written_mapped) {
        log->window_start = start; /* written by hf__private_write_window instead */
        return;
    }
    hf_error before = *hf_last_error();
    bool torn;
    /* Without a window all goes through the log: slower, and no less safe. Bits of pages that were mapped
     * anew meanwhile may stay: P2 asks only for those that are private. */
    const int code = hf__map_tail_shared(store, start, &torn);
    if (code != 0)
        hf__fail_again(&before);
    if (code != 0 && !torn)
        return;
    /* What may be half a window is closed like one (P4), and no commit comes of it. */
    log->changed_lost |= torn;
    log->window_start = log->window_next = start;
    log->window_first = whole_grains(start);
    log->window_watched = log->window_written = log->window_again = 0;
    log->window_stretches = 0;
    clear_private(log, page_of(start), log->private_end);
}

/* What lies in a window that isn't mapped shared is private and not logged. */
static void note_unmapped(struct hf__log *log, uint64_t offset, uint64_t end)
{
    const uint64_t from = offset > log->window_start ? offset : log->window_start;
    for (uint64_t page = page_of(from); page <= page_of(end - 1); page++)
        set_private(log, page);
}

int hf__private_write_window(hf_store *store)
{
    struct hf__log *log = &store->log;
    const uint64_t used_end = page_of(hf__whole_pages(hf__used_end(&store->seg)));
    if (log->window_start == UINT64_MAX || store->written_mapped)
        return 0;
    for (uint64_t page = page_of(log->window_start), first; page < used_end; page++) {
        if (!is_private(log, page))
            continue;
        for (first = page; page < used_end && is_private(log, page);)
            page++;
        const uint64_t from = first * HF__PAGE_BYTES;
        if (hf__segment_write(store->fd, store->seg.base + from, (page - first) * HF__PAGE_BYTES,
                              from) != 0)
            return hf__fail_os(errno, store->path, "write");
    }
    return 0;
}

/* A change of [offset, end) in the window, or of what of it lies there. */
static void change_in_window(hf_store *store, uint64_t offset, uint64_t end)
{
    struct hf__log *log = &store->log;
    if (!store->written_mapped) {
        note_unmapped(log, offset, end);
        return;
    }
    if (offset < log->window_watched)
        change_behind(log, offset, end);
    if (end > log->window_next) {
        /* What a program has been given since may not be filled yet. */
        const uint64_t filled = log->window_next;
        make_ready(store, end);
        write_behind(store, filled);
    }
}

void hf__private_change(hf_store *store, uint64_t offset, uint64_t size_bytes)
{
    struct hf__log *log = &store->log;
    uint64_t end = offset + size_bytes;
    if (size_bytes == 0)
        return;
    if (offset >= log->window_start) {
        change_in_window(store, offset, end);
        return;
    }
    const uint64_t first = offset / HF__LINE_BYTES;
    if (first == (end - 1) / HF__LINE_BYTES &&
        hf__lines_has(&log->changed, first / HF__LINES_A_PAGE, first % HF__LINES_A_PAGE))
        return;
    if (end > log->window_limit && log->window_start == UINT64_MAX)
        open_window(store, end);
    if (end > log->window_start) {
        change_in_window(store, offset, end);
        end = log->window_start;
    }
    if (offset >= end)
        return;
    uint64_t line = offset / HF__LINE_BYTES;
    const uint64_t last = (end - 1) / HF__LINE_BYTES;
    while (line <= last) {
        uint64_t page = line / HF__LINES_A_PAGE;
        uint64_t page_last = page * HF__LINES_A_PAGE + HF__LINES_A_PAGE - 1;
        if (page_last > last)
            page_last = last;
        if (hf__lines_reserve(&log->changed, 1))
            hf__lines_add(&log->changed, page,
                          hf__lines_between(line % HF__LINES_A_PAGE, page_last % HF__LINES_A_PAGE));
        else
            log->changed_lost = true;
        set_private(log, page);
        line = page_last + 1;
    }
    if ((last + 1) * HF__LINE_BYTES > log->changed_end)
        log->changed_end = (last + 1) * HF__LINE_BYTES;
}

void hf__private_begin(hf_store *store)
{
    struct hf__log *log = &store->log;
    hf__lines_empty(&log->changed);
    log->changed_end = 0;
    log->changed_lost = false;
    log->window_limit = hf__used_end(&store->seg) + WINDOW_BYTES;
}

int hf__private_end(hf_store *store)
{
    struct hf__log *log = &store->log;
    if (log->window_start == UINT64_MAX)
        return 0;
    int code = store->written_mapped
                   ? hf__map_tail(store, log->window_start)
                   : drop_private(store, page_of(log->window_start), log->private_end);
    if (code == 0)
        log->window_start = UINT64_MAX;
    return code;
}

/* ---- the record ------------------------------------------------------------------------------ */

/* Runs of changed lines, in the order in which their pages came; runs that touch are one. */
struct runs {
    struct hf__record_range *ranges; /* the first `room` of them; the others are only counted     */
    uint64_t room, count, bytes, offset, size_bytes;
};
#define FEW_RUNS 16u /* so many are kept where they were counted, and not looked for again        */

static void end_run(struct runs *runs)
{
    if (runs->size_bytes == 0)
        return;
    if (runs->count < runs->room)
        runs->ranges[runs->count] = (struct hf__record_range){runs->offset, runs->size_bytes};
    runs->count++;
    runs->bytes += runs->size_bytes;
    runs->size_bytes = 0;
}

static void add_run(struct runs *runs, uint64_t offset, uint64_t size_bytes)
{
    if (runs->size_bytes != 0 && runs->offset + runs->size_bytes == offset) {
        runs->size_bytes += size_bytes;
        return;
    }
    end_run(runs);
    runs->offset = offset;
    runs->size_bytes = size_bytes;
}

static void find_runs(const struct hf__lines *changed, uint64_t limit, struct runs *runs)
{
    for (uint64_t i = 0; i < changed->count; i++) {
        const uint64_t page = changed->order[i];
        uint64_t lines = hf__lines_of(changed, page);
        while (lines != 0) {
            uint64_t first = (uint64_t)__builtin_ctzll(lines);
            uint64_t rest = ~(lines >> first);
            uint64_t count = rest == 0 ? 64 - first : (uint64_t)__builtin_ctzll(rest);
            uint64_t from = page * HF__PAGE_BYTES + first * HF__LINE_BYTES;
            uint64_t to = from + count * HF__LINE_BYTES;
            if (from < limit)
                add_run(runs, from, (to < limit ? to : limit) - from);
            lines &= first + count == 64 ? 0 : ~UINT64_C(0) << (first + count);
        }
    }
    end_run(runs);
}

static int record_room(struct hf__log *log, uint64_t bytes)
{
    if (log->record == NULL) {
        log->record = __atomic_exchange_n(&log->spare, NULL, __ATOMIC_ACQ_REL);
        log->record_room = log->record == NULL ? 0 : malloc_usable_size(log->record);
    }
    if (bytes <= log->record_room)
        return 0;
    size_t room = bytes < 65536 ? 65536 : (size_t)bytes;
    struct hf__record *more = realloc(log->record, room);
    if (more == NULL)
        return hf__fail(HF_ENOMEM, "a log record of %llu bytes", (unsigned long long)bytes);
    log->record = more;
    log->record_room = room;
    return 0;
}

struct hf__record *hf__private_record_take(struct hf__log *log)
{
    struct hf__record *record = log->record;
    log->record = NULL;
    log->record_room = 0;
    return record;
}

void hf__private_record_put(struct hf__log *log, struct hf__record *record)
{
    /* By its room: what a huge commit has left there after it failed may hold the record of a small one. */
    if (record != NULL && malloc_usable_size(record) <= RECORD_KEPT_BYTES)
        record = __atomic_exchange_n(&log->spare, record, __ATOMIC_ACQ_REL);
    free(record);
}

int hf__private_encode(hf_store *store, uint64_t *length)
{
    struct hf__log *log = &store->log;
    const uint64_t used_end = hf__used_end(&store->seg);
    const uint64_t whole = used_end + (HF__BUG(LAST_LINE_LEFT_OUT) ? 0 : HF__LINE_BYTES - 1);
    const uint64_t limit =
        HF__BUG(LINES_ABOVE_USED_END) ? UINT64_MAX : whole & ~(uint64_t)(HF__LINE_BYTES - 1);
    struct hf__record_range few[FEW_RUNS];
    struct runs runs = {.ranges = few, .room = FEW_RUNS};
    if (log->changed_lost)
        return hf__fail(HF_ENOMEM, "the set of changed lines");
    find_runs(&log->changed, limit, &runs);
    *length = 0;
    if (runs.count == 0)
        return 0;
    const uint64_t data = hf__record_data(runs.count), total = data + runs.bytes;
    int code = record_room(log, total);
    if (code != 0)
        return code;
    struct hf__record *record = log->record;
    memset(record, 0, (size_t)data);
    struct hf__record_range *ranges = (struct hf__record_range *)(record + 1);
    if (runs.count <= FEW_RUNS) {
        for (uint64_t i = 0; i < runs.count; i++)
            ranges[i] = few[i];
    } else {
        runs = (struct runs){.ranges = ranges, .room = runs.count};
        find_runs(&log->changed, limit, &runs);
    }
    unsigned char *to = (unsigned char *)record + data;
    for (uint64_t i = 0; i < runs.count; i++) {
        memcpy(to, store->seg.base + ranges[i].offset, (size_t)ranges[i].size_bytes);
        to += ranges[i].size_bytes;
    }
    record->magic = HF__RECORD_MAGIC;
    record->length_bytes = total;
    record->used_end = used_end;
    record->range_count = runs.count;
    if (log->window_start < used_end) {
        record->window_start = log->window_start;
        record->window_end = hf__whole_pages(used_end);
    }
    *length = total;
    return 0;
}

/* ---- following others ------------------------------------------------------------------------ */

/* Lays a record over P. applied: it stands in the data file, so only private pages need it. */
static int lay(hf_store *store, const struct hf__record *record, bool applied)
{
    struct hf__log *log = &store->log;
    const struct hf__record_range *ranges = hf__record_ranges(record);
    const unsigned char *data =
        (const unsigned char *)record + hf__record_data(record->range_count);
    if (record->used_end > store->size_max_bytes)
        return hf__fail_outgrown(store);
    int code = HF__BUG(OTHERS_WINDOW_KEPT)
                   ? 0
                   : drop_private(store, page_of(record->window_start),
                                  page_of(record->window_end));
    for (uint64_t i = 0; code == 0 && i < record->range_count; i++) {
        uint64_t at = ranges[i].offset, left = ranges[i].size_bytes;
        while (left > 0) {
            uint64_t part = HF__PAGE_BYTES - at % HF__PAGE_BYTES;
            part = part < left ? part : left;
            if (!applied ||
                (is_private(log, page_of(at)) && !HF__BUG(OTHERS_NOT_FOLLOWED))) {
                memcpy(store->seg.base + at, data, (size_t)part);
                set_private(log, page_of(at));
            }
            at += part;
            data += part;
            left -= part;
        }
    }
    return code;
}

int hf__private_follow(hf_store *store)
{
    struct hf__log *log = &store->log;
    const struct hf__log_tail *own = hf__tail_own(store);
    struct hf__log_front front;
    struct hf__log_tail tail;
    int code = 0;
    if (own->epoch == log->seen_epoch && (own->epoch == 0 || log->seen == own->appended))
        return 0; /* nobody else was here */
    hf__front_and_tail_read(store, &front, &tail);
    if (tail.epoch != log->seen_epoch) {
        /* The records since `seen` may be gone. All up to `applied` is in the data file. */
        code = HF__BUG(OTHERS_SWITCH_KEPT) ? 0 : drop_private(store, 0, log->private_end);
        if (code != 0)
            return code;
        log->seen = tail.epoch == 0 ? tail.appended : front.applied;
        log->seen_epoch = tail.epoch;
        log->seen_end = front.end;
        log->seen_chain = front.chain;
    }
    if (tail.epoch == 0 || log->seen == tail.appended)
        return 0;
    hf__cursor_set(&log->laying, store, (int)(tail.epoch % 2), tail.salt, log->seen,
                   log->seen_chain, log->seen_end);
    while (code == 0 && log->seen < tail.appended) {
        int found = hf__cursor_next(&log->laying);
        if (found <= 0)
            return found < 0 ? found : hf__corrupt("log.chain", log->laying.end);
        code = lay(store, hf__cursor_record(&log->laying), log->laying.commit <= front.applied);
        if (code == 0) {
            log->seen = log->laying.commit;
            log->seen_end = log->laying.end;
            log->seen_chain = log->laying.chain;
        }
    }
    return code;
}
