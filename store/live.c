/* SPDX-License-Identifier: MIT */
/*
 * live.c - which live block an offset lies in
 *
 * An array of blocks by address, and above it about one bucket a block: the store cut into stretches
 * of equal length, each with the number of the first block that may reach into it. A pointer costs a
 * look at its bucket and mostly one at a block; where blocks lie much denser than elsewhere, a search
 * by halves within the bucket.
 *
 * Invariants
 *   V1  blocks[i].start + blocks[i].bytes <= blocks[i + 1].start
 *   V2  buckets[b] is the first block that ends behind b << bucket_shift, or count
 */
#include "live.h"

#include <stdlib.h>

void hf__live_add(struct hf__live *live, const struct hf__live_block *block)
{
    if (live->count == live->room) {
        const size_t room = live->room == 0 ? 1024 : live->room * 2;
        struct hf__live_block *blocks =
            room >= HF__LIVE_NONE ? NULL : realloc(live->blocks, room * sizeof *blocks);
        if (blocks == NULL) {
            live->failed = true;
            return;
        }
        live->blocks = blocks;
        live->room = room;
    }
    const struct hf__live_block *last = live->count == 0 ? NULL : &live->blocks[live->count - 1];
    if (last != NULL && last->start + last->bytes > block->start)
        return; /* a damaged chunk, which the walk has told of */
    live->blocks[live->count++] = *block;
}

bool hf__live_seal(struct hf__live *live, uint64_t end)
{
    live->end = end;
    live->bucket_shift = 4;
    while (end >> live->bucket_shift > live->count + 1024)
        live->bucket_shift++;
    const uint64_t buckets = (end >> live->bucket_shift) + 2;
    live->buckets = malloc(buckets * sizeof *live->buckets);
    if (live->buckets == NULL || live->failed)
        return false;
    uint32_t block = 0;
    for (uint64_t b = 0; b < buckets; b++) {
        while (block < live->count &&
               live->blocks[block].start + live->blocks[block].bytes <= b << live->bucket_shift)
            block++;
        live->buckets[b] = block;
    }
    return true;
}

uint32_t hf__live_find(const struct hf__live *live, uint64_t offset)
{
    if (offset >= live->end)
        return HF__LIVE_NONE;
    const uint64_t bucket = offset >> live->bucket_shift;
    /* The first block that ends behind offset lies in [low, high]. */
    uint32_t low = live->buckets[bucket], high = live->buckets[bucket + 1];
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (live->blocks[middle].start + live->blocks[middle].bytes <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < live->count && live->blocks[low].start <= offset ? low : HF__LIVE_NONE;
}

void hf__live_free(struct hf__live *live)
{
    free(live->blocks);
    free(live->buckets);
    *live = (struct hf__live){0};
}
