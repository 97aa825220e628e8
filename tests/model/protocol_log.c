/* SPDX-License-Identifier: MIT */
/*
 * protocol_log.c - append, seal, sync, apply on one log (store/log_engine.c, apply.c, lazy.c)
 *
 * Threads 0 and 3 commit SYNC, thread 1 commits LAZY, thread 2 is the housekeeper of 1's process. A
 * step is one atomic operation, half a write of a record, the beginning or the end of a sync, half
 * of what applying one record writes. Processes are killed at any step and stay away; what they left
 * is taken over by the rest.
 *
 * The log file is blocks of cells; a record is one cell. What is on the disk isn't part of the
 * state; what surely is: `safe`, the cells of which a version whose block wasn't written since has
 * been synced. All others may survive a power failure or not, a block that is being written again
 * may be torn. check() cuts the power in each state, in every way: for each end of the chain that a
 * recovery could find,
 *
 *   no acknowledged SYNC commit and none counted durable is missing
 *   no byte of a commit that is missing can be in the data file
 *
 * and in the living system
 *
 *   applied <= durable <= appended
 *   nothing is written into a block that holds a durable record
 *   with the gate open, the data file is at `applied`, neither behind nor half ahead
 *   a commit that was published keeps its place in the chain; every caller returns
 *
 * Left out: NOSYNC; records longer than a block, which share only their last one; the identity of
 * owners (a dead owner's word reads "dead": protocol_places.c and protocol_gate.c have that);
 * readers, who only delay an applier; switching and failing logs (protocol_switch.c).
 */
#include "protocols.h"

#include <stdio.h>

enum { THREADS = 4, BLOCKS = 4, CELLS = 3, ATTEMPTS = 6, COMMITS = 4 };
enum { HOUSEKEEPER = 2, LAZY = 1, DEAD = 15, PARTIAL = 0x80 };

enum pc {
    GONE,
    IDLE,
    W_PLACE,   /* the writer's place                                                             */
    W_TELL,    /* stolen: set `adopt`                                                            */
    W_ENTER,
    W_ADOPT,   /* look behind the tail                                                           */
    W_UNSHARE,
    W_ADOPTED,
    W_SHARE,   /* may the record share the block? load `sealed`                                  */
    W_CAS,
    W_HALF,    /* write half of the record                                                       */
    W_WHOLE,
    W_PUBLISH,
    W_SEAL,
    W_UNLOCK,
    H_TAIL,    /* housekeeper: load the tail                                                     */
    H_SEALED,  /* load `sealed`                                                                  */
    H_CAS,
    S_LOOK,    /* sync_to: durable already? load `sealed`                                        */
    S_BEGIN,
    S_END,
    S_RAISE,
    A_PLACE,   /* the applier's place                                                            */
    A_LIMIT,   /* load `durable`                                                                 */
    A_CLOSE,
    A_HALF,    /* write half of it to the data file                                              */
    A_WHOLE,
    A_FRONT,   /* publish `applied`                                                              */
    A_OPEN,
    A_UNLOCK,
};

struct state {
    uint16_t safe, sync[THREADS];  /* sets of cells; sync: what a sync that goes on will make safe */
    uint8_t pc[THREADS], own[THREADS], at[THREADS], reg[THREADS], goal[THREADS];
    uint8_t first[THREADS];        /* first commit in the block of the thread's last record      */
    uint8_t left[THREADS];         /* commits it has yet to do                                   */
    uint8_t cell[BLOCKS * CELLS];  /* number of the attempt, PARTIAL if not whole                */
    uint8_t commit[ATTEMPTS], before[ATTEMPTS]; /* of each attempt: number and predecessor       */
    uint8_t published[COMMITS + 1];/* attempt that the commit is                                 */
    uint8_t attempts, writer, applier, gate, adopt;
    uint8_t sealed, sharing, appended, end, chain, durable, applied;
    uint8_t data, half;            /* data file: at this commit, half of that one (0 = none)     */
    uint8_t acknowledged, kills_left, wrong;
};

static void begin(struct state *s, const uint8_t commits[THREADS], int kills)
{
    for (int t = 0; t < THREADS; t++) {
        s->pc[t] = IDLE;
        s->left[t] = commits[t];
    }
    s->attempts = 1;
    s->kills_left = (uint8_t)kills;
}

