/* SPDX-License-Identifier: MIT */
/*
 * pool.c - pools of nodes of one size (holdfast/pool.h), above the store's own raw memory
 *
 * A chunk is a raw block that begins at a multiple of its size (but for the header of the next
 * one), so a node leads to its chunk, and the chunk's check to the pool. A bitmap in the chunk says
 * which nodes are live; a free node is never written. Two lists: chunks with room, the empty ones
 * at the end, and full ones.
 *
 * Invariants
 *   L1  used is the number of bits set; bits behind the last node are not set
 *   L2  a chunk with room is in the list of those, once, a full one in the other; links lead both
 *   ways
 *   L3  chunks without a live node are the last ones of the list of those with room
 *   L4  live, chunks and empties of the pool are those of its chunks
 *
 * Undo. Whatever is written is announced, a node that is handed out too: it may have been freed in
 * this very transaction, and an abort must find its old content.
 *
 * Damage. A pool and a chunk are believed by their check, neighbours only if they link back; that
 * is looked at, and room reserved, before the first write.
 */
#include "pool.h"

#include "base/check.h"
#include "base/hash.h"
#include "store.h"

#include <stdio.h>
#include <string.h>

#define SHARED_EMPTY_MAX 2u
/* Pool, chunk, word, three neighbours. */
#define POOL_COST (6 * HF__EDIT_COST(sizeof(struct hf__pool)))

static const hf_field pool_refs[] = {{offsetof(struct hf__pool, room_first), HF_FIELD_REF, NULL},
                                     {offsetof(struct hf__pool, room_last), HF_FIELD_REF, NULL},
                                     {offsetof(struct hf__pool, full_first), HF_FIELD_REF, NULL}};
static const hf_type pool_type = {HF__POOL_TYPE, 1, sizeof(struct hf__pool), 16, 0, pool_refs, 3};

/* ---- pools and chunks, believed -------------------------------------------------------------- */

/* A pool, with where its nodes begin. */
struct pool {
    struct hf__segment *seg;
    uint64_t offset;
    const struct hf__pool *at;
    uint64_t nodes_from; /* in a chunk                                                            */
};

static uint64_t words_of(uint64_t nodes)
{
    return (nodes + 63) / 64;
}

static uint64_t nodes_from(uint64_t nodes)
{
    return (sizeof(struct hf__pool_chunk) + words_of(nodes) * 8 + 15) & ~UINT64_C(15);
}

static uint64_t pool_check(const struct hf__segment *seg, uint64_t offset,
                           const struct hf__pool *pool)
{
    const uint64_t words[4] = {offset, pool->node_bytes, pool->chunk_bytes, pool->nodes};
    return hf__hash(words, sizeof words, seg->salt);
}

static uint64_t chunk_check(const struct hf__segment *seg, uint64_t offset, uint64_t pool)
{
    const uint64_t words[2] = {offset, pool};
    return hf__hash(words, sizeof words, seg->salt);
}

static bool pool_at(struct hf__segment *seg, uint64_t offset, struct pool *out)
{
    const uint64_t end = hf__used_end(seg);
    if (offset < HF__FIRST_BLOCK || offset % 16 != 0 || offset > end ||
        end - offset < sizeof(struct hf__pool))
        return false;
    const struct hf__pool *pool = (const struct hf__pool *)hf__at(seg, offset);
    *out = (struct pool){seg, offset, pool, nodes_from(pool->nodes)};
    return pool->check == pool_check(seg, offset, pool) && pool->node_bytes >= 8 &&
           pool->node_bytes <= HF_POOL_NODE_BYTES_MAX && pool->chunk_bytes >= 4096 &&
           pool->chunk_bytes <= HF_ALIGN_BYTES_MAX && pool->nodes != 0 &&
           out->nodes_from + (uint64_t)pool->nodes * pool->node_bytes <=
               pool->chunk_bytes - HF__BLOCK_HEADER_BYTES;
}

