/* SPDX-License-Identifier: MIT */
/*
 * explore.h - an explicit-state model checker: every state that a protocol can get into
 *
 * A protocol is a state of fixed size (bytes only, so that equal states are equal bytes), what may
 * happen next in a state, and what must hold in each. explore() goes through all of them, breadth
 * first: the trace to what is broken is a shortest one. Then, for each process that waits in some
 * state, it looks whether that process can still get through if nothing dies or fails any more.
 */
#ifndef HF_TESTS_MODEL_EXPLORE_H
#define HF_TESTS_MODEL_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct explorer;

struct protocol {
    const char *name;
    size_t state_bytes;
    void (*start)(void *state);
    /* Calls explore_move for each thing that may happen next. bug: which rule is broken on purpose;
     * 0 = none. */
    void (*moves)(const void *state, int bug, struct explorer *to);
    /* NULL, or what is broken in this state. */
    const char *(*check)(const void *state);
    /* What `process` is at: it needn't get anywhere, it waits, or it is through. May be NULL. */
    enum explore_progress { EXPLORE_IDLE, EXPLORE_WAITS, EXPLORE_THROUGH } (*progress)(
        const void *state, int process);
    int processes;
    void (*print)(const void *state);
};

struct explore_result {
    size_t states, moves;
    const char *broken; /* NULL: all holds                                                       */
};

/* `kind` says whether this may be counted on: what dies or fails isn't a way to get through. */
enum explore_kind { EXPLORE_STEP, EXPLORE_FAULT };
void explore_move(struct explorer *to, enum explore_kind kind, int process, const char *what,
                  const void *next);

/* trace: print the way to what is broken. */
struct explore_result explore(const struct protocol *protocol, int bug, bool trace);

#endif
