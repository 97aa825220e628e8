/* SPDX-License-Identifier: MIT */
/* test_set.c - what is particular to the set: no memory of its own, order, and damaged links */
#include "fake_segment.h"

#include "base/avl.h"

#include <stdio.h>
#include <string.h>

#define SEGMENT_BYTES (UINT64_C(1) << 20)

static struct hf__index_node *entry_at(struct fake *fake, hf_ref node)
{
    return (struct hf__index_node *)(void *)(fake->seg.base + node);
}

static struct hf__index_root *root_at(struct fake *fake)
{
    return (struct hf__index_root *)(void *)(fake->seg.base + fake->index.root);
}

static void open_with(struct fake *fake, unsigned entries)
{
    char name[32];
    fake_open(fake, &hf__index_set, SEGMENT_BYTES);
    for (unsigned i = 0; i < entries; i++) {
        snprintf(name, sizeof name, "%05u", i * 7919 % 10007);
        fake_insert(fake, name);
    }
}

static void test_set_takes_no_memory_of_its_own(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 1000);
    assert_int_equal(hf__index_set.reserve(&fake.index, 1000000), 0);
    assert_int_equal(hf__index_set.shrink(&fake.index), 0);
    assert_int_equal(fake.allocations, 0);
    assert_int_equal(fake_owned(&fake), 0);
    fake_close(&fake);
}

static void test_set_overwrites_garbage_in_a_new_entry(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 3);
    hf_ref node = fake_entry(&fake, "new", 3); /* links and hash are 0xA5 */
    assert_int_equal(hf__index_set.insert(&fake.index, node), 0);
    assert_int_equal(entry_at(&fake, node)->name_hash, 0);
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    fake_close(&fake);
}

static void test_set_prefix_scan_goes_straight_to_its_first_entry(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    struct hf__index_cursor cursor = {0};
    hf_ref node;
    open_with(&fake, 1000);
    for (unsigned i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "x/%u", i);
        fake_insert(&fake, name);
    }
    /* whoever walked over the other names to get there would meet this */
    hf_ref root = root_at(&fake)->root;
    assert_true(hf__index_name_at(&fake.seg, root)[0] != 'x');
    entry_at(&fake, root)->link[0] = UINT64_MAX;
    for (unsigned i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "x/%u", i);
        assert_int_equal(hf__index_set.next(&fake.index, &cursor, "x/", 2, &node), 1);
        assert_string_equal(hf__index_name_at(&fake.seg, node), name);
    }
    assert_int_equal(hf__index_set.next(&fake.index, &cursor, "x/", 2, &node), 0);
    fake_close(&fake);
}

static void test_set_swapped_neighbours_are_found_out_of_order(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 0);
    hf_ref a = fake_insert(&fake, "a"), b = fake_insert(&fake, "b");
    fake_insert(&fake, "c");
    *(char *)(fake.seg.base + a + sizeof(struct hf__index_node)) = 'b';
    *(char *)(fake.seg.base + b + sizeof(struct hf__index_node)) = 'a';
    assert_int_equal(fake_findings(&fake, false, NULL), 1);
    struct hf__index_cursor cursor = {0};
    hf_ref node;
    assert_int_equal(hf__index_set.next(&fake.index, &cursor, NULL, 0, &node), 1);
    assert_int_equal(hf__index_set.next(&fake.index, &cursor, NULL, 0, &node), HF_ECORRUPT);
    assert_string_equal(hf_last_error()->rule, "index.order");
    fake_close(&fake);
}

static void test_set_find_ends_on_a_looped_link(void **state)
{
    (void)state;
    struct fake fake;
    hf_ref out;
    open_with(&fake, 100);
    hf_ref root = root_at(&fake)->root;
    entry_at(&fake, root)->link[1] = root;
    assert_int_equal(fake_find(&fake, "zzz", &out), HF_ECORRUPT);
    assert_string_equal(hf_last_error()->rule, "index.links");
    assert_true(fake_findings(&fake, false, NULL) > 0);
    fake_close(&fake);
}

