/* SPDX-License-Identifier: MIT */
/*
 * log.c - the log files: headers, records, and the words that say where the log stands
 *
 * Invariants
 *   L1  a record is believed only if its header's check (seeded with the epoch's salt), its commit
 *       number, the check of the record before it and the check of its content are right: so it was
 *       written in this epoch, behind that very record
 *   L2  nothing of a record is used before all of that has been looked at, its length included
 *   L3  of fields that belong together either all are the old ones or all are the new ones: they are
 *       written into the copy that doesn't count, which one store then makes count
 */
#include "log.h"

#include "base/bug.h"
#include "base/hash.h"
#include "base/os.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ZEROS ((size_t)1 << 18)
#define RECORD_LARGE (UINT64_C(16) << 10)

void hf__log_init(struct hf__log *log)
{
    *log = (struct hf__log){.fds = {-1, -1},
                            .opening = PTHREAD_MUTEX_INITIALIZER,
                            .window_start = UINT64_MAX,
                            .pid = getpid()};
    hf__tune_defaults(log);
    for (int file = 0; file < 2; file++)
        for (int i = 0; i < HF__LOG_SYNC_FDS; i++)
            log->sync_fds[file][i] = -1;
    hf__lines_init(&log->changed);
}

uint64_t hf__log_soon(const hf_store *store)
{
    return hf__os->now_ns() + hf__tuned(&store->log.gate_wait_ns);
}

static void each_fd(struct hf__log *log, void (*act)(int *fd))
{
    for (int file = 0; file < 2; file++) {
        act(&log->fds[file]);
        for (int i = 0; i < HF__LOG_SYNC_FDS; i++)
            act(&log->sync_fds[file][i]);
    }
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        hf__os->close(*fd);
    *fd = -1;
}

void hf__log_drop_fds(struct hf__log *log)
{
    each_fd(log, hf__drop_fd);
}

void hf__log_dispose(struct hf__log *log)
{
    each_fd(log, close_fd);
    free(log->paths[0]);
    free(log->paths[1]);
    free(log->reading.bytes);
    free(log->laying.bytes);
    free(log->record);
    free(log->spare);
    hf__lines_dispose(&log->changed);
    hf__log_init(log);
}

/* ---- files ----------------------------------------------------------------------------------- */

static int open_one(hf_store *store, int file, bool create, bool read_only)
{
    struct hf__log *log = &store->log;
    int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW;
    int fd = hf__os->open(log->paths[file], flags, 0);
    bool made = fd < 0 && errno == ENOENT && create;
    if (made)
        fd = hf__os->open(log->paths[file], flags | O_CREAT | O_EXCL, store->file_mode);
    if (fd < 0)
        return errno == ENOENT ? hf__fail_path(HF_ELOGMISSING, ENOENT, log->paths[file],
                                               "without it the last commits are lost")
                               : hf__fail_os(errno, log->paths[file], "open");
    /* Whoever may write the store may use its log, also when root was here first. */
    if (made) {
        (void)!hf__os->fchown(fd, store->undo.user, store->undo.group);
        (void)!hf__os->fchmod(fd, store->file_mode);
    }
    __atomic_store_n(&log->fds[file], fd, __ATOMIC_RELEASE);
    return 0;
}

static bool is_open(const struct hf__log *log, int file)
{
    return __atomic_load_n(&log->fds[file], __ATOMIC_ACQUIRE) >= 0;
}

/* The writer and the applier may come at once. */
int hf__log_open(hf_store *store, bool create, bool read_only)
{
    struct hf__log *log = &store->log;
    int code = 0;
    if (is_open(log, 0) && is_open(log, 1))
        return 0;
    /* A writer's handle that only looks now will append by the same descriptors. */
    read_only = read_only && store->role != HF__ROLE_WRITER;
    pthread_mutex_lock(&log->opening);
    for (int file = 0; code == 0 && file < 2; file++)
        if (!is_open(log, file))
            code = open_one(store, file, create, read_only);
    pthread_mutex_unlock(&log->opening);
    return code;
}

/* What can't be looked at may be there. */
static bool is_there(const char *path)
{
    struct stat st;
    return hf__os->stat(path, &st) == 0 || errno != ENOENT;
}

bool hf__log_leftovers(const hf_store *store)
{
    return is_there(store->log.paths[0]) || is_there(store->log.paths[1]);
}

