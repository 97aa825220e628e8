/* SPDX-License-Identifier: MIT */
/*
 * compact.h - a compaction under way, inside this room
 *
 *   compact.c         holding the store, checking it, the swap, the report
 *   compact_plan.c    what lives: which of it stays where it is, and in what order the rest comes
 *   compact_build.c   the new segment in memory, and writing it
 *
 * docs/compaction.md has the argument.
 */
#ifndef HF_STORE_COMPACT_H
#define HF_STORE_COMPACT_H

#include "store.h"

#include "holdfast/compact.h"

enum { /* hf__live.flags */
    HF__LIVE_OPAQUE = 1,   /* may hold anything: stays where it is                                */
    HF__LIVE_REFERRED = 2, /* something opaque may lead here: stays                               */
    HF__LIVE_REACHED = 4,
    HF__LIVE_ROOT = 8,     /* has a name, or is memory of hf_alloc                                */
    HF__LIVE_POINTERS = 16,/* its type has pointer fields                                         */
    HF__LIVE_DROPPED = 32,
    HF__LIVE_DIRECT = 64   /* its elements go to the file past the memory of the new segment      */
};
#define HF__LIVE_PINNED ((uint32_t)HF__LIVE_OPAQUE | HF__LIVE_REFERRED)

/* A block that isn't free and isn't the store's own. */
struct hf__live {
    hf_ref from, to;       /* payload in the old segment and in the new one                       */
    uint64_t bytes;        /* of payload: of an object what it needs, else what the block has     */
    uint64_t block_bytes;  /* what the block has                                                  */
    uint32_t lead;         /* of an object: bytes in front of its elements                        */
    uint32_t type_id;
    uint32_t kind;         /* enum hf__block_kind                                                 */
    uint32_t flags;
};

/* Of a registered type: what every object of it would have to look up. */
struct hf__compact_type {
    const struct hf__type_record *record;
    uint32_t flags;        /* enum hf__live.flags that its objects have                           */
};

struct hf__compact {
    hf_store *store;                 /* held alone; its segment is the old one, read-only         */
    const hf_compact_options *options;
    hf_compact_report report;

    /* compact_plan.c */
    struct hf__compact_type *types;  /* by id; 0 is plain bytes                                   */
    uint32_t type_count;
    struct hf__live *live;           /* in the order of the old segment                           */
    uint64_t count, room;
    uint64_t *cell_first;            /* of each cell: the first live block at or behind its start */
    unsigned cell_bits;              /* a cell has 2^cell_bits bytes of the segment               */
    uint64_t *order;                 /* places in live: as they were reached; then what moves, in
                                        the order in which it comes                               */
    uint64_t ordered;
    uint64_t *names[2];              /* named and unique objects in the order of their names      */
    uint64_t name_count[2];
    bool pins;                       /* something stays where it is                               */

    /* compact_build.c */
    unsigned char *mapping;
    uint64_t mapping_bytes;
    struct hf__segment image;        /* the new segment                                           */
    struct hf__door door;            /* the plain one, and it grows                               */
    struct hf__heap heap;
    uint64_t image_max_bytes;
    uint64_t *direct;                /* places of what is HF__LIVE_DIRECT, by where it goes       */
    uint64_t direct_count;

    uint64_t done, total, done_shown;
};

/* Amount more is done; asks whether to go on. 0, HF_ECANCELLED. */
int hf__compact_step(struct hf__compact *c, uint64_t amount);
/* The live block that a pointer leads into, or one past, or NULL. Of two the one that can be meant: no
 * pointer to an object leads in front of its header. */
struct hf__live *hf__live_at(const struct hf__compact *c, hf_ref target);
/* The type of a live object of the segment; NULL for plain bytes. */
static inline const struct hf__type_record *hf__live_type(const struct hf__compact *c,
                                                          const struct hf__live *live)
{
    return c->types[live->type_id].record;
}
/* Memory for an array that is read at random, in large pages if it is large: in small ones half of each
 * access is finding the page. NULL; free() takes it. */
void *hf__compact_array(uint64_t count, uint64_t item_bytes);
/* Asks for what hf__live_at will look at first. */
static inline void hf__live_expect(const struct hf__compact *c, hf_ref target)
{
    __builtin_prefetch(&c->cell_first[target >> c->cell_bits]);
}

/* Fills live, order, names and the report's figures of them. HF_ENOMEM, HF_ECORRUPT, HF_ECANCELLED. */
int hf__compact_plan(struct hf__compact *c);
/* Makes the new segment. HF_ENOMEM, HF_EFULL, HF_EADDRSPACE, HF_ECORRUPT, HF_ECANCELLED. */
int hf__compact_build(struct hf__compact *c);
/* Writes it, all but the headers of the file. */
int hf__compact_write(struct hf__compact *c, int fd, const char *path);
void hf__compact_free(struct hf__compact *c);

#endif
