/* SPDX-License-Identifier: MIT */
/*
 * cut_programs.c - the recorded programs: small stores, small logs, every way a byte takes to the disk
 *
 * They run in one thread (a reader that is in the way of applying has one of its own, but makes no
 * calls that matter), so that a seed means one sequence of events. After each commit the live bytes
 * of the writer's segment are hashed: what a recovery that leads to it must show.
 */
#include "cut_programs.h"

#include "base/hash.h"
#include "store/engine.h"
#include "store/store.h"

#include <pthread.h>
#include <semaphore.h>

#define KiB ((uint64_t)1024)

const char *const cut_rare_names[RARES] = {
    "deferred apply",
    "page changed and changed back while apply is deferred",
    "switch of log files",
    "growth",
    "fresh space written in place",
    "fresh space freed and written in place again",
    "of two unsynced records the later persisted",
    "recovery with something to replay",
    "refused as torn",
    "whole though it might have been torn",
    "cut inside a recovery",
    "cut inside the recovery of that",
    "sync that failed",
    "free space made a hole",
};

hf_options cut_options(uint32_t mode)
{
    hf_options options = HF_OPTIONS_INIT;
    options.mode = mode;
    options.size_initial_bytes = 32 * KiB;
    options.size_max_bytes = 16 * KiB * KiB;
    options.lock_timeout_ms = 2000;
    return options;
}

