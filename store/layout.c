/* SPDX-License-Identifier: MIT */
/*
 * layout.c - spans of the segment, and their places in the file
 *
 * Invariants
 *   L1  the places of spans and tables are functions of HF__SPAN_BITS alone, so every build of a
 *       format finds them
 *   L2  no two of header slots, tables and spans overlap; all begin at whole pages
 */
#include "layout.h"

#include "base/os.h"

#include <errno.h>
#include <fcntl.h>

/* Sectors of a span, and the bytes they take in the file. */
static uint64_t sectors_of(unsigned span)
{
    const uint64_t pages = (hf__span_end(span) - hf__span_start(span)) / HF__PAGE_BYTES;
    return (pages + HF__SECTOR_ENTRIES - 1) / HF__SECTOR_ENTRIES;
}

static uint64_t table_bytes(unsigned span)
{
    const uint64_t bytes = sectors_of(span) * HF__SECTOR_BYTES;
    return (bytes + HF__SEGMENT_OFFSET - 1) / HF__SEGMENT_OFFSET * HF__SEGMENT_OFFSET;
}

/* Where in the file a span's table lies, and its span: right behind, but for span 0. */
static uint64_t table_at(unsigned span)
{
    if (span == 0)
        return HF__TABLE_OFFSET;
    uint64_t at = HF__SEGMENT_OFFSET + hf__span_start(span);
    for (unsigned i = 1; i < span; i++)
        at += table_bytes(i);
    return at;
}

static uint64_t span_at(unsigned span)
{
    return span == 0 ? HF__SEGMENT_OFFSET : table_at(span) + table_bytes(span);
}

uint64_t hf__file_offset(uint64_t offset)
{
    const unsigned span = hf__span_of(offset);
    return span_at(span) + (offset - hf__span_start(span));
}

uint64_t hf__file_bytes(uint64_t size_bytes)
{
    return size_bytes == 0 ? HF__SEGMENT_OFFSET : hf__file_offset(size_bytes - 1) + 1;
}

uint64_t hf__backed_bytes(uint64_t file_bytes)
{
    uint64_t backed = 0;
    for (unsigned span = 0; span < HF__SPANS && file_bytes > span_at(span); span++) {
        const uint64_t have = file_bytes - span_at(span);
        const uint64_t whole = hf__span_end(span) - hf__span_start(span);
        backed = hf__span_start(span) + (have < whole ? have : whole);
    }
    return backed;
}

struct hf__piece hf__piece_at(uint64_t from, uint64_t to)
{
    const uint64_t end = hf__span_end(hf__span_of(from));
    return (struct hf__piece){from, (to < end ? to : end) - from, hf__file_offset(from)};
}

uint64_t hf__table_sector(uint64_t page, unsigned *slot, uint64_t *number)
{
    const unsigned span = hf__span_of(page * HF__PAGE_BYTES);
    const uint64_t in_span = page - hf__span_start(span) / HF__PAGE_BYTES;
    uint64_t before = 0;
    for (unsigned i = 0; i < span; i++)
        before += sectors_of(i);
    *slot = (unsigned)(in_span % HF__SECTOR_ENTRIES);
    *number = before + in_span / HF__SECTOR_ENTRIES;
    return table_at(span) + in_span / HF__SECTOR_ENTRIES * HF__SECTOR_BYTES;
}

/* ---- reading and writing --------------------------------------------------------------------- */

int hf__segment_write(int fd, const void *bytes, uint64_t size_bytes, uint64_t offset)
{
    const unsigned char *from = bytes;
    const uint64_t end = offset + size_bytes;
    while (offset < end) {
        const struct hf__piece piece = hf__piece_at(offset, end);
        if (hf__write_at(fd, from, (size_t)piece.size_bytes, piece.file_offset) != 0)
            return -1;
        from += piece.size_bytes;
        offset += piece.size_bytes;
    }
    return 0;
}

ssize_t hf__segment_read(int fd, void *bytes, uint64_t size_bytes, uint64_t offset)
{
    unsigned char *to = bytes;
    const uint64_t end = offset + size_bytes;
    uint64_t at = offset;
    while (at < end) {
        const struct hf__piece piece = hf__piece_at(at, end);
        ssize_t n = hf__read_at(fd, to, (size_t)piece.size_bytes, piece.file_offset);
        if (n < 0)
            return -1;
        to += n;
        at += (uint64_t)n;
        if ((uint64_t)n < piece.size_bytes)
            break;
    }
    return (ssize_t)(at - offset);
}

/* The table's part for pages of one piece. */
static int allocate_table(int fd, const struct hf__piece *piece, uint64_t from)
{
    const uint64_t last = (from + piece->size_bytes - 1) / HF__PAGE_BYTES;
    unsigned slot;
    uint64_t number;
    const uint64_t table = hf__table_sector(from / HF__PAGE_BYTES, &slot, &number);
    const uint64_t table_end = hf__table_sector(last, &slot, &number) + HF__SECTOR_BYTES;
    return hf__allocate_at(fd, table, table_end - table);
}

int hf__table_allocate(int fd, uint64_t from, uint64_t to)
{
    while (from < to) {
        const struct hf__piece piece = hf__piece_at(from, to);
        if (allocate_table(fd, &piece, from) != 0)
            return -1;
        from += piece.size_bytes;
    }
    return 0;
}

int hf__segment_allocate(int fd, uint64_t from, uint64_t to)
{
    while (from < to) {
        const struct hf__piece piece = hf__piece_at(from, to);
        if (allocate_table(fd, &piece, from) != 0 ||
            hf__allocate_at(fd, piece.file_offset, piece.size_bytes) != 0)
            return -1;
        from += piece.size_bytes;
    }
    return 0;
}

int hf__segment_punch(int fd, uint64_t from, uint64_t to)
{
    while (from < to) {
        const struct hf__piece piece = hf__piece_at(from, to);
        int result;
        do {
            result = hf__os->fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                       (off_t)piece.file_offset, (off_t)piece.size_bytes);
        } while (result != 0 && errno == EINTR);
        if (result != 0)
            return -1;
        from += piece.size_bytes;
    }
    return 0;
}