static bool header_ok(const hf_store *store, const struct hf__log_header *header)
{
    return header->magic == HF__LOG_MAGIC &&
           header->check == hf__hash(header, offsetof(struct hf__log_header, check), 0) &&
           header->version == HF__FORMAT_VERSION && header->byte_order == HF__BYTE_ORDER &&
           header->epoch != 0 &&
           memcmp(header->uuid, store->constants.uuid, sizeof header->uuid) == 0;
}

int hf__log_headers(hf_store *store, uint64_t generation, struct hf__log_header out[2],
                    unsigned *valid)
{
    *valid = 0;
    for (int file = 0; file < 2; file++) {
        memset(&out[file], 0, sizeof out[file]);
        if (store->log.fds[file] < 0)
            continue;
        ssize_t n = hf__read_at(store->log.fds[file], &out[file], sizeof out[file], 0);
        if (n < 0)
            return hf__fail_os(errno, store->log.paths[file], "read");
        if (n == (ssize_t)sizeof out[file] && header_ok(store, &out[file]) &&
            out[file].epoch % 2 == (uint64_t)file &&
            (generation == 0 || out[file].generation == generation))
            *valid |= 1u << file;
    }
    return 0;
}

int hf__log_choose(hf_store *store, uint64_t generation, struct hf__log_header *out)
{
    struct hf__log_header headers[2];
    unsigned valid;
    int code = hf__log_headers(store, generation, headers, &valid);
    if (code != 0)
        return code;
    if (valid == 0)
        return hf__fail_path(HF_ELOGFOREIGN, 0, store->log.paths[0],
                             "neither log file belongs to this use of the store");
    int file = valid == 3 ? headers[1].epoch > headers[0].epoch : valid == 2;
    if (HF__BUG(OLDER_LOG_CHOSEN) && valid == 3)
        file = !file;
    *out = headers[file];
    return 0;
}

void hf__log_make_header(const hf_store *store, uint64_t generation, uint64_t epoch, uint64_t base,
                         uint64_t used_end, struct hf__log_header *out)
{
    *out = (struct hf__log_header){.magic = HF__LOG_MAGIC,
                                   .version = HF__FORMAT_VERSION,
                                   .byte_order = HF__BYTE_ORDER,
                                   .generation = generation,
                                   .epoch = epoch,
                                   .base = base,
                                   .used_end = used_end};
    memcpy(out->uuid, store->constants.uuid, sizeof out->uuid);
    do
        hf__random_bytes(&out->salt, sizeof out->salt);
    while (out->salt == 0);
    if (HF__BUG(SALT_AND_CHAIN_UNUSED))
        out->salt = 1;
    out->check = hf__hash(out, offsetof(struct hf__log_header, check), 0);
}

/* Are the log's records so small, in the mean, that two threads' next to each other share a folio? */
static bool records_small(const hf_store *store)
{
    struct hf__log_tail tail;
    hf__tail_read(store, &tail);
    return tail.epoch == 0 || tail.appended == tail.base ||
           (tail.end - HF__LOG_FIRST) / (tail.appended - tail.base) < RECORD_LARGE;
}

/* Real zeros: appending to a file that only has its blocks allocated costs twice as much. Page by page
 * for small records: where several lie in one folio of the page cache, the second of two threads that
 * commit waits for the first one's to be written before its own is, and both lose a quarter by it. A
 * large record is written and synced faster in large folios. */
static int write_zeros(const hf_store *store, int file, uint64_t from, uint64_t to)
{
    const int fd = store->log.fds[file];
    const char *path = store->log.paths[file];
    int (*const write_at)(int, const void *, size_t, uint64_t) =
        records_small(store) ? hf__write_apart_at : hf__write_at;
    unsigned char *zeros = calloc(1, ZEROS);
    int code = 0;
    if (zeros == NULL)
        return hf__fail(HF_ENOMEM, "making room in the log");
    if (hf__allocate_at(fd, from, to - from) != 0)
        code = hf__fail_os(errno, path, "growing the log");
    for (; code == 0 && from < to; from += ZEROS)
        if (write_at(fd, zeros, to - from < ZEROS ? (size_t)(to - from) : ZEROS, from) != 0)
            code = hf__fail_os(errno, path, "growing the log");
    free(zeros);
    return code;
}

