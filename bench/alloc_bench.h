/* SPDX-License-Identifier: MIT */
/*
 * alloc_bench.h - the driver of the workload "alloc": raw memory, one thread
 *
 * A peer's file defines the following and then includes this one.
 *
 *   typedef ... al_handle;             what keeps a block between transactions
 *   void al_open(const char *dir, const char *variant, uint64_t capacity_bytes);   a fresh store
 *   void al_close(void);
 *   void al_begin(void), al_commit(void);       around every batch; nothing where there is no such
 *   void *al_alloc(size_t size_bytes, al_handle *out);
 *   void al_free(al_handle handle);
 *   uint64_t al_used_bytes(void);      from the first to the last byte in use, overhead included
 *
 * and may define
 *
 *   #define AL_MANY      void al_alloc_many(size_t size_bytes, uint64_t count, al_handle *out);
 *                        void al_free_many(al_handle *handles, uint64_t count);
 *   #define AL_ALIGNED   void *al_alloc_aligned(size_t size_bytes, size_t align, al_handle *out);
 *   #define AL_RESIZE    int al_resize(al_handle handle, size_t size_bytes);   in place: whether
 *
 * Usage: DRIVER DIR VARIANT fixed N | lifo PAIRS | mixed N PAIRS | space SIZE N | many N | aligned N |
 *                           resize N
 *
 *   fixed   N blocks of 64 bytes, then all freed in random order. First on a fresh store, where
 *           every page is met for the first time ("cold"), then again ("pair": an alloc and a free)
 *   lifo    alloc and free of one block of 64 bytes, again and again
 *   mixed   N live blocks of 16..1024 bytes; one after the other is replaced by a block of another
 *           size ("pair"); then the space that takes ("space", bytes for each byte of payload)
 *   space   N blocks of SIZE bytes, nothing freed
 *   many    N blocks of 64 bytes in one call, then all freed in one call
 *   aligned N blocks of 256 bytes aligned to 256, then all freed
 *   resize  N blocks of 2048 bytes side by side, every other one freed; each of the others grows to 4000
 *           bytes in place and, in another transaction, shrinks to 2048 ("pair": both)
 *
 * Where there are transactions, "fixed" has one for all allocations and one for all frees, lifo and
 * mixed one for BATCH pairs. The first and the last 8 bytes of every block are written.
 */
#ifndef HF_BENCH_ALLOC_BENCH_H
#define HF_BENCH_ALLOC_BENCH_H

#include "bench.h"

enum { BATCH = 1000, MIXED_MIN = 16, MIXED_MAX = 1024 };

static inline void touch(void *p, size_t size_bytes, uint64_t value)
{
    must(p != NULL, "allocation failed");
    memcpy(p, &value, sizeof value);
    memcpy((char *)p + size_bytes - sizeof value, &value, sizeof value);
}

struct live {
    al_handle *handle;
    uint32_t *size;
    uint64_t count;
};

static struct live make_live(uint64_t count)
{
    struct live live;
    live.handle = (al_handle *)must_alloc(count * sizeof *live.handle);
    live.size = (uint32_t *)must_alloc(count * sizeof *live.size);
    live.count = count;
    return live;
}

static void drop_live(struct live *live)
{
    free(live->handle);
    free(live->size);
}

static void fixed_pass(const struct live *live, const uint32_t *order, double *alloc_ns,
                       double *free_ns)
{
    uint64_t start = now_ns();
    al_begin();
    for (uint64_t i = 0; i < live->count; i++)
        touch(al_alloc(64, &live->handle[i]), 64, i);
    al_commit();
    uint64_t middle = now_ns();
    al_begin();
    for (uint64_t i = 0; i < live->count; i++)
        al_free(live->handle[order[i]]);
    al_commit();
    *alloc_ns = (double)(middle - start) / (double)live->count;
    *free_ns = (double)(now_ns() - middle) / (double)live->count;
}

