/* SPDX-License-Identifier: MIT */
/*
 * protocol_gate.c - readers, the gate and appliers, operation by operation (sync/gate.c)
 *
 * Process 0 reads and may write, process 1 reads and may not (it keeps its slot when the gate is
 * stuck), 2 applies, and so does 0 when it finds the gate stuck. Each step is one atomic operation
 * on the lock table, or one look at a liveness byte. Any process may be killed at any step, comes
 * back in the same slot with the next generation, or leaves in peace.
 *
 * What must hold:
 *   no reader is inside, and none reads a private replay, while a living process applies
 *   no reader is inside while the data file holds half a commit
 *   every living process that wants in gets in, if nothing dies or fails any more
 *
 * Left out: sleeping and waking (every sleep is cut in pieces, so it is a step like looking again),
 * readers_due and drain (they only shorten sleeps), since_ns; the applier's place is taken in one
 * step (protocol_places.c has it); time is any number of steps, so deadlines pass when they like.
 */
#include "protocols.h"

#include <stdio.h>
#include <string.h>

enum { PROCESSES = 3, SLOTS = 2, READ_WRITE = 0, READ_ONLY = 1, FIRST_APPLIER = 2 };
enum { KILLS = 2, LEAVES = 1, FAILS = 1, NOBODY = 63 };

enum pc {
    GONE,        /* holds nothing                                                                */
    DYING,       /* killed; the kernel hasn't dropped its locks yet                              */
    CLAIM,       /* has the liveness byte, writes its slot                                       */
    IDLE,
    LEAVING,     /* slot cleared, byte not yet given back                                        */
    R_EARLY,     /* planted: has looked at the gate, now takes its slot                          */
    R_GATE,      /* slot taken: look at the gate                                                 */
    R_SLOT_OF,   /* is the closer's slot still his?                                              */
    R_BYTE_OF,   /* is his byte held?                                                            */
    R_AGAIN,     /* dead: is the gate still his?                                                 */
    R_LEAVE,     /* slot back, then try again                                                    */
    R_UNSTICK,   /* slot back, then apply                                                        */
    R_INSIDE,
    R_REPLAY,
    C_PLACE,
    C_EARLY,     /* planted: looks at slots with the gate open                                   */
    C_CLOSE,
    C_LOOK,      /* at reader slot `index`                                                       */
    C_SLOT_OF,
    C_BYTE_OF,
    C_FREE,      /* the reader is dead: free his slot                                            */
    C_GIVE_UP,
    C_HALF,      /* write half of it                                                             */
    C_WHOLE,
    C_OPEN,
    C_UNLOCK,
};

struct state {
    uint8_t pc[PROCESSES], generation[PROCESSES];
    uint8_t saw[PROCESSES];   /* the word looked at                                              */
    uint8_t index[PROCESSES]; /* reader: his slot + 1; closer: where he looks                    */
    uint8_t stuck_with[PROCESSES];
    uint8_t owner[PROCESSES]; /* process slots                                                   */
    uint8_t held;             /* liveness bytes                                                  */
    uint8_t slots[SLOTS], gate, place, half;
    uint8_t kills, leaves, fails;
};

static uint8_t id_of(const struct state *s, int p)
{
    return (uint8_t)(1 + p + PROCESSES * s->generation[p]);
}

static int slot_of(uint8_t id)
{
    return id == NOBODY ? -1 : (id - 1) % PROCESSES;
}

static bool dead(const struct state *s, uint8_t id)
{
    int p = slot_of(id);
    return p < 0 || s->owner[p] != id || (s->held >> p & 1) == 0;
}

static void start(void *at)
{
    struct state *s = at;
    for (int p = 0; p < PROCESSES; p++) {
        s->pc[p] = IDLE;
        s->owner[p] = id_of(s, p);
        s->held |= (uint8_t)(1u << p);
    }
}

static bool applies(const struct state *s, int p)
{
    return s->pc[p] == C_HALF || s->pc[p] == C_WHOLE;
}

