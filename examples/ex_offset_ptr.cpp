/* SPDX-License-Identifier: MIT */
/* ex_offset_ptr - a linked list inside the file with hf::ptr, which reads like a plain pointer */
#include <holdfast.h>

#include <cstdio>
#include <cstdlib>

static const char *const path = "ex_offset_ptr_cpp.hf";

struct node {
    hf::ptr<node> next;
    int32_t value;
    int32_t reserved;
};
struct list {
    hf::ptr<node> head;
};

static void check(bool holds, const char *claim)
{
    if (holds)
        return;
    std::fprintf(stderr, "surprise: not so: %s\n(last error: %s)\n", claim,
                 hf_last_error()->message);
    std::exit(1);
}

static hf_type make_type(const char *name, uint32_t size_bytes, const hf_field *field)
{
    hf_type type = {name, 1, size_bytes, 8, 0, field, 1};
    return type;
}

int main()
{
    hf_type node_type, list_type;
    const hf_field field = {0, HF_FIELD_PTR, &node_type}; /* next and head both come first */
    node_type = make_type("node", sizeof(node), &field);
    list_type = make_type("list", sizeof(list), &field);

    hf_store *store = nullptr;
    hf_txn *txn = nullptr;
    hf_remove(path);
    check(hf_open(path, nullptr, &store) == 0, "the store opens");
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    list *squares = static_cast<list *>(hf_construct(txn, "squares", &list_type, 1));
    check(squares != nullptr, "a list is made");
    squares->head = nullptr;
    for (int i = 5; i >= 1; i--) {
        node *n = static_cast<node *>(hf_new(txn, &node_type, 1));
        check(n != nullptr, "a node is made");
        n->value = i * i;
        n->next = squares->head; /* copying keeps the target, not the distance */
        squares->head = n;
    }
    check(hf_commit(txn) == 0, "it commits");
    check(hf_close(store) == 0, "it closes");

    hf_view *view = nullptr;
    check(hf_open(path, nullptr, &store) == 0, "the store opens again");
    check(hf_view_begin(store, &view) == 0, "a view begins");
    const list *seen = static_cast<const list *>(hf_find(view, "squares", &list_type, nullptr));
    check(seen != nullptr, "the list is found");
    int count = 0;
    std::printf("the list:");
    for (const node *n = seen->head.get(); n != nullptr; n = n->next.get()) {
        count++;
        check(n->value == count * count, "the values are in order");
        std::printf(" %d", n->value);
    }
    std::printf("\n");
    check(count == 5, "there are five nodes");
    hf_view_end(view);
    check(hf_close(store) == 0, "it closes");
    check(hf_remove(path) == 0, "the store is removed");
    return 0;
}
