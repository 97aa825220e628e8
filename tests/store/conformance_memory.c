/* SPDX-License-Identifier: MIT */
/*
 * conformance_memory.c - raw memory: the same cases on every backing, allocator and index
 */
#include "store_fixture.h"

#include <stdint.h>

static hf_ref ref_in(hf_txn *txn, const void *p)
{
    assert_got(p);
    hf_ref ref = hf_ref_of(hf_txn_view(txn), p);
    assert_true(ref != 0);
    return ref;
}

/* The block's writable address in this transaction. */
static char *block_at(hf_txn *txn, hf_ref ref)
{
    const void *p = hf_at(hf_txn_view(txn), ref);
    assert_got(p);
    return hf_edit(txn, p, 1);
}

static bool filled_with(const void *p, int byte, size_t size_bytes)
{
    const unsigned char *bytes = p;
    for (size_t i = 0; i < size_bytes; i++) {
        if (bytes[i] != (unsigned char)byte)
            return false;
    }
    return true;
}

/* ---- allocation ------------------------------------------------------------------------------ */

static void test_blocks_of_all_sizes_keep_their_bytes(struct fixture *f)
{
    static const size_t sizes[] = {0, 1, 7, 8, 15, 16, 17, 31, 32, 63, 64, 65, 100, 255, 256, 1000,
                                   4095, 4096, 4097, 10000, 65536, 100000};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    hf_ref refs[COUNT];
    hf_txn *txn = fixture_begin(f);
    for (size_t i = 0; i < COUNT; i++) {
        char *p = hf_alloc(txn, sizes[i]);
        refs[i] = ref_in(txn, p);
        assert_int_equal((uintptr_t)p % 8, 0);
        assert_true(sizes[i] % 16 != 0 || (uintptr_t)p % 16 == 0);
        assert_true(hf_usable_bytes(hf_txn_view(txn), p) >= sizes[i]);
        memset(p, (int)i + 1, hf_usable_bytes(hf_txn_view(txn), p)); /* all of it may be used */
    }
    assert_ok(hf_commit(txn));
    fixture_assert_sound(f->store);
    fixture_reopen(f);
    hf_view *view = fixture_view(f);
    for (size_t i = 0; i < COUNT; i++) {
        const void *p = hf_at(view, refs[i]);
        assert_true(filled_with(p, (int)i + 1, hf_usable_bytes(view, p)));
    }
    assert_int_equal(hf_all_memory_deallocated(view), 0);
    hf_view_end(view);
    assert_int_equal(fixture_info(f).raw_count, COUNT);
    txn = fixture_begin(f);
    for (size_t i = 0; i < COUNT; i++)
        hf_free(txn, hf_at(hf_txn_view(txn), refs[i]));
    assert_ok(hf_commit(txn));
    assert_int_equal(fixture_info(f).raw_count, 0);
}

static void test_alignment_up_to_64_kib_holds_in_every_mapping(struct fixture *f)
{
    hf_ref refs[17][2];
    hf_txn *txn = fixture_begin(f);
    for (unsigned i = 0; i <= 16; i++) {
        for (unsigned k = 0; k < 2; k++) {
            void *p = hf_alloc_aligned(txn, k == 0 ? 1 : 3000, (size_t)1 << i);
            refs[i][k] = ref_in(txn, p);
            assert_int_equal((uintptr_t)p % ((size_t)1 << i), 0);
        }
    }
    assert_ok(hf_commit(txn));
    fixture_assert_sound(f->store);
    fixture_reopen(f);
    hf_view *view = fixture_view(f);
    for (unsigned i = 0; i <= 16; i++) {
        for (unsigned k = 0; k < 2; k++)
            assert_int_equal((uintptr_t)hf_at(view, refs[i][k]) % ((size_t)1 << i), 0);
    }
    hf_view_end(view);
}

