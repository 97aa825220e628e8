/* SPDX-License-Identifier: MIT */
/*
 * open.c - handles: made, opened over each backing, closed
 *
 *   hf_open          create if there is none -> attach (attach.c) -> map (mapping.c) -> recover
 *   hf_open_heap     address space, formatted
 *   hf_open_buffer   the caller's memory, formatted or judged
 */
#include "alloc/slab_cache.h"
#include "engine.h"
#include "store.h"

#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUFFER_ALIGN 64u
#define ROUNDS_MAX 10

const char *hf_version(void)
{
    return HF_VERSION;
}

/* ---- options --------------------------------------------------------------------------------- */

static int check_options(const hf_options *options)
{
    if (options->mode > HF_COPY_ON_WRITE || options->engine > HF_ENGINE_DIRECT ||
        options->durability > HF_NOSYNC || options->index > HF_INDEX_NULL ||
        hf__allocator_by_kind(options->allocator) == NULL)
        return hf__fail(HF_EINVAL, "an unknown mode, engine, durability, allocator or index");
    for (size_t i = 0; i < sizeof options->reserved / sizeof *options->reserved; i++)
        if (options->reserved[i] != 0)
            return hf__fail(HF_EINVAL, "options.reserved must be zero");
    if (options->layout != NULL && strlen(options->layout) >= HF__LAYOUT_BYTES)
        return hf__fail(HF_EINVAL, "options.layout is longer than 63 bytes");
    if (options->permissions > 07777)
        return hf__fail(HF_EINVAL, "options.permissions is not a file mode");
    return 0;
}

static int check_recorded(const struct hf__constants *recorded, const hf_options *options,
                          const char *path)
{
    if ((options->engine != 0 && options->engine != recorded->engine) ||
        (options->allocator != 0 && options->allocator != recorded->allocator) ||
        (options->index != 0 && options->index != recorded->index))
        return hf__fail_path(HF_EMISMATCH, 0, path, "engine %u, allocator %u, index %u",
                             recorded->engine, recorded->allocator, recorded->index);
    if (options->layout == NULL)
        return 0;
    if (strcmp(options->layout, recorded->layout) != 0)
        return hf__fail_path(HF_ELAYOUT, 0, path, "it holds '%s', not '%s'", recorded->layout,
                             options->layout);
    if (options->layout_version != recorded->layout_version)
        return hf__fail_path(HF_ELAYOUT, 0, path, "it holds version %u of '%s', not %u",
                             recorded->layout_version, recorded->layout, options->layout_version);
    return 0;
}

/* ---- the handle ------------------------------------------------------------------------------ */

int hf__store_new(hf_store **out, enum hf__backing backing, const hf_options *options)
{
    hf_store *store = calloc(1, sizeof *store);
    hf_view *views = malloc(HF_READERS_MAX * sizeof *views); /* each is set when it begins */
    if (store == NULL || views == NULL) {
        free(store);
        free(views);
        return hf__fail(HF_ENOMEM, "a handle");
    }
    store->backing = backing;
    store->mode = options->mode;
    store->lock_timeout_ms = options->lock_timeout_ms;
    store->fd = store->map_fd = -1;
    pthread_mutex_init(&store->map_mutex, NULL);
    store->locks.lock_fd = store->locks.data_fd = -1;
    store->views = views;
    store->shown_bytes = UINT64_MAX;
    store->durability = options->durability;
    hf__undo_init(&store->undo, NULL);
    hf__log_init(&store->log);
    int code = hf__tune_from_environment(&store->log);
    if (code != 0)
        hf__store_free(store);
    else
        *out = store;
    return code;
}

void hf__store_free(hf_store *store)
{
    hf__txn_dispose(&store->txn);
    hf__slab_cache_free(store->heap.cache);
    hf__log_dispose(&store->log);
    free(store->path);
    free(store->lock_path);
    free(store->undo_path);
    free(store->views);
    pthread_mutex_destroy(&store->map_mutex);
    free(store);
}

