/* SPDX-License-Identifier: MIT */
/*
 * log.c - holdfast log: what stands in the log files beside a store
 *
 * Everything is read first and printed then: a file that is switched meanwhile is read anew, and
 * only what was read last counts.
 */
#include "tools/commands.h"
#include "tools/common/json.h"
#include "tools/common/size.h"

#include "holdfast/holdfast.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct tool_option options[] = {
    {'v', "verbose", NULL, "also each record's ranges in the segment"},
    {0, NULL, NULL, NULL},
};

struct records {
    hf_log_record *list; /* each with ranges of its own, if they are wanted */
    size_t count, room;
};

struct log_run {
    struct tool *tool;
    const char *path;
    bool verbose, out_of_memory;
    hf_log_summary summary;
    struct records records[2];
};

static void drop(struct records *records, size_t from)
{
    for (size_t i = from; i < records->count; i++)
        free((void *)(uintptr_t)records->list[i].ranges);
    records->count = from < records->count ? from : records->count;
}

static int keep(void *context, const hf_log_record *record)
{
    struct log_run *run = context;
    struct records *records = &run->records[record->file];
    hf_log_range *ranges = NULL;

    if (records->count == records->room) {
        size_t room = records->room == 0 ? 64 : records->room * 2;
        hf_log_record *larger = reallocarray(records->list, room, sizeof *larger);
        if (larger == NULL)
            goto out_of_memory;
        records->list = larger;
        records->room = room;
    }
    if (run->verbose && record->range_count > 0) {
        ranges = calloc(record->range_count, sizeof *ranges);
        if (ranges == NULL)
            goto out_of_memory;
        memcpy(ranges, record->ranges, record->range_count * sizeof *ranges);
    }
    records->list[records->count] = *record;
    records->list[records->count++].ranges = ranges;
    return 0;

out_of_memory:
    run->out_of_memory = true;
    return 1;
}

static int collect(struct log_run *run)
{
    int code = hf_log_scan(run->path, keep, run, &run->summary);

    if (run->out_of_memory)
        return tool_fail_os(run->tool, ENOMEM, run->path, NULL);
    if (code != 0)
        return tool_fail_store(run->tool, run->path, code);
    for (int i = 0; i < 2; i++) {
        struct records *records = &run->records[i];
        size_t stale = records->count - (size_t)run->summary.files[i].records;
        for (size_t k = 0; k < stale; k++)
            free((void *)(uintptr_t)records->list[k].ranges);
        records->count -= stale;
        if (stale != 0)
            memmove(records->list, records->list + stale, records->count * sizeof *records->list);
    }
    return TOOL_OK;
}

/* ---- what it says ---------------------------------------------------------------------------- */

static const hf_log_file *that_counts(const struct log_run *run)
{
    for (int i = 0; i < 2; i++)
        if (run->summary.files[i].counts)
            return &run->summary.files[i];
    return NULL;
}

static bool needs_log(const struct log_run *run)
{
    return run->summary.state == HF_STATE_LOGGED || run->summary.state == HF_STATE_UNSYNCED;
}

/* A store that can't be opened as it is, because of its log: why, or NULL. */
static const char *damage(const struct log_run *run)
{
    const hf_log_file *file = that_counts(run);

    if (!needs_log(run))
        return NULL;
    if (file == NULL)
        return run->summary.files[0].exists || run->summary.files[1].exists
                   ? "neither log file belongs to this use of the store"
                   : "the store was not closed and its log is missing";
    return file->end_reason == HF_LOG_END_DAMAGED
               ? "the log is damaged: a commit that was durable can't be read"
               : NULL;
}

static const char *const reason_keys[] = {"unused",  "end_of_file", "other_epoch", "other_chain",
                                          "torn",    "damaged",     "no_header"};
static const char *const reason_texts[] = {
    "nothing was written behind it",
    "the file ends",
    "what follows is of another use of the file",
    "what follows was not written behind it",
    "what follows is a record that is not whole",
    "what follows is damaged, and a later record says that it was durable",
    "its header is none of this store's",
};

static const char *state_text(const struct log_run *run)
{
    if (run->summary.engine != HF_ENGINE_LOG)
        return "has the direct engine, which keeps no log";
    if (!needs_log(run))
        return "is clean: no log is needed";
    return run->summary.open_pid != 0 ? "is in use: the log counts"
                                      : "was not closed: whoever opens it replays the log";
}

static void format_time(uint64_t ns, char out[40])
{
    time_t seconds = (time_t)(ns / 1000000000u);
    struct tm parts;
    size_t length = 0;

    out[0] = '\0';
    if (gmtime_r(&seconds, &parts) != NULL)
        length = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &parts);
    if (length > 0)
        snprintf(out + length, 40 - length, ".%03uZ", (unsigned)(ns / 1000000u % 1000u));
}

static void print_record(const struct log_run *run, const hf_log_record *record)
{
    char when[40];

    format_time(record->time_ns, when);
    printf("  %10" PRIu64 " %10" PRIu64 " %9" PRIu64 " %7" PRIu64 " %9" PRIu64 " %10" PRIu64
           " %12" PRIu64 " %8" PRId64 "  %s\n",
           record->commit, record->offset, record->length_bytes, record->range_count,
           record->data_bytes, record->synced_through, record->used_end, record->pid, when);
    if (record->window_end != 0)
        printf("             written in place: %" PRIu64 " to %" PRIu64 "\n", record->window_start,
               record->window_end);
    if (run->verbose)
        for (uint64_t i = 0; i < record->range_count; i++)
            printf("             %12" PRIu64 " %9" PRIu64 "\n", record->ranges[i].offset,
                   record->ranges[i].size_bytes);
}

