/* SPDX-License-Identifier: MIT */
/*
 * protocol_places.c - the writer's or the applier's place, operation by operation (sync/places.c)
 *
 * Threads 0 and 1 are of process 0 and share its id; 2 and 3 are processes of their own. Whoever has
 * the place leaves things in disorder for a while; if he dies then, the next one must put them in
 * order first (`adopt`), which may fail and be left to the next.
 *
 * What must hold:
 *   never two living threads have the place
 *   nobody works on what a dead owner left in disorder
 *   every living thread that wants the place gets it, if nothing dies or fails any more
 *
 * Left out: sleeping, waking and let_pass (they change when somebody looks, not what he may do); the
 * thread lock is one step, as it dies with its process; deadlines pass when they like.
 */
#include "protocols.h"

#include <stdio.h>

enum { THREADS = 4, PROCESSES = 3, KILLS = 2, LEAVES = 1, FAILS = 1 };

enum pc {
    NOT_THERE, /* the process is gone, or not back yet                                           */
    IDLE,
    FREE,      /* compare-and-swap 0 to own                                                      */
    SLOT_OF,   /* is the owner's slot still his?                                                 */
    BYTE_OF,   /* is his byte held?                                                              */
    STEAL,
    GIVE_UP,
    TELL,      /* stolen: set `adopt`                                                            */
    ENTER,     /* look at `adopt`                                                                */
    ADOPT,
    ADOPTED,
    WORK,
    WORKED,
    UNLOCK,
    THREAD_UNLOCK,
};

enum { AWAY, DYING, CLAIMING, THERE, LEAVING };

struct state {
    uint8_t pc[THREADS], saw[THREADS];
    uint8_t at[PROCESSES], generation[PROCESSES], owner[PROCESSES], thread_lock[PROCESSES];
    uint8_t stolen[PROCESSES]; /* in the handle: told to whoever has the place                     */
    uint8_t held, place, adopt, disorder, wrong;
    uint8_t kills, leaves, fails;
};

static int process_of(int thread)
{
    return thread < 2 ? 0 : thread - 1;
}

static uint8_t id_of(const struct state *s, int p)
{
    return (uint8_t)(1 + p + PROCESSES * s->generation[p]);
}

static void start(void *at)
{
    struct state *s = at;
    for (int t = 0; t < THREADS; t++)
        s->pc[t] = IDLE;
    for (int p = 0; p < PROCESSES; p++) {
        s->at[p] = THERE;
        s->owner[p] = id_of(s, p);
        s->held |= (uint8_t)(1u << p);
    }
}

static bool has_place(const struct state *s, int t)
{
    return s->pc[t] >= TELL && s->pc[t] <= UNLOCK;
}

static const char *check(const void *at)
{
    const struct state *s = at;
    int have = 0;
    for (int t = 0; t < THREADS; t++)
        have += has_place(s, t);
    if (have > 1)
        return "two have the place";
    return s->wrong ? "somebody works in a dead one's disorder" : NULL;
}

static enum explore_progress progress(const void *at, int t)
{
    const struct state *s = at;
    return s->pc[t] == NOT_THERE ? EXPLORE_IDLE
           : s->pc[t] == WORKED  ? EXPLORE_THROUGH
                                 : EXPLORE_WAITS;
}

static void to(struct explorer *e, const struct state *s, int t, enum pc pc, const char *what)
{
    struct state n = *s;
    n.pc[t] = (uint8_t)pc;
    if (pc != SLOT_OF && pc != BYTE_OF && pc != STEAL)
        n.saw[t] = 0;
    explore_move(e, EXPLORE_STEP, t, what, &n);
}

static void try_lock(const struct state *s, int t, int bug, struct explorer *e)
{
    const int p = process_of(t);
    struct state n = *s;
    if (s->pc[t] == IDLE) {
        n.thread_lock[p] = 1;
        n.stolen[p] = 0;
        if (!s->thread_lock[p] || bug == PLACE_WITHOUT_THREADS)
            to(e, &n, t, FREE, "takes the thread lock");
    } else if (s->place == 0) {
        n.place = id_of(s, p);
        to(e, &n, t, ENTER, "takes the place");
    } else {
        n.saw[t] = s->place;
        /* An id of one's own is never called dead. */
        to(e, &n, t, s->place == id_of(s, p) ? FREE : SLOT_OF, "finds the place taken");
    }
}

static void steal(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    if (s->place != s->saw[t] && bug != PLACE_STEALS_BY_STORE) {
        to(e, s, t, FREE, "comes too late to steal the place");
        return;
    }
    n.place = id_of(s, process_of(t));
    n.stolen[process_of(t)] = 1;
    to(e, &n, t, bug == PLACE_TELLS_NOBODY ? ENTER : TELL, "steals the place");
}

static void look(const struct state *s, int t, int bug, struct explorer *e)
{
    const int p = (s->saw[t] - 1) % PROCESSES;
    const enum pc found = bug == PLACE_NEVER_STEALS ? FREE : STEAL;
    if (s->pc[t] == SLOT_OF) {
        to(e, s, t, s->owner[p] != s->saw[t] ? found : BYTE_OF, "looks at the owner's slot");
    } else if ((s->held >> p & 1) == 0) {
        to(e, s, t, found, "finds the owner's byte free");
    } else {
        to(e, s, t, FREE, "finds the owner alive: waits");
        to(e, s, t, GIVE_UP, "finds the owner alive: for too long");
    }
}