/* With constants known and seg.base set: what works on the segment. */
static void assemble(hf_store *store)
{
    /* What nobody else sees needs no log. */
    const bool logged = store->backing == HF__BACKING_FILE &&
                        store->constants.engine == HF_ENGINE_LOG &&
                        store->role != HF__ROLE_FROZEN;
    store->engine = logged ? &hf__engine_log : &hf__engine_direct;
    store->seg.salt = store->constants.salt;
    store->seg.door = store->engine->door;
    store->seg.owner = store;
    store->seg.old_tail = !logged && store->backing == HF__BACKING_FILE &&
                          store->constants.engine == HF_ENGINE_LOG;
    store->heap = hf__heap_over(store, &store->seg);
    store->heap.algorithm = hf__allocator_by_kind(store->constants.allocator);
    store->index_ops = hf__index_by_kind(store->constants.index);
}

/* ---- files ----------------------------------------------------------------------------------- */

static enum hf__role role_of(uint32_t mode)
{
    return mode == HF_READ_ONLY       ? HF__ROLE_READER
           : mode == HF_COPY_ON_WRITE ? HF__ROLE_FROZEN
                                      : HF__ROLE_WRITER;
}

/* The end of the file may have been cut off behind the used end: nothing is lost, but the segment
 * must be backed again before it is used (mapping.c, M2). */
static int back_cut_tail(hf_store *store, uint64_t size_bytes)
{
    struct stat st;
    if (hf__os->fstat(store->fd, &st) != 0)
        return hf__fail_os(errno, store->path, "fstat");
    const uint64_t have = hf__backed_bytes((uint64_t)st.st_size);
    if (have >= size_bytes || store->mode == HF_READ_ONLY)
        return 0;
    if (store->role == HF__ROLE_FROZEN)
        return hf__map_private_to(store, store->reserved, 0, size_bytes);
    if (hf__segment_allocate(store->fd, have & ~(uint64_t)(HF__PAGE_BYTES - 1), size_bytes) != 0)
        return hf__fail_os(errno, store->path, "growing the file");
    return 0;
}

/* A frozen handle reads a private mapping; what a dead writer left is undone or replayed in it right
 * away. */
static int replay_frozen(hf_store *store, const struct hf__file_header *header)
{
    struct hf__undo undo;
    if (header->state == HF__STATE_CLEAN)
        return 0;
    if (header->state != HF__STATE_IN_USE)
        return hf__log_replay_over(store, store->reserved, header->generation);
    hf__undo_init(&undo, store->undo_path);
    int code = hf__undo_open_file(&undo, store->constants.uuid, 0, false, true);
    if (code == 0 && hf__undo_end(&undo) != HF__UNDO_FIRST) {
        struct hf__undo_stats stats = {0, 0};
        code = hf__map_undone(store, &undo, store->reserved, &stats);
        store->recovery = (hf_recovery){.recoveries = 1,
                                        .cold = 1,
                                        .undone_ranges = stats.ranges,
                                        .undone_bytes = stats.bytes,
                                        .last_pid = hf__undo_header(&undo)->pid,
                                        .last_ns = hf__os->wall_ns()};
    }
    hf__undo_close(&undo);
    return code;
}

static int map_store(hf_store *store, const struct hf__file_header *header)
{
    const bool frozen = store->role == HF__ROLE_FROZEN;
    const bool logged = store->constants.engine == HF_ENGINE_LOG;
    const bool writes = store->mode != HF_READ_ONLY;
    /* Others may have changed it since: who begins a transaction or a view looks again. */
    const uint64_t size = store->found_bytes;
    int code = hf__map_reserve(store, store->constants.size_max_bytes, size,
                               logged && !frozen && writes);
    if (code != 0)
        return code;
    code = logged && !frozen ? hf__map_readers(store, size)
                             : hf__map_file(store, writes || frozen, frozen);
    /* Who is alone looks at the writer's mapping before a transaction begins. */
    if (code == 0 && logged && store->role == HF__ROLE_ALONE)
        code = hf__map_writers(store);
    /* While a log waits to be replayed, the file's end is recovery's business. */
    if (code == 0 && header->state < HF__STATE_LOGGED)
        code = back_cut_tail(store, size);
    if (code != 0)
        return code; /* nothing is mapped: hf__detach must not look */
    store->seg.size_bytes = size;
    assemble(store);
    if (frozen)
        code = replay_frozen(store, header);
    if (code == 0 && frozen) {
        store->seg.size_bytes = hf__segment_header(&store->seg)->size_bytes;
        if (store->mode == HF_READ_ONLY &&
            hf__os->mprotect(store->reserved, (size_t)store->reserved_bytes, PROT_READ) != 0)
            code = hf__fail_os(errno, store->path, "mprotect");
    }
    return code;
}

