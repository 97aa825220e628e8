/* SPDX-License-Identifier: MIT */
/*
 * layout.h - where in the file a byte of the segment lies, and the page table's entry of its page
 *
 * The segment is one piece of address space and several pieces of the file: before each span of it
 * stands the part of the page table that tells of that span.
 *
 *   file   0        8192              65536
 *          headers  table of span 0   span 0   table of span 1   span 1   table of span 2 ...
 *
 *   span 0 is [0, 2^23), span i >= 1 is [2^(20 + 3i), 2^(23 + 3i)) of the segment
 *
 * All of it is computed, nothing of it is stored, and nothing moves when the file grows.
 * docs/pages.md says what the table is for.
 */
#ifndef HF_STORE_LAYOUT_H
#define HF_STORE_LAYOUT_H

#include "store_format.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A piece of the segment that is one piece of the file. */
struct hf__piece {
    uint64_t offset, size_bytes; /* in the segment                                               */
    uint64_t file_offset;
};

/* Which span a byte of the segment lies in, and the first byte behind that span. */
static inline unsigned hf__span_of(uint64_t offset)
{
    if (offset >> HF__SPAN_BITS == 0)
        return 0;
    return (63u - (unsigned)__builtin_clzll(offset) - (HF__SPAN_BITS - 3)) / 3;
}
static inline uint64_t hf__span_end(unsigned span)
{
    return UINT64_C(1) << (HF__SPAN_BITS + 3 * span);
}
static inline uint64_t hf__span_start(unsigned span)
{
    return span == 0 ? 0 : hf__span_end(span - 1);
}

/* In the file: a byte of the segment. */
uint64_t hf__file_offset(uint64_t offset);
/* The length of a file that backs that much of the segment; and how much a file of that length
 * backs. */
uint64_t hf__file_bytes(uint64_t size_bytes);
uint64_t hf__backed_bytes(uint64_t file_bytes);
/* The first piece of [from, to); from < to. */
struct hf__piece hf__piece_at(uint64_t from, uint64_t to);
/* In the file: the table's sector with the entry of that page; *slot is its place there, *number the
 * sector's number in the table. */
uint64_t hf__table_sector(uint64_t page, unsigned *slot, uint64_t *number);

/* ---- reading and writing the segment in its file --------------------------------------------- */

/* As hf__write_at and hf__read_at, with an offset in the segment. */
int hf__segment_write(int fd, const void *bytes, uint64_t size_bytes, uint64_t offset);
ssize_t hf__segment_read(int fd, void *bytes, uint64_t size_bytes, uint64_t offset);
/* Disk blocks for [from, to) of the segment and for its entries in the page table; the file made long
 * enough. 0, or -1 and errno. */
int hf__segment_allocate(int fd, uint64_t from, uint64_t to);
/* For the entries alone. */
int hf__table_allocate(int fd, uint64_t from, uint64_t to);
/* Gives the blocks of [from, to) of the segment, whole pages, back to the disk: it reads as zeros then.
 * The page table's blocks and the file's length stay. 0, or -1 and errno: EOPNOTSUPP where there is no
 * such thing. */
int hf__segment_punch(int fd, uint64_t from, uint64_t to);

#endif
