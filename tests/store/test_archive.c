/* SPDX-License-Identifier: MIT */
/*
 * test_archive.c - archives of live stores, and what is restored from them
 */
#include "store_fixture.h"

#include "tests/support/campaign.h"

#include "store/archive.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[] = "live.hf";

static hf_store *make(uint32_t engine, uint32_t allocator, uint32_t index)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    unlink(path);
    options.mode = HF_CREATE_NEW;
    options.engine = engine;
    options.allocator = allocator;
    options.index = index;
    assert_ok(hf_open(path, &options, &store));
    return store;
}

static hf_store *reopen(const char *name, uint32_t mode)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    options.mode = mode;
    options.lock_timeout_ms = -1;
    assert_ok(hf_open(name, &options, &store));
    return store;
}

static void fill(hf_store *store, int from, int to, size_t size_bytes, uint64_t seed)
{
    hf_txn *txn;
    assert_ok(hf_begin(store, &txn));
    for (int i = from; i < to; i++) {
        char name[32];
        snprintf(name, sizeof name, "object/%06d", i);
        void *p = hf_find_or_construct(txn, name, NULL, size_bytes, NULL);
        assert_got(p);
        p = hf_edit(txn, p, size_bytes);
        assert_got(p);
        content_fill(p, size_bytes, seed + (uint64_t)i);
    }
    assert_ok(hf_commit(txn));
}

static void drop(hf_store *store, int from, int to)
{
    hf_txn *txn;
    assert_ok(hf_begin(store, &txn));
    for (int i = from; i < to; i++) {
        char name[32];
        snprintf(name, sizeof name, "object/%06d", i);
        assert_ok(hf_destroy(txn, name));
    }
    assert_ok(hf_commit(txn));
}

/* All objects' names and bytes, in whatever order. */
static uint64_t content_of(hf_store *store)
{
    hf_view *view;
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    uint64_t sum = 0;
    assert_ok(hf_view_begin(store, &view));
    while (hf_next_named(view, &cursor, &info) == 1)
        sum += content_sum(info.object, info.size_bytes) ^
               (info.name == NULL ? 1 : content_sum(info.name, strlen(info.name)));
    hf_view_end(view);
    return sum;
}

static hf_archive_report archive(hf_store *store, const char *name, const char *since)
{
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    hf_archive_report report, verified;
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    options.since_archive = since;
    memset(&report, 0xee, sizeof report);
    assert_ok(hf_archive_write(store, fd, &options, &report));
    assert_int_equal(fixture_file_bytes(name), report.archive_bytes);
    close(fd);
    assert_ok(hf_archive_verify(name, NULL, &verified));
    assert_int_equal(verified.commit, report.commit);
    assert_int_equal(verified.pages, report.pages);
    assert_int_equal(verified.archive_bytes, report.archive_bytes);
    assert_memory_equal(verified.digest, report.digest, sizeof report.digest);
    return report;
}

static int restore_code(const char *name, const char *a, const char *b, const char *c,
                        const char *d)
{
    const char *archives[] = {a, b, c, d};
    size_t count = 0;
    while (count < 4 && archives[count] != NULL)
        count++;
    unlink(name);
    return hf_restore(name, archives, count, NULL, NULL);
}

/* The restored store is clean, sound, true to its page table, and holds that content. */
static void assert_restored(const char *name, uint64_t content, uint64_t commit)
{
    hf_check_report report;
    assert_ok(hf_check_file(name, NULL, &report));
    assert_int_equal(report.replayed_commits, 0);
    hf_store *store = reopen(name, HF_READ_ONLY);
    hf_view *view;
    assert_ok(hf_verify(store, NULL, NULL));
    assert_true(content_of(store) == content);
    assert_ok(hf_view_begin(store, &view));
    assert_int_equal(((const struct hf__segment_header *)(const void *)view->seg->base)->commit,
                     commit);
    hf_view_end(view);
    assert_ok(hf_close(store));
}

