/* SPDX-License-Identifier: MIT */
/*
 * test_replay.c - recovery writes a whole log in the order of its records, however it writes each
 *
 * A process changes small and large parts of an array, over and over where it is dense and rarely
 * elsewhere, and dies. What the next one finds is held against the same changes made in memory.
 */
#include "store_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 5 << 20, DENSE_BYTES = 3 << 20, COMMITS = 500, CHANGES = 6, LARGE_BYTES = 9000 };

static char path[PATH_BYTES];

struct change {
    size_t offset, size_bytes;
    int byte;
};

static uint64_t random_number(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static struct change next_change(uint64_t *state)
{
    const uint64_t large = LARGE_BYTES, bytes = BYTES, dense = DENSE_BYTES;
    const uint64_t kind = random_number(state) % 8;
    struct change change;
    change.size_bytes = 1 + random_number(state) % (kind == 0 ? large : 200);
    change.offset = random_number(state) % ((kind == 1 ? bytes : dense) - large);
    if (kind == 0) /* whole pages now and then, with no part of one at their ends */
        change.offset = change.offset / 4096 * 4096;
    change.byte = (int)(random_number(state) % 256);
    return change;
}

static void commit_and_die(void)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_tuning tuning = {.log_first_bytes = UINT64_C(32) << 20};
    hf_store *store;
    hf_txn *txn;
    uint64_t state = 1;
    options.durability = HF_LAZY;
    child_expect(hf_open(path, &options, &store) == 0);
    child_expect(hf_tune(store, &tuning) == 0);
    for (int i = 0; i < COMMITS; i++) {
        child_expect(hf_begin(store, &txn) == 0);
        const unsigned char *bytes = hf_find(hf_txn_view(txn), "bytes", NULL, NULL);
        child_expect(bytes != NULL);
        for (int k = 0; k < CHANGES; k++) {
            const struct change change = next_change(&state);
            void *at = hf_edit(txn, bytes + change.offset, change.size_bytes);
            child_expect(at != NULL);
            memset(at, change.byte, change.size_bytes);
        }
        child_expect(hf_commit(txn) == 0);
    }
    raise(SIGKILL);
}

static void make_bytes(void)
{
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    assert_got(hf_construct(txn, "bytes", NULL, BYTES));
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
}

static void test_records_are_written_in_their_order(void **state)
{
    (void)state;
    hf_recovery recovery;
    hf_view *view = NULL;
    uint64_t seed = 1;
    int status = 0;
    fixture_path(path, fixture_disk_directory(), "replay.hf");
    make_bytes();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        commit_and_die();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

    unsigned char *expected = calloc(1, BYTES);
    assert_non_null(expected);
    for (int i = 0; i < COMMITS * CHANGES; i++) {
        const struct change change = next_change(&seed);
        memset(expected + change.offset, change.byte, change.size_bytes);
    }
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    assert_ok(hf_recovery_info(store, &recovery));
    assert_int_equal(recovery.cold, 1);
    assert_int_equal(recovery.replayed_commits, COMMITS);
    assert_ok(hf_view_begin(store, &view));
    const unsigned char *found = hf_find(view, "bytes", NULL, NULL);
    assert_got(found);
    assert_memory_equal(found, expected, BYTES);
    hf_view_end(view);
    assert_ok(hf_close(store));
    free(expected);
    assert_ok(hf_remove(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_are_written_in_their_order),
    };
    fixture_engine = HF_ENGINE_LOG;
    return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
