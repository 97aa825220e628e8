/* SPDX-License-Identifier: MIT */
/*
 * test_space.c - free space goes back to the disk while others are there, and comes back to the store
 */
#include "store_fixture.h"

#include "base/os.h"
#include "store/layout.h"
#include "store/pages.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static char path[PATH_BYTES];

static int fresh_path(void **state)
{
    (void)state;
    fixture_path(path, fixture_disk_directory(), "space.hf");
    fixture_engine = HF_ENGINE_LOG;
    return 0;
}

static int fresh_path_direct(void **state)
{
    fresh_path(state);
    fixture_engine = HF_ENGINE_DIRECT;
    return 0;
}

static int remove_store(void **state)
{
    (void)state;
    fixture_engine = HF_ENGINE_LOG;
    return fixture_exists(path) ? hf_remove(path) : 0;
}

static uint64_t disk_bytes(void)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* One that waits for its turn. */
static hf_store *open_patient(void)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.mode = HF_OPEN_EXISTING;
    options.lock_timeout_ms = 60000;
    assert_ok(hf_open(path, &options, &store));
    return store;
}

static void make(hf_store *store, const char *name, size_t size_bytes)
{
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    unsigned char *p = hf_construct(txn, name, NULL, size_bytes);
    assert_got(p);
    memset(p, name[0], size_bytes);
    assert_ok(hf_commit(txn));
}

static void destroy(hf_store *store, const char *name)
{
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    assert_ok(hf_destroy(txn, name));
    assert_ok(hf_commit(txn));
}

static bool is_whole(hf_store *store, const char *name, size_t size_bytes)
{
    hf_view *view = NULL;
    bool whole = true;
    if (hf_view_begin(store, &view) != 0)
        return false;
    const unsigned char *p = hf_find(view, name, NULL, NULL);
    for (size_t i = 0; p != NULL && i < size_bytes; i++)
        whole &= p[i] == (unsigned char)name[0];
    hf_view_end(view);
    return p != NULL && whole;
}

static void assert_pages_match(hf_store *store)
{
    hf_verify_report report;
    assert_ok(hf_verify(store, NULL, &report));
    fixture_assert_sound(store);
}

/* a, hole, c, tail: 8 MiB each, but for a and c. */
static hf_store *with_holes_to_be(void)
{
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    make(store, "a", 100000);
    make(store, "hole", 8 * MIB);
    make(store, "c", 100000);
    make(store, "tail", 8 * MIB);
    destroy(store, "hole");
    destroy(store, "tail");
    return store;
}

static void test_trim_gives_free_blocks_and_the_tail_back(void **state)
{
    (void)state;
    hf_store *store = with_holes_to_be();
    hf_trim_report report, would;
    const uint64_t before = disk_bytes(), length = fixture_file_bytes(path);
    assert_ok(hf_trim_estimate(store, &would));
    assert_true(would.extents == 1 && would.extent_bytes > 7 * MIB && would.tail_bytes > 7 * MIB);
    assert_true(would.compact_bytes > 15 * MIB);
    assert_ok(hf_trim(store, &report));
    if (report.unsupported)
        skip();
    assert_int_equal(report.extents, would.extents);
    assert_int_equal(report.extent_bytes, would.extent_bytes);
    assert_int_equal(report.tail_bytes, would.tail_bytes);
    assert_true(report.freed_bytes > 15 * MIB);
    assert_true(disk_bytes() + 15 * MIB < before);
    assert_int_equal(fixture_file_bytes(path), length);
    assert_pages_match(store);
    assert_ok(hf_trim_estimate(store, &would));
    assert_true(would.extents == 0 && would.tail_bytes == 0 && would.punched_extents == 1);
    assert_true(is_whole(store, "a", 100000) && is_whole(store, "c", 100000));
    assert_ok(hf_close(store));
    assert_true(fixture_file_bytes(path) < length - 6 * MIB); /* and cut by the last one */
    store = fixture_open(path, HF_OPEN_EXISTING);
    assert_pages_match(store);
    assert_true(disk_bytes() + 15 * MIB < before); /* opening takes nothing back */
    assert_true(is_whole(store, "a", 100000) && is_whole(store, "c", 100000));
    assert_ok(hf_close(store));
}

