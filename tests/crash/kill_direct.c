/* SPDX-License-Identifier: MIT */
/*
 * kill_direct.c - processes that use one store are killed by SIGKILL at random, again and again
 *
 * Two writers run transactions 1, 2, 3, ... on one store; a reader looks at it all the time. What
 * transaction j does follows from (seed, j) and the state before it, so the state after any k is
 * known without asking the store: `struct world` computes it. A page shared by all processes keeps,
 * outside the store, the last transaction that was begun and the last that was acknowledged. After
 * each kill a process of its own opens the store, takes the time, checks it and compares every byte
 * of every object with world k, where k can only be the last transaction begun or the one before.
 *
 * Rounds: all processes killed; one killed while the others go on; processes killed while they
 * open, create and close; and a rollback killed, several times, before the store may open.
 *
 * Invariants of the test:
 *   K1  attempted is written inside transaction j, before its first change; acknowledged after its
 *       hf_commit returned 0; so max(acknowledged, attempted - 1) <= k <= attempted
 *   K2  in every view: head.k = tail.k, the accounts' sum is 0, every object's sum is that of its
 *       bytes, no object's stamp is above k
 *   K3  a process that lives meets no error because another died, and makes progress
 */
#include "holdfast.h"
#include "tests/support/campaign.h"

#include <dirent.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define SLOTS        20u /* named objects that come and go */
#define REFS         16u /* blocks in the table: the first half raw, the others anonymous objects */
#define ACCOUNTS     8u
#define BIG_BYTES    ((uint64_t)700 << 10)
#define HANG_SECONDS 30u

/* ---- what is in the store -------------------------------------------------------------------- */

struct end { /* objects "a-head" and "z-tail" */
    uint64_t k, seed;
};
struct stamped {    /* in front of the bytes of each slot's object and each block */
    uint64_t stamp; /* the transaction that wrote it last */
    uint64_t size_bytes, sum, reserved;
};
struct table { /* object "table" */
    hf_ref refs[REFS];
};

static const hf_type end_type = {
    .name = "end", .version = 1, .size_bytes = sizeof(struct end), .align_bytes = 8};
static const hf_type account_type = {
    .name = "account", .version = 1, .size_bytes = 8, .align_bytes = 8};
static const hf_type table_type = {
    .name = "table", .version = 1, .size_bytes = sizeof(struct table), .align_bytes = 8};

/* ---- what transaction j does ----------------------------------------------------------------- */

#define STEPS_MAX 48u

struct step {
    uint32_t place;      /* below SLOTS: a named object; above: a block of the table */
    uint64_t size_bytes; /* if it is not there: make it with so many bytes */
    bool destroy;        /* if it is there: destroy it, else edit it ... */
    uint64_t at, length; /* ... here, each taken modulo what fits */
    uint64_t number;     /* of the content */
};
struct plan {
    struct step steps[STEPS_MAX];
    uint32_t count, from, to; /* accounts */
    int64_t amount;
};

static void plan_make(struct plan *plan, uint64_t seed, uint64_t j)
{
    struct rng rng = {mix64(seed) ^ mix64(j)};
    plan->count = rng_percent(&rng, 10) ? STEPS_MAX : 1 + (uint32_t)rng_below(&rng, 6);
    plan->from = (uint32_t)rng_below(&rng, ACCOUNTS);
    plan->to = (uint32_t)rng_below(&rng, ACCOUNTS);
    plan->amount = (int64_t)rng_below(&rng, 1000);
    for (uint32_t i = 0; i < plan->count; i++) {
        struct step *step = &plan->steps[i];
        step->place = (uint32_t)rng_below(&rng, SLOTS + REFS);
        step->size_bytes =
            rng_below(&rng, 80) == 0 ? rng_below(&rng, BIG_BYTES) : rng_size(&rng, 6000);
        step->destroy = rng_percent(&rng, 40);
        step->at = rng_next(&rng);
        step->length = rng_next(&rng);
        step->number = rng_next(&rng);
    }
}

