/* SPDX-License-Identifier: MIT */
/*
 * cut_copies.c - recorded programs that make something of a store: copies, archives, a compacted, resized,
 * repaired or salvaged one
 *
 * What they make is t.hf (or a.full and a.more), beside the store or in its place. Until a call has returned
 * t.hf may be what it was before or what it is to be (struct cut_mark); afterwards only that. What it is to
 * be is a goal: which state of the store, told by its hash.
 */
#include "cut_programs.h"
#include "cut_steps.h"

#include "base/hash.h"
#include "store/engine.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>

enum { MEANWHILE = 2 }; /* commits in the middle of a copy */

static void beside(const struct cut_player *p, const char *name, char out[800])
{
    snprintf(out, 800, "%.*s%s", (int)(strlen(p->path) - strlen("s.hf")), p->path, name);
}

/* From here on t.hf may be the next goal. */
static struct cut_goal *aim(struct cut_player *p)
{
    p->mark.target_is = ++p->goals;
    if (p->goals > CUT_GOALS)
        exit(2);
    cut_marked(p);
    return &p->trace->goals[p->goals];
}

static void reached(struct cut_player *p, int code, const char *what)
{
    if (code != 0)
        cut_failed(p, what);
    p->mark.target_was = p->mark.target_is;
    cut_marked(p);
}

static void remove_target(struct cut_player *p, const char *target)
{
    p->mark.target_is = CUT_NOTHING;
    cut_marked(p);
    reached(p, hf_remove(target), "hf_remove");
}

static struct cut_goal as_committed(const struct cut_player *p, uint64_t commit)
{
    const uint64_t i = commit - p->trace->first_commit;
    return (struct cut_goal){i < p->trace->hash_count ? p->trace->plains[i] : 0, commit};
}

/* ---- in the store's place -------------------------------------------------------------------- */

/* What a call made of the store, in `most` commits or fewer; nobody has looked at all of them. */
static void look_again(struct cut_player *p, const char *what, uint64_t cells)
{
    uint64_t cells_now;
    struct cut_state state;
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    if (!cut_state_of(p->store, &state) || !cut_cells_of(p->store, &cells_now) ||
        cells_now != cells || state.commit > p->mark.attempted) {
        cut_failed(p, what);
        return;
    }
    while (p->trace->first_commit + p->trace->hash_count < state.commit) {
        p->trace->plains[p->trace->hash_count] = cells;
        p->trace->hashes[p->trace->hash_count++] = CUT_ANY;
    }
    if (p->trace->first_commit + p->trace->hash_count == state.commit && !cut_note_state(p))
        cut_failed(p, what);
    p->mark.acknowledged = p->mark.attempted = state.commit;
    cut_marked(p);
}

static uint64_t close_and_try(struct cut_player *p, uint64_t most)
{
    uint64_t cells = 0;
    if (p->store != NULL && !cut_cells_of(p->store, &cells))
        cut_failed(p, "looking at cells");
    cut_close(p);
    p->mark.attempted += most;
    cut_marked(p);
    return cells;
}

/* Compaction counts as a commit: the store it makes shows the same objects elsewhere. */
void cut_run_compact(struct cut_player *p)
{
    for (int round = 0; round < 2; round++) {
        if (!cut_open(p, HF_OPEN_EXISTING))
            return;
        cut_bulk(p, 20 * KiB, true);
        cut_change(p, 3);
        const uint64_t cells = close_and_try(p, 1);
        if (hf_compact(p->path, NULL) != 0)
            cut_failed(p, "hf_compact");
        p->mark.acknowledged = p->mark.attempted;
        cut_marked(p);
        look_again(p, "looking at a compacted store", cells);
        cut_close(p);
    }
}

