/* SPDX-License-Identifier: MIT */
/*
 * conformance_pool.c - pools of nodes: the same cases on every backing, allocator and index
 */
#include "store_fixture.h"

#include "tests/support/campaign.h"

#include <stdint.h>

static hf_pool_info info_of(hf_view *view, const hf_pool *pool)
{
    hf_pool_info info;
    assert_ok(hf_pool_info_of(view, pool, &info));
    return info;
}

static hf_pool *find(hf_txn *txn, const char *name)
{
    const hf_pool *pool = hf_pool_find(hf_txn_view(txn), name);
    assert_got(pool);
    return (hf_pool *)(uintptr_t)pool;
}

static void test_nodes_keep_their_bytes(struct fixture *f)
{
    static const size_t sizes[] = {1, 8, 24, 64, 100, 1000, HF_POOL_NODE_BYTES_MAX};
    enum { COUNT = 60 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        hf_ref refs[COUNT];
        char name[16];
        snprintf(name, sizeof name, "pool%zu", s);
        hf_txn *txn = fixture_begin(f);
        hf_pool *pool = hf_pool_create(txn, name, sizes[s], 1);
        assert_got(pool);
        for (int i = 0; i < COUNT; i++) {
            unsigned char *node = hf_pool_alloc(txn, pool);
            assert_got(node);
            assert_int_equal((uintptr_t)node % (sizes[s] % 16 == 0 ? 16 : 8), 0);
            memset(node, i + 1, sizes[s]);
            refs[i] = hf_ref_of(hf_txn_view(txn), node);
        }
        assert_ok(hf_commit(txn));
        fixture_assert_sound(f->store);
        fixture_reopen(f);
        hf_view *view = fixture_view(f);
        for (int i = 0; i < COUNT; i++) {
            const unsigned char *node = hf_at(view, refs[i]);
            assert_int_equal(node[0], i + 1);
            assert_int_equal(node[sizes[s] - 1], i + 1);
        }
        assert_int_equal(info_of(view, hf_pool_find(view, name)).nodes, COUNT);
        hf_view_end(view);
        txn = fixture_begin(f);
        assert_ok(hf_pool_destroy(txn, find(txn, name)));
        assert_ok(hf_commit(txn));
    }
    hf_view *view = fixture_view(f);
    assert_int_equal(hf_all_memory_deallocated(view), 1); /* chunks went with their pools */
    hf_view_end(view);
}

static void test_wrong_sizes_and_pointers_are_refused(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    assert_fails(hf_pool_create(txn, "p", 0, 0), HF_EINVAL);
    assert_fails(hf_pool_create(txn, "p", HF_POOL_NODE_BYTES_MAX + 1, 0), HF_EINVAL);
    assert_fails(hf_pool_create(txn, NULL, 8, 0), HF_ENAME);
    assert_fails(hf_pool_create(txn, "", 8, 0), HF_ENAME);
    assert_fails(hf_pool_shared(txn, 0), HF_EINVAL);
    assert_got(hf_construct(txn, "other", NULL, 80));
    assert_fails(hf_pool_find(hf_txn_view(txn), "other"), HF_ETYPE);
    hf_pool *pool = hf_pool_create(txn, "p", 32, 0), *second = hf_pool_create(txn, "q", 32, 0);
    char *node = hf_pool_alloc(txn, pool), *raw = hf_alloc(txn, 32);
    assert_got(node);
    assert_got(raw);
    assert_got(hf_pool_alloc(txn, second));
    assert_code(hf_pool_free(txn, pool, node + 8), HF_EPTR);
    assert_code(hf_pool_free(txn, pool, node + 32), HF_EPTR); /* free */
    assert_code(hf_pool_free(txn, pool, raw), HF_EPTR);
    assert_code(hf_pool_free(txn, pool, &node), HF_EPTR);
    assert_code(hf_pool_free(txn, second, node), HF_EPTR);
    assert_code(hf_pool_free(txn, (hf_pool *)raw, node), HF_EPTR);
    assert_fails(hf_pool_alloc(txn, (hf_pool *)(raw + 16)), HF_EPTR);
    assert_fails(hf_pool_alloc(txn, NULL), HF_EPTR);
    assert_ok(hf_pool_free(txn, pool, NULL));
    assert_int_equal(hf_usable_bytes(hf_txn_view(txn), node), 0);
    assert_ok(hf_pool_free(txn, pool, node));
    assert_code(hf_pool_free(txn, pool, node), HF_EPTR); /* twice */
    assert_ok(hf_commit(txn));
    fixture_assert_sound(f->store);
}

