/* SPDX-License-Identifier: MIT */
/*
 * types.c - the store's types
 *
 * Invariants:
 *   1. Types are numbered by name and version, so that two stores with the same types give the same
 *      numbers, in whatever order they were registered.
 *   2. The keys of a type's fields differ: a name that is taken, or none, is replaced by "#" and
 *      the field's place.
 *   3. Each byte of an element lies in a field, or in a gap.
 */
#include "tools/dump/types.h"

#include "tools/common/dump_form.h"
#include "tools/dump/print.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int compare_types(const void *a, const void *b)
{
    const struct dump_type *left = a, *right = b;
    int order = strcmp(left->info.name, right->info.name);

    if (order != 0)
        return order;
    return left->info.version < right->info.version ? -1 : left->info.version > right->info.version;
}

static int read_infos(struct dump_types *types, hf_view *view)
{
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_type_info info;
    size_t room = 0;
    int more;

    while ((more = hf_next_type(view, &cursor, &info)) == 1) {
        if (types->count == room) {
            struct dump_type *larger;
            room = room == 0 ? 16 : 2 * room;
            larger = realloc(types->types, room * sizeof *larger);
            if (larger == NULL)
                return HF_ENOMEM;
            types->types = larger;
        }
        types->types[types->count++] = (struct dump_type){.info = info};
    }
    return more;
}

/* Ids count from 1 without gaps, so that count tells the largest. */
static int number_types(struct dump_types *types)
{
    types->numbers = calloc((size_t)types->count + 1, sizeof *types->numbers);
    if (types->numbers == NULL)
        return HF_ENOMEM;
    if (types->count > 1)
        qsort(types->types, types->count, sizeof *types->types, compare_types);
    for (uint32_t i = 0; i < types->count; i++)
        if (types->types[i].info.id <= types->count)
            types->numbers[types->types[i].info.id] = i + 1;
    return 0;
}

static bool key_is_taken(const struct dump_type *type, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (type->fields[i].key[0] == '\0' && strcmp(type->fields[i].info.name, key) == 0)
            return true;
    return false;
}

static int read_fields(struct dump_types *types, struct dump_type *type, hf_view *view)
{
    hf_cursor cursor = HF_CURSOR_INIT;
    size_t count = 0;
    int more = 0;

    type->fields = calloc((size_t)type->info.ref_count + 1, sizeof *type->fields);
    if (type->fields == NULL)
        return HF_ENOMEM;
    for (; count < type->info.ref_count; count++) {
        struct dump_field *field = &type->fields[count];
        more = hf_next_field(view, type->info.id, &cursor, &field->info);
        if (more != 1)
            return more == 0 ? HF_ECORRUPT : more;
        field->target = dump_type_number(types, field->info.target_id);
        if (!dump_key_from_name(field->info.name) || key_is_taken(type, count, field->info.name))
            snprintf(field->key, sizeof field->key, "#%zu", count);
    }
    return 0;
}

static int compare_gaps(const void *a, const void *b)
{
    const struct dump_gap *left = a, *right = b;
    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

/* The gaps are what is left between the fields, in order of their offsets. */
static int find_gaps(struct dump_type *type)
{
    const size_t count = type->info.ref_count;
    struct dump_gap *fields = calloc(count + 1, sizeof *fields);
    uint32_t end = 0;

    type->gaps = calloc(count + 1, sizeof *type->gaps);
    if (fields == NULL || type->gaps == NULL) {
        free(fields);
        return HF_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const hf_field_info *info = &type->fields[i].info;
        fields[i] = (struct dump_gap){info->offset, info->times * info->entry_bytes};
    }
    qsort(fields, count, sizeof *fields, compare_gaps);
    for (size_t i = 0; i < count; i++) {
        if (fields[i].offset > end)
            type->gaps[type->gap_count++] = (struct dump_gap){end, fields[i].offset - end};
        if (fields[i].offset + fields[i].size_bytes > end)
            end = fields[i].offset + fields[i].size_bytes;
    }
    if (end < type->info.size_bytes)
        type->gaps[type->gap_count++] = (struct dump_gap){end, type->info.size_bytes - end};
    free(fields);
    return 0;
}

int dump_types_read(struct dump_types *types, hf_view *view)
{
    int code = read_infos(types, view);

    if (code == 0)
        code = number_types(types);
    for (uint32_t i = 0; i < types->count && code == 0; i++) {
        code = read_fields(types, &types->types[i], view);
        if (code == 0)
            code = find_gaps(&types->types[i]);
    }
    return code;
}

void dump_types_free(struct dump_types *types)
{
    for (uint32_t i = 0; i < types->count; i++) {
        free(types->types[i].fields);
        free(types->types[i].gaps);
    }
    free(types->types);
    free(types->numbers);
    *types = (struct dump_types){0};
}

uint32_t dump_type_number(const struct dump_types *types, uint32_t type_id)
{
    return type_id <= types->count ? types->numbers[type_id] : 0;
}

static void print_field(const struct dump_field *field, FILE *out)
{
    fprintf(out, "{\"offset\":%" PRIu32 ",\"kind\":\"%s\"", field->info.offset,
            dump_kind_name(field->info.kind));
    if (field->info.times != 1)
        fprintf(out, ",\"times\":%" PRIu32, field->info.times);
    if (field->info.counted)
        fputs(",\"counted\":true", out);
    if (field->target != 0)
        fprintf(out, ",\"target\":%" PRIu32, field->target);
    if (field->info.name != NULL) {
        fputs(",\"name\":", out);
        print_text(out, field->info.name, strlen(field->info.name));
    }
    if (field->key[0] != '\0')
        fprintf(out, ",\"key\":\"%s\"", field->key);
    putc('}', out);
}

void dump_type_print(const struct dump_types *types, uint32_t number, FILE *out)
{
    const struct dump_type *type = &types->types[number - 1];

    fprintf(out, "{\"type\":%" PRIu32 ",\"name\":", number);
    print_text(out, type->info.name, strlen(type->info.name));
    fprintf(out, ",\"version\":%" PRIu32 ",\"size\":%" PRIu32 ",\"align\":%" PRIu32,
            type->info.version, type->info.size_bytes, type->info.align_bytes);
    if ((type->info.flags & HF_TYPE_BLOB) != 0)
        fputs(",\"blob\":true", out);
    if ((type->info.flags & HF_TYPE_FIELD_NAMES) != 0)
        fputs(",\"named_fields\":true", out);
    fputs(",\"fields\":[", out);
    for (uint32_t i = 0; i < type->info.ref_count; i++) {
        if (i > 0)
            putc(',', out);
        print_field(&type->fields[i], out);
    }
    fputs("]}", out);
}
