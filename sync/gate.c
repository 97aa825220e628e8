/* SPDX-License-Identifier: MIT */
/*
 * gate.c - readers and the gate that keeps them out for a while
 *
 * A reader announces itself in a slot of its own and then looks at the gate; whoever closes the
 * gate sets it and then looks at the slots. Both sides use sequentially consistent operations, so
 * at least one sees the other (leaving is a release store: who is seen late leaves late):
 *
 *   G1  a reader is inside only if it saw the gate open after its slot was set
 *   G2  the closer goes on only after it saw every slot free (or its owner dead) after the gate was
 *   set =>  no reader is inside while the closer works
 *
 *   G3  a gate that a dead closer left behind is opened only by who has undone the dead one's work;
 *       who gives up waiting for readers puts the dead one's id back
 *
 * A reader that meets a closed gate takes its slot back before it waits, so it never holds up the
 * closer. Readers that waited are let in before the gate closes again (readers_due), for a bounded
 * moment: neither readers nor writers starve, and a reader that died waiting delays by PASS_NS
 * once.
 */
#include "sync/locks.h"

#include "base/error.h"
#include "base/os.h"

#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PIECE_NS ((int64_t)10 * 1000 * 1000)
#define NAP_NS ((int64_t)50 * 1000) /* the closer's first sleep: it may have missed a wake-up      */
#define PASS_NS ((int64_t)1 * 1000 * 1000)
#define SPINS 200

static _Thread_local uint32_t slot_hint;
static _Thread_local uint32_t thread_id;

static uint64_t word_of(const struct hf__locks *locks)
{
    if (thread_id == 0)
        thread_id = (uint32_t)syscall(SYS_gettid);
    return (uint64_t)thread_id << 32 | locks->own;
}

