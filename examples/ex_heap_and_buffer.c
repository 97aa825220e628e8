/* SPDX-License-Identifier: MIT */
/*
 * ex_heap_and_buffer - stores without a file
 *
 * A store in a heap block is scratch space that can be saved as a file. A store in a buffer of the
 * caller's is a message: its bytes can be copied anywhere and opened there as they are, because
 * nothing in it depends on its address.
 */
#include "example.h"

#include <string.h>

#define PATH "ex_heap_and_buffer.hf"
#define BUFFER_BYTES 65536

static const char *const words[] = {"one", "two", "three"};

static void fill(hf_store *store)
{
    hf_txn *txn;
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    for (size_t i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "message/%zu", i);
        char *text = hf_construct(txn, name, NULL, strlen(words[i]) + 1);
        check(text != NULL, "a message is made");
        memcpy(text, words[i], strlen(words[i]) + 1);
    }
    check(hf_commit(txn) == 0, "it commits");
}

static void print(hf_store *store, const char *where)
{
    hf_view *view;
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    size_t seen = 0;
    check(hf_view_begin(store, &view) == 0, "a view begins");
    printf("%s:", where);
    for (cursor.prefix = "message/"; hf_next_named(view, &cursor, &info) == 1; seen++) {
        check(strcmp(info.object, words[seen]) == 0, "the message reads as written");
        printf(" %s", (const char *)info.object);
    }
    printf("\n");
    check(seen == 3, "all messages are there");
    hf_view_end(view);
}

int main(void)
{
    hf_store *store;
    hf_options existing = HF_OPTIONS_INIT;
    existing.mode = HF_OPEN_EXISTING;
    hf_remove(PATH);

    check(hf_open_heap(1 << 20, NULL, &store) == 0, "a store on the heap opens");
    fill(store);
    print(store, "on the heap");
    check(hf_save_as(store, PATH, 0) == 0, "it is saved as a file");
    check(hf_close(store) == 0, "it closes, and is gone");
    check(hf_open(PATH, &existing, &store) == 0, "the file opens");
    print(store, "saved in a file");
    check(hf_close(store) == 0, "it closes");

    char *here = aligned_alloc(4096, BUFFER_BYTES), *there = aligned_alloc(4096, BUFFER_BYTES);
    check(here != NULL && there != NULL, "there is memory");
    memset(here, 0, BUFFER_BYTES);
    check(hf_open_buffer(here, BUFFER_BYTES, NULL, &store) == 0, "a store in the buffer opens");
    fill(store);
    check(hf_close(store) == 0, "it closes; its bytes stay");
    memcpy(there, here, BUFFER_BYTES); /* this could be a socket */
    memset(here, 0, BUFFER_BYTES);
    check(hf_open_buffer(there, BUFFER_BYTES, &existing, &store) == 0, "the copy opens");
    print(store, "in a copied buffer");
    check(hf_close(store) == 0, "it closes");
    free(here);
    free(there);
    check(hf_remove(PATH) == 0, "the file is removed");
    return 0;
}
