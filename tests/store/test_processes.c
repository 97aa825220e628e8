/* SPDX-License-Identifier: MIT */
/*
 * test_processes.c - several processes and one store: who is let in, who waits, who is refused
 *
 * Children take their turns by signals through pipes (store_fixture.h), so no test depends on time.
 */
#include "store_fixture.h"

#include "base/os.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[PATH_BYTES];

static int fresh_path(void **state)
{
    (void)state;
    fixture_path(path, fixture_disk_directory(), "processes.hf");
    return 0;
}

static int remove_store(void **state)
{
    (void)state;
    int code = fixture_exists(path) ? hf_remove(path) : 0;
    if (code != 0)
        print_error("removing: %s\n", hf_last_error()->message);
    return code;
}

static hf_store *child_open(uint32_t mode, int64_t timeout_ms)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.mode = mode;
    options.lock_timeout_ms = timeout_ms;
    options.engine = mode == HF_OPEN_OR_CREATE || mode == HF_CREATE_NEW ? fixture_engine : 0;
    child_expect(hf_open(path, &options, &store) == 0);
    return store;
}

static void child_set(hf_store *store, const char *name, int64_t value)
{
    hf_txn *txn = NULL;
    child_expect(hf_begin(store, &txn) == 0);
    int64_t *p = hf_find_or_construct(txn, name, &value_type, 1, NULL);
    child_expect(p != NULL);
    *p = value;
    child_expect(hf_commit(txn) == 0);
}

static int64_t child_get(hf_store *store, const char *name)
{
    hf_view *view = NULL;
    child_expect(hf_view_begin(store, &view) == 0);
    const int64_t *p = hf_find(view, name, &value_type, NULL);
    int64_t value = p != NULL ? *p : INT64_MIN;
    hf_view_end(view);
    return value;
}

/* Opens in the mode of *argument, says so, and closes when told. */
static void holder(struct child *self, void *argument)
{
    hf_store *store = child_open(*(uint32_t *)argument, -1);
    child_signal(self);
    child_wait(self);
    child_expect(hf_close(store) == 0);
}

static struct child start_holder(uint32_t mode)
{
    struct child child = child_start(holder, &mode);
    assert_true(child_wait(&child));
    return child;
}

/* ---- transactions and views ------------------------------------------------------------------ */

/* Holds a transaction until told to commit. */
static void writer(struct child *self, void *argument)
{
    (void)argument;
    hf_store *store = child_open(HF_OPEN_EXISTING, 0);
    hf_txn *txn = NULL;
    child_expect(hf_begin(store, &txn) == 0);
    int64_t *p = hf_find_or_construct(txn, "v", &value_type, 1, NULL);
    child_expect(p != NULL);
    *p = 2;
    child_signal(self);
    child_wait(self);
    child_expect(hf_commit(txn) == 0);
    child_signal(self);
    child_wait(self);
    child_expect(hf_close(store) == 0);
}

static void test_busy_names_the_writer_of_another_process(void **state)
{
    (void)state;
    fixture_create(path);
    struct child child = child_start(writer, NULL);
    assert_true(child_wait(&child));
    hf_options options = HF_OPTIONS_INIT;
    hf_txn *txn = NULL;
    hf_view *view = NULL;
    static const int64_t timeouts[] = {-1, 30};
    for (size_t i = 0; i < 2; i++) {
        hf_store *store = NULL;
        options.lock_timeout_ms = timeouts[i];
        assert_ok(hf_open(path, &options, &store)); /* opening doesn't wait for a transaction */
        assert_code(hf_begin(store, &txn), HF_EBUSY);
        assert_int_equal(hf_last_error()->pid, child.pid);
        if (fixture_engine == HF_ENGINE_LOG) { /* a view doesn't wait, and sees the last commit */
            assert_int_equal(fixture_get(store, "v"), INT64_MIN);
        } else {
            assert_code(hf_view_begin(store, &view), HF_EBUSY);
            assert_int_equal(hf_last_error()->pid, child.pid);
        }
        assert_code(hf_sync(store), HF_EBUSY);
        assert_ok(hf_close(store));
    }
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    child_signal(&child);
    assert_true(child_wait(&child)); /* committed */
    assert_int_equal(fixture_get(store, "v"), 2);
    fixture_set(store, "v", 3);
    child_signal(&child);
    child_join(&child);
    assert_ok(hf_close(store));
}

