/* SPDX-License-Identifier: MIT */
/*
 * lines.h - a set of 64-byte lines of the segment, in process memory
 *
 * For each page that has lines in the set, a word with a bit for each; pages in an open-addressing
 * table and, in the order they came, in a list. The set is emptied in one step by starting a new
 * level. The undo list asks it which lines are kept already, the log which lines a transaction
 * changed.
 */
#ifndef HF_STORE_LINES_H
#define HF_STORE_LINES_H

#include <stdbool.h>
#include <stdint.h>

#define HF__LINES_A_PAGE 64u

struct hf__lines_page {
    uint64_t page, level, lines;  /* an entry of another level is a free place                   */
    uint64_t unused;              /* a power of two is found faster                              */
};

struct hf__lines {
    struct hf__lines_page *pages;
    uint64_t *order;              /* the pages of this level, first come first                   */
    uint64_t room, count, level;
};

/* All zero is an empty set without memory; level counts from 1. */
static inline void hf__lines_init(struct hf__lines *set)
{
    *set = (struct hf__lines){.level = 1};
}
void hf__lines_dispose(struct hf__lines *set);
static inline void hf__lines_empty(struct hf__lines *set)
{
    set->level++;
    set->count = 0;
}
/* Room for that many pages more; false: no memory, nothing changed. */
bool hf__lines_reserve(struct hf__lines *set, uint64_t pages);
/* Adds lines (a bit each) of a page; returns those that are new. With no room and no memory nothing
 * is remembered, and all count as new. */
uint64_t hf__lines_add(struct hf__lines *set, uint64_t page, uint64_t lines);
/* The lines of a page in the set, 0 if none. */
uint64_t hf__lines_of(const struct hf__lines *set, uint64_t page);

/* Where the search for a page begins. */
static inline uint64_t hf__lines_place(const struct hf__lines *set, uint64_t page)
{
    return (page * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (set->room - 1);
}
/* Whether a line (of its page) is in the set, answered at once: an entry that isn't in its first
 * place isn't seen, so "no" means no more than that one has to ask properly. */
static inline bool hf__lines_has(const struct hf__lines *set, uint64_t page, uint64_t line)
{
    if (set->room == 0)
        return false;
    const struct hf__lines_page *entry = &set->pages[hf__lines_place(set, page)];
    return entry->level == set->level && entry->page == page && (entry->lines >> line & 1) != 0;
}

/* The page's entry, or the free one where it would be. */
static inline struct hf__lines_page *hf__lines_find(const struct hf__lines *set, uint64_t page)
{
    uint64_t at = hf__lines_place(set, page);
    while (set->pages[at].level == set->level && set->pages[at].page != page)
        at = (at + 1) & (set->room - 1);
    return &set->pages[at];
}
/* As hf__lines_add, where there is room. */
static inline uint64_t hf__lines_put(struct hf__lines *set, uint64_t page, uint64_t lines)
{
    struct hf__lines_page *entry = hf__lines_find(set, page);
    if (entry->level != set->level) {
        *entry = (struct hf__lines_page){.page = page, .level = set->level};
        set->order[set->count++] = page;
    }
    const uint64_t fresh = lines & ~entry->lines;
    entry->lines |= lines;
    return fresh;
}
/* As hf__lines_add, without a call if there is room. */
static inline uint64_t hf__lines_add_quick(struct hf__lines *set, uint64_t page, uint64_t lines)
{
    return set->count * 2 >= set->room ? hf__lines_add(set, page, lines)
                                       : hf__lines_put(set, page, lines);
}

/* The bits first..last of a word. */
static inline uint64_t hf__lines_between(uint64_t first, uint64_t last)
{
    return (~UINT64_C(0) >> (63 - (last - first))) << first;
}

#endif
