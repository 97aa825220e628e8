/* SPDX-License-Identifier: MIT */
/* allocator.c - which algorithm a file's recorded kind means */
#include "alloc/allocator.h"

const struct hf__allocator *hf__allocator_by_kind(uint32_t kind)
{
    switch (kind) {
    case HF_ALLOC_BEST_FIT:
        return &hf__alloc_best_fit;
    case HF_ALLOC_SEQ_FIT:
        return &hf__alloc_seq_fit;
    case HF_ALLOC_DEFAULT:
    case HF_ALLOC_SLAB:
        return &hf__alloc_slab;
    default:
        return NULL;
    }
}
