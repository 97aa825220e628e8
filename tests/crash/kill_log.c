/* SPDX-License-Identifier: MIT */
/*
 * kill_log.c - processes that use one store of the log engine die, again and again
 *
 * Three writers run transactions 1, 2, 3, ... on one store, each with a durability class of its own;
 * one reader may write, one may not, and both hold some of their views for long. What transaction j
 * does follows from (seed, j) and the state before it, so `struct world` knows the state after any k
 * without asking the store. Memory shared by all processes keeps, outside the store, the last
 * transaction begun, each one acknowledged, and the newest state that a view has shown.
 *
 * Processes are killed from outside at random instants, one by one or all by one signal; or they end
 * themselves at some system call, or in the middle of a write (mortal_os.h); and in some rounds a
 * sync or a write fails instead, so that logs are renewed. After each round a process of its own
 * opens the store, takes the time, and compares everything with world k. Mostly it then closes and
 * checks the file; else it dies too, and what it leaves is the next round's beginning.
 *
 * Invariants of the test:
 *   K1  what hf_commit acknowledged is there for good, whatever its class, in order: a transaction
 *       that begins finds a k >= all that were acknowledged before; none is acknowledged twice
 *   K2  in every view: head.k = tail.k, every object's sum is that of its bytes, no stamp is above k;
 *       and nothing changes while it is open
 *   K3  views never go back: one that begins shows a k >= that of any view that was open before
 *   K4  a process that lives meets no error because another died, and makes progress
 *   K5  a closed store is one file
 *   K6  no hf_open takes over two seconds, whoever died when; at full length at least 5000 are killed
 */
#include "holdfast.h"
#include "kill_world.h"
#include "store/store.h"
#include "tests/support/campaign.h"
#include "tests/support/mortal_os.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define HANG_SECONDS 30u
#define OPEN_MAX_NS  UINT64_C(2000000000) /* but for the time without a processor */
#define KILLS_LEAST  5000u
#define NUMBERS      (UINT64_C(1) << 20)
#define PROCESSES    6u

/* ---- between the processes ------------------------------------------------------------------- */

struct shared {
    _Atomic uint64_t attempted, acknowledged, shown;
    _Atomic uint64_t progress[PROCESSES];
    _Atomic uint64_t commits, aborts, unknown, views, long_views, opens, busy, full, longest_open_ns;
    _Atomic uint32_t faults;
    char message[600];
    uint64_t verified_k, open_ns, replayed; /* from the process that verifies */
    uint32_t verified;
    _Atomic unsigned char twice[NUMBERS];
};
static struct shared *shared;

static void fault_text(const char *what)
{
    const hf_error *error = hf_last_error();
    if (atomic_fetch_add(&shared->faults, 1) == 0)
        snprintf(shared->message, sizeof shared->message, "%.280s (last error %s: %.280s)", what,
                 hf_error_name(error->code), error->message);
}

/* Reports what a child met, once, and ends the child. */
__attribute__((format(printf, 1, 2), noreturn)) static void child_fault(const char *format, ...)
{
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fault_text(text);
    _exit(3);
}

static void raise_to(_Atomic uint64_t *word, uint64_t value)
{
    uint64_t old = atomic_load(word);
    while (old < value && !atomic_compare_exchange_weak(word, &old, value))
        ;
}

/* ---- a process's side ------------------------------------------------------------------------ */

struct setting {
    char directory[400], path[512];
    uint64_t seed;
    uint32_t allocator, index;
    bool failing; /* a call of some process fails in this round */
};
static struct {
    const struct setting *setting;
    int64_t timeout_ms; /* not 0: HF_EBUSY is what was asked for */
    struct rng rng;
} self;

/* 0, or an error that this process has asked for. Any other is a fault. */
static int tolerate(int code, const char *what)
{
    const bool asked = (code == HF_EBUSY && self.timeout_ms != 0) ||
                       (self.setting->failing && (code == HF_EIO || code == HF_ECOMMIT_UNKNOWN));
    if (code != 0 && !asked)
        child_fault("%s", what);
    if (code == HF_EBUSY)
        atomic_fetch_add(&shared->busy, 1);
    return code;
}

/* K6 */
static void note_open(uint64_t took_ns, uint64_t starved_for_ns)
{
    uint64_t longest = atomic_load(&shared->longest_open_ns);
    while (took_ns > longest &&
           !atomic_compare_exchange_weak(&shared->longest_open_ns, &longest, took_ns))
        ;
    if (took_ns > OPEN_MAX_NS + starved_for_ns)
        child_fault("hf_open took %.1f s, of them %.1f s without a processor",
                    (double)took_ns / 1e9, (double)starved_for_ns / 1e9);
}

