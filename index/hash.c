/* SPDX-License-Identifier: MIT */
/*
 * hash.c - buckets of one cache line, split one at a time: linear hashing
 *
 * A table that doubles at once would stall one unlucky insertion for the whole table. Here the
 * table has any number of buckets n, and an insertion that finds three entries a bucket or more
 * adds just one: bucket n takes over from bucket n - p/2 those entries whose hash has the next bit
 * set (p being the least power of two above n), and nobody else moves. Buckets lie in arrays of 4,
 * 4, 8, 16, ... buckets, which never move; a directory leads to them. A bucket is written when it
 * comes into use, so a new array costs its allocation and no more.
 *
 *   root.root -> directory: | 4 | 4 | 8 | 16 | 0 | 0 ...           root.capacity = 32
 *                             |            |
 *                             |            +-> | b16 ... b24 | not in use |    root.buckets = 25
 *                             +-> | b0 ... b3 |
 *                                        b3: | tag ref | tag ref | ... 7 words | chain |
 *
 * A word of a bucket is an entry's offset with 20 bits of its hash where an offset has none: the
 * tag. So who looks for a name that isn't there reads one line, and who finds his reads that and
 * the entry. Entries beyond seven are chained through their link; no memory is needed for that,
 * so a full store still takes names.
 *
 * The tag is cut from the hash at a place that moves up by eight bits with every eighth doubling:
 * it always holds the bit that the next split asks for, and at least twelve that the entries of a
 * bucket don't share by being in it. Only when the place moves are names read and hashed again.
 *
 * Invariants, besides I1..I3 of index.h:
 *   B1  root.root, capacity and buckets are all 0, or the directory's first k arrays are there, no
 *       others are, capacity = 4 << (k - 1), and 4 <= buckets <= capacity
 *   B2  each entry is in the bucket that bucket_of says, and in no other
 *   B3  name_hash is the low half of the salted XXH3 of the name, the tag is what tag_of cuts from
 *       the whole; links are 0, but in a chain
 *   B4  no two entries of a bucket have the same name
 *   B5  the words of a bucket are filled from the first on, and all are when it has a chain
 *
 * On damage. A chain is read through struct chain, which checks each link and finds a loop within a
 * small multiple of its length. What is changed is read in full before, and checked once more where
 * an allocation lies in between: on a damaged file a new array may lie over an entry.
 */
#include "hash_table.h"

#include <string.h>

/* ---- find ------------------------------------------------------------------------------------ */

/* Where an entry is: in a word of its bucket, or in the chain behind it. */
struct spot {
    hf_ref node;    /* 0: not there                                                            */
    uint64_t place; /* of the bucket; 0 if there are none yet                                  */
    unsigned word;  /* which one leads to it; WORDS if the chain does                          */
    struct chain chain;
};

static inline bool is_named(const struct hf__index_node *entry, const void *name, size_t size_bytes)
{
    return entry->name_bytes == size_bytes && hf__index_same_bytes(entry + 1, name, size_bytes);
}

/* Looks for the name in the chain only. 0, HF_ECORRUPT. */
__attribute__((noinline)) static int seek_chain(const struct hf__index *index, const void *name,
                                                size_t size_bytes, struct spot *spot)
{
    bool more = chain_first(&spot->chain, index->seg, spot->place);
    spot->word = WORDS;
    for (; more; more = chain_next(&spot->chain)) {
        if (is_named(hf__index_node_at(index->seg, spot->chain.node), name, size_bytes)) {
            spot->node = spot->chain.node;
            return 0;
        }
    }
    return spot->chain.damaged ? chain_corrupt(index, &spot->chain) : 0;
}

/* Looks for the entry of that name. An entry is read only if its tag is right, so it is nearly
 * always the one: what the caller will read of the object is fetched along with it. 0 (spot->node
 * is 0 if it isn't there), HF_ECORRUPT. */
