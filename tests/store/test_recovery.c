/* SPDX-License-Identifier: MIT */
/*
 * test_recovery.c - a process dies by SIGKILL inside a transaction, at every step of a script, and
 * whoever comes next finds exactly the committed state
 *
 * The script does a bit of everything. Who comes next is, in turn: a process that opens the file
 * cold, one that was attached all the time and begins a transaction, or begins a view, and openers
 * that may not write.
 */
#include "store_fixture.h"

#include "base/os.h"
#include "tests/support/mortal_os.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[PATH_BYTES];

enum { STEP_DIE_BEFORE_COMMIT = 22, STEP_DIE_AFTER_COMMIT = 23, STEPS = 24 };

static int fresh_store(void **state)
{
    (void)state;
    fixture_path(path, fixture_disk_directory(), "recovery.hf");
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    fixture_set(store, "v", 1);
    fixture_set(store, "doomed", 2);
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    unsigned char *bytes = hf_construct(txn, "bytes", NULL, 20000);
    assert_got(bytes);
    memset(bytes, 'b', 20000);
    hf_ref *refs = hf_construct(txn, "refs", NULL, 4 * sizeof(hf_ref));
    assert_got(refs);
    for (int i = 0; i < 4; i++) {
        char *raw = hf_alloc(txn, 3000);
        assert_got(raw);
        memset(raw, 'r', 3000);
        refs[i] = hf_ref_of(hf_txn_view(txn), raw);
    }
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
    return 0;
}

static int remove_store(void **state)
{
    (void)state;
    return fixture_exists(path) ? hf_remove(path) : 0;
}

/* ---- the victim ------------------------------------------------------------------------------ */

static void destroy_and_free(hf_txn *txn, int step)
{
    hf_view *view = hf_txn_view(txn);
    const hf_ref *refs = hf_find(view, "refs", NULL, NULL);
    child_expect(refs != NULL);
    if (step == 5)
        child_expect(hf_destroy(txn, "doomed") == 0);
    else if (step == 6)
        hf_free(txn, hf_at(view, refs[1]));
    else if (step == 7)
        hf_free(txn, hf_at(view, refs[3]));
    else
        child_expect(hf_resize(txn, HF_SHRINK_IN_PLACE, hf_at(view, refs[2]), 500, 100, NULL) !=
                     NULL);
}

static void make_many(hf_txn *txn)
{
    for (int i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        child_expect(hf_construct(txn, name, &value_type, 3) != NULL);
    }
}

static void overwrite(hf_txn *txn, size_t offset, size_t size_bytes, int byte)
{
    const unsigned char *p = hf_find(hf_txn_view(txn), "bytes", NULL, NULL);
    child_expect(p != NULL);
    unsigned char *w = hf_edit(txn, p + offset, size_bytes);
    child_expect(w != NULL);
    memset(w, byte, size_bytes);
}

/* One step of the script. */
static void do_step(hf_txn *txn, int step, hf_mark *mark)
{
    hf_type other = value_type;
    other.name = "other";
    switch (step) {
    case 0:
        break; /* dies right after hf_begin */
    case 1:
        overwrite(txn, 100, 1, 'x');
        break;
    case 2:
        overwrite(txn, 0, 20000, 'y');
        break;
    case 3:
        child_expect(hf_construct(txn, "new", &value_type, 1) != NULL);
        break;
    case 4:
        child_expect(hf_construct(txn, "other", &other, 10) != NULL);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        destroy_and_free(txn, step);
        break;
    case 9:
        child_expect(hf_savepoint(txn, mark) == 0);
        break;
    case 10:
        overwrite(txn, 5000, 10000, 'z');
        break;
    case 11:
        make_many(txn);
        break;
    case 12:
        child_expect(hf_rollback_to(txn, *mark) == 0);
        break;
    case 13:
        make_many(txn);
        break;
    case 14:
        child_expect(hf_construct_unique(txn, &other, 2) != NULL);
        break;
    case 15:
        child_expect(hf_alloc(txn, 100000) != NULL);
        break;
    case 16: { /* the file grows */
        char *p = hf_alloc(txn, 3 << 20);
        child_expect(p != NULL);
        memset(p, 'g', 3 << 20);
        break;
    }
    case 17:
        child_expect(hf_alloc_aligned(txn, 5000, 65536) != NULL);
        break;
    case 18:
        child_expect(hf_reserve_named(txn, 500) == 0);
        break;
    case 19:
        overwrite(txn, 0, 64, 'w');
        break;
    case 20:
        child_expect(hf_new(txn, &value_type, 1000) != NULL);
        break;
    case 21:
        child_expect(hf_zero_free_memory(txn) == 0);
        break;
    default:
        break;
    }
}