static void test_a_second_trim_finds_nothing_new(void **state)
{
    (void)state;
    hf_store *store = with_holes_to_be();
    hf_trim_report report;
    assert_ok(hf_trim(store, NULL));
    assert_ok(hf_trim(store, &report));
    assert_true(report.extents == 0 && report.tail_bytes == 0 && report.freed_bytes < MIB);
    assert_pages_match(store);
    assert_ok(hf_close(store));
}

static void test_what_was_given_back_is_used_again(void **state)
{
    (void)state;
    hf_store *store = with_holes_to_be();
    hf_txn *txn = NULL;
    assert_ok(hf_trim(store, NULL));
    const uint64_t before = disk_bytes();
    assert_ok(hf_begin(store, &txn)); /* aborted: it may be a hole again */
    assert_got(hf_construct(txn, "aborted", NULL, 5 * MIB));
    hf_abort(txn);
    make(store, "small", 3000);
    make(store, "fits", 5 * MIB);
    assert_true(disk_bytes() > before + 4 * MIB);
    make(store, "grows", 9 * MIB);
    assert_true(disk_bytes() > before + 13 * MIB);
    assert_pages_match(store);
    destroy(store, "fits");
    destroy(store, "grows");
    assert_ok(hf_trim(store, NULL));
    assert_pages_match(store);
    assert_true(is_whole(store, "a", 100000) && is_whole(store, "small", 3000));
    assert_ok(hf_close(store));
    store = fixture_open(path, HF_OPEN_EXISTING);
    assert_pages_match(store);
    assert_ok(hf_close(store));
}

static unsigned holes_among(hf_store *store, uint64_t page, uint64_t count)
{
    struct hf__sector sector;
    unsigned holes = 0;
    for (const uint64_t end = page + count; page < end; page++) {
        assert_ok(hf__sector_read(store->fd, store->path, store->constants.salt, page, &sector));
        holes += hf__entry_is_hole(&sector.entries.entries[page - sector.first_page]);
    }
    return holes;
}

/* In private memory a hole may be live again and all zeros, as the file is there: the copy's table says so. */
static void test_a_copy_from_memory_has_no_hole_where_something_lives(void **state)
{
    (void)state;
    char copy[PATH_BYTES];
    hf_trim_report report;
    hf_txn *txn = NULL;
    hf_store *store = with_holes_to_be();
    fixture_path(copy, fixture_disk_directory(), "copy.hf");
    assert_ok(hf_trim(store, &report));
    assert_ok(hf_close(store));
    if (report.unsupported)
        skip();
    store = fixture_open(path, HF_COPY_ON_WRITE);
    assert_ok(hf_begin(store, &txn));
    const char *p = hf_construct(txn, "zeros", NULL, 5 * MIB);
    assert_got(p);
    const uint64_t first = (uint64_t)(p - (const char *)store->seg.base) / HF__PAGE_BYTES;
    assert_ok(hf_commit(txn));
    assert_true(holes_among(store, first, 1280) > 1270);
    assert_ok(hf_save_as(store, copy, 0));
    assert_ok(hf_close(store));
    store = fixture_open(copy, HF_OPEN_EXISTING);
    assert_int_equal(holes_among(store, first, 1280), 0);
    assert_pages_match(store);
    assert_ok(hf_close(store));
    assert_ok(hf_remove(copy));
}

