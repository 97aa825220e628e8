/* SPDX-License-Identifier: MIT */
/*
 * conformance_objects.c - named, unique and anonymous objects, types and iteration: the same cases
 * on every backing, allocator and index
 */
#include "store_fixture.h"

#include <pthread.h>

struct node {
    hf_ref next;
    HF_PTR(struct node) other;
    int64_t value;
};
static const hf_type node_type;
static const hf_field node_refs[] = {{offsetof(struct node, next), HF_FIELD_REF, &node_type},
                                     {offsetof(struct node, other), HF_FIELD_PTR, &node_type}};
static const hf_type node_type = {"node", 3, sizeof(struct node), 8, 0, node_refs, 2};

static bool all_zero(const void *p, size_t size_bytes)
{
    const unsigned char *bytes = p;
    for (size_t i = 0; i < size_bytes; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

/* ---- construct and find ---------------------------------------------------------------------- */

static void test_constructed_is_found_in_txn_view_and_after_reopen(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    struct node *n = hf_construct(txn, "a/node", &node_type, 1);
    assert_got(n);
    assert_true(all_zero(n, sizeof *n));
    assert_int_equal((uintptr_t)n % 8, 0);
    n->value = 42;
    size_t count = 99;
    assert_ptr_equal(hf_find(hf_txn_view(txn), "a/node", &node_type, &count), n);
    assert_int_equal(count, 1);
    assert_ok(hf_commit(txn));
    for (int round = 0; round < 2; round++) {
        hf_view *view = fixture_view(f);
        const struct node *seen = hf_find(view, "a/node", &node_type, &count);
        assert_got(seen);
        assert_int_equal(seen->value, 42);
        assert_int_equal(count, 1);
        assert_ptr_equal(hf_find(view, "a/node", NULL, NULL), seen);
        hf_view_end(view);
        fixture_reopen(f);
    }
}

static void test_find_of_absent_name_leaves_count_alone(struct fixture *f)
{
    fixture_set(f->store, "abc", 1);
    hf_view *view = fixture_view(f);
    size_t count = 77;
    static const char *const absent[] = {"ab", "abcd", "abd", "ABC", "b", " "};
    for (size_t i = 0; i < 6; i++)
        assert_fails(hf_find(view, absent[i], NULL, &count), HF_ENOTFOUND);
    assert_int_equal(count, 77);
    hf_view_end(view);
}

/* In a transaction that grows the index, then in a view: names that come, that never come, bad ones. */
static void test_expected_names_are_what_they_would_have_been(struct fixture *f)
{
    enum { NAMES = 600 };
    char name[32];
    hf_txn *txn = fixture_begin(f);
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "object %u", i + HF_NAMES_AHEAD);
        hf_expect(hf_txn_view(txn), name);
        snprintf(name, sizeof name, "object %u", i);
        unsigned *value = hf_construct(txn, name, NULL, sizeof *value);
        assert_got(value);
        *value = i;
        if (i % 3 == 0)
            assert_ok(hf_destroy(txn, name));
    }
    assert_ok(hf_commit(txn));
    hf_view *view = fixture_view(f);
    static char long_name[HF_NAME_BYTES_MAX + 2];
    memset(long_name, 'x', sizeof long_name - 1);
    assert_fails(hf_find(view, "no such name", NULL, NULL), HF_ENOTFOUND);
    hf_expect(view, NULL);
    hf_expect(view, "");
    hf_expect(view, long_name);
    hf_expect(NULL, "object 1");
    assert_int_equal(hf_last_error()->code, HF_ENOTFOUND); /* as it was */
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "object %u", (i + HF_NAMES_AHEAD) * 7 % (2 * NAMES));
        hf_expect(view, name);
        snprintf(name, sizeof name, "object %u", i);
        const unsigned *value = hf_find(view, name, NULL, NULL);
        if (i % 3 == 0) {
            assert_null(value);
        } else {
            assert_got(value);
            assert_int_equal(*value, i);
        }
    }
    hf_view_end(view);
}

/* What was found out about expected names before a rollback is nothing to go by after it: pages that the
 * rolled back names made are gone. */
static void test_expected_names_survive_a_rollback(struct fixture *f)
{
    enum { NAMES = 900 };
    char name[32];
    hf_mark mark;
    hf_txn *txn = fixture_begin(f);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "object x%u", i);
        assert_got(hf_construct(txn, name, NULL, 8));
    }
    for (unsigned round = 0; round < 3; round++) {
        assert_ok(hf_savepoint(txn, &mark));
        for (unsigned i = 0; i < NAMES; i++) {
            snprintf(name, sizeof name, "object %u", i * 7 + 1 + round);
            assert_got(hf_construct(txn, name, NULL, 8));
        }
        for (unsigned i = 0; i <= HF_NAMES_AHEAD; i++) {
            snprintf(name, sizeof name, "object %u", i * 350 + 1 + round);
            hf_expect(hf_txn_view(txn), name);
        }
        assert_ok(hf_rollback_to(txn, mark));
        for (unsigned i = 0; i < HF_NAMES_AHEAD; i++) {
            snprintf(name, sizeof name, "object %u", i * 350 + 1 + round);
            assert_fails(hf_find(hf_txn_view(txn), name, NULL, NULL), HF_ENOTFOUND);
            assert_got(hf_construct(txn, name, NULL, 8));
            assert_ok(hf_destroy(txn, name));
        }
    }
    assert_int_equal(hf_count_named(hf_txn_view(txn)), 40);
    assert_ok(hf_commit(txn));
    hf_view *view = fixture_view(f);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "object x%u", i);
        assert_got(hf_find(view, name, NULL, NULL));
    }
    hf_view_end(view);
    fixture_assert_sound(f->store);
}

