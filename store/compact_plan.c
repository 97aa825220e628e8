/* SPDX-License-Identifier: MIT */
/*
 * compact_plan.c - what lives, what stays where it is, and in what order the rest comes
 *
 * One walk over the old segment lists all blocks that aren't free (and aren't the store's own: index
 * and types are made anew). Then references are followed, breadth first, from the named objects in the order of
 * their names, the unique ones, memory of hf_alloc, and at last, in the order of the segment, from what
 * nothing led to. What is opaque is searched word by word, and what it may lead to is pinned. The order
 * in which objects were reached, stably parted by types in the order in which the first of each was
 * reached, is the order in which they will lie.
 *
 * Invariants
 *   C1  live is sorted by `from`, and payloads don't overlap; cell_first cuts it by cells of the old
 *       segment, about as many as there are blocks, so a lookup compares the few of one cell
 *   C2  each live block is reached at most once; order[0 .. ordered) holds what was
 *   C3  an opaque block that is kept has been searched: what it may lead to is kept, and pinned
 */
#include "compact.h"
#include "pool.h"
#include "refs.h"

#include <stdlib.h>
#include <string.h>

#define CELL_BITS_MIN 6u
#define NAMES_AHEAD   16u /* names whose places or bytes are asked for before it is their turn      */
#define FOLLOW_AHEAD  4u  /* objects whose content is                                               */

/* ---- listing --------------------------------------------------------------------------------- */

/* How many there are, by the counts that the segment keeps: no more than a guess, and no less to be had
 * than one in 32 bytes. */
static uint64_t guess_count(const struct hf__compact *c)
{
    const struct hf__segment_header *header = hf__segment_header(&c->store->seg);
    const uint64_t most = header->heap.used_end / 32;
    uint64_t count = header->raw_count + header->anonymous_count + 1024;
    for (int i = 0; i < 2; i++) {
        const struct hf__index index =
            hf__index_over(c->store, &c->store->seg, i == 0 ? HF__NAMED_ROOT : HF__UNIQUE_ROOT);
        count += hf__index_root_of(&index)->count;
    }
    return count < most ? count : most + 1;
}

static int append(struct hf__compact *c, const struct hf__live *live)
{
    if (c->count == c->room) {
        const uint64_t room = c->room == 0 ? guess_count(c) : c->room * 2;
        struct hf__live *more = hf__compact_array(room, sizeof *more);
        if (more == NULL)
            return hf__fail(HF_ENOMEM, "a list of what lives");
        if (c->count != 0)
            memcpy(more, c->live, (size_t)c->count * sizeof *more);
        free(c->live);
        c->live = more;
        c->room = room;
    }
    c->live[c->count++] = *live;
    return 0;
}

static bool has_pointers(const struct hf__type_record *type)
{
    for (uint32_t i = 0; i < type->field_count; i++)
        if (hf__field_refers(hf__type_record_fields(type)[i].kind))
            return true;
    return false;
}

static int list_types(struct hf__compact *c)
{
    const struct hf__segment *seg = &c->store->seg;
    const uint32_t count = hf__segment_header(seg)->type_count;
    if (count > HF__TYPES_MAX)
        return hf__corrupt("type.count", hf__segment_header(seg)->type_table);
    c->types = calloc((size_t)count + 1, sizeof *c->types);
    if (c->types == NULL)
        return hf__fail(HF_ENOMEM, "a list of types");
    c->type_count = count;
    c->types[0].flags = HF__LIVE_OPAQUE;
    for (uint32_t id = 1; id <= count; id++) {
        const struct hf__type_record *type = hf__type_record(seg, id, true);
        if (type == NULL || !hf__type_fields_ok(type))
            return hf__corrupt("type.record", hf__segment_header(seg)->type_table);
        c->types[id].record = type;
        c->types[id].flags = has_pointers(type) ? HF__LIVE_POINTERS : 0;
        /* Its chunks, which are opaque, know where it lies, and so do checks in it. */
        if (strcmp(hf__type_record_name(type), HF__POOL_TYPE) == 0)
            c->types[id].flags |= HF__LIVE_REFERRED;
    }
    return 0;
}

