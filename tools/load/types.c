/* SPDX-License-Identifier: MIT */
/*
 * types.c - descriptors made of the dump's lines
 *
 * Only the form is looked at here. Whether a descriptor makes sense (fields within the element,
 * something to count before a counted array) the library says when it is registered, and nothing is
 * done with a type before.
 */
#include "tools/load/types.h"

#include "tools/common/dump_form.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FIELD_TIMES_MAX ((1u << 24) - 1)

static int out_of_memory(const struct lines *lines)
{
    return tool_fail_os(lines->tool, ENOMEM, lines->path, NULL);
}

/* Appends the text and a NUL. */
static int append(const struct lines *lines, char **text, size_t *used, const char *more)
{
    const size_t length = strlen(more) + 1;
    char *larger = realloc(*text, *used + length);

    if (larger == NULL)
        return out_of_memory(lines);
    memcpy(larger + *used, more, length);
    *text = larger;
    *used += length;
    return TOOL_OK;
}

static int read_kind(struct lines *lines, json_t *object, struct load_field *field)
{
    const json_t *kind = json_object_get(object, "kind");
    uint64_t offset = 0, times = 1, target = 0;
    int code, found = json_is_string(kind) ? dump_kind_of(json_string_value(kind)) : -1;

    if (found < 0)
        return lines_fail(lines, "\"kind\" is missing or none that there is");
    if (json_object_get(object, "offset") == NULL)
        return lines_fail(lines, "\"offset\" is missing");
    code = lines_optional_u64(lines, object, "offset", UINT32_MAX, &offset);
    if (code == TOOL_OK)
        code = lines_optional_u64(lines, object, "times", FIELD_TIMES_MAX, &times);
    if (code == TOOL_OK)
        code = lines_optional_u64(lines, object, "target", UINT32_MAX, &target);
    if (code == TOOL_OK)
        code = lines_bool(lines, object, "counted", &field->counted);
    if (code == TOOL_OK && times == 0)
        code = lines_fail(lines, "\"times\" is 0");
    field->offset = (uint32_t)offset;
    field->kind = (uint32_t)found;
    field->times = (uint32_t)times;
    field->target = (uint32_t)target;
    return code;
}

/* The key is given, or the name. */
static int read_key(struct lines *lines, json_t *object, const char *name, struct load_field *field)
{
    size_t length;

    if (json_object_get(object, "key") != NULL)
        return lines_text(lines, object, "key", &field->key, &length);
    if (!dump_key_from_name(name))
        return lines_fail(lines, "the field needs a \"key\"");
    field->key = strdup(name);
    return field->key == NULL ? out_of_memory(lines) : TOOL_OK;
}

static int read_field(struct lines *lines, struct load_type *type, json_t *object, size_t *used)
{
    static const char *const members[] = {"offset", "kind", "times", "counted",
                                          "target", "name", "key",   NULL};
    const bool named = (type->type.flags & HF_TYPE_FIELD_NAMES) != 0;
    struct load_field *field = &type->fields[type->type.ref_count];
    char *name = NULL;
    size_t length;
    int code;

    if (!json_is_object(object))
        return lines_fail(lines, "an object is expected");
    code = lines_only(lines, object, members);
    if (code == TOOL_OK)
        code = read_kind(lines, object, field);
    if (code == TOOL_OK && named)
        code = lines_text(lines, object, "name", &name, &length);
    if (code == TOOL_OK) {
        type->type.ref_count++; /* its key is to be freed from now on */
        code = read_key(lines, object, name, field);
    }
    if (code == TOOL_OK && named)
        code = append(lines, &type->text, used, name);
    free(name);
    for (size_t i = 0; i + 1 < type->type.ref_count && code == TOOL_OK; i++)
        if (strcmp(type->fields[i].key, field->key) == 0)
            code = lines_fail(lines, "two fields have the key \"%.80s\"", field->key);
    if (code == TOOL_OK && strcmp(field->key, DUMP_KEY_BYTES) == 0)
        code = lines_fail(lines, "\"" DUMP_KEY_BYTES "\" is no key for a field");
    return code;
}

