/* SPDX-License-Identifier: MIT */
/*
 * salvage_pool.c - pools of nodes out of a wreck
 *
 * A pool and each of its chunks carry a check over where they lie, so a chunk tells whose it is. A pool is intact
 * if it is, and all its chunks are, and together they hold as many nodes as it says. In the new store it is a pool
 * of the same name and shape; each chunk is filled whole there, which gives a chunk of its own, nodes in the
 * same order, and only then the nodes that weren't live are given back. So a pointer to a node is corrected like
 * one into any other memory: by how far its chunk has moved.
 *
 * Invariants
 *   L1  found[i].pool is 0, or number + 1 of an intact pool: its own, or the one a chunk belongs to
 *   L2  a pool that isn't intact is lost, and its chunks are memory like any other
 */
#include "salvage.h"

#include "pool.h"

#include <stdlib.h>
#include <string.h>

struct tally {
    uint32_t number; /* in found                                                                  */
    uint64_t chunks, live;
};

static bool is_pool(const struct hf__wreck *wreck, const struct hf__found *found)
{
    const struct hf__type_record *record = hf__wreck_type(wreck, found->type_id);
    return found->kind != 0 && found->verdict == HF_SALVAGE_INTACT && record != NULL &&
           strcmp(hf__type_record_name(record), HF__POOL_TYPE) == 0;
}

static bool is_chunk(const struct hf__found *found)
{
    return found->kind == 0 && found->pool != 0;
}

static struct tally *tally_at(const struct hf__wreck *wreck, struct tally *tallies, size_t count,
                              hf_ref pool)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (wreck->found[tallies[middle].number].elements < pool)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && wreck->found[tallies[low].number].elements == pool ? &tallies[low] : NULL;
}

static void join_chunks(const struct hf__wreck *wreck, struct tally *tallies, size_t count)
{
    struct hf__segment *seg = &wreck->store->seg;
    for (size_t i = 0; i < wreck->found_count; i++) {
        struct hf__found *found = &wreck->found[i];
        hf_ref pool;
        struct tally *tally;
        if (found->kind != 0 || found->verdict != HF_SALVAGE_INTACT ||
            !hf__pool_of_chunk(seg, found->elements, found->size_bytes, &pool) ||
            (tally = tally_at(wreck, tallies, count, pool)) == NULL)
            continue;
        found->pool = tally->number + 1;
        tally->chunks++;
        tally->live += hf__pool_chunk_live(seg, found->elements);
    }
}

int hf__wreck_pools(struct hf__wreck *wreck)
{
    size_t count = 0, room = 0;
    for (size_t i = 0; i < wreck->found_count; i++)
        room += is_pool(wreck, &wreck->found[i]);
    if (room == 0)
        return 0;
    struct tally *tallies = calloc(room, sizeof *tallies);
    if (tallies == NULL)
        return hf__fail(HF_ENOMEM, "pools of nodes");
    for (size_t i = 0; i < wreck->found_count; i++)
        if (is_pool(wreck, &wreck->found[i]))
            tallies[count++].number = (uint32_t)i;
    join_chunks(wreck, tallies, count);
    for (size_t i = 0; i < count; i++) {
        struct hf__found *found = &wreck->found[tallies[i].number];
        struct hf__pool_shape shape;
        if (hf__pool_shape_of(&wreck->store->seg, found->elements, &shape) &&
            shape.chunks == tallies[i].chunks && shape.live == tallies[i].live) {
            found->pool = tallies[i].number + 1;
        } else {
            found->verdict = HF_SALVAGE_LOST;
            found->why = HF__WHY_POOL;
        }
    }
    free(tallies);
    for (size_t i = 0; i < wreck->found_count; i++) /* L2 */
        if (is_chunk(&wreck->found[i]) && wreck->found[wreck->found[i].pool - 1].pool == 0)
            wreck->found[i].pool = 0;
    return 0;
}

void hf__wreck_reach_chunks(struct hf__wreck *wreck)
{
    for (size_t i = 0; i < wreck->found_count; i++)
        if (is_chunk(&wreck->found[i]) && wreck->found[wreck->found[i].pool - 1].reached)
            wreck->found[i].reached = 1;
}

static struct hf__pool_shape shape_of(const struct hf__wreck *wreck, const struct hf__found *found)
{
    struct hf__pool_shape shape = {.nodes = 0};
    (void)hf__pool_shape_of(&wreck->store->seg, wreck->found[found->pool - 1].elements, &shape);
    return shape;
}

bool hf__found_leads(const struct hf__wreck *wreck, const struct hf__found *found, hf_ref at)
{
    if (!is_chunk(found))
        return true;
    const struct hf__pool_shape shape = shape_of(wreck, found);
    const uint64_t first = found->elements + shape.nodes_from;
    return at >= first && (at - first) / shape.node_bytes < shape.nodes &&
           hf__pool_node_lives(&wreck->store->seg, found->elements,
                               (at - first) / shape.node_bytes);
}

uint64_t hf__found_nodes(const struct hf__wreck *wreck, const struct hf__found *found)
{
    return shape_of(wreck, found).live;
}

/* ---- in the new store ------------------------------------------------------------------------ */

void *hf__salvaged_pool(const struct hf__wreck *wreck, const struct hf__found *found, hf_txn *txn,
                        const char *name)
{
    const struct hf__pool_shape shape = shape_of(wreck, found);
    return hf_pool_create(txn, name, shape.node_bytes, shape.empty_max);
}

int hf__salvaged_chunk(const struct hf__wreck *wreck, struct hf__found *found, hf_txn *txn)
{
    const struct hf__pool_shape shape = shape_of(wreck, found);
    const hf_pool *pool = hf_at(hf_txn_view(txn), wreck->found[found->pool - 1].now);
    void **nodes = malloc(shape.nodes * sizeof *nodes);
    if (nodes == NULL)
        return hf__fail(HF_ENOMEM, "nodes of a pool");
    int code = hf_pool_alloc_many(txn, pool, shape.nodes, nodes);
    for (uint64_t i = 0; code == 0 && i < shape.nodes; i++)
        if ((unsigned char *)nodes[i] != (unsigned char *)nodes[0] + i * shape.node_bytes)
            code = hf__fail(HF_ECORRUPT, "nodes that don't fill a chunk");
    if (code == 0) {
        memcpy(nodes[0], hf__at(&wreck->store->seg, found->elements + shape.nodes_from),
               shape.nodes * shape.node_bytes);
        found->now = hf_ref_of(hf_txn_view(txn), nodes[0]) - shape.nodes_from;
    }
    free(nodes);
    return code;
}

int hf__salvaged_trim(const struct hf__wreck *wreck, const struct hf__found *found, hf_txn *txn)
{
    const struct hf__pool_shape shape = shape_of(wreck, found);
    hf_view *view = hf_txn_view(txn);
    int code = 0;
    for (uint64_t i = 0; code == 0 && i < shape.nodes; i++)
        if (!hf__pool_node_lives(&wreck->store->seg, found->elements, i))
            code = hf_pool_free(txn, hf_at(view, wreck->found[found->pool - 1].now),
                                hf_at(view, found->now + shape.nodes_from + i * shape.node_bytes));
    return code;
}
