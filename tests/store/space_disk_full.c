/* SPDX-License-Identifier: MIT */
/*
 * space_disk_full.c - the disk is full: an error from the call that wanted room, never a signal,
 * and what gives room back still works
 *
 * Runs on a small tmpfs and a small ext4 in a loop device, mounted in a mount namespace of the
 * test's own, so that nothing is left behind. Where mounting isn't permitted the test says so and
 * is skipped (exit code 77).
 */
#include "store_fixture.h"
#include "tests/support/campaign.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
enum { EXIT_SKIPPED = 77 };

static char mount_point[PATH_BYTES], image[PATH_BYTES];
static char path[2 * PATH_BYTES], filler_path[2 * PATH_BYTES];

/* ---- the small disk -------------------------------------------------------------------------- */

static void clean_disk(void)
{
    static const char *const names[] = {"full.hf",      "full.hf-lock", "full.hf-undo",
                                        "full.hf-log0", "full.hf-log1", "filler",
                                        "copy.hf"};
    char name[2 * PATH_BYTES];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(name, sizeof name, "%s/%s", mount_point, names[i]);
        unlink(name);
    }
}

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/full.hf", mount_point);
    snprintf(filler_path, sizeof filler_path, "%s/filler", mount_point);
    clean_disk();
    return 0;
}

/* Takes every last byte of the disk. */
static void fill_disk(void)
{
    static const char block[65536];
    int fd = open(filler_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (size_t size = sizeof block; size > 0;) {
        ssize_t n = write(fd, block, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            assert_int_equal(errno, ENOSPC);
            size /= 2; /* smaller pieces for what is left */
        }
    }
    fsync(fd);
    close(fd);
}

/* Files on the disk that are not the ones named. */
static void expect_no_leftovers(void)
{
    char command[8 * PATH_BYTES];
    snprintf(command, sizeof command,
             "test -z \"$(ls -A '%s' | grep -v -e '^filler$' -e '^lost+found$')\"", mount_point);
    assert_int_equal(system(command), 0);
}

static hf_store *open_large(uint32_t mode)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.mode = mode;
    options.engine = mode == HF_CREATE_NEW ? fixture_engine : 0;
    options.size_initial_bytes = 256 << 10;
    options.size_max_bytes = 1024 * MIB; /* far more than the disk has */
    options.lock_timeout_ms = -1;
    assert_ok(hf_open(path, &options, &store));
    return store;
}

static hf_txn *begin(hf_store *store)
{
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    return txn;
}

/* Named objects of 5000 bytes, each a transaction, until the disk is full. */
static int fill_store(hf_store *store)
{
    for (int i = 0;; i++) {
        char name[32];
        snprintf(name, sizeof name, "object %d", i);
        hf_txn *txn = begin(store);
        unsigned char *p = hf_construct(txn, name, NULL, 5000);
        if (p == NULL) {
            assert_int_equal(hf_last_error()->code, HF_ENOSPC);
            assert_ok(hf_commit(txn)); /* the transaction is usable: there is nothing in it */
            return i;
        }
        memset(p, i & 0xFF, 5000);
        assert_ok(hf_commit(txn));
    }
}

