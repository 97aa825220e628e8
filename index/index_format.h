/* SPDX-License-Identifier: MIT */
/*
 * index_format.h - index roots and entries, as they are in the file
 *
 * Written by the owner of the transaction, under the writer's lock; undone or made durable with it.
 */
#ifndef HF_INDEX_INDEX_FORMAT_H
#define HF_INDEX_INDEX_FORMAT_H

#include <stddef.h>
#include <stdint.h>

/* In front of the name of every named or unique object, at a 16-aligned offset. */
struct hf__index_node {
    uint64_t link[3];    /* 0  set: struct hf__avl_node; hash: next in bucket, then 0; flat: 0    */
    uint32_t name_hash;  /* 24 hash: low half of XXH3-64 of the name, salted; others 0           */
    uint16_t name_bytes; /* 28 length of the name, which begins at 32 and has a NUL behind it    */
    uint16_t reserved;   /* 30 zero                                                              */
};
_Static_assert(sizeof(struct hf__index_node) == 32, "index node");
_Static_assert(offsetof(struct hf__index_node, link) == 0, "link");
_Static_assert(offsetof(struct hf__index_node, name_hash) == 24, "name_hash");
_Static_assert(offsetof(struct hf__index_node, name_bytes) == 28, "name_bytes");
_Static_assert(offsetof(struct hf__index_node, reserved) == 30, "reserved");

/* Part of the segment header; one for named, one for unique objects. */
struct hf__index_root {
    uint64_t count;       /* 0  entries                                                          */
    uint64_t root;        /* 8  set: tree root; hash: directory block; flat: array block; 0 none */
    uint64_t capacity;    /* 16 flat: slots in the array; hash: buckets there is room for        */
    uint64_t buckets;     /* 24 hash: buckets in use (linear hashing), else 0                    */
    uint64_t reserved[4]; /* 32 zero                                                             */
};
_Static_assert(sizeof(struct hf__index_root) == 64, "index root");
_Static_assert(offsetof(struct hf__index_root, count) == 0, "count");
_Static_assert(offsetof(struct hf__index_root, root) == 8, "root");
_Static_assert(offsetof(struct hf__index_root, capacity) == 16, "capacity");
_Static_assert(offsetof(struct hf__index_root, buckets) == 24, "buckets");
_Static_assert(offsetof(struct hf__index_root, reserved) == 32, "reserved");

/* In front of each array that an index takes from the allocator; slots of 8 bytes follow. The two
 * words say nothing new: they tell an array from what else a damaged offset may lead to. */
struct hf__index_array {
    uint64_t self;        /* 0  its own offset                                                   */
    uint64_t slots;       /* 8  how many follow                                                  */
};
_Static_assert(sizeof(struct hf__index_array) == 16, "index array");
_Static_assert(offsetof(struct hf__index_array, self) == 0, "self");
_Static_assert(offsetof(struct hf__index_array, slots) == 8, "slots");

/* The flat index: root.root is an array of root.capacity slots, the first root.count of them the
 * entries in the order of their names; the next one, if there is one, is 0; others mean nothing.
 *
 * The hash index: root.root is the directory, an array of HF__HASH_ARRAYS_MAX slots: arrays of 16,
 * 16, 32, 64, ... buckets up to root.capacity in all, then 0. Bucket b < 16 is slot b of array 0,
 * any other slot b - (16 << (i - 1)) of the array i for which 16 << (i - 1) <= b < 16 << i. A
 * bucket is the offset of its first entry, 0 for none; from root.buckets on it means nothing. The
 * bucket of an entry is name_hash modulo p, the least power of two >= root.buckets, and p / 2 less
 * if that bucket is not in use yet. */
#define HF__HASH_BUCKETS_MIN UINT64_C(16)
#define HF__HASH_ARRAYS_MAX 29u                  /* 2^32 buckets: all that a 32-bit hash can tell */
#define HF__HASH_BUCKETS_MAX (HF__HASH_BUCKETS_MIN << (HF__HASH_ARRAYS_MAX - 1))
_Static_assert(HF__HASH_BUCKETS_MAX == UINT64_C(1) << 32, "hash buckets");

#endif
