/* SPDX-License-Identifier: MIT */
/*
 * engine.h - what stands behind hf_begin, hf_commit, hf_abort, hf_sync and the edit door
 *
 *   direct.c       edits in place; old lines in an undo list that others can apply
 *   log_engine.c   edits in a private mapping; changed lines go to a log
 *
 * txn.c does what is the same in both. A handle's engine is set once its constants are known:
 * hf__engine_of.
 */
#ifndef HF_STORE_ENGINE_H
#define HF_STORE_ENGINE_H

#include "base/segment.h"
#include "holdfast/holdfast.h"

/* What a living process does with the gate closed on the log engine is over in a moment, unless the
 * processor is wanted elsewhere: who "does not wait" waits so long for it all the same. */
#define HF__MOMENT_NS (UINT64_C(1000) * 1000 * 1000)

struct hf__engine {
    const struct hf__door *door;
    /* An abort restores what lies above the used end, too. */
    bool keeps_tail;
    /* Takes the writer's place and brings the writable segment to the last commit, recovering what a
     * dead writer left. prepare: a transaction is to follow, so see to what must be said before the
     * first change. */
    int (*begin)(hf_store *store, bool prepare, uint64_t deadline);
    /* Gives the writer's place up, with the segment at a commit. */
    void (*end)(hf_store *store);
    /* Makes the changes a commit and gives the place up. On an error they are undone, but with
     * HF_ECOMMIT_UNKNOWN, and the place is given up all the same. */
    int (*commit)(hf_store *store);
    /* Undoes what was changed since the undo list ended at `to`. */
    int (*rollback)(hf_store *store, uint64_t to);
    /* After a rollback of everything: gives the place up. sound: the rollback succeeded. */
    void (*abandon)(hf_store *store, bool sound);
    /* The transaction has space that was free: it need not be kept, but is changed. NULL: nothing
     * to note. */
    void (*fresh)(hf_store *store, uint64_t offset, uint64_t size_bytes);
    /* In a transaction: what lies above the used end is overwritten where the file is, too. NULL: the
     * writable segment is the file. */
    int (*zero_tail)(hf_store *store);
    /* Takes the writer's place with the file at the last commit, and nothing that could lead to another
     * state: *shown is the segment as the file has it. (*base for the page table, 0 if that is not kept
     * up, and no view is inside.) HF_EBUSY: a view is in the way, and isn't waited for, since writers
     * would wait, too. Then end_punch. */
    int (*begin_punch)(hf_store *store, uint64_t deadline, struct hf__segment *shown, uint64_t *base);
    void (*end_punch)(hf_store *store);
    int (*sync)(hf_store *store, uint64_t deadline);
    /* The file is to say "clean": its last writer leaves. */
    int (*clean)(hf_store *store, uint64_t deadline);
    /* A view met a gate that a dead process closed, and this handle may write. */
    int (*unstick)(hf_store *store, uint64_t deadline);
    /* The same where it may not: a private mapping at the last commit that counts. The caller
     * munmaps reserved_bytes. */
    int (*replay)(hf_store *store, void **out);
};

extern const struct hf__engine hf__engine_direct;
extern const struct hf__engine hf__engine_log;

#endif
