/* SPDX-License-Identifier: MIT */
/*
 * test_log_blocks.c - no record is written into a block of the log that holds a sealed one
 *
 * A sync makes what is sealed durable; a block with such a record in it may not be written again, or
 * a power failure could tear it. The housekeeper may seal what it found appended a while ago, that
 * is in the middle of a block: tests/model/protocol_log.c has the way to it. Here the test seals in
 * the housekeeper's place, so that no clock decides.
 */
#include "store_fixture.h"

#include "store/store.h"

static char path[PATH_BYTES];

static uint64_t commit_one(hf_store *store, const char *name)
{
    struct hf__log_tail tail;
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    assert_got(hf_construct(txn, name, NULL, 8));
    assert_ok(hf_commit(txn));
    hf__tail_read(store, &tail);
    return (tail.end - 1) / HF__LOG_BLOCK;
}

/* Without a housekeeper. */
static hf_store *open_lazily(void)
{
    hf_options options = {.durability = HF_LAZY};
    hf_store *store = NULL;
    fixture_path(path, fixture_disk_directory(), "blocks.hf");
    assert_ok(hf_open(path, &options, &store));
    store->log.housekeeping = true;
    return store;
}

static void close_and_remove(hf_store *store)
{
    store->log.housekeeping = false;
    assert_ok(hf_close(store));
    assert_ok(hf_remove(path));
}

static void seal(hf_store *store, uint64_t back)
{
    struct hf__log_tail tail;
    hf__tail_read(store, &tail);
    __atomic_store_n(&store->locks.table->header.log.sealed, tail.appended - back,
                     __ATOMIC_SEQ_CST);
}

static void test_log_blocks_unsealed_records_share_one(void **unused)
{
    (void)unused;
    hf_store *store = open_lazily();
    const uint64_t block = commit_one(store, "a");
    assert_int_equal(commit_one(store, "b"), block);
    assert_int_equal(commit_one(store, "c"), block);
    close_and_remove(store);
}

static void test_log_blocks_sealed_at_the_end(void **unused)
{
    (void)unused;
    hf_store *store = open_lazily();
    const uint64_t block = commit_one(store, "a");
    seal(store, 0);
    assert_int_equal(commit_one(store, "b"), block + 1);
    close_and_remove(store);
}

static void test_log_blocks_sealed_in_the_middle(void **unused)
{
    (void)unused;
    hf_store *store = open_lazily();
    const uint64_t block = commit_one(store, "a");
    assert_int_equal(commit_one(store, "b"), block);
    seal(store, 1);
    assert_int_equal(commit_one(store, "c"), block + 1);
    assert_int_equal(commit_one(store, "d"), block + 1);
    close_and_remove(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_blocks_unsealed_records_share_one),
        cmocka_unit_test(test_log_blocks_sealed_at_the_end),
        cmocka_unit_test(test_log_blocks_sealed_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
