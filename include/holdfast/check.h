/* SPDX-License-Identifier: MIT */
/*
 * check.h - checking stores, and repairing closed ones
 *
 * A check walks everything: header, blocks, free structures, index order and links, objects, names
 * and types. It reads any bytes whatsoever without crashing or looping and lists every finding.
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

typedef struct hf_check_options {
    void (*on_finding)(void *user, const hf_finding *finding);       /* may be NULL               */
    int (*on_progress)(void *user, uint64_t done, uint64_t total);   /* not 0 = cancel            */
    void *user;
    uint32_t flags;       /* zero                                                                 */
    uint32_t reserved32;
    uint64_t findings_max;/* stop after this many; 0 = 1000                                       */
    uint64_t reserved[4];
} hf_check_options;
#define HF_CHECK_OPTIONS_INIT                                                                      \
    { NULL, NULL, NULL, 0, 0, 0, {0, 0, 0, 0} }

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
 * overwrites it; then checks again. Needs the store for itself. It is one transaction: a kill in
 * the middle leaves the store as it was. Returns 0 if the store is clean afterwards
 * (report.repaired tells if anything was done), HF_ECORRUPT if findings remain, HF_EBUSY,
 * HF_EACCES, HF_EIO, ...
 */
HF_API int hf_repair_file(const char *path, const hf_check_options *options,
                          hf_check_report *report);

#ifdef __cplusplus
}
#endif
#endif