static void print_file(const struct log_run *run, int number)
{
    const hf_log_file *file = &run->summary.files[number];
    const struct records *records = &run->records[number];

    printf("%s-log%d: ", run->path, number);
    if (!file->exists) {
        printf("there is none\n");
        return;
    }
    printf("%s, %s\n", size_format(file->file_bytes).text,
           file->counts    ? "the one that counts"
           : file->current ? "the older one"
           : file->valid   ? "left over from an earlier use of the log"
                           : "no header of this store's log");
    if (!file->valid)
        return;
    printf("  generation %" PRIu64 ", epoch %" PRIu64 ", base commit %" PRIu64
           ", used end there %" PRIu64 "\n",
           file->generation, file->epoch, file->base, file->used_end);
    if (records->count > 0)
        printf("  %10s %10s %9s %7s %9s %10s %12s %8s  %s\n", "commit", "offset", "length",
               "ranges", "bytes", "synced to", "used end", "process", "time");
    for (size_t i = 0; i < records->count; i++)
        print_record(run, &records->list[i]);
    printf("  ends at offset %" PRIu64 " with commit %" PRIu64 ": %s\n", file->end,
           file->last_commit, reason_texts[file->end_reason]);
}

static void print_human(const struct log_run *run)
{
    printf("%s: %s", run->path, state_text(run));
    if (run->summary.open_pid != 0)
        printf(" (process %" PRId64 " has it open)", run->summary.open_pid);
    printf("\n");
    for (int i = 0; i < 2; i++)
        if (run->summary.engine == HF_ENGINE_LOG)
            print_file(run, i);
}

static void print_json_record(const struct log_run *run, struct json *json,
                              const hf_log_record *record)
{
    json_object(json, NULL);
    json_uint(json, "commit", record->commit);
    json_uint(json, "offset", record->offset);
    json_uint(json, "length_bytes", record->length_bytes);
    json_uint(json, "range_count", record->range_count);
    json_uint(json, "data_bytes", record->data_bytes);
    json_uint(json, "synced_through", record->synced_through);
    json_uint(json, "used_end", record->used_end);
    json_uint(json, "window_start", record->window_start);
    json_uint(json, "window_end", record->window_end);
    json_uint(json, "time_ns", record->time_ns);
    json_int(json, "pid", record->pid);
    if (run->verbose) {
        json_array(json, "ranges");
        for (uint64_t i = 0; i < record->range_count; i++) {
            json_object(json, NULL);
            json_uint(json, "offset", record->ranges[i].offset);
            json_uint(json, "size_bytes", record->ranges[i].size_bytes);
            json_end(json);
        }
        json_end(json);
    }
    json_end(json);
}

static void print_json_file(const struct log_run *run, struct json *json, int number)
{
    const hf_log_file *file = &run->summary.files[number];

    json_object(json, number == 0 ? "log0" : "log1");
    json_bool(json, "exists", file->exists != 0);
    json_bool(json, "valid", file->valid != 0);
    json_bool(json, "current", file->current != 0);
    json_bool(json, "counts", file->counts != 0);
    if (file->exists)
        json_uint(json, "file_bytes", file->file_bytes);
    if (file->valid) {
        json_uint(json, "generation", file->generation);
        json_uint(json, "epoch", file->epoch);
        json_uint(json, "base", file->base);
        json_uint(json, "used_end", file->used_end);
        json_uint(json, "last_commit", file->last_commit);
        json_uint(json, "end", file->end);
    }
    json_text(json, "end_reason", reason_keys[file->end_reason]);
    json_array(json, "records");
    for (size_t i = 0; i < run->records[number].count; i++)
        print_json_record(run, json, &run->records[number].list[i]);
    json_end(json);
    json_end(json);
}

static void print_json(const struct log_run *run)
{
    static const char *const states[] = {"clean", "in_use", "logged", "unsynced"};
    struct json json = JSON_INIT(stdout);
    const char *wrong = damage(run);

    json_object(&json, NULL);
    json_text(&json, "file", run->path);
    json_text(&json, "engine", run->summary.engine == HF_ENGINE_LOG ? "log" : "direct");
    json_text(&json, "state", run->summary.state < 4 ? states[run->summary.state] : "?");
    json_uint(&json, "generation", run->summary.generation);
    json_int(&json, "open_pid", run->summary.open_pid);
    json_text(&json, "damage", wrong == NULL ? "" : wrong);
    print_json_file(run, &json, 0);
    print_json_file(run, &json, 1);
    json_end(&json);
}

static int log_run(struct tool *tool)
{
    struct log_run run = {.tool = tool};
    const char *value;
    int id, code;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END)
        run.verbose |= id == 'v';
    if (tool->stopped)
        return tool->exit_code;
    run.path = tool->operands[0];
    code = collect(&run);
    if (code == TOOL_OK && tool->json)
        print_json(&run);
    else if (code == TOOL_OK)
        print_human(&run);
    if (code == TOOL_OK && damage(&run) != NULL) {
        tool_warn(run.path, "%s", damage(&run));
        code = TOOL_DAMAGED;
    }
    for (int i = 0; i < 2; i++) {
        drop(&run.records[i], 0);
        free(run.records[i].list);
    }
    return code;
}

const struct tool_command command_log = {
    .name = "log",
    .synopsis = "[OPTION...] FILE",
    .summary = "Show what stands in a store's log",
    .details = "Reads the log files beside a store: closed, left by a killed process, or open.\n"
               "Shows the header of each, which one counts, its records, and why they end\n"
               "where they do. Nothing is changed and nobody is waited for. Exit code 4 if the\n"
               "store needs its log and that is missing or damaged.\n",
    .example = "  holdfast log --verbose photos.hf",
    .options = options,
    .operands_min = 1,
    .operands_max = 1,
    .run = log_run,
};
