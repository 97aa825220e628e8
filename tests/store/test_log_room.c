/* SPDX-License-Identifier: MIT */
/*
 * test_log_room.c - room for large records: not filled with zeros first, and found again after a crash
 *
 * What is written to the log files is counted at the seam: a large record may cost its own bytes, and no
 * second time as many zeros.
 */
#include "store_fixture.h"

#include "base/os.h"
#include "store/store.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>

#define MIB (UINT64_C(1) << 20)

static char path[PATH_BYTES];
static const hf_store *watched;
static uint64_t written_bytes;
static bool full;

static bool is_log(int fd)
{
    return watched != NULL && (fd == watched->log.fds[0] || fd == watched->log.fds[1]);
}

static ssize_t count_pwrite(int fd, const void *buffer, size_t size_bytes, off_t offset)
{
    const ssize_t n = hf__os_system.pwrite(fd, buffer, size_bytes, offset);
    if (n > 0 && is_log(fd))
        written_bytes += (uint64_t)n;
    return n;
}

/* A disk that is full after the first half of what is asked for. */
static int half_fallocate(int fd, int mode, off_t offset, off_t size_bytes)
{
    if (!full || !is_log(fd) || size_bytes < (off_t)MIB)
        return hf__os_system.fallocate(fd, mode, offset, size_bytes);
    (void)hf__os_system.fallocate(fd, mode, offset, size_bytes / 2);
    errno = ENOSPC;
    return -1;
}

static struct hf__os table;

static hf_store *open_watched(void)
{
    hf_options options = {.durability = HF_NOSYNC, .size_max_bytes = 256 * MIB};
    hf_store *store = NULL;
    table = hf__os_system;
    table.pwrite = table.pwrite_apart = count_pwrite;
    table.fallocate = half_fallocate;
    hf__os = &table;
    full = false;
    assert_ok(hf_open(path, &options, &store));
    watched = store;
    return store;
}

static void close_watched(hf_store *store)
{
    assert_ok(hf_close(store));
    watched = NULL;
    hf__os = &hf__os_system;
}

/* An object below the used end: what changes in it goes through the log. */
static void make_bytes(hf_store *store, size_t size_bytes)
{
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    assert_got(hf_construct(txn, "bytes", NULL, size_bytes));
    assert_ok(hf_commit(txn));
}

/* All of its first bytes become `byte`, in one transaction. */
static int change(hf_store *store, int byte, size_t size_bytes)
{
    hf_txn *txn = NULL;
    int code = hf_begin(store, &txn);
    if (code != 0)
        return code;
    const void *bytes = hf_find(hf_txn_view(txn), "bytes", NULL, NULL);
    void *at = bytes == NULL ? NULL : hf_edit(txn, bytes, size_bytes);
    if (at == NULL) {
        hf_abort(txn);
        return hf_last_error()->code;
    }
    memset(at, byte, size_bytes);
    return hf_commit(txn);
}

static uint64_t cost(hf_store *store, int byte, size_t size_bytes)
{
    written_bytes = 0;
    assert_ok(change(store, byte, size_bytes));
    return written_bytes;
}

static void test_log_room_isnt_filled_before_a_large_record(void **unused)
{
    (void)unused;
    fixture_path(path, fixture_disk_directory(), "room.hf");
    hf_store *store = open_watched();
    make_bytes(store, 24 * MIB);
    /* Its bytes, and zeros for as many more. */
    assert_in_range(cost(store, 1, 4 * MIB), 4 * MIB, 9 * MIB);
    /* Its bytes, and behind the other one zeros for an eighth of where the log is switched (and once more the
     * record before, which the first sync through a descriptor writes again); in a log of its own up to there;
     * nothing in one that is long already. */
    assert_in_range(cost(store, 2, 24 * MIB), 24 * MIB, 33 * MIB);
    assert_in_range(cost(store, 3, 24 * MIB), 24 * MIB, 33 * MIB);
    assert_in_range(cost(store, 4, 24 * MIB), 24 * MIB, 25 * MIB);
    /* It stands in the file: there is a place for small ones, and the logs don't grow for them. */
    const uint64_t before = fixture_file_bytes(store->log.paths[0]);
    for (int i = 0; i < 100; i++)
        assert_in_range(cost(store, i, 100000), 100000, 200000);
    assert_int_equal(fixture_file_bytes(store->log.paths[0]), before);
    close_watched(store);
    assert_ok(hf_remove(path));
}

/* What a handle that doesn't commit holds for its next record. */
static size_t kept_bytes(const hf_store *store)
{
    return store->log.record_room + malloc_usable_size(store->log.spare);
}

static void test_log_room_goes_back_when_the_disk_is_full(void **unused)
{
    (void)unused;
    fixture_path(path, fixture_disk_directory(), "room.hf");
    hf_store *store = open_watched();
    make_bytes(store, 24 * MIB);
    assert_ok(change(store, 1, 100));
    struct hf__log_tail tail;
    hf__tail_read(store, &tail);
    const char *active = store->log.paths[tail.epoch % 2];
    const uint64_t before = fixture_file_bytes(active);
    full = true;
    assert_code(change(store, 2, 24 * MIB), HF_ENOSPC);
    assert_int_equal(fixture_file_bytes(active), before);
    /* Nor does the room for the record stay, in which all of it has been encoded. */
    assert_in_range(kept_bytes(store), 0, 5 * MIB);
    assert_ok(change(store, 3, 100));
    assert_in_range(kept_bytes(store), 1, 5 * MIB);
    full = false;
    assert_ok(change(store, 4, 24 * MIB));
    close_watched(store);
    assert_ok(hf_remove(path));
}

static void commit_and_die(struct child *self, void *unused)
{
    (void)self, (void)unused;
    hf_options options = {.durability = HF_LAZY, .size_max_bytes = 256 * MIB};
    hf_tuning tuning = {.lazy_interval_ms = 3600 * 1000};
    hf_store *store = NULL;
    child_expect(hf_open(path, &options, &store) == 0);
    child_expect(hf_tune(store, &tuning) == 0);
    child_expect(change(store, 1, 1000) == 0);
    child_expect(change(store, 2, 20 * MIB) == 0); /* behind it                                 */
    child_expect(change(store, 3, 100) == 0);
    child_expect(change(store, 4, 50) == 0);
    raise(SIGKILL);
}

static void test_log_room_what_stands_there_is_recovered(void **unused)
{
    (void)unused;
    hf_recovery recovery;
    hf_view *view = NULL;
    fixture_path(path, fixture_disk_directory(), "room.hf");
    hf_store *store = open_watched();
    make_bytes(store, 24 * MIB);
    close_watched(store);
    struct child child = child_start(commit_and_die, NULL);
    child_join_killed(&child, SIGKILL);
    store = open_watched();
    assert_ok(hf_recovery_info(store, &recovery));
    assert_int_equal(recovery.replayed_commits, 4);
    assert_ok(hf_view_begin(store, &view));
    const unsigned char *bytes = hf_find(view, "bytes", NULL, NULL);
    assert_got(bytes);
    for (size_t i = 0; i < 24 * MIB; i++)
        if (bytes[i] != (i < 50 ? 4 : i < 100 ? 3 : i < 20 * MIB ? 2 : 0))
            fail_msg("byte %zu is %d", i, bytes[i]);
    hf_view_end(view);
    close_watched(store);
    assert_ok(hf_remove(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_room_isnt_filled_before_a_large_record),
        cmocka_unit_test(test_log_room_goes_back_when_the_disk_is_full),
        cmocka_unit_test(test_log_room_what_stands_there_is_recovered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
