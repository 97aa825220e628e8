/* SPDX-License-Identifier: MIT */
/*
 * snapshot_copy.c - copying a store's file, or memory, into a new file
 *
 * Three methods for a file, each cheaper than the next where it is possible: sharing its blocks, copying
 * inside the kernel, reading and writing. The last two go from data to data: holes stay holes.
 *
 * Invariants
 *   K1  what isn't written of the new file reads as zeros, and so does the source there
 *   K2  the header slots are left out (or overwritten before the file has its name): the file is no store yet
 */
#include "snapshot.h"

#include "layout.h"
#include "pages.h"
#include "store.h"

#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define READ_BYTES   ((size_t)1 << 20)
#define RANGE_BYTES  ((uint64_t)16 << 20) /* at a time, for the sake of cancelling                 */
#define NOT_POSSIBLE 1                    /* with errno: another method may be                     */

static int step(struct hf__copy *copy, uint64_t bytes)
{
    if (copy->check == NULL)
        return 0;
    hf__check_step(copy->check, bytes);
    return copy->check->cancelled ? hf__fail_path(HF_ECANCELLED, 0, copy->path, "copying") : 0;
}

static int set_size(const struct hf__copy *copy, uint64_t file_bytes)
{
    int result;
    do
        result = hf__os->ftruncate(copy->fd, (off_t)file_bytes);
    while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : hf__fail_os(errno, copy->path, "ftruncate");
}

static bool all_zero(const unsigned char *p, uint64_t size_bytes)
{
    return size_bytes == 0 || (p[0] == 0 && memcmp(p, p + 1, size_bytes - 1) == 0);
}

/* ---- memory ---------------------------------------------------------------------------------- */

int hf__copy_memory(struct hf__copy *copy, const unsigned char *base, uint64_t from, uint64_t to)
{
    int code = 0;
    while (code == 0 && from < to) {
        uint64_t end = from;
        bool zero = false;
        while (end < to && end - from < READ_BYTES && !zero) {
            const uint64_t in_page = HF__PAGE_BYTES - end % HF__PAGE_BYTES;
            const uint64_t part = to - end < in_page ? to - end : in_page;
            zero = all_zero(base + end, part);
            if (zero && end == from) {
                copy->report->hole_bytes += part;
                code = step(copy, part);
                from = end + part;
            }
            end += zero ? 0 : part;
        }
        if (end > from && hf__segment_write(copy->fd, base + from, end - from, from) != 0)
            return hf__fail_os(errno, copy->path, "writing");
        if (end > from) {
            copy->report->moved_bytes += end - from;
            code = code == 0 ? step(copy, end - from) : code;
            from = end;
        }
    }
    return code;
}

int hf__copy_table(struct hf__copy *copy)
{
    unsigned char *bytes = malloc(READ_BYTES);
    int code = bytes == NULL ? hf__fail(HF_ENOMEM, "copying") : 0;
    for (uint64_t at = 0; code == 0 && at < copy->end;) {
        const struct hf__piece piece = hf__piece_at(at, copy->end);
        unsigned slot;
        uint64_t number, from = hf__table_sector(at / HF__PAGE_BYTES, &slot, &number);
        at += piece.size_bytes;
        const uint64_t to =
            hf__table_sector(at / HF__PAGE_BYTES - 1, &slot, &number) + HF__SECTOR_BYTES;
        while (code == 0 && from < to) {
            const size_t part = to - from < READ_BYTES ? (size_t)(to - from) : READ_BYTES;
            ssize_t n = hf__read_at(copy->from_fd, bytes, part, from);
            if (n < 0)
                code = hf__fail_os(errno, copy->from_path, "read");
            else if (hf__write_at(copy->fd, bytes, (size_t)n, from) != 0)
                code = hf__fail_os(errno, copy->path, "write");
            from += part;
        }
    }
    free(bytes);
    return code;
}