static const char *check(const void *at)
{
    const struct state *s = at;
    for (int p = 0; p < FIRST_APPLIER; p++) {
        if (s->pc[p] != R_INSIDE && s->pc[p] != R_REPLAY)
            continue;
        if (s->pc[p] == R_INSIDE && s->half)
            return "a reader sees half a commit";
        for (int q = 0; q < PROCESSES; q++)
            if (applies(s, q))
                return "a reader is inside while commits are applied";
        if (s->pc[p] == R_REPLAY && s->gate == 0)
            return "a private replay though the gate isn't stuck";
    }
    return s->gate == 0 && s->half ? "the gate is open on half a commit" : NULL;
}

static enum explore_progress progress(const void *at, int p)
{
    const struct state *s = at;
    switch (s->pc[p]) {
    case GONE:
    case DYING:
    case LEAVING:
        return EXPLORE_IDLE;
    case R_INSIDE:
    case R_REPLAY:
        return EXPLORE_THROUGH;
    case C_WHOLE:
        return p >= FIRST_APPLIER ? EXPLORE_THROUGH : EXPLORE_WAITS;
    default:
        return EXPLORE_WAITS;
    }
}

static void to(struct explorer *e, const struct state *s, int p, enum pc pc, const char *what)
{
    struct state n = *s;
    n.pc[p] = (uint8_t)pc;
    if (pc == IDLE || pc == GONE)
        n.saw[p] = n.index[p] = n.stuck_with[p] = 0;
    explore_move(e, EXPLORE_STEP, p, what, &n);
}

static void take_slot(const struct state *s, int p, enum pc then, struct explorer *e)
{
    bool any = false;
    for (int i = 0; i < SLOTS; i++) {
        struct state n = *s;
        if (s->slots[i] != 0)
            continue;
        any = true;
        n.slots[i] = id_of(s, p);
        n.index[p] = (uint8_t)(i + 1);
        to(e, &n, p, then, "takes a reader slot");
    }
    for (int i = 0; !any && i < SLOTS; i++)
        if (dead(s, s->slots[i])) {
            struct state n = *s;
            n.slots[i] = 0;
            explore_move(e, EXPLORE_STEP, p, "sweeps a dead reader's slot", &n);
        }
}

static void leave_slot(const struct state *s, int p, enum pc then, struct explorer *e)
{
    struct state n = *s;
    n.slots[s->index[p] - 1] = 0;
    n.index[p] = n.saw[p] = 0;
    to(e, &n, p, then, "gives its reader slot back");
}

static void reader(const struct state *s, int p, int bug, struct explorer *e)
{
    struct state n = *s;
    const int closer = slot_of(s->saw[p]);
    const bool dies = s->pc[p] == R_SLOT_OF ? closer < 0 || s->owner[closer] != s->saw[p]
                                            : s->pc[p] == R_BYTE_OF && (s->held >> closer & 1) == 0;
    const enum pc found = bug == GATE_BELIEVES_FIRST_LOOK ? (p == READ_ONLY ? R_REPLAY : R_UNSTICK)
                                                          : R_AGAIN;
    switch (s->pc[p]) {
    case IDLE:
        if (bug != GATE_LOOKS_BEFORE_ITS_SLOT)
            take_slot(s, p, R_GATE, e);
        else if (s->gate == 0)
            to(e, s, p, R_EARLY, "sees the gate open");
        break;
    case R_EARLY:
        take_slot(s, p, R_INSIDE, e);
        break;
    case R_GATE:
        n.saw[p] = s->gate;
        to(e, &n, p, s->gate == 0 ? R_INSIDE : R_SLOT_OF, "looks at the gate");
        break;
    case R_SLOT_OF:
        to(e, s, p, dies ? found : R_BYTE_OF, "looks at the closer's slot");
        break;
    case R_BYTE_OF:
        to(e, s, p, dies ? found : R_LEAVE, "looks at the closer's byte");
        break;
    case R_AGAIN:
        to(e, s, p, s->gate != s->saw[p] ? R_LEAVE : p == READ_ONLY ? R_REPLAY : R_UNSTICK,
           "looks at the gate again");
        break;
    case R_LEAVE:
    case R_INSIDE:
    case R_REPLAY:
        leave_slot(s, p, IDLE, e);
        break;
    default: /* R_UNSTICK */
        leave_slot(s, p, C_PLACE, e);
    }
}