static hf_store *child_open(uint32_t mode, uint32_t durability)
{
    const struct setting *s = self.setting;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    options.mode = mode;
    options.engine = HF_ENGINE_LOG;
    options.durability = durability;
    options.allocator = s->allocator;
    options.index = s->index;
    options.size_initial_bytes = 64 << 10;
    options.size_max_bytes = UINT64_C(64) << 20;
    options.lock_timeout_ms = self.timeout_ms;
    const uint64_t starved = starved_ns(), begun = clock_ns();
    const int code = hf_open(s->path, &options, &store);
    note_open(clock_ns() - begun, starved_ns() - starved);
    if (mode == HF_READ_ONLY && code == HF_ENOENT)
        return NULL;
    if (tolerate(code, "hf_open") != 0)
        return NULL;
    hf_tuning tuning = HF_TUNING_INIT;
    tuning.gate_wait_us = 1 + rng_below(&self.rng, 1000);
    tuning.lazy_interval_ms = 1 + rng_below(&self.rng, 2);
    if (rng_percent(&self.rng, 50))
        tuning.private_max_bytes = 1 + rng_below(&self.rng, 100000);
    if (rng_percent(&self.rng, 50))
        tuning.log_switch_bytes = 16 << 10; /* logs stay as short as they may */
    tuning.trim_delay_ms = 1 + rng_below(&self.rng, 20);
    if (rng_percent(&self.rng, 50))
        tuning.trim_min_bytes = 64 << 10; /* and space is given back as soon as it can be */
    if (tolerate(hf_tune(store, &tuning), "hf_tune") != 0)
        return NULL;
    atomic_fetch_add(&shared->opens, 1);
    return store;
}

/* ---- the writer ------------------------------------------------------------------------------ */

static void place_name(char out[32], uint32_t place)
{
    snprintf(out, 32, "slot/%02u", place);
}

static const struct stamped *find_thing(hf_view *view, uint32_t place, const struct table *table)
{
    char name[32];
    place_name(name, place);
    return place < PLACES - REFS ? hf_find(view, name, NULL, NULL)
                                 : hf_at(view, table->refs[place - (PLACES - REFS)]);
}

static void set_ref(hf_txn *txn, const struct table *table, uint32_t place, const void *to)
{
    if (place < PLACES - REFS)
        return;
    hf_ref *ref = hf_edit(txn, &table->refs[place - (PLACES - REFS)], sizeof *ref);
    if (ref == NULL)
        child_fault("hf_edit of the table");
    *ref = hf_ref_of(hf_txn_view(txn), to);
}

static struct stamped *make_thing(hf_txn *txn, const struct step *step, const struct table *table,
                                  uint64_t j)
{
    char name[32];
    struct stamped *thing;
    const uint64_t bytes = sizeof *thing + step->size_bytes;
    place_name(name, step->place);
    thing = step->place < PLACES - REFS ? hf_construct(txn, name, NULL, bytes)
                                        : hf_alloc(txn, bytes);
    if (thing == NULL)
        child_fault("making place %u of %llu bytes", step->place, (unsigned long long)bytes);
    *thing = (struct stamped){.size_bytes = step->size_bytes, .born = j};
    set_ref(txn, table, step->place, thing);
    return thing;
}

static void store_step(hf_txn *txn, const struct step *step, const struct table *table, uint64_t j)
{
    const struct stamped *seen = find_thing(hf_txn_view(txn), step->place, table);
    struct stamped *thing;
    char name[32];
    uint64_t at = 0, length = step->size_bytes;
    place_name(name, step->place);
    if (seen != NULL && step->destroy) {
        if (step->place >= PLACES - REFS)
            hf_free(txn, seen);
        else if (hf_destroy(txn, name) != 0)
            child_fault("destroying %s", name);
        set_ref(txn, table, step->place, NULL);
        return;
    }
    if (seen == NULL) {
        thing = make_thing(txn, step, table, j);
    } else {
        at = seen->size_bytes == 0 ? 0 : step->at % seen->size_bytes;
        length = seen->size_bytes == 0 ? 0 : 1 + step->length % (seen->size_bytes - at);
        thing = hf_edit(txn, seen, sizeof *thing);
        if (thing == NULL || hf_edit(txn, (const unsigned char *)(seen + 1) + at, length) == NULL)
            child_fault("hf_edit of place %u", step->place);
    }
    unsigned char *bytes = (unsigned char *)(thing + 1);
    content_fill(bytes + at, length, step->number);
    thing->stamp = j;
    thing->sum = content_sum(bytes, thing->size_bytes);
}

