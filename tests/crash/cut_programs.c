/* SPDX-License-Identifier: MIT */
/*
 * cut_programs.c - the recorded programs: small stores, small logs, every way a byte takes to the disk
 *
 * They run in one thread (a reader that is in the way of applying has one of its own, but makes no
 * calls that matter), so that a seed means one sequence of events. What is made of a store - copies,
 * archives, a compacted or repaired one - is in cut_copies.c.
 */
#include "cut_programs.h"
#include "cut_steps.h"

#include "store/engine.h"
#include "store/store.h"

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
    "commit in the middle of a copy",
    "snapshot with records laid over it",
    "what was made hasn't its name yet",
    "what was made has its name before the directory is synced",
    "archive that isn't whole, and refused",
    "archive that is whole before it is synced",
    "store in the middle of its repair as it was",
    "store in the middle of its repair repaired",
    "free space made a hole",
    "huge record behind what the log held",
    "huge record at the beginning of a log",
};

/* ---- the programs ---------------------------------------------------------------------------- */

static void run_create(struct cut_player *p)
{
    if (!cut_open(p, HF_CREATE_NEW))
        return;
    cut_change(p, 1);
    cut_change(p, 2);
    cut_close(p);
}

static void run_commits(struct cut_player *p)
{
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    for (int i = 0; i < 6; i++)
        cut_change(p, 1 + (uint64_t)i % 3);
    cut_close(p);
}

static void run_mix(struct cut_player *p)
{
    hf_ref blocks[8] = {0};
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    for (int i = 0; i < 10 && p->trouble == NULL; i++) {
        hf_txn *txn = cut_begin(p);
        hf_mark savepoint;
        if (txn == NULL)
            return;
        cut_set_random(p, txn);
        hf_ref *block = &blocks[rng_below(&p->rng, 8)];
        if (*block != 0)
            hf_free(txn, hf_at(hf_txn_view(txn), *block));
        hf_ref fresh =
            hf_ref_of(hf_txn_view(txn), cut_fill_block(p, txn, 16 + rng_below(&p->rng, 1500)));
        hf_savepoint(txn, &savepoint);
        cut_set_random(p, txn);
        if (cut_fill_block(p, txn, 300) != NULL && rng_percent(&p->rng, 50))
            hf_rollback_to(txn, savepoint);
        if (i == 6)
            hf_destroy(txn, "cell3");
        if (rng_percent(&p->rng, 25)) {
            hf_abort(txn);
            continue;
        }
        *block = fresh;
        cut_commit(p, txn);
    }
    cut_close(p);
}

static void run_growth(struct cut_player *p)
{
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    /* Beginning and switching logs syncs the data: the growth comes with a small record in between. */
    cut_bulk(p, 18 * KiB, true);
    for (uint64_t size = p->store->seg.size_bytes;
         p->trouble == NULL && p->store->seg.size_bytes == size;)
        cut_bulk(p, 700, true);
    for (int i = 0; i < 3; i++) {
        hf_txn *txn = cut_begin(p);
        void *block = cut_fill_block(p, txn, 30 * KiB);
        cut_set_random(p, txn);
        if (i == 1 && block != NULL) {
            hf_abort(txn);
            continue;
        }
        cut_commit(p, txn);
        cut_change(p, 1);
    }
    cut_close(p);
}

/* Its transaction is a commit like another, if there is something new to give back. */
static void trim(struct cut_player *p)
{
    hf_trim_report report;
    if (p->trouble != NULL)
        return;
    p->mark.attempted++;
    cut_marked(p);
    if (hf_trim(p->store, &report) != 0)
        cut_failed(p, "hf_trim");
    if (report.extents == 0 && report.tail_bytes == 0)
        p->mark.attempted--;
    else if (!cut_note_commit(p))
        cut_failed(p, "looking at a trim");
    p->rare[RARE_PUNCHED] += report.punched_extents;
    p->mark.acknowledged = p->mark.attempted;
    cut_marked(p);
}

