/* SPDX-License-Identifier: MIT */
/*
 * space_large.c - a store of many gigabytes, and one of millions of objects
 *
 * The first grows by blocks of 256 MiB that are written at their ends only; what the file system
 * holds for them is shown (space is reserved before use, so the disk must have the room: without it
 * this part is skipped, and says so). The second takes named objects in batches into the set and
 * the hash index, and finds and iterates over them. Both are checked, closed, opened and compared
 * again.
 *
 * By default 3 GiB and a million objects; HF_TEST_SCALE=10 makes it 20 GiB and ten million. Times
 * and sizes are printed and judged by nobody.
 */
#include "holdfast.h"
#include "tests/support/campaign.h"

#include <sys/statvfs.h>

#define BLOCK_BYTES (UINT64_C(256) << 20)
#define BLOCKS_MAX  80u
#define BATCH       10000u

static double seconds_since(uint64_t begun)
{
    return (double)(clock_ns() - begun) / 1e9;
}

static bool good(struct campaign *c, int code, const char *what)
{
    return campaign_expect(c, code == 0, "%s: %s: %s", what, hf_error_name(code),
                           hf_last_error()->message);
}

static void check_all(struct campaign *c, hf_store *store, const char *what)
{
    hf_check_report report;
    memset(&report, 0, sizeof report);
    uint64_t begun = clock_ns();
    good(c, hf_check_sanity(store, NULL, &report), what);
    printf("  check of %llu blocks (%llu free): %.2f s\n", (unsigned long long)report.blocks,
           (unsigned long long)report.free_blocks, seconds_since(begun));
}

static void print_size(hf_store *store)
{
    hf_store_info info;
    if (hf_info(store, &info) == 0)
        printf("  file %.2f GiB, on the disk %.2f GiB, used end %.2f GiB, live %.2f GiB, free %.2f "
               "GiB\n",
               (double)info.file_bytes / (1 << 30), (double)info.disk_bytes / (1 << 30),
               (double)info.used_end_bytes / (1 << 30), (double)info.live_bytes / (1 << 30),
               (double)info.free_bytes / (1 << 30));
}

/* ---- gigabytes ------------------------------------------------------------------------------- */

static void block_stamp(unsigned char *block, uint64_t number)
{
    content_fill(block, 64, number);
    content_fill(block + BLOCK_BYTES - 64, 64, ~number);
}

static bool block_sound(const unsigned char *block, uint64_t number)
{
    unsigned char first[64], last[64];
    content_fill(first, sizeof first, number);
    content_fill(last, sizeof last, ~number);
    return memcmp(block, first, 64) == 0 && memcmp(block + BLOCK_BYTES - 64, last, 64) == 0;
}

/* One block more, its reference kept in the object "blocks". */
static bool add_block(struct campaign *c, hf_store *store, uint64_t number)
{
    hf_txn *txn;
    if (!good(c, hf_begin(store, &txn), "hf_begin"))
        return false;
    hf_ref *refs = hf_find_or_construct(txn, "blocks", NULL, BLOCKS_MAX * sizeof *refs, NULL);
    unsigned char *block = hf_alloc(txn, BLOCK_BYTES);
    if (!campaign_expect(c, refs != NULL && block != NULL, "block %llu: %s",
                         (unsigned long long)number, hf_last_error()->message)) {
        hf_abort(txn);
        return false;
    }
    block_stamp(block, number);
    refs[number] = hf_ref_of(hf_txn_view(txn), block);
    return good(c, hf_commit(txn), "hf_commit");
}

static void verify_blocks(struct campaign *c, hf_store *store, uint64_t count, bool odd_only)
{
    hf_view *view;
    if (!good(c, hf_view_begin(store, &view), "hf_view_begin"))
        return;
    const hf_ref *refs = hf_find(view, "blocks", NULL, NULL);
    for (uint64_t i = 0; refs != NULL && i < count; i++) {
        if (odd_only && i % 2 == 0)
            continue;
        const unsigned char *block = hf_at(view, refs[i]);
        campaign_expect(c, block != NULL && block_sound(block, i), "block %llu has other bytes",
                        (unsigned long long)i);
    }
    campaign_expect(c, refs != NULL, "the references are gone");
    hf_view_end(view);
}