static void set_end(hf_txn *txn, const char *name, uint64_t k)
{
    struct end *end = hf_find_or_construct(txn, name, &end_type, 1, NULL);
    if (end == NULL || (end = hf_edit(txn, end, sizeof *end)) == NULL)
        child_fault("%s", name);
    end->k = k;
    end->seed = self.setting->seed;
}

/* Does things that must leave no trace, and takes them back. */
static void excursion(hf_txn *txn, const struct table *table, uint64_t j)
{
    hf_mark mark;
    struct plan plan;
    if (hf_savepoint(txn, &mark) != 0)
        child_fault("hf_savepoint");
    plan_make(&plan, rng_next(&self.rng), j);
    for (uint32_t i = 0; i < plan.count && i < 8; i++)
        store_step(txn, &plan.steps[i], table, UINT64_MAX);
    if (hf_rollback_to(txn, mark) != 0)
        child_fault("hf_rollback_to");
}

static void change(hf_txn *txn, uint64_t j)
{
    struct plan plan;
    struct table *table = hf_find_or_construct(txn, "table", &table_type, 1, NULL);
    if (table == NULL)
        child_fault("the table");
    plan_make(&plan, self.setting->seed, j);
    set_end(txn, "a-head", j);
    for (uint32_t i = 0; i < plan.count; i++) {
        store_step(txn, &plan.steps[i], table, j);
        if (rng_percent(&self.rng, 4))
            excursion(txn, table, j);
    }
    set_end(txn, "z-tail", j);
}

static void acknowledge(uint64_t j)
{
    if (atomic_exchange(&shared->twice[j % NUMBERS], 1) != 0)
        child_fault("transaction %llu was acknowledged before", (unsigned long long)j);
    raise_to(&shared->acknowledged, j);
    atomic_fetch_add(&shared->commits, 1);
}

static void write_once(hf_store *store)
{
    hf_txn *txn;
    const uint64_t acknowledged = atomic_load(&shared->acknowledged);
    if (tolerate(hf_begin(store, &txn), "hf_begin") != 0)
        return;
    const struct end *head = hf_find(hf_txn_view(txn), "a-head", &end_type, NULL);
    const uint64_t k = head != NULL ? head->k : 0, j = k + 1;
    if (k < acknowledged)
        child_fault("a transaction finds %llu, acknowledged was %llu", (unsigned long long)k,
                    (unsigned long long)acknowledged);
    atomic_store(&shared->attempted, j);
    change(txn, j);
    if (rng_percent(&self.rng, 8)) {
        hf_abort(txn);
        atomic_fetch_add(&shared->aborts, 1);
        return;
    }
    const int code = hf_commit(txn);
    if (code == 0)
        acknowledge(j);
    else if (code == HF_ELOGFULL)
        atomic_fetch_add(&shared->full, 1);
    else if (tolerate(code, "hf_commit") == HF_ECOMMIT_UNKNOWN)
        atomic_fetch_add(&shared->unknown, 1);
    if (rng_percent(&self.rng, 4)) {
        const int synced = hf_sync(store);
        if (synced != HF_EBUSY) /* durable, not yet visible */
            tolerate(synced, "hf_sync");
    }
    if (rng_percent(&self.rng, 4)) {
        const int trimmed = hf_trim(store, NULL);
        if (trimmed != HF_EBUSY && trimmed != HF_ELOGFULL) /* a view is in the way */
            tolerate(trimmed, "hf_trim");
    }
}

/* ---- the reader ------------------------------------------------------------------------------ */

/* K2, from the store alone: the k of the view, 0 for an empty store. */
static uint64_t read_view(hf_view *view)
{
    const struct end *head = hf_find(view, "a-head", &end_type, NULL);
    const struct end *tail = hf_find(view, "z-tail", &end_type, NULL);
    const struct table *table = hf_find(view, "table", &table_type, NULL);
    if (head == NULL && tail == NULL && table == NULL)
        return 0;
    if (head == NULL || tail == NULL || table == NULL || head->k != tail->k)
        child_fault("torn: head and tail differ");
    for (uint32_t place = 0; place < PLACES; place++) {
        const struct stamped *thing = find_thing(view, place, table);
        if (thing != NULL && (thing->stamp > head->k || thing->size_bytes > BULK_MAX ||
                              thing->sum != content_sum(thing + 1, thing->size_bytes)))
            child_fault("torn: place %u at k %llu, stamp %llu", place, (unsigned long long)head->k,
                        (unsigned long long)thing->stamp);
    }
    return head->k;
}

static void sleep_us(uint64_t microseconds)
{
    struct timespec time = {(time_t)(microseconds / 1000000),
                            (long)(microseconds % 1000000) * 1000};
    nanosleep(&time, NULL);
}

