/* SPDX-License-Identifier: MIT */
/*
 * conformance_upgrade.c - a random graph of named, unique and anonymous arrays goes through two
 * upgrades and keeps its shape: the same cases on every backing, allocator and index
 */
#include "store_fixture.h"

#include "tests/support/campaign.h"

#include <stdint.h>

/* ---- three versions of a node ---------------------------------------------------------------- */

struct v1 {
    uint64_t id;
    HF_PTR(struct v1) next;
    hf_ref other, holder;
};
#define V1_FIELDS(F, T)                                                                            \
    F(T, id, HF_FIELD_U64, NULL)                                                                   \
    F(T, next, HF_FIELD_PTR, &v1_type)                                                             \
    F(T, other, HF_FIELD_REF, &v1_type)                                                            \
    F(T, holder, HF_FIELD_REF, NULL)
HF_TYPE_DEFINE(v1_type, "node", 1, struct v1, V1_FIELDS);

struct v2 { /* larger: moves */
    hf_ref other, holder;
    HF_PTR(struct v2) next;
    uint64_t id, twice;
    char pad[64];
};
#define V2_FIELDS(F, T)                                                                            \
    F(T, other, HF_FIELD_REF, &v2_type)                                                            \
    F(T, holder, HF_FIELD_REF, NULL)                                                               \
    F(T, next, HF_FIELD_PTR, &v2_type)                                                             \
    F(T, id, HF_FIELD_U64, NULL)
HF_TYPE_DEFINE(v2_type, "node", 2, struct v2, V2_FIELDS);

struct v3 { /* smaller: single elements stay, arrays don't */
    HF_PTR(struct v3) next;
    uint64_t id;
    hf_ref other;
};
#define V3_FIELDS(F, T)                                                                            \
    F(T, next, HF_FIELD_PTR, &v3_type)                                                             \
    F(T, id, HF_FIELD_U64, NULL)                                                                   \
    F(T, other, HF_FIELD_REF, &v3_type)
HF_TYPE_DEFINE(v3_type, "node", 3, struct v3, V3_FIELDS);

struct holder {
    hf_ref to;
    HF_PTR(void) same;
};
#define HOLDER_FIELDS(F, T)                                                                        \
    F(T, to, HF_FIELD_REF, &v1_type)                                                               \
    F(T, same, HF_FIELD_PTR, NULL)
HF_TYPE_DEFINE(holder_type, "holder", 1, struct holder, HOLDER_FIELDS);

static const hf_type *const types[] = {NULL, &v1_type, &v2_type, &v3_type};

static int stop_at = -1; /* the element after which the function gives up */

static int to_v2(void *user, hf_txn *txn, const void *old, void *made, size_t index)
{
    const struct v1 *from = old;
    struct v2 *to = made;
    int *calls = user;
    (void)txn;
    (void)index;
    static const struct v2 zero;
    assert_memory_equal(to, &zero, sizeof zero);
    if (calls != NULL && (*calls)++ == stop_at)
        return 77;
    to->id = from->id;
    to->twice = 2 * from->id;
    to->other = from->other;
    to->holder = from->holder;
    hf_ptr_set(&to->next, hf_ptr_get(&from->next));
    memset(to->pad, 'p', sizeof to->pad);
    return 0;
}

static int to_v3(void *user, hf_txn *txn, const void *old, void *made, size_t index)
{
    const struct v2 *from = old;
    struct v3 *to = made;
    (void)user;
    (void)txn;
    (void)index;
    static const struct v3 zero;
    assert_memory_equal(to, &zero, sizeof zero);
    to->id = from->id;
    to->other = from->other;
    hf_ptr_set(&to->next, hf_ptr_get(&from->next));
    return from->twice == 2 * from->id && from->pad[63] == 'p' ? 0 : 78;
}

/* Not in the order of the versions. */
static const hf_upgrade_step steps[] = {{&v2_type, &v3_type, to_v3, NULL},
                                        {&v1_type, &v2_type, to_v2, NULL}};

/* ---- the graph ------------------------------------------------------------------------------- */

enum { OBJECTS = 60, ELEMENTS_MAX = 4 };
#define NOBODY UINT64_MAX

struct graph {
    uint32_t count[OBJECTS], held[OBJECTS]; /* elements; the one its holder leads to */
    uint64_t next[OBJECTS][ELEMENTS_MAX], other[OBJECTS][ELEMENTS_MAX];
    bool unset[OBJECTS][ELEMENTS_MAX];
};

static uint64_t pick(const struct graph *g, struct rng *rng)
{
    const uint64_t object = rng_below(rng, OBJECTS);
    return rng_percent(rng, 20) ? NOBODY : object * 16 + rng_below(rng, g->count[object]);
}

