/* SPDX-License-Identifier: MIT */
/*
 * blocks.c - headers, neighbours and the root
 *
 * Boundary tags: each block knows its own size and that of the block before it, so both neighbours
 * of a block are found without a search, and a walk from either end visits every byte. The size of
 * the last block, which no block follows, is in the root.
 *
 *   1  A header is believed only if its checksum is right (hf__block_read), and its size only if
 *      the block ends within used_end (hf__heap_block).
 *   2  A neighbour is believed only if the two headers agree on the size of the lower one.
 *   3  Nothing outside of root, headers and nodes of free blocks is ever written (payload is the
 *      user's), except by zero_free.
 *   4  A header that ceases to be one is overwritten (H6).
 */
#include "alloc/blocks.h"
#include "alloc/slab_cache.h"

#include <string.h>

/* ---- headers --------------------------------------------------------------------------------- */

void hf__block_write(struct hf__segment *seg, const struct hf__block *block)
{
    assert(block->size_bytes >= HF__BLOCK_BYTES_MIN && block->size_bytes <= HF__BLOCK_BYTES_MAX);
    assert(!block->hole || block->kind == HF__BLOCK_FREE);
    assert(block->size_bytes % HF__BLOCK_UNIT == 0 && block->previous_bytes % HF__BLOCK_UNIT == 0);
    uint64_t size_bits = block->size_bytes / HF__BLOCK_UNIT | (uint64_t)block->kind << 44 |
                         (uint64_t)block->pending << 48 | (uint64_t)block->hole << 49;
    uint64_t prev_bits = block->previous_bytes / HF__BLOCK_UNIT;
    uint64_t checksum = hf__block_checksum(seg, block->offset, size_bits, prev_bits);
    struct hf__block_header *header =
        (struct hf__block_header *)hf__edit(seg, block->offset, sizeof *header);
    header->size_word = size_bits | checksum << 52;
    header->prev_word = prev_bits | checksum >> 12 << 44;
}

void hf__block_destroy(struct hf__segment *seg, uint64_t offset)
{
    memset(hf__edit(seg, offset, HF__BLOCK_HEADER_BYTES), 0, HF__BLOCK_HEADER_BYTES);
}

int hf__block_bytes_for(uint64_t payload_bytes, uint64_t *out)
{
    if (payload_bytes > HF__BLOCK_BYTES_MAX - HF__BLOCK_HEADER_BYTES)
        return hf__fail(HF_EOVERFLOW, "a block can't have %llu bytes",
                        (unsigned long long)payload_bytes);
    uint64_t bytes = HF__BLOCK_HEADER_BYTES + payload_bytes;
    bytes = (bytes + HF__BLOCK_UNIT - 1) / HF__BLOCK_UNIT * HF__BLOCK_UNIT;
    *out = bytes < HF__BLOCK_BYTES_MIN ? HF__BLOCK_BYTES_MIN : bytes;
    return 0;
}

/* ---- the root -------------------------------------------------------------------------------- */

const struct hf__heap_root *hf__heap_root_of(const struct hf__heap *heap)
{
    return (const struct hf__heap_root *)hf__at(heap->seg, heap->root);
}

uint64_t hf__heap_used_end(const struct hf__heap *heap)
{
    return hf__heap_root_of(heap)->used_end;
}

bool hf__heap_first_possible(const struct hf__heap *heap)
{
    uint64_t first = hf__heap_root_of(heap)->first;
    return first % HF__BLOCK_UNIT == 0 && first >= heap->root + sizeof(struct hf__heap_root) &&
           first <= heap->seg->size_bytes;
}

int hf__heap_sound(const struct hf__heap *heap)
{
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    if (!hf__heap_first_possible(heap) || root->used_end % HF__BLOCK_UNIT != 0 ||
        root->first > root->used_end || root->used_end > heap->seg->size_bytes ||
        root->used_end > HF__HEAP_BYTES_MAX || root->last_bytes > root->used_end - root->first ||
        (root->last_bytes == 0) != (root->used_end == root->first))
        return hf__corrupt("heap.root", heap->root);
    return 0;
}

void hf__heap_set_end(struct hf__heap *heap, uint64_t used_end, uint64_t last_bytes)
{
    uint64_t old_end = hf__heap_used_end(heap);
    if (heap->algorithm->slabs && used_end > old_end)
        hf__slab_take_tail(heap, old_end, used_end);
    uint64_t *words = (uint64_t *)hf__edit(
        heap->seg, heap->root + offsetof(struct hf__heap_root, used_end), 2 * sizeof *words);
    words[0] = used_end;
    words[1] = last_bytes;
}

