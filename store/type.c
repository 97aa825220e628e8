/* SPDX-License-Identifier: MIT */
/*
 * type.c - the store's own copies of the type descriptors its objects were made with
 *
 * A type is a record in a SYSTEM block: sizes, version, pointer fields with the ids of their
 * targets, name. The type table, an array of refs in another SYSTEM block, gives a type's record by
 * id; ids count from 1 and are never reused. Records are never changed or freed (but by an abort),
 * so an object's type can always be told.
 *
 * Types refer to each other, also in circles: a registration first gives ids to every new type it
 * can reach, then writes the records. It is all or nothing through a savepoint of the caller's.
 */
#include "refs.h"
#include "store.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

#define TABLE_FIRST 16u
#define REACH_MAX   4096u /* types one descriptor may reach */

/* ---- descriptors ----------------------------------------------------------------------------- */

static uint32_t align_of(const hf_type *type)
{
    return type->align_bytes == 0 ? 16 : type->align_bytes;
}

/* The name, and behind it those of the fields. */
static uint64_t text_bytes_of(const hf_type *type)
{
    const char *end = type->name + strlen(type->name) + 1;
    if ((type->flags & HF_TYPE_FIELD_NAMES) != 0)
        for (size_t i = 0; i < type->ref_count; i++)
            end += strlen(end) + 1;
    return (uint64_t)(end - type->name);
}

int hf__type_descriptor_check(const hf_type *type)
{
    size_t name_bytes = type->name == NULL ? 0 : strnlen(type->name, HF_NAME_BYTES_MAX + 1);
    uint32_t align = align_of(type);
    if (name_bytes == 0 || name_bytes > HF_NAME_BYTES_MAX)
        return hf__fail(HF_ENAME, "a type's name has 1 to %d bytes", HF_NAME_BYTES_MAX);
    if (type->size_bytes == 0 || (align & (align - 1)) != 0 || align > HF_ALIGN_BYTES_MAX ||
        (type->flags & ~(uint32_t)(HF_TYPE_BLOB | HF_TYPE_FIELD_NAMES)) != 0 ||
        type->ref_count > HF__TYPE_FIELDS_MAX || (type->ref_count != 0 && type->refs == NULL))
        return hf__fail(HF_ETYPE, "the descriptor of '%.64s' makes no sense", type->name);
    for (size_t i = 0; i < type->ref_count; i++) {
        const hf_field *field = &type->refs[i];
        const bool refers = hf__field_refers(field->kind);
        if (!hf__field_fits(field->offset, field->kind, type->size_bytes) ||
            (refers && (type->flags & HF_TYPE_BLOB) != 0) || (!refers && field->target != NULL) ||
            (i == 0 ? (field->kind & HF_FIELD_COUNTED) != 0
                    : !hf__field_count_ok(field->kind, type->refs[i - 1].kind)))
            return hf__fail(HF_ETYPE, "field %zu of '%.64s' makes no sense", i, type->name);
        if (field->target != NULL && field->target->name == NULL)
            return hf__fail(HF_ENAME, "the target of field %zu of '%.64s' has no name", i,
                            type->name);
    }
    if (text_bytes_of(type) > HF__TYPE_TEXT_MAX)
        return hf__fail(HF_ENAME, "the field names of '%.64s' are too long", type->name);
    return 0;
}

/* ---- records --------------------------------------------------------------------------------- */

static uint64_t record_bytes(uint64_t field_count, uint64_t text_bytes)
{
    return sizeof(struct hf__type_record) + field_count * sizeof(struct hf__type_field) +
           text_bytes;
}

uint64_t hf__type_record_check(const struct hf__segment *seg, const struct hf__type_record *record)
{
    struct hf__type_record head = *record;
    head.check = 0;
    uint64_t rest = record_bytes(record->field_count, record->text_bytes) - sizeof *record;
    return hf__hash(record + 1, rest, hf__hash(&head, sizeof head, seg->salt));
}

bool hf__type_record_fits(const struct hf__segment *seg, const struct hf__type_record *record,
                          uint64_t room)
{
    return room >= sizeof *record && record->magic == HF__TYPE_MAGIC &&
           record->field_count <= HF__TYPE_FIELDS_MAX && record->name_bytes != 0 &&
           record->name_bytes <= HF_NAME_BYTES_MAX && record->id != 0 &&
           record->id <= HF__TYPES_MAX && record->size_bytes != 0 &&
           record->text_bytes > record->name_bytes &&
           record->text_bytes <= HF__TYPE_TEXT_MAX &&
           record_bytes(record->field_count, record->text_bytes) <= room &&
           record->check == hf__type_record_check(seg, record);
}

