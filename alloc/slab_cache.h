/* SPDX-License-Identifier: MIT */
/*
 * slab_cache.h - what the writer knows of its slabs in process memory
 *
 * Claims. For each kind and class the transaction takes some free slots of one chunk at once
 * (hf__slab_claim): in the segment they are taken from then on, and announced. Handing one out is a
 * bit of a word in process memory, and so is taking back a raw one of them that was handed out: it was
 * free at the innermost savepoint, so nobody can want its content back. (Whoever still has the
 * address of a destroyed object is told so until the transaction ends.)
 *
 * Seen chunks. A chunk in which a slot was freed is remembered with what was found out about it:
 * that it is true, where its slots lie, and which of them are live. Freeing one is two bits of that
 * copy, which lie side by side with those of all the other chunks, where the chunks themselves are in
 * pages of their own. The segment hears of it in one visit to the chunk when the transaction ends
 * (hf__slab_finish), or, where somebody may ask before (hf__slab_settle), as pending slots.
 *
 * A copy outlives the transaction, since nobody but a writer changes a bitmap: it holds as long as the
 * store is at the commit that this handle made last. The heap tells of all that it changes in the
 * segment itself (hf__slab_taken, hf__slab_untaken, hf__slab_dropped).
 *
 * Invariants
 *   C1  a slot in `free` of a claim is taken in the segment, not pending, and nobody's; all readers
 *       of the bitmaps in the transaction ask hf__slab_claimed, or settle first
 *   C2  claims are of one level: since the transaction's begin or its innermost savepoint or rollback.
 *       At the beginning of a level nothing is freed that the segment hasn't heard of
 *   C3  before a level ends otherwise than by an abort or a rollback, hf__slab_settle gives back
 *       what is left of claims and marks what was freed: the segment is then what it would be
 *       without a cache
 *   C4  nothing here is needed to undo: a process that dies takes it along, and the undo list (or
 *       the log, which never heard of it) has the bitmaps as they were
 *   C5  of a seen chunk the slots that are taken and not pending in the segment are those that are
 *       live or freed in the copy, and none is both. So freed slots are those that this transaction
 *       freed, and no more. The copy is compared before anything is written: a chunk that is not as
 *       it says is HF_ECORRUPT, and nothing of it is freed
 *   C6  `commit` is the commit whose bitmaps the copies show, while no transaction is open. Whatever
 *       ends one otherwise than by a commit (abort, rollback, a commit that failed) forgets them all
 *       before the writer's place is given up, and who begins forgets them if the store is elsewhere:
 *       another process has committed. A dead one's changes were undone before: that is `commit` again
 *   C7  `dirty` has each chunk with freed slots once; entries[] one for each chunk that settling gave
 *       its first pending slots, until the store's list takes them over (hf__slab_entries)
 *
 * The memory is input no longer once copied here: sizes and places in it were looked at. One
 * writer, one thread; a heap without a cache does everything at once, in the segment.
 */
#ifndef HF_ALLOC_SLAB_CACHE_H
#define HF_ALLOC_SLAB_CACHE_H

#include "slab.h"

struct hf__claim_row {
    uint64_t free;  /* claimed, not handed out: bit i is slot word * 64 + i                       */
    uint64_t given; /* handed out since                                                           */
    uint64_t start; /* where slot word * 64 would lie                                             */
    uint32_t word;
    uint32_t unused;
};
struct hf__claim {
    struct hf__claim_row row[HF__SLOT_ROWS]; /* slots are handed out of the first                 */
    uint64_t record; /* of the chunk                                                              */
    uint64_t chunk;
    uint32_t bytes;
    uint32_t count;    /* slots claimed since the level began                                     */
    uint32_t before;   /* slots handed out in the level before                                    */
    uint8_t rows;
    bool active;
};

/* All that a free needs to know of a chunk but its bitmap. An entry whose age is another is a free
 * place. Those of large chunks lie in the order of the chunks; the others in a table with a place for
 * each key. */