/* On the direct engine it waits for the writer and must see what that committed; on the log engine it
 * may see the commit before, too. */
static void waiting_reader(struct child *self, void *argument)
{
    hf_store *store = child_open(*(uint32_t *)argument, 0);
    hf_view *view = NULL;
    child_signal(self);
    child_expect(hf_view_begin(store, &view) == 0);
    const int64_t *p = hf_find(view, "v", &value_type, NULL);
    child_expect(p != NULL && (*p == 5 || (fixture_engine == HF_ENGINE_LOG && *p == 1)));
    hf_view_end(view);
    child_expect(hf_close(store) == 0);
}

static void test_waiting_view_sees_the_commit_and_not_the_middle(void **state)
{
    (void)state;
    static uint32_t modes[] = {HF_OPEN_EXISTING, HF_READ_ONLY};
    for (size_t i = 0; i < 2; i++) {
        hf_store *store = fixture_open(path, HF_OPEN_OR_CREATE);
        fixture_set(store, "v", 1);
        hf_txn *txn = NULL;
        assert_ok(hf_begin(store, &txn));
        int64_t *p = hf_find_or_construct(txn, "v", &value_type, 1, NULL);
        assert_got(p);
        *p = 4;
        struct child child = child_start(waiting_reader, &modes[i]);
        assert_true(child_wait(&child));
        usleep(20000); /* most likely it waits now; it must not matter */
        *p = 5;
        assert_ok(hf_commit(txn));
        child_join(&child);
        assert_ok(hf_close(store));
    }
}

/* A writer that meets a view of the process *argument. On the log engine it is hindered by none, but
 * what it commits isn't seen before that view has ended. */
static void hindered_writer(struct child *self, void *argument)
{
    (void)self;
    hf_txn *txn = NULL;
    hf_view *view = NULL;
    hf_store *store = child_open(HF_OPEN_EXISTING, 30);
    if (fixture_engine == HF_ENGINE_LOG) {
        child_set(store, "v", 7);
        child_expect(child_get(store, "v") == 5);
        child_expect(hf_sync(store) == HF_EBUSY);
    } else {
        child_expect(hf_begin(store, &txn) == HF_EBUSY);
    }
    child_expect(hf_last_error()->pid == *(pid_t *)argument);
    child_expect(hf_view_begin(store, &view) == 0); /* but readers share */
    hf_view_end(view);
    child_expect(hf_close(store) == 0);
}

static void test_view_of_another_process_hinders_as_promised(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    fixture_set(store, "v", 5);
    hf_view *view = NULL;
    assert_ok(hf_view_begin(store, &view));
    pid_t reader_pid = getpid();
    child_run(hindered_writer, &reader_pid);
    const int64_t *seen = hf_find(view, "v", &value_type, NULL);
    assert_got(seen);
    assert_int_equal(*seen, 5);
    hf_view_end(view);
    if (fixture_engine == HF_ENGINE_LOG) { /* its owner has left: whoever comes next sees to it */
        assert_ok(hf_sync(store));
        assert_int_equal(fixture_get(store, "v"), 7);
    }
    fixture_set(store, "v", 6);
    assert_int_equal(fixture_get(store, "v"), 6);
    assert_ok(hf_close(store));
}

/* ---- ways in --------------------------------------------------------------------------------- */

static void test_other_process_meets_the_same_locks_by_a_symlink(void **state)
{
    (void)state;
    char link_path[PATH_BYTES];
    fixture_path(link_path, fixture_disk_directory(), "by-symlink.hf");
    fixture_create(path);
    assert_int_equal(symlink(path, link_path), 0);
    struct child child = child_start(writer, NULL);
    assert_true(child_wait(&child));
    hf_txn *txn = NULL;
    hf_store *store = fixture_open(link_path, HF_OPEN_EXISTING);
    assert_code(hf_begin(store, &txn), HF_EBUSY);
    child_signal(&child);
    assert_true(child_wait(&child));
    assert_int_equal(fixture_get(store, "v"), 2);
    assert_ok(hf_close(store));
    child_signal(&child);
    child_join(&child);
    assert_int_equal(unlink(link_path), 0);
}