static int start(void **state)
{
    (void)state;
    hf_remove(path);
    unlink("a.hfz");
    unlink("b.hfz");
    unlink("c.hfz");
    unlink("d.hfz");
    return 0;
}

/* ---- round trips ----------------------------------------------------------------------------- */

static void test_archive_of_a_live_store_and_three_increments(void **state)
{
    (void)state;
    hf_store *store = make(HF_ENGINE_LOG, 0, 0);
    fill(store, 0, 1000, 3000, 1);
    hf_archive_report full = archive(store, "a.hfz", NULL);
    const uint64_t first = content_of(store);
    assert_int_equal(full.pages, full.pages_total);
    assert_true(full.pages > 700);
    fill(store, 10, 20, 3000, 77);
    hf_archive_report one = archive(store, "b.hfz", "a.hfz");
    assert_int_equal(one.from_commit, full.commit);
    drop(store, 500, 1000); /* the used end falls */
    assert_ok(hf_close(store));
    assert_ok(hf_shrink_to_fit(path));
    store = reopen(path, HF_OPEN_EXISTING);
    hf_archive_report two = archive(store, "c.hfz", "b.hfz");
    fill(store, 600, 1500, 5000, 5); /* and rises, beyond the first span */
    fill(store, 1500, 2400, 5000, 5);
    hf_archive_report three = archive(store, "d.hfz", "c.hfz");
    const uint64_t last = content_of(store);
    assert_ok(hf_close(store));
    assert_true(two.pages_total < one.pages_total);
    assert_true(three.pages_total > 2048);
    assert_ok(restore_code("r.hf", "a.hfz", NULL, NULL, NULL));
    assert_restored("r.hf", first, full.commit);
    assert_ok(restore_code("r.hf", "a.hfz", "b.hfz", "c.hfz", "d.hfz"));
    assert_restored("r.hf", last, three.commit);
}

static void test_archive_of_a_few_changes_is_small(void **state)
{
    (void)state;
    hf_store *store = make(HF_ENGINE_LOG, 0, 0);
    fill(store, 0, 2000, 3000, 1);
    assert_ok(hf_close(store)); /* a checkpoint */
    store = reopen(path, HF_OPEN_EXISTING);
    archive(store, "a.hfz", NULL);
    fill(store, 7, 8, 3000, 9);
    hf_archive_report report = archive(store, "b.hfz", "a.hfz");
    assert_in_range(report.pages, 2, 12);
    assert_ok(hf_close(store));
    store = reopen(path, HF_READ_ONLY);
    report = archive(store, "b.hfz", "a.hfz"); /* now by the table's dates alone */
    assert_in_range(report.pages, 2, 12);
    const uint64_t content = content_of(store);
    archive(store, "c.hfz", "b.hfz"); /* nothing has changed */
    assert_ok(hf_close(store));
    assert_ok(restore_code("r.hf", "a.hfz", "b.hfz", "c.hfz", NULL));
    assert_restored("r.hf", content, report.commit);
    /* The restored store is the same one: increments go on from it. */
    store = reopen("r.hf", HF_OPEN_EXISTING);
    fill(store, 3, 4, 3000, 10);
    const uint64_t later = content_of(store);
    report = archive(store, "d.hfz", "c.hfz");
    assert_in_range(report.pages, 2, 12);
    assert_ok(hf_close(store));
    assert_ok(restore_code("s.hf", "a.hfz", "b.hfz", "c.hfz", "d.hfz"));
    assert_restored("s.hf", later, report.commit);
}

