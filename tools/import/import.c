/* SPDX-License-Identifier: MIT */
/*
 * import.c - holdfast import: files and directory trees become named objects
 *
 * Without --batch all of it is one transaction, so that the store holds the whole tree or none of
 * it, whatever kills the process. That is cheap: new objects lie in space that nothing else used,
 * so the undo list holds little besides the index nodes and free structures that changed.
 */
#include "tools/commands.h"
#include "tools/common/file_object.h"
#include "tools/common/interrupt.h"
#include "tools/common/json.h"
#include "tools/common/size.h"
#include "tools/common/store.h"
#include "tools/import/tree.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct tool_option options[] = {
    {'p', "prefix", "PREFIX", "put this before every name, as it is"},
    {'b', "batch", "N", "commit after every N objects, instead of once"},
    {'r', "replace", NULL, "replace objects that exist; else they are an error"},
    {'f', "force", NULL, "with --replace: also those of an application's type"},
    {'c', "create", NULL, "make the store if there is none"},
    {'k', "keep-going", NULL, "leave out what cannot be opened; exit code 1 then"},
    {0, NULL, NULL, NULL},
};

struct import {
    struct tool *tool;
    const char *path, *prefix;
    uint64_t batch;
    bool replace, force, create;
    struct tree tree;

    hf_store *store;
    struct file_target target; /* its txn is the open transaction, NULL if there is none */
    struct progress progress;
    const char *open_root; /* whose descriptor root_fd is */
    int root_fd;
    char name[HF_NAME_BYTES_MAX + 2]; /* one more than allowed, for the library to refuse */

    uint64_t counts[FILE_FOREIGN]; /* by file_kind */
    uint64_t replaced, size_bytes, transactions, in_batch;
    double seconds;
};

/* The object's name: prefix and relative path, or the file's own name if it is the operand. */
static int make_name(struct import *import, const struct tree_entry *entry)
{
    const char *relative = entry->path;
    int length;

    if (relative == NULL) {
        const char *slash = strrchr(entry->root, '/');
        relative = slash == NULL ? entry->root : slash + 1;
    }
    length = snprintf(import->name, sizeof import->name, "%s%s", import->prefix, relative);
    if (length > HF_NAME_BYTES_MAX)
        return tool_fail(import->tool, TOOL_USAGE, entry->root, "%.200s...: the name is too long",
                         relative);
    return TOOL_OK;
}

static int open_root(struct import *import, const char *root)
{
    if (import->open_root == root)
        return 0;
    if (import->root_fd >= 0)
        close(import->root_fd);
    import->open_root = NULL;
    import->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (import->root_fd < 0)
        return errno;
    import->open_root = root;
    return 0;
}

/* An entry that can't be opened or has vanished since it was listed. */
static int fail_entry(struct import *import, const struct tree_entry *entry, int os_errno)
{
    if (!import->tree.keep_going)
        return tool_fail_os(import->tool, os_errno, entry->root, entry->path);
    import->tree.left_out++;
    tool_warn(entry->root, "%s%s%s; left out", entry->path == NULL ? "" : entry->path,
              entry->path == NULL ? "" : ": ", strerror(os_errno));
    return TOOL_OK;
}

static int make_room(struct import *import)
{
    bool replaced;
    int code =
        file_make_room(&import->target, import->name, import->replace, import->force, &replaced);

    import->replaced += replaced;
    return code;
}

static int import_file(struct import *import, const struct tree_entry *entry)
{
    /* O_NONBLOCK: a pipe that has taken the file's place meanwhile must not hold us. */
    const int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = entry->path == NULL ? open(entry->root, flags)
                                 : openat(import->root_fd, entry->path, flags | O_NOFOLLOW);
    struct stat status;
    uint64_t size_bytes = 0;
    enum file_kind kind;
    int code;

    if (fd < 0)
        return fail_entry(import, entry, errno);
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return fail_entry(import, entry, ESTALE);
    }
    kind = (status.st_mode & 0111) != 0 ? FILE_PROGRAM : FILE_PLAIN;
    code = make_room(import);
    if (code == TOOL_OK)
        code = file_store_stream(&import->target, import->name, kind, fd,
                                 entry->path == NULL ? entry->root : entry->path, &size_bytes);
    close(fd);
    if (code == TOOL_OK) {
        import->counts[kind]++;
        import->size_bytes += size_bytes;
    }
    return code;
}