static void test_hard_link_while_open_is_eotherpath(void **state)
{
    (void)state;
    char hard[PATH_BYTES];
    fixture_path(hard, fixture_disk_directory(), "by-hard-link.hf");
    fixture_create(path);
    assert_int_equal(link(path, hard), 0);
    struct child child = start_holder(HF_OPEN_EXISTING);
    assert_code(fixture_open_code(hard, HF_OPEN_EXISTING), HF_EOTHERPATH);
    assert_code(fixture_open_code(hard, HF_OPEN_OR_CREATE), HF_EOTHERPATH);
    assert_false(fixture_sidecar_exists(hard, "-lock"));
    assert_int_equal(fixture_open_code(path, HF_OPEN_EXISTING), 0);
    child_signal(&child);
    child_join(&child);
    assert_int_equal(fixture_open_code(hard, HF_OPEN_EXISTING), 0); /* closed: any name will do */
    assert_int_equal(unlink(hard), 0);
}

static void test_remove_and_resize_are_refused_while_open_elsewhere(void **state)
{
    (void)state;
    static const uint32_t modes[] = {HF_OPEN_EXISTING, HF_READ_ONLY, HF_COPY_ON_WRITE};
    fixture_create(path);
    for (size_t i = 0; i < 3; i++) {
        struct child child = start_holder(modes[i]);
        assert_code(hf_remove(path), HF_EBUSY);
        assert_code(hf_grow(path, 4096), HF_EBUSY);
        assert_code(hf_shrink_to_fit(path), HF_EBUSY);
        assert_true(fixture_exists(path));
        child_signal(&child);
        child_join(&child);
        assert_ok(hf_grow(path, 4096));
        assert_ok(hf_shrink_to_fit(path));
    }
    assert_ok(hf_remove(path));
}

/* ---- makers that die ------------------------------------------------------------------------- */

static struct child *maker;
static bool maker_dies;

static int stops_before_naming(const char *from, const char *to)
{
    child_signal(maker);
    child_wait(maker);
    if (maker_dies)
        raise(SIGKILL);
    return hf__os_system.rename_new(from, to);
}

static void makes(struct child *self, void *argument)
{
    static struct hf__os os;
    maker = self;
    maker_dies = argument != NULL;
    os = hf__os_system;
    os.rename_new = stops_before_naming;
    hf__os = &os;
    hf_store *store = fixture_open(path, HF_OPEN_OR_CREATE);
    child_expect(hf_close(store) == 0);
}

static unsigned spares(void)
{
    unsigned count = 0;
    DIR *dir = opendir(fixture_disk_directory());
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += strstr(entry->d_name, ".new-") != NULL;
    closedir(dir);
    return count;
}

/* What a dead one left goes, what a living one makes stays. */
static void test_spare_files_of_dead_makers_are_removed(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct child living = child_start(makes, NULL), dying = child_start(makes, path);
        assert_true(child_wait(&living) && child_wait(&dying));
        assert_int_equal(spares(), 2);
        if (how == 2) { /* there is a store already */
            fixture_create(path);
            assert_int_equal(spares(), 2);
        }
        child_signal(&dying);
        child_join_killed(&dying, SIGKILL);
        assert_int_equal(spares(), 2);
        if (how == 0)
            fixture_create(path);
        else if (how == 1)
            assert_code(fixture_open_code(path, HF_CREATE_NEW), 0);
        else
            assert_ok(hf_remove(path));
        assert_int_equal(spares(), 1);
        child_signal(&living);
        child_join(&living);
        assert_int_equal(spares(), 0);
        assert_ok(hf_remove(path));
    }
}

static bool left(const char *suffix)
{
    char name[sizeof path + 64];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    const int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    fixture_create(path);
    assert_ok(hf_remove(path));
    const bool there = access(name, F_OK) == 0;
    if (there)
        unlink(name);
    return there;
}

