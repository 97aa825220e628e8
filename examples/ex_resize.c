/* SPDX-License-Identifier: MIT */
/*
 * ex_resize - changing the size of a block where it lies
 *
 * hf_resize moves the end or the start of a block into free neighbours, or gives its end back, or
 * failing that hands out a new block. The caller names the least it can use and what it would like,
 * and is told what it got.
 */
#include "example.h"

#include <string.h>

/* Three blocks in a row are made; the first is then freed, so that the second has room before
 * it. */
static void make_row(hf_store *store, hf_ref row[3])
{
    hf_txn *txn;
    static const size_t sizes[3] = {1008, 1008,
                                    1008}; /* of one size they might be slots of a chunk */
    void *blocks[3];
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    check(hf_alloc_many_sizes(txn, sizes, 3, blocks) == 0, "three blocks are made in one call");
    for (int i = 0; i < 3; i++)
        row[i] = hf_ref_of(hf_txn_view(txn), blocks[i]);
    memcpy(blocks[1], "content", 8);
    check(hf_commit(txn) == 0, "it commits");
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    hf_free(txn, hf_at(hf_txn_view(txn), row[0]));
    check(hf_commit(txn) == 0, "the first block is free now");
}

int main(void)
{
    hf_store *store;
    hf_txn *txn;
    hf_ref row[3];
    check(hf_open_heap(1 << 20, NULL, &store) == 0, "a store in memory opens");
    make_row(store, row);
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    const char *old = hf_at(hf_txn_view(txn), row[1]);
    size_t had = hf_usable_bytes(hf_txn_view(txn), old);
    size_t received = 0;

    /* Forward: the third block is in the way. Nothing happens, and we learn what could be had. */
    check(hf_resize(txn, HF_EXPAND_FORWARD, old, 3000, 3000, &received) == NULL &&
              hf_last_error()->code == HF_EFULL,
          "a block can't grow over its neighbour");
    printf("forward to 3000 bytes: refused, at most %zu\n", received);
    check(received < 3000, "less than the limit could be had");

    /* Backward: over the freed first block. The content stays where it is, later in the block. */
    char *start =
        hf_resize(txn, HF_EXPAND_FORWARD | HF_EXPAND_BACKWARD, old, 1500, 2000, &received);
    check(start != NULL && start < old, "the block begins earlier now");
    check(received >= 1500, "at least the limit was received");
    check(strcmp(old, "content") == 0, "the content has not moved");
    printf("backward: %zu bytes became %zu, the content now begins %td bytes into the block\n", had,
           received, old - start);

    /* Shrinking: at most the limit stays. */
    memmove(start, old, 8);
    check(hf_resize(txn, HF_SHRINK_IN_PLACE, start, 200, 100, &received) == start,
          "a block is shrunk where it is");
    check(received >= 100 && received <= 200, "what stays lies between preferred and limit");
    printf("shrunk to %zu bytes\n", received);

    /* A new block if nothing else will do. The old one stays until it is freed. */
    char *fresh = hf_resize(txn, HF_EXPAND_FORWARD | HF_ALLOCATE_NEW,
                            hf_at(hf_txn_view(txn), row[2]), 4000, 5000, &received);
    check(fresh != NULL && received >= 4000, "it was expanded, or a new one was found");
    printf("forward or new: %zu bytes, %s\n", received,
           hf_ref_of(hf_txn_view(txn), fresh) == row[2] ? "in place" : "a new block");
    check(strcmp(start, "content") == 0, "the content is still good");
    check(hf_commit(txn) == 0, "it commits");
    check(hf_check_sanity(store, NULL, NULL) == 0, "the store is sound");
    check(hf_close(store) == 0, "it closes");
    return 0;
}
