/* SPDX-License-Identifier: MIT */
/*
 * test_log_check.c - debug_checks: what was changed unannounced, and addresses that are stored
 *
 * Each test makes one of the two mistakes in one place; the same without the mistake must pass, and
 * after the refusal the store must show the last commit.
 */
#include "store_fixture.h"

#include <unistd.h>

struct pair {
    int64_t first[16], second[16]; /* a line of 64 bytes is in between, whatever the alignment */
};
static const hf_type pair_type = {"pair", 1, sizeof(struct pair), 8, 0, NULL, 0};

static char path[PATH_BYTES];
static hf_store *store;

static void tune(uint32_t checks)
{
    hf_tuning tuning = HF_TUNING_INIT;
    tuning.debug_checks = checks;
    assert_ok(hf_tune(store, &tuning));
}

static int fresh_store(void **state)
{
    (void)state;
    hf_txn *txn;
    fixture_path(path, fixture_disk_directory(), "check.hf");
    store = fixture_open(path, HF_CREATE_NEW);
    assert_ok(hf_begin(store, &txn));
    assert_got(hf_construct(txn, "pair", &pair_type, 1));
    assert_ok(hf_commit(txn));
    return 0;
}

static int remove_store(void **state)
{
    (void)state;
    if (store != NULL)
        hf_close(store);
    store = NULL;
    return hf_remove(path);
}

static struct pair *the_pair(hf_txn *txn)
{
    /* What a careless program does. */
    return (struct pair *)(uintptr_t)hf_find(hf_txn_view(txn), "pair", &pair_type, NULL);
}

/* What views and transactions show. */
static void expect_pair(int64_t first, int64_t second)
{
    hf_view *view;
    hf_txn *txn;
    assert_ok(hf_sync(store));
    assert_ok(hf_view_begin(store, &view));
    const struct pair *pair = hf_find(view, "pair", &pair_type, NULL);
    assert_int_equal(pair->first[0], first);
    assert_int_equal(pair->second[15], second);
    hf_view_end(view);
    assert_ok(hf_begin(store, &txn));
    assert_int_equal(the_pair(txn)->first[0], first);
    assert_int_equal(the_pair(txn)->second[15], second);
    hf_abort(txn);
}

static hf_log_state info(void)
{
    hf_log_state state;
    assert_ok(hf_log_info(store, &state));
    return state;
}

static void test_announced_changes_pass(void **state)
{
    (void)state;
    hf_txn *txn;
    tune(HF_DEBUG_ANNOUNCE | HF_DEBUG_POINTERS);
    for (int64_t i = 1; i <= 3; i++) {
        assert_ok(hf_begin(store, &txn));
        struct pair *pair = hf_edit(txn, the_pair(txn), sizeof *pair);
        pair->first[0] = pair->second[15] = i;
        assert_ok(hf_commit(txn));
        expect_pair(i, i);
    }
    assert_true(info().checks >= 3);
    assert_int_equal(info().checks_skipped, 0);
}

static void test_unannounced_change_is_refused_and_located(void **state)
{
    (void)state;
    hf_txn *txn;
    tune(HF_DEBUG_ANNOUNCE);
    assert_ok(hf_begin(store, &txn));
    struct pair *pair = the_pair(txn);
    const hf_ref ref = hf_ref_of(hf_txn_view(txn), pair);
    assert_got(hf_edit(txn, pair->first, sizeof pair->first[0]));
    pair->first[0] = 1;
    pair->second[15] = INT64_C(0x1111111111111111);
    assert_code(hf_commit(txn), HF_EUNANNOUNCED);
    const hf_error *error = hf_last_error();
    assert_int_equal(error->offset, ref + offsetof(struct pair, second[15]));
    assert_non_null(strstr(error->message, "object 'pair' of type 'pair', byte 248"));
    expect_pair(0, 0);
    fixture_assert_sound(store);
}

/* Nothing was announced at all: without the check this is a commit that changes nothing. */
static void test_transaction_without_any_edit_is_looked_at(void **state)
{
    (void)state;
    hf_txn *txn;
    tune(HF_DEBUG_ANNOUNCE);
    assert_ok(hf_begin(store, &txn));
    the_pair(txn)->first[0] = 1;
    assert_code(hf_commit(txn), HF_EUNANNOUNCED);
    expect_pair(0, 0);
}

static void test_without_the_option_it_goes_unseen(void **state)
{
    (void)state;
    hf_txn *txn;
    assert_ok(hf_begin(store, &txn));
    the_pair(txn)->first[0] = 1;
    assert_ok(hf_commit(txn));
    assert_int_equal(info().checks, 0);
    /* The next transaction with the option begins with what is in the file. */
    tune(HF_DEBUG_ANNOUNCE);
    expect_pair(0, 0);
}

