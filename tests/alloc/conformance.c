/* SPDX-License-Identifier: MIT */
/*
 * conformance.c - the contract of allocator.h, the same cases on every memory algorithm
 */
#include "heap_fixture.h"

#include "holdfast/memory.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SIZE (64 * 1024)

static struct fixture f;

static int open_small(void **state)
{
    fixture_open(&f, (const struct hf__allocator *)*state, SIZE, SIZE);
    return 0;
}

static int close_it(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static void reopen(void **state, uint64_t size_bytes, uint64_t size_max)
{
    fixture_close(&f);
    fixture_open(&f, (const struct hf__allocator *)*state, size_bytes, size_max);
}

static const struct hf__heap_root *root(void)
{
    return hf__heap_root_of(&f.heap);
}

static struct hf__block header(hf_ref payload)
{
    struct hf__block block;
    assert_true(hf__block_read(&f.seg, payload - 16, &block));
    return block;
}

static void clean(void)
{
    assert_int_equal(fixture_check(&f), 0);
    assert_true(fixture_headers_are_blocks(&f));
    assert_int_equal(f.heap.algorithm->largest_free(&f.heap), fixture_largest(&f));
}

/* What an error must not have changed. */
static unsigned char *copy_of_memory(void)
{
    unsigned char *copy = malloc(f.seg.size_bytes);
    assert_non_null(copy);
    memcpy(copy, f.seg.base, f.seg.size_bytes);
    return copy;
}

static void assert_unchanged(unsigned char *copy)
{
    assert_memory_equal(copy, f.seg.base, f.seg.size_bytes);
    free(copy);
}

/* ---- allocate and free ----------------------------------------------------------------------- */

static void test_every_small_size_is_given_and_taken_back(void **state)
{
    hf_ref refs[200];
    (void)state;
    for (uint64_t size = 0; size < 200; size++) {
        struct hf__block_info info;
        refs[size] = fixture_allocate(&f, size);
        assert_int_equal(refs[size] % 16, 0);
        assert_int_equal(hf__heap_identify(&f.heap, refs[size], &info), 0);
        assert_true(info.usable_bytes >= size && info.usable_bytes >= 32);
        assert_true(info.usable_bytes < size + 16 || info.usable_bytes == 32);
        memset(f.seg.base + refs[size], 0xEE, info.usable_bytes);
    }
    clean();
    for (uint64_t i = 0; i < 200; i++)
        fixture_free(&f, refs[i * 77 % 200]);
    clean();
    assert_int_equal(root()->used_end, FIXTURE_FIRST);
    assert_int_equal(root()->live_blocks, 0);
    assert_int_equal(root()->free_blocks, 0);
}

static void test_free_merges_with_both_neighbours_in_every_order(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 256; order++) {
        hf_ref refs[4];
        unsigned freed = 0;
        for (unsigned i = 0; i < 4; i++)
            refs[i] = fixture_allocate(&f, 40 + 16 * i);
        hf_ref guard = fixture_allocate(&f, 16);
        for (unsigned turn = 0; turn < 4; turn++) {
            unsigned which = order >> (2 * turn) & 3;
            while ((freed >> which & 1) != 0)
                which = (which + 1) & 3;
            freed |= 1u << which;
            fixture_free(&f, refs[which]);
            clean();
        }
        assert_int_equal(root()->free_blocks, 1);
        assert_int_equal(root()->free_bytes, guard - 16 - FIXTURE_FIRST);
        fixture_free(&f, guard); /* past a free predecessor */
        assert_int_equal(root()->used_end, FIXTURE_FIRST);
        clean();
    }
}

static void test_alignment_holds_with_every_lead(void **state)
{
    reopen(state, 4096, 8 * 1024 * 1024);
    for (uint64_t align = 1; align <= HF_ALIGN_BYTES_MAX; align *= 2)
        for (uint64_t lead = 0; lead <= 160; lead += 16) {
            fixture_allocate(&f, 24 + lead); /* shifts the tail */
            hf_ref ref = fixture_allocate_aligned(&f, 100, align, lead);
            if (lead % 32 == 0)
                fixture_free(&f, ref);
        }
    clean();
    fixture_allocate_aligned(&f, 1, 4096, UINT64_MAX - 15); /* only its remainder counts */
    clean();
}

static void test_alignment_leaves_no_unusable_front(void **state)
{
    (void)state;
    /* The payload would need 16 or 32 bytes of front: no block, so it goes one alignment on. */
    for (uint64_t lead = 0; lead < 64; lead += 16) {
        hf_ref ref = fixture_allocate_aligned(&f, 10, 64, lead);
        uint64_t front = ref - 16 - FIXTURE_FIRST;
        assert_true(front == 0 || front >= 48);
        fixture_free(&f, ref);
        assert_int_equal(root()->used_end, FIXTURE_FIRST);
        clean();
    }
}

static void test_aligned_block_is_cut_out_of_the_middle_of_a_free_one(void **state)
{
    (void)state;
    hf_ref big = fixture_allocate(&f, 20000);
    fixture_allocate(&f, 10);
    fixture_free(&f, big);
    hf_ref ref = fixture_allocate_aligned(&f, 100, 4096, 0);
    assert_true(ref > big && ref < big + 20000);
    assert_int_equal(root()->free_blocks, 2);
    clean();
    fixture_free(&f, ref);
    assert_int_equal(root()->free_blocks, 1);
    clean();
}

