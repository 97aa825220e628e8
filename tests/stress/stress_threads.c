/* SPDX-License-Identifier: MIT */
/*
 * stress_threads.c - eight threads, and a second process with four more, hammer one store, on either
 * engine and with each durability class
 *
 * Each thread does a number of random turns: transactions that move money between accounts, make
 * and destroy pairs of objects, and push and pop a linked list; many of them with savepoints that
 * are rolled back, or aborted; and views that look for what may never be seen. Writers wait for
 * readers and for each other all the time; that is the point.
 *
 * Invariants, looked for in every view:
 *   S1  the accounts' sum is 0
 *   S2  of a pair "pair/N/a" and "pair/N/b" both are there with the same content, or neither
 *   S3  the list has as many nodes as its head says, and each node's number is its successor's + 1
 *   S4  "version" never goes back in what one thread sees, and doesn't change within a view
 * and at the end: version is the number of commits that were acknowledged, and the check is clean.
 */
#include "holdfast.h"
#include "store/store.h"
#include "tests/support/campaign.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define ACCOUNTS      32u
#define PAIRS         24u
#define THREADS       8u
#define THREADS_OTHER 4u

struct list {
    hf_ref first;
    uint64_t count;
};
struct node {
    hf_ref next;
    uint64_t number;
};

static const hf_field list_fields[] = {{0, HF_FIELD_REF, NULL}};
static const hf_type word_type = {"stress/word", 1, 8, 8, 0, NULL, 0};
static const hf_type list_type = {"stress/list", 1, sizeof(struct list), 8, 0, list_fields, 1};
static const hf_type node_type = {"stress/node", 1, sizeof(struct node), 8, 0, list_fields, 1};

struct shared {
    _Atomic uint64_t commits, aborts, rollbacks, views, nested, walked, faults, passed;
    char message[600];
};
static struct shared *shared;

struct worker {
    hf_store *store;
    uint64_t seed, turns, version_seen;
    uint32_t number;
    struct rng rng;
};

/* The first fault is kept, all are counted. */
__attribute__((format(printf, 2, 3))) static bool holds(bool condition, const char *format, ...)
{
    if (condition) {
        atomic_fetch_add_explicit(&shared->passed, 1, memory_order_relaxed);
        return true;
    }
    if (atomic_fetch_add(&shared->faults, 1) == 0) {
        const hf_error *error = hf_last_error();
        va_list arguments;
        va_start(arguments, format);
        int length = vsnprintf(shared->message, 300, format, arguments);
        va_end(arguments);
        length = length > 299 ? 299 : length;
        snprintf(shared->message + length, sizeof shared->message - (size_t)length,
                 " (last error %s: %s)", hf_error_name(error->code), error->message);
    }
    return false;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void read_accounts(hf_view *view)
{
    int64_t sum = 0;
    char name[32];
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        snprintf(name, sizeof name, "account/%u", i);
        const int64_t *balance = hf_find(view, name, &word_type, NULL);
        if (!holds(balance != NULL, "account %u is missing", i))
            return;
        sum += *balance;
    }
    holds(sum == 0, "the accounts' sum is %lld", (long long)sum);
}

static void read_pairs(hf_view *view)
{
    char a_name[32], b_name[32];
    for (uint32_t i = 0; i < PAIRS; i++) {
        size_t a_count = 0, b_count = 0;
        snprintf(a_name, sizeof a_name, "pair/%u/a", i);
        snprintf(b_name, sizeof b_name, "pair/%u/b", i);
        const uint64_t *a = hf_find(view, a_name, &word_type, &a_count);
        const uint64_t *b = hf_find(view, b_name, &word_type, &b_count);
        holds((a == NULL) == (b == NULL) && a_count == b_count, "half of pair %u", i);
        if (a != NULL && b != NULL && a_count == b_count)
            holds(memcmp(a, b, a_count * sizeof *a) == 0, "pair %u differs", i);
    }
}

static void read_list(hf_view *view)
{
    const struct list *list = hf_find(view, "list", &list_type, NULL);
    if (!holds(list != NULL, "the list is missing"))
        return;
    uint64_t expected = list->count;
    hf_ref at = list->first;
    for (; at != 0 && expected > 0; expected--) {
        const struct node *node = hf_at(view, at);
        if (!holds(node != NULL && node->number == expected, "the list at %llu",
                   (unsigned long long)expected))
            return;
        at = node->next;
    }
    holds(at == 0 && expected == 0, "the list's length, %llu left", (unsigned long long)expected);
}

