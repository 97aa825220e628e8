/* SPDX-License-Identifier: MIT */
/*
 * hash.c - buckets split one at a time: linear hashing
 *
 * A table that doubles at once would stall one unlucky insertion for the whole table. Here the
 * table has any number of buckets n, and an insertion that finds more entries than buckets adds
 * just one: bucket n takes over from bucket n - p/2 those entries whose hash has the next bit set
 * (p being the least power of two above n), and nobody else moves. Buckets lie in arrays of 16, 16,
 * 32, 64, ... slots, which never move; a directory leads to them. A slot is written when its bucket
 * comes into use, so a new array costs its allocation and no more.
 *
 *   root.root -> directory: | 16 | 16 | 32 | 64 | 0 | 0 ...       root.capacity = 128
 *                              |              |
 *                              |              +-> | b64 ... b99 | not in use |  root.buckets = 100
 *                              +-> | b0 ... b15 |       b3 -> entry -> entry -> 0    (link[0])
 *
 * Invariants, besides I1..I3 of index.h:
 *   B1  root.root, capacity and buckets are all 0, or the directory's first k arrays are there, no
 *       others are, capacity = 16 << (k - 1), and 16 <= buckets <= capacity
 *   B2  each entry is in the chain of the bucket that bucket_of says, and in no other
 *   B3  name_hash is the low half of the salted XXH3 of the name; link[1] and link[2] are 0
 *   B4  no two entries of a chain have the same name
 * On the average a chain is no longer than one entry, since a bucket is added with each entry; only
 * when no further array can be had do chains grow, and then a full store still takes names.
 *
 * On damage. A chain is read through struct chain, which checks each link and finds a loop within a
 * small multiple of its length. What is changed is read in full before.
 */
#include "entry.h"

#include "base/error.h"
#include "base/hash.h"

#include <string.h>

#define ARRAY_HEADER_COST HF__EDIT_COST(sizeof(struct hf__index_array))
#define LINK_COST         HF__EDIT_COST(sizeof(uint64_t))
#define ROOT_COST         HF__EDIT_COST(sizeof(struct hf__index_root))
#define NODE_COST         HF__EDIT_COST(sizeof(struct hf__index_node))

/* ---- where a bucket is ----------------------------------------------------------------------- */

static uint32_t hash_of(const struct hf__index *index, const void *name, size_t size_bytes)
{
    return (uint32_t)hf__hash(name, size_bytes, index->seg->salt);
}

/* The highest power of two that is not above n. */
static uint64_t floor_power(uint64_t n)
{
    assert(n > 0);
    return UINT64_C(1) << (63 - __builtin_clzll(n));
}

static uint64_t bucket_of(uint64_t buckets, uint32_t hash)
{
    uint64_t power = floor_power(buckets);
    uint64_t bucket = hash & (2 * power - 1);
    return bucket < buckets ? bucket : bucket & (power - 1);
}

/* The bucket whose entries bucket `added` shares while it isn't in use. */
static uint64_t sibling_of(uint64_t added)
{
    assert(added >= HF__HASH_BUCKETS_MIN);
    return added - floor_power(added);
}

static unsigned array_of_bucket(uint64_t bucket)
{
    return bucket < HF__HASH_BUCKETS_MIN
               ? 0
               : (unsigned)(1 + __builtin_ctzll(floor_power(bucket) / HF__HASH_BUCKETS_MIN));
}

static uint64_t slots_of_array(unsigned array)
{
    return array == 0 ? HF__HASH_BUCKETS_MIN : HF__HASH_BUCKETS_MIN << (array - 1);
}