static void test_senseless_alignment_and_size_are_refused(struct fixture *f)
{
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    void *many[3] = {NULL, NULL, NULL};
    static const size_t overflowing[] = {16, SIZE_MAX - 8, 16};
    assert_fails(hf_alloc_aligned(txn, 10, 3), HF_EINVAL);
    assert_fails(hf_alloc_aligned(txn, 10, 24), HF_EINVAL);
    assert_fails(hf_alloc_aligned(txn, 10, 2 * HF_ALIGN_BYTES_MAX), HF_EINVAL);
    assert_fails(hf_alloc(txn, SIZE_MAX), HF_EOVERFLOW);
    assert_fails(hf_alloc(txn, SIZE_MAX - 15), HF_EOVERFLOW);
    assert_fails(hf_alloc_aligned(txn, SIZE_MAX - 100, 65536), HF_EOVERFLOW);
    assert_code(hf_alloc_many(txn, SIZE_MAX / 2, 3, many), HF_EOVERFLOW);
    assert_code(hf_alloc_many_sizes(txn, overflowing, 3, many), HF_EOVERFLOW);
    assert_ok(hf_commit(txn));
    fixture_assert_unchanged(f, &before);
}

static void test_full_store_is_an_error_and_transaction_goes_on(struct fixture *f)
{
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    assert_fails(hf_alloc(txn, FIXTURE_SIZE_MAX), HF_EFULL);
    size_t count = 0;
    while (hf_alloc(txn, 100000) != NULL)
        count++;
    assert_int_equal(hf_last_error()->code, HF_EFULL);
    assert_true(count >= 15);
    size_t small = 0;
    while (hf_alloc(txn, 1000) != NULL)
        small++;
    assert_int_equal(hf_last_error()->code, HF_EFULL);
    assert_true(small < 1000000);
    hf_abort(txn);
    hf_store_info after = fixture_info(f);
    assert_int_equal(after.live_bytes, before.live_bytes);
    assert_int_equal(after.raw_count, 0);
    txn = fixture_begin(f);
    assert_got(hf_alloc(txn, 100000));
    assert_ok(hf_commit(txn));
}

static void test_store_grows_while_open_and_pointers_stay(struct fixture *f)
{
    if (f->backing == BACKING_BUFFER)
        return;
    hf_txn *txn = fixture_begin(f);
    char *first = hf_alloc(txn, 100);
    assert_got(first);
    memset(first, 'f', 100);
    for (int i = 0; i < 8; i++) {
        char *p = hf_alloc(txn, (size_t)1 << 20);
        assert_got(p);
        memset(p, i, (size_t)1 << 20);
    }
    assert_true(filled_with(first, 'f', 100));
    hf_ref ref = ref_in(txn, first);
    assert_ptr_equal(hf_at(hf_txn_view(txn), ref), first);
    assert_ok(hf_commit(txn));
    assert_true(fixture_info(f).size_bytes > 8u << 20);
    hf_view *view = fixture_view(f);
    assert_true(filled_with(hf_at(view, ref), 'f', 100));
    if (f->engine == HF_ENGINE_DIRECT) /* which has one mapping */
        assert_ptr_equal(hf_at(view, ref), first);
    hf_view_end(view);
}

/* ---- many at once ---------------------------------------------------------------------------- */

static void test_alloc_many_gives_separate_blocks(struct fixture *f)
{
    enum { COUNT = 300 };
    void *blocks[COUNT];
    hf_txn *txn = fixture_begin(f);
    assert_ok(hf_alloc_many(txn, 40, COUNT, blocks));
    for (int i = 0; i < COUNT; i++)
        memset(blocks[i], i & 0xFF, 40);
    for (int i = 0; i < COUNT; i++) {
        assert_true(filled_with(blocks[i], i & 0xFF, 40));
        assert_true(hf_usable_bytes(hf_txn_view(txn), blocks[i]) >= 40);
        assert_int_equal((uintptr_t)blocks[i] % 8, 0);
    }
    for (int i = 0; i < COUNT; i += 2)
        hf_free(txn, blocks[i]);
    for (int i = 1; i < COUNT; i += 2)
        assert_true(filled_with(blocks[i], i & 0xFF, 40));
    assert_ok(hf_commit(txn));
    assert_int_equal(fixture_info(f).raw_count, COUNT / 2);
}