static void test_archive_of_every_kind_of_store(void **state)
{
    (void)state;
    for (uint32_t engine = HF_ENGINE_LOG; engine <= HF_ENGINE_DIRECT; engine++)
        for (uint32_t allocator = HF_ALLOC_BEST_FIT; allocator <= HF_ALLOC_SLAB; allocator++)
            for (uint32_t index = HF_INDEX_SET; index <= HF_INDEX_FLAT; index++) {
                hf_archive_options since = HF_ARCHIVE_OPTIONS_INIT;
                hf_remove(path);
                hf_store *store = make(engine, allocator, index);
                fill(store, 0, 100, 1000, 1);
                const uint64_t first = content_of(store);
                hf_archive_report live = archive(store, "a.hfz", NULL);
                assert_ok(restore_code("r.hf", "a.hfz", NULL, NULL, NULL));
                assert_restored("r.hf", first, live.commit);
                since.since = 1;
                since.since_commit = live.commit;
                int fd = open("/dev/null", O_WRONLY);
                assert_code(hf_archive_write(store, fd, &since, NULL),
                            engine == HF_ENGINE_DIRECT ? HF_ENOTSUP : 0);
                close(fd);
                fill(store, 50, 60, 1000, 2);
                const uint64_t second = content_of(store);
                assert_ok(hf_close(store));
                store = reopen(path, HF_READ_ONLY);
                hf_archive_report closed = archive(store, "b.hfz", "a.hfz");
                assert_true(closed.pages < closed.pages_total || closed.pages_total < 40);
                assert_ok(hf_close(store));
                assert_ok(restore_code("r.hf", "a.hfz", "b.hfz", NULL, NULL));
                assert_restored("r.hf", second, closed.commit);
            }
}