static void step_range(const struct step *step, uint64_t size_bytes, uint64_t *at, uint64_t *length)
{
    *at = size_bytes == 0 ? 0 : step->at % size_bytes;
    *length = size_bytes == 0 ? 0 : 1 + step->length % (size_bytes - *at);
}

/* ---- the world: the state after k, computed -------------------------------------------------- */

struct thing {
    bool there;
    uint64_t stamp, size_bytes;
    unsigned char *bytes;
};
struct world {
    uint64_t seed, k;
    struct thing things[SLOTS + REFS];
    int64_t accounts[ACCOUNTS];
};

static void world_clear(struct world *world, uint64_t seed)
{
    for (uint32_t i = 0; i < SLOTS + REFS; i++)
        free(world->things[i].bytes);
    *world = (struct world){.seed = seed};
}

static void world_step(struct world *world, const struct step *step)
{
    struct thing *thing = &world->things[step->place];
    uint64_t at, length;
    if (!thing->there) {
        thing->there = true;
        thing->size_bytes = step->size_bytes;
        thing->bytes = must_alloc(thing->size_bytes);
        content_fill(thing->bytes, thing->size_bytes, step->number);
    } else if (step->destroy) {
        free(thing->bytes);
        *thing = (struct thing){0};
        return;
    } else {
        step_range(step, thing->size_bytes, &at, &length);
        content_fill(thing->bytes + at, length, step->number);
    }
    thing->stamp = world->k;
}

static void world_advance(struct world *world, uint64_t k)
{
    struct plan plan;
    while (world->k < k) {
        world->k++;
        plan_make(&plan, world->seed, world->k);
        for (uint32_t i = 0; i < plan.count; i++)
            world_step(world, &plan.steps[i]);
        world->accounts[plan.from] -= plan.amount;
        world->accounts[plan.to] += plan.amount;
    }
}

/* ---- between the processes ------------------------------------------------------------------- */

struct shared {
    _Atomic uint64_t attempted, acknowledged;
    _Atomic uint64_t progress[4]; /* transactions or views of each living process */
    _Atomic uint64_t commits, aborts, rollbacks, views, opens;
    _Atomic uint32_t faults;
    char message[600];
    /* From the process that verifies. */
    uint64_t verified_k, open_ns, starved_ns, undone_bytes;
    uint32_t recoveries, verified;
};
static struct shared *shared;

/* Reports what a child met, once, and ends the child. */
__attribute__((format(printf, 1, 2), noreturn)) static void child_fault(const char *format, ...)
{
    const hf_error *error = hf_last_error();
    if (atomic_fetch_add(&shared->faults, 1) == 0) {
        va_list arguments;
        va_start(arguments, format);
        int length = vsnprintf(shared->message, 300, format, arguments);
        va_end(arguments);
        if (length > 299)
            length = 299;
        snprintf(shared->message + length, sizeof shared->message - (size_t)length,
                 " (last error %s: %s)", hf_error_name(error->code), error->message);
    }
    _exit(3);
}

static void raise_to(_Atomic uint64_t *word, uint64_t value)
{
    uint64_t old = atomic_load(word);
    while (old < value && !atomic_compare_exchange_weak(word, &old, value))
        ;
}

/* ---- the writer ------------------------------------------------------------------------------ */

struct setting {
    char path[512];
    uint64_t seed;
    uint32_t allocator, index;
};

static hf_store *child_open(const struct setting *s)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    options.engine = HF_ENGINE_DIRECT;
    options.allocator = s->allocator;
    options.index = s->index;
    options.size_initial_bytes = 64 << 10;
    options.size_max_bytes = UINT64_C(256) << 20;
    if (hf_open(s->path, &options, &store) != 0)
        child_fault("hf_open");
    atomic_fetch_add(&shared->opens, 1);
    return store;
}

static void place_name(char out[32], uint32_t place)
{
    snprintf(out, 32, "slot/%02u", place);
}

static struct stamped *new_thing(hf_txn *txn, uint32_t place, uint64_t bytes)
{
    char name[32];
    place_name(name, place);
    return place < SLOTS              ? hf_construct(txn, name, NULL, bytes)
           : place < SLOTS + REFS / 2 ? hf_alloc(txn, bytes)
                                      : hf_new(txn, NULL, bytes);
}

