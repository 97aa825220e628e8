/* SPDX-License-Identifier: MIT */
/*
 * test_growth.c - stores that change their size: while open, beside other processes, up to their
 * maximum, in a small address space, and closed
 */
#include "store_fixture.h"

#include "base/os.h"
#include "store/store_format.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#define MIB ((size_t)1 << 20)

static char path[PATH_BYTES];

static int fresh_path(void **state)
{
    (void)state;
    fixture_path(path, fixture_disk_directory(), "growth.hf");
    return 0;
}

static int remove_store(void **state)
{
    (void)state;
    return fixture_exists(path) ? hf_remove(path) : 0;
}

static hf_store_info info_of(hf_store *store)
{
    hf_store_info info;
    memset(&info, 0, sizeof info);
    assert_ok(hf_info(store, &info));
    return info;
}

/* A named object of size_bytes, every page of it marked with its number. */
static void make_large(hf_store *store, const char *name, size_t size_bytes)
{
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    unsigned char *p = hf_construct(txn, name, NULL, size_bytes);
    assert_got(p);
    for (size_t i = 0; i < size_bytes; i += 4096)
        p[i] = (unsigned char)(i / 4096 % 251 + 1);
    assert_ok(hf_commit(txn));
}

static bool large_is_right(hf_view *view, const char *name, size_t size_bytes)
{
    size_t count = 0;
    const unsigned char *p = hf_find(view, name, NULL, &count);
    if (p == NULL || count != size_bytes)
        return false;
    for (size_t i = 0; i < size_bytes; i++) {
        if (p[i] != (i % 4096 == 0 ? (unsigned char)(i / 4096 % 251 + 1) : 0))
            return false;
    }
    return true;
}

/* ---- while open ------------------------------------------------------------------------------ */

static void test_file_grows_in_steps_and_pointers_stay(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    static hf_ref refs[COUNT];
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    char *first = hf_alloc(txn, 64);
    assert_got(first);
    memset(first, 'f', 64);
    hf_ref first_ref = hf_ref_of(hf_txn_view(txn), first);
    assert_ok(hf_commit(txn));
    unsigned growths = 0;
    uint64_t size = info_of(store).size_bytes;
    for (int i = 0; i < COUNT; i++) {
        if (i % 100 == 0)
            assert_ok(hf_begin(store, &txn));
        int *p = hf_alloc(txn, 10000);
        assert_got(p);
        *p = i;
        refs[i] = hf_ref_of(hf_txn_view(txn), p);
        if (i % 100 == 99) {
            assert_ok(hf_commit(txn));
            growths += info_of(store).size_bytes != size;
            size = info_of(store).size_bytes;
        }
    }
    assert_true(growths >= 1);
    assert_true(size >= COUNT * 10000);
    hf_view *view = NULL;
    assert_ok(hf_view_begin(store, &view));
    const char *first_seen = hf_at(view, first_ref);
    assert_int_equal(first_seen[63], 'f');
    if (fixture_engine == HF_ENGINE_DIRECT) /* which has one mapping */
        assert_ptr_equal(first_seen, first);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(*(const int *)hf_at(view, refs[i]), i);
    hf_view_end(view);
    hf_store_info info = info_of(store);
    assert_int_equal(info.file_bytes, fixture_file_bytes(path));
    assert_true(info.file_bytes >= HF__SEGMENT_OFFSET + info.used_end_bytes);
    assert_true(info.disk_bytes >= info.used_end_bytes); /* allocated before use, not sparse */
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
}

/* Attached before the growth; sees what lies in the new part, and grows on itself. */
static void old_attacher(struct child *self, void *argument)
{
    (void)argument;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    hf_view *view = NULL;
    hf_txn *txn = NULL;
    child_expect(hf_open(path, &options, &store) == 0);
    child_expect(hf_view_begin(store, &view) == 0);
    child_expect(hf_count_named(view) == 0);
    hf_view_end(view);
    child_signal(self);
    child_expect(child_wait(self)); /* the parent has grown it */
    child_expect(hf_view_begin(store, &view) == 0);
    child_expect(large_is_right(view, "parent's", 8 * MIB));
    hf_view_end(view);
    child_expect(hf_begin(store, &txn) == 0);
    child_expect(large_is_right(hf_txn_view(txn), "parent's", 8 * MIB));
    unsigned char *p = hf_construct(txn, "child's", NULL, 12 * MIB);
    child_expect(p != NULL);
    for (size_t i = 0; i < 12 * MIB; i += 4096)
        p[i] = (unsigned char)(i / 4096 % 251 + 1);
    child_expect(hf_commit(txn) == 0);
    child_signal(self);
    child_expect(child_wait(self));
    child_expect(hf_close(store) == 0);
}