static int import_symlink(struct import *import, const struct tree_entry *entry)
{
    char target[PATH_MAX];
    ssize_t length = readlinkat(import->root_fd, entry->path, target, sizeof target);
    int code;

    if (length < 0)
        return fail_entry(import, entry, errno);
    code = make_room(import);
    if (code == TOOL_OK)
        code =
            file_store_bytes(&import->target, import->name, FILE_SYMLINK, target, (size_t)length);
    if (code == TOOL_OK) {
        import->counts[FILE_SYMLINK]++;
        import->size_bytes += (uint64_t)length;
        progress_add(&import->progress, (uint64_t)length);
    }
    return code;
}

static int import_entry(struct import *import, const struct tree_entry *entry)
{
    int code = make_name(import, entry), failed;

    if (code != TOOL_OK)
        return code;
    if (entry->path != NULL && (failed = open_root(import, entry->root)) != 0)
        return fail_entry(import, entry, failed);
    switch (entry->kind) {
    case TREE_FILE:
        return import_file(import, entry);
    case TREE_SYMLINK:
        return import_symlink(import, entry);
    default:
        code = make_room(import);
        if (code == TOOL_OK)
            code = file_store_bytes(&import->target, import->name, FILE_DIRECTORY, NULL, 0);
        import->counts[FILE_DIRECTORY] += code == TOOL_OK;
        return code;
    }
}

static int begin(struct import *import)
{
    int code = hf_begin(import->store, &import->target.txn);

    import->in_batch = 0;
    if (code == 0)
        return TOOL_OK;
    import->target.txn = NULL;
    return tool_fail_store(import->tool, import->path, code);
}

static int commit(struct import *import)
{
    int code = hf_commit(import->target.txn);

    import->target.txn = NULL;
    if (code != 0)
        return tool_fail_store(import->tool, import->path, code);
    import->transactions++;
    return TOOL_OK;
}

static int import_all(struct import *import)
{
    const struct tree *tree = &import->tree;
    uint64_t named = hf_count_named(hf_txn_view(import->target.txn));
    int code = hf_reserve_named(import->target.txn, named + tree->count);

    if (code != 0)
        return tool_fail_store(import->tool, import->path, code);
    for (size_t i = 0; i < tree->count; i++) {
        if (interrupt_pending())
            return tool_fail(import->tool, TOOL_CANCELLED, import->path, "interrupted");
        if (import->batch != 0 && import->in_batch == import->batch) {
            code = commit(import);
            if (code == TOOL_OK)
                code = begin(import);
            if (code != TOOL_OK)
                return code;
        }
        code = import_entry(import, &tree->entries[i]);
        if (code != TOOL_OK)
            return code;
        import->in_batch++;
    }
    return commit(import);
}

static int import_into_store(struct import *import)
{
    int code = tool_open(import->tool, import->path,
                         import->create ? HF_OPEN_OR_CREATE : HF_OPEN_EXISTING, &import->store);

    if (code != TOOL_OK)
        return code;
    import->target = (struct file_target){import->tool, import->path, NULL, &import->progress};
    progress_begin(&import->progress, "importing", import->tree.size_bytes, true,
                   !import->tool->quiet && !import->tool->json);
    code = begin(import);
    if (code == TOOL_OK) {
        interrupt_catch();
        code = import_all(import);
    }
    progress_clear(&import->progress);
    if (code != TOOL_OK) {
        hf_abort(import->target.txn);
        if (import->transactions == 0)
            tool_note(import->tool, import->path, "nothing was imported");
        else
            tool_note(import->tool, import->path,
                      "the first %" PRIu64 " objects are in the store, the others are not",
                      import->transactions * import->batch);
    }
    return tool_close(import->tool, import->path, import->store, code);
}

