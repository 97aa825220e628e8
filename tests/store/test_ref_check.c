/* SPDX-License-Identifier: MIT */
/*
 * test_ref_check.c - each rule of pointers, broken by hand, is told; what is right isn't; and leaks
 * are those of a model on random graphs
 */
#include "store_fixture.h"

#include "store/live.h"
#include "store/store.h"

#include <stdint.h>

struct leaf {
    uint64_t value[3];
};
static const hf_type leaf_type = {"leaf", 1, sizeof(struct leaf), 8, HF_TYPE_BLOB, NULL, 0};
static const hf_type leaf2_type = {"leaf", 2, 32, 8, HF_TYPE_BLOB, NULL, 0};
static const hf_type leaf0_type = {"leaf", 0, 16, 8, HF_TYPE_BLOB, NULL, 0};

struct node {
    hf_ref any;
    HF_PTR(struct node) next;
    hf_ref leaf;
    uint64_t n;
    hf_ref child[4];
};
#define NODE_FIELDS(F, T)                                                                          \
    F(T, any, HF_FIELD_REF, NULL)                                                                  \
    F(T, next, HF_FIELD_PTR, &node_type)                                                           \
    F(T, leaf, HF_FIELD_REF, &leaf_type)                                                           \
    F(T, n, HF_FIELD_U64, NULL)                                                                    \
    F(T, child, HF_FIELD_REF | HF_FIELD_COUNTED, &node_type)
HF_TYPE_DEFINE(node_type, "node", 1, struct node, NODE_FIELDS);

static hf_store *store;
static hf_txn *txn;
static hf_view *view;

static int set_up(void **state)
{
    (void)state;
    return fixture_begin_on_heap(8 << 20, &store, &txn, &view);
}

static int tear_down(void **state)
{
    (void)state;
    hf_abort(txn);
    return hf_close(store);
}

struct heard {
    char rule[32], said[128];
    uint64_t offset, findings, leaks, leak_bytes;
};

static void hear(void *user, const hf_finding *finding)
{
    struct heard *heard = user;
    heard->findings++;
    heard->offset = finding->offset;
    snprintf(heard->rule, sizeof heard->rule, "%s", finding->rule);
    snprintf(heard->said, sizeof heard->said, "%s", finding->expected);
}

static void hear_leak(void *user, const hf_leak *leak)
{
    struct heard *heard = user;
    heard->leaks++;
    heard->leak_bytes += leak->size_bytes;
}

static hf_check_report check(struct heard *heard, uint32_t flags)
{
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    hf_check_report report = {0};
    *heard = (struct heard){.findings = 0};
    options.user = heard;
    options.on_finding = hear;
    options.on_leak = hear_leak;
    options.findings_max = UINT64_MAX;
    options.flags = flags;
    int code = hf_check_sanity(store, &options, &report);
    assert_int_equal(code, heard->findings == 0 ? 0 : HF_ECORRUPT);
    assert_int_equal(report.findings, heard->findings);
    return report;
}

static void expect_none(void)
{
    struct heard heard;
    (void)check(&heard, 0);
    if (heard.findings != 0)
        fail_msg("%s: %s", heard.rule, heard.said);
}

/* Exactly one finding, of that rule, at this field. */
static void expect_rule(const char *rule, const void *field)
{
    struct heard heard;
    (void)check(&heard, 0);
    assert_string_equal(heard.rule, rule);
    assert_int_equal(heard.findings, 1);
    assert_int_equal(heard.offset, hf_ref_of(view, field));
    assert_non_null(strstr(heard.said, "node."));
}

static struct node *make_node(void)
{
    struct node *n = hf_construct(txn, "n", &node_type, 3);
    assert_non_null(n);
    for (int i = 0; i < 3; i++)
        hf_ptr_set(&n[i].next, NULL);
    return n;
}

