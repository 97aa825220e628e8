/* SPDX-License-Identifier: MIT */
/*
 * salvage.h - what the files of hf_salvage share
 *
 *   salvage_proof.c   the wreck mapped privately, its salt, its log; which bytes are proved
 *   salvage_find.c    the search: objects, memory and types, and what is proved of each
 *   salvage_pool.c    pools of nodes
 *   salvage_build.c   the new store: what is reached, copies, pointers rewritten
 *   salvage.c         hf_salvage: all together, and telling
 */
#ifndef HF_STORE_SALVAGE_H
#define HF_STORE_SALVAGE_H

#include "lines.h"
#include "pages.h"
#include "store.h"

/* What is known of a page's bytes in the file: how many of them, from the first on, are as its entry says; or
 * why none is known to be. */
enum hf__proof {
    HF__PROOF_UNKNOWN,    /* no entry that can be used                                            */
    HF__PROOF_DIFFERS,
    HF__PROOF_UNREADABLE, /* zeros stand in for it in the mapping                                 */
    HF__PROOF_BYTES       /* from here on: a number of bytes                                      */
};

struct hf__wreck {
    hf_store *store;          /* maps the file privately, its log laid over                       */
    const hf_salvage_options *options;
    hf_salvage_report *report;
    bool constants_known;     /* else of store->constants only the salt counts                    */
    uint64_t limit;           /* no block ends above                                              */
    uint16_t *pages;          /* enum hf__proof of each                                           */
    uint64_t page_count;
    struct hf__lines logged;  /* lines that records of the log hold                               */
    bool laid_over;           /* the log is                                                       */
    bool suspect;             /* entries of different sectors may be of different commits          */
    uint64_t done, total;     /* of the work                                                      */

    struct hf__found *found;  /* in the order of their addresses                                  */
    size_t found_count, found_room;
    hf_ref *records;          /* of types: where the record of each id is, 0 = nowhere             */
    uint8_t *types_whole;     /* it and all it leads to are there                                 */
    uint32_t type_max;        /* highest id                                                       */
};

/* One thing that was found: an object, or memory of hf_alloc. */
struct hf__found {
    hf_ref elements;          /* or the memory                                                    */
    uint64_t size_bytes;
    hf_ref now;               /* in the new store, 0 = it isn't there                             */
    uint32_t type_id;
    uint32_t nulled;
    uint32_t pool;            /* 0, or number + 1 of the intact pool that it is, or is a chunk of  */
    uint32_t lead;            /* bytes from the index node to the elements, 0 = anonymous         */
    uint8_t kind;             /* HF_KIND_..., or 0 for memory                                     */
    uint8_t verdict;          /* HF_SALVAGE_...                                                   */
    uint8_t why;              /* enum hf__why                                                     */
    uint8_t reached;          /* it is to be in the new store                                     */
};

/* What salvage.c and docs/salvage.md say of memory. */
_Static_assert(sizeof(struct hf__found) == 48, "bytes for each object");
_Static_assert(sizeof *((struct hf__wreck *)0)->pages == 2, "bytes for each page");

enum hf__why {
    HF__WHY_NOTHING,
    HF__WHY_DIFFERS,
    HF__WHY_UNKNOWN,
    HF__WHY_UNREADABLE,
    HF__WHY_COMMITS,
    HF__WHY_BITMAP,
    HF__WHY_TYPE,
    HF__WHY_SIZE,
    HF__WHY_HEADER,
    HF__WHY_NAME,
    HF__WHY_TWICE,
    HF__WHY_POOL,
    HF__WHY_UNREACHED,
    HF__WHY_REFUSED
};

/* Maps the wreck, which is locked, finds its salt, lays its log over and judges its pages. */
int hf__wreck_open(struct hf__wreck *wreck);
void hf__wreck_close(struct hf__wreck *wreck);
/* Work was done: HF_ECANCELLED. */
int hf__wreck_step(struct hf__wreck *wreck, uint64_t bytes);
/* What is missing to a proof of these bytes, which lie in the segment: HF__WHY_NOTHING if nothing is.
 * *sector is the number of the sector of the first page asked for, UINT64_MAX before: of others it may be
 * that they are of another commit. */
enum hf__why hf__wreck_proof(const struct hf__wreck *wreck, uint64_t from, uint64_t bytes,
                             uint64_t *sector);
/* The newest commit that the entries of these bytes' pages name. */
uint64_t hf__wreck_commit(const struct hf__wreck *wreck, uint64_t from, uint64_t bytes);

/* Fills found, records and types_whole. */
int hf__wreck_search(struct hf__wreck *wreck);
/* The record of a type that is whole, or NULL. */
static inline const struct hf__type_record *hf__wreck_type(const struct hf__wreck *wreck,
                                                           uint32_t id)
{
    return id == 0 || id > wreck->type_max || wreck->records[id] == 0
               ? NULL
               : (const struct hf__type_record *)hf__at(&wreck->store->seg, wreck->records[id]);
}
static inline const struct hf__object_header *hf__found_header(const struct hf__wreck *wreck,
                                                               const struct hf__found *found)
{
    return (const struct hf__object_header *)hf__at(
        &wreck->store->seg, found->elements - sizeof(struct hf__object_header));
}
/* The name of a named or unique object, NULL for others. */
static inline const char *hf__found_name(const struct hf__wreck *wreck,
                                         const struct hf__found *found)
{
    return found->lead == 0 ? NULL
                            : hf__index_name_at(&wreck->store->seg, found->elements - found->lead);
}
/* Is it to be in the new store, if it can be? */
static inline bool hf__found_wanted(const struct hf__wreck *wreck, const struct hf__found *found)
{
    return found->verdict == HF_SALVAGE_INTACT ||
           (found->verdict == HF_SALVAGE_NOT_PROVED &&
            (wreck->options->flags & HF_SALVAGE_UNPROVED) != 0);
}

/* Which chunks are whose, and which pools are intact. */
int hf__wreck_pools(struct hf__wreck *wreck);
/* The chunks of pools that are reached are. */
void hf__wreck_reach_chunks(struct hf__wreck *wreck);
/* Does something live there, in what was found? */
bool hf__found_leads(const struct hf__wreck *wreck, const struct hf__found *found, hf_ref at);
/* Of a pool. */
uint64_t hf__found_nodes(const struct hf__wreck *wreck, const struct hf__found *found);
/* In the new store: an empty pool of that shape (NULL: an error); a chunk of it full of nodes, those of the wreck's
 * chunk; and what doesn't live of them given back, when all chunks are there. */
void *hf__salvaged_pool(const struct hf__wreck *wreck, const struct hf__found *found, hf_txn *txn,
                        const char *name);
int hf__salvaged_chunk(const struct hf__wreck *wreck, struct hf__found *found, hf_txn *txn);
int hf__salvaged_trim(const struct hf__wreck *wreck, const struct hf__found *found, hf_txn *txn);

/* Marks what is reached from named and unique objects, and counts pointers. */
int hf__wreck_reach(struct hf__wreck *wreck);
/* Makes the store of all that is reached. */
int hf__wreck_build(struct hf__wreck *wreck, const char *to_path);
/* What unproved objects are called: the name and a suffix; false if that is too long. */
bool hf__wreck_new_name(const struct hf__wreck *wreck, const struct hf__found *found,
                        char out[HF_NAME_BYTES_MAX + 1]);

#endif
