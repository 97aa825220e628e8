/* SPDX-License-Identifier: MIT */
/*
 * put.c - holdfast put: stores one value under a name
 *
 * The old value is destroyed and the new one made in one transaction, so a reader finds the one or
 * the other. What comes through a pipe is collected before the transaction begins: its writer may
 * take its time, and nobody else should have to wait for it.
 */
#include "tools/commands.h"
#include "tools/common/file_object.h"
#include "tools/common/interrupt.h"
#include "tools/common/json.h"
#include "tools/common/size.h"
#include "tools/common/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPTION_VALUE = TOOL_OPTION_LONG, OPTION_NO_REPLACE };

static const struct tool_option options[] = {
    {OPTION_VALUE, "value", "TEXT", "the value itself, instead of SOURCE"},
    {'x', "program", NULL, "the value is a program: export makes it executable"},
    {OPTION_NO_REPLACE, "no-replace", NULL, "fail if the name exists"},
    {'f', "force", NULL, "replace even an object of an application's type"},
    {'c', "create", NULL, "make the store if there is none"},
    {0, NULL, NULL, NULL},
};

struct put {
    struct tool *tool;
    const char *path, *name, *source, *value; /* source: for messages */
    int fd;                                   /* -1: value, or collected */
    char *collected;
    uint64_t size_bytes;
    enum file_kind kind;
    bool replace, force, create, replaced;
};

/* Reads all of a pipe or terminal. */
static int collect(struct put *put)
{
    size_t room = 0, used = 0;

    for (;;) {
        ssize_t n;
        if (used == room) {
            char *larger = realloc(put->collected, room = room == 0 ? 65536 : room * 2);
            if (larger == NULL)
                return tool_fail_os(put->tool, ENOMEM, put->source, NULL);
            put->collected = larger;
        }
        n = read(put->fd, put->collected + used, room - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tool_fail_os(put->tool, errno, put->source, NULL);
        if (n == 0)
            break;
        used += (size_t)n;
    }
    put->value = put->collected;
    put->size_bytes = used;
    return TOOL_OK;
}

static int open_source(struct put *put, const char *operand)
{
    struct stat status;

    if (operand == NULL || strcmp(operand, "-") == 0) {
        put->source = "standard input";
        put->fd = STDIN_FILENO;
    } else {
        put->source = operand;
        put->fd = open(operand, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    }
    if (put->fd < 0 || fstat(put->fd, &status) != 0)
        return tool_fail_os(put->tool, errno, put->source, NULL);
    if (S_ISDIR(status.st_mode))
        return tool_fail(put->tool, TOOL_OPEN, put->source,
                         "is a directory; holdfast import stores trees");
    /* A file that has been read from already (a shell's redirection) is a stream like a pipe. */
    if (S_ISREG(status.st_mode) && lseek(put->fd, 0, SEEK_CUR) == 0)
        return TOOL_OK;
    return collect(put);
}

static int change(struct put *put, hf_txn *txn)
{
    struct progress progress;
    struct file_target target = {put->tool, put->path, txn, &progress};
    struct stat status;
    int code = file_make_room(&target, put->name, put->replace, put->force, &put->replaced);

    if (code != TOOL_OK)
        return code;
    if (put->value != NULL)
        return file_store_bytes(&target, put->name, put->kind, put->value, (size_t)put->size_bytes);
    if (fstat(put->fd, &status) != 0)
        return tool_fail_os(put->tool, errno, put->source, NULL);
    progress_begin(&progress, "reading", (uint64_t)status.st_size, true,
                   !put->tool->quiet && !put->tool->json);
    code = file_store_stream(&target, put->name, put->kind, put->fd, put->source, &put->size_bytes);
    progress_clear(&progress);
    return code;
}

static int put_value(struct put *put)
{
    hf_store *store;
    hf_txn *txn;
    int code =
        tool_open(put->tool, put->path, put->create ? HF_OPEN_OR_CREATE : HF_OPEN_EXISTING, &store);

    if (code != TOOL_OK)
        return code;
    code = hf_begin(store, &txn);
    if (code != 0)
        return tool_close(put->tool, put->path, store, tool_fail_store(put->tool, put->path, code));
    interrupt_catch();
    code = change(put, txn);
    if (code != TOOL_OK) {
        hf_abort(txn);
    } else {
        int committed = hf_commit(txn);
        if (committed != 0)
            code = tool_fail_store(put->tool, put->path, committed);
    }
    return tool_close(put->tool, put->path, store, code);
}

static void print_result(const struct put *put)
{
    struct json json = JSON_INIT(stdout);

    if (!put->tool->json) {
        if (!put->tool->quiet)
            printf("%s: %s, %s\n", put->name, put->replaced ? "replaced" : "stored",
                   size_format(put->size_bytes).text);
        return;
    }
    json_object(&json, NULL);
    json_text(&json, "file", put->path);
    json_text(&json, "name", put->name);
    json_text(&json, "type", file_type(put->kind)->name);
    json_uint(&json, "size_bytes", put->size_bytes);
    json_bool(&json, "replaced", put->replaced);
    json_end(&json);
}

static bool set_option(struct put *put, int id, const char *value)
{
    switch (id) {
    case OPTION_VALUE:
        put->value = value;
        put->size_bytes = strlen(value);
        return true;
    case 'x':
        put->kind = FILE_PROGRAM;
        return true;
    case OPTION_NO_REPLACE:
        put->replace = false;
        return true;
    case 'f':
        put->force = true;
        return true;
    default:
        put->create = true;
        return true;
    }
}

static int put_run(struct tool *tool)
{
    struct put put = {.tool = tool, .fd = -1, .kind = FILE_PLAIN, .replace = true};
    const char *value, *operand;
    int id, code = TOOL_OK;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END)
        set_option(&put, id, value);
    if (tool->stopped)
        return tool->exit_code;
    put.path = tool->operands[0];
    put.name = tool->operands[1];
    operand = tool->operand_count > 2 ? tool->operands[2] : NULL;
    if (put.value != NULL && operand != NULL)
        return tool_usage(tool, "SOURCE and --value exclude each other");
    if (put.value == NULL)
        code = open_source(&put, operand);
    if (code == TOOL_OK)
        code = put_value(&put);
    if (put.fd > STDIN_FILENO)
        close(put.fd);
    if (code == TOOL_OK)
        print_result(&put);
    free(put.collected);
    return code;
}

const struct tool_command command_put = {
    .name = "put",
    .synopsis = "[OPTION...] FILE NAME [SOURCE | -]",
    .summary = "Store one value under a name",
    .details = "The value is read from SOURCE, from standard input, or is that of --value. It\n"
               "replaces an earlier one in one step: a reader sees the old or the new one.",
    .example = "  holdfast put settings.hf colour --value green\n"
               "  date | holdfast put settings.hf last-run",
    .options = options,
    .operands_min = 2,
    .operands_max = 3,
    .waits = true,
    .run = put_run,
};
