/* SPDX-License-Identifier: MIT */
/*
 * places.c - the writer's and the applier's place: threads of a handle first, then processes
 *
 * A place is two futex words. thread_lock is an ordinary three-state mutex in the handle (threads
 * of one process share an owner id, so the shared word can't tell them apart). The word in the lock
 * table holds the owner id of the process that has the place; a dead owner's id is replaced by
 * compare-and-swap, so of several who find it dead one takes over.
 *
 * Invariants
 *   W1  the word == own only while thread_lock is held
 *   W2  the word changes 0 -> id, dead id -> id, and id -> 0 by its owner; nothing else
 *   W3  who replaced a dead owner's id is told (`stolen`), each time
 *
 * Fairness: waking a sleeper takes longer than locking again, so a busy process would keep the word
 * for ever. After STREAK_MAX turns in a row with somebody waiting, the handle lets the word pass: it
 * waits a moment for it to be taken before it tries again.
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

static bool thread_lock(struct hf__place *place, uint64_t deadline)
{
    uint32_t state = 0;
    if (__atomic_compare_exchange_n(&place->thread_lock, &state, 1, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED))
        return true;
    while (__atomic_exchange_n(&place->thread_lock, 2, __ATOMIC_ACQUIRE) != 0) {
        int64_t piece = piece_until(deadline, PIECE_NS);
        if (piece == 0)
            return false;
        hf__os->futex_wait(&place->thread_lock, 2, piece);
    }
    return true;
}

static void thread_unlock(struct hf__place *place)
{
    if (__atomic_exchange_n(&place->thread_lock, 0, __ATOMIC_RELEASE) == 2)
        hf__os->futex_wake(&place->thread_lock, 1);
}

/* The two words of a place in the lock table. */
struct words {
    uint32_t *owner, *waiters;
};

static struct words words_of(const struct hf__locks *locks, const struct hf__place *place)
{
    struct hf__lock_header *header = &locks->table->header;
    return place == &locks->writing ? (struct words){&header->writer, &header->writer_waiters}
                                    : (struct words){&header->log.applier,
                                                     &header->log.applier_waiters};
}

static void let_pass(struct hf__place *place, struct words words)
{
    if (place->streak < STREAK_MAX)
        return;
    place->streak = 0;
    if (__atomic_load_n(words.waiters, __ATOMIC_ACQUIRE) == 0)
        return;
    /* Nobody took it: who was counted may be dead, and isn't counted any more. */
    if (hf__os->futex_wait(words.owner, 0, PASS_NS) != 0 && errno == ETIMEDOUT)
        __atomic_store_n(words.waiters, 0, __ATOMIC_SEQ_CST);
}

int hf__place_lock(struct hf__locks *locks, struct hf__place *place, uint64_t deadline)
{
    const struct words words = words_of(locks, place);
    if (!thread_lock(place, deadline))
        return hf__fail_busy(hf__locks_pid(locks, locks->own), locks->path,
                             "another thread has the transaction");
    let_pass(place, words);
    place->stolen = false;
    for (;;) {
        uint32_t owner = 0;
        if (__atomic_compare_exchange_n(words.owner, &owner, locks->own, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST))
            return 0;
        if (hf__locks_dead(locks, owner)) {
            if (__atomic_compare_exchange_n(words.owner, &owner, locks->own, false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
                place->stolen = true;
                return 0;
            }
            continue;
        }
        int64_t piece = piece_until(deadline, PIECE_NS);
        if (piece == 0) {
            int64_t pid = hf__locks_pid(locks, owner);
            thread_unlock(place);
            return hf__fail_busy(pid, locks->path, "another process has the transaction");
        }
        __atomic_fetch_add(words.waiters, 1, __ATOMIC_SEQ_CST);
        hf__os->futex_wait(words.owner, owner, piece);
        hf__count_down(words.waiters);
    }
}

void hf__place_unlock(struct hf__locks *locks, struct hf__place *place)
{
    const struct words words = words_of(locks, place);
    __atomic_store_n(words.owner, 0, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(words.waiters, __ATOMIC_SEQ_CST) != 0) {
        place->streak++;
        hf__os->futex_wake(words.owner, 1);
    } else {
        place->streak = 0;
    }
    thread_unlock(place);
}
