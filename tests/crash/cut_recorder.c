/* SPDX-License-Identifier: MIT */
/*
 * cut_recorder.c - the recording table of system calls
 *
 * One recording at a time. For each file there is a shadow: the content that its page cache has, as
 * far as it is known. A descriptor is known by its number from open to close.
 */
#include "cut_mappings.h"
#include "cut_recorder.h"

#include "holdfast.h"
#include "store/layout.h"
#include "store/log_format.h"
#include "tests/support/campaign.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

enum { FDS = 4096, DIRECTORY_FD = -2 };
#define SHADOW_BYTES ((size_t)40 << 20)

struct shadow {
    unsigned char *bytes; /* SHADOW_BYTES, zero behind the end */
    uint64_t size_bytes;
};

static struct cut_trace *to;
static struct hf__os table;
static struct shadow shadows[CUT_FILES];
static int names[CUT_NAMES];
static int fd_file[FDS];
static int window_file = -1; /* mapped shared and writable */
static char data_path[1024];
static uint64_t window_from;
static struct cut_mappings mappings;
static unsigned char holes[SHADOW_BYTES / 4096]; /* pages of the data file without disk blocks      */
static bool blocks_unsynced;                     /* some got blocks since the last sync             */
static const char *fault;                        /* a rule of docs/space.md that was broken          */
static unsigned fail_data, fail_log; /* so many syncs from now on; 0: none */
static bool fail_write;          /* of the next record */
static void (*during)(void *);
static void *during_context;

/* Behind "NAME.new-": PID-NUMBER, and then the name's end, or a spare of the spare. */
static enum cut_name spare_of(const char *behind, enum cut_name spare)
{
    const char *at = behind + strspn(behind, "0123456789");
    if (*at != '-' || strspn(at + 1, "0123456789abcdef") != 8)
        return CUT_NAMES;
    at += 9;
    return *at == '\0' ? spare : strncmp(at, ".new-", 5) == 0 ? CUT_SPARE_SPARE : CUT_NAMES;
}

enum cut_name cut_name_of(const char *path)
{
    static const char *const whole[CUT_NAMES] = {[CUT_DATA] = "s.hf",
                                                 [CUT_LOG0] = "s.hf-log0",
                                                 [CUT_LOG1] = "s.hf-log1",
                                                 [CUT_TARGET] = "t.hf",
                                                 [CUT_FULL] = "a.full",
                                                 [CUT_MORE] = "a.more",
                                                 [CUT_FULL_PART] = "a.full.part",
                                                 [CUT_MORE_PART] = "a.more.part"};
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    for (int i = 0; i < CUT_NAMES; i++)
        if (whole[i] != NULL && strcmp(name, whole[i]) == 0)
            return (enum cut_name)i;
    if (strncmp(name, "s.hf.new-", 9) == 0)
        return spare_of(name + 9, CUT_SPARE);
    return strncmp(name, "t.hf.new-", 9) == 0 ? spare_of(name + 9, CUT_TARGET_SPARE) : CUT_NAMES;
}

/* ---- events ---------------------------------------------------------------------------------- */

static struct cut_event *push(enum cut_kind kind, int file)
{
    if (to->count == to->room) {
        to->room = to->room == 0 ? 256 : 2 * to->room;
        to->events = realloc(to->events, to->room * sizeof *to->events);
        if (to->events == NULL)
            exit(2);
    }
    to->events[to->count] = (struct cut_event){.kind = kind, .file = file};
    return &to->events[to->count++];
}

static void note_write(int file, const void *bytes, uint64_t size_bytes, uint64_t offset)
{
    struct shadow *shadow = &shadows[file];
    if (offset + size_bytes > SHADOW_BYTES) {
        fprintf(stderr, "a file longer than the test is made for\n");
        exit(2);
    }
    struct cut_event *event = push(CUT_WRITE, file);
    event->offset = offset;
    event->size_bytes = size_bytes;
    event->bytes = must_alloc(size_bytes);
    memcpy(event->bytes, bytes, size_bytes);
    memcpy(shadow->bytes + offset, bytes, size_bytes);
    if (offset + size_bytes > shadow->size_bytes)
        shadow->size_bytes = offset + size_bytes;
}

/* ---- holes ----------------------------------------------------------------------------------- */

/* Punched: without blocks. Then whoever writes there has asked for them before, and they are on stable
 * storage before a record is written: on a full disk a write, or a replay, would die of it. */
