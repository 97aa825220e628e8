/* SPDX-License-Identifier: MIT */
/*
 * check.c - check_sanity: everything inside a segment, and closed files in whatever state
 *
 * The allocator and the indexes check themselves; this adds what only the store knows, in one walk
 * over the blocks:
 *
 *   K1  every live block is a raw block, a sound object, lost, or system memory that one of the
 *       indexes or the type registry owns; what is owned is there
 *   K2  each object's header fits its block, its name is the one it was made with, its type exists
 *       and its size is count times the type's
 *   K3  an index holds as many entries as there are objects of its kind, and each is a sound object
 *       of that kind (with strict order or distinct places: exactly those objects)
 *   K4  the counters of the segment header are those of the walk
 *   K5  type records are whole, and their targets exist
 *   K6  the pointers of typed objects lead where their types say (ref_check.c)
 *
 * A closed file is mapped privately and a dead writer's changes are undone in memory, so a check
 * never changes the file.
 */
#include "pages.h"
#include "pool.h"
#include "ref_check.h"
#include "refs.h"
#include "store.h"

#include "base/hash.h"
#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* System blocks somebody says he owns, sorted, with a mark for those the walk met. */
struct owned {
    hf_ref *blocks;
    bool *met;
    size_t count, room;
    bool failed;
};

struct walk {
    const hf_store *store;
    struct hf__segment *seg;
    struct hf__check *check;
    struct owned owned;
    uint32_t kind;               /* of the index being checked                                   */
    bool in_transaction;         /* pending blocks are allowed                                   */
    bool map_wanted;
    struct hf__live live;        /* if so, what the walk met                                     */
    uint64_t raw, anonymous, named, unique;
};

/* ---- who owns system memory ------------------------------------------------------------------ */

static void own(void *user, hf_ref block)
{
    struct owned *owned = user;
    if (owned->count == owned->room) {
        size_t room = owned->room == 0 ? 64 : owned->room * 2;
        hf_ref *blocks = realloc(owned->blocks, room * sizeof *blocks);
        if (blocks == NULL) {
            owned->failed = true;
            return;
        }
        owned->blocks = blocks;
        owned->room = room;
    }
    owned->blocks[owned->count++] = block;
}

static void own_types(struct walk *walk)
{
    const struct hf__segment_header *header = hf__segment_header(walk->seg);
    if (header->type_table == 0)
        return;
    own(&walk->owned, header->type_table);
    for (uint32_t id = 1; id <= header->type_count && id <= HF__TYPES_MAX; id++) {
        const struct hf__type_record *record = hf__type_record(walk->seg, id, false);
        if (record != NULL)
            own(&walk->owned, (hf_ref)((const unsigned char *)record - walk->seg->base));
    }
}

static bool collect_owned(struct walk *walk)
{
    const uint64_t roots[2] = {HF__NAMED_ROOT, HF__UNIQUE_ROOT};
    struct owned *owned = &walk->owned;
    for (int i = 0; i < 2; i++) {
        struct hf__index index = hf__index_over(walk->store, walk->seg, roots[i]);
        index.ops->blocks(&index, own, owned);
    }
    own_types(walk);
    if (owned->count != 0)
        qsort(owned->blocks, owned->count, sizeof *owned->blocks, hf__compare_refs);
    for (size_t i = 1; i < owned->count; i++)
        if (owned->blocks[i] == owned->blocks[i - 1])
            hf__finding(walk->check, "system.shared", owned->blocks[i],
                        "one owner of a system block, found two");
    owned->met = calloc(owned->count + 1, sizeof *owned->met);
    return owned->met != NULL && !owned->failed;
}

static void meet_system(struct walk *walk, hf_ref block)
{
    const struct owned *owned = &walk->owned;
    const hf_ref *found = owned->count == 0 ? NULL
                                            : bsearch(&block, owned->blocks, owned->count,
                                                      sizeof block, hf__compare_refs);
    if (found == NULL)
        hf__finding(walk->check, "system.unowned", block,
                    "a system block that an index or type owns");
    else
        owned->met[found - owned->blocks] = true;
}

