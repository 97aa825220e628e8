/* SPDX-License-Identifier: MIT */
/*
 * undo.h - the direct engine's undo list
 *
 * Old content of 64-byte lines, kept before their first change since the innermost savepoint. For
 * files the list is the mapped sidecar of store_format.h, so that another process can undo a dead
 * one's changes; for other backings it is private memory of the same form.
 *
 * Invariants
 *   U1  no byte of the segment that was live at the innermost savepoint is changed before a record
 *       that holds it lies below `end`
 *   U2  undoing the records from `end` down to a position restores every such byte to what it was
 *       when `end` was at that position; doing it again, or after doing it in part, changes nothing
 *   U3  end == HF__UNDO_FIRST exactly when no transaction has changed anything: setting it is the
 *       commit
 *
 * Which lines are recorded already is remembered in process memory, a bit for each line of a page,
 * valid for one level; a new level (transaction, savepoint, rollback) forgets them all at once.
 * Forgetting is always safe: a line recorded twice is restored twice, the older content last.
 */
#ifndef HF_STORE_UNDO_H
#define HF_STORE_UNDO_H

#include "base/segment.h"
#include "lines.h"
#include "store_format.h"

#include <sys/types.h>

struct hf__undo {
    int fd;                       /* -1: private memory                                          */
    const char *path;             /* belongs to the store                                        */
    uid_t user;                   /* who a new sidecar shall belong to: the store's owner        */
    gid_t group;
    unsigned char *map;           /* NULL = not there yet                                        */
    uint64_t capacity;            /* bytes of map                                                */
    uint64_t reserved_end;        /* announcements up to here can't fail                         */
    struct hf__lines kept;        /* lines recorded since the innermost savepoint                */
    uint64_t fresh_from;          /* lines from here on were nobody's then: they aren't kept     */
};

struct hf__undo_stats {
    uint64_t ranges, bytes;
};

void hf__undo_init(struct hf__undo *undo, const char *path);
/* Private memory. HF_ENOMEM. */
int hf__undo_open_private(struct hf__undo *undo);
/* The sidecar: opens it, or makes it where there is none (create). The writer's place is held, or
 * the caller is alone. HF_ENOENT (no file and not create), HF_ESIDECAR (another store's),
 * HF_ENOSPC. read_only maps it for reading. */
int hf__undo_open_file(struct hf__undo *undo, const uint8_t uuid[16], mode_t mode, bool create,
                       bool read_only);
/* The mapping follows a file that another process made larger or smaller. */
int hf__undo_refresh(struct hf__undo *undo);
void hf__undo_close(struct hf__undo *undo);

static inline struct hf__undo_header *hf__undo_header(const struct hf__undo *undo)
{
    return (struct hf__undo_header *)undo->map;
}
static inline uint64_t hf__undo_end(const struct hf__undo *undo)
{
    return __atomic_load_n(&hf__undo_header(undo)->end, __ATOMIC_ACQUIRE);
}

/* A new level begins: every line counts as unrecorded. What lies from fresh_from on (UINT64_MAX: no
 * such place) means nothing as it is now, so its lines are not kept in this level. */
void hf__undo_new_level(struct hf__undo *undo, uint64_t fresh_from);
/* Room for announcements that cost cost_bytes in all from here on (replaces the last
 * reservation). */
int hf__undo_reserve(struct hf__undo *undo, uint64_t cost_bytes);
/* What is left of the last reservation: a nested operation adds it to its own. */
static inline uint64_t hf__undo_reserved(const struct hf__undo *undo)
{
    uint64_t end = hf__undo_end(undo);
    return undo->reserved_end > end ? undo->reserved_end - end : 0;
}
/* Keeps the lines of [offset, offset + size_bytes) that aren't kept yet. Needs the reservation. */
void hf__undo_record(struct hf__undo *undo, const struct hf__segment *seg, uint64_t offset,
                     uint64_t size_bytes);
/* Restores everything recorded above position `to` into base[0, limit_bytes) and takes it off the
 * list (unless keep). HF_ECORRUPT: a record that can't be; nothing below it was restored. */
int hf__undo_apply(struct hf__undo *undo, unsigned char *base, uint64_t limit_bytes, uint64_t to,
                   bool keep, struct hf__undo_stats *stats);
/* U3: the commit. */
void hf__undo_forget(struct hf__undo *undo);

#endif