/* Free blocks and the tail become holes, are used again in part, and freed, and become holes. */
static void run_trim(struct cut_player *p)
{
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    hf_ref low = cut_bulk(p, 150 * KiB, true);
    hf_ref middle = cut_bulk(p, 30 * KiB, true);
    hf_ref high = cut_bulk(p, 100 * KiB, true);
    cut_change(p, 1);
    cut_bulk(p, 300, true);
    cut_free_at(p, low);
    trim(p);
    cut_change(p, 2);
    cut_bulk(p, 70 * KiB, false);
    hf_ref again = cut_bulk(p, 20 * KiB, true);
    cut_free_at(p, high);
    cut_change(p, 1);
    trim(p);
    cut_free_at(p, middle);
    cut_free_at(p, again);
    cut_bulk(p, 180 * KiB, true);
    trim(p);
    /* Its record stands above the base, and writes where the hole is to be. */
    hf_ref brief = cut_bulk(p, 90 * KiB, true);
    cut_bulk(p, 300, true);
    cut_free_at(p, brief);
    trim(p);
    cut_change(p, 1);
    cut_close(p);
}

static void run_window(struct cut_player *p)
{
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    cut_change(p, 1);
    hf_ref block = cut_bulk(p, 1100 * KiB, true);
    cut_change(p, 1);
    cut_bulk(p, 1100 * KiB, false);
    cut_change(p, 1);
    if (block != 0)
        cut_free_at(p, block);
    cut_checkpoint(p); /* the mark of fresh space comes down: that space is fresh again */
    cut_bulk(p, 1200 * KiB, true);
    cut_change(p, 1);
    cut_close(p);
}

/* What lies below the used end goes through the log, and be it a MiB: into blocks that are allocated for it
 * and hold no zeros that were written, behind what the log holds or, when that is much, in the other file.
 * Small ones follow, in the room behind it. */
static void run_huge(struct cut_player *p)
{
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    hf_ref first = cut_bulk(p, 1200 * KiB, true); /* windows */
    hf_ref second = cut_bulk(p, 1100 * KiB, true);
    cut_bulk(p, 300, true);
    for (int i = 0; i < 2; i++) {
        if (first == 0 || second == 0)
            return;
        cut_free_at(p, first);
        cut_free_at(p, second);
        first = cut_bulk(p, 1180 * KiB, true);
        if (i == 0)
            cut_change(p, 1);
        second = cut_bulk(p, 1060 * KiB, true);
        cut_change(p, 1);
    }
    cut_close(p);
}

/* Records of the same log hold lines above the used end that a window begins at later, and they are
 * replayed after the window was written. */
static void run_window_over(struct cut_player *p)
{
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    hf_ref block = cut_bulk(p, 200 * KiB, true);
    cut_change(p, 1);
    if (block != 0)
        cut_free_at(p, block);
    cut_change(p, 1);
    cut_bulk(p, 1300 * KiB, true);
    cut_change(p, 1);
    cut_close(p);
}

/* The same with lines that no commit ever had: their savepoint was rolled back to. */
static void run_window_rollback(struct cut_player *p)
{
    hf_mark savepoint;
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    hf_txn *txn = cut_begin(p);
    if (txn == NULL || hf_savepoint(txn, &savepoint) != 0)
        return;
    cut_fill_block(p, txn, 200 * KiB);
    hf_rollback_to(txn, savepoint);
    cut_set_random(p, txn);
    cut_commit(p, txn);
    cut_bulk(p, 1300 * KiB, true);
    cut_close(p);
}

static void there_and_back(struct cut_player *p)
{
    struct hf__log_front front;
    for (int i = 0; i < 3; i++) {
        hf_txn *txn = cut_begin(p);
        cut_set(p, txn, "cell5", i == 1 ? 77 : 5);
        cut_commit(p, txn);
    }
    hf__front_read(p->store, &front);
    p->rare[RARE_CHANGED_BACK] += p->mark.attempted >= front.applied + 3;
}

