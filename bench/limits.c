/* SPDX-License-Identifier: MIT */
/*
 * limits.c - what the disk itself allows
 *
 * Usage: limits DIR VARIANT append UPDATES SECONDS | load N | open N     (VARIANT: "-")
 *
 *   append  UPDATES records of 128 bytes appended to a file that was written with zeros and synced
 *           before, then fdatasync: the least a durable commit can cost
 *   load    N records of 116 bytes written and synced: the least a bulk load can cost
 *   open    the system calls without which no store in a mapped file can be opened and looked at: open,
 *           fstat, a lock, mmap, one page read, munmap, close. VARIANT "lock-file": and those of one that
 *           meets others through a lock file and leaves none behind: made, written, mapped, written to,
 *           unmapped, unlinked, closed. The file has as many pages as N records of 116 bytes
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

static void append(const char *dir, uint64_t updates, double limit_seconds)
{
    enum { RECORD = 128, PIECE = 1 << 20, PIECES = 64, COMMITS_MAX = 1000000 };
    char path[4096];
    char *piece = (char *)must_alloc(PIECE);
    double *latency = (double *)must_alloc(COMMITS_MAX * sizeof *latency);
    const size_t size = (size_t)updates * RECORD;
    size_t count = 0, at = 0;
    must(size <= PIECE, "at most 8192 updates");
    snprintf(path, sizeof path, "%s/log", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(fd >= 0, path);
    memset(piece, 0, PIECE);
    for (int i = 0; i < PIECES; i++)
        must(write(fd, piece, PIECE) == PIECE, "write");
    must(fsync(fd) == 0, "fsync");
    sync();
    uint64_t written = device_bytes(dir), begin = now_ns(), last = begin;
    while (count < COMMITS_MAX && (double)(last - begin) < limit_seconds * 1e9) {
        memset(piece, (int)count, size);
        if (at + size > (size_t)PIECE * PIECES)
            at = 0;
        must(pwrite(fd, piece, size, (off_t)at) == (ssize_t)size, "pwrite");
        must(fdatasync(fd) == 0, "fdatasync");
        at += size;
        uint64_t now = now_ns();
        latency[count++] = (double)(now - last) / 1e3;
        last = now;
    }
    sync();
    written = device_bytes(dir) - written;
    result("commit.p50", updates, percentile(latency, count, 50), "us");
    result("commit.p99", updates, percentile(latency, count, 99), "us");
    if (written != 0)
        result("commit.device", updates, (double)written / (double)count / 1e3, "kB");
    close(fd);
    free(latency);
    free(piece);
}

static void look(const char *path, const char *lock_path, size_t bytes)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    struct stat st;
    int lock_fd = -1;
    unsigned char *shared = MAP_FAILED;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    must(fd >= 0 && fstat(fd, &st) == 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0, path);
    if (lock_path != NULL) {
        static const unsigned char page[4096];
        lock_fd = open(lock_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        must(lock_fd >= 0 && pwrite(lock_fd, page, sizeof page, 0) == (ssize_t)sizeof page, lock_path);
        shared = (unsigned char *)mmap(NULL, sizeof page, PROT_READ | PROT_WRITE, MAP_SHARED, lock_fd, 0);
        must(shared != MAP_FAILED, "mmap");
        *(volatile unsigned char *)shared = 1;
    }
    const unsigned char *at = (const unsigned char *)mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    must(at != MAP_FAILED && *(const volatile unsigned char *)at == 1, "the first byte");
    must(munmap((void *)(uintptr_t)at, bytes) == 0, "munmap");
    if (lock_path != NULL)
        must(munmap(shared, 4096) == 0 && unlink(lock_path) == 0 && close(lock_fd) == 0, lock_path);
    must(close(fd) == 0, "close");
}

static void open_and_look(const char *dir, int with_lock_file, uint64_t records)
{
    enum { TIMES = 200 };
    double us[TIMES];
    char path[4096], lock_path[4096];
    const size_t bytes = ((size_t)records * 116 + 4095) / 4096 * 4096;
    unsigned char *content = (unsigned char *)must_alloc(bytes);
    snprintf(path, sizeof path, "%s/file", dir);
    snprintf(lock_path, sizeof lock_path, "%s/file-lock", dir);
    memset(content, 1, bytes);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(fd >= 0 && write(fd, content, bytes) == (ssize_t)bytes && fsync(fd) == 0, path);
    close(fd);
    free(content);
    for (int i = -3; i < TIMES; i++) {
        uint64_t start = now_ns();
        look(path, with_lock_file ? lock_path : NULL, bytes);
        if (i >= 0)
            us[i] = (double)(now_ns() - start) / 1e3;
    }
    result("open", records, percentile(us, TIMES, 50), "us");
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[3], "append") == 0) {
        append(argv[1], number(argv[4]), strtod(argv[5], NULL));
    } else if (argc == 5 && strcmp(argv[3], "load") == 0) {
        double seconds = raw_write_seconds(argv[1], number(argv[4]) * 116);
        result("load.sorted", number(argv[4]), seconds, "s");
        result("load.random", number(argv[4]), seconds, "s");
    } else if (argc == 5 && strcmp(argv[3], "open") == 0) {
        open_and_look(argv[1], strcmp(argv[2], "lock-file") == 0, number(argv[4]));
    } else {
        fprintf(stderr, "usage: %s DIR VARIANT append UPDATES SECONDS | load N | open N\n", argv[0]);
        return 2;
    }
    return 0;
}
