/* SPDX-License-Identifier: MIT */
/*
 * log.h - looking into the log engine: who reads, where the log stands, what is in it; tuning it
 *
 * Commits of a file store go to a log first and are applied to the data file when they are durable
 * and no view is open. Four counters say how far: base <= applied <= durable <= appended. This page
 * is for programs that watch over that, or that look for a mistake of their own.
 *
 * Example: who keeps the log from being applied?
 *
 *   hf_reader readers[64];
 *   size_t count = 0;
 *   if (hf_readers(store, readers, 64, &count) == 0)
 *       for (size_t i = 0; i < count && i < 64; i++)
 *           if (readers[i].defers)
 *               printf("process %lld reads since %.1f s\n", (long long)readers[i].pid,
 *                      (double)readers[i].age_ns / 1e9);
 *
 * Caveats
 *
 *   - What these functions tell was true at one moment during the call, and may not be any more.
 *   - The age of a view is measured by the clock of the day; it is 0 where that was set back.
 */
#ifndef HOLDFAST_LOG_H
#define HOLDFAST_LOG_H

#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- who reads ------------------------------------------------------------------------------- */

typedef struct hf_reader {
    int64_t pid;
    uint64_t thread_id;   /* the kernel's: gettid()                                               */
    uint64_t age_ns;      /* since its hf_view_begin                                              */
    uint64_t commit;      /* what it shows                                                        */
    uint32_t defers;      /* 1: a durable commit waits for it to end (direct engine: a writer)    */
    uint32_t own;         /* 1: a view of this handle                                             */
    uint64_t reserved[4];
} hf_reader;

/*
 * hf_readers - the views that are open now, of all processes that share the lock file.
 *
 * Fills array with up to capacity of them; *count says how many there are, which may be more. array
 * may be NULL with a capacity of 0. Views of dead processes are left out, and their places freed.
 * HF_COPY_ON_WRITE handles, and read-only ones that could not use the lock file, stand in no table:
 * such a handle sees only its own views. Takes no lock and waits for nobody; may be called inside
 * views and transactions, from any thread. Errors: HF_EINVAL, HF_EFORKED. Idea: LMDB's
 * mdb_reader_list.
 */
HF_API int hf_readers(hf_store *store, hf_reader *array, size_t capacity, size_t *count);

/* ---- where the log stands -------------------------------------------------------------------- */

typedef struct hf_log_state {
    uint64_t epoch;       /* of the log file in use, NAME-log0 if even; 0: no log is in use       */
    uint64_t base;        /* up to here all is in the data file, on stable storage                */
    uint64_t applied;     /* in the data file: what views show                                    */
    uint64_t durable;     /* on stable storage, in log or data file                               */
    uint64_t appended;    /* the newest commit                                                    */
    uint64_t file_bytes;  /* length of the log file, as far as it is prepared                     */
    uint64_t end_bytes;   /* how much of it is in use                                             */
    uint32_t log_failed;  /* 1: a write or sync of the log failed; the next transaction renews it */
    uint32_t data_failed; /* 1: a sync of the data file failed, or its process died, or goes on;  *
                           *    the next checkpoint writes all since the base anew                */
    uint32_t switching;   /* 1: between two log files                                             */
    uint32_t unsynced;    /* 1: NOSYNC: applied may be ahead of durable                           */
    uint32_t unrecovered; /* 1: a log was left behind and waits for a writer to replay it: all    *
                           *    counters are 0, hf_log_scan can tell them                         */
    uint32_t reserved0;
    uint64_t checks;      /* of this handle: transactions that debug_checks looked at             */
    uint64_t checks_skipped; /* and those it couldn't, because a view kept commits unapplied      */
    uint64_t trims;       /* of this handle: how often free space was given back without hf_trim  */
    uint64_t reserved[3];
} hf_log_state;

/*
 * hf_log_info - where the log stands, all from one moment.
 *
 * While no log is in use (nothing was changed since the store was opened cleanly) the four counters
 * are the same. Takes no lock and waits for nobody. Errors: HF_EINVAL, HF_EFORKED, HF_ENOTSUP (the
 * direct engine, memory backings, HF_COPY_ON_WRITE, read-only handles without the lock file).
 */
