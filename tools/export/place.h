/* SPDX-License-Identifier: MIT */
/*
 * place.h - putting files under a directory and nowhere else
 *
 * Names come from the store, which anybody may have made. A place opens each directory of a name by
 * itself, from the one above, and never follows a symbolic link: not one that was there, nor one
 * that the store itself has just put there.
 */
#ifndef HF_TOOLS_EXPORT_PLACE_H
#define HF_TOOLS_EXPORT_PLACE_H

#include <stdbool.h>
#include <stddef.h>

#include "holdfast/types.h"

struct place {
    int root_fd, directory_fd;             /* the same number for files right in the root */
    size_t directory_length;               /* of directory; 0 = the root */
    char directory[HF_NAME_BYTES_MAX + 1]; /* relative to the root: where directory_fd is */
    bool overwrite;                        /* files and links that exist */
};

/* Makes path if it doesn't exist (its parent must). All return 0 or an errno. */
int place_open(struct place *place, const char *path, bool overwrite);
/* All that was put there is on the disk: errors of writing it that come late come here (and what else
 * the file system couldn't write meanwhile). */
int place_sync(const struct place *place);
void place_close(struct place *place);

/* Components that are neither empty nor "." nor "..": such a name stays below its root and is the
 * only one for its file. */
bool place_accepts(const char *name);

/* Each makes the directories that name needs. name is one that place_accepts. A directory in the
 * way is EISDIR, whether overwriting is allowed or not. */
int place_file(struct place *place, const char *name, const void *bytes, size_t size_bytes,
               bool is_program);
int place_symlink(struct place *place, const char *name, const char *target);
int place_directory(struct place *place, const char *name);

/* Whether they failed because of this one name: too long or of bytes that the file system doesn't
 * take, below something that is no directory, in the place of one. Others may still be put. */
bool place_refuses_name(int os_errno);

#endif