/* Two threads' worth of views don't mix: hints of one store are no hints of another, nor of the next
 * view that lies at the same address. */
static void test_expected_names_are_those_of_one_view(struct fixture *f)
{
    char name[32];
    for (unsigned round = 0; round < 4; round++) {
        hf_txn *txn = fixture_begin(f);
        for (unsigned i = 0; i < 400; i++) {
            snprintf(name, sizeof name, "object %u", i);
            if (round % 2 == 0)
                assert_got(hf_construct(txn, name, NULL, 8));
            else
                assert_ok(hf_destroy(txn, name));
        }
        assert_ok(hf_commit(txn));
        hf_view *view = fixture_view(f);
        for (unsigned i = 0; i < 400; i++) {
            snprintf(name, sizeof name, "object %u", (i + HF_NAMES_AHEAD) % 400);
            hf_expect(view, name);
            snprintf(name, sizeof name, "object %u", i);
            if (round % 2 == 0)
                assert_got(hf_find(view, name, NULL, NULL));
            else
                assert_null(hf_find(view, name, NULL, NULL));
        }
        hf_view_end(view);
    }
}

struct changer {
    struct fixture *f;
    unsigned round;
};

static void *constructs_others(void *argument)
{
    const struct changer *changer = argument;
    char name[32];
    hf_txn *txn = fixture_begin(changer->f);
    for (unsigned i = 0; i < 1200; i++) {
        snprintf(name, sizeof name, "object %u.%u", i, changer->round);
        assert_got(hf_construct(txn, name, NULL, 8));
    }
    assert_ok(hf_commit(txn));
    return NULL;
}

/* Names were told and not looked for; then another thread changes the index, and this one looks for them in
 * its next view, which lies where the last one did. */
static void test_expected_names_are_forgotten_with_their_view(struct fixture *f)
{
    char name[32];
    for (unsigned round = 0; round < 6; round++) {
        struct changer changer = {f, round};
        pthread_t thread;
        hf_view *view;
        for (unsigned when = 0; when < 2; when++) {
            view = fixture_view(f);
            for (unsigned i = 0; round > 0 && i < HF_NAMES_AHEAD; i++) {
                snprintf(name, sizeof name, "object %u.%u", i * 73, round - 1);
                if (when == 0)
                    hf_expect(view, name);
                else
                    assert_got(hf_find(view, name, NULL, NULL));
            }
            hf_view_end(view);
            if (when == 0) {
                assert_int_equal(pthread_create(&thread, NULL, constructs_others, &changer), 0);
                assert_int_equal(pthread_join(thread, NULL), 0);
            }
        }
    }
}

static void test_find_or_construct_makes_only_once(struct fixture *f)
{
    int created = -1;
    hf_txn *txn = fixture_begin(f);
    int64_t *p = hf_find_or_construct(txn, "n", &value_type, 3, &created);
    assert_got(p);
    assert_int_equal(created, 1);
    p[2] = 5;
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    p = hf_find_or_construct(txn, "n", &value_type, 1, &created); /* another count is no matter */
    assert_got(p);
    assert_int_equal(created, 0);
    assert_int_equal(p[2], 5);
    p[2] = 6; /* announced already, so an abort takes it back */
    hf_abort(txn);
    hf_view *view = fixture_view(f);
    size_t count = 0;
    const int64_t *seen = hf_find(view, "n", &value_type, &count);
    assert_got(seen);
    assert_int_equal(seen[2], 5);
    assert_int_equal(count, 3);
    assert_int_equal(hf_count_named(view), 1);
    hf_view_end(view);
}

static void test_find_or_construct_of_another_type_is_refused(struct fixture *f)
{
    fixture_set(f->store, "n", 1);
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    int created = -1;
    assert_fails(hf_find_or_construct(txn, "n", &node_type, 1, &created), HF_ETYPE);
    assert_int_equal(created, -1);
    assert_ok(hf_commit(txn));
    fixture_assert_unchanged(f, &before);
}

static void test_destroyed_by_name_is_gone_and_name_is_free(struct fixture *f)
{
    fixture_set(f->store, "x", 1);
    fixture_set(f->store, "y", 2);
    hf_txn *txn = fixture_begin(f);
    assert_ok(hf_destroy(txn, "x"));
    assert_fails(hf_find(hf_txn_view(txn), "x", NULL, NULL), HF_ENOTFOUND);
    assert_code(hf_destroy(txn, "x"), HF_ENOTFOUND);
    assert_int_equal(hf_count_named(hf_txn_view(txn)), 1);
    int64_t *again = hf_construct(txn, "x", &value_type, 1); /* in the same transaction */
    assert_got(again);
    assert_int_equal(*again, 0);
    *again = 10;
    assert_ok(hf_commit(txn));
    fixture_reopen(f);
    assert_int_equal(fixture_get(f->store, "x"), 10);
    assert_int_equal(fixture_get(f->store, "y"), 2);
}

static void test_destroy_ptr_takes_every_kind(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    bool names = f->index != HF_INDEX_NULL;
    hf_ref refs[3] = {0, 0, 0};
    void *anonymous = hf_new(txn, &node_type, 2);
    assert_got(anonymous);
    refs[0] = hf_ref_of(hf_txn_view(txn), anonymous);
    if (names) {
        void *named = hf_construct(txn, "named", &node_type, 1);
        void *unique = hf_construct_unique(txn, &node_type, 1);
        assert_got(named);
        assert_got(unique);
        refs[1] = hf_ref_of(hf_txn_view(txn), named);
        refs[2] = hf_ref_of(hf_txn_view(txn), unique);
    }
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    for (size_t i = 0; i < (names ? 3 : 1); i++) {
        const void *p = hf_at(hf_txn_view(txn), refs[i]);
        assert_got(p);
        assert_ok(hf_destroy_ptr(txn, p));
        assert_code(hf_destroy_ptr(txn, p), HF_EPTR);
    }
    assert_ok(hf_commit(txn));
    hf_view *view = fixture_view(f);
    assert_int_equal(hf_count_named(view), 0);
    assert_int_equal(hf_count_unique(view), 0);
    assert_int_equal(hf_all_memory_deallocated(view), 1);
    hf_view_end(view);
}

