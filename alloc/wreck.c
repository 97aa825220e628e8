/* SPDX-License-Identifier: MIT */
/*
 * wreck.c - the blocks of a segment that may be damaged anywhere
 *
 * A true header leads to the next block; where there is none, each multiple of 16 is tried, since
 * nothing else in a segment can pass for a header (allocator.h, H6). A chunk is known by its record
 * alone, so that its slots are found when the block's header is lost. Nothing is written.
 *
 * A true header may still be an old one, if a page was never written: then newer blocks lie where it says that
 * its own does. So where a header isn't trusted, the block is searched for others.
 *
 *   1  The scan only moves on, so it ends, and what it tells comes in the order of addresses.
 *   2  What is told lies below the used end and within the segment.
 */
#include "alloc/blocks.h"
#include "alloc/slab.h"

static uint64_t end_of(const struct hf__heap *heap)
{
    const uint64_t end = hf__slab_end(heap);
    const uint64_t limit = end < HF__HEAP_BYTES_MAX ? end : HF__HEAP_BYTES_MAX;
    return limit - limit % HF__BLOCK_UNIT;
}

/* The next live slot of the chunk at scan->chunk; false when there is none left. */
static bool next_slot(const struct hf__heap *heap, struct hf__wreck_scan *scan,
                      struct hf__wreck_block *out)
{
    struct hf__chunk_ref chunk;
    if (!hf__chunk_at(heap, scan->chunk, &chunk))
        return false;
    const struct hf__chunk_word *words = hf__chunk_words(&chunk);
    for (; scan->slot < chunk.chunk->slots; scan->slot++) {
        if ((words[scan->slot / 64].taken >> scan->slot % 64 & 1) == 0)
            continue;
        const uint64_t at = hf__chunk_slot(&chunk, scan->slot++);
        if (at + chunk.slot_class->bytes > scan->offset)
            break;
        *out = (struct hf__wreck_block){
            .info = {at, chunk.slot_class->bytes, chunk.chunk->slot_kind, false, true},
            .proof = chunk.record,
            .proof_bytes = hf__chunk_record_bytes(&chunk),
            .sound = hf__chunk_wrong(&chunk) == NULL};
        return true;
    }
    return false;
}

/* Begins a chunk, of which `end` is where the search goes on. */
static void enter(struct hf__wreck_scan *scan, const struct hf__chunk_ref *chunk, uint64_t end)
{
    scan->chunk = chunk->offset;
    scan->slot = 0;
    scan->offset = end;
}

/* Where the next block or chunk begins in [from, end), or end. */
static uint64_t next_start(const struct hf__heap *heap, uint64_t from, uint64_t end)
{
    struct hf__chunk_ref chunk;
    struct hf__block block;
    for (; from < end; from += HF__BLOCK_UNIT) {
        const struct hf__block_header *header =
            (const struct hf__block_header *)hf__at(heap->seg, from);
        if ((header->size_word != 0 && hf__block_read(heap->seg, from, &block)) ||
            (from % HF__CHUNK_BYTES(0) == 0 && hf__chunk_at(heap, from, &chunk)))
            break;
    }
    return from;
}

/* The end of something that starts at `start`, as these bytes say: the end they name, if they are trusted. */
static uint64_t end_by(const struct hf__heap *heap, const struct hf__wreck_scan *scan,
                       uint64_t proof, uint64_t proof_bytes, uint64_t start, uint64_t end)
{
    return scan->trusted(scan->user, proof, proof_bytes)
               ? end
               : next_start(heap, start + HF__BLOCK_UNIT, end);
}

static void enter_chunk(const struct hf__heap *heap, struct hf__wreck_scan *scan,
                        const struct hf__chunk_ref *chunk, uint64_t end)
{
    enter(scan, chunk,
          end_by(heap, scan, chunk->record, hf__chunk_record_bytes(chunk), chunk->offset, end));
}

int hf__wreck_next(const struct hf__heap *heap, struct hf__wreck_scan *scan,
                   struct hf__wreck_block *out)
{
    const uint64_t end = end_of(heap), first = hf__root(heap)->first;
    struct hf__chunk_ref chunk;
    struct hf__block block;
    if (scan->offset < first)
        scan->offset = first;
    for (;;) {
        if (scan->chunk != 0 && next_slot(heap, scan, out))
            return 1;
        scan->chunk = 0;
        if (scan->offset >= end)
            return 0;
        const struct hf__block_header *header =
            (const struct hf__block_header *)hf__at(heap->seg, scan->offset);
        const bool is_true = header->size_word != 0 &&
                             hf__block_read(heap->seg, scan->offset, &block) &&
                             block.size_bytes <= end - scan->offset;
        if (is_true && block.kind == HF__BLOCK_CHUNK) {
            if (hf__chunk_of_block(heap, &block, end, &chunk))
                enter_chunk(heap, scan, &chunk, hf__block_end(&block));
            else
                scan->offset = next_start(heap, scan->offset + HF__BLOCK_UNIT,
                                          hf__block_end(&block));
        } else if (is_true) {
            const uint64_t block_end = end_by(heap, scan, block.offset, HF__BLOCK_HEADER_BYTES,
                                              block.offset, hf__block_end(&block));
            *out = (struct hf__wreck_block){
                .info = {block.offset + HF__BLOCK_HEADER_BYTES,
                         block_end - block.offset - HF__BLOCK_HEADER_BYTES, block.kind, block.pending,
                         false},
                .proof = block.offset,
                .proof_bytes = HF__BLOCK_HEADER_BYTES,
                .sound = true};
            scan->offset = block_end;
            return 1;
        } else if (scan->offset % HF__CHUNK_BYTES(0) == 0 &&
                   hf__chunk_at(heap, scan->offset, &chunk)) {
            enter_chunk(heap, scan, &chunk, scan->offset + HF__CHUNK_BYTES(chunk.order));
        } else {
            scan->offset += HF__BLOCK_UNIT;
            scan->skipped_bytes += HF__BLOCK_UNIT;
        }
    }
}
