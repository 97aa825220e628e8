/* SPDX-License-Identifier: MIT */
/*
 * fault_syscalls.c - every system call the library makes fails once, and then from there on
 *
 * Each workload below runs in a child of its own, over and over: for each entry of the table hf__os
 * (base/os.h), and for malloc and its kin, the k-th call fails, for every k until the workload no
 * longer gets that far, with each of the errors in `faults`; first only that call, then all of them
 * from it on (EINTR: every other one, since who is interrupted for ever may try again for ever). A read
 * or write may also be short, or be cut short and then fail. Whatever fails, then:
 *
 *   F1  nothing crashes or hangs, and out-parameters and handles follow the manual
 *   F2  after hf_close, descriptors and mappings are as many as before
 *   F3  with the fault over, the store opens and shows a k with acknowledged <= k <= attempted; a
 *       transaction that was told to have failed left nothing; check, transaction and close work
 *   F4  a failed sync isn't forgotten: on the direct engine the store isn't called clean afterwards
 *       (on the log engine F3 has it: what was acknowledged is there)
 *   F5  what is no failure is none: an interrupted or short transfer is carried on, and as much is
 *       acknowledged as without it
 *
 * All of it on both engines.
 */
#include "base/os.h"
#include "tests/support/counted_store.h"
#include "tests/support/failing_malloc.h"

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
    READ,
    WRITE,
    FDATASYNC,
    FSYNC,
    WRITE_BACK,
    FTRUNCATE,
    FALLOCATE,
    FSTAT,
    STAT,
    FS_TYPE,
    FCHMOD,
    FCHOWN,
    RENAME_NEW,
    RENAME,
    COPY_XATTRS,
    CLONE,
    COPY_RANGE,
    SEEK,
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
    ALLOCATE
};

