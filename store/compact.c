/* SPDX-License-Identifier: MIT */
/*
 * compact.c - hf_compact: a store built anew and swapped for the old one
 *
 *   recover and close  ->  hold alone  ->  check  ->  plan  ->  build  ->  check  ->  write, sync
 *                                                                         ->  rename  ->  sync directory
 *
 * The file is held by its ATTACH range without sidecars, as hf_remove does: clean, so nothing beside it
 * belongs to it, and what is later found beside the new file under its name belongs to nobody.
 *
 * Invariants
 *   C7  from the check to the rename the old file is clean, held exclusively, and not written
 *   C8  the rename comes after a successful fsync of the new file, and is the last thing that changes
 *       which store has the name; after it nothing is done by name
 *   C9  the new file's generation is that of the old one: logs are told apart as if nothing had happened
 *
 * docs/compaction.md has the argument.
 */
#include "compact.h"
#include "pages.h"

#include "base/os.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ROOM_MIN   ((uint64_t)64 << 20) /* the new segment may need more than the old one         */
#define SHOW_BYTES ((uint64_t)4 << 20)
#define TRIES_MAX  100
#define LARGE_PAGE_BYTES ((uint64_t)2 << 20)

int hf__compact_step(struct hf__compact *c, uint64_t amount)
{
    c->done = c->total - c->done < amount ? c->total : c->done + amount;
    if (c->options->on_progress == NULL || c->done - c->done_shown < SHOW_BYTES)
        return 0;
    c->done_shown = c->done;
    return c->options->on_progress(c->options->user, c->done, c->total) == 0
               ? 0
               : hf__fail_path(HF_ECANCELLED, 0, c->store->path, "compacting");
}

/* ---- holding --------------------------------------------------------------------------------- */

/* What a dead process left is undone or replayed. */
static int recover(const char *path)
{
    hf_store *store;
    int code = hf__open_alone(path, false, &store);
    return code == 0 ? hf_close(store) : code;
}

/* Alone, and clean. Between recovering and holding somebody may have come and died. */
static int hold(hf_store *store, struct hf__file_header *header)
{
    for (int tries = 0;; tries++) {
        int code = recover(store->path);
        if (code == 0)
            code = hf__attach_for_removal(store, 0);
        if (code != 0)
            return code;
        code = hf__header_read(store->fd, store->path, false, header);
        if (code == 0 && header->state == HF__STATE_CLEAN)
            return 0;
        hf__detach_unused(store);
        if (code != 0)
            return code;
        if (tries == TRIES_MAX)
            return hf__fail_path(HF_EBUSY, 0, store->path, "in use again and again");
    }
}