static void test_abort_takes_back_unannounced_changes(void **state)
{
    (void)state;
    hf_txn *txn;
    tune(HF_DEBUG_ANNOUNCE);
    assert_ok(hf_begin(store, &txn));
    the_pair(txn)->first[0] = 1;
    hf_abort(txn);
    tune(0); /* a checked transaction would begin with what is in the file anyway */
    assert_ok(hf_begin(store, &txn));
    assert_int_equal(the_pair(txn)->first[0], 0);
    assert_ok(hf_commit(txn));
}

static void test_raw_and_freed_blocks_are_named(void **state)
{
    (void)state;
    hf_txn *txn;
    char expected[64];
    assert_ok(hf_begin(store, &txn));
    unsigned char *raw = hf_alloc(txn, 2048);
    unsigned char *freed = hf_alloc(txn, 2048);
    assert_got(hf_alloc(txn, 2048)); /* so that the block before is no tail */
    assert_got(raw);
    assert_got(freed);
    memset(raw, 0, 2048);
    memset(freed, 0, 2048);
    const hf_ref raw_at = hf_ref_of(hf_txn_view(txn), raw);
    const hf_ref freed_at = hf_ref_of(hf_txn_view(txn), freed);
    assert_ok(hf_commit(txn));
    assert_ok(hf_begin(store, &txn));
    hf_free(txn, hf_at(hf_txn_view(txn), freed_at));
    assert_ok(hf_commit(txn));

    tune(HF_DEBUG_ANNOUNCE);
    assert_ok(hf_begin(store, &txn));
    ((unsigned char *)(uintptr_t)hf_at(hf_txn_view(txn), raw_at))[300] = 1;
    assert_code(hf_commit(txn), HF_EUNANNOUNCED);
    assert_int_equal(hf_last_error()->offset, raw_at + 300);
    snprintf(expected, sizeof expected, "the raw block at %llu, byte 300",
             (unsigned long long)raw_at);
    assert_non_null(strstr(hf_last_error()->message, expected));

    assert_ok(hf_begin(store, &txn));
    ((unsigned char *)(uintptr_t)hf_at(hf_txn_view(txn), freed_at))[300] = 1;
    assert_code(hf_commit(txn), HF_EUNANNOUNCED);
    snprintf(expected, sizeof expected, "the free block at %llu, byte 300",
             (unsigned long long)freed_at);
    assert_non_null(strstr(hf_last_error()->message, expected));
    fixture_assert_sound(store);
}

/* Space that the transaction itself got is announced, also where it is written in place. */
static void test_fresh_space_of_all_sizes_passes(void **state)
{
    (void)state;
    hf_txn *txn;
    tune(HF_DEBUG_ANNOUNCE | HF_DEBUG_POINTERS);
    for (size_t size = 64; size <= (size_t)16 << 20; size *= 8) {
        assert_ok(hf_begin(store, &txn));
        unsigned char *block = hf_alloc(txn, size);
        assert_got(block);
        memset(block, 0x5a, size);
        assert_ok(hf_commit(txn));
    }
    /* And an old byte beside such a window is seen still. */
    assert_ok(hf_begin(store, &txn));
    unsigned char *block = hf_alloc(txn, (size_t)16 << 20);
    assert_got(block);
    memset(block, 0x5a, (size_t)16 << 20);
    the_pair(txn)->first[0] = 1;
    assert_code(hf_commit(txn), HF_EUNANNOUNCED);
    expect_pair(0, 0);
    fixture_assert_sound(store);
}

static void hold_a_view(struct child *self, void *argument)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *other;
    hf_view *view;
    (void)argument;
    options.mode = HF_READ_ONLY;
    child_expect(hf_open(path, &options, &other) == 0);
    child_expect(hf_view_begin(other, &view) == 0);
    child_signal(self);
    child_wait(self);
    hf_view_end(view);
    hf_close(other);
}

static void test_check_is_skipped_while_a_view_defers(void **state)
{
    (void)state;
    hf_txn *txn;
    assert_ok(hf_close(store));
    store = NULL;
    /* A child has no handle of its own while the parent has one: it forks first. */
    struct child reader = child_start(hold_a_view, NULL);
    assert_true(child_wait(&reader));
    store = fixture_open(path, HF_OPEN_EXISTING);
    tune(HF_DEBUG_ANNOUNCE);
    for (int64_t i = 1; i <= 2; i++) {
        assert_ok(hf_begin(store, &txn));
        struct pair *pair = hf_edit(txn, the_pair(txn), sizeof *pair);
        pair->first[0] = i;
        assert_ok(hf_commit(txn));
    }
    const hf_log_state deferred = info();
    assert_true(deferred.checks_skipped >= 1);
    assert_int_equal(deferred.checks, 1);
    child_signal(&reader);
    child_join(&reader);
    assert_ok(hf_sync(store));
    assert_ok(hf_begin(store, &txn));
    the_pair(txn)->second[15] = 1;
    assert_code(hf_commit(txn), HF_EUNANNOUNCED);
    expect_pair(2, 0);
}

