/* SPDX-License-Identifier: MIT */
/*
 * file_object.c - putting files into a store
 *
 * The idea: the object is made with the size that fstat tells, and read(2) fills it, so that the
 * bytes are copied once, by the kernel, to their final place. A file may change while it is read:
 *
 *   1. An object that is left behind holds exactly the bytes up to an end of file that was seen.
 *   2. A file that ended early (in /sys all do) is stored with the bytes there were; one that goes
 *      on after its announced size is read again, and after REREAD_MAX such turns given up, so that
 *      a log file that grows as fast as it is read can't hold the store's writer for ever.
 *
 * What has no size beforehand (a pipe, a file of /proc) is collected in memory first.
 */
#include "tools/common/file_object.h"

#include "tools/common/interrupt.h"
#include "tools/common/store.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REREAD_MAX         4
#define READ_BYTES_MAX     ((size_t)4 << 20) /* a read, between looks at the clock and at signals */
#define STREAM_BYTES_FIRST ((size_t)64 << 10)

static const hf_type types[] = {
    [FILE_PLAIN] = {"holdfast.file", 1, 1, 16, HF_TYPE_BLOB, NULL, 0},
    [FILE_PROGRAM] = {"holdfast.program", 1, 1, 16, HF_TYPE_BLOB, NULL, 0},
    [FILE_SYMLINK] = {"holdfast.symlink", 1, 1, 16, HF_TYPE_BLOB, NULL, 0},
    [FILE_DIRECTORY] = {"holdfast.directory", 1, 1, 16, HF_TYPE_BLOB, NULL, 0},
};
enum { TYPE_COUNT = sizeof types / sizeof types[0] };

const hf_type *file_type(enum file_kind kind)
{
    return (unsigned)kind < TYPE_COUNT ? &types[kind] : NULL;
}

enum file_kind file_kind_of(const hf_object_info *info)
{
    if (info->type_name == NULL || info->type_name[0] == '\0')
        return FILE_PLAIN;
    for (unsigned i = 0; i < TYPE_COUNT; i++)
        if (strcmp(info->type_name, types[i].name) == 0 && info->type_version == types[i].version)
            return (enum file_kind)i;
    return FILE_FOREIGN;
}

int file_make_room(const struct file_target *target, const char *name, bool replace, bool force,
                   bool *replaced)
{
    hf_view *view = hf_txn_view(target->txn);
    const void *object = hf_find(view, name, NULL, NULL);
    hf_object_info info;
    int code;

    *replaced = false;
    if (object == NULL) {
        code = hf_last_error()->code;
        return code == HF_ENOTFOUND
                   ? TOOL_OK
                   : tool_fail_object(target->tool, target->store_path, name, code);
    }
    if (!replace)
        return tool_fail(target->tool, TOOL_EXISTS, target->store_path, "%s: exists already", name);
    if (!force) {
        code = hf_object_at(view, object, &info);
        if (code != 0)
            return tool_fail_object(target->tool, target->store_path, name, code);
        if (file_kind_of(&info) == FILE_FOREIGN)
            return tool_fail(target->tool, TOOL_EXISTS, target->store_path,
                             "%s: belongs to an application (type %s); --force would replace it",
                             name, info.type_name);
    }
    code = tool_destroy(target->txn, name);
    if (code != 0)
        return tool_fail_object(target->tool, target->store_path, name, code);
    *replaced = true;
    return TOOL_OK;
}

/* The failed hf_construct of a name. */
static int fail_construct(const struct file_target *target, const char *name)
{
    return tool_fail_object(target->tool, target->store_path, name, hf_last_error()->code);
}

int file_store_bytes(const struct file_target *target, const char *name, enum file_kind kind,
                     const void *bytes, size_t size_bytes)
{
    void *object = hf_construct(target->txn, name, file_type(kind), size_bytes);

    if (object == NULL)
        return fail_construct(target, name);
    if (size_bytes > 0)
        memcpy(object, bytes, size_bytes);
    return TOOL_OK;
}

/*
 * Reads until room bytes are there or the file ends; *got tells how many. progress may be NULL.
 * Returns 0 or an errno; EINTR means that a signal wants the work to end.
 */
