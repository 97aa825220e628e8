/* SPDX-License-Identifier: MIT */
/*
 * cut_programs.h - what runs while it is recorded
 */
#ifndef HF_TESTS_CRASH_CUT_PROGRAMS_H
#define HF_TESTS_CRASH_CUT_PROGRAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    RARE_MEANWHILE,     /* commits in the middle of a copy                                       */
    RARE_LAID,          /* a snapshot with records laid over the file's bytes                    */
    RARE_NAME_LOST,     /* between a rename and the directory's sync: t.hf is what it was        */
    RARE_NAME_KEPT,     /* and what it is to be                                                  */
    RARE_ARCHIVE_TORN,  /* an archive that isn't whole, and refused                              */
    RARE_ARCHIVE_WHOLE, /* one that hasn't been synced, and is whole all the same                */
    RARE_STILL_BROKEN,  /* a store in the middle of its repair: as before                        */
    RARE_REPAIRED,      /* and repaired                                                          */
    RARE_PUNCHED,       /* free space made a hole                                                */
    RARE_HUGE,          /* a record of a MiB, in blocks that were only allocated, behind others  */
    RARE_HUGE_SWITCH,   /* and as the first of a log                                             */
    RARES
};
extern const char *const cut_rare_names[RARES];

struct cut_player;

struct cut_program {
    const char *name;
    bool (*make)(const char *path); /* the store that is there when it begins, NULL: none        */
    void (*run)(struct cut_player *player);
    int rounds;           /* recorded that many times, with other seeds                          */
    unsigned share;       /* and each gets 1 / share of the states                               */
};
extern const struct cut_program cut_programs[];
extern const size_t cut_program_count;

/* cut_copies.c */
bool cut_make_broken(const char *path);
extern uint64_t cut_cells_broken;
void cut_run_compact(struct cut_player *player);
void cut_run_resize(struct cut_player *player);
void cut_run_snapshot(struct cut_player *player);
void cut_run_save(struct cut_player *player);
void cut_run_archive(struct cut_player *player);
void cut_run_salvage(struct cut_player *player);
void cut_run_repair(struct cut_player *player);

#endif
