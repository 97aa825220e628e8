/* SPDX-License-Identifier: MIT */
/*
 * ls.c - holdfast ls: lists the objects of a store
 *
 * The list is collected in memory under one view, so that it shows one moment, and printed after
 * the view has ended: `holdfast ls FILE | less` must not keep writers out while somebody reads.
 */
#include "tools/commands.h"
#include "tools/common/json.h"
#include "tools/common/output.h"
#include "tools/common/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct tool_option options[] = {
    {'l', "long", NULL, "type, number of elements and size in bytes before\neach name"},
    {'u', "unique", NULL, "list the unique objects, whose name is their type"},
    {'0', "null", NULL, "end names with a NUL instead of a newline"},
    {0, NULL, NULL, NULL},
};

struct ls {
    struct tool *tool;
    const char *path, *prefix;
    bool is_long, unique, null, escape;
    uint64_t count, size_bytes;
    struct json json;
    FILE *out; /* in memory */
};

static void print_human(struct ls *ls, const hf_object_info *info)
{
    if (ls->is_long) {
        const char *type = info->type_name[0] == '\0' ? "-" : info->type_name;
        fprintf(ls->out, "%-20s %4" PRIu32 " %10" PRIu64 " %12" PRIu64 "  ", type,
                info->type_version, info->count, info->size_bytes);
    }
    output_name(ls->out, info->name, ls->escape);
    putc(ls->null ? '\0' : '\n', ls->out);
}

static void print_json(struct ls *ls, const hf_object_info *info)
{
    json_object(&ls->json, NULL);
    json_text(&ls->json, "name", info->name);
    json_text(&ls->json, "type", info->type_name);
    json_uint(&ls->json, "type_version", info->type_version);
    json_uint(&ls->json, "count", info->count);
    json_uint(&ls->json, "size_bytes", info->size_bytes);
    json_end(&ls->json);
}

static int collect(struct ls *ls, hf_view *view)
{
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    int more;

    cursor.prefix = ls->prefix;
    cursor.flags = HF_CURSOR_NO_FOOTPRINT;
    for (;;) {
        more =
            ls->unique ? hf_next_unique(view, &cursor, &info) : hf_next_named(view, &cursor, &info);
        if (more != 1)
            break;
        ls->count++;
        ls->size_bytes += info.size_bytes;
        if (ls->tool->json)
            print_json(ls, &info);
        else
            print_human(ls, &info);
        if (ferror(ls->out))
            return tool_fail_os(ls->tool, ENOMEM, ls->path, NULL);
    }
    return more == 0 ? TOOL_OK : tool_fail_store(ls->tool, ls->path, more);
}

static int list(struct ls *ls)
{
    hf_store *store;
    hf_view *view;
    int code = tool_open_view(ls->tool, ls->path, &store, &view);

    if (code != TOOL_OK)
        return code;
    ls->json = (struct json)JSON_INIT(ls->out);
    if (ls->tool->json) {
        json_object(&ls->json, NULL);
        json_text(&ls->json, "file", ls->path);
        json_array(&ls->json, "objects");
    }
    code = collect(ls, view);
    hf_view_end(view);
    code = tool_close(ls->tool, ls->path, store, code);
    if (ls->tool->json) {
        json_end(&ls->json);
        json_uint(&ls->json, "count", ls->count);
        json_uint(&ls->json, "size_bytes", ls->size_bytes);
        json_end(&ls->json);
    }
    return code;
}

static int ls_run(struct tool *tool)
{
    struct ls ls = {.tool = tool};
    const char *value;
    char *text = NULL;
    size_t length = 0;
    int id, code;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END) {
        ls.is_long |= id == 'l';
        ls.unique |= id == 'u';
        ls.null |= id == '0';
    }
    if (tool->stopped)
        return tool->exit_code;
    ls.path = tool->operands[0];
    ls.prefix = tool->operand_count > 1 ? tool->operands[1] : NULL;
    ls.escape = !ls.null && isatty(STDOUT_FILENO) != 0;
    ls.out = open_memstream(&text, &length);
    if (ls.out == NULL)
        return tool_fail_os(tool, errno, ls.path, NULL);
    code = list(&ls);
    if (fclose(ls.out) != 0 && code == TOOL_OK)
        code = tool_fail_os(tool, ENOMEM, ls.path, NULL);
    if (code == TOOL_OK)
        code = output_print(tool, text, length);
    free(text);
    /* As grep: a prefix that matches nothing is a question answered with no. */
    if (code == TOOL_OK && ls.prefix != NULL && ls.count == 0)
        code = TOOL_ABSENT;
    return code;
}

const struct tool_command command_ls = {
    .name = "ls",
    .synopsis = "[OPTION...] FILE [PREFIX]",
    .summary = "List the objects that have names",
    .details = "Only names that begin with PREFIX, if it is given; exit code 1 if there are none.\n"
               "In the order of the names' bytes, but for a store with a hash index. With --long:\n"
               "type, version, elements, bytes, name.",
    .example = "  holdfast ls --long photos.hf 2024/",
    .options = options,
    .operands_min = 1,
    .operands_max = 2,
    .waits = true,
    .run = ls_run,
};
