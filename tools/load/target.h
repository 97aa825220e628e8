/* SPDX-License-Identifier: MIT */
/* target.h - the store that a dump is loaded into */
#ifndef HF_TOOLS_LOAD_TARGET_H
#define HF_TOOLS_LOAD_TARGET_H

#include "tools/common/tool.h"

#include "holdfast/holdfast.h"

#include <stdbool.h>

struct target {
    struct tool *tool;
    const char *path;
    bool into;      /* an existing store                                                        */
    uint64_t batch; /* objects in a transaction; 0: one transaction, or as memory allows        */
    hf_options options;
    char *temporary; /* the new store's name while it isn't whole                               */
    int lock_fd;     /* with it: says that its maker lives                                      */
    bool complete;   /* the store of that name has all of it, whatever fails then               */
    hf_store *store;
    hf_txn *txn;
    hf_view *view; /* of txn                                                                    */
    uint64_t objects_in_txn, bytes_in_txn, transactions;
};

/* Each reports its failure and returns an exit code. */
int target_open(struct target *target);
/* Counts what was written; commits and begins anew if the transaction is large enough, of which
 * *committed then tells: addresses from before are dead. */
int target_step(struct target *target, uint64_t objects, uint64_t bytes, bool *committed);
/* Commits, closes and, if it is new, gives the store its name. */
int target_finish(struct target *target);
/* Nothing of it shall stay, but for what --batch committed to an existing store. */
void target_abandon(struct target *target);

#endif
