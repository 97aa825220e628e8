/* SPDX-License-Identifier: MIT */
/* test_set.c - what is particular to the set: pages come and go, order, and damaged pages */
#include "fake_segment.h"

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

static struct hf__set_page *page_at(struct fake *fake, hf_ref page)
{
    return (struct hf__set_page *)(void *)(fake->seg.base + page);
}

static struct hf__set_page *top_page(struct fake *fake)
{
    return page_at(fake, root_at(fake)->root);
}

static struct hf__set_page *first_leaf(struct fake *fake)
{
    struct hf__set_page *page = top_page(fake);
    while (page->level != 0)
        page = page_at(fake, page->slot[0].ref);
    return page;
}

/* All names in order, as next() yields them, are the sorted ones. */
static void expect_sorted(struct fake *fake, uint64_t expected)
{
    struct hf__index_cursor cursor = {0};
    hf_ref node, previous = 0;
    uint64_t count = 0, visited;
    int more;
    for (; (more = hf__index_set.next(&fake->index, &cursor, NULL, 0, &node)) == 1; count++) {
        if (previous != 0)
            assert_true(strcmp(hf__index_name_at(&fake->seg, previous),
                               hf__index_name_at(&fake->seg, node)) < 0);
        previous = node;
    }
    assert_int_equal(more, 0);
    assert_int_equal(count, expected);
    assert_int_equal(fake_findings(fake, true, &visited), 0);
    assert_int_equal(visited, expected);
}

static void test_set_expect_asks_for_the_entry_two_names_before_its_turn(void **state)
{
    (void)state;
    enum { ENTRIES = 3000, LATER = HF__INDEX_NAMES_AHEAD - 2 };
    static struct hf__index_ahead ahead;
    struct fake fake;
    char name[32];
    hf_ref out;
    open_with(&fake, ENTRIES);
    ahead.kept = 0;
    fake.edited_bytes = 0;
    for (unsigned i = 0; i < ENTRIES; i++) {
        snprintf(name, sizeof name, "%05u", i * 7919 % 10007);
        const hf_ref node = hf__index_set.expect(&fake.index, &ahead, name, strlen(name));
        if (i < LATER) {
            assert_int_equal(node, 0);
            continue;
        }
        snprintf(name, sizeof name, "%05u", (i - LATER) * 7919 % 10007);
        assert_int_equal(fake_find(&fake, name, &out), 0);
        assert_int_equal(node, out);
    }
    assert_int_equal(fake.edited_bytes, 0);
    fake_close(&fake);
}

/* A way that leads astray on purpose shows that the lookup goes by it. */
static void test_set_goes_on_where_expect_has_got_to(void **state)
{
    (void)state;
    static struct hf__index_ahead ahead;
    struct fake fake;
    char name[32];
    hf_ref out;
    open_with(&fake, 3000);
    ahead.kept = 0;
    for (unsigned i = 0; i <= HF__INDEX_NAMES_AHEAD; i++) {
        snprintf(name, sizeof name, "%05u", i * 7919 % 10007);
        (void)hf__index_set.expect(&fake.index, &ahead, name, strlen(name));
    }
    struct hf__set_page *const top = top_page(&fake);
    assert_true(top->level > 0);
    top->array.self++; /* who comes from the top finds damage */
    assert_int_equal(fake_find(&fake, "00000", &out), HF_ECORRUPT);
    fake.index.ahead = &ahead;
    assert_int_equal(fake_find(&fake, "00000", &out), 0);
    assert_int_equal(fake_find(&fake, "07919", &out), 0);
    ahead.kept = 0;
    assert_int_equal(fake_find(&fake, "00000", &out), HF_ECORRUPT);
    top->array.self--;
    fake_close(&fake);
}

