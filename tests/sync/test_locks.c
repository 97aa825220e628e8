/* SPDX-License-Identifier: MIT */
/*
 * test_locks.c - the lock table with several handles, some of which die
 *
 * Each handle has a file descriptor of its own, so handles of one process lock each other out as
 * those of different processes do, and a handle dies when its descriptor is closed without a word.
 */
#include "sync/locks.h"

#include "base/os.h"
#include "sync/range_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "holdfast/error.h"

static const uint8_t uuid[16] = "a store's uuid..";
static const char data_path[] = "locks.hf", lock_path[] = "locks.hf-lock";

static int open_data(int flags)
{
    int fd = open(data_path, flags | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void first(struct hf__locks *locks)
{
    unlink(data_path);
    static const struct hf__lock_start start = {.marked = false};
    int fd = open_data(O_RDWR | O_CREAT);
    assert_int_equal(hf__locks_create(locks, data_path, lock_path, fd, uuid, 0600, &start), 0);
    assert_int_equal(hf__locks_claim(locks), 0);
}

static void join(struct hf__locks *locks, bool read_only)
{
    int fd = open_data(read_only ? O_RDONLY : O_RDWR);
    assert_int_equal(hf__locks_attach(locks, data_path, lock_path, fd, read_only, uuid), 0);
    assert_int_equal(hf__locks_claim(locks), 0);
}

/* As by SIGKILL: the kernel closes the descriptors, nothing else happens. */
static void die(struct hf__locks *locks)
{
    close(locks->data_fd);
    locks->data_fd = -1;
    hf__os->munmap(locks->table, sizeof *locks->table);
    close(locks->lock_fd);
    locks->table = NULL;
}

static void leave(struct hf__locks *locks)
{
    int fd = locks->data_fd;
    hf__locks_detach(locks, true);
    close(fd);
}

static void test_writers_place_is_exclusive_and_busy_names_the_pid(void **state)
{
    struct hf__locks a, b;
    (void)state;
    first(&a);
    join(&b, false);
    assert_int_not_equal(a.own, b.own);
    assert_int_equal(hf__writer_lock(&a, HF__NO_DEADLINE), 0);
    assert_int_equal(hf__writer_lock(&b, 0), HF_EBUSY);
    assert_int_equal(hf_last_error()->pid, getpid());
    assert_int_equal(hf__writer_lock(&b, hf__os->now_ns() + 30000000), HF_EBUSY);
    hf__writer_unlock(&a);
    assert_int_equal(hf__writer_lock(&b, 0), 0);
    hf__writer_unlock(&b);
    leave(&b);
    leave(&a);
}

static void test_writers_place_of_the_dead_is_taken_over(void **state)
{
    struct hf__locks a, b;
    (void)state;
    first(&a);
    join(&b, false);
    assert_int_equal(hf__writer_lock(&b, 0), 0);
    uint32_t dead = b.own;
    assert_false(hf__locks_dead(&a, dead));
    die(&b);
    assert_true(hf__locks_dead(&a, dead));
    assert_int_equal(hf__writer_lock(&a, 0), 0);
    assert_int_equal(a.table->header.writer, a.own);
    hf__writer_unlock(&a);
    leave(&a);
}

static void test_a_successor_in_the_slot_does_not_revive_the_dead(void **state)
{
    struct hf__locks a, b, c;
    (void)state;
    first(&a);
    join(&b, false);
    assert_int_equal(hf__writer_lock(&b, 0), 0);
    uint32_t dead = b.own;
    die(&b);
    /* Free slots are preferred; with the others taken the dead one's is used again. */
    assert_int_equal(ftruncate(a.lock_fd, sizeof *a.table), 0);
    a.table->header.processes_backed = HF_PROCESSES_MAX;
    for (uint32_t i = 0; i < HF_PROCESSES_MAX; i++)
        if (hf__process_slot(a.table, i)->owner == 0 && i < 64)
            hf__process_slot(a.table, i)->owner = 1;
    a.table->header.processes_high = HF_PROCESSES_MAX;
    for (uint32_t i = 64; i < HF_PROCESSES_MAX; i++)
        assert_int_equal(hf__range_exclusive(a.data_fd, HF__RANGE_LIVE + (off_t)i), 0);
    for (uint32_t i = 2; i < 64; i++)
        assert_int_equal(hf__range_exclusive(a.data_fd, HF__RANGE_LIVE + (off_t)i), 0);
    join(&c, false);
    assert_int_equal((c.own & 1023), (dead & 1023));
    assert_int_not_equal(c.own, dead);
    assert_true(hf__locks_dead(&a, dead));
    assert_false(hf__locks_dead(&a, c.own));
    assert_int_equal(hf__writer_lock(&c, 0), 0);
    hf__writer_unlock(&c);
    leave(&c);
    leave(&a);
}

static void test_threads_of_one_handle_exclude_each_other(void **state)
{
    struct hf__locks a;
    (void)state;
    assert_int_equal(hf__locks_open_private(&a, "private"), 0);
    assert_int_equal(hf__writer_lock(&a, 0), 0);
    assert_int_equal(hf__writer_lock(&a, 0), HF_EBUSY);
    hf__writer_unlock(&a);
    assert_int_equal(hf__writer_lock(&a, 0), 0);
    hf__writer_unlock(&a);
    hf__locks_detach(&a, true);
}

struct counting {
    struct hf__locks *locks;
    uint64_t *count;
};

static void *count_up(void *argument)
{
    struct counting *counting = argument;
    for (int i = 0; i < 5000; i++) {
        if (hf__writer_lock(counting->locks, HF__NO_DEADLINE) != 0)
            return NULL;
        ++*counting->count;
        hf__writer_unlock(counting->locks);
    }
    return NULL;
}

static void test_no_count_is_lost_between_threads_and_handles(void **state)
{
    struct hf__locks a, b;
    uint64_t count = 0;
    pthread_t threads[4];
    (void)state;
    first(&a);
    join(&b, false);
    struct counting sides[2] = {{&a, &count}, {&b, &count}};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, &sides[i % 2]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(count, 4 * 5000);
    leave(&b);
    leave(&a);
}

static void test_gate_waits_for_readers_and_keeps_new_ones_out(void **state)
{
    struct hf__locks a, b;
    uint32_t slot = 0, other = 0;
    (void)state;
    first(&a);
    join(&b, true);
    assert_int_equal(hf__reader_enter(&b, 0, false, &slot), 0);
    assert_int_equal(hf__writer_lock(&a, 0), 0);
    assert_int_equal(hf__gate_close(&a, 5000000, HF__NO_DEADLINE), HF_EBUSY);
    assert_int_equal(a.table->header.gate, 0); /* given up: open again */
    hf__reader_leave(&b, slot);
    assert_int_equal(hf__gate_close(&a, UINT64_MAX, 0), 0);
    assert_int_equal(hf__reader_enter(&b, 0, false, &other), HF_EBUSY);
    assert_int_equal(hf_last_error()->pid, getpid());
    hf__gate_open(&a);
    assert_int_equal(hf__reader_enter(&b, 0, false, &other), 0);
    hf__reader_leave(&b, other);
    hf__writer_unlock(&a);
    leave(&b);
    leave(&a);
}

static void test_dead_readers_do_not_hold_the_gate(void **state)
{
    struct hf__locks a, b;
    uint32_t slot = 0;
    (void)state;
    first(&a);
    join(&b, true);
    assert_int_equal(hf__reader_enter(&b, 0, false, &slot), 0);
    die(&b);
    assert_int_equal(hf__writer_lock(&a, 0), 0);
    assert_int_equal(hf__gate_close(&a, UINT64_MAX, 0), 0);
    assert_int_equal(hf__reader_slot(a.table, slot)->word, 0);
    hf__gate_open(&a);
    hf__writer_unlock(&a);
    leave(&a);
}

static void test_gate_closed_by_the_dead_is_told_and_not_opened_by_giving_up(void **state)
{
    struct hf__locks a, b, c;
    uint32_t slot = 0, ignored = 0;
    (void)state;
    first(&a);
    join(&b, false);
    join(&c, true);
    assert_int_equal(hf__writer_lock(&b, 0), 0);
    assert_int_equal(hf__gate_close(&b, UINT64_MAX, 0), 0);
    uint32_t dead = b.own;
    die(&b);
    /* One that can undo is told and lets go; one that can't keeps its slot. */
    assert_int_equal(hf__reader_enter(&a, 0, false, &ignored), 1);
    assert_int_equal(hf__reader_enter(&c, 0, true, &slot), 1);
    assert_int_not_equal(hf__reader_slot(a.table, slot)->word, 0);
    /* Whoever takes over waits for that reader, and if he can't wait, the gate stays the dead
     * one's. */
    assert_int_equal(hf__writer_lock(&a, 0), 0);
    assert_int_equal(hf__gate_close(&a, UINT64_MAX, hf__os->now_ns() + 5000000), HF_EBUSY);
    assert_int_equal(a.table->header.gate, dead);
    hf__reader_leave(&c, slot);
    assert_int_equal(hf__gate_close(&a, UINT64_MAX, 0), 0);
    hf__gate_open(&a);
    hf__writer_unlock(&a);
    leave(&c);
    leave(&a);
}

static void test_views_beyond_the_limit_are_refused_and_dead_ones_make_room(void **state)
{
    struct hf__locks a, b;
    uint32_t slot = 0;
    (void)state;
    first(&a);
    join(&b, false);
    for (int i = 0; i < HF_READERS_MAX - 1; i++)
        assert_int_equal(hf__reader_enter(&a, 0, false, &slot), 0);
    assert_int_equal(hf__reader_enter(&b, 0, false, &slot), 0);
    assert_int_equal(hf__reader_enter(&a, 0, false, &slot), HF_EREADERS);
    die(&b);
    assert_int_equal(hf__reader_enter(&a, 0, false, &slot), 0);
    hf__reader_leave_all(&a);
    for (uint32_t i = 0; i < HF_READERS_MAX; i++)
        assert_int_equal(hf__reader_slot(a.table, i)->word, 0);
    leave(&a);
}

static void test_handles_beyond_the_limit_are_refused_and_dead_ones_make_room(void **state)
{
    static struct hf__locks many[HF_PROCESSES_MAX];
    struct rlimit limit = {2 * HF_PROCESSES_MAX + 64, 2 * HF_PROCESSES_MAX + 64};
    struct hf__locks extra;
    (void)state;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        skip();
    first(&many[0]);
    for (int i = 1; i < HF_PROCESSES_MAX; i++)
        join(&many[i], i % 2 != 0);
    int fd = open_data(O_RDWR);
    assert_int_equal(hf__locks_attach(&extra, data_path, lock_path, fd, false, uuid), 0);
    assert_int_equal(hf__locks_claim(&extra), HF_EPROCESSES);
    die(&many[700]);
    assert_int_equal(hf__locks_claim(&extra), 0);
    assert_int_equal((extra.own & 1023) - 1, 700);
    leave(&extra);
    for (int i = 0; i < HF_PROCESSES_MAX; i++)
        if (i != 700)
            leave(&many[i]);
}

static int fallocate_full(int fd, int mode, off_t offset, off_t size)
{
    (void)fd;
    (void)mode;
    (void)offset;
    (void)size;
    errno = ENOSPC;
    return -1;
}

/* The lock file needs no more blocks as long as there are slots of the dead in those it has. */
static void test_the_dead_make_room_on_a_full_disk(void **state)
{
    static struct hf__locks many[HF__NEAR_PROCESSES];
    struct hf__os os = hf__os_system;
    struct hf__locks extra;
    uint32_t slot = 0;
    (void)state;
    first(&many[0]);
    for (uint32_t i = 1; i < HF__NEAR_PROCESSES; i++)
        join(&many[i], false);
    for (uint32_t i = 0; i < HF__NEAR_READERS; i++)
        assert_int_equal(hf__reader_enter(&many[1], 0, false, &slot), 0);
    os.fallocate = fallocate_full;
    hf__os = &os;
    int fd = open_data(O_RDWR);
    assert_int_equal(hf__locks_attach(&extra, data_path, lock_path, fd, false, uuid), 0);
    assert_int_equal(hf__locks_claim(&extra), HF_ENOSPC);
    assert_int_equal(hf__reader_enter(&many[0], 0, false, &slot), HF_ENOSPC);
    die(&many[1]);
    assert_int_equal(hf__locks_claim(&extra), 0);
    assert_int_equal(hf__reader_enter(&extra, 0, false, &slot), 0);
    assert_int_equal(hf__reader_enter(&many[0], 0, false, &slot), 0);
    hf__os = &hf__os_system;
    hf__reader_leave_all(&many[0]);
    hf__reader_leave_all(&extra);
    leave(&extra);
    for (uint32_t i = 0; i < HF__NEAR_PROCESSES; i++)
        if (i != 1)
            leave(&many[i]);
}

static void test_lock_files_that_are_none_or_anothers_are_refused(void **state)
{
    struct hf__locks a, b;
    static const uint8_t other[16] = "another store...";
    (void)state;
    first(&a);
    int fd = open_data(O_RDWR);
    assert_int_equal(hf__locks_attach(&b, data_path, "nowhere", fd, false, uuid), HF_EOTHERPATH);
    assert_int_equal(hf__locks_attach(&b, data_path, lock_path, fd, false, other), HF_EOTHERPATH);
    assert_int_equal(hf__locks_attach(&b, data_path, data_path, fd, false, uuid), HF_ESIDECAR);
    memset(a.table->header.boot_id, 7, 16);
    assert_int_equal(hf__locks_attach(&b, data_path, lock_path, fd, false, uuid), HF_ESIDECAR);
    close(fd);
    leave(&a);
}

static void test_a_living_process_is_found_for_the_message(void **state)
{
    struct hf__locks a;
    (void)state;
    first(&a);
    int fd = open_data(O_RDONLY);
    assert_int_equal(hf__locks_find_pid(lock_path, fd, false), getpid());
    leave(&a);
    assert_int_equal(hf__locks_find_pid(lock_path, fd, false), 0);
    assert_int_equal(hf__locks_find_pid("nowhere", fd, false), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writers_place_is_exclusive_and_busy_names_the_pid),
        cmocka_unit_test(test_writers_place_of_the_dead_is_taken_over),
        cmocka_unit_test(test_a_successor_in_the_slot_does_not_revive_the_dead),
        cmocka_unit_test(test_threads_of_one_handle_exclude_each_other),
        cmocka_unit_test(test_no_count_is_lost_between_threads_and_handles),
        cmocka_unit_test(test_gate_waits_for_readers_and_keeps_new_ones_out),
        cmocka_unit_test(test_dead_readers_do_not_hold_the_gate),
        cmocka_unit_test(test_gate_closed_by_the_dead_is_told_and_not_opened_by_giving_up),
        cmocka_unit_test(test_views_beyond_the_limit_are_refused_and_dead_ones_make_room),
        cmocka_unit_test(test_handles_beyond_the_limit_are_refused_and_dead_ones_make_room),
        cmocka_unit_test(test_the_dead_make_room_on_a_full_disk),
        cmocka_unit_test(test_lock_files_that_are_none_or_anothers_are_refused),
        cmocka_unit_test(test_a_living_process_is_found_for_the_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