HF_API int hf_log_info(hf_store *store, hf_log_state *out);

/* ---- tuning ---------------------------------------------------------------------------------- */

enum { /* hf_tuning.debug_checks */
    HF_DEBUG_ANNOUNCE = 1, /* refuse commits of bytes that no hf_edit announced: HF_EUNANNOUNCED  */
    HF_DEBUG_POINTERS = 2  /* refuse commits that store an address of this process: HF_EPTR       */
};

typedef struct hf_tuning {     /* zero means default everywhere                                   */
    uint64_t log_max_bytes;    /* the log may grow to this while a view keeps it from being       *
                                * applied, then HF_ELOGFULL; 16 KiB to 1 PiB, 1 GiB               */
    uint64_t log_first_bytes;  /* length of a log file at first; 16 KiB to 1 TiB, 256 KiB         */
    uint64_t log_switch_bytes; /* the log doubles at each switch up to this, and is longer only   *
                                * for records of more than half; 16 KiB to 1 TiB, 32 MiB          */
    uint64_t private_max_bytes;/* private pages kept between transactions; up to 1 PiB, 64 MiB  */
    uint64_t gate_wait_us;     /* how long applying may hold up new readers at a time; up to      *
                                * 10 s, 1000 us                                                   */
    uint64_t lazy_interval_ms; /* how soon LAZY commits are made durable; up to a day, 10 ms      */
    uint32_t debug_checks;     /* HF_DEBUG_..., 0 = none                                          */
    uint32_t reserved0;        /* zero                                                            */
    uint64_t trim_min_bytes;   /* free space is given back to the disk (hf_trim) if it comes to   *
                                * this and to an eighth of what is in use; 64 KiB to 1 PiB,       *
                                * 64 MiB; HF_TRIM_NEVER: only when asked                          */
    uint64_t trim_delay_ms;    /* and has done so for that long; up to a day, 10 s                */
    uint64_t reserved[6];      /* zero                                                            */
} hf_tuning;

#define HF_TRIM_NEVER UINT64_MAX

#define HF_TUNING_INIT                                                                             \
    { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0, 0, 0, 0, 0, 0} }

/*
 * hf_tune - sets all of the above for this handle, from its next transaction on; NULL sets the
 * defaults. May be called at any time, from any thread. Other handles keep theirs. Read-only
 * handles and other engines take the values and have no use for them.
 *
 * trim_min_bytes: the housekeeper looks for whole pages of large free blocks, and above the used end,
 * beyond what growing needs soon. It trims in a transaction of its own, which counts as a commit, waits
 * neither for a view nor long for the writer's place, but tries again later. What is used again gets
 * disk blocks first, a MiB at a time, which costs a sync of the data file: thus the delay.
 *
 * debug_checks finds two mistakes at the hf_commit that would make them last. The transaction is
 * then rolled back and the message says where: offset, and the object or block.
 *
 *   HF_DEBUG_ANNOUNCE  compares what is to be the state with the last one, in lines of 64 bytes: a
 *                      line that differs and of which nothing was announced. Before each
 *                      transaction all commits are synced and applied and private pages dropped. If
 *                      a view keeps commits from being applied, that transaction isn't looked at:
 *                      hf_log_state.checks_skipped.
 *   HF_DEBUG_POINTERS  looks for 8-byte words among what was announced that are addresses inside
 *                      this handle's mappings. An hf_ref or HF_PTR never looks like that.
 *
 * The environment variable HOLDFAST_DEBUG, a list of `announce` and `pointers` with commas between,
 * sets them for each hf_open of a process that isn't setuid; hf_tune overrides it. Both are for
 * tests: they cost time with every transaction. Errors: HF_EINVAL (out of bounds; reserved words
 * that are not zero), HF_EFORKED.
 */
HF_API int hf_tune(hf_store *store, const hf_tuning *tuning);

/* ---- what is in it --------------------------------------------------------------------------- */

typedef struct hf_log_range {
    uint64_t offset, size_bytes;       /* in the segment                                          */
} hf_log_range;

