/* SPDX-License-Identifier: MIT */
/*
 * stress_space.c - free space becomes holes while all that reads pages is at it
 *
 * A process takes and frees megabytes and another trims, over and over; meanwhile pages are verified,
 * snapshots and archives taken, restored, and each object is read. Nobody may find a page rotten, and each
 * object has the content that its first bytes name. A trim that meets a view is HF_EBUSY at worst.
 */
#include "holdfast.h"
#include "tests/support/campaign.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OBJECTS = 12, BYTES_MOST = 700000, PATH_BYTES = 512 };

static struct campaign campaign;
static char directory[PATH_BYTES - 32], path[PATH_BYTES], copy_path[PATH_BYTES],
    archive_path[PATH_BYTES];

static hf_store *open_store(const char *name, uint32_t mode, int64_t timeout_ms)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_tuning tuning = HF_TUNING_INIT;
    hf_store *store = NULL;
    options.mode = mode;
    options.lock_timeout_ms = timeout_ms;
    if (hf_open(name, &options, &store) != 0) {
        printf("FAILED: hf_open: %s\n", hf_last_error()->message);
        exit(1);
    }
    tuning.log_first_bytes = tuning.log_switch_bytes = UINT64_C(1) << 20;
    tuning.trim_min_bytes = HF_TRIM_NEVER;
    (void)hf_tune(store, &tuning);
    return store;
}

static void write_once(hf_store *store, struct rng *rng)
{
    char name[16];
    hf_txn *txn;
    if (hf_begin(store, &txn) != 0)
        exit(3);
    snprintf(name, sizeof name, "o%llu", (unsigned long long)rng_below(rng, OBJECTS));
    const size_t size = 16 + (size_t)rng_below(rng, BYTES_MOST);
    const uint64_t number = rng_next(rng);
    if (hf_find(hf_txn_view(txn), name, NULL, NULL) != NULL) {
        if (hf_destroy(txn, name) != 0)
            exit(3);
    } else {
        unsigned char *bytes = hf_construct(txn, name, NULL, size);
        if (bytes == NULL)
            exit(3);
        memcpy(bytes, &number, 8);
        content_fill(bytes + 8, size - 8, number);
    }
    const int code = hf_commit(txn);
    if (code != 0 && code != HF_ELOGFULL)
        exit(3);
}

static void writer(uint64_t seed)
{
    hf_store *store = open_store(path, HF_OPEN_EXISTING, 0);
    struct rng rng = {seed};
    for (;;)
        write_once(store, &rng);
}

static void trimmer(uint64_t unused)
{
    hf_store *store = open_store(path, HF_OPEN_EXISTING, 50);
    (void)unused;
    for (;;) {
        const int code = hf_trim(store, NULL);
        if (code != 0 && code != HF_EBUSY && code != HF_ELOGFULL) {
            printf("FAILED: hf_trim: %s\n", hf_last_error()->message);
            exit(3);
        }
    }
}

static pid_t start(void (*run)(uint64_t), uint64_t argument)
{
    const pid_t pid = fork();
    if (pid == 0) {
        run(argument);
        _exit(0);
    }
    return pid;
}

/* It must have gone on until now. */
static void end(pid_t pid, const char *who)
{
    int status = 0;
    const bool alive = waitpid(pid, &status, WNOHANG) == 0;
    campaign_expect(&campaign, alive, "the %s has ended: %d", who, status);
    if (alive) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
}

static void read_all(hf_store *store, const char *what)
{
    hf_view *view;
    if (!campaign_expect(&campaign, hf_view_begin(store, &view) == 0, "hf_view_begin"))
        return;
    for (int i = 0; i < OBJECTS; i++) {
        static unsigned char wanted[BYTES_MOST + 16];
        char name[16];
        size_t size = 0;
        uint64_t number;
        snprintf(name, sizeof name, "o%d", i);
        const unsigned char *bytes = hf_find(view, name, NULL, &size);
        if (bytes == NULL)
            continue;
        memcpy(&number, bytes, 8);
        content_fill(wanted, size - 8, number);
        campaign_expect(&campaign, memcmp(bytes + 8, wanted, size - 8) == 0, "%s: %s differs", what,
                        name);
    }
    hf_view_end(view);
}