/* Does the script up to and with *argument, then dies in the middle of it all. */
static void victim(struct child *self, void *argument)
{
    int last = *(int *)argument;
    (void)self;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    hf_txn *txn = NULL;
    hf_mark mark;
    child_expect(hf_open(path, &options, &store) == 0);
    child_expect(hf_begin(store, &txn) == 0);
    for (int step = 0; step <= last; step++)
        do_step(txn, step, &mark);
    if (last == STEP_DIE_AFTER_COMMIT)
        child_expect(hf_commit(txn) == 0);
    raise(SIGKILL);
}

static pid_t kill_at(int step)
{
    struct child child = child_start(victim, &step);
    pid_t pid = child.pid;
    child_join_killed(&child, SIGKILL);
    return pid;
}

/* ---- what must be found ---------------------------------------------------------------------- */

static bool filled_with(const unsigned char *p, int byte, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes; i++) {
        if (p[i] != (unsigned char)byte)
            return false;
    }
    return true;
}

/* The state before the script. Says in words what is wrong; NULL = all is right. Usable in children
 * too. */
static const char *wrong_before(hf_view *view)
{
    size_t count = 0;
    const int64_t *v = hf_find(view, "v", &value_type, NULL);
    if (v == NULL || *v != 1)
        return "v";
    const int64_t *doomed = hf_find(view, "doomed", &value_type, NULL);
    if (doomed == NULL || *doomed != 2)
        return "doomed";
    const unsigned char *bytes = hf_find(view, "bytes", NULL, &count);
    if (bytes == NULL || count != 20000 || !filled_with(bytes, 'b', 20000))
        return "bytes";
    const hf_ref *refs = hf_find(view, "refs", NULL, NULL);
    for (int i = 0; refs != NULL && i < 4; i++) {
        const unsigned char *raw = hf_at(view, refs[i]);
        if (raw == NULL || hf_usable_bytes(view, raw) < 3000 || !filled_with(raw, 'r', 3000))
            return "a raw block";
    }
    if (refs == NULL)
        return "refs";
    if (hf_count_named(view) != 4 || hf_count_unique(view) != 0)
        return "counts";
    return NULL;
}

static const char *wrong_after(hf_view *view)
{
    if (hf_count_named(view) != 55 || hf_count_unique(view) != 1)
        return "counts";
    if (hf_find(view, "doomed", NULL, NULL) != NULL)
        return "doomed";
    const unsigned char *bytes = hf_find(view, "bytes", NULL, NULL);
    if (bytes == NULL || !filled_with(bytes, 'w', 64) || !filled_with(bytes + 64, 'y', 19936))
        return "bytes";
    return NULL;
}

static void expect_state(hf_view *view, int step)
{
    const char *wrong = step == STEP_DIE_AFTER_COMMIT ? wrong_after(view) : wrong_before(view);
    if (wrong != NULL)
        print_error("after death at step %d this is wrong: %s\n", step, wrong);
    assert_null(wrong);
}

static void expect_state_of(hf_store *store, int step)
{
    hf_view *view = NULL;
    assert_ok(hf_view_begin(store, &view));
    expect_state(view, step);
    hf_view_end(view);
    fixture_assert_sound(store);
}

static hf_recovery recovery_of(hf_store *store)
{
    hf_recovery recovery;
    memset(&recovery, 0, sizeof recovery);
    assert_ok(hf_recovery_info(store, &recovery));
    return recovery;
}

