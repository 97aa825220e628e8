/* SPDX-License-Identifier: MIT */
/*
 * json.c - printing JSON
 *
 * Invariants:
 *   1. What has been printed is a prefix of a valid document: the level array knows each open
 *      container, and a comma goes before every member but the first.
 *   2. Every byte printed inside a string is ASCII or part of a sequence that utf8_length accepted.
 */
#include "tools/common/json.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* Length of the well-formed UTF-8 sequence at p, 0 if there is none: no overlong forms, no
 * surrogates, nothing above U+10FFFF (table 3-7 of the Unicode standard). */
static size_t utf8_length(const unsigned char *p, size_t left)
{
    size_t length;
    unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte */

    if (left == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0)
        low = 0xa0;
    if (p[0] == 0xed)
        high = 0x9f;
    if (p[0] == 0xf0)
        low = 0x90;
    if (p[0] == 0xf4)
        high = 0x8f;
    if (left < length || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return length;
}

static void print_ascii(FILE *out, unsigned char c)
{
    switch (c) {
    case '"':
        fputs("\\\"", out);
        return;
    case '\\':
        fputs("\\\\", out);
        return;
    case '\n':
        fputs("\\n", out);
        return;
    case '\t':
        fputs("\\t", out);
        return;
    case '\r':
        fputs("\\r", out);
        return;
    default:
        if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\u%04x", (unsigned)c);
        else
            putc(c, out);
    }
}

bool json_is_utf8(const void *bytes, size_t size_bytes)
{
    const unsigned char *p = bytes;

    for (size_t i = 0, length; i < size_bytes; i += length) {
        length = utf8_length(p + i, size_bytes - i);
        if (length == 0)
            return false;
    }
    return true;
}

bool json_print_string(FILE *out, const void *bytes, size_t size_bytes)
{
    const unsigned char *p = bytes;
    bool exact = true;

    putc('"', out);
    for (size_t i = 0; i < size_bytes;) {
        size_t length = utf8_length(p + i, size_bytes - i);
        if (length == 0) {
            fputs("\\ufffd", out);
            exact = false;
            length = 1;
        } else if (length == 1) {
            print_ascii(out, p[i]);
        } else {
            fwrite(p + i, 1, length, out);
        }
        i += length;
    }
    putc('"', out);
    return exact;
}

static void new_line(struct json *json)
{
    putc('\n', json->out);
    for (unsigned i = 0; i < json->depth; i++)
        fputs("  ", json->out);
}

/* What goes before a value: the comma, the place, the key. */
static void begin_value(struct json *json, const char *key)
{
    struct json_level *level;

    if (json->depth == 0)
        return;
    level = &json->levels[json->depth - 1];
    assert(level->array == (key == NULL));
    if (level->has_members)
        putc(',', json->out);
    if (!level->on_one_line)
        new_line(json);
    else if (level->has_members)
        putc(' ', json->out);
    level->has_members = true;
    if (key != NULL)
        fprintf(json->out, "\"%s\": ", key);
}

static void begin_container(struct json *json, const char *key, bool array)
{
    const struct json_level *outer = json->depth == 0 ? NULL : &json->levels[json->depth - 1];
    bool on_one_line = outer != NULL && (outer->on_one_line || outer->array);

    assert(json->depth < JSON_DEPTH_MAX);
    begin_value(json, key);
    putc(array ? '[' : '{', json->out);
    json->levels[json->depth++] = (struct json_level){array, on_one_line, false};
}

void json_object(struct json *json, const char *key)
{
    begin_container(json, key, false);
}

void json_array(struct json *json, const char *key)
{
    begin_container(json, key, true);
}

void json_end(struct json *json)
{
    struct json_level level;

    assert(json->depth > 0);
    level = json->levels[--json->depth];
    if (level.has_members && !level.on_one_line)
        new_line(json);
    putc(level.array ? ']' : '}', json->out);
    if (json->depth == 0)
        putc('\n', json->out);
}

void json_bytes(struct json *json, const char *key, const void *bytes, size_t size_bytes)
{
    const unsigned char *p = bytes;
    char key_hex[64];

    begin_value(json, key);
    if (json_print_string(json->out, p, size_bytes) || key == NULL)
        return;
    snprintf(key_hex, sizeof key_hex, "%s_hex", key);
    begin_value(json, key_hex);
    putc('"', json->out);
    for (size_t i = 0; i < size_bytes; i++)
        fprintf(json->out, "%02x", (unsigned)p[i]);
    putc('"', json->out);
}

void json_text(struct json *json, const char *key, const char *text)
{
    json_bytes(json, key, text, strlen(text));
}

void json_uint(struct json *json, const char *key, uint64_t value)
{
    begin_value(json, key);
    fprintf(json->out, "%" PRIu64, value);
}

void json_int(struct json *json, const char *key, int64_t value)
{
    begin_value(json, key);
    fprintf(json->out, "%" PRId64, value);
}

void json_bool(struct json *json, const char *key, bool value)
{
    begin_value(json, key);
    fputs(value ? "true" : "false", json->out);
}

void json_seconds(struct json *json, const char *key, double seconds)
{
    begin_value(json, key);
    fprintf(json->out, "%.3f", seconds);
}