static void test_alloc_many_sizes_gives_each_its_size(struct fixture *f)
{
    size_t sizes[60];
    void *blocks[60];
    for (size_t i = 0; i < 60; i++)
        sizes[i] = i * i * 3;
    hf_txn *txn = fixture_begin(f);
    assert_ok(hf_alloc_many_sizes(txn, sizes, 60, blocks));
    for (size_t i = 0; i < 60; i++) {
        assert_true(hf_usable_bytes(hf_txn_view(txn), blocks[i]) >= sizes[i]);
        memset(blocks[i], (int)i, sizes[i]);
    }
    for (size_t i = 0; i < 60; i++)
        assert_true(filled_with(blocks[i], (int)i, sizes[i]));
    hf_free_many(txn, blocks, 60);
    assert_ok(hf_commit(txn));
    hf_view *view = fixture_view(f);
    assert_int_equal(hf_all_memory_deallocated(view), 1);
    hf_view_end(view);
}

static void test_alloc_many_of_none_is_nothing(struct fixture *f)
{
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    void *untouched = &before;
    assert_ok(hf_alloc_many(txn, 100, 0, &untouched));
    assert_ok(hf_alloc_many_sizes(txn, NULL, 0, &untouched));
    hf_free_many(txn, NULL, 0);
    assert_ptr_equal(untouched, &before);
    assert_ok(hf_commit(txn));
    fixture_assert_unchanged(f, &before);
}

static void test_alloc_many_is_all_or_none(struct fixture *f)
{
    enum { COUNT = 200 };
    static void *blocks[COUNT];
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    assert_code(hf_alloc_many(txn, FIXTURE_SIZE_MAX / 100, COUNT, blocks), HF_EFULL);
    assert_ok(hf_commit(txn));
    hf_store_info after = fixture_info(f);
    assert_int_equal(after.raw_count, 0);
    assert_int_equal(after.live_bytes, before.live_bytes);
}

static void test_alloc_many_works_without_one_long_stretch(struct fixture *f)
{
    enum { COUNT = 100 };
    static void *holes[2 * COUNT], *blocks[COUNT];
    hf_ref refs[2 * COUNT];
    if (f->backing != BACKING_BUFFER)
        return; /* the others would simply grow */
    hf_txn *txn = fixture_begin(f);
    assert_ok(hf_alloc_many(txn, 1000, 2 * COUNT, holes));
    for (int i = 0; i < 2 * COUNT; i++)
        refs[i] = ref_in(txn, holes[i]);
    while (hf_alloc(txn, 2000) != NULL)
        continue; /* the rest of the buffer */
    while (hf_alloc(txn, 1) != NULL)
        continue;
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    for (int i = 0; i < 2 * COUNT; i += 2)
        hf_free(txn, hf_at(hf_txn_view(txn), refs[i]));
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    assert_ok(hf_alloc_many(txn, 1000, COUNT, blocks));
    for (int i = 0; i < COUNT; i++)
        memset(blocks[i], i, 1000);
    for (int i = 0; i < COUNT; i++)
        assert_true(filled_with(blocks[i], i, 1000));
    assert_ok(hf_commit(txn));
}

/* ---- resizing -------------------------------------------------------------------------------- */

/* Three blocks of 1008 bytes side by side; which of them are free is the caller's choice. The
 * middle one holds 'm' in every byte. */
static void make_row(struct fixture *f, hf_ref row[3], bool free_first, bool free_last)
{
    const size_t sizes[3] = {1008, 1008, 1008}; /* blocks, also where 1008 bytes alone are a slot */
    void *blocks[3];
    hf_txn *txn = fixture_begin(f);
    assert_ok(hf_alloc_many_sizes(txn, sizes, 3, blocks));
    for (int i = 0; i < 3; i++)
        row[i] = ref_in(txn, blocks[i]);
    memset(blocks[1], 'm', 1008);
    assert_got(hf_alloc(txn, 1008)); /* so that the last of the row is not the last of all */
    assert_true(row[0] < row[1] && row[1] < row[2]);
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    if (free_first)
        hf_free(txn, hf_at(hf_txn_view(txn), row[0]));
    if (free_last)
        hf_free(txn, hf_at(hf_txn_view(txn), row[2]));
    assert_ok(hf_commit(txn));
}

