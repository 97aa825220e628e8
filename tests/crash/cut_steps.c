/* SPDX-License-Identifier: MIT */
/*
 * cut_steps.c - what recorded programs are made of
 *
 * After each commit the live bytes of the writer's segment are hashed: what a recovery that leads to it
 * must show.
 */
#include "cut_steps.h"
#include "cut_programs.h"

#include "base/hash.h"
#include "store/engine.h"
#include "store/store.h"

hf_options cut_options(uint32_t mode)
{
    hf_options options = HF_OPTIONS_INIT;
    options.mode = mode;
    options.size_initial_bytes = 32 * KiB;
    options.size_max_bytes = 16 * KiB * KiB;
    options.lock_timeout_ms = 2000;
    return options;
}

bool cut_state_of(hf_store *store, struct cut_state *out)
{
    const struct hf__segment_header *header = hf__segment_header(&store->seg);
    struct hf__segment_header plain;
    struct hf__block_info block;
    struct stat st;
    /* A handle that had no transaction yet has no writer's mapping. */
    if (hf__map_writers(store) != 0)
        return false;
    plain = *header;
    if (hf__txn_refresh_size(store) != 0) /* recovery may have made it longer */
        return false;
    /* A file that ends before its segment does would be a trap for whoever writes there. */
    if (fstat(store->fd, &st) != 0 ||
        (uint64_t)st.st_size < HF__SEGMENT_OFFSET + header->size_bytes)
        return false;
    uint64_t position = 0, hash = 1;
    int found;
    while ((found = hf__heap_next(&store->heap, &position, &block)) == 1) {
        const unsigned char *at = store->seg.base + block.payload;
        uint64_t bytes = block.kind == HF__BLOCK_FREE ? 0 : block.usable_bytes;
        hash = hf__hash(at - HF__BLOCK_HEADER_BYTES, HF__BLOCK_HEADER_BYTES + bytes, hash);
    }
    out->commit = header->commit;
    out->hash = hf__hash(header, sizeof *header, hash);
    memset(&plain.constants, 0, sizeof plain.constants);
    plain.size_bytes = 0;
    out->plain = hf__hash(&plain, sizeof plain, hash);
    return found == 0;
}

bool cut_cells_of(hf_store *store, uint64_t *out)
{
    hf_view *view;
    *out = 0;
    if (hf_view_begin(store, &view) != 0)
        return false;
    for (int i = 0; i < 12; i++) {
        char name[16];
        snprintf(name, sizeof name, "cell%d", i);
        const void *cell = hf_find(view, name, NULL, NULL);
        *out = cell == NULL ? *out + 1 : hf__hash(cell, 64, *out);
    }
    hf_view_end(view);
    return true;
}

/* ---- steps ----------------------------------------------------------------------------------- */

bool cut_failed(struct cut_player *p, const char *what)
{
    static char text[700];
    if (p->trouble == NULL) {
        snprintf(text, sizeof text, "%s: %s", what, hf_last_error()->message);
        p->trouble = text;
    }
    return false;
}

void cut_marked(struct cut_player *p)
{
    cut_record_mark(p->mark);
}

bool cut_open(struct cut_player *p, uint32_t mode)
{
    hf_options options = cut_options(mode);
    options.durability = p->durability;
    if (p->trouble != NULL)
        return false;
    if (hf_open(p->path, &options, &p->store) != 0)
        return cut_failed(p, "hf_open");
    struct hf__log *log = &p->store->log;
    log->first_bytes = 16 * KiB;
    log->switch_bytes = 16 * KiB;
    log->gate_wait_ns = 1000;
    log->housekeeping = true; /* there is none: hf_sync does his work, when it is told to */
    p->mark.may_be_absent = false;
    if (p->trace->hash_count == 0) {
        if (!cut_note_state(p))
            return cut_failed(p, "looking at the start");
        p->trace->first_commit = p->mark.acknowledged = p->mark.attempted = p->state.commit;
    }
    cut_marked(p);
    return true;
}