/* One transaction was rolled back, if there was anything in it. */
static void expect_recovered(hf_store *store, int step, pid_t pid, bool cold)
{
    hf_recovery recovery = recovery_of(store);
    if (fixture_engine == HF_ENGINE_LOG) {
        /* What was not committed died with its process; a commit is found in the log, by who finds
         * nobody else there. */
        bool found = step == STEP_DIE_AFTER_COMMIT && cold;
        assert_int_equal(recovery.recoveries, found);
        assert_int_equal(recovery.cold, found);
        assert_int_equal(recovery.replayed_commits, found);
        assert_int_equal(recovery.replayed_ranges > 0, found);
        assert_int_equal(recovery.replayed_bytes > 20000, found);
        assert_int_equal(recovery.undone_bytes, 0);
        assert_int_equal(recovery.last_pid, found ? pid : 0);
        return;
    }
    if (step == 0 || step == STEP_DIE_AFTER_COMMIT) {
        assert_int_equal(recovery.undone_bytes, 0);
        return;
    }
    assert_int_equal(recovery.recoveries, 1);
    assert_int_equal(recovery.cold, cold ? 1 : 0);
    assert_int_equal(recovery.last_pid, pid);
    assert_true(recovery.undone_ranges > 0);
    assert_true(recovery.undone_bytes > 0);
    assert_true(recovery.last_ns > UINT64_C(1500000000) * 1000000000);
}

static void next_round(void)
{
    remove_store(NULL);
    fresh_store(NULL);
}

/* ---- who comes next -------------------------------------------------------------------------- */

static void test_next_opener_finds_the_committed_state(void **state)
{
    (void)state;
    for (int step = 0; step < STEPS; step++) {
        pid_t pid = kill_at(step);
        assert_true(fixture_sidecar_exists(path, fixture_journal()) || step == 0);
        hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
        expect_state_of(store, step);
        expect_recovered(store, step, pid, true);
        fixture_set(store, "next", 1); /* and goes on */
        assert_int_equal(fixture_get(store, "next"), 1);
        assert_ok(hf_close(store));
        assert_false(fixture_any_sidecar_exists(path));
        store = fixture_open(path, HF_OPEN_EXISTING); /* nothing is left to recover */
        assert_int_equal(recovery_of(store).recoveries, 0);
        assert_ok(hf_close(store));
        next_round();
    }
}

static void test_next_transaction_of_a_living_process_finds_it(void **state)
{
    (void)state;
    for (int step = 0; step < STEPS; step++) {
        hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
        pid_t pid = kill_at(step);
        hf_txn *txn = NULL;
        assert_ok(hf_begin(store, &txn)); /* without waiting */
        expect_state(hf_txn_view(txn), step);
        assert_got(hf_construct(txn, "next", NULL, 10));
        assert_ok(hf_commit(txn));
        expect_recovered(store, step, pid, false);
        fixture_assert_sound(store);
        assert_ok(hf_close(store));
        next_round();
    }
}

static void test_next_view_of_a_living_process_finds_it(void **state)
{
    (void)state;
    for (int step = 0; step < STEPS; step++) {
        hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
        kill_at(step);
        expect_state_of(store, step);
        fixture_set(store, "next", 1);
        fixture_assert_sound(store);
        assert_ok(hf_close(store));
        next_round();
    }
}

/* A handle that may not write, open before the death and after. */
static void test_read_only_handle_that_lives_on_finds_it(void **state)
{
    (void)state;
    for (int step = 0; step < STEPS; step++) {
        hf_store *store = fixture_open(path, HF_READ_ONLY);
        kill_at(step);
        expect_state_of(store, step);
        expect_state_of(store, step); /* again: nothing was used up */
        assert_ok(hf_close(store));
        store = fixture_open(path, HF_OPEN_EXISTING);
        expect_state_of(store, step);
        assert_ok(hf_close(store));
        next_round();
    }
}

static void test_cold_openers_that_dont_write_find_it(void **state)
{
    (void)state;
    static const uint32_t modes[] = {HF_READ_ONLY, HF_COPY_ON_WRITE};
    for (int step = 0; step < STEPS; step++) {
        kill_at(step);
        for (size_t i = 0; i < 2; i++) {
            hf_store *store = fixture_open(path, modes[i]);
            expect_state_of(store, step);
            assert_ok(hf_close(store));
        }
        hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
        expect_state_of(store, step);
        assert_ok(hf_close(store));
        next_round();
    }
}

static void nobody_reads(struct child *self, void *argument)
{
    int step = *(int *)argument;
    (void)self;
    child_expect(child_become_nobody());
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    hf_view *view = NULL;
    options.mode = HF_READ_ONLY;
    options.lock_timeout_ms = -1;
    child_expect(hf_open(path, &options, &store) == 0);
    child_expect(hf_view_begin(store, &view) == 0);
    const char *wrong = step == STEP_DIE_AFTER_COMMIT ? wrong_after(view) : wrong_before(view);
    if (wrong != NULL)
        fprintf(stderr, "after death at step %d nobody sees this wrong: %s\n", step, wrong);
    child_expect(wrong == NULL);
    hf_view_end(view);
    child_expect(hf_close(store) == 0);
}