static void test_sizes_that_overflow_are_refused_before_anything(void **state)
{
    static const uint64_t sizes[] = {UINT64_MAX,          UINT64_MAX - 15,
                                     UINT64_MAX / 2,      UINT64_C(1) << 48,
                                     HF__BLOCK_BYTES_MAX, HF__BLOCK_BYTES_MAX - 15};
    (void)state;
    hf_ref out = 7, block = fixture_allocate(&f, 100);
    uint64_t received = 7;
    const struct hf__allocator *a = f.heap.algorithm;
    unsigned char *copy = copy_of_memory();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t two[2] = {1, sizes[i]};
        assert_int_equal(fixture_try(&f, sizes[i], &out), HF_EOVERFLOW);
        assert_int_equal(a->allocate_many(&f.heap, two, 0, 2, HF__BLOCK_RAW, &out), HF_EOVERFLOW);
        assert_int_equal(a->allocate_many(&f.heap, NULL, sizes[i], 1, HF__BLOCK_RAW, &out),
                         HF_EOVERFLOW);
        assert_int_equal(
            a->expand(&f.heap, block, HF_EXPAND_FORWARD, 10, sizes[i], &out, &received),
            HF_EOVERFLOW);
        assert_int_equal(a->split(&f.heap, block, sizes[i], &out), HF_EOVERFLOW);
    }
    assert_int_equal(a->allocate_many(&f.heap, NULL, 32, UINT64_MAX / 48 + 2, HF__BLOCK_RAW, &out),
                     HF_EOVERFLOW);
    uint64_t halves[3] = {HF__BLOCK_BYTES_MAX / 2, HF__BLOCK_BYTES_MAX / 2, 100};
    assert_int_equal(a->allocate_many(&f.heap, halves, 0, 3, HF__BLOCK_RAW, &out), HF_EOVERFLOW);
    struct hf__alloc_request request = {
        .size_bytes = 1, .align_bytes = UINT64_C(1) << 63, .kind = HF__BLOCK_RAW};
    assert_int_equal(a->allocate(&f.heap, &request, &out, NULL), HF_EOVERFLOW);
    /* The largest sizes a header can say are no overflow, only too much. */
    assert_int_equal(fixture_try(&f, HF__BLOCK_BYTES_MAX - 16, &out), HF_EFULL);
    assert_int_equal(fixture_try(&f, HF__BLOCK_BYTES_MAX - 48, &out), HF_EFULL);
    assert_int_equal(out, 7);
    assert_int_equal(received, 7);
    assert_unchanged(copy);
}

static void test_a_full_segment_refuses_and_recovers(void **state)
{
    hf_ref refs[2000], out;
    uint64_t count = 0, whole = f.heap.algorithm->largest_free(&f.heap);
    (void)state;
    assert_int_equal(whole, SIZE - FIXTURE_FIRST - 16);
    while (fixture_try(&f, 48, &out) == 0)
        refs[count++] = out;
    assert_int_equal(count, (SIZE - FIXTURE_FIRST) / 64);
    assert_int_equal(fixture_try(&f, 48, &out), HF_EFULL);
    assert_int_equal(f.heap.algorithm->largest_free(&f.heap), 0);
    clean();
    for (uint64_t i = 0; i < count; i += 2)
        fixture_free(&f, refs[i]);
    clean();
    assert_int_equal(fixture_try(&f, 49, &out), HF_EFULL);
    assert_int_equal(f.heap.algorithm->largest_free(&f.heap), 48);
    for (uint64_t i = 1; i < count; i += 2)
        fixture_free(&f, refs[i]);
    assert_int_equal(fixture_allocate(&f, whole), FIXTURE_FIRST + 16);
    clean();
}

static void test_remainder_too_small_for_a_block_stays_with_it(void **state)
{
    (void)state;
    for (uint64_t less = 0; less <= 64; less += 16) {
        hf_ref a = fixture_allocate(&f, 256);
        hf_ref guard = fixture_allocate(&f, 10);
        fixture_free(&f, a);
        assert_int_equal(fixture_allocate(&f, 256 - less), a);
        assert_int_equal(root()->free_blocks, less >= 48);
        assert_int_equal(header(a).size_bytes, 272 - (less >= 48 ? less : 0));
        clean();
        fixture_free(&f, a);
        fixture_free(&f, guard);
    }
}

static void test_wrong_pointers_are_refused(void **state)
{
    hf_ref a = fixture_allocate(&f, 100), b = fixture_allocate(&f, 100);
    (void)state;
    fixture_allocate(&f, 100);
    fixture_free(&f, b);
    unsigned char *copy = copy_of_memory();
    static const uint64_t far[] = {UINT64_MAX, UINT64_MAX - 15, SIZE, SIZE + 16, UINT64_C(1) << 63};
    struct hf__block_info info;
    uint64_t received;
    hf_ref out;
    const struct hf__allocator *algorithm = f.heap.algorithm;
    for (size_t i = 0; i < sizeof far / sizeof *far; i++)
        assert_int_equal(algorithm->free(&f.heap, far[i]), HF_EPTR);
    for (uint64_t offset = 0; offset <= a + 300; offset++) {
        if (offset == a || offset == header(b).offset + header(b).size_bytes + 16)
            continue;
        assert_int_equal(algorithm->free(&f.heap, offset), HF_EPTR);
        assert_int_equal(hf__heap_identify(&f.heap, offset, &info), HF_EPTR);
        assert_int_equal(hf__block_set_pending(&f.heap, offset), HF_EPTR);
        assert_int_equal(algorithm->split(&f.heap, offset, 1, &out), HF_EPTR);
        assert_int_equal(algorithm->expand(&f.heap, offset, 2, 1, 1, &out, &received), HF_EPTR);
    }
    assert_int_equal(algorithm->free(&f.heap, b), HF_EPTR); /* twice */
    assert_unchanged(copy);
}

/* ---- growth and refusals --------------------------------------------------------------------- */

static void test_the_segment_grows_when_nothing_fits(void **state)
{
    reopen(state, 1024, 65536);
    hf_ref a = fixture_allocate(&f, 3000), b = fixture_allocate(&f, 20000), out;
    assert_true(f.seg.size_bytes >= b + 20000);
    clean();
    assert_int_equal(fixture_try(&f, 60000, &out), HF_EFULL);
    f.grow_refusal = HF_ENOSPC;
    unsigned char *copy = copy_of_memory();
    assert_int_equal(fixture_try(&f, 10000, &out), HF_ENOSPC);
    assert_int_equal(f.heap.algorithm->allocate_many(&f.heap, NULL, 100, 200, HF__BLOCK_RAW, &out),
                     HF_ENOSPC);
    assert_unchanged(copy);
    fixture_free(&f, a); /* works on a full disk */
    fixture_free(&f, b);
    assert_int_equal(root()->used_end, FIXTURE_FIRST);
    clean();
}