int hf__log_extend(hf_store *store, int file, uint64_t from_bytes, uint64_t to_bytes,
                   uint64_t taken_bytes)
{
    const uint64_t blank = taken_bytes < to_bytes ? taken_bytes : to_bytes;
    if (from_bytes < blank) {
        if (hf__allocate_at(store->log.fds[file], from_bytes, blank - from_bytes) != 0)
            return hf__fail_os(errno, store->log.paths[file], "growing the log");
        from_bytes = blank;
    }
    return from_bytes < to_bytes ? write_zeros(store, file, from_bytes, to_bytes) : 0;
}

int hf__log_reach(hf_store *store, int file, uint64_t size_bytes, uint64_t taken_bytes)
{
    struct stat st;
    if (hf__os->fstat(store->log.fds[file], &st) != 0)
        return hf__fail_os(errno, store->log.paths[file], "fstat");
    uint64_t have = (uint64_t)st.st_size / HF__LOG_BLOCK * HF__LOG_BLOCK;
    return hf__log_extend(store, file, have, size_bytes, taken_bytes);
}

int hf__log_write_header(hf_store *store, const struct hf__log_header *header, uint64_t size_bytes)
{
    const int file = (int)(header->epoch % 2), fd = store->log.fds[file];
    unsigned char block[HF__LOG_BLOCK];
    int code = hf__log_reach(store, file, size_bytes, 0);
    if (code != 0)
        return code;
    memset(block, 0, sizeof block);
    memcpy(block, header, sizeof *header);
    if (hf__write_at(fd, block, sizeof block, 0) != 0)
        return hf__fail_os(errno, store->log.paths[file], "write");
    return 0;
}

/* ---- records --------------------------------------------------------------------------------- */

void hf__record_seal(struct hf__record *record, uint64_t salt)
{
    hf__hash128(record + 1, (size_t)(record->length_bytes - sizeof *record), salt,
                record->body_check);
    record->check = hf__hash(record, offsetof(struct hf__record, check), salt);
}

void hf__cursor_set(struct hf__log_cursor *cursor, const hf_store *store, int file, uint64_t salt,
                    uint64_t commit, uint64_t chain, uint64_t end)
{
    cursor->fd = store->log.fds[file];
    cursor->path = store->log.paths[file];
    cursor->salt = salt;
    cursor->size_max_bytes = store->constants.size_max_bytes;
    cursor->commit = commit;
    cursor->chain = chain;
    cursor->end = end;
    cursor->at = end;
    cursor->have = 0;
    cursor->ahead = 0;
    cursor->still = 0;
}

static int make_room(struct hf__log_cursor *cursor, uint64_t bytes)
{
    if (bytes <= cursor->room)
        return 0;
    size_t room = bytes < 65536 ? 65536 : (size_t)bytes;
    unsigned char *more = realloc(cursor->bytes, room);
    if (more == NULL)
        return hf__fail(HF_ENOMEM, "a log record of %llu bytes", (unsigned long long)bytes);
    cursor->bytes = more;
    cursor->room = room;
    return 0;
}

static bool header_sound(const struct hf__record *record, uint64_t salt)
{
    return record->magic == HF__RECORD_MAGIC &&
           (HF__BUG(RECORD_NOT_CHECKED) ||
            record->check == hf__hash(record, offsetof(struct hf__record, check), salt)) &&
           record->length_bytes >= sizeof *record && record->length_bytes % HF__LINE_BYTES == 0 &&
           record->range_count <= record->length_bytes / sizeof(struct hf__record_range) &&
           hf__record_data(record->range_count) <= record->length_bytes;
}

static bool ranges_sound(const struct hf__record *record, uint64_t size_max_bytes)
{
    const struct hf__record_range *ranges = hf__record_ranges(record);
    uint64_t left = record->length_bytes - hf__record_data(record->range_count);
    for (uint64_t i = 0; i < record->range_count; i++) {
        if (ranges[i].offset % HF__LINE_BYTES != 0 || ranges[i].size_bytes % HF__LINE_BYTES != 0 ||
            ranges[i].size_bytes > left || ranges[i].offset > size_max_bytes ||
            ranges[i].size_bytes > size_max_bytes - ranges[i].offset)
            return false;
        left -= ranges[i].size_bytes;
    }
    return left == 0 && record->used_end <= size_max_bytes &&
           record->window_start <= record->window_end && record->window_end <= size_max_bytes;
}