static void run_reader(struct cut_player *p)
{
    struct cut_reader r;
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    p->store->log.private_max_bytes = 4 * KiB; /* what isn't applied must be kept all the same */
    cut_change(p, 1);
    for (int round = 0; round < 2; round++) {
        if (!cut_reader_start(p, &r))
            return;
        there_and_back(p);
        cut_change(p, 2); /* the log can't be switched: it grows */
        cut_change(p, 1);
        if (round == 1)
            cut_sync(p);
        cut_reader_end(&r);
        cut_change(p, 1);
        cut_sync(p);
    }
    cut_change(p, 1);
    cut_close(p);
}

/* ---- other durabilities ---------------------------------------------------------------------- */

static void run_lazy(struct cut_player *p)
{
    p->durability = HF_LAZY;
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    for (int i = 0; i < 12; i++) {
        cut_change(p, 1);
        if (i == 3 || i == 4 || i == 9)
            cut_sync(p);
    }
    hf_txn *txn = cut_begin(p);
    cut_fill_block(p, txn, 5 * KiB);
    cut_commit(p, txn);
    cut_change(p, 1);
    cut_close(p);
}

static void run_lazy_and_sync(struct cut_player *p)
{
    p->durability = HF_LAZY;
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    for (int i = 0; i < 10; i++) {
        cut_durability(p, i % 3 == 2 ? HF_SYNC : HF_LAZY);
        cut_change(p, 1);
    }
    cut_durability(p, HF_LAZY);
    cut_change(p, 1);
    cut_bulk(p, 1100 * KiB, true);
    cut_change(p, 1);
    cut_sync(p);
    cut_change(p, 1);
    cut_close(p);
}

static void run_nosync(struct cut_player *p)
{
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    cut_change(p, 1);
    cut_durability(p, HF_NOSYNC);
    for (int i = 0; i < 4; i++)
        cut_change(p, 1);
    cut_sync(p);
    cut_change(p, 1);
    cut_durability(p, HF_SYNC);
    cut_bulk(p, 20 * KiB, true); /* ends it: a checkpoint first, and another one to make room */
    cut_change(p, 1);
    cut_durability(p, HF_NOSYNC);
    cut_change(p, 1);
    cut_change(p, 1);
    cut_close(p);
}

static void run_reopen(struct cut_player *p)
{
    for (int i = 0; i < 3; i++) {
        if (!cut_open(p, HF_OPEN_EXISTING))
            return;
        for (int j = 0; j <= i; j++)
            cut_change(p, 2);
        cut_close(p);
    }
}

/* What a commit frees at the end is zeroed in the file: not before that commit is durable. */
static void run_zeros(struct cut_player *p)
{
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    for (int round = 0; round < 2; round++) {
        hf_ref block = cut_bulk(p, 6 * KiB, true);
        cut_sync(p);
        if (round == 1)
            cut_checkpoint(p); /* the block stands in the file alone, in no log */
        cut_durability(p, HF_LAZY);
        if (block != 0)
            cut_free_at(p, block);
        hf_txn *txn = cut_begin(p);
        if (txn == NULL || hf_zero_free_memory(txn) != 0) {
            cut_failed(p, "zeroing");
            return;
        }
        cut_set_random(p, txn);
        cut_commit(p, txn);
        cut_sync(p);
        cut_durability(p, HF_SYNC);
    }
    cut_close(p);
}

