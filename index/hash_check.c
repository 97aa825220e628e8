/* SPDX-License-Identifier: MIT */
/* hash_check.c - are B1..B5 of hash.c true? And which blocks are the table's? */
#include "hash_table.h"

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
                    (unsigned long long)(i < used ? buckets_of_array(i) : 0));
        const uint64_t first = i == 0 ? 0 : buckets_of_array(i);
        if (buckets > first)
            buckets = first;
    }
    return buckets;
}

/* One entry by itself, reached from the field `from`: I3, B2, B3. Returns whether it may be
 * read. */
static bool check_entry(struct checking *c, uint64_t from, hf_ref node, bool chained,
                        uint64_t bucket)
{
    const struct hf__segment *seg = c->index->seg;
    const uint64_t buckets = hf__index_root_of(c->index)->buckets;
    c->visited++;
    hf__check_step(c->check, 1);
    if (!hf__index_check_entry(c->index, c->check, from, node, chained, true, c->valid, c->user))
        return false;
    const struct hf__index_node *entry = hf__index_node_at(seg, node);
    const uint64_t hash = hash_of_node(c->index, node);
    if (entry->name_hash != (uint32_t)hash)
        hf__finding(c->check, "index.hash", node, "hash is %u, that of the name is %u",
                    (unsigned)entry->name_hash, (unsigned)hash);
    if (bucket_of(buckets, hash) != bucket)
        hf__finding(c->check, "index.bucket", node, "in bucket %llu, expected in %llu",
                    (unsigned long long)bucket, (unsigned long long)bucket_of(buckets, hash));
    const uint64_t tag = tag_of(hash, level_for(buckets, bucket));
    if (!chained && word_at(seg, from) != (node | tag))
        hf__finding(c->check, "index.hash", from, "word is %llx, expected %llx",
                    (unsigned long long)word_at(seg, from), (unsigned long long)(node | tag));
    return true;
}

/* B4 for an entry: against those in the words before word `end`, which have its hash if they have
 * its name, and those before it in the chain. */
static void check_twins(const struct checking *c, uint64_t place, unsigned end, hf_ref node)
{
    enum { COMPARED_MAX = 64 }; /* a sound chain is far shorter; a damaged one must not cost n^2 */
    const struct hf__segment *seg = c->index->seg;
    const uint64_t *words = bucket_at(seg, place)->word;
    struct chain chain;
    for (unsigned i = 0; i < end; i++) {
        if (end < WORDS && ((words[i] ^ words[end]) & ~HF__HASH_REF_BITS) != 0)
            continue;
        if (hf__index_node_ok(seg, ref_in(words[i])) &&
            hf__index_compare_nodes(seg, ref_in(words[i]), node) == 0)
            hf__finding(c->check, "index.order", node, "has the same name as %llu",
                        (unsigned long long)ref_in(words[i]));
    }
    bool more = end == WORDS && chain_first(&chain, seg, place);
    for (unsigned i = 0; more && chain.node != node && i < COMPARED_MAX; i++) {
        if (hf__index_compare_nodes(seg, chain.node, node) == 0)
            hf__finding(c->check, "index.order", node, "has the same name as %llu",
                        (unsigned long long)chain.node);
        more = chain_next(&chain);
    }
}

static bool too_many(const struct checking *c)
{
    if (c->visited < c->entries_max)
        return false;
    hf__finding(c->check, "index.count", c->index->root, "more entries than the %llu there can be",
                (unsigned long long)c->entries_max);
    return true;
}

static void check_chain(struct checking *c, uint64_t place, uint64_t bucket)
{
    struct chain chain;
    bool more = chain_first(&chain, c->index->seg, place);
    for (; more && !hf__check_stopped(c->check); more = chain_next(&chain)) {
        if (too_many(c) || !check_entry(c, chain.field, chain.node, true, bucket))
            return; /* where an untrue entry leads is nothing to rely on */
        check_twins(c, place, WORDS, chain.node);
    }
    if (chain.damaged)
        hf__finding(c->check, "index.links", chain.field,
                    "leads to %llu: in a circle, or where no entry can be",
                    (unsigned long long)chain.node);
}

static void check_bucket(struct checking *c, uint64_t number)
{
    const uint64_t place = place_of(c->index, number);
    const struct hf__hash_bucket *bucket = bucket_at(c->index->seg, place);
    bool gap = false;
    for (unsigned i = 0; i < WORDS; i++) {
        const uint64_t field = place + i * sizeof(uint64_t);
        if (gap && bucket->word[i] != 0)
            hf__finding(c->check, "index.bucket", field, "used, but not the one before it");
        gap = bucket->word[i] == 0;
        if (gap)
            continue;
        if (too_many(c))
            return;
        if (check_entry(c, field, ref_in(bucket->word[i]), false, number))
            check_twins(c, place, i, ref_in(bucket->word[i]));
    }
    if (gap && bucket->chain != 0)
        hf__finding(c->check, "index.bucket", place + CHAIN, "a chain, but not all words are used");
    check_chain(c, place, number);
}

uint64_t hf__hash_check(const struct hf__index *index, uint64_t entries_max,
                        struct hf__check *check, bool (*valid)(void *user, hf_ref node), void *user)
{
    struct checking c = {
        .index = index, .check = check, .valid = valid, .user = user, .entries_max = entries_max};
    const uint64_t buckets = check_table(&c);
    for (uint64_t b = 0; b < buckets && c.visited <= entries_max && !hf__check_stopped(check); b++)
        check_bucket(&c, b);
    hf__index_check_root(index, check, c.visited, true, true);
    return c.visited;
}

void hf__hash_blocks(const struct hf__index *index, void (*owned)(void *user, hf_ref block),
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
