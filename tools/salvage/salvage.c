/* SPDX-License-Identifier: MIT */
/*
 * salvage.c - holdfast salvage: saves what is provably intact in a damaged store
 *
 * Thin: hf_salvage does the work and tells of each object; this prints that. With --json the objects are
 * an array, and what they come to stands behind it.
 */
#include "tools/commands.h"
#include "tools/common/interrupt.h"
#include "tools/common/json.h"
#include "tools/common/progress.h"
#include "tools/common/size.h"

#include "holdfast/holdfast.h"

#include <inttypes.h>
#include <stdio.h>

enum { OPTION_SALT = TOOL_OPTION_LONG };

static const struct tool_option options[] = {
    {'n', "dry-run", NULL, "only list what would be saved; NEW is not needed"},
    {'u', "unproved", NULL, "save also what can be read but not proved, as\nNAME.unproved"},
    {'a', "all", NULL, "list intact objects, too"},
    {OPTION_SALT, "salt", "HEX", "the store's salt, where no copy of it is left in it"},
    {0, NULL, NULL, NULL},
};

struct salvage {
    struct tool *tool;
    const char *path;
    bool all;
    struct progress progress;
    struct json json;
};

static const char *const verdicts[] = {"intact", "unproved", "lost"};
static const char *const kinds[] = {"", "named", "unique", "anonymous"};

static void object_json(struct json *json, const hf_salvage_object *object)
{
    json_object(json, NULL);
    if (object->name != NULL)
        json_text(json, "name", object->name);
    if (object->new_name != NULL)
        json_text(json, "new_name", object->new_name);
    if (object->kind != 0)
        json_text(json, "kind", kinds[object->kind]);
    json_text(json, "verdict", verdicts[object->verdict]);
    json_bool(json, "saved", object->saved != 0);
    if (object->why[0] != '\0')
        json_text(json, "why", object->why);
    json_text(json, "type", object->type_name);
    json_uint(json, "type_version", object->type_version);
    json_uint(json, "count", object->count);
    json_uint(json, "size_bytes", object->size_bytes);
    json_uint(json, "commit", object->commit);
    json_uint(json, "offset", object->offset);
    json_uint(json, "nulled", object->nulled);
    json_end(json);
}

static void on_object(void *user, const hf_salvage_object *object)
{
    struct salvage *salvage = user;
    const bool as_ever = object->verdict == HF_SALVAGE_INTACT && object->nulled == 0;

    if (salvage->tool->json) {
        object_json(&salvage->json, object);
        return;
    }
    if (salvage->tool->quiet || (as_ever && !salvage->all))
        return;
    progress_clear(&salvage->progress);
    printf("%s: %-8s ", salvage->path, verdicts[object->verdict]);
    if (object->name != NULL)
        printf("'%s'", object->name);
    else
        printf("%s at %" PRIu64, object->kind == 0 ? "an object" : "an anonymous object",
               object->offset);
    printf(", %s", size_format(object->size_bytes).text);
    if (object->type_name[0] != '\0')
        printf(" of '%s'", object->type_name);
    if (object->why[0] != '\0')
        printf(": %s", object->why);
    if (object->new_name != NULL && object->verdict == HF_SALVAGE_NOT_PROVED)
        printf("; saved as '%s'", object->new_name);
    if (object->nulled != 0)
        printf("; %" PRIu64 " pointers in it lead nowhere now", object->nulled);
    printf("\n");
}

static int on_progress(void *user, uint64_t done, uint64_t total)
{
    struct salvage *salvage = user;

    progress_set(&salvage->progress, done, total);
    return interrupt_pending() ? 1 : 0;
}

static void print_json(struct json *json, const hf_salvage_report *report, int exit_code)
{
    static const struct {
        const char *key;
        size_t offset;
    } members[] = {
        {"intact", offsetof(hf_salvage_report, intact)},
        {"unproved", offsetof(hf_salvage_report, unproved)},
        {"lost", offsetof(hf_salvage_report, lost)},
        {"missing", offsetof(hf_salvage_report, missing)},
        {"saved", offsetof(hf_salvage_report, saved)},
        {"saved_bytes", offsetof(hf_salvage_report, saved_bytes)},
        {"anonymous_saved", offsetof(hf_salvage_report, anonymous_saved)},
        {"anonymous_left", offsetof(hf_salvage_report, anonymous_left)},
        {"raw_saved", offsetof(hf_salvage_report, raw_saved)},
        {"raw_left", offsetof(hf_salvage_report, raw_left)},
        {"pools", offsetof(hf_salvage_report, pools)},
        {"pool_nodes", offsetof(hf_salvage_report, pool_nodes)},
        {"pointers", offsetof(hf_salvage_report, pointers)},
        {"nulled", offsetof(hf_salvage_report, nulled)},
        {"types", offsetof(hf_salvage_report, types)},
        {"pages_same", offsetof(hf_salvage_report, pages_same)},
        {"pages_differ", offsetof(hf_salvage_report, pages_differ)},
        {"pages_unknown", offsetof(hf_salvage_report, pages_unknown)},
        {"pages_unreadable", offsetof(hf_salvage_report, pages_unreadable)},
        {"replayed_commits", offsetof(hf_salvage_report, replayed_commits)},
        {"searched_bytes", offsetof(hf_salvage_report, searched_bytes)},
    };
    char salt[20];

    json_end(json); /* the array of objects */
    json_text(json, "log", report->log);
    snprintf(salt, sizeof salt, "%016" PRIx64, report->salt);
    json_text(json, "salt", salt);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        json_uint(json, members[i].key,
                  *(const uint64_t *)((const char *)report + members[i].offset));
    json_int(json, "exit_code", exit_code);
    json_end(json);
}