static void test_set_finds_the_next_name_in_the_page_of_the_last_two(void **state)
{
    (void)state;
    static struct hf__index_ahead ahead;
    struct hf__index_place place;
    struct fake fake;
    hf_ref out;
    fake_open(&fake, &hf__index_set, SEGMENT_BYTES);
    char name[32];
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%05u", i * 10);
        fake_insert(&fake, name);
    }
    ahead.kept = 0;
    fake.index.ahead = &ahead;
    assert_int_equal(hf__index_set.seek(&fake.index, "09991", 5, &place, &out), HF_ENOTFOUND);
    assert_int_equal(hf__index_set.seek(&fake.index, "09992", 5, &place, &out), HF_ENOTFOUND);
    top_page(&fake)->array.self++;
    assert_int_equal(hf__index_set.seek(&fake.index, "09980", 5, &place, &out), 0);
    assert_int_equal(hf__index_set.seek(&fake.index, "09993", 5, &place, &out), HF_ENOTFOUND);
    assert_int_equal(hf__index_set.seek(&fake.index, "10000", 5, &place, &out), HF_ECORRUPT);
    assert_int_equal(hf__index_set.seek(&fake.index, "05000", 5, &place, &out), HF_ECORRUPT);
    top_page(&fake)->array.self--;
    fake_close(&fake);
}

static void test_set_gives_its_pages_back_as_entries_go(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    open_with(&fake, 1000);
    const uint64_t most = fake_owned(&fake);
    assert_true(most > 1000 / 60 && most < 1000 / 25);
    for (unsigned i = 0; i < 900; i++) {
        snprintf(name, sizeof name, "%05u", i * 7919 % 10007);
        assert_int_equal(fake_erase(&fake, name), 0);
    }
    expect_sorted(&fake, 100);
    assert_true(fake_owned(&fake) <= 100 / 15 + 4);
    for (unsigned i = 900; i < 1000; i++) {
        snprintf(name, sizeof name, "%05u", i * 7919 % 10007);
        assert_int_equal(fake_erase(&fake, name), 0);
        assert_int_equal(fake_findings(&fake, true, NULL), 0);
    }
    assert_int_equal(fake_owned(&fake), 0);
    assert_int_equal(fake.blocks_live, 0);
    assert_int_equal(root_at(&fake)->root, 0);
    fake_close(&fake);
}

static void test_set_fills_pages_well_when_names_come_in_order(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    for (unsigned down = 0; down < 2; down++) {
        fake_open(&fake, &hf__index_set, SEGMENT_BYTES);
        for (unsigned i = 0; i < 3000; i++) {
            snprintf(name, sizeof name, "obj/%08u", down ? 3000 - i : i);
            fake_insert(&fake, name);
        }
        expect_sorted(&fake, 3000);
        assert_int_equal(top_page(&fake)->prefix_bytes, 8); /* keys tell names apart */
        assert_true(first_leaf(&fake)->prefix_bytes >= 8);
        assert_true(fake_owned(&fake) < (down ? 3000 / 25 : 3000 / 42));
        fake_close(&fake);
    }
}

static void test_set_no_insert_announces_more_than_its_pages(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    uint64_t most = 0;
    fake_open(&fake, &hf__index_set, UINT64_C(16) << 20);
    for (unsigned i = 0; i < 50000; i++) {
        snprintf(name, sizeof name, "obj/%08u", i * 7919 % 100003);
        fake.edited_bytes = 0;
        fake_insert(&fake, name);
        if (fake.edited_bytes > most)
            most = fake.edited_bytes;
    }
    assert_int_equal(top_page(&fake)->level, 2);
    assert_true(most <= 3 * 2 * 1024 + 1024 + 2 * 64 + 32);
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    fake_close(&fake);
}

/* The names of a page may have more in common than its prefix can hold, or nothing at all once a
 * stranger comes; a name may be the beginning of another. */
