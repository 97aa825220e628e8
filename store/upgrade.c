/* SPDX-License-Identifier: MIT */
/*
 * upgrade.c - objects of an older version of a type become objects of a newer one
 *
 *   look     a map of all live blocks (live.h); which objects are to be upgraded; which of them stay
 *   refuse   if what can't be corrected leads to one that would move
 *   change   one object after the other: a copy of its old elements in process memory, then the new
 *            elements, in the same block or in that of a new object of the same name
 *   correct  every pointer field in the store that leads to where a moved object was
 *
 * Everything happens behind a savepoint, which takes all of it back after an error.
 *
 * Invariants
 *   U1  an object that stays keeps the address of each element, so nothing that leads to it changes
 *   U2  the block of an object that has moved stays allocated until the transaction ends (X3 of
 *       txn.c), so no new object can lie where one was: an old address means the old object, and
 *       the map made before the first change says which
 *   U3  the copy of an element has its self-relative fields so that they lead, from the copy, where
 *       they led; what the function passes on leads there, too
 */
#include "holdfast/upgrade.h"

#include "ref_check.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>

/* An object of the old version. */
struct change {
    uint32_t block; /* in the map                                                   */
    bool stays;
    hf_ref old_elements, new_elements;
    uint64_t count;
};

struct upgrade {
    hf_txn *txn;
    struct hf__segment *seg;
    const hf_type *from, *to;
    hf_upgrade_fn fn;
    void *user;
    uint32_t from_id, to_id;
    struct hf__live live;      /* as it was before                                             */
    struct hf__type_map *maps; /* by id                                                        */
    struct change *changes;    /* by address                                                   */
    size_t change_count;
    unsigned char *raw, *copy; /* the old elements of one object, as they were; led right (U3)  */
    uint64_t copy_room;
    uint64_t stray_at; /* the first of them                                            */
    hf_upgrade_report report;
};

/* ---- looking --------------------------------------------------------------------------------- */

/* The room for elements in the object's block. */
static uint64_t room_of(const struct hf__live_block *block)
{
    return block->bytes - block->lead_units * UINT64_C(16);
}

static bool can_stay(const struct upgrade *up, const struct hf__live_block *block,
                     const struct hf__live_object *object)
{
    const uint64_t align = up->to->align_bytes == 0 ? 16 : up->to->align_bytes;
    uint64_t bytes;
    return (object->count <= 1 || up->from->size_bytes == up->to->size_bytes) &&
           object->elements % align == 0 &&
           !__builtin_mul_overflow(object->count, (uint64_t)up->to->size_bytes, &bytes) &&
           bytes <= room_of(block);
}

static int find_changes(struct upgrade *up)
{
    struct hf__live_object object;
    size_t count = 0;
    for (size_t i = 0; i < up->live.count; i++)
        count += up->live.blocks[i].type_id == up->from_id;
    up->changes = malloc((count + 1) * sizeof *up->changes);
    if (up->changes == NULL)
        return hf__fail(HF_ENOMEM, "upgrading");
    for (uint32_t i = 0; i < up->live.count; i++) {
        struct hf__live_block *block = &up->live.blocks[i];
        if (block->type_id != up->from_id || !hf__live_object(up->seg, block, &object))
            continue;
        const bool stays = can_stay(up, block, &object);
        if (!stays)
            block->flags |= HF__LIVE_MARKED; /* here: it moves                                   */
        up->changes[up->change_count++] =
            (struct change){i, stays, object.elements, object.elements, object.count};
        up->report.moved += !stays;
        up->report.in_place += stays;
    }
    return 0;
}

static int look(struct upgrade *up)
{
    uint32_t types;
    int code = hf__live_of_store(up->txn->store, up->seg, &up->live);
    if (code != 0)
        return code;
    up->maps = hf__type_maps(up->seg, &types);
    if (up->maps == NULL)
        return hf__fail(HF_ENOMEM, "upgrading");
    if (up->from_id >= types || up->maps[up->from_id].record == NULL || up->to_id >= types ||
        up->maps[up->to_id].record == NULL)
        return hf__corrupt("type.record", hf__segment_header(up->seg)->type_table);
    return find_changes(up);
}

