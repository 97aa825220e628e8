/* SPDX-License-Identifier: MIT */
/*
 * archive_pack.c - blocks of an archive, read, compared and compressed by several threads
 *
 * A ring of stretches. The writer fills one (which pages, what their entries say), workers turn it
 * into a compressed block, the writer takes them back in the order it filled them. Without workers
 * the writer does the work itself when it takes one.
 *
 * Invariants
 *   K1  taken <= begun <= pushed <= taken + ring: a stretch belongs to the writer, then to one
 *       worker, then to the writer again
 *   K2  a page whose entry is true of the state goes into a block only if it has that checksum; one that
 *       is a hole, as zeros
 */
#include "archive.h"

#include "base/os.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define WORKERS_MAX 64u

struct worker {
    struct hf__packer *packer;
    ZSTD_CCtx *zstd;
    pthread_t thread;
};

struct hf__packer {
    const struct hf__source *source;
    struct hf__stretch *ring;
    bool *done;
    size_t ring_count, packed_room;
    uint64_t pushed, begun, taken; /* how many so far; begun and done under the mutex            */
    bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t work, ready;
    struct worker workers[WORKERS_MAX];
    uint32_t worker_count; /* that have a context */
    uint32_t thread_count; /* that run */
};

/* ---- one stretch ----------------------------------------------------------------------------- */

/* Reads the pages that were taken, runs of them at once, behind the room for their entries. */
static int read_pages(const struct hf__source *source, struct hf__stretch *stretch,
                      unsigned char *pages)
{
    int code = 0;
    for (uint64_t i = 0; code == 0 && i < stretch->count;) {
        uint64_t end = i;
        while (end < stretch->count && stretch->pages[end].taken)
            end++;
        if (end > i)
            code = hf__source_read(source, stretch->first + i, end - i, pages);
        pages += (end - i) * HF__PAGE_BYTES;
        i = end + (end < stretch->count);
    }
    return code;
}

static int compare(const struct hf__source *source, const struct hf__stretch_page *known,
                   const struct hf__archive_entry *found)
{
    const hf_store *store = source->store;
    if (known->checksum == 0 || known->checksum == found->checksum)
        return 0;
    (void)hf__corrupt("page.checksum", found->page * HF__PAGE_BYTES);
    return hf__fail_path(
        HF_ECORRUPT, 0, store->path,
        "page %llu is not what commit %llu left: holdfast fsck says what lies there",
        (unsigned long long)found->page, (unsigned long long)known->commit);
}

static int pack(const struct hf__source *source, struct hf__stretch *stretch, ZSTD_CCtx *zstd,
                size_t room)
{
    struct hf__archive_block *block = (struct hf__archive_block *)(void *)stretch->plain;
    struct hf__archive_entry *entries = (struct hf__archive_entry *)(block + 1);
    unsigned char *pages = (unsigned char *)(entries + stretch->taken);
    const uint64_t salt = source->store->constants.salt;
    uint64_t n = 0;
    int code = read_pages(source, stretch, pages);
    for (uint64_t i = 0; code == 0 && i < stretch->count; i++) {
        struct hf__stretch_page *page = &stretch->pages[i];
        const uint64_t number = stretch->first + i;
        if (!page->taken)
            continue;
        const uint64_t used = hf__page_bytes_used(number, source->used_end);
        unsigned char *bytes = pages + n * HF__PAGE_BYTES;
        entries[n] = (struct hf__archive_entry){number, 0, page->commit};
        if (page->hole) {
            memset(bytes, 0, HF__PAGE_BYTES);
        } else {
            entries[n].checksum = hf__page_checksum(bytes, used, salt, number);
            code = compare(source, page, &entries[n]);
        }
        page->checksum = entries[n++].checksum;
    }
    if (code != 0)
        return code;
    *block = (struct hf__archive_block){HF__ARCHIVE_BLOCK_MAGIC, stretch->block, n,
                                        hf__archive_block_check(salt, stretch->block, entries, n)};
    stretch->plain_bytes = sizeof *block + n * (sizeof *entries + HF__PAGE_BYTES);
    const size_t packed =
        ZSTD_compress2(zstd, stretch->packed, room, stretch->plain, stretch->plain_bytes);
    if (ZSTD_isError(packed))
        return hf__fail(HF_ENOMEM, "zstd: %s", ZSTD_getErrorName(packed));
    stretch->packed_bytes = packed;
    return 0;
}

static void work_on(const struct worker *worker, struct hf__stretch *stretch)
{
    stretch->code = stretch->taken == 0 ? 0
                                        : pack(worker->packer->source, stretch, worker->zstd,
                                               worker->packer->packed_room);
    if (stretch->code != 0)
        stretch->failure = *hf_last_error();
}

/* ---- the ring -------------------------------------------------------------------------------- */

static void *work(void *argument)
{
    const struct worker *worker = argument;
    struct hf__packer *packer = worker->packer;
    pthread_mutex_lock(&packer->mutex);
    for (;;) {
        while (!packer->stop && packer->begun == packer->pushed)
            pthread_cond_wait(&packer->work, &packer->mutex);
        if (packer->stop)
            break;
        const size_t slot = (size_t)(packer->begun++ % packer->ring_count);
        pthread_mutex_unlock(&packer->mutex);
        work_on(worker, &packer->ring[slot]);
        pthread_mutex_lock(&packer->mutex);
        packer->done[slot] = true;
        pthread_cond_signal(&packer->ready);
    }
    pthread_mutex_unlock(&packer->mutex);
    return NULL;
}

