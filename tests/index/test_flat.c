/* SPDX-License-Identifier: MIT */
/* test_flat.c - what is particular to the flat array: doubling, the moved range, damaged slots */
#include "fake_segment.h"

#include <stdio.h>
#include <string.h>

#define SEGMENT_BYTES (UINT64_C(1) << 20)

static struct hf__index_root *root_at(struct fake *fake)
{
    return (struct hf__index_root *)(void *)(fake->seg.base + fake->index.root);
}

static uint64_t *slots_at(struct fake *fake)
{
    return (uint64_t *)(void *)(fake->seg.base + root_at(fake)->root +
                                sizeof(struct hf__index_array));
}

/* Names 1000, 1002, 1004, ... in ascending order. */
static void open_with(struct fake *fake, unsigned entries)
{
    char name[32];
    fake_open(fake, &hf__index_flat, SEGMENT_BYTES);
    for (unsigned i = 0; i < entries; i++) {
        snprintf(name, sizeof name, "%u", 1000 + 2 * i);
        fake_insert(fake, name);
    }
}

static void test_flat_doubles_and_gives_the_old_array_back(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 500);
    assert_int_equal(root_at(&fake)->capacity, 512);
    assert_int_equal(fake.allocations, 7); /* 8, 16, ..., 512 */
    assert_int_equal(fake.releases, 6);
    assert_int_equal(fake_owned(&fake), 1);
    fake_close(&fake);
}

static void test_flat_announces_what_moves_and_no_more(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 100); /* in 128 slots */
    fake.edited_bytes = 0;
    fake_insert(&fake, "9999"); /* last: its slot, the 0 behind, entry, root */
    assert_int_equal(fake.edited_bytes, 2 * 8 + 16 + 64);
    fake.edited_bytes = 0;
    fake_insert(&fake, "00"); /* not last: the first young one */
    assert_int_equal(fake.edited_bytes, 2 * 8 + 16 + 64);
    fake.edited_bytes = 0;
    fake_insert(&fake, "0"); /* the young one moves */
    assert_int_equal(fake.edited_bytes, (1 + 2) * 8 + 16 + 64);
    assert_int_equal(root_at(&fake)->buckets, 101);
    assert_int_equal(root_at(&fake)->count, 103);
    fake.edited_bytes = 0;
    assert_int_equal(fake_erase(&fake, "00"), 0);
    assert_int_equal(fake.edited_bytes, 8 + 64);
    fake.edited_bytes = 0;
    assert_int_equal(fake_erase(&fake, "1000"), 0); /* all others move */
    assert_int_equal(fake.edited_bytes, 102 * 8 + 64);
    assert_int_equal(root_at(&fake)->buckets, 100);
    fake_close(&fake);
}

static void insert_shuffled(struct fake *fake, unsigned i)
{
    char name[32];
    snprintf(name, sizeof name, "%05u", i * 7919 % 10007);
    fake_insert(fake, name);
}

static void test_flat_merges_the_young_entries_when_there_are_many(void **state)
{
    (void)state;
    struct fake fake;
    unsigned merges = 0;
    open_with(&fake, 0);
    for (unsigned i = 0; i < 5000; i++) {
        const uint64_t before = root_at(&fake)->buckets;
        insert_shuffled(&fake, i);
        const uint64_t sorted = root_at(&fake)->buckets, young = i + 1 - sorted;
        merges += sorted > before + 1;
        assert_true(young <= 8 || young * young <= UINT64_C(64) * 2 * (i + 1));
    }
    assert_true(merges > 5 && merges < 100);
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    assert_int_equal(hf__index_flat.shrink(&fake.index), 0);
    assert_int_equal(root_at(&fake)->buckets, 5000);
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    fake_close(&fake);
}

static void test_flat_keeps_entries_young_while_there_is_no_room_to_merge(void **state)
{
    (void)state;
    struct fake fake;
    unsigned kept = 0;
    open_with(&fake, 0);
    for (unsigned i = 0; i < 2000; i++) {
        const struct hf__index_root *root = root_at(&fake);
        const uint64_t sorted = root->buckets;
        fake.reserve_fails_in = root->count < root->capacity ? 1 : 0; /* merging or inserting     */
        hf_ref node;
        char name[32];
        int size = snprintf(name, sizeof name, "%05u", i * 7919 % 10007);
        node = fake_entry(&fake, name, (size_t)size);
        int error = hf__index_flat.insert(&fake.index, node, NULL);
        kept += error == 0 && root->count > sorted + 100;
        if (error != 0) {
            fake.reserve_fails_in = 0;
            assert_int_equal(error, HF_ENOSPC);
            assert_int_equal(hf__index_flat.insert(&fake.index, node, NULL), 0);
        }
    }
    fake.reserve_fails_in = 0;
    assert_true(kept > 0);
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    assert_int_equal(root_at(&fake)->count, 2000);
    fake_close(&fake);
}

