/* SPDX-License-Identifier: MIT */
/*
 * fault_syscalls.c - every system call the library makes fails once, and then from there on
 *
 * Each workload below runs in a child of its own, over and over: for each entry of the table hf__os
 * (base/os.h) the k-th call fails, for every k until the workload no longer gets that far; first
 * only that call, then all of them from it on. Whatever fails, then:
 *
 *   F1  nothing crashes or hangs, and out-parameters and handles follow the manual
 *   F2  after hf_close, descriptors and mappings are as many as before
 *   F3  with the fault over, the store opens and shows a k with acknowledged <= k <= attempted; a
 *       transaction that was told to have failed left nothing; check, transaction and close work
 *   F4  a failed sync isn't forgotten: on the direct engine the store isn't called clean afterwards
 *       (on the log engine F3 has it: what was acknowledged is there)
 *
 * All of it on both engines.
 */
#include "base/os.h"
#include "tests/support/counted_store.h"

#include <signal.h>
#include <sys/wait.h>

enum { HANG_SECONDS = 20, TIMEOUT_MS = 100, CALLS_MAX = 400 };

static struct campaign campaign;

/* ---- the faulty table ---------------------------------------------------------------------- */

enum kind {
    OPEN,
    CLOSE,
    PREAD,
    PWRITE,
    FDATASYNC,
    FSYNC,
    FTRUNCATE,
    FALLOCATE,
    FSTAT,
    STAT,
    FS_TYPE,
    FCHMOD,
    FCHOWN,
    RENAME_NEW,
    UNLINK,
    EACH_NAME,
    MMAP,
    MUNMAP,
    MPROTECT,
    MADVISE,
    LOCK,
    LOCK_TEST,
    FUTEX_WAIT,
    FUTEX_WAKE,
    KINDS
};
static const struct {
    const char *name;
    int error;
} kinds[KINDS] = {
    [OPEN] = {"open", EMFILE},
    [CLOSE] = {"close", EIO},
    [PREAD] = {"pread", EIO},
    [PWRITE] = {"pwrite", EIO},
    [FDATASYNC] = {"fdatasync", EIO},
    [FSYNC] = {"fsync", EIO},
    [FTRUNCATE] = {"ftruncate", EIO},
    [FALLOCATE] = {"fallocate", ENOSPC},
    [FSTAT] = {"fstat", EIO},
    [STAT] = {"stat", EACCES},
    [FS_TYPE] = {"fs_type", EIO},
    [FCHMOD] = {"fchmod", EPERM},
    [FCHOWN] = {"fchown", EPERM},
    [RENAME_NEW] = {"rename_new", EACCES},
    [UNLINK] = {"unlink", EACCES},
    [EACH_NAME] = {"each_name", EMFILE},
    [MMAP] = {"mmap", ENOMEM},
    [MUNMAP] = {"munmap", ENOMEM},
    [MPROTECT] = {"mprotect", ENOMEM},
    [MADVISE] = {"madvise", EINVAL},
    [LOCK] = {"lock", ENOLCK},
    [LOCK_TEST] = {"lock_test", EIO},
    [FUTEX_WAIT] = {"futex_wait", EINTR},
    [FUTEX_WAKE] = {"futex_wake", EINVAL},
};

static enum kind failing;
static unsigned failing_at, calls;
static bool failing_on; /* from that call on */

static bool fails(enum kind kind)
{
    if (kind != failing || failing_at == 0)
        return false;
    calls++;
    if (calls != failing_at && !(failing_on && calls > failing_at))
        return false;
    errno = kinds[kind].error;
    return true;
}