static void report_missing(struct walk *walk)
{
    for (size_t i = 0; i < walk->owned.count; i++)
        if (!walk->owned.met[i])
            hf__finding(walk->check, "system.missing", walk->owned.blocks[i],
                        "a live system block where an index or type has memory");
}

/* ---- objects --------------------------------------------------------------------------------- */

/* For the check of pointers. object is NULL for what isn't one that can be told of. */
static void map_block(struct walk *walk, const struct hf__block_info *block,
                      const struct hf__object *object)
{
    if (walk->map_wanted)
        hf__live_add_block(walk->seg, &walk->live, block, object);
}

static void check_object(struct walk *walk, const struct hf__block_info *block)
{
    struct hf__segment *seg = walk->seg;
    struct hf__object object;
    if (hf__object_of_block(walk->store, seg, block, &object) != 0) {
        hf__finding(walk->check, "object.header", block->payload, "an object with a sound header");
        map_block(walk, block, NULL);
        return;
    }
    const struct hf__object_header *header = hf__object_header(seg, &object);
    if (header->kind == HF_KIND_NAMED)
        walk->named++;
    else if (header->kind == HF_KIND_UNIQUE)
        walk->unique++;
    else
        walk->anonymous++;
    if (!hf__object_name_ok(seg, &object))
        hf__finding(walk->check, "object.name", object.header, "the name the object was made with");
    if (object.node != 0 && hf__index_node_at(seg, object.node)->reserved != 0)
        hf__finding(walk->check, "object.node", object.node, "zeros in the reserved field");
    const struct hf__type_record *record = hf__type_record(seg, header->type_id, false);
    uint64_t size = record == NULL ? 1 : record->size_bytes, all;
    bool sound = false;
    if (header->type_id != 0 && record == NULL)
        hf__finding(walk->check, "object.type", object.header, "a registered type, found id %u",
                    header->type_id);
    else if (__builtin_mul_overflow(size, header->count, &all) || all != header->size_bytes)
        hf__finding(walk->check, "object.size", object.header,
                    "%llu elements of %llu bytes, found %llu",
                    (unsigned long long)header->count, (unsigned long long)size,
                    (unsigned long long)header->size_bytes);
    else
        sound = true;
    map_block(walk, block, sound ? &object : NULL);
    if (record != NULL && (object.elements & (record->align_bytes - 1)) != 0)
        hf__finding(walk->check, "object.align", object.elements, "an address aligned to %u",
                    record->align_bytes);
    if (record != NULL && record->size_bytes == sizeof(struct hf__pool) && header->count == 1 &&
        (record = hf__type_record(seg, header->type_id, true)) != NULL &&
        strcmp(hf__type_record_name(record), HF__POOL_TYPE) == 0)
        hf__pool_check(seg, object.elements, walk->check);
}

static void check_block(struct walk *walk, const struct hf__block_info *block)
{
    if (block->kind == HF__BLOCK_FREE)
        return;
    if (block->pending && !walk->in_transaction)
        hf__finding(walk->check, "block.pending", block->payload,
                    "no block that waits to be freed outside a transaction");
    if (block->pending)
        return;
    if (block->kind == HF__BLOCK_OBJECT)
        check_object(walk, block);
    else
        map_block(walk, block, NULL);
    if (block->kind == HF__BLOCK_RAW)
        walk->raw++;
    else if (block->kind == HF__BLOCK_SYSTEM)
        meet_system(walk, block->payload);
}

/* ---- indexes and types ----------------------------------------------------------------------- */

static bool entry_ok(void *user, hf_ref node)
{
    struct walk *walk = user;
    struct hf__object object;
    if (hf__object_of_node(walk->store, walk->seg, node, &object) != 0) {
        hf__finding(walk->check, "index.entry", node, "an object where the index has an entry");
        return false;
    }
    if (hf__object_header(walk->seg, &object)->kind != walk->kind || object.pending) {
        hf__finding(walk->check, "index.entry", node, "a live object of the index's kind");
        return false;
    }
    return true;
}

