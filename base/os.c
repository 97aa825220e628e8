/* SPDX-License-Identifier: MIT */
/*
 * os.c - the real system calls behind the seam, and the helpers above it
 */
#include "base/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

static int system_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

static int system_stat(const char *path, struct stat *out)
{
    return stat(path, out);
}

static int system_fstat(int fd, struct stat *out)
{
    return fstat(fd, out);
}

static int system_fs_type(int fd, uint64_t *out_magic)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return -1;
    *out_magic = (uint64_t)fs.f_type & UINT32_MAX;
    return 0;
}

/* Some file systems have no RENAME_NOREPLACE; link then gives the same promise in two steps, and a
 * death between them leaves only a spare name. */
static int system_rename_new(const char *from, const char *to)
{
    if (syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (link(from, to) != 0)
        return -1;
    unlink(from);
    return 0;
}

static bool disk_failed(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EIO || error == ENOMEM;
}

/* Values are at most as large as the kernel lets any be. */
static int system_copy_xattrs(int from, int to)
{
    char *names = malloc(XATTR_LIST_MAX), *value = malloc(XATTR_SIZE_MAX);
    int failure = names == NULL || value == NULL ? ENOMEM : 0;
    const ssize_t bytes = failure == 0 ? flistxattr(from, names, XATTR_LIST_MAX) : 0;
    for (const char *name = names; failure == 0 && name - names < bytes;
         name += strlen(name) + 1) {
        const ssize_t n = fgetxattr(from, name, value, XATTR_SIZE_MAX);
        if (n >= 0 && fsetxattr(to, name, value, (size_t)n, 0) != 0 && disk_failed(errno))
            failure = errno;
    }
    free(value);
    free(names);
    errno = failure;
    return failure == 0 ? 0 : -1;
}

static int system_clone(int fd, int from_fd)
{
    return ioctl(fd, FICLONE, from_fd);
}

static ssize_t system_copy_range(int from_fd, off_t from, int fd, off_t to, size_t size_bytes)
{
    return copy_file_range(from_fd, &from, fd, &to, size_bytes, 0);
}

static int ofd(int fd, int command, int type, off_t start, off_t length, struct flock *out)
{
    *out = (struct flock){.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start,
                          .l_len = length};
    int result;
    do {
        result = fcntl(fd, command, out);
    } while (result != 0 && errno == EINTR);
    return result;
}

static int system_lock(int fd, int type, off_t start, off_t length)
{
    struct flock lock;
    return ofd(fd, F_OFD_SETLK, type, start, length, &lock);
}

static int system_each_name(const char *directory, void (*visit)(void *context, const char *name),
                            void *context)
{
    DIR *dir = opendir(directory);
    if (dir == NULL)
        return -1;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        visit(context, entry->d_name);
    closedir(dir);
    return 0;
}

static int system_lock_test(int fd, int type, off_t start, off_t length)
{
    struct flock lock;
    if (ofd(fd, F_OFD_GETLK, type, start, length, &lock) != 0)
        return -1;
    return lock.l_type != F_UNLCK;
}

static int system_futex_wait(uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
    struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    return (int)syscall(SYS_futex, word, FUTEX_WAIT, expected, &timeout, NULL, 0);
}

static int system_futex_wake(uint32_t *word, int count)
{
    return (int)syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t system_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* For dates and ages that people read: the kernel's last tick will do, and costs a quarter. */
static uint64_t system_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME_COARSE);
}