static void walk(struct worker *w, hf_view *view)
{
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    uint64_t named = 0;
    int more;
    if (rng_percent(&w->rng, 30))
        cursor.prefix = "pair/";
    while ((more = hf_next_named(view, &cursor, &info)) == 1)
        named++;
    holds(more == 0, "an iteration fails");
    if (cursor.prefix == NULL)
        holds(named == hf_count_named(view), "an iteration yields %llu", (unsigned long long)named);
    atomic_fetch_add(&shared->walked, named);
}

static void turn_view(struct worker *w)
{
    hf_view *view, *joined;
    int code = hf_view_begin(w->store, &view);
    if (!holds(code == 0, "hf_view_begin: %s", hf_error_name(code)))
        return;
    const uint64_t *version = hf_find(view, "version", &word_type, NULL);
    if (holds(version != NULL, "the version is missing")) {
        uint64_t before = *version;
        holds(before >= w->version_seen, "the version went back");
        w->version_seen = before;
        read_accounts(view);
        if (rng_percent(&w->rng, 50))
            read_pairs(view);
        if (rng_percent(&w->rng, 50))
            read_list(view);
        if (rng_percent(&w->rng, 10))
            walk(w, view);
        if (rng_percent(&w->rng, 10) && holds(hf_view_begin(w->store, &joined) == 0, "joining")) {
            holds(joined == view, "a nested view is another");
            hf_view_end(joined);
            atomic_fetch_add(&shared->nested, 1);
        }
        holds(*version == before, "a view changed");
    }
    hf_view_end(view);
    atomic_fetch_add(&shared->views, 1);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void move_money(struct worker *w, hf_txn *txn)
{
    int64_t amount = (int64_t)rng_below(&w->rng, 100);
    for (int side = 0; side < 2; side++) {
        char name[32];
        snprintf(name, sizeof name, "account/%u", (uint32_t)rng_below(&w->rng, ACCOUNTS));
        const int64_t *seen = hf_find(hf_txn_view(txn), name, &word_type, NULL);
        int64_t *balance = seen != NULL ? hf_edit(txn, seen, sizeof *seen) : NULL;
        if (holds(balance != NULL, "editing %s", name))
            *balance += side == 0 ? amount : -amount;
    }
}

static void toggle_pair(struct worker *w, hf_txn *txn)
{
    char names[2][32];
    uint32_t pair = (uint32_t)rng_below(&w->rng, PAIRS);
    uint64_t content = rng_next(&w->rng);
    size_t count = (size_t)rng_below(&w->rng, 300);
    snprintf(names[0], sizeof names[0], "pair/%u/a", pair);
    snprintf(names[1], sizeof names[1], "pair/%u/b", pair);
    bool there = hf_find(hf_txn_view(txn), names[0], NULL, NULL) != NULL;
    for (int side = 0; side < 2; side++) {
        if (there) {
            holds(hf_destroy(txn, names[side]) == 0, "destroying %s", names[side]);
        } else {
            uint64_t *words = hf_construct(txn, names[side], &word_type, count);
            if (holds(words != NULL, "constructing %s", names[side]))
                content_fill(words, count * sizeof *words, content);
        }
    }
}

static void push_or_pop(struct worker *w, hf_txn *txn)
{
    hf_view *view = hf_txn_view(txn);
    const struct list *seen = hf_find(view, "list", &list_type, NULL);
    struct list *list = seen != NULL ? hf_edit(txn, seen, sizeof *seen) : NULL;
    if (!holds(list != NULL, "editing the list"))
        return;
    if (list->count > 40 || (list->count > 0 && rng_percent(&w->rng, 50))) {
        const struct node *node = hf_at(view, list->first);
        if (!holds(node != NULL, "the first node"))
            return;
        list->first = node->next;
        list->count--;
        holds(hf_destroy_ptr(txn, node) == 0, "destroying a node");
    } else {
        struct node *node = hf_new(txn, &node_type, 1);
        if (!holds(node != NULL, "a new node"))
            return;
        node->next = list->first;
        node->number = ++list->count;
        list->first = hf_ref_of(view, node);
    }
}

static void change(struct worker *w, hf_txn *txn)
{
    uint64_t dice = rng_below(&w->rng, 10);
    if (dice < 4)
        move_money(w, txn);
    else if (dice < 7)
        toggle_pair(w, txn);
    else
        push_or_pop(w, txn);
}

static void turn_transaction(struct worker *w)
{
    hf_txn *txn, *second;
    hf_mark mark;
    int code = hf_begin(w->store, &txn);
    if (!holds(code == 0, "hf_begin: %s", hf_error_name(code)))
        return;
    if (rng_percent(&w->rng, 3))
        holds(hf_begin(w->store, &second) == HF_ENESTED, "a second transaction");
    for (uint64_t left = 1 + rng_below(&w->rng, 4); left > 0; left--)
        change(w, txn);
    if (rng_percent(&w->rng, 25) && holds(hf_savepoint(txn, &mark) == 0, "hf_savepoint")) {
        for (uint64_t left = rng_below(&w->rng, 4); left > 0; left--)
            change(w, txn);
        void *block = hf_alloc(txn, 1000);
        if (holds(block != NULL, "hf_alloc"))
            memset(block, 1, 1000);
        holds(hf_rollback_to(txn, mark) == 0, "hf_rollback_to");
        atomic_fetch_add(&shared->rollbacks, 1);
    }
    if (rng_percent(&w->rng, 10)) /* the writer sees its own changes, whole */
        read_accounts(hf_txn_view(txn));
    const uint64_t *seen = hf_find(hf_txn_view(txn), "version", &word_type, NULL);
    uint64_t *version = seen != NULL ? hf_edit(txn, seen, sizeof *seen) : NULL;
    if (holds(version != NULL, "editing the version"))
        ++*version;
    if (rng_percent(&w->rng, 20)) {
        hf_abort(txn);
        atomic_fetch_add(&shared->aborts, 1);
        return;
    }
    code = hf_commit(txn);
    if (holds(code == 0, "hf_commit: %s", hf_error_name(code)))
        atomic_fetch_add(&shared->commits, 1);
}

static void *run_worker(void *argument)
{
    struct worker *w = argument;
    w->rng.state = w->seed;
    for (uint64_t i = 0; i < w->turns && atomic_load(&shared->faults) < 20; i++) {
        if (rng_percent(&w->rng, 45))
            turn_transaction(w);
        else
            turn_view(w);
    }
    return NULL;
}

/* ---- processes ------------------------------------------------------------------------------- */

/* What a round's store is made with. */
struct kind {
    const char *name;
    uint32_t engine, durability, durability_other, index, allocator; /* other: the second process's */
    uint64_t turns;
};

static bool run_threads(const char *path, const struct kind *kind, uint32_t durability,
                        uint32_t count, uint64_t seed)
{
    static struct worker workers[THREADS];
    pthread_t threads[THREADS];
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    uint32_t started = 0;
    options.mode = HF_OPEN_EXISTING;
    options.durability = durability;
    if (!holds(hf_open(path, &options, &store) == 0, "hf_open"))
        return false;
    /* The log engine's rarer ways, often: switches, dropped pages, commits that wait for views. There may
     * be a housekeeper already, for what the process beside left undone. */
    __atomic_store_n(&store->log.switch_bytes, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&store->log.private_max_bytes, 64 << 10, __ATOMIC_RELAXED);
    __atomic_store_n(&store->log.gate_wait_ns, 100 * 1000, __ATOMIC_RELAXED);
    __atomic_store_n(&store->log.lazy_interval_ns, 1000 * 1000, __ATOMIC_RELAXED);
    for (; started < count; started++) {
        workers[started] = (struct worker){
            .store = store, .seed = mix64(seed + started), .turns = kind->turns, .number = started};
        if (pthread_create(&threads[started], NULL, run_worker, &workers[started]) != 0)
            break;
    }
    holds(started == count, "pthread_create");
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return holds(hf_close(store) == 0, "hf_close");
}

static bool create(const char *path, const struct kind *kind)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    hf_txn *txn;
    options.mode = HF_CREATE_NEW;
    options.size_initial_bytes = 64 << 10;
    options.engine = kind->engine;
    options.index = kind->index;
    options.allocator = kind->allocator;
    if (hf_open(path, &options, &store) != 0 || hf_begin(store, &txn) != 0)
        return false;
    bool good = hf_construct(txn, "version", &word_type, 1) != NULL &&
                hf_construct(txn, "list", &list_type, 1) != NULL;
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        char name[32];
        snprintf(name, sizeof name, "account/%u", i);
        good = good && hf_construct(txn, name, &word_type, 1) != NULL;
    }
    return hf_commit(txn) == 0 && hf_close(store) == 0 && good;
}

