/* SPDX-License-Identifier: MIT */
/*
 * load.c - holdfast load: makes a store of what dump has printed
 *
 *   head -> types -> objects -> end
 *
 * Each line is read, checked and stored by itself. In memory are: the types, the place of each
 * object, and the pointers to objects that came later, which are set at the end. docs/dump.md
 * describes the lines.
 */
#include "tools/commands.h"
#include "tools/common/choice.h"
#include "tools/common/dump_form.h"
#include "tools/common/interrupt.h"
#include "tools/common/json.h"
#include "tools/common/progress.h"
#include "tools/common/size.h"
#include "tools/load/object.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_MAX_SIZE = TOOL_OPTION_LONG, OPTION_ENGINE };

static const struct tool_option options[] = {
    {OPTION_ENGINE, "engine", "NAME", "of the new store: log or direct; else the dump's"},
    {'a', "allocator", "NAME", "default, best_fit, seq_fit or slab; else the dump's"},
    {'i', "index", "NAME", "set, hash, flat or null; else the dump's"},
    {OPTION_MAX_SIZE, "max-size", "SIZE", "the largest it may ever become; else the dump's"},
    {'t', "into", NULL, "add to a store that exists"},
    {'e', "existing", "POLICY",
     "with --into, objects whose names are there already:\n"
     "error (unless given), keep or replace"},
    {'b', "batch", "N", "with --into: commit after every N objects, instead\nof once"},
    {0, NULL, NULL, NULL},
};

static const struct choice conflicts[] = {
    {"error", CONFLICT_ERROR},
    {"keep", CONFLICT_KEEP},
    {"replace", CONFLICT_REPLACE},
    {NULL, 0},
};

/* What the command line says about the new store; the dump's head says the rest. */
struct wanted {
    bool engine, allocator, index;
};

/* ---- the head -------------------------------------------------------------------------------- */

static int read_choice(struct load *load, const char *key, const struct choice *choices,
                       uint32_t *out)
{
    const json_t *value = json_object_get(load->lines.line, key);

    if (value == NULL)
        return TOOL_OK;
    if (!json_is_string(value) || !choice_find(choices, json_string_value(value), out))
        return lines_fail(&load->lines, "\"%s\" is none that there is", key);
    return TOOL_OK;
}

static int read_options(struct load *load, const struct wanted *wanted)
{
    hf_options *open = &load->target.options;
    json_t *line = load->lines.line;
    uint64_t size_max = 0, layout_version = 0;
    char *layout = NULL;
    size_t length = 0;
    int code = TOOL_OK;

    if (!wanted->engine)
        code = read_choice(load, "engine", choice_engines, &open->engine);
    if (code == TOOL_OK && !wanted->allocator)
        code = read_choice(load, "allocator", choice_allocators, &open->allocator);
    if (code == TOOL_OK && !wanted->index)
        code = read_choice(load, "index", choice_indexes, &open->index);
    if (code == TOOL_OK)
        code = lines_optional_u64(&load->lines, line, "size_max_bytes", UINT64_MAX, &size_max);
    if (code == TOOL_OK && open->size_max_bytes == 0)
        open->size_max_bytes = size_max;
    if (code == TOOL_OK)
        code =
            lines_optional_u64(&load->lines, line, "layout_version", UINT32_MAX, &layout_version);
    if (code == TOOL_OK && json_object_get(line, "layout") != NULL)
        code = lines_text(&load->lines, line, "layout", &layout, &length);
    if (code == TOOL_OK && length > 63)
        code = lines_fail(&load->lines, "\"layout\" has more than 63 bytes");
    open->layout = layout;
    open->layout_version = (uint32_t)layout_version;
    return code;
}

static int read_head(struct load *load, const struct wanted *wanted)
{
    static const char *const members[] = {"holdfast-dump",  "engine",   "allocator",
                                          "index",          "layout",   "layout_version",
                                          "size_max_bytes", "no_bytes", NULL};
    bool end, no_bytes = false;
    uint64_t version = 0;
    int code = lines_next(&load->lines, &end);

    if (code != TOOL_OK)
        return code;
    if (end || json_object_get(load->lines.line, "holdfast-dump") == NULL)
        return tool_fail(load->tool, TOOL_OPEN, load->lines.path,
                         "is no dump: its first line is no {\"holdfast-dump\":%d,...}",
                         DUMP_FORM_VERSION);
    code = lines_u64(&load->lines, "holdfast-dump", UINT32_MAX, &version);
    if (code == TOOL_OK && version != DUMP_FORM_VERSION)
        return tool_fail(load->tool, TOOL_OPEN, load->lines.path,
                         "is a dump of form %" PRIu64 ", and this program reads form %d", version,
                         DUMP_FORM_VERSION);
    if (code == TOOL_OK)
        code = lines_only(&load->lines, load->lines.line, members);
    if (code == TOOL_OK)
        code = lines_bool(&load->lines, load->lines.line, "no_bytes", &no_bytes);
    if (code == TOOL_OK && no_bytes)
        code = lines_fail(&load->lines, "made with --no-bytes, so there is nothing to load");
    return code == TOOL_OK ? read_options(load, wanted) : code;
}

