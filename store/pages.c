/* SPDX-License-Identifier: MIT */
/*
 * pages.c - the page table: entries computed, read and written
 *
 * The table is written by who holds the writer's and the applier's place between applying and syncing
 * a checkpoint, by a recovery, and by who has a file alone (docs/pages.md, T1 and T2). Pages are read with
 * pread: they are in the page cache, and a bad block of the disk is an error here, not a signal.
 *
 * Invariants
 *   G1  a sector is read, changed and written whole, and keeps the entries that were not asked for
 *   G2  what was asked for is written, also if it looks as before: after a failed sync the page cache
 *       may show what the disk doesn't have
 */
#include "pages.h"

#include "base/bug.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/os.h"
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEY_PAGE UINT64_C(0x9e3779b97f4a7c15)
#define KEY_SECTOR UINT64_C(0xc2b2ae3d27d4eb4f)
#define CHUNK_PAGES 64u
#define GAP_PAGES 4u
#define SECTOR_TRIES 20 /* a checkpoint may be rewriting it                                        */
#define AHEAD_BYTES ((size_t)256 << 10)

/* ---- entries --------------------------------------------------------------------------------- */

uint64_t hf__page_checksum(const void *bytes, uint64_t size_bytes, uint64_t salt, uint64_t page)
{
    const uint64_t hash = hf__hash(bytes, (size_t)size_bytes, salt ^ (page + 1) * KEY_PAGE);
    return hash == 0 ? 1 : hash;
}

static uint64_t sector_check(const struct hf__page_sector *sector, uint64_t salt, uint64_t number)
{
    return hf__hash(sector, offsetof(struct hf__page_sector, check),
                    salt ^ (number + 1) * KEY_SECTOR);
}

int hf__sector_read(int fd, const char *path, uint64_t salt, uint64_t page, struct hf__sector *out)
{
    static const struct hf__page_sector zeros;
    unsigned slot;
    out->file_offset = hf__table_sector(page, &slot, &out->number);
    out->first_page = page - slot;
    const uint64_t span_end = hf__span_end(hf__span_of(page * HF__PAGE_BYTES)) / HF__PAGE_BYTES;
    out->pages = span_end - out->first_page < HF__SECTOR_ENTRIES
                     ? (uint32_t)(span_end - out->first_page)
                     : HF__SECTOR_ENTRIES;
    memset(&out->entries, 0, sizeof out->entries);
    if (hf__read_at(fd, &out->entries, sizeof out->entries, out->file_offset) < 0)
        return hf__fail_os(errno, path, "read");
    out->empty = memcmp(&out->entries, &zeros, sizeof zeros) == 0;
    out->sound = out->empty ||
                 out->entries.check == sector_check(&out->entries, salt, out->number);
    return 0;
}

int hf__sector_read_steady(int fd, const char *path, uint64_t salt, uint64_t page,
                           struct hf__sector *out)
{
    static uint32_t nobody;
    for (int i = 0; i < SECTOR_TRIES; i++) {
        int code = hf__sector_read(fd, path, salt, page, out);
        if (code != 0 || out->sound)
            return code;
        hf__os->futex_wait(&nobody, 0, 1000 * 1000);
    }
    return 0;
}

static int sector_write(int fd, const char *path, uint64_t salt, struct hf__sector *sector)
{
    sector->entries.reserved = 0;
    sector->entries.check = sector_check(&sector->entries, salt, sector->number);
    if (hf__write_at(fd, &sector->entries, sizeof sector->entries, sector->file_offset) != 0)
        return hf__fail_os(errno, path, "write");
    return 0;
}

/* ---- what a log touches ------------------------------------------------------------------------ */

/* Read from the log's file, from its base up to `commit`. The records stand there
 * whole, but are proved all the same: a torn one with a true header may stand before one of them. */