/* A store that is built under a spare name was itself made under a spare of that. Other files stay. */
static void test_spares_of_spares_are_removed_and_nothing_else(void **state)
{
    (void)state;
    assert_false(left(".new-12-0123abcd"));
    assert_false(left(".new-12-0123abcd.new-12-4567cdef"));
    assert_true(left(".new-12-0123abcd.new"));
    assert_true(left(".new-12-0123abcde"));
    assert_true(left(".new-12-0123abcd.new-12-4567cdeg"));
    assert_true(left(".new--0123abcd"));
    assert_true(left(".new-12-0123abcd.bak"));
}

static void test_copy_on_write_and_writers_exclude_each_other(void **state)
{
    (void)state;
    fixture_create(path);
    struct child child = start_holder(HF_COPY_ON_WRITE), reader = start_holder(HF_READ_ONLY);
    assert_code(fixture_open_code(path, HF_OPEN_EXISTING), HF_EBUSY);
    assert_int_equal(hf_last_error()->pid, child.pid); /* not the reader: it isn't in the way */
    child_signal(&reader);
    child_join(&reader);
    assert_code(fixture_open_code(path, HF_OPEN_OR_CREATE), HF_EBUSY);
    assert_int_equal(fixture_open_code(path, HF_COPY_ON_WRITE), 0); /* each has its own pages */
    assert_int_equal(fixture_open_code(path, HF_READ_ONLY), 0);
    assert_code(fixture_open_code(path, HF_OPEN_EXISTING), HF_EBUSY);
    child_signal(&child);
    child_join(&child);
    child = start_holder(HF_OPEN_EXISTING);
    assert_code(fixture_open_code(path, HF_COPY_ON_WRITE), HF_EBUSY);
    assert_int_equal(hf_last_error()->pid, child.pid);
    child_signal(&child);
    child_join(&child);
    assert_int_equal(fixture_open_code(path, HF_OPEN_EXISTING), 0);
}

/* Reads a value that another process commits meanwhile; the mode is read-only. */
static void following_reader(struct child *self, void *argument)
{
    (void)argument;
    hf_store *store = child_open(HF_READ_ONLY, -1);
    for (int64_t i = 0; i < 5; i++) {
        hf_view *view = NULL;
        child_signal(self);
        child_expect(child_wait(self));
        child_expect(hf_view_begin(store, &view) == 0);
        const int64_t *p = hf_find(view, "v", &value_type, NULL);
        child_expect(p != NULL && *p == i);
        hf_view_end(view);
    }
    child_expect(hf_close(store) == 0);
}

static void test_read_only_beside_a_writer_follows_its_commits(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    struct child child = child_start(following_reader, NULL);
    for (int64_t i = 0; i < 5; i++) {
        assert_true(child_wait(&child));
        fixture_set(store, "v", i);
        child_signal(&child);
    }
    child_join(&child);
    assert_ok(hf_close(store));
}

/* ---- read-only without the right to write the lock file -------------------------------------- */

static void nobody_holder(struct child *self, void *argument)
{
    (void)argument;
    child_expect(child_become_nobody());
    hf_store *store = child_open(HF_READ_ONLY, -1);
    hf_view *view = NULL;
    child_expect(hf_view_begin(store, &view) == 0);
    const int64_t *p = hf_find(view, "v", &value_type, NULL);
    child_expect(p != NULL && *p == 7);
    hf_view_end(view);
    child_signal(self);
    child_wait(self);
    child_expect(hf_close(store) == 0);
}

static void nobody_refused(struct child *self, void *argument)
{
    (void)self;
    (void)argument;
    child_expect(child_become_nobody());
    child_expect(fixture_open_code(path, HF_READ_ONLY) == HF_EBUSY);
}

