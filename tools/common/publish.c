/* SPDX-License-Identifier: MIT */
/* publish.c - a new file gets its name when it is whole, and keeps it over a power cut */
#include "tools/common/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int publish_name(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    if (link(from, to) != 0)
        return errno;
    unlink(from);
    return 0;
}

int publish_sync(const char *path)
{
    char *copy = strdup(path);
    int fd, code;

    if (copy == NULL)
        return ENOMEM;
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    code = errno;
    free(copy);
    if (fd < 0)
        return code == EACCES ? 0 : code; /* one may write to a directory without reading it */
    code = fsync(fd) != 0 ? errno : 0;
    close(fd);
    return code;
}