static void store_address(hf_txn *txn, const void *address)
{
    struct pair *pair = hf_edit(txn, the_pair(txn), sizeof *pair);
    const uint64_t word = (uint64_t)(uintptr_t)address;
    memcpy(&pair->second[3], &word, sizeof word);
}

static void test_stored_address_is_refused_and_located(void **state)
{
    (void)state;
    hf_view *view;
    hf_txn *txn;
    tune(HF_DEBUG_POINTERS);
    /* Of the writer's mapping, to an object, and of the readers'. */
    assert_ok(hf_view_begin(store, &view));
    const void *seen = hf_find(view, "pair", &pair_type, NULL);
    hf_view_end(view);
    for (int round = 0; round < 2; round++) {
        assert_ok(hf_begin(store, &txn));
        const struct pair *pair = the_pair(txn);
        const hf_ref ref = hf_ref_of(hf_txn_view(txn), pair);
        if (round == 0)
            assert_ptr_not_equal(seen, pair);
        store_address(txn, round == 0 ? seen : pair);
        assert_code(hf_commit(txn), HF_EPTR);
        assert_int_equal(hf_last_error()->offset, ref + offsetof(struct pair, second[3]));
        assert_non_null(strstr(hf_last_error()->message, "object 'pair'"));
    }
    assert_ok(hf_begin(store, &txn));
    assert_int_equal(the_pair(txn)->second[3], 0);
    /* An address elsewhere is a number like any other, and so is an offset. */
    store_address(txn, &txn);
    the_pair(txn)->second[4] = (int64_t)hf_ref_of(hf_txn_view(txn), the_pair(txn));
    assert_ok(hf_commit(txn));
    fixture_assert_sound(store);
}

static void test_address_in_large_fresh_space_is_found(void **state)
{
    (void)state;
    hf_txn *txn;
    const size_t size = (size_t)16 << 20;
    tune(HF_DEBUG_POINTERS);
    assert_ok(hf_begin(store, &txn));
    unsigned char *block = hf_alloc(txn, size);
    assert_got(block);
    memset(block, 0, size);
    memcpy(block + size - 64, &block, sizeof block);
    const hf_ref ref = hf_ref_of(hf_txn_view(txn), block);
    assert_code(hf_commit(txn), HF_EPTR);
    assert_int_equal(hf_last_error()->offset, ref + size - 64);
}

static void test_address_in_a_freed_block_is_nobodys(void **state)
{
    (void)state;
    hf_txn *txn;
    tune(HF_DEBUG_POINTERS);
    assert_ok(hf_begin(store, &txn));
    unsigned char **block = hf_alloc(txn, 4096);
    assert_got(block);
    for (size_t i = 0; i < 4096 / sizeof *block; i++)
        block[i] = (unsigned char *)block;
    assert_got(hf_alloc(txn, 64));
    hf_free(txn, block);
    assert_ok(hf_commit(txn));
}

static void test_environment_sets_the_checks(void **state)
{
    (void)state;
    hf_txn *txn;
    hf_store *other = NULL;
    assert_ok(hf_close(store));
    store = NULL;
    assert_int_equal(setenv("HOLDFAST_DEBUG", "announce,pointer", 1), 0);
    assert_code(hf_open(path, NULL, &other), HF_EINVAL);
    assert_null(other);
    assert_int_equal(setenv("HOLDFAST_DEBUG", "pointers,announce", 1), 0);
    store = fixture_open(path, HF_OPEN_EXISTING);
    assert_ok(hf_begin(store, &txn));
    the_pair(txn)->first[0] = 1;
    assert_code(hf_commit(txn), HF_EUNANNOUNCED);
    assert_ok(hf_begin(store, &txn));
    store_address(txn, the_pair(txn));
    assert_code(hf_commit(txn), HF_EPTR);
    assert_ok(hf_tune(store, NULL));
    assert_ok(hf_begin(store, &txn));
    store_address(txn, the_pair(txn));
    assert_ok(hf_commit(txn));
    unsetenv("HOLDFAST_DEBUG");
}

int main(void)
{
    unsetenv("HOLDFAST_DEBUG");
#define CASE(name) cmocka_unit_test_setup_teardown(name, fresh_store, remove_store)
    const struct CMUnitTest tests[] = {
        CASE(test_announced_changes_pass),
        CASE(test_unannounced_change_is_refused_and_located),
        CASE(test_transaction_without_any_edit_is_looked_at),
        CASE(test_without_the_option_it_goes_unseen),
        CASE(test_abort_takes_back_unannounced_changes),
        CASE(test_raw_and_freed_blocks_are_named),
        CASE(test_fresh_space_of_all_sizes_passes),
        CASE(test_check_is_skipped_while_a_view_defers),
        CASE(test_stored_address_is_refused_and_located),
        CASE(test_address_in_large_fresh_space_is_found),
        CASE(test_address_in_a_freed_block_is_nobodys),
        CASE(test_environment_sets_the_checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
