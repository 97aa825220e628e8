/* SPDX-License-Identifier: MIT */
/*
 * store.h - opening and closing stores
 *
 * A store lies in one of four backings: a file, shared memory (a file on tmpfs), a heap block or a
 * buffer of the caller's. The same functions serve all four.
 *
 * Example
 *
 *   hf_options options = HF_OPTIONS_INIT;
 *   options.mode = HF_CREATE_NEW;
 *   options.size_initial_bytes = 64 << 20;
 *   options.layout = "org.example.catalogue";
 *   hf_store *store;
 *   if (hf_open("catalogue.hf", &options, &store) != 0) { ... hf_last_error()->message ... }
 *   ...
 *   hf_close(store);
 *
 * Caveats
 *
 *   - While a store is open files stand beside it: NAME-lock and, once written, NAME-log0 and
 *     NAME-log1 (log engine) or NAME-undo (direct engine). They belong to it: the last commits may be
 *     in the log alone. After the last hf_close they are gone, and the file alone is the store. To
 *     copy a store, close it (or hf_save_as); a copy of an open one's file is refused
 *     (HF_ELOGMISSING).
 *   - A process opens a store once (HF_EALREADYOPEN) and shares the handle between its threads.
 *   - Access is through one name; a symbolic link is followed, a second hard link is refused while
 *     the store is open (HF_EOTHERPATH).
 */
#ifndef HOLDFAST_STORE_H
#define HOLDFAST_STORE_H

#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { /* hf_options.mode */
    HF_OPEN_OR_CREATE = 0,
    HF_OPEN_EXISTING = 1, /* HF_ENOENT where there is none                                        */
    HF_CREATE_NEW = 2,    /* HF_EEXIST where there is one                                         */
    HF_READ_ONLY = 3,     /* views only; the file is never written                                */
    HF_COPY_ON_WRITE = 4  /* transactions change private memory, the file is never written        */
};
enum { /* hf_options.engine */
    HF_ENGINE_LOG = 0,    /* files: a redo log, safe against power loss; memory backings: direct  */
    HF_ENGINE_DIRECT = 1  /* edits in place, undone from an undo list                             */
};
enum { /* hf_options.durability, of this handle's commits; direct engine: all three alike         */
    HF_SYNC = 0,          /* acknowledged = on stable storage                                     */
    HF_LAZY = 1,          /* in the page cache; on stable storage within 10 ms                    */
    HF_NOSYNC = 2         /* in the page cache; a crash of the machine may cost the store         */
};
enum { /* hf_options.allocator */
    HF_ALLOC_DEFAULT = 0, /* as recorded; for a new store the best there is, now slab             */
    HF_ALLOC_BEST_FIT = 1,/* balanced tree by size; all sizes, O(log n)                           */
    HF_ALLOC_SEQ_FIT = 2, /* address-ordered list; smallest code, O(n): for small segments        */
    HF_ALLOC_SLAB = 3     /* blocks up to 1 KiB in chunks of one size, all else best fit: fast    */
};
enum { /* hf_options.index */
    HF_INDEX_SET = 0,     /* ordered by name: prefix scans and iteration in order                 */
    HF_INDEX_HASH = 1,    /* fastest find; iteration in no order                                  */
    HF_INDEX_FLAT = 2,    /* one sorted array: compact, slow to change                            */
    HF_INDEX_NULL = 3     /* no names at all: HF_ENOINDEX                                         */
};

typedef struct hf_options {
    uint32_t mode;
    uint32_t engine;
    uint32_t durability;
    uint32_t allocator;
    uint32_t index;       /* on an existing store HF_INDEX_SET (0) means as recorded              */
    uint32_t permissions; /* mode of a new file; 0 = 0644 less the umask, else exact              */
    uint64_t size_initial_bytes; /* segment size of a new store; 0 = 1 MiB                        */
    uint64_t size_max_bytes;     /* whole pages; 0 = 1 TiB, less where it can't be had */
    int64_t lock_timeout_ms;     /* 0 = wait for ever, < 0 = do not wait (but for the moment in
                                    which another one's commit is applied)                        */
    const char *layout;          /* application's layout name, up to 63 bytes; NULL = any         */
    uint32_t layout_version;     /* checked when layout is given                                  */
    uint64_t reserved[8];        /* zero                                                          */
} hf_options;

