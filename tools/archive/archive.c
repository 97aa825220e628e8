/* SPDX-License-Identifier: MIT */
/*
 * archive.c - holdfast archive: a live store as one compressed stream
 *
 * A file gets its name when it is whole and synced, so nobody ever takes half an archive for one.
 * What goes to standard output is the archive alone; then there is nothing else to say there.
 */
#include "tools/commands.h"
#include "tools/common/archive.h"
#include "tools/common/interrupt.h"
#include "tools/common/progress.h"
#include "tools/common/publish.h"
#include "tools/common/size.h"
#include "tools/common/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPTION_SINCE = TOOL_OPTION_LONG, OPTION_SINCE_ARCHIVE, OPTION_LEVEL, OPTION_THREADS };

static const struct tool_option options[] = {
    {'o', "output", "OUT", "write to this new file instead of standard output"},
    {OPTION_SINCE, "since", "COMMIT", "only what has changed since that commit"},
    {OPTION_SINCE_ARCHIVE, "since-archive", "ARCHIVE",
     "only what has changed since that archive was made"},
    {OPTION_LEVEL, "level", "N", "of compression, 1 to 19; 3 unless given"},
    {OPTION_THREADS, "threads", "N", "that compress; one a core, up to 8, unless given"},
    {0, NULL, NULL, NULL},
};

struct archive {
    struct tool *tool;
    const char *path, *out;
    hf_archive_options options;
    hf_archive_report report;
    struct progress progress;
    char part[PATH_MAX]; /* the name of OUT while it is written; "" = written in place */
    int fd;
};

/* A new file; or a pipe or device that is there already, which is written to. */
static int open_out(struct archive *archive)
{
    struct stat status;
    int length;

    if (archive->out == NULL) {
        archive->fd = STDOUT_FILENO;
        return TOOL_OK;
    }
    if (stat(archive->out, &status) == 0) {
        if (S_ISREG(status.st_mode))
            return tool_fail(archive->tool, TOOL_EXISTS, archive->out, "exists already");
        archive->fd = open(archive->out, O_WRONLY | O_CLOEXEC);
    } else {
        length = snprintf(archive->part, sizeof archive->part, "%s.part-%ld", archive->out,
                          (long)getpid());
        if (length < 0 || (size_t)length >= sizeof archive->part) {
            archive->part[0] = '\0';
            return tool_fail_os(archive->tool, ENAMETOOLONG, archive->out, NULL);
        }
        archive->fd = open(archive->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    if (archive->fd >= 0)
        return TOOL_OK;
    archive->part[0] = '\0';
    return tool_fail_os(archive->tool, errno, archive->out, NULL);
}

/* Syncs and names what was written, or takes it away. */
static int close_out(struct archive *archive, int code)
{
    int failed = 0;

    if (archive->fd == STDOUT_FILENO || archive->fd < 0)
        return code;
    if (code == TOOL_OK && archive->part[0] != '\0' && fsync(archive->fd) != 0)
        failed = errno;
    if (close(archive->fd) != 0 && failed == 0)
        failed = errno;
    if (archive->part[0] == '\0')
        return code == TOOL_OK && failed != 0
                   ? tool_fail_os(archive->tool, failed, archive->out, NULL)
                   : code;
    if (code == TOOL_OK && failed == 0)
        failed = publish_name(archive->part, archive->out); /* whoever took it meanwhile keeps it */
    if (code != TOOL_OK || failed != 0)
        unlink(archive->part);
    else
        failed = publish_sync(archive->out);
    if (code == TOOL_OK && failed != 0)
        return tool_fail_os(archive->tool, failed, archive->out, NULL);
    return code;
}

static int on_progress(void *user, uint64_t done, uint64_t total)
{
    struct archive *archive = user;

    progress_set(&archive->progress, done, total);
    return interrupt_pending() ? 1 : 0;
}

static int write_archive(struct archive *archive)
{
    struct tool *tool = archive->tool;
    hf_store *store;
    int failed, code = tool_open(tool, archive->path, HF_READ_ONLY, &store);

    if (code != TOOL_OK)
        return code;
    code = open_out(archive);
    if (code != TOOL_OK)
        return tool_close(tool, archive->path, store, code);
    interrupt_catch();
    progress_begin(&archive->progress, "archiving", 0, true, !tool->quiet && !tool->json);
    failed = hf_archive_write(store, archive->fd, &archive->options, &archive->report);
    progress_clear(&archive->progress);
    if (failed != 0)
        code = tool_fail_store(tool, archive->path, failed);
    code = close_out(archive, code);
    return tool_close(tool, archive->path, store, code);
}

static int set_option(struct archive *archive, int id, const char *value)
{
    struct tool *tool = archive->tool;
    hf_archive_options *set = &archive->options;
    uint64_t number = 0;

    switch (id) {
    case 'o':
        archive->out = strcmp(value, "-") == 0 ? NULL : value;
        return TOOL_OK;
    case OPTION_SINCE:
        set->since = 1;
        if (size_parse_count(value, UINT64_MAX, &set->since_commit))
            return TOOL_OK;
        return tool_usage(tool, "\"%s\" is not the number of a commit", value);
    case OPTION_SINCE_ARCHIVE:
        set->since_archive = value;
        return TOOL_OK;
    case OPTION_LEVEL:
        if (!size_parse_count(value, 19, &number) || number == 0)
            return tool_usage(tool, "\"%s\" is not a level from 1 to 19", value);
        set->level = (int32_t)number;
        return TOOL_OK;
    default:
        if (!size_parse_count(value, 64, &number) || number == 0)
            return tool_usage(tool, "\"%s\" is not a number of threads from 1 to 64", value);
        set->threads = (uint32_t)number;
        return TOOL_OK;
    }
}

static int archive_run(struct tool *tool)
{
    struct archive archive = {.tool = tool, .options = HF_ARCHIVE_OPTIONS_INIT, .fd = -1};
    double started = tool_clock();
    const char *value;
    int id, code;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END) {
        code = set_option(&archive, id, value);
        if (code != TOOL_OK)
            return code;
    }
    if (tool->stopped)
        return tool->exit_code;
    archive.path = tool->operands[0];
    archive.options.on_progress = on_progress;
    archive.options.user = &archive;
    if (archive.options.since != 0 && archive.options.since_archive != NULL)
        return tool_usage(tool, "--since and --since-archive are two ways to say one thing");
    if (archive.out == NULL && tool->json)
        return tool_usage(tool, "--json needs --output: standard output is for the archive");
    if (archive.out == NULL && isatty(STDOUT_FILENO))
        return tool_usage(tool, "an archive is nothing for a terminal: give --output");
    code = write_archive(&archive);
    if (code == TOOL_OK && archive.out != NULL)
        archive_print(tool, "archive", archive.out, "holds", &archive.report,
                      tool_clock() - started);
    return code;
}

const struct tool_command command_archive = {
    .name = "archive",
    .synopsis = "[OPTION...] FILE",
    .summary = "Write a store as one compressed stream",
    .details =
        "The state of one commit, whole or what has changed, as zstd frames with checksums.\n"
        "The store may be in use. Each page is compared with its checksum on the way.\n"
        "holdfast restore makes a store of it again.",
    .example = "  holdfast archive photos.hf --output monday.hfz\n"
               "  holdfast archive photos.hf --since-archive monday.hfz -o tuesday.hfz\n"
               "  holdfast archive photos.hf | ssh elsewhere holdfast restore photos.hf -",
    .options = options,
    .operands_min = 1,
    .operands_max = 1,
    .waits = true,
    .run = archive_run,
};
