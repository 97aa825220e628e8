/* SPDX-License-Identifier: MIT */
/*
 * blocks.h - the boundary-tag engine that the memory algorithms share
 *
 * Everything an algorithm does with blocks - cutting, merging, the tail, the counters - is the same
 * for best_fit and seq_fit; they differ only in how free blocks are kept and found, which is what a
 * struct hf__free_set says. One step down from allocator.h, and for alloc/ alone:
 *
 *   blocks.c     headers, neighbours, the root; walk, identify, pending
 *   allocate.c   init, allocate, free          many.c      allocate_many
 *   resize.c     expand, split                 check.c     check
 *   repair.c     rebuild, mend_walk, zero_free holes.c       holes in free blocks
 *   best_fit.c, seq_fit.c                      the two free sets
 *   slab.h                                     chunks of small slots above them
 */
#ifndef HF_ALLOC_BLOCKS_H
#define HF_ALLOC_BLOCKS_H

#include "allocator.h"

#include "base/error.h"
#include "base/hash.h"

/* ---- headers --------------------------------------------------------------------------------- */

/* A header, taken apart. Offsets are of the header, sizes include it. */
struct hf__block {
    uint64_t offset;
    uint64_t size_bytes;
    uint64_t previous_bytes;
    uint32_t kind;
    bool pending;
    bool hole; /* free, and its whole pages may have no disk blocks: hf__heap_back_block          */
};

#define HF__UNITS_MASK      ((UINT64_C(1) << 44) - 1)
#define HF__BLOCK_BYTES_MAX (HF__UNITS_MASK * HF__BLOCK_UNIT)
#define HF__HEAP_BYTES_MAX  (UINT64_C(1) << 48) /* used_end stays below: every sum of sizes fits */

static inline uint64_t hf__block_end(const struct hf__block *block)
{
    return block->offset + block->size_bytes;
}

static inline uint32_t hf__block_checksum(const struct hf__segment *seg, uint64_t offset,
                                          uint64_t size_bits, uint64_t prev_bits)
{
    uint64_t words[3] = {offset, size_bits, prev_bits};
    uint64_t hash = hf__hash(words, sizeof words, seg->salt);
    return (uint32_t)(hash ^ (hash >> 32));
}

/* Chunks and their directory have sizes and places of their own. */
static inline bool hf__block_special_ok(const struct hf__block *block)
{
    if (block->kind == HF__BLOCK_SLABS)
        return block->size_bytes - (HF__BLOCK_HEADER_BYTES + HF__SLABS_BYTES) <=
               HF__CHUNK_EXTRA_MAX;
    for (unsigned order = 0; block->kind == HF__BLOCK_CHUNK && order < HF__CHUNK_ORDERS; order++)
        if (block->size_bytes - HF__CHUNK_BYTES(order) <= HF__CHUNK_EXTRA_MAX)
            return block->offset % HF__CHUNK_BYTES(order) == 0;
    return false;
}

/* Whether a true header lies at offset, which may be anything. All zeros is none: size 0 is refused
 * whatever its checksum. Says nothing about where the block ends. */
static inline bool hf__block_read(const struct hf__segment *seg, uint64_t offset,
                                  struct hf__block *out)
{
    if (offset % HF__BLOCK_UNIT != 0 || !hf__in_segment(seg, offset, HF__BLOCK_HEADER_BYTES))
        return false;
    const struct hf__block_header *header = (const struct hf__block_header *)hf__at(seg, offset);
    uint64_t size_bits = header->size_word & ((UINT64_C(1) << 52) - 1);
    uint64_t prev_bits = header->prev_word & HF__UNITS_MASK;
    uint32_t found = (uint32_t)(header->size_word >> 52) | (uint32_t)(header->prev_word >> 44)
                                                               << 12;
    out->offset = offset;
    out->size_bytes = (size_bits & HF__UNITS_MASK) * HF__BLOCK_UNIT;
    out->previous_bytes = prev_bits * HF__BLOCK_UNIT;
    out->kind = (uint32_t)(size_bits >> 44) & 15;
    out->pending = (size_bits >> 48 & 1) != 0;
    out->hole = (size_bits >> 49 & 1) != 0;
    return out->size_bytes >= HF__BLOCK_BYTES_MIN &&
           (out->kind <= HF__BLOCK_LOST || hf__block_special_ok(out)) && size_bits >> 50 == 0 &&
           (!out->hole || out->kind == HF__BLOCK_FREE) &&
           found == hf__block_checksum(seg, offset, size_bits, prev_bits);
}

