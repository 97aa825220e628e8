/* SPDX-License-Identifier: MIT */
/*
 * error.h - error codes and what stands behind them
 *
 * A function that returns int returns 0, or one of the negative codes below. A function that
 * returns a pointer returns NULL on an error. Either way hf_last_error() then tells this thread
 * which code it was and what is known about it: errno, path, offset, the rule that was broken, the
 * process that holds a lock. Nothing in Holdfast calls abort() or raises a signal on bad input.
 *
 * Example
 *
 *   if (hf_open("x.hf", NULL, &store) != 0)
 *       fprintf(stderr, "%s\n", hf_last_error()->message);
 */
#ifndef HOLDFAST_ERROR_H
#define HOLDFAST_ERROR_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, value, text): the one table. The values are part of the interface and never change. */
#define HF_ERROR_TABLE(X)                                                                          \
    X(HF_EINVAL, -1, "invalid argument")                                                           \
    X(HF_ENOMEM, -2, "the process is out of memory")                                               \
    X(HF_ENOSPC, -3, "the disk is full")                                                           \
    X(HF_EFULL, -4, "the store has reached its maximum size")                                      \
    X(HF_EIO, -5, "input/output error")                                                            \
    X(HF_EACCES, -6, "permission denied")                                                          \
    X(HF_ENOENT, -7, "no such file")                                                               \
    X(HF_ENOTFOUND, -8, "no such object")                                                          \
    X(HF_EEXIST, -9, "exists already")                                                             \
    X(HF_EBUSY, -10, "held by another process or thread")                                          \
    X(HF_EALREADYOPEN, -11, "this process has the store open already")                             \
    X(HF_EFORKED, -12, "the handle belongs to the parent process")                                 \
    X(HF_ENESTED, -13, "this thread has a transaction open already")                               \
    X(HF_EDEADLOCK, -14, "this thread has a view open that the transaction would wait for")        \
    X(HF_EREADONLY, -15, "the store is open read-only")                                            \
    X(HF_ETYPE, -16, "the type is not the registered one")                                         \
    X(HF_ENAME, -17, "the name is empty or too long")                                              \
    X(HF_EOVERFLOW, -18, "the size overflows")                                                     \
    X(HF_EMISMATCH, -19, "the store was created with another engine, allocator or index")          \
    X(HF_ELAYOUT, -20, "the store holds another application's layout")                             \
    X(HF_ENOTSTORE, -21, "not a Holdfast store")                                                   \
    X(HF_ETRUNCATED, -22, "the file is cut short")                                                 \
    X(HF_ENEWER, -23, "the store's format is newer than this library")                             \
    X(HF_EENDIAN, -24, "the store was made on a machine of the other byte order")                  \
    X(HF_EPAGESIZE, -25, "the store was made for another page size")                               \
    X(HF_ECORRUPT, -26, "the store is damaged")                                                    \
    X(HF_ETORN, -27, "the machine went down while the store was written")                          \
    X(HF_ESIDECAR, -28, "a file that belongs to the store is missing or another store's")          \
    X(HF_EOTHERPATH, -29, "the store is open under another name")                                  \
    X(HF_ENETFS, -30, "the file system can't carry a store")                                       \
    X(HF_EADDRSPACE, -31, "not enough address space")                                              \
    X(HF_EREADERS, -32, "too many views are open")                                                 \
    X(HF_EPROCESSES, -33, "too many processes have the store open")                                \
    X(HF_EPTR, -34, "the pointer is not what it should be")                                        \
    X(HF_ENOINDEX, -35, "the store has no name index")                                             \
    X(HF_ENOTSUP, -36, "not supported by this backing or mode")                                    \
    X(HF_ECANCELLED, -37, "cancelled by the caller")                                               \
    X(HF_ELOGFULL, -38, "the log is full: a view keeps commits from being applied")                \
    X(HF_ECOMMIT_UNKNOWN, -39, "the commit may or may not be on the disk")                         \
    X(HF_ELOGMISSING, -40, "the store was not closed and its log is missing")                      \
    X(HF_ELOGFOREIGN, -41, "the log beside the store is another store's, or of another time")      \
    X(HF_EUNANNOUNCED, -42, "bytes were changed without hf_edit")                                  \
    X(HF_EARCHIVE, -43, "no archive, or not the one that belongs here")

enum {
    HF_OK = 0,
#define HF_ERROR_ENUM(name, value, text) name = value,
    HF_ERROR_TABLE(HF_ERROR_ENUM)
#undef HF_ERROR_ENUM
};

typedef struct hf_error {
    int code;             /* HF_E..., 0 when this thread has met none                             */
    int os_errno;         /* errno of the system call that failed, or 0                           */
    int64_t pid;          /* the process that holds what was wanted, or 0                         */
    uint64_t offset;      /* where in the file or segment, or UINT64_MAX                          */
    const char *rule;     /* the rule that was found broken, "" if none; a static string          */
    char path[256];       /* the file concerned, its end if longer; "" if none                    */
    char message[512];    /* all of it in one line                                                */
} hf_error;

/*
 * hf_last_error - the last error this thread met.
 * The struct belongs to the thread, is overwritten by its next error, and is never NULL. Success
 * doesn't clear it, and may leave an error there that the call met and dealt with: look at it only
 * after a call that failed.
 */
HF_API const hf_error *hf_last_error(void);

/* hf_strerror - the text of a code; a static string, never NULL, also for unknown codes. */
HF_API const char *hf_strerror(int code);

/* hf_error_name - "HF_EBUSY" for HF_EBUSY; a static string, never NULL. */
HF_API const char *hf_error_name(int code);

#ifdef __cplusplus
}
#endif
#endif
