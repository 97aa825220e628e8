/* SPDX-License-Identifier: MIT */
/*
 * slab_check.c - whether chunks and their directory are what slab.c says, and making them so again
 *
 *   rule              what it wants
 *   chunk.header      a chunk's check is right: its class and kind are those it was made with
 *   chunk.bitmap      S1
 *   chunk.links       S2, of the chunk at that offset
 *   chunk.list        S2: a chunk that is not listed has little room, or is its entry's spare
 *   slabs.directory   one directory, where the word in front of the root says, if there is a chunk
 *   slabs.list        S2: as many chunks in the lists as chunks that say they are listed
 *   slabs.spare       S3
 *   slabs.bytes       S3
 *
 * Mending. A chunk whose check is wrong is set aside whole, as a block with a broken header is
 * (repair.c). If the bitmap of a true chunk agrees with its sum, the counts are counted again. If it
 * doesn't, nobody knows which slots are live: then all are, so that nothing is given away that
 * somebody still needs. (The store frees those that should be objects and are none.) Lists and
 * directory hold nothing that the chunks don't say, and are made anew.
 */
#include "alloc/slab.h"

#include <string.h>

/* ---- one chunk ------------------------------------------------------------------------------- */

/* What the words come to. */
struct counts {
    uint32_t sum, taken, pending, first_room;
    bool
        possible; /* reserved is zero, pending within taken, no bit beyond the last slot          */
};

static struct counts count_words(const struct hf__chunk_ref *ref)
{
    const struct hf__chunk_word *words = hf__chunk_words(ref);
    struct counts counts = {.first_room = ref->words, .possible = true};
    for (uint32_t i = 0; i < sizeof ref->chunk->reserved; i++)
        counts.possible = counts.possible && ref->chunk->reserved[i] == 0;
    for (uint32_t i = ref->words; i-- > 0;) {
        const uint64_t taken = words[i].taken, beyond = hf__chunk_beyond(ref, i);
        counts.sum += hf__chunk_mix(taken, i);
        counts.taken += (uint32_t)__builtin_popcountll(taken & ~beyond);
        counts.pending += (uint32_t)__builtin_popcountll(words[i].pending);
        if ((taken & beyond) != beyond || (words[i].pending & (~taken | beyond)) != 0)
            counts.possible = false;
        if (taken != ~UINT64_C(0))
            counts.first_room = i;
    }
    return counts;
}

const char *hf__chunk_wrong(const struct hf__chunk_ref *ref)
{
    const struct counts counts = count_words(ref);
    const struct hf__chunk *chunk = ref->chunk;
    return !counts.possible                         ? "the bitmaps contradict each other"
           : counts.sum != chunk->sum               ? "the sum is not that of the bitmap"
           : counts.taken != chunk->taken           ? "the number of slots taken is another"
           : counts.pending != chunk->pending       ? "the number of slots pending is another"
           : counts.first_room != chunk->first_room ? "the first word with room is another"
                                                    : NULL;
}

void hf__slab_share(const struct hf__heap *heap, const struct hf__block *block,
                    struct hf__slab_share *out)
{
    struct hf__chunk_ref chunk;
    *out = (struct hf__slab_share){0, 0};
    if (block->kind != HF__BLOCK_CHUNK ||
        !hf__chunk_of_block(heap, block, hf__heap_used_end(heap), &chunk) ||
        chunk.chunk->taken > chunk.chunk->slots)
        return;
    out->free_bytes = (uint64_t)(chunk.chunk->slots - chunk.chunk->taken) * chunk.slot_class->bytes;
    out->live_blocks = chunk.chunk->taken;
}

/* ---- checking -------------------------------------------------------------------------------- */

