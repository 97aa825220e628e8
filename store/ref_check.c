/* SPDX-License-Identifier: MIT */
/*
 * ref_check.c - where the pointers of typed objects lead, and what nothing leads to
 *
 * Both go by the map of live blocks (live.h) that the walk over the blocks has filled, so a pointer
 * costs a look-up and never a look at what it leads to.
 *
 * What a pointer may lead to (docs/format.md says why):
 *   R1  null; for a self-relative one also 0, which is what an element has that nobody has set
 *   R2  without a target: any byte of the payload of a live block that isn't the store's own
 *   R3  with a target: the start of an element of an object of that type, or of a newer version of
 *       it; or the elements of an empty array
 *
 * Reached is what R2 says a pointer of a reached, typed object leads to, and what any aligned word
 * of a reached, opaque block leads to, read in either way. Named and unique objects are reached to
 * begin with. Each block is marked before it is put on the stack, so once.
 */
#include "ref_check.h"

#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- types and objects ----------------------------------------------------------------------- */

struct hf__type_map *hf__type_maps(const struct hf__segment *seg, uint32_t *count)
{
    const uint32_t recorded = hf__segment_header(seg)->type_count;
    const uint32_t types = recorded <= HF__TYPES_MAX ? recorded : HF__TYPES_MAX;
    struct hf__type_map *maps = calloc((size_t)types + 1, sizeof *maps);
    if (maps == NULL)
        return NULL;
    for (uint32_t id = 1; id <= types; id++) {
        const struct hf__type_record *record = hf__type_record(seg, id, true);
        if (record == NULL || !hf__type_fields_ok(record) || record->size_bytes == 0)
            continue;
        maps[id].record = record;
        for (uint32_t i = 0; i < record->field_count; i++)
            maps[id].refers |= hf__field_refers(hf__type_record_fields(record)[i].kind);
    }
    *count = types + 1;
    return maps;
}

bool hf__refs_any(const struct hf__segment *seg)
{
    const uint32_t types = hf__segment_header(seg)->type_count;
    for (uint32_t id = 1; id <= types && id <= HF__TYPES_MAX; id++) {
        const struct hf__type_record *record = hf__type_record(seg, id, false);
        for (uint32_t i = 0; record != NULL && i < record->field_count; i++)
            if (hf__field_refers(hf__type_record_fields(record)[i].kind))
                return true;
    }
    return false;
}

void hf__live_add_block(const struct hf__segment *seg, struct hf__live *live,
                        const struct hf__block_info *block, const struct hf__object *object)
{
    struct hf__live_block entry = {
        .start = block->payload, .bytes = block->usable_bytes, .kind = (uint8_t)block->kind};
    if (object != NULL) {
        const struct hf__object_header *header = hf__object_header(seg, object);
        entry.lead_units = (uint16_t)((object->elements - object->block) / 16);
        entry.type_id = header->type_id;
        entry.flags = header->kind == HF_KIND_ANONYMOUS ? 0 : HF__LIVE_ROOT;
    } else if (block->kind == HF__BLOCK_OBJECT) {
        entry.flags = HF__LIVE_UNSOUND;
    }
    hf__live_add(live, &entry);
}

int hf__live_of_store(const hf_store *store, struct hf__segment *seg, struct hf__live *live)
{
    struct hf__heap heap = hf__heap_over(store, seg);
    struct hf__block_info block;
    struct hf__object object;
    uint64_t position = 0;
    int more;
    while ((more = hf__heap_next(&heap, &position, &block)) == 1) {
        if (block.kind == HF__BLOCK_FREE || block.pending)
            continue;
        const bool is_object = block.kind == HF__BLOCK_OBJECT;
        if (is_object) {
            int code = hf__object_of_block(store, seg, &block, &object);
            if (code != 0)
                return code;
            const struct hf__object_header *header = hf__object_header(seg, &object);
            const struct hf__type_record *record = hf__type_record(seg, header->type_id, false);
            uint64_t size = record == NULL ? 1 : record->size_bytes;
            if ((header->type_id != 0 && record == NULL) ||
                __builtin_mul_overflow(size, header->count, &size) || size != header->size_bytes)
                return hf__corrupt("object.size", object.header);
        }
        hf__live_add_block(seg, live, &block, is_object ? &object : NULL);
    }
    if (more == 0 && !hf__live_seal(live, hf__used_end(seg)))
        more = hf__fail(HF_ENOMEM, "a map of live blocks");
    return more;
}

