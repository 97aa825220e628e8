/* SPDX-License-Identifier: MIT */
/*
 * test_refs.c - what a type says of its fields is kept in the store, and the pointers are found by it
 */
#include "holdfast.h"
#include "store/refs.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct leaf {
    uint64_t value;
};
static const hf_type leaf_type = {"leaf", 1, sizeof(struct leaf), 8, HF_TYPE_BLOB, NULL, 0};

struct tree {
    hf_ref parent;
    HF_PTR(struct leaf) leaf;
    uint16_t n;
    char label[6];
    hf_ref child[4];
    hf_ref fixed[2];
    double weight;
};
#define TREE_FIELDS(F, T)                                                                          \
    F(T, parent, HF_FIELD_REF, &tree_type)                                                         \
    F(T, leaf, HF_FIELD_PTR, &leaf_type)                                                           \
    F(T, label, HF_FIELD_TEXT, NULL)                                                               \
    F(T, n, HF_FIELD_U16, NULL)                                                                    \
    F(T, child, HF_FIELD_REF | HF_FIELD_COUNTED, &tree_type)                                       \
    F(T, fixed, HF_FIELD_REF, NULL)                                                                \
    F(T, weight, HF_FIELD_F64, NULL)
HF_TYPE_DEFINE(tree_type, "tree", 3, struct tree, TREE_FIELDS);

static hf_store *store;
static hf_txn *txn;

static int set_up(void **state)
{
    (void)state;
    return hf_open_heap(1 << 20, NULL, &store) == 0 && hf_begin(store, &txn) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    hf_abort(txn);
    return hf_close(store);
}

static const struct hf__type_record *record_of(const hf_type *type)
{
    uint32_t id;
    assert_int_equal(hf__type_find(store, type, &id), 0);
    return hf__type_record(&store->seg, id, true);
}

static void test_refs_macro_describes_the_struct(void **state)
{
    (void)state;
    assert_non_null(hf_construct(txn, "t", &tree_type, 1));
    const struct hf__type_record *record = record_of(&tree_type);
    static const char *const names[] = {"parent", "leaf", "label", "n", "child", "fixed", "weight"};
    static const uint32_t times[] = {1, 1, 6, 1, 4, 2, 1};
    assert_int_equal(record->field_count, 7);
    assert_true(hf__type_fields_ok(record));
    for (uint32_t i = 0; i < 7; i++) {
        assert_string_equal(hf__type_field_name(record, i), names[i]);
        assert_int_equal(HF_FIELD_TIMES(hf__type_record_fields(record)[i].kind), times[i]);
    }
    assert_null(hf__type_field_name(record, 7));
    assert_int_equal(hf__type_record_fields(record)[4].offset, offsetof(struct tree, child));
    assert_int_equal(hf__type_record_fields(record)[6].offset, offsetof(struct tree, weight));
}

static void test_refs_fields_can_be_asked_for(void **state)
{
    (void)state;
    struct tree *t = hf_construct(txn, "t", &tree_type, 1);
    hf_view *view = hf_txn_view(txn);
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info object;
    hf_field_info field;
    assert_int_equal(hf_object_at(view, t, &object), 0);
    assert_int_equal(hf_next_field(view, object.type_id, &cursor, &field), 1);
    assert_string_equal(field.name, "parent");
    assert_string_equal(field.target_name, "tree");
    assert_int_equal(field.target_version, 3);
    assert_int_equal(field.target_id, object.type_id);
    for (int i = 0; i < 4; i++)
        assert_int_equal(hf_next_field(view, object.type_id, &cursor, &field), 1);
    assert_string_equal(field.name, "child");
    assert_int_equal(field.kind, HF_FIELD_REF);
    assert_int_equal(field.times, 4);
    assert_int_equal(field.counted, 1);
    assert_int_equal(field.entry_bytes, 8);
    assert_int_equal(field.offset, offsetof(struct tree, child));
    assert_int_equal(hf_next_field(view, object.type_id, &cursor, &field), 1);
    assert_null(field.target_name);
    assert_int_equal(hf_next_field(view, object.type_id, &cursor, &field), 1);
    assert_int_equal(field.kind, HF_FIELD_F64);
    assert_int_equal(hf_next_field(view, object.type_id, &cursor, &field), 0);
    cursor = (hf_cursor)HF_CURSOR_INIT;
    assert_int_equal(hf_next_field(view, 99, &cursor, &field), HF_ENOTFOUND);
    assert_int_equal(hf_next_field(view, 0, &cursor, &field), HF_ENOTFOUND);
}

