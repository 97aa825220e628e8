/* SPDX-License-Identifier: MIT */
/*
 * ref_check.h - where the pointers of typed objects lead, and what nothing leads to
 */
#ifndef HF_STORE_REF_CHECK_H
#define HF_STORE_REF_CHECK_H

#include "base/check.h"
#include "base/segment.h"
#include "live.h"
#include "refs.h"

struct hf__block_info;
struct hf__object;

/* Adds a block of the walk; object is NULL for what isn't a sound one. */
void hf__live_add_block(const struct hf__segment *seg, struct hf__live *live,
                        const struct hf__block_info *block, const struct hf__object *object);
/* A sealed map of all blocks that are live and not pending. HF_ENOMEM, HF_ECORRUPT; *live is to be freed
 * either way. */
int hf__live_of_store(const hf_store *store, struct hf__segment *seg, struct hf__live *live);

/* What the type records say, looked up once: by id, from 1 on. */
struct hf__type_map {
    const struct hf__type_record *record; /* NULL: unsound, told elsewhere                        */
    bool refers;                          /* has a pointer field                                  */
};
/* count = types + 1; NULL for want of memory. The caller frees it. */
struct hf__type_map *hf__type_maps(const struct hf__segment *seg, uint32_t *count);

/* An object of the map of live blocks, without its block's rest. */
struct hf__live_object {
    hf_ref elements;
    uint64_t count, size_bytes;
};
/* False unless it is a sound, typed object. */
bool hf__live_object(const struct hf__segment *seg, const struct hf__live_block *block,
                     struct hf__live_object *out);

/* The words of an opaque block that, read as an hf_ref or as a self-relative pointer, lead into a live
 * block: calls back for each with where it is, how it was read and the block it leads to. */
void hf__opaque_each(const struct hf__segment *seg, const struct hf__live *live,
                     const struct hf__live_block *block,
                     void (*call)(void *user, uint64_t at, uint32_t kind, uint32_t target),
                     void *user);

/* Is any pointer field said of by a type? Else there is nothing to check. */
bool hf__refs_any(const struct hf__segment *seg);
/* Rules ref.* for each typed object. Safe on any input. */
void hf__refs_check(const struct hf__segment *seg, const struct hf__live *live,
                    struct hf__check *check);
/* HF_CHECK_LEAKS: counts and tells what can't be reached; marks what can. */
void hf__leaks_check(const struct hf__segment *seg, struct hf__live *live,
                     struct hf__check *check);

#endif