static int take_object(struct hf__compact *c, const struct hf__block_info *block,
                       struct hf__live *out)
{
    struct hf__segment *seg = &c->store->seg;
    struct hf__object object;
    int code = hf__object_of_block(c->store, seg, block, &object);
    if (code != 0)
        return code;
    const struct hf__object_header *header = hf__object_header(seg, &object);
    out->lead = (uint32_t)(object.elements - object.block);
    out->bytes = out->lead + header->size_bytes;
    out->type_id = header->type_id;
    if (header->type_id > c->type_count)
        return hf__corrupt("object.type", object.header);
    const struct hf__compact_type *type = &c->types[header->type_id];
    if (type->record != NULL && type->record->size_bytes != 0 &&
        header->count > header->size_bytes / type->record->size_bytes)
        return hf__corrupt("object.type", object.header);
    out->flags = type->flags | (object.node != 0 ? HF__LIVE_ROOT : 0);
    return 0;
}

static int list_blocks(struct hf__compact *c)
{
    const struct hf__heap heap = hf__heap_over(c->store, &c->store->seg);
    struct hf__block_info block;
    uint64_t position = 0;
    int found, code = 0;
    while (code == 0 && (found = hf__heap_next(&heap, &position, &block)) == 1) {
        struct hf__live live = {.from = block.payload,
                                .bytes = block.usable_bytes,
                                .block_bytes = block.usable_bytes,
                                .kind = block.kind};
        if (block.pending)
            return hf__corrupt("block.pending", block.payload);
        if (block.kind == HF__BLOCK_FREE || block.kind == HF__BLOCK_SYSTEM)
            continue;
        if (block.kind == HF__BLOCK_OBJECT)
            code = take_object(c, &block, &live);
        else
            live.flags =
                block.kind == HF__BLOCK_RAW ? HF__LIVE_OPAQUE | HF__LIVE_ROOT : HF__LIVE_OPAQUE;
        if (code == 0)
            code = append(c, &live);
    }
    return code != 0 ? code : found;
}

static int cut_by_cells(struct hf__compact *c)
{
    const uint64_t end = hf__used_end(&c->store->seg);
    c->cell_bits = CELL_BITS_MIN;
    while (end >> c->cell_bits > c->count && c->cell_bits < 63)
        c->cell_bits++;
    const uint64_t cells = (end >> c->cell_bits) + 2;
    c->cell_first = hf__compact_array(cells, sizeof *c->cell_first);
    c->order = hf__compact_array(c->count + 1, sizeof *c->order);
    if (c->cell_first == NULL || c->order == NULL)
        return hf__fail(HF_ENOMEM, "an index of what lives");
    for (uint64_t cell = 0, at = 0; cell < cells; cell++) {
        while (at < c->count && c->live[at].from >> c->cell_bits < cell)
            at++;
        c->cell_first[cell] = at;
    }
    return 0;
}

