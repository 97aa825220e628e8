/* SPDX-License-Identifier: MIT */
/*
 * model_index.c - random operations on each index, against a naive model
 *
 * The model is a sorted pool of names and, for each, the entry that holds it or 0. Operations come
 * in batches; some batches are undone through the fake door, which then compares every byte that
 * was live when the batch began, and the model goes back too. HF_TEST_SEED repeats a run,
 * HF_TEST_SCALE multiplies its length.
 */
#include "fake_segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL = 1500, NAME_MAX_BYTES = 300, OPERATIONS = 1000000 };
#define SEGMENT_BYTES (UINT64_C(2) << 20)

struct pool_name {
    size_t size_bytes;
    unsigned char bytes[NAME_MAX_BYTES];
};

static struct pool_name pool[POOL];
static hf_ref model[POOL], model_before[POOL];

struct run {
    struct fake fake;
    const struct hf__index_ops *ops;
    struct fake_random random;
    uint64_t count, count_before;
    struct hf__index_ahead ahead;
    unsigned planned[HF__INDEX_NAMES_AHEAD]; /* the pool's names that come next, most likely     */
    unsigned last;                           /* the one before                                   */
    bool in_order;                           /* names of this batch come in their order          */
    uint64_t operations, undone, inserted, erased, scans, checks;
};

/* The order of names once more, the slow way. */
static int naive_order(const void *a, const void *b)
{
    const struct pool_name *x = (const struct pool_name *)a, *y = (const struct pool_name *)b;
    for (size_t i = 0; i < x->size_bytes && i < y->size_bytes; i++) {
        if (x->bytes[i] != y->bytes[i])
            return x->bytes[i] < y->bytes[i] ? -1 : 1;
    }
    return x->size_bytes < y->size_bytes ? -1 : x->size_bytes > y->size_bytes;
}

/* Names of few different bytes, many the beginnings of others, some long. */
static void make_pool(struct fake_random *random)
{
    static const unsigned char alphabet[] = {'a', 'b', '/', 0, 0x7f, 0x80, 0xff};
    for (unsigned made = 0; made < POOL;) {
        struct pool_name *name = &pool[made];
        uint64_t kind = fake_random_below(random, 10);
        size_t kept = 0;
        if (made > 0 && kind < 6) {
            const struct pool_name *other = &pool[fake_random_below(random, made)];
            kept = fake_random_below(random, other->size_bytes + 1);
            memcpy(name->bytes, other->bytes, kept);
        }
        size_t more = 1 + fake_random_below(random, kind == 9 ? 200 : 6);
        name->size_bytes = kept + more < NAME_MAX_BYTES ? kept + more : NAME_MAX_BYTES;
        for (size_t i = kept; i < name->size_bytes; i++)
            name->bytes[i] = alphabet[fake_random_below(random, sizeof alphabet)];
        bool repeated = false;
        for (unsigned i = 0; i < made && !repeated; i++)
            repeated = naive_order(&pool[i], name) == 0;
        made += !repeated;
    }
    qsort(pool, POOL, sizeof pool[0], naive_order);
}

static unsigned pool_place(const struct run *run, hf_ref node)
{
    struct pool_name key;
    key.size_bytes = hf__index_node_at(&run->fake.seg, node)->name_bytes;
    assert_true(key.size_bytes <= NAME_MAX_BYTES);
    memcpy(key.bytes, hf__index_name_at(&run->fake.seg, node), key.size_bytes);
    const struct pool_name *found =
        (const struct pool_name *)bsearch(&key, pool, POOL, sizeof pool[0], naive_order);
    assert_non_null(found);
    return (unsigned)(found - pool);
}

/* As store/ does: the name first, then the entry. A block taken in between changes nothing. */
static int seek(struct run *run, unsigned k, struct hf__index_place *place)
{
    hf_ref out = 1;
    memset(place, 0xA5, sizeof *place);
    int error = run->ops->seek(&run->fake.index, pool[k].bytes, pool[k].size_bytes, place, &out);
    assert_int_equal(error, model[k] != 0 ? 0 : HF_ENOTFOUND);
    assert_int_equal(out, model[k] != 0 ? model[k] : 1);
    return error;
}

static void do_insert(struct run *run, unsigned k)
{
    struct hf__index_place place;
    const bool sought =
        fake_random_below(&run->random, 2) == 0 && seek(run, k, &place) == HF_ENOTFOUND;
    hf_ref node = fake_entry(&run->fake, pool[k].bytes, pool[k].size_bytes);
    int error = run->ops->insert(&run->fake.index, node, sought ? &place : NULL);
    if (model[k] != 0) {
        assert_int_equal(error, HF_EEXIST);
        fake_entry_free(&run->fake, node);
        return;
    }
    assert_int_equal(error, 0);
    model[k] = node;
    run->count++;
    run->inserted++;
}

static void do_erase(struct run *run, unsigned k)
{
    if (model[k] == 0)
        return;
    struct hf__index_place place;
    const bool sought = fake_random_below(&run->random, 2) == 0 && seek(run, k, &place) == 0;
    assert_int_equal(run->ops->erase(&run->fake.index, model[k], sought ? &place : NULL), 0);
    fake_entry_free(&run->fake, model[k]);
    model[k] = 0;
    run->count--;
    run->erased++;
}

static void do_find(struct run *run, unsigned k)
{
    hf_ref out = 1;
    int error = run->ops->find(&run->fake.index, pool[k].bytes, pool[k].size_bytes, &out);
    assert_int_equal(error, model[k] != 0 ? 0 : HF_ENOTFOUND);
    assert_int_equal(out, model[k] != 0 ? model[k] : 1);
}