const struct hf__type_record *hf__type_record(const struct hf__segment *seg, uint32_t id,
                                              bool verify)
{
    const struct hf__segment_header *header = hf__segment_header(seg);
    if (id == 0 || id > header->type_count || id > HF__TYPES_MAX || header->type_table % 16 != 0 ||
        !hf__in_segment(seg, header->type_table, (uint64_t)header->type_count * sizeof(hf_ref)))
        return NULL;
    hf_ref at = ((const hf_ref *)hf__at(seg, header->type_table))[id - 1];
    if (at % 16 != 0 || !hf__in_segment(seg, at, sizeof(struct hf__type_record)))
        return NULL;
    const struct hf__type_record *record = hf__at(seg, at);
    if (record->magic != HF__TYPE_MAGIC || record->id != id ||
        record->field_count > HF__TYPE_FIELDS_MAX || record->name_bytes > HF_NAME_BYTES_MAX ||
        record->name_bytes == 0 || record->size_bytes == 0 || /* people divide by it */
        record->text_bytes <= record->name_bytes ||
        record->text_bytes > HF__TYPE_TEXT_MAX ||
        !hf__in_segment(seg, at, record_bytes(record->field_count, record->text_bytes)) ||
        hf__type_record_name(record)[record->name_bytes] != '\0' ||
        hf__type_record_name(record)[record->text_bytes - 1] != '\0')
        return NULL;
    if (verify && record->check != hf__type_record_check(seg, record))
        return NULL;
    return record;
}

static bool same_name(const struct hf__type_record *record, const hf_type *type)
{
    return record->version == type->version &&
           strcmp(hf__type_record_name(record), type->name) == 0;
}

/* An array of one entry is a plain field. */
static bool same_kind(uint32_t a, uint32_t b)
{
    return (a & 0xffu) == (b & 0xffu) && HF_FIELD_TIMES(a) == HF_FIELD_TIMES(b);
}

static bool same_shape(const struct hf__segment *seg, const struct hf__type_record *record,
                       const hf_type *type)
{
    if (record->size_bytes != type->size_bytes || record->align_bytes != align_of(type) ||
        record->flags != type->flags || record->field_count != type->ref_count)
        return false;
    if ((type->flags & HF_TYPE_FIELD_NAMES) != 0 &&
        (text_bytes_of(type) != record->text_bytes ||
         memcmp(hf__type_record_name(record), type->name, record->text_bytes) != 0))
        return false;
    for (size_t i = 0; i < type->ref_count; i++) {
        const struct hf__type_field *have = &hf__type_record_fields(record)[i];
        const hf_field *want = &type->refs[i];
        const struct hf__type_record *target = hf__type_record(seg, have->target_id, false);
        if (have->offset != want->offset || !same_kind(have->kind, want->kind))
            return false;
        if (want->target == NULL ? have->target_id != 0
                                 : target == NULL || !same_name(target, want->target))
            return false;
    }
    return true;
}

/* The place in the handle's memory of ids. It is only a guess: the record there is compared. */
static uint32_t *guess_of(hf_store *store, const hf_type *type)
{
    uint64_t hash = hf__hash(type->name, strlen(type->name), type->version);
    return &store->type_ids[hash % HF__TYPE_IDS];
}

int hf__type_find(hf_store *store, const hf_type *type, uint32_t *out_id)
{
    const struct hf__segment *seg = &store->seg;
    const uint32_t count = hf__segment_header(seg)->type_count;
    uint32_t *guess = guess_of(store, type), id = *guess;
    const struct hf__type_record *record = hf__type_record(seg, id, false);
    if (record == NULL || !same_name(record, type)) {
        for (id = 1; id <= count; id++) {
            record = hf__type_record(seg, id, false);
            if (record == NULL)
                return hf__corrupt("type.record", hf__segment_header(seg)->type_table);
            if (same_name(record, type))
                break;
        }
        if (id > count)
            return HF_ENOTFOUND;
        *guess = id;
    }
    if (!same_shape(seg, record, type))
        return hf__fail(HF_ETYPE, "'%.64s' version %u was registered differently", type->name,
                        type->version);
    *out_id = id;
    return 0;
}