static void expect_objects(hf_store *store, int from, int to)
{
    hf_view *view = NULL;
    assert_ok(hf_view_begin(store, &view));
    for (int i = from; i < to; i++) {
        char name[32];
        snprintf(name, sizeof name, "object %d", i);
        const unsigned char *p = hf_find(view, name, NULL, NULL);
        assert_got(p);
        assert_int_equal(p[0], i & 0xFF);
        assert_int_equal(p[4999], i & 0xFF);
    }
    assert_int_equal(hf_count_named(view), to - from);
    hf_view_end(view);
    fixture_assert_sound(store);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_allocation_on_a_full_disk_is_enospc_and_transaction_goes_on(void **state)
{
    (void)state;
    hf_store *store = open_large(HF_CREATE_NEW);
    hf_txn *txn = begin(store);
    size_t blocks = 0;
    hf_ref *refs = hf_construct(txn, "refs", NULL, 4000 * sizeof(hf_ref));
    assert_got(refs);
    for (; blocks < 4000; blocks++) {
        unsigned char *p = hf_alloc(txn, 50000);
        if (p == NULL)
            break;
        memset(p, (int)(blocks & 0xFF), 50000); /* every byte of it has a place on the disk */
        refs[blocks] = hf_ref_of(hf_txn_view(txn), p);
    }
    assert_true(blocks > 20 && blocks < 4000);
    assert_int_equal(hf_last_error()->code, HF_ENOSPC);
    assert_int_equal(hf_last_error()->os_errno, ENOSPC);
    assert_fails(hf_alloc(txn, 20 * MIB), HF_ENOSPC);
    assert_fails(hf_construct(txn, "large", NULL, 20 * MIB), HF_ENOSPC);
    assert_fails(hf_find(hf_txn_view(txn), "large", NULL, NULL), HF_ENOTFOUND);
    int code = hf_commit(txn);
    fixture_assert_sound(store);
    if (code != 0) { /* the log engine needs room for the record, too: a clean abort */
        assert_int_equal(fixture_engine, HF_ENGINE_LOG);
        assert_int_equal(code, HF_ENOSPC);
        assert_int_equal(fixture_get(store, "refs"), INT64_MIN);
        fixture_set(store, "small", 5); /* and the store is usable: less does fit */
        assert_int_equal(fixture_get(store, "small"), 5);
        assert_ok(hf_close(store));
        store = open_large(HF_OPEN_EXISTING);
        assert_int_equal(fixture_get(store, "small"), 5);
        fixture_assert_sound(store);
        assert_ok(hf_close(store));
        return;
    }
    assert_ok(hf_close(store)); /* what did fit is kept */
    store = open_large(HF_OPEN_EXISTING);
    hf_view *view = NULL;
    assert_ok(hf_view_begin(store, &view));
    refs = (hf_ref *)(uintptr_t)hf_find(view, "refs", NULL, NULL);
    for (size_t i = 0; i < blocks; i++) {
        const unsigned char *p = hf_at(view, refs[i]);
        assert_int_equal(p[0], i & 0xFF);
        assert_int_equal(p[49999], i & 0xFF);
    }
    hf_view_end(view);
    assert_ok(hf_close(store));
}

static void test_destroying_works_on_a_full_disk_and_makes_room(void **state)
{
    (void)state;
    hf_store *store = open_large(HF_CREATE_NEW);
    int count = fill_store(store);
    assert_true(count > 50);
    fill_disk();
    expect_objects(store, 0, count);
    for (int i = 0; i < count / 2; i++) {
        char name[32];
        snprintf(name, sizeof name, "object %d", i);
        hf_txn *txn = begin(store);
        assert_ok(hf_destroy(txn, name));
        assert_ok(hf_commit(txn));
    }
    expect_objects(store, count / 2, count);
    hf_txn *txn = begin(store);
    for (int i = 0; i < count / 4; i++) /* the room is there again, without the disk's help */
        assert_got(hf_alloc(txn, 5000));
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
    store = open_large(HF_READ_ONLY);
    expect_objects(store, count / 2, count);
    assert_ok(hf_close(store));
}

static void test_abort_works_on_a_full_disk(void **state)
{
    (void)state;
    hf_store *store = open_large(HF_CREATE_NEW);
    int count = fill_store(store);
    fill_disk();
    for (int round = 0; round < 10; round++) {
        hf_txn *txn = begin(store);
        for (int i = 0; i < 5; i++) {
            char name[32];
            snprintf(name, sizeof name, "object %d", i + round);
            const void *seen = hf_find(hf_txn_view(txn), name, NULL, NULL);
            assert_got(seen);
            unsigned char *p = hf_edit(txn, seen, 5000);
            if (p != NULL)
                memset(p, 0xEE, 5000);
            else /* no room for the old content: an error, and nothing has changed */
                assert_int_equal(hf_last_error()->code, HF_ENOSPC);
            assert_ok(hf_destroy(txn, name));
        }
        hf_abort(txn);
    }
    expect_objects(store, 0, count);
    assert_ok(hf_close(store));
}

/* Changing a lot needs room: on the direct engine for the old content, so the edit says so and the
 * transaction can be committed; on the log engine for the new one, so the commit says so. */
static void test_large_edit_without_room_is_enospc(void **state)
{
    (void)state;
    hf_store *store = open_large(HF_CREATE_NEW);
    hf_txn *txn = begin(store);
    unsigned char *p = hf_construct(txn, "large", NULL, 3 * MIB);
    assert_got(p);
    memset(p, 'a', 3 * MIB);
    assert_got(hf_construct(txn, "small", &value_type, 1));
    assert_ok(hf_commit(txn));
    fixture_set(store, "small", 1);
    fill_disk();
    txn = begin(store);
    const unsigned char *seen = hf_find(hf_txn_view(txn), "large", NULL, NULL);
    if (fixture_engine == HF_ENGINE_LOG) {
        p = hf_edit(txn, seen, 3 * MIB);
        assert_got(p);
        memset(p, 'b', 3 * MIB);
        assert_code(hf_commit(txn), HF_ENOSPC);
        txn = begin(store);
        seen = hf_find(hf_txn_view(txn), "large", NULL, NULL);
        assert_int_equal(seen[0], 'a');
        assert_int_equal(seen[3 * MIB - 1], 'a');
    } else {
        assert_fails(hf_edit(txn, seen, 3 * MIB), HF_ENOSPC);
    }
    int64_t *small = hf_find_or_construct(txn, "small", &value_type, 1, NULL);
    assert_got(small);
    *small = 2;
    assert_ok(hf_commit(txn));
    assert_int_equal(fixture_get(store, "small"), 2);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
}

static void test_creating_on_a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    fill_disk();
    hf_store *store = NULL;
    for (int i = 0; i < 3; i++) {
        assert_code(hf_open(path, NULL, &store), HF_ENOSPC);
        assert_null(store);
        expect_no_leftovers();
    }
}