/* ---- types and objects ----------------------------------------------------------------------- */

/* The library registers a type with the first object of it, which doesn't have to stay. */
static int register_types(struct load *load)
{
    int code = load_types_link(&load->types, &load->lines);

    for (size_t i = 0; i < load->types.count && code == TOOL_OK; i++) {
        const struct load_type *type = &load->types.types[i];
        const void *object = hf_new(load->target.txn, &type->type, 0);
        const int failed =
            object == NULL ? hf_last_error()->code : hf_destroy_ptr(load->target.txn, object);
        if (failed == 0)
            continue;
        load->lines.number = type->line;
        if (failed != HF_ETYPE && failed != HF_ENAME)
            return tool_fail_store(load->tool, load->target.path, failed);
        code = lines_fail(&load->lines, "%s", hf_last_error()->message);
    }
    return code;
}

static int check_count(struct load *load, const char *key, uint64_t is)
{
    uint64_t expected = is;
    int code = lines_optional_u64(&load->lines, load->lines.line, key, UINT64_MAX, &expected);

    if (code == TOOL_OK && expected != is)
        code = lines_fail(&load->lines, "\"%s\" should be %" PRIu64 ", but the dump has %" PRIu64,
                          key, expected, is);
    return code;
}

/* The counts may be left out by hand; those that stand there must be right. */
static int read_end(struct load *load)
{
    static const char *const members[] = {"end",       "types", "named",  "unique",
                                          "anonymous", "raw",   "opaque", "pools_left_out", NULL};
    bool end = false;
    int code = load_object_end(load);

    if (code == TOOL_OK)
        code = lines_only(&load->lines, load->lines.line, members);
    if (code == TOOL_OK)
        code = check_count(load, "types", load->types.count);
    if (code == TOOL_OK)
        code = check_count(load, "named", load->named);
    if (code == TOOL_OK)
        code = check_count(load, "unique", load->unique);
    if (code == TOOL_OK)
        code = check_count(load, "anonymous", load->anonymous);
    if (code == TOOL_OK)
        code = check_count(load, "raw", load->raw);
    if (code == TOOL_OK)
        code = check_count(load, "opaque", load->opaque);
    if (code == TOOL_OK)
        code = lines_optional_u64(&load->lines, load->lines.line, "pools_left_out", UINT64_MAX,
                                  &load->pools_left_out);
    if (code == TOOL_OK)
        code = load_pointers(load);
    if (code == TOOL_OK)
        code = lines_next(&load->lines, &end);
    if (code == TOOL_OK && !end)
        code = lines_fail(&load->lines, "there is more behind the end");
    return code;
}

static int fail_cut_off(struct load *load)
{
    return lines_fail(&load->lines, "the dump ends here, without its last line {\"end\":true}");
}

