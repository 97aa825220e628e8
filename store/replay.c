/* SPDX-License-Identifier: MIT */
/*
 * replay.c - writing all of a log into the data file, at the disk's speed
 *
 * After a reboot nothing of the data file is in memory, and to change a part of a page means to read
 * it first: one by one, in the order of the commits, that takes a hundred times as long as reading
 * the file through. So the pass that proves the log counts, for each region of a MiB, how often a part
 * of a page is written. A region with many is read in one go before, and small ranges are then stored
 * through a mapping, for a tenth of what a pwrite costs. All else is written with pwrite.
 *
 * Invariant
 *   R1  what is noted here decides how bytes are written, never which or in what order
 */
#include "base/os.h"
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define REGION_BYTES (UINT64_C(1) << 20)
#define HITS_MANY    32u /* reading so many pages singly takes longer than reading the region        */

static bool whole_pages(const struct hf__record_range *range)
{
    return (range->offset | range->size_bytes) % HF__PAGE_BYTES == 0;
}

static bool make_room(struct hf__replay *replay, size_t regions)
{
    if (regions <= replay->room)
        return true;
    const size_t room = regions < 1024 ? 1024 : regions + regions / 2;
    uint32_t *hits = realloc(replay->hits, room * sizeof *hits);
    if (hits == NULL)
        return false;
    memset(hits + replay->room, 0, (room - replay->room) * sizeof *hits);
    replay->hits = hits;
    replay->room = room;
    return true;
}

void hf__replay_note(struct hf__replay *replay, const struct hf__record *record)
{
    const struct hf__record_range *ranges = hf__record_ranges(record);
    for (uint64_t i = 0; i < record->range_count && !replay->unknown; i++) {
        if (whole_pages(&ranges[i]) || ranges[i].size_bytes == 0)
            continue;
        const size_t first = (size_t)(ranges[i].offset / REGION_BYTES);
        const size_t last = (size_t)((ranges[i].offset + ranges[i].size_bytes - 1) / REGION_BYTES);
        replay->unknown = !make_room(replay, last + 1);
        if (replay->unknown)
            break;
        /* Parts of pages are at its two ends. */
        replay->hits[first] += replay->hits[first] < HITS_MANY;
        replay->hits[last] += last != first && replay->hits[last] < HITS_MANY;
    }
}

static bool many(const struct hf__replay *replay, uint64_t region)
{
    return !replay->unknown && region < replay->room && replay->hits[region] >= HITS_MANY;
}

/* Reads the segment from `from` on, `bytes` of it. Blocks first: where the file has a hole, on a full
 * disk a store through a mapping would be SIGBUS and not an error. */
static int read_through(hf_store *store, uint64_t from, uint64_t bytes)
{
    unsigned char *mapping = hf__log_through(store);
    const uint64_t offset = HF__SEGMENT_OFFSET + from; /* in the mapping                          */
    if (mapping == NULL)
        return 0;
    if (hf__segment_allocate(store->fd, from, from + bytes) != 0)
        return hf__fail_os(errno, store->path, "making sure of its blocks");
    /* Without it the pages come one by one. */
    hf__will_need(mapping + offset, bytes);
    return 0;
}

int hf__replay_prepare(hf_store *store, const struct hf__replay *replay, uint64_t end)
{
    int code = 0;
    uint64_t region = 0;
    while (code == 0 && !replay->unknown && region < replay->room) {
        uint64_t next = region;
        while (many(replay, next))
            next++;
        if (next != region) {
            const uint64_t from = region * REGION_BYTES, to = next * REGION_BYTES;
            code = read_through(store, from, (to < end ? to : end) - from);
        }
        region = next + 1;
    }
    return code;
}

/* Ranges lie anywhere: most lines aren't in the caches, and are written whole. A single one may be the
 * segment's header, which every record has. */
static void store_range(unsigned char *to, const unsigned char *data, size_t size_bytes)
{
    (size_bytes > HF__LINE_BYTES ? hf__os->store_past : hf__os->store)(to, data, size_bytes);
}

/* What was stored past the caches comes before it, by whichever address. */
static int write_range(hf_store *store, const unsigned char *data,
                       const struct hf__record_range *range)
{
    hf__store_fence();
    return hf__segment_write(store->fd, data, range->size_bytes, range->offset);
}

int hf__replay_write(hf_store *store, const struct hf__replay *replay,
                     const struct hf__record *record)
{
    const struct hf__record_range *ranges = hf__record_ranges(record);
    const unsigned char *data =
        (const unsigned char *)record + hf__record_data(record->range_count);
    unsigned char *mapping = store->log.through;
    for (uint64_t i = 0; i < record->range_count; i++) {
        const uint64_t offset = HF__SEGMENT_OFFSET + ranges[i].offset, size = ranges[i].size_bytes;
        if (mapping != NULL && size < HF__PAGE_BYTES && offset + size <= store->reserved_bytes &&
            many(replay, ranges[i].offset / REGION_BYTES))
            store_range(mapping + offset, data, (size_t)size);
        else if (write_range(store, data, &ranges[i]) != 0)
            return hf__fail_os(errno, store->path, "write");
        data += size;
    }
    return 0;
}

void hf__replay_dispose(struct hf__replay *replay)
{
    free(replay->hits);
    *replay = (struct hf__replay){.hits = NULL};
}
