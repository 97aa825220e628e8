/* SPDX-License-Identifier: MIT */
/*
 * archive.h - archives: a live store as one compressed stream, and back
 *
 * An archive holds the state of one commit, all of it or what has changed since an earlier one, as
 * zstd frames that are written front to back: to a file, a pipe, a socket. Writers go on meanwhile.
 *
 * Example
 *
 *   hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
 *   hf_archive_report report;
 *   int fd = open("monday.hfz", O_WRONLY | O_CREAT | O_EXCL, 0600);
 *   if (hf_archive_write(store, fd, &options, &report) != 0 || fsync(fd) != 0) { ... }
 *   ...
 *   options.since_archive = "monday.hfz";      (a day later: what has changed)
 *   hf_archive_write(store, fd2, &options, &report);
 *   ...
 *   const char *archives[] = {"monday.hfz", "tuesday.hfz"};
 *   hf_restore("copy.hf", archives, 2, NULL, NULL);
 *
 * Caveats
 *
 *   - The store is viewed until the last byte is written: commits stay in the log and are shown to
 *     others only when it has ended (report.view_ns says how long that was). A reader of a pipe
 *     that stands still makes the log grow up to its limit, and then writers get HF_ELOGFULL. Send
 *     what goes to a slow place to a file first.
 *   - An archive isn't synced, and a pipe that nobody reads any more is SIGPIPE: both are up to who
 *     opened the descriptor.
 *   - Archives are not encrypted, and their checksums are against accidents, not against people.
 */
#ifndef HOLDFAST_ARCHIVE_H
#define HOLDFAST_ARCHIVE_H

#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hf_archive_options {
    int (*on_progress)(void *user, uint64_t done, uint64_t total); /* not 0 = cancel; total 0: not
                                  known. Bytes of the segment when writing, of archives else      */
    void *user;
    int32_t level;             /* of zstd, 1 to 19; 0 = 3                                         */
    uint32_t threads;          /* that compress; 0 = as many as there are cores, up to 8          */
    uint32_t since;            /* 1: only what has changed since since_commit                     */
    uint32_t reserved32;
    uint64_t since_commit;
    const char *since_archive; /* the same, of the commit that this archive leads to; NULL = none */
    uint64_t reserved[6];
} hf_archive_options;
#define HF_ARCHIVE_OPTIONS_INIT                                                                    \
    { NULL, NULL, 0, 0, 0, 0, 0, NULL, {0, 0, 0, 0, 0, 0} }

typedef struct hf_archive_report {
    uint8_t uuid[16];          /* of the store                                                    */
    uint32_t is_increment;     /* 1: from_commit counts                                           */
    uint32_t threads;
    uint64_t from_commit;      /* the state it builds on                                          */
    uint64_t commit;           /* the state it leads to                                           */
    uint64_t digest[2];        /* of that state: of all its pages' checksums                      */
    uint64_t pages;            /* in the archive                                                  */
    uint64_t pages_total;      /* in that state                                                   */
    uint64_t blocks;           /* compressed frames                                               */
    uint64_t plain_bytes;      /* the pages in the archive                                        */
    uint64_t archive_bytes;    /* the archive                                                     */
    uint64_t view_ns;          /* how long writing it kept commits from being shown               */
    uint64_t reserved[4];
} hf_archive_report;

/*
 * hf_archive_write - writes a state of the store to fd, from where fd stands.
 *
 * It is the state of one commit, none older than what was durable at the call, whole; later commits
 * are not in it. Every page is compared with its checksum on the way: rot is named by its page and
 * ends it (HF_ECORRUPT). With since or since_archive the archive holds the pages that have changed
 * since. Stores of the direct engine have checksums and dates of pages only while they are closed
 * or open read-only: of one in use an archive is full and its pages are as they were found
 * (HF_ENOTSUP with since). options and report may be NULL. After an error fd holds half an archive,
 * which nothing accepts.
 *
 * Errors: HF_EINVAL (level; a since_commit that the store has not reached), HF_EARCHIVE
 * (since_archive is none, no regular file, or of another store), HF_ETRUNCATED (it is cut short),
 * HF_ECORRUPT, HF_ENOTSUP (a store in memory, a copy-on-write handle, since with the direct engine),
 * HF_ENESTED (inside a transaction), HF_ECANCELLED, HF_ENOSPC, HF_EIO, HF_ENOMEM, and those of
 * hf_view_begin. Idea: zfs send.
 */
HF_API int hf_archive_write(hf_store *store, int fd, const hf_archive_options *options,
                            hf_archive_report *report);

/*
 * hf_archive_verify - reads an archive from its first byte to its last and checks all of it: every
 * byte, every page's checksum, and of a full one that its pages make the state it says. What an
 * increment builds on is not looked at. path may be a pipe; "/dev/stdin" is descriptor 0, whatever that
 * is, from where it stands. Of options on_progress counts. options and report may be NULL.
 * Errors: HF_EARCHIVE (no archive), HF_ENEWER, HF_EENDIAN, HF_EPAGESIZE, HF_ECORRUPT,
 * HF_ETRUNCATED, HF_ECANCELLED, HF_ENOENT, HF_EACCES, HF_EIO, HF_ENOMEM, HF_EINVAL.
 */
HF_API int hf_archive_verify(const char *path, const hf_archive_options *options,
                             hf_archive_report *report);

typedef struct hf_restore_options {
    int (*on_progress)(void *user, uint64_t done, uint64_t total); /* as above                    */
    void *user;
    uint32_t permissions;      /* of the store's file, as in hf_options                           */
    uint32_t reserved32;
    uint64_t reserved[6];
} hf_restore_options;
#define HF_RESTORE_OPTIONS_INIT                                                                    \
    { NULL, NULL, 0, 0, {0, 0, 0, 0, 0, 0} }

/*
 * hf_restore - makes a store from a full archive and the increments after it, in their order ("/dev/stdin":
 * as above).
 *
 * The store is built under a spare name, verified (every byte of the archives, every page, and
 * after each archive the digest of the whole state), synced, and only then gets its name: there is
 * all of it or nothing. A file of that name is never replaced. It is closed and clean, and the same
 * store: uuid, commit and the dates of its pages are kept, so that increments go on from it. report
 * (may be NULL) tells of the last archive; its pages, blocks and bytes are sums.
 *
 * Errors: HF_EARCHIVE (not an archive; an increment first; of another store; it builds on another
 * state than the one before), HF_EEXIST, HF_ECORRUPT, HF_ETRUNCATED, HF_ENEWER, HF_EENDIAN,
 * HF_EPAGESIZE, HF_ECANCELLED, HF_EINVAL, HF_ENOENT, HF_EACCES, HF_ENOSPC, HF_EIO, HF_ENOMEM,
 * HF_ENETFS.
 */
HF_API int hf_restore(const char *to_path, const char *const *archives, size_t count,
                      const hf_restore_options *options, hf_archive_report *report);

#ifdef __cplusplus
}
#endif
#endif
