/* SPDX-License-Identifier: MIT */
/*
 * test_upgrade.c - what an upgrade refuses, what stays in place, and a process that dies in one
 */
#include "store_fixture.h"

#include <signal.h>
#include <stdint.h>

struct old {
    uint64_t id;
    HF_PTR(struct old) next;
    hf_ref any;
};
#define OLD_FIELDS(F, T)                                                                           \
    F(T, id, HF_FIELD_U64, NULL)                                                                   \
    F(T, next, HF_FIELD_PTR, &old_type)                                                            \
    F(T, any, HF_FIELD_REF, NULL)
HF_TYPE_DEFINE(old_type, "thing", 1, struct old, OLD_FIELDS);

struct large {
    uint64_t id;
    HF_PTR(struct large) next;
    hf_ref any;
    uint64_t more[20];
};
#define LARGE_FIELDS(F, T)                                                                         \
    F(T, id, HF_FIELD_U64, NULL)                                                                   \
    F(T, next, HF_FIELD_PTR, &large_type)                                                          \
    F(T, any, HF_FIELD_REF, NULL)
HF_TYPE_DEFINE(large_type, "thing", 2, struct large, LARGE_FIELDS);
HF_TYPE_DEFINE(same_type, "thing", 3, struct old, OLD_FIELDS);

static hf_store *store;
static hf_txn *txn;
static hf_view *view;

static int set_up(void **state)
{
    (void)state;
    return fixture_begin_on_heap(1 << 20, &store, &txn, &view);
}

static int tear_down(void **state)
{
    (void)state;
    hf_abort(txn);
    return hf_close(store);
}

/* A chain of two: "a" leads to an anonymous one, whose id is 2. */
static struct old *make_chain(void)
{
    struct old *a = hf_construct(txn, "a", &old_type, 1), *b = hf_new(txn, &old_type, 1);
    assert_true(a != NULL && b != NULL);
    a->id = 1;
    b->id = 2;
    hf_ptr_set(&a->next, b);
    hf_ptr_set(&b->next, NULL);
    return a;
}

static void test_upgrade_without_function_copies(void **state)
{
    (void)state;
    hf_upgrade_report report;
    struct old *a = make_chain();
    a->any = hf_ref_of(view, hf_ptr_get(&a->next));
    assert_ok(hf_upgrade(txn, &old_type, &large_type, NULL, NULL, 0, &report));
    assert_int_equal(report.moved, 2);
    assert_int_equal(report.pointers, 2);
    const struct large *l = hf_find(view, "a", &large_type, NULL);
    assert_got(l);
    const struct large *next = hf_ptr_get(&l->next);
    assert_int_equal(l->id, 1);
    assert_int_equal(next->id, 2);
    assert_ptr_equal(hf_at(view, l->any), next);
    assert_null(hf_ptr_get(&next->next));
    assert_int_equal(next->more[19], 0);
    assert_fails(hf_find(view, "a", &old_type, NULL), HF_ETYPE);
    assert_ok(hf_check_sanity(store, NULL, NULL));
}

static void test_upgrade_of_the_same_size_stays_in_place(void **state)
{
    (void)state;
    hf_upgrade_report report;
    struct old *many = hf_construct(txn, "many", &old_type, 100);
    for (int i = 0; i < 100; i++) {
        many[i].id = (uint64_t)i;
        hf_ptr_set(&many[i].next, &many[(i + 1) % 100]);
    }
    hf_ref *raw = hf_alloc(txn, 64);
    memset(raw, 0, 64);
    raw[0] = hf_ref_of(view, &many[50]); /* may lead there: nothing moves */
    assert_ok(hf_upgrade(txn, &old_type, &same_type, NULL, NULL, 0, &report));
    assert_int_equal(report.in_place, 1);
    assert_int_equal(report.elements, 100);
    assert_int_equal(report.moved + report.pointers + report.stray, 0);
    const struct old *now = hf_find(view, "many", &same_type, NULL);
    assert_ptr_equal(now, many);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(now[i].id, i);
        assert_ptr_equal(hf_ptr_get(&now[i].next), &now[(i + 1) % 100]);
    }
    assert_ok(hf_check_sanity(store, NULL, NULL));
}