static void test_reader_without_permission_keeps_writers_out_and_they_it(void **state)
{
    (void)state;
    char directory[PATH_BYTES];
    snprintf(directory, sizeof directory, "%s/guarded", fixture_disk_directory());
    rmdir(directory);
    assert_int_equal(mkdir(directory, 0755), 0); /* nobody can't write in here */
    fixture_path(path, directory, "guarded.hf");
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    fixture_set(store, "v", 7);
    if (geteuid() == 0)
        child_run(nobody_refused, NULL); /* a writer is attached */
    assert_ok(hf_close(store));
    assert_int_equal(chmod(path, 0444), 0);
    struct child child = child_start(nobody_holder, NULL);
    assert_true(child_wait(&child));
    assert_false(fixture_sidecar_exists(path, "-lock"));
    if (geteuid() == 0) {
        assert_code(fixture_open_code(path, HF_OPEN_EXISTING), HF_EBUSY);
        assert_int_equal(hf_last_error()->pid, child.pid);
        assert_code(hf_grow(path, 4096), HF_EBUSY);
        assert_int_equal(hf_last_error()->pid, child.pid);
        assert_int_equal(fixture_open_code(path, HF_READ_ONLY), 0);
    }
    child_signal(&child);
    child_join(&child);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(fixture_open_code(path, HF_OPEN_EXISTING), 0);
    assert_ok(hf_remove(path));
    assert_int_equal(rmdir(directory), 0);
}

enum { CHILD_OK = 0, CHILD_FAILED = 1, CHILD_NOT_PERMITTED = 2 };

/* In a mount namespace of its own, with the directory mounted read-only over itself. */
static int on_read_only_mount(const char *directory)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount(directory, directory, NULL, MS_BIND, NULL) != 0 ||
            mount(NULL, directory, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) != 0)
            _exit(CHILD_NOT_PERMITTED);
        hf_store *store = child_open(HF_READ_ONLY, -1);
        child_expect(child_get(store, "v") == 9);
        child_expect(hf_close(store) == 0);
        child_expect(fixture_open_code(path, HF_OPEN_EXISTING) == HF_EACCES);
        child_expect(fixture_open_code(path, HF_OPEN_OR_CREATE) == HF_EACCES);
        child_expect(fixture_open_code(path, HF_COPY_ON_WRITE) == 0);
        child_expect(hf_remove(path) == HF_EACCES);
        _exit(CHILD_OK);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_store_on_a_read_only_medium_opens_read_only(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    fixture_set(store, "v", 9);
    assert_ok(hf_close(store));
    int result = on_read_only_mount(fixture_disk_directory());
    if (result == CHILD_NOT_PERMITTED) {
        print_message("skipped: this user may not mount anything\n");
        skip();
    }
    assert_int_equal(result, CHILD_OK);
}

/* ---- races ----------------------------------------------------------------------------------- */

enum { RACERS = 4 };

/* Opens or creates with all the others, and leaves its mark. */
static void racer(struct child *self, void *argument)
{
    char name[32];
    child_signal(self);
    child_wait(self);
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.mode = *(uint32_t *)argument;
    options.engine = fixture_engine;
    options.size_initial_bytes = 128 << 10;
    int code = hf_open(path, &options, &store);
    if (options.mode == HF_CREATE_NEW && code == HF_EEXIST)
        _exit(0);
    child_expect(code == 0);
    snprintf(name, sizeof name, "racer %ld", (long)getpid());
    child_set(store, name, getpid());
    child_expect(hf_close(store) == 0);
}

static uint64_t names_in_store(void)
{
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    hf_view *view = NULL;
    assert_ok(hf_view_begin(store, &view));
    uint64_t count = hf_count_named(view);
    hf_view_end(view);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
    return count;
}

static uint64_t race(uint32_t mode)
{
    struct child children[RACERS];
    for (size_t i = 0; i < RACERS; i++)
        children[i] = child_start(racer, &mode);
    for (size_t i = 0; i < RACERS; i++)
        assert_true(child_wait(&children[i]));
    for (size_t i = 0; i < RACERS; i++)
        child_signal(&children[i]);
    for (size_t i = 0; i < RACERS; i++)
        child_join(&children[i]);
    uint64_t names = names_in_store();
    assert_ok(hf_remove(path));
    return names;
}

static int scaled(int rounds)
{
    const char *scale = getenv("HF_TEST_SCALE");
    return (int)(rounds * (scale != NULL ? strtod(scale, NULL) : 1));
}

