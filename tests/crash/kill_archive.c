/* SPDX-License-Identifier: MIT */
/*
 * kill_archive.c - archives under a write storm, and processes that are killed while they make or
 * restore one
 *
 * Writers commit numbered states: transaction k leaves values that follow from k in every object.
 * Archives are taken meanwhile, full and in chains, by a thread beside the writer and by another
 * process. Each restored store must be the state of one k, exactly, not older than what was
 * acknowledged before the archive was begun, and sound. Then a process that restores is killed at
 * moments spread over its work: the store is there whole or not at all, and the next restore leaves
 * no spare file behind.
 */
#include "holdfast.h"

#include "tests/support/campaign.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { OBJECTS = 300, OBJECT_BYTES = 1500, CHAIN = 4 };

static struct campaign campaign;
static char directory[400];
static _Atomic uint64_t *acknowledged; /* shared with children                                    */
static atomic_bool stop;

static const char *in_directory(char out[480], const char *name)
{
    snprintf(out, 480, "%s/%s", directory, name);
    return out;
}

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, hf_last_error()->message);
    exit(2);
}

/* ---- numbered states ------------------------------------------------------------------------- */

/* In state k object i was last written by the newest of its turns up to k. */
static uint64_t turn_of(uint64_t k, uint64_t i)
{
    const uint64_t phase = i % 10;
    return k < phase ? 0 : k - (k - phase) % 10;
}

static void write_state(hf_store *store, uint64_t k)
{
    hf_txn *txn;
    char name[32];
    if (hf_begin(store, &txn) != 0)
        fail("hf_begin");
    for (uint64_t i = 0; i < OBJECTS; i++) {
        if (k != 0 && i % 10 != k % 10)
            continue;
        snprintf(name, sizeof name, "object/%03d", (int)i);
        void *p = hf_find_or_construct(txn, name, NULL, OBJECT_BYTES, NULL);
        if (p == NULL || (p = hf_edit(txn, p, OBJECT_BYTES)) == NULL)
            fail("writing");
        content_fill(p, OBJECT_BYTES, turn_of(k, i) * OBJECTS + i);
    }
    uint64_t *number = hf_find_or_construct(txn, "k", NULL, 8, NULL);
    if (number == NULL || (number = hf_edit(txn, number, 8)) == NULL)
        fail("writing");
    *number = k;
    /* The used end goes up and down. */
    if (k % 7 == 3 && hf_construct(txn, "ballast", NULL, 100000 + k % 5 * 300000) == NULL)
        fail("ballast");
    if (k % 7 == 6 && k > 3 && hf_destroy(txn, "ballast") != 0)
        fail("ballast");
    if (hf_commit(txn) != 0)
        fail("hf_commit");
    atomic_store(acknowledged, k);
}

/* Which state the store is in, or -1: none. */
static int64_t state_of(const char *path)
{
    static unsigned char wanted[OBJECT_BYTES];
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    hf_view *view;
    char name[32];
    options.mode = HF_READ_ONLY;
    if (hf_check_file(path, NULL, NULL) != 0 || hf_open(path, &options, &store) != 0 ||
        hf_view_begin(store, &view) != 0)
        return -1;
    const uint64_t *k = hf_find(view, "k", NULL, NULL);
    int64_t state = k == NULL ? -1 : (int64_t)*k;
    for (uint64_t i = 0; state >= 0 && i < OBJECTS; i++) {
        snprintf(name, sizeof name, "object/%03d", (int)i);
        const void *p = hf_find(view, name, NULL, NULL);
        content_fill(wanted, OBJECT_BYTES, turn_of((uint64_t)state, i) * OBJECTS + i);
        if (p == NULL || memcmp(p, wanted, OBJECT_BYTES) != 0)
            state = -1;
    }
    hf_view_end(view);
    return hf_close(store) == 0 ? state : -1;
}

/* ---- the storm ------------------------------------------------------------------------------- */

static void *storm(void *argument)
{
    hf_store *store = argument;
    for (uint64_t k = atomic_load(acknowledged) + 1; !atomic_load(&stop); k++)
        write_state(store, k);
    return NULL;
}

static void archive(hf_store *store, const char *path, const char *since, uint32_t threads)
{
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    options.since_archive = since;
    options.threads = threads;
    options.level = 1;
    if (fd < 0 || hf_archive_write(store, fd, &options, NULL) != 0)
        fail("hf_archive_write");
    close(fd);
}

/* A chain of archives of a store that is being written; all its links are restored. */
static void take_chain(hf_store *store, struct rng *rng)
{
    char paths[CHAIN][480], made[480];
    const char *chain[CHAIN];
    uint64_t floors[CHAIN];
    in_directory(made, "made.hf");
    for (int i = 0; i < CHAIN; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.hfz", i);
        chain[i] = in_directory(paths[i], name);
        floors[i] = atomic_load(acknowledged);
        archive(store, chain[i], i == 0 ? NULL : chain[i - 1], 1 + (uint32_t)rng_below(rng, 3));
    }
    for (size_t n = 1; n <= CHAIN; n++) {
        int code = hf_restore(made, chain, n, NULL, NULL);
        campaign_expect(&campaign, code == 0, "a chain of %zu: %s", n,
                        code == 0 ? "" : hf_last_error()->message);
        const int64_t state = code == 0 ? state_of(made) : -1;
        campaign_expect(&campaign, state >= (int64_t)floors[n - 1],
                        "a chain of %zu is state %lld, acknowledged were %llu", n, (long long)state,
                        (unsigned long long)floors[n - 1]);
        unlink(made);
    }
}

