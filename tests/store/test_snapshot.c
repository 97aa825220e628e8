/* SPDX-License-Identifier: MIT */
/*
 * test_snapshot.c - hf_snapshot: the copy is one commit, whole, its own, and rot doesn't get into it unseen
 */
#include "store_fixture.h"

#include "store/layout.h"
#include "store/store.h"
#include "tests/support/mortal_os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

static char path[] = "snap.hf", copy_path[] = "copy.hf";
static hf_snapshot_report report;

/* ---- a store whose content is told by one number --------------------------------------------- */

#define OBJECTS 40u

static hf_store *open_as(const char *name, uint32_t mode, uint32_t engine, uint32_t durability)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    options.mode = mode;
    options.engine = engine;
    options.durability = durability;
    assert_ok(hf_open(name, &options, &store));
    return store;
}

static hf_store *create(uint32_t engine, uint32_t durability)
{
    return open_as(path, HF_CREATE_NEW, engine, durability);
}

static size_t large = 3000000;

static size_t size_of(unsigned i, uint64_t k)
{
    return i == 0 ? 64 : i == 1 ? large * (k % 3) + 1 : 3000 + 61 * i;
}

/* Transaction k: objects 2 to k anew or changed, one of megabytes made or gone (a window; a used end that
 * falls). */
static void commit_k(hf_store *store, uint64_t k)
{
    hf_txn *txn;
    assert_ok(hf_begin(store, &txn));
    for (unsigned i = 0; i < OBJECTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "o%02u", i);
        if (i > 1 && i % 7 != k % 7 && k != 1)
            continue;
        if (hf_destroy(txn, name) != 0)
            assert_int_equal(hf_last_error()->code, HF_ENOTFOUND);
        unsigned char *p = hf_construct(txn, name, NULL, size_of(i, k));
        assert_got(p);
        memset(p, (int)(k + i), size_of(i, k));
    }
    assert_ok(hf_commit(txn));
}

static uint64_t last_of(unsigned i, uint64_t k)
{
    while (i > 1 && k > 1 && i % 7 != k % 7)
        k--;
    return k;
}

static void assert_shows(hf_store *store, uint64_t k)
{
    hf_view *view;
    assert_ok(hf_view_begin(store, &view));
    for (unsigned i = 0; i < OBJECTS; i++) {
        char name[16];
        size_t count = 0;
        const uint64_t last = last_of(i, k);
        snprintf(name, sizeof name, "o%02u", i);
        const unsigned char *p = hf_find(view, name, NULL, &count);
        assert_got(p);
        assert_int_equal(count, size_of(i, last));
        for (size_t b = 0; b < count; b += b < 8192 ? 1 : 997)
            assert_int_equal(p[b], (unsigned char)(last + i));
    }
    hf_view_end(view);
}

static int snapshot_of(hf_store *store, uint32_t method, uint32_t flags)
{
    hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
    memset(&report, 0xee, sizeof report);
    options.method = method;
    options.flags = flags;
    options.report = &report;
    return hf_snapshot(store, copy_path, &options);
}

/* A clean store, its pages all true, of state k; then it goes. */
static void assert_copy(uint64_t k)
{
    hf_check_report check;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *copy;
    options.mode = HF_READ_ONLY;
    assert_int_equal(fixture_file_bytes(copy_path), report.file_bytes);
    assert_false(fixture_any_sidecar_exists(copy_path));
    assert_ok(hf_check_file(copy_path, NULL, &check));
    assert_int_equal(check.replayed_commits, 0);
    assert_int_equal(check.pages_newer, 0);
    assert_ok(hf_open(copy_path, &options, &copy));
    assert_shows(copy, k);
    assert_ok(hf_close(copy));
    copy = open_as(copy_path, HF_OPEN_EXISTING, 0, 0);
    commit_k(copy, k + 1);
    assert_ok(hf_close(copy));
    assert_ok(hf_check_file(copy_path, NULL, NULL));
    assert_ok(hf_remove(copy_path));
}

