/* SPDX-License-Identifier: MIT */
/*
 * target.c - the store that a dump is loaded into
 *
 * A new store gets its name when it is whole and on the disk: until then it is FILE.new-PID-NUMBER, as all
 * stores in the making are, with a lock that says that its maker lives. Whoever makes, recovers or removes a store of
 * the name FILE removes those of the dead (docs/locking.md). So it can be made in many transactions of limited size, none of which is synced by itself, and
 * is still all or nothing. An existing store is changed in one transaction, unless --batch allows
 * more.
 */
#include "tools/load/target.h"

#include "sync/range_lock.h"
#include "tools/common/publish.h"
#include "tools/common/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
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

/* Tells those who remove what the dead left that this one is being made. False: one of them was faster. */
static bool lock_spare(struct target *target)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = HF__RANGE_MAKING, .l_len = 1};
    struct stat by_name, by_fd;

    target->lock_fd = open(target->temporary, O_RDWR | O_CLOEXEC);
    if (target->lock_fd >= 0 && fcntl(target->lock_fd, F_OFD_SETLK, &lock) == 0 &&
        stat(target->temporary, &by_name) == 0 && fstat(target->lock_fd, &by_fd) == 0 &&
        by_name.st_ino == by_fd.st_ino && by_name.st_dev == by_fd.st_dev)
        return true;
    if (target->lock_fd >= 0)
        close(target->lock_fd);
    target->lock_fd = -1;
    return false;
}

static int create(struct target *target)
{
    const size_t room = strlen(target->path) + 40;
    unsigned number = 0;
    int code;

    if (access(target->path, F_OK) == 0)
        return tool_fail(target->tool, TOOL_EXISTS, target->path,
                         "exists already; --into would add to it");
    target->temporary = malloc(room);
    if (target->temporary == NULL)
        return tool_fail_os(target->tool, ENOMEM, target->path, NULL);
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) < 0)
        number = (unsigned)getpid();
    snprintf(target->temporary, room, "%s.new-%ld-%08x", target->path, (long)getpid(), number);
    target->options.mode = HF_CREATE_NEW;
    target->options.durability = HF_NOSYNC;
    code = hf_open(target->temporary, &target->options, &target->store);
    if (code == 0 && lock_spare(target))
        return TOOL_OK;
    if (code == 0) {
        hf_close(target->store);
        target->store = NULL;
        hf_remove(target->temporary);
        free(target->temporary);
        target->temporary = NULL;
        return tool_fail(target->tool, TOOL_BUSY, target->path, "somebody makes it, too");
    }
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

int target_finish(struct target *target)
{
    int code = commit(target);

    if (code != TOOL_OK)
        return code;
    target->complete = target->into;
    code = tool_close(target->tool, target->path, target->store, TOOL_OK);
    target->store = NULL;
    if (code != TOOL_OK || target->temporary == NULL)
        return code;
    code = publish_name(target->temporary, target->path);
    close(target->lock_fd);
    target->lock_fd = -1;
    if (code != 0)
        return tool_fail_os(target->tool, code, target->path, NULL);
    target->complete = true;
    free(target->temporary);
    target->temporary = NULL;
    code = publish_sync(target->path);
    return code == 0 ? TOOL_OK : tool_fail_os(target->tool, code, target->path, NULL);
}

void target_abandon(struct target *target)
{
    hf_abort(target->txn);
    target->txn = NULL;
    hf_close(target->store);
    target->store = NULL;
    if (target->temporary != NULL)
        hf_remove(target->temporary);
    if (target->temporary != NULL && target->lock_fd >= 0)
        close(target->lock_fd);
    free(target->temporary);
    target->temporary = NULL;
}