/* Without the right to write anything: replayed in private memory, the file is not touched. */
static void test_reader_without_permission_replays_in_private(void **state)
{
    (void)state;
    char directory[PATH_BYTES], original[PATH_BYTES];
    if (geteuid() != 0)
        skip();
    memcpy(original, path, sizeof original);
    snprintf(directory, sizeof directory, "%s/guarded", fixture_disk_directory());
    assert_int_equal(mkdir(directory, 0755), 0);
    for (int step = 0; step < STEPS; step += 3) {
        fixture_path(path, directory, "guarded.hf");
        fixture_copy_file(original, path);
        kill_at(step);
        child_run(nobody_reads, &step);
        child_run(nobody_reads, &step);
        hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
        expect_state_of(store, step);
        assert_ok(hf_close(store));
        assert_ok(hf_remove(path));
    }
    assert_int_equal(rmdir(directory), 0);
    memcpy(path, original, sizeof original);
}

/* The recoverer is killed too, a few times over, then one lives. */
static void test_deaths_one_after_the_other_do_not_add_up(void **state)
{
    (void)state;
    for (int step = 1; step < STEP_DIE_BEFORE_COMMIT; step += 4) {
        for (int i = 0; i < 3; i++)
            kill_at(step + i < STEP_DIE_BEFORE_COMMIT ? step + i : step);
        hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
        expect_state_of(store, step);
        assert_ok(hf_close(store));
        next_round();
    }
}

static void committer(struct child *self, void *argument)
{
    (void)self;
    (void)argument;
    hf_store *store = NULL;
    hf_txn *txn = NULL;
    child_expect(hf_open(path, NULL, &store) == 0);
    for (int64_t i = 0; i < 10; i++) {
        child_expect(hf_begin(store, &txn) == 0);
        int64_t *p = hf_find_or_construct(txn, "v", &value_type, 1, NULL);
        child_expect(p != NULL);
        *p = i;
        child_expect(hf_commit(txn) == 0);
    }
    raise(SIGKILL); /* without hf_close */
}

static void test_commits_survive_a_death_between_transactions(void **state)
{
    (void)state;
    struct child child = child_start(committer, NULL);
    child_join_killed(&child, SIGKILL);
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    assert_int_equal(fixture_get(store, "v"), 9);
    bool logged = fixture_engine == HF_ENGINE_LOG;
    assert_int_equal(recovery_of(store).recoveries, logged);
    assert_int_equal(recovery_of(store).replayed_commits, logged ? 10 : 0);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
}

static void dying_reader(struct child *self, void *argument)
{
    (void)self;
    (void)argument;
    hf_store *store = NULL;
    hf_view *view = NULL;
    child_expect(hf_open(path, NULL, &store) == 0);
    child_expect(hf_view_begin(store, &view) == 0);
    raise(SIGKILL);
}

static void test_dead_reader_does_not_keep_writers_out(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    for (int i = 0; i < 20; i++) {
        struct child child = child_start(dying_reader, NULL);
        child_join_killed(&child, SIGKILL);
        fixture_set(store, "v", i);
    }
    assert_ok(hf_close(store));
}

static void idle(struct child *self, void *argument)
{
    (void)argument;
    child_wait(self); /* until the test goes on */
}

/* Dies inside a transaction, and leaves a child of its own behind that does nothing. */
static void dying_parent(struct child *self, void *argument)
{
    (void)argument;
    hf_store *store = NULL;
    hf_txn *txn = NULL;
    child_expect(hf_open(path, NULL, &store) == 0);
    child_expect(hf_begin(store, &txn) == 0);
    overwrite(txn, 0, 20000, 'q');
    pid_t pid = fork();
    child_expect(pid >= 0);
    if (pid == 0) {
        child_signal(self);
        close(self->to_child); /* so that the test sees the parent's death */
        idle(self, NULL);
        _exit(0);
    }
    raise(SIGKILL);
}

