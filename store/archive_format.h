/* SPDX-License-Identifier: MIT */
/*
 * archive_format.h - the bytes of an archive
 *
 * An archive is a sequence of zstd frames (RFC 8878), so `zstd -d` reads it, too:
 *
 *   skippable frame HF__ARCHIVE_FRAME    struct hf__archive_header
 *   zstd frames                          each a struct hf__archive_block, its entries, their pages
 *   skippable frame HF__ARCHIVE_FRAME    struct hf__archive_trailer
 *   skippable frame HF__SEEK_FRAME       zstd's seek table of all frames before
 *
 * Written once, front to back, by hf_archive_write; nothing in it is ever changed. What makes it
 * durable is up to who opened the file it is written to. docs/archive.md tells the story.
 */
#ifndef HF_STORE_ARCHIVE_FORMAT_H
#define HF_STORE_ARCHIVE_FORMAT_H

#include "store_format.h"

#define HF__ARCHIVE_MAGIC UINT64_C(0x5643524154534648)       /* "HFSTARCV" */
#define HF__ARCHIVE_BLOCK_MAGIC UINT64_C(0x4b4c425241464c48) /* "HLFARBLK" */
#define HF__ARCHIVE_TRAILER_MAGIC UINT64_C(0x444e455241464c48) /* "HLFAREND" */
#define HF__ARCHIVE_VERSION 0u
#define HF__ARCHIVE_FRAME UINT32_C(0x184d2a58)
#define HF__SEEK_FRAME UINT32_C(0x184d2a5e)
#define HF__SEEK_MAGIC UINT32_C(0x8f92eab1)
#define HF__ARCHIVE_BLOCK_PAGES 256u

/* What precedes the content of a skippable frame. */
struct hf__skippable {
    uint32_t magic;          /* 0                                                                */
    uint32_t size_bytes;     /* 4   of the content                                               */
};
_Static_assert(sizeof(struct hf__skippable) == 8, "skippable");
_Static_assert(offsetof(struct hf__skippable, magic) == 0, "magic");
_Static_assert(offsetof(struct hf__skippable, size_bytes) == 4, "size_bytes");

enum hf__archive_flags {
    HF__ARCHIVE_INCREMENT = 1,   /* from_commit counts                                           */
    HF__ARCHIVE_FROM_DIGEST = 2  /* from_digest counts                                           */
};

struct hf__archive_header {
    uint64_t magic;          /* 0                                                                */
    uint32_t byte_order;     /* 8   as in the file's header                                      */
    uint32_t version;        /* 12                                                               */
    uint32_t flags;          /* 16  enum hf__archive_flags                                       */
    uint32_t page_bytes;     /* 20                                                               */
    uint64_t from_commit;    /* 24  of the state it builds on; 0 in a full one                   */
    uint64_t from_digest[2]; /* 32  of that state, if the writer knew it                         */
    uint64_t commit;         /* 48  of the state it leads to                                     */
    uint64_t used_end;       /* 56  of that state                                                */
    uint64_t size_bytes;     /* 64  of its segment                                               */
    uint64_t created_ns;     /* 72  CLOCK_REALTIME, for people                                   */
    struct hf__constants constants; /* 80  the store's                                           */
    uint64_t reserved[4];    /* 216 zero                                                         */
    uint64_t check;          /* 248 XXH3-64 of the 248 bytes before                              */
};
_Static_assert(sizeof(struct hf__archive_header) == 256, "archive header");
_Static_assert(offsetof(struct hf__archive_header, magic) == 0, "magic");
_Static_assert(offsetof(struct hf__archive_header, byte_order) == 8, "byte_order");
_Static_assert(offsetof(struct hf__archive_header, version) == 12, "version");
_Static_assert(offsetof(struct hf__archive_header, flags) == 16, "flags");
_Static_assert(offsetof(struct hf__archive_header, page_bytes) == 20, "page_bytes");
_Static_assert(offsetof(struct hf__archive_header, from_commit) == 24, "from_commit");
_Static_assert(offsetof(struct hf__archive_header, from_digest) == 32, "from_digest");
_Static_assert(offsetof(struct hf__archive_header, commit) == 48, "commit");
_Static_assert(offsetof(struct hf__archive_header, used_end) == 56, "used_end");
_Static_assert(offsetof(struct hf__archive_header, size_bytes) == 64, "size_bytes");
_Static_assert(offsetof(struct hf__archive_header, created_ns) == 72, "created_ns");
_Static_assert(offsetof(struct hf__archive_header, constants) == 80, "constants");
_Static_assert(offsetof(struct hf__archive_header, reserved) == 216, "reserved");
_Static_assert(offsetof(struct hf__archive_header, check) == 248, "check");

