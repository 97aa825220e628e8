/* SPDX-License-Identifier: MIT */
/*
 * model_space.c - random changes with holes among them, and all that reads pages or the page table
 *
 * A store has named objects of random sizes, known by a number that their content follows from. Between
 * changes free space is given back, by hf_trim or by the housekeeper. All the while
 *
 *   a chain of archives grows: a full one, then increments; restored it must be the store
 *   snapshots are taken, by each method
 *   the closed store is compacted, shrunk, salvaged, saved, and repaired
 *
 * and what comes of it must have each object whole, be sound, have pages that match their entries, and
 * take changes. What may be a hole without having said so would be found by the pages, what isn't one any more
 * by the objects.
 */
#include "holdfast.h"
#include "tests/support/campaign.h"

#include <fcntl.h>

enum { OBJECTS = 24, CHAIN = 40, PATH_BYTES = 512 };

struct object {
    uint64_t number, size_bytes; /* 0: there is none */
};

static struct campaign campaign;
static struct rng rng;
static struct object objects[OBJECTS];
static char archives[CHAIN][PATH_BYTES];
static size_t archive_count;
static uint64_t rare[3]; /* holes that were made, archived, made by the housekeeper               */
static uint32_t engine;
static char directory[PATH_BYTES - 32], path[PATH_BYTES], copy_path[PATH_BYTES];

static bool expect(bool holds, const char *what)
{
    return campaign_expect(&campaign, holds, "%s: %s", what, hf_last_error()->message);
}

static hf_store *open_store(const char *name, uint32_t mode)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_tuning tuning = HF_TUNING_INIT;
    hf_store *store = NULL;
    options.mode = mode;
    options.engine = engine;
    options.durability = rng_percent(&rng, 50) ? HF_LAZY : HF_SYNC;
    if (!expect(hf_open(name, &options, &store) == 0, "hf_open"))
        exit(1);
    tuning.log_first_bytes = tuning.log_switch_bytes = UINT64_C(1) << 20;
    tuning.trim_min_bytes = rng_percent(&rng, 30) ? UINT64_C(256) << 10 : HF_TRIM_NEVER;
    tuning.trim_delay_ms = 1;
    expect(hf_tune(store, &tuning) == 0, "hf_tune");
    return store;
}

static const char *name_of(unsigned i)
{
    static char name[16];
    snprintf(name, sizeof name, "object%02u", i);
    return name;
}

/* ---- changes --------------------------------------------------------------------------------- */

static bool change_one(hf_txn *txn, struct object *now)
{
    const unsigned i = (unsigned)rng_below(&rng, OBJECTS);
    if (now[i].size_bytes != 0) {
        now[i].size_bytes = 0;
        return hf_destroy(txn, name_of(i)) == 0;
    }
    now[i].number = rng_next(&rng);
    now[i].size_bytes =
        rng_percent(&rng, 40) ? 1 + rng_below(&rng, 6000) : 1 + rng_below(&rng, 900000);
    void *bytes = hf_construct(txn, name_of(i), NULL, (size_t)now[i].size_bytes);
    if (bytes != NULL)
        content_fill(bytes, (size_t)now[i].size_bytes, now[i].number);
    return bytes != NULL;
}

static void change(hf_store *store, uint64_t most)
{
    struct object now[OBJECTS];
    hf_txn *txn;
    memcpy(now, objects, sizeof now);
    if (!expect(hf_begin(store, &txn) == 0, "hf_begin"))
        return;
    bool good = true;
    for (uint64_t n = 1 + rng_below(&rng, most); good && n > 0; n--)
        good = change_one(txn, now);
    if (good && rng_percent(&rng, 5))
        good = hf_zero_free_memory(txn) == 0;
    expect(good, "a change");
    if (rng_percent(&rng, 15)) {
        hf_abort(txn);
    } else if (expect(hf_commit(txn) == 0, "hf_commit")) {
        memcpy(objects, now, sizeof now);
    }
}

