/* SPDX-License-Identifier: MIT */
/*
 * compact.h - making a closed store as small as what lives in it
 *
 * A store whose objects come and go keeps holes between those that stay. Compaction builds it anew
 * beside the old one - live objects only, those of a type together and in the order in which they refer
 * to each other, every pointer rewritten - and then gives it the old one's name in one step.
 *
 * Example
 *
 *   hf_compact_report report;
 *   hf_compact_options options = HF_COMPACT_OPTIONS_INIT;
 *   options.report = &report;
 *   if (hf_compact("photos.hf", &options) == 0)
 *       printf("%llu bytes less\n",
 *              (unsigned long long)(report.size_before_bytes - report.size_after_bytes));
 *
 * Caveats
 *
 *   - Offsets change: an hf_ref kept outside the store leads nowhere afterwards. Names don't change.
 *   - What has no type - memory of hf_alloc, and with it the nodes of pools, and objects of plain
 *     bytes - may hold anything, and is found in ways nobody knows. It stays at its offset, and so does
 *     every object to which one of its 8-aligned words leads, read as an hf_ref or as an HF_PTR. All
 *     else moves into the lowest holes around it. Give bytes a type with HF_TYPE_BLOB.
 *   - A descriptor (hf_type) names all the pointers of its type; those it doesn't name are not
 *     rewritten. Nor is an hf_ref at an offset that isn't a multiple of 8 in memory without a type seen.
 *   - A pointer that leads to nothing that lives becomes null, and is counted (dangling): left as it is it
 *     could come to lead to a stranger. Values of an hf_ref below the first block (1024), and of more than
 *     the segment can ever have, are taken for marks, and stay.
 *   - For a while the disk holds both stores. Memory is needed about as much as the new store has bytes,
 *     less large objects without pointers.
 */
#ifndef HOLDFAST_COMPACT_H
#define HOLDFAST_COMPACT_H

#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hf_compact_report {
    uint64_t size_before_bytes, size_after_bytes;     /* of the file                              */
    uint64_t live_bytes;                              /* what all objects need, names and headers
                                                         too, and memory of hf_alloc              */
    uint64_t moved, moved_bytes;                      /* objects that have another offset now     */
    uint64_t pinned_opaque, pinned_opaque_bytes;      /* blocks that may hold anything            */
    uint64_t pinned_referred, pinned_referred_bytes;  /* objects to which such blocks may lead    */
    uint64_t dropped, dropped_bytes;                  /* HF_COMPACT_DROP_UNREACHABLE              */
    uint64_t unreachable, unreachable_bytes;          /* what that drops, or would drop           */
    uint64_t dangling;                                /* pointers that led nowhere: null now      */
    uint64_t commit;                                  /* of the new store: one more than before   */
    uint64_t time_ns;
    uint64_t reserved[8];
} hf_compact_report;

enum { /* hf_compact_options.flags */
    HF_COMPACT_DRY_RUN = 1,          /* all but writing: the report says what it would come to    */
    HF_COMPACT_DROP_UNREACHABLE = 2  /* objects without a name that nothing leads to from a named or
                                        unique one, or from memory of hf_alloc; and what repair has
                                        set aside. Else they are kept: nothing vanishes silently   */
};

typedef struct hf_compact_options {
    hf_compact_report *report;       /* may be NULL; filled in on success                         */
    int (*on_progress)(void *user, uint64_t done, uint64_t total); /* may be NULL; not 0 = cancel */
    void *user;
    uint32_t flags;
    uint32_t reserved32;
    uint64_t reserved[6];            /* zero                                                      */
} hf_compact_options;
#define HF_COMPACT_OPTIONS_INIT                                                                    \
    { NULL, NULL, NULL, 0, 0, {0, 0, 0, 0, 0, 0} }

/*
 * hf_compact - compacts the store at path, which nobody may have open. options may be NULL.
 *
 * A store that was not closed is recovered first (in a dry run, too). Then it is checked, whole; a
 * damaged one is refused. The new store is built, checked, written under a spare name and synced, and
 * takes the old one's name by rename; the directory is synced. A kill or a power cut anywhere leaves the
 * old store or the new one, whole, and an error or a cancel leaves the old one and nothing else
 * (but for an HF_EIO of the directory's sync, the last step: then the new one has the name already).
 * Owner, group, mode and, where the file system lets us, extended attributes (ACLs among them) are
 * the old ones. What identifies the store is kept (uuid, date, layout, engine, sizes, type ids); the number
 * of its last commit goes up by one, and its page table says so of every page, so the next incremental
 * snapshot holds all of them.
 *
 * Returns 0; HF_EBUSY (with the holder's pid), HF_EALREADYOPEN; HF_ECORRUPT, HF_ENOTSTORE and what else
 * hf_open says of files that are no whole store; HF_EOTHERPATH (the file has several names: one of them
 * would keep the old store); HF_EACCES (also where owner and mode can't be kept); HF_ENOSPC, HF_EFULL,
 * HF_ENOMEM, HF_EADDRSPACE, HF_EIO; HF_ECANCELLED; HF_EINVAL.
 */
HF_API int hf_compact(const char *path, const hf_compact_options *options);

#ifdef __cplusplus
}
#endif
#endif