static void note_blocks(int file, uint64_t offset, uint64_t size_bytes, bool taken)
{
    const uint64_t end = offset + size_bytes < SHADOW_BYTES ? offset + size_bytes : SHADOW_BYTES;
    if (file != names[CUT_DATA])
        return;
    for (uint64_t page = offset / 4096; page * 4096 < end; page++) {
        blocks_unsynced |= !taken && holes[page] != 0;
        holes[page] = taken;
    }
}

static void expect_blocks(int file, uint64_t offset, uint64_t size_bytes)
{
    if (file != names[CUT_DATA] || size_bytes == 0)
        return;
    for (uint64_t page = offset / 4096; page <= (offset + size_bytes - 1) / 4096; page++)
        if (holes[page] != 0)
            fault = "something is written into a hole";
}

struct punched {
    uint64_t from, to, base; /* of the data file; of the log                                      */
    uint32_t file;           /* that counts                                                       */
};

static int look_at_record(void *user, const hf_log_record *record)
{
    const struct punched *punched = user;
    if (record->file != punched->file || record->commit <= punched->base)
        return 0;
    for (uint64_t i = 0; i < record->range_count; i++) {
        const hf_log_range *range = &record->ranges[i];
        for (uint64_t at = range->offset, end = at + range->size_bytes; at < end;) {
            const struct hf__piece piece = hf__piece_at(at, end);
            if (piece.file_offset < punched->to &&
                piece.file_offset + piece.size_bytes > punched->from)
                fault = "a hole where a record above the base writes";
            at += piece.size_bytes;
        }
    }
    return 0;
}

static void expect_no_record(uint64_t offset, uint64_t size_bytes)
{
    struct punched punched = {.from = offset, .to = offset + size_bytes};
    hf_log_summary summary;
    hf__os = &hf__os_system;
    if (hf_log_scan(data_path, NULL, NULL, &summary) == 0)
        for (uint32_t i = 0; i < 2; i++)
            if (summary.files[i].counts) {
                punched.file = i;
                punched.base = summary.files[i].base;
                (void)hf_log_scan(data_path, look_at_record, &punched, &summary);
            }
    hf__os = &table;
}

/* What was stored through the mapping since the last look, as writes of runs of sectors. */
static void look_at_window(void)
{
    static unsigned char page[1 << 16];
    if (window_file < 0)
        return;
    struct shadow *shadow = &shadows[window_file];
    const size_t before = to->count;
    int fd = open(data_path, O_RDONLY | O_CLOEXEC);
    for (uint64_t at = window_from; fd >= 0 && at < shadow->size_bytes; at += sizeof page) {
        ssize_t n = pread(fd, page, sizeof page, (off_t)at);
        if (n <= 0 || memcmp(page, shadow->bytes + at, (size_t)n) == 0)
            continue;
        for (ssize_t i = 0; i < n; i += 4096) {
            ssize_t run = n - i < 4096 ? n - i : 4096;
            if (memcmp(page + i, shadow->bytes + at + i, (size_t)run) != 0)
                expect_blocks(window_file, at + (uint64_t)i, (uint64_t)run);
            if (memcmp(page + i, shadow->bytes + at + i, (size_t)run) != 0)
                note_write(window_file, page + i, (uint64_t)run, at + (uint64_t)i);
        }
    }
    if (fd >= 0)
        close(fd);
    for (size_t i = before; i + 1 < to->count; i++)
        to->events[i].joined = true;
}

static int file_of(int fd)
{
    return fd >= 0 && fd < FDS ? fd_file[fd] : -1;
}

/* The program has something to do in the middle of a copy; not in the middle of that. */
static void in_the_middle(int file)
{
    void (*call)(void *) = during;
    if (call == NULL || file < 0 || file != names[CUT_TARGET_SPARE])
        return;
    during = NULL;
    call(during_context);
    if (during == NULL)
        during = call;
}

