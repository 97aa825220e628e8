/* SPDX-License-Identifier: MIT */
/*
 * flat.c - one array of offsets, sorted by the names they lead to, with the newest behind it
 *
 * The most compact index and the quickest to walk. Putting a name in its place moves all that
 * sorts behind it, so names that don't come in their order are first gathered: the array is two
 * runs, each in order, and the second, the young one, is kept short enough (some times the root of
 * the count) that moving within it costs little. When it is full it is merged into the first, in
 * one pass over the array: a million names in any order then take some hundred passes rather than
 * a million. A find looks in both. An erasure still moves all that lies behind. Every moved byte
 * is announced. The array is a block from the edit door's allocate; when it is full one of twice
 * the size takes its place.
 *
 *   | entries in order | young entries in order | 0 | means nothing |
 *   0           root.buckets               root.count         root.capacity
 *
 * Invariants, besides I1..I3 of index.h:
 *   F1  root.root and root.capacity are 0, or root.root is an array of root.capacity slots
 *   F2  buckets <= count <= capacity, and slot root.count, if there is one, is 0: so a count that
 *       forgets entries shows; the slots behind it mean nothing
 *   F3  names rise strictly within each run, and no name is in both
 *   F4  links and name_hash of each entry are zero
 */
#include "entry.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define SLOT_BYTES   HF__INDEX_SLOT_BYTES
#define CAPACITY_MIN UINT64_C(8)
#define AHEAD        8u /* entries that a scan asks for ahead of itself                          */

/* How many young entries there may be before they are merged: merging takes a search for each and a
 * pass over the array, an insertion moves half of them. */
static uint64_t young_max(uint64_t count)
{
    const unsigned bits = 64 - (unsigned)__builtin_clzll(count | 1);
    return UINT64_C(8) << (bits / 2);
}

/* The slots, after a look at F1 and F2. 0 and *out (NULL if there are none), HF_ECORRUPT. */
static int array_of(const struct hf__index *index, const hf_ref **out)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    if (root->count > root->capacity || root->buckets > root->count ||
        (root->capacity == 0) != (root->root == 0))
        return hf__corrupt("index.count", index->root);
    if (root->root != 0 && !hf__index_array_ok(index->seg, root->root, root->capacity))
        return hf__corrupt("index.links", index->root);
    *out = root->root != 0 ? hf__index_slots_at(index->seg, root->root) : NULL;
    return 0;
}

/* Where a name is or belongs. */
struct spot {
    uint64_t position; /* in the young run, if it isn't there                                    */
    bool found;
    bool is_last; /* sorts behind all that is there, and there is no young run              */
};

/* In the run [low, high) the first position whose name doesn't sort before the given one; *found
 * tells whether it is that name. 0, HF_ECORRUPT. */
static int search_run(const struct hf__index *index, const hf_ref *array, uint64_t low,
                      uint64_t high, const void *name, size_t size_bytes, struct spot *spot)
{
    const struct hf__segment *seg = index->seg;
    spot->found = false;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (!hf__index_node_ok(seg, array[middle]))
            return hf__corrupt("index.links",
                               hf__index_slot(hf__index_root_of(index)->root, middle));
        int order = hf__index_compare_name(seg, name, size_bytes, array[middle]);
        if (order == 0) {
            low = middle;
            spot->found = true;
            break;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    spot->position = low;
    return 0;
}

/* After array_of. 0, HF_ECORRUPT. */
static int search(const struct hf__index *index, const hf_ref *array, const void *name,
                  size_t size_bytes, struct spot *spot)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    const uint64_t sorted = root->buckets;
    int error = search_run(index, array, 0, sorted, name, size_bytes, spot);
    spot->is_last = spot->position == sorted && sorted == root->count;
    if (error != 0 || spot->found)
        return error;
    return search_run(index, array, sorted, root->count, name, size_bytes, spot);
}

static int flat_init(struct hf__index *index)
{
    (void)index;
    return 0;
}

/* In a place. */
enum { PLACE_POSITION, PLACE_IS_LAST };

