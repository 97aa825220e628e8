/* SPDX-License-Identifier: MIT */
/*
 * allocate.c - taking blocks and giving them back
 *
 * An allocation asks the free set, then the tail, then the segment for more tail. A block found is
 * cut: what is left in front (an alignment) and behind is free again if it is large enough to be a
 * block, else it stays with the new block. A free block merges with both neighbours at once, so no
 * two free blocks ever touch; at the end of the used range it becomes tail.
 *
 *   before  | previous | free                         | next |
 *   after   | previous | front | new block | back     | next |
 *
 *   1  All headers that will be written have been read, and the room for the announcements
 *      reserved, before the first write.
 *   2  The walk (H1, H2) is whole at every return; the free set is changed before and after.
 */
#include "alloc/blocks.h"

int hf__heap_init(struct hf__heap *heap, uint64_t first)
{
    struct hf__segment *seg = heap->seg;
    assert(first % HF__BLOCK_UNIT == 0 && first >= heap->root + sizeof(struct hf__heap_root));
    assert(seg->size_bytes <= HF__HEAP_BYTES_MAX);
    if (!hf__in_segment(seg, first, HF__BLOCK_BYTES_MIN))
        return hf__fail(HF_EFULL, "no room for a single block");
    int code = hf__reserve(seg, HF__EDIT_COST(sizeof(struct hf__heap_root)));
    if (code != 0)
        return code;
    struct hf__heap_root *root =
        (struct hf__heap_root *)hf__edit(seg, heap->root, sizeof(struct hf__heap_root));
    *root = (struct hf__heap_root){.first = first, .used_end = first};
    return 0;
}

/* Makes part of a free block, which has left the free set, a live one. */
static int carve(struct hf__heap *heap, const struct hf__block *from, struct hf__block *block)
{
    uint64_t front = block->offset - from->offset, whole = from->size_bytes;
    uint64_t back = whole - front - block->size_bytes;
    int front_code = 0, back_code = 0;
    if (back < HF__BLOCK_BYTES_MIN) {
        block->size_bytes += back;
        back = 0;
    }
    block->previous_bytes = front != 0 ? front : from->previous_bytes;
    if (front != 0)
        front_code = hf__heap_add_free(heap, from->offset, front, from->previous_bytes, from->hole);
    hf__block_write(heap->seg, block);
    if (back != 0)
        back_code =
            hf__heap_add_free(heap, hf__block_end(block), back, block->size_bytes, from->hole);
    hf__heap_set_previous(heap, hf__block_end(from), back != 0 ? back : block->size_bytes);
    hf__heap_count(heap, -(int64_t)block->size_bytes, (front != 0) + (back != 0) - 1,
                   (int64_t)block->size_bytes, 1);
    return front_code != 0 ? front_code : back_code;
}

static int take_from_set(struct hf__heap *heap, const struct hf__block *from,
                         const struct hf__fit *fit, struct hf__block *block)
{
    struct hf__block next;
    int code = hf__heap_after(heap, from, &next);
    block->offset = hf__fit_start(fit, from->offset);
    if (code == 0)
        code = hf__heap_back_block(heap, from, block->offset, hf__block_end(block));
    if (code == 0)
        code = hf__reserve(heap->seg, HF__HEAP_COST);
    if (code == 0)
        code = heap->algorithm->free_set->remove(heap, from);
    if (code != 0)
        return code;
    return carve(heap, from, block);
}

/* The tail holds it, or will once the segment has grown. */
static int take_from_tail(struct hf__heap *heap, const struct hf__fit *fit, struct hf__block *block)
{
    struct hf__block last;
    uint64_t end = hf__heap_used_end(heap);
    int code = hf__heap_last(heap, &last);
    block->offset = hf__fit_start(fit, end);
    if (code == 0)
        code = hf__heap_back(heap, hf__block_end(block));
    if (code == 0)
        code = hf__reserve(heap->seg, HF__HEAP_COST);
    if (code != 0)
        return code;
    uint64_t front = block->offset - end;
    block->previous_bytes = front != 0 ? front : last.size_bytes;
    hf__block_write(heap->seg, block);
    hf__heap_set_end(heap, hf__block_end(block), block->size_bytes);
    hf__heap_count(heap, (int64_t)front, front != 0, (int64_t)block->size_bytes, 1);
    return front != 0 ? hf__heap_add_free(heap, end, front, last.size_bytes, false) : 0;
}