static void free_even_blocks(struct campaign *c, hf_store *store, uint64_t count)
{
    hf_txn *txn;
    if (!good(c, hf_begin(store, &txn), "hf_begin"))
        return;
    const hf_ref *refs = hf_find(hf_txn_view(txn), "blocks", NULL, NULL);
    for (uint64_t i = 0; refs != NULL && i < count; i += 2)
        hf_free(txn, hf_at(hf_txn_view(txn), refs[i]));
    good(c, hf_commit(txn), "freeing every second block");
}

static void run_gigabytes(struct campaign *c, const char *path, uint64_t gigabytes)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    uint64_t count = gigabytes * 4, begun = clock_ns();
    printf("%llu GiB in blocks of 256 MiB:\n", (unsigned long long)gigabytes);
    options.mode = HF_CREATE_NEW;
    if (!good(c, hf_open(path, &options, &store), "creating"))
        return;
    bool all = true;
    for (uint64_t i = 0; all && i < count; i++)
        all = add_block(c, store, i);
    printf("  grown in %.2f s\n", seconds_since(begun));
    print_size(store);
    if (all) {
        verify_blocks(c, store, count, false);
        free_even_blocks(c, store, count);
        check_all(c, store, "the check of gigabytes");
    }
    begun = clock_ns();
    good(c, hf_close(store), "hf_close");
    printf("  closed in %.2f s\n", seconds_since(begun));
    begun = clock_ns();
    if (all && good(c, hf_open(path, NULL, &store), "opening again")) {
        printf("  opened in %.3f s\n", seconds_since(begun));
        verify_blocks(c, store, count, true);
        check_all(c, store, "the check after opening again");
        good(c, hf_close(store), "hf_close");
    }
    good(c, hf_remove(path), "hf_remove");
}

/* ---- millions -------------------------------------------------------------------------------- */

static void object_name(char out[32], uint64_t number)
{
    snprintf(out, 32, "object/%09llu", (unsigned long long)number);
}

/* A permutation of 0..count-1: names don't come in order. */
static uint64_t shuffled(uint64_t i, uint64_t count)
{
    return i * UINT64_C(7368787) % count; /* a prime that divides no count used here */
}

static bool add_objects(struct campaign *c, hf_store *store, uint64_t count)
{
    for (uint64_t i = 0; i < count;) {
        hf_txn *txn;
        if (!good(c, hf_begin(store, &txn), "hf_begin"))
            return false;
        for (uint64_t end = i + BATCH; i < end && i < count; i++) {
            char name[32];
            uint64_t number = shuffled(i, count);
            object_name(name, number);
            uint64_t *value = hf_construct(txn, name, NULL, sizeof *value);
            if (value == NULL) {
                campaign_expect(c, false, "object %llu: %s", (unsigned long long)i,
                                hf_last_error()->message);
                hf_abort(txn);
                return false;
            }
            *value = mix64(number);
        }
        if (!good(c, hf_commit(txn), "hf_commit"))
            return false;
    }
    return true;
}

static void find_objects(struct campaign *c, hf_store *store, uint64_t count, uint64_t finds)
{
    hf_view *view;
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    uint64_t wrong = 0, seen = 0, begun = clock_ns();
    if (!good(c, hf_view_begin(store, &view), "hf_view_begin"))
        return;
    for (uint64_t i = 0; i < finds; i++) {
        char name[32];
        uint64_t number = mix64(i) % count;
        object_name(name, number);
        const uint64_t *value = hf_find(view, name, NULL, NULL);
        wrong += value == NULL || *value != mix64(number);
    }
    double found = seconds_since(begun);
    campaign_expect(c, wrong == 0, "%llu of %llu finds are wrong", (unsigned long long)wrong,
                    (unsigned long long)finds);
    begun = clock_ns();
    while (hf_next_named(view, &cursor, &info) == 1)
        seen++;
    campaign_expect(c, seen == count, "the iteration yields %llu", (unsigned long long)seen);
    printf("  find %.2f us each, iteration %.3f us each\n", found * 1e6 / (double)finds,
           seconds_since(begun) * 1e6 / (double)count);
    hf_view_end(view);
}

