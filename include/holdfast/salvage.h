/* SPDX-License-Identifier: MIT */
/*
 * salvage.h - saving what is provably intact from a wreck
 *
 * A wreck is a store's file in any state whatsoever: header destroyed, log lost, pages zeroed, swapped or
 * rotten, cut off, torn by a crash of the machine. hf_salvage finds the objects in it, tells for each one
 * whether its bytes are provably what some commit left, and makes a new store of those that are. The
 * wreck is only read.
 *
 *   intact     every byte of it and of what makes it an object (block header or slot bitmap, name,
 *              object header) lies in pages that match their checksums in the page table, or comes from a
 *              record of a log that is whole; its type's record is sound
 *   unproved   it can be read, but something of that is missing: why says what. Left out, unless
 *              HF_SALVAGE_UNPROVED asks for it: then it is called NAME.unproved
 *   lost       it can't be read, or there is no place for it
 *
 * Pointers that the types of objects declare are rewritten to the new places; such that lead to what was
 * not saved become null, and are counted. Anonymous objects and memory of hf_alloc come along if
 * something that is saved leads to them. Bytes without a type are copied as they are: references in them
 * are known to their owner alone, and lead astray in the new store. Pools of nodes can't be moved.
 * docs/salvage.md says what is proved by what.
 *
 * Example
 *
 *   hf_salvage_report report;
 *   if (hf_salvage("wreck.hf", "saved.hf", NULL, &report) == 0)
 *       printf("%llu objects saved\n", (unsigned long long)report.intact);
 */
#ifndef HOLDFAST_SALVAGE_H
#define HOLDFAST_SALVAGE_H

#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { /* hf_salvage_object.verdict */
    HF_SALVAGE_INTACT = 0,
    HF_SALVAGE_NOT_PROVED = 1,
    HF_SALVAGE_LOST = 2
};

typedef struct hf_salvage_object {
    const char *name;       /* named: its name; unique: its type's name; NULL: anonymous, or lost */
    const char *new_name;   /* in the new store; NULL if it isn't there or has none               */
    const char *type_name;  /* "" for plain bytes or where it can't be told                       */
    const char *why;        /* what keeps it from being intact; "" if it is. Static strings       */
    uint32_t kind;          /* HF_KIND_..., 0 where it can't be told                              */
    uint32_t verdict;       /* HF_SALVAGE_...                                                     */
    uint32_t type_version;
    uint32_t saved;         /* 1: it is in the new store (or would be, if there is to be none)    */
    uint64_t count;         /* elements                                                           */
    uint64_t size_bytes;    /* of all of them                                                     */
    uint64_t offset;        /* in the wreck's segment                                             */
    uint64_t commit;        /* that changed the newest of its pages, as far as the table says     */
    uint64_t nulled;        /* pointers in it that lead to nothing that was saved                 */
    uint64_t reserved[4];
} hf_salvage_object;

#define HF_SALVAGE_UNPROVED 1u /* hf_salvage_options.flags: also what can't be proved            */

typedef struct hf_salvage_options {
    /* Each named and unique object, each anonymous one that is not intact or has lost pointers. */
    void (*on_object)(void *user, const hf_salvage_object *object);  /* may be NULL               */
    int (*on_progress)(void *user, uint64_t done, uint64_t total);   /* not 0 = cancel            */
    void *user;
    uint32_t flags;
    uint32_t permissions;   /* of the new file; 0 = 0644 less the umask                           */
    uint64_t salt;          /* of the wreck, where no copy of it is left in it; 0 = none known    */
    uint64_t reserved[4];
} hf_salvage_options;
#define HF_SALVAGE_OPTIONS_INIT                                                                    \
    { NULL, NULL, NULL, 0, 0, 0, {0, 0, 0, 0} }

typedef struct hf_salvage_report {
    uint64_t intact, unproved, lost;          /* named and unique objects, by verdict             */
    uint64_t missing;                         /* named ones the wreck counts but that weren't found */
    uint64_t saved, saved_bytes;              /* named and unique ones in the new store           */
    uint64_t anonymous_saved, raw_saved;      /* that came along                                  */
    uint64_t anonymous_left, raw_left;        /* intact or not, and not saved                     */
    uint64_t pointers, nulled;                /* in what was saved; those that lead nowhere now   */
    uint64_t types;                           /* records of types that are sound                  */
    uint64_t pages_same, pages_differ;        /* as the page table says                           */
    uint64_t pages_unknown;                   /* without an entry that can be used                */
    uint64_t pages_unreadable;                /* the medium doesn't give them                     */
    uint64_t replayed_commits;                /* of the log, in memory                            */
    uint64_t searched_bytes;                  /* belong to no block that can be told              */
    uint64_t salt;                            /* of the wreck: all checksums are keyed by it      */
    const char *log;                          /* what came of its log, "" if none was needed      */
    uint64_t pools, pool_nodes;               /* of the saved: pools, and the nodes in them       */
    uint64_t reserved[2];
} hf_salvage_report;

/*
 * hf_salvage - makes the new store to_path of what is intact in the wreck at path; with to_path NULL only
 * looks. options and report may be NULL. The new store has the wreck's engine, allocator, index, layout and
 * largest size, as far as they can still be told. It appears under its name when it is whole and synced; a
 * kill leaves at most a file TO_PATH.new-PID-NUMBER, which whoever makes a store of that name next removes.
 *
 * Returns 0 whatever the wreck had to give: the report says what is missing. Errors: HF_EEXIST (to_path is
 * there), HF_EBUSY (somebody has the wreck open for writing), HF_EALREADYOPEN, HF_ECORRUPT (no copy of the salt is left, so
 * that nothing can be proved), HF_ETRUNCATED (nothing of its segment is left), HF_ENEWER and HF_EENDIAN (by its
 * header it is a store this library can't read), HF_ECANCELLED, HF_ENOSPC, HF_ENOENT, HF_EACCES, HF_EIO, HF_ENOMEM.
 */
HF_API int hf_salvage(const char *path, const char *to_path, const hf_salvage_options *options,
                      hf_salvage_report *report);

#ifdef __cplusplus
}
#endif
#endif
