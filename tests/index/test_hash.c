/* SPDX-License-Identifier: MIT */
/* test_hash.c - linear hashing: small steps up and down, its limits, damaged tables */
#include "fake_segment.h"

#include "base/hash.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define LOAD          ((unsigned)HF__HASH_BUCKET_LOAD)
#define SEGMENT_BYTES (UINT64_C(1) << 20)

static struct hf__index_root *root_at(struct fake *fake)
{
    return (struct hf__index_root *)(void *)(fake->seg.base + fake->index.root);
}

static uint64_t *arrays_at(struct fake *fake)
{
    return (uint64_t *)(void *)(fake->seg.base + root_at(fake)->root +
                                sizeof(struct hf__index_array));
}

/* One of the first four buckets. */
static struct hf__hash_bucket *bucket_number(struct fake *fake, unsigned number)
{
    return (struct hf__hash_bucket *)(void *)(fake->seg.base +
                                              HF__HASH_FIRST_BUCKET(arrays_at(fake)[0])) +
           number;
}

static void open_sized(struct fake *fake, unsigned entries, uint64_t size_bytes)
{
    char name[32];
    fake_open(fake, &hf__index_hash, size_bytes);
    for (unsigned i = 0; i < entries; i++) {
        snprintf(name, sizeof name, "%u", i);
        fake_insert(fake, name);
    }
}

static void test_hash_no_single_insert_announces_more_than_a_bucket_or_two(void **state)
{
    (void)state;
    enum { ENTRIES = 100000 };
    /* root twice, the entry, its word, two buckets that are parted, an array's header and its place
     * in the directory, and the links of one chain: chains are short, since names are spread by a
     * salted hash */
    enum { BOUND_BYTES = 2 * 64 + 32 + 8 + 2 * 64 + 16 + 8 + 8 * (16 + 3) };
    struct fake fake;
    char name[32];
    uint64_t most = 0;
    fake_open(&fake, &hf__index_hash, UINT64_C(32) << 20);
    fake_insert(&fake, "the first one makes the table");
    for (unsigned i = 1; i < ENTRIES; i++) {
        snprintf(name, sizeof name, "obj/%08u", i);
        fake.edited_bytes = 0;
        fake_insert(&fake, name);
        if (fake.edited_bytes > most)
            most = fake.edited_bytes;
    }
    printf("largest announcement of one insert while growing to %d: %u bytes\n", ENTRIES,
           (unsigned)most);
    assert_true(most <= BOUND_BYTES);
    assert_int_equal(root_at(&fake)->buckets, (ENTRIES - 1) / LOAD + 1);
    assert_int_equal(root_at(&fake)->capacity, 1 << 16);
    uint64_t visited;
    assert_int_equal(fake_findings(&fake, true, &visited), 0);
    assert_int_equal(visited, ENTRIES);
    fake_close(&fake);
}

static void test_hash_expect_asks_for_the_entry_eight_names_later(void **state)
{
    (void)state;
    enum { ENTRIES = 3000 };
    struct hf__index_ahead ahead = {0};
    struct fake fake;
    char name[32];
    hf_ref out;
    unsigned right = 0;
    open_sized(&fake, ENTRIES, SEGMENT_BYTES);
    fake.edited_bytes = 0;
    for (unsigned i = 0; i < ENTRIES + HF__INDEX_AHEAD; i++) {
        snprintf(name, sizeof name, "%u", i);
        const hf_ref node = hf__index_hash.expect(&fake.index, &ahead, name, strlen(name));
        if (i < HF__INDEX_AHEAD) {
            assert_int_equal(node, 0);
            continue;
        }
        snprintf(name, sizeof name, "%u", i - HF__INDEX_AHEAD);
        assert_int_equal(fake_find(&fake, name, &out), 0);
        right += node == out;
    }
    assert_true(right > ENTRIES * 9 / 10); /* not those in chains, nor all with a tag twice */
    assert_int_equal(fake.edited_bytes, 0);
    fake_close(&fake);
}