/* Whatever comes, in any order. */
static void random_step(struct cut_player *p, struct cut_reader *r, bool *reading, hf_ref *block)
{
    const uint64_t dice = rng_below(&p->rng, 100);
    if (dice < 30) {
        cut_change(p, 1 + rng_below(&p->rng, 3));
    } else if (dice < 40 && !*reading) {
        cut_durability(p, (uint32_t)rng_below(&p->rng, 3));
    } else if (dice < 50) {
        cut_sync(p);
    } else if (dice < 58 && !*reading && p->durability != HF_NOSYNC &&
               p->store->locks.table->header.log.unsynced == 0) {
        *reading = cut_reader_start(p, r);
    } else if (dice < 66 && *reading) {
        cut_reader_end(r);
        *reading = false;
    } else if (dice < 72 && !*reading) {
        cut_checkpoint(p);
        p->mark.acknowledged = p->mark.attempted;
        p->mark.may_be_torn = false;
        cut_marked(p);
    } else if (dice < 80 && *block != 0) {
        cut_free_at(p, *block);
        *block = 0;
    } else if (dice < 90 && *block == 0) {
        *block = cut_bulk(p, rng_below(&p->rng, 4) * 9 * KiB + 100, true);
    } else if (dice < 93) {
        cut_bulk(p, 1 + rng_below(&p->rng, 40) * KiB, false);
    } else if (dice < 95 && *block == 0) {
        *block = cut_bulk(p, 1060 * KiB, true);
    } else if (dice < 97 && !*reading && p->durability == HF_SYNC) {
        cut_fail_sync(p, rng_percent(&p->rng, 50));
        cut_change(p, 1);
    } else if (dice < 99 && !*reading) {
        cut_close(p);
        cut_open(p, HF_OPEN_EXISTING);
    }
}

static void run_random(struct cut_player *p)
{
    struct cut_reader r;
    bool reading = false;
    hf_ref block = 0;
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    p->store->log.log_max_bytes = 8 * KiB * KiB;
    for (int i = 0; i < 40 && p->trouble == NULL; i++)
        random_step(p, &r, &reading, &block);
    if (reading)
        cut_reader_end(&r);
    cut_close(p);
}

static void run_failures(struct cut_player *p)
{
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    cut_change(p, 1);
    cut_fail_sync(p, false);
    cut_change(p, 2);
    cut_change(p, 1); /* renews the log first */
    for (int i = 0; i < 4; i++) {
        cut_fail_sync(p, true);
        cut_change(p, 1); /* one of them wants a switch */
    }
    cut_fail_sync(p, false);
    cut_change(p, 1);
    cut_durability(p, HF_LAZY);
    cut_change(p, 1);
    cut_durability(p, HF_SYNC);
    cut_change(p, 1);
    cut_fail_sync(p, true);
    cut_bulk(p, 1060 * KiB, true); /* its window isn't synced */
    cut_change(p, 1);
    cut_close(p);
}

/* Who renews a log fails, too, before or behind the new header, and so does the next one. */
static void run_renewals(struct cut_player *p)
{
    static const unsigned at[] = {3, 1, 3, 2, 3};
    struct cut_reader r;
    if (!cut_open(p, HF_OPEN_EXISTING) || !cut_reader_start(p, &r))
        return;
    cut_change(p, 1); /* not applied while somebody reads: lost if the log is */
    cut_change(p, 2);
    cut_fail_sync(p, false);
    cut_change(p, 1);
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        cut_fail_renewal(p, at[i]);
    cut_change(p, 1);
    cut_reader_end(&r);
    cut_change(p, 1);
    cut_close(p);
}

/* Records that stand whole though their write was said to have failed: they count. */
static void run_unwritten(struct cut_player *p)
{
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    cut_change(p, 1);
    cut_fail_write(p);
    cut_change(p, 2);
    cut_change(p, 1);
    cut_fail_write(p);
    hf_txn *txn = cut_begin(p);
    unsigned char *block = cut_fill_block(p, txn, 1060 * KiB);
    hf_mark mark;
    /* In the window, and with an undo: what was new at a savepoint is kept from then on. */
    if (block != NULL && hf_savepoint(txn, &mark) == 0 &&
        (block = hf_edit(txn, block + 1050 * KiB, 512)) != NULL)
        content_fill(block, 512, rng_next(&p->rng));
    cut_set_random(p, txn);
    cut_commit(p, txn);
    cut_change(p, 1);
    cut_close(p);
}

