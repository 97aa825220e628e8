/* SPDX-License-Identifier: MIT */
/*
 * slab_cache.c - claims of slots and chunks already seen, of one transaction (slab_cache.h)
 *
 * A claim grows with what the transaction allocates: a quarter of what it has had of the class, at
 * most a word. So who allocates once takes one slot, and the log engine, to which the whole claim
 * is fresh space, never logs much more than was handed out.
 */
#include "alloc/slab_cache.h"

#include <stdlib.h>
#include <string.h>

#define SEEN_BITS_FIRST 6u
#define SEEN_BITS_MAX   14u /* 1 MiB of memory, 1 GiB of large chunks                            */

struct hf__slab_cache *hf__slab_cache_new(void)
{
    struct hf__slab_cache *cache = calloc(1, sizeof *cache);
    if (cache != NULL)
        cache->level = 1;
    return cache;
}

void hf__slab_cache_free(struct hf__slab_cache *cache)
{
    if (cache == NULL)
        return;
    free(cache->seen);
    free(cache->order);
    free(cache->bits);
    free(cache);
}

void hf__slab_unsee(struct hf__heap *heap)
{
    struct hf__slab_cache *cache = heap->cache;
    if (cache == NULL)
        return;
    cache->level++;
    cache->bits_count = 0;
    cache->order_count = 0;
}

void hf__slab_new_level(struct hf__heap *heap)
{
    struct hf__slab_cache *cache = heap->cache;
    if (cache == NULL)
        return;
    for (uint32_t i = 0; i < cache->active_count; i++)
        memset(&cache->claims[cache->active[i]], 0, sizeof *cache->claims);
    cache->active_count = 0;
    hf__slab_unsee(heap);
}

/* ---- claims ---------------------------------------------------------------------------------- */

uint32_t hf__slab_claim_count(const struct hf__heap *heap, uint32_t number)
{
    if (heap->cache == NULL)
        return 1;
    const uint32_t count = heap->cache->claims[number].count / 4 + 1;
    return count < 64 ? count : 64;
}

void hf__slab_claim(struct hf__heap *heap, uint32_t number, const struct hf__chunk_ref *chunk,
                    uint32_t word, uint64_t slots)
{
    struct hf__slab_cache *cache = heap->cache;
    struct hf__claim *claim = &cache->claims[number];
    const uint32_t bytes = chunk->slot_class->bytes, first = (uint32_t)__builtin_ctzll(slots);
    const struct hf__door *door = heap->seg->door;
    assert(claim->free == 0);
    if (!claim->active)
        cache->active[cache->active_count++] = (uint8_t)number;
    claim->active = true;
    claim->count += (uint32_t)__builtin_popcountll(slots);
    claim->free = slots;
    claim->given = 0;
    claim->start = hf__chunk_slot(chunk, word * 64 + first) - (uint64_t)first * bytes;
    claim->record = chunk->record;
    claim->chunk = chunk->offset;
    claim->word = word;
    claim->bytes = bytes;
    hf__slab_see(heap, chunk, word, false);
    if (door == NULL || door->fresh == NULL)
        return;
    while (slots != 0) { /* runs of neighbours */
        const uint32_t from = (uint32_t)__builtin_ctzll(slots);
        const uint64_t rest = ~(slots >> from);
        const uint32_t count = rest == 0 ? 64 - from : (uint32_t)__builtin_ctzll(rest);
        door->fresh(heap->seg, claim->start + (uint64_t)from * bytes, (uint64_t)count * bytes);
        slots &= from + count == 64 ? 0 : ~UINT64_C(0) << (from + count);
    }
}

bool hf__slab_unclaim(struct hf__heap *heap, const struct hf__chunk_ref *chunk, uint32_t word,
                      uint64_t slot)
{
    struct hf__claim *claim = hf__slab_claim_of(heap, chunk, word);
    if (claim == NULL || (claim->given & slot) == 0 || chunk->chunk->slot_kind != HF__BLOCK_RAW)
        return false;
    claim->given &= ~slot;
    claim->free |= slot;
    return true;
}

/* ---- seen chunks ----------------------------------------------------------------------------- */

/* Marks what was freed in a seen chunk. */
static void write_freed(struct hf__heap *heap, const struct hf__seen *seen)
{
    struct hf__chunk *chunk = (struct hf__chunk *)(heap->seg->base + seen->record);
    struct hf__chunk_word *word = (struct hf__chunk_word *)(chunk + 1);
    const uint64_t *live = &heap->cache->bits[seen->live];
    for (uint32_t i = 0; i < seen->words; i++) {
        const uint64_t freed = word[i].taken & ~word[i].pending & ~live[i];
        if (freed == 0)
            continue;
        word[i].pending |= freed;
        chunk->pending = (uint16_t)(chunk->pending + (uint32_t)__builtin_popcountll(freed));
    }
}

static void write_all(struct hf__heap *heap)
{
    const struct hf__slab_cache *cache = heap->cache;
    for (uint32_t i = 0; i < cache->order_count; i++) {
        if (i + 4 < cache->order_count)
            hf__prefetch(heap->seg, cache->seen[cache->order[i + 4]].record);
        write_freed(heap, &cache->seen[cache->order[i]]);
    }
}

/* Room for more; what was there is written and forgotten. */
static void grow_seen(struct hf__heap *heap)
{
    struct hf__slab_cache *cache = heap->cache;
    const uint32_t bits = cache->seen == NULL ? SEEN_BITS_FIRST : cache->seen_bits + 2;
    struct hf__seen *seen = bits > SEEN_BITS_MAX ? NULL : calloc((size_t)1 << bits, sizeof *seen);
    uint32_t *order = seen == NULL ? NULL : malloc(sizeof *order << bits);
    if (order == NULL) {
        free(seen);
        return;
    }
    if (cache->seen != NULL)
        write_all(heap);
    free(cache->seen);
    free(cache->order);
    cache->seen = cache->last = seen;
    cache->order = order;
    cache->seen_bits = bits;
    cache->bits_count = 0;
    cache->order_count = 0;
}

