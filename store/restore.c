/* SPDX-License-Identifier: MIT */
/*
 * restore.c - hf_restore: a store from a full archive and the increments after it
 *
 * The store's file is made under a spare name (create.c). Blocks are written where their pages lie,
 * their entries into the page table, as they come; after each archive the table's checksums must
 * make the digest that the archive says of its state. Only then does the next one count, and only
 * after the last are the header slots written, the file synced and named. Any failure before
 * removes it.
 *
 * Invariants
 *   S1  a page is written only after its checksum was compared, together with its entry
 *   S2  after each archive the file is the state that the archive leads to: same pages, same table
 *   S3  an archive is taken only by the state it was made to follow: store, commit, digest
 */
#include "archive.h"

#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct restoring {
    const hf_restore_options *options;
    const char *const *archives;
    size_t count;
    int fd;
    const char *path;    /* of the store */
    const char *archive; /* being read */
    bool begun;          /* state is one */
    struct hf__archive_header state;
    uint64_t digest[2];   /* of it */
    uint64_t done, total; /* bytes of archives */
    hf_archive_report *report;
};

/* ---- does it fit? ---------------------------------------------------------------------------- */

static int fits_first(const struct restoring *restoring, const struct hf__archive_header *header)
{
    if ((header->flags & HF__ARCHIVE_INCREMENT) == 0)
        return 0;
    return hf__fail_path(HF_EARCHIVE, 0, restoring->archive,
                         "it holds what has changed since commit %llu: a full archive comes first",
                         (unsigned long long)header->from_commit);
}

static int fits_next(const struct restoring *restoring, const struct hf__archive_header *header)
{
    const struct hf__archive_header *state = &restoring->state;
    const char *path = restoring->archive;
    if (memcmp(&header->constants, &state->constants, sizeof header->constants) != 0)
        return hf__fail_path(HF_EARCHIVE, 0, path, "it is of another store than the first archive");
    if ((header->flags & HF__ARCHIVE_INCREMENT) == 0)
        return hf__fail_path(HF_EARCHIVE, 0, path, "it is a full archive: nothing comes before it");
    if (header->from_commit != state->commit)
        return hf__fail_path(HF_EARCHIVE, 0, path,
                             "it holds what has changed since commit %llu, but follows commit %llu",
                             (unsigned long long)header->from_commit,
                             (unsigned long long)state->commit);
    if ((header->flags & HF__ARCHIVE_FROM_DIGEST) != 0 &&
        memcmp(header->from_digest, restoring->digest, sizeof restoring->digest) != 0)
        return hf__fail_path(HF_EARCHIVE, 0, path,
                             "it follows another state of commit %llu than the one restored",
                             (unsigned long long)state->commit);
    return 0;
}

/* ---- what an archive holds ------------------------------------------------------------------- */

static int take_header(void *user, const struct hf__archive_header *header)
{
    struct restoring *restoring = user;
    int code = restoring->begun ? fits_next(restoring, header) : fits_first(restoring, header);
    if (code == 0)
        restoring->state = *header;
    return code;
}

static int take_block(void *user, const struct hf__archive_entry *entries, size_t count,
                      const unsigned char *pages)
{
    struct restoring *restoring = user;
    for (size_t i = 0; i < count;) {
        size_t end = i + 1;
        const bool hole = hf__archive_is_hole(&entries[i]);
        while (end < count && entries[end].page == entries[end - 1].page + 1 &&
               hf__archive_is_hole(&entries[end]) == hole)
            end++;
        const uint64_t from = entries[i].page * HF__PAGE_BYTES, size = (end - i) * HF__PAGE_BYTES;
        /* What an earlier archive had there goes; where that isn't possible, it is overwritten. */
        const bool gone = hole && hf__segment_punch(restoring->fd, from, from + size) == 0;
        if (!gone &&
            hf__segment_write(restoring->fd, pages + i * HF__PAGE_BYTES, size, from) != 0)
            return hf__fail_os(errno, restoring->path, "write");
        i = end;
    }
    return hf__pages_set(restoring->fd, restoring->path, restoring->state.constants.salt, entries,
                         count);
}

static int show(void *user, uint64_t bytes_read)
{
    const struct restoring *restoring = user;
    const hf_restore_options *options = restoring->options;
    if (options->on_progress == NULL ||
        options->on_progress(options->user, restoring->done + bytes_read, restoring->total) == 0)
        return 0;
    return hf__fail(HF_ECANCELLED, "hf_restore");
}

/* ---- the state ------------------------------------------------------------------------------- */

