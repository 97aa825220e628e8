/* SPDX-License-Identifier: MIT */
/*
 * test_log_info.c - hf_readers, hf_log_info, hf_tune and hf_log_scan
 */
#include "store_fixture.h"

#include "base/os.h"
#include "store/store.h"

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char path[PATH_BYTES];

static int fresh_store(void **state)
{
    (void)state;
    fixture_path(path, fixture_disk_directory(), "info.hf");
    fixture_create(path);
    return 0;
}

static int remove_store(void **state)
{
    (void)state;
    return hf_remove(path);
}

static size_t readers(hf_store *store, hf_reader *out, size_t capacity)
{
    size_t count = 1000;
    assert_ok(hf_readers(store, out, capacity, &count));
    return count;
}

static hf_log_state info(hf_store *store)
{
    hf_log_state state;
    assert_ok(hf_log_info(store, &state));
    assert_true(state.base <= state.applied && state.applied <= state.durable &&
                state.durable <= state.appended);
    return state;
}

/* ---- readers --------------------------------------------------------------------------------- */

static void hold_a_view(struct child *self, void *argument)
{
    const bool dies = argument != NULL;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    hf_view *view;
    options.mode = HF_READ_ONLY;
    child_expect(hf_open(path, &options, &store) == 0);
    child_expect(hf_view_begin(store, &view) == 0);
    child_signal(self);
    child_wait(self);
    if (dies)
        raise(SIGKILL);
    hf_view_end(view);
    hf_close(store);
}

static void test_own_view_is_listed_with_its_commit(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    hf_reader list[2];
    hf_view *view;
    assert_int_equal(readers(store, NULL, 0), 0);
    fixture_set(store, "x", 1);
    assert_ok(hf_sync(store));
    const uint64_t commit = info(store).applied;
    assert_ok(hf_view_begin(store, &view));
    assert_int_equal(readers(store, list, 2), 1);
    assert_int_equal(list[0].pid, getpid());
    assert_int_equal(list[0].thread_id, syscall(SYS_gettid));
    assert_int_equal(list[0].commit, commit);
    assert_int_equal(list[0].own, 1);
    assert_int_equal(list[0].defers, 0);
    hf_view_end(view);
    assert_int_equal(readers(store, list, 2), 0);
    fixture_set(store, "x", 2);
    assert_ok(hf_sync(store));
    assert_ok(hf_view_begin(store, &view));
    assert_int_equal(readers(store, list, 2), 1);
    assert_int_equal(list[0].commit, commit + 1);
    hf_view_end(view);
    assert_ok(hf_close(store));
}

static void test_other_process_defers_until_it_ends(void **state)
{
    (void)state;
    hf_reader list[4];
    struct child child = child_start(hold_a_view, NULL);
    assert_true(child_wait(&child));
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    const uint64_t before = info(store).applied;
    assert_int_equal(readers(store, list, 4), 1);
    assert_int_equal(list[0].pid, child.pid);
    assert_int_equal(list[0].own, 0);
    assert_int_equal(list[0].defers, 0);
    fixture_set(store, "x", 1);
    assert_int_equal(readers(store, list, 4), 1);
    assert_int_equal(list[0].defers, 1);
    assert_int_equal(list[0].commit, before);
    hf_log_state deferred = info(store);
    assert_int_equal(deferred.applied, before);
    assert_int_equal(deferred.durable, before + 1);
    child_signal(&child);
    child_join(&child);
    assert_int_equal(readers(store, list, 4), 0);
    assert_ok(hf_sync(store));
    assert_int_equal(info(store).applied, before + 1);
    assert_ok(hf_close(store));
}

static void test_dead_readers_are_left_out_and_more_are_counted_than_fit(void **state)
{
    (void)state;
    hf_reader list[1] = {{.pid = -1}};
    struct child dying = child_start(hold_a_view, &dying);
    assert_true(child_wait(&dying));
    struct child living = child_start(hold_a_view, NULL);
    assert_true(child_wait(&living));
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    assert_int_equal(readers(store, list, 0), 2);
    assert_int_equal(list[0].pid, -1);
    assert_int_equal(readers(store, list, 1), 2);
    child_signal(&dying);
    child_join_killed(&dying, SIGKILL);
    assert_int_equal(readers(store, list, 1), 1);
    assert_int_equal(list[0].pid, living.pid);
    child_signal(&living);
    child_join(&living);
    assert_ok(hf_close(store));
}