static void graph_make(struct graph *g, hf_txn *txn, uint64_t seed)
{
    struct v1 *nodes[OBJECTS];
    struct rng rng = {seed};
    hf_view *view = hf_txn_view(txn);
    struct holder *holders = hf_construct(txn, "holders", &holder_type, OBJECTS);
    assert_got(holders);
    for (uint32_t i = 0; i < OBJECTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "node/%u", i);
        g->count[i] = i % 3 == 0 ? 1 : 1 + (uint32_t)rng_below(&rng, ELEMENTS_MAX);
        g->held[i] = (uint32_t)rng_below(&rng, g->count[i]);
        nodes[i] = i == 7       ? hf_construct_unique(txn, &v1_type, g->count[i])
                   : i % 4 == 1 ? hf_construct(txn, name, &v1_type, g->count[i])
                                : hf_new(txn, &v1_type, g->count[i]);
        assert_got(nodes[i]);
        holders[i].to = hf_ref_of(view, &nodes[i][g->held[i]]);
        hf_ptr_set(&holders[i].same, &nodes[i][g->held[i]]);
    }
    for (uint32_t i = 0; i < OBJECTS; i++)
        for (uint32_t k = 0; k < g->count[i]; k++) {
            struct v1 *node = &nodes[i][k];
            const uint64_t next = g->next[i][k] = pick(g, &rng);
            const uint64_t other = g->other[i][k] = pick(g, &rng);
            node->id = i * 16 + k;
            node->holder = hf_ref_of(view, &holders[i]);
            g->unset[i][k] = rng_percent(&rng, 10);
            if (!g->unset[i][k])
                hf_ptr_set(&node->next, next == NOBODY ? NULL : &nodes[next / 16][next % 16]);
            node->other = other == NOBODY ? 0 : hf_ref_of(view, &nodes[other / 16][other % 16]);
        }
}

static uint64_t id_at(const void *element, int version)
{
    return element == NULL ? NOBODY
           : version == 1  ? ((const struct v1 *)element)->id
           : version == 2  ? ((const struct v2 *)element)->id
                           : ((const struct v3 *)element)->id;
}

static void graph_compare(const struct graph *g, hf_view *view, int version)
{
    size_t count;
    const hf_type *type = types[version];
    const struct holder *holders = hf_find(view, "holders", &holder_type, &count);
    assert_got(holders);
    assert_int_equal(count, OBJECTS);
    for (uint32_t i = 0; i < OBJECTS; i++) {
        const unsigned char *held = hf_at(view, holders[i].to);
        assert_ptr_equal(held, hf_ptr_get(&holders[i].same));
        const unsigned char *first = held - (size_t)g->held[i] * type->size_bytes;
        hf_object_info info;
        assert_ok(hf_object_at(view, first, &info));
        assert_int_equal(info.count, g->count[i]);
        assert_int_equal(info.type_version, version);
        assert_int_equal(info.kind, i == 7       ? HF_KIND_UNIQUE
                                    : i % 4 == 1 ? HF_KIND_NAMED
                                                 : HF_KIND_ANONYMOUS);
        if (info.kind == HF_KIND_NAMED) {
            assert_int_equal(strtol(info.name + 5, NULL, 10), i);
            assert_ptr_equal(hf_find(view, info.name, type, NULL), first);
        }
        if (info.kind == HF_KIND_UNIQUE)
            assert_ptr_equal(hf_find_unique(view, type, NULL), first);
        for (uint32_t k = 0; k < g->count[i]; k++) {
            const unsigned char *at = first + (size_t)k * type->size_bytes;
            const struct v1 *one = (const void *)at;
            const struct v2 *two = (const void *)at;
            const struct v3 *three = (const void *)at;
            const void *next = version == 1   ? (const void *)hf_ptr_get(&one->next)
                               : version == 2 ? (const void *)hf_ptr_get(&two->next)
                                              : (const void *)hf_ptr_get(&three->next);
            const hf_ref other = version == 1   ? one->other
                                 : version == 2 ? two->other
                                                : three->other;
            assert_int_equal(id_at(at, version), i * 16 + k);
            if (g->unset[i][k])
                assert_int_equal(version == 1   ? one->next.offset
                                 : version == 2 ? two->next.offset
                                                : three->next.offset,
                                 0);
            else
                assert_int_equal(id_at(next, version), g->next[i][k]);
            assert_int_equal(id_at(hf_at(view, other), version), g->other[i][k]);
        }
    }
}

static void compare(struct fixture *f, const struct graph *g, int version)
{
    hf_view *view = fixture_view(f);
    graph_compare(g, view, version);
    hf_view_end(view);
    fixture_assert_sound(f->store);
}