static void test_expand_forward_into_free_neighbour(struct fixture *f)
{
    hf_ref row[3];
    make_row(f, row, false, true);
    hf_txn *txn = fixture_begin(f);
    char *p = block_at(txn, row[1]);
    size_t received = 0;
    assert_ptr_equal(hf_resize(txn, HF_EXPAND_FORWARD, p, 1500, 1800, &received), p);
    assert_true(received >= 1500 && received < 2100);
    assert_int_equal(hf_usable_bytes(hf_txn_view(txn), p), received);
    assert_true(filled_with(p, 'm', 1008));
    memset(p, 'n', received);
    assert_ok(hf_commit(txn));
    fixture_assert_sound(f->store);
    txn = fixture_begin(f);
    assert_true(filled_with(block_at(txn, row[1]), 'n', received));
    hf_abort(txn);
}

static void test_expand_forward_against_live_neighbour_says_what_could_be(struct fixture *f)
{
    hf_ref row[3];
    make_row(f, row, true, false);
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    char *p = block_at(txn, row[1]);
    size_t received = 0;
    assert_fails(hf_resize(txn, HF_EXPAND_FORWARD, p, 1500, 1800, &received), HF_EFULL);
    assert_true(received < 1500);
    assert_true(filled_with(p, 'm', 1008));
    assert_ok(hf_commit(txn));
    fixture_assert_unchanged(f, &before);
}

static void test_expand_backward_keeps_content_in_place(struct fixture *f)
{
    hf_ref row[3];
    make_row(f, row, true, false);
    hf_txn *txn = fixture_begin(f);
    char *p = block_at(txn, row[1]);
    size_t received = 0;
    char *start = hf_resize(txn, HF_EXPAND_BACKWARD, p, 1500, 2000, &received);
    assert_got(start);
    assert_true(start < p);
    assert_int_equal((p - start) % 16, 0);
    assert_true(received >= 1500);
    assert_true(filled_with(p, 'm', 1008));
    assert_int_equal(hf_usable_bytes(hf_txn_view(txn), start), received);
    assert_int_equal(hf_usable_bytes(hf_txn_view(txn), p), 0); /* no block begins there any more */
    memset(start, 's', (size_t)(p - start));
    assert_ok(hf_commit(txn));
    fixture_assert_sound(f->store);
}

static void test_expand_both_ways_takes_both_neighbours(struct fixture *f)
{
    hf_ref row[3];
    make_row(f, row, true, true);
    hf_txn *txn = fixture_begin(f);
    char *p = block_at(txn, row[1]);
    size_t received = 0;
    assert_fails(hf_resize(txn, HF_EXPAND_FORWARD, p, 2900, 3000, &received), HF_EFULL);
    assert_fails(hf_resize(txn, HF_EXPAND_BACKWARD, p, 2900, 3000, &received), HF_EFULL);
    char *start = hf_resize(txn, HF_EXPAND_FORWARD | HF_EXPAND_BACKWARD, p, 2900, 3000, &received);
    assert_got(start);
    assert_true(start < p && received >= 2900);
    assert_true(filled_with(p, 'm', 1008));
    hf_abort(txn); /* and all of it is taken back */
    fixture_assert_sound(f->store);
    hf_view *view = fixture_view(f);
    assert_true(hf_usable_bytes(view, hf_at(view, row[1])) >= 1008);
    assert_true(hf_usable_bytes(view, hf_at(view, row[1])) < 1100);
    assert_true(filled_with(hf_at(view, row[1]), 'm', 1008));
    hf_view_end(view);
}

static void test_resize_falls_back_to_a_new_block_only_if_asked(struct fixture *f)
{
    hf_ref row[3];
    make_row(f, row, false, false);
    hf_txn *txn = fixture_begin(f);
    char *p = block_at(txn, row[1]);
    size_t received = 0;
    assert_fails(hf_resize(txn, HF_EXPAND_FORWARD | HF_EXPAND_BACKWARD, p, 5000, 6000, &received),
                 HF_EFULL);
    char *fresh = hf_resize(txn, HF_EXPAND_FORWARD | HF_EXPAND_BACKWARD | HF_ALLOCATE_NEW, p, 5000,
                            6000, &received);
    assert_got(fresh);
    assert_ptr_not_equal(fresh, p);
    assert_true(received >= 5000);
    memset(fresh, 'f', received);
    assert_true(filled_with(p, 'm', 1008)); /* the old one is left as it is */
    assert_int_not_equal(hf_usable_bytes(hf_txn_view(txn), p), 0);
    hf_free(txn, p);
    char *alone = hf_resize(txn, HF_ALLOCATE_NEW, NULL, 100, 200, &received);
    assert_got(alone);
    assert_true(received >= 100);
    assert_ok(hf_commit(txn));
}

