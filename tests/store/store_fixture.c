/* SPDX-License-Identifier: MIT */
/* store_fixture.c - see store_fixture.h */
#include "store_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

const hf_type value_type = {"value", 1, sizeof(int64_t), 8, HF_TYPE_BLOB, NULL, 0};

/* ---- asserts --------------------------------------------------------------------------------- */

void fixture_assert_code(int code, int wanted, const char *what, const char *file, int line)
{
    if (code == wanted)
        return;
    print_error("%s\n  gave %s (%d), wanted %s; last error: %s\n", what, hf_error_name(code), code,
                hf_error_name(wanted), hf_last_error()->message);
    _fail(file, line);
}

void fixture_assert_null(const void *p, int wanted, const char *what, const char *file, int line)
{
    if (p == NULL && hf_last_error()->code == wanted)
        return;
    print_error("%s\n  gave %p with %s, wanted NULL with %s; last error: %s\n", what, p,
                hf_error_name(hf_last_error()->code), hf_error_name(wanted),
                hf_last_error()->message);
    _fail(file, line);
}

void fixture_assert_got(const void *p, const char *what, const char *file, int line)
{
    if (p != NULL)
        return;
    print_error("%s\n  gave NULL; last error: %s\n", what, hf_last_error()->message);
    _fail(file, line);
}

/* ---- files ----------------------------------------------------------------------------------- */

static char directories[2][PATH_BYTES];
static pid_t directories_owner;

static void empty_directory(const char *directory)
{
    char path[PATH_BYTES + 300];
    DIR *dir = opendir(directory);
    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (unlink(path) != 0)
            rmdir(path);
    }
    closedir(dir);
}

/* Only the process that made them removes them: a child that ends leaves them alone. */
static void remove_directories(void)
{
    for (size_t i = 0; i < 2 && getpid() == directories_owner; i++) {
        if (directories[i][0] != 0) {
            empty_directory(directories[i]);
            rmdir(directories[i]);
        }
    }
}

static const char *directory_in(size_t slot, const char *parent)
{
    if (directories[slot][0] != 0)
        return directories[slot];
    char name[PATH_BYTES];
    snprintf(name, sizeof name, "%s/hf-store-XXXXXX", parent);
    if (mkdtemp(name) == NULL)
        return NULL;
    chmod(name, 0777); /* tests that give up root's rights go on in here */
    if (directories_owner == 0) {
        directories_owner = getpid();
        atexit(remove_directories);
    }
    memcpy(directories[slot], name, sizeof name);
    return directories[slot];
}

const char *fixture_disk_directory(void)
{
    const char *parent = getenv("HF_TEST_DIR");
    if (parent == NULL)
        parent = getenv("TMPDIR");
    const char *out = directory_in(0, parent != NULL ? parent : "/tmp");
    assert_non_null(out);
    return out;
}

const char *fixture_shm_directory(void)
{
    return access("/dev/shm", W_OK) == 0 ? directory_in(1, "/dev/shm") : NULL;
}

enum { SIDECARS = 4 };
static const char *const sidecars[SIDECARS] = {"-lock", "-undo", "-log0", "-log1"};

const char *fixture_path(char out[PATH_BYTES], const char *directory, const char *name)
{
    for (size_t i = SIDECARS + 1; i-- > 0;) {
        int n = snprintf(out, PATH_BYTES, "%s/%s%s", directory, name,
                         i == 0 ? "" : sidecars[i - 1]);
        assert_true(n > 0 && n < PATH_BYTES);
        unlink(out);
    }
    return out;
}

bool fixture_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

bool fixture_sidecar_exists(const char *path, const char *suffix)
{
    char name[PATH_BYTES + 8];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return fixture_exists(name);
}

bool fixture_any_sidecar_exists(const char *path)
{
    for (size_t i = 0; i < SIDECARS; i++) {
        if (fixture_sidecar_exists(path, sidecars[i]))
            return true;
    }
    return false;
}