/* A tenth goes: freed blocks between live ones, and names out of every part of the index. */
static void remove_objects(struct campaign *c, hf_store *store, uint64_t count)
{
    uint64_t removed = 0, begun = clock_ns();
    for (uint64_t i = 0; i < count;) {
        hf_txn *txn;
        if (!good(c, hf_begin(store, &txn), "hf_begin"))
            return;
        for (uint64_t end = i + BATCH * 10; i < end && i < count; i += 10) {
            char name[32];
            object_name(name, i);
            removed += hf_destroy(txn, name) == 0;
        }
        if (!good(c, hf_commit(txn), "hf_commit"))
            return;
    }
    campaign_expect(c, removed == (count + 9) / 10, "%llu were removed",
                    (unsigned long long)removed);
    printf("  removed %llu: %.2f us each\n", (unsigned long long)removed,
           seconds_since(begun) * 1e6 / (double)removed);
}

static void run_objects(struct campaign *c, const char *path, uint32_t index, uint64_t count)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    hf_store_info info;
    uint64_t begun = clock_ns();
    printf("%llu named objects of 8 bytes, index %s:\n", (unsigned long long)count,
           index == HF_INDEX_SET ? "set" : "hash");
    options.mode = HF_CREATE_NEW;
    options.index = index;
    if (!good(c, hf_open(path, &options, &store), "creating"))
        return;
    if (add_objects(c, store, count)) {
        printf("  made in %.2f s, %.2f us each\n", seconds_since(begun),
               seconds_since(begun) * 1e6 / (double)count);
        if (hf_info(store, &info) == 0)
            printf("  %.1f bytes each, names of 16 bytes\n",
                   (double)info.used_end_bytes / (double)count);
        print_size(store);
        find_objects(c, store, count, count < 1000000 ? count : 1000000);
        check_all(c, store, "the check of objects");
        remove_objects(c, store, count);
        check_all(c, store, "the check after removing");
    }
    begun = clock_ns();
    good(c, hf_close(store), "hf_close");
    printf("  closed in %.2f s\n", seconds_since(begun));
    begun = clock_ns();
    if (good(c, hf_open(path, NULL, &store), "opening again")) {
        hf_view *view;
        if (good(c, hf_view_begin(store, &view), "hf_view_begin")) {
            campaign_expect(c, hf_count_named(view) == count - (count + 9) / 10, "the count");
            printf("  opened in %.3f s\n", seconds_since(begun));
            hf_view_end(view);
        }
        good(c, hf_close(store), "hf_close");
    }
    good(c, hf_remove(path), "hf_remove");
}

int main(void)
{
    struct campaign c;
    struct statvfs space;
    char directory[400], path[480];
    campaign_start(&c, "space_large");
    if (!campaign_directory(NULL, directory, sizeof directory)) {
        printf("no directory for the files\n0 passed, 1 failed\n");
        return 1;
    }
    snprintf(path, sizeof path, "%s/large.hf", directory);
    uint64_t gigabytes = c.scale >= 10 ? 20 : campaign_count(&c, 3);
    if (gigabytes > 20)
        gigabytes = 20;
    uint64_t room = statvfs(directory, &space) == 0 ? (uint64_t)space.f_bavail * space.f_frsize : 0;
    if (room >> 30 < gigabytes * 3 / 2)
        printf("skipped: %llu GiB want %llu GiB of free disk, there are %llu\n",
               (unsigned long long)gigabytes, (unsigned long long)(gigabytes * 3 / 2),
               (unsigned long long)(room >> 30));
    else
        run_gigabytes(&c, path, gigabytes);
    uint64_t objects = campaign_count(&c, 1000000);
    run_objects(&c, path, HF_INDEX_SET, objects);
    run_objects(&c, path, HF_INDEX_HASH, objects);
    rmdir(directory);
    return campaign_end(&c);
}