static unsigned files(void)
{
    unsigned count = 0;
    DIR *dir = opendir(".");
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* A directory of its own, since all that is in it goes before each test. */
static char place[] = "snapshot-XXXXXX";

static int enter_place(void **state)
{
    (void)state;
    return mkdtemp(place) == NULL || chdir(place) != 0;
}

static int start(void **state)
{
    (void)state;
    large = 3000000;
    DIR *dir = opendir(".");
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.')
            unlink(entry->d_name);
    closedir(dir);
    return 0;
}

static int leave_place(void **state)
{
    start(state);
    return chdir("..") != 0 || rmdir(place) != 0;
}

/* ---- what it is ------------------------------------------------------------------------------ */

static void test_snapshot_of_each_class_by_each_method(void **state)
{
    static const uint32_t methods[] = {HF_SNAPSHOT_ANY, HF_SNAPSHOT_COPY_RANGE, HF_SNAPSHOT_COPY};
    for (uint32_t durability = HF_SYNC; durability <= HF_NOSYNC; durability++)
        for (int i = 0; i < 3; i++) {
            start(state);
            hf_store *store = create(HF_ENGINE_LOG, durability);
            for (uint64_t k = 1; k <= 4; k++) {
                commit_k(store, k);
                if (hf_sync(store) != 0) /* durable, and the housekeeper is about to apply it */
                    assert_int_equal(hf_last_error()->code, HF_EBUSY);
                assert_ok(snapshot_of(store, methods[i], 0));
                assert_int_equal(report.commit, k);
                if (methods[i] != HF_SNAPSHOT_ANY)
                    assert_int_equal(report.method, methods[i]);
                assert_true(report.moved_bytes + report.shared_bytes + report.hole_bytes != 0);
                assert_copy(k);
                assert_shows(store, k);
            }
            assert_ok(hf_close(store));
            assert_ok(hf_check_file(path, NULL, NULL));
            assert_int_equal(files(), 1);
        }
}

static void test_snapshot_is_a_store_of_its_own(void **state)
{
    (void)state;
    struct hf__file_header of_source, of_copy;
    hf_store *store = create(0, 0);
    commit_k(store, 1);
    assert_ok(snapshot_of(store, 0, 0));
    hf_store *copy = open_as(copy_path, HF_OPEN_EXISTING, 0, 0); /* in one process, at the same time */
    assert_ok(hf__header_read(store->fd, path, true, &of_source));
    assert_ok(hf__header_read(copy->fd, copy_path, true, &of_copy));
    assert_memory_not_equal(of_source.constants.uuid, of_copy.constants.uuid, 16);
    assert_int_equal(of_source.constants.salt, of_copy.constants.salt);
    assert_ok(hf_close(copy));
    assert_ok(hf_close(store));
}

static void *commits_4_to_8(void *argument)
{
    for (uint64_t k = 4; k <= 8; k++)
        commit_k(argument, k);
    return NULL;
}

/* Within an older view: what became durable since is laid over what the file shows. */
static void test_snapshot_has_what_is_durable_and_not_applied(void **state)
{
    for (uint32_t method = HF_SNAPSHOT_COPY_RANGE; method <= HF_SNAPSHOT_COPY; method++) {
        pthread_t writer;
        hf_view *view;
        start(state);
        large = 3000; /* a low used end: what comes next goes through windows */
        hf_store *store = create(0, HF_SYNC);
        for (uint64_t k = 1; k <= 3; k++)
            commit_k(store, k);
        large = 5000000;
        assert_ok(hf_view_begin(store, &view));
        assert_int_equal(pthread_create(&writer, NULL, commits_4_to_8, store), 0);
        pthread_join(writer, NULL);
        assert_shows(store, 3);
        assert_ok(snapshot_of(store, method, 0));
        assert_int_equal(report.commit, 8);
        assert_int_equal(report.durable, 8);
        assert_int_equal(report.laid_commits, 5);
        assert_shows(store, 3);
        hf_view_end(view);
        assert_copy(8);
        assert_ok(hf_close(store));
        assert_ok(hf_check_file(path, NULL, NULL));
    }
}

static void test_snapshot_of_the_direct_engine(void **state)
{
    (void)state;
    hf_store *store = create(HF_ENGINE_DIRECT, 0);
    for (uint64_t k = 1; k <= 3; k++) {
        commit_k(store, k);
        assert_ok(snapshot_of(store, 0, 0));
        assert_int_equal(report.table_stale, 1);
        assert_int_equal(report.pages_verified, 0);
        assert_copy(k);
    }
    assert_ok(hf_close(store));
    store = open_as(path, HF_OPEN_EXISTING, 0, 0);
    assert_ok(snapshot_of(store, HF_SNAPSHOT_COPY, 0));
    assert_int_equal(report.table_stale, 0);
    assert_true(report.pages_verified > 30);
    assert_copy(3);
    assert_ok(hf_close(store));
}

/* ---- whose handle ---------------------------------------------------------------------------- */

static void read_and_copy(struct child *self, void *argument)
{
    const uint64_t k = *(uint64_t *)argument;
    (void)self;
    hf_store *store = open_as(path, HF_READ_ONLY, 0, 0);
    child_expect(snapshot_of(store, 0, 0) == 0);
    child_expect(report.commit == k);
    assert_copy(k);
    hf_close(store);
}

static void test_snapshot_by_a_reader_beside_the_writer(void **state)
{
    (void)state;
    hf_store *store = create(0, 0);
    for (uint64_t k = 1; k <= 5; k++) {
        commit_k(store, k);
        child_run(read_and_copy, &k);
    }
    assert_ok(hf_close(store));
}

/* Whoever opens the log first opens it for what the handle may do: a commit follows. */
static void copy_verify_and_write(struct child *self, void *argument)
{
    (void)self, (void)argument;
    hf_store *store = open_as(path, HF_OPEN_EXISTING, 0, 0);
    child_expect(hf_verify(store, NULL, NULL) == 0);
    child_expect(snapshot_of(store, 0, 0) == 0);
    commit_k(store, 4);
    hf_close(store);
}

static void test_snapshot_by_a_second_writer(void **state)
{
    (void)state;
    hf_store *store = create(0, 0);
    for (uint64_t k = 1; k <= 3; k++)
        commit_k(store, k);
    child_run(copy_verify_and_write, NULL);
    assert_copy(3);
    commit_k(store, 5);
    assert_ok(hf_close(store));
}

static void die_with_three(struct child *self, void *argument)
{
    (void)self;
    hf_store *store = open_as(path, HF_CREATE_NEW, *(uint32_t *)argument, 0);
    for (uint64_t k = 1; k <= 3; k++)
        commit_k(store, k);
    kill(getpid(), SIGKILL);
}

static void test_snapshot_of_a_store_that_was_left(void **state)
{
    for (uint32_t engine = HF_ENGINE_LOG; engine <= HF_ENGINE_DIRECT; engine++) {
        start(state);
        struct child child = child_start(die_with_three, &engine);
        child_join_killed(&child, SIGKILL);
        hf_store *store = open_as(path, HF_READ_ONLY, 0, 0);
        assert_ok(snapshot_of(store, 0, 0));
        assert_int_equal(report.commit, 3);
        assert_copy(3);
        assert_ok(hf_close(store));
        store = open_as(path, HF_COPY_ON_WRITE, 0, 0);
        commit_k(store, 4);
        assert_ok(snapshot_of(store, 0, 0));
        assert_int_equal(report.method, HF_SNAPSHOT_MEMORY);
        assert_copy(4);
        assert_ok(hf_close(store));
        store = open_as(path, HF_OPEN_EXISTING, 0, 0);
        assert_ok(snapshot_of(store, 0, 0));
        assert_copy(3);
        assert_ok(hf_close(store));
    }
}

static void test_snapshot_of_a_private_state(void **state)
{
    (void)state;
    hf_store *store = create(0, 0);
    for (uint64_t k = 1; k <= 3; k++)
        commit_k(store, k);
    assert_ok(hf_close(store));
    store = open_as(path, HF_COPY_ON_WRITE, 0, 0);
    assert_ok(snapshot_of(store, 0, 0));
    assert_true(report.pages_verified > 30);
    assert_copy(3);
    for (uint64_t k = 4; k <= 7; k++) {
        commit_k(store, k);
        assert_ok(snapshot_of(store, 0, 0));
        assert_copy(k);
    }
    assert_code(snapshot_of(store, HF_SNAPSHOT_COPY, 0), HF_ENOTSUP);
    assert_ok(hf_close(store));
    assert_ok(hf_check_file(path, NULL, NULL));
    assert_int_equal(files(), 1);
}

static void test_snapshot_of_memory(void **state)
{
    static _Alignas(4096) unsigned char buffer[8 << 20];
    (void)state;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    options.size_max_bytes = 64 << 20;
    assert_ok(hf_open_heap(16 << 20, &options, &store));
    commit_k(store, 1);
    assert_ok(snapshot_of(store, 0, 0));
    assert_copy(1);
    assert_ok(hf_close(store));
    options = (hf_options)HF_OPTIONS_INIT;
    options.mode = HF_CREATE_NEW;
    assert_ok(hf_open_buffer(buffer, sizeof buffer, &options, &store));
    commit_k(store, 1);
    assert_ok(snapshot_of(store, 0, 0));
    assert_int_equal(report.method, HF_SNAPSHOT_MEMORY);
    assert_ok(hf_check_file(copy_path, NULL, NULL));
    assert_ok(hf_close(store));
}

/* ---- rot ------------------------------------------------------------------------------------- */

static char named[256];
static unsigned findings;

static void on_finding(void *user, const hf_finding *finding)
{
    (void)user;
    findings++;
    snprintf(named, sizeof named, "%s %s", finding->rule, finding->expected);
}

static void flip_in(uint64_t offset)
{
    unsigned char byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, (off_t)hf__file_offset(offset)), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)hf__file_offset(offset)), 1);
    close(fd);
}