/* ---- two handles, as two processes have them -------------------------------------------------- */

/* The other one is the player's from now on. */
static void take_turns(struct cut_player *p, hf_store **other)
{
    hf_store *mine = p->store;
    p->store = *other;
    *other = mine;
    p->durability = p->store->durability;
}

/* So that the player can open it again: a process that has a store open is refused a second handle, but
 * nothing else keeps the two from being as strange to each other as two processes' are. */
static bool set_aside(struct cut_player *p, hf_store **other)
{
    *other = p->store;
    p->store = NULL;
    hf__list_remove(*other);
    p->in_company = true;
    return p->trouble == NULL;
}

static bool open_two(struct cut_player *p, hf_store **other)
{
    *other = NULL;
    if (!cut_open(p, HF_OPEN_EXISTING))
        return false;
    return set_aside(p, other) && cut_open(p, HF_OPEN_EXISTING);
}

/* Closes that one while the other stays. */
static void close_one(struct cut_player *p, hf_store **other)
{
    cut_sync(p); /* it would be his housekeeper's to do */
    cut_close(p);
    p->store = *other;
    *other = NULL;
    p->in_company = false;
    p->durability = p->store->durability;
}

/* Each writes after records that the other appended: pages that the other has changed since are dropped
 * or laid over, space that the other freed is written again, a log that the other switched is
 * followed, and syncs of one answer for records of the other. */
static void two_step(struct cut_player *p, hf_store **other, hf_ref *block)
{
    const uint64_t dice = rng_below(&p->rng, 100);
    if (rng_percent(&p->rng, 60))
        take_turns(p, other);
    if (dice < 50) {
        cut_change(p, 1 + rng_below(&p->rng, 3));
    } else if (dice < 60) {
        cut_durability(p, rng_percent(&p->rng, 50) ? HF_SYNC : HF_LAZY);
        cut_change(p, 1);
    } else if (dice < 68) {
        cut_sync(p);
    } else if (dice < 74) {
        cut_checkpoint(p);
        p->mark.acknowledged = p->mark.attempted;
        cut_marked(p);
    } else if (dice < 84 && *block == 0) {
        *block = cut_bulk(p, 100 + rng_below(&p->rng, 3) * 9 * KiB, true);
    } else if (dice < 88 && *block == 0) {
        *block = cut_bulk(p, 1060 * KiB, true);
    } else if (dice < 94 && *block != 0) {
        cut_free_at(p, *block);
        *block = 0;
    } else if (dice < 96) {
        cut_bulk(p, 5 * KiB, false);
    } else if (dice < 98 && p->durability == HF_SYNC) {
        cut_fail_sync(p, rng_percent(&p->rng, 50));
        cut_change(p, 1);
    }
}

static void run_two(struct cut_player *p)
{
    hf_store *other;
    hf_ref block = 0;
    if (!open_two(p, &other))
        return;
    for (int i = 0; i < 40 && p->trouble == NULL; i++) {
        two_step(p, &other, &block);
        if (i == 25) { /* one leaves, another comes */
            close_one(p, &other);
            cut_change(p, 1);
            cut_checkpoint(p); /* who comes and finds work left starts a housekeeper */
            p->mark.acknowledged = p->mark.attempted;
            cut_marked(p);
            if (!set_aside(p, &other) || !cut_open(p, HF_OPEN_EXISTING))
                return;
        }
    }
    close_one(p, &other);
    cut_change(p, 1);
    cut_close(p);
}

/* ---- a process that is killed ------------------------------------------------------------------- */

/* The player's handle does nothing any more, as if its process had died: its descriptors and with them its
 * locks go, what it wrote stays in the page cache. */