static void next_transaction(void)
{
    assert_ok(hf_commit(txn));
    assert_ok(hf_begin(store, &txn));
    view = hf_txn_view(txn);
}

/* One hole between objects, of the size that ten elements of 8 bytes take. */
static void make_hole(void)
{
    void *around[20];
    for (int i = 0; i < 20; i++)
        assert_got(around[i] = hf_new(txn, NULL, 80));
    next_transaction();
    assert_ok(hf_destroy_ptr(txn, around[10]));
    next_transaction();
}

static void test_upgrade_to_fewer_fields(void **state)
{
    (void)state;
    make_hole();
    static const hf_field number[] = {{0, HF_FIELD_U64, NULL}};
    static const hf_type tiny = {"thing", 2, 8, 8, 0, number, 1};
    hf_upgrade_report report;
    struct old *a = make_chain(), *many = hf_new(txn, &old_type, 10);
    for (uint64_t i = 0; i < 10; i++)
        many[i] = (struct old){.id = i, .next = {.offset = 16}, .any = hf_ref_of(view, a)};
    hf_ptr_set(&many[9].next, a);
    struct old *holder = hf_construct(txn, "holder", &same_type, 1);
    holder->any = hf_ref_of(view, many);
    assert_ok(hf_upgrade(txn, &old_type, &tiny, NULL, NULL, 0, &report));
    assert_int_equal(report.in_place, 2);
    assert_int_equal(report.moved, 1);
    const uint64_t *ids = hf_at(view, holder->any);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(ids[i], i);
    assert_int_equal(*(const uint64_t *)hf_find(view, "a", &tiny, NULL), 1);
    assert_ok(hf_check_sanity(store, NULL, NULL));
}

static void test_upgrade_moves_what_must_be_aligned(void **state)
{
    (void)state;
    hf_type aligned = same_type;
    hf_upgrade_report report;
    aligned.align_bytes = 4096;
    make_chain();
    assert_ok(hf_upgrade(txn, &old_type, &aligned, NULL, NULL, 0, &report));
    assert_int_equal(report.objects, 2);
    const struct old *a = hf_find(view, "a", &aligned, NULL);
    assert_int_equal((uintptr_t)a % 4096, 0);
    assert_int_equal(hf_ptr_get(&a->next)->id, 2);
    assert_ok(hf_check_sanity(store, NULL, NULL));
}

static void expect_stray(uint64_t count)
{
    hf_upgrade_report report = {.objects = 9};
    assert_code(hf_upgrade(txn, &old_type, &large_type, NULL, NULL, 0, &report), HF_EBUSY);
    assert_non_null(strstr(hf_last_error()->message, "can't be corrected"));
    assert_int_equal(report.stray, count);
    assert_int_equal(report.objects, 9);
    assert_got(hf_find(view, "a", &old_type, NULL));
}

static void test_upgrade_refuses_what_it_cannot_correct(void **state)
{
    (void)state;
    struct old *a = make_chain(), *b = hf_ptr_get(&a->next);
    hf_ref *raw = hf_alloc(txn, 64), *plain = hf_construct(txn, "plain", NULL, 64);
    memset(raw, 0, 64);
    raw[3] = hf_ref_of(view, b) + 8;
    expect_stray(1);
    raw[3] = 0;
    raw[4] = hf_ref_of(view, b) - hf_ref_of(view, &raw[4]);
    expect_stray(1);
    raw[4] = 0;
    plain[5] = hf_ref_of(view, a);
    expect_stray(1);
    a->any = hf_ref_of(view, b) + 16; /* a pointer field into the middle */
    expect_stray(2);
    hf_upgrade_report report;
    assert_ok(hf_upgrade(txn, &old_type, &large_type, NULL, NULL, HF_UPGRADE_ALLOW_STRAY, &report));
    assert_int_equal(report.stray, 2);
    const struct large *l = hf_find(view, "a", &large_type, NULL);
    assert_int_equal(l->any, hf_ref_of(view, hf_ptr_get(&l->next)) + 16);
    assert_ok(hf_check_sanity(store, NULL, NULL));
}