static void test_ref_check_takes_what_is_right(void **state)
{
    (void)state;
    struct node *n = hf_construct(txn, "n", &node_type, 3); /* next is 0: as if null */
    expect_none();
    hf_ptr_set(&n[0].next, &n[2]);
    n[0].any = hf_ref_of(view, n) + 13; /* into an element */
    expect_none();
    n[0].any = hf_ref_of(view, hf_alloc(txn, 100)) + 99;
    n[0].leaf = hf_ref_of(view, hf_new(txn, &leaf_type, 10)) + 9 * sizeof(struct leaf);
    n[0].n = 2;
    n[0].child[0] = n[0].child[1] = hf_ref_of(view, &n[1]);
    n[0].child[2] = 12345;                                   /* doesn't count */
    n[1].leaf = hf_ref_of(view, hf_new(txn, &leaf_type, 0)); /* an empty array */
    assert_true(n[1].leaf != 0);
    expect_none();
}

static void test_ref_check_finds_dangling_ones(void **state)
{
    (void)state;
    struct node *n = make_node();
    static const uint64_t nowhere[] = {
        1, 8, 1024, UINT64_C(1) << 40, UINT64_MAX, UINT64_C(1) << 63};
    for (size_t i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++) {
        n->any = nowhere[i];
        expect_rule("ref.dangling", &n->any);
        n->any = 0;
        n->leaf = nowhere[i];
        expect_rule("ref.dangling", &n->leaf);
        n->leaf = 0;
        n->next.offset = (int64_t)(nowhere[i] - hf_ref_of(view, &n->next));
        expect_rule("ref.dangling", &n->next);
        hf_ptr_set(&n->next, NULL);
    }
    n->any = hf__segment_header(&store->seg)->type_table;
    expect_rule("ref.dangling", &n->any);
    void *gone = hf_new(txn, &leaf_type, 1);
    n->any = 0;
    n->leaf = hf_ref_of(view, gone);
    expect_none();
    assert_int_equal(hf_destroy_ptr(txn, gone), 0);
    expect_rule("ref.dangling", &n->leaf);
    n->leaf = 0;
    n[2].n = 9; /* more than there are: all four count */
    n[2].child[3] = 7;
    expect_rule("ref.dangling", &n[2].child[3]);
}

static void test_ref_check_finds_misaligned_ones(void **state)
{
    (void)state;
    struct node *n = make_node();
    const hf_ref leaves = hf_ref_of(view, hf_new(txn, &leaf_type, 10));
    n->leaf = leaves + 8;
    expect_rule("ref.misaligned", &n->leaf);
    n->leaf = hf_ref_of(view, hf_new(txn, &leaf_type, 11)) + 11 * sizeof(struct leaf);
    expect_rule("ref.misaligned", &n->leaf); /* one past the end, in the same block */
    n->leaf = leaves - 8;
    expect_rule("ref.misaligned", &n->leaf);
    n->leaf = 0;
    n->next.offset = (int64_t)sizeof(struct node);
    expect_rule("ref.misaligned", &n->next);
    n->next.offset -= (int64_t)offsetof(struct node, next);
    expect_none();
    hf_ptr_set(&n[2].next, &n[3]); /* one past the end, still in the block or in the next one */
    struct heard heard;
    (void)check(&heard, 0);
    assert_int_equal(heard.findings, 1);
}

static void test_ref_check_finds_other_types(void **state)
{
    (void)state;
    struct node *n = make_node();
    n->leaf = hf_ref_of(view, n);
    expect_rule("ref.type", &n->leaf);
    n->leaf = hf_ref_of(view, hf_alloc(txn, 24));
    expect_rule("ref.type", &n->leaf);
    n->leaf = hf_ref_of(view, hf_new(txn, NULL, 24));
    expect_rule("ref.type", &n->leaf);
    n->leaf = hf_ref_of(view, hf_new(txn, &leaf2_type, 3)) + 64; /* newer: an upgrade's */
    expect_none();
    n->leaf -= 8;
    expect_rule("ref.misaligned", &n->leaf);
    n->leaf = hf_ref_of(view, hf_new(txn, &leaf0_type, 3));
    expect_rule("ref.type", &n->leaf);
}