static void test_set_orders_names_of_every_shape(void **state)
{
    (void)state;
    struct fake fake;
    struct fake_random random = {.state = 11};
    char name[160];
    hf_ref out;
    unsigned count = 0;
    fake_open(&fake, &hf__index_set, UINT64_C(4) << 20);
    for (unsigned i = 0; i < 6000; i++) {
        unsigned length = 0, same = (unsigned)fake_random_below(&random, 5) * 15;
        while (length < same)
            name[length++] = 'p';
        for (uint64_t more = fake_random_below(&random, 30); more > 0; more--)
            name[length++] = "p\x01\xff" "az"[fake_random_below(&random, 5)];
        name[length++] = 'p';
        name[length] = '\0';
        if (fake_find(&fake, name, &out) == 0) {
            if (i % 3 == 0) {
                assert_int_equal(fake_erase(&fake, name), 0);
                count--;
            }
            continue;
        }
        fake_insert(&fake, name);
        count++;
        if (i % 400 == 0)
            assert_int_equal(fake_findings(&fake, true, NULL), 0);
    }
    struct hf__index_cursor cursor = {0};
    const struct hf__index_node *previous = NULL;
    while (hf__index_set.next(&fake.index, &cursor, NULL, 0, &out) == 1) {
        const struct hf__index_node *entry = entry_at(&fake, out);
        assert_true(previous == NULL || hf__index_compare(previous + 1, previous->name_bytes,
                                                          entry + 1, entry->name_bytes) < 0);
        previous = entry;
        count--;
    }
    assert_int_equal(count, 0);
    fake_close(&fake);
}

static void test_set_insert_without_a_page_to_be_had_changes_nothing(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    unsigned refused = 0;
    open_with(&fake, 0);
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "%05u", i * 7919 % 10007);
        hf_ref node = fake_entry(&fake, name, strlen(name));
        for (unsigned fails_in = 1;; fails_in++) {
            fake.allocate_fails_in = fails_in;
            fake.edits = 0;
            int error = hf__index_set.insert(&fake.index, node, NULL);
            if (error == 0)
                break;
            assert_int_equal(error, HF_EFULL);
            assert_int_equal(fake.edits, 0);
            assert_int_equal(root_at(&fake)->count, i);
            refused++;
        }
    }
    fake.allocate_fails_in = 0;
    assert_true(refused > 2000 / 60);
    expect_sorted(&fake, 2000);
    assert_int_equal(fake.blocks_live, 2000 + fake_owned(&fake));
    fake_close(&fake);
}

static void test_set_wrong_key_prefix_or_next_is_found(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 300);
    assert_int_equal(top_page(&fake)->level, 1);
    struct hf__set_page *leaf = first_leaf(&fake), *top = top_page(&fake);
    leaf->slot[3].key++;
    assert_true(fake_findings(&fake, false, NULL) > 0);
    leaf->slot[3].key--;
    uint64_t key = top->slot[2].key;
    top->slot[2].key = top->slot[3].key + 1;
    assert_true(fake_findings(&fake, false, NULL) > 0);
    top->slot[2].key = 1;
    assert_true(fake_findings(&fake, false, NULL) > 0);
    top->slot[2].key = key;
    leaf->prefix[0] ^= 1;
    assert_true(fake_findings(&fake, false, NULL) > 0);
    leaf->prefix[0] ^= 1;
    uint64_t next = leaf->next;
    leaf->next = page_at(&fake, next)->next;
    assert_true(fake_findings(&fake, false, NULL) > 0);
    leaf->next = next;
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    fake_close(&fake);
}

static void test_set_overwrites_garbage_in_a_new_entry(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 3);
    hf_ref node = fake_entry(&fake, "new", 3); /* links and hash are 0xA5 */
    assert_int_equal(hf__index_set.insert(&fake.index, node, NULL), 0);
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
    top_page(&fake)->slot[0].ref = UINT64_MAX;
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
    assert_true(fake_findings(&fake, false, NULL) > 0);
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
    struct hf__set_page *top = top_page(&fake);
    assert_int_equal(top->level, 1);
    top->slot[top->count - 1].ref = root_at(&fake)->root;
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
        top_page(&fake)->slot[top_page(&fake)->count - 1].ref = bad[i];
        assert_int_equal(fake_find(&fake, "zzz", &out), HF_ECORRUPT);
        assert_int_equal(hf__index_set.insert(&fake.index, node, NULL), HF_ECORRUPT);
        assert_true(fake_findings(&fake, false, NULL) > 0);
    }
    fake_close(&fake);
}