static uint64_t may_be_read(const struct hf__log_cursor *cursor, uint64_t at)
{
    return cursor->still == 0 ? UINT64_MAX : cursor->still > at ? cursor->still - at : 0;
}

/* The `count` bytes of the file from `at` on stand at cursor->bytes + cursor->start; *have: as far as
 * there are so many. What is there already isn't read again. */
static int fetch(struct hf__log_cursor *cursor, uint64_t at, size_t count, size_t *have)
{
    size_t want = count > cursor->ahead ? count : cursor->ahead, kept = 0;
    if (want > may_be_read(cursor, at))
        want = (size_t)may_be_read(cursor, at);
    assert(count <= want);
    if (at >= cursor->have_at && at - cursor->have_at < cursor->have) {
        cursor->start = (size_t)(at - cursor->have_at);
        kept = cursor->have - cursor->start;
    }
    if (kept < count) {
        int code = make_room(cursor, want);
        if (code != 0)
            return code;
        if (kept != 0)
            memmove(cursor->bytes, cursor->bytes + cursor->start, kept);
        cursor->start = 0;
        cursor->have = kept;
        cursor->have_at = at;
        ssize_t n = hf__read_at(cursor->fd, cursor->bytes + kept, want - kept, at + kept);
        if (n < 0)
            return hf__fail_os(errno, cursor->path, "read");
        kept = cursor->have += (size_t)n;
    }
    *have = kept < count ? kept : count;
    return 0;
}

/* The record at `at`, if there is one that continues the chain. */
static int try_at(struct hf__log_cursor *cursor, uint64_t at)
{
    struct hf__record header;
    const uint64_t room = may_be_read(cursor, at);
    size_t have = 0;
    int code = fetch(cursor, at, room < HF__LOG_BLOCK ? (size_t)room : HF__LOG_BLOCK, &have);
    if (code != 0 || have < sizeof header)
        return code;
    memcpy(&header, cursor->bytes + cursor->start, sizeof header);
    const bool any = HF__BUG(TORN_RECORD_SKIPPED) && header.commit == cursor->commit + 2;
    if (!header_sound(&header, cursor->salt) ||
        (header.commit != cursor->commit + 1 && !any) ||
        (header.chain != cursor->chain && !any && !HF__BUG(SALT_AND_CHAIN_UNUSED)))
        return 0;
    if (header.length_bytes > room)
        return 0;
    if (header.length_bytes > have) {
        struct stat st;
        if (hf__os->fstat(cursor->fd, &st) != 0)
            return hf__fail_os(errno, cursor->path, "fstat");
        if (header.length_bytes > (uint64_t)st.st_size - at)
            return 0;
        code = fetch(cursor, at, (size_t)header.length_bytes, &have);
        if (code != 0 || have < header.length_bytes)
            return code;
    }
    uint64_t body[2];
    hf__hash128(hf__cursor_record(cursor) + 1, (size_t)header.length_bytes - sizeof header,
                cursor->salt, body);
    const bool trusting = HF__BUG(BODY_NOT_CHECKED) || HF__BUG(RECORD_NOT_CHECKED);
    if ((!trusting && (body[0] != header.body_check[0] || body[1] != header.body_check[1])) ||
        !ranges_sound(hf__cursor_record(cursor), cursor->size_max_bytes))
        return 0;
    cursor->commit = header.commit;
    cursor->chain = header.check;
    cursor->at = at;
    cursor->end = at + header.length_bytes;
    return 1;
}

int hf__cursor_next(struct hf__log_cursor *cursor)
{
    uint64_t end = cursor->end, block = hf__whole_blocks(end);
    if (cursor->ahead == 0)
        cursor->have = 0; /* it may have been written meanwhile */
    int found = try_at(cursor, end);
    if (found == 0 && block != end)
        found = try_at(cursor, block);
    if (HF__BUG(TORN_RECORD_SKIPPED) && found == 0)
        found = try_at(cursor, block + HF__LOG_BLOCK);
    return found;
}

