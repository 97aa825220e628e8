/* SPDX-License-Identifier: MIT */
/*
 * error.c - the thread's last error
 *
 * One struct per thread, overwritten by each failure; success never touches it. The message is
 * composed once, where everything is known: text of the code, path, detail, errno, pid, offset.
 */
#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local hf_error last = {0, 0, 0, UINT64_MAX, "", "", ""};

const hf_error *hf_last_error(void)
{
    return &last;
}

const char *hf_strerror(int code)
{
    switch (code) {
    case HF_OK:
        return "no error";
#define TEXT_CASE(name, value, text)                                                               \
    case name:                                                                                     \
        return text;
        HF_ERROR_TABLE(TEXT_CASE)
#undef TEXT_CASE
    default:
        return "unknown error code";
    }
}

const char *hf_error_name(int code)
{
    switch (code) {
    case HF_OK:
        return "HF_OK";
#define NAME_CASE(name, value, text)                                                               \
    case name:                                                                                     \
        return #name;
        HF_ERROR_TABLE(NAME_CASE)
#undef NAME_CASE
    default:
        return "HF_E?";
    }
}

/* Appends to the message; what doesn't fit is cut. */
static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say_v(const char *format, va_list arguments)
{
    size_t used = strlen(last.message);
    vsnprintf(last.message + used, sizeof last.message - used, format, arguments);
}
static void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say_v(format, arguments);
    va_end(arguments);
}

static void begin_error(int code, int os_errno, const char *path)
{
    memset(&last, 0, sizeof last);
    last.code = code;
    last.os_errno = os_errno;
    last.offset = UINT64_MAX;
    last.rule = "";
    if (path != NULL) {
        size_t length = strlen(path), room = sizeof last.path - 1;
        snprintf(last.path, sizeof last.path, "%s", length > room ? path + (length - room) : path);
        say("%s: ", last.path);
    }
    say("%s", hf_strerror(code));
}

static void end_error(void)
{
    if (last.os_errno != 0)
        say(" (%s)", strerror(last.os_errno));
}

int hf__fail(int code, const char *format, ...)
{
    va_list arguments;
    begin_error(code, 0, NULL);
    say(": ");
    va_start(arguments, format);
    say_v(format, arguments);
    va_end(arguments);
    return code;
}

int hf__fail_path(int code, int os_errno, const char *path, const char *format, ...)
{
    va_list arguments;
    begin_error(code, os_errno, path);
    say(": ");
    va_start(arguments, format);
    say_v(format, arguments);
    va_end(arguments);
    end_error();
    return code;
}

static int code_of_errno(int os_errno)
{
    switch (os_errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return HF_ENOSPC;
    case EACCES:
    case EPERM:
    case EROFS:
        return HF_EACCES;
    case ENOENT:
    case ENOTDIR:
        return HF_ENOENT;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ENOLCK:
        return HF_ENOMEM;
    case EEXIST:
        return HF_EEXIST;
    case EISDIR:
        return HF_ENOTSTORE;
    case ENAMETOOLONG:
    case ELOOP:
        return HF_EINVAL;
    default:
        return HF_EIO;
    }
}

int hf__fail_os(int os_errno, const char *path, const char *what)
{
    return hf__fail_path(code_of_errno(os_errno), os_errno, path, "%s failed", what);
}

int hf__fail_busy(int64_t pid, const char *path, const char *what)
{
    return hf__fail_holder(HF_EBUSY, pid, path, what);
}

int hf__fail_holder(int code, int64_t pid, const char *path, const char *what)
{
    begin_error(code, 0, path);
    last.pid = pid;
    say(": %s", what);
    if (pid != 0)
        say(" (process %" PRId64 ")", pid);
    return code;
}

/* No formatted printing, no clearing of the whole struct: the message is put together by hand. */
int hf__fail_missing(const char *name, size_t name_bytes)
{
    static const char text[] = "no such object: ";
    last.code = HF_ENOTFOUND;
    last.os_errno = 0;
    last.pid = 0;
    last.offset = UINT64_MAX;
    last.rule = "";
    last.path[0] = '\0';
    memcpy(last.message, text, sizeof text - 1);
    const size_t room = sizeof last.message - sizeof text;
    const size_t length = name_bytes < room ? name_bytes : room;
    memcpy(last.message + sizeof text - 1, name, length);
    last.message[sizeof text - 1 + length] = '\0';
    return HF_ENOTFOUND;
}

int hf__fail_again(const hf_error *error)
{
    last = *error;
    return last.code;
}

int hf__corrupt(const char *rule, uint64_t offset)
{
    begin_error(HF_ECORRUPT, 0, NULL);
    last.rule = rule;
    last.offset = offset;
    say(": rule %s broken at offset %" PRIu64, rule, offset);
    return HF_ECORRUPT;
}
