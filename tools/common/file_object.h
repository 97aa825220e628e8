/* SPDX-License-Identifier: MIT */
/*
 * file_object.h - files as named objects
 *
 * import, export, put and get agree on four types, all of them plain bytes without references:
 *
 *   holdfast.file       a file's bytes
 *   holdfast.program    the same, of a file that somebody may execute
 *   holdfast.symlink    the target of a symbolic link, without a NUL
 *   holdfast.directory  no bytes: a directory with nothing in it
 */
#ifndef HF_TOOLS_COMMON_FILE_OBJECT_H
#define HF_TOOLS_COMMON_FILE_OBJECT_H

#include "tools/common/progress.h"
#include "tools/common/tool.h"

#include "holdfast/holdfast.h"

enum file_kind { FILE_PLAIN, FILE_PROGRAM, FILE_SYMLINK, FILE_DIRECTORY, FILE_FOREIGN };

/* NULL for FILE_FOREIGN, which stands for an application's own type. */
const hf_type *file_type(enum file_kind kind);

/* Plain bytes without a type count as a file. */
enum file_kind file_kind_of(const hf_object_info *info);

/* Where a file goes. */
struct file_target {
    struct tool *tool;
    const char *store_path;
    hf_txn *txn;
    struct progress *progress; /* may be NULL */
};

/*
 * Each reports its failure and returns an exit code; the transaction is then to be aborted.
 *
 * file_make_room - destroys the object of that name, if there is one and replace allows it. One of
 * an application's type needs force: its bytes mean something to somebody else. *replaced tells.
 * file_store_bytes - makes an object of these bytes.
 * file_store_stream - makes an object of what fd gives until its end. A regular file is read
 * straight into the object; source is its name for messages. *size_bytes is what was read.
 */
int file_make_room(const struct file_target *target, const char *name, bool replace, bool force,
                   bool *replaced);
int file_store_bytes(const struct file_target *target, const char *name, enum file_kind kind,
                     const void *bytes, size_t size_bytes);
int file_store_stream(const struct file_target *target, const char *name, enum file_kind kind,
                      int fd, const char *source, uint64_t *size_bytes);

#endif
