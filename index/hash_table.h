/* SPDX-License-Identifier: MIT */
/*
 * hash_table.h - the buckets of the hash index and the chains behind them, inside this room
 *
 * hash.c has the idea and the invariants; it finds, inserts, erases and iterates. hash_resize.c
 * adds and removes buckets, hash_check.c checks.
 */
#ifndef HF_INDEX_HASH_TABLE_H
#define HF_INDEX_HASH_TABLE_H

#include "entry.h"
#include "hash_find.h"

#include "base/error.h"
#include "base/hash.h"

#define ARRAY_HEADER_COST HF__EDIT_COST(sizeof(struct hf__index_array))
#define LINK_COST         HF__EDIT_COST(sizeof(uint64_t))
#define BUCKET_COST       HF__EDIT_COST(sizeof(struct hf__hash_bucket))
#define ROOT_COST         HF__EDIT_COST(sizeof(struct hf__index_root))
#define NODE_COST         HF__EDIT_COST(sizeof(struct hf__index_node))

#define WORDS HF__HASH_BUCKET_WORDS
#define CHAIN offsetof(struct hf__hash_bucket, chain)

/* ---- where a bucket is ----------------------------------------------------------------------- */

static inline uint64_t hash_of(const struct hf__index *index, const void *name, size_t size_bytes)
{
    return hf__hash(name, size_bytes, index->seg->salt);
}

/* The same, with the usual length inlined. */
static inline uint64_t hash_at_once(const struct hf__index *index, const void *name,
                                    size_t size_bytes)
{
    return hf__hash_is_short(size_bytes) ? hf__hash_9_to_16(name, size_bytes, index->seg->salt)
                                         : hash_of(index, name, size_bytes);
}

/* The hash of an entry's name; 0 if it is none after all. */
static inline uint64_t hash_of_node(const struct hf__index *index, hf_ref node)
{
    if (!hf__index_node_ok(index->seg, node))
        return 0;
    return hash_of(index, hf__index_name_at(index->seg, node),
                   hf__index_name_bytes(index->seg, node));
}

static inline unsigned floor_log(uint64_t n)
{
    return (unsigned)hf__hash_log(n);
}

/* The highest power of two that is not above n. */
static inline uint64_t floor_power(uint64_t n)
{
    return UINT64_C(1) << floor_log(n);
}

/* How many bits of the hash all entries of a bucket share: they are the bucket's number. Those of
 * `hash` that both the buckets of a pair have tell whether this pair is parted already. */
static inline unsigned level_for(uint64_t buckets, uint64_t hash)
{
    const unsigned log = floor_log(buckets);
    const uint64_t power = UINT64_C(1) << log;
    return log + ((hash & (power - 1)) < buckets - power);
}

static inline uint64_t bucket_of(uint64_t buckets, uint64_t hash)
{
    return hash & ((UINT64_C(1) << level_for(buckets, hash)) - 1);
}

/* The bits of the hash that stand in the word of an entry, in their places. */
static inline uint64_t tag_of(uint64_t hash, unsigned level)
{
    uint64_t bits = hash >> (level / 8 * 8);
    return (bits & 15) | (bits >> 4 << 48);
}

/* Does the place where tags are cut from the hash differ between this level and the one below? */
static inline bool tags_move(unsigned level)
{
    return level % 8 == 0;
}

/* The bucket whose entries bucket `added` shares while it isn't in use. */
static inline uint64_t sibling_of(uint64_t added)
{
    assert(added >= HF__HASH_BUCKETS_MIN);
    return added - floor_power(added);
}

_Static_assert(HF__HASH_BUCKETS_MIN == 4, "of 0..3 the logarithm of number | 2 is 1");
static inline unsigned array_of_bucket(uint64_t bucket)
{
    return floor_log(bucket | 2) - 1;
}

static inline uint64_t first_of_array(unsigned array)
{
    return (UINT64_C(2) << array) & ~UINT64_C(3);
}

static inline uint64_t buckets_of_array(unsigned array)
{
    return array == 0 ? HF__HASH_BUCKETS_MIN : HF__HASH_BUCKETS_MIN << (array - 1);
}

/* As struct hf__index_array counts them. */
static inline uint64_t slots_of_array(unsigned array)
{
    return HF__HASH_PADDING_SLOTS +
           buckets_of_array(array) * (sizeof(struct hf__hash_bucket) / HF__INDEX_SLOT_BYTES);
}

/* Where a bucket in use lies; 0 if the directory is damaged. Looks at bounds only. */
static inline uint64_t place_of(const struct hf__index *index, uint64_t bucket)
{
    const struct hf__segment *seg = index->seg;
    const hf_ref directory = hf__index_root_of(index)->root;
    const unsigned i = array_of_bucket(bucket);
    if (directory % HF__INDEX_ENTRY_ALIGN != 0 || i >= HF__HASH_ARRAYS_MAX ||
        !hf__in_segment(seg, directory, hf__index_slot(0, HF__HASH_ARRAYS_MAX)))
        return 0;
    const hf_ref array = hf__index_slots_at(seg, directory)[i];
    if (array == 0 || array % HF__INDEX_ENTRY_ALIGN != 0)
        return 0;
    const uint64_t place = HF__HASH_FIRST_BUCKET(array) +
                           (bucket - first_of_array(i)) * sizeof(struct hf__hash_bucket);
    return hf__in_segment(seg, place, sizeof(struct hf__hash_bucket)) ? place : 0;
}

static inline const struct hf__hash_bucket *bucket_at(const struct hf__segment *seg, uint64_t place)
{
    return (const struct hf__hash_bucket *)hf__at(seg, place);
}

