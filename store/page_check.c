/* SPDX-License-Identifier: MIT */
/*
 * page_check.c - are the pages what the page table says?
 *
 * What is compared is the file, read by several threads, with the table, which is true of the log's base
 * (docs/pages.md): pages that the log's records touch are left out, and counted. Rotten pages are
 * collected, and told with the objects that lie in them: one walk over the blocks finds those.
 *
 * Invariants
 *   V1  a page is called rotten only if its entry is true of the very bytes that were read: it was not
 *       touched since the base, and a view, or a lock on the file, keeps the base's bytes in place
 *   V2  nothing is written
 */
#include "engine.h"
#include "pages.h"
#include "store.h"

#include "base/check.h"
#include "base/os.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 8u
#define STRETCH_PAGES 2048u /* what a thread takes at a time                                      */
#define CHUNK_PAGES 64u
#define ROTTEN_MAX 4096u    /* pages that are told of                                             */

enum rot { ROT_PAGE, ROT_SECTOR, ROT_ENTRY };

struct rotten {
    uint64_t page, commit;
    enum rot what;
};

struct job {
    const struct hf__table_truth *truth;
    int fd;
    const char *path;
    uint64_t salt, end;      /* pages to look at: [0, end)                                       */
    uint64_t next;           /* not taken yet; atomic                                            */
    pthread_mutex_t mutex;   /* of what follows                                                  */
    struct hf__check *check;
    hf_verify_report *report;
    struct rotten *rotten;
    size_t rotten_count;
    int code;
    hf_error failure;
};

/* ---- comparing ------------------------------------------------------------------------------- */

static void found(struct job *job, enum rot what, uint64_t page, uint64_t commit)
{
    pthread_mutex_lock(&job->mutex);
    if (what == ROT_PAGE)
        job->report->pages_rotten++;
    else
        job->report->table_rotten++;
    if (job->rotten_count < ROTTEN_MAX)
        job->rotten[job->rotten_count++] = (struct rotten){page, commit, what};
    pthread_mutex_unlock(&job->mutex);
}

static void failed(struct job *job, int code)
{
    pthread_mutex_lock(&job->mutex);
    if (job->code == 0) {
        job->code = code;
        job->failure = *hf_last_error();
    }
    pthread_mutex_unlock(&job->mutex);
}

static bool touches(const struct job *job, uint64_t from, uint64_t to)
{
    for (uint64_t page = from; page < to; page++)
        if (hf__touched_has(&job->truth->touched, page))
            return true;
    return false;
}

/* A sector with a wrong check is read again: it may be in the midst of being written. One with entries
 * that are not up to date may even stay torn until a recovery; its other entries count (T2). */
static int read_sector(struct job *job, uint64_t page, struct hf__sector *sector)
{
    int code = hf__sector_read_steady(job->fd, job->path, job->salt, page, sector);
    if (code != 0 || sector->sound)
        return code;
    if (!touches(job, sector->first_page, sector->first_page + sector->pages) &&
        !hf__sector_half_said(sector))
        found(job, ROT_SECTOR, sector->first_page, 0);
    else
        sector->sound = true;
    return 0;
}

static void compare(struct job *job, const struct hf__sector *sector, uint64_t page,
                    const unsigned char *bytes, uint64_t *compared)
{
    if (hf__touched_has(&job->truth->touched, page) || !sector->sound)
        return;
    const struct hf__page_entry *entry = &sector->entries.entries[page - sector->first_page];
    const uint64_t used = hf__page_bytes_used(page, job->truth->used_end);
    if (hf__entry_is_hole(entry))
        return;
    ++*compared;
    if (entry->checksum == 0)
        found(job, ROT_ENTRY, page, 0);
    else if (entry->checksum != hf__page_checksum(bytes, used, job->salt, page))
        found(job, ROT_PAGE, page, entry->commit);
}