/* Where a bucket in use has its slot; 0 if the directory is damaged. Looks at bounds only. */
static uint64_t slot_of(const struct hf__index *index, uint64_t bucket)
{
    const struct hf__segment *seg = index->seg;
    const hf_ref directory = hf__index_root_of(index)->root;
    const unsigned i = array_of_bucket(bucket);
    if (directory % HF__INDEX_ENTRY_ALIGN != 0 || i >= HF__HASH_ARRAYS_MAX ||
        !hf__in_segment(seg, directory, hf__index_slot(0, HF__HASH_ARRAYS_MAX)))
        return 0;
    const hf_ref array = hf__index_slots_at(seg, directory)[i];
    const uint64_t first = i == 0 ? 0 : slots_of_array(i);
    const uint64_t distance = hf__index_slot(0, bucket - first);
    if (array == 0 || array % HF__INDEX_ENTRY_ALIGN != 0 || array > seg->size_bytes ||
        !hf__in_segment(seg, array + distance, HF__INDEX_SLOT_BYTES))
        return 0;
    return array + distance;
}

static uint64_t word_at(const struct hf__segment *seg, uint64_t field)
{
    return *(const uint64_t *)hf__at(seg, field);
}

static void edit_word(struct hf__segment *seg, uint64_t field, uint64_t value)
{
    *(uint64_t *)hf__edit(seg, field, sizeof(uint64_t)) = value;
}

/* ---- chains ---------------------------------------------------------------------------------- */

/* A walk along a chain that ends on any bytes: it remembers one entry, a new one each time the
 * number of steps has doubled, and meeting that again is a loop (Brent's algorithm). */
struct chain {
    const struct hf__segment *seg;
    uint64_t field; /* where the link to node is: a bucket's slot or the link[0] of an entry    */
    hf_ref node;    /* 0 at the end                                                             */
    hf_ref remembered;
    uint64_t steps, steps_max;
    bool damaged;
};

static bool chain_look(struct chain *chain)
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

/* The first entry behind a bucket's slot, and the next one: false at the end or on damage. */
static bool chain_first(struct chain *chain, const struct hf__segment *seg, uint64_t slot)
{
    *chain = (struct chain){.seg = seg, .field = slot, .steps_max = 4};
    chain->damaged = slot == 0;
    return slot != 0 && chain_look(chain);
}

static bool chain_next(struct chain *chain)
{
    chain->field = chain->node; /* link[0] is the entry's first word */
    if (++chain->steps == chain->steps_max) {
        chain->steps_max *= 2;
        chain->remembered = chain->node;
    }
    return chain_look(chain);
}

_Static_assert(offsetof(struct hf__index_node, link) == 0, "an entry is its own link field");

static int chain_corrupt(const struct hf__index *index, const struct chain *chain)
{
    return hf__corrupt("index.links", chain->field != 0 ? chain->field : index->root);
}

/* ---- find ------------------------------------------------------------------------------------ */

/* The numbers in the root that every operation relies on: B1 without the arrays. */
static int root_look(const struct hf__index *index)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    if (root->buckets == 0 && root->count == 0 && root->capacity == 0 && root->root == 0)
        return 0;
    if (root->buckets < HF__HASH_BUCKETS_MIN || root->buckets > root->capacity ||
        root->capacity > HF__HASH_BUCKETS_MAX || root->root == 0 ||
        (root->capacity & (root->capacity - 1)) != 0)
        return hf__corrupt("index.bucket", index->root);
    return 0;
}

/* Walks to the entry of that name: chain->node is it, or 0. 0, HF_ECORRUPT. */
static int seek(const struct hf__index *index, const void *name, size_t size_bytes, uint32_t hash,
                struct chain *chain)
{
    const struct hf__segment *seg = index->seg;
    int error = root_look(index);
    if (error != 0)
        return error;
    *chain = (struct chain){.seg = seg};
    const uint64_t buckets = hf__index_root_of(index)->buckets;
    if (buckets == 0)
        return 0;
    bool more = chain_first(chain, seg, slot_of(index, bucket_of(buckets, hash)));
    for (; more; more = chain_next(chain)) {
        const struct hf__index_node *entry = hf__index_node_at(seg, chain->node);
        if (entry->name_hash == hash && entry->name_bytes == size_bytes &&
            memcmp(hf__index_name_at(seg, chain->node), name, size_bytes) == 0)
            return 0;
    }
    return chain->damaged ? chain_corrupt(index, chain) : 0;
}