static int read_fields(struct lines *lines, struct load_type *type, size_t used)
{
    json_t *fields = json_object_get(lines->line, "fields");
    const size_t count = json_array_size(fields);
    int code = TOOL_OK;

    if (!json_is_array(fields) && fields != NULL)
        return lines_fail(lines, "\"fields\": an array is expected");
    type->fields = calloc(count + 1, sizeof *type->fields);
    type->refs = calloc(count + 1, sizeof *type->refs);
    if (type->fields == NULL || type->refs == NULL)
        return out_of_memory(lines);
    for (size_t i = 0; i < count && code == TOOL_OK; i++) {
        lines->entry = (int64_t)i;
        code = read_field(lines, type, json_array_get(fields, i), &used);
    }
    lines->entry = -1;
    type->type.refs = type->refs;
    return code;
}

static int read_type(struct lines *lines, struct load_type *type)
{
    uint64_t version = 0, size = 0, align = 0;
    size_t length = 0, used = 0;
    char *name = NULL;
    bool blob = false, named_fields = false;
    int code = lines_text(lines, lines->line, "name", &name, &length);

    if (code == TOOL_OK)
        code = append(lines, &type->text, &used, name);
    free(name);
    if (code == TOOL_OK)
        code = lines_u64(lines, "version", UINT32_MAX, &version);
    if (code == TOOL_OK)
        code = lines_u64(lines, "size", UINT32_MAX, &size);
    if (code == TOOL_OK)
        code = lines_optional_u64(lines, lines->line, "align", UINT32_MAX, &align);
    if (code == TOOL_OK)
        code = lines_bool(lines, lines->line, "blob", &blob);
    if (code == TOOL_OK)
        code = lines_bool(lines, lines->line, "named_fields", &named_fields);
    if (code != TOOL_OK)
        return code;
    type->line = lines->number;
    type->type.version = (uint32_t)version;
    type->type.size_bytes = (uint32_t)size;
    type->type.align_bytes = (uint32_t)align;
    type->type.flags = (blob ? HF_TYPE_BLOB : 0u) | (named_fields ? HF_TYPE_FIELD_NAMES : 0u);
    code = read_fields(lines, type, used);
    type->type.name = type->text;
    return code;
}

int load_types_add(struct load_types *types, struct lines *lines)
{
    static const char *const members[] = {"type", "name",         "version", "size", "align",
                                          "blob", "named_fields", "fields",  NULL};
    uint64_t number = 0;
    int code = lines_only(lines, lines->line, members);

    if (code == TOOL_OK)
        code = lines_u64(lines, "type", UINT32_MAX, &number);
    if (code != TOOL_OK)
        return code;
    if (number != types->count + 1)
        return lines_fail(lines, "types are numbered from 1 on; %zu is expected", types->count + 1);
    if (types->count == types->room) {
        const size_t room = types->room == 0 ? 16 : 2 * types->room;
        struct load_type *larger = realloc(types->types, room * sizeof *larger);
        if (larger == NULL)
            return out_of_memory(lines);
        types->types = larger;
        types->room = room;
    }
    types->types[types->count] = (struct load_type){.line = 0};
    return read_type(lines, &types->types[types->count++]);
}

int load_types_link(struct load_types *types, struct lines *lines)
{
    for (size_t i = 0; i < types->count; i++) {
        struct load_type *type = &types->types[i];
        for (size_t k = 0; k < type->type.ref_count; k++) {
            const struct load_field *field = &type->fields[k];
            if (field->target > types->count) {
                lines->number = type->line;
                lines->entry = (int64_t)k;
                return lines_fail(lines, "there is no type %" PRIu32, field->target);
            }
            type->refs[k] = (hf_field){
                field->offset,
                (field->times == 1 ? field->kind : HF_FIELD_ARRAY(field->kind, field->times)) |
                    (field->counted ? HF_FIELD_COUNTED : 0u),
                field->target == 0 ? NULL : &types->types[field->target - 1].type};
        }
    }
    return TOOL_OK;
}

void load_types_free(struct load_types *types)
{
    for (size_t i = 0; i < types->count; i++) {
        struct load_type *type = &types->types[i];
        for (size_t k = 0; k < type->type.ref_count; k++)
            free(type->fields[k].key);
        free(type->fields);
        free(type->refs);
        free(type->text);
    }
    free(types->types);
    *types = (struct load_types){0};
}