static void test_shrink_gives_the_end_back_at_commit(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    char *p = hf_alloc(txn, 10000);
    hf_ref ref = ref_in(txn, p);
    memset(p, 'p', 10000);
    assert_got(hf_alloc(txn, 100));
    assert_ok(hf_commit(txn));
    uint64_t live = fixture_info(f).live_bytes;
    txn = fixture_begin(f);
    size_t received = 0;
    p = block_at(txn, ref);
    assert_fails(hf_resize(txn, HF_SHRINK_IN_PLACE | HF_EXPAND_FORWARD, p, 2000, 1000, &received),
                 HF_EINVAL);
    assert_fails(hf_resize(txn, HF_SHRINK_IN_PLACE, p, 1000, 2000, &received), HF_EINVAL);
    assert_ptr_equal(hf_resize(txn, HF_SHRINK_IN_PLACE, p, 2000, 1000, &received), p);
    assert_true(received >= 1000 && received <= 2000);
    assert_ok(hf_commit(txn));
    fixture_assert_sound(f->store);
    assert_true(fixture_info(f).live_bytes <= live - 7900);
    hf_view *view = fixture_view(f);
    assert_true(filled_with(hf_at(view, ref), 'p', 1000));
    assert_true(hf_usable_bytes(view, hf_at(view, ref)) <= 2000);
    hf_view_end(view);
}

static void test_shrink_is_undone_by_abort_and_its_end_not_reused(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    char *p = hf_alloc(txn, 20000);
    hf_ref ref = ref_in(txn, p);
    memset(p, 'p', 20000);
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    assert_got(hf_resize(txn, HF_SHRINK_IN_PLACE, block_at(txn, ref), 200, 100, NULL));
    for (int i = 0; i < 10; i++) {
        char *other = hf_alloc(txn, 1500);
        assert_got(other);
        memset(other, 'x', 1500);
    }
    hf_abort(txn);
    hf_view *view = fixture_view(f);
    assert_true(hf_usable_bytes(view, hf_at(view, ref)) >= 20000);
    assert_true(filled_with(hf_at(view, ref), 'p', 20000));
    hf_view_end(view);
}

static void test_senseless_resizes_change_nothing(struct fixture *f)
{
    hf_ref row[3];
    make_row(f, row, true, true);
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    char *p = block_at(txn, row[1]);
    size_t received = 12345;
    int local = 0;
    assert_fails(hf_resize(txn, 0, p, 10, 20, &received), HF_EINVAL);
    assert_fails(hf_resize(txn, 1u << 10, p, 10, 20, &received), HF_EINVAL);
    assert_fails(hf_resize(txn, HF_EXPAND_FORWARD, p, 2000, 1500, &received), HF_EINVAL);
    assert_fails(hf_resize(txn, HF_EXPAND_FORWARD, NULL, 10, 20, &received), HF_EINVAL);
    assert_fails(hf_resize(txn, HF_EXPAND_FORWARD, p + 16, 2000, 2500, &received), HF_EPTR);
    assert_fails(hf_resize(txn, HF_EXPAND_FORWARD, &local, 2000, 2500, &received), HF_EPTR);
    assert_fails(hf_resize(txn, HF_EXPAND_FORWARD, p, SIZE_MAX - 4, SIZE_MAX, &received),
                 HF_EOVERFLOW);
    assert_ok(hf_commit(txn));
    fixture_assert_unchanged(f, &before);
}

/* ---- freeing --------------------------------------------------------------------------------- */