static void test_misuse_is_an_error(void **state)
{
    (void)state;
    hf_log_summary summary;
    hf_log_state out;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING), *heap;
    size_t count;
    assert_code(hf_readers(NULL, NULL, 0, &count), HF_EINVAL);
    assert_code(hf_readers(store, NULL, 0, NULL), HF_EINVAL);
    assert_code(hf_readers(store, NULL, 1, &count), HF_EINVAL);
    assert_code(hf_log_info(NULL, &out), HF_EINVAL);
    assert_code(hf_log_info(store, NULL), HF_EINVAL);
    assert_code(hf_tune(NULL, NULL), HF_EINVAL);
    assert_code(hf_log_scan(NULL, NULL, NULL, &summary), HF_EINVAL);
    assert_code(hf_log_scan(path, NULL, NULL, NULL), HF_EINVAL);
    assert_code(hf_log_scan("/dev/null", NULL, NULL, &summary), HF_ENOTSTORE);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_code(hf_log_scan("fifo", NULL, NULL, &summary), HF_ENOTSTORE);
    assert_int_equal(unlink("fifo"), 0);
    assert_code(hf_log_scan("no such file", NULL, NULL, &summary), HF_ENOENT);
    assert_ok(hf_open_heap(1 << 16, NULL, &heap));
    assert_code(hf_log_info(heap, &out), HF_ENOTSUP);
    assert_int_equal(readers(heap, NULL, 0), 0);
    assert_ok(hf_close(heap));
    assert_ok(hf_close(store));
}

/* ---- tuning ---------------------------------------------------------------------------------- */

