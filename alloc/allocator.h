/* SPDX-License-Identifier: MIT */
/*
 * allocator.h - the contract every memory algorithm fulfils
 *
 * A memory algorithm manages [first, seg->size_bytes) of a segment. Its state is a struct
 * hf__heap_root inside the segment plus what lies in the managed range itself; it keeps nothing in
 * process memory (but for a transaction, slab_cache.h), so any process can go on from the segment
 * alone. It is not thread-safe: the caller holds the writer's place for mutating calls and a view
 * for reading ones.
 *
 *   first                                   used_end                  seg->size_bytes
 *   | block | block | free | block | ... | block |        tail          |
 *
 * Blocks lie without a gap from first to used_end (block_format.h). The tail was never used or has
 * been given back; nothing in it is ever assumed. An allocation that fits no free block is cut from
 * the tail; if the tail is too small the segment grows through the edit door. When the last block
 * is freed used_end comes down, so used_end is always the end of a live block (or first).
 *
 * Invariants, checked by check():
 *   H1  the walk from first by block sizes ends exactly at used_end; every header's checksum is
 *   right
 *   H2  each block's recorded previous size is the size of the block before it (0 for the first)
 *   H3  no two free blocks are neighbours; the last block is not free
 *   H4  the free set holds exactly the free blocks, each once, in the algorithm's order
 *   H5  the counters in the root are those of the walk
 *   H6  no 16-aligned offset of the managed range other than a block's start holds a header whose
 *       checksum is right: whoever merges a block into another destroys its header (so a search for
 *       headers in a damaged file finds only true ones). Not so for unwritten bytes of a block that was
 *       taken from an old tail of the log engine's (docs/recovery.md, "What this costs")
 *
 * Undo. Mutating calls follow segment.h's two-step rule and change nothing on an error. free() must
 * be called only for blocks whose space may be reused at once: the store defers frees to the end of
 * the transaction, which is why payload handed out by allocate was free when the transaction (and
 * every savepoint of it) began.
 *
 * Damage. Headers are trusted only with their checksum and links only within bounds. HF_ECORRUPT
 * comes before the first change wherever the damage can be seen before; where it is met between two
 * changes of the free set, a free block may be missing from that (already damaged) set: H1 and H2
 * hold at every return, and rebuild mends the rest.
 */
#ifndef HF_ALLOC_ALLOCATOR_H
#define HF_ALLOC_ALLOCATOR_H

#include "base/check.h"
#include "base/segment.h"
#include "block_format.h"

struct hf__allocator;
struct hf__free_set;
struct hf__slab_cache;

struct hf__heap {
    struct hf__segment *seg;
    uint64_t root;                     /* offset of its struct hf__heap_root                     */
    const struct hf__allocator *algorithm;
    struct hf__slab_cache *cache;      /* slab: of the running transaction, or NULL              */
};

/* One block as the walk and identify() see it. */
struct hf__block_info {
    hf_ref payload;                    /* first byte the user may use: header + 16               */
    uint64_t usable_bytes;             /* payload bytes                                          */
    uint32_t kind;                     /* enum hf__block_kind                                    */
    bool pending;                      /* hf__block_set_pending: freed when the transaction ends  */
    bool slot;                         /* of a chunk (slab.c): without a header of its own       */
};

struct hf__alloc_request {
    uint64_t size_bytes;               /* payload wanted; 0 is as 1                              */
    uint64_t align_bytes;              /* power of two; <= 16 is natural (slab: <= 8)            */
    uint64_t lead_bytes;               /* (payload + lead) is what is aligned; multiple of 16    */
    uint32_t kind;                     /* not HF__BLOCK_FREE                                     */
};

/* Somebody wants to know what zero_free wrote. */
typedef void hf__zeroed_fn(void *user, uint64_t offset, uint64_t size_bytes);

struct hf__allocator {
    uint32_t kind;                     /* HF_ALLOC_..., recorded in the file                     */
    const char *name;                  /* "best_fit"                                             */
    bool slabs;                        /* small blocks may be slots of chunks                    */
    const struct hf__free_set *free_set; /* blocks.h: what tells the algorithms apart            */

