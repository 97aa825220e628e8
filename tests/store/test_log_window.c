/* SPDX-License-Identifier: MIT */
/*
 * test_log_window.c - a window that opens half leaves nothing behind that is shared
 *
 * The mapping of the writer becomes shared span by span, and any of these calls may be refused. The test
 * refuses the second one, then lets another transaction write there and looks from beside it: what a
 * view sees of a transaction that is open was written in place, past the log.
 */
#include "store_fixture.h"

#include "base/os.h"
#include "store/store.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#define BULK_BYTES ((size_t)5000000)

static char path[PATH_BYTES];
static struct hf__os table;
static hf_store *store;
static unsigned shared_left; /* shared mappings to write through until one is refused; 0: none is  */
static bool refuses_private, refuses_open;
static size_t seen[256]; /* how often a view saw each byte                                         */

static void *refusing_mmap(void *address, size_t size_bytes, int protection, int flags, int fd,
                           off_t offset)
{
    const bool ours = fd >= 0 && (flags & MAP_FIXED) != 0 && (protection & PROT_WRITE) != 0;
    const bool refused = ours && ((flags & MAP_SHARED) != 0 ? shared_left != 0 && --shared_left == 0
                                                            : refuses_private);
    if (!refused)
        return hf__os_system.mmap(address, size_bytes, protection, flags, fd, offset);
    errno = ENOMEM;
    return MAP_FAILED;
}

static int refusing_open(const char *name, int flags, mode_t mode)
{
    if (!refuses_open)
        return hf__os_system.open(name, flags, mode);
    errno = EMFILE;
    return -1;
}

static int open_it(void **unused)
{
    (void)unused;
    hf_txn *txn = NULL;
    fixture_path(path, fixture_disk_directory(), "window.hf");
    table = hf__os_system;
    table.mmap = refusing_mmap;
    table.open = refusing_open;
    shared_left = 0;
    refuses_private = refuses_open = false;
    hf__os = &table;
    store = fixture_open(path, HF_CREATE_NEW);
    assert_ok(hf_begin(store, &txn));
    assert_got(hf_construct(txn, "small", NULL, 100));
    return hf_commit(txn);
}

static int close_it(void **unused)
{
    (void)unused;
    assert_ok(hf_close(store));
    hf__os = &hf__os_system;
    assert_ok(hf_check_file(path, NULL, NULL));
    return hf_remove(path);
}

static hf_txn *make_bulk(int byte)
{
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    void *bulk = hf_construct(txn, "bulk", NULL, BULK_BYTES);
    assert_got(bulk);
    memset(bulk, byte, BULK_BYTES);
    return txn;
}

static hf_txn *change_bulk(int byte)
{
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    const void *bulk = hf_find(hf_txn_view(txn), "bulk", NULL, NULL);
    void *at = hf_edit(txn, bulk, BULK_BYTES);
    assert_got(at);
    memset(at, byte, BULK_BYTES);
    return txn;
}

static void *count_bytes(void *unused)
{
    (void)unused;
    hf_view *view;
    size_t size_bytes = 0;
    memset(seen, 0, sizeof seen);
    if (hf_view_begin(store, &view) != 0)
        return NULL;
    const unsigned char *bulk = hf_find(view, "bulk", NULL, &size_bytes);
    for (size_t i = 0; i < size_bytes; i++)
        seen[bulk[i]]++;
    hf_view_end(view);
    return NULL;
}

/* A thread beside the one with the transaction sees that byte everywhere. */
static void expect_bulk(int byte)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, count_bytes, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(seen[byte], BULK_BYTES);
}

static void expect_nothing_shared(void)
{
    hf_txn *txn = change_bulk('Z');
    expect_bulk('y');
    hf_abort(txn);
    expect_bulk('y');
    txn = change_bulk('z');
    expect_bulk('y');
    assert_ok(hf_commit(txn));
    expect_bulk('z');
}

static void test_log_window_that_opens_half_is_none(void **unused)
{
    (void)unused;
    shared_left = 2;
    hf_txn *txn = make_bulk('y');
    assert_int_equal(shared_left, 0);
    assert_ok(hf_commit(txn));
    expect_nothing_shared();
}

/* Nor can what was shared be made private again: the commit is refused, and the next one tries again. */
static void test_log_window_that_stays_half_open_is_closed_later(void **unused)
{
    (void)unused;
    shared_left = 2;
    refuses_private = true;
    hf_txn *txn = make_bulk('x');
    assert_int_equal(shared_left, 0);
    assert_code(hf_commit(txn), HF_ENOMEM);
    assert_code(hf_begin(store, &txn), HF_ENOMEM);
    refuses_private = false;
    assert_ok(hf_commit(make_bulk('y')));
    expect_nothing_shared();
}

/* All that it takes to close a window was had before it opened. */
static void test_log_window_closes_without_a_descriptor_more(void **unused)
{
    (void)unused;
    hf_txn *txn = make_bulk('y');
    refuses_open = true;
    hf_abort(txn);
    assert_true(store->log.window_start == UINT64_MAX);
    refuses_open = false;
    assert_ok(hf_commit(make_bulk('y')));
    expect_nothing_shared();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_log_window_that_opens_half_is_none, open_it, close_it),
        cmocka_unit_test_setup_teardown(test_log_window_closes_without_a_descriptor_more, open_it,
                                        close_it),
        cmocka_unit_test_setup_teardown(test_log_window_that_stays_half_open_is_closed_later, open_it,
                                        close_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