static const struct stamped *find_thing(hf_view *view, uint32_t place, const struct table *table)
{
    char name[32];
    place_name(name, place);
    return place < SLOTS ? hf_find(view, name, NULL, NULL)
                         : hf_at(view, table->refs[place - SLOTS]);
}

static void destroy_thing(hf_txn *txn, uint32_t place, const struct stamped *thing)
{
    char name[32];
    int code = 0;
    place_name(name, place);
    if (place < SLOTS)
        code = hf_destroy(txn, name);
    else if (place < SLOTS + REFS / 2)
        hf_free(txn, thing);
    else
        code = hf_destroy_ptr(txn, thing);
    if (code != 0)
        child_fault("destroying place %u", place);
}

static void set_ref(hf_txn *txn, const struct table *table, uint32_t place, const void *to)
{
    if (place < SLOTS)
        return;
    hf_ref *ref = hf_edit(txn, &table->refs[place - SLOTS], sizeof *ref);
    if (ref == NULL)
        child_fault("hf_edit of the table");
    *ref = hf_ref_of(hf_txn_view(txn), to);
}

static void store_step(hf_txn *txn, const struct step *step, const struct table *table, uint64_t j)
{
    const struct stamped *seen = find_thing(hf_txn_view(txn), step->place, table);
    struct stamped *thing;
    uint64_t at = 0, length = step->size_bytes;
    if (seen != NULL && step->destroy) {
        destroy_thing(txn, step->place, seen);
        set_ref(txn, table, step->place, NULL);
        return;
    }
    if (seen == NULL) {
        thing = new_thing(txn, step->place, sizeof *thing + step->size_bytes);
        if (thing == NULL)
            child_fault("making place %u of %llu bytes", step->place,
                        (unsigned long long)step->size_bytes);
        *thing = (struct stamped){.size_bytes = step->size_bytes};
        set_ref(txn, table, step->place, thing);
    } else {
        step_range(step, seen->size_bytes, &at, &length);
        thing = hf_edit(txn, seen, sizeof *thing);
        unsigned char *range = hf_edit(txn, (const unsigned char *)(seen + 1) + at, length);
        if (thing == NULL || range == NULL)
            child_fault("hf_edit of place %u", step->place);
    }
    unsigned char *bytes = (unsigned char *)(thing + 1);
    content_fill(bytes + at, length, step->number);
    thing->stamp = j;
    thing->sum = content_sum(bytes, thing->size_bytes);
}

/* The first transaction also makes what is always there. */
static const struct table *store_prepare(hf_txn *txn, uint64_t seed)
{
    struct end *head = hf_construct(txn, "a-head", &end_type, 1);
    struct table *table = hf_construct(txn, "table", &table_type, 1);
    struct end *tail = hf_construct(txn, "z-tail", &end_type, 1);
    if (head == NULL || table == NULL || tail == NULL)
        child_fault("the first objects");
    head->seed = tail->seed = seed;
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        char name[32];
        snprintf(name, sizeof name, "account/%u", i);
        if (hf_construct(txn, name, &account_type, 1) == NULL)
            child_fault("the first accounts");
    }
    return table;
}

static void move_amount(hf_txn *txn, uint32_t account, int64_t amount)
{
    char name[32];
    snprintf(name, sizeof name, "account/%u", account);
    const int64_t *seen = hf_find(hf_txn_view(txn), name, &account_type, NULL);
    int64_t *balance = seen != NULL ? hf_edit(txn, seen, sizeof *seen) : NULL;
    if (balance == NULL)
        child_fault("account %u", account);
    *balance += amount;
}

static void set_end(hf_txn *txn, const char *name, uint64_t k)
{
    const struct end *seen = hf_find(hf_txn_view(txn), name, &end_type, NULL);
    struct end *end = seen != NULL ? hf_edit(txn, seen, sizeof *seen) : NULL;
    if (end == NULL)
        child_fault("%s", name);
    end->k = k;
}

