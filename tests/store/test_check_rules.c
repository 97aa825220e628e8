/* SPDX-License-Identifier: MIT */
/*
 * test_check_rules.c - each rule of the store's own check, broken by hand, is reported by its name
 *
 * The store lies in a buffer, so a test reaches every byte. Allocator and indexes have such tests
 * of their own in tests/alloc and tests/index.
 */
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIZE ((size_t)256 * 1024)

struct pair {
    hf_ref other;
    uint64_t value;
};
static const hf_type pair_type;
static const hf_field pair_refs[] = {{offsetof(struct pair, other), HF_FIELD_REF, &pair_type}};
static const hf_type pair_type = {"pair", 1, sizeof(struct pair), 16, 0, pair_refs, 1};

struct fixture {
    unsigned char *buffer;
    hf_store *store;
    hf_ref named, unique, anonymous, raw; /* of the elements */
    char rules[64][32];
    size_t rule_count;
};

static struct fixture f;

static int set_up(void **state)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_txn *txn;
    (void)state;
    memset(&f, 0, sizeof f);
    options.mode = HF_CREATE_NEW;
    options.index = HF_INDEX_HASH;
    f.buffer = aligned_alloc(4096, SIZE);
    if (f.buffer == NULL || hf_open_buffer(f.buffer, SIZE, &options, &f.store) != 0 ||
        hf_begin(f.store, &txn) != 0)
        return -1;
    hf_view *view = hf_txn_view(txn);
    f.named = hf_ref_of(view, hf_construct(txn, "the name", &pair_type, 2));
    f.unique = hf_ref_of(view, hf_construct_unique(txn, &pair_type, 1));
    f.anonymous = hf_ref_of(view, hf_new(txn, &pair_type, 3));
    f.raw = hf_ref_of(view, hf_alloc(txn, 100));
    return f.named && f.unique && f.anonymous && f.raw ? hf_commit(txn) : -1;
}

static int tear_down(void **state)
{
    (void)state;
    hf_close(f.store);
    free(f.buffer);
    return 0;
}

static void remember(void *user, const hf_finding *finding)
{
    (void)user;
    assert_non_null(finding->rule);
    assert_true(strlen(finding->expected) > 0);
    if (f.rule_count < 64)
        snprintf(f.rules[f.rule_count++], 32, "%s", finding->rule);
}

static void expect_rule(const char *rule)
{
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    hf_check_report report = {0};
    options.on_finding = remember;
    f.rule_count = 0;
    assert_int_equal(hf_check_sanity(f.store, &options, &report), HF_ECORRUPT);
    assert_true(report.findings > 0);
    for (size_t i = 0; i < f.rule_count; i++)
        if (strcmp(f.rules[i], rule) == 0)
            return;
    for (size_t i = 0; i < f.rule_count; i++)
        print_message("found: %s\n", f.rules[i]);
    fail_msg("%s was not reported", rule);
}

static struct hf__segment_header *header(void)
{
    return (struct hf__segment_header *)f.buffer;
}

static struct hf__object_header *object(hf_ref elements)
{
    return (struct hf__object_header *)(f.buffer + elements - sizeof(struct hf__object_header));
}

/* A change to an object header that its checksum goes along with. */
static void seal(hf_ref elements)
{
    struct hf__object_header *at = object(elements);
    at->check = hf__object_check(&f.store->seg, elements - sizeof *at, at);
}

static void test_sound_store_has_no_findings(void **state)
{
    hf_check_report report;
    (void)state;
    assert_int_equal(hf_check_sanity(f.store, NULL, &report), 0);
    assert_int_equal(report.named, 1);
    assert_int_equal(report.unique, 1);
    assert_int_equal(report.anonymous, 1);
    assert_int_equal(report.raw, 1);
    assert_int_equal(report.types, 1);
}

static void test_segment_header_fields(void **state)
{
    (void)state;
    header()->magic ^= 1;
    expect_rule("segment.magic");
    header()->magic ^= 1;
    header()->constants.created_ns ^= 1;
    expect_rule("segment.constants");
    header()->constants.created_ns ^= 1;
    uint64_t size = header()->size_bytes;
    header()->size_bytes = header()->heap.used_end - 64;
    expect_rule("segment.size");
    header()->size_bytes = size;
    header()->reserved[600] = 1;
    expect_rule("segment.reserved");
    header()->reserved[600] = 0;
    header()->heap.first += 16;
    expect_rule("segment.first");
    header()->heap.first -= 16;
    test_sound_store_has_no_findings(state);
}

static void test_counters(void **state)
{
    (void)state;
    header()->raw_count++;
    expect_rule("count.raw");
    header()->raw_count--;
    header()->anonymous_count--;
    expect_rule("count.anonymous");
}

