/* SPDX-License-Identifier: MIT */
/*
 * set_page.h - pages of the set's tree, inside this room
 *
 * set.c has the idea and the invariants. Here is what a page is, how its slots are searched, and
 * how slots are taken out of pages, put together and written into others.
 *
 * A key is eight bytes of a name, as a number that sorts as they do: those behind the page's
 * prefix, with zeros behind a name's end. Where two keys are equal the names decide.
 */
#ifndef HF_INDEX_SET_PAGE_H
#define HF_INDEX_SET_PAGE_H

#include "entry.h"

#include "base/error.h"

#include <string.h>

#define CAPACITY          HF__SET_PAGE_CAPACITY
#define HF__SET_SLOTS_MIN 15u /* in any page but the topmost                                      */
#define PAGE_COST         HF__EDIT_COST(sizeof(struct hf__set_page))
#define LEVELS_MAX        16u /* more pages than fit in a segment: more levels are damage        */
#define ANY_LEVEL         LEVELS_MAX

static inline const struct hf__set_page *page_at(const struct hf__segment *seg, hf_ref page)
{
    return (const struct hf__set_page *)hf__at(seg, page);
}

/* The page, or NULL if none of that level is there. */
static inline const struct hf__set_page *page_of(const struct hf__segment *seg, hf_ref at,
                                                 unsigned level)
{
    if (at == 0 || at % HF__INDEX_ENTRY_ALIGN != 0 ||
        !hf__in_segment(seg, at, sizeof(struct hf__set_page)))
        return NULL;
    const struct hf__set_page *page = page_at(seg, at);
    if (page->array.self != at || page->array.slots != HF__SET_PAGE_SLOTS || page->count == 0 ||
        page->count > CAPACITY || page->prefix_bytes > HF__SET_PREFIX_MAX ||
        (level == ANY_LEVEL ? page->level >= LEVELS_MAX : page->level != level))
        return NULL;
    return page;
}

static inline uint64_t big_endian(const void *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return __builtin_bswap64(word);
}

static inline uint64_t key_of(const void *name, size_t size_bytes, unsigned prefix_bytes)
{
    const unsigned char *from = (const unsigned char *)name + prefix_bytes;
    if (size_bytes >= prefix_bytes + sizeof(uint64_t))
        return big_endian(from);
    const size_t left = size_bytes > prefix_bytes ? size_bytes - prefix_bytes : 0;
    if (size_bytes >= sizeof(uint64_t)) /* the name's last eight bytes, without those before */
        return left == 0 ? 0 : big_endian(from + left - sizeof(uint64_t)) << (64 - 8 * left);
    unsigned char bytes[sizeof(uint64_t)] = {0};
    memcpy(bytes, from, left);
    return big_endian(bytes);
}

static inline uint64_t key_of_node(const struct hf__segment *seg, hf_ref node,
                                   unsigned prefix_bytes)
{
    if (!hf__index_node_ok(seg, node))
        return 0;
    return key_of(hf__index_name_at(seg, node), hf__index_name_bytes(seg, node), prefix_bytes);
}

/* How many slots have a key below the given one. They are in order, and there is one at least. Neither
 * how often it compares nor what comes next depends on what is in the page: half of the processor's
 * guesses would be wrong, and all that it has begun meanwhile in vain. */
static inline unsigned slots_below(const struct hf__set_page *page, uint64_t key)
{
    const size_t count = page->count;
    size_t below = 0;
    _Static_assert(CAPACITY < 64, "six steps");
#pragma GCC unroll 6
    for (size_t half = 32; half > 0; half /= 2) {
        const size_t next = below + half < count ? below + half : count;
        below = page->slot[next - 1].key < key ? next : below;
    }
    return (unsigned)below;
}

/* Asks for as much of a page as is used of most: which lines of that the search will touch isn't known.
 * (Those of the rest would come in vain, and there is room for some 16 that are under way.) */
__attribute__((always_inline)) static inline void hf__set_fetch(const struct hf__segment *seg,
                                                                hf_ref page)
{
    enum { LINES = 12 }; /* 40 to 44 slots */
#pragma GCC unroll 12
    for (unsigned i = 0; i < LINES; i++)
        hf__prefetch(seg, page + i * HF__LINE_BYTES);
}

/* The first or last entry below a page; 0 on damage. */
hf_ref hf__set_edge(const struct hf__segment *seg, hf_ref page, unsigned level, bool last);

/* ---- runs: slots on their way between pages -------------------------------------------------- */

/* Slots of one level with a common prefix, in process memory. */
struct run {
    unsigned count, prefix_bytes, level;
    unsigned char prefix[HF__SET_PREFIX_MAX];
    struct hf__set_slot slot[2 * CAPACITY + 1];
};

void hf__set_run_load(struct run *run, const struct hf__set_page *page);
/* Adds the slots of the page to the right of it. */
void hf__set_run_append(const struct hf__segment *seg, struct run *run,
                        const struct hf__set_page *page);
/* Makes the prefix no longer than that. */
void hf__set_run_shorten(struct run *run, unsigned prefix_bytes);
void hf__set_run_add(struct run *run, unsigned at, struct hf__set_slot slot);
void hf__set_run_remove(struct run *run, unsigned at);
/* Writes the slots [from, end) as a page; costs PAGE_COST. */
void hf__set_run_store(struct hf__segment *seg, const struct run *run, unsigned from, unsigned end,
                       hf_ref page, hf_ref next);

/* ---- set_check.c: as in index.h -------------------------------------------------------------- */

uint64_t hf__set_check(const struct hf__index *index, uint64_t entries_max, struct hf__check *check,
                       bool (*valid)(void *user, hf_ref node), void *user);
void hf__set_blocks(const struct hf__index *index, void (*owned)(void *user, hf_ref block),
                    void *user);

#endif
