/* SPDX-License-Identifier: MIT */
/*
 * refs.c - fields of types, and the pointers among them
 *
 * Invariants
 *   F1  a field with all its entries lies within an element (hf__field_fits), so who has an element in
 *       the segment may read each of its fields
 *   F2  a counted field comes behind a single unsigned number; entries beyond that number are never
 *       looked at, and a number beyond the entries means all of them
 */
#include "refs.h"

#include <string.h>

uint32_t hf__field_bytes(uint32_t kind)
{
    switch (HF_FIELD_KIND(kind)) {
    case HF_FIELD_U8:
    case HF_FIELD_I8:
    case HF_FIELD_TEXT:
    case HF_FIELD_BYTES:
        return 1;
    case HF_FIELD_U16:
    case HF_FIELD_I16:
        return 2;
    case HF_FIELD_U32:
    case HF_FIELD_I32:
    case HF_FIELD_F32:
        return 4;
    default:
        return 8;
    }
}

bool hf__field_fits(uint32_t offset, uint32_t kind, uint32_t size_bytes)
{
    const uint64_t bytes = (uint64_t)hf__field_bytes(kind) * HF_FIELD_TIMES(kind);
    return HF_FIELD_KIND(kind) <= HF_FIELD_BYTES && offset <= size_bytes &&
           bytes <= size_bytes - offset;
}

bool hf__field_count_ok(uint32_t kind, uint32_t kind_before)
{
    const uint32_t before = HF_FIELD_KIND(kind_before);
    return (kind & HF_FIELD_COUNTED) == 0 ||
           (before >= HF_FIELD_U8 && before <= HF_FIELD_U64 && HF_FIELD_TIMES(kind_before) == 1 &&
            (kind_before & HF_FIELD_COUNTED) == 0);
}

const char *hf__type_field_name(const struct hf__type_record *record, uint32_t i)
{
    const char *text = (const char *)(hf__type_record_fields(record) + record->field_count);
    const char *end = text + record->text_bytes;
    if ((record->flags & HF_TYPE_FIELD_NAMES) == 0 || i >= record->field_count)
        return NULL;
    text += record->name_bytes + 1;
    while (i-- > 0 && text < end)
        text += strlen(text) + 1; /* the last byte of all is a NUL */
    return text < end ? text : NULL;
}

static uint64_t number_at(const unsigned char *at, uint32_t kind)
{
    uint64_t value = 0;
    memcpy(&value, at, hf__field_bytes(kind)); /* the file is little-endian, and so are we */
    return value;
}

uint32_t hf__field_times(const struct hf__type_record *record, uint32_t i,
                         const unsigned char *element)
{
    const struct hf__type_field *field = &hf__type_record_fields(record)[i];
    const uint32_t times = HF_FIELD_TIMES(field->kind);
    if ((field->kind & HF_FIELD_COUNTED) == 0 || i == 0)
        return times;
    const uint64_t count = number_at(element + field[-1].offset, field[-1].kind);
    return count < times ? (uint32_t)count : times;
}

bool hf__type_fields_ok(const struct hf__type_record *record)
{
    const struct hf__type_field *fields = hf__type_record_fields(record);
    for (uint32_t i = 0; i < record->field_count; i++)
        if (!hf__field_fits(fields[i].offset, fields[i].kind, record->size_bytes) ||
            (i == 0 ? (fields[i].kind & HF_FIELD_COUNTED) != 0
                    : !hf__field_count_ok(fields[i].kind, fields[i - 1].kind)))
            return false;
    return true;
}

hf_ref hf__ref_read(const struct hf__segment *seg, uint64_t at, uint32_t kind)
{
    uint64_t value;
    memcpy(&value, seg->base + at, sizeof value);
    if (kind == HF_FIELD_REF)
        return value;
    return value == (uint64_t)HF_PTR_NULL ? 0 : at + value;
}

uint64_t hf__ref_encode(uint64_t at, uint32_t kind, hf_ref target)
{
    if (kind == HF_FIELD_REF)
        return target;
    return target == 0 ? (uint64_t)HF_PTR_NULL : target - at;
}

int hf__refs_each(const struct hf__segment *seg, const struct hf__type_record *record,
                  hf_ref elements, uint64_t count,
                  int (*call)(void *user, const struct hf__ref_field *field), void *user)
{
    const struct hf__type_field *fields = hf__type_record_fields(record);
    bool any = false;
    for (uint32_t i = 0; i < record->field_count; i++)
        any |= hf__field_refers(fields[i].kind);
    for (uint64_t e = 0; any && e < count; e++) {
        const uint64_t element = elements + e * record->size_bytes;
        for (uint32_t i = 0; i < record->field_count; i++) {
            if (!hf__field_refers(fields[i].kind))
                continue;
            const uint32_t times = hf__field_times(record, i, seg->base + element);
            struct hf__ref_field field = {element + fields[i].offset, HF_FIELD_KIND(fields[i].kind),
                                          fields[i].target_id, i, 0};
            for (; field.entry < times; field.entry++, field.at += sizeof(uint64_t)) {
                int code = call(user, &field);
                if (code != 0)
                    return code;
            }
        }
    }
    return 0;
}