/* The next reader slot to look at, or all are free. */
static void looked(const struct state *s, int p, int bug, struct explorer *e)
{
    struct state n = *s;
    const enum pc all = bug == GATE_LOOKS_BEFORE_CLOSING ? C_CLOSE : C_HALF;
    n.saw[p] = 0;
    n.index[p]++;
    to(e, &n, p, n.index[p] == SLOTS ? all : C_LOOK, "finds a reader slot free");
}

static void look(const struct state *s, int p, int bug, struct explorer *e)
{
    struct state n = *s;
    const uint8_t word = s->slots[s->index[p]];
    if (word == 0) {
        looked(s, p, bug, e);
        return;
    }
    n.saw[p] = word;
    to(e, &n, p, C_SLOT_OF, "finds a reader slot taken");
}

static void close_gate(const struct state *s, int p, int bug, struct explorer *e)
{
    struct state n = *s;
    n.stuck_with[p] = s->gate;
    n.gate = id_of(s, p);
    n.index[p] = 0;
    if (bug == GATE_OPENS_WITHOUT_APPLYING && s->gate != 0)
        to(e, &n, p, C_OPEN, "closes the gate, which was stuck");
    else
        to(e, &n, p, bug == GATE_LOOKS_BEFORE_CLOSING ? C_HALF : C_LOOK, "closes the gate");
}

static void open_or_not(const struct state *s, int p, int bug, struct explorer *e)
{
    struct state n = *s;
    if (s->pc[p] == C_GIVE_UP) {
        n.gate = bug == GATE_GIVES_UP_OPENING ? 0 : s->stuck_with[p];
        to(e, &n, p, C_UNLOCK, "gives up");
        return;
    }
    n.gate = 0;
    to(e, &n, p, C_UNLOCK, "opens the gate");
}

static void apply_fails(const struct state *s, int p, int bug, struct explorer *e)
{
    struct state n = *s;
    n.fails++;
    n.gate = bug == GATE_FAILS_OPENING ? 0 : NOBODY;
    n.pc[p] = C_UNLOCK;
    if (s->fails < FAILS)
        explore_move(e, EXPLORE_FAULT, p, "fails to apply: the gate is closed by nobody", &n);
}

static void applier(const struct state *s, int p, int bug, struct explorer *e)
{
    struct state n = *s;
    switch (s->pc[p]) {
    case C_PLACE:
        n.place = id_of(s, p);
        n.index[p] = 0;
        if (s->place == 0 || dead(s, s->place))
            to(e, &n, p, bug == GATE_LOOKS_BEFORE_CLOSING ? C_LOOK : C_CLOSE,
               "takes the applier's place");
        break;
    case C_CLOSE:
        close_gate(s, p, bug, e);
        break;
    case C_LOOK:
        look(s, p, bug, e);
        break;
    case C_SLOT_OF:
        to(e, s, p, s->owner[slot_of(s->saw[p])] != s->saw[p] ? C_FREE : C_BYTE_OF,
           "looks at the reader's process slot");
        break;
    case C_BYTE_OF:
        if ((s->held >> slot_of(s->saw[p]) & 1) == 0) {
            to(e, s, p, C_FREE, "finds the reader's byte free");
            break;
        }
        n.index[p] = n.saw[p] = 0;
        to(e, &n, p, C_LOOK, "a living reader is inside: looks again");
        if (bug != GATE_LOOKS_BEFORE_CLOSING)
            to(e, &n, p, C_GIVE_UP, "a living reader is inside for too long");
        break;
    case C_FREE:
        if (bug == GATE_KEEPS_DEAD_READERS)
            n.index[p] = 0;
        else if (s->slots[s->index[p]] == s->saw[p])
            n.slots[s->index[p]] = 0;
        n.saw[p] = 0;
        /* The next one is looked at, whether the compare-and-swap succeeded or not: who took the
         * slot meanwhile looked at the gate later. */
        if (bug == GATE_KEEPS_DEAD_READERS)
            to(e, &n, p, C_LOOK, "leaves the dead reader's slot");
        else
            looked(&n, p, bug, e);
        break;
    case C_HALF:
        n.half = 1;
        to(e, &n, p, C_WHOLE, "writes half of it");
        apply_fails(&n, p, bug, e);
        break;
    case C_WHOLE:
        n.half = 0;
        to(e, &n, p, C_OPEN, "writes all of it");
        break;
    case C_UNLOCK:
        n.place = 0;
        to(e, &n, p, IDLE, "gives the applier's place back");
        break;
    default: /* C_OPEN, C_GIVE_UP */
        open_or_not(s, p, bug, e);
    }
}

