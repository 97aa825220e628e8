/* SPDX-License-Identifier: MIT */
/*
 * export.c - holdfast export: named objects become files again
 *
 * All of it under one view, so that the files are those of one moment. What can't be a file (a name
 * that leads out of the directory, that is too long for the file system or needs a directory where
 * a file is; an application's own type) is left out with a message and told by the exit code. Any
 * other error of the file system ends the work.
 */
#include "tools/commands.h"
#include "tools/common/file_object.h"
#include "tools/common/interrupt.h"
#include "tools/common/json.h"
#include "tools/common/size.h"
#include "tools/common/store.h"
#include "tools/export/place.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct tool_option options[] = {
    {'p', "prefix", "PREFIX", "only names that begin with this, and without it"},
    {'f', "force", NULL, "overwrite files and links that exist"},
    {'a', "all", NULL, "also the bytes of objects of applications' types"},
    {0, NULL, NULL, NULL},
};

struct export
{
    struct tool *tool;
    const char *path, *directory, *prefix;
    bool force, all;
    struct place place;
    struct progress progress;
    uint64_t counts[FILE_FOREIGN + 1]; /* by file_kind */
    uint64_t size_bytes, left_out;
    double seconds;
};

static int leave_out(struct export *export, const char *name, const char *why)
{
    progress_clear(&export->progress);
    export->left_out++;
    tool_warn(export->path, "%s: %s; left out", name, why);
    return TOOL_OK;
}

/* The object as a file at name below the directory. Returns an exit code. */
static int export_one(struct export *export, const hf_object_info *info, const char *name)
{
    enum file_kind kind = file_kind_of(info);
    size_t size_bytes = (size_t)info->size_bytes;
    int failed;

    if (!place_accepts(name))
        return leave_out(export, info->name, "cannot be a file below the directory");
    if (kind == FILE_FOREIGN && !export->all)
        return leave_out(export, info->name, "belongs to an application (--all would export it)");
    if (kind == FILE_SYMLINK) {
        char target[4096];
        if (size_bytes == 0 || size_bytes >= sizeof target ||
            memchr(info->object, '\0', size_bytes) != NULL)
            return leave_out(export, info->name, "is not the target of a symbolic link");
        memcpy(target, info->object, size_bytes);
        target[size_bytes] = '\0';
        failed = place_symlink(&export->place, name, target);
    } else if (kind == FILE_DIRECTORY) {
        failed = place_directory(&export->place, name);
    } else {
        failed = place_file(&export->place, name, info->object, size_bytes, kind == FILE_PROGRAM);
    }
    if (place_refuses_name(failed))
        return leave_out(export, info->name, strerror(failed));
    if (failed != 0)
        return tool_fail(export->tool, tool_exit_of_errno(failed), export->directory, "%s: %s%s",
                         name, strerror(failed),
                         failed == EEXIST ? " (--force would overwrite it)" : "");
    export->counts[kind]++;
    export->size_bytes += info->size_bytes;
    return TOOL_OK;
}

/* How many bytes there are to export, for the progress bar. */
static int measure(struct export *export, hf_view *view, uint64_t *total)
{
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    int more;

    *total = 0;
    cursor.prefix = export->prefix;
    while ((more = hf_next_named(view, &cursor, &info)) == 1)
        *total += info.size_bytes;
    return more == 0 ? TOOL_OK : tool_fail_store(export->tool, export->path, more);
}

static int export_all(struct export *export, hf_view *view)
{
    size_t prefix_length = export->prefix == NULL ? 0 : strlen(export->prefix);
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    uint64_t total;
    int more, code = measure(export, view, &total);

    if (code != TOOL_OK)
        return code;
    progress_begin(&export->progress, "exporting", total, true,
                   !export->tool->quiet && !export->tool->json);
    cursor.prefix = export->prefix;
    while ((more = hf_next_named(view, &cursor, &info)) == 1) {
        if (interrupt_pending())
            return tool_fail(export->tool, TOOL_CANCELLED, export->path, "interrupted");
        code = export_one(export, &info, info.name + prefix_length);
        if (code != TOOL_OK)
            return code;
        progress_add(&export->progress, info.size_bytes);
    }
    return more == 0 ? TOOL_OK : tool_fail_store(export->tool, export->path, more);
}

