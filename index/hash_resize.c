/* SPDX-License-Identifier: MIT */
/*
 * hash_resize.c - buckets come and go one at a time
 *
 * A split adds the last bucket, a merge removes it; both touch two buckets and what is chained
 * behind them, whatever the size of the table. B1..B5 of hash.c hold before and after each.
 */
#include "hash_table.h"

#include <string.h>

/* ---- growing: one bucket more ---------------------------------------------------------------- */

/* Makes the directory and the first buckets; further_cost as in split(). */
static int begin_table(struct hf__index *index, uint64_t further_cost)
{
    struct hf__segment *seg = index->seg;
    const uint64_t directory_bytes = HF__HASH_ARRAYS_MAX * HF__INDEX_SLOT_BYTES;
    const uint64_t bucket_bytes = HF__HASH_BUCKETS_MIN * sizeof(struct hf__hash_bucket);
    hf_ref directory = 0, array = 0;
    int error = hf__index_take(index, HF__HASH_ARRAYS_MAX, &directory);
    if (error == 0)
        error = hf__index_take(index, slots_of_array(0), &array);
    if (error == 0)
        error = hf__reserve(seg, HF__EDIT_COST(directory_bytes) + HF__EDIT_COST(bucket_bytes) +
                                     2 * ARRAY_HEADER_COST + ROOT_COST + further_cost);
    if (error != 0) {
        hf__index_untake(index, array);
        hf__index_untake(index, directory);
        return error;
    }
    hf__index_array_begin(index, directory, HF__HASH_ARRAYS_MAX);
    hf__index_array_begin(index, array, slots_of_array(0));
    uint64_t *arrays = (uint64_t *)hf__edit(seg, hf__index_slot(directory, 0), directory_bytes);
    memset(arrays, 0, directory_bytes);
    arrays[0] = array;
    memset(hf__edit(seg, HF__HASH_FIRST_BUCKET(array), bucket_bytes), 0, bucket_bytes);
    struct hf__index_root *root = hf__index_edit_root(index);
    root->root = directory;
    root->capacity = root->buckets = HF__HASH_BUCKETS_MIN;
    return 0;
}

/* Whether the words of a bucket lead to entries. 0, HF_ECORRUPT. */
static int look_at_words(const struct hf__segment *seg, uint64_t place)
{
    for (unsigned i = 0; i < WORDS; i++) {
        const uint64_t word = bucket_at(seg, place)->word[i];
        if (word != 0 && !hf__index_node_ok(seg, ref_in(word)))
            return hf__corrupt("index.links", place + i * sizeof word);
    }
    return 0;
}

/* Reads the bucket that a split to `level` will part: the number of entries in its chain. The
 * entries in its words are not read unless they must be hashed. 0, HF_ECORRUPT. */
static int plan_split(const struct hf__index *index, uint64_t place, unsigned level,
                      uint64_t *chained)
{
    struct chain chain;
    *chained = 0;
    if (tags_move(level)) {
        int error = look_at_words(index->seg, place);
        if (error != 0)
            return error;
    }
    for (bool more = chain_first(&chain, index->seg, place); more; more = chain_next(&chain))
        ++*chained;
    return chain.damaged ? chain_corrupt(index, &chain) : 0;
}

/* Parts the bucket at place, which has so many entries in its chain: those whose hash has bit
 * level - 1 go to the one at new_place, in their order. At most chained + 2 links and the two
 * buckets are announced. (Counted and looked at once more, since the entries of a damaged file may
 * lie over each other and over a new array.) */
static void part_bucket(struct hf__index *index, uint64_t place, uint64_t new_place, unsigned level,
                        uint64_t chained)
{
    struct hf__segment *seg = index->seg;
    const struct hf__hash_bucket from = *bucket_at(seg, place);
    const uint64_t bit = UINT64_C(1) << (level - 1);
    const uint64_t tag_bit = tag_of(bit, level - 1);
    struct filling half[2] = {{.used = 0}, {.used = 0}};
    for (unsigned i = 0; i < WORDS && from.word[i] != 0; i++) {
        struct filling *to = &half[(from.word[i] & tag_bit) != 0];
        const hf_ref node = ref_in(from.word[i]);
        to->to.word[to->used++] =
            tags_move(level) ? node | tag_of(hash_of_node(index, node), level) : from.word[i];
    }
    for (hf_ref node = from.chain; chained > 0 && hf__index_node_ok(seg, node); chained--) {
        const hf_ref next = word_at(seg, node);
        const uint64_t hash = hash_of_node(index, node);
        fill_from_chain(seg, &half[(hash & bit) != 0], node, tag_of(hash, level));
        node = next;
    }
    finish(seg, &half[0], place);
    finish(seg, &half[1], new_place);
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
    const uint64_t place = place_of(index, sibling_of(added));
    const unsigned i = array_of_bucket(added), level = floor_log(added) + 1;
    uint64_t chained = 0;
    hf_ref array = 0;
    assert(added >= HF__HASH_BUCKETS_MIN && added < HF__HASH_BUCKETS_MAX);
    int error = place == 0 ? hf__corrupt("index.links", index->root)
                           : plan_split(index, place, level, &chained);
    if (error == 0)
        error = take_next_array(index, &array);
    if (error != 0)
        return error;
    error = hf__reserve(seg, (chained + 3) * LINK_COST + 2 * BUCKET_COST + ARRAY_HEADER_COST +
                                 ROOT_COST + further_cost);
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
    part_bucket(index, place, place_of(index, added), level, chained);
    return 0;
}

