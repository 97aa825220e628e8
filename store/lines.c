/* SPDX-License-Identifier: MIT */
/*
 * lines.c - the set of lines (lines.h)
 *
 * Invariants
 *   N1  room is a power of two, or 0; at most half of it is used, so a search ends soon
 *   N2  order[0..count) names each page of this level once
 */
#include "lines.h"

#include <stddef.h>
#include <stdlib.h>

#define ROOM_FIRST 1024u

void hf__lines_dispose(struct hf__lines *set)
{
    free(set->pages);
    free(set->order);
    hf__lines_init(set);
}

static bool grow(struct hf__lines *set, uint64_t room)
{
    struct hf__lines_page *old = set->pages, *pages = calloc(room, sizeof *pages);
    const uint64_t old_room = set->room;
    uint64_t *order = realloc(set->order, room / 2 * sizeof *order);
    if (order != NULL)
        set->order = order;
    if (pages == NULL || order == NULL) {
        free(pages);
        return false;
    }
    set->pages = pages;
    set->room = room;
    for (uint64_t i = 0; i < old_room; i++)
        if (old[i].level == set->level)
            *hf__lines_find(set, old[i].page) = old[i];
    free(old);
    return true;
}

bool hf__lines_reserve(struct hf__lines *set, uint64_t pages)
{
    uint64_t room = set->room == 0 ? ROOM_FIRST : set->room;
    while (room / 2 < set->count + pages)
        room *= 2;
    return room == set->room || grow(set, room);
}

uint64_t hf__lines_add(struct hf__lines *set, uint64_t page, uint64_t lines)
{
    if (set->count * 2 >= set->room && !grow(set, set->room == 0 ? ROOM_FIRST : set->room * 2))
        return lines;
    return hf__lines_put(set, page, lines);
}

uint64_t hf__lines_of(const struct hf__lines *set, uint64_t page)
{
    if (set->room == 0)
        return 0;
    const struct hf__lines_page *entry = hf__lines_find(set, page);
    return entry->level == set->level ? entry->lines : 0;
}