static void test_object_header(void **state)
{
    (void)state;
    object(f.anonymous)->count ^= 4;
    expect_rule("object.header");
}

static void test_object_of_unknown_type(void **state)
{
    (void)state;
    object(f.anonymous)->type_id = 77;
    seal(f.anonymous);
    expect_rule("object.type");
}

static void test_object_whose_size_is_not_count_times_type(void **state)
{
    (void)state;
    object(f.anonymous)->count--;
    seal(f.anonymous);
    expect_rule("object.size");
}

static void test_object_with_another_name(void **state)
{
    (void)state;
    char *name = (char *)f.buffer + f.named - sizeof(struct hf__object_header) - 16;
    assert_string_equal(name, "the name");
    name[0] = 'T';
    expect_rule("object.name");
}

static void test_node_with_garbage_in_its_reserve(void **state)
{
    (void)state;
    struct hf__index_node *node =
        (struct hf__index_node *)(f.buffer + f.named - sizeof(struct hf__object_header) - 16) - 1;
    node->reserved = 9;
    expect_rule("object.node");
}

static void test_object_missing_from_its_index(void **state)
{
    (void)state;
    memset(&header()->unique, 0, sizeof header()->unique);
    expect_rule("index.complete");
}

static void test_index_memory_that_nobody_owns(void **state)
{
    (void)state;
    header()->type_table = 0;
    header()->type_count = header()->type_capacity = 0;
    expect_rule("system.unowned");
}

static void test_index_memory_that_is_not_there(void **state)
{
    (void)state;
    header()->type_table = f.raw;
    expect_rule("system.missing");
}

static void test_index_memory_owned_twice(void **state)
{
    (void)state;
    header()->unique.root = header()->named.root;
    expect_rule("system.shared");
}

static void test_type_record(void **state)
{
    (void)state;
    hf_ref at = *(hf_ref *)(void *)(f.buffer + header()->type_table);
    struct hf__type_record *record = (struct hf__type_record *)(f.buffer + at);
    record->align_bytes = 8;
    expect_rule("type.record");
    record->align_bytes = 16;
    const uint32_t size_bytes = record->size_bytes;
    record->size_bytes = 0; /* nobody is to divide by it: the type isn't told */
    hf_view *view;
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_type_info info;
    assert_int_equal(hf_view_begin(f.store, &view), 0);
    assert_int_not_equal(hf_next_type(view, &cursor, &info), 1);
    hf_view_end(view);
    record->check = hf__type_record_check(&f.store->seg, record);
    expect_rule("type.record");
    record->size_bytes = size_bytes;
    record->check = hf__type_record_check(&f.store->seg, record);
    struct hf__type_field *field = (struct hf__type_field *)(record + 1);
    assert_int_equal(field->target_id, 1);
    field->target_id = 5;
    record->check = hf__type_record_check(&f.store->seg, record);
    expect_rule("type.target");
    field->target_id = 1;
    field->offset += 4096;
    record->check = hf__type_record_check(&f.store->seg, record);
    expect_rule("type.field");
    field->offset -= 4096;
    field->kind |= HF_FIELD_COUNTED; /* by the field before the first */
    record->check = hf__type_record_check(&f.store->seg, record);
    expect_rule("type.field");
    field->kind &= ~HF_FIELD_COUNTED;
    record->check = hf__type_record_check(&f.store->seg, record);
    header()->type_capacity = 0;
    expect_rule("type.table");
}

static void test_element_that_is_not_aligned_as_its_type(void **state)
{
    (void)state;
    hf_ref at = *(hf_ref *)(void *)(f.buffer + header()->type_table);
    struct hf__type_record *record = (struct hf__type_record *)(f.buffer + at);
    record->align_bytes = 65536;
    record->check = hf__type_record_check(&f.store->seg, record);
    expect_rule("object.align");
}

static void test_block_left_waiting_to_be_freed(void **state)
{
    (void)state;
    f.store->seg.door = NULL;
    assert_int_equal(hf__block_set_pending(&f.store->heap, f.raw), 0);
    expect_rule("block.pending");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_sound_store_has_no_findings),
        CASE(test_segment_header_fields),
        CASE(test_counters),
        CASE(test_object_header),
        CASE(test_object_of_unknown_type),
        CASE(test_object_whose_size_is_not_count_times_type),
        CASE(test_object_with_another_name),
        CASE(test_node_with_garbage_in_its_reserve),
        CASE(test_object_missing_from_its_index),
        CASE(test_index_memory_that_nobody_owns),
        CASE(test_index_memory_that_is_not_there),
        CASE(test_index_memory_owned_twice),
        CASE(test_type_record),
        CASE(test_element_that_is_not_aligned_as_its_type),
        CASE(test_block_left_waiting_to_be_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