enum shape {
    ERROR,
    HARMLESS, /* an error that must not show                                                      */
    SHORT,    /* half of what was asked for; must not show                                        */
    CUT       /* half of it, and the next call fails                                              */
};
static const struct fault {
    const char *name;
    enum kind kind;
    enum shape shape;
    int error;
} faults[] = {
    {"open: EMFILE", OPEN, ERROR, EMFILE},
    {"open: ENOSPC", OPEN, ERROR, ENOSPC},
    {"open: EDQUOT", OPEN, ERROR, EDQUOT},
    {"open: EINTR", OPEN, ERROR, EINTR},
    {"close: EIO", CLOSE, ERROR, EIO},
    {"close: EINTR", CLOSE, ERROR, EINTR},
    {"pread: EIO", PREAD, ERROR, EIO},
    {"pread: EINTR", PREAD, HARMLESS, EINTR},
    {"pread: short", PREAD, SHORT, 0},
    {"pread: short, then EIO", PREAD, CUT, EIO},
    {"pwrite: EIO", PWRITE, ERROR, EIO},
    {"pwrite: ENOSPC", PWRITE, ERROR, ENOSPC},
    {"pwrite: EDQUOT", PWRITE, ERROR, EDQUOT},
    {"pwrite: EINTR", PWRITE, HARMLESS, EINTR},
    {"pwrite: short", PWRITE, SHORT, 0},
    {"pwrite: short, then ENOSPC", PWRITE, CUT, ENOSPC},
    {"read: EIO", READ, ERROR, EIO},
    {"read: EINTR", READ, HARMLESS, EINTR},
    {"read: short", READ, SHORT, 0},
    {"write: EIO", WRITE, ERROR, EIO},
    {"write: ENOSPC", WRITE, ERROR, ENOSPC},
    {"write: EINTR", WRITE, HARMLESS, EINTR},
    {"write: short", WRITE, SHORT, 0},
    {"write: short, then ENOSPC", WRITE, CUT, ENOSPC},
    {"fdatasync: EIO", FDATASYNC, ERROR, EIO},
    {"fdatasync: ENOSPC", FDATASYNC, ERROR, ENOSPC},
    {"fdatasync: EDQUOT", FDATASYNC, ERROR, EDQUOT},
    {"fdatasync: EINTR", FDATASYNC, ERROR, EINTR},
    {"fsync: EIO", FSYNC, ERROR, EIO},
    {"fsync: ENOSPC", FSYNC, ERROR, ENOSPC},
    {"fsync: EINTR", FSYNC, ERROR, EINTR},
    {"write_back: EIO", WRITE_BACK, HARMLESS, EIO},
    {"ftruncate: EIO", FTRUNCATE, ERROR, EIO},
    {"ftruncate: ENOSPC", FTRUNCATE, ERROR, ENOSPC},
    {"ftruncate: EINTR", FTRUNCATE, ERROR, EINTR},
    {"fallocate: EIO", FALLOCATE, ERROR, EIO},
    {"fallocate: ENOSPC", FALLOCATE, ERROR, ENOSPC},
    {"fallocate: EDQUOT", FALLOCATE, ERROR, EDQUOT},
    {"fallocate: EINTR", FALLOCATE, HARMLESS, EINTR},
    {"fallocate: EOPNOTSUPP", FALLOCATE, HARMLESS, EOPNOTSUPP},
    {"fstat: EIO", FSTAT, ERROR, EIO},
    {"stat: EACCES", STAT, ERROR, EACCES},
    {"fs_type: EIO", FS_TYPE, ERROR, EIO},
    {"fchmod: EPERM", FCHMOD, ERROR, EPERM},
    {"fchown: EPERM", FCHOWN, ERROR, EPERM},
    {"rename_new: EACCES", RENAME_NEW, ERROR, EACCES},
    {"rename_new: ENOSPC", RENAME_NEW, ERROR, ENOSPC},
    {"rename_new: EDQUOT", RENAME_NEW, ERROR, EDQUOT},
    {"rename: EACCES", RENAME, ERROR, EACCES},
    {"rename: ENOSPC", RENAME, ERROR, ENOSPC},
    {"copy_xattrs: ENOSPC", COPY_XATTRS, ERROR, ENOSPC},
    {"clone: EIO", CLONE, ERROR, EIO},
    {"clone: ENOSPC", CLONE, ERROR, ENOSPC},
    {"clone: EINTR", CLONE, HARMLESS, EINTR},
    {"copy_range: EIO", COPY_RANGE, ERROR, EIO},
    {"copy_range: ENOSPC", COPY_RANGE, ERROR, ENOSPC},
    {"copy_range: EINTR", COPY_RANGE, HARMLESS, EINTR},
    {"copy_range: EXDEV", COPY_RANGE, HARMLESS, EXDEV},
    {"copy_range: short", COPY_RANGE, SHORT, 0},
    {"seek: EIO", SEEK, ERROR, EIO},
    {"unlink: EACCES", UNLINK, ERROR, EACCES},
    {"unlink: EIO", UNLINK, ERROR, EIO},
    {"each_name: EMFILE", EACH_NAME, ERROR, EMFILE},
    {"mmap: ENOMEM", MMAP, ERROR, ENOMEM},
    {"munmap: ENOMEM", MUNMAP, ERROR, ENOMEM},
    {"mprotect: ENOMEM", MPROTECT, ERROR, ENOMEM},
    {"madvise: ENOMEM", MADVISE, ERROR, ENOMEM},
    {"lock: ENOLCK", LOCK, ERROR, ENOLCK},
    {"lock_test: EIO", LOCK_TEST, ERROR, EIO},
    {"futex_wait: EINTR", FUTEX_WAIT, ERROR, EINTR},
    {"futex_wake: EINVAL", FUTEX_WAKE, ERROR, EINVAL},
    {"malloc: ENOMEM", ALLOCATE, ERROR, ENOMEM},
};
enum { FAULTS = sizeof faults / sizeof *faults };

static const struct fault *failing = &faults[0];
static unsigned failing_at, calls;
static bool failing_on; /* from that call on */

/* Is this call met by the fault? Several threads make calls: a housekeeper does, too. */
static bool met(enum kind kind)
{
    if (failing_at == 0 || kind != failing->kind)
        return false;
    const unsigned call = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (call <= failing_at || !failing_on)
        return call == failing_at;
    return failing->error != EINTR || (call - failing_at) % 2 == 0;
}

static bool fails(enum kind kind)
{
    if (!met(kind))
        return false;
    errno = failing->error;
    return true;
}