static void test_racing_creators_end_in_one_store(void **state)
{
    (void)state;
    for (int round = scaled(40); round-- > 0;)
        assert_int_equal(race(HF_OPEN_OR_CREATE), RACERS);
    for (int round = scaled(20); round-- > 0;)
        assert_int_equal(race(HF_CREATE_NEW), 1);
}

/* Opens, adds one, closes, many times: attaching and the last one's cleaning up meet. */
static void adder(struct child *self, void *argument)
{
    int rounds = *(int *)argument;
    child_signal(self);
    child_wait(self);
    for (int i = 0; i < rounds; i++) {
        hf_store *store = child_open(HF_OPEN_EXISTING, 0);
        hf_txn *txn = NULL;
        child_expect(hf_begin(store, &txn) == 0);
        int64_t *p = hf_find_or_construct(txn, "v", &value_type, 1, NULL);
        child_expect(p != NULL);
        ++*p;
        child_expect(hf_commit(txn) == 0);
        child_expect(hf_close(store) == 0);
    }
}

static void test_opening_and_closing_at_once_loses_nothing(void **state)
{
    (void)state;
    struct child children[RACERS];
    int rounds = scaled(50);
    if (fixture_shm_directory() != NULL) /* syncs cost nothing there: more meetings */
        fixture_path(path, fixture_shm_directory(), "processes.hf");
    fixture_create(path);
    for (size_t i = 0; i < RACERS; i++)
        children[i] = child_start(adder, &rounds);
    for (size_t i = 0; i < RACERS; i++)
        assert_true(child_wait(&children[i]));
    for (size_t i = 0; i < RACERS; i++)
        child_signal(&children[i]);
    for (size_t i = 0; i < RACERS; i++)
        child_join(&children[i]);
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    assert_int_equal(fixture_get(store, "v"), RACERS * rounds);
    hf_recovery recovery;
    assert_ok(hf_recovery_info(store, &recovery));
    assert_int_equal(recovery.recoveries, 0);
    assert_ok(hf_close(store));
    assert_false(fixture_sidecar_exists(path, "-lock"));
    assert_false(fixture_sidecar_exists(path, "-undo"));
}

/* ---- fork ------------------------------------------------------------------------------------ */

struct inherited {
    hf_store *store;
    hf_txn *txn;
    const void *object;
};

/* Everything on the parent's handles is refused, closing excepted. */
static void use_inherited(struct child *self, void *argument)
{
    struct inherited *parent = argument;
    (void)self;
    hf_txn *txn = NULL;
    hf_view *view = NULL;
    hf_store_info info;
    child_expect(hf_begin(parent->store, &txn) == HF_EFORKED);
    child_expect(hf_view_begin(parent->store, &view) == HF_EFORKED);
    child_expect(hf_info(parent->store, &info) == HF_EFORKED);
    child_expect(hf_sync(parent->store) == HF_EFORKED);
    child_expect(hf_check_sanity(parent->store, NULL, NULL) == HF_EFORKED);
    if (parent->txn != NULL) {
        hf_mark mark;
        child_expect(hf_alloc(parent->txn, 10) == NULL && hf_last_error()->code == HF_EFORKED);
        child_expect(hf_edit(parent->txn, parent->object, 8) == NULL &&
                     hf_last_error()->code == HF_EFORKED);
        child_expect(hf_construct(parent->txn, "x", NULL, 1) == NULL &&
                     hf_last_error()->code == HF_EFORKED);
        child_expect(hf_savepoint(parent->txn, &mark) == HF_EFORKED);
        child_expect(hf_commit(parent->txn) == HF_EFORKED);
    }
    child_expect(hf_close(parent->store) == 0 || hf_last_error()->code == HF_EFORKED);
}

/* The child opens the store itself, as any process. */
static void open_anew(struct child *self, void *argument)
{
    (void)self;
    struct inherited *parent = argument;
    hf_txn *txn = NULL;
    hf_store *store = child_open(HF_OPEN_EXISTING, -1);
    if (parent->txn != NULL) {
        child_expect(hf_begin(store, &txn) == HF_EBUSY);
        child_expect(hf_last_error()->pid == getppid());
    } else {
        child_set(store, "child", 1);
    }
    child_expect(hf_close(store) == 0);
}

