/* SPDX-License-Identifier: MIT */
/*
 * slab_cache.c - claims of slots, of one transaction, and chunks already seen (slab_cache.h)
 *
 * A claim grows with what the transaction allocates: a quarter of what it has had of the class, at
 * most a word. So who allocates once takes one slot, and the log engine, to which the whole claim
 * is fresh space, never logs much more than was handed out.
 */
#include "alloc/slab_cache.h"

#include <stdlib.h>
#include <string.h>

#define SEEN_BITS_FIRST 6u
#define SEEN_BITS_MAX   16u /* 4 MiB of memory, 4 GiB of large chunks                            */
#define BITS_MAX        (UINT64_C(1) << 20) /* words kept from one transaction to the next        */
#define AHEAD           6u /* chunks whose records are fetched before they are needed            */
#define RESERVE_AHEAD   16u

struct hf__slab_cache *hf__slab_cache_new(void)
{
    struct hf__slab_cache *cache = calloc(1, sizeof *cache);
    if (cache != NULL)
        *cache = (struct hf__slab_cache){.age = 1, .commit = UINT64_MAX};
    return cache;
}

void hf__slab_cache_free(struct hf__slab_cache *cache)
{
    if (cache == NULL)
        return;
    free(cache->seen);
    free(cache->dirty);
    free(cache->entries);
    free(cache->bits);
    free(cache);
}

void hf__slab_forget(struct hf__heap *heap)
{
    struct hf__slab_cache *cache = heap->cache;
    if (cache == NULL)
        return;
    cache->age++;
    cache->commit = UINT64_MAX;
    cache->bits_count = cache->dirty_count = cache->entry_count = 0;
}

void hf__slab_begin(struct hf__heap *heap, uint64_t commit)
{
    struct hf__slab_cache *cache = heap->cache;
    if (cache == NULL)
        return;
    if (cache->commit != commit || cache->dirty_count != 0 || cache->bits_count > BITS_MAX)
        hf__slab_forget(heap);
    cache->commit = UINT64_MAX;
}

