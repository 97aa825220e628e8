/* SPDX-License-Identifier: MIT */
/*
 * kill_world.h - what kill_log.c's transactions do, and the state after any number of them
 *
 * Transaction j's steps follow from (seed, j) alone, and what a step does from the state before it. So
 * the world after k transactions is known without asking the store: which places are there, which
 * transaction made each and which wrote it last. Their bytes are proved by a sum beside them.
 */
#ifndef HF_TESTS_CRASH_KILL_WORLD_H
#define HF_TESTS_CRASH_KILL_WORLD_H

#include "holdfast.h"
#include "tests/support/campaign.h"

#define PLACES   24u /* 0: bulk; then named objects; the last eight: raw blocks in a table */
#define REFS     8u
#define BULK_MIN ((uint64_t)1100 << 10)
#define BULK_MAX ((uint64_t)1900 << 10)

/* ---- what is in the store -------------------------------------------------------------------- */

struct end { /* objects "a-head" and "z-tail" */
    uint64_t k, seed;
};
struct stamped { /* in front of the bytes of each place */
    uint64_t stamp, born; /* the transactions that wrote it last and that made it */
    uint64_t size_bytes, sum;
};
struct table { /* object "table" */
    hf_ref refs[REFS];
};

static const hf_type end_type = {
    .name = "end", .version = 1, .size_bytes = sizeof(struct end), .align_bytes = 8};
static const hf_type table_type = {
    .name = "table", .version = 1, .size_bytes = sizeof(struct table), .align_bytes = 8};

/* ---- what transaction j does ----------------------------------------------------------------- */

#define STEPS_MAX 40u

struct step {
    uint32_t place;
    uint64_t size_bytes; /* if it is not there: make it with so many bytes */
    bool destroy;        /* if it is there: destroy it, else edit it ... */
    uint64_t at, length; /* ... here, each taken modulo what fits */
    uint64_t number;     /* of the content */
};
struct plan {
    struct step steps[STEPS_MAX];
    uint32_t count;
};

static inline void plan_make(struct plan *plan, uint64_t seed, uint64_t j)
{
    struct rng rng = {mix64(seed) ^ mix64(j)};
    plan->count = rng_percent(&rng, 6) ? STEPS_MAX : 1 + (uint32_t)rng_below(&rng, 6);
    for (uint32_t i = 0; i < plan->count; i++) {
        struct step *step = &plan->steps[i];
        const bool bulk = rng_below(&rng, 100) == 0;
        step->place = bulk ? 0 : 1 + (uint32_t)rng_below(&rng, PLACES - 1);
        step->size_bytes = bulk ? BULK_MIN + rng_below(&rng, BULK_MAX - BULK_MIN)
                                : rng_size(&rng, rng_percent(&rng, 3) ? 200000 : 6000);
        step->destroy = rng_percent(&rng, bulk ? 70 : 40);
        step->at = rng_next(&rng);
        step->length = rng_next(&rng);
        step->number = rng_next(&rng);
    }
}

/* ---- the world: the state after k, computed -------------------------------------------------- */

struct thing {
    bool there;
    uint64_t stamp, born, size_bytes;
};
struct world {
    uint64_t seed, k;
    struct thing things[PLACES];
};

static inline void world_advance(struct world *world, uint64_t k)
{
    struct plan plan;
    while (world->k < k) {
        world->k++;
        plan_make(&plan, world->seed, world->k);
        for (uint32_t i = 0; i < plan.count; i++) {
            const struct step *step = &plan.steps[i];
            struct thing *thing = &world->things[step->place];
            if (!thing->there)
                *thing = (struct thing){true, world->k, world->k, step->size_bytes};
            else if (step->destroy)
                *thing = (struct thing){0};
            thing->stamp = thing->there ? world->k : 0;
        }
    }
}

#endif
