/* SPDX-License-Identifier: MIT */
/*
 * failing_calls.c - calls that fail in a command, preloaded into it by a shell test (LD_PRELOAD)
 *
 * HF_FAIL names one of them: "link" (EPERM, as where the file system has none), "rename" (without
 * replacing: EINVAL), "links" (both), "fsync", "syncfs" and "close" (EIO: a late error of a write),
 * "directory" (the fsync of one, EIO, once a file has got its name).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool named;

static bool fails(const char *what)
{
    const char *wish = getenv("HF_FAIL");
    return wish != NULL && strcmp(wish, what) == 0;
}

static bool is(int fd, mode_t kind)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

static int fail(int error)
{
    errno = error;
    return -1;
}

int link(const char *from, const char *to)
{
    if (fails("link") || fails("links"))
        return fail(EPERM);
    named = true;
    return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    if (flags != 0 && (fails("rename") || fails("links")))
        return fail(EINVAL);
    named = true;
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int fsync(int fd)
{
    if ((fails("fsync") && is(fd, S_IFREG)) || (named && fails("directory") && is(fd, S_IFDIR)))
        return fail(EIO);
    return (int)syscall(SYS_fsync, fd);
}

int syncfs(int fd)
{
    return fails("syncfs") ? fail(EIO) : (int)syscall(SYS_syncfs, fd);
}

int close(int fd)
{
    const bool late =
        fails("close") && is(fd, S_IFREG) && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    const int result = (int)syscall(SYS_close, fd);
    return late ? fail(EIO) : result;
}