static void come(const struct state *s, int p, enum pc pc, const char *what, struct explorer *e)
{
    struct state n = *s;
    n.held |= (uint8_t)(1u << p);
    if (pc == CLAIM)
        n.generation[p]++;
    else
        n.owner[p] = id_of(s, p);
    to(e, &n, p, pc, what);
}

/* Killed, its locks dropped, coming back; leaving in peace. */
static void comes_and_goes(const struct state *s, int p, int bug, struct explorer *e)
{
    struct state n = *s;
    if (s->pc[p] == GONE) {
        come(s, p, CLAIM, "locks its liveness byte", e);
    } else if (s->pc[p] == CLAIM && bug == GATE_ID_BEFORE_SLOT) {
        to(e, s, p, IDLE, "goes on without having written its process slot");
    } else if (s->pc[p] == CLAIM) {
        come(s, p, IDLE, "writes its process slot", e);
    } else if (s->pc[p] == DYING || s->pc[p] == LEAVING) {
        n.held &= (uint8_t)~(1u << p);
        to(e, &n, p, GONE, "its locks are dropped");
    }
    if (s->pc[p] == IDLE && s->leaves < LEAVES) {
        n.leaves++;
        n.owner[p] = 0;
        to(e, &n, p, LEAVING, "leaves: clears its process slot");
    }
    if (s->pc[p] > DYING && s->pc[p] != LEAVING && s->kills < KILLS) {
        n = *s;
        n.kills++;
        n.pc[p] = DYING;
        n.saw[p] = n.index[p] = n.stuck_with[p] = 0;
        explore_move(e, EXPLORE_FAULT, p, "is killed", &n);
    }
}

static void moves(const void *at, int bug, struct explorer *e)
{
    const struct state *s = at;
    for (int p = 0; p < PROCESSES; p++) {
        comes_and_goes(s, p, bug, e);
        if (s->pc[p] == IDLE && p >= FIRST_APPLIER)
            to(e, s, p, C_PLACE, "wants to apply");
        else if (s->pc[p] == IDLE || (s->pc[p] >= R_EARLY && s->pc[p] <= R_REPLAY))
            reader(s, p, bug, e);
        else if (s->pc[p] >= C_PLACE)
            applier(s, p, bug, e);
    }
}

static void print(const void *at)
{
    const struct state *s = at;
    printf("gate %d place %d half %d slots %d %d at", s->gate, s->place, s->half, s->slots[0],
           s->slots[1]);
    for (int p = 0; p < PROCESSES; p++)
        printf(" %d.%d", s->pc[p], s->generation[p]);
}

const struct protocol protocol_gate = {.name = "gate",
                                       .state_bytes = sizeof(struct state),
                                       .start = start,
                                       .moves = moves,
                                       .check = check,
                                       .progress = progress,
                                       .processes = PROCESSES,
                                       .print = print};
