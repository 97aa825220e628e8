/* SPDX-License-Identifier: MIT */
/*
 * store_format.h - the file's header slots, the segment's header, and the undo sidecar
 *
 *   file offset  0       header slot A (512 bytes)
 *                4096    header slot B
 *                65536   the segment: hf_ref 0
 *
 * Header slots are written with pwrite, one after the other in turn, synced, by who has the file to
 * himself or holds the writer's lock. The segment header is part of the segment: written inside
 * transactions through the edit door. docs/format.md tells the story.
 */
#ifndef HF_STORE_STORE_FORMAT_H
#define HF_STORE_STORE_FORMAT_H

#include "alloc/block_format.h"
#include "index/index_format.h"

#define HF__FORMAT_VERSION 0u
#define HF__FILE_MAGIC UINT64_C(0x54534146444c4f48)    /* "HOLDFAST" */
#define HF__SEGMENT_MAGIC UINT64_C(0x544e454d47455348) /* "HSEGMENT" */
#define HF__UNDO_MAGIC UINT64_C(0x304f444e55464c48)    /* "HLFUNDO0" */
#define HF__BYTE_ORDER UINT32_C(0x01020304)
#define HF__PAGE_BYTES 4096u
#define HF__SLOT_BYTES 512u
#define HF__SLOT_B_OFFSET 4096u
#define HF__SEGMENT_OFFSET 65536u
#define HF__TABLE_OFFSET 8192u /* the page table of span 0 */
#define HF__SEGMENT_HEADER_BYTES 1024u
#define HF__SEGMENT_BYTES_MIN 4096u
#define HF__LAYOUT_BYTES 64u

/* Spans of the segment (layout.h). Tests of the power-cut kind build with smaller ones. */
#ifndef HF__SPAN_BITS
#define HF__SPAN_BITS 23u
#endif
#define HF__SPANS ((47u - HF__SPAN_BITS + 2) / 3 + 1)

/* Feature masks this library knows: none yet. Unknown incompat bits: refused; unknown ro_compat
 * bits: read-only; unknown compat bits: ignored. */
#define HF__FEATURES_COMPAT UINT64_C(0)
#define HF__FEATURES_INCOMPAT UINT64_C(0)
#define HF__FEATURES_RO_COMPAT UINT64_C(0)

/* What is decided at creation and never changes; in the segment header and in both header slots. */
struct hf__constants {
    uint8_t uuid[16];        /* 0   random; a copy made by save_as has its own                   */
    uint64_t created_ns;     /* 16  since 1970                                                   */
    uint64_t salt;           /* 24  keys the checksums of blocks, objects and names              */
    uint64_t size_max_bytes; /* 32  of the segment                                               */
    uint32_t engine;         /* 40  HF_ENGINE_...                                                */
    uint32_t allocator;      /* 44  HF_ALLOC_...                                                 */
    uint32_t index;          /* 48  HF_INDEX_...                                                 */
    uint32_t layout_version; /* 52                                                               */
    char layout[64];         /* 56  NUL-terminated                                               */
    uint64_t reserved;       /* 120 zero                                                         */
    uint64_t check;          /* 128 XXH3-64 of the 128 bytes before                              */
};
_Static_assert(sizeof(struct hf__constants) == 136, "constants");
_Static_assert(offsetof(struct hf__constants, uuid) == 0, "uuid");
_Static_assert(offsetof(struct hf__constants, created_ns) == 16, "created_ns");
_Static_assert(offsetof(struct hf__constants, salt) == 24, "salt");
_Static_assert(offsetof(struct hf__constants, size_max_bytes) == 32, "size_max_bytes");
_Static_assert(offsetof(struct hf__constants, engine) == 40, "engine");
_Static_assert(offsetof(struct hf__constants, allocator) == 44, "allocator");
_Static_assert(offsetof(struct hf__constants, index) == 48, "index");
_Static_assert(offsetof(struct hf__constants, layout_version) == 52, "layout_version");
_Static_assert(offsetof(struct hf__constants, layout) == 56, "layout");
_Static_assert(offsetof(struct hf__constants, reserved) == 120, "reserved");
_Static_assert(offsetof(struct hf__constants, check) == 128, "check");

enum hf__file_state {
    HF__STATE_CLEAN = 0, /* closed, synced, nothing stands beside it                             */
    HF__STATE_IN_USE = 1, /* being written since boot_id: whole only while that boot lasts       */
    HF__STATE_LOGGED = 2, /* whole together with its log of this generation                      */
    HF__STATE_UNSYNCED = 3 /* the same, but only while the boot of boot_id lasts                 */
};

/* Of what the page table is true: docs/pages.md. */
enum hf__table_state {
    HF__TABLE_STALE = 0, /* of nothing: the direct engine writes, or wrote                       */
    HF__TABLE_TRUE = 1   /* of the state in the file; if there is a log, of its base             */
};