/* ---- refusing -------------------------------------------------------------------------------- */

static bool moves(const struct upgrade *up, uint32_t block)
{
    return block != HF__LIVE_NONE && (up->live.blocks[block].flags & HF__LIVE_MARKED) != 0;
}

static void note_stray(struct upgrade *up, uint64_t at)
{
    if (up->report.stray++ == 0)
        up->stray_at = at;
}

static void opaque_word(void *user, uint64_t at, uint32_t kind, uint32_t target)
{
    struct upgrade *up = user;
    (void)kind;
    if (moves(up, target))
        note_stray(up, at);
}

/* A pointer field that leads into an object that moves, but to no element's start. */
static int field_before(void *user, const struct hf__ref_field *field)
{
    struct upgrade *up = user;
    struct hf__live_object object;
    const hf_ref to = hf__ref_read(up->seg, field->at, field->kind);
    const uint32_t block = to == 0 ? HF__LIVE_NONE : hf__live_find(&up->live, to);
    if (!moves(up, block) || (field->kind == HF_FIELD_PTR && to == field->at))
        return 0;
    (void)hf__live_object(up->seg, &up->live.blocks[block], &object);
    const uint64_t distance = to - object.elements;
    if (to < object.elements || (distance >= object.size_bytes && distance != 0) ||
        distance % up->from->size_bytes != 0)
        note_stray(up, field->at);
    return 0;
}

/* Calls back for each pointer field of each object of the map. */
static int each_field(struct upgrade *up, const struct hf__live *live,
                      int (*call)(void *user, const struct hf__ref_field *field))
{
    struct hf__live_object object;
    for (size_t i = 0; i < live->count; i++) {
        const struct hf__live_block *block = &live->blocks[i];
        if (!hf__live_object(up->seg, block, &object) || !up->maps[block->type_id].refers)
            continue;
        int code = hf__refs_each(up->seg, up->maps[block->type_id].record, object.elements,
                                 object.count, call, up);
        if (code != 0)
            return code;
    }
    return 0;
}

static int refuse(struct upgrade *up, uint32_t flags)
{
    if (up->report.moved == 0)
        return 0;
    (void)each_field(up, &up->live, field_before);
    for (size_t i = 0; i < up->live.count; i++) {
        const struct hf__live_block *block = &up->live.blocks[i];
        if (block->type_id == 0 && block->kind != HF__BLOCK_SYSTEM)
            hf__opaque_each(up->seg, &up->live, block, opaque_word, up);
    }
    if (up->report.stray == 0 || (flags & HF_UPGRADE_ALLOW_STRAY) != 0)
        return 0;
    return hf__fail(
        HF_EBUSY,
        "%llu references that can't be corrected seem to lead to objects of '%.64s' that "
        "would move, the first at %llu",
        (unsigned long long)up->report.stray, up->from->name, (unsigned long long)up->stray_at);
}

/* ---- changing one object --------------------------------------------------------------------- */

static int make_room(struct upgrade *up, uint64_t bytes)
{
    const uint64_t align = up->maps[up->from_id].record->align_bytes;
    if (bytes <= up->copy_room)
        return 0;
    free(up->raw);
    free(up->copy);
    void *copy = NULL;
    up->copy = NULL;
    up->raw = malloc(bytes);
    if (up->raw == NULL || posix_memalign(&copy, align < 16 ? 16 : align, bytes) != 0) {
        up->copy_room = 0;
        return hf__fail(HF_ENOMEM, "a copy of %llu bytes", (unsigned long long)bytes);
    }
    up->copy = copy;
    up->copy_room = bytes;
    return 0;
}

/* U3: the field at `at` in the store, where it lies in the copy. */
struct copying {
    struct upgrade *up;
    hf_ref elements;
    uint64_t bytes;
};