static void test_destroy_ptr_of_wrong_pointers_changes_nothing(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    struct node *n = hf_new(txn, &node_type, 4);
    char *raw = hf_alloc(txn, 100);
    assert_got(n);
    assert_got(raw);
    hf_ref node_ref = hf_ref_of(hf_txn_view(txn), n), raw_ref = hf_ref_of(hf_txn_view(txn), raw);
    assert_ok(hf_commit(txn));
    hf_store_info before = fixture_info(f);
    txn = fixture_begin(f);
    hf_view *view = hf_txn_view(txn);
    int local = 0;
    assert_code(hf_destroy_ptr(txn, (const char *)hf_at(view, node_ref) + sizeof(struct node)),
                HF_EPTR);
    assert_code(hf_destroy_ptr(txn, (const char *)hf_at(view, node_ref) + 1), HF_EPTR);
    assert_code(hf_destroy_ptr(txn, (const char *)hf_at(view, node_ref) - 16), HF_EPTR);
    assert_code(hf_destroy_ptr(txn, hf_at(view, raw_ref)), HF_EPTR);
    assert_code(hf_destroy_ptr(txn, &local), HF_EPTR);
    assert_code(hf_destroy_ptr(txn, NULL), HF_EPTR);
    assert_ok(hf_commit(txn));
    fixture_assert_unchanged(f, &before);
}

static void test_unique_is_one_for_each_type_and_apart_from_names(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    hf_view *view = hf_txn_view(txn);
    int created = -1;
    assert_fails(hf_find_unique(view, &value_type, NULL), HF_ENOTFOUND);
    int64_t *unique = hf_find_or_construct_unique(txn, &value_type, 2, &created);
    assert_got(unique);
    assert_int_equal(created, 1);
    unique[1] = 11;
    assert_fails(hf_construct_unique(txn, &value_type, 1), HF_EEXIST);
    assert_ptr_equal(hf_find_or_construct_unique(txn, &value_type, 2, &created), unique);
    assert_int_equal(created, 0);
    int64_t *named = hf_construct(txn, "value", &value_type, 1); /* a name like the type's */
    assert_got(named);
    assert_ptr_not_equal(named, unique);
    assert_got(hf_construct_unique(txn, &node_type, 1));
    assert_int_equal(hf_count_unique(view), 2);
    assert_int_equal(hf_count_named(view), 1);
    assert_ok(hf_commit(txn));
    fixture_reopen(f);
    view = fixture_view(f);
    size_t count = 0;
    const int64_t *seen = hf_find_unique(view, &value_type, &count);
    assert_got(seen);
    assert_int_equal(count, 2);
    assert_int_equal(seen[1], 11);
    hf_view_end(view);
    txn = fixture_begin(f);
    assert_ok(hf_destroy_unique(txn, &value_type));
    assert_code(hf_destroy_unique(txn, &value_type), HF_ENOTFOUND);
    assert_got(hf_find(hf_txn_view(txn), "value", &value_type, NULL));
    assert_ok(hf_commit(txn));
}

static void test_anonymous_is_reached_through_its_reference_after_reopen(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    struct node *first = hf_new(txn, &node_type, 1), *second = hf_new(txn, &node_type, 1);
    assert_got(first);
    assert_got(second);
    first->next = hf_ref_of(hf_txn_view(txn), second);
    hf_ptr_set(&first->other, second);
    hf_ptr_set(&second->other, NULL);
    second->value = 8;
    hf_ref ref = hf_ref_of(hf_txn_view(txn), first);
    assert_true(ref != 0);
    assert_ok(hf_commit(txn));
    fixture_reopen(f);
    hf_view *view = fixture_view(f);
    const struct node *seen = hf_at(view, ref);
    assert_got(seen);
    const struct node *next = hf_at(view, seen->next);
    assert_got(next);
    assert_int_equal(next->value, 8);
    assert_ptr_equal(hf_ptr_get(&seen->other), next);
    assert_null(hf_ptr_get(&next->other));
    hf_object_info info;
    assert_ok(hf_object_at(view, next, &info));
    assert_int_equal(info.kind, HF_KIND_ANONYMOUS);
    assert_null(info.name);
    hf_view_end(view);
}

/* ---- arrays and initialisers ----------------------------------------------------------------- */

static void test_arrays_are_zeroed_even_where_others_have_been(struct fixture *f)
{
    for (int round = 0; round < 3; round++) {
        hf_txn *txn = fixture_begin(f);
        unsigned char *p = hf_new(txn, &value_type, 1000);
        assert_got(p);
        assert_true(all_zero(p, 8000));
        memset(p, 0xEE, 8000);
        hf_ref ref = hf_ref_of(hf_txn_view(txn), p);
        assert_ok(hf_commit(txn));
        hf_view *view = fixture_view(f);
        hf_object_info info;
        assert_ok(hf_object_at(view, hf_at(view, ref), &info));
        assert_int_equal(info.count, 1000);
        assert_int_equal(info.size_bytes, 8000);
        assert_true(info.footprint_bytes >= 8000);
        hf_view_end(view);
        txn = fixture_begin(f);
        assert_ok(hf_destroy_ptr(txn, hf_at(hf_txn_view(txn), ref)));
        assert_ok(hf_commit(txn));
    }
}