static int hash_find(const struct hf__index *index, const void *name, size_t size_bytes,
                     hf_ref *out)
{
    struct chain chain;
    int error = seek(index, name, size_bytes, hash_of(index, name, size_bytes), &chain);
    if (error != 0)
        return error;
    if (chain.node == 0)
        return HF_ENOTFOUND;
    *out = chain.node;
    return 0;
}

/* ---- growing: one bucket more ---------------------------------------------------------------- */

/* Makes the directory and the first 16 buckets; further_cost as in split(). */
static int begin_table(struct hf__index *index, uint64_t further_cost)
{
    struct hf__segment *seg = index->seg;
    hf_ref directory = 0, array = 0;
    int error = hf__index_take(index, HF__HASH_ARRAYS_MAX, &directory);
    if (error == 0)
        error = hf__index_take(index, HF__HASH_BUCKETS_MIN, &array);
    if (error == 0)
        error = hf__reserve(seg, HF__EDIT_COST(HF__HASH_ARRAYS_MAX * HF__INDEX_SLOT_BYTES) +
                                     HF__EDIT_COST(HF__HASH_BUCKETS_MIN * HF__INDEX_SLOT_BYTES) +
                                     2 * ARRAY_HEADER_COST + ROOT_COST + further_cost);
    if (error != 0) {
        hf__index_untake(index, array);
        hf__index_untake(index, directory);
        return error;
    }
    hf__index_array_begin(index, directory, HF__HASH_ARRAYS_MAX);
    hf__index_array_begin(index, array, HF__HASH_BUCKETS_MIN);
    uint64_t *arrays = (uint64_t *)hf__edit(seg, hf__index_slot(directory, 0),
                                            HF__HASH_ARRAYS_MAX * HF__INDEX_SLOT_BYTES);
    memset(arrays, 0, HF__HASH_ARRAYS_MAX * HF__INDEX_SLOT_BYTES);
    arrays[0] = array;
    memset(hf__edit(seg, hf__index_slot(array, 0), HF__HASH_BUCKETS_MIN * HF__INDEX_SLOT_BYTES), 0,
           HF__HASH_BUCKETS_MIN * HF__INDEX_SLOT_BYTES);
    struct hf__index_root *root = hf__index_edit_root(index);
    root->root = directory;
    root->capacity = root->buckets = HF__HASH_BUCKETS_MIN;
    return 0;
}

/* Reads the chain that a split will part: the number of its entries. 0, HF_ECORRUPT. */
static int plan_split(const struct hf__index *index, uint64_t slot, uint64_t *entries)
{
    struct chain chain;
    *entries = 0;
    for (bool more = chain_first(&chain, index->seg, slot); more; more = chain_next(&chain))
        ++*entries;
    return chain.damaged ? chain_corrupt(index, &chain) : 0;
}

/* Parts the chain of so many entries behind slot: those whose hash has the bit go behind new_slot,
 * in their order. Links that stay right are not announced: at most entries + 3 are. (Counted, since
 * the entries of a damaged file may lie over new_slot; they are entries that were looked at
 * still.) */
static void part_chain(struct hf__segment *seg, uint64_t slot, uint64_t new_slot, uint64_t bit,
                       uint64_t entries)
{
    uint64_t tail[2] = {slot, new_slot};
    hf_ref node = word_at(seg, slot);
    edit_word(seg, new_slot, 0); /* even if it reads 0: what was never announced means nothing */
    for (; node != 0 && entries > 0; entries--) {
        unsigned moves = (hf__index_node_at(seg, node)->name_hash & bit) != 0;
        if (word_at(seg, tail[moves]) != node)
            edit_word(seg, tail[moves], node);
        tail[moves] = node;
        node = word_at(seg, node);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (word_at(seg, tail[i]) != 0)
            edit_word(seg, tail[i], 0);
    }
}