static void test_hash_expect_survives_any_bytes(void **state)
{
    (void)state;
    struct hf__index_ahead ahead;
    struct fake fake;
    uint64_t seed = 77;
    open_sized(&fake, 100, SEGMENT_BYTES);
    unsigned char *const root = (unsigned char *)(uintptr_t)root_at(&fake);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned char bytes[sizeof ahead];
        struct hf__index_root kept = *root_at(&fake);
        for (size_t k = 0; k < sizeof bytes; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bytes[k] = (unsigned char)(seed >> 56);
        }
        memcpy(&ahead, bytes, sizeof ahead);
        /* One field of the root at a time, and at times just the ring. */
        if (i % 4 != 0)
            memcpy(root + i % 4 * 8, bytes, i % 8 < 4 ? 8 : 3);
        (void)hf__index_hash.expect(&fake.index, &ahead, "42", 2);
        (void)hf__index_hash.expect(&fake.index, &ahead, "43", 2);
        memcpy(root, &kept, sizeof kept);
    }
    fake_close(&fake);
}

static void test_hash_writes_no_bucket_before_its_turn(void **state)
{
    (void)state;
    struct fake fake;
    open_sized(&fake, 128 * LOAD + 1, SEGMENT_BYTES); /* the last brings an array of 128 */
    assert_int_equal(root_at(&fake)->capacity, 256);
    const unsigned char *array = fake.seg.base + HF__HASH_FIRST_BUCKET(arrays_at(&fake)[6]);
    for (unsigned i = 64; i < 128 * 64; i++)
        assert_int_equal(array[i], 0xA5);
    fake_close(&fake);
}

static void test_hash_shrink_contracts_to_the_entries_and_gives_arrays_back(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    hf_ref out;
    open_sized(&fake, 3000, SEGMENT_BYTES);
    assert_int_equal(fake_owned(&fake), 1 + 9); /* 4, 4, 8, ... 512 */
    for (unsigned i = 100; i < 3000; i++) {
        snprintf(name, sizeof name, "%u", i);
        assert_int_equal(fake_erase(&fake, name), 0);
    }
    assert_int_equal(root_at(&fake)->buckets, 3000 / LOAD);
    fake_batch_begin(&fake);
    assert_int_equal(hf__index_hash.shrink(&fake.index), 0);
    fake_batch_keep(&fake);
    assert_int_equal(root_at(&fake)->buckets, 100 / LOAD + 1);
    assert_int_equal(root_at(&fake)->capacity, 64);
    assert_int_equal(fake_owned(&fake), 1 + 5);
    assert_int_equal(fake.blocks_live, 100 + 6);
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "%u", i);
        assert_int_equal(fake_find(&fake, name, &out), 0);
    }
    for (unsigned i = 100; i < 3000; i++) { /* and up again over the stale slots */
        snprintf(name, sizeof name, "%u", i);
        fake_insert(&fake, name);
    }
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    fake_close(&fake);
}

static void test_hash_shrink_refused_midway_leaves_a_sound_table(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    open_sized(&fake, 300, SEGMENT_BYTES);
    for (unsigned i = 10; i < 300; i++) {
        snprintf(name, sizeof name, "%u", i);
        assert_int_equal(fake_erase(&fake, name), 0);
    }
    int error;
    do {
        fake.reserve_fails_in = 17;
        error = hf__index_hash.shrink(&fake.index);
        uint64_t visited;
        assert_int_equal(fake_findings(&fake, true, &visited), 0);
        assert_int_equal(visited, 10);
    } while (error == HF_ENOSPC);
    assert_int_equal(error, 0);
    assert_int_equal(root_at(&fake)->buckets, HF__HASH_BUCKETS_MIN);
    fake_close(&fake);
}

static void test_hash_reserve_splits_beforehand(void **state)
{
    (void)state;
    struct fake fake;
    open_sized(&fake, 20, SEGMENT_BYTES);
    assert_int_equal(hf__index_hash.reserve(&fake.index, 5000), 0);
    assert_int_equal(root_at(&fake)->buckets, 5000 / LOAD + 1);
    uint64_t visited;
    assert_int_equal(fake_findings(&fake, true, &visited), 0);
    assert_int_equal(visited, 20);
    fake_close(&fake);
}

