/* SPDX-License-Identifier: MIT */
/* line.h - the dump, line by line, and what is wrong with one */
#ifndef HF_TOOLS_LOAD_LINE_H
#define HF_TOOLS_LOAD_LINE_H

#include "tools/common/tool.h"

#include <stdio.h>

/* Our printer of JSON (tools/common/json.h) has two functions of the same names. */
#pragma push_macro("json_object")
#pragma push_macro("json_array")
#undef json_object
#undef json_array
#include <jansson.h>
#pragma pop_macro("json_object")
#pragma pop_macro("json_array")

struct lines {
    struct tool *tool;
    const char *path; /* "-" is standard input */
    FILE *in;
    char *text;
    size_t room;
    uint64_t number; /* of the current line, from 1 */
    uint64_t bytes;  /* read so far */
    uint64_t total;  /* 0 if nobody knows */
    json_t *line;    /* an object */
    /* Its last member "bytes" isn't in the tree but here, as long as jansson needn't see it: */
    const char *base64; /* NULL: there is none */
    size_t base64_length;
    /* Where in the line a value is, for messages: */
    int64_t element; /* -1: none */
    const char *key; /* of a member, NULL: none */
    int64_t entry;   /* of an array, -1: none */
};

/* Each returns an exit code; the failure has been reported unless it is TOOL_OK. */
int lines_open(struct lines *lines);
void lines_close(struct lines *lines);

/* Reads the next line; *end tells that there is none. Empty lines are passed over. */
int lines_next(struct lines *lines, bool *end);

/* Something is wrong with this line: at its key, element and entry, if those are set. */
int lines_fail(const struct lines *lines, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Fails if the line has a member that isn't in the list, which NULL ends. */
int lines_only(struct lines *lines, json_t *object, const char *const *members);

/*
 * lines_u64 - a whole number, also as a string, of at most max. lines_optional_u64: out keeps its
 * value if the member isn't there. lines_bool: false if it isn't there.
 * lines_text - a string, or {"base64":"..."}; malloc'ed, with a NUL behind; it holds none.
 */
int lines_value_u64(struct lines *lines, const json_t *value, uint64_t max, uint64_t *out);
int lines_u64(struct lines *lines, const char *key, uint64_t max, uint64_t *out);
int lines_optional_u64(struct lines *lines, json_t *object, const char *key, uint64_t max,
                       uint64_t *out);
int lines_bool(struct lines *lines, json_t *object, const char *key, bool *out);
int lines_value_text(struct lines *lines, const json_t *value, char **out, size_t *length);
int lines_text(struct lines *lines, json_t *object, const char *key, char **out, size_t *length);

#endif