/* A page of a block: entries stand behind the block's header, the pages' bytes behind them all,
 * each whole, with zeros from the used end on. */
struct hf__archive_entry {
    uint64_t page;           /* 0   its number, higher than that of the entry before             */
    uint64_t checksum;       /* 8   as in the page table                                         */
    uint64_t commit;         /* 16  likewise                                                     */
};
_Static_assert(sizeof(struct hf__archive_entry) == 24, "archive entry");
_Static_assert(offsetof(struct hf__archive_entry, page) == 0, "page");
_Static_assert(offsetof(struct hf__archive_entry, checksum) == 8, "checksum");
_Static_assert(offsetof(struct hf__archive_entry, commit) == 16, "commit");

struct hf__archive_block {
    uint64_t magic;          /* 0                                                                */
    uint64_t number;         /* 8   counts blocks from 0                                         */
    uint64_t page_count;     /* 16  1 to HF__ARCHIVE_BLOCK_PAGES                                 */
    uint64_t check;          /* 24  XXH3-64 of the entries, seeded with salt and number          */
};
_Static_assert(sizeof(struct hf__archive_block) == 32, "archive block");
_Static_assert(offsetof(struct hf__archive_block, magic) == 0, "magic");
_Static_assert(offsetof(struct hf__archive_block, number) == 8, "number");
_Static_assert(offsetof(struct hf__archive_block, page_count) == 16, "page_count");
_Static_assert(offsetof(struct hf__archive_block, check) == 24, "check");

struct hf__archive_trailer {
    uint64_t magic;          /* 0                                                                */
    uint64_t blocks;         /* 8                                                                */
    uint64_t pages;          /* 16  in all blocks                                                */
    uint64_t digest[2];      /* 24  XXH3-128 over number and checksum of each page of the state  */
    uint64_t stream[2];      /* 40  XXH3-128 of all bytes before the trailer's frame             */
    uint64_t check;          /* 56  XXH3-64 of the 56 bytes before                               */
};
_Static_assert(sizeof(struct hf__archive_trailer) == 64, "archive trailer");
_Static_assert(offsetof(struct hf__archive_trailer, magic) == 0, "magic");
_Static_assert(offsetof(struct hf__archive_trailer, blocks) == 8, "blocks");
_Static_assert(offsetof(struct hf__archive_trailer, pages) == 16, "pages");
_Static_assert(offsetof(struct hf__archive_trailer, digest) == 24, "digest");
_Static_assert(offsetof(struct hf__archive_trailer, stream) == 40, "stream");
_Static_assert(offsetof(struct hf__archive_trailer, check) == 56, "check");

/* zstd's seekable format: its table is entries, then this. No checksums: frames have their own. */
struct hf__seek_entry {
    uint32_t packed_bytes;   /* 0   of the frame                                                 */
    uint32_t plain_bytes;    /* 4   of what it holds; 0 for a skippable one                      */
};
_Static_assert(sizeof(struct hf__seek_entry) == 8, "seek entry");
_Static_assert(offsetof(struct hf__seek_entry, packed_bytes) == 0, "packed_bytes");
_Static_assert(offsetof(struct hf__seek_entry, plain_bytes) == 4, "plain_bytes");
#define HF__SEEK_FOOTER_BYTES 9u /* u32 number of entries, u8 zero, u32 HF__SEEK_MAGIC            */

#define HF__ARCHIVE_BLOCK_BYTES                                                                    \
    (sizeof(struct hf__archive_block) +                                                            \
     HF__ARCHIVE_BLOCK_PAGES * (sizeof(struct hf__archive_entry) + HF__PAGE_BYTES))

#endif
