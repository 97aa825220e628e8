/* SPDX-License-Identifier: MIT */
/*
 * test_touched.c - sets of touched pages, few and many, against an array with a number for each page
 */
#include "store_fixture.h"

#include "store/touched.h"

#include <stdlib.h>

enum { PAGES = 1 << 21 };

static uint64_t last_commit[PAGES];

static void expect_set(const struct hf__touched *touched)
{
    uint64_t page = 0;
    for (size_t i = 0; i < touched->count; i++) {
        const struct hf__page_run *run = &touched->runs[i];
        assert_true(run->first < run->end && run->end <= PAGES);
        for (; page < run->first; page++)
            assert_int_equal(last_commit[page], 0);
        assert_int_equal(page, run->first); /* sorted, and apart */
        for (; page < run->end; page++) {
            assert_in_range(last_commit[page], 1, run->commit);
            assert_true(hf__touched_has(touched, page));
        }
    }
    for (; page < PAGES; page++)
        assert_int_equal(last_commit[page], 0);
}

/* So many runs of a page or two among the first `pages`, four to a commit. */
static void expect_runs(size_t runs, uint64_t pages)
{
    struct hf__touched touched;
    uint64_t state = 7 + runs;
    memset(last_commit, 0, sizeof last_commit);
    hf__touched_init(&touched, 0);
    for (size_t i = 0; i < runs; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        const uint64_t first = (state >> 33) % (pages - 1), end = first + 1 + (state >> 63);
        const uint64_t commit = 1 + i / 4;
        hf__touched_add(&touched, first * 4096 + 100, end * 4096 - 100, commit);
        for (uint64_t page = first; page < end; page++)
            last_commit[page] = commit;
    }
    assert_ok(hf__touched_sort(&touched));
    expect_set(&touched);
    hf__touched_free(&touched);
}

static void test_runs_are_sorted_and_merged(void **state)
{
    (void)state;
    expect_runs(1, 100);
    expect_runs(1000, 5000);        /* sorted by comparing           */
    expect_runs(1024, PAGES);       /* by digits, of two             */
    expect_runs(5000, 1000);        /* of one; most pages more often */
    expect_runs(100000, PAGES);     /* of three                      */
    expect_runs(600000, PAGES / 2); /* merged on the way             */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_are_sorted_and_merged),
    };
    return cmocka_run_group_tests_name("touched", tests, NULL, NULL);
}
