/* SPDX-License-Identifier: MIT */
/*
 * space.c - what a store needs no longer goes back to the disk, while others have it open
 *
 *   mark       a transaction marks large free blocks in their headers and lowers the recorded size
 *   settle     a checkpoint makes that the base: no recovery and no view leads to what was before
 *   say        the page table says of their whole pages that they are holes; it is synced
 *   punch      fallocate(PUNCH_HOLE | KEEP_SIZE): marked blocks, and the file above the recorded size
 *
 * and, when the last one closes, the file is cut. Whoever uses any of it again has blocks put there
 * first (hf__map_back, hf__map_grow).
 *
 * Invariants
 *   Z1  what is punched is, in the base and in every state since, a whole page of a marked free block or
 *       above the recorded size
 *   Z2  the entry of a page below the used end that is punched says so on stable storage before
 *   Z3  a record whose transaction put blocks into holes is written after these are on stable storage
 *   Z4  the file's length changes only when it is held alone
 *
 * docs/space.md has the argument.
 */
#include "base/bug.h"
#include "base/os.h"
#include "engine.h"
#include "pages.h"
#include "space.h"
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TAIL_MARGIN (UINT64_C(1) << 20) /* left above the used end but when asked, at least      */
#define SAY_PAGES   992u                /* of 32 sectors of the page table, at a time             */
#define PAUSE_NS    (INT64_C(5) * 1000 * 1000)
#define VIEWS_WAIT_MS 1000

/* ---- the tail -------------------------------------------------------------------------------- */

/* The size to record for a segment that keeps so many bytes above its used end; never more than it has. */
static uint64_t lowered_size(const struct hf__segment_header *header, uint64_t margin)
{
    uint64_t target = hf__whole_pages(header->heap.used_end + margin);
    if (target < header->size_kept_bytes)
        target = hf__whole_pages(header->size_kept_bytes);
    if (target < HF__SEGMENT_BYTES_MIN)
        target = HF__SEGMENT_BYTES_MIN;
    return target < header->size_bytes ? target : header->size_bytes;
}

/* What growing has left, or will need again soon. */
static uint64_t margin_of(const struct hf__segment_header *header)
{
    const uint64_t part = header->heap.used_end / 8;
    return part > TAIL_MARGIN ? part : TAIL_MARGIN;
}

static int record_size(hf_store *store, uint64_t size_bytes)
{
    int code = hf__reserve(&store->seg, HF__EDIT_COST(sizeof(uint64_t)));
    if (code != 0)
        return code;
    uint64_t *field =
        hf__edit(&store->seg, offsetof(struct hf__segment_header, size_bytes), sizeof(uint64_t));
    *field = size_bytes;
    return 0;
}

/* Ends a transaction of ours; the segment is as large as the outcome says. */
static int end_own(hf_store *store, hf_txn *txn, int code)
{
    if (code == 0) {
        code = hf_commit(txn);
    } else {
        hf_error failure = *hf_last_error();
        hf_abort(txn);
        hf__fail_again(&failure);
    }
    store->seg.size_bytes = hf__segment_header(&store->seg)->size_bytes;
    return code;
}

int hf__space_lower(hf_store *store)
{
    const struct hf__segment_header *header = hf__segment_header(&store->seg);
    hf_txn *txn;
    if (store->engine == NULL || store->mode == HF_READ_ONLY || store->role == HF__ROLE_FROZEN)
        return 0;
    int code = hf_begin(store, &txn);
    if (code != 0)
        return code;
    /* With hysteresis: a tail that growing has left, or will need again soon, stays. */
    const uint64_t used = header->heap.used_end;
    const uint64_t worth = used / 4 > TAIL_MARGIN ? used / 4 : TAIL_MARGIN;
    const uint64_t target = lowered_size(header, margin_of(header));
    if (header->size_bytes - target < worth) {
        hf_abort(txn);
        return 0;
    }
    return end_own(store, txn, record_size(store, target));
}