static int seek_spot(const struct hf__index *index, const void *name, size_t size_bytes,
                     uint64_t hash, struct spot *spot)
{
    const struct hf__segment *seg = index->seg;
    spot->node = spot->place = 0;
    int error = root_look(index);
    const uint64_t buckets = hf__index_root_of(index)->buckets;
    if (error != 0 || buckets == 0)
        return error;
    const unsigned level = level_for(buckets, hash);
    spot->place = place_of(index, hash & ((UINT64_C(1) << level) - 1));
    if (spot->place == 0)
        return hf__corrupt("index.links", index->root);
    const struct hf__hash_bucket *bucket = bucket_at(seg, spot->place);
    for (unsigned some = hf__hash_words_tagged(bucket, hf__hash_top_of_tag(hash, level)); some != 0;
         some &= some - 1) {
        const unsigned i = (unsigned)__builtin_ctz(some) / HF__HASH_MATCH_STEP;
        const hf_ref node = ref_in(bucket->word[i]);
        if (node == 0)
            break;
        hf__prefetch(seg, node + HF__LINE_BYTES);
        hf__prefetch(seg, node + 2 * HF__LINE_BYTES);
        if (!hf__index_node_ok(seg, node))
            return hf__corrupt("index.links", spot->place + i * sizeof(uint64_t));
        if (is_named(hf__index_node_at(seg, node), name, size_bytes)) {
            spot->node = node;
            spot->word = i;
            return 0;
        }
    }
    return bucket->chain == 0 ? 0 : seek_chain(index, name, size_bytes, spot);
}

/* What find does when the first word with the right tag doesn't settle it. */
__attribute__((noinline)) static int find_slowly(const struct hf__index *index, const void *name,
                                                 size_t size_bytes, uint64_t hash, hf_ref *out)
{
    struct spot spot;
    int error = seek_spot(index, name, size_bytes, hash, &spot);
    if (error != 0)
        return error;
    if (spot.node == 0)
        return HF_ENOTFOUND;
    *out = spot.node;
    return 0;
}

static int hash_find(const struct hf__index *index, const void *name, size_t size_bytes,
                     hf_ref *out)
{
    const struct hf__segment *seg = index->seg;
    const uint64_t hash = hash_at_once(index, name, size_bytes);
    hf_ref node = 0;
    const enum hf__hash_answer answer = hf__hash_first_tagged(seg, index->root, hash, &node);
    if (answer == HF__HASH_MISSING)
        return HF_ENOTFOUND;
    if (answer == HF__HASH_UNSETTLED || !hf__index_node_ok(seg, node) ||
        !is_named(hf__index_node_at(seg, node), name, size_bytes))
        return find_slowly(index, name, size_bytes, hash, out);
    *out = node;
    return 0;
}

/* The bucket of this name is asked for now, the entry of an earlier one: its bucket has come by now. */
static hf_ref hash_expect(const struct hf__index *index, struct hf__index_ahead *ahead,
                          const void *name, size_t size_bytes)
{
    const struct hf__segment *seg = index->seg;
    const uint64_t buckets = hf__index_root_of(index)->buckets, i = ahead->count++;
    const uint64_t place = ahead->names[i % HF__INDEX_AHEAD].place;
    const uint16_t tag = (uint16_t)ahead->names[i % HF__INDEX_AHEAD].tag;
    if (buckets >= HF__HASH_BUCKETS_MIN && buckets <= HF__HASH_BUCKETS_MAX) {
        const uint64_t hash = hash_at_once(index, name, size_bytes);
        const uint64_t next = place_of(index, bucket_of(buckets, hash));
        hf__prefetch(seg, next);
        ahead->names[i % HF__INDEX_AHEAD].place = next;
        ahead->names[i % HF__INDEX_AHEAD].tag = hf__hash_top_of_tag(hash, level_for(buckets, hash));
    }
    if (place % sizeof(struct hf__hash_bucket) != 0 || place == 0 ||
        !hf__in_segment(seg, place, sizeof(struct hf__hash_bucket)))
        return 0;
    const unsigned some = hf__hash_words_tagged(bucket_at(seg, place), tag);
    const hf_ref node = some == 0 ? 0 : hf__hash_first_of(bucket_at(seg, place), some);
    if (node != 0) {
        hf__index_expect(seg, node);
        hf__prefetch(seg, node + 2 * HF__LINE_BYTES);
    }
    return node;
}

/* For erase: where the bucket is and which word. */
enum { PLACE_BUCKET, PLACE_WORD };

