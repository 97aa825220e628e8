/* SPDX-License-Identifier: MIT */
/*
 * repair.c - hf_repair_file: what can be derived is derived again
 *
 * Order of work, with the file held alone:
 *   1. header slots and the segment header's constants, each from the other (small, checksummed,
 *      repeatable writes)
 *   2. one transaction: the block walk is mended (gaps become lost blocks), free structures
 *      rebuilt, objects that make no sense set aside, the type table made from the type records,
 *      both indexes from the objects, counters counted
 *   3. the check again
 *
 * All of it happens to a copy (repair_copy.c), which takes the store's place if the check at the end finds
 * nothing. What nothing can be derived from - rotten pages, a log that is lost - is told before, and then counts as it
 * is.
 */
#include "engine.h"
#include "pages.h"
#include "store.h"

#include "alloc/slab_cache.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- 1. headers ------------------------------------------------------------------------------ */

/* The constants from whichever place still has them. */
static int find_constants(int fd, const char *path, struct hf__constants *out, bool *slot_good,
                          bool *segment_good, struct hf__segment_header *segment)
{
    struct hf__file_header header;
    ssize_t n = hf__segment_read(fd, segment, sizeof *segment, 0);
    int code = hf__header_read(fd, path, false, &header);
    *slot_good = code == 0;
    *segment_good = n == (ssize_t)sizeof *segment && hf__constants_ok(&segment->constants);
    if (*slot_good)
        *out = header.constants;
    else if (*segment_good && segment->magic == HF__SEGMENT_MAGIC &&
             (code == HF_ECORRUPT || code == HF_ENOTSTORE || code == HF_ETRUNCATED))
        *out = segment->constants;
    else
        return code;
    return n == (ssize_t)sizeof *segment
               ? 0
               : hf__fail_path(HF_ETRUNCATED, 0, path, "it ends before its segment");
}

/* A range that makes sense, so that the store can be mapped; the walk corrects it. All that the
 * file has belongs to it: a recorded size that is too small would hide blocks from the walk. */
static void mend_segment_header(struct hf__segment_header *segment, uint64_t room)
{
    struct hf__heap_root *heap = &segment->heap;
    segment->magic = HF__SEGMENT_MAGIC;
    heap->first = HF__FIRST_BLOCK;
    segment->size_bytes =
        room < segment->constants.size_max_bytes ? room : segment->constants.size_max_bytes;
    if (heap->used_end > segment->size_bytes || heap->used_end < HF__FIRST_BLOCK ||
        heap->used_end % HF__BLOCK_UNIT != 0)
        heap->used_end = segment->size_bytes;
}

/* With both slots lost the log files say whether the store was closed: they are there as long as it isn't. A log
 * that is behind the data is found out when it is replayed. */
static int restore_logged(hf_store *store, const struct hf__constants *constants,
                          struct hf__file_header *header)
{
    struct hf__log_header log;
    store->constants = *constants;
    if (constants->engine != HF_ENGINE_LOG || hf__log_open(store, false, false) != 0 ||
        hf__log_choose(store, 0, &log) != 0)
        return 0;
    header->state = HF__STATE_LOGGED;
    header->generation = log.generation;
    return hf__header_write(store->fd, store->path, header);
}

int hf__repair_headers(hf_store *store, struct hf__file_header *header)
{
    struct hf__constants constants;
    struct hf__segment_header segment, before;
    bool slot_good, segment_good;
    struct stat st;
    int code = find_constants(store->fd, store->path, &constants, &slot_good, &segment_good,
                              &segment);
    if (code != 0)
        return code;
    if (hf__os->fstat(store->fd, &st) != 0)
        return hf__fail_os(errno, store->path, "fstat");
    /* A file cut off in the middle of a page gets that page whole again. */
    uint64_t room = hf__whole_pages(hf__backed_bytes((uint64_t)st.st_size));
    if (room < HF__SEGMENT_BYTES_MIN)
        return hf__fail_path(HF_ETRUNCATED, 0, store->path, "nothing is left of its segment");
    if (hf__file_bytes(room) != (uint64_t)st.st_size &&
        hf__segment_allocate(store->fd, room - HF__PAGE_BYTES, room) != 0)
        return hf__fail_os(errno, store->path, "growing the file");
    before = segment;
    segment.constants = constants;
    mend_segment_header(&segment, room);
    if (memcmp(&before, &segment, sizeof segment) != 0 &&
        hf__segment_write(store->fd, &segment, sizeof segment, 0) != 0)
        return hf__fail_os(errno, store->path, "write");
    if (!slot_good) {
        code = hf__header_write_first(store->fd, store->path, &constants, segment.size_bytes,
                                      segment.heap.used_end);
        if (code == 0 && hf__os->fdatasync(store->fd) != 0)
            code = hf__fail_os(errno, store->path, "fdatasync");
    }
    if (code == 0)
        code = hf__header_read(store->fd, store->path, false, header);
    if (code == 0 && !slot_good)
        code = restore_logged(store, &constants, header);
    return code;
}

