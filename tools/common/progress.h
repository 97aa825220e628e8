/* SPDX-License-Identifier: MIT */
/*
 * progress.h - the progress bar
 *
 * One line on standard error with a bar, the rate and the time left, redrawn at most ten times a
 * second, and gone when the work ends. It is drawn only where someone can see it: on a terminal.
 */
#ifndef HF_TOOLS_COMMON_PROGRESS_H
#define HF_TOOLS_COMMON_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool visible, drawn, in_bytes;
    const char *label;
    uint64_t done, total;
    double started, drawn_at; /* seconds of the monotonic clock */
};

/* wanted: the command's own reasons (not --quiet, not --json). in_bytes: else plain units. */
void progress_begin(struct progress *progress, const char *label, uint64_t total, bool in_bytes,
                    bool wanted);
/* The same even where standard error is no terminal. */
void progress_force(struct progress *progress);
void progress_set(struct progress *progress, uint64_t done, uint64_t total);
void progress_add(struct progress *progress, uint64_t amount);
/* Takes the line away, so that a message can be printed; the next set or add draws it again. */
void progress_clear(struct progress *progress);

/* Seconds of the monotonic clock. */
double tool_clock(void);

#endif