static int flat_seek(const struct hf__index *index, const void *name, size_t size_bytes,
                     struct hf__index_place *place, hf_ref *out)
{
    const hf_ref *array;
    struct spot spot;
    int error = array_of(index, &array);
    if (error == 0)
        error = search(index, array, name, size_bytes, &spot);
    if (error != 0)
        return error;
    place->opaque[PLACE_POSITION] = spot.position;
    place->opaque[PLACE_IS_LAST] = spot.is_last;
    if (!spot.found)
        return HF_ENOTFOUND;
    *out = array[spot.position];
    return 0;
}

static int flat_find(const struct hf__index *index, const void *name, size_t size_bytes,
                     hf_ref *out)
{
    struct hf__index_place place;
    return flat_seek(index, name, size_bytes, &place, out);
}

/* Where the entry's name is or belongs, if the caller doesn't know. 0, HF_ECORRUPT. */
static int spot_of(const struct hf__index *index, const hf_ref *array, hf_ref node,
                   const struct hf__index_place *place, struct spot *spot)
{
    if (place == NULL)
        return search(index, array, hf__index_name_at(index->seg, node),
                      hf__index_name_bytes(index->seg, node), spot);
    spot->position = place->opaque[PLACE_POSITION];
    spot->is_last = place->opaque[PLACE_IS_LAST] != 0;
    spot->found = spot->position < hf__index_root_of(index)->count && array[spot->position] == node;
    return 0;
}

/* ---- the array ------------------------------------------------------------------------------- */

/* Replaces the array by one of new_capacity slots with the same entries in it. When it succeeds,
 * announcements of further_cost more are reserved as well. 0, HF_ENOSPC, HF_EFULL, HF_ENOMEM. */
static int move_array(struct hf__index *index, uint64_t new_capacity, uint64_t further_cost)
{
    struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    const uint64_t used_bytes = root->count * SLOT_BYTES;
    hf_ref array;
    assert(new_capacity >= root->count && new_capacity > 0);
    int error = hf__index_take(index, new_capacity, &array);
    if (error != 0)
        return error;
    error = hf__reserve(seg, HF__EDIT_COST(used_bytes + SLOT_BYTES) + HF__EDIT_COST(sizeof *root) +
                                 HF__EDIT_COST(sizeof(struct hf__index_array)) + further_cost +
                                 HF__OP_COST); /* what the release below may spend */
    if (error == 0 && root->root != 0)
        error = hf__index_give(index, root->root);
    if (error != 0) {
        hf__index_untake(index, array);
        return error;
    }
    hf__index_array_begin(index, array, new_capacity);
    const bool full = root->count == new_capacity;
    uint64_t *slots =
        (uint64_t *)hf__edit(seg, hf__index_slot(array, 0), used_bytes + (full ? 0 : SLOT_BYTES));
    if (used_bytes > 0)
        memcpy(slots, hf__at(seg, hf__index_slot(root->root, 0)), used_bytes);
    if (!full)
        slots[root->count] = 0;
    struct hf__index_root *edited = hf__index_edit_root(index);
    edited->root = array;
    edited->capacity = new_capacity;
    return 0;
}

/* ---- merging --------------------------------------------------------------------------------- */

/* A young entry and the position in the sorted run that it belongs in front of. */
struct move {
    hf_ref node;
    uint64_t position;
};

/* 0, HF_ECORRUPT. */
static int plan_moves(const struct hf__index *index, const hf_ref *array, struct move *moves)
{
    const struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    const uint64_t sorted = root->buckets, young = root->count - sorted;
    struct spot spot = {.position = 0};
    for (uint64_t k = 0; k < young; k++) {
        const hf_ref node = array[sorted + k];
        if (!hf__index_node_ok(seg, node))
            return hf__corrupt("index.links", hf__index_slot(root->root, sorted + k));
        int error = search_run(index, array, spot.position, sorted, hf__index_name_at(seg, node),
                               hf__index_name_bytes(seg, node), &spot);
        if (error != 0)
            return error;
        if (spot.found)
            return hf__corrupt("index.order", node);
        moves[k] = (struct move){node, spot.position};
    }
    return 0;
}

/* Merges the young run into the sorted one. 0; HF_ENOMEM, HF_ENOSPC, HF_ECORRUPT: nothing has
 * changed. */
