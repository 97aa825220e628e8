/* SPDX-License-Identifier: MIT */
/*
 * pool.h - what the store's check asks of pools (holdfast/pool.h is for users)
 */
#ifndef HF_STORE_POOL_H
#define HF_STORE_POOL_H

#include "base/check.h"
#include "base/segment.h"
#include "holdfast/pool.h"
#include "pool_format.h"

#define HF__POOL_TYPE "hf_pool"

/* Rules pool.* of the object of that type at offset. Safe on any input. */
void hf__pool_check(struct hf__segment *seg, uint64_t offset, struct hf__check *check);

/* What a pool is like. */
struct hf__pool_shape {
    uint64_t node_bytes, nodes; /* nodes in a chunk                                               */
    uint64_t nodes_from;        /* where in a chunk the first one is                              */
    uint64_t empty_max, live, chunks;
};
/* Safe on any input. False: there is no pool at offset with a right check. */
bool hf__pool_shape_of(struct hf__segment *seg, uint64_t offset, struct hf__pool_shape *out);
/* Likewise. Whose chunk it is that lies in this block; false: none with a right check, of a pool with one. */
bool hf__pool_of_chunk(struct hf__segment *seg, uint64_t offset, uint64_t size_bytes,
                       uint64_t *out_pool);
/* Of such a chunk: does that node live? How many do, as its header and its bits say; 0 if they differ. */
bool hf__pool_node_lives(const struct hf__segment *seg, uint64_t chunk, uint64_t node);
uint64_t hf__pool_chunk_live(struct hf__segment *seg, uint64_t chunk);

#endif