void hf__space_cut(hf_store *store, const struct hf__file_header *header)
{
    struct stat st;
    if (store->mode == HF_READ_ONLY || header->state != HF__STATE_CLEAN ||
        header->size_bytes < HF__SEGMENT_BYTES_MIN || header->size_bytes < header->used_end ||
        hf__os->fstat(store->fd, &st) != 0)
        return;
    const uint64_t length = hf__file_bytes(hf__whole_pages(header->size_bytes));
    if ((uint64_t)st.st_size > length) /* failing it is merely longer than it need be */
        (void)!hf__os->ftruncate(store->fd, (off_t)length);
}

/* ---- what there is --------------------------------------------------------------------------- */

static int add_span(void *user, uint64_t block, uint64_t from, uint64_t to, bool hole)
{
    struct hf__spans *spans = user;
    (void)block;
    if (hole != spans->marked && !HF__BUG(UNMARKED_PUNCHED))
        return 0;
    if (spans->count == spans->room) {
        const size_t room = spans->room == 0 ? 64 : 2 * spans->room;
        struct hf__span *more = realloc(spans->all, room * sizeof *more);
        if (more == NULL)
            return hf__fail(HF_ENOMEM, "a list of free blocks");
        spans->all = more;
        spans->room = room;
    }
    spans->all[spans->count++] = (struct hf__span){from, to};
    spans->bytes += to - from;
    return 0;
}

int hf__spans_find(struct hf__heap *heap, uint64_t span_min, struct hf__spans *spans)
{
    return hf__heap_each_span(heap, span_min, add_span, spans);
}

static int count_span(void *user, uint64_t block, uint64_t from, uint64_t to, bool hole)
{
    uint64_t *bytes = user; /* of unmarked blocks, of marked ones */
    (void)block;
    bytes[hole] += to - from;
    return 0;
}

int hf__space_count(const hf_store *store, struct hf__segment *seg, uint64_t *given_back,
                    uint64_t *to_give)
{
    const struct hf__segment_header *header = hf__segment_header(seg);
    struct hf__heap heap = hf__heap_over(store, seg);
    uint64_t bytes[2] = {0, 0};
    int code = hf__heap_each_span(&heap, HF__SPAN_BYTES_MIN, count_span, bytes);
    const uint64_t tail = header->size_bytes - lowered_size(header, HF__SPAN_BYTES_MIN);
    if (code != 0)
        return code;
    *given_back = bytes[1];
    *to_give = bytes[0] + (tail < HF__SPAN_BYTES_MIN ? 0 : tail);
    return 0;
}

uint64_t hf__space_spare(const struct hf__segment_header *header)
{
    return header->heap.free_bytes + header->size_bytes - lowered_size(header, margin_of(header));
}

int hf_trim_estimate(hf_store *store, hf_trim_report *report)
{
    struct hf__spans spans = {.marked = false}, punched = {.marked = true};
    hf_view *view;
    bool begun;
    if (report == NULL)
        return hf__fail(HF_EINVAL, "hf_trim_estimate");
    int code = hf__view_borrow(store, &view, &begun);
    if (code != 0)
        return code;
    const struct hf__segment_header *header = hf__segment_header(view->seg);
    struct hf__heap heap = hf__heap_over(store, view->seg);
    code = hf__spans_find(&heap, HF__SPAN_BYTES_MIN, &spans);
    if (code == 0)
        code = hf__spans_find(&heap, HF__SPAN_BYTES_MIN, &punched);
    hf_trim_report own = {
        .extents = spans.count,
        .extent_bytes = spans.bytes,
        .punched_extents = punched.count,
        .punched_bytes = punched.bytes,
        .tail_bytes = header->size_bytes - lowered_size(header, HF__SPAN_BYTES_MIN),
        .compact_bytes = header->heap.free_bytes + header->size_bytes - header->heap.used_end};
    if (own.tail_bytes < HF__SPAN_BYTES_MIN)
        own.tail_bytes = 0;
    if (begun)
        hf_view_end(view);
    free(spans.all);
    free(punched.all);
    if (code == 0)
        *report = own;
    return code;
}