static void *drain(void *argument)
{
    const int *fds = argument;
    char bytes[5000];
    ssize_t n;
    int fd = open("a.hfz", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    while ((n = read(fds[0], bytes, sizeof bytes)) > 0)
        if (write(fd, bytes, (size_t)n) != n)
            abort();
    close(fd);
    return NULL;
}

struct feed {
    const char *from, *to;
};
static void *feed(void *argument)
{
    const struct feed *feed = argument;
    char bytes[3000];
    ssize_t n;
    int from = open(feed->from, O_RDONLY), to = open(feed->to, O_WRONLY);
    while ((n = read(from, bytes, sizeof bytes)) > 0)
        if (write(to, bytes, (size_t)n) != n)
            abort();
    close(from);
    close(to);
    return NULL;
}

static void test_archive_through_pipes(void **state)
{
    (void)state;
    int fds[2];
    pthread_t thread;
    hf_archive_report report;
    hf_store *store = make(HF_ENGINE_LOG, 0, 0);
    fill(store, 0, 500, 3000, 1);
    const uint64_t content = content_of(store);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(pthread_create(&thread, NULL, drain, fds), 0);
    assert_ok(hf_archive_write(store, fds[1], NULL, &report));
    close(fds[1]);
    pthread_join(thread, NULL);
    close(fds[0]);
    assert_ok(hf_close(store));
    unlink("fifo");
    assert_int_equal(mkfifo("fifo", 0600), 0);
    struct feed what = {"a.hfz", "fifo"};
    assert_int_equal(pthread_create(&thread, NULL, feed, &what), 0);
    assert_ok(hf_archive_verify("fifo", NULL, NULL));
    pthread_join(thread, NULL);
    assert_int_equal(pthread_create(&thread, NULL, feed, &what), 0);
    assert_ok(restore_code("r.hf", "fifo", NULL, NULL, NULL));
    pthread_join(thread, NULL);
    assert_restored("r.hf", content, report.commit);
}

static void test_archive_is_the_same_with_any_number_of_threads(void **state)
{
    (void)state;
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    hf_store *store = make(HF_ENGINE_LOG, 0, 0);
    fill(store, 0, 2000, 3000, 1);
    uint64_t digest[2] = {0, 0}, bytes = 0;
    for (uint32_t threads = 1; threads <= 5; threads += 2) {
        hf_archive_report report;
        int fd = open("/dev/null", O_WRONLY);
        options.threads = threads;
        options.level = 1;
        assert_ok(hf_archive_write(store, fd, &options, &report));
        close(fd);
        if (threads > 1) {
            assert_memory_equal(digest, report.digest, sizeof digest);
            assert_int_equal(bytes, report.archive_bytes);
        }
        memcpy(digest, report.digest, sizeof digest);
        bytes = report.archive_bytes;
    }
    options.level = 20;
    assert_code(hf_archive_write(store, 1, &options, NULL), HF_EINVAL);
    assert_ok(hf_close(store));
}

/* ---- commits that aren't applied ------------------------------------------------------------- */

static hf_store *shared_store;
static void *hold_view(void *argument)
{
    pthread_barrier_t *barriers = argument;
    hf_view *view;
    if (hf_view_begin(shared_store, &view) != 0)
        abort();
    pthread_barrier_wait(&barriers[0]);
    pthread_barrier_wait(&barriers[1]);
    hf_view_end(view);
    return NULL;
}

static void test_archive_has_what_is_durable_though_a_reader_keeps_it_unapplied(void **state)
{
    (void)state;
    pthread_barrier_t barriers[2];
    pthread_t thread;
    hf_store *store = shared_store = make(HF_ENGINE_LOG, 0, 0);
    fill(store, 0, 300, 3000, 1);
    archive(store, "a.hfz", NULL);
    pthread_barrier_init(&barriers[0], NULL, 2);
    pthread_barrier_init(&barriers[1], NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, hold_view, barriers), 0);
    pthread_barrier_wait(&barriers[0]);
    const uint64_t before = content_of(store);
    for (int i = 0; i < 20; i++)
        fill(store, i * 5, i * 5 + 10, 3000, 100 + (uint64_t)i);
    fill(store, 300, 1500, 3000, 3); /* through a window, beyond the old end */
    assert_true(content_of(store) == before);
    hf_archive_report report = archive(store, "b.hfz", "a.hfz");
    hf_archive_report full = archive(store, "c.hfz", NULL);
    assert_memory_equal(report.digest, full.digest, sizeof full.digest);
    assert_int_equal(report.commit, report.from_commit + 21);
    pthread_barrier_wait(&barriers[1]);
    pthread_join(thread, NULL);
    assert_ok(hf_sync(store));
    const uint64_t after = content_of(store);
    assert_true(after != before);
    assert_ok(hf_close(store));
    assert_ok(restore_code("r.hf", "a.hfz", "b.hfz", NULL, NULL));
    assert_restored("r.hf", after, report.commit);
    assert_ok(restore_code("r.hf", "c.hfz", NULL, NULL, NULL));
    assert_restored("r.hf", after, report.commit);
}

/* A renewal of the log is published front first; who does that may die before the tail follows. */
static void test_archive_beside_a_renewal_that_is_half_published(void **state)
{
    (void)state;
    pthread_barrier_t barriers[2];
    pthread_t thread;
    struct hf__log_front front, ahead;
    struct hf__log_tail tail;
    hf_store *store = shared_store = make(HF_ENGINE_LOG, 0, 0);
    fill(store, 0, 300, 3000, 1);
    assert_ok(hf_sync(store));
    pthread_barrier_init(&barriers[0], NULL, 2);
    pthread_barrier_init(&barriers[1], NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, hold_view, barriers), 0);
    pthread_barrier_wait(&barriers[0]);
    for (int i = 0; i < 20; i++)
        fill(store, i * 5, i * 5 + 10, 3000, 100 + (uint64_t)i);
    hf_archive_report whole = archive(store, "a.hfz", NULL);
    hf__front_read(store, &front);
    hf__tail_read(store, &tail);
    assert_true(front.applied < tail.appended);
    ahead = (struct hf__log_front){.epoch = tail.epoch + 1,
                                   .applied = tail.base,
                                   .end = HF__LOG_FIRST,
                                   .chain = tail.salt + 1};
    hf__front_publish(store, &ahead);
    hf_archive_report beside = archive(store, "b.hfz", NULL);
    hf__front_publish(store, &front);
    assert_int_equal(beside.commit, whole.commit);
    assert_memory_equal(beside.digest, whole.digest, sizeof whole.digest);
    pthread_barrier_wait(&barriers[1]);
    pthread_join(thread, NULL);
    assert_ok(hf_close(store));
}

