/* SPDX-License-Identifier: MIT */
/*
 * limits.c - what the disk and the memory themselves allow
 *
 * Usage: limits DIR VARIANT append UPDATES SECONDS | load N | open N | names N
 *
 *   append  UPDATES records of 128 bytes appended to a file that was written with zeros and synced
 *           before, then fdatasync: the least a durable commit can cost
 *   load    N records of 116 bytes written and synced: the least a bulk load can cost
 *   open    the system calls without which no store in a mapped file can be opened and looked at: open,
 *           fstat, a lock, mmap, one page read, munmap, close. VARIANT "lock-file": and those of one that
 *           meets others through a lock file and leaves none behind: made, written, mapped, written to,
 *           unmapped, unlinked, closed. The file has as many pages as N records of 116 bytes
 *   names   the lines of memory that N named objects of 64 bytes take the processor to, in a mapped
 *           file whose pages are there, and no other work: insert writes the lines of a new entry and
 *           one word of a bucket anywhere, find reads that word and then the entry that it leads to,
 *           whose name and value it compares, destroy clears the word and the entry's bit in its
 *           chunk. VARIANT one-by-one: each waits for the one before; else they overlap as far as the
 *           processor sees ahead. The places are known beforehand: nothing is hashed or allocated
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

/* ---- names ----------------------------------------------------------------------------------- */

enum { BUCKET_WORDS = 8, CHUNK_ENTRIES = 64, NAME = 12 };

struct limit_entry { /* two lines, as 64 bytes with a name take */
    char node[16], name[48];
    uint64_t value[8];
};
struct limit_chunk {
    uint64_t live, unused[7];
    struct limit_entry entries[CHUNK_ENTRIES];
};

/* Where an object is: its entry, and the word that leads there. */
struct limit_place {
    uint32_t entry, word;
};

struct limit_store {
    uint64_t *words; /* of buckets of one line, three entries each                              */
    struct limit_chunk *chunks;
};

static volatile uint64_t limit_zero; /* so that the compiler doesn't know that it is 0 */

/* Nothing, but the next address has to wait for what was seen last. */
static inline uint64_t waits_for(uint64_t seen, uint64_t zero, int waits)
{
    return waits ? seen & zero : 0;
}

static struct limit_store limit_store_make(const char *dir, uint64_t n)
{
    char path[4096];
    const uint64_t words = (n / 3 + 1) * BUCKET_WORDS, chunks = n / CHUNK_ENTRIES + 1;
    const size_t size = words * sizeof(uint64_t) + chunks * sizeof(struct limit_chunk);
    snprintf(path, sizeof path, "%s/lines", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(fd >= 0 && unlink(path) == 0, path);
    must(posix_fallocate(fd, 0, (off_t)size) == 0, "fallocate");
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(at != MAP_FAILED, "mmap");
    memset(at, 0, size);
    close(fd);
    return (struct limit_store){(uint64_t *)at,
                                (struct limit_chunk *)(void *)((uint64_t *)at + words)};
}

static inline struct limit_entry *limit_entry_at(const struct limit_store *store, uint64_t entry)
{
    return &store->chunks[entry / CHUNK_ENTRIES].entries[entry % CHUNK_ENTRIES];
}

/* Compiled for each way of waiting, so that there is no trace of it in the other. */
#define LIMIT_INLINE __attribute__((always_inline)) static inline

LIMIT_INLINE double limit_insert(const struct limit_store *store,
                                 const struct limit_place *places, const char *names,
                                 uint64_t n, int waits)
{
    const uint64_t zero = limit_zero;
    uint64_t seen = 0, taken = 0, start = now_ns();
    for (uint64_t i = 0; i < n; i++) {
        struct limit_entry *entry = limit_entry_at(store, i);
        uint64_t *word = store->words + places[i].word + waits_for(seen, zero, waits);
        memcpy(entry->name, names + i * NAME, NAME);
        for (int k = 0; k < 8; k++)
            entry->value[k] = i;
        store->chunks[i / CHUNK_ENTRIES].live |= UINT64_C(1) << i % CHUNK_ENTRIES;
        seen = *word;
        taken |= seen;
        *word = i + 1;
    }
    must(taken == 0, "a word was taken");
    return (double)(now_ns() - start) / (double)n;
}

LIMIT_INLINE double limit_find(const struct limit_store *store,
                               const struct limit_place *places, const char *names,
                               uint64_t n, int waits)
{
    const uint64_t zero = limit_zero;
    uint64_t seen = 0, start = now_ns();
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t at = store->words[places[i].word + waits_for(seen, zero, waits)];
        const struct limit_entry *entry = limit_entry_at(store, at - 1);
        must(memcmp(entry->name, names + i * NAME, NAME) == 0, "a wrong name was found");
        seen = entry->value[0];
        must(seen == places[i].entry, "a wrong record was found");
    }
    return (double)(now_ns() - start) / (double)n;
}

