/* SPDX-License-Identifier: MIT */
/*
 * index.h - the contract every name index fulfils
 *
 * An index maps names (1..65535 bytes, any bytes but compared as unsigned; no NUL needed) to
 * entries. An entry is a struct hf__index_node with the name's bytes right behind it, both inside a
 * block of the entry's owner: the index is intrusive and never copies a name. Its state is a struct
 * hf__index_root in the segment plus the nodes, plus arrays (hash, flat) or pages (set) that it
 * takes through the edit door's allocate. What an index remembers of names is in process memory, in the
 * caller's struct hf__index_ahead, and lookups are as right without it. Not thread-safe by itself.
 *
 * Invariants, checked by check():
 *   I1  every entry is reached exactly once, and root.count is their number
 *   I2  the order (set, flat) or the place (hash) of each entry is that of its name
 *   I3  every link leads to a node that valid() accepts
 *
 * Safety: find and next follow links from the file, which may be damaged. They check bounds
 * (hf__in_segment), alignment (16) and length of path, and return HF_ECORRUPT, never crash or loop.
 *
 * Undo: mutating calls follow segment.h's two-step rule and change nothing on an error.
 */
#ifndef HF_INDEX_INDEX_H
#define HF_INDEX_INDEX_H

#include "base/check.h"
#include "base/segment.h"
#include "index_format.h"

#include <string.h>

struct hf__index_ops;

struct hf__index {
    struct hf__segment *seg;
    uint64_t root;                   /* offset of its struct hf__index_root                      */
    const struct hf__index_ops *ops;
    struct hf__index_ahead *ahead;   /* of who looks or changes; NULL: nothing is remembered     */
};

/* A place in an iteration: starts as all zero. */
struct hf__index_cursor {
    uint64_t node;                   /* last entry returned                                      */
    uint64_t position;               /* hash: bucket, flat: array index                          */
    uint64_t started;
    uint64_t steps;                  /* entries returned so far: more than root.count is damage  */
};

/* Where a name is, or belongs: what seek has found out, for the insert or erase that follows. The
 * index must not have changed in between; on a damaged file it may have, so what is here is looked
 * at again before it is believed. */
struct hf__index_place {
    uint64_t hash;                   /* hashed: of the name                                      */
    uint64_t opaque[40];
};

/* What is remembered between calls, in process memory: names that expect was told of, in a ring, and
 * what was found out about them. `kept` is made false before the first use, and whenever the index may
 * have changed without it (then what the set remembers is forgotten); else any bytes will do. */
#define HF__INDEX_AHEAD 8u
#define HF__INDEX_NAMES_AHEAD 16u
struct hf__index_ahead {
    uint64_t count;
    struct {
        uint64_t place, tag;
    } names[HF__INDEX_AHEAD];        /* hash                                                     */
    uint64_t kept;                   /* 0 or 1                                                   */
    uint64_t opaque[1000];            /* set: set_down.c                                          */
};

struct hf__index_ops {
    uint32_t kind;                   /* HF_INDEX_..., recorded in the file                       */
    const char *name;                /* "set"                                                    */
    bool ordered;                    /* next() yields names in byte order                        */
    bool hashed;                     /* entries carry name_hash                                  */
    bool remembers;                  /* insert and erase must be given what find and seek were   */

