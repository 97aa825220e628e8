/* SPDX-License-Identifier: MIT */
/*
 * pool.h - pools of nodes of one size
 *
 * A pool hands out nodes of a fixed size from chunks of its own. Its empty chunks stay for its next
 * need (a node pool), or go back to the store as soon as there are more than a few of them (an
 * adaptive pool). A pool has a name and is private to whoever uses that name; hf_pool_shared is the
 * one pool of a store for a node size.
 *
 * Example
 *
 *   hf_pool *pool = hf_pool_create(txn, "trees/main", sizeof(struct node), 2);
 *   struct node *n = hf_pool_alloc(txn, pool);
 *   ...
 *   hf_pool_free(txn, pool, n);          one node, or all of them at once:
 *   hf_pool_destroy(txn, pool);
 *
 * Caveats
 *
 *   - With the allocator slab (the default), hf_alloc is such a pool already: blocks of up to 1 KiB
 *     have no header there, lie with others of their size, and empty chunks go back. It is also
 *     several times faster, since a pool announces what it changes call by call. What a pool
 *     brings: the nodes of one structure lie together and apart from others; all of them are freed
 *     in one call, whatever their number; they can be gone through (hf_pool_next); nodes of up to 8
 *     KiB have no header; and the same is had on best fit and seq fit.
 *   - A node that was freed may be handed out again in the same transaction: hf_pool_alloc
 *     announces it as hf_edit does, so that an abort brings the old content back.
 *   - Destroy a pool with hf_pool_destroy. hf_destroy would leave its chunks behind.
 *   - Nodes are not zeroed, have no type, and are aligned to 16, or to 8 if their size is no
 *     multiple of 16. hf_usable_bytes and hf_free refuse them.
 *   - hf_check_sanity looks into pools: links, counts and bitmaps.
 */
#ifndef HOLDFAST_POOL_H
#define HOLDFAST_POOL_H

#include "txn.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hf__pool hf_pool; /* in the store: an object; good as long as any address is */

#define HF_POOL_NODE_BYTES_MAX 8192
#define HF_POOL_KEEP_ALL UINT64_MAX /* empty_max of a node pool */

/*
 * hf_pool_create - an empty pool of that name for nodes of node_bytes (rounded up to a multiple of
 * 8). Whenever it has more than empty_max chunks without a node, it gives them back:
 * HF_POOL_KEEP_ALL makes a node pool, 0 to a few an adaptive one.
 * Errors (NULL): HF_EINVAL (0 or too large), and as hf_construct.
 * Idea: Boost.Interprocess's private_node_allocator and private_adaptive_pool.
 */
HF_API hf_pool *hf_pool_create(hf_txn *txn, const char *name, size_t node_bytes,
                               uint64_t empty_max);

/* hf_pool_find - the pool of that name, in a view or (hf_txn_view) in a transaction. Errors (NULL):
 * as hf_find; HF_ETYPE if it is no pool. */
HF_API const hf_pool *hf_pool_find(hf_view *view, const char *name);

/*
 * hf_pool_shared - the store's pool for nodes of that size, made if there is none: an adaptive one
 * that keeps two empty chunks, under the name "hf_pool/" and the rounded size. All who ask for the
 * same size share it. Errors: as hf_pool_create; HF_ETYPE also if a pool of that name has smaller
 * nodes. Idea: Boost's node_allocator and adaptive_pool.
 */
HF_API hf_pool *hf_pool_shared(hf_txn *txn, size_t node_bytes);

/* hf_pool_alloc - a node, or NULL: HF_EPTR (no pool), and as hf_alloc. */
HF_API void *hf_pool_alloc(hf_txn *txn, const hf_pool *pool);

/* hf_pool_free - gives a node back. NULL is allowed. Errors: HF_EPTR (not a live node of this pool;
 * nothing has changed), HF_ENOSPC, HF_ENOMEM, HF_ECORRUPT. */
HF_API int hf_pool_free(hf_txn *txn, const hf_pool *pool, const void *node);

/* hf_pool_alloc_many - count nodes, all or none. hf_pool_free_many - count nodes, all or none: NULL
 * among them is allowed. Errors: as for one. Idea: Boost's allocate_individual. */
HF_API int hf_pool_alloc_many(hf_txn *txn, const hf_pool *pool, size_t count, void **out);
HF_API int hf_pool_free_many(hf_txn *txn, const hf_pool *pool, void *const *nodes, size_t count);

/* hf_pool_trim - gives all empty chunks back. Takes time in proportion to their number. Errors:
 * HF_EPTR, HF_ENOSPC, HF_ENOMEM, HF_ECORRUPT. Idea: Boost's deallocate_free_chunks. */
HF_API int hf_pool_trim(hf_txn *txn, const hf_pool *pool);

/* hf_pool_destroy - the pool, and with it all its nodes. Errors: as hf_pool_trim, after which an abort
 * or a rollback is needed: part of it may be gone. */
HF_API int hf_pool_destroy(hf_txn *txn, const hf_pool *pool);

/* hf_pool_next - the next live node, in no order: 1 and *node, 0 at the end, HF_EPTR, HF_ECORRUPT.
 * *place is 0 at first; nodes allocated or freed meanwhile make it worthless. */
HF_API int hf_pool_next(hf_view *view, const hf_pool *pool, hf_ref *place, const void **node);

typedef struct hf_pool_info {
    uint64_t node_bytes, chunk_bytes, nodes_a_chunk, empty_max;
    uint64_t nodes, chunks, empty_chunks;
} hf_pool_info;

/* hf_pool_info_of - numbers of a pool. Errors: HF_EPTR. */
HF_API int hf_pool_info_of(hf_view *view, const hf_pool *pool, hf_pool_info *out);

#ifdef __cplusplus
}
#endif
#endif
