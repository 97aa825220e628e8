/* SPDX-License-Identifier: MIT */
/*
 * mapping.c - address space, and memory or file behind it
 *
 * A handle reserves address space for the largest segment once, so growing never moves anything:
 * the file is mapped far past its end, and what lies past the end becomes usable when the file gets
 * longer, in every process that has it mapped.
 *
 * The log engine has two mappings of it side by side in one reservation, P and S. Both come late, because
 * mapping and unmapping all spans twice was the dearest part of opening: of S, which readers look through,
 * only the spans that the segment reaches into, more of them when a view finds it larger
 * (hf__map_shown); P with the first transaction (hf__map_writers).
 *
 * Invariants
 *   M1  seg.base is aligned to HF_ALIGN_BYTES_MAX (buffers: to what the caller gave)
 *   M2  every byte below seg.size_bytes has a disk block (or memory) behind it: files are grown
 *       with fallocate before size_bytes says so, so a store into the segment never raises SIGBUS;
 *       but for whole pages of free blocks that are marked (alloc/holes.c), which get theirs again
 *       before they are taken (hf__map_back)
 *   M3  the spans of store->shown up to shown_bytes are mapped; whoever reads through it has asked for
 *       as many before (hf__map_shown), so nobody meets the bare reservation
 */
#include "store.h"

#include "base/bug.h"
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_FROM_BYTES (UINT64_C(16) << 20)
#define STEP_MIN (UINT64_C(1) << 20)
#define STEP_MAX (UINT64_C(256) << 20)
#define BACK_AHEAD (UINT64_C(1) << 20)

static uint64_t round_up(uint64_t value, uint64_t to)
{
    return (value + to - 1) / to * to;
}

/* Files have their header in front of the segment, in the mapping too. */
static uint64_t lead_of(const hf_store *store)
{
    return store->backing == HF__BACKING_FILE ? HF__SEGMENT_OFFSET : 0;
}

/*
 * Where a reservation is wished for: just before a border of 512 GiB, whole ones below this thread's stack.
 * The kernel keeps a table for each such stretch in which something is mapped, and goes through that part
 * of it that a mapping covers when the mapping ends: the few pages that a short look touches then lie in
 * the first entries of ours (5 us of an opening). Where somebody has that place, the kernel takes another.
 */
static void *wished_place(uint64_t size_bytes)
{
    static uint32_t turns;
    const uint64_t stretch = UINT64_C(512) << 30, here = (uintptr_t)__builtin_frame_address(0);
    const uint64_t turn = __atomic_fetch_add(&turns, 1, __ATOMIC_RELAXED) % 16;
    const uint64_t below = round_up(size_bytes, stretch) * (turn + 1) + (UINT64_C(8) << 30) +
                           (here >> 12 & 0x1ffff) * HF_ALIGN_BYTES_MAX;
    return sizeof(void *) < 8 || here / stretch * stretch <= below
               ? NULL
               : (void *)(uintptr_t)(here / stretch * stretch - below);
}