void *hf__compact_array(uint64_t count, uint64_t item_bytes)
{
    void *array;
    uint64_t bytes;
    if (__builtin_mul_overflow(count, item_bytes, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    if (bytes < LARGE_PAGE_BYTES)
        return malloc((size_t)bytes + 1);
    if (posix_memalign(&array, LARGE_PAGE_BYTES, (size_t)bytes) != 0)
        return NULL;
    (void)hf__os->madvise(array, (size_t)bytes, MADV_HUGEPAGE);
    return array;
}

static int map_old(struct hf__compact *c, const struct hf__file_header *header)
{
    hf_store *store = c->store;
    struct hf__segment_header segment;
    struct stat st;
    int code = hf__segment_header_read(store->fd, store->path, header, true, &segment);
    if (code != 0)
        return code;
    if (memcmp(&header->constants, &segment.constants, sizeof segment.constants) != 0)
        return hf__fail_path(HF_ECORRUPT, 0, store->path,
                             "header and segment are not of one store");
    if (hf__os->fstat(store->fd, &st) != 0)
        return hf__fail_os(errno, store->path, "fstat");
    if (st.st_nlink != 1)
        return hf__fail_path(HF_EOTHERPATH, 0, store->path, "the file has %llu names",
                             (unsigned long long)st.st_nlink);
    c->report.size_before_bytes = (uint64_t)st.st_size;
    store->constants = segment.constants;
    const uint64_t backed = hf__backed_bytes((uint64_t)st.st_size);
    const uint64_t size = segment.size_bytes < backed ? segment.size_bytes : backed;
    const uint64_t size_max = store->constants.size_max_bytes;
    const uint64_t want = 2 * segment.heap.used_end + ROOM_MIN;
    c->image_max_bytes = want < size_max ? want : size_max;
    code =
        hf__map_reserve(store, size > c->image_max_bytes ? size : c->image_max_bytes, size, false);
    if (code == 0)
        code = hf__map_file(store, false, true);
    if (c->image_max_bytes > store->size_max_bytes)
        c->image_max_bytes = store->size_max_bytes;
    store->seg.size_bytes = size;
    store->seg.salt = store->constants.salt;
    store->heap = hf__heap_over(store, &store->seg);
    store->heap.algorithm = hf__allocator_by_kind(store->constants.allocator);
    store->index_ops = hf__index_by_kind(store->constants.index);
    return code;
}

/* ---- checking -------------------------------------------------------------------------------- */

struct checking {
    struct hf__compact *c;
    const bool *stop; /* of a proof: another thread says so; atomic                                */
    char first[200]; /* what was found first */
};

static void on_finding(void *user, const hf_finding *finding)
{
    struct checking *checking = user;
    if (checking->first[0] == '\0')
        snprintf(checking->first, sizeof checking->first, "%s at %llu: %.120s", finding->rule,
                 (unsigned long long)finding->offset, finding->expected);
}

/* Cancels, too: what a check has done counts when it has ended. Only the thread that was called asks
 * whether to go on; what another proves is of no use when that one has failed. */
static int on_check(void *user, uint64_t done, uint64_t total)
{
    const struct checking *checking = user;
    const struct hf__compact *c = checking->c;
    (void)done;
    (void)total;
    if (checking->stop != NULL)
        return __atomic_load_n(checking->stop, __ATOMIC_RELAXED);
    return c->options->on_progress == NULL
               ? 0
               : c->options->on_progress(c->options->user, c->done, c->total);
}

/* Everything in a segment, or given the file's header every page of the old file. stop: NULL, or when to. */
static int check(struct hf__compact *c, struct hf__segment *seg, const struct hf__file_header *header,
                 const bool *stop)
{
    struct checking checking = {.c = c, .stop = stop};
    const hf_check_options options = {.on_finding = on_finding,
                                      .on_progress = on_check,
                                      .user = &checking,
                                      .flags = HF_CHECK_NO_POINTERS, /* they are made null        */
                                      .findings_max = 1};
    hf_verify_report report = {0};
    struct hf__table_truth truth;
    struct hf__check check;
    int code = 0;
    hf__check_init(&check, &options, 2 * hf__used_end(seg));
    if (header == NULL) {
        hf__check_segment(c->store, seg, &check);
    } else {
        code = hf__table_truth_cold(c->store, header, &truth);
        if (code != 0)
            return code;
        if (!truth.stale)
            code = hf__pages_check(c->store, c->store->fd, c->store->path, seg, &truth, &check,
                                   &report);
        hf__table_truth_free(&truth);
    }
    if (code != 0)
        return code;
    if (check.cancelled)
        return hf__fail_path(HF_ECANCELLED, 0, c->store->path, "compacting");
    if (check.report.findings != 0)
        return hf__fail_path(HF_ECORRUPT, 0, c->store->path, "%s%s",
                             seg == &c->image ? "the new store: " : "", checking.first);
    return 0;
}

/*
 * A check by a thread of its own, beside what doesn't lean on it: of the old file's pages, while the old
 * segment is checked, walked and copied (it is read as what may hold anything all the same, since a file
 * without a true page table is compacted, too); and of the new segment, while it is written: nothing changes it
 * any more. The new file gets its name when all have ended well.
 */
struct proof {
    struct hf__compact *c;
    struct hf__segment *seg;
    const struct hf__file_header *header;
    pthread_t thread;
    bool runs;
    bool stop; /* what comes of it counts no more; atomic                                          */
    int code;
    hf_error failure;
};

static void *prove(void *argument)
{
    struct proof *proof = argument;
    proof->code = check(proof->c, proof->seg, proof->header, &proof->stop);
    if (proof->code != 0)
        proof->failure = *hf_last_error();
    return NULL;
}

static void proof_begin(struct proof *proof, struct hf__compact *c, struct hf__segment *seg,
                        const struct hf__file_header *header)
{
    *proof = (struct proof){.c = c, .seg = seg, .header = header};
    proof->runs = hf__thread_start(&proof->thread, prove, proof) == 0;
    if (!proof->runs)
        (void)prove(proof);
}

/* What it came to, unless something failed before. */
static int proof_end(struct proof *proof, int code)
{
    if (code != 0)
        __atomic_store_n(&proof->stop, true, __ATOMIC_RELAXED);
    if (proof->runs)
        pthread_join(proof->thread, NULL);
    proof->runs = false;
    return code != 0 || proof->code == 0 ? code : hf__fail_again(&proof->failure);
}

/* ---- the swap -------------------------------------------------------------------------------- */

struct swap {
    struct hf__compact *c;
    const struct hf__file_header *old;
    struct proof *proof;
};

/* Both slots, twice: as a new file's, then with the old one's generation. */
static int write_headers(const struct swap *swap, int fd, const char *path)
{
    const struct hf__segment_header *segment = hf__segment_header(&swap->c->image);
    struct hf__file_header header;
    int code = hf__header_write_first(fd, path, &segment->constants, segment->size_bytes,
                                      segment->heap.used_end);
    if (code == 0)
        code = hf__header_read(fd, path, false, &header);
    header.generation = swap->old->generation;
    for (int i = 0; code == 0 && i < 2; i++)
        code = hf__header_write(fd, path, &header);
    return code;
}

static int write_new(int fd, const char *path, const void *what)
{
    const struct swap *swap = what;
    int code = hf__compact_write(swap->c, fd, path);
    if (code == 0)
        code = write_headers(swap, fd, path);
    return proof_end(swap->proof, code);
}

/* Checks the old segment and makes the new one. */
static int rebuild(struct hf__compact *c)
{
    int code = check(c, &c->store->seg, NULL, NULL);
    if (code == 0)
        code = hf__compact_step(c, hf__used_end(&c->store->seg));
    if (code == 0)
        code = hf__compact_plan(c);
    return code == 0 ? hf__compact_build(c) : code;
}

static int compact(struct hf__compact *c, const struct hf__file_header *header)
{
    struct proof proof;
    const struct swap swap = {c, header, &proof};
    int code = map_old(c, header);
    if (code != 0)
        return code;
    c->total = 4 * hf__used_end(&c->store->seg);
    proof_begin(&proof, c, &c->store->seg, header);
    code = proof_end(&proof, rebuild(c));
    if (code != 0)
        return code;
    proof_begin(&proof, c, &c->image, NULL);
    if ((c->options->flags & HF_COMPACT_DRY_RUN) == 0)
        code = hf__replace_with(c->store->path, c->store->fd, write_new, &swap);
    return proof_end(&proof, code);
}

static bool options_ok(const hf_compact_options *options)
{
    uint64_t reserved = options->reserved32;
    for (size_t i = 0; i < sizeof options->reserved / sizeof *options->reserved; i++)
        reserved |= options->reserved[i];
    return reserved == 0 &&
           (options->flags & ~(uint32_t)(HF_COMPACT_DRY_RUN | HF_COMPACT_DROP_UNREACHABLE)) == 0;
}

int hf_compact(const char *path, const hf_compact_options *options)
{
    static const hf_compact_options defaults = HF_COMPACT_OPTIONS_INIT;
    static const hf_options store_defaults = HF_OPTIONS_INIT;
    struct hf__compact c = {.options = options == NULL ? &defaults : options};
    const uint64_t begun = hf__os->now_ns();
    struct hf__file_header header;
    if (path == NULL || !options_ok(c.options))
        return hf__fail(HF_EINVAL, "hf_compact");
    int code = hf__store_new(&c.store, HF__BACKING_FILE, &store_defaults);
    if (code != 0)
        return code;
    c.store->role = HF__ROLE_ALONE;
    c.store->mode = HF_COPY_ON_WRITE; /* nothing writes the file through it */
    code = hf__paths_set(c.store, path);
    if (code == 0)
        code = hold(c.store, &header);
    if (code != 0)
        goto out_free;
    code = compact(&c, &header);
    hf_error failure = *hf_last_error();
    hf__compact_free(&c);
    hf__detach_unused(c.store);
    hf__map_release(c.store);
    if (code != 0)
        hf__fail_again(&failure);
    c.report.time_ns = hf__os->now_ns() - begun;
    if (code == 0 && c.options->report != NULL)
        *c.options->report = c.report;
out_free:
    hf__store_free(c.store);
    return code;
}