/* A full store or disk is no reason to refuse a name: then chains grow instead. */
int hf__hash_grow_for_one(struct hf__index *index, uint64_t cost)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    if (root->buckets == 0)
        return begin_table(index, cost);
    if (root->count / HF__HASH_BUCKET_LOAD >= root->buckets &&
        root->buckets < HF__HASH_BUCKETS_MAX) {
        int error = split(index, cost);
        if (error != HF_ENOSPC && error != HF_EFULL)
            return error;
    }
    return hf__reserve(index->seg, cost);
}

/* ---- reserve and shrink: many small steps ---------------------------------------------------- */

/* Splits until there are buckets for count entries. An error midway leaves the buckets made so far,
 * which is a sound table with the same entries. */
int hf__hash_reserve(struct hf__index *index, uint64_t count)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    const uint64_t wanted = count / HF__HASH_BUCKET_LOAD + (count % HF__HASH_BUCKET_LOAD != 0);
    int error = root_look(index);
    if (error == 0 && root->buckets == 0 && count > 0)
        error = begin_table(index, 0);
    while (error == 0 && root->buckets < wanted && root->buckets < HF__HASH_BUCKETS_MAX)
        error = split(index, 0);
    return error;
}

/* Adds the entries of the bucket at last_place, whose chain ends at the field `end`, to the other:
 * to its words while there are free ones, else in front of its chain. */
static void join_buckets(struct hf__index *index, struct filling *to, unsigned level,
                         uint64_t last_place, uint64_t end)
{
    struct hf__segment *seg = index->seg;
    const struct hf__hash_bucket last = *bucket_at(seg, last_place);
    const bool moved = tags_move(level + 1);
    for (unsigned i = 0; moved && i < to->used; i++) {
        const hf_ref node = ref_in(to->to.word[i]);
        to->to.word[i] = node | tag_of(hash_of_node(index, node), level);
    }
    if (last.chain != 0) {
        edit_word(seg, end, to->to.chain);
        to->to.chain = last.chain;
    }
    for (unsigned i = 0; i < WORDS && last.word[i] != 0; i++) {
        const hf_ref node = ref_in(last.word[i]);
        if (to->used < WORDS) {
            to->to.word[to->used++] =
                moved ? node | tag_of(hash_of_node(index, node), level) : last.word[i];
        } else {
            set_link(seg, node, to->to.chain);
            to->to.chain = node;
        }
    }
}

/* Reads the two buckets that a merge will join; *end is the link that ends the chain of the last.
 * 0, HF_ECORRUPT. */
static int plan_merge(const struct hf__index *index, uint64_t place, uint64_t last_place,
                      uint64_t *end)
{
    struct chain chain;
    if (place == 0 || last_place == 0)
        return hf__corrupt("index.links", index->root);
    int error = look_at_words(index->seg, place);
    if (error == 0)
        error = look_at_words(index->seg, last_place);
    if (error != 0)
        return error;
    bool more = chain_first(&chain, index->seg, last_place);
    while (more)
        more = chain_next(&chain);
    *end = chain.field;
    return chain.damaged ? chain_corrupt(index, &chain) : 0;
}

/* Takes the last bucket out of use: its entries go to its sibling's. The array is given back with
 * its last bucket. 0, or an error and nothing has changed. */
static int merge(struct hf__index *index)
{
    struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    const uint64_t last = root->buckets - 1;
    const uint64_t place = place_of(index, sibling_of(last)), last_place = place_of(index, last);
    const unsigned i = array_of_bucket(last);
    const bool array_unused = last == floor_power(last);
    uint64_t end = 0;
    int error = plan_merge(index, place, last_place, &end);
    if (error != 0)
        return error;
    if (!hf__index_array_ok(seg, root->root, HF__HASH_ARRAYS_MAX))
        return hf__corrupt("index.links", index->root);
    const uint64_t array_field = hf__index_slot(root->root, i);
    if (!hf__index_array_ok(seg, word_at(seg, array_field), slots_of_array(i)))
        return hf__corrupt("index.links", array_field);

    error = hf__reserve(seg, (WORDS + 2) * LINK_COST + BUCKET_COST + ROOT_COST +
                                 (array_unused ? HF__OP_COST : 0));
    if (error == 0 && array_unused)
        error = hf__index_give(index, word_at(seg, array_field));
    if (error != 0)
        return error;
    struct filling filling = filling_of(seg, place);
    join_buckets(index, &filling, floor_log(last), last_place, end);
    edit_bucket(seg, place, &filling.to);
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
        !hf__index_array_ok(seg, hf__index_slots_at(seg, directory)[0], slots_of_array(0)))
        return hf__corrupt("index.links", index->root);
    const hf_ref array = hf__index_slots_at(seg, directory)[0];
    for (uint64_t b = 0; b < HF__HASH_BUCKETS_MIN; b++) {
        const struct hf__hash_bucket *bucket = bucket_at(seg, place_of(index, b));
        if (bucket->word[0] != 0 || bucket->chain != 0)
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

/* Merges until there are no more buckets than the entries need. An error midway leaves a sound
 * table with the same entries and fewer buckets. */
int hf__hash_shrink(struct hf__index *index)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    int error = root_look(index);
    if (error != 0 || root->buckets == 0)
        return error;
    while (error == 0 && root->buckets > HF__HASH_BUCKETS_MIN &&
           (root->buckets - 1) * HF__HASH_BUCKET_LOAD >= root->count)
        error = merge(index);
    return error == 0 && root->count == 0 ? end_table(index) : error;
}