/* A marked block that becomes tail takes its holes there: the size comes down with it. */
static void test_a_hole_that_becomes_tail_is_backed_when_the_store_grows(void **state)
{
    (void)state;
    hf_store *store = with_holes_to_be();
    hf_store_info info;
    assert_ok(hf_trim(store, NULL));
    destroy(store, "c");
    assert_ok(hf_info(store, &info));
    assert_true(info.tail_bytes < MIB);
    const uint64_t before = disk_bytes();
    make(store, "new", 4 * MIB);
    assert_true(disk_bytes() > before + 3 * MIB);
    assert_pages_match(store);
    assert_true(is_whole(store, "a", 100000) && is_whole(store, "new", 4 * MIB));
    assert_ok(hf_close(store));
}

/* ---- the order ------------------------------------------------------------------------------- */

static hf_store *watched;
static char
    order[64]; /* d: the data file synced, l: the log written                              */

static void note(char what)
{
    const size_t length = strlen(order);
    if (length + 1 < sizeof order)
        order[length] = what;
}

static int fdatasync_noted(int fd)
{
    if (fd == watched->fd)
        note('d');
    return fdatasync(fd);
}

static ssize_t pwrite_noted(int fd, const void *buffer, size_t size_bytes, off_t offset)
{
    if (fd == watched->log.fds[0] || fd == watched->log.fds[1])
        note('l');
    return pwrite(fd, buffer, size_bytes, offset);
}

/* What a transaction asks of the disk, up to its record. */
static const char *order_of(const char *name, size_t size_bytes)
{
    static struct hf__os os;
    os = hf__os_system;
    os.fdatasync = fdatasync_noted;
    os.pwrite = os.pwrite_apart = pwrite_noted;
    memset(order, 0, sizeof order);
    hf__os = &os;
    make(watched, name, size_bytes);
    hf__os = &hf__os_system;
    return order;
}

static void test_blocks_put_into_holes_are_synced_before_the_record(void **state)
{
    (void)state;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = with_holes_to_be();
    assert_ok(hf_trim(store, NULL));
    assert_ok(hf_close(store));
    options.durability = HF_LAZY;
    assert_ok(hf_open(path, &options, &watched));
    make(watched, "before", 100);
    assert_ok(hf_sync(watched));
    assert_string_equal(order_of("low", 300), "dl"); /* from the hole */
    destroy(watched, "low");
    assert_ok(hf_sync(watched));
    assert_ok(hf_close(watched));
}

/* ---- beside others --------------------------------------------------------------------------- */

static void read_and_write(struct child *self, void *argument)
{
    hf_store *store = open_patient();
    (void)argument;
    child_signal(self);
    for (int i = 0; i < 200; i++) {
        child_expect(is_whole(store, "a", 100000) && is_whole(store, "c", 100000));
        hf_txn *txn = NULL;
        child_expect(hf_begin(store, &txn) == 0);
        unsigned char *p = hf_find_or_construct(txn, "child", NULL, 200000, NULL);
        child_expect(p != NULL && (p = hf_edit(txn, p, 200000)) != NULL);
        memset(p, 'c', 200000);
        child_expect(hf_commit(txn) == 0);
        child_expect(hf_begin(store, &txn) == 0);
        const unsigned char *q = hf_find(hf_txn_view(txn), "child", NULL, NULL);
        child_expect(q != NULL && q[0] == 'c' && q[199999] == 'c');
        child_expect(hf_destroy(txn, "child") == 0);
        child_expect(hf_commit(txn) == 0);
    }
    child_expect(hf_close(store) == 0);
}

static void test_trims_beside_a_reader_and_writer_in_another_process(void **state)
{
    (void)state;
    assert_ok(hf_close(with_holes_to_be()));
    hf_store *store = open_patient();
    struct child child = child_start(read_and_write, NULL);
    const uint64_t before = disk_bytes();
    assert_true(child_wait(&child));
    bool fell = false;
    for (int i = 0; i < 30; i++) {
        assert_ok(hf_trim(store, NULL));
        fell |= disk_bytes() + 6 * MIB < before;
        make(store, "mine", 3 * MIB);
        destroy(store, "mine");
    }
    assert_true(fell);
    child_join(&child);
    assert_pages_match(store);
    assert_ok(hf_close(store));
}

