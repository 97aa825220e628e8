/* SPDX-License-Identifier: MIT */
/*
 * crash_power_cut.c - the power goes at any point, and recovery leads to a commit
 *
 * Programs (cut_programs.c) are recorded: all they ask of the disk (cut_recorder.c). At each point of
 * a recording the states are gone through that the disk may be in (cut_states.c): all of them where
 * they are few, else a sample. Each is made, opened, and must be exactly the state of some commit k
 * with acknowledged <= k <= attempted; HF_ETORN is an answer only where commits may have been applied
 * that were not synced. Of a sample of the states
 *   - the checks are run, a commit is made, the store closed and opened again;
 *   - the recovery and what follows is recorded in its turn, cut at each point, and so on once more:
 *     it must lead to the same k.
 *
 * What a program makes of the store - copies, archives, a repaired one - is looked at, too (cut_looks.c).
 *
 * HF_CUT_PROGRAM=NAME runs one program, HF_CUT_TRACE=1 prints what was recorded.
 */
#include "base/bug.h"
#include "cut_looks.h"

#include "store/store.h"
#include "holdfast.h"

#include <sys/mman.h>
#include <sys/wait.h>

enum {
    WORKERS = 2,
    DEPTHS = 3,
    ALL_UP_TO = 2048,       /* a point with no more states has all of them gone through           */
    SAMPLE = 1536,          /* states drawn at any other                                          */
    NESTED_POINTS = 60,     /* of a recovery, about: a long one has hundreds, all alike           */
    STATES_LEAST = 1000000, /* at full length                                                     */
    WINDOW_BYTES = 1 << 20
};

/* Kept where all workers see it. */
static struct tally {
    uint64_t states, points, points_all, failed, looked_deep;
    uint64_t rare[RARES];
} * tally;

#ifdef HF_TEST_BUGS
int hf__bug = -1;
#endif

static struct campaign campaign;
static struct cut_scratch scratches[DEPTHS];
static char directory[512];
static uint64_t all_up_to; /* a point with more states than that has a sample drawn         */
static uint64_t sample;    /* states drawn at such a point                                  */
static uint64_t nested_every;
static int worker;