static void read_once(hf_store *store)
{
    hf_view *view;
    const uint64_t shown = atomic_load(&shared->shown);
    if (tolerate(hf_view_begin(store, &view), "hf_view_begin") != 0)
        return;
    const uint64_t k = read_view(view);
    if (k < shown)
        child_fault("a view shows %llu after one showed %llu", (unsigned long long)k,
                    (unsigned long long)shown);
    raise_to(&shared->shown, k);
    if (rng_percent(&self.rng, 15)) {
        sleep_us(rng_below(&self.rng, 6000));
        if (read_view(view) != k)
            child_fault("a view changed while it was open");
        atomic_fetch_add(&shared->long_views, 1);
    }
    hf_view_end(view);
    atomic_fetch_add(&shared->views, 1);
}

/* ---- the processes --------------------------------------------------------------------------- */

enum role { ROLE_WRITER, ROLE_READER, ROLE_READ_ONLY, ROLE_OPENER, ROLE_RECOVERER };

struct life {
    enum role role;
    uint32_t durability;
    unsigned number;
    uint64_t seed;
    int64_t timeout_ms;
    struct mortal_plan plan;
};

__attribute__((noreturn)) static void run_life(const struct setting *s, const struct life *life)
{
    self.setting = s;
    self.rng.state = life->seed;
    self.timeout_ms = life->timeout_ms;
    alarm(HANG_SECONDS * 2); /* ends a child that nobody kills any more */
    if (life->plan.left != 0)
        mortal_begin(life->plan);
    for (;;) {
        hf_store *store =
            child_open(life->role == ROLE_READ_ONLY ? HF_READ_ONLY : HF_OPEN_OR_CREATE,
                       life->durability);
        uint64_t turns = life->role == ROLE_RECOVERER ? 0
                         : life->role == ROLE_OPENER  ? rng_below(&self.rng, 4)
                                                      : 20 + rng_below(&self.rng, 400);
        for (; store != NULL && turns > 0; turns--) {
            if (life->role == ROLE_READER || life->role == ROLE_READ_ONLY)
                read_once(store);
            else
                write_once(store);
            if (rng_percent(&self.rng, 5))
                read_once(store);
            atomic_fetch_add(&shared->progress[life->number], 1);
        }
        if (store != NULL)
            tolerate(hf_close(store), "hf_close");
        else
            sleep_us(200);
    }
}

/* What a process of this round is to die of besides a signal: nothing, a call, or none, but a failing
 * call. */
static struct mortal_plan choose_end(struct rng *rng, bool at_calls, bool failing)
{
    struct mortal_plan plan = {.calls = MORTAL_ANY, .when = (enum mortal_when)rng_below(rng, 3)};
    if (failing && rng_percent(rng, 50))
        return (struct mortal_plan){.calls = rng_percent(rng, 70) ? MORTAL_SYNC : MORTAL_WRITE,
                                    .files = MORTAL_LOG | MORTAL_DATA,
                                    .left = 1 + (int64_t)rng_below(rng, 12),
                                    .fail_errno = EIO};
    if (!at_calls)
        return (struct mortal_plan){.left = 0};
    if (rng_percent(rng, 60))
        plan.calls = MORTAL_WRITE | MORTAL_SYNC | MORTAL_SIZE | MORTAL_NAME | MORTAL_MAP;
    if (rng_percent(rng, 30)) {
        plan.calls = MORTAL_WRITE;
        plan.files = 1u << rng_below(rng, 4);
    }
    plan.left = 1 + (int64_t)rng_below(rng, rng_percent(rng, 50) ? 30 : 150);
    return plan;
}

static pid_t start_life(const struct setting *s, const struct life *life, pid_t group)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, group);
        run_life(s, life);
    }
    if (pid > 0)
        setpgid(pid, group);
    return pid;
}

/* ---- verifying ------------------------------------------------------------------------------- */

static void note_finding(void *user, const hf_finding *finding)
{
    snprintf(user, 300, "%s at %llu: %s", finding->rule, (unsigned long long)finding->offset,
             finding->expected);
}

static void verify_world(hf_store *store, struct world *world)
{
    hf_view *view;
    const uint64_t attempted = atomic_load(&shared->attempted);
    const uint64_t acknowledged = atomic_load(&shared->acknowledged);
    if (hf_view_begin(store, &view) != 0)
        child_fault("hf_view_begin after the deaths");
    const uint64_t k = read_view(view), shown = atomic_load(&shared->shown);
    if (k > attempted || k + 1 < attempted || k < acknowledged || k < shown)
        child_fault("the state is that of %llu; acknowledged %llu, attempted %llu, shown %llu",
                    (unsigned long long)k, (unsigned long long)acknowledged,
                    (unsigned long long)attempted, (unsigned long long)shown);
    world_advance(world, k);
    shared->verified_k = k;
    const struct table *table = hf_find(view, "table", &table_type, NULL);
    for (uint32_t place = 0; k != 0 && place < PLACES; place++) {
        const struct thing *thing = &world->things[place];
        const struct stamped *found = find_thing(view, place, table);
        if ((found != NULL) != thing->there ||
            (found != NULL && (found->stamp != thing->stamp || found->born != thing->born ||
                               found->size_bytes != thing->size_bytes)))
            child_fault("k %llu: place %u is %s, expected %s of %llu", (unsigned long long)k, place,
                        found != NULL ? "there" : "missing", thing->there ? "it there" : "nothing",
                        (unsigned long long)thing->stamp);
    }
    hf_view_end(view);
}

