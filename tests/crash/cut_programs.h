/* SPDX-License-Identifier: MIT */
/*
 * cut_programs.h - what runs while it is recorded
 */
#ifndef HF_TESTS_CRASH_CUT_PROGRAMS_H
#define HF_TESTS_CRASH_CUT_PROGRAMS_H

#include "cut_recorder.h"
#include "holdfast.h"
#include "tests/support/campaign.h"

/* What must have happened at least once, or the test has missed its point. */
enum cut_rare {
    RARE_DEFERRED,      /* a commit whose apply waits for a reader                               */
    RARE_CHANGED_BACK,  /* a page changed and changed back meanwhile                             */
    RARE_SWITCH,        /* of log files                                                          */
    RARE_GROWTH,        /* of the file, in a transaction                                         */
    RARE_WINDOW,        /* fresh space written in place                                          */
    RARE_WINDOW_AGAIN,  /* where there had been a window before                                  */
    RARE_LATER_ALONE,   /* of two records that weren't synced the later persisted                */
    RARE_REPLAYED,      /* a recovery that had something to replay                               */
    RARE_TORN,          /* HF_ETORN                                                              */
    RARE_WHOLE_UNSYNCED,/* the other answer where HF_ETORN was allowed                           */
    RARE_NESTED,        /* a cut inside a recovery                                               */
    RARE_NESTED_TWICE,  /* and inside the recovery of that                                       */
    RARE_SYNC_FAILED,   /* of the log, and of the data; gone on from                             */
    RARE_PUNCHED,       /* free space made a hole                                                */
    RARES
};
extern const char *const cut_rare_names[RARES];

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
    const char *trouble;  /* a call that failed, NULL if none did                                */
};

struct cut_program {
    const char *name;
    bool from_nothing;    /* there is no store when it begins                                    */
    void (*run)(struct cut_player *player);
    int rounds;           /* recorded that many times, with other seeds                          */
    unsigned share;       /* and each gets 1 / share of the states                               */
};
extern const struct cut_program cut_programs[];
extern const size_t cut_program_count;

/* The live bytes of a handle's segment, and the number of its last commit. False: it isn't sound. */
bool cut_state_of(hf_store *store, uint64_t *out_commit, uint64_t *out_hash);
/* An empty store in directory, and a few objects in it. */
bool cut_make_store(const char *path);
hf_options cut_options(uint32_t mode);
/* Opens what a cut left, goes on a little, closes it. */
void cut_run_recovery(struct cut_player *player);
/* Records a program in directory. False, with a message: it failed. */
bool cut_play(struct cut_trace *trace, const char *directory, void (*run)(struct cut_player *),
              struct cut_mark mark, uint64_t seed, uint64_t *rare);

#endif