/* Which wrong pointer: each one makes the commit fail and undo everything. */
static const void *wrong_pointer(hf_txn *txn, int which, char *raw, const void *object, int *local)
{
    switch (which) {
    case 0:
        return local;
    case 1:
        return raw + 16;
    case 2:
        return raw + 1;
    case 3:
        return raw - 16;
    case 4:
        return object; /* objects are destroyed, not freed */
    default:
        hf_free(txn, raw); /* so that the second is a double free */
        return raw;
    }
}

static void test_wrong_free_makes_commit_fail_and_undo(struct fixture *f)
{
    int local = 0;
    hf_txn *txn = fixture_begin(f);
    char *raw = hf_alloc(txn, 100);
    void *object = hf_new(txn, &value_type, 4);
    hf_ref raw_ref = ref_in(txn, raw), object_ref = ref_in(txn, object);
    memset(raw, 'r', 100);
    assert_ok(hf_commit(txn));
    hf_store_info before = fixture_info(f);
    for (int which = 0; which < 6; which++) {
        txn = fixture_begin(f);
        char *p = block_at(txn, raw_ref);
        assert_got(hf_edit(txn, p, 100));
        memset(p, 'x', 100);
        assert_got(hf_new(txn, &value_type, 1));
        const void *wrong =
            wrong_pointer(txn, which, p, hf_at(hf_txn_view(txn), object_ref), &local);
        hf_free(txn, wrong);
        assert_int_equal(hf_last_error()->code, HF_EPTR);
        assert_got(hf_alloc(txn, 10)); /* the rest still works, but in vain */
        assert_code(hf_commit(txn), HF_EPTR);
        fixture_assert_unchanged(f, &before);
        hf_view *view = fixture_view(f);
        assert_true(filled_with(hf_at(view, raw_ref), 'r', 100));
        hf_view_end(view);
        fixture_assert_sound(f->store);
    }
    fixture_set(f->store, "next", 1); /* the next transaction knows nothing of it */
}

static void test_wrong_free_many_is_sticky_too(struct fixture *f)
{
    int local = 0;
    hf_txn *txn = fixture_begin(f);
    void *blocks[3] = {hf_alloc(txn, 10), &local, hf_alloc(txn, 10)};
    assert_got(blocks[0]);
    assert_got(blocks[2]);
    hf_free_many(txn, blocks, 3);
    assert_code(hf_commit(txn), HF_EPTR);
    assert_int_equal(fixture_info(f).raw_count, 0);
}

static void test_free_then_abort_brings_the_block_back(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    char *p = hf_alloc(txn, 5000);
    hf_ref ref = ref_in(txn, p);
    memset(p, 'p', 5000);
    assert_ok(hf_commit(txn));
    hf_store_info before = fixture_info(f);
    txn = fixture_begin(f);
    hf_free(txn, hf_at(hf_txn_view(txn), ref));
    for (int i = 0; i < 10; i++) { /* space freed in a transaction is not reused in it */
        char *other = hf_alloc(txn, 4000);
        assert_got(other);
        memset(other, 'x', 4000);
    }
    hf_abort(txn);
    hf_view *view = fixture_view(f);
    assert_true(filled_with(hf_at(view, ref), 'p', 5000));
    assert_int_not_equal(hf_usable_bytes(view, hf_at(view, ref)), 0);
    hf_view_end(view);
    hf_store_info after = fixture_info(f);
    assert_int_equal(after.live_bytes, before.live_bytes);
    assert_int_equal(after.live_blocks, before.live_blocks);
    assert_int_equal(after.raw_count, before.raw_count);
}

static void test_freed_space_is_used_again_after_commit(struct fixture *f)
{
    uint64_t end = 0;
    for (int round = 0; round < 30; round++) {
        hf_txn *txn = fixture_begin(f);
        hf_ref refs[10];
        for (int i = 0; i < 10; i++)
            refs[i] = ref_in(txn, hf_alloc(txn, 10000));
        assert_ok(hf_commit(txn));
        if (round == 0)
            end = fixture_info(f).used_end_bytes;
        assert_true(fixture_info(f).used_end_bytes <= end);
        txn = fixture_begin(f);
        for (int i = 0; i < 10; i++)
            hf_free(txn, hf_at(hf_txn_view(txn), refs[(i * 7) % 10]));
        assert_ok(hf_commit(txn));
    }
}

