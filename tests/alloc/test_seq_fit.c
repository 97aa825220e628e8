/* SPDX-License-Identifier: MIT */
/* test_seq_fit.c - what is special in seq_fit: first fit, and the list in the order of addresses */
#include "heap_fixture.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SIZE  (64 * 1024)
#define HOLES 9

static struct fixture f;
static hf_ref holes[HOLES];

static int open_it(void **state)
{
    (void)state;
    fixture_open(&f, &hf__alloc_seq_fit, SIZE, SIZE);
    for (unsigned i = 0; i < HOLES; i++) {
        holes[i] = fixture_allocate(&f, 96 + 32 * (i * 4 % HOLES));
        fixture_allocate(&f, 1);
    }
    for (unsigned i = 0; i < HOLES; i++)
        fixture_free(&f, holes[i * 5 % HOLES]);
    return 0;
}

static int close_it(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static uint64_t *link_at(hf_ref node)
{
    return (uint64_t *)(f.seg.base + node);
}

static void test_seq_fit_list_is_in_the_order_of_addresses(void **state)
{
    (void)state;
    uint64_t at = hf__heap_root_of(&f.heap)->free_set;
    for (unsigned i = 0; i < HOLES; i++) {
        assert_int_equal(at, holes[i]);
        at = *link_at(at);
    }
    assert_int_equal(at, 0);
    assert_int_equal(fixture_check(&f), 0);
}

static void test_seq_fit_takes_the_first_that_is_enough(void **state)
{
    (void)state;
    assert_int_equal(fixture_allocate(&f, 96), holes[0]); /* not the best, the first */
    assert_int_equal(fixture_allocate(&f, 97), holes[1]);
    assert_int_equal(fixture_allocate(&f, 300), holes[2]);
    assert_int_equal(fixture_check(&f), 0);
}

static void test_seq_fit_owns_one_word_of_a_free_payload(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HOLES; i++)
        memset(f.seg.base + holes[i] + 8, 0xFF, 32 - 8);
    assert_int_equal(fixture_check(&f), 0);
    for (unsigned i = 0; i < HOLES; i++)
        fixture_allocate(&f, 96);
    assert_int_equal(fixture_check(&f), 0);
}

static void test_seq_fit_link_backward_ends_every_search(void **state)
{
    hf_ref out;
    (void)state;
    *link_at(holes[5]) = holes[2];
    fixture_check(&f);
    assert_true(fixture_found(&f, "free.order"));
    assert_true(fixture_found(&f, "free.missing"));
    assert_int_equal(fixture_try(&f, 5000, &out), HF_ECORRUPT);
    assert_true(hf__alloc_seq_fit.largest_free(&f.heap) > 0);
    assert_int_equal(hf__alloc_seq_fit.rebuild(&f.heap), 0);
    assert_int_equal(fixture_check(&f), 0);
}

static void test_seq_fit_link_that_skips_a_block_is_reported(void **state)
{
    (void)state;
    *link_at(holes[3]) = holes[5];
    fixture_check(&f);
    assert_true(fixture_found(&f, "free.missing"));
    assert_true(fixture_found(&f, "free.count"));
    assert_int_equal(f.rule_count, 2);
}

static void test_seq_fit_link_into_user_memory_is_neither_followed_nor_written(void **state)
{
    hf_ref out, live = fixture_allocate(&f, 1000);
    (void)state;
    memset(f.seg.base + live, 0x11, 1000);
    *link_at(holes[5]) = live + 16;
    fixture_check(&f);
    assert_true(fixture_found(&f, "free.bounds"));
    assert_int_equal(fixture_try(&f, 5000, &out), HF_ECORRUPT);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(f.seg.base[live + i], 0x11);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, open_it, close_it)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_seq_fit_list_is_in_the_order_of_addresses),
        CASE(test_seq_fit_takes_the_first_that_is_enough),
        CASE(test_seq_fit_owns_one_word_of_a_free_payload),
        CASE(test_seq_fit_link_backward_ends_every_search),
        CASE(test_seq_fit_link_that_skips_a_block_is_reported),
        CASE(test_seq_fit_link_into_user_memory_is_neither_followed_nor_written),
    };
    return cmocka_run_group_tests_name("seq_fit", tests, NULL, NULL);
}
