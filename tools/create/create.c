/* SPDX-License-Identifier: MIT */
/* create.c - holdfast create: makes a new, empty store */
#include "tools/commands.h"
#include "tools/common/choice.h"
#include "tools/common/json.h"
#include "tools/common/size.h"
#include "tools/common/store.h"

#include <stdio.h>
#include <string.h>

enum { OPTION_MAX_SIZE = TOOL_OPTION_LONG, OPTION_LAYOUT_VERSION, OPTION_ENGINE };

static const struct tool_option options[] = {
    {'s', "size", "SIZE", "of the new store, which grows by itself; 1M unless given"},
    {OPTION_MAX_SIZE, "max-size", "SIZE", "the largest it may ever become; 1T unless given"},
    {OPTION_ENGINE, "engine", "NAME", "log (safe against power loss) or direct (against kills)"},
    {'a', "allocator", "NAME", "default, best_fit, seq_fit or slab"},
    {'i', "index", "NAME", "set (ordered by name), hash, flat or null"},
    {'l', "layout", "NAME", "the application's layout, up to 63 bytes"},
    {OPTION_LAYOUT_VERSION, "layout-version", "N", "and its version; needs --layout"},
    {'m', "mode", "OCTAL", "permissions of the file; 0644 less the umask\nunless given"},
    {0, NULL, NULL, NULL},
};

/* Sets one option; false if its argument is wrong. */
static bool set_option(hf_options *open, int id, const char *value)
{
    uint64_t number;

    switch (id) {
    case 's':
        return size_parse(value, &open->size_initial_bytes) && open->size_initial_bytes > 0;
    case OPTION_MAX_SIZE:
        return size_parse(value, &open->size_max_bytes) && open->size_max_bytes > 0;
    case OPTION_ENGINE:
        return choice_find(choice_engines, value, &open->engine);
    case 'a':
        return choice_find(choice_allocators, value, &open->allocator);
    case 'i':
        return choice_find(choice_indexes, value, &open->index);
    case 'l':
        open->layout = value;
        return value[0] != '\0' && strlen(value) <= 63;
    case OPTION_LAYOUT_VERSION:
        if (!size_parse_count(value, UINT32_MAX, &number))
            return false;
        open->layout_version = (uint32_t)number;
        return true;
    default:
        return size_parse_mode(value, &open->permissions);
    }
}

static void print_result(struct tool *tool, const char *path, const hf_store_info *info)
{
    struct json json = JSON_INIT(stdout);

    if (!tool->json) {
        printf("%s: created, %s, may become %s\n", path, size_format(info->size_bytes).text,
               size_format(info->size_max_bytes).text);
        return;
    }
    json_object(&json, NULL);
    json_text(&json, "file", path);
    json_uint(&json, "size_bytes", info->size_bytes);
    json_uint(&json, "size_max_bytes", info->size_max_bytes);
    json_uint(&json, "file_bytes", info->file_bytes);
    json_end(&json);
}

static int create_run(struct tool *tool)
{
    hf_options open = HF_OPTIONS_INIT;
    hf_store_info info;
    hf_store *store;
    const char *value;
    int id, code;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END)
        if (!set_option(&open, id, value))
            return tool_usage(tool, "\"%s\" is not a value for this option", value);
    if (tool->stopped)
        return tool->exit_code;
    if (open.layout_version != 0 && open.layout == NULL)
        return tool_usage(tool, "--layout-version needs --layout");
    if (open.size_max_bytes != 0 && open.size_initial_bytes > open.size_max_bytes)
        return tool_usage(tool, "--size is larger than --max-size");
    open.mode = HF_CREATE_NEW;
    code = hf_open(tool->operands[0], &open, &store);
    if (code != 0)
        return tool_fail_store(tool, tool->operands[0], code);
    code = hf_info(store, &info);
    if (code != 0)
        return tool_close(tool, tool->operands[0], store,
                          tool_fail_store(tool, tool->operands[0], code));
    code = tool_close(tool, tool->operands[0], store, TOOL_OK);
    if (code == TOOL_OK && (tool->json || !tool->quiet))
        print_result(tool, tool->operands[0], &info);
    return code;
}

const struct tool_command command_create = {
    .name = "create",
    .synopsis = "[OPTION...] FILE",
    .summary = "Make a new, empty store",
    .details = "FILE must not exist. What --engine, --allocator, --index, --layout and --max-size\n"
               "say is recorded in the store for ever.",
    .example = "  holdfast create --size 64M --max-size 10G photos.hf",
    .options = options,
    .operands_min = 1,
    .operands_max = 1,
    .run = create_run,
};
