/* SPDX-License-Identifier: MIT */
/*
 * element.c - one element from its JSON object
 *
 * Invariants:
 *   1. Nothing is written outside the element: fields lie within (the library has registered the
 *      type), arrays and texts are compared with the field's room.
 *   2. A pointer that isn't told is null, whatever zero would mean.
 *   3. Bytes come first, then the fields in their order, so that what is told twice is what the
 *      last field says.
 */
#include "tools/load/object.h"

#include "tools/common/dump_form.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct place {
    unsigned char *at;
    hf_ref ref; /* of the same byte */
};

static void put(unsigned char *at, uint32_t bytes, uint64_t value)
{
    memcpy(at, &value,
           bytes); /* the file is little-endian, and so is every machine that opens one */
}

/* ---- numbers --------------------------------------------------------------------------------- */

static int read_signed(struct load *load, const json_t *value, uint32_t bytes, uint64_t *out)
{
    const int64_t max = bytes == 8 ? INT64_MAX : (INT64_C(1) << (8 * bytes - 1)) - 1;
    int64_t number;

    if (json_is_integer(value)) {
        number = json_integer_value(value);
    } else if (json_is_string(value)) {
        const char *text = json_string_value(value);
        const char *rest = text + (text[0] == '-');
        errno = 0;
        number = strtoll(text, NULL, 10);
        if (rest[0] == '\0' || rest[strspn(rest, "0123456789")] != '\0' || errno != 0)
            return lines_fail(&load->lines, "\"%.40s\" is no whole number of 64 bits", text);
    } else {
        return lines_fail(&load->lines, "a whole number is expected");
    }
    if (number > max || number < -max - 1)
        return lines_fail(&load->lines, "%" PRId64 " does not fit into %" PRIu32 " bits", number,
                          8 * bytes);
    *out = (uint64_t)number;
    return TOOL_OK;
}

static int read_float(struct load *load, const json_t *value, bool is_f64, uint64_t *out)
{
    double number = json_number_value(value);
    float narrow = (float)number;
    uint32_t bits;

    if (json_is_string(value)) {
        if (!dump_read_special(json_string_value(value), is_f64, out))
            return lines_fail(&load->lines, "\"%.40s\" is neither inf, -inf, nan nor nan:BITS",
                              json_string_value(value));
        return TOOL_OK;
    }
    if (!json_is_number(value))
        return lines_fail(&load->lines, "a number is expected");
    if (is_f64) {
        memcpy(out, &number, sizeof number);
        return TOOL_OK;
    }
    memcpy(&bits, &narrow, sizeof bits);
    *out = bits;
    return TOOL_OK;
}

static int load_number(struct load *load, const json_t *value, uint32_t kind, unsigned char *at)
{
    const uint32_t bytes = dump_kind_bytes(kind);
    const uint64_t max = bytes == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * bytes) - 1;
    uint64_t number = 0;
    int code;

    if (kind == HF_FIELD_F32 || kind == HF_FIELD_F64)
        code = read_float(load, value, kind == HF_FIELD_F64, &number);
    else if (kind >= HF_FIELD_I8)
        code = read_signed(load, value, bytes, &number);
    else
        code = lines_value_u64(&load->lines, value, max, &number);
    if (code == TOOL_OK)
        put(at, bytes, number);
    return code;
}

/* ---- pointers -------------------------------------------------------------------------------- */

static int read_target(struct load *load, const json_t *value, uint64_t *id, uint64_t *offset)
{
    const json_t *ref = json_object_get(value, "ref"), *middle = json_object_get(value, "offset");
    int code;

    if (ref == NULL || json_object_size(value) != (middle == NULL ? 1 : 2))
        return lines_fail(&load->lines, "null or {\"ref\":OBJECT,\"offset\":BYTES} is expected");
    code = lines_value_u64(&load->lines, ref, INT64_MAX, id);
    if (code == TOOL_OK && middle != NULL)
        code = lines_value_u64(&load->lines, middle, INT64_MAX, offset);
    if (code == TOOL_OK && *id == 0)
        code = lines_fail(&load->lines, "objects are numbered from 1 on");
    return code;
}

static int fail_offset(struct load *load, uint64_t id, uint64_t offset, uint64_t size_bytes)
{
    return lines_fail(&load->lines,
                      "byte %" PRIu64 " of object %" PRIu64 ", which has only %" PRIu64, offset, id,
                      size_bytes);
}

