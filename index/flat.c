/* SPDX-License-Identifier: MIT */
/*
 * flat.c - one array of offsets, sorted by the names they lead to
 *
 * The most compact index and the quickest to walk, and slow to change: an insertion or erasure
 * moves all that sorts behind it, and every moved byte is announced. The array is a block from the
 * edit door's allocate; when it is full one of twice the size takes its place.
 *
 * Invariants, besides I1..I3 of index.h:
 *   F1  root.root and root.capacity are 0, or root.root is an array of root.capacity slots
 *   F2  root.count <= root.capacity, and slot root.count, if there is one, is 0: so a count that
 *       forgets entries shows; the slots behind it mean nothing
 *   F3  slots below root.count lead to entries in strictly ascending order of names
 *   F4  links and name_hash of each entry are zero
 */
#include "entry.h"

#include "base/error.h"

#include <string.h>

#define SLOT_BYTES   HF__INDEX_SLOT_BYTES
#define CAPACITY_MIN UINT64_C(8)
#define AHEAD        8u /* entries that a scan asks for ahead of itself                          */

/* The slots, after a look at F1 and F2. 0 and *out (NULL if there are none), HF_ECORRUPT. */
static int array_of(const struct hf__index *index, const hf_ref **out)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    if (root->count > root->capacity || (root->capacity == 0) != (root->root == 0))
        return hf__corrupt("index.count", index->root);
    if (root->root != 0 && !hf__index_array_ok(index->seg, root->root, root->capacity))
        return hf__corrupt("index.links", index->root);
    *out = root->root != 0 ? hf__index_slots_at(index->seg, root->root) : NULL;
    return 0;
}

/* The first position whose name doesn't sort before the given one; *found tells whether it is that
 * name. 0, HF_ECORRUPT. */