uint64_t hf__heap_tail(const struct hf__heap *heap)
{
    return heap->seg->size_bytes - hf__heap_used_end(heap);
}

int hf__heap_back(struct hf__heap *heap, uint64_t end)
{
    struct hf__segment *seg = heap->seg;
    if (end <= seg->size_bytes && end <= HF__HEAP_BYTES_MAX)
        return 0;
    if (seg->door == NULL || end > HF__HEAP_BYTES_MAX)
        return hf__fail(HF_EFULL, "%llu bytes wanted", (unsigned long long)end);
    int code = seg->door->grow(seg, end);
    assert(code != 0 || seg->size_bytes >= end);
    return code;
}

/* ---- blocks and their neighbours ------------------------------------------------------------- */

int hf__heap_block(const struct hf__heap *heap, uint64_t offset, struct hf__block *out)
{
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    if (offset < root->first || offset >= root->used_end ||
        !hf__block_read(heap->seg, offset, out) || out->size_bytes > root->used_end - offset ||
        (out->kind > HF__BLOCK_LOST && !heap->algorithm->slabs))
        return hf__corrupt("block.checksum", offset);
    return 0;
}

int hf__heap_live(const struct hf__heap *heap, hf_ref payload, bool pending_too,
                  struct hf__block *out)
{
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    uint64_t offset = payload - HF__BLOCK_HEADER_BYTES;
    if (payload < HF__BLOCK_HEADER_BYTES || offset < root->first || offset >= root->used_end ||
        !hf__block_read(heap->seg, offset, out) || out->size_bytes > root->used_end - offset ||
        out->kind == HF__BLOCK_FREE || out->kind > HF__BLOCK_LOST)
        return hf__fail(HF_EPTR, "no live block at %llu", (unsigned long long)payload);
    if (out->pending && !pending_too)
        return hf__fail(HF_EPTR, "the block at %llu is freed already", (unsigned long long)payload);
    return 0;
}

int hf__heap_before(const struct hf__heap *heap, const struct hf__block *block,
                    struct hf__block *out)
{
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    *out = (struct hf__block){0};
    if (block->previous_bytes == 0 && block->offset == root->first)
        return 0;
    if (block->previous_bytes == 0 || block->previous_bytes > block->offset - root->first)
        return hf__corrupt("block.previous", block->offset);
    int code = hf__heap_block(heap, block->offset - block->previous_bytes, out);
    if (code == 0 && out->size_bytes != block->previous_bytes)
        code = hf__corrupt("block.previous", block->offset);
    return code;
}

int hf__heap_after(const struct hf__heap *heap, const struct hf__block *block,
                   struct hf__block *out)
{
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    *out = (struct hf__block){0};
    if (hf__block_end(block) == root->used_end) {
        if (root->last_bytes != block->size_bytes)
            return hf__corrupt("heap.root", heap->root);
        return 0;
    }
    int code = hf__heap_block(heap, hf__block_end(block), out);
    if (code == 0 && out->previous_bytes != block->size_bytes)
        code = hf__corrupt("block.previous", out->offset);
    return code;
}

int hf__heap_last(const struct hf__heap *heap, struct hf__block *out)
{
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    *out = (struct hf__block){0};
    if (root->last_bytes == 0)
        return 0;
    int code = hf__heap_block(heap, root->used_end - root->last_bytes, out);
    if (code == 0 && out->size_bytes != root->last_bytes)
        code = hf__corrupt("heap.root", heap->root);
    return code;
}

void hf__heap_set_previous(struct hf__heap *heap, uint64_t offset, uint64_t size_bytes)
{
    struct hf__block block;
    if (offset == hf__heap_used_end(heap)) {
        hf__heap_set_end(heap, offset, size_bytes);
    } else if (hf__block_read(heap->seg, offset, &block)) {
        block.previous_bytes = size_bytes;
        hf__block_write(heap->seg, &block);
    }
}

int hf__heap_add_free(struct hf__heap *heap, uint64_t offset, uint64_t size_bytes,
                      uint64_t previous_bytes, bool hole)
{
    struct hf__block block = {.offset = offset,
                              .size_bytes = size_bytes,
                              .previous_bytes = previous_bytes,
                              .kind = HF__BLOCK_FREE,
                              .hole = hole};
    hf__block_write(heap->seg, &block);
    return heap->algorithm->free_set->insert(heap, &block);
}

/* ---- walk, identify, pending ----------------------------------------------------------------- */