/* The last one that begins at or before the target, or NULL. */
static struct hf__live *begun_at(const struct hf__compact *c, hf_ref target)
{
    if (target < HF__FIRST_BLOCK || target > hf__used_end(&c->store->seg))
        return NULL;
    uint64_t low = c->cell_first[target >> c->cell_bits];
    uint64_t high = c->cell_first[(target >> c->cell_bits) + 1];
    while (low < high) { /* how many begin at or before the target */
        const uint64_t middle = low + (high - low) / 2;
        if (c->live[middle].from <= target)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? NULL : &c->live[low - 1];
}

struct hf__live *hf__live_at(const struct hf__compact *c, hf_ref target)
{
    struct hf__live *live = begun_at(c, target);
    if (live == NULL)
        return NULL;
    /* Slots lie side by side: one past the first is where the second begins, in front of its header. */
    if (live > c->live && live->from == target && live->kind == HF__BLOCK_OBJECT &&
        live[-1].from + live[-1].bytes == target)
        live--;
    return target - live->from <= live->block_bytes ? live : NULL;
}

/* ---- following references -------------------------------------------------------------------- */

static void reach(struct hf__compact *c, struct hf__live *live)
{
    if ((live->flags & HF__LIVE_REACHED) == 0) {
        live->flags |= HF__LIVE_REACHED;
        c->order[c->ordered++] = (uint64_t)(live - c->live);
    }
}

static int follow_field(void *user, const struct hf__ref_field *field)
{
    struct hf__compact *c = user;
    const hf_ref target = hf__ref_read(&c->store->seg, field->at, field->kind);
    if (target == 0)
        return 0;
    /* Its content comes while it is looked up: a list is followed at the pace of what is missed. */
    hf__prefetch(&c->store->seg, target);
    struct hf__live *live = hf__live_at(c, target);
    if (live != NULL)
        reach(c, live);
    return 0;
}

static void pin(struct hf__compact *c, struct hf__live *live)
{
    if ((live->flags & HF__LIVE_OPAQUE) == 0)
        live->flags |= HF__LIVE_REFERRED;
    reach(c, live);
}

/* A word that may be a pointer. Where two blocks meet it may be meant for either. */
static void suspect(struct hf__compact *c, const struct hf__live *holder, uint64_t target)
{
    if (target - holder->from < holder->bytes)
        return;
    struct hf__live *live = hf__live_at(c, target);
    if (live == NULL)
        return;
    pin(c, live);
    if (live + 1 < c->live + c->count && live[1].from == target)
        pin(c, live + 1);
    if (live > c->live && live->from == target && live[-1].from + live[-1].block_bytes == target)
        pin(c, live - 1);
}

/* Node, name and header in front of an object's elements are the store's own, and hold nobody's pointers. */
static void search_words(struct hf__compact *c, const struct hf__live *live)
{
    const uint64_t end = hf__used_end(&c->store->seg);
    const uint64_t to = (live->from + live->bytes) & ~UINT64_C(7);
    for (uint64_t at = (live->from + live->lead + 7) & ~UINT64_C(7); at < to; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, c->store->seg.base + at, sizeof word);
        if (word == 0)
            continue;
        if (word <= end)
            suspect(c, live, word);
        if (at + word <= end) /* HF_PTR: modulo 2^64 */
            suspect(c, live, at + word);
    }
}

static int follow(struct hf__compact *c, const struct hf__live *live)
{
    if ((live->flags & HF__LIVE_OPAQUE) != 0) {
        search_words(c, live);
    } else if ((live->flags & HF__LIVE_POINTERS) != 0) {
        const struct hf__object_header *header =
            hf__at(&c->store->seg, live->from + live->lead - sizeof *header);
        hf__refs_each(&c->store->seg, hf__live_type(c, live), live->from + live->lead,
                      header->count, follow_field, c);
    }
    return hf__compact_step(c, live->bytes);
}

/* Its first lines: what lies behind them the processor asks for itself. */
static void expect_content(const struct hf__compact *c, const struct hf__live *live)
{
    const uint64_t bytes = live->bytes < 4 * HF__LINE_BYTES ? live->bytes : 4 * HF__LINE_BYTES;
    for (uint64_t at = 0; at < bytes; at += HF__LINE_BYTES)
        hf__prefetch(&c->store->seg, live->from + at);
}

