/* SPDX-License-Identifier: MIT */
/*
 * fsck.c - holdfast fsck: checks stores and repairs them
 *
 * Thin: hf_check_file and hf_repair_file do the work. This prints what they find as they find it,
 * and turns the outcome into the exit codes of fsck(8), or-ed over all files.
 */
#include "tools/commands.h"
#include "tools/common/interrupt.h"
#include "tools/common/json.h"
#include "tools/common/progress.h"
#include "tools/common/size.h"

#include "holdfast/holdfast.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_REPAIR = TOOL_OPTION_LONG, OPTION_PROGRESS, OPTION_NO_PROGRESS, OPTION_FINDINGS,
       OPTION_LEAKS, OPTION_LEAKS_FAIL, OPTION_NO_POINTERS };

static const struct tool_option options[] = {
    {'a', "repair", NULL, "rebuild free structures, indexes and counters (also -p\nand -y)"},
    {'p', "preen", NULL, NULL},
    {'y', "yes", NULL, NULL},
    {'n', "no-repair", NULL, "only look; this is the default"},
    {'f', "full", NULL, NULL}, /* fsck(8) passes it; every check here is a full one */
    {OPTION_PROGRESS, "progress", NULL, "a progress bar even where there is no terminal"},
    {OPTION_NO_PROGRESS, "no-progress", NULL, "no progress bar"},
    {OPTION_FINDINGS, "findings-max", "N", "stop a file after this many, or with --repair say no\nmore; 1000 unless given"},
    {OPTION_LEAKS, "leaks", NULL, "also look for memory that no named object leads to"},
    {OPTION_LEAKS_FAIL, "leaks-fail", NULL, "the same, and exit with 4 if there is any"},
    {OPTION_NO_POINTERS, "no-pointers", NULL, "don't look where the pointers of objects lead"},
    {0, NULL, NULL, NULL},
};

struct leak {
    hf_leak leak;
    char *type_name;             /* ours, or NULL                                                 */
};

struct fsck {
    struct tool *tool;
    const char *path;
    bool repair, progress_on, progress_off, leaks, leaks_fail, no_pointers;
    uint64_t findings_max;
    struct progress progress;
    struct json json;
    struct leak *kept;           /* --json: they come before the last findings do                 */
    size_t kept_count, kept_room;
};

static void on_finding(void *user, const hf_finding *finding)
{
    struct fsck *fsck = user;

    if (fsck->tool->json) {
        json_object(&fsck->json, NULL);
        json_text(&fsck->json, "rule", finding->rule);
        json_uint(&fsck->json, "offset", finding->offset);
        json_text(&fsck->json, "expected", finding->expected);
        json_end(&fsck->json);
    } else if (!fsck->tool->quiet) {
        progress_clear(&fsck->progress);
        printf("%s: %s at %" PRIu64 ": %s\n", fsck->path, finding->rule, finding->offset,
               finding->expected);
    }
}

static void keep_leak(struct fsck *fsck, const hf_leak *leak)
{
    if (fsck->kept_count == fsck->kept_room) {
        size_t room = fsck->kept_room == 0 ? 64 : fsck->kept_room * 2;
        struct leak *kept = realloc(fsck->kept, room * sizeof *kept);

        if (kept == NULL)
            return; /* still counted */
        fsck->kept = kept;
        fsck->kept_room = room;
    }
    fsck->kept[fsck->kept_count++] = (struct leak){
        *leak, leak->type_name == NULL ? NULL : strdup(leak->type_name)};
}

static void on_leak(void *user, const hf_leak *leak)
{
    struct fsck *fsck = user;

    if (fsck->tool->json) {
        keep_leak(fsck, leak);
    } else if (!fsck->tool->quiet) {
        progress_clear(&fsck->progress);
        printf("%s: leak at %" PRIu64 ": %" PRIu64 " bytes, ", fsck->path, leak->offset,
               leak->size_bytes);
        if (leak->type_name == NULL)
            printf("a block\n");
        else if (leak->type_name[0] == '\0')
            printf("an object of plain bytes\n");
        else
            printf("%" PRIu64 " of %s version %" PRIu32 "\n", leak->count, leak->type_name,
                   leak->type_version);
    }
}

static void print_leaks_json(struct fsck *fsck, const hf_check_report *report)
{
    json_uint(&fsck->json, "leaked_objects", report->leaked_objects);
    json_uint(&fsck->json, "leaked_blocks", report->leaked_blocks);
    json_uint(&fsck->json, "leaked_bytes", report->leaked_bytes);
    json_array(&fsck->json, "leaks");
    for (size_t i = 0; i < fsck->kept_count; i++) {
        const struct leak *kept = &fsck->kept[i];

        json_object(&fsck->json, NULL);
        json_uint(&fsck->json, "offset", kept->leak.offset);
        json_uint(&fsck->json, "size_bytes", kept->leak.size_bytes);
        json_text(&fsck->json, "kind", kept->leak.type_name == NULL ? "raw" : "anonymous");
        if (kept->type_name != NULL) {
            json_text(&fsck->json, "type", kept->type_name);
            json_uint(&fsck->json, "type_version", kept->leak.type_version);
            json_uint(&fsck->json, "count", kept->leak.count);
        }
        json_end(&fsck->json);
        free(kept->type_name);
    }
    json_end(&fsck->json);
    fsck->kept_count = 0;
}