static void test_without_a_door_a_segment_does_not_grow(void **state)
{
    hf_ref out;
    (void)state;
    f.seg.door = NULL;
    fixture_allocate(&f, SIZE / 2);
    assert_int_equal(fixture_try(&f, SIZE, &out), HF_EFULL);
    clean();
}

static void test_nothing_changes_when_the_reservation_is_refused(void **state)
{
    hf_ref a = fixture_allocate(&f, 100), b = fixture_allocate(&f, 1000), out = 7, three[3];
    hf_ref c = fixture_allocate(&f, 100);
    uint64_t received = 7;
    const struct hf__allocator *algorithm = f.heap.algorithm;
    (void)state;
    fixture_free(&f, b);
    unsigned char *copy = copy_of_memory();
    f.reserve_refusal = HF_ENOSPC;
    assert_int_equal(fixture_try(&f, 10, &out), HF_ENOSPC);   /* from the free set */
    assert_int_equal(fixture_try(&f, 2000, &out), HF_ENOSPC); /* from the tail */
    assert_int_equal(algorithm->allocate_many(&f.heap, NULL, 9, 3, 1, three), HF_ENOSPC);
    assert_int_equal(algorithm->expand(&f.heap, a, HF_EXPAND_FORWARD, 200, 200, &out, &received),
                     HF_ENOSPC);
    assert_int_equal(algorithm->split(&f.heap, a, 32, &out), HF_ENOSPC);
    assert_int_equal(algorithm->free(&f.heap, a), HF_ENOSPC);
    assert_int_equal(algorithm->free(&f.heap, c), HF_ENOSPC);
    assert_int_equal(hf__block_set_pending(&f.heap, a), HF_ENOSPC);
    assert_int_equal(algorithm->rebuild(&f.heap), HF_ENOSPC);
    assert_int_equal(hf__heap_mend_walk(&f.heap, &received), HF_ENOSPC);
    assert_int_equal(algorithm->init(&f.heap, 512), HF_ENOSPC);
    assert_int_equal(out, 7);
    assert_int_equal(received, 7);
    assert_unchanged(copy);
}

static void test_init_refuses_a_segment_without_room(void **state)
{
    (void)state;
    f.seg.size_bytes = 304;
    assert_int_equal(f.heap.algorithm->init(&f.heap, 256), 0);
    f.seg.size_bytes = 303;
    assert_int_equal(f.heap.algorithm->init(&f.heap, 256), HF_EFULL);
}

/* ---- many ------------------------------------------------------------------------------------ */

static void assert_side_by_side(const hf_ref *refs, uint64_t count)
{
    for (uint64_t i = 1; i < count; i++)
        assert_int_equal(header(refs[i - 1]).size_bytes, refs[i] - refs[i - 1]);
}

static void test_a_million_blocks_lie_side_by_side_after_few_announcements(void **state)
{
    enum { COUNT = 1000000 };
    reopen(state, 4096, UINT64_C(96) << 20);
    hf_ref *refs = calloc(COUNT, sizeof *refs);
    assert_non_null(refs);
    f.edits = 0;
    assert_int_equal(f.heap.algorithm->allocate_many(&f.heap, NULL, 48, COUNT, 2, refs), 0);
    if (f.heap.algorithm->slabs) { /* slots: a chunk's line, a word's and the counters for each 64 */
        assert_true(f.edits < COUNT / 12);
        for (uint64_t i = 1; i < COUNT; i++)
            assert_true(refs[i] >= refs[i - 1] + 48);
        assert_true(refs[COUNT - 1] - refs[0] < UINT64_C(102) * 48 * COUNT / 100);
    } else {
        assert_true(f.edits < 10);
        assert_side_by_side(refs, COUNT);
    }
    assert_int_equal(root()->live_blocks, COUNT);
    assert_int_equal(fixture_check(&f), 0);
    for (uint64_t i = 0; i < COUNT; i++)
        fixture_free(&f, refs[i]);
    if (f.heap.algorithm->trim != NULL)
        assert_int_equal(f.heap.algorithm->trim(&f.heap), 0);
    assert_int_equal(root()->used_end, FIXTURE_FIRST);
    free(refs);
}

static void test_large_ones_are_announced_header_by_header(void **state)
{
    hf_ref refs[10];
    (void)state;
    f.edits = f.edited_bytes = 0;
    assert_int_equal(f.heap.algorithm->allocate_many(&f.heap, NULL, 4000, 10, 1, refs), 0);
    assert_true(f.edits >= 10 && f.edited_bytes < 1000);
    assert_side_by_side(refs, 10);
    clean();
}

static void test_many_of_many_sizes_come_from_a_free_block_that_holds_them(void **state)
{
    uint64_t sizes[20];
    hf_ref refs[20], hole = fixture_allocate(&f, 5000);
    (void)state;
    fixture_allocate(&f, 10);
    fixture_free(&f, hole);
    for (uint64_t i = 0; i < 20; i++)
        sizes[i] = i * 17;
    uint64_t used_end = root()->used_end;
    assert_int_equal(f.heap.algorithm->allocate_many(&f.heap, sizes, 0, 20, 1, refs), 0);
    assert_int_equal(refs[0], hole);
    assert_int_equal(root()->used_end, used_end);
    assert_side_by_side(refs, 20);
    for (uint64_t i = 0; i < 20; i++)
        assert_true(header(refs[i]).size_bytes >= sizes[i] + 16);
    clean();
    for (uint64_t i = 0; i < 20; i++)
        fixture_free(&f, refs[i]);
    assert_int_equal(root()->free_blocks, 1);
    clean();
}

