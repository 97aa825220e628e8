/* SPDX-License-Identifier: MIT */
/*
 * create.c - making a new store
 *
 * A new file is written whole under a spare name, synced, and then given its name with
 * RENAME_NOREPLACE: nobody ever sees half a store, and of two who create at once one is told
 * EEXIST. A file whose maker was killed is removed by whoever makes, recovers or removes a store of
 * that name next. The segment is formatted in plain memory, by the same allocator and index that will use
 * it later, and copied out: the format has one source.
 */
#include "pages.h"
#include "store.h"

#include "base/bug.h"
#include "base/hash.h"
#include "base/os.h"
#include "sync/range_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE_MAX_DEFAULT (UINT64_C(1) << 40)
#define SIZE_MAX_LIMIT (UINT64_C(1) << 47)
#define SIZE_INITIAL_DEFAULT (UINT64_C(1) << 20)
#define TAKEN INT_MIN /* a spare name, by who cleans up                                          */
#define TRIES_MAX 100
#define FORMAT_BYTES ((uint64_t)65536) /* more than an empty segment ever uses                    */

int hf__constants_new(struct hf__constants *out, const hf_options *options, uint32_t engine,
                      uint64_t size_max_bytes)
{
    memset(out, 0, sizeof *out);
    if (size_max_bytes > SIZE_MAX_LIMIT)
        return hf__fail(HF_EINVAL, "size_max_bytes is over 128 TiB");
    hf__random_bytes(out->uuid, sizeof out->uuid);
    out->created_ns = hf__os->wall_ns();
    out->salt = hf__hash(out->uuid, sizeof out->uuid, out->created_ns);
    out->size_max_bytes = size_max_bytes;
    out->engine = engine;
    out->allocator = hf__allocator_by_kind(options->allocator)->kind;
    out->index = options->index;
    if (options->layout != NULL) {
        memcpy(out->layout, options->layout, strlen(options->layout));
        out->layout_version = options->layout_version;
    }
    hf__constants_seal(out);
    return 0;
}

/* ---- formatting a segment in plain memory ---------------------------------------------------- */

static int plain_reserve(struct hf__segment *seg, uint64_t cost_bytes)
{
    (void)seg;
    (void)cost_bytes;
    return 0;
}

static void plain_edit(struct hf__segment *seg, uint64_t offset, uint64_t size_bytes)
{
    (void)seg;
    (void)offset;
    (void)size_bytes;
}

static int plain_grow(struct hf__segment *seg, uint64_t size_bytes)
{
    return hf__fail(HF_EFULL, "%llu bytes don't hold %llu", (unsigned long long)seg->size_bytes,
                    (unsigned long long)size_bytes);
}

static int plain_allocate(struct hf__segment *seg, uint64_t size_bytes, hf_ref *out)
{
    struct hf__heap *heap = seg->owner;
    struct hf__alloc_request request = {size_bytes, 16, 0, HF__BLOCK_SYSTEM};
    return heap->algorithm->allocate(heap, &request, out, NULL);
}

static int plain_release(struct hf__segment *seg, hf_ref block)
{
    struct hf__heap *heap = seg->owner;
    return heap->algorithm->free(heap, block);
}

const struct hf__door hf__plain_door = {plain_reserve, plain_edit, plain_grow, plain_allocate,
                                        plain_release, NULL, NULL, NULL};