static int on_progress(void *user, uint64_t done, uint64_t total)
{
    struct fsck *fsck = user;

    progress_set(&fsck->progress, done, total);
    return interrupt_pending() ? 1 : 0;
}

struct outcome {
    int exit_code;
    const char *state;
};

static struct outcome outcome_of(const struct fsck *fsck, int code, const hf_check_report *report)
{
    switch (code) {
    case 0:
        if (fsck->leaks_fail && report->leaked_objects + report->leaked_blocks > 0)
            return (struct outcome){FSCK_UNCORRECTED, "leaking"};
        if (fsck->repair && (report->repaired > 0 || report->lost_bytes > 0))
            return (struct outcome){FSCK_CORRECTED, "corrected"};
        return (struct outcome){FSCK_CLEAN, "clean"};
    case HF_ECORRUPT:
    case HF_ETRUNCATED:
    case HF_ETORN:
        return (struct outcome){FSCK_UNCORRECTED, "damaged"};
    case HF_ECANCELLED:
        return (struct outcome){FSCK_CANCELLED, "cancelled"};
    default:
        return (struct outcome){FSCK_OPERATIONAL, "not checked"};
    }
}

static const char *engine_name(const hf_check_report *report)
{
    return report->engine == HF_ENGINE_DIRECT ? "direct" : "log";
}

static void print_json(struct fsck *fsck, int code, const struct outcome *outcome,
                       const hf_check_report *report)
{
    static const struct {
        const char *key;
        size_t offset;
    } members[] = {
        {"blocks", offsetof(hf_check_report, blocks)},
        {"free_blocks", offsetof(hf_check_report, free_blocks)},
        {"live_bytes", offsetof(hf_check_report, live_bytes)},
        {"free_bytes", offsetof(hf_check_report, free_bytes)},
        {"named", offsetof(hf_check_report, named)},
        {"unique", offsetof(hf_check_report, unique)},
        {"anonymous", offsetof(hf_check_report, anonymous)},
        {"raw", offsetof(hf_check_report, raw)},
        {"types", offsetof(hf_check_report, types)},
        {"repaired", offsetof(hf_check_report, repaired)},
        {"lost_bytes", offsetof(hf_check_report, lost_bytes)},
        {"accepted", offsetof(hf_check_report, accepted)},
        {"undone_bytes", offsetof(hf_check_report, undone_bytes)},
        {"replayed_commits", offsetof(hf_check_report, replayed_commits)},
    };

    json_end(&fsck->json); /* the array of findings */
    json_text(&fsck->json, "state", outcome->state);
    json_text(&fsck->json, "engine", engine_name(report));
    json_int(&fsck->json, "exit_code", outcome->exit_code);
    json_uint(&fsck->json, "finding_count", report->findings);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        json_uint(&fsck->json, members[i].key,
                  *(const uint64_t *)((const char *)report + members[i].offset));
    if (fsck->leaks)
        print_leaks_json(fsck, report);
    if (code != 0 && code != HF_ECORRUPT) {
        json_text(&fsck->json, "code", hf_error_name(code));
        json_text(&fsck->json, "message", hf_last_error()->message);
    }
    json_end(&fsck->json);
}

static void print_human(const struct fsck *fsck, const struct outcome *outcome,
                        const hf_check_report *report)
{
    if (report->undone_bytes > 0)
        printf("%s: a process died inside a transaction; %s %s\n", fsck->path,
               size_format(report->undone_bytes).text,
               outcome->exit_code == FSCK_CORRECTED ? "rolled back"
                                                    : "will be rolled back at the next open");
    if (report->replayed_commits > 0)
        printf("%s: not closed; its log holds %" PRIu64 " commits, %s\n", fsck->path,
               report->replayed_commits,
               outcome->exit_code == FSCK_CORRECTED ? "now replayed" : "replayed at the next open");
    if (outcome->exit_code == FSCK_CORRECTED)
        printf("%s: repaired: %" PRIu64 " structures rebuilt, %s set aside\n", fsck->path,
               report->repaired, size_format(report->lost_bytes).text);
    if (fsck->leaks && report->leaked_objects + report->leaked_blocks > 0)
        printf("%s: %" PRIu64 " objects and %" PRIu64 " blocks, %s, can't be reached\n", fsck->path,
               report->leaked_objects, report->leaked_blocks,
               size_format(report->leaked_bytes).text);
    if (outcome->exit_code == FSCK_CORRECTED && report->accepted > 0)
        printf("%s: %" PRIu64 " findings above can't be mended: now what they are told of counts as "
               "it is\n",
               fsck->path, report->accepted);
    if (outcome->exit_code == FSCK_UNCORRECTED && report->findings > 0)
        printf("%s: DAMAGED, %" PRIu64 " findings%s\n", fsck->path, report->findings,
               fsck->repair ? " remain" : "; holdfast fsck --repair may help");
    else
        printf("%s: %s, %s engine, %" PRIu64 " named, %" PRIu64 " unique, %" PRIu64
               " anonymous objects, %" PRIu64 " blocks, %s used, %s free\n",
               fsck->path, outcome->state, engine_name(report), report->named, report->unique, report->anonymous,
               report->blocks, size_format(report->live_bytes).text,
               size_format(report->free_bytes).text);
}

