/* SPDX-License-Identifier: MIT */
/*
 * test_misuse.c - wrong arguments and wrong threads get an error, never a crash or a wrong answer
 */
#include "store_fixture.h"

#include <pthread.h>

static _Alignas(4096) unsigned char buffer[1 << 20];

static hf_store *open_buffer(void)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.mode = HF_CREATE_NEW;
    assert_ok(hf_open_buffer(buffer, sizeof buffer, &options, &store));
    return store;
}

static void test_bad_descriptors_are_refused_by_find_and_construct(void **state)
{
    (void)state;
    static const hf_type nameless = {NULL, 1, 8, 8, 0, NULL, 0};
    static const hf_type no_refs = {"no refs", 1, 8, 8, 0, NULL, 1};
    static const hf_field to_nameless[] = {{0, HF_FIELD_REF, &nameless}};
    static const hf_type bad_target = {"bad target", 1, 8, 8, 0, to_nameless, 1};
    static const hf_type *const bad[] = {&nameless, &no_refs, &bad_target};
    hf_store *store = open_buffer();
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    assert_got(hf_construct(txn, "x", NULL, 8));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(hf_find(hf_txn_view(txn), "x", bad[i], NULL));
        assert_null(hf_find_unique(hf_txn_view(txn), bad[i], NULL));
        assert_null(hf_construct(txn, "y", bad[i], 1));
        assert_null(hf_construct_unique(txn, bad[i], 1));
        assert_null(hf_new(txn, bad[i], 1));
        assert_true(hf_last_error()->code == HF_ENAME || hf_last_error()->code == HF_ETYPE);
    }
    hf_free_many(txn, NULL, 3);
    hf_free_many(NULL, NULL, 3);
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
}

static void test_type_aligned_more_than_its_buffer_is_refused(void **state)
{
    (void)state;
    static const hf_type wide = {"wide", 1, 64, 65536, 0, NULL, 0};
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    hf_txn *txn = NULL;
    options.mode = HF_CREATE_NEW;
    unsigned char *at = buffer + ((uintptr_t)buffer % 65536 == 0 ? 4096 : 0);
    assert_ok(hf_open_buffer(at, sizeof buffer - 4096, &options, &store));
    assert_ok(hf_begin(store, &txn));
    assert_null(hf_new(txn, &wide, 1));
    assert_code(hf_last_error()->code, HF_EINVAL);
    assert_null(hf_construct(txn, "w", &wide, 1));
    assert_code(hf_last_error()->code, HF_EINVAL);
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
}

static void test_buffer_that_is_open_is_not_opened_again(void **state)
{
    (void)state;
    hf_store *store = open_buffer(), *second = NULL;
    assert_code(hf_open_buffer(buffer, sizeof buffer, NULL, &second), HF_EALREADYOPEN);
    assert_null(second);
    assert_ok(hf_close(store));
    assert_ok(hf_open_buffer(buffer, sizeof buffer, NULL, &second));
    assert_ok(hf_close(second));
}

static void test_many_blocks_that_do_not_fit_leave_the_callers_array_alone(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    static void *blocks[COUNT];
    hf_store *store = open_buffer();
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    memset(blocks, 0x5a, sizeof blocks);
    assert_code(hf_alloc_many(txn, 1000, COUNT, blocks), HF_EFULL);
    for (size_t i = 0; i < sizeof blocks; i++)
        assert_int_equal(((unsigned char *)blocks)[i], 0x5a);
    assert_true(hf_all_memory_deallocated(hf_txn_view(txn)));
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
}

static void *end_view(void *view)
{
    hf_view_end(view);
    return (void *)(intptr_t)hf_last_error()->code;
}

static void test_view_is_not_ended_by_another_thread(void **state)
{
    (void)state;
    hf_store *store = open_buffer();
    hf_view *view = NULL;
    hf_txn *txn = NULL;
    pthread_t thread;
    void *code = NULL;
    assert_ok(hf_view_begin(store, &view));
    assert_int_equal(pthread_create(&thread, NULL, end_view, view), 0);
    assert_int_equal(pthread_join(thread, &code), 0);
    assert_int_equal((intptr_t)code, HF_EINVAL);
    assert_code(hf_begin(store, &txn), HF_EDEADLOCK); /* it is still open, and this thread's */
    hf_view_end(view);
    assert_ok(hf_begin(store, &txn));
    hf_abort(txn);
    assert_ok(hf_close(store));
}

static void *begin_and_vanish(void *store)
{
    hf_txn *txn;
    return (void *)(intptr_t)hf_begin(store, &txn);
}

static void *try_to_begin(void *store)
{
    hf_txn *txn;
    return (void *)(intptr_t)hf_begin(store, &txn);
}

static void test_thread_that_comes_after_is_not_taken_for_the_one_that_vanished(void **state)
{
    (void)state;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    pthread_t thread;
    void *code = NULL;
    options.lock_timeout_ms = -1;
    assert_ok(hf_open_heap(65536, &options, &store));
    assert_int_equal(pthread_create(&thread, NULL, begin_and_vanish, store), 0);
    assert_int_equal(pthread_join(thread, &code), 0);
    assert_int_equal((intptr_t)code, 0);
    assert_int_equal(pthread_create(&thread, NULL, try_to_begin, store), 0);
    assert_int_equal(pthread_join(thread, &code), 0);
    assert_code((int)(intptr_t)code, HF_EBUSY);
    assert_ok(hf_close(store)); /* aborts what was left open */
}

static void test_many_types_are_told_apart(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    char name[32];
    hf_store *store = open_buffer();
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    for (int round = 0; round < 2; round++)
        for (uint32_t i = 0; i < COUNT; i++) {
            hf_type type = {name, i % 3, 8 + i % 7, 8, 0, NULL, 0};
            snprintf(name, sizeof name, "type %u", i);
            void *p = hf_new(txn, &type, 1);
            hf_object_info info;
            assert_got(p);
            assert_ok(hf_object_at(hf_txn_view(txn), p, &info));
            assert_string_equal(info.type_name, name);
            assert_int_equal(info.type_version, i % 3);
            type.size_bytes++;
            assert_null(hf_new(txn, &type, 1));
            assert_code(hf_last_error()->code, HF_ETYPE);
        }
    hf_abort(txn);
    /* What the handle remembers of types that an abort took back must not count. */
    assert_ok(hf_begin(store, &txn));
    hf_type other = {"another", 1, 32, 8, 0, NULL, 0};
    assert_got(hf_new(txn, &other, 1));
    snprintf(name, sizeof name, "type %u", 0u);
    hf_type changed = {name, 0, 100, 8, 0, NULL, 0};
    assert_got(hf_new(txn, &changed, 1));
    assert_ok(hf_commit(txn));
    assert_ok(hf_check_sanity(store, NULL, NULL));
    assert_ok(hf_close(store));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_descriptors_are_refused_by_find_and_construct),
        cmocka_unit_test(test_type_aligned_more_than_its_buffer_is_refused),
        cmocka_unit_test(test_buffer_that_is_open_is_not_opened_again),
        cmocka_unit_test(test_many_blocks_that_do_not_fit_leave_the_callers_array_alone),
        cmocka_unit_test(test_view_is_not_ended_by_another_thread),
        cmocka_unit_test(test_thread_that_comes_after_is_not_taken_for_the_one_that_vanished),
        cmocka_unit_test(test_many_types_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
