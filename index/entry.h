/* SPDX-License-Identifier: MIT */
/*
 * entry.h - what the kinds of index share, inside this room
 *
 * Comparing the name of an entry, taking arrays through the edit door, and checking the parts of an
 * entry and of a root that a kind doesn't use.
 */
#ifndef HF_INDEX_ENTRY_H
#define HF_INDEX_ENTRY_H

#include "index.h"

#include <string.h>

/* No entry is shorter: node, one byte of name, its NUL, rounded up. */
#define HF__INDEX_ENTRY_BYTES_MIN 32u

static inline size_t hf__index_name_bytes(const struct hf__segment *seg, hf_ref node)
{
    return hf__index_node_at(seg, node)->name_bytes;
}

static inline struct hf__index_root *hf__index_edit_root(struct hf__index *index)
{
    return (struct hf__index_root *)hf__edit(index->seg, index->root,
                                             sizeof(struct hf__index_root));
}

/* Asks for what a scan will read of an entry, any offset, in a while: node, name and mostly the
 * object's header. */
__attribute__((always_inline)) static inline void hf__index_expect(const struct hf__segment *seg,
                                                                   hf_ref node)
{
    hf__prefetch(seg, node);
    hf__prefetch(seg, node + HF__LINE_BYTES);
}

/* memcmp(a, b, bytes) == 0, without a call for the usual length of a name. */
static inline bool hf__index_same_bytes(const void *a, const void *b, size_t bytes)
{
    return bytes - 8 > 8 ? memcmp(a, b, bytes) == 0 : hf__index_same_short(a, b, bytes);
}

/* How many entries there can be whatever a damaged count says: the bound of every walk. */
static inline uint64_t hf__index_entries_max(const struct hf__index *index)
{
    uint64_t count = hf__index_root_of(index)->count;
    uint64_t fit = index->seg->size_bytes / HF__INDEX_ENTRY_BYTES_MIN;
    return count < fit ? count : fit;
}

/* Makes links and hash zero, for the kinds that have none. An entry in which they are already, as
 * in new ones, isn't announced. (Field by field, as they were written a moment ago: a load that spans
 * several stores waits until all that was stored before has reached the cache.) */
static inline void hf__index_clear_node(struct hf__segment *seg, hf_ref node)
{
    const struct hf__index_node *now = hf__index_node_at(seg, node);
    if (now->link == 0 && now->name_hash == 0 && now->reserved == 0)
        return;
    struct hf__index_node *to = (struct hf__index_node *)hf__edit(seg, node, sizeof *to);
    to->link = 0;
    to->name_hash = 0;
    to->reserved = 0;
}

/* hf__index_compare(name of a, name of b). Both are node_ok. */
int hf__index_compare_nodes(const struct hf__segment *seg, hf_ref a, hf_ref b);
/* hf__index_compare(name, name of node). node is node_ok. */
int hf__index_compare_name(const struct hf__segment *seg, const void *name, size_t size_bytes,
                           hf_ref node);
bool hf__index_has_prefix(const struct hf__segment *seg, hf_ref node, const void *prefix,
                          size_t prefix_bytes);

/* ---- arrays: struct hf__index_array and its slots -------------------------------------------- */

#define HF__INDEX_SLOT_BYTES sizeof(uint64_t)

static inline uint64_t hf__index_slot(hf_ref array, uint64_t i)
{
    return array + sizeof(struct hf__index_array) + i * HF__INDEX_SLOT_BYTES;
}
static inline const uint64_t *hf__index_slots_at(const struct hf__segment *seg, hf_ref array)
{
    return (const uint64_t *)hf__at(seg, hf__index_slot(array, 0));
}

/* Whether an array of that many slots lies there: in the segment, aligned, its header right. */
bool hf__index_array_ok(const struct hf__segment *seg, hf_ref array, uint64_t slots);
/* A block for an array, from the door; its header is still to be written with array_begin, which
 * costs HF__EDIT_COST of it. 0, HF_EFULL (also without a door), HF_ENOSPC. */
int hf__index_take(struct hf__index *index, uint64_t slots, hf_ref *out);
void hf__index_array_begin(struct hf__index *index, hf_ref array, uint64_t slots);
/* Gives an array back to the door. Spends up to HF__OP_COST of what is reserved. */
int hf__index_give(struct hf__index *index, hf_ref array);
/* Gives back what this very call took, on its way out with another error. 0 is allowed. */
void hf__index_untake(struct hf__index *index, hf_ref array);

/* ---- checks ---------------------------------------------------------------------------------- */

/*
 * hf__index_check_entry - reports what is wrong with one entry by itself: where it lies, its name's
 * length and NUL, its reserved bits, the link that is zero (unless linked), and (hash aside) the
 * hash that is zero; then asks valid, which reports by itself. from is the offset of the link that
 * leads to it. Returns whether its name may be read.
 */
bool hf__index_check_entry(const struct hf__index *index, struct hf__check *check, uint64_t from,
                           hf_ref node, bool linked, bool hashed,
                           bool (*valid)(void *user, hf_ref node), void *user);
/* Reports words of the root that this kind has no use for, and a count other than visited. */
void hf__index_check_root(const struct hf__index *index, struct hf__check *check, uint64_t visited,
                          bool has_capacity, bool has_buckets);

#endif
