/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - the copying behind hf_snapshot and hf_save_as
 *
 *   snapshot.c        one commit of a live store as a new file
 *   snapshot_copy.c   the methods of copying a file's bytes, and memory
 *
 * docs/snapshots.md says why the copy is that commit.
 */
#ifndef HF_STORE_SNAPSHOT_H
#define HF_STORE_SNAPSHOT_H

#include "touched.h"

#include "base/check.h"
#include "holdfast/holdfast.h"

#include <stdbool.h>
#include <stdint.h>

/* hf_snapshot with options that make sense; also inside the thread's transaction, and then of what that shows.
 * as_shown: exactly what the view shows, though more may be durable. */
int hf__snapshot(hf_store *store, const char *to_path, const hf_snapshot_options *options,
                 bool as_shown);

/* A copy in the making. */
struct hf__copy {
    int from_fd, fd;             /* the store's file (-1: it has none), and the new one          */
    const char *from_path, *path;
    uint64_t end;                /* of the segment: what is copied lies below; whole pages       */
    struct hf__check *check;     /* progress and cancelling; NULL: neither                       */
    hf_snapshot_report *report;  /* method, moved_bytes, shared_bytes and hole_bytes are set     */
};

/* The file's bytes up to there, page table included, header slots not, by that method. HF_ENOTSUP: it isn't
 * possible here (or for HF_SNAPSHOT_ANY: never). HF_ECANCELLED, HF_EIO, HF_ENOSPC, HF_ENOMEM. */
int hf__copy_file(struct hf__copy *copy, uint32_t method);
/* [from, to) of the segment, from memory; pages of zeros are left out. Likewise. */
int hf__copy_memory(struct hf__copy *copy, const unsigned char *base, uint64_t from, uint64_t to);
/* The page table of [0, end) alone. HF_EIO, HF_ENOSPC, HF_ENOMEM. */
int hf__copy_table(struct hf__copy *copy);
/* Adds the pages below used_end that memory shows otherwise than the file, or the copy's table (which is there
 * already) has as holes. HF_EIO, HF_ENOMEM. */
int hf__copy_differing(struct hf__copy *copy, const unsigned char *base, uint64_t used_end,
                       uint64_t salt, uint64_t commit, struct hf__touched *touched);

#endif
