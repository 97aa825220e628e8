/* SPDX-License-Identifier: MIT */
/*
 * set.c - the default index: entries linked to a tree in the order of their names
 *
 * The first 24 bytes of an entry are the node of the balanced tree in base/avl.c; root.root is the
 * topmost entry. The set owns no memory besides, so it never needs to allocate, a find reads
 * nothing but entries on its path, and prefix scans come out in order.
 *
 * Invariants, besides I1..I3 of index.h:
 *   S1  the tree is a sound AVL tree (A1..A3 of base/avl.h), strictly ordered by name
 *   S2  root.capacity, root.buckets, and name_hash of each entry are zero
 *
 * On damage. The descent checks each link and its own length; base/avl.c follows no link that the
 * other side doesn't answer. An iteration on looped links ends because each name must sort after
 * the one before.
 */
#include "entry.h"

#include "base/avl.h"
#include "base/error.h"

#include <string.h>

/* A node this far below the end of the segment is ok whatever its name's length: one comparison
 * decides, without reading the node. */
#define NODE_ROOM_BYTES (sizeof(struct hf__index_node) + UINT16_MAX + 1)

struct place {
    hf_ref found;  /* the entry of that name, or 0: then it belongs ...                         */
    hf_ref parent; /* ... below this one (0: it is the first)                                   */
    bool as_right; /* ... on this side                                                          */
};

static uint64_t root_field(const struct hf__index *index)
{
    return index->root + offsetof(struct hf__index_root, root);
}

static uint64_t word_at(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return __builtin_bswap64(word); /* big-endian: words sort as their bytes do */
}

/*
 * Compares two names that agree in their first *same bytes, and leaves in *same in how many they
 * do. Words decide faster than memcmp: the processor guesses the outcome and fetches the next entry
 * meanwhile. The last word is taken from in front of the end; what it repeats is equal.
 */