struct hf__file_header {
    uint64_t magic;                 /* 0   these three never move in any version                 */
    uint32_t byte_order;            /* 8                                                         */
    uint32_t version;               /* 12                                                        */
    uint64_t features_compat;       /* 16                                                        */
    uint64_t features_incompat;     /* 24                                                        */
    uint64_t features_ro_compat;    /* 32                                                        */
    uint32_t page_bytes;            /* 40                                                        */
    uint32_t slot_bytes;            /* 44                                                        */
    uint64_t sequence;              /* 48  the higher of two valid slots counts                  */
    uint64_t segment_offset;        /* 56                                                        */
    uint64_t size_bytes;            /* 64  of the segment when this slot was written             */
    uint64_t used_end;              /* 72  likewise                                              */
    uint32_t state;                 /* 80  enum hf__file_state                                   */
    uint32_t table_state;           /* 84  enum hf__table_state                                  */
    uint64_t generation;            /* 88  counts the changes from clean to in use               */
    uint8_t boot_id[16];            /* 96  of the kernel, where state is in use                  */
    struct hf__constants constants; /* 112                                                       */
    uint8_t reserved[256];          /* 248 zero                                                  */
    uint64_t check;                 /* 504 XXH3-64 of the 504 bytes before, in every version     */
};
_Static_assert(sizeof(struct hf__file_header) == HF__SLOT_BYTES, "file header");
_Static_assert(offsetof(struct hf__file_header, magic) == 0, "magic");
_Static_assert(offsetof(struct hf__file_header, byte_order) == 8, "byte_order");
_Static_assert(offsetof(struct hf__file_header, version) == 12, "version");
_Static_assert(offsetof(struct hf__file_header, features_compat) == 16, "features_compat");
_Static_assert(offsetof(struct hf__file_header, features_incompat) == 24, "features_incompat");
_Static_assert(offsetof(struct hf__file_header, features_ro_compat) == 32, "features_ro_compat");
_Static_assert(offsetof(struct hf__file_header, page_bytes) == 40, "page_bytes");
_Static_assert(offsetof(struct hf__file_header, slot_bytes) == 44, "slot_bytes");
_Static_assert(offsetof(struct hf__file_header, sequence) == 48, "sequence");
_Static_assert(offsetof(struct hf__file_header, segment_offset) == 56, "segment_offset");
_Static_assert(offsetof(struct hf__file_header, size_bytes) == 64, "size_bytes");
_Static_assert(offsetof(struct hf__file_header, used_end) == 72, "used_end");
_Static_assert(offsetof(struct hf__file_header, state) == 80, "state");
_Static_assert(offsetof(struct hf__file_header, table_state) == 84, "table_state");
_Static_assert(offsetof(struct hf__file_header, generation) == 88, "generation");
_Static_assert(offsetof(struct hf__file_header, boot_id) == 96, "boot_id");
_Static_assert(offsetof(struct hf__file_header, constants) == 112, "constants");
_Static_assert(offsetof(struct hf__file_header, reserved) == 248, "reserved");
_Static_assert(offsetof(struct hf__file_header, check) == 504, "check");

/* The page table: sectors of entries, one for each page of the segment. Written by who holds the
 * writer's and the applier's place, or has the file alone; docs/pages.md says when it is true, and
 * why. */
#define HF__SECTOR_BYTES 512u
#define HF__SECTOR_ENTRIES 31u
struct hf__page_entry {
    uint64_t checksum;              /* 0   of the page's bytes below the used end; 0 = none      */
    uint64_t commit;                /* 8   that changed the page last                            */
};
_Static_assert(sizeof(struct hf__page_entry) == 16, "page entry");
_Static_assert(offsetof(struct hf__page_entry, checksum) == 0, "checksum");
_Static_assert(offsetof(struct hf__page_entry, commit) == 8, "commit");
struct hf__page_sector {
    struct hf__page_entry entries[HF__SECTOR_ENTRIES]; /* 0                                      */
    uint64_t reserved;              /* 496 zero                                                  */
    uint64_t check;                 /* 504 XXH3-64 of the 504 bytes before, keyed by its place   */
};
_Static_assert(sizeof(struct hf__page_sector) == HF__SECTOR_BYTES, "page sector");
_Static_assert(offsetof(struct hf__page_sector, entries) == 0, "entries");
_Static_assert(offsetof(struct hf__page_sector, reserved) == 496, "reserved");
_Static_assert(offsetof(struct hf__page_sector, check) == 504, "check");
_Static_assert(HF__TABLE_OFFSET +
                       ((1u << HF__SPAN_BITS) / HF__PAGE_BYTES / HF__SECTOR_ENTRIES + 1) *
                           HF__SECTOR_BYTES <=
                   HF__SEGMENT_OFFSET,
               "table of span 0");