/* ---- zeros ----------------------------------------------------------------------------------- */

struct zeroing {
    hf_store *store;
    hf__zeroed_fn *zeroed;
    void *user;
};

static void zero_pages(const struct zeroing *zeroing, uint64_t from, uint64_t to)
{
    static const unsigned char zeros[HF__PAGE_BYTES];
    unsigned char *base = zeroing->store->seg.base;
    for (; from < to; from += HF__PAGE_BYTES) {
        if (memcmp(base + from, zeros, HF__PAGE_BYTES) == 0)
            continue;
        memset(base + from, 0, HF__PAGE_BYTES);
        zeroing->zeroed(zeroing->user, from, HF__PAGE_BYTES);
    }
}

/* A hole of the file is zero, whatever private memory shows. */
static int zero_span(void *user, uint64_t block, uint64_t from, uint64_t to, bool hole)
{
    const struct zeroing *zeroing = user;
    const hf_store *store = zeroing->store;
    (void)block;
    if (hole && (store->backing != HF__BACKING_FILE || store->role == HF__ROLE_FROZEN)) {
        zero_pages(zeroing, from, to);
        return 0;
    }
    while (hole && from < to) {
        const struct hf__piece piece = hf__piece_at(from, to);
        const uint64_t shift = piece.file_offset - from, end = piece.file_offset + piece.size_bytes;
        uint64_t data, data_end;
        if (hf__next_data(store->fd, piece.file_offset, end, &data, &data_end) != 0)
            return hf__fail_os(errno, store->path, "seeking data");
        from = hf__whole_pages(data_end) - shift;
        zero_pages(zeroing, (data - shift) / HF__PAGE_BYTES * HF__PAGE_BYTES, from);
    }
    return 0;
}

int hf__space_zero(hf_store *store, hf__zeroed_fn *zeroed, void *user)
{
    struct zeroing zeroing = {store, zeroed, user};
    return hf__heap_each_span(&store->heap, HF__PAGE_BYTES, zero_span, &zeroing);
}

/* ---- mark ------------------------------------------------------------------------------------ */

/* Is anything marked, or longer than it is said to be? *any: then there is something to punch. */
static int look_for_any(hf_store *store, bool *any)
{
    struct hf__spans marked = {.marked = true};
    struct stat st;
    int code = hf__spans_find(&store->heap, HF__SPAN_BYTES_MIN, &marked);
    if (code == 0 && hf__os->fstat(store->fd, &st) != 0)
        code = hf__fail_os(errno, store->path, "fstat");
    if (code == 0)
        *any =
            marked.count != 0 || hf__backed_bytes((uint64_t)st.st_size) >
                                     hf__whole_pages(hf__segment_header(&store->seg)->size_bytes);
    free(marked.all);
    return code;
}

static int mark_inside(hf_store *store, const struct hf__trim_wish *wish, hf_trim_report *report)
{
    const struct hf__segment_header *header = hf__segment_header(&store->seg);
    struct hf__spans fresh = {.marked = false};
    int code = store->heap.algorithm->trim != NULL ? store->heap.algorithm->trim(&store->heap) : 0;
    if (code == 0)
        code = hf__spans_find(&store->heap, wish->span_min, &fresh);
    if (code == 0)
        code = hf__heap_mark_holes(&store->heap, wish->span_min);
    const uint64_t margin = wish->keeps_margin ? margin_of(header) : HF__SPAN_BYTES_MIN;
    const uint64_t target = lowered_size(header, margin), size = header->size_bytes;
    if (code == 0 && size - target >= HF__SPAN_BYTES_MIN) {
        code = record_size(store, target);
        report->tail_bytes = size - target;
    }
    report->extents = fresh.count;
    report->extent_bytes = fresh.bytes;
    free(fresh.all);
    return code;
}