static int lead_copy(void *user, const struct hf__ref_field *field)
{
    const struct copying *copying = user;
    unsigned char *in_copy = copying->up->copy + (field->at - copying->elements);
    int64_t value;
    memcpy(&value, in_copy, sizeof value);
    if (field->kind != HF_FIELD_PTR || value == HF_PTR_NULL)
        return 0;
    const uintptr_t target =
        (uintptr_t)copying->up->seg->base + (uintptr_t)field->at + (uintptr_t)value;
    value = (int64_t)(target - (uintptr_t)in_copy);
    memcpy(in_copy, &value, sizeof value);
    return 0;
}

/* Is there a self-relative field inside an old element, but not at its start? */
static bool old_field_at(const struct upgrade *up, uint64_t inner)
{
    const struct hf__type_record *record = up->maps[up->from_id].record;
    for (uint32_t i = 0; inner != 0 && i < record->field_count; i++) {
        const struct hf__type_field *field = &hf__type_record_fields(record)[i];
        if (HF_FIELD_KIND(field->kind) == HF_FIELD_PTR && inner >= field->offset &&
            (inner - field->offset) % 8 == 0 &&
            (inner - field->offset) / 8 < HF_FIELD_TIMES(field->kind))
            return true;
    }
    return false;
}

/* A field that nobody had set, passed on by the function, leads to where it was itself. */
static int unset_again(void *user, const struct hf__ref_field *field)
{
    const struct copying *copying = user;
    const struct upgrade *up = copying->up;
    const hf_ref to = hf__ref_read(up->seg, field->at, field->kind);
    const uint64_t distance = to - copying->elements;
    uint64_t word;
    if (field->kind != HF_FIELD_PTR || to < copying->elements || distance >= copying->bytes ||
        !old_field_at(up, distance % up->from->size_bytes))
        return 0;
    memcpy(&word, up->raw + distance, sizeof word);
    if (word == 0)
        memset(up->seg->base + field->at, 0, sizeof word);
    return 0;
}

/* Without a function: the bytes that both have. Self-relative fields of the old version that the new
 * one has in the same place lead where they led. */
static void copy_element(const struct upgrade *up, const unsigned char *old, hf_ref at)
{
    const uint32_t bytes =
        up->from->size_bytes < up->to->size_bytes ? up->from->size_bytes : up->to->size_bytes;
    const struct hf__type_record *record = up->maps[up->from_id].record;
    unsigned char *element = up->seg->base + at;
    memcpy(element, old, bytes);
    for (uint32_t i = 0; i < record->field_count; i++) {
        const struct hf__type_field *field = &hf__type_record_fields(record)[i];
        const uint32_t times = HF_FIELD_TIMES(field->kind);
        for (uint32_t k = 0; HF_FIELD_KIND(field->kind) == HF_FIELD_PTR && k < times; k++) {
            const uint32_t offset = field->offset + k * 8;
            int64_t value;
            memcpy(&value, old + offset, sizeof value);
            if (offset + 8 > bytes || value == HF_PTR_NULL)
                continue;
            value += (int64_t)((uintptr_t)(old + offset) - (uintptr_t)(element + offset));
            memcpy(element + offset, &value, sizeof value);
        }
    }
}

static int fill(struct upgrade *up, const struct change *change)
{
    const uint64_t old_bytes = up->from->size_bytes, new_bytes = up->to->size_bytes;
    for (uint64_t i = 0; i < change->count; i++) {
        const hf_ref at = change->new_elements + i * new_bytes;
        const unsigned char *old = up->copy + i * old_bytes;
        if (up->fn == NULL) {
            copy_element(up, old, at);
            continue;
        }
        int stop = up->fn(up->user, up->txn, old, up->seg->base + at, (size_t)i);
        if (stop != 0)
            return hf__fail_path(HF_ECANCELLED, stop, NULL,
                                 "element %llu of '%.64s' was not upgraded", (unsigned long long)i,
                                 up->from->name);
    }
    struct copying copying = {up, change->old_elements, change->count * old_bytes};
    return hf__refs_each(up->seg, up->maps[up->to_id].record, change->new_elements, change->count,
                         unset_again, &copying);
}

