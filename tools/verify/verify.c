/* SPDX-License-Identifier: MIT */
/*
 * verify.c - holdfast verify: are the bytes what they were?
 *
 * Compares every page with its checksum, in a store that may be in use. fsck looks at more, but needs that
 * nobody writes. What a file is its first bytes tell; each kind has a function in `kinds`.
 */
#include "tools/commands.h"
#include "tools/common/archive.h"
#include "tools/common/interrupt.h"
#include "tools/common/json.h"
#include "tools/common/progress.h"
#include "tools/common/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct tool_option options[] = {
    {0, NULL, NULL, NULL},
};

struct verify_run {
    struct tool *tool;
    const char *path;
    struct progress progress;
    struct json json;
};

static int on_progress(void *user, uint64_t done, uint64_t total)
{
    struct verify_run *run = user;

    progress_set(&run->progress, done, total);
    return interrupt_pending() ? 1 : 0;
}

static void on_finding(void *user, const hf_finding *finding)
{
    struct verify_run *run = user;

    progress_clear(&run->progress);
    if (!run->tool->json) {
        printf("%s: %s at %" PRIu64 ": expected %s\n", run->path, finding->rule, finding->offset,
               finding->expected);
        return;
    }
    json_object(&run->json, NULL);
    json_text(&run->json, "rule", finding->rule);
    json_uint(&run->json, "offset", finding->offset);
    json_text(&run->json, "expected", finding->expected);
    json_end(&run->json);
}

/* ---- a store --------------------------------------------------------------------------------- */

static void print_json(struct verify_run *run, int code, const hf_verify_report *report)
{
    json_end(&run->json); /* the array of findings */
    json_text(&run->json, "state",
              code == 0             ? "whole"
              : code == HF_ECORRUPT ? "rotten"
                                    : "not compared");
    json_uint(&run->json, "pages_compared", report->pages_compared);
    json_uint(&run->json, "pages_newer", report->pages_newer);
    json_bool(&run->json, "table_stale", report->stale != 0);
    if (code != 0) {
        json_text(&run->json, "code", hf_error_name(code));
        json_text(&run->json, "message", hf_last_error()->message);
    }
    json_end(&run->json);
    run->tool->failure_shown = true;
}

static int verify_store(struct verify_run *run)
{
    struct tool *tool = run->tool;
    hf_check_options check = HF_CHECK_OPTIONS_INIT;
    hf_verify_report report = {0};
    hf_store *store;
    int code, exit_code = tool_open(tool, run->path, HF_READ_ONLY, &store);

    if (exit_code != TOOL_OK)
        return exit_code;
    check.on_finding = on_finding;
    check.on_progress = on_progress;
    check.user = run;
    progress_begin(&run->progress, "comparing", 0, true, !tool->quiet && !tool->json);
    if (tool->json) {
        json_object(&run->json, NULL);
        json_text(&run->json, "file", run->path);
        json_text(&run->json, "kind", "store");
        json_array(&run->json, "findings");
    }
    code = hf_verify(store, &check, &report);
    progress_clear(&run->progress);
    if (tool->json)
        print_json(run, code, &report);
    if (code != 0)
        exit_code = tool_fail_store(tool, run->path, code);
    else if (!tool->json && !tool->quiet && report.stale != 0)
        printf("%s: no page could be compared: the direct engine has it in use\n", run->path);
    else if (!tool->json && !tool->quiet)
        printf("%s: whole, %" PRIu64 " pages compared, %" PRIu64 " changed since the last checkpoint\n",
               run->path, report.pages_compared, report.pages_newer);
    return tool_close(tool, run->path, store, exit_code);
}

/* ---- what a file is -------------------------------------------------------------------------- */

#define MAGIC_BYTES 8

/* Other kinds of files are added here. */
static const struct {
    const char *magic; /* its first bytes */
    int (*verify)(struct verify_run *run);
} kinds[] = {
    {"HOLDFAST", verify_store},
};

/* What is none of these may be a store whose first header slot is lost. */
static int (*kind_of(const char *path))(struct verify_run *run)
{
    char magic[MAGIC_BYTES] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd >= 0 && read(fd, magic, sizeof magic) == (ssize_t)sizeof magic)
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
            if (memcmp(magic, kinds[i].magic, MAGIC_BYTES) == 0) {
                close(fd);
                return kinds[i].verify;
            }
    if (fd >= 0)
        close(fd);
    return verify_store;
}

static int verify_run(struct tool *tool)
{
    struct verify_run run = {.tool = tool, .json = JSON_INIT(stdout)};
    const char *value;

    while (tool_option_next(tool, &value) != TOOL_OPTIONS_END)
        ;
    if (tool->stopped)
        return tool->exit_code;
    interrupt_catch();
    run.path = tool->operands[0];
    if (archive_is(run.path))
        return archive_verify_command(tool, run.path);
    return kind_of(run.path)(&run);
}

const struct tool_command command_verify = {
    .name = "verify",
    .synopsis = "[OPTION...] FILE",
    .summary = "Compare all bytes with their checksums",
    .details = "Reads every page of a store, users' bytes too, and names those that are not\n"
               "what they were, with the objects that lie in them. Others may write\n"
               "meanwhile; pages changed since the last checkpoint are left out. An archive is\n"
               "read through and proved without being restored.",
    .example = "  holdfast verify photos.hf",
    .options = options,
    .operands_min = 1,
    .operands_max = 1,
    .waits = true,
    .run = verify_run,
};
