/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - hf_snapshot: one commit of a live store, as a new store
 *
 *   hold      a view pins what the data file shows (commit c); k = c, or what is durable beyond it
 *   copy      the file's bytes, page table included (or the view's memory), then records c+1 .. k over them
 *   release   the view ends: applying goes on
 *   finish    pages compared with their entries, constants of its own, entries of touched pages computed,
 *             headers; then synced and named (create.c)
 *
 * Invariants (docs/snapshots.md has the argument)
 *   N1  nothing of the source below c's used end changes while the view is held, nor a window of a commit
 *       up to k at all
 *   N2  an entry is computed only for a page that a commit since the base touched, and for page 0; every
 *       other page keeps the one that came with it, so rot doesn't pass for truth
 *   N3  page 0 is compared before its constants change
 */
#include "snapshot.h"

#include "engine.h"
#include "pages.h"
#include "store.h"

#include "base/bug.h"
#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FLAGS_ALL                                                                                  \
    (HF_SNAPSHOT_REPLACE | HF_SNAPSHOT_ACCEPT_ROT | HF_SNAPSHOT_VERIFY | HF_SNAPSHOT_UNVERIFIED)
#define AHEAD_BYTES ((size_t)1 << 18)

struct job {
    hf_store *store;
    const hf_snapshot_options *options;
    struct hf__check check;
    hf_check_options check_options;
    hf_snapshot_report report;
    struct hf__copy copy;
    struct hf__table_truth truth;  /* its touched pages: those whose entries are computed         */
    hf_view *view;
    bool begun;                    /* the view is to be ended                                    */
    bool from_memory;
    bool own;                      /* the view is this thread's transaction's                    */
    bool as_shown;                 /* k = c, whatever is durable beyond                           */
    uint64_t shown;                /* c                                                          */
};

/* ---- hold ------------------------------------------------------------------------------------ */

/* Does memory show something else than the file's bytes? */
static int only_in_memory(hf_store *store, const hf_view *view, bool *out)
{
    struct hf__file_header header;
    *out = store->backing != HF__BACKING_FILE || store->mode == HF_COPY_ON_WRITE ||
           view->replay != NULL;
    if (*out || store->role != HF__ROLE_FROZEN)
        return 0;
    int code = hf__header_read(store->fd, store->path, true, &header);
    *out = header.state != HF__STATE_CLEAN; /* what was left behind is undone or laid over memory */
    return code;
}

/* N1 to N4: which commit, how far the copying goes, and what the table is true of. */
static int decide(struct job *job)
{
    hf_store *store = job->store;
    const struct hf__segment_header *segment = hf__segment_header(job->view->seg);
    uint64_t end = hf__used_end(job->view->seg);
    struct hf__log_tail tail;
    job->shown = job->report.commit = segment->commit;
    int code = only_in_memory(store, job->view, &job->from_memory);
    job->from_memory |= job->own;
    if (code != 0)
        return code;
    if (hf__log_is_live(store)) {
        uint64_t durable = hf__durable(store);
        hf__tail_read(store, &tail); /* after it: of a state that is no older */
        if (HF__BUG(SNAPSHOT_OF_APPENDED))
            durable = tail.appended;
        if (tail.epoch != 0 && durable > job->shown && !job->as_shown)
            job->report.commit = durable;
        if (tail.epoch != 0 && tail.fresh_end > end)
            end = tail.fresh_end;
    }
    if (job->report.durable > job->report.commit)
        job->report.durable = job->report.commit; /* the words weren't worth anything */
    job->copy.end = hf__whole_pages(end);
    if (store->backing == HF__BACKING_FILE)
        return hf__table_truth(store, job->view, job->report.commit, &job->truth);
    job->truth.stale = true;
    return 0;
}

static bool wants_verifying(const struct job *job)
{
    return !job->truth.stale && (job->options->flags & HF_SNAPSHOT_UNVERIFIED) == 0 &&
           (job->report.method != HF_SNAPSHOT_CLONE ||
            (job->options->flags & HF_SNAPSHOT_VERIFY) != 0);
}

/* ---- copy ------------------------------------------------------------------------------------ */