void hf__slab_check_block(const struct hf__heap *heap, struct hf__check *check,
                          const struct hf__block *block, struct hf__slab_totals *totals)
{
    struct hf__chunk_ref chunk;
    if (block->kind == HF__BLOCK_SLABS) {
        if (totals->directories++ == 0)
            totals->directory = block->offset + HF__BLOCK_HEADER_BYTES;
        return;
    }
    totals->chunks++;
    if (!hf__chunk_of_block(heap, block, hf__heap_used_end(heap), &chunk)) {
        hf__finding(check, "chunk.header", block->offset, "a chunk with a right check");
        return;
    }
    const char *wrong = hf__chunk_wrong(&chunk);
    if (wrong != NULL)
        hf__finding(check, "chunk.bitmap", block->offset, "%s", wrong);
    totals->listed += chunk.chunk->previous != 0;
    totals->bytes[hf__slabs_entry_offset(0, chunk.chunk->slot_kind, chunk.chunk->slot_class) /
                  sizeof(struct hf__slabs_entry)] += HF__CHUNK_BYTES(chunk.order);
    if (chunk.chunk->previous != 0)
        return;
    uint64_t slabs = hf__slabs_of(heap);
    const struct hf__slabs_entry *entry =
        slabs == 0 ? NULL
                   : (const struct hf__slabs_entry *)hf__at(
                         heap->seg, hf__slabs_entry_offset(slabs, chunk.chunk->slot_kind,
                                                           chunk.chunk->slot_class));
    bool spare = entry != NULL && entry->spare == block->offset;
    if (chunk.chunk->next != 0 ||
        (!spare && (uint32_t)(chunk.chunk->slots - chunk.chunk->taken) >= hf__chunk_relist(&chunk)))
        hf__finding(check, "chunk.list", block->offset, "%u of %u slots are taken, yet not listed",
                    chunk.chunk->taken, chunk.chunk->slots);
}

static uint64_t check_list(const struct hf__heap *heap, struct hf__check *check, uint64_t entry,
                           uint64_t chunks)
{
    const struct hf__slabs_entry *at = (const struct hf__slabs_entry *)hf__at(heap->seg, entry);
    uint64_t slabs = hf__slabs_of(heap), count = 0, previous = entry;
    struct hf__chunk_ref chunk;
    for (uint64_t offset = at->first; offset != 0 && !hf__check_stopped(check);
         offset = chunk.chunk->next) {
        if (count++ == chunks || !hf__chunk_at(heap, offset, &chunk) ||
            hf__slabs_entry_offset(slabs, chunk.chunk->slot_kind, chunk.chunk->slot_class) !=
                entry ||
            chunk.chunk->previous != previous || chunk.chunk->taken >= chunk.chunk->slots) {
            hf__finding(check, "chunk.links", offset,
                        "a chunk with room, of its list's class, that is linked to %llu",
                        (unsigned long long)previous);
            break;
        }
        previous = offset;
    }
    return count;
}

static void check_entry(const struct hf__heap *heap, struct hf__check *check, uint64_t entry,
                        uint64_t bytes)
{
    const struct hf__slabs_entry *at = (const struct hf__slabs_entry *)hf__at(heap->seg, entry);
    uint64_t slabs = hf__slabs_of(heap);
    struct hf__chunk_ref chunk;
    if (at->bytes != bytes)
        hf__finding(check, "slabs.bytes", entry, "%llu in chunks, found %llu",
                    (unsigned long long)bytes, (unsigned long long)at->bytes);
    if (at->spare != 0 &&
        (!hf__chunk_at(heap, at->spare, &chunk) ||
         hf__slabs_entry_offset(slabs, chunk.chunk->slot_kind, chunk.chunk->slot_class) != entry ||
         chunk.chunk->taken != 0 || chunk.chunk->previous != 0))
        hf__finding(check, "slabs.spare", entry, "an empty chunk, found %llu",
                    (unsigned long long)at->spare);
}

void hf__slab_check_lists(const struct hf__heap *heap, struct hf__check *check,
                          const struct hf__slab_totals *totals)
{
    uint64_t slabs = hf__slabs_of(heap), listed = 0;
    uint64_t field = *(const uint64_t *)hf__at(heap->seg, hf__slabs_field(heap));
    if (field != totals->directory || totals->directories > 1 || slabs != field ||
        (slabs == 0 && totals->chunks != 0)) {
        hf__finding(check, "slabs.directory", hf__slabs_field(heap),
                    "the directory at %llu, found %llu", (unsigned long long)totals->directory,
                    (unsigned long long)field);
        return;
    }
    for (uint32_t i = 0; slabs != 0 && i < 2 * HF__SLOT_CLASSES; i++) {
        uint64_t entry = slabs + i * sizeof(struct hf__slabs_entry);
        listed += check_list(heap, check, entry, totals->chunks);
        check_entry(heap, check, entry, totals->bytes[i]);
    }
    if (listed != totals->listed)
        hf__finding(check, "slabs.list", slabs, "%llu chunks are listed, found %llu",
                    (unsigned long long)totals->listed, (unsigned long long)listed);
}

