/* SPDX-License-Identifier: MIT */
/*
 * avl_format.h - a node of the balanced tree, as it is in the file
 *
 * Part of a free block or of an index entry: written by the owner of the transaction, under the
 * writer's lock, and undone or made durable with what it is part of.
 */
#ifndef HF_BASE_AVL_FORMAT_H
#define HF_BASE_AVL_FORMAT_H

#include <stddef.h>
#include <stdint.h>

struct hf__avl_node {
    uint64_t left;   /* 0  offset of the left child, 0 = none                                    */
    uint64_t right;  /* 8  and of the right one                                                  */
    uint64_t parent; /* 16 offset of the parent (0 = root), the balance in its low two bits      */
};
_Static_assert(sizeof(struct hf__avl_node) == 24, "avl node");
_Static_assert(offsetof(struct hf__avl_node, left) == 0, "left");
_Static_assert(offsetof(struct hf__avl_node, right) == 8, "right");
_Static_assert(offsetof(struct hf__avl_node, parent) == 16, "parent");

#endif
