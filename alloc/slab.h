/* SPDX-License-Identifier: MIT */
/*
 * slab.h - chunks of small slots: what the files of the slab algorithm share
 *
 *   slab.c         allocate and free slots, resizing, pending, the walk
 *   slab_chunk.c   directory and lists, make and drop chunks, take and free slots of one word
 *   slab_cache.c   what a transaction keeps in process memory, so that most calls write nothing
 *   slab_many.c    many slots in one call
 *   slab_find.c    classes of slots; from an offset to its chunk
 *   slab_check.c   whether chunks and directory are sound; mending and listing them anew
 *
 * The head of slab.c has the idea and the invariants.
 */
#ifndef HF_ALLOC_SLAB_H
#define HF_ALLOC_SLAB_H

#include "blocks.h"

#define HF__SLABS_FROM_BYTES (UINT64_C(128) * 1024) /* of the segment: below, all is best fit's */

struct hf__slot_class {
    uint32_t inverse; /* x * inverse >> 32 is x / bytes for all x below 65536                     */
    uint16_t bytes;   /* of a slot                                                                */
    uint8_t words[HF__CHUNK_ORDERS];
};
extern const struct hf__slot_class hf__slot_classes[HF__SLOT_CLASSES];

static inline uint32_t hf__slot_class_of(uint64_t size_bytes)
{
    assert(size_bytes >= 1 && size_bytes <= HF__SLOT_BYTES_MAX);
    uint32_t below = (uint32_t)size_bytes - 1;
    return below < 256 ? below / 8 : below < 512 ? 16 + below / 16 : 32 + below / 32;
}
/* Of the directory's entry. */
static inline uint32_t hf__slot_number(uint32_t slot_kind, uint32_t slot_class)
{
    return (slot_kind == HF__BLOCK_OBJECT ? HF__SLOT_CLASSES : 0) + slot_class;
}

/* A true chunk, taken apart. */
struct hf__chunk_ref {
    uint64_t offset; /* of the block's header                                                     */
    uint64_t record; /* of chunk                                                                  */
    const struct hf__chunk *chunk;
    const struct hf__slot_class *slot_class;
    uint32_t order, words;
};

