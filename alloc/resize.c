/* SPDX-License-Identifier: MIT */
/*
 * resize.c - changing a live block in place
 *
 * A block grows over a free neighbour, or as the last one into the tail. Forward is exhausted
 * before backward is begun, and never more is taken than preferred, except for a remainder too
 * small to be a block.
 *
 *   before  | free before        | block | free after | next |
 *   after   | free | block, larger                    | next |     backward
 *   after   | free before        | block, larger | fr | next |     forward only
 *
 *   1  What is reachable is known, grown and reserved before the first write.
 *   2  Content does not move: expanded backward, it lies later in the block.
 */
#include "alloc/blocks.h"

#include "holdfast/memory.h"

/* What an expansion may use. Of a neighbour it doesn't use, size_bytes is 0. */
struct reach {
    struct hf__block block, before, after;
    bool last;              /* nothing above but the tail */
    uint64_t forward_bytes; /* largest size without moving the start */
    uint64_t total_bytes;   /* and with it */
};

static int look_around(const struct hf__heap *heap, hf_ref payload, unsigned flags,
                       struct reach *reach)
{
    int code = hf__heap_sound(heap);
    if (code == 0)
        code = hf__heap_live(heap, payload, false, &reach->block);
    if (code == 0)
        code = hf__heap_before(heap, &reach->block, &reach->before);
    if (code == 0)
        code = hf__heap_after(heap, &reach->block, &reach->after);
    if (code != 0)
        return code;
    reach->last = reach->after.size_bytes == 0;
    if ((flags & HF_EXPAND_FORWARD) == 0 || reach->after.kind != HF__BLOCK_FREE)
        reach->after.size_bytes = 0;
    if ((flags & HF_EXPAND_BACKWARD) == 0 || reach->before.kind != HF__BLOCK_FREE)
        reach->before.size_bytes = 0;
    reach->forward_bytes = reach->block.size_bytes + reach->after.size_bytes;
    reach->total_bytes = reach->forward_bytes + reach->before.size_bytes;
    return 0;
}

/* The last block: how far the tail goes, after growing the segment if it must be and can be.
 * Returns the refusal of the growth (which matters only if the limit isn't reached). */
static int reach_into_tail(struct hf__heap *heap, struct reach *reach, uint64_t limit,
                           uint64_t preferred)
{
    int code = hf__heap_back(heap, reach->block.offset + preferred);
    if (code != 0 && limit < preferred && reach->total_bytes < limit)
        code = hf__heap_back(heap, reach->block.offset + limit);
    uint64_t backed = heap->seg->size_bytes - reach->block.offset;
    if (backed > HF__HEAP_BYTES_MAX - reach->block.offset)
        backed = HF__HEAP_BYTES_MAX - reach->block.offset;
    if (backed > preferred)
        backed = preferred;
    backed -= backed % HF__BLOCK_UNIT;
    if (backed > reach->forward_bytes) {
        reach->total_bytes += backed - reach->forward_bytes;
        reach->forward_bytes = backed;
    }
    return code;
}

/* Gives the block its new place and size: everything is in reach and reserved. */
static int stretch(struct hf__heap *heap, const struct reach *reach, uint64_t want,
                   struct hf__block *grown)
{
    const struct hf__free_set *set = heap->algorithm->free_set;
    const struct hf__block *before = &reach->before, *after = &reach->after;
    bool use_after = after->size_bytes != 0;
    bool use_before = want > reach->forward_bytes;
    int code = use_after ? set->remove(heap, after) : 0;
    if (code == 0 && use_before)
        code = set->remove(heap, before);
    if (code != 0)
        return code;

    uint64_t old_end = hf__block_end(&reach->block), end = old_end;
    uint64_t front = 0, back = 0; /* what stays free of before and after */
    *grown = reach->block;
    if (use_before) {
        end = reach->block.offset + reach->forward_bytes;
        front = before->size_bytes - (want - reach->forward_bytes);
        if (front < HF__BLOCK_BYTES_MIN)
            front = 0;
        grown->offset = before->offset + front;
        grown->previous_bytes = front != 0 ? front : before->previous_bytes;
        hf__block_destroy(heap->seg, reach->block.offset);
    } else {
        end = reach->block.offset + want;
        back = use_after ? hf__block_end(after) - end : 0;
        if (back < HF__BLOCK_BYTES_MIN) {
            end += back;
            back = 0;
        }
    }
    grown->size_bytes = end - grown->offset;
    if (use_after)
        hf__block_destroy(heap->seg, after->offset);
    hf__block_write(heap->seg, grown);