/* Leaves holes of 3 x 64 bytes and no tail to speak of. Returns how many. */
static uint64_t fragment(void)
{
    uint64_t holes = 0, count = 0;
    hf_ref refs[2000], out;
    while (fixture_try(&f, 176, &out) == 0)
        refs[count++] = out;
    for (uint64_t i = 0; i < count; i += 2, holes++)
        fixture_free(&f, refs[i]);
    return holes;
}

static void test_many_are_spread_where_no_stretch_is_long_enough(void **state)
{
    hf_ref refs[1000];
    (void)state;
    uint64_t holes = fragment();
    assert_int_equal(f.heap.algorithm->allocate_many(&f.heap, NULL, 48, holes * 3, 1, refs), 0);
    clean();
    assert_int_equal(root()->free_blocks, 0);
    for (uint64_t i = 0; i < holes * 3; i++)
        fixture_free(&f, refs[i]);
    assert_true(root()->free_blocks >= holes - 1);
    clean();
}

static void test_many_are_all_or_none(void **state)
{
    hf_ref refs[1001];
    (void)state;
    uint64_t holes = fragment();
    unsigned char *copy = copy_of_memory();
    uint64_t tail = SIZE - root()->used_end;
    assert_int_equal(
        f.heap.algorithm->allocate_many(&f.heap, NULL, 48, holes * 3 + tail / 64 + 1, 1, refs),
        HF_EFULL);
    assert_unchanged(copy);
    assert_int_equal(f.heap.algorithm->allocate_many(&f.heap, NULL, 48, 0, 1, NULL), 0);
}

/* ---- expand and split ------------------------------------------------------------------------ */

static int expand(hf_ref block, unsigned flags, uint64_t limit, uint64_t preferred, hf_ref *out,
                  uint64_t *received)
{
    return f.heap.algorithm->expand(&f.heap, block, flags, limit, preferred, out, received);
}

static void test_expands_forward_over_a_free_neighbour(void **state)
{
    hf_ref a = fixture_allocate(&f, 96), b = fixture_allocate(&f, 480), out = 0;
    uint64_t received = 0;
    (void)state;
    fixture_allocate(&f, 10);
    assert_int_equal(expand(a, HF_EXPAND_FORWARD, 97, 200, &out, &received), HF_EFULL);
    assert_int_equal(received, 96);
    fixture_free(&f, b);
    assert_int_equal(expand(a, 0, 97, 200, &out, &received), HF_EFULL);
    assert_int_equal(expand(a, HF_EXPAND_FORWARD, 97, 200, &out, &received), 0);
    assert_int_equal(out, a);
    assert_int_equal(received, 208);
    assert_int_equal(root()->free_blocks, 1); /* the rest */
    clean();
    assert_int_equal(expand(a, HF_EXPAND_FORWARD, 600, 700, &out, &received), HF_EFULL);
    assert_int_equal(received, 96 + 496);
    clean();
    assert_int_equal(expand(a, HF_EXPAND_FORWARD, 209, 560, &out, &received), 0);
    assert_int_equal(received, 592); /* 32 are too few to be a block */
    assert_int_equal(root()->free_blocks, 0);
    clean();
    assert_int_equal(expand(a, HF_EXPAND_FORWARD, 10, 20, &out, &received), 0);
    assert_int_equal(received, 592); /* large enough already */
}

static void test_expands_backward_and_content_stays_where_it_was(void **state)
{
    hf_ref a = fixture_allocate(&f, 480), b = fixture_allocate(&f, 96), out = 0;
    uint64_t received = 0;
    (void)state;
    fixture_allocate(&f, 10);
    memset(f.seg.base + b, 0x3C, 96);
    fixture_free(&f, a);
    assert_int_equal(expand(b, HF_EXPAND_FORWARD, 97, 200, &out, &received), HF_EFULL);
    assert_int_equal(expand(b, HF_EXPAND_BACKWARD, 97, 200, &out, &received), 0);
    assert_int_equal(received, 208);
    assert_int_equal(out, b - 112);
    clean();
    assert_int_equal(expand(out, HF_EXPAND_BACKWARD, 209, 570, &out, &received), 0);
    assert_int_equal(received, 592);
    assert_int_equal(out, a);
    for (unsigned i = 0; i < 96; i++)
        assert_int_equal(f.seg.base[b + i], 0x3C);
    clean();
}

static void test_forward_is_exhausted_before_backward(void **state)
{
    hf_ref a = fixture_allocate(&f, 480), b = fixture_allocate(&f, 96);
    hf_ref c = fixture_allocate(&f, 96), out = 0;
    uint64_t received = 0;
    (void)state;
    fixture_allocate(&f, 10);
    fixture_free(&f, a);
    fixture_free(&f, c);
    unsigned both = HF_EXPAND_FORWARD | HF_EXPAND_BACKWARD;
    assert_int_equal(expand(b, both, 97, 208, &out, &received), 0);
    assert_int_equal(out, b);
    assert_int_equal(received, 208);
    assert_int_equal(expand(b, both, 300, 304, &out, &received), 0);
    assert_int_equal(out, b - 96);
    assert_int_equal(received, 304);
    clean();
    assert_int_equal(expand(out, both, 705, 800, &out, &received), HF_EFULL);
    assert_int_equal(received, 704);
    assert_int_equal(expand(out, both, 704, 800, &out, &received), 0);
    assert_int_equal(out, a);
    clean();
}

