/* SPDX-License-Identifier: MIT */
/*
 * heap_fixture.h - a heap in plain memory behind a strict edit door, for the tests of alloc/
 *
 * The door fails the test when announcements cost more than was reserved or lie outside of the
 * segment, keeps old bytes while a batch is open, grows the segment in steps, and refuses on
 * request. Memory above the segment's end is filled with garbage, never zero.
 */
#ifndef HF_TESTS_ALLOC_HEAP_FIXTURE_H
#define HF_TESTS_ALLOC_HEAP_FIXTURE_H

#include "alloc/allocator.h"
#include "alloc/blocks.h"
#include "alloc/slab.h"

#define FIXTURE_ROOT      64 /* offset of the heap root                                           */
#define FIXTURE_FIRST     256 /* offset of the first block                                        */
#define FIXTURE_STEP      4096 /* growth                                                          */
#define FIXTURE_RULES_MAX 64

struct fixture {
    struct hf__segment seg;
    struct hf__heap heap;
    uint64_t size_max;
    unsigned char *before; /* the memory when the batch began, NULL outside of batches           */
    uint64_t size_before;
    unsigned char *undo; /* records: offset, size, old bytes                                  */
    uint64_t undo_bytes, undo_room;
    uint64_t room;       /* what may still be announced                                       */
    int reserve_refusal; /* what reserve and grow return, 0 = they work                       */
    int grow_refusal;
    uint64_t edits, edited_bytes;
    uint64_t rule_count; /* findings of the last check                                        */
    const char *rules[FIXTURE_RULES_MAX];
};

/* Ends the test program with a message unless the condition holds. */
void fixture_must(bool condition, const char *what, const char *file, int line);
#define MUST(condition) fixture_must((condition), #condition, __FILE__, __LINE__)

void fixture_open(struct fixture *f, const struct hf__allocator *algorithm, uint64_t size_bytes,
                  uint64_t size_max);
void fixture_close(struct fixture *f);

/* Allocations that must succeed; freeing too. */
hf_ref fixture_allocate(struct fixture *f, uint64_t size_bytes);
hf_ref fixture_allocate_aligned(struct fixture *f, uint64_t size_bytes, uint64_t align,
                                uint64_t lead);
void fixture_free(struct fixture *f, hf_ref block);
int fixture_try(struct fixture *f, uint64_t size_bytes, hf_ref *out);

/* Number of findings of a check; the rules are in f->rules. */
uint64_t fixture_check(struct fixture *f);
bool fixture_found(const struct fixture *f, const char *rule);
/* H6, by hashing every offset of the managed range. */
bool fixture_headers_are_blocks(const struct fixture *f);
/* Largest free payload without growing, by walking. */
uint64_t fixture_largest(const struct fixture *f);

/* What begin saves and undo brings back; undo fails the test if a byte that matters differs. */
void fixture_begin(struct fixture *f);
void fixture_keep(struct fixture *f);
void fixture_undo(struct fixture *f);

/* Rewrites a block's header past the door, with a true checksum. */
void fixture_forge(struct fixture *f, const struct hf__block *block);

#endif