    /* Makes an empty heap that starts at first (16-aligned, above the root).
     * 0, HF_EFULL (no room for anything), HF_ENOSPC. */
    int (*init)(struct hf__heap *heap, uint64_t first);

    /* Alignment is of offsets; the caller sees to the base address. *usable (may be
     * NULL) is the payload really given. 0, HF_ENOSPC, HF_EFULL, HF_EOVERFLOW, HF_ENOMEM,
     * HF_ECORRUPT. */
    int (*allocate)(struct hf__heap *heap, const struct hf__alloc_request *request, hf_ref *out,
                    uint64_t *usable);
    /* count blocks of sizes[i] bytes (or of size_each where sizes is NULL) cut from one stretch,
     * all or none; falls back to separate blocks where no stretch is long enough. Tells the door that
     * they are fresh. */
    int (*allocate_many)(struct hf__heap *heap, const uint64_t *sizes, uint64_t size_each,
                         uint64_t count, uint32_t kind, hf_ref *out);
    /* In place only: forward and/or backward (flags HF_EXPAND_*), no new block. Takes from free
     * neighbours and, for the last block, from the tail (growing the segment). On success *out is
     * the new payload offset, *received its usable bytes >= limit; HF_EFULL if it can't reach limit
     * (*received = what it could reach). Backward moves by multiples of 16. */
    int (*expand)(struct hf__heap *heap, hf_ref block, unsigned flags, uint64_t limit_bytes,
                  uint64_t preferred_bytes, hf_ref *out, uint64_t *received);
    /* Cuts a live block in two live blocks; the first keeps at least keep_bytes of payload. *rest
     * is the second's payload, or 0 if the remainder is too small to be a block. */
    int (*split)(struct hf__heap *heap, hf_ref block, uint64_t keep_bytes, hf_ref *rest);
    /* Frees a live block at once, coalescing with its neighbours. 0, HF_EPTR, HF_ENOSPC. */
    int (*free)(struct hf__heap *heap, hf_ref block);

    /* Gives back what was kept for the next need (slab: empty chunks); NULL = nothing ever is. */
    int (*trim)(struct hf__heap *heap);

    /* Largest payload allocate would find without growing the segment (the tail included). */
    uint64_t (*largest_free)(const struct hf__heap *heap);
    /* Overwrites all free payload (and the tail up to seg->size_bytes) with zeros, keeping the free
     * set's own nodes. Not announced: the payload of free blocks is nobody's; but zeroed (may be
     * NULL) is told what was written. Whole pages of blocks marked as holes are left alone where the
     * door has `back`: they have no memory to be written. */
    void (*zero_free)(struct hf__heap *heap, hf__zeroed_fn *zeroed, void *user);
    /* Makes a free set anew from the walk (fsck): merges neighbouring free blocks, lowers used_end,
     * corrects counters. The walk must be sound (H1, H2). 0, HF_ECORRUPT, HF_ENOSPC. */
    int (*rebuild)(struct hf__heap *heap);
    /* H1..H5; the totals go to check->report (blocks, free_blocks, live_bytes, free_bytes). */
    void (*check)(const struct hf__heap *heap, struct hf__check *check);
};

extern const struct hf__allocator hf__alloc_best_fit;
extern const struct hf__allocator hf__alloc_seq_fit;
extern const struct hf__allocator hf__alloc_slab;
/* NULL if unknown; 0 = slab. */
const struct hf__allocator *hf__allocator_by_kind(uint32_t kind);

/* ---- the same for every algorithm: blocks.c -------------------------------------------------- */

const struct hf__heap_root *hf__heap_root_of(const struct hf__heap *heap);
/* What lies at payload offset block. 0, or HF_EPTR if no live block starts there. Safe on any
 * input. */
int hf__heap_identify(const struct hf__heap *heap, hf_ref block, struct hf__block_info *out);
/* Asks the processor for the lines that freeing a block (any offset) will look at first. */
void hf__block_expect(const struct hf__heap *heap, hf_ref block);
/* Marks a live block as freed at the end of the transaction (undo takes the mark back).
 * 0, HF_EPTR (also when it is marked already), HF_ENOSPC. */