static int compare_stretch(struct job *job, uint64_t from, uint64_t to, unsigned char *bytes,
                           uint64_t *compared)
{
    struct hf__sector sector = {.pages = 0};
    for (uint64_t page = from; page < to;) {
        const uint64_t count = to - page < CHUNK_PAGES ? to - page : CHUNK_PAGES;
        const size_t size = (size_t)count * HF__PAGE_BYTES;
        ssize_t n = hf__segment_read(job->fd, bytes, size, page * HF__PAGE_BYTES);
        if (n < 0)
            return hf__fail_os(errno, job->path, "read");
        memset(bytes + n, 0, size - (size_t)n);
        for (uint64_t i = 0; i < count; i++, page++) {
            if (page - sector.first_page >= sector.pages || sector.pages == 0) {
                int code = read_sector(job, page, &sector);
                if (code != 0)
                    return code;
            }
            compare(job, &sector, page, bytes + i * HF__PAGE_BYTES, compared);
        }
    }
    return 0;
}

static void *work(void *argument)
{
    struct job *job = argument;
    unsigned char *bytes = malloc((size_t)CHUNK_PAGES * HF__PAGE_BYTES);
    if (bytes == NULL) {
        failed(job, hf__fail(HF_ENOMEM, "reading pages"));
        return NULL;
    }
    for (;;) {
        uint64_t compared = 0;
        const uint64_t from = __atomic_fetch_add(&job->next, STRETCH_PAGES, __ATOMIC_RELAXED);
        if (from >= job->end)
            break;
        const uint64_t to = from + STRETCH_PAGES < job->end ? from + STRETCH_PAGES : job->end;
        int code = compare_stretch(job, from, to, bytes, &compared);
        if (code != 0)
            failed(job, code);
        pthread_mutex_lock(&job->mutex);
        job->report->pages_compared += compared;
        hf__check_step(job->check, (to - from) * HF__PAGE_BYTES);
        const bool stop = job->code != 0 || job->check->cancelled;
        pthread_mutex_unlock(&job->mutex);
        if (stop)
            break;
    }
    free(bytes);
    return NULL;
}

