/* SPDX-License-Identifier: MIT */
/*
 * get.c - holdfast get: prints an object's bytes
 *
 * While a view is open no writer can begin. What goes to a pipe or a terminal, whose reader may
 * take for ever, is therefore copied first and the store closed; only a file is written straight
 * from the mapping.
 */
#include "tools/commands.h"
#include "tools/common/file_object.h"
#include "tools/common/json.h"
#include "tools/common/output.h"
#include "tools/common/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct tool_option options[] = {
    {'o', "output", "OUT", "write to this file, replaced in one step, instead of\nstandard output"},
    {0, NULL, NULL, NULL},
};

struct get {
    struct tool *tool;
    const char *path, *name, *out;
    hf_store *store;
    hf_view *view;
    hf_object_info info;
    char *type_name; /* ours, since the store may be closed before they are printed */
    void *copy;
};

/* Ends the view and the store; the copies stay. */
static int close_store(struct get *get, int exit_code)
{
    if (get->store == NULL)
        return exit_code;
    hf_view_end(get->view);
    exit_code = tool_close(get->tool, get->path, get->store, exit_code);
    get->store = NULL;
    return exit_code;
}

static int find(struct get *get)
{
    const void *object = hf_find(get->view, get->name, NULL, NULL);
    int code = object == NULL ? hf_last_error()->code : hf_object_at(get->view, object, &get->info);

    if (code != 0)
        return tool_fail_object(get->tool, get->path, get->name, code);
    get->type_name = strdup(get->info.type_name);
    if (get->type_name == NULL)
        return tool_fail_os(get->tool, ENOMEM, get->path, NULL);
    return TOOL_OK;
}

static bool is_patient(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

/* Copies the bytes and closes the store, if there is memory for it. */
static int detach(struct get *get)
{
    get->copy = malloc(get->info.size_bytes == 0 ? 1 : (size_t)get->info.size_bytes);
    if (get->copy == NULL)
        return TOOL_OK;
    if (get->info.size_bytes > 0)
        memcpy(get->copy, get->info.object, (size_t)get->info.size_bytes);
    get->info.object = get->copy;
    return close_store(get, TOOL_OK);
}

static int write_file(struct get *get)
{
    unsigned permissions = file_kind_of(&get->info) == FILE_PROGRAM ? 0777 : 0666;
    int failed =
        output_replace_file(get->out, get->info.object, (size_t)get->info.size_bytes, permissions);

    return failed == 0 ? TOOL_OK : tool_fail_os(get->tool, failed, get->out, NULL);
}

static void print_json(const struct get *get)
{
    struct json json = JSON_INIT(stdout);

    json_object(&json, NULL);
    json_text(&json, "file", get->path);
    json_text(&json, "name", get->name);
    json_text(&json, "type", get->type_name);
    json_uint(&json, "type_version", get->info.type_version);
    json_uint(&json, "count", get->info.count);
    json_uint(&json, "size_bytes", get->info.size_bytes);
    if (get->out != NULL)
        json_text(&json, "output", get->out);
    else
        json_bytes(&json, "value", get->info.object, (size_t)get->info.size_bytes);
    json_end(&json);
}

static int deliver(struct get *get)
{
    int code = TOOL_OK;

    if (get->out != NULL) {
        code = write_file(get);
        if (code == TOOL_OK)
            code = close_store(get, TOOL_OK);
        if (code == TOOL_OK && get->tool->json)
            print_json(get);
        return code;
    }
    if (!is_patient(STDOUT_FILENO))
        code = detach(get);
    if (code != TOOL_OK)
        return code;
    if (get->tool->json) {
        print_json(get);
        return TOOL_OK;
    }
    return output_print(get->tool, get->info.object, (size_t)get->info.size_bytes);
}

static int get_run(struct tool *tool)
{
    struct get get = {.tool = tool};
    const char *value;
    int id, code;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END)
        if (id == 'o')
            get.out = value;
    if (tool->stopped)
        return tool->exit_code;
    get.path = tool->operands[0];
    get.name = tool->operands[1];
    code = tool_open_view(tool, get.path, &get.store, &get.view);
    if (code != TOOL_OK)
        return code;
    code = find(&get);
    if (code == TOOL_OK)
        code = deliver(&get);
    code = close_store(&get, code);
    free(get.copy);
    free(get.type_name);
    return code;
}

const struct tool_command command_get = {
    .name = "get",
    .synopsis = "[OPTION...] FILE NAME",
    .summary = "Print an object's bytes",
    .details =
        "Prints exactly the bytes of the object, of whatever type. With --json they are the\n"
        "member \"value\", and \"value_hex\" where they are not valid UTF-8.",
    .example = "  holdfast get photos.hf 2024/tree.jpg --output tree.jpg",
    .options = options,
    .operands_min = 2,
    .operands_max = 2,
    .waits = true,
    .run = get_run,
};