void hf__slab_new_level(struct hf__heap *heap)
{
    struct hf__slab_cache *cache = heap->cache;
    if (cache == NULL)
        return;
    for (uint32_t i = 0; i < cache->active_count; i++)
        memset(&cache->claims[cache->active[i]], 0, sizeof *cache->claims);
    cache->active_count = 0;
    assert(cache->dirty_count == 0);
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
    claim->count += hf__slot_count(slots);
    claim->free = slots;
    claim->given = 0;
    claim->start = hf__chunk_slot(chunk, word * 64 + first) - (uint64_t)first * bytes;
    claim->record = chunk->record;
    claim->chunk = chunk->offset;
    claim->word = word;
    claim->bytes = bytes;
    if (chunk->chunk->slot_kind == HF__BLOCK_RAW) {
        struct hf__seen *seen = hf__slab_see(heap, chunk);
        if (seen != NULL)
            cache->bits[seen->bits + word].live |= slots;
    }
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

/* Room for one more of `size` bytes behind count of them. */
static bool room_for(void *array, size_t *room, size_t count, size_t size)
{
    void *old, *more;
    if (count <= *room)
        return true;
    const size_t wanted = count < 256 ? 256 : count * 2;
    memcpy(&old, array, sizeof old);
    more = realloc(old, wanted * size);
    if (more == NULL)
        return false;
    memcpy(array, &more, sizeof more);
    *room = wanted;
    return true;
}

/* A larger table in which each chunk has a place of its own; false: there is none. */
static bool grow_seen(struct hf__slab_cache *cache)
{
    struct hf__slab_cache larger = *cache;
    const size_t count = cache->seen == NULL ? 0 : (size_t)1 << cache->seen_bits;
    larger.seen_bits = cache->seen == NULL ? SEEN_BITS_FIRST : cache->seen_bits + 2;
    if (larger.seen_bits > SEEN_BITS_MAX)
        return false;
    larger.seen = calloc((size_t)1 << larger.seen_bits, sizeof *larger.seen);
    if (larger.seen == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (cache->seen[i].age != cache->age)
            continue;
        struct hf__seen *seen = hf__seen_place(&larger, cache->seen[i].key);
        if (seen->age == cache->age) { /* four times the places, and two still share one */
            free(larger.seen);
            return false;
        }
        *seen = cache->seen[i];
    }
    free(cache->seen);
    cache->seen = cache->last = larger.seen;
    cache->seen_bits = larger.seen_bits;
    return true;
}

/* The entry of a chunk, or NULL. */
static struct hf__seen *seen_of(const struct hf__heap *heap, const struct hf__chunk_ref *chunk)
{
    const struct hf__slab_cache *cache = heap->cache;
    if (cache == NULL || cache->seen == NULL || chunk->chunk->slot_kind != HF__BLOCK_RAW)
        return NULL;
    const uint64_t key = hf__seen_key(chunk->offset, chunk->order);
    struct hf__seen *seen = hf__seen_place(cache, key);
    return seen->age == cache->age && seen->key == key ? seen : NULL;
}

struct hf__seen *hf__slab_see(struct hf__heap *heap, const struct hf__chunk_ref *chunk)
{
    struct hf__slab_cache *cache = heap->cache;
    struct hf__seen *seen = seen_of(heap, chunk);
    if (cache == NULL || seen != NULL || chunk->chunk->slot_kind != HF__BLOCK_RAW)
        return seen; /* objects are freed one by one, with much else */
    const uint64_t key = hf__seen_key(chunk->offset, chunk->order);
    if (cache->seen == NULL && !grow_seen(cache))
        return NULL;
    while ((seen = hf__seen_place(cache, key))->age == cache->age)
        if (!grow_seen(cache))
            return NULL;
    if (!room_for(&cache->bits, &cache->bits_room, cache->bits_count + chunk->words,
                  sizeof *cache->bits))
        return NULL;
    *seen = (struct hf__seen){.key = key,
                              .age = cache->age,
                              .low = chunk->offset + HF__BLOCK_HEADER_BYTES,
                              .record = chunk->record,
                              .inverse = chunk->slot_class->inverse,
                              .bytes = chunk->slot_class->bytes,
                              .lower = chunk->chunk->lower,
                              .slots = chunk->chunk->slots,
                              .number = chunk->chunk->slot_class,
                              .words = (uint8_t)chunk->words,
                              .check = chunk->chunk->check,
                              .size_bytes =
                                  (uint32_t)HF__CHUNK_BYTES(chunk->order) - HF__BLOCK_HEADER_BYTES,
                              .bits = (uint32_t)cache->bits_count};
    const struct hf__chunk_word *word = hf__chunk_words(chunk);
    for (uint32_t i = 0; i < chunk->words; i++)
        cache->bits[cache->bits_count++] =
            (struct hf__seen_word){word[i].taken & ~word[i].pending, 0};
    return seen;
}

bool hf__slab_dirty(struct hf__slab_cache *cache, struct hf__seen *seen)
{
    if (!room_for(&cache->dirty, &cache->dirty_room, cache->dirty_count + 1, sizeof *cache->dirty))
        return false;
    cache->dirty[cache->dirty_count++] = seen->key;
    seen->dirty = 1;
    return true;
}

void hf__slab_change(struct hf__heap *heap, const struct hf__chunk_ref *chunk, uint32_t word,
                     uint64_t taken, uint64_t untaken)
{
    struct hf__seen *seen = seen_of(heap, chunk);
    if (seen == NULL)
        return;
    struct hf__seen_word *at = &heap->cache->bits[seen->bits + word];
    at->live = (at->live | taken) & ~untaken;
    at->freed &= ~untaken;
}

void hf__slab_dropped(struct hf__heap *heap, const struct hf__chunk_ref *chunk)
{
    struct hf__seen *seen = seen_of(heap, chunk);
    if (seen != NULL)
        seen->age = 0;
}

uint64_t hf__slab_freed(const struct hf__heap *heap, const struct hf__chunk_ref *chunk,
                        uint32_t word, uint64_t slots)
{
    const struct hf__seen *seen = seen_of(heap, chunk);
    return seen == NULL ? 0 : heap->cache->bits[seen->bits + word].freed & slots;
}

/* ---- telling the segment --------------------------------------------------------------------- */

/* The chunk as it is in the segment, if it is as the copy says (C5). *count: of freed slots. */
static int look_at(const struct hf__heap *heap, const struct hf__seen *seen,
                   struct hf__chunk_ref *out, uint32_t *count)
{
    const struct hf__seen_word *bits = &heap->cache->bits[seen->bits];
    const struct hf__chunk *chunk = (const struct hf__chunk *)hf__at(heap->seg, seen->record);
    const struct hf__chunk_word *words = (const struct hf__chunk_word *)(chunk + 1);
    const uint64_t offset = seen->low - HF__BLOCK_HEADER_BYTES;
    uint64_t differ = 0;
    *count = 0;
    /* All that the check binds is what it was when the check was found right. */
    if (seen->low + seen->size_bytes > hf__slab_end(heap) || chunk->check != seen->check ||
        chunk->slots != seen->slots || chunk->lower != seen->lower ||
        chunk->slot_class != seen->number || chunk->slot_kind != HF__BLOCK_RAW)
        return hf__corrupt("chunk.header", offset);
    for (uint32_t i = 0; i < seen->words; i++) {
        differ |= (words[i].taken & ~words[i].pending) ^ (bits[i].live | bits[i].freed);
        *count += hf__slot_count(bits[i].freed);
    }
    if (differ != 0)
        return hf__corrupt("chunk.bitmap", offset);
    *out = (struct hf__chunk_ref){offset,
                                  seen->record,
                                  chunk,
                                  &hf__slot_classes[seen->number],
                                  (uint32_t)(seen->key & 3),
                                  seen->words};
    return 0;
}

/* What was freed in a chunk becomes pending. */
static int mark(struct hf__heap *heap, struct hf__seen *seen, const struct hf__chunk_ref *chunk)
{
    struct hf__slab_cache *cache = heap->cache;
    /* And the counters of what was freed before. */
    int code = hf__reserve(heap->seg, (seen->words + 4u) * HF__EDIT_COST(HF__LINE_BYTES));
    if (code != 0)
        return code;
    seen->dirty = 0;
    for (uint32_t i = 0; i < seen->words; i++) {
        const uint64_t freed = cache->bits[seen->bits + i].freed;
        if (freed == 0)
            continue;
        if (chunk->chunk->pending == 0)
            cache->entries[cache->entry_count++] =
                hf__chunk_slot(chunk, i * 64 + (uint32_t)__builtin_ctzll(freed)) |
                HF__ENTRY_OF_SLOTS;
        hf__chunk_mark(heap, chunk, i, freed, true);
    }
    return 0;
}

/* Makes what was freed in a chunk pending, or frees it if there is a `freeing` and nothing is pending
 * there (what is has an entry in the store's list, which then stands for all). */
static int tell(struct hf__heap *heap, struct hf__seen *seen, struct hf__freeing *freeing)
{
    struct hf__seen_word *bits = &heap->cache->bits[seen->bits];
    struct hf__chunk_ref chunk;
    uint32_t count;
    int code = look_at(heap, seen, &chunk, &count);
    if (code != 0)
        return code;
    if (freeing == NULL || chunk.chunk->pending != 0) {
        if (freeing != NULL)
            freeing->reserved = 0; /* another reservation takes its place */
        return mark(heap, seen, &chunk);
    }
    code = hf__chunk_before_freeing(heap, &chunk, count, freeing);
    if (code != 0)
        return code;
    seen->dirty = 0;
    for (uint32_t i = 0; i < chunk.words; i++) {
        if (bits[i].freed == 0)
            continue;
        hf__chunk_clear(heap, &chunk, i, bits[i].freed);
        bits[i].freed = 0;
    }
    return hf__chunk_after_freeing(heap, &chunk, count, freeing);
}

/* Of all chunks, the last first; their records were fetched a while before. */
static int tell_all(struct hf__heap *heap, struct hf__freeing *freeing)
{
    struct hf__slab_cache *cache = heap->cache;
    if (!room_for(&cache->entries, &cache->entry_room, cache->entry_count + cache->dirty_count,
                  sizeof *cache->entries))
        return hf__fail(HF_ENOMEM, "list of freed blocks");
    for (; cache->dirty_count > 0; cache->dirty_count--) {
        if (cache->dirty_count > AHEAD) {
            const uint64_t next = cache->dirty[cache->dirty_count - 1 - AHEAD];
            const struct hf__seen *ahead = hf__seen_place(cache, next);
            hf__prefetch(heap->seg, ahead->record);
            hf__prefetch(heap->seg, ahead->record + HF__LINE_BYTES);
        }
        const uint64_t key = cache->dirty[cache->dirty_count - 1];
        int code = tell(heap, hf__seen_place(cache, key), freeing);
        if (code != 0)
            return code;
    }
    return 0;
}

int hf__slab_tell_last(struct hf__heap *heap)
{
    struct hf__freeing freeing;
    int code = hf__freeing_begin(heap, RESERVE_AHEAD, &freeing);
    if (code != 0)
        return code;
    code = tell_all(heap, &freeing);
    hf__freeing_end(heap, &freeing);
    return code;
}

/* What is left of a claim is free again. */
static int give_back(struct hf__heap *heap, struct hf__claim *claim, struct hf__freeing *freeing)
{
    const uint64_t slots = claim->free;
    const uint32_t count = hf__slot_count(slots);
    struct hf__chunk_ref chunk;
    if (!hf__chunk_at(heap, claim->chunk, &chunk) || chunk.record != claim->record ||
        (hf__chunk_words(&chunk)[claim->word].taken & slots) != slots)
        return hf__corrupt("chunk.bitmap", claim->chunk);
    int code = hf__chunk_before_freeing(heap, &chunk, count, freeing);
    if (code != 0)
        return code;
    hf__chunk_clear(heap, &chunk, claim->word, slots);
    hf__slab_untaken(heap, &chunk, claim->word, slots);
    claim->free = 0;
    return hf__chunk_after_freeing(heap, &chunk, count, freeing);
}

int hf__slab_settle(struct hf__heap *heap)
{
    struct hf__slab_cache *cache = heap->cache;
    struct hf__freeing freeing;
    if (cache == NULL)
        return 0;
    int code = cache->dirty_count != 0 ? tell_all(heap, NULL) : 0;
    if (code == 0 && cache->active_count > 0)
        code = hf__freeing_begin(heap, RESERVE_AHEAD, &freeing);
    if (code != 0 || cache->active_count == 0)
        return code;
    while (code == 0 && cache->active_count > 0) {
        struct hf__claim *claim = &cache->claims[cache->active[cache->active_count - 1]];
        if (claim->free != 0)
            code = give_back(heap, claim, &freeing);
        if (code == 0) {
            memset(claim, 0, sizeof *claim);
            cache->active_count--;
        }
    }
    hf__freeing_end(heap, &freeing);
    return code;
}
