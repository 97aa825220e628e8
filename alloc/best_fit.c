/* SPDX-License-Identifier: MIT */
/*
 * best_fit.c - free blocks in a balanced tree, ordered by (size, offset)
 *
 * The smallest free block that is large enough, and of those the lowest in the segment, is found
 * and kept in O(log n). The tree's node is the first 24 bytes of the free payload, right behind the
 * header with the size, so that a step of the search mostly touches one cache line.
 *
 * Invariants (with A1..A3 of avl.h):
 *   1  every node lies behind the true header of a free block;
 *   2  in order, (size, offset) rises strictly.
 *
 * A search believes a node only after 1 has been verified; a path longer than a balanced tree can
 * have is damage.
 */
#include "alloc/blocks.h"

#include "base/avl.h"

#include <stdlib.h>

#define ALIGNED_TRIES 16 /* candidates looked at before a block is taken that is surely enough */

static uint64_t root_field(const struct hf__heap *heap)
{
    return heap->root + offsetof(struct hf__heap_root, free_set);
}

static uint64_t node_of(const struct hf__block *block)
{
    return block->offset + HF__BLOCK_HEADER_BYTES;
}

/* The free block of a node. 0, HF_ECORRUPT. */
static int block_of(const struct hf__heap *heap, uint64_t node, struct hf__block *out)
{
    int code = hf__heap_block(heap, node - HF__BLOCK_HEADER_BYTES, out);
    if (code == 0 && out->kind != HF__BLOCK_FREE)
        code = hf__corrupt("free.bounds", node);
    return code;
}

static bool sorts_before(const struct hf__block *a, const struct hf__block *b)
{
    return a->size_bytes != b->size_bytes ? a->size_bytes < b->size_bytes : a->offset < b->offset;
}

/* The first block in order of at least size_bytes; size_bytes 0 if there is none. */
static int first_at_least(const struct hf__heap *heap, uint64_t size_bytes, struct hf__block *out)
{
    struct hf__block block, best = {0};
    uint64_t node = hf__heap_root_of(heap)->free_set;
    for (unsigned height = 0; node != 0; height++) {
        int code = height < HF__AVL_HEIGHT_MAX ? block_of(heap, node, &block)
                                               : hf__corrupt("free.bounds", node);
        if (code != 0)
            return code;
        const struct hf__avl_node *n = hf__avl_at(heap->seg, node);
        if (block.size_bytes < size_bytes) {
            node = n->right;
        } else {
            best = block;
            node = n->left;
        }
    }
    *out = best;
    return 0;
}

static int find(const struct hf__heap *heap, const struct hf__fit *fit, bool thorough,
                struct hf__block *out)
{
    int code = first_at_least(heap, fit->size_bytes, out);
    if (code != 0 || fit->align <= HF__BLOCK_UNIT || out->size_bytes == 0)
        return code;
    for (unsigned tries = 1; thorough || tries <= ALIGNED_TRIES; tries++) {
        if (hf__fit_holds(fit, out))
            return 0;
        uint64_t node = hf__avl_next(heap->seg, node_of(out));
        if (node == 0)
            break;
        struct hf__block block;
        code = block_of(heap, node, &block);
        if (code == 0 && !sorts_before(out, &block)) /* rising, so that a cycle ends */
            code = hf__corrupt("free.order", node);
        if (code != 0)
            return code;
        *out = block;
    }
    /* In front at most one alignment and two units are lost: less than align + 32. */
    return first_at_least(heap, fit->size_bytes + fit->align + 2 * HF__BLOCK_UNIT, out);
}

static int insert(struct hf__heap *heap, const struct hf__block *block)
{
    struct hf__block other;
    uint64_t parent = 0, node = hf__heap_root_of(heap)->free_set;
    bool right = false;
    for (unsigned height = 0; node != 0; height++) {
        int code = height < HF__AVL_HEIGHT_MAX ? block_of(heap, node, &other)
                                               : hf__corrupt("free.bounds", node);
        if (code == 0 && other.offset == block->offset)
            code = hf__corrupt("free.order", node);
        if (code != 0)
            return code;
        const struct hf__avl_node *n = hf__avl_at(heap->seg, node);
        parent = node;
        right = sorts_before(&other, block);
        node = right ? n->right : n->left;
    }
    hf__avl_insert(heap->seg, root_field(heap), node_of(block), parent, right);
    return 0;
}

static int remove_block(struct hf__heap *heap, const struct hf__block *block)
{
    if (!hf__avl_answered(heap->seg, root_field(heap), node_of(block)))
        return hf__corrupt("free.parent", node_of(block));
    /* Not written here, but from now on by whoever gets the payload: an undo wants it back. */
    hf__edit(heap->seg, node_of(block), sizeof(struct hf__avl_node));
    hf__avl_erase(heap->seg, root_field(heap), node_of(block));
    return 0;
}

