/* SPDX-License-Identifier: MIT */
/*
 * archive.c - hf_archive_write: a state of a live store as a stream
 *
 * The state is walked in stretches, in the order of its pages. For each page the page table says
 * checksum and date, unless it was touched since the table's base; which pages go in follows from
 * the dates. Those of a stretch become a block, compressed apart from all others; checksums of all
 * pages of the state, in the archive or not, go into the digest.
 *
 * Invariants
 *   W1  the pages of an increment are all that differ between its two states: a page that isn't in
 *       it was last changed by a commit that the earlier state has
 *   W2  nothing is written twice and nothing is sought: fd may be a pipe
 *   W3  the digest in the trailer is that of the state, whatever the archive holds of it
 */
#include "archive.h"

#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX   8u
#define LEVEL_DEFAULT 3
#define LEVEL_MAX     19

struct writing {
    struct hf__source source;
    struct hf__archive_header header;
    const hf_archive_options *options;
    hf_archive_report *report;
    int fd;
    struct hf__packer *packer;
    XXH3_state_t *digest, *stream; /* of the state; of all bytes written                          */
    struct hf__seek_entry *frames;
    size_t frame_count, frame_room;
    struct hf__sector sector; /* of the page table */
    bool sector_open;
    uint64_t pages_done;
};

int hf__digest_new(XXH3_state_t **out)
{
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL)
        return hf__fail(HF_ENOMEM, "a digest");
    XXH3_128bits_reset(state);
    *out = state;
    return 0;
}

__attribute__((noinline)) void hf__digest_bytes(XXH3_state_t *digest, const void *bytes,
                                                size_t size_bytes)
{
    XXH3_128bits_update(digest, bytes, size_bytes);
}

