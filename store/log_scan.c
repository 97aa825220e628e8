/* SPDX-License-Identifier: MIT */
/*
 * log_scan.c - reading the log files of a store, whoever has it open
 *
 * Everything is read with pread through descriptors of its own; no lock is taken and nothing
 * written. A handle is made only to carry names and descriptors: it is never attached.
 *
 * A writer beside us may switch files while we read. A file whose header is not the same after the
 * walk is read anew.
 */
#include "store.h"

#include "base/hash.h"
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX 20

struct scan {
    hf_store *store;
    struct hf__file_header header;
    hf_log_visit visit;
    void *context;
    int file;
};

static int visit(struct scan *scan, const struct hf__log_cursor *cursor)
{
    const struct hf__record *record = hf__cursor_record(cursor);
    const struct hf__record_range *ranges = hf__record_ranges(record);
    if (scan->visit == NULL)
        return 0;
    hf_log_record out = {.file = (uint32_t)scan->file,
                         .commit = record->commit,
                         .offset = cursor->at,
                         .length_bytes = record->length_bytes,
                         .data_bytes = record->length_bytes - hf__record_data(record->range_count),
                         .range_count = record->range_count,
                         .used_end = record->used_end,
                         .window_start = record->window_start,
                         .window_end = record->window_end,
                         .synced_through = record->synced_through,
                         .time_ns = record->time_ns,
                         .pid = record->pid};
    hf_log_range *copy = calloc(record->range_count + 1, sizeof *copy);
    if (copy == NULL)
        return hf__fail(HF_ENOMEM, "a record's ranges");
    for (uint64_t i = 0; i < record->range_count; i++)
        copy[i] = (hf_log_range){ranges[i].offset, ranges[i].size_bytes};
    out.ranges = copy;
    const int code = scan->visit(scan->context, &out);
    free(copy);
    return code == 0 ? 0 : hf__fail(HF_ECANCELLED, "hf_log_scan");
}

/* Is there, at this place, something of a record? Else why not. */
static int judge(const struct hf__log_cursor *cursor, uint64_t at, uint32_t *reason)
{
    static const struct hf__record nothing;
    struct hf__record record;
    ssize_t n = hf__read_at(cursor->fd, &record, sizeof record, at);
    if (n < 0)
        return hf__fail_os(errno, cursor->path, "read");
    if (n < (ssize_t)sizeof record)
        *reason = HF_LOG_END_FILE;
    else if (memcmp(&record, &nothing, sizeof record) == 0)
        *reason = HF_LOG_END_UNUSED;
    else if (record.magic != HF__RECORD_MAGIC ||
             record.check != hf__hash(&record, offsetof(struct hf__record, check), cursor->salt))
        *reason = HF_LOG_END_OTHER;
    else if (record.commit != cursor->commit + 1 || record.chain != cursor->chain)
        *reason = HF_LOG_END_CHAIN;
    else
        *reason = HF_LOG_END_TORN;
    return 0;
}

/* The next record would stand right behind the last one or on the next block. What tells more
 * counts. */
static int why_it_ends(const struct hf__log_cursor *cursor, uint32_t *out)
{
    const uint64_t block = hf__whole_blocks(cursor->end);
    uint32_t here, there;
    int code = judge(cursor, cursor->end, &here);
    if (code == 0)
        code = judge(cursor, block, &there);
    if (code == 0)
        code = hf__log_acknowledged_beyond(cursor);
    if (code < 0)
        return code;
    *out = code == 1 ? HF_LOG_END_DAMAGED : here > there ? here : there;
    return 0;
}

static int follow(struct scan *scan, struct hf__log_cursor *cursor, hf_log_file *out)
{
    int found, code = 0;
    while (code == 0 && (found = hf__cursor_next(cursor)) != 0) {
        code = found < 0 ? found : visit(scan, cursor);
        out->records += code == 0;
    }
    return code;
}

static int walk(struct scan *scan, const struct hf__log_header *header, hf_log_file *out)
{
    struct hf__log_cursor cursor = {.bytes = NULL};
    uint64_t before;
    int code;
    hf__cursor_set(&cursor, scan->store, scan->file, header->salt, header->base, header->salt,
                   HF__LOG_FIRST);
    do { /* A writer beside us may have come further while we looked why it ends. */
        code = follow(scan, &cursor, out);
        before = out->records;
        if (code == 0)
            code = why_it_ends(&cursor, &out->end_reason);
        if (code == 0)
            code = follow(scan, &cursor, out);
    } while (code == 0 && out->records != before);
    out->last_commit = cursor.commit;
    out->end = cursor.end;
    free(cursor.bytes);
    return code;
}

