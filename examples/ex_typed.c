/* SPDX-License-Identifier: MIT */
/*
 * ex_typed - a tree whose type says all of its fields, checked by it, and upgraded to a new version
 *
 * A descriptor takes one line a field. The store checks every pointer by it, finds what nothing leads
 * to, and can be asked for the fields. When the struct changes, the type gets a new version and a
 * function that makes a new element of an old one.
 */
#include "example.h"

#include <string.h>

struct tree_v1 {
    hf_ref left, right;
    int32_t key;
};
#define TREE_V1_FIELDS(F, T)                                                                       \
    F(T, left, HF_FIELD_REF, &tree_v1)                                                             \
    F(T, right, HF_FIELD_REF, &tree_v1)                                                            \
    F(T, key, HF_FIELD_I32, NULL)
HF_TYPE_DEFINE(tree_v1, "tree", 1, struct tree_v1, TREE_V1_FIELDS);

struct tree {
    int64_t key;    /* wider, */
    char label[24]; /* and a new field */
    hf_ref left, right;
};
#define TREE_FIELDS(F, T)                                                                          \
    F(T, key, HF_FIELD_I64, NULL)                                                                  \
    F(T, label, HF_FIELD_TEXT, NULL)                                                               \
    F(T, left, HF_FIELD_REF, &tree)                                                                \
    F(T, right, HF_FIELD_REF, &tree)
HF_TYPE_DEFINE(tree, "tree", 2, struct tree, TREE_FIELDS);

static int to_v2(void *user, hf_txn *txn, const void *old, void *made, size_t index)
{
    const struct tree_v1 *from = old;
    struct tree *to = made;
    (void)user;
    (void)txn;
    (void)index;
    to->key = from->key;
    to->left = from->left; /* as they were: if that moves, they are corrected */
    to->right = from->right;
    snprintf(to->label, sizeof to->label, "number %d", from->key);
    return 0;
}

static hf_ref make(hf_txn *txn, int32_t low, int32_t high)
{
    if (low > high)
        return 0;
    const int32_t key = low + (high - low) / 2;
    struct tree_v1 *t =
        key == 50 ? hf_construct(txn, "root", &tree_v1, 1) : hf_new(txn, &tree_v1, 1);
    check(t != NULL, "a node is made");
    t->key = key;
    t->left = make(txn, low, key - 1);
    t->right = make(txn, key + 1, high);
    return hf_ref_of(hf_txn_view(txn), t);
}

static int64_t sum(hf_view *view, const struct tree *t)
{
    return t == NULL ? 0
                     : t->key + sum(view, hf_at(view, t->left)) + sum(view, hf_at(view, t->right));
}

static void count_leak(void *user, const hf_leak *leak)
{
    ++*(int *)user;
    printf("nothing leads to %" PRIu64 " of %s any more\n", leak->count, leak->type_name);
}

int main(void)
{
    hf_store *store;
    hf_txn *txn;
    check(hf_open_heap(1 << 20, NULL, &store) == 0, "a store in memory opens");
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    check(make(txn, 1, 99) != 0, "a tree grows");
    check(hf_commit(txn) == 0, "it commits");
    check(hf_check_sanity(store, NULL, NULL) == 0, "every pointer leads to a node");

    /* Years later: what a program does after each open. */
    static const hf_upgrade_step history[] = {{&tree_v1, &tree, to_v2, NULL}};
    hf_upgrade_report report;
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    check(hf_upgrade_all(txn, history, 1, 0, &report) == 0, "the tree is upgraded");
    check(hf_commit(txn) == 0, "it commits");
    printf("%" PRIu64 " nodes moved, %" PRIu64 " pointers with them\n", report.moved,
           report.pointers);

    check(hf_begin(store, &txn) == 0, "a transaction begins");
    hf_view *view = hf_txn_view(txn);
    const struct tree *root = hf_find(view, "root", &tree, NULL);
    check(root != NULL && strcmp(root->label, "number 50") == 0, "the root is of version 2");
    check(sum(view, root) == 99 * 100 / 2, "all nodes are there");

    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    hf_field_info field;
    check(hf_object_at(view, root, &info) == 0, "it is an object");
    while (hf_next_field(view, info.type_id, &cursor, &field) == 1)
        printf("  %-6s at %2u, %2u of %u bytes\n", field.name, field.offset, field.times,
               field.entry_bytes);

    struct tree *edit = hf_edit(txn, root, sizeof *root);
    check(edit != NULL, "the root can be edited");
    edit->left = 0; /* half the tree is cut off, and forgotten */
    check(hf_commit(txn) == 0, "it commits");
    int leaks = 0;
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    options.flags = HF_CHECK_LEAKS;
    options.on_leak = count_leak;
    options.user = &leaks;
    check(hf_check_sanity(store, &options, NULL) == 0, "that is no damage");
    check(leaks == 49, "but 49 nodes can't be reached");
    check(hf_close(store) == 0, "the store closes");
    return 0;
}
