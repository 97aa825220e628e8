/* SPDX-License-Identifier: MIT */
/*
 * avl.h - an intrusive balanced tree inside a segment
 *
 * The tree of the best-fit free blocks. A node is 24 bytes at a 16-aligned
 * offset; its user descends by himself (his comparison inlined) and calls the functions below to
 * link and unlink. Links are offsets from the start of the segment, 0 is none. parent carries the
 * balance in its low two bits: 0 even, 1 right side higher by one, 2 left side higher by one.
 *
 * Invariants (checked by hf__avl_check with the caller's order):
 *   A1  the balance of each node is height(right) - height(left), in {-1, 0, 1}
 *   A2  each child's parent is its parent; the root's is 0
 *   A3  in order, the caller's order holds strictly
 *
 * Undo: the caller has reserved HF__OP_COST; each function announces what it changes.
 */
#ifndef HF_BASE_AVL_H
#define HF_BASE_AVL_H

#include "avl_format.h"
#include "segment.h"
#include "check.h"

#define HF__AVL_BALANCE_MASK UINT64_C(3)
#define HF__AVL_HEIGHT_MAX 96 /* more than any tree in 2^63 bytes has: longer paths are damage */

static inline const struct hf__avl_node *hf__avl_at(const struct hf__segment *seg, uint64_t node)
{
    return (const struct hf__avl_node *)hf__at(seg, node);
}
static inline uint64_t hf__avl_parent(const struct hf__avl_node *node)
{
    return node->parent & ~HF__AVL_BALANCE_MASK;
}

/* Links node as the given child of parent (parent 0: as the root) and rebalances.
 * root_field is the offset of the uint64_t that holds the root. */
void hf__avl_insert(struct hf__segment *seg, uint64_t root_field, uint64_t node, uint64_t parent,
                    bool as_right);
void hf__avl_erase(struct hf__segment *seg, uint64_t root_field, uint64_t node);
/* Both stop without a word where a link is not answered by the one that should point back, and
 * never write through such a link. A caller who wants an error instead asks before: whether node
 * hangs in the tree and its children know it. Any node is allowed. */
bool hf__avl_answered(const struct hf__segment *seg, uint64_t root_field, uint64_t node);
/* In-order neighbours and ends; 0 at the end. Bounded on damaged links: then they return 0. */
uint64_t hf__avl_first(const struct hf__segment *seg, uint64_t root);
uint64_t hf__avl_last(const struct hf__segment *seg, uint64_t root);
uint64_t hf__avl_next(const struct hf__segment *seg, uint64_t node);
uint64_t hf__avl_previous(const struct hf__segment *seg, uint64_t node);

/*
 * hf__avl_check - walks the tree from root, reporting to check under rule names "<name>.balance",
 * "<name>.parent", "<name>.order", "<name>.bounds". Bounded by nodes_max nodes and the height limit
 * whatever the bytes are. valid(user, node) tells whether a node may be read at all (it reports
 * itself); ordered(user, previous, node) whether previous sorts strictly before node.
 * Returns the number of nodes visited.
 */
uint64_t hf__avl_check(const struct hf__segment *seg, uint64_t root, uint64_t nodes_max,
                       const char *const rules[4], struct hf__check *check,
                       bool (*valid)(void *user, uint64_t node),
                       bool (*ordered)(void *user, uint64_t previous, uint64_t node), void *user);

#endif