static int hash_seek(const struct hf__index *index, const void *name, size_t size_bytes,
                     struct hf__index_place *place, hf_ref *out)
{
    struct spot spot;
    place->hash = hash_at_once(index, name, size_bytes);
    int error = seek_spot(index, name, size_bytes, place->hash, &spot);
    if (error != 0)
        return error;
    if (spot.node == 0)
        return HF_ENOTFOUND;
    place->opaque[PLACE_BUCKET] = spot.place;
    place->opaque[PLACE_WORD] = spot.word;
    *out = spot.node;
    return 0;
}

/* ---- insert ---------------------------------------------------------------------------------- */

/* Sets hash and links; an entry that has them already, as new ones do, is not announced. (Field by
 * field, as they were written a moment ago: a load that spans several stores waits until all that was
 * stored before has reached the cache.) */
static void prepare_node(struct hf__segment *seg, hf_ref node, uint64_t hash, hf_ref next)
{
    const struct hf__index_node *now = hf__index_node_at(seg, node);
    if (now->link == next && now->name_hash == (uint32_t)hash && now->reserved == 0)
        return;
    struct hf__index_node *to = (struct hf__index_node *)hf__edit(seg, node, sizeof *to);
    to->link = next;
    to->name_hash = (uint32_t)hash;
    to->reserved = 0;
}

/* The hash of a new entry's name, which isn't there yet. 0, HF_EEXIST, HF_ECORRUPT. */
static int look_for_new(const struct hf__index *index, hf_ref node, uint64_t *hash)
{
    const void *name = hf__index_name_at(index->seg, node);
    const size_t size_bytes = hf__index_name_bytes(index->seg, node);
    struct spot spot;
    *hash = hash_of(index, name, size_bytes);
    int error = seek_spot(index, name, size_bytes, *hash, &spot);
    return error == 0 && spot.node != 0 ? hf__fail(HF_EEXIST, "the name is in the index already")
                                        : error;
}

static int hash_insert(struct hf__index *index, hf_ref node, const struct hf__index_place *found)
{
    struct hf__segment *seg = index->seg;
    assert(hf__index_node_ok(seg, node) && hf__index_name_bytes(seg, node) > 0);
    if (ref_in(node) != node)
        return hf__fail(HF_EFULL, "the hash index reaches up to 2^48 bytes");
    uint64_t hash = found != NULL ? found->hash : 0;
    int error = found != NULL ? root_look(index) : look_for_new(index, node, &hash);
    if (error == 0)
        error = hf__hash_grow_for_one(index, NODE_COST + LINK_COST + ROOT_COST);
    if (error != 0)
        return error;

    const uint64_t buckets = hf__index_root_of(index)->buckets;
    const uint64_t place = place_of(index, bucket_of(buckets, hash));
    if (place == 0)
        return hf__corrupt("index.links", index->root);
    const struct hf__hash_bucket *bucket = bucket_at(seg, place);
    const unsigned used = words_used(bucket);
    prepare_node(seg, node, hash, used < WORDS ? 0 : bucket->chain);
    if (used < WORDS)
        edit_word(seg, place + used * sizeof(uint64_t),
                  node | tag_of(hash, level_for(buckets, hash)));
    else
        edit_word(seg, place + CHAIN, node);
    hf__index_edit_root(index)->count++;
    return 0;
}

/* ---- erase ----------------------------------------------------------------------------------- */

/* Finds an entry by itself: by the words or links that lead to it. 0, HF_ECORRUPT. */
static int locate(const struct hf__index *index, hf_ref node, struct spot *spot)
{
    const struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    int error = root_look(index);
    if (error != 0)
        return error;
    if (!hf__index_node_ok(seg, node) || root->count == 0 || root->buckets == 0)
        return hf__corrupt("index.links", node);
    spot->place =
        place_of(index, bucket_of(root->buckets, hf__index_node_at(seg, node)->name_hash));
    if (spot->place == 0)
        return hf__corrupt("index.links", index->root);
    spot->node = node;
    for (spot->word = 0; spot->word < WORDS; spot->word++) {
        if (ref_in(bucket_at(seg, spot->place)->word[spot->word]) == node)
            return 0;
    }
    bool more = chain_first(&spot->chain, seg, spot->place);
    while (more && spot->chain.node != node)
        more = chain_next(&spot->chain);
    return more ? 0 : chain_corrupt(index, &spot->chain);
}