static int snapshot_and_listen(hf_store *store, uint32_t method, uint32_t flags)
{
    hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
    options.method = method;
    options.flags = flags;
    options.on_finding = on_finding;
    options.report = &report;
    findings = 0;
    return hf_snapshot(store, copy_path, &options);
}

static void test_snapshot_names_a_rotten_page_and_stops(void **state)
{
    static const uint32_t methods[] = {HF_SNAPSHOT_COPY, HF_SNAPSHOT_COPY_RANGE, 0, 0};
    static const uint32_t modes[] = {HF_OPEN_EXISTING, HF_OPEN_EXISTING, HF_READ_ONLY,
                                     HF_COPY_ON_WRITE};
    for (int i = 0; i < 4; i++) {
        hf_view *view;
        start(state);
        hf_store *store = create(0, 0);
        commit_k(store, 1);
        assert_ok(hf_view_begin(store, &view));
        const uint64_t at = hf_ref_of(view, hf_find(view, "o20", NULL, NULL)) + 2000;
        hf_view_end(view);
        assert_ok(hf_close(store));
        flip_in(at);
        store = open_as(path, modes[i], 0, 0);
        assert_code(snapshot_and_listen(store, methods[i], HF_SNAPSHOT_VERIFY), HF_ECORRUPT);
        assert_int_equal(findings, 1);
        assert_non_null(strstr(named, "page.checksum"));
        assert_non_null(strstr(named, "'o20'"));
        assert_false(fixture_exists(copy_path));
        assert_ok(snapshot_and_listen(store, methods[i],
                                      HF_SNAPSHOT_VERIFY | HF_SNAPSHOT_ACCEPT_ROT));
        assert_int_equal(report.pages_rotten, 1);
        hf_check_report check;
        assert_code(hf_check_file(copy_path, NULL, &check), HF_ECORRUPT);
        assert_int_equal(check.pages_rotten, 1); /* it isn't sealed into the copy */
        assert_ok(hf_remove(copy_path));
        assert_ok(snapshot_and_listen(store, methods[i], HF_SNAPSHOT_UNVERIFIED));
        assert_int_equal(findings, 0);
        assert_code(hf_check_file(copy_path, NULL, &check), HF_ECORRUPT);
        assert_ok(hf_close(store));
    }
}