struct hf__segment_header {
    uint64_t magic;                 /* 0                                                         */
    uint64_t size_bytes;            /* 8   how far the segment is backed                         */
    uint64_t commit;                /* 16  counts committed transactions                         */
    uint64_t anonymous_count;       /* 24  objects without a name                                */
    uint64_t raw_count;             /* 32  blocks of hf_alloc                                    */
    uint64_t type_table;            /* 40  ref of an array of type record refs, 0 = none         */
    uint32_t type_count;            /* 48                                                        */
    uint32_t type_capacity;         /* 52  slots in the array                                    */
    uint64_t slabs;                 /* 56  slab: its directory, 0 = none; others: 0              */
    struct hf__heap_root heap;      /* 64                                                        */
    struct hf__index_root named;    /* 128                                                       */
    struct hf__index_root unique;   /* 192                                                       */
    struct hf__constants constants; /* 256                                                       */
    uint64_t size_kept_bytes;       /* 392 size that was asked for: a cut of the tail stops there  */
    uint8_t reserved[624];          /* 400                                                       */
};
_Static_assert(sizeof(struct hf__segment_header) == HF__SEGMENT_HEADER_BYTES, "segment header");
_Static_assert(offsetof(struct hf__segment_header, magic) == 0, "magic");
_Static_assert(offsetof(struct hf__segment_header, size_bytes) == 8, "size_bytes");
_Static_assert(offsetof(struct hf__segment_header, commit) == 16, "commit");
_Static_assert(offsetof(struct hf__segment_header, anonymous_count) == 24, "anonymous_count");
_Static_assert(offsetof(struct hf__segment_header, raw_count) == 32, "raw_count");
_Static_assert(offsetof(struct hf__segment_header, type_table) == 40, "type_table");
_Static_assert(offsetof(struct hf__segment_header, type_count) == 48, "type_count");
_Static_assert(offsetof(struct hf__segment_header, type_capacity) == 52, "type_capacity");
_Static_assert(offsetof(struct hf__segment_header, slabs) == 56, "slabs");
_Static_assert(offsetof(struct hf__segment_header, heap) == 64, "heap");
_Static_assert(offsetof(struct hf__segment_header, named) == 128, "named");
_Static_assert(offsetof(struct hf__segment_header, unique) == 192, "unique");
_Static_assert(offsetof(struct hf__segment_header, constants) == 256, "constants");
_Static_assert(offsetof(struct hf__segment_header, size_kept_bytes) == 392, "size_kept_bytes");
_Static_assert(offsetof(struct hf__segment_header, reserved) == 400, "reserved");

/*
 * The undo sidecar: this header, then records from HF__UNDO_FIRST to `end`. A record is the old
 * content of a run of 64-byte lines, then this trailer; they are undone from the last to the first.
 * Shared memory between processes, written by the owner of the writer's lock; `end` is published
 * with a release store after the record and before the first change to what it holds. Not synced:
 * it answers for the death of processes only.
 */
struct hf__undo_header {
    uint64_t magic;      /* 0                                                                    */
    uint8_t uuid[16];    /* 8  of the store                                                      */
    uint64_t generation; /* 24 of the file header: an undo list of an earlier use is not ours    */
    uint64_t end;        /* 32 HF__UNDO_FIRST = nothing to undo                                  */
    int64_t pid;         /* 40 of the owner, for hf_recovery_info                                */
    uint64_t capacity;   /* 48 bytes of the file that have disk blocks under them                */
    uint64_t sync_failed;/* 56 not 0: the data was not synced once, and never will be for sure   */
};
_Static_assert(sizeof(struct hf__undo_header) == 64, "undo header");
_Static_assert(offsetof(struct hf__undo_header, magic) == 0, "magic");
_Static_assert(offsetof(struct hf__undo_header, uuid) == 8, "uuid");
_Static_assert(offsetof(struct hf__undo_header, generation) == 24, "generation");
_Static_assert(offsetof(struct hf__undo_header, end) == 32, "end");
_Static_assert(offsetof(struct hf__undo_header, pid) == 40, "pid");
_Static_assert(offsetof(struct hf__undo_header, capacity) == 48, "capacity");
_Static_assert(offsetof(struct hf__undo_header, sync_failed) == 56, "sync_failed");
#define HF__UNDO_FIRST 64u

struct hf__undo_trailer {
    uint64_t offset;     /* 0  where in the segment the run lies, a multiple of 64               */
    uint64_t size_bytes; /* 8  of the run, a multiple of 64                                      */
};
_Static_assert(sizeof(struct hf__undo_trailer) == 16, "undo trailer");
_Static_assert(offsetof(struct hf__undo_trailer, offset) == 0, "offset");
_Static_assert(offsetof(struct hf__undo_trailer, size_bytes) == 8, "size_bytes");

#endif
