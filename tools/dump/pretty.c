/* SPDX-License-Identifier: MIT */
/*
 * pretty.c - an object with its fields, for people
 *
 *   lists/main (#1): type list version 1
 *     head    -> #4 + 8 (node)
 *     length  17
 *     label   "a list"
 *
 * Long arrays and bytes are cut: whoever wants all of them takes the JSON.
 */
#include "tools/dump/pretty.h"

#include "tools/common/json.h"
#include "tools/common/output.h"

#include <inttypes.h>
#include <string.h>

#define ENTRIES_MAX 32u
#define BYTES_MAX   64u

static void print_bytes(FILE *out, const unsigned char *bytes, size_t size_bytes)
{
    if (size_bytes > 0 && print_used_bytes(bytes, size_bytes) == 0) {
        fprintf(out, "%zu bytes, all zero", size_bytes);
        return;
    }
    for (size_t i = 0; i < size_bytes && i < BYTES_MAX; i++)
        fprintf(out, "%s%02x", i > 0 && i % 8 == 0 ? " " : "", (unsigned)bytes[i]);
    if (size_bytes > BYTES_MAX)
        fprintf(out, " ... %zu bytes", size_bytes);
}

static void print_pointer(const struct printer *printer, uint32_t kind, const unsigned char *at)
{
    const hf_ref target = print_pointer_target(printer->graph->view, kind, at);
    const struct graph_item *item;
    uint64_t offset = 0;

    if (target == 0) {
        fputs("null", printer->out);
        return;
    }
    item = graph_follow(printer->graph, target, &offset);
    if (item == NULL) {
        fputs("-> nowhere", printer->out);
        return;
    }
    fprintf(printer->out, "-> #%" PRIu64, item->number);
    if (offset != 0)
        fprintf(printer->out, " + %" PRIu64, offset);
    if (item->type != 0)
        fprintf(printer->out, " (%s)", printer->types->types[item->type - 1].info.name);
}

static void print_field(const struct printer *printer, const struct dump_type *type, uint32_t i,
                        const unsigned char *element)
{
    const hf_field_info *info = &type->fields[i].info;
    const unsigned char *at = element + info->offset;
    const uint32_t times = print_field_times(type, i, element);

    if (info->kind == HF_FIELD_TEXT) {
        json_print_string(printer->out, at, strnlen((const char *)at, times));
        return;
    }
    if (info->kind == HF_FIELD_BYTES) {
        print_bytes(printer->out, at, times);
        return;
    }
    for (uint32_t n = 0; n < times && n < ENTRIES_MAX; n++, at += info->entry_bytes) {
        if (n > 0)
            fputs(", ", printer->out);
        if (info->kind <= HF_FIELD_PTR)
            print_pointer(printer, info->kind, at);
        else
            print_number(printer->out, info->kind, at);
    }
    if (times > ENTRIES_MAX)
        fprintf(printer->out, ", ... %" PRIu32 " entries", times);
    if (times == 0)
        fputs("(none)", printer->out);
}

static void print_fields(const struct printer *printer, const struct dump_type *type,
                         const unsigned char *element, const char *indent)
{
    int width = 0;

    for (uint32_t i = 0; i < type->info.ref_count; i++) {
        const int length = (int)strlen(dump_field_key(&type->fields[i]));
        width = length > width && length <= 24 ? length : width;
    }
    for (uint32_t i = 0; i < type->info.ref_count; i++) {
        fprintf(printer->out, "%s%-*s  ", indent, width, dump_field_key(&type->fields[i]));
        print_field(printer, type, i, element);
        putc('\n', printer->out);
    }
}

static void print_head(const struct printer *printer, const struct graph_item *item,
                       const char *name)
{
    const struct dump_type *type = item->type == 0 ? NULL : &printer->types->types[item->type - 1];

    if (name != NULL) {
        output_name(printer->out, name, true);
        fprintf(printer->out, " (#%" PRIu64 "): ", item->number);
    } else {
        fprintf(printer->out, "#%" PRIu64 ": ", item->number);
    }
    if (type != NULL)
        fprintf(printer->out, "%stype %s version %" PRIu32,
                item->kind == HF_KIND_UNIQUE ? "the unique object of " : "", type->info.name,
                type->info.version);
    else
        fputs(item->kind == GRAPH_RAW ? "raw block" : "plain bytes", printer->out);
}

void pretty_object(const struct printer *printer, const struct graph_item *item, const char *name,
                   const unsigned char *bytes)
{
    const struct dump_type *type = item->type == 0 ? NULL : &printer->types->types[item->type - 1];
    uint64_t count;

    print_head(printer, item, name);
    if (type == NULL || type->info.ref_count == 0) {
        fprintf(printer->out, ", %" PRIu64 " bytes\n", item->size_bytes);
        if (item->size_bytes > 0) {
            fputs("  ", printer->out);
            print_bytes(printer->out, bytes, (size_t)item->size_bytes);
            putc('\n', printer->out);
        }
        return;
    }
    count = item->size_bytes / type->info.size_bytes;
    if (count != 1)
        fprintf(printer->out, ", %" PRIu64 " elements", count);
    putc('\n', printer->out);
    for (uint64_t i = 0; i < count; i++) {
        if (count != 1)
            fprintf(printer->out, "  [%" PRIu64 "]\n", i);
        print_fields(printer, type, bytes + i * type->info.size_bytes, count != 1 ? "    " : "  ");
        if (ferror(printer->out))
            return;
    }
}
