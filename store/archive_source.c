/* SPDX-License-Identifier: MIT */
/*
 * archive_source.c - one state of a live store, held still
 *
 * A view keeps `applied` where it is, so the data file holds the state of that commit until the
 * view ends. Commits that are durable but not applied yet (a reader was in the way) stand in the
 * log: their ranges are read once, cut at pages, and laid over what is read of the file. So the
 * state is that of the last durable commit, and nobody has waited for anybody. docs/archive.md has
 * the argument.
 *
 * Invariants
 *   R1  commit >= everything that was durable when hf__source_open was called
 *   R2  the truth says of the state of `commit` which pages were touched since the table's base
 *   R3  after hf__source_open nothing but what a source points to changes: any thread may read
 */
#include "archive.h"

#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- patches --------------------------------------------------------------------------------- */

static bool room_for(void **array, size_t *room, size_t count, size_t more, size_t size_bytes)
{
    if (*room - count >= more)
        return true;
    size_t wanted = *room == 0 ? 1024 : *room;
    while (wanted - count < more)
        wanted *= 2;
    void *grown = realloc(*array, wanted * size_bytes);
    if (grown == NULL)
        return false;
    *array = grown;
    *room = wanted;
    return true;
}

static int add_range(struct hf__source *source, uint64_t offset, uint64_t size_bytes,
                     const unsigned char *data)
{
    const size_t pieces = (size_t)(size_bytes / HF__PAGE_BYTES) + 2;
    void *bytes = source->bytes, *patches = source->patches;
    const bool fits =
        room_for(&bytes, &source->bytes_room, source->bytes_count, (size_t)size_bytes, 1) &&
        room_for(&patches, &source->patch_room, source->patch_count, pieces,
                 sizeof *source->patches);
    source->bytes = bytes;
    source->patches = patches;
    if (!fits)
        return hf__fail(HF_ENOMEM, "commits that are not applied yet");
    memcpy(source->bytes + source->bytes_count, data, (size_t)size_bytes);
    while (size_bytes != 0) {
        const uint32_t from = (uint32_t)(offset % HF__PAGE_BYTES);
        const uint32_t part =
            size_bytes < HF__PAGE_BYTES - from ? (uint32_t)size_bytes : HF__PAGE_BYTES - from;
        source->patches[source->patch_count] = (struct hf__patch){
            offset / HF__PAGE_BYTES, source->patch_count, source->bytes_count, from, part};
        source->patch_count++;
        source->bytes_count += part;
        offset += part;
        size_bytes -= part;
    }
    return 0;
}

static int by_page(const void *a, const void *b)
{
    const struct hf__patch *x = a, *y = b;
    if (x->page != y->page)
        return x->page < y->page ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static void drop_patches(struct hf__source *source)
{
    free(source->bytes);
    free(source->patches);
    source->bytes = NULL;
    source->patches = NULL;
    source->bytes_count = source->bytes_room = source->patch_count = source->patch_room = 0;
}

/* The records after `applied`, up to commit `last`; from the base if the front isn't of that log (a renewal
 * is being published, or who published it has died): what is applied already is the same once more. */
static int collect(struct hf__source *source, const struct hf__log_tail *tail, uint64_t last)
{
    hf_store *store = source->store;
    struct hf__log_cursor cursor = {.bytes = NULL};
    struct hf__log_front front;
    int code = 0;
    hf__front_in(store, tail, &front);
    hf__cursor_set(&cursor, store, (int)(tail->epoch % 2), tail->salt, front.applied, front.chain,
                   front.end);
    while (code == 0 && cursor.commit < last) {
        int found = hf__cursor_next(&cursor);
        if (found <= 0) {
            code = found < 0 ? found : hf__corrupt("log.chain", cursor.end);
            break;
        }
        const struct hf__record *record = hf__cursor_record(&cursor);
        const struct hf__record_range *ranges = hf__record_ranges(record);
        const unsigned char *data =
            (const unsigned char *)record + hf__record_data(record->range_count);
        for (uint64_t i = 0; code == 0 && i < record->range_count; i++) {
            code = add_range(source, ranges[i].offset, ranges[i].size_bytes, data);
            data += ranges[i].size_bytes;
        }
    }
    free(cursor.bytes);
    if (code == 0 && source->patch_count != 0)
        qsort(source->patches, source->patch_count, sizeof *source->patches, by_page);
    return code;
}

static void lay_patches(const struct hf__source *source, uint64_t first, uint64_t count,
                        unsigned char *out)
{
    size_t low = 0, high = source->patch_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (source->patches[middle].page < first)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < source->patch_count && source->patches[low].page < first + count; low++) {
        const struct hf__patch *patch = &source->patches[low];
        memcpy(out + (patch->page - first) * HF__PAGE_BYTES + patch->from,
               source->bytes + patch->at, patch->size_bytes);
    }
}

/* ---- which state ----------------------------------------------------------------------------- */

/* What is durable and isn't shown yet, and what was touched up to there. The view keeps the base
 * from moving, but a renewal after a failed sync moves the records to the other file: then once
 * more. */