static ssize_t system_pwrite_apart(int fd, const void *buffer, size_t size_bytes, off_t offset)
{
    const size_t page_bytes = 4096;
    size_t done = 0;
    while (done < size_bytes) {
        const off_t at = offset + (off_t)done;
        size_t part = page_bytes - (size_t)at % page_bytes;
        part = part < size_bytes - done ? part : size_bytes - done;
        ssize_t n = pwrite(fd, (const char *)buffer + done, part, at);
        if (n <= 0)
            return done != 0 ? (ssize_t)done : n;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static int system_write_back(int fd, off_t offset, off_t size_bytes)
{
    return sync_file_range(fd, offset, size_bytes, SYNC_FILE_RANGE_WRITE);
}

static void system_store(void *to, const void *from, size_t size_bytes)
{
    memcpy(to, from, size_bytes);
}

/* A line that isn't in the cache is read before a part of it is written; of whole lines that can be spared,
 * and the lines that the program works with stay in the caches. */
static void system_store_past(void *to, const void *from, size_t size_bytes)
{
#ifdef __SSE2__
    __m128i *target = to;
    const __m128i *source = from;
    for (size_t i = 0; i < size_bytes / sizeof *target; i += 4) {
        const __m128i a = _mm_loadu_si128(source + i), b = _mm_loadu_si128(source + i + 1);
        const __m128i c = _mm_loadu_si128(source + i + 2), d = _mm_loadu_si128(source + i + 3);
        _mm_stream_si128(target + i, a);
        _mm_stream_si128(target + i + 1, b);
        _mm_stream_si128(target + i + 2, c);
        _mm_stream_si128(target + i + 3, d);
    }
#else
    memcpy(to, from, size_bytes);
#endif
}

void hf__store_fence(void)
{
#ifdef __SSE2__
    _mm_sfence();
#endif
}

const struct hf__os hf__os_system = {
    .open = system_open,
    .close = close,
    .pread = pread,
    .pwrite = pwrite,
    .read = read,
    .write = write,
    .pwrite_apart = system_pwrite_apart,
    .fdatasync = fdatasync,
    .fsync = fsync,
    .write_back = system_write_back,
    .ftruncate = ftruncate,
    .fallocate = fallocate,
    .fstat = system_fstat,
    .stat = system_stat,
    .fs_type = system_fs_type,
    .fchmod = fchmod,
    .fchown = fchown,
    .rename_new = system_rename_new,
    .rename = rename,
    .copy_xattrs = system_copy_xattrs,
    .clone = system_clone,
    .copy_range = system_copy_range,
    .seek = lseek,
    .unlink = unlink,
    .each_name = system_each_name,
    .mmap = mmap,
    .munmap = munmap,
    .mprotect = mprotect,
    .madvise = madvise,
    .lock = system_lock,
    .lock_test = system_lock_test,
    .futex_wait = system_futex_wait,
    .futex_wake = system_futex_wake,
    .now_ns = system_now_ns,
    .wall_ns = system_wall_ns,
    .store = system_store,
    .store_past = system_store_past,
};

const struct hf__os *hf__os = &hf__os_system;

static ssize_t read_all(ssize_t (*read_some)(int, void *, size_t, off_t), int fd, void *buffer,
                        size_t size_bytes, uint64_t offset)
{
    size_t done = 0;
    while (done < size_bytes) {
        ssize_t n = read_some(fd, (char *)buffer + done, size_bytes - done,
                              (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

ssize_t hf__read_at(int fd, void *buffer, size_t size_bytes, uint64_t offset)
{
    return read_all(hf__os->pread, fd, buffer, size_bytes, offset);
}

/* Where the descriptor stands, whatever the offset. */
static ssize_t read_here(int fd, void *buffer, size_t size_bytes, off_t offset)
{
    (void)offset;
    return hf__os->read(fd, buffer, size_bytes);
}

ssize_t hf__read_next(int fd, void *buffer, size_t size_bytes)
{
    return read_all(read_here, fd, buffer, size_bytes, 0);
}

static int write_all(ssize_t (*write_some)(int, const void *, size_t, off_t), int fd,
                     const void *buffer, size_t size_bytes, uint64_t offset)
{
    size_t done = 0;
    while (done < size_bytes) {
        ssize_t n = write_some(fd, (const char *)buffer + done, size_bytes - done,
                               (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO;
        if (n <= 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

static ssize_t write_here(int fd, const void *buffer, size_t size_bytes, off_t offset)
{
    (void)offset;
    return hf__os->write(fd, buffer, size_bytes);
}

int hf__write_next(int fd, const void *buffer, size_t size_bytes)
{
    return write_all(write_here, fd, buffer, size_bytes, 0);
}

int hf__write_at(int fd, const void *buffer, size_t size_bytes, uint64_t offset)
{
    return write_all(hf__os->pwrite, fd, buffer, size_bytes, offset);
}

int hf__write_apart_at(int fd, const void *buffer, size_t size_bytes, uint64_t offset)
{
    return write_all(hf__os->pwrite_apart, fd, buffer, size_bytes, offset);
}

/* Without fallocate only the part beyond the end can be made sure of by writing it; holes inside
 * the file can't be filled without a race against other writers, and such files have none. */
static int write_zeros_beyond_end(int fd, uint64_t end)
{
    static const char zeros[65536];
    struct stat st;
    if (hf__os->fstat(fd, &st) != 0)
        return -1;
    for (uint64_t at = (uint64_t)st.st_size; at < end;) {
        uint64_t n = end - at < sizeof zeros ? end - at : sizeof zeros;
        if (hf__write_at(fd, zeros, (size_t)n, at) != 0)
            return -1;
        at += n;
    }
    return 0;
}

int hf__allocate_at(int fd, uint64_t offset, uint64_t size_bytes)
{
    int result;
    if (size_bytes == 0)
        return 0;
    do {
        result = hf__os->fallocate(fd, 0, (off_t)offset, (off_t)size_bytes);
    } while (result != 0 && errno == EINTR);
    if (result != 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        result = write_zeros_beyond_end(fd, offset + size_bytes);
    return result;
}

int hf__next_data(int fd, uint64_t at, uint64_t end, uint64_t *from, uint64_t *to)
{
    *from = *to = end;
    off_t data = hf__os->seek(fd, (off_t)at, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
        return 0;
    if (data < 0 && errno != EINVAL && errno != EOPNOTSUPP)
        return -1;
    *from = data < 0 ? at : (uint64_t)data < end ? (uint64_t)data : end;
    if (data < 0 || *from == end)
        return 0;
    off_t hole = hf__os->seek(fd, data, SEEK_HOLE);
    if (hole < 0)
        return -1;
    *to = (uint64_t)hole < end ? (uint64_t)hole : end;
    return 0;
}

/* Linux reads no more at a hint than it reads ahead at once elsewhere. */
void hf__will_need(void *mapping, uint64_t size_bytes)
{
    const uint64_t piece = UINT64_C(128) << 10;
    for (uint64_t at = 0; at < size_bytes; at += piece)
        (void)hf__os->madvise((unsigned char *)mapping + at,
                              (size_t)(size_bytes - at < piece ? size_bytes - at : piece),
                              MADV_WILLNEED);
}

void hf__drop_fd(int *fd)
{
    if (*fd < 0)
        return;
    hf__os_system.close(*fd);
    *fd = HF__CLOSED_FD; /* the number may be another file's soon */
}

int hf__thread_start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int code = pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

int hf__directory_of(const char *path)
{
    char directory[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (length >= sizeof directory) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(directory, path, length);
    directory[length] = '\0';
    return hf__os->open(length == 0 ? "." : directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

int hf__sync_directory(int fd)
{
    int result = hf__os->fsync(fd), error = errno;
    hf__os->close(fd);
    errno = error;
    return result;
}

int hf__sync_directory_of(const char *path)
{
    int fd = hf__directory_of(path);
    return fd < 0 ? -1 : hf__sync_directory(fd);
}

void hf__random_bytes(void *out, size_t size_bytes)
{
    if (getrandom(out, size_bytes, 0) == (ssize_t)size_bytes)
        return;
    uint64_t state = hf__os->now_ns() ^ (uint64_t)(uintptr_t)out ^ ((uint64_t)getpid() << 40);
    for (size_t i = 0; i < size_bytes; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)out)[i] = (uint8_t)(state >> 56);
    }
}

static int hex_digit(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int read_boot_id(uint8_t out[16])
{
    char text[64];
    memset(out, 0, 16);
    int fd = hf__os->open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return errno == ENOENT || errno == EACCES ? 0 : -1;
    ssize_t n = hf__read_at(fd, text, sizeof text - 1, 0);
    int error = errno;
    hf__os->close(fd);
    errno = error;
    if (n < 0)
        return -1;
    size_t digits = 0;
    for (ssize_t i = 0; i < n && digits < 32; i++) {
        int value = hex_digit(text[i]);
        if (value < 0)
            continue;
        out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | value);
        digits++;
    }
    return 0;
}

/* It stays as long as this process may live, so it is read once (through each table of calls: a test's
 * may tell another one); two threads may both do it. */
int hf__boot_id(uint8_t out[16])
{
    static uint64_t known[2];
    static const struct hf__os *known_from;
    uint64_t words[2];
    if (__atomic_load_n(&known_from, __ATOMIC_ACQUIRE) != hf__os) {
        if (read_boot_id(out) != 0)
            return -1;
        memcpy(words, out, sizeof words);
        for (int i = 0; i < 2; i++)
            __atomic_store_n(&known[i], words[i], __ATOMIC_RELAXED);
        __atomic_store_n(&known_from, hf__os, __ATOMIC_RELEASE);
        return 0;
    }
    for (int i = 0; i < 2; i++)
        words[i] = __atomic_load_n(&known[i], __ATOMIC_RELAXED);
    memcpy(out, words, sizeof words);
    return 0;
}