#define SYSTEM hf__os_system
static int faulty_open(const char *name, int flags, mode_t mode)
{
    return fails(OPEN) ? -1 : SYSTEM.open(name, flags, mode);
}
static int faulty_close(int fd)
{
    int result = SYSTEM.close(fd); /* Linux closes it whatever it returns */
    return fails(CLOSE) ? -1 : result;
}
static ssize_t faulty_pread(int fd, void *buffer, size_t size, off_t offset)
{
    return fails(PREAD) ? -1 : SYSTEM.pread(fd, buffer, size, offset);
}
static ssize_t faulty_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    return fails(PWRITE) ? -1 : SYSTEM.pwrite(fd, buffer, size, offset);
}
static int faulty_fdatasync(int fd)
{
    return fails(FDATASYNC) ? -1 : SYSTEM.fdatasync(fd);
}
static int faulty_fsync(int fd)
{
    return fails(FSYNC) ? -1 : SYSTEM.fsync(fd);
}
static int faulty_ftruncate(int fd, off_t size)
{
    return fails(FTRUNCATE) ? -1 : SYSTEM.ftruncate(fd, size);
}
static int faulty_fallocate(int fd, int mode, off_t offset, off_t size)
{
    return fails(FALLOCATE) ? -1 : SYSTEM.fallocate(fd, mode, offset, size);
}
static int faulty_fstat(int fd, struct stat *out)
{
    return fails(FSTAT) ? -1 : SYSTEM.fstat(fd, out);
}
static int faulty_stat(const char *name, struct stat *out)
{
    return fails(STAT) ? -1 : SYSTEM.stat(name, out);
}
static int faulty_fs_type(int fd, uint64_t *out)
{
    return fails(FS_TYPE) ? -1 : SYSTEM.fs_type(fd, out);
}
static int faulty_fchmod(int fd, mode_t mode)
{
    return fails(FCHMOD) ? -1 : SYSTEM.fchmod(fd, mode);
}
static int faulty_fchown(int fd, uid_t user, gid_t group)
{
    return fails(FCHOWN) ? -1 : SYSTEM.fchown(fd, user, group);
}
static int faulty_rename_new(const char *from, const char *to)
{
    return fails(RENAME_NEW) ? -1 : SYSTEM.rename_new(from, to);
}
static int faulty_unlink(const char *name)
{
    return fails(UNLINK) ? -1 : SYSTEM.unlink(name);
}
static int faulty_each_name(const char *at, void (*visit)(void *, const char *), void *context)
{
    return fails(EACH_NAME) ? -1 : SYSTEM.each_name(at, visit, context);
}
static void *faulty_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return fails(MMAP) ? MAP_FAILED : SYSTEM.mmap(at, size, protection, flags, fd, offset);
}
static int faulty_munmap(void *at, size_t size)
{
    return fails(MUNMAP) ? -1 : SYSTEM.munmap(at, size);
}
static int faulty_mprotect(void *at, size_t size, int protection)
{
    return fails(MPROTECT) ? -1 : SYSTEM.mprotect(at, size, protection);
}
static int faulty_madvise(void *at, size_t size, int advice)
{
    return fails(MADVISE) ? -1 : SYSTEM.madvise(at, size, advice);
}
static int faulty_lock(int fd, int type, off_t start, off_t length)
{
    return fails(LOCK) ? -1 : SYSTEM.lock(fd, type, start, length);
}
static int faulty_lock_test(int fd, int type, off_t start, off_t length)
{
    return fails(LOCK_TEST) ? -1 : SYSTEM.lock_test(fd, type, start, length);
}
static int faulty_futex_wait(uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
    return fails(FUTEX_WAIT) ? -1 : SYSTEM.futex_wait(word, expected, timeout_ns);
}
static int faulty_futex_wake(uint32_t *word, int count)
{
    return fails(FUTEX_WAKE) ? -1 : SYSTEM.futex_wake(word, count);
}

static void begin_faults(enum kind kind, unsigned at, bool on)
{
    static struct hf__os faulty;
    failing = kind;
    failing_at = at;
    failing_on = on;
    calls = 0;
    faulty = SYSTEM;
    faulty.open = faulty_open;
    faulty.close = faulty_close;
    faulty.pread = faulty_pread;
    faulty.pwrite = faulty.pwrite_apart = faulty_pwrite;
    faulty.fdatasync = faulty_fdatasync;
    faulty.fsync = faulty_fsync;
    faulty.ftruncate = faulty_ftruncate;
    faulty.fallocate = faulty_fallocate;
    faulty.fstat = faulty_fstat;
    faulty.stat = faulty_stat;
    faulty.fs_type = faulty_fs_type;
    faulty.fchmod = faulty_fchmod;
    faulty.fchown = faulty_fchown;
    faulty.rename_new = faulty_rename_new;
    faulty.unlink = faulty_unlink;
    faulty.each_name = faulty_each_name;
    faulty.mmap = faulty_mmap;
    faulty.munmap = faulty_munmap;
    faulty.mprotect = faulty_mprotect;
    faulty.madvise = faulty_madvise;
    faulty.lock = faulty_lock;
    faulty.lock_test = faulty_lock_test;
    faulty.futex_wait = faulty_futex_wait;
    faulty.futex_wake = faulty_futex_wake;
    hf__os = &faulty;
}