static void die_with_a_log(struct child *self, void *argument)
{
    pthread_barrier_t barriers[2];
    pthread_t thread;
    (void)argument;
    (void)self;
    hf_store *store = shared_store = reopen(path, HF_OPEN_EXISTING);
    pthread_barrier_init(&barriers[0], NULL, 2);
    pthread_barrier_init(&barriers[1], NULL, 2);
    child_expect(pthread_create(&thread, NULL, hold_view, barriers) == 0);
    pthread_barrier_wait(&barriers[0]); /* the commit can't be applied */
    fill(store, 0, 40, 3000, 55);
    kill(getpid(), SIGKILL);
}

static void test_archive_of_a_store_left_with_its_log(void **state)
{
    (void)state;
    hf_store *store = make(HF_ENGINE_LOG, 0, 0);
    fill(store, 0, 300, 3000, 1);
    archive(store, "a.hfz", NULL);
    assert_ok(hf_close(store));
    struct child child = child_start(die_with_a_log, NULL);
    child_join_killed(&child, SIGKILL);
    assert_true(fixture_any_sidecar_exists(path));
    store = reopen(path, HF_READ_ONLY); /* shows it from private memory; the file has it not */
    const uint64_t content = content_of(store);
    hf_archive_report report = archive(store, "b.hfz", "a.hfz");
    assert_ok(hf_close(store));
    assert_ok(restore_code("r.hf", "a.hfz", "b.hfz", NULL, NULL));
    assert_restored("r.hf", content, report.commit);
}

static void write_and_stay(struct child *self, void *argument)
{
    (void)argument;
    hf_store *store = reopen(path, HF_OPEN_EXISTING);
    fill(store, 0, 40, 3000, 55);
    child_signal(self);
    child_expect(child_wait(self));
    hf_close(store);
}

