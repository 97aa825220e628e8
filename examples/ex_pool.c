/* SPDX-License-Identifier: MIT */
/*
 * ex_pool - the nodes of a list in a pool of their own
 *
 * They lie together, can be gone through without following a link, and are all freed in one call.
 */
#include "example.h"

struct node {
    hf_ref next;
    uint64_t value;
};

int main(void)
{
    hf_store *store;
    hf_txn *txn;
    hf_view *view;
    check(hf_open_heap(1 << 20, NULL, &store) == 0, "a store in memory opens");

    /* An adaptive pool: more than two empty chunks go back to the store by themselves. */
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    hf_pool *pool = hf_pool_create(txn, "lists/main", sizeof(struct node), 2);
    check(pool != NULL, "a pool for the nodes of a list");
    hf_ref head = 0;
    for (uint64_t i = 1; i <= 1000; i++) {
        struct node *node = hf_pool_alloc(txn, pool);
        check(node != NULL, "a node");
        *node = (struct node){head, i};
        head = hf_ref_of(hf_txn_view(txn), node);
    }
    check(hf_commit(txn) == 0, "it commits");

    check(hf_view_begin(store, &view) == 0, "a view begins");
    const hf_pool *found = hf_pool_find(view, "lists/main");
    const void *node;
    hf_ref place = 0;
    uint64_t sum = 0, count = 0;
    for (; hf_pool_next(view, found, &place, &node) == 1; count++)
        sum += ((const struct node *)node)->value;
    check(count == 1000 && sum == 500500, "all nodes are met, in whatever order");
    hf_view_end(view);
    printf("%llu nodes, the values add up to %llu\n", (unsigned long long)count,
           (unsigned long long)sum);

    check(hf_begin(store, &txn) == 0, "a transaction begins");
    check(hf_pool_destroy(txn, hf_pool_find(hf_txn_view(txn), "lists/main")) == 0,
          "the pool goes, and its nodes with it");
    check(hf_commit(txn) == 0, "it commits");
    check(hf_view_begin(store, &view) == 0, "a view begins");
    check(hf_all_memory_deallocated(view) == 1, "nothing is left");
    hf_view_end(view);
    printf("all of them were freed in one call\n");
    check(hf_close(store) == 0, "it closes");
    return 0;
}