/* A chunk that goes back at the end of the store stays as it was in the file, where its space may be
 * another block's before anything is written there. */
static void test_a_pool_that_is_destroyed_is_no_pool(struct fixture *f)
{
    hf_pool_info info;
    hf_mark mark;
    hf_ref place = 0;
    const void *next;
    hf_txn *txn = fixture_begin(f);
    hf_pool *empty = hf_pool_create(txn, "empty", 24, 0), *pool = hf_pool_create(txn, "p", 24, 0);
    assert_got(empty);
    assert_got(hf_pool_alloc(txn, pool));
    assert_ok(hf_savepoint(txn, &mark));
    assert_ok(hf_pool_destroy(txn, empty));
    assert_ok(hf_pool_destroy(txn, pool));
    assert_fails(hf_pool_alloc(txn, empty), HF_EPTR);
    assert_fails(hf_pool_alloc(txn, pool), HF_EPTR);
    assert_code(hf_pool_trim(txn, pool), HF_EPTR);
    assert_code(hf_pool_next(hf_txn_view(txn), pool, &place, &next), HF_EPTR);
    assert_code(hf_pool_info_of(hf_txn_view(txn), pool, &info), HF_EPTR);
    assert_code(hf_pool_destroy(txn, pool), HF_EPTR);
    assert_ok(hf_check_sanity(f->store, NULL, NULL));
    assert_ok(hf_rollback_to(txn, mark)); /* both are back */
    assert_got(hf_pool_alloc(txn, empty));
    assert_int_equal(info_of(hf_txn_view(txn), pool).nodes, 1);
    assert_ok(hf_pool_destroy(txn, empty));
    assert_ok(hf_pool_destroy(txn, pool));
    assert_ok(hf_commit(txn));
    fixture_assert_sound(f->store);
    txn = fixture_begin(f);
    assert_int_equal(hf_all_memory_deallocated(hf_txn_view(txn)), 1);
    hf_abort(txn);
}

static void test_a_node_whose_chunk_is_gone_is_no_node(struct fixture *f)
{
    const size_t chunk_bytes = 8192;
    hf_txn *txn = fixture_begin(f);
    hf_pool *pool = hf_pool_create(txn, "p", 24, 0);
    const void *first = hf_pool_alloc(txn, pool);
    assert_got(first);
    const hf_ref node = hf_ref_of(hf_txn_view(txn), first);
    assert_ok(hf_commit(txn));
    fixture_reopen(f);
    txn = fixture_begin(f);
    assert_ok(hf_pool_free(txn, find(txn, "p"), hf_at(hf_txn_view(txn), node)));
    assert_ok(hf_commit(txn));
    fixture_reopen(f);
    txn = fixture_begin(f);
    assert_got(hf_alloc_aligned(txn, chunk_bytes - 16, chunk_bytes));
    assert_code(hf_pool_free(txn, find(txn, "p"), hf_at(hf_txn_view(txn), node)), HF_EPTR);
    assert_ok(hf_commit(txn));
}

static void test_shared_pools_are_one_for_each_size(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    hf_pool *pool = hf_pool_shared(txn, 20);
    assert_got(pool);
    assert_ptr_equal(hf_pool_shared(txn, 24), pool);
    assert_ptr_not_equal(hf_pool_shared(txn, 25), pool);
    assert_ptr_equal(find(txn, "hf_pool/24"), pool);
    assert_got(hf_pool_create(txn, "hf_pool/64", 8, 0)); /* a stranger of that name */
    assert_fails(hf_pool_shared(txn, 64), HF_ETYPE);
    assert_ok(hf_commit(txn));
}

