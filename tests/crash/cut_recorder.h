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

enum cut_name { CUT_DATA, CUT_LOG0, CUT_LOG1, CUT_SPARE, CUT_NAMES };

enum cut_kind {
    CUT_CREATE,    /* name leads to file, which is empty                                         */
    CUT_WRITE,     /* bytes at offset                                                            */
    CUT_SIZE,      /* size_bytes is the file's new size                                          */
    CUT_SYNC,      /* of file                                                                    */
    CUT_SYNC_FAILED, /* what it should have made stable never will be, unless written again      */
    CUT_RENAME,    /* CUT_SPARE -> name                                                          */
    CUT_UNLINK,    /* name                                                                       */
    CUT_DIRECTORY, /* sync of the directory                                                      */
    CUT_MARK
};

/* What may be found after a cut from here on. */
struct cut_mark {
    uint64_t acknowledged, attempted;
    bool may_be_torn;    /* HF_ETORN is an answer: commits may be applied that were not synced     */
    bool may_be_absent;  /* the store isn't created yet                                           */
};

struct cut_event {
    enum cut_kind kind;
    enum cut_name name;
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
    uint64_t hashes[512];
    size_t hash_count;
};

/* Starts recording what happens to directory/s.hf and its sidecars, which are read first. */
void cut_record_start(struct cut_trace *trace, const char *directory, struct cut_mark mark);
void cut_record_mark(struct cut_mark mark);
/* What was done that a full disk would not have allowed, or NULL. */
const char *cut_record_fault(void);
/* The next sync of the data file, or of a log file, fails, or no more does. */
void cut_record_fail_sync(bool of_data, bool fails);
/* The next record is written whole, and said not to be. */
void cut_record_fail_write(bool fails);
/* Ends it: the library gets the real calls again. */
void cut_record_end(void);
void cut_trace_free(struct cut_trace *trace);
/* CUT_NAMES for a name that nobody is interested in. */
enum cut_name cut_name_of(const char *path);

#endif