static unsigned files_in(const char *directory)
{
    unsigned count = 0;
    DIR *entries = opendir(directory);
    struct dirent *entry;
    while (entries != NULL && (entry = readdir(entries)) != NULL)
        count += entry->d_name[0] != '.' && strstr(entry->d_name, ".new-") == NULL;
    if (entries != NULL)
        closedir(entries);
    return count;
}

static void check_whole(hf_store *store)
{
    char found[300] = "";
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    hf_check_report report;
    options.on_finding = note_finding;
    options.user = found;
    options.findings_max = 1;
    const int code = store != NULL ? hf_check_sanity(store, &options, &report)
                                   : hf_check_file(self.setting->path, &options, &report);
    if (code != 0)
        child_fault("%s: %s", store != NULL ? "hf_check_sanity" : "hf_check_file", found);
}

/* In a process of its own: opens, takes the time, checks, compares; then closes, or dies too. */
__attribute__((noreturn)) static void run_verifier(const struct setting *s, struct world *world,
                                                   bool close_it, struct rng rng)
{
    hf_recovery recovery;
    self.setting = s;
    self.rng = rng;
    self.timeout_ms = 0;
    alarm(HANG_SECONDS);
    if (rng_percent(&rng, 10) && access(s->path, F_OK) == 0)
        check_whole(NULL);
    const uint64_t begun = clock_ns();
    hf_store *store = child_open(HF_OPEN_OR_CREATE, HF_SYNC);
    if (store == NULL)
        child_fault("hf_open by the verifier");
    shared->open_ns = clock_ns() - begun;
    if (hf_recovery_info(store, &recovery) == 0)
        shared->replayed = recovery.replayed_commits;
    check_whole(store);
    verify_world(store, world);
    shared->verified = 1;
    if (!close_it)
        _exit(0);
    for (int turn = 0; turn < 2; turn++) {
        if (hf_close(store) != 0)
            child_fault("hf_close by the verifier");
        if (files_in(s->directory) != 1)
            child_fault("%u files after the last close", files_in(s->directory));
        check_whole(NULL);
        if (turn == 0 && (store = child_open(HF_OPEN_EXISTING, HF_SYNC)) == NULL)
            child_fault("hf_open once more");
        if (turn == 0)
            verify_world(store, world);
    }
    _exit(0);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

enum round_kind {
    ROUND_ALL,
    ROUND_AT_ONCE,
    ROUND_ONE,
    ROUND_CALLS,
    ROUND_FAILING,
    ROUND_OPENERS,
    ROUND_RECOVERY,
    ROUND_KINDS
};
static const char *const round_names[] = {
    "all killed",      "all killed at once",       "one killed, others go on",
    "killed at calls", "killed, and calls fail",   "killed in open and close",
    "recovery killed"};
static const unsigned round_percent[] = {20, 15, 20, 20, 8, 8, 9};

struct figures {
    uint64_t rounds[ROUND_KINDS], kills, own_kills, recovered, replayed;
    uint64_t *open_ns;
    size_t opens, opens_max;
};
struct crowd {
    pid_t pids[PROCESSES];
    struct life lives[PROCESSES];
    pid_t group;
};

/* Reaps; a child that ended by itself has reported its fault. */
static void reap(struct figures *figures, pid_t pid, bool own)
{
    int status;
    if (pid <= 0 || waitpid(pid, &status, 0) != pid)
        return;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        figures->kills++;
        figures->own_kills += own;
    } else if (WIFSIGNALED(status) && atomic_fetch_add(&shared->faults, 1) == 0) {
        snprintf(shared->message, sizeof shared->message, "a process died of signal %d",
                 WTERMSIG(status));
    }
}

