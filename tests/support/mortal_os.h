/* SPDX-License-Identifier: MIT */
/*
 * mortal_os.h - the system's calls, in a process that dies at one of them
 *
 * Put into hf__os, the table counts the calls that a plan names (by kind, and by the file they are
 * for) and at the last of them ends the process by SIGKILL: before the call, after it, or with half
 * of a write done. Or it lets that one call fail. A process that dies by its own hand dies at the
 * same place each time, which a kill from outside can't promise, and memory stores into the data
 * file are counted like calls.
 */
#ifndef HF_TESTS_SUPPORT_MORTAL_OS_H
#define HF_TESTS_SUPPORT_MORTAL_OS_H

#include "base/os.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { /* kinds of calls */
    MORTAL_OPEN = 1,
    MORTAL_CLOSE = 2,
    MORTAL_READ = 4,
    MORTAL_WRITE = 8,  /* pwrite, and stores through a mapping */
    MORTAL_SYNC = 16,
    MORTAL_SIZE = 32,  /* ftruncate, fallocate */
    MORTAL_NAME = 64,  /* rename, unlink */
    MORTAL_MAP = 128,
    MORTAL_LOCK = 256,
    MORTAL_FUTEX = 512,
    MORTAL_ANY = 1023
};
enum { /* files; the lock file and directories are none of these */
    MORTAL_DATA = 1,    /* the data file's segment */
    MORTAL_HEADER = 2,  /* its header slots */
    MORTAL_LOG = 4,     /* log files, behind their headers */
    MORTAL_LOG_HEADER = 8
};
enum mortal_when { MORTAL_BEFORE, MORTAL_HALF, MORTAL_AFTER };

struct mortal_plan {
    unsigned calls, files; /* files 0: whatever the call is for */
    int64_t left;          /* the one that counts is the left-th from now; 0 = none is */
    enum mortal_when when;
    int fail_errno;        /* not 0: that call fails instead */
    void (*last_words)(void); /* done before it dies, for what no call stands between */
};

static struct mortal_plan mortal;
static struct hf__os mortal_table;

_Noreturn static inline void mortal_die(void)
{
    if (mortal.last_words != NULL)
        mortal.last_words();
    for (;;)
        kill(getpid(), SIGKILL);
}

/* A sync is for the whole of a file: DATA or LOG. */
static inline unsigned mortal_file(int fd, int64_t offset)
{
    char link[64], name[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, name, sizeof name - 1);
    if (n < 5)
        return 0;
    name[n] = '\0';
    if (strcmp(name + n - 5, "-log0") == 0 || strcmp(name + n - 5, "-log1") == 0)
        return offset == 0 ? MORTAL_LOG_HEADER : MORTAL_LOG;
    if (strcmp(name + n - 5, "-lock") == 0)
        return 0;
    return offset >= 0 && offset < 65536 ? MORTAL_HEADER : MORTAL_DATA;
}

/* Is it this call? Of several threads that ask, one is told so. */
static inline bool mortal_now(unsigned call, int fd, int64_t offset)
{
    if ((mortal.calls & call) == 0 || __atomic_load_n(&mortal.left, __ATOMIC_RELAXED) <= 0)
        return false;
    if (mortal.files != 0 && (fd < 0 || (mortal.files & mortal_file(fd, offset)) == 0))
        return false;
    return __atomic_sub_fetch(&mortal.left, 1, __ATOMIC_RELAXED) == 0;
}

#define MORTAL_CALL(type, call, fd, offset, expression)                                            \
    do {                                                                                           \
        const bool now = mortal_now(call, fd, offset);                                             \
        if (now && mortal.fail_errno != 0) {                                                       \
            errno = mortal.fail_errno;                                                             \
            return (type)-1;                                                                       \
        }                                                                                          \
        if (now && mortal.when != MORTAL_AFTER)                                                    \
            mortal_die();                                                                          \
        type result = expression;                                                                  \
        if (now)                                                                                   \
            mortal_die();                                                                          \
        return result;                                                                             \
    } while (0)