/* Repair goes on with what there is where a log that is needed can't be had. */
static int do_without_log(hf_store *store, int code)
{
    struct hf__lock_header *table = &store->locks.table->header;
    if (code != HF_ELOGMISSING && code != HF_ELOGFOREIGN && code != HF_ECORRUPT)
        return code;
    __atomic_store_n(&table->log.recover, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&table->gate, 0, __ATOMIC_SEQ_CST);
    return back_cut_tail(store, store->seg.size_bytes);
}

static int recover_cold(hf_store *store, bool repair)
{
    const struct hf__lock_header *table = &store->locks.table->header;
    if (store->role != HF__ROLE_WRITER && store->role != HF__ROLE_ALONE)
        return 0;
    if (__atomic_load_n(&table->gate, __ATOMIC_SEQ_CST) != HF__NOBODY)
        return 0;
    store->opening = true;
    hf__create_clean_up(store->path);
    int code = store->engine->unstick(store, hf__deadline_in_ms(store->lock_timeout_ms));
    store->opening = false;
    /* Who is alone changes the size without beginning a transaction first. */
    if (code == 0 && store->role == HF__ROLE_ALONE)
        code = hf__txn_refresh_size(store);
    if (repair && code != 0 && store->engine == &hf__engine_log)
        code = do_without_log(store, code);
    return code;
}

/* A reader replays what was left behind for itself, at each view: whether that can be done, hf_open
 * says already. While somebody alive recovers the store, or keeps the gate closed, that is his. */
static int prove_leftovers(hf_store *store)
{
    const int64_t timeout_ms = store->lock_timeout_ms;
    hf_view *view;
    if (store->role != HF__ROLE_READER ||
        __atomic_load_n(&store->locks.table->header.gate, __ATOMIC_SEQ_CST) != HF__NOBODY)
        return 0;
    store->lock_timeout_ms = -1;
    int code = hf_view_begin(store, &view);
    store->lock_timeout_ms = timeout_ms;
    if (code == 0)
        hf_view_end(view);
    return code == HF_EBUSY || code == HF_EREADERS ? 0 : code;
}

static int open_file_store(const char *path, const hf_options *options, enum hf__role role,
                           bool repair, hf_store **out)
{
    struct hf__file_header header;
    hf_store *store;
    int code = hf__store_new(&store, HF__BACKING_FILE, options);
    if (code != 0)
        return code;
    store->role = role;
    code = hf__paths_set(store, path);
    if (code != 0)
        goto err_free;
    store->undo.path = store->undo_path;
    code = hf__attach(store, repair, hf__deadline_in_ms(store->lock_timeout_ms), &header);
    if (code != 0)
        goto err_free;
    code = check_recorded(&store->constants, options, store->path);
    if (code == 0)
        code = map_store(store, &header);
    if (code == 0)
        code = recover_cold(store, repair);
    if (code == 0)
        code = prove_leftovers(store);
    if (code == 0) {
        if (store->engine == &hf__engine_log && store->mode != HF_READ_ONLY)
            hf__lazy_inherit(store);
        *out = store;
        return 0;
    }
    hf_error failure = *hf_last_error();
    if (store->reserved == NULL || store->seg.owner == NULL)
        hf__detach_unused(store);
    else
        hf__detach(store);
    hf__private_close(store);
    hf__map_release(store);
    hf__fail_again(&failure);
err_free:
    hf__store_free(store);
    return code;
}

int hf_open(const char *path, const hf_options *options, hf_store **out)
{
    static const hf_options defaults = HF_OPTIONS_INIT;
    if (options == NULL)
        options = &defaults;
    if (path == NULL || out == NULL)
        return hf__fail(HF_EINVAL, "hf_open");
    int code = check_options(options);
    if (code != 0)
        return code;
    for (int rounds = 0;; rounds++) {
        if (options->mode == HF_CREATE_NEW) {
            code = hf__create_file(path, options);
            if (code != 0)
                return code;
        }
        code = open_file_store(path, options, role_of(options->mode), false, out);
        /* A name that neither opens nor can be made: a symbolic link into nothing. */
        if (code != HF_ENOENT || options->mode != HF_OPEN_OR_CREATE || rounds == ROUNDS_MAX)
            return code;
        code = hf__create_file(path, options);
        if (code != 0 && code != HF_EEXIST)
            return code;
    }
}