/* The digest of what the table says. */
static int digest_of_table(const struct restoring *restoring, uint64_t out[2])
{
    const uint64_t salt = restoring->state.constants.salt;
    const uint64_t pages = (restoring->state.used_end + HF__PAGE_BYTES - 1) / HF__PAGE_BYTES;
    struct hf__sector sector = {.pages = 0};
    XXH3_state_t *digest;
    int code = hf__digest_new(&digest);
    if (code != 0)
        return code;
    for (uint64_t page = 0; code == 0 && page < pages; page++) {
        if (sector.pages == 0 || page - sector.first_page >= sector.pages)
            code = hf__sector_read(restoring->fd, restoring->path, salt, page, &sector);
        hf__digest_page(digest, page, sector.entries.entries[page - sector.first_page].checksum);
    }
    hf__digest_read(digest, out);
    XXH3_freeState(digest);
    return code;
}

static int take_archive(struct restoring *restoring, const char *path)
{
    const struct hf__archive_sink sink = {restoring, take_header, take_block, show};
    hf_archive_report report, *sum = restoring->report;
    uint64_t digest[2];
    restoring->archive = path;
    int code = hf__archive_read(path, &sink, &report);
    if (code == 0)
        code = digest_of_table(restoring, digest);
    if (code != 0)
        return code;
    if (memcmp(digest, report.digest, sizeof digest) != 0)
        return hf__fail_path(HF_EARCHIVE, 0, path,
                             "with its changes what was restored isn't the state it leads to: it "
                             "follows another state of commit %llu",
                             (unsigned long long)report.from_commit);
    memcpy(restoring->digest, digest, sizeof digest);
    restoring->begun = true;
    restoring->done += report.archive_bytes;
    report.pages += sum->pages;
    report.blocks += sum->blocks;
    report.plain_bytes += sum->plain_bytes;
    report.archive_bytes += sum->archive_bytes;
    *sum = report;
    return 0;
}

/* Length, blocks on the disk, and header slots of what is now a whole state. It is asked first
 * whether the store wants as much room as the archive says. What an earlier archive had above the used
 * end goes: a chunk that was dropped since would still be one there. */
static int finish(const struct restoring *restoring)
{
    const struct hf__archive_header *state = &restoring->state;
    struct hf__segment_header segment;
    if (hf__segment_read(restoring->fd, &segment, sizeof segment, 0) != sizeof segment)
        return hf__fail_os(errno, restoring->path, "read");
    if (segment.magic != HF__SEGMENT_MAGIC || segment.commit != state->commit ||
        segment.heap.used_end != state->used_end || segment.size_bytes != state->size_bytes ||
        memcmp(&segment.constants, &state->constants, sizeof segment.constants) != 0)
        return hf__fail_path(HF_ECORRUPT, 0, restoring->archive,
                             "the archive's header and the store's in it differ");
    if (hf__os->ftruncate(restoring->fd, (off_t)hf__file_bytes(state->used_end)) != 0 ||
        hf__os->ftruncate(restoring->fd, (off_t)hf__file_bytes(state->size_bytes)) != 0)
        return hf__fail_os(errno, restoring->path, "ftruncate");
    if (hf__space_allocate(restoring->fd, &segment, state->size_bytes) != 0)
        return hf__fail_os(errno, restoring->path, "allocating");
    return hf__header_write_first(restoring->fd, restoring->path, &state->constants,
                                  state->size_bytes, state->used_end);
}

static int write_store(int fd, const char *path, const void *what)
{
    struct restoring restoring = *(const struct restoring *)what;
    int code = 0;
    restoring.fd = fd;
    restoring.path = path;
    for (size_t i = 0; code == 0 && i < restoring.count; i++)
        code = take_archive(&restoring, restoring.archives[i]);
    return code == 0 ? finish(&restoring) : code;
}

int hf_restore(const char *to_path, const char *const *archives, size_t count,
               const hf_restore_options *options, hf_archive_report *report)
{
    static const hf_restore_options defaults = HF_RESTORE_OPTIONS_INIT;
    hf_archive_report own = {0};
    struct restoring restoring = {.options = options == NULL ? &defaults : options,
                                  .archives = archives,
                                  .count = count,
                                  .report = &own};
    struct stat st;
    if (to_path == NULL || archives == NULL || count == 0 || restoring.options->permissions > 07777)
        return hf__fail(HF_EINVAL, "hf_restore");
    /* The rename would find it, too, but only after the work. */
    if (hf__os->stat(to_path, &st) == 0)
        return hf__fail_path(HF_EEXIST, 0, to_path, "it is never replaced");
    for (size_t i = 0; i < count; i++) {
        if (archives[i] == NULL)
            return hf__fail(HF_EINVAL, "hf_restore");
        if (hf__os->stat(archives[i], &st) == 0 && S_ISREG(st.st_mode))
            restoring.total += (uint64_t)st.st_size;
    }
    int code = hf__create_with(to_path, restoring.options->permissions, write_store, &restoring);
    if (code == 0 && report != NULL)
        *report = own;
    return code;
}
