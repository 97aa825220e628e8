/* SPDX-License-Identifier: MIT */
/*
 * cut_mappings.h - which mapping is what, and which byte of the file an address stands for
 *
 * The library maps a store's file in pieces. A shared, writable piece over what was private before is
 * part of a window: the program stores there, and nobody tells. Any other one is the library's own, for
 * hf__os->store.
 */
#ifndef HF_TESTS_CRASH_CUT_MAPPINGS_H
#define HF_TESTS_CRASH_CUT_MAPPINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

enum { CUT_MAPPINGS = 64 };

struct cut_mapping {
    unsigned char *at;
    size_t size_bytes;
    uint64_t offset;
    int file;
};
struct cut_mappings {
    struct cut_mapping privates[CUT_MAPPINGS], own[CUT_MAPPINGS];
    size_t private_count, own_count;
};

static inline bool cut_mapping_in(const struct cut_mapping *list, size_t count, const void *at,
                                  const struct cut_mapping **out)
{
    for (size_t i = 0; i < count; i++)
        if ((const unsigned char *)at >= list[i].at &&
            (const unsigned char *)at < list[i].at + list[i].size_bytes) {
            *out = &list[i];
            return true;
        }
    return false;
}

/* After an mmap of a file: true if it is a window's. */
static inline bool cut_mappings_add(struct cut_mappings *all, void *at, size_t size_bytes,
                                    int protection, int flags, int file, uint64_t offset)
{
    const struct cut_mapping mapping = {at, size_bytes, offset, file}, *found;
    const bool known = cut_mapping_in(all->privates, all->private_count, at, &found);
    if ((flags & MAP_SHARED) != 0 && (protection & PROT_WRITE) != 0) {
        if (!known && all->own_count < CUT_MAPPINGS)
            all->own[all->own_count++] = mapping;
        return known;
    }
    if ((flags & MAP_PRIVATE) != 0 && !known && all->private_count < CUT_MAPPINGS)
        all->privates[all->private_count++] = mapping;
    return false;
}

static inline size_t cut_mappings_without(struct cut_mapping *list, size_t count, const void *at,
                                          size_t size_bytes)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (list[i].at < (const unsigned char *)at ||
            list[i].at >= (const unsigned char *)at + size_bytes)
            list[kept++] = list[i];
    return kept;
}

static inline void cut_mappings_drop(struct cut_mappings *all, const void *at, size_t size_bytes)
{
    all->private_count =
        cut_mappings_without(all->privates, all->private_count, at, size_bytes);
    all->own_count = cut_mappings_without(all->own, all->own_count, at, size_bytes);
}

/* Calls back for each piece of a file that [target, target + size_bytes) stands for. */
static inline void cut_mappings_each(const struct cut_mappings *all, const void *target,
                                     const void *from, size_t size_bytes,
                                     void (*call)(int file, const void *bytes, uint64_t size_bytes,
                                                  uint64_t offset))
{
    const unsigned char *at = target, *bytes = from;
    const struct cut_mapping *piece;
    while (size_bytes > 0 && cut_mapping_in(all->own, all->own_count, at, &piece)) {
        const size_t left = (size_t)(piece->at + piece->size_bytes - at);
        const size_t part = left < size_bytes ? left : size_bytes;
        call(piece->file, bytes, part, piece->offset + (uint64_t)(at - piece->at));
        at += part;
        bytes += part;
        size_bytes -= part;
    }
}

#endif