static void test_opening_on_a_full_disk_harms_nothing(void **state)
{
    (void)state;
    hf_store *store = open_large(HF_CREATE_NEW);
    fixture_set(store, "v", 3);
    assert_ok(hf_close(store));
    fill_disk();
    int code = fixture_open_code(path, HF_OPEN_EXISTING); /* it needs its sidecars */
    assert_true(code == 0 || code == HF_ENOSPC);
    store = open_large(HF_READ_ONLY); /* it can do without */
    assert_int_equal(fixture_get(store, "v"), 3);
    assert_ok(hf_close(store));
    assert_int_equal(unlink(filler_path), 0);
    store = open_large(HF_OPEN_EXISTING);
    assert_int_equal(fixture_get(store, "v"), 3);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
    assert_false(fixture_sidecar_exists(path, "-lock"));
}

/* What hf_trim gave back somebody else has taken: there is none to be had, and no signal. */
static void test_holes_on_a_full_disk_are_enospc(void **state)
{
    (void)state;
    hf_store *store = open_large(HF_CREATE_NEW);
    hf_trim_report report;
    hf_txn *txn = begin(store);
    unsigned char *p = hf_construct(txn, "large", NULL, 2 * MIB);
    assert_got(p);
    memset(p, 5, 2 * MIB);
    assert_got(hf_construct(txn, "last", NULL, 100));
    assert_ok(hf_commit(txn));
    txn = begin(store);
    assert_ok(hf_destroy(txn, "large"));
    assert_ok(hf_commit(txn));
    assert_ok(hf_trim(store, &report));
    assert_true(report.punched_bytes > MIB && report.unsupported == 0);
    fill_disk();
    for (int i = 0; i < 3; i++) {
        txn = begin(store);
        assert_fails(hf_construct(txn, "again", NULL, 1800000), HF_ENOSPC);
        assert_fails(hf_alloc(txn, 1900000), HF_ENOSPC);
        hf_abort(txn);
    }
    /* A transaction's own pages still show what was there, which must not go back into a hole. */
    txn = begin(store);
    int code = hf_zero_free_memory(txn);
    assert_true(code == 0 || code == HF_ENOSPC);
    hf_abort(txn);
    /* A little at a time: the tail's blocks are there, and then there are no more. */
    for (int i = 0, committed = 0; committed == 0 && i < 1000; i++) {
        txn = begin(store);
        p = hf_alloc(txn, 3000);
        if (p != NULL)
            memset(p, 9, 3000);
        else
            assert_int_equal(hf_last_error()->code, HF_ENOSPC);
        committed = hf_commit(txn);
        assert_true(committed == 0 || committed == HF_ENOSPC);
        committed |= p == NULL;
    }
    fixture_assert_sound(store);
    unlink(filler_path);
    txn = begin(store);
    p = hf_construct(txn, "again", NULL, 1800000);
    assert_got(p);
    memset(p, 7, 1800000);
    assert_ok(hf_commit(txn));
    fixture_assert_sound(store);
    assert_ok(hf_verify(store, NULL, NULL));
    assert_ok(hf_close(store));
}

