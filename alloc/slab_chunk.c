/* SPDX-License-Identifier: MIT */
/*
 * slab_chunk.c - the directory and its lists; making and dropping chunks; taking and freeing slots
 *
 * One step below slab.c, whose head has the idea and the invariants S1 to S4. What is here works on
 * a chunk that was found and on slots of one word of its bitmap, however many of them at once:
 * word, counts, sum and the heap's counters are written once.
 *
 *   1  Whatever a change will follow is looked at, and room for the announcements reserved, before
 *      the first write (hf__chunk_room, hf__chunk_before_freeing).
 *   2  S2 holds at every return: a chunk leaves its list with its last free slot, and comes back
 *      when it has hf__chunk_relist of them.
 */
#include "alloc/slab_cache.h"

#include <string.h>

#define TAKE_COST ((7 + HF__SLOT_ROWS) * HF__EDIT_COST(HF__LINE_BYTES))

/* ---- the directory --------------------------------------------------------------------------- */

uint64_t hf__slabs_of(const struct hf__heap *heap)
{
    const struct hf__heap_root *root = hf__root(heap);
    const uint64_t expected = (HF__BLOCK_HEADER_BYTES + HF__SLABS_BYTES) / HF__BLOCK_UNIT |
                              (uint64_t)HF__BLOCK_SLABS << 44;
    uint64_t slabs = *(const uint64_t *)hf__at(heap->seg, hf__slabs_field(heap));
    uint64_t offset = slabs - HF__BLOCK_HEADER_BYTES;
    if (slabs % HF__BLOCK_UNIT != 0 || slabs < HF__BLOCK_HEADER_BYTES || offset < root->first ||
        offset >= hf__slab_end(heap) || hf__slab_end(heap) - slabs < HF__SLABS_BYTES)
        return 0;
    const struct hf__block_header *header =
        (const struct hf__block_header *)hf__at(heap->seg, offset);
    uint64_t size_bits = header->size_word & ((UINT64_C(1) << 52) - 1);
    return size_bits - expected <= HF__CHUNK_EXTRA_MAX / HF__BLOCK_UNIT ? slabs : 0;
}

static const struct hf__slabs_entry *entry_at(const struct hf__heap *heap, uint64_t entry)
{
    return (const struct hf__slabs_entry *)hf__at(heap->seg, entry);
}

/* A field of an entry: a word, and so never two lines. */
static uint64_t *edit_first(struct hf__heap *heap, uint64_t entry)
{
    return (uint64_t *)hf__edit(heap->seg, entry + offsetof(struct hf__slabs_entry, first),
                                sizeof(uint64_t));
}
static uint64_t *edit_spare(struct hf__heap *heap, uint64_t entry)
{
    return (uint64_t *)hf__edit(heap->seg, entry + offsetof(struct hf__slabs_entry, spare),
                                sizeof(uint64_t));
}
static uint64_t *edit_bytes(struct hf__heap *heap, uint64_t entry)
{
    return (uint64_t *)hf__edit(heap->seg, entry + offsetof(struct hf__slabs_entry, bytes),
                                sizeof(uint64_t));
}