static void verify_end(const char *path, uint64_t commits)
{
    hf_store *store;
    hf_view *view;
    if (!holds(hf_open(path, NULL, &store) == 0, "opening at the end"))
        return;
    holds(hf_check_sanity(store, NULL, NULL) == 0, "hf_check_sanity at the end");
    if (holds(hf_view_begin(store, &view) == 0, "a view at the end")) {
        const uint64_t *version = hf_find(view, "version", &word_type, NULL);
        holds(version != NULL && *version == commits, "version %llu after %llu commits",
              version != NULL ? (unsigned long long)*version : 0, (unsigned long long)commits);
        read_accounts(view);
        read_pairs(view);
        read_list(view);
        hf_view_end(view);
    }
    holds(hf_close(store) == 0, "hf_close at the end");
}

static void run_round(struct campaign *c, const char *path, const struct kind *kind)
{
    uint64_t commits = atomic_load(&shared->commits), begun = clock_ns();
    uint64_t seed = mix64(c->seed + kind->index);
    if (!holds(create(path, kind), "creating"))
        return;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        run_threads(path, kind, kind->durability_other, THREADS_OTHER, mix64(seed));
        exit(0);
    }
    run_threads(path, kind, kind->durability, THREADS, seed);
    int status = -1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        holds(false, "the other process ended with status %d", status);
    commits = atomic_load(&shared->commits) - commits;
    verify_end(path, commits);
    holds(hf_remove(path) == 0, "hf_remove");
    printf("  %s, index %u, allocator %u: %llu commits, %.0f turns/s over all threads\n", kind->name,
           kind->index, kind->allocator, (unsigned long long)commits,
           (double)(kind->turns * (THREADS + THREADS_OTHER)) * 1e9 / (double)(clock_ns() - begun));
}