static int check_one(struct fsck *fsck)
{
    struct tool *tool = fsck->tool;
    hf_check_options check = HF_CHECK_OPTIONS_INIT;
    hf_check_report report = {0};
    struct outcome outcome;
    int code;

    check.on_finding = on_finding;
    check.on_progress = on_progress;
    check.user = fsck;
    check.findings_max = fsck->findings_max;
    check.flags = fsck->no_pointers ? HF_CHECK_NO_POINTERS : 0;
    if (fsck->leaks) {
        check.flags |= HF_CHECK_LEAKS;
        check.on_leak = on_leak;
    }
    progress_begin(&fsck->progress, fsck->repair ? "repairing" : "checking", 0, true,
                   !tool->quiet && !tool->json && !fsck->progress_off);
    if (fsck->progress_on)
        progress_force(&fsck->progress);
    if (tool->json) {
        json_object(&fsck->json, NULL);
        json_text(&fsck->json, "file", fsck->path);
        json_array(&fsck->json, "findings");
    }
    code = fsck->repair ? hf_repair_file(fsck->path, &check, &report)
                        : hf_check_file(fsck->path, &check, &report);
    progress_clear(&fsck->progress);
    outcome = outcome_of(fsck, code, &report);
    if (tool->json)
        print_json(fsck, code, &outcome, &report);
    if (code != 0 && code != HF_ECORRUPT)
        tool_fail_store(tool, fsck->path, code);
    else if (!tool->json && !tool->quiet)
        print_human(fsck, &outcome, &report);
    return outcome.exit_code;
}

/* Sets one option; false if its argument is wrong. */
static bool set_option(struct fsck *fsck, int id, const char *value)
{
    switch (id) {
    case 'a':
    case 'p':
    case 'y':
        fsck->repair = true;
        return true;
    case 'n':
        fsck->repair = false;
        return true;
    case OPTION_LEAKS_FAIL:
        fsck->leaks_fail = true;
        fsck->leaks = true;
        return true;
    case OPTION_LEAKS:
        fsck->leaks = true;
        return true;
    case OPTION_NO_POINTERS:
        fsck->no_pointers = true;
        return true;
    case OPTION_PROGRESS:
        fsck->progress_on = true;
        return true;
    case OPTION_NO_PROGRESS:
        fsck->progress_off = true;
        return true;
    case OPTION_FINDINGS:
        return size_parse_count(value, UINT64_MAX, &fsck->findings_max);
    default:
        return true;
    }
}

static int fsck_run(struct tool *tool)
{
    struct fsck fsck = {.tool = tool, .json = JSON_INIT(stdout)};
    const char *value;
    int id, exit_code = FSCK_CLEAN;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END)
        if (!set_option(&fsck, id, value))
            return tool_usage(tool, "\"%s\" is not a number", value);
    if (tool->stopped)
        return tool->exit_code;
    interrupt_catch();
    if (tool->json) {
        tool->failure_shown = true; /* failures are members of the one document */
        json_object(&fsck.json, NULL);
        json_array(&fsck.json, "files");
    }
    for (int i = 0; i < tool->operand_count && (exit_code & FSCK_CANCELLED) == 0; i++) {
        fsck.path = tool->operands[i];
        exit_code |= check_one(&fsck);
    }
    if (tool->json) {
        json_end(&fsck.json);
        json_int(&fsck.json, "exit_code", exit_code);
        json_end(&fsck.json);
    }
    free(fsck.kept);
    return exit_code;
}

const struct tool_command command_fsck = {
    .name = "fsck",
    .synopsis = "[OPTION...] FILE...",
    .summary = "Check stores, and repair them",
    .details = "Only looks, unless --repair is given. Walks header, blocks, free structures,\n"
               "indexes, objects, types and the pointers of typed objects. Leaks are no errors,\n"
               "unless asked for by --leaks-fail. The exit code is the sum over all files, as fsck(8)'s.",
    .example = "  holdfast fsck photos.hf || holdfast fsck --repair photos.hf",
    .options = options,
    .operands_min = 1,
    .operands_max = -1,
    .is_fsck = true,
    .run = fsck_run,
};