/* ---- 2. the transaction ---------------------------------------------------------------------- */

struct totals {
    uint64_t raw, anonymous, lost_bytes, steps;
};

static bool is_type_record(const struct hf__segment *seg, const struct hf__block_info *block)
{
    return hf__type_record_fits(seg, hf__at(seg, block->payload), block->usable_bytes);
}

/* Objects that can't be read are set aside; raw and anonymous ones are counted; the highest type id
 * among the records is found; all other system memory is given back. */
static int sort_blocks(hf_txn *txn, struct totals *totals, uint32_t *type_count)
{
    hf_store *store = txn->store;
    struct hf__block_info block;
    struct hf__object object;
    uint64_t position = 0;
    int more, code = 0;
    while (code == 0 && (more = hf__heap_next(&store->heap, &position, &block)) == 1) {
        if (block.kind == HF__BLOCK_OBJECT) {
            if (hf__object_of_block(store, &store->seg, &block, &object) != 0 ||
                !hf__object_name_ok(&store->seg, &object)) {
                /* A slot that is no object was free, before the bitmap was damaged. */
                code = block.slot ? hf__txn_free_later(txn, block.payload, 0)
                                  : hf__block_set_lost(&store->heap, block.payload);
                totals->lost_bytes += block.usable_bytes;
            } else if (object.node == 0) {
                totals->anonymous++;
            }
        } else if (block.kind == HF__BLOCK_RAW) {
            totals->raw++;
        } else if (block.kind == HF__BLOCK_SYSTEM && !is_type_record(&store->seg, &block)) {
            code = hf__txn_free_later(txn, block.payload, 0);
        } else if (block.kind == HF__BLOCK_SYSTEM) {
            const struct hf__type_record *record = hf__at(&store->seg, block.payload);
            *type_count = record->id > *type_count ? record->id : *type_count;
        }
    }
    return code;
}

/* The type table from the records: a new array, each at its id. A record that is missing stays
 * 0. */
static int rebuild_types(hf_txn *txn, uint32_t type_count)
{
    hf_store *store = txn->store;
    struct hf__segment *seg = &store->seg;
    struct hf__block_info block;
    uint64_t position = 0;
    hf_ref table = 0;
    int code = 0;
    if (type_count != 0)
        code = seg->door->allocate(seg, (uint64_t)type_count * sizeof(hf_ref), &table);
    if (code == 0)
        code = hf__reserve(seg, HF__OP_COST);
    if (code != 0)
        return code;
    if (table != 0)
        memset(seg->base + table, 0, (size_t)type_count * sizeof(hf_ref));
    while (table != 0 && hf__heap_next(&store->heap, &position, &block) == 1) {
        if (block.kind != HF__BLOCK_SYSTEM || block.pending || block.payload == table ||
            !is_type_record(seg, &block))
            continue;
        const struct hf__type_record *record = hf__at(seg, block.payload);
        ((hf_ref *)(void *)(seg->base + table))[record->id - 1] = block.payload;
    }
    struct hf__segment_header *header = hf__edit(seg, 0, HF__LINE_BYTES);
    header->type_table = table;
    header->type_count = header->type_capacity = type_count;
    return 0;
}

static int insert_object(hf_store *store, const struct hf__object *object)
{
    struct hf__segment *seg = &store->seg;
    uint64_t root = hf__object_header(seg, object)->kind == HF_KIND_NAMED ? HF__NAMED_ROOT
                                                                         : HF__UNIQUE_ROOT;
    struct hf__index index = hf__index_over(store, seg, root);
    int code = hf__reserve(seg, HF__EDIT_COST(sizeof(struct hf__index_node)));
    if (code != 0)
        return code;
    struct hf__index_node *node = hf__edit(seg, object->node, sizeof *node);
    uint16_t name_bytes = node->name_bytes;
    memset(node, 0, sizeof *node);
    node->name_bytes = name_bytes;
    code = index.ops->insert(&index, object->node, NULL);
    /* A second object of a name can't be entered; the check goes on to name it. */
    return code == HF_EEXIST ? 0 : code;
}