static void test_count_zero_is_an_empty_array(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    assert_got(hf_construct(txn, "empty", &node_type, 0));
    assert_got(hf_construct(txn, "empty bytes", NULL, 0));
    const void *a = hf_new(txn, &node_type, 0), *b = hf_new(txn, &node_type, 0);
    assert_got(a);
    assert_got(b);
    assert_ptr_not_equal(a, b);
    assert_ok(hf_commit(txn));
    fixture_reopen(f);
    hf_view *view = fixture_view(f);
    size_t count = 99;
    const void *p = hf_find(view, "empty", &node_type, &count);
    assert_got(p);
    assert_int_equal(count, 0);
    hf_object_info info;
    assert_ok(hf_object_at(view, p, &info));
    assert_int_equal(info.count, 0);
    assert_int_equal(info.size_bytes, 0);
    hf_view_end(view);
    txn = fixture_begin(f);
    assert_ok(hf_destroy(txn, "empty"));
    assert_ok(hf_destroy(txn, "empty bytes"));
    assert_ok(hf_commit(txn));
}

struct init_plan {
    size_t calls, fail_at;
    unsigned char *first;
};

static int init_element(void *element, size_t index, void *argument)
{
    struct init_plan *plan = argument;
    if (plan->calls == 0)
        plan->first = element;
    if (index != plan->calls || (unsigned char *)element != plan->first + index * sizeof(int64_t))
        return 1000; /* out of order */
    plan->calls++;
    if (index == plan->fail_at)
        return 17;
    *(int64_t *)element = (int64_t)index * 3;
    return 0;
}

static void test_initialiser_sees_each_element_in_order(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    struct init_plan plan = {0, SIZE_MAX, NULL};
    int64_t *p = hf_construct_with(txn, NULL, &value_type, 50, init_element, &plan);
    assert_got(p);
    assert_int_equal(plan.calls, 50);
    for (int64_t i = 0; i < 50; i++)
        assert_int_equal(p[i], i * 3);
    assert_got(hf_construct_with(txn, NULL, &value_type, 2, NULL, NULL));
    if (f->index != HF_INDEX_NULL) {
        plan.calls = 0;
        assert_got(hf_construct_with(txn, "array", &value_type, 50, init_element, &plan));
        assert_int_equal(plan.calls, 50);
    }
    assert_ok(hf_commit(txn));
}

static void test_initialiser_that_fails_leaves_nothing_behind(struct fixture *f)
{
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    struct init_plan plan = {0, 30, NULL};
    assert_fails(hf_construct_with(txn, NULL, &value_type, 50, init_element, &plan), HF_ECANCELLED);
    assert_int_equal(plan.calls, 31);
    assert_int_equal(hf_last_error()->os_errno, 17);
    if (f->index != HF_INDEX_NULL) {
        plan.calls = 0;
        assert_fails(hf_construct_with(txn, "array", &value_type, 50, init_element, &plan),
                     HF_ECANCELLED);
        assert_fails(hf_find(hf_txn_view(txn), "array", NULL, NULL), HF_ENOTFOUND);
    }
    assert_int_equal(hf_all_memory_deallocated(hf_txn_view(txn)), 1);
    assert_ok(hf_commit(txn));
    hf_store_info after = fixture_info(f);
    assert_int_equal(after.live_bytes, before.live_bytes);
    assert_int_equal(after.named_count, 0);
    assert_int_equal(after.anonymous_count, 0);
    assert_int_equal(after.type_count, before.type_count);
}

/* ---- names and counts that are wrong --------------------------------------------------------- */

static void test_duplicate_name_changes_nothing(struct fixture *f)
{
    fixture_set(f->store, "x", 5);
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    assert_fails(hf_construct(txn, "x", &value_type, 1), HF_EEXIST);
    assert_fails(hf_construct(txn, "x", &value_type, 100000), HF_EEXIST);
    assert_fails(hf_construct(txn, "x", NULL, 1), HF_EEXIST);
    assert_ok(hf_commit(txn));
    fixture_assert_unchanged(f, &before);
    assert_int_equal(fixture_get(f->store, "x"), 5);
}

static void test_empty_and_over_long_names_are_refused(struct fixture *f)
{
    char *name = malloc(HF_NAME_BYTES_MAX + 2);
    assert_non_null(name);
    memset(name, 'n', HF_NAME_BYTES_MAX + 1);
    name[HF_NAME_BYTES_MAX + 1] = 0;
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    const char *const bad[] = {"", name};
    for (size_t i = 0; i < 2; i++) {
        assert_fails(hf_construct(txn, bad[i], &value_type, 1), HF_ENAME);
        assert_fails(hf_find_or_construct(txn, bad[i], &value_type, 1, NULL), HF_ENAME);
        assert_fails(hf_find(hf_txn_view(txn), bad[i], NULL, NULL), HF_ENAME);
        assert_code(hf_destroy(txn, bad[i]), HF_ENAME);
    }
    assert_ok(hf_commit(txn));
    fixture_assert_unchanged(f, &before);
    name[HF_NAME_BYTES_MAX] = 0; /* the longest that is allowed */
    fixture_set(f->store, name, 9);
    fixture_reopen(f);
    assert_int_equal(fixture_get(f->store, name), 9);
    free(name);
}