void cut_run_resize(struct cut_player *p)
{
    for (int round = 0; round < 2; round++) {
        if (!cut_open(p, HF_OPEN_EXISTING))
            return;
        const hf_ref block = cut_bulk(p, 20 * KiB, true);
        cut_change(p, 1);
        uint64_t cells = close_and_try(p, 1);
        if (hf_grow(p->path, 40 * KiB) != 0)
            cut_failed(p, "hf_grow");
        look_again(p, "looking at a grown store", cells);
        if (p->store != NULL && block != 0)
            cut_free_at(p, block);
        cells = close_and_try(p, 2); /* one to trim, one to record the size */
        if (hf_shrink_to_fit(p->path) != 0)
            cut_failed(p, "hf_shrink_to_fit");
        look_again(p, "looking at a shrunk store", cells);
        cut_change(p, 1);
        cut_close(p);
    }
}

/* What the store shows that cut_make_broken has broken. */
uint64_t cut_cells_broken;

static bool save_or_put(const char *path, bool put, unsigned char *bytes, ssize_t *size)
{
    const int fd =
        open(path, put ? O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC : O_RDONLY | O_CLOEXEC, 0600);
    const ssize_t n = put ? pwrite(fd, bytes, (size_t)*size, 0) : pread(fd, bytes, 1 << 20, 0);
    const bool good = put ? n == *size : n > 0 && n < 1 << 20;
    *size = n;
    return fd >= 0 && close(fd) == 0 && good;
}

/* A store as a kill has left it, with commits in its log alone, that has lost both header slots. */
bool cut_make_broken(const char *path)
{
    static const char *const suffixes[] = {"", "-log0", "-log1"};
    static unsigned char saved[3][1 << 20];
    struct cut_player p = {.path = path, .rng = {5}};
    hf_options options = cut_options(HF_OPEN_EXISTING);
    struct cut_reader reader;
    ssize_t sizes[3];
    char name[900];
    if (!cut_make_store(path) || hf_open(path, &options, &p.store) != 0 ||
        !cut_reader_start(&p, &reader))
        return false;
    for (int i = 0; i < 3; i++) {
        hf_txn *txn = cut_begin(&p);
        cut_set_random(&p, txn);
        if (txn == NULL || hf_commit(txn) != 0)
            return false;
    }
    bool good = true;
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        good = good && save_or_put(name, false, saved[i], &sizes[i]);
    }
    cut_reader_end(&reader);
    if (!good || hf_sync(p.store) != 0 || !cut_cells_of(p.store, &cut_cells_broken) ||
        hf_close(p.store) != 0)
        return false;
    memset(saved[0], 0, HF__TABLE_OFFSET);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        good = good && save_or_put(name, true, saved[i], &sizes[i]);
    }
    return good && p.trouble == NULL;
}

void cut_run_repair(struct cut_player *p)
{
    hf_check_report report;
    if (hf_repair_file(p->path, NULL, &report) != 0)
        cut_failed(p, "hf_repair_file");
    p->mark.repair = CUT_REPAIRED;
    cut_marked(p);
}

/* ---- beside it ------------------------------------------------------------------------------- */

static void *commit_in_thread(void *context)
{
    cut_change(context, 2);
    return NULL;
}

/* In a thread of its own, since this one has a view; it waits for it, so that there is one order of events. */
static void commit_meanwhile(void *context)
{
    struct cut_player *p = context;
    pthread_t thread;
    if (p->meanwhile == 0)
        return;
    p->meanwhile--;
    p->rare[RARE_MEANWHILE]++;
    if (pthread_create(&thread, NULL, commit_in_thread, p) != 0)
        exit(2);
    pthread_join(thread, NULL);
}

static void take_snapshot(struct cut_player *p, const char *target, uint32_t method)
{
    hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
    hf_snapshot_report report = {0};
    if (p->trouble != NULL)
        return;
    options.method = method;
    options.flags = p->mark.target_was == CUT_NOTHING ? 0 : HF_SNAPSHOT_REPLACE;
    options.report = &report;
    struct cut_goal *goal = aim(p);
    p->meanwhile = MEANWHILE;
    cut_record_during(commit_meanwhile, p);
    const int code = hf_snapshot(p->store, target, &options);
    cut_record_during(NULL, NULL);
    *goal = as_committed(p, report.commit);
    p->rare[RARE_LAID] += report.laid_commits != 0;
    if (code == 0 && report.method != method)
        cut_failed(p, "a snapshot by another method");
    reached(p, code, "hf_snapshot");
}