static void test_a_node_pool_keeps_chunks_until_trimmed(struct fixture *f)
{
    enum { COUNT = 3000 };
    static void *nodes[COUNT];
    hf_txn *txn = fixture_begin(f);
    hf_pool *keeps = hf_pool_create(txn, "keeps", 48, HF_POOL_KEEP_ALL);
    hf_pool *adapts = hf_pool_create(txn, "adapts", 48, 1);
    for (int i = 0; i < 2; i++) {
        hf_pool *pool = i == 0 ? keeps : adapts;
        assert_ok(hf_pool_alloc_many(txn, pool, COUNT, nodes));
        const uint64_t chunks = info_of(hf_txn_view(txn), pool).chunks;
        assert_true(chunks > 5);
        assert_ok(hf_pool_free_many(txn, pool, nodes, COUNT));
        const hf_pool_info info = info_of(hf_txn_view(txn), pool);
        assert_int_equal(info.nodes, 0);
        assert_int_equal(info.chunks, i == 0 ? chunks : 1);
        assert_int_equal(info.empty_chunks, info.chunks);
        assert_ok(hf_pool_trim(txn, pool));
        assert_int_equal(info_of(hf_txn_view(txn), pool).chunks, 0);
    }
    assert_ok(hf_commit(txn));
    fixture_assert_sound(f->store);
    hf_view *view = fixture_view(f);
    hf_store_info info;
    assert_ok(hf_info(f->store, &info));
    assert_int_equal(info.raw_count, 0);
    hf_view_end(view);
}

static void test_many_are_all_or_none(struct fixture *f)
{
    void *nodes[3], *first;
    hf_txn *txn = fixture_begin(f);
    hf_pool *pool = hf_pool_create(txn, "p", 64, 0);
    assert_ok(hf_pool_alloc_many(txn, pool, 3, nodes));
    first = nodes[0];
    nodes[2] = (char *)nodes[2] + 8;
    assert_code(hf_pool_free_many(txn, pool, nodes, 3), HF_EPTR);
    assert_int_equal(info_of(hf_txn_view(txn), pool).nodes, 3);
    static void *too_many[FIXTURE_SIZE_MAX / 4096];
    hf_pool *large = hf_pool_create(txn, "large", HF_POOL_NODE_BYTES_MAX, HF_POOL_KEEP_ALL);
    assert_code(hf_pool_alloc_many(txn, large, FIXTURE_SIZE_MAX / 4096, too_many), HF_EFULL);
    assert_int_equal(info_of(hf_txn_view(txn), large).nodes, 0);
    assert_int_equal(info_of(hf_txn_view(txn), large).chunks, 0);
    nodes[0] = NULL; /* what can't be had at all is refused before the first node */
    assert_code(hf_pool_alloc_many(txn, pool, SIZE_MAX, nodes), HF_EFULL);
    assert_null(nodes[0]);
    assert_ok(hf_pool_free(txn, pool, first));
    assert_ok(hf_commit(txn));
    fixture_assert_sound(f->store);
}

static void test_abort_brings_a_node_back_that_was_handed_out_again(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    hf_pool *pool = hf_pool_create(txn, "p", 40, 0);
    char *node = hf_pool_alloc(txn, pool);
    assert_got(node);
    memset(node, 'a', 40);
    const hf_ref ref = hf_ref_of(hf_txn_view(txn), node);
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    pool = find(txn, "p");
    assert_got(hf_pool_alloc(txn, pool)); /* so that the chunk stays */
    assert_ok(hf_pool_free(txn, pool, hf_at(hf_txn_view(txn), ref)));
    char *again = hf_pool_alloc(txn, pool);
    assert_int_equal(hf_ref_of(hf_txn_view(txn), again), ref);
    memset(again, 'b', 40);
    hf_abort(txn);
    hf_view *view = fixture_view(f);
    assert_memory_equal(hf_at(view, ref), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 40);
    assert_int_equal(info_of(view, hf_pool_find(view, "p")).nodes, 1);
    hf_view_end(view);
}

static void test_check_sanity_looks_into_pools(struct fixture *f)
{
    hf_check_report report;
    hf_txn *txn = fixture_begin(f);
    hf_pool *pool = hf_pool_create(txn, "p", 40, 0);
    assert_got(hf_pool_alloc(txn, pool));
    assert_ok(hf_commit(txn));
    fixture_assert_sound(f->store);
    for (size_t at = 32; at < 80; at += 8) { /* each of the counters and links */
        txn = fixture_begin(f);
        uint64_t *word = hf_edit(txn, (const char *)find(txn, "p") + at, 8);
        ++*word;
        const int code = hf_check_sanity(f->store, NULL, &report);
        assert_int_equal(code, HF_ECORRUPT);
        hf_abort(txn);
    }
    fixture_assert_sound(f->store);
}