int hf__touched_by_log(hf_store *store, uint64_t commit, struct hf__touched *out)
{
    struct hf__log_cursor cursor = {.bytes = NULL};
    struct hf__log_header headers[2];
    struct hf__log_tail tail;
    unsigned valid = 0;
    int found = 1;
    hf__tail_read(store, &tail);
    const int file = (int)(tail.epoch % 2);
    hf__touched_init(out, UINT64_MAX);
    int code = hf__log_headers(store, hf__words(store)->generation, headers, &valid);
    if (code == 0 && ((valid >> file & 1) == 0 || headers[file].epoch != tail.epoch))
        code = hf__corrupt("log.chain", 0);
    if (code != 0)
        return code;
    uint64_t used_end = headers[file].used_end;
    hf__touched_init(out, used_end);
    hf__cursor_set(&cursor, store, file, tail.salt, tail.base, tail.salt, HF__LOG_FIRST);
    cursor.ahead = AHEAD_BYTES; /* up to `commit` it isn't written any more */
    while (cursor.commit < commit && (found = hf__cursor_next(&cursor)) == 1) {
        hf__touched_record(out, hf__cursor_record(&cursor));
        used_end = hf__cursor_record(&cursor)->used_end;
    }
    free(cursor.bytes);
    code = found == 1 ? hf__touched_end(out, used_end, commit)
           : found < 0 ? found
                       : hf__corrupt("log.chain", cursor.end);
    if (code != 0)
        hf__touched_free(out);
    return code;
}

/* ---- writing the table ----------------------------------------------------------------------- */

/* Pages of the segment, read a chunk at a time. */
struct page_reader {
    int fd;
    const char *path;
    uint64_t first, end; /* the pages in memory                                                  */
    unsigned char *bytes;
};

/* The page's bytes; up to `limit` (a page) those behind it are read with it. Beyond the file's end it
 * is zeros. */
static int read_page(struct page_reader *reader, uint64_t page, uint64_t limit,
                     const unsigned char **out)
{
    if (page < reader->first || page >= reader->end) {
        uint64_t count = limit - page < CHUNK_PAGES ? limit - page : CHUNK_PAGES;
        const size_t bytes = (size_t)count * HF__PAGE_BYTES;
        ssize_t n = hf__segment_read(reader->fd, reader->bytes, bytes, page * HF__PAGE_BYTES);
        if (n < 0)
            return hf__fail_os(errno, reader->path, "read");
        memset(reader->bytes + n, 0, bytes - (size_t)n);
        reader->first = page;
        reader->end = page + count;
    }
    *out = reader->bytes + (page - reader->first) * HF__PAGE_BYTES;
    return 0;
}

static int reader_start(struct page_reader *reader, int fd, const char *path)
{
    *reader = (struct page_reader){.fd = fd, .path = path};
    reader->bytes = malloc((size_t)CHUNK_PAGES * HF__PAGE_BYTES);
    return reader->bytes == NULL ? hf__fail(HF_ENOMEM, "reading pages") : 0;
}

/* Up to which page it is worth reading on from runs[0]: to read a few pages in between takes less time
 * than another call. Commits of a few objects touch single pages all over the file. */
static uint64_t reach(const struct hf__page_run *runs, size_t count)
{
    uint64_t end = runs[0].end;
    for (size_t i = 1;
         i < count && runs[i].first <= end + GAP_PAGES && end - runs[0].first < CHUNK_PAGES; i++)
        end = runs[i].end;
    return end;
}

/* Sets the entries of pages [first, end) of one sector; reads on up to `limit`. keep: one that is right
 * keeps its commit. */
static int set_entries(struct page_reader *reader, struct hf__sector *sector, uint64_t salt,
                       uint64_t used_end, const struct hf__page_run *run, uint64_t end,
                       uint64_t limit, bool keep)
{
    for (uint64_t page = run->first; page < end; page++) {
        struct hf__page_entry *entry = &sector->entries.entries[page - sector->first_page];
        const uint64_t used = hf__page_bytes_used(page, used_end);
        const unsigned char *bytes;
        if (used == 0) {
            *entry = (struct hf__page_entry){0, 0};
            continue;
        }
        int code = read_page(reader, page, limit, &bytes);
        if (code != 0)
            return code;
        const uint64_t checksum = hf__page_checksum(bytes, used, salt, page);
        if (!keep || entry->checksum != checksum)
            entry->commit = run->commit;
        entry->checksum = checksum;
    }
    return 0;
}