/* What the orphan inherited must not pass for its parent's life. */
static void test_death_is_noticed_though_a_forked_child_lives_on(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    struct child child = child_start(dying_parent, NULL);
    assert_true(child_wait(&child));  /* the orphan-to-be lives */
    assert_false(child_wait(&child)); /* end of file: the parent is dying, its child sleeps */
    siginfo_t death;
    assert_int_equal(waitid(P_PID, (id_t)child.pid, &death, WEXITED | WNOWAIT), 0);
    hf_txn *txn = NULL;
    int code = hf_begin(store, &txn);
    if (code == 0) {
        const char *wrong = wrong_before(hf_txn_view(txn));
        hf_abort(txn);
        assert_null(wrong);
    }
    child_join_killed(&child, SIGKILL); /* this wakes the orphan, too */
    assert_code(code, 0);
    assert_ok(hf_close(store));
}

static void test_resizing_and_saving_a_store_of_the_dead_recover_first(void **state)
{
    (void)state;
    kill_at(16);
    assert_ok(hf_grow(path, 1 << 20));
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    expect_state_of(store, 16);
    assert_ok(hf_close(store));
    kill_at(16);
    assert_ok(hf_shrink_to_fit(path));
    store = fixture_open(path, HF_OPEN_EXISTING);
    expect_state_of(store, 16);
    assert_ok(hf_close(store));
    kill_at(16);
    hf_check_report report;
    assert_ok(hf_check_file(path, NULL, &report)); /* rolled back in private memory only */
    assert_int_equal(report.named, 4);
    kill_at(3);
    assert_ok(hf_remove(path)); /* or away with it */
    assert_false(fixture_sidecar_exists(path, "-undo"));
}

static void *grows(void *store)
{
    hf_txn *txn;
    child_expect(hf_begin(store, &txn) == 0);
    for (int i = 0; i < 400; i++)
        child_expect(hf_alloc(txn, 20000) != NULL);
    child_expect(hf_commit(txn) == 0);
    return NULL;
}

/* On the log engine the view is in the way of applying: the larger size is in the log alone. */
static void grows_beside_a_view_and_dies(struct child *self, void *argument)
{
    (void)self;
    (void)argument;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    hf_view *view;
    pthread_t thread;
    const bool logged = fixture_engine == HF_ENGINE_LOG;
    if (logged)
        child_expect(hf_view_begin(store, &view) == 0);
    child_expect(pthread_create(&thread, NULL, grows, store) == 0 &&
                 pthread_join(thread, NULL) == 0);
    raise(SIGKILL);
}

/* What the file says of its size is older than what it has grown to. */
static void test_resizing_goes_by_the_size_that_is_recovered(void **state)
{
    static const uint32_t allocators[] = {HF_ALLOC_BEST_FIT, HF_ALLOC_SEQ_FIT, 0};
    (void)state;
    for (int shrinks = 0; shrinks < 2; shrinks++)
        for (int i = 0; i < 3; i++) {
            hf_options options = HF_OPTIONS_INIT;
            hf_store *store;
            hf_store_info before, after;
            hf_check_report report;
            options.mode = HF_CREATE_NEW;
            options.engine = fixture_engine;
            options.allocator = allocators[i];
            if (fixture_exists(path))
                assert_ok(hf_remove(path));
            assert_ok(hf_open(path, &options, &store));
            assert_ok(hf_info(store, &before));
            assert_ok(hf_close(store));
            struct child child = child_start(grows_beside_a_view_and_dies, NULL);
            child_join_killed(&child, SIGKILL);
            assert_ok(shrinks ? hf_shrink_to_fit(path) : hf_grow(path, 1 << 20));
            assert_ok(hf_check_file(path, NULL, &report));
            store = fixture_open(path, HF_OPEN_EXISTING);
            assert_ok(hf_info(store, &after));
            assert_true(after.size_bytes >= before.size_bytes + 8000000 - (1u << 20));
            assert_int_equal(report.raw, 400);
            assert_ok(hf_close(store));
            assert_ok(hf_check_file(path, NULL, &report));
        }
}

static void grows_a_little_and_dies(struct child *self, void *argument)
{
    (void)self;
    (void)argument;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    hf_txn *txn;
    child_expect(hf_begin(store, &txn) == 0);
    unsigned char *bytes = hf_construct(txn, "b", NULL, 700000); /* no window: less than a MiB */
    child_expect(bytes != NULL);
    memset(bytes, 'x', 700000);
    child_expect(hf_commit(txn) == 0);
    raise(SIGKILL);
}