static uint64_t encoded(hf_ref at, uint32_t kind, hf_ref target)
{
    return kind == HF_FIELD_REF ? target : target - at;
}

/* Its target was destroyed between two batches: it stays null. */
static void lose_pointer(struct load *load)
{
    load->pointers--;
    load->dangling++;
}

static int load_pointer(struct load *load, const json_t *value, uint32_t kind, struct place place)
{
    const bool dangling =
        json_is_true(json_object_get(value, "dangling")) && json_object_size(value) == 1;
    const struct id_entry *entry;
    uint64_t id = 0, offset = 0;
    int code;

    put(place.at, sizeof(uint64_t), kind == HF_FIELD_REF ? 0 : (uint64_t)HF_PTR_NULL);
    load->dangling += dangling;
    if (json_is_null(value) || dangling)
        return TOOL_OK;
    code = read_target(load, value, &id, &offset);
    if (code != TOOL_OK)
        return code;
    load->pointers++;
    entry = ids_find(&load->ids, id);
    if (entry == NULL) {
        struct fixup fixup = {place.ref, id, offset, load->lines.number, load->current.id, kind};
        if (fixups_add(&load->fixups, fixup) != 0)
            return tool_fail_os(load->tool, ENOMEM, load->lines.path, NULL);
        return TOOL_OK;
    }
    if (offset > entry->size_bytes)
        return fail_offset(load, id, offset, entry->size_bytes);
    if (!load_still_there(load, entry)) {
        lose_pointer(load);
        return TOOL_OK;
    }
    put(place.at, sizeof(uint64_t), encoded(place.ref, kind, entry->ref + offset));
    return TOOL_OK;
}

static int set_later(struct load *load, const struct fixup *fixup, const struct id_entry *target)
{
    const struct id_entry *holder = ids_find(&load->ids, fixup->holder);
    unsigned char *at;

    if (!load_still_there(load, holder)) {
        load->pointers--; /* gone with it */
        return TOOL_OK;
    }
    if (!load_still_there(load, target)) {
        lose_pointer(load);
        return TOOL_OK;
    }
    at = hf_edit(load->target.txn, hf_at(load->target.view, fixup->at), sizeof(uint64_t));
    if (at == NULL)
        return tool_fail_store(load->tool, load->target.path, hf_last_error()->code);
    put(at, sizeof(uint64_t), encoded(fixup->at, fixup->kind, target->ref + fixup->offset));
    return TOOL_OK;
}

int load_pointers(struct load *load)
{
    load->lines.element = load->lines.entry = -1;
    load->lines.key = NULL;
    for (size_t i = 0; i < load->fixups.count; i++) {
        const struct fixup *fixup = &load->fixups.fixups[i];
        const struct id_entry *entry = ids_find(&load->ids, fixup->id);
        bool committed;
        int code;

        load->lines.number = fixup->line;
        if (entry == NULL)
            return lines_fail(&load->lines,
                              "refers to object %" PRIu64 ", which is not in the dump", fixup->id);
        if (fixup->offset > entry->size_bytes)
            return fail_offset(load, fixup->id, fixup->offset, entry->size_bytes);
        code = set_later(load, fixup, entry);
        if (code == TOOL_OK)
            code = target_step(&load->target, 0, 256, &committed);
        if (code != TOOL_OK)
            return code;
    }
    return TOOL_OK;
}

/* ---- fields ---------------------------------------------------------------------------------- */

static int load_text(struct load *load, const json_t *value, uint32_t room, unsigned char *at)
{
    size_t length = 0;
    char *text = NULL;
    int code = lines_value_text(&load->lines, value, &text, &length);

    if (code == TOOL_OK && length > room)
        code = lines_fail(&load->lines, "%zu bytes of text, where %" PRIu32 " have room", length,
                          room);
    if (code == TOOL_OK)
        memcpy(at, text, length);
    free(text);
    return code;
}

static int load_base64(struct load *load, const json_t *value, size_t room, unsigned char *at)
{
    if (!json_is_string(value))
        return lines_fail(&load->lines, "a string of base64 is expected");
    if (dump_read_base64(json_string_value(value), json_string_length(value), at, room) < 0)
        return lines_fail(&load->lines, "no base64 of at most %zu bytes", room);
    return TOOL_OK;
}