int hf__open_alone(const char *path, bool repair, hf_store **out)
{
    hf_options options = HF_OPTIONS_INIT;
    options.mode = HF_OPEN_EXISTING;
    options.lock_timeout_ms = -1;
    return open_file_store(path, &options, HF__ROLE_ALONE, repair, out);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int open_memory_store(hf_store *store, hf_store **out)
{
    int code = hf__locks_open_private(&store->locks, NULL);
    if (code != 0)
        return code;
    store->role = HF__ROLE_WRITER;
    assemble(store);
    code = hf__list_add(store);
    if (code == 0)
        *out = store;
    else
        hf__locks_detach(&store->locks, true);
    return code;
}

int hf_open_heap(size_t size_bytes, const hf_options *options, hf_store **out)
{
    hf_options defaults = HF_OPTIONS_INIT;
    hf_store *store;
    if (options == NULL)
        options = &defaults;
    if (out == NULL || size_bytes == 0)
        return hf__fail(HF_EINVAL, "hf_open_heap");
    int code = check_options(options);
    if (code == 0 && options->mode != HF_OPEN_OR_CREATE && options->mode != HF_CREATE_NEW)
        code = hf__fail(HF_ENOTSUP, "a heap store is always new");
    if (code == 0)
        code = hf__store_new(&store, HF__BACKING_HEAP, options);
    if (code != 0)
        return code;
    uint64_t size = hf__whole_pages(size_bytes);
    uint64_t size_max = options->size_max_bytes > size ? options->size_max_bytes : size;
    if (size_bytes > size || size_max > UINT64_C(1) << 47) { /* rounding may have wrapped */
        code = hf__fail(HF_EINVAL, "a size is over 128 TiB");
        goto err_free;
    }
    code = hf__map_reserve(store, size_max, size, false);
    if (code != 0)
        goto err_free;
    if (hf__os->mprotect(store->reserved, (size_t)store->reserved_bytes, PROT_READ | PROT_WRITE) !=
        0) {
        code = hf__fail_os(errno, NULL, "mprotect");
        goto err_unmap;
    }
    code = hf__constants_new(&store->constants, options, HF_ENGINE_DIRECT,
                             store->size_max_bytes);
    if (code == 0)
        code = hf__format_segment(store->seg.base, size, &store->constants);
    store->seg.size_bytes = size;
    hf__map_heap(store);
    if (code == 0)
        code = open_memory_store(store, out);
    if (code == 0)
        return 0;
err_unmap:
    hf__map_release(store);
err_free:
    hf__store_free(store);
    return code;
}

/* Takes over what an earlier handle left in a buffer. */
static int judge_buffer(hf_store *store, const hf_options *options, uint64_t size_bytes)
{
    const struct hf__segment_header *header = hf__segment_header(&store->seg);
    if (header->magic == __builtin_bswap64(HF__SEGMENT_MAGIC))
        return hf__fail(HF_EENDIAN, "in a buffer");
    if (header->magic != HF__SEGMENT_MAGIC)
        return hf__fail(HF_ENOTSTORE, "in a buffer");
    if (!hf__constants_ok(&header->constants) || header->heap.first != HF__FIRST_BLOCK ||
        header->heap.used_end < HF__FIRST_BLOCK || header->heap.used_end > header->size_bytes)
        return hf__fail(HF_ECORRUPT, "in a buffer's segment header");
    if (header->size_bytes > size_bytes)
        return hf__fail(HF_ETRUNCATED, "the buffer is smaller than the store in it");
    store->constants = header->constants;
    store->seg.size_bytes = header->size_bytes;
    store->size_max_bytes = header->size_bytes;
    return check_recorded(&store->constants, options, NULL);
}

int hf_open_buffer(void *buffer, size_t size_bytes, const hf_options *options, hf_store **out)
{
    hf_options defaults = HF_OPTIONS_INIT;
    hf_store *store;
    if (options == NULL)
        options = &defaults;
    if (buffer == NULL || out == NULL || (uintptr_t)buffer % BUFFER_ALIGN != 0)
        return hf__fail(HF_EINVAL, "a buffer aligned to %u bytes is needed", BUFFER_ALIGN);
    int code = check_options(options);
    if (code == 0 && options->mode > HF_CREATE_NEW)
        code = hf__fail(HF_ENOTSUP, "a buffer is opened for writing");
    if (code == 0 && size_bytes < HF__SEGMENT_BYTES_MIN)
        code = hf__fail(HF_EFULL, "a buffer of at least %u bytes is needed", HF__SEGMENT_BYTES_MIN);
    if (code == 0)
        code = hf__store_new(&store, HF__BACKING_BUFFER, options);
    if (code != 0)
        return code;
    uint64_t size = (uint64_t)size_bytes / BUFFER_ALIGN * BUFFER_ALIGN;
    store->seg.base = buffer;
    store->seg.size_bytes = store->size_max_bytes = size;
    bool there = hf__segment_header(&store->seg)->magic == HF__SEGMENT_MAGIC;
    if (options->mode == HF_OPEN_EXISTING || (options->mode == HF_OPEN_OR_CREATE && there)) {
        code = judge_buffer(store, options, size);
    } else {
        code = hf__constants_new(&store->constants, options, HF_ENGINE_DIRECT, size);
        if (code == 0)
            code = hf__format_segment(store->seg.base, size, &store->constants);
    }
    if (code == 0)
        code = open_memory_store(store, out);
    if (code != 0)
        hf__store_free(store);
    return code;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* In the child of a fork: the files were closed by the fork handler, the locks are the parent's. */
static void drop_forked(hf_store *store)
{
    hf__locks_detach(&store->locks, false);
    hf__undo_close(&store->undo);
    hf__private_close(store);
    hf__map_release(store);
    hf__store_free(store);
}

int hf_close(hf_store *store)
{
    int code = 0;
    if (store == NULL)
        return 0;
    hf__view_drop_thread(store);
    hf__lazy_stop(store);
    if (store->forked) {
        drop_forked(store);
        return 0;
    }
    if (store->txn.active)
        hf_abort(&store->txn);
    hf__reader_leave_all(&store->locks);
    if (store->backing == HF__BACKING_FILE) {
        code = hf__detach(store);
    } else {
        hf__list_remove(store);
        hf__locks_detach(&store->locks, true);
        hf__undo_close(&store->undo);
    }
    hf__private_close(store);
    hf__map_release(store);
    hf__store_free(store);
    return code;
}

int hf__removal_begin(const char *path, hf_store **out)
{
    static const hf_options defaults = HF_OPTIONS_INIT;
    struct hf__file_header slot;
    hf_store *store;
    int code = hf__store_new(&store, HF__BACKING_FILE, &defaults);
    if (code != 0)
        return code;
    store->role = HF__ROLE_ALONE;
    code = hf__paths_set(store, path);
    if (code == 0)
        code = hf__attach_for_removal(store, 0);
    /* What a dead process left is undone, so that no sidecar is needed should the rest fail. */
    if (code == 0 && hf__header_read(store->fd, store->path, true, &slot) == 0 &&
        slot.state != HF__STATE_CLEAN) {
        hf_store *left;
        hf__detach_unused(store);
        if (hf__open_alone(path, false, &left) == 0)
            hf_close(left);
        code = hf__attach_for_removal(store, 0);
    }
    /* Damaged stores may go; what never was one stays. */
    if (code == 0) {
        code = hf__header_read(store->fd, store->path, true, &slot);
        if (code != HF_ENOTSTORE)
            code = 0;
        else
            hf__detach_unused(store);
    }
    if (code == 0)
        *out = store;
    else
        hf__store_free(store);
    return code;
}

/* Before the name is free: another store's may stand there then. */
void hf__removal_sidecars(hf_store *store)
{
    hf__os->unlink(store->lock_path);
    hf__os->unlink(store->undo_path);
    hf__os->unlink(store->log.paths[0]);
    hf__os->unlink(store->log.paths[1]);
}

void hf__removal_end(hf_store *store)
{
    hf__detach_unused(store);
    hf__store_free(store);
}

int hf_remove(const char *path)
{
    hf_store *store;
    int code = hf__removal_begin(path, &store);
    if (code != 0)
        return code;
    int directory = hf__directory_of(store->path);
    if (directory < 0) {
        code = hf__fail_os(errno, store->path, "opening the directory");
        hf__removal_end(store);
        return code;
    }
    hf__create_clean_up(store->path);
    hf__removal_sidecars(store);
    if (hf__os->unlink(store->path) != 0) {
        code = hf__fail_os(errno, store->path, "unlink");
        hf__os->close(directory);
    } else if (hf__sync_directory(directory) != 0) {
        code = hf__fail_os(errno, store->path, "syncing the directory");
    }
    hf__removal_end(store);
    return code;
}