bool hf__type_matches(const struct hf__segment *seg, uint32_t id, const hf_type *type)
{
    if (type == NULL)
        return true;
    const struct hf__type_record *record = hf__type_record(seg, id, false);
    return record != NULL && same_name(record, type) && same_shape(seg, record, type);
}

/* ---- registering ----------------------------------------------------------------------------- */

/* New types that a registration reaches, in the order of their ids. */
struct reach {
    const hf_type *types[REACH_MAX];
    uint32_t count, first_id;
};

static bool same_descriptor_name(const hf_type *a, const hf_type *b)
{
    return a == b || (a->version == b->version && strcmp(a->name, b->name) == 0);
}

/* The id of a type, registered before or about to be; new ones join the reach. */
static int id_of(hf_store *store, struct reach *reach, const hf_type *type, uint32_t *out)
{
    for (uint32_t i = 0; i < reach->count; i++)
        if (same_descriptor_name(reach->types[i], type)) {
            *out = reach->first_id + i;
            return 0;
        }
    int code = hf__type_descriptor_check(type);
    if (code == 0)
        code = hf__type_find(store, type, out);
    if (code != HF_ENOTFOUND)
        return code;
    if (reach->count == REACH_MAX || reach->first_id + reach->count > HF__TYPES_MAX)
        return hf__fail(HF_ETYPE, "too many types");
    *out = reach->first_id + reach->count;
    reach->types[reach->count++] = type;
    return 0;
}

static int grow_table(hf_txn *txn, uint32_t count)
{
    struct hf__segment *seg = &txn->store->seg;
    const struct hf__segment_header *header = hf__segment_header(seg);
    uint32_t capacity = header->type_capacity;
    hf_ref old = header->type_table, table;
    if (header->type_count > capacity || capacity > 2 * HF__TYPES_MAX || old % 16 != 0 ||
        (old == 0) != (capacity == 0) ||
        !hf__in_segment(seg, old, (uint64_t)capacity * sizeof(hf_ref)))
        return hf__corrupt("type.table", offsetof(struct hf__segment_header, type_table));
    if (count <= capacity)
        return 0;
    capacity = capacity == 0 ? TABLE_FIRST : capacity;
    while (capacity < count)
        capacity *= 2;
    int code = hf__reserve(seg, 2 * HF__OP_COST + HF__EDIT_COST(sizeof *header));
    if (code == 0)
        code = seg->door->allocate(seg, (uint64_t)capacity * sizeof(hf_ref), &table);
    if (code == 0 && old != 0)
        code = seg->door->release(seg, old);
    if (code != 0)
        return code;
    hf__txn_fresh(txn, table, (uint64_t)capacity * sizeof(hf_ref));
    memset(seg->base + table, 0, (size_t)capacity * sizeof(hf_ref));
    memcpy(seg->base + table, seg->base + old, (size_t)header->type_count * sizeof(hf_ref));
    struct hf__segment_header *edit = hf__edit(seg, 0, HF__LINE_BYTES); /* its first line */
    edit->type_table = table;
    edit->type_capacity = capacity;
    return 0;
}

/* Writes the record of a new type and enters it in the table. */
static int write_record(hf_txn *txn, struct reach *reach, uint32_t place)
{
    struct hf__segment *seg = &txn->store->seg;
    const hf_type *type = reach->types[place];
    const uint64_t name_bytes = strlen(type->name);
    const uint64_t text_bytes = text_bytes_of(type);
    const uint64_t bytes = record_bytes(type->ref_count, text_bytes);
    hf_ref at;
    int code = hf__reserve(seg, 2 * HF__OP_COST);
    if (code == 0)
        code = seg->door->allocate(seg, bytes, &at);
    if (code != 0)
        return code;
    hf__txn_fresh(txn, at, bytes);
    struct hf__type_record *record = (struct hf__type_record *)(seg->base + at);
    struct hf__type_field *fields = (struct hf__type_field *)(record + 1);
    *record = (struct hf__type_record){.magic = HF__TYPE_MAGIC,
                                       .id = reach->first_id + place,
                                       .version = type->version,
                                       .size_bytes = type->size_bytes,
                                       .align_bytes = align_of(type),
                                       .flags = type->flags,
                                       .field_count = (uint32_t)type->ref_count,
                                       .name_bytes = (uint32_t)name_bytes,
                                       .text_bytes = (uint32_t)text_bytes};
    for (size_t i = 0; i < type->ref_count; i++) {
        fields[i] = (struct hf__type_field){type->refs[i].offset, type->refs[i].kind, 0, 0};
        if (type->refs[i].target != NULL)
            code = id_of(txn->store, reach, type->refs[i].target, &fields[i].target_id);
        if (code != 0)
            return code;
    }
    memcpy(fields + type->ref_count, type->name, (size_t)text_bytes);
    record->check = hf__type_record_check(seg, record);
    code = grow_table(txn, record->id);
    if (code == 0)
        code = hf__reserve(seg, 2 * HF__EDIT_COST(sizeof(hf_ref)));
    if (code != 0)
        return code;
    hf_ref table = hf__segment_header(seg)->type_table;
    hf_ref *entry = hf__edit(seg, table + (record->id - 1) * sizeof(hf_ref), sizeof(hf_ref));
    *entry = at;
    uint32_t *count = hf__edit(seg, offsetof(struct hf__segment_header, type_count), 4);
    *count = record->id;
    return 0;
}