struct hf__seen {
    uint32_t age;
    uint32_t inverse;
    uint32_t check; /* of the chunk                                                               */
    uint32_t bits;  /* where its words are in the cache's                                         */
    uint16_t bytes, lower, slots;
    uint16_t record; /* how many lines behind the chunk's header                                  */
    uint32_t unit;   /* the chunk's offset, in chunks of its order                                */
    uint8_t order, words;
    uint8_t number; /* of the entry in the directory                                              */
    uint8_t flags;
};
enum {
    HF__SEEN_DIRTY = 1,  /* has freed slots: it is in the list                                    */
    HF__SEEN_CLAIMED = 2 /* there is a claim of it                                                */
};
_Static_assert(sizeof(struct hf__seen) == 32, "half a line");

/* Of 64 slots. */
struct hf__seen_word {
    uint64_t live;  /* taken, and neither pending nor freed                                       */
    uint64_t freed; /* in this level                                                              */
};

#define HF__SLOT_NONE UINT64_MAX

struct hf__slab_cache {
    uint64_t commit; /* UINT64_MAX: the copies may not outlive the transaction                    */
    uint32_t age;    /* of entries that hold; never 0                                             */
    uint32_t slabs_age; /* of `slabs`                                                             */
    uint64_t slabs;     /* the directory, when it was asked for last                              */
    hf_ref out; /* the raw slot that was handed out last, still of its claim's first row, or      *
                 * HF__SLOT_NONE: 0 is where the segment begins, which somebody may want to free   */
    uint32_t out_number, out_bit;
    uint32_t active_count;
    uint8_t active[2 * HF__SLOT_CLASSES]; /* numbers of claims of this level                      */
    struct hf__claim claims[2 * HF__SLOT_CLASSES];
    struct hf__seen_word *bits; /* of all seen chunks                                             */
    size_t bits_count, bits_room;
    uint64_t *dirty; /* keys of chunks                                                            */
    size_t dirty_count, dirty_room;
    hf_ref *entries;
    size_t entry_count, entry_room;
    struct hf__seen *large; /* by number; NULL: not yet, or no memory                             */
    uint64_t large_count;
    bool large_full; /* it can't grow: there was no memory                                        */
    struct hf__seen *seen; /* by key; NULL: as above                                              */
    struct hf__seen *last; /* of `seen`, the one that was asked for last, or NULL                 */
    uint32_t seen_bits;    /* 2^seen_bits of them                                                 */
};

/* Empty. NULL: no memory (which is no error: a heap without one works). */
struct hf__slab_cache *hf__slab_cache_new(void);
void hf__slab_cache_free(struct hf__slab_cache *cache);
/* A transaction begins at that commit, on what an earlier one of this handle left. */
void hf__slab_begin(struct hf__heap *heap, uint64_t commit);
/* It ends as that commit, or will be abandoned after a forget. */
static inline void hf__slab_keep(struct hf__heap *heap, uint64_t commit)
{
    if (heap->cache != NULL)
        heap->cache->commit = commit;
}
/* What was done since the last commit of this handle is undone, or may be: nothing is known (C6). */
void hf__slab_forget(struct hf__heap *heap);
/* A new level begins, after a settle or a forget (C2). */
void hf__slab_new_level(struct hf__heap *heap);
/* C3. 0, HF_ENOSPC, HF_ENOMEM, HF_ECORRUPT: what is left stays claimed, or freed. */
int hf__slab_settle(struct hf__heap *heap);
/* Before the last settle of a transaction: frees what was freed and isn't pending in the segment. The
 * same errors. */
int hf__slab_tell_last(struct hf__heap *heap);
static inline int hf__slab_finish(struct hf__heap *heap)
{
    return heap->cache == NULL || heap->cache->dirty_count == 0 ? 0 : hf__slab_tell_last(heap);
}
/* For the store's list, which then has them: entries of what settling has made pending. */
static inline size_t hf__slab_entries(struct hf__heap *heap, const hf_ref **out)
{
    struct hf__slab_cache *cache = heap->cache;
    const size_t count = cache == NULL ? 0 : cache->entry_count;
    if (count != 0) {
        *out = cache->entries;
        cache->entry_count = 0;
    }
    return count;
}

/* How many slots to claim next. 1 where nothing can be claimed. */
uint32_t hf__slab_claim_count(const struct hf__heap *heap, uint32_t number);
void hf__slab_claim(struct hf__heap *heap, uint32_t number, const struct hf__chunk_ref *chunk,
                    const struct hf__slot_row *rows, uint32_t count);
