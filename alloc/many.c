/* SPDX-License-Identifier: MIT */
/*
 * many.c - many blocks in one call
 *
 * The blocks are cut side by side from one stretch: a free block that holds them all, the tail, or
 * the tail after growing. Only where there is no such stretch are they spread over several free
 * blocks, each filled as far as it goes, and what is left goes to the tail.
 *
 * All or none without a way back: first a plan, which only reads and puts each block's header
 * offset into the caller's array; then everything that can be refused (growth, room for the
 * announcements); then the cuts. Blocks that follow each other in the plan and in the segment are
 * one run, cut from one free block or from the tail.
 *
 *   1  Runs come from different stretches, so cutting one leaves the others as planned.
 *   2  A run's headers are written in one pass, the counters once a run.
 *
 * A run is announced as one range or header by header, whichever bound is cheaper: a range costs 88
 * bytes for each 64 it spans, a header 200, so blocks below some 145 bytes are cheaper as a range,
 * of which mostly every line holds a header anyway.
 */
#include "alloc/blocks.h"

struct many {
    const uint64_t *sizes; /* NULL: each_bytes everywhere */
    uint64_t each_bytes;   /* of a block, header included */
    uint64_t count;
    uint64_t total_bytes;
    uint32_t kind;
    hf_ref *out; /* the plan: header offsets */
};

static uint64_t bytes_of(const struct many *many, uint64_t i)
{
    uint64_t bytes = many->each_bytes;
    if (many->sizes != NULL && hf__block_bytes_for(many->sizes[i], &bytes) != 0)
        assert(!"every size was looked at before");
    return bytes;
}

/* Adds up the sizes. 0, HF_EOVERFLOW. */
static int measure(struct many *many, uint64_t size_each)
{
    many->total_bytes = 0;
    if (many->sizes == NULL) {
        int code = hf__block_bytes_for(size_each, &many->each_bytes);
        if (code == 0 && many->count > HF__BLOCK_BYTES_MAX / many->each_bytes)
            code = hf__fail(HF_EOVERFLOW, "%llu blocks of %llu bytes",
                            (unsigned long long)many->count, (unsigned long long)size_each);
        if (code == 0)
            many->total_bytes = many->count * many->each_bytes;
        return code;
    }
    for (uint64_t i = 0; i < many->count; i++) {
        uint64_t bytes;
        int code = hf__block_bytes_for(many->sizes[i], &bytes);
        if (code == 0 && bytes > HF__BLOCK_BYTES_MAX - many->total_bytes)
            code = hf__fail(HF_EOVERFLOW, "the sizes add up to more than a segment can have");
        if (code != 0)
            return code;
        many->total_bytes += bytes;
    }
    return 0;
}

/* Plans as many blocks from number i on as fit side by side in size_bytes at offset. */
static uint64_t plan_run(struct many *many, uint64_t i, uint64_t offset, uint64_t size_bytes)
{
    uint64_t end = offset + size_bytes;
    for (; i < many->count; i++) {
        uint64_t bytes = bytes_of(many, i);
        if (bytes > end - offset)
            break;
        many->out[i] = offset;
        offset += bytes;
    }
    return i;
}

static int plan(struct hf__heap *heap, struct many *many)
{
    const struct hf__free_set *set = heap->algorithm->free_set;
    struct hf__fit whole = {.size_bytes = many->total_bytes};
    struct hf__block block = {0};
    uint64_t planned = 0, cursor = 0, used_end = hf__heap_used_end(heap);
    int code = set->find(heap, &whole, true, &block);
    if (code != 0)
        return code;
    if (block.size_bytes != 0)
        planned = plan_run(many, 0, block.offset, block.size_bytes);
    else if (hf__heap_back(heap, used_end + many->total_bytes) == 0)
        planned = plan_run(many, 0, used_end, many->total_bytes);
    while (planned < many->count && (code = set->next(heap, &cursor, &block)) == 1)
        planned = plan_run(many, planned, block.offset, block.size_bytes);
    if (code < 0 || planned == many->count)
        return code < 0 ? code : 0;
    uint64_t rest = 0;
    for (uint64_t i = planned; i < many->count; i++)
        rest += bytes_of(many, i);
    code = hf__heap_back(heap, used_end + rest);
    if (code == 0)
        plan_run(many, planned, used_end, rest);
    return code;
}

/* Where the run that starts with block number i ends: the number after its last, and the offset. */
static uint64_t run_end(const struct many *many, uint64_t i, uint64_t *end)
{
    *end = many->out[i] + bytes_of(many, i);
    for (i++; i < many->count && many->out[i] == *end; i++)
        *end += bytes_of(many, i);
    return i;
}

static bool as_range(uint64_t bytes, uint64_t count)
{
    return HF__EDIT_COST(bytes) <= count * HF__EDIT_COST(HF__BLOCK_HEADER_BYTES);
}