/* Does the copy's table take that page for a hole? In memory it may be live again and still all zeros. */
static int is_a_hole(const struct hf__copy *copy, uint64_t salt, uint64_t page,
                     struct hf__sector *sector, bool *out)
{
    int code = 0;
    if (page - sector->first_page >= sector->pages)
        code = hf__sector_read(copy->fd, copy->path, salt, page, sector);
    *out = code == 0 && hf__entry_is_hole(&sector->entries.entries[page - sector->first_page]);
    return code;
}

int hf__copy_differing(struct hf__copy *copy, const unsigned char *base, uint64_t used_end,
                       uint64_t salt, uint64_t commit, struct hf__touched *touched)
{
    unsigned char *bytes = malloc(READ_BYTES);
    struct hf__sector sector = {.pages = 0};
    int code = bytes == NULL ? hf__fail(HF_ENOMEM, "comparing memory with the file") : 0;
    for (uint64_t at = 0; code == 0 && at < used_end; at += READ_BYTES) {
        const uint64_t part = used_end - at < READ_BYTES ? used_end - at : READ_BYTES;
        ssize_t n = hf__segment_read(copy->from_fd, bytes, part, at);
        if (n < 0) {
            code = hf__fail_os(errno, copy->from_path, "read");
            break;
        }
        memset(bytes + n, 0, (size_t)part - (size_t)n);
        for (uint64_t i = 0; code == 0 && i < part; i += HF__PAGE_BYTES) {
            const uint64_t size = part - i < HF__PAGE_BYTES ? part - i : HF__PAGE_BYTES;
            bool differs = memcmp(bytes + i, base + at + i, (size_t)size) != 0;
            if (!differs && all_zero(bytes + i, size))
                code = is_a_hole(copy, salt, (at + i) / HF__PAGE_BYTES, &sector, &differs);
            if (code == 0 && differs)
                hf__touched_add(touched, at + i, at + i + size, commit);
        }
    }
    free(bytes);
    return code;
}

/* ---- a file ---------------------------------------------------------------------------------- */

/* The file system, or the two together, can't; other errors are failures. */
static bool cannot(int error)
{
    return error == EOPNOTSUPP || error == EXDEV || error == EINVAL || error == ENOTTY ||
           error == ENOSYS;
}

static int clone_all(struct hf__copy *copy)
{
    const uint64_t file_bytes = hf__file_bytes(copy->end);
    int result;
    do
        result = hf__os->clone(copy->fd, copy->from_fd);
    while (result != 0 && errno == EINTR);
    if (result != 0 && cannot(errno))
        return NOT_POSSIBLE;
    if (result != 0)
        return hf__fail_os(errno, copy->path, "cloning");
    int code = set_size(copy, file_bytes);
    copy->report->shared_bytes = file_bytes;
    return code == 0 ? step(copy, file_bytes) : code;
}

static int range_data(struct hf__copy *copy, unsigned char *unused, uint64_t from, uint64_t to)
{
    (void)unused;
    while (from < to) {
        const uint64_t part = to - from < RANGE_BYTES ? to - from : RANGE_BYTES;
        ssize_t n = hf__os->copy_range(copy->from_fd, (off_t)from, copy->fd, (off_t)from,
                                       (size_t)part);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && cannot(errno))
            return NOT_POSSIBLE;
        if (n < 0)
            return hf__fail_os(errno, copy->path, "copy_file_range");
        if (n == 0) { /* no end: some file systems say so where they can't */
            errno = EOPNOTSUPP;
            return NOT_POSSIBLE;
        }
        copy->report->moved_bytes += (uint64_t)n;
        int code = step(copy, (uint64_t)n);
        if (code != 0)
            return code;
        from += (uint64_t)n;
    }
    return 0;
}

