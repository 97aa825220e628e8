/* SPDX-License-Identifier: MIT */
/* test_best_fit.c - what is special in best_fit: which block is chosen, and the tree of free
 * blocks */
#include "heap_fixture.h"

#include "base/avl.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SIZE (256 * 1024)

static struct fixture f;
static hf_ref holes[64];

static int open_it(void **state)
{
    (void)state;
    fixture_open(&f, &hf__alloc_best_fit, SIZE, SIZE);
    return 0;
}

static int close_it(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

/* Free blocks of those payloads, with live ones between. */
static void make_holes(const uint64_t *sizes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        holes[i] = fixture_allocate(&f, sizes[i]);
        fixture_allocate(&f, 1);
    }
    for (unsigned i = 0; i < count; i++)
        fixture_free(&f, holes[i * 5 % count]);
    assert_int_equal(fixture_check(&f), 0);
}

static struct hf__avl_node *node(hf_ref payload)
{
    return (struct hf__avl_node *)(f.seg.base + payload);
}

static uint64_t tree_root(void)
{
    return hf__heap_root_of(&f.heap)->free_set;
}

static void test_best_fit_takes_the_smallest_that_is_enough(void **state)
{
    static const uint64_t sizes[] = {4000, 320, 96, 640, 1600, 160, 32};
    (void)state;
    make_holes(sizes, 7);
    assert_int_equal(fixture_allocate(&f, 33), holes[2]);
    assert_int_equal(fixture_allocate(&f, 100), holes[5]);
    assert_int_equal(fixture_allocate(&f, 640), holes[3]);
    assert_int_equal(fixture_allocate(&f, 641), holes[4]);
    assert_int_equal(fixture_check(&f), 0);
}

static void test_best_fit_takes_the_lowest_of_equal_ones(void **state)
{
    uint64_t sizes[31];
    (void)state;
    for (unsigned i = 0; i < 31; i++)
        sizes[i] = 200;
    make_holes(sizes, 31);
    for (unsigned i = 0; i < 31; i++)
        assert_int_equal(fixture_allocate(&f, 193), holes[i]);
}

static void test_best_fit_searches_on_for_an_aligned_hole_before_growing(void **state)
{
    hf_ref good, out = 0;
    (void)state;
    /* forty holes of the right size at the wrong place, then one at the right place */
    for (unsigned i = 0; i < 40; i++) {
        holes[i] = fixture_allocate_aligned(&f, 512, 1024, 16);
        fixture_allocate(&f, 1);
    }
    good = fixture_allocate_aligned(&f, 512, 1024, 0);
    while (fixture_try(&f, 32, &out) == 0)
        continue;
    for (unsigned i = 0; i < 40; i++)
        fixture_free(&f, holes[i]);
    fixture_free(&f, good);
    assert_int_equal(fixture_allocate_aligned(&f, 512, 1024, 0), good);
    assert_int_equal(fixture_check(&f), 0);
}

static void test_best_fit_rebuild_gives_a_tree_of_least_height(void **state)
{
    uint64_t sizes[63];
    (void)state;
    for (unsigned i = 0; i < 63; i++)
        sizes[i] = 32 + i * 29 % 63 * 16;
    make_holes(sizes, 63);
    assert_int_equal(f.heap.algorithm->rebuild(&f.heap), 0);
    assert_int_equal(fixture_check(&f), 0);
    unsigned height = 0;
    for (uint64_t n = tree_root(); n != 0; n = node(n)->left)
        height++;
    assert_int_equal(height, 6);
    for (unsigned i = 0; i < 63; i++) /* erases from it */
        fixture_allocate(&f, sizes[i]);
    assert_int_equal(hf__heap_root_of(&f.heap)->free_blocks, 0);
    assert_int_equal(fixture_check(&f), 0);
}

static void test_best_fit_unanswered_node_is_an_error_before_a_change(void **state)
{
    static const uint64_t sizes[] = {100, 200, 300, 400, 500, 600, 700};
    hf_ref out = 7;
    (void)state;
    make_holes(sizes, 7);
    hf_ref top = tree_root();
    node(node(top)->left)->parent ^= 64;
    unsigned char *copy = malloc(SIZE);
    assert_non_null(copy);
    memcpy(copy, f.seg.base, SIZE);
    struct hf__block block = {0};
    assert_true(hf__block_read(&f.seg, top - 16, &block));
    assert_int_equal(fixture_try(&f, block.size_bytes - 16, &out), HF_ECORRUPT);
    assert_int_equal(out, 7);
    assert_memory_equal(copy, f.seg.base, SIZE);
    free(copy);
}

static void test_best_fit_link_into_user_memory_is_neither_followed_nor_written(void **state)
{
    static const uint64_t sizes[] = {100, 200, 300, 400, 500, 600, 700};
    hf_ref out = 7, live;
    (void)state;
    make_holes(sizes, 7);
    live = fixture_allocate(&f, 1000);
    memset(f.seg.base + live, 0, 1000);
    node(tree_root())->left = live + 16;
    assert_int_equal(fixture_try(&f, 90, &out), HF_ECORRUPT);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(f.seg.base[live + i], 0);
    assert_int_not_equal(fixture_check(&f), 0);
    assert_int_equal(f.heap.algorithm->rebuild(&f.heap), 0);
    assert_int_equal(fixture_check(&f), 0);
}

static void test_best_fit_equal_nodes_out_of_order_are_reported(void **state)
{
    static const uint64_t sizes[] = {200, 200, 200};
    (void)state;
    make_holes(sizes, 3);
    struct hf__avl_node *top = node(tree_root());
    uint64_t left = top->left;
    top->left = top->right;
    top->right = left;
    fixture_check(&f);
    assert_true(fixture_found(&f, "free.order"));
    assert_true(fixture_found(&f, "free.missing"));
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, open_it, close_it)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_best_fit_takes_the_smallest_that_is_enough),
        CASE(test_best_fit_takes_the_lowest_of_equal_ones),
        CASE(test_best_fit_searches_on_for_an_aligned_hole_before_growing),
        CASE(test_best_fit_rebuild_gives_a_tree_of_least_height),
        CASE(test_best_fit_unanswered_node_is_an_error_before_a_change),
        CASE(test_best_fit_link_into_user_memory_is_neither_followed_nor_written),
        CASE(test_best_fit_equal_nodes_out_of_order_are_reported),
    };
    return cmocka_run_group_tests_name("best_fit", tests, NULL, NULL);
}