/* The page that every snapshot changes is compared before it does. */
static void test_snapshot_finds_rot_in_the_first_page(void **state)
{
    (void)state;
    hf_store *store = create(0, 0);
    commit_k(store, 1);
    assert_ok(hf_close(store));
    flip_in(2048);
    store = open_as(path, HF_READ_ONLY, 0, 0);
    assert_code(snapshot_and_listen(store, HF_SNAPSHOT_COPY, 0), HF_ECORRUPT);
    assert_ok(hf_close(store));
}

/* ---- what it refuses, and leaves ------------------------------------------------------------- */

static uint64_t calls_left, calls_made;

static int on_progress(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    assert_true(done <= total);
    calls_made++;
    return calls_left != 0 && --calls_left == 0;
}

static void test_snapshot_cancelled_leaves_nothing(void **state)
{
    (void)state;
    hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
    hf_store *store = create(0, 0);
    commit_k(store, 1);
    options.on_progress = on_progress;
    options.method = HF_SNAPSHOT_COPY;
    options.report = &report;
    calls_left = calls_made = 0;
    assert_ok(hf_snapshot(store, copy_path, &options));
    assert_ok(hf_remove(copy_path));
    const uint64_t calls = calls_made;
    const unsigned before = files();
    assert_true(calls > 3);
    memset(&report, 0xee, sizeof report);
    for (uint64_t i = 1; i <= calls; i++) {
        calls_left = i;
        assert_code(hf_snapshot(store, copy_path, &options), HF_ECANCELLED);
        assert_int_equal(files(), before);
        assert_int_equal(report.commit, UINT64_C(0xeeeeeeeeeeeeeeee));
    }
    commit_k(store, 2); /* the view has ended */
    assert_ok(hf_sync(store));
    assert_shows(store, 2);
    assert_ok(hf_close(store));
}

