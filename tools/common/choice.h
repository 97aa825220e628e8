/* SPDX-License-Identifier: MIT */
/* choice.h - the names of engines, allocators and indexes, as options and results have them */
#ifndef HF_TOOLS_COMMON_CHOICE_H
#define HF_TOOLS_COMMON_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

struct choice {
    const char *name; /* NULL ends a table */
    uint32_t value;
};
extern const struct choice choice_engines[], choice_allocators[], choice_indexes[];

/* The value of that name; false if there is none. */
bool choice_find(const struct choice *choices, const char *name, uint32_t *out);
/* The first name of that value, "unknown" if there is none. */
const char *choice_name(const struct choice *choices, uint32_t value);

#endif