static bool room_for_bits(struct hf__slab_cache *cache, uint32_t words)
{
    if (cache->bits_count + words <= cache->bits_room)
        return true;
    const size_t room = cache->bits_room == 0 ? 256 : cache->bits_room * 2;
    uint64_t *bits = realloc(cache->bits, room * sizeof *bits);
    if (bits == NULL)
        return false;
    cache->bits = bits;
    cache->bits_room = room;
    return true;
}

/* A place for a chunk, with its bits; NULL: no memory, or no more can be remembered. */
static struct hf__seen *place_for(struct hf__heap *heap, const struct hf__chunk_ref *chunk,
                                  uint64_t key)
{
    struct hf__slab_cache *cache = heap->cache;
    if (cache->seen == NULL)
        grow_seen(heap);
    if (cache->seen == NULL)
        return NULL;
    struct hf__seen *seen = hf__seen_place(cache, key);
    if (seen->level == cache->level && seen->key != key) {
        grow_seen(heap);
        seen = hf__seen_place(cache, key);
    }
    if (seen->level == cache->level || !room_for_bits(cache, chunk->words))
        return seen->level == cache->level && seen->key == key ? seen : NULL;
    const struct hf__chunk_word *word = hf__chunk_words(chunk);
    const uint32_t number = hf__slot_number(chunk->chunk->slot_kind, chunk->chunk->slot_class);
    *seen = (struct hf__seen){.key = key,
                              .level = cache->level,
                              .low = chunk->offset + HF__BLOCK_HEADER_BYTES,
                              .record = chunk->record,
                              .announced = 1,
                              .inverse = chunk->slot_class->inverse,
                              .bytes = chunk->slot_class->bytes,
                              .lower = chunk->chunk->lower,
                              .slots = chunk->chunk->slots,
                              .number = (uint8_t)number,
                              .words = (uint8_t)chunk->words,
                              .size_bytes =
                                  (uint32_t)HF__CHUNK_BYTES(chunk->order) - HF__BLOCK_HEADER_BYTES,
                              .live = (uint32_t)cache->bits_count};
    cache->order[cache->order_count++] = (uint32_t)(seen - cache->seen);
    for (uint32_t i = 0; i < chunk->words; i++)
        cache->bits[cache->bits_count++] = word[i].taken & ~word[i].pending;
    return seen;
}

void hf__slab_see(struct hf__heap *heap, const struct hf__chunk_ref *chunk, uint32_t word,
                  bool entry)
{
    if (heap->cache == NULL || chunk->chunk->slot_kind != HF__BLOCK_RAW)
        return; /* objects are freed one by one, with much else */
    struct hf__seen *seen = place_for(heap, chunk, hf__seen_key(chunk->offset, chunk->order));
    if (seen == NULL)
        return;
    heap->cache->bits[seen->live + word] &= ~hf__chunk_words(chunk)[word].pending;
    seen->announced |= hf__seen_line(word) | (entry ? HF__SEEN_ENTRY : 0);
}

void hf__slab_taken(struct hf__heap *heap, const struct hf__chunk_ref *chunk, uint32_t word,
                    uint64_t slots)
{
    struct hf__slab_cache *cache = heap->cache;
    struct hf__seen *seen =
        cache == NULL || cache->seen == NULL || chunk->chunk->slot_kind != HF__BLOCK_RAW
            ? NULL
            : hf__seen_find(cache, chunk->record);
    if (seen != NULL)
        cache->bits[seen->live + word] |= slots;
}

uint64_t hf__slab_freed(const struct hf__heap *heap, const struct hf__chunk_ref *chunk,
                        uint32_t word, uint64_t slots)
{
    if (heap->cache == NULL || heap->cache->seen == NULL ||
        chunk->chunk->slot_kind != HF__BLOCK_RAW)
        return 0;
    const struct hf__seen *seen = hf__seen_find(heap->cache, chunk->record);
    const struct hf__chunk_word *at = &hf__chunk_words(chunk)[word];
    return seen == NULL || seen->record != chunk->record
               ? 0
               : at->taken & ~at->pending & ~heap->cache->bits[seen->live + word] & slots;
}

int hf__slab_settle(struct hf__heap *heap)
{
    struct hf__slab_cache *cache = heap->cache;
    struct hf__chunk_ref chunk;
    uint64_t entry;
    if (cache == NULL)
        return 0;
    write_all(heap);
    while (cache->active_count > 0) {
        struct hf__claim *claim = &cache->claims[cache->active[cache->active_count - 1]];
        const uint64_t slots = claim->free;
        const uint32_t count = (uint32_t)__builtin_popcountll(slots);
        if (count != 0) {
            if (!hf__chunk_at(heap, claim->chunk, &chunk) || chunk.record != claim->record ||
                (hf__chunk_words(&chunk)[claim->word].taken & slots) != slots)
                return hf__corrupt("chunk.bitmap", claim->chunk);
            int code = hf__chunk_before_freeing(heap, &chunk, count, &entry);
            if (code != 0)
                return code;
            hf__chunk_clear(heap, &chunk, claim->word, slots);
            claim->free = 0;
            code = hf__chunk_after_freeing(heap, &chunk, count, entry);
            if (code != 0)
                return code;
        }
        memset(claim, 0, sizeof *claim);
        cache->active_count--;
    }
    hf__slab_unsee(heap);
    return 0;
}