    int (*init)(struct hf__index *index);                    /* the root is zeroed already       */
    /* 0 and *out, HF_ENOTFOUND, HF_ECORRUPT; null index: HF_ENOTFOUND. Records no error text for
     * HF_ENOTFOUND: it is an everyday answer. */
    int (*find)(const struct hf__index *index, const void *name, size_t size_bytes, hf_ref *out);
    /* The same, and *place is set if the answer is 0 or HF_ENOTFOUND. */
    int (*seek)(const struct hf__index *index, const void *name, size_t size_bytes,
                struct hf__index_place *place, hf_ref *out);
    /* The name will be looked for HF__INDEX_NAMES_AHEAD calls later: asks for the memory that leads to
     * it (the set does so later), and for the entry of a name that was announced before, since what leads
     * to that has come by now: 8 calls before for hash, 14 for set. The entry it asked for (on a damaged
     * file: any number), or 0. NULL: there is nothing to ask for. */
    hf_ref (*expect)(const struct hf__index *index, struct hf__index_ahead *ahead, const void *name,
                     size_t size_bytes);
    /* The node's name_bytes and name are set; the rest is the index's to set. It need not announce
     * a node whose links are 0 and whose name_hash is right already. place is that of the name,
     * which is not there; NULL: insert looks for it first. 0, HF_EEXIST, HF_ENOSPC,
     * HF_EFULL, HF_ENOMEM, HF_ECORRUPT, null index: HF_ENOINDEX. */
    int (*insert)(struct hf__index *index, hf_ref node, const struct hf__index_place *place);
    /* place is that where the entry was found, or NULL. 0, HF_ECORRUPT (not in it), HF_ENOSPC,
     * HF_ENOMEM. */
    int (*erase)(struct hf__index *index, hf_ref node, const struct hf__index_place *place);
    /* Room for count entries in all; giving unused memory back. Set: nothing to do, it takes and
     * gives back pages as names come and go. */
    int (*reserve)(struct hf__index *index, uint64_t count);
    int (*shrink)(struct hf__index *index);
    /* Positions the cursor so that next() yields entries whose name begins with the prefix. An
     * ordered index goes straight to the first; next() ends behind the last. prefix NULL = all. */
    int (*next)(const struct hf__index *index, struct hf__index_cursor *cursor, const void *prefix,
                size_t prefix_bytes, hf_ref *out);           /* 1, 0 at the end, HF_ECORRUPT     */
    /* I1..I3, bounded whatever the bytes are: at most entries_max entries are visited. valid(user,
     * node) tells whether a node is a true entry (it reports itself). Returns the number
     * visited. */
    uint64_t (*check)(const struct hf__index *index, uint64_t entries_max, struct hf__check *check,
                      bool (*valid)(void *user, hf_ref node), void *user);
    /* Calls owned(user, block) for each block the index took through the door (fsck: such a block
     * is in use). Bounded; blocks with senseless offsets are passed on as they are. */
    void (*blocks)(const struct hf__index *index, void (*owned)(void *user, hf_ref block),
                   void *user);
};

extern const struct hf__index_ops hf__index_set, hf__index_hash, hf__index_flat, hf__index_null;
const struct hf__index_ops *hf__index_by_kind(uint32_t kind);   /* NULL if unknown                */

static inline const struct hf__index_root *hf__index_root_of(const struct hf__index *index)
{
    return (const struct hf__index_root *)hf__at(index->seg, index->root);
}
static inline const struct hf__index_node *hf__index_node_at(const struct hf__segment *seg,
                                                             hf_ref r)
{
    return (const struct hf__index_node *)hf__at(seg, r);
}
static inline const char *hf__index_name_at(const struct hf__segment *seg, hf_ref node)
{
    return (const char *)hf__at(seg, node + sizeof(struct hf__index_node));
}
#define HF__INDEX_ENTRY_ALIGN 16u
/* May this be followed? Offset aligned, node and name (and one more byte) inside the segment. */
static inline bool hf__index_node_ok(const struct hf__segment *seg, hf_ref node)
{
    return node != 0 && node % HF__INDEX_ENTRY_ALIGN == 0 &&
           hf__in_segment(seg, node, sizeof(struct hf__index_node)) &&
           hf__in_segment(seg, node,
                          sizeof(struct hf__index_node) +
                              (uint64_t)hf__index_node_at(seg, node)->name_bytes + 1);
}
/* memcmp(a, b, bytes) == 0 for 8 to 16 bytes, as most names have: two words of each, which overlap. */
static inline bool hf__index_same_short(const void *a, const void *b, size_t bytes)
{
    uint64_t x[2], y[2];
    memcpy(&x[0], a, 8);
    memcpy(&x[1], (const char *)a + bytes - 8, 8);
    memcpy(&y[0], b, 8);
    memcpy(&y[1], (const char *)b + bytes - 8, 8);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}
/* <0, 0, >0 by unsigned bytes, then by length. */
int hf__index_compare(const void *a, size_t a_bytes, const void *b, size_t b_bytes);

#endif