/* The array that the next bucket needs: *out = 0 if it is there already. */
static int take_next_array(struct hf__index *index, hf_ref *out)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    *out = 0;
    if (!hf__index_array_ok(index->seg, root->root, HF__HASH_ARRAYS_MAX))
        return hf__corrupt("index.links", index->root);
    const unsigned i = array_of_bucket(root->buckets);
    const hf_ref array = hf__index_slots_at(index->seg, root->root)[i];
    if (root->buckets == root->capacity)
        return array == 0 ? hf__index_take(index, slots_of_array(i), out)
                          : hf__corrupt("index.links", hf__index_slot(root->root, i));
    return hf__index_array_ok(index->seg, array, slots_of_array(i))
               ? 0
               : hf__corrupt("index.links", hf__index_slot(root->root, i));
}

/* Adds one bucket; there are fewer than HF__HASH_BUCKETS_MAX. When it succeeds announcements of
 * further_cost more are reserved as well. 0, or an error and nothing has changed. */
static int split(struct hf__index *index, uint64_t further_cost)
{
    struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    const uint64_t added = root->buckets;
    const uint64_t slot = slot_of(index, sibling_of(added));
    const unsigned i = array_of_bucket(added);
    uint64_t entries;
    hf_ref array;
    assert(added >= HF__HASH_BUCKETS_MIN && added < HF__HASH_BUCKETS_MAX);
    int error = plan_split(index, slot, &entries);
    if (error == 0)
        error = take_next_array(index, &array);
    if (error != 0)
        return error;
    error =
        hf__reserve(seg, (entries + 4) * LINK_COST + ARRAY_HEADER_COST + ROOT_COST + further_cost);
    if (error != 0) {
        hf__index_untake(index, array);
        return error;
    }
    if (array != 0) {
        hf__index_array_begin(index, array, slots_of_array(i));
        edit_word(seg, hf__index_slot(root->root, i), array);
    }
    struct hf__index_root *edited = hf__index_edit_root(index);
    if (array != 0)
        edited->capacity *= 2;
    edited->buckets++;
    part_chain(seg, slot, slot_of(index, added), floor_power(added), entries);
    return 0;
}

/* Room for one entry more, and for announcements of cost. A full store or disk is no reason to
 * refuse a name: then chains grow instead. */
static int grow_for_one(struct hf__index *index, uint64_t cost)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    if (root->buckets == 0)
        return begin_table(index, cost);
    if (root->count >= root->buckets && root->buckets < HF__HASH_BUCKETS_MAX) {
        int error = split(index, cost);
        if (error != HF_ENOSPC && error != HF_EFULL)
            return error;
    }
    return hf__reserve(index->seg, cost);
}

static int hash_insert(struct hf__index *index, hf_ref node)
{
    struct hf__segment *seg = index->seg;
    const void *name = hf__index_name_at(seg, node);
    struct chain chain;
    assert(hf__index_node_ok(seg, node) && hf__index_name_bytes(seg, node) > 0);
    const uint32_t hash = hash_of(index, name, hf__index_name_bytes(seg, node));
    int error = seek(index, name, hf__index_name_bytes(seg, node), hash, &chain);
    if (error != 0)
        return error;
    if (chain.node != 0)
        return hf__fail(HF_EEXIST, "the name is in the index already");
    error = grow_for_one(index, NODE_COST + LINK_COST + ROOT_COST);
    if (error != 0)
        return error;

    const uint64_t slot = slot_of(index, bucket_of(hf__index_root_of(index)->buckets, hash));
    assert(slot != 0); /* seek and split have looked at it */
    struct hf__index_node *entry =
        (struct hf__index_node *)hf__edit(seg, node, sizeof(struct hf__index_node));
    entry->link[0] = word_at(seg, slot);
    entry->link[1] = entry->link[2] = 0;
    entry->name_hash = hash;
    entry->reserved = 0;
    edit_word(seg, slot, node);
    hf__index_edit_root(index)->count++;
    return 0;
}