static void fixed(const char *dir, const char *variant, uint64_t n)
{
    struct live live = make_live(n);
    uint32_t *order = shuffled(n, 42);
    double alloc_ns, free_ns;
    al_open(dir, variant, n * 256 + (64u << 20));
    fixed_pass(&live, order, &alloc_ns, &free_ns);
    result("fixed64.cold", n, alloc_ns + free_ns, "ns");
    fixed_pass(&live, order, &alloc_ns, &free_ns);
    result("fixed64.alloc", n, alloc_ns, "ns");
    result("fixed64.free", n, free_ns, "ns");
    result("fixed64.pair", n, alloc_ns + free_ns, "ns");
    al_close();
    drop_live(&live);
    free(order);
}

static double lifo_pass(uint64_t pairs)
{
    al_handle handle;
    uint64_t start = now_ns();
    for (uint64_t done = 0; done < pairs; done += BATCH) {
        al_begin();
        for (uint64_t i = 0; i < BATCH; i++) {
            touch(al_alloc(64, &handle), 64, i);
            al_free(handle);
        }
        al_commit();
    }
    return (double)(now_ns() - start) / (double)pairs;
}

static void lifo(const char *dir, const char *variant, uint64_t pairs)
{
    al_open(dir, variant, 256u << 20);
    lifo_pass(pairs / 10 + BATCH);
    result("lifo64.pair", BATCH, lifo_pass(pairs), "ns");
    al_close();
}

static void fill(struct live *live, uint64_t fixed_size, uint64_t *seed)
{
    al_begin();
    for (uint64_t i = 0; i < live->count; i++) {
        uint64_t size = fixed_size != 0 ? fixed_size
                                        : MIXED_MIN + random_below(seed, MIXED_MAX - MIXED_MIN + 1);
        live->size[i] = (uint32_t)size;
        touch(al_alloc((size_t)size, &live->handle[i]), (size_t)size, i);
    }
    al_commit();
}

static void churn(struct live *live, uint64_t pairs, uint64_t *seed)
{
    for (uint64_t done = 0; done < pairs; done++) {
        uint64_t i = random_below(seed, live->count);
        uint64_t size = MIXED_MIN + random_below(seed, MIXED_MAX - MIXED_MIN + 1);
        if (done % BATCH == 0)
            al_begin();
        al_free(live->handle[i]);
        live->size[i] = (uint32_t)size;
        touch(al_alloc((size_t)size, &live->handle[i]), (size_t)size, done);
        if (done % BATCH == BATCH - 1 || done == pairs - 1)
            al_commit();
    }
}

static void report_space(const char *metric, const struct live *live)
{
    double payload = 0;
    for (uint64_t i = 0; i < live->count; i++)
        payload += live->size[i];
    result(metric, live->count, (double)al_used_bytes() / payload, "x");
}

static void mixed(const char *dir, const char *variant, uint64_t n, uint64_t pairs)
{
    struct live live = make_live(n);
    uint64_t seed = 12345;
    al_open(dir, variant, n * 2048 + (256u << 20));
    fill(&live, 0, &seed);
    churn(&live, pairs / 2, &seed);
    uint64_t start = now_ns();
    churn(&live, pairs, &seed);
    result("mixed.pair", n, (double)(now_ns() - start) / (double)pairs, "ns");
    report_space("mixed.space", &live);
    al_close();
    drop_live(&live);
}

static void space(const char *dir, const char *variant, uint64_t size, uint64_t n)
{
    struct live live = make_live(n);
    char metric[32];
    uint64_t seed = 12345;
    snprintf(metric, sizeof metric, "space%llu", (unsigned long long)size);
    al_open(dir, variant, n * (size * 4 + 128) + (64u << 20));
    fill(&live, size, &seed);
    report_space(metric, &live);
    al_close();
    drop_live(&live);
}

