/* SPDX-License-Identifier: MIT */
/*
 * conformance_txn.c - transactions, savepoints, views, references and whole-store calls: the same
 * cases on every backing, allocator and index
 */
#include "store_fixture.h"

#include <pthread.h>
#include <unistd.h>

/* ---- abort ----------------------------------------------------------------------------------- */

static void test_abort_takes_everything_back(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    int64_t *edited = hf_construct(txn, "edited", &value_type, 1000);
    assert_got(edited);
    assert_got(hf_construct(txn, "destroyed", &value_type, 5));
    char *raw = hf_alloc(txn, 3000);
    assert_got(raw);
    hf_ref raw_ref = hf_ref_of(hf_txn_view(txn), raw);
    for (int64_t i = 0; i < 1000; i++)
        edited[i] = i;
    assert_ok(hf_commit(txn));
    hf_store_info before = fixture_info(f);
    txn = fixture_begin(f);
    hf_view *view = hf_txn_view(txn);
    int64_t *p = hf_edit(txn, hf_find(view, "edited", NULL, NULL), 8000);
    assert_got(p);
    memset(p, 0xAB, 8000);
    assert_ok(hf_destroy(txn, "destroyed"));
    hf_free(txn, hf_at(view, raw_ref));
    hf_type other = value_type;
    other.name = "other";
    assert_got(hf_construct(txn, "made", &other, 7));
    assert_got(hf_construct_unique(txn, &other, 7));
    assert_got(hf_alloc(txn, 200000));
    hf_abort(txn);
    hf_store_info after = fixture_info(f);
    if (after.size_bytes == before.size_bytes)
        fixture_assert_unchanged(f, &before);
    assert_int_equal(after.live_bytes, before.live_bytes);
    assert_int_equal(after.type_count, before.type_count);
    fixture_assert_sound(f->store);
    view = fixture_view(f);
    const int64_t *seen = hf_find(view, "edited", &value_type, NULL);
    assert_got(seen);
    for (int64_t i = 0; i < 1000; i++)
        assert_int_equal(seen[i], i);
    assert_got(hf_find(view, "destroyed", &value_type, NULL));
    assert_fails(hf_find(view, "made", NULL, NULL), HF_ENOTFOUND);
    assert_fails(hf_find_unique(view, &other, NULL), HF_ENOTFOUND);
    assert_true(hf_usable_bytes(view, hf_at(view, raw_ref)) >= 3000);
    hf_view_end(view);
}

static void test_close_aborts_the_open_transaction(struct fixture *f)
{
    fixture_set(f->store, "x", 1);
    hf_txn *txn = fixture_begin(f);
    int64_t *p = hf_find_or_construct(txn, "x", &value_type, 1, NULL);
    assert_got(p);
    *p = 2;
    assert_got(hf_construct(txn, "y", &value_type, 1));
    if (f->backing == BACKING_HEAP) {
        assert_ok(hf_close(f->store)); /* gone with everything */
        f->store = NULL;
        return;
    }
    fixture_reopen(f);
    assert_int_equal(fixture_get(f->store, "x"), 1);
    assert_int_equal(fixture_get(f->store, "y"), INT64_MIN);
}

static void test_empty_transactions_change_nothing(struct fixture *f)
{
    hf_store_info before = fixture_info(f);
    for (int i = 0; i < 10; i++) {
        assert_ok(hf_commit(fixture_begin(f)));
        hf_abort(fixture_begin(f));
    }
    fixture_assert_unchanged(f, &before);
}

static void test_several_objects_appear_together(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof name, "o%d", i);
        assert_got(hf_construct(txn, name, &value_type, 1));
    }
    hf_abort(txn);
    hf_view *view = fixture_view(f);
    assert_int_equal(hf_count_named(view), 0);
    hf_view_end(view);
    txn = fixture_begin(f);
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof name, "o%d", i);
        assert_got(hf_construct(txn, name, &value_type, 1));
    }
    assert_ok(hf_commit(txn));
    view = fixture_view(f);
    assert_int_equal(hf_count_named(view), 40);
    hf_view_end(view);
}

/* ---- savepoints ------------------------------------------------------------------------------ */