static void expect_all_x(hf_store *store)
{
    hf_view *view;
    size_t count;
    assert_ok(hf_view_begin(store, &view));
    const unsigned char *bytes = hf_find(view, "b", NULL, &count);
    assert_got(bytes);
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != 'x')
            fail_msg("byte %zu of %zu is %d", i, count, bytes[i]);
    hf_view_end(view);
    assert_ok(hf_close(store));
}

/* The record is on the disk and the file's new length isn't, as after a power cut: who only looks lays the
 * record over memory, all of which must stay. */
static void test_looking_at_a_file_that_is_shorter_than_its_log(void **state)
{
    static const uint32_t modes[] = {HF_READ_ONLY, HF_COPY_ON_WRITE, HF_OPEN_EXISTING};
    (void)state;
    if (fixture_engine != HF_ENGINE_LOG)
        return;
    const uint64_t size = fixture_file_bytes(path);
    struct child child = child_start(grows_a_little_and_dies, NULL);
    child_join_killed(&child, SIGKILL);
    assert_true(fixture_file_bytes(path) > size);
    assert_int_equal(truncate(path, (off_t)size), 0);
    hf_check_report report;
    assert_ok(hf_check_file(path, NULL, &report));
    for (int i = 0; i < 3; i++) {
        if (i == 0) {
            hf_store *store = fixture_open(path, HF_READ_ONLY);
            assert_ok(hf_snapshot(store, "looked.hf", NULL));
            assert_ok(hf_close(store));
            expect_all_x(fixture_open("looked.hf", HF_READ_ONLY));
            assert_ok(hf_remove("looked.hf"));
        }
        expect_all_x(fixture_open(path, modes[i]));
    }
}

static void shrinks_and_dies(struct child *self, void *argument)
{
    (void)self;
    mortal_begin((struct mortal_plan){.calls = MORTAL_ANY & ~(unsigned)MORTAL_FUTEX,
                                      .left = *(const int64_t *)argument,
                                      .when = MORTAL_HALF});
    const int code = hf_shrink_to_fit(path);
    hf__os = &hf__os_system;
    _exit(code == 0 ? 7 : 1);
}

/* What is cut off was used when the log began: an empty chunk at the end, which shrinking gives back. */
static void test_shrinking_killed_at_each_call(void **state)
{
    int status = 0;
    for (int64_t at = 1; !WIFEXITED(status) || at == 1; at++) {
        void *blocks[3000];
        hf_txn *txn;
        hf_check_report before, report;
        remove_store(state);
        fresh_store(state);
        assert_ok(hf_check_file(path, NULL, &before));
        hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
        assert_ok(hf_begin(store, &txn));
        for (int i = 0; i < 3000; i++)
            assert_got(blocks[i] = hf_alloc(txn, 320));
        assert_ok(hf_commit(txn));
        assert_ok(hf_begin(store, &txn));
        for (int i = 0; i < 3000; i++)
            hf_free(txn, blocks[i]);
        assert_ok(hf_commit(txn));
        assert_ok(hf_close(store));
        struct child child = child_start(shrinks_and_dies, &at);
        status = child_end(&child);
        assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 7);
        store = fixture_open(path, HF_OPEN_EXISTING);
        assert_ok(hf_close(store));
        assert_ok(hf_check_file(path, NULL, &report));
        assert_int_equal(report.raw, before.raw);
    }
}

#define LITTLE_BYTES ((size_t)16 << 20)
#define MUCH_BYTES ((size_t)24 << 20)

static void *mmap_little(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (protection == PROT_NONE && size > LITTLE_BYTES) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return hf__os_system.mmap(at, size, protection, flags, fd, offset);
}

static void reads_with_little_room(struct child *self, void *argument)
{
    (void)argument;
    struct hf__os os = hf__os_system;
    hf_view *view;
    os.mmap = mmap_little;
    hf__os = &os;
    hf_store *store = fixture_open(path, HF_READ_ONLY);
    child_expect(fixture_get(store, "v") == 1);
    child_signal(self);
    child_wait(self);
    child_expect(hf_view_begin(store, &view) == HF_EADDRSPACE);
    child_expect(hf_close(store) == 0);
}