/* One SYNC and three LAZY commits, two processes die. */
static void start(void *at)
{
    begin(at, (const uint8_t[THREADS]){1, 3, 0, 0}, 2);
}

/* Two SYNC commits and a LAZY one overlap, one process dies. */
static void start_three(void *at)
{
    begin(at, (const uint8_t[THREADS]){1, 1, 0, 1}, 1);
}

static unsigned block_cells(unsigned cell)
{
    return ((1u << CELLS) - 1) << (cell / CELLS * CELLS);
}

/* ---- a power failure ------------------------------------------------------------------------- */

static unsigned next_block(unsigned end)
{
    return (end + CELLS - 1) / CELLS * CELLS;
}

/* Does the cell hold, whole, what follows `chain`? */
static bool follows(const struct state *s, unsigned at, unsigned chain, unsigned number)
{
    if (at >= BLOCKS * CELLS || s->cell[at] == 0 || (s->cell[at] & PARTIAL) != 0)
        return false;
    return s->commit[s->cell[at]] == number && s->before[s->cell[at]] == chain;
}

static const char *check_end(const struct state *s, unsigned found)
{
    for (unsigned c = 1; c <= COMMITS && s->published[c] != 0; c++) {
        if ((found >> s->published[c] & 1) != 0)
            continue;
        if (c <= s->acknowledged)
            return "an acknowledged commit may be lost";
        if (c <= s->durable)
            return "a commit that counts as durable may be lost";
        if (c <= s->data || c == s->half)
            return "the data file may hold bytes of a commit that is lost";
    }
    return NULL;
}

/* Every end that a recovery may find from here; found: attempts in the chain so far. */
static const char *cut(const struct state *s, unsigned end, unsigned chain, unsigned number,
                       unsigned found)
{
    const unsigned places[2] = {end, next_block(end)};
    for (int i = 0; i < (places[0] == places[1] ? 1 : 2); i++) {
        const unsigned at = places[i];
        if (!follows(s, at, chain, number))
            continue;
        const char *broken = cut(s, at + 1, s->cell[at], number + 1, found | 1u << s->cell[at]);
        if (broken != NULL || (s->safe >> at & 1) != 0)
            return broken; /* it surely survives: no other way */
    }
    return check_end(s, found);
}

static const char *check(const void *at)
{
    const struct state *s = at;
    if (s->wrong == 1)
        return "a record is written into a block that holds a durable one";
    if (s->wrong == 2)
        return "a published commit is replaced";
    if (s->applied > s->durable || s->durable > s->appended)
        return "the counters are out of order";
    if (s->gate == 0 && (s->half != 0 || s->data != s->applied))
        return "views see another state than `applied`";
    return cut(s, 0, 0, 1, 0);
}

