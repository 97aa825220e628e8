/* SPDX-License-Identifier: MIT */
/* choice.c - the names of engines, allocators and indexes */
#include "tools/common/choice.h"

#include "holdfast/holdfast.h"

#include <string.h>

const struct choice choice_engines[] = {
    {"log", HF_ENGINE_LOG},
    {"direct", HF_ENGINE_DIRECT},
    {NULL, 0},
};
const struct choice choice_allocators[] = {
    {"default", HF_ALLOC_DEFAULT},
    {"best_fit", HF_ALLOC_BEST_FIT},
    {"seq_fit", HF_ALLOC_SEQ_FIT},
    {"slab", HF_ALLOC_SLAB},
    {NULL, 0},
};
const struct choice choice_indexes[] = {
    {"set", HF_INDEX_SET},
    {"hash", HF_INDEX_HASH},
    {"flat", HF_INDEX_FLAT},
    {"null", HF_INDEX_NULL},
    {NULL, 0},
};

bool choice_find(const struct choice *choices, const char *name, uint32_t *out)
{
    for (; choices->name != NULL; choices++) {
        if (strcmp(choices->name, name) == 0) {
            *out = choices->value;
            return true;
        }
    }
    return false;
}

const char *choice_name(const struct choice *choices, uint32_t value)
{
    for (; choices->name != NULL; choices++)
        if (choices->value == value)
            return choices->name;
    return "unknown";
}