int hf__format_segment(unsigned char *base, uint64_t size_bytes,
                       const struct hf__constants *constants)
{
    struct hf__heap heap;
    struct hf__segment seg = {base, size_bytes, constants->salt, &hf__plain_door, &heap, false};
    if (size_bytes < HF__SEGMENT_BYTES_MIN)
        return hf__fail(HF_EFULL, "a store takes at least %u bytes", HF__SEGMENT_BYTES_MIN);
    struct hf__segment_header *header = (struct hf__segment_header *)base;
    memset(header, 0, sizeof *header);
    header->magic = HF__SEGMENT_MAGIC;
    header->size_bytes = size_bytes;
    header->constants = *constants;
    heap = (struct hf__heap){&seg, HF__HEAP_ROOT, hf__allocator_by_kind(constants->allocator),
                             NULL};
    int code = heap.algorithm->init(&heap, HF__FIRST_BLOCK);
    const uint64_t roots[2] = {HF__NAMED_ROOT, HF__UNIQUE_ROOT};
    for (int i = 0; code == 0 && i < 2; i++) {
        struct hf__index index = {&seg, roots[i], hf__index_by_kind(constants->index), NULL};
        code = index.ops->init(&index);
    }
    return code;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Is the file at `name` still the one behind fd? */
static bool leads_to(const char *name, int fd)
{
    struct stat a, b;
    return hf__os->fstat(fd, &a) == 0 && hf__os->stat(name, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

struct spares {
    const char *path;
    size_t directory_bytes; /* of path, the slash included                                        */
};

/* Past a .new-PID-XXXXXXXX, as temporary_open makes it; NULL: that isn't there. */
static const char *past_suffix(const char *at)
{
    if (strncmp(at, ".new-", 5) != 0)
        return NULL;
    at += 5;
    const size_t digits = strspn(at, "0123456789");
    if (digits == 0 || at[digits] != '-')
        return NULL;
    at += digits + 1;
    return strspn(at, "0123456789abcdef") >= 8 ? at + 8 : NULL;
}

/* A spare of base, or, as a store that is built under a spare name is itself made, one of a spare? */
static bool is_spare(const char *base, const char *name)
{
    const size_t length = strlen(base);
    if (strncmp(name, base, length) != 0)
        return false;
    const char *at = name + length;
    do
        at = past_suffix(at);
    while (at != NULL && *at != 0);
    return at != NULL;
}

/* The file itself comes last: as long as it is there, somebody comes back for the others. */
void hf__spare_unlink(const char *path)
{
    static const char *const suffixes[] = {"-lock", "-undo", "-log0", "-log1", ""};
    char *name;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        if (asprintf(&name, "%s%s", path, suffixes[i]) < 0)
            return;
        hf__os->unlink(name);
        free(name);
    }
}

/* Its maker holds a lock on it as long as he lives: had by us, he is dead (or hasn't taken it yet; then
 * he notices that his file is gone and makes another). */
static void remove_dead_spare(void *context, const char *name)
{
    const struct spares *spares = context;
    char *full;
    if (!is_spare(spares->path + spares->directory_bytes, name) ||
        asprintf(&full, "%.*s%s", (int)spares->directory_bytes, spares->path, name) < 0)
        return;
    int fd = hf__os->open(full, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd >= 0) {
        if (hf__range_exclusive(fd, HF__RANGE_MAKING) == 0 && leads_to(full, fd))
            hf__spare_unlink(full);
        hf__os->close(fd);
    }
    free(full);
}

void hf__create_clean_up(const char *path)
{
    const char *slash = strrchr(path, '/');
    struct spares spares = {path, slash == NULL ? 0 : (size_t)(slash - path) + 1};
    char *directory = slash == NULL ? strdup(".") : strndup(path, spares.directory_bytes);
    if (directory != NULL)
        (void)hf__os->each_name(directory, remove_dead_spare, &spares);
    free(directory);
}

/* Opens a new file of a spare name beside path; the name is malloc'ed. A descriptor, or a code. */
static int temporary_open(const char *path, uint32_t permissions, char **out_name)
{
    uint32_t salt;
    hf__random_bytes(&salt, sizeof salt);
    size_t room = strlen(path) + 40;
    char *name = malloc(room);
    if (name == NULL)
        return hf__fail(HF_ENOMEM, "a file name");
    snprintf(name, room, "%s.new-%ld-%08x", path, (long)getpid(), salt);
    int fd = hf__os->open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                          permissions == 0 ? 0644 : 0600);
    if (fd < 0) {
        int code = hf__fail_os(errno, path, "creating");
        free(name);
        return code;
    }
    if (permissions != 0 && hf__os->fchmod(fd, (mode_t)(permissions & 07777)) != 0) {
        int code = hf__fail_os(errno, path, "fchmod");
        hf__os->close(fd);
        hf__os->unlink(name);
        free(name);
        return code;
    }
    /* Somebody who cleans up may have come before this lock: he looks at a name once. */
    if (hf__range_exclusive(fd, HF__RANGE_MAKING) != 0 || !leads_to(name, fd)) {
        int code = errno == EAGAIN || errno == EACCES || errno == ENOENT
                       ? TAKEN
                       : hf__fail_os(errno, path, "locking");
        hf__os->close(fd);
        hf__os->unlink(name);
        free(name);
        return code;
    }
    *out_name = name;
    return fd;
}

int hf__give_name(const char *temporary, const char *path,
                  int (*name)(const char *from, const char *to), bool synced)
{
    const int directory = hf__directory_of(path);
    if (directory < 0)
        return hf__fail_os(errno, path, "opening the directory");
    if (name(temporary, path) != 0) {
        const int error = errno;
        hf__os->close(directory);
        return hf__fail_os(error, path, "naming the new store");
    }
    if (!synced) {
        hf__os->close(directory);
        return 0;
    }
    return hf__sync_directory(directory) == 0 ? 0
                                              : hf__fail_os(errno, path, "syncing the directory");
}

/* What a new file replaces. */
struct replaced {
    int fd;          /* whose owner, mode and attributes it takes over; -1: nobody's              */
    bool over;       /* otherwise the name must be free                                           */
    hf_store *store; /* whose sidecars go once the new file is whole; NULL: it has none           */
};

/* The sidecars of an old store go after it: one that could not be recovered needs them as long as it stays.
 * Whoever opens the new one under their name waits meanwhile, so none of them is his. */
static int publish(int fd, const char *temporary, const char *path, const struct replaced *old)
{
    const bool over = old->over;
    int (*const name)(const char *, const char *) = over ? hf__os->rename : hf__os->rename_new;
    if (!HF__BUG(CREATE_NOT_SYNCED) && !(HF__BUG(REPLACE_NOT_SYNCED) && over) &&
        hf__os->fsync(fd) != 0)
        return hf__fail_os(errno, path, "fsync");
    if (old->store != NULL && hf__range_exclusive(fd, HF__RANGE_ATTACH) != 0)
        return hf__fail_os(errno, path, "locking the new store");
    if (HF__BUG(REPLACE_UNLINKS_FIRST) && over)
        hf__os->unlink(path);
    const int code = hf__give_name(temporary, path, name, !HF__BUG(CREATE_DIRECTORY_NOT_SYNCED));
    if (code != 0)
        return code;
    if (old->store != NULL)
        hf__removal_sidecars(old->store);
    return 0;
}

int hf__take_after(int fd, int old_fd, const char *path)
{
    struct stat old, new;
    if (hf__os->fstat(old_fd, &old) != 0 || hf__os->fstat(fd, &new) != 0)
        return hf__fail_os(errno, path, "fstat");
    if ((old.st_uid != new.st_uid || old.st_gid != new.st_gid) &&
        hf__os->fchown(fd, old.st_uid, old.st_gid) != 0)
        return hf__fail_os(errno, path, "keeping the owner: fchown");
    if (hf__os->fchmod(fd, old.st_mode & 07777) != 0)
        return hf__fail_os(errno, path, "fchmod");
    if (hf__os->copy_xattrs(old_fd, fd) != 0)
        return hf__fail_os(errno, path, "keeping the extended attributes");
    return 0;
}

static int make_file(const char *path, uint32_t permissions, const struct replaced *old,
                     int (*write)(int fd, const char *path, const void *what), const void *what)
{
    char *temporary = NULL;
    int fd, tries = 0;
    hf__create_clean_up(path);
    do
        fd = temporary_open(path, permissions, &temporary);
    while (fd == TAKEN && ++tries < TRIES_MAX);
    if (fd == TAKEN)
        return hf__fail_path(HF_EBUSY, 0, path, "its spare name can't be locked");
    if (fd < 0)
        return fd;
    bool mapped;
    int code = hf__fs_check(fd, path, &mapped);
    if (code == 0)
        code = write(fd, path, what);
    if (code == 0 && old->fd >= 0)
        code = hf__take_after(fd, old->fd, path);
    if (code == 0)
        code = publish(fd, temporary, path, old);
    /* Whatever happened, the spare name must not stay; after a success it is gone already. */
    if (code != 0)
        hf__os->unlink(temporary);
    hf__range_unlock(fd, HF__RANGE_ATTACH); /* also where a child that was forked has it, too */
    hf__os->close(fd);
    free(temporary);
    return code;
}

int hf__create_with(const char *path, uint32_t permissions,
                    int (*write)(int fd, const char *path, const void *what), const void *what)
{
    static const struct replaced nothing = {-1, false, NULL};
    return make_file(path, permissions, &nothing, write, what);
}

int hf__replace_with(const char *path, int old_fd,
                     int (*write)(int fd, const char *path, const void *what), const void *what)
{
    const struct replaced old = {old_fd, true, NULL};
    return make_file(path, 0600, &old, write, what);
}

int hf__create_over(hf_store *old, uint32_t permissions,
                    int (*write)(int fd, const char *path, const void *what), const void *what)
{
    const struct replaced replaced = {-1, true, old};
    return make_file(old->path, permissions, &replaced, write, what);
}

/* The largest segment, up to what is wanted, that this process could map. */
static int probe_size_max(uint64_t want_bytes, uint64_t need_bytes, bool twice, uint64_t *out)
{
    hf_store probe = {.backing = HF__BACKING_FILE, .map_fd = -1};
    int code = hf__map_reserve(&probe, want_bytes, need_bytes, twice);
    if (code != 0)
        return code;
    *out = probe.size_max_bytes;
    hf__map_release(&probe);
    return 0;
}

struct new_file {
    const struct hf__constants *constants;
    uint64_t size_bytes, size_kept_bytes;
};

static int write_new(int fd, const char *path, const void *what)
{
    const struct hf__constants *constants = ((const struct new_file *)what)->constants;
    const uint64_t size_bytes = ((const struct new_file *)what)->size_bytes;
    unsigned char *image = calloc(1, FORMAT_BYTES);
    if (image == NULL)
        return hf__fail(HF_ENOMEM, "formatting");
    int code = hf__format_segment(image, FORMAT_BYTES, constants);
    if (code == 0) {
        struct hf__segment_header *header = (struct hf__segment_header *)image;
        if (header->heap.used_end > size_bytes)
            code = hf__fail_path(HF_EFULL, 0, path, "the first size is too small");
        header->size_bytes = size_bytes;
        header->size_kept_bytes = ((const struct new_file *)what)->size_kept_bytes;
        if (code == 0 && hf__segment_allocate(fd, 0, size_bytes) != 0)
            code = hf__fail_os(errno, path, "allocating");
        if (code == 0 && hf__segment_write(fd, image, header->heap.used_end, 0) != 0)
            code = hf__fail_os(errno, path, "write");
        if (code == 0)
            code = hf__pages_write_all(fd, path, constants->salt, header->heap.used_end, 0);
        if (code == 0)
            code = hf__header_write_first(fd, path, constants, size_bytes, header->heap.used_end);
    }
    free(image);
    return code;
}

int hf__create_file(const char *path, const hf_options *options)
{
    struct hf__constants constants;
    uint64_t size = options->size_initial_bytes != 0 ? options->size_initial_bytes
                                                     : SIZE_INITIAL_DEFAULT;
    uint64_t size_max = options->size_max_bytes != 0 ? options->size_max_bytes : SIZE_MAX_DEFAULT;
    if (size_max > SIZE_MAX_LIMIT || size > SIZE_MAX_LIMIT)
        return hf__fail(HF_EINVAL, "a size is over 128 TiB");
    if (options->size_initial_bytes == 0 && size > size_max)
        size = size_max;
    if (options->size_max_bytes == 0 && size > size_max)
        size_max = size;
    if (size > size_max)
        return hf__fail(HF_EINVAL, "size_initial_bytes is larger than size_max_bytes");
    size = hf__whole_pages(size);
    size_max = hf__whole_pages(size_max);
    int code = probe_size_max(size_max, size, options->engine == HF_ENGINE_LOG, &size_max);
    if (code == 0)
        code = hf__constants_new(&constants, options, options->engine, size_max);
    if (code != 0)
        return code;
    struct new_file what = {&constants, size, options->size_initial_bytes != 0 ? size : 0};
    return hf__create_with(path, options->permissions, write_new, &what);
}