struct hf__stretch *hf__packer_give(struct hf__packer *packer)
{
    if (packer->pushed - packer->taken == packer->ring_count)
        return NULL;
    struct hf__stretch *stretch = &packer->ring[packer->pushed % packer->ring_count];
    stretch->count = stretch->taken = 0;
    stretch->plain_bytes = stretch->packed_bytes = 0;
    return stretch;
}

void hf__packer_push(struct hf__packer *packer)
{
    pthread_mutex_lock(&packer->mutex);
    packer->done[packer->pushed % packer->ring_count] = false;
    packer->pushed++;
    pthread_cond_signal(&packer->work);
    pthread_mutex_unlock(&packer->mutex);
}

struct hf__stretch *hf__packer_take(struct hf__packer *packer)
{
    if (packer->taken == packer->pushed)
        return NULL;
    const size_t slot = (size_t)(packer->taken % packer->ring_count);
    if (packer->thread_count == 0) {
        work_on(&packer->workers[0], &packer->ring[slot]);
    } else {
        pthread_mutex_lock(&packer->mutex);
        while (!packer->done[slot])
            pthread_cond_wait(&packer->ready, &packer->mutex);
        pthread_mutex_unlock(&packer->mutex);
    }
    packer->taken++;
    return &packer->ring[slot];
}

/* ---- making and ending one ------------------------------------------------------------------- */

static bool add_worker(struct hf__packer *packer, int level)
{
    struct worker *worker = &packer->workers[packer->worker_count];
    worker->packer = packer;
    worker->zstd = ZSTD_createCCtx();
    if (worker->zstd == NULL)
        return false;
    packer->worker_count++;
    return !ZSTD_isError(ZSTD_CCtx_setParameter(worker->zstd, ZSTD_c_compressionLevel, level)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(worker->zstd, ZSTD_c_checksumFlag, 1));
}

static bool add_ring(struct hf__packer *packer, size_t count)
{
    packer->ring = calloc(count, sizeof *packer->ring);
    packer->done = calloc(count, sizeof *packer->done);
    if (packer->ring == NULL || packer->done == NULL)
        return false;
    packer->ring_count = count;
    packer->packed_room = ZSTD_compressBound(HF__ARCHIVE_BLOCK_BYTES);
    for (size_t i = 0; i < count; i++) {
        struct hf__stretch *stretch = &packer->ring[i];
        stretch->pages = malloc(HF__STRETCH_PAGES * sizeof *stretch->pages);
        stretch->plain = malloc(HF__ARCHIVE_BLOCK_BYTES);
        stretch->packed = malloc(packer->packed_room);
        if (stretch->pages == NULL || stretch->plain == NULL || stretch->packed == NULL)
            return false;
    }
    return true;
}

int hf__packer_new(const struct hf__source *source, int level, uint32_t threads,
                   struct hf__packer **out)
{
    threads = threads > WORKERS_MAX ? WORKERS_MAX : threads;
    struct hf__packer *packer = calloc(1, sizeof *packer);
    if (packer == NULL)
        return hf__fail(HF_ENOMEM, "compressing");
    packer->source = source;
    pthread_mutex_init(&packer->mutex, NULL);
    pthread_cond_init(&packer->work, NULL);
    pthread_cond_init(&packer->ready, NULL);
    bool fits = add_ring(packer, threads == 0 ? 1 : (size_t)threads * 2);
    for (uint32_t i = 0; fits && i < (threads == 0 ? 1 : threads); i++)
        fits = add_worker(packer, level);
    if (!fits) {
        hf__packer_free(packer);
        return hf__fail(HF_ENOMEM, "compressing");
    }
    /* With fewer threads than wanted it only takes longer. */
    for (uint32_t i = 0; i < threads; i++, packer->thread_count++)
        if (hf__thread_start(&packer->workers[i].thread, work, &packer->workers[i]) != 0)
            break;
    *out = packer;
    return 0;
}

uint32_t hf__packer_threads(const struct hf__packer *packer)
{
    return packer->thread_count;
}

void hf__packer_free(struct hf__packer *packer)
{
    if (packer == NULL)
        return;
    pthread_mutex_lock(&packer->mutex);
    packer->stop = true;
    pthread_cond_broadcast(&packer->work);
    pthread_mutex_unlock(&packer->mutex);
    for (uint32_t i = 0; i < packer->thread_count; i++)
        pthread_join(packer->workers[i].thread, NULL);
    for (uint32_t i = 0; i < packer->worker_count; i++)
        ZSTD_freeCCtx(packer->workers[i].zstd);
    for (size_t i = 0; i < packer->ring_count; i++) {
        free(packer->ring[i].pages);
        free(packer->ring[i].plain);
        free(packer->ring[i].packed);
    }
    free(packer->ring);
    free(packer->done);
    pthread_cond_destroy(&packer->work);
    pthread_cond_destroy(&packer->ready);
    pthread_mutex_destroy(&packer->mutex);
    free(packer);
}
