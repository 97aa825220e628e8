/* SPDX-License-Identifier: MIT */
/*
 * archive_read.c - an archive read from its first byte to its last, and proved
 *
 * It may come from a pipe: bytes are read in order, once, into a window from which frames are
 * taken. What is in a block is handed on only when the block is proved; the archive as a whole
 * counts only when this has returned 0, since the trailer says how much it should have been.
 *
 * Invariants
 *   A1  every byte is compared with something: those before the trailer with its digest of them,
 *       the trailer with its check, the seek table with the frames that were met; behind it there
 *       is none
 *   A2  memory doesn't grow with what the bytes claim, but for 8 bytes a frame that was read
 *   A3  pages of a block that is handed on have the checksums that its entries say, or are holes and zero
 */
#include "archive.h"

#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#define WINDOW_BYTES ((size_t)256 << 10)
#define WINDOW_LOG_MAX                                                                             \
    21 /* a block is little over a MiB */

struct hf__archive_reader {
    const char *path;
    int fd;
    unsigned char *window;
    size_t at, end; /* what of it isn't taken yet */
    uint64_t taken; /* bytes of the archive */
    XXH3_state_t *stream, *digest;
    ZSTD_DCtx *zstd;
    unsigned char *plain; /* a block */
    struct hf__archive_header header;
    struct hf__seek_entry *frames;
    size_t frame_count, frame_room;
    uint64_t blocks, pages, next_page, pages_total;
    const struct hf__archive_sink *sink;
};

static int damaged(const struct hf__archive_reader *reader, const char *what)
{
    return hf__fail_path(HF_ECORRUPT, 0, reader->path, "%s, before byte %llu of the archive", what,
                         (unsigned long long)reader->taken);
}