/* The claim of that chunk, or NULL. */
static inline struct hf__claim *hf__slab_claim_of(const struct hf__heap *heap,
                                                  const struct hf__chunk_ref *chunk)
{
    if (heap->cache == NULL)
        return NULL;
    const uint32_t number = hf__slot_number(chunk->chunk->slot_kind, chunk->chunk->slot_class);
    struct hf__claim *claim = &heap->cache->claims[number % (2 * HF__SLOT_CLASSES)];
    return claim->record == chunk->record ? claim : NULL;
}
/* Which of these slots are claimed and nobody's. */
static inline uint64_t hf__slab_claimed(const struct hf__heap *heap,
                                        const struct hf__chunk_ref *chunk, uint32_t word,
                                        uint64_t slots)
{
    const struct hf__claim *claim = hf__slab_claim_of(heap, chunk);
    uint64_t claimed = 0;
    for (uint32_t i = 0; claim != NULL && i < claim->rows; i++)
        if (claim->row[i].word == word)
            claimed |= claim->row[i].free;
    return claimed & slots;
}
/* Takes back a raw slot that was handed out: 1; 0: it is not of this claim, or an object; -1: it was not
 * handed out. */
static inline int hf__claim_return(struct hf__claim *claim, uint32_t word, uint64_t bit,
                                   uint32_t kind)
{
    for (uint32_t i = 0; i < claim->rows; i++) {
        struct hf__claim_row *row = &claim->row[i];
        if (row->word != word || ((row->free | row->given) & bit) == 0)
            continue;
        if ((row->given & bit) == 0)
            return -1;
        if (kind != HF__BLOCK_RAW)
            return 0;
        row->given &= ~bit;
        row->free |= bit;
        return 1;
    }
    return 0;
}
/* A raw slot that is to be freed was handed out from the claim that is still there: it is back. */
bool hf__slab_unclaim(struct hf__heap *heap, const struct hf__chunk_ref *chunk, uint32_t word,
                      uint64_t slot);
/* Slots have become live in the segment, or are so no longer: in the copy, too. */
void hf__slab_change(struct hf__heap *heap, const struct hf__chunk_ref *chunk, uint32_t word,
                     uint64_t taken, uint64_t untaken);
static inline void hf__slab_taken(struct hf__heap *heap, const struct hf__chunk_ref *chunk,
                                  uint32_t word, uint64_t slots)
{
    if (heap->cache != NULL)
        hf__slab_change(heap, chunk, word, slots, 0);
}
static inline void hf__slab_untaken(struct hf__heap *heap, const struct hf__chunk_ref *chunk,
                                    uint32_t word, uint64_t slots)
{
    if (heap->cache != NULL)
        hf__slab_change(heap, chunk, word, 0, slots);
}
/* A chunk is none any more, or another one. In a sound segment it has no freed slots. */
void hf__slab_dropped(struct hf__heap *heap, const struct hf__chunk_ref *chunk);
/* Which of these slots were freed and are not pending in the segment. */
uint64_t hf__slab_freed(const struct hf__heap *heap, const struct hf__chunk_ref *chunk,
                        uint32_t word, uint64_t slots);
/* Slots that were freed so are live again. Takes no memory. */
void hf__slab_unfree(struct hf__heap *heap, const struct hf__chunk_ref *chunk, uint32_t word,
                     uint64_t slots);
/* Remembers a chunk. NULL: no memory, or no more can be remembered. */
struct hf__seen *hf__slab_see(struct hf__heap *heap, const struct hf__chunk_ref *chunk);
/* Makes room in the list of chunks with freed slots; false: no memory. */
bool hf__slab_dirty_room(struct hf__slab_cache *cache);
/* Lists a chunk as one of them; false: no memory. */
static inline bool hf__slab_dirty(struct hf__slab_cache *cache, struct hf__seen *seen)
{
    if (cache->dirty_count == cache->dirty_room && !hf__slab_dirty_room(cache))
        return false;
    cache->dirty[cache->dirty_count++] = (uint64_t)seen->unit << 2 | seen->order;
    seen->flags |= HF__SEEN_DIRTY;
    return true;
}

