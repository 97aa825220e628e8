/* SPDX-License-Identifier: MIT */
/*
 * slab.c - small blocks in chunks of slots of one size, above best fit
 *
 * Raw blocks and objects of up to 1024 bytes are slots of a chunk: a block of 4, 16 or 64 KiB that
 * best fit keeps, with bitmaps of which slots are taken and which of them are pending. A slot has no
 * header, so that neither allocating nor freeing touches the object's own page. All else (larger,
 * aligned to more than 16, SYSTEM blocks, many at once) is a block of best fit.
 *
 *   multiple of 64 KiB                                                                + 64 KiB
 *   | block header | slots ... | record: links, counts, sum | word 0 | word 1 | ... | slots ... |
 *                              '--------- one line of 64 bytes -------'
 *
 * From a slot to its chunk. A chunk begins at a multiple of its size, so there are three places to
 * look at, the largest first. Where the record lies in it follows from the chunk's place: all at the
 * same distance would share a few sets of every cache, and each slot that is freed would miss them.
 * The record's check, keyed by salt and offset and binding order, kind and class, tells it from
 * whatever a user may have written there: a chunk that is dropped loses it. (The header at the front,
 * in a line of its own, is for the walk alone.)
 *
 * The directory, a block that the word in front of the heap's root leads to, has an entry for each
 * kind and class: the list of chunks with room, a spare (an empty chunk kept, so that a block that
 * is allocated and freed again and again makes no chunk each time) and the bytes of all its chunks,
 * which say how large the next one is. It is made with the first chunk, and that when the segment
 * has 128 KiB: a small store has no use for it.
 *
 * Invariants (with H1..H6, for which a chunk is one live block)
 *   S1  taken and pending count the bits of the bitmaps; pending slots are taken; bits behind the
 *       last slot are taken; sum is that of the taken words; words before first_room are full, and
 *       that word, if it is one, is not
 *   S2  a listed chunk has room, is in the list of its kind and class once, and its links are those
 *       of its neighbours. One that is not listed has less room than hf__chunk_relist, or is spare
 *   S3  a spare is empty and of its entry's kind and class. bytes is the sum over the chunks
 *   S4  free_bytes counts free slots, live_bytes the others and a chunk's own parts; live_blocks
 *       counts slots, not chunks and directory
 *
 * Freed slots are pending until the transaction ends. Then one entry of the store's list stands for
 * all pending slots of its chunk: it is made when the first one is marked.
 *
 * Undo. An allocation announces the chunk's first line, the line of its word, and the counters;
 * freeing the same. Links change when a chunk fills up or has got room again.
 *
 * The tail. On the log engine what is written above the used end reaches nobody: a chunk that is
 * dropped there is still one in the file. hf__slab_take_tail sees to that when the end rises again.
 *
 * Damage. Counts, words and links are looked at before they are used: what can't be is HF_ECORRUPT
 * before the first change. A bitmap that is wrong but possible is seen by check alone.
 */
#include "alloc/slab.h"

#include "holdfast/memory.h"

#include <string.h>

#define SLABS_FROM_BYTES (UINT64_C(128) * 1024) /* of the segment: below, all is best fit's */
#define OP_COST          (8 * HF__EDIT_COST(HF__LINE_BYTES))

/* ---- slots ----------------------------------------------------------------------------------- */

static uint32_t class_of(uint64_t size_bytes)
{
    assert(size_bytes >= 1 && size_bytes <= HF__SLOT_BYTES_MAX);
    uint32_t below = (uint32_t)size_bytes - 1;
    return below < 256 ? below / 8 : below < 512 ? 16 + below / 16 : 32 + below / 32;
}

/* A slot, as number, word and bit. */
struct slot {
    const struct hf__chunk_ref *chunk;
    uint32_t number, word;
    uint64_t bit;
};

/* The slot that begins at ref, in the chunk that is found already. */
static inline bool slot_in(const struct hf__chunk_ref *chunk, hf_ref ref, struct slot *out)
{
    bool low = ref < chunk->record;
    uint32_t base = low ? 0 : chunk->chunk->lower;
    uint64_t start = low ? chunk->offset + HF__BLOCK_HEADER_BYTES
                         : chunk->record + hf__chunk_record_bytes(chunk);
    uint64_t distance = ref - start;
    if (ref < start || distance >= HF__CHUNK_BYTES(2))
        return false;
    uint32_t number = (uint32_t)(distance * chunk->slot_class->inverse >> 32);
    if ((uint64_t)number * chunk->slot_class->bytes != distance ||
        number + base >= (low ? chunk->chunk->lower : chunk->chunk->slots))
        return false;
    number += base;
    *out = (struct slot){chunk, number, number / 64, UINT64_C(1) << number % 64};
    return true;
}