static void test_refuses_what_it_can_not_do(void **state)
{
    (void)state;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    assert_code(hf_trim(store, NULL), HF_ENESTED);
    hf_abort(txn);
    assert_ok(hf_close(store));
    store = fixture_open(path, HF_READ_ONLY);
    assert_code(hf_trim(store, NULL), HF_EREADONLY);
    assert_code(hf_trim_estimate(store, NULL), HF_EINVAL);
    assert_ok(hf_close(store));
    assert_code(hf_trim(NULL, NULL), HF_EINVAL);
    assert_ok(hf_open_heap(MIB, &options, &store));
    assert_code(hf_trim(store, NULL), HF_ENOTSUP);
    assert_ok(hf_close(store));
}

static void hold_a_view(struct child *self, void *argument)
{
    hf_store *store = open_patient();
    hf_view *view = NULL;
    (void)argument;
    child_expect(hf_view_begin(store, &view) == 0);
    child_signal(self);
    child_expect(child_wait(self));
    hf_view_end(view);
    child_expect(hf_close(store) == 0);
}

static void archive_to(hf_store *store, const char *to, const char *since)
{
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    options.since_archive = since;
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    assert_ok(hf_archive_write(store, fd, &options, NULL));
    assert_int_equal(close(fd), 0);
}

/* Archived between the mark and the hole, with nothing committed since: an increment has the hole all the
 * same. And where an earlier archive had something, it is gone. */
static void test_an_increment_has_holes_of_the_commit_it_builds_on(void **state)
{
    (void)state;
    char full[PATH_BYTES], increment[PATH_BYTES], copy[PATH_BYTES];
    const char *const chain[] = {full, increment};
    static const char old[] = "what once lay in the middle of the hole";
    fixture_path(full, fixture_disk_directory(), "full.hfz");
    fixture_path(increment, fixture_disk_directory(), "increment.hfz");
    fixture_path(copy, fixture_disk_directory(), "copy.hf");
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    unsigned char *p = hf_construct(txn, "hole", NULL, 2 * MIB);
    assert_got(p);
    memcpy(p + MIB, old, sizeof old);
    assert_ok(hf_commit(txn));
    make(store, "c", 100);
    destroy(store, "hole");
    assert_ok(hf_close(store));
    struct child child = child_start(hold_a_view, NULL);
    assert_true(child_wait(&child));
    store = fixture_open(path, HF_OPEN_EXISTING); /* which doesn't wait */
    assert_code(hf_trim(store, NULL), HF_EBUSY);
    archive_to(store, full, NULL);
    child_signal(&child);
    child_join(&child);
    assert_ok(hf_sync(store));
    assert_ok(hf_trim(store, NULL));
    archive_to(store, increment, full);
    assert_ok(hf_close(store));
    assert_ok(hf_restore(copy, chain, 2, NULL, NULL));
    assert_false(fixture_file_contains(copy, old, sizeof old));
    assert_ok(hf_remove(copy));
    unlink(full);
    unlink(increment);
}