/* Lets the first of the chain fill the word. 0, HF_ECORRUPT, HF_ENOSPC, HF_ENOMEM. */
static int fill_with_heir(struct hf__index *index, const struct spot *spot)
{
    struct hf__segment *seg = index->seg;
    struct hf__hash_bucket to = *bucket_at(seg, spot->place);
    struct chain chain;
    const bool chained = chain_first(&chain, seg, spot->place);
    const hf_ref heir = chain.node;
    if (chained)
        (void)chain_next(&chain); /* to be the first now */
    if (chain.damaged)
        return chain_corrupt(index, &chain);
    int error = hf__reserve(seg, BUCKET_COST + LINK_COST + ROOT_COST);
    if (error != 0)
        return error;
    const uint64_t hash = hash_of_node(index, heir);
    to.word[spot->word] = heir | tag_of(hash, level_for(hf__index_root_of(index)->buckets, hash));
    to.chain = chain.node;
    set_link(seg, heir, 0);
    edit_bucket(seg, spot->place, &to);
    return 0;
}

/* Takes the entry out of its word: the first of the chain or else the last word's fills it. */
static int erase_word(struct hf__index *index, const struct spot *spot)
{
    struct hf__segment *seg = index->seg;
    const struct hf__hash_bucket *bucket = bucket_at(seg, spot->place);
    const unsigned used = words_used(bucket);
    if (bucket->chain != 0)
        return fill_with_heir(index, spot);
    if (used == 0) /* a damaged bucket may begin with a gap */
        return hf__corrupt("index.bucket", spot->place);
    int error = hf__reserve(seg, BUCKET_COST + ROOT_COST);
    if (error != 0)
        return error;
    struct hf__hash_bucket *to = (struct hf__hash_bucket *)hf__edit(seg, spot->place, sizeof *to);
    to->word[spot->word] = to->word[used - 1];
    to->word[used - 1] = 0;
    return 0;
}

static int erase_link(struct hf__index *index, struct spot *spot)
{
    const uint64_t field = spot->chain.field;
    /* Its successor is about to be linked elsewhere. */
    if (!chain_next(&spot->chain) && spot->chain.damaged)
        return chain_corrupt(index, &spot->chain);
    int error = hf__reserve(index->seg, LINK_COST + ROOT_COST);
    if (error == 0)
        edit_word(index->seg, field, spot->chain.node);
    return error;
}

/* Whether the place where the entry was found is still its own. */
static bool is_there(const struct hf__index *index, hf_ref node,
                     const struct hf__index_place *found, struct spot *out)
{
    if (found == NULL || found->opaque[PLACE_WORD] >= WORDS || hf__index_root_of(index)->count == 0)
        return false;
    out->node = node;
    out->place = found->opaque[PLACE_BUCKET];
    out->word = (unsigned)found->opaque[PLACE_WORD];
    return ref_in(bucket_at(index->seg, out->place)->word[out->word]) == node;
}

static int hash_erase(struct hf__index *index, hf_ref node, const struct hf__index_place *found)
{
    struct spot spot = {0};
    int error = is_there(index, node, found, &spot) ? 0 : locate(index, node, &spot);
    if (error == 0)
        error = spot.word < WORDS ? erase_word(index, &spot) : erase_link(index, &spot);
    if (error == 0)
        hf__index_edit_root(index)->count--;
    return error;
}

/* ---- iteration ------------------------------------------------------------------------------- */

/* The next entry in the chain of a bucket whose name has the prefix: cursor->node is where we are
 * in it, 0 before the first. 1, 0 at the end, HF_ECORRUPT. */
static int next_in_chain(const struct hf__index *index, struct hf__index_cursor *cursor,
                         uint64_t place, const void *prefix, size_t prefix_bytes)
{
    struct chain chain = {.seg = index->seg, .node = cursor->node, .steps_max = 4};
    bool more = cursor->node != 0 ? chain_next(&chain) : chain_first(&chain, index->seg, place);
    while (more && !hf__index_has_prefix(index->seg, chain.node, prefix, prefix_bytes))
        more = chain_next(&chain);
    if (chain.damaged)
        return chain_corrupt(index, &chain);
    cursor->node = chain.node;
    return more;
}