static void check_index(struct walk *walk, uint64_t root, uint32_t kind, uint64_t objects)
{
    struct hf__index index = hf__index_over(walk->store, walk->seg, root);
    walk->kind = kind;
    uint64_t entries = index.ops->check(&index, objects + 16, walk->check, entry_ok, walk);
    if (entries != objects)
        hf__finding(walk->check, "index.complete", root,
                    "an entry for each of %llu objects, found %llu", (unsigned long long)objects,
                    (unsigned long long)entries);
}

static void check_types(struct walk *walk)
{
    const struct hf__segment_header *header = hf__segment_header(walk->seg);
    if (header->type_count > header->type_capacity || header->type_count > HF__TYPES_MAX ||
        (header->type_table == 0) != (header->type_capacity == 0)) {
        hf__finding(walk->check, "type.table", header->type_table, "a table for %u types",
                    header->type_count);
        return;
    }
    for (uint32_t id = 1; id <= header->type_count && !hf__check_stopped(walk->check); id++) {
        const struct hf__type_record *record = hf__type_record(walk->seg, id, true);
        if (record == NULL) {
            hf__finding(walk->check, "type.record", header->type_table, "a sound record of type %u",
                        id);
            continue;
        }
        const struct hf__type_field *fields = hf__type_record_fields(record);
        if (!hf__type_fields_ok(record))
            hf__finding(walk->check, "type.field", header->type_table,
                        "fields of type %u that lie within an element", id);
        for (uint32_t i = 0; i < record->field_count; i++)
            if (fields[i].target_id > header->type_count)
                hf__finding(walk->check, "type.target", header->type_table,
                            "targets of type %u that exist", id);
        walk->check->report.types++;
    }
}

/* ---- the segment ----------------------------------------------------------------------------- */

