/* SPDX-License-Identifier: MIT */
/*
 * test_log_cursor.c - what is read ahead of a log that others go on writing to
 *
 * Bytes behind the tail may be half of a record that somebody is writing just then. They must not be
 * kept, since they would be taken for that record when the tail has risen above them.
 */
#include "store_fixture.h"

#include "base/os.h"
#include "store/store.h"

enum { RECORDS = 6 };

static char path[PATH_BYTES];

/* Commits a record behind the others; it stands in their block, and nobody applies it. */
static struct hf__log_tail commit_one(hf_store *store, int i)
{
    struct hf__log_tail tail;
    char name[16];
    hf_txn *txn = NULL;
    snprintf(name, sizeof name, "%d", i);
    assert_ok(hf_begin(store, &txn));
    assert_got(hf_construct(txn, name, NULL, 8));
    assert_ok(hf_commit(txn));
    hf__tail_read(store, &tail);
    return tail;
}

static hf_store *open_lazily(void)
{
    hf_options options = {.durability = HF_LAZY};
    hf_store *store = NULL;
    fixture_path(path, fixture_disk_directory(), "cursor.hf");
    assert_ok(hf_open(path, &options, &store));
    store->log.housekeeping = true; /* without a housekeeper */
    return store;
}

static void close_and_remove(hf_store *store)
{
    store->log.housekeeping = false;
    assert_ok(hf_close(store));
    assert_ok(hf_remove(path));
}

/* At the log's first record, as an applier that saw that tail. */
static void set_up_to(struct hf__log_cursor *cursor, const hf_store *store,
                      const struct hf__log_tail *tail)
{
    hf__cursor_set(cursor, store, (int)(tail->epoch % 2), tail->salt, tail->base, tail->salt,
                   HF__LOG_FIRST);
    cursor->ahead = 32 << 10;
    cursor->still = tail->end;
}

static void test_log_cursor_keeps_nothing_behind_the_tail(void **unused)
{
    (void)unused;
    struct hf__log_cursor cursor = {.bytes = NULL};
    struct hf__log_tail tails[RECORDS];
    hf_store *store = open_lazily();
    for (int i = 0; i < RECORDS; i++)
        tails[i] = commit_one(store, i);
    for (int last = 0; last < RECORDS; last++) {
        set_up_to(&cursor, store, &tails[last]);
        for (int i = 0; i <= last; i++) {
            assert_int_equal(hf__cursor_next(&cursor), 1);
            assert_int_equal(cursor.end, tails[i].end);
            assert_true(cursor.have_at + cursor.have <= tails[last].end);
        }
        assert_int_equal(hf__cursor_next(&cursor), 0);
        assert_true(cursor.have_at + cursor.have <= tails[last].end);
    }
    free(cursor.bytes);
    close_and_remove(store);
}

static hf_store *open_with_records(struct hf__log_cursor *cursor, struct hf__log_tail *tail)
{
    hf_store *store = open_lazily();
    for (int i = 0; i < RECORDS; i++)
        *tail = commit_one(store, i);
    set_up_to(cursor, store, tail);
    return store;
}

static unsigned reads;

static ssize_t counted_pread(int fd, void *buffer, size_t size_bytes, off_t offset)
{
    reads++;
    return hf__os_system.pread(fd, buffer, size_bytes, offset);
}

static void test_log_cursor_reads_what_stands_at_once(void **unused)
{
    (void)unused;
    struct hf__os counting = hf__os_system;
    struct hf__log_cursor cursor = {.bytes = NULL};
    struct hf__log_tail tail;
    hf_store *store = open_with_records(&cursor, &tail);
    counting.pread = counted_pread;
    hf__os = &counting;
    for (int i = 0; i < RECORDS; i++)
        assert_int_equal(hf__cursor_next(&cursor), 1);
    hf__os = &hf__os_system;
    assert_int_equal(reads, 1);
    free(cursor.bytes);
    close_and_remove(store);
}

/* A cursor that is set anew, in the hands of another user, believes nothing that was read before. */
static void test_log_cursor_forgets_when_it_is_set(void **unused)
{
    (void)unused;
    struct hf__log_cursor cursor = {.bytes = NULL};
    struct hf__log_tail tail;
    hf_store *store = open_with_records(&cursor, &tail);
    assert_int_equal(hf__cursor_next(&cursor), 1);
    hf__cursor_set(&cursor, store, (int)(tail.epoch % 2), tail.salt, tail.base, tail.salt,
                   HF__LOG_FIRST);
    assert_int_equal(cursor.have, 0);
    assert_int_equal(cursor.ahead, 0);
    assert_int_equal(cursor.still, 0);
    free(cursor.bytes);
    close_and_remove(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_cursor_keeps_nothing_behind_the_tail),
        cmocka_unit_test(test_log_cursor_reads_what_stands_at_once),
        cmocka_unit_test(test_log_cursor_forgets_when_it_is_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