#define HF_OPTIONS_INIT                                                                            \
    { 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, {0, 0, 0, 0, 0, 0, 0, 0} }

/*
 * hf_open - opens or creates the store in a file.
 *
 * options may be NULL: everything default. On success *out is a handle for hf_close. Engine,
 * allocator and index are recorded at creation; on an existing store 0 means as recorded and any
 * other value must be the recorded one (HF_EMISMATCH). size_max_bytes too is recorded at creation
 * and ignored afterwards. options.lock_timeout_ms bounds the wait for a process that has the file
 * to itself for a moment, and later every hf_begin and hf_view_begin on this handle.
 *
 * If a process died, its transaction is rolled back first (direct engine), or the commits that stand
 * in the log alone are replayed (log engine): hf_recovery_info tells. Openers that may not write do
 * that in private memory, a read-only handle at each view until a writer has come, and change no
 * byte of the file. A log that is missing or foreign fails hf_open in every mode.
 * A new store is complete and synced before its name appears; of two racing creators one wins and
 * both open its store (HF_CREATE_NEW: the loser gets HF_EEXIST).
 *
 * HF_READ_ONLY needs no permission to write: it uses the lock file where it can, and where it can't
 * it keeps writers out while it is open (their hf_open returns HF_EBUSY) and is itself refused with
 * HF_EBUSY while one is there. HF_COPY_ON_WRITE always does so. Such handles stand in no table, but
 * the HF_EBUSY they cause names one of them all the same.
 *
 * Errors: HF_EINVAL, HF_ENOENT, HF_EEXIST, HF_EACCES, HF_EBUSY (pid in hf_last_error),
 * HF_EALREADYOPEN, HF_EOTHERPATH, HF_EMISMATCH, HF_ELAYOUT, HF_ENOTSTORE, HF_ETRUNCATED, HF_ENEWER,
 * HF_EENDIAN, HF_EPAGESIZE, HF_ECORRUPT, HF_ETORN, HF_ESIDECAR, HF_ENETFS, HF_EADDRSPACE,
 * HF_EPROCESSES, HF_ENOSPC, HF_EIO, HF_ENOMEM; log engine: HF_ELOGMISSING (the store was not closed and
 * its log is gone: bring it back, or accept the loss with fsck --repair), HF_ELOGFOREIGN (the log
 * beside it is another store's, or of another time), HF_ETORN (NOSYNC commits, and the machine went
 * down). Idea: Boost.Interprocess's managed_mapped_file.
 */
HF_API int hf_open(const char *path, const hf_options *options, hf_store **out);

/*
 * hf_open_heap - a store in memory of its own: fast scratch space with the whole API.
 * size_bytes is its first size; it grows up to options->size_max_bytes if that is larger. Gone at
 * hf_close. Errors: HF_EINVAL, HF_ENOMEM, HF_EADDRSPACE, HF_EFULL (too small), HF_ENOTSUP (a mode
 * other than creating). Idea: managed_heap_memory.
 */
HF_API int hf_open_heap(size_t size_bytes, const hf_options *options, hf_store **out);

/*
 * hf_open_buffer - a store in the caller's memory, which must outlive the handle.
 * The buffer is aligned to 64 bytes. Modes HF_CREATE_NEW and HF_OPEN_OR_CREATE make a new store in
 * it (the latter only if it holds none), HF_OPEN_EXISTING opens one that an earlier handle left,
 * also at another address and in a copy. One handle at a time (HF_EALREADYOPEN). Nothing in it can
 * have more alignment than the buffer has: asking for it is HF_EINVAL, and a copy must be aligned
 * as the original was if its objects need it. Errors: HF_EINVAL, HF_ENOMEM, HF_ENOTSTORE, HF_EFULL (too small),
 * HF_ECORRUPT, HF_ETRUNCATED, HF_EENDIAN, HF_EMISMATCH, HF_ELAYOUT, HF_ENOTSUP (read-only,
 * copy-on-write). Idea: managed_external_buffer.
 */
HF_API int hf_open_buffer(void *buffer, size_t size_bytes, const hf_options *options,
                          hf_store **out);

