/* SPDX-License-Identifier: MIT */
/*
 * fake_segment.h - a segment with a strict edit door, for the index tests
 *
 * Memory of a fixed size with a small allocator whose books lie outside of it. The door keeps the
 * old bytes of everything announced, so that a batch can be undone; it fails the test when
 * announcements cost more than was reserved. Blocks come filled with garbage, and given-back ones
 * are reused only after the batch. allocate and reserve can be made to fail.
 */
#ifndef HF_TESTS_INDEX_FAKE_SEGMENT_H
#define HF_TESTS_INDEX_FAKE_SEGMENT_H

#include "index/index.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

struct fake {
    struct hf__segment seg;
    struct hf__index index;
    unsigned char *shadow;      /* the segment when the batch began                             */
    unsigned char *block_class; /* per 16 bytes: class of the block that starts there, 0 none   */
    unsigned char *live;        /* per 16 bytes: belongs to a live block                        */
    unsigned char *live_before; /* ... when the batch began                                     */
    uint64_t bump;              /* everything from here on was never handed out                 */
    struct fake_stack *free_blocks; /* one stack a class                                          */
    struct fake_stack *taken, *given; /* in this batch                                            */
    unsigned char *undo; /* records: offset, size, old bytes                             */
    size_t undo_bytes, undo_room;
    bool undoing;                 /* keep old bytes (a batch is open)                             */
    uint64_t reserved;            /* what may still be announced                                  */
    uint64_t edits, edited_bytes; /* announced since the test zeroed them                         */
    uint64_t watched, watched_edits; /* announcements that include this offset                    */
    uint64_t allocations, releases;
    uint64_t allocate_fails_in, reserve_fails_in; /* the k-th call from now fails; 0 never        */
    uint64_t blocks_live;
};

/* A segment of size_bytes with an empty index of that kind. */
void fake_open(struct fake *fake, const struct hf__index_ops *ops, uint64_t size_bytes);
void fake_close(struct fake *fake);

/* A batch: everything after begin is forgotten by undo, which also compares every byte of what was
 * live at begin, or stays with keep. */
void fake_batch_begin(struct fake *fake);
void fake_batch_keep(struct fake *fake);
void fake_batch_undo(struct fake *fake);

/* A block for an entry of that name, filled in but not inserted; and giving it back. */
hf_ref fake_entry(struct fake *fake, const void *name, size_t name_bytes);
void fake_entry_free(struct fake *fake, hf_ref node);
bool fake_is_block(const struct fake *fake, hf_ref block);

/* fake_entry and insert; returns the entry and fails the test on an error. */
hf_ref fake_insert(struct fake *fake, const char *name);
int fake_find(const struct fake *fake, const char *name, hf_ref *out);
int fake_erase(struct fake *fake, const char *name);
/* Findings of a check in which every live block is a true entry; prints them if there are some and
 * expect_none. *visited may be NULL. */
uint64_t fake_findings(struct fake *fake, bool expect_none, uint64_t *visited);
/* Blocks that the index says it owns. */
uint64_t fake_owned(const struct fake *fake);

/* A small random generator with a printed seed. */
struct fake_random {
    uint64_t state;
};
uint64_t fake_random_next(struct fake_random *random);
uint64_t fake_random_below(struct fake_random *random, uint64_t end);
uint64_t fake_seed(const char *suite);
uint64_t fake_scale(void);

#endif