static int lay_record(struct job *job, const struct hf__record *record)
{
    const struct hf__record_range *ranges = hf__record_ranges(record);
    const unsigned char *data =
        (const unsigned char *)record + hf__record_data(record->range_count);
    for (uint64_t i = 0; i < record->range_count; i++) {
        const uint64_t size = ranges[i].size_bytes;
        if (hf__segment_write(job->copy.fd, data, size, ranges[i].offset) != 0)
            return hf__fail_os(errno, job->copy.path, "write");
        job->report.moved_bytes += size;
        data += size;
    }
    job->report.laid_commits++;
    return 0;
}

/* From where the front stands, or from the base. */
static int lay_from(struct job *job, const struct hf__log_tail *tail)
{
    hf_store *store = job->store;
    struct hf__log_cursor cursor = {.bytes = NULL};
    struct hf__log_front front;
    int found = 1, code = hf__log_open(store, false, store->role != HF__ROLE_WRITER);
    hf__front_in(store, tail, &front);
    if (front.applied > job->shown)
        front = hf__front_at_base(tail);
    hf__cursor_set(&cursor, store, (int)(tail->epoch % 2), tail->salt, front.applied, front.chain,
                   front.end);
    cursor.ahead = AHEAD_BYTES; /* up to k it isn't written any more */
    job->report.laid_commits = 0;
    while (code == 0 && cursor.commit < job->report.commit) {
        found = hf__cursor_next(&cursor);
        if (found != 1)
            code = found < 0 ? found : hf__corrupt("log.chain", cursor.end);
        else if (cursor.commit > job->shown)
            code = lay_record(job, hf__cursor_record(&cursor));
    }
    free(cursor.bytes);
    return code;
}

/* N5. A log that failed may be renewed meanwhile: then its records stand in the other file. */
static int lay_records(struct job *job)
{
    struct hf__log_tail tail, now;
    int code = 0;
    if (job->report.commit == job->shown)
        return 0;
    hf__tail_read(job->store, &now);
    do {
        tail = now;
        code = lay_from(job, &tail);
        hf__tail_read(job->store, &now);
    } while (code != 0 && now.epoch != tail.epoch);
    return code;
}

static int verify(struct job *job, int fd, const char *path, struct hf__segment *seg)
{
    hf_verify_report report = {0};
    int code = hf__pages_check(job->store, fd, path, seg, &job->truth, &job->check, &report);
    const uint64_t rotten = report.pages_rotten + report.table_rotten;
    job->report.pages_verified = report.pages_compared;
    job->report.pages_rotten = rotten;
    if (code == 0 && job->check.cancelled)
        return hf__fail_path(HF_ECANCELLED, 0, job->copy.path, "comparing pages");
    if (code == 0 && rotten != 0 && (job->options->flags & HF_SNAPSHOT_ACCEPT_ROT) == 0)
        return hf__fail_path(HF_ECORRUPT, 0, job->store->path,
                             "%llu of its pages have rotted: they would be copied",
                             (unsigned long long)rotten);
    return code;
}

static int copy_memory(struct job *job)
{
    hf_store *store = job->store;
    const uint64_t used = hf__used_end(job->view->seg);
    int code = 0;
    job->report.method = HF_SNAPSHOT_MEMORY;
    if (job->options->method != HF_SNAPSHOT_ANY)
        return hf__fail_path(HF_ENOTSUP, 0, job->copy.path,
                             "this handle shows what isn't in a file: it is copied from memory");
    if (wants_verifying(job))
        code = verify(job, store->fd, store->path, job->view->seg);
    if (code == 0 && hf__os->ftruncate(job->copy.fd, (off_t)hf__file_bytes(job->copy.end)) != 0)
        code = hf__fail_os(errno, job->copy.path, "ftruncate");
    if (code == 0)
        code = hf__copy_memory(&job->copy, job->view->seg->base, 0, used);
    if (code == 0 && !job->truth.stale)
        code = hf__copy_table(&job->copy);
    if (code == 0 && !job->truth.stale)
        code = hf__copy_differing(&job->copy, job->view->seg->base, used, store->constants.salt,
                                  job->report.commit, &job->truth.touched);
    /* Of a page with a used end more or fewer bytes count; pages beyond had no entries. */
    const uint64_t base_end = job->truth.used_end;
    if (base_end != used)
        hf__touched_add(&job->truth.touched, base_end < used ? base_end : used - 1, used,
                        job->report.commit);
    return code;
}

