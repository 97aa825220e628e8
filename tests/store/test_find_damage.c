/* SPDX-License-Identifier: MIT */
/*
 * test_find_damage.c - hf_find looks at all it goes by: name, header and bounds, also on its short way
 *
 * In a buffer, whose bytes are changed between two finds as a damaged file would have them.
 */
#include "store_fixture.h"

#include "store/store.h"

static const uint32_t indexes[] = {HF_INDEX_HASH, HF_INDEX_SET, HF_INDEX_FLAT};
/* The short way is for 9 to 16 bytes. */
static const char *const names[] = {"12345678",        "123456789",        "obj/00000001",
                                    "15-bytes-longer", "16-bytes-is-last", "17-bytes-are-many"};
#define NAMES (sizeof names / sizeof *names)

static _Alignas(4096) unsigned char buffer[1 << 20];

/* A store with an object of each name, and a view. */
static hf_store *make_store(uint32_t index, hf_view **view)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    hf_txn *txn = NULL;
    options.mode = HF_CREATE_NEW;
    options.index = index;
    assert_ok(hf_open_buffer(buffer, sizeof buffer, &options, &store));
    assert_ok(hf_begin(store, &txn));
    for (size_t i = 0; i < NAMES; i++)
        assert_got(hf_construct(txn, names[i], NULL, 10 + i));
    assert_ok(hf_commit(txn));
    assert_ok(hf_view_begin(store, view));
    return store;
}

static void end(hf_store *store, hf_view *view)
{
    hf_view_end(view);
    assert_ok(hf_close(store));
}

/* The object of a name, which is found as it should be, and where its header is. */
static unsigned char *find(hf_view *view, size_t i, struct hf__object_header **header)
{
    size_t count = 0;
    const void *object = hf_find(view, names[i], NULL, &count);
    assert_got(object);
    assert_int_equal(count, 10 + i);
    unsigned char *at = buffer + ((const unsigned char *)object - buffer);
    *header = (struct hf__object_header *)(void *)(at - sizeof **header);
    return at;
}

/* Does something to each object of each kind of index, and takes it back: it is found afterwards. */
static void with_each_object(void (*act)(hf_view *view, size_t i))
{
    struct hf__object_header *header;
    hf_view *view = NULL;
    for (size_t k = 0; k < sizeof indexes / sizeof *indexes; k++) {
        hf_store *store = make_store(indexes[k], &view);
        for (size_t i = 0; i < NAMES; i++) {
            act(view, i);
            find(view, i, &header);
        }
        end(store, view);
    }
}

static void flip_bits(hf_view *view, size_t i)
{
    struct hf__object_header *header;
    unsigned char *bytes = find(view, i, &header) - sizeof *header;
    for (size_t bit = 0; bit < 8 * sizeof *header; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_fails(hf_find(view, names[i], NULL, NULL), HF_ECORRUPT);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
}

static void test_header_with_one_bit_wrong_is_no_object(void **state)
{
    (void)state;
    with_each_object(flip_bits);
}

static void test_entry_of_another_name_is_not_taken_for_the_wanted_one(void **state)
{
    (void)state;
    struct hf__object_header *header;
    hf_view *view = NULL;
    hf_store *store = make_store(HF_INDEX_HASH, &view);
    for (size_t i = 0; i < NAMES; i++) {
        const size_t bytes = strlen(names[i]);
        const unsigned char *object = find(view, i, &header);
        unsigned char *name = buffer + (object - buffer) - sizeof *header - (bytes + 16) / 16 * 16;
        for (size_t k = 0; k < bytes; k++) {
            name[k] ^= 1;
            assert_fails(hf_find(view, names[i], NULL, NULL), HF_ENOTFOUND);
            name[k] ^= 1;
        }
        find(view, i, &header);
    }
    end(store, view);
}

/* With a check that is right, so that nothing but the bounds is against it. */
static void end_behind_the_segment(hf_view *view, size_t i)
{
    struct hf__object_header *header;
    const uint64_t elements = (uint64_t)(find(view, i, &header) - view->seg->base);
    const uint64_t room = view->seg->size_bytes - elements;
    const struct hf__object_header whole = *header;
    const uint64_t sizes[] = {room, room + 1, UINT64_MAX - elements, UINT64_MAX};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        header->size_bytes = sizes[s];
        header->check = hf__object_check(view->seg, elements - sizeof whole, header);
        if (s == 0)
            assert_got(hf_find(view, names[i], NULL, NULL));
        else
            assert_fails(hf_find(view, names[i], NULL, NULL), HF_ECORRUPT);
    }
    *header = whole;
}

static void test_object_that_ends_behind_the_segment_is_not_given_out(void **state)
{
    (void)state;
    with_each_object(end_behind_the_segment);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_with_one_bit_wrong_is_no_object),
        cmocka_unit_test(test_entry_of_another_name_is_not_taken_for_the_wanted_one),
        cmocka_unit_test(test_object_that_ends_behind_the_segment_is_not_given_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
