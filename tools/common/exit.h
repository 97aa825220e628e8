/* SPDX-License-Identifier: MIT */
/*
 * exit.h - what the command's exit codes mean: the one table
 *
 * Scripts test these numbers, so they never change. `holdfast fsck` alone has others, those of
 * fsck(8), because whoever starts an fsck expects them.
 */
#ifndef HF_TOOLS_COMMON_EXIT_H
#define HF_TOOLS_COMMON_EXIT_H

/* X(name, value, text) */
#define TOOL_EXIT_TABLE(X)                                                                         \
    X(TOOL_OK, 0, "done")                                                                          \
    X(TOOL_ABSENT, 1, "no such object, or something was left out")                                 \
    X(TOOL_USAGE, 2, "the command line is wrong")                                                  \
    X(TOOL_OPEN, 3, "a file does not exist, cannot be opened, or is no store")                     \
    X(TOOL_DAMAGED, 4, "the store is damaged")                                                     \
    X(TOOL_BUSY, 5, "another process holds the store")                                             \
    X(TOOL_NOSPACE, 6, "the disk is full, or the store has its maximum size")                      \
    X(TOOL_IO, 7, "input/output error")                                                            \
    X(TOOL_OTHER, 8, "another error")                                                              \
    X(TOOL_EXISTS, 9, "exists already")                                                            \
    X(TOOL_CANCELLED, 10, "cancelled by a signal")

#define FSCK_EXIT_TABLE(X)                                                                         \
    X(FSCK_CLEAN, 0, "no errors")                                                                  \
    X(FSCK_CORRECTED, 1, "errors were found and corrected")                                        \
    X(FSCK_UNCORRECTED, 4, "errors were found and left")                                           \
    X(FSCK_OPERATIONAL, 8, "the store could not be checked")                                       \
    X(FSCK_USAGE, 16, "the command line is wrong")                                                 \
    X(FSCK_CANCELLED, 32, "cancelled by a signal")

enum {
#define TOOL_EXIT_ENUM(name, value, text) name = value,
    TOOL_EXIT_TABLE(TOOL_EXIT_ENUM) FSCK_EXIT_TABLE(TOOL_EXIT_ENUM)
#undef TOOL_EXIT_ENUM
};

/* The exit code for an HF_E... code of the library, and for an errno on some other file. */
int tool_exit_of(int hf_code);
int tool_exit_of_errno(int os_errno);

#endif
