/* SPDX-License-Identifier: MIT */
/* conformance.c - the same cases on every kind of index, and the null index's own */
#include "fake_segment.h"

#include <stdio.h>
#include <string.h>

static const struct hf__index_ops *ops; /* the kind that the group is about */

#define SEGMENT_BYTES (UINT64_C(1) << 20)

static void open_with(struct fake *fake, unsigned entries)
{
    char name[32];
    fake_open(fake, ops, SEGMENT_BYTES);
    for (unsigned i = 0; i < entries; i++) {
        snprintf(name, sizeof name, "name/%u", i * 7919 % 100000);
        fake_insert(fake, name);
    }
}

static uint64_t count_of(const struct fake *fake)
{
    return hf__index_root_of(&fake->index)->count;
}

static uint64_t count_prefix(const struct fake *fake, const char *prefix)
{
    struct hf__index_cursor cursor = {0};
    hf_ref node;
    uint64_t count = 0;
    int more;
    size_t prefix_bytes = prefix != NULL ? strlen(prefix) : 0;
    while ((more = ops->next(&fake->index, &cursor, prefix, prefix_bytes, &node)) == 1) {
        assert_int_equal(
            memcmp(hf__index_name_at(&fake->seg, node), prefix != NULL ? prefix : "", prefix_bytes),
            0);
        count++;
    }
    assert_int_equal(more, 0);
    assert_int_equal(ops->next(&fake->index, &cursor, prefix, prefix_bytes, &node), 0);
    return count;
}

static void test_empty_index_finds_nothing_and_iterates_nowhere(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 0);
    hf_ref node = 77;
    assert_int_equal(fake_find(&fake, "a", &node), HF_ENOTFOUND);
    assert_int_equal(node, 77);
    assert_int_equal(count_prefix(&fake, NULL), 0);
    assert_int_equal(count_prefix(&fake, "a"), 0);
    assert_int_equal(ops->shrink(&fake.index), 0);
    assert_int_equal(ops->reserve(&fake.index, 0), 0);
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    assert_int_equal(fake_owned(&fake), 0);
    fake_close(&fake);
}

static void test_each_inserted_name_is_found_as_its_own_entry(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 0);
    hf_ref node[500], out;
    char name[32];
    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "%u", i * 7919 % 1009);
        node[i] = fake_insert(&fake, name);
        assert_int_equal(count_of(&fake), i + 1);
    }
    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "%u", i * 7919 % 1009);
        assert_int_equal(fake_find(&fake, name, &out), 0);
        assert_int_equal(out, node[i]);
    }
    uint64_t visited;
    assert_int_equal(fake_find(&fake, "1009", &out), HF_ENOTFOUND);
    assert_int_equal(fake_findings(&fake, true, &visited), 0);
    assert_int_equal(visited, 500);
    fake_close(&fake);
}

static void test_second_insert_of_a_name_changes_nothing_and_needs_no_room(void **state)
{
    (void)state;
    struct fake fake;
    for (unsigned entries = 1; entries < 70; entries++) {
        open_with(&fake, entries);
        hf_ref twin = fake_entry(&fake, "name/0", 6);
        uint64_t allocations = fake.allocations;
        fake_batch_begin(&fake);
        fake.edits = 0;
        fake.reserve_fails_in = fake.allocate_fails_in = 1;
        assert_int_equal(ops->insert(&fake.index, twin, NULL), HF_EEXIST);
        assert_int_equal(fake.edits, 0);
        assert_int_equal(fake.allocations, allocations);
        fake_batch_undo(&fake); /* compares the bytes */
        fake_close(&fake);
    }
}