static void test_upgrade_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    hf_type other = large_type, otherwise = old_type;
    make_chain();
    other.name = "another";
    other.flags = 0;
    assert_code(hf_upgrade(txn, &old_type, &other, NULL, NULL, 0, NULL), HF_EINVAL);
    assert_code(hf_upgrade(txn, &large_type, &old_type, NULL, NULL, 0, NULL), HF_EINVAL);
    assert_code(hf_upgrade(txn, &old_type, &old_type, NULL, NULL, 0, NULL), HF_EINVAL);
    assert_code(hf_upgrade(txn, &old_type, NULL, NULL, NULL, 0, NULL), HF_EINVAL);
    assert_code(hf_upgrade(txn, &old_type, &large_type, NULL, NULL, 2, NULL), HF_EINVAL);
    assert_code(hf_upgrade_all(txn, NULL, 1, 0, NULL), HF_EINVAL);
    assert_ok(hf_upgrade_all(txn, NULL, 0, 0, NULL));
    otherwise.size_bytes += 8;
    assert_code(hf_upgrade(txn, &otherwise, &large_type, NULL, NULL, 0, NULL), HF_ETYPE);
    hf_upgrade_report report;
    assert_ok(
        hf_upgrade(txn, &large_type, &same_type, NULL, NULL, 0, &report)); /* there are none */
    assert_int_equal(report.objects, 0);
}

/* Gives each element a new object of its own, which leads back to what it has always led to. */
static int with_companion(void *user, hf_txn *t, const void *old, void *made, size_t index)
{
    const struct old *from = old;
    struct large *to = made, *companion = hf_new(t, &large_type, 1);
    (void)user;
    (void)index;
    if (companion == NULL)
        return 1;
    to->id = from->id;
    hf_ptr_set(&companion->next, hf_ptr_get(&from->next));
    hf_ptr_set(&to->next, companion);
    return 0;
}

static void test_upgrade_function_may_make_objects(void **state)
{
    (void)state;
    make_chain();
    assert_ok(hf_upgrade(txn, &old_type, &large_type, with_companion, NULL, 0, NULL));
    const struct large *a = hf_find(view, "a", &large_type, NULL);
    const struct large *companion = hf_ptr_get(&a->next), *b = hf_ptr_get(&companion->next);
    assert_int_equal(companion->id, 0);
    assert_int_equal(b->id, 2);
    companion = hf_ptr_get(&b->next);
    assert_null(hf_ptr_get(&companion->next));
    assert_ok(hf_check_sanity(store, NULL, NULL));
}

static void test_upgrade_without_room_changes_nothing(void **state)
{
    (void)state;
    struct old *last = NULL;
    hf_ref refs[3000];
    size_t count = 0;
    hf_mark mark;
    for (; count < 3000; count++) {
        struct old *o = hf_new(txn, &old_type, 1);
        assert_got(o);
        o->id = count;
        hf_ptr_set(&o->next, last);
        refs[count] = hf_ref_of(view, o);
        last = o;
    }
    while (hf_alloc(txn, 4000) != NULL)
        ;
    assert_ok(hf_savepoint(txn, &mark));
    assert_code(hf_upgrade(txn, &old_type, &large_type, NULL, NULL, HF_UPGRADE_ALLOW_STRAY, NULL),
                HF_EFULL);
    for (size_t i = 0; i < count; i++) {
        const struct old *o = hf_at(view, refs[i]);
        hf_object_info info;
        assert_int_equal(o->id, i);
        assert_ok(hf_object_at(view, o, &info));
        assert_int_equal(info.type_version, 1);
    }
    assert_ok(hf_check_sanity(store, NULL, NULL));
}