static bool take(struct hf__locks *locks, uint32_t index, uint64_t word)
{
    uint64_t *at = &hf__reader_slot(locks->table, index)->word, nobody = 0;
    return __atomic_load_n(at, __ATOMIC_RELAXED) == 0 &&
           __atomic_compare_exchange_n(at, &nobody, word, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}

/* Frees the slots of dead handles; used when all are taken that there are. */
static void sweep(struct hf__locks *locks)
{
    const uint32_t high = __atomic_load_n(&locks->table->header.readers_high, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < high && i < HF_READERS_MAX; i++) {
        uint64_t *at = &hf__reader_slot(locks->table, i)->word;
        uint64_t word = __atomic_load_n(at, __ATOMIC_SEQ_CST);
        if (word != 0 && hf__locks_dead(locks, (uint32_t)word))
            __atomic_compare_exchange_n(at, &word, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
}

static int take_slot(struct hf__locks *locks, uint32_t *out)
{
    const struct hf__lock_header *header = &locks->table->header;
    uint64_t word = word_of(locks);
    uint32_t high = __atomic_load_n(&header->readers_high, __ATOMIC_ACQUIRE);
    if (slot_hint < high && take(locks, slot_hint, word)) {
        *out = slot_hint;
        return 0;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < HF_READERS_MAX; i++) {
            if (i >= __atomic_load_n(&header->readers_high, __ATOMIC_ACQUIRE)) {
                int code = hf__locks_back_reader(locks, i);
                if (code != 0 && pass == 0)
                    break; /* those of the dead may do */
                if (code != 0)
                    return code;
            }
            if (take(locks, i, word)) {
                *out = slot_hint = i;
                return 0;
            }
        }
        sweep(locks);
    }
    return hf__fail_path(HF_EREADERS, 0, locks->path, "at most %d", HF_READERS_MAX);
}

void hf__reader_leave(struct hf__locks *locks, uint32_t slot)
{
    struct hf__lock_header *header = &locks->table->header;
    struct hf__reader_slot *at = hf__reader_slot(locks->table, slot);
    __atomic_store_n(&at->shown, 0, __ATOMIC_RELAXED);
    /* No fence before the look at the gate: all that can be lost by it is a wake-up (docs/locking.md). */
    __atomic_store_n(&at->word, 0, __ATOMIC_RELEASE);
    if (__builtin_expect(__atomic_load_n(&header->gate, __ATOMIC_RELAXED) != 0, 0)) {
        __atomic_fetch_add(&header->drain, 1, __ATOMIC_SEQ_CST);
        hf__os->futex_wake(&header->drain, INT_MAX);
    }
}

void hf__reader_leave_all(struct hf__locks *locks)
{
    uint32_t high = __atomic_load_n(&locks->table->header.readers_high, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < high && i < HF_READERS_MAX; i++)
        if ((uint32_t)__atomic_load_n(&hf__reader_slot(locks->table, i)->word, __ATOMIC_SEQ_CST) ==
            locks->own)
            hf__reader_leave(locks, i);
}

/* A slot that is taken anew meanwhile is seen by `shown`; by the same thread, by `since_ns`. */
bool hf__reader_look(struct hf__locks *locks, uint32_t index, struct hf__reader_slot *out)
{
    struct hf__reader_slot *slot = hf__reader_slot(locks->table, index);
    uint64_t word = __atomic_load_n(&slot->word, __ATOMIC_SEQ_CST), since;
    if (word == 0)
        return false;
    if (hf__locks_dead(locks, (uint32_t)word)) {
        __atomic_compare_exchange_n(&slot->word, &word, 0, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        return false;
    }
    if (__atomic_load_n(&slot->shown, __ATOMIC_ACQUIRE) != word)
        return false; /* it hasn't begun yet */
    do {
        since = __atomic_load_n(&slot->since_ns, __ATOMIC_ACQUIRE);
        uint64_t commit = __atomic_load_n(&slot->commit, __ATOMIC_ACQUIRE);
        *out = (struct hf__reader_slot){.word = word, .since_ns = since, .commit = commit};
    } while (__atomic_load_n(&slot->since_ns, __ATOMIC_ACQUIRE) != since);
    return __atomic_load_n(&slot->shown, __ATOMIC_ACQUIRE) == word;
}

uint32_t hf__count_down(uint32_t *count)
{
    uint32_t have = __atomic_load_n(count, __ATOMIC_SEQ_CST);
    while (have != 0 && !__atomic_compare_exchange_n(count, &have, have - 1, false,
                                                     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
    return have;
}

static void begin_now(struct hf__reader_slot *slot)
{
    __atomic_store_n(&slot->since_ns, hf__os->wall_ns(), __ATOMIC_RELAXED);
}

bool hf__reader_enter_at_once(struct hf__locks *locks, uint32_t *out_slot)
{
    const struct hf__lock_header *header = &locks->table->header;
    const uint32_t slot = slot_hint;
    if (slot >= __atomic_load_n(&header->readers_high, __ATOMIC_ACQUIRE) ||
        !take(locks, slot, word_of(locks)))
        return false;
    if (__atomic_load_n(&header->gate, __ATOMIC_SEQ_CST) != 0) {
        hf__reader_leave(locks, slot);
        return false;
    }
    begin_now(hf__reader_slot(locks->table, slot));
    *out_slot = slot;
    return true;
}

int hf__reader_enter(struct hf__locks *locks, uint64_t deadline, bool keep_when_stuck,
                     uint32_t *out_slot)
{
    struct hf__lock_header *header = &locks->table->header;
    bool waited = false;
    for (;;) {
        uint32_t slot = 0;
        int code = take_slot(locks, &slot);
        if (code != 0)
            return code;
        uint32_t closer = __atomic_load_n(&header->gate, __ATOMIC_SEQ_CST);
        if (closer == 0) {
            begin_now(hf__reader_slot(locks->table, slot));
            if (waited && hf__count_down(&header->readers_due) == 1)
                hf__os->futex_wake(&header->readers_due, INT_MAX);
            *out_slot = slot;
            return 0;
        }
        if (hf__locks_dead(locks, closer)) {
            /* It may have opened the gate and gone in peace since: look again, after finding it
             * dead. */
            if (__atomic_load_n(&header->gate, __ATOMIC_SEQ_CST) != closer) {
                hf__reader_leave(locks, slot);
                continue;
            }
            if (keep_when_stuck) {
                begin_now(hf__reader_slot(locks->table, slot));
                *out_slot = slot;
            } else {
                hf__reader_leave(locks, slot);
            }
            return 1;
        }
        hf__reader_leave(locks, slot);
        uint64_t now = hf__os->now_ns();
        if (deadline != HF__NO_DEADLINE && now >= deadline)
            return hf__fail_busy(hf__locks_pid(locks, closer), locks->path,
                                 "a transaction is open");
        int64_t piece = deadline - now < (uint64_t)PIECE_NS ? (int64_t)(deadline - now) : PIECE_NS;
        waited = true;
        __atomic_fetch_add(&header->gate_waiters, 1, __ATOMIC_SEQ_CST);
        hf__os->futex_wait(&header->gate, closer, piece);
        hf__count_down(&header->gate_waiters);
    }
}

static void let_readers_in(struct hf__lock_header *header)
{
    uint32_t due = __atomic_load_n(&header->readers_due, __ATOMIC_SEQ_CST);
    if (due == 0)
        return;
    uint64_t end = hf__os->now_ns() + PASS_NS;
    for (uint64_t now; due != 0 && (now = hf__os->now_ns()) < end;) {
        hf__os->futex_wait(&header->readers_due, due, (int64_t)(end - now));
        due = __atomic_load_n(&header->readers_due, __ATOMIC_SEQ_CST);
    }
    /* Who didn't come in time may be dead: not counted any more, nor waited for again. */
    if (due != 0)
        __atomic_store_n(&header->gate_waiters, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&header->readers_due, 0, __ATOMIC_SEQ_CST);
}

/* Some slot that a living reader is in: its word, or 0. Slots of the dead are freed in passing. */
static uint64_t reader_inside(struct hf__locks *locks)
{
    uint32_t high = __atomic_load_n(&locks->table->header.readers_high, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < high && i < HF_READERS_MAX; i++) {
        uint64_t *at = &hf__reader_slot(locks->table, i)->word;
        uint64_t word = __atomic_load_n(at, __ATOMIC_SEQ_CST);
        if (word == 0)
            continue;
        if (!hf__locks_dead(locks, (uint32_t)word))
            return word;
        __atomic_compare_exchange_n(at, &word, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    return 0;
}

int hf__gate_close(struct hf__locks *locks, uint64_t wait_ns, uint64_t deadline)
{
    struct hf__lock_header *header = &locks->table->header;
    int64_t nap_ns = NAP_NS;
    let_readers_in(header);
    uint32_t stuck_with = __atomic_exchange_n(&header->gate, locks->own, __ATOMIC_SEQ_CST);
    for (int spin = 0;; spin++) {
        uint32_t drain = __atomic_load_n(&header->drain, __ATOMIC_SEQ_CST);
        uint64_t word = reader_inside(locks);
        if (word == 0)
            return 0;
        if (spin < SPINS)
            continue;
        uint64_t now = hf__os->now_ns();
        if (wait_ns != UINT64_MAX && wait_ns < deadline - now)
            deadline = now < deadline ? now + wait_ns : deadline;
        wait_ns = UINT64_MAX; /* it counts from the first look at the clock */
        if (deadline != HF__NO_DEADLINE && now >= deadline) {
            int64_t pid = hf__locks_pid(locks, (uint32_t)word);
            if (stuck_with == 0)
                hf__gate_open(locks);
            else
                __atomic_store_n(&header->gate, stuck_with, __ATOMIC_SEQ_CST);
            return hf__fail_busy(pid, locks->path, "a view is open");
        }
        int64_t piece = deadline - now < (uint64_t)nap_ns ? (int64_t)(deadline - now) : nap_ns;
        hf__os->futex_wait(&header->drain, drain, piece);
        nap_ns = 2 * nap_ns < PIECE_NS ? 2 * nap_ns : PIECE_NS;
    }
}

void hf__gate_open(struct hf__locks *locks)
{
    struct hf__lock_header *header = &locks->table->header;
    uint32_t waiting = __atomic_load_n(&header->gate_waiters, __ATOMIC_SEQ_CST);
    __atomic_store_n(&header->readers_due, waiting, __ATOMIC_SEQ_CST);
    __atomic_store_n(&header->gate, 0, __ATOMIC_SEQ_CST);
    if (waiting != 0)
        hf__os->futex_wake(&header->gate, INT_MAX);
}