/* Sets the one value of the test, announced anew. */
static void put(hf_txn *txn, int64_t value)
{
    const int64_t *seen = hf_find(hf_txn_view(txn), "v", &value_type, NULL);
    assert_got(seen);
    int64_t *p = hf_edit(txn, seen, sizeof *seen);
    assert_got(p);
    *p = value;
}

static int64_t get(hf_txn *txn)
{
    const int64_t *seen = hf_find(hf_txn_view(txn), "v", &value_type, NULL);
    assert_got(seen);
    return *seen;
}

static void test_savepoints_nest_and_stay_good_after_rollback(struct fixture *f)
{
    hf_mark marks[5];
    fixture_set(f->store, "v", -1);
    hf_txn *txn = fixture_begin(f);
    put(txn, 0);
    for (int i = 0; i < 5; i++) {
        assert_ok(hf_savepoint(txn, &marks[i]));
        put(txn, i + 1);
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        assert_got(hf_construct(txn, name, &value_type, 1));
    }
    assert_ok(hf_rollback_to(txn, marks[3]));
    assert_int_equal(get(txn), 3);
    assert_fails(hf_find(hf_txn_view(txn), "s3", NULL, NULL), HF_ENOTFOUND);
    assert_got(hf_find(hf_txn_view(txn), "s2", NULL, NULL));
    put(txn, 100);
    assert_ok(hf_rollback_to(txn, marks[3])); /* again: the mark stayed good */
    assert_int_equal(get(txn), 3);
    assert_ok(hf_rollback_to(txn, marks[1]));
    assert_int_equal(get(txn), 1);
    assert_int_equal(hf_count_named(hf_txn_view(txn)), 2);
    hf_mark fresh;
    put(txn, 50);
    assert_ok(hf_savepoint(txn, &fresh));
    put(txn, 60);
    assert_ok(hf_rollback_to(txn, fresh));
    assert_ok(hf_commit(txn));
    assert_int_equal(fixture_get(f->store, "v"), 50);
    fixture_assert_sound(f->store);
}

static void test_stale_and_foreign_marks_are_refused(struct fixture *f)
{
    hf_mark outer, inner, zero;
    memset(&zero, 0, sizeof zero);
    fixture_set(f->store, "v", 1);
    hf_txn *txn = fixture_begin(f);
    assert_ok(hf_savepoint(txn, &outer));
    put(txn, 2);
    assert_ok(hf_savepoint(txn, &inner));
    put(txn, 3);
    assert_ok(hf_rollback_to(txn, outer));
    assert_code(hf_rollback_to(txn, inner), HF_EINVAL);
    assert_int_equal(get(txn), 1);
    put(txn, 4);
    hf_mark later;
    assert_ok(hf_savepoint(txn, &later)); /* stands where inner stood: still another mark */
    assert_code(hf_rollback_to(txn, inner), HF_EINVAL);
    assert_code(hf_rollback_to(txn, zero), HF_EINVAL);
    assert_int_equal(get(txn), 4);
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    hf_mark other;
    assert_ok(hf_savepoint(txn, &other)); /* the first of its transaction, as outer was of its own */
    put(txn, 5);
    assert_code(hf_rollback_to(txn, outer), HF_EINVAL);
    assert_code(hf_rollback_to(txn, later), HF_EINVAL);
    assert_int_equal(get(txn), 5);
    assert_ok(hf_commit(txn));
    assert_int_equal(fixture_get(f->store, "v"), 5);
}

static void test_rollback_brings_freed_and_destroyed_back(struct fixture *f)
{
    hf_mark mark;
    fixture_set(f->store, "v", 1);
    hf_txn *txn = fixture_begin(f);
    char *raw = hf_alloc(txn, 700);
    assert_got(raw);
    memset(raw, 'r', 700);
    assert_ok(hf_savepoint(txn, &mark));
    hf_free(txn, raw);
    assert_ok(hf_destroy(txn, "v"));
    assert_got(hf_alloc(txn, 5000));
    assert_ok(hf_rollback_to(txn, mark));
    assert_int_equal(get(txn), 1);
    assert_true(hf_usable_bytes(hf_txn_view(txn), raw) >= 700);
    assert_int_equal(raw[0], 'r');
    assert_int_equal(raw[699], 'r');
    hf_free(txn, raw); /* not a double free: the first was taken back */
    assert_ok(hf_commit(txn));
    hf_store_info info = fixture_info(f);
    assert_int_equal(info.raw_count, 0);
    assert_int_equal(info.named_count, 1);
}