static void test_saving_and_growing_on_a_full_disk_leave_nothing(void **state)
{
    (void)state;
    char copy[2 * PATH_BYTES];
    snprintf(copy, sizeof copy, "%s/copy.hf", mount_point);
    hf_store *store = open_large(HF_CREATE_NEW);
    hf_txn *txn = begin(store);
    unsigned char *p = hf_construct(txn, "large", NULL, MIB);
    assert_got(p);
    memset(p, 'l', MIB);
    assert_ok(hf_commit(txn));
    fill_disk();
    assert_code(hf_save_as(store, copy, 0), HF_ENOSPC);
    assert_false(fixture_exists(copy));
    assert_ok(hf_close(store));
    uint64_t size = fixture_file_bytes(path);
    assert_code(hf_grow(path, 8 * MIB), HF_ENOSPC);
    assert_true(fixture_file_bytes(path) == size);
    assert_int_equal(unlink(filler_path), 0);
    store = open_large(HF_OPEN_EXISTING);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
    assert_ok(hf_remove(path));
    expect_no_leftovers();
}

/* ---- what is made of a store ----------------------------------------------------------------- */

static char copy_path[2 * PATH_BYTES], archive_path[2 * PATH_BYTES];

/* All of the disk but that much. */
static void leave_room(size_t bytes)
{
    unlink(filler_path);
    fill_disk();
    const uint64_t size = fixture_file_bytes(filler_path);
    assert_true(size > bytes);
    assert_int_equal(truncate(filler_path, (off_t)(size - bytes)), 0);
}

/* An object that nothing makes smaller, of more than 1 MiB. */
static uint64_t make_store_of_noise(void)
{
    const size_t size = MIB + MIB / 4;
    hf_store *store = open_large(HF_CREATE_NEW);
    hf_txn *txn = begin(store);
    unsigned char *p = hf_construct(txn, "noise", NULL, size);
    assert_got(p);
    content_fill(p, size, 11);
    const uint64_t sum = content_sum(p, size);
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
    return sum;
}

static void expect_noise(const char *of, uint64_t sum)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    hf_view *view = NULL;
    size_t size = 0;
    options.mode = HF_READ_ONLY;
    assert_ok(hf_open(of, &options, &store));
    assert_ok(hf_view_begin(store, &view));
    const void *p = hf_find(view, "noise", NULL, &size);
    assert_got(p);
    assert_true(content_sum(p, size) == sum);
    hf_view_end(view);
    fixture_assert_sound(store);
    assert_ok(hf_verify(store, NULL, NULL));
    assert_ok(hf_close(store));
}

static int of_open_store(int (*make)(hf_store *))
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.mode = HF_READ_ONLY; /* it can be had on a full disk */
    assert_ok(hf_open(path, &options, &store));
    const int code = make(store);
    assert_ok(hf_close(store));
    return code;
}

static int snapshot(hf_store *store)
{
    return hf_snapshot(store, copy_path, NULL);
}