static int mark(hf_store *store, const struct hf__trim_wish *wish, hf_trim_report *report,
                bool *any)
{
    hf_txn *txn;
    int code = hf__begin_by(store, wish->deadline, &txn);
    if (code != 0)
        return code;
    code = mark_inside(store, wish, report);
    if (code == 0)
        code = look_for_any(store, any);
    if (code == 0)
        hf__space_settled(store);
    return end_own(store, txn, code); /* which is no commit if nothing was changed */
}

/* ---- settle, say, punch ---------------------------------------------------------------------- */

/* The gate is closed for a moment at a time: a view sees the same entries as long as it lasts, and of
 * pages that change under it none that claim anything. */
struct saying {
    hf_store *store;
    uint64_t commit, until; /* the gate stays closed until then                                  */
    bool closed, written;
};

static void pause_saying(struct saying *saying)
{
    if (saying->closed)
        hf__gate_open(&saying->store->locks);
    saying->closed = false;
}

static int say_pages(struct saying *saying, uint64_t first, uint64_t end, bool again)
{
    hf_store *store = saying->store;
    const uint64_t moment = hf__tuned(&store->log.gate_wait_ns);
    int code = 0;
    while (code == 0 && first < end) {
        const uint64_t part = end - first < SAY_PAGES ? end - first : SAY_PAGES;
        if (!saying->closed) {
            code = hf__gate_close(&store->locks, moment, HF__NO_DEADLINE);
            if (code != 0)
                return code;
            saying->closed = true;
            saying->until = hf__os->now_ns() + moment;
        }
        code = hf__pages_write_holes(store->fd, store->path, store->constants.salt, first,
                                     first + part, saying->commit, again, &saying->written);
        first += part;
        if (hf__os->now_ns() >= saying->until)
            pause_saying(saying);
    }
    return code;
}

/* A page that has been punched has had its entry on stable storage before. Of others it may say so in
 * the page cache alone, after a sync that failed: those are written again. */
static int say_span(struct saying *saying, const struct hf__span *span)
{
    int code = 0;
    for (uint64_t at = span->from; code == 0 && at < span->to;) {
        const struct hf__piece piece = hf__piece_at(at, span->to);
        const uint64_t shift = piece.file_offset - at, end = piece.file_offset + piece.size_bytes;
        for (uint64_t from, to; code == 0 && at + shift < end; at = to - shift) {
            if (hf__next_data(saying->store->fd, at + shift, end, &from, &to) != 0)
                return hf__fail_os(errno, saying->store->path, "seeking data");
            const uint64_t first = (from - shift) / HF__PAGE_BYTES;
            to = hf__whole_pages(to);
            code = say_pages(saying, at / HF__PAGE_BYTES, first, false);
            if (code == 0)
                code = say_pages(saying, first, (to - shift) / HF__PAGE_BYTES, true);
        }
    }
    return code;
}

/* The entries are of a commit that isn't there yet: what was archived of the base has others. */
static int say(hf_store *store, const struct hf__spans *spans, uint64_t base)
{
    struct saying saying = {.store = store, .commit = base + 1};
    int code = 0;
    if (base == 0 || HF__BUG(HOLES_NOT_SAID))
        return 0;
    for (size_t i = 0; code == 0 && i < spans->count; i++)
        code = say_span(&saying, &spans->all[i]);
    pause_saying(&saying);
    if (code == 0 && saying.written && !HF__BUG(HOLES_NOT_SYNCED))
        code = hf__log_sync_data(store);
    return code;
}

