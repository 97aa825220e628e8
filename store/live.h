/* SPDX-License-Identifier: MIT */
/*
 * live.h - which live block an offset lies in: process memory, made from a walk over the blocks
 *
 * The check of references, the search for leaks and upgrades ask it for each pointer.
 */
#ifndef HF_STORE_LIVE_H
#define HF_STORE_LIVE_H

#include "holdfast/types.h"

#include <stdbool.h>
#include <stddef.h>

enum { /* flags of a struct hf__live_block */
    HF__LIVE_ROOT = 1,    /* a named or unique object                                             */
    HF__LIVE_UNSOUND = 2, /* its header makes no sense: told elsewhere, taken for opaque          */
    HF__LIVE_MARKED = 4   /* reached                                                              */
};

struct hf__live_block {
    uint64_t start, bytes; /* payload                                                             */
    uint32_t type_id;      /* 0 = opaque                                                          */
    uint16_t lead_units;   /* 16-byte units in front of an object's elements                      */
    uint8_t kind;          /* enum hf__block_kind                                                 */
    uint8_t flags;
};

struct hf__live {
    struct hf__live_block *blocks; /* by address                                                  */
    uint32_t *buckets;             /* the first block that ends behind the bucket's start         */
    size_t count, room;
    uint32_t bucket_shift;
    uint64_t end;
    bool failed;                   /* for want of memory                                          */
};

#define HF__LIVE_NONE UINT32_MAX

/* Blocks come in address order. */
void hf__live_add(struct hf__live *live, const struct hf__live_block *block);
/* After the last one; all lie below `end`. false: no memory, now or before. */
bool hf__live_seal(struct hf__live *live, uint64_t end);
/* The number of the block whose payload holds the byte at offset, or HF__LIVE_NONE. Any offset. */
uint32_t hf__live_find(const struct hf__live *live, uint64_t offset);
void hf__live_free(struct hf__live *live);

#endif
