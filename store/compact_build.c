/* SPDX-License-Identifier: MIT */
/*
 * compact_build.c - the new segment in memory, and writing it
 *
 * Nothing is pinned: an empty segment is formatted, and blocks are cut from its end one after the other.
 * Something is: a private copy of the old segment, in which all blocks but the pinned ones are freed,
 * so that whatever format chunks and free sets have, the allocator's own code brings it about; then the
 * others are allocated, into the holes as long as one fits. Either way the allocator and the index that will use
 * the segment later have made it.
 *
 * Invariants
 *   C4  the old segment is only read: what is written is written through `image`
 *   C5  a live block has its place in the new segment before any pointer is rewritten; pointers are read
 *       from the old segment, so it doesn't matter which object comes first
 *   C6  what is HF__LIVE_DIRECT has no pointers, and everything but its elements lies in the image
 */
#include "compact.h"
#include "pages.h"
#include "refs.h"

#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STEP_BYTES   ((uint64_t)1 << 20)
#define WRITE_BYTES  ((uint64_t)8 << 20)
#define DIRECT_MIN   ((uint64_t)1 << 20)
#define AHEAD        8u /* objects whose content is asked for before it is their turn          */
#define FORMAT_BYTES ((uint64_t)65536)

/* ---- the image ------------------------------------------------------------------------------- */

static int image_grow(struct hf__segment *seg, uint64_t size_bytes)
{
    const struct hf__compact *c =
        (const struct hf__compact *)((const char *)seg - offsetof(struct hf__compact, image));
    if (size_bytes > c->image_max_bytes)
        return hf__fail_path(HF_EFULL, 0, c->store->path, "%llu of at most %llu bytes",
                             (unsigned long long)size_bytes,
                             (unsigned long long)c->image_max_bytes);
    const uint64_t rest = c->image_max_bytes - size_bytes;
    seg->size_bytes = size_bytes + (rest < STEP_BYTES ? rest : STEP_BYTES);
    return 0;
}

