/* SPDX-License-Identifier: MIT */
/*
 * instructions.c - a small fixed amount of work, for counting instructions
 *
 * instructions.sh runs it under callgrind, which counts inside each counted_* function and what it
 * calls, and writes one count for each. First on heap stores, then on files with the log engine, in
 * the working directory; their syncs are left out, since there is nothing in them to count. The count
 * depends on the code, the compiler and little else (a store's salt is random).
 */
#include <holdfast.h>

#include "base/os.h"
#include "bench.h"

enum { COUNT = 10000, COMMITS = 1000, LARGE = 20, LOADED = 20000, VALUE = 100 };

void counted_alloc(hf_store *store, hf_ref *blocks);
void counted_free(hf_store *store, const hf_ref *blocks, const uint32_t *order);
void counted_set_construct(hf_store *store, const char (*names)[16]);
void counted_set_find(hf_store *store, const char (*names)[16]);
void counted_set_destroy(hf_store *store, const char (*names)[16]);
void counted_hash_construct(hf_store *store, const char (*names)[16]);
void counted_hash_find(hf_store *store, const char (*names)[16]);
void counted_hash_destroy(hf_store *store, const char (*names)[16]);
void counted_commits(hf_store *store);
void counted_views(hf_store *store);
void counted_log_load(hf_store *store, const char (*names)[16]);
void counted_log_find(hf_store *store, const char (*names)[16]);
void counted_log_commits(hf_store *store, const char (*names)[16]);
void counted_log_large(hf_store *store, const char (*names)[16]);
hf_store *counted_log_recover(const char *path);

static hf_txn *begin(hf_store *store)
{
    hf_txn *txn;
    must(hf_begin(store, &txn) == 0, "hf_begin");
    return txn;
}

static void end(hf_txn *txn)
{
    must(hf_commit(txn) == 0, "hf_commit");
}

/* Sizes 16..527, so that the free structure has something to choose from. */
__attribute__((noinline)) void counted_alloc(hf_store *store, hf_ref *blocks)
{
    uint64_t seed = 1;
    hf_txn *txn = begin(store);
    for (int i = 0; i < COUNT; i++)
        blocks[i] = hf_ref_of(hf_txn_view(txn), hf_alloc(txn, 16 + random_below(&seed, 512)));
    end(txn);
}

__attribute__((noinline)) void counted_free(hf_store *store, const hf_ref *blocks,
                                            const uint32_t *order)
{
    hf_txn *txn = begin(store);
    for (int i = 0; i < COUNT; i++)
        hf_free(txn, hf_at(hf_txn_view(txn), blocks[order[i]]));
    end(txn);
}

static void construct_all(hf_store *store, const char (*names)[16])
{
    hf_txn *txn = begin(store);
    for (int i = 0; i < COUNT; i++)
        must(hf_construct(txn, names[i], NULL, 64) != NULL, "hf_construct");
    end(txn);
}

static void find_all(hf_store *store, const char (*names)[16])
{
    hf_view *view;
    must(hf_view_begin(store, &view) == 0, "hf_view_begin");
    for (int i = 0; i < COUNT; i++)
        must(hf_find(view, names[i], NULL, NULL) != NULL, "hf_find");
    hf_view_end(view);
}

static void destroy_all(hf_store *store, const char (*names)[16])
{
    hf_txn *txn = begin(store);
    for (int i = COUNT; i-- > 0;)
        must(hf_destroy(txn, names[i]) == 0, "hf_destroy");
    end(txn);
}

__attribute__((noinline)) void counted_set_construct(hf_store *store, const char (*names)[16])
{
    construct_all(store, names);
}

__attribute__((noinline)) void counted_set_find(hf_store *store, const char (*names)[16])
{
    find_all(store, names);
}

__attribute__((noinline)) void counted_set_destroy(hf_store *store, const char (*names)[16])
{
    destroy_all(store, names);
}

__attribute__((noinline)) void counted_hash_construct(hf_store *store, const char (*names)[16])
{
    construct_all(store, names);
}

__attribute__((noinline)) void counted_hash_find(hf_store *store, const char (*names)[16])
{
    find_all(store, names);
}

__attribute__((noinline)) void counted_hash_destroy(hf_store *store, const char (*names)[16])
{
    destroy_all(store, names);
}

__attribute__((noinline)) void counted_commits(hf_store *store)
{
    for (int i = 0; i < COMMITS; i++) {
        hf_txn *txn = begin(store);
        const uint64_t *seen = (const uint64_t *)hf_find(hf_txn_view(txn), "counter", NULL, NULL);
        uint64_t *counter = (uint64_t *)hf_edit(txn, seen, sizeof *seen);
        must(counter != NULL, "hf_edit");
        ++*counter;
        end(txn);
    }
}

__attribute__((noinline)) void counted_views(hf_store *store)
{
    for (int i = 0; i < COMMITS; i++) {
        hf_view *view;
        must(hf_view_begin(store, &view) == 0, "hf_view_begin");
        hf_view_end(view);
    }
}