static bool slot_taken(const struct slot *slot)
{
    return (hf__chunk_words(slot->chunk)[slot->word].taken & slot->bit) != 0;
}

static bool slot_pending(const struct slot *slot)
{
    return (hf__chunk_words(slot->chunk)[slot->word].pending & slot->bit) != 0;
}

/* The live slot there; pending ones on request. 0, HF_EPTR. */
static int live_slot(const struct hf__chunk_ref *chunk, hf_ref ref, bool pending_too,
                     struct slot *out)
{
    if (!slot_in(chunk, ref, out) || !slot_taken(out))
        return hf__fail(HF_EPTR, "no live block at %llu", (unsigned long long)ref);
    if (slot_pending(out) && !pending_too)
        return hf__fail(HF_EPTR, "the block at %llu is freed already", (unsigned long long)ref);
    return 0;
}

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

static struct hf__slabs_entry *edit_entry(struct hf__heap *heap, uint64_t entry)
{
    return (struct hf__slabs_entry *)hf__edit(heap->seg, entry, sizeof(struct hf__slabs_entry));
}

/* The entry of a chunk's kind and class. 0, HF_ECORRUPT. */
static int entry_of(const struct hf__heap *heap, const struct hf__chunk_ref *ref, uint64_t *out)
{
    uint64_t slabs = hf__slabs_of(heap);
    if (slabs == 0)
        return hf__corrupt("slabs.directory", hf__slabs_field(heap));
    *out = hf__slabs_entry_offset(slabs, ref->chunk->slot_kind, ref->chunk->slot_class);
    return 0;
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

/* Whether the first of an entry's list can be linked to. 0, HF_ECORRUPT. */
static int look_at_first(const struct hf__heap *heap, uint64_t entry, struct hf__chunk_ref *out)
{
    uint64_t first = entry_at(heap, entry)->first;
    out->offset = 0;
    if (first != 0 && (!hf__chunk_at(heap, first, out) || out->chunk->previous != entry))
        return hf__corrupt("chunk.links", first);
    return 0;
}

/* Whether a listed chunk's links are those of its neighbours. 0, HF_ECORRUPT. */
static int look_at_links(const struct hf__heap *heap, const struct hf__chunk_ref *ref,
                         uint64_t entry)
{
    const struct hf__chunk *chunk = ref->chunk;
    struct hf__chunk_ref other;
    if (chunk->previous == 0)
        return 0;
    bool good = chunk->previous == entry
                    ? entry_at(heap, entry)->first == ref->offset
                    : hf__chunk_at(heap, chunk->previous, &other) && same_class(ref, &other) &&
                          other.chunk->next == ref->offset;
    good = good &&
           (chunk->next == 0 || (hf__chunk_at(heap, chunk->next, &other) &&
                                 same_class(ref, &other) && other.chunk->previous == ref->offset));
    return good ? 0 : hf__corrupt("chunk.links", ref->offset);
}

/* Both after a look. */
static void push(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint64_t entry)
{
    struct hf__slabs_entry *at = edit_entry(heap, entry);
    struct hf__chunk *chunk = edit_chunk(heap, ref);
    struct hf__chunk_ref next;
    if (at->first != 0 && hf__chunk_at(heap, at->first, &next))
        edit_chunk(heap, &next)->previous = ref->offset;
    chunk->next = at->first;
    chunk->previous = entry;
    at->first = ref->offset;
}

static void unlist(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint64_t entry)
{
    struct hf__chunk *chunk = edit_chunk(heap, ref);
    struct hf__chunk_ref other;
    if (chunk->previous == 0)
        return;
    if (chunk->next != 0 && hf__chunk_at(heap, chunk->next, &other))
        edit_chunk(heap, &other)->previous = chunk->previous;
    if (chunk->previous == entry)
        edit_entry(heap, entry)->first = chunk->next;
    else if (hf__chunk_at(heap, chunk->previous, &other))
        edit_chunk(heap, &other)->next = chunk->next;
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
    for (uint32_t i = 0; i < out->words; i++) {
        word[i] = (struct hf__chunk_word){.taken = hf__chunk_beyond(out, i)};
        chunk->sum += hf__chunk_mix(word[i].taken, i);
    }
}

/* A new chunk for an entry, listed. Smaller ones while the class is small, or where there is no room
 * for a large one. 0, HF_ENOSPC, HF_EFULL, HF_ECORRUPT. */
static int make_chunk(struct hf__heap *heap, uint64_t entry, uint32_t slot_kind,
                      uint32_t slot_class, struct hf__chunk_ref *out)
{
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
        edit_entry(heap, entry)->bytes += size;
        push(heap, out, entry);
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
    edit_entry(heap, entry)->bytes -= HF__CHUNK_BYTES(ref->order);
    chunk->check = ~chunk->check;
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
    unlist(heap, ref, entry);
    if (spare.offset != 0 && (!spare_good(heap, spare.offset, &spare) || !same_class(ref, &spare)))
        return hf__corrupt("slabs.spare", entry);
    if (spare.offset != 0 && spare.order >= ref->order)
        return drop(heap, ref, entry);
    edit_entry(heap, entry)->spare = ref->offset;
    return spare.offset != 0 ? drop(heap, &spare, entry) : 0;
}

int hf__slab_trim(struct hf__heap *heap)
{
    struct hf__chunk_ref spare;
    struct hf__block block;
    int code = hf__heap_sound(heap);
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
            edit_entry(heap, entry)->spare = 0;
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

/* ---- allocating ------------------------------------------------------------------------------ */

/* From best fit; before it is refused, the spares go. */
static int allocate_plain(struct hf__heap *heap, const struct hf__alloc_request *request,
                          hf_ref *out, uint64_t *usable)
{
    uint64_t field = *(const uint64_t *)hf__at(heap->seg, hf__slabs_field(heap));
    int code = hf__heap_allocate(heap, request, out, usable);
    if (field == 0 || (code != HF_EFULL && code != HF_ENOSPC))
        return code;
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    uint64_t free_before = root->free_bytes, end_before = root->used_end;
    hf_error failure = *hf_last_error();
    if (hf__slab_trim(heap) == 0 &&
        (root->free_bytes != free_before || root->used_end != end_before))
        return hf__heap_allocate(heap, request, out, usable);
    hf__fail_again(&failure);
    return code;
}

/* The chunk from which an entry's next slot comes, listed. With one there already *made stays false
 * and nothing was reserved. */
static int chunk_with_room(struct hf__heap *heap, uint64_t entry, uint32_t slot_kind,
                           uint32_t slot_class, struct hf__chunk_ref *out, bool *made)
{
    const struct hf__slabs_entry *at = entry_at(heap, entry);
    if (at->first != 0) {
        if (!hf__chunk_at(heap, at->first, out) || !in_list_of(out, slot_kind, slot_class) ||
            out->chunk->previous != entry)
            return hf__corrupt("chunk.links", at->first);
        return 0;
    }
    *made = true;
    if (at->spare == 0)
        return make_chunk(heap, entry, slot_kind, slot_class, out);
    if (!spare_good(heap, at->spare, out) || !in_list_of(out, slot_kind, slot_class))
        return hf__corrupt("slabs.spare", entry);
    int code = hf__reserve(heap->seg, OP_COST);
    if (code != 0)
        return code;
    edit_entry(heap, entry)->spare = 0;
    push(heap, out, entry);
    return 0;
}

/* The next word with room from `word` on. */
static uint32_t next_room(const struct hf__chunk_ref *ref, uint32_t word)
{
    while (word < ref->words && hf__chunk_words(ref)[word].taken == ~UINT64_C(0))
        word++;
    return word;
}

/* The lowest free slot of a listed chunk. Reserved. 0, HF_ECORRUPT. */
static int take_slot(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint64_t entry,
                     hf_ref *out)
{
    uint32_t word = ref->chunk->first_room;
    if (word >= ref->words || ref->chunk->taken >= ref->chunk->slots ||
        hf__chunk_words(ref)[word].taken == ~UINT64_C(0))
        return hf__corrupt("chunk.bitmap", ref->offset);
    bool last = ref->chunk->taken + 1u == ref->chunk->slots;
    int code = last ? look_at_links(heap, ref, entry) : 0;
    if (code != 0)
        return code;
    struct hf__chunk *chunk = edit_chunk(heap, ref);
    struct hf__chunk_word *at = edit_word(heap, ref, word);
    uint32_t bit = (uint32_t)__builtin_ctzll(~at->taken);
    uint64_t taken = at->taken | UINT64_C(1) << bit;
    chunk->sum += hf__chunk_mix(taken, word) - hf__chunk_mix(at->taken, word);
    chunk->taken++;
    at->taken = taken;
    if (taken == ~UINT64_C(0))
        chunk->first_room = (uint16_t)next_room(ref, word + 1);
    if (last)
        unlist(heap, ref, entry);
    hf__heap_count(heap, -(int64_t)ref->slot_class->bytes, 0, ref->slot_class->bytes, 1);
    *out = hf__chunk_slot(ref, word * 64 + bit);
    return 0;
}

int hf__slab_allocate(struct hf__heap *heap, const struct hf__alloc_request *request, hf_ref *out,
                      uint64_t *usable)
{
    uint64_t size = request->size_bytes != 0 ? request->size_bytes : 1, slabs;
    struct hf__chunk_ref chunk;
    bool made = false;
    if (size > HF__SLOT_BYTES_MAX || request->align_bytes > HF__BLOCK_UNIT ||
        (request->kind != HF__BLOCK_RAW && request->kind != HF__BLOCK_OBJECT))
        return allocate_plain(heap, request, out, usable);
    if (request->align_bytes > 8 || request->kind == HF__BLOCK_OBJECT)
        size = (size + HF__BLOCK_UNIT - 1) / HF__BLOCK_UNIT * HF__BLOCK_UNIT;
    const uint32_t slot_class = class_of(size);
    int code = 0;
    slabs = hf__slabs_of(heap);
    if (slabs == 0) {
        if (*(const uint64_t *)hf__at(heap->seg, hf__slabs_field(heap)) != 0)
            return hf__corrupt("slabs.directory", hf__slabs_field(heap));
        if (heap->seg->size_bytes < SLABS_FROM_BYTES)
            return hf__heap_allocate(heap, request, out, usable);
        code = hf__slabs_make(heap, &slabs);
    }
    uint64_t entry = hf__slabs_entry_offset(slabs, request->kind, slot_class);
    if (code == 0)
        code = chunk_with_room(heap, entry, request->kind, slot_class, &chunk, &made);
    if (code == HF_EFULL || code == HF_ENOSPC)
        return allocate_plain(heap, request, out, usable);
    if (code == 0 && !made)
        code = hf__reserve(heap->seg, OP_COST);
    if (code == 0)
        code = take_slot(heap, &chunk, entry, out);
    if (code == 0 && usable != NULL)
        *usable = chunk.slot_class->bytes;
    return code;
}

/* ---- freeing --------------------------------------------------------------------------------- */

/* Makes slots of a word free. Counts were looked at. */
static void clear_slots(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint32_t word,
                        uint64_t slots)
{
    struct hf__chunk *chunk = edit_chunk(heap, ref);
    struct hf__chunk_word *at = edit_word(heap, ref, word);
    uint64_t taken = at->taken & ~slots;
    chunk->sum += hf__chunk_mix(taken, word) - hf__chunk_mix(at->taken, word);
    chunk->taken = (uint16_t)(chunk->taken - (uint32_t)__builtin_popcountll(slots));
    chunk->pending =
        (uint16_t)(chunk->pending - (uint32_t)__builtin_popcountll(slots & at->pending));
    at->taken = taken;
    at->pending &= ~slots;
    if (word < chunk->first_room)
        chunk->first_room = (uint16_t)word;
}

/* Before and after slots of a chunk are freed: what that will change is possible and reserved; then
 * the lists follow. 0, HF_ECORRUPT, HF_ENOSPC. */
static int before_freeing(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint32_t count,
                          uint64_t *entry)
{
    struct hf__chunk_ref first;
    if (ref->chunk->taken < count || ref->chunk->taken > ref->chunk->slots)
        return hf__corrupt("chunk.bitmap", ref->offset);
    bool empties = ref->chunk->taken == count;
    int code = entry_of(heap, ref, entry);
    if (code == 0 && empties)
        code = look_at_links(heap, ref, *entry);
    if (code == 0 && !empties && ref->chunk->previous == 0)
        code = look_at_first(heap, *entry, &first);
    if (code == 0)
        code = hf__reserve(heap->seg, empties ? HF__HEAP_COST + 2 * HF__CHUNK_MEND_COST
                                              : (ref->words + 8) * HF__EDIT_COST(HF__LINE_BYTES));
    return code;
}

static int after_freeing(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint32_t count,
                         uint64_t entry)
{
    int64_t bytes = (int64_t)count * ref->slot_class->bytes;
    hf__heap_count(heap, bytes, 0, -bytes, -(int64_t)count);
    if (ref->chunk->taken == 0)
        return retire(heap, ref, entry);
    if (ref->chunk->previous == 0 &&
        (uint32_t)(ref->chunk->slots - ref->chunk->taken) >= hf__chunk_relist(ref))
        push(heap, ref, entry);
    return 0;
}

static int free_slot(struct hf__heap *heap, const struct slot *slot)
{
    uint64_t entry;
    if (slot_pending(slot) && slot->chunk->chunk->pending == 0)
        return hf__corrupt("chunk.bitmap", slot->chunk->offset);
    int code = before_freeing(heap, slot->chunk, 1, &entry);
    if (code != 0)
        return code;
    clear_slots(heap, slot->chunk, slot->word, slot->bit);
    return after_freeing(heap, slot->chunk, 1, entry);
}

int hf__slab_free(struct hf__heap *heap, hf_ref block)
{
    struct hf__chunk_ref chunk;
    struct slot slot;
    int code = hf__heap_sound(heap);
    if (code != 0)
        return code;
    if (!hf__chunk_of(heap, block, &chunk))
        return hf__heap_free(heap, block);
    code = live_slot(&chunk, block, true, &slot);
    return code == 0 ? free_slot(heap, &slot) : code;
}

int hf__slab_free_entry(struct hf__heap *heap, hf_ref ref)
{
    struct slot slot;
    struct hf__chunk_ref chunk;
    uint64_t entry;
    uint32_t count = 0;
    int code = hf__heap_sound(heap);
    if (code != 0)
        return code;
    if (!hf__chunk_of(heap, ref, &chunk))
        return 0; /* another entry has emptied it */
    const uint32_t pending = chunk.chunk->pending;
    if (pending <= 1 && slot_in(&chunk, ref, &slot) && slot_taken(&slot) && slot_pending(&slot))
        return free_slot(heap, &slot);
    const struct hf__chunk_word *words = hf__chunk_words(&chunk);
    for (uint32_t i = 0; i < chunk.words && count < pending; i++) {
        if ((words[i].pending & ~(words[i].taken & ~hf__chunk_beyond(&chunk, i))) != 0)
            return hf__corrupt("chunk.bitmap", chunk.offset);
        count += (uint32_t)__builtin_popcountll(words[i].pending);
    }
    if (count != pending)
        return hf__corrupt("chunk.bitmap", chunk.offset);
    if (count == 0)
        return 0;
    code = before_freeing(heap, &chunk, count, &entry);
    if (code != 0)
        return code;
    for (uint32_t i = 0; chunk.chunk->pending != 0; i++)
        if (words[i].pending != 0)
            clear_slots(heap, &chunk, i, words[i].pending);
    return after_freeing(heap, &chunk, count, entry);
}

/* ---- resizing: within its slot, a block has what it has -------------------------------------- */

int hf__slab_expand(struct hf__heap *heap, hf_ref block, unsigned flags, uint64_t limit_bytes,
                    uint64_t preferred_bytes, hf_ref *out, uint64_t *received)
{
    struct hf__chunk_ref chunk;
    struct slot slot;
    uint64_t ignored;
    int code = hf__heap_sound(heap);
    if (code != 0)
        return code;
    if (!hf__chunk_of(heap, block, &chunk))
        return hf__heap_expand(heap, block, flags, limit_bytes, preferred_bytes, out, received);
    code = hf__block_bytes_for(preferred_bytes, &ignored);
    if (code == 0)
        code = live_slot(&chunk, block, false, &slot);
    if (code != 0)
        return code;
    *received = chunk.slot_class->bytes;
    if (limit_bytes > *received)
        return hf__fail(HF_EFULL, "a block of %u bytes can't grow in place",
                        chunk.slot_class->bytes);
    *out = block;
    return 0;
}

int hf__slab_split(struct hf__heap *heap, hf_ref block, uint64_t keep_bytes, hf_ref *rest)
{
    struct hf__chunk_ref chunk;
    struct slot slot;
    uint64_t ignored;
    int code = hf__heap_sound(heap);
    if (code != 0)
        return code;
    if (!hf__chunk_of(heap, block, &chunk))
        return hf__heap_split(heap, block, keep_bytes, rest);
    code = hf__block_bytes_for(keep_bytes, &ignored);
    if (code == 0)
        code = live_slot(&chunk, block, false, &slot);
    if (code == 0)
        *rest = 0;
    return code;
}

/* ---- walk, identify, pending ----------------------------------------------------------------- */

static void describe(const struct slot *slot, struct hf__block_info *out)
{
    out->payload = hf__chunk_slot(slot->chunk, slot->number);
    out->usable_bytes = slot->chunk->slot_class->bytes;
    out->kind = slot->chunk->chunk->slot_kind;
    out->pending = slot_pending(slot);
    out->slot = true;
}

bool hf__slab_identify(const struct hf__heap *heap, hf_ref ref, struct hf__block_info *out)
{
    struct hf__chunk_ref chunk;
    struct slot slot;
    if (!hf__chunk_of(heap, ref, &chunk) || !slot_in(&chunk, ref, &slot) || !slot_taken(&slot))
        return false;
    describe(&slot, out);
    return true;
}

int hf__slab_mark_pending(struct hf__heap *heap, const struct hf__chunk_ref *ref, hf_ref block,
                          bool pending, hf_ref *entry)
{
    struct slot slot;
    int code = live_slot(ref, block, !pending, &slot);
    if (code != 0)
        return code;
    *entry = 0;
    if (slot_pending(&slot) == pending)
        return 0;
    if (pending ? ref->chunk->pending >= ref->chunk->slots : ref->chunk->pending == 0)
        return hf__corrupt("chunk.bitmap", ref->offset);
    code = hf__reserve(heap->seg, 2 * HF__EDIT_COST(HF__LINE_BYTES));
    if (code != 0)
        return code;
    struct hf__chunk *chunk = edit_chunk(heap, ref);
    struct hf__chunk_word *word = edit_word(heap, ref, slot.word);
    *entry = chunk->pending == 0 ? block | HF__ENTRY_OF_SLOTS : 0;
    chunk->pending = (uint16_t)(pending ? chunk->pending + 1u : chunk->pending - 1u);
    word->pending ^= slot.bit;
    return 0;
}

/* The number of the first slot that begins at or behind offset. */
static uint32_t slot_from(const struct hf__chunk_ref *ref, uint64_t offset)
{
    const uint64_t low = ref->offset + HF__BLOCK_HEADER_BYTES, size = ref->slot_class->bytes;
    const uint64_t high = ref->record + hf__chunk_record_bytes(ref);
    if (offset >= high)
        return ref->chunk->lower + (uint32_t)((offset - high + size - 1) / size);
    uint64_t number = offset <= low ? 0 : (offset - low + size - 1) / size;
    return number < ref->chunk->lower ? (uint32_t)number : ref->chunk->lower;
}

int hf__slab_next(const struct hf__heap *heap, uint64_t *offset, struct hf__block_info *out)
{
    struct hf__chunk_ref chunk;
    struct hf__block block;
    if (!hf__chunk_of(heap, *offset, &chunk))
        return -1;
    int code = hf__heap_block(heap, chunk.offset, &block);
    if (code == 0 && !hf__chunk_of_block(heap, &block, hf__slab_end(heap), &chunk))
        code = hf__corrupt("chunk.header", chunk.offset);
    if (code != 0)
        return code;
    const struct hf__chunk_word *words = hf__chunk_words(&chunk);
    uint32_t number = slot_from(&chunk, *offset);
    *offset = hf__block_end(&block);
    while (number < chunk.chunk->slots) {
        uint64_t left = words[number / 64].taken >> number % 64;
        if (left == 0) {
            number = (number / 64 + 1) * 64;
            continue;
        }
        number += (uint32_t)__builtin_ctzll(left);
        if (number >= chunk.chunk->slots)
            break;
        struct slot slot = {&chunk, number, number / 64, UINT64_C(1) << number % 64};
        describe(&slot, out);
        if (number + 1u < chunk.chunk->slots)
            *offset = hf__chunk_slot(&chunk, number + 1);
        return 1;
    }
    return 0;
}

const struct hf__allocator hf__alloc_slab = {
    .kind = HF_ALLOC_SLAB,
    .name = "slab",
    .slabs = true,
    .free_set = &hf__free_tree,
    .init = hf__heap_init,
    .allocate = hf__slab_allocate,
    .allocate_many = hf__heap_allocate_many,
    .expand = hf__slab_expand,
    .split = hf__slab_split,
    .free = hf__slab_free,
    .trim = hf__slab_trim,
    .largest_free = hf__heap_largest_free,
    .zero_free = hf__heap_zero_free,
    .rebuild = hf__heap_rebuild,
    .check = hf__heap_check,
};