static void trim(hf_store *store)
{
    hf_trim_report report;
    hf_store_info info;
    if (!expect(hf_trim(store, &report) == 0, "hf_trim") || report.unsupported)
        return;
    rare[0] += report.punched_extents;
    if (expect(hf_info(store, &info) == 0, "hf_info"))
        expect(info.given_back_bytes == report.punched_bytes, "what is given back");
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void compare_objects(hf_store *store, const char *what)
{
    hf_view *view;
    uint64_t found = 0, wanted = 0;
    unsigned char *bytes = malloc(900001);
    if (bytes == NULL)
        exit(2);
    if (!expect(hf_view_begin(store, &view) == 0, "hf_view_begin"))
        return;
    for (unsigned i = 0; i < OBJECTS; i++) {
        size_t count = 0;
        const void *have = hf_find(view, name_of(i), NULL, &count);
        wanted += objects[i].size_bytes != 0;
        content_fill(bytes, (size_t)objects[i].size_bytes, objects[i].number);
        found += have != NULL && count == objects[i].size_bytes && memcmp(have, bytes, count) == 0;
    }
    hf_view_end(view);
    free(bytes);
    campaign_expect(&campaign, found == wanted, "%s: %llu objects of %llu are whole", what,
                    (unsigned long long)found, (unsigned long long)wanted);
}

/* LAZY commits are shown when they are durable. */
static void show(hf_store *store)
{
    expect(hf_sync(store) == 0, "hf_sync");
}

static void compare(hf_store *store, const char *what)
{
    hf_verify_report report;
    show(store);
    compare_objects(store, what);
    expect(hf_check_sanity(store, NULL, NULL) == 0, what);
    expect(hf_verify(store, NULL, &report) == 0 || hf_last_error()->code == HF_ENOTSUP, what);
}

/* The copy is the store, and one that can be written, trimmed and read again. */
static void compare_copy(const char *what)
{
    struct object before[OBJECTS];
    hf_store *store = open_store(copy_path, HF_OPEN_EXISTING);
    memcpy(before, objects, sizeof before);
    compare(store, what);
    change(store, 6);
    if (rng_percent(&rng, 50))
        trim(store);
    change(store, 3);
    compare(store, what);
    expect(hf_close(store) == 0, "hf_close");
    store = open_store(copy_path, HF_READ_ONLY);
    compare(store, what);
    expect(hf_close(store) == 0 && hf_remove(copy_path) == 0, "removing a copy");
    memcpy(objects, before, sizeof before);
}

/* ---- copies ---------------------------------------------------------------------------------- */

static void forget_archives(void)
{
    while (archive_count != 0)
        unlink(archives[--archive_count]);
}

static void archive(hf_store *store)
{
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    hf_archive_report report;
    hf_store_info info;
    if (archive_count == CHAIN || (engine == HF_ENGINE_DIRECT && archive_count != 0))
        forget_archives(); /* a store of the direct engine that is open has no dates */
    show(store);
    expect(hf_info(store, &info) == 0, "hf_info");
    rare[1] += info.given_back_bytes != 0;
    snprintf(archives[archive_count], PATH_BYTES, "%s/archive%zu.hfz", directory, archive_count);
    if (archive_count != 0)
        options.since_archive = archives[archive_count - 1];
    options.threads = (uint32_t)rng_below(&rng, 3);
    int fd = open(archives[archive_count++], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    expect(fd >= 0 && hf_archive_write(store, fd, &options, &report) == 0, "hf_archive_write");
    close(fd);
}

static void restore(void)
{
    const char *chain[CHAIN];
    hf_archive_report report;
    for (size_t i = 0; i < archive_count; i++) {
        chain[i] = archives[i];
        expect(hf_archive_verify(archives[i], NULL, &report) == 0, "hf_archive_verify");
    }
    if (expect(hf_restore(copy_path, chain, archive_count, NULL, &report) == 0, "hf_restore"))
        compare_copy("restored");
}

static void snapshot(hf_store *store)
{
    hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
    options.method = (uint32_t)rng_below(&rng, 4);
    if (options.method == HF_SNAPSHOT_CLONE)
        options.method = HF_SNAPSHOT_ANY;
    show(store);
    if (expect(hf_snapshot(store, copy_path, &options) == 0, "hf_snapshot"))
        compare_copy("a snapshot");
}

static void told(void *user, const hf_salvage_object *object)
{
    (void)user;
    if (object->verdict != HF_SALVAGE_INTACT)
        printf("%s: %s\n", object->name == NULL ? "-" : object->name, object->why);
}

/* Nothing is damaged, so everything can be proved. */
static void salvage(uint64_t alive)
{
    hf_salvage_options options = HF_SALVAGE_OPTIONS_INIT;
    hf_salvage_report report;
    options.on_object = told;
    if (!expect(hf_salvage(path, copy_path, &options, &report) == 0, "hf_salvage"))
        return;
    campaign_expect(&campaign, report.intact == alive && report.lost == 0 && report.unproved == 0,
                    "%llu objects are intact, %llu lost, %llu unproved, of %llu",
                    (unsigned long long)report.intact, (unsigned long long)report.lost,
                    (unsigned long long)report.unproved, (unsigned long long)alive);
    compare_copy("salvaged");
}

static void on_closed(void)
{
    hf_check_report report;
    uint64_t alive = 0;
    for (unsigned i = 0; i < OBJECTS; i++)
        alive += objects[i].size_bytes != 0;
    switch (rng_below(&rng, 5)) {
    case 0:
        expect(hf_compact(path, NULL) == 0, "hf_compact");
        break;
    case 1:
        expect(hf_shrink_to_fit(path) == 0, "hf_shrink_to_fit");
        break;
    case 2:
        salvage(alive);
        break;
    case 3:
        expect(hf_check_file(path, NULL, &report) == 0, "hf_check_file");
        break;
    default:
        expect(hf_repair_file(path, NULL, &report) == 0, "hf_repair");
        break;
    }
}

static hf_store *reopen(hf_store *store)
{
    expect(hf_close(store) == 0, "hf_close");
    on_closed();
    return open_store(path, HF_OPEN_EXISTING);
}

static void run(uint32_t allocator, uint64_t rounds)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    options.allocator = allocator;
    options.engine = engine;
    options.size_initial_bytes = UINT64_C(1) << 20;
    memset(objects, 0, sizeof objects);
    forget_archives();
    if (!expect(hf_open(path, &options, &store) == 0 && hf_close(store) == 0, "making a store"))
        return;
    store = open_store(path, HF_OPEN_EXISTING);
    for (uint64_t round = 0; round < rounds; round++) {
        change(store, 6);
        if (rng_percent(&rng, 35))
            trim(store);
        if (rng_percent(&rng, 10))
            archive(store);
        if (rng_percent(&rng, 8))
            compare(store, "the store");
        if (rng_percent(&rng, 4)) {
            archive(store);
            restore();
        }
        if (rng_percent(&rng, 4))
            snapshot(store);
        if (rng_percent(&rng, 5)) {
            hf_log_state state;
            rare[2] += hf_log_info(store, &state) == 0 ? state.trims : 0;
            store = reopen(store);
        }
    }
    compare(store, "the store in the end");
    archive(store);
    restore();
    expect(hf_close(store) == 0 && hf_remove(path) == 0, "removing the store");
    forget_archives();
}

int main(void)
{
    campaign_start(&campaign, "model_space");
    if (!campaign_directory(NULL, directory, sizeof directory))
        return 2;
    snprintf(path, sizeof path, "%s/s.hf", directory);
    snprintf(copy_path, sizeof copy_path, "%s/copy.hf", directory);
    rng.state = campaign.seed;
    const uint64_t rounds = campaign_count(&campaign, 400);
    for (engine = HF_ENGINE_LOG; engine <= HF_ENGINE_DIRECT; engine++)
        for (uint32_t allocator = HF_ALLOC_DEFAULT; allocator <= HF_ALLOC_SEQ_FIT; allocator++)
            run(allocator, rounds);
    printf("holes %llu, archived with holes %llu, trims by the housekeeper %llu\n",
           (unsigned long long)rare[0], (unsigned long long)rare[1], (unsigned long long)rare[2]);
    campaign_expect(&campaign, rare[0] != 0 && rare[1] != 0 && (rounds < 100 || rare[2] != 0),
                    "what it is for didn't happen");
    rmdir(directory);
    return campaign_end(&campaign);
}
