/* SPDX-License-Identifier: MIT */
/*
 * segment.h - the memory that alloc/ and index/ work on, and the edit door in front of it
 *
 * A segment is a run of bytes addressed by offset (hf_ref). Reading goes through hf__at, which
 * gives const. Every write is announced through hf__edit, which gives the writable address; what
 * stands behind the door (an undo list, a log, or nothing at all in tests) decides what that costs.
 *
 * The two-step rule. Announcing can need room (for old content), and room can be refused; a
 * structure that is half changed must not meet a refusal. So every mutating operation first calls
 * hf__reserve with an upper bound of what it will announce, returns that error if there is one, and
 * after that hf__edit cannot fail. HF__EDIT_COST(n) is the bound for one announcement of n bytes,
 * HF__OP_COST is enough for any O(log n) operation on a tree or list.
 *
 * Bounds. `size_bytes` says how far the segment is backed by memory or file. Anything read from the
 * segment is input: hf__in_segment(seg, offset, size) before it is followed.
 */
#ifndef HF_BASE_SEGMENT_H
#define HF_BASE_SEGMENT_H

#include "holdfast/types.h"

#include <assert.h>
#include <stdbool.h>

struct hf__segment;

struct hf__door {
    /* Makes room so that announcements costing cost_bytes in all can't fail, and one of a single
     * word more: a caller's counter behind an operation that made its own reservation. 0, HF_ENOSPC,
     * HF_ENOMEM. */
    int (*reserve)(struct hf__segment *seg, uint64_t cost_bytes);
    /* Announces [offset, offset + size_bytes): keeps what an abort needs. Can't fail once
     * reserved. */
    void (*edit)(struct hf__segment *seg, uint64_t offset, uint64_t size_bytes);
    /* Backs the segment up to at least size_bytes (and says so in seg->size_bytes).
     * 0, HF_ENOSPC (disk), HF_EFULL (size_max). */
    int (*grow)(struct hf__segment *seg, uint64_t size_bytes);
    /* System memory for indexes: a block from the segment's allocator, and giving one back (which
     * takes effect only when the transaction ends). allocate: 0, HF_ENOSPC, HF_EFULL. release spends
     * up to HF__OP_COST of what is reserved, and then can't fail on a sound segment; nor, without a
     * reservation, for a block that was allocated a moment ago: an operation that is refused halfway
     * gives back what it took. */
    int (*allocate)(struct hf__segment *seg, uint64_t size_bytes, hf_ref *out);
    int (*release)(struct hf__segment *seg, hf_ref block);
    /* What others see of space that was free is what the last commit left there, which need not be
     * what this view has: from now on it is what this view has. Can't fail; NULL = it is already. */
    void (*fresh)(struct hf__segment *seg, uint64_t offset, uint64_t size_bytes);
    /* [offset, offset + size_bytes), which may be a hole of the file, has disk blocks before it is
     * written; up to `end` it may be so, too, if that is cheaper. 0, HF_ENOSPC; NULL = nothing is a
     * hole. */
    int (*back)(struct hf__segment *seg, uint64_t offset, uint64_t size_bytes, uint64_t end);
    /* The tail from there on may have holes: the segment ends there, until it grows again. Can't fail
     * once reserved (the cost of one word); NULL = nothing is a hole. */
    void (*lower)(struct hf__segment *seg, uint64_t size_bytes);
};

struct hf__segment {
    unsigned char *base;         /* address of offset 0 in this view                             */
    uint64_t size_bytes;         /* offsets below this are backed                                */
    uint64_t salt;               /* keys header checksums; derived from the store's uuid         */
    const struct hf__door *door; /* NULL = plain memory: edits free, no growth                   */
    void *owner;                 /* for the door                                                 */
    bool old_tail;               /* what is free above what is used may be older than this state */
};

#define HF__LINE_BYTES 64u
#define HF__EDIT_COST(size) (((uint64_t)(size) / HF__LINE_BYTES + 2) * (HF__LINE_BYTES + 24) + 24)
#define HF__OP_COST ((uint64_t)24 * 1024)

static inline const void *hf__at(const struct hf__segment *seg, uint64_t offset)
{
    return seg->base + offset;
}

/* Asks for the line at any offset, true or not: a fetch of what isn't there comes to nothing. */
static inline void hf__prefetch(const struct hf__segment *seg, uint64_t offset)
{
    __builtin_prefetch((const void *)((uintptr_t)seg->base + (uintptr_t)offset));
}

static inline bool hf__in_segment(const struct hf__segment *seg, uint64_t offset, uint64_t size)
{
    return offset <= seg->size_bytes && size <= seg->size_bytes - offset;
}

static inline int hf__reserve(struct hf__segment *seg, uint64_t cost_bytes)
{
    return seg->door != NULL ? seg->door->reserve(seg, cost_bytes) : 0;
}

static inline void *hf__edit(struct hf__segment *seg, uint64_t offset, uint64_t size_bytes)
{
    assert(hf__in_segment(seg, offset, size_bytes));
    if (seg->door != NULL)
        seg->door->edit(seg, offset, size_bytes);
    return seg->base + offset;
}

#endif