/* ---- mending --------------------------------------------------------------------------------- */

void hf__chunk_mend(struct hf__heap *heap, const struct hf__chunk_ref *ref)
{
    if (hf__chunk_wrong(ref) == NULL && ref->chunk->pending == 0)
        return;
    struct hf__chunk *chunk =
        (struct hf__chunk *)hf__edit(heap->seg, ref->record, hf__chunk_record_bytes(ref));
    struct hf__chunk_word *words = (struct hf__chunk_word *)(chunk + 1);
    struct counts counts = count_words(ref);
    bool known = counts.sum == chunk->sum;
    for (uint32_t i = 0; i < ref->words; i++) {
        if (!known)
            words[i].taken = ~UINT64_C(0);
        words[i].taken |= hf__chunk_beyond(ref, i);
        words[i].pending = 0;
    }
    counts = count_words(ref);
    memset(chunk->reserved, 0, sizeof chunk->reserved);
    chunk->sum = counts.sum;
    chunk->taken = (uint16_t)counts.taken;
    chunk->pending = 0;
    chunk->first_room = (uint16_t)counts.first_room;
}

static void list_chunk(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint64_t entry)
{
    struct hf__slabs_entry *at = (struct hf__slabs_entry *)(heap->seg->base + entry);
    struct hf__chunk *chunk = (struct hf__chunk *)hf__edit(heap->seg, ref->record, sizeof *chunk);
    struct hf__chunk_ref next;
    chunk->next = chunk->previous = 0;
    at->bytes += HF__CHUNK_BYTES(ref->order);
    if (chunk->taken == 0 && at->spare == 0) {
        at->spare = ref->offset;
    } else if ((uint32_t)(chunk->slots - chunk->taken) >= hf__chunk_relist(ref)) {
        chunk->next = at->first;
        chunk->previous = entry;
        if (at->first != 0 && hf__chunk_at(heap, at->first, &next))
            ((struct hf__chunk *)hf__edit(heap->seg, next.record, sizeof *chunk))->previous =
                ref->offset;
        at->first = ref->offset;
    }
}

void hf__slab_relist(struct hf__heap *heap)
{
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    uint64_t slabs = hf__slabs_of(heap);
    struct hf__block block;
    struct hf__chunk_ref chunk;
    if (slabs == 0)
        return;
    memset(hf__edit(heap->seg, slabs, HF__SLABS_BYTES), 0, HF__SLABS_BYTES);
    for (uint64_t offset = root->first; offset < root->used_end; offset = hf__block_end(&block)) {
        if (hf__heap_block(heap, offset, &block) != 0)
            return; /* not after a survey */
        if (hf__chunk_of_block(heap, &block, root->used_end, &chunk))
            list_chunk(
                heap, &chunk,
                hf__slabs_entry_offset(slabs, chunk.chunk->slot_kind, chunk.chunk->slot_class));
    }
}

void hf__slab_zero_free(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint64_t block_end,
                        hf__zero_fn *zero, hf__zeroed_fn *zeroed, void *user)
{
    const struct hf__chunk_word *words = hf__chunk_words(ref);
    const uint32_t slots = ref->chunk->slots, lower = ref->chunk->lower;
    for (uint32_t i = 0; i < slots; i++) {
        uint64_t slot = hf__chunk_slot(ref, i);
        if ((words[i / 64].taken >> i % 64 & 1) == 0)
            zero(heap->seg, slot, slot + ref->slot_class->bytes, zeroed, user);
    }
    zero(heap->seg, ref->offset + HF__BLOCK_HEADER_BYTES + (uint64_t)lower * ref->slot_class->bytes,
         ref->record, zeroed, user);
    zero(heap->seg,
         ref->record + hf__chunk_record_bytes(ref) +
             (uint64_t)(slots - lower) * ref->slot_class->bytes,
         block_end, zeroed, user);
}