static uint64_t disk_bytes_of(const char *name)
{
    struct stat st;
    assert_int_equal(stat(name, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* A copy is no larger than the store; what isn't free in it has all its blocks, zero or not. */
static void test_copies_have_the_holes_and_blocks_everywhere_else(void **state)
{
    (void)state;
    char copy[PATH_BYTES], stream[PATH_BYTES];
    const char *const chain[] = {stream};
    hf_store *store = with_holes_to_be();
    hf_txn *txn = NULL;
    fixture_path(copy, fixture_disk_directory(), "copy.hf");
    fixture_path(stream, fixture_disk_directory(), "stream.hfz");
    assert_ok(hf_trim(store, NULL));
    assert_ok(hf_begin(store, &txn));
    assert_got(
        hf_construct(txn, "zeros", NULL, 3 * MIB)); /* of which a copy could leave the blocks out */
    assert_ok(hf_commit(txn));
    for (int way = 0; way < 3; way++) {
        archive_to(store, stream, NULL);
        assert_ok(way == 0   ? hf_snapshot(store, copy, NULL)
                  : way == 1 ? hf_restore(copy, chain, 1, NULL, NULL)
                             : hf_save_as(store, copy, 0));
        const uint64_t bytes = disk_bytes_of(copy);
        assert_true(bytes > 3 * MIB && bytes < 6 * MIB);
        hf_store *other = fixture_open(copy, HF_OPEN_EXISTING);
        assert_pages_match(other);
        make(other, "fits", 4 * MIB);
        assert_true(is_whole(other, "a", 100000) && is_whole(other, "fits", 4 * MIB));
        assert_true(disk_bytes_of(copy) > bytes + 3 * MIB);
        assert_pages_match(other);
        assert_ok(hf_close(other));
        assert_ok(hf_remove(copy));
    }
    assert_ok(hf_close(store));
    unlink(stream);
}

static void *trim_patiently(void *store)
{
    return hf_trim(store, NULL) == 0 ? store : NULL;
}

/* The view ends only after the commit: a trim that waited for it with the writer's place would never end. */
static void test_writers_do_not_wait_for_a_trim_that_waits_for_a_view(void **state)
{
    (void)state;
    pthread_t thread;
    void *result = NULL;
    assert_ok(hf_close(with_holes_to_be()));
    struct child child = child_start(hold_a_view, NULL);
    assert_true(child_wait(&child));
    hf_store *store = open_patient();
    assert_int_equal(pthread_create(&thread, NULL, trim_patiently, store), 0);
    for (int i = 0; i < 20; i++) {
        make(store, "busy", 1000);
        destroy(store, "busy");
    }
    child_signal(&child);
    child_join(&child);
    pthread_join(thread, &result);
    assert_ptr_equal(result, store);
    assert_pages_match(store);
    assert_ok(hf_close(store));
}

/* ---- by itself ------------------------------------------------------------------------------- */

static void tune_trims(hf_store *store, uint64_t min_bytes)
{
    hf_tuning tuning = HF_TUNING_INIT;
    tuning.trim_min_bytes = min_bytes;
    tuning.trim_delay_ms = 1;
    assert_ok(hf_tune(store, &tuning));
}

static bool wait_for_trims(hf_store *store, uint64_t wanted)
{
    for (int i = 0; i < 1000; i++) {
        hf_log_state log;
        assert_ok(hf_log_info(store, &log));
        if (log.trims >= wanted)
            return true;
        usleep(10000);
    }
    return false;
}

static void test_the_housekeeper_gives_back_what_stays_free(void **state)
{
    (void)state;
    hf_store *store = with_holes_to_be();
    hf_store_info before, after;
    assert_ok(hf_info(store, &before));
    tune_trims(store, MIB);
    make(store, "small", 100); /* a commit that finds so much free */
    assert_true(wait_for_trims(store, 1));
    assert_ok(hf_info(store, &after));
    assert_true(before.trimmable_bytes > 15 * MIB && before.given_back_bytes == 0);
    assert_true(after.given_back_bytes > 7 * MIB && after.trimmable_bytes < 2 * MIB);
    assert_true(after.disk_bytes + 13 * MIB < before.disk_bytes);
    assert_pages_match(store);
    make(store, "again", 3 * MIB);
    assert_true(is_whole(store, "again", 3 * MIB) && is_whole(store, "a", 100000));
    assert_ok(hf_close(store));
}

/* It is the floor from then on: what can't be given back is no reason to look again. */
static void test_what_was_given_back_is_no_reason_to_trim(void **state)
{
    (void)state;
    hf_store *store = with_holes_to_be();
    tune_trims(store, MIB);
    make(store, "small", 100);
    assert_true(wait_for_trims(store, 1));
    for (int i = 0; i < 10; i++) {
        make(store, "more", 1000);
        destroy(store, "more");
        assert_int_equal(__atomic_load_n(&store->log.trim_since_ns, __ATOMIC_RELAXED), 0);
    }
    make(store, "large", 2 * MIB);
    destroy(store, "large");
    assert_true(wait_for_trims(store, 2));
    assert_ok(hf_close(store));
}

/* Marked, but not given back: it goes on when the view has ended, whatever is committed meanwhile. */
static void test_the_housekeeper_goes_on_when_a_view_has_ended(void **state)
{
    (void)state;
    hf_store_info info = {0};
    assert_ok(hf_close(with_holes_to_be()));
    struct child child = child_start(hold_a_view, NULL);
    assert_true(child_wait(&child));
    hf_store *store = open_patient();
    hf_log_state log;
    tune_trims(store, MIB);
    for (int i = 0; i < 1000 && store->log.trim_again == 0; i++) {
        make(store, "small", 100);
        destroy(store, "small");
        usleep(10000);
    }
    assert_true(store->log.trim_again != 0); /* it was tried */
    for (int i = 0; i < 5; i++) {
        make(store, "small", 100);
        destroy(store, "small");
    }
    assert_ok(hf_log_info(store, &log));
    assert_int_equal(log.trims, 0);
    child_signal(&child);
    child_join(&child);
    assert_true(wait_for_trims(store, 1));
    assert_ok(hf_sync(store));
    assert_ok(hf_info(store, &info));
    assert_true(info.given_back_bytes > 7 * MIB);
    assert_pages_match(store);
    assert_ok(hf_close(store));
}

static void test_a_store_trims_only_when_asked_if_it_is_told_so(void **state)
{
    (void)state;
    hf_store *store = with_holes_to_be();
    tune_trims(store, HF_TRIM_NEVER);
    make(store, "small", 100);
    assert_int_equal(__atomic_load_n(&store->log.trim_since_ns, __ATOMIC_RELAXED), 0);
    tune_trims(store, 64 * MIB); /* there is less */
    make(store, "other", 100);
    assert_int_equal(__atomic_load_n(&store->log.trim_since_ns, __ATOMIC_RELAXED), 0);
    assert_ok(hf_close(store));
}

/* ---- disks that won't ------------------------------------------------------------------------ */

static int punch_errno;

static int fallocate_refused(int fd, int mode, off_t offset, off_t size_bytes)
{
    if ((mode & FALLOC_FL_PUNCH_HOLE) == 0)
        return fallocate(fd, mode, offset, size_bytes);
    errno = punch_errno;
    return -1;
}

static void test_a_hole_that_is_refused_harms_nothing(void **state)
{
    (void)state;
    static const int errnos[] = {EOPNOTSUPP, ENOSPC, EIO};
    static struct hf__os os;
    hf_store *store = with_holes_to_be();
    hf_trim_report report;
    os = hf__os_system;
    os.fallocate = fallocate_refused;
    for (size_t i = 0; i < sizeof errnos / sizeof *errnos; i++) {
        punch_errno = errnos[i];
        hf__os = &os;
        const int code = hf_trim(store, &report);
        hf__os = &hf__os_system;
        if (errnos[i] == EOPNOTSUPP)
            assert_true(code == 0 && report.unsupported == 1 && report.freed_bytes == 0);
        else
            assert_int_equal(code, errnos[i] == EIO ? HF_EIO : HF_ENOSPC);
        make(store, "between", 5 * MIB); /* of marked space that is no hole */
        assert_pages_match(store);
        destroy(store, "between");
    }
    assert_ok(hf_trim(store, &report));
    assert_true(report.unsupported || report.freed_bytes > 13 * MIB);
    assert_pages_match(store);
    assert_ok(hf_close(store));
}

/* Said in the page cache, but not on the disk: it is said again before there is a hole. */
static int syncs_to_fail;
static bool sector_written;

static int fdatasync_refused(int fd)
{
    if (fd == watched->fd && syncs_to_fail > 0 && --syncs_to_fail == 0) {
        errno = EIO;
        return -1;
    }
    return fdatasync(fd);
}

static ssize_t pwrite_sector(int fd, const void *buffer, size_t size_bytes, off_t offset)
{
    unsigned slot;
    uint64_t number, in_hole = hf__table_sector(4 * MIB / HF__PAGE_BYTES, &slot, &number);
    sector_written |= fd == watched->fd && (uint64_t)offset == in_hole;
    return pwrite(fd, buffer, size_bytes, offset);
}

static void test_holes_are_said_again_after_a_sync_that_failed(void **state)
{
    (void)state;
    static struct hf__os os;
    assert_ok(hf_close(with_holes_to_be()));
    watched = open_patient();
    make(watched, "first", 100);
    os = hf__os_system;
    os.fdatasync = fdatasync_refused;
    os.pwrite = os.pwrite_apart = pwrite_sector;
    hf__os = &os;
    sector_written = false;
    syncs_to_fail = 2; /* that of the checkpoint, that of the page table */
    assert_code(hf_trim(watched, NULL), HF_EIO);
    assert_true(sector_written);
    sector_written = false;
    make(watched, "small", 100); /* a checkpoint that touches no hole comes first */
    assert_ok(hf_trim(watched, NULL));
    assert_true(sector_written);
    sector_written = false;
    make(watched, "other", 100);
    assert_ok(hf_trim(watched, NULL)); /* now it is one, and nothing is left to say */
    assert_false(sector_written);
    hf__os = &hf__os_system;
    assert_pages_match(watched);
    assert_ok(hf_close(watched));
}

/* A sector of the table that was written in part is nobody's finding, and the next trim mends it. */
static bool tearing;

static ssize_t pwrite_torn(int fd, const void *buffer, size_t size_bytes, off_t offset)
{
    unsigned slot;
    uint64_t number, in_hole = hf__table_sector(4 * MIB / HF__PAGE_BYTES, &slot, &number);
    if (fd == watched->fd && (uint64_t)offset == in_hole && !tearing) {
        tearing = true;
        return pwrite(fd, buffer, size_bytes / 2, offset);
    }
    if (tearing) {
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, buffer, size_bytes, offset);
}

static void test_a_sector_written_in_part_is_mended(void **state)
{
    (void)state;
    static struct hf__os os;
    struct hf__sector sector;
    char stream[PATH_BYTES];
    fixture_path(stream, fixture_disk_directory(), "stream.hfz");
    assert_ok(hf_close(with_holes_to_be()));
    watched = open_patient();
    make(watched, "first", 100);
    const uint64_t salt = watched->constants.salt, page = 4 * MIB / HF__PAGE_BYTES;
    os = hf__os_system;
    os.pwrite = os.pwrite_apart = pwrite_torn;
    tearing = false;
    hf__os = &os;
    assert_code(hf_trim(watched, NULL), HF_ENOSPC);
    hf__os = &hf__os_system;
    assert_ok(hf__sector_read(watched->fd, path, salt, page, &sector));
    assert_false(sector.sound);
    assert_pages_match(watched);
    archive_to(watched, stream, NULL);
    assert_ok(hf_archive_verify(stream, NULL, NULL));
    assert_ok(hf_trim(watched, NULL));
    assert_ok(hf__sector_read(watched->fd, path, salt, page, &sector));
    assert_true(sector.sound);
    assert_pages_match(watched);
    assert_ok(hf_close(watched));
    unlink(stream);
}

/* ---- the last close -------------------------------------------------------------------------- */

static void test_the_size_that_was_asked_for_is_kept(void **state)
{
    (void)state;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.size_initial_bytes = 20 * MIB;
    options.engine = fixture_engine;
    assert_ok(hf_open(path, &options, &store));
    make(store, "a", 1000);
    assert_ok(hf_trim(store, NULL));
    assert_ok(hf_close(store));
    assert_true(fixture_file_bytes(path) >= 20 * MIB);
    assert_ok(hf_grow(path, 10 * MIB));
    store = fixture_open(path, HF_OPEN_EXISTING);
    make(store, "b", 1000);
    assert_ok(hf_close(store));
    assert_true(fixture_file_bytes(path) >= 30 * MIB && disk_bytes() >= 30 * MIB);
    assert_ok(hf_shrink_to_fit(path)); /* whoever shrinks it asks for no size any more */
    assert_true(fixture_file_bytes(path) < MIB);
}

static void test_appending_and_closing_do_not_chase_each_other(void **state)
{
    (void)state;
    uint64_t last = 0;
    int changes = 0;
    for (int i = 0; i < 40; i++) {
        char name[16];
        hf_store *store = fixture_open(path, i == 0 ? HF_CREATE_NEW : HF_OPEN_EXISTING);
        snprintf(name, sizeof name, "n%d", i);
        make(store, name, 100000);
        assert_ok(hf_close(store));
        const uint64_t length = fixture_file_bytes(path);
        assert_true(length >= last);
        changes += length != last;
        last = length;
    }
    assert_true(changes < 8);
}

static void *begin_in_vain(void *argument)
{
    hf_txn *txn;
    return (void *)(intptr_t)hf_begin(argument, &txn);
}

/* What a transaction remembers of the blocks it has put into holes is not for another thread to change. */
static void test_who_waits_for_the_writer_changes_nothing_of_his(void **state)
{
    (void)state;
    hf_options options = {.mode = HF_CREATE_NEW, .lock_timeout_ms = -1, .engine = fixture_engine};
    hf_store *store = NULL;
    hf_txn *txn = NULL;
    pthread_t thread;
    void *result;
    assert_ok(hf_open(path, &options, &store));
    assert_ok(hf_begin(store, &txn));
    store->backed.from = HF__PAGE_BYTES;
    store->backed.to = 2 * HF__PAGE_BYTES;
    assert_int_equal(pthread_create(&thread, NULL, begin_in_vain, store), 0);
    pthread_join(thread, &result);
    assert_code((int)(intptr_t)result, HF_EBUSY);
    assert_true(store->backed.from == HF__PAGE_BYTES && store->backed.to == 2 * HF__PAGE_BYTES);
    hf_abort(txn);
    assert_ok(hf_close(store));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh_path, remove_store)
#define TEST_DIRECT(f)                                                                             \
    {                                                                                              \
#f " (direct)", f, fresh_path_direct, remove_store, NULL                                   \
    }
#define BOTH(f) TEST(f), TEST_DIRECT(f)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_trim_gives_free_blocks_and_the_tail_back),
        BOTH(test_a_second_trim_finds_nothing_new),
        BOTH(test_what_was_given_back_is_used_again),
        TEST(test_a_copy_from_memory_has_no_hole_where_something_lives),
        BOTH(test_a_hole_that_becomes_tail_is_backed_when_the_store_grows),
        TEST(test_blocks_put_into_holes_are_synced_before_the_record),
        BOTH(test_trims_beside_a_reader_and_writer_in_another_process),
        BOTH(test_refuses_what_it_can_not_do),
        TEST(test_an_increment_has_holes_of_the_commit_it_builds_on),
        TEST(test_copies_have_the_holes_and_blocks_everywhere_else),
        TEST(test_writers_do_not_wait_for_a_trim_that_waits_for_a_view),
        TEST(test_the_housekeeper_gives_back_what_stays_free),
        TEST(test_what_was_given_back_is_no_reason_to_trim),
        TEST(test_the_housekeeper_goes_on_when_a_view_has_ended),
        TEST(test_a_store_trims_only_when_asked_if_it_is_told_so),
        BOTH(test_a_hole_that_is_refused_harms_nothing),
        TEST(test_holes_are_said_again_after_a_sync_that_failed),
        TEST(test_a_sector_written_in_part_is_mended),
        BOTH(test_the_size_that_was_asked_for_is_kept),
        BOTH(test_who_waits_for_the_writer_changes_nothing_of_his),
        BOTH(test_appending_and_closing_do_not_chase_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