static int merge(struct hf__index *index)
{
    struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    const uint64_t young = root->count - root->buckets;
    const hf_ref *array;
    int error = array_of(index, &array);
    if (error != 0 || young == 0)
        return error;
    struct move *moves = (struct move *)malloc(young * sizeof *moves);
    if (moves == NULL)
        return hf__fail(HF_ENOMEM, "merging the flat index");
    error = plan_moves(index, array, moves);
    const uint64_t moved = root->count - (error == 0 ? moves[0].position : 0);
    if (error == 0)
        error = hf__reserve(seg, HF__EDIT_COST(moved * SLOT_BYTES) + HF__EDIT_COST(sizeof *root));
    if (error == 0) {
        (void)hf__edit(seg, hf__index_slot(root->root, moves[0].position), moved * SLOT_BYTES);
        hf_ref *slots = (hf_ref *)(seg->base + hf__index_slot(root->root, 0));
        uint64_t to = root->count, from = root->buckets; /* from the end on, both runs' ends     */
        for (uint64_t k = young; k-- > 0;) {
            const uint64_t run = from - moves[k].position;
            memmove(slots + to - run, slots + moves[k].position, run * SLOT_BYTES);
            from = moves[k].position;
            to -= run + 1;
            slots[to] = moves[k].node;
        }
        hf__index_edit_root(index)->buckets = root->count;
    }
    free(moves);
    return error;
}

/* ---- insert and erase ------------------------------------------------------------------------ */

/* A place for the entry in the young run, which is merged first if it is full; with no room for
 * that it grows. 0, HF_ECORRUPT. */
static int make_place(struct hf__index *index, struct spot *spot)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    if (spot->position < root->buckets || spot->position > root->count)
        return hf__corrupt("index.count", index->root);
    spot->is_last = spot->is_last && root->buckets == root->count;
    if (root->count - root->buckets < young_max(root->count))
        return 0;
    int error = merge(index);
    if (error == 0)
        spot->position = root->count;
    return error == HF_ENOSPC || error == HF_ENOMEM ? 0 : error;
}

static int flat_insert(struct hf__index *index, hf_ref node, const struct hf__index_place *place)
{
    struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    const hf_ref *array;
    struct spot spot;
    assert(hf__index_node_ok(seg, node) && hf__index_name_bytes(seg, node) > 0);
    int error = array_of(index, &array);
    if (error == 0)
        error = spot_of(index, array, node, place, &spot);
    if (error == 0 && spot.found)
        error = hf__fail(HF_EEXIST, "the name is in the index already");
    if (error == 0)
        error = make_place(index, &spot);
    if (error != 0)
        return error;

    const uint64_t moved = root->count - spot.position;
    uint64_t cost = HF__EDIT_COST((moved + 2) * SLOT_BYTES) + HF__EDIT_COST(sizeof *root) +
                    HF__EDIT_COST(sizeof(struct hf__index_node));
    if (root->count == root->capacity)
        error = move_array(index, root->capacity == 0 ? CAPACITY_MIN : root->capacity * 2, cost);
    else
        error = hf__reserve(seg, cost);
    if (error != 0)
        return error;

    hf__index_clear_node(seg, node);
    const bool fills = root->count + 1 == root->capacity;
    hf_ref *slot = (hf_ref *)hf__edit(seg, hf__index_slot(root->root, spot.position),
                                      (moved + (fills ? 1 : 2)) * SLOT_BYTES);
    memmove(slot + 1, slot, moved * SLOT_BYTES);
    *slot = node;
    if (!fills)
        slot[moved + 1] = 0;
    struct hf__index_root *edited = hf__index_edit_root(index);
    edited->count++;
    edited->buckets += spot.is_last;
    return 0;
}