struct seen {
    struct hf__ref_field fields[32];
    uint32_t count, stop_at;
};

static int see(void *user, const struct hf__ref_field *field)
{
    struct seen *seen = user;
    seen->fields[seen->count++] = *field;
    return seen->count == seen->stop_at ? 7 : 0;
}

static void test_refs_each_finds_what_counts(void **state)
{
    (void)state;
    struct tree *t = hf_construct(txn, "t", &tree_type, 2);
    assert_non_null(t);
    const hf_ref at = hf_ref_of(hf_txn_view(txn), t);
    t[0].n = 3;
    t[1].n = 60000; /* more than there are: all */
    struct seen seen = {.count = 0};
    const struct hf__type_record *record = record_of(&tree_type);
    assert_int_equal(hf__refs_each(&store->seg, record, at, 2, see, &seen), 0);
    assert_int_equal(seen.count, 2 * (1 + 1 + 2) + 3 + 4);
    assert_int_equal(seen.fields[0].at, at + offsetof(struct tree, parent));
    assert_int_equal(seen.fields[1].kind, HF_FIELD_PTR);
    assert_int_equal(seen.fields[4].at, at + offsetof(struct tree, child) + 16);
    assert_int_equal(seen.fields[4].entry, 2);
    assert_int_equal(seen.fields[5].at, at + offsetof(struct tree, fixed));
    assert_int_equal(seen.fields[7].at, at + sizeof(struct tree));
    seen = (struct seen){.stop_at = 5};
    assert_int_equal(hf__refs_each(&store->seg, record, at, 2, see, &seen), 7);
    assert_int_equal(seen.count, 5);
}

static void test_refs_are_read_and_encoded_alike(void **state)
{
    (void)state;
    struct tree *t = hf_construct(txn, "t", &tree_type, 1);
    struct leaf *leaf = hf_new(txn, &leaf_type, 1);
    assert_true(t != NULL && leaf != NULL);
    hf_view *view = hf_txn_view(txn);
    const hf_ref at = hf_ref_of(view, t), to = hf_ref_of(view, leaf);
    hf_ptr_set(&t->leaf, leaf);
    t->parent = to;
    const uint64_t field = at + offsetof(struct tree, leaf);
    assert_int_equal(hf__ref_read(&store->seg, field, HF_FIELD_PTR), to);
    assert_int_equal(hf__ref_encode(field, HF_FIELD_PTR, to), (uint64_t)t->leaf.offset);
    assert_int_equal(hf__ref_read(&store->seg, at, HF_FIELD_REF), to);
    assert_int_equal(hf__ref_encode(at, HF_FIELD_REF, to), to);
    hf_ptr_set(&t->leaf, NULL);
    assert_int_equal(hf__ref_read(&store->seg, field, HF_FIELD_PTR), 0);
    assert_int_equal(hf__ref_encode(field, HF_FIELD_PTR, 0), (uint64_t)HF_PTR_NULL);
}

static void expect_refused(const hf_field *fields, size_t count, uint32_t flags)
{
    const hf_type type = {"refused", 1, 32, 8, flags, fields, count};
    assert_null(hf_new(txn, &type, 1));
    assert_int_equal(hf_last_error()->code, HF_ETYPE);
}

