/* SPDX-License-Identifier: MIT */
/*
 * campaign.h - what the long random tests share: a seed that is printed, a scale, deterministic
 * random numbers and contents, places for files, and the count of what passed and failed
 *
 * A campaign prints its seed first, so that HF_TEST_SEED repeats it; HF_TEST_SCALE makes it longer
 * (10 = by hand) or shorter (0.1). It goes on after a failure, up to a number of messages, and ends
 * with the line 'N passed, N failed'. Files go to HF_TEST_DIR, else TMPDIR, else /tmp.
 */
#ifndef HF_TESTS_SUPPORT_CAMPAIGN_H
#define HF_TESTS_SUPPORT_CAMPAIGN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- random numbers: splitmix64, so that a seed means the same everywhere -------------------- */

struct rng {
    uint64_t state;
};

static inline uint64_t mix64(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static inline uint64_t rng_next(struct rng *rng)
{
    uint64_t out = mix64(rng->state);
    rng->state += UINT64_C(0x9E3779B97F4A7C15);
    return out;
}

static inline uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    return bound == 0 ? 0 : rng_next(rng) % bound;
}

static inline bool rng_percent(struct rng *rng, unsigned percent)
{
    return rng_next(rng) % 100 < percent;
}

/* Sizes as programs ask for them: mostly small, now and then large, edges more often than
 * chance. */
static inline size_t rng_size(struct rng *rng, size_t size_max)
{
    uint64_t shape = rng_below(rng, 16);
    size_t size = shape < 9    ? (size_t)rng_below(rng, 128)
                  : shape < 14 ? (size_t)rng_below(rng, 1024)
                               : (size_t)rng_below(rng, size_max);
    return size < size_max ? size : size_max;
}

/* Contents that follow from a number: nothing has to be stored to know what must be there. */
static inline void content_fill(void *out, size_t size_bytes, uint64_t number)
{
    unsigned char *bytes = out;
    uint64_t state = mix64(number);
    while (size_bytes >= 8) {
        memcpy(bytes, &state, 8);
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        bytes += 8;
        size_bytes -= 8;
    }
    if (size_bytes != 0)
        memcpy(bytes, &state, size_bytes);
}

static inline uint64_t content_sum(const void *data, size_t size_bytes)
{
    const unsigned char *bytes = data;
    uint64_t sum = UINT64_C(0xCBF29CE484222325) ^ size_bytes;
    for (; size_bytes >= 8; bytes += 8, size_bytes -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        sum = (sum ^ word) * UINT64_C(0x100000001B3);
        sum ^= sum >> 29;
    }
    for (; size_bytes != 0; bytes++, size_bytes--)
        sum = (sum ^ *bytes) * UINT64_C(0x100000001B3);
    return sum;
}

/* ---- the campaign ---------------------------------------------------------------------------- */

struct campaign {
    const char *title;
    uint64_t seed;
    double scale;
    uint64_t passed, failed;
    struct timespec started;
};

#define CAMPAIGN_MESSAGES_MAX 20

static inline uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* How long this process was ready to run and had to wait for a processor. */
static inline uint64_t starved_ns(void)
{
    unsigned long long run = 0, wait = 0;
    FILE *file = fopen("/proc/self/schedstat", "r");
    if (file != NULL) {
        if (fscanf(file, "%llu %llu", &run, &wait) != 2)
            wait = 0;
        fclose(file);
    }
    return wait;
}

static inline void campaign_start(struct campaign *c, const char *title)
{
    const char *seed = getenv("HF_TEST_SEED"), *scale = getenv("HF_TEST_SCALE");
    *c = (struct campaign){.title = title, .scale = 1.0};
    clock_gettime(CLOCK_MONOTONIC, &c->started);
    if (seed == NULL || *seed == '\0')
        c->seed = 20261124; /* a failure in CI tells of the change, not of the day */
    else if (strcmp(seed, "random") == 0)
        c->seed = mix64(clock_ns() ^ (uint64_t)getpid()) % 1000000007u;
    else
        c->seed = strtoull(seed, NULL, 0);
    if (scale != NULL && strtod(scale, NULL) > 0)
        c->scale = strtod(scale, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("%s: HF_TEST_SEED=%llu HF_TEST_SCALE=%g\n", title, (unsigned long long)c->seed,
           c->scale);
}

/* A number of repetitions under the scale, at least one. */
static inline uint64_t campaign_count(const struct campaign *c, uint64_t count)
{
    double scaled = (double)count * c->scale;
    return scaled < 1 ? 1 : (uint64_t)scaled;
}

__attribute__((format(printf, 3, 4))) static inline bool
campaign_expect(struct campaign *c, bool holds, const char *format, ...)
{
    if (holds) {
        c->passed++;
        return true;
    }
    if (c->failed++ < CAMPAIGN_MESSAGES_MAX) {
        va_list arguments;
        va_start(arguments, format);
        printf("FAILED (seed %llu): ", (unsigned long long)c->seed);
        vprintf(format, arguments);
        printf("\n");
        va_end(arguments);
    }
    return false;
}

static inline int campaign_end(const struct campaign *c)
{
    uint64_t begun =
        (uint64_t)c->started.tv_sec * UINT64_C(1000000000) + (uint64_t)c->started.tv_nsec;
    printf("%s: seed %llu, %.1f s\n", c->title, (unsigned long long)c->seed,
           (double)(clock_ns() - begun) / 1e9);
    printf("%llu passed, %llu failed\n", (unsigned long long)c->passed,
           (unsigned long long)c->failed);
    fflush(stdout);
    return c->failed == 0 && c->passed != 0 ? 0 : 1;
}

/* A new directory under parent (NULL: where files of tests go). False where there can be none. */
static inline bool campaign_directory(const char *parent, char *out, size_t out_bytes)
{
    if (parent == NULL)
        parent = getenv("HF_TEST_DIR");
    if (parent == NULL)
        parent = getenv("TMPDIR");
    if (parent == NULL)
        parent = "/tmp";
    int length = snprintf(out, out_bytes, "%s/hf-campaign-XXXXXX", parent);
    return length > 0 && (size_t)length < out_bytes && mkdtemp(out) != NULL;
}

/* Memory a test can't do without. */
static inline void *must_alloc(size_t size_bytes)
{
    void *p = malloc(size_bytes != 0 ? size_bytes : 1);
    if (p == NULL) {
        fprintf(stderr, "the test itself is out of memory\n");
        exit(2);
    }
    return p;
}

#endif