/* Announces and writes a header. */
void hf__block_write(struct hf__segment *seg, const struct hf__block *block);
/* H6: announces a header that another block has swallowed and makes it no header at all. */
void hf__block_destroy(struct hf__segment *seg, uint64_t offset);

/* ---- the heap -------------------------------------------------------------------------------- */

/* Enough for whatever one call does to two blocks and their neighbours: at most two erasures (36
 * KiB each in the largest tree there can be, avl.c) and two insertions (13 KiB) in the free set,
 * and a dozen headers and root fields. */
#define HF__HEAP_COST (UINT64_C(104) * 1024)

static inline const struct hf__heap_root *hf__root(const struct hf__heap *heap)
{
    return (const struct hf__heap_root *)hf__at(heap->seg, heap->root);
}
/* Whether the managed range can begin where the root says: aligned, backed, above the root. */
bool hf__heap_first_possible(const struct hf__heap *heap);
/* 0, or HF_ECORRUPT where the root's own fields can't be true. First thing in every call. */
int hf__heap_sound(const struct hf__heap *heap);
/* A block within [first, used_end), its header true. 0, HF_ECORRUPT. */
int hf__heap_block(const struct hf__heap *heap, uint64_t offset, struct hf__block *out);
/* The live block whose payload that is; pending ones on request. Slots of chunks are none of them. 0,
 * HF_EPTR. */
int hf__heap_live(const struct hf__heap *heap, hf_ref payload, bool pending_too,
                  struct hf__block *out);
/* The neighbours, each header true and in agreement with block's; size_bytes 0 where there is none
 * (above the last block lies the tail). 0, HF_ECORRUPT. */
int hf__heap_before(const struct hf__heap *heap, const struct hf__block *block,
                    struct hf__block *out);
int hf__heap_after(const struct hf__heap *heap, const struct hf__block *block,
                   struct hf__block *out);
/* The last block, size_bytes 0 if there is none: whoever takes from the tail asks, so that a wrong
 * used_end doesn't let him overwrite live blocks. 0, HF_ECORRUPT. */
int hf__heap_last(const struct hf__heap *heap, struct hf__block *out);

/* Says to whatever lies at offset, a block or the tail, that the block before is size_bytes
 * long. */
void hf__heap_set_previous(struct hf__heap *heap, uint64_t offset, uint64_t size_bytes);
void hf__heap_set_end(struct hf__heap *heap, uint64_t used_end, uint64_t last_bytes);
/* Adds to the root's counters. */
static inline void hf__heap_count(struct hf__heap *heap, int64_t free_bytes, int64_t free_blocks,
                                  int64_t live_bytes, int64_t live_blocks)
{
    uint64_t *words = (uint64_t *)hf__edit(
        heap->seg, heap->root + offsetof(struct hf__heap_root, free_bytes), 4 * sizeof *words);
    words[0] += (uint64_t)free_bytes;
    words[1] += (uint64_t)free_blocks;
    words[2] += (uint64_t)live_bytes;
    words[3] += (uint64_t)live_blocks;
}
/* Bytes of the tail that are backed. */
uint64_t hf__heap_tail(const struct hf__heap *heap);
/* Makes the segment end at or after `end`. 0, HF_ENOSPC, HF_EFULL. */
int hf__heap_back(struct hf__heap *heap, uint64_t end);

/* The size of a block with that payload. 0, HF_EOVERFLOW. */
int hf__block_bytes_for(uint64_t payload_bytes, uint64_t *out);
/* Writes a free block's header and puts it in the free set. 0, HF_ECORRUPT. */
int hf__heap_add_free(struct hf__heap *heap, uint64_t offset, uint64_t size_bytes,
                      uint64_t previous_bytes, bool hole);
/* A free block becomes tail. */
void hf__heap_lower(struct hf__heap *heap, const struct hf__block *block);
/* Before [from, to) of a free block is taken: that, and the beginning of what stays free behind it, has
 * disk blocks. 0, HF_ENOSPC. */
int hf__heap_back_block(struct hf__heap *heap, const struct hf__block *block, uint64_t from,
                        uint64_t to);

