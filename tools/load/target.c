/* SPDX-License-Identifier: MIT */
/*
 * target.c - the store that a dump is loaded into
 *
 * A new store gets its name when it is whole and on the disk: until then it is FILE.loading-PID.
 * So it can be made in many transactions of limited size, none of which is synced by itself, and
 * is still all or nothing. An existing store is changed in one transaction, unless --batch allows
 * more.
 */
#include "tools/load/target.h"

#include "tools/common/store.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a transaction changes stays in memory until it is committed. */
#define NEW_BYTES_MAX   ((uint64_t)64 << 20)
#define NEW_OBJECTS_MAX UINT64_C(200000)

static int begin(struct target *target)
{
    int code = hf_begin(target->store, &target->txn);

    target->objects_in_txn = target->bytes_in_txn = 0;
    if (code != 0) {
        target->txn = NULL;
        return tool_fail_store(target->tool, target->path, code);
    }
    target->view = hf_txn_view(target->txn);
    return TOOL_OK;
}

static int commit(struct target *target)
{
    int code = hf_commit(target->txn);

    target->txn = NULL;
    if (code != 0)
        return tool_fail_store(target->tool, target->path, code);
    target->transactions++;
    return TOOL_OK;
}

static int create(struct target *target)
{
    const size_t room = strlen(target->path) + 40;
    int code;

    if (access(target->path, F_OK) == 0)
        return tool_fail(target->tool, TOOL_EXISTS, target->path,
                         "exists already; --into would add to it");
    target->temporary = malloc(room);
    if (target->temporary == NULL)
        return tool_fail_os(target->tool, ENOMEM, target->path, NULL);
    snprintf(target->temporary, room, "%s.loading-%ld", target->path, (long)getpid());
    target->options.mode = HF_CREATE_NEW;
    target->options.durability = HF_NOSYNC;
    code = hf_open(target->temporary, &target->options, &target->store);
    if (code == 0)
        return TOOL_OK;
    target->store = NULL;
    free(target->temporary);
    target->temporary = NULL;
    return tool_fail_store(target->tool, target->path, code);
}

int target_open(struct target *target)
{
    int code = target->into
                   ? tool_open(target->tool, target->path, HF_OPEN_EXISTING, &target->store)
                   : create(target);

    return code == TOOL_OK ? begin(target) : code;
}

int target_step(struct target *target, uint64_t objects, uint64_t bytes, bool *committed)
{
    bool full;
    int code;

    target->objects_in_txn += objects;
    target->bytes_in_txn += bytes;
    full = target->batch != 0 ? target->objects_in_txn >= target->batch
                              : !target->into && (target->bytes_in_txn >= NEW_BYTES_MAX ||
                                                  target->objects_in_txn >= NEW_OBJECTS_MAX);
    *committed = full;
    if (!full)
        return TOOL_OK;
    code = commit(target);
    return code == TOOL_OK ? begin(target) : code;
}

/* The directory holds the name only when it is synced, too. */
static int sync_directory(const char *path)
{
    char *copy = strdup(path);
    int fd, code = 0;

    if (copy == NULL)
        return ENOMEM;
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    if (fd < 0)
        return errno == EACCES ? 0 : errno; /* one may write to a directory without reading it */
    if (fsync(fd) != 0)
        code = errno;
    close(fd);
    return code;
}

/* Never over a file that has come meanwhile. */
static int publish(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) != 0) {
        if (errno != EINVAL && errno != ENOSYS)
            return errno;
        if (link(from, to) != 0 || unlink(from) != 0)
            return errno;
    }
    return sync_directory(to);
}

int target_finish(struct target *target)
{
    int code = commit(target);

    if (code != TOOL_OK)
        return code;
    code = tool_close(target->tool, target->path, target->store, TOOL_OK);
    target->store = NULL;
    if (code != TOOL_OK || target->temporary == NULL)
        return code;
    code = publish(target->temporary, target->path);
    if (code != 0)
        return tool_fail_os(target->tool, code, target->path, NULL);
    free(target->temporary);
    target->temporary = NULL;
    return TOOL_OK;
}

void target_abandon(struct target *target)
{
    hf_abort(target->txn);
    target->txn = NULL;
    hf_close(target->store);
    target->store = NULL;
    if (target->temporary != NULL)
        hf_remove(target->temporary);
    free(target->temporary);
    target->temporary = NULL;
}