static void add(uint64_t *counter, uint64_t n)
{
    __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

/* ---- one state ------------------------------------------------------------------------------- */

static const char *describe(const struct cut_disk *disk)
{
    static char text[600];
    static const char *const kinds[] = {"create",         "write",  "size", "sync",
                                        "sync failed",    "rename", "link", "unlink",
                                        "directory sync", "mark"};
    size_t n = (size_t)snprintf(text, sizeof text, "after event %zu", disk->next);
    for (size_t i = disk->next < 3 ? 0 : disk->next - 3; i < disk->next; i++) {
        const struct cut_event *e = &disk->trace->events[i];
        n += (size_t)snprintf(text + n, sizeof text - n, " [%s %d %llu+%llu]", kinds[e->kind],
                              e->file, (unsigned long long)e->offset,
                              (unsigned long long)e->size_bytes);
    }
    uint32_t shown = 0;
    for (uint32_t i = 0; i < disk->choice_count && shown < 12 && n < sizeof text - 60; i++) {
        const struct cut_choice *c = &disk->choices[i];
        if (c->chosen == 0)
            continue;
        n += (size_t)snprintf(text + n, sizeof text - n, " %d:%lld=%u/%u", c->file,
                              (long long)c->sector, c->chosen, c->count);
        shown++;
    }
    return text;
}

static void fail(const struct cut_disk *disk, const char *name, int depth, const char *format,
                 const char *detail, uint64_t k)
{
    if (__atomic_fetch_add(&tally->failed, 1, __ATOMIC_RELAXED) >= CAMPAIGN_MESSAGES_MAX)
        return;
    printf("FAILED (seed %llu): %s, depth %d, %s: ", (unsigned long long)campaign.seed, name, depth,
           describe(disk));
    printf(format, detail, (unsigned long long)k, (unsigned long long)disk->mark.acknowledged,
           (unsigned long long)disk->mark.attempted);
    printf("\n");
    if (getenv("HF_CUT_KEEP") != NULL) {
        char keep[600];
        snprintf(keep, sizeof keep, "%s/failed-%d", directory, worker);
        if (mkdir(keep, 0700) == 0) {
            cut_put(disk->scratch->disk);
            cut_scratch_copy(disk->scratch, keep);
            printf("kept in %s\n", keep);
        }
    }
}

static bool go_on(hf_store *store, uint64_t k)
{
    struct cut_state before, after;
    hf_options options = cut_options(HF_OPEN_EXISTING);
    hf_txn *txn;
    void *block;
    if (hf_check_sanity(store, NULL, NULL) != 0 || hf_begin(store, &txn) != 0)
        return false;
    if ((block = hf_alloc(txn, 700)) == NULL)
        return false;
    memset(block, 7, 700);
    if (hf_commit(txn) != 0 || !cut_state_of(store, &before) || before.commit != k + 1)
        return false;
    /* Closing may give up a long tail: that would be a commit, too. */
    if (hf__space_lower(store) != 0 || !cut_state_of(store, &before) || before.commit > k + 2 ||
        hf_close(store) != 0)
        return false;
    if (hf_open(scratches[0].path, &options, &store) != 0)
        return false;
    bool good = cut_state_of(store, &after) && after.hash == before.hash &&
                after.commit == before.commit &&
                hf_verify(store, NULL, NULL) == 0;
    return hf_close(store) == 0 && good;
}

static bool is_commit(const struct cut_trace *trace, hf_store *store, const struct cut_state *state)
{
    const uint64_t i = state->commit - trace->first_commit;
    uint64_t cells;
    if (i >= trace->hash_count || trace->hashes[i] != CUT_ANY)
        return i < trace->hash_count && trace->hashes[i] == state->hash;
    return cut_cells_of(store, &cells) && cells == trace->plains[i];
}

/* What the library makes of the chosen state. k is set where it leads to a commit. */
static bool look_at_source(struct cut_disk *disk, const char *name, int depth, bool deep,
                           uint64_t *k)
{
    const struct cut_trace *trace = disk->trace;
    const struct cut_mark *mark = &disk->mark;
    hf_options options = cut_options(HF_OPEN_EXISTING);
    hf_recovery recovery;
    hf_store *store;
    struct cut_state state;
    *k = UINT64_MAX;
    if (!disk->scratch->present[CUT_DATA]) {
        if (!mark->may_be_absent)
            fail(disk, name, depth, "the store is gone%s", "", 0);
        return mark->may_be_absent;
    }
    int code = hf_open(disk->scratch->path, &options, &store);
    if (code == HF_ETORN && mark->may_be_torn) {
        add(&tally->rare[RARE_TORN], 1);
        return true;
    }
    if (code != 0) {
        fail(disk, name, depth, "hf_open: %s", hf_last_error()->message, 0);
        return false;
    }
    bool sound = cut_state_of(store, &state);
    *k = sound ? state.commit : UINT64_MAX;
    add(&tally->rare[RARE_WHOLE_UNSYNCED], mark->may_be_torn);
    if (hf_recovery_info(store, &recovery) == 0)
        add(&tally->rare[RARE_REPLAYED], recovery.replayed_commits != 0);
    const bool absent = mark->may_be_absent && trace->hash_count != 0 && *k == trace->first_commit;
    if (!sound || ((*k < mark->acknowledged || *k > mark->attempted) && !absent) ||
        !is_commit(trace, store, &state)) {
        fail(disk, name, depth, "%s: k %llu, of %llu..%llu", !sound ? "the walk" : "the state", *k);
        hf_close(store);
        return false;
    }
    /* Before anything else is written: what recovery left must be what the page table says. */
    hf_verify_report pages;
    if (hf_verify(store, NULL, &pages) != 0 || pages.stale != 0 || pages.pages_newer != 0) {
        fail(disk, name, depth, "the page table: %s", hf_last_error()->message, *k);
        hf_close(store);
        return false;
    }
    if (deep) {
        add(&tally->looked_deep, 1);
        if (!go_on(store, *k)) {
            fail(disk, name, depth, "going on: %s", hf_last_error()->message, *k);
            return false;
        }
    } else if (hf_close(store) != 0) {
        fail(disk, name, depth, "hf_close: %s", hf_last_error()->message, *k);
        return false;
    }
    return true;
}

static bool look(struct cut_disk *disk, const char *name, int depth, bool deep, uint64_t *k)
{
    uint64_t rare[RARES] = {0};
    const char *what = NULL, *whose = "the store";
    bool good = true;
    *k = UINT64_MAX;
    (void)cut_put(disk);
    cut_scratch_use(disk->scratch);
    if (disk->mark.repair != CUT_SOUND)
        what = cut_look_repair(disk, rare);
    else
        good = look_at_source(disk, name, depth, deep, k);
    if (good && what == NULL) {
        whose = "t.hf";
        what = cut_look_target(disk, *k, rare);
    }
    if (good && what == NULL) {
        whose = "the archives";
        what = cut_look_archives(disk, rare);
    }
    for (int i = 0; i < RARES; i++)
        if (rare[i] != 0)
            add(&tally->rare[i], rare[i]);
    if (what != NULL) {
        char format[64];
        snprintf(format, sizeof format, "%s: %%s (k %%llu)", whose);
        fail(disk, name, depth, format, what, *k);
    }
    return good && what == NULL;
}

/* ---- all states of a trace ------------------------------------------------------------------- */

static void enumerate(const struct cut_trace *trace, const char *name, int depth, struct rng *rng,
                      uint64_t limit_all, uint64_t limit_sample);

/* The chosen state's recovery, recorded and cut in its turn. */
static void nest(struct cut_disk *disk, const char *name, int depth, uint64_t k, struct rng *rng)
{
    struct cut_trace trace;
    char where[600], command[700];
    snprintf(where, sizeof where, "%s/nested-%d-%d", directory, worker, depth);
    if (mkdir(where, 0700) != 0) {
        snprintf(command, sizeof command, "%s/s.hf-lock", where);
        unlink(command);
    }
    cut_put(disk);
    cut_scratch_copy(disk->scratch, where);
    hf__os = &hf__os_system;
    uint64_t rare[RARES] = {0};
    /* The commits of a recording are known only once it has looked at the first; k is what the look
     * at this very state has found. */
    if (!cut_play(&trace, where, cut_run_recovery,
                  (struct cut_mark){.acknowledged = k, .attempted = k}, rng_next(rng), rare))
        fail(disk, name, depth, "recovering and going on%s", "", k);
    else if (trace.first_commit != k)
        fail(disk, name, depth, "recovery again leads elsewhere%s: %llu", "", k);
    else
        enumerate(&trace, name, depth + 1, rng, 64, 12);
    add(&tally->rare[depth == 0 ? RARE_NESTED : RARE_NESTED_TWICE], 1);
    cut_trace_free(&trace);
}

static bool enough(void)
{
    uint64_t limit = CAMPAIGN_MESSAGES_MAX;
#ifdef HF_TEST_BUGS
    limit = hf__bug >= 0 ? 1 : limit;
#endif
    return __atomic_load_n(&tally->failed, __ATOMIC_RELAXED) >= limit;
}

static void one(struct cut_disk *disk, const char *name, int depth, struct rng *rng)
{
    uint64_t k;
    add(&tally->states, 1);
    const bool rare = cut_later_record_alone(disk);
    add(&tally->rare[RARE_LATER_ALONE], rare);
    const bool good = look(disk, name, depth, depth == 0 && rng_below(rng, 50) == 0, &k);
    const uint64_t every = depth > 0 ? 300 : rare ? nested_every / 40 : nested_every;
    if (good && k != UINT64_MAX && depth + 1 < DEPTHS && rng_below(rng, every) == 0)
        nest(disk, name, depth, k, rng);
}

static void at_point(struct cut_disk *disk, const char *name, int depth, struct rng *rng,
                     uint64_t limit_all, uint64_t limit_sample)
{
    const uint64_t count = cut_count(disk, limit_all);
    const bool all = count <= limit_all;
    const uint64_t end = all ? count : limit_sample;
    add(&tally->points, 1);
    add(&tally->points_all, all);
    for (uint64_t i = 0; i < end && !enough(); i++) {
        if (all)
            cut_choose(disk, i);
        else
            cut_draw(disk, rng, i);
        one(disk, name, depth, rng);
    }
}

static void enumerate(const struct cut_trace *trace, const char *name, int depth, struct rng *rng,
                      uint64_t limit_all, uint64_t limit_sample)
{
    struct cut_disk *disk = must_alloc(sizeof *disk);
    uint64_t point = 0;
    cut_disk_start(disk, trace, &scratches[depth]);
    do {
        if (disk->next > 0 && trace->events[disk->next - 1].joined)
            continue;
        if (depth > 0 && rng_below(rng, trace->count) >= NESTED_POINTS)
            continue;
        /* The workers share the points of a program; what is nested is one worker's. */
        if (depth > 0 || (int)(point++ % WORKERS) == worker)
            at_point(disk, name, depth, rng, limit_all, limit_sample);
    } while (!enough() && cut_disk_step(disk));
    cut_disk_end(disk);
    free(disk);
    scratches[depth].disk = NULL;
}

/* ---- programs -------------------------------------------------------------------------------- */

static void print_trace(const struct cut_trace *trace)
{
    static const char *const kinds[] = {"create", "write", "size",   "SYNC",      "FAILED",
                                        "rename", "link",  "unlink", "DIRECTORY", "mark"};
    for (size_t i = 0; i < trace->count; i++) {
        const struct cut_event *e = &trace->events[i];
        printf("%4zu %-9s file %2d name %d  %llu + %llu", i, kinds[e->kind], e->file, e->name,
               (unsigned long long)e->offset, (unsigned long long)e->size_bytes);
        if (e->kind == CUT_MARK)
            printf("  acknowledged %llu attempted %llu%s", (unsigned long long)e->mark.acknowledged,
                   (unsigned long long)e->mark.attempted, e->mark.may_be_torn ? " torn" : "");
        printf("\n");
    }
}

/* Each recording of a program gets a part of the states; one in which a whole window was written a
 * smaller one: there a state costs ten times as much. */
static uint64_t share_of(const struct cut_trace *trace, const struct cut_program *program)
{
    uint64_t written = 0;
    for (size_t i = 0; i < trace->count; i++)
        written += trace->events[i].bytes != NULL ? trace->events[i].size_bytes : 0;
    return program->rounds > 1 && written > WINDOW_BYTES ? 16 * program->share : program->share;
}

static void work(const struct cut_trace *trace, const struct cut_program *program, int number)
{
    struct rng rng = {mix64(campaign.seed + (uint64_t)number)};
    worker = number;
    for (int depth = 0; depth < DEPTHS; depth++) {
        char where[600];
        snprintf(where, sizeof where, "%s/scratch-%d-%d", directory, number, depth);
        cut_scratch_start(&scratches[depth], where);
    }
    const uint64_t part = share_of(trace, program);
    enumerate(trace, program->name, 0, &rng, (all_up_to + part - 1) / part,
              (sample + part - 1) / part);
    fflush(stdout);
    _exit(0);
}

static void run_program(const struct cut_program *program, int round)
{
    struct cut_trace trace;
    char where[600], path[700];
    const uint64_t begun = clock_ns(), states = tally->states;
    snprintf(where, sizeof where, "%s/%s-%d", directory, program->name, round);
    snprintf(path, sizeof path, "%s/s.hf", where);
    if (mkdir(where, 0700) != 0 || (program->make != NULL && !program->make(path))) {
        printf("%s: %s\n", program->name, hf_last_error()->message);
        tally->failed++;
        return;
    }
    struct cut_mark mark = {.may_be_absent = program->make == NULL,
                            .repair = program->make == cut_make_broken ? CUT_BROKEN : CUT_SOUND};
    if (!cut_play(&trace, where, program->run, mark, campaign.seed + (uint64_t)round,
                  tally->rare)) {
        printf("%s could not be recorded\n", program->name);
        tally->failed++;
        return;
    }
    /* What holds before the program has opened the store, or made it. */
    trace.mark.acknowledged = trace.mark.attempted = trace.first_commit;
    if (getenv("HF_CUT_TRACE") != NULL)
        print_trace(&trace);
    fflush(stdout);
    pid_t pids[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            work(&trace, program, i);
    }
    for (int i = 0; i < WORKERS; i++) {
        int status;
        if (waitpid(pids[i], &status, 0) != pids[i] || status != 0) {
            printf("FAILED: %s: a worker died (%#x)\n", program->name, (unsigned)status);
            tally->failed++;
        }
    }
    printf("%-14s %4zu events %8llu states %6.1f s\n", program->name, trace.count,
           (unsigned long long)(tally->states - states), (double)(clock_ns() - begun) / 1e9);
    cut_trace_free(&trace);
}

/* A program whose steps are drawn is recorded several times. */
static void run_rounds(const struct cut_program *program)
{
    for (int round = 0; round < program->rounds && !enough(); round++)
        run_program(program, round);
}

/* One of the mistakes of base/bug.h, where the library has them. */
static bool choose_bug(void)
{
#ifdef HF_TEST_BUGS
#define TEXTS(name, text) {#name, text},
    static const struct {
        const char *name, *text;
    } bugs[] = {HF__BUGS(TEXTS)};
    const char *wanted = getenv("HF_TEST_BUG");
    if (wanted == NULL)
        return true;
    for (int i = 0; i < HF__BUG_COUNT; i++) {
        if (strcmp(wanted, "?") == 0)
            printf("%s\n", bugs[i].name);
        if (strcmp(wanted, bugs[i].name) != 0)
            continue;
        printf("planted: %s\n", bugs[i].text);
        hf__bug = i;
        return true;
    }
    return false;
#else
    return true;
#endif
}

int main(void)
{
    const char *only = getenv("HF_CUT_PROGRAM");
    if (!choose_bug())
        return 2;
    campaign_start(&campaign, "power cut");
    const char *parent =
        getenv("HF_TEST_DIR") == NULL && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : NULL;
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED || !campaign_directory(parent, directory, sizeof directory))
        return 2;
    all_up_to = campaign_count(&campaign, ALL_UP_TO);
    sample = campaign_count(&campaign, SAMPLE);
    nested_every = 4000;
    for (size_t i = 0; i < cut_program_count && !enough(); i++)
        if (only == NULL || strcmp(only, cut_programs[i].name) == 0)
            run_rounds(&cut_programs[i]);
    printf("%llu states at %llu points (%llu of them gone through whole), %llu gone on from\n",
           (unsigned long long)tally->states, (unsigned long long)tally->points,
           (unsigned long long)tally->points_all, (unsigned long long)tally->looked_deep);
    for (int i = 0; i < RARES; i++) {
        printf("%10llu  %s\n", (unsigned long long)tally->rare[i], cut_rare_names[i]);
        if (only == NULL && campaign.scale >= 1)
            campaign_expect(&campaign, tally->rare[i] != 0, "never: %s", cut_rare_names[i]);
    }
    if (only == NULL && campaign.scale >= 1)
        campaign_expect(&campaign, tally->failed != 0 || tally->states >= STATES_LEAST,
                        "less than %d states", STATES_LEAST);
    campaign.passed += tally->states > tally->failed ? tally->states - tally->failed : 0;
    campaign.failed += tally->failed;
    if (getenv("HF_CUT_KEEP") == NULL) {
        char command[600];
        snprintf(command, sizeof command, "rm -rf '%s'", directory);
        if (system(command) != 0)
            printf("%s stays\n", directory);
    }
    return campaign_end(&campaign);
}
