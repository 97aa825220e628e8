/* SPDX-License-Identifier: MIT */
/*
 * null.c - no index at all
 *
 * For stores that hold no names. Its root stays zero: the one invariant, and all check() looks at.
 */
#include "entry.h"

#include "base/error.h"

static int null_init(struct hf__index *index)
{
    (void)index;
    return 0;
}

static int null_find(const struct hf__index *index, const void *name, size_t size_bytes,
                     hf_ref *out)
{
    (void)index, (void)name, (void)size_bytes, (void)out;
    return HF_ENOTFOUND;
}

static int null_seek(const struct hf__index *index, const void *name, size_t size_bytes,
                     struct hf__index_place *place, hf_ref *out)
{
    (void)place;
    return null_find(index, name, size_bytes, out);
}

static int null_insert(struct hf__index *index, hf_ref node, const struct hf__index_place *place)
{
    (void)index, (void)node, (void)place;
    return hf__fail(HF_ENOINDEX, "names need a store created with an index");
}

static int null_erase(struct hf__index *index, hf_ref node, const struct hf__index_place *place)
{
    (void)index, (void)place;
    return hf__corrupt("index.links", node);
}

static int null_reserve(struct hf__index *index, uint64_t count)
{
    (void)index, (void)count;
    return 0;
}

static int null_shrink(struct hf__index *index)
{
    (void)index;
    return 0;
}

static int null_next(const struct hf__index *index, struct hf__index_cursor *cursor,
                     const void *prefix, size_t prefix_bytes, hf_ref *out)
{
    (void)index, (void)prefix, (void)prefix_bytes, (void)out;
    cursor->started = 1;
    return 0;
}

static uint64_t null_check(const struct hf__index *index, uint64_t entries_max,
                           struct hf__check *check, bool (*valid)(void *user, hf_ref node),
                           void *user)
{
    (void)entries_max, (void)valid, (void)user;
    hf__index_check_root(index, check, 0, false, false);
    if (hf__index_root_of(index)->root != 0)
        hf__finding(check, "index.reserved", index->root, "root is %llu, expected 0",
                    (unsigned long long)hf__index_root_of(index)->root);
    return 0;
}

static void null_blocks(const struct hf__index *index, void (*owned)(void *user, hf_ref block),
                        void *user)
{
    (void)index, (void)owned, (void)user;
}

const struct hf__index_ops hf__index_null = {
    .kind = HF_INDEX_NULL,
    .name = "null",
    .ordered = true, /* vacuously */
    .init = null_init,
    .find = null_find,
    .seek = null_seek,
    .insert = null_insert,
    .erase = null_erase,
    .reserve = null_reserve,
    .shrink = null_shrink,
    .next = null_next,
    .check = null_check,
    .blocks = null_blocks,
};