static int rebuild_indexes(hf_txn *txn)
{
    hf_store *store = txn->store;
    struct hf__segment *seg = &store->seg;
    const uint64_t roots[2] = {HF__NAMED_ROOT, HF__UNIQUE_ROOT};
    struct hf__block_info block;
    struct hf__object object;
    uint64_t position = 0;
    int code = 0;
    for (int i = 0; code == 0 && i < 2; i++) {
        struct hf__index index = hf__index_over(store, seg, roots[i]);
        code = hf__reserve(seg, HF__OP_COST);
        if (code == 0) {
            memset(hf__edit(seg, roots[i], sizeof(struct hf__index_root)), 0,
                   sizeof(struct hf__index_root));
            code = index.ops->init(&index);
        }
    }
    /* Inserting may take memory, which splits free blocks or adds to the end; live blocks stay
     * where they are, and the position is always at a block's start. */
    while (code == 0 && hf__heap_next(&store->heap, &position, &block) == 1) {
        if (block.kind != HF__BLOCK_OBJECT || block.pending ||
            hf__object_of_block(store, seg, &block, &object) != 0 || object.node == 0)
            continue;
        code = insert_object(store, &object);
    }
    return code;
}

static int write_counters(hf_txn *txn, const struct totals *totals)
{
    struct hf__segment *seg = &txn->store->seg;
    int code = hf__reserve(seg, HF__EDIT_COST(sizeof(struct hf__segment_header)));
    if (code != 0)
        return code;
    struct hf__segment_header *header = hf__edit(seg, 0, sizeof *header);
    header->raw_count = totals->raw;
    header->anonymous_count = totals->anonymous;
    if (!txn->store->heap.algorithm->slabs)
        header->slabs = 0;
    memset(header->reserved, 0, sizeof header->reserved);
    return 0;
}

static int rebuild(hf_store *store, hf_check_report *report)
{
    struct totals totals = {0, 0, 0, 0};
    uint32_t type_count = 0;
    hf_txn *txn;
    int code = hf_begin(store, &txn);
    hf__slab_cache_free(store->heap.cache); /* what it says of chunks would not be true for long */
    store->heap.cache = NULL;
    if (code != 0)
        return code;
    code = hf__heap_mend_walk(&store->heap, &totals.lost_bytes);
    /* What was set aside may lie over holes that nobody knows of any more (mapping.c, M2). */
    if (code == 0 && totals.lost_bytes != 0 &&
        hf__segment_allocate(store->fd, 0, store->seg.size_bytes) != 0)
        code = hf__fail_os(errno, store->path, "backing the file");
    if (code == 0)
        code = store->heap.algorithm->rebuild(&store->heap);
    if (code == 0)
        code = sort_blocks(txn, &totals, &type_count);
    if (code == 0)
        code = rebuild_types(txn, type_count);
    if (code == 0)
        code = rebuild_indexes(txn);
    if (code == 0)
        code = write_counters(txn, &totals);
    if (code != 0) {
        hf_error failure = *hf_last_error();
        hf_abort(txn);
        return hf__fail_again(&failure);
    }
    report->repaired = 1;
    report->lost_bytes = totals.lost_bytes;
    return hf_commit(txn);
}

/* ---- all together ---------------------------------------------------------------------------- */

/* After a failed sync the kernel takes pages for clean that never reached the disk. Writing them again
 * makes them dirty again, so that the next sync tells the truth. */
static int write_again(hf_store *store)
{
    static const size_t chunk = (size_t)1 << 20;
    const uint64_t used = hf__heap_used_end(&store->heap);
    unsigned char *copy;
    int code = 0;
    if (store->undo.map == NULL || hf__undo_header(&store->undo)->sync_failed == 0)
        return 0;
    copy = malloc(chunk);
    if (copy == NULL)
        return hf__fail(HF_ENOMEM, "writing the store again");
    for (uint64_t at = 0; code == 0 && at < used; at += chunk) {
        size_t size = used - at < chunk ? (size_t)(used - at) : chunk;
        memcpy(copy, store->seg.base + at, size);
        if (hf__segment_write(store->fd, copy, size, at) != 0)
            code = hf__fail_os(errno, store->path, "write");
    }
    free(copy);
    if (code == 0)
        hf__undo_header(&store->undo)->sync_failed = 0;
    return code;
}

/* What the pages hold now counts: what had rotted was told of, and isn't told of again. */
static int renew_table(hf_store *store)
{
    const struct hf__segment_header *segment = hf__segment_header(&store->seg);
    int code = hf__pages_write_all(store->fd, store->path, store->constants.salt,
                                   hf__used_end(&store->seg), segment->commit);
    if (code == 0 && hf__os->fdatasync(store->fd) != 0)
        code = hf__fail_os(errno, store->path, "fdatasync");
    return code;
}

static int repair(const char *path, hf_check_report *report)
{
    struct hf__file_header header;
    hf_store *store;
    int code = hf__open_alone(path, true, &store);
    if (code != 0)
        return code;
    code = rebuild(store, report);
    if (code == 0)
        code = write_again(store);
    if (code == 0)
        code = store->engine->clean(store, HF__NO_DEADLINE);
    if (code == 0)
        code = renew_table(store);
    hf_error failure = *hf_last_error();
    /* Both slots: the one that doesn't count may be the damaged one. */
    for (int i = 0; code == 0 && i < 2; i++) {
        code = hf__header_read(store->fd, store->path, false, &header);
        header.table_state = HF__TABLE_TRUE;
        if (code == 0)
            code = hf__header_write(store->fd, store->path, &header);
        failure = *hf_last_error();
    }
    int closed = hf_close(store);
    return code != 0 ? hf__fail_again(&failure) : closed;
}

