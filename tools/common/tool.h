/* SPDX-License-Identifier: MIT */
/*
 * tool.h - what every subcommand is made of: its description, its options, its errors
 *
 * A subcommand is a struct tool_command (its whole --help) and a function that runs it. The
 * function takes its options from tool_option_next, its operands from tool->operands, prints its
 * result to standard output, and returns an exit code of exit.h. Every failure is reported where it
 * is found, by one of the tool_fail functions, which return the exit code, so that commands read
 * `return tool_fail(...)`. Nothing but results goes to standard output, nothing else to standard
 * error. With --json the result is one document, also that of a failure: {"error": {...}}.
 *
 * Names here have no hf_ prefix: the command is a program over the public headers, not a part of
 * the library.
 */
#ifndef HF_TOOLS_COMMON_TOOL_H
#define HF_TOOLS_COMMON_TOOL_H

#include "tools/common/exit.h"

#include <stdbool.h>
#include <stdint.h>

#define TOOL_OPTIONS_MAX 24

enum { TOOL_OPTIONS_END = -1, TOOL_OPTION_LONG = 256 };

struct tool_option {
    int id;            /* the letter, or TOOL_OPTION_LONG + n where there is none */
    const char *name;  /* NULL ends the table */
    const char *value; /* what --help calls its argument; NULL = it has none */
    const char *help;  /* NULL = accepted but not shown */
};

struct tool;
struct tool_command {
    const char *name;
    const char *synopsis; /* after "holdfast NAME " */
    const char *summary;  /* half a line */
    const char *details;  /* a paragraph or more, lines of up to 79; may be "" */
    const char *example;  /* lines that begin with two blanks */
    const struct tool_option *options;
    int operands_min, operands_max; /* max -1: any number */
    bool waits;                     /* has --wait */
    bool is_fsck;                   /* has the exit codes of fsck(8) */
    int (*run)(struct tool *tool);
};

struct tool {
    const struct tool_command *command;
    int argc;
    char **argv;
    bool json, quiet;
    int64_t wait_ms;    /* as hf_options.lock_timeout_ms: 0 for ever, < 0 not at all */
    bool failure_shown; /* a JSON document for the failure is on standard output already */
    /* Set when tool_option_next has returned TOOL_OPTIONS_END: */
    bool stopped; /* the command line was wrong, or --help was asked for: return exit_code */
    int exit_code;
    int operand_count;
    char **operands;
};

/*
 * tool_option_next - the next option's id, its argument in *value; TOOL_OPTIONS_END after the last.
 * --help, --json, --quiet and --wait are dealt with here, and so is the number of operands.
 */
int tool_option_next(struct tool *tool, const char **value);

void tool_print_help(const struct tool_command *command);

/* Each prints `holdfast: PATH: ...` (path may be NULL) and returns the exit code. */
int tool_usage(struct tool *tool, const char *format, ...) __attribute__((format(printf, 2, 3)));
int tool_fail(struct tool *tool, int exit_code, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int tool_fail_os(struct tool *tool, int os_errno, const char *path, const char *what);
/* For a call of the library that failed on this store: hf_last_error has the rest. */
int tool_fail_store(struct tool *tool, const char *path, int hf_code);
/* The same where an object's name says more than the code does. */
int tool_fail_object(struct tool *tool, const char *path, const char *name, int hf_code);

/* A remark that is no failure; none with --quiet. */
void tool_note(const struct tool *tool, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A failure of a part, for which the command goes on: printed even with --quiet. */
void tool_warn(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
