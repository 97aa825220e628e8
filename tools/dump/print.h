/* SPDX-License-Identifier: MIT */
/* print.h - an object's values as JSON */
#ifndef HF_TOOLS_DUMP_PRINT_H
#define HF_TOOLS_DUMP_PRINT_H

#include "tools/dump/graph.h"
#include "tools/dump/types.h"

#include <stdio.h>

struct printer {
    FILE *out;
    struct graph *graph;
    const struct dump_types *types;
};

/* A string; bytes that aren't UTF-8 as {"base64":"..."}. */
void print_text(FILE *out, const char *text, size_t length);

/* The element as an object by its fields' keys. Pointers number what they lead to. */
void print_element(const struct printer *printer, const struct dump_type *type,
                   const unsigned char *element);

/* How many bytes there are up to the last that isn't zero. */
size_t print_used_bytes(const unsigned char *bytes, size_t size_bytes);

/* How many entries of field number i of this element count. */
uint32_t print_field_times(const struct dump_type *type, uint32_t i, const unsigned char *element);

/* What a pointer there leads to, 0 = null. */
hf_ref print_pointer_target(hf_view *view, uint32_t kind, const unsigned char *at);

/* One number of that kind, no pointer, text or bytes. */
void print_number(FILE *out, uint32_t kind, const unsigned char *at);

#endif