/* At least size_bytes of inaccessible address space, with an aligned place in it; NULL if there is none. */
static unsigned char *reserve_around(uint64_t size_bytes, unsigned char **range, uint64_t *range_bytes)
{
    const uint64_t total = size_bytes + HF_ALIGN_BYTES_MAX;
    if (total > SIZE_MAX || total < size_bytes)
        return NULL;
    unsigned char *at = hf__os->mmap(wished_place(total), (size_t)total, PROT_NONE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    *range = at;
    *range_bytes = total;
    return (unsigned char *)round_up((uintptr_t)at, HF_ALIGN_BYTES_MAX);
}

/* The same of just that size, which the caller munmaps. */
static unsigned char *reserve(uint64_t size_bytes)
{
    unsigned char *range;
    uint64_t range_bytes;
    unsigned char *aligned = reserve_around(size_bytes, &range, &range_bytes);
    if (aligned == NULL)
        return NULL;
    const uint64_t before = (uint64_t)(aligned - range), behind = HF_ALIGN_BYTES_MAX - before;
    if (before != 0)
        hf__os->munmap(range, (size_t)before);
    if (behind != 0)
        hf__os->munmap(aligned + size_bytes, (size_t)behind);
    return aligned;
}

int hf__map_reserve(hf_store *store, uint64_t want_bytes, uint64_t need_bytes, bool twice)
{
    const uint64_t lead = lead_of(store);
    uint64_t want = round_up(want_bytes, HF__PAGE_BYTES);
    const uint64_t need = round_up(need_bytes, HF__PAGE_BYTES);
    for (;;) {
        const uint64_t one = round_up(lead + want, HF_ALIGN_BYTES_MAX);
        unsigned char *at = reserve_around(twice ? 2 * one : one, &store->range, &store->range_bytes);
        if (at != NULL) {
            store->shown = at;
            store->reserved = twice ? at + one : at;
            store->log.shared = twice ? at : NULL;
            store->reserved_bytes = lead + want;
            store->size_max_bytes = want_bytes < want ? want_bytes : want;
            store->seg.base = store->reserved + lead;
            return 0;
        }
        if (want <= need)
            return hf__fail_path(HF_EADDRSPACE, 0, store->path, "%llu bytes are needed",
                                 (unsigned long long)need);
        want = want / 2 > need ? round_up(want / 2, HF__PAGE_BYTES) : need;
    }
}

/*
 * Opens the file anew, to map it. Not through store->fd: a mapping keeps the open file description
 * alive that it was made from, and with it that description's locks. The child of a fork inherits
 * mappings, so it would go on holding its parent's locks after the parent's death.
 */
static int open_to_map(const hf_store *store, bool to_write, int *out)
{
    struct stat st;
    int code = 0;
    int fd = hf__os->open(store->path, (to_write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0)
        return hf__fail_os(errno, store->path, "open");
    if (hf__os->fstat(fd, &st) != 0)
        code = hf__fail_os(errno, store->path, "fstat");
    else if (st.st_dev != store->device || st.st_ino != store->inode)
        code = hf__fail_path(HF_ENOENT, 0, store->path, "another file took its name meanwhile");
    if (code != 0)
        hf__os->close(fd);
    else
        *out = fd;
    return code;
}

/* Maps [from, end) of the segment (from 0: the header, too) into a reservation, piece by piece. */
static int map_part(const hf_store *store, int fd, unsigned char *mapping, uint64_t from, uint64_t end,
                    int protection, int flags)
{
    const uint64_t lead = lead_of(store);
    while (from < end) {
        const struct hf__piece piece = hf__piece_at(from, end);
        const uint64_t ahead = from == 0 ? lead : 0;
        if (hf__os->mmap(mapping + lead + from - ahead, (size_t)(piece.size_bytes + ahead),
                         protection, flags | MAP_FIXED | MAP_NORESERVE, fd,
                         (off_t)(piece.file_offset - ahead)) == MAP_FAILED)
            return hf__fail_os(errno, store->path, "mmap");
        from += piece.size_bytes;
    }
    return 0;
}

static int map_over(const hf_store *store, int fd, unsigned char *mapping, uint64_t from,
                    int protection, int flags)
{
    return map_part(store, fd, mapping, from, store->reserved_bytes - lead_of(store), protection, flags);
}

static int map_from(const hf_store *store, unsigned char *mapping, uint64_t from, int protection,
                    int flags)
{
    int fd;
    int code =
        open_to_map(store, (protection & PROT_WRITE) != 0 && (flags & MAP_SHARED) != 0, &fd);
    if (code != 0)
        return code;
    code = map_over(store, fd, mapping, from, protection, flags);
    hf__os->close(fd);
    return code;
}

int hf__map_file(hf_store *store, bool writable, bool is_private)
{
    int fd;
    int code = open_to_map(store, writable && !is_private, &fd);
    if (code != 0)
        return code;
    code = map_over(store, fd, store->reserved, 0, PROT_READ | (writable ? PROT_WRITE : 0),
                    is_private ? MAP_PRIVATE : MAP_SHARED);
    hf__os->close(fd);
    return code;
}

/* Whole spans, so that growing within the last one asks for no more. */
static int map_shown_locked(hf_store *store, uint64_t size_bytes)
{
    const uint64_t limit = store->reserved_bytes - lead_of(store);
    const uint64_t last = size_bytes == 0 ? 0 : size_bytes - 1, have = store->shown_bytes;
    uint64_t end = hf__span_end(hf__span_of(last < limit ? last : limit - 1));
    end = end < limit ? end : limit;
    if (end <= have)
        return 0;
    int code = map_part(store, store->map_fd, store->shown, have, end, PROT_READ, MAP_SHARED);
    if (code == 0)
        __atomic_store_n(&store->shown_bytes, end, __ATOMIC_RELEASE);
    return code;
}

int hf__map_more_shown(hf_store *store, uint64_t size_bytes)
{
    pthread_mutex_lock(&store->map_mutex);
    int code = map_shown_locked(store, size_bytes);
    pthread_mutex_unlock(&store->map_mutex);
    return code;
}

int hf__map_readers(hf_store *store, uint64_t size_bytes)
{
    int code = open_to_map(store, false, &store->map_fd);
    store->shown_bytes = 0;
    return code == 0 ? hf__map_more_shown(store, size_bytes) : code;
}

int hf__map_writers(hf_store *store)
{
    if (store->writers_mapped || store->log.shared == NULL)
        return 0;
    int code = map_over(store, store->map_fd, store->reserved, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    if (code == 0)
        code = hf__private_open(store);
    store->writers_mapped = code == 0;
    return code;
}

/*
 * Where nothing is to be read, reading ahead would only fill the page cache with large folios: for each
 * of them the kernel keeps a list of its blocks and walks it for every write of a few bytes (17 us
 * instead of 1 for a folio of 8 MiB), and a store into a page dirties all of it. So fresh space is faulted
 * in page by page. A hint: errors don't matter.
 */
static void advise_fresh(unsigned char *at, uint64_t size_bytes)
{
    if (size_bytes != 0)
        (void)hf__os->madvise(at, (size_t)size_bytes, MADV_RANDOM);
}

int hf__map_tail(hf_store *store, uint64_t from_bytes)
{
    return map_over(store, store->map_fd, store->reserved, from_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE);
}

int hf__map_tail_shared(hf_store *store, uint64_t from_bytes, bool *torn)
{
    const int protection = PROT_READ | PROT_WRITE;
    int fd;
    *torn = false;
    int code = open_to_map(store, true, &fd);
    if (code != 0)
        return code;
    code = map_over(store, fd, store->reserved, from_bytes, protection, MAP_SHARED);
    if (code == 0)
        advise_fresh(store->seg.base + from_bytes,
                     store->reserved_bytes - lead_of(store) - from_bytes);
    else /* spans that were mapped before the one that failed mustn't stay */
        *torn = map_over(store, fd, store->reserved, from_bytes, protection, MAP_PRIVATE) != 0;
    hf__os->close(fd);
    return code;
}

unsigned char *hf__map_through(hf_store *store)
{
    unsigned char *at = reserve(store->reserved_bytes);
    if (at == NULL)
        return NULL;
    if (map_from(store, at, 0, PROT_READ | PROT_WRITE, MAP_SHARED) != 0) {
        hf__os->munmap(at, (size_t)store->reserved_bytes);
        return NULL;
    }
    /* Single pages: whole neighbourhoods would be written back for one byte. */
    hf__os->madvise(at, (size_t)store->reserved_bytes, MADV_RANDOM);
    return at;
}

int hf__map_private(hf_store *store, unsigned char **out)
{
    unsigned char *at = reserve(store->reserved_bytes);
    if (at == NULL)
        return hf__fail_path(HF_EADDRSPACE, 0, store->path, "for a private view");
    int code = map_from(store, at, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    if (code == 0)
        *out = at;
    else
        hf__os->munmap(at, (size_t)store->reserved_bytes);
    return code;
}

int hf__map_private_to(hf_store *store, unsigned char *mapping, uint64_t from_bytes,
                       uint64_t size_bytes)
{
    struct stat st;
    if (hf__os->fstat(store->fd, &st) != 0)
        return hf__fail_os(errno, store->path, "fstat");
    const uint64_t end = lead_of(store) + size_bytes;
    const uint64_t backed = hf__whole_pages(hf__backed_bytes((uint64_t)st.st_size));
    const uint64_t from = hf__whole_pages(from_bytes);
    const uint64_t have = lead_of(store) + (backed > from ? backed : from);
    if (end > store->reserved_bytes)
        return hf__fail_path(HF_EADDRSPACE, 0, store->path, "for what its log holds");
    if (have >= end)
        return 0;
    if (hf__os->mmap(mapping + have, (size_t)(hf__whole_pages(end) - have), PROT_READ | PROT_WRITE,
                     MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
        return hf__fail_os(errno, store->path, "mmap");
    return 0;
}

void hf__map_release(hf_store *store)
{
    if (store->reserved != NULL)
        hf__os->munmap(store->range, (size_t)store->range_bytes);
    if (store->log.through != NULL)
        hf__os->munmap(store->log.through, (size_t)store->reserved_bytes);
    if (store->map_fd >= 0)
        hf__os->close(store->map_fd);
    store->map_fd = -1;
    store->range = store->reserved = store->shown = store->log.shared = store->log.through = NULL;
}

int hf__map_undo(hf_store *store, struct hf__undo *undo, unsigned char *base, uint64_t room,
                 uint64_t to, bool keep, struct hf__undo_stats *stats)
{
    struct stat st;
    if (hf__os->fstat(store->fd, &st) != 0)
        return hf__fail_os(errno, store->path, "fstat");
    const uint64_t backed = hf__backed_bytes((uint64_t)st.st_size);
    int code = hf__undo_apply(undo, base, backed < room ? backed : room, to, keep, stats);
    /* The list may be whole, and of a larger store. */
    return code == HF_ECORRUPT && backed > room ? hf__fail_outgrown(store) : code;
}

int hf__map_undone(hf_store *store, struct hf__undo *undo, unsigned char *mapping,
                   struct hf__undo_stats *stats)
{
    return hf__map_undo(store, undo, mapping + HF__SEGMENT_OFFSET,
                        store->reserved_bytes - HF__SEGMENT_OFFSET, HF__UNDO_FIRST, true, stats);
}

int hf__map_replay(hf_store *store, void **out)
{
    struct hf__undo undo;
    unsigned char *at;
    int code = hf__map_private(store, &at);
    if (code != 0)
        return code;
    if (store->locks.table->header.header_marked) { /* else the list is a leftover */
        hf__undo_init(&undo, store->undo_path);
        code = hf__undo_open_file(&undo, store->constants.uuid, 0, false, true);
        if (code == HF_ENOENT) /* the writer died before its first change ever */
            code = 0;
        else if (code == 0)
            code = hf__map_undone(store, &undo, at, NULL);
        hf__undo_close(&undo);
    }
    if (code == 0)
        *out = at;
    else
        hf__os->munmap(at, (size_t)store->reserved_bytes);
    return code;
}

/* ---- growing --------------------------------------------------------------------------------- */

static int back_with_file(hf_store *store, uint64_t target)
{
    const uint64_t size = store->seg.size_bytes;
    struct stat st;
    if (hf__os->fstat(store->fd, &st) != 0)
        return hf__fail_os(errno, store->path, "fstat");
    /* Where the file is long enough already, no recovery could see that blocks are missing. */
    if ((uint64_t)st.st_size > hf__file_bytes(size))
        store->backed.changed = true;
    if (hf__segment_allocate(store->fd, size, target) != 0) {
        const int error = errno;
        /* What was had of it may be what somebody else needs. Only who has the writer's place makes the file
         * longer, so nobody has anything behind the end it had. */
        (void)!hf__os->ftruncate(store->fd, st.st_size);
        return hf__fail_os(error, store->path, "growing the file");
    }
    const uint64_t from = round_up(size, HF__PAGE_BYTES), end = round_up(target, HF__PAGE_BYTES);
    advise_fresh(store->seg.base + from, end - from);
    return 0;
}

/* A copy-on-write store grows into memory of its own: the file isn't there to be grown. */
static int back_with_memory(hf_store *store, uint64_t target)
{
    const uint64_t size = store->seg.size_bytes;
    void *at = hf__os->mmap(store->seg.base + size, (size_t)(target - size),
                            PROT_READ | PROT_WRITE,
                            MAP_FIXED | MAP_NORESERVE | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? hf__fail_os(errno, store->path, "mmap") : 0;
}

/* A large heap has blocks and chunks in so many pages that half of every random access is finding the
 * page: large pages, where the system has them to give. A small one would only take more memory. */
static void advise_heap(hf_store *store, uint64_t from, uint64_t target)
{
    from = from / HF__PAGE_BYTES * HF__PAGE_BYTES;
    if (target >= HUGE_FROM_BYTES && target > from)
        (void)hf__os->madvise(store->seg.base + from, (size_t)(target - from), MADV_HUGEPAGE);
}

void hf__map_heap(hf_store *store)
{
    advise_heap(store, HUGE_FROM_BYTES, store->seg.size_bytes);
}

static int back_to(hf_store *store, uint64_t target)
{
    int code = 0;
    if (store->backing == HF__BACKING_FILE)
        code = store->mode == HF_COPY_ON_WRITE ? back_with_memory(store, target)
                                               : back_with_file(store, target);
    else if (store->backing == HF__BACKING_HEAP)
        advise_heap(store, store->seg.size_bytes, target);
    if (code == 0)
        store->seg.size_bytes = target;
    return code;
}

int hf__map_grow(hf_store *store, uint64_t size_bytes)
{
    const uint64_t size = store->seg.size_bytes;
    if (size_bytes <= size)
        return 0;
    if (size_bytes > store->size_max_bytes || store->backing == HF__BACKING_BUFFER)
        return hf__fail_path(HF_EFULL, 0, store->path, "%llu of at most %llu bytes",
                             (unsigned long long)size_bytes,
                             (unsigned long long)store->size_max_bytes);
    uint64_t step = size / 4;
    step = step < STEP_MIN ? STEP_MIN : step > STEP_MAX ? STEP_MAX : step;
    uint64_t target = size_bytes > size + step ? size_bytes : size + step;
    target = round_up(target, HF__PAGE_BYTES);
    if (target > store->size_max_bytes)
        target = store->size_max_bytes;
    int code = back_to(store, target);
    /* A whole step may be more than the disk has left; what is needed may still fit. */
    uint64_t least = round_up(size_bytes, HF__PAGE_BYTES);
    if (code == HF_ENOSPC && least < target)
        code = back_to(store, least);
    return code;
}

/* ---- holes ----------------------------------------------------------------------------------- */

int hf__map_back(hf_store *store, uint64_t offset, uint64_t size_bytes, uint64_t end)
{
    const uint64_t from = offset & ~(uint64_t)(HF__PAGE_BYTES - 1);
    uint64_t to = hf__whole_pages(offset + size_bytes);
    if (store->backing != HF__BACKING_FILE || store->role == HF__ROLE_FROZEN)
        return 0; /* memory, or private pages: what is no hole there */
    if (from >= store->backed.from && to <= store->backed.to)
        return 0;
    /* A transaction that takes many small blocks asks once for all of them. */
    const uint64_t ahead = from + BACK_AHEAD < end ? hf__whole_pages(from + BACK_AHEAD)
                                                   : hf__whole_pages(end);
    const uint64_t want = ahead > to && ahead <= store->seg.size_bytes ? ahead : to;
    store->backed.changed = true;
    if (HF__BUG(BLOCKS_NOT_PUT_BACK))
        return 0;
    if (want > to && hf__segment_allocate(store->fd, from, want) == 0)
        to = want;
    else if (hf__segment_allocate(store->fd, from, to) != 0)
        return hf__fail_os(errno, store->path, "blocks for space that was given back");
    store->backed.from = from;
    store->backed.to = to;
    return 0;
}