int hf__cursor_write_again(struct hf__log_cursor *cursor, uint64_t last, uint64_t durable)
{
    while (cursor->commit < last) {
        const int found = hf__cursor_next(cursor);
        if (found <= 0)
            return found < 0 ? found : hf__corrupt("log.chain", cursor->end);
        if (cursor->commit > durable &&
            hf__write_at(cursor->fd, hf__cursor_record(cursor),
                         (size_t)(cursor->end - cursor->at), cursor->at) != 0)
            return hf__fail_os(errno, cursor->path, "write");
    }
    return 0;
}

int hf__log_acknowledged_beyond(const struct hf__log_cursor *cursor)
{
    struct hf__log_cursor other = {.fd = cursor->fd, .path = cursor->path};
    int code = make_room(&other, ZEROS);
    for (uint64_t at = cursor->end; code == 0; at += ZEROS - HF__LOG_BLOCK) {
        ssize_t n = hf__read_at(other.fd, other.bytes, ZEROS, at);
        if (n < 0)
            code = hf__fail_os(errno, other.path, "read");
        if (n < (ssize_t)sizeof(struct hf__record))
            break;
        for (size_t i = 0; code == 0 && i + sizeof(struct hf__record) <= (size_t)n;
             i += HF__LINE_BYTES) {
            struct hf__record record;
            memcpy(&record, other.bytes + i, sizeof record);
            if (record.magic == HF__RECORD_MAGIC && header_sound(&record, cursor->salt) &&
                record.synced_through > cursor->commit)
                code = 1;
        }
        if ((size_t)n < ZEROS)
            break;
    }
    free(other.bytes);
    return code;
}

/* ---- the words in the lock table ------------------------------------------------------------- */

/* Eight words, one by one: a reader beside the writer sees a mixture, notices by the counter, and
 * reads again. */
static void copy_words(uint64_t *to, const uint64_t *from)
{
    for (int i = 0; i < 8; i++)
        __atomic_store_n(&to[i], __atomic_load_n(&from[i], __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

static void read_copy(const uint32_t *count, const void *copies, void *out)
{
    uint32_t before, after = __atomic_load_n(count, __ATOMIC_ACQUIRE);
    do {
        before = after;
        copy_words(out, (const uint64_t *)copies + (before % 2) * 8);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        after = __atomic_load_n(count, __ATOMIC_ACQUIRE);
    } while (before != after);
}

static void publish_copy(uint32_t *count, void *copies, const void *value)
{
    uint32_t have = __atomic_load_n(count, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    copy_words((uint64_t *)copies + ((have + 1) % 2) * 8, value);
    __atomic_store_n(count, have + 1, __ATOMIC_SEQ_CST);
}

void hf__tail_read(const hf_store *store, struct hf__log_tail *out)
{
    read_copy(&hf__words(store)->tail_count, hf__words(store)->tails, out);
}

const struct hf__log_tail *hf__tail_own(const hf_store *store)
{
    const struct hf__log_words *words = hf__words(store);
    return &words->tails[__atomic_load_n(&words->tail_count, __ATOMIC_ACQUIRE) % 2];
}

void hf__tail_publish(hf_store *store, const struct hf__log_tail *tail)
{
    publish_copy(&hf__words(store)->tail_count, hf__words(store)->tails, tail);
}

void hf__front_and_tail_read(const hf_store *store, struct hf__log_front *out,
                             struct hf__log_tail *tail)
{
    read_copy(&hf__words(store)->front_count, hf__words(store)->fronts, out);
    hf__tail_read(store, tail);
    if (out->epoch < tail->epoch)
        *out = hf__front_at_base(tail);
}

void hf__front_read(const hf_store *store, struct hf__log_front *out)
{
    struct hf__log_tail tail;
    hf__front_and_tail_read(store, out, &tail);
}

void hf__front_in(const hf_store *store, const struct hf__log_tail *tail, struct hf__log_front *out)
{
    hf__front_read(store, out);
    if (out->epoch != tail->epoch)
        *out = hf__front_at_base(tail);
}

void hf__front_publish(hf_store *store, const struct hf__log_front *front)
{
    publish_copy(&hf__words(store)->front_count, hf__words(store)->fronts, front);
}

uint64_t hf__durable(const hf_store *store)
{
    return __atomic_load_n(&hf__words(store)->durable, __ATOMIC_SEQ_CST);
}

void hf__durable_raise(hf_store *store, uint64_t commit)
{
    uint64_t have = hf__durable(store);
    while (have < commit && !__atomic_compare_exchange_n(&hf__words(store)->durable, &have, commit,
                                                         false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}