/* ---- beside a naive model -------------------------------------------------------------------- */

enum { MODEL_MAX = 2000 };
struct model {
    hf_ref refs[MODEL_MAX];
    uint64_t values[MODEL_MAX];
    size_t count;
};

static void compare(hf_view *view, const struct model *model)
{
    const hf_pool *pool = hf_pool_find(view, "p");
    const void *node;
    hf_ref place = 0;
    uint64_t sum = 0, wanted = 0;
    size_t met = 0;
    assert_got(pool);
    while (hf_pool_next(view, pool, &place, &node) == 1) {
        sum += mix64(place) ^ *(const uint64_t *)node;
        met++;
    }
    for (size_t i = 0; i < model->count; i++)
        wanted += mix64(model->refs[i]) ^ model->values[i];
    assert_int_equal(met, model->count);
    assert_int_equal(sum, wanted);
    assert_int_equal(info_of(view, pool).nodes, model->count);
}

static void step(hf_txn *txn, hf_pool *pool, struct model *model, struct rng *rng)
{
    if (model->count < MODEL_MAX && rng_percent(rng, 55)) {
        uint64_t *node = hf_pool_alloc(txn, pool);
        assert_got(node);
        *node = rng_next(rng);
        model->values[model->count] = *node;
        model->refs[model->count++] = hf_ref_of(hf_txn_view(txn), node);
    } else if (model->count > 0) {
        const size_t i = (size_t)rng_below(rng, model->count);
        assert_ok(hf_pool_free(txn, pool, hf_at(hf_txn_view(txn), model->refs[i])));
        model->count--;
        model->refs[i] = model->refs[model->count];
        model->values[i] = model->values[model->count];
    }
}

static void test_random_use_agrees_with_a_naive_model(struct fixture *f)
{
    static struct model model, before, at_mark;
    struct rng rng = {20261125};
    hf_mark mark;
    model.count = 0;
    hf_txn *txn = fixture_begin(f);
    assert_got(hf_pool_create(txn, "p", 200, 1));
    assert_ok(hf_commit(txn));
    for (int round = 0; round < 40; round++) {
        txn = fixture_begin(f);
        hf_pool *pool = find(txn, "p");
        before = model;
        for (int i = 0; i < 60; i++)
            step(txn, pool, &model, &rng);
        at_mark = model;
        assert_ok(hf_savepoint(txn, &mark));
        for (int i = 0; i < 60; i++)
            step(txn, pool, &model, &rng);
        if (rng_percent(&rng, 20))
            assert_ok(hf_pool_trim(txn, pool));
        if (rng_percent(&rng, 30)) {
            assert_ok(hf_rollback_to(txn, mark));
            model = at_mark;
        }
        compare(hf_txn_view(txn), &model);
        if (rng_percent(&rng, 30)) {
            hf_abort(txn);
            model = before;
        } else {
            assert_ok(hf_commit(txn));
        }
        hf_view *view = fixture_view(f);
        compare(view, &model);
        hf_view_end(view);
    }
    fixture_assert_sound(f->store);
}

#define CASE(name)                                                                                 \
    {                                                                                              \
#name, name, false                                                                         \
    }

int main(void)
{
    static const struct fixture_case cases[] = {
        CASE(test_nodes_keep_their_bytes),
        CASE(test_wrong_sizes_and_pointers_are_refused),
        CASE(test_a_pool_that_is_destroyed_is_no_pool),
        CASE(test_a_node_whose_chunk_is_gone_is_no_node),
        CASE(test_shared_pools_are_one_for_each_size),
        CASE(test_a_node_pool_keeps_chunks_until_trimmed),
        CASE(test_many_are_all_or_none),
        CASE(test_abort_brings_a_node_back_that_was_handed_out_again),
        CASE(test_check_sanity_looks_into_pools),
        CASE(test_random_use_agrees_with_a_naive_model),
    };
    return fixture_run_matrix("pool", cases, sizeof cases / sizeof *cases);
}