/* ---- what an algorithm brings ---------------------------------------------------------------- */

/* What a free stretch must have room for. */
struct hf__fit {
    uint64_t size_bytes; /* of the block                                                          */
    uint64_t align;      /* power of two                                                          */
    uint64_t lead; /* payload + lead is what is aligned                                      */
};

/* Where the block would start in a stretch that starts at offset: what is left in front is nothing
 * or large enough to be a free block. */
static inline uint64_t hf__fit_start(const struct hf__fit *fit, uint64_t offset)
{
    if (fit->align <= HF__BLOCK_UNIT)
        return offset;
    uint64_t front = (0 - (offset + HF__BLOCK_HEADER_BYTES + fit->lead)) & (fit->align - 1);
    while (front != 0 && front < HF__BLOCK_BYTES_MIN)
        front += fit->align;
    return offset + front;
}

static inline bool hf__fit_holds(const struct hf__fit *fit, const struct hf__block *block)
{
    uint64_t front = hf__fit_start(fit, block->offset) - block->offset;
    return front <= block->size_bytes && fit->size_bytes <= block->size_bytes - front;
}

/* The free blocks of a heap, in nodes at the start of their payload, hung on root.free_set. Blocks
 * are handed over with their headers true; counters are the engine's. What needs a link that turns
 * out damaged returns HF_ECORRUPT, having changed nothing. Costs are within HF__HEAP_COST. */
struct hf__free_set {
    uint64_t node_bytes; /* what the set owns of a free payload                                   */
    /* The algorithm's choice of a block that fits; size_bytes 0 if there is none. Unless thorough,
     * it may give up on alignments after a few tries. 0, HF_ECORRUPT. */
    int (*find)(const struct hf__heap *heap, const struct hf__fit *fit, bool thorough,
                struct hf__block *out);
    int (*insert)(struct hf__heap *heap, const struct hf__block *block);
    int (*remove)(struct hf__heap *heap, const struct hf__block *block);
    /* All blocks, once each, most useful first: *cursor starts at 0. 1, 0 at the end,
     * HF_ECORRUPT. */
    int (*next)(const struct hf__heap *heap, uint64_t *cursor, struct hf__block *out);
    uint64_t (*largest_bytes)(const struct hf__heap *heap);
    /* Makes the set anew of count blocks in the order of their addresses; may sort them. */
    void (*build)(struct hf__heap *heap, struct hf__block *blocks, uint64_t count);
    /* Whether the walk's next free block is in the set, asked in order of addresses; *cursor starts
     * at 0. Reads anything, reports nothing. */
    bool (*holds)(const struct hf__heap *heap, const struct hf__block *block, uint64_t *cursor);
    /* Order, links and bounds of the set; returns how many blocks it reached. */
    uint64_t (*check)(const struct hf__heap *heap, struct hf__check *check);
};

extern const struct hf__free_set hf__free_tree; /* best_fit.c */
extern const struct hf__free_set hf__free_list; /* seq_fit.c */

/* ---- the contract's functions, by file ------------------------------------------------------- */

int hf__heap_init(struct hf__heap *heap, uint64_t first);
int hf__heap_allocate(struct hf__heap *heap, const struct hf__alloc_request *request, hf_ref *out,
                      uint64_t *usable);
int hf__heap_free(struct hf__heap *heap, hf_ref block);
/* Frees a block of any kind; HF__HEAP_COST was reserved. 0, HF_ECORRUPT. */
int hf__heap_release(struct hf__heap *heap, const struct hf__block *block);
uint64_t hf__heap_largest_free(const struct hf__heap *heap);
int hf__heap_allocate_many(struct hf__heap *heap, const uint64_t *sizes, uint64_t size_each,
                           uint64_t count, uint32_t kind, hf_ref *out);
int hf__heap_expand(struct hf__heap *heap, hf_ref block, unsigned flags, uint64_t limit_bytes,
                    uint64_t preferred_bytes, hf_ref *out, uint64_t *received);
int hf__heap_split(struct hf__heap *heap, hf_ref block, uint64_t keep_bytes, hf_ref *rest);
void hf__heap_zero_free(struct hf__heap *heap, hf__zeroed_fn *zeroed, void *user);
int hf__heap_rebuild(struct hf__heap *heap);
void hf__heap_check(const struct hf__heap *heap, struct hf__check *check);

#endif
