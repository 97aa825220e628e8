/* SPDX-License-Identifier: MIT */
/*
 * slab_cache.c - claims of slots, of one transaction, and chunks already seen (slab_cache.h)
 *
 * A claim grows with what the transaction, or the one before it, allocates: a quarter of what it has
 * had of the class. So who allocates once takes one slot, and the log engine, to which the whole claim
 * is fresh space, never logs much more than was handed out.
 */
#include "alloc/slab_cache.h"

#include <stdlib.h>
#include <string.h>

#define SEEN_BITS_FIRST 6u
#define SEEN_BITS_MAX   16u /* 2 MiB of memory                                                   */
#define LARGE_FIRST     256u
#define LARGE_MAX       (UINT64_C(1) << 22) /* 128 MiB of memory at most, 256 GiB of the store    */
#define BITS_MAX        (UINT64_C(1) << 20) /* words kept from one transaction to the next        */
#define AHEAD           6u /* chunks whose records are fetched before they are needed            */
#define RESERVE_AHEAD   (UINT64_C(48) * 1024)
#define CLAIM_MAX       (4 * 64 * HF__SLOT_ROWS) /* a quarter of it is claimed at most           */

struct hf__slab_cache *hf__slab_cache_new(void)
{
    struct hf__slab_cache *cache = calloc(1, sizeof *cache);
    if (cache != NULL)
        *cache =
            (struct hf__slab_cache){.age = 1, .commit = UINT64_MAX, .out = HF__SLOT_NONE};
    return cache;
}

void hf__slab_cache_free(struct hf__slab_cache *cache)
{
    if (cache == NULL)
        return;
    free(cache->seen);
    free(cache->large);
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
    if (++cache->age == 0) { /* nobody counts that far, but an entry from before would hold again */
        if (cache->seen != NULL)
            memset(cache->seen, 0, sizeof *cache->seen << cache->seen_bits);
        if (cache->large != NULL)
            memset(cache->large, 0, cache->large_count * sizeof *cache->large);
        cache->age = 1;
    }
    cache->large_full = false;
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

/* Nothing is claimed of a claim's chunk any more. */
static void unclaim_chunk(struct hf__slab_cache *cache, const struct hf__claim *claim)
{
    struct hf__seen *seen = claim->rows == 0 ? NULL : hf__seen_find(cache, claim->chunk);
    if (seen != NULL)
        seen->flags &= (uint8_t)~HF__SEEN_CLAIMED;
}

/* Of the claim that is active last nothing is left, or what is left is undone. */
static void end_claim(struct hf__slab_cache *cache)
{
    struct hf__claim *claim = &cache->claims[cache->active[--cache->active_count]];
    unclaim_chunk(cache, claim);
    cache->out = HF__SLOT_NONE;
    *claim = (struct hf__claim){.before = claim->count};
}

void hf__slab_new_level(struct hf__heap *heap)
{
    struct hf__slab_cache *cache = heap->cache;
    if (cache == NULL)
        return;
    while (cache->active_count > 0)
        end_claim(cache);
    assert(cache->dirty_count == 0);
}

/* ---- claims ---------------------------------------------------------------------------------- */

uint32_t hf__slab_claim_count(const struct hf__heap *heap, uint32_t number)
{
    if (heap->cache == NULL)
        return 1;
    const struct hf__claim *claim = &heap->cache->claims[number];
    const uint32_t had = claim->count > claim->before ? claim->count : claim->before;
    return had < CLAIM_MAX ? had / 4 + 1 : CLAIM_MAX / 4;
}

/* Tells the door of slots that come into use, by runs of neighbours. */
static void freshen(struct hf__segment *seg, const struct hf__claim_row *row, uint32_t bytes)
{
    for (uint64_t slots = row->free; slots != 0;) {
        const uint32_t from = (uint32_t)__builtin_ctzll(slots);
        const uint64_t rest = ~(slots >> from);
        const uint32_t count = rest == 0 ? 64 - from : (uint32_t)__builtin_ctzll(rest);
        seg->door->fresh(seg, row->start + (uint64_t)from * bytes, (uint64_t)count * bytes);
        slots &= from + count == 64 ? 0 : ~UINT64_C(0) << (from + count);
    }
}

void hf__slab_claim(struct hf__heap *heap, uint32_t number, const struct hf__chunk_ref *chunk,
                    const struct hf__slot_row *rows, uint32_t count)
{
    struct hf__slab_cache *cache = heap->cache;
    struct hf__claim *claim = &cache->claims[number];
    const struct hf__door *door = heap->seg->door;
    const uint32_t bytes = chunk->slot_class->bytes;
    unclaim_chunk(cache, claim);
    struct hf__seen *seen = hf__slab_see(heap, chunk);
    if (seen != NULL)
        seen->flags |= HF__SEEN_CLAIMED;
    if (!claim->active)
        cache->active[cache->active_count++] = (uint8_t)number;
    claim->active = true;
    claim->record = chunk->record;
    claim->chunk = chunk->offset;
    claim->bytes = bytes;
    claim->rows = (uint8_t)count;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t slots = rows[i].slots;
        const uint32_t word = rows[i].word, first = (uint32_t)__builtin_ctzll(slots);
        claim->count += hf__slot_count(slots);
        claim->row[i] = (struct hf__claim_row){
            .free = slots,
            .start = hf__chunk_slot(chunk, word * 64 + first) - (uint64_t)first * bytes,
            .word = word};
        if (seen != NULL)
            cache->bits[seen->bits + word].live |= slots;
        if (door != NULL && door->fresh != NULL)
            freshen(heap->seg, &claim->row[i], bytes);
    }
}