static enum explore_progress progress(const void *at, int t)
{
    const struct state *s = at;
    if (s->pc[t] == GONE || (s->pc[t] == IDLE && s->left[t] == 0))
        return t == HOUSEKEEPER ? EXPLORE_IDLE : EXPLORE_THROUGH;
    if (t != HOUSEKEEPER)
        return EXPLORE_WAITS;
    return s->applied == s->appended && s->gate == 0 ? EXPLORE_THROUGH : EXPLORE_WAITS;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void to(struct explorer *e, const struct state *s, int t, enum pc pc, const char *what)
{
    struct state n = *s;
    n.pc[t] = (uint8_t)pc;
    if (pc == IDLE)
        n.own[t] = n.at[t] = n.reg[t] = n.goal[t] = 0;
    explore_move(e, EXPLORE_STEP, t, what, &n);
}

static void write_cell(struct state *s, unsigned at, unsigned value)
{
    const unsigned block = block_cells(at);
    for (unsigned i = 0; i < BLOCKS * CELLS; i++) {
        const unsigned attempt = s->cell[i];
        if ((block >> i & 1) != 0 && attempt != 0 && (attempt & PARTIAL) == 0 &&
            s->published[s->commit[attempt]] == attempt && s->commit[attempt] <= s->durable)
            s->wrong = 1;
    }
    s->cell[at] = (uint8_t)value;
    s->safe &= (uint16_t)~block;
    for (int t = 0; t < THREADS; t++)
        s->sync[t] &= (uint16_t)~block;
}

static void publish(struct state *s, unsigned attempt, unsigned at)
{
    const unsigned number = s->commit[attempt];
    if (s->published[number] != 0)
        s->wrong = 2;
    s->published[number] = (uint8_t)attempt;
    s->appended = (uint8_t)number;
    s->end = (uint8_t)(at + 1);
    s->chain = (uint8_t)attempt;
}

static void adopt(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    const unsigned number = s->appended + 1u, places[2] = {s->end, next_block(s->end)};
    switch (s->pc[t]) {
    case W_TELL:
        n.adopt = 1;
        to(e, &n, t, W_ENTER, "sets `adopt`");
        break;
    case W_ENTER:
        to(e, s, t, s->adopt ? W_ADOPT : W_SHARE, "looks at `adopt`");
        break;
    case W_ADOPT:
        for (int i = 0; i < 2 && bug != LOG_DOESNT_ADOPT; i++)
            if (follows(s, places[i], s->chain, number)) {
                publish(&n, s->cell[places[i]], places[i]);
                to(e, &n, t, W_ADOPT, "adopts a record");
                return;
            }
        to(e, s, t, W_UNSHARE, "finds nothing more to adopt");
        break;
    case W_UNSHARE:
        n.sharing = 0;
        to(e, &n, t, W_ADOPTED, "clears SHARING");
        break;
    default: /* W_ADOPTED */
        n.adopt = 0;
        to(e, &n, t, W_SHARE, "clears `adopt`");
    }
}

/* May the record share the block? As place_record. */
static bool may_share(const struct state *s, int t, int bug)
{
    if (s->end % CELLS == 0)
        return false; /* there is nothing to share */
    if (bug == LOG_SHARES_WHEN_SYNC || bug == LOG_IGNORES_SEAL)
        return true;
    if (t != LAZY)
        return false;
    if (bug == LOG_SHARES_SEALED_BLOCK)
        return s->sealed < s->appended;
    return s->own[t] == s->chain && s->chain != 0 && s->sealed < s->first[t];
}

static void place(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    if (s->pc[t] == W_SHARE) {
        n.reg[t] = s->sealed;
        n.at[t] = (uint8_t)next_block(s->end);
        to(e, &n, t, may_share(s, t, bug) ? W_CAS : W_HALF, "loads `sealed`");
    } else if (s->sealed != s->reg[t] && bug != LOG_IGNORES_SEAL) {
        to(e, s, t, W_SHARE, "finds `sealed` changed");
    } else {
        n.sharing = 1;
        n.at[t] = s->end;
        to(e, &n, t, W_HALF, "sets SHARING");
    }
}

static void write_record(const struct state *s, int t, struct explorer *e)
{
    struct state n = *s;
    if (s->pc[t] == W_WHOLE) {
        write_cell(&n, s->at[t], s->own[t]);
        to(e, &n, t, W_PUBLISH, "writes the rest of the record");
        return;
    }
    if (s->attempts == ATTEMPTS || s->appended == COMMITS || s->at[t] >= BLOCKS * CELLS)
        return; /* the model ends here */
    n.own[t] = n.attempts++;
    n.commit[n.own[t]] = (uint8_t)(s->appended + 1);
    n.before[n.own[t]] = s->chain;
    if (s->at[t] % CELLS == 0)
        n.first[t] = (uint8_t)(s->appended + 1);
    write_cell(&n, s->at[t], n.own[t] | (unsigned)PARTIAL);
    to(e, &n, t, W_WHOLE, "writes half of the record");
}

static void writer(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    const enum pc then = bug == LOG_PUBLISHES_TAIL_FIRST ? W_WHOLE : W_SEAL;
    switch (s->pc[t]) {
    case W_PLACE:
        n.writer = (uint8_t)(t + 1);
        if (s->writer == 0)
            to(e, &n, t, W_ENTER, "takes the writer's place");
        else if (s->writer == DEAD)
            to(e, &n, t, W_TELL, "steals the writer's place");
        break;
    case W_SHARE:
    case W_CAS:
        place(s, t, bug, e);
        break;
    case W_HALF:
    case W_WHOLE:
        write_record(s, t, e);
        break;
    case W_PUBLISH:
        publish(&n, s->own[t], s->at[t]);
        to(e, &n, t, then, "publishes the tail");
        break;
    case W_SEAL:
        n.sharing = 0;
        if (t != LAZY)
            n.sealed = s->appended;
        to(e, &n, t, W_UNLOCK, t != LAZY ? "seals" : "clears SHARING");
        break;
    default: /* W_UNLOCK */
        n.writer = 0;
        n.left[t]--;
        n.goal[t] = s->commit[s->own[t]];
        if (t == LAZY) {
            n.at[t] = n.reg[t] = n.goal[t] = 0;
            n.pc[t] = IDLE; /* `own` stays: it is what says that `first` is right */
            explore_move(e, EXPLORE_STEP, t, "gives the writer's place back", &n);
            break;
        }
        if (bug == LOG_ACKNOWLEDGES_EARLY && n.goal[t] > n.acknowledged)
            n.acknowledged = n.goal[t];
        to(e, &n, t, S_LOOK, "gives the writer's place back");
    }
}

static void house(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    switch (s->pc[t]) {
    case H_TAIL:
        n.goal[t] = s->appended;
        to(e, &n, t, H_SEALED, "loads the tail");
        break;
    case H_SEALED:
        n.reg[t] = s->sealed;
        to(e, &n, t,
           (s->sharing && bug != LOG_SEALS_WHILE_SHARING) || s->sealed >= s->goal[t] ? S_LOOK
                                                                                    : H_CAS,
           "loads `sealed`");
        break;
    default: /* H_CAS */
        if (s->sealed != s->reg[t] || (s->sharing && bug != LOG_SEALS_WHILE_SHARING)) {
            to(e, s, t, H_SEALED, "finds `sealed` changed");
            break;
        }
        n.sealed = s->goal[t];
        to(e, &n, t, S_LOOK, "seals what it found appended");
    }
}

static void sync_to(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    switch (s->pc[t]) {
    case S_LOOK:
        if (s->durable >= s->goal[t]) {
            if (t != HOUSEKEEPER && s->goal[t] > s->acknowledged)
                n.acknowledged = s->goal[t];
            to(e, &n, t, A_PLACE, "finds it durable: acknowledged");
        } else {
            n.reg[t] = s->sealed;
            to(e, &n, t, s->sealed < s->goal[t] ? IDLE : S_BEGIN, "loads `sealed`, to sync");
        }
        break;
    case S_BEGIN:
        for (unsigned i = 0; i < BLOCKS * CELLS; i++)
            if (s->cell[i] != 0 && (s->cell[i] & PARTIAL) == 0)
                n.sync[t] |= (uint16_t)(1u << i);
        to(e, &n, t, S_END, "the sync begins");
        break;
    case S_END:
        n.safe |= s->sync[t];
        n.sync[t] = 0;
        to(e, &n, t, S_RAISE, "the sync ends");
        break;
    default: { /* S_RAISE */
        uint8_t value = bug == LOG_RAISES_TO_APPENDED ? s->appended
                        : bug == LOG_SEALS_LATE       ? s->sealed
                                                      : s->reg[t];
        if (value > s->durable)
            n.durable = value;
        to(e, &n, t, S_LOOK, "raises `durable`");
    }
    }
}

static void applier(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    const bool early = bug == LOG_PUBLISHES_FRONT_FIRST;
    switch (s->pc[t]) {
    case A_PLACE:
        n.applier = (uint8_t)(t + 1);
        if (s->applier == 0 || s->applier == DEAD)
            to(e, &n, t, A_LIMIT, "takes the applier's place");
        else
            to(e, s, t, IDLE, "finds another one applying");
        break;
    case A_LIMIT:
        n.goal[t] = bug == LOG_APPLIES_APPENDED ? s->appended : s->durable;
        n.reg[t] = 0;
        to(e, &n, t, s->applied < n.goal[t] || s->gate != 0 ? A_CLOSE : A_UNLOCK,
           "loads how far it may apply");
        break;
    case A_CLOSE:
        n.gate = (uint8_t)(t + 1);
        to(e, &n, t, s->applied >= s->goal[t] ? A_OPEN : early ? A_FRONT : A_HALF,
           "closes the gate");
        break;
    case A_HALF:
        n.half = early ? s->applied : (uint8_t)(s->applied + 1);
        to(e, &n, t, A_WHOLE, "applies half of a record");
        break;
    case A_WHOLE:
        n.data = s->half;
        n.half = 0;
        to(e, &n, t, !early ? A_FRONT : s->applied < s->goal[t] ? A_FRONT : A_OPEN,
           "applies the rest of it");
        break;
    case A_FRONT:
        n.applied++;
        if (early) {
            to(e, &n, t, A_HALF, "publishes `applied`");
            break;
        }
        if (n.applied < s->goal[t])
            to(e, &n, t, A_HALF, "publishes `applied`");
        to(e, &n, t, A_OPEN, "publishes `applied`, time is up");
        break;
    case A_OPEN:
        n.gate = 0;
        to(e, &n, t, s->applied < s->goal[t] ? A_CLOSE : A_UNLOCK, "opens the gate");
        break;
    default: /* A_UNLOCK */
        n.applier = 0;
        to(e, &n, t, IDLE, "gives the applier's place back");
    }
}

/* The threads that die together. */
static bool dies_with(int t, int first)
{
    return t == first || (first == LAZY && t == HOUSEKEEPER);
}

static void kill_process(const struct state *s, int first, struct explorer *e)
{
    struct state n = *s;
    for (int t = 0; t < THREADS; t++) {
        if (!dies_with(t, first))
            continue;
        n.pc[t] = GONE;
        n.own[t] = n.at[t] = n.reg[t] = n.goal[t] = n.first[t] = n.left[t] = 0;
        n.sync[t] = 0;
        n.writer = n.writer == t + 1 ? DEAD : n.writer;
        n.applier = n.applier == t + 1 ? DEAD : n.applier;
        n.gate = n.gate == t + 1 ? DEAD : n.gate;
    }
    n.kills_left--;
    explore_move(e, EXPLORE_FAULT, first, "is killed", &n);
}

static void idle(const struct state *s, int t, struct explorer *e)
{
    struct state n = *s;
    n.pc[t] = t == HOUSEKEEPER ? H_TAIL : W_PLACE;
    if (t == HOUSEKEEPER ? s->applied != s->appended || s->gate != 0 : s->left[t] != 0)
        explore_move(e, EXPLORE_STEP, t, t == HOUSEKEEPER ? "wakes up" : "wants to commit", &n);
}

static void moves(const void *at, int bug, struct explorer *e)
{
    const struct state *s = at;
    for (int t = 0; t < THREADS; t++) {
        const enum pc pc = s->pc[t];
        if (t != HOUSEKEEPER && pc != GONE && s->kills_left != 0)
            kill_process(s, t, e);
        if (pc == IDLE)
            idle(s, t, e);
        else if (pc >= W_TELL && pc <= W_ADOPTED)
            adopt(s, t, bug, e);
        else if (pc >= W_PLACE && pc <= W_UNLOCK)
            writer(s, t, bug, e);
        else if (pc >= H_TAIL && pc <= H_CAS)
            house(s, t, bug, e);
        else if (pc >= S_LOOK && pc <= S_RAISE)
            sync_to(s, t, bug, e);
        else if (pc >= A_PLACE)
            applier(s, t, bug, e);
    }
}

static void print(const void *at)
{
    const struct state *s = at;
    printf("applied %d durable %d sealed %d%s appended %d data %d half %d gate %d safe %x log",
           s->applied, s->durable, s->sealed, s->sharing ? "*" : "", s->appended, s->data, s->half,
           s->gate, s->safe);
    for (int i = 0; i < BLOCKS * CELLS; i++)
        printf("%s%d%s", i % CELLS == 0 ? " |" : " ", s->cell[i] & ~PARTIAL,
               (s->cell[i] & PARTIAL) != 0 ? "-" : "");
}

#define PROTOCOL(what, begins)                                                                  \
    {.name = what, .state_bytes = sizeof(struct state), .start = begins, .moves = moves,            \
     .check = check, .progress = progress, .processes = THREADS, .print = print}

const struct protocol protocol_log = PROTOCOL("log", start);
const struct protocol protocol_log_three = PROTOCOL("log, three committers", start_three);