uint64_t hf__archive_block_check(uint64_t salt, uint64_t number,
                                 const struct hf__archive_entry *entries, uint64_t count)
{
    return hf__hash(entries, (size_t)count * sizeof *entries, salt ^ number);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static int put(struct writing *writing, const void *bytes, size_t size_bytes)
{
    if (hf__write_next(writing->fd, bytes, size_bytes) != 0)
        return hf__fail_os(errno, "the archive", "write");
    hf__digest_bytes(writing->stream, bytes, size_bytes);
    writing->report->archive_bytes += size_bytes;
    return 0;
}

/* For the seek table. */
static int note_frame(struct writing *writing, size_t packed_bytes, size_t plain_bytes)
{
    if (writing->frame_count == writing->frame_room) {
        const size_t room = writing->frame_room == 0 ? 256 : writing->frame_room * 2;
        struct hf__seek_entry *frames = realloc(writing->frames, room * sizeof *frames);
        if (frames == NULL)
            return hf__fail(HF_ENOMEM, "the archive's seek table");
        writing->frames = frames;
        writing->frame_room = room;
    }
    writing->frames[writing->frame_count++] =
        (struct hf__seek_entry){(uint32_t)packed_bytes, (uint32_t)plain_bytes};
    return 0;
}

static int put_skippable(struct writing *writing, const void *content, uint32_t size_bytes)
{
    const struct hf__skippable frame = {HF__ARCHIVE_FRAME, size_bytes};
    int code = put(writing, &frame, sizeof frame);
    if (code == 0)
        code = put(writing, content, size_bytes);
    return code != 0 ? code : note_frame(writing, sizeof frame + size_bytes, 0);
}

static int put_trailer(struct writing *writing)
{
    const hf_archive_report *report = writing->report;
    struct hf__archive_trailer trailer = {
        .magic = HF__ARCHIVE_TRAILER_MAGIC, .blocks = report->blocks, .pages = report->pages};
    hf__digest_read(writing->digest, trailer.digest);
    hf__digest_read(writing->stream, trailer.stream);
    memcpy(writing->report->digest, trailer.digest, sizeof trailer.digest);
    trailer.check = hf__hash(&trailer, offsetof(struct hf__archive_trailer, check), 0);
    return put_skippable(writing, &trailer, sizeof trailer);
}

static int put_seek_table(struct writing *writing)
{
    const size_t entries = writing->frame_count * sizeof *writing->frames;
    const struct hf__skippable frame = {HF__SEEK_FRAME,
                                        (uint32_t)(entries + HF__SEEK_FOOTER_BYTES)};
    const uint32_t count = (uint32_t)writing->frame_count, magic = HF__SEEK_MAGIC;
    unsigned char footer[HF__SEEK_FOOTER_BYTES] = {0};
    memcpy(footer, &count, sizeof count);
    memcpy(footer + 5, &magic, sizeof magic);
    int code = put(writing, &frame, sizeof frame);
    if (code == 0)
        code = put(writing, writing->frames, entries);
    return code != 0 ? code : put(writing, footer, sizeof footer);
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* A sector that was torn keeps its check wrong until a recovery, and says the truth all the same of
 * pages that weren't touched (T2); but then one that was touched has its entry there. */
static int judge_sector(const struct writing *writing)
{
    const struct hf__source *source = &writing->source;
    const struct hf__sector *sector = &writing->sector;
    if (sector->sound || hf__sector_half_said(sector))
        return 0;
    for (uint64_t page = sector->first_page; page < sector->first_page + sector->pages; page++)
        if (!hf__source_known(source, page))
            return 0;
    (void)hf__corrupt("page.table", sector->file_offset);
    return hf__fail_path(HF_ECORRUPT, 0, source->store->path,
                         "a sector of the page table, at byte %llu of the file",
                         (unsigned long long)sector->file_offset);
}

/* The entry of a page that the table knows. */
static int entry_of(struct writing *writing, uint64_t page, struct hf__page_entry *out)
{
    const hf_store *store = writing->source.store;
    if (!writing->sector_open || page - writing->sector.first_page >= writing->sector.pages) {
        int code = hf__sector_read_steady(store->fd, store->path, store->constants.salt, page,
                                          &writing->sector);
        if (code != 0)
            return code;
        writing->sector_open = true;
        code = judge_sector(writing);
        if (code != 0)
            return code;
    }
    *out = writing->sector.entries.entries[page - writing->sector.first_page];
    if (out->checksum != 0 || hf__entry_is_hole(out))
        return 0;
    (void)hf__corrupt("page.table", writing->sector.file_offset);
    return hf__fail_path(HF_ECORRUPT, 0, store->path, "the page table has no entry for page %llu",
                         (unsigned long long)page);
}

/* When a page that was touched since the base was changed last, or later. */
static uint64_t touched_commit(const struct hf__source *source, uint64_t page)
{
    const struct hf__page_run *runs = source->truth.touched.runs;
    size_t low = 0, high = source->truth.touched.count;
    while (low + 1 < high) {
        const size_t middle = low + (high - low) / 2;
        if (runs[middle].first <= page)
            low = middle;
        else
            high = middle;
    }
    return source->truth.stale || runs[low].commit > source->commit ? source->commit
                                                                    : runs[low].commit;
}

/* Which pages of the stretch from page `at` on go in; returns where the next one begins. */
static int fill_stretch(struct writing *writing, struct hf__stretch *stretch, uint64_t at)
{
    const struct hf__source *source = &writing->source;
    const bool all = (writing->header.flags & HF__ARCHIVE_INCREMENT) == 0;
    const uint64_t since = writing->header.from_commit;
    stretch->first = at;
    while (at < source->pages && stretch->count < HF__STRETCH_PAGES &&
           stretch->taken < HF__ARCHIVE_BLOCK_PAGES) {
        struct hf__stretch_page *page = &stretch->pages[stretch->count++];
        struct hf__page_entry entry = {0, 0};
        if (hf__source_known(source, at)) {
            int code = entry_of(writing, at, &entry);
            if (code != 0)
                return code;
            /* Of a torn sector only the checksum can be trusted, by its page: that goes in. */
            const uint64_t commit = writing->sector.sound ? entry.commit : source->commit;
            /* A hole may be of the commit that comes next (space.c), which isn't archived. */
            *page = (struct hf__stretch_page){entry.checksum,
                                              commit < source->commit ? commit : source->commit,
                                              all || commit > since || !writing->sector.sound,
                                              hf__entry_is_hole(&entry)};
        } else {
            const uint64_t commit = touched_commit(source, at);
            /* Its checksum is needed anyway, so one that the earlier state has goes in, too. */
            *page = (struct hf__stretch_page){0, commit, true, false};
        }
        stretch->taken += page->taken;
        at++;
    }
    stretch->block = writing->report->blocks;
    writing->report->blocks += stretch->taken != 0;
    return 0;
}

static int put_stretch(struct writing *writing, const struct hf__stretch *stretch)
{
    const hf_archive_options *options = writing->options;
    if (stretch->code != 0)
        return hf__fail_again(&stretch->failure);
    for (uint64_t i = 0; i < stretch->count; i++)
        hf__digest_page(writing->digest, stretch->first + i, stretch->pages[i].checksum);
    int code = 0;
    if (stretch->taken != 0)
        code = put(writing, stretch->packed, stretch->packed_bytes);
    if (code == 0 && stretch->taken != 0)
        code = note_frame(writing, stretch->packed_bytes, stretch->plain_bytes);
    writing->report->pages += stretch->taken;
    writing->pages_done += stretch->count;
    if (code == 0 && options->on_progress != NULL &&
        options->on_progress(options->user, writing->pages_done * HF__PAGE_BYTES,
                             writing->source.pages * HF__PAGE_BYTES) != 0)
        code = hf__fail(HF_ECANCELLED, "hf_archive_write");
    return code;
}

static int put_pages(struct writing *writing)
{
    uint64_t at = 0;
    int code = 0;
    while (code == 0) {
        struct hf__stretch *next =
            at < writing->source.pages ? hf__packer_give(writing->packer) : NULL;
        if (next != NULL) {
            code = fill_stretch(writing, next, at);
            at += next->count;
            if (code == 0)
                hf__packer_push(writing->packer);
            continue;
        }
        const struct hf__stretch *done = hf__packer_take(writing->packer);
        if (done == NULL)
            break;
        code = put_stretch(writing, done);
    }
    return code;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int since_archive(struct writing *writing, const char *path)
{
    const hf_store *store = writing->source.store;
    struct hf__archive_header before;
    struct hf__archive_trailer trailer;
    int code = hf__archive_ends(path, &before, &trailer);
    if (code != 0)
        return code;
    if (memcmp(before.constants.uuid, store->constants.uuid, sizeof before.constants.uuid) != 0)
        return hf__fail_path(HF_EARCHIVE, 0, path, "it is of another store");
    writing->header.flags |= HF__ARCHIVE_INCREMENT | HF__ARCHIVE_FROM_DIGEST;
    writing->header.from_commit = before.commit;
    memcpy(writing->header.from_digest, trailer.digest, sizeof trailer.digest);
    return 0;
}

static int make_header(struct writing *writing)
{
    const struct hf__source *source = &writing->source;
    const hf_archive_options *options = writing->options;
    struct hf__archive_header *header = &writing->header;
    *header = (struct hf__archive_header){.magic = HF__ARCHIVE_MAGIC,
                                          .byte_order = HF__BYTE_ORDER,
                                          .version = HF__ARCHIVE_VERSION,
                                          .page_bytes = HF__PAGE_BYTES,
                                          .commit = source->commit,
                                          .used_end = source->used_end,
                                          .size_bytes = source->size_bytes,
                                          .created_ns = hf__os->wall_ns(),
                                          .constants = source->store->constants};
    if (options->since != 0) {
        header->flags |= HF__ARCHIVE_INCREMENT;
        header->from_commit = options->since_commit;
    }
    int code = options->since_archive != NULL ? since_archive(writing, options->since_archive) : 0;
    if (code != 0)
        return code;
    if (header->flags != 0 && source->truth.stale)
        return hf__fail_path(
            HF_ENOTSUP, 0, source->store->path,
            "a store of the direct engine that is in use has no dates of its pages");
    if (header->from_commit > header->commit)
        return hf__fail_path(HF_EINVAL, 0, source->store->path, "it is at commit %llu, before %llu",
                             (unsigned long long)header->commit,
                             (unsigned long long)header->from_commit);
    header->check = hf__hash(header, offsetof(struct hf__archive_header, check), 0);
    return 0;
}

static uint32_t threads_of(const hf_archive_options *options)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (options->threads != 0)
        return options->threads;
    return cores < 1 ? 1 : cores > (long)THREADS_MAX ? THREADS_MAX : (uint32_t)cores;
}

static int write_all(struct writing *writing)
{
    const hf_archive_options *options = writing->options;
    hf_archive_report *report = writing->report;
    const uint32_t threads = threads_of(options);
    int code = make_header(writing);
    if (code == 0)
        code = hf__digest_new(&writing->digest);
    if (code == 0)
        code = hf__digest_new(&writing->stream);
    if (code == 0)
        code =
            hf__packer_new(&writing->source, options->level == 0 ? LEVEL_DEFAULT : options->level,
                           threads > 1 ? threads : 0, &writing->packer);
    if (code != 0)
        return code;
    report->threads = hf__packer_threads(writing->packer) + 1;
    code = put_skippable(writing, &writing->header, sizeof writing->header);
    if (code == 0)
        code = put_pages(writing);
    if (code == 0)
        code = put_trailer(writing);
    return code != 0 ? code : put_seek_table(writing);
}

static void tell(const struct writing *writing, uint64_t since_ns)
{
    hf_archive_report *report = writing->report;
    const struct hf__archive_header *header = &writing->header;
    memcpy(report->uuid, header->constants.uuid, sizeof report->uuid);
    report->is_increment = (header->flags & HF__ARCHIVE_INCREMENT) != 0;
    report->from_commit = header->from_commit;
    report->commit = header->commit;
    report->pages_total = writing->source.pages;
    report->plain_bytes = report->pages * HF__PAGE_BYTES;
    report->view_ns = hf__os->now_ns() - since_ns;
}

int hf_archive_write(hf_store *store, int fd, const hf_archive_options *options,
                     hf_archive_report *report)
{
    static const hf_archive_options defaults = HF_ARCHIVE_OPTIONS_INIT;
    hf_archive_report own = {0};
    struct writing writing = {
        .options = options == NULL ? &defaults : options, .report = &own, .fd = fd};
    if (store == NULL || fd < 0 || writing.options->level < 0 || writing.options->level > LEVEL_MAX)
        return hf__fail(HF_EINVAL, "hf_archive_write");
    const uint64_t since_ns = hf__os->now_ns();
    int code = hf__source_open(store, &writing.source);
    if (code != 0)
        return code;
    code = write_all(&writing);
    hf__packer_free(writing.packer);
    hf__source_close(&writing.source);
    tell(&writing, since_ns);
    XXH3_freeState(writing.digest);
    XXH3_freeState(writing.stream);
    free(writing.frames);
    if (code == 0 && report != NULL)
        *report = own;
    return code;
}
