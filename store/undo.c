/* SPDX-License-Identifier: MIT */
/*
 * undo.c - the direct engine's undo list (undo.h has the invariants)
 *
 * Why a kill at any instruction is safe. The list lies in a shared mapping, so what a process
 * stored there before it died is there for the next one, in program order: an interrupted program
 * has executed a prefix of its instructions. hf__undo_record stores a record, then `end`, then
 * returns; a compiler barrier keeps the caller's change behind that. So whichever prefix was
 * executed, every changed byte has its record below `end` (U1). hf__undo_apply restores before it
 * lowers `end`, so an interrupted rollback is done again from the same records (U2). The commit is
 * one store of `end` (U3). The machine going down is another matter: nothing here is synced.
 */
#include "undo.h"

#include "base/error.h"
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CAPACITY_FIRST ((uint64_t)512 * 1024)
#define CAPACITY_KEPT ((uint64_t)64 * 1024 * 1024) /* a larger list is cut back afterwards */
#define SLACK ((uint64_t)1024)                     /* the word more that segment.h promises, and the door's own */

void hf__undo_init(struct hf__undo *undo, const char *path)
{
    *undo = (struct hf__undo){
        .fd = -1,
        .path = path,
        .user = (uid_t)-1,
        .group = (gid_t)-1,
        .fresh_from = UINT64_MAX,
    };
    hf__lines_init(&undo->kept);
}

/* ---- memory and file ------------------------------------------------------------------------- */

int hf__undo_open_private(struct hf__undo *undo)
{
    undo->map = calloc(1, CAPACITY_FIRST);
    if (undo->map == NULL)
        return hf__fail(HF_ENOMEM, "undo list");
    undo->capacity = CAPACITY_FIRST;
    hf__undo_header(undo)->end = HF__UNDO_FIRST;
    return 0;
}

static int map_list(struct hf__undo *undo, uint64_t capacity, bool read_only)
{
    int protection = read_only ? PROT_READ : PROT_READ | PROT_WRITE;
    void *at = hf__os->mmap(NULL, (size_t)capacity, protection, MAP_SHARED, undo->fd, 0);
    if (at == MAP_FAILED)
        return hf__fail_os(errno, undo->path, "mmap");
    if (undo->map != NULL)
        hf__os->munmap(undo->map, (size_t)undo->capacity);
    undo->map = at;
    undo->capacity = capacity;
    return 0;
}

/* A new list appears under its name only when it is whole, so that a process that dies here leaves
 * none at all. */
static int make_file(struct hf__undo *undo, const uint8_t uuid[16], mode_t mode)
{
    struct hf__undo_header header = {
        .magic = HF__UNDO_MAGIC, .end = HF__UNDO_FIRST, .capacity = CAPACITY_FIRST};
    char name[4096 + 16];
    int code = 0;
    memcpy(header.uuid, uuid, 16);
    snprintf(name, sizeof name, "%s.new", undo->path);
    hf__os->unlink(name);
    int fd = hf__os->open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return hf__fail_os(errno, name, "open");
    /* Whoever may write the store may use its list, also when root was here first. */
    (void)!hf__os->fchown(fd, undo->user, undo->group);
    if (hf__os->fchmod(fd, mode) != 0 || hf__allocate_at(fd, 0, CAPACITY_FIRST) != 0 ||
        hf__write_at(fd, &header, sizeof header, 0) != 0 ||
        hf__os->rename_new(name, undo->path) != 0) {
        code = hf__fail_os(errno, undo->path, "making the undo list");
        hf__os->unlink(name);
    }
    hf__os->close(fd);
    return code;
}

int hf__undo_open_file(struct hf__undo *undo, const uint8_t uuid[16], mode_t mode, bool create,
                       bool read_only)
{
    struct hf__undo_header header;
    struct stat st;
    int code, flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW;
    int fd = hf__os->open(undo->path, flags, 0);
    if (fd < 0 && errno == ENOENT && create) {
        code = make_file(undo, uuid, mode);
        if (code != 0)
            return code;
        fd = hf__os->open(undo->path, flags, 0);
    }
    if (fd < 0)
        return errno == ENOENT ? HF_ENOENT : hf__fail_os(errno, undo->path, "open");
    ssize_t n = hf__read_at(fd, &header, sizeof header, 0);
    if (n < 0 || hf__os->fstat(fd, &st) != 0) {
        code = hf__fail_os(errno, undo->path, "read");
        goto err_close;
    }
    if (n != (ssize_t)sizeof header || header.magic != HF__UNDO_MAGIC ||
        memcmp(header.uuid, uuid, 16) != 0 || header.capacity < HF__UNDO_FIRST ||
        header.capacity > (uint64_t)st.st_size || header.end < HF__UNDO_FIRST ||
        header.end > header.capacity) {
        code = hf__fail_path(HF_ESIDECAR, 0, undo->path, "not this store's undo list");
        goto err_close;
    }
    undo->fd = fd;
    code = map_list(undo, header.capacity, read_only);
    if (code == 0)
        return 0;
    undo->fd = -1;
err_close:
    hf__os->close(fd);
    return code;
}