static void test_the_last_block_expands_into_the_tail_and_grows(void **state)
{
    reopen(state, 4096, 16384);
    hf_ref a = fixture_allocate(&f, 96), b = fixture_allocate(&f, 96), out = 0;
    uint64_t received = 0;
    assert_int_equal(expand(b, HF_EXPAND_FORWARD, 200, 1000, &out, &received), 0);
    assert_int_equal(received, 1008);
    assert_int_equal(root()->used_end, b + 1008);
    clean();
    assert_int_equal(expand(b, HF_EXPAND_FORWARD, 8000, 9000, &out, &received), 0);
    assert_true(received >= 9000 && f.seg.size_bytes > 9000);
    clean();
    /* preferred is out of reach, limit is not */
    assert_int_equal(expand(b, HF_EXPAND_FORWARD, 14000, 50000, &out, &received), 0);
    assert_true(received >= 14000);
    clean();
    assert_int_equal(expand(b, HF_EXPAND_FORWARD, 20000, 50000, &out, &received), HF_EFULL);
    f.grow_refusal = HF_ENOSPC;
    f.seg.size_bytes = root()->used_end;
    assert_int_equal(expand(b, HF_EXPAND_FORWARD, received + 1, 50000, &out, &received), HF_ENOSPC);
    /* what the tail refuses, a free block before can give */
    fixture_free(&f, a);
    received = header(b).size_bytes - 16;
    assert_int_equal(expand(b, HF_EXPAND_FORWARD | HF_EXPAND_BACKWARD, received + 50, received + 50,
                            &out, &received),
                     0);
    assert_true(out < b);
    clean();
}

static void test_split_makes_two_live_blocks(void **state)
{
    hf_ref a = fixture_allocate(&f, 480), rest = 0;
    (void)state;
    for (uint64_t keep = 449; keep < 500; keep++) {
        assert_int_equal(f.heap.algorithm->split(&f.heap, a, keep, &rest), 0);
        assert_int_equal(rest, 0);
    }
    assert_int_equal(f.heap.algorithm->split(&f.heap, a, 100, &rest), 0);
    assert_int_equal(rest, a + 112 + 16);
    assert_int_equal(header(a).size_bytes, 128);
    assert_int_equal(header(rest).size_bytes, 496 - 128);
    assert_int_equal(header(rest).kind, HF__BLOCK_RAW);
    assert_int_equal(root()->live_blocks, 2);
    clean();
    fixture_free(&f, rest); /* a shrink */
    assert_int_equal(root()->used_end, a + 112);
    clean();
}

/* ---- walk, identify, pending ----------------------------------------------------------------- */

static void test_the_walk_visits_every_block_in_order(void **state)
{
    hf_ref a = fixture_allocate(&f, 100), b = fixture_allocate_aligned(&f, 50, 16, 0);
    hf_ref c = fixture_allocate(&f, 32);
    struct hf__block_info info;
    uint64_t position = 0;
    (void)state;
    fixture_free(&f, a);
    assert_int_equal(hf__heap_next(&f.heap, &position, &info), 1);
    assert_true(info.payload == a && info.kind == HF__BLOCK_FREE && info.usable_bytes == 112);
    assert_int_equal(hf__heap_next(&f.heap, &position, &info), 1);
    assert_true(info.payload == b && info.kind == HF__BLOCK_OBJECT && !info.pending);
    assert_int_equal(hf__block_set_pending(&f.heap, c), 0);
    assert_int_equal(hf__heap_next(&f.heap, &position, &info), 1);
    assert_true(info.payload == c && info.kind == HF__BLOCK_RAW && info.pending);
    assert_int_equal(hf__heap_next(&f.heap, &position, &info), 0);
    assert_int_equal(position, hf__heap_used_end(&f.heap));
    position += 16;
    assert_int_equal(hf__heap_next(&f.heap, &position, &info), HF_ECORRUPT);
    position = b;
    assert_int_equal(hf__heap_next(&f.heap, &position, &info), HF_ECORRUPT);
}

static void test_a_pending_block_can_only_be_freed(void **state)
{
    hf_ref a = fixture_allocate(&f, 400), out;
    uint64_t received;
    struct hf__block_info info;
    (void)state;
    assert_int_equal(hf__block_set_pending(&f.heap, a), 0);
    assert_int_equal(hf__block_set_pending(&f.heap, a), HF_EPTR);
    assert_int_equal(f.heap.algorithm->split(&f.heap, a, 100, &out), HF_EPTR);
    assert_int_equal(expand(a, HF_EXPAND_FORWARD, 500, 500, &out, &received), HF_EPTR);
    assert_int_equal(hf__heap_identify(&f.heap, a, &info), 0);
    assert_true(info.pending);
    clean();
    assert_int_equal(hf__block_clear_pending(&f.heap, a), 0);
    assert_int_equal(hf__block_clear_pending(&f.heap, a + 16), HF_EPTR);
    assert_int_equal(expand(a, HF_EXPAND_FORWARD, 500, 500, &out, &received), 0);
    assert_int_equal(hf__block_set_pending(&f.heap, a), 0);
    clean();
    fixture_free(&f, a);
    clean();
}

static void test_zero_free_leaves_nothing_of_what_was_freed(void **state)
{
    hf_ref refs[40];
    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        refs[i] = fixture_allocate(&f, 300);
        memset(f.seg.base + refs[i], 0x5A, 300);
    }
    for (unsigned i = 0; i < 40; i++)
        if (i % 3 != 0 || i > 30)
            fixture_free(&f, refs[i]);
    f.heap.algorithm->zero_free(&f.heap, NULL, NULL);
    clean();
    uint64_t kept = 0;
    for (uint64_t i = 0; i < SIZE; i++)
        kept += f.seg.base[i] == 0x5A;
    assert_true(kept >= 11 * 300 && kept < 11 * 300 + 20); /* headers and links may hold it too */
    for (uint64_t i = hf__heap_used_end(&f.heap); i < SIZE; i++)
        assert_int_equal(f.seg.base[i], 0);
    for (unsigned i = 0; i <= 30; i += 3)
        for (unsigned k = 0; k < 300; k++)
            assert_int_equal(f.seg.base[refs[i] + k], 0x5A);
}

/* ---- repair ---------------------------------------------------------------------------------- */

static hf_ref refs[60];

/* Sixty blocks, every third freed. */
static void populate(void)
{
    for (unsigned i = 0; i < 60; i++) {
        refs[i] = fixture_allocate(&f, 32 + 16 * (i * 7 % 11));
        memset(f.seg.base + refs[i], (int)i, 32);
    }
    for (unsigned i = 1; i < 60; i += 3)
        fixture_free(&f, refs[i]);
    clean();
}

