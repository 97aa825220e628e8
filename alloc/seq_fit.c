/* SPDX-License-Identifier: MIT */
/*
 * seq_fit.c - free blocks in a singly linked list, in the order of their addresses
 *
 * First fit: the lowest free block that is large enough is taken. The link to the next free block
 * is the first word of the free payload; links are payload offsets, 0 ends the list. Every
 * operation searches the list from its head, so this is for small segments, where 8 bytes a block
 * and very little code are worth more than speed.
 *
 * Invariants:
 *   1  every linked offset is the payload of a true free header;
 *   2  links rise strictly, so that any walk of the list ends.
 *
 * A walk believes a link only after 2, and writes to a node only after 1, have been verified.
 */
#include "alloc/blocks.h"

#define LINK_BYTES sizeof(uint64_t)

static uint64_t head_field(const struct hf__heap *heap)
{
    return heap->root + offsetof(struct hf__heap_root, free_set);
}

static uint64_t link_of(const struct hf__block *block)
{
    return block->offset + HF__BLOCK_HEADER_BYTES;
}

static uint64_t read_link(const struct hf__heap *heap, uint64_t link)
{
    return *(const uint64_t *)hf__at(heap->seg, link);
}

static void write_link(struct hf__heap *heap, uint64_t link, uint64_t value)
{
    *(uint64_t *)hf__edit(heap->seg, link, LINK_BYTES) = value;
}

/* Steps to the block that the link at *link (the head or a node) leads to, and moves *link there.
 * 1, 0 at the end, HF_ECORRUPT. */
static int step(const struct hf__heap *heap, uint64_t *link, struct hf__block *out)
{
    bool from_head = *link == head_field(heap);
    uint64_t to = read_link(heap, *link);
    if (to == 0)
        return 0;
    if (!from_head && to <= *link)
        return hf__corrupt("free.order", *link);
    int code = hf__heap_block(heap, to - HF__BLOCK_HEADER_BYTES, out);
    if (code == 0 && out->kind != HF__BLOCK_FREE)
        code = hf__corrupt("free.bounds", *link);
    if (code != 0)
        return code;
    *link = to;
    return 1;
}

/* The link that leads to the first free block at or after offset (or to the end). 0,
 * HF_ECORRUPT. */
static int link_before(const struct hf__heap *heap, uint64_t offset, uint64_t *out)
{
    struct hf__block block;
    uint64_t link = head_field(heap), before = link;
    int found;
    while ((found = step(heap, &link, &block)) == 1 && block.offset < offset)
        before = link;
    *out = before;
    return found < 0 ? found : 0;
}

static int find(const struct hf__heap *heap, const struct hf__fit *fit, bool thorough,
                struct hf__block *out)
{
    uint64_t link = head_field(heap);
    int found;
    (void)thorough; /* always */
    while ((found = step(heap, &link, out)) == 1)
        if (hf__fit_holds(fit, out))
            return 0;
    out->size_bytes = 0;
    return found;
}

static int insert(struct hf__heap *heap, const struct hf__block *block)
{
    uint64_t before;
    int code = link_before(heap, block->offset, &before);
    if (code == 0 && read_link(heap, before) == link_of(block))
        code = hf__corrupt("free.order", before);
    if (code != 0)
        return code;
    write_link(heap, link_of(block), read_link(heap, before));
    write_link(heap, before, link_of(block));
    return 0;
}

static int remove_block(struct hf__heap *heap, const struct hf__block *block)
{
    uint64_t before;
    int code = link_before(heap, block->offset, &before);
    if (code == 0 && read_link(heap, before) != link_of(block))
        code = hf__corrupt("free.order", block->offset);
    uint64_t after = read_link(heap, link_of(block));
    if (code == 0 && after != 0 && after <= link_of(block))
        code = hf__corrupt("free.order", link_of(block));
    if (code != 0)
        return code;
    /* Not written here, but from now on by whoever gets the payload: an undo wants it back. */
    hf__edit(heap->seg, link_of(block), LINK_BYTES);
    write_link(heap, before, after);
    return 0;
}

static int next(const struct hf__heap *heap, uint64_t *cursor, struct hf__block *out)
{
    if (*cursor == 0)
        *cursor = head_field(heap);
    return step(heap, cursor, out);
}

static uint64_t largest_bytes(const struct hf__heap *heap)
{
    struct hf__block block;
    uint64_t link = head_field(heap), largest = 0;
    while (step(heap, &link, &block) == 1)
        if (block.size_bytes > largest)
            largest = block.size_bytes;
    return largest;
}

static void build(struct hf__heap *heap, struct hf__block *blocks, uint64_t count)
{
    uint64_t link = head_field(heap);
    for (uint64_t i = 0; i < count; i++) {
        write_link(heap, link, link_of(&blocks[i]));
        link = link_of(&blocks[i]);
    }
    write_link(heap, link, 0);
}

/* The walk and the list are in the same order, so they go side by side. */
static bool holds(const struct hf__heap *heap, const struct hf__block *block, uint64_t *cursor)
{
    struct hf__block listed;
    uint64_t link = *cursor == 0 ? head_field(heap) : *cursor;
    while (step(heap, &link, &listed) == 1) {
        if (listed.offset > block->offset)
            return false;
        *cursor = link;
        if (listed.offset == block->offset)
            return true;
    }
    return false;
}

static uint64_t check_list(const struct hf__heap *heap, struct hf__check *check)
{
    struct hf__block block;
    uint64_t link = head_field(heap), count = 0;
    int found = 0;
    while (!hf__check_stopped(check) && (found = step(heap, &link, &block)) == 1)
        count++;
    if (found < 0) {
        bool order = link != head_field(heap) && read_link(heap, link) <= link;
        hf__finding(check, order ? "free.order" : "free.bounds", link,
                    "link to %llu, expected a higher free block or 0",
                    (unsigned long long)read_link(heap, link));
    }
    return count;
}

const struct hf__free_set hf__free_list = {
    .node_bytes = LINK_BYTES,
    .find = find,
    .insert = insert,
    .remove = remove_block,
    .next = next,
    .largest_bytes = largest_bytes,
    .build = build,
    .holds = holds,
    .check = check_list,
};

const struct hf__allocator hf__alloc_seq_fit = {
    .kind = HF_ALLOC_SEQ_FIT,
    .name = "seq_fit",
    .free_set = &hf__free_list,
    .init = hf__heap_init,
    .allocate = hf__heap_allocate,
    .allocate_many = hf__heap_allocate_many,
    .expand = hf__heap_expand,
    .split = hf__heap_split,
    .free = hf__heap_free,
    .largest_free = hf__heap_largest_free,
    .zero_free = hf__heap_zero_free,
    .rebuild = hf__heap_rebuild,
    .check = hf__heap_check,
};