static int export_from_store(struct export *export)
{
    hf_store *store;
    hf_view *view;
    int code = tool_open_view(export->tool, export->path, &store, &view), failed;

    if (code != TOOL_OK)
        return code;
    interrupt_catch();
    failed = place_open(&export->place, export->directory, export->force);
    if (failed != 0) {
        code = tool_fail_os(export->tool, failed, export->directory, NULL);
    } else {
        code = export_all(export, view);
        progress_clear(&export->progress);
    }
    hf_view_end(view);
    code = tool_close(export->tool, export->path, store, code);
    if (failed != 0)
        return code;
    if (code == TOOL_OK && (failed = place_sync(&export->place)) != 0)
        code = tool_fail_os(export->tool, failed, export->directory, NULL);
    place_close(&export->place);
    return code;
}

static void print_result(const struct export *export)
{
    struct json json = JSON_INIT(stdout);
    const uint64_t *counts = export->counts;

    if (!export->tool->json) {
        if (!export->tool->quiet)
            printf("%s: %" PRIu64 " files, %" PRIu64 " symbolic links, %" PRIu64
                   " empty directories, %s in %.2f s; %" PRIu64 " left out\n",
                   export->directory,
                   counts[FILE_PLAIN] + counts[FILE_PROGRAM] + counts[FILE_FOREIGN],
                   counts[FILE_SYMLINK], counts[FILE_DIRECTORY],
                   size_format(export->size_bytes).text, export->seconds, export->left_out);
        return;
    }
    json_object(&json, NULL);
    json_text(&json, "file", export->path);
    json_text(&json, "directory", export->directory);
    json_uint(&json, "files", counts[FILE_PLAIN]);
    json_uint(&json, "programs", counts[FILE_PROGRAM]);
    json_uint(&json, "symlinks", counts[FILE_SYMLINK]);
    json_uint(&json, "directories", counts[FILE_DIRECTORY]);
    json_uint(&json, "others", counts[FILE_FOREIGN]);
    json_uint(&json, "left_out", export->left_out);
    json_uint(&json, "size_bytes", export->size_bytes);
    json_seconds(&json, "seconds", export->seconds);
    json_end(&json);
}

static int export_run(struct tool *tool)
{
    struct export export = {.tool = tool};
    double started = tool_clock();
    const char *value;
    int id, code;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END) {
        if (id == 'p')
            export.prefix = value;
        export.force |= id == 'f';
        export.all |= id == 'a';
    }
    if (tool->stopped)
        return tool->exit_code;
    export.path = tool->operands[0];
    export.directory = tool->operands[1];
    code = export_from_store(&export);
    export.seconds = tool_clock() - started;
    if (code == TOOL_OK)
        print_result(&export);
    if (code == TOOL_OK && export.left_out > 0)
        code = TOOL_ABSENT;
    return code;
}

const struct tool_command command_export = {
    .name = "export",
    .synopsis = "[OPTION...] FILE DIR",
    .summary = "Write objects to a directory, as files",
    .details = "The inverse of import: byte for byte, with symbolic links, executable bits and\n"
               "empty directories. DIR is made if it does not exist. Nothing is written outside\n"
               "of it: names that would lead out or that the file system does not take are left\n"
               "out with a message, and then the exit code is 1. Files that exist stay, and are\n"
               "an error, unless --force is given.",
    .example = "  holdfast export --prefix include/ headers.hf /tmp/headers",
    .options = options,
    .operands_min = 2,
    .operands_max = 2,
    .waits = true,
    .run = export_run,
};