static int open_file(struct scan *scan)
{
    struct hf__log *log = &scan->store->log;
    const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int fd = hf__os->open(log->paths[scan->file], flags, 0);
    if (fd < 0)
        return errno == ENOENT ? 0 : hf__fail_os(errno, log->paths[scan->file], "open");
    log->fds[scan->file] = fd;
    return 0;
}

static int scan_file(struct scan *scan, hf_log_file *out)
{
    hf_store *store = scan->store;
    struct hf__log_header before[2], after[2];
    struct stat st;
    unsigned valid, still;
    const int fd = store->log.fds[scan->file];
    if (fd < 0) {
        *out = (hf_log_file){.end_reason = HF_LOG_END_HEADER};
        return 0;
    }
    for (int round = 0; round < ROUNDS_MAX; round++) {
        *out = (hf_log_file){.exists = 1, .end_reason = HF_LOG_END_HEADER};
        int code = hf__log_headers(store, 0, before, &valid);
        if (code == 0 && hf__os->fstat(fd, &st) != 0)
            code = hf__fail_os(errno, store->log.paths[scan->file], "fstat");
        if (code != 0)
            return code;
        const struct hf__log_header *header = &before[scan->file];
        out->file_bytes = (uint64_t)st.st_size;
        out->valid = valid >> scan->file & 1;
        if (out->valid) {
            out->generation = header->generation;
            out->epoch = header->epoch;
            out->base = header->base;
            out->used_end = header->used_end;
            code = walk(scan, header, out);
        }
        if (code == 0)
            code = hf__log_headers(store, 0, after, &still);
        if (code != 0)
            return code;
        if (memcmp(header, &after[scan->file], sizeof *header) == 0)
            return 0;
    }
    return hf__fail_path(HF_EBUSY, 0, store->path,
                         "its log is switched faster than it can be read");
}

static void decide(const struct scan *scan, hf_log_summary *out)
{
    hf_log_file *files = out->files;
    out->engine = scan->store->constants.engine;
    out->state = scan->header.state;
    out->generation = scan->header.generation;
    for (int i = 0; i < 2; i++)
        files[i].current = files[i].valid && files[i].generation == out->generation &&
                           out->state >= HF_STATE_LOGGED;
    for (int i = 0; i < 2; i++)
        files[i].counts = files[i].current &&
                          !(files[1 - i].current && files[1 - i].epoch > files[i].epoch);
}

static int scan_all(struct scan *scan, hf_log_summary *out)
{
    hf_store *store = scan->store;
    struct stat st;
    int code = 0;
    store->fd = hf__os->open(store->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (store->fd < 0)
        return hf__fail_os(errno, store->path, "open");
    if (hf__os->fstat(store->fd, &st) != 0)
        code = hf__fail_os(errno, store->path, "fstat");
    else if (!S_ISREG(st.st_mode))
        code = hf__fail_path(HF_ENOTSTORE, 0, store->path, "not a regular file");
    /* A store has a header of its own kind: what has none is read no further. */
    if (code == 0)
        code = hf__header_read(store->fd, store->path, true, &scan->header);
    if (code == 0)
        store->constants = scan->header.constants;
    for (scan->file = 0; code == 0 && scan->file < 2; scan->file++)
        code = open_file(scan);
    for (scan->file = 0; code == 0 && scan->file < 2; scan->file++)
        code = scan_file(scan, &out->files[scan->file]);
    /* Last, so that a log that was begun while we read is told to belong to the store. */
    if (code == 0)
        code = hf__header_read(store->fd, store->path, true, &scan->header);
    if (code == 0) {
        out->open_pid = hf__locks_find_pid(store->lock_path, store->fd, false);
        decide(scan, out);
    }
    hf__os->close(store->fd);
    store->fd = -1;
    return code;
}

int hf_log_scan(const char *path, hf_log_visit visit_record, void *context, hf_log_summary *out)
{
    static const hf_options defaults = HF_OPTIONS_INIT;
    struct scan scan = {.visit = visit_record, .context = context};
    hf_log_summary summary = {.engine = 0};
    if (path == NULL || out == NULL)
        return hf__fail(HF_EINVAL, "hf_log_scan");
    int code = hf__store_new(&scan.store, HF__BACKING_FILE, &defaults);
    if (code != 0)
        return code;
    code = hf__paths_set(scan.store, path);
    if (code == 0)
        code = scan_all(&scan, &summary);
    if (code == 0)
        *out = summary;
    hf_error failure = *hf_last_error();
    hf__store_free(scan.store);
    if (code != 0)
        hf__fail_again(&failure);
    return code;
}
