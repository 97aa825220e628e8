/* SPDX-License-Identifier: MIT */
/*
 * slab.c - small blocks in chunks of slots of one size, above best fit
 *
 * Raw blocks and objects of up to 1024 bytes are slots of a chunk: a block of 4, 16 or 64 KiB that
 * best fit keeps, with bitmaps of which slots are taken and which of them are pending. A slot has
 * no header, so that neither allocating nor freeing touches the object's own page. All else
 * (larger, aligned to more than 16, SYSTEM blocks) is a block of best fit.
 *
 *   multiple of 64 KiB                                                                + 64 KiB
 *   | block header | slots ... | record: links, counts, sum | word 0 | word 1 | ... | slots ... |
 *                              '--------- one line of 64 bytes -------'
 *
 * From a slot to its chunk. A chunk begins at a multiple of its size, so there are three places to
 * look at, the largest first. Where the record lies in it follows from the chunk's place: all at
 * the same distance would share a few sets of every cache, and each slot that is freed would miss
 * them. The record's check, keyed by salt and offset and binding order, kind and class, tells it
 * from whatever a user may have written there: a chunk that is dropped loses it. (The header at the
 * front, in a line of its own, is for the walk alone.)
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
 * all pending slots of its chunk: it is made when the first one is marked. Slots are marked only where
 * the segment has to say so before the end (slab_cache.h).
 *
 * Undo. An allocation announces the chunk's first line, the line of its word, and the counters;
 * freeing the same. Links change when a chunk fills up or has got room again. In a transaction of
 * the store most calls do none of that: slab_cache.h.
 *
 * The tail. On the log engine what is written above the used end reaches nobody: a chunk that is
 * dropped there is still one in the file. hf__slab_take_tail sees to that when the end rises again, also
 * where such a file is worked on in private memory (old_tail of the segment).
 *
 * Damage. Counts, words and links are looked at before they are used: what can't be is HF_ECORRUPT
 * before the first change. A bitmap that is wrong but possible is seen by check alone.
 */
#include "alloc/slab_cache.h"

#include "holdfast/memory.h"

/* ---- slots ----------------------------------------------------------------------------------- */

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

int hf__slab_allocate(struct hf__heap *heap, const struct hf__alloc_request *request, hf_ref *out,
                      uint64_t *usable)
{
    uint64_t size = request->size_bytes != 0 ? request->size_bytes : 1, slabs;
    struct hf__chunk_ref chunk;
    if (size > HF__SLOT_BYTES_MAX || request->align_bytes > HF__BLOCK_UNIT ||
        (request->kind != HF__BLOCK_RAW && request->kind != HF__BLOCK_OBJECT))
        return allocate_plain(heap, request, out, usable);
    if (request->align_bytes > 8 || request->kind == HF__BLOCK_OBJECT)
        size = (size + HF__BLOCK_UNIT - 1) / HF__BLOCK_UNIT * HF__BLOCK_UNIT;
    const uint32_t slot_class = hf__slot_class_of(size);
    const uint32_t number = hf__slot_number(request->kind, slot_class);
    int code = 0;
    if (heap->cache != NULL && hf__slab_quick_take(heap->cache, number, out, usable))
        return 0;
    slabs = hf__slab_directory(heap);
    if (slabs == 0) {
        if (*(const uint64_t *)hf__at(heap->seg, hf__slabs_field(heap)) != 0)
            return hf__corrupt("slabs.directory", hf__slabs_field(heap));
        if (heap->seg->size_bytes < HF__SLABS_FROM_BYTES)
            return hf__heap_allocate(heap, request, out, usable);
        code = hf__slabs_make(heap, &slabs);
    }
    const uint64_t entry = hf__slabs_entry_offset(slabs, request->kind, slot_class);
    struct hf__slot_row rows[HF__SLOT_ROWS];
    if (code == 0)
        code = hf__chunk_room(heap, entry, request->kind, slot_class, &chunk);
    if (code == HF_EFULL || code == HF_ENOSPC)
        return allocate_plain(heap, request, out, usable);
    if (code == 0)
        code = hf__chunk_take(heap, &chunk, entry, hf__slab_claim_count(heap, number), rows);
    if (code < 0)
        return code;
    if (heap->cache != NULL) {
        hf__slab_claim(heap, number, &chunk, rows, (uint32_t)code);
        hf__slab_quick_take(heap->cache, number, out, usable);
    } else {
        *out =
            hf__chunk_slot(&chunk, rows[0].word * 64 + (uint32_t)__builtin_ctzll(rows[0].slots));
        if (usable != NULL)
            *usable = chunk.slot_class->bytes;
    }
    return 0;
}

/* ---- freeing --------------------------------------------------------------------------------- */