bool cut_state_of(hf_store *store, uint64_t *out_commit, uint64_t *out_hash)
{
    const struct hf__segment_header *header = hf__segment_header(&store->seg);
    struct hf__block_info block;
    struct stat st;
    if (hf__txn_refresh_size(store) != 0) /* recovery may have made it longer */
        return false;
    /* A file that ends before its segment does would be a trap for whoever writes there. */
    if (fstat(store->fd, &st) != 0 ||
        (uint64_t)st.st_size < HF__SEGMENT_OFFSET + header->size_bytes)
        return false;
    uint64_t position = 0, hash = hf__hash(header, sizeof *header, 1);
    int found;
    while ((found = hf__heap_next(&store->heap, &position, &block)) == 1) {
        const unsigned char *at = store->seg.base + block.payload;
        uint64_t bytes = block.kind == HF__BLOCK_FREE ? 0 : block.usable_bytes;
        hash = hf__hash(at - HF__BLOCK_HEADER_BYTES, HF__BLOCK_HEADER_BYTES + bytes, hash);
    }
    *out_commit = header->commit;
    *out_hash = hash;
    return found == 0;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool failed(struct cut_player *p, const char *what)
{
    static char text[700];
    if (p->trouble == NULL) {
        snprintf(text, sizeof text, "%s: %s", what, hf_last_error()->message);
        p->trouble = text;
    }
    return false;
}

static void mark(struct cut_player *p)
{
    cut_record_mark(p->mark);
}

static bool open_store(struct cut_player *p, uint32_t mode)
{
    hf_options options = cut_options(mode);
    options.durability = p->durability;
    if (p->trouble != NULL)
        return false;
    if (hf_open(p->path, &options, &p->store) != 0)
        return failed(p, "hf_open");
    struct hf__log *log = &p->store->log;
    log->first_bytes = 16 * KiB;
    log->switch_bytes = 16 * KiB;
    log->gate_wait_ns = 1000;
    log->housekeeping = true; /* there is none: hf_sync does his work, when it is told to */
    p->mark.may_be_absent = false;
    if (p->trace->hash_count == 0) {
        uint64_t commit;
        if (!cut_state_of(p->store, &commit, &p->trace->hashes[0]))
            return failed(p, "looking at the start");
        p->trace->hash_count = 1;
        p->trace->first_commit = p->mark.acknowledged = p->mark.attempted = commit;
    }
    mark(p);
    return true;
}

static bool note_commit(struct cut_player *p);

static void close_store(struct cut_player *p)
{
    if (p->store == NULL)
        return;
    p->store->log.housekeeping = false;
    /* What hf_close would do, so that its commit is known. */
    const uint64_t before = hf__segment_header(&p->store->seg)->commit;
    p->mark.attempted++;
    mark(p);
    if (p->trouble == NULL && hf__space_lower(p->store) != 0)
        failed(p, "lowering the size");
    if (hf__segment_header(&p->store->seg)->commit == before)
        p->mark.attempted--;
    else if (!note_commit(p))
        failed(p, "looking at a lowered size");
    mark(p);
    if (hf_close(p->store) != 0)
        failed(p, "hf_close");
    p->store = NULL;
    p->mark.acknowledged = p->mark.attempted;
    p->mark.may_be_torn = false;
    mark(p);
}

static void sync_store(struct cut_player *p)
{
    int code = hf_sync(p->store);
    if (code != 0 && code != HF_EBUSY)
        failed(p, "hf_sync");
    p->mark.acknowledged = p->mark.attempted;
    p->mark.may_be_torn = false;
    mark(p);
}

static hf_txn *begin(struct cut_player *p)
{
    hf_txn *txn = NULL;
    if (p->trouble == NULL && hf_begin(p->store, &txn) != 0)
        failed(p, "hf_begin");
    return txn;
}

static void note_window(struct cut_player *p)
{
    const struct hf__log *log = &p->store->log;
    if (log->window_start == UINT64_MAX)
        return;
    p->rare[RARE_WINDOW]++;
    if (log->window_start < p->window_end)
        p->rare[RARE_WINDOW_AGAIN]++;
    if (hf__used_end(&p->store->seg) > p->window_end)
        p->window_end = hf__used_end(&p->store->seg);
}

static void fail_sync(struct cut_player *p, bool of_data)
{
    cut_record_fail_sync(of_data, true);
    p->may_fail = true;
}

static void fail_write(struct cut_player *p)
{
    cut_record_fail_write(true);
    p->may_fail = p->write_fails = true;
}

/* The hash of the commit just made. If its write failed, only the next transaction knows whether it
 * was one. */
static bool note_commit(struct cut_player *p)
{
    uint64_t number, *hash = &p->trace->hashes[p->trace->hash_count++];
    hf_txn *next = p->write_fails ? begin(p) : NULL;
    const bool good = cut_state_of(p->store, &number, hash) && number == p->mark.attempted;
    if (next != NULL)
        hf_abort(next);
    p->write_fails = false;
    return good;
}

static void commit(struct cut_player *p, hf_txn *txn)
{
    struct hf__log_tail before, tail;
    struct hf__log_front front;
    if (txn == NULL)
        return;
    hf__tail_read(p->store, &before);
    note_window(p);
    p->mark.attempted++;
    p->mark.may_be_torn |= p->durability == HF_NOSYNC;
    mark(p);
    int code = hf_commit(txn);
    if (code != 0 && !p->may_fail)
        failed(p, "hf_commit");
    p->rare[RARE_SYNC_FAILED] += code != 0;
    p->may_fail = false;
    cut_record_fail_sync(true, false);
    cut_record_fail_sync(false, false);
    cut_record_fail_write(false);
    if (code != 0 && code != HF_ECOMMIT_UNKNOWN) { /* it never was */
        p->mark.attempted--;
        mark(p);
        return;
    }
    hf__tail_read(p->store, &tail);
    hf__front_read(p->store, &front);
    p->rare[RARE_SWITCH] += tail.epoch != before.epoch;
    p->rare[RARE_DEFERRED] += p->durability == HF_SYNC && front.applied < tail.appended;
    if (p->trace->hash_count == sizeof p->trace->hashes / sizeof *p->trace->hashes ||
        !note_commit(p))
        failed(p, "looking at a commit");
    if (p->durability == HF_SYNC && code == 0) {
        p->mark.acknowledged = p->mark.attempted;
        p->mark.may_be_torn = false;
    }
    mark(p);
}

static const hf_type cell_type = {.name = "cell", .version = 1, .size_bytes = 64, .align_bytes = 8};

static void set(struct cut_player *p, hf_txn *txn, const char *name, uint64_t value)
{
    if (txn == NULL || p->trouble != NULL)
        return;
    uint64_t *cell = hf_find_or_construct(txn, name, &cell_type, 1, NULL);
    if (cell == NULL || (cell = hf_edit(txn, cell, 64)) == NULL) {
        failed(p, "setting");
        return;
    }
    content_fill(cell, 64, value);
}

/* The cells are far enough apart to lie in several sectors. */
static void set_random(struct cut_player *p, hf_txn *txn)
{
    char name[16];
    snprintf(name, sizeof name, "cell%llu", (unsigned long long)rng_below(&p->rng, 12));
    set(p, txn, name, rng_next(&p->rng));
}

static void change(struct cut_player *p, uint64_t cells)
{
    hf_txn *txn = begin(p);
    for (uint64_t i = 0; i < cells; i++)
        set_random(p, txn);
    commit(p, txn);
}

static void *fill_block(struct cut_player *p, hf_txn *txn, uint64_t bytes)
{
    if (txn == NULL || p->trouble != NULL)
        return NULL;
    uint64_t size = p->store->seg.size_bytes;
    void *block = hf_alloc(txn, bytes);
    if (block == NULL)
        failed(p, "hf_alloc");
    else
        content_fill(block, bytes, rng_next(&p->rng));
    p->rare[RARE_GROWTH] += p->store->seg.size_bytes > size;
    return block;
}

bool cut_make_store(const char *path)
{
    hf_options options = cut_options(HF_CREATE_NEW);
    struct cut_player p = {.rng = {1}};
    hf_txn *txn;
    if (hf_open(path, &options, &p.store) != 0 || hf_begin(p.store, &txn) != 0)
        return false;
    for (int i = 0; i < 12; i++) {
        char name[16];
        snprintf(name, sizeof name, "cell%d", i);
        set(&p, txn, name, (uint64_t)i);
        if (hf_alloc(txn, 400) == NULL)
            return false;
    }
    return p.trouble == NULL && hf_commit(txn) == 0 && hf_close(p.store) == 0;
}

/* ---- the programs ---------------------------------------------------------------------------- */

static void run_create(struct cut_player *p)
{
    if (!open_store(p, HF_CREATE_NEW))
        return;
    change(p, 1);
    change(p, 2);
    close_store(p);
}

static void run_commits(struct cut_player *p)
{
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    for (int i = 0; i < 6; i++)
        change(p, 1 + (uint64_t)i % 3);
    close_store(p);
}

static void run_mix(struct cut_player *p)
{
    hf_ref blocks[8] = {0};
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    for (int i = 0; i < 10 && p->trouble == NULL; i++) {
        hf_txn *txn = begin(p);
        hf_mark savepoint;
        if (txn == NULL)
            return;
        set_random(p, txn);
        hf_ref *block = &blocks[rng_below(&p->rng, 8)];
        if (*block != 0)
            hf_free(txn, hf_at(hf_txn_view(txn), *block));
        hf_ref fresh =
            hf_ref_of(hf_txn_view(txn), fill_block(p, txn, 16 + rng_below(&p->rng, 1500)));
        hf_savepoint(txn, &savepoint);
        set_random(p, txn);
        if (fill_block(p, txn, 300) != NULL && rng_percent(&p->rng, 50))
            hf_rollback_to(txn, savepoint);
        if (i == 6)
            hf_destroy(txn, "cell3");
        if (rng_percent(&p->rng, 25)) {
            hf_abort(txn);
            continue;
        }
        *block = fresh;
        commit(p, txn);
    }
    close_store(p);
}

static void run_growth(struct cut_player *p)
{
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    for (int i = 0; i < 3; i++) {
        hf_txn *txn = begin(p);
        void *block = fill_block(p, txn, 30 * KiB);
        set_random(p, txn);
        if (i == 1 && block != NULL) {
            hf_abort(txn);
            continue;
        }
        commit(p, txn);
        change(p, 1);
    }
    close_store(p);
}

static void free_at(struct cut_player *p, hf_ref block)
{
    hf_txn *txn = begin(p);
    if (txn == NULL)
        return;
    hf_free(txn, hf_at(hf_txn_view(txn), block));
    commit(p, txn);
}

static hf_ref bulk(struct cut_player *p, uint64_t bytes, bool keep)
{
    hf_txn *txn = begin(p);
    void *block = fill_block(p, txn, bytes);
    if (block == NULL)
        return 0;
    hf_ref ref = hf_ref_of(hf_txn_view(txn), block);
    set_random(p, txn);
    if (keep) {
        commit(p, txn);
    } else {
        note_window(p);
        hf_abort(txn);
    }
    return ref;
}

static void checkpoint(struct cut_player *p)
{
    const struct hf__engine *engine = p->store->engine;
    const uint64_t deadline = hf__deadline_in_ms(1000);
    if (p->trouble != NULL)
        return;
    if (engine->begin(p->store, false, deadline) != 0) {
        failed(p, "a checkpoint's beginning");
        return;
    }
    if (hf__log_checkpoint(p->store, 0, deadline) != 0)
        failed(p, "a checkpoint");
    engine->end(p->store);
}

/* Compaction counts as a commit: the store it makes shows the same objects elsewhere. */
static void run_compact(struct cut_player *p)
{
    uint64_t number;
    for (int round = 0; round < 2; round++) {
        if (!open_store(p, HF_OPEN_EXISTING))
            return;
        bulk(p, 20 * KiB, true);
        change(p, 3);
        close_store(p);
        p->mark.attempted++;
        mark(p);
        if (hf_compact(p->path, NULL) != 0)
            failed(p, "hf_compact");
        p->mark.acknowledged = p->mark.attempted;
        mark(p);
        if (!open_store(p, HF_OPEN_EXISTING))
            return;
        if (!cut_state_of(p->store, &number, &p->trace->hashes[p->trace->hash_count++]) ||
            number != p->mark.attempted)
            failed(p, "looking at a compacted store");
        close_store(p);
    }
}

/* Its transaction is a commit like another, if there is something new to give back. */
static void trim(struct cut_player *p)
{
    hf_trim_report report;
    if (p->trouble != NULL)
        return;
    p->mark.attempted++;
    mark(p);
    if (hf_trim(p->store, &report) != 0)
        failed(p, "hf_trim");
    if (report.extents == 0 && report.tail_bytes == 0)
        p->mark.attempted--;
    else if (!note_commit(p))
        failed(p, "looking at a trim");
    p->rare[RARE_PUNCHED] += report.punched_extents;
    p->mark.acknowledged = p->mark.attempted;
    mark(p);
}

/* Free blocks and the tail become holes, are used again in part, and freed, and become holes. */
static void run_trim(struct cut_player *p)
{
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    hf_ref low = bulk(p, 150 * KiB, true);
    hf_ref middle = bulk(p, 30 * KiB, true);
    hf_ref high = bulk(p, 100 * KiB, true);
    change(p, 1);
    bulk(p, 300, true);
    free_at(p, low);
    trim(p);
    change(p, 2);
    bulk(p, 70 * KiB, false);
    hf_ref again = bulk(p, 20 * KiB, true);
    free_at(p, high);
    change(p, 1);
    trim(p);
    free_at(p, middle);
    free_at(p, again);
    bulk(p, 180 * KiB, true);
    trim(p);
    /* Its record stands above the base, and writes where the hole is to be. */
    hf_ref brief = bulk(p, 90 * KiB, true);
    bulk(p, 300, true);
    free_at(p, brief);
    trim(p);
    change(p, 1);
    close_store(p);
}

static void run_window(struct cut_player *p)
{
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    change(p, 1);
    hf_ref block = bulk(p, 1100 * KiB, true);
    change(p, 1);
    bulk(p, 1100 * KiB, false);
    change(p, 1);
    if (block != 0)
        free_at(p, block);
    checkpoint(p); /* the mark of fresh space comes down: that space is fresh again */
    bulk(p, 1200 * KiB, true);
    change(p, 1);
    close_store(p);
}

/* Records of the same log hold lines above the used end that a window begins at later, and they are
 * replayed after the window was written. */
static void run_window_over(struct cut_player *p)
{
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    hf_ref block = bulk(p, 200 * KiB, true);
    change(p, 1);
    if (block != 0)
        free_at(p, block);
    change(p, 1);
    bulk(p, 1300 * KiB, true);
    change(p, 1);
    close_store(p);
}

/* The same with lines that no commit ever had: their savepoint was rolled back to. */
static void run_window_rollback(struct cut_player *p)
{
    hf_mark savepoint;
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    hf_txn *txn = begin(p);
    if (txn == NULL || hf_savepoint(txn, &savepoint) != 0)
        return;
    fill_block(p, txn, 200 * KiB);
    hf_rollback_to(txn, savepoint);
    set_random(p, txn);
    commit(p, txn);
    bulk(p, 1300 * KiB, true);
    close_store(p);
}

/* ---- a reader in the way --------------------------------------------------------------------- */

struct reader {
    hf_store *store;
    sem_t inside, leave;
    pthread_t thread;
    bool good;
};

static void *read_long(void *argument)
{
    struct reader *r = argument;
    hf_view *view;
    r->good = hf_view_begin(r->store, &view) == 0;
    sem_post(&r->inside);
    if (!r->good)
        return NULL;
    sem_wait(&r->leave);
    hf_view_end(view);
    return NULL;
}

static bool reader_start(struct cut_player *p, struct reader *r)
{
    *r = (struct reader){.store = p->store};
    sem_init(&r->inside, 0, 0);
    sem_init(&r->leave, 0, 0);
    if (pthread_create(&r->thread, NULL, read_long, r) != 0)
        return failed(p, "a reader");
    sem_wait(&r->inside);
    return r->good || failed(p, "a reader's view");
}

static void reader_end(struct reader *r)
{
    sem_post(&r->leave);
    pthread_join(r->thread, NULL);
    sem_destroy(&r->inside);
    sem_destroy(&r->leave);
}

static void there_and_back(struct cut_player *p)
{
    struct hf__log_front front;
    for (int i = 0; i < 3; i++) {
        hf_txn *txn = begin(p);
        set(p, txn, "cell5", i == 1 ? 77 : 5);
        commit(p, txn);
    }
    hf__front_read(p->store, &front);
    p->rare[RARE_CHANGED_BACK] += p->mark.attempted >= front.applied + 3;
}

static void run_reader(struct cut_player *p)
{
    struct reader r;
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    p->store->log.private_max_bytes = 4 * KiB; /* what isn't applied must be kept all the same */
    change(p, 1);
    for (int round = 0; round < 2; round++) {
        if (!reader_start(p, &r))
            return;
        there_and_back(p);
        change(p, 2); /* the log can't be switched: it grows */
        change(p, 1);
        if (round == 1)
            sync_store(p);
        reader_end(&r);
        change(p, 1);
        sync_store(p);
    }
    change(p, 1);
    close_store(p);
}

/* ---- other durabilities ---------------------------------------------------------------------- */

static void durability(struct cut_player *p, uint32_t kind)
{
    p->durability = p->store->durability = kind;
}

static void run_lazy(struct cut_player *p)
{
    p->durability = HF_LAZY;
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    for (int i = 0; i < 12; i++) {
        change(p, 1);
        if (i == 3 || i == 4 || i == 9)
            sync_store(p);
    }
    hf_txn *txn = begin(p);
    fill_block(p, txn, 5 * KiB);
    commit(p, txn);
    change(p, 1);
    close_store(p);
}

static void run_lazy_and_sync(struct cut_player *p)
{
    p->durability = HF_LAZY;
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    for (int i = 0; i < 10; i++) {
        durability(p, i % 3 == 2 ? HF_SYNC : HF_LAZY);
        change(p, 1);
    }
    durability(p, HF_LAZY);
    change(p, 1);
    bulk(p, 1100 * KiB, true);
    change(p, 1);
    sync_store(p);
    change(p, 1);
    close_store(p);
}

static void run_nosync(struct cut_player *p)
{
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    change(p, 1);
    durability(p, HF_NOSYNC);
    for (int i = 0; i < 4; i++)
        change(p, 1);
    sync_store(p);
    change(p, 1);
    durability(p, HF_SYNC);
    bulk(p, 20 * KiB, true); /* ends it: a checkpoint first, and another one to make room */
    change(p, 1);
    durability(p, HF_NOSYNC);
    change(p, 1);
    change(p, 1);
    close_store(p);
}

static void run_reopen(struct cut_player *p)
{
    for (int i = 0; i < 3; i++) {
        if (!open_store(p, HF_OPEN_EXISTING))
            return;
        for (int j = 0; j <= i; j++)
            change(p, 2);
        close_store(p);
    }
}

/* What a commit frees at the end is zeroed in the file: not before that commit is durable. */
static void run_zeros(struct cut_player *p)
{
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    for (int round = 0; round < 2; round++) {
        hf_ref block = bulk(p, 6 * KiB, true);
        sync_store(p);
        if (round == 1)
            checkpoint(p); /* the block stands in the file alone, in no log */
        durability(p, HF_LAZY);
        if (block != 0)
            free_at(p, block);
        hf_txn *txn = begin(p);
        if (txn == NULL || hf_zero_free_memory(txn) != 0) {
            failed(p, "zeroing");
            return;
        }
        set_random(p, txn);
        commit(p, txn);
        sync_store(p);
        durability(p, HF_SYNC);
    }
    close_store(p);
}

/* Whatever comes, in any order. */
static void random_step(struct cut_player *p, struct reader *r, bool *reading, hf_ref *block)
{
    const uint64_t dice = rng_below(&p->rng, 100);
    if (dice < 30) {
        change(p, 1 + rng_below(&p->rng, 3));
    } else if (dice < 40 && !*reading) {
        durability(p, (uint32_t)rng_below(&p->rng, 3));
    } else if (dice < 50) {
        sync_store(p);
    } else if (dice < 58 && !*reading && p->durability != HF_NOSYNC &&
               p->store->locks.table->header.log.unsynced == 0) {
        *reading = reader_start(p, r);
    } else if (dice < 66 && *reading) {
        reader_end(r);
        *reading = false;
    } else if (dice < 72 && !*reading) {
        checkpoint(p);
        p->mark.acknowledged = p->mark.attempted;
        p->mark.may_be_torn = false;
        mark(p);
    } else if (dice < 80 && *block != 0) {
        free_at(p, *block);
        *block = 0;
    } else if (dice < 90 && *block == 0) {
        *block = bulk(p, rng_below(&p->rng, 4) * 9 * KiB + 100, true);
    } else if (dice < 93) {
        bulk(p, 1 + rng_below(&p->rng, 40) * KiB, false);
    } else if (dice < 95 && *block == 0) {
        *block = bulk(p, 1060 * KiB, true);
    } else if (dice < 97 && !*reading && p->durability == HF_SYNC) {
        fail_sync(p, rng_percent(&p->rng, 50));
        change(p, 1);
    } else if (dice < 99 && !*reading) {
        close_store(p);
        open_store(p, HF_OPEN_EXISTING);
    }
}

static void run_random(struct cut_player *p)
{
    struct reader r;
    bool reading = false;
    hf_ref block = 0;
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    p->store->log.log_max_bytes = 8 * KiB * KiB;
    for (int i = 0; i < 40 && p->trouble == NULL; i++)
        random_step(p, &r, &reading, &block);
    if (reading)
        reader_end(&r);
    close_store(p);
}

static void run_failures(struct cut_player *p)
{
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    change(p, 1);
    fail_sync(p, false);
    change(p, 2);
    change(p, 1); /* renews the log first */
    for (int i = 0; i < 4; i++) {
        fail_sync(p, true);
        change(p, 1); /* one of them wants a switch */
    }
    fail_sync(p, false);
    change(p, 1);
    durability(p, HF_LAZY);
    change(p, 1);
    durability(p, HF_SYNC);
    change(p, 1);
    fail_sync(p, true);
    bulk(p, 1060 * KiB, true); /* its window isn't synced */
    change(p, 1);
    close_store(p);
}

/* Records that stand whole though their write was said to have failed: they count. */
static void run_unwritten(struct cut_player *p)
{
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    change(p, 1);
    fail_write(p);
    change(p, 2);
    change(p, 1);
    fail_write(p);
    hf_txn *txn = begin(p);
    unsigned char *block = fill_block(p, txn, 1060 * KiB);
    hf_mark mark;
    /* In the window, and with an undo: what was new at a savepoint is kept from then on. */
    if (block != NULL && hf_savepoint(txn, &mark) == 0 &&
        (block = hf_edit(txn, block + 1050 * KiB, 512)) != NULL)
        content_fill(block, 512, rng_next(&p->rng));
    set_random(p, txn);
    commit(p, txn);
    change(p, 1);
    close_store(p);
}

void cut_run_recovery(struct cut_player *p)
{
    if (!open_store(p, HF_OPEN_EXISTING))
        return;
    change(p, 1);
    durability(p, HF_LAZY);
    change(p, 1);
    change(p, 2);
    close_store(p);
}

const struct cut_program cut_programs[] = {
    {"create", true, run_create, 1, 1},
    {"commits", false, run_commits, 3, 1},
    {"mix", false, run_mix, 1, 1},
    {"compact", false, run_compact, 1, 2},
    {"growth", false, run_growth, 1, 1},
    {"trim", false, run_trim, 2, 4},
    {"window", false, run_window, 1, 8},
    {"window-over", false, run_window_over, 1, 32},
    {"window-back", false, run_window_rollback, 1, 8},
    {"reader", false, run_reader, 2, 1},
    {"lazy", false, run_lazy, 3, 1},
    {"lazy-and-sync", false, run_lazy_and_sync, 1, 1},
    {"nosync", false, run_nosync, 4, 1},
    {"reopen", false, run_reopen, 2, 1},
    {"zeros", false, run_zeros, 1, 4},
    {"failures", false, run_failures, 1, 2},
    {"unwritten", false, run_unwritten, 1, 2},
    {"random", false, run_random, 12, 8},
};
const size_t cut_program_count = sizeof cut_programs / sizeof *cut_programs;

bool cut_play(struct cut_trace *trace, const char *directory, void (*run)(struct cut_player *),
              struct cut_mark mark_at_start, uint64_t seed, uint64_t *rare)
{
    char path[700];
    snprintf(path, sizeof path, "%s/s.hf", directory);
    struct cut_player p = {.trace = trace,
                           .mark = mark_at_start,
                           .path = path,
                           .rng = {seed},
                           .durability = HF_SYNC,
                           .rare = rare};
    cut_record_start(trace, directory, mark_at_start);
    run(&p);
    if (p.trouble == NULL)
        p.trouble = cut_record_fault();
    if (p.trouble != NULL)
        printf("%s\n", p.trouble);
    close_store(&p);
    cut_record_end();
    return p.trouble == NULL;
}
