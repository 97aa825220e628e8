/* SPDX-License-Identifier: MIT */
/* types.h - the store's types with their fields, in an order that doesn't depend on the store */
#ifndef HF_TOOLS_DUMP_TYPES_H
#define HF_TOOLS_DUMP_TYPES_H

#include "holdfast/holdfast.h"

#include <stdbool.h>
#include <stdio.h>

struct dump_field {
    hf_field_info info;
    uint32_t target; /* number of the type it leads to, 0 = anything                             */
    char key[24];    /* where the name won't do: "#3"; else empty                                 */
};

struct dump_gap {
    uint32_t offset, size_bytes;
};

struct dump_type {
    hf_type_info info;
    struct dump_field *fields;
    struct dump_gap *gaps; /* what no field covers                                                */
    size_t gap_count;
};

/* Numbers count from 1, by name and version. */
struct dump_types {
    struct dump_type *types;
    uint32_t *numbers; /* by id */
    uint32_t count;
};

/* Reads all types of the view; names stay the view's. 0 or an HF_E... code. */
int dump_types_read(struct dump_types *types, hf_view *view);
void dump_types_free(struct dump_types *types);

/* By an object's type_id; 0 where that is 0 (plain bytes). */
uint32_t dump_type_number(const struct dump_types *types, uint32_t type_id);

/* The member's name in an element, in UTF-8. */
static inline const char *dump_field_key(const struct dump_field *field)
{
    return field->key[0] != '\0' ? field->key : field->info.name;
}

/* Prints the type's line, without a newline. */
void dump_type_print(const struct dump_types *types, uint32_t number, FILE *out);

#endif
