/* SPDX-License-Identifier: MIT */
/* alloc_pmemobj.c - libpmemobj's atomic allocations, in a file that it is told is persistent memory
 * (syncing each one to a disk would be another measurement). They are no transactions: each stands
 * by itself at once. Space is what the library says it has allocated, headers included. */
#include <libpmemobj.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t al_handle;

#include "bench.h"

static PMEMobjpool *pool;
static uint64_t pool_uuid;

static void al_open(const char *dir, const char *variant, uint64_t capacity_bytes)
{
    char path[4096];
    int enabled = 1;
    PMEMoid first;
    (void)variant;
    must(setenv("PMEM_IS_PMEM_FORCE", "1", 1) == 0, "setenv");
    snprintf(path, sizeof path, "%s/pool", dir);
    pool = pmemobj_create(path, "bench", capacity_bytes, 0600);
    if (pool == NULL)
        give_up(pmemobj_errormsg());
    must(pmemobj_ctl_set(pool, "stats.enabled", &enabled) == 0, "stats.enabled");
    must(pmemobj_alloc(pool, &first, 64, 1, NULL, NULL) == 0, "pmemobj_alloc");
    pool_uuid = first.pool_uuid_lo;
    pmemobj_free(&first);
}

static void al_close(void)
{
    pmemobj_close(pool);
}

static inline void al_begin(void)
{
}

static inline void al_commit(void)
{
}

static inline void *al_alloc(size_t size_bytes, al_handle *out)
{
    PMEMoid made;
    must(pmemobj_alloc(pool, &made, size_bytes, 1, NULL, NULL) == 0, "pmemobj_alloc");
    *out = made.off;
    return pmemobj_direct(made);
}

static inline void al_free(al_handle handle)
{
    PMEMoid freed;
    freed.pool_uuid_lo = pool_uuid;
    freed.off = handle;
    pmemobj_free(&freed);
}

static uint64_t al_used_bytes(void)
{
    uint64_t allocated = 0;
    must(pmemobj_ctl_get(pool, "stats.heap.curr_allocated", &allocated) == 0, "curr_allocated");
    return allocated;
}

#include "alloc_bench.h"
