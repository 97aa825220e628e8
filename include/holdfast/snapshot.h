/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - a copy of a live store, while writers write
 *
 * A snapshot is a store of its own: one clean file, the state of one commit, with a uuid of its own. It can be
 * opened read-only at once, checked, copied elsewhere, kept as a backup.
 *
 * Example
 *
 *   hf_snapshot_report report;
 *   hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
 *   options.report = &report;
 *   if (hf_snapshot(store, "photos-monday.hf", &options) == 0)
 *       printf("commit %llu\n", (unsigned long long)report.commit);
 *
 * Caveats
 *
 *   - While bytes are copied, commits of the log engine are durable but not shown to new views, and the log
 *     grows (hf_tuning: log_max_bytes). On the direct engine transactions wait. A clone takes
 *     milliseconds, whatever the size.
 *   - LAZY commits that aren't on the disk yet may be missing: call hf_sync before if that matters.
 *   - A clone shares its blocks with the store: it costs no space at first, and is no copy if the disk fails.
 */
#ifndef HOLDFAST_SNAPSHOT_H
#define HOLDFAST_SNAPSHOT_H

#include "check.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How the bytes are copied. */
#define HF_SNAPSHOT_ANY        0u /* the first of the next three that the file system can do       */
#define HF_SNAPSHOT_CLONE      1u /* FICLONE: the blocks are shared (XFS, Btrfs; same file system) */
#define HF_SNAPSHOT_COPY_RANGE 2u /* copy_file_range: copied inside the kernel, or beyond it       */
#define HF_SNAPSHOT_COPY       3u /* read and written; holes and pages of zeros are left out       */
#define HF_SNAPSHOT_MEMORY     4u /* reported only: what the file alone doesn't show               */

/* Flags. */
#define HF_SNAPSHOT_REPLACE    1u /* a store of that name is replaced in one step                  */
#define HF_SNAPSHOT_ACCEPT_ROT 2u /* rotten pages are copied as they are, and named                */
#define HF_SNAPSHOT_VERIFY     4u /* compare the pages of a clone, too                             */
#define HF_SNAPSHOT_UNVERIFIED 8u /* compare none                                                  */

typedef struct hf_snapshot_report {
    uint32_t method;         /* the one that was used                                              */
    uint32_t table_stale;    /* 1: a store of the direct engine in use: no page could be compared  */
    uint64_t commit;         /* whose state it is                                                  */
    uint64_t durable;        /* what was durable at the call; commit is at least that              */
    uint64_t file_bytes;     /* of the new file                                                    */
    uint64_t moved_bytes;    /* copied                                                             */
    uint64_t shared_bytes;   /* cloned                                                             */
    uint64_t hole_bytes;     /* left out                                                           */
    uint64_t laid_commits;   /* commits from the log: durable, but not in the store's file yet     */
    uint64_t held_ns;        /* how long the view was held: applying was deferred by that          */
    uint64_t total_ns;
    uint64_t pages_verified; /* compared with their checksums                                      */
    uint64_t pages_rotten;   /* with HF_SNAPSHOT_ACCEPT_ROT                                        */
    uint64_t reserved[8];
} hf_snapshot_report;

typedef struct hf_snapshot_options {
    uint32_t method;         /* HF_SNAPSHOT_ANY or another: then that one or HF_ENOTSUP            */
    uint32_t flags;
    uint32_t permissions;    /* of the new file; 0 = 0644 less the umask                           */
    uint32_t reserved32;
    int (*on_progress)(void *user, uint64_t done, uint64_t total); /* not 0 = cancel. Bytes;
                                called from one thread at a time, mostly with the view held       */
    void (*on_finding)(void *user, const hf_finding *finding);     /* a rotten page               */
    void *user;
    hf_snapshot_report *report; /* written on success; may be NULL                                 */
    uint64_t reserved[8];
} hf_snapshot_options;
#define HF_SNAPSHOT_OPTIONS_INIT                                                                   \
    { 0, 0, 0, 0, NULL, NULL, NULL, NULL, {0, 0, 0, 0, 0, 0, 0, 0} }

/*
 * hf_snapshot - the store as it is at some commit k, as a new store under to_path. options may be NULL.
 *
 * k is at least everything that is durable at the call. Any handle will do: a writer's, a reader's, a
 * copy-on-write one (its private state), one in memory (as hf_save_as). Within a view of the calling thread it
 * is that view's commit, and what became durable since.
 *
 * The file is written under a spare name, synced, and given its name: it is there whole or not at all.
 * Pages that were copied are compared with their checksums (HF_SNAPSHOT_UNVERIFIED: not; a clone: only
 * with HF_SNAPSHOT_VERIFY); a page that has rotted is told to on_finding, with what lies in it, and
 * ends the snapshot with HF_ECORRUPT.
 *
 * Errors: HF_EEXIST (to_path is there); with HF_SNAPSHOT_REPLACE HF_EBUSY (it is open), HF_ENOTSTORE (it
 * is none), HF_EALREADYOPEN; HF_ENOTSUP (the method asked for isn't possible there); HF_ENESTED (inside a transaction);
 * HF_ECORRUPT; HF_ETRUNCATED (somebody cuts the file meanwhile); HF_ECANCELLED; HF_ENOSPC; HF_EIO; HF_EINVAL;
 * HF_ENETFS; those of hf_view_begin. Idea: mdb_env_copy2 and SQLite's VACUUM INTO, without their rewriting of
 * every page.
 */
HF_API int hf_snapshot(hf_store *store, const char *to_path, const hf_snapshot_options *options);

#ifdef __cplusplus
}
#endif
#endif