void cut_close(struct cut_player *p)
{
    if (p->store == NULL)
        return;
    p->store->log.housekeeping = false;
    /* What hf_close would do, so that its commit is known. */
    if (hf__map_writers(p->store) != 0)
        cut_failed(p, "mapping");
    const uint64_t before = hf__segment_header(&p->store->seg)->commit;
    p->mark.attempted++;
    cut_marked(p);
    if (p->trouble == NULL && !p->in_company && hf__space_lower(p->store) != 0)
        cut_failed(p, "lowering the size");
    if (hf__segment_header(&p->store->seg)->commit == before)
        p->mark.attempted--;
    else if (!cut_note_commit(p))
        cut_failed(p, "looking at a lowered size");
    cut_marked(p);
    if (hf_close(p->store) != 0)
        cut_failed(p, "hf_close");
    p->store = NULL;
    p->mark.acknowledged = p->mark.attempted;
    p->mark.may_be_torn = false;
    cut_marked(p);
}

void cut_sync(struct cut_player *p)
{
    int code = hf_sync(p->store);
    if (code != 0 && code != HF_EBUSY)
        cut_failed(p, "hf_sync");
    p->mark.acknowledged = p->mark.attempted;
    p->mark.may_be_torn = false;
    cut_marked(p);
}

/* What was to fail has, or isn't there. */
static void fail_no_sync(struct cut_player *p)
{
    p->may_fail = false;
    cut_record_fail_sync(true, 0);
    cut_record_fail_sync(false, 0);
}

hf_txn *cut_begin(struct cut_player *p)
{
    hf_txn *txn = NULL;
    if (p->trouble != NULL || hf_begin(p->store, &txn) == 0)
        return txn;
    /* The sync that was to fail is one of the renewal that an earlier failure has left to be done. */
    const bool asked = p->may_fail;
    fail_no_sync(p);
    p->rare[RARE_SYNC_FAILED] += asked;
    if (!asked || hf_begin(p->store, &txn) != 0)
        cut_failed(p, "hf_begin");
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

void cut_fail_sync(struct cut_player *p, bool of_data)
{
    cut_record_fail_sync(of_data, 1);
    p->may_fail = true;
}

void cut_fail_renewal(struct cut_player *p, unsigned nth)
{
    hf_txn *txn = NULL;
    if (p->trouble != NULL)
        return;
    cut_record_fail_sync(false, nth);
    if (hf_begin(p->store, &txn) == 0)
        cut_failed(p, "failing to renew the log");
    cut_record_fail_sync(false, 0);
}

void cut_fail_write(struct cut_player *p)
{
    cut_record_fail_write(true);
    p->may_fail = p->write_fails = true;
}

/* What the next commit in the trace shows. */
bool cut_note_state(struct cut_player *p)
{
    struct cut_trace *trace = p->trace;
    if (trace->hash_count == sizeof trace->hashes / sizeof *trace->hashes ||
        !cut_state_of(p->store, &p->state))
        return false;
    trace->hashes[trace->hash_count] = p->state.hash;
    trace->plains[trace->hash_count++] = p->state.plain;
    return true;
}

/* If the write of the commit just made failed, only the next transaction knows whether it was one. */
bool cut_note_commit(struct cut_player *p)
{
    hf_txn *next = p->write_fails ? cut_begin(p) : NULL;
    const bool good = cut_note_state(p) && p->state.commit == p->mark.attempted;
    if (next != NULL)
        hf_abort(next);
    p->write_fails = false;
    return good;
}

void cut_commit(struct cut_player *p, hf_txn *txn)
{
    struct hf__log_tail before, tail;
    struct hf__log_front front;
    if (txn == NULL)
        return;
    hf__tail_read(p->store, &before);
    note_window(p);
    p->mark.attempted++;
    p->mark.may_be_torn |= p->durability == HF_NOSYNC;
    cut_marked(p);
    int code = hf_commit(txn);
    if (code != 0 && !p->may_fail)
        cut_failed(p, "hf_commit");
    p->rare[RARE_SYNC_FAILED] += code != 0;
    fail_no_sync(p);
    cut_record_fail_write(false);
    if (code != 0 && code != HF_ECOMMIT_UNKNOWN) { /* it never was */
        p->mark.attempted--;
        cut_marked(p);
        return;
    }
    hf__tail_read(p->store, &tail);
    hf__front_read(p->store, &front);
    p->rare[RARE_SWITCH] += tail.epoch != before.epoch;
    const bool same_log = tail.epoch == before.epoch;
    if (tail.end > (same_log ? before.end : 0) + 1024 * KiB)
        p->rare[same_log ? RARE_HUGE : RARE_HUGE_SWITCH]++;
    p->rare[RARE_DEFERRED] += p->durability == HF_SYNC && front.applied < tail.appended;
    if (!cut_note_commit(p))
        cut_failed(p, "looking at a commit");
    if (p->durability == HF_SYNC && code == 0) {
        p->mark.acknowledged = p->mark.attempted;
        p->mark.may_be_torn = false;
    }
    cut_marked(p);
}

static const hf_type cell_type = {.name = "cell", .version = 1, .size_bytes = 64, .align_bytes = 8};

void cut_set(struct cut_player *p, hf_txn *txn, const char *name, uint64_t value)
{
    if (txn == NULL || p->trouble != NULL)
        return;
    uint64_t *cell = hf_find_or_construct(txn, name, &cell_type, 1, NULL);
    if (cell == NULL || (cell = hf_edit(txn, cell, 64)) == NULL) {
        cut_failed(p, "setting");
        return;
    }
    content_fill(cell, 64, value);
}

/* The cells are far enough apart to lie in several sectors. */
void cut_set_random(struct cut_player *p, hf_txn *txn)
{
    char name[16];
    snprintf(name, sizeof name, "cell%llu", (unsigned long long)rng_below(&p->rng, 12));
    cut_set(p, txn, name, rng_next(&p->rng));
}

void cut_change(struct cut_player *p, uint64_t cells)
{
    hf_txn *txn = cut_begin(p);
    for (uint64_t i = 0; i < cells; i++)
        cut_set_random(p, txn);
    cut_commit(p, txn);
}

void *cut_fill_block(struct cut_player *p, hf_txn *txn, uint64_t bytes)
{
    if (txn == NULL || p->trouble != NULL)
        return NULL;
    uint64_t size = p->store->seg.size_bytes;
    void *block = hf_alloc(txn, bytes);
    if (block == NULL)
        cut_failed(p, "hf_alloc");
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
        cut_set(&p, txn, name, (uint64_t)i);
        if (hf_alloc(txn, 400) == NULL)
            return false;
    }
    return p.trouble == NULL && hf_commit(txn) == 0 && hf_close(p.store) == 0;
}