static int flat_erase(struct hf__index *index, hf_ref node, const struct hf__index_place *place)
{
    struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    const hf_ref *array;
    struct spot spot;
    if (!hf__index_node_ok(seg, node))
        return hf__corrupt("index.links", node);
    int error = array_of(index, &array);
    if (error == 0)
        error = spot_of(index, array, node, place, &spot);
    if (error != 0)
        return error;
    if (!spot.found || array[spot.position] != node)
        return hf__corrupt("index.links", node);

    const uint64_t moved = root->count - spot.position - 1;
    error = hf__reserve(seg, HF__EDIT_COST((moved + 1) * SLOT_BYTES) + HF__EDIT_COST(sizeof *root));
    if (error != 0)
        return error;
    hf_ref *slot = (hf_ref *)hf__edit(seg, hf__index_slot(root->root, spot.position),
                                      (moved + 1) * SLOT_BYTES);
    memmove(slot, slot + 1, moved * SLOT_BYTES);
    slot[moved] = 0;
    struct hf__index_root *edited = hf__index_edit_root(index);
    edited->count--;
    edited->buckets -= spot.position < edited->buckets;
    return 0;
}

static int flat_reserve(struct hf__index *index, uint64_t count)
{
    const hf_ref *array;
    int error = array_of(index, &array);
    if (error != 0 || count <= hf__index_root_of(index)->capacity)
        return error;
    return move_array(index, count, 0);
}

static int flat_shrink(struct hf__index *index)
{
    struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    const hf_ref *array;
    int error = array_of(index, &array);
    if (error != 0 || root->root == 0)
        return error;
    error = merge(index);
    if (error != 0)
        return error;
    if (root->count > 0) {
        uint64_t fitting = root->count > CAPACITY_MIN ? root->count : CAPACITY_MIN;
        return fitting < root->capacity ? move_array(index, fitting, 0) : 0;
    }
    error = hf__reserve(seg, HF__EDIT_COST(sizeof *root) + HF__OP_COST);
    if (error == 0)
        error = hf__index_give(index, root->root);
    if (error != 0)
        return error;
    struct hf__index_root *edited = hf__index_edit_root(index);
    edited->root = 0;
    edited->capacity = 0;
    return 0;
}

/* ---- iteration ------------------------------------------------------------------------------- */

/* A cursor is a position in each run: cursor->position, and cursor->started - 1 in the young one.
 * This sets it to the first names that don't sort before the prefix. 0, HF_ECORRUPT. */
static int start(const struct hf__index *index, const hf_ref *array,
                 struct hf__index_cursor *cursor, const void *prefix, size_t prefix_bytes)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    struct spot old = {.position = 0}, young = {.position = root->buckets};
    int error = 0;
    if (prefix_bytes > 0) {
        error = search_run(index, array, 0, root->buckets, prefix, prefix_bytes, &old);
        if (error == 0)
            error =
                search_run(index, array, root->buckets, root->count, prefix, prefix_bytes, &young);
    }
    if (error != 0)
        return error;
    cursor->position = old.position;
    cursor->started = 1 + young.position;
    return 0;
}

/* The entry at one of the cursor's positions, 0 if it is the run's end. 0, HF_ECORRUPT. */
static int entry_at(const struct hf__index *index, const hf_ref *array, uint64_t position,
                    uint64_t end, hf_ref *out)
{
    *out = 0;
    if (position >= end)
        return 0;
    if (end - position > AHEAD)
        hf__index_expect(index->seg, array[position + AHEAD]);
    *out = array[position];
    return hf__index_node_ok(index->seg, *out)
               ? 0
               : hf__corrupt("index.links",
                             hf__index_slot(hf__index_root_of(index)->root, position));
}

static int flat_next(const struct hf__index *index, struct hf__index_cursor *cursor,
                     const void *prefix, size_t prefix_bytes, hf_ref *out)
{
    const struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    const hf_ref *array;
    hf_ref node, young;
    int error = array_of(index, &array);
    if (prefix == NULL)
        prefix_bytes = 0;
    if (error == 0 && cursor->started == 0)
        error = start(index, array, cursor, prefix, prefix_bytes);
    if (error == 0)
        error = entry_at(index, array, cursor->position, root->buckets, &node);
    if (error == 0)
        error = entry_at(index, array, cursor->started - 1, root->count, &young);
    if (error != 0)
        return error;
    const bool is_young =
        young != 0 && (node == 0 || hf__index_compare_nodes(seg, young, node) < 0);
    node = is_young ? young : node;
    if (node == 0 || !hf__index_has_prefix(seg, node, prefix, prefix_bytes))
        return 0;
    if (is_young)
        cursor->started++;
    else
        cursor->position++;
    cursor->steps++;
    cursor->node = node;
    *out = node;
    return 1;
}

