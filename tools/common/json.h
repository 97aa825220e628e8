/* SPDX-License-Identifier: MIT */
/*
 * json.h - printing JSON
 *
 * A document is printed front to back; commas, indentation and escapes are the printer's business.
 * Containers inside an array are printed on one line each, so that a list stays readable and can be
 * cut by lines.
 *
 * The output is always valid UTF-8. Names and values in a store are any bytes; where they are not
 * valid UTF-8, each wrong byte is printed as U+FFFD and a second member, KEY_hex, follows with all
 * bytes of the string in hexadecimal, so that nothing is lost and every parser can read it.
 *
 *   struct json json = JSON_INIT(stdout);
 *   json_object(&json, NULL);
 *   json_text(&json, "name", name);
 *   json_uint(&json, "size_bytes", size);
 *   json_end(&json);
 */
#ifndef HF_TOOLS_COMMON_JSON_H
#define HF_TOOLS_COMMON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX 8

struct json {
    FILE *out;
    unsigned depth;
    struct json_level {
        bool array, on_one_line, has_members;
    } levels[JSON_DEPTH_MAX];
};
#define JSON_INIT(out_)                                                                            \
    {                                                                                              \
        .out = (out_), .depth = 0                                                                  \
    }

/* jansson, with which load reads, has functions of these names: ours must not get in their way. */
#define json_object tool_json_object
#define json_array tool_json_array

/* key is NULL inside an array and for the outermost value. */
void json_object(struct json *json, const char *key);
void json_array(struct json *json, const char *key);
void json_end(struct json *json); /* of the innermost container; a newline after the outermost */
void json_bytes(struct json *json, const char *key, const void *bytes, size_t size_bytes);
void json_text(struct json *json, const char *key, const char *text);
void json_uint(struct json *json, const char *key, uint64_t value);
void json_int(struct json *json, const char *key, int64_t value);
void json_bool(struct json *json, const char *key, bool value);
void json_seconds(struct json *json, const char *key, double seconds);

/* Are the bytes well-formed UTF-8? */
bool json_is_utf8(const void *bytes, size_t size_bytes);

/* Prints a string with its quotes, whatever is around it; false if some byte had to be replaced. */
bool json_print_string(FILE *out, const void *bytes, size_t size_bytes);

#endif
