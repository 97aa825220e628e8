/* SPDX-License-Identifier: MIT */
/*
 * lazy.c - the housekeeper: one thread of a handle that sees to what commits left undone
 *
 * LAZY commits it makes durable and visible; what a view kept from being applied it tries to apply
 * again. It sleeps until it is woken, waits for the interval so that more may come, then syncs and
 * applies. What it can't do now it tries again, each time after a longer pause: to close the gate in
 * vain costs other readers a moment. Space that has been free for long it gives back (space_auto.c). A handle
 * that never needs one never starts it.
 */
#include "base/os.h"
#include "store.h"

#include <limits.h>

#define FAILURES_MAX 4u

enum { IDLE = 0, WORK = 1, END = 2 };

static uint32_t word_of(hf_store *store)
{
    return __atomic_load_n(&store->log.lazy_word, __ATOMIC_SEQ_CST);
}

/* Seals what is appended, unless a record is being written that shares a block with it. */
static bool seal(hf_store *store, uint64_t commit)
{
    uint64_t *sealed = &hf__words(store)->sealed;
    uint64_t have = __atomic_load_n(sealed, __ATOMIC_SEQ_CST);
    while ((have & HF__SHARING) == 0 && have < commit)
        if (__atomic_compare_exchange_n(sealed, &have, commit, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST))
            return true;
    return (have & ~HF__SHARING) >= commit;
}

/* Nothing is left to do? */
static bool tidy(hf_store *store)
{
    struct hf__log_tail tail;
    struct hf__log_front front;
    hf__tail_read(store, &tail);
    if (tail.epoch == 0)
        return true;
    (void)seal(store, tail.appended);
    const uint64_t wait_ns = hf__tuned(&store->log.gate_wait_ns);
    if (hf__log_sync_to(store, tail.appended) != 0 ||
        hf__log_apply(store, NULL, 0, false, hf__os->now_ns() + wait_ns) != 0)
        return false;
    hf__tail_read(store, &tail);
    hf__front_read(store, &front);
    return front.applied >= tail.appended;
}

static void *keep_house(void *argument)
{
    hf_store *store = argument;
    uint32_t failures = 0;
    for (;;) {
        uint32_t word = word_of(store);
        if (word == END)
            return NULL;
        const int64_t idle_ns = hf__space_keep(store);
        if (word == IDLE) {
            if (idle_ns > 0)
                hf__os->futex_wait(&store->log.lazy_word, IDLE, idle_ns);
            continue;
        }
        /* So long, unless the handle is being closed. */
        const int64_t pause_ns = (int64_t)hf__tuned(&store->log.lazy_interval_ns) << failures;
        hf__os->futex_wait(&store->log.lazy_word, WORK, pause_ns);
        uint32_t work = WORK;
        if (!__atomic_compare_exchange_n(&store->log.lazy_word, &work, IDLE, false, __ATOMIC_SEQ_CST,
                                         __ATOMIC_SEQ_CST))
            continue;
        const bool done = tidy(store);
        failures = done ? 0 : failures < FAILURES_MAX ? failures + 1 : FAILURES_MAX;
        if (!done) {
            work = IDLE;
            __atomic_compare_exchange_n(&store->log.lazy_word, &work, WORK, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST);
        }
    }
}

void hf__lazy_wake(hf_store *store)
{
    uint32_t idle = IDLE;
    if (__atomic_load_n(&store->log.lazy_ended, __ATOMIC_ACQUIRE))
        return;
    if (!__atomic_load_n(&store->log.housekeeping, __ATOMIC_ACQUIRE)) {
        bool none = false;
        if (__atomic_compare_exchange_n(&store->log.housekeeping, &none, true, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            if (hf__thread_start(&store->log.housekeeper, keep_house, store) != 0)
                __atomic_store_n(&store->log.housekeeping, false, __ATOMIC_SEQ_CST);
        }
    }
    if (__atomic_compare_exchange_n(&store->log.lazy_word, &idle, WORK, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST))
        hf__os->futex_wake(&store->log.lazy_word, INT_MAX);
}

/* Whatever closing still commits (a lowered size), closing applies itself. */
void hf__lazy_stop(hf_store *store)
{
    __atomic_store_n(&store->log.lazy_ended, true, __ATOMIC_RELEASE);
    if (!__atomic_load_n(&store->log.housekeeping, __ATOMIC_ACQUIRE) || store->forked)
        return;
    uint32_t left = __atomic_exchange_n(&store->log.lazy_word, END, __ATOMIC_SEQ_CST);
    hf__os->futex_wake(&store->log.lazy_word, INT_MAX);
    pthread_join(store->log.housekeeper, NULL);
    store->log.housekeeping = false;
    store->log.lazy_word = IDLE;
    if (left == WORK)
        (void)tidy(store);
}

void hf__lazy_inherit(hf_store *store)
{
    struct hf__log_tail tail;
    struct hf__log_front front;
    hf__tail_read(store, &tail);
    hf__front_read(store, &front);
    if (tail.epoch != 0 && front.applied < tail.appended && hf__log_open(store, false, false) == 0)
        hf__lazy_wake(store);
}
