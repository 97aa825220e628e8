/* SPDX-License-Identifier: MIT */
/*
 * ex_types - telling the store what its objects look like
 *
 * A descriptor names a type, its version and size, and where its reference fields are. It is
 * registered when first used; a program built with another idea of the type is refused instead of
 * reading nonsense.
 */
#include "example.h"

struct author {
    char name[32];
};
struct book {
    hf_ref author;
    hf_ref sequel;
    uint32_t year, pages;
};

static const hf_type author_type = {"author", 1, sizeof(struct author), 1, HF_TYPE_BLOB, NULL, 0};
static const hf_type book_type;
static const hf_field book_refs[] = {{offsetof(struct book, author), HF_FIELD_REF, &author_type},
                                     {offsetof(struct book, sequel), HF_FIELD_REF, &book_type}};
static const hf_type book_type = {"book", 1, sizeof(struct book), 8, 0, book_refs, 2};

static void make_books(hf_store *store)
{
    hf_txn *txn;
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    struct author *author = hf_new(txn, &author_type, 1);
    struct book *first = hf_construct(txn, "books/first", &book_type, 1);
    struct book *second = hf_construct(txn, "books/second", &book_type, 1);
    check(author != NULL && first != NULL && second != NULL, "objects are made");
    snprintf(author->name, sizeof author->name, "A. Writer");
    first->author = second->author = hf_ref_of(hf_txn_view(txn), author);
    first->sequel = hf_ref_of(hf_txn_view(txn), second);
    first->year = 1999;
    second->year = 2001;
    check(hf_commit(txn) == 0, "it commits");
}

int main(void)
{
    hf_store *store;
    hf_view *view;
    check(hf_open_heap(1 << 20, NULL, &store) == 0, "a store in memory opens");
    make_books(store);
    check(hf_view_begin(store, &view) == 0, "a view begins");

    const struct book *first = hf_find(view, "books/first", &book_type, NULL);
    check(first != NULL, "found with the right descriptor");
    const struct book *second = hf_at(view, first->sequel);
    const struct author *author = hf_at(view, first->author);
    check(second != NULL && author != NULL && second->year == 2001, "references lead on");
    printf("%s wrote one in %u and its sequel in %u\n", author->name, first->year, second->year);

    hf_type larger = book_type; /* a field was added, and the version forgotten */
    larger.size_bytes += 8;
    check(hf_find(view, "books/first", &larger, NULL) == NULL &&
              hf_last_error()->code == HF_ETYPE,
          "another size is refused");
    printf("a program with a larger struct gets %s\n", hf_error_name(HF_ETYPE));
    hf_type newer = book_type;
    newer.version = 2;
    check(hf_find(view, "books/first", &newer, NULL) == NULL && hf_last_error()->code == HF_ETYPE,
          "another version is refused");
    check(hf_find(view, "books/first", &author_type, NULL) == NULL &&
              hf_last_error()->code == HF_ETYPE,
          "another type is refused");
    check(hf_find(view, "books/first", NULL, NULL) == first, "NULL takes any type");

    hf_cursor cursor = HF_CURSOR_INIT;
    hf_type_info info;
    while (hf_next_type(view, &cursor, &info) == 1)
        printf("registered: %s, version %u, %u bytes, %u reference field(s)\n", info.name,
               info.version, info.size_bytes, info.ref_count);
    hf_view_end(view);
    check(hf_close(store) == 0, "it closes");
    return 0;
}