int hf__heap_allocate(struct hf__heap *heap, const struct hf__alloc_request *request, hf_ref *out,
                      uint64_t *usable)
{
    const struct hf__free_set *set = heap->algorithm->free_set;
    struct hf__fit fit = {.align = request->align_bytes};
    struct hf__block from = {0}, block = {.kind = request->kind};
    assert((fit.align & (fit.align - 1)) == 0 && request->lead_bytes % HF__BLOCK_UNIT == 0);
    assert(request->kind != HF__BLOCK_FREE && request->kind <= HF__BLOCK_SLABS);
    int code = hf__block_bytes_for(request->size_bytes, &fit.size_bytes);
    if (code != 0)
        return code;
    if (fit.align > HF__HEAP_BYTES_MAX)
        return hf__fail(HF_EOVERFLOW, "no alignment of %llu", (unsigned long long)fit.align);
    if (fit.align > HF__BLOCK_UNIT)
        fit.lead = request->lead_bytes & (fit.align - 1); /* all that matters, and can't overflow */
    block.size_bytes = fit.size_bytes;

    code = hf__heap_sound(heap);
    if (code == 0)
        code = set->find(heap, &fit, false, &from);
    if (code != 0)
        return code;
    uint64_t used_end = hf__heap_used_end(heap);
    uint64_t tail_need = hf__fit_start(&fit, used_end) - used_end + fit.size_bytes;
    if (from.size_bytes == 0 && tail_need > hf__heap_tail(heap) && fit.align > HF__BLOCK_UNIT)
        code = set->find(heap, &fit, true, &from); /* worth a search before growing */
    if (code == 0)
        code = from.size_bytes != 0 ? take_from_set(heap, &from, &fit, &block)
                                    : take_from_tail(heap, &fit, &block);
    /* The disk is full, but the tail has blocks already. */
    if (code == HF_ENOSPC && from.hole && tail_need <= hf__heap_tail(heap))
        code = take_from_tail(heap, &fit, &block);
    if (code != 0)
        return code;
    *out = block.offset + HF__BLOCK_HEADER_BYTES;
    if (usable != NULL)
        *usable = block.size_bytes - HF__BLOCK_HEADER_BYTES;
    return 0;
}

/* Gives [start, used_end) back to the tail; its headers are destroyed already, but start's. */
static void lower_end(struct hf__heap *heap, uint64_t start, uint64_t previous_bytes)
{
    hf__block_destroy(heap->seg, start);
    hf__heap_set_end(heap, start, previous_bytes);
}

int hf__heap_free(struct hf__heap *heap, hf_ref payload)
{
    struct hf__block block, neighbour;
    int code = hf__heap_sound(heap);
    if (code == 0)
        code = hf__heap_live(heap, payload, true, &block);
    if (code == 0)
        code = hf__heap_before(heap, &block, &neighbour);
    if (code == 0)
        code = hf__heap_after(heap, &block, &neighbour);
    if (code == 0)
        code = hf__reserve(heap->seg, HF__HEAP_COST);
    return code == 0 ? hf__heap_release(heap, &block) : code;
}

int hf__heap_release(struct hf__heap *heap, const struct hf__block *released)
{
    const struct hf__free_set *set = heap->algorithm->free_set;
    struct hf__block block = *released, before, after;
    int code = hf__heap_before(heap, &block, &before);
    if (code == 0)
        code = hf__heap_after(heap, &block, &after);
    if (code != 0)
        return code;
    bool merge_before = before.size_bytes != 0 && before.kind == HF__BLOCK_FREE;
    bool merge_after = after.size_bytes != 0 && after.kind == HF__BLOCK_FREE;
    if (merge_before)
        code = set->remove(heap, &before);
    if (code == 0 && merge_after)
        code = set->remove(heap, &after);
    if (code != 0)
        return code;

    int64_t freed = (int64_t)block.size_bytes, merged = 0;
    struct hf__block whole = block;
    if (merge_before) {
        hf__block_destroy(heap->seg, block.offset);
        whole.offset = before.offset;
        whole.size_bytes += before.size_bytes;
        whole.previous_bytes = before.previous_bytes;
        whole.hole = before.hole;
        merged++;
    }
    if (merge_after) {
        hf__block_destroy(heap->seg, after.offset);
        whole.size_bytes += after.size_bytes;
        whole.hole |= after.hole;
        merged++;
    }
    if (hf__block_end(&whole) == hf__heap_used_end(heap)) {
        hf__heap_count(heap, freed - (int64_t)whole.size_bytes, -merged, -freed, -1);
        lower_end(heap, whole.offset, whole.previous_bytes);
        hf__heap_lower(heap, &whole);
        return 0;
    }
    hf__heap_count(heap, freed, 1 - merged, -freed, -1);
    hf__heap_set_previous(heap, hf__block_end(&whole), whole.size_bytes);
    return hf__heap_add_free(heap, whole.offset, whole.size_bytes, whole.previous_bytes, whole.hole);
}

uint64_t hf__heap_largest_free(const struct hf__heap *heap)
{
    if (hf__heap_sound(heap) != 0)
        return 0;
    uint64_t tail = hf__heap_tail(heap) / HF__BLOCK_UNIT * HF__BLOCK_UNIT;
    uint64_t largest = heap->algorithm->free_set->largest_bytes(heap);
    if (tail > largest)
        largest = tail;
    return largest >= HF__BLOCK_BYTES_MIN ? largest - HF__BLOCK_HEADER_BYTES : 0;
}
