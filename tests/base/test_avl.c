/* SPDX-License-Identifier: MIT */
/*
 * test_avl.c - the balanced tree: order, balance, bounded cost, and links that are damaged
 *
 * Nodes lie 32 bytes apart with their key behind them, so the order is whatever a test wants.
 */
#include "base/avl.h"

#include "tests/support/campaign.h"

#include <setjmp.h>
#include <cmocka.h>

#define ROOT      16
#define NODES_MAX 4096
#define STRIDE    32

static struct hf__segment seg;
static uint64_t announced, heaviest;
static unsigned char *announced_bytes;

static int reserve(struct hf__segment *segment, uint64_t cost)
{
    (void)segment;
    (void)cost;
    return 0;
}

static void edit(struct hf__segment *segment, uint64_t offset, uint64_t size)
{
    (void)segment;
    announced += HF__EDIT_COST(size);
    memset(announced_bytes + offset, 1, size);
}

static const struct hf__door door = {.reserve = reserve, .edit = edit};

static uint64_t node_at(uint64_t i)
{
    return (i + 1) * STRIDE;
}

static uint64_t *key_of(uint64_t node)
{
    return (uint64_t *)(seg.base + node + 24);
}

static int open_tree(void **state)
{
    (void)state;
    seg = (struct hf__segment){.size_bytes = node_at(NODES_MAX), .door = &door};
    seg.base = aligned_alloc(64, (seg.size_bytes + 63) / 64 * 64);
    announced_bytes = calloc(1, seg.size_bytes);
    if (seg.base == NULL || announced_bytes == NULL)
        return -1;
    memset(seg.base, 0xEE, seg.size_bytes);
    *(uint64_t *)(seg.base + ROOT) = 0;
    announced = heaviest = 0;
    return 0;
}

static int close_tree(void **state)
{
    (void)state;
    free(seg.base);
    free(announced_bytes);
    return 0;
}

static uint64_t root(void)
{
    return *(uint64_t *)(seg.base + ROOT);
}

static void insert(uint64_t node, uint64_t key)
{
    uint64_t parent = 0, at = root();
    bool right = false;
    *key_of(node) = key;
    while (at != 0) {
        parent = at;
        right = *key_of(at) < key;
        at = right ? hf__avl_at(&seg, at)->right : hf__avl_at(&seg, at)->left;
    }
    announced = 0;
    hf__avl_insert(&seg, ROOT, node, parent, right);
    heaviest = announced > heaviest ? announced : heaviest;
    assert_true(hf__avl_answered(&seg, ROOT, node));
}

static void erase(uint64_t node)
{
    announced = 0;
    hf__avl_erase(&seg, ROOT, node);
    heaviest = announced > heaviest ? announced : heaviest;
}

/* ---- checking -------------------------------------------------------------------------------- */

static const char *const rules[4] = {"t.balance", "t.parent", "t.order", "t.bounds"};
static const char *last_rule;
static bool bounds_seen;

static void note(void *user, const hf_finding *finding)
{
    (void)user;
    last_rule = finding->rule;
    bounds_seen |= finding->rule == rules[3];
}

static bool valid(void *user, uint64_t node)
{
    (void)user;
    return node + STRIDE <= seg.size_bytes;
}

static bool ordered(void *user, uint64_t a, uint64_t b)
{
    (void)user;
    return *key_of(a) < *key_of(b);
}

static uint64_t findings(uint64_t *nodes)
{
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    struct hf__check check;
    options.on_finding = note;
    hf__check_init(&check, &options, 0);
    last_rule = "";
    bounds_seen = false;
    *nodes = hf__avl_check(&seg, root(), NODES_MAX, rules, &check, valid, ordered, NULL);
    return check.report.findings;
}

static void assert_sound(uint64_t count)
{
    uint64_t nodes, forward = 0, backward = 0;
    assert_int_equal(findings(&nodes), 0);
    assert_int_equal(nodes, count);
    for (uint64_t n = hf__avl_first(&seg, root()); n != 0; n = hf__avl_next(&seg, n))
        forward++;
    for (uint64_t n = hf__avl_last(&seg, root()); n != 0; n = hf__avl_previous(&seg, n))
        backward++;
    assert_int_equal(forward, count);
    assert_int_equal(backward, count);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_avl_empty_tree_has_no_ends(void **state)
{
    (void)state;
    assert_sound(0);
    assert_int_equal(hf__avl_first(&seg, 0), 0);
    assert_int_equal(hf__avl_next(&seg, 0), 0);
    assert_false(hf__avl_answered(&seg, ROOT, 0));
}

static void test_avl_rising_and_falling_insertions_stay_balanced(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000; i++)
        insert(node_at(i), i < 500 ? i : 2000 - i);
    assert_sound(1000);
    for (uint64_t i = 0; i < 1000; i += 2) {
        erase(node_at(i));
        if (i % 50 == 0)
            assert_sound(999 - i / 2);
    }
    assert_sound(500);
}

