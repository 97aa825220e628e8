/* SPDX-License-Identifier: MIT */
/*
 * store_holdfast.c - what only Holdfast does, or what depends on the size of its file
 *
 * Usage: store_holdfast DIR INDEX size MEGABYTES | check N | compact N
 *
 *   size    a store of 1000 objects, grown by blocks to that many MB: open + find + close, by a
 *           process that has it for itself; the blocks are allocated on the disk, but never written
 *   check   hf_check_sanity of N named objects of 64 bytes
 *   compact hf_compact of N objects of 64 bytes, linked to a list at random, half of which were destroyed at
 *           random; beside it a plain copy, with a sync, of the bytes that came of it. compact.live: bytes of
 *           the new file for a byte that its objects need, with names and headers
 */
#include <holdfast.h>

#include "bench.h"

static hf_store *open_store(const char *dir, uint32_t mode, const char *index)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    char path[4096];
    options.mode = mode;
    options.index = strcmp(index, "hash") == 0 ? HF_INDEX_HASH : HF_INDEX_SET;
    snprintf(path, sizeof path, "%s/store.hf", dir);
    must(hf_open(path, &options, &store) == 0, hf_last_error()->message);
    return store;
}

static void name_of(char name[24], uint32_t id)
{
    snprintf(name, 24, "obj/%08u", id);
}

static void add_objects(hf_store *store, uint64_t n)
{
    hf_txn *txn;
    char name[24];
    uint32_t *order = shuffled(n, 7);
    must(hf_begin(store, &txn) == 0, hf_last_error()->message);
    for (uint64_t i = 0; i < n; i++) {
        name_of(name, order[i]);
        must(hf_construct(txn, name, NULL, 64) != NULL, hf_last_error()->message);
    }
    must(hf_commit(txn) == 0, hf_last_error()->message);
    free(order);
}

static void grow(hf_store *store, uint64_t size_bytes)
{
    const uint64_t piece = 8u << 20;
    hf_txn *txn;
    must(hf_begin(store, &txn) == 0, hf_last_error()->message);
    for (uint64_t done = 0; done + piece <= size_bytes; done += piece)
        must(hf_alloc(txn, piece - 4096) != NULL, hf_last_error()->message);
    must(hf_commit(txn) == 0, hf_last_error()->message);
}

static void open_sized(const char *dir, const char *index, uint64_t megabytes)
{
    enum { TIMES = 200 };
    static double us[TIMES];
    char name[24];
    hf_view *view;
    uint64_t seed = 3;
    hf_store *store = open_store(dir, HF_CREATE_NEW, index);
    add_objects(store, 1000);
    grow(store, megabytes * 1000000);
    must(hf_close(store) == 0, hf_last_error()->message);
    for (int i = -3; i < TIMES; i++) {
        name_of(name, (uint32_t)random_below(&seed, 1000));
        uint64_t start = now_ns();
        store = open_store(dir, HF_OPEN_EXISTING, index);
        must(hf_view_begin(store, &view) == 0, hf_last_error()->message);
        must(hf_find(view, name, NULL, NULL) != NULL, hf_last_error()->message);
        hf_view_end(view);
        must(hf_close(store) == 0, hf_last_error()->message);
        if (i >= 0)
            us[i] = (double)(now_ns() - start) / 1e3;
    }
    result("open.size_mb", megabytes, percentile(us, TIMES, 50), "us");
}

static void check(const char *dir, const char *index, uint64_t n)
{
    hf_store_info info;
    hf_check_report report;
    hf_store *store = open_store(dir, HF_CREATE_NEW, index);
    add_objects(store, n);
    uint64_t start = now_ns();
    must(hf_check_sanity(store, NULL, &report) == 0, hf_last_error()->message);
    double ns = (double)(now_ns() - start);
    must(hf_info(store, &info) == 0, hf_last_error()->message);
    result("check.object", n, ns / (double)n, "ns");
    result("check.speed", n, (double)info.used_end_bytes * 1e3 / ns, "MB/s");
    must(hf_close(store) == 0, hf_last_error()->message);
}

struct link {
    hf_ref next, previous;
    uint64_t words[6];
};
static const hf_type link_type;
static const hf_field link_refs[] = {{offsetof(struct link, next), HF_FIELD_REF, &link_type},
                                     {offsetof(struct link, previous), HF_FIELD_REF, &link_type}};
static const hf_type link_type = {"link", 1, sizeof(struct link), 8, 0, link_refs, 2};

/* A list, from a named object, of every second of n objects in no order; the others are destroyed. */
static void half_emptied(hf_store *store, uint64_t n)
{
    hf_txn *txn;
    uint32_t *order = shuffled(n, 11);
    struct link **links = must_alloc(n * sizeof *links);
    must(hf_begin(store, &txn) == 0, hf_last_error()->message);
    struct link *head = hf_construct(txn, "list", &link_type, 1), *before = head;
    must(head != NULL, hf_last_error()->message);
    for (uint64_t i = 0; i < n; i++) {
        links[i] = hf_new(txn, &link_type, 1);
        must(links[i] != NULL, hf_last_error()->message);
    }
    for (uint64_t i = 0; i < n; i += 2) {
        struct link *link = links[order[i]];
        link->previous = hf_ref_of(hf_txn_view(txn), before);
        before->next = hf_ref_of(hf_txn_view(txn), link);
        link->words[0] = i;
        before = link;
    }
    must(hf_commit(txn) == 0 && hf_begin(store, &txn) == 0, hf_last_error()->message);
    for (uint64_t i = 1; i < n; i += 2)
        must(hf_destroy_ptr(txn, links[order[i]]) == 0, hf_last_error()->message);
    must(hf_commit(txn) == 0, hf_last_error()->message);
    free(links);
    free(order);
}

static void compact(const char *dir, const char *index, uint64_t n)
{
    hf_compact_report report;
    hf_compact_options options = HF_COMPACT_OPTIONS_INIT;
    char path[4096], copy[4096];
    hf_store *store = open_store(dir, HF_CREATE_NEW, index);
    half_emptied(store, n);
    must(hf_close(store) == 0, hf_last_error()->message);
    snprintf(path, sizeof path, "%s/store.hf", dir);
    snprintf(copy, sizeof copy, "%s/copy", dir);
    options.report = &report;
    const uint64_t start = now_ns();
    must(hf_compact(path, &options) == 0, hf_last_error()->message);
    const double ns = (double)(now_ns() - start), bytes = (double)report.size_after_bytes;
    const double payload = (double)(n - n / 2) * sizeof(struct link);
    compact_results(n, ns, bytes, plain_copy_ns(path, copy, report.size_after_bytes));
    result("compact.before", n, (double)report.size_before_bytes / payload, "x");
    result("compact.after", n, bytes / payload, "x");
    result("compact.live", n, bytes / (double)report.live_bytes, "x");
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[3], "size") == 0)
        open_sized(argv[1], argv[2], number(argv[4]));
    else if (argc == 5 && strcmp(argv[3], "check") == 0)
        check(argv[1], argv[2], number(argv[4]));
    else if (argc == 5 && strcmp(argv[3], "compact") == 0)
        compact(argv[1], argv[2], number(argv[4]));
    else {
        fprintf(stderr, "usage: %s DIR INDEX size MEGABYTES | check N | compact N\n", argv[0]);
        return 2;
    }
    return 0;
}