static int beyond_the_view(struct hf__source *source, uint64_t last)
{
    hf_store *store = source->store;
    struct hf__log_tail tail, now;
    int code;
    do {
        drop_patches(source);
        hf__table_truth_free(&source->truth);
        memset(&source->truth, 0, sizeof source->truth);
        hf__tail_read(store, &tail);
        code = hf__log_open(store, false, true);
        if (code == 0)
            code = collect(source, &tail, last);
        if (code == 0)
            code = hf__touched_by_log(store, last, &source->truth.touched);
        if (code == 0) {
            source->truth.used_end = source->truth.touched.used_first;
            return 0;
        }
        hf__tail_read(store, &now);
    } while (now.epoch != tail.epoch);
    return code;
}

/* The last commit that is durable, or as NOSYNC has it needn't be, and stands in the active log; 0
 * = there is no log in use. */
static uint64_t last_durable(const hf_store *store)
{
    struct hf__log_tail tail;
    if (store->constants.engine != HF_ENGINE_LOG || store->role == HF__ROLE_FROZEN ||
        hf__flag(&hf__words(store)->recover))
        return 0;
    hf__tail_read(store, &tail);
    const uint64_t durable = hf__durable(store);
    const bool ahead =
        __atomic_load_n(&hf__words(store)->unsynced, __ATOMIC_SEQ_CST) == HF__UNSYNCED_YES;
    return tail.epoch == 0 ? 0 : durable < tail.appended && !ahead ? durable : tail.appended;
}

static int find_state(struct hf__source *source)
{
    hf_store *store = source->store;
    struct hf__segment_header segment;
    const uint64_t last = last_durable(store);
    const uint64_t shown = hf__segment_header(source->view->seg)->commit;
    int code = last > shown ? beyond_the_view(source, last)
                            : hf__table_truth(store, source->view, shown, &source->truth);
    if (code != 0)
        return code;
    unsigned char *page = malloc(HF__PAGE_BYTES);
    if (page == NULL)
        return hf__fail(HF_ENOMEM, "a page");
    source->used_end = HF__PAGE_BYTES; /* for now: the header lies in the first page */
    code = hf__source_read(source, 0, 1, page);
    memcpy(&segment, page, sizeof segment);
    free(page);
    if (code != 0)
        return code;
    if (segment.magic != HF__SEGMENT_MAGIC ||
        memcmp(&segment.constants, &store->constants, sizeof segment.constants) != 0 ||
        segment.commit != (last > shown ? last : shown) ||
        segment.size_bytes > store->constants.size_max_bytes ||
        segment.heap.used_end < HF__FIRST_BLOCK || segment.heap.used_end > segment.size_bytes)
        return hf__corrupt("segment.header", 0);
    source->commit = segment.commit;
    source->used_end = segment.heap.used_end;
    source->size_bytes = segment.size_bytes;
    source->pages = (segment.heap.used_end + HF__PAGE_BYTES - 1) / HF__PAGE_BYTES;
    return 0;
}

int hf__source_open(hf_store *store, struct hf__source *out)
{
    bool begun;
    memset(out, 0, sizeof *out);
    int code = hf__view_borrow(store, &out->view, &begun);
    if (code != 0)
        return code;
    out->store = store;
    if (!begun) {
        out->view = NULL;
        return hf__fail_path(HF_ENESTED, 0, store->path, "end the transaction first");
    }
    out->from_memory = store->role == HF__ROLE_FROZEN || out->view->replay != NULL;
    if (store->backing != HF__BACKING_FILE)
        code = hf__fail(HF_ENOTSUP, "a store in memory has no pages to archive: hf_save_as");
    else if (store->mode == HF_COPY_ON_WRITE)
        code = hf__fail_path(HF_ENOTSUP, 0, store->path,
                             "what a copy-on-write handle shows is its own: hf_save_as");
    else
        code = find_state(out);
    if (code != 0)
        hf__source_close(out);
    return code;
}

void hf__source_close(struct hf__source *source)
{
    drop_patches(source);
    hf__table_truth_free(&source->truth);
    if (source->view != NULL)
        hf_view_end(source->view);
    source->view = NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* From the view's memory; what lies beyond its end was never written. */
static void copy_page(const struct hf__source *source, uint64_t page, unsigned char *out)
{
    const struct hf__segment *seg = source->view->seg;
    const uint64_t at = page * HF__PAGE_BYTES;
    const uint64_t used = hf__page_bytes_used(page, source->used_end);
    const uint64_t have = at < seg->size_bytes ? seg->size_bytes - at : 0;
    memset(out, 0, HF__PAGE_BYTES);
    memcpy(out, seg->base + at, (size_t)(used < have ? used : have));
}

int hf__source_read(const struct hf__source *source, uint64_t first, uint64_t count,
                    unsigned char *out)
{
    const hf_store *store = source->store;
    const size_t bytes = (size_t)count * HF__PAGE_BYTES;
    ssize_t n = hf__segment_read(store->fd, out, bytes, first * HF__PAGE_BYTES);
    if (n < 0)
        return hf__fail_os(errno, store->path, "read");
    memset(out + n, 0, bytes - (size_t)n);
    for (uint64_t i = 0; source->from_memory && i < count; i++)
        if (!hf__source_known(source, first + i))
            copy_page(source, first + i, out + i * HF__PAGE_BYTES);
    lay_patches(source, first, count, out);
    const uint64_t end = (first + count) * HF__PAGE_BYTES;
    if (end > source->used_end) {
        const uint64_t over = end - source->used_end;
        memset(out + bytes - (over < bytes ? over : bytes), 0,
               (size_t)(over < bytes ? over : bytes));
    }
    return 0;
}
