/* SPDX-License-Identifier: MIT */
/*
 * ex_alloc_many - many blocks in one call, all or none
 *
 * They are cut from one stretch of memory where there is one, but each is a block of its own, to be
 * freed alone.
 */
#include "example.h"

#include <string.h>

#define COUNT 1000

int main(void)
{
    static void *same[COUNT];
    static const size_t sizes[5] = {1, 20, 300, 4000, 50000};
    void *different[5];
    hf_store *store;
    hf_txn *txn;
    hf_view *view;
    check(hf_open_heap(4 << 20, NULL, &store) == 0, "a store in memory opens");

    check(hf_begin(store, &txn) == 0, "a transaction begins");
    check(hf_alloc_many(txn, 48, COUNT, same) == 0, "a thousand blocks of one size");
    for (size_t i = 0; i < COUNT; i++)
        memset(same[i], (int)(i & 0xff), 48); /* each is ours to write */
    check(hf_alloc_many_sizes(txn, sizes, 5, different) == 0, "five blocks of five sizes");
    for (size_t i = 0; i < 5; i++)
        check(hf_usable_bytes(hf_txn_view(txn), different[i]) >= sizes[i], "each has its size");
    printf("%d blocks of 48 bytes lie within %td bytes\n", COUNT,
           (char *)same[COUNT - 1] - (char *)same[0] + 48);

    hf_free(txn, same[500]); /* one alone */
    hf_free_many(txn, different, 5);
    for (size_t i = 0; i < COUNT; i++) {
        if (i != 500)
            check(*(unsigned char *)same[i] == (i & 0xff), "no block overlaps another");
    }
    hf_free_many(txn, same, 500);
    hf_free_many(txn, same + 501, COUNT - 501);
    check(hf_commit(txn) == 0, "all frees were right, and take effect now");

    check(hf_view_begin(store, &view) == 0, "a view begins");
    check(hf_all_memory_deallocated(view) == 1, "nothing is left");
    hf_view_end(view);
    printf("all of them are freed: nothing is left in the store\n");

    /* All or none: the segment's limit is its first size here, so the last one can't fit. */
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    check(hf_alloc_many(txn, (size_t)1 << 44, 3, same) != 0, "more than the store may ever hold");
    printf("three blocks of 16 TiB: %s\n", hf_error_name(hf_last_error()->code));
    check(hf_commit(txn) == 0, "the transaction was not harmed");
    check(hf_close(store) == 0, "it closes");
    return 0;
}