/* Does things that must leave no trace, and takes them back. */
static void excursion(hf_txn *txn, const struct table *table, struct rng *rng, uint64_t j)
{
    hf_mark mark;
    struct plan plan;
    if (hf_savepoint(txn, &mark) != 0)
        child_fault("hf_savepoint");
    plan_make(&plan, rng_next(rng), j);
    for (uint32_t i = 0; i < plan.count && i < 8; i++)
        store_step(txn, &plan.steps[i], table, UINT64_MAX);
    if (hf_rollback_to(txn, mark) != 0)
        child_fault("hf_rollback_to");
    atomic_fetch_add(&shared->rollbacks, 1);
}

static void write_once(hf_store *store, const struct setting *s, struct rng *rng)
{
    hf_txn *txn;
    struct plan plan;
    if (hf_begin(store, &txn) != 0)
        child_fault("hf_begin");
    hf_view *view = hf_txn_view(txn);
    const struct end *head = hf_find(view, "a-head", &end_type, NULL);
    uint64_t j = head != NULL ? head->k + 1 : 1;
    atomic_store(&shared->attempted, j);
    const struct table *table =
        head != NULL ? hf_find(view, "table", &table_type, NULL) : store_prepare(txn, s->seed);
    if (table == NULL)
        child_fault("the table");
    plan_make(&plan, s->seed, j);
    set_end(txn, "a-head", j);
    move_amount(txn, plan.from, -plan.amount);
    for (uint32_t i = 0; i < plan.count; i++) {
        store_step(txn, &plan.steps[i], table, j);
        if (rng_percent(rng, 6))
            excursion(txn, table, rng, j);
    }
    move_amount(txn, plan.to, plan.amount);
    set_end(txn, "z-tail", j);
    if (rng_percent(rng, 8)) {
        hf_abort(txn);
        atomic_fetch_add(&shared->aborts, 1);
        return;
    }
    if (hf_commit(txn) != 0)
        child_fault("hf_commit of %llu", (unsigned long long)j);
    raise_to(&shared->acknowledged, j);
    atomic_fetch_add(&shared->commits, 1);
    if (rng_percent(rng, 4)) {
        const int code = hf_trim(store, NULL);
        if (code != 0 && code != HF_EBUSY)
            child_fault("hf_trim after %llu", (unsigned long long)j);
    }
}

/* ---- the reader ------------------------------------------------------------------------------ */

static bool thing_sound(const struct stamped *thing, uint64_t k)
{
    return thing->stamp <= k && thing->size_bytes <= BIG_BYTES &&
           thing->sum == content_sum(thing + 1, thing->size_bytes);
}

/* K2, from the store alone. */
static void read_once(hf_store *store)
{
    hf_view *view;
    if (hf_view_begin(store, &view) != 0)
        child_fault("hf_view_begin");
    const struct end *head = hf_find(view, "a-head", &end_type, NULL);
    const struct end *tail = hf_find(view, "z-tail", &end_type, NULL);
    const struct table *table = hf_find(view, "table", &table_type, NULL);
    if (head == NULL && tail == NULL && table == NULL) { /* nothing was committed yet */
        hf_view_end(view);
        return;
    }
    if (head == NULL || tail == NULL || table == NULL || head->k != tail->k)
        child_fault("torn: head and tail differ");
    uint64_t k = head->k;
    int64_t sum = 0;
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        char name[32];
        snprintf(name, sizeof name, "account/%u", i);
        const int64_t *balance = hf_find(view, name, &account_type, NULL);
        if (balance == NULL)
            child_fault("torn: account %u is missing", i);
        sum += *balance;
    }
    if (sum != 0)
        child_fault("torn: the accounts' sum is %lld", (long long)sum);
    for (uint32_t place = 0; place < SLOTS + REFS; place++) {
        const struct stamped *thing = find_thing(view, place, table);
        if (thing != NULL && !thing_sound(thing, k))
            child_fault("torn: place %u at k %llu", place, (unsigned long long)k);
    }
    if (head->k != k || tail->k != k)
        child_fault("a view changed while it was open");
    hf_view_end(view);
    atomic_fetch_add(&shared->views, 1);
}

/* ---- the processes --------------------------------------------------------------------------- */