/* ---- leaks ----------------------------------------------------------------------------------- */

static void expect_leaks(uint64_t objects, uint64_t blocks)
{
    struct heard heard;
    const hf_check_report report = check(&heard, HF_CHECK_LEAKS);
    assert_int_equal(heard.findings, 0);
    assert_int_equal(report.leaked_objects, objects);
    assert_int_equal(report.leaked_blocks, blocks);
    assert_int_equal(heard.leaks, objects + blocks);
    assert_int_equal(heard.leak_bytes, report.leaked_bytes);
    assert_true((report.leaked_bytes != 0) == (objects + blocks != 0));
    (void)check(&heard, 0);
    assert_int_equal(heard.leaks, 0);
}

static void test_leaks_of_each_kind(void **state)
{
    (void)state;
    struct node *n = make_node();
    expect_leaks(0, 0);
    struct node *far = hf_new(txn, &node_type, 1);
    expect_leaks(1, 0);
    hf_ref *raw = hf_alloc(txn, 64);
    memset(raw, 0, 64);
    expect_leaks(1, 1);
    raw[3] = hf_ref_of(view, far); /* a block nobody leads to leads to it */
    expect_leaks(1, 1);
    n->any = hf_ref_of(view, raw) + 5;
    expect_leaks(0, 0);
    raw[3] = 0;
    expect_leaks(1, 0);
    raw[5] = hf_ref_of(view, far) - hf_ref_of(view, &raw[5]); /* self-relative */
    expect_leaks(0, 0);
    raw[5] = 0;
    hf_ref *plain = hf_construct(txn, "plain", NULL, 64);
    plain[2] = hf_ref_of(view, far) + 20;
    expect_leaks(0, 0);
    plain[2] = 0;
    struct leaf *leaf = hf_construct(txn, "leaf", &leaf_type, 1);
    leaf->value[1] = hf_ref_of(view, far); /* a blob holds none */
    n->n = hf_ref_of(view, far);           /* nor does a number */
    expect_leaks(1, 0);
    n->n = 2;
    n->child[2] = hf_ref_of(view, far); /* doesn't count */
    expect_leaks(1, 0);
    n->n = 3;
    expect_leaks(0, 0);
}

static void test_leaks_spare_pools(void **state)
{
    (void)state;
    hf_pool *pool = hf_pool_create(txn, "pool", 64, HF_POOL_KEEP_ALL);
    assert_non_null(pool);
    hf_ref *last = NULL;
    for (int i = 0; i < 1000; i++) {
        last = hf_pool_alloc(txn, pool);
        assert_non_null(last);
        memset(last, 0, 64);
    }
    expect_leaks(0, 0);
    struct node *far = hf_new(txn, &node_type, 1);
    expect_leaks(1, 0);
    last[7] = hf_ref_of(view, far);
    expect_leaks(0, 0);
}

#define NODES 300

static uint64_t next(uint64_t random)
{
    random ^= random << 13;
    random ^= random >> 7;
    return random ^ random << 17;
}

/* The model: who leads to whom, and a search without any cleverness. */
static size_t reach(const unsigned char *edges, unsigned char *seen, int from)
{
    size_t count = 1;
    if (seen[from])
        return 0;
    seen[from] = 1;
    for (int to = 0; to < NODES; to++)
        if (edges[from * NODES + to])
            count += reach(edges, seen, to);
    return count;
}