bool hf__claim_next(struct hf__claim *claim)
{
    for (uint32_t i = 1; i < claim->rows; i++)
        if (claim->row[i].free != 0) {
            const struct hf__claim_row first = claim->row[0];
            claim->row[0] = claim->row[i];
            claim->row[i] = first;
            return true;
        }
    return false;
}

bool hf__slab_unclaim(struct hf__heap *heap, const struct hf__chunk_ref *chunk, uint32_t word,
                      uint64_t slot)
{
    struct hf__claim *claim = hf__slab_claim_of(heap, chunk);
    return claim != NULL && hf__claim_return(claim, word, slot, chunk->chunk->slot_kind) > 0;
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
        const struct hf__seen *from = &cache->seen[i];
        if (from->age != cache->age)
            continue;
        struct hf__seen *seen = hf__seen_place(&larger, (uint64_t)from->unit << 2 | from->order);
        if (seen->age == cache->age) { /* four times the places, and two still share one */
            free(larger.seen);
            return false;
        }
        *seen = *from;
    }
    free(cache->seen);
    cache->seen = larger.seen;
    cache->last = NULL;
    cache->seen_bits = larger.seen_bits;
    return true;
}

/* An array that has a place for that large chunk; false: there is none, and won't be: chunks beyond it
 * are in the table then, where nobody would look for them any more. What is not asked for takes no
 * memory, as far as the system gives it when it is touched. */
static bool grow_large(struct hf__slab_cache *cache, uint64_t unit)
{
    uint64_t count = cache->large_count == 0 ? LARGE_FIRST : cache->large_count;
    while (count <= unit)
        count *= 2;
    if (cache->large_full || count > LARGE_MAX)
        return false;
    struct hf__seen *large = calloc((size_t)count, sizeof *large);
    cache->large_full = large == NULL;
    if (large == NULL)
        return false;
    if (cache->large != NULL)
        memcpy(large, cache->large, cache->large_count * sizeof *large);
    free(cache->large);
    cache->large = large;
    cache->large_count = count;
    return true;
}

/* The entry of what lies where this chunk does, or NULL. */
static struct hf__seen *seen_there(const struct hf__heap *heap, const struct hf__chunk_ref *chunk)
{
    return heap->cache == NULL
               ? NULL
               : hf__seen_get(heap->cache, hf__seen_key(chunk->offset, chunk->order));
}

/* The entry of a chunk, or NULL: also where the record was another's when it was made, so that words of
 * the one are words of the other. */
static struct hf__seen *seen_of(const struct hf__heap *heap, const struct hf__chunk_ref *chunk)
{
    struct hf__seen *seen = seen_there(heap, chunk);
    return seen != NULL && seen->check == chunk->chunk->check ? seen : NULL;
}

/* A free place for a chunk, or NULL. */
static struct hf__seen *place_for(struct hf__slab_cache *cache, const struct hf__chunk_ref *chunk)
{
    const uint64_t key = hf__seen_key(chunk->offset, chunk->order), unit = key >> 2;
    struct hf__seen *seen;
    if (unit > UINT32_MAX)
        return NULL;
    if (chunk->order == HF__CHUNK_ORDERS - 1 &&
        (unit < cache->large_count || grow_large(cache, unit)))
        return &cache->large[unit];
    if (cache->seen == NULL && !grow_seen(cache))
        return NULL;
    while ((seen = hf__seen_place(cache, key))->age == cache->age)
        if (!grow_seen(cache))
            return NULL;
    return seen;
}