bool hf__live_object(const struct hf__segment *seg, const struct hf__live_block *block,
                     struct hf__live_object *out)
{
    if (block->kind != HF__BLOCK_OBJECT || block->type_id == 0)
        return false;
    const uint64_t elements = block->start + block->lead_units * UINT64_C(16);
    const struct hf__object_header *header = hf__at(seg, elements - sizeof *header);
    *out = (struct hf__live_object){elements, header->count, header->size_bytes};
    return true;
}

/* ---- the check of pointers ------------------------------------------------------------------- */

struct refs_check {
    const struct hf__segment *seg;
    const struct hf__live *live;
    struct hf__check *check;
    const struct hf__type_map *maps;
    uint32_t map_count;
    const struct hf__type_record *holder; /* of the object being looked at                        */
};

static void tell(const struct refs_check *refs, const struct hf__ref_field *field, const char *rule,
                 const char *expected, hf_ref to)
{
    const char *name = hf__type_field_name(refs->holder, field->field);
    char number[16];
    if (name == NULL) {
        snprintf(number, sizeof number, "%u", field->field);
        name = number;
    }
    hf__finding(refs->check, rule, field->at, "%.48s.%.48s[%u] leads to %s, found %llu",
                hf__type_record_name(refs->holder), name, field->entry, expected,
                (unsigned long long)to);
}

/* A newer version of the type that the field names is what an upgrade has left there; whoever reads
 * it by the old descriptor is refused by hf_find, too. An older one would be read past its end. */
static bool type_ok(const struct refs_check *refs, uint32_t wanted, uint32_t found)
{
    if (wanted == found)
        return true;
    if (wanted >= refs->map_count || refs->maps[wanted].record == NULL)
        return true; /* told by rule type.target or type.record */
    const struct hf__type_record *a = refs->maps[wanted].record, *b = refs->maps[found].record;
    return b != NULL && b->version > a->version && a->name_bytes == b->name_bytes &&
           memcmp(hf__type_record_name(a), hf__type_record_name(b), a->name_bytes) == 0;
}

static void judge_target(const struct refs_check *refs, const struct hf__ref_field *field,
                         const struct hf__live_block *block, hf_ref to)
{
    struct hf__live_object object;
    if ((block->flags & HF__LIVE_UNSOUND) != 0 || block->kind == HF__BLOCK_LOST)
        return;
    if (!hf__live_object(refs->seg, block, &object) ||
        !type_ok(refs, field->target_id, block->type_id)) {
        tell(refs, field, "ref.type", "an object of the type it names", to);
        return;
    }
    const struct hf__type_record *record = refs->maps[block->type_id].record;
    const uint64_t distance = to - object.elements;
    if (to < object.elements || (distance >= object.size_bytes && distance != 0) ||
        (record != NULL && distance % record->size_bytes != 0))
        tell(refs, field, "ref.misaligned", "the start of an element", to);
}

static int judge(void *user, const struct hf__ref_field *field)
{
    const struct refs_check *refs = user;
    const hf_ref to = hf__ref_read(refs->seg, field->at, field->kind);
    if (to == 0 || (to == field->at && field->kind == HF_FIELD_PTR))
        return 0;
    const uint32_t found = hf__live_find(refs->live, to);
    const struct hf__live_block *block = found == HF__LIVE_NONE ? NULL : &refs->live->blocks[found];
    if (block == NULL || block->kind == HF__BLOCK_SYSTEM)
        tell(refs, field, "ref.dangling", "a live block", to);
    else if (field->target_id != 0)
        judge_target(refs, field, block, to);
    return hf__check_stopped(refs->check);
}

void hf__refs_check(const struct hf__segment *seg, const struct hf__live *live,
                    struct hf__check *check)
{
    struct refs_check refs = {.seg = seg, .live = live, .check = check};
    struct hf__type_map *maps = hf__type_maps(seg, &refs.map_count);
    struct hf__live_object object;
    refs.maps = maps;
    if (maps == NULL) {
        check->cancelled = true;
        hf__fail(HF_ENOMEM, "checking");
        return;
    }
    for (size_t i = 0; i < live->count && !hf__check_stopped(check); i++) {
        const struct hf__live_block *block = &live->blocks[i];
        if (!hf__live_object(seg, block, &object) || !maps[block->type_id].refers)
            continue;
        refs.holder = maps[block->type_id].record;
        (void)hf__refs_each(seg, refs.holder, object.elements, object.count, judge, &refs);
    }
    free(maps);
}

/* ---- what can be reached --------------------------------------------------------------------- */

struct reach {
    const struct hf__segment *seg;
    struct hf__live *live;
    uint32_t *stack;
    size_t depth;
};