static void read_copy(const char *what)
{
    hf_store *store = open_store(copy_path, HF_OPEN_EXISTING, 0);
    read_all(store, what);
    campaign_expect(&campaign, hf_verify(store, NULL, NULL) == 0, "%s: %s", what,
                    hf_last_error()->message);
    if (hf_close(store) != 0 || hf_remove(copy_path) != 0)
        exit(1);
}

static void look(hf_store *store, struct rng *rng)
{
    hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
    const char *const chain[] = {archive_path};
    switch (rng_below(rng, 4)) {
    case 0:
        campaign_expect(&campaign, hf_verify(store, NULL, NULL) == 0, "hf_verify: %s",
                        hf_last_error()->message);
        break;
    case 1:
        options.method = rng_percent(rng, 50) ? HF_SNAPSHOT_COPY : HF_SNAPSHOT_ANY;
        options.flags = HF_SNAPSHOT_VERIFY;
        if (campaign_expect(&campaign, hf_snapshot(store, copy_path, &options) == 0,
                            "hf_snapshot: %s", hf_last_error()->message))
            read_copy("a snapshot");
        break;
    case 2: {
        int fd = open(archive_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (campaign_expect(&campaign, hf_archive_write(store, fd, NULL, NULL) == 0,
                            "hf_archive_write: %s", hf_last_error()->message) &&
            campaign_expect(&campaign, hf_restore(copy_path, chain, 1, NULL, NULL) == 0,
                            "hf_restore: %s", hf_last_error()->message))
            read_copy("restored");
        close(fd);
        break;
    }
    default:
        read_all(store, "the store");
    }
}

/* Whoever made them: the trimmer may have left nothing to the last call. */
static bool has_holes(const char *name)
{
    struct stat st;
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    const bool good = fd >= 0 && fstat(fd, &st) == 0 && lseek(fd, 0, SEEK_HOLE) < st.st_size;
    if (fd >= 0)
        close(fd);
    return good;
}

int main(void)
{
    campaign_start(&campaign, "stress_space");
    if (!campaign_directory(NULL, directory, sizeof directory))
        return 2;
    snprintf(path, sizeof path, "%s/s.hf", directory);
    snprintf(copy_path, sizeof copy_path, "%s/copy.hf", directory);
    snprintf(archive_path, sizeof archive_path, "%s/archive.hfz", directory);
    struct rng rng = {campaign.seed};
    hf_store *store = open_store(path, HF_CREATE_NEW, 0);
    for (int i = 0; i < 2 * OBJECTS; i++)
        write_once(store, &rng);
    if (hf_close(store) != 0)
        return 1;
    const pid_t writes = start(writer, rng_next(&rng)), trims = start(trimmer, 0);
    store = open_store(path, HF_READ_ONLY, 0);
    const uint64_t rounds = campaign_count(&campaign, 400);
    for (uint64_t i = 0; i < rounds; i++)
        look(store, &rng);
    end(writes, "writer");
    end(trims, "trimmer");
    hf_trim_report report = {0};
    hf_store *mine;
    if (hf_close(store) != 0)
        return 1;
    mine = open_store(path, HF_OPEN_EXISTING, 0);
    campaign_expect(&campaign, hf_trim(mine, &report) == 0, "hf_trim: %s",
                    hf_last_error()->message);
    campaign_expect(&campaign, report.unsupported || has_holes(path), "no holes");
    read_all(mine, "in the end");
    campaign_expect(&campaign, hf_verify(mine, NULL, NULL) == 0, "%s", hf_last_error()->message);
    if (hf_close(mine) != 0 || hf_remove(path) != 0)
        return 1;
    unlink(archive_path);
    rmdir(directory);
    return campaign_end(&campaign);
}
