/* SPDX-License-Identifier: MIT */
/* snapshot.c - holdfast snapshot: a copy of a store that may be in use, as a store of its own */
#include "tools/commands.h"
#include "tools/common/interrupt.h"
#include "tools/common/json.h"
#include "tools/common/progress.h"
#include "tools/common/size.h"
#include "tools/common/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { OPTION_ACCEPT_ROT = TOOL_OPTION_LONG, OPTION_VERIFY, OPTION_NO_VERIFY };

static const struct tool_option options[] = {
    {'m', "method", "METHOD", "clone, range or copy; else the first of them that is possible"},
    {'r', "replace", NULL, "replace a store of that name, in one step"},
    {OPTION_VERIFY, "verify", NULL, "compare the pages of a clone with their checksums, too"},
    {OPTION_NO_VERIFY, "no-verify", NULL, "compare no pages"},
    {OPTION_ACCEPT_ROT, "accept-rot", NULL, "copy rotten pages as they are, and name them"},
    {0, NULL, NULL, NULL},
};

static const char *const methods[] = {"any", "clone", "range", "copy", "memory"};

struct snapshot_run {
    const char *path;
    struct progress progress;
};

static int on_progress(void *user, uint64_t done, uint64_t total)
{
    struct snapshot_run *run = user;

    progress_set(&run->progress, done, total);
    return interrupt_pending() ? 1 : 0;
}

static void on_finding(void *user, const hf_finding *finding)
{
    struct snapshot_run *run = user;

    progress_clear(&run->progress);
    tool_warn(run->path, "%s at %" PRIu64 ": expected %s", finding->rule, finding->offset,
              finding->expected);
}

static bool set_option(hf_snapshot_options *options_out, int id, const char *value)
{
    switch (id) {
    case 'm':
        for (uint32_t i = HF_SNAPSHOT_CLONE; i <= HF_SNAPSHOT_COPY; i++)
            if (strcmp(value, methods[i]) == 0)
                options_out->method = i;
        return options_out->method != HF_SNAPSHOT_ANY;
    case 'r':
        options_out->flags |= HF_SNAPSHOT_REPLACE;
        return true;
    case OPTION_VERIFY:
        options_out->flags |= HF_SNAPSHOT_VERIFY;
        return true;
    case OPTION_NO_VERIFY:
        options_out->flags |= HF_SNAPSHOT_UNVERIFIED;
        return true;
    default:
        options_out->flags |= HF_SNAPSHOT_ACCEPT_ROT;
        return true;
    }
}

static void print_json(const char *from, const char *to, const hf_snapshot_report *report)
{
    struct json json = JSON_INIT(stdout);

    json_object(&json, NULL);
    json_text(&json, "file", from);
    json_text(&json, "snapshot", to);
    json_text(&json, "method", methods[report->method]);
    json_uint(&json, "commit", report->commit);
    json_uint(&json, "durable", report->durable);
    json_uint(&json, "file_bytes", report->file_bytes);
    json_uint(&json, "moved_bytes", report->moved_bytes);
    json_uint(&json, "shared_bytes", report->shared_bytes);
    json_uint(&json, "hole_bytes", report->hole_bytes);
    json_uint(&json, "laid_commits", report->laid_commits);
    json_uint(&json, "pages_verified", report->pages_verified);
    json_uint(&json, "pages_rotten", report->pages_rotten);
    json_bool(&json, "table_stale", report->table_stale != 0);
    json_seconds(&json, "held_seconds", (double)report->held_ns / 1e9);
    json_seconds(&json, "seconds", (double)report->total_ns / 1e9);
    json_end(&json);
}

static void print_human(const char *to, const hf_snapshot_report *report)
{
    printf("%s: commit %" PRIu64 ", %s, by %s: %s copied, %s shared, %s left out; %" PRIu64
           " pages compared; %.3f s, others' commits held back for %.3f s\n",
           to, report->commit, size_format(report->file_bytes).text, methods[report->method],
           size_format(report->moved_bytes).text, size_format(report->shared_bytes).text,
           size_format(report->hole_bytes).text, report->pages_verified,
           (double)report->total_ns / 1e9, (double)report->held_ns / 1e9);
}

static int snapshot_run(struct tool *tool)
{
    hf_snapshot_options snapshot = HF_SNAPSHOT_OPTIONS_INIT;
    hf_snapshot_report report;
    struct snapshot_run run;
    const char *value, *to;
    hf_store *store;
    int id, code;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END)
        if (!set_option(&snapshot, id, value))
            return tool_usage(tool, "\"%s\" is no method: clone, range or copy", value);
    if (tool->stopped)
        return tool->exit_code;
    if ((snapshot.flags & HF_SNAPSHOT_VERIFY) != 0 &&
        (snapshot.flags & HF_SNAPSHOT_UNVERIFIED) != 0)
        return tool_usage(tool, "--verify and --no-verify exclude each other");
    run.path = tool->operands[0];
    to = tool->operands[1];
    interrupt_catch();
    code = tool_open(tool, run.path, HF_READ_ONLY, &store);
    if (code != TOOL_OK)
        return code;
    progress_begin(&run.progress, "copying", 0, true, !tool->quiet && !tool->json);
    snapshot.on_progress = on_progress;
    snapshot.on_finding = on_finding;
    snapshot.user = &run;
    snapshot.report = &report;
    code = hf_snapshot(store, to, &snapshot);
    progress_clear(&run.progress);
    if (code != 0)
        code = tool_fail_store(tool, code == HF_EEXIST || code == HF_ENOTSUP ? to : run.path, code);
    else if (tool->json)
        print_json(run.path, to, &report);
    else if (!tool->quiet)
        print_human(to, &report);
    return tool_close(tool, run.path, store, code);
}

const struct tool_command command_snapshot = {
    .name = "snapshot",
    .synopsis = "[OPTION...] FILE TO",
    .summary = "Copy a store that may be in use",
    .details = "TO becomes a closed store of its own: FILE as it is at one commit, at least\n"
               "everything that is durable now. Writers go on. Each page that is copied is\n"
               "compared with its checksum, and a rotten one ends it; the pages of a clone\n"
               "only with --verify. TO is there whole or not at all.",
    .example = "  holdfast snapshot photos.hf backup/photos-monday.hf",
    .options = options,
    .operands_min = 2,
    .operands_max = 2,
    .waits = true,
    .run = snapshot_run,
};