int main(void)
{
    struct campaign c;
    char directory[400], path[480];
    campaign_start(&c, "stress_threads");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || !campaign_directory(NULL, directory, sizeof directory)) {
        printf("0 passed, 1 failed\n");
        return 1;
    }
    snprintf(path, sizeof path, "%s/stress.hf", directory);
    static const struct kind kinds[] = {
        {"direct", HF_ENGINE_DIRECT, 0, 0, HF_INDEX_SET, HF_ALLOC_SLAB, 12000},
        {"direct", HF_ENGINE_DIRECT, 0, 0, HF_INDEX_HASH, HF_ALLOC_SEQ_FIT, 12000},
        {"direct", HF_ENGINE_DIRECT, 0, 0, HF_INDEX_FLAT, HF_ALLOC_BEST_FIT, 12000},
        {"log, SYNC", HF_ENGINE_LOG, HF_SYNC, HF_SYNC, HF_INDEX_SET, HF_ALLOC_BEST_FIT, 4000},
        {"log, LAZY", HF_ENGINE_LOG, HF_LAZY, HF_LAZY, HF_INDEX_HASH, HF_ALLOC_SLAB, 4000},
        {"log, NOSYNC", HF_ENGINE_LOG, HF_NOSYNC, HF_NOSYNC, HF_INDEX_FLAT, HF_ALLOC_BEST_FIT, 4000},
        {"log, SYNC beside LAZY", HF_ENGINE_LOG, HF_SYNC, HF_LAZY, HF_INDEX_FLAT, HF_ALLOC_SEQ_FIT,
         2000},
        {"log, SYNC beside NOSYNC", HF_ENGINE_LOG, HF_SYNC, HF_NOSYNC, HF_INDEX_SET,
         HF_ALLOC_SLAB, 2000},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct kind kind = kinds[i];
        kind.turns = campaign_count(&c, kind.turns);
        run_round(&c, path, &kind);
    }
    printf(
        "%llu commits, %llu aborts, %llu partial rollbacks, %llu views (%llu nested), %llu names "
        "iterated over\n",
        (unsigned long long)atomic_load(&shared->commits),
        (unsigned long long)atomic_load(&shared->aborts),
        (unsigned long long)atomic_load(&shared->rollbacks),
        (unsigned long long)atomic_load(&shared->views),
        (unsigned long long)atomic_load(&shared->nested),
        (unsigned long long)atomic_load(&shared->walked));
    if (atomic_load(&shared->faults) != 0)
        printf("FAILED (seed %llu): %s\n", (unsigned long long)c.seed, shared->message);
    rmdir(directory);
    c.passed = atomic_load(&shared->passed);
    c.failed = atomic_load(&shared->faults);
    return campaign_end(&c);
}
