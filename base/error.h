/* SPDX-License-Identifier: MIT */
/*
 * error.h - recording errors for hf_last_error
 *
 * All failures pass through hf__fail or one of its kin, which fill the thread's hf_error and return
 * the code, so that a function can end in `return hf__fail(HF_ENAME, "...")`. All damage found in a
 * store outside a check passes through hf__corrupt, which records offset and rule.
 */
#ifndef HF_BASE_ERROR_H
#define HF_BASE_ERROR_H

#include "holdfast/error.h"

/* Records code with a formatted detail; returns code. */
int hf__fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a system call that failed on a path: os_errno chooses the code (ENOSPC, EDQUOT ->
 * HF_ENOSPC, EACCES, EPERM, EROFS -> HF_EACCES, ENOENT, ENOMEM, EEXIST, else HF_EIO). */
int hf__fail_os(int os_errno, const char *path, const char *what);
/* The same with the code given. */
int hf__fail_path(int code, int os_errno, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A lock that process pid holds (0 = unknown): HF_EBUSY. */
int hf__fail_busy(int64_t pid, const char *path, const char *what);
/* The same for another code. */
int hf__fail_holder(int code, int64_t pid, const char *path, const char *what);
/* HF_ENOTFOUND for an object of that name: quick, since it is an everyday answer. */
int hf__fail_missing(const char *name, size_t name_bytes);
/* Records an earlier error again, for functions that clean up before they return it. */
int hf__fail_again(const hf_error *error);
/* HF_ECORRUPT at an offset of the segment. */
int hf__corrupt(const char *rule, uint64_t offset);

#endif