/* ---- checking -------------------------------------------------------------------------------- */

/* No name may be in both runs, whose entries are all sound. */
static void check_runs(const struct hf__index *index, const hf_ref *array, struct hf__check *check)
{
    const struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    struct spot spot;
    for (uint64_t i = root->buckets; i < root->count; i++) {
        const hf_ref node = array[i];
        if (search_run(index, array, 0, root->buckets, hf__index_name_at(seg, node),
                       hf__index_name_bytes(seg, node), &spot) == 0 &&
            spot.found)
            hf__finding(check, "index.order", node, "its name is in the array twice");
    }
}

/* Entries of the array, one by one. Returns how many; *sound: their names may be compared. */
static uint64_t check_entries(const struct hf__index *index, const hf_ref *array,
                              uint64_t entries_max, struct hf__check *check, bool *sound,
                              bool (*valid)(void *user, hf_ref node), void *user)
{
    const struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    uint64_t visited = 0;
    hf_ref previous = 0;
    for (uint64_t i = 0; i < root->count && i < root->capacity; i++) {
        if (i >= entries_max || hf__check_stopped(check)) {
            hf__finding(check, "index.count", index->root,
                        "more entries than the %llu there can be", (unsigned long long)entries_max);
            *sound = false;
            break;
        }
        visited++;
        hf__check_step(check, 1);
        if (!hf__index_check_entry(index, check, hf__index_slot(root->root, i), array[i], false,
                                   false, valid, user)) {
            *sound = false;
            continue;
        }
        if (previous != 0 && i != root->buckets &&
            hf__index_compare_nodes(seg, previous, array[i]) >= 0) {
            hf__finding(check, "index.order", array[i], "does not sort after %llu",
                        (unsigned long long)previous);
            *sound = false;
        }
        previous = array[i];
    }
    return visited;
}

static uint64_t flat_check(const struct hf__index *index, uint64_t entries_max,
                           struct hf__check *check, bool (*valid)(void *user, hf_ref node),
                           void *user)
{
    const struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    uint64_t visited = 0;
    bool array_ok = hf__index_array_ok(seg, root->root, root->capacity);
    bool sound = root->count <= root->capacity && root->buckets <= root->count;
    if ((root->root != 0 || root->capacity != 0) && (!array_ok || root->capacity == 0))
        hf__finding(check, "index.links", index->root, "no array of %llu offsets can be at %llu",
                    (unsigned long long)root->capacity, (unsigned long long)root->root);
    if (root->count > root->capacity)
        hf__finding(check, "index.count", index->root, "count is %llu, more than the capacity %llu",
                    (unsigned long long)root->count, (unsigned long long)root->capacity);
    if (root->buckets > root->count)
        hf__finding(check, "index.count", index->root, "%llu sorted entries, more than the count",
                    (unsigned long long)root->buckets);
    if (array_ok) {
        const hf_ref *array = hf__index_slots_at(seg, root->root);
        visited = check_entries(index, array, entries_max, check, &sound, valid, user);
        if (sound)
            check_runs(index, array, check);
        if (root->count < root->capacity && array[root->count] != 0)
            hf__finding(check, "index.count", index->root, "the slot behind the last is not 0");
    }
    hf__index_check_root(index, check, visited, true, true);
    return visited;
}

static void flat_blocks(const struct hf__index *index, void (*owned)(void *user, hf_ref block),
                        void *user)
{
    if (hf__index_root_of(index)->root != 0)
        owned(user, hf__index_root_of(index)->root);
}

const struct hf__index_ops hf__index_flat = {
    .kind = HF_INDEX_FLAT,
    .name = "flat",
    .ordered = true,
    .init = flat_init,
    .find = flat_find,
    .seek = flat_seek,
    .insert = flat_insert,
    .erase = flat_erase,
    .reserve = flat_reserve,
    .shrink = flat_shrink,
    .next = flat_next,
    .check = flat_check,
    .blocks = flat_blocks,
};
