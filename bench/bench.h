/* SPDX-License-Identifier: MIT */
/*
 * bench.h - what every driver stands on: the clock, repeatable random numbers, medians, results
 *
 * A driver is one program for one peer. It measures once, and prints a line for each figure:
 *
 *   METRIC <tab> N <tab> VALUE <tab> UNIT
 *
 * scripts/bench runs the drivers in rounds, one peer after the other, and adds workload, peer and
 * round to each line. Seeds are fixed: every peer meets the same sizes, names and orders. A driver
 * that meets an error says so and exits with 3. Compiles as C11 and as C++17.
 */
#ifndef HF_BENCH_H
#define HF_BENCH_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define BENCH_UNUSED __attribute__((unused)) /* a driver need not use all that is here */

BENCH_UNUSED static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- errors and results --------------------------------------------------------------------- */

__attribute__((noreturn)) BENCH_UNUSED static void give_up(const char *what)
{
    fprintf(stderr, "%s (errno %d: %s)\n", what, errno, strerror(errno));
    exit(3);
}

BENCH_UNUSED static inline void must(int holds, const char *what)
{
    if (!holds)
        give_up(what);
}

BENCH_UNUSED static void *must_alloc(size_t size_bytes)
{
    void *p = malloc(size_bytes);
    must(p != NULL, "malloc");
    memset(p, 1, size_bytes); /* its page faults come now and not while something is measured */
    return p;
}

BENCH_UNUSED static void result(const char *metric, uint64_t n, double value, const char *unit)
{
    printf("%s\t%llu\t%.6g\t%s\n", metric, (unsigned long long)n, value, unit);
    fflush(stdout);
}

BENCH_UNUSED static uint64_t number(const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    must(end != text && *end == '\0', "not a number");
    return value;
}

/* ---- random numbers: splitmix64 ------------------------------------------------------------- */

BENCH_UNUSED static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

BENCH_UNUSED static inline uint64_t random_below(uint64_t *state, uint64_t limit)
{
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)(((wide)random_next(state) * limit) >> 64);
}

/* 0 .. count-1, shuffled; the caller frees it. */
BENCH_UNUSED static uint32_t *shuffled(uint64_t count, uint64_t seed)
{
    uint32_t *order = (uint32_t *)must_alloc(count * sizeof *order);
    for (uint64_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    for (uint64_t i = count; i > 1; i--) {
        uint64_t j = random_below(&seed, i);
        uint32_t kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
    return order;
}

/* ---- medians -------------------------------------------------------------------------------- */

BENCH_UNUSED static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts; percent 50 is the median. */
BENCH_UNUSED static double percentile(double *values, size_t count, unsigned percent)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return values[count * percent / 100 < count ? count * percent / 100 : count - 1];
}

/* ---- the machine ---------------------------------------------------------------------------- */

BENCH_UNUSED static uint64_t resident_bytes(void)
{
    unsigned long long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu %llu", &total, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Memory of the process that is no file's, as of now. */
BENCH_UNUSED static uint64_t private_bytes(void)
{
    unsigned long long kilobytes = 0;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "RssAnon: %llu", &kilobytes) == 1)
            break;
    fclose(file);
    return kilobytes * 1024;
}

/* The most private memory between begin and end, more than there was before: a thread looks. */
struct memory_watch {
    pthread_t thread;
    uint64_t before, most;
    int done;
};

BENCH_UNUSED static void *memory_watch_run(void *argument)
{
    const struct timespec pause = {0, 20000000};
    struct memory_watch *watch = (struct memory_watch *)argument;
    do {
        uint64_t now = private_bytes();
        if (now > watch->most)
            watch->most = now;
        nanosleep(&pause, NULL);
    } while (!__atomic_load_n(&watch->done, __ATOMIC_ACQUIRE));
    return NULL;
}

BENCH_UNUSED static void memory_watch_begin(struct memory_watch *watch)
{
    memset(watch, 0, sizeof *watch);
    watch->before = watch->most = private_bytes();
    must(pthread_create(&watch->thread, NULL, memory_watch_run, watch) == 0, "pthread_create");
}

BENCH_UNUSED static uint64_t memory_watch_end(struct memory_watch *watch)
{
    __atomic_store_n(&watch->done, 1, __ATOMIC_RELEASE);
    pthread_join(watch->thread, NULL);
    return watch->most - watch->before;
}

/* Bytes written so far to the device that `path` lies on, by everybody; 0 if that can't be told. */
BENCH_UNUSED static uint64_t device_bytes(const char *path)
{
    struct stat st;
    char name[64];
    unsigned long long field[7] = {0};
    if (stat(path, &st) != 0)
        return 0;
    snprintf(name, sizeof name, "/sys/dev/block/%u:%u/stat", major(st.st_dev), minor(st.st_dev));
    FILE *file = fopen(name, "r");
    if (file == NULL)
        return 0;
    for (int i = 0; i < 7; i++)
        if (fscanf(file, "%llu", &field[i]) != 1)
            field[6] = 0;
    fclose(file);
    return field[6] * 512u;
}

BENCH_UNUSED static uint64_t file_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* Seconds for writing and syncing that many bytes to a new file: what no load can beat. */
BENCH_UNUSED static double raw_write_seconds(const char *dir, uint64_t size_bytes)
{
    const size_t piece_bytes = 1u << 20;
    char path[4096];
    char *piece = (char *)must_alloc(piece_bytes);
    snprintf(path, sizeof path, "%s/raw", dir);
    unlink(path);
    sync();
    uint64_t start = now_ns();
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(fd >= 0, path);
    for (uint64_t done = 0; done < size_bytes; done += piece_bytes) {
        size_t part = size_bytes - done < piece_bytes ? (size_t)(size_bytes - done) : piece_bytes;
        must(write(fd, piece, part) == (ssize_t)part, "write");
    }
    must(fdatasync(fd) == 0, "fdatasync");
    double seconds = (double)(now_ns() - start) / 1e9;
    close(fd);
    unlink(path);
    free(piece);
    return seconds;
}

/* Nanoseconds for copying a file by reading and writing it, and syncing the copy. */
BENCH_UNUSED static double plain_copy_ns(const char *from, const char *to, uint64_t bytes)
{
    const size_t piece = 1u << 20;
    char *buffer = (char *)must_alloc(piece);
    const uint64_t start = now_ns();
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(in >= 0 && out >= 0, "opening a copy");
    for (ssize_t n; bytes != 0 && (n = read(in, buffer, piece)) > 0; bytes -= (uint64_t)n)
        must(write(out, buffer, (size_t)n) == n, "writing a copy");
    must(fsync(out) == 0, "syncing a copy");
    close(in);
    close(out);
    free(buffer);
    return (double)(now_ns() - start);
}

/* What every driver tells of compacting a store of n objects, of which half were left, to so many bytes. */
BENCH_UNUSED static void compact_results(uint64_t n, double ns, double bytes, double copy_ns)
{
    result("compact.object", n, ns * 2 / (double)n, "ns");
    result("compact.speed", n, bytes / ns, "GB/s");
    result("compact.copy", n, bytes / copy_ns, "GB/s");
    result("compact.over_copy", n, ns / copy_ns, "x");
}

#endif
