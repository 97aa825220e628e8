/* SPDX-License-Identifier: MIT */
/*
 * slab_cache.h - what a transaction knows of its slabs in process memory
 *
 * Claims. For each kind and class the transaction takes some free slots of one bitmap word at once
 * (hf__slab_claim): in the segment they are taken from then on, and announced. Handing one out is a
 * bit of a word in process memory, and so is taking back one of them that was handed out: it was
 * free at the innermost savepoint, so nobody can want its content back.
 *
 * Seen chunks. A chunk in which a slot was freed is remembered with what was found out about it:
 * that it is true, which lines of its bitmaps are announced, and which slots are live. Freeing
 * another one there clears a bit of that copy: chunks lie in pages of their own, the copies side by
 * side. The first one is pending in the segment at once, and the store's list has its entry, so
 * that writing the others needs no room and can't be refused.
 *
 * Invariants
 *   C1  a slot in `free` of a claim is taken in the segment, not pending, and nobody's; all readers
 *       of the bitmaps in the transaction ask hf__slab_claimed, or settle first
 *   C2  claims and seen chunks are of one level: since the transaction's begin or its innermost
 *       savepoint or rollback. So what they announced need not be announced again
 *   C3  before a level ends otherwise than by an abort or a rollback, hf__slab_settle gives back
 *       what is left of claims and marks what was freed: the segment is then what it would be
 *       without a cache
 *   C4  nothing here is needed to undo: a process that dies takes it along, and the undo list (or
 *       the log, which never heard of it) has the bitmaps as they were
 *   C5  a slot of a seen chunk that is taken and not pending in the segment, and not live in the
 *       copy, was freed; its word's line is announced
 *
 * The memory is input no longer once copied here: sizes and places in it were looked at. One
 * writer, one thread; a heap without a cache does everything at once, in the segment.
 */
#ifndef HF_ALLOC_SLAB_CACHE_H
#define HF_ALLOC_SLAB_CACHE_H

#include "slab.h"

struct hf__claim {
    uint64_t free;   /* claimed, not handed out: bit i is slot word * 64 + i                      */
    uint64_t given;  /* handed out since                                                          */
    uint64_t start;  /* where slot word * 64 would lie                                            */
    uint64_t record; /* of the chunk                                                              */
    uint64_t chunk;
    uint32_t word, bytes;
    uint32_t count; /* slots claimed since the level began                                        */
    bool active;
};

/* An entry whose level is another is a free place. */
struct hf__seen {
    uint64_t key, level;
    uint64_t low; /* the first slot                                                               */
    uint64_t record;
    uint64_t
        announced; /* lines of the record; HF__SEEN_ENTRY: the store's list has its entry     */
    uint32_t inverse;
    uint16_t bytes, lower, slots;
    uint8_t number, words;
    uint32_t size_bytes; /* of the chunk                                                          */
    uint32_t live;       /* where its words are in the cache's bits                               */
    uint32_t unused;
};
_Static_assert(sizeof(struct hf__seen) == 64, "a line");
#define HF__SEEN_ENTRY (UINT64_C(1) << 63)

struct hf__slab_cache {
    uint64_t level;
    uint32_t active_count;
    uint8_t active[2 * HF__SLOT_CLASSES]; /* numbers of claims of this level                      */
    struct hf__claim claims[2 * HF__SLOT_CLASSES];
    uint64_t *bits; /* which slots are live, of all seen chunks                            */
    size_t bits_count, bits_room;
    uint32_t *order; /* which places of seen are taken                                         */
    uint32_t order_count;
    struct hf__seen *last; /* the one that was asked for last, or any                             */
    struct hf__seen *seen; /* NULL: not yet, or no memory                                         */
    uint32_t seen_bits;    /* 2^seen_bits of them                                                 */
};

/* Empty. NULL: no memory (which is no error: a heap without one works). */
struct hf__slab_cache *hf__slab_cache_new(void);
void hf__slab_cache_free(struct hf__slab_cache *cache);
/* A new level begins, after a settle, or after everything since the last one was undone (C2). */
void hf__slab_new_level(struct hf__heap *heap);
/* C3. 0, HF_ENOSPC, HF_ENOMEM, HF_ECORRUPT: what is left stays claimed. */
int hf__slab_settle(struct hf__heap *heap);

/* How many slots to claim next. 1 where nothing can be claimed. */
uint32_t hf__slab_claim_count(const struct hf__heap *heap, uint32_t number);
void hf__slab_claim(struct hf__heap *heap, uint32_t number, const struct hf__chunk_ref *chunk,
                    uint32_t word, uint64_t slots);