static int free_slot(struct hf__heap *heap, const struct slot *slot)
{
    struct hf__freeing freeing;
    if (slot_pending(slot) && slot->chunk->chunk->pending == 0)
        return hf__corrupt("chunk.bitmap", slot->chunk->offset);
    int code = hf__freeing_begin(heap, 0, &freeing);
    if (code == 0)
        code = hf__chunk_before_freeing(heap, slot->chunk, 1, &freeing);
    if (code != 0)
        return code;
    hf__chunk_clear(heap, slot->chunk, slot->word, slot->bit);
    hf__slab_untaken(heap, slot->chunk, slot->word, slot->bit);
    code = hf__chunk_after_freeing(heap, slot->chunk, 1, &freeing);
    hf__freeing_end(heap, &freeing);
    return code;
}

int hf__slab_free(struct hf__heap *heap, hf_ref block)
{
    struct hf__chunk_ref chunk;
    struct slot slot;
    int code = hf__heap_sound(heap);
    if (code == 0)
        code = hf__slab_settle(heap); /* it may be of a claim, or its chunk's last */
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
    struct hf__freeing freeing;
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
        count += hf__slot_count(words[i].pending);
    }
    if (count != pending)
        return hf__corrupt("chunk.bitmap", chunk.offset);
    if (count == 0)
        return 0;
    code = hf__freeing_begin(heap, 0, &freeing);
    if (code == 0)
        code = hf__chunk_before_freeing(heap, &chunk, count, &freeing);
    if (code != 0)
        return code;
    for (uint32_t i = 0; chunk.chunk->pending != 0; i++) /* not live in a copy any more */
        if (words[i].pending != 0)
            hf__chunk_clear(heap, &chunk, i, words[i].pending);
    code = hf__chunk_after_freeing(heap, &chunk, count, &freeing);
    hf__freeing_end(heap, &freeing);
    return code;
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

static void describe(const struct hf__heap *heap, const struct slot *slot,
                     struct hf__block_info *out)
{
    out->payload = hf__chunk_slot(slot->chunk, slot->number);
    out->usable_bytes = slot->chunk->slot_class->bytes;
    out->kind = slot->chunk->chunk->slot_kind;
    out->pending =
        slot_pending(slot) || hf__slab_freed(heap, slot->chunk, slot->word, slot->bit) != 0;
    out->slot = true;
}

int hf__slab_identify(const struct hf__heap *heap, hf_ref ref, struct hf__block_info *out)
{
    struct hf__chunk_ref chunk;
    struct slot slot;
    if (!hf__chunk_of(heap, ref, &chunk))
        return -1;
    if (!slot_in(&chunk, ref, &slot) || !slot_taken(&slot) ||
        hf__slab_claimed(heap, &chunk, slot.word, slot.bit))
        return 0;
    describe(heap, &slot, out);
    return 1;
}

int hf__slab_mark_pending(struct hf__heap *heap, const struct hf__chunk_ref *ref, hf_ref block,
                          bool pending, hf_ref *entry)
{
    struct slot slot;
    int code = live_slot(ref, block, !pending, &slot);
    if (code == 0 && hf__slab_claimed(heap, ref, slot.word, slot.bit))
        code = hf__fail(HF_EPTR, "no live block at %llu", (unsigned long long)block);
    const bool freed = code == 0 && hf__slab_freed(heap, ref, slot.word, slot.bit) != 0;
    if (freed && pending)
        code = hf__fail(HF_EPTR, "the block at %llu is freed already", (unsigned long long)block);
    if (code != 0)
        return code;
    *entry = 0;
    if (freed) {
        hf__slab_unfree(heap, ref, slot.word, slot.bit);
        return 0;
    }
    if (slot_pending(&slot) == pending ||
        (pending && hf__slab_unclaim(heap, ref, slot.word, slot.bit)) ||
        (pending && hf__slab_see(heap, ref) != NULL &&
         hf__slab_quick_free(heap, block, ref->chunk->slot_kind)))
        return 0;
    if (pending ? ref->chunk->pending >= ref->chunk->slots : ref->chunk->pending == 0)
        return hf__corrupt("chunk.bitmap", ref->offset);
    code = hf__reserve(heap->seg, 2 * HF__EDIT_COST(HF__LINE_BYTES));
    if (code != 0)
        return code;
    hf__chunk_mark(heap, ref, slot.word, slot.bit, pending);
    *entry = pending && ref->chunk->pending == 1 ? block | HF__ENTRY_OF_SLOTS : 0;
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
        uint64_t left = (words[number / 64].taken &
                         ~hf__slab_claimed(heap, &chunk, number / 64, ~UINT64_C(0))) >>
                        number % 64;
        if (left == 0) {
            number = (number / 64 + 1) * 64;
            continue;
        }
        number += (uint32_t)__builtin_ctzll(left);
        if (number >= chunk.chunk->slots)
            break;
        struct slot slot = {&chunk, number, number / 64, UINT64_C(1) << number % 64};
        describe(heap, &slot, out);
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
    .allocate_many = hf__slab_allocate_many,
    .expand = hf__slab_expand,
    .split = hf__slab_split,
    .free = hf__slab_free,
    .trim = hf__slab_trim,
    .largest_free = hf__heap_largest_free,
    .zero_free = hf__heap_zero_free,
    .rebuild = hf__heap_rebuild,
    .check = hf__heap_check,
};
