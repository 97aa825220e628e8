/* SPDX-License-Identifier: MIT */
/*
 * stress_snapshots.c - snapshots under a storm of writers in threads and processes, in each class
 *
 * Each transaction writes its own number, which is the commit's, into blocks that it makes, changes and frees,
 * each with a sum over its content; some make megabytes, so that they go through windows, and free them again,
 * so that the used end falls; small logs are switched all the time. Meanwhile snapshots are taken by each
 * method, by a writer's handle and a reader's. Each one must be:
 *
 *   S1  a clean store with true pages
 *   S2  of one commit: the number inside is that of the report, and every block is as the table says
 *   S3  no older than what was durable before the call, no newer than what was begun when it ended
 */
#include "holdfast.h"
#include "tests/support/campaign.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCKS     64u
#define PROCESSES  2u
#define THREADS    2u

struct row {
    hf_ref block;
    uint64_t size_bytes, number, sum;
};
struct table {
    uint64_t number; /* transactions so far */
    struct row rows[BLOCKS];
};
static const hf_type table_type = {
    .name = "storm", .version = 1, .size_bytes = sizeof(struct table), .align_bytes = 8};

static struct shared {
    _Atomic uint64_t acknowledged, begun, faults; /* commits; begun: an upper bound               */
    _Atomic int stop;
} *shared;
static struct campaign campaign;
static const char path[] = "storm.hf", copy_path[] = "storm-copy.hf";

static hf_store *open_store(uint32_t mode, uint32_t durability)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.mode = mode;
    options.durability = durability;
    if (hf_open(path, &options, &store) != 0)
        printf("hf_open: %s\n", hf_last_error()->message);
    return store;
}

static uint64_t sum_of(const unsigned char *bytes, uint64_t size_bytes)
{
    uint64_t sum = size_bytes;
    for (uint64_t i = 0; i < size_bytes; i += size_bytes < 100000 ? 1 : 61)
        sum = sum * 31 + bytes[i];
    return sum;
}

/* ---- the storm ------------------------------------------------------------------------------- */

static bool write_row(hf_txn *txn, struct row *row, struct rng *rng, uint64_t number)
{
    if (row->block != 0)
        hf_free(txn, hf_at(hf_txn_view(txn), row->block));
    *row = (struct row){0};
    if (rng_percent(rng, 30))
        return true;
    row->size_bytes = rng_percent(rng, 3) ? 1500000 + rng_below(rng, 2000000)
                                          : 16 + rng_below(rng, 9000);
    unsigned char *bytes = hf_alloc(txn, row->size_bytes);
    if (bytes == NULL)
        return false;
    memset(bytes, (int)rng_next(rng), row->size_bytes);
    memcpy(bytes, &number, sizeof number);
    row->block = hf_ref_of(hf_txn_view(txn), bytes);
    row->number = number;
    row->sum = sum_of(bytes, row->size_bytes);
    return true;
}

static bool one_transaction(hf_store *store, struct rng *rng)
{
    hf_txn *txn;
    if (hf_begin(store, &txn) != 0)
        return false;
    struct table *table = hf_find_or_construct(txn, "table", &table_type, 1, NULL);
    if (table == NULL || (table = hf_edit(txn, table, sizeof *table)) == NULL) {
        hf_abort(txn);
        return false;
    }
    const uint64_t number = ++table->number;
    atomic_store(&shared->begun, number);
    /* Now and then all goes, and the used end falls: then there are windows again. */
    for (unsigned i = 0; number % 32 == 0 && i < BLOCKS; i++) {
        if (table->rows[i].block != 0)
            hf_free(txn, hf_at(hf_txn_view(txn), table->rows[i].block));
        table->rows[i] = (struct row){0};
    }
    for (uint64_t i = 1 + rng_below(rng, 8); i > 0; i--)
        if (!write_row(txn, &table->rows[rng_below(rng, BLOCKS)], rng, number)) {
            hf_abort(txn);
            return false;
        }
    if (hf_commit(txn) != 0)
        return false;
    uint64_t have = atomic_load(&shared->acknowledged);
    while (have < number && !atomic_compare_exchange_weak(&shared->acknowledged, &have, number))
        ;
    return true;
}

struct storm {
    hf_store *store;
    uint64_t seed;
};

static void *blow(void *argument)
{
    const struct storm *storm = argument;
    struct rng rng = {storm->seed};
    while (!atomic_load(&shared->stop))
        if (!one_transaction(storm->store, &rng)) {
            /* A long copying defers applying, until the log has no more room. */
            if (hf_last_error()->code == HF_ELOGFULL)
                usleep(1000);
            else if (atomic_fetch_add(&shared->faults, 1) == 0)
                printf("a transaction: %s\n", hf_last_error()->message);
        }
    return NULL;
}

