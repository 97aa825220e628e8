/* SPDX-License-Identifier: MIT */
/*
 * writer.c - the writer's lock: threads of a handle first, then processes
 *
 * Two futex words. thread_lock is an ordinary three-state mutex in the handle (threads of one
 * process share an owner id, so the shared word can't tell them apart). table->writer holds the
 * owner id of the process that writes; a dead owner's id is replaced by compare-and-swap, so of
 * several who find it dead one takes over.
 *
 * Invariants
 *   W1  table->writer == own only while thread_lock is held
 *   W2  the word changes 0 -> id, dead id -> id, and id -> 0 by its owner; nothing else
 *
 * Fairness: waking a sleeper takes longer than locking again, so a busy process would keep the word
 * for ever. After STREAK_MAX transactions in a row with somebody waiting, the handle lets the word
 * pass: it waits a moment for it to be taken before it tries again.
 */
#include "sync/locks.h"

#include "base/error.h"
#include "base/os.h"

#include <errno.h>

#define PIECE_NS ((int64_t)20 * 1000 * 1000) /* how long before looking whether the owner lives   */
#define STREAK_MAX 8u
#define PASS_NS ((int64_t)2 * 1000 * 1000)

/* How long to sleep now: a piece, or what is left until the deadline; 0 = no more. */
static int64_t piece_until(uint64_t deadline, int64_t piece_ns)
{
    if (deadline == HF__NO_DEADLINE)
        return piece_ns;
    uint64_t now = hf__os->now_ns();
    if (now >= deadline)
        return 0;
    return deadline - now < (uint64_t)piece_ns ? (int64_t)(deadline - now) : piece_ns;
}

static bool thread_lock(struct hf__locks *locks, uint64_t deadline)
{
    uint32_t state = 0;
    if (__atomic_compare_exchange_n(&locks->thread_lock, &state, 1, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED))
        return true;
    while (__atomic_exchange_n(&locks->thread_lock, 2, __ATOMIC_ACQUIRE) != 0) {
        int64_t piece = piece_until(deadline, PIECE_NS);
        if (piece == 0)
            return false;
        hf__os->futex_wait(&locks->thread_lock, 2, piece);
    }
    return true;
}

static void thread_unlock(struct hf__locks *locks)
{
    if (__atomic_exchange_n(&locks->thread_lock, 0, __ATOMIC_RELEASE) == 2)
        hf__os->futex_wake(&locks->thread_lock, 1);
}

static void let_pass(struct hf__locks *locks)
{
    struct hf__lock_header *header = &locks->table->header;
    if (locks->streak < STREAK_MAX)
        return;
    locks->streak = 0;
    if (__atomic_load_n(&header->writer_waiters, __ATOMIC_ACQUIRE) == 0)
        return;
    /* Nobody took it: who was counted may be dead, and isn't counted any more. */
    if (hf__os->futex_wait(&header->writer, 0, PASS_NS) != 0 && errno == ETIMEDOUT)
        __atomic_store_n(&header->writer_waiters, 0, __ATOMIC_SEQ_CST);
}

int hf__writer_lock(struct hf__locks *locks, uint64_t deadline)
{
    struct hf__lock_header *header = &locks->table->header;
    if (!thread_lock(locks, deadline))
        return hf__fail_busy(hf__locks_pid(locks, locks->own), locks->path,
                             "another thread has the transaction");
    let_pass(locks);
    for (;;) {
        uint32_t owner = 0;
        if (__atomic_compare_exchange_n(&header->writer, &owner, locks->own, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return 0;
        if (hf__locks_dead(locks, owner)) {
            if (__atomic_compare_exchange_n(&header->writer, &owner, locks->own, false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
                return 0;
            continue;
        }
        int64_t piece = piece_until(deadline, PIECE_NS);
        if (piece == 0) {
            int64_t pid = hf__locks_pid(locks, owner);
            thread_unlock(locks);
            return hf__fail_busy(pid, locks->path, "another process has the transaction");
        }
        __atomic_fetch_add(&header->writer_waiters, 1, __ATOMIC_SEQ_CST);
        hf__os->futex_wait(&header->writer, owner, piece);
        hf__count_down(&header->writer_waiters);
    }
}

void hf__writer_unlock(struct hf__locks *locks)
{
    struct hf__lock_header *header = &locks->table->header;
    __atomic_store_n(&header->writer, 0, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&header->writer_waiters, __ATOMIC_SEQ_CST) != 0) {
        locks->streak++;
        hf__os->futex_wake(&header->writer, 1);
    } else {
        locks->streak = 0;
    }
    thread_unlock(locks);
}