static int hash_erase(struct hf__index *index, hf_ref node)
{
    struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    struct chain chain;
    int error = root_look(index);
    if (error != 0)
        return error;
    if (!hf__index_node_ok(seg, node) || root->count == 0)
        return hf__corrupt("index.links", node);
    const uint32_t hash = hf__index_node_at(seg, node)->name_hash;
    bool more = chain_first(&chain, seg, slot_of(index, bucket_of(root->buckets, hash)));
    while (more && chain.node != node)
        more = chain_next(&chain);
    if (!more)
        return chain_corrupt(index, &chain);
    const uint64_t field = chain.field;
    if (!chain_next(&chain) && chain.damaged) /* its successor is about to be linked elsewhere */
        return chain_corrupt(index, &chain);
    error = hf__reserve(seg, LINK_COST + ROOT_COST);
    if (error != 0)
        return error;
    edit_word(seg, field, chain.node);
    hf__index_edit_root(index)->count--;
    return 0;
}

/* ---- reserve and shrink: many small steps ---------------------------------------------------- */

/* Splits until there is a bucket for each of count entries. An error midway leaves the buckets made
 * so far, which is a sound table with the same entries. */
static int hash_reserve(struct hf__index *index, uint64_t count)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    int error = root_look(index);
    if (error == 0 && root->buckets == 0 && count > 0)
        error = begin_table(index, 0);
    while (error == 0 && root->buckets < count && root->buckets < HF__HASH_BUCKETS_MAX)
        error = split(index, 0);
    return error;
}

/* Takes the last bucket out of use: its entries go in front of its sibling's. The array is given
 * back with its last bucket. 0, or an error and nothing has changed. */
static int merge(struct hf__index *index)
{
    struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    const uint64_t last = root->buckets - 1;
    const uint64_t slot = slot_of(index, sibling_of(last)), last_slot = slot_of(index, last);
    const unsigned i = array_of_bucket(last);
    const bool array_unused = last == floor_power(last);
    struct chain chain;
    bool more = chain_first(&chain, seg, last_slot);
    while (more)
        more = chain_next(&chain);
    if (chain.damaged || slot == 0)
        return chain_corrupt(index, &chain);
    if (!hf__index_array_ok(seg, root->root, HF__HASH_ARRAYS_MAX))
        return hf__corrupt("index.links", index->root);
    const uint64_t array_field = hf__index_slot(root->root, i);
    if (!hf__index_array_ok(seg, word_at(seg, array_field), slots_of_array(i)))
        return hf__corrupt("index.links", array_field);

    int error = hf__reserve(seg, 3 * LINK_COST + ROOT_COST + (array_unused ? HF__OP_COST : 0));
    if (error == 0 && array_unused)
        error = hf__index_give(index, word_at(seg, array_field));
    if (error != 0)
        return error;
    if (chain.field != last_slot) {
        edit_word(seg, chain.field, word_at(seg, slot));
        edit_word(seg, slot, word_at(seg, last_slot));
    }
    struct hf__index_root *edited = hf__index_edit_root(index);
    edited->buckets--;
    if (array_unused) {
        edit_word(seg, array_field, 0);
        edited->capacity /= 2;
    }
    return 0;
}

/* Gives back the directory and the first array; nothing is in it. */
static int end_table(struct hf__index *index)
{
    struct hf__segment *seg = index->seg;
    const hf_ref directory = hf__index_root_of(index)->root;
    if (!hf__index_array_ok(seg, directory, HF__HASH_ARRAYS_MAX) ||
        !hf__index_array_ok(seg, hf__index_slots_at(seg, directory)[0], HF__HASH_BUCKETS_MIN))
        return hf__corrupt("index.links", index->root);
    const hf_ref array = hf__index_slots_at(seg, directory)[0];
    for (uint64_t b = 0; b < HF__HASH_BUCKETS_MIN; b++) {
        if (hf__index_slots_at(seg, array)[b] != 0)
            return hf__corrupt("index.count", index->root);
    }
    int error = hf__reserve(seg, LINK_COST + ROOT_COST + 2 * HF__OP_COST);
    if (error == 0)
        error = hf__index_give(index, directory);
    if (error != 0)
        return error;
    error = hf__index_give(index, array);
    /* The directory is gone already. A door that refuses the second block after taking the first
     * has found it damaged, and a lost array is what fsck picks up. */
    struct hf__index_root *edited = hf__index_edit_root(index);
    edited->root = edited->capacity = edited->buckets = 0;
    return error;
}