static int write_runs(int fd, const char *path, uint64_t salt, uint64_t used_end,
                      const struct hf__page_run *runs, size_t count, bool keep)
{
    struct page_reader reader;
    struct hf__sector sector;
    bool open = false;
    int code = reader_start(&reader, fd, path);
    for (size_t i = 0; code == 0 && i < count; i++) {
        struct hf__page_run run = runs[i];
        while (code == 0 && run.first < run.end) {
            if (open && (run.first < sector.first_page ||
                         run.first >= sector.first_page + sector.pages)) {
                code = sector_write(fd, path, salt, &sector);
                open = false;
            }
            if (code == 0 && !open)
                code = hf__sector_read(fd, path, salt, run.first, &sector);
            if (code != 0)
                break;
            open = true;
            const uint64_t sector_end = sector.first_page + sector.pages;
            const uint64_t end = run.end < sector_end ? run.end : sector_end;
            const bool in_memory = run.first >= reader.first && end <= reader.end;
            code = set_entries(&reader, &sector, salt, used_end, &run, end,
                               in_memory ? end : reach(&runs[i], count - i),
                               keep && sector.sound);
            run.first = end;
        }
    }
    if (code == 0 && open)
        code = sector_write(fd, path, salt, &sector);
    free(reader.bytes);
    return code;
}

int hf__pages_write(int fd, const char *path, uint64_t salt, uint64_t used_end,
                    const struct hf__touched *touched)
{
    return HF__BUG(PAGES_NOT_WRITTEN)
               ? 0
               : write_runs(fd, path, salt, used_end, touched->runs, touched->count, false);
}

int hf__pages_write_all(int fd, const char *path, uint64_t salt, uint64_t used_end, uint64_t commit)
{
    const uint64_t end = (used_end + HF__PAGE_BYTES - 1) / HF__PAGE_BYTES;
    const struct hf__page_run all = {0, end, commit};
    return write_runs(fd, path, salt, used_end, &all, 1, true);
}

int hf__pages_set(int fd, const char *path, uint64_t salt, const struct hf__archive_entry *entries,
                  size_t count)
{
    struct hf__sector sector;
    int code = 0;
    for (size_t i = 0; code == 0 && i < count;) {
        code = hf__sector_read(fd, path, salt, entries[i].page, &sector);
        if (code == 0 && !sector.sound)
            code = hf__corrupt("page.table", sector.file_offset);
        for (; code == 0 && i < count && entries[i].page < sector.first_page + sector.pages; i++)
            sector.entries.entries[entries[i].page - sector.first_page] =
                (struct hf__page_entry){entries[i].checksum, entries[i].commit};
        if (code == 0)
            code = sector_write(fd, path, salt, &sector);
    }
    return code;
}

bool hf__sector_half_said(const struct hf__sector *sector)
{
    for (uint32_t i = 0; !sector->sound && i < sector->pages; i++)
        if (hf__entry_is_hole(&sector->entries.entries[i]))
            return true;
    return false;
}

int hf__pages_write_holes(int fd, const char *path, uint64_t salt, uint64_t first, uint64_t end,
                          uint64_t commit, bool again, bool *written)
{
    struct hf__sector sector;
    for (uint64_t page = first; page < end;) {
        int code = hf__sector_read(fd, path, salt, page, &sector);
        bool changed = again || !sector.sound;
        if (code == 0 && !sector.sound && !hf__sector_half_said(&sector))
            code = hf__corrupt("page.table", sector.file_offset);
        for (; code == 0 && page < end && page < sector.first_page + sector.pages; page++) {
            struct hf__page_entry *entry = &sector.entries.entries[page - sector.first_page];
            if (hf__entry_is_hole(entry))
                continue;
            *entry = (struct hf__page_entry){0, commit};
            changed = true;
        }
        if (code == 0 && changed)
            code = sector_write(fd, path, salt, &sector);
        if (code != 0)
            return code;
        *written |= changed;
    }
    return 0;
}