static void test_counts_that_overflow_change_nothing(struct fixture *f)
{
    static const size_t counts[] = {SIZE_MAX, SIZE_MAX / 8, SIZE_MAX / 8 + 1, SIZE_MAX / 24,
                                    SIZE_MAX / 24 + 2};
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        assert_null(hf_new(txn, &node_type, counts[i]));
        int code = hf_last_error()->code;
        assert_true(code == HF_EOVERFLOW || (code == HF_EFULL && counts[i] <= SIZE_MAX / 24));
        if (f->index != HF_INDEX_NULL) {
            assert_null(hf_construct(txn, "x", &node_type, counts[i]));
            code = hf_last_error()->code;
            assert_true(code == HF_EOVERFLOW || (code == HF_EFULL && counts[i] <= SIZE_MAX / 24));
        }
    }
    assert_fails(hf_new(txn, NULL, SIZE_MAX), HF_EOVERFLOW);
    assert_fails(hf_new(txn, &node_type, FIXTURE_SIZE_MAX / sizeof(struct node) + 1), HF_EFULL);
    assert_got(hf_new(txn, &node_type, 1)); /* the transaction is still good */
    hf_abort(txn);
    fixture_assert_unchanged(f, &before);
}

/* ---- types ----------------------------------------------------------------------------------- */

static void test_types_are_registered_once_and_survive(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    assert_got(hf_new(txn, &node_type, 1));
    assert_got(hf_new(txn, &node_type, 5));
    assert_got(hf_new(txn, &value_type, 1));
    assert_got(hf_new(txn, NULL, 10)); /* plain bytes need none */
    assert_ok(hf_commit(txn));
    fixture_reopen(f);
    hf_view *view = fixture_view(f);
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_type_info info;
    int nodes = 0, values = 0, others = 0;
    while (hf_next_type(view, &cursor, &info) == 1) {
        if (strcmp(info.name, "node") == 0) {
            nodes++;
            assert_int_equal(info.version, 3);
            assert_int_equal(info.size_bytes, sizeof(struct node));
            assert_int_equal(info.align_bytes, 8);
            assert_int_equal(info.flags, 0);
            assert_int_equal(info.ref_count, 2);
        } else if (strcmp(info.name, "value") == 0) {
            values++;
            assert_int_equal(info.flags, HF_TYPE_BLOB);
        } else {
            others++;
        }
    }
    hf_view_end(view);
    assert_int_equal(nodes, 1);
    assert_int_equal(values, 1);
    assert_int_equal(others, 0);
    assert_int_equal(fixture_info(f).type_count, 2);
}

/* Every single difference from the registered descriptor is a mismatch. */
static void test_type_that_differs_anywhere_is_refused(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    assert_got(hf_construct(txn, "n", &node_type, 1));
    assert_ok(hf_commit(txn));
    hf_store_info before = fixture_info(f);
    hf_field moved[2], kind[2], target[2];
    memcpy(moved, node_refs, sizeof moved);
    memcpy(kind, node_refs, sizeof kind);
    memcpy(target, node_refs, sizeof target);
    moved[1].offset = 16;
    kind[0].kind = HF_FIELD_PTR;
    target[0].target = &value_type;
    hf_type different[7];
    for (size_t i = 0; i < 7; i++)
        different[i] = node_type;
    different[0].size_bytes += 8;
    different[1].align_bytes = 16;
    different[1].size_bytes = 32; /* a size that goes with it */
    different[2].flags = HF_TYPE_BLOB;
    different[2].ref_count = 0;
    different[3].refs = moved;
    different[4].refs = kind;
    different[5].refs = target;
    different[6].ref_count = 1;
    txn = fixture_begin(f);
    for (size_t i = 0; i < 7; i++) {
        assert_fails(hf_construct(txn, "m", &different[i], 1), HF_ETYPE);
        assert_fails(hf_new(txn, &different[i], 1), HF_ETYPE);
        assert_fails(hf_find(hf_txn_view(txn), "n", &different[i], NULL), HF_ETYPE);
        assert_fails(hf_find_or_construct(txn, "n", &different[i], 1, NULL), HF_ETYPE);
    }
    assert_ok(hf_commit(txn));
    fixture_assert_unchanged(f, &before);
}

static void test_versions_of_a_type_live_side_by_side(struct fixture *f)
{
    hf_type second = node_type;
    second.version = 4;
    second.size_bytes = 64;
    hf_txn *txn = fixture_begin(f);
    assert_got(hf_construct(txn, "old", &node_type, 1));
    assert_got(hf_construct(txn, "new", &second, 1));
    hf_view *view = hf_txn_view(txn);
    assert_fails(hf_find(view, "old", &second, NULL), HF_ETYPE);
    assert_fails(hf_find(view, "new", &node_type, NULL), HF_ETYPE);
    assert_got(hf_find(view, "old", &node_type, NULL));
    assert_got(hf_find(view, "new", &second, NULL));
    assert_fails(hf_find(view, "new", &value_type, NULL), HF_ETYPE);
    hf_object_info info;
    assert_ok(hf_object_at(view, hf_find(view, "new", NULL, NULL), &info));
    assert_int_equal(info.type_version, 4);
    assert_ok(hf_commit(txn));
}

static void test_bad_descriptors_are_refused(struct fixture *f)
{
    static const hf_field beyond[] = {{24, HF_FIELD_REF, NULL}};
    static const hf_field unknown[] = {{0, HF_FIELD_BYTES + 1, NULL}};
    hf_type bad[6];
    for (size_t i = 0; i < 6; i++) {
        bad[i] = node_type;
        bad[i].name = "bad";
    }
    bad[0].align_bytes = 3;
    bad[1].align_bytes = 2 * HF_ALIGN_BYTES_MAX;
    bad[2].refs = beyond;
    bad[2].ref_count = 1;
    bad[3].refs = unknown;
    bad[3].ref_count = 1;
    bad[4].name = "";
    bad[5].refs = NULL; /* but ref_count says 2 */
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    for (size_t i = 0; i < 6; i++)
        assert_fails(hf_new(txn, &bad[i], 1), i == 4 ? HF_ENAME : HF_ETYPE);
    assert_ok(hf_commit(txn));
    fixture_assert_unchanged(f, &before);
}

