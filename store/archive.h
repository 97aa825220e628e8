/* SPDX-License-Identifier: MIT */
/*
 * archive.h - archives: a state of a store as a stream, and back
 *
 *   archive_source.c  one state of a live store, held still and read page by page
 *   archive.c         hf_archive_write: which pages go in, the frames around them
 *   archive_pack.c    blocks read and compressed by several threads, in order
 *   archive_read.c    an archive read and proved; hf_archive_verify
 *   restore.c         hf_restore
 *
 * docs/archive.md says why the state is one commit's, and why a chain of archives fits or is
 * refused.
 */
#ifndef HF_STORE_ARCHIVE_H
#define HF_STORE_ARCHIVE_H

#include "archive_format.h"
#include "pages.h"
#include "store.h"

#include "base/hash.h"

/* ---- digests --------------------------------------------------------------------------------- */

/* Not inlined: xxhash's loops for long input make gcc warn of short ones. */
void hf__digest_bytes(XXH3_state_t *digest, const void *bytes, size_t size_bytes);
/* Over number and checksum of each page, in order: two states with the same digest are the same. */
static inline void hf__digest_page(XXH3_state_t *digest, uint64_t page, uint64_t checksum)
{
    const uint64_t pair[2] = {page, checksum};
    hf__digest_bytes(digest, pair, sizeof pair);
}
static inline void hf__digest_read(const XXH3_state_t *digest, uint64_t out[2])
{
    const XXH128_hash_t hash = XXH3_128bits_digest(digest);
    out[0] = hash.low64;
    out[1] = hash.high64;
}
/* HF_ENOMEM. The caller gives it to XXH3_freeState. */
int hf__digest_new(XXH3_state_t **out);

uint64_t hf__archive_block_check(uint64_t salt, uint64_t number,
                                 const struct hf__archive_entry *entries, uint64_t count);

/* A page of free space that was given back: zeros, of which no checksum is kept. */
static inline bool hf__archive_is_hole(const struct hf__archive_entry *entry)
{
    return entry->checksum == 0 && entry->commit != 0;
}

/* ---- archive_source.c ------------------------------------------------------------------------ */

/* A part of a page as a commit left it that is durable, but not applied yet. */
struct hf__patch {
    uint64_t page, order; /* of two patches of a page the one with the higher order counts        */
    size_t at;            /* its bytes, in hf__source.bytes                                       */
    uint32_t from, size_bytes; /* in the page                                                     */
};

struct hf__source {
    hf_store *store;
    hf_view *view;
    bool from_memory; /* pages that were touched stand in the view's memory alone */
    uint64_t commit, used_end, size_bytes, pages;
    struct hf__table_truth truth;
    unsigned char *bytes; /* of the patches                                                       */
    size_t bytes_count, bytes_room;
    struct hf__patch *patches; /* by page, then by order                                          */
    size_t patch_count, patch_room;
};

/* Takes a view and finds the state: not older than what is durable now. */
int hf__source_open(hf_store *store, struct hf__source *out);
void hf__source_close(struct hf__source *source);
/* Is the entry of that page true of this state? */
static inline bool hf__source_known(const struct hf__source *source, uint64_t page)
{
    return !source->truth.stale && !hf__touched_has(&source->truth.touched, page);
}
/* The bytes of pages [first, first + count), zeros from the used end on. Any thread. */
int hf__source_read(const struct hf__source *source, uint64_t first, uint64_t count,
                    unsigned char *out);

/* ---- archive_pack.c -------------------------------------------------------------------------- */

#define HF__STRETCH_PAGES 4096u

struct hf__stretch_page {
    uint64_t checksum, commit; /* checksum 0: to be computed, unless it is a hole                 */
    bool taken, hole;          /* hole: free space, of which nothing is said                      */
};

/* A stretch of the state: all its pages' checksums, and a block of those that were taken. */
struct hf__stretch {
    uint64_t first, count, taken, block; /* block: its number                                     */
    struct hf__stretch_page *pages;      /* HF__STRETCH_PAGES                                     */
    unsigned char *plain, *packed;
    size_t plain_bytes, packed_bytes;
    int code;
    hf_error failure;
};

struct hf__packer;
/* threads 0: the caller's own. HF_ENOMEM. */
int hf__packer_new(const struct hf__source *source, int level, uint32_t threads,
                   struct hf__packer **out);
void hf__packer_free(struct hf__packer *packer);
uint32_t hf__packer_threads(const struct hf__packer *packer);
/* A stretch to be filled; NULL: first one has to be taken. */
struct hf__stretch *hf__packer_give(struct hf__packer *packer);
/* It is filled: reads, compares and packs it, soon. */
void hf__packer_push(struct hf__packer *packer);
/* The oldest one that was pushed, done, or NULL; it is free again at the next call. */
struct hf__stretch *hf__packer_take(struct hf__packer *packer);

/* ---- archive_read.c -------------------------------------------------------------------------- */

struct hf__archive_reader;

/* What becomes of an archive's content, in order; any may return an error and end the reading. */
struct hf__archive_sink {
    void *user;
    int (*header)(void *user, const struct hf__archive_header *header);
    /* entries and pages were proved. */
    int (*block)(void *user, const struct hf__archive_entry *entries, size_t count,
                 const unsigned char *pages);
    int (*progress)(void *user, uint64_t bytes_read);
};

/* Reads all of it; everything in it is proved before this returns 0. */
int hf__archive_read(const char *path, const struct hf__archive_sink *sink,
                     hf_archive_report *report);
/* Header and trailer of an archive that is a file. */
int hf__archive_ends(const char *path, struct hf__archive_header *header,
                     struct hf__archive_trailer *trailer);

#endif