enum role { ROLE_WRITER, ROLE_READER, ROLE_OPENER, ROLE_RECOVERER };

static void run_role(const struct setting *s, enum role role, unsigned number, uint64_t seed)
{
    struct rng rng = {seed};
    alarm(HANG_SECONDS * 2); /* ends a child that nobody kills any more */
    do {
        hf_store *store = child_open(s);
        uint64_t turns = role == ROLE_OPENER ? rng_below(&rng, 3) : UINT64_MAX;
        for (; turns > 0 && role != ROLE_RECOVERER; turns--) {
            if (role == ROLE_READER)
                read_once(store);
            else
                write_once(store, s, &rng);
            atomic_fetch_add(&shared->progress[number], 1);
        }
        if (hf_close(store) != 0)
            child_fault("hf_close");
    } while (role == ROLE_OPENER);
    _exit(0);
}

static pid_t start_role(const struct setting *s, enum role role, unsigned number, struct rng *rng)
{
    uint64_t seed = rng_next(rng);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        run_role(s, role, number, seed);
    return pid;
}

/* ---- verifying ------------------------------------------------------------------------------- */

static void verify_thing(hf_view *view, const struct world *world, uint32_t place,
                         const struct table *table)
{
    const struct thing *thing = &world->things[place];
    const struct stamped *found = find_thing(view, place, table);
    if (found == NULL && !thing->there)
        return;
    if (found == NULL || !thing->there)
        child_fault("k %llu: place %u is %s", (unsigned long long)world->k, place,
                    found != NULL ? "there and should not be" : "missing");
    if (found->size_bytes != thing->size_bytes || found->stamp != thing->stamp ||
        memcmp(found + 1, thing->bytes, thing->size_bytes) != 0)
        child_fault("k %llu: place %u has other bytes (stamp %llu, expected %llu)",
                    (unsigned long long)world->k, place, (unsigned long long)found->stamp,
                    (unsigned long long)thing->stamp);
}

static void verify_world(hf_store *store, struct world *world)
{
    hf_view *view;
    uint64_t named = 0, attempted = atomic_load(&shared->attempted);
    uint64_t acknowledged = atomic_load(&shared->acknowledged);
    if (hf_view_begin(store, &view) != 0)
        child_fault("hf_view_begin after a kill");
    const struct end *head = hf_find(view, "a-head", &end_type, NULL);
    uint64_t k = head != NULL ? head->k : 0;
    if (k > attempted || k + 1 < attempted || k < acknowledged)
        child_fault("the state is that of %llu; acknowledged %llu, attempted %llu",
                    (unsigned long long)k, (unsigned long long)acknowledged,
                    (unsigned long long)attempted);
    world_advance(world, k);
    shared->verified_k = k;
    if (k != 0) {
        const struct table *table = hf_find(view, "table", &table_type, NULL);
        const struct end *tail = hf_find(view, "z-tail", &end_type, NULL);
        if (table == NULL || tail == NULL || tail->k != k)
            child_fault("k %llu: the tail or the table", (unsigned long long)k);
        for (uint32_t place = 0; place < SLOTS + REFS; place++) {
            verify_thing(view, world, place, table);
            named += place < SLOTS && world->things[place].there;
        }
        for (uint32_t i = 0; i < ACCOUNTS; i++) {
            char name[32];
            snprintf(name, sizeof name, "account/%u", i);
            const int64_t *balance = hf_find(view, name, &account_type, NULL);
            if (balance == NULL || *balance != world->accounts[i])
                child_fault("k %llu: account %u", (unsigned long long)k, i);
        }
        named += 3 + ACCOUNTS;
    }
    if (hf_count_named(view) != named)
        child_fault("k %llu: %llu names, expected %llu", (unsigned long long)k,
                    (unsigned long long)hf_count_named(view), (unsigned long long)named);
    hf_view_end(view);
}

static void note_finding(void *user, const hf_finding *finding)
{
    snprintf(user, 300, "%s at %llu: %s", finding->rule, (unsigned long long)finding->offset,
             finding->expected);
}