static void kill_one(struct figures *figures, struct crowd *crowd, unsigned i)
{
    siginfo_t info = {.si_pid = 0};
    if (crowd->pids[i] <= 0)
        return;
    const bool own = waitid(P_PID, (id_t)crowd->pids[i], &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                     info.si_pid != 0;
    if (!own)
        kill(crowd->pids[i], SIGKILL);
    reap(figures, crowd->pids[i], own);
    crowd->pids[i] = 0;
}

static void kill_at_once(struct figures *figures, struct crowd *crowd)
{
    kill(-crowd->group, SIGKILL);
    for (unsigned i = 0; i < PROCESSES; i++) {
        reap(figures, crowd->pids[i], false);
        crowd->pids[i] = 0;
    }
}

static void start(struct crowd *crowd, const struct setting *s, unsigned i, struct rng *rng,
                  enum role role, uint32_t durability, struct mortal_plan plan)
{
    crowd->lives[i] = (struct life){.role = role,
                                    .durability = durability,
                                    .number = i,
                                    .seed = rng_next(rng),
                                    .timeout_ms = rng_percent(rng, 15) ? 4 : 0,
                                    .plan = plan};
    crowd->pids[i] = start_life(s, &crowd->lives[i], crowd->group);
    if (crowd->group == 0)
        crowd->group = crowd->pids[i];
}

/* K4: whoever lives does two more turns, soon. */
static void await_progress(const struct crowd *crowd)
{
    uint64_t from[PROCESSES], deadline = clock_ns() + HANG_SECONDS * UINT64_C(1000000000);
    for (unsigned i = 0; i < PROCESSES; i++)
        from[i] = atomic_load(&shared->progress[i]);
    for (unsigned i = 0; i < PROCESSES; i++) {
        while (crowd->pids[i] > 0 && atomic_load(&shared->progress[i]) < from[i] + 2 &&
               atomic_load(&shared->faults) == 0) {
            if (clock_ns() > deadline && atomic_fetch_add(&shared->faults, 1) == 0)
                snprintf(shared->message, sizeof shared->message,
                         "process %u makes no progress beside a dead one", i);
            sleep_us(100);
        }
    }
}

static enum role role_of(unsigned i, enum round_kind kind)
{
    static const enum role roles[PROCESSES - 1] = {ROLE_WRITER, ROLE_WRITER, ROLE_WRITER, ROLE_READER,
                                                   ROLE_READ_ONLY};
    return kind == ROUND_OPENERS && roles[i] == ROLE_WRITER ? ROLE_OPENER : roles[i];
}

static void one_by_one(struct crowd *crowd, struct rng *rng, const struct setting *s,
                       struct figures *figures)
{
    for (uint64_t deaths = 1 + rng_below(rng, 4); deaths > 0; deaths--) {
        const unsigned victim = (unsigned)rng_below(rng, PROCESSES - 1);
        kill_one(figures, crowd, victim);
        await_progress(crowd);
        start(crowd, s, victim, rng, role_of(victim, ROUND_ONE), crowd->lives[victim].durability,
              (struct mortal_plan){.left = 0});
        sleep_us(rng_below(rng, 4000));
    }
}

static void round_run(struct rng *rng, struct setting *s, enum round_kind kind,
                      struct figures *figures)
{
    static const uint32_t mixes[][3] = {{HF_SYNC, HF_SYNC, HF_SYNC},
                                        {HF_SYNC, HF_LAZY, HF_LAZY},
                                        {HF_LAZY, HF_LAZY, HF_LAZY},
                                        {HF_NOSYNC, HF_NOSYNC, HF_NOSYNC},
                                        {HF_SYNC, HF_LAZY, HF_NOSYNC}};
    const uint32_t *mix = mixes[rng_below(rng, 5)];
    struct crowd crowd = {.group = 0};
    s->failing = kind == ROUND_FAILING;
    for (unsigned i = 0; i < PROCESSES - 1; i++)
        start(&crowd, s, i, rng, role_of(i, kind), mix[i % 3],
              choose_end(rng, kind == ROUND_CALLS, kind == ROUND_FAILING));
    sleep_us(rng_percent(rng, 15) ? rng_below(rng, 2000) : rng_below(rng, 25000));
    if (kind == ROUND_ONE)
        one_by_one(&crowd, rng, s, figures);
    if (kind == ROUND_AT_ONCE)
        kill_at_once(figures, &crowd);
    const unsigned first = (unsigned)rng_below(rng, PROCESSES);
    for (unsigned i = 0; i < PROCESSES; i++)
        kill_one(figures, &crowd, (first + i) % PROCESSES);
    crowd.group = 0;
    for (uint64_t i = kind == ROUND_RECOVERY ? 2 + rng_below(rng, 5) : 0; i > 0; i--) {
        const bool call = rng_percent(rng, 60);
        start(&crowd, s, PROCESSES - 1, rng, ROLE_RECOVERER, HF_SYNC, choose_end(rng, call, false));
        sleep_us(200 + rng_below(rng, rng_percent(rng, 50) ? 600 : 3000));
        kill_one(figures, &crowd, PROCESSES - 1);
        crowd.group = 0;
    }
}

/* True if the store is what it must be; false: its world begins anew. */
static bool round_verify(struct campaign *c, struct rng *rng, const struct setting *s,
                         struct world *world, enum round_kind kind, struct figures *figures)
{
    int status;
    const bool close_it = rng_percent(rng, 60);
    shared->verified = 0;
    fflush(stdout);
    pid_t pid = atomic_load(&shared->faults) == 0 ? fork() : -1;
    if (pid == 0)
        run_verifier(s, world, close_it, (struct rng){rng_next(rng)});
    if (pid > 0) {
        waitpid(pid, &status, 0);
        if (WIFSIGNALED(status) && atomic_fetch_add(&shared->faults, 1) == 0)
            snprintf(shared->message, sizeof shared->message, "the verifier died of signal %d%s",
                     WTERMSIG(status), WTERMSIG(status) == SIGALRM ? " (it hung)" : "");
    }
    const bool good = atomic_load(&shared->faults) == 0 && pid > 0 && shared->verified != 0;
    campaign_expect(c, good, "%s, %s, allocator %u, index %u: %s", s->path, round_names[kind],
                    s->allocator, s->index, shared->message);
    if (!good)
        return false;
    if (figures->opens < figures->opens_max)
        figures->open_ns[figures->opens++] = shared->open_ns;
    figures->recovered += shared->replayed != 0;
    figures->replayed += shared->replayed;
    shared->replayed = 0;
    world_advance(world, shared->verified_k);
    atomic_store(&shared->attempted, world->k);
    atomic_store(&shared->acknowledged, world->k);
    return true;
}

/* ---- no writer starves ----------------------------------------------------------------------- */

static void check_fairness(struct campaign *c, struct setting *s, struct rng *rng, uint32_t class)
{
    enum { WRITERS = 5 };
    struct crowd crowd = {.group = 0};
    struct figures ignored = {.kills = 0};
    uint64_t turns[WRITERS], sum = 0, least = UINT64_MAX;
    for (unsigned i = 0; i < WRITERS; i++) {
        atomic_store(&shared->progress[i], 0);
        start(&crowd, s, i, rng, ROLE_WRITER, class, (struct mortal_plan){.left = 0});
    }
    /* In counts, not in time: until the writers together have done that many. */
    const uint64_t enough = WRITERS * 200, deadline = clock_ns() + HANG_SECONDS * UINT64_C(1000000000);
    while (sum < enough && clock_ns() < deadline && atomic_load(&shared->faults) == 0) {
        sleep_us(1000);
        sum = 0;
        for (unsigned i = 0; i < WRITERS; i++)
            sum += turns[i] = atomic_load(&shared->progress[i]);
    }
    kill_at_once(&ignored, &crowd);
    for (unsigned i = 0; i < WRITERS; i++)
        least = turns[i] < least ? turns[i] : least;
    campaign_expect(c, sum >= enough && least * 20 * WRITERS >= sum,
                    "a writer of class %u starves: %llu of %llu turns of %u writers; %s", class,
                    (unsigned long long)least, (unsigned long long)sum, WRITERS, shared->message);
    printf("  %u writers of class %u: the least of them had %.0f %% of the mean\n", WRITERS, class,
           sum == 0 ? 0 : (double)least * WRITERS * 100 / (double)sum);
}

/* ---- the campaign ---------------------------------------------------------------------------- */

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void print_figures(struct figures *f)
{
    for (unsigned i = 0; i < ROUND_KINDS; i++)
        printf("  %-28s %6llu rounds\n", round_names[i], (unsigned long long)f->rounds[i]);
    printf("  %llu processes died, %llu of them by their own hand; %llu rounds left a log, of %llu "
           "commits together\n",
           (unsigned long long)f->kills, (unsigned long long)f->own_kills,
           (unsigned long long)f->recovered, (unsigned long long)f->replayed);
    printf("  %llu commits, %llu aborts, %llu unknown, %llu views (%llu long), %llu opens, %llu busy, "
           "%llu log full\n",
           (unsigned long long)atomic_load(&shared->commits),
           (unsigned long long)atomic_load(&shared->aborts),
           (unsigned long long)atomic_load(&shared->unknown),
           (unsigned long long)atomic_load(&shared->views),
           (unsigned long long)atomic_load(&shared->long_views),
           (unsigned long long)atomic_load(&shared->opens),
           (unsigned long long)atomic_load(&shared->busy),
           (unsigned long long)atomic_load(&shared->full));
    if (f->opens == 0)
        return;
    qsort(f->open_ns, f->opens, sizeof *f->open_ns, compare_u64);
    printf("  open after the deaths: median %.2f ms, 99%% %.2f ms, longest %.2f ms\n",
           (double)f->open_ns[f->opens / 2] / 1e6, (double)f->open_ns[f->opens * 99 / 100] / 1e6,
           (double)f->open_ns[f->opens - 1] / 1e6);
    printf("  longest of all %llu opens: %.2f ms; over 2 s: none but for want of a processor, or it is "
           "told above\n",
           (unsigned long long)atomic_load(&shared->opens),
           (double)atomic_load(&shared->longest_open_ns) / 1e6);
}

struct place {
    struct setting setting;
    struct world world;
    uint64_t left; /* rounds until another allocator and index */
};

static void empty_directory(const char *directory)
{
    DIR *entries = opendir(directory);
    struct dirent *entry;
    char path[800];
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        unlink(path);
    }
    if (entries != NULL)
        closedir(entries);
}

