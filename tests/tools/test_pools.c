/* SPDX-License-Identifier: MIT */
/*
 * test_pools.c - commands that take an object away, and the object is a pool
 *
 * A pool's nodes lie in chunks of its own, which only the pool leads to: they must go with it.
 */
#include "tests/tools/dump_graph.h"

#include "holdfast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const char *const commands[] = {
    "rm --quiet p.hf pool",
    "rm --quiet p.hf --prefix po",
    "put --quiet --force --value x p.hf pool",
    "import --quiet --replace --force p.hf pool",
    "load --quiet --into --existing replace p.hf pool.dump",
};

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* With another one beside it, which stays. */
static void make_pools(void)
{
    static const char *const names[] = {"pool", "stays"};
    hf_store *store;
    hf_txn *txn;
    assert_int_equal(hf_open("p.hf", NULL, &store), 0);
    assert_int_equal(hf_begin(store, &txn), 0);
    for (int i = 0; i < 2; i++) {
        const hf_pool *pool = hf_pool_create(txn, names[i], 64, 2);
        for (int n = 0; n < 1000; n++)
            assert_non_null(hf_pool_alloc(txn, pool));
    }
    assert_int_equal(hf_commit(txn), 0);
    assert_int_equal(hf_close(store), 0);
}

/* The chunks of the one that stays are all there is. */
static void expect_one_pool(const char *after)
{
    hf_pool_info pool;
    hf_store_info info;
    hf_store *store;
    hf_view *view;
    assert_int_equal(hf_open("p.hf", NULL, &store), 0);
    assert_int_equal(hf_view_begin(store, &view), 0);
    assert_int_equal(hf_info(store, &info), 0);
    assert_int_equal(hf_pool_info_of(view, hf_pool_find(view, "stays"), &pool), 0);
    assert_int_equal(pool.nodes, 1000);
    if (info.raw_count != pool.chunks)
        fail_msg("%s: %llu blocks are left, %llu are in use", after,
                 (unsigned long long)info.raw_count, (unsigned long long)pool.chunks);
    hf_view_end(view);
    assert_int_equal(hf_close(store), 0);
    assert_int_equal(dump_graph_run("fsck --quiet p.hf"), 0);
}

static void test_pools_go_with_their_nodes(void **state)
{
    (void)state;
    write_file("pool", "a file of that name");
    write_file("pool.dump",
               "{\"holdfast-dump\":1}\n"
               "{\"object\":1,\"kind\":\"named\",\"name\":\"pool\",\"count\":3,\"bytes\":\"AAAB\"}\n"
               "{\"end\":true}\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        make_pools();
        if (dump_graph_run("%s", commands[i]) != 0)
            fail_msg("%s", commands[i]);
        expect_one_pool(commands[i]);
        assert_int_equal(hf_remove("p.hf"), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pools_go_with_their_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