int hf__undo_refresh(struct hf__undo *undo)
{
    if (undo->fd < 0 || hf__undo_header(undo)->capacity == undo->capacity)
        return 0;
    return map_list(undo, hf__undo_header(undo)->capacity, false);
}

void hf__undo_close(struct hf__undo *undo)
{
    if (undo->fd != -1) {
        if (undo->map != NULL)
            hf__os->munmap(undo->map, (size_t)undo->capacity);
        if (undo->fd != HF__CLOSED_FD)
            hf__os->close(undo->fd);
    } else {
        free(undo->map);
    }
    hf__lines_dispose(&undo->kept);
    uid_t user = undo->user;
    gid_t group = undo->group;
    hf__undo_init(undo, undo->path);
    undo->user = user;
    undo->group = group;
}

static int grow_list(struct hf__undo *undo, uint64_t need)
{
    uint64_t capacity = undo->capacity;
    while (capacity < need)
        capacity *= 2;
    if (undo->fd < 0) {
        unsigned char *map = realloc(undo->map, capacity);
        if (map == NULL)
            return hf__fail(HF_ENOMEM, "undo list");
        undo->map = map;
        undo->capacity = capacity;
        return 0;
    }
    /* Doubling may be more than the disk has left; what is needed may still fit. */
    if (hf__allocate_at(undo->fd, undo->capacity, capacity - undo->capacity) != 0) {
        capacity = (need + 4095) & ~UINT64_C(4095);
        if (hf__allocate_at(undo->fd, undo->capacity, capacity - undo->capacity) != 0)
            return hf__fail_os(errno, undo->path, "growing the undo list");
    }
    int code = map_list(undo, capacity, false);
    if (code == 0)
        hf__undo_header(undo)->capacity = capacity;
    return code;
}

/* After a large transaction. A failure leaves the list large, which is no harm. */
static void trim_list(struct hf__undo *undo)
{
    if (undo->capacity <= CAPACITY_KEPT)
        return;
    if (undo->fd < 0) {
        unsigned char *map = realloc(undo->map, CAPACITY_FIRST);
        if (map != NULL) {
            undo->map = map;
            undo->capacity = CAPACITY_FIRST;
        }
        return;
    }
    /* The header first: whoever maps by it never maps beyond the end. */
    hf__undo_header(undo)->capacity = CAPACITY_FIRST;
    if (map_list(undo, CAPACITY_FIRST, false) == 0)
        (void)!hf__os->ftruncate(undo->fd, (off_t)CAPACITY_FIRST);
    else
        hf__undo_header(undo)->capacity = undo->capacity;
}

/* ---- which lines are kept -------------------------------------------------------------------- */

void hf__undo_new_level(struct hf__undo *undo, uint64_t fresh_from)
{
    hf__lines_empty(&undo->kept);
    undo->fresh_from = fresh_from;
}

/* ---- recording ------------------------------------------------------------------------------- */

int hf__undo_reserve(struct hf__undo *undo, uint64_t cost_bytes)
{
    uint64_t end = hf__undo_end(undo);
    if (cost_bytes > UINT64_C(1) << 50)
        return hf__fail(HF_EOVERFLOW, "an undo list of %llu bytes", (unsigned long long)cost_bytes);
    uint64_t need = end + cost_bytes + SLACK;
    if (need > undo->capacity) {
        int code = grow_list(undo, need);
        if (code != 0)
            return code;
    }
    undo->reserved_end = end + cost_bytes;
    return 0;
}

/* Stores one record at `end`; returns the new end, which is not published yet. */
static uint64_t put_record(struct hf__undo *undo, const struct hf__segment *seg, uint64_t end,
                           uint64_t first_line, uint64_t last_line)
{
    uint64_t offset = first_line * HF__LINE_BYTES;
    uint64_t size = (last_line + 1 - first_line) * HF__LINE_BYTES;
    struct hf__undo_trailer trailer = {offset, size};
    assert(end + size + sizeof trailer <= undo->capacity);
    memcpy(undo->map + end, seg->base + offset, size);
    memcpy(undo->map + end + size, &trailer, sizeof trailer);
    return end + size + sizeof trailer;
}