/* What cutting all runs announces, and whether the blocks they come from are as planned. */
static int prepare(struct hf__heap *heap, const struct many *many, uint64_t *cost)
{
    struct hf__block from, other;
    *cost = 0;
    for (uint64_t i = 0, next; i < many->count; i = next) {
        uint64_t end, start = many->out[i];
        next = run_end(many, i, &end);
        int code;
        if (start == hf__heap_used_end(heap))
            code = hf__heap_last(heap, &other);
        else if ((code = hf__heap_block(heap, start, &from)) == 0)
            code = end <= hf__block_end(&from) ? hf__heap_after(heap, &from, &other)
                                               : hf__corrupt("block.neighbours", end);
        if (code == 0 && start != hf__heap_used_end(heap))
            code = hf__heap_back_block(heap, &from, start, end);
        if (code != 0)
            return code;
        *cost += HF__HEAP_COST + (as_range(end - start, next - i)
                                      ? HF__EDIT_COST(end - start)
                                      : (next - i) * HF__EDIT_COST(HF__BLOCK_HEADER_BYTES));
    }
    return 0;
}

/* Writes the headers of blocks i to next - 1, the last of which ends at end. Returns its size. */
static uint64_t write_run(struct hf__heap *heap, const struct many *many, uint64_t i, uint64_t next,
                          uint64_t end, uint64_t previous_bytes)
{
    uint64_t start = many->out[i];
    struct hf__block block = {.kind = many->kind, .size_bytes = previous_bytes};
    struct hf__segment plain = *heap->seg;
    if (plain.door != NULL && plain.door->fresh != NULL)
        plain.door->fresh(heap->seg, start, end - start);
    if (as_range(end - start, next - i)) {
        hf__edit(heap->seg, start, end - start);
        plain.door = NULL; /* announced as a whole */
    }
    for (; i < next; i++) {
        block.previous_bytes = block.size_bytes;
        block.offset = many->out[i];
        block.size_bytes = i + 1 < next ? many->out[i + 1] - block.offset : end - block.offset;
        hf__block_write(plain.door != NULL ? heap->seg : &plain, &block);
    }
    return block.size_bytes;
}

static int cut_from_tail(struct hf__heap *heap, const struct many *many, uint64_t i, uint64_t next,
                         uint64_t end)
{
    uint64_t start = many->out[i];
    uint64_t last = write_run(heap, many, i, next, end, hf__heap_root_of(heap)->last_bytes);
    hf__heap_set_end(heap, end, last);
    hf__heap_count(heap, 0, 0, (int64_t)(end - start), (int64_t)(next - i));
    return 0;
}

static int cut_from_set(struct hf__heap *heap, const struct many *many, uint64_t i, uint64_t next,
                        uint64_t end)
{
    struct hf__block from;
    uint64_t start = many->out[i];
    int code = hf__heap_block(heap, start, &from);
    if (code == 0 && (from.kind != HF__BLOCK_FREE || end > hf__block_end(&from)))
        code = hf__corrupt("block.bounds", start); /* overlaps an earlier run */
    if (code == 0)
        code = heap->algorithm->free_set->remove(heap, &from);
    if (code != 0)
        return code;
    uint64_t back = hf__block_end(&from) - end;
    if (back < HF__BLOCK_BYTES_MIN) {
        end += back;
        back = 0;
    }
    uint64_t last = write_run(heap, many, i, next, end, from.previous_bytes);
    hf__heap_set_previous(heap, hf__block_end(&from), back != 0 ? back : last);
    hf__heap_count(heap, -(int64_t)(end - start), (back != 0) - 1, (int64_t)(end - start),
                   (int64_t)(next - i));
    return back != 0 ? hf__heap_add_free(heap, end, back, last, from.hole) : 0;
}

int hf__heap_allocate_many(struct hf__heap *heap, const uint64_t *sizes, uint64_t size_each,
                           uint64_t count, uint32_t kind, hf_ref *out)
{
    struct many many = {.sizes = sizes, .count = count, .kind = kind, .out = out};
    uint64_t cost;
    assert(kind != HF__BLOCK_FREE && kind <= HF__BLOCK_LOST);
    int code = measure(&many, size_each);
    if (code == 0)
        code = hf__heap_sound(heap);
    if (code != 0 || count == 0)
        return code;
    code = plan(heap, &many);
    if (code == 0)
        code = prepare(heap, &many, &cost);
    if (code == 0)
        code = hf__reserve(heap->seg, cost);
    for (uint64_t i = 0, next; code == 0 && i < count; i = next) {
        uint64_t end;
        next = run_end(&many, i, &end);
        code = many.out[i] == hf__heap_used_end(heap) ? cut_from_tail(heap, &many, i, next, end)
                                                      : cut_from_set(heap, &many, i, next, end);
    }
    for (uint64_t i = 0; code == 0 && i < count; i++)
        out[i] += HF__BLOCK_HEADER_BYTES;
    return code;
}