static const struct hf__pool_chunk *chunk_at(const struct pool *pool, uint64_t offset)
{
    const uint64_t end = hf__used_end(pool->seg), bytes = pool->at->chunk_bytes;
    if (offset < HF__FIRST_BLOCK || (offset & (bytes - 1)) != 0 || offset > end ||
        end - offset < bytes - HF__BLOCK_HEADER_BYTES)
        return NULL;
    const struct hf__pool_chunk *chunk = (const struct hf__pool_chunk *)hf__at(pool->seg, offset);
    return chunk->pool == pool->offset &&
                   chunk->check == chunk_check(pool->seg, offset, pool->offset)
               ? chunk
               : NULL;
}

static const uint64_t *bits_of(const struct hf__pool_chunk *chunk)
{
    return (const uint64_t *)(chunk + 1);
}

static int pool_in(const hf_view *view, const hf_pool *p, struct pool *out)
{
    const uint64_t offset = p == NULL ? UINT64_MAX : hf__offset_of(view, p);
    return offset != UINT64_MAX && pool_at(view->seg, offset, out)
               ? 0
               : hf__fail(HF_EPTR, "%p is not a pool", (const void *)p);
}

static int pool_to_change(hf_txn *txn, const hf_pool *p, struct pool *out)
{
    const int code = hf__txn_usable(txn);
    return code == 0 ? pool_in(&txn->view, p, out) : code;
}

/* ---- writing --------------------------------------------------------------------------------- */

static struct hf__pool *edit_pool(const struct pool *pool)
{
    return (struct hf__pool *)hf__edit(pool->seg, pool->offset, sizeof(struct hf__pool));
}

static struct hf__pool_chunk *edit_chunk(const struct pool *pool, uint64_t offset)
{
    return (struct hf__pool_chunk *)hf__edit(pool->seg, offset, sizeof(struct hf__pool_chunk));
}