static inline hf_ref ref_in(uint64_t word)
{
    return word & HF__HASH_REF_BITS;
}

static inline uint64_t word_at(const struct hf__segment *seg, uint64_t field)
{
    return *(const uint64_t *)hf__at(seg, field);
}

static inline void edit_word(struct hf__segment *seg, uint64_t field, uint64_t value)
{
    *(uint64_t *)hf__edit(seg, field, sizeof(uint64_t)) = value;
}

static inline void edit_bucket(struct hf__segment *seg, uint64_t place,
                               const struct hf__hash_bucket *to)
{
    *(struct hf__hash_bucket *)hf__edit(seg, place, sizeof *to) = *to;
}

/* ---- chains ---------------------------------------------------------------------------------- */

/* A walk along a chain that ends on any bytes: it remembers one entry, a new one each time the
 * number of steps has doubled, and meeting that again is a loop (Brent's algorithm). */
struct chain {
    const struct hf__segment *seg;
    uint64_t field; /* where the link to node is: a bucket's chain or the link of an entry      */
    hf_ref node;    /* 0 at the end                                                             */
    hf_ref remembered;
    uint64_t steps, steps_max;
    bool damaged;
};

static inline bool chain_look(struct chain *chain)
{
    chain->node = word_at(chain->seg, chain->field);
    if (chain->node == 0)
        return false;
    if (chain->node == chain->remembered || !hf__index_node_ok(chain->seg, chain->node)) {
        chain->damaged = true;
        return false;
    }
    return true;
}

/* The first entry in the chain of the bucket at place, and the next one: false at the end or on
 * damage. */
static inline bool chain_first(struct chain *chain, const struct hf__segment *seg, uint64_t place)
{
    *chain = (struct chain){.seg = seg, .field = place + CHAIN, .steps_max = 4};
    return chain_look(chain);
}

static inline bool chain_next(struct chain *chain)
{
    chain->field = chain->node; /* link is the entry's first word */
    if (++chain->steps == chain->steps_max) {
        chain->steps_max *= 2;
        chain->remembered = chain->node;
    }
    return chain_look(chain);
}

_Static_assert(offsetof(struct hf__index_node, link) == 0, "an entry is its own link field");

static inline int chain_corrupt(const struct hf__index *index, const struct chain *chain)
{
    return hf__corrupt("index.links", chain->field != 0 ? chain->field : index->root);
}

/* ---- the root -------------------------------------------------------------------------------- */

/* The numbers in the root that every operation relies on: B1 without the arrays. */
static inline int root_look(const struct hf__index *index)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    const uint64_t buckets = root->buckets, capacity = root->capacity;
    if (__builtin_expect(buckets >= HF__HASH_BUCKETS_MIN && buckets <= capacity &&
                             capacity <= HF__HASH_BUCKETS_MAX && root->root != 0 &&
                             (capacity & (capacity - 1)) == 0,
                         1))
        return 0;
    if (buckets == 0 && root->count == 0 && capacity == 0 && root->root == 0)
        return 0;
    return hf__corrupt("index.bucket", index->root);
}

/* ---- filling a bucket ------------------------------------------------------------------------ */

/* How many words are used, up to the first that isn't. */
static inline unsigned words_used(const struct hf__hash_bucket *bucket)
{
    unsigned used = 0;
    while (used < WORDS && bucket->word[used] != 0)
        used++;
    return used;
}

/* A bucket as it will be: made in process memory, so that it is written once, at last. */
struct filling {
    struct hf__hash_bucket to;
    unsigned used; /* words                                                                      */
    hf_ref tail;   /* last entry of the chain, 0 = there is none                                 */
};

static inline struct filling filling_of(const struct hf__segment *seg, uint64_t place)
{
    struct filling filling = {.to = *bucket_at(seg, place)};
    filling.used = words_used(&filling.to);
    return filling;
}

/* Lets the link of an entry lead to another; one that does so already is not announced. */
static inline void set_link(struct hf__segment *seg, hf_ref node, hf_ref next)
{
    if (word_at(seg, node) != next)
        edit_word(seg, node, next);
}

/* Adds an entry of a chain, in a word or at the end of the chain. It is node_ok. */
static inline void fill_from_chain(struct hf__segment *seg, struct filling *filling, hf_ref node,
                                   uint64_t tag)
{
    if (filling->used < WORDS) {
        filling->to.word[filling->used++] = node | tag;
        set_link(seg, node, 0);
        return;
    }
    if (filling->tail == 0)
        filling->to.chain = node;
    else
        set_link(seg, filling->tail, node);
    filling->tail = node;
}

/* Ends the chain and writes the bucket. */
static inline void finish(struct hf__segment *seg, const struct filling *filling, uint64_t place)
{
    if (filling->tail != 0)
        set_link(seg, filling->tail, 0);
    edit_bucket(seg, place, &filling->to);
}

/* ---- hash_resize.c, hash_check.c ------------------------------------------------------------- */

/* Room for one entry more, and for announcements of cost: a bucket is added if it is time, but a
 * full store or disk is no reason to refuse a name. 0, HF_ENOMEM, HF_ENOSPC, HF_ECORRUPT. */
int hf__hash_grow_for_one(struct hf__index *index, uint64_t cost);
/* As in index.h. */
int hf__hash_reserve(struct hf__index *index, uint64_t count);
int hf__hash_shrink(struct hf__index *index);
uint64_t hf__hash_check(const struct hf__index *index, uint64_t entries_max,
                        struct hf__check *check, bool (*valid)(void *user, hf_ref node),
                        void *user);
void hf__hash_blocks(const struct hf__index *index, void (*owned)(void *user, hf_ref block),
                     void *user);

#endif