static void test_other_process_sees_and_extends_the_new_part(void **state)
{
    (void)state;
    fixture_create(path);
    struct child child = child_start(old_attacher, NULL);
    assert_true(child_wait(&child));
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    make_large(store, "parent's", 8 * MIB);
    child_signal(&child);
    assert_true(child_wait(&child)); /* now the child has grown it */
    hf_view *view = NULL;
    assert_ok(hf_view_begin(store, &view));
    assert_true(large_is_right(view, "child's", 12 * MIB));
    assert_true(large_is_right(view, "parent's", 8 * MIB));
    hf_view_end(view);
    make_large(store, "another", 3 * MIB);
    fixture_assert_sound(store);
    child_signal(&child);
    child_join(&child);
    assert_ok(hf_close(store));
}

static void test_aborted_growth_leaves_the_content_alone(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    make_large(store, "before", 100000);
    hf_store_info before = info_of(store);
    for (int i = 0; i < 5; i++) {
        hf_txn *txn = NULL;
        assert_ok(hf_begin(store, &txn));
        char *p = hf_alloc(txn, 9 * MIB);
        assert_got(p);
        memset(p, 'x', 9 * MIB);
        hf_abort(txn);
    }
    hf_store_info after = info_of(store);
    assert_int_equal(after.live_bytes, before.live_bytes);
    assert_int_equal(after.used_end_bytes, before.used_end_bytes);
    assert_true(after.size_bytes < 32 * MIB); /* the room is used again, not added up */
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
    store = fixture_open(path, HF_OPEN_EXISTING);
    hf_view *view = NULL;
    assert_ok(hf_view_begin(store, &view));
    assert_true(large_is_right(view, "before", 100000));
    hf_view_end(view);
    assert_ok(hf_close(store));
}

static int fallocate_half(int fd, int mode, off_t offset, off_t size_bytes)
{
    if (size_bytes < (off_t)MIB)
        return fallocate(fd, mode, offset, size_bytes);
    if (fallocate(fd, mode, offset, size_bytes / 2) == 0)
        errno = ENOSPC;
    return -1;
}

/* Some file systems keep what fallocate had got when the disk was full. */
static void test_growth_that_fails_takes_nothing(void **state)
{
    (void)state;
    static struct hf__os table;
    struct stat before, after;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    hf_txn *txn = NULL;
    make_large(store, "before", 100000);
    assert_int_equal(stat(path, &before), 0);
    table = hf__os_system;
    table.fallocate = fallocate_half;
    assert_ok(hf_begin(store, &txn));
    hf__os = &table;
    void *p = hf_alloc(txn, 20 * MIB);
    const int code = hf_last_error()->code;
    hf__os = &hf__os_system;
    if (p != NULL) { /* no fallocate here */
        hf_abort(txn);
        assert_ok(hf_close(store));
        skip();
    }
    assert_int_equal(code, HF_ENOSPC);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    assert_true(after.st_blocks < before.st_blocks + 100);
    hf_abort(txn);
    make_large(store, "large", 20 * MIB);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
}

/* A free block that is given back, and free space at the end behind it: an allocation that fails
 * because of the maximum has lowered the size by then. */
static void make_with_a_tail(void)
{
    hf_options options = HF_OPTIONS_INIT;
    options.mode = HF_CREATE_NEW;
    options.engine = fixture_engine;
    options.size_max_bytes = 4 * MIB;
    hf_store *store = NULL;
    hf_txn *txn = NULL;
    assert_ok(hf_open(path, &options, &store));
    assert_ok(hf_begin(store, &txn));
    assert_got(hf_alloc(txn, 300000));
    void *large = hf_alloc(txn, MIB), *last = hf_alloc(txn, 1000);
    assert_got(large);
    assert_got(last);
    assert_ok(hf_commit(txn));
    assert_ok(hf_begin(store, &txn));
    hf_free(txn, large);
    assert_ok(hf_commit(txn));
    assert_ok(hf_trim(store, NULL));
    assert_ok(hf_begin(store, &txn));
    hf_free(txn, last);
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
}