/* Largest first: a plan for many blocks uses few stretches. */
static int next(const struct hf__heap *heap, uint64_t *cursor, struct hf__block *out)
{
    uint64_t node = *cursor == 0 ? hf__avl_last(heap->seg, hf__heap_root_of(heap)->free_set)
                                 : hf__avl_previous(heap->seg, *cursor);
    if (node == 0)
        return 0;
    struct hf__block block;
    int code = block_of(heap, node, &block);
    /* Strictly falling, so that no cycle is followed twice. */
    if (code == 0 && *cursor != 0 && !sorts_before(&block, out))
        code = hf__corrupt("free.order", node);
    if (code != 0)
        return code;
    *out = block;
    *cursor = node;
    return 1;
}

static uint64_t largest_bytes(const struct hf__heap *heap)
{
    struct hf__block block;
    uint64_t node = hf__avl_last(heap->seg, hf__heap_root_of(heap)->free_set);
    return node != 0 && block_of(heap, node, &block) == 0 ? block.size_bytes : 0;
}

/* ---- building -------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const struct hf__block *x = (const struct hf__block *)a, *y = (const struct hf__block *)b;
    return sorts_before(x, y) ? -1 : sorts_before(y, x);
}

/* Makes a balanced tree of count sorted blocks: the middle one on top. Returns its node; *height is
 * the tree's. Each node is written once. */
static uint64_t build_subtree(struct hf__segment *seg, const struct hf__block *blocks,
                              uint64_t count, uint64_t parent, unsigned *height)
{
    *height = 0;
    if (count == 0)
        return 0;
    uint64_t middle = count / 2; /* the left half has the same number of blocks, or one more */
    uint64_t node = node_of(&blocks[middle]);
    unsigned left_height, right_height;
    uint64_t left = build_subtree(seg, blocks, middle, node, &left_height);
    uint64_t right =
        build_subtree(seg, blocks + middle + 1, count - middle - 1, node, &right_height);
    assert(left_height == right_height || left_height == right_height + 1);
    struct hf__avl_node *n = (struct hf__avl_node *)hf__edit(seg, node, sizeof *n);
    n->left = left;
    n->right = right;
    n->parent = parent | (left_height > right_height ? 2 : 0);
    *height = left_height + 1;
    return node;
}

static void build(struct hf__heap *heap, struct hf__block *blocks, uint64_t count)
{
    unsigned height;
    if (count != 0)
        qsort(blocks, count, sizeof *blocks, compare);
    uint64_t root = build_subtree(heap->seg, blocks, count, 0, &height);
    *(uint64_t *)hf__edit(heap->seg, root_field(heap), sizeof(uint64_t)) = root;
}

/* ---- checking -------------------------------------------------------------------------------- */

static bool holds(const struct hf__heap *heap, const struct hf__block *block, uint64_t *cursor)
{
    struct hf__block other;
    uint64_t node = hf__heap_root_of(heap)->free_set;
    (void)cursor;
    for (unsigned height = 0; node != 0 && height < HF__AVL_HEIGHT_MAX; height++) {
        if (node == node_of(block))
            return true;
        if (block_of(heap, node, &other) != 0)
            return false;
        const struct hf__avl_node *n = hf__avl_at(heap->seg, node);
        node = sorts_before(&other, block) ? n->right : n->left;
    }
    return false;
}

struct tree_check {
    const struct hf__heap *heap;
    struct hf__check *check;
};

static bool valid(void *user, uint64_t node)
{
    const struct tree_check *tree = (const struct tree_check *)user;
    struct hf__block block;
    if (block_of(tree->heap, node, &block) == 0)
        return true;
    hf__finding(tree->check, "free.bounds", node, "the node does not lie in a free block");
    return false;
}

static bool ordered(void *user, uint64_t previous, uint64_t node)
{
    const struct tree_check *tree = (const struct tree_check *)user;
    struct hf__block a, b;
    return block_of(tree->heap, previous, &a) == 0 && block_of(tree->heap, node, &b) == 0 &&
           sorts_before(&a, &b);
}

static uint64_t check_tree(const struct hf__heap *heap, struct hf__check *check)
{
    static const char *const rules[4] = {"free.balance", "free.parent", "free.order",
                                         "free.bounds"};
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    uint64_t nodes_max = (root->used_end - root->first) / HF__BLOCK_BYTES_MIN;
    struct tree_check tree = {heap, check};
    return hf__avl_check(heap->seg, root->free_set, nodes_max, rules, check, valid, ordered, &tree);
}

const struct hf__free_set hf__free_tree = {
    .node_bytes = sizeof(struct hf__avl_node),
    .find = find,
    .insert = insert,
    .remove = remove_block,
    .next = next,
    .largest_bytes = largest_bytes,
    .build = build,
    .holds = holds,
    .check = check_tree,
};

const struct hf__allocator hf__alloc_best_fit = {
    .kind = HF_ALLOC_BEST_FIT,
    .name = "best_fit",
    .free_set = &hf__free_tree,
    .init = hf__heap_init,
    .allocate = hf__heap_allocate,
    .allocate_many = hf__heap_allocate_many,
    .expand = hf__heap_expand,
    .split = hf__heap_split,
    .free = hf__heap_free,
    .largest_free = hf__heap_largest_free,
    .zero_free = hf__heap_zero_free,
    .rebuild = hf__heap_rebuild,
    .check = hf__heap_check,
};