static void test_avl_every_small_tree_survives_every_erasure(void **state)
{
    (void)state;
    for (uint64_t count = 1; count <= 7; count++)
        for (uint64_t order = 0; order < 5040; order++)
            for (uint64_t victim = 0; victim < count; victim++) {
                uint64_t keys[7] = {0, 1, 2, 3, 4, 5, 6}, rest = order;
                for (uint64_t i = 0; i < count; i++, rest /= 7) { /* the order-th permutation */
                    uint64_t other = i + rest % (count - i), key = keys[i];
                    keys[i] = keys[other];
                    keys[other] = key;
                }
                *(uint64_t *)(seg.base + ROOT) = 0;
                for (uint64_t i = 0; i < count; i++)
                    insert(node_at(i), keys[i]);
                erase(node_at(victim));
                uint64_t nodes;
                assert_int_equal(findings(&nodes), 0);
                assert_int_equal(nodes, count - 1);
            }
}

static void test_avl_random_operations_match_a_set(void **state)
{
    static bool in[NODES_MAX];
    struct campaign campaign;
    struct rng rng;
    uint64_t count = 0;
    (void)state;
    campaign_start(&campaign, "test_avl");
    rng.state = campaign.seed;
    memset(in, 0, sizeof in);
    uint64_t operations = campaign_count(&campaign, 300000);
    unsigned char *copy = malloc(seg.size_bytes);
    assert_non_null(copy);
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t which = rng_below(&rng, NODES_MAX - 1), node = node_at(which);
        bool compared = i % 256 == 0;
        if (compared) {
            memset(announced_bytes, 0, seg.size_bytes);
            memset(announced_bytes + node + 24, 1, 8); /* the key is the test's */
            memcpy(copy, seg.base, seg.size_bytes);
        }
        if (in[which])
            erase(node);
        else
            insert(node, which * UINT64_C(2654435761) % 4093 * 8192 + which);
        in[which] = !in[which];
        count = in[which] ? count + 1 : count - 1;
        for (uint64_t b = 0; compared && b < seg.size_bytes; b++)
            if (copy[b] != seg.base[b])
                assert_true(announced_bytes[b]);
        if (i % 1024 == 0)
            assert_sound(count);
    }
    assert_sound(count);
    assert_true(heaviest <= (7 * 6 + 5) * HF__EDIT_COST(24)); /* avl.c's bound, height below 15 */
    free(copy);
}

/* A minimal tree of that height (Fibonacci), the worst case for erasures. */
static uint64_t fibonacci(unsigned height, uint64_t parent, uint64_t *used)
{
    if (height == 0)
        return 0;
    uint64_t node = 0, left, right;
    node = node_at(NODES_MAX - 1 - 1 - *used);
    ++*used;
    left = fibonacci(height - 1, node, used);
    right = height >= 2 ? fibonacci(height - 2, node, used) : 0;
    struct hf__avl_node *n = (struct hf__avl_node *)(seg.base + node);
    n->left = left;
    n->right = right;
    n->parent = parent | (left != 0 ? 2u : 0u);
    return node;
}

static void number(uint64_t node, uint64_t *next)
{
    if (node == 0)
        return;
    number(hf__avl_at(&seg, node)->left, next);
    *key_of(node) = ++*next;
    number(hf__avl_at(&seg, node)->right, next);
}

static void test_avl_erasure_rotating_at_every_level_stays_balanced(void **state)
{
    (void)state;
    for (unsigned height = 2; height <= 15; height++) {
        uint64_t used = 0, next = 0;
        uint64_t top = fibonacci(height, 0, &used);
        *(uint64_t *)(seg.base + ROOT) = top;
        number(top, &next);
        assert_sound(used);
        erase(hf__avl_last(&seg, root()));
        assert_sound(used - 1);
    }
    /* seven rotations of four nodes; avl.c allows six nodes each and five more */
    assert_int_equal(heaviest, 7 * 4 * HF__EDIT_COST(24));
}

static void test_avl_check_reports_each_broken_invariant(void **state)
{
    uint64_t nodes;
    (void)state;
    for (uint64_t i = 0; i < 100; i++)
        insert(node_at(i), i);
    struct hf__avl_node *n = (struct hf__avl_node *)(seg.base + node_at(50)), saved = *n;
    uint64_t key = *key_of(node_at(50));

    n->parent ^= 1;
    assert_int_not_equal(findings(&nodes), 0);
    assert_string_equal(last_rule, "t.balance");
    *n = saved;

    *key_of(node_at(50)) = 99;
    assert_int_not_equal(findings(&nodes), 0);
    assert_string_equal(last_rule, "t.order");
    *key_of(node_at(50)) = key;

    assert_int_equal(findings(&nodes), 0);
    static const uint64_t wrong[] = {8, UINT64_MAX, UINT64_MAX - 15, 1 << 30, 24};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ((struct hf__avl_node *)(seg.base + root()))->left = wrong[i];
        assert_int_not_equal(findings(&nodes), 0);
        assert_string_not_equal(last_rule, "");
    }
    ((struct hf__avl_node *)(seg.base + root()))->left = root(); /* a cycle */
    assert_int_not_equal(findings(&nodes), 0);
}

