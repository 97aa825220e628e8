/* SPDX-License-Identifier: MIT */
/*
 * memory.h - raw memory inside a store
 *
 * Blocks without name and type, as from malloc. They are reached through references that the
 * program stores somewhere; a tool can't tell what is in them.
 *
 * Example
 *
 *   size_t received = 0;
 *   char *text = hf_alloc(txn, 100);
 *   ...
 *   char *more = hf_resize(txn, HF_EXPAND_FORWARD | HF_ALLOCATE_NEW, text, 200, 400, &received);
 *
 * Caveats
 *
 *   - New memory is not zeroed.
 *   - Freed memory stays allocated until the transaction ends, so that an abort can bring it back.
 *     Only what the transaction itself allocated may be handed out again before.
 *   - hf_free returns nothing: a wrong pointer makes hf_commit fail (and hf_last_error tells now).
 */
#ifndef HOLDFAST_MEMORY_H
#define HOLDFAST_MEMORY_H

#include "txn.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * hf_alloc - size_bytes of memory, aligned to 8, or to 16 for sizes that are multiples of 16 (best
 * and seq fit: always 16). 0 bytes is allowed. The store's file grows if it must.
 * Errors (NULL): HF_ENOSPC (disk full), HF_EFULL (size_max_bytes), HF_EOVERFLOW, HF_ENOMEM; the
 * transaction stays usable.
 */
HF_API void *hf_alloc(hf_txn *txn, size_t size_bytes);

/* hf_alloc_aligned - the same at a power of two up to HF_ALIGN_BYTES_MAX, in every mapping.
 * Errors: as hf_alloc, and HF_EINVAL. */
HF_API void *hf_alloc_aligned(hf_txn *txn, size_t size_bytes, size_t align_bytes);

/* hf_free - gives a block of hf_alloc and its kin back when the transaction commits. NULL is
 * allowed. HF_EPTR is sticky: hf_commit returns it, and has aborted. */
HF_API void hf_free(hf_txn *txn, const void *p);

/* hf_usable_bytes - what a raw block really holds, at least what was asked for; 0 = HF_EPTR. */
HF_API size_t hf_usable_bytes(hf_view *view, const void *p);

/*
 * hf_alloc_many - count blocks of size_bytes each, from one stretch of memory where there is one;
 * each can be freed alone. All or none. out has room for count pointers. With the allocator slab,
 * blocks of up to 1 KiB and one size are as small as those of hf_alloc; those of
 * hf_alloc_many_sizes have headers, and hf_resize can extend them.
 * hf_alloc_many_sizes - the same with a size for each. hf_free_many - hf_free for each.
 * Errors: as hf_alloc. Idea: Boost's allocate_many.
 */
HF_API int hf_alloc_many(hf_txn *txn, size_t size_bytes, size_t count, void **out);
HF_API int hf_alloc_many_sizes(hf_txn *txn, const size_t *sizes_bytes, size_t count, void **out);
HF_API void hf_free_many(hf_txn *txn, void *const *blocks, size_t count);

enum { /* hf_resize commands, or-ed together */
    HF_ALLOCATE_NEW = 1,    /* a new block, if nothing else will do; the old one is left as it is */
    HF_EXPAND_FORWARD = 2,  /* move the end                                                       */
    HF_EXPAND_BACKWARD = 4, /* move the start: the content stays where it is, later in the block  */
    HF_SHRINK_IN_PLACE = 8  /* give the end back (when the transaction commits); stands alone     */
};

/*
 * hf_resize - changes the size of a raw block towards preferred_bytes.
 *
 * Expanding succeeds if the block gets at least limit_bytes (limit <= preferred); shrinking if it
 * gets to at most limit_bytes and not below preferred_bytes (preferred <= limit). Forward is tried
 * before backward, both before a new block. *received_bytes (may be NULL) is the new usable size;
 * on failure with HF_EFULL or HF_ENOSPC what could have been had. Returns the block's address,
 * which is p itself unless it was expanded backward or is new; HF_EXPAND_BACKWARD alone keeps the
 * distance a multiple of 16. What was added may be written as what hf_alloc returns; what the block held
 * before is announced with hf_edit first. A new block is never freed against the old: copy, then hf_free. p may
 * be NULL for HF_ALLOCATE_NEW alone. With the allocator slab a block of up to 1 KiB has what it
 * has: it neither grows nor shrinks in place beyond the size that it was rounded up to.
 * Errors (NULL): HF_EINVAL, HF_EPTR, HF_ENOSPC, HF_EFULL, HF_EOVERFLOW, HF_ENOMEM.
 * Idea: Boost's allocation_command.
 */
HF_API void *hf_resize(hf_txn *txn, unsigned command, const void *p, size_t limit_bytes,
                       size_t preferred_bytes, size_t *received_bytes);

/* hf_zero_free_memory - overwrites free memory with zeros, so that nothing deleted can be read from
 * the file, once the transaction is committed and the store closed (until then the log engine's log
 * may hold it). Not undone by an abort. Errors: HF_EINVAL, HF_EFORKED; log engine: HF_EBUSY (a view
 * still needs what was above the used end; the rest is done), HF_EIO, HF_ECOMMIT_UNKNOWN. */
HF_API int hf_zero_free_memory(hf_txn *txn);

/* hf_all_memory_deallocated - 1 if no object and no raw block is left, 0 if there is. */
HF_API int hf_all_memory_deallocated(hf_view *view);

#ifdef __cplusplus
}
#endif
#endif
