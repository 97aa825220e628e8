/* SPDX-License-Identifier: MIT */
/*
 * pool_format.h - pools and their chunks, as they are in the file
 *
 * A pool is an object of the type "hf_pool", version 1; a chunk is a raw block that its list leads
 * to. Written by the owner of the transaction, under the writer's lock; undone or made durable with
 * it. docs/format.md tells the story.
 */
#ifndef HF_STORE_POOL_FORMAT_H
#define HF_STORE_POOL_FORMAT_H

#include <stddef.h>
#include <stdint.h>

/* check: XXH3-64, salted by the segment's salt, over four words: the pool's own offset; node_bytes;
 * chunk_bytes; nodes. */
struct hf__pool {
    uint64_t check;       /* 0  */
    uint32_t node_bytes;  /* 8  a multiple of 8                                                   */
    uint32_t chunk_bytes; /* 12 a power of two, 4096 to 65536; chunks begin at multiples of it     */
    uint32_t nodes;       /* 16 in a chunk                                                        */
    uint32_t reserved;    /* 20 */
    uint64_t empty_max;   /* 24 more empty chunks than this are given back at once                */
    uint64_t live;        /* 32 nodes                                                             */
    uint64_t chunks;      /* 40 */
    uint64_t empties;     /* 48 chunks without a live node                                        */
    uint64_t room_first;  /* 56 offset of the first chunk with room, 0 = none                     */
    uint64_t room_last;   /* 64 and of the last: the empty ones are at the end                    */
    uint64_t full_first;  /* 72 of the first full one                                             */
};
_Static_assert(sizeof(struct hf__pool) == 80, "pool");
_Static_assert(offsetof(struct hf__pool, check) == 0, "check");
_Static_assert(offsetof(struct hf__pool, node_bytes) == 8, "node_bytes");
_Static_assert(offsetof(struct hf__pool, chunk_bytes) == 12, "chunk_bytes");
_Static_assert(offsetof(struct hf__pool, nodes) == 16, "nodes");
_Static_assert(offsetof(struct hf__pool, reserved) == 20, "reserved");
_Static_assert(offsetof(struct hf__pool, empty_max) == 24, "empty_max");
_Static_assert(offsetof(struct hf__pool, live) == 32, "live");
_Static_assert(offsetof(struct hf__pool, chunks) == 40, "chunks");
_Static_assert(offsetof(struct hf__pool, empties) == 48, "empties");
_Static_assert(offsetof(struct hf__pool, room_first) == 56, "room_first");
_Static_assert(offsetof(struct hf__pool, room_last) == 64, "room_last");
_Static_assert(offsetof(struct hf__pool, full_first) == 72, "full_first");

/* At the start of a chunk: this; a bit for each node, 1 = live, in words of 64; from the next multiple
 * of 16 on the nodes. check: XXH3-64, salted, over two words: the chunk's own offset, and the pool's.
 * A chunk that is given back loses it. */
struct hf__pool_chunk {
    uint64_t check;    /* 0  */
    uint64_t pool;     /* 8  offset of the pool                                                   */
    uint64_t next;     /* 16 offset of the next chunk in its list, 0 = none                       */
    uint64_t previous; /* 24 */
    uint32_t used;     /* 32 live nodes                                                           */
    uint32_t reserved; /* 36 */
};
_Static_assert(sizeof(struct hf__pool_chunk) == 40, "pool chunk");
_Static_assert(offsetof(struct hf__pool_chunk, check) == 0, "check");
_Static_assert(offsetof(struct hf__pool_chunk, pool) == 8, "pool");
_Static_assert(offsetof(struct hf__pool_chunk, next) == 16, "next");
_Static_assert(offsetof(struct hf__pool_chunk, previous) == 24, "previous");
_Static_assert(offsetof(struct hf__pool_chunk, used) == 32, "used");
_Static_assert(offsetof(struct hf__pool_chunk, reserved) == 36, "reserved");

#endif