static void test_avl_path_longer_than_any_tree_is_not_followed_to_its_end(void **state)
{
    uint64_t nodes, length = 1000;
    (void)state;
    for (uint64_t i = 0; i < length; i++) { /* a list to the right, its links in order */
        struct hf__avl_node *n = (struct hf__avl_node *)(seg.base + node_at(i));
        n->left = 0;
        n->right = i + 1 < length ? node_at(i + 1) : 0;
        n->parent = (i > 0 ? node_at(i - 1) : 0) | 1;
        *key_of(node_at(i)) = i;
    }
    *(uint64_t *)(seg.base + ROOT) = node_at(0);
    assert_int_not_equal(findings(&nodes), 0);
    assert_true(bounds_seen);
    assert_int_equal(nodes, HF__AVL_HEIGHT_MAX);
    assert_int_equal(hf__avl_last(&seg, root()), 0);
}

static void test_avl_parent_that_is_not_the_parent_is_reported(void **state)
{
    uint64_t nodes;
    (void)state;
    for (uint64_t i = 0; i < 3; i++)
        insert(node_at(i), i);
    struct hf__avl_node *leaf = (struct hf__avl_node *)(seg.base + node_at(2));
    leaf->parent = node_at(0);
    assert_int_not_equal(findings(&nodes), 0);
    assert_false(hf__avl_answered(&seg, ROOT, node_at(2)));
    assert_false(hf__avl_answered(&seg, ROOT, node_at(1)));
    leaf->parent = node_at(1);
    assert_true(hf__avl_answered(&seg, ROOT, node_at(1)));
}

static void test_avl_damaged_links_neither_crash_nor_loop_nor_write_elsewhere(void **state)
{
    struct campaign campaign;
    struct rng rng;
    uint64_t nodes;
    (void)state;
    campaign_start(&campaign, "test_avl damage");
    rng.state = campaign.seed;
    unsigned char *copy = malloc(seg.size_bytes);
    assert_non_null(copy);
    for (uint64_t i = 0; i < 200; i++)
        insert(node_at(i), i * 37 % 211);
    memcpy(copy, seg.base, seg.size_bytes);
    for (uint64_t round = 0; round < campaign_count(&campaign, 20000); round++) {
        memcpy(seg.base, copy, seg.size_bytes);
        for (uint64_t k = rng_below(&rng, 6) + 1; k > 0; k--) {
            uint64_t word = node_at(rng_below(&rng, 200)) + 8 * rng_below(&rng, 3);
            uint64_t value = rng_percent(&rng, 50)   ? node_at(rng_below(&rng, 200))
                             : rng_percent(&rng, 50) ? rng_next(&rng)
                                                     : rng_below(&rng, seg.size_bytes + 64);
            *(uint64_t *)(seg.base + word) = value | rng_below(&rng, 4);
        }
        findings(&nodes);
        for (uint64_t k = 0; k < 5; k++)
            erase(node_at(rng_below(&rng, 200)));
        uint64_t n = hf__avl_first(&seg, root());
        for (unsigned steps = 0; n != 0 && steps < 1000; steps++)
            n = hf__avl_next(&seg, n);
        hf__avl_previous(&seg, rng_next(&rng));
        findings(&nodes);
        /* no byte of keys, of other nodes, of anything else */
        for (uint64_t i = 0; i < 200; i++)
            assert_int_equal(*key_of(node_at(i)), i * 37 % 211);
        assert_memory_equal(copy + node_at(200), seg.base + node_at(200),
                            seg.size_bytes - node_at(200));
    }
    free(copy);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, open_tree, close_tree)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_avl_empty_tree_has_no_ends),
        CASE(test_avl_rising_and_falling_insertions_stay_balanced),
        CASE(test_avl_every_small_tree_survives_every_erasure),
        CASE(test_avl_random_operations_match_a_set),
        CASE(test_avl_erasure_rotating_at_every_level_stays_balanced),
        CASE(test_avl_check_reports_each_broken_invariant),
        CASE(test_avl_path_longer_than_any_tree_is_not_followed_to_its_end),
        CASE(test_avl_parent_that_is_not_the_parent_is_reported),
        CASE(test_avl_damaged_links_neither_crash_nor_loop_nor_write_elsewhere),
    };
    return cmocka_run_group_tests_name("avl", tests, NULL, NULL);
}
