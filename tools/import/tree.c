/* SPDX-License-Identifier: MIT */
/*
 * tree.c - listing files and directories
 *
 * Directories wait in a stack of relative paths and are opened from the root's descriptor, one at a
 * time: neither the depth of the tree nor the length of the root's own path is limited by the
 * number of descriptors.
 */
#include "tools/import/tree.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail_memory(const struct tree *tree)
{
    return tool_fail_os(tree->tool, ENOMEM, NULL, "listing the files");
}

/* Something below root (or root itself, path NULL) can't be read. */
static int fail_at(struct tree *tree, const char *root, const char *path, int os_errno)
{
    const char *below = path == NULL || path[0] == '\0' ? NULL : path;

    if (!tree->keep_going)
        return below == NULL ? tool_fail_os(tree->tool, os_errno, root, NULL)
                             : tool_fail_os(tree->tool, os_errno, root, below);
    tree->left_out++;
    tool_warn(root, "%s%s%s; left out", below == NULL ? "" : below, below == NULL ? "" : ": ",
              strerror(os_errno));
    return TOOL_OK;
}

/* Takes path over, also when it fails. */
static int add_entry(struct tree *tree, const char *root, char *path, enum tree_kind kind,
                     off_t size)
{
    if (tree->count == tree->room) {
        size_t room = tree->room == 0 ? 1024 : tree->room * 2;
        struct tree_entry *larger = reallocarray(tree->entries, room, sizeof *larger);
        if (larger == NULL) {
            free(path);
            return fail_memory(tree);
        }
        tree->entries = larger;
        tree->room = room;
    }
    tree->entries[tree->count++] =
        (struct tree_entry){.root = root, .path = path, .size_bytes = (uint64_t)size, .kind = kind};
    tree->size_bytes += (uint64_t)size;
    return TOOL_OK;
}

/* Takes path over, also when it fails. */
static int push_directory(struct tree *tree, char *path)
{
    if (tree->pending_count == tree->pending_room) {
        size_t room = tree->pending_room == 0 ? 64 : tree->pending_room * 2;
        char **larger = reallocarray(tree->pending, room, sizeof *larger);
        if (larger == NULL) {
            free(path);
            return fail_memory(tree);
        }
        tree->pending = larger;
        tree->pending_room = room;
    }
    tree->pending[tree->pending_count++] = path;
    return TOOL_OK;
}

static char *join(const char *directory, const char *name)
{
    size_t left = strlen(directory), right = strlen(name);
    char *out = malloc(left + right + 2);

    if (out == NULL)
        return NULL;
    memcpy(out, directory, left);
    if (left > 0)
        out[left++] = '/';
    memcpy(out + left, name, right + 1);
    return out;
}

/* One member of an open directory; *stored becomes true if it will be in the store. */
static int add_member(struct tree *tree, const char *root, int directory_fd, const char *directory,
                      const char *name, bool *stored)
{
    struct stat status;
    char *path = join(directory, name);

    if (path == NULL)
        return fail_memory(tree);
    if (fstatat(directory_fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        int code = fail_at(tree, root, path, errno);
        free(path);
        return code;
    }
    *stored = true;
    if (S_ISDIR(status.st_mode))
        return push_directory(tree, path);
    if (S_ISLNK(status.st_mode))
        return add_entry(tree, root, path, TREE_SYMLINK, status.st_size);
    if (S_ISREG(status.st_mode))
        return add_entry(tree, root, path, TREE_FILE, status.st_size);
    *stored = false;
    tree->special_count++;
    tool_note(tree->tool, root, "%s: neither file, link nor directory; left out", path);
    free(path);
    return TOOL_OK;
}

/* Reads one directory, which is path below the root; "" is the root. */
static int read_directory(struct tree *tree, const char *root, int root_fd, const char *path)
{
    int fd = openat(root_fd, path[0] == '\0' ? "." : path,
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    bool stored = false;
    int code = TOOL_OK;

    if (directory == NULL) {
        code = fail_at(tree, root, path, errno);
        if (fd >= 0)
            close(fd);
        return code;
    }
    while (code == TOOL_OK) {
        const struct dirent *member;
        errno = 0;
        member = readdir(directory);
        if (member == NULL) {
            if (errno != 0)
                code = fail_at(tree, root, path, errno);
            break;
        }
        if (strcmp(member->d_name, ".") != 0 && strcmp(member->d_name, "..") != 0)
            code = add_member(tree, root, fd, path, member->d_name, &stored);
    }
    closedir(directory);
    if (code == TOOL_OK && !stored && path[0] != '\0') {
        char *copy = strdup(path);
        code =
            copy == NULL ? fail_memory(tree) : add_entry(tree, root, copy, TREE_EMPTY_DIRECTORY, 0);
    }
    return code;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct tree_entry *)a)->path, ((const struct tree_entry *)b)->path);
}

static int add_directory(struct tree *tree, const char *root)
{
    int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    size_t first = tree->count;
    char *start;
    int code;

    if (root_fd < 0)
        return fail_at(tree, root, NULL, errno);
    assert(tree->pending_count == 0);
    start = strdup("");
    code = start == NULL ? fail_memory(tree) : push_directory(tree, start);
    while (code == TOOL_OK && tree->pending_count > 0) {
        char *path = tree->pending[--tree->pending_count];
        code = read_directory(tree, root, root_fd, path);
        free(path);
    }
    close(root_fd);
    if (tree->count > first)
        qsort(tree->entries + first, tree->count - first, sizeof *tree->entries, compare_entries);
    return code;
}

int tree_add(struct tree *tree, const char *root)
{
    struct stat status;

    if (stat(root, &status) != 0)
        return fail_at(tree, root, NULL, errno);
    if (S_ISDIR(status.st_mode))
        return add_directory(tree, root);
    if (S_ISREG(status.st_mode))
        return add_entry(tree, root, NULL, TREE_FILE, status.st_size);
    tree->special_count++;
    tool_note(tree->tool, root, "neither file, link nor directory; left out");
    return TOOL_OK;
}

void tree_free(struct tree *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        free(tree->entries[i].path);
    for (size_t i = 0; i < tree->pending_count; i++)
        free(tree->pending[i]);
    free(tree->entries);
    free(tree->pending);
}