LIMIT_INLINE double limit_destroy(const struct limit_store *store,
                                  const struct limit_place *places, const char *names,
                                  uint64_t n, int waits)
{
    const uint64_t zero = limit_zero;
    uint64_t seen = 0, start = now_ns();
    for (uint64_t i = 0; i < n; i++) {
        uint64_t *word = store->words + places[i].word + waits_for(seen, zero, waits);
        const uint64_t at = *word - 1;
        must(memcmp(limit_entry_at(store, at)->name, names + i * NAME, NAME) == 0,
             "a wrong name was found");
        seen = store->chunks[at / CHUNK_ENTRIES].live & ~(UINT64_C(1) << at % CHUNK_ENTRIES);
        store->chunks[at / CHUNK_ENTRIES].live = seen;
        *word = 0;
    }
    return (double)(now_ns() - start) / (double)n;
}

/* The places in another order, and the names that belong to them. */
static void reorder(const struct limit_place *places, const uint32_t *order, uint64_t n,
                    struct limit_place *to, char *names)
{
    char name[NAME + 1];
    for (uint64_t i = 0; i < n; i++) {
        to[i] = places[order[i]];
        snprintf(name, sizeof name, "obj/%08u", to[i].entry % 100000000);
        memcpy(names + i * NAME, name, NAME);
    }
}

LIMIT_INLINE void limit_names(const char *dir, uint64_t n, int waits)
{
    struct limit_place *places = (struct limit_place *)must_alloc(n * sizeof *places);
    struct limit_place *wanted = (struct limit_place *)must_alloc(n * sizeof *wanted);
    char *names = (char *)must_alloc(n * NAME);
    uint32_t *slots = shuffled(n, 7), *order = shuffled(n, 99), *other = shuffled(n, 8);
    const struct limit_store store = limit_store_make(dir, n);
    must(n > 0 && n < UINT32_MAX / BUCKET_WORDS, "so many names");
    for (uint64_t i = 0; i < n; i++)
        places[i] = (struct limit_place){(uint32_t)i, slots[i] / 3 * BUCKET_WORDS + slots[i] % 3};
    for (uint64_t i = 0; i < n; i++)
        slots[i] = (uint32_t)i; /* the order in which they are made */
    reorder(places, slots, n, wanted, names);
    result("insert", n, limit_insert(&store, wanted, names, n, waits), "ns");
    reorder(places, order, n, wanted, names);
    (void)limit_find(&store, wanted, names, n / 4, waits);
    result("find", n, limit_find(&store, wanted, names, n, waits), "ns");
    reorder(places, other, n, wanted, names);
    result("destroy", n, limit_destroy(&store, wanted, names, n, waits), "ns");
    free(other);
    free(order);
    free(slots);
    free(names);
    free(wanted);
    free(places);
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
    } else if (argc == 5 && strcmp(argv[3], "names") == 0) {
        if (strcmp(argv[2], "one-by-one") == 0)
            limit_names(argv[1], number(argv[4]), 1);
        else
            limit_names(argv[1], number(argv[4]), 0);
    } else {
        fprintf(stderr, "usage: %s DIR VARIANT append UPDATES SECONDS | load N | open N | names N\n",
                argv[0]);
        return 2;
    }
    return 0;
}
