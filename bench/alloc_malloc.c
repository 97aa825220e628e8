/* SPDX-License-Identifier: MIT */
/* alloc_malloc.c - whatever malloc is linked: glibc's, jemalloc, mimalloc. In RAM: no transactions,
 * no file. Space is what the resident set has grown by. */
#include <stddef.h>
#include <stdint.h>

typedef void *al_handle;

#include "bench.h"

static uint64_t resident_at_open;

static void al_open(const char *dir, const char *variant, uint64_t capacity_bytes)
{
    (void)dir;
    (void)variant;
    (void)capacity_bytes;
    resident_at_open = resident_bytes();
}

static void al_close(void)
{
}

static inline void al_begin(void)
{
}

static inline void al_commit(void)
{
}

static inline void *al_alloc(size_t size_bytes, al_handle *out)
{
    *out = malloc(size_bytes);
    return *out;
}

static inline void al_free(al_handle handle)
{
    free(handle);
}

static uint64_t al_used_bytes(void)
{
    return resident_bytes() - resident_at_open;
}

#include "alloc_bench.h"