/* 0 also where the file system has no such thing. */
static int punch_one(hf_store *store, uint64_t from, uint64_t to, hf_trim_report *report)
{
    if (from >= to || report->unsupported)
        return 0;
    if (hf__segment_punch(store->fd, from, to) == 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return hf__fail_os(errno, store->path, "giving space back");
    report->unsupported = 1;
    return 0;
}

static int punch(hf_store *store, const struct hf__segment *shown, const struct hf__spans *spans,
                 hf_trim_report *report)
{
    struct stat st;
    int code = 0;
    for (size_t i = 0; code == 0 && i < spans->count; i++)
        code = punch_one(store, spans->all[i].from, spans->all[i].to, report);
    if (code == 0 && hf__os->fstat(store->fd, &st) != 0)
        code = hf__fail_os(errno, store->path, "fstat");
    if (code != 0)
        return code;
    return punch_one(store, hf__whole_pages(shown->size_bytes),
                     hf__whole_pages(hf__backed_bytes((uint64_t)st.st_size)), report);
}

static int give_back_now(hf_store *store, uint64_t deadline, hf_trim_report *report)
{
    struct hf__spans spans = {.marked = true};
    struct hf__segment shown;
    uint64_t base;
    int code = store->engine->begin_punch(store, deadline, &shown, &base);
    if (code != 0)
        return code;
    struct hf__heap heap = hf__heap_over(store, &shown);
    const struct hf__segment_header *header = hf__segment_header(&shown);
    if (shown.size_bytes < header->heap.used_end)
        code = hf__corrupt("segment.size", offsetof(struct hf__segment_header, size_bytes));
    if (code == 0)
        code = hf__spans_find(&heap, HF__SPAN_BYTES_MIN, &spans);
    if (code == 0)
        code = say(store, &spans, base);
    if (code == 0)
        code = punch(store, &shown, &spans, report);
    store->engine->end_punch(store);
    report->punched_extents = spans.count;
    report->punched_bytes = spans.bytes;
    free(spans.all);
    return code;
}

/* Waits for views without the writer's place, so that nobody waits with it; and never for ever: long
 * ones that overlap may leave no gap. What is marked is given back the next time. */
static int give_back(hf_store *store, uint64_t deadline, hf_trim_report *report)
{
    static uint32_t nobody;
    if (deadline == HF__NO_DEADLINE)
        deadline = hf__deadline_in_ms(VIEWS_WAIT_MS);
    for (;;) {
        int code = give_back_now(store, deadline, report);
        if (code != HF_EBUSY || hf__os->now_ns() >= deadline)
            return code;
        hf__os->futex_wait(&nobody, 0, PAUSE_NS);
    }
}

static int disk_bytes(const hf_store *store, uint64_t *out)
{
    struct stat st;
    if (hf__os->fstat(store->fd, &st) != 0)
        return hf__fail_os(errno, store->path, "fstat");
    *out = (uint64_t)st.st_blocks * 512;
    return 0;
}

int hf__space_trim(hf_store *store, const struct hf__trim_wish *wish, hf_trim_report *report)
{
    uint64_t before, after;
    bool any = false;
    int code = disk_bytes(store, &before);
    if (code == 0)
        code = mark(store, wish, report, &any);
    if (code == 0 && any)
        code = give_back(store, wish->deadline, report);
    if (code == 0)
        code = disk_bytes(store, &after);
    if (code == 0)
        report->freed_bytes = before > after ? before - after : 0;
    return code;
}

int hf_trim(hf_store *store, hf_trim_report *report)
{
    hf_trim_report own = {0};
    if (store == NULL)
        return hf__fail(HF_EINVAL, "hf_trim");
    if (store->forked)
        return hf__fail(HF_EFORKED, "hf_trim");
    if (store->mode == HF_READ_ONLY)
        return hf__fail_path(HF_EREADONLY, 0, store->path, "hf_trim");
    if (store->backing != HF__BACKING_FILE || store->role == HF__ROLE_FROZEN)
        return hf__fail(HF_ENOTSUP, "a store in memory has nothing to give back to a disk");
    const struct hf__trim_wish wish = {hf__deadline_in_ms(store->lock_timeout_ms),
                                       HF__SPAN_BYTES_MIN, false};
    int code = hf__space_trim(store, &wish, &own);
    if (code == 0 && report != NULL)
        *report = own;
    return code;
}