/* The bytes that this transfer may do; 0 = none, and errno. */
static size_t transfer(enum kind kind, size_t size)
{
    const size_t half = size < 2 ? size : size / 2;
    if (failing_at == 0 || kind != failing->kind)
        return size;
    if (failing->shape == CUT) {
        const unsigned call = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
        if (call == failing_at)
            return half;
        if (call == failing_at + 1 || (failing_on && call > failing_at)) {
            errno = failing->error;
            return 0;
        }
        return size;
    }
    if (!met(kind))
        return size;
    errno = failing->error;
    return failing->shape == SHORT ? half : 0;
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
    const size_t part = transfer(PREAD, size);
    return part == 0 && size != 0 ? -1 : SYSTEM.pread(fd, buffer, part, offset);
}
static ssize_t faulty_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    const size_t part = transfer(PWRITE, size);
    return part == 0 && size != 0 ? -1 : SYSTEM.pwrite(fd, buffer, part, offset);
}
static ssize_t faulty_read(int fd, void *buffer, size_t size)
{
    const size_t part = transfer(READ, size);
    return part == 0 && size != 0 ? -1 : SYSTEM.read(fd, buffer, part);
}
static ssize_t faulty_write(int fd, const void *buffer, size_t size)
{
    const size_t part = transfer(WRITE, size);
    return part == 0 && size != 0 ? -1 : SYSTEM.write(fd, buffer, part);
}
static int faulty_fdatasync(int fd)
{
    return fails(FDATASYNC) ? -1 : SYSTEM.fdatasync(fd);
}
static int faulty_write_back(int fd, off_t offset, off_t size_bytes)
{
    return fails(WRITE_BACK) ? -1 : SYSTEM.write_back(fd, offset, size_bytes);
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
static int faulty_rename(const char *from, const char *to)
{
    return fails(RENAME) ? -1 : SYSTEM.rename(from, to);
}
static int faulty_copy_xattrs(int from, int to)
{
    return fails(COPY_XATTRS) ? -1 : SYSTEM.copy_xattrs(from, to);
}

static int faulty_clone(int fd, int from_fd)
{
    return fails(CLONE) ? -1 : SYSTEM.clone(fd, from_fd);
}
static ssize_t faulty_copy_range(int from_fd, off_t from, int fd, off_t to, size_t size)
{
    const size_t part = transfer(COPY_RANGE, size);
    return part == 0 && size != 0 ? -1 : SYSTEM.copy_range(from_fd, from, fd, to, part);
}
static off_t faulty_seek(int fd, off_t offset, int whence)
{
    return fails(SEEK) ? -1 : SYSTEM.seek(fd, offset, whence);
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

static bool allocation_fails(void)
{
    return fails(ALLOCATE);
}

static void begin_faults(const struct fault *fault, unsigned at, bool on)
{
    static struct hf__os faulty;
    failing = fault;
    failing_at = at;
    failing_on = on;
    calls = 0;
    faulty = SYSTEM;
    faulty.open = faulty_open;
    faulty.close = faulty_close;
    faulty.pread = faulty_pread;
    faulty.pwrite = faulty.pwrite_apart = faulty_pwrite;
    faulty.read = faulty_read;
    faulty.write = faulty_write;
    faulty.fdatasync = faulty_fdatasync;
    faulty.fsync = faulty_fsync;
    faulty.write_back = faulty_write_back;
    faulty.ftruncate = faulty_ftruncate;
    faulty.fallocate = faulty_fallocate;
    faulty.fstat = faulty_fstat;
    faulty.stat = faulty_stat;
    faulty.fs_type = faulty_fs_type;
    faulty.fchmod = faulty_fchmod;
    faulty.fchown = faulty_fchown;
    faulty.rename_new = faulty_rename_new;
    faulty.rename = faulty_rename;
    faulty.copy_xattrs = faulty_copy_xattrs;
    faulty.clone = faulty_clone;
    faulty.copy_range = faulty_copy_range;
    faulty.seek = faulty_seek;
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

static uint64_t troubles; /* calls of a workload that reported an error */

static void note(int code)
{
    troubles += code != 0;
}

static hf_store *try_open(uint32_t mode)
{
    hf_options options = counted_options(mode, TIMEOUT_MS);
    hf_store *store = NULL;
    const int code = hf_open(path, &options, &store);
    note(code);
    if (code != 0 && store != NULL)
        abort(); /* an out-parameter was written on an error */
    return store;
}

/* One transaction, aborted on an error, after which it must have left nothing. */
static bool try_change(hf_store *store, uint64_t grow_bytes, bool commit)
{
    hf_txn *txn = NULL;
    const int begun = hf_begin(store, &txn);
    note(begun);
    if (begun != 0)
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
        note(hf_sync(store));
        try_change(store, 1 << 20, i == 1);
        note(look(store, "with the fault in force") ? 0 : -1); /* may fail, but mustn't crash */
    }
    note(hf_close(store));
}

/* A free block that becomes a hole and is used again. */
static void work_trim(void)
{
    hf_store *store = try_open(HF_OPEN_OR_CREATE);
    hf_txn *txn = NULL;
    if (store == NULL)
        return;
    for (int i = 0; i < 2; i++) {
        if (hf_begin(store, &txn) != 0)
            continue;
        void *large = hf_alloc(txn, 300000), *last = hf_alloc(txn, 3000);
        note(large != NULL && last != NULL ? 0 : hf_last_error()->code);
        hf_ref ref = large != NULL ? hf_ref_of(hf_txn_view(txn), large) : 0;
        const int made = hf_commit(txn);
        note(made);
        if (made != 0)
            ref = 0;
        if (ref != 0 && hf_begin(store, &txn) == 0) {
            hf_free(txn, hf_at(hf_txn_view(txn), ref));
            note(hf_commit(txn));
        }
        note(hf_trim(store, NULL));
        try_change(store, 200000, i == 1);
        note(look(store, "with the fault in force") ? 0 : -1);
    }
    note(hf_close(store));
}

static void work_read(void)
{
    hf_view *outer, *inner;
    hf_store_info info;
    hf_store *store = try_open(HF_READ_ONLY);
    if (store != NULL && hf_view_begin(store, &outer) == 0) {
        if (hf_view_begin(store, &inner) == 0)
            hf_view_end(inner);
        note(hf_info(store, &info));
        hf_view_end(outer);
    }
    note(hf_close(store));
    struct ledger before = *ledger;
    store = try_open(HF_COPY_ON_WRITE);
    if (store != NULL) {
        try_change(store, 1 << 20, true);
        try_change(store, 1 << 20, false);
    }
    note(hf_close(store));
    *ledger = before;
}

static void work_maintain(void)
{
    hf_check_report report;
    note(hf_check_file(path, NULL, &report));
    note(hf_grow(path, 100000));
    note(hf_shrink_to_fit(path));
    note(hf_compact(path, NULL));
    note(hf_repair_file(path, NULL, &report));
}

static void work_copy(void)
{
    hf_store *store = try_open(HF_OPEN_EXISTING);
    if (store != NULL)
        note(hf_save_as(store, copy_path, 0600));
    note(hf_close(store));
}

/* By way of memory, so that no file is left beside the store. */
static void work_archive(void)
{
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    const int fd = memfd_create("archive", MFD_CLOEXEC);
    char name[40];
    const char *archives[] = {name};
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    options.threads = 1;
    hf_store *store = try_open(HF_OPEN_EXISTING);
    int code = HF_EIO;
    if (store != NULL) {
        code = hf_archive_write(store, fd, &options, NULL);
        note(code);
    }
    note(hf_close(store));
    if (code == 0) {
        note(hf_archive_verify(name, NULL, NULL));
        note(hf_restore(copy_path, archives, 1, NULL, NULL));
    }
    close(fd);
}

static bool copy_is_sound(void)
{
    const struct hf__os *faulty = hf__os;
    const unsigned at = failing_at;
    hf__os = &hf__os_system;
    failing_at = 0;
    const bool sound = hf_check_file(copy_path, NULL, NULL) == 0;
    hf__os = faulty;
    failing_at = at;
    return sound;
}

/* By whatever the file system can do, by hand, and over an old one. */
static void work_snapshot(void)
{
    hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
    hf_snapshot_report report = {.commit = UINT64_MAX};
    hf_store *store = try_open(HF_OPEN_EXISTING);
    options.report = &report;
    for (int i = 0; store != NULL && i < 2; i++) {
        try_change(store, 0, true);
        const int code = hf_snapshot(store, copy_path, &options);
        if ((code != 0 && report.commit != UINT64_MAX) || (code == 0 && !copy_is_sound()))
            abort();
        note(code);
        report.commit = UINT64_MAX;
        options.method = HF_SNAPSHOT_COPY;
        options.flags = HF_SNAPSHOT_REPLACE;
    }
    note(hf_close(store));
}

/* A page that can't be read is no failure: what lies in it is told. */
static void work_salvage(void)
{
    hf_salvage_report report;
    note(hf_salvage(path, copy_path, NULL, &report));
}

static void work_remove(void)
{
    int code = hf_remove(path);
    if (access(path, F_OK) != 0) /* an error may be that of what came after: then it is gone, too */
        *ledger = (struct ledger){0};
    else if (code == 0)
        abort();
    note(code);
}

static void work_heap(void)
{
    hf_options options = counted_options(HF_CREATE_NEW, TIMEOUT_MS);
    hf_store *store;
    struct ledger before = *ledger;
    if (hf_open_heap(65536, &options, &store) == 0) {
        try_change(store, 1 << 20, true);
        try_change(store, 1 << 20, false);
        note(hf_save_as(store, copy_path, 0));
        note(hf_close(store));
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
    {"giving space back", work_trim, 0},
    {"creating and writing", work_write, START_EMPTY},
    {"recovering and writing", work_write, START_PENDING},
    {"reading", work_read, 0},
    {"reading beside a dead writer's leavings", work_read, START_PENDING},
    {"maintenance", work_maintain, 0},
    {"maintenance after a kill", work_maintain, START_PENDING},
    {"saving a copy", work_copy, 0},
    {"archiving and restoring", work_archive, 0},
    {"archiving after a kill", work_archive, START_PENDING},
    {"taking a snapshot", work_snapshot, 0},
    {"taking a snapshot after a kill", work_snapshot, START_PENDING},
    {"salvaging", work_salvage, 0},
    {"salvaging after a kill", work_salvage, START_PENDING},
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
    if (closed == HF_EIO && failing->kind == FDATASYNC) {
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
    if (access(copy_path, F_OK) == 0 && hf_check_file(copy_path, NULL, NULL) != 0)
        give_up("a copy that isn't whole");
    unlink(copy_path);
    if (files_left(false, failing->kind != UNLINK) != 1)
        give_up("files stay");
}

struct run {
    const struct workload *workload;
    const struct fault *fault;
    unsigned at; /* 0: none                                                              */
    bool on;
    uint64_t worked, troubles; /* F5: without a fault                                            */
};

/* In a child: exit code 0 = right and the fault was met, 2 = right and it wasn't. */
_Noreturn static void run_child(const struct run *run)
{
    const unsigned descriptors = count_descriptors(), mappings = count_mappings();
    alarm(HANG_SECONDS);
    troubles = 0;
    begin_faults(run->fault, run->at, run->on);
    run->workload->run();
    const bool was_met = calls >= run->at;
    ledger->message[0] = '\0';
    end_faults();
    if (count_descriptors() != descriptors)
        give_up("descriptors stay open");
    if (run->fault->kind != MUNMAP && count_mappings() != mappings)
        give_up("mappings stay");
    const enum shape shape = run->fault->shape;
    if ((shape == HARMLESS || shape == SHORT) && run->at != 0 &&
        (ledger->acknowledged != run->worked || troubles != run->troubles))
        give_up("what is no failure was taken for one");
    ledger->worked = ledger->acknowledged;
    ledger->troubles = troubles;
    verify();
    _exit(was_met ? 0 : 2);
}

static uint64_t injections; /* runs in which the fault was met */

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
    injections += right && run->at != 0 && WEXITSTATUS(status) == 0;
    campaign.passed += right;
    campaign.failed += !right;
    if (strcmp(kind_told, run->workload->name) != 0)
        told = 0;
    snprintf(kind_told, sizeof kind_told, "%s", run->workload->name);
    if (!right && told++ < 20)
        printf("FAILED: %s, %s, %s number %u: %s\n", run->workload->name, run->fault->name,
               run->on ? "from" : "only", run->at,
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
    const uint64_t before = injections;
    /* A shorter campaign leaves out calls, not faults. */
    const unsigned stride = campaign.scale < 1 ? (unsigned)(1 / campaign.scale) : 1;
    if (!campaign_expect(&campaign, make_image(workload, &image), "making a store"))
        return;
    one_run(&(struct run){.workload = workload, .fault = &faults[0]}, &image);
    struct run run = {.workload = workload, .worked = ledger->worked, .troubles = ledger->troubles};
    for (int fault = 0; fault < FAULTS; fault++)
        for (int on = 0; on <= 1; on++)
            for (unsigned at = 1 + (unsigned)fault % stride; at <= CALLS_MAX; at += stride) {
                run.fault = &faults[fault];
                run.at = at;
                run.on = on;
                if (!one_run(&run, &image))
                    break;
            }
    printf("%s: %llu injections\n", workload->name, (unsigned long long)(injections - before));
    image_free(&image);
}

/* ---- F4 ------------------------------------------------------------------------------------ */

/* The kernel reports a failed write-back once; a second sync that succeeds says nothing. */
static void sync_fails_once(void)
{
    static const struct fault eio = {"fdatasync: EIO", FDATASYNC, ERROR, EIO};
    hf_store *store = try_open(HF_OPEN_EXISTING);
    if (store == NULL || !try_change(store, 0, true))
        give_up("opening");
    begin_faults(&eio, 1, false);
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
    printf("%llu injections of %d faults\n", (unsigned long long)injections, FAULTS);
    return campaign_end(&campaign);
}