_Noreturn static void storm_process(uint32_t durability, uint64_t seed)
{
    pthread_t threads[THREADS];
    struct storm storms[THREADS];
    hf_store *store = open_store(HF_OPEN_EXISTING, durability);
    if (store == NULL)
        _exit(1);
    hf_tuning tuning = {.log_switch_bytes = UINT64_C(1) << 20};
    hf_tune(store, &tuning);
    for (unsigned i = 0; i < THREADS; i++) {
        storms[i] = (struct storm){store, mix64(seed + i)};
        pthread_create(&threads[i], NULL, blow, &storms[i]);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    _exit(hf_close(store) == 0 && atomic_load(&shared->faults) == 0 ? 0 : 1);
}

/* ---- what a snapshot must be ------------------------------------------------------------------ */

static bool rows_hold(hf_view *view, const struct table *table)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        const struct row *row = &table->rows[i];
        if (row->block == 0)
            continue;
        const unsigned char *bytes = hf_at(view, row->block);
        if (row->number > table->number || memcmp(bytes, &row->number, sizeof row->number) != 0 ||
            sum_of(bytes, row->size_bytes) != row->sum)
            return false;
    }
    return true;
}

static void look_at(const hf_snapshot_report *report, uint64_t least, uint64_t most)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *copy;
    hf_view *view;
    size_t count;
    campaign_expect(&campaign, hf_check_file(copy_path, NULL, NULL) == 0,
                    "S1: the copy is a clean store");
    options.mode = HF_READ_ONLY;
    if (!campaign_expect(&campaign, hf_open(copy_path, &options, &copy) == 0, "opening the copy"))
        return;
    if (hf_view_begin(copy, &view) == 0) {
        const struct table *table = hf_find(view, "table", &table_type, &count);
        const uint64_t number = table == NULL ? 0 : table->number;
        campaign_expect(&campaign, table == NULL || rows_hold(view, table),
                        "S2: every block is of the copy's commit");
        campaign_expect(&campaign, number == report->commit, "S2: it is the commit it says it is");
        campaign_expect(&campaign, number >= least && number <= most && number >= report->durable,
                        "S3: durable at the call <= k <= begun");
        hf_view_end(view);
    }
    hf_close(copy);
    hf_remove(copy_path);
}

static uint64_t laid, held_ns_max;

static void take(hf_store *store, uint32_t durability, uint32_t method)
{
    hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
    hf_snapshot_report report = {0};
    options.method = method;
    options.report = &report;
    const uint64_t least = durability == HF_SYNC ? atomic_load(&shared->acknowledged) : 0;
    const int code = hf_snapshot(store, copy_path, &options);
    const uint64_t most = atomic_load(&shared->begun) + 1; /* begun, but not noted yet */
    if (code != 0)
        printf("hf_snapshot: %s\n", hf_last_error()->message);
    if (!campaign_expect(&campaign, code == 0, "hf_snapshot"))
        return;
    laid += report.laid_commits;
    held_ns_max = report.held_ns > held_ns_max ? report.held_ns : held_ns_max;
    look_at(&report, least, most);
}

static void run(uint32_t durability, unsigned snapshots)
{
    static const uint32_t methods[] = {HF_SNAPSHOT_ANY, HF_SNAPSHOT_COPY_RANGE, HF_SNAPSHOT_COPY};
    pid_t children[PROCESSES];
    int status;
    *shared = (struct shared){0};
    hf_remove(path);
    hf_store *store = open_store(HF_CREATE_NEW, durability);
    if (!campaign_expect(&campaign, store != NULL && hf_close(store) == 0, "making a store"))
        return;
    fflush(stdout);
    for (unsigned i = 0; i < PROCESSES; i++)
        if ((children[i] = fork()) == 0)
            storm_process(durability, campaign.seed + 97 * i + durability);
    while (atomic_load(&shared->acknowledged) < 20 && atomic_load(&shared->faults) == 0)
        usleep(1000);
    for (unsigned i = 0; i < snapshots; i++) {
        store = open_store(i % 2 == 0 ? HF_OPEN_EXISTING : HF_READ_ONLY, durability);
        if (!campaign_expect(&campaign, store != NULL, "opening the store"))
            break;
        take(store, durability, methods[i / 2 % 3]);
        campaign_expect(&campaign, hf_close(store) == 0, "closing");
    }
    atomic_store(&shared->stop, 1);
    for (unsigned i = 0; i < PROCESSES; i++)
        campaign_expect(&campaign, waitpid(children[i], &status, 0) == children[i] && status == 0,
                        "a process of the storm");
    campaign_expect(&campaign, hf_check_file(path, NULL, NULL) == 0, "the source is sound");
    printf("class %u: %llu commits\n", durability,
           (unsigned long long)atomic_load(&shared->acknowledged));
    hf_remove(path);
}

int main(void)
{
    campaign_start(&campaign, "stress_snapshots");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 2;
    const unsigned snapshots = (unsigned)(24 * campaign.scale) + 6;
    for (uint32_t durability = HF_SYNC; durability <= HF_NOSYNC; durability++)
        run(durability, snapshots);
    printf("%llu commits laid over copies, apply held back for %.1f ms at most\n",
           (unsigned long long)laid, (double)held_ns_max / 1e6);
    return campaign_end(&campaign);
}