/* N1 to N6. */
static int copy_held(struct job *job)
{
    const uint64_t from = hf__os->now_ns();
    int code = hf__view_borrow(job->store, &job->view, &job->begun);
    if (code != 0)
        return code;
    code = decide(job);
    const uint64_t compared = job->truth.stale ? 0 : job->truth.used_end;
    if (HF__BUG(SNAPSHOT_NOT_HELD) && job->begun) {
        hf_view_end(job->view);
        job->begun = false;
    }
    const bool compares = (job->options->flags & HF_SNAPSHOT_UNVERIFIED) == 0;
    job->check.total = hf__file_bytes(job->copy.end) + (compares ? compared : 0);
    if (code == 0)
        code = job->from_memory ? copy_memory(job)
                                : hf__copy_file(&job->copy, job->options->method);
    if (code == 0)
        code = lay_records(job);
    if (job->begun) {
        hf_error failure = *hf_last_error();
        hf_view_end(job->view);
        if (code != 0)
            hf__fail_again(&failure);
    }
    job->report.held_ns = hf__os->now_ns() - from;
    return code;
}

/* ---- finish ---------------------------------------------------------------------------------- */

/* The copy's segment header, which must be that of commit k: what comes is computed from it. */
static int read_segment(const struct job *job, struct hf__segment_header *out)
{
    const struct hf__constants *constants = &job->store->constants;
    if (hf__segment_read(job->copy.fd, out, sizeof *out, 0) != (ssize_t)sizeof *out)
        return hf__fail_os(errno, job->copy.path, "read");
    if (out->magic != HF__SEGMENT_MAGIC || !hf__constants_ok(&out->constants) ||
        memcmp(out->constants.uuid, constants->uuid, sizeof constants->uuid) != 0)
        return hf__corrupt("segment.constants", offsetof(struct hf__segment_header, constants));
    if (out->commit != job->report.commit || out->heap.used_end < HF__FIRST_BLOCK ||
        out->heap.used_end > out->size_bytes || out->size_bytes > out->constants.size_max_bytes)
        return hf__corrupt("segment.size", offsetof(struct hf__segment_header, size_bytes));
    return 0;
}

/* N7: a store of its own, cut at its used end. Holes inside must not become SIGBUS when they are written
 * on a full disk: those that nobody knows of get blocks. */
static int become_a_store(struct job *job, struct hf__segment_header *segment)
{
    static const unsigned char zeros[HF__PAGE_BYTES];
    const int fd = job->copy.fd;
    const char *path = job->copy.path;
    const uint64_t used = segment->heap.used_end, size = hf__whole_pages(used);
    hf__random_bytes(segment->constants.uuid, sizeof segment->constants.uuid);
    segment->constants.created_ns = hf__os->wall_ns();
    if (job->store->backing != HF__BACKING_FILE)
        segment->constants.engine = HF_ENGINE_LOG; /* what files have by default */
    segment->constants.size_max_bytes = hf__whole_pages(segment->constants.size_max_bytes);
    hf__constants_seal(&segment->constants);
    segment->size_bytes = size;
    if (hf__segment_write(fd, segment, sizeof *segment, 0) != 0 ||
        (size > used && hf__segment_write(fd, zeros, size - used, used) != 0))
        return hf__fail_os(errno, path, "write");
    if (hf__os->ftruncate(fd, (off_t)hf__file_bytes(size)) != 0)
        return hf__fail_os(errno, path, "ftruncate");
    if (hf__space_allocate(fd, segment, size) != 0)
        return hf__fail_os(errno, path, "allocating");
    job->report.file_bytes = hf__file_bytes(size);
    return 0;
}

/* N8 and the headers of N10. */
static int seal(struct job *job, const struct hf__segment_header *segment)
{
    const uint64_t salt = segment->constants.salt, used = segment->heap.used_end;
    const int fd = job->copy.fd;
    struct hf__touched *touched = &job->truth.touched;
    int code;
    if (job->truth.stale) {
        code = hf__pages_write_all(fd, job->copy.path, salt, used, segment->commit);
    } else {
        if (HF__BUG(SNAPSHOT_TABLE_AS_FOUND))
            touched->count = 0;
        hf__touched_add(touched, 0, sizeof *segment, segment->commit);
        code = hf__touched_sort(touched);
        if (code == 0)
            code = hf__pages_write(fd, job->copy.path, salt, used, touched);
    }
    return code == 0 ? hf__header_write_first(fd, job->copy.path, &segment->constants,
                                              segment->size_bytes, used)
                     : code;
}

