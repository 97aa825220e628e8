/* SPDX-License-Identifier: MIT */
/*
 * cut_recorder.h - what a program asked of the disk, in order
 *
 * A table of system calls (base/os.h) that forwards to the real ones and writes down what may be on
 * the disk, or not, when the power goes: bytes written, sizes, syncs, names. NAME-lock is shared
 * memory and worth nothing after a reboot, so it is left out. Stores through a shared, writable
 * mapping of the data file make no calls: while there is one, the file is compared with what is
 * known of it before each event that is recorded.
 *
 * The program's own marks stand between: which commits were begun, which were acknowledged.
 */
#ifndef HF_TESTS_CRASH_CUT_RECORDER_H
#define HF_TESTS_CRASH_CUT_RECORDER_H

#include "base/os.h"

enum { CUT_SECTOR = 512, CUT_FILES = 64 };

/* The first CUT_PLACES of them are looked at after a cut; the others lead to those files for a while. */
enum cut_name {
    CUT_DATA,         /* s.hf                                                                     */
    CUT_LOG0,
    CUT_LOG1,
    CUT_TARGET,       /* t.hf: what is made of s.hf                                               */
    CUT_FULL,         /* a.full and a.more: archives                                              */
    CUT_MORE,
    CUT_PLACES,
    CUT_SPARE = CUT_PLACES, /* s.hf.new-PID-NUMBER                                                */
    CUT_TARGET_SPARE,
    CUT_SPARE_SPARE,  /* t.hf.new-PID-NUMBER.new-PID-NUMBER                                       */
    CUT_FULL_PART,    /* a.full.part                                                              */
    CUT_MORE_PART,
    CUT_NAMES
};

enum cut_kind {
    CUT_CREATE,    /* name leads to file, which is empty                                         */
    CUT_WRITE,     /* bytes at offset                                                            */
    CUT_SIZE,      /* size_bytes is the file's new size                                          */
    CUT_SYNC,      /* of file                                                                    */
    CUT_SYNC_FAILED, /* what it should have made stable never will be, unless written again      */
    CUT_RENAME,    /* from -> name                                                               */
    CUT_LINK,      /* name leads to file as well                                                 */
    CUT_UNLINK,    /* name                                                                       */
    CUT_DIRECTORY, /* sync of the directory                                                      */
    CUT_MARK
};

/* What may be found after a cut from here on. */
struct cut_mark {
    uint64_t acknowledged, attempted;
    bool may_be_torn;    /* HF_ETORN is an answer: commits may be applied that were not synced     */
    bool may_be_absent;  /* the store isn't created yet                                           */
    /* What t.hf may be: numbers of goals, or CUT_NOTHING. Two, since it is one until it is the other. */
    int target_was, target_is;
    int archives;        /* that many of CUT_FULL and CUT_MORE are there, whole                   */
    enum { CUT_SOUND, CUT_BROKEN, CUT_REPAIRED } repair; /* broken: as at the start, or repaired  */
};
enum { CUT_NOTHING = 0, CUT_GOALS = 16 }; /* goals count from 1                                     */

/* A state that something made of the store must show. */
struct cut_goal {
    uint64_t plain;      /* cut_state_of's                                                        */
    uint64_t commit;     /* of the store; 0: it counts commits of its own                         */
};

struct cut_event {
    enum cut_kind kind;
    enum cut_name name, from;
    int file;
    uint64_t offset, size_bytes;
    unsigned char *bytes;
    struct cut_mark mark;
    bool joined;         /* no moment between this one and the next                              */
};

/* A file as it was when the recording began. */
struct cut_start {
    int file;              /* -1: there was none of that name                                    */
    uint64_t size_bytes;
    unsigned char *bytes;
};

struct cut_trace {
    struct cut_start starts[CUT_NAMES];
    struct cut_mark mark;  /* that holds at the start                                            */
    struct cut_event *events;
    size_t count, room;
    int files;
    uint64_t first_commit; /* hashes[i] is of commit first_commit + i                            */
    uint64_t hashes[512];  /* CUT_ANY: of a commit made inside a call: nobody has seen it alone     */
    uint64_t plains[512];  /* of it, the cells' hash (cut_cells_of)                               */
    size_t hash_count;
    struct cut_goal goals[CUT_GOALS + 1];
};
#define CUT_ANY UINT64_C(0)

/* Starts recording what happens to directory/s.hf and its sidecars, which are read first. */
void cut_record_start(struct cut_trace *trace, const char *directory, struct cut_mark mark);
void cut_record_mark(struct cut_mark mark);
/* What was done that a full disk would not have allowed, or NULL. */
const char *cut_record_fault(void);
/* The nth sync of the data file from now on, or of a log file, fails; 0: none does. */
void cut_record_fail_sync(bool of_data, unsigned nth);
/* link(2), for what the tools do: the library makes no links. */
int cut_record_link(const char *path, const char *target);
/* Called in the middle of what is written to t.hf's spare file, before each write or clone. NULL: no more. */
void cut_record_during(void (*call)(void *), void *context);
/* The next record is written whole, and said not to be. */
void cut_record_fail_write(bool fails);
/* Ends it: the library gets the real calls again. */
void cut_record_end(void);
void cut_trace_free(struct cut_trace *trace);
/* CUT_NAMES for a name that nobody is interested in. */
enum cut_name cut_name_of(const char *path);

#endif