static void test_names_are_unsigned_bytes_and_may_hold_nul(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t size_bytes;
    } ascending[] = {{"\0", 1},       {"\0\0", 2}, {"\x01", 1},    {"a", 1},    {"a\0", 2},
                     {"a\0b", 3},     {"aa", 2},   {"b", 1},       {"\x7f", 1}, {"\x80", 1},
                     {"\x80\x01", 2}, {"\xff", 1}, {"\xff\xff", 2}};
    enum { NAMES = sizeof ascending / sizeof ascending[0] };
    struct fake fake;
    hf_ref node[NAMES], out;
    open_with(&fake, 0);
    for (unsigned i = 0; i < NAMES; i++) {
        unsigned k = i * 5 % NAMES;
        node[k] = fake_entry(&fake, ascending[k].name, ascending[k].size_bytes);
        assert_int_equal(ops->insert(&fake.index, node[k], NULL), 0);
    }
    for (unsigned i = 0; i < NAMES; i++) {
        assert_int_equal(ops->find(&fake.index, ascending[i].name, ascending[i].size_bytes, &out),
                         0);
        assert_int_equal(out, node[i]);
    }
    struct hf__index_cursor cursor = {0};
    for (unsigned i = 0; i < NAMES; i++) {
        assert_int_equal(ops->next(&fake.index, &cursor, NULL, 0, &out), 1);
        if (ops->ordered)
            assert_int_equal(out, node[i]);
    }
    assert_int_equal(ops->next(&fake.index, &cursor, NULL, 0, &out), 0);
    fake_close(&fake);
}

static void test_compare_puts_a_name_before_those_it_begins(void **state)
{
    (void)state;
    assert_true(hf__index_compare("a", 1, "ab", 2) < 0);
    assert_true(hf__index_compare("ab", 2, "a", 1) > 0);
    assert_true(hf__index_compare("\x80", 1, "\x7f", 1) > 0);
    assert_true(hf__index_compare("b", 1, "ab", 2) > 0);
    assert_int_equal(hf__index_compare("ab", 2, "ab", 2), 0);
}

static void test_shortest_and_longest_names(void **state)
{
    (void)state;
    struct fake fake;
    static char name[65535];
    hf_ref longest, shorter, out;
    open_with(&fake, 3);
    memset(name, 'x', sizeof name);
    longest = fake_entry(&fake, name, sizeof name);
    shorter = fake_entry(&fake, name, sizeof name - 1);
    assert_int_equal(ops->insert(&fake.index, longest, NULL), 0);
    assert_int_equal(ops->insert(&fake.index, shorter, NULL), 0);
    fake_insert(&fake, "x");
    assert_int_equal(ops->find(&fake.index, name, sizeof name, &out), 0);
    assert_int_equal(out, longest);
    assert_int_equal(ops->find(&fake.index, name, sizeof name - 1, &out), 0);
    assert_int_equal(out, shorter);
    assert_int_equal(count_prefix(&fake, "xx"), 2);
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    fake_close(&fake);
}

static void test_erase_takes_out_just_that_entry(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    hf_ref out;
    open_with(&fake, 300);
    for (unsigned i = 0; i < 300; i++) {
        unsigned k = i * 101 % 300;
        snprintf(name, sizeof name, "name/%u", k * 7919 % 100000);
        assert_int_equal(fake_erase(&fake, name), 0);
        assert_int_equal(fake_find(&fake, name, &out), HF_ENOTFOUND);
        assert_int_equal(count_of(&fake), 299 - i);
        assert_int_equal(count_prefix(&fake, NULL), 299 - i);
        if (i % 10 == 0)
            assert_int_equal(fake_findings(&fake, true, NULL), 0);
    }
    fake_close(&fake);
}

static void test_erase_of_what_is_not_in_it_changes_nothing(void **state)
{
    (void)state;
    struct fake fake;
    for (unsigned entries = 0; entries < 40; entries += 13) {
        open_with(&fake, entries);
        hf_ref stranger = fake_entry(&fake, "stranger", 8);
        hf_ref twin = fake_entry(&fake, "name/0", 6);
        memset(fake.seg.base + stranger, 0, 28);
        memset(fake.seg.base + twin, 0, 28);
        fake_batch_begin(&fake);
        fake.edits = 0;
        assert_int_equal(ops->erase(&fake.index, stranger, NULL), HF_ECORRUPT);
        assert_int_equal(ops->erase(&fake.index, twin, NULL), HF_ECORRUPT);
        assert_int_equal(ops->erase(&fake.index, 0, NULL), HF_ECORRUPT);
        assert_int_equal(ops->erase(&fake.index, 17, NULL), HF_ECORRUPT);
        assert_int_equal(ops->erase(&fake.index, SEGMENT_BYTES - 16, NULL), HF_ECORRUPT);
        assert_int_equal(ops->erase(&fake.index, UINT64_MAX - 15, NULL), HF_ECORRUPT);
        assert_int_equal(fake.edits, 0);
        fake_batch_undo(&fake);
        fake_close(&fake);
    }
}