int hf__block_set_pending(struct hf__heap *heap, hf_ref block);
/* The same for blocks of one kind (0 = any), telling what the list of pending blocks needs: *entry
 * goes into the list, unless it is 0. An entry stands for one block, or for all pending slots of
 * one chunk. A slot that is only remembered so far (slab_cache.h) has none yet. 0, HF_EPTR (also for another kind), HF_ENOSPC. */
int hf__block_free_later(struct hf__heap *heap, hf_ref block, uint32_t kind, hf_ref *entry);
/* Frees what an entry stands for. 0, HF_EPTR, HF_ENOSPC, HF_ECORRUPT. */
int hf__heap_free_entry(struct hf__heap *heap, hf_ref entry);
#define HF__ENTRY_OF_SLOTS 1u /* bit 0 of an entry: a slot in the chunk                             */
/* Takes the mark back. 0, HF_EPTR, HF_ENOSPC. */
int hf__block_clear_pending(struct hf__heap *heap, hf_ref block);
/* Repair: a live block whose content makes no sense becomes HF__BLOCK_LOST. 0, HF_EPTR (also for
 * slots, which can only be freed), HF_ENOSPC. */
int hf__block_set_lost(struct hf__heap *heap, hf_ref block);
/* The next block at or after `position` (0 = from the first): fills *out and advances *position.
 * 1, 0 at used_end, HF_ECORRUPT where the chain is broken. Free blocks are included, and of a chunk
 * each live slot; chunks themselves, their free slots and their directory are not. */
int hf__heap_next(const struct hf__heap *heap, uint64_t *position, struct hf__block_info *out);
/* fsck's last resort: makes the walk sound again. Where the chain is broken it looks for the next
 * true header and turns the gap into one HF__BLOCK_LOST block; previous sizes are corrected. The
 * number of bytes set aside goes to *lost. Announces what it writes. 0, HF_ENOSPC, HF_ECORRUPT (not
 * even a first block: the whole range becomes one lost block, which is success too if it fits). */
int hf__heap_mend_walk(struct hf__heap *heap, uint64_t *lost);
/* ---- wrecks: wreck.c --------------------------------------------------------------------------- */

/* A block that is live, as far as its own header says, or a live slot of a chunk. */
struct hf__wreck_block {
    struct hf__block_info info;
    uint64_t proof, proof_bytes; /* what says so: the header, or the chunk's record and words     */
    bool sound;                  /* slots: the chunk's bitmap is                                  */
};
/* Beyond what the caller sets all zero is the beginning. */
struct hf__wreck_scan {
    bool (*trusted)(const void *user, uint64_t from, uint64_t bytes); /* are they what they were?  */
    const void *user;
    uint64_t offset;             /* not looked at yet                                             */
    uint64_t chunk;              /* whose slots are being told, 0 = none                          */
    uint32_t slot;
    uint64_t skipped_bytes;      /* belong to no block that could be told                         */
};
/* The next block in a segment of which nothing is certain but its salt: where the chain is broken, it
 * goes on at the next true header or record of a chunk. A header that isn't trusted may be one of an earlier time:
 * its block ends where another one begins. Of the heap's root only first and used_end
 * count. 1 or 0. */
int hf__wreck_next(const struct hf__heap *heap, struct hf__wreck_scan *scan,
                   struct hf__wreck_block *out);

/* Marks free blocks with whole pages of at least span_min bytes behind what the free set owns: those
 * pages are to become holes of the file (holes.c). 0, HF_ENOSPC, HF_ENOMEM, HF_ECORRUPT. */
int hf__heap_mark_holes(struct hf__heap *heap, uint64_t span_min);
/* Visits each such block; one that returns something else than 0 ends it, and that is returned. [from,
 * to) are those pages, hole says whether the block is marked. 0, HF_ECORRUPT. */
typedef int hf__span_fn(void *user, uint64_t block, uint64_t from, uint64_t to, bool hole);
int hf__heap_each_span(struct hf__heap *heap, uint64_t span_min, hf__span_fn *visit, void *user);
/* Lowest size the segment can be cut to: used_end. */
uint64_t hf__heap_used_end(const struct hf__heap *heap);

#endif