static int read_lines(struct load *load, struct progress *progress)
{
    bool end, registered = false;
    int code;

    while ((code = lines_next(&load->lines, &end)) == TOOL_OK) {
        const json_t *line = load->lines.line;
        if (end)
            return fail_cut_off(load);
        if (interrupt_pending())
            return tool_fail(load->tool, TOOL_CANCELLED, load->target.path, "interrupted");
        progress_set(progress, load->lines.bytes, load->lines.total);
        if (json_object_get(line, "type") != NULL && json_object_get(line, "object") == NULL) {
            code = registered ? lines_fail(&load->lines, "types come before objects")
                              : load_types_add(&load->types, &load->lines);
            if (code != TOOL_OK)
                return code;
            continue;
        }
        if (!registered) {
            const uint64_t number = load->lines.number;
            code = register_types(load);
            if (code != TOOL_OK)
                return code;
            load->lines.number = number;
            registered = true;
        }
        if (json_is_true(json_object_get(line, "end")))
            return read_end(load);
        if (json_object_get(line, "object") == NULL)
            return lines_fail(&load->lines, "is neither a type nor an object nor the end");
        code = load_object_line(load);
        if (code != TOOL_OK)
            return code;
    }
    return code;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int load_all(struct load *load, const struct wanted *wanted)
{
    struct progress progress;
    int code = lines_open(&load->lines);

    if (code == TOOL_OK)
        code = read_head(load, wanted);
    if (code != TOOL_OK)
        return code;
    interrupt_catch();
    progress_begin(&progress, "loading", load->lines.total, true,
                   !load->tool->quiet && !load->tool->json && load->lines.total > 0);
    code = target_open(&load->target);
    if (code == TOOL_OK)
        code = read_lines(load, &progress);
    progress_clear(&progress);
    if (code == TOOL_OK)
        code = target_finish(&load->target);
    if (code == TOOL_OK)
        return code;
    target_abandon(&load->target);
    if (load->target.complete)
        tool_note(load->tool, load->target.path, "all of it was loaded");
    else if (load->target.transactions > 0 && load->target.into)
        tool_note(load->tool, load->target.path,
                  "the first %" PRIu64 " objects are in the store, the others are not",
                  load->target.transactions * load->target.batch);
    else
        tool_note(load->tool, load->target.path, "nothing was loaded");
    return code;
}

static void print_result(const struct load *load, double seconds)
{
    struct json json = JSON_INIT(stdout);
    const char *path = load->target.path;

    if (load->tool->json) {
        json_object(&json, NULL);
        json_text(&json, "file", path);
        json_uint(&json, "types", load->types.count);
        json_uint(&json, "named", load->named);
        json_uint(&json, "unique", load->unique);
        json_uint(&json, "anonymous", load->anonymous);
        json_uint(&json, "raw", load->raw);
        json_uint(&json, "opaque", load->opaque);
        json_uint(&json, "pools_left_out", load->pools_left_out);
        json_uint(&json, "kept", load->kept_count);
        json_uint(&json, "replaced", load->replaced);
        json_uint(&json, "pointers", load->pointers);
        json_uint(&json, "dangling", load->dangling);
        json_uint(&json, "size_bytes", load->size_bytes);
        json_uint(&json, "dump_bytes", load->lines.bytes);
        json_seconds(&json, "seconds", seconds);
        json_end(&json);
    } else if (!load->tool->quiet) {
        printf("%s: %" PRIu64 " named, %" PRIu64 " unique and %" PRIu64
               " anonymous objects, %" PRIu64 " raw blocks, %" PRIu64 " pointers, %s in %.2f s\n",
               path, load->named, load->unique, load->anonymous, load->raw, load->pointers,
               size_format(load->size_bytes).text, seconds);
    }
    if (load->opaque > 0)
        tool_note(load->tool, path,
                  "%" PRIu64
                  " objects and blocks are plain bytes: references in them, if there are "
                  "any, lead to the wrong places now",
                  load->opaque);
    if (load->pools_left_out > 0)
        tool_note(load->tool, path, "the dump was made without the %" PRIu64 " pools of its store",
                  load->pools_left_out);
    if (load->dangling > 0)
        tool_note(load->tool, path, "%" PRIu64 " pointers led nowhere and are null now",
                  load->dangling);
}

/* Sets one option; false if its argument is wrong. */
static bool set_option(struct load *load, struct wanted *wanted, int id, const char *value)
{
    hf_options *open = &load->target.options;
    uint32_t conflict = 0;

    switch (id) {
    case OPTION_ENGINE:
        wanted->engine = true;
        return choice_find(choice_engines, value, &open->engine);
    case 'a':
        wanted->allocator = true;
        return choice_find(choice_allocators, value, &open->allocator);
    case 'i':
        wanted->index = true;
        return choice_find(choice_indexes, value, &open->index);
    case OPTION_MAX_SIZE:
        return size_parse(value, &open->size_max_bytes) && open->size_max_bytes > 0;
    case 'e':
        if (!choice_find(conflicts, value, &conflict))
            return false;
        load->conflict = (enum conflict)conflict;
        return true;
    case 'b':
        return size_parse_count(value, UINT64_MAX, &load->target.batch) && load->target.batch > 0;
    default:
        load->target.into = true;
        return true;
    }
}

static int load_run(struct tool *tool)
{
    struct load load = {.tool = tool, .lines.tool = tool, .target.tool = tool};
    struct wanted wanted = {false, false, false};
    const double started = tool_clock();
    const char *value;
    int id, code;

    load.target.options = (hf_options)HF_OPTIONS_INIT;
    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END)
        if (!set_option(&load, &wanted, id, value))
            return tool_usage(tool, "\"%s\" is not a value for this option", value);
    if (tool->stopped)
        return tool->exit_code;
    if (load.target.into ? wanted.engine || wanted.allocator || wanted.index ||
                               load.target.options.size_max_bytes != 0
                         : load.target.batch != 0 || load.conflict != CONFLICT_ERROR)
        return tool_usage(tool, "an option for a new store with --into, or one for --into without");
    load.target.path = tool->operands[0];
    load.lines.path = tool->operand_count > 1 ? tool->operands[1] : "-";
    code = load_all(&load, &wanted);
    if (code == TOOL_OK)
        print_result(&load, tool_clock() - started);
    lines_close(&load.lines);
    load_types_free(&load.types);
    ids_free(&load.ids);
    ids_free(&load.placed);
    free(load.fixups.fixups);
    free((char *)(uintptr_t)load.target.options.layout);
    return code;
}

const struct tool_command command_load = {
    .name = "load",
    .synopsis = "[OPTION...] FILE [DUMP]",
    .summary = "Make a store of what dump has printed",
    .details =
        "Reads DUMP, or standard input, and makes the store FILE, all of it or nothing. With\n"
        "--into FILE is there already, and the objects are added to it in one transaction.\n"
        "Pointers lead to the objects they led to. What is wrong with a dump is told by its\n"
        "line.",
    .example = "  zstd -dc app.dump.zst | holdfast load --allocator best_fit app.hf",
    .options = options,
    .operands_min = 1,
    .operands_max = 2,
    .waits = true,
    .run = load_run,
};