/* What a repair can't mend: it says so, and lets things be as they are. */
static bool is_accepted(const char *rule)
{
    static const char *const rules[] = {"page.checksum", "page.table",  "page.read",
                                        "log",           "header.torn", "undo.list",
                                        "undo.unsynced", "segment.truncated"};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strcmp(rule, rules[i]) == 0)
            return true;
    return false;
}

/* Both checks go through the whole store, however much they find: what a repair lets be as it is would else
 * pass untold, and what it hasn't mended for mended. The caller hears of findings_max each time. */
struct job {
    const hf_check_options *options;
    hf_check_report after;
    uint64_t most;               /* to tell                                                       */
    uint64_t accepted, unmended; /* findings before; and after, but for those about pointers      */
    uint64_t findings, leaks;    /* after                                                         */
    int outcome;                 /* of the check afterwards                                       */
};

/* The caller hears of the rest once, from the check that ends the repair. */
static void before_repair(void *user, const hf_finding *finding)
{
    struct job *job = user;
    if (!is_accepted(finding->rule))
        return;
    if (job->accepted++ < job->most && job->options != NULL && job->options->on_finding != NULL)
        job->options->on_finding(job->options->user, finding);
}

static int progress_before(void *user, uint64_t done, uint64_t total)
{
    const struct job *job = user;
    return job->options == NULL || job->options->on_progress == NULL
               ? 0
               : job->options->on_progress(job->options->user, done, total);
}

/* No repair changes what users' pointers lead to: that is no reason to leave the rest broken. */
static void after_repair(void *user, const hf_finding *finding)
{
    struct job *job = user;
    job->unmended += strncmp(finding->rule, "ref.", 4) != 0;
    if (job->findings++ < job->most && job->options != NULL && job->options->on_finding != NULL)
        job->options->on_finding(job->options->user, finding);
}

static void leak_after(void *user, const hf_leak *leak)
{
    struct job *job = user;
    if (job->leaks++ < job->most && job->options != NULL && job->options->on_leak != NULL)
        job->options->on_leak(job->options->user, leak);
}

static int check_before(const char *path, struct job *job, hf_check_report *report)
{
    hf_check_options quiet = HF_CHECK_OPTIONS_INIT;
    quiet.on_finding = before_repair;
    quiet.on_progress = progress_before;
    quiet.user = job;
    quiet.findings_max = UINT64_MAX;
    if (job->options != NULL) /* for pointers alone nothing is repaired, if nobody asks for them */
        quiet.flags = job->options->flags & HF_CHECK_NO_POINTERS;
    return hf_check_file(path, &quiet, report);
}

static int repair_and_check(const char *path, void *user)
{
    struct job *job = user;
    hf_check_report done = {0};
    int code = repair(path, &done);
    if (code != 0)
        return code;
    hf_check_options all = HF_CHECK_OPTIONS_INIT;
    all.on_finding = after_repair;
    all.on_progress = progress_before;
    all.on_leak = leak_after;
    all.user = job;
    all.findings_max = UINT64_MAX;
    if (job->options != NULL)
        all.flags = job->options->flags;
    job->outcome = hf_check_file(path, &all, &job->after);
    job->after.repaired = done.repaired;
    job->after.lost_bytes = done.lost_bytes;
    return job->outcome == HF_ECORRUPT && job->unmended == 0 ? 0 : job->outcome;
}

int hf_repair_file(const char *path, const hf_check_options *options, hf_check_report *report)
{
    hf_check_report before = {0};
    struct job job = {.options = options, .most = HF__FINDINGS_MAX};
    if (options != NULL && options->findings_max != 0)
        job.most = options->findings_max;
    int code = check_before(path, &job, &before);
    if (code != HF_ECORRUPT && code != HF_ETRUNCATED && code != HF_ENOTSTORE) {
        if (code == 0 && options != NULL && (options->flags & HF_CHECK_LEAKS) != 0)
            return hf_check_file(path, options, report); /* nobody has heard of them yet */
        if (report != NULL && code == 0)
            *report = before;
        return code;
    }
    code = hf__repair_copy(path, repair_and_check, &job);
    if (code == 0 && job.outcome != 0)
        code = hf__fail_path(job.outcome, 0, path, "pointers that lead nowhere stay as they are");
    job.after.undone_bytes = before.undone_bytes;
    job.after.accepted = job.accepted;
    if (report != NULL && (code == 0 || code == HF_ECORRUPT))
        *report = job.after;
    return code;
}