static void expect_still_held(struct child *self, void *argument)
{
    (void)self;
    (void)argument;
    child_expect(hf_remove(path) == HF_EBUSY);
    child_expect(hf_grow(path, 4096) == HF_EBUSY);
    child_expect(fixture_sidecar_exists(path, "-lock"));
}

static void test_forked_child_may_only_close_and_parent_keeps_its_locks(void **state)
{
    (void)state;
    struct inherited mine = {fixture_open(path, HF_CREATE_NEW), NULL, NULL};
    fixture_set(mine.store, "v", 1);
    child_run(use_inherited, &mine);
    child_run(expect_still_held, NULL);
    child_run(open_anew, &mine);
    fixture_set(mine.store, "v", 2);

    assert_ok(hf_begin(mine.store, &mine.txn));
    int64_t *p = hf_find_or_construct(mine.txn, "v", &value_type, 1, NULL);
    assert_got(p);
    *p = 3;
    mine.object = p;
    child_run(use_inherited, &mine);
    child_run(open_anew, &mine);
    child_run(expect_still_held, NULL);
    assert_int_equal(*p, 3);
    assert_ok(hf_commit(mine.txn));
    assert_int_equal(fixture_get(mine.store, "v"), 3);
    assert_int_equal(fixture_get(mine.store, "child"), 1);
    fixture_assert_sound(mine.store);
    assert_ok(hf_close(mine.store));
    assert_false(fixture_sidecar_exists(path, "-lock"));
}

static void idle(struct child *self, void *argument)
{
    (void)argument;
    child_signal(self);
    child_wait(self);
}

/* A child that never closes what it inherited must not keep the store busy. */
static void test_forked_child_that_lives_on_holds_nothing(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    fixture_set(store, "v", 1);
    struct child child = child_start(idle, NULL);
    assert_true(child_wait(&child));
    assert_ok(hf_close(store));
    assert_false(fixture_sidecar_exists(path, "-lock"));
    assert_ok(hf_grow(path, 4096));
    assert_ok(hf_remove(path));
    child_signal(&child);
    child_join(&child);
}

static void test_heap_store_in_a_forked_child_is_refused_too(void **state)
{
    (void)state;
    struct inherited mine = {NULL, NULL, NULL};
    assert_ok(hf_open_heap(100000, NULL, &mine.store));
    fixture_set(mine.store, "v", 1);
    child_run(use_inherited, &mine);
    assert_int_equal(fixture_get(mine.store, "v"), 1);
    assert_ok(hf_close(mine.store));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh_path, remove_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_busy_names_the_writer_of_another_process),
        TEST(test_waiting_view_sees_the_commit_and_not_the_middle),
        TEST(test_view_of_another_process_hinders_as_promised),
        TEST(test_other_process_meets_the_same_locks_by_a_symlink),
        TEST(test_hard_link_while_open_is_eotherpath),
        TEST(test_remove_and_resize_are_refused_while_open_elsewhere),
        TEST(test_spare_files_of_dead_makers_are_removed),
        TEST(test_spares_of_spares_are_removed_and_nothing_else),
        TEST(test_copy_on_write_and_writers_exclude_each_other),
        TEST(test_read_only_beside_a_writer_follows_its_commits),
        TEST(test_reader_without_permission_keeps_writers_out_and_they_it),
        TEST(test_store_on_a_read_only_medium_opens_read_only),
        TEST(test_racing_creators_end_in_one_store),
        TEST(test_opening_and_closing_at_once_loses_nothing),
        TEST(test_forked_child_may_only_close_and_parent_keeps_its_locks),
        TEST(test_forked_child_that_lives_on_holds_nothing),
        TEST(test_heap_store_in_a_forked_child_is_refused_too),
    };
    fixture_engine = HF_ENGINE_LOG;
    int failed = cmocka_run_group_tests_name("processes, log engine", tests, NULL, NULL);
    fixture_engine = HF_ENGINE_DIRECT;
    return failed + cmocka_run_group_tests_name("processes, direct engine", tests, NULL, NULL);
}