/* What was new at a savepoint is not new to it: its bytes come back too. */
static void test_rollback_restores_bytes_of_objects_made_in_the_transaction(struct fixture *f)
{
    hf_mark mark;
    hf_txn *txn = fixture_begin(f);
    unsigned char *p = hf_alloc(txn, 10000);
    assert_got(p);
    memset(p, 1, 10000);
    assert_ok(hf_savepoint(txn, &mark));
    assert_ptr_equal(hf_edit(txn, p + 3, 9000), p + 3);
    memset(p + 3, 2, 9000);
    assert_ok(hf_rollback_to(txn, mark));
    for (size_t i = 0; i < 10000; i++)
        assert_int_equal(p[i], 1);
    assert_ok(hf_commit(txn));
}

static void test_wrong_free_is_forgotten_by_rollback_over_it(struct fixture *f)
{
    hf_mark before, after;
    int local = 0;
    fixture_set(f->store, "v", 1);
    hf_txn *txn = fixture_begin(f);
    assert_ok(hf_savepoint(txn, &before));
    hf_free(txn, &local);
    assert_int_equal(hf_last_error()->code, HF_EPTR);
    assert_ok(hf_rollback_to(txn, before));
    put(txn, 2);
    assert_ok(hf_commit(txn));
    assert_int_equal(fixture_get(f->store, "v"), 2);
    txn = fixture_begin(f);
    hf_free(txn, &local);
    assert_ok(hf_savepoint(txn, &after));
    put(txn, 3);
    assert_ok(hf_rollback_to(txn, after)); /* the free was before the mark: not forgotten */
    assert_code(hf_commit(txn), HF_EPTR);
    assert_int_equal(fixture_get(f->store, "v"), 2);
}

static void test_many_savepoints_are_allowed(struct fixture *f)
{
    enum { COUNT = 500 };
    static hf_mark marks[COUNT];
    fixture_set(f->store, "v", 0);
    hf_txn *txn = fixture_begin(f);
    for (int i = 0; i < COUNT; i++) {
        assert_ok(hf_savepoint(txn, &marks[i]));
        put(txn, i + 1);
    }
    for (int i = COUNT - 1; i >= 0; i -= 7) {
        assert_ok(hf_rollback_to(txn, marks[i]));
        assert_int_equal(get(txn), i);
    }
    hf_abort(txn);
    assert_int_equal(fixture_get(f->store, "v"), 0);
}

/* ---- the edit door and references ------------------------------------------------------------ */

static void test_edit_outside_the_used_part_is_refused(struct fixture *f)
{
    int local = 0;
    fixture_set(f->store, "v", 7);
    hf_txn *txn = fixture_begin(f);
    const char *p = hf_find(hf_txn_view(txn), "v", NULL, NULL);
    assert_got(p);
    assert_fails(hf_edit(txn, &local, sizeof local), HF_EPTR);
    assert_fails(hf_edit(txn, NULL, 8), HF_EPTR);
    assert_fails(hf_edit(txn, p, FIXTURE_SIZE_MAX), HF_EPTR);
    assert_fails(hf_edit(txn, p, SIZE_MAX), HF_EPTR);
    assert_fails(hf_edit(txn, p, SIZE_MAX - (size_t)(uintptr_t)p), HF_EPTR);
    assert_fails(hf_edit(txn, p + FIXTURE_SIZE_MAX, 8), HF_EPTR);
    put(txn, 8);
    assert_ok(hf_commit(txn));
    assert_int_equal(fixture_get(f->store, "v"), 8);
}

static void test_edits_of_every_shape_are_undone_exactly(struct fixture *f)
{
    enum { BYTES = 20000 };
    static unsigned char expected[BYTES];
    hf_txn *txn = fixture_begin(f);
    unsigned char *p = hf_construct(txn, "bytes", NULL, BYTES);
    assert_got(p);
    for (size_t i = 0; i < BYTES; i++)
        expected[i] = p[i] = (unsigned char)(i * 31 >> 3);
    assert_ok(hf_commit(txn));
    static const struct {
        size_t offset, size_bytes;
    } edits[] = {{0, 1},     {63, 2},    {64, 64},   {100, 0},    {1, 62},   {4095, 2}, {0, BYTES},
                 {8191, 4097}, {19999, 1}, {10000, 1}, {9990, 20}, {9000, 9000}};
    txn = fixture_begin(f);
    const unsigned char *seen = hf_find(hf_txn_view(txn), "bytes", NULL, NULL);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        unsigned char *w = hf_edit(txn, seen + edits[i].offset, edits[i].size_bytes);
        assert_got(w);
        memset(w, 0xC0 + (int)i, edits[i].size_bytes);
    }
    hf_abort(txn);
    hf_view *view = fixture_view(f);
    assert_memory_equal(hf_find(view, "bytes", NULL, NULL), expected, BYTES);
    hf_view_end(view);
}