static void print_human(const char *path, const char *to, const hf_salvage_report *report)
{
    if (report->log[0] != '\0')
        printf("%s: not closed; its log: %s, %" PRIu64 " commits\n", path, report->log,
               report->replayed_commits);
    printf("%s: %" PRIu64 " intact, %" PRIu64 " unproved, %" PRIu64 " lost, %" PRIu64
           " not even found\n",
           path, report->intact, report->unproved, report->lost, report->missing);
    printf("%s: %s %" PRIu64 " objects, %s, with %" PRIu64 " anonymous ones and %" PRIu64
           " blocks of memory; %" PRIu64 " of %" PRIu64 " pointers lead nowhere now\n",
           to == NULL ? path : to, to == NULL ? "could save" : "saved", report->saved,
           size_format(report->saved_bytes).text, report->anonymous_saved, report->raw_saved,
           report->nulled, report->pointers);
}

/* Nothing was left out, and no pointer lost. */
static int exit_of(const hf_salvage_report *report)
{
    return report->unproved + report->lost + report->missing + report->nulled == 0 ? TOOL_OK
                                                                                  : TOOL_ABSENT;
}

static int run(struct salvage *salvage, const char *to, hf_salvage_options *with)
{
    struct tool *tool = salvage->tool;
    hf_salvage_report report;
    int code, exit_code;

    with->on_object = on_object;
    with->on_progress = on_progress;
    with->user = salvage;
    interrupt_catch();
    progress_begin(&salvage->progress, "salvaging", 0, true, !tool->quiet && !tool->json);
    if (tool->json) {
        json_object(&salvage->json, NULL);
        json_text(&salvage->json, "file", salvage->path);
        json_array(&salvage->json, "objects");
        tool->failure_shown = true; /* a member of the one document */
    }
    code = hf_salvage(salvage->path, to, with, &report);
    progress_clear(&salvage->progress);
    if (code != 0) {
        if (tool->json) {
            json_end(&salvage->json);
            json_text(&salvage->json, "code", hf_error_name(code));
            json_text(&salvage->json, "message", hf_last_error()->message);
            json_end(&salvage->json);
        }
        return tool_fail_store(tool, code == HF_EEXIST ? to : salvage->path, code);
    }
    exit_code = exit_of(&report);
    if (tool->json)
        print_json(&salvage->json, &report, exit_code);
    else if (!tool->quiet)
        print_human(salvage->path, to, &report);
    return exit_code;
}

static int salvage_run(struct tool *tool)
{
    struct salvage salvage = {.tool = tool, .json = JSON_INIT(stdout)};
    hf_salvage_options with = HF_SALVAGE_OPTIONS_INIT;
    const char *value;
    bool dry = false;
    int id;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END) {
        dry |= id == 'n';
        salvage.all |= id == 'a';
        if (id == 'u')
            with.flags |= HF_SALVAGE_UNPROVED;
        if (id == OPTION_SALT && (!size_parse_hex(value, &with.salt) || with.salt == 0))
            return tool_usage(tool, "\"%s\" is not a salt in hexadecimal", value);
    }
    if (tool->stopped)
        return tool->exit_code;
    if (!dry && tool->operand_count < 2)
        return tool_usage(tool, "NEW is missing; --dry-run only looks");
    salvage.path = tool->operands[0];
    return run(&salvage, dry ? NULL : tool->operands[1], &with);
}

const struct tool_command command_salvage = {
    .name = "salvage",
    .synopsis = "[OPTION...] FILE [NEW]",
    .summary = "Save what is intact in a damaged store",
    .details = "Makes the new store NEW of every object in FILE that is provably what some commit\n"
               "left, whatever has happened to the rest, and lists what is missing. FILE is only\n"
               "read. 0 means that nothing was left out, 1 that something was.",
    .example = "  holdfast salvage --json wreck.hf saved.hf >report.json",
    .options = options,
    .operands_min = 1,
    .operands_max = 2,
    .run = salvage_run,
};