static void test_snapshot_misuse(void **state)
{
    (void)state;
    hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
    hf_txn *txn;
    hf_store *store = create(0, 0);
    commit_k(store, 1);
    assert_code(hf_snapshot(NULL, copy_path, NULL), HF_EINVAL);
    assert_code(hf_snapshot(store, NULL, NULL), HF_EINVAL);
    assert_code(snapshot_of(store, HF_SNAPSHOT_MEMORY, 0), HF_EINVAL);
    assert_code(snapshot_of(store, 0, HF_SNAPSHOT_VERIFY | HF_SNAPSHOT_UNVERIFIED), HF_EINVAL);
    assert_code(snapshot_of(store, 0, 1u << 30), HF_EINVAL);
    options.permissions = 010000;
    assert_code(hf_snapshot(store, copy_path, &options), HF_EINVAL);
    assert_code(hf_snapshot(store, path, NULL), HF_EEXIST);
    assert_code(hf_snapshot(store, "no/such/directory", NULL), HF_ENOENT);
    assert_ok(hf_begin(store, &txn));
    assert_code(hf_snapshot(store, copy_path, NULL), HF_ENESTED);
    hf_abort(txn);
    assert_false(fixture_exists(copy_path));
    assert_ok(hf_close(store));
}

static void test_snapshot_replaces_a_store(void **state)
{
    (void)state;
    hf_store *store = create(0, 0);
    commit_k(store, 1);
    assert_ok(snapshot_of(store, 0, HF_SNAPSHOT_REPLACE)); /* there is none yet */
    commit_k(store, 2);
    assert_code(snapshot_of(store, 0, 0), HF_EEXIST);
    hf_store *copy = open_as(copy_path, HF_READ_ONLY, 0, 0);
    assert_code(snapshot_of(store, 0, HF_SNAPSHOT_REPLACE), HF_EALREADYOPEN);
    assert_ok(hf_close(copy));
    assert_ok(snapshot_of(store, 0, HF_SNAPSHOT_REPLACE));
    assert_copy(2);
    hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
    options.flags = HF_SNAPSHOT_REPLACE;
    assert_code(hf_snapshot(store, path, &options), HF_EALREADYOPEN); /* itself */
    FILE *other = fopen(copy_path, "w");
    fputs("something else, of more bytes than a header takes to be told apart from nothing\n", other);
    fclose(other);
    assert_code(snapshot_of(store, 0, HF_SNAPSHOT_REPLACE), HF_ENOTSTORE);
    assert_true(fixture_exists(copy_path));
    assert_ok(hf_close(store));
}