static void test_hash_goes_on_with_longer_chains_where_no_array_can_be_had(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    hf_ref out;
    open_sized(&fake, 16 * LOAD, SEGMENT_BYTES);
    for (unsigned i = 16 * LOAD; i < 300; i++) {
        snprintf(name, sizeof name, "%u", i);
        fake.allocate_fails_in = 1;
        fake_insert(&fake, name);
    }
    assert_int_equal(root_at(&fake)->buckets, 16);
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    fake.allocate_fails_in = 0;
    for (unsigned i = 300; i < 600; i++) {
        snprintf(name, sizeof name, "%u", i);
        fake_insert(&fake, name);
    }
    assert_true(root_at(&fake)->buckets > 75);
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    for (unsigned i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "%u", i);
        assert_int_equal(fake_find(&fake, name, &out), 0);
    }
    fake_close(&fake);
}

/* A table of all 2^32 buckets in a sparse mapping that nobody fills: it must take names without
 * adding a bucket, and an insert or erase must not depend on how many there are. */
static void test_hash_at_the_limit_of_the_directory_takes_names_without_splitting(void **state)
{
    (void)state;
    const uint64_t size_bytes = UINT64_C(257) << 30;
    void *base = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        skip(); /* no such address space here */
    struct hf__segment seg = {.base = (unsigned char *)base, .size_bytes = size_bytes};
    struct hf__index index = {.seg = &seg, .root = 64, .ops = &hf__index_hash};
    struct hf__index_root *root = (struct hf__index_root *)(void *)(seg.base + 64);
    uint64_t at = 4096;
    root->root = at;
    root->buckets = root->capacity = HF__HASH_BUCKETS_MAX;
    const uint64_t count = 4 * HF__HASH_BUCKETS_MAX + 5; /* so it would split if it could */
    root->count = count;
    ((uint64_t *)(void *)(seg.base + at))[0] = at;
    ((uint64_t *)(void *)(seg.base + at))[1] = HF__HASH_ARRAYS_MAX;
    uint64_t *arrays = (uint64_t *)(void *)(seg.base + at + 16);
    at += 4096;
    for (unsigned i = 0; i < HF__HASH_ARRAYS_MAX; i++) {
        uint64_t slots = HF__HASH_PADDING_SLOTS + 8 * (UINT64_C(4) << (i == 0 ? 0 : i - 1));
        arrays[i] = at;
        ((uint64_t *)(void *)(seg.base + at))[0] = at;
        ((uint64_t *)(void *)(seg.base + at))[1] = slots;
        at += 16 + slots * 8;
    }
    assert_true(at + 65536 < size_bytes);
    for (unsigned i = 0; i < 1000; i++, at += 64) {
        struct hf__index_node *entry = (struct hf__index_node *)(void *)(seg.base + at);
        hf_ref out;
        entry->name_bytes = (uint16_t)snprintf((char *)(entry + 1), 32, "%u", i);
        assert_int_equal(index.ops->insert(&index, at, NULL), 0);
        assert_int_equal(index.ops->find(&index, entry + 1, entry->name_bytes, &out), 0);
        assert_int_equal(out, at);
        assert_int_equal(index.ops->insert(&index, at, NULL), HF_EEXIST);
        if (i % 2 == 0)
            assert_int_equal(index.ops->erase(&index, at, NULL), 0);
    }
    assert_int_equal(root->buckets, HF__HASH_BUCKETS_MAX);
    assert_int_equal(root->count, count + 500);
    assert_int_equal(index.ops->reserve(&index, UINT64_MAX), 0); /* there is nothing to add */
    root->capacity *= 2; /* more than the directory can lead to */
    root->buckets *= 2;
    hf_ref out;
    assert_int_equal(index.ops->find(&index, "1", 1, &out), HF_ECORRUPT);
    munmap(base, size_bytes);
}

static void test_hash_entry_in_a_strange_bucket_is_found(void **state)
{
    (void)state;
    struct fake fake;
    open_sized(&fake, 10, SEGMENT_BYTES);
    struct hf__hash_bucket *here = bucket_number(&fake, 0), *there = bucket_number(&fake, 1);
    unsigned used = 0, last = 0;
    while (used < 7 && there->word[used] != 0)
        used++;
    while (last < 6 && here->word[last + 1] != 0)
        last++;
    assert_true(used < 7 && here->word[last] != 0);
    there->word[used] = here->word[last];
    here->word[last] = 0;
    assert_true(fake_findings(&fake, false, NULL) > 0);
    fake_close(&fake);
}