static int write_snapshot(int fd, const char *path, const void *what)
{
    struct job *job = *(struct job *const *)what;
    struct hf__segment_header segment;
    job->copy = (struct hf__copy){.from_fd = job->store->fd,
                                  .fd = fd,
                                  .from_path = job->store->path,
                                  .path = path,
                                  .check = &job->check,
                                  .report = &job->report};
    int code = copy_held(job);
    /* A hint: the disk works while the pages are compared, and the sync finds little left. */
    if (code == 0 && job->report.moved_bytes != 0)
        (void)hf__os->write_back(fd, 0, (off_t)hf__file_bytes(job->copy.end));
    if (code == 0 && !job->from_memory && wants_verifying(job))
        code = verify(job, fd, path, NULL);
    if (code == 0)
        code = read_segment(job, &segment);
    if (code == 0)
        code = become_a_store(job, &segment);
    if (code == 0)
        code = seal(job, &segment);
    job->report.table_stale = job->store->backing == HF__BACKING_FILE && job->truth.stale;
    hf__table_truth_free(&job->truth);
    return code;
}

/* ---- hf_snapshot ----------------------------------------------------------------------------- */

/* A store that has the name is held alone until another has it. */
static int replace(struct job *job, const char *to_path)
{
    hf_store *old;
    int code = hf__removal_begin(to_path, &old);
    if (code == HF_ENOENT)
        return hf__create_with(to_path, job->options->permissions, write_snapshot, &job);
    if (code != 0)
        return code;
    code = hf__create_over(old, job->options->permissions, write_snapshot, &job);
    hf_error failure = *hf_last_error();
    hf__removal_end(old);
    if (code != 0)
        hf__fail_again(&failure);
    return code;
}

static int judge_options(hf_store *store, const char *to_path, const hf_snapshot_options *options)
{
    if (store == NULL || to_path == NULL || options->method > HF_SNAPSHOT_COPY ||
        (options->flags & ~FLAGS_ALL) != 0 || options->permissions > 07777)
        return hf__fail(HF_EINVAL, "hf_snapshot");
    if ((options->flags & HF_SNAPSHOT_VERIFY) != 0 &&
        (options->flags & HF_SNAPSHOT_UNVERIFIED) != 0)
        return hf__fail(HF_EINVAL, "hf_snapshot: to compare pages, or not?");
    if (store->forked)
        return hf__fail(HF_EFORKED, "open the store anew in the child");
    return 0;
}

static bool in_transaction(const hf_store *store)
{
    return __atomic_load_n(&store->writer_thread, __ATOMIC_RELAXED) == hf__thread_id();
}

int hf_snapshot(hf_store *store, const char *to_path, const hf_snapshot_options *options)
{
    static const hf_snapshot_options defaults = HF_SNAPSHOT_OPTIONS_INIT;
    if (options == NULL)
        options = &defaults;
    int code = judge_options(store, to_path, options);
    if (code == 0 && in_transaction(store))
        code = hf__fail_path(HF_ENESTED, 0, store->path, "end the transaction first");
    return code == 0 ? hf__snapshot(store, to_path, options, false) : code;
}

int hf__snapshot(hf_store *store, const char *to_path, const hf_snapshot_options *options,
                 bool as_shown)
{
    struct job job = {.store = store,
                      .options = options,
                      .own = in_transaction(store),
                      .as_shown = as_shown};
    struct job *const what = &job;
    int code;
    const uint64_t from = hf__os->now_ns();
    job.check_options = (hf_check_options){.on_finding = options->on_finding,
                                           .on_progress = options->on_progress,
                                           .user = options->user};
    hf__check_init(&job.check, &job.check_options, 0);
    job.check.findings_max = UINT64_MAX;
    if (hf__log_is_live(store))
        job.report.durable = hf__durable(store);
    code = (options->flags & HF_SNAPSHOT_REPLACE) != 0
               ? replace(&job, to_path)
               : hf__create_with(to_path, options->permissions, write_snapshot, &what);
    job.report.total_ns = hf__os->now_ns() - from;
    if (code == 0 && options->report != NULL)
        *options->report = job.report;
    return code;
}
