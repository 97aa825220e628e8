/* SPDX-License-Identifier: MIT */
/*
 * ex_offset_ptr - a linked list inside the file, with self-relative pointers
 *
 * An HF_PTR field holds the distance to its target, so the list reads the same wherever the file is
 * mapped, and it is followed without a view. ex_offset_ptr.cpp does the same in C++.
 */
#include "example.h"

#define PATH "ex_offset_ptr.hf"

struct node {
    HF_PTR(struct node) next;
    int32_t value;
    int32_t reserved;
};
static const hf_type node_type;
static const hf_field node_refs[] = {{offsetof(struct node, next), HF_FIELD_PTR, &node_type}};
static const hf_type node_type = {"node", 1, sizeof(struct node), 8, 0, node_refs, 1};

struct list {
    HF_PTR(struct node) head;
};
static const hf_field list_refs[] = {{offsetof(struct list, head), HF_FIELD_PTR, &node_type}};
static const hf_type list_type = {"list", 1, sizeof(struct list), 8, 0, list_refs, 1};

int main(void)
{
    hf_store *store;
    hf_txn *txn;
    hf_view *view;
    hf_remove(PATH);
    check(hf_open(PATH, NULL, &store) == 0, "the store opens");
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    struct list *list = hf_construct(txn, "list", &list_type, 1);
    check(list != NULL, "a list is made");
    hf_ptr_set(&list->head, NULL); /* null is 1, not 0: a zeroed field would point to itself */
    for (int i = 5; i >= 1; i--) {
        struct node *n = hf_new(txn, &node_type, 1);
        check(n != NULL, "a node is made");
        n->value = i * i;
        hf_ptr_set(&n->next, hf_ptr_get(&list->head));
        hf_ptr_set(&list->head, n);
    }
    check(hf_commit(txn) == 0, "it commits");
    check(hf_close(store) == 0, "it closes");

    check(hf_open(PATH, NULL, &store) == 0, "the store opens again");
    check(hf_view_begin(store, &view) == 0, "a view begins");
    const struct list *seen = hf_find(view, "list", &list_type, NULL);
    check(seen != NULL, "the list is found");
    int count = 0;
    printf("the list:");
    for (const struct node *n = hf_ptr_get(&seen->head); n != NULL; n = hf_ptr_get(&n->next)) {
        count++;
        check(n->value == count * count, "the values are in order");
        printf(" %d", n->value);
    }
    printf("\n");
    check(count == 5, "there are five nodes");
    hf_view_end(view);
    check(hf_close(store) == 0, "it closes");
    check(hf_remove(PATH) == 0, "the store is removed");
    return 0;
}