static void test_plain_bytes_are_no_type(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    char *p = hf_construct(txn, "bytes", NULL, 33);
    assert_got(p);
    assert_int_equal((uintptr_t)p % 16, 0);
    hf_view *view = hf_txn_view(txn);
    hf_object_info info;
    assert_ok(hf_object_at(view, p, &info));
    assert_string_equal(info.type_name, "");
    assert_int_equal(info.count, 33);
    assert_int_equal(info.size_bytes, 33);
    assert_fails(hf_find(view, "bytes", &value_type, NULL), HF_ETYPE);
    assert_ok(hf_commit(txn));
    assert_int_equal(fixture_info(f).type_count, 0);
}

static void test_type_alignment_holds_for_objects(struct fixture *f)
{
    hf_ref refs[13];
    hf_txn *txn = fixture_begin(f);
    for (uint32_t i = 0; i < 13; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%u", i);
        hf_type type = {name, 1, 24, (uint32_t)16 << i, HF_TYPE_BLOB, NULL, 0};
        if (type.align_bytes > type.size_bytes)
            type.size_bytes = type.align_bytes;
        else
            type.size_bytes = 32;
        void *p = hf_new(txn, &type, 1);
        assert_got(p);
        refs[i] = hf_ref_of(hf_txn_view(txn), p);
    }
    assert_ok(hf_commit(txn));
    fixture_reopen(f);
    hf_view *view = fixture_view(f);
    for (uint32_t i = 0; i < 13; i++)
        assert_int_equal((uintptr_t)hf_at(view, refs[i]) % ((size_t)16 << i), 0);
    hf_view_end(view);
}

/* ---- looking around -------------------------------------------------------------------------- */

static const char *const many_names[] = {"b/2",  "a",    "b/1", "b/",   "b",    "c/1",
                                         "b/10", "b0",   "B/1", "b/1/", "\xC3\xA4", "b.",
                                         "zz",   "b/\xFF"};
#define MANY (sizeof many_names / sizeof *many_names)

static void make_many(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    for (size_t i = 0; i < MANY; i++)
        assert_got(hf_construct(txn, many_names[i], &value_type, i + 1));
    assert_ok(hf_commit(txn));
}

static size_t number_of(const char *name)
{
    for (size_t i = 0; i < MANY; i++) {
        if (strcmp(many_names[i], name) == 0)
            return i;
    }
    fail_msg("unknown name %s", name);
    return 0;
}

/* Every name with the prefix once, in order where the index has one, and no other. */
static void expect_names(struct fixture *f, hf_view *view, const char *prefix, uint64_t flags)
{
    bool seen[MANY] = {false};
    char previous[64] = "";
    size_t wanted = 0, found = 0;
    for (size_t i = 0; i < MANY; i++)
        wanted += prefix == NULL || strncmp(many_names[i], prefix, strlen(prefix)) == 0;
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    int more;
    cursor.prefix = prefix;
    cursor.flags = flags;
    while ((more = hf_next_named(view, &cursor, &info)) == 1) {
        hf_object_info whole;
        size_t i = number_of(info.name);
        assert_false(seen[i]);
        seen[i] = true;
        found++;
        assert_true(prefix == NULL || strncmp(info.name, prefix, strlen(prefix)) == 0);
        assert_true(!f->ordered || strcmp(previous, info.name) < 0); /* strcmp is by unsigned bytes */
        snprintf(previous, sizeof previous, "%s", info.name);
        assert_int_equal(info.count, i + 1);
        assert_int_equal(info.kind, HF_KIND_NAMED);
        assert_string_equal(info.type_name, "value");
        assert_ptr_equal(hf_find(view, info.name, &value_type, NULL), info.object);
        assert_ok(hf_object_at(view, info.object, &whole));
        assert_true(whole.footprint_bytes > whole.size_bytes);
        if ((flags & HF_CURSOR_NO_FOOTPRINT) != 0)
            whole.footprint_bytes = 0;
        assert_memory_equal(&info, &whole, sizeof info);
    }
    assert_int_equal(more, 0);
    assert_int_equal(found, wanted);
}

static void test_iteration_yields_each_name_once_and_in_order(struct fixture *f)
{
    static const char *const prefixes[] = {NULL, "", "b", "b/", "b/1", "b/1/", "zzz", "a",
                                           "\xC3", "b/\xFF", "0"};
    make_many(f);
    fixture_reopen(f);
    hf_view *view = fixture_view(f);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        expect_names(f, view, prefixes[i], 0);
        expect_names(f, view, prefixes[i], HF_CURSOR_NO_FOOTPRINT);
    }
    assert_int_equal(hf_count_named(view), MANY);
    hf_view_end(view);
}