int hf__slabs_make(struct hf__heap *heap, uint64_t *out)
{
    struct hf__alloc_request request = {HF__SLABS_BYTES, 1, 0, HF__BLOCK_SLABS};
    hf_ref slabs;
    int code = hf__heap_allocate(heap, &request, &slabs, NULL);
    if (code != 0)
        return code;
    hf__heap_count(heap, 0, 0, 0, -1);
    memset(hf__edit(heap->seg, slabs, HF__SLABS_BYTES), 0, HF__SLABS_BYTES);
    *(uint64_t *)hf__edit(heap->seg, hf__slabs_field(heap), sizeof(uint64_t)) = slabs;
    *out = slabs;
    return 0;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static struct hf__chunk *edit_chunk(struct hf__heap *heap, const struct hf__chunk_ref *ref)
{
    /* With word 0, which shares the line. */
    return (struct hf__chunk *)hf__edit(heap->seg, ref->record, HF__LINE_BYTES);
}

/* After edit_chunk. */
static struct hf__chunk_word *edit_word(struct hf__heap *heap, const struct hf__chunk_ref *ref,
                                        uint32_t word)
{
    uint64_t offset = ref->record + sizeof(struct hf__chunk) + word * sizeof(struct hf__chunk_word);
    if (word != 0)
        hf__edit(heap->seg, offset, sizeof(struct hf__chunk_word));
    return (struct hf__chunk_word *)(heap->seg->base + offset);
}

static bool in_list_of(const struct hf__chunk_ref *ref, uint32_t slot_kind, uint32_t slot_class)
{
    return ref->chunk->slot_class == slot_class && ref->chunk->slot_kind == slot_kind;
}

static bool same_class(const struct hf__chunk_ref *a, const struct hf__chunk_ref *b)
{
    return in_list_of(a, b->chunk->slot_kind, b->chunk->slot_class);
}

/* The true chunk at this offset, from what is known of it or from its record. */
static inline bool chunk_at(const struct hf__heap *heap, uint64_t offset, struct hf__chunk_ref *out)
{
    return hf__slab_known(heap, offset, out) || hf__chunk_at(heap, offset, out);
}

/* Whether the first of an entry's list can be linked to. 0, HF_ECORRUPT. */
static int look_at_first(const struct hf__heap *heap, uint64_t entry, struct hf__chunk_ref *out)
{
    uint64_t first = entry_at(heap, entry)->first;
    out->offset = 0;
    if (first != 0 && (!chunk_at(heap, first, out) || out->chunk->previous != entry))
        return hf__corrupt("chunk.links", first);
    return 0;
}

/* The chunks beside a listed one; of an offset of 0 there is none. */
struct neighbours {
    struct hf__chunk_ref previous, next;
};

/* Whether a chunk's links, if it is listed, are those of its neighbours. 0, HF_ECORRUPT. */
static int look_at_links(const struct hf__heap *heap, const struct hf__chunk_ref *ref,
                         uint64_t entry, struct neighbours *out)
{
    const struct hf__chunk *chunk = ref->chunk;
    out->previous.offset = out->next.offset = 0;
    if (chunk->previous == 0)
        return 0;
    bool good = chunk->previous == entry ? entry_at(heap, entry)->first == ref->offset
                                         : chunk_at(heap, chunk->previous, &out->previous) &&
                                               same_class(ref, &out->previous) &&
                                               out->previous.chunk->next == ref->offset;
    good = good && (chunk->next == 0 ||
                    (chunk_at(heap, chunk->next, &out->next) && same_class(ref, &out->next) &&
                     out->next.chunk->previous == ref->offset));
    return good ? 0 : hf__corrupt("chunk.links", ref->offset);
}

/* Both after a look, and after edit_chunk. */
static struct hf__chunk *edited(const struct hf__heap *heap, const struct hf__chunk_ref *ref)
{
    return (struct hf__chunk *)(heap->seg->base + ref->record);
}

static void push(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint64_t entry,
                 const struct hf__chunk_ref *first)
{
    uint64_t *at = edit_first(heap, entry);
    struct hf__chunk *chunk = edited(heap, ref);
    if (first->offset != 0)
        edit_chunk(heap, first)->previous = ref->offset;
    chunk->next = *at;
    chunk->previous = entry;
    *at = ref->offset;
}

static void unlist(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint64_t entry,
                   const struct neighbours *beside)
{
    struct hf__chunk *chunk = edited(heap, ref);
    if (chunk->previous == 0)
        return;
    if (beside->next.offset != 0)
        edit_chunk(heap, &beside->next)->previous = chunk->previous;
    if (beside->previous.offset != 0)
        edit_chunk(heap, &beside->previous)->next = chunk->next;
    else
        *edit_first(heap, entry) = chunk->next;
    chunk->next = chunk->previous = 0;
}

/* ---- making and dropping chunks -------------------------------------------------------------- */

static uint64_t slot_bytes_of(const struct hf__chunk_ref *ref)
{
    return (uint64_t)ref->chunk->slots * ref->slot_class->bytes;
}

/* An empty chunk at a block of best fit. What is announced fits into what that reserved. */
static void format(struct hf__heap *heap, uint64_t offset, uint32_t order, uint32_t slot_kind,
                   uint32_t slot_class, struct hf__chunk_ref *out)
{
    const uint32_t size = hf__slot_classes[slot_class].bytes;
    *out = (struct hf__chunk_ref){.offset = offset,
                                  .record = hf__chunk_record(offset, order),
                                  .slot_class = &hf__slot_classes[slot_class],
                                  .order = order,
                                  .words = hf__slot_classes[slot_class].words[order]};
    const uint64_t above = out->record + hf__chunk_record_bytes(out);
    const uint64_t lower = (out->record - offset - HF__BLOCK_HEADER_BYTES) / size;
    const uint64_t slots = lower + (offset + HF__CHUNK_BYTES(order) - above) / size;
    assert(slots >= 1 && slots <= out->words * 64u);
    struct hf__chunk *chunk =
        (struct hf__chunk *)hf__edit(heap->seg, out->record, hf__chunk_record_bytes(out));
    struct hf__chunk_word *word = (struct hf__chunk_word *)(chunk + 1);
    *chunk = (struct hf__chunk){.slots = (uint16_t)slots,
                                .lower = (uint16_t)lower,
                                .slot_class = (uint8_t)slot_class,
                                .slot_kind = (uint8_t)slot_kind};
    chunk->check = hf__chunk_check(heap->seg, offset, order, chunk);
    out->chunk = chunk;
    hf__slab_dropped(heap, out); /* whatever was there */
    for (uint32_t i = 0; i < out->words; i++) {
        word[i] = (struct hf__chunk_word){.taken = hf__chunk_beyond(out, i)};
        chunk->sum += hf__chunk_mix(word[i].taken, i);
    }
}

/* A new chunk for an entry whose list is empty, listed. Smaller ones while the class is small, or where there is no room
 * for a large one. 0, HF_ENOSPC, HF_EFULL, HF_ECORRUPT. */
static int make_chunk(struct hf__heap *heap, uint64_t entry, uint32_t slot_kind,
                      uint32_t slot_class, struct hf__chunk_ref *out)
{
    const struct hf__chunk_ref none = {.offset = 0};
    const uint64_t bytes = entry_at(heap, entry)->bytes;
    uint32_t order = bytes < 16 * 1024 ? 0 : bytes < 64 * 1024 ? 1 : 2;
    if (order == 0 && hf__slot_classes[slot_class].bytes > 256)
        order = 1; /* 4 KiB would hold too few */
    for (;; order--) {
        /* The header at a multiple of the size, so that one chunk can follow another. */
        const uint64_t size = HF__CHUNK_BYTES(order);
        struct hf__alloc_request request = {size - HF__BLOCK_HEADER_BYTES, size,
                                            size - HF__BLOCK_HEADER_BYTES, HF__BLOCK_CHUNK};
        hf_ref payload;
        int code = hf__heap_allocate(heap, &request, &payload, NULL);
        if (code == HF_EFULL && order != 0)
            continue;
        if (code != 0)
            return code;
        format(heap, payload - HF__BLOCK_HEADER_BYTES, order, slot_kind, slot_class, out);
        hf__heap_count(heap, (int64_t)slot_bytes_of(out), 0, -(int64_t)slot_bytes_of(out), -1);
        *edit_bytes(heap, entry) += size;
        push(heap, out, entry, &none);
        return 0;
    }
}

/* Gives an empty chunk that is not listed back to best fit. HF__HEAP_COST and some were reserved.
 * 0, HF_ECORRUPT. */
static int drop(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint64_t entry)
{
    struct hf__block block;
    int code = hf__heap_block(heap, ref->offset, &block);
    if (code != 0)
        return code;
    /* Nobody writes the bitmaps now, but whoever gets the space: an undo wants them back. */
    struct hf__chunk *chunk =
        (struct hf__chunk *)hf__edit(heap->seg, ref->record, hf__chunk_record_bytes(ref));
    hf__heap_count(heap, -(int64_t)slot_bytes_of(ref), 0, (int64_t)slot_bytes_of(ref), 1);
    *edit_bytes(heap, entry) -= HF__CHUNK_BYTES(ref->order);
    chunk->check = ~chunk->check;
    hf__slab_dropped(heap, ref);
    return hf__heap_release(heap, &block);
}

static bool spare_good(const struct hf__heap *heap, uint64_t offset, struct hf__chunk_ref *out)
{
    return hf__chunk_at(heap, offset, out) && out->chunk->taken == 0 && out->chunk->previous == 0;
}

/* A chunk has become empty: it is kept, or dropped if another one is; the larger stays. */
static int retire(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint64_t entry)
{
    struct hf__chunk_ref spare = {.offset = entry_at(heap, entry)->spare};
    struct neighbours beside;
    int code = look_at_links(heap, ref, entry, &beside);
    if (code != 0)
        return code;
    unlist(heap, ref, entry, &beside);
    if (spare.offset != 0 && (!spare_good(heap, spare.offset, &spare) || !same_class(ref, &spare)))
        return hf__corrupt("slabs.spare", entry);
    if (spare.offset != 0 && spare.order >= ref->order)
        return drop(heap, ref, entry);
    *edit_spare(heap, entry) = ref->offset;
    return spare.offset != 0 ? drop(heap, &spare, entry) : 0;
}

int hf__slab_trim(struct hf__heap *heap)
{
    struct hf__chunk_ref spare;
    struct hf__block block;
    int code = hf__heap_sound(heap);
    if (code == 0)
        code = hf__slab_settle(heap);
    uint64_t slabs = code == 0 ? hf__slabs_of(heap) : 0, all = 0;
    if (slabs == 0)
        return code;
    for (uint32_t i = 0; i < 2 * HF__SLOT_CLASSES; i++) {
        uint64_t entry = slabs + i * sizeof(struct hf__slabs_entry);
        uint64_t offset = entry_at(heap, entry)->spare;
        if (offset != 0) {
            code =
                spare_good(heap, offset, &spare) &&
                        in_list_of(&spare, i < HF__SLOT_CLASSES ? HF__BLOCK_RAW : HF__BLOCK_OBJECT,
                                   i % HF__SLOT_CLASSES)
                    ? hf__reserve(heap->seg, HF__HEAP_COST)
                    : hf__corrupt("slabs.spare", entry);
            if (code != 0)
                return code;
            *edit_spare(heap, entry) = 0;
            code = drop(heap, &spare, entry);
            if (code != 0)
                return code;
        }
        all |= entry_at(heap, entry)->bytes;
    }
    if (all != 0)
        return 0;
    code = hf__heap_block(heap, slabs - HF__BLOCK_HEADER_BYTES, &block);
    if (code == 0)
        code = hf__reserve(heap->seg, HF__HEAP_COST);
    if (code != 0)
        return code;
    hf__edit(heap->seg, slabs, HF__SLABS_BYTES); /* an undo wants it back */
    *(uint64_t *)hf__edit(heap->seg, hf__slabs_field(heap), sizeof(uint64_t)) = 0;
    hf__heap_count(heap, 0, 0, 0, 1);
    return hf__heap_release(heap, &block);
}

/* ---- slots of a word ---------------------------------------------------------------------------- */

int hf__chunk_room(struct hf__heap *heap, uint64_t entry, uint32_t slot_kind, uint32_t slot_class,
                   struct hf__chunk_ref *out)
{
    const struct hf__slabs_entry *at = entry_at(heap, entry);
    const struct hf__chunk_ref none = {.offset = 0};
    if (at->first != 0) {
        if (!chunk_at(heap, at->first, out) || !in_list_of(out, slot_kind, slot_class) ||
            out->chunk->previous != entry)
            return hf__corrupt("chunk.links", at->first);
        return hf__reserve(heap->seg, TAKE_COST);
    }
    if (at->spare == 0)
        return make_chunk(heap, entry, slot_kind, slot_class, out);
    if (!spare_good(heap, at->spare, out) || !in_list_of(out, slot_kind, slot_class))
        return hf__corrupt("slabs.spare", entry);
    int code = hf__reserve(heap->seg, TAKE_COST);
    if (code != 0)
        return code;
    *edit_spare(heap, entry) = 0;
    edit_chunk(heap, out);
    push(heap, out, entry, &none);
    return 0;
}

/* The next word with room from `word` on. */
static uint32_t next_room(const struct hf__chunk_ref *ref, uint32_t word)
{
    while (word < ref->words && hf__chunk_words(ref)[word].taken == ~UINT64_C(0))
        word++;
    return word;
}

/* The lowest of these bits, at most count of them. */
static uint64_t lowest(uint64_t bits, uint32_t count)
{
    if (hf__slot_count(bits) <= count)
        return bits;
    uint64_t rest = bits;
    while (count-- > 0)
        rest &= rest - 1;
    return bits & ~rest;
}

/* Its lowest free slots, at most count of them; returns the number of rows, or HF_ECORRUPT. */
static int free_rows(const struct hf__chunk_ref *ref, uint32_t count,
                     struct hf__slot_row out[HF__SLOT_ROWS], uint32_t *found)
{
    const uint32_t lower = ref->chunk->lower;
    uint32_t rows = 0;
    *found = 0;
    for (uint32_t word = ref->chunk->first_room; word < ref->words && *found < count; word++) {
        uint64_t room = ~hf__chunk_words(ref)[word].taken;
        const uint64_t below = lower / 64 != word ? 0 : room & ~(~UINT64_C(0) << lower % 64);
        if (room == 0)
            continue;
        if ((room & hf__chunk_beyond(ref, word)) != 0)
            return hf__corrupt("chunk.bitmap", ref->offset);
        for (uint64_t row = below != 0 ? below : room; row != 0 && *found < count;
             row = room &= ~row) {
            const uint64_t slots = lowest(row, count - *found);
            if (rows == HF__SLOT_ROWS)
                return (int)rows;
            out[rows++] = (struct hf__slot_row){slots, word};
            *found += hf__slot_count(slots);
        }
    }
    return rows != 0 ? (int)rows : hf__corrupt("chunk.bitmap", ref->offset);
}

int hf__chunk_take(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint64_t entry,
                   uint32_t count, struct hf__slot_row out[HF__SLOT_ROWS])
{
    const uint32_t left = ref->chunk->slots - (uint32_t)ref->chunk->taken;
    struct neighbours beside;
    uint32_t taking;
    if (ref->chunk->taken >= ref->chunk->slots)
        return hf__corrupt("chunk.bitmap", ref->offset);
    const int rows = free_rows(ref, count, out, &taking);
    int code = rows < 0        ? rows
               : taking > left ? hf__corrupt("chunk.bitmap", ref->offset)
               : taking < left ? 0
                               : look_at_links(heap, ref, entry, &beside);
    if (code != 0)
        return code;
    struct hf__chunk *chunk = edit_chunk(heap, ref);
    for (int i = 0; i < rows; i++) {
        const uint32_t word = out[i].word;
        struct hf__chunk_word *at = edit_word(heap, ref, word);
        const uint64_t taken = at->taken | out[i].slots;
        chunk->sum += hf__chunk_mix(taken, word) - hf__chunk_mix(at->taken, word);
        at->taken = taken;
    }
    chunk->taken = (uint16_t)(chunk->taken + taking);
    chunk->first_room = (uint16_t)next_room(ref, chunk->first_room);
    if (taking == left)
        unlist(heap, ref, entry, &beside);
    const int64_t bytes = (int64_t)taking * ref->slot_class->bytes;
    hf__heap_count(heap, -bytes, 0, bytes, taking);
    return rows;
}

void hf__chunk_clear(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint32_t word,
                     uint64_t slots)
{
    struct hf__chunk *chunk = edit_chunk(heap, ref);
    struct hf__chunk_word *at = edit_word(heap, ref, word);
    uint64_t taken = at->taken & ~slots;
    chunk->sum += hf__chunk_mix(taken, word) - hf__chunk_mix(at->taken, word);
    chunk->taken = (uint16_t)(chunk->taken - hf__slot_count(slots));
    chunk->pending = (uint16_t)(chunk->pending - hf__slot_count(slots & at->pending));
    at->taken = taken;
    at->pending &= ~slots;
    if (word < chunk->first_room)
        chunk->first_room = (uint16_t)word;
}

void hf__chunk_mark(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint32_t word,
                    uint64_t slots, bool pending)
{
    const uint32_t count = hf__slot_count(slots);
    struct hf__chunk *chunk = edit_chunk(heap, ref);
    struct hf__chunk_word *at = edit_word(heap, ref, word);
    chunk->pending = (uint16_t)(pending ? chunk->pending + count : chunk->pending - count);
    at->pending ^= slots;
    if (pending)
        hf__slab_untaken(heap, ref, word, slots);
    else
        hf__slab_taken(heap, ref, word, slots);
}

int hf__freeing_begin(const struct hf__heap *heap, uint64_t ahead, struct hf__freeing *out)
{
    *out = (struct hf__freeing){.slabs = hf__slabs_of(heap), .ahead = ahead};
    return out->slabs != 0 ? 0 : hf__corrupt("slabs.directory", hf__slabs_field(heap));
}

void hf__freeing_end(struct hf__heap *heap, struct hf__freeing *freeing)
{
    if (freeing->slots != 0)
        hf__heap_count(heap, freeing->bytes, 0, -freeing->bytes, -freeing->slots);
    freeing->bytes = freeing->slots = 0;
}

static uint64_t entry_of(const struct hf__chunk_ref *ref, const struct hf__freeing *freeing)
{
    return hf__slabs_entry_offset(freeing->slabs, ref->chunk->slot_kind, ref->chunk->slot_class);
}

/* What freeing announces: for each word two lines, and its list's entry, the first of the list and the
 * heap's counters. */
static uint64_t freeing_cost(const struct hf__chunk_ref *ref)
{
    return (2 * ref->words + 8) * HF__EDIT_COST(HF__LINE_BYTES);
}

/* Whether a chunk that isn't listed will be once count of its slots are freed. */
static bool lists(const struct hf__chunk_ref *ref, uint32_t count)
{
    return ref->chunk->previous == 0 &&
           (uint32_t)(ref->chunk->slots - ref->chunk->taken) + count >= hf__chunk_relist(ref);
}

int hf__chunk_before_freeing(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint32_t count,
                             struct hf__freeing *freeing)
{
    struct neighbours beside;
    const uint64_t cost = freeing_cost(ref);
    const bool empties = ref->chunk->taken == count;
    int code = 0;
    if (ref->chunk->taken < count || ref->chunk->taken > ref->chunk->slots)
        return hf__corrupt("chunk.bitmap", ref->offset);
    if (empties)
        code = look_at_links(heap, ref, entry_of(ref, freeing), &beside);
    else if (lists(ref, count))
        code = look_at_first(heap, entry_of(ref, freeing), &freeing->first);
    if (code != 0 || (!empties && freeing->reserved >= cost))
        return code;
    freeing->reserved = empties ? 0 : cost > freeing->ahead ? cost : freeing->ahead;
    return hf__reserve(heap->seg, empties ? HF__HEAP_COST + 2 * HF__CHUNK_MEND_COST
                                          : freeing->reserved);
}

int hf__chunk_after_freeing(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint32_t count,
                            struct hf__freeing *freeing)
{
    freeing->bytes += (int64_t)count * ref->slot_class->bytes;
    freeing->slots += count;
    if (ref->chunk->taken == 0) {
        hf__freeing_end(heap, freeing);
        return retire(heap, ref, entry_of(ref, freeing));
    }
    freeing->reserved -= freeing_cost(ref);
    if (lists(ref, 0))
        push(heap, ref, entry_of(ref, freeing), &freeing->first);
    return 0;
}
