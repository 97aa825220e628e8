/* SPDX-License-Identifier: MIT */
/*
 * index.c - what is the same for every kind of index
 *
 * The order of names is that of unsigned bytes, a name before those it begins; it is part of the
 * file format, since the set and the flat array are kept in it.
 *
 * An entry may be followed when hf__index_node_ok says so: its offset is aligned, and node, name
 * and one more byte (the NUL) lie in the segment. Nobody reads a name before that was asked. A node
 * that is ok need not be an entry: only the caller of check() can tell, through valid().
 */
#include "entry.h"

#include "base/error.h"

#include <string.h>

const struct hf__index_ops *hf__index_by_kind(uint32_t kind)
{
    static const struct hf__index_ops *const all[] = {&hf__index_set, &hf__index_hash,
                                                      &hf__index_flat, &hf__index_null};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i]->kind == kind)
            return all[i];
    }
    return NULL;
}

int hf__index_compare(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    if (order != 0)
        return order;
    return (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

int hf__index_compare_name(const struct hf__segment *seg, const void *name, size_t size_bytes,
                           hf_ref node)
{
    return hf__index_compare(name, size_bytes, hf__index_name_at(seg, node),
                             hf__index_name_bytes(seg, node));
}

int hf__index_compare_nodes(const struct hf__segment *seg, hf_ref a, hf_ref b)
{
    return hf__index_compare_name(seg, hf__index_name_at(seg, a), hf__index_name_bytes(seg, a), b);
}

bool hf__index_has_prefix(const struct hf__segment *seg, hf_ref node, const void *prefix,
                          size_t prefix_bytes)
{
    return prefix_bytes == 0 || (hf__index_name_bytes(seg, node) >= prefix_bytes &&
                                 memcmp(hf__index_name_at(seg, node), prefix, prefix_bytes) == 0);
}

bool hf__index_array_ok(const struct hf__segment *seg, hf_ref array, uint64_t slots)
{
    const uint64_t header_bytes = sizeof(struct hf__index_array);
    if (array == 0 || array % HF__INDEX_ENTRY_ALIGN != 0 ||
        slots > seg->size_bytes / HF__INDEX_SLOT_BYTES ||
        !hf__in_segment(seg, array, header_bytes + slots * HF__INDEX_SLOT_BYTES))
        return false;
    const struct hf__index_array *header = (const struct hf__index_array *)hf__at(seg, array);
    return header->self == array && header->slots == slots;
}

int hf__index_take(struct hf__index *index, uint64_t slots, hf_ref *out)
{
    struct hf__segment *seg = index->seg;
    const uint64_t header_bytes = sizeof(struct hf__index_array);
    assert(slots > 0);
    if (seg->door == NULL)
        return hf__fail(HF_EFULL, "the %s index needs an allocator", index->ops->name);
    if (slots > (UINT64_MAX - header_bytes) / HF__INDEX_SLOT_BYTES)
        return hf__fail(HF_EFULL, "no index has room for that many names");
    return seg->door->allocate(seg, header_bytes + slots * HF__INDEX_SLOT_BYTES, out);
}

void hf__index_array_begin(struct hf__index *index, hf_ref array, uint64_t slots)
{
    struct hf__index_array *header =
        (struct hf__index_array *)hf__edit(index->seg, array, sizeof(struct hf__index_array));
    assert(array % HF__INDEX_ENTRY_ALIGN == 0);
    header->self = array;
    header->slots = slots;
}

int hf__index_give(struct hf__index *index, hf_ref array)
{
    struct hf__segment *seg = index->seg;
    if (seg->door == NULL)
        return hf__fail(HF_EPTR, "no allocator gave the %s index this array", index->ops->name);
    return seg->door->release(seg, array);
}

void hf__index_untake(struct hf__index *index, hf_ref array)
{
    if (array != 0)
        (void)hf__index_give(index, array); /* the first error is the one to tell */
}

bool hf__index_check_entry(const struct hf__index *index, struct hf__check *check, uint64_t from,
                           hf_ref node, bool linked, bool hashed,
                           bool (*valid)(void *user, hf_ref node), void *user)
{
    const struct hf__segment *seg = index->seg;
    if (!hf__index_node_ok(seg, node)) {
        hf__finding(check, "index.links", from, "leads to %llu, where no entry can be",
                    (unsigned long long)node);
        return false;
    }
    const struct hf__index_node *entry = hf__index_node_at(seg, node);
    if (entry->name_bytes == 0 || hf__index_name_at(seg, node)[entry->name_bytes] != '\0')
        hf__finding(check, "index.name", node, "name of %u bytes is empty or not followed by a NUL",
                    (unsigned)entry->name_bytes);
    if (entry->reserved != 0)
        hf__finding(check, "index.reserved", node, "reserved is %u, expected 0",
                    (unsigned)entry->reserved);
    if (!linked && entry->link != 0)
        hf__finding(check, "index.links", node, "unused link is %llu, expected 0",
                    (unsigned long long)entry->link);
    if (!hashed && entry->name_hash != 0)
        hf__finding(check, "index.hash", node, "hash is %u, expected 0 in this kind of index",
                    (unsigned)entry->name_hash);
    return valid == NULL || valid(user, node);
}

void hf__index_check_root(const struct hf__index *index, struct hf__check *check, uint64_t visited,
                          bool has_capacity, bool has_buckets)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    if (root->count != visited)
        hf__finding(check, "index.count", index->root,
                    "count is %llu, but %llu entries are reached", (unsigned long long)root->count,
                    (unsigned long long)visited);
    if (!has_capacity && root->capacity != 0)
        hf__finding(check, "index.reserved", index->root, "capacity is %llu, expected 0",
                    (unsigned long long)root->capacity);
    if (!has_buckets && root->buckets != 0)
        hf__finding(check, "index.reserved", index->root, "buckets is %llu, expected 0",
                    (unsigned long long)root->buckets);
    for (unsigned i = 0; i < 4; i++) {
        if (root->reserved[i] != 0)
            hf__finding(check, "index.reserved", index->root, "reserved[%u] is %llu, expected 0", i,
                        (unsigned long long)root->reserved[i]);
    }
}