    if (reach->last)
        hf__heap_set_end(heap, end, grown->size_bytes);
    else
        hf__heap_set_previous(heap, end + back, back != 0 ? back : grown->size_bytes);
    uint64_t gained = grown->size_bytes - reach->block.size_bytes;
    uint64_t from_tail = reach->last ? end - old_end : 0;
    hf__heap_count(heap, -(int64_t)(gained - from_tail),
                   (front != 0) - use_before + (back != 0) - use_after, (int64_t)gained, 0);
    int front_code = 0, back_code = 0;
    if (front != 0)
        front_code = hf__heap_add_free(heap, before->offset, front, before->previous_bytes,
                                       before->hole);
    if (back != 0)
        back_code = hf__heap_add_free(heap, end, back, grown->size_bytes, after->hole);
    return front_code != 0 ? front_code : back_code;
}

/* What a block of that size takes of its neighbours has disk blocks. */
static int back_reach(struct hf__heap *heap, const struct reach *reach, uint64_t want)
{
    const struct hf__block *before = &reach->before, *after = &reach->after;
    int code = 0;
    if (after->size_bytes != 0) {
        const uint64_t to = reach->block.offset + want;
        code = hf__heap_back_block(heap, after, after->offset,
                                   to < hf__block_end(after) ? to : hf__block_end(after));
    }
    if (code == 0 && want > reach->forward_bytes) {
        uint64_t front = before->size_bytes - (want - reach->forward_bytes);
        front = front < HF__BLOCK_BYTES_MIN ? 0 : front;
        code = hf__heap_back_block(heap, before, before->offset + front, hf__block_end(before));
    }
    return code;
}

int hf__heap_expand(struct hf__heap *heap, hf_ref block, unsigned flags, uint64_t limit_bytes,
                    uint64_t preferred_bytes, hf_ref *out, uint64_t *received)
{
    struct reach reach;
    struct hf__block grown;
    uint64_t limit, preferred;
    assert(limit_bytes <= preferred_bytes);
    int code = hf__block_bytes_for(limit_bytes, &limit), grow_code = 0;
    if (code == 0)
        code = hf__block_bytes_for(preferred_bytes, &preferred);
    if (code == 0)
        code = look_around(heap, block, flags, &reach);
    if (code != 0)
        return code;
    if (reach.last && (flags & HF_EXPAND_FORWARD) != 0 && reach.block.size_bytes < preferred)
        grow_code = reach_into_tail(heap, &reach, limit, preferred);

    uint64_t want = reach.total_bytes < preferred ? reach.total_bytes : preferred;
    if (want < limit) {
        *received = reach.total_bytes - HF__BLOCK_HEADER_BYTES;
        return grow_code != 0 ? grow_code : hf__fail(HF_EFULL, "the block can't grow so far");
    }
    grown = reach.block;
    if (want > reach.block.size_bytes) {
        code = back_reach(heap, &reach, want);
        if (code == 0)
            code = hf__reserve(heap->seg, HF__HEAP_COST);
        if (code == 0)
            code = stretch(heap, &reach, want, &grown);
        if (code != 0)
            return code;
    }
    *out = grown.offset + HF__BLOCK_HEADER_BYTES;
    *received = grown.size_bytes - HF__BLOCK_HEADER_BYTES;
    return 0;
}

int hf__heap_split(struct hf__heap *heap, hf_ref payload, uint64_t keep_bytes, hf_ref *rest)
{
    struct hf__block block, after;
    uint64_t keep;
    int code = hf__block_bytes_for(keep_bytes, &keep);
    if (code == 0)
        code = hf__heap_sound(heap);
    if (code == 0)
        code = hf__heap_live(heap, payload, false, &block);
    if (code == 0)
        code = hf__heap_after(heap, &block, &after);
    if (code != 0)
        return code;
    if (keep > block.size_bytes || block.size_bytes - keep < HF__BLOCK_BYTES_MIN) {
        *rest = 0;
        return 0;
    }
    code = hf__reserve(heap->seg, HF__HEAP_COST);
    if (code != 0)
        return code;
    struct hf__block second = block;
    second.offset += keep;
    second.size_bytes -= keep;
    second.previous_bytes = keep;
    block.size_bytes = keep;
    hf__block_write(heap->seg, &block);
    hf__block_write(heap->seg, &second);
    hf__heap_set_previous(heap, hf__block_end(&second), second.size_bytes);
    hf__heap_count(heap, 0, 0, 0, 1);
    *rest = second.offset + HF__BLOCK_HEADER_BYTES;
    return 0;
}