/* A handle that begins with an archive, of another one's log, can write to that log afterwards. */
static void test_archive_then_commit_beside_another_writer(void **state)
{
    (void)state;
    hf_store *store = make(HF_ENGINE_LOG, 0, 0);
    fill(store, 0, 300, 3000, 1);
    archive(store, "a.hfz", NULL);
    assert_ok(hf_close(store));
    struct child child = child_start(write_and_stay, NULL);
    assert_true(child_wait(&child));
    store = reopen(path, HF_OPEN_EXISTING);
    hf_archive_report report = archive(store, "b.hfz", "a.hfz");
    const uint64_t content = content_of(store);
    assert_true(report.pages < report.pages_total);
    fill(store, 20, 60, 3000, 99);
    child_signal(&child);
    child_join(&child);
    assert_ok(hf_close(store));
    assert_ok(restore_code("r.hf", "a.hfz", "b.hfz", NULL, NULL));
    assert_restored("r.hf", content, report.commit);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void test_archives_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    hf_store *store = make(HF_ENGINE_LOG, 0, 0);
    fill(store, 0, 100, 3000, 1);
    archive(store, "a.hfz", NULL);
    fill(store, 0, 10, 3000, 2);
    archive(store, "b.hfz", "a.hfz");
    fill(store, 0, 10, 3000, 3);
    archive(store, "c.hfz", "b.hfz");
    assert_ok(hf_close(store));
    assert_code(restore_code("r.hf", "b.hfz", NULL, NULL, NULL), HF_EARCHIVE);
    assert_non_null(strstr(hf_last_error()->message, "a full archive comes first"));
    assert_code(restore_code("r.hf", "a.hfz", "c.hfz", NULL, NULL), HF_EARCHIVE);
    assert_non_null(strstr(hf_last_error()->message, "but follows commit"));
    assert_code(restore_code("r.hf", "a.hfz", "c.hfz", "b.hfz", NULL), HF_EARCHIVE);
    assert_code(restore_code("r.hf", "a.hfz", "b.hfz", "b.hfz", NULL), HF_EARCHIVE);
    assert_code(restore_code("r.hf", "a.hfz", "a.hfz", NULL, NULL), HF_EARCHIVE);
    assert_code(restore_code("r.hf", path, NULL, NULL, NULL), HF_EARCHIVE);
    assert_code(restore_code("r.hf", ".", NULL, NULL, NULL), HF_EARCHIVE); /* a directory */
    assert_code(hf_archive_verify(".", NULL, NULL), HF_EARCHIVE);
    assert_code(restore_code("r.hf", "missing", NULL, NULL, NULL), HF_ENOENT);
    assert_false(fixture_exists("r.hf"));
    hf_remove("other.hf");
    fixture_create("other.hf");
    store = reopen("other.hf", HF_OPEN_EXISTING);
    for (int i = 0; i < 10; i++)
        fixture_set(store, "x", i);
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    options.since = 1;
    options.since_commit = 1;
    int fd = open("d.hfz", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_ok(hf_archive_write(store, fd, &options, NULL));
    options.since_archive = "a.hfz";
    assert_code(hf_archive_write(store, fd, &options, NULL), HF_EARCHIVE);
    options.since_archive = "."; /* neither a directory nor a pipe that nobody writes to is waited for */
    assert_code(hf_archive_write(store, fd, &options, NULL), HF_EARCHIVE);
    unlink("since");
    assert_int_equal(mkfifo("since", 0600), 0);
    options.since_archive = "since";
    assert_code(hf_archive_write(store, fd, &options, NULL), HF_EARCHIVE);
    unlink("since");
    options.since_archive = "other.hf";
    assert_code(hf_archive_write(store, fd, &options, NULL), HF_EARCHIVE);
    options.since_archive = NULL;
    options.since_commit = 1000;
    assert_code(hf_archive_write(store, fd, &options, NULL), HF_EINVAL);
    close(fd);
    assert_ok(hf_close(store));
    assert_code(restore_code("r.hf", "a.hfz", "d.hfz", NULL, NULL), HF_EARCHIVE);
    assert_non_null(strstr(hf_last_error()->message, "of another store"));
    const char *archives[] = {"a.hfz"};
    assert_code(hf_restore("other.hf", archives, 1, NULL, NULL), HF_EEXIST);
    assert_ok(hf_check_file("other.hf", NULL, NULL));
    hf_remove("other.hf");
}

/* Two histories of one store that part after a commit: numbers fit, the states don't. */
static void test_archive_of_another_history_is_refused(void **state)
{
    (void)state;
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    hf_store *store = make(HF_ENGINE_LOG, 0, 0);
    fill(store, 0, 100, 3000, 1);
    assert_ok(hf_close(store));
    fixture_copy_file(path, "fork.hf");
    store = reopen(path, HF_OPEN_EXISTING);
    fill(store, 0, 10, 3000, 2);
    hf_archive_report report = archive(store, "a.hfz", NULL);
    assert_ok(hf_close(store));
    store = reopen("fork.hf", HF_OPEN_EXISTING);
    fill(store, 50, 60, 3000, 3);
    hf_archive_report other = archive(store, "b.hfz", NULL);
    assert_int_equal(other.commit, report.commit);
    fill(store, 60, 61, 3000, 4);
    archive(store, "c.hfz", "b.hfz");
    options.since = 1;
    options.since_commit = report.commit;
    int fd = open("d.hfz", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_ok(hf_archive_write(store, fd, &options, NULL));
    close(fd);
    assert_ok(hf_close(store));
    assert_code(restore_code("r.hf", "a.hfz", "c.hfz", NULL, NULL), HF_EARCHIVE);
    assert_non_null(strstr(hf_last_error()->message, "than the one restored"));
    assert_code(restore_code("r.hf", "a.hfz", "d.hfz", NULL, NULL), HF_EARCHIVE);
    assert_non_null(strstr(hf_last_error()->message, "isn't the state it leads to"));
    assert_false(fixture_exists("r.hf"));
    assert_ok(restore_code("r.hf", "b.hfz", "d.hfz", NULL, NULL));
    unlink("fork.hf");
}

static void test_archive_never_takes_rot(void **state)
{
    (void)state;
    hf_store *store = make(HF_ENGINE_LOG, 0, 0);
    fill(store, 0, 300, 3000, 1);
    hf_archive_report report = archive(store, "a.hfz", NULL);
    assert_ok(hf_close(store));
    fixture_patch(path, hf__file_offset(UINT64_C(40) * 4096 + 77), "rot!", 4);
    store = reopen(path, HF_OPEN_EXISTING);
    int fd = open("/dev/null", O_WRONLY);
    assert_code(hf_archive_write(store, fd, NULL, NULL), HF_ECORRUPT);
    assert_non_null(strstr(hf_last_error()->message, "page 40 "));
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    options.since = 1;
    options.since_commit = report.commit;
    assert_ok(hf_archive_write(store, fd, &options, NULL)); /* doesn't read that page */
    close(fd);
    assert_ok(hf_close(store));
}

static void test_archive_where_there_is_none(void **state)
{
    (void)state;
    hf_store *store;
    hf_txn *txn;
    assert_ok(hf_open_heap(1 << 20, NULL, &store));
    assert_code(hf_archive_write(store, 1, NULL, NULL), HF_ENOTSUP);
    assert_ok(hf_close(store));
    store = make(HF_ENGINE_LOG, 0, 0);
    assert_ok(hf_begin(store, &txn));
    assert_code(hf_archive_write(store, 1, NULL, NULL), HF_ENESTED);
    hf_abort(txn);
    assert_code(hf_archive_write(store, -1, NULL, NULL), HF_EINVAL);
    assert_code(hf_archive_write(NULL, 1, NULL, NULL), HF_EINVAL);
    assert_ok(hf_close(store));
    store = reopen(path, HF_COPY_ON_WRITE);
    assert_code(hf_archive_write(store, 1, NULL, NULL), HF_ENOTSUP);
    assert_ok(hf_close(store));
    assert_code(hf_restore("r.hf", NULL, 0, NULL, NULL), HF_EINVAL);
    assert_code(hf_archive_verify(NULL, NULL, NULL), HF_EINVAL);
}

static void free_slots(hf_store *store, const hf_ref *refs, int from, int to)
{
    hf_txn *txn;
    assert_ok(hf_begin(store, &txn));
    for (int i = from; i < to; i++)
        hf_free(txn, hf_at(hf_txn_view(txn), refs[i]));
    assert_ok(hf_commit(txn));
}

/* What the first archive had above the used end of the second one was chunks of slots: none of them is one
 * in the restored store, where blocks come to lie there that nobody writes. */
static void restore_over_chunks(uint32_t engine)
{
    enum { MANY = 3000, BYTES = 320, BLOCKS = 9, BLOCK_BYTES = 60000 };
    static hf_ref refs[MANY];
    void *blocks[BLOCKS];
    hf_txn *txn;
    hf_store *store = make(engine, HF_ALLOC_SLAB, 0);
    assert_ok(hf_begin(store, &txn));
    for (int i = 0; i < MANY; i++)
        refs[i] = hf_ref_of(hf_txn_view(txn), hf_alloc(txn, BYTES));
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store)); /* the pages of the direct engine are dated then                    */
    store = reopen(path, HF_OPEN_EXISTING);
    archive(store, "a.hfz", NULL);
    free_slots(store, refs, 0, MANY / 5);
    free_slots(store, refs, MANY / 5, MANY);
    assert_ok(hf_close(store));
    store = reopen(path, HF_OPEN_EXISTING);
    archive(store, "b.hfz", "a.hfz");
    assert_ok(hf_close(store));
    assert_ok(restore_code("r.hf", "a.hfz", "b.hfz", NULL, NULL));
    store = reopen("r.hf", HF_OPEN_EXISTING);
    assert_ok(hf_begin(store, &txn));
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = hf_alloc_aligned(txn, BLOCK_BYTES, 65536);
        assert_got(blocks[i]);
        assert_true(hf_usable_bytes(hf_txn_view(txn), blocks[i]) >= BLOCK_BYTES);
    }
    for (int i = 0; i < BLOCKS; i++)
        hf_free(txn, blocks[i]);
    assert_ok(hf_commit(txn));
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
    assert_ok(hf_check_file("r.hf", NULL, NULL));
}