static int make_empty(struct hf__compact *c)
{
    c->mapping_bytes = c->image_max_bytes > FORMAT_BYTES ? c->image_max_bytes : FORMAT_BYTES;
    void *at = hf__os->mmap(NULL, (size_t)c->mapping_bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return hf__fail_os(errno, c->store->path, "mmap");
    (void)hf__os->madvise(at, (size_t)c->mapping_bytes, MADV_HUGEPAGE);
    c->mapping = c->image.base = at;
    c->image.size_bytes = c->image_max_bytes < FORMAT_BYTES ? c->image_max_bytes : FORMAT_BYTES;
    return hf__format_segment(at, c->image.size_bytes, &c->store->constants);
}

static bool stays(const struct hf__live *live)
{
    return (live->flags & HF__LIVE_PINNED) != 0 && (live->flags & HF__LIVE_DROPPED) == 0;
}

/* Frees in the copy all but what stays; the old segment tells what there is. */
static int free_the_rest(struct hf__compact *c)
{
    const struct hf__heap old = hf__heap_over(c->store, &c->store->seg);
    struct hf__block_info block;
    uint64_t position = 0, place = 0;
    int found, code = 0;
    while (code == 0 && (found = hf__heap_next(&old, &position, &block)) == 1) {
        if (block.kind == HF__BLOCK_FREE)
            continue;
        if (block.kind != HF__BLOCK_SYSTEM) {
            struct hf__live *live = &c->live[place++];
            live->to = live->from;
            if (stays(live))
                continue;
        }
        code = c->heap.algorithm->free(&c->heap, block.payload);
    }
    return code != 0 ? code : found;
}

static int make_copy(struct hf__compact *c)
{
    unsigned char *at;
    int code = hf__map_private(c->store, &at);
    if (code != 0)
        return code;
    c->mapping = at;
    c->mapping_bytes = c->store->reserved_bytes;
    code = hf__map_private_to(c->store, at, 0, c->image_max_bytes);
    if (code != 0)
        return code;
    c->image.base = at + (c->store->seg.base - c->store->reserved);
    c->image.size_bytes = hf__whole_pages(hf__used_end(&c->store->seg));
    if (c->image.size_bytes > c->image_max_bytes)
        c->image.size_bytes = c->image_max_bytes;
    code = free_the_rest(c);
    const uint64_t roots[2] = {HF__NAMED_ROOT, HF__UNIQUE_ROOT};
    for (int i = 0; code == 0 && i < 2; i++) {
        struct hf__index index = hf__index_over(c->store, &c->image, roots[i]);
        memset(c->image.base + roots[i], 0, sizeof(struct hf__index_root));
        code = index.ops->init(&index);
    }
    return code;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static struct hf__segment_header *image_header(struct hf__compact *c)
{
    return (struct hf__segment_header *)c->image.base;
}

/* The table of types, with the ids that they had. */
static int copy_types(struct hf__compact *c)
{
    struct hf__segment_header *header = image_header(c);
    const struct hf__segment *old = &c->store->seg;
    const uint32_t count = hf__segment_header(old)->type_count;
    hf_ref table = 0, at;
    int code = 0;
    header->type_count = header->type_capacity = count;
    if (count != 0)
        code = c->door.allocate(&c->image, (uint64_t)count * sizeof(hf_ref), &table);
    if (code == 0)
        header->type_table = table;
    for (uint32_t id = 1; code == 0 && id <= count; id++) {
        const struct hf__type_record *record = hf__type_record(old, id, true);
        if (record == NULL)
            return hf__corrupt("type.record", hf__segment_header(old)->type_table);
        const uint64_t bytes =
            (uint64_t)(hf__type_record_name(record) - (const char *)record) + record->text_bytes;
        code = c->door.allocate(&c->image, bytes, &at);
        if (code == 0) {
            memcpy(c->image.base + at, record, (size_t)bytes);
            ((hf_ref *)(c->image.base + table))[id - 1] = at;
        }
    }
    return code;
}

static int place_all(struct hf__compact *c)
{
    uint64_t direct = 0;
    int code = 0;
    for (uint64_t i = 0; code == 0 && i < c->ordered; i++) {
        struct hf__live *live = &c->live[c->order[i]];
        if (i + AHEAD < c->ordered)
            __builtin_prefetch(&c->live[c->order[i + AHEAD]]);
        const struct hf__type_record *type = hf__live_type(c, live);
        const uint64_t align = type->align_bytes == 0 ? 16 : type->align_bytes;
        /* An object of no elements has a byte behind its header all the same, as object.c makes it. */
        const uint64_t bytes = live->bytes > live->lead ? live->bytes : live->bytes + 1;
        const struct hf__alloc_request request = {bytes, align, live->lead, HF__BLOCK_OBJECT};
        uint64_t usable;
        code = c->heap.algorithm->allocate(&c->heap, &request, &live->to, &usable);
        if (code != 0)
            break;
        if (c->pins) /* what lay there once */
            memset(c->image.base + live->to + live->bytes, 0, (size_t)(usable - live->bytes));
        if (live->bytes >= DIRECT_MIN && (live->flags & HF__LIVE_POINTERS) == 0) {
            live->flags |= HF__LIVE_DIRECT;
            direct++;
        }
        if (live->to != live->from) {
            c->report.moved++;
            c->report.moved_bytes += live->bytes;
        }
    }
    c->direct = malloc((size_t)(direct + 1) * sizeof *c->direct);
    return code == 0 && c->direct == NULL ? hf__fail(HF_ENOMEM, "a list of large objects") : code;
}

/* ---- content --------------------------------------------------------------------------------- */

/* One object whose pointers are rewritten. */
struct rewriting {
    struct hf__compact *c;
    const struct hf__live *live;
};

static int rewrite_field(void *user, const struct hf__ref_field *field)
{
    const struct rewriting *r = user;
    struct hf__compact *c = r->c;
    const hf_ref target = hf__ref_read(&c->store->seg, field->at, field->kind);
    if (target == 0)
        return 0;
    const struct hf__live *live = hf__live_at(c, target);
    hf_ref to = 0;
    /* A block that moves has its size anew: what lay behind the object isn't its any more. */
    if (live != NULL && (live->flags & HF__LIVE_DROPPED) == 0 &&
        target - live->from <=
            ((live->flags & HF__LIVE_PINNED) != 0 ? live->block_bytes : live->bytes))
        to = live->to + (target - live->from);
    else if (field->kind == HF_FIELD_REF &&
             (target < HF__FIRST_BLOCK || target >= c->store->constants.size_max_bytes))
        to = target;
    else
        c->report.dangling++;
    const uint64_t at = field->at - r->live->from + r->live->to;
    const uint64_t word = hf__ref_encode(at, field->kind, to);
    memcpy(c->image.base + at, &word, sizeof word);
    return 0;
}

static void copy_object(struct hf__compact *c, const struct hf__live *live)
{
    const unsigned char *old = c->store->seg.base + live->from;
    unsigned char *new = c->image.base + live->to;
    const hf_ref at = live->to + live->lead - sizeof(struct hf__object_header);
    struct hf__object_header *header = (struct hf__object_header *)(c->image.base + at);
    if ((live->flags & HF__LIVE_PINNED) == 0)
        memcpy(new, old, (size_t)((live->flags & HF__LIVE_DIRECT) != 0 ? live->lead : live->bytes));
    header->check = hf__object_check(&c->image, at, header);
    if ((live->flags & HF__LIVE_POINTERS) != 0) {
        struct rewriting rewriting = {c, live};
        hf__refs_each(&c->store->seg, hf__live_type(c, live), live->from + live->lead,
                      header->count, rewrite_field, &rewriting);
    }
}

static int compare_places(const void *a, const void *b, void *user)
{
    const struct hf__compact *c = user;
    const hf_ref x = c->live[*(const uint64_t *)a].to, y = c->live[*(const uint64_t *)b].to;
    return (x > y) - (x < y);
}

static int copy_all(struct hf__compact *c)
{
    struct hf__segment_header *header = image_header(c);
    uint64_t anonymous = 0, raw = 0;
    int code = 0;
    for (uint64_t i = 0; code == 0 && i < c->ordered; i++) { /* in the order in which they lie */
        const struct hf__live *live = &c->live[c->order[i]];
        if (i + 2 * AHEAD < c->ordered)
            __builtin_prefetch(&c->live[c->order[i + 2 * AHEAD]]);
        if (i + AHEAD < c->ordered) {
            /* What is near in this order refers to each other more often than not. */
            const hf_ref from = c->live[c->order[i + AHEAD]].from;
            hf__prefetch(&c->store->seg, from);
            hf__prefetch(&c->store->seg, from + HF__LINE_BYTES);
            hf__live_expect(c, from);
        }
        copy_object(c, live);
        if ((live->flags & HF__LIVE_DIRECT) != 0)
            c->direct[c->direct_count++] = c->order[i];
        code = hf__compact_step(c, live->bytes);
    }
    for (uint64_t i = 0; code == 0 && i < c->count; i++) {
        const struct hf__live *live = &c->live[i];
        if ((live->flags & HF__LIVE_DROPPED) != 0)
            continue;
        if ((live->flags & HF__LIVE_PINNED) == HF__LIVE_REFERRED)
            copy_object(c, live);
        c->report.live_bytes += live->bytes;
        anonymous += live->kind == HF__BLOCK_OBJECT && (live->flags & HF__LIVE_ROOT) == 0;
        raw += live->kind == HF__BLOCK_RAW;
    }
    qsort_r(c->direct, (size_t)c->direct_count, sizeof *c->direct, compare_places, c);
    header->anonymous_count = anonymous;
    header->raw_count = raw;
    header->commit = hf__segment_header(&c->store->seg)->commit + 1;
    c->report.commit = header->commit;
    return code;
}

/* The i-th name will be put into the index. */
static void expect_insert(const struct hf__compact *c, const struct hf__index *index,
                          struct hf__index_ahead *ahead, int which, uint64_t i)
{
    if (i + 2 * AHEAD < c->name_count[which])
        hf__prefetch(&c->image, c->live[c->names[which][i + 2 * AHEAD]].to);
    if (i + AHEAD >= c->name_count[which] || index->ops->expect == NULL)
        return;
    const hf_ref to = c->live[c->names[which][i + AHEAD]].to;
    (void)index->ops->expect(index, ahead, hf__index_name_at(&c->image, to),
                             hf__index_node_at(&c->image, to)->name_bytes);
}

/* Names come in their order, so pages and arrays come out full. */
static int build_index(struct hf__compact *c, int which)
{
    struct hf__index index =
        hf__index_over(c->store, &c->image, which == 0 ? HF__NAMED_ROOT : HF__UNIQUE_ROOT);
    const uint64_t count = c->name_count[which];
    struct hf__index_ahead ahead = {0};
    int code = count == 0 ? 0 : index.ops->reserve(&index, count);
    for (uint64_t i = 0; code == 0 && i < count; i++) {
        /* What else a node has is the index's to set: in a copy most of it is right, and left alone. */
        expect_insert(c, &index, &ahead, which, i);
        code = index.ops->insert(&index, c->live[c->names[which][i]].to, NULL);
    }
    return code;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int finish(struct hf__compact *c)
{
    struct hf__segment_header *header = image_header(c);
    int code = c->heap.algorithm->trim == NULL ? 0 : c->heap.algorithm->trim(&c->heap);
    if (code != 0)
        return code;
    if (c->pins)
        c->heap.algorithm->zero_free(&c->heap, NULL, NULL);
    uint64_t size = hf__whole_pages(header->heap.used_end);
    if (size < HF__SEGMENT_BYTES_MIN)
        size = HF__SEGMENT_BYTES_MIN;
    if (size > c->store->constants.size_max_bytes)
        return hf__fail_path(HF_EFULL, 0, c->store->path, "its maximum is no whole page");
    header->size_bytes = c->image.size_bytes = size;
    c->report.size_after_bytes = hf__file_bytes(size);
    return 0;
}

int hf__compact_build(struct hf__compact *c)
{
    c->door = hf__plain_door;
    c->door.grow = image_grow;
    c->image =
        (struct hf__segment){.salt = c->store->constants.salt, .door = &c->door, .owner = &c->heap};
    c->heap = (struct hf__heap){&c->image, HF__HEAP_ROOT, c->store->heap.algorithm, NULL};
    int code = c->pins ? make_copy(c) : make_empty(c);
    if (code == 0)
        code = copy_types(c);
    if (code == 0)
        code = place_all(c);
    if (code == 0)
        code = copy_all(c);
    for (int which = 0; code == 0 && which < 2; which++)
        code = build_index(c, which);
    return code == 0 ? finish(c) : code;
}

/* Writes [from, to) of the segment, which lies from `base` on. */
static int write_part(struct hf__compact *c, int fd, const char *path, const unsigned char *base,
                      uint64_t from, uint64_t to)
{
    int code = 0;
    while (code == 0 && from < to) {
        const uint64_t end = to - from < WRITE_BYTES ? to : from + WRITE_BYTES;
        if (hf__write_sparse(fd, base, from, end) != 0)
            return hf__fail_os(errno, path, "writing the new store");
        /* A hint: the disk begins while the rest is written, and the sync at the end finds less. */
        (void)hf__os->write_back(fd, (off_t)hf__file_offset(from), (off_t)(end - from));
        code = hf__compact_step(c, end - from);
        from = end;
    }
    return code;
}

int hf__compact_write(struct hf__compact *c, int fd, const char *path)
{
    const struct hf__segment_header *header = image_header(c);
    const uint64_t used = header->heap.used_end;
    uint64_t at = 0;
    int code = 0;
    /* First of all: a disk that can't hold it says so at once. */
    if (hf__segment_allocate(fd, 0, header->size_bytes) != 0)
        return hf__fail_os(errno, path, "room for the new store");
    for (uint64_t i = 0; code == 0 && i < c->direct_count; i++) {
        const struct hf__live *live = &c->live[c->direct[i]];
        const uintptr_t old = (uintptr_t)c->store->seg.base + (uintptr_t)(live->from - live->to);
        code = write_part(c, fd, path, c->image.base, at, live->to + live->lead);
        at = live->to + live->bytes;
        if (code == 0)
            code = write_part(c, fd, path, (const unsigned char *)old, live->to + live->lead, at);
    }
    if (code == 0)
        code = write_part(c, fd, path, c->image.base, at, used);
    if (code == 0)
        code = hf__pages_write_all(fd, path, c->store->constants.salt, used, header->commit);
    return code;
}

void hf__compact_free(struct hf__compact *c)
{
    if (c->mapping != NULL)
        hf__os->munmap(c->mapping, (size_t)c->mapping_bytes);
    free(c->direct);
    free(c->names[0]);
    free(c->names[1]);
    free(c->order);
    free(c->cell_first);
    free(c->types);
    free(c->live);
}
