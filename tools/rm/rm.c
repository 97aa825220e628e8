/* SPDX-License-Identifier: MIT */
/*
 * rm.c - holdfast rm: destroys named objects
 *
 * All in one transaction. A name that isn't there ends it with nothing removed, so that a script's
 * typing error doesn't leave half of its work behind.
 */
#include "tools/commands.h"
#include "tools/common/json.h"
#include "tools/common/size.h"
#include "tools/common/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct tool_option options[] = {
    {'p', "prefix", "PREFIX", "all objects whose names begin with this"},
    {'f', "force", NULL, "pass over names that are not there"},
    {0, NULL, NULL, NULL},
};

struct rm {
    struct tool *tool;
    const char *path, *prefix;
    hf_txn *txn;
    bool force;
    uint64_t removed, size_bytes;
    char **names; /* those the prefix found: a cursor doesn't outlive a removal */
    size_t name_count, name_room;
};

static bool keep_name(struct rm *rm, const char *name)
{
    if (rm->name_count == rm->name_room) {
        size_t room = rm->name_room == 0 ? 256 : rm->name_room * 2;
        char **larger = reallocarray(rm->names, room, sizeof *larger);
        if (larger == NULL)
            return false;
        rm->names = larger;
        rm->name_room = room;
    }
    rm->names[rm->name_count] = strdup(name);
    return rm->names[rm->name_count] != NULL && ++rm->name_count > 0;
}

static int collect_prefix(struct rm *rm)
{
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    int more;

    cursor.prefix = rm->prefix;
    while ((more = hf_next_named(hf_txn_view(rm->txn), &cursor, &info)) == 1)
        if (!keep_name(rm, info.name))
            return tool_fail_os(rm->tool, ENOMEM, rm->path, NULL);
    if (more != 0)
        return tool_fail_store(rm->tool, rm->path, more);
    if (rm->name_count == 0 && !rm->force)
        return tool_fail(rm->tool, TOOL_ABSENT, rm->path, "no name begins with \"%s\"", rm->prefix);
    return TOOL_OK;
}

static int remove_one(struct rm *rm, const char *name, bool may_be_gone)
{
    const void *object = hf_find(hf_txn_view(rm->txn), name, NULL, NULL);
    hf_object_info info = {0};
    int code =
        object == NULL ? hf_last_error()->code : hf_object_at(hf_txn_view(rm->txn), object, &info);

    if (code == HF_ENOTFOUND && may_be_gone)
        return TOOL_OK;
    if (code == 0) {
        uint64_t size_bytes = info.size_bytes;
        code = tool_destroy(rm->txn, name);
        rm->size_bytes += size_bytes;
    }
    if (code != 0)
        return tool_fail_object(rm->tool, rm->path, name, code);
    rm->removed++;
    return TOOL_OK;
}

static int remove_all(struct rm *rm)
{
    int code = rm->prefix != NULL ? collect_prefix(rm) : TOOL_OK;

    for (int i = 1; i < rm->tool->operand_count && code == TOOL_OK; i++)
        code = remove_one(rm, rm->tool->operands[i], rm->force);
    /* One of these may have been named, too. */
    for (size_t i = 0; i < rm->name_count && code == TOOL_OK; i++)
        code = remove_one(rm, rm->names[i], true);
    if (code != TOOL_OK) {
        hf_abort(rm->txn);
        return code;
    }
    code = hf_commit(rm->txn);
    return code == 0 ? TOOL_OK : tool_fail_store(rm->tool, rm->path, code);
}

static int run_in_store(struct rm *rm)
{
    hf_store *store;
    int code = tool_open(rm->tool, rm->path, HF_OPEN_EXISTING, &store);

    if (code != TOOL_OK)
        return code;
    code = hf_begin(store, &rm->txn);
    code = code != 0 ? tool_fail_store(rm->tool, rm->path, code) : remove_all(rm);
    return tool_close(rm->tool, rm->path, store, code);
}

static void print_result(const struct rm *rm)
{
    struct json json = JSON_INIT(stdout);

    if (!rm->tool->json) {
        if (!rm->tool->quiet)
            printf("%s: %" PRIu64 " removed, %s\n", rm->path, rm->removed,
                   size_format(rm->size_bytes).text);
        return;
    }
    json_object(&json, NULL);
    json_text(&json, "file", rm->path);
    json_uint(&json, "removed", rm->removed);
    json_uint(&json, "size_bytes", rm->size_bytes);
    json_end(&json);
}

static int rm_run(struct tool *tool)
{
    struct rm rm = {.tool = tool};
    const char *value;
    int id, code;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END) {
        if (id == 'p')
            rm.prefix = value;
        else
            rm.force = true;
    }
    if (tool->stopped)
        return tool->exit_code;
    if (tool->operand_count < 2 && rm.prefix == NULL)
        return tool_usage(tool, "give names or --prefix");
    rm.path = tool->operands[0];
    code = run_in_store(&rm);
    for (size_t i = 0; i < rm.name_count; i++)
        free(rm.names[i]);
    free(rm.names);
    if (code == TOOL_OK)
        print_result(&rm);
    return code;
}

const struct tool_command command_rm = {
    .name = "rm",
    .synopsis = "[OPTION...] FILE [NAME...]",
    .summary = "Destroy named objects",
    .details = "All of them or, if one of the names is not there, none (exit code 1). A pool\n"
               "goes with its nodes.",
    .example = "  holdfast rm photos.hf 2024/blurred.jpg\n"
               "  holdfast rm photos.hf --prefix 2019/",
    .options = options,
    .operands_min = 1,
    .operands_max = -1,
    .waits = true,
    .run = rm_run,
};
