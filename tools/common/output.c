/* SPDX-License-Identifier: MIT */
/*
 * output.c - writing results
 *
 * Every write, and the sync and close, is checked: on a full disk or an NFS-like file system the last
 * error comes with them.
 */
#include "tools/common/output.h"

#include "tools/common/publish.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITE_BYTES_MAX ((size_t)1 << 30) /* Linux moves at most 2 GiB a call */

int output_write(int fd, const void *bytes, size_t size_bytes)
{
    const unsigned char *p = bytes;

    while (size_bytes > 0) {
        size_t want = size_bytes < WRITE_BYTES_MAX ? size_bytes : WRITE_BYTES_MAX;
        ssize_t n = write(fd, p, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        assert(n > 0);
        p += n;
        size_bytes -= (size_t)n;
    }
    return 0;
}

static int write_and_close(int fd, const void *bytes, size_t size_bytes, bool sync)
{
    int code = output_write(fd, bytes, size_bytes);

    if (code == 0 && sync && fsync(fd) != 0)
        code = errno;
    if (close(fd) != 0 && code == 0)
        code = errno;
    return code;
}

static mode_t current_umask(void)
{
    mode_t mask = umask(0);
    umask(mask);
    return mask;
}

/* Beside path, so that rename stays on one file system. */
static int write_by_rename(const char *path, const void *bytes, size_t size_bytes,
                           unsigned permissions)
{
    size_t length = strlen(path);
    char *temporary = malloc(length + sizeof ".XXXXXX");
    int fd, code;

    if (temporary == NULL)
        return ENOMEM;
    memcpy(temporary, path, length);
    memcpy(temporary + length, ".XXXXXX", sizeof ".XXXXXX");
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        code = errno;
        free(temporary);
        return code;
    }
    code = fchmod(fd, (mode_t)permissions & ~current_umask()) != 0 ? errno : 0;
    if (code != 0)
        close(fd);
    else
        code = write_and_close(fd, bytes, size_bytes, true);
    if (code == 0 && rename(temporary, path) != 0)
        code = errno;
    if (code != 0)
        unlink(temporary);
    free(temporary);
    return code == 0 ? publish_sync(path) : code;
}

int output_replace_file(const char *path, const void *bytes, size_t size_bytes,
                        unsigned permissions)
{
    struct stat status;
    int fd;

    if (stat(path, &status) != 0 || S_ISREG(status.st_mode))
        return write_by_rename(path, bytes, size_bytes, permissions);
    fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? errno : write_and_close(fd, bytes, size_bytes, false);
}

void output_name(FILE *out, const char *name, bool escape)
{
    if (!escape) {
        fputs(name, out);
        return;
    }
    for (const unsigned char *p = (const unsigned char *)name; *p != '\0'; p++) {
        if (*p == '\n')
            fputs("\\n", out);
        else if (*p == '\t')
            fputs("\\t", out);
        else if (*p == '\\')
            fputs("\\\\", out);
        else if (*p < 0x20 || *p == 0x7f)
            fprintf(out, "\\%03o", (unsigned)*p);
        else
            putc(*p, out);
    }
}

int output_print(struct tool *tool, const void *bytes, size_t size_bytes)
{
    int failed = fflush(stdout) != 0 ? errno : output_write(STDOUT_FILENO, bytes, size_bytes);

    if (failed == EPIPE)
        return TOOL_IO;
    return failed == 0 ? TOOL_OK : tool_fail_os(tool, failed, "standard output", NULL);
}

/* stdio keeps no errno of a flush in the middle of the work; the one case that must be told from
 * the others, a reader that went away, can still be seen. */
static int lost_errno(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};

    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0 ? EPIPE : EIO;
}

int output_finish(int exit_code, bool is_fsck)
{
    bool failed_before = ferror(stdout) != 0;
    int failed = fflush(stdout) != 0 ? errno : 0;

    if (failed == 0 && failed_before)
        failed = lost_errno();
    if (fclose(stdout) != 0 && failed == 0)
        failed = errno;
    if (failed == 0)
        return exit_code;
    if (failed != EPIPE)
        fprintf(stderr, "holdfast: standard output: %s\n", strerror(failed));
    if (exit_code != TOOL_OK && !(is_fsck && exit_code == FSCK_CORRECTED))
        return exit_code;
    if (is_fsck)
        return FSCK_OPERATIONAL | exit_code;
    return failed == ENOSPC || failed == EDQUOT ? TOOL_NOSPACE : TOOL_IO;
}