/* A row that has a slot left becomes a claim's first; false: there is none. */
bool hf__claim_next(struct hf__claim *claim);
static inline bool hf__slab_quick_take(struct hf__slab_cache *cache, uint32_t number, hf_ref *out,
                                       uint64_t *usable)
{
    struct hf__claim *claim = &cache->claims[number];
    struct hf__claim_row *row = &claim->row[0];
    if (row->free == 0 && (claim->rows < 2 || !hf__claim_next(claim)))
        return false;
    const uint64_t free = row->free;
    const uint32_t bit = (uint32_t)__builtin_ctzll(free);
    row->free = free & (free - 1);
    row->given |= UINT64_C(1) << bit;
    *out = row->start + (uint64_t)bit * claim->bytes;
    cache->out = number < HF__SLOT_CLASSES ? *out : HF__SLOT_NONE;
    cache->out_number = number;
    cache->out_bit = bit;
    if (usable != NULL)
        *usable = claim->bytes;
    return true;
}

/* The directory, asked of the segment once in a while. */
static inline uint64_t hf__slab_directory(const struct hf__heap *heap)
{
    struct hf__slab_cache *cache = heap->cache;
    if (cache == NULL)
        return hf__slabs_of(heap);
    if (cache->slabs_age != cache->age ||
        *(const uint64_t *)hf__at(heap->seg, hf__slabs_field(heap)) != cache->slabs) {
        cache->slabs = hf__slabs_of(heap);
        cache->slabs_age = cache->slabs != 0 ? cache->age : 0;
    }
    return cache->slabs;
}

static inline uint32_t hf__seen_kind(const struct hf__seen *seen)
{
    return seen->number < HF__SLOT_CLASSES ? HF__BLOCK_RAW : HF__BLOCK_OBJECT;
}
static inline uint64_t hf__seen_offset(const struct hf__seen *seen)
{
    return seen->unit * HF__CHUNK_BYTES(seen->order);
}
/* What names a chunk here; unit * 4 + order. */
static inline uint64_t hf__seen_key(uint64_t ref, uint32_t order)
{
    return ref >> (12 + 2 * order) << 2 | order;
}
static inline struct hf__seen *hf__seen_place(const struct hf__slab_cache *cache, uint64_t key)
{
    return &cache->seen[(key * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - cache->seen_bits)];
}
/* The entry of that key, or NULL; of the table, and of either. */
static inline struct hf__seen *hf__seen_in_table(const struct hf__slab_cache *cache, uint64_t key)
{
    if (cache->seen == NULL)
        return NULL;
    struct hf__seen *seen = hf__seen_place(cache, key);
    return seen->age == cache->age && ((uint64_t)seen->unit << 2 | seen->order) == key ? seen
                                                                                       : NULL;
}
static inline struct hf__seen *hf__seen_get(const struct hf__slab_cache *cache, uint64_t key)
{
    if ((key & 3) != HF__CHUNK_ORDERS - 1 || key >> 2 >= cache->large_count)
        return hf__seen_in_table(cache, key);
    struct hf__seen *seen = &cache->large[key >> 2];
    return seen->age == cache->age ? seen : NULL;
}
/* The entry of the chunk that this is in, or NULL. */
static inline struct hf__seen *hf__seen_find(struct hf__slab_cache *cache, uint64_t ref)
{
    const uint64_t unit = ref / HF__CHUNK_BYTES(HF__CHUNK_ORDERS - 1);
    struct hf__seen *seen = cache->last;
    if (unit < cache->large_count && cache->large[unit].age == cache->age)
        return &cache->large[unit];
    if (seen != NULL && seen->age == cache->age && ref >> (12 + 2 * seen->order) == seen->unit)
        return seen;
    seen = hf__seen_in_table(cache, hf__seen_key(ref, 1));
    if (seen == NULL)
        seen = hf__seen_in_table(cache, hf__seen_key(ref, 0));
    if (seen == NULL && unit >= cache->large_count)
        seen = hf__seen_in_table(cache, hf__seen_key(ref, 2));
    if (seen != NULL)
        cache->last = seen;
    return seen;
}

