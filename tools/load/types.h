/* SPDX-License-Identifier: MIT */
/* types.h - descriptors made of the dump's lines */
#ifndef HF_TOOLS_LOAD_TYPES_H
#define HF_TOOLS_LOAD_TYPES_H

#include "tools/load/line.h"

#include "holdfast/holdfast.h"

struct load_field {
    char *key;
    uint32_t offset, kind, times,
        target; /* kind alone; target: the number of a type, or 0        */
    bool counted;
};

struct load_type {
    hf_type type;
    struct load_field *fields; /* as many as type.ref_count */
    hf_field *refs;
    char *text;
    uint64_t line;
};

struct load_types {
    struct load_type *types;
    size_t count, room;
};

/* Reads the type of the current line. Returns an exit code. */
int load_types_add(struct load_types *types, struct lines *lines);

/* All are there: lets the pointers among them lead to each other. */
int load_types_link(struct load_types *types, struct lines *lines);

void load_types_free(struct load_types *types);

#endif
