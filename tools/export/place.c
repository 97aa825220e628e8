/* SPDX-License-Identifier: MIT */
/*
 * place.c - putting files under a directory
 *
 * The directory of the last file stays open: names come in order, so the next file is mostly in the
 * same one, and a tree costs one open for each directory.
 */
#include "tools/export/place.h"

#include "tools/common/output.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int place_open(struct place *place, const char *path, bool overwrite)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return errno;
    place->root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (place->root_fd < 0)
        return errno;
    place->directory_fd = place->root_fd;
    place->directory_length = 0;
    place->overwrite = overwrite;
    return 0;
}

static void leave_directory(struct place *place)
{
    if (place->directory_fd != place->root_fd)
        close(place->directory_fd);
    place->directory_fd = place->root_fd;
    place->directory_length = 0;
}

int place_sync(const struct place *place)
{
    return syncfs(place->root_fd) == 0 ? 0 : errno;
}

void place_close(struct place *place)
{
    leave_directory(place);
    close(place->root_fd);
}

bool place_accepts(const char *name)
{
    for (;;) {
        size_t length = strcspn(name, "/");
        if (length == 0 || (length == 1 && name[0] == '.') ||
            (length == 2 && name[0] == '.' && name[1] == '.'))
            return false;
        if (name[length] == '\0')
            return true;
        name += length + 1;
    }
}

/* Goes one component down; the descriptor above is closed unless it is the root's. */
static int descend(struct place *place, const char *component)
{
    int fd =
        openat(place->directory_fd, component, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) {
        if (mkdirat(place->directory_fd, component, 0777) != 0 && errno != EEXIST)
            return errno;
        fd =
            openat(place->directory_fd, component, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0)
        return errno;
    if (place->directory_fd != place->root_fd)
        close(place->directory_fd);
    place->directory_fd = fd;
    return 0;
}

/* Makes directory_fd that of the first length bytes of name, a path without a '/' at its end. */
static int enter(struct place *place, const char *name, size_t length)
{
    char component[HF_NAME_BYTES_MAX + 1];
    size_t at = 0;

    assert(length <= HF_NAME_BYTES_MAX);
    if (length == place->directory_length && memcmp(place->directory, name, length) == 0)
        return 0;
    leave_directory(place);
    while (at < length) {
        const char *slash = memchr(name + at, '/', length - at);
        size_t end = slash == NULL ? length : (size_t)(slash - name);
        int code;

        memcpy(component, name + at, end - at);
        component[end - at] = '\0';
        code = descend(place, component);
        if (code != 0) {
            leave_directory(place);
            return code;
        }
        at = end + (slash != NULL);
    }
    memcpy(place->directory, name, length);
    place->directory_length = length;
    return 0;
}

/* Enters the directory that name lies in; *last is its last component. */
static int enter_parent(struct place *place, const char *name, const char **last)
{
    const char *slash = strrchr(name, '/');

    *last = slash == NULL ? name : slash + 1;
    return enter(place, name, slash == NULL ? 0 : (size_t)(slash - name));
}

/* Takes away what is in the way, if that is allowed; a directory never goes. */
static int make_way(const struct place *place, const char *last)
{
    struct stat status;

    if (fstatat(place->directory_fd, last, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(status.st_mode))
        return EISDIR; /* not EEXIST: overwriting wouldn't help */
    if (!place->overwrite || unlinkat(place->directory_fd, last, 0) == 0 || errno == ENOENT)
        return 0;
    return errno;
}

int place_file(struct place *place, const char *name, const void *bytes, size_t size_bytes,
               bool is_program)
{
    const char *last;
    int fd, code = enter_parent(place, name, &last);

    if (code == 0)
        code = make_way(place, last);
    if (code != 0)
        return code;
    fd = openat(place->directory_fd, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                is_program ? 0777 : 0666);
    if (fd < 0)
        return errno;
    code = output_write(fd, bytes, size_bytes);
    if (close(fd) != 0 && code == 0)
        code = errno;
    if (code != 0)
        unlinkat(place->directory_fd, last, 0); /* half a file is worse than none */
    return code;
}

int place_symlink(struct place *place, const char *name, const char *target)
{
    const char *last;
    int code = enter_parent(place, name, &last);

    if (code == 0)
        code = make_way(place, last);
    if (code == 0 && symlinkat(target, place->directory_fd, last) != 0)
        code = errno;
    return code;
}

int place_directory(struct place *place, const char *name)
{
    return enter(place, name, strlen(name));
}

bool place_refuses_name(int os_errno)
{
    return os_errno == ENAMETOOLONG || os_errno == EINVAL || os_errno == EILSEQ ||
           os_errno == ENOTDIR || os_errno == ELOOP || os_errno == EISDIR;
}