static int replace(struct upgrade *up, const struct hf__object *object, struct change *change)
{
    const struct hf__object_header *header = hf__object_header(up->seg, object);
    const uint32_t kind = header->kind;
    char name[HF_NAME_BYTES_MAX + 1] = "";
    void *made;
    if (object->node != 0)
        memcpy(name, hf__index_name_at(up->seg, object->node), (size_t)header->name_bytes + 1);
    int code = hf_destroy_ptr(up->txn, hf__at(up->seg, object->elements));
    if (code != 0)
        return code;
    if (kind == HF_KIND_NAMED)
        made = hf_construct(up->txn, name, up->to, (size_t)change->count);
    else if (kind == HF_KIND_UNIQUE)
        made = hf_construct_unique(up->txn, up->to, (size_t)change->count);
    else
        made = hf_new(up->txn, up->to, (size_t)change->count);
    if (made == NULL)
        return hf_last_error()->code;
    change->new_elements = (hf_ref)((unsigned char *)made - up->seg->base);
    return 0;
}

static int rewrite_in_place(struct upgrade *up, const struct hf__object *object)
{
    const uint64_t head = sizeof(struct hf__object_header);
    const uint64_t old_size = hf__object_header(up->seg, object)->size_bytes;
    const uint64_t size = hf__object_header(up->seg, object)->count * up->to->size_bytes;
    const uint64_t bytes = head + (size > old_size ? size : old_size);
    int code = hf__reserve(up->seg, HF__EDIT_COST(bytes));
    if (code != 0)
        return code;
    struct hf__object_header *header = hf__edit(up->seg, object->header, bytes);
    memset(header + 1, 0, bytes - head);
    header->type_id = up->to_id;
    header->size_bytes = size;
    header->check = hf__object_check(up->seg, object->header, header);
    return 0;
}

static int change_one(struct upgrade *up, struct change *change)
{
    struct hf__object object;
    int code = hf__object_at(up->txn->store, up->seg, change->old_elements, &object);
    if (code != 0 || object.pending)
        return hf__fail(HF_EINVAL, "the upgrade function has destroyed an object");
    const struct hf__object_header *header = hf__object_header(up->seg, &object);
    const uint64_t size = header->size_bytes;
    struct copying copying = {up, object.elements, size};
    code = make_room(up, size);
    if (code != 0)
        return code;
    if (size != 0) {
        memcpy(up->raw, hf__at(up->seg, object.elements), size);
        memcpy(up->copy, up->raw, size);
        (void)hf__refs_each(up->seg, up->maps[up->from_id].record, object.elements, change->count,
                            lead_copy, &copying);
    }
    code = change->stays ? rewrite_in_place(up, &object) : replace(up, &object, change);
    return code == 0 ? fill(up, change) : code;
}

/* ---- correcting pointers --------------------------------------------------------------------- */

static const struct change *change_of(const struct upgrade *up, uint32_t block)
{
    size_t low = 0, high = up->change_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (up->changes[middle].block < block)
            low = middle + 1;
        else
            high = middle;
    }
    return &up->changes[low]; /* each block that moves has one */
}

/* Where what led to `to` must lead. */
static hf_ref new_place(const struct upgrade *up, const struct change *change, hf_ref to)
{
    const uint64_t old_bytes = up->from->size_bytes, new_bytes = up->to->size_bytes;
    const uint64_t distance = to - change->old_elements;
    if (to < change->old_elements) /* its header or name */
        return change->new_elements + distance;
    if (distance >= change->count * old_bytes)
        return change->new_elements + change->count * new_bytes;
    const uint64_t inner = distance % old_bytes;
    return change->new_elements + distance / old_bytes * new_bytes +
           (inner < new_bytes ? inner : 0);
}

static int field_after(void *user, const struct hf__ref_field *field)
{
    struct upgrade *up = user;
    const hf_ref to = hf__ref_read(up->seg, field->at, field->kind);
    const uint32_t block = to == 0 ? HF__LIVE_NONE : hf__live_find(&up->live, to);
    if (!moves(up, block))
        return 0;
    const hf_ref now = new_place(up, change_of(up, block), to);
    int code = hf__reserve(up->seg, HF__EDIT_COST(sizeof(uint64_t)));
    if (code != 0)
        return code;
    const uint64_t value = hf__ref_encode(field->at, field->kind, now);
    memcpy(hf__edit(up->seg, field->at, sizeof value), &value, sizeof value);
    up->report.pointers++;
    return 0;
}

