/* SPDX-License-Identifier: MIT */
/*
 * instructions.c - a small fixed amount of work, for counting instructions
 *
 * instructions.sh runs it under callgrind, which counts inside each counted_* function and what it
 * calls, and writes one count for each. All stores are heap stores: no disk, nothing to wait for.
 * The count depends on the code, the compiler and little else (a store's salt is random).
 */
#include <holdfast.h>

#include "bench.h"

enum { COUNT = 10000, COMMITS = 1000 };

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

int main(void)
{
    static hf_ref blocks[COUNT];
    static char names[COUNT][16];
    uint32_t *order = shuffled(COUNT, 42);
    for (int i = 0; i < COUNT; i++)
        snprintf(names[i], sizeof names[i], "obj/%08u", order[i]);

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
    return 0;
}