/* Merges until there are no more buckets than entries. An error midway leaves a sound table with
 * the same entries and fewer buckets. */
static int hash_shrink(struct hf__index *index)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    int error = root_look(index);
    if (error != 0 || root->buckets == 0)
        return error;
    while (error == 0 && root->buckets > HF__HASH_BUCKETS_MIN && root->buckets > root->count)
        error = merge(index);
    return error == 0 && root->count == 0 ? end_table(index) : error;
}

/* ---- iteration ------------------------------------------------------------------------------- */

/* Bucket by bucket; cursor->position is the one cursor->node is in. */
static int hash_next(const struct hf__index *index, struct hf__index_cursor *cursor,
                     const void *prefix, size_t prefix_bytes, hf_ref *out)
{
    const struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    int error = root_look(index);
    if (error != 0)
        return error;
    if (prefix == NULL)
        prefix_bytes = 0;
    for (; cursor->position < root->buckets; cursor->position++, cursor->node = 0) {
        struct chain chain = {.seg = seg, .node = cursor->node, .steps_max = 4};
        bool more = cursor->node != 0 ? chain_next(&chain)
                                      : chain_first(&chain, seg, slot_of(index, cursor->position));
        while (more && !hf__index_has_prefix(seg, chain.node, prefix, prefix_bytes))
            more = chain_next(&chain);
        if (chain.damaged)
            return chain_corrupt(index, &chain);
        if (!more)
            continue;
        if (cursor->steps >= hf__index_entries_max(index))
            return hf__corrupt("index.count", index->root);
        cursor->started = 1;
        cursor->node = chain.node;
        cursor->steps++;
        *out = chain.node;
        return 1;
    }
    return prefix_bytes == 0 && cursor->steps != root->count
               ? hf__corrupt("index.count", index->root)
               : 0;
}

/* ---- check ----------------------------------------------------------------------------------- */

struct checking {
    const struct hf__index *index;
    struct hf__check *check;
    bool (*valid)(void *user, hf_ref node);
    void *user;
    uint64_t visited, entries_max;
};

/* B1 with the arrays. Returns how many buckets may be looked at. */
static uint64_t check_table(const struct checking *c)
{
    const struct hf__index *index = c->index;
    const struct hf__index_root *root = hf__index_root_of(index);
    if (root->root == 0 && root->capacity == 0 && root->buckets == 0)
        return 0;
    if (root_look(index) != 0 || !hf__index_array_ok(index->seg, root->root, HF__HASH_ARRAYS_MAX)) {
        hf__finding(c->check, "index.bucket", index->root,
                    "%llu buckets of %llu in the directory %llu can't be",
                    (unsigned long long)root->buckets, (unsigned long long)root->capacity,
                    (unsigned long long)root->root);
        return 0;
    }
    const uint64_t *arrays = hf__index_slots_at(index->seg, root->root);
    const unsigned used = array_of_bucket(root->capacity - 1) + 1;
    uint64_t buckets = root->buckets;
    for (unsigned i = 0; i < HF__HASH_ARRAYS_MAX; i++) {
        bool good = i < used ? hf__index_array_ok(index->seg, arrays[i], slots_of_array(i))
                             : arrays[i] == 0;
        if (good && !(i == 1 && arrays[1] == arrays[0])) /* the only two of the same size */
            continue;
        hf__finding(c->check, "index.bucket", hf__index_slot(root->root, i),
                    "%llu is not the array of %llu buckets expected here",
                    (unsigned long long)arrays[i],
                    (unsigned long long)(i < used ? slots_of_array(i) : 0));
        const uint64_t first = i == 0 ? 0 : slots_of_array(i);
        if (buckets > first)
            buckets = first;
    }
    return buckets;
}