static int compare_past(const unsigned char *a, size_t a_bytes, const unsigned char *b,
                        size_t b_bytes, size_t *same)
{
    const size_t both = a_bytes < b_bytes ? a_bytes : b_bytes;
    size_t at = *same;
    while (at < both) {
        if (both < sizeof(uint64_t)) {
            if (a[at] != b[at]) {
                *same = at;
                return a[at] < b[at] ? -1 : 1;
            }
            at++;
            continue;
        }
        size_t from = at + sizeof(uint64_t) <= both ? at : both - sizeof(uint64_t);
        uint64_t x = word_at(a + from), y = word_at(b + from);
        if (x != y) {
            *same = from + (size_t)__builtin_clzll(x ^ y) / 8;
            return x < y ? -1 : 1;
        }
        at = from + sizeof(uint64_t);
    }
    *same = both;
    return (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

/*
 * Goes down to the entry of that name or to where it is missing. 0, HF_ECORRUPT.
 *
 * Everything below here sorts between the last entry we left to the right and the last we left to
 * the left, so it shares with the name at least what both of those do: that is not compared again.
 * (In a damaged tree that may not hold; then an entry is not found, or found though it differs in
 * those bytes, so what is found is compared once more in full.)
 */
static int descend(const struct hf__index *index, const void *name, size_t size_bytes,
                   struct place *out)
{
    const struct hf__segment *seg = index->seg;
    const uint64_t plain_end =
        seg->size_bytes > NODE_ROOM_BYTES ? seg->size_bytes - NODE_ROOM_BYTES : 0;
    hf_ref node = hf__index_root_of(index)->root, parent = 0;
    bool as_right = false;
    size_t same_below = 0, same_above = 0; /* as the entries that bound us from both sides */
    for (unsigned depth = 0; node != 0; depth++) {
        bool plain = node < plain_end && node % HF__INDEX_ENTRY_ALIGN == 0;
        if ((!plain && !hf__index_node_ok(seg, node)) || depth >= HF__AVL_HEIGHT_MAX)
            return hf__corrupt("index.links", parent != 0 ? parent : index->root);
        const struct hf__index_node *entry = hf__index_node_at(seg, node);
        size_t same = same_below < same_above ? same_below : same_above;
        int order = compare_past(name, size_bytes, (const unsigned char *)(entry + 1),
                                 entry->name_bytes, &same);
        parent = node;
        if (order < 0) { /* a branch, not an index: it can be guessed */
            as_right = false;
            same_above = same;
            node = entry->link[0];
        } else if (order > 0) {
            as_right = true;
            same_below = same;
            node = entry->link[1];
        } else {
            if (memcmp(name, entry + 1, size_bytes) != 0)
                return hf__corrupt("index.order", node);
            *out = (struct place){.found = node};
            return 0;
        }
    }
    *out = (struct place){.parent = parent, .as_right = as_right};
    return 0;
}

static int set_init(struct hf__index *index)
{
    (void)index;
    return 0;
}

static int set_find(const struct hf__index *index, const void *name, size_t size_bytes, hf_ref *out)
{
    struct place place;
    int error = descend(index, name, size_bytes, &place);
    if (error != 0)
        return error;
    if (place.found == 0)
        return HF_ENOTFOUND;
    *out = place.found;
    return 0;
}

static int set_insert(struct hf__index *index, hf_ref node)
{
    struct hf__segment *seg = index->seg;
    struct place place;
    assert(hf__index_node_ok(seg, node) && hf__index_name_bytes(seg, node) > 0);
    int error =
        descend(index, hf__index_name_at(seg, node), hf__index_name_bytes(seg, node), &place);
    if (error != 0)
        return error;
    if (place.found != 0)
        return hf__fail(HF_EEXIST, "the name is in the index already");
    error = hf__reserve(seg, HF__OP_COST);
    if (error != 0)
        return error;

    struct hf__index_node *entry =
        (struct hf__index_node *)hf__edit(seg, node, sizeof(struct hf__index_node));
    entry->name_hash = 0;
    entry->reserved = 0;
    hf__avl_insert(seg, root_field(index), node, place.parent, place.as_right);
    hf__index_edit_root(index)->count++;
    return 0;
}

static int set_erase(struct hf__index *index, hf_ref node)
{
    struct hf__segment *seg = index->seg;
    if (!hf__index_node_ok(seg, node) || hf__index_root_of(index)->count == 0 ||
        !hf__avl_answered(seg, root_field(index), node))
        return hf__corrupt("index.links", node);
    int error = hf__reserve(seg, HF__OP_COST);
    if (error != 0)
        return error;
    hf__avl_erase(seg, root_field(index), node);
    /* Still in its place: the links to its heir are damaged, and nothing was changed. The caller
     * must not free an entry that the tree still leads to. */
    if (hf__avl_answered(seg, root_field(index), node))
        return hf__corrupt("index.links", node);
    hf__index_edit_root(index)->count--;
    return 0;
}

static int set_reserve(struct hf__index *index, uint64_t count)
{
    (void)index, (void)count;
    return 0;
}

static int set_shrink(struct hf__index *index)
{
    (void)index;
    return 0;
}

/* The first entry whose name doesn't sort before the prefix. 0 and *out (0: none), HF_ECORRUPT. */
static int lower_bound(const struct hf__index *index, const void *prefix, size_t prefix_bytes,
                       hf_ref *out)
{
    const struct hf__segment *seg = index->seg;
    struct place place;
    int error = 0;
    if (prefix_bytes == 0) {
        hf_ref root = hf__index_root_of(index)->root;
        *out = hf__avl_first(seg, root);
        if (root != 0 && *out == 0)
            error = hf__corrupt("index.links", index->root);
        return error;
    }
    error = descend(index, prefix, prefix_bytes, &place);
    if (error != 0)
        return error;
    if (place.found != 0)
        *out = place.found;
    else if (place.parent == 0 || !place.as_right)
        *out = place.parent;
    else
        *out = hf__avl_next(seg, place.parent);
    return 0;
}

static int set_next(const struct hf__index *index, struct hf__index_cursor *cursor,
                    const void *prefix, size_t prefix_bytes, hf_ref *out)
{
    const struct hf__segment *seg = index->seg;
    const uint64_t count = hf__index_root_of(index)->count;
    hf_ref node = 0;
    if (prefix == NULL)
        prefix_bytes = 0;
    if (!cursor->started) {
        int error = lower_bound(index, prefix, prefix_bytes, &node);
        if (error != 0)
            return error;
        cursor->started = 1;
    } else if (cursor->node != 0) {
        node = hf__avl_next(seg, cursor->node);
    }
    if (node == 0) {
        /* avl.c says 0 on damage too; where all entries were wanted their number tells. */
        return prefix_bytes == 0 && cursor->steps != count ? hf__corrupt("index.count", index->root)
                                                           : 0;
    }
    if (!hf__index_node_ok(seg, node))
        return hf__corrupt("index.links", node);
    if (cursor->node != 0 && hf__index_compare_nodes(seg, cursor->node, node) >= 0)
        return hf__corrupt("index.order", node);
    if (!hf__index_has_prefix(seg, node, prefix, prefix_bytes))
        return 0;
    if (cursor->steps >= count)
        return hf__corrupt("index.count", index->root);
    cursor->node = node;
    cursor->steps++;
    *out = node;
    return 1;
}

struct checking {
    const struct hf__index *index;
    struct hf__check *check;
    bool (*valid)(void *user, hf_ref node);
    void *user;
};

static bool entry_valid(void *user, uint64_t node)
{
    const struct checking *c = (const struct checking *)user;
    hf__check_step(c->check, 1);
    return hf__index_check_entry(c->index, c->check, node, node, 3, false, c->valid, c->user);
}

static bool entries_ordered(void *user, uint64_t previous, uint64_t node)
{
    const struct checking *c = (const struct checking *)user;
    return hf__index_compare_nodes(c->index->seg, previous, node) < 0;
}

static uint64_t set_check(const struct hf__index *index, uint64_t entries_max,
                          struct hf__check *check, bool (*valid)(void *user, hf_ref node),
                          void *user)
{
    static const char *const rules[4] = {"index.balance", "index.parent", "index.order",
                                         "index.links"};
    struct checking c = {.index = index, .check = check, .valid = valid, .user = user};
    uint64_t visited = hf__avl_check(index->seg, hf__index_root_of(index)->root, entries_max, rules,
                                     check, entry_valid, entries_ordered, &c);
    hf__index_check_root(index, check, visited, false, false);
    return visited;
}

static void set_blocks(const struct hf__index *index, void (*owned)(void *user, hf_ref block),
                       void *user)
{
    (void)index, (void)owned, (void)user; /* all it needs is inside the entries */
}

const struct hf__index_ops hf__index_set = {
    .kind = HF_INDEX_SET,
    .name = "set",
    .ordered = true,
    .init = set_init,
    .find = set_find,
    .insert = set_insert,
    .erase = set_erase,
    .reserve = set_reserve,
    .shrink = set_shrink,
    .next = set_next,
    .check = set_check,
    .blocks = set_blocks,
};