#ifdef AL_MANY
static void many(const char *dir, const char *variant, uint64_t n)
{
    al_handle *handles = (al_handle *)must_alloc(n * sizeof *handles);
    double alloc_ns = 0, free_ns = 0;
    al_open(dir, variant, n * 256 + (64u << 20));
    for (int pass = 0; pass < 2; pass++) {
        uint64_t start = now_ns();
        al_begin();
        al_alloc_many(64, n, handles);
        al_commit();
        uint64_t middle = now_ns();
        al_begin();
        al_free_many(handles, n);
        al_commit();
        alloc_ns = (double)(middle - start) / (double)n;
        free_ns = (double)(now_ns() - middle) / (double)n;
    }
    result("many64.alloc", n, alloc_ns, "ns");
    result("many64.free", n, free_ns, "ns");
    al_close();
    free(handles);
}
#endif

#ifdef AL_ALIGNED
static void aligned(const char *dir, const char *variant, uint64_t n)
{
    al_handle *handles = (al_handle *)must_alloc(n * sizeof *handles);
    double pair_ns = 0;
    al_open(dir, variant, n * 1024 + (64u << 20));
    for (int pass = 0; pass < 2; pass++) {
        uint64_t start = now_ns();
        al_begin();
        for (uint64_t i = 0; i < n; i++)
            touch(al_alloc_aligned(256, 256, &handles[i]), 256, i);
        al_commit();
        al_begin();
        for (uint64_t i = 0; i < n; i++)
            al_free(handles[i]);
        al_commit();
        pair_ns = (double)(now_ns() - start) / (double)n;
    }
    result("aligned256.pair", n, pair_ns, "ns");
    al_close();
    free(handles);
}
#endif

#ifdef AL_RESIZE
static void resize(const char *dir, const char *variant, uint64_t n)
{
    al_handle *handles = (al_handle *)must_alloc(n * sizeof *handles);
    al_open(dir, variant, n * 4096 + (64u << 20));
    al_begin();
    for (uint64_t i = 0; i < n; i++)
        touch(al_alloc(2048, &handles[i]), 2048, i);
    al_commit();
    al_begin();
    for (uint64_t i = 1; i < n; i += 2)
        al_free(handles[i]);
    al_commit();
    uint64_t start = now_ns();
    for (uint64_t size = 4000; size >= 2048; size -= 1952) {
        al_begin();
        for (uint64_t i = 0; i + 1 < n; i += 2)
            must(al_resize(handles[i], (size_t)size), "resize in place");
        al_commit();
    }
    result("resize.pair", n, (double)(now_ns() - start) / (double)(n / 2), "ns");
    al_close();
    free(handles);
}
#endif

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[3], "fixed") == 0)
        fixed(argv[1], argv[2], number(argv[4]));
    else if (argc == 5 && strcmp(argv[3], "lifo") == 0)
        lifo(argv[1], argv[2], number(argv[4]));
    else if (argc == 6 && strcmp(argv[3], "mixed") == 0)
        mixed(argv[1], argv[2], number(argv[4]), number(argv[5]));
    else if (argc == 6 && strcmp(argv[3], "space") == 0)
        space(argv[1], argv[2], number(argv[4]), number(argv[5]));
#ifdef AL_MANY
    else if (argc == 5 && strcmp(argv[3], "many") == 0)
        many(argv[1], argv[2], number(argv[4]));
#endif
#ifdef AL_ALIGNED
    else if (argc == 5 && strcmp(argv[3], "aligned") == 0)
        aligned(argv[1], argv[2], number(argv[4]));
#endif
#ifdef AL_RESIZE
    else if (argc == 5 && strcmp(argv[3], "resize") == 0)
        resize(argv[1], argv[2], number(argv[4]));
#endif
    else {
        fprintf(stderr,
                "usage: %s DIR VARIANT fixed N | lifo PAIRS | mixed N PAIRS | "
                "space SIZE N | many N | aligned N | resize N\n",
                argv[0]);
        return 2;
    }
    return 0;
}

#endif