/* The chunk of an entry, if it is what it was when the entry was made. */
static inline bool hf__seen_chunk(const struct hf__heap *heap, const struct hf__seen *seen,
                                  struct hf__chunk_ref *out)
{
    const uint64_t offset = hf__seen_offset(seen);
    const uint64_t record = offset + (uint64_t)seen->record * HF__LINE_BYTES;
    const struct hf__chunk *chunk = (const struct hf__chunk *)hf__at(heap->seg, record);
    const uint32_t kind = hf__seen_kind(seen), slot_class = seen->number % HF__SLOT_CLASSES;
    /* All that the check binds is what it was when the check was found right. */
    if (offset + HF__CHUNK_BYTES(seen->order) > hf__slab_end(heap) ||
        chunk->check != seen->check || chunk->slots != seen->slots ||
        chunk->lower != seen->lower || chunk->slot_class != slot_class || chunk->slot_kind != kind)
        return false;
    *out = (struct hf__chunk_ref){
        offset, record, chunk, &hf__slot_classes[slot_class], seen->order, seen->words};
    return true;
}
/* The true chunk at this offset, if it is known. */
static inline bool hf__slab_known(const struct hf__heap *heap, uint64_t offset,
                                  struct hf__chunk_ref *out)
{
    const struct hf__seen *seen = heap->cache == NULL ? NULL : hf__seen_find(heap->cache, offset);
    return seen != NULL && hf__seen_offset(seen) == offset && hf__seen_chunk(heap, seen, out);
}

/* The slot that begins at ref, in the chunk of that entry: true and its number, or false. Which side of
 * the record it is on is as good as random, and a branch that is guessed wrong waits for the address:
 * so there is none. */
static inline bool hf__seen_slot(const struct hf__seen *seen, uint64_t ref, uint32_t *out)
{
    const uint64_t within = ref - hf__seen_offset(seen);
    const uint64_t record = (uint64_t)seen->record * HF__LINE_BYTES;
    const uint64_t above =
        record + sizeof(struct hf__chunk) + seen->words * sizeof(struct hf__chunk_word);
    const uint64_t low = 0 - (uint64_t)(within < record); /* all bits, or none                    */
    const uint64_t distance = within - (above ^ ((above ^ HF__BLOCK_HEADER_BYTES) & low));
    const uint32_t number = (uint32_t)(distance * seen->inverse >> 32);
    const uint32_t lower = seen->lower, slots = seen->slots;
    *out = number + (lower & ~(uint32_t)low);
    return (distance < HF__CHUNK_BYTES(2)) & ((uint64_t)number * seen->bytes == distance) &
           (*out < (slots ^ ((slots ^ lower) & (uint32_t)low)));
}

/* Frees a slot of that kind when the transaction ends, if that takes no more than a bit; false: nothing
 * was done, and nothing said about why. */
bool hf__slab_free_known(struct hf__heap *heap, uint64_t ref, uint32_t kind);
/* The same, of the cases that come often: a raw slot that was handed out last, and a slot of a large
 * chunk of which nothing is claimed. */
static inline bool hf__slab_quick_free(struct hf__heap *heap, uint64_t ref, uint32_t kind)
{
    struct hf__slab_cache *cache = heap->cache;
    if (ref == cache->out && kind == HF__BLOCK_RAW) {
        struct hf__claim_row *row = &cache->claims[cache->out_number].row[0];
        const uint64_t given = UINT64_C(1) << cache->out_bit;
        cache->out = HF__SLOT_NONE;
        if ((row->given & given) != 0) {
            row->given &= ~given;
            row->free |= given;
            return true;
        }
    }
    const uint64_t unit = ref / HF__CHUNK_BYTES(HF__CHUNK_ORDERS - 1);
    uint32_t slot;
    if (unit < cache->large_count) {
        struct hf__seen *seen = &cache->large[unit];
        if (seen->age == cache->age && (seen->flags & HF__SEEN_CLAIMED) == 0 &&
            hf__seen_kind(seen) == kind && hf__seen_slot(seen, ref, &slot)) {
            struct hf__seen_word *at = &cache->bits[seen->bits + slot / 64];
            const uint64_t bit = UINT64_C(1) << slot % 64;
            if ((at->live & bit) == 0 || (seen->flags == 0 && !hf__slab_dirty(cache, seen)))
                return false;
            at->live &= ~bit;
            at->freed |= bit;
            return true;
        }
    }
    return hf__slab_free_known(heap, ref, kind);
}

#endif