static void end_faults(void)
{
    hf__os = &hf__os_system;
    failing_at = 0;
}

/* ---- workloads ----------------------------------------------------------------------------- */

static hf_store *try_open(uint32_t mode)
{
    hf_options options = counted_options(mode, TIMEOUT_MS);
    hf_store *store = NULL;
    if (hf_open(path, &options, &store) != 0 && store != NULL)
        abort(); /* an out-parameter was written on an error */
    return store;
}

/* One transaction, aborted on an error, after which it must have left nothing. */
static bool try_change(hf_store *store, uint64_t grow_bytes, bool commit)
{
    hf_txn *txn = NULL;
    if (hf_begin(store, &txn) != 0)
        return false;
    uint64_t k = ++ledger->attempted;
    if (write_all(txn, k, grow_bytes) && commit) {
        int code = hf_commit(txn);
        if (code == 0)
            ledger->acknowledged = k;
        if (code == 0 || code == HF_ECOMMIT_UNKNOWN) /* then it may be found, or not */
            return code == 0;
    }
    if (hf_txn_view(txn) != NULL) /* not ended by a failed hf_commit */
        hf_abort(txn);
    ledger->attempted--;
    return !commit;
}

static void work_write(void)
{
    hf_store *store = try_open(HF_OPEN_OR_CREATE);
    if (store == NULL)
        return;
    for (int i = 0; i < 3; i++) { /* on in spite of errors: a handle must stay good */
        try_change(store, 0, true);
        (void)hf_sync(store);
        try_change(store, 1 << 20, i == 1);
        look(store, "with the fault in force"); /* may fail, but mustn't crash */
    }
    (void)hf_close(store);
}

static void work_read(void)
{
    hf_view *outer, *inner;
    hf_store_info info;
    hf_store *store = try_open(HF_READ_ONLY);
    if (store != NULL && hf_view_begin(store, &outer) == 0) {
        if (hf_view_begin(store, &inner) == 0)
            hf_view_end(inner);
        (void)hf_info(store, &info);
        hf_view_end(outer);
    }
    (void)hf_close(store);
    struct ledger before = *ledger;
    store = try_open(HF_COPY_ON_WRITE);
    if (store != NULL) {
        try_change(store, 1 << 20, true);
        try_change(store, 1 << 20, false);
    }
    (void)hf_close(store);
    *ledger = before;
}

static void work_maintain(void)
{
    hf_check_report report;
    (void)hf_check_file(path, NULL, &report);
    (void)hf_grow(path, 100000);
    (void)hf_shrink_to_fit(path);
    (void)hf_repair_file(path, NULL, &report);
}

static void work_copy(void)
{
    hf_store *store = try_open(HF_OPEN_EXISTING);
    if (store != NULL)
        (void)hf_save_as(store, copy_path, 0600);
    (void)hf_close(store);
}

static void work_remove(void)
{
    int code = hf_remove(path);
    if (access(path, F_OK) != 0) /* an error may be that of what came after: then it is gone, too */
        *ledger = (struct ledger){0};
    else if (code == 0)
        abort();
}

static void work_heap(void)
{
    hf_options options = counted_options(HF_CREATE_NEW, TIMEOUT_MS);
    hf_store *store;
    struct ledger before = *ledger;
    if (hf_open_heap(65536, &options, &store) == 0) {
        try_change(store, 1 << 20, true);
        try_change(store, 1 << 20, false);
        (void)hf_save_as(store, copy_path, 0);
        (void)hf_close(store);
    }
    *ledger = before;
}

