/* SPDX-License-Identifier: MIT */
/*
 * readers.c - holdfast readers: who has views open, and whether they defer applying the log
 *
 * Joins the processes that have the store open, read-only and without a view of its own. Where
 * nobody has it open there is nothing to join: the store is left untouched, with whatever a killed process
 * may have left beside it.
 */
#include "tools/commands.h"
#include "tools/common/json.h"
#include "tools/common/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct readers_run {
    struct tool *tool;
    const char *path;
    hf_log_summary summary;
    hf_reader *list;
    size_t count;
    bool has_log; /* log is known */
    hf_log_state log;
};

/* Views come and go while the list is made: as many as there are now. */
static int fill_list(struct readers_run *run, hf_store *store)
{
    size_t room = 0;

    for (;;) {
        size_t count;
        int code = hf_readers(store, run->list, room, &count);
        if (code != 0)
            return tool_fail_store(run->tool, run->path, code);
        run->count = count;
        if (count <= room)
            return TOOL_OK;
        room = count + 16;
        hf_reader *larger = reallocarray(run->list, room, sizeof *larger);
        if (larger == NULL)
            return tool_fail_os(run->tool, ENOMEM, run->path, NULL);
        run->list = larger;
    }
}

static int collect(struct readers_run *run)
{
    hf_store *store;
    int code = hf_log_scan(run->path, NULL, NULL, &run->summary);

    if (code != 0)
        return tool_fail_store(run->tool, run->path, code);
    if (run->summary.open_pid == 0)
        return TOOL_OK;
    code = tool_open(run->tool, run->path, HF_READ_ONLY, &store);
    if (code != TOOL_OK)
        return code;
    code = fill_list(run, store);
    if (code == TOOL_OK && run->summary.engine == HF_ENGINE_LOG)
        run->has_log = hf_log_info(store, &run->log) == 0;
    return tool_close(run->tool, run->path, store, code);
}

static void print_human(const struct readers_run *run)
{
    if (run->summary.open_pid == 0)
        printf("%s: nobody has it open\n", run->path);
    else
        printf("%s: %zu view%s\n", run->path, run->count, run->count == 1 ? "" : "s");
    if (run->has_log)
        printf("  commits: %" PRIu64 " made, %" PRIu64 " durable, %" PRIu64 " applied\n",
               run->log.appended, run->log.durable, run->log.applied);
    if (run->count > 0)
        printf("  %10s %10s %12s %12s  %s\n", "process", "thread", "seconds", "commit", "defers");
    for (size_t i = 0; i < run->count; i++) {
        const hf_reader *reader = &run->list[i];
        printf("  %10" PRId64 " %10" PRIu64 " %12.3f %12" PRIu64 "  %s\n", reader->pid,
               reader->thread_id, (double)reader->age_ns / 1e9, reader->commit,
               reader->defers ? "yes" : "no");
    }
}

static void print_json(const struct readers_run *run)
{
    struct json json = JSON_INIT(stdout);

    json_object(&json, NULL);
    json_text(&json, "file", run->path);
    json_int(&json, "open_pid", run->summary.open_pid);
    json_uint(&json, "count", run->count);
    if (run->has_log) {
        json_object(&json, "log");
        json_uint(&json, "epoch", run->log.epoch);
        json_uint(&json, "base", run->log.base);
        json_uint(&json, "applied", run->log.applied);
        json_uint(&json, "durable", run->log.durable);
        json_uint(&json, "appended", run->log.appended);
        json_uint(&json, "file_bytes", run->log.file_bytes);
        json_uint(&json, "end_bytes", run->log.end_bytes);
        json_bool(&json, "log_failed", run->log.log_failed != 0);
        json_bool(&json, "unrecovered", run->log.unrecovered != 0);
        json_end(&json);
    }
    json_array(&json, "readers");
    for (size_t i = 0; i < run->count; i++) {
        const hf_reader *reader = &run->list[i];
        json_object(&json, NULL);
        json_int(&json, "pid", reader->pid);
        json_uint(&json, "thread_id", reader->thread_id);
        json_seconds(&json, "age_seconds", (double)reader->age_ns / 1e9);
        json_uint(&json, "commit", reader->commit);
        json_bool(&json, "defers", reader->defers != 0);
        json_end(&json);
    }
    json_end(&json);
    json_end(&json);
}

static int readers_run(struct tool *tool)
{
    struct readers_run run = {.tool = tool};
    const char *value;
    int code;

    while (tool_option_next(tool, &value) != TOOL_OPTIONS_END)
        ;
    if (tool->stopped)
        return tool->exit_code;
    run.path = tool->operands[0];
    code = collect(&run);
    if (code == TOOL_OK && tool->json)
        print_json(&run);
    else if (code == TOOL_OK)
        print_human(&run);
    free(run.list);
    return code;
}

const struct tool_command command_readers = {
    .name = "readers",
    .synopsis = "[OPTION...] FILE",
    .summary = "Show who reads a store now",
    .details = "Lists the views that processes have open: process, thread, age, the commit\n"
               "they show, and whether a later commit waits for them to end. The store and\n"
               "the processes are not disturbed; nothing is recovered.\n",
    .example = "  holdfast readers photos.hf",
    .options = NULL,
    .operands_min = 1,
    .operands_max = 1,
    .waits = true,
    .run = readers_run,
};