/* The claim of that word, or NULL. */
static inline struct hf__claim *hf__slab_claim_of(const struct hf__heap *heap,
                                                  const struct hf__chunk_ref *chunk, uint32_t word)
{
    if (heap->cache == NULL)
        return NULL;
    const uint32_t number = hf__slot_number(chunk->chunk->slot_kind, chunk->chunk->slot_class);
    struct hf__claim *claim = &heap->cache->claims[number % (2 * HF__SLOT_CLASSES)];
    return claim->record == chunk->record && claim->word == word ? claim : NULL;
}
/* Which of these slots are claimed and nobody's. */
static inline uint64_t hf__slab_claimed(const struct hf__heap *heap,
                                        const struct hf__chunk_ref *chunk, uint32_t word,
                                        uint64_t slots)
{
    const struct hf__claim *claim = hf__slab_claim_of(heap, chunk, word);
    return claim == NULL ? 0 : claim->free & slots;
}
/* A raw slot that is to be freed was handed out from the claim that is still there: it is back. */
bool hf__slab_unclaim(struct hf__heap *heap, const struct hf__chunk_ref *chunk, uint32_t word,
                      uint64_t slot);
/* Slots have become live in the segment: in the copy, too. */
void hf__slab_taken(struct hf__heap *heap, const struct hf__chunk_ref *chunk, uint32_t word,
                    uint64_t slots);
/* Which of these slots, taken in the segment, were freed. */
uint64_t hf__slab_freed(const struct hf__heap *heap, const struct hf__chunk_ref *chunk,
                        uint32_t word, uint64_t slots);
/* The lines of the chunk and of that word are announced: both are remembered. entry: a slot of it is
 * pending. */
void hf__slab_see(struct hf__heap *heap, const struct hf__chunk_ref *chunk, uint32_t word,
                  bool entry);
/* A chunk is dropped, after a settle: none is remembered. */
void hf__slab_unsee(struct hf__heap *heap);

static inline bool hf__slab_quick_take(struct hf__slab_cache *cache, uint32_t number, hf_ref *out,
                                       uint64_t *usable)
{
    struct hf__claim *claim = &cache->claims[number];
    const uint64_t free = claim->free;
    if (free == 0)
        return false;
    const uint32_t bit = (uint32_t)__builtin_ctzll(free);
    claim->free = free & (free - 1);
    claim->given |= UINT64_C(1) << bit;
    *out = claim->start + (uint64_t)bit * claim->bytes;
    if (usable != NULL)
        *usable = claim->bytes;
    return true;
}

static inline uint64_t hf__seen_key(uint64_t ref, uint32_t order)
{
    return ref >> (12 + 2 * order) << 2 | order;
}
static inline struct hf__seen *hf__seen_place(const struct hf__slab_cache *cache, uint64_t key)
{
    return &cache->seen[(key * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - cache->seen_bits)];
}
static inline struct hf__seen *hf__seen_find(struct hf__slab_cache *cache, uint64_t ref)
{
    struct hf__seen *last = cache->last;
    if (ref - last->low < last->size_bytes && last->level == cache->level)
        return last;
    for (uint32_t order = HF__CHUNK_ORDERS; order-- > 0;) {
        const uint64_t key = hf__seen_key(ref, order);
        struct hf__seen *seen = hf__seen_place(cache, key);
        if (seen->key == key && seen->level == cache->level)
            return cache->last = seen;
    }
    return NULL;
}

/* The line of the record that a word is in, as a bit. */
static inline uint64_t hf__seen_line(uint32_t word)
{
    return UINT64_C(1) << (sizeof(struct hf__chunk) + word * sizeof(struct hf__chunk_word)) /
                              HF__LINE_BYTES;
}

/* Frees a raw slot when the transaction ends, if that takes no more than a bit; false: nothing was
 * done, and nothing said about why. */
static inline bool hf__slab_quick_free(struct hf__heap *heap, uint64_t ref)
{
    struct hf__slab_cache *cache = heap->cache;
    if (cache->seen == NULL)
        return false;
    struct hf__seen *seen = hf__seen_find(cache, ref);
    if (seen == NULL || seen->number >= HF__SLOT_CLASSES)
        return false;
    const bool below = ref < seen->record;
    const uint64_t high =
        seen->record + sizeof(struct hf__chunk) + seen->words * sizeof(struct hf__chunk_word);
    const uint64_t distance = ref - (below ? seen->low : high);
    if (distance >= HF__CHUNK_BYTES(2))
        return false;
    uint32_t slot = (uint32_t)(distance * seen->inverse >> 32);
    if ((uint64_t)slot * seen->bytes != distance)
        return false;
    slot += below ? 0 : seen->lower;
    if (slot >= (below ? seen->lower : seen->slots))
        return false;
    const uint32_t word = slot / 64;
    const uint64_t bit = UINT64_C(1) << slot % 64;
    struct hf__claim *claim = &cache->claims[seen->number];
    const bool mine = claim->record == seen->record && claim->word == word &&
                      ((claim->free | claim->given) & bit) != 0;
    if (mine && (claim->given & bit) != 0) {
        claim->given &= ~bit;
        claim->free |= bit;
        return true;
    }
    const uint64_t need = HF__SEEN_ENTRY | hf__seen_line(word);
    uint64_t *live = &cache->bits[seen->live + word];
    if ((seen->announced & need) != need || (*live & bit) == 0 || mine)
        return false;
    *live &= ~bit;
    return true;
}

#endif