static void adopt(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    if (s->pc[t] == ENTER) {
        if (bug == PLACE_CLEARS_FIRST)
            n.adopt = 0;
        to(e, &n, t, s->adopt ? ADOPT : WORK, "looks whether there is something to adopt");
    } else if (s->pc[t] == ADOPT) {
        if (s->fails < FAILS) {
            n.fails++;
            n.pc[t] = UNLOCK;
            explore_move(e, EXPLORE_FAULT, t, "fails to adopt", &n);
        }
        n = *s;
        n.disorder = 0;
        to(e, &n, t, ADOPTED, "adopts");
    } else {
        n.adopt = 0;
        to(e, &n, t, WORK, "clears `adopt`");
    }
}

static void step(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    switch (s->pc[t]) {
    case IDLE:
    case FREE:
        try_lock(s, t, bug, e);
        break;
    case SLOT_OF:
    case BYTE_OF:
        look(s, t, bug, e);
        break;
    case STEAL:
        steal(s, t, bug, e);
        break;
    case TELL:
        n.adopt |= s->stolen[process_of(t)];
        to(e, &n, t, ENTER, "sets `adopt` if it was stolen");
        break;
    case ENTER:
    case ADOPT:
    case ADOPTED:
        adopt(s, t, bug, e);
        break;
    case WORK:
        n.wrong = s->disorder;
        n.disorder = 1;
        to(e, &n, t, WORKED, "begins to work");
        break;
    case WORKED:
        n.disorder = 0;
        to(e, &n, t, UNLOCK, "has worked");
        break;
    case UNLOCK:
        n.place = 0;
        to(e, &n, t, THREAD_UNLOCK, "gives the place back");
        break;
    default: /* GIVE_UP, THREAD_UNLOCK */
        n.thread_lock[process_of(t)] = n.stolen[process_of(t)] = 0;
        to(e, &n, t, IDLE, "gives the thread lock back");
    }
}

static bool all_idle(const struct state *s, int p)
{
    for (int t = 0; t < THREADS; t++)
        if (process_of(t) == p && s->pc[t] != IDLE)
            return false;
    return true;
}

static void set_threads(struct state *s, int p, enum pc pc)
{
    for (int t = 0; t < THREADS; t++)
        if (process_of(t) == p)
            s->pc[t] = (uint8_t)pc, s->saw[t] = 0;
}

static void comes_and_goes(const struct state *s, int p, int bug, struct explorer *e)
{
    struct state n = *s;
    const char *what = "its locks are dropped";
    if (s->at[p] == AWAY) {
        n.held |= (uint8_t)(1u << p);
        n.generation[p] = (uint8_t)(s->generation[p] + (bug == PLACE_SAME_GENERATION ? 0 : 1));
        n.at[p] = CLAIMING;
        what = "locks its liveness byte";
    } else if (s->at[p] == CLAIMING) {
        n.owner[p] = id_of(s, p);
        n.at[p] = THERE;
        set_threads(&n, p, IDLE);
        what = "writes its process slot";
    } else if (s->at[p] != THERE) {
        n.held &= (uint8_t)~(1u << p);
        n.at[p] = AWAY;
    }
    if (s->at[p] != THERE)
        explore_move(e, EXPLORE_STEP, 10 + p, what, &n);
    if (s->at[p] == THERE && all_idle(s, p) && s->leaves < LEAVES) {
        n.leaves++;
        n.owner[p] = 0;
        n.at[p] = LEAVING;
        set_threads(&n, p, NOT_THERE);
        explore_move(e, EXPLORE_STEP, 10 + p, "leaves: clears its process slot", &n);
    }
    n = *s;
    if (s->at[p] == THERE && s->kills < KILLS) {
        n.kills++;
        n.at[p] = DYING;
        n.thread_lock[p] = n.stolen[p] = 0;
        set_threads(&n, p, NOT_THERE);
        explore_move(e, EXPLORE_FAULT, 10 + p, "is killed", &n);
    }
}

static void moves(const void *at, int bug, struct explorer *e)
{
    const struct state *s = at;
    for (int p = 0; p < PROCESSES; p++)
        comes_and_goes(s, p, bug, e);
    for (int t = 0; t < THREADS; t++)
        if (s->pc[t] != NOT_THERE)
            step(s, t, bug, e);
}

static void print(const void *at)
{
    const struct state *s = at;
    printf("place %d adopt %d disorder %d at", s->place, s->adopt, s->disorder);
    for (int t = 0; t < THREADS; t++)
        printf(" %d", s->pc[t]);
}

const struct protocol protocol_places = {.name = "places",
                                         .state_bytes = sizeof(struct state),
                                         .start = start,
                                         .moves = moves,
                                         .check = check,
                                         .progress = progress,
                                         .processes = THREADS,
                                         .print = print};