static bool is_zero(const void *p, size_t size_bytes)
{
    const unsigned char *bytes = p;
    for (size_t i = 0; i < size_bytes; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static void check_header(const struct walk *walk)
{
    const struct hf__segment_header *header = hf__segment_header(walk->seg);
    struct hf__check *check = walk->check;
    if (header->magic != HF__SEGMENT_MAGIC)
        hf__finding(check, "segment.magic", 0, "the segment's magic number");
    if (memcmp(&header->constants, &walk->store->constants, sizeof header->constants) != 0)
        hf__finding(check, "segment.constants", offsetof(struct hf__segment_header, constants),
                    "what the header says of the store's creation");
    if (header->size_bytes > walk->seg->size_bytes ||
        header->size_bytes > header->constants.size_max_bytes ||
        header->size_bytes < header->heap.used_end)
        hf__finding(check, "segment.size", offsetof(struct hf__segment_header, size_bytes),
                    "a size between the used end and the file's end, found %llu",
                    (unsigned long long)header->size_bytes);
    if ((header->slabs != 0 && !walk->store->heap.algorithm->slabs) ||
        !is_zero(header->reserved, sizeof header->reserved) ||
        !is_zero(header->named.reserved, sizeof header->named.reserved) ||
        !is_zero(header->unique.reserved, sizeof header->unique.reserved))
        hf__finding(check, "segment.reserved", 0, "zeros in reserved fields");
    if (header->heap.first != HF__FIRST_BLOCK)
        hf__finding(check, "segment.first", HF__HEAP_ROOT, "the first block at %u",
                    HF__FIRST_BLOCK);
}

static void check_counter(struct walk *walk, const char *rule, uint64_t recorded, uint64_t counted)
{
    if (recorded != counted)
        hf__finding(walk->check, rule, 0, "%llu as counted, found %llu",
                    (unsigned long long)counted, (unsigned long long)recorded);
}

/* Only of a whole walk: what lies behind a broken chain may be what a pointer leads to. */
static void check_refs(struct walk *walk, bool refs, bool leaks)
{
    if (!walk->map_wanted)
        return;
    if (!hf__live_seal(&walk->live, hf__used_end(walk->seg))) {
        walk->check->cancelled = true;
        hf__fail(HF_ENOMEM, "checking pointers");
        return;
    }
    if (refs)
        hf__refs_check(walk->seg, &walk->live, walk->check);
    if (leaks)
        hf__leaks_check(walk->seg, &walk->live, walk->check);
}

static void check_everything(struct walk *walk)
{
    const hf_check_options *options = walk->check->options;
    const bool leaks = options != NULL && (options->flags & HF_CHECK_LEAKS) != 0;
    const bool refs = (options == NULL || (options->flags & HF_CHECK_NO_POINTERS) == 0) &&
                      hf__refs_any(walk->seg);
    const struct hf__segment_header *header = hf__segment_header(walk->seg);
    struct hf__heap heap = hf__heap_over(walk->store, walk->seg);
    struct hf__block_info block;
    uint64_t position = 0;
    int more = 0;
    check_header(walk);
    heap.algorithm->check(&heap, walk->check);
    check_types(walk);
    walk->map_wanted = leaks || refs;
    if (!collect_owned(walk)) {
        walk->check->cancelled = true;
        hf__fail(HF_ENOMEM, "checking");
        return;
    }
    while (!hf__check_stopped(walk->check) &&
           (more = hf__heap_next(&heap, &position, &block)) == 1) {
        check_block(walk, &block);
        hf__check_step(walk->check, block.usable_bytes + HF__BLOCK_HEADER_BYTES);
    }
    if (hf__check_stopped(walk->check))
        return;
    if (more == 0) { /* a broken chain was reported by the allocator; what lies behind is unknown */
        report_missing(walk);
        check_counter(walk, "count.raw", header->raw_count, walk->raw);
        check_counter(walk, "count.anonymous", header->anonymous_count, walk->anonymous);
        check_refs(walk, refs, leaks);
    }
    check_index(walk, HF__NAMED_ROOT, HF_KIND_NAMED, walk->named);
    check_index(walk, HF__UNIQUE_ROOT, HF_KIND_UNIQUE, walk->unique);
}

void hf__check_segment(const hf_store *store, struct hf__segment *seg, struct hf__check *check)
{
    struct walk walk = {.store = store, .seg = seg, .check = check,
                        .in_transaction = store->txn.active && seg == &store->seg};
    check_everything(&walk);
    check->report.engine = store->constants.engine;
    check->report.named = walk.named;
    check->report.unique = walk.unique;
    check->report.anonymous = walk.anonymous;
    check->report.raw = walk.raw;
    free(walk.owned.blocks);
    free(walk.owned.met);
    hf__live_free(&walk.live);
}

static int verdict(const struct hf__check *check, hf_check_report *report)
{
    if (report != NULL)
        *report = check->report;
    if (check->report.findings != 0)
        return hf__fail(HF_ECORRUPT, "%llu findings", (unsigned long long)check->report.findings);
    return check->cancelled ? hf__fail(HF_ECANCELLED, "the check is not complete") : 0;
}

int hf_check_sanity(hf_store *store, const hf_check_options *options, hf_check_report *report)
{
    struct hf__check check;
    hf_view *view;
    bool begun;
    int code = hf__view_borrow(store, &view, &begun);
    if (code != 0)
        return code;
    hf__check_init(&check, options, 2 * hf__used_end(view->seg));
    hf__check_segment(store, view->seg, &check);
    if (begun)
        hf_view_end(view);
    return verdict(&check, report);
}

/* ---- closed files ---------------------------------------------------------------------------- */

static void judge_slot(struct hf__check *check, int fd, uint64_t offset,
                       struct hf__file_header *out, int *judged)
{
    memset(out, 0, sizeof *out);
    ssize_t n = hf__read_at(fd, out, sizeof *out, offset);
    *judged = n == (ssize_t)sizeof *out ? hf__header_judge(out) : HF_ETRUNCATED;
    if (*judged != 0)
        hf__finding(check, "header.slot", offset, "a valid header slot: %s", hf_strerror(*judged));
}

/* Both header slots; what the store's constants are. HF_ENOTSTORE and its kin where there is
 * none. */
static int check_file_header(hf_store *store, struct hf__check *check, struct hf__file_header *out)
{
    struct hf__file_header slots[2];
    struct hf__segment_header segment;
    int judged[2];
    judge_slot(check, store->fd, 0, &slots[0], &judged[0]);
    judge_slot(check, store->fd, HF__SLOT_B_OFFSET, &slots[1], &judged[1]);
    int code = hf__header_read(store->fd, store->path, true, out);
    if (code != 0 && (code != HF_ECORRUPT && code != HF_ETRUNCATED && code != HF_ENOTSTORE))
        return code;
    if (code == 0) {
        store->constants = out->constants;
        return 0;
    }
    /* No slot is left: the segment has its own copy of what matters. */
    hf_error failure = *hf_last_error();
    ssize_t n = hf__segment_read(store->fd, &segment, sizeof segment, 0);
    if (n != (ssize_t)sizeof segment || segment.magic != HF__SEGMENT_MAGIC ||
        !hf__constants_ok(&segment.constants))
        return hf__fail_again(&failure);
    store->constants = segment.constants;
    *out = (struct hf__file_header){.constants = segment.constants};
    return 0;
}

static void replay_privately(hf_store *store, const struct hf__file_header *header,
                             struct hf__check *check)
{
    int code = hf__log_replay_over(store, store->reserved, header->generation);
    check->report.replayed_commits = store->recovery.replayed_commits;
    if (code != 0)
        hf__finding(check, "log", 0, "the log of a store that was not closed: %s",
                    hf_last_error()->message);
    else if (hf__segment_header(&store->seg)->size_bytes > store->seg.size_bytes &&
             hf__segment_header(&store->seg)->size_bytes <= store->size_max_bytes)
        store->seg.size_bytes = hf__segment_header(&store->seg)->size_bytes;
}

static void undo_privately(hf_store *store, const struct hf__file_header *header,
                           struct hf__check *check)
{
    struct hf__undo undo;
    uint8_t boot_id[16];
    if (header->state == HF__STATE_CLEAN)
        return;
    if (header->state == HF__STATE_LOGGED) {
        replay_privately(store, header, check);
        return;
    }
    if (hf__boot_id(boot_id) != 0 || memcmp(boot_id, header->boot_id, sizeof boot_id) != 0) {
        hf__finding(check, "header.torn", 0,
                    "a store that was closed before the machine went down");
        return;
    }
    if (header->state == HF__STATE_UNSYNCED) {
        replay_privately(store, header, check);
        return;
    }
    hf__undo_init(&undo, store->undo_path);
    int code = hf__undo_open_file(&undo, store->constants.uuid, 0, false, true);
    if (code == 0 && hf__undo_header(&undo)->generation != header->generation)
        code = HF_ESIDECAR;
    if (code == 0) {
        struct hf__undo_stats stats = {0, 0};
        code = hf__undo_apply(&undo, store->seg.base, store->seg.size_bytes, HF__UNDO_FIRST, true,
                              &stats);
        check->report.undone_bytes = stats.bytes;
    }
    if (code == 0 && hf__undo_header(&undo)->sync_failed != 0)
        hf__finding(check, "undo.unsynced", 0, "a store whose every sync succeeded");
    if (code != 0)
        hf__finding(check, "undo.list", 0, "the undo list of a store that was not closed: %s",
                    hf_strerror(code));
    hf__undo_close(&undo);
}

/* What there is of the segment, privately mapped. */
static int map_wreck(hf_store *store, struct hf__check *check)
{
    struct stat st;
    if (hf__os->fstat(store->fd, &st) != 0)
        return hf__fail_os(errno, store->path, "fstat");
    uint64_t bytes = (uint64_t)st.st_size;
    if (bytes < HF__SEGMENT_OFFSET + HF__SEGMENT_HEADER_BYTES) {
        hf__finding(check, "header.size", bytes, "a file that reaches its segment");
        return 0;
    }
    uint64_t size = hf__backed_bytes(bytes) & ~(uint64_t)(HF__LINE_BYTES - 1);
    /* What a log holds may lie behind the file's end. */
    uint64_t want = store->constants.size_max_bytes > size ? store->constants.size_max_bytes : size;
    int code = hf__map_reserve(store, want, size, false);
    if (code == 0)
        code = hf__map_file(store, true, true);
    store->seg.size_bytes = size;
    return code;
}

/* Where the header and, if there must be one, the log say of what the page table is true. */
static void check_pages(hf_store *store, const struct hf__file_header *header,
                        struct hf__check *check)
{
    hf_verify_report report = {0};
    struct hf__table_truth truth;
    uint8_t boot_id[16];
    if (header->magic == 0 || hf__check_stopped(check))
        return;
    if (header->state == HF__STATE_UNSYNCED &&
        (hf__boot_id(boot_id) != 0 || memcmp(boot_id, header->boot_id, sizeof boot_id) != 0))
        return;
    if (hf__table_truth_cold(store, header, &truth) != 0)
        return; /* that the log is missing was told before */
    int code = truth.stale ? 0 : hf__pages_check(store, store->fd, store->path, &store->seg,
                                                &truth, check, &report);
    if (code != 0)
        hf__finding(check, "page.read", 0, "pages that can be read: %s", hf_last_error()->message);
    check->report.pages_compared = report.pages_compared;
    check->report.pages_newer = report.pages_newer;
    check->report.pages_rotten = report.pages_rotten;
    check->report.table_rotten = report.table_rotten;
    hf__table_truth_free(&truth);
}

static void check_wreck(hf_store *store, const struct hf__file_header *header,
                        struct hf__check *check)
{
    const struct hf__segment_header *segment = hf__segment_header(&store->seg);
    store->seg.salt = store->constants.salt;
    store->heap = hf__heap_over(store, &store->seg);
    store->heap.algorithm = hf__allocator_by_kind(store->constants.allocator);
    store->index_ops = hf__index_by_kind(store->constants.index);
    undo_privately(store, header, check);
    if (segment->heap.used_end > store->seg.size_bytes)
        hf__finding(check, "segment.truncated", HF__HEAP_ROOT,
                    "a file that reaches the used end at %llu, found one of %llu bytes",
                    (unsigned long long)segment->heap.used_end,
                    (unsigned long long)store->seg.size_bytes);
    check->total = 3 * hf__used_end(&store->seg);
    hf__check_segment(store, &store->seg, check);
    check_pages(store, header, check);
}

int hf_check_file(const char *path, const hf_check_options *options, hf_check_report *report)
{
    static const hf_options defaults = HF_OPTIONS_INIT;
    struct hf__file_header header;
    struct hf__check check;
    hf_store *store;
    int code = hf__store_new(&store, HF__BACKING_FILE, &defaults);
    if (code != 0)
        return code;
    hf__check_init(&check, options, 0);
    store->role = HF__ROLE_FROZEN;
    store->mode = HF_COPY_ON_WRITE;
    code = hf__paths_set(store, path);
    if (code == 0)
        code = hf__attach_to_look(store);
    if (code != 0)
        goto out_free;
    code = check_file_header(store, &check, &header);
    if (code == 0)
        code = map_wreck(store, &check);
    if (code == 0 && store->reserved != NULL)
        check_wreck(store, &header, &check);
    /* HF_ECORRUPT always comes with its findings, also when nothing but the header was looked
     * at. */
    if (code == 0 || code == HF_ECORRUPT)
        code = verdict(&check, report);
    hf_error failure = *hf_last_error();
    hf__detach_unused(store);
    hf__map_release(store);
    if (code != 0)
        hf__fail_again(&failure);
out_free:
    hf__store_free(store);
    return code;
}
