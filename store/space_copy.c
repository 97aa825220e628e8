/* SPDX-License-Identifier: MIT */
/*
 * space_copy.c - disk blocks for a copy of a store: everywhere but where its heap says there may be none
 *
 * A copy is made with holes where the source reads as zeros. Those in live space must get blocks before it is
 * anybody's (M2 of mapping.c); those in whole pages of marked free blocks need none (alloc/holes.c), so a
 * store that gave most of its space back can be copied to a disk as full as its own. The copy is mapped
 * to find them; of a heap that can't be walked nothing is left out.
 */
#include "space.h"
#include "store.h"

#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static int by_place(const void *a, const void *b)
{
    const struct hf__span *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

static bool map_pieces(int fd, unsigned char *base, uint64_t size_bytes)
{
    for (uint64_t at = 0; at < size_bytes;) {
        const struct hf__piece piece = hf__piece_at(at, size_bytes);
        if (hf__os->mmap(base + at, (size_t)piece.size_bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
                         (off_t)piece.file_offset) == MAP_FAILED)
            return false;
        at += piece.size_bytes;
    }
    return true;
}

/* None if it fails: then everything gets blocks. */
static void find_marked(int fd, const struct hf__segment_header *header, struct hf__spans *spans)
{
    const uint64_t size = hf__whole_pages(header->heap.used_end);
    void *base = hf__os->mmap(NULL, (size_t)size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base != MAP_FAILED && map_pieces(fd, base, size)) {
        struct hf__segment seg = {.base = base, .size_bytes = size, .salt = header->constants.salt};
        struct hf__heap heap = {&seg, HF__HEAP_ROOT,
                                hf__allocator_by_kind(header->constants.allocator), NULL};
        if (heap.algorithm == NULL || hf__spans_find(&heap, HF__SPAN_BYTES_MIN, spans) != 0)
            spans->count = 0;
    }
    if (base != MAP_FAILED)
        hf__os->munmap(base, (size_t)size);
    if (spans->count != 0)
        qsort(spans->all, spans->count, sizeof *spans->all, by_place);
}

int hf__space_allocate(int fd, const struct hf__segment_header *header, uint64_t size_bytes)
{
    struct hf__spans spans = {.marked = true};
    uint64_t at = 0;
    int result = 0;
    find_marked(fd, header, &spans);
    for (size_t i = 0; result == 0 && i < spans.count; i++) {
        result = hf__segment_allocate(fd, at, spans.all[i].from);
        if (result == 0) /* a checkpoint needs no room for it */
            result = hf__table_allocate(fd, spans.all[i].from, spans.all[i].to);
        at = spans.all[i].to;
    }
    if (result == 0)
        result = hf__segment_allocate(fd, at, size_bytes);
    const int error = errno;
    free(spans.all);
    errno = error;
    return result;
}
