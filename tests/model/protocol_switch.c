/* SPDX-License-Identifier: MIT */
/*
 * protocol_switch.c - two log files: checkpoints, renewals, failing syncs (store/log_switch.c)
 *
 * Threads 0 and 1 are of one process, 2 is another one; each makes SYNC commits and may make a
 * checkpoint before. A step is one atomic operation on the lock table, one write of a record or a
 * header, half of what applying a record writes, the beginning or the end of a sync. Processes die at
 * any step; the write-back of a log file may fail, which each descriptor of it is told once; a sync
 * of the data file may fail; what was lost so may go from the page cache, too.
 *
 * A page (a log header, a record, a line of the data file) is what the cache holds and the set of
 * all that the disk may hold. check() cuts the power in each state, in every way, and recovers: of
 * the headers the higher epoch counts, its chain ends wherever a record may be missing. Each time
 *
 *   a log is found, and all acknowledged commits are in its base or its chain
 *   the data file, with the chain written over it, is at the commit where the chain ends: all that
 *   the chain doesn't write must surely be on the disk, and nothing of later commits
 *
 * Commit c writes line 0 and line 1 + c % 2. A commit is its attempt: one that is lost and another
 * one that gets its number differ.
 *
 * Left out: records that share blocks (protocol_log.c), readers and the gate (protocol_gate.c);
 * recovery's own steps, which write the chain again over what half of it was written to; descriptors
 * that are opened only after the kernel has told somebody else of a failure; NOSYNC; first and last
 * use of the log; half-written records (not valid, as unwritten ones).
 */
#include "protocols.h"

#include <stdio.h>
#include <string.h>

enum { THREADS = 3, PROCESSES = 2, CELLS = 3, PAGES = 1 + CELLS, LINES = 3, COMMITS = 3 };
enum { SALTS = 6, ATTEMPTS = 5, DEAD = 15 };

enum pc {
    GONE,
    IDLE,
    W_PLACE,
    W_ADOPT,
    W_ENTER,    /* log_failed, switching?                                                        */
    W_ROOM,     /* looks again, as hf__log_make_room                                             */
    W_WRITE,
    W_PUBLISH,
    W_SEAL,
    W_UNLOCK,
    W_ABANDON,
    K_SEAL,     /* C1                                                                            */
    K_PLACE,
    K_APPLY,    /* C2; then, if it must be, all again                                            */
    K_AGAIN,
    K_AGAIN_HALF,
    K_DATA,     /* C3                                                                            */
    K_SWITCHING,
    K_HEADER,   /* C4                                                                            */
    K_FRONT,    /* C6                                                                            */
    K_TAIL,
    K_DONE,
    N_PLACE,    /* renewal                                                                       */
    N_SWITCHING,
    N_ERASE,
    N_SALT,
    N_COPY,
    N_SYNC,
    N_HEADER,
    N_RECORDS,  /* planted: the records after the header                                         */
    N_SYNC_LAST,
    N_FRONT,
    N_TAIL,
    N_DONE,
    N_DURABLE,
    N_CLEAR,
    F_BEGIN,    /* sync of the other file                                                        */
    F_END,
    S_LOOK,     /* sync_to                                                                       */
    S_BEGIN,
    S_END,
    S_TELL,
    S_FREE,
    S_AFTER,
    S_RAISE,
    A_PLACE,
    A_LIMIT,
    A_HALF,
    A_WHOLE,
    A_FRONT,
    A_UNLOCK,
};

struct page {
    uint32_t disk;  /* all that it may be: a set of contents                                     */
    uint8_t cache, dirty, reserved[2];
};

struct state {
    struct page log[2][PAGES], data[LINES];
    uint8_t pc[THREADS], then[THREADS], goal[THREADS], reg[THREADS], salt[THREADS], own[THREADS];
    uint8_t fd[THREADS], file[THREADS], syncs[THREADS], failed[THREADS], left[THREADS];
    uint8_t busy[PROCESSES][2], owes[PROCESSES][2]; /* sync descriptors of each file              */
    uint8_t epoch[SALTS], base[SALTS];
    uint8_t commit[ATTEMPTS], before[ATTEMPTS], published[COMMITS + 1];
    uint8_t salts, attempts, writer, applier, switching, log_failed, data_failed, adopt;
    uint8_t tail_salt, appended, chain, front_salt, applied, durable, sealed;
    uint8_t acknowledged; /* a set of attempts                                                   */
    uint8_t kills, log_failures, data_failures, checkpoints;
    uint8_t lazily; /* who committed doesn't apply: a checkpoint does                            */
    uint8_t reserved[1];
};
_Static_assert(SALTS * ATTEMPTS <= 32, "a set of contents");

