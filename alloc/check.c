/* SPDX-License-Identifier: MIT */
/*
 * check.c - whether a heap is what allocator.h says
 *
 * One walk from first to used_end looks at every header (H1..H3), adds up the counters (H5) and
 * asks the free set for every free block; then the set checks itself and counts. If all free blocks
 * of the walk are in the set, and it has no more members than the walk has free blocks, they are
 * the same (H4). H6 would need every offset to be hashed; the tests do that.
 *
 *   rule               what it wants
 *   heap.root          first, used_end and last_bytes make sense and agree with the walk
 *   heap.counters      H5
 *   block.checksum     H1: a true header where the block before ends
 *   block.bounds       H1: the block ends within used_end
 *   block.previous     H2
 *   block.neighbours   H3: no two free blocks side by side
 *   block.last         H3: the last block is not free
 *   free.missing       H4: a free block is in the free set
 *   free.count         H4: nothing else is
 *   chunk.*, slabs.*   S1..S4 of slab.c, in slab_check.c
 *   free.order, free.bounds, free.parent, free.balance    the set's own order and links
 */
#include "alloc/blocks.h"
#include "alloc/slab.h"

/* What the walk has seen. */
struct totals {
    struct hf__slab_totals slab;
    uint64_t free_bytes, free_blocks, live_bytes, live_blocks;
    uint64_t last_bytes;
    bool last_free;
    bool whole; /* it reached used_end */
};

static void look_at(const struct hf__heap *heap, struct hf__check *check,
                    const struct hf__block *block, struct totals *totals, uint64_t *cursor)
{
    if (block->previous_bytes != totals->last_bytes)
        hf__finding(check, "block.previous", block->offset,
                    "the block before has %llu bytes, the header says %llu",
                    (unsigned long long)totals->last_bytes,
                    (unsigned long long)block->previous_bytes);
    if (block->kind == HF__BLOCK_FREE) {
        if (totals->last_free)
            hf__finding(check, "block.neighbours", block->offset,
                        "a free block after a free block");
        if (!heap->algorithm->free_set->holds(heap, block, cursor))
            hf__finding(check, "free.missing", block->offset,
                        "a free block of %llu bytes is not in the free set",
                        (unsigned long long)block->size_bytes);
        totals->free_bytes += block->size_bytes;
        totals->free_blocks++;
    } else if (block->kind > HF__BLOCK_LOST) {
        struct hf__slab_share share;
        hf__slab_check_block(heap, check, block, &totals->slab);
        hf__slab_share(heap, block, &share);
        totals->free_bytes += share.free_bytes;
        totals->live_bytes += block->size_bytes - share.free_bytes;
        totals->live_blocks += share.live_blocks;
    } else {
        totals->live_bytes += block->size_bytes;
        totals->live_blocks++;
    }
    totals->last_bytes = block->size_bytes;
    totals->last_free = block->kind == HF__BLOCK_FREE;
}

static void walk(const struct hf__heap *heap, struct hf__check *check, struct totals *totals)
{
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    uint64_t offset = root->first, cursor = 0;
    while (offset < root->used_end && !hf__check_stopped(check)) {
        struct hf__block block;
        if (!hf__block_read(heap->seg, offset, &block) ||
            (block.kind > HF__BLOCK_LOST && !heap->algorithm->slabs)) {
            hf__finding(check, "block.checksum", offset, "no true header where a block should be");
            return;
        }
        if (block.size_bytes > root->used_end - offset) {
            hf__finding(check, "block.bounds", offset, "%llu bytes, but only %llu are used",
                        (unsigned long long)block.size_bytes,
                        (unsigned long long)(root->used_end - offset));
            return;
        }
        look_at(heap, check, &block, totals, &cursor);
        offset = hf__block_end(&block);
        hf__check_step(check, block.size_bytes);
    }
    totals->whole = offset == root->used_end;
}

static void compare(const struct hf__heap *heap, struct hf__check *check, const char *what,
                    uint64_t recorded, uint64_t seen)
{
    if (recorded != seen)
        hf__finding(check, "heap.counters", heap->root, "%s: %llu recorded, %llu seen", what,
                    (unsigned long long)recorded, (unsigned long long)seen);
}

void hf__heap_check(const struct hf__heap *heap, struct hf__check *check)
{
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    struct totals totals = {0};
    if (hf__heap_sound(heap) != 0) {
        hf__finding(check, "heap.root", heap->root,
                    "first %llu, used end %llu, last block %llu: not in a segment of %llu",
                    (unsigned long long)root->first, (unsigned long long)root->used_end,
                    (unsigned long long)root->last_bytes,
                    (unsigned long long)heap->seg->size_bytes);
        return;
    }
    walk(heap, check, &totals);
    uint64_t members = heap->algorithm->free_set->check(heap, check);
    if (heap->algorithm->slabs && totals.whole)
        hf__slab_check_lists(heap, check, &totals.slab);
    if (totals.whole) {
        if (totals.last_bytes != root->last_bytes)
            hf__finding(check, "heap.root", heap->root, "last block: %llu recorded, %llu seen",
                        (unsigned long long)root->last_bytes,
                        (unsigned long long)totals.last_bytes);
        if (totals.last_free)
            hf__finding(check, "block.last", root->used_end - totals.last_bytes,
                        "the last block is free");
        if (members != totals.free_blocks)
            hf__finding(check, "free.count", heap->root, "%llu in the free set, %llu free blocks",
                        (unsigned long long)members, (unsigned long long)totals.free_blocks);
        compare(heap, check, "free bytes", root->free_bytes, totals.free_bytes);
        compare(heap, check, "free blocks", root->free_blocks, totals.free_blocks);
        compare(heap, check, "live bytes", root->live_bytes, totals.live_bytes);
        compare(heap, check, "live blocks", root->live_blocks, totals.live_blocks);
    }
    check->report.blocks += totals.live_blocks + totals.free_blocks;
    check->report.free_blocks += totals.free_blocks;
    check->report.live_bytes += totals.live_bytes;
    check->report.free_bytes += totals.free_bytes;
}