static void test_refs_of_nonsense_are_refused(void **state)
{
    (void)state;
    static const hf_field past[] = {{24, HF_FIELD_ARRAY(HF_FIELD_REF, 2), NULL}};
    static const hf_field no_kind[] = {{0, HF_FIELD_BYTES + 1, NULL}};
    static const hf_field first_counted[] = {{0, HF_FIELD_REF | HF_FIELD_COUNTED, NULL}};
    static const hf_field by_float[] = {{0, HF_FIELD_F64, NULL},
                                        {8, HF_FIELD_REF | HF_FIELD_COUNTED, NULL}};
    static const hf_field by_array[] = {{0, HF_FIELD_ARRAY(HF_FIELD_U32, 2), NULL},
                                        {8, HF_FIELD_REF | HF_FIELD_COUNTED, NULL}};
    static const hf_field aimed_number[] = {{0, HF_FIELD_U64, &leaf_type}};
    static const hf_field ref[] = {{0, HF_FIELD_REF, NULL}};
    static const hf_field number[] = {{0, HF_FIELD_U64, NULL}};
    expect_refused(past, 1, 0);
    expect_refused(no_kind, 1, 0);
    expect_refused(first_counted, 1, 0);
    expect_refused(by_float, 2, 0);
    expect_refused(by_array, 2, 0);
    expect_refused(aimed_number, 1, 0);
    expect_refused(ref, 1, HF_TYPE_BLOB);
    const hf_type blob = {"blob", 1, 32, 8, HF_TYPE_BLOB, number, 1};
    assert_non_null(hf_new(txn, &blob, 1));
}

static void test_refs_other_field_names_are_another_shape(void **state)
{
    (void)state;
    static const hf_field number[] = {{0, HF_FIELD_U64, NULL}};
    static const hf_type one = {"named\0x", 1, 8, 8, HF_TYPE_FIELD_NAMES, number, 1};
    static const hf_type same = {"named\0x", 1, 8, 8, HF_TYPE_FIELD_NAMES, number, 1};
    static const hf_type other = {"named\0y", 1, 8, 8, HF_TYPE_FIELD_NAMES, number, 1};
    assert_non_null(hf_new(txn, &one, 1));
    assert_non_null(hf_new(txn, &same, 1));
    assert_null(hf_new(txn, &other, 1));
    assert_int_equal(hf_last_error()->code, HF_ETYPE);
}

/* A dump can't tell them apart, and what it loads must find the program's own type. */
static void test_refs_array_of_one_is_a_plain_field(void **state)
{
    (void)state;
    static const hf_field plain[] = {{0, HF_FIELD_REF, NULL}};
    static const hf_field one[] = {{0, HF_FIELD_ARRAY(HF_FIELD_REF, 1), NULL}};
    static const hf_field two[] = {{0, HF_FIELD_ARRAY(HF_FIELD_REF, 2), NULL}};
    hf_type type = {"holder", 1, 16, 8, 0, plain, 1};
    assert_non_null(hf_construct(txn, "x", &type, 1));
    type.refs = one;
    assert_non_null(hf_find(hf_txn_view(txn), "x", &type, NULL));
    type.refs = two;
    assert_null(hf_find(hf_txn_view(txn), "x", &type, NULL));
    assert_int_equal(hf_last_error()->code, HF_ETYPE);
}

static void test_refs_raw_blocks_are_gone_through(void **state)
{
    (void)state;
    hf_cursor cursor = HF_CURSOR_INIT;
    const void *found, *small = hf_alloc(txn, 24), *large = hf_alloc(txn, 100000);
    size_t size, seen = 0;
    assert_non_null(hf_construct(txn, "x", NULL, 24));
    while (hf_next_raw(hf_txn_view(txn), &cursor, &found, &size) == 1) {
        assert_true(found == small || found == large);
        assert_int_equal(size, hf_usable_bytes(hf_txn_view(txn), found));
        seen++;
    }
    assert_int_equal(seen, 2);
    cursor = (hf_cursor)HF_CURSOR_INIT;
    cursor.prefix = "x";
    assert_int_equal(hf_next_raw(hf_txn_view(txn), &cursor, &found, &size), HF_ENOTSUP);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_refs_macro_describes_the_struct),
        CASE(test_refs_fields_can_be_asked_for),
        CASE(test_refs_each_finds_what_counts),
        CASE(test_refs_are_read_and_encoded_alike),
        CASE(test_refs_of_nonsense_are_refused),
        CASE(test_refs_other_field_names_are_another_shape),
        CASE(test_refs_array_of_one_is_a_plain_field),
        CASE(test_refs_raw_blocks_are_gone_through),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
