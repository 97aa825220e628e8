/* SPDX-License-Identifier: MIT */
/*
 * repair_copy.c - a repair works on a copy, which takes the store's place when it is whole
 *
 * A repair has to write before it can know that it succeeds: header slots, a log that is replayed or given up,
 * the word "clean". None of that may meet the one copy of somebody's data. So:
 *
 *   1  the store is held alone; it and its sidecars are copied under a spare name
 *   2  the copy is repaired and checked
 *   3  it gets the owner and the mode, is synced, and is renamed over the store; the directory is synced
 *   4  the old sidecars go: beside a store that is clean they mean nothing
 *
 * Invariants
 *   P1  before the rename nothing of the store, its sidecars included, is written or removed
 *   P2  the rename comes after a sync of the copy behind its last write; so whatever a kill or a power cut
 *       leaves under the name is the old store with its sidecars, or the repaired one
 *   P3  a dead one's copy is removed by whoever makes, recovers or removes a store of that name next
 *       (create.c: its lock is free)
 */
#include "store.h"

#include "base/bug.h"
#include "base/os.h"
#include "sync/range_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK ((size_t)1 << 20)

struct copy {
    hf_store *store; /* the original, held alone                                                  */
    char *path;      /* of the copy                                                               */
    int fd;
};

static bool all_zero(const unsigned char *p, size_t size_bytes)
{
    return p[0] == 0 && memcmp(p, p + 1, size_bytes - 1) == 0;
}

/* Pages of zeros are left out: they are there when the blocks are. */
static int copy_chunk(int to, const unsigned char *bytes, size_t size, uint64_t at)
{
    for (size_t i = 0; i < size; i += HF__PAGE_BYTES) {
        const size_t page = size - i < HF__PAGE_BYTES ? size - i : HF__PAGE_BYTES;
        if (!all_zero(bytes + i, page) && hf__write_at(to, bytes + i, page, at + i) != 0)
            return -1;
    }
    return 0;
}

static int copy_bytes(int from, int to, const char *path)
{
    unsigned char *bytes = malloc(CHUNK);
    struct stat st;
    int code = 0;
    if (bytes == NULL)
        return hf__fail(HF_ENOMEM, "copying the store");
    if (hf__os->fstat(from, &st) != 0)
        code = hf__fail_os(errno, path, "fstat");
    const uint64_t size = code == 0 ? (uint64_t)st.st_size : 0;
    if (size != 0 && hf__allocate_at(to, 0, size) != 0)
        code = hf__fail_os(errno, path, "room for a copy to repair");
    for (uint64_t at = 0; code == 0 && at < size; at += CHUNK) {
        const size_t part = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
        const ssize_t n = hf__read_at(from, bytes, part, at);
        if (n != (ssize_t)part)
            code = hf__fail_os(n < 0 ? errno : EIO, path, "read");
        else if (copy_chunk(to, bytes, part, at) != 0)
            code = hf__fail_os(errno, path, "writing a copy to repair");
    }
    free(bytes);
    return code;
}

/* One that isn't there isn't copied. */
static int copy_sidecar(const struct copy *copy, const char *from_path)
{
    char *to_path;
    int to = -1, code = 0;
    const int from = hf__os->open(from_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    if (from < 0)
        return errno == ENOENT ? 0 : hf__fail_os(errno, from_path, "open");
    if (asprintf(&to_path, "%s%s", copy->path, from_path + strlen(copy->store->path)) < 0) {
        hf__os->close(from);
        return hf__fail(HF_ENOMEM, "a file name");
    }
    to = hf__os->open(to_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    code = to < 0 ? hf__fail_os(errno, to_path, "creating") : copy_bytes(from, to, from_path);
    if (to >= 0)
        hf__os->close(to);
    hf__os->close(from);
    free(to_path);
    return code;
}

static int copy_all(struct copy *copy)
{
    const hf_store *store = copy->store;
    uint32_t number;
    hf__random_bytes(&number, sizeof number);
    if (asprintf(&copy->path, "%s.new-%ld-%08x", store->path, (long)getpid(), number) < 0) {
        copy->path = NULL;
        return hf__fail(HF_ENOMEM, "a file name");
    }
    copy->fd = hf__os->open(copy->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (copy->fd < 0)
        return hf__fail_os(errno, copy->path, "creating");
    if (hf__range_exclusive(copy->fd, HF__RANGE_MAKING) != 0) /* P3 */
        return hf__fail_os(errno, copy->path, "locking");
    int code = copy_bytes(store->fd, copy->fd, store->path);
    if (code == 0)
        code = copy_sidecar(copy, store->undo_path);
    for (int i = 0; code == 0 && i < 2 && !HF__BUG(REPAIR_WITHOUT_LOG); i++)
        code = copy_sidecar(copy, store->log.paths[i]);
    return code;
}

static int take_place(const struct copy *copy)
{
    const hf_store *store = copy->store;
    int code = hf__take_after(copy->fd, store->fd, store->path);
    if (code != 0)
        return code;
    for (int i = 0; i < 2 && HF__BUG(REPAIR_SIDECARS_FIRST); i++)
        hf__os->unlink(store->log.paths[i]);
    if (hf__os->fsync(copy->fd) != 0)
        return hf__fail_os(errno, store->path, "fsync");
    /* Whoever opens the name waits from here on: the sidecars that go are not his. */
    if (hf__range_exclusive(copy->fd, HF__RANGE_ATTACH) != 0)
        return hf__fail_os(errno, store->path, "locking the repaired store");
    code = hf__give_name(copy->path, store->path, hf__os->rename,
                         !HF__BUG(REPAIR_DIRECTORY_NOT_SYNCED));
    if (code != 0)
        return code;
    hf__os->unlink(store->undo_path);
    hf__os->unlink(store->log.paths[0]);
    hf__os->unlink(store->log.paths[1]);
    hf__os->unlink(store->lock_path);
    return 0;
}

int hf__repair_copy(const char *path, int (*repair)(const char *path, void *user), void *user)
{
    static const hf_options defaults = HF_OPTIONS_INIT;
    struct copy copy = {.fd = -1};
    int code = hf__store_new(&copy.store, HF__BACKING_FILE, &defaults);
    if (code != 0)
        return code;
    copy.store->role = HF__ROLE_ALONE;
    code = hf__paths_set(copy.store, path);
    if (code == 0)
        code = hf__attach_for_removal(copy.store, 0);
    if (code == HF_EBUSY && copy.store->fd_read_only)
        code = hf__fail_path(HF_EACCES, EACCES, copy.store->path, "it may not be written");
    if (code != 0)
        goto out_free;
    code = copy_all(&copy);
    if (code == 0)
        code = repair(copy.path, user);
    if (code == 0)
        code = take_place(&copy);
    const hf_error failure = *hf_last_error();
    if (code != 0 && copy.fd >= 0)
        hf__spare_unlink(copy.path);
    if (copy.fd >= 0) {
        hf__range_unlock(copy.fd, HF__RANGE_ATTACH); /* also where a child that was forked has it, too */
        hf__os->close(copy.fd);
    }
    hf__detach_unused(copy.store);
    if (code != 0)
        hf__fail_again(&failure);
out_free:
    free(copy.path);
    hf__store_free(copy.store);
    return code;
}