/* Of all objects there are now, those too that the function has made. */
static int correct(struct upgrade *up)
{
    struct hf__live now = {0};
    uint32_t types;
    if (up->report.moved == 0)
        return 0;
    free(up->maps);
    up->maps = hf__type_maps(up->seg, &types);
    if (up->maps == NULL)
        return hf__fail(HF_ENOMEM, "upgrading");
    int code = hf__txn_settle(up->txn->store);
    if (code == 0)
        code = hf__live_of_store(up->txn->store, up->seg, &now);
    if (code == 0)
        code = each_field(up, &now, field_after);
    hf__live_free(&now);
    return code;
}

/* ---- all together ---------------------------------------------------------------------------- */

static int run(struct upgrade *up, uint32_t flags)
{
    int code = look(up);
    if (code == 0)
        code = refuse(up, flags);
    for (size_t i = 0; code == 0 && i < up->change_count; i++) {
        code = change_one(up, &up->changes[i]);
        up->report.objects++;
        up->report.elements += up->changes[i].count;
    }
    if (code == 0)
        code = correct(up);
    hf__live_free(&up->live);
    free(up->maps);
    free(up->changes);
    free(up->raw);
    free(up->copy);
    return code;
}

static int judge(hf_txn *txn, const hf_type *from, const hf_type *to, uint32_t flags)
{
    int code = hf__txn_usable(txn);
    if (code != 0)
        return code;
    if (from == NULL || to == NULL || (flags & ~(uint32_t)HF_UPGRADE_ALLOW_STRAY) != 0)
        return hf__fail(HF_EINVAL, "hf_upgrade");
    code = hf__type_descriptor_check(from);
    if (code == 0)
        code = hf__type_descriptor_check(to);
    if (code == 0 && (strcmp(from->name, to->name) != 0 || from->version >= to->version))
        code = hf__fail(HF_EINVAL, "'%.64s' version %u is no newer version of '%.64s' version %u",
                        to->name, to->version, from->name, from->version);
    return code;
}

/* Takes a failed upgrade back to where it began; the failure stays. */
static int take_back(hf_txn *txn, hf_mark mark)
{
    hf_error failure = *hf_last_error();
    int code = hf_rollback_to(txn, mark);
    return code != 0 ? code : hf__fail_again(&failure);
}

static void add_report(hf_upgrade_report *sum, const hf_upgrade_report *report)
{
    sum->objects += report->objects;
    sum->elements += report->elements;
    sum->in_place += report->in_place;
    sum->moved += report->moved;
    sum->pointers += report->pointers;
    sum->stray += report->stray;
    sum->steps += report->objects != 0;
}

static int upgrade(hf_txn *txn, const hf_upgrade_step *step, uint32_t flags, hf_upgrade_report *sum)
{
    struct upgrade up = {.txn = txn,
                         .seg = &txn->store->seg,
                         .from = step->from,
                         .to = step->to,
                         .fn = step->fn,
                         .user = step->user};
    int code = hf__type_find(txn->store, step->from, &up.from_id);
    if (code != 0)
        return code == HF_ENOTFOUND ? 0 : code;
    code = hf__type_register(txn, step->to, &up.to_id);
    if (code == 0)
        code = hf__txn_settle(txn->store);
    if (code == 0)
        code = run(&up, flags);
    if (code == 0)
        add_report(sum, &up.report);
    else
        sum->stray = up.report.stray;
    return code;
}

