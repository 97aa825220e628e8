/* SPDX-License-Identifier: MIT */
/*
 * cut_steps.h - what recorded programs are made of
 *
 * A step that fails notes it in the player (trouble); those after it do nothing then.
 */
#ifndef HF_TESTS_CRASH_CUT_STEPS_H
#define HF_TESTS_CRASH_CUT_STEPS_H

#include "cut_recorder.h"
#include "holdfast.h"
#include "tests/support/campaign.h"

#include <pthread.h>
#include <semaphore.h>

#define KiB ((uint64_t)1024)

/* What a handle shows. */
struct cut_state {
    uint64_t commit;
    uint64_t hash;        /* of the segment's header and of all that lives                        */
    uint64_t plain;       /* the same without what a copy has of its own                          */
};

struct cut_player {
    struct cut_trace *trace;
    struct cut_mark mark;
    hf_store *store;
    const char *path;
    struct rng rng;
    uint32_t durability;
    uint64_t window_end;  /* of the highest window so far                                        */
    uint64_t *rare;
    bool may_fail;        /* the next commit                                                     */
    bool write_fails;     /* of its record                                                       */
    bool in_company;      /* another handle has the store open                                   */
    struct cut_state state; /* that was looked at last                                             */
    int goals;            /* that the trace has so far                                            */
    uint64_t meanwhile;   /* commits left to make in the middle of a copy                         */
    const char *trouble;  /* a call that failed, NULL if none did                                */
};

struct cut_reader {
    hf_store *store;
    sem_t inside, leave;
    pthread_t thread;
    bool good;
};

hf_options cut_options(uint32_t mode);
/* False: it isn't sound. */
bool cut_state_of(hf_store *store, struct cut_state *out);
/* A hash of what the program keeps, wherever it lies. False: it can't be looked at. */
bool cut_cells_of(hf_store *store, uint64_t *out);
/* A small store with a few objects in it. */
bool cut_make_store(const char *path);

/* ---- steps ----------------------------------------------------------------------------------- */

/* Always false. */
bool cut_failed(struct cut_player *p, const char *what);
/* From here on a cut leads to what p->mark says. */
void cut_marked(struct cut_player *p);
bool cut_open(struct cut_player *p, uint32_t mode);
void cut_close(struct cut_player *p);
void cut_sync(struct cut_player *p);
hf_txn *cut_begin(struct cut_player *p);
void cut_commit(struct cut_player *p, hf_txn *txn);
bool cut_note_state(struct cut_player *p);
/* The same of the commit just made, which must have the number attempted. */
bool cut_note_commit(struct cut_player *p);
void cut_set(struct cut_player *p, hf_txn *txn, const char *name, uint64_t value);
/* One of twelve cells, which are far enough apart to lie in several sectors. */
void cut_set_random(struct cut_player *p, hf_txn *txn);
/* A commit that sets some. */
void cut_change(struct cut_player *p, uint64_t cells);
void *cut_fill_block(struct cut_player *p, hf_txn *txn, uint64_t bytes);
/* A commit with a block of that size, or an abort of one. 0: none. */
hf_ref cut_bulk(struct cut_player *p, uint64_t bytes, bool keep);
void cut_free_at(struct cut_player *p, hf_ref block);
void cut_checkpoint(struct cut_player *p);
void cut_durability(struct cut_player *p, uint32_t kind);
/* A reader that is in the way of applying. */
bool cut_reader_start(struct cut_player *p, struct cut_reader *r);
void cut_reader_end(struct cut_reader *r);
/* The next sync of the data, or of the log, fails; so does the write of the next record. */
void cut_fail_sync(struct cut_player *p, bool of_data);
/* The log has failed; so does who renews it, at the nth sync of that. */
void cut_fail_renewal(struct cut_player *p, unsigned nth);
void cut_fail_write(struct cut_player *p);

/* ---- recordings ------------------------------------------------------------------------------ */

/* Opens what a cut left, goes on a little, closes it. */
void cut_run_recovery(struct cut_player *player);
/* Records a program in directory. False, with a message: it failed. */
bool cut_play(struct cut_trace *trace, const char *directory, void (*run)(struct cut_player *),
              struct cut_mark mark, uint64_t seed, uint64_t *rare);

#endif