/* Follows what has been reached from `next` on. */
static int follow_all(struct hf__compact *c, uint64_t *next)
{
    int code = 0;
    while (code == 0 && *next < c->ordered) {
        if (*next + 2 * FOLLOW_AHEAD < c->ordered)
            __builtin_prefetch(&c->live[c->order[*next + 2 * FOLLOW_AHEAD]]);
        if (*next + FOLLOW_AHEAD < c->ordered)
            expect_content(c, &c->live[c->order[*next + FOLLOW_AHEAD]]);
        code = follow(c, &c->live[c->order[(*next)++]]);
    }
    return code;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Of an index without an order names are sorted by the eight bytes behind what all begin with, side by side;
 * names themselves, which lie everywhere, are compared where those are equal. */
struct named {
    uint64_t key, place;
};

static size_t name_of(const struct hf__compact *c, uint64_t place, const unsigned char **name)
{
    const struct hf__segment *seg = &c->store->seg;
    *name = (const unsigned char *)hf__index_name_at(seg, c->live[place].from);
    return hf__index_node_at(seg, c->live[place].from)->name_bytes;
}

static int compare_named(const void *a, const void *b, void *user)
{
    const struct named *x = a, *y = b;
    const unsigned char *x_name, *y_name;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    const size_t x_bytes = name_of(user, x->place, &x_name);
    const size_t y_bytes = name_of(user, y->place, &y_name);
    return hf__index_compare(x_name, x_bytes, y_name, y_bytes);
}

/* Names have no byte 0, so a short one comes first if it is filled up with them. */
static uint64_t key_of(const unsigned char *name, size_t bytes, size_t skip)
{
    uint64_t key = 0;
    for (size_t i = 0; i < sizeof key; i++)
        key = key << 8 | (skip + i < bytes ? name[skip + i] : 0);
    return key;
}

/* What the content of the i-th of them begins with is asked for. */
static void expect_name(const struct hf__compact *c, const uint64_t *places, uint64_t i, uint64_t count)
{
    if (i < count)
        hf__prefetch(&c->store->seg, c->live[places[i]].from);
}

static int sort_names(struct hf__compact *c, uint64_t *places, uint64_t count)
{
    const unsigned char *first, *name;
    if (count < 2)
        return 0;
    struct named *named = hf__compact_array(count, sizeof *named);
    if (named == NULL)
        return hf__fail(HF_ENOMEM, "sorting names");
    size_t common = name_of(c, places[0], &first);
    for (uint64_t i = 1; i < count; i++) {
        expect_name(c, places, i + NAMES_AHEAD, count);
        const size_t bytes = name_of(c, places[i], &name);
        size_t same = 0;
        while (same < common && same < bytes && name[same] == first[same])
            same++;
        common = same;
    }
    for (uint64_t i = 0; i < count; i++) {
        expect_name(c, places, i + NAMES_AHEAD, count);
        const size_t bytes = name_of(c, places[i], &name);
        named[i] = (struct named){key_of(name, bytes, common), places[i]};
    }
    qsort_r(named, (size_t)count, sizeof *named, compare_named, c);
    for (uint64_t i = 0; i < count; i++)
        places[i] = named[i].place;
    free(named);
    return 0;
}

/* Their places, of nodes. */
static int find_named(struct hf__compact *c, uint64_t *names, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (i + NAMES_AHEAD < count && names[i + NAMES_AHEAD] <= hf__used_end(&c->store->seg))
            hf__live_expect(c, names[i + NAMES_AHEAD]);
        const struct hf__live *live = begun_at(c, names[i]);
        if (live == NULL || live->from != names[i] || live->kind != HF__BLOCK_OBJECT)
            return hf__corrupt("index.links", names[i]);
        names[i] = (uint64_t)(live - c->live);
    }
    return 0;
}

/* The objects of one index, in the order of their names. */
static int list_names(struct hf__compact *c, int which)
{
    const struct hf__index index =
        hf__index_over(c->store, &c->store->seg, which == 0 ? HF__NAMED_ROOT : HF__UNIQUE_ROOT);
    const uint64_t count = hf__index_root_of(&index)->count;
    struct hf__index_cursor cursor = {0};
    hf_ref node;
    int found;
    if (count > c->count)
        return hf__corrupt("index.count", index.root);
    c->names[which] = hf__compact_array(count + 1, sizeof **c->names);
    if (c->names[which] == NULL)
        return hf__fail(HF_ENOMEM, "a list of names");
    while ((found = index.ops->next(&index, &cursor, NULL, 0, &node)) == 1) {
        if (c->name_count[which] == count)
            return hf__corrupt("index.links", node);
        c->names[which][c->name_count[which]++] = node;
    }
    if (found == 0)
        found = find_named(c, c->names[which], c->name_count[which]);
    if (found == 0 && !index.ops->ordered)
        found = sort_names(c, c->names[which], c->name_count[which]);
    return found;
}