static int search(const struct hf__index *index, const hf_ref *array, const void *name,
                  size_t size_bytes, uint64_t *position, bool *found)
{
    const struct hf__segment *seg = index->seg;
    uint64_t low = 0, high = hf__index_root_of(index)->count;
    *found = false;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (!hf__index_node_ok(seg, array[middle]))
            return hf__corrupt("index.links",
                               hf__index_slot(hf__index_root_of(index)->root, middle));
        int order = hf__index_compare_name(seg, name, size_bytes, array[middle]);
        if (order == 0) {
            low = middle;
            *found = true;
            break;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    *position = low;
    return 0;
}

static int flat_init(struct hf__index *index)
{
    (void)index;
    return 0;
}

/* Where the name is, or belongs, and whether it is there. 0, HF_ECORRUPT. */
static int look_for(const struct hf__index *index, const void *name, size_t size_bytes,
                    uint64_t *position, bool *found)
{
    const hf_ref *array;
    int error = array_of(index, &array);
    return error == 0 ? search(index, array, name, size_bytes, position, found) : error;
}

static int flat_seek(const struct hf__index *index, const void *name, size_t size_bytes,
                     struct hf__index_place *place, hf_ref *out)
{
    bool found;
    int error = look_for(index, name, size_bytes, &place->opaque[0], &found);
    if (error != 0)
        return error;
    if (!found)
        return HF_ENOTFOUND;
    *out = hf__index_slots_at(index->seg, hf__index_root_of(index)->root)[place->opaque[0]];
    return 0;
}

static int flat_find(const struct hf__index *index, const void *name, size_t size_bytes,
                     hf_ref *out)
{
    struct hf__index_place place;
    return flat_seek(index, name, size_bytes, &place, out);
}

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

static int flat_insert(struct hf__index *index, hf_ref node, const struct hf__index_place *place)
{
    struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    const hf_ref *array;
    uint64_t position = place != NULL ? place->opaque[0] : 0;
    bool found = false;
    assert(hf__index_node_ok(seg, node) && hf__index_name_bytes(seg, node) > 0);
    int error = array_of(index, &array);
    if (error == 0 && place == NULL)
        error = search(index, array, hf__index_name_at(seg, node), hf__index_name_bytes(seg, node),
                       &position, &found);
    if (error == 0 && position > root->count)
        error = hf__corrupt("index.count", index->root);
    if (error != 0)
        return error;
    if (found)
        return hf__fail(HF_EEXIST, "the name is in the index already");

    const uint64_t moved = root->count - position;
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
    hf_ref *slot = (hf_ref *)hf__edit(seg, hf__index_slot(root->root, position),
                                      (moved + (fills ? 1 : 2)) * SLOT_BYTES);
    memmove(slot + 1, slot, moved * SLOT_BYTES);
    *slot = node;
    if (!fills)
        slot[moved + 1] = 0;
    hf__index_edit_root(index)->count++;
    return 0;
}

static int flat_erase(struct hf__index *index, hf_ref node, const struct hf__index_place *place)
{
    struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    const hf_ref *array;
    uint64_t position = place != NULL ? place->opaque[0] : 0;
    bool found = place != NULL;
    if (!hf__index_node_ok(seg, node))
        return hf__corrupt("index.links", node);
    int error = array_of(index, &array);
    if (error == 0 && place == NULL)
        error = search(index, array, hf__index_name_at(seg, node), hf__index_name_bytes(seg, node),
                       &position, &found);
    if (error != 0)
        return error;
    if (!found || position >= root->count || array[position] != node)
        return hf__corrupt("index.links", node);

    const uint64_t moved = root->count - position - 1;
    error = hf__reserve(seg, HF__EDIT_COST((moved + 1) * SLOT_BYTES) + HF__EDIT_COST(sizeof *root));
    if (error != 0)
        return error;
    hf_ref *slot =
        (hf_ref *)hf__edit(seg, hf__index_slot(root->root, position), (moved + 1) * SLOT_BYTES);
    memmove(slot, slot + 1, moved * SLOT_BYTES);
    slot[moved] = 0;
    hf__index_edit_root(index)->count--;
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

static int flat_next(const struct hf__index *index, struct hf__index_cursor *cursor,
                     const void *prefix, size_t prefix_bytes, hf_ref *out)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    const hf_ref *array;
    int error = array_of(index, &array);
    if (error != 0)
        return error;
    if (prefix == NULL)
        prefix_bytes = 0;
    if (!cursor->started) {
        bool found;
        if (prefix_bytes > 0)
            error = search(index, array, prefix, prefix_bytes, &cursor->position, &found);
        if (error != 0)
            return error;
        cursor->started = 1;
    }
    if (cursor->position >= root->count)
        return 0;
    hf_ref node = array[cursor->position];
    if (root->count - cursor->position > AHEAD)
        hf__index_expect(index->seg, array[cursor->position + AHEAD]);
    if (!hf__index_node_ok(index->seg, node))
        return hf__corrupt("index.links", hf__index_slot(root->root, cursor->position));
    if (!hf__index_has_prefix(index->seg, node, prefix, prefix_bytes))
        return 0;
    cursor->position++;
    cursor->steps++;
    cursor->node = node;
    *out = node;
    return 1;
}

static uint64_t flat_check(const struct hf__index *index, uint64_t entries_max,
                           struct hf__check *check, bool (*valid)(void *user, hf_ref node),
                           void *user)
{
    const struct hf__segment *seg = index->seg;
    const struct hf__index_root *root = hf__index_root_of(index);
    uint64_t visited = 0;
    hf_ref previous = 0;
    bool array_ok = hf__index_array_ok(seg, root->root, root->capacity);
    if ((root->root != 0 || root->capacity != 0) && (!array_ok || root->capacity == 0))
        hf__finding(check, "index.links", index->root, "no array of %llu offsets can be at %llu",
                    (unsigned long long)root->capacity, (unsigned long long)root->root);
    if (root->count > root->capacity)
        hf__finding(check, "index.count", index->root, "count is %llu, more than the capacity %llu",
                    (unsigned long long)root->count, (unsigned long long)root->capacity);
    if (array_ok) {
        const hf_ref *array = hf__index_slots_at(seg, root->root);
        for (uint64_t i = 0; i < root->count && i < root->capacity; i++) {
            if (i >= entries_max || hf__check_stopped(check)) {
                hf__finding(check, "index.count", index->root,
                            "more entries than the %llu there can be",
                            (unsigned long long)entries_max);
                break;
            }
            visited++;
            hf__check_step(check, 1);
            if (!hf__index_check_entry(index, check, hf__index_slot(root->root, i), array[i], false,
                                       false, valid, user))
                continue;
            if (previous != 0 && hf__index_compare_nodes(seg, previous, array[i]) >= 0)
                hf__finding(check, "index.order", array[i], "does not sort after %llu",
                            (unsigned long long)previous);
            previous = array[i];
        }
        if (root->count < root->capacity && array[root->count] != 0)
            hf__finding(check, "index.count", index->root, "the slot behind the last is not 0");
    }
    hf__index_check_root(index, check, visited, true, false);
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
