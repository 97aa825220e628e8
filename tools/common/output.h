/* SPDX-License-Identifier: MIT */
/* output.h - writing results so that a full disk or a closed pipe is noticed */
#ifndef HF_TOOLS_COMMON_OUTPUT_H
#define HF_TOOLS_COMMON_OUTPUT_H

#include "tools/common/tool.h"

#include <stddef.h>
#include <stdio.h>

/* Writes all of it to fd; 0 or an errno. */
int output_write(int fd, const void *bytes, size_t size_bytes);

/*
 * output_replace_file - makes path hold exactly these bytes, with permissions less the umask. A
 * regular file (or none) is replaced in one step by rename, so nobody sees half of it, and synced; a
 * device or a pipe is written to. 0, or an errno and path is as it was (or new, but the disk may not
 * know it yet).
 */
int output_replace_file(const char *path, const void *bytes, size_t size_bytes,
                        unsigned permissions);

/* Writes to standard output past stdio, so that an error is known at once, and reports it (but not
 * that a reader went away). Returns an exit code. */
int output_print(struct tool *tool, const void *bytes, size_t size_bytes);

/* A name for people: on a terminal control characters are shown as \n, \t, \ooo. */
void output_name(FILE *out, const char *name, bool escape);

/*
 * output_finish - flushes and closes standard output: exit_code, or that of the failure if it was
 * TOOL_OK. A reader that went away (EPIPE) is no news worth a message.
 */
int output_finish(int exit_code, bool is_fsck);

#endif