typedef struct hf_log_record {
    uint32_t file;                     /* 0 or 1: of NAME-log0 or NAME-log1                       */
    uint32_t reserved0;
    uint64_t commit;
    uint64_t offset, length_bytes;     /* of the record, in the log file                          */
    uint64_t data_bytes;               /* of the store, in all ranges                             */
    uint64_t range_count;
    const hf_log_range *ranges;        /* valid during the call                                   */
    uint64_t used_end;                 /* of the segment after this commit                        */
    uint64_t window_start, window_end; /* segment bytes that were written in place; 0, 0: none    */
    uint64_t synced_through;           /* highest commit known durable when this was written      */
    uint64_t time_ns;                  /* since 1970                                              */
    int64_t pid;                       /* who wrote it                                            */
} hf_log_record;

enum { /* hf_log_file.end_reason: why the chain of records ends where it does                     */
    HF_LOG_END_UNUSED = 0,  /* nothing was written there                                          */
    HF_LOG_END_FILE = 1,    /* the file ends                                                      */
    HF_LOG_END_OTHER = 2,   /* a record of another epoch, or what is left of one                  */
    HF_LOG_END_CHAIN = 3,   /* a record of this epoch that was not written behind the last one    */
    HF_LOG_END_TORN = 4,    /* a record whose content is not what its header says: cut short      */
    HF_LOG_END_DAMAGED = 5, /* a later record says that the one missing here was durable          */
    HF_LOG_END_HEADER = 6   /* no record was looked at: the file's header is none                 */
};

typedef struct hf_log_file {
    uint32_t exists;
    uint32_t valid;         /* its header is whole and of this store                              */
    uint32_t current;       /* and of the generation that the data file's header names            */
    uint32_t counts;        /* and the newer of two such files                                    */
    uint64_t file_bytes;
    uint64_t generation, epoch, base, used_end; /* of its header, if valid                        */
    uint64_t records;       /* of its chain                                                       */
    uint64_t last_commit;   /* of them; base if there are none                                    */
    uint64_t end;           /* where the last one ends in the file                                */
    uint32_t end_reason;    /* HF_LOG_END_...                                                     */
    uint32_t reserved0;
} hf_log_file;

enum { /* hf_log_summary.state, as the data file's header says                                    */
    HF_STATE_CLEAN = 0,     /* closed, or unchanged since: log files beside it are leftovers      */
    HF_STATE_IN_USE = 1,    /* direct engine: being written                                       */
    HF_STATE_LOGGED = 2,    /* the log counts                                                     */
    HF_STATE_UNSYNCED = 3   /* likewise, with NOSYNC commits                                      */
};

typedef struct hf_log_summary {
    uint32_t engine;        /* HF_ENGINE_...                                                      */
    uint32_t state;         /* HF_STATE_...                                                       */
    uint64_t generation;    /* of the data file's header                                          */
    int64_t open_pid;       /* a living process that has the store open, 0: none was found        */
    hf_log_file files[2];   /* NAME-log0 and NAME-log1                                            */
    uint64_t reserved[4];
} hf_log_summary;

/* What hf_log_scan calls for each record; other than 0 ends the scan with HF_ECANCELLED. */
typedef int (*hf_log_visit)(void *context, const hf_log_record *record);

/*
 * hf_log_scan - reads both log files of a store: closed, left by a killed process, or open.
 *
 * Changes nothing, takes no lock, makes no file, recovers nothing. visit (may be NULL) is called
 * for each record of file 0, then of file 1, of whatever generation: as far as the chain holds.
 * *out is filled at the end. Beside a process that commits, records may come while it reads and the
 * files may be switched: then the scan of that file starts anew (what it visits afterwards replaces
 * what it visited before; hf_log_file.records says how many were the last).
 *
 * Missing log files and bad ones are no error: *out tells. Errors: HF_EINVAL, HF_ENOENT, HF_EACCES,
 * HF_ENOTSTORE and others of hf_open about the data file's header, HF_ENOMEM, HF_EIO,
 * HF_ECANCELLED, HF_EBUSY (its log is switched faster than it can be read).
 */
HF_API int hf_log_scan(const char *path, hf_log_visit visit, void *context, hf_log_summary *out);

#ifdef __cplusplus
}
#endif
#endif