static void test_tuning_has_bounds(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    hf_tuning bad[] = {{.log_max_bytes = 1},
                       {.log_max_bytes = UINT64_MAX},
                       {.log_first_bytes = 4096},
                       {.log_switch_bytes = UINT64_C(1) << 50},
                       {.private_max_bytes = UINT64_MAX},
                       {.gate_wait_us = UINT64_C(1) << 40},
                       {.lazy_interval_ms = UINT64_C(1) << 40},
                       {.debug_checks = 4},
                       {.reserved0 = 1},
                       {.reserved = {0, 0, 0, 0, 0, 1}},
                       {.trim_min_bytes = 1000},
                       {.trim_min_bytes = UINT64_C(1) << 51},
                       {.trim_delay_ms = UINT64_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_code(hf_tune(store, &bad[i]), HF_EINVAL);
    hf_tuning good = HF_TUNING_INIT;
    assert_ok(hf_tune(store, &good));
    assert_ok(hf_tune(store, NULL));
    assert_ok(hf_close(store));
}

static void test_log_lengths_are_those_asked_for(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    hf_tuning tuning = HF_TUNING_INIT;
    hf_view *view;
    struct child child;
    tuning.log_first_bytes = tuning.log_switch_bytes = tuning.log_max_bytes = 32 << 10;
    assert_ok(hf_tune(store, &tuning));
    assert_int_equal(info(store).epoch, 0);
    fixture_set(store, "x", 1);
    assert_int_equal(info(store).file_bytes, 32 << 10);
    const uint64_t epoch = info(store).epoch;
    for (int i = 0; i < 40; i++)
        fixture_set(store, "x", i);
    assert_true(info(store).epoch > epoch);
    assert_int_equal(info(store).file_bytes, 32 << 10);
    assert_ok(hf_close(store));

    /* A reader keeps it from being switched, and it may not grow. */
    child = child_start(hold_a_view, NULL);
    assert_true(child_wait(&child));
    store = fixture_open(path, HF_OPEN_EXISTING);
    assert_ok(hf_tune(store, &tuning));
    int code = 0;
    for (int i = 0; code == 0 && i < 40; i++) {
        hf_txn *txn;
        assert_ok(hf_begin(store, &txn));
        int64_t *x = hf_edit(txn, hf_find(hf_txn_view(txn), "x", &value_type, NULL), 8);
        *x = i + 100;
        code = hf_commit(txn);
    }
    assert_int_equal(code, HF_ELOGFULL);
    assert_int_equal(hf_last_error()->pid, child.pid);
    child_signal(&child);
    child_join(&child);
    assert_ok(hf_view_begin(store, &view));
    hf_view_end(view);
    assert_ok(hf_close(store));
}

static hf_store *applied; /* the store, and whether its applier's place is held                  */
static int holding;

static void *apply_slowly(void *unused)
{
    (void)unused;
    assert_ok(hf__place_lock(&applied->locks, &applied->locks.applying, HF__NO_DEADLINE));
    __atomic_store_n(&holding, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&holding, __ATOMIC_SEQ_CST) == 1) /* until it is known to be needed   */
        usleep(1000);
    usleep(20000);
    hf__place_unlock(&applied->locks, &applied->locks.applying);
    return NULL;
}

/* No reader is there, and the disk is slow: a commit waits, rather than fail for want of log. */
static void test_log_at_its_limit_waits_for_who_applies(void **state)
{
    (void)state;
    hf_options options = {.mode = HF_OPEN_EXISTING, .durability = HF_LAZY};
    hf_tuning tuning = HF_TUNING_INIT;
    pthread_t thread;
    assert_ok(hf_open(path, &options, &applied));
    applied->log.housekeeping = true; /* so none is started */
    tuning.log_first_bytes = tuning.log_switch_bytes = tuning.log_max_bytes = 32 << 10;
    assert_ok(hf_tune(applied, &tuning));
    fixture_set(applied, "x", 1);
    holding = 0;
    assert_int_equal(pthread_create(&thread, NULL, apply_slowly, NULL), 0);
    while (__atomic_load_n(&holding, __ATOMIC_SEQ_CST) == 0)
        usleep(1000);
    const uint64_t epoch = info(applied).epoch;
    for (int i = 0; info(applied).epoch == epoch; i++) {
        if (info(applied).end_bytes + 8192 > 32 << 10)
            __atomic_store_n(&holding, 2, __ATOMIC_SEQ_CST);
        fixture_set(applied, "x", i);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    applied->log.housekeeping = false;
    assert_ok(hf_close(applied));
}

/* ---- scanning -------------------------------------------------------------------------------- */

struct seen {
    uint64_t count, first, last, ranges, bytes, stop_at;
    bool orderly;
};

static int note(void *context, const hf_log_record *record)
{
    struct seen *seen = context;
    if (seen->count++ == 0)
        seen->first = record->commit;
    else
        seen->orderly = seen->orderly && record->commit == seen->last + 1;
    seen->last = record->commit;
    seen->ranges += record->range_count;
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < record->range_count; i++)
        bytes += record->ranges[i].size_bytes;
    assert_int_equal(bytes, record->data_bytes);
    seen->bytes += bytes;
    return seen->count == seen->stop_at;
}

static hf_log_summary scan(struct seen *seen)
{
    hf_log_summary summary;
    *seen = (struct seen){.orderly = true};
    assert_ok(hf_log_scan(path, note, seen, &summary));
    assert_true(seen->orderly);
    return summary;
}

static const hf_log_file *that_counts(const hf_log_summary *summary)
{
    assert_int_equal(summary->files[0].counts + summary->files[1].counts, 1);
    return &summary->files[summary->files[1].counts];
}

static void test_scan_beside_a_writer_tells_what_log_info_tells(void **state)
{
    (void)state;
    struct seen seen;
    hf_log_summary summary = scan(&seen);
    assert_int_equal(summary.state, HF_STATE_CLEAN);
    assert_int_equal(summary.files[0].exists + summary.files[1].exists, 0);
    assert_int_equal(summary.open_pid, 0);
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    for (int i = 1; i <= 5; i++)
        fixture_set(store, "x", i);
    summary = scan(&seen);
    const hf_log_state live = info(store);
    const hf_log_file *file = that_counts(&summary);
    assert_int_equal(summary.state, HF_STATE_LOGGED);
    assert_int_equal(summary.open_pid, getpid());
    assert_int_equal(seen.count, live.appended - live.base);
    assert_int_equal(file->records, seen.count);
    assert_int_equal(file->last_commit, live.appended);
    assert_int_equal(file->epoch, live.epoch);
    assert_int_equal(file->end, live.end_bytes);
    assert_int_equal(file->end_reason, HF_LOG_END_UNUSED);
    seen = (struct seen){.stop_at = 2};
    assert_code(hf_log_scan(path, note, &seen, &summary), HF_ECANCELLED);
    assert_int_equal(seen.count, 2);
    assert_ok(hf_close(store));
}

static hf_store *writes_meanwhile; /* when it is looked why the log ends */

static ssize_t pread_late(int fd, void *buffer, size_t size_bytes, off_t offset)
{
    if (size_bytes == sizeof(struct hf__record) && writes_meanwhile != NULL) {
        hf_store *store = writes_meanwhile;
        writes_meanwhile = NULL;
        fixture_set(store, "x", 6);
    }
    return hf__os_system.pread(fd, buffer, size_bytes, offset);
}

/* What came after the last record was read is the next one, and not torn. */
static void test_scan_takes_what_a_writer_appends_meanwhile(void **state)
{
    (void)state;
    struct seen seen;
    struct hf__os os = hf__os_system;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    for (int i = 1; i <= 5; i++)
        fixture_set(store, "x", i);
    os.pread = pread_late;
    hf__os = &os;
    writes_meanwhile = store;
    const hf_log_summary summary = scan(&seen);
    hf__os = &hf__os_system;
    assert_null(writes_meanwhile);
    assert_int_equal(that_counts(&summary)->last_commit, info(store).appended);
    assert_int_equal(that_counts(&summary)->end_reason, HF_LOG_END_UNUSED);
    assert_ok(hf_close(store));
}

static void leave_a_log(struct child *self, void *argument)
{
    hf_store *store;
    hf_options options = HF_OPTIONS_INIT;
    (void)self;
    (void)argument;
    options.allocator = HF_ALLOC_BEST_FIT; /* a block of the log for each record */
    options.mode = HF_CREATE_NEW;
    child_expect(hf_remove(path) == 0 && hf_open(path, &options, &store) == 0);
    for (int i = 1; i <= 5; i++)
        fixture_set(store, "x", i);
    raise(SIGKILL);
}

static void test_scan_of_what_a_killed_process_left_changes_nothing(void **state)
{
    (void)state;
    struct seen seen;
    struct child child = child_start(leave_a_log, NULL);
    char log_path[PATH_BYTES + 8];
    child_join_killed(&child, SIGKILL);
    const uint64_t before = fixture_file_bytes(path);
    hf_log_summary summary = scan(&seen);
    const hf_log_file file = *that_counts(&summary);
    assert_int_equal(seen.count, 5);
    assert_int_equal(summary.open_pid, 0);
    assert_int_equal(file.base + 5, file.last_commit);

    /* A damaged record that a later one calls durable; one that ends the log; no header. */
    snprintf(log_path, sizeof log_path, "%s-log%d", path, summary.files[1].counts != 0);
    fixture_patch(log_path, HF__LOG_FIRST + HF__LOG_BLOCK + sizeof(struct hf__record) + 64, "x", 1);
    summary = scan(&seen);
    assert_int_equal(seen.count, 1);
    assert_int_equal(that_counts(&summary)->end_reason, HF_LOG_END_DAMAGED);
    fixture_patch(log_path, 64, "x", 1);
    summary = scan(&seen);
    assert_int_equal(seen.count, 0);
    assert_int_equal(summary.files[0].counts + summary.files[1].counts, 0);
    assert_int_equal(summary.state, HF_STATE_LOGGED);
    assert_int_equal(fixture_file_bytes(path), before);
    assert_code(fixture_open_code(path, HF_OPEN_EXISTING), HF_ELOGFOREIGN);
}

static void test_torn_last_record_ends_the_log(void **state)
{
    (void)state;
    struct seen seen;
    char log_path[PATH_BYTES + 8];
    struct child child = child_start(leave_a_log, NULL);
    child_join_killed(&child, SIGKILL);
    hf_log_summary summary = scan(&seen);
    snprintf(log_path, sizeof log_path, "%s-log%d", path, summary.files[1].counts != 0);
    const uint64_t end = that_counts(&summary)->end;
    fixture_patch(log_path, end - 1, "x", 1);
    summary = scan(&seen);
    assert_int_equal(seen.count, 4);
    assert_int_equal(that_counts(&summary)->end_reason, HF_LOG_END_TORN);
}

/* What the segment's header counts is what the log counts, whatever a transaction consists of. */
static void expect_counted(hf_store *store, uint64_t commit)
{
    hf_view *view;
    assert_ok(hf_view_begin(store, &view));
    assert_int_equal(hf__segment_header(view->seg)->commit, commit);
    hf_view_end(view);
    assert_int_equal(info(store).appended, commit);
    assert_ok(hf_verify(store, NULL, NULL));
}

static void test_what_was_rolled_back_leaves_no_record(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    hf_mark mark;
    hf_txn *txn;
    assert_ok(hf_begin(store, &txn));
    char *p = hf_construct(txn, "p", NULL, 5000);
    assert_got(p);
    assert_ok(hf_commit(txn));
    const uint64_t commit = info(store).appended;
    expect_counted(store, commit);
    assert_ok(hf_begin(store, &txn));
    assert_ok(hf_savepoint(txn, &mark));
    p = hf_edit(txn, hf_find(hf_txn_view(txn), "p", NULL, NULL), 5000);
    assert_got(p);
    memset(p, 7, 5000);
    assert_ok(hf_rollback_to(txn, mark));
    assert_ok(hf_commit(txn));
    expect_counted(store, commit);
    assert_ok(hf_close(store));
}

static void test_zeroing_alone_is_a_commit(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    hf_txn *txn;
    assert_ok(hf_begin(store, &txn));
    char *p = hf_construct(txn, "p", NULL, 5000);
    assert_got(p);
    memset(p, 7, 5000);
    assert_got(hf_construct(txn, "q", NULL, 100)); /* so that p doesn't end at the used end */
    assert_ok(hf_commit(txn));
    assert_ok(hf_begin(store, &txn));
    assert_ok(hf_destroy(txn, "p"));
    assert_ok(hf_commit(txn));
    const uint64_t commit = info(store).appended;
    assert_ok(hf_begin(store, &txn));
    assert_ok(hf_zero_free_memory(txn));
    assert_ok(hf_commit(txn));
    expect_counted(store, commit + 1);
    assert_ok(hf_begin(store, &txn));
    assert_ok(hf_zero_free_memory(txn)); /* there is nothing left */
    assert_ok(hf_commit(txn));
    expect_counted(store, commit + 1);
    assert_ok(hf_close(store));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fresh_store, remove_store)
    const struct CMUnitTest tests[] = {
        CASE(test_what_was_rolled_back_leaves_no_record),
        CASE(test_zeroing_alone_is_a_commit),
        CASE(test_own_view_is_listed_with_its_commit),
        CASE(test_other_process_defers_until_it_ends),
        CASE(test_dead_readers_are_left_out_and_more_are_counted_than_fit),
        CASE(test_misuse_is_an_error),
        CASE(test_tuning_has_bounds),
        CASE(test_log_lengths_are_those_asked_for),
        CASE(test_log_at_its_limit_waits_for_who_applies),
        CASE(test_scan_beside_a_writer_tells_what_log_info_tells),
        CASE(test_scan_takes_what_a_writer_appends_meanwhile),
        CASE(test_scan_of_what_a_killed_process_left_changes_nothing),
        CASE(test_torn_last_record_ends_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
