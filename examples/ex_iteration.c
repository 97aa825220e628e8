/* SPDX-License-Identifier: MIT */
/* ex_iteration - walking over names, over those with a prefix, and over the registered types */
#include "example.h"

#include <string.h>

static const hf_type note_type = {"note", 1, 80, 8, HF_TYPE_BLOB, NULL, 0};
static const hf_type page_type = {"page", 2, 4096, 16, HF_TYPE_BLOB, NULL, 0};

int main(void)
{
    static const char *const names[] = {"notes/monday", "pages/1", "notes/friday", "pages/10",
                                        "pages/2",      "index"};
    hf_store *store;
    hf_txn *txn;
    hf_view *view;
    check(hf_open_heap(1 << 20, NULL, &store) == 0, "a store in memory opens");
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    for (size_t i = 0; i < 6; i++) {
        const hf_type *type = names[i][0] == 'p' ? &page_type : &note_type;
        check(hf_construct(txn, names[i], type, 1) != NULL, "an object is made");
    }
    check(hf_commit(txn) == 0, "it commits");

    check(hf_view_begin(store, &view) == 0, "a view begins");
    check(hf_count_named(view) == 6, "there are six names");
    hf_object_info info;
    hf_cursor cursor = HF_CURSOR_INIT;
    char previous[32] = "";
    int more, seen = 0;
    printf("all, in the order of their names:");
    while ((more = hf_next_named(view, &cursor, &info)) == 1) {
        check(strcmp(previous, info.name) < 0, "names come in order");
        snprintf(previous, sizeof previous, "%s", info.name);
        printf(" %s", info.name);
        seen++;
    }
    check(more == 0 && seen == 6, "each name came once");

    printf("\nthose that begin with pages/:");
    hf_cursor pages = HF_CURSOR_INIT;
    pages.prefix = "pages/";
    seen = 0;
    while ((more = hf_next_named(view, &pages, &info)) == 1) {
        check(strcmp(info.type_name, "page") == 0, "they are pages");
        printf(" %s", info.name);
        seen++;
    }
    check(more == 0 && seen == 3, "there are three");

    printf("\ntypes:");
    hf_cursor types = HF_CURSOR_INIT;
    hf_type_info type;
    seen = 0;
    while ((more = hf_next_type(view, &types, &type)) == 1) {
        printf(" %s (version %u, %u bytes)", type.name, type.version, type.size_bytes);
        seen++;
    }
    check(more == 0 && seen == 2, "both types are registered");
    printf("\n");
    hf_view_end(view);
    check(hf_close(store) == 0, "it closes");
    return 0;
}