/* One entry in its chain: B2, B3, and B4 against those in front of it. */
static void check_in_chain(const struct checking *c, uint64_t slot, uint64_t bucket, hf_ref node)
{
    enum { COMPARED_MAX = 64 }; /* a sound chain is far shorter; a damaged one must not cost n^2 */
    const struct hf__segment *seg = c->index->seg;
    const struct hf__index_node *entry = hf__index_node_at(seg, node);
    const uint32_t hash = hash_of(c->index, hf__index_name_at(seg, node), entry->name_bytes);
    if (entry->name_hash != hash)
        hf__finding(c->check, "index.hash", node, "hash is %u, that of the name is %u",
                    (unsigned)entry->name_hash, (unsigned)hash);
    const uint64_t expected = bucket_of(hf__index_root_of(c->index)->buckets, entry->name_hash);
    if (expected != bucket)
        hf__finding(c->check, "index.bucket", node, "in bucket %llu, expected in %llu",
                    (unsigned long long)bucket, (unsigned long long)expected);
    struct chain before;
    bool more = chain_first(&before, seg, slot);
    for (unsigned i = 0; more && before.node != node && i < COMPARED_MAX; i++) {
        if (hf__index_compare_nodes(seg, before.node, node) == 0)
            hf__finding(c->check, "index.order", node, "has the same name as %llu",
                        (unsigned long long)before.node);
        more = chain_next(&before);
    }
}

static void check_bucket(struct checking *c, uint64_t bucket)
{
    const uint64_t slot = slot_of(c->index, bucket);
    struct chain chain;
    bool more = chain_first(&chain, c->index->seg, slot);
    for (; more && !hf__check_stopped(c->check); more = chain_next(&chain)) {
        if (c->visited >= c->entries_max) {
            hf__finding(c->check, "index.count", c->index->root,
                        "more entries than the %llu there can be",
                        (unsigned long long)c->entries_max);
            return;
        }
        c->visited++;
        hf__check_step(c->check, 1);
        if (!hf__index_check_entry(c->index, c->check, chain.field, chain.node, 1, true, c->valid,
                                   c->user))
            return; /* where an untrue entry leads is nothing to rely on */
        check_in_chain(c, slot, bucket, chain.node);
    }
    if (chain.damaged)
        hf__finding(c->check, "index.links", chain.field,
                    "leads to %llu: in a circle, or where no entry can be",
                    (unsigned long long)chain.node);
}

static uint64_t hash_check(const struct hf__index *index, uint64_t entries_max,
                           struct hf__check *check, bool (*valid)(void *user, hf_ref node),
                           void *user)
{
    struct checking c = {
        .index = index, .check = check, .valid = valid, .user = user, .entries_max = entries_max};
    const uint64_t buckets = check_table(&c);
    for (uint64_t b = 0; b < buckets && c.visited <= entries_max && !hf__check_stopped(check); b++)
        check_bucket(&c, b);
    hf__index_check_root(index, check, c.visited, true, true);
    return c.visited;
}

static void hash_blocks(const struct hf__index *index, void (*owned)(void *user, hf_ref block),
                        void *user)
{
    const hf_ref directory = hf__index_root_of(index)->root;
    if (directory == 0)
        return;
    owned(user, directory);
    if (!hf__index_array_ok(index->seg, directory, HF__HASH_ARRAYS_MAX))
        return;
    for (unsigned i = 0; i < HF__HASH_ARRAYS_MAX; i++) {
        if (hf__index_slots_at(index->seg, directory)[i] != 0)
            owned(user, hf__index_slots_at(index->seg, directory)[i]);
    }
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
    .init = hash_init,
    .find = hash_find,
    .insert = hash_insert,
    .erase = hash_erase,
    .reserve = hash_reserve,
    .shrink = hash_shrink,
    .next = hash_next,
    .check = hash_check,
    .blocks = hash_blocks,
};
