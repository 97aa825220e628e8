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
 *              bits 44..47 kind (enum hf__block_kind), bit 48 pending, bit 49 hole (free blocks:
 *              whole pages behind the node may have no disk blocks), bits 50 and 51 zero
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
    HF__BLOCK_LOST = 4,   /* set aside by repair                                                 */
    HF__BLOCK_CHUNK = 5,  /* slab: slots of one size, struct hf__chunk                           */
    HF__BLOCK_SLABS = 6   /* slab: the directory, hf__slabs_entry[]                              */
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

/* ---- slab ------------------------------------------------------------------------------------ */

/* The word in front of the heap's root: offset of the payload of the SLABS block, 0 = none. */
#define HF__SLABS_FIELD_BYTES 8u

/* Chunks have 4, 16 or 64 KiB (up to 32 bytes more, where what was left over was too small to be a
 * block) and begin at multiples of that. */
#define HF__CHUNK_ORDERS       3u
#define HF__CHUNK_BYTES(order) (UINT64_C(4096) << 2 * (order))
#define HF__CHUNK_EXTRA_MAX    32u

/* Sizes of slots: multiples of 8 up to 256, of 16 up to 512, of 32 up to 1024. */
#define HF__SLOT_CLASSES   64u
#define HF__SLOT_BYTES_MAX 1024u

/* Somewhere in a CHUNK block: its record, the words, and before and behind them the slots.
 *   record at   offset + 64 * (1 + spread): spread is 0 in chunks of 4 and 16 KiB, and else
 *               (offset / 65536 * 0x9e3779b9 modulo 2^32) * 896 / 2^32, so that the records of
 *               many chunks don't compete for the same places in a cache
 *   words       behind the record: floor((chunk's size - 64) / (64 * slot size)) + 1 of them
 *   slots       the first `lower` of them from offset + 16 on, as many as fit below the record; the
 *               others from behind the words, as many as fit below offset + the chunk's size
 * check, modulo 2^64: x = (offset ^ salt) * 0x9e3779b97f4a7c15; x ^= x >> 32;
 * x += order << 48 | lower << 32 | slots << 16 | slot_kind << 8 | slot_class; then as below.
 * sum, modulo 2^32: of what each word i comes to: x = taken ^ (i + 1) * 0x9e3779b97f4a7c15; then as
 * below.
 * Both: x *= 0xff51afd7ed558ccd; x ^= x >> 32; x *= 0xc4ceb9fe1a85ec53; the upper half of x. */
struct hf__chunk {
    uint64_t next;        /* 0  header of the next listed chunk of this kind and class, 0 = none  */
    uint64_t previous;    /* 8  of the one before; of the first: its entry; 0 = not listed        */
    uint32_t check;       /* 16 */
    uint32_t sum;         /* 20 */
    uint16_t slots;       /* 24 */
    uint16_t lower;       /* 26 of them below the record                                          */
    uint16_t taken;       /* 28 slots taken                                                       */
    uint16_t pending;     /* 30 slots pending                                                     */
    uint16_t first_room;  /* 32 the first word that is not full; if all are, their number         */
    uint8_t slot_class;   /* 34 */
    uint8_t slot_kind;    /* 35 HF__BLOCK_RAW or HF__BLOCK_OBJECT                                 */
    uint8_t reserved[12]; /* 36 */
};
_Static_assert(sizeof(struct hf__chunk) == 48, "chunk");
_Static_assert(offsetof(struct hf__chunk, next) == 0, "next");
_Static_assert(offsetof(struct hf__chunk, previous) == 8, "previous");
_Static_assert(offsetof(struct hf__chunk, check) == 16, "check");
_Static_assert(offsetof(struct hf__chunk, sum) == 20, "sum");
_Static_assert(offsetof(struct hf__chunk, slots) == 24, "slots");
_Static_assert(offsetof(struct hf__chunk, lower) == 26, "lower");
_Static_assert(offsetof(struct hf__chunk, taken) == 28, "taken");
_Static_assert(offsetof(struct hf__chunk, pending) == 30, "pending");
_Static_assert(offsetof(struct hf__chunk, first_room) == 32, "first_room");
_Static_assert(offsetof(struct hf__chunk, slot_class) == 34, "slot_class");
_Static_assert(offsetof(struct hf__chunk, slot_kind) == 35, "slot_kind");
_Static_assert(offsetof(struct hf__chunk, reserved) == 36, "reserved");

/* What both bitmaps say of 64 slots. Bits behind the last slot are taken and not pending. */
struct hf__chunk_word {
    uint64_t taken;   /* 0 */
    uint64_t pending; /* 8  taken, to be freed when the running transaction commits             */
};
_Static_assert(sizeof(struct hf__chunk_word) == 16, "chunk word");
_Static_assert(offsetof(struct hf__chunk_word, taken) == 0, "taken");
_Static_assert(offsetof(struct hf__chunk_word, pending) == 8, "pending");

/* The payload of the SLABS block: an entry for each class, first of RAW, then of OBJECT. */
struct hf__slabs_entry {
    uint64_t first; /* 0  header of the first listed chunk, 0 = none                              */
    uint64_t spare; /* 8  header of an empty chunk kept for the next need, 0 = none; not listed   */
    uint64_t bytes; /* 16 of all chunks of this kind and class: 4096, 16384 or 65536 each         */
};
_Static_assert(sizeof(struct hf__slabs_entry) == 24, "slabs entry");
_Static_assert(offsetof(struct hf__slabs_entry, first) == 0, "first");
_Static_assert(offsetof(struct hf__slabs_entry, spare) == 8, "spare");
_Static_assert(offsetof(struct hf__slabs_entry, bytes) == 16, "bytes");

/* An array: 2 * HF__SLOT_CLASSES of them. */
#define HF__SLABS_BYTES (2 * HF__SLOT_CLASSES * sizeof(struct hf__slabs_entry))
_Static_assert(HF__SLABS_BYTES == 3072, "slabs");

#endif