void cut_free_at(struct cut_player *p, hf_ref block)
{
    hf_txn *txn = cut_begin(p);
    if (txn == NULL)
        return;
    hf_free(txn, hf_at(hf_txn_view(txn), block));
    cut_commit(p, txn);
}

hf_ref cut_bulk(struct cut_player *p, uint64_t bytes, bool keep)
{
    hf_txn *txn = cut_begin(p);
    void *block = cut_fill_block(p, txn, bytes);
    if (block == NULL)
        return 0;
    hf_ref ref = hf_ref_of(hf_txn_view(txn), block);
    cut_set_random(p, txn);
    if (keep) {
        cut_commit(p, txn);
    } else {
        note_window(p);
        hf_abort(txn);
    }
    return ref;
}

void cut_checkpoint(struct cut_player *p)
{
    const struct hf__engine *engine = p->store->engine;
    const uint64_t deadline = hf__deadline_in_ms(1000);
    if (p->trouble != NULL)
        return;
    if (engine->begin(p->store, false, deadline) != 0) {
        cut_failed(p, "a checkpoint's beginning");
        return;
    }
    if (hf__log_checkpoint(p->store, 0, deadline) != 0)
        cut_failed(p, "a checkpoint");
    engine->end(p->store);
}

void cut_durability(struct cut_player *p, uint32_t kind)
{
    p->durability = p->store->durability = kind;
}

/* ---- a reader in the way --------------------------------------------------------------------- */

static void *read_long(void *argument)
{
    struct cut_reader *r = argument;
    hf_view *view;
    r->good = hf_view_begin(r->store, &view) == 0;
    sem_post(&r->inside);
    if (!r->good)
        return NULL;
    sem_wait(&r->leave);
    hf_view_end(view);
    return NULL;
}

bool cut_reader_start(struct cut_player *p, struct cut_reader *r)
{
    *r = (struct cut_reader){.store = p->store};
    sem_init(&r->inside, 0, 0);
    sem_init(&r->leave, 0, 0);
    if (pthread_create(&r->thread, NULL, read_long, r) != 0)
        return cut_failed(p, "a reader");
    sem_wait(&r->inside);
    return r->good || cut_failed(p, "a reader's view");
}

void cut_reader_end(struct cut_reader *r)
{
    sem_post(&r->leave);
    pthread_join(r->thread, NULL);
    sem_destroy(&r->inside);
    sem_destroy(&r->leave);
}

/* ---- a recording ----------------------------------------------------------------------------- */

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
    cut_close(&p);
    cut_record_end();
    return p.trouble == NULL;
}