static void test_references_lead_back_and_wrong_ones_nowhere(struct fixture *f)
{
    int local = 0;
    hf_txn *txn = fixture_begin(f);
    char *p = hf_alloc(txn, 100);
    assert_got(p);
    hf_ref ref = hf_ref_of(hf_txn_view(txn), p);
    assert_ptr_equal(hf_at(hf_txn_view(txn), ref), p);
    assert_ptr_equal(hf_at(hf_txn_view(txn), hf_ref_of(hf_txn_view(txn), p + 99)), p + 99);
    assert_int_equal(hf_ref_of(hf_txn_view(txn), p + 50), ref + 50);
    assert_ok(hf_commit(txn));
    hf_view *view = fixture_view(f);
    assert_int_equal(hf_ref_of(view, NULL), 0);
    assert_int_equal(hf_ref_of(view, &local), 0);
    assert_int_equal(hf_last_error()->code, HF_EPTR);
    assert_int_equal(hf_ref_of(view, hf_at(view, ref)), ref);
    assert_null(hf_at(view, 0));
    assert_fails(hf_at(view, FIXTURE_SIZE_MAX + 1), HF_EPTR);
    assert_fails(hf_at(view, UINT64_MAX), HF_EPTR);
    assert_fails(hf_at(view, (uint64_t)1 << 63), HF_EPTR);
    hf_view_end(view);
}

/* ---- who waits for whom ---------------------------------------------------------------------- */

static void test_nested_begin_and_view_in_one_thread_are_refused(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f), *second = (hf_txn *)(void *)f;
    hf_view *view = (hf_view *)(void *)f;
    assert_code(hf_begin(f->store, &second), HF_ENESTED);
    assert_code(hf_view_begin(f->store, &view), HF_ENESTED);
    assert_code(hf_sync(f->store), f->has_file ? HF_ENESTED : 0); /* no effect without a file */
    assert_ptr_equal(second, f); /* out-parameters only on success */
    assert_ptr_equal(view, f);
    assert_got(hf_alloc(txn, 10));
    assert_ok(hf_commit(txn));
    view = fixture_view(f);
    assert_code(hf_begin(f->store, &second), HF_EDEADLOCK);
    assert_ptr_equal(second, f);
    hf_view_end(view);
    assert_ok(hf_commit(fixture_begin(f)));
}

static void test_info_inside_a_transaction_counts_its_changes(struct fixture *f)
{
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    assert_got(hf_alloc(txn, 1000));
    assert_int_equal(fixture_info(f).raw_count, before.raw_count + 1);
    hf_abort(txn);
    fixture_assert_unchanged(f, &before);
}

static void test_views_of_one_thread_are_joined(struct fixture *f)
{
    hf_view *first = fixture_view(f), *second = fixture_view(f), *third = fixture_view(f);
    hf_txn *txn = NULL;
    assert_ptr_equal(first, second);
    assert_ptr_equal(first, third);
    hf_view_end(second);
    assert_int_equal(hf_count_named(first), 0);
    hf_view_end(third);
    assert_code(hf_begin(f->store, &txn), HF_EDEADLOCK); /* one is still open */
    assert_ok(hf_check_sanity(f->store, NULL, NULL));    /* joins it too */
    hf_view_end(first);
    assert_ok(hf_commit(fixture_begin(f)));
}

struct thread_result {
    hf_store *store;
    int begin_code, view_code;
};

static void *try_both(void *argument)
{
    struct thread_result *result = argument;
    hf_txn *txn = NULL;
    hf_view *view = NULL;
    result->begin_code = hf_begin(result->store, &txn);
    if (result->begin_code == 0)
        hf_abort(txn);
    result->view_code = hf_view_begin(result->store, &view);
    if (result->view_code == 0)
        hf_view_end(view);
    return NULL;
}

