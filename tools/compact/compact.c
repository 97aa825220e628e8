/* SPDX-License-Identifier: MIT */
/*
 * compact.c - holdfast compact: makes a store as small as what lives in it
 *
 * Thin: hf_compact does the work. This shows how far it is, cancels it on a signal, and prints its report.
 */
#include "tools/commands.h"
#include "tools/common/interrupt.h"
#include "tools/common/json.h"
#include "tools/common/progress.h"
#include "tools/common/size.h"

#include "holdfast/holdfast.h"

#include <inttypes.h>
#include <stdio.h>

enum { OPTION_DROP = TOOL_OPTION_LONG };

static const struct tool_option options[] = {
    {'n', "dry-run", NULL, "write nothing, only say what it would come to"},
    {OPTION_DROP, "drop-unreachable", NULL,
     "leave out nameless objects that nothing leads to, and what\nrepair has set aside"},
    {0, NULL, NULL, NULL},
};

static int on_progress(void *user, uint64_t done, uint64_t total)
{
    progress_set(user, done, total);
    return interrupt_pending() ? 1 : 0;
}

static void print_json(const char *path, bool dry, const hf_compact_report *report)
{
    static const struct {
        const char *key;
        size_t offset;
    } members[] = {
        {"file_bytes_before", offsetof(hf_compact_report, size_before_bytes)},
        {"file_bytes", offsetof(hf_compact_report, size_after_bytes)},
        {"live_bytes", offsetof(hf_compact_report, live_bytes)},
        {"moved", offsetof(hf_compact_report, moved)},
        {"moved_bytes", offsetof(hf_compact_report, moved_bytes)},
        {"pinned_opaque", offsetof(hf_compact_report, pinned_opaque)},
        {"pinned_opaque_bytes", offsetof(hf_compact_report, pinned_opaque_bytes)},
        {"pinned_referred", offsetof(hf_compact_report, pinned_referred)},
        {"pinned_referred_bytes", offsetof(hf_compact_report, pinned_referred_bytes)},
        {"unreachable", offsetof(hf_compact_report, unreachable)},
        {"unreachable_bytes", offsetof(hf_compact_report, unreachable_bytes)},
        {"dropped", offsetof(hf_compact_report, dropped)},
        {"dropped_bytes", offsetof(hf_compact_report, dropped_bytes)},
        {"dangling", offsetof(hf_compact_report, dangling)},
        {"commit", offsetof(hf_compact_report, commit)},
    };
    struct json json = JSON_INIT(stdout);

    json_object(&json, NULL);
    json_text(&json, "file", path);
    json_bool(&json, "dry_run", dry);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        json_uint(&json, members[i].key,
                  *(const uint64_t *)((const char *)report + members[i].offset));
    json_seconds(&json, "seconds", (double)report->time_ns / 1e9);
    json_end(&json);
}

static void print_part(const char *what, uint64_t count, uint64_t bytes)
{
    if (count != 0)
        printf("  %s: %" PRIu64 ", %s\n", what, count, size_format(bytes).text);
}

static void print_human(const char *path, bool dry, const hf_compact_report *report)
{
    printf("%s: %s%s, was %s (%.1f s)\n", path, dry ? "would be " : "",
           size_format(report->size_after_bytes).text, size_format(report->size_before_bytes).text,
           (double)report->time_ns / 1e9);
    print_part("moved", report->moved, report->moved_bytes);
    print_part("pinned, may hold anything", report->pinned_opaque, report->pinned_opaque_bytes);
    print_part("pinned, something of those may lead there", report->pinned_referred,
               report->pinned_referred_bytes);
    print_part("dropped", report->dropped, report->dropped_bytes);
    if (report->dropped == 0)
        print_part("unreachable, kept", report->unreachable, report->unreachable_bytes);
    if (report->dangling != 0)
        printf("  pointers that led nowhere%s: %" PRIu64 "\n", dry ? "" : ", null now",
               report->dangling);
}

static int compact_run(struct tool *tool)
{
    hf_compact_options compact = HF_COMPACT_OPTIONS_INIT;
    hf_compact_report report;
    struct progress progress;
    const char *value, *path;
    int id;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END)
        compact.flags |= id == 'n' ? HF_COMPACT_DRY_RUN : HF_COMPACT_DROP_UNREACHABLE;
    if (tool->stopped)
        return tool->exit_code;
    path = tool->operands[0];
    interrupt_catch();
    progress_begin(&progress, path, 0, true, !tool->quiet && !tool->json);
    compact.on_progress = on_progress;
    compact.user = &progress;
    compact.report = &report;
    const int code = hf_compact(path, &compact);
    progress_clear(&progress);
    if (code != 0)
        return tool_fail_store(tool, path, code);
    const bool dry = (compact.flags & HF_COMPACT_DRY_RUN) != 0;
    if (tool->json)
        print_json(path, dry, &report);
    else if (!tool->quiet)
        print_human(path, dry, &report);
    return TOOL_OK;
}

const struct tool_command command_compact = {
    .name = "compact",
    .synopsis = "[OPTION...] FILE",
    .summary = "Make a store as small as what lives in it",
    .details = "Builds the store anew beside the old one, objects close together and pointers\n"
               "rewritten, and then swaps them in one step: a kill leaves one or the other. What\n"
               "has no type may hold anything and stays where it is, with what it may lead to.\n"
               "Nobody may have it open; the disk must have room for both.",
    .example = "  holdfast compact --dry-run photos.hf",
    .options = options,
    .operands_min = 1,
    .operands_max = 1,
    .run = compact_run,
};