static void test_flat_a_name_in_both_runs_is_found(void **state)
{
    (void)state;
    struct fake fake;
    hf_ref node;
    open_with(&fake, 100);
    fake_insert(&fake, "1001");
    assert_int_equal(root_at(&fake)->buckets, 100);
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    node = fake_entry(&fake, "1002", 4);
    slots_at(&fake)[100] = node;
    assert_true(fake_findings(&fake, false, NULL) > 0);
    assert_int_equal(hf__index_flat.shrink(&fake.index), HF_ECORRUPT);
    root_at(&fake)->buckets = 102;
    assert_true(fake_findings(&fake, false, NULL) > 0);
    assert_int_equal(fake_find(&fake, "1000", &node), HF_ECORRUPT);
    fake_close(&fake);
}

static void test_flat_shrink_cuts_the_array_to_its_entries(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 100);
    assert_int_equal(hf__index_flat.shrink(&fake.index), 0);
    assert_int_equal(root_at(&fake)->capacity, 100);
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    fake_insert(&fake, "0"); /* a full array of an odd size grows all the same */
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    assert_int_equal(root_at(&fake)->capacity, 200);
    fake_close(&fake);
}

static void test_flat_forgotten_entries_show(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 100);
    for (unsigned less = 1; less <= 100; less++) {
        root_at(&fake)->count = 100 - less;
        assert_true(fake_findings(&fake, false, NULL) > 0);
    }
    fake_close(&fake);
}

static void test_flat_wrong_capacity_is_refused_before_anything_is_written(void **state)
{
    (void)state;
    static const uint64_t bad[] = {99, 127, 129, 65536, UINT64_C(1) << 61, UINT64_MAX, 0};
    struct fake fake;
    hf_ref out;
    open_with(&fake, 100);
    hf_ref node = fake_entry(&fake, "2", 1);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        root_at(&fake)->capacity = bad[i];
        fake.edits = 0;
        assert_int_equal(fake_find(&fake, "1000", &out), HF_ECORRUPT);
        assert_int_equal(hf__index_flat.insert(&fake.index, node, NULL), HF_ECORRUPT);
        assert_int_equal(hf__index_flat.shrink(&fake.index), HF_ECORRUPT);
        assert_int_equal(hf__index_flat.reserve(&fake.index, 1000), HF_ECORRUPT);
        assert_int_equal(fake.edits, 0);
        assert_true(fake_findings(&fake, false, NULL) > 0);
    }
    fake_close(&fake);
}

static void test_flat_bad_and_repeated_slots_are_found(void **state)
{
    (void)state;
    static const uint64_t bad[] = {0, 8, SEGMENT_BYTES, SEGMENT_BYTES - 16, UINT64_MAX - 15};
    struct fake fake;
    open_with(&fake, 100);
    uint64_t good = slots_at(&fake)[50];
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hf_ref out;
        slots_at(&fake)[50] = bad[i];
        assert_true(fake_findings(&fake, false, NULL) > 0);
        assert_int_equal(fake_find(&fake, "1100", &out), HF_ECORRUPT);
        slots_at(&fake)[50] = good;
    }
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    slots_at(&fake)[51] = good;
    assert_true(fake_findings(&fake, false, NULL) > 0);
    fake_close(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flat_doubles_and_gives_the_old_array_back),
        cmocka_unit_test(test_flat_announces_what_moves_and_no_more),
        cmocka_unit_test(test_flat_merges_the_young_entries_when_there_are_many),
        cmocka_unit_test(test_flat_keeps_entries_young_while_there_is_no_room_to_merge),
        cmocka_unit_test(test_flat_a_name_in_both_runs_is_found),
        cmocka_unit_test(test_flat_shrink_cuts_the_array_to_its_entries),
        cmocka_unit_test(test_flat_forgotten_entries_show),
        cmocka_unit_test(test_flat_wrong_capacity_is_refused_before_anything_is_written),
        cmocka_unit_test(test_flat_bad_and_repeated_slots_are_found),
    };
    return cmocka_run_group_tests_name("index flat", tests, NULL, NULL);
}
