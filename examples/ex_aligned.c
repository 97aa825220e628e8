/* SPDX-License-Identifier: MIT */
/* ex_aligned - memory at a given alignment, which holds wherever the store is mapped */
#include "example.h"

#define PATH "ex_aligned.hf"

struct table {
    hf_ref blocks[13];
};
static const hf_type table_type = {.name = "table", .version = 1,
                                   .size_bytes = sizeof(struct table), .align_bytes = 8};

int main(void)
{
    hf_store *store;
    hf_txn *txn;
    hf_view *view;
    hf_remove(PATH);
    check(hf_open(PATH, NULL, &store) == 0, "the store opens");
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    struct table *table = hf_construct(txn, "table", &table_type, 1);
    check(table != NULL, "a table is made");
    for (unsigned i = 0; i < 13; i++) {
        size_t align = (size_t)16 << i; /* 16 bytes to 64 KiB */
        void *block = hf_alloc_aligned(txn, 100, align);
        check(block != NULL && (uintptr_t)block % align == 0, "a block has its alignment");
        table->blocks[i] = hf_ref_of(hf_txn_view(txn), block);
    }
    check(hf_alloc_aligned(txn, 100, 24) == NULL && hf_last_error()->code == HF_EINVAL,
          "only powers of two");
    check(hf_commit(txn) == 0, "it commits");
    check(hf_close(store) == 0, "it closes");

    /* Another mapping, most likely at another address: the alignment is the same. */
    check(hf_open(PATH, NULL, &store) == 0, "the store opens again");
    check(hf_view_begin(store, &view) == 0, "a view begins");
    const struct table *seen = hf_find(view, "table", &table_type, NULL);
    check(seen != NULL, "the table is found");
    for (unsigned i = 0; i < 13; i++) {
        const void *block = hf_at(view, seen->blocks[i]);
        check((uintptr_t)block % ((size_t)16 << i) == 0, "the alignment held");
        if (i % 4 == 0)
            printf("aligned to %5zu: reference %#" PRIx64 "\n", (size_t)16 << i, seen->blocks[i]);
    }
    hf_view_end(view);
    check(hf_close(store) == 0, "it closes");
    check(hf_remove(PATH) == 0, "the store is removed");
    return 0;
}