static void describe(const struct hf__block *block, struct hf__block_info *out)
{
    out->payload = block->offset + HF__BLOCK_HEADER_BYTES;
    out->usable_bytes = block->size_bytes - HF__BLOCK_HEADER_BYTES;
    out->kind = block->kind;
    out->pending = block->pending;
    out->slot = false;
}

int hf__heap_identify(const struct hf__heap *heap, hf_ref block, struct hf__block_info *out)
{
    struct hf__block found;
    const int slot = heap->algorithm->slabs ? hf__slab_identify(heap, block, out) : -1;
    if (slot == 1)
        return 0;
    if (slot == 0) /* what lies in a free slot may look like a block */
        return hf__fail(HF_EPTR, "no live block at %llu", (unsigned long long)block);
    if (hf__heap_sound(heap) != 0 || hf__heap_live(heap, block, true, &found) != 0)
        return HF_EPTR;
    describe(&found, out);
    return 0;
}

/* kind 0 = any. *entry is what the store's list of pending blocks needs. */
static int mark_pending(struct hf__heap *heap, hf_ref block, uint32_t kind, bool pending,
                        hf_ref *entry)
{
    struct hf__block found;
    struct hf__chunk_ref chunk;
    if (heap->algorithm->slabs && hf__chunk_of(heap, block, &chunk)) {
        if (kind != 0 && chunk.chunk->slot_kind != kind)
            return hf__fail(HF_EPTR, "another kind of block at %llu", (unsigned long long)block);
        return hf__slab_mark_pending(heap, &chunk, block, pending, entry);
    }
    int code = hf__heap_sound(heap);
    if (code == 0)
        code = hf__heap_live(heap, block, !pending, &found);
    if (code == 0 && kind != 0 && found.kind != kind)
        code = hf__fail(HF_EPTR, "another kind of block at %llu", (unsigned long long)block);
    if (code == 0)
        code = hf__reserve(heap->seg, HF__EDIT_COST(HF__BLOCK_HEADER_BYTES));
    if (code != 0)
        return code;
    found.pending = pending;
    hf__block_write(heap->seg, &found);
    *entry = block;
    return 0;
}

int hf__block_set_pending(struct hf__heap *heap, hf_ref block)
{
    hf_ref entry;
    int code = mark_pending(heap, block, 0, true, &entry);
    return code == 0 && heap->algorithm->slabs ? hf__slab_settle(heap) : code;
}

int hf__block_free_later(struct hf__heap *heap, hf_ref block, uint32_t kind, hf_ref *entry)
{
    *entry = 0;
    if (kind != 0 && heap->cache != NULL && hf__slab_quick_free(heap, block, kind))
        return 0;
    return mark_pending(heap, block, kind, true, entry);
}

int hf__heap_free_entry(struct hf__heap *heap, hf_ref entry)
{
    return (entry & HF__ENTRY_OF_SLOTS) != 0
               ? hf__slab_free_entry(heap, entry & ~(hf_ref)HF__ENTRY_OF_SLOTS)
               : heap->algorithm->free(heap, entry);
}

int hf__block_clear_pending(struct hf__heap *heap, hf_ref block)
{
    hf_ref entry;
    return mark_pending(heap, block, 0, false, &entry);
}

int hf__block_set_lost(struct hf__heap *heap, hf_ref block)
{
    struct hf__block found;
    int code = hf__heap_sound(heap);
    if (code == 0)
        code = hf__heap_live(heap, block, true, &found);
    if (code == 0)
        code = hf__reserve(heap->seg, HF__EDIT_COST(HF__BLOCK_HEADER_BYTES));
    if (code != 0)
        return code;
    found.kind = HF__BLOCK_LOST;
    found.pending = false;
    hf__block_write(heap->seg, &found);
    return 0;
}

int hf__heap_next(const struct hf__heap *heap, uint64_t *position, struct hf__block_info *out)
{
    struct hf__block found;
    int code = hf__heap_sound(heap);
    if (code != 0)
        return code;
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    uint64_t offset = *position == 0 ? root->first : *position;
    for (;;) {
        if (offset == root->used_end) {
            *position = offset;
            return 0;
        }
        int more = heap->algorithm->slabs ? hf__slab_next(heap, &offset, out) : -1;
        if (more == 1) {
            *position = offset;
            return 1;
        }
        if (more == 0)
            continue;
        code = hf__heap_block(heap, offset, &found);
        if (code == 0 && found.kind == HF__BLOCK_CHUNK)
            code = hf__corrupt("chunk.header", offset);
        if (code != 0)
            return code;
        offset = hf__block_end(&found);
        if (found.kind <= HF__BLOCK_LOST)
            break;
    }
    *position = offset;
    describe(&found, out);
    return 1;
}