static void make(struct fixture *f, struct graph *g, uint64_t seed)
{
    hf_txn *txn = fixture_begin(f);
    graph_make(g, txn, seed);
    assert_ok(hf_commit(txn));
}

/* ---- cases ----------------------------------------------------------------------------------- */

static uint64_t elements_of(const struct graph *g)
{
    uint64_t elements = 0;
    for (int i = 0; i < OBJECTS; i++)
        elements += g->count[i];
    return elements;
}

static void test_a_graph_keeps_its_shape(struct fixture *f)
{
    struct graph g;
    hf_upgrade_report report;
    make(f, &g, 1);
    compare(f, &g, 1);
    hf_txn *txn = fixture_begin(f);
    assert_ok(hf_upgrade(txn, &v1_type, &v2_type, to_v2, NULL, 0, &report));
    assert_int_equal(report.objects, OBJECTS);
    assert_int_equal(report.elements, elements_of(&g));
    assert_int_equal(report.moved, OBJECTS);
    assert_true(report.pointers > 2 * OBJECTS);
    assert_int_equal(report.stray, 0);
    graph_compare(&g, hf_txn_view(txn), 2);
    assert_ok(hf_commit(txn));
    compare(f, &g, 2);
    fixture_reopen(f);
    compare(f, &g, 2);
    txn = fixture_begin(f);
    assert_ok(hf_upgrade_all(txn, steps, 2, 0, &report)); /* the first has been done */
    assert_int_equal(report.steps, 1);
    assert_int_equal(report.objects, OBJECTS);
    assert_true(report.in_place >= OBJECTS / 3 && report.moved > 10);
    assert_ok(hf_commit(txn));
    compare(f, &g, 3);
    txn = fixture_begin(f);
    assert_ok(hf_upgrade_all(txn, steps, 2, 0, &report)); /* and nothing is left to do */
    assert_int_equal(report.objects, 0);
    assert_ok(hf_commit(txn));
    fixture_reopen(f);
    compare(f, &g, 3);
}

static void test_a_chain_of_versions_in_one_call(struct fixture *f)
{
    struct graph g;
    hf_upgrade_report report;
    make(f, &g, 2);
    hf_txn *txn = fixture_begin(f);
    void *known = hf_new(txn, &v2_type, 1); /* its type is registered, and has no objects */
    assert_got(known);
    assert_ok(hf_destroy_ptr(txn, known));
    assert_ok(hf_upgrade_all(txn, steps, 2, 0, &report));
    assert_int_equal(report.steps, 2);
    assert_int_equal(report.objects, 2 * OBJECTS);
    assert_ok(hf_commit(txn));
    compare(f, &g, 3);
}

static void test_abort_rollback_and_failure_leave_the_old_version(struct fixture *f)
{
    struct graph g;
    hf_mark mark;
    hf_upgrade_report report = {.objects = 5};
    make(f, &g, 3);
    const hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    assert_ok(hf_upgrade(txn, &v1_type, &v2_type, to_v2, NULL, 0, NULL));
    hf_abort(txn);
    compare(f, &g, 1);
    txn = fixture_begin(f);
    assert_ok(hf_savepoint(txn, &mark));
    assert_ok(hf_upgrade(txn, &v1_type, &v2_type, to_v2, NULL, 0, NULL));
    graph_compare(&g, hf_txn_view(txn), 2);
    assert_ok(hf_rollback_to(txn, mark));
    graph_compare(&g, hf_txn_view(txn), 1);
    for (stop_at = 0; stop_at < (int)elements_of(&g); stop_at += 37) {
        int calls = 0;
        assert_code(hf_upgrade(txn, &v1_type, &v2_type, to_v2, &calls, 0, &report), HF_ECANCELLED);
        assert_int_equal(hf_last_error()->os_errno, 77);
        assert_int_equal(calls, stop_at + 1);
        assert_int_equal(report.objects, 5); /* as it was */
        graph_compare(&g, hf_txn_view(txn), 1);
    }
    stop_at = -1;
    assert_ok(hf_commit(txn));
    compare(f, &g, 1);
    assert_int_equal(fixture_info(f).anonymous_count, before.anonymous_count);
    txn = fixture_begin(f);
    assert_ok(hf_upgrade(txn, &v1_type, &v2_type, to_v2, NULL, 0, NULL));
    assert_ok(hf_commit(txn));
    compare(f, &g, 2);
}

#define CASE(name)                                                                                 \
    {                                                                                              \
#name, name, false                                                                         \
    }

int main(void)
{
    static const struct fixture_case cases[] = {
        CASE(test_a_graph_keeps_its_shape),
        CASE(test_a_chain_of_versions_in_one_call),
        CASE(test_abort_rollback_and_failure_leave_the_old_version),
    };
    return fixture_run_matrix("upgrade", cases, sizeof cases / sizeof *cases);
}
