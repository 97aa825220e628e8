/* SPDX-License-Identifier: MIT */
/*
 * pages.h - the page table: a checksum of every page, written at checkpoints and compared by checks
 *
 *   touched.c       sets of pages that commits have touched
 *   pages.c         the table: entries computed, read, written
 *   page_check.c    comparing: findings, who lies in a rotten page; hf_verify
 *
 * docs/pages.md says when the table is true, and why it stays so.
 */
#ifndef HF_STORE_PAGES_H
#define HF_STORE_PAGES_H

#include "archive_format.h"
#include "layout.h"
#include "touched.h"

#include "base/check.h"
#include "base/segment.h"
#include "holdfast/holdfast.h"
#include "sync/lock_format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- entries --------------------------------------------------------------------------------- */

/* The checksum of a page of which size_bytes count; never 0. */
uint64_t hf__page_checksum(const void *bytes, uint64_t size_bytes, uint64_t salt, uint64_t page);
/* How many bytes of a page lie below the used end. */
static inline uint64_t hf__page_bytes_used(uint64_t page, uint64_t used_end)
{
    const uint64_t start = page * HF__PAGE_BYTES;
    return used_end <= start                     ? 0
           : used_end - start < HF__PAGE_BYTES ? used_end - start
                                                 : HF__PAGE_BYTES;
}

/* One sector of the table, as it is in the file. */
struct hf__sector {
    uint64_t first_page, number, file_offset;
    uint32_t pages;      /* of the span: the last sector of a span has fewer than 31             */
    bool sound, empty;   /* its check is right; it is all zeros: it says nothing                 */
    struct hf__page_sector entries;
};
/* The sector of that page's entry. HF_EIO. A file that ends before it reads as zeros. */
int hf__sector_read(int fd, const char *path, uint64_t salt, uint64_t page, struct hf__sector *out);
/* The same beside a writer: one whose check is wrong may be in the midst of being written, and is read
 * again a few times. */
int hf__sector_read_steady(int fd, const char *path, uint64_t salt, uint64_t page,
                           struct hf__sector *out);

/* ---- what a log touches ------------------------------------------------------------------------ */

/* What the log left beside a store touches, and the used end of its base: for recovery, and for who
 * looks at a store that nobody recovers. HF_ELOGMISSING, ... */
int hf__touched_by_left_log(hf_store *store, uint64_t generation, struct hf__touched *out,
                            uint64_t *used_end);
/* What the active log's records touch, from its base up to that commit: it is known to be whole. */
int hf__touched_by_log(hf_store *store, uint64_t commit, struct hf__touched *out);

/* ---- writing the table ----------------------------------------------------------------------- */

/* The entries of the touched pages, from what the file holds. Not synced. HF_EIO, HF_ENOSPC,
 * HF_ENOMEM. */
int hf__pages_write(int fd, const char *path, uint64_t salt, uint64_t used_end,
                    const struct hf__touched *touched);
/* These entries, whose pages rise; all others stay. For restoring: nobody has the file yet. */
int hf__pages_set(int fd, const char *path, uint64_t salt, const struct hf__archive_entry *entries,
                  size_t count);
/* All entries up to the used end. An entry that was right keeps its commit, others get this one. */
int hf__pages_write_all(int fd, const char *path, uint64_t salt, uint64_t used_end, uint64_t commit);

/* Pages that are about to become holes, or are: their entries say so, and nothing of their content, since
 * that commit. Those that say so already keep it; again: their sectors are written all the same. Not
 * synced; *written: there is something to sync. HF_EIO (a sector may be written in part),
 * HF_ECORRUPT (one is rotten). */
int hf__pages_write_holes(int fd, const char *path, uint64_t salt, uint64_t first, uint64_t end,
                          uint64_t commit, bool again, bool *written);
/* A page of a free block, given back to the disk: it reads as zeros, or as it was. */
static inline bool hf__entry_is_hole(const struct hf__page_entry *entry)
{
    return entry->checksum == 0 && entry->commit != 0;
}

/* Written in part, with a hole among its entries: no record touches holes, so nobody but the next trim would
 * mend it. Its other entries count; a wrong one is found by its page. */
bool hf__sector_half_said(const struct hf__sector *sector);

/* ---- comparing ------------------------------------------------------------------------------- */

/* Of which pages the table is true now: those below the used end that weren't touched since. */
struct hf__table_truth {
    bool stale;              /* of none                                                          */
    uint64_t used_end;       /* of the base                                                      */
    struct hf__touched touched;
};
/* As long as the view lasts, and for a copy that has been brought from the view's commit to `commit`. */
int hf__table_truth(hf_store *store, const hf_view *view, uint64_t commit,
                    struct hf__table_truth *out);
int hf__table_truth_cold(hf_store *store, const struct hf__file_header *header,
                         struct hf__table_truth *out);
void hf__table_truth_free(struct hf__table_truth *truth);
/* Compares the pages of the store's file, or of a copy of it, with the table in the same file, and reports
 * findings to check. seg is for telling what lies in a page; NULL: a view is taken for that. */
int hf__pages_check(hf_store *store, int fd, const char *path, struct hf__segment *seg,
                    const struct hf__table_truth *truth, struct hf__check *check,
                    hf_verify_report *report);

#endif