/* The size may have come down since the old lines above it were kept. */
static void test_abort_after_the_size_came_down(void **state)
{
    (void)state;
    static const uint32_t modes[] = {HF_COPY_ON_WRITE, HF_OPEN_EXISTING};
    make_with_a_tail();
    for (int i = 0; i < 2; i++) {
        hf_store *store = fixture_open(path, modes[i]);
        const hf_store_info before = info_of(store);
        hf_txn *txn = NULL;
        assert_ok(hf_begin(store, &txn));
        assert_fails(hf_alloc(txn, 4 * MIB), HF_EFULL);
        hf_abort(txn);
        assert_ok(hf_begin(store, &txn));
        hf_abort(txn);
        assert_int_equal(info_of(store).used_end_bytes, before.used_end_bytes);
        fixture_assert_sound(store);
        assert_ok(hf_close(store));
    }
}

static void test_maximum_size_is_an_error_and_all_of_it_is_usable(void **state)
{
    (void)state;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.engine = fixture_engine;
    options.size_initial_bytes = 64 << 10;
    options.size_max_bytes = 4 * MIB;
    assert_ok(hf_open(path, &options, &store));
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    assert_fails(hf_alloc(txn, 4 * MIB), HF_EFULL);
    assert_fails(hf_construct(txn, "large", NULL, 5 * MIB), HF_EFULL);
    char *p = hf_alloc(txn, 3 * MIB); /* fits: steps of growth must not stand in the way */
    assert_got(p);
    memset(p, 'p', 3 * MIB);
    size_t more = 0;
    while (hf_alloc(txn, 4096) != NULL)
        more++;
    assert_int_equal(hf_last_error()->code, HF_EFULL);
    assert_true(more >= 200); /* the fourth MiB too, but for headers */
    assert_ok(hf_commit(txn));
    assert_int_equal(info_of(store).size_max_bytes, 4 * MIB);
    assert_true(info_of(store).size_bytes <= 4 * MIB);
    fixture_assert_sound(store);
    assert_ok(hf_begin(store, &txn));
    assert_fails(hf_alloc(txn, 8192), HF_EFULL);
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
    options.size_max_bytes = 64 * MIB; /* recorded at creation, ignored later */
    assert_ok(hf_open(path, &options, &store));
    assert_int_equal(info_of(store).size_max_bytes, 4 * MIB);
    assert_ok(hf_close(store));
    assert_code(hf_grow(path, 4 * MIB), HF_EFULL);
}

/* ---- small address space --------------------------------------------------------------------- */