struct hf__seen *hf__slab_see(struct hf__heap *heap, const struct hf__chunk_ref *chunk)
{
    struct hf__slab_cache *cache = heap->cache;
    struct hf__seen *seen = seen_of(heap, chunk);
    if (cache == NULL || seen != NULL)
        return seen;
    seen = place_for(cache, chunk);
    if (seen == NULL || !room_for(&cache->bits, &cache->bits_room,
                                  cache->bits_count + chunk->words, sizeof *cache->bits))
        return NULL;
    *seen = (struct hf__seen){
        .age = cache->age,
        .inverse = chunk->slot_class->inverse,
        .check = chunk->chunk->check,
        .bits = (uint32_t)cache->bits_count,
        .bytes = chunk->slot_class->bytes,
        .lower = chunk->chunk->lower,
        .slots = chunk->chunk->slots,
        .record = (uint16_t)((chunk->record - chunk->offset) / HF__LINE_BYTES),
        .unit = (uint32_t)(chunk->offset / HF__CHUNK_BYTES(chunk->order)),
        .order = (uint8_t)chunk->order,
        .number =
            (uint8_t)hf__slot_number(chunk->chunk->slot_kind, chunk->chunk->slot_class),
        .words = (uint8_t)chunk->words,
    };
    const struct hf__claim *claim = &cache->claims[seen->number];
    if (claim->rows != 0 && claim->record == chunk->record) /* there was no memory when it was made */
        seen->flags = HF__SEEN_CLAIMED;
    const struct hf__chunk_word *word = hf__chunk_words(chunk);
    for (uint32_t i = 0; i < chunk->words; i++)
        cache->bits[cache->bits_count++] =
            (struct hf__seen_word){word[i].taken & ~word[i].pending, 0};
    return seen;
}

/* In a large store nearly all chunks are of the largest order. Record and bitmap lie together. */
void hf__block_expect(const struct hf__heap *heap, hf_ref block)
{
    struct hf__slab_cache *cache = heap->cache;
    const uint32_t order = HF__CHUNK_ORDERS - 1;
    if (!heap->algorithm->slabs)
        return;
    const struct hf__seen *seen = cache == NULL ? NULL : hf__seen_find(cache, block);
    if (seen != NULL) {
        const struct hf__seen_word *bits = &cache->bits[seen->bits];
        for (uint32_t word = 0; word < seen->words && word < 8; word += 4)
            __builtin_prefetch(&bits[word]);
        return;
    }
    const uint64_t record = hf__chunk_record(block & ~(HF__CHUNK_BYTES(order) - 1), order);
    hf__prefetch(heap->seg, record);
    hf__prefetch(heap->seg, record + HF__LINE_BYTES);
    hf__prefetch(heap->seg, record + 2 * HF__LINE_BYTES);
}

bool hf__slab_dirty_room(struct hf__slab_cache *cache)
{
    return room_for(&cache->dirty, &cache->dirty_room, cache->dirty_count + 1,
                    sizeof *cache->dirty);
}

bool hf__slab_free_known(struct hf__heap *heap, uint64_t ref, uint32_t kind)
{
    struct hf__slab_cache *cache = heap->cache;
    struct hf__seen *seen = hf__seen_find(cache, ref);
    uint32_t slot;
    if (seen == NULL || hf__seen_kind(seen) != kind || !hf__seen_slot(seen, ref, &slot))
        return false;
    const uint64_t bit = UINT64_C(1) << slot % 64;
    struct hf__seen_word *at = &cache->bits[seen->bits + slot / 64];
    if ((seen->flags & HF__SEEN_CLAIMED) != 0) {
        const int mine = hf__claim_return(&cache->claims[seen->number], slot / 64, bit, kind);
        if (mine != 0)
            return mine > 0;
    }
    if ((at->live & bit) == 0 ||
        ((seen->flags & HF__SEEN_DIRTY) == 0 && !hf__slab_dirty(cache, seen)))
        return false;
    at->live &= ~bit;
    at->freed |= bit;
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
    struct hf__seen *seen = seen_there(heap, chunk);
    if (seen != NULL)
        seen->age = 0;
}

void hf__slab_unfree(struct hf__heap *heap, const struct hf__chunk_ref *chunk, uint32_t word,
                     uint64_t slots)
{
    struct hf__seen *seen = seen_of(heap, chunk);
    if (seen == NULL)
        return;
    struct hf__seen_word *at = &heap->cache->bits[seen->bits + word];
    at->live |= at->freed & slots;
    at->freed &= ~slots;
}

uint64_t hf__slab_freed(const struct hf__heap *heap, const struct hf__chunk_ref *chunk,
                        uint32_t word, uint64_t slots)
{
    const struct hf__seen *seen = seen_of(heap, chunk);
    return seen == NULL ? 0 : heap->cache->bits[seen->bits + word].freed & slots;
}

/* ---- telling the segment --------------------------------------------------------------------- */

/* The chunk as it is in the segment, if it is as the copy says (C5). *count: of freed slots; *touched:
 * which words have any, bit i for words i and i + 64. */