static int read_up_to(int fd, unsigned char *out, size_t room, struct progress *progress,
                      size_t *got)
{
    *got = 0;
    while (*got < room) {
        size_t want = room - *got < READ_BYTES_MAX ? room - *got : READ_BYTES_MAX;
        ssize_t n;

        if (interrupt_pending())
            return EINTR;
        n = read(fd, out + *got, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            return 0;
        *got += (size_t)n;
        if (progress != NULL)
            progress_add(progress, (uint64_t)n);
    }
    return 0;
}

static int fail_read(const struct file_target *target, const char *source, int os_errno)
{
    if (os_errno == EINTR)
        return tool_fail(target->tool, TOOL_CANCELLED, target->store_path, "interrupted");
    return tool_fail_os(target->tool, os_errno, source, NULL);
}

/* Collects what fd gives in memory, since nobody knows how much it is. */
static int store_unsized(const struct file_target *target, const char *name, enum file_kind kind,
                         int fd, const char *source, uint64_t *size_bytes)
{
    size_t room = STREAM_BYTES_FIRST, used = 0;
    unsigned char *buffer = malloc(room);
    int code;

    while (buffer != NULL) {
        size_t got;
        code = read_up_to(fd, buffer + used, room - used, target->progress, &got);
        used += got;
        if (code != 0) {
            free(buffer);
            return fail_read(target, source, code);
        }
        if (used < room)
            break;
        if (room > SIZE_MAX / 2) {
            free(buffer);
            return tool_fail(target->tool, TOOL_OTHER, source, "too large");
        }
        room *= 2;
        unsigned char *larger = realloc(buffer, room);
        if (larger == NULL)
            free(buffer);
        buffer = larger;
    }
    if (buffer == NULL)
        return tool_fail(target->tool, TOOL_OTHER, source, "the process is out of memory");
    code = file_store_bytes(target, name, kind, buffer, used);
    free(buffer);
    if (code == TOOL_OK)
        *size_bytes = used;
    return code;
}

/* Reads a regular file into an object of its announced size. *got is what there was, *longer tells
 * if there was more. */
static int read_into_object(const struct file_target *target, const char *name, enum file_kind kind,
                            int fd, const char *source, size_t size_bytes, size_t *got,
                            bool *longer)
{
    unsigned char *object = hf_construct(target->txn, name, file_type(kind), size_bytes);
    unsigned char extra;
    size_t more = 0;
    int code;

    if (object == NULL)
        return fail_construct(target, name);
    code = read_up_to(fd, object, size_bytes, target->progress, got);
    if (code == 0 && *got == size_bytes)
        code = read_up_to(fd, &extra, 1, NULL, &more);
    if (code != 0)
        return fail_read(target, source, code);
    *longer = more != 0;
    return TOOL_OK;
}

/* Makes the object again with the bytes that there were. */
static int cut_object(const struct file_target *target, const char *name, enum file_kind kind,
                      size_t size_bytes)
{
    const void *object = hf_find(hf_txn_view(target->txn), name, NULL, NULL);
    void *copy = malloc(size_bytes == 0 ? 1 : size_bytes);
    int code;

    if (object == NULL || copy == NULL) {
        free(copy);
        return tool_fail(target->tool, TOOL_OTHER, target->store_path, "%s: out of memory", name);
    }
    memcpy(copy, object, size_bytes);
    code = hf_destroy(target->txn, name);
    if (code != 0)
        code = tool_fail_object(target->tool, target->store_path, name, code);
    else
        code = file_store_bytes(target, name, kind, copy, size_bytes);
    free(copy);
    return code;
}

int file_store_stream(const struct file_target *target, const char *name, enum file_kind kind,
                      int fd, const char *source, uint64_t *size_bytes)
{
    assert(file_type(kind) != NULL);
    for (int turn = 0; turn <= REREAD_MAX; turn++) {
        struct stat status;
        size_t got = 0;
        bool longer = false;
        int code;

        if (fstat(fd, &status) != 0)
            return tool_fail_os(target->tool, errno, source, NULL);
        if (!S_ISREG(status.st_mode) || status.st_size == 0)
            return store_unsized(target, name, kind, fd, source, size_bytes);
        code =
            read_into_object(target, name, kind, fd, source, (size_t)status.st_size, &got, &longer);
        if (code == TOOL_OK && got < (size_t)status.st_size)
            code = cut_object(target, name, kind, got);
        if (code != TOOL_OK)
            return code;
        if (!longer) {
            *size_bytes = got;
            return TOOL_OK;
        }
        code = hf_destroy(target->txn, name);
        if (code != 0)
            return tool_fail_object(target->tool, target->store_path, name, code);
        if (lseek(fd, 0, SEEK_SET) < 0)
            return tool_fail_os(target->tool, errno, source, NULL);
    }
    return tool_fail(target->tool, TOOL_IO, source, "changes while it is read");
}