static void test_restored_store_has_nothing_above_its_end(void **state)
{
    (void)state;
    restore_over_chunks(HF_ENGINE_DIRECT);
    restore_over_chunks(HF_ENGINE_LOG);
}

static int cancel_at(void *user, uint64_t done, uint64_t total)
{
    int *left = user;
    assert_true(total == 0 || done <= total);
    return --*left < 0;
}

static void test_archive_can_be_cancelled(void **state)
{
    (void)state;
    hf_store *store = make(HF_ENGINE_LOG, 0, 0);
    fill(store, 0, 3000, 3000, 1);
    archive(store, "a.hfz", NULL);
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    hf_restore_options restore = HF_RESTORE_OPTIONS_INIT;
    const char *archives[] = {"a.hfz"};
    int left = 3, fd = open("/dev/null", O_WRONLY);
    options.on_progress = restore.on_progress = cancel_at;
    options.user = restore.user = &left;
    assert_code(hf_archive_write(store, fd, &options, NULL), HF_ECANCELLED);
    close(fd);
    left = 3;
    assert_code(hf_archive_verify("a.hfz", &options, NULL), HF_ECANCELLED);
    left = 3;
    unlink("r.hf");
    assert_code(hf_restore("r.hf", archives, 1, &restore, NULL), HF_ECANCELLED);
    assert_false(fixture_exists("r.hf"));
    fill(store, 0, 1, 3000, 2); /* no view was left */
    assert_ok(hf_close(store));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_archive_of_a_live_store_and_three_increments, start),
        cmocka_unit_test_setup(test_archive_of_a_few_changes_is_small, start),
        cmocka_unit_test_setup(test_archive_of_every_kind_of_store, start),
        cmocka_unit_test_setup(test_archive_through_pipes, start),
        cmocka_unit_test_setup(test_archive_is_the_same_with_any_number_of_threads, start),
        cmocka_unit_test_setup(test_archive_has_what_is_durable_though_a_reader_keeps_it_unapplied,
                               start),
        cmocka_unit_test_setup(test_archive_beside_a_renewal_that_is_half_published, start),
        cmocka_unit_test_setup(test_archive_of_a_store_left_with_its_log, start),
        cmocka_unit_test_setup(test_archive_then_commit_beside_another_writer, start),
        cmocka_unit_test_setup(test_archives_that_do_not_fit_are_refused, start),
        cmocka_unit_test_setup(test_archive_of_another_history_is_refused, start),
        cmocka_unit_test_setup(test_archive_never_takes_rot, start),
        cmocka_unit_test_setup(test_archive_where_there_is_none, start),
        cmocka_unit_test_setup(test_restored_store_has_nothing_above_its_end, start),
        cmocka_unit_test_setup(test_archive_can_be_cancelled, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