static void test_hash_wrong_hash_and_changed_name_are_found(void **state)
{
    (void)state;
    struct fake fake;
    open_sized(&fake, 10, SEGMENT_BYTES);
    hf_ref node = fake_insert(&fake, "victim");
    struct hf__index_node *entry = (struct hf__index_node *)(void *)(fake.seg.base + node);
    entry->name_hash ^= UINT32_C(1) << 31;
    assert_true(fake_findings(&fake, false, NULL) > 0);
    entry->name_hash ^= UINT32_C(1) << 31;
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    *(char *)(entry + 1) = 'V';
    assert_true(fake_findings(&fake, false, NULL) > 0);
    fake_close(&fake);
}

static void test_hash_two_entries_of_one_name_are_found(void **state)
{
    (void)state;
    struct fake fake;
    open_sized(&fake, 3, SEGMENT_BYTES);
    hf_ref node = fake_insert(&fake, "twin"), twin = fake_entry(&fake, "twin", 4);
    memcpy(fake.seg.base + twin, fake.seg.base + node, sizeof(struct hf__index_node));
    struct hf__hash_bucket *bucket = bucket_number(&fake, 0);
    for (unsigned i = 0; (bucket->word[i] & HF__HASH_REF_BITS) != node;) {
        if (++i == 7)
            i = 0, bucket++;
    }
    unsigned used = 0;
    while (bucket->word[used] != 0)
        used++;
    assert_true(used < 7);
    bucket->word[used] = bucket->word[used - 1] - node + twin;
    root_at(&fake)->count++;
    assert_int_equal(fake_findings(&fake, false, NULL), 1);
    fake_close(&fake);
}

static void test_hash_chain_in_a_circle_ends(void **state)
{
    (void)state;
    for (unsigned length = 1; length < 40; length++) {
        struct fake fake;
        char name[32];
        hf_ref node[40], out;
        open_sized(&fake, 0, SEGMENT_BYTES);
        assert_int_equal(hf__index_hash.reserve(&fake.index, 1), 0);
        /* all in bucket 0 of a table that can't grow: first its words, then those in question */
        for (unsigned i = 0, tried = 0, used = 0; i < length; tried++) {
            int size = snprintf(name, sizeof name, "%u", tried);
            if ((hf__hash(name, (size_t)size, fake.seg.salt) & 3) != 0)
                continue;
            fake.allocate_fails_in = 1;
            hf_ref inserted = fake_insert(&fake, name);
            if (used++ >= 7)
                node[i++] = inserted;
        }
        for (unsigned back = 0; back < length; back++) {
            *(uint64_t *)(void *)(fake.seg.base + node[0]) = node[back]; /* the first is last */
            assert_true(fake_findings(&fake, false, NULL) > 0);
            hf_ref stranger = 0;
            for (unsigned tried = 100000; stranger == 0; tried++) {
                int size = snprintf(name, sizeof name, "%u", tried);
                if ((hf__hash(name, (size_t)size, fake.seg.salt) & 3) == 0)
                    stranger = fake_entry(&fake, name, (size_t)size);
            }
            assert_int_equal(fake_find(&fake, name, &out), HF_ECORRUPT);
            assert_int_equal(hf__index_hash.insert(&fake.index, stranger, NULL), HF_ECORRUPT);
            assert_int_equal(hf__index_hash.erase(&fake.index, stranger, NULL), HF_ECORRUPT);
            struct hf__index_cursor cursor = {0};
            int more;
            while ((more = hf__index_hash.next(&fake.index, &cursor, NULL, 0, &out)) == 1)
                continue;
            assert_int_equal(more, HF_ECORRUPT);
            cursor = (struct hf__index_cursor){0};
            assert_int_equal(hf__index_hash.next(&fake.index, &cursor, "none", 4, &out),
                             HF_ECORRUPT);
            fake_entry_free(&fake, stranger);
        }
        fake_close(&fake);
    }
}