static int load_entry(struct load *load, const struct load_field *field, const json_t *value,
                      struct place place)
{
    if (field->kind <= HF_FIELD_PTR)
        return load_pointer(load, value, field->kind, place);
    return load_number(load, value, field->kind, place.at);
}

static int load_field(struct load *load, const struct load_field *field, const json_t *value,
                      struct place place)
{
    const uint32_t bytes = dump_kind_bytes(field->kind);
    int code = TOOL_OK;

    if (field->kind == HF_FIELD_TEXT)
        return load_text(load, value, field->times, place.at);
    if (field->kind == HF_FIELD_BYTES)
        return load_base64(load, value, field->times, place.at);
    if (field->times == 1 && !field->counted)
        return load_entry(load, field, value, place);
    if (!json_is_array(value))
        return lines_fail(&load->lines, "an array is expected");
    if (json_array_size(value) > field->times)
        return lines_fail(&load->lines, "%zu entries, where %" PRIu32 " have room",
                          json_array_size(value), field->times);
    for (size_t i = 0; i < json_array_size(value) && code == TOOL_OK; i++) {
        load->lines.entry = (int64_t)i;
        code = load_entry(load, field, json_array_get(value, i),
                          (struct place){place.at + i * bytes, place.ref + i * bytes});
    }
    load->lines.entry = -1;
    return code;
}

/* [[offset, base64], ...] */
static int load_other_bytes(struct load *load, const json_t *regions, unsigned char *at)
{
    const size_t size = load->type->type.size_bytes;
    int code = TOOL_OK;

    load->lines.key = DUMP_KEY_BYTES;
    if (!json_is_array(regions))
        return lines_fail(&load->lines, "an array is expected");
    for (size_t i = 0; i < json_array_size(regions) && code == TOOL_OK; i++) {
        const json_t *region = json_array_get(regions, i);
        uint64_t offset = 0;
        load->lines.entry = (int64_t)i;
        if (json_array_size(region) != 2)
            return lines_fail(&load->lines, "[OFFSET,BASE64] is expected");
        code = lines_value_u64(&load->lines, json_array_get(region, 0), size, &offset);
        if (code == TOOL_OK)
            code = load_base64(load, json_array_get(region, 1), size - offset, at + offset);
    }
    load->lines.entry = -1;
    return code;
}

/* A self-relative pointer's null isn't zero. */
static void set_nulls(const struct load_type *type, unsigned char *at)
{
    for (size_t i = 0; i < type->type.ref_count; i++) {
        const struct load_field *field = &type->fields[i];
        for (uint32_t k = 0; field->kind == HF_FIELD_PTR && k < field->times; k++)
            put(at + field->offset + k * sizeof(uint64_t), sizeof(uint64_t), (uint64_t)HF_PTR_NULL);
    }
}

/* Some member is none of the fields: which? */
static int fail_member(struct load *load, const json_t *element)
{
    const struct load_type *type = load->type;
    void *member;

    for (member = json_object_iter((json_t *)(uintptr_t)element); member != NULL;
         member = json_object_iter_next((json_t *)(uintptr_t)element, member)) {
        const char *key = json_object_iter_key(member);
        bool found = strcmp(key, DUMP_KEY_BYTES) == 0;
        for (size_t i = 0; i < type->type.ref_count && !found; i++)
            found = strcmp(type->fields[i].key, key) == 0;
        if (!found)
            return lines_fail(&load->lines, "type '%.80s' has no field \"%.80s\"", type->type.name,
                              key);
    }
    return TOOL_OK;
}

int load_element(struct load *load, const json_t *element, unsigned char *at, hf_ref ref)
{
    const struct load_type *type = load->type;
    const json_t *regions = json_object_get(element, DUMP_KEY_BYTES);
    size_t told = regions != NULL;
    int code = TOOL_OK;

    if (!json_is_object(element))
        return lines_fail(&load->lines, "an object is expected");
    set_nulls(type, at);
    if (regions != NULL)
        code = load_other_bytes(load, regions, at);
    for (size_t i = 0; i < type->type.ref_count && code == TOOL_OK; i++) {
        const struct load_field *field = &type->fields[i];
        const json_t *value = json_object_get(element, field->key);
        if (value == NULL)
            continue;
        told++;
        load->lines.key = field->key;
        code =
            load_field(load, field, value, (struct place){at + field->offset, ref + field->offset});
    }
    load->lines.key = NULL;
    if (code == TOOL_OK && told != json_object_size(element))
        code = fail_member(load, element);
    return code;
}