static struct thread_result in_another_thread(struct fixture *f)
{
    struct thread_result result = {f->store, 1, 1};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, try_both, &result), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return result;
}

static void test_other_threads_are_excluded_as_promised(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    struct thread_result result = in_another_thread(f);
    assert_int_equal(result.begin_code, HF_EBUSY);
    assert_int_equal(result.view_code, f->engine == HF_ENGINE_LOG ? 0 : HF_EBUSY);
    assert_ok(hf_commit(txn));
    hf_view *view = fixture_view(f);
    result = in_another_thread(f);
    assert_int_equal(result.begin_code, f->engine == HF_ENGINE_LOG ? 0 : HF_EBUSY);
    assert_int_equal(result.view_code, 0); /* readers don't exclude each other */
    hf_view_end(view);
    result = in_another_thread(f);
    assert_int_equal(result.begin_code, 0);
    assert_int_equal(result.view_code, 0);
}

struct seen_by_other {
    hf_store *store;
    int64_t value;
};

static void *see_v(void *argument)
{
    struct seen_by_other *other = argument;
    hf_view *view = NULL;
    if (hf_view_begin(other->store, &view) != 0)
        return NULL;
    const int64_t *v = hf_find(view, "v", &value_type, NULL);
    other->value = v != NULL ? *v : INT64_MIN;
    hf_view_end(view);
    return NULL;
}

/* A view of another thread, held until told. */
struct held_view {
    hf_store *store;
    _Atomic int begun, end;
    int code;
};

static void *hold_view(void *argument)
{
    struct held_view *held = argument;
    hf_view *view = NULL;
    held->code = hf_view_begin(held->store, &view);
    held->begun = 1;
    while (held->end == 0)
        usleep(200);
    hf_view_end(view);
    return NULL;
}

static void test_sync_within_a_view_is_edeadlock(struct fixture *f)
{
    hf_view *view = fixture_view(f);
    assert_code(hf_sync(f->store), f->has_file ? HF_EDEADLOCK : 0);
    hf_view_end(view);
    assert_ok(hf_sync(f->store));
}

/* On the log engine a commit doesn't wait for a view: it is durable, and seen when that has ended. */
static void test_a_view_does_not_change_though_a_commit_returns(struct fixture *f)
{
    if (f->engine != HF_ENGINE_LOG)
        return;
    fixture_set(f->store, "v", 1);
    struct held_view held = {.store = f->store};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, hold_view, &held), 0);
    while (held.begun == 0)
        usleep(200);
    assert_ok(held.code);
    fixture_set(f->store, "v", 2);
    assert_int_equal(fixture_get(f->store, "v"), 1);
    hf_txn *txn = fixture_begin(f); /* the next transaction goes on from the commit all the same */
    const int64_t *seen = hf_find(hf_txn_view(txn), "v", &value_type, NULL);
    assert_got(seen);
    assert_int_equal(*seen, 2);
    int64_t *p = hf_edit(txn, seen, sizeof *seen);
    assert_got(p);
    *p = 3;
    assert_ok(hf_commit(txn));
    assert_code(hf_sync(f->store), HF_EBUSY); /* durable, not yet visible */
    assert_int_equal(hf_last_error()->pid, getpid());
    assert_int_equal(fixture_get(f->store, "v"), 1);
    held.end = 1;
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_ok(hf_sync(f->store));
    assert_int_equal(fixture_get(f->store, "v"), 3);
}