/* A new store under the next allocator and index. */
static void place_renew(struct place *place, struct rng *rng, uint64_t number)
{
    (void)hf_remove(place->setting.path);
    empty_directory(place->setting.directory);
    place->setting.seed = rng_next(rng);
    place->setting.allocator = HF_ALLOC_BEST_FIT + (uint32_t)(number % 3);
    place->setting.index = (uint32_t)(number / 3 % 3);
    place->world = (struct world){.seed = place->setting.seed};
    place->left = 20 + rng_below(rng, 40);
}

static void enter_place(const struct place *place)
{
    /* What was acknowledged in the other place says nothing here. */
    memset((void *)shared->twice, 0, sizeof shared->twice);
    atomic_store(&shared->attempted, place->world.k);
    atomic_store(&shared->acknowledged, place->world.k);
    atomic_store(&shared->shown, place->world.k);
}

static enum round_kind choose_round(struct rng *rng)
{
    const char *only = getenv("HF_TEST_ROUND");
    uint64_t dice = rng_below(rng, 100), kind = 0;
    for (; dice >= round_percent[kind] && kind + 1 < ROUND_KINDS; kind++)
        dice -= round_percent[kind];
    return only != NULL ? (enum round_kind)(strtoul(only, NULL, 0) % ROUND_KINDS)
                        : (enum round_kind)kind;
}