static void work_together(struct job *job)
{
    pthread_t threads[THREADS_MAX];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const uint64_t stretches = (job->end + STRETCH_PAGES - 1) / STRETCH_PAGES;
    uint64_t wanted = cores < 1 ? 1 : (uint64_t)cores;
    uint32_t started = 0;
    wanted = wanted < stretches ? wanted : stretches;
    wanted = wanted < THREADS_MAX ? wanted : THREADS_MAX;
    while (started + 1 < wanted && hf__thread_start(&threads[started], work, job) == 0)
        started++;
    job->report->threads = started + 1;
    (void)work(job);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

/* ---- telling --------------------------------------------------------------------------------- */

struct lies {
    char text[160];
    size_t length;
    uint32_t more;
};

static void add_text(struct lies *lies, const char *text)
{
    const char *comma = lies->length == 0 ? "" : ", ";
    if (lies->length + strlen(text) + 2 >= sizeof lies->text)
        lies->more++;
    else
        lies->length += (size_t)snprintf(lies->text + lies->length,
                                         sizeof lies->text - lies->length, "%s%s", comma, text);
}

static void add_block(const hf_store *store, struct hf__segment *seg,
                      const struct hf__block_info *block, struct lies *lies)
{
    struct hf__object object;
    hf_object_info info;
    char text[80];
    if (block->kind == HF__BLOCK_FREE)
        return;
    if (block->kind != HF__BLOCK_OBJECT) {
        add_text(lies, block->kind == HF__BLOCK_RAW ? "memory of hf_alloc"
                                                    : "an index, the types or the allocator");
        return;
    }
    if (hf__object_of_block(store, seg, block, &object) != 0 || !hf__object_name_ok(seg, &object)) {
        add_text(lies, "an object whose name can't be read");
        return;
    }
    hf__object_info_fill(seg, &object, &info);
    if (info.name != NULL)
        snprintf(text, sizeof text, "'%.60s'", info.name);
    else
        snprintf(text, sizeof text, "an object of type '%.50s'", info.type_name);
    add_text(lies, text);
}

static void tell(struct job *job, const struct rotten *rotten, const struct lies *lies)
{
    unsigned slot;
    uint64_t number;
    if (rotten->what == ROT_SECTOR)
        hf__finding(job->check, "page.table", hf__table_sector(rotten->page, &slot, &number),
                    "a sound sector of the page table");
    else if (rotten->what == ROT_ENTRY)
        hf__finding(job->check, "page.table", hf__table_sector(rotten->page, &slot, &number),
                    "an entry for page %llu", (unsigned long long)rotten->page);
    else
        hf__finding(job->check, "page.checksum", rotten->page * HF__PAGE_BYTES,
                    "the page as commit %llu left it; here lies: %s%s",
                    (unsigned long long)rotten->commit,
                    lies->length == 0 ? "nothing that is in use" : lies->text,
                    lies->more != 0 ? ", and more" : "");
}

static int by_page(const void *a, const void *b)
{
    const struct rotten *x = a, *y = b;
    return (x->page > y->page) - (x->page < y->page);
}

/* Blocks come in the order of their addresses, and so do the pages. */
static void tell_all(struct job *job, const hf_store *store, struct hf__segment *seg)
{
    struct lies *lies = calloc(job->rotten_count + 1, sizeof *lies);
    struct hf__heap heap = hf__heap_over(store, seg);
    struct hf__block_info block;
    uint64_t position = 0;
    size_t i = 0;
    qsort(job->rotten, job->rotten_count, sizeof *job->rotten, by_page);
    /* A walk that a damaged header ends tells what it met until then. */
    while (lies != NULL && seg->base != NULL && i < job->rotten_count && heap.algorithm != NULL &&
           hf__heap_next(&heap, &position, &block) == 1) {
        const uint64_t from = block.payload / HF__PAGE_BYTES;
        const uint64_t to = (block.payload + block.usable_bytes - 1) / HF__PAGE_BYTES;
        while (i < job->rotten_count && job->rotten[i].page < from)
            i++;
        for (size_t k = i; k < job->rotten_count && job->rotten[k].page <= to; k++)
            add_block(store, seg, &block, &lies[k]);
    }
    static const struct lies none;
    for (i = 0; i < job->rotten_count; i++)
        tell(job, &job->rotten[i], lies == NULL ? &none : &lies[i]);
    free(lies);
}

/* The view is of a later commit, perhaps, but the page hasn't changed since. */
static void tell_in_view(struct job *job, hf_store *store)
{
    struct hf__segment nothing = {.base = NULL};
    hf_view *view;
    bool begun;
    if (hf__view_borrow(store, &view, &begun) != 0) {
        tell_all(job, store, &nothing);
        return;
    }
    tell_all(job, store, view->seg);
    if (begun)
        hf_view_end(view);
}

int hf__pages_check(hf_store *store, int fd, const char *path, struct hf__segment *seg,
                    const struct hf__table_truth *truth, struct hf__check *check,
                    hf_verify_report *report)
{
    struct job job = {.truth = truth,
                      .fd = fd,
                      .path = path,
                      .salt = store->constants.salt,
                      .end = (truth->used_end + HF__PAGE_BYTES - 1) / HF__PAGE_BYTES,
                      .mutex = PTHREAD_MUTEX_INITIALIZER,
                      .check = check,
                      .report = report};
    job.rotten = malloc(ROTTEN_MAX * sizeof *job.rotten);
    if (job.rotten == NULL)
        return hf__fail(HF_ENOMEM, "comparing pages");
    for (size_t i = 0; i < truth->touched.count; i++)
        report->pages_newer += truth->touched.runs[i].end - truth->touched.runs[i].first;
    work_together(&job);
    if (job.code == 0 && job.rotten_count != 0 && seg != NULL)
        tell_all(&job, store, seg);
    else if (job.code == 0 && job.rotten_count != 0)
        tell_in_view(&job, store);
    free(job.rotten);
    pthread_mutex_destroy(&job.mutex);
    return job.code == 0 ? 0 : hf__fail_again(&job.failure);
}

/* ---- of what the table is true --------------------------------------------------------------- */

void hf__table_truth_free(struct hf__table_truth *truth)
{
    hf__touched_free(&truth->touched);
}

/* The used end of the commit that a view shows. A transaction may have moved its own: then all of the commit
 * before it is in the file (if not, nobody asks), and nobody else writes. */
static int used_end_shown(hf_store *store, const hf_view *view, uint64_t *out)
{
    struct hf__segment_header segment = *hf__segment_header(view->seg);
    if (store->txn.active && view == hf_txn_view(&store->txn) &&
        hf__segment_read(store->fd, &segment, sizeof segment, 0) != (ssize_t)sizeof segment)
        return hf__fail_os(errno, store->path, "read");
    *out = segment.heap.used_end;
    return 0;
}

static int truth_of_log(hf_store *store, const hf_view *view, uint64_t commit,
                        struct hf__table_truth *out)
{
    const bool own = store->txn.active && view == hf_txn_view(&store->txn);
    const struct hf__segment_header *segment = hf__segment_header(view->seg);
    struct hf__log_tail tail;
    int code;
    do {
        hf__tail_read(store, &tail);
        if (tail.epoch == 0 || tail.base >= commit) {
            /* The view keeps the base from moving past it. */
            hf__touched_init(&out->touched, 0);
            return used_end_shown(store, view, &out->used_end);
        }
        /* A writer's descriptors are for writing, too, whoever opens them first. */
        code = hf__log_open(store, false, store->role != HF__ROLE_WRITER);
        if (code == 0)
            code = hf__touched_by_log(store, commit, &out->touched);
        if (code == 0) {
            /* Above what the view uses a checkpoint may have let a window write since. */
            const uint64_t used_end = segment->heap.used_end, first = out->touched.used_first;
            out->used_end = first < used_end || own ? first : used_end;
            return 0;
        }
        struct hf__log_tail now;
        hf__tail_read(store, &now);
        if (now.epoch == tail.epoch)
            return code;
    } while (true); /* the log was switched while it was read */
}

int hf__table_truth(hf_store *store, const hf_view *view, uint64_t commit,
                    struct hf__table_truth *out)
{
    struct hf__file_header header;
    memset(out, 0, sizeof *out);
    int code = hf__header_read(store->fd, store->path, true, &header);
    if (code != 0)
        return code;
    out->stale = header.table_state == HF__TABLE_STALE;
    if (out->stale)
        return 0;
    if (hf__log_is_live(store))
        return truth_of_log(store, view, commit, out);
    return hf__table_truth_cold(store, &header, out);
}

/* Nobody writes to the file: what its header says counts. */
int hf__table_truth_cold(hf_store *store, const struct hf__file_header *header,
                         struct hf__table_truth *out)
{
    memset(out, 0, sizeof *out);
    out->stale = header->table_state == HF__TABLE_STALE;
    if (out->stale)
        return 0;
    if (header->state >= HF__STATE_LOGGED)
        return hf__touched_by_left_log(store, header->generation, &out->touched, &out->used_end);
    /* The slot's word for it: the segment's own may be what has rotted. */
    struct stat st;
    if (hf__os->fstat(store->fd, &st) != 0)
        return hf__fail_os(errno, store->path, "fstat");
    const uint64_t backed = hf__backed_bytes((uint64_t)st.st_size);
    out->used_end = header->used_end < backed ? header->used_end : backed;
    return 0;
}

/* ---- hf_verify ------------------------------------------------------------------------------- */

int hf_verify(hf_store *store, const hf_check_options *options, hf_verify_report *report)
{
    hf_verify_report own = {0};
    struct hf__table_truth truth;
    struct hf__check check;
    hf_view *view;
    bool begun;
    int code = hf__view_borrow(store, &view, &begun);
    if (code != 0)
        return code;
    if (store->backing != HF__BACKING_FILE) {
        code = hf__fail(HF_ENOTSUP, "a store in memory has no page table");
        goto out_view;
    }
    if (store->txn.active && view == hf_txn_view(&store->txn)) {
        code = hf__fail_path(HF_ENESTED, 0, store->path, "end the transaction first");
        goto out_view;
    }
    code = hf__table_truth(store, view, hf__segment_header(view->seg)->commit, &truth);
    if (code != 0)
        goto out_view;
    hf__check_init(&check, options, truth.used_end);
    own.stale = truth.stale;
    if (!truth.stale)
        code = hf__pages_check(store, store->fd, store->path, view->seg, &truth, &check, &own);
    hf__table_truth_free(&truth);
    if (code == 0 && report != NULL)
        *report = own;
    if (code == 0 && own.pages_rotten + own.table_rotten != 0)
        code = hf__fail_path(HF_ECORRUPT, 0, store->path, "%llu pages have rotted",
                             (unsigned long long)(own.pages_rotten + own.table_rotten));
    else if (code == 0 && check.cancelled)
        code = hf__fail(HF_ECANCELLED, "not all pages were compared");
out_view:
    if (begun)
        hf_view_end(view);
    return code;
}
