/* SPDX-License-Identifier: MIT */
/*
 * cut_scratch.c - the files that a state becomes
 *
 * They are made once and mapped, so that a state costs a few copies and no call. What recovery does
 * to them afterwards is noticed by a table of system calls: what it writes is put right by the next
 * state. The log files stay where they are; whether there is one under its name is told by the table.
 * It also shows another boot's id than the one under which the states were recorded.
 */
#include "cut_mappings.h"
#include "cut_states.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#define MAP_BYTES ((size_t)40 << 20)
enum { FDS = 4096 };

static struct cut_scratch *in_use;
static struct hf__os table;
static int fd_place[FDS]; /* place + 1 */
static char boot_path[700];
static struct cut_mappings mappings;

static void touch_all(int place, uint64_t from, uint64_t size_bytes)
{
    struct cut_disk *disk = in_use->disk;
    const int number = in_use->file[place];
    if (disk == NULL || number < 0)
        return;
    struct cut_disk_file *file = &disk->files[number];
    for (uint64_t at = from / CUT_SECTOR; at * CUT_SECTOR < from + size_bytes; at++)
        if (!file->touched[at]) {
            file->touched[at] = 1;
            file->touched_list[file->touched_count++] = (uint32_t)at;
        }
}

static int scratch_open(const char *path, int flags, mode_t mode)
{
    const enum cut_name name = cut_name_of(path);
    if (strcmp(path, "/proc/sys/kernel/random/boot_id") == 0)
        path = boot_path;
    if ((int)name < CUT_PLACES) {
        if (!in_use->present[name] && (flags & O_CREAT) == 0) {
            errno = ENOENT;
            return -1;
        }
        if (!in_use->present[name] && ftruncate(in_use->fds[name], 0) != 0)
            exit(2);
        if (!in_use->present[name])
            in_use->file[name] = -1; /* made anew */
        in_use->present[name] = true;
        flags &= ~(O_CREAT | O_EXCL);
    }
    int fd = hf__os_system.open(path, flags, mode);
    if (fd >= FDS)
        exit(2);
    if (fd >= 0)
        fd_place[fd] = (int)name < CUT_PLACES ? (int)name + 1 : 0;
    return fd;
}

static int scratch_close(int fd)
{
    if (fd >= 0 && fd < FDS)
        fd_place[fd] = 0;
    return hf__os_system.close(fd);
}

static ssize_t scratch_pwrite(int fd, const void *bytes, size_t size_bytes, off_t offset)
{
    if (fd >= 0 && fd < FDS && fd_place[fd] != 0)
        touch_all(fd_place[fd] - 1, (uint64_t)offset, size_bytes);
    return hf__os_system.pwrite(fd, bytes, size_bytes, offset);
}

static int scratch_unlink(const char *path)
{
    const enum cut_name name = cut_name_of(path);
    if (name != CUT_LOG0 && name != CUT_LOG1)
        return hf__os_system.unlink(path);
    if (!in_use->present[name]) {
        errno = ENOENT;
        return -1;
    }
    in_use->present[name] = false;
    return 0;
}

static int scratch_sync(int fd)
{
    (void)fd;
    return 0;
}

static void *scratch_mmap(void *address, size_t size_bytes, int protection, int flags, int fd,
                          off_t offset)
{
    void *at = hf__os_system.mmap(address, size_bytes, protection, flags, fd, offset);
    if (fd < 0 || fd >= FDS || fd_place[fd] == 0 || at == MAP_FAILED)
        return at;
    if (cut_mappings_add(&mappings, at, size_bytes, protection, flags, 0, (uint64_t)offset))
        in_use->file[fd_place[fd] - 1] = -1; /* what is stored through it isn't seen */
    return at;
}

static int scratch_munmap(void *at, size_t size_bytes)
{
    cut_mappings_drop(&mappings, at, size_bytes);
    return hf__os_system.munmap(at, size_bytes);
}

static void touch_data(int file, const void *bytes, uint64_t size_bytes, uint64_t offset)
{
    (void)file;
    (void)bytes;
    touch_all(CUT_DATA, offset, size_bytes);
}

static void scratch_store(void *to, const void *from, size_t size_bytes)
{
    cut_mappings_each(&mappings, to, from, size_bytes, touch_data);
    hf__os_system.store(to, from, size_bytes);
}

void cut_place_path(const struct cut_scratch *scratch, enum cut_name place, char out[800])
{
    static const char *const names[CUT_PLACES] = {"s.hf", "s.hf-log0", "s.hf-log1",
                                                  "t.hf", "a.full",    "a.more"};
    snprintf(out, 800, "%s/%s", scratch->directory, names[place]);
}

void cut_scratch_start(struct cut_scratch *scratch, const char *directory)
{
    *scratch = (struct cut_scratch){.disk = NULL};
    snprintf(scratch->directory, sizeof scratch->directory, "%s", directory);
    snprintf(scratch->path, sizeof scratch->path, "%s/s.hf", directory);
    if (mkdir(directory, 0700) != 0 && errno != EEXIST)
        exit(2);
    for (int place = 0; place < CUT_PLACES; place++) {
        char path[800];
        cut_place_path(scratch, (enum cut_name)place, path);
        scratch->fds[place] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        scratch->maps[place] = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                                    scratch->fds[place], 0);
        scratch->file[place] = -1;
        if (scratch->fds[place] < 0 || scratch->maps[place] == MAP_FAILED)
            exit(2);
    }
    snprintf(boot_path, sizeof boot_path, "%s/boot_id", directory);
    int fd = open(boot_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    static const char id[] = "00000000-1111-2222-3333-444444444444\n";
    if (fd < 0 || write(fd, id, sizeof id - 1) != (ssize_t)sizeof id - 1)
        exit(2);
    close(fd);
}

void cut_scratch_end(struct cut_scratch *scratch)
{
    for (int place = 0; place < CUT_PLACES; place++) {
        munmap(scratch->maps[place], MAP_BYTES);
        close(scratch->fds[place]);
    }
}

void cut_scratch_use(struct cut_scratch *scratch)
{
    in_use = scratch;
    table = hf__os_system;
    table.open = scratch_open;
    table.close = scratch_close;
    table.pwrite = table.pwrite_apart = scratch_pwrite;
    table.unlink = scratch_unlink;
    table.fdatasync = table.fsync = scratch_sync;
    table.mmap = scratch_mmap;
    table.munmap = scratch_munmap;
    table.store = table.store_past = scratch_store;
    hf__os = &table;
}

void cut_scratch_copy(const struct cut_scratch *scratch, const char *directory)
{
    static const char *const suffixes[] = {"", "-log0", "-log1"};
    for (int place = 0; place <= CUT_LOG1; place++) {
        char path[800];
        struct stat st;
        snprintf(path, sizeof path, "%s/s.hf%s", directory, suffixes[place]);
        unlink(path);
        if (!scratch->present[place])
            continue;
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || fstat(scratch->fds[place], &st) != 0 ||
            write(fd, scratch->maps[place], (size_t)st.st_size) != st.st_size)
            exit(2);
        close(fd);
    }
}