static void test_rebuild_makes_the_free_set_and_counters_anew(void **state)
{
    (void)state;
    populate();
    struct hf__heap_root was = *root();
    struct hf__heap_root *damaged = (struct hf__heap_root *)(f.seg.base + FIXTURE_ROOT);
    damaged->free_set = 12345;
    damaged->free_bytes = damaged->live_blocks = UINT64_MAX;
    for (unsigned i = 1; i < 60; i += 3)
        memset(f.seg.base + refs[i], 0xEE, 24);
    assert_int_not_equal(fixture_check(&f), 0);
    assert_int_equal(f.heap.algorithm->rebuild(&f.heap), 0);
    clean();
    assert_int_equal(root()->free_bytes, was.free_bytes);
    assert_int_equal(root()->live_blocks, was.live_blocks);
    fixture_allocate(&f, 1000);
    fixture_allocate(&f, 40);
    clean();
}

static void test_rebuild_merges_free_neighbours_and_lowers_the_end(void **state)
{
    (void)state;
    populate();
    for (unsigned i = 0; i < 60; i++) {
        struct hf__block block = header(refs[i]);
        if (i % 3 == 0 || i > 50)
            block.kind = HF__BLOCK_FREE;
        fixture_forge(&f, &block);
    }
    fixture_check(&f);
    assert_true(fixture_found(&f, "block.neighbours") && fixture_found(&f, "block.last"));
    assert_int_equal(f.heap.algorithm->rebuild(&f.heap), 0);
    clean();
    assert_int_equal(root()->used_end, header(refs[50]).offset + header(refs[50]).size_bytes);
    assert_int_equal(root()->free_blocks, 17);
    assert_int_equal(root()->live_blocks, 17);
}

static void test_rebuild_refuses_a_broken_walk(void **state)
{
    (void)state;
    populate();
    f.seg.base[refs[30] - 10] ^= 1;
    unsigned char *copy = copy_of_memory();
    assert_int_equal(f.heap.algorithm->rebuild(&f.heap), HF_ECORRUPT);
    assert_unchanged(copy);
}

static void mend_and_rebuild(uint64_t lost_expected)
{
    uint64_t lost = 1;
    assert_int_equal(hf__heap_mend_walk(&f.heap, &lost), 0);
    assert_int_equal(lost, lost_expected);
    assert_int_equal(f.heap.algorithm->rebuild(&f.heap), 0);
    clean();
}

static void assert_others_alive(unsigned lost_from, unsigned lost_to)
{
    struct hf__block_info info;
    for (unsigned i = 0; i < 60; i++)
        if (i % 3 != 1 && (i < lost_from || i >= lost_to)) {
            assert_int_equal(hf__heap_identify(&f.heap, refs[i], &info), 0);
            assert_int_equal(info.kind, HF__BLOCK_RAW);
            assert_int_equal(f.seg.base[refs[i]], i);
        }
}

static void test_mend_walk_sets_a_block_with_a_broken_header_aside(void **state)
{
    for (unsigned victim = 0; victim < 60; victim += 3) {
        reopen(state, SIZE, SIZE);
        populate();
        uint64_t size = header(refs[victim]).size_bytes;
        f.seg.base[refs[victim] - 3] ^= 64;
        mend_and_rebuild(size);
        assert_int_equal(header(refs[victim]).kind, HF__BLOCK_LOST);
        assert_others_alive(victim, victim + 1);
    }
}

static void test_mend_walk_bridges_a_hole_of_many_blocks(void **state)
{
    (void)state;
    populate();
    memset(f.seg.base + refs[20] - 16, 0xDD, refs[41] - refs[20]);
    mend_and_rebuild(refs[41] - refs[20]);
    assert_others_alive(20, 41);
}

static void test_mend_walk_believes_headers_against_a_wrong_end(void **state)
{
    struct hf__heap_root *damaged;
    static const uint64_t ends[] = {0, 17, UINT64_MAX, SIZE * 2};
    for (unsigned i = 0; i < 12; i++) {
        reopen(state, SIZE, SIZE);
        populate();
        damaged = (struct hf__heap_root *)(f.seg.base + FIXTURE_ROOT);
        uint64_t truth = damaged->used_end;
        damaged->used_end = i < 4 ? ends[i] : header(refs[i * 4]).offset + i % 2 * 16;
        mend_and_rebuild(0);
        assert_int_equal(root()->used_end, truth);
        assert_others_alive(60, 60);
    }
    /* too high: what lies between is set aside, for nobody knows */
    reopen(state, SIZE, SIZE);
    populate();
    damaged = (struct hf__heap_root *)(f.seg.base + FIXTURE_ROOT);
    damaged->used_end += 1024;
    mend_and_rebuild(1024);
    assert_others_alive(60, 60);
}

/* A page gone with the root on it: the end that is recorded lies inside the hole. */
static void test_mend_walk_looks_beyond_an_end_inside_a_hole(void **state)
{
    for (unsigned i = 0; i < 4; i++) {
        reopen(state, SIZE, SIZE);
        populate();
        struct hf__heap_root *damaged = (struct hf__heap_root *)(f.seg.base + FIXTURE_ROOT);
        uint64_t truth = damaged->used_end;
        memset(f.seg.base + refs[10] - 16, 0xDD, refs[41] - refs[10]);
        damaged->used_end = header(refs[41]).offset - 16 - i * 64;
        mend_and_rebuild(refs[41] - refs[10]);
        assert_int_equal(root()->used_end, truth);
        assert_others_alive(10, 41);
    }
}

static void test_mend_walk_without_a_single_header_loses_everything(void **state)
{
    uint64_t lost;
    (void)state;
    populate();
    f.seg.salt ^= 1; /* as in a file whose uuid is wrong */
    mend_and_rebuild(hf__heap_used_end(&f.heap) - FIXTURE_FIRST);
    struct hf__heap_root *damaged = (struct hf__heap_root *)(f.seg.base + FIXTURE_ROOT);
    damaged->first = 8;
    assert_int_equal(hf__heap_mend_walk(&f.heap, &lost), HF_ECORRUPT);
    damaged->first = SIZE + 16;
    assert_int_equal(hf__heap_mend_walk(&f.heap, &lost), HF_ECORRUPT);
}