static int write_pages(struct hf__copy *copy, const unsigned char *bytes, size_t size, uint64_t at)
{
    for (size_t i = 0, end; i < size; i = end) {
        const size_t first = size - i < HF__PAGE_BYTES ? size - i : HF__PAGE_BYTES;
        const bool zero = all_zero(bytes + i, first);
        end = i + first;
        while (end < size) {
            const size_t part = size - end < HF__PAGE_BYTES ? size - end : HF__PAGE_BYTES;
            if (all_zero(bytes + end, part) != zero)
                break;
            end += part;
        }
        if (!zero && hf__write_at(copy->fd, bytes + i, end - i, at + i) != 0)
            return hf__fail_os(errno, copy->path, "write");
        *(zero ? &copy->report->hole_bytes : &copy->report->moved_bytes) += end - i;
    }
    return 0;
}

static int read_data(struct hf__copy *copy, unsigned char *bytes, uint64_t from, uint64_t to)
{
    int code = 0;
    while (code == 0 && from < to) {
        const size_t part = to - from < READ_BYTES ? (size_t)(to - from) : READ_BYTES;
        ssize_t n = hf__read_at(copy->from_fd, bytes, part, from);
        if (n < 0)
            return hf__fail_os(errno, copy->from_path, "read");
        if ((size_t)n < part)
            return hf__fail_path(HF_ETRUNCATED, 0, copy->from_path, "it was cut at byte %llu",
                                 (unsigned long long)(from + (uint64_t)n));
        code = write_pages(copy, bytes, part, from);
        if (code == 0)
            code = step(copy, part);
        from += part;
    }
    return code;
}

/* From data to data, by one of the two above. The file may end before `end` (what its log holds beyond is laid
 * over the copy: K1), but not before what it had when the copying began. */
static int each_data(struct hf__copy *copy, unsigned char *bytes,
                     int (*copy_data)(struct hf__copy *, unsigned char *, uint64_t, uint64_t))
{
    uint64_t end = hf__file_bytes(copy->end);
    struct stat source;
    int code = set_size(copy, 0);
    if (code == 0)
        code = set_size(copy, end);
    if (code == 0 && hf__os->fstat(copy->from_fd, &source) != 0)
        code = hf__fail_os(errno, copy->from_path, "fstat");
    if (code == 0 && (uint64_t)source.st_size < end) {
        copy->report->hole_bytes += end - (uint64_t)source.st_size;
        code = step(copy, end - (uint64_t)source.st_size);
        end = (uint64_t)source.st_size;
    }
    for (uint64_t at = HF__TABLE_OFFSET, from, to; code == 0 && at < end; at = to) {
        if (hf__next_data(copy->from_fd, at, end, &from, &to) != 0)
            return hf__fail_os(errno, copy->from_path, "seeking data");
        copy->report->hole_bytes += from - at;
        code = step(copy, from - at);
        if (code == 0)
            code = copy_data(copy, bytes, from, to);
    }
    return code;
}

static int copy_by(struct hf__copy *copy, uint32_t method)
{
    copy->report->method = method;
    copy->report->moved_bytes = copy->report->shared_bytes = copy->report->hole_bytes = 0;
    if (method == HF_SNAPSHOT_CLONE)
        return clone_all(copy);
    if (method == HF_SNAPSHOT_COPY_RANGE)
        return each_data(copy, NULL, range_data);
    unsigned char *bytes = malloc(READ_BYTES);
    if (bytes == NULL)
        return hf__fail(HF_ENOMEM, "copying");
    int code = each_data(copy, bytes, read_data);
    free(bytes);
    return code;
}

int hf__copy_file(struct hf__copy *copy, uint32_t method)
{
    const uint64_t done = copy->check->done;
    if (method != HF_SNAPSHOT_ANY) {
        int code = copy_by(copy, method);
        return code == NOT_POSSIBLE
                   ? hf__fail_path(HF_ENOTSUP, errno, copy->path,
                                   "this way of copying isn't possible here")
                   : code;
    }
    int code = NOT_POSSIBLE;
    for (method = HF_SNAPSHOT_CLONE; code == NOT_POSSIBLE && method <= HF_SNAPSHOT_COPY; method++) {
        copy->check->done = done;
        code = copy_by(copy, method);
    }
    return code;
}