/* On the log engine a transaction works on pages of its own. */
static void test_a_view_sees_the_last_commit_beside_a_transaction(struct fixture *f)
{
    if (f->engine != HF_ENGINE_LOG)
        return;
    struct seen_by_other other = {f->store, 0};
    pthread_t thread;
    fixture_set(f->store, "v", 1);
    hf_txn *txn = fixture_begin(f);
    const int64_t *seen = hf_find(hf_txn_view(txn), "v", &value_type, NULL);
    int64_t *p = hf_edit(txn, seen, sizeof *seen);
    assert_got(p);
    *p = 2;
    hf_ref ref = hf_ref_of(hf_txn_view(txn), p);
    assert_int_equal(pthread_create(&thread, NULL, see_v, &other), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(other.value, 1);
    assert_ok(hf_commit(txn));
    hf_view *view = fixture_view(f);
    const int64_t *read = hf_find(view, "v", &value_type, NULL);
    assert_got(read);
    assert_int_equal(*read, 2);
    assert_int_equal(hf_ref_of(view, read), ref); /* the same object at another address */
    assert_ptr_not_equal(read, p);
    hf_view_end(view);
}

/* ---- the store as a whole -------------------------------------------------------------------- */

static void test_save_as_gives_a_store_of_its_own(struct fixture *f)
{
    char path[PATH_BYTES];
    fixture_path(path, fixture_disk_directory(), "saved.hf");
    fixture_set(f->store, "v", 5);
    hf_txn *txn = fixture_begin(f);
    void *small = hf_alloc(txn, 24), *smaller = hf_alloc(txn, 8);
    assert_got(small);
    assert_got(smaller);
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    hf_free(txn, small); /* known of in process memory alone, with the allocator slab */
    assert_code(hf_save_as(f->store, path, 0), HF_ENOTSUP);
    hf_free(txn, smaller);
    assert_ok(hf_commit(txn));
    assert_ok(hf_save_as(f->store, path, 0));
    assert_code(hf_save_as(f->store, path, 0), HF_EEXIST);
    fixture_set(f->store, "v", 6); /* the saved one doesn't follow */
    hf_store *saved = fixture_open(path, HF_OPEN_EXISTING);
    fixture_assert_sound(saved);
    assert_int_equal(fixture_get(saved, "v"), 5);
    hf_store_info mine = fixture_info(f), theirs;
    assert_ok(hf_info(saved, &theirs));
    assert_memory_not_equal(mine.uuid, theirs.uuid, 16);
    assert_int_equal(theirs.allocator, mine.allocator);
    assert_int_equal(theirs.index, mine.index);
    assert_string_equal(theirs.layout, mine.layout);
    assert_int_equal(theirs.named_count, mine.named_count);
    fixture_set(saved, "v", 7); /* it can be written */
    assert_ok(hf_close(saved));
    assert_false(fixture_sidecar_exists(path, "-lock"));
    assert_ok(hf_remove(path));
    assert_int_equal(fixture_get(f->store, "v"), 6);
}

static void test_sync_and_recovery_info_answer(struct fixture *f)
{
    fixture_set(f->store, "v", 5);
    assert_ok(hf_sync(f->store));
    hf_recovery recovery;
    memset(&recovery, 0x77, sizeof recovery);
    assert_ok(hf_recovery_info(f->store, &recovery));
    assert_int_equal(recovery.recoveries, 0);
    assert_int_equal(recovery.undone_bytes, 0);
    assert_int_equal(recovery.last_pid, 0);
    uint64_t dirty = 0;
    assert_code(hf_dirty_bytes(f->store, &dirty), HF_ENOTSUP);
}

static void test_null_handles_are_harmless(struct fixture *f)
{
    hf_txn *txn = NULL;
    hf_view *view = NULL;
    assert_ok(hf_close(NULL));
    hf_abort(NULL);
    hf_view_end(NULL);
    assert_code(hf_begin(NULL, &txn), HF_EINVAL);
    assert_code(hf_view_begin(NULL, &view), HF_EINVAL);
    assert_code(hf_begin(f->store, NULL), HF_EINVAL);
    assert_code(hf_recovery_info(f->store, NULL), HF_EINVAL);
    assert_ok(hf_commit(fixture_begin(f)));
}

/* ---- a short random run against the simplest model ------------------------------------------- */

enum { MODEL_NAMES = 40 };

static uint64_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % bound;
}

/* One change to a random name, in the store and in the model; -1 is "no such object". */
static void change_one(hf_txn *txn, int64_t model[MODEL_NAMES])
{
    uint32_t which = random_below(MODEL_NAMES);
    char name[32];
    snprintf(name, sizeof name, "%0*u", 1 + (int)(which % 20), which);
    if (model[which] >= 0 && random_below(3) == 0) {
        assert_ok(hf_destroy(txn, name));
        model[which] = -1;
        return;
    }
    int created = -1;
    int64_t *p = hf_find_or_construct(txn, name, &value_type, 1 + random_below(50), &created);
    assert_got(p);
    assert_int_equal(created, model[which] < 0);
    assert_int_equal(*p, created ? 0 : model[which]);
    p = hf_edit(txn, p, sizeof *p);
    assert_got(p);
    model[which] = *p = random_below(1000000);
}