static void test_iteration_meets_each_entry_once_and_in_order(void **state)
{
    (void)state;
    struct fake fake;
    static unsigned char met[SEGMENT_BYTES / 16];
    open_with(&fake, 1000);
    memset(met, 0, sizeof met);
    struct hf__index_cursor cursor = {0};
    hf_ref node, previous = 0;
    unsigned count = 0;
    while (ops->next(&fake.index, &cursor, NULL, 0, &node) == 1) {
        assert_int_equal(met[node / 16]++, 0);
        if (ops->ordered && previous != 0)
            assert_true(hf__index_compare(hf__index_name_at(&fake.seg, previous),
                                          hf__index_node_at(&fake.seg, previous)->name_bytes,
                                          hf__index_name_at(&fake.seg, node),
                                          hf__index_node_at(&fake.seg, node)->name_bytes) < 0);
        previous = node;
        count++;
    }
    assert_int_equal(count, 1000);
    fake_close(&fake);
}

static void test_prefix_iteration_yields_those_and_no_others(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "a/",  "a/b",  "a/b/c",    "a/c", "a0",
                                        "b", "b/a", "\xff", "\xff\xff", "zz",  "z"};
    struct fake fake;
    open_with(&fake, 0);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        fake_insert(&fake, names[i]);
    assert_int_equal(count_prefix(&fake, NULL), 12);
    assert_int_equal(count_prefix(&fake, ""), 12);
    assert_int_equal(count_prefix(&fake, "a"), 6);
    assert_int_equal(count_prefix(&fake, "a/"), 4);
    assert_int_equal(count_prefix(&fake, "a/b"), 2);
    assert_int_equal(count_prefix(&fake, "a/b/c"), 1);
    assert_int_equal(count_prefix(&fake, "a/b/c/d"), 0);
    assert_int_equal(count_prefix(&fake, "a."), 0);
    assert_int_equal(count_prefix(&fake, "\x01"), 0);
    assert_int_equal(count_prefix(&fake, "\xff"), 2);
    assert_int_equal(count_prefix(&fake, "\xff\xff\xff"), 0);
    assert_int_equal(count_prefix(&fake, "z"), 2);
    fake_close(&fake);
}

/* Runs the operation with the k-th reservation (allocation) failing, for k = 1, 2, ... until none
 * fails any more; each failure must leave no trace. Returns how many failed. */
static unsigned fail_each(struct fake *fake, int (*operation)(struct fake *, hf_ref), hf_ref node,
                          uint64_t *fails_in, int expected)
{
    for (uint64_t k = 1;; k++) {
        uint64_t blocks_live = fake->blocks_live;
        fake_batch_begin(fake);
        fake->edits = 0;
        *fails_in = k;
        int error = operation(fake, node);
        *fails_in = 0;
        if (error == 0) {
            fake_batch_keep(fake);
            return (unsigned)k - 1;
        }
        assert_int_equal(error, expected);
        assert_int_equal(fake->edits, 0);
        assert_int_equal(fake->blocks_live, blocks_live);
        fake_batch_undo(fake);
    }
}

static int op_insert(struct fake *fake, hf_ref node)
{
    return ops->insert(&fake->index, node, NULL);
}

static int op_erase(struct fake *fake, hf_ref node)
{
    return ops->erase(&fake->index, node, NULL);
}