enum { START_EMPTY = 1, START_PENDING = 2 };
static const struct workload {
    const char *name;
    void (*run)(void);
    unsigned flags;
} workloads[] = {
    {"writing", work_write, 0},
    {"creating and writing", work_write, START_EMPTY},
    {"recovering and writing", work_write, START_PENDING},
    {"reading", work_read, 0},
    {"reading beside a dead writer's leavings", work_read, START_PENDING},
    {"maintenance", work_maintain, 0},
    {"maintenance after a kill", work_maintain, START_PENDING},
    {"saving a copy", work_copy, 0},
    {"removing", work_remove, 0},
    {"removing after a kill", work_remove, START_PENDING},
    {"a heap store", work_heap, 0},
};

/* ---- one run ------------------------------------------------------------------------------- */

/* Descriptors, or mappings of the test's files, that this process has. */
static unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir != NULL && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        closedir(dir);
    return count;
}

static unsigned count_mappings(void)
{
    char line[4096];
    unsigned count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        count += strstr(line, directory) != NULL;
    if (maps != NULL)
        fclose(maps);
    return count;
}

_Noreturn static void give_up(const char *what)
{
    snprintf(ledger->message, sizeof ledger->message, "%s: %s", what, hf_last_error()->message);
    _exit(1);
}

/* F3 */
static void verify(void)
{
    hf_store *store = try_open(ledger->acknowledged == 0 ? HF_OPEN_OR_CREATE : HF_OPEN_EXISTING);
    if (store == NULL)
        give_up("opening once the fault is over");
    if (!look(store, "once the fault is over"))
        _exit(1);
    if (!try_change(store, 0, true))
        give_up("a transaction once the fault is over");
    /* After a failed sync of the data no later one proves anything: the store is not made clean any
     * more until a repair has written it all again. */
    int closed = hf_close(store);
    if (closed == HF_EIO && failing == FDATASYNC) {
        hf_check_report report = {0};
        if (hf_check_file(path, NULL, &report) != HF_ECORRUPT || report.findings != 1)
            give_up("checking what was not synced");
        if (hf_repair_file(path, NULL, NULL) != 0)
            give_up("repairing what was not synced");
        store = try_open(HF_OPEN_EXISTING);
        if (store == NULL || !look(store, "after the repair"))
            give_up("opening after the repair");
        closed = hf_close(store);
    }
    if (closed != 0)
        give_up("closing once the fault is over");
    if (hf_check_file(path, NULL, NULL) != 0)
        give_up("checking once the fault is over");
    unlink(copy_path);
    if (files_left(false, failing != UNLINK) != 1)
        give_up("files stay");
}

struct run {
    const struct workload *workload;
    enum kind kind;
    unsigned at;
    bool on;
};

/* In a child: exit code 0 = right and the fault was met, 2 = right and it wasn't. */
_Noreturn static void run_child(const struct run *run)
{
    const unsigned descriptors = count_descriptors(), mappings = count_mappings();
    alarm(HANG_SECONDS);
    begin_faults(run->kind, run->at, run->on);
    run->workload->run();
    const bool met = calls >= run->at;
    ledger->message[0] = '\0';
    end_faults();
    if (count_descriptors() != descriptors)
        give_up("descriptors stay open");
    if (run->kind != MUNMAP && count_mappings() != mappings)
        give_up("mappings stay");
    verify();
    _exit(met ? 0 : 2);
}

static bool one_run(const struct run *run, const struct image *image)
{
    static char kind_told[64];
    static unsigned told;
    int status = 0;
    uint64_t first = run->workload->flags & START_EMPTY ? 0 : 1;
    *ledger = (struct ledger){.attempted = first, .acknowledged = first};
    if (!campaign_expect(&campaign, image_put(image), "writing the files of a workload"))
        return false;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        run_child(run);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        exit(2);
    bool right = WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 2);
    campaign.passed += right;
    campaign.failed += !right;
    if (strcmp(kind_told, run->workload->name) != 0)
        told = 0;
    snprintf(kind_told, sizeof kind_told, "%s", run->workload->name);
    if (!right && told++ < 20)
        printf("FAILED: %s, %s %s number %u fails: %s\n", run->workload->name,
               kinds[run->kind].name, run->on ? "from" : "only", run->at,
               !WIFSIGNALED(status)          ? ledger->message
               : WTERMSIG(status) == SIGALRM ? "hangs"
               : WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS
                   ? "crashes"
                   : "is ended by a signal");
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