static void test_iteration_refuses_flags_that_there_are_not(struct fixture *f)
{
    hf_cursor strange = HF_CURSOR_INIT;
    hf_object_info info;
    hf_field_info field;
    hf_type_info type;
    const void *raw;
    size_t size_bytes;
    hf_txn *txn = fixture_begin(f);
    assert_got(hf_new(txn, &value_type, 1));
    assert_ok(hf_commit(txn));
    hf_view *view = fixture_view(f);
    strange.flags = HF_CURSOR_NO_FOOTPRINT << 1;
    assert_code(hf_next_named(view, &strange, &info), HF_EINVAL);
    assert_code(hf_next_unique(view, &strange, &info), HF_EINVAL);
    assert_code(hf_next_object(view, &strange, &info), HF_EINVAL);
    assert_code(hf_next_raw(view, &strange, &raw, &size_bytes), HF_EINVAL);
    assert_code(hf_next_type(view, &strange, &type), HF_EINVAL);
    assert_code(hf_next_field(view, 1, &strange, &field), HF_EINVAL);
    strange.flags = HF_CURSOR_NO_FOOTPRINT;
    assert_int_equal(hf_next_object(view, &strange, &info), 1);
    hf_view_end(view);
}

static void test_iteration_of_nothing_ends_at_once(struct fixture *f)
{
    hf_view *view = fixture_view(f);
    hf_object_info info;
    hf_type_info type;
    hf_cursor a = HF_CURSOR_INIT, b = HF_CURSOR_INIT, c = HF_CURSOR_INIT, d = HF_CURSOR_INIT;
    assert_int_equal(hf_next_named(view, &a, &info), 0);
    assert_int_equal(hf_next_unique(view, &b, &info), 0);
    assert_int_equal(hf_next_object(view, &c, &info), 0);
    assert_int_equal(hf_next_type(view, &d, &type), 0);
    assert_int_equal(hf_count_named(view), 0);
    assert_int_equal(hf_count_unique(view), 0);
    hf_view_end(view);
}

static void test_next_object_sees_every_kind_in_address_order(struct fixture *f)
{
    bool names = f->index != HF_INDEX_NULL;
    hf_txn *txn = fixture_begin(f);
    for (size_t i = 0; i < 20; i++) {
        assert_got(hf_new(txn, &node_type, i));
        assert_got(hf_alloc(txn, 50)); /* raw blocks are no objects */
        char name[16];
        snprintf(name, sizeof name, "n%zu", i);
        if (names)
            assert_got(hf_construct(txn, name, &value_type, 2));
    }
    if (names)
        assert_got(hf_construct_unique(txn, &value_type, 2));
    assert_ok(hf_commit(txn));
    hf_view *view = fixture_view(f);
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    uint64_t by_kind[4] = {0, 0, 0, 0};
    const char *previous = NULL;
    int more;
    while ((more = hf_next_object(view, &cursor, &info)) == 1) {
        assert_true(previous == NULL || previous < (const char *)info.object);
        previous = info.object;
        assert_true(info.kind >= HF_KIND_NAMED && info.kind <= HF_KIND_ANONYMOUS);
        by_kind[info.kind]++;
        assert_true((info.name == NULL) == (info.kind == HF_KIND_ANONYMOUS));
        assert_string_equal(info.type_name, info.kind == HF_KIND_ANONYMOUS ? "node" : "value");
    }
    assert_int_equal(more, 0);
    assert_int_equal(by_kind[HF_KIND_NAMED], names ? 20 : 0);
    assert_int_equal(by_kind[HF_KIND_UNIQUE], names ? 1 : 0);
    assert_int_equal(by_kind[HF_KIND_ANONYMOUS], 20);
    hf_cursor with_prefix = HF_CURSOR_INIT;
    with_prefix.prefix = "n";
    assert_code(hf_next_object(view, &with_prefix, &info), HF_ENOTSUP);
    hf_view_end(view);
    hf_store_info sum = fixture_info(f);
    assert_int_equal(sum.named_count, by_kind[HF_KIND_NAMED]);
    assert_int_equal(sum.unique_count, by_kind[HF_KIND_UNIQUE]);
    assert_int_equal(sum.anonymous_count, 20);
    assert_int_equal(sum.raw_count, 20);
}

static void test_next_unique_names_the_types(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    const void *value = hf_construct_unique(txn, &value_type, 1);
    const void *node = hf_construct_unique(txn, &node_type, 1);
    assert_got(value);
    assert_got(node);
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    int seen = 0;
    while (hf_next_unique(hf_txn_view(txn), &cursor, &info) == 1) {
        assert_int_equal(info.kind, HF_KIND_UNIQUE);
        assert_ptr_equal(info.object, strcmp(info.name, "node") == 0 ? node : value);
        assert_string_equal(info.name, info.type_name);
        seen++;
    }
    assert_int_equal(seen, 2);
    assert_ok(hf_commit(txn));
}

static void test_object_at_knows_objects_from_other_pointers(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    hf_view *view = hf_txn_view(txn);
    char *raw = hf_alloc(txn, 64);
    struct node *n = hf_construct(txn, "an object", &node_type, 3);
    assert_got(raw);
    assert_got(n);
    hf_object_info info;
    memset(&info, 0x55, sizeof info);
    assert_ok(hf_object_at(view, n, &info));
    assert_ptr_equal(info.object, n);
    assert_string_equal(info.name, "an object");
    assert_string_equal(info.type_name, "node");
    assert_int_equal(info.type_version, 3);
    assert_int_equal(info.kind, HF_KIND_NAMED);
    assert_int_equal(info.count, 3);
    assert_int_equal(info.size_bytes, 3 * sizeof *n);
    assert_true(info.footprint_bytes >= info.size_bytes + strlen("an object"));
    int local = 0;
    assert_code(hf_object_at(view, raw, &info), HF_EPTR);
    assert_code(hf_object_at(view, n + 1, &info), HF_EPTR);
    assert_code(hf_object_at(view, (char *)n + 1, &info), HF_EPTR);
    assert_code(hf_object_at(view, (char *)n - 16, &info), HF_EPTR);
    assert_code(hf_object_at(view, &local, &info), HF_EPTR);
    assert_code(hf_object_at(view, NULL, &info), HF_EPTR);
    assert_string_equal(info.name, "an object"); /* out-parameters only on success */
    assert_ok(hf_destroy(txn, "an object"));
    assert_code(hf_object_at(view, n, &info), HF_EPTR);
    assert_ok(hf_commit(txn));
}