uint64_t fixture_file_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static unsigned char *read_whole(const char *path, size_t *size_bytes)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = (size_t)fixture_file_bytes(path);
    unsigned char *bytes = malloc(size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, size, file), size);
    fclose(file);
    *size_bytes = size;
    return bytes;
}

bool fixture_file_contains(const char *path, const void *needle, size_t size_bytes)
{
    size_t size;
    unsigned char *bytes = read_whole(path, &size);
    bool found = memmem(bytes, size, needle, size_bytes) != NULL;
    free(bytes);
    return found;
}

void fixture_copy_file(const char *from, const char *to)
{
    size_t size;
    unsigned char *bytes = read_whole(from, &size);
    FILE *file = fopen(to, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(bytes);
}

void fixture_patch(const char *path, uint64_t offset, const void *bytes, size_t size_bytes)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, size_bytes, (off_t)offset), (ssize_t)size_bytes);
    close(fd);
}

/* ---- small stores ---------------------------------------------------------------------------- */

uint32_t fixture_engine = HF_ENGINE_LOG;

const char *fixture_journal(void)
{
    return fixture_engine == HF_ENGINE_LOG ? "-log0" : "-undo";
}

static int open_now(const char *path, uint32_t mode, hf_store **out)
{
    hf_options options = HF_OPTIONS_INIT;
    options.mode = mode;
    options.engine = mode == HF_OPEN_OR_CREATE || mode == HF_CREATE_NEW ? fixture_engine : 0;
    options.lock_timeout_ms = -1;
    options.size_initial_bytes = 256 << 10;
    options.size_max_bytes = (uint64_t)64 << 20;
    return hf_open(path, &options, out);
}

int fixture_begin_on_heap(size_t size_bytes, hf_store **store, hf_txn **txn, hf_view **view)
{
    if (hf_open_heap(size_bytes, NULL, store) != 0 || hf_begin(*store, txn) != 0)
        return -1;
    *view = hf_txn_view(*txn);
    return 0;
}

hf_store *fixture_open(const char *path, uint32_t mode)
{
    hf_store *store = NULL;
    assert_ok(open_now(path, mode, &store));
    assert_non_null(store);
    return store;
}

int fixture_open_code(const char *path, uint32_t mode)
{
    hf_store *store = NULL;
    int code = open_now(path, mode, &store);
    if (code == 0)
        hf_close(store);
    return code;
}

void fixture_create(const char *path)
{
    assert_ok(hf_close(fixture_open(path, HF_CREATE_NEW)));
}

void fixture_set(hf_store *store, const char *name, int64_t value)
{
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    int64_t *p = hf_find_or_construct(txn, name, &value_type, 1, NULL);
    assert_got(p);
    *p = value;
    assert_ok(hf_commit(txn));
}

int64_t fixture_get(hf_store *store, const char *name)
{
    hf_view *view = NULL;
    assert_ok(hf_view_begin(store, &view));
    const int64_t *p = hf_find(view, name, &value_type, NULL);
    int64_t value = p != NULL ? *p : INT64_MIN;
    hf_view_end(view);
    return value;
}

static void print_finding(void *user, const hf_finding *finding)
{
    (void)user;
    print_error("finding %s at %llu: %s\n", finding->rule, (unsigned long long)finding->offset,
                finding->expected);
}

void fixture_assert_sound(hf_store *store)
{
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    hf_check_report report;
    options.on_finding = print_finding;
    options.findings_max = 10;
    assert_ok(hf_check_sanity(store, &options, &report));
    assert_int_equal(report.findings, 0);
}

/* ---- children -------------------------------------------------------------------------------- */

