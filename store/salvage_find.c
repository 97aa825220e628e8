/* SPDX-License-Identifier: MIT */
/*
 * salvage_find.c - the objects of a wreck, its types, and what is proved of each
 *
 * One search over the segment (hf__wreck_next) meets blocks and slots in the order of their addresses.
 * Objects and raw memory go into an array, type records into another, by id. What an object's type makes
 * of it is judged afterwards, since the record may lie behind it.
 *
 * Invariants
 *   F1  `found` is sorted by address, and no two entries overlap
 *   F2  intact: everything that says that it is an object, and each of its bytes, is proved; the type's
 *       record has a right check (64 bits), is possible, and so are all records it leads to
 *   F3  an object that can't be read has no size, name or type here
 */
#include "salvage.h"

#include "pool.h"
#include "refs.h"

#include "base/check.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

#define STEP_BYTES (UINT64_C(4) << 20)

static struct hf__found *add(struct hf__wreck *wreck)
{
    if (wreck->found_count == wreck->found_room) {
        const size_t room = wreck->found_room == 0 ? 1024 : wreck->found_room * 2;
        struct hf__found *found = realloc(wreck->found, room * sizeof *found);
        if (found == NULL)
            return NULL;
        wreck->found = found;
        wreck->found_room = room;
    }
    struct hf__found *out = &wreck->found[wreck->found_count++];
    *out = (struct hf__found){.verdict = HF_SALVAGE_INTACT};
    return out;
}

static void degrade(struct hf__found *found, uint8_t verdict, enum hf__why why)
{
    if (verdict > found->verdict) {
        found->verdict = verdict;
        found->why = (uint8_t)why;
    }
}

/* ---- objects --------------------------------------------------------------------------------- */

/* Where the object header is in an OBJECT block or slot, 0 if none can be told. */
static hf_ref header_in(const struct hf__segment *seg, const struct hf__block_info *block,
                        hf_ref *node)
{
    const struct hf__object_header *header = hf__at(seg, block->payload);
    *node = 0;
    if (block->usable_bytes >= sizeof *header && hf__object_header_ok(seg, block->payload) &&
        header->kind == HF_KIND_ANONYMOUS)
        return block->payload;
    if (!hf__index_node_ok(seg, block->payload))
        return 0;
    const uint64_t name_bytes = hf__index_node_at(seg, block->payload)->name_bytes;
    const hf_ref at =
        block->payload + sizeof(struct hf__index_node) + ((name_bytes + 16) & ~UINT64_C(15));
    header = hf__at(seg, at);
    if (at + sizeof *header > block->payload + block->usable_bytes ||
        !hf__object_header_ok(seg, at) || header->kind == HF_KIND_ANONYMOUS ||
        header->name_bytes != name_bytes || name_bytes == 0)
        return 0;
    *node = block->payload;
    return at;
}

static void prove(const struct hf__wreck *wreck, const struct hf__wreck_block *block,
                  uint64_t end, struct hf__found *found)
{
    uint64_t sector = UINT64_MAX;
    enum hf__why why = hf__wreck_proof(wreck, block->proof, block->proof_bytes, &sector);
    if (!block->sound)
        why = HF__WHY_BITMAP;
    if (why == HF__WHY_NOTHING)
        why = hf__wreck_proof(wreck, block->info.payload, end - block->info.payload, &sector);
    if (why != HF__WHY_NOTHING)
        degrade(found, HF_SALVAGE_NOT_PROVED, why);
}

static int add_object(struct hf__wreck *wreck, const struct hf__wreck_block *block)
{
    const struct hf__segment *seg = &wreck->store->seg;
    const hf_ref block_end = block->info.payload + block->info.usable_bytes;
    hf_ref node;
    struct hf__found *found = add(wreck);
    if (found == NULL)
        return hf__fail(HF_ENOMEM, "a note on each object");
    const hf_ref at = header_in(seg, &block->info, &node);
    found->elements = at == 0 ? block->info.payload : at + sizeof(struct hf__object_header);
    if (at == 0) {
        degrade(found, HF_SALVAGE_LOST, HF__WHY_HEADER);
        return 0;
    }
    const struct hf__object_header *header = hf__at(seg, at);
    const struct hf__object object = {.header = at, .node = node};
    found->kind = (uint8_t)header->kind;
    if (header->size_bytes > block_end - found->elements) {
        degrade(found, HF_SALVAGE_LOST, HF__WHY_SIZE);
    } else if (!hf__object_name_ok(seg, &object)) {
        degrade(found, HF_SALVAGE_LOST, HF__WHY_NAME);
    } else {
        found->lead = node == 0 ? 0 : (uint32_t)(found->elements - node);
        found->type_id = header->type_id;
        found->size_bytes = header->size_bytes;
        prove(wreck, block, found->elements + found->size_bytes, found);
    }
    return 0;
}

static int add_raw(struct hf__wreck *wreck, const struct hf__wreck_block *block)
{
    struct hf__found *found = add(wreck);
    if (found == NULL)
        return hf__fail(HF_ENOMEM, "a note on each block");
    found->elements = block->info.payload;
    found->size_bytes = block->info.usable_bytes;
    prove(wreck, block, found->elements + found->size_bytes, found);
    return 0;
}

/* ---- types ----------------------------------------------------------------------------------- */

static bool is_record(const struct hf__segment *seg, const struct hf__block_info *block)
{
    const struct hf__type_record *record = hf__at(seg, block->payload);
    const char *name;
    if (!hf__type_record_fits(seg, record, block->usable_bytes))
        return false;
    name = hf__type_record_name(record);
    return name[record->name_bytes] == '\0' && name[record->text_bytes - 1] == '\0' &&
           strlen(name) == record->name_bytes && hf__type_fields_ok(record);
}

