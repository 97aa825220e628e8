/* SPDX-License-Identifier: MIT */
/*
 * holes.c - free blocks whose pages have been given back to the disk
 *
 * A large free block may be marked in its header: the whole pages behind the free set's node need not
 * have disk blocks, and read as zeros or as they were. Header and node lie in front of them, and the
 * next block's header behind, so the heap is walked and searched as before.
 *
 *   | header, node |  whole pages: a hole, perhaps  | rest of a page |  next header
 *
 *   1  A mark says "may be": a block whose pages are all there may be marked, one with a hole always is.
 *      So a merged block is marked if one of its parts is, and so is what is left of a cut one.
 *   2  Whoever takes of a marked block, be it the few bytes of a header and a node, has the disk's blocks
 *      put there first (back), and changes nothing if there are none.
 *   3  Only free blocks are marked. The tail has blocks: where a marked block becomes tail, the segment
 *      ends in front of its pages (lower), and gets them again when it grows.
 *
 * docs/space.md says when the pages are given back, and why nobody misses them.
 */
#include "alloc/blocks.h"

#define PAGE_BYTES UINT64_C(4096)

int hf__heap_back_block(struct hf__heap *heap, const struct hf__block *block, uint64_t from,
                        uint64_t to)
{
    struct hf__segment *seg = heap->seg;
    const uint64_t end = hf__block_end(block);
    if (!block->hole || seg->door == NULL || seg->door->back == NULL)
        return 0;
    to = end - to < HF__BLOCK_BYTES_MIN ? end : to + HF__BLOCK_BYTES_MIN;
    return seg->door->back(seg, from, to - from, end);
}

void hf__heap_lower(struct hf__heap *heap, const struct hf__block *block)
{
    struct hf__segment *seg = heap->seg;
    uint64_t end = block->offset + HF__BLOCK_HEADER_BYTES + heap->algorithm->free_set->node_bytes;
    end = (end + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    if (block->hole && seg->door != NULL && seg->door->lower != NULL && end < seg->size_bytes)
        seg->door->lower(seg, end);
}

int hf__heap_each_span(struct hf__heap *heap, uint64_t span_min, hf__span_fn *visit, void *user)
{
    const struct hf__free_set *set = heap->algorithm->free_set;
    uint64_t cursor = 0;
    struct hf__block block;
    int found = hf__heap_sound(heap);
    if (found != 0)
        return found;
    while ((found = set->next(heap, &cursor, &block)) == 1) {
        if (set == &hf__free_tree && block.size_bytes < span_min)
            return 0; /* the largest come first */
        /* The heap's word for it, bounds and all: what is given back is gone. */
        struct hf__block known;
        int code = hf__heap_block(heap, block.offset, &known);
        if (code == 0 && known.kind != HF__BLOCK_FREE)
            code = hf__corrupt("free.bounds", block.offset);
        if (code != 0)
            return code;
        uint64_t from = block.offset + HF__BLOCK_HEADER_BYTES + set->node_bytes + PAGE_BYTES - 1;
        from -= from % PAGE_BYTES;
        const uint64_t to = hf__block_end(&block) / PAGE_BYTES * PAGE_BYTES;
        if (to <= from || to - from < span_min)
            continue;
        code = visit(user, block.offset, from, to, known.hole);
        if (code != 0)
            return code;
    }
    return found;
}

/* The free set's order is by size and place, which stay. */
static int mark(void *user, uint64_t offset, uint64_t from, uint64_t to, bool hole)
{
    struct hf__heap *heap = (struct hf__heap *)user;
    struct hf__block block;
    (void)from;
    (void)to;
    if (hole)
        return 0;
    int code = hf__reserve(heap->seg, HF__EDIT_COST(HF__BLOCK_HEADER_BYTES));
    if (code == 0)
        code = hf__heap_block(heap, offset, &block);
    if (code != 0)
        return code;
    block.hole = true;
    hf__block_write(heap->seg, &block);
    return 0;
}

int hf__heap_mark_holes(struct hf__heap *heap, uint64_t span_min)
{
    return hf__heap_each_span(heap, span_min, mark, heap);
}