/* ---- the indexes themselves ------------------------------------------------------------------ */

static void test_reserve_and_shrink_keep_every_name(struct fixture *f)
{
    char name[32];
    hf_txn *txn = fixture_begin(f);
    assert_ok(hf_reserve_named(txn, 2000));
    assert_ok(hf_reserve_unique(txn, 100));
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "name %d", i * 7919);
        assert_got(hf_construct(txn, name, NULL, 4));
    }
    assert_ok(hf_commit(txn));
    uint64_t reserved = fixture_info(f).live_bytes;
    txn = fixture_begin(f);
    for (int i = 0; i < 500; i += 2) {
        snprintf(name, sizeof name, "name %d", i * 7919);
        assert_ok(hf_destroy(txn, name));
    }
    assert_ok(hf_shrink_indexes(txn));
    assert_ok(hf_commit(txn));
    assert_true(fixture_info(f).live_bytes < reserved);
    fixture_reopen(f);
    hf_view *view = fixture_view(f);
    assert_int_equal(hf_count_named(view), 250);
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "name %d", i * 7919);
        if (i % 2 != 0)
            assert_got(hf_find(view, name, NULL, NULL));
        else
            assert_fails(hf_find(view, name, NULL, NULL), HF_ENOTFOUND);
    }
    hf_view_end(view);
}

static void test_reserve_beyond_the_store_is_refused(struct fixture *f)
{
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    int code = hf_reserve_named(txn, UINT64_MAX / 2);
    if (f->index == HF_INDEX_SET)
        assert_int_equal(code, 0); /* it needs no room */
    else
        assert_true(code == HF_EFULL || code == HF_EOVERFLOW);
    assert_got(hf_construct(txn, "still", NULL, 4));
    hf_abort(txn);
    fixture_assert_unchanged(f, &before);
}

static void test_null_index_has_no_names_but_memory(struct fixture *f)
{
    if (f->index != HF_INDEX_NULL)
        return;
    hf_txn *txn = fixture_begin(f);
    hf_view *view = hf_txn_view(txn);
    assert_fails(hf_construct(txn, "x", &value_type, 1), HF_ENOINDEX);
    assert_fails(hf_find_or_construct(txn, "x", &value_type, 1, NULL), HF_ENOINDEX);
    assert_fails(hf_construct_unique(txn, &value_type, 1), HF_ENOINDEX);
    assert_null(hf_find(view, "x", NULL, NULL));
    assert_true(hf_destroy(txn, "x") < 0);
    assert_int_equal(hf_count_named(view), 0);
    assert_got(hf_new(txn, &value_type, 1));
    assert_got(hf_alloc(txn, 100));
    assert_ok(hf_commit(txn));
    assert_int_equal(fixture_info(f).named_count, 0);
}

#define CASE(name) {#name, name, false}
#define CASE_ALL(name) {#name, name, true}

int main(void)
{
    static const struct fixture_case cases[] = {
        CASE(test_constructed_is_found_in_txn_view_and_after_reopen),
        CASE(test_find_of_absent_name_leaves_count_alone),
        CASE(test_expected_names_are_what_they_would_have_been),
        CASE(test_expected_names_survive_a_rollback),
        CASE(test_expected_names_are_those_of_one_view),
        CASE(test_expected_names_are_forgotten_with_their_view),
        CASE(test_find_or_construct_makes_only_once),
        CASE(test_find_or_construct_of_another_type_is_refused),
        CASE(test_destroyed_by_name_is_gone_and_name_is_free),
        CASE_ALL(test_destroy_ptr_takes_every_kind),
        CASE_ALL(test_destroy_ptr_of_wrong_pointers_changes_nothing),
        CASE(test_unique_is_one_for_each_type_and_apart_from_names),
        CASE_ALL(test_anonymous_is_reached_through_its_reference_after_reopen),
        CASE_ALL(test_arrays_are_zeroed_even_where_others_have_been),
        CASE(test_count_zero_is_an_empty_array),
        CASE_ALL(test_initialiser_sees_each_element_in_order),
        CASE_ALL(test_initialiser_that_fails_leaves_nothing_behind),
        CASE(test_duplicate_name_changes_nothing),
        CASE(test_empty_and_over_long_names_are_refused),
        CASE_ALL(test_counts_that_overflow_change_nothing),
        CASE_ALL(test_types_are_registered_once_and_survive),
        CASE(test_type_that_differs_anywhere_is_refused),
        CASE(test_versions_of_a_type_live_side_by_side),
        CASE_ALL(test_bad_descriptors_are_refused),
        CASE(test_plain_bytes_are_no_type),
        CASE_ALL(test_type_alignment_holds_for_objects),
        CASE(test_iteration_yields_each_name_once_and_in_order),
        CASE_ALL(test_iteration_of_nothing_ends_at_once),
        CASE_ALL(test_iteration_refuses_flags_that_there_are_not),
        CASE_ALL(test_next_object_sees_every_kind_in_address_order),
        CASE(test_next_unique_names_the_types),
        CASE(test_object_at_knows_objects_from_other_pointers),
        CASE(test_reserve_and_shrink_keep_every_name),
        CASE(test_reserve_beyond_the_store_is_refused),
        CASE_ALL(test_null_index_has_no_names_but_memory),
    };
    return fixture_run_matrix("objects", cases, sizeof cases / sizeof *cases);
}