int main(void)
{
    struct campaign c;
    static struct place places[2];
    struct figures figures = {0};
    campaign_start(&c, "kill_log");
    const uint64_t rounds = campaign_count(&c, 1000);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED ||
        !campaign_directory(NULL, places[0].setting.directory, sizeof places[0].setting.directory) ||
        !campaign_directory("/dev/shm", places[1].setting.directory,
                            sizeof places[1].setting.directory)) {
        printf("no shared page or no directories\n0 passed, 1 failed\n");
        return 1;
    }
    struct rng rng = {c.seed};
    uint64_t renewals = rng_below(&rng, 6);
    figures.opens_max = rounds;
    figures.open_ns = must_alloc(rounds * sizeof *figures.open_ns);
    for (unsigned i = 0; i < 2; i++)
        snprintf(places[i].setting.path, sizeof places[i].setting.path, "%s/kill.hf",
                 places[i].setting.directory);
    for (uint64_t round = 0; round < rounds && c.failed < 4; round++) {
        struct place *place = &places[round / 8 % 2];
        const enum round_kind kind = choose_round(&rng);
        if (place->left == 0)
            place_renew(place, &rng, renewals++);
        place->left--;
        if (round % 8 == 0 || place->world.k == 0)
            enter_place(place);
        figures.rounds[kind]++;
        round_run(&rng, &place->setting, kind, &figures);
        if (!round_verify(&c, &rng, &place->setting, &place->world, kind, &figures)) {
            if (getenv("HF_TEST_KEEP") != NULL)
                return campaign_end(&c);
            place->left = 0;
            atomic_store(&shared->faults, 0);
        }
    }
    for (uint32_t class = HF_SYNC; class <= HF_NOSYNC; class++) {
        place_renew(&places[class % 2], &rng, renewals++);
        enter_place(&places[class % 2]);
        places[class % 2].setting.failing = false;
        check_fairness(&c, &places[class % 2].setting, &rng, class);
    }
    print_figures(&figures);
    if (c.scale >= 1 && c.failed == 0 && getenv("HF_TEST_ROUND") == NULL)
        campaign_expect(&c, figures.kills >= KILLS_LEAST, "only %llu processes were killed",
                        (unsigned long long)figures.kills);
    for (unsigned i = 0; i < 2; i++) {
        empty_directory(places[i].setting.directory);
        rmdir(places[i].setting.directory);
    }
    free(figures.open_ns);
    return campaign_end(&c);
}
