/* SPDX-License-Identifier: MIT */
/*
 * test_find_alone.c - reading within a view is between the reader and the mapping
 *
 * A child opens a store, begins a view, takes its right to write to the lock table away and then
 * gives up all system calls but write and exit (seccomp's strict mode). It then finds, misses and
 * walks: a system call, also one made for a lock, or a store to what processes share kills it.
 */
#include "store_fixture.h"

#include "store/store.h"

#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { NAMES = 500, SKIPPED = 77, WRONG = 78 };

static char path[PATH_BYTES];

static void make_store(uint32_t engine, uint32_t index)
{
    hf_options options = {.engine = engine, .index = index};
    hf_store *store = NULL;
    hf_txn *txn = NULL;
    char name[32];
    fixture_path(path, fixture_disk_directory(), "alone.hf");
    assert_ok(hf_open(path, &options, &store));
    assert_ok(hf_begin(store, &txn));
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "obj/%08u", 2 * i);
        unsigned *object = hf_construct(txn, name, NULL, 64);
        assert_got(object);
        *object = i;
    }
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
}

/* Whether all is found that should be, and only that. */
static bool reads_right(hf_view *view, char names[][32])
{
    hf_cursor cursor = {.prefix = "obj/"};
    hf_object_info info;
    unsigned walked = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        const unsigned *object = hf_find(view, names[2 * i], NULL, NULL);
        if (object == NULL || *object != i || hf_find(view, names[2 * i + 1], NULL, NULL) != NULL)
            return false;
    }
    while (hf_next_named(view, &cursor, &info) == 1)
        walked++;
    return walked == NAMES;
}

/* Breaks the rule, so that the test can be seen to notice. */
enum breach { NONE, CALLS, WRITES };

static void read_alone(enum breach breach)
{
    static char names[2 * NAMES][32];
    hf_store *store = NULL;
    hf_view *view = NULL;
    for (unsigned i = 0; i < 2 * NAMES; i++)
        snprintf(names[i], sizeof names[i], "obj/%08u", i);
    if (hf_open(path, NULL, &store) != 0 || hf_view_begin(store, &view) != 0 ||
        mprotect(store->locks.table, sizeof *store->locks.table, PROT_READ) != 0)
        _exit(WRONG);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
        _exit(SKIPPED);
    /* _exit is exit_group, which strict mode forbids too. */
    const bool right = reads_right(view, names);
    if (breach == CALLS)
        (void)syscall(SYS_gettid);
    if (breach == WRITES)
        hf_view_end(view);
    syscall(SYS_exit, right ? 0 : WRONG);
}

/* What waitpid says of a child that does so; skips the test where there is no strict mode. */
static int status_of(enum breach breach)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        read_alone(breach);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        skip();
    return status;
}

static void check_index(uint32_t engine, uint32_t index)
{
    make_store(engine, index);
    const int status = status_of(NONE);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_ok(hf_remove(path));
}

static void test_find_alone_on_the_log_engine(void **unused)
{
    (void)unused;
    check_index(HF_ENGINE_LOG, HF_INDEX_SET);
    check_index(HF_ENGINE_LOG, HF_INDEX_HASH);
    check_index(HF_ENGINE_LOG, HF_INDEX_FLAT);
}

static void test_find_alone_on_the_direct_engine(void **unused)
{
    (void)unused;
    check_index(HF_ENGINE_DIRECT, HF_INDEX_SET);
    check_index(HF_ENGINE_DIRECT, HF_INDEX_HASH);
    check_index(HF_ENGINE_DIRECT, HF_INDEX_FLAT);
}

static void test_find_alone_would_notice(void **unused)
{
    (void)unused;
    make_store(HF_ENGINE_LOG, HF_INDEX_HASH);
    assert_true(WIFSIGNALED(status_of(CALLS)));
    assert_true(WIFSIGNALED(status_of(WRITES)));
    assert_ok(hf_remove(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_alone_on_the_log_engine),
        cmocka_unit_test(test_find_alone_on_the_direct_engine),
        cmocka_unit_test(test_find_alone_would_notice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