static void test_hash_damaged_directory_is_refused_before_anything_is_written(void **state)
{
    (void)state;
    static const uint64_t bad[] = {
        0, 8, 16, 4096, SEGMENT_BYTES, SEGMENT_BYTES - 16, UINT64_MAX - 15, UINT64_C(1) << 63};
    struct fake fake;
    open_sized(&fake, 32 * LOAD, SEGMENT_BYTES); /* the next insert takes an array */
    hf_ref node = fake_entry(&fake, "x", 1);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t good = root_at(&fake)->root;
        fake.edits = 0;
        root_at(&fake)->root = bad[i];
        assert_true(fake_findings(&fake, false, NULL) > 0);
        (void)fake_owned(&fake);
        assert_int_equal(hf__index_hash.insert(&fake.index, node, NULL), HF_ECORRUPT);
        assert_int_equal(hf__index_hash.reserve(&fake.index, 1000), HF_ECORRUPT);
        assert_int_equal(fake.edits, 0);
        root_at(&fake)->root = good;
        for (unsigned a = 0; a < 5; a++) {
            uint64_t array = arrays_at(&fake)[a];
            arrays_at(&fake)[a] = bad[i];
            assert_true(bad[i] == array || fake_findings(&fake, false, NULL) > 0);
            arrays_at(&fake)[a] = array;
        }
    }
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    fake_close(&fake);
}

static void test_hash_announces_a_new_bucket_even_in_zeroed_memory(void **state)
{
    (void)state;
    struct fake fake;
    open_sized(&fake, 128 * LOAD + 1, SEGMENT_BYTES);
    uint64_t buckets = HF__HASH_FIRST_BUCKET(arrays_at(&fake)[6]);
    memset(fake.seg.base + buckets + 64, 0, 127 * 64);
    for (unsigned i = 128 * LOAD + 1; i < 150 * LOAD; i++) {
        char name[32];
        fake.watched = buckets + (i / LOAD - 128) * 64;
        fake.watched_edits = 0;
        snprintf(name, sizeof name, "%u", i);
        fake_insert(&fake, name);
        assert_true(i % LOAD != 0 || fake.watched_edits > 0);
    }
    fake_close(&fake);
}

static void test_hash_erase_does_not_link_to_a_damaged_successor(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    open_sized(&fake, 0, SEGMENT_BYTES);
    assert_int_equal(hf__index_hash.reserve(&fake.index, 1), 0);
    for (unsigned i = 0; i < 60; i++) {
        fake.allocate_fails_in = 1;
        snprintf(name, sizeof name, "%u", i);
        fake_insert(&fake, name);
    }
    const struct hf__hash_bucket *bucket = bucket_number(&fake, 0);
    hf_ref chained = bucket->chain, in_word = bucket->word[0] & HF__HASH_REF_BITS;
    assert_int_not_equal(chained, 0);
    *(uint64_t *)(void *)(fake.seg.base + chained) = 8;
    fake.edits = 0;
    assert_int_equal(hf__index_hash.erase(&fake.index, chained, NULL), HF_ECORRUPT);
    assert_int_equal(hf__index_hash.erase(&fake.index, in_word, NULL), HF_ECORRUPT);
    assert_int_equal(fake.edits, 0);
    fake_close(&fake);
}

static void test_hash_erase_fills_the_hole_from_the_chain(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    open_sized(&fake, 0, SEGMENT_BYTES);
    assert_int_equal(hf__index_hash.reserve(&fake.index, 1), 0);
    for (unsigned i = 0; i < 60; i++) {
        fake.allocate_fails_in = 1;
        snprintf(name, sizeof name, "%u", i);
        fake_insert(&fake, name);
    }
    struct hf__hash_bucket *bucket = bucket_number(&fake, 0);
    for (unsigned i = 0; bucket->chain != 0; i++) {
        hf_ref heir = bucket->chain, node = bucket->word[i % 7] & HF__HASH_REF_BITS;
        assert_int_equal(hf__index_hash.erase(&fake.index, node, NULL), 0);
        assert_int_equal(bucket->word[i % 7] & HF__HASH_REF_BITS, heir);
        assert_int_equal(fake_findings(&fake, true, NULL), 0);
    }
    for (unsigned used = 7; used > 0; used--) {
        hf_ref node = bucket->word[0] & HF__HASH_REF_BITS;
        assert_int_equal(hf__index_hash.erase(&fake.index, node, NULL), 0);
        assert_int_equal(bucket->word[used - 1], 0);
        assert_int_equal(fake_findings(&fake, true, NULL), 0);
    }
    fake_close(&fake);
}