static void test_mend_walk_with_neither_header_nor_end_loses_everything(void **state)
{
    (void)state;
    populate();
    f.seg.salt ^= 1;
    ((struct hf__heap_root *)(f.seg.base + FIXTURE_ROOT))->used_end = 3;
    mend_and_rebuild(SIZE - FIXTURE_FIRST);
    assert_int_equal(root()->live_blocks, 1);
}

static void test_mend_walk_swallows_a_header_too_near_to_be_a_block(void **state)
{
    (void)state;
    populate();
    struct hf__block victim = header(refs[30]);
    struct hf__block lie = {.offset = victim.offset + 16, .size_bytes = 48, .kind = HF__BLOCK_RAW};
    fixture_forge(&f, &lie);
    f.seg.base[victim.offset] ^= 1;
    mend_and_rebuild(victim.size_bytes);
    assert_others_alive(30, 31);
}

static void test_mend_walk_leaves_a_sound_heap_alone(void **state)
{
    uint64_t lost;
    (void)state;
    populate();
    unsigned char *copy = copy_of_memory();
    assert_int_equal(hf__heap_mend_walk(&f.heap, &lost), 0);
    assert_int_equal(lost, 0);
    assert_unchanged(copy);
}

/* ---- each invariant, broken by hand, is reported --------------------------------------------- */

static void assert_reported(const char *rule)
{
    assert_int_not_equal(fixture_check(&f), 0);
    if (!fixture_found(&f, rule))
        fail_msg("expected %s, found %s", rule, f.rules[0]);
}

static void test_h1_a_wrong_checksum_and_a_block_too_long_are_reported(void **state)
{
    (void)state;
    populate();
    struct hf__block block = header(refs[59]);
    block.size_bytes += 16;
    fixture_forge(&f, &block);
    assert_reported("block.bounds");
    f.seg.base[refs[59] - 16] ^= 1;
    assert_reported("block.checksum");
}

static void test_h1_a_header_moved_elsewhere_is_no_header(void **state)
{
    struct hf__block block;
    (void)state;
    populate();
    memcpy(f.seg.base + refs[0] + 16, f.seg.base + refs[0] - 16, 16);
    assert_false(hf__block_read(&f.seg, refs[0] + 16, &block));
    f.seg.salt++;
    assert_false(hf__block_read(&f.seg, refs[0] - 16, &block));
}

/* Past hf__block_write, which asserts that nobody writes such things. */
static bool is_header(uint64_t offset, uint64_t size_bits)
{
    struct hf__block block;
    uint64_t checksum = hf__block_checksum(&f.seg, offset, size_bits, 0);
    uint64_t words[2] = {size_bits | checksum << 52, checksum >> 12 << 44};
    memcpy(f.seg.base + offset, words, 16);
    return hf__block_read(&f.seg, offset, &block);
}

static void test_h1_impossible_sizes_kinds_and_bits_are_no_header(void **state)
{
    (void)state;
    assert_true(is_header(1024, 3));
    assert_true(is_header(1024, 3 | (uint64_t)HF__BLOCK_LOST << 44 | UINT64_C(1) << 48));
    for (uint64_t units = 0; units < 3; units++)
        assert_false(is_header(1024, units));
    for (uint64_t kind = HF__BLOCK_LOST + 1; kind < 16; kind++)
        assert_false(is_header(1024, 3 | kind << 44));
    assert_true(is_header(1024, 3 | UINT64_C(1) << 49)); /* a free block with holes */
    for (uint64_t kind = HF__BLOCK_RAW; kind <= HF__BLOCK_LOST; kind++)
        assert_false(is_header(1024, 3 | kind << 44 | UINT64_C(1) << 49));
    for (unsigned bit = 50; bit < 52; bit++)
        assert_false(is_header(1024, 3 | UINT64_C(1) << bit));
}

static void test_h2_a_wrong_previous_size_is_reported(void **state)
{
    (void)state;
    populate();
    struct hf__block block = header(refs[20]);
    block.previous_bytes += 16;
    fixture_forge(&f, &block);
    assert_reported("block.previous");
}

static void test_h3_free_neighbours_and_a_free_last_block_are_reported(void **state)
{
    (void)state;
    populate();
    struct hf__block block = header(refs[2]);
    block.kind = HF__BLOCK_FREE;
    fixture_forge(&f, &block);
    assert_reported("block.neighbours");
    block = header(refs[59]);
    block.kind = HF__BLOCK_FREE;
    fixture_forge(&f, &block);
    assert_reported("block.last");
}

static void test_h4_a_free_block_outside_of_the_set_is_reported(void **state)
{
    (void)state;
    populate();
    struct hf__block block = header(refs[6]);
    block.kind = HF__BLOCK_FREE;
    fixture_forge(&f, &block);
    assert_reported("free.missing");
    assert_reported("free.count");
}

static void test_h4_a_live_block_inside_of_the_set_is_reported(void **state)
{
    (void)state;
    populate();
    struct hf__block block = header(refs[7]);
    block.kind = HF__BLOCK_RAW;
    fixture_forge(&f, &block);
    assert_reported("free.bounds");
    assert_reported("heap.counters");
}

static void test_h5_every_wrong_counter_is_reported(void **state)
{
    (void)state;
    populate();
    uint64_t *words = (uint64_t *)(f.seg.base + FIXTURE_ROOT);
    for (unsigned i = 4; i < 8; i++) {
        words[i]++;
        assert_reported("heap.counters");
        assert_int_equal(f.rule_count, 1);
        words[i]--;
    }
    words[2] += 16;
    assert_reported("heap.root");
    words[2] -= 16;
    clean();
}