static void print_result(const struct import *import)
{
    struct json json = JSON_INIT(stdout);
    uint64_t files = import->counts[FILE_PLAIN] + import->counts[FILE_PROGRAM];

    if (!import->tool->json) {
        if (!import->tool->quiet)
            printf("%s: %" PRIu64 " files (%" PRIu64 " of them programs), %" PRIu64
                   " symbolic links, %" PRIu64 " empty directories, %s in %.2f s (%s/s)\n",
                   import->path, files, import->counts[FILE_PROGRAM], import->counts[FILE_SYMLINK],
                   import->counts[FILE_DIRECTORY], size_format(import->size_bytes).text,
                   import->seconds,
                   size_format((uint64_t)((double)import->size_bytes /
                                          (import->seconds > 0.001 ? import->seconds : 0.001)))
                       .text);
        return;
    }
    json_object(&json, NULL);
    json_text(&json, "file", import->path);
    json_uint(&json, "files", import->counts[FILE_PLAIN]);
    json_uint(&json, "programs", import->counts[FILE_PROGRAM]);
    json_uint(&json, "symlinks", import->counts[FILE_SYMLINK]);
    json_uint(&json, "directories", import->counts[FILE_DIRECTORY]);
    json_uint(&json, "replaced", import->replaced);
    json_uint(&json, "special_left_out", import->tree.special_count);
    json_uint(&json, "unreadable_left_out", import->tree.left_out);
    json_uint(&json, "size_bytes", import->size_bytes);
    json_uint(&json, "transactions", import->transactions);
    json_seconds(&json, "seconds", import->seconds);
    json_end(&json);
}

/* Sets one option; false if its argument is wrong. */
static bool set_option(struct import *import, int id, const char *value)
{
    switch (id) {
    case 'p':
        import->prefix = value;
        return true;
    case 'b':
        return size_parse_count(value, UINT64_MAX, &import->batch) && import->batch > 0;
    case 'r':
        import->replace = true;
        return true;
    case 'f':
        import->force = true;
        return true;
    case 'c':
        import->create = true;
        return true;
    default:
        import->tree.keep_going = true;
        return true;
    }
}

static int import_run(struct tool *tool)
{
    struct import import = {.tool = tool, .prefix = "", .root_fd = -1, .tree = {.tool = tool}};
    double started = tool_clock();
    const char *value;
    int id, code = TOOL_OK;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END)
        if (!set_option(&import, id, value))
            return tool_usage(tool, "--batch %s: not a number of objects", value);
    if (tool->stopped)
        return tool->exit_code;
    import.path = tool->operands[0];
    for (int i = 1; i < tool->operand_count && code == TOOL_OK; i++)
        code = tree_add(&import.tree, tool->operands[i]);
    if (code == TOOL_OK)
        code = import_into_store(&import);
    if (import.root_fd >= 0)
        close(import.root_fd);
    import.seconds = tool_clock() - started;
    if (code == TOOL_OK)
        print_result(&import);
    if (code == TOOL_OK && import.tree.left_out > 0)
        code = TOOL_ABSENT;
    tree_free(&import.tree);
    return code;
}

const struct tool_command command_import = {
    .name = "import",
    .synopsis = "[OPTION...] FILE PATH...",
    .summary = "Store files and directory trees",
    .details = "Every file below a directory PATH becomes an object, named by its path relative\n"
               "to PATH; a file PATH by its last component. Symbolic links (but PATH itself) and\n"
               "empty directories are stored as such, and executable files are marked; devices,\n"
               "pipes and sockets are left out with a remark. Without --batch it is one\n"
               "transaction: the store holds all of it afterwards, or none.",
    .example = "  holdfast import --create --prefix include/ headers.hf /usr/include",
    .options = options,
    .operands_min = 2,
    .operands_max = -1,
    .waits = true,
    .run = import_run,
};