/* Tags are cut from the hash at another place on each side of 256 and 65536 buckets. */
static void test_hash_up_and_down_where_tags_move(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    hf_ref out;
    uint64_t visited;
    open_sized(&fake, 3000, UINT64_C(1) << 25);
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(hf__index_hash.reserve(&fake.index, LOAD * 66000), 0);
        assert_int_equal(root_at(&fake)->buckets, 66000);
        assert_int_equal(fake_findings(&fake, true, &visited), 0);
        assert_int_equal(visited, 3000);
        for (unsigned i = 0; i < 3000; i++) {
            snprintf(name, sizeof name, "%u", i);
            assert_int_equal(fake_find(&fake, name, &out), 0);
        }
        assert_int_equal(hf__index_hash.shrink(&fake.index), 0);
        assert_int_equal(root_at(&fake)->buckets, 3000 / LOAD);
        assert_int_equal(fake_findings(&fake, true, &visited), 0);
        assert_int_equal(visited, 3000);
    }
    for (unsigned i = 10; i < 3000; i++) {
        snprintf(name, sizeof name, "%u", i);
        assert_int_equal(fake_erase(&fake, name), 0);
    }
    assert_int_equal(hf__index_hash.shrink(&fake.index), 0);
    assert_int_equal(root_at(&fake)->buckets, HF__HASH_BUCKETS_MIN);
    assert_int_equal(fake_findings(&fake, true, &visited), 0);
    assert_int_equal(visited, 10);
    fake_close(&fake);
}

static void test_hash_gap_in_a_bucket_and_wrong_tag_are_found(void **state)
{
    (void)state;
    struct fake fake;
    open_sized(&fake, 3 * LOAD, SEGMENT_BYTES);
    struct hf__hash_bucket *bucket = bucket_number(&fake, 0);
    uint64_t word = bucket->word[0];
    assert_int_not_equal(word, 0);
    bucket->word[0] ^= UINT64_C(1) << 63;
    assert_int_equal(fake_findings(&fake, false, NULL), 1);
    bucket->word[0] = word ^ 1;
    assert_int_equal(fake_findings(&fake, false, NULL), 1);
    bucket->word[0] = word;
    unsigned last = 0;
    while (bucket->word[last + 1] != 0)
        last++;
    assert_true(last < 5);
    bucket->word[last + 2] = bucket->word[last];
    bucket->word[last] = 0;
    assert_int_equal(fake_findings(&fake, false, NULL), 1);
    fake_close(&fake);
}

static void test_hash_array_where_none_should_be_yet_is_not_overwritten(void **state)
{
    (void)state;
    struct fake fake;
    open_sized(&fake, 32 * LOAD, SEGMENT_BYTES);
    hf_ref node = fake_entry(&fake, "x", 1);
    arrays_at(&fake)[4] = 4096;
    assert_true(fake_findings(&fake, false, NULL) > 0);
    fake.edits = 0;
    assert_int_equal(hf__index_hash.insert(&fake.index, node, NULL), HF_ECORRUPT);
    assert_int_equal(fake.edits, 0);
    fake_close(&fake);
}

/* A damaged chain may lead over the very bucket that a split is about to write. */
static void test_hash_split_ends_where_an_entry_lies_over_the_new_bucket(void **state)
{
    (void)state;
    struct fake fake;
    open_sized(&fake, 6 * LOAD, SEGMENT_BYTES);
    assert_int_equal(root_at(&fake)->buckets, 6);
    struct hf__hash_bucket *sibling = bucket_number(&fake, 2);
    hf_ref over = HF__HASH_FIRST_BUCKET(arrays_at(&fake)[1]) + 2 * 64; /* bucket 6 */
    struct hf__index_node *entry = (struct hf__index_node *)(void *)(fake.seg.base + over);
    memset(entry, 0, 64);
    entry->name_bytes = 1;
    sibling->chain = over;
    hf_ref node = fake_entry(&fake, "x", 1);
    (void)hf__index_hash.insert(&fake.index, node, NULL); /* it is enough that this ends */
    assert_int_equal(root_at(&fake)->buckets, 7);
    assert_true(fake_findings(&fake, false, NULL) > 0);
    fake_close(&fake);
}

