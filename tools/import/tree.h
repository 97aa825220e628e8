/* SPDX-License-Identifier: MIT */
/*
 * tree.h - what there is to import: the files under the operands, listed before anything is stored
 *
 * Listing first gives the progress bar its total, the index its final size, and errors such as a
 * folder that can't be read before the store's writer is held up.
 */
#ifndef HF_TOOLS_IMPORT_TREE_H
#define HF_TOOLS_IMPORT_TREE_H

#include "tools/common/tool.h"

#include <stddef.h>
#include <sys/types.h>

enum tree_kind { TREE_FILE, TREE_SYMLINK, TREE_EMPTY_DIRECTORY };

struct tree_entry {
    const char *root; /* the operand it was found under; the caller's */
    char *path;       /* relative to root, with '/'; NULL if root itself is the file */
    uint64_t size_bytes;
    enum tree_kind kind;
};

struct tree {
    struct tool *tool;
    bool keep_going; /* what can't be read is left out with a message */
    struct tree_entry *entries;
    size_t count, room;
    uint64_t size_bytes, special_count, left_out;
    char **pending; /* directories under the present root that are still to be read */
    size_t pending_count, pending_room;
};

/* Adds all that is at root: a file, or a directory with everything below it, sorted by path.
 * Reports its failure. A symbolic link given as root is followed, none below it is. */
int tree_add(struct tree *tree, const char *root);
void tree_free(struct tree *tree);

#endif