static void note_size(int file)
{
    struct shadow *shadow = &shadows[file];
    struct cut_event *event = push(CUT_SIZE, file);
    event->size_bytes = shadow->size_bytes;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static int record_open(const char *path, int flags, mode_t mode)
{
    const enum cut_name name = cut_name_of(path);
    int fd = hf__os_system.open(path, flags, mode);
    if (fd < 0)
        return fd;
    if (fd >= FDS)
        exit(2);
    fd_file[fd] = (flags & O_DIRECTORY) != 0 ? DIRECTORY_FD : -1;
    if (name == CUT_NAMES)
        return fd;
    if ((flags & O_CREAT) != 0) {
        look_at_window();
        if (to->files == CUT_FILES) {
            fprintf(stderr, "more files than the test is made for\n");
            exit(2);
        }
        names[name] = to->files++;
        shadows[names[name]] = (struct shadow){calloc(1, SHADOW_BYTES), 0};
        push(CUT_CREATE, names[name])->name = name;
        if (name >= CUT_PLACES && (flags & O_EXCL) == 0)
            exit(2); /* it would have to be emptied */
    }
    fd_file[fd] = names[name];
    return fd;
}

static int record_close(int fd)
{
    if (fd >= 0 && fd < FDS)
        fd_file[fd] = -1;
    return hf__os_system.close(fd);
}

static bool is_record(const void *bytes, size_t size_bytes)
{
    return size_bytes >= sizeof(struct hf__record) &&
           ((const struct hf__record *)bytes)->magic == HF__RECORD_MAGIC;
}

static ssize_t record_pwrite(int fd, const void *bytes, size_t size_bytes, off_t offset)
{
    const int file = file_of(fd);
    in_the_middle(file);
    if (file >= 0)
        look_at_window();
    ssize_t n = hf__os_system.pwrite(fd, bytes, size_bytes, offset);
    if (file >= 0 && n > 0)
        expect_blocks(file, (uint64_t)offset, (uint64_t)n);
    if (file >= 0 && file != names[CUT_DATA] && blocks_unsynced && is_record(bytes, size_bytes))
        fault = "a record before the blocks in holes are stable";
    if (file >= 0 && n > 0)
        note_write(file, bytes, (uint64_t)n, (uint64_t)offset);
    if (fail_write && file >= 0 && file != names[CUT_DATA] && is_record(bytes, size_bytes)) {
        fail_write = false;
        errno = EIO;
        return -1;
    }
    return n;
}

static ssize_t record_write(int fd, const void *bytes, size_t size_bytes)
{
    const int file = file_of(fd);
    const off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t n = hf__os_system.write(fd, bytes, size_bytes);
    if (file >= 0 && n > 0)
        note_write(file, bytes, (uint64_t)n, (uint64_t)at);
    return n;
}

/* One piece of a copy inside the kernel: short is no failure. Zeros are holes. */
static ssize_t copy_piece(int from_fd, off_t from, int fd, off_t at, size_t size_bytes)
{
    static unsigned char piece[1 << 15], zeros[1 << 15];
    const size_t size = size_bytes < sizeof piece ? size_bytes : sizeof piece;
    ssize_t n = hf__os_system.pread(from_fd, piece, size, from);
    if (n <= 0 || memcmp(piece, zeros, (size_t)n) == 0)
        return n;
    if (hf__os_system.pwrite(fd, piece, (size_t)n, at) != n)
        exit(2);
    note_write(file_of(fd), piece, (uint64_t)n, (uint64_t)at);
    return n;
}

static ssize_t record_copy_range(int from_fd, off_t from, int fd, off_t at, size_t size_bytes)
{
    in_the_middle(file_of(fd));
    look_at_window();
    return copy_piece(from_fd, from, fd, at, size_bytes);
}

/* The disk that is recorded can clone, whatever this one can. It is one step for whoever looks at the files,
 * but what it has changed is stable only after a sync. */
static int record_clone(int fd, int from_fd)
{
    const int file = file_of(fd);
    struct stat st;
    in_the_middle(file);
    look_at_window();
    if (fstat(from_fd, &st) != 0 || hf__os_system.ftruncate(fd, st.st_size) != 0 || file < 0)
        exit(2);
    const size_t before = to->count;
    shadows[file].size_bytes = (uint64_t)st.st_size;
    note_size(file);
    for (off_t at = 0; at < st.st_size;) {
        ssize_t n = copy_piece(from_fd, at, fd, at, (size_t)(st.st_size - at));
        if (n <= 0)
            exit(2);
        at += n;
    }
    for (size_t i = before; i + 1 < to->count; i++)
        to->events[i].joined = true;
    in_the_middle(file);
    return 0;
}

static int record_sync(int fd)
{
    const int file = file_of(fd);
    if (file == DIRECTORY_FD) {
        push(CUT_DIRECTORY, -1);
    } else if (file >= 0) {
        look_at_window();
        unsigned *left = file == names[CUT_DATA] ? &fail_data : &fail_log;
        const bool fails = *left != 0 && --*left == 0;
        push(fails ? CUT_SYNC_FAILED : CUT_SYNC, file);
        if (fails) {
            errno = EIO;
            return -1;
        }
        blocks_unsynced &= file != names[CUT_DATA];
    }
    return 0; /* in the recording's world nothing else needs to be stable */
}

static int record_ftruncate(int fd, off_t size_bytes)
{
    const int file = file_of(fd);
    int result = hf__os_system.ftruncate(fd, size_bytes);
    if (result != 0 || file < 0)
        return result;
    struct shadow *shadow = &shadows[file];
    look_at_window();
    if ((uint64_t)size_bytes < shadow->size_bytes) {
        uint64_t cut = shadow->size_bytes - (uint64_t)size_bytes;
        unsigned char *zeros = calloc(1, cut);
        if (zeros == NULL)
            exit(2);
        note_write(file, zeros, cut, (uint64_t)size_bytes);
        free(zeros);
        for (uint64_t page = ((uint64_t)size_bytes + 4095) / 4096;
             file == names[CUT_DATA] && page < sizeof holes; page++)
            holes[page] = 0; /* whoever makes it longer allocates, and recovery sees that it is short */
    }
    shadow->size_bytes = (uint64_t)size_bytes;
    note_size(file);
    return 0;
}

static int record_fallocate(int fd, int mode, off_t offset, off_t size_bytes)
{
    const int file = file_of(fd);
    int result = hf__os_system.fallocate(fd, mode, offset, size_bytes);
    if (result != 0 || file < 0)
        return result;
    look_at_window();
    if ((mode & FALLOC_FL_PUNCH_HOLE) != 0) { /* a sector of it is zeros, or as it was */
        uint64_t end = (uint64_t)(offset + size_bytes);
        end = end < shadows[file].size_bytes ? end : shadows[file].size_bytes;
        if ((uint64_t)offset >= end)
            return 0;
        unsigned char *zeros = calloc(1, end - (uint64_t)offset);
        if (zeros == NULL)
            exit(2);
        note_write(file, zeros, end - (uint64_t)offset, (uint64_t)offset);
        free(zeros);
        note_blocks(file, (uint64_t)offset, end - (uint64_t)offset, true);
        expect_no_record((uint64_t)offset, end - (uint64_t)offset);
        return 0;
    }
    note_blocks(file, (uint64_t)offset, (uint64_t)size_bytes, false);
    if ((uint64_t)(offset + size_bytes) > shadows[file].size_bytes) {
        shadows[file].size_bytes = (uint64_t)(offset + size_bytes);
        if (shadows[file].size_bytes > SHADOW_BYTES)
            exit(2);
        note_size(file);
    }
    return 0;
}

static int note_rename(const char *path, const char *target, int result)
{
    const enum cut_name name = cut_name_of(target), from = cut_name_of(path);
    if (result == 0 && name != CUT_NAMES && from != CUT_NAMES) {
        look_at_window();
        names[name] = names[from];
        names[from] = -1;
        struct cut_event *event = push(CUT_RENAME, names[name]);
        event->name = name;
        event->from = from;
    }
    return result;
}

static int record_rename_new(const char *from, const char *target)
{
    return note_rename(from, target, hf__os_system.rename_new(from, target));
}

static int record_rename(const char *from, const char *target)
{
    return note_rename(from, target, hf__os_system.rename(from, target));
}

static int record_unlink(const char *path)
{
    const enum cut_name name = cut_name_of(path);
    int result = hf__os_system.unlink(path);
    if (result == 0 && name != CUT_NAMES) {
        look_at_window();
        push(CUT_UNLINK, names[name])->name = name;
        names[name] = -1;
    }
    return result;
}

static void *record_mmap(void *address, size_t size_bytes, int protection, int flags, int fd,
                         off_t offset)
{
    const int file = file_of(fd);
    if (file >= 0)
        look_at_window(); /* a window's end is a mapping over it */
    void *at = hf__os_system.mmap(address, size_bytes, protection, flags, fd, offset);
    if (file < 0 || at == MAP_FAILED)
        return at;
    if (cut_mappings_add(&mappings, at, size_bytes, protection, flags, file, (uint64_t)offset)) {
        if (file != names[CUT_DATA])
            exit(2); /* it isn't looked at */
        if (window_file != file || (uint64_t)offset < window_from)
            window_from = (uint64_t)offset;
        window_file = file;
    } else if ((flags & MAP_PRIVATE) != 0) {
        window_file = -1;
    }
    return at;
}

static void note_store(int file, const void *bytes, uint64_t size_bytes, uint64_t offset)
{
    expect_blocks(file, offset, size_bytes);
    note_write(file, bytes, size_bytes, offset);
}

static void record_store(void *target, const void *from, size_t size_bytes)
{
    look_at_window();
    hf__os_system.store(target, from, size_bytes);
    cut_mappings_each(&mappings, target, from, size_bytes, note_store);
}

static int record_munmap(void *address, size_t size_bytes)
{
    look_at_window();
    cut_mappings_drop(&mappings, address, size_bytes);
    return hf__os_system.munmap(address, size_bytes);
}

/* ---- a recording ----------------------------------------------------------------------------- */

static void read_start(enum cut_name name, const char *path)
{
    struct cut_start *start = &to->starts[name];
    struct stat st;
    *start = (struct cut_start){.file = -1};
    names[name] = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    start->file = names[name] = to->files++;
    struct shadow *shadow = &shadows[start->file];
    *shadow = (struct shadow){calloc(1, SHADOW_BYTES), 0};
    if (shadow->bytes == NULL || fstat(fd, &st) != 0 ||
        pread(fd, shadow->bytes, SHADOW_BYTES, 0) != st.st_size)
        exit(2);
    shadow->size_bytes = start->size_bytes = (uint64_t)st.st_size;
    start->bytes = must_alloc(start->size_bytes);
    memcpy(start->bytes, shadow->bytes, start->size_bytes);
    close(fd);
}

void cut_record_start(struct cut_trace *trace, const char *directory, struct cut_mark mark)
{
    static const char *const suffixes[] = {"", "-log0", "-log1"};
    to = trace;
    during = NULL;
    *trace = (struct cut_trace){.mark = mark, .first_commit = mark.acknowledged};
    snprintf(data_path, sizeof data_path, "%s/s.hf", directory);
    for (int name = CUT_DATA; name <= CUT_LOG1; name++) {
        char path[1100];
        snprintf(path, sizeof path, "%s%s", data_path, suffixes[name]);
        read_start((enum cut_name)name, path);
    }
    for (int name = CUT_LOG1 + 1; name < CUT_NAMES; name++)
        trace->starts[name].file = names[name] = -1;
    for (int fd = 0; fd < FDS; fd++)
        fd_file[fd] = -1;
    window_file = -1;
    fail_data = fail_log = 0;
    fail_write = blocks_unsynced = false;
    fault = NULL;
    memset(holes, 0, sizeof holes);
    table = hf__os_system;
    table.open = record_open;
    table.close = record_close;
    table.pwrite = table.pwrite_apart = record_pwrite;
    table.write = record_write;
    table.clone = record_clone;
    table.copy_range = record_copy_range;
    table.fdatasync = table.fsync = record_sync;
    table.ftruncate = record_ftruncate;
    table.fallocate = record_fallocate;
    table.rename_new = record_rename_new;
    table.rename = record_rename;
    table.unlink = record_unlink;
    table.mmap = record_mmap;
    table.munmap = record_munmap;
    table.store = table.store_past = record_store;
    hf__os = &table;
}

void cut_record_mark(struct cut_mark mark)
{
    look_at_window();
    push(CUT_MARK, -1)->mark = mark;
}

const char *cut_record_fault(void)
{
    return fault;
}

void cut_record_fail_sync(bool of_data, unsigned nth)
{
    *(of_data ? &fail_data : &fail_log) = nth;
}

void cut_record_during(void (*call)(void *), void *context)
{
    during = call;
    during_context = context;
}

int cut_record_link(const char *path, const char *target)
{
    const enum cut_name name = cut_name_of(target);
    if (link(path, target) != 0)
        return -1;
    names[name] = names[cut_name_of(path)];
    push(CUT_LINK, names[name])->name = name;
    return 0;
}

void cut_record_fail_write(bool fails)
{
    fail_write = fails;
}

void cut_record_end(void)
{
    hf__os = &hf__os_system;
    for (int file = 0; file < CUT_FILES; file++) {
        free(shadows[file].bytes);
        shadows[file].bytes = NULL;
    }
    window_file = -1;
}

void cut_trace_free(struct cut_trace *trace)
{
    for (size_t i = 0; i < trace->count; i++)
        free(trace->events[i].bytes);
    free(trace->events);
    for (int name = 0; name < CUT_NAMES; name++)
        free(trace->starts[name].bytes);
    *trace = (struct cut_trace){.count = 0};
}