static void test_h6_a_header_inside_of_a_block_is_seen_by_the_scan(void **state)
{
    (void)state;
    populate();
    struct hf__block block = {.offset = refs[3] + 16, .size_bytes = 48, .kind = HF__BLOCK_RAW};
    fixture_forge(&f, &block);
    assert_int_equal(fixture_check(&f), 0);
    assert_false(fixture_headers_are_blocks(&f));
    memset(f.seg.base + block.offset, 0, 16); /* how the heap itself ends a header */
    assert_true(fixture_headers_are_blocks(&f));
}

static void test_damage_found_before_the_first_change_changes_nothing(void **state)
{
    hf_ref out;
    (void)state;
    populate();
    uint64_t end = hf__heap_used_end(&f.heap);
    f.seg.base[refs[4] - 16] ^= 1; /* a free block, neighbour of 3 and 5 */
    unsigned char *copy = copy_of_memory();
    assert_int_equal(f.heap.algorithm->free(&f.heap, refs[3]), HF_ECORRUPT);
    assert_int_equal(f.heap.algorithm->free(&f.heap, refs[5]), HF_ECORRUPT);
    assert_unchanged(copy);
    /* a wrong end: the tail isn't touched */
    struct hf__heap_root *damaged = (struct hf__heap_root *)(f.seg.base + FIXTURE_ROOT);
    damaged->used_end = end - 64;
    copy = copy_of_memory();
    assert_int_equal(fixture_try(&f, 20000, &out), HF_ECORRUPT);
    assert_unchanged(copy);
}

static void test_the_kind_in_the_file_chooses_the_algorithm(void **state)
{
    (void)state;
    assert_ptr_equal(hf__allocator_by_kind(HF_ALLOC_DEFAULT), &hf__alloc_slab);
    assert_ptr_equal(hf__allocator_by_kind(f.heap.algorithm->kind), f.heap.algorithm);
    assert_null(hf__allocator_by_kind(77));
}

#define CASE(function)                                                                             \
    {                                                                                              \
#function, function, open_small, close_it, NULL                                            \
    }

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(test_every_small_size_is_given_and_taken_back),
        CASE(test_free_merges_with_both_neighbours_in_every_order),
        CASE(test_alignment_holds_with_every_lead),
        CASE(test_alignment_leaves_no_unusable_front),
        CASE(test_aligned_block_is_cut_out_of_the_middle_of_a_free_one),
        CASE(test_sizes_that_overflow_are_refused_before_anything),
        CASE(test_a_full_segment_refuses_and_recovers),
        CASE(test_remainder_too_small_for_a_block_stays_with_it),
        CASE(test_wrong_pointers_are_refused),
        CASE(test_the_segment_grows_when_nothing_fits),
        CASE(test_without_a_door_a_segment_does_not_grow),
        CASE(test_nothing_changes_when_the_reservation_is_refused),
        CASE(test_init_refuses_a_segment_without_room),
        CASE(test_a_million_blocks_lie_side_by_side_after_few_announcements),
        CASE(test_large_ones_are_announced_header_by_header),
        CASE(test_many_of_many_sizes_come_from_a_free_block_that_holds_them),
        CASE(test_many_are_spread_where_no_stretch_is_long_enough),
        CASE(test_many_are_all_or_none),
        CASE(test_expands_forward_over_a_free_neighbour),
        CASE(test_expands_backward_and_content_stays_where_it_was),
        CASE(test_forward_is_exhausted_before_backward),
        CASE(test_the_last_block_expands_into_the_tail_and_grows),
        CASE(test_split_makes_two_live_blocks),
        CASE(test_the_walk_visits_every_block_in_order),
        CASE(test_a_pending_block_can_only_be_freed),
        CASE(test_zero_free_leaves_nothing_of_what_was_freed),
        CASE(test_rebuild_makes_the_free_set_and_counters_anew),
        CASE(test_rebuild_merges_free_neighbours_and_lowers_the_end),
        CASE(test_rebuild_refuses_a_broken_walk),
        CASE(test_mend_walk_sets_a_block_with_a_broken_header_aside),
        CASE(test_mend_walk_bridges_a_hole_of_many_blocks),
        CASE(test_mend_walk_believes_headers_against_a_wrong_end),
        CASE(test_mend_walk_looks_beyond_an_end_inside_a_hole),
        CASE(test_mend_walk_without_a_single_header_loses_everything),
        CASE(test_mend_walk_with_neither_header_nor_end_loses_everything),
        CASE(test_mend_walk_swallows_a_header_too_near_to_be_a_block),
        CASE(test_mend_walk_leaves_a_sound_heap_alone),
        CASE(test_h1_a_wrong_checksum_and_a_block_too_long_are_reported),
        CASE(test_h1_a_header_moved_elsewhere_is_no_header),
        CASE(test_h1_impossible_sizes_kinds_and_bits_are_no_header),
        CASE(test_h2_a_wrong_previous_size_is_reported),
        CASE(test_h3_free_neighbours_and_a_free_last_block_are_reported),
        CASE(test_h4_a_free_block_outside_of_the_set_is_reported),
        CASE(test_h4_a_live_block_inside_of_the_set_is_reported),
        CASE(test_h5_every_wrong_counter_is_reported),
        CASE(test_h6_a_header_inside_of_a_block_is_seen_by_the_scan),
        CASE(test_damage_found_before_the_first_change_changes_nothing),
        CASE(test_the_kind_in_the_file_chooses_the_algorithm),
    };
    static const struct hf__allocator *const algorithms[] = {&hf__alloc_best_fit,
                                                             &hf__alloc_seq_fit,
                                                             &hf__alloc_slab};
    int failed = 0;
    for (size_t a = 0; a < sizeof algorithms / sizeof *algorithms; a++) {
        struct CMUnitTest tests[sizeof cases / sizeof *cases];
        memcpy(tests, cases, sizeof cases);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            tests[i].initial_state = (void *)(uintptr_t)algorithms[a];
        failed += cmocka_run_group_tests_name(algorithms[a]->name, tests, NULL, NULL);
    }
    return failed;
}