/* How many objects there are of each type: by id, up to *types. */
static int count_types(hf_store *store, uint64_t **out, uint32_t *types)
{
    struct hf__heap heap = hf__heap_over(store, &store->seg);
    struct hf__block_info block;
    struct hf__object object;
    uint64_t position = 0;
    int more;
    *types = hf__segment_header(&store->seg)->type_count;
    uint64_t *counts = calloc((size_t)*types + 1, sizeof *counts);
    if (counts == NULL)
        return hf__fail(HF_ENOMEM, "upgrading");
    while ((more = hf__heap_next(&heap, &position, &block)) == 1)
        if (block.kind == HF__BLOCK_OBJECT && !block.pending &&
            hf__object_of_block(store, &store->seg, &block, &object) == 0) {
            const uint32_t id = hf__object_header(&store->seg, &object)->type_id;
            counts[id <= *types ? id : 0]++;
        }
    if (more != 0)
        free(counts);
    else
        *out = counts;
    return more;
}

int hf_upgrade(hf_txn *txn, const hf_type *from, const hf_type *to, hf_upgrade_fn fn, void *user,
               uint32_t flags, hf_upgrade_report *report)
{
    const hf_upgrade_step step = {from, to, fn, user};
    hf_upgrade_report sum = {0};
    hf_mark mark;
    int code = judge(txn, from, to, flags);
    if (code == 0)
        code = hf_savepoint(txn, &mark);
    if (code != 0)
        return code;
    code = upgrade(txn, &step, flags, &sum);
    if (report != NULL && code == 0)
        *report = sum;
    if (report != NULL && code == HF_EBUSY)
        report->stray = sum.stray;
    return code == 0 ? 0 : take_back(txn, mark);
}

/* The step that comes next: of all that are not done the first without one of the same type and a
 * lower version. */
static const hf_upgrade_step *next_step(const hf_upgrade_step *steps, size_t count,
                                        unsigned char *done)
{
    for (size_t i = 0; i < count; i++) {
        bool first = done[i] == 0;
        for (size_t k = 0; first && k < count; k++)
            first = done[k] != 0 || steps[k].from->version >= steps[i].from->version ||
                    strcmp(steps[k].from->name, steps[i].from->name) != 0;
        if (first) {
            done[i] = 1;
            return &steps[i];
        }
    }
    return NULL;
}

static int run_steps(hf_txn *txn, const hf_upgrade_step *steps, size_t count, uint32_t flags,
                     hf_upgrade_report *sum)
{
    const hf_upgrade_step *step;
    uint64_t *counts = NULL;
    uint32_t types = 0, id = 0;
    bool any = false;
    int code = 0;
    for (size_t i = 0; !any && i < count; i++)
        any = hf__type_find(txn->store, steps[i].from, &id) != HF_ENOTFOUND;
    if (!any)
        return 0;
    unsigned char *done = calloc(count, 1);
    if (done == NULL)
        return hf__fail(HF_ENOMEM, "upgrading");
    code = count_types(txn->store, &counts, &types);
    while (code == 0 && (step = next_step(steps, count, done)) != NULL) {
        const uint64_t before = sum->objects;
        code = hf__type_find(txn->store, step->from, &id);
        if (code == HF_ENOTFOUND)
            code = 0;
        else if (code == 0 && (id > types || counts[id] != 0))
            code = upgrade(txn, step, flags, sum);
        /* What is of the new version now may be old in turn. */
        if (code == 0 && sum->objects != before && hf__type_find(txn->store, step->to, &id) == 0 &&
            id <= types)
            counts[id] += sum->objects - before;
    }
    free(counts);
    free(done);
    return code;
}

int hf_upgrade_all(hf_txn *txn, const hf_upgrade_step *steps, size_t count, uint32_t flags,
                   hf_upgrade_report *report)
{
    hf_upgrade_report sum = {0};
    hf_mark mark;
    int code = hf__txn_usable(txn);
    if (code == 0 && steps == NULL && count != 0)
        code = hf__fail(HF_EINVAL, "hf_upgrade_all");
    for (size_t i = 0; code == 0 && i < count; i++)
        code = judge(txn, steps[i].from, steps[i].to, flags);
    if (code == 0)
        code = hf_savepoint(txn, &mark);
    if (code != 0)
        return code;
    code = run_steps(txn, steps, count, flags, &sum);
    if (report != NULL && code == 0)
        *report = sum;
    if (report != NULL && code == HF_EBUSY)
        report->stray = sum.stray;
    return code == 0 ? 0 : take_back(txn, mark);
}
