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
    uint64_t link;       /* 0  hash: next in chain, 0 = last or in none; others: 0               */
    uint32_t name_hash;  /* 8  hash: low half of XXH3-64 of the name, salted; others 0           */
    uint16_t name_bytes; /* 12 length of the name, which begins at 16 and has a NUL behind it    */
    uint16_t reserved;   /* 14 zero                                                              */
};
_Static_assert(sizeof(struct hf__index_node) == 16, "index node");
_Static_assert(offsetof(struct hf__index_node, link) == 0, "link");
_Static_assert(offsetof(struct hf__index_node, name_hash) == 8, "name_hash");
_Static_assert(offsetof(struct hf__index_node, name_bytes) == 12, "name_bytes");
_Static_assert(offsetof(struct hf__index_node, reserved) == 14, "reserved");

/* Part of the segment header; one for named, one for unique objects. */
struct hf__index_root {
    uint64_t count;       /* 0  entries                                                          */
    uint64_t root;        /* 8  set: topmost page; hash: directory; flat: array; 0 none          */
    uint64_t capacity;    /* 16 flat: slots in the array; hash: buckets there is room for        */
    uint64_t buckets;     /* 24 hash: buckets in use; flat: entries of the first run; else 0     */
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

/* The set: root.root is the topmost page of a tree. The slots of a page of level 0 lead to entries,
 * those of another level to pages of the level below, each to names that sort after those of the
 * slot before. All names below a page begin with its prefix. A key is the next eight bytes of a
 * name, the first the highest, zeros behind the name's end: in a page of level 0 those of the
 * entry; else of a name that sorts after none below this slot, and before none below the slot
 * before, so far as eight bytes tell (0 in the first slot). */
#define HF__SET_PAGE_CAPACITY 60u
#define HF__SET_PREFIX_MAX 32u

struct hf__set_slot {
    uint64_t key;         /* 0                                                                   */
    uint64_t ref;         /* 8                                                                   */
};
_Static_assert(sizeof(struct hf__set_slot) == 16, "set slot");
_Static_assert(offsetof(struct hf__set_slot, key) == 0, "key");
_Static_assert(offsetof(struct hf__set_slot, ref) == 8, "ref");

struct hf__set_page {
    struct hf__index_array array; /* 0                                                           */
    uint64_t next;                /* 16 level 0: page of the names that follow, 0 = last; else 0 */
    uint16_t count;               /* 24 slots in use; what is in the others means nothing        */
    uint16_t level;               /* 26                                                          */
    uint16_t prefix_bytes;        /* 28                                                          */
    uint16_t reserved;            /* 30 zero                                                     */
    uint8_t prefix[HF__SET_PREFIX_MAX]; /* 32 zeros behind its end                               */
    struct hf__set_slot slot[HF__SET_PAGE_CAPACITY]; /* 64                                       */
};
_Static_assert(sizeof(struct hf__set_page) == 1024, "set page");
_Static_assert(offsetof(struct hf__set_page, array) == 0, "array");
_Static_assert(offsetof(struct hf__set_page, next) == 16, "next");
_Static_assert(offsetof(struct hf__set_page, count) == 24, "count");
_Static_assert(offsetof(struct hf__set_page, level) == 26, "level");
_Static_assert(offsetof(struct hf__set_page, prefix_bytes) == 28, "prefix_bytes");
_Static_assert(offsetof(struct hf__set_page, reserved) == 30, "reserved");
_Static_assert(offsetof(struct hf__set_page, prefix) == 32, "prefix");
_Static_assert(offsetof(struct hf__set_page, slot) == 64, "slot");

#define HF__SET_PAGE_SLOTS ((sizeof(struct hf__set_page) - sizeof(struct hf__index_array)) / 8)

/* The flat index: root.root is an array of root.capacity slots, the first root.count of them the
 * entries, in two runs in the order of their names each: root.buckets of them and the rest; the
 * next one, if there is one, is 0; others mean nothing. */

/* The hash index: root.root is the directory, an array of HF__HASH_ARRAYS_MAX slots: arrays of 4,
 * 4, 8, 16, ... buckets up to root.capacity in all, then 0. Bucket b < 4 is bucket b of array 0,
 * any other bucket b - (4 << (i - 1)) of the array i for which 4 << (i - 1) <= b < 4 << i. From
 * root.buckets on a bucket means nothing. The bucket of an entry is its hash (XXH3-64 of the name,
 * salted) modulo p, the least power of two >= root.buckets, and p / 2 less if that bucket is not in
 * use yet. Buckets begin at the first multiple of 64 behind the header of their array. */
struct hf__hash_bucket {
    uint64_t word[7]; /* 0  a node's offset and 20 bits of its hash, those from bit level / 8 * 8
                            on (modulo 2^level is what all hashes in the bucket agree in): 4 in bits
                            0..3, 16 in bits 48..63. 0 behind the last                           */
    uint64_t chain;   /* 56 offset of a further entry, from which link leads on; 0 = no more     */
};
_Static_assert(sizeof(struct hf__hash_bucket) == 64, "hash bucket");
_Static_assert(offsetof(struct hf__hash_bucket, word) == 0, "word");
_Static_assert(offsetof(struct hf__hash_bucket, chain) == 56, "chain");

#define HF__HASH_BUCKET_WORDS 7u
#define HF__HASH_REF_BITS UINT64_C(0x0000FFFFFFFFFFF0)
#define HF__HASH_BUCKET_LOAD UINT64_C(3)         /* entries a bucket before one is added          */
#define HF__HASH_PADDING_SLOTS UINT64_C(6)       /* so that buckets fit behind, aligned to 64     */
#define HF__HASH_FIRST_BUCKET(array) \
    (((array) + sizeof(struct hf__index_array) + 63) & ~UINT64_C(63))
#define HF__HASH_BUCKETS_MIN UINT64_C(4)
#define HF__HASH_ARRAYS_MAX 31u
#define HF__HASH_BUCKETS_MAX (HF__HASH_BUCKETS_MIN << (HF__HASH_ARRAYS_MAX - 1))
_Static_assert(HF__HASH_BUCKETS_MAX == UINT64_C(1) << 32, "hash buckets");

#endif
