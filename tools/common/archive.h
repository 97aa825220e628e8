/* SPDX-License-Identifier: MIT */
/* archive.h - what the subcommands that work with archives share */
#ifndef HF_TOOLS_COMMON_ARCHIVE_H
#define HF_TOOLS_COMMON_ARCHIVE_H

#include "tools/common/tool.h"

#include "holdfast/holdfast.h"

/* Is the file an archive, by its first bytes? False for what can't be read, or not twice. */
bool archive_is(const char *path);

/* What "-" stands for: the path of standard input. */
const char *archive_path(const char *operand);

/* Prints what an archive holds, or what was restored. key_path: "archive" or "file", for JSON. */
void archive_print(const struct tool *tool, const char *key_path, const char *path,
                   const char *verb, const hf_archive_report *report, double seconds);

/* For the options of hf_archive_verify and hf_restore; user is a struct progress. */
int archive_on_progress(void *user, uint64_t done, uint64_t total);

/* Checks an archive and prints what it holds: an exit code. */
int archive_verify_command(struct tool *tool, const char *path);

#endif