static int snapshot_by_reading(hf_store *store)
{
    hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
    options.method = HF_SNAPSHOT_COPY;
    return hf_snapshot(store, copy_path, &options);
}

static int save_as(hf_store *store)
{
    return hf_save_as(store, copy_path, 0);
}

/* The file is the caller's: so is what is done with half of an archive. */
static int archive(hf_store *store)
{
    const int fd = open(copy_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const int code = hf_archive_write(store, fd, NULL, NULL);
    close(fd);
    if (code != 0)
        unlink(copy_path);
    return code;
}

static int make_snapshot(void)
{
    return of_open_store(snapshot);
}
static int make_snapshot_by_reading(void)
{
    return of_open_store(snapshot_by_reading);
}
static int make_saved(void)
{
    return of_open_store(save_as);
}
static int make_archive(void)
{
    return of_open_store(archive);
}
static int make_restored(void)
{
    const char *const archives[] = {archive_path};
    return hf_restore(copy_path, archives, 1, NULL, NULL);
}
static int make_compacted(void)
{
    return hf_compact(path, NULL);
}
static int make_salvaged(void)
{
    return hf_salvage(path, copy_path, NULL, NULL);
}

static void expect_alone(void)
{
    char command[8 * PATH_BYTES];
    snprintf(command, sizeof command,
             "test \"$(ls -A '%s' | grep -v -e '^filler$' -e '^lost+found$')\" = full.hf",
             mount_point);
    if (system(command) != 0) {
        snprintf(command, sizeof command, "ls -lA '%s'", mount_point);
        (void)!system(command);
        fail_msg("left behind");
    }
}

/* With that much room it can't be done: wherever the disk is full then, it is an error and nothing else. */
static void test_copies_on_a_full_disk_leave_the_store_alone(void **state)
{
    static int (*const makers[])(void) = {
        make_snapshot, make_snapshot_by_reading, make_saved,   make_archive,
        make_restored, make_compacted,           make_salvaged};
    static const size_t rooms[] = {0, 40 << 10, 100 << 10, 300 << 10, 700 << 10, 900 << 10};
    (void)state;
    snprintf(copy_path, sizeof copy_path, "%s/copy.hf", mount_point);
    snprintf(archive_path, sizeof archive_path, "%s/archive", fixture_disk_directory());
    const uint64_t sum = make_store_of_noise();
    const uint64_t size = fixture_file_bytes(path);
    unlink(archive_path);
    hf_store *store = open_large(HF_READ_ONLY);
    const int fd = open(archive_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_ok(hf_archive_write(store, fd, NULL, NULL));
    close(fd);
    assert_ok(hf_close(store));
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        for (size_t j = 0; j < sizeof makers / sizeof *makers; j++) {
            leave_room(rooms[i]);
            const int code = makers[j]();
            if (code != HF_ENOSPC)
                fail_msg("maker %zu in %zu bytes: %d, %s", j, rooms[i], code,
                         hf_last_error()->message);
            assert_int_equal(hf_last_error()->os_errno, ENOSPC);
            assert_false(fixture_exists(copy_path));
            expect_alone();
            assert_true(fixture_file_bytes(path) == size);
        }
    expect_noise(path, sum);
    /* With enough of it all of them work. */
    assert_int_equal(unlink(filler_path), 0);
    for (size_t j = 0; j < sizeof makers / sizeof *makers; j++) {
        assert_ok(makers[j]());
        if (makers[j] == make_compacted)
            expect_noise(path, sum);
        else if (makers[j] != make_archive)
            expect_noise(copy_path, sum);
        unlink(copy_path);
        expect_alone();
    }
    assert_int_equal(unlink(archive_path), 0);
}

/* A snapshot that is to replace another doesn't harm that one. A broken store stays as it is. */
static void test_replacing_on_a_full_disk_keeps_the_old(void **state)
{
    hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
    static const unsigned char zeros[64];
    (void)state;
    snprintf(copy_path, sizeof copy_path, "%s/copy.hf", mount_point);
    const uint64_t sum = make_store_of_noise();
    assert_int_equal(of_open_store(snapshot), 0);
    leave_room(300 << 10);
    hf_store *store = open_large(HF_READ_ONLY);
    options.flags = HF_SNAPSHOT_REPLACE;
    assert_code(hf_snapshot(store, copy_path, &options), HF_ENOSPC);
    assert_ok(hf_close(store));
    expect_noise(copy_path, sum);
    int fd = open(copy_path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, zeros, sizeof zeros, 0), (ssize_t)sizeof zeros);
    const uint64_t size = fixture_file_bytes(copy_path);
    assert_int_equal(pwrite(fd, zeros, sizeof zeros, 4096), (ssize_t)sizeof zeros); /* both slots */
    close(fd);
    assert_code(hf_repair_file(copy_path, NULL, NULL), HF_ENOSPC);
    assert_true(fixture_file_bytes(copy_path) == size);
    assert_int_equal(unlink(filler_path), 0);
    assert_ok(hf_repair_file(copy_path, NULL, NULL));
    expect_noise(copy_path, sum);
    expect_noise(path, sum);
    assert_int_equal(unlink(copy_path), 0);
    expect_alone();
}

/* ---- mounting -------------------------------------------------------------------------------- */

static bool enter_own_mounts(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static bool mount_tmpfs(void)
{
    return mount("tmpfs", mount_point, "tmpfs", 0, "size=6m") == 0;
}

static bool mount_ext4(void)
{
    char command[8 * PATH_BYTES];
    snprintf(command, sizeof command,
             "{ truncate -s 12M '%s' && PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q -F -m 0 '%s' && "
             "mount -o loop '%s' '%s'; } >/dev/null 2>&1",
             image, image, image, mount_point);
    return system(command) == 0;
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

static int run_on(const char *file_system)
{
    const struct CMUnitTest tests[] = {
        TEST(test_allocation_on_a_full_disk_is_enospc_and_transaction_goes_on),
        TEST(test_destroying_works_on_a_full_disk_and_makes_room),
        TEST(test_abort_works_on_a_full_disk),
        TEST(test_large_edit_without_room_is_enospc),
        TEST(test_creating_on_a_full_disk_leaves_nothing),
        TEST(test_opening_on_a_full_disk_harms_nothing),
        TEST(test_holes_on_a_full_disk_are_enospc),
        TEST(test_saving_and_growing_on_a_full_disk_leave_nothing),
        TEST(test_copies_on_a_full_disk_leave_the_store_alone),
        TEST(test_replacing_on_a_full_disk_keeps_the_old),
    };
    char name[80];
    fixture_engine = HF_ENGINE_LOG;
    snprintf(name, sizeof name, "%s, log engine", file_system);
    int failed = cmocka_run_group_tests_name(name, tests, NULL, NULL);
    fixture_engine = HF_ENGINE_DIRECT;
    snprintf(name, sizeof name, "%s, direct engine", file_system);
    failed += cmocka_run_group_tests_name(name, tests, NULL, NULL);
    clean_disk();
    umount(mount_point);
    return failed;
}

int main(void)
{
    int failed = 0, ran = 0;
    snprintf(mount_point, sizeof mount_point, "%s/mnt", fixture_disk_directory());
    snprintf(image, sizeof image, "%s/image", fixture_disk_directory());
    if (mkdir(mount_point, 0777) != 0 || !enter_own_mounts()) {
        printf("skipped: this user may not mount anything (%s)\n", strerror(errno));
        return EXIT_SKIPPED;
    }
    if (mount_tmpfs()) {
        failed += run_on("disk full on tmpfs");
        ran++;
    } else {
        printf("skipped on tmpfs: %s\n", strerror(errno));
    }
    if (mount_ext4()) {
        failed += run_on("disk full on ext4");
        ran++;
    } else {
        printf("skipped on ext4: no loop device, or no mkfs.ext4\n");
    }
    unlink(image);
    return failed != 0 ? 1 : ran != 0 ? 0 : EXIT_SKIPPED;
}