static void test_null_is_freed_quietly(struct fixture *f)
{
    hf_store_info before = fixture_info(f);
    hf_txn *txn = fixture_begin(f);
    hf_free(txn, NULL);
    assert_ok(hf_commit(txn));
    fixture_assert_unchanged(f, &before);
}

static void test_usable_bytes_of_wrong_pointers_is_zero(struct fixture *f)
{
    int local = 0;
    hf_txn *txn = fixture_begin(f);
    hf_view *view = hf_txn_view(txn);
    char *raw = hf_alloc(txn, 100);
    assert_got(raw);
    const void *const wrong[] = {&local, raw + 16, raw - 16, raw + 3, NULL};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(hf_usable_bytes(view, wrong[i]), 0);
        assert_int_equal(hf_last_error()->code, HF_EPTR);
    }
    assert_true(hf_usable_bytes(view, raw) >= 100);
    hf_free(txn, raw);
    assert_ok(hf_commit(txn));
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void test_all_memory_deallocated_tells_the_truth(struct fixture *f)
{
    hf_view *view = fixture_view(f);
    assert_int_equal(hf_all_memory_deallocated(view), 1);
    hf_view_end(view);
    hf_txn *txn = fixture_begin(f);
    hf_ref raw = ref_in(txn, hf_alloc(txn, 1)), object = ref_in(txn, hf_new(txn, &value_type, 1));
    assert_int_equal(hf_all_memory_deallocated(hf_txn_view(txn)), 0);
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    hf_free(txn, hf_at(hf_txn_view(txn), raw));
    assert_ok(hf_commit(txn));
    view = fixture_view(f);
    assert_int_equal(hf_all_memory_deallocated(view), 0);
    hf_view_end(view);
    txn = fixture_begin(f);
    assert_ok(hf_destroy_ptr(txn, hf_at(hf_txn_view(txn), object)));
    assert_ok(hf_commit(txn));
    view = fixture_view(f);
    assert_int_equal(hf_all_memory_deallocated(view), 1); /* its type stays registered */
    hf_view_end(view);
}

static void test_zero_free_memory_leaves_no_trace_of_deleted_bytes(struct fixture *f)
{
    static const char secret[] = "the-secret-that-must-not-be-found";
    char expected[sizeof secret];
    hf_ref refs[20];
    hf_txn *txn = fixture_begin(f);
    for (int i = 0; i < 20; i++) {
        char *p = hf_alloc(txn, 2000);
        refs[i] = ref_in(txn, p);
        for (size_t k = 0; k + sizeof secret <= 2000; k += sizeof secret)
            memcpy(p + k, secret, sizeof secret);
    }
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    for (int i = 0; i < 20; i++) {
        if (i != 10)
            hf_free(txn, hf_at(hf_txn_view(txn), refs[i]));
    }
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    assert_ok(hf_zero_free_memory(txn));
    assert_ok(hf_commit(txn));
    fixture_assert_sound(f->store);
    hf_view *view = fixture_view(f);
    memcpy(expected, hf_at(view, refs[10]), sizeof expected);
    assert_string_equal(expected, secret); /* what lives is untouched */
    hf_view_end(view);
    txn = fixture_begin(f);
    memset(block_at(txn, refs[10]), 0, 1); /* now the last one goes too */
    hf_free(txn, hf_at(hf_txn_view(txn), refs[10]));
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    assert_ok(hf_zero_free_memory(txn));
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    const char *again = hf_alloc(txn, 30000); /* where the blocks have been */
    assert_got(again);
    assert_null(memmem(again, 30000, secret + 1, sizeof secret - 2));
    hf_abort(txn);
    fixture_reopen(f);
    if (f->backing == BACKING_BUFFER)
        assert_null(memmem(f->buffer, f->buffer_bytes, secret + 1, sizeof secret - 2));
    else if (f->backing != BACKING_HEAP)
        assert_false(fixture_file_contains(f->path, secret + 1, sizeof secret - 2));
    else
        assert_int_equal(fixture_info(f).raw_count, 0);
}