static void run_storm(uint32_t durability, uint64_t rounds)
{
    char path[480];
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    pthread_t writer;
    struct rng rng = {mix64(campaign.seed + durability)};
    options.durability = durability;
    if (hf_open(in_directory(path, "storm.hf"), &options, &store) != 0)
        fail("hf_open");
    atomic_store(&stop, false);
    write_state(store, 0);
    if (pthread_create(&writer, NULL, storm, store) != 0)
        fail("a thread");
    /* What a LAZY commit has acknowledged need not be durable yet, but it is what is shown. */
    for (uint64_t i = 0; i < rounds; i++)
        take_chain(store, &rng);
    atomic_store(&stop, true);
    pthread_join(writer, NULL);
    if (hf_close(store) != 0)
        fail("hf_close");
    unlink(path);
}

/* The archives are taken by this process, the writer is another one, killed now and then. */
static void run_storm_beside(uint64_t rounds)
{
    char path[480];
    hf_store *store;
    struct rng rng = {mix64(campaign.seed + 77)};
    if (hf_open(in_directory(path, "storm.hf"), NULL, &store) != 0)
        fail("hf_open");
    write_state(store, 0);
    hf_close(store);
    for (uint64_t i = 0; i < rounds; i++) {
        pid_t child = fork();
        if (child == 0) {
            if (hf_open(path, NULL, &store) != 0)
                _exit(2);
            atomic_store(&stop, false);
            const uint64_t found = atomic_load(acknowledged);
            hf_view *view;
            if (hf_view_begin(store, &view) != 0)
                _exit(2);
            const uint64_t *k = hf_find(view, "k", NULL, NULL);
            uint64_t next = (k == NULL ? found : *k) + 1;
            hf_view_end(view);
            for (;; next++)
                write_state(store, next);
        }
        usleep(20000);
        hf_options options = HF_OPTIONS_INIT;
        options.mode = HF_READ_ONLY;
        if (hf_open(path, &options, &store) != 0)
            fail("hf_open");
        if (rng_percent(&rng, 50))
            kill(child, SIGKILL);
        take_chain(store, &rng);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        take_chain(store, &rng);
        hf_close(store);
    }
    hf_remove(path);
}

/* ---- killed while restoring ------------------------------------------------------------------ */

static void count_spares(void *context, const char *name)
{
    *(unsigned *)context += strncmp(name, "made.hf.new-", 12) == 0;
}

static int die_at(void *user, uint64_t done, uint64_t total)
{
    uint64_t *left = user;
    (void)done;
    (void)total;
    if (--*left == 0)
        kill(getpid(), SIGKILL);
    return 0;
}

static unsigned spares(void)
{
    unsigned count = 0;
    char command[480];
    snprintf(command, sizeof command, "ls %s", directory);
    FILE *names = popen(command, "r");
    while (names != NULL && fgets(command, sizeof command, names) != NULL)
        count_spares(&count, command);
    if (names != NULL)
        pclose(names);
    return count;
}

static void run_kills(uint64_t rounds)
{
    char path[480], full[480], made[480];
    hf_store *store;
    struct rng rng = {mix64(campaign.seed + 99)};
    if (hf_open(in_directory(path, "storm.hf"), NULL, &store) != 0)
        fail("hf_open");
    for (uint64_t k = 0; k < 50; k++)
        write_state(store, k);
    archive(store, in_directory(full, "0.hfz"), NULL, 1);
    hf_close(store);
    in_directory(made, "made.hf");
    const char *chain[] = {full};
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t left = 1 + rng_below(&rng, 3);
        const useconds_t later = (useconds_t)rng_below(&rng, 4000);
        const bool by_itself = rng_percent(&rng, 50);
        pid_t child = fork();
        if (child == 0) {
            hf_restore_options options = HF_RESTORE_OPTIONS_INIT;
            options.on_progress = by_itself ? die_at : NULL;
            options.user = &left;
            _exit(hf_restore(made, chain, 1, &options, NULL) == 0 ? 0 : 2);
        }
        if (!by_itself) {
            usleep(later);
            kill(child, SIGKILL);
        }
        waitpid(child, NULL, 0);
        if (access(made, F_OK) == 0) {
            campaign_expect(&campaign, state_of(made) == 49, "kill %llu left another store",
                            (unsigned long long)i);
            unlink(made);
        }
        const int code = hf_restore(made, chain, 1, NULL, NULL);
        campaign_expect(&campaign, code == 0 && state_of(made) == 49, "after kill %llu: %d",
                        (unsigned long long)i, code);
        campaign_expect(&campaign, spares() == 0, "after kill %llu a spare file is there",
                        (unsigned long long)i);
        unlink(made);
    }
    hf_remove(path);
}

int main(void)
{
    campaign_start(&campaign, "kill_archive");
    acknowledged = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (acknowledged == MAP_FAILED || !campaign_directory(NULL, directory, sizeof directory))
        fail("a directory");
    run_storm(HF_SYNC, campaign_count(&campaign, 15));
    atomic_store(acknowledged, 0);
    run_storm(HF_NOSYNC, campaign_count(&campaign, 15));
    atomic_store(acknowledged, 0);
    run_storm_beside(campaign_count(&campaign, 15));
    atomic_store(acknowledged, 0);
    run_kills(campaign_count(&campaign, 100));
    for (int i = 0; i < CHAIN; i++) {
        char path[480], name[16];
        snprintf(name, sizeof name, "%d.hfz", i);
        unlink(in_directory(path, name));
    }
    campaign_expect(&campaign, rmdir(directory) == 0, "something was left in %s", directory);
    return campaign_end(&campaign);
}
