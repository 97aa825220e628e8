/* SPDX-License-Identifier: MIT */
/*
 * progress.c - the progress bar
 *
 * The line is erased with a carriage return and "erase to the end of the line", which every
 * terminal of this century understands, and never wraps: it is cut to the terminal's width.
 */
#include "tools/common/progress.h"

#include "tools/common/size.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_SECONDS 0.1
#define BAR_CELLS      24

double tool_clock(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return 0;
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void progress_begin(struct progress *progress, const char *label, uint64_t total, bool in_bytes,
                    bool wanted)
{
    double now = tool_clock();

    assert(label != NULL);
    *progress = (struct progress){.visible = wanted && isatty(STDERR_FILENO) != 0,
                                  .in_bytes = in_bytes,
                                  .label = label,
                                  .total = total,
                                  .started = now,
                                  .drawn_at = now}; /* quick work shows no bar at all */
}

void progress_force(struct progress *progress)
{
    progress->visible = true;
}

static int terminal_width(void)
{
    struct winsize size;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 80;
    return size.ws_col;
}

/* "12.0 MiB/s  0:03 left", or nothing before there is a rate. */
static void format_rate(const struct progress *progress, double now, char *out, size_t room)
{
    double elapsed = now - progress->started, rate, left;

    out[0] = '\0';
    if (elapsed <= 0.2 || progress->done == 0)
        return;
    rate = (double)progress->done / elapsed;
    left = (double)(progress->total - progress->done) / rate;
    if (left > 359999)
        left = 359999;
    if (progress->in_bytes)
        snprintf(out, room, "%s/s  %d:%02d left", size_format((uint64_t)rate).text, (int)left / 60,
                 (int)left % 60);
    else
        snprintf(out, room, "%.0f/s  %d:%02d left", rate, (int)left / 60, (int)left % 60);
}

static void draw(struct progress *progress, double now)
{
    char bar[BAR_CELLS + 1], rate[64], line[256];
    double part = progress->total == 0 ? 0 : (double)progress->done / (double)progress->total;
    int width = terminal_width();

    for (int i = 0; i < BAR_CELLS; i++)
        bar[i] = (double)i < part * BAR_CELLS ? '#' : '.';
    bar[BAR_CELLS] = '\0';
    format_rate(progress, now, rate, sizeof rate);
    snprintf(line, sizeof line, "%s [%s] %3d%%  %s", progress->label, bar, (int)(part * 100), rate);
    fprintf(stderr, "\r%.*s\033[K", width - 1, line);
    fflush(stderr);
    progress->drawn = true;
    progress->drawn_at = now;
}

void progress_set(struct progress *progress, uint64_t done, uint64_t total)
{
    double now;

    progress->total = total;
    progress->done = done < total ? done : total; /* files grow while they are read */
    if (!progress->visible)
        return;
    now = tool_clock();
    if (now - progress->drawn_at >= REDRAW_SECONDS)
        draw(progress, now);
}

void progress_add(struct progress *progress, uint64_t amount)
{
    progress_set(progress, progress->done + amount, progress->total);
}

void progress_clear(struct progress *progress)
{
    if (progress->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        progress->drawn = false;
    }
}
