/* SPDX-License-Identifier: MIT */
/*
 * slab_find.c - the classes of slots, and from an offset to the chunk it lies in
 *
 * A chunk is believed by its record: it lies where it must for a chunk of that order at that place,
 * and its check is right. slab.c says why the record is not at the front. Three orders, three places
 * to look at, the largest first: in a large store nearly all slots are in large chunks.
 */
#include "alloc/slab.h"

/* ---- classes --------------------------------------------------------------------------------- */

#define WORDS(order, bytes) ((HF__CHUNK_BYTES(order) - 64) / (bytes) / 64 + 1)
#define CLASS(bytes)                                                                               \
    {                                                                                              \
        (uint32_t)((UINT64_C(1) << 32) / (bytes) + 1), (bytes),                                    \
        {                                                                                          \
            WORDS(0, bytes), WORDS(1, bytes), WORDS(2, bytes)                                      \
        }                                                                                          \
    }
#define CLASSES_4(bytes, step)                                                                     \
    CLASS(bytes), CLASS((bytes) + (step)), CLASS((bytes) + 2 * (step)), CLASS((bytes) + 3 * (step))
#define CLASSES_16(bytes, step)                                                                    \
    CLASSES_4(bytes, step), CLASSES_4((bytes) + 4 * (step), step),                                 \
        CLASSES_4((bytes) + 8 * (step), step), CLASSES_4((bytes) + 12 * (step), step)

const struct hf__slot_class hf__slot_classes[HF__SLOT_CLASSES] = {
    CLASSES_16(8, 8), CLASSES_16(136, 8), CLASSES_16(272, 16), CLASSES_16(544, 32)};

/* ---- finding chunks -------------------------------------------------------------------------- */

/* Whether a true chunk of that order lies at offset, a multiple of its size, and ends by `end`. */
static bool read_chunk(const struct hf__heap *heap, uint64_t offset, uint32_t order, uint64_t end,
                       struct hf__chunk_ref *out)
{
    if (offset < hf__root(heap)->first || offset >= end || end - offset < HF__CHUNK_BYTES(order))
        return false;
    const uint64_t record = hf__chunk_record(offset, order);
    const struct hf__chunk *chunk = (const struct hf__chunk *)hf__at(heap->seg, record);
    if (chunk->slot_class >= HF__SLOT_CLASSES ||
        chunk->check != hf__chunk_check(heap->seg, offset, order, chunk) ||
        chunk->slots > hf__slot_classes[chunk->slot_class].words[order] * 64u ||
        chunk->lower > chunk->slots)
        return false;
    out->offset = offset;
    out->record = record;
    out->chunk = chunk;
    out->slot_class = &hf__slot_classes[chunk->slot_class];
    out->order = order;
    out->words = out->slot_class->words[order];
    return true;
}

bool hf__chunk_of_block(const struct hf__heap *heap, const struct hf__block *block, uint64_t end,
                        struct hf__chunk_ref *out)
{
    for (uint32_t order = 0; block->kind == HF__BLOCK_CHUNK && order < HF__CHUNK_ORDERS; order++)
        if (block->size_bytes - HF__CHUNK_BYTES(order) <= HF__CHUNK_EXTRA_MAX)
            return read_chunk(heap, block->offset, order, end, out);
    return false;
}

bool hf__chunk_at(const struct hf__heap *heap, uint64_t offset, struct hf__chunk_ref *out)
{
    const uint64_t end = hf__slab_end(heap);
    for (uint32_t order = HF__CHUNK_ORDERS; order-- > 0;)
        if (offset % HF__CHUNK_BYTES(order) == 0 && read_chunk(heap, offset, order, end, out))
            return true;
    return false;
}

bool hf__chunk_of(const struct hf__heap *heap, uint64_t ref, struct hf__chunk_ref *out)
{
    const uint64_t end = hf__slab_end(heap);
    for (uint32_t order = HF__CHUNK_ORDERS; order-- > 0;)
        if (read_chunk(heap, ref & ~(HF__CHUNK_BYTES(order) - 1), order, end, out))
            return true;
    return false;
}

uint64_t hf__slab_destroy(struct hf__heap *heap, uint64_t offset, uint64_t end, bool write)
{
    const uint64_t step = HF__CHUNK_BYTES(0), reach = HF__CHUNK_BYTES(HF__CHUNK_ORDERS - 1);
    struct hf__chunk_ref chunk;
    uint64_t count = 0;
    for (uint64_t at = offset > reach ? (offset - reach) / step * step : 0; at < end; at += step)
        for (uint32_t order = 0; order < HF__CHUNK_ORDERS; order++) {
            if (at % HF__CHUNK_BYTES(order) != 0 ||
                !read_chunk(heap, at, order, heap->seg->size_bytes, &chunk))
                continue;
            uint64_t check = chunk.record + offsetof(struct hf__chunk, check);
            if (check < offset + HF__BLOCK_HEADER_BYTES || check >= end)
                continue;
            count++;
            if (write) { /* and nothing else: behind it the next block may begin */
                uint32_t *word = (uint32_t *)hf__edit(heap->seg, check, sizeof *word);
                *word = ~*word;
            }
        }
    return count;
}

/* Where the door keeps no more of the tail than the used end (the log), the file may still have what
 * the tail held long ago, whatever was written here when a chunk was dropped. So each line where a
 * record can be is noted; then it is looked at, since noting may have turned this view of the tail
 * into the file itself. Who has such a file to himself (copy-on-write) only looks. Nothing needs to be
 * kept for an abort: the space is nobody's before. */
void hf__slab_take_tail(struct hf__heap *heap, uint64_t offset, uint64_t end)
{
    struct hf__segment *seg = heap->seg;
    const uint64_t step = HF__CHUNK_BYTES(0), reach = HF__CHUNK_BYTES(HF__CHUNK_ORDERS - 1);
    const bool note = seg->door != NULL && seg->door->fresh != NULL;
    struct hf__chunk_ref chunk;
    if (!note && !seg->old_tail)
        return;
    /* From the end, so that a window (private.c) opens as low as it can. */
    for (uint64_t at = end / step * step + step; at > 0 && at + reach > offset;) {
        at -= step;
        for (uint32_t order = 0; order < HF__CHUNK_ORDERS; order++) {
            const uint64_t record = hf__chunk_record(at, order);
            /* A line whose record's check was in use before was noted then, as a whole. */
            if (at % HF__CHUNK_BYTES(order) != 0 || record >= end ||
                record + offsetof(struct hf__chunk, check) < offset)
                continue;
            if (note)
                seg->door->fresh(seg, record, HF__LINE_BYTES);
            if (read_chunk(heap, at, order, UINT64_MAX, &chunk)) {
                uint32_t *check =
                    (uint32_t *)(seg->base + record + offsetof(struct hf__chunk, check));
                *check = ~*check;
            }
        }
    }
}