static void test_leaks_are_those_of_a_model(void **state)
{
    (void)state;
    static unsigned char edges[NODES * NODES], seen[NODES];
    uint64_t random = 88172645463325252u;
    for (int round = 0; round < 40; round++) {
        struct node *nodes[NODES];
        char name[16];
        hf_mark mark;
        size_t reached = 0;
        int raws = 0, raws_seen = 0;
        memset(edges, 0, sizeof edges);
        memset(seen, 0, sizeof seen);
        assert_int_equal(hf_savepoint(txn, &mark), 0);
        for (int i = 0; i < NODES; i++) {
            random = next(random);
            snprintf(name, sizeof name, "%d", i);
            nodes[i] = i % 23 == round % 23 ? hf_construct(txn, name, &node_type, 1)
                       : i % 5 == 0         ? hf_alloc(txn, sizeof(struct node) + random % 3000)
                                            : hf_new(txn, &node_type, 1);
            assert_non_null(nodes[i]);
            memset(nodes[i], 0, sizeof(struct node)); /* next = 0: to itself, or nothing */
            const bool raw = i % 23 != round % 23 && i % 5 == 0;
            if (raw)
                memset(nodes[i], 0, hf_usable_bytes(view, nodes[i]));
            raws += raw;
        }
        for (int e = 0; e < NODES + round * 8 - 100; e++) {
            random = next(random);
            const int from = (int)(random % NODES), to = (int)(random / NODES % NODES);
            struct node *n = nodes[from];
            if (n->n >= 4)
                continue;
            const bool raw = to % 23 != round % 23 && to % 5 == 0;
            const bool from_raw = from % 23 != round % 23 && from % 5 == 0;
            if ((raw || from_raw) && n->any != 0)
                continue;
            if (from_raw) { /* backwards and self-relative: as an hf_ref it leads nowhere */
                if (nodes[to] >= n)
                    continue;
                n->any = hf_ref_of(view, nodes[to]) - hf_ref_of(view, n);
            } else if (raw) {
                n->any = hf_ref_of(view, nodes[to]) + random / NODES / NODES % 60;
            } else {
                n->child[n->n++] = hf_ref_of(view, nodes[to]);
            }
            edges[from * NODES + to] = 1;
        }
        for (int i = 0; i < NODES; i++)
            if (i % 23 == round % 23)
                reached += reach(edges, seen, i);
        for (int i = 0; i < NODES; i++)
            raws_seen += seen[i] && i % 23 != round % 23 && i % 5 == 0;
        assert_true(reached < NODES);
        expect_leaks(NODES - reached - (size_t)(raws - raws_seen), (uint64_t)(raws - raws_seen));
        assert_int_equal(hf_rollback_to(txn, mark), 0);
    }
}

/* ---- the map --------------------------------------------------------------------------------- */

static void test_live_map_against_a_list(void **state)
{
    (void)state;
    for (uint64_t density = 1; density <= 100000; density *= 10) {
        struct hf__live live = {0};
        uint64_t at = 1024, starts[500], ends[500], random = density;
        for (int i = 0; i < 500; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            starts[i] = at + (random >> 33) % (i % 50 == 0 ? 16 * density + 1 : 17);
            ends[i] = starts[i] + 8 + (random >> 40) % 64;
            at = ends[i];
            const struct hf__live_block block = {.start = starts[i], .bytes = ends[i] - starts[i]};
            hf__live_add(&live, &block);
        }
        assert_true(hf__live_seal(&live, at));
        for (uint64_t offset = 0; offset < at + 50; offset += 1 + offset / 20000) {
            uint32_t want = HF__LIVE_NONE;
            for (uint32_t i = 0; i < 500; i++)
                if (starts[i] <= offset && offset < ends[i])
                    want = i;
            assert_int_equal(hf__live_find(&live, offset), want);
        }
        assert_int_equal(hf__live_find(&live, UINT64_MAX), HF__LIVE_NONE);
        hf__live_free(&live);
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_ref_check_takes_what_is_right),
        CASE(test_ref_check_finds_dangling_ones),
        CASE(test_ref_check_finds_misaligned_ones),
        CASE(test_ref_check_finds_other_types),
        CASE(test_leaks_of_each_kind),
        CASE(test_leaks_spare_pools),
        CASE(test_leaks_are_those_of_a_model),
        cmocka_unit_test(test_live_map_against_a_list),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