static hf_store *open_heap(uint32_t index)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    options.index = index;
    options.size_max_bytes = 64u << 20; /* valgrind has no room for the default */
    must(hf_open_heap(16u << 20, &options, &store) == 0, hf_last_error()->message);
    return store;
}

/* ---- the log engine on a file ------------------------------------------------------------------ */

__attribute__((noinline)) void counted_log_load(hf_store *store, const char (*names)[16])
{
    hf_txn *txn = begin(store);
    for (int i = 0; i < LOADED; i++) {
        char *value = (char *)hf_construct(txn, names[i], NULL, VALUE);
        must(value != NULL, "hf_construct");
        memset(value, i & 127, VALUE);
    }
    end(txn);
}

__attribute__((noinline)) void counted_log_find(hf_store *store, const char (*names)[16])
{
    hf_view *view;
    must(hf_view_begin(store, &view) == 0, "hf_view_begin");
    for (int i = 0; i < LOADED; i++)
        must(hf_find(view, names[i], NULL, NULL) != NULL, "hf_find");
    hf_view_end(view);
}

static void update(hf_txn *txn, const char *name, int value)
{
    const void *seen = hf_find(hf_txn_view(txn), name, NULL, NULL);
    void *edited = seen == NULL ? NULL : hf_edit(txn, seen, VALUE);
    must(edited != NULL, "hf_edit");
    memset(edited, value & 127, VALUE);
}

__attribute__((noinline)) void counted_log_commits(hf_store *store, const char (*names)[16])
{
    for (int i = 0; i < COMMITS; i++) {
        hf_txn *txn = begin(store);
        update(txn, names[i * 7 % LOADED], i);
        end(txn);
    }
}

__attribute__((noinline)) void counted_log_large(hf_store *store, const char (*names)[16])
{
    for (int i = 0; i < LARGE; i++) {
        hf_txn *txn = begin(store);
        for (int k = 0; k < 1000; k++)
            update(txn, names[(i * 1000 + k) * 7 % LOADED], k);
        end(txn);
    }
}

__attribute__((noinline)) hf_store *counted_log_recover(const char *path)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    options.mode = HF_OPEN_EXISTING;
    must(hf_open(path, &options, &store) == 0, hf_last_error()->message);
    return store;
}

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static void copy_file(const char *from, const char *to)
{
    static char piece[1 << 20];
    ssize_t size;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(in >= 0 && out >= 0, from);
    while ((size = read(in, piece, sizeof piece)) > 0)
        must(write(out, piece, (size_t)size) == size, to);
    close(in);
    close(out);
}

/* What is copied while the store is open is what a machine that goes down would leave. */
static void log_engine(const char (*names)[16])
{
    hf_options options = HF_OPTIONS_INIT;
    hf_recovery recovery;
    hf_store *store;
    static struct hf__os os;
    os = hf__os_system;
    os.fdatasync = os.fsync = no_sync;
    hf__os = &os;
    (void)hf_remove("instructions.hf");
    (void)hf_remove("copy.hf");
    options.mode = HF_CREATE_NEW;
    options.index = HF_INDEX_HASH;
    options.size_max_bytes = 64u << 20;
    must(hf_open("instructions.hf", &options, &store) == 0, hf_last_error()->message);
    counted_log_load(store, names);
    counted_log_find(store, names);
    counted_log_commits(store, names);
    counted_log_large(store, names);
    copy_file("instructions.hf", "copy.hf");
    copy_file("instructions.hf-log0", "copy.hf-log0");
    copy_file("instructions.hf-log1", "copy.hf-log1");
    must(hf_close(store) == 0, "hf_close");
    store = counted_log_recover("copy.hf");
    must(hf_recovery_info(store, &recovery) == 0 && recovery.replayed_commits != 0,
         "nothing was recovered");
    must(hf_close(store) == 0, "hf_close");
    must(hf_remove("instructions.hf") == 0 && hf_remove("copy.hf") == 0, "hf_remove");
}

int main(void)
{
    static hf_ref blocks[COUNT];
    static char names[LOADED][16];
    uint32_t *order = shuffled(COUNT, 42);
    for (int i = 0; i < LOADED; i++)
        snprintf(names[i], sizeof names[i], "obj/%08u",
                 i < COUNT ? order[i] : (uint32_t)i);

    hf_store *store = open_heap(HF_INDEX_SET);
    counted_alloc(store, blocks);
    counted_free(store, blocks, order);
    counted_set_construct(store, names);
    counted_set_find(store, names);
    counted_set_destroy(store, names);
    hf_txn *txn = begin(store);
    must(hf_construct(txn, "counter", NULL, 8) != NULL, "hf_construct");
    end(txn);
    counted_commits(store);
    counted_views(store);
    must(hf_close(store) == 0, "hf_close");

    store = open_heap(HF_INDEX_HASH);
    counted_hash_construct(store, names);
    counted_hash_find(store, names);
    counted_hash_destroy(store, names);
    must(hf_close(store) == 0, "hf_close");
    free(order);
    log_engine(names);
    return 0;
}