void cut_run_snapshot(struct cut_player *p)
{
    struct cut_reader r;
    char target[800];
    beside(p, "t.hf", target);
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    cut_change(p, 2);
    take_snapshot(p, target, HF_SNAPSHOT_COPY);
    cut_change(p, 2);
    take_snapshot(p, target, HF_SNAPSHOT_CLONE);
    if (!cut_reader_start(p, &r))
        return;
    cut_change(p, 2); /* durable, and not in the file */
    cut_change(p, 1);
    take_snapshot(p, target, HF_SNAPSHOT_COPY_RANGE);
    cut_reader_end(&r);
    cut_durability(p, HF_LAZY);
    cut_change(p, 1);
    take_snapshot(p, target, HF_SNAPSHOT_CLONE); /* not of what isn't durable */
    cut_change(p, 1);
    cut_close(p);
}

void cut_run_save(struct cut_player *p)
{
    char target[800];
    struct cut_state state;
    hf_store *made = NULL;
    hf_options options = cut_options(HF_READ_ONLY);
    beside(p, "t.hf", target);
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    cut_change(p, 2);
    *aim(p) = as_committed(p, p->mark.attempted);
    reached(p, hf_save_as(p->store, target, 0), "hf_save_as");
    cut_change(p, 1);
    remove_target(p, target);
    const uint64_t cells = close_and_try(p, 0);
    uint64_t cells_saved;
    struct cut_goal *goal = aim(p);
    reached(p, hf_salvage(p->path, target, NULL, NULL), "hf_salvage");
    if (hf_open(target, &options, &made) != 0 || !cut_state_of(made, &state) ||
        !cut_cells_of(made, &cells_saved) || cells_saved != cells || hf_close(made) != 0)
        cut_failed(p, "looking at what was salvaged");
    *goal = (struct cut_goal){.plain = state.plain};
}

static int open_archive(const char *path)
{
    return hf__os->open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

/* Into its place, and synced only then: a cut may leave anything of it. */
static void archive_in_place(struct cut_player *p, const char *path)
{
    const int fd = open_archive(path);
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    options.threads = 1;
    if (fd < 0 || hf_archive_write(p->store, fd, &options, NULL) != 0 || hf__os->fsync(fd) != 0 ||
        hf__sync_directory_of(path) != 0)
        cut_failed(p, "an archive");
    hf__os->close(fd);
    p->trace->goals[++p->goals] = as_committed(p, p->mark.attempted);
    p->mark.archives = 1;
    cut_marked(p);
}

/* As the tool does it: it gets its name when it is synced. */
static void archive_as_tool(struct cut_player *p, const char *path, const char *since)
{
    char part[900];
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    options.threads = 1;
    options.since_archive = since;
    snprintf(part, sizeof part, "%s.part", path);
    const int fd = open_archive(part);
    if (fd < 0 || hf_archive_write(p->store, fd, &options, NULL) != 0 || hf__os->fsync(fd) != 0 ||
        cut_record_link(part, path) != 0 || hf__os->unlink(part) != 0 ||
        hf__sync_directory_of(path) != 0)
        cut_failed(p, "an increment");
    hf__os->close(fd);
    p->trace->goals[++p->goals] = as_committed(p, p->mark.attempted);
    p->mark.archives = 2;
    cut_marked(p);
}

void cut_run_archive(struct cut_player *p)
{
    char target[800], full[800], more[800];
    const char *const archives[] = {full, more};
    beside(p, "t.hf", target);
    beside(p, "a.full", full);
    beside(p, "a.more", more);
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    cut_change(p, 2);
    archive_in_place(p, full);
    cut_change(p, 2);
    archive_as_tool(p, more, full);
    cut_change(p, 1);
    const struct cut_goal restored = p->trace->goals[p->goals];
    *aim(p) = restored;
    reached(p, hf_restore(target, archives, 2, NULL, NULL), "hf_restore");
    cut_close(p);
}