/* In a process of its own: opens, takes the time, checks, compares; then closes, or dies too. */
static void run_verifier(const struct setting *s, struct world *world, bool close_it, bool shrink)
{
    char found[300] = "";
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    hf_check_report report;
    hf_recovery recovery;
    options.on_finding = note_finding;
    options.user = found;
    options.findings_max = 1;
    alarm(HANG_SECONDS);
    uint64_t starved = starved_ns(), begun = clock_ns();
    hf_store *store = child_open(s);
    shared->open_ns = clock_ns() - begun;
    shared->starved_ns = starved_ns() - starved;
    if (hf_recovery_info(store, &recovery) == 0) {
        shared->recoveries = (uint32_t)recovery.recoveries;
        shared->undone_bytes = recovery.undone_bytes;
    }
    if (hf_check_sanity(store, &options, &report) != 0)
        child_fault("hf_check_sanity: %s", found);
    verify_world(store, world);
    shared->verified = 1;
    if (!close_it)
        _exit(0);
    if (hf_close(store) != 0)
        child_fault("hf_close by the verifier");
    if (shrink && hf_shrink_to_fit(s->path) != 0)
        child_fault("hf_shrink_to_fit");
    _exit(0);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

enum round_kind { ROUND_ALL, ROUND_ONE, ROUND_OPENERS, ROUND_RECOVERY, ROUND_KINDS };
static const char *const round_names[] = {"all killed", "one killed, others go on",
                                          "killed in open and close", "rollback killed"};

struct figures {
    uint64_t rounds[ROUND_KINDS], kills, recovered, undone_bytes, slow, starved_slow;
    uint64_t *open_ns;
    size_t opens, opens_max;
};

static void sleep_us(uint64_t microseconds)
{
    struct timespec time = {(time_t)(microseconds / 1000000),
                            (long)(microseconds % 1000000) * 1000};
    nanosleep(&time, NULL);
}

/* Kills and reaps. A child that ended by itself has reported its fault. */
static void kill_role(struct figures *figures, pid_t pid)
{
    int status;
    if (pid <= 0)
        return;
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        figures->kills++;
    } else if (WIFSIGNALED(status) && atomic_fetch_add(&shared->faults, 1) == 0) {
        snprintf(shared->message, sizeof shared->message, "a process died of signal %d",
                 WTERMSIG(status));
    }
}

/* K3: whoever lives does three more turns, soon. */
static void await_progress(const pid_t pids[3])
{
    uint64_t from[3], deadline = clock_ns() + HANG_SECONDS * UINT64_C(1000000000);
    for (unsigned i = 0; i < 3; i++)
        from[i] = atomic_load(&shared->progress[i]);
    for (unsigned i = 0; i < 3; i++) {
        while (pids[i] > 0 && atomic_load(&shared->progress[i]) < from[i] + 3 &&
               atomic_load(&shared->faults) == 0) {
            if (clock_ns() > deadline && atomic_fetch_add(&shared->faults, 1) == 0)
                snprintf(shared->message, sizeof shared->message,
                         "process %u makes no progress beside a dead one", i);
            sleep_us(100);
        }
    }
}

static void round_run(struct campaign *c, struct rng *rng, const struct setting *s,
                      enum round_kind kind, struct figures *figures)
{
    (void)c;
    pid_t pids[3] = {0, 0, 0};
    enum role writer = kind == ROUND_OPENERS ? ROLE_OPENER : ROLE_WRITER;
    pids[0] = start_role(s, writer, 0, rng);
    pids[1] = start_role(s, writer, 1, rng);
    pids[2] = start_role(s, ROLE_READER, 2, rng);
    sleep_us(rng_percent(rng, 15) ? rng_below(rng, 1500) : rng_below(rng, 15000));
    if (kind == ROUND_ONE) {
        for (uint64_t deaths = 1 + rng_below(rng, 3); deaths > 0; deaths--) {
            unsigned victim = (unsigned)rng_below(rng, 3);
            kill_role(figures, pids[victim]);
            pids[victim] = 0;
            await_progress(pids);
            pids[victim] = start_role(s, victim == 2 ? ROLE_READER : ROLE_WRITER, victim, rng);
            sleep_us(rng_below(rng, 3000));
        }
    }
    unsigned first = (unsigned)rng_below(rng, 3);
    for (unsigned i = 0; i < 3; i++)
        kill_role(figures, pids[(first + i) % 3]);
    for (uint64_t i = kind == ROUND_RECOVERY ? 1 + rng_below(rng, 4) : 0; i > 0; i--) {
        pid_t pid = start_role(s, ROLE_RECOVERER, 3, rng);
        sleep_us(200 + rng_below(rng, rng_percent(rng, 50) ? 600 : 3000));
        kill_role(figures, pid);
    }
}