/* Where the record of a chunk of that order at offset would be. */
static inline uint64_t hf__chunk_record(uint64_t offset, uint32_t order)
{
    uint64_t spread =
        order != 2 ? 0 : (uint64_t)((uint32_t)(offset >> 16) * 0x9e3779b9u) * 896 >> 32;
    return offset + HF__LINE_BYTES * (1 + spread);
}
static inline uint64_t hf__chunk_record_bytes(const struct hf__chunk_ref *ref)
{
    return sizeof(struct hf__chunk) + ref->words * sizeof(struct hf__chunk_word);
}
static inline const struct hf__chunk_word *hf__chunk_words(const struct hf__chunk_ref *ref)
{
    return (const struct hf__chunk_word *)(ref->chunk + 1);
}
static inline uint64_t hf__chunk_slot(const struct hf__chunk_ref *ref, uint32_t slot)
{
    return slot < ref->chunk->lower
               ? ref->offset + HF__BLOCK_HEADER_BYTES + (uint64_t)slot * ref->slot_class->bytes
               : ref->record + hf__chunk_record_bytes(ref) +
                     (uint64_t)(slot - ref->chunk->lower) * ref->slot_class->bytes;
}
/* Bits of a word that stand for no slot. */
static inline uint64_t hf__chunk_beyond(const struct hf__chunk_ref *ref, uint32_t word)
{
    const uint32_t slots = ref->chunk->slots, before = word * 64;
    return slots >= before + 64 ? 0 : slots <= before ? ~UINT64_C(0) : ~UINT64_C(0) << slots % 64;
}
/* How many bits are set. Mostly it is one, and without an instruction for it counting is a call. */
static inline uint32_t hf__slot_count(uint64_t slots)
{
    if ((slots & (slots - 1)) == 0)
        return slots != 0;
    slots -= slots >> 1 & UINT64_C(0x5555555555555555);
    slots = (slots & UINT64_C(0x3333333333333333)) + (slots >> 2 & UINT64_C(0x3333333333333333));
    slots = (slots + (slots >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (uint32_t)(slots * UINT64_C(0x0101010101010101) >> 56);
}
/* What a word adds to its chunk's sum: any single change of a word shows. */
static inline uint32_t hf__chunk_mix(uint64_t taken, uint32_t word)
{
    uint64_t x = taken ^ (word + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 32;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    return (uint32_t)(x >> 32);
}
/* Looked at with every slot that is freed, so a few multiplications rather than xxhash. */
static inline uint32_t hf__chunk_check(const struct hf__segment *seg, uint64_t offset,
                                       uint32_t order, const struct hf__chunk *chunk)
{
    uint64_t x = (offset ^ seg->salt) * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 32;
    x += (uint64_t)order << 48 | (uint64_t)chunk->lower << 32 | (uint64_t)chunk->slots << 16 |
         (uint64_t)chunk->slot_kind << 8 | chunk->slot_class;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 32;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    return (uint32_t)(x >> 32);
}

/* Where chunks end at the latest, whatever the root says. */
static inline uint64_t hf__slab_end(const struct hf__heap *heap)
{
    const uint64_t end = hf__root(heap)->used_end;
    return end < heap->seg->size_bytes ? end : heap->seg->size_bytes;
}

/* ---- slab_find.c ----------------------------------------------------------------------------- */

/* The true chunk at this offset, of any order. */
bool hf__chunk_at(const struct hf__heap *heap, uint64_t offset, struct hf__chunk_ref *out);
/* The true chunk that a block is, if it is one, ending by `end`. */
bool hf__chunk_of_block(const struct hf__heap *heap, const struct hf__block *block, uint64_t end,
                        struct hf__chunk_ref *out);
/* The true chunk that this offset, which may be anything, lies in. */
bool hf__chunk_of(const struct hf__heap *heap, uint64_t ref, struct hf__chunk_ref *out);
/* Where a block that is no chunk covers the true record of one: the records are counted, or are none
 * any more (announced, a line each). Returns how many there are. */
uint64_t hf__slab_destroy(struct hf__heap *heap, uint64_t offset, uint64_t end, bool write);

/* The tail [offset, end) comes into use: no record of a former chunk is true there, for anybody. */
void hf__slab_take_tail(struct hf__heap *heap, uint64_t offset, uint64_t end);

/* ---- slab_chunk.c ---------------------------------------------------------------------------- */

/* A chunk with a free slot, listed in that entry: from the list, the spare, or new. Reserves for
 * hf__chunk_take. 0, HF_ENOSPC, HF_EFULL, HF_ECORRUPT. */
int hf__chunk_room(struct hf__heap *heap, uint64_t entry, uint32_t slot_kind, uint32_t slot_class,
                   struct hf__chunk_ref *out);
/* Slots of one word that lie on one side of the record, and so at even distances. */
struct hf__slot_row {
    uint64_t slots;
    uint32_t word;
};
#define HF__SLOT_ROWS 4u
/* Takes its lowest free slots, at least one and at most count of them. Returns how many rows they
 * are, or HF_ECORRUPT. */
int hf__chunk_take(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint64_t entry,
                   uint32_t count, struct hf__slot_row out[HF__SLOT_ROWS]);
/* Slots of a word become pending, or are so no longer. Reserved; counts were looked at. */
void hf__chunk_mark(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint32_t word,
                    uint64_t slots, bool pending);
/* Freeing slots of one chunk or of many. What it comes to for the heap is told at the end, and what it
 * announces is reserved for several chunks at once. */
struct hf__freeing {
    uint64_t slabs;    /* the directory                                                           */
    uint64_t reserved; /* of what was reserved, this much is left                                 */
    int64_t bytes, slots;
    uint64_t ahead; /* bytes to reserve at least                                                  */
    struct hf__chunk_ref first; /* of its list, if the chunk will be listed                       */
};
/* 0, HF_ECORRUPT. */
int hf__freeing_begin(const struct hf__heap *heap, uint64_t ahead, struct hf__freeing *out);
/* Counts what was freed; also where the freeing stopped with an error. */
void hf__freeing_end(struct hf__heap *heap, struct hf__freeing *freeing);
/* Freeing count slots of a chunk: before, what it will change is looked at and reserved; then the
 * slots are cleared, word by word; after, lists follow. 0, HF_ECORRUPT, HF_ENOSPC. */
int hf__chunk_before_freeing(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint32_t count,
                             struct hf__freeing *freeing);
void hf__chunk_clear(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint32_t word,
                     uint64_t slots);
int hf__chunk_after_freeing(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint32_t count,
                            struct hf__freeing *freeing);

/* ---- slab.c ---------------------------------------------------------------------------------- */

/* A chunk is listed only when it has as much room as this, so that under random frees lists are not
 * changed all the time. */
static inline uint32_t hf__chunk_relist(const struct hf__chunk_ref *ref)
{
    return 1 + ref->chunk->slots / 64u;
}

static inline uint64_t hf__slabs_field(const struct hf__heap *heap)
{
    return heap->root - HF__SLABS_FIELD_BYTES;
}
/* The directory's payload, 0 = there is none (or none that can be believed). */
uint64_t hf__slabs_of(const struct hf__heap *heap);
static inline uint64_t hf__slabs_entry_offset(uint64_t slabs, uint32_t slot_kind,
                                              uint32_t slot_class)
{
    return slabs + hf__slot_number(slot_kind, slot_class) * sizeof(struct hf__slabs_entry);
}
/* Makes an empty directory. Takes a block: 0, HF_ENOSPC, HF_EFULL, HF_ECORRUPT. */
int hf__slabs_make(struct hf__heap *heap, uint64_t *out);

/* For blocks.c: the same questions, asked of slots. identify: 1 and *out, 0 where it is in a chunk but no
 * live slot, -1 in no chunk. */
int hf__slab_identify(const struct hf__heap *heap, hf_ref slot, struct hf__block_info *out);
int hf__slab_mark_pending(struct hf__heap *heap, const struct hf__chunk_ref *ref, hf_ref slot,
                          bool pending, hf_ref *entry);
int hf__slab_free_entry(struct hf__heap *heap, hf_ref slot);
/* At *offset begins or goes on a chunk: 1 and the next live slot, *offset behind it; or 0 and *offset
 * behind the chunk. -1 where no chunk is. */
int hf__slab_next(const struct hf__heap *heap, uint64_t *offset, struct hf__block_info *out);

int hf__slab_allocate(struct hf__heap *heap, const struct hf__alloc_request *request, hf_ref *out,
                      uint64_t *usable);
int hf__slab_allocate_many(struct hf__heap *heap, const uint64_t *sizes, uint64_t size_each,
                           uint64_t count, uint32_t kind, hf_ref *out);
int hf__slab_free(struct hf__heap *heap, hf_ref block);
int hf__slab_expand(struct hf__heap *heap, hf_ref block, unsigned flags, uint64_t limit_bytes,
                    uint64_t preferred_bytes, hf_ref *out, uint64_t *received);
int hf__slab_split(struct hf__heap *heap, hf_ref block, uint64_t keep_bytes, hf_ref *rest);
int hf__slab_trim(struct hf__heap *heap);

/* ---- slab_check.c ---------------------------------------------------------------------------- */

/* What the walk has seen of chunks. */
struct hf__slab_totals {
    uint64_t chunks, listed;
    uint64_t bytes[2 * HF__SLOT_CLASSES];
    uint64_t directories, directory; /* how many, payload of the first                            */
};

/* What a chunk (or the directory) adds to the heap's counters. */
struct hf__slab_share {
    uint64_t free_bytes, live_blocks;
};
void hf__slab_share(const struct hf__heap *heap, const struct hf__block *block,
                    struct hf__slab_share *out);
/* NULL if the bitmaps are possible and agree with counts and sum, else what is wrong. */
const char *hf__chunk_wrong(const struct hf__chunk_ref *ref);
/* Rules chunk.* of one chunk, or a directory block, that the walk meets. */
void hf__slab_check_block(const struct hf__heap *heap, struct hf__check *check,
                          const struct hf__block *block, struct hf__slab_totals *totals);
/* Rules slabs.*: the directory and its lists, after the walk. */
void hf__slab_check_lists(const struct hf__heap *heap, struct hf__check *check,
                          const struct hf__slab_totals *totals);

/* Repair. What mending one chunk and listing it announces. */
#define HF__CHUNK_MEND_COST                                                                        \
    (HF__EDIT_COST(sizeof(struct hf__chunk) + 128 * sizeof(struct hf__chunk_word)) +               \
     4 * HF__EDIT_COST(sizeof(struct hf__chunk)))
/* Makes the bitmaps of a chunk sound: where the truth is gone, every slot counts as live. */
void hf__chunk_mend(struct hf__heap *heap, const struct hf__chunk_ref *ref);
/* Lists all chunks of a sound walk anew in the directory, if there is one. */
void hf__slab_relist(struct hf__heap *heap);
typedef void hf__zero_fn(struct hf__segment *seg, uint64_t offset, uint64_t end,
                         hf__zeroed_fn *zeroed, void *user);
void hf__slab_zero_free(struct hf__heap *heap, const struct hf__chunk_ref *ref, uint64_t block_end,
                        hf__zero_fn *zero, hf__zeroed_fn *zeroed, void *user);

#endif