/* In the midst of a change at the far end. */
static void outgrows_and_dies(struct child *self, void *argument)
{
    (void)self;
    (void)argument;
    hf_txn *txn;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    child_expect(hf_begin(store, &txn) == 0);
    child_expect(hf_construct(txn, "much", NULL, MUCH_BYTES) != NULL);
    child_expect(hf_commit(txn) == 0);
    child_expect(hf_begin(store, &txn) == 0);
    unsigned char *much = hf_edit(txn, hf_find(hf_txn_view(txn), "much", NULL, NULL), MUCH_BYTES);
    child_expect(much != NULL);
    memset(much + MUCH_BYTES - 4096, 'm', 4096);
    mortal_begin((struct mortal_plan){
        .calls = MORTAL_WRITE, .files = MORTAL_DATA, .left = 1, .when = MORTAL_BEFORE});
    if (fixture_engine == HF_ENGINE_DIRECT)
        mortal_die();
    hf_commit(txn);
}

/* What the dead one left lies beyond all that a reader has room for. */
static void test_reader_that_is_outgrown_is_told(void **state)
{
    (void)state;
    struct child reader = child_start(reads_with_little_room, NULL);
    assert_true(child_wait(&reader));
    struct child victim = child_start(outgrows_and_dies, NULL);
    child_join_killed(&victim, SIGKILL);
    child_signal(&reader);
    child_join(&reader);
}

static int fails_to_sync(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

static void writes_and_dies(struct child *self, void *argument)
{
    (void)argument;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    fixture_set(store, "v", 5);
    child_signal(self);
    child_wait(self);
    raise(SIGKILL);
}

/* Who is told of it may never have written: the undo list, which outlives the lock table, says it
 * all the same, until fsck --repair. The log engine has its own rules (test_log_syncs.c). */
static void test_failed_sync_is_remembered_by_who_never_wrote(void **state)
{
    (void)state;
    struct hf__os os = hf__os_system;
    if (fixture_engine != HF_ENGINE_DIRECT)
        return;
    struct child child = child_start(writes_and_dies, NULL);
    assert_true(child_wait(&child));
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    os.fdatasync = fails_to_sync;
    hf__os = &os;
    const int code = hf_sync(store);
    hf__os = &hf__os_system;
    child_signal(&child);
    child_join_killed(&child, SIGKILL);
    assert_code(code, HF_EIO);
    assert_code(hf_close(store), HF_EIO);
    for (int i = 0; i < 2; i++) {
        store = fixture_open(path, HF_OPEN_EXISTING);
        assert_int_equal(fixture_get(store, "v"), 5);
        assert_code(hf_sync(store), HF_EIO);
        assert_code(hf_close(store), HF_EIO);
    }
    hf_check_report report;
    assert_ok(hf_repair_file(path, NULL, &report));
    store = fixture_open(path, HF_OPEN_EXISTING);
    assert_int_equal(fixture_get(store, "v"), 5);
    assert_ok(hf_close(store));
    assert_false(fixture_any_sidecar_exists(path));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh_store, remove_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_next_opener_finds_the_committed_state),
        TEST(test_next_transaction_of_a_living_process_finds_it),
        TEST(test_next_view_of_a_living_process_finds_it),
        TEST(test_read_only_handle_that_lives_on_finds_it),
        TEST(test_cold_openers_that_dont_write_find_it),
        TEST(test_reader_without_permission_replays_in_private),
        TEST(test_deaths_one_after_the_other_do_not_add_up),
        TEST(test_commits_survive_a_death_between_transactions),
        TEST(test_dead_reader_does_not_keep_writers_out),
        TEST(test_death_is_noticed_though_a_forked_child_lives_on),
        TEST(test_resizing_and_saving_a_store_of_the_dead_recover_first),
        TEST(test_resizing_goes_by_the_size_that_is_recovered),
        TEST(test_looking_at_a_file_that_is_shorter_than_its_log),
        TEST(test_shrinking_killed_at_each_call),
        TEST(test_reader_that_is_outgrown_is_told),
        TEST(test_failed_sync_is_remembered_by_who_never_wrote),
    };
    fixture_engine = HF_ENGINE_LOG;
    int failed = cmocka_run_group_tests_name("recovery, log engine", tests, NULL, NULL);
    fixture_engine = HF_ENGINE_DIRECT;
    return failed + cmocka_run_group_tests_name("recovery, direct engine", tests, NULL, NULL);
}