static void reach(struct reach *reach, uint32_t block)
{
    if (block == HF__LIVE_NONE || (reach->live->blocks[block].flags & HF__LIVE_MARKED) != 0)
        return;
    reach->live->blocks[block].flags |= HF__LIVE_MARKED;
    reach->stack[reach->depth++] = block;
}

static int reach_field(void *user, const struct hf__ref_field *field)
{
    struct reach *r = user;
    const hf_ref to = hf__ref_read(r->seg, field->at, field->kind);
    if (to != 0)
        reach(r, hf__live_find(r->live, to));
    return 0;
}

static void reach_word(void *user, uint64_t at, uint32_t kind, uint32_t target)
{
    (void)at;
    (void)kind;
    reach(user, target);
}

void hf__opaque_each(const struct hf__segment *seg, const struct hf__live *live,
                     const struct hf__live_block *block,
                     void (*call)(void *user, uint64_t at, uint32_t kind, uint32_t target),
                     void *user)
{
    const uint64_t lead = block->lead_units * UINT64_C(16);
    for (uint64_t at = block->start + lead; at + 8 <= block->start + block->bytes; at += 8) {
        uint64_t word;
        memcpy(&word, seg->base + at, sizeof word);
        if (word == 0 || word == (uint64_t)HF_PTR_NULL)
            continue;
        uint32_t target = hf__live_find(live, word);
        if (target != HF__LIVE_NONE)
            call(user, at, HF_FIELD_REF, target);
        target = hf__live_find(live, at + word);
        if (target != HF__LIVE_NONE)
            call(user, at, HF_FIELD_PTR, target);
    }
}

static void follow(struct reach *reach, const struct hf__type_map *maps,
                   const struct hf__live_block *block)
{
    struct hf__live_object object;
    const bool typed = hf__live_object(reach->seg, block, &object);
    const struct hf__type_record *record = typed ? maps[block->type_id].record : NULL;
    if (record == NULL)
        hf__opaque_each(reach->seg, reach->live, block, reach_word, reach);
    else if (maps[block->type_id].refers)
        (void)hf__refs_each(reach->seg, record, object.elements, object.count, reach_field, reach);
}

static void tell_leak(const struct hf__segment *seg, const struct hf__type_map *maps,
                      const struct hf__live_block *block, struct hf__check *check)
{
    const hf_check_options *options = check->options;
    hf_check_report *report = &check->report;
    const bool is_object = block->kind == HF__BLOCK_OBJECT;
    if (is_object)
        report->leaked_objects++;
    else
        report->leaked_blocks++;
    report->leaked_bytes += block->bytes;
    if (options->on_leak == NULL ||
        report->leaked_objects + report->leaked_blocks > check->findings_max)
        return;
    struct hf__live_object object;
    const bool typed = hf__live_object(seg, block, &object);
    const struct hf__type_record *record = typed ? maps[block->type_id].record : NULL;
    const hf_leak leak = {.type_name = record != NULL ? hf__type_record_name(record)
                                       : is_object    ? ""
                                                      : NULL,
                          .offset = block->start + block->lead_units * UINT64_C(16),
                          .size_bytes = block->bytes,
                          .count = typed ? object.count : 0,
                          .type_version = record != NULL ? record->version : 0};
    options->on_leak(options->user, &leak);
}

void hf__leaks_check(const struct hf__segment *seg, struct hf__live *live, struct hf__check *check)
{
    uint32_t map_count;
    struct hf__type_map *maps = hf__type_maps(seg, &map_count);
    struct reach r = {.seg = seg, .live = live};
    r.stack = malloc((live->count + 1) * sizeof *r.stack);
    if (maps == NULL || r.stack == NULL) {
        check->cancelled = true;
        hf__fail(HF_ENOMEM, "looking for leaks");
        goto out;
    }
    for (uint32_t i = 0; i < live->count && !check->cancelled; i++) {
        if ((live->blocks[i].flags & (HF__LIVE_ROOT | HF__LIVE_UNSOUND)) != 0)
            reach(&r, i);
        while (r.depth > 0) {
            const struct hf__live_block *block = &live->blocks[r.stack[--r.depth]];
            hf__check_step(check, block->bytes);
            follow(&r, maps, block);
        }
    }
    for (size_t i = 0; i < live->count && !check->cancelled; i++) {
        const struct hf__live_block *block = &live->blocks[i];
        if ((block->flags & HF__LIVE_MARKED) == 0 &&
            (block->kind == HF__BLOCK_RAW || block->kind == HF__BLOCK_OBJECT))
            tell_leak(seg, maps, block, check);
    }
out:
    free(r.stack);
    free(maps);
}