/* Of two records of one id the proved one counts. */
static int add_record(struct hf__wreck *wreck, const struct hf__wreck_block *block)
{
    const struct hf__segment *seg = &wreck->store->seg;
    if (!is_record(seg, &block->info))
        return 0;
    const struct hf__type_record *record = hf__at(seg, block->info.payload);
    const uint32_t id = record->id;
    if (id > wreck->type_max) {
        hf_ref *records = realloc(wreck->records, (id + (size_t)1) * sizeof *records);
        if (records == NULL)
            return hf__fail(HF_ENOMEM, "the types");
        memset(records + wreck->type_max + (wreck->records != NULL), 0,
               (id - wreck->type_max + (wreck->records == NULL)) * sizeof *records);
        wreck->records = records;
        wreck->type_max = id;
    }
    uint64_t sector = UINT64_MAX;
    if (wreck->records[id] == 0 ||
        hf__wreck_proof(wreck, block->info.payload, block->info.usable_bytes, &sector) ==
            HF__WHY_NOTHING)
        wreck->records[id] = block->info.payload;
    return 0;
}

/* A type is whole if its record is there and all types that it leads to are whole. */
static int judge_types(struct hf__wreck *wreck)
{
    bool changed = true;
    if (wreck->type_max == 0)
        return 0;
    wreck->types_whole = calloc(wreck->type_max + (size_t)1, 1);
    if (wreck->types_whole == NULL)
        return hf__fail(HF_ENOMEM, "the types");
    for (uint32_t id = 1; id <= wreck->type_max; id++) {
        wreck->types_whole[id] = wreck->records[id] != 0;
        wreck->report->types += wreck->records[id] != 0;
    }
    while (changed) {
        changed = false;
        for (uint32_t id = 1; id <= wreck->type_max; id++) {
            const struct hf__type_record *record = hf__wreck_type(wreck, id);
            for (uint32_t i = 0; wreck->types_whole[id] && i < record->field_count; i++) {
                const uint32_t target = hf__type_record_fields(record)[i].target_id;
                if (target == 0 ||
                    (target <= wreck->type_max && wreck->types_whole[target]))
                    continue;
                wreck->types_whole[id] = 0;
                changed = true;
            }
        }
    }
    return 0;
}

/* Does the type say the same of the object's size as the object itself, and can it be moved? */
static void judge_typed(const struct hf__wreck *wreck, struct hf__found *found)
{
    const struct hf__type_record *record = hf__wreck_type(wreck, found->type_id);
    const struct hf__object_header *header = hf__found_header(wreck, found);
    uint64_t all;
    if (record != NULL && (__builtin_mul_overflow(header->count, (uint64_t)record->size_bytes,
                                                  &all) ||
                           all != header->size_bytes)) {
        degrade(found, HF_SALVAGE_LOST, HF__WHY_SIZE);
    } else if (record == NULL ? found->type_id != 0 : !wreck->types_whole[found->type_id]) {
        degrade(found, HF_SALVAGE_NOT_PROVED, HF__WHY_TYPE);
        found->type_id = 0; /* it can be no more than bytes */
    } else if (record == NULL && header->count != header->size_bytes) {
        degrade(found, HF_SALVAGE_LOST, HF__WHY_SIZE);
    } else if (record != NULL && found->verdict != HF_SALVAGE_INTACT &&
               strcmp(hf__type_record_name(record), HF__POOL_TYPE) == 0) {
        degrade(found, HF_SALVAGE_LOST, HF__WHY_POOL);
    } else if (found->kind == HF_KIND_UNIQUE &&
               (record == NULL ||
                strcmp(hf__type_record_name(record), hf__found_name(wreck, found)) != 0)) {
        degrade(found, HF_SALVAGE_LOST, HF__WHY_NAME);
    }
}

/* ---- the search ------------------------------------------------------------------------------ */

static bool trusted(const void *user, uint64_t from, uint64_t bytes)
{
    uint64_t sector = UINT64_MAX;
    return hf__wreck_proof(user, from, bytes, &sector) == HF__WHY_NOTHING;
}

static int take(struct hf__wreck *wreck, const struct hf__wreck_block *block)
{
    switch (block->info.kind) {
    case HF__BLOCK_OBJECT:
        return add_object(wreck, block);
    case HF__BLOCK_RAW:
        return add_raw(wreck, block);
    case HF__BLOCK_SYSTEM:
        return add_record(wreck, block);
    default:
        return 0;
    }
}

int hf__wreck_search(struct hf__wreck *wreck)
{
    struct hf__wreck_scan scan = {.trusted = trusted, .user = wreck};
    struct hf__wreck_block block;
    uint64_t told = 0, named = 0;
    int code = 0;
    while (code == 0 && hf__wreck_next(&wreck->store->heap, &scan, &block) == 1) {
        code = take(wreck, &block);
        if (code == 0 && scan.offset - told >= STEP_BYTES) {
            code = hf__wreck_step(wreck, scan.offset - told);
            told = scan.offset;
        }
    }
    if (code == 0)
        code = judge_types(wreck);
    for (size_t i = 0; code == 0 && i < wreck->found_count; i++) {
        struct hf__found *found = &wreck->found[i];
        if (found->kind != 0 && found->verdict != HF_SALVAGE_LOST)
            judge_typed(wreck, found);
        named += found->kind == HF_KIND_NAMED;
    }
    if (code == 0)
        code = hf__wreck_pools(wreck);
    wreck->report->searched_bytes = scan.skipped_bytes;
    wreck->report->missing = wreck->report->missing > named ? wreck->report->missing - named : 0;
    return code;
}
