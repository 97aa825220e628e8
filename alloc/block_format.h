/* SPDX-License-Identifier: MIT */
/*
 * block_format.h - blocks and the heap's root, as they are in the file
 *
 * Written by the owner of the transaction, under the writer's lock; undone or made durable with it.
 * docs/format.md tells the story; the static asserts below make every offset a promise.
 */
#ifndef HF_ALLOC_BLOCK_FORMAT_H
#define HF_ALLOC_BLOCK_FORMAT_H

#include <stddef.h>
#include <stdint.h>

/* The 16 bytes in front of every block's payload.
 *   size_word  bits 0..43 size of the block in 16-byte units, header included
 *              bits 44..47 kind (enum hf__block_kind), bit 48 pending, bits 49..51 zero
 *              bits 52..63 low 12 bits of the checksum
 *   prev_word  bits 0..43 size of the block before, in 16-byte units, 0 for the first
 *              bits 44..63 high 20 bits of the checksum
 * The 32-bit checksum is XXH3-64, salted by the segment's salt, over the header's own offset and
 * the two words without their checksum bits, folded by xor of its halves: a header copied
 * elsewhere, or to another store, is not one. */
struct hf__block_header {
    uint64_t size_word; /* 0 */
    uint64_t prev_word; /* 8 */
};
_Static_assert(sizeof(struct hf__block_header) == 16, "block header");
_Static_assert(offsetof(struct hf__block_header, size_word) == 0, "size_word");
_Static_assert(offsetof(struct hf__block_header, prev_word) == 8, "prev_word");

enum hf__block_kind {
    HF__BLOCK_FREE = 0,   /* payload belongs to the free set                                     */
    HF__BLOCK_RAW = 1,    /* hf_alloc                                                            */
    HF__BLOCK_OBJECT = 2, /* begins with what object_format.h says                               */
    HF__BLOCK_SYSTEM = 3, /* index arrays, type records                                          */
    HF__BLOCK_LOST = 4    /* set aside by repair                                                 */
};

#define HF__BLOCK_UNIT 16u
#define HF__BLOCK_HEADER_BYTES 16u
#define HF__BLOCK_BYTES_MIN 48u /* header + a free block's tree node, rounded                    */

/* Part of the segment header. */
struct hf__heap_root {
    uint64_t first;       /* 0  offset of the first block's header                               */
    uint64_t used_end;    /* 8  end of the last block                                            */
    uint64_t last_bytes;  /* 16 size of the last block, 0 if there is none                       */
    uint64_t free_set;    /* 24 best_fit: tree root; seq_fit: list head (header offset + 16)     */
    uint64_t free_bytes;  /* 32 in free blocks, headers included                                 */
    uint64_t free_blocks; /* 40 */
    uint64_t live_bytes;  /* 48 in live blocks (pending ones too), headers included              */
    uint64_t live_blocks; /* 56 */
};
_Static_assert(sizeof(struct hf__heap_root) == 64, "heap root");
_Static_assert(offsetof(struct hf__heap_root, first) == 0, "first");
_Static_assert(offsetof(struct hf__heap_root, used_end) == 8, "used_end");
_Static_assert(offsetof(struct hf__heap_root, last_bytes) == 16, "last_bytes");
_Static_assert(offsetof(struct hf__heap_root, free_set) == 24, "free_set");
_Static_assert(offsetof(struct hf__heap_root, free_bytes) == 32, "free_bytes");
_Static_assert(offsetof(struct hf__heap_root, free_blocks) == 40, "free_blocks");
_Static_assert(offsetof(struct hf__heap_root, live_bytes) == 48, "live_bytes");
_Static_assert(offsetof(struct hf__heap_root, live_blocks) == 56, "live_blocks");

#endif