static void test_info_adds_up(struct fixture *f)
{
    hf_txn *txn = fixture_begin(f);
    hf_ref refs[50];
    for (size_t i = 0; i < 50; i++)
        refs[i] = ref_in(txn, hf_alloc(txn, 100 + i * 37));
    assert_ok(hf_commit(txn));
    txn = fixture_begin(f);
    for (size_t i = 0; i < 50; i += 3)
        hf_free(txn, hf_at(hf_txn_view(txn), refs[i]));
    assert_ok(hf_commit(txn));
    hf_store_info info = fixture_info(f);
    assert_int_equal(info.raw_count, 33);
    assert_true(info.free_blocks > 0 && info.free_blocks <= 17);
    assert_int_equal(info.used_end_bytes + info.tail_bytes, info.size_bytes);
    assert_true(info.live_bytes + info.free_bytes <= info.used_end_bytes);
    assert_true(info.size_bytes <= info.size_max_bytes);
    assert_int_equal(info.allocator, f->allocator);
    assert_int_equal(info.index, f->index);
    assert_int_equal(info.engine, f->engine);
    assert_string_equal(info.layout, "conformance");
    assert_int_equal(info.layout_version, 7);
    assert_int_equal(info.is_file, f->has_file);
    hf_check_report report;
    assert_ok(hf_check_sanity(f->store, NULL, &report));
    assert_int_equal(report.raw, info.raw_count);
    assert_int_equal(report.live_bytes, info.live_bytes);
    assert_int_equal(report.free_bytes, info.free_bytes);
    assert_int_equal(report.free_blocks, info.free_blocks);
    txn = fixture_begin(f);
    assert_got(hf_alloc(txn, info.largest_free_bytes)); /* it is true, without growing */
    assert_ok(hf_commit(txn));
    assert_int_equal(fixture_info(f).size_bytes, info.size_bytes);
}

#define CASE(name) {#name, name, false}
#define CASE_ALL(name) {#name, name, true}

int main(void)
{
    static const struct fixture_case cases[] = {
        CASE_ALL(test_blocks_of_all_sizes_keep_their_bytes),
        CASE_ALL(test_alignment_up_to_64_kib_holds_in_every_mapping),
        CASE_ALL(test_senseless_alignment_and_size_are_refused),
        CASE_ALL(test_full_store_is_an_error_and_transaction_goes_on),
        CASE_ALL(test_store_grows_while_open_and_pointers_stay),
        CASE_ALL(test_alloc_many_gives_separate_blocks),
        CASE_ALL(test_alloc_many_sizes_gives_each_its_size),
        CASE_ALL(test_alloc_many_of_none_is_nothing),
        CASE_ALL(test_alloc_many_is_all_or_none),
        CASE_ALL(test_alloc_many_works_without_one_long_stretch),
        CASE_ALL(test_expand_forward_into_free_neighbour),
        CASE_ALL(test_expand_forward_against_live_neighbour_says_what_could_be),
        CASE_ALL(test_expand_backward_keeps_content_in_place),
        CASE_ALL(test_expand_both_ways_takes_both_neighbours),
        CASE_ALL(test_resize_falls_back_to_a_new_block_only_if_asked),
        CASE_ALL(test_shrink_gives_the_end_back_at_commit),
        CASE_ALL(test_shrink_is_undone_by_abort_and_its_end_not_reused),
        CASE_ALL(test_senseless_resizes_change_nothing),
        CASE(test_wrong_free_makes_commit_fail_and_undo),
        CASE_ALL(test_wrong_free_many_is_sticky_too),
        CASE_ALL(test_free_then_abort_brings_the_block_back),
        CASE_ALL(test_freed_space_is_used_again_after_commit),
        CASE_ALL(test_null_is_freed_quietly),
        CASE_ALL(test_usable_bytes_of_wrong_pointers_is_zero),
        CASE_ALL(test_all_memory_deallocated_tells_the_truth),
        CASE_ALL(test_zero_free_memory_leaves_no_trace_of_deleted_bytes),
        CASE_ALL(test_info_adds_up),
    };
    return fixture_run_matrix("memory", cases, sizeof cases / sizeof *cases);
}