/* The records below `end` are whole. The caller's change must not be moved before that store. */
static inline void publish(struct hf__undo *undo, uint64_t end)
{
    __atomic_store_n(&hf__undo_header(undo)->end, end, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

__attribute__((noinline)) static void record(struct hf__undo *undo, const struct hf__segment *seg,
                                             uint64_t line, const uint64_t last)
{
    const uint64_t begin = hf__undo_end(undo);
    uint64_t end = begin, run_first = 0, run_count = 0; /* lines not kept yet, to be one record */
    while (line <= last) {
        uint64_t page = line / HF__LINES_A_PAGE;
        uint64_t page_last = page * HF__LINES_A_PAGE + HF__LINES_A_PAGE - 1;
        if (page_last > last)
            page_last = last;
        uint64_t fresh = hf__lines_add(
            &undo->kept, page,
            hf__lines_between(line % HF__LINES_A_PAGE, page_last % HF__LINES_A_PAGE));
        for (; line <= page_last; line++) {
            bool wanted = fresh >> line % HF__LINES_A_PAGE & 1;
            if (wanted && run_count++ == 0)
                run_first = line;
            if (!wanted && run_count != 0) {
                end = put_record(undo, seg, end, run_first, run_first + run_count - 1);
                run_count = 0;
            }
        }
    }
    if (run_count != 0)
        end = put_record(undo, seg, end, run_first, run_first + run_count - 1);
    if (end != begin)
        publish(undo, end);
}

/* The same for one line, mostly one that is not kept yet: all that follows is a few stores. */
__attribute__((noinline)) static void record_line(struct hf__undo *undo,
                                                  const struct hf__segment *seg, uint64_t line)
{
    const uint64_t bit = UINT64_C(1) << line % HF__LINES_A_PAGE;
    if (hf__lines_add_quick(&undo->kept, line / HF__LINES_A_PAGE, bit) == 0)
        return;
    const uint64_t end = hf__undo_end(undo);
    const struct hf__undo_trailer trailer = {line * HF__LINE_BYTES, HF__LINE_BYTES};
    assert(end + HF__LINE_BYTES + sizeof trailer <= undo->capacity);
    memcpy(undo->map + end, seg->base + trailer.offset, HF__LINE_BYTES);
    memcpy(undo->map + end + HF__LINE_BYTES, &trailer, sizeof trailer);
    publish(undo, end + HF__LINE_BYTES + sizeof trailer);
}

void hf__undo_record(struct hf__undo *undo, const struct hf__segment *seg, uint64_t offset,
                     uint64_t size_bytes)
{
    if (size_bytes == 0 || offset >= undo->fresh_from)
        return;
    const uint64_t first = offset / HF__LINE_BYTES;
    const uint64_t last = (offset + size_bytes - 1) / HF__LINE_BYTES;
    if (first != last)
        record(undo, seg, first, last);
    else if (!hf__lines_has(&undo->kept, first / HF__LINES_A_PAGE, first % HF__LINES_A_PAGE))
        record_line(undo, seg, first); /* most lines are kept already */
}

/* ---- undoing --------------------------------------------------------------------------------- */

static bool trailer_ok(const struct hf__undo_trailer *trailer, uint64_t end, uint64_t to,
                       uint64_t limit_bytes)
{
    return trailer->size_bytes != 0 && trailer->size_bytes % HF__LINE_BYTES == 0 &&
           trailer->offset % HF__LINE_BYTES == 0 &&
           trailer->size_bytes <= end - to - sizeof *trailer && trailer->offset <= limit_bytes &&
           trailer->size_bytes <= limit_bytes - trailer->offset;
}

/* The record that ends at `end`, in *out; false if it can't be one. */
static bool record_before(const struct hf__undo *undo, uint64_t end, uint64_t to,
                          uint64_t limit_bytes, struct hf__undo_trailer *out)
{
    if (end < to + sizeof *out)
        return false;
    memcpy(out, undo->map + end - sizeof *out, sizeof *out);
    return trailer_ok(out, end, to, limit_bytes);
}

int hf__undo_apply(struct hf__undo *undo, unsigned char *base, uint64_t limit_bytes, uint64_t to,
                   bool keep, struct hf__undo_stats *stats)
{
    struct hf__undo_trailer trailer;
    const uint64_t begin = hf__undo_end(undo);
    if (begin > undo->capacity || to < HF__UNDO_FIRST || to > begin)
        return hf__corrupt("undo.end", begin);
    /* All records are looked at before the first is applied: a damaged list changes nothing. */
    for (uint64_t end = begin; end > to; end -= trailer.size_bytes + sizeof trailer)
        if (!record_before(undo, end, to, limit_bytes, &trailer))
            return hf__corrupt("undo.record", end);
    for (uint64_t end = begin; end > to; end -= trailer.size_bytes + sizeof trailer) {
        if (!record_before(undo, end, to, limit_bytes, &trailer))
            return hf__corrupt("undo.record", end);
        memcpy(base + trailer.offset, undo->map + end - sizeof trailer - trailer.size_bytes,
               trailer.size_bytes);
        if (stats != NULL) {
            stats->ranges++;
            stats->bytes += trailer.size_bytes;
        }
    }
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (!keep) {
        __atomic_store_n(&hf__undo_header(undo)->end, to, __ATOMIC_RELEASE);
        undo->reserved_end = to;
    }
    return 0;
}

void hf__undo_forget(struct hf__undo *undo)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&hf__undo_header(undo)->end, HF__UNDO_FIRST, __ATOMIC_RELEASE);
    undo->reserved_end = HF__UNDO_FIRST;
    trim_list(undo);
}