static int look_at(const struct hf__heap *heap, const struct hf__seen *seen,
                   struct hf__chunk_ref *out, uint32_t *count, uint64_t *touched)
{
    const struct hf__seen_word *bits = &heap->cache->bits[seen->bits];
    uint64_t differ = 0;
    *count = 0;
    *touched = 0;
    if (!hf__seen_chunk(heap, seen, out))
        return hf__corrupt("chunk.header", hf__seen_offset(seen));
    const struct hf__chunk_word *words = hf__chunk_words(out);
    for (uint32_t i = 0; i < seen->words; i++) {
        differ |= (words[i].taken & ~words[i].pending) ^ (bits[i].live | bits[i].freed);
        *count += hf__slot_count(bits[i].freed);
        *touched |= (uint64_t)(bits[i].freed != 0) << i % 64;
    }
    if (differ != 0)
        return hf__corrupt("chunk.bitmap", out->offset);
    return 0;
}

/* What was freed in a chunk becomes pending. */
static int mark(struct hf__heap *heap, struct hf__seen *seen, const struct hf__chunk_ref *chunk)
{
    struct hf__slab_cache *cache = heap->cache;
    /* And the counters of what was freed before. */
    int code = hf__reserve(heap->seg, (2u * seen->words + 4u) * HF__EDIT_COST(HF__LINE_BYTES));
    if (code != 0)
        return code;
    seen->flags &= (uint8_t)~HF__SEEN_DIRTY;
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
    uint64_t touched;
    int code = look_at(heap, seen, &chunk, &count, &touched);
    if (code != 0)
        return code;
    if (count == 0) { /* all of it was taken back */
        seen->flags &= (uint8_t)~HF__SEEN_DIRTY;
        return 0;
    }
    if (freeing == NULL || chunk.chunk->pending != 0) {
        if (freeing != NULL)
            freeing->reserved = 0; /* another reservation takes its place */
        return mark(heap, seen, &chunk);
    }
    code = hf__chunk_before_freeing(heap, &chunk, count, freeing);
    if (code != 0)
        return code;
    seen->flags &= (uint8_t)~HF__SEEN_DIRTY;
    for (; touched != 0; touched &= touched - 1)
        for (uint32_t i = (uint32_t)__builtin_ctzll(touched); i < chunk.words; i += 64)
            if (bits[i].freed != 0) {
                hf__chunk_clear(heap, &chunk, i, bits[i].freed);
                bits[i].freed = 0;
            }
    return hf__chunk_after_freeing(heap, &chunk, count, freeing);
}

/* Of the chunk with that key. */
static uint64_t offset_of(uint64_t key)
{
    return (key >> 2) * HF__CHUNK_BYTES(key & 3);
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
            const uint64_t offset = offset_of(next);
            const uint64_t record = hf__chunk_record(offset, (uint32_t)(next & 3));
            hf__prefetch(heap->seg, record);
            hf__prefetch(heap->seg, record + HF__LINE_BYTES);
        }
        const uint64_t key = cache->dirty[cache->dirty_count - 1];
        struct hf__seen *seen = hf__seen_get(cache, key);
        /* One that was dropped though it had freed slots: the segment called it empty. */
        int code = seen != NULL ? tell(heap, seen, freeing)
                                : hf__corrupt("chunk.bitmap", offset_of(key));
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
    struct hf__chunk_ref chunk;
    uint32_t count = 0;
    for (uint32_t i = 0; i < claim->rows; i++)
        count += hf__slot_count(claim->row[i].free);
    if (count == 0)
        return 0;
    if ((!hf__slab_known(heap, claim->chunk, &chunk) &&
         !hf__chunk_at(heap, claim->chunk, &chunk)) ||
        chunk.record != claim->record)
        return hf__corrupt("chunk.header", claim->chunk);
    for (uint32_t i = 0; i < claim->rows; i++)
        if ((claim->row[i].free & ~hf__chunk_words(&chunk)[claim->row[i].word].taken) != 0)
            return hf__corrupt("chunk.bitmap", claim->chunk);
    int code = hf__chunk_before_freeing(heap, &chunk, count, freeing);
    if (code != 0)
        return code;
    for (uint32_t i = 0; i < claim->rows; i++) {
        struct hf__claim_row *row = &claim->row[i];
        if (row->free == 0)
            continue;
        hf__chunk_clear(heap, &chunk, row->word, row->free);
        hf__slab_untaken(heap, &chunk, row->word, row->free);
        row->free = 0;
    }
    claim->count -= count;
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
        code = give_back(heap, &cache->claims[cache->active[cache->active_count - 1]], &freeing);
        if (code == 0)
            end_claim(cache);
    }
    hf__freeing_end(heap, &freeing);
    return code;
}