#ifndef SANITIZED
static void limit_address_space(size_t size_bytes)
{
    struct rlimit limit = {size_bytes, size_bytes};
    child_expect(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void limited_creator(struct child *self, void *argument)
{
    (void)self;
    (void)argument;
    hf_store *store = NULL;
    hf_store_info info;
    hf_txn *txn = NULL;
    hf_options options = HF_OPTIONS_INIT;
    options.engine = fixture_engine;
    limit_address_space(1024 * MIB);
    child_expect(hf_open(path, &options, &store) == 0); /* 1 TiB can't be had */
    child_expect(hf_info(store, &info) == 0);
    child_expect(info.mapped_bytes <= 1024 * MIB);
    child_expect(info.size_max_bytes >= 64 * MIB); /* but something useful */
    child_expect(hf_begin(store, &txn) == 0);
    child_expect(hf_construct(txn, "x", NULL, 8 * MIB) != NULL);
    child_expect(hf_commit(txn) == 0);
    child_expect(hf_close(store) == 0);
}

/* Opens a store of 1 TiB with little room, reads; then the store outgrows it. */
static void limited_opener(struct child *self, void *argument)
{
    hf_store *store = NULL;
    hf_store_info info;
    hf_view *view = NULL;
    limit_address_space(512 * MIB);
    child_expect(hf_open(path, argument, &store) == 0);
    child_expect(hf_info(store, &info) == 0);
    child_expect(info.mapped_bytes <= 512 * MIB);
    child_expect(hf_view_begin(store, &view) == 0);
    child_expect(large_is_right(view, "small", 100000));
    hf_view_end(view);
    child_signal(self);
    child_expect(child_wait(self));
    int code = hf_view_begin(store, &view); /* it may be that it could map more */
    child_expect(code == HF_EADDRSPACE || code == 0);
    if (code == 0) {
        child_expect(hf_find(view, "large", NULL, NULL) != NULL);
        hf_view_end(view);
    } else {
        hf_txn *txn = NULL;
        child_expect(hf_begin(store, &txn) == HF_EADDRSPACE);
    }
    child_expect(hf_close(store) == 0);
}

static void die_in_a_transaction(struct child *self, void *argument)
{
    (void)self;
    (void)argument;
    hf_store *store = NULL;
    hf_txn *txn = NULL;
    child_expect(hf_open(path, NULL, &store) == 0 && hf_begin(store, &txn) == 0);
    unsigned char *p = hf_edit(txn, hf_find(hf_txn_view(txn), "small", NULL, NULL), 1);
    child_expect(p != NULL);
    p[0] = 0;
    kill(getpid(), SIGKILL);
}

/* The file is longer than what can be reserved, the store isn't. */
static void limited_undoer(struct child *self, void *argument)
{
    hf_store *store = NULL;
    hf_txn *txn = NULL;
    limit_address_space(512 * MIB);
    child_expect(hf_open(path, argument, &store) == 0);
    child_signal(self);
    child_expect(child_wait(self));
    child_expect(hf_begin(store, &txn) == 0); /* what the dead one left is undone */
    child_expect(large_is_right(hf_txn_view(txn), "small", 100000));
    child_expect(hf_edit(txn, hf_find(hf_txn_view(txn), "small", NULL, NULL), 1) != NULL);
    hf_abort(txn);
    child_expect(hf_begin(store, &txn) == 0);
    hf_abort(txn);
    child_expect(hf_close(store) == 0);
}

/* Makes a store of 1 TiB, for a child that has it open then. */
static struct child child_with_the_store(child_fn what)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.engine = fixture_engine;
    assert_ok(hf_open(path, &options, &store));
    make_large(store, "small", 100000);
    assert_ok(hf_close(store)); /* so that the child doesn't inherit our mapping */
    struct child child = child_start(what, &options);
    assert_true(child_wait(&child));
    return child;
}
#endif

static void test_little_address_space_gives_a_smaller_store(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip();
#else
    child_run(limited_creator, NULL);
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    fixture_assert_sound(store);
    assert_int_equal(info_of(store).named_count, 1);
    assert_ok(hf_close(store));
#endif
}

static void test_store_that_outgrows_a_process_is_an_error_there(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip();
#else
    hf_store *store = NULL;
    struct child child = child_with_the_store(limited_opener);
    assert_ok(hf_open(path, NULL, &store));
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    if (hf_construct(txn, "large", NULL, 0) == NULL || hf_alloc(txn, 600 * MIB) == NULL) {
        int code = hf_last_error()->code;
        hf_abort(txn);
        child_signal(&child);
        child_join(&child);
        assert_ok(hf_close(store));
        assert_int_equal(code, HF_ENOSPC); /* no 600 MB of disk here: nothing to test */
        skip();
    }
    assert_ok(hf_commit(txn));
    child_signal(&child);
    child_join(&child);
    assert_ok(hf_close(store));
#endif
}

static void test_file_that_outgrows_a_process_though_the_store_does_not(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip();
#else
    hf_store *store = NULL;
    struct child undoer = child_with_the_store(limited_undoer);
    struct child dead = child_start(die_in_a_transaction, NULL);
    child_join_killed(&dead, SIGKILL);
    /* As if it had grown it, too: sparse, so that it costs nothing. */
    assert_int_equal(truncate(path, 3000 * (off_t)MIB), 0);
    child_signal(&undoer);
    child_join(&undoer);
    assert_ok(hf_open(path, NULL, &store));
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
#endif
}

/* ---- closed ---------------------------------------------------------------------------------- */

static void test_offline_grow_reserves_disk_and_keeps_content(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    make_large(store, "a", 50000);
    uint64_t before = info_of(store).size_bytes;
    assert_ok(hf_close(store));
    assert_ok(hf_grow(path, 5 * MIB + 1));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true((uint64_t)st.st_blocks * 512 >= 5 * MIB);
    assert_false(fixture_sidecar_exists(path, "-lock"));
    store = fixture_open(path, HF_OPEN_EXISTING);
    hf_store_info info = info_of(store);
    assert_true(info.size_bytes >= before + 5 * MIB + 1);
    assert_int_equal(info.size_bytes % 4096, 0);
    assert_true(info.largest_free_bytes >= 5 * MIB - 65536);
    hf_view *view = NULL;
    assert_ok(hf_view_begin(store, &view));
    assert_true(large_is_right(view, "a", 50000));
    hf_view_end(view);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
    assert_code(hf_grow(path, UINT64_MAX), HF_EFULL);
    assert_code(hf_grow(path, 100 * MIB), HF_EFULL); /* fixture_open says 64 MiB */
    assert_ok(hf_grow(path, 0));
}

static void test_shrink_to_fit_cuts_at_the_used_end(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    make_large(store, "low", 50000);
    make_large(store, "hole", 200000);
    make_large(store, "high", 300000);
    make_large(store, "top", 2 * MIB);
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    assert_ok(hf_destroy(txn, "hole"));
    assert_ok(hf_destroy(txn, "top"));
    assert_ok(hf_commit(txn));
    hf_store_info before = info_of(store);
    uint64_t long_bytes = fixture_file_bytes(path);
    assert_ok(hf_close(store));
    for (int round = 0; round < 2; round++) { /* the second finds nothing to do */
        assert_ok(hf_shrink_to_fit(path));
        assert_true(fixture_file_bytes(path) < long_bytes - MIB);
        assert_true(fixture_file_bytes(path) >= HF__SEGMENT_OFFSET + before.used_end_bytes);
        assert_true(fixture_file_bytes(path) < HF__SEGMENT_OFFSET + before.used_end_bytes + 65536);
        store = fixture_open(path, HF_OPEN_EXISTING);
        hf_store_info after = info_of(store);
        assert_int_equal(after.used_end_bytes, before.used_end_bytes);
        assert_int_equal(after.live_bytes, before.live_bytes);
        assert_true(after.tail_bytes < 65536);
        hf_view *view = NULL;
        assert_ok(hf_view_begin(store, &view));
        assert_true(large_is_right(view, "low", 50000));
        assert_true(large_is_right(view, "high", 300000));
        hf_view_end(view);
        assert_ok(hf_close(store));
    }
    store = fixture_open(path, HF_OPEN_EXISTING); /* and it grows again */
    make_large(store, "again", 2 * MIB);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
}

static void test_empty_store_shrinks_and_lives_on(void **state)
{
    (void)state;
    fixture_create(path);
    assert_ok(hf_shrink_to_fit(path));
    assert_true(fixture_file_bytes(path) <= HF__SEGMENT_OFFSET + 65536);
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    fixture_set(store, "v", 1);
    assert_int_equal(fixture_get(store, "v"), 1);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh_path, remove_store)

/* A buffer's size needs no whole pages, a file's does: the copy must be able to reach its maximum and
 * still be opened. */
static void test_copy_of_a_buffer_of_odd_size_grows_to_its_maximum_and_opens_again(void **state)
{
    (void)state;
    static _Alignas(4096) unsigned char buffer[10048];
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.mode = HF_CREATE_NEW;
    assert_ok(hf_open_buffer(buffer, sizeof buffer, &options, &store));
    assert_ok(hf_save_as(store, path, 0));
    assert_ok(hf_close(store));
    store = fixture_open(path, HF_OPEN_EXISTING);
    int code = 0;
    for (int i = 0; i < 100 && code == 0; i++) {
        hf_txn *txn = NULL;
        assert_ok(hf_begin(store, &txn));
        if (hf_alloc(txn, 200) == NULL)
            code = hf_last_error()->code;
        assert_ok(hf_commit(txn));
    }
    assert_code(code, HF_EFULL);
    assert_ok(hf_check_sanity(store, NULL, NULL));
    assert_ok(hf_close(store));
    assert_ok(hf_close(fixture_open(path, HF_OPEN_EXISTING)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_copy_of_a_buffer_of_odd_size_grows_to_its_maximum_and_opens_again),
        TEST(test_file_grows_in_steps_and_pointers_stay),
        TEST(test_other_process_sees_and_extends_the_new_part),
        TEST(test_aborted_growth_leaves_the_content_alone),
        TEST(test_growth_that_fails_takes_nothing),
        TEST(test_abort_after_the_size_came_down),
        TEST(test_maximum_size_is_an_error_and_all_of_it_is_usable),
        TEST(test_little_address_space_gives_a_smaller_store),
        TEST(test_store_that_outgrows_a_process_is_an_error_there),
        TEST(test_file_that_outgrows_a_process_though_the_store_does_not),
        TEST(test_offline_grow_reserves_disk_and_keeps_content),
        TEST(test_shrink_to_fit_cuts_at_the_used_end),
        TEST(test_empty_store_shrinks_and_lives_on),
    };
    fixture_engine = HF_ENGINE_LOG;
    int failed = cmocka_run_group_tests_name("growth, log engine", tests, NULL, NULL);
    fixture_engine = HF_ENGINE_DIRECT;
    return failed + cmocka_run_group_tests_name("growth, direct engine", tests, NULL, NULL);
}