int hf__type_register(hf_txn *txn, const hf_type *type, uint32_t *out_id)
{
    struct hf__segment *seg = &txn->store->seg;
    int code = hf__type_find(txn->store, type, out_id);
    if (code != HF_ENOTFOUND)
        return code;
    struct reach *reach = malloc(sizeof *reach);
    if (reach == NULL)
        return hf__fail(HF_ENOMEM, "registering a type");
    reach->count = 0;
    reach->first_id = hf__segment_header(seg)->type_count + 1;
    code = id_of(txn->store, reach, type, out_id);
    /* Writing a record may reach further types: the loop's end moves. */
    for (uint32_t i = 0; code == 0 && i < reach->count; i++)
        code = write_record(txn, reach, i);
    free(reach);
    return code;
}

/* ---- iteration ------------------------------------------------------------------------------- */

int hf_next_type(hf_view *view, hf_cursor *cursor, hf_type_info *out)
{
    int code = hf__view_usable(view);
    if (code == 0)
        code = hf__cursor_usable(cursor, out);
    if (code != 0)
        return code;
    const uint32_t count = hf__segment_header(view->seg)->type_count;
    if (cursor->opaque[0] >= count)
        return 0;
    uint32_t id = (uint32_t)cursor->opaque[0] + 1;
    const struct hf__type_record *record = hf__type_record(view->seg, id, false);
    if (record == NULL)
        return hf__corrupt("type.record", hf__segment_header(view->seg)->type_table);
    cursor->opaque[0] = id;
    *out = (hf_type_info){.name = hf__type_record_name(record),
                          .version = record->version,
                          .size_bytes = record->size_bytes,
                          .align_bytes = record->align_bytes,
                          .flags = record->flags,
                          .ref_count = record->field_count,
                          .id = id};
    return 1;
}

int hf_next_field(hf_view *view, uint32_t type_id, hf_cursor *cursor, hf_field_info *out)
{
    int code = hf__view_usable(view);
    if (code == 0)
        code = hf__cursor_usable(cursor, out);
    if (code != 0)
        return code;
    if (type_id == 0 || type_id > hf__segment_header(view->seg)->type_count)
        return hf__fail(HF_ENOTFOUND, "no type has id %u", type_id);
    const struct hf__type_record *record = hf__type_record(view->seg, type_id, false);
    if (record == NULL || !hf__type_fields_ok(record))
        return hf__corrupt("type.record", hf__segment_header(view->seg)->type_table);
    if (cursor->opaque[0] >= record->field_count)
        return 0;
    const uint32_t i = (uint32_t)cursor->opaque[0]++;
    const struct hf__type_field *field = &hf__type_record_fields(record)[i];
    const struct hf__type_record *target = hf__type_record(view->seg, field->target_id, false);
    *out = (hf_field_info){.name = hf__type_field_name(record, i),
                           .target_name = target == NULL ? NULL : hf__type_record_name(target),
                           .offset = field->offset,
                           .kind = HF_FIELD_KIND(field->kind),
                           .times = HF_FIELD_TIMES(field->kind),
                           .entry_bytes = hf__field_bytes(field->kind),
                           .target_version = target == NULL ? 0 : target->version,
                           .target_id = target == NULL ? 0 : field->target_id,
                           .counted = (field->kind & HF_FIELD_COUNTED) != 0};
    return 1;
}
