/* SPDX-License-Identifier: MIT */
/* trim.c - holdfast trim: gives free space back to the disk, whoever has the store open */
#include "tools/commands.h"
#include "tools/common/json.h"
#include "tools/common/size.h"
#include "tools/common/store.h"

#include <inttypes.h>
#include <stdio.h>

enum { OPTION_DRY_RUN = 'n' };

static const struct tool_option options[] = {
    {OPTION_DRY_RUN, "dry-run", NULL, "only say what there is to give back"},
    {0, NULL, NULL, NULL},
};

static int trim(struct tool *tool, const char *path, bool dry_run, hf_trim_report *report)
{
    hf_store *store;
    int code = tool_open(tool, path, dry_run ? HF_READ_ONLY : HF_OPEN_EXISTING, &store);

    if (code != TOOL_OK)
        return code;
    int result = dry_run ? hf_trim_estimate(store, report) : hf_trim(store, report);
    if (result != 0)
        code = tool_fail_store(tool, path, result);
    return tool_close(tool, path, store, code);
}

static void print_human(const char *path, bool dry_run, const hf_trim_report *report)
{
    printf("%s: %s in %" PRIu64 " free blocks, and %s at the end%s\n", path,
           size_format(report->extent_bytes).text, report->extents,
           size_format(report->tail_bytes).text, dry_run ? " could be given back" : "");
    if (report->unsupported)
        printf("  this file system can't make holes: nothing was given back\n");
    else if (!dry_run)
        printf("  the file holds %s less of the disk\n", size_format(report->freed_bytes).text);
}

static void print_json(const char *path, bool dry_run, const hf_trim_report *report)
{
    struct json json = JSON_INIT(stdout);

    json_object(&json, NULL);
    json_text(&json, "file", path);
    json_bool(&json, "dry_run", dry_run);
    json_uint(&json, "extents", report->extents);
    json_uint(&json, "extent_bytes", report->extent_bytes);
    json_uint(&json, "tail_bytes", report->tail_bytes);
    json_uint(&json, "punched_extents", report->punched_extents);
    json_uint(&json, "punched_bytes", report->punched_bytes);
    if (!dry_run)
        json_uint(&json, "freed_bytes", report->freed_bytes);
    json_bool(&json, "unsupported", report->unsupported != 0);
    json_end(&json);
}

static int trim_run(struct tool *tool)
{
    hf_trim_report report;
    const char *value, *path;
    bool dry_run = false;
    int id, code;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END)
        dry_run |= id == OPTION_DRY_RUN;
    if (tool->stopped)
        return tool->exit_code;
    path = tool->operands[0];
    code = trim(tool, path, dry_run, &report);
    if (code == TOOL_OK && tool->json)
        print_json(path, dry_run, &report);
    else if (code == TOOL_OK && !tool->quiet)
        print_human(path, dry_run, &report);
    return code;
}

const struct tool_command command_trim = {
    .name = "trim",
    .synopsis = "[OPTION...] FILE",
    .summary = "Give a store's free space back to the disk",
    .details = "Large free blocks and the free end become holes of the file; nothing moves. Others\n"
               "may have the store open; views that are open are waited for, writers go on. The space\n"
               "gets disk blocks again before it is used.\n",
    .example = "  holdfast trim photos.hf",
    .options = options,
    .operands_min = 1,
    .operands_max = 1,
    .waits = true,
    .run = trim_run,
};