static int process_of(int t)
{
    return t == 2;
}

static int line_of(unsigned number)
{
    return 1 + (int)(number % 2);
}

static uint8_t record_of(unsigned salt, unsigned attempt)
{
    return (uint8_t)(salt * ATTEMPTS + attempt);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static void write_page(struct page *page, unsigned content, bool may_tear)
{
    page->cache = (uint8_t)content;
    page->disk |= UINT32_C(1) << content | (may_tear ? 1 : 0);
    page->dirty = 1;
}

static void write_log(struct state *s, int file, int page, unsigned content)
{
    write_page(&s->log[file][page], content, true);
    for (int t = 0; t < THREADS; t++)
        if (s->file[t] == file)
            s->syncs[t] &= (uint8_t)~(1u << page);
}

static void synced(struct page *page)
{
    page->disk = UINT32_C(1) << page->cache;
    page->dirty = 0;
}

/* ---- a power failure ------------------------------------------------------------------------- */

static const char *check_found(const struct state *s, unsigned salt, const uint8_t *found,
                               unsigned end)
{
    for (unsigned a = 1; a < s->attempts; a++)
        if ((s->acknowledged >> a & 1) != 0 && (s->commit[a] > end || found[s->commit[a]] != a))
            return "an acknowledged commit may be lost";
    for (int line = 0; line < LINES; line++) {
        unsigned last = 0;
        for (unsigned c = 1; c <= end; c++)
            if (line == 0 || line == line_of(c))
                last = c;
        if (last <= s->base[salt] && s->data[line].disk != UINT32_C(1) << (last ? found[last] : 0))
            return "the data file may be a mixture that the log doesn't mend";
    }
    return NULL;
}

static const char *cut_log(const struct state *s, unsigned salt)
{
    uint8_t found[COMMITS + 1] = {0};
    const int file = s->epoch[salt] % 2;
    unsigned end = s->base[salt];
    memcpy(found, s->published, end + 1u);
    for (int i = 1; i < PAGES && end < COMMITS; i++) {
        const uint32_t disk = s->log[file][i].disk;
        unsigned next = 0;
        for (unsigned a = 1; a < s->attempts; a++)
            if ((disk >> record_of(salt, a) & 1) != 0 && s->commit[a] == end + 1 &&
                s->before[a] == found[end])
                next = a;
        if (next == 0 || disk != UINT32_C(1) << record_of(salt, next)) {
            const char *broken = check_found(s, salt, found, end);
            if (broken != NULL || next == 0)
                return broken;
        }
        found[++end] = (uint8_t)next;
    }
    return check_found(s, salt, found, end);
}

static const char *check(const void *at)
{
    const struct state *s = at;
    if (s->applied > s->durable || s->durable > s->appended)
        return "the counters are out of order";
    for (unsigned a = 0; a < s->salts; a++)
        for (unsigned b = 0; b < s->salts; b++) {
            if ((s->log[0][0].disk >> a & 1) == 0 || (s->log[1][0].disk >> b & 1) == 0)
                continue;
            if (a == 0 && b == 0)
                return "no log may be found";
            const bool second = a == 0 || (b != 0 && s->epoch[b] > s->epoch[a]);
            const char *broken = cut_log(s, second ? b : a);
            if (broken != NULL)
                return broken;
        }
    return NULL;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void forget(struct state *s, int t)
{
    s->then[t] = s->goal[t] = s->reg[t] = s->salt[t] = s->own[t] = 0;
    s->fd[t] = s->file[t] = s->syncs[t] = s->failed[t] = 0;
}

static void to(struct explorer *e, const struct state *s, int t, enum pc pc, const char *what)
{
    struct state n = *s;
    n.pc[t] = (uint8_t)pc;
    if (pc == IDLE)
        forget(&n, t);
    explore_move(e, EXPLORE_STEP, t, what, &n);
}

static void publish(struct state *s, unsigned attempt)
{
    s->appended = s->commit[attempt];
    s->published[s->appended] = (uint8_t)attempt;
    s->chain = (uint8_t)attempt;
}

/* What stands in the cache behind commit `number` of the log with that salt, if it follows. */
static unsigned read_next(const struct state *s, unsigned salt, unsigned number, unsigned chain)
{
    const int file = s->epoch[salt] % 2;
    const unsigned page = 1u + number - s->base[salt];
    if (page >= PAGES || number == COMMITS)
        return 0;
    for (unsigned a = 1; a < s->attempts; a++)
        if (s->log[file][page].cache == record_of(salt, a) && s->commit[a] == number + 1 &&
            s->before[a] == chain)
            return a;
    return 0;
}

static void write_record(struct state *s, unsigned salt, unsigned attempt)
{
    write_log(s, s->epoch[salt] % 2, (int)(s->commit[attempt] - s->base[salt]),
              record_of(salt, attempt));
}

/* A new salt for the next epoch; false: the model ends here. */
static bool make_salt(struct state *s, int t, unsigned base)
{
    if (s->salts == SALTS)
        return false;
    s->salt[t] = s->salts++;
    s->epoch[s->salt[t]] = (uint8_t)(s->epoch[s->tail_salt] + 1);
    s->base[s->salt[t]] = (uint8_t)base;
    s->file[t] = s->epoch[s->salt[t]] % 2;
    return true;
}

static void sync_then(const struct state *s, int t, enum pc then, const char *what,
                      struct explorer *e)
{
    struct state n = *s;
    n.then[t] = (uint8_t)then;
    to(e, &n, t, F_BEGIN, what);
}

static void take(const struct state *s, int t, uint8_t *word, struct state *n, enum pc pc,
                 const char *what, struct explorer *e)
{
    const uint8_t owner = *word;
    if (owner != 0 && owner != DEAD)
        return;
    *word = (uint8_t)(t + 1);
    if (owner == DEAD && pc == W_ENTER)
        n->adopt = 1;
    to(e, n, t, pc == W_ENTER && n->adopt ? W_ADOPT : pc, what);
    (void)s;
}

static void enter(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    const bool failed = s->log_failed && bug != SWITCH_APPENDS_TO_FAILED;
    if (s->pc[t] == W_ADOPT) {
        const unsigned next =
            s->log_failed ? 0 : read_next(s, s->tail_salt, s->appended, s->chain);
        n.adopt = next != 0;
        if (next != 0)
            publish(&n, next);
        to(e, &n, t, next != 0 ? W_ADOPT : W_ENTER, next != 0 ? "adopts" : "has adopted");
        return;
    }
    if (failed) {
        to(e, s, t, bug == SWITCH_RENEWS_BY_APPLYING ? K_PLACE : N_PLACE, "finds the log failed");
    } else if (s->switching && bug != SWITCH_APPENDS_MEANWHILE) {
        to(e, s, t, K_SEAL, "finds the log being switched");
    } else {
        to(e, s, t, s->pc[t] == W_ENTER ? W_ROOM : W_WRITE, "finds a log to append to");
        if (s->pc[t] == W_ROOM && s->checkpoints != 0) {
            n.checkpoints--;
            to(e, &n, t, K_SEAL, "makes a checkpoint first");
        }
    }
}

static void writer(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    switch (s->pc[t]) {
    case W_PLACE:
        take(s, t, &n.writer, &n, W_ENTER, "takes the writer's place", e);
        break;
    case W_ADOPT:
    case W_ENTER:
    case W_ROOM:
        enter(s, t, bug, e);
        break;
    case W_WRITE:
        if (s->attempts == ATTEMPTS || s->appended == COMMITS)
            break; /* the model ends here */
        n.own[t] = n.attempts++;
        n.commit[n.own[t]] = (uint8_t)(s->appended + 1);
        n.before[n.own[t]] = s->chain;
        write_record(&n, s->tail_salt, n.own[t]);
        to(e, &n, t, W_PUBLISH, "writes its record");
        break;
    case W_PUBLISH:
        publish(&n, s->own[t]);
        to(e, &n, t, W_SEAL, "publishes the tail");
        break;
    case W_SEAL:
        n.sealed = s->appended;
        n.goal[t] = s->appended;
        to(e, &n, t, W_UNLOCK, "seals");
        break;
    case W_UNLOCK:
        n.writer = 0;
        n.left[t]--;
        n.then[t] = A_PLACE;
        to(e, &n, t, S_LOOK, "gives the writer's place back");
        break;
    default: /* W_ABANDON */
        if (s->applier == t + 1)
            n.applier = 0;
        n.writer = 0;
        n.left[t]--;
        to(e, &n, t, IDLE, "gives up its transaction");
    }
}

static void data_sync(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    for (int line = 0; line < LINES; line++)
        if (s->data[line].dirty)
            synced(&n.data[line]);
    n.data_failed = 0;
    to(e, &n, t, bug == SWITCH_BEFORE_DATA_SYNC ? K_FRONT : K_SWITCHING, "syncs the data file");
    if (s->data_failures == 0)
        return;
    n = *s;
    n.data_failures--;
    n.data_failed = 1;
    for (int line = 0; line < LINES; line++)
        n.data[line].dirty = 0;
    n.pc[t] = W_ABANDON;
    explore_move(e, EXPLORE_FAULT, t, "fails to sync the data file", &n);
}

/* All since the base again, line by line. */
static void again(const struct state *s, int t, struct explorer *e)
{
    struct state n = *s;
    if (s->reg[t] == s->appended) {
        n.reg[t] = 0;
        to(e, &n, t, K_DATA, "has applied all again");
    } else if (s->pc[t] == K_AGAIN) {
        write_page(&n.data[0], s->published[s->reg[t] + 1], false);
        to(e, &n, t, K_AGAIN_HALF, "applies half of a record again");
    } else {
        n.reg[t]++;
        write_page(&n.data[line_of(n.reg[t])], s->published[n.reg[t]], false);
        to(e, &n, t, K_AGAIN, "applies the rest again");
    }
}

static void checkpoint(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    switch (s->pc[t]) {
    case K_SEAL:
        n.sealed = n.goal[t] = s->appended;
        n.then[t] = K_PLACE;
        to(e, &n, t, bug == SWITCH_SKIPS_LOG_SYNC ? K_PLACE : S_LOOK, "seals all");
        break;
    case K_PLACE:
        n.then[t] = K_APPLY;
        n.goal[t] = s->appended;
        take(s, t, &n.applier, &n,
             bug == SWITCH_BEFORE_APPLYING ? K_SWITCHING
             : bug == SWITCH_RENEWS_BY_APPLYING && s->log_failed ? A_HALF
                                                                 : A_LIMIT,
             "takes the applier's place", e);
        break;
    case K_APPLY:
        n.reg[t] = s->base[s->tail_salt];
        if (s->applied != s->appended)
            to(e, s, t, W_ABANDON, "couldn't apply all");
        else
            to(e, &n, t,
               s->data_failed && bug != SWITCH_IGNORES_DATA_FAILURE ? K_AGAIN
               : bug == SWITCH_BEFORE_DATA_SYNC                     ? K_SWITCHING
                                                                    : K_DATA,
               "has applied all");
        break;
    case K_AGAIN:
    case K_AGAIN_HALF:
        again(s, t, e);
        break;
    case K_DATA:
        data_sync(s, t, bug, e);
        break;
    case K_SWITCHING:
        n.switching = 1;
        to(e, &n, t, K_HEADER, "sets `switching`");
        break;
    case K_HEADER:
        if (!make_salt(&n, t, s->appended))
            break;
        write_log(&n, n.file[t], 0, n.salt[t]);
        sync_then(&n, t,
                  bug == SWITCH_BEFORE_DATA_SYNC  ? K_DATA
                  : bug == SWITCH_BEFORE_APPLYING ? K_APPLY
                                                  : K_FRONT,
                  "writes the other log's header", e);
        if (bug == SWITCH_PUBLISHES_BEFORE_SYNC)
            to(e, &n, t, K_FRONT, "doesn't sync it");
        break;
    case K_FRONT:
        n.front_salt = s->salt[t];
        to(e, &n, t, K_TAIL, "publishes the front");
        break;
    case K_TAIL:
        n.tail_salt = s->salt[t];
        to(e, &n, t, K_DONE, "publishes the tail");
        break;
    default: /* K_DONE */
        n.switching = 0;
        n.applier = 0;
        if (bug == SWITCH_RENEWS_BY_APPLYING)
            n.log_failed = 0;
        to(e, &n, t, W_ROOM, "clears `switching`");
    }
}

static void copy(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    const unsigned chain = s->reg[t] == 0 ? 0 : s->reg[t] & 15u;
    const unsigned number = chain == 0 ? s->base[s->tail_salt] : s->commit[chain];
    const unsigned next = read_next(s, s->tail_salt, number,
                                    chain != 0 ? chain : number == 0 ? 0 : s->published[number]);
    if (next != 0) {
        n.reg[t] = (uint8_t)next;
        write_record(&n, s->salt[t], next);
        to(e, &n, t, (enum pc)s->pc[t], "copies a record");
        return;
    }
    if (number < (bug == SWITCH_RENEWS_LESS ? s->durable : s->appended))
        to(e, s, t, W_ABANDON, "can't read the failed log any more");
    else
        to(e, s, t, s->pc[t] == N_RECORDS ? N_SYNC_LAST : N_SYNC, "has copied all");
}

/* A header that an earlier renewal left in the other file goes; also one that may be there only on the disk. */
static void erase(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    const unsigned epoch = s->epoch[s->tail_salt];
    n.file[t] = (uint8_t)((epoch + 1) % 2);
    const unsigned there = s->log[n.file[t]][0].cache;
    if (bug == SWITCH_RENEWS_OVER_A_RENEWAL || (there != 0 && s->epoch[there] <= epoch) ||
        (there == 0 && bug == SWITCH_ERASES_ONCE)) {
        to(e, s, t, N_SALT, "finds no header to erase");
        return;
    }
    write_log(&n, n.file[t], 0, 0);
    sync_then(&n, t, N_SALT, "erases the other log's header", e);
}

static void renewal(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    switch (s->pc[t]) {
    case N_PLACE:
        take(s, t, &n.applier, &n, N_SWITCHING, "takes the applier's place", e);
        break;
    case N_SWITCHING:
        n.switching = 1;
        to(e, &n, t, N_ERASE, "sets `switching`");
        break;
    case N_ERASE:
        erase(s, t, bug, e);
        break;
    case N_SALT:
        n.reg[t] = 0;
        if (bug == SWITCH_CLEARS_FAILED_EARLY)
            n.log_failed = n.switching = 0;
        if (make_salt(&n, t, s->base[s->tail_salt]))
            to(e, &n, t, bug == SWITCH_RENEWS_HEADER_FIRST ? N_HEADER : N_COPY, "makes a header");
        break;
    case N_COPY:
    case N_RECORDS:
        copy(s, t, bug, e);
        break;
    case N_SYNC:
        sync_then(s, t, N_HEADER, "has the records", e);
        break;
    case N_HEADER:
        write_log(&n, n.file[t], 0, n.salt[t]);
        to(e, &n, t, bug == SWITCH_RENEWS_HEADER_FIRST ? N_RECORDS : N_SYNC_LAST,
           "writes the other log's header");
        break;
    case N_SYNC_LAST:
        sync_then(s, t, N_FRONT, "has the header", e);
        break;
    case N_FRONT:
        n.front_salt = s->salt[t];
        to(e, &n, t, N_TAIL, "publishes the front");
        break;
    case N_TAIL:
        n.tail_salt = s->salt[t];
        n.appended = s->reg[t] != 0 ? s->commit[s->reg[t]] : s->base[s->salt[t]];
        n.chain = s->published[n.appended];
        for (unsigned a = s->reg[t]; a != 0 && s->commit[a] > s->base[s->salt[t]]; a = s->before[a])
            n.published[s->commit[a]] = (uint8_t)a;
        if (s->reg[t] != 0)
            n.chain = s->reg[t];
        to(e, &n, t, N_DONE, "publishes the tail");
        break;
    case N_DONE:
        n.switching = 0;
        to(e, &n, t, N_DURABLE, "clears `switching`");
        break;
    case N_DURABLE:
        n.sealed = s->appended;
        if (s->appended > s->durable)
            n.durable = s->appended;
        to(e, &n, t, N_CLEAR, "seals, raises `durable`");
        break;
    default: /* N_CLEAR */
        n.log_failed = n.applier = 0;
        to(e, &n, t, W_ROOM, "clears `log_failed`");
    }
}

/* ---- syncs ----------------------------------------------------------------------------------- */

static void begin_sync(const struct state *s, int t, enum pc pc, struct explorer *e)
{
    const int p = process_of(t), file = s->file[t];
    for (uint8_t fd = 0; fd < 2; fd++) {
        struct state n = *s;
        if ((s->busy[p][file] >> fd & 1) != 0)
            continue;
        n.busy[p][file] |= (uint8_t)(1u << fd);
        n.fd[t] = fd;
        for (int i = 0; i < PAGES; i++)
            n.syncs[t] |= (uint8_t)(s->log[file][i].dirty << i);
        to(e, &n, t, pc, "a sync begins");
        return;
    }
}

/* true: it failed. */
static bool end_sync(struct state *n, int t)
{
    const int p = process_of(t), file = n->file[t];
    const uint8_t fd = (uint8_t)(1u << n->fd[t]);
    const bool failed = (n->owes[p][file] & fd) != 0;
    for (int i = 0; i < PAGES; i++)
        if ((n->syncs[t] >> i & 1) != 0 && n->log[file][i].dirty)
            synced(&n->log[file][i]);
    n->owes[p][file] &= (uint8_t)~fd;
    n->syncs[t] = 0;
    return failed;
}

static void give_fd_back(struct state *n, int t)
{
    n->busy[process_of(t)][n->file[t]] &= (uint8_t)~(1u << n->fd[t]);
}

static void other_sync(const struct state *s, int t, struct explorer *e)
{
    struct state n = *s;
    if (s->pc[t] == F_BEGIN) {
        begin_sync(s, t, F_END, e);
        return;
    }
    const bool failed = end_sync(&n, t);
    give_fd_back(&n, t);
    to(e, &n, t, failed ? W_ABANDON : (enum pc)s->then[t], failed ? "a sync fails" : "a sync ends");
}

/* The end of sync_to: on with what it was for, or not. */
static void sync_over(const struct state *s, int t, bool sound, const char *what,
                      struct explorer *e)
{
    struct state n = *s;
    if (s->then[t] == A_PLACE && sound)
        n.acknowledged |= (uint8_t)(1u << s->own[t]);
    n.failed[t] = 0;
    const bool own = s->then[t] == A_PLACE, ends = own && (!sound || s->lazily);
    to(e, &n, t, ends ? IDLE : sound ? (enum pc)s->then[t] : W_ABANDON, what);
}

static void sync_to(const struct state *s, int t, int bug, struct explorer *e)
{
    struct state n = *s;
    switch (s->pc[t]) {
    case S_LOOK:
        n.reg[t] = s->sealed;
        n.salt[t] = s->tail_salt;
        n.file[t] = s->epoch[s->tail_salt] % 2;
        if (s->durable >= s->goal[t])
            sync_over(s, t, true, "finds it durable", e);
        else if ((s->log_failed && bug != SWITCH_APPENDS_TO_FAILED) || s->sealed < s->goal[t])
            sync_over(s, t, false, "finds the log failed: outcome unknown", e);
        else
            to(e, &n, t, S_BEGIN, "loads tail and `sealed`");
        break;
    case S_BEGIN:
        begin_sync(s, t, S_END, e);
        break;
    case S_END:
        n.failed[t] = end_sync(&n, t);
        to(e, &n, t, n.failed[t] && bug != SWITCH_TELLS_LATE ? S_TELL : S_FREE, "a sync ends");
        break;
    case S_TELL:
        if (bug == SWITCH_FORGETS_FAILURE && s->durable >= s->goal[t])
            n.failed[t] = 0;
        else if (s->tail_salt == s->salt[t])
            n.log_failed = 1;
        to(e, &n, t, bug == SWITCH_TELLS_LATE ? S_AFTER : S_FREE, "sets `log_failed`");
        break;
    case S_FREE:
        give_fd_back(&n, t);
        to(e, &n, t, s->failed[t] && bug == SWITCH_TELLS_LATE ? S_TELL : S_AFTER,
           "gives the descriptor back");
        break;
    case S_AFTER:
        if (s->failed[t])
            sync_over(s, t, s->durable >= s->goal[t], "looks whether it is durable all the same", e);
        else if (bug == SWITCH_FORGETS_FAILURE && s->durable >= s->goal[t])
            to(e, s, t, S_LOOK, "goes on");
        else if (s->log_failed && s->tail_salt == s->salt[t] && bug != SWITCH_BELIEVES_SYNC &&
                 bug != SWITCH_APPENDS_TO_FAILED)
            sync_over(s, t, s->durable >= s->goal[t], "finds that another sync failed", e);
        else
            to(e, s, t, S_RAISE, "looks at `log_failed` again");
        break;
    default: /* S_RAISE */
        if (s->reg[t] > s->durable)
            n.durable = s->reg[t];
        to(e, &n, t, S_LOOK, "raises `durable`");
    }
}

/* ---- applying -------------------------------------------------------------------------------- */

static void applier(const struct state *s, int t, struct explorer *e)
{
    struct state n = *s;
    const enum pc then = s->then[t] == K_APPLY ? K_APPLY : A_UNLOCK;
    switch (s->pc[t]) {
    case A_PLACE:
        n.applier = (uint8_t)(t + 1);
        if (s->applier == 0 || s->applier == DEAD)
            to(e, &n, t, A_LIMIT, "takes the applier's place");
        else
            to(e, s, t, IDLE, "finds another one applying");
        break;
    case A_LIMIT:
        n.goal[t] = then == K_APPLY ? s->appended : s->durable;
        to(e, &n, t, s->log_failed || s->applied >= n.goal[t] ? then : A_HALF,
           "loads how far it may apply");
        break;
    case A_HALF:
        if (s->applied >= s->goal[t]) {
            to(e, s, t, then, "has nothing to apply");
            break;
        }
        write_page(&n.data[0], s->published[s->applied + 1], false);
        to(e, &n, t, A_WHOLE, "applies half of a record");
        break;
    case A_WHOLE:
        write_page(&n.data[line_of(s->applied + 1u)], s->published[s->applied + 1], false);
        to(e, &n, t, A_FRONT, "applies the rest of it");
        break;
    case A_FRONT:
        n.applied++;
        to(e, &n, t, n.applied < s->goal[t] ? A_HALF : then, "publishes `applied`");
        break;
    default: /* A_UNLOCK */
        n.applier = 0;
        to(e, &n, t, IDLE, "gives the applier's place back");
    }
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

static void kill_process(const struct state *s, int p, struct explorer *e)
{
    struct state n = *s;
    for (int t = 0; t < THREADS; t++) {
        if (process_of(t) != p)
            continue;
        n.pc[t] = GONE;
        forget(&n, t);
        n.left[t] = 0;
        n.writer = n.writer == t + 1 ? DEAD : n.writer;
        n.applier = n.applier == t + 1 ? DEAD : n.applier;
    }
    memset(n.busy[p], 0, sizeof n.busy[p]);
    memset(n.owes[p], 0, sizeof n.owes[p]);
    n.kills--;
    explore_move(e, EXPLORE_FAULT, 10 + p, "is killed", &n);
}

/* Some of the dirty pages are lost, and the kernel calls them clean. */
static void write_back_fails(const struct state *s, int file, struct explorer *e)
{
    struct state n = *s;
    bool any = false;
    for (int i = 0; i < PAGES; i++) {
        any = any || s->log[file][i].dirty;
        n.log[file][i].dirty = 0;
    }
    for (int p = 0; p < PROCESSES; p++)
        n.owes[p][file] = 3;
    n.log_failures--;
    if (any)
        explore_move(e, EXPLORE_FAULT, 20 + file, "a log file's write-back fails", &n);
}

/* A lost page leaves the cache: what is on the disk is read again. */
static void evict(const struct state *s, size_t offset, struct explorer *e)
{
    const struct page *page = (const struct page *)(const void *)((const char *)s + offset);
    if (page->dirty || page->disk == UINT32_C(1) << page->cache)
        return;
    for (unsigned i = 0; i < 32; i++) {
        struct state n = *s;
        struct page *lost = (struct page *)(void *)((char *)&n + offset);
        if ((page->disk >> i & 1) == 0)
            continue;
        lost->cache = (uint8_t)i;
        lost->disk = UINT32_C(1) << i;
        explore_move(e, EXPLORE_FAULT, 30, "a lost page leaves the cache", &n);
    }
}

static void faults(const struct state *s, struct explorer *e)
{
    for (int p = 0; p < PROCESSES && s->kills != 0; p++)
        if (s->pc[p == 0 ? 0 : 2] != GONE)
            kill_process(s, p, e);
    for (int file = 0; file < 2; file++) {
        if (s->log_failures != 0)
            write_back_fails(s, file, e);
        for (size_t i = 0; i < PAGES; i++)
            evict(s, offsetof(struct state, log) + ((size_t)file * PAGES + i) * sizeof(struct page),
                  e);
    }
    for (size_t i = 0; i < LINES; i++)
        evict(s, offsetof(struct state, data) + i * sizeof(struct page), e);
}

static void moves(const void *at, int bug, struct explorer *e)
{
    const struct state *s = at;
    faults(s, e);
    for (int t = 0; t < THREADS; t++) {
        const enum pc pc = s->pc[t];
        if (pc == IDLE && s->left[t] != 0)
            to(e, s, t, W_PLACE, "wants to commit");
        else if (pc >= W_PLACE && pc <= W_ABANDON)
            writer(s, t, bug, e);
        else if (pc >= K_SEAL && pc <= K_DONE)
            checkpoint(s, t, bug, e);
        else if (pc >= N_PLACE && pc <= N_CLEAR)
            renewal(s, t, bug, e);
        else if (pc == F_BEGIN || pc == F_END)
            other_sync(s, t, e);
        else if (pc >= S_LOOK && pc <= S_RAISE)
            sync_to(s, t, bug, e);
        else if (pc >= A_PLACE)
            applier(s, t, e);
    }
}

/* ---- starts ---------------------------------------------------------------------------------- */

static void begin(struct state *s, const uint8_t commits[THREADS])
{
    for (int t = 0; t < THREADS; t++) {
        s->pc[t] = IDLE;
        s->left[t] = commits[t];
    }
    for (int i = 0; i < PAGES; i++)
        s->log[0][i].disk = s->log[1][i].disk = 1;
    for (int i = 0; i < LINES; i++)
        s->data[i].disk = 1;
    s->salts = 2;
    s->attempts = 1;
    s->tail_salt = s->front_salt = 1;
    s->log[0][0].cache = 1;
    s->log[0][0].disk = 2;
}

/* Checkpoints, and processes that die. */
static void start(void *at)
{
    struct state *s = at;
    begin(s, (const uint8_t[THREADS]){2, 0, 1});
    s->checkpoints = 2;
    s->kills = 1;
}

/* A log file's write-back fails under three committers. */
static void start_log_fails(void *at)
{
    struct state *s = at;
    begin(s, (const uint8_t[THREADS]){1, 1, 1});
    s->log_failures = 1;
    s->lazily = 1;
}

/* The same, with a checkpoint, and one process dies. */
static void start_fails_dies(void *at)
{
    struct state *s = at;
    begin(s, (const uint8_t[THREADS]){2, 0, 1});
    s->checkpoints = 1;
    s->log_failures = 1;
    s->kills = 1;
}

/* One who renews fails, too, and again. */
static void start_renewal_fails(void *at)
{
    struct state *s = at;
    begin(s, (const uint8_t[THREADS]){5, 0, 0});
    s->log_failures = 3;
}

/* Syncs of the data file fail. */
static void start_data_fails(void *at)
{
    struct state *s = at;
    begin(s, (const uint8_t[THREADS]){2, 0, 1});
    s->checkpoints = 3;
    s->data_failures = 1;
}

static void print(const void *at)
{
    const struct state *s = at;
    printf("applied %d durable %d sealed %d appended %d log %d%s%s", s->applied, s->durable,
           s->sealed, s->appended, s->epoch[s->tail_salt], s->switching ? " switching" : "",
           s->log_failed ? " failed" : "");
    for (int file = 0; file < 2; file++) {
        printf(" |");
        for (int i = 0; i < PAGES; i++)
            printf(" %d%s%x", s->log[file][i].cache, s->log[file][i].dirty ? "*" : "=",
                   s->log[file][i].disk);
    }
    printf(" | data");
    for (int i = 0; i < LINES; i++)
        printf(" %d%s%x", s->data[i].cache, s->data[i].dirty ? "*" : "=",
               s->data[i].disk);
}

#define PROTOCOL(what, begins)                                                                     \
    {.name = what, .state_bytes = sizeof(struct state), .start = begins, .moves = moves,           \
     .check = check, .print = print}

const struct protocol protocol_switch = PROTOCOL("switch", start);
const struct protocol protocol_switch_log_fails = PROTOCOL("switch, log fails", start_log_fails);
const struct protocol protocol_switch_fails_dies =
    PROTOCOL("switch, log fails and a process dies", start_fails_dies);
const struct protocol protocol_switch_renewal_fails =
    PROTOCOL("switch, renewals fail", start_renewal_fails);
const struct protocol protocol_switch_data_fails = PROTOCOL("switch, data fails", start_data_fails);
