/* SPDX-License-Identifier: MIT */
/*
 * check.h - checking stores, and repairing closed ones
 *
 * A check walks everything: header, blocks, free structures, index order and links, objects, names
 * and types, and where the pointers of typed objects lead (rules ref.*). It reads any bytes whatsoever without crashing or looping and lists every finding.
 *
 * Example
 *
 *   hf_check_report report;
 *   if (hf_check_sanity(store, NULL, &report) == HF_ECORRUPT)
 *       printf("%llu findings\n", (unsigned long long)report.findings);
 */
#ifndef HOLDFAST_CHECK_H
#define HOLDFAST_CHECK_H

#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hf_finding {
    const char *rule;     /* short, stable: "block.checksum", "index.order"; a static string      */
    uint64_t offset;      /* in the segment; in the file for rules "header.*"                     */
    const char *expected; /* what the rule wants and what was found; valid during the call        */
} hf_finding;

/* What can't be reached: an anonymous object, or a block of hf_alloc. */
typedef struct hf_leak {
    const char *type_name; /* "" for an object of plain bytes, NULL for a block of hf_alloc; valid
                              during the call                                                     */
    uint64_t offset;       /* in the segment: of the elements, or of the block                    */
    uint64_t size_bytes;   /* of the block, with all it holds                                     */
    uint64_t count;        /* elements; 0 where the type doesn't tell                             */
    uint32_t type_version, reserved32;
} hf_leak;

enum { /* hf_check_options.flags */
    /* Look for leaks: objects without a name and blocks of hf_alloc that no named or unique object
     * leads to, neither through the pointer fields of types, nor through any aligned word of memory
     * that has no type and looks like a reference into a live block. A pool is reached by a
     * reference to it and all its nodes with it. Leaks aren't findings: they are counted in the
     * report and told to on_leak (up to findings_max of them). A program that keeps references only
     * in its own memory, or derives them, has leaks by this count. */
    HF_CHECK_LEAKS = 1,
    /* Don't look where the pointers of typed objects lead: for stores whose programs leave stale ones
     * in fields that they won't follow. */
    HF_CHECK_NO_POINTERS = 2
};

typedef struct hf_check_options {
    void (*on_finding)(void *user, const hf_finding *finding);       /* may be NULL               */
    int (*on_progress)(void *user, uint64_t done, uint64_t total);   /* not 0 = cancel            */
    void *user;
    uint32_t flags;       /* HF_CHECK_...                                                         */
    uint32_t reserved32;
    uint64_t findings_max;/* stop after this many; 0 = 1000. A repair goes on, and tells no more  */
    void (*on_leak)(void *user, const hf_leak *leak);                /* may be NULL               */
    uint64_t reserved[3];
} hf_check_options;
#define HF_CHECK_OPTIONS_INIT                                                                      \
    { NULL, NULL, NULL, 0, 0, 0, NULL, {0, 0, 0} }

typedef struct hf_check_report {
    uint64_t findings;
    uint64_t blocks, free_blocks;             /* seen by the walk                                 */
    uint64_t live_bytes, free_bytes;
    uint64_t named, unique, anonymous, raw, types;
    uint64_t repaired;                        /* hf_repair_file: structures rebuilt               */
    uint64_t lost_bytes;                      /* hf_repair_file: set aside as unreadable          */
    uint64_t undone_bytes;                    /* restored first from a dead process's undo list   */
    uint64_t replayed_commits;                /* of a log, laid over private memory first         */
    uint32_t engine, reserved32;              /* as recorded; meaningless where no header is read */
    uint64_t pages_compared, pages_newer;     /* hf_check_file: as in hf_verify_report            */
    uint64_t pages_rotten, table_rotten;
    uint64_t leaked_objects, leaked_blocks;   /* HF_CHECK_LEAKS: anonymous objects, raw blocks    */
    uint64_t leaked_bytes;                    /* of both                                          */
    uint64_t accepted;                        /* hf_repair_file: findings told that nothing can mend */
} hf_check_report;

/*
 * hf_check_sanity - checks an open store from within a view of it. options and report may be NULL.
 * Returns 0, HF_ECORRUPT if there are findings, HF_ECANCELLED, or an error of hf_view_begin.
 */
HF_API int hf_check_sanity(hf_store *store, const hf_check_options *options,
                           hf_check_report *report);

/*
 * hf_check_file - the same for a closed file in whatever state, without changing it: a transaction
 * that died is rolled back in private memory only. Errors: as above; HF_EBUSY while it is open for
 * writing; HF_EALREADYOPEN; and those of hf_open that mean "no store there": HF_ENOENT, HF_EACCES,
 * HF_EIO.
 */
HF_API int hf_check_file(const char *path, const hf_check_options *options,
                         hf_check_report *report);

/*
 * hf_repair_file - rebuilds what can be derived: a lost header slot, free structures, both name
 * indexes, counters; sets aside ("lost" blocks) what no longer makes sense, so that nothing
 * overwrites it; then checks again. What nothing can be derived from is told (on_finding, report.accepted) and then
 * counts as it is: rotten pages, with the objects in them; a log that is lost, and the commits with it; a state torn by
 * a crash. hf_salvage can copy what is intact elsewhere before.
 *
 * It works on a copy in the same directory, which takes the store's place (owner and mode kept, other hard
 * links not) when the check has found nothing: a kill or a power cut leaves the old store or the repaired one, and
 * whatever fails leaves the old one. So it needs as much room as the store takes, and the store for itself. Returns 0 if the store is clean afterwards
 * (report.repaired tells if anything was done), HF_ECORRUPT if findings remain (they are told), HF_EBUSY, HF_ENOSPC,
 * HF_EACCES, HF_EIO, ...
 */
HF_API int hf_repair_file(const char *path, const hf_check_options *options,
                          hf_check_report *report);

/* ---- the bytes themselves -------------------------------------------------------------------- */

typedef struct hf_verify_report {
    uint64_t pages_compared;  /* with their checksums                                             */
    uint64_t pages_newer;     /* left out: changed since the last checkpoint, checksum to come    */
    uint64_t pages_rotten;    /* not what they were                                               */
    uint64_t table_rotten;    /* sectors or entries of the page table that can't be used          */
    uint32_t stale;           /* 1: a store of the direct engine that is, or was, in use: no page
                                 could be compared                                                */
    uint32_t threads;
    uint64_t reserved[4];
} hf_verify_report;

/*
 * hf_verify - compares every page of a store's file with its checksum, users' bytes too, with as many
 * threads as there are cores, up to 8.
 *
 * It takes a view, so nothing it compares changes meanwhile; writers go on, and their commits become
 * visible to others when it has ended. Read-only and copy-on-write handles compare the file, not their
 * memory. on_finding is called on the calling thread, after the comparing, in the order of the pages
 * (the first 4096 of them): rule "page.checksum" with the offset of the page in the segment and what
 * lies in it, "page.table" with the offset in the file. Returns 0, HF_ECORRUPT if anything has rotted,
 * HF_ECANCELLED, HF_EIO (a part of the file can't be read), HF_ENOTSUP (a store in memory), HF_ENESTED
 * (inside a transaction), or an error of hf_view_begin. Idea: the checksums of ZFS and of bbolt's wish list.
 */
HF_API int hf_verify(hf_store *store, const hf_check_options *options, hf_verify_report *report);

#ifdef __cplusplus
}
#endif
#endif