/* Asks for the entries of the bucket that lies so many behind this one. */
#define SCAN_AHEAD 2u
__attribute__((always_inline)) static inline void expect_next(const struct hf__segment *seg,
                                                              uint64_t place)
{
    const uint64_t next = place + SCAN_AHEAD * sizeof(struct hf__hash_bucket);
    if (!hf__in_segment(seg, next, sizeof(struct hf__hash_bucket)))
        return;
    for (unsigned i = 0; i < WORDS && bucket_at(seg, next)->word[i] != 0; i++)
        hf__index_expect(seg, ref_in(bucket_at(seg, next)->word[i]));
}

/* The next entry in the words of a bucket from the i-th on whose name has the prefix; *i is left
 * behind it. 1, 0 if there is none, HF_ECORRUPT. */
static inline int next_in_words(const struct hf__index *index, uint64_t place, uint64_t *i,
                                const void *prefix, size_t prefix_bytes, hf_ref *out)
{
    const struct hf__segment *seg = index->seg;
    while (*i < WORDS) {
        const uint64_t word = bucket_at(seg, place)->word[(*i)++];
        if (word == 0)
            continue;
        if (!hf__index_node_ok(seg, ref_in(word)))
            return hf__corrupt("index.links", place + (*i - 1) * sizeof(uint64_t));
        if (hf__index_has_prefix(seg, ref_in(word), prefix, prefix_bytes)) {
            *out = ref_in(word);
            return 1;
        }
    }
    return 0;
}

/* The next entry from the cursor's bucket on. Eight positions are one bucket: its words, then the
 * chain. 1, 0 at the end, HF_ECORRUPT. */
static int advance(const struct hf__index *index, struct hf__index_cursor *cursor,
                   const void *prefix, size_t prefix_bytes, hf_ref *out)
{
    const uint64_t buckets = hf__index_root_of(index)->buckets;
    uint64_t number = cursor->position / (WORDS + 1), i = cursor->position % (WORDS + 1);
    for (; number < buckets; number++, i = 0) {
        const uint64_t place = place_of(index, number);
        if (place == 0)
            return hf__corrupt("index.links", index->root);
        if (i == 0)
            expect_next(index->seg, place);
        int more = next_in_words(index, place, &i, prefix, prefix_bytes, out);
        cursor->position = number * (WORDS + 1) + i;
        if (more == 0) {
            more = next_in_chain(index, cursor, place, prefix, prefix_bytes);
            *out = cursor->node;
        }
        if (more != 0)
            return more;
    }
    cursor->position = number * (WORDS + 1);
    return 0;
}

static int hash_next(const struct hf__index *index, struct hf__index_cursor *cursor,
                     const void *prefix, size_t prefix_bytes, hf_ref *out)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    hf_ref node = 0;
    int error = root_look(index);
    if (error != 0)
        return error;
    if (prefix == NULL)
        prefix_bytes = 0;
    int more = advance(index, cursor, prefix, prefix_bytes, &node);
    if (more < 0)
        return more;
    if (more == 0)
        return prefix_bytes == 0 && cursor->steps != root->count
                   ? hf__corrupt("index.count", index->root)
                   : 0;
    if (cursor->steps >= hf__index_entries_max(index))
        return hf__corrupt("index.count", index->root);
    cursor->started = 1;
    cursor->steps++;
    *out = node;
    return 1;
}

static int hash_init(struct hf__index *index)
{
    (void)index;
    return 0;
}

const struct hf__index_ops hf__index_hash = {
    .kind = HF_INDEX_HASH,
    .name = "hash",
    .ordered = false,
    .hashed = true,
    .init = hash_init,
    .find = hash_find,
    .seek = hash_seek,
    .expect = hash_expect,
    .insert = hash_insert,
    .erase = hash_erase,
    .reserve = hf__hash_reserve,
    .shrink = hf__hash_shrink,
    .next = hash_next,
    .check = hf__hash_check,
    .blocks = hf__hash_blocks,
};
