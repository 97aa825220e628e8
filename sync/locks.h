/* SPDX-License-Identifier: MIT */
/*
 * locks.h - the writer's lock, the gate and the readers, over one lock table
 *
 * A struct hf__locks is one handle's side of the table (lock_format.h), which is a mapped sidecar
 * for files and private memory for the other backings. Lock order, outermost first: the writer's
 * place (threads of this handle, then processes) -> the applier's place -> gate -> reader slots.
 *
 * No lock can be lost with its holder: every wait is cut in short pieces, and after each the waiter
 * asks whether the one it waits for is dead (hf__locks_dead) and if so takes over. docs/locking.md
 * has the argument; it also says why no instruction at which a holder dies leaves a living process
 * stuck or lets two in.
 *
 * Deadlines are CLOCK_MONOTONIC nanoseconds, HF__NO_DEADLINE for none; one in the past = try once.
 */
#ifndef HF_SYNC_LOCKS_H
#define HF_SYNC_LOCKS_H

#include "lock_format.h"

#include <sys/types.h>

#include <stdbool.h>

#define HF__NO_DEADLINE UINT64_MAX

/* A handle's side of a place that one process has at a time (places.c). */
struct hf__place {
    uint32_t thread_lock;    /* futex mutex among this handle's threads: 0, 1 held, 2 contended  */
    uint32_t streak;         /* turns in a row while others waited                               */
    bool stolen;             /* this time it was taken from a dead owner                         */
};

struct hf__locks {
    struct hf__lock_table *table;
    const char *path;        /* of the store, for messages; belongs to the store                 */
    int data_fd;             /* where the liveness bytes are; -1: private table                  */
    int lock_fd;             /* the sidecar; -1: private table                                   */
    bool data_read_only;     /* data_fd can carry shared locks only                              */
    uint32_t own;            /* this handle's owner id                                           */
    struct hf__place writing, applying;
};

/* What a new table says from the start, because of what was found beside the store. */
struct hf__lock_start {
    bool marked;             /* the header says "in use"                                         */
    bool pending;            /* an undo list waits: the gate is closed, by nobody                */
    bool sync_failed;
    bool recover;            /* what waits is a log                                              */
    bool settled;            /* nothing waits, both header slots are clean, no sidecar is there  */
};

uint64_t hf__deadline_in_ms(int64_t timeout_ms); /* 0 = none, < 0 = now: as hf_options says       */

/* A table in private memory, with this handle in it. HF_ENOMEM. */
int hf__locks_open_private(struct hf__locks *locks, const char *path);
/* Makes lock_path anew, for an exclusive attacher. HF_ENOSPC, HF_EACCES, HF_EIO, ... */
int hf__locks_create(struct hf__locks *locks, const char *path, const char *lock_path, int data_fd,
                     const uint8_t uuid[16], mode_t mode, const struct hf__lock_start *start);
/* Opens the lock_path that others use. HF_EOTHERPATH if there is none or it is for another inode;
 * HF_ESIDECAR if it is not a lock file; HF_EACCES. */
int hf__locks_attach(struct hf__locks *locks, const char *path, const char *lock_path, int data_fd,
                     bool data_read_only, const uint8_t uuid[16]);
/* Takes a process slot and its liveness byte. HF_EPROCESSES, HF_ENOSPC. Not for private tables. */
int hf__locks_claim(struct hf__locks *locks);
/* Gives the slot back and lets go of the table. In a forked child (release false) only the
 * latter. */
void hf__locks_detach(struct hf__locks *locks, bool release);

/* Is the handle with this id gone? */
bool hf__locks_dead(const struct hf__locks *locks, uint32_t owner);
/* A living process that is in the way, or 0: for the message of HF_EBUSY. Whoever the lock file at
 * lock_path names, or a FROZEN holder; writes: the other way round. */
int64_t hf__locks_find_pid(const char *lock_path, int data_fd, bool writes);
int64_t hf__locks_pid(const struct hf__locks *locks, uint32_t owner);

/* Makes reader slot index usable (gate.c). HF_ENOSPC. */
int hf__locks_back_reader(struct hf__locks *locks, uint32_t index);

/* One less, but never below 0: counts of waiters are forgotten now and then. The count before. */
uint32_t hf__count_down(uint32_t *count);

/* Takes a place, &locks->writing or &locks->applying. 0, HF_EBUSY (with the holder's pid). */
int hf__place_lock(struct hf__locks *locks, struct hf__place *place, uint64_t deadline);
void hf__place_unlock(struct hf__locks *locks, struct hf__place *place);
static inline int hf__writer_lock(struct hf__locks *locks, uint64_t deadline)
{
    return hf__place_lock(locks, &locks->writing, deadline);
}
static inline void hf__writer_unlock(struct hf__locks *locks)
{
    hf__place_unlock(locks, &locks->writing);
}

/* With the writer's place held: keeps new readers out and waits for those inside, at most wait_ns (UINT64_MAX:
 * as long as it takes) and until the deadline. 0, HF_EBUSY. */
int hf__gate_close(struct hf__locks *locks, uint64_t wait_ns, uint64_t deadline);
void hf__gate_open(struct hf__locks *locks);

/* The same as the next without any wait, in the slot that this thread had last: false, and nothing is held, if
 * that can't be had or the gate isn't open. */
bool hf__reader_enter_at_once(struct hf__locks *locks, uint32_t *out_slot);
/*
 * hf__reader_enter - takes a reader slot, waiting for an open gate. 0; HF_EBUSY (pid); HF_EREADERS;
 * HF_ENOSPC; or 1 = the gate was closed by a handle that is dead. In that case the slot is held if
 * keep_when_stuck: whoever takes over waits for it before it touches anything.
 */
int hf__reader_enter(struct hf__locks *locks, uint64_t deadline, bool keep_when_stuck,
                     uint32_t *out_slot);
/* The view in that slot shows this commit: others may look it up. */
static inline void hf__reader_shows(struct hf__locks *locks, uint32_t index, uint64_t commit)
{
    struct hf__reader_slot *slot = hf__reader_slot(locks->table, index);
    __atomic_store_n(&slot->commit, commit, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->shown, __atomic_load_n(&slot->word, __ATOMIC_RELAXED),
                     __ATOMIC_RELEASE);
}
/* The view in that slot, if there is one and it has begun: word, since_ns and commit. One of a dead
 * handle is freed. index < readers_high. */
bool hf__reader_look(struct hf__locks *locks, uint32_t index, struct hf__reader_slot *out);
void hf__reader_leave(struct hf__locks *locks, uint32_t slot);
/* Leaves every slot this handle is still in: it is being closed. */
void hf__reader_leave_all(struct hf__locks *locks);

#endif
