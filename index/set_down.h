/* SPDX-License-Identifier: MIT */
/*
 * set_down.h - the way down the set's tree, inside this room
 *
 * A way is what insert and erase need of a lookup: the pages from the topmost to the one of level 0,
 * and which slot was taken in each. set_down.c has the idea and the invariants of those that are kept.
 */
#ifndef HF_INDEX_SET_DOWN_H
#define HF_INDEX_SET_DOWN_H

#include "set_page.h"

struct step {
    hf_ref page;
    unsigned slot; /* level 0: where the name is or belongs; else which way we went              */
};

/* The way to a name. step[level]; levels is 0 for an empty tree. */
struct path {
    unsigned levels;
    unsigned shared; /* if it can't be in these pages: how many bytes it shares with all names   */
    bool outside;    /* that are: then longer prefixes must be cut for it                        */
    hf_ref found;    /* the entry of that name, or 0                                             */
    struct step step[LEVELS_MAX];
} __attribute__((may_alias)); /* it is kept in a struct hf__index_place */

_Static_assert(sizeof(struct path) <= sizeof(((struct hf__index_place *)0)->opaque), "path");

static inline int corrupt_page(const struct hf__index *index, hf_ref from)
{
    return hf__corrupt("index.links", from != 0 ? from : index->root);
}

/* Goes down to the entry of that name or to where it belongs. 0, HF_ECORRUPT. */
int hf__set_descend(const struct hf__index *index, const void *name, size_t size_bytes,
                    struct path *path);
/* The same, from where expect has got to, or in the page of the last name that was sought. */
int hf__set_seek(const struct hf__index *index, const void *name, size_t size_bytes,
                 struct path *path);
/* expect, as in index.h. */
hf_ref hf__set_expect(const struct hf__index *index, struct hf__index_ahead *ahead,
                      const void *name, size_t size_bytes);
/* A page is about to be changed in another way than by a slot more or less in level 0. */
void hf__set_changes(const struct hf__index *index, hf_ref page);

#endif