/* Iterates over a random prefix and compares with the pool's names that have it. */
static void do_scan(struct run *run, size_t prefix_bytes, const unsigned char *prefix)
{
    struct hf__index_cursor cursor = {0};
    hf_ref node;
    unsigned expected = 0, met = 0, last = 0;
    int more;
    for (unsigned i = 0; i < POOL; i++)
        expected += model[i] != 0 && pool[i].size_bytes >= prefix_bytes &&
                    memcmp(pool[i].bytes, prefix, prefix_bytes) == 0;
    while ((more = run->ops->next(&run->fake.index, &cursor, prefix, prefix_bytes, &node)) == 1) {
        unsigned k = pool_place(run, node);
        assert_int_equal(model[k], node);
        assert_memory_equal(pool[k].bytes, prefix, prefix_bytes);
        if (run->ops->ordered && met > 0)
            assert_true(k > last);
        last = k;
        met++;
        assert_true(met <= expected);
    }
    assert_int_equal(more, 0);
    assert_int_equal(met, expected);
    run->scans++;
}

static void do_check(struct run *run)
{
    uint64_t visited;
    assert_int_equal(fake_findings(&run->fake, true, &visited), 0);
    assert_int_equal(visited, run->count);
    assert_int_equal(hf__index_root_of(&run->fake.index)->count, run->count);
    assert_int_equal(run->fake.blocks_live, run->count + fake_owned(&run->fake));
    run->checks++;
}

/* The name for the next operation: mostly what the index was told of so many operations before. */
static unsigned next_name(struct run *run)
{
    unsigned *planned = &run->planned[run->operations % HF__INDEX_NAMES_AHEAD];
    unsigned k = *planned;
    *planned = (unsigned)fake_random_below(&run->random, POOL);
    if (run->ops->expect != NULL && fake_random_below(&run->random, 8) != 0)
        (void)run->ops->expect(&run->fake.index, &run->ahead, pool[*planned].bytes,
                               pool[*planned].size_bytes);
    if (run->in_order)
        k = (run->last + 1) % POOL;
    else if (fake_random_below(&run->random, 16) == 0)
        k = (unsigned)fake_random_below(&run->random, POOL);
    run->last = k;
    return k;
}

/* One random operation; bias (0..100) is how likely a change is an insertion. */
static void operate(struct run *run, uint64_t bias)
{
    unsigned k = next_name(run);
    uint64_t what = fake_random_below(&run->random, 1000);
    run->operations++;
    if (what < 650) {
        if (fake_random_below(&run->random, 100) < bias)
            do_insert(run, k);
        else
            do_erase(run, k);
    } else if (what < 990) {
        do_find(run, k);
    } else if (what < 995) {
        do_scan(run, fake_random_below(&run->random, pool[k].size_bytes + 1), pool[k].bytes);
    } else if (what < 997) {
        assert_int_equal(run->ops->reserve(&run->fake.index, fake_random_below(&run->random, 2000)),
                         0);
    } else if (what < 999) {
        assert_int_equal(run->ops->shrink(&run->fake.index), 0);
    } else {
        do_check(run);
    }
}

static void run_batch(struct run *run, uint64_t bias)
{
    uint64_t length = 1 + fake_random_below(&run->random, 100);
    memcpy(model_before, model, sizeof model);
    run->count_before = run->count;
    fake_batch_begin(&run->fake);
    run->in_order = fake_random_below(&run->random, 4) == 0;
    while (length-- > 0)
        operate(run, bias);
    if (fake_random_below(&run->random, 10) < 3) {
        fake_batch_undo(&run->fake);
        run->ahead.kept = 0;
        memcpy(model, model_before, sizeof model);
        run->count = run->count_before;
        run->undone++;
        if (run->undone % 8 == 0)
            do_check(run);
    } else {
        fake_batch_keep(&run->fake);
    }
}

static void run_model(const struct hf__index_ops *ops, uint64_t seed)
{
    static struct run run;
    memset(&run, 0, sizeof run);
    memset(model, 0, sizeof model);
    run.ops = ops;
    run.random.state = seed;
    fake_open(&run.fake, ops, SEGMENT_BYTES);
    run.fake.index.ahead = ops->remembers ? &run.ahead : NULL;
    while (run.operations < OPERATIONS * fake_scale()) {
        /* swings between filling and emptying, so that tables grow and contract */
        uint64_t bias = run.operations / 20000 % 2 == 0 ? 75 : 15;
        run_batch(&run, bias);
    }
    do_check(&run);
    do_scan(&run, 0, pool[0].bytes);
    for (unsigned k = 0; k < POOL; k++)
        do_erase(&run, k);
    assert_int_equal(ops->shrink(&run.fake.index), 0);
    assert_int_equal(run.fake.blocks_live, 0);
    printf("%s: %" PRIu64 " operations, %" PRIu64 " inserted, %" PRIu64 " erased, %" PRIu64
           " scans, %" PRIu64 " checks, %" PRIu64 " batches undone\n",
           ops->name, run.operations, run.inserted, run.erased, run.scans, run.checks, run.undone);
    fake_close(&run.fake);
}

static uint64_t seed;

static void test_model_set(void **state)
{
    (void)state;
    run_model(&hf__index_set, seed);
}

static void test_model_hash(void **state)
{
    (void)state;
    run_model(&hf__index_hash, seed + 1);
}

static void test_model_flat(void **state)
{
    (void)state;
    run_model(&hf__index_flat, seed + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_set),
        cmocka_unit_test(test_model_hash),
        cmocka_unit_test(test_model_flat),
    };
    seed = fake_seed("model_index");
    struct fake_random random = {.state = seed};
    make_pool(&random);
    return cmocka_run_group_tests_name("index model", tests, NULL, NULL);
}