static void test_set_find_refuses_links_out_of_the_segment(void **state)
{
    (void)state;
    static const uint64_t bad[] = {8,
                                   24,
                                   SEGMENT_BYTES,
                                   SEGMENT_BYTES - 16,
                                   SEGMENT_BYTES + 16,
                                   UINT64_MAX,
                                   UINT64_MAX - 15,
                                   UINT64_C(1) << 63};
    struct fake fake;
    hf_ref out;
    open_with(&fake, 100);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hf_ref node = fake_entry(&fake, "zzz", 3);
        entry_at(&fake, root_at(&fake)->root)->link[1] = bad[i];
        assert_int_equal(fake_find(&fake, "zzz", &out), HF_ECORRUPT);
        assert_int_equal(hf__index_set.insert(&fake.index, node), HF_ECORRUPT);
        assert_true(fake_findings(&fake, false, NULL) > 0);
    }
    fake_close(&fake);
}

static void test_set_iteration_does_not_end_quietly_where_links_are_lost(void **state)
{
    (void)state;
    struct fake fake;
    struct hf__index_cursor cursor = {0};
    hf_ref node;
    int more;
    open_with(&fake, 100);
    hf_ref right = entry_at(&fake, root_at(&fake)->root)->link[1];
    entry_at(&fake, right)->link[2] = 0; /* doesn't answer any more */
    while ((more = hf__index_set.next(&fake.index, &cursor, NULL, 0, &node)) == 1)
        continue;
    assert_int_equal(more, HF_ECORRUPT);
    fake_close(&fake);
}

static void test_set_prefix_scan_yields_no_more_than_count(void **state)
{
    (void)state;
    struct fake fake;
    struct hf__index_cursor cursor = {0};
    hf_ref node;
    open_with(&fake, 100);
    root_at(&fake)->count = 1;
    assert_int_equal(hf__index_set.next(&fake.index, &cursor, "0", 1, &node), 1);
    assert_int_equal(hf__index_set.next(&fake.index, &cursor, "0", 1, &node), HF_ECORRUPT);
    fake_close(&fake);
}

static void test_set_erase_of_an_entry_whose_parent_denies_it_is_corrupt(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 100);
    hf_ref root = root_at(&fake)->root;
    hf_ref child = entry_at(&fake, root)->link[0];
    entry_at(&fake, root)->link[0] = 0;
    fake.edits = 0;
    assert_int_equal(hf__index_set.erase(&fake.index, child), HF_ECORRUPT);
    assert_int_equal(fake.edits, 0);
    assert_int_equal(root_at(&fake)->count, 100);
    fake_close(&fake);
}

static void test_set_erase_does_not_claim_success_where_the_heir_is_lost(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 100);
    hf_ref root = root_at(&fake)->root;
    hf_ref right = entry_at(&fake, root)->link[1];
    hf_ref heir_way = entry_at(&fake, right)->link[0];
    assert_int_not_equal(heir_way, 0);
    entry_at(&fake, heir_way)->link[2] = 0; /* doesn't answer any more */
    assert_int_equal(hf__index_set.erase(&fake.index, root), HF_ECORRUPT);
    assert_int_equal(root_at(&fake)->root, root);
    assert_int_equal(root_at(&fake)->count, 100);
    fake_close(&fake);
}

static void test_set_works_where_the_segment_is_hardly_larger_than_the_entries(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    hf_ref out;
    fake_open(&fake, &hf__index_set, 256 + 20 * 64); /* no entry has 64 KiB behind it */
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "%02u", i * 7 % 20);
        fake_insert(&fake, name);
    }
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "%02u", i);
        assert_int_equal(fake_find(&fake, name, &out), 0);
    }
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    fake_close(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_takes_no_memory_of_its_own),
        cmocka_unit_test(test_set_overwrites_garbage_in_a_new_entry),
        cmocka_unit_test(test_set_prefix_scan_goes_straight_to_its_first_entry),
        cmocka_unit_test(test_set_swapped_neighbours_are_found_out_of_order),
        cmocka_unit_test(test_set_find_ends_on_a_looped_link),
        cmocka_unit_test(test_set_find_refuses_links_out_of_the_segment),
        cmocka_unit_test(test_set_iteration_does_not_end_quietly_where_links_are_lost),
        cmocka_unit_test(test_set_prefix_scan_yields_no_more_than_count),
        cmocka_unit_test(test_set_erase_of_an_entry_whose_parent_denies_it_is_corrupt),
        cmocka_unit_test(test_set_erase_does_not_claim_success_where_the_heir_is_lost),
        cmocka_unit_test(test_set_works_where_the_segment_is_hardly_larger_than_the_entries),
    };
    return cmocka_run_group_tests_name("index set", tests, NULL, NULL);
}