/* True if the store is what it must be; false: its world begins anew. */
static bool round_verify(struct campaign *c, struct rng *rng, const struct setting *s,
                         struct world *world, enum round_kind kind, struct figures *figures)
{
    int status;
    bool close_it = rng_percent(rng, 50), shrink = close_it && rng_percent(rng, 20);
    shared->verified = 0;
    fflush(stdout);
    pid_t pid = atomic_load(&shared->faults) == 0 ? fork() : -1;
    if (pid == 0)
        run_verifier(s, world, close_it, shrink);
    if (pid > 0) {
        waitpid(pid, &status, 0);
        if (WIFSIGNALED(status) && atomic_fetch_add(&shared->faults, 1) == 0)
            snprintf(shared->message, sizeof shared->message, "the verifier died of signal %d%s",
                     WTERMSIG(status), WTERMSIG(status) == SIGALRM ? " (it hung)" : "");
    }
    bool good = atomic_load(&shared->faults) == 0 && pid > 0 && shared->verified != 0;
    campaign_expect(c, good, "%s, %s, allocator %u, index %u: %s", s->path, round_names[kind],
                    s->allocator, s->index, shared->message);
    if (!good)
        return false;
    bool slow = shared->open_ns > UINT64_C(1000000000);
    bool starved = slow && shared->open_ns - shared->starved_ns <= UINT64_C(1000000000);
    figures->slow += slow && !starved;
    figures->starved_slow += starved;
    campaign_expect(c, !slow || starved, "an open took %.3f s, of them %.3f s without a processor",
                    (double)shared->open_ns / 1e9, (double)shared->starved_ns / 1e9);
    if (figures->opens < figures->opens_max)
        figures->open_ns[figures->opens++] = shared->open_ns;
    figures->recovered += shared->recoveries != 0;
    figures->undone_bytes += shared->undone_bytes;
    world_advance(world, shared->verified_k);
    atomic_store(&shared->attempted, world->k);
    atomic_store(&shared->acknowledged, world->k);
    return true;
}

/* ---- the campaign ---------------------------------------------------------------------------- */

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void print_figures(const struct figures *f)
{
    for (unsigned i = 0; i < ROUND_KINDS; i++)
        printf("  %-28s %6llu rounds\n", round_names[i], (unsigned long long)f->rounds[i]);
    printf("  %llu processes killed; %llu rounds left a transaction to roll back, %.1f MB undone\n",
           (unsigned long long)f->kills, (unsigned long long)f->recovered,
           (double)f->undone_bytes / 1e6);
    printf("  %llu commits, %llu aborts, %llu partial rollbacks, %llu views, %llu opens\n",
           (unsigned long long)atomic_load(&shared->commits),
           (unsigned long long)atomic_load(&shared->aborts),
           (unsigned long long)atomic_load(&shared->rollbacks),
           (unsigned long long)atomic_load(&shared->views),
           (unsigned long long)atomic_load(&shared->opens));
    if (f->opens == 0)
        return;
    qsort(f->open_ns, f->opens, sizeof *f->open_ns, compare_u64);
    printf("  open after a kill: median %.2f ms, 99%% %.2f ms, longest %.2f ms; above 1 s: %llu, "
           "and %llu for want of a processor\n",
           (double)f->open_ns[f->opens / 2] / 1e6, (double)f->open_ns[f->opens * 99 / 100] / 1e6,
           (double)f->open_ns[f->opens - 1] / 1e6, (unsigned long long)f->slow,
           (unsigned long long)f->starved_slow);
}