static void test_refused_reservation_leaves_no_trace(void **state)
{
    (void)state;
    struct fake fake;
    hf_ref node[200];
    char name[32];
    unsigned failures = 0;
    open_with(&fake, 0);
    for (unsigned i = 0; i < 200; i++) {
        int size = snprintf(name, sizeof name, "%u", i * 7919 % 1009);
        node[i] = fake_entry(&fake, name, (size_t)size);
        failures += fail_each(&fake, op_insert, node[i], &fake.reserve_fails_in, HF_ENOSPC);
    }
    /* hash goes on without a new bucket, and flat without merging, where there is no room for it */
    assert_true(ops->kind == HF_INDEX_HASH   ? failures >= 12
                : ops->kind == HF_INDEX_FLAT ? failures >= 8
                                             : failures == 200);
    assert_int_equal(fake.blocks_live, 200 + fake_owned(&fake));
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    for (unsigned i = 0; i < 200; i++)
        assert_true(fail_each(&fake, op_erase, node[i], &fake.reserve_fails_in, HF_ENOSPC) > 0);
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    assert_int_equal(count_of(&fake), 0);
    fake_close(&fake);
}

static void test_refused_allocation_leaves_no_trace(void **state)
{
    (void)state;
    struct fake fake;
    unsigned failures = 0;
    char name[32];
    open_with(&fake, 0);
    for (unsigned i = 0; i < 200; i++) {
        int size = snprintf(name, sizeof name, "%u", i * 7919 % 1009);
        hf_ref node = fake_entry(&fake, name, (size_t)size);
        failures += fail_each(&fake, op_insert, node, &fake.allocate_fails_in, HF_EFULL);
    }
    assert_true(failures > 0);
    assert_int_equal(fake.blocks_live, 200 + fake_owned(&fake));
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    fake_close(&fake);
}

static void test_reserve_leaves_nothing_to_allocate_for_that_many(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    for (unsigned before = 0; before < 60; before += 29) {
        open_with(&fake, before);
        assert_int_equal(ops->reserve(&fake.index, 777), 0);
        assert_int_equal(fake_findings(&fake, true, NULL), 0);
        uint64_t allocations = fake.allocations;
        for (unsigned i = before; i < 777; i++) {
            snprintf(name, sizeof name, "more/%u", i);
            fake_insert(&fake, name);
        }
        if (ops->kind != HF_INDEX_SET) /* which takes a page when it needs one */
            assert_int_equal(fake.allocations, allocations);
        allocations = fake.allocations;
        assert_int_equal(ops->reserve(&fake.index, 100), 0);
        assert_int_equal(fake.allocations, allocations);
        assert_int_equal(fake_findings(&fake, true, NULL), 0);
        fake_close(&fake);
    }
}

static void test_reserve_beyond_the_segment_is_refused_with_the_entries_intact(void **state)
{
    (void)state;
    struct fake fake;
    static const uint64_t counts[] = {UINT64_C(1) << 24, UINT64_C(1) << 33, UINT64_C(1) << 61,
                                      UINT64_MAX};
    for (unsigned i = 0; i < 4; i++) {
        uint64_t visited;
        open_with(&fake, 50);
        int error = ops->reserve(&fake.index, counts[i]);
        assert_int_equal(error, ops->kind == HF_INDEX_SET ? 0 : HF_EFULL);
        assert_int_equal(fake_findings(&fake, true, &visited), 0);
        assert_int_equal(visited, 50);
        fake_close(&fake);
    }
}

static void test_shrink_gives_back_all_memory_of_an_emptied_index(void **state)
{
    (void)state;
    struct fake fake;
    char name[32];
    open_with(&fake, 600);
    for (unsigned i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "name/%u", i * 7919 % 100000);
        assert_int_equal(fake_erase(&fake, name), 0);
        if (i % 97 == 0) {
            assert_int_equal(ops->shrink(&fake.index), 0);
            assert_int_equal(fake_findings(&fake, true, NULL), 0);
        }
    }
    assert_int_equal(ops->shrink(&fake.index), 0);
    assert_int_equal(fake.blocks_live, 0);
    assert_int_equal(fake_owned(&fake), 0);
    const struct hf__index_root empty = {0};
    assert_memory_equal(hf__index_root_of(&fake.index), &empty, sizeof empty);
    fake_insert(&fake, "again");
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    fake_close(&fake);
}

static void owned_is_live(void *user, hf_ref block)
{
    assert_true(fake_is_block((const struct fake *)user, block));
}