static int cut_short(const struct hf__archive_reader *reader)
{
    return hf__fail_path(HF_ETRUNCATED, 0, reader->path, "the archive ends after %llu bytes",
                         (unsigned long long)reader->taken);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* At least `wanted` bytes in the window, fewer at the end. */
static int fill(struct hf__archive_reader *reader, size_t wanted)
{
    if (reader->end - reader->at >= wanted)
        return 0;
    memmove(reader->window, reader->window + reader->at, reader->end - reader->at);
    reader->end -= reader->at;
    reader->at = 0;
    ssize_t n = hf__read_next(reader->fd, reader->window + reader->end, WINDOW_BYTES - reader->end);
    if (n < 0 && errno == EISDIR)
        return hf__fail_path(HF_EARCHIVE, 0, reader->path, "it is a directory");
    if (n < 0)
        return hf__fail_os(errno, reader->path, "read");
    reader->end += (size_t)n;
    return 0;
}

static void advance(struct hf__archive_reader *reader, size_t size_bytes)
{
    hf__digest_bytes(reader->stream, reader->window + reader->at, size_bytes);
    reader->at += size_bytes;
    reader->taken += size_bytes;
}

/* The next bytes; fewer than a window. */
static int take(struct hf__archive_reader *reader, void *out, size_t size_bytes)
{
    int code = fill(reader, size_bytes);
    if (code != 0)
        return code;
    if (reader->end - reader->at < size_bytes)
        return cut_short(reader);
    memcpy(out, reader->window + reader->at, size_bytes);
    advance(reader, size_bytes);
    return 0;
}

/* The next frame's first four bytes; 0 at the end. */
static int peek(struct hf__archive_reader *reader, uint32_t *magic)
{
    int code = fill(reader, sizeof *magic);
    *magic = 0;
    if (code == 0 && reader->end - reader->at >= sizeof *magic)
        memcpy(magic, reader->window + reader->at, sizeof *magic);
    return code;
}

static int note_frame(struct hf__archive_reader *reader, uint64_t packed_bytes, size_t plain_bytes)
{
    if (reader->frame_count == reader->frame_room) {
        const size_t room = reader->frame_room == 0 ? 256 : reader->frame_room * 2;
        struct hf__seek_entry *frames = realloc(reader->frames, room * sizeof *frames);
        if (frames == NULL)
            return hf__fail(HF_ENOMEM, "an archive's frames");
        reader->frames = frames;
        reader->frame_room = room;
    }
    reader->frames[reader->frame_count++] =
        (struct hf__seek_entry){(uint32_t)packed_bytes, (uint32_t)plain_bytes};
    return 0;
}

/* ---- header ---------------------------------------------------------------------------------- */

static int judge_header(const char *path, const struct hf__archive_header *header)
{
    const uint32_t known = HF__ARCHIVE_INCREMENT | HF__ARCHIVE_FROM_DIGEST;
    if (header->magic == __builtin_bswap64(HF__ARCHIVE_MAGIC))
        return hf__fail_path(HF_EENDIAN, 0, path, "in the archive's header");
    if (header->magic != HF__ARCHIVE_MAGIC)
        return hf__fail_path(HF_EARCHIVE, 0, path, "it is not an archive of a store");
    if (header->check != hf__hash(header, offsetof(struct hf__archive_header, check), 0))
        return hf__fail_path(HF_ECORRUPT, 0, path, "the archive's header");
    if (header->version > HF__ARCHIVE_VERSION || (header->flags & ~known) != 0)
        return hf__fail_path(HF_ENEWER, 0, path, "in the archive's header");
    if (header->page_bytes != HF__PAGE_BYTES)
        return hf__fail_path(HF_EPAGESIZE, 0, path, "in the archive's header");
    if (header->byte_order != HF__BYTE_ORDER || !hf__constants_ok(&header->constants) ||
        header->used_end < HF__FIRST_BLOCK || header->used_end > header->size_bytes ||
        header->size_bytes > header->constants.size_max_bytes ||
        header->from_commit > header->commit)
        return hf__fail_path(HF_ECORRUPT, 0, path, "the archive's header");
    return 0;
}

static int read_header(struct hf__archive_reader *reader)
{
    struct hf__skippable frame;
    int code = fill(reader, sizeof frame + sizeof reader->header);
    if (code != 0)
        return code;
    const size_t have = reader->end - reader->at;
    memset(&frame, 0, sizeof frame);
    memcpy(&frame, reader->window + reader->at, have < sizeof frame ? have : sizeof frame);
    if (frame.magic != HF__ARCHIVE_FRAME || frame.size_bytes != sizeof reader->header)
        return hf__fail_path(HF_EARCHIVE, 0, reader->path, "it is not an archive of a store");
    code = take(reader, &frame, sizeof frame);
    if (code == 0)
        code = take(reader, &reader->header, sizeof reader->header);
    if (code == 0)
        code = judge_header(reader->path, &reader->header);
    if (code == 0)
        code = note_frame(reader, reader->taken, 0);
    reader->pages_total = (reader->header.used_end + HF__PAGE_BYTES - 1) / HF__PAGE_BYTES;
    return code;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* One frame into plain; no byte behind it is taken. */
static int unpack(struct hf__archive_reader *reader, size_t *plain_bytes)
{
    ZSTD_outBuffer out = {reader->plain, HF__ARCHIVE_BLOCK_BYTES, 0};
    ZSTD_DCtx_reset(reader->zstd, ZSTD_reset_session_only);
    for (;;) {
        int code = fill(reader, 1);
        if (code != 0)
            return code;
        ZSTD_inBuffer in = {reader->window + reader->at, reader->end - reader->at, 0};
        if (in.size == 0)
            return cut_short(reader);
        const size_t before = out.pos, left = ZSTD_decompressStream(reader->zstd, &out, &in);
        if (ZSTD_isError(left))
            return damaged(reader, ZSTD_getErrorName(left));
        advance(reader, in.pos);
        if (left == 0)
            break;
        if (in.pos == 0 && out.pos == before)
            return damaged(reader, "a block that is too large");
    }
    *plain_bytes = out.pos;
    return 0;
}

static int prove_pages(struct hf__archive_reader *reader, const struct hf__archive_entry *entries,
                       uint64_t count, const unsigned char *pages)
{
    const struct hf__archive_header *header = &reader->header;
    static const unsigned char zeros[HF__PAGE_BYTES];
    const bool all = (header->flags & HF__ARCHIVE_INCREMENT) == 0;
    for (uint64_t i = 0; i < count; i++) {
        const struct hf__archive_entry *entry = &entries[i];
        if (entry->page < reader->next_page || entry->page >= reader->pages_total ||
            (all && entry->page != reader->next_page) || entry->commit > header->commit)
            return damaged(reader, "a page that doesn't belong there");
        const uint64_t used = hf__page_bytes_used(entry->page, header->used_end);
        const unsigned char *bytes = pages + i * HF__PAGE_BYTES;
        if (hf__archive_is_hole(entry) ? memcmp(bytes, zeros, sizeof zeros) != 0
                                       : entry->checksum != hf__page_checksum(bytes, used,
                                                                              header->constants.salt,
                                                                              entry->page))
            return damaged(reader, "a page that isn't what its checksum says");
        hf__digest_page(reader->digest, entry->page, entry->checksum);
        reader->next_page = entry->page + 1;
    }
    return 0;
}

static int read_block(struct hf__archive_reader *reader)
{
    const uint64_t start = reader->taken;
    size_t plain_bytes = 0;
    int code = unpack(reader, &plain_bytes);
    if (code != 0)
        return code;
    const struct hf__archive_block *block = (const void *)reader->plain;
    const struct hf__archive_entry *entries = (const void *)(block + 1);
    if (plain_bytes < sizeof *block || block->magic != HF__ARCHIVE_BLOCK_MAGIC ||
        block->number != reader->blocks || block->page_count == 0 ||
        block->page_count > HF__ARCHIVE_BLOCK_PAGES ||
        plain_bytes != sizeof *block + block->page_count * (sizeof *entries + HF__PAGE_BYTES) ||
        block->check != hf__archive_block_check(reader->header.constants.salt, block->number,
                                                entries, block->page_count))
        return damaged(reader, "a block that isn't one");
    const unsigned char *pages = (const unsigned char *)(entries + block->page_count);
    code = prove_pages(reader, entries, block->page_count, pages);
    if (code == 0)
        code = note_frame(reader, reader->taken - start, plain_bytes);
    if (code != 0)
        return code;
    reader->blocks++;
    reader->pages += block->page_count;
    return reader->sink->block == NULL
               ? 0
               : reader->sink->block(reader->sink->user, entries, (size_t)block->page_count, pages);
}

/* ---- the end --------------------------------------------------------------------------------- */

static bool trailer_ok(const struct hf__archive_trailer *trailer)
{
    return trailer->magic == HF__ARCHIVE_TRAILER_MAGIC &&
           trailer->check == hf__hash(trailer, offsetof(struct hf__archive_trailer, check), 0);
}

static int read_trailer(struct hf__archive_reader *reader, struct hf__archive_trailer *trailer)
{
    struct hf__skippable frame;
    uint64_t stream[2], digest[2];
    hf__digest_read(reader->stream, stream);
    hf__digest_read(reader->digest, digest);
    int code = take(reader, &frame, sizeof frame);
    if (code == 0 && frame.size_bytes != sizeof *trailer)
        code = damaged(reader, "its trailer");
    if (code == 0)
        code = take(reader, trailer, sizeof *trailer);
    if (code != 0)
        return code;
    if (!trailer_ok(trailer) || trailer->blocks != reader->blocks ||
        trailer->pages != reader->pages || memcmp(trailer->stream, stream, sizeof stream) != 0)
        return damaged(reader, "bytes that its trailer doesn't confirm");
    const bool all = (reader->header.flags & HF__ARCHIVE_INCREMENT) == 0;
    if (all && (reader->pages != reader->pages_total ||
                memcmp(trailer->digest, digest, sizeof digest) != 0))
        return damaged(reader, "pages that don't make the state it says");
    return note_frame(reader, sizeof frame + sizeof *trailer, 0);
}

static int expect(struct hf__archive_reader *reader, const void *bytes, size_t size_bytes)
{
    unsigned char found[sizeof(struct hf__seek_entry) + HF__SEEK_FOOTER_BYTES];
    int code = take(reader, found, size_bytes);
    if (code == 0 && memcmp(found, bytes, size_bytes) != 0)
        code = damaged(reader, "its seek table");
    return code;
}

static int read_seek_table(struct hf__archive_reader *reader)
{
    const size_t count = reader->frame_count;
    const struct hf__skippable frame = {
        HF__SEEK_FRAME, (uint32_t)(count * sizeof *reader->frames + HF__SEEK_FOOTER_BYTES)};
    const uint32_t count32 = (uint32_t)count, magic = HF__SEEK_MAGIC;
    unsigned char footer[HF__SEEK_FOOTER_BYTES] = {0};
    memcpy(footer, &count32, sizeof count32);
    memcpy(footer + 5, &magic, sizeof magic);
    int code = expect(reader, &frame, sizeof frame);
    for (size_t i = 0; code == 0 && i < count; i++)
        code = expect(reader, &reader->frames[i], sizeof reader->frames[i]);
    if (code == 0)
        code = expect(reader, footer, sizeof footer);
    if (code == 0)
        code = fill(reader, 1);
    if (code == 0 && reader->end != reader->at)
        code = damaged(reader, "bytes behind its end");
    return code;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* By its descriptor: a socket, or a file that one may not open anew, has no other way in. */
static bool is_stdin(const char *path)
{
    return strcmp(path, "/dev/stdin") == 0;
}

static void dispose(struct hf__archive_reader *reader)
{
    if (reader->fd >= 0 && !is_stdin(reader->path))
        hf__os->close(reader->fd);
    XXH3_freeState(reader->stream);
    XXH3_freeState(reader->digest);
    ZSTD_freeDCtx(reader->zstd);
    free(reader->window);
    free(reader->plain);
    free(reader->frames);
}

static int prepare(struct hf__archive_reader *reader)
{
    reader->fd = is_stdin(reader->path) ? STDIN_FILENO
                                        : hf__os->open(reader->path, O_RDONLY | O_CLOEXEC, 0);
    if (reader->fd < 0)
        return hf__fail_os(errno, reader->path, "open");
    int code = hf__digest_new(&reader->stream);
    if (code == 0)
        code = hf__digest_new(&reader->digest);
    if (code != 0)
        return code;
    reader->window = malloc(WINDOW_BYTES);
    reader->plain = malloc(HF__ARCHIVE_BLOCK_BYTES);
    reader->zstd = ZSTD_createDCtx();
    if (reader->window == NULL || reader->plain == NULL || reader->zstd == NULL ||
        ZSTD_isError(ZSTD_DCtx_setParameter(reader->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
        return hf__fail(HF_ENOMEM, "reading an archive");
    return 0;
}

static int read_all(struct hf__archive_reader *reader, struct hf__archive_trailer *trailer)
{
    const struct hf__archive_sink *sink = reader->sink;
    int code = prepare(reader);
    if (code == 0)
        code = read_header(reader);
    if (code == 0 && sink->header != NULL)
        code = sink->header(sink->user, &reader->header);
    while (code == 0) {
        uint32_t magic;
        code = peek(reader, &magic);
        if (code != 0 || magic == HF__ARCHIVE_FRAME)
            break;
        code = magic == ZSTD_MAGICNUMBER ? read_block(reader)
               : magic == 0 && reader->end - reader->at < sizeof magic
                   ? cut_short(reader)
                   : damaged(reader, "a frame of another kind");
        if (code == 0 && sink->progress != NULL)
            code = sink->progress(sink->user, reader->taken);
    }
    if (code == 0)
        code = read_trailer(reader, trailer);
    return code != 0 ? code : read_seek_table(reader);
}

int hf__archive_read(const char *path, const struct hf__archive_sink *sink,
                     hf_archive_report *report)
{
    struct hf__archive_reader reader = {.path = path, .fd = -1, .sink = sink};
    struct hf__archive_trailer trailer = {0};
    int code = read_all(&reader, &trailer);
    dispose(&reader);
    if (code != 0)
        return code;
    const struct hf__archive_header *header = &reader.header;
    memset(report, 0, sizeof *report);
    memcpy(report->uuid, header->constants.uuid, sizeof report->uuid);
    memcpy(report->digest, trailer.digest, sizeof report->digest);
    report->is_increment = (header->flags & HF__ARCHIVE_INCREMENT) != 0;
    report->threads = 1;
    report->from_commit = header->from_commit;
    report->commit = header->commit;
    report->pages = reader.pages;
    report->pages_total = reader.pages_total;
    report->blocks = reader.blocks;
    report->plain_bytes = reader.pages * HF__PAGE_BYTES;
    report->archive_bytes = reader.taken;
    return 0;
}

static int read_at(int fd, const char *path, void *out, size_t size_bytes, uint64_t offset)
{
    ssize_t n = hf__read_at(fd, out, size_bytes, offset);
    if (n < 0)
        return hf__fail_os(errno, path, "read");
    return n == (ssize_t)size_bytes
               ? 0
               : hf__fail_path(HF_ETRUNCATED, 0, path, "the archive is cut short");
}

static int read_ends(int fd, const char *path, struct hf__archive_header *header,
                     struct hf__archive_trailer *trailer)
{
    struct hf__skippable frame;
    struct stat st;
    uint32_t count = 0;
    if (hf__os->fstat(fd, &st) != 0)
        return hf__fail_os(errno, path, "fstat");
    if (!S_ISREG(st.st_mode)) /* its end is read first */
        return hf__fail_path(HF_EARCHIVE, 0, path, "it is not a regular file");
    const uint64_t size = (uint64_t)st.st_size;
    int code = read_at(fd, path, &frame, sizeof frame, 0);
    if (code == 0 && (frame.magic != HF__ARCHIVE_FRAME || frame.size_bytes != sizeof *header))
        code = hf__fail_path(HF_EARCHIVE, 0, path, "it is not an archive of a store");
    if (code == 0)
        code = read_at(fd, path, header, sizeof *header, sizeof frame);
    if (code == 0)
        code = judge_header(path, header);
    if (code == 0)
        code = read_at(fd, path, &count, sizeof count, size - HF__SEEK_FOOTER_BYTES);
    if (code != 0)
        return code;
    const uint64_t behind = sizeof frame + (uint64_t)count * sizeof(struct hf__seek_entry) +
                            HF__SEEK_FOOTER_BYTES + sizeof *trailer;
    if (behind > size)
        return hf__fail_path(HF_ETRUNCATED, 0, path, "the archive is cut short");
    code = read_at(fd, path, trailer, sizeof *trailer, size - behind);
    if (code == 0 && !trailer_ok(trailer))
        code = hf__fail_path(HF_ETRUNCATED, 0, path,
                             "the archive's trailer is not where it should be");
    return code;
}

int hf__archive_ends(const char *path, struct hf__archive_header *header,
                     struct hf__archive_trailer *trailer)
{
    /* A pipe is refused, not waited for. */
    int fd = hf__os->open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0)
        return hf__fail_os(errno, path, "open");
    int code = read_ends(fd, path, header, trailer);
    hf__os->close(fd);
    return code;
}

/* ---- hf_archive_verify ----------------------------------------------------------------------- */

struct verifying {
    const hf_archive_options *options;
    uint64_t total;
};

static int verify_progress(void *user, uint64_t bytes_read)
{
    const struct verifying *verifying = user;
    const hf_archive_options *options = verifying->options;
    return options->on_progress(options->user, bytes_read, verifying->total) == 0
               ? 0
               : hf__fail(HF_ECANCELLED, "hf_archive_verify");
}

int hf_archive_verify(const char *path, const hf_archive_options *options,
                      hf_archive_report *report)
{
    struct verifying verifying = {.options = options};
    struct hf__archive_sink sink = {.user = &verifying};
    hf_archive_report own;
    struct stat st;
    if (path == NULL)
        return hf__fail(HF_EINVAL, "hf_archive_verify");
    if (options != NULL && options->on_progress != NULL)
        sink.progress = verify_progress;
    if (hf__os->stat(path, &st) == 0 && S_ISREG(st.st_mode))
        verifying.total = (uint64_t)st.st_size;
    int code = hf__archive_read(path, &sink, &own);
    if (code == 0 && report != NULL)
        *report = own;
    return code;
}