static void test_hash_of_a_short_name_is_xxh3(void **state)
{
    (void)state;
    unsigned char bytes[16];
    uint64_t salt = 1;
    for (unsigned round = 0; round < 1000; round++) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (unsigned char)((salt = salt * UINT64_C(6364136223846793005) + 1) >> 56);
        for (size_t length = 9; length <= sizeof bytes; length++)
            assert_true(hf__hash_9_to_16(bytes, length, salt) == hf__hash(bytes, length, salt));
    }
}

/* find takes a shorter way than seek, and another one for names of 9 to 16 bytes. */
static void test_hash_finds_what_it_seeks(void **state)
{
    (void)state;
    enum { ENTRIES = 2000, LONGEST = 40 };
    struct fake fake;
    char name[LONGEST + 1];
    open_sized(&fake, 0, SEGMENT_BYTES);
    for (unsigned i = 0; i < ENTRIES; i++) {
        const struct hf__index *index = &fake.index;
        const int length = 5 + (int)(i % (LONGEST - 4));
        snprintf(name, sizeof name, "%0*u", length, i);
        if (i % 3 != 0)
            fake_insert(&fake, name);
        for (unsigned j = i < 4 ? 0 : i - 4; j <= i; j++) {
            struct hf__index_place place;
            hf_ref found = 0, sought = 0;
            const size_t bytes = 5 + j % (LONGEST - 4);
            snprintf(name, sizeof name, "%0*u", (int)bytes, j);
            const int code = index->ops->find(index, name, bytes, &found);
            assert_int_equal(code, j % 3 != 0 ? 0 : HF_ENOTFOUND);
            assert_int_equal(index->ops->seek(index, name, bytes, &place, &sought), code);
            assert_int_equal(found, sought);
        }
    }
    fake_close(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_no_single_insert_announces_more_than_a_bucket_or_two),
        cmocka_unit_test(test_hash_expect_asks_for_the_entry_eight_names_later),
        cmocka_unit_test(test_hash_expect_survives_any_bytes),
        cmocka_unit_test(test_hash_writes_no_bucket_before_its_turn),
        cmocka_unit_test(test_hash_shrink_contracts_to_the_entries_and_gives_arrays_back),
        cmocka_unit_test(test_hash_shrink_refused_midway_leaves_a_sound_table),
        cmocka_unit_test(test_hash_reserve_splits_beforehand),
        cmocka_unit_test(test_hash_goes_on_with_longer_chains_where_no_array_can_be_had),
        cmocka_unit_test(test_hash_at_the_limit_of_the_directory_takes_names_without_splitting),
        cmocka_unit_test(test_hash_entry_in_a_strange_bucket_is_found),
        cmocka_unit_test(test_hash_wrong_hash_and_changed_name_are_found),
        cmocka_unit_test(test_hash_two_entries_of_one_name_are_found),
        cmocka_unit_test(test_hash_chain_in_a_circle_ends),
        cmocka_unit_test(test_hash_announces_a_new_bucket_even_in_zeroed_memory),
        cmocka_unit_test(test_hash_erase_does_not_link_to_a_damaged_successor),
        cmocka_unit_test(test_hash_erase_fills_the_hole_from_the_chain),
        cmocka_unit_test(test_hash_up_and_down_where_tags_move),
        cmocka_unit_test(test_hash_gap_in_a_bucket_and_wrong_tag_are_found),
        cmocka_unit_test(test_hash_array_where_none_should_be_yet_is_not_overwritten),
        cmocka_unit_test(test_hash_split_ends_where_an_entry_lies_over_the_new_bucket),
        cmocka_unit_test(test_hash_damaged_directory_is_refused_before_anything_is_written),
        cmocka_unit_test(test_hash_of_a_short_name_is_xxh3),
        cmocka_unit_test(test_hash_finds_what_it_seeks),
    };
    return cmocka_run_group_tests_name("index hash", tests, NULL, NULL);
}