static void set_bit(const struct pool *pool, uint64_t chunk, uint64_t node, bool live)
{
    uint64_t *word = (uint64_t *)hf__edit(
        pool->seg, chunk + sizeof(struct hf__pool_chunk) + node / 64 * 8, sizeof *word);
    *word = (*word & ~(UINT64_C(1) << node % 64)) | (uint64_t)live << node % 64;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static bool is_full(const struct pool *pool, const struct hf__pool_chunk *chunk)
{
    return chunk->used >= pool->at->nodes;
}

/* Whether a chunk's neighbours, and the ends of the lists that it may come to, are chunks that link
 * back. 0, HF_ECORRUPT. */
static int look_around(const struct pool *pool, uint64_t offset, const struct hf__pool_chunk *chunk)
{
    const struct hf__pool *at = pool->at;
    const struct hf__pool_chunk *other;
    const uint64_t ends[3] = {at->room_first, at->room_last, at->full_first};
    bool good = chunk->used <= at->nodes;
    if (chunk->previous != 0)
        good = good && (other = chunk_at(pool, chunk->previous)) != NULL && other->next == offset;
    else
        good = good && (is_full(pool, chunk) ? at->full_first : at->room_first) == offset;
    if (chunk->next != 0)
        good = good && (other = chunk_at(pool, chunk->next)) != NULL && other->previous == offset;
    else
        good = good && (is_full(pool, chunk) || at->room_last == offset);
    for (int i = 0; i < 3; i++)
        good = good && (ends[i] == 0 || ((other = chunk_at(pool, ends[i])) != NULL &&
                                         (i == 1 ? other->next : other->previous) == 0));
    return good ? 0 : hf__corrupt("pool.links", offset);
}

static void unlist(const struct pool *pool, uint64_t offset, bool full)
{
    const struct hf__pool_chunk chunk = *chunk_at(pool, offset);
    struct hf__pool *at = edit_pool(pool);
    if (chunk.previous != 0)
        edit_chunk(pool, chunk.previous)->next = chunk.next;
    else if (full)
        at->full_first = chunk.next;
    else
        at->room_first = chunk.next;
    if (chunk.next != 0)
        edit_chunk(pool, chunk.next)->previous = chunk.previous;
    else if (!full)
        at->room_last = chunk.previous;
}

static void list_first(const struct pool *pool, uint64_t offset, bool full)
{
    struct hf__pool *at = edit_pool(pool);
    struct hf__pool_chunk *chunk = edit_chunk(pool, offset);
    uint64_t *first = full ? &at->full_first : &at->room_first;
    chunk->previous = 0;
    chunk->next = *first;
    if (*first != 0)
        edit_chunk(pool, *first)->previous = offset;
    else if (!full)
        at->room_last = offset;
    *first = offset;
}

static void list_last(const struct pool *pool, uint64_t offset)
{
    struct hf__pool *at = edit_pool(pool);
    struct hf__pool_chunk *chunk = edit_chunk(pool, offset);
    chunk->next = 0;
    chunk->previous = at->room_last;
    if (at->room_last != 0)
        edit_chunk(pool, at->room_last)->next = offset;
    else
        at->room_first = offset;
    at->room_last = offset;
}

/* ---- chunks ---------------------------------------------------------------------------------- */

static int add_chunk(hf_txn *txn, const struct pool *pool)
{
    void *block = hf_alloc_aligned(txn, pool->at->chunk_bytes - HF__BLOCK_HEADER_BYTES,
                                   pool->at->chunk_bytes);
    if (block == NULL)
        return hf_last_error()->code;
    const uint64_t offset = hf__offset_of(&txn->view, block);
    int code = hf__reserve(pool->seg, POOL_COST + HF__EDIT_COST(pool->nodes_from));
    if (code != 0) {
        hf_error failure = *hf_last_error();
        hf_free(txn, block);
        return hf__fail_again(&failure);
    }
    struct hf__pool_chunk *chunk =
        (struct hf__pool_chunk *)hf__edit(pool->seg, offset, pool->nodes_from);
    memset(chunk, 0, (size_t)pool->nodes_from);
    chunk->pool = pool->offset;
    chunk->check = chunk_check(pool->seg, offset, pool->offset);
    list_first(pool, offset, false);
    edit_pool(pool)->chunks++;
    edit_pool(pool)->empties++;
    return 0;
}

/* An empty chunk, or one of a pool that goes, is listed no longer. */
static void release_chunk(hf_txn *txn, const struct pool *pool, uint64_t offset)
{
    edit_chunk(pool, offset)->check = 0;
    hf_free(txn, pool->seg->base + offset);
}

/* ---- making and finding ---------------------------------------------------------------------- */

static void set_up(struct hf__pool *pool, size_t node_bytes, uint64_t empty_max)
{
    const uint64_t align = node_bytes % 16 == 0 ? 16 : 8;
    uint32_t chunk = 4096;
    pool->node_bytes = (uint32_t)((node_bytes + align - 1) / align * align);
    while (chunk < HF_ALIGN_BYTES_MAX && chunk / pool->node_bytes < 256)
        chunk *= 2;
    const uint64_t bytes = chunk - HF__BLOCK_HEADER_BYTES;
    uint64_t nodes = bytes / pool->node_bytes;
    while (nodes_from(nodes) + nodes * pool->node_bytes > bytes)
        nodes--;
    pool->chunk_bytes = chunk;
    pool->nodes = (uint32_t)nodes;
    pool->empty_max = empty_max;
}

static bool node_size_ok(size_t node_bytes)
{
    return node_bytes != 0 && node_bytes <= HF_POOL_NODE_BYTES_MAX;
}

hf_pool *hf_pool_create(hf_txn *txn, const char *name, size_t node_bytes, uint64_t empty_max)
{
    if (!node_size_ok(node_bytes)) {
        hf__fail(HF_EINVAL, "hf_pool_create: nodes of %zu bytes", node_bytes);
        return NULL;
    }
    struct hf__pool *pool = hf_construct(txn, name, &pool_type, 1);
    if (pool == NULL)
        return NULL;
    set_up(pool, node_bytes, empty_max);
    pool->check = pool_check(&txn->store->seg, hf__offset_of(&txn->view, pool), pool);
    return pool;
}

const hf_pool *hf_pool_find(hf_view *view, const char *name)
{
    return hf_find(view, name, &pool_type, NULL);
}

hf_pool *hf_pool_shared(hf_txn *txn, size_t node_bytes)
{
    char name[48];
    struct pool pool;
    if (hf__txn_usable(txn) != 0)
        return NULL;
    if (!node_size_ok(node_bytes)) {
        hf__fail(HF_EINVAL, "hf_pool_shared: nodes of %zu bytes", node_bytes);
        return NULL;
    }
    snprintf(name, sizeof name, "hf_pool/%zu", (node_bytes + 7) / 8 * 8);
    const hf_pool *found = hf_find(&txn->view, name, &pool_type, NULL);
    if (found == NULL)
        return hf_last_error()->code == HF_ENOTFOUND
                   ? hf_pool_create(txn, name, node_bytes, SHARED_EMPTY_MAX)
                   : NULL;
    if (pool_in(&txn->view, found, &pool) != 0)
        return NULL;
    if (pool.at->node_bytes < node_bytes) { /* a private one that somebody named so */
        hf__fail(HF_ETYPE, "'%s' has nodes of %u bytes", name, pool.at->node_bytes);
        return NULL;
    }
    return (hf_pool *)(pool.seg->base + pool.offset);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

/* The first free node of a chunk, or UINT64_MAX. */
static uint64_t free_node(const struct pool *pool, const struct hf__pool_chunk *chunk)
{
    for (uint64_t i = 0; i < words_of(pool->at->nodes); i++) {
        const uint64_t word = bits_of(chunk)[i];
        if (word == UINT64_MAX)
            continue;
        const uint64_t node = i * 64 + (uint64_t)__builtin_ctzll(~word);
        return node < pool->at->nodes ? node : UINT64_MAX;
    }
    return UINT64_MAX;
}

static void *allocate(hf_txn *txn, const struct pool *pool)
{
    if (pool->at->room_first == 0 && add_chunk(txn, pool) != 0)
        return NULL;
    const uint64_t offset = pool->at->room_first;
    const struct hf__pool_chunk *chunk = chunk_at(pool, offset);
    const uint64_t node = chunk == NULL ? UINT64_MAX : free_node(pool, chunk);
    if (node == UINT64_MAX) {
        hf__corrupt(chunk == NULL ? "pool.links" : "pool.bitmap", offset);
        return NULL;
    }
    if (look_around(pool, offset, chunk) != 0 ||
        hf__reserve(pool->seg, POOL_COST + HF__EDIT_COST(pool->at->node_bytes)) != 0)
        return NULL;
    const bool was_empty = chunk->used == 0, fills = chunk->used + 1 == pool->at->nodes;
    if (fills)
        unlist(pool, offset, false);
    set_bit(pool, offset, node, true);
    edit_chunk(pool, offset)->used++;
    if (fills)
        list_first(pool, offset, true);
    struct hf__pool *at = edit_pool(pool);
    at->live++;
    at->empties -= was_empty;
    return hf__edit(pool->seg, offset + pool->nodes_from + node * at->node_bytes, at->node_bytes);
}

void *hf_pool_alloc(hf_txn *txn, const hf_pool *p)
{
    struct pool pool;
    return pool_to_change(txn, p, &pool) == 0 ? allocate(txn, &pool) : NULL;
}

/* Whether a list leads to the chunk. One that was given back at the end of the store is still a chunk in
 * the file, which isn't written above the used end, and seems to be one where that space is another
 * block's that hasn't been written yet. */
static bool is_listed(const struct pool *pool, uint64_t offset, const struct hf__pool_chunk *chunk)
{
    if (chunk->previous == 0)
        return pool->at->room_first == offset || pool->at->full_first == offset;
    const struct hf__pool_chunk *before = chunk_at(pool, chunk->previous);
    return before != NULL && before->next == offset;
}

static int free_one(hf_txn *txn, const struct pool *pool, const void *p)
{
    const uint64_t ref = hf__offset_of(&txn->view, p), bytes = pool->at->chunk_bytes;
    const uint64_t offset = ref & ~(bytes - 1), distance = ref - offset - pool->nodes_from;
    const uint64_t node = distance / pool->at->node_bytes;
    const struct hf__pool_chunk *chunk = ref == UINT64_MAX ? NULL : chunk_at(pool, offset);
    if (chunk == NULL || ref - offset < pool->nodes_from || node >= pool->at->nodes ||
        distance % pool->at->node_bytes != 0 ||
        (bits_of(chunk)[node / 64] >> node % 64 & 1) == 0 || !is_listed(pool, offset, chunk))
        return hf__fail(HF_EPTR, "%p is not a live node of the pool", p);
    int code =
        chunk->used == 0 ? hf__corrupt("pool.bitmap", offset) : look_around(pool, offset, chunk);
    if (code == 0)
        code = hf__txn_prepare_free(txn);
    if (code == 0)
        code = hf__reserve(pool->seg, POOL_COST + 4 * HF__OP_COST);
    if (code != 0)
        return code;
    const bool was_full = is_full(pool, chunk), empties = chunk->used == 1;
    if (was_full || empties)
        unlist(pool, offset, was_full);
    set_bit(pool, offset, node, false);
    edit_chunk(pool, offset)->used--;
    struct hf__pool *at = edit_pool(pool);
    at->live--;
    if (empties && at->empties >= at->empty_max) {
        at->chunks--;
        release_chunk(txn, pool, offset);
    } else if (empties) {
        at->empties++;
        list_last(pool, offset);
    } else if (was_full) {
        list_first(pool, offset, false);
    }
    return 0;
}

int hf_pool_free(hf_txn *txn, const hf_pool *p, const void *node)
{
    struct pool pool;
    int code = pool_to_change(txn, p, &pool);
    return code != 0 || node == NULL ? code : free_one(txn, &pool, node);
}

/* Takes a failed many back to where it began; the failure stays. */
static int take_back(hf_txn *txn, hf_mark mark, int code)
{
    hf_error failure = *hf_last_error();
    int back = hf_rollback_to(txn, mark);
    (void)hf__fail_again(&failure);
    return back != 0 ? back : code;
}

int hf_pool_alloc_many(hf_txn *txn, const hf_pool *p, size_t count, void **out)
{
    struct pool pool;
    hf_mark mark;
    int code = pool_to_change(txn, p, &pool);
    if (code != 0 || count == 0)
        return code;
    if (out == NULL)
        return hf__fail(HF_EINVAL, "hf_pool_alloc_many");
    if (count > txn->store->size_max_bytes / pool.at->node_bytes)
        return hf__fail(HF_EFULL, "%zu nodes of %u bytes", count, pool.at->node_bytes);
    code = hf_savepoint(txn, &mark);
    for (size_t i = 0; code == 0 && i < count; i++) {
        out[i] = allocate(txn, &pool);
        if (out[i] == NULL)
            return take_back(txn, mark, hf_last_error()->code);
    }
    return code;
}

int hf_pool_free_many(hf_txn *txn, const hf_pool *p, void *const *nodes, size_t count)
{
    struct pool pool;
    hf_mark mark;
    int code = pool_to_change(txn, p, &pool);
    if (code != 0 || count == 0)
        return code;
    if (nodes == NULL)
        return hf__fail(HF_EINVAL, "hf_pool_free_many");
    code = hf_savepoint(txn, &mark);
    if (code != 0)
        return code;
    for (size_t i = 0; code == 0 && i < count; i++)
        if (nodes[i] != NULL)
            code = free_one(txn, &pool, nodes[i]);
    return code == 0 ? 0 : take_back(txn, mark, code);
}

int hf_pool_trim(hf_txn *txn, const hf_pool *p)
{
    struct pool pool;
    const struct hf__pool_chunk *chunk;
    int code = pool_to_change(txn, p, &pool);
    while (code == 0 && pool.at->room_last != 0) {
        const uint64_t offset = pool.at->room_last;
        chunk = chunk_at(&pool, offset);
        if (chunk == NULL)
            return hf__corrupt("pool.links", offset);
        if (chunk->used != 0)
            return 0;
        code = look_around(&pool, offset, chunk);
        if (code == 0)
            code = hf__reserve(pool.seg, POOL_COST + 4 * HF__OP_COST);
        if (code != 0)
            return code;
        unlist(&pool, offset, false);
        edit_pool(&pool)->chunks--;
        edit_pool(&pool)->empties--;
        release_chunk(txn, &pool, offset);
    }
    return code;
}

int hf_pool_destroy(hf_txn *txn, const hf_pool *p)
{
    struct pool pool;
    int code = pool_to_change(txn, p, &pool);
    if (code != 0)
        return code;
    const uint64_t lists[2] = {pool.at->room_first, pool.at->full_first};
    uint64_t left = pool.at->chunks;
    for (int i = 0; i < 2; i++)
        for (uint64_t offset = lists[i], next; offset != 0; offset = next) {
            const struct hf__pool_chunk *chunk = chunk_at(&pool, offset);
            if (chunk == NULL || left-- == 0)
                return hf__corrupt("pool.links", offset);
            next = chunk->next;
            code = hf__reserve(pool.seg, POOL_COST + 4 * HF__OP_COST);
            if (code != 0)
                return code;
            release_chunk(txn, &pool, offset);
        }
    code = hf__reserve(pool.seg, POOL_COST);
    if (code != 0)
        return code;
    edit_pool(&pool)->check =
        0; /* its bytes stay until the end of the transaction, but as no pool's */
    return hf_destroy_ptr(txn, pool.seg->base + pool.offset);
}

/* ---- looking --------------------------------------------------------------------------------- */

/* The first live node of a chunk from number `node` on, or UINT64_MAX. */
static uint64_t live_node(const struct pool *pool, const struct hf__pool_chunk *chunk,
                          uint64_t node)
{
    while (node < pool->at->nodes) {
        const uint64_t word = bits_of(chunk)[node / 64] >> node % 64;
        if (word != 0) {
            node += (uint64_t)__builtin_ctzll(word);
            return node < pool->at->nodes ? node : UINT64_MAX;
        }
        node = (node / 64 + 1) * 64;
    }
    return UINT64_MAX;
}

int hf_pool_next(hf_view *view, const hf_pool *p, hf_ref *place, const void **out)
{
    struct pool pool;
    int code = hf__view_usable(view);
    if (code == 0 && (place == NULL || out == NULL))
        code = hf__fail(HF_EINVAL, "hf_pool_next");
    if (code == 0)
        code = pool_in(view, p, &pool);
    if (code != 0)
        return code;
    uint64_t offset = *place & ~(uint64_t)(pool.at->chunk_bytes - 1), node = 0;
    if (*place == 0)
        offset = pool.at->room_first != 0 ? pool.at->room_first : pool.at->full_first;
    else /* the node before */
        node = (*place - offset - pool.nodes_from) / pool.at->node_bytes + 1;
    for (uint64_t left = pool.at->chunks; offset != 0; left--) {
        const struct hf__pool_chunk *chunk = chunk_at(&pool, offset);
        if (chunk == NULL || left == 0)
            return hf__corrupt("pool.links", offset);
        node = live_node(&pool, chunk, node);
        if (node != UINT64_MAX) {
            *place = offset + pool.nodes_from + node * pool.at->node_bytes;
            *out = hf__at(pool.seg, *place);
            return 1;
        }
        offset = chunk->next != 0 || is_full(&pool, chunk) ? chunk->next : pool.at->full_first;
        node = 0;
    }
    return 0;
}

int hf_pool_info_of(hf_view *view, const hf_pool *p, hf_pool_info *out)
{
    struct pool pool;
    int code = hf__view_usable(view);
    if (code == 0 && out == NULL)
        code = hf__fail(HF_EINVAL, "hf_pool_info_of");
    if (code == 0)
        code = pool_in(view, p, &pool);
    if (code != 0)
        return code;
    *out = (hf_pool_info){pool.at->node_bytes, pool.at->chunk_bytes, pool.at->nodes,
                          pool.at->empty_max,  pool.at->live,        pool.at->chunks,
                          pool.at->empties};
    return 0;
}

/* ---- checking -------------------------------------------------------------------------------- */

struct tally {
    uint64_t live, chunks, empties;
};

static void check_list(const struct pool *pool, struct hf__check *check, bool full,
                       struct tally *tally)
{
    uint64_t previous = 0;
    bool empties = false;
    for (uint64_t offset = full ? pool->at->full_first : pool->at->room_first; offset != 0;) {
        const struct hf__pool_chunk *chunk = chunk_at(pool, offset);
        if (chunk == NULL || tally->chunks++ == pool->at->chunks || chunk->previous != previous ||
            is_full(pool, chunk) != full || (empties && chunk->used != 0)) {
            hf__finding(check, "pool.links", offset, "a chunk of the pool, linked to %llu",
                        (unsigned long long)previous);
            return;
        }
        uint64_t bits = 0;
        for (uint64_t i = 0; i < words_of(pool->at->nodes); i++)
            bits += (uint64_t)__builtin_popcountll(bits_of(chunk)[i]);
        const uint64_t rest = pool->at->nodes % 64;
        const uint64_t last = bits_of(chunk)[words_of(pool->at->nodes) - 1];
        if (bits != chunk->used || (rest != 0 && last >> rest != 0))
            hf__finding(check, "pool.bitmap", offset, "%u nodes are live, found %llu bits",
                        chunk->used, (unsigned long long)bits);
        empties = chunk->used == 0;
        tally->live += chunk->used;
        tally->empties += empties;
        previous = offset;
        offset = chunk->next;
    }
    if (!full && pool->at->room_last != previous)
        hf__finding(check, "pool.links", pool->offset,
                    "the last chunk with room at %llu, found %llu", (unsigned long long)previous,
                    (unsigned long long)pool->at->room_last);
}

void hf__pool_check(struct hf__segment *seg, uint64_t offset, struct hf__check *check)
{
    struct pool pool;
    struct tally tally = {0, 0, 0};
    if (!pool_at(seg, offset, &pool)) {
        hf__finding(check, "pool.header", offset, "a pool with a right check");
        return;
    }
    check_list(&pool, check, false, &tally);
    check_list(&pool, check, true, &tally);
    if (tally.live != pool.at->live || tally.chunks != pool.at->chunks ||
        tally.empties != pool.at->empties)
        hf__finding(check, "pool.counts", offset, "%llu nodes in %llu chunks, found %llu in %llu",
                    (unsigned long long)tally.live, (unsigned long long)tally.chunks,
                    (unsigned long long)pool.at->live, (unsigned long long)pool.at->chunks);
}

/* ---- for salvage ----------------------------------------------------------------------------- */

bool hf__pool_shape_of(struct hf__segment *seg, uint64_t offset, struct hf__pool_shape *out)
{
    struct pool pool;
    if (!pool_at(seg, offset, &pool))
        return false;
    *out = (struct hf__pool_shape){pool.at->node_bytes, pool.at->nodes, pool.nodes_from,
                                   pool.at->empty_max,  pool.at->live,  pool.at->chunks};
    return true;
}

bool hf__pool_of_chunk(struct hf__segment *seg, uint64_t offset, uint64_t size_bytes,
                       uint64_t *out_pool)
{
    const struct hf__pool_chunk *chunk = (const struct hf__pool_chunk *)hf__at(seg, offset);
    struct pool pool;
    if (size_bytes < sizeof *chunk || !pool_at(seg, chunk->pool, &pool) ||
        size_bytes < pool.at->chunk_bytes - HF__BLOCK_HEADER_BYTES ||
        chunk_at(&pool, offset) == NULL)
        return false;
    *out_pool = chunk->pool;
    return true;
}

bool hf__pool_node_lives(const struct hf__segment *seg, uint64_t chunk, uint64_t node)
{
    const struct hf__pool_chunk *at = (const struct hf__pool_chunk *)hf__at(seg, chunk);
    return (bits_of(at)[node / 64] >> node % 64 & 1) != 0;
}

uint64_t hf__pool_chunk_live(struct hf__segment *seg, uint64_t chunk)
{
    const struct hf__pool_chunk *at = (const struct hf__pool_chunk *)hf__at(seg, chunk);
    struct pool pool;
    uint64_t live = 0;
    if (!pool_at(seg, at->pool, &pool))
        return 0;
    for (uint64_t i = 0; i < pool.at->nodes; i++)
        live += hf__pool_node_lives(seg, chunk, i);
    return live == at->used ? live : 0;
}