/* ---- a store that is to be replaced and can't be recovered now ------------------------------- */

static void *commits_2(void *store)
{
    commit_k(store, 2);
    return NULL;
}

static void commit_and_die(struct child *self, void *argument)
{
    (void)self;
    (void)argument;
    hf_store *store = open_as(copy_path, HF_CREATE_NEW, HF_ENGINE_LOG, HF_SYNC);
    hf_view *view;
    pthread_t writer;
    large = 3000;
    commit_k(store, 1);
    child_expect(hf_view_begin(store, &view) == 0); /* what comes is in the log alone */
    child_expect(pthread_create(&writer, NULL, commits_2, store) == 0);
    child_expect(pthread_join(writer, NULL) == 0);
    raise(SIGKILL);
}

static ssize_t disk_full(int fd, const void *buffer, size_t size_bytes, off_t offset)
{
    (void)fd, (void)buffer, (void)size_bytes, (void)offset;
    errno = ENOSPC;
    return -1;
}

static ssize_t range_full(int from_fd, off_t from, int fd, off_t to, size_t size_bytes)
{
    (void)from_fd, (void)from, (void)fd, (void)to, (void)size_bytes;
    errno = ENOSPC;
    return -1;
}

/* On a full disk its commits can't be applied, and the snapshot fails: they are all still there. */
static void test_snapshot_that_fails_leaves_the_old_store_its_log(void **state)
{
    (void)state;
    static struct hf__os full;
    struct child child = child_start(commit_and_die, NULL);
    child_join_killed(&child, SIGKILL);
    assert_true(fixture_any_sidecar_exists(copy_path));
    hf_store *store = create(0, 0);
    commit_k(store, 5);
    full = hf__os_system;
    full.pwrite = full.pwrite_apart = disk_full;
    full.copy_range = range_full;
    hf__os = &full;
    const int code = snapshot_of(store, HF_SNAPSHOT_COPY_RANGE, HF_SNAPSHOT_REPLACE);
    hf__os = &hf__os_system;
    assert_code(code, HF_ENOSPC);
    large = 3000;
    hf_store *copy = open_as(copy_path, HF_OPEN_EXISTING, 0, 0);
    assert_shows(copy, 2);
    assert_ok(hf_close(copy));
    assert_ok(snapshot_of(store, 0, HF_SNAPSHOT_REPLACE));
    assert_ok(hf_close(store));
    assert_int_equal(files(), 2);
}

/* ---- what the system returns ----------------------------------------------------------------- */

static const off_t behind = 1 << 20;
static int source_fd;

static int clone_not(int fd, int from_fd)
{
    (void)fd, (void)from_fd;
    errno = EOPNOTSUPP;
    return -1;
}

static ssize_t range_ends(int from_fd, off_t from, int fd, off_t to, size_t size_bytes)
{
    const size_t left = from < behind ? (size_t)(behind - from) : 0;
    return left == 0 ? 0
                     : hf__os_system.copy_range(from_fd, from, fd, to,
                                                size_bytes < left ? size_bytes : left);
}

static ssize_t source_ends(int fd, void *buffer, size_t size_bytes, off_t offset)
{
    if (fd == source_fd && offset >= behind)
        return 0;
    return hf__os_system.pread(fd, buffer, size_bytes, offset);
}

/* Some file systems' copy_file_range says 0 amidst the data: that isn't the end. */
static void test_snapshot_goes_on_where_a_method_stops(void **state)
{
    (void)state;
    static struct hf__os table;
    hf_store *store = create(HF_ENGINE_LOG, 0);
    commit_k(store, 1);
    assert_ok(hf_sync(store));
    table = hf__os_system;
    table.clone = clone_not;
    table.copy_range = range_ends;
    hf__os = &table;
    assert_ok(snapshot_of(store, HF_SNAPSHOT_ANY, HF_SNAPSHOT_UNVERIFIED));
    assert_int_equal(report.method, HF_SNAPSHOT_COPY);
    hf__os = &hf__os_system;
    assert_copy(1);
    hf__os = &table;
    assert_code(snapshot_of(store, HF_SNAPSHOT_COPY_RANGE, HF_SNAPSHOT_UNVERIFIED), HF_ENOTSUP);
    hf__os = &hf__os_system;
    assert_ok(hf_close(store));
}