static void die(struct cut_player *p)
{
    hf_store *store = p->store;
    int *fds[] = {&store->fd, &store->map_fd, &store->locks.lock_fd, &store->undo.fd};
    p->store = NULL;
    store->log.housekeeping = false;
    hf__list_remove(store);
    store->forked = true;
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        hf__drop_fd(fds[i]);
    hf__log_drop_fds(&store->log);
    if (hf_close(store) != 0)
        cut_failed(p, "closing a handle that is dead");
}

/* What the dead one didn't sync, or in vain, is in the page cache alone when it is replayed: commits, a log that
 * was switched, and what a transaction wrote to fresh space. */
static void run_killed(struct cut_player *p)
{
    for (int i = 0; i < 5; i++) {
        p->durability = i == 2 ? HF_SYNC : HF_LAZY;
        if (!cut_open(p, HF_OPEN_EXISTING))
            return;
        for (uint64_t commits = 1 + rng_below(&p->rng, 4); commits > 0; commits--)
            cut_change(p, 1 + rng_below(&p->rng, 3));
        if (i == 1) {
            cut_sync(p);
            cut_change(p, 2);
        }
        if (i == 2) { /* he is told of it, and nobody else will be */
            cut_fail_sync(p, false);
            cut_change(p, 1);
        }
        if (i == 3) {
            cut_checkpoint(p);
            cut_change(p, 1);
            cut_bulk(p, 1060 * KiB, true);
        }
        if (i == 4)
            cut_fill_block(p, cut_begin(p), 1060 * KiB);
        if (p->trouble == NULL)
            die(p);
    }
    p->durability = HF_SYNC;
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    cut_change(p, 1);
    cut_close(p);
}

void cut_run_recovery(struct cut_player *p)
{
    if (!cut_open(p, HF_OPEN_EXISTING))
        return;
    cut_change(p, 1);
    cut_durability(p, HF_LAZY);
    cut_change(p, 1);
    cut_change(p, 2);
    cut_close(p);
}

const struct cut_program cut_programs[] = {
    {"create", NULL, run_create, 1, 1},
    {"commits", cut_make_store, run_commits, 3, 1},
    {"mix", cut_make_store, run_mix, 1, 1},
    {"compact", cut_make_store, cut_run_compact, 1, 2},
    {"growth", cut_make_store, run_growth, 1, 2},
    {"trim", cut_make_store, run_trim, 2, 4},
    {"window", cut_make_store, run_window, 1, 8},
    {"huge", cut_make_store, run_huge, 1, 32},
    {"window-over", cut_make_store, run_window_over, 1, 32},
    {"window-back", cut_make_store, run_window_rollback, 1, 8},
    {"reader", cut_make_store, run_reader, 2, 1},
    {"lazy", cut_make_store, run_lazy, 3, 1},
    {"lazy-and-sync", cut_make_store, run_lazy_and_sync, 1, 1},
    {"nosync", cut_make_store, run_nosync, 4, 1},
    {"reopen", cut_make_store, run_reopen, 2, 1},
    {"zeros", cut_make_store, run_zeros, 1, 4},
    {"failures", cut_make_store, run_failures, 1, 2},
    {"renewals", cut_make_store, run_renewals, 1, 2},
    {"unwritten", cut_make_store, run_unwritten, 1, 2},
    {"resize", cut_make_store, cut_run_resize, 1, 8},
    {"snapshot", cut_make_store, cut_run_snapshot, 1, 4},
    {"save", cut_make_store, cut_run_save, 1, 4},
    {"archive", cut_make_store, cut_run_archive, 1, 8},
    {"repair", cut_make_broken, cut_run_repair, 1, 4},
    {"random", cut_make_store, run_random, 12, 8},
    {"two", cut_make_store, run_two, 6, 8},
    {"killed", cut_make_store, run_killed, 3, 2},
};
const size_t cut_program_count = sizeof cut_programs / sizeof *cut_programs;

