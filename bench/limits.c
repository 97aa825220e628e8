/* SPDX-License-Identifier: MIT */
/*
 * limits.c - what the disk itself allows
 *
 * Usage: limits DIR VARIANT append UPDATES SECONDS | load N     (VARIANT: "-")
 *
 *   append  UPDATES records of 128 bytes appended to a file that was written with zeros and synced
 *           before, then fdatasync: the least a durable commit can cost
 *   load    N records of 116 bytes written and synced: the least a bulk load can cost
 */
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

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[3], "append") == 0) {
        append(argv[1], number(argv[4]), strtod(argv[5], NULL));
    } else if (argc == 5 && strcmp(argv[3], "load") == 0) {
        double seconds = raw_write_seconds(argv[1], number(argv[4]) * 116);
        result("load.sorted", number(argv[4]), seconds, "s");
        result("load.random", number(argv[4]), seconds, "s");
    } else {
        fprintf(stderr, "usage: %s DIR VARIANT append UPDATES SECONDS | load N\n", argv[0]);
        return 2;
    }
    return 0;
}