/* ---- death ----------------------------------------------------------------------------------- */

static int die_at, calls;

static int dying(void *user, hf_txn *t, const void *old, void *made, size_t index)
{
    (void)user;
    (void)t;
    (void)index;
    if (calls++ == die_at)
        raise(SIGKILL);
    memcpy(made, old, sizeof(uint64_t));
    hf_ptr_set(&((struct large *)made)->next, hf_ptr_get(&((const struct old *)old)->next));
    return 0;
}

static void upgrade_and_die(struct child *self, void *argument)
{
    hf_txn *t;
    (void)self;
    hf_store *s = fixture_open(argument, HF_OPEN_EXISTING);
    child_expect(hf_begin(s, &t) == 0);
    child_expect(hf_upgrade(t, &old_type, &large_type, dying, NULL, 0, NULL) == 0);
    raise(SIGKILL); /* all of it done but the commit */
}

static void expect_ring(const char *path, const hf_type *type)
{
    hf_view *v;
    hf_store *s = fixture_open(path, HF_OPEN_EXISTING);
    assert_ok(hf_view_begin(s, &v));
    const struct old *ring = hf_find(v, "ring", type, NULL);
    assert_got(ring);
    const struct old *at = ring;
    for (uint64_t i = 0; i < 50; i++) {
        assert_int_equal(at->id, i); /* the first fields of all versions are alike */
        at = hf_ptr_get(&at->next);
    }
    assert_ptr_equal(at, ring);
    hf_view_end(v);
    fixture_assert_sound(s);
    assert_ok(hf_close(s));
}

static void die_and_look(uint32_t engine)
{
    char path[PATH_BYTES];
    hf_txn *t;
    fixture_engine = engine;
    calls = 0;
    fixture_path(path, fixture_disk_directory(), "upgrade.hf");
    hf_store *s = fixture_open(path, HF_CREATE_NEW);
    assert_ok(hf_begin(s, &t));
    struct old *before = hf_construct(t, "ring", &old_type, 1), *first = before;
    for (uint64_t i = 1; i < 50; i++) {
        struct old *o = hf_new(t, &old_type, 1);
        o->id = i;
        hf_ptr_set(&before->next, o);
        before = o;
    }
    hf_ptr_set(&before->next, first);
    assert_ok(hf_commit(t));
    assert_ok(hf_close(s));
    for (die_at = 0; die_at <= 50; die_at += 10) {
        struct child child = child_start(upgrade_and_die, path);
        child_join_killed(&child, SIGKILL);
        expect_ring(path, &old_type);
    }
    s = fixture_open(path, HF_OPEN_EXISTING);
    assert_ok(hf_begin(s, &t));
    assert_ok(hf_upgrade(t, &old_type, &large_type, dying, NULL, 0, NULL));
    assert_ok(hf_commit(t));
    assert_ok(hf_close(s));
    expect_ring(path, &large_type);
    fixture_engine = HF_ENGINE_LOG;
}

static void test_upgrade_killed_leaves_the_old_version(void **state)
{
    (void)state;
    die_and_look(HF_ENGINE_LOG);
    die_and_look(HF_ENGINE_DIRECT);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_upgrade_without_function_copies),
        CASE(test_upgrade_of_the_same_size_stays_in_place),
        CASE(test_upgrade_to_fewer_fields),
        CASE(test_upgrade_moves_what_must_be_aligned),
        CASE(test_upgrade_refuses_what_it_cannot_correct),
        CASE(test_upgrade_that_makes_no_sense_is_refused),
        CASE(test_upgrade_function_may_make_objects),
        CASE(test_upgrade_without_room_changes_nothing),
        cmocka_unit_test(test_upgrade_killed_leaves_the_old_version),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