static void test_blocks_names_every_block_taken_and_no_other(void **state)
{
    (void)state;
    struct fake fake;
    for (unsigned entries = 0; entries < 500; entries += 83) {
        open_with(&fake, entries);
        ops->blocks(&fake.index, owned_is_live, &fake);
        assert_int_equal(fake_owned(&fake) + entries, fake.blocks_live);
        fake_close(&fake);
    }
}

static bool note_asked(void *user, hf_ref node)
{
    ((unsigned char *)user)[node / 16]++;
    return true;
}

static void test_check_asks_the_caller_about_every_entry_once(void **state)
{
    (void)state;
    static unsigned char asked[SEGMENT_BYTES / 16];
    struct fake fake;
    struct hf__check check;
    struct hf__index_cursor cursor = {0};
    hf_ref node;
    open_with(&fake, 200);
    memset(asked, 0, sizeof asked);
    hf__check_init(&check, NULL, 0);
    assert_int_equal(ops->check(&fake.index, 1000, &check, note_asked, asked), 200);
    assert_int_equal(check.report.findings, 0);
    while (ops->next(&fake.index, &cursor, NULL, 0, &node) == 1)
        assert_int_equal(asked[node / 16], 1);
    fake_close(&fake);
}

static void test_wrong_count_is_found(void **state)
{
    (void)state;
    struct fake fake;
    open_with(&fake, 20);
    struct hf__index_root *root =
        (struct hf__index_root *)(void *)(fake.seg.base + fake.index.root);
    root->count--;
    assert_true(fake_findings(&fake, false, NULL) > 0);
    root->count += 2;
    assert_true(fake_findings(&fake, false, NULL) > 0);
    fake_close(&fake);
}

static void test_check_visits_no_more_than_it_may(void **state)
{
    (void)state;
    struct fake fake;
    struct hf__check check;
    open_with(&fake, 20);
    hf__check_init(&check, NULL, 0);
    assert_int_equal(ops->check(&fake.index, 5, &check, NULL, NULL), 5);
    assert_true(check.report.findings > 0);
    hf__check_init(&check, NULL, 0);
    assert_int_equal(ops->check(&fake.index, 20, &check, NULL, NULL), 20);
    assert_int_equal(check.report.findings, 0);
    fake_close(&fake);
}

static void test_without_a_door_no_index_takes_names(void **state)
{
    (void)state;
    struct fake fake;
    hf_ref out;
    open_with(&fake, 0);
    fake.seg.door = NULL;
    hf_ref node = fake_entry(&fake, "a", 1);
    assert_int_equal(ops->insert(&fake.index, node, NULL), HF_EFULL);
    assert_int_equal(fake_find(&fake, "a", &out), HF_ENOTFOUND);
    fake_close(&fake);
}

static void test_null_index_refuses_names_and_holds_none(void **state)
{
    (void)state;
    struct fake fake;
    ops = &hf__index_null;
    open_with(&fake, 0);
    hf_ref node = fake_entry(&fake, "a", 1), out = 5;
    fake_batch_begin(&fake);
    fake.edits = 0;
    assert_int_equal(ops->insert(&fake.index, node, NULL), HF_ENOINDEX);
    assert_int_equal(ops->find(&fake.index, "a", 1, &out), HF_ENOTFOUND);
    assert_int_equal(out, 5);
    assert_int_equal(ops->erase(&fake.index, node, NULL), HF_ECORRUPT);
    assert_int_equal(ops->reserve(&fake.index, 1000), 0);
    assert_int_equal(ops->shrink(&fake.index), 0);
    assert_int_equal(count_prefix(&fake, NULL), 0);
    assert_int_equal(fake_owned(&fake), 0);
    assert_int_equal(fake.edits, 0);
    assert_int_equal(fake_findings(&fake, true, NULL), 0);
    fake_batch_undo(&fake);
    for (unsigned i = 0; i < sizeof(struct hf__index_root); i++) {
        fake.seg.base[fake.index.root + i] ^= 0x10;
        assert_true(fake_findings(&fake, false, NULL) > 0);
        fake.seg.base[fake.index.root + i] ^= 0x10;
    }
    fake_close(&fake);
}