static inline int mortal_open(const char *name, int flags, mode_t mode)
{
    MORTAL_CALL(int, MORTAL_OPEN, -1, 0, hf__os_system.open(name, flags, mode));
}
static inline int mortal_close(int fd)
{
    MORTAL_CALL(int, MORTAL_CLOSE, fd, -1, hf__os_system.close(fd));
}
static inline ssize_t mortal_pread(int fd, void *buffer, size_t size, off_t offset)
{
    MORTAL_CALL(ssize_t, MORTAL_READ, fd, offset, hf__os_system.pread(fd, buffer, size, offset));
}
static inline ssize_t mortal_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    const bool now = mortal_now(MORTAL_WRITE, fd, offset);
    if (now && mortal.fail_errno != 0) {
        errno = mortal.fail_errno;
        return -1;
    }
    /* A kill tears no page, so no header slot; of other writes half is more than a kill does. */
    if (now && mortal.when == MORTAL_HALF && mortal_file(fd, offset) != MORTAL_HEADER)
        (void)!hf__os_system.pwrite(fd, buffer, size / 2, offset);
    if (now && mortal.when != MORTAL_AFTER)
        mortal_die();
    ssize_t result = hf__os_system.pwrite(fd, buffer, size, offset);
    if (now)
        mortal_die();
    return result;
}
static inline void mortal_store(void *to, const void *from, size_t size)
{
    const bool now = (mortal.files == 0 || (mortal.files & MORTAL_DATA) != 0) &&
                     (mortal.calls & MORTAL_WRITE) != 0 && mortal.fail_errno == 0 &&
                     __atomic_load_n(&mortal.left, __ATOMIC_RELAXED) > 0 &&
                     __atomic_sub_fetch(&mortal.left, 1, __ATOMIC_RELAXED) == 0;
    if (now && mortal.when == MORTAL_HALF)
        hf__os_system.store(to, from, size / 2);
    if (now && mortal.when != MORTAL_AFTER)
        mortal_die();
    hf__os_system.store(to, from, size);
    if (now)
        mortal_die();
}
static inline int mortal_fdatasync(int fd)
{
    MORTAL_CALL(int, MORTAL_SYNC, fd, -1, hf__os_system.fdatasync(fd));
}
static inline int mortal_fsync(int fd)
{
    MORTAL_CALL(int, MORTAL_SYNC, fd, -1, hf__os_system.fsync(fd));
}
static inline int mortal_ftruncate(int fd, off_t size)
{
    MORTAL_CALL(int, MORTAL_SIZE, fd, size, hf__os_system.ftruncate(fd, size));
}
static inline int mortal_fallocate(int fd, int mode, off_t offset, off_t size)
{
    MORTAL_CALL(int, MORTAL_SIZE, fd, offset, hf__os_system.fallocate(fd, mode, offset, size));
}
static inline int mortal_rename_new(const char *from, const char *to)
{
    MORTAL_CALL(int, MORTAL_NAME, -1, 0, hf__os_system.rename_new(from, to));
}
static inline int mortal_rename(const char *from, const char *to)
{
    MORTAL_CALL(int, MORTAL_NAME, -1, 0, hf__os_system.rename(from, to));
}
static inline int mortal_clone(int fd, int from_fd)
{
    MORTAL_CALL(int, MORTAL_SIZE, fd, 0, hf__os_system.clone(fd, from_fd));
}
static inline ssize_t mortal_copy_range(int from_fd, off_t from, int fd, off_t to, size_t size)
{
    MORTAL_CALL(ssize_t, MORTAL_SIZE, fd, to, hf__os_system.copy_range(from_fd, from, fd, to, size));
}
static inline int mortal_unlink(const char *name)
{
    MORTAL_CALL(int, MORTAL_NAME, -1, 0, hf__os_system.unlink(name));
}
static inline void *mortal_mmap(void *at, size_t size, int protection, int flags, int fd,
                                off_t offset)
{
    MORTAL_CALL(void *, MORTAL_MAP, fd, -1,
                hf__os_system.mmap(at, size, protection, flags, fd, offset));
}
static inline int mortal_munmap(void *at, size_t size)
{
    MORTAL_CALL(int, MORTAL_MAP, -1, 0, hf__os_system.munmap(at, size));
}
static inline int mortal_madvise(void *at, size_t size, int advice)
{
    MORTAL_CALL(int, MORTAL_MAP, -1, 0, hf__os_system.madvise(at, size, advice));
}
static inline int mortal_lock(int fd, int type, off_t start, off_t length)
{
    MORTAL_CALL(int, MORTAL_LOCK, -1, 0, hf__os_system.lock(fd, type, start, length));
}
static inline int mortal_futex_wait(uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
    MORTAL_CALL(int, MORTAL_FUTEX, -1, 0, hf__os_system.futex_wait(word, expected, timeout_ns));
}
static inline int mortal_futex_wake(uint32_t *word, int count)
{
    MORTAL_CALL(int, MORTAL_FUTEX, -1, 0, hf__os_system.futex_wake(word, count));
}

/* From now on this process's library makes mortal calls, by this plan. */
static inline void mortal_begin(struct mortal_plan plan)
{
    mortal_table = hf__os_system;
    mortal_table.open = mortal_open;
    mortal_table.close = mortal_close;
    mortal_table.pread = mortal_pread;
    mortal_table.pwrite = mortal_table.pwrite_apart = mortal_pwrite;
    mortal_table.store = mortal_table.store_past = mortal_store;
    mortal_table.fdatasync = mortal_fdatasync;
    mortal_table.fsync = mortal_fsync;
    mortal_table.ftruncate = mortal_ftruncate;
    mortal_table.fallocate = mortal_fallocate;
    mortal_table.rename_new = mortal_rename_new;
    mortal_table.rename = mortal_rename;
    mortal_table.clone = mortal_clone;
    mortal_table.copy_range = mortal_copy_range;
    mortal_table.unlink = mortal_unlink;
    mortal_table.mmap = mortal_mmap;
    mortal_table.munmap = mortal_munmap;
    mortal_table.madvise = mortal_madvise;
    mortal_table.lock = mortal_lock;
    mortal_table.futex_wait = mortal_futex_wait;
    mortal_table.futex_wake = mortal_futex_wake;
    mortal = plan;
    hf__os = &mortal_table;
}

#endif
