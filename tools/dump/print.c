/* SPDX-License-Identifier: MIT */
/*
 * print.c - an object's values as JSON
 *
 * Nothing of an element is lost: what is in no field, behind a text's NUL or beyond a counted
 * array's count goes to its member "#bytes", unless it is zero. Only pointers beyond a count are
 * left out: they are never followed, and mean nothing in another store.
 */
#include "tools/dump/print.h"

#include "tools/common/dump_form.h"
#include "tools/common/json.h"

#include <inttypes.h>
#include <string.h>

void print_text(FILE *out, const char *text, size_t length)
{
    if (json_is_utf8(text, length)) {
        json_print_string(out, text, length);
        return;
    }
    fputs("{\"base64\":\"", out);
    dump_print_base64(out, text, length);
    fputs("\"}", out);
}

size_t print_used_bytes(const unsigned char *bytes, size_t size_bytes)
{
    while (size_bytes > 0 && bytes[size_bytes - 1] == 0)
        size_bytes--;
    return size_bytes;
}

static void print_unsigned(FILE *out, uint64_t value)
{
    char text[24], *p = text + sizeof text;
    const bool exact = value <= (uint64_t)DUMP_EXACT_MAX;

    if (!exact)
        *--p = '"';
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    if (!exact)
        *--p = '"';
    fwrite(p, 1, (size_t)(text + sizeof text - p), out);
}

static void print_signed(FILE *out, int64_t value)
{
    if (value >= 0)
        print_unsigned(out, (uint64_t)value);
    else if (value >= -DUMP_EXACT_MAX)
        fprintf(out, "%" PRId64, value);
    else
        fprintf(out, "\"%" PRId64 "\"", value);
}

/* The file is little-endian, and so is every machine that opens one. */
static uint64_t unsigned_at(const unsigned char *at, uint32_t bytes)
{
    uint64_t value = 0;
    memcpy(&value, at, bytes);
    return value;
}

static int64_t signed_at(const unsigned char *at, uint32_t bytes)
{
    const unsigned unused = 64 - 8 * bytes;
    return (int64_t)(unsigned_at(at, bytes) << unused) >> unused;
}

void print_number(FILE *out, uint32_t kind, const unsigned char *at)
{
    const uint32_t bytes = dump_kind_bytes(kind);

    switch (kind) {
    case HF_FIELD_F32:
        dump_print_f32(out, (uint32_t)unsigned_at(at, bytes));
        return;
    case HF_FIELD_F64:
        dump_print_f64(out, unsigned_at(at, bytes));
        return;
    case HF_FIELD_I8:
    case HF_FIELD_I16:
    case HF_FIELD_I32:
    case HF_FIELD_I64:
        print_signed(out, signed_at(at, bytes));
        return;
    default:
        print_unsigned(out, unsigned_at(at, bytes));
    }
}

hf_ref print_pointer_target(hf_view *view, uint32_t kind, const unsigned char *at)
{
    const uint64_t value = unsigned_at(at, sizeof value);

    if (kind == HF_FIELD_REF)
        return value;
    return value == (uint64_t)HF_PTR_NULL ? 0 : hf_ref_of(view, at) + value;
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
        fputs("{\"dangling\":true}", printer->out);
        return;
    }
    fputs("{\"ref\":", printer->out);
    print_unsigned(printer->out, item->number);
    if (offset != 0) {
        fputs(",\"offset\":", printer->out);
        print_unsigned(printer->out, offset);
    }
    putc('}', printer->out);
}

uint32_t print_field_times(const struct dump_type *type, uint32_t i, const unsigned char *element)
{
    const hf_field_info *info = &type->fields[i].info, *before;
    uint64_t count;

    if (!info->counted || i == 0)
        return info->times;
    before = &type->fields[i - 1].info;
    count = unsigned_at(element + before->offset, before->entry_bytes);
    return count < info->times ? (uint32_t)count : info->times;
}

/* How many bytes from the field's offset on its value tells. */
static size_t told_bytes(const struct dump_type *type, uint32_t i, const unsigned char *element)
{
    const hf_field_info *info = &type->fields[i].info;
    const uint32_t times = print_field_times(type, i, element);

    if (info->kind == HF_FIELD_TEXT)
        return strnlen((const char *)element + info->offset, times);
    if (info->kind <= HF_FIELD_PTR)
        return (size_t)info->times * info->entry_bytes;
    return (size_t)times * info->entry_bytes;
}

static void print_value(const struct printer *printer, const struct dump_type *type, uint32_t i,
                        const unsigned char *element)
{
    const hf_field_info *info = &type->fields[i].info;
    const unsigned char *at = element + info->offset;
    const uint32_t times = print_field_times(type, i, element);
    const bool array = info->times != 1 || info->counted;

    switch (info->kind) {
    case HF_FIELD_TEXT:
        print_text(printer->out, (const char *)at, strnlen((const char *)at, times));
        return;
    case HF_FIELD_BYTES:
        putc('"', printer->out);
        dump_print_base64(printer->out, at, print_used_bytes(at, times));
        putc('"', printer->out);
        return;
    default:
        break;
    }
    if (array)
        putc('[', printer->out);
    for (uint32_t n = 0; n < times; n++, at += info->entry_bytes) {
        if (n > 0)
            putc(',', printer->out);
        if (info->kind <= HF_FIELD_PTR)
            print_pointer(printer, info->kind, at);
        else
            print_number(printer->out, info->kind, at);
    }
    if (array)
        putc(']', printer->out);
}

/* Prints what of this region isn't zero as a pair of offset and base64, behind a field's member. */
static void print_region(const struct printer *printer, const unsigned char *element, size_t from,
                         size_t to, bool *any)
{
    while (from < to && element[from] == 0)
        from++;
    if (from == to)
        return;
    to = from + print_used_bytes(element + from, to - from);
    if (*any)
        putc(',', printer->out);
    else
        fputs(",\"" DUMP_KEY_BYTES "\":[", printer->out);
    fprintf(printer->out, "[%zu,\"", from);
    dump_print_base64(printer->out, element + from, to - from);
    fputs("\"]", printer->out);
    *any = true;
}

void print_element(const struct printer *printer, const struct dump_type *type,
                   const unsigned char *element)
{
    const uint32_t count = type->info.ref_count;
    bool any = false;

    putc('{', printer->out);
    for (uint32_t i = 0; i < count; i++) {
        const char *key = dump_field_key(&type->fields[i]);
        if (i > 0)
            putc(',', printer->out);
        json_print_string(printer->out, key, strlen(key));
        putc(':', printer->out);
        print_value(printer, type, i, element);
    }
    for (size_t i = 0; i < type->gap_count; i++)
        print_region(printer, element, type->gaps[i].offset,
                     (size_t)type->gaps[i].offset + type->gaps[i].size_bytes, &any);
    for (uint32_t i = 0; i < count; i++) {
        const hf_field_info *info = &type->fields[i].info;
        const size_t whole = (size_t)info->times * info->entry_bytes;
        print_region(printer, element, info->offset + told_bytes(type, i, element),
                     info->offset + whole, &any);
    }
    if (any)
        putc(']', printer->out);
    putc('}', printer->out);
}
