/* SPDX-License-Identifier: MIT */
/*
 * ex_named_unique_anonymous - the three kinds of object
 *
 * A named object is found by its name, a unique one by its type (there is one of it at most), an
 * anonymous one only through a reference that another object holds. A pointer to any of them tells
 * which it is.
 */
#include "example.h"

#include <string.h>

struct point {
    double x, y;
};
static const hf_type point_type = {"point", 1, sizeof(struct point), 8, HF_TYPE_BLOB, NULL, 0};

struct settings {
    hf_ref origin; /* the anonymous point */
};
static const hf_field settings_refs[] = {
    {offsetof(struct settings, origin), HF_FIELD_REF, &point_type}};
static const hf_type settings_type = {
    "settings", 1, sizeof(struct settings), 8, 0, settings_refs, 1};

static const char *const kind_names[] = {"?", "named", "unique", "anonymous"};

static void describe(hf_view *view, const void *object, uint32_t kind, uint64_t count)
{
    hf_object_info info;
    check(hf_object_at(view, object, &info) == 0, "the pointer is an object's");
    check(info.kind == kind && info.count == count, "kind and count are as made");
    printf("%-9s  name %-9s  type %-8s  %" PRIu64 " element(s), %" PRIu64 " bytes\n",
           kind_names[info.kind], info.name != NULL ? info.name : "-", info.type_name, info.count,
           info.size_bytes);
}

/* Each element is told its number. */
static int set_point(void *element, size_t index, void *argument)
{
    struct point *p = element;
    p->x = (double)index;
    p->y = *(double *)argument;
    return 0;
}

int main(void)
{
    hf_store *store;
    hf_txn *txn;
    check(hf_open_heap(1 << 20, NULL, &store) == 0, "a store in memory opens");
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    hf_view *view = hf_txn_view(txn);

    double height = 7.5;
    struct point *path = hf_construct_with(txn, "path", &point_type, 10, set_point, &height);
    struct settings *settings = hf_construct_unique(txn, &settings_type, 1);
    struct point *origin = hf_new(txn, &point_type, 1);
    check(path != NULL && settings != NULL && origin != NULL, "one of each kind is made");
    settings->origin = hf_ref_of(view, origin);
    describe(view, path, HF_KIND_NAMED, 10);
    describe(view, settings, HF_KIND_UNIQUE, 1);
    describe(view, origin, HF_KIND_ANONYMOUS, 1);
    check(path[9].x == 9 && path[9].y == 7.5, "the initialiser has run for each element");

    check(hf_construct(txn, "path", &point_type, 1) == NULL && hf_last_error()->code == HF_EEXIST,
          "a name is given once");
    check(hf_construct_unique(txn, &settings_type, 1) == NULL &&
              hf_last_error()->code == HF_EEXIST,
          "a unique object is one");
    size_t count = 0;
    check(hf_find(view, "path", &point_type, &count) == path && count == 10, "found by name");
    check(hf_find_unique(view, &settings_type, NULL) == settings, "found by type");
    check(hf_at(view, settings->origin) == origin, "reached through its reference");

    check(hf_destroy(txn, "path") == 0, "destroyed by name");
    check(hf_destroy_unique(txn, &settings_type) == 0, "destroyed by type");
    check(hf_destroy_ptr(txn, origin) == 0, "destroyed by pointer");
    check(hf_find(view, "path", NULL, NULL) == NULL && hf_last_error()->code == HF_ENOTFOUND,
          "it is gone");
    check(hf_commit(txn) == 0, "it commits");
    check(hf_close(store) == 0, "it closes");
    return 0;
}
