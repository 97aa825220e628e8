/* SPDX-License-Identifier: MIT */
/*
 * cut_states.h - what a disk may hold when the power goes
 *
 * A struct cut_disk follows a trace (cut_recorder.h) event by event. At each point it knows, for each
 * file, what is surely stable, and what was written, resized or renamed since and may be or not:
 *
 *   - a 512-byte sector holds what was synced, or any of the versions written since; in a log file
 *     it may also be garbage, if something was written there since the sync
 *   - a file has its synced size, or any it was given since; a grown part reads zeros
 *   - after a sync that failed all that stays as it is, whatever is synced later, but for sectors that
 *     were written again (and what those need of the size)
 *   - a name that was made, moved or removed since the directory's sync is there or not
 *
 * Each of these independently of the others; but a file that no name leads to which is looked at, not even
 * perhaps, is left as it is. cut_choose draws or counts up one such state and
 * cut_put makes files of it.
 */
#ifndef HF_TESTS_CRASH_CUT_STATES_H
#define HF_TESTS_CRASH_CUT_STATES_H

#include "cut_recorder.h"
#include "tests/support/campaign.h"

/* One thing that may be so or so. */
struct cut_choice {
    int file;                 /* -1: a name                                                      */
    uint64_t sector;          /* UINT64_MAX: the size                                            */
    uint32_t count;           /* of possibilities; 0 is what is stable                           */
    uint32_t first;           /* of its versions                                                 */
    uint32_t last;            /* garbage counts as one more behind them                          */
    uint32_t chosen;
    bool lost;                /* a sync failed since it was written: the next one won't help      */
};

struct cut_version {
    uint32_t next;            /* 0 = none                                                        */
    uint32_t event;
    uint64_t size_bytes;      /* of the file, where it is one                                    */
    const unsigned char *bytes;
};

struct cut_disk_file {
    unsigned char *stable, *current; /* zero behind their ends                                   */
    uint64_t stable_bytes, current_bytes;
    bool is_log;
    int32_t *choice_of;       /* for each sector, index of its choice or -1                      */
    int32_t size_choice;
    unsigned char *touched;   /* for each sector: scratch may hold something else than `stable`  */
    uint32_t *touched_list;
    uint32_t touched_count;
    bool named;               /* a name that is looked at leads to it, or may                     */
};

struct cut_scratch;

struct cut_disk {
    const struct cut_trace *trace;
    size_t next;              /* event                                                           */
    struct cut_mark mark;
    struct cut_disk_file files[CUT_FILES];
    int stable_names[CUT_NAMES];
    struct cut_choice *choices;
    uint32_t choice_count, choice_room;
    struct cut_version *versions;
    uint32_t version_count, version_room;
    unsigned char **arena;    /* the versions' sectors                                           */
    uint32_t arena_count, arena_room;
    struct cut_scratch *scratch;
    uint64_t done;            /* of the exhaustive count                                         */
    uint32_t records_pending; /* records in a log file since its sync                            */
    bool rename_pending;      /* of what is to be t.hf                                           */
};

void cut_disk_start(struct cut_disk *disk, const struct cut_trace *trace,
                    struct cut_scratch *scratch);
/* Goes on by one event. False at the end. */
bool cut_disk_step(struct cut_disk *disk);
void cut_disk_end(struct cut_disk *disk);

/* How many states there are here, at most limit + 1. */
uint64_t cut_count(const struct cut_disk *disk, uint64_t limit);
/* State number `number` of a count that is not over a limit. */
void cut_choose(struct cut_disk *disk, uint64_t number);
/* A random one. */
void cut_draw(struct cut_disk *disk, struct rng *rng, uint64_t number);

/* ---- scratch: the files that a state becomes, with system calls that notice what changes them -- */

struct cut_scratch {
    char directory[600], path[700];
    int fds[CUT_PLACES];
    unsigned char *maps[CUT_PLACES];
    bool present[CUT_PLACES];
    int file[CUT_PLACES];     /* of the disk, whose content it is but for touched sectors; -1    */
    struct cut_disk *disk;
};

void cut_scratch_start(struct cut_scratch *scratch, const char *directory);
void cut_scratch_end(struct cut_scratch *scratch);
/* Makes the chosen state. False: in it there is no store under its name. */
bool cut_put(struct cut_disk *disk);
/* The library sees this scratch, in another boot than the one recorded. */
void cut_scratch_use(struct cut_scratch *scratch);
/* Copies the store that stands in scratch, with its logs, into an empty directory. */
void cut_scratch_copy(const struct cut_scratch *scratch, const char *directory);
/* Of the records in the log since its sync, one is not whole and a later one is. */
bool cut_later_record_alone(const struct cut_disk *disk);

/* A hash of the file that stands under that name, which must be there. */
uint64_t cut_content(const struct cut_disk *disk, enum cut_name place);
/* Its path in scratch. */
void cut_place_path(const struct cut_scratch *scratch, enum cut_name place, char out[800]);

#endif