static void test_by_kind_knows_four_kinds(void **state)
{
    (void)state;
    assert_ptr_equal(hf__index_by_kind(HF_INDEX_SET), &hf__index_set);
    assert_ptr_equal(hf__index_by_kind(HF_INDEX_HASH), &hf__index_hash);
    assert_ptr_equal(hf__index_by_kind(HF_INDEX_FLAT), &hf__index_flat);
    assert_ptr_equal(hf__index_by_kind(HF_INDEX_NULL), &hf__index_null);
    assert_null(hf__index_by_kind(4));
    assert_null(hf__index_by_kind(UINT32_MAX));
}

static void test_node_ok_refuses_what_reaches_out_of_the_segment(void **state)
{
    (void)state;
    struct fake fake;
    ops = &hf__index_set;
    open_with(&fake, 0);
    hf_ref node = SEGMENT_BYTES - 32;
    struct hf__index_node *entry = (struct hf__index_node *)(void *)(fake.seg.base + node);
    entry->name_bytes = 15;
    assert_true(hf__index_node_ok(&fake.seg, node));
    entry->name_bytes = 16; /* the NUL would lie behind the end */
    assert_false(hf__index_node_ok(&fake.seg, node));
    assert_false(hf__index_node_ok(&fake.seg, 0));
    assert_false(hf__index_node_ok(&fake.seg, node - 8));
    assert_false(hf__index_node_ok(&fake.seg, SEGMENT_BYTES - 16));
    assert_false(hf__index_node_ok(&fake.seg, SEGMENT_BYTES));
    assert_false(hf__index_node_ok(&fake.seg, UINT64_MAX - 15));
    fake_close(&fake);
}

int main(void)
{
    const struct CMUnitTest each[] = {
        cmocka_unit_test(test_empty_index_finds_nothing_and_iterates_nowhere),
        cmocka_unit_test(test_each_inserted_name_is_found_as_its_own_entry),
        cmocka_unit_test(test_second_insert_of_a_name_changes_nothing_and_needs_no_room),
        cmocka_unit_test(test_names_are_unsigned_bytes_and_may_hold_nul),
        cmocka_unit_test(test_shortest_and_longest_names),
        cmocka_unit_test(test_erase_takes_out_just_that_entry),
        cmocka_unit_test(test_erase_of_what_is_not_in_it_changes_nothing),
        cmocka_unit_test(test_iteration_meets_each_entry_once_and_in_order),
        cmocka_unit_test(test_prefix_iteration_yields_those_and_no_others),
        cmocka_unit_test(test_refused_reservation_leaves_no_trace),
        cmocka_unit_test(test_refused_allocation_leaves_no_trace),
        cmocka_unit_test(test_reserve_leaves_nothing_to_allocate_for_that_many),
        cmocka_unit_test(test_reserve_beyond_the_segment_is_refused_with_the_entries_intact),
        cmocka_unit_test(test_shrink_gives_back_all_memory_of_an_emptied_index),
        cmocka_unit_test(test_blocks_names_every_block_taken_and_no_other),
        cmocka_unit_test(test_check_asks_the_caller_about_every_entry_once),
        cmocka_unit_test(test_wrong_count_is_found),
        cmocka_unit_test(test_check_visits_no_more_than_it_may),
        cmocka_unit_test(test_without_a_door_no_index_takes_names),
    };
    const struct CMUnitTest once[] = {
        cmocka_unit_test(test_compare_puts_a_name_before_those_it_begins),
        cmocka_unit_test(test_null_index_refuses_names_and_holds_none),
        cmocka_unit_test(test_by_kind_knows_four_kinds),
        cmocka_unit_test(test_node_ok_refuses_what_reaches_out_of_the_segment),
    };
    int failed = 0;
    ops = &hf__index_set;
    failed += cmocka_run_group_tests_name("index conformance: set", each, NULL, NULL);
    ops = &hf__index_hash;
    failed += cmocka_run_group_tests_name("index conformance: hash", each, NULL, NULL);
    ops = &hf__index_flat;
    failed += cmocka_run_group_tests_name("index conformance: flat", each, NULL, NULL);
    failed += cmocka_run_group_tests_name("index conformance: once", once, NULL, NULL);
    return failed;
}
