/* SPDX-License-Identifier: MIT */
/*
 * stat.c - holdfast stat: sizes and contents of a store, by kind and by type
 *
 * All numbers are of one moment: hf_info joins the view under which the objects are walked.
 */
#include "tools/commands.h"
#include "tools/common/choice.h"
#include "tools/common/json.h"
#include "tools/common/size.h"
#include "tools/common/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct tool_option options[] = {
    {'b', "brief", NULL, "sizes and counts only: no walk over all objects"},
    {0, NULL, NULL, NULL},
};

struct usage {
    char *type_name; /* ours; NULL in the table by kind */
    uint32_t type_version;
    uint64_t count, elements, size_bytes, footprint_bytes;
};

struct stat_run {
    struct tool *tool;
    const char *path;
    bool brief;
    hf_store_info info;
    hf_recovery recovery;
    hf_trim_report space;
    struct usage kinds[HF_KIND_ANONYMOUS + 1];
    struct usage *types; /* sorted by name and version */
    size_t type_count, type_room;
};

/* Where the type is in the sorted table, or belongs; *found tells which. */
static size_t search_type(const struct stat_run *run, const char *name, uint32_t version,
                          bool *found)
{
    size_t low = 0, high = run->type_count;

    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct usage *usage = &run->types[middle];
        int order = strcmp(usage->type_name, name);
        if (order == 0)
            order = (usage->type_version > version) - (usage->type_version < version);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The type's row, made if there is none; NULL when out of memory. */
static struct usage *type_row(struct stat_run *run, const char *name, uint32_t version)
{
    bool found;
    size_t at = search_type(run, name, version, &found);
    struct usage row = {.type_version = version};

    if (found)
        return &run->types[at];
    if (run->type_count == run->type_room) {
        size_t room = run->type_room == 0 ? 16 : run->type_room * 2;
        struct usage *larger = reallocarray(run->types, room, sizeof *larger);
        if (larger == NULL)
            return NULL;
        run->types = larger;
        run->type_room = room;
    }
    row.type_name = strdup(name);
    if (row.type_name == NULL)
        return NULL;
    memmove(run->types + at + 1, run->types + at, (run->type_count - at) * sizeof *run->types);
    run->types[at] = row;
    run->type_count++;
    return &run->types[at];
}

static void count_object(struct usage *usage, const hf_object_info *info)
{
    usage->count++;
    usage->elements += info->count;
    usage->size_bytes += info->size_bytes;
    usage->footprint_bytes += info->footprint_bytes;
}

static int walk(struct stat_run *run, hf_view *view)
{
    hf_cursor types = HF_CURSOR_INIT, objects = HF_CURSOR_INIT;
    hf_type_info type;
    hf_object_info info;
    int more;

    /* First the registered ones, so that types without objects are shown too. */
    while ((more = hf_next_type(view, &types, &type)) == 1)
        if (type_row(run, type.name, type.version) == NULL)
            return tool_fail_os(run->tool, ENOMEM, run->path, NULL);
    while (more == 0 && (more = hf_next_object(view, &objects, &info)) == 1) {
        struct usage *row = type_row(run, info.type_name, info.type_version);
        if (row == NULL)
            return tool_fail_os(run->tool, ENOMEM, run->path, NULL);
        count_object(row, &info);
        if (info.kind <= HF_KIND_ANONYMOUS)
            count_object(&run->kinds[info.kind], &info);
        more = 0;
    }
    return more == 0 ? TOOL_OK : tool_fail_store(run->tool, run->path, more);
}

static int collect(struct stat_run *run)
{
    hf_store *store;
    hf_view *view;
    int code = tool_open_view(run->tool, run->path, &store, &view);

    if (code != TOOL_OK)
        return code;
    code = hf_info(store, &run->info);
    if (code == 0)
        code = hf_trim_estimate(store, &run->space);
    if (code == 0)
        code = hf_recovery_info(store, &run->recovery);
    if (code != 0)
        code = tool_fail_store(run->tool, run->path, code);
    else if (!run->brief)
        code = walk(run, view);
    hf_view_end(view);
    return tool_close(run->tool, run->path, store, code);
}

/* ---- printing -------------------------------------------------------------------------------- */

static void format_uuid(const uint8_t uuid[16], char out[37])
{
    char *p = out;

    for (int i = 0; i < 16; i++)
        p += sprintf(p, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

static void format_time(uint64_t ns, char out[32])
{
    time_t seconds = (time_t)(ns / 1000000000u);
    struct tm parts;

    out[0] = '\0';
    if (gmtime_r(&seconds, &parts) != NULL)
        strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static const char *const kind_names[] = {NULL, "named", "unique", "anonymous"};

struct size_row {
    const char *key, *label;
    size_t offset;
};
static const struct size_row size_rows[] = {
    {"file_bytes", "file", offsetof(hf_store_info, file_bytes)},
    {"disk_bytes", "on the disk", offsetof(hf_store_info, disk_bytes)},
    {"size_bytes", "segment", offsetof(hf_store_info, size_bytes)},
    {"size_max_bytes", "may become", offsetof(hf_store_info, size_max_bytes)},
    {"live_bytes", "used", offsetof(hf_store_info, live_bytes)},
    {"free_bytes", "free between", offsetof(hf_store_info, free_bytes)},
    {"tail_bytes", "free at the end", offsetof(hf_store_info, tail_bytes)},
    {"largest_free_bytes", "largest free", offsetof(hf_store_info, largest_free_bytes)},
};
static const struct size_row count_rows[] = {
    {"live_blocks", NULL, offsetof(hf_store_info, live_blocks)},
    {"free_blocks", NULL, offsetof(hf_store_info, free_blocks)},
    {"named_count", NULL, offsetof(hf_store_info, named_count)},
    {"unique_count", NULL, offsetof(hf_store_info, unique_count)},
    {"anonymous_count", NULL, offsetof(hf_store_info, anonymous_count)},
    {"raw_count", NULL, offsetof(hf_store_info, raw_count)},
    {"type_count", NULL, offsetof(hf_store_info, type_count)},
    {"used_end_bytes", NULL, offsetof(hf_store_info, used_end_bytes)},
};
enum {
    SIZE_ROW_COUNT = sizeof size_rows / sizeof size_rows[0],
    COUNT_ROW_COUNT = sizeof count_rows / sizeof count_rows[0]
};

static uint64_t field(const hf_store_info *info, const struct size_row *row)
{
    return *(const uint64_t *)((const char *)info + row->offset);
}

static void print_usage_row(const char *name, const struct usage *usage)
{
    printf("  %-32s %10" PRIu64 " %12" PRIu64 "  %s\n", name, usage->count, usage->elements,
           size_format(usage->size_bytes).text);
}

static void print_tables(const struct stat_run *run)
{
    printf("\n  %-32s %10s %12s  %s\n", "by kind", "objects", "elements", "bytes");
    for (int kind = HF_KIND_NAMED; kind <= HF_KIND_ANONYMOUS; kind++)
        print_usage_row(kind_names[kind], &run->kinds[kind]);
    if (run->type_count == 0)
        return;
    printf("\n  %-32s %10s %12s  %s\n", "by type", "objects", "elements", "bytes");
    for (size_t i = 0; i < run->type_count; i++) {
        const struct usage *usage = &run->types[i];
        char name[64];
        if (usage->type_name[0] == '\0')
            snprintf(name, sizeof name, "(plain bytes)");
        else
            snprintf(name, sizeof name, "%.48s %" PRIu32, usage->type_name, usage->type_version);
        print_usage_row(name, usage);
    }
}

static void print_human(const struct stat_run *run)
{
    const hf_store_info *info = &run->info;
    char uuid[37], created[32];

    format_uuid(info->uuid, uuid);
    format_time(info->created_ns, created);
    printf("%s\n  %-18s %s, made %s, format %" PRIu32 "\n", run->path, "store", uuid, created,
           info->format_version);
    if (info->layout[0] != '\0')
        printf("  %-18s %.63s version %" PRIu32 "\n", "layout", info->layout, info->layout_version);
    printf("  %-18s %s, allocator %s, index %s\n", "engine", choice_name(choice_engines, info->engine),
           choice_name(choice_allocators, info->allocator), choice_name(choice_indexes, info->index));
    if (run->recovery.replayed_commits > 0)
        printf("  %-18s %" PRIu64 " commits, %s in %" PRIu64 " ranges: not closed\n", "from its log",
               run->recovery.replayed_commits, size_format(run->recovery.replayed_bytes).text,
               run->recovery.replayed_ranges);
    for (int i = 0; i < SIZE_ROW_COUNT; i++)
        printf("  %-18s %s\n", size_rows[i].label, size_format(field(info, &size_rows[i])).text);
    printf("  %-18s %s; compaction would gain %s\n", "trim would give",
           size_format(run->space.extent_bytes + run->space.tail_bytes).text,
           size_format(run->space.compact_bytes).text);
    if (run->space.punched_bytes > 0)
        printf("  %-18s up to %s\n", "given back", size_format(run->space.punched_bytes).text);
    printf("  %-18s %" PRIu64 " named, %" PRIu64 " unique, %" PRIu64 " anonymous, %" PRIu64
           " raw blocks, %" PRIu64 " types\n",
           "objects", info->named_count, info->unique_count, info->anonymous_count, info->raw_count,
           info->type_count);
    if (!run->brief)
        print_tables(run);
}

static void print_json_usage(struct json *json, const struct usage *usage)
{
    json_uint(json, "count", usage->count);
    json_uint(json, "elements", usage->elements);
    json_uint(json, "size_bytes", usage->size_bytes);
    json_uint(json, "footprint_bytes", usage->footprint_bytes);
    json_end(json);
}

static void print_json_tables(const struct stat_run *run, struct json *json)
{
    json_array(json, "kinds");
    for (int kind = HF_KIND_NAMED; kind <= HF_KIND_ANONYMOUS; kind++) {
        json_object(json, NULL);
        json_text(json, "kind", kind_names[kind]);
        print_json_usage(json, &run->kinds[kind]);
    }
    json_end(json);
    json_array(json, "types");
    for (size_t i = 0; i < run->type_count; i++) {
        json_object(json, NULL);
        json_text(json, "type", run->types[i].type_name);
        json_uint(json, "version", run->types[i].type_version);
        print_json_usage(json, &run->types[i]);
    }
    json_end(json);
}

static void print_json(const struct stat_run *run)
{
    const hf_store_info *info = &run->info;
    struct json json = JSON_INIT(stdout);
    char uuid[37], created[32];

    format_uuid(info->uuid, uuid);
    format_time(info->created_ns, created);
    json_object(&json, NULL);
    json_text(&json, "file", run->path);
    json_text(&json, "uuid", uuid);
    json_text(&json, "created", created);
    json_uint(&json, "format_version", info->format_version);
    json_uint(&json, "page_size_bytes", info->page_size_bytes);
    json_bytes(&json, "layout", info->layout, strnlen(info->layout, sizeof info->layout));
    json_uint(&json, "layout_version", info->layout_version);
    json_text(&json, "engine", choice_name(choice_engines, info->engine));
    json_text(&json, "allocator", choice_name(choice_allocators, info->allocator));
    json_text(&json, "index", choice_name(choice_indexes, info->index));
    for (int i = 0; i < SIZE_ROW_COUNT; i++)
        json_uint(&json, size_rows[i].key, field(info, &size_rows[i]));
    for (int i = 0; i < COUNT_ROW_COUNT; i++)
        json_uint(&json, count_rows[i].key, field(info, &count_rows[i]));
    json_uint(&json, "trim_bytes", run->space.extent_bytes + run->space.tail_bytes);
    json_uint(&json, "compact_bytes", run->space.compact_bytes);
    json_uint(&json, "punched_bytes", run->space.punched_bytes);
    json_object(&json, "recovery");
    json_uint(&json, "recoveries", run->recovery.recoveries);
    json_uint(&json, "undone_ranges", run->recovery.undone_ranges);
    json_uint(&json, "undone_bytes", run->recovery.undone_bytes);
    json_uint(&json, "replayed_commits", run->recovery.replayed_commits);
    json_uint(&json, "replayed_ranges", run->recovery.replayed_ranges);
    json_uint(&json, "replayed_bytes", run->recovery.replayed_bytes);
    json_int(&json, "last_pid", run->recovery.last_pid);
    json_end(&json);
    if (!run->brief)
        print_json_tables(run, &json);
    json_end(&json);
}

static int stat_run(struct tool *tool)
{
    struct stat_run run = {.tool = tool};
    const char *value;
    int id, code;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END)
        run.brief |= id == 'b';
    if (tool->stopped)
        return tool->exit_code;
    run.path = tool->operands[0];
    code = collect(&run);
    if (code == TOOL_OK && tool->json)
        print_json(&run);
    else if (code == TOOL_OK)
        print_human(&run);
    for (size_t i = 0; i < run.type_count; i++)
        free(run.types[i].type_name);
    free(run.types);
    return code;
}

const struct tool_command command_stat = {
    .name = "stat",
    .synopsis = "[OPTION...] FILE",
    .summary = "Show a store's sizes and what is in it",
    .details = "",
    .example = "  holdfast stat --json photos.hf",
    .options = options,
    .operands_min = 1,
    .operands_max = 1,
    .waits = true,
    .run = stat_run,
};