static void test_set_iteration_does_not_end_quietly_where_pages_are_lost(void **state)
{
    (void)state;
    struct fake fake;
    struct hf__index_cursor cursor = {0};
    hf_ref node;
    int more;
    open_with(&fake, 100);
    first_leaf(&fake)->next = 0;
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

static void test_set_erase_of_an_entry_that_its_page_denies_is_corrupt(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 100);
    struct hf__set_page *leaf = first_leaf(&fake);
    hf_ref lost = leaf->slot[leaf->count - 1].ref;
    leaf->count--;
    fake.edits = 0;
    assert_int_equal(hf__index_set.erase(&fake.index, lost, NULL), HF_ECORRUPT);
    assert_int_equal(fake.edits, 0);
    assert_int_equal(root_at(&fake)->count, 100);
    fake_close(&fake);
}

static void test_set_erase_does_not_join_with_a_page_that_is_lost(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 100);
    struct hf__set_page *leaf = first_leaf(&fake);
    while (leaf->count > 15)
        assert_int_equal(hf__index_set.erase(&fake.index, leaf->slot[0].ref, NULL), 0);
    const uint64_t count = root_at(&fake)->count;
    page_at(&fake, leaf->next)->array.self++;
    fake.edits = 0;
    assert_int_equal(hf__index_set.erase(&fake.index, leaf->slot[0].ref, NULL), HF_ECORRUPT);
    assert_int_equal(fake.edits, 0);
    assert_int_equal(root_at(&fake)->count, count);
    fake_close(&fake);
}

static void test_set_works_where_the_segment_is_hardly_larger_than_the_entries(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    hf_ref out;
    fake_open(&fake, &hf__index_set, 1024 + 20 * 64 + 512); /* no entry has 64 KiB behind it */
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
        cmocka_unit_test(test_set_expect_asks_for_the_entry_two_names_before_its_turn),
        cmocka_unit_test(test_set_goes_on_where_expect_has_got_to),
        cmocka_unit_test(test_set_finds_the_next_name_in_the_page_of_the_last_two),
        cmocka_unit_test(test_set_gives_its_pages_back_as_entries_go),
        cmocka_unit_test(test_set_fills_pages_well_when_names_come_in_order),
        cmocka_unit_test(test_set_no_insert_announces_more_than_its_pages),
        cmocka_unit_test(test_set_orders_names_of_every_shape),
        cmocka_unit_test(test_set_insert_without_a_page_to_be_had_changes_nothing),
        cmocka_unit_test(test_set_wrong_key_prefix_or_next_is_found),
        cmocka_unit_test(test_set_overwrites_garbage_in_a_new_entry),
        cmocka_unit_test(test_set_prefix_scan_goes_straight_to_its_first_entry),
        cmocka_unit_test(test_set_swapped_neighbours_are_found_out_of_order),
        cmocka_unit_test(test_set_find_ends_on_a_looped_link),
        cmocka_unit_test(test_set_find_refuses_links_out_of_the_segment),
        cmocka_unit_test(test_set_iteration_does_not_end_quietly_where_pages_are_lost),
        cmocka_unit_test(test_set_prefix_scan_yields_no_more_than_count),
        cmocka_unit_test(test_set_erase_of_an_entry_that_its_page_denies_is_corrupt),
        cmocka_unit_test(test_set_erase_does_not_join_with_a_page_that_is_lost),
        cmocka_unit_test(test_set_works_where_the_segment_is_hardly_larger_than_the_entries),
    };
    return cmocka_run_group_tests_name("index set", tests, NULL, NULL);
}