struct place {
    struct setting setting;
    struct world world;
    uint64_t left; /* rounds until another allocator and index */
};

/* A new store under the next allocator and index. */
static void place_renew(struct place *place, struct rng *rng, uint64_t number)
{
    char sidecar[600];
    int code = hf_remove(place->setting.path);
    if (code != 0 && code != HF_ENOENT) { /* after a failure: whatever is left */
        unlink(place->setting.path);
        snprintf(sidecar, sizeof sidecar, "%s-lock", place->setting.path);
        unlink(sidecar);
        snprintf(sidecar, sizeof sidecar, "%s-undo", place->setting.path);
        unlink(sidecar);
    }
    place->setting.seed = rng_next(rng);
    place->setting.allocator = HF_ALLOC_BEST_FIT + (uint32_t)(number % 3);
    place->setting.index = (uint32_t)(number / 3 % 3);
    world_clear(&place->world, place->setting.seed);
    place->left = 20 + rng_below(rng, 60);
    atomic_store(&shared->attempted, 0);
    atomic_store(&shared->acknowledged, 0);
}

/* Removes the directory with whatever killed processes left there. */
static void remove_directory(const char *directory)
{
    DIR *entries = opendir(directory);
    struct dirent *entry;
    unsigned strays = 0;
    char path[800];
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        if (entry->d_name[0] == '.' && strlen(entry->d_name) <= 2)
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (strncmp(entry->d_name, "kill.hf", 7) != 0 || strlen(entry->d_name) > 12)
            strays++;
        unlink(path);
    }
    if (entries != NULL)
        closedir(entries);
    if (strays != 0)
        printf("  %u files of killed creations were left in %s\n", strays, directory);
    rmdir(directory);
}

int main(void)
{
    struct campaign c;
    static struct place places[2];
    char directories[2][400];
    struct figures figures = {0};
    campaign_start(&c, "kill_direct");
    uint64_t rounds = campaign_count(&c, 2200);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || !campaign_directory(NULL, directories[0], sizeof directories[0]) ||
        !campaign_directory("/dev/shm", directories[1], sizeof directories[1])) {
        printf("no shared page or no directories\n0 passed, 1 failed\n");
        return 1;
    }
    struct rng rng = {c.seed};
    uint64_t renewals = rng_below(&rng, 6);
    figures.opens_max = rounds;
    figures.open_ns = must_alloc(rounds * sizeof *figures.open_ns);
    for (unsigned i = 0; i < 2; i++)
        snprintf(places[i].setting.path, sizeof places[i].setting.path, "%s/kill.hf",
                 directories[i]);
    for (uint64_t round = 0; round < rounds && c.failed < 4; round++) {
        struct place *place = &places[round % 2];
        uint64_t dice = rng_below(&rng, 100);
        enum round_kind kind = dice < 45   ? ROUND_ALL
                               : dice < 65 ? ROUND_ONE
                               : dice < 80 ? ROUND_OPENERS
                                           : ROUND_RECOVERY;
        if (place->left == 0 || (kind == ROUND_OPENERS && rng_percent(&rng, 30)))
            place_renew(place, &rng, renewals++);
        place->left--;
        atomic_store(&shared->attempted, place->world.k);
        atomic_store(&shared->acknowledged, place->world.k);
        figures.rounds[kind]++;
        round_run(&c, &rng, &place->setting, kind, &figures);
        if (!round_verify(&c, &rng, &place->setting, &place->world, kind, &figures)) {
            if (getenv("HF_TEST_KEEP") != NULL)
                return campaign_end(&c);
            place->left = 0;
            atomic_store(&shared->faults, 0);
        }
    }
    printf("  last states: %llu on disk, %llu in shared memory\n",
           (unsigned long long)places[0].world.k, (unsigned long long)places[1].world.k);
    print_figures(&figures);
    for (unsigned i = 0; i < 2; i++) {
        world_clear(&places[i].world, 0);
        remove_directory(directories[i]);
    }
    free(figures.open_ns);
    return campaign_end(&c);
}