struct child child_start(child_fn fn, void *argument)
{
    int down[2], up[2];
    assert_int_equal(pipe2(down, O_CLOEXEC), 0);
    assert_int_equal(pipe2(up, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    struct child child = {pid, down[1], up[0]};
    if (pid == 0) {
        close(down[1]);
        close(up[0]);
        child.to_child = up[1];
        child.from_child = down[0];
        fn(&child, argument);
        _exit(0);
    }
    close(down[0]);
    close(up[1]);
    return child;
}

void child_signal(struct child *child)
{
    char byte = 'x';
    ssize_t n = write(child->to_child, &byte, 1);
    (void)n; /* if the other side is gone, its waitpid tells */
}

bool child_wait(struct child *child)
{
    char byte;
    ssize_t n;
    do
        n = read(child->from_child, &byte, 1);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

int child_end(struct child *child)
{
    int status = 0;
    close(child->to_child);
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    close(child->from_child);
    return status;
}

void child_join(struct child *child)
{
    int status = child_end(child);
    if (WIFSIGNALED(status))
        print_error("the child died of signal %d\n", WTERMSIG(status));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void child_join_killed(struct child *child, int signal_number)
{
    int status = child_end(child);
    if (WIFEXITED(status))
        print_error("the child exited with %d\n", WEXITSTATUS(status));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), signal_number);
}

void child_run(child_fn fn, void *argument)
{
    struct child child = child_start(fn, argument);
    child_join(&child);
}

void child_expect_at(bool holds, const char *what, const char *file, int line)
{
    if (holds)
        return;
    fprintf(stderr, "%s:%d: in the child not so: %s; last error: %s\n", file, line, what,
            hf_last_error()->message);
    fflush(stderr);
    _exit(1);
}

bool child_become_nobody(void)
{
    return geteuid() != 0 || (setgid(65534) == 0 && setuid(65534) == 0);
}

/* ---- the matrix ------------------------------------------------------------------------------ */

static const char *const backing_names[] = {"file", "file-direct", "shm", "heap", "buffer"};
static const char *const allocator_names[] = {"default", "best_fit", "seq_fit", "slab"};
static const char *const index_names[] = {"set", "hash", "flat", "null"};

struct planned {
    struct fixture fixture;
    const struct fixture_case *what;
};

hf_options fixture_options(const struct fixture *f)
{
    hf_options options = HF_OPTIONS_INIT;
    options.engine = f->backing == BACKING_FILE_DIRECT ? HF_ENGINE_DIRECT : HF_ENGINE_LOG;
    options.allocator = f->allocator;
    options.index = f->index;
    options.size_initial_bytes = FIXTURE_SIZE_INITIAL;
    options.size_max_bytes = FIXTURE_SIZE_MAX;
    options.lock_timeout_ms = -1;
    options.layout = "conformance";
    options.layout_version = 7;
    return options;
}

static void open_store(struct fixture *f, uint32_t mode)
{
    hf_options options = fixture_options(f);
    options.mode = mode;
    if (f->backing == BACKING_HEAP)
        assert_ok(hf_open_heap(FIXTURE_SIZE_INITIAL, &options, &f->store));
    else if (f->backing == BACKING_BUFFER)
        assert_ok(hf_open_buffer(f->buffer, f->buffer_bytes, &options, &f->store));
    else
        assert_ok(hf_open(f->path, &options, &f->store));
}

void fixture_reopen(struct fixture *f)
{
    if (f->backing == BACKING_HEAP)
        return;
    hf_store *store = f->store;
    f->store = NULL;
    assert_ok(hf_close(store));
    open_store(f, HF_OPEN_EXISTING);
}

static void run_planned(void **state)
{
    struct planned *plan = *state;
    struct fixture *f = &plan->fixture;
    if (f->backing == BACKING_SHM && fixture_shm_directory() == NULL)
        skip();
    f->has_file = f->backing != BACKING_HEAP && f->backing != BACKING_BUFFER;
    f->engine = f->has_file && f->backing != BACKING_FILE_DIRECT ? HF_ENGINE_LOG : HF_ENGINE_DIRECT;
    f->ordered = f->index == HF_INDEX_SET || f->index == HF_INDEX_FLAT;
    if (f->backing == BACKING_BUFFER) {
        f->buffer_bytes = FIXTURE_BUFFER_BYTES;
        f->buffer = aligned_alloc(HF_ALIGN_BYTES_MAX, f->buffer_bytes);
        assert_non_null(f->buffer);
    } else if (f->backing != BACKING_HEAP) {
        fixture_path(f->path,
                     f->backing == BACKING_SHM ? fixture_shm_directory() : fixture_disk_directory(),
                     "conformance.hf");
    }
    open_store(f, HF_CREATE_NEW);
    plan->what->run(f);
    if (f->store != NULL) /* a case may have closed it */
        fixture_assert_sound(f->store);
}

/* Also after a failure, so that the next test starts clean. */
static int end_planned(void **state)
{
    struct planned *plan = *state;
    struct fixture *f = &plan->fixture;
    int code = f->store != NULL ? hf_close(f->store) : 0;
    f->store = NULL;
    if (f->path[0] != 0 && fixture_exists(f->path) && code == 0)
        code = hf_remove(f->path);
    free(f->buffer);
    f->buffer = NULL;
    if (code != 0)
        print_error("closing or removing: %s\n", hf_last_error()->message);
    return code;
}

int fixture_run_matrix(const char *group, const struct fixture_case *cases, size_t count)
{
    const char *only = getenv("HF_TEST_ONLY");
    size_t planned_max = count * BACKING_COUNT * 3 * 4, n = 0;
    struct planned *plans = calloc(planned_max, sizeof *plans);
    struct CMUnitTest *tests = calloc(planned_max, sizeof *tests);
    char(*names)[160] = calloc(planned_max, sizeof *names);
    if (plans == NULL || tests == NULL || names == NULL)
        exit(1);
    for (size_t i = 0; i < planned_max; i++) {
        struct planned *plan = &plans[n];
        plan->fixture.index = (uint32_t)(i % 4);
        plan->fixture.allocator = HF_ALLOC_BEST_FIT + (uint32_t)(i / 4 % 3);
        plan->fixture.backing = (uint32_t)(i / 12 % BACKING_COUNT);
        plan->what = &cases[i / 12 / BACKING_COUNT];
        snprintf(names[n], sizeof names[n], "%s on %s/%s/%s", plan->what->name,
                 backing_names[plan->fixture.backing], allocator_names[plan->fixture.allocator],
                 index_names[plan->fixture.index]);
        if ((plan->fixture.index == HF_INDEX_NULL && !plan->what->null_index_too) ||
            (only != NULL && strstr(names[n], only) == NULL))
            continue;
        tests[n].name = names[n];
        tests[n].test_func = run_planned;
        tests[n].teardown_func = end_planned;
        tests[n].initial_state = plan;
        n++;
    }
    int failed = _cmocka_run_group_tests(group, tests, n, NULL, NULL);
    free(plans);
    free(tests);
    free(names);
    return failed;
}

hf_txn *fixture_begin(struct fixture *f)
{
    hf_txn *txn = NULL;
    assert_ok(hf_begin(f->store, &txn));
    assert_non_null(txn);
    return txn;
}

hf_view *fixture_view(struct fixture *f)
{
    hf_view *view = NULL;
    assert_ok(hf_view_begin(f->store, &view));
    assert_non_null(view);
    return view;
}

hf_store_info fixture_info(struct fixture *f)
{
    hf_store_info info;
    memset(&info, 0, sizeof info);
    assert_ok(hf_info(f->store, &info));
    return info;
}

void fixture_assert_unchanged(struct fixture *f, const hf_store_info *before)
{
    hf_store_info now = fixture_info(f);
    assert_int_equal(now.live_bytes, before->live_bytes);
    assert_int_equal(now.live_blocks, before->live_blocks);
    assert_int_equal(now.free_bytes, before->free_bytes);
    assert_int_equal(now.free_blocks, before->free_blocks);
    assert_int_equal(now.used_end_bytes, before->used_end_bytes);
    assert_int_equal(now.named_count, before->named_count);
    assert_int_equal(now.unique_count, before->unique_count);
    assert_int_equal(now.anonymous_count, before->anonymous_count);
    assert_int_equal(now.raw_count, before->raw_count);
    assert_int_equal(now.type_count, before->type_count);
}