static bool make_image(const struct workload *workload, struct image *image)
{
    files_left(true, true);
    *image = (struct image){{NULL}, {0}};
    *ledger = (struct ledger){0};
    if (workload->flags & START_EMPTY)
        return true;
    hf_store *store = try_open(HF_CREATE_NEW);
    if (store == NULL || !try_change(store, 0, true) || hf_close(store) != 0)
        return false;
    if (workload->flags & START_PENDING) {
        pid_t pid = fork();
        if (pid == 0) {
            hf_txn *txn;
            store = try_open(HF_OPEN_EXISTING);
            /* The log engine keeps what is committed; the direct engine's list what isn't. */
            if (store != NULL && hf_begin(store, &txn) == 0 && write_all(txn, 1, 0) &&
                hf_commit(txn) == 0 && hf_begin(store, &txn) == 0 && write_all(txn, 2, 1 << 20))
                kill(getpid(), SIGKILL);
            _exit(1);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
            return false;
    }
    return image_take(image);
}

static void run_workload(const struct workload *workload)
{
    struct image image;
    unsigned runs = 0;
    if (!campaign_expect(&campaign, make_image(workload, &image), "making a store"))
        return;
    for (int kind = 0; kind < KINDS; kind++)
        for (int on = 0; on <= 1; on++)
            for (unsigned at = 1; at <= CALLS_MAX; at++, runs++)
                if (!one_run(&(struct run){workload, (enum kind)kind, at, on}, &image))
                    break;
    printf("%s: %u runs\n", workload->name, runs);
    image_free(&image);
}

/* ---- F4 ------------------------------------------------------------------------------------ */

/* The kernel reports a failed write-back once; a second sync that succeeds says nothing. */
static void sync_fails_once(void)
{
    hf_store *store = try_open(HF_OPEN_EXISTING);
    if (store == NULL || !try_change(store, 0, true))
        give_up("opening");
    begin_faults(FDATASYNC, 1, false);
    if (hf_sync(store) != HF_EIO)
        give_up("hf_sync hides that it failed");
    end_faults();
    if (hf_sync(store) == 0)
        give_up("hf_sync succeeds after a sync that failed");
    if (hf_close(store) == 0)
        give_up("hf_close calls the store clean after a sync that failed");
    _exit(0);
}

static void run_failed_sync(void)
{
    struct image image;
    int status;
    if (!campaign_expect(&campaign, make_image(&workloads[0], &image) && image_put(&image),
                         "a store"))
        return;
    *ledger = (struct ledger){.attempted = 1, .acknowledged = 1};
    pid_t pid = fork();
    if (pid == 0) {
        alarm(HANG_SECONDS);
        sync_fails_once();
    }
    bool right = waitpid(pid, &status, 0) == pid && status == 0;
    campaign.passed += right;
    campaign.failed += !right;
    if (!right)
        printf("FAILED: %s\n", ledger->message[0] != '\0' ? ledger->message : "crashes or hangs");
    image_free(&image);
}

/* fault_syscalls [WORKLOAD [direct|log]]; "" is every workload. */
enum { ENGINES = 2 };
static const uint32_t engines[ENGINES] = {HF_ENGINE_DIRECT, HF_ENGINE_LOG};
static const char *const engine_names[ENGINES] = {"direct", "log"};

int main(int argc, char **argv)
{
    campaign_start(&campaign, "fault_syscalls");
    ledger = share();
    if (!choose_directory())
        return 2;
    for (size_t i = 0; i < ENGINES; i++) {
        counted_engine = engines[i];
        if (argc > 2 && strcmp(argv[2], engine_names[i]) != 0)
            continue;
        printf("%s engine\n", engine_names[i]);
        for (size_t k = 0; k < sizeof workloads / sizeof *workloads; k++)
            if (argc < 2 || argv[1][0] == 0 || strcmp(argv[1], workloads[k].name) == 0)
                run_workload(&workloads[k]);
    }
    counted_engine = HF_ENGINE_DIRECT;
    run_failed_sync();
    remove_directory();
    return campaign_end(&campaign);
}