/* ---- the order ------------------------------------------------------------------------------- */

/* What is left when all that has a name has been followed. */
static int follow_the_rest(struct hf__compact *c, uint64_t *next)
{
    const bool drop = (c->options->flags & HF_COMPACT_DROP_UNREACHABLE) != 0;
    int code = 0;
    for (uint64_t i = 0; i < c->count; i++)
        if ((c->live[i].flags & HF__LIVE_ROOT) != 0)
            reach(c, &c->live[i]);
    code = follow_all(c, next);
    for (uint64_t i = 0; code == 0 && i < c->count; i++) {
        struct hf__live *live = &c->live[i];
        if ((live->flags & HF__LIVE_REACHED) == 0) {
            c->report.unreachable++;
            c->report.unreachable_bytes += live->block_bytes;
            live->flags |= HF__LIVE_DROPPED; /* till it turns out otherwise */
        }
    }
    for (uint64_t i = 0; code == 0 && i < c->count; i++) {
        if ((c->live[i].flags & HF__LIVE_DROPPED) == 0)
            continue;
        if (drop) {
            c->report.dropped++;
            c->report.dropped_bytes += c->live[i].block_bytes;
            continue;
        }
        c->live[i].flags &= ~(uint32_t)HF__LIVE_DROPPED;
        reach(c, &c->live[i]);
        code = follow_all(c, next);
    }
    return code;
}

/* Counts what stays, and parts the rest by types. */
static int sort_by_types(struct hf__compact *c)
{
    const uint64_t types = c->type_count;
    uint64_t *start = calloc((size_t)types + 1, sizeof *start), *sorted, movable = 0;
    uint64_t *sizes = calloc((size_t)types + 1, sizeof *sizes);
    sorted = malloc((size_t)(c->ordered + 1) * sizeof *sorted);
    if (start == NULL || sorted == NULL || sizes == NULL) {
        free(start);
        free(sizes);
        free(sorted);
        return hf__fail(HF_ENOMEM, "an order of what lives");
    }
    for (uint64_t i = 0; i < c->ordered; i++) {
        const struct hf__live *live = &c->live[c->order[i]];
        if ((live->flags & HF__LIVE_PINNED) == 0)
            sizes[live->type_id]++;
        else if ((live->flags & HF__LIVE_OPAQUE) != 0)
            c->report.pinned_opaque++, c->report.pinned_opaque_bytes += live->block_bytes;
        else
            c->report.pinned_referred++, c->report.pinned_referred_bytes += live->block_bytes;
    }
    for (uint64_t i = 0; i < c->ordered; i++) { /* at the first of each type: its part */
        const uint64_t place = c->order[i];
        const struct hf__live *live = &c->live[place];
        if ((live->flags & HF__LIVE_PINNED) != 0)
            continue;
        if (sizes[live->type_id] != 0) {
            start[live->type_id] = movable;
            movable += sizes[live->type_id];
            sizes[live->type_id] = 0;
        }
        sorted[start[live->type_id]++] = place;
    }
    c->pins = movable != c->ordered;
    free(c->order);
    free(start);
    free(sizes);
    c->order = sorted;
    c->ordered = movable;
    return 0;
}

int hf__compact_plan(struct hf__compact *c)
{
    uint64_t next = 0;
    int code = list_types(c);
    if (code == 0)
        code = list_blocks(c);
    if (code == 0)
        code = cut_by_cells(c);
    for (int which = 0; code == 0 && which < 2; which++) {
        code = list_names(c, which);
        for (uint64_t i = 0; code == 0 && i < c->name_count[which]; i++)
            reach(c, &c->live[c->names[which][i]]);
        if (code == 0)
            code = follow_all(c, &next);
    }
    if (code == 0)
        code = follow_the_rest(c, &next);
    return code == 0 ? sort_by_types(c) : code;
}