/*
 * hf_close - ends the handle; NULL is allowed. An open transaction of the caller's is aborted, and
 * views must have ended. The last process to close syncs the file, marks it clean and removes its
 * sidecars. Whatever it returns, the handle is gone.
 * Errors: HF_EIO, HF_ENOSPC (the store was left as after a kill: the next hf_open recovers it).
 */
HF_API int hf_close(hf_store *store);

/*
 * hf_remove - removes a store's sidecars, then its file. Refused at once while anyone has
 * it open. Damaged stores are removed, files that never were stores are not.
 * Errors: HF_EBUSY, HF_ENOENT, HF_EACCES, HF_EALREADYOPEN, HF_ENOTSTORE, HF_EINVAL, HF_EIO.
 */
HF_API int hf_remove(const char *path);

/*
 * hf_sync - everything committed before the call is on stable storage when it returns.
 * It takes the writer's place (the log engine for a moment, the direct engine for the duration; a
 * transaction that is open is not in what is synced): HF_ENESTED inside one, HF_EDEADLOCK inside a
 * view, HF_EBUSY on a timeout. On the log engine it also makes what was committed visible to views
 * that begin afterwards: HF_EBUSY with the pid of a reader means durable, but not yet visible:
 * a view that has been open for longer than gate_wait_us (hf_tuning) isn't waited for, and the commits
 * are shown when it has ended. No effect on heap and buffer backings, and
 * read-only handles. Errors: those, HF_EFORKED, HF_ECOMMIT_UNKNOWN (log engine: commits of HF_LAZY or
 * HF_NOSYNC may be lost), and HF_EIO: assume that nothing since the last successful call is durable.
 */
HF_API int hf_sync(hf_store *store);

/* ---- sizes and state ------------------------------------------------------------------------- */

typedef struct hf_store_info {
    uint32_t mode, engine, allocator, index;  /* as open: HF_ALLOC_DEFAULT is resolved            */
    uint32_t format_version, page_size_bytes;
    uint8_t uuid[16];                         /* of creation                                      */
    char layout[64];
    uint32_t layout_version, is_file;
    uint64_t created_ns;                      /* since 1970                                       */
    uint64_t size_bytes;                      /* the segment: what the allocator may use now      */
    uint64_t size_max_bytes;                  /* what it may become                               */
    uint64_t mapped_bytes;                    /* address space this process reserved              */
    uint64_t file_bytes, disk_bytes;          /* length, and blocks held on the disk; 0: no file  */
    uint64_t live_bytes, live_blocks;         /* allocated, with their block headers              */
    uint64_t free_bytes, free_blocks;         /* below the used end, with their block headers     */
    uint64_t tail_bytes;                      /* never used or given back, above the used end     */
    uint64_t used_end_bytes;                  /* what shrink_to_fit would leave of the segment    */
    uint64_t largest_free_bytes;              /* largest hf_alloc that fits without growing       */
    uint64_t named_count, unique_count, anonymous_count, raw_count, type_count;
    uint64_t given_back_bytes;                /* of free_bytes: without disk blocks, or soon      */
    uint64_t trimmable_bytes;                 /* of free_bytes and tail_bytes: what hf_trim could  *
                                               * give back now                                    */
} hf_store_info;

/* hf_info - all of the above, from one consistent moment. Takes a view. Errors: as
 * hf_view_begin. */
HF_API int hf_info(hf_store *store, hf_store_info *out);

typedef struct hf_recovery {
    uint64_t recoveries;      /* times this handle found something left by dead processes         */
    uint64_t cold;            /* how many of them at hf_open, before anyone else was there        */
    uint64_t undone_ranges;   /* direct engine: ranges restored, over all of them                 */
    uint64_t undone_bytes;    /* and bytes                                                        */
    int64_t last_pid;         /* process whose transaction was rolled back or replayed last       */
    uint64_t last_ns;         /* when, since 1970                                                 */
    uint64_t replayed_commits;/* log engine: commits that were found in the log                   */
    uint64_t replayed_ranges; /* ranges laid over the file, over all of them                      */
    uint64_t replayed_bytes;  /* and bytes                                                        */
} hf_recovery;

/* hf_recovery_info - what this handle found and rolled back or replayed. Fails with HF_EINVAL
 * only. */