static void test_snapshot_of_a_file_that_is_cut_meanwhile_fails(void **state)
{
    (void)state;
    static struct hf__os table;
    hf_store *store = create(HF_ENGINE_LOG, 0);
    commit_k(store, 1);
    assert_ok(hf_sync(store));
    source_fd = store->fd;
    table = hf__os_system;
    table.pread = source_ends;
    hf__os = &table;
    const int code = snapshot_of(store, HF_SNAPSHOT_COPY, HF_SNAPSHOT_UNVERIFIED);
    hf__os = &hf__os_system;
    assert_code(code, HF_ETRUNCATED);
    assert_false(fixture_exists(copy_path));
    assert_ok(hf_close(store));
}

/* ---- killed ---------------------------------------------------------------------------------- */

struct death {
    int64_t at;
    uint32_t flags;
};

static void snapshot_and_die(struct child *self, void *argument)
{
    const struct death *death = argument;
    (void)self;
    hf_store *store = open_as(path, HF_OPEN_EXISTING, 0, 0);
    commit_k(store, 2);
    mortal_begin((struct mortal_plan){.calls = MORTAL_ANY & ~(unsigned)MORTAL_FUTEX,
                                      .left = death->at,
                                      .when = MORTAL_HALF});
    const int code = snapshot_of(store, 0, death->flags);
    hf__os = &hf__os_system;
    _exit(code == 0 ? 7 : 1);
}

/* At each call: the copy is whole or not there (or still the old one), and the next one removes what is
 * left. */
static void test_snapshot_killed_at_each_call(void **state)
{
    for (uint32_t flags = 0; flags <= HF_SNAPSHOT_REPLACE; flags++) {
        int status = 0;
        for (int64_t at = 1; !WIFEXITED(status) || at == 1; at++) {
            struct death death = {at, flags};
            start(state);
            large = 30000;
            hf_store *store = create(0, 0);
            commit_k(store, 1);
            if (flags != 0)
                assert_ok(snapshot_of(store, 0, 0));
            assert_ok(hf_close(store));
            struct child child = child_start(snapshot_and_die, &death);
            status = child_end(&child);
            assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 7);
            if (fixture_exists(copy_path))
                assert_ok(hf_check_file(copy_path, NULL, NULL));
            else
                assert_int_equal(flags, 0);
            store = open_as(path, HF_OPEN_EXISTING, 0, 0);
            assert_shows(store, 2);
            assert_ok(snapshot_of(store, 0, HF_SNAPSHOT_REPLACE));
            assert_copy(2);
            assert_ok(hf_close(store));
            assert_ok(hf_check_file(path, NULL, NULL));
            assert_int_equal(files(), 1);
        }
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup(f, start)
    const struct CMUnitTest tests[] = {
        CASE(test_snapshot_of_each_class_by_each_method),
        CASE(test_snapshot_is_a_store_of_its_own),
        CASE(test_snapshot_has_what_is_durable_and_not_applied),
        CASE(test_snapshot_of_the_direct_engine),
        CASE(test_snapshot_by_a_reader_beside_the_writer),
        CASE(test_snapshot_by_a_second_writer),
        CASE(test_snapshot_of_a_store_that_was_left),
        CASE(test_snapshot_of_a_private_state),
        CASE(test_snapshot_of_memory),
        CASE(test_snapshot_names_a_rotten_page_and_stops),
        CASE(test_snapshot_finds_rot_in_the_first_page),
        CASE(test_snapshot_cancelled_leaves_nothing),
        CASE(test_snapshot_misuse),
        CASE(test_snapshot_replaces_a_store),
        CASE(test_snapshot_that_fails_leaves_the_old_store_its_log),
        CASE(test_snapshot_goes_on_where_a_method_stops),
        CASE(test_snapshot_of_a_file_that_is_cut_meanwhile_fails),
        CASE(test_snapshot_killed_at_each_call),
    };
#undef CASE
    return cmocka_run_group_tests(tests, enter_place, leave_place);
}
