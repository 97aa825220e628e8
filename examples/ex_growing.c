/* SPDX-License-Identifier: MIT */
/*
 * ex_growing - three ways a store changes its size
 *
 * A closed store is made larger by hf_grow and cut at its used end by hf_shrink_to_fit. An open one
 * grows by itself when an allocation needs it, and no pointer changes.
 */
#include "example.h"

#include <string.h>

#define PATH "ex_growing.hf"

static uint64_t segment_size(hf_store *store)
{
    hf_store_info info;
    check(hf_info(store, &info) == 0, "hf_info answers");
    return info.size_bytes;
}

static hf_store *open_store(void)
{
    hf_store *store;
    check(hf_open(PATH, NULL, &store) == 0, "the store opens");
    return store;
}

/* A closed store: room is set aside on the disk beforehand, later given back. */
static void grow_and_shrink_closed(void)
{
    hf_store *store = open_store();
    hf_txn *txn;
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    char *text = hf_construct(txn, "greeting", NULL, 16);
    check(text != NULL, "the greeting is made");
    memcpy(text, "hello", 6);
    check(hf_commit(txn) == 0, "it commits");
    uint64_t before = segment_size(store);
    check(hf_grow(PATH, 500000) == HF_EALREADYOPEN, "an open store is not grown from outside");
    check(hf_close(store) == 0, "it closes");

    check(hf_grow(PATH, 500000) == 0, "the closed store grows");
    store = open_store();
    uint64_t grown = segment_size(store);
    check(grown >= before + 500000, "it has at least 500,000 bytes more");
    check(hf_close(store) == 0, "it closes");

    check(hf_shrink_to_fit(PATH) == 0, "the closed store shrinks");
    store = open_store();
    uint64_t shrunk = segment_size(store);
    check(shrunk < before, "what it never used is gone");
    hf_view *view;
    check(hf_view_begin(store, &view) == 0, "a view begins");
    const char *found = hf_find(view, "greeting", NULL, NULL);
    check(found != NULL && strcmp(found, "hello") == 0, "the greeting is still there");
    hf_view_end(view);
    check(hf_close(store) == 0, "it closes");
    printf("closed: %" PRIu64 " bytes, grown to %" PRIu64 ", shrunk to fit %" PRIu64 "\n", before,
           grown, shrunk);
}

/* An open store: the allocation grows the file, the pointer from before it stays good. */
static void grow_open(void)
{
    hf_store *store = open_store();
    uint64_t before = segment_size(store);
    hf_txn *txn;
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    char *small = hf_construct(txn, "small", NULL, 16);
    check(small != NULL, "a small object is made");
    char *large = hf_construct(txn, "large", NULL, 8 << 20);
    check(large != NULL, "an object larger than the whole store is made");
    memcpy(small, "still here", 11);
    large[(8 << 20) - 1] = 'z';
    check(hf_find(hf_txn_view(txn), "small", NULL, NULL) == small, "the small one has not moved");
    check(hf_commit(txn) == 0, "it commits");
    uint64_t after = segment_size(store);
    check(after >= before + (8 << 20), "the store has grown");
    check(hf_close(store) == 0, "it closes");
    printf("open:   %" PRIu64 " bytes, grown by itself to %" PRIu64 ", no pointer moved\n", before,
           after);
}

int main(void)
{
    hf_remove(PATH);
    grow_and_shrink_closed();
    grow_open();
    check(hf_remove(PATH) == 0, "the store is removed");
    return 0;
}