HF_API int hf_recovery_info(hf_store *store, hf_recovery *out);

/*
 * hf_dirty_bytes - memory that private changes of a HF_COPY_ON_WRITE handle hold, in whole pages.
 * Errors: HF_ENOTSUP in other modes.
 */
HF_API int hf_dirty_bytes(hf_store *store, uint64_t *out_bytes);

/*
 * hf_save_as - writes what a view of this handle shows to a new, closed store with its own uuid,
 * synced and published under its name at the end. Works in every mode and backing. permissions as
 * in hf_options. Inside the thread's transaction it is what that shows; outside hf_snapshot (snapshot.h) says
 * more, and does more. Pages keep their checksums: one that has rotted ends it with HF_ECORRUPT, and the message
 * names it and what lies in it. Errors: HF_EEXIST, HF_ENOENT (the directory), HF_ENOSPC, HF_EIO, HF_EACCES,
 * HF_ECORRUPT, HF_ENOTSUP (inside a transaction that has freed something), and those of hf_view_begin.
 */
HF_API int hf_save_as(hf_store *store, const char *path, uint32_t permissions);

typedef struct hf_trim_report {
    uint64_t extents, extent_bytes;  /* free blocks that were given back, or would be, for the first
                                      * time: whole pages of blocks that have 64 KiB of them          */
    uint64_t punched_extents, punched_bytes; /* all that are given back now, earlier ones too         */
    uint64_t tail_bytes;             /* the segment gets, or would get, shorter by that              */
    uint64_t compact_bytes;          /* hf_trim_estimate: free in all, what compaction would gain    */
    uint64_t freed_bytes;            /* hf_trim: the file holds that much less of the disk            */
    uint32_t unsupported, reserved0; /* 1: the file system can't make holes, nothing was given back   */
    uint64_t reserved[4];
} hf_trim_report;

/*
 * hf_trim - gives free space back to the disk while others have the store open (as fstrim does for a
 * file system): large free blocks become holes of the file, and so does what lies above the used end,
 * but for the size the store was created with (size_initial_bytes) or grown to (hf_grow). The file's
 * length stays until the last process closes the store; that cuts a long tail anyway. Nothing moves.
 *
 * Space that was given back gets disk blocks again before it is used. If the disk is full then, the
 * call that allocates fails with HF_ENOSPC. Call it when much was freed, not after every transaction;
 * what stays free for long goes back by itself (hf_tuning: trim_min_bytes, log engine).
 *
 * It is a transaction, if there is something new to give back, then a checkpoint. A crash in between
 * loses nothing; another call goes on. *report may be NULL.
 *
 * Views that are open are waited for, up to lock_timeout_ms, and one second where that is 0: long views
 * that overlap may never leave a gap. Writers aren't held up meanwhile.
 *
 * Errors: those of hf_begin and hf_commit; HF_EBUSY also if a view is open for longer (what was
 * marked waits for the next call), HF_EREADONLY, HF_ENOTSUP (memory backings, copy-on-write
 * handles), HF_EIO, HF_ENOMEM, HF_ECORRUPT.
 */
HF_API int hf_trim(hf_store *store, hf_trim_report *report);

/* hf_trim_estimate - what hf_trim would do now, in every mode; and what compaction would gain. Reads
 * the free blocks of 64 KiB and more. Takes a view. Errors: as hf_view_begin, HF_ENOMEM, HF_ECORRUPT. */
HF_API int hf_trim_estimate(hf_store *store, hf_trim_report *report);

/*
 * hf_grow - makes a closed store's segment extra_bytes larger (rounded up to pages), up to its
 * size_max_bytes. An open store grows by itself; this reserves the room on the disk beforehand.
 * Errors: HF_EBUSY (someone has it open), HF_EALREADYOPEN, HF_EFULL, HF_ENOSPC, and as hf_open.
 */
HF_API int hf_grow(const char *path, uint64_t extra_bytes);

/*
 * hf_shrink_to_fit - cuts a closed store at its used end. Nothing moves, so free space between
 * live blocks stays. Errors: as hf_grow.
 */
HF_API int hf_shrink_to_fit(const char *path);

#ifdef __cplusplus
}
#endif
#endif