static void expect_model(struct fixture *f, const int64_t model[MODEL_NAMES])
{
    uint64_t wanted = 0;
    hf_view *view = fixture_view(f);
    for (uint32_t i = 0; i < MODEL_NAMES; i++) {
        char name[32];
        snprintf(name, sizeof name, "%0*u", 1 + (int)(i % 20), i);
        const int64_t *p = hf_find(view, name, &value_type, NULL);
        assert_true((p != NULL) == (model[i] >= 0));
        assert_true(p == NULL || *p == model[i]);
        wanted += model[i] >= 0;
    }
    assert_int_equal(hf_count_named(view), wanted);
    hf_view_end(view);
}

static void test_random_transactions_agree_with_a_model(struct fixture *f)
{
    int64_t committed[MODEL_NAMES], now[MODEL_NAMES], marked[MODEL_NAMES];
    const char *seed = getenv("HF_TEST_SEED"), *scale = getenv("HF_TEST_SCALE");
    random_state = seed != NULL ? strtoull(seed, NULL, 0) : 20240117;
    int rounds = (int)(100 * (scale != NULL ? strtod(scale, NULL) : 1));
    memset(committed, 0xFF, sizeof committed);
    for (int round = 0; round < rounds; round++) {
        hf_txn *txn = fixture_begin(f);
        hf_mark mark;
        memcpy(now, committed, sizeof now);
        for (uint32_t n = random_below(10); n-- > 0;)
            change_one(txn, now);
        assert_ok(hf_savepoint(txn, &mark));
        memcpy(marked, now, sizeof now);
        for (uint32_t n = random_below(10); n-- > 0;)
            change_one(txn, now);
        if (random_below(3) == 0) {
            assert_ok(hf_rollback_to(txn, mark));
            memcpy(now, marked, sizeof now);
            for (uint32_t n = random_below(5); n-- > 0;)
                change_one(txn, now);
        }
        if (random_below(3) == 0) {
            hf_abort(txn);
        } else {
            assert_ok(hf_commit(txn));
            memcpy(committed, now, sizeof now);
        }
        if (round % 10 == 9) {
            expect_model(f, committed);
            fixture_assert_sound(f->store);
        }
        if (round % 40 == 39)
            fixture_reopen(f);
    }
}

#define CASE(name) {#name, name, false}
#define CASE_ALL(name) {#name, name, true}

int main(void)
{
    static const struct fixture_case cases[] = {
        CASE(test_abort_takes_everything_back),
        CASE(test_close_aborts_the_open_transaction),
        CASE_ALL(test_empty_transactions_change_nothing),
        CASE(test_several_objects_appear_together),
        CASE(test_savepoints_nest_and_stay_good_after_rollback),
        CASE(test_stale_and_foreign_marks_are_refused),
        CASE(test_rollback_brings_freed_and_destroyed_back),
        CASE_ALL(test_rollback_restores_bytes_of_objects_made_in_the_transaction),
        CASE(test_wrong_free_is_forgotten_by_rollback_over_it),
        CASE(test_many_savepoints_are_allowed),
        CASE(test_edit_outside_the_used_part_is_refused),
        CASE(test_edits_of_every_shape_are_undone_exactly),
        CASE_ALL(test_references_lead_back_and_wrong_ones_nowhere),
        CASE_ALL(test_nested_begin_and_view_in_one_thread_are_refused),
        CASE_ALL(test_info_inside_a_transaction_counts_its_changes),
        CASE_ALL(test_views_of_one_thread_are_joined),
        CASE_ALL(test_other_threads_are_excluded_as_promised),
        CASE_ALL(test_sync_within_a_view_is_edeadlock),
        CASE(test_a_view_does_not_change_though_a_commit_returns),
        CASE(test_a_view_sees_the_last_commit_beside_a_transaction),
        CASE(test_save_as_gives_a_store_of_its_own),
        CASE(test_sync_and_recovery_info_answer),
        CASE_ALL(test_null_handles_are_harmless),
        CASE(test_random_transactions_agree_with_a_model),
    };
    return fixture_run_matrix("transactions", cases, sizeof cases / sizeof *cases);
}
