/* SPDX-License-Identifier: MIT */
/*
 * space.h - what the files that give space back share: lists of pages of free blocks
 */
#ifndef HF_STORE_SPACE_H
#define HF_STORE_SPACE_H

#include "alloc/allocator.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HF__SPAN_BYTES_MIN (UINT64_C(64) << 10) /* fewer bytes than that are not worth a hole     */

/* Whole pages of a free block. */
struct hf__span {
    uint64_t from, to;
};

/* All zero but for `marked` is an empty one; the caller frees `all`. */
struct hf__spans {
    struct hf__span *all;
    size_t count, room;
    uint64_t bytes;
    bool marked; /* those of marked blocks are wanted, or else of unmarked ones                  */
};

/* Adds those of so many bytes and more. HF_ENOMEM, HF_ECORRUPT. */
int hf__spans_find(struct hf__heap *heap, uint64_t span_min, struct hf__spans *spans);

#endif
