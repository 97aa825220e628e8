/* SPDX-License-Identifier: MIT */
/*
 * test_slab.c - chunks of slots: S1..S4 of alloc/slab.c, each broken by hand, and what only slab does
 */
#include "heap_fixture.h"

#include "holdfast/memory.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SIZE (1024 * 1024)

static struct fixture f;

static int open_slab(void **state)
{
    (void)state;
    fixture_open(&f, &hf__alloc_slab, SIZE, 8 * SIZE);
    return 0;
}

static int close_it(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static const struct hf__heap_root *root(void)
{
    return hf__heap_root_of(&f.heap);
}

static struct hf__chunk_ref chunk_of(hf_ref ref)
{
    struct hf__chunk_ref chunk;
    assert_true(hf__chunk_of(&f.heap, ref, &chunk));
    return chunk;
}

static struct hf__chunk *record_of(hf_ref ref)
{
    return (struct hf__chunk *)(f.seg.base + chunk_of(ref).record);
}

static struct hf__slabs_entry *entry_of(uint32_t kind, uint32_t slot_class)
{
    uint64_t slabs = hf__slabs_of(&f.heap);
    assert_int_not_equal(slabs, 0);
    return (struct hf__slabs_entry *)(f.seg.base + hf__slabs_entry_offset(slabs, kind, slot_class));
}

static void clean(void)
{
    if (fixture_check(&f) != 0)
        fail_msg("found %s", f.rules[0]);
    assert_true(fixture_headers_are_blocks(&f));
}

static void assert_reported(const char *rule)
{
    assert_int_not_equal(fixture_check(&f), 0);
    if (!fixture_found(&f, rule))
        fail_msg("expected %s, found %s", rule, f.rules[0]);
}

static bool in_chunk(hf_ref ref)
{
    struct hf__chunk_ref chunk;
    return hf__chunk_of(&f.heap, ref, &chunk);
}

/* ---- what comes from chunks ------------------------------------------------------------------ */

static void test_every_small_size_gets_a_slot_of_its_alignment(void **state)
{
    static hf_ref refs[HF__SLOT_BYTES_MAX + 1];
    struct hf__block_info info;
    (void)state;
    for (uint64_t size = 0; size <= HF__SLOT_BYTES_MAX; size++) {
        struct hf__alloc_request request = {size, size % 16 == 0 ? 16 : 8, 0, HF__BLOCK_RAW};
        uint64_t usable;
        assert_int_equal(hf__slab_allocate(&f.heap, &request, &refs[size], &usable), 0);
        assert_true(in_chunk(refs[size]));
        assert_int_equal(refs[size] % (size % 16 == 0 ? 16 : 8), 0);
        assert_true(usable >= size && usable <= size + (size <= 256 ? 16 : size / 16 + 1));
        assert_int_equal(hf__heap_identify(&f.heap, refs[size], &info), 0);
        assert_true(info.slot && info.usable_bytes == usable && info.kind == HF__BLOCK_RAW);
        memset(f.seg.base + refs[size], 0xEE, usable);
    }
    assert_int_equal(root()->live_blocks, HF__SLOT_BYTES_MAX + 1);
    clean();
    for (uint64_t i = 0; i <= HF__SLOT_BYTES_MAX; i++)
        fixture_free(&f, refs[i * 77 % (HF__SLOT_BYTES_MAX + 1)]);
    clean();
    assert_int_equal(root()->live_blocks, 0);
    assert_int_equal(hf__slab_trim(&f.heap), 0);
    assert_int_equal(root()->used_end, FIXTURE_FIRST);
    clean();
}

static void test_large_aligned_and_system_blocks_are_best_fits(void **state)
{
    hf_ref out;
    struct hf__alloc_request system = {64, 16, 0, HF__BLOCK_SYSTEM};
    (void)state;
    assert_false(in_chunk(fixture_allocate(&f, HF__SLOT_BYTES_MAX + 1)));
    assert_false(in_chunk(fixture_allocate_aligned(&f, 64, 32, 0)));
    assert_int_equal(hf__slab_allocate(&f.heap, &system, &out, NULL), 0);
    assert_false(in_chunk(out));
    clean();
}

static void test_kinds_are_never_mixed(void **state)
{
    (void)state;
    hf_ref raw = fixture_allocate(&f, 64), object = fixture_allocate_aligned(&f, 64, 8, 0);
    assert_int_not_equal(chunk_of(raw).offset, chunk_of(object).offset);
    assert_int_equal(record_of(raw)->slot_kind, HF__BLOCK_RAW);
    assert_int_equal(record_of(object)->slot_kind, HF__BLOCK_OBJECT);
    assert_int_equal(object % 16, 0);
    hf_ref entry;
    assert_int_equal(hf__block_free_later(&f.heap, object, HF__BLOCK_RAW, &entry), HF_EPTR);
    assert_int_equal(hf__block_free_later(&f.heap, raw, HF__BLOCK_OBJECT, &entry), HF_EPTR);
    clean();
}

static void test_a_small_segment_has_no_chunks(void **state)
{
    (void)state;
    fixture_close(&f);
    fixture_open(&f, &hf__alloc_slab, 64 * 1024, SIZE);
    hf_ref a = fixture_allocate(&f, 64);
    assert_false(in_chunk(a));
    fixture_allocate(&f, 200 * 1024); /* grows it */
    assert_true(in_chunk(fixture_allocate(&f, 64)));
    fixture_free(&f, a);
    clean();
}

static void test_chunks_grow_with_their_class(void **state)
{
    (void)state;
    uint32_t order = 0;
    for (unsigned i = 0; i < 20000; i++) {
        struct hf__chunk_ref chunk = chunk_of(fixture_allocate(&f, 24));
        assert_true(chunk.order >= order);
        order = chunk.order;
    }
    assert_int_equal(order, 2);
    assert_true(root()->used_end < 20000 * 24 * 1.5);
    clean();
}

static void test_where_no_chunk_fits_a_block_does(void **state)
{
    hf_ref out;
    uint64_t small = 0, plain = 0;
    (void)state;
    fixture_close(&f);
    fixture_open(&f, &hf__alloc_slab, 256 * 1024, 256 * 1024);
    while (fixture_try(&f, 200, &out) == 0) {
        small += in_chunk(out);
        plain += !in_chunk(out);
    }
    assert_true(small > 900 && plain > 0 && plain < 40);
    assert_true(f.heap.algorithm->largest_free(&f.heap) < 200);
    clean();
}

static void test_a_spare_is_given_back_before_anything_is_refused(void **state)
{
    hf_ref refs[200];
    (void)state;
    fixture_close(&f);
    fixture_open(&f, &hf__alloc_slab, 128 * 1024, 128 * 1024);
    for (unsigned i = 0; i < 200; i++)
        refs[i] = fixture_allocate(&f, 256);
    for (unsigned i = 0; i < 200; i++)
        fixture_free(&f, refs[i]);
    assert_true(root()->used_end > FIXTURE_FIRST && root()->live_blocks == 0);
    fixture_allocate(&f, 128 * 1024 - FIXTURE_FIRST - 16);
    clean();
}

/* ---- spares ---------------------------------------------------------------------------------- */

static void test_a_pair_at_a_chunks_edge_makes_no_chunk_each_time(void **state)
{
    (void)state;
    hf_ref first = fixture_allocate(&f, 64);
    for (unsigned i = 1; i < record_of(first)->slots; i++)
        fixture_allocate(&f, 64);
    hf_ref over = fixture_allocate(&f, 64); /* in a second chunk */
    assert_int_not_equal(chunk_of(over).offset, chunk_of(first).offset);
    uint64_t end = root()->used_end;
    for (unsigned i = 0; i < 5; i++) {
        fixture_free(&f, over);
        assert_int_equal(root()->used_end, end);
        clean();
        assert_int_equal(fixture_allocate(&f, 64), over);
    }
    clean();
}

static void test_of_two_empty_chunks_the_larger_stays(void **state)
{
    static hf_ref refs[2000];
    (void)state;
    for (unsigned i = 0; i < 2000; i++)
        refs[i] = fixture_allocate(&f, 64);
    uint32_t largest = chunk_of(refs[1999]).order, slot_class = record_of(refs[0])->slot_class;
    assert_int_equal(largest, 2);
    for (unsigned turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < 2000; i++)
            fixture_free(&f, refs[turn == 0 ? i : 1999 - i]);
        const struct hf__slabs_entry *entry = entry_of(HF__BLOCK_RAW, slot_class);
        assert_int_equal(entry->bytes, HF__CHUNK_BYTES(2));
        assert_int_not_equal(entry->spare, 0);
        assert_int_equal(entry->first, 0);
        clean();
        for (unsigned i = 0; i < 2000; i++)
            refs[i] = fixture_allocate(&f, 64);
    }
}

/* ---- pending --------------------------------------------------------------------------------- */

static void test_one_entry_stands_for_all_pending_slots_of_a_chunk(void **state)
{
    hf_ref refs[40], entry = 7, first_entry = 0;
    struct hf__block_info info;
    (void)state;
    for (unsigned i = 0; i < 40; i++)
        refs[i] = fixture_allocate(&f, 64);
    for (unsigned i = 0; i < 30; i++) {
        assert_int_equal(hf__block_free_later(&f.heap, refs[i], HF__BLOCK_RAW, &entry), 0);
        if (i == 0)
            first_entry = entry;
        assert_int_equal(entry != 0, i == 0);
        assert_int_equal(hf__block_free_later(&f.heap, refs[i], HF__BLOCK_RAW, &entry), HF_EPTR);
    }
    assert_int_equal(hf__block_clear_pending(&f.heap, refs[0]), 0); /* the entry's own */
    assert_int_equal(hf__heap_identify(&f.heap, refs[1], &info), 0);
    assert_true(info.pending);
    hf_ref fresh = fixture_allocate(&f, 64);
    for (unsigned i = 0; i < 40; i++)
        assert_int_not_equal(fresh, refs[i]); /* pending slots are not given out */
    clean();
    assert_int_equal(hf__heap_free_entry(&f.heap, first_entry), 0);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(hf__heap_identify(&f.heap, refs[i], &info),
                         i == 0 || i >= 30 ? 0 : HF_EPTR);
    assert_int_equal(hf__heap_free_entry(&f.heap, first_entry), 0); /* one too many */
    assert_int_equal(root()->live_blocks, 12);
    clean();
}

static void test_freeing_by_an_entry_touches_few_lines(void **state)
{
    static hf_ref refs[1000];
    hf_ref entry;
    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        refs[i] = fixture_allocate(&f, 64);
    assert_int_equal(hf__block_free_later(&f.heap, refs[500], 0, &entry), 0);
    f.edits = 0;
    fixture_allocate(&f, 64);
    assert_true(f.edits <= 3); /* record, word, counters */
    f.edits = 0;
    assert_int_equal(hf__heap_free_entry(&f.heap, entry), 0);
    assert_true(f.edits <= 6);
    clean();
}

/* ---- resizing -------------------------------------------------------------------------------- */

static void test_a_slot_is_neither_expanded_nor_split(void **state)
{
    hf_ref a = fixture_allocate(&f, 100), out = 0, rest = 7;
    uint64_t received = 0;
    (void)state;
    assert_int_equal(hf__slab_expand(&f.heap, a, HF_EXPAND_FORWARD, 104, 200, &out, &received), 0);
    assert_true(out == a && received == 104);
    assert_int_equal(hf__slab_expand(&f.heap, a, HF_EXPAND_FORWARD, 105, 200, &out, &received),
                     HF_EFULL);
    assert_int_equal(received, 104);
    assert_int_equal(hf__slab_split(&f.heap, a, 8, &rest), 0);
    assert_int_equal(rest, 0);
    assert_int_equal(hf__slab_split(&f.heap, a + 8, 8, &rest), HF_EPTR);
    clean();
}

/* ---- walk and wrong pointers ----------------------------------------------------------------- */

static void test_the_walk_visits_live_slots_only(void **state)
{
    static hf_ref refs[3000];
    static bool live[3000];
    (void)state;
    for (unsigned i = 0; i < 3000; i++) {
        refs[i] = fixture_allocate(&f, i % 3 == 0 ? 40 : 800);
        live[i] = true;
    }
    for (unsigned i = 0; i < 3000; i += 7) {
        fixture_free(&f, refs[i]);
        live[i] = false;
    }
    struct hf__block_info info;
    uint64_t position = 0, count = 0, last = 0;
    while (hf__heap_next(&f.heap, &position, &info) == 1) {
        assert_true(info.payload > last);
        last = info.payload;
        count += info.kind == HF__BLOCK_RAW;
    }
    assert_int_equal(position, root()->used_end);
    assert_int_equal(count, root()->live_blocks);
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(hf__heap_identify(&f.heap, refs[i], &info), live[i] ? 0 : HF_EPTR);
    clean();
}

static void test_wrong_pointers_into_a_chunk_are_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4000; i++)
        fixture_allocate(&f, 48);
    struct hf__chunk_ref chunk = chunk_of(fixture_allocate(&f, 48));
    struct hf__block_info info;
    assert_int_equal(chunk.order, 2);
    uint64_t found = 0;
    for (uint64_t at = chunk.offset; at < chunk.offset + HF__CHUNK_BYTES(2); at++)
        if (hf__heap_identify(&f.heap, at, &info) == 0) {
            assert_int_equal(info.payload, at);
            found++;
        } else {
            assert_int_equal(hf__block_set_pending(&f.heap, at), HF_EPTR);
        }
    assert_int_equal(found, chunk.chunk->taken);
    clean();
}

/* What a free slot holds may be older than its chunk: a header that was true when a block lay there. */
static void test_a_header_in_a_chunk_is_no_blocks(void **state)
{
    const uint64_t size = 64;
    struct hf__block_info info;
    (void)state;
    const hf_ref slot = fixture_allocate(&f, 1000);
    const struct hf__chunk_ref chunk = chunk_of(slot);
    const uint64_t offset = chunk.offset + HF__CHUNK_BYTES(chunk.order) - 256;
    struct hf__block old = {.offset = offset, .size_bytes = size, .previous_bytes = size,
                            .kind = HF__BLOCK_RAW};
    hf__block_write(&f.seg, &old);
    assert_int_equal(hf__heap_identify(&f.heap, offset + HF__BLOCK_HEADER_BYTES, &info), HF_EPTR);
    assert_int_equal(hf_last_error()->code, HF_EPTR);
    assert_int_equal(hf__heap_identify(&f.heap, slot, &info), 0);
}

static void test_users_bytes_are_never_a_record(void **state)
{
    (void)state;
    hf_ref a = fixture_allocate(&f, 64);
    struct hf__chunk_ref chunk = chunk_of(a);
    uint64_t copy[64 / 8];
    memcpy(copy, f.seg.base + chunk.record, 64);
    fixture_free(&f, a);
    assert_int_equal(hf__slab_trim(&f.heap), 0);
    assert_false(in_chunk(a)); /* dropped: it has lost its check */
    hf_ref big = fixture_allocate(&f, 300000);
    for (uint64_t at = big; at + 64 <= big + 300000; at += 64)
        if (at + 64 <= chunk.record || at >= chunk.record + 64) /* elsewhere it is not one */
            memcpy(f.seg.base + at, copy, 64);
    for (uint64_t at = big; at < big + 300000; at += 8)
        assert_false(in_chunk(at));
    clean();
}

static void test_zero_free_wipes_free_slots(void **state)
{
    hf_ref refs[300];
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        refs[i] = fixture_allocate(&f, 104);
        memset(f.seg.base + refs[i], 0x5A, 104);
    }
    for (unsigned i = 0; i < 300; i++)
        if (i % 3 != 0)
            fixture_free(&f, refs[i]);
    f.heap.algorithm->zero_free(&f.heap, NULL, NULL);
    clean();
    for (unsigned i = 0; i < 300; i++)
        for (unsigned k = 0; k < 104; k++)
            assert_int_equal(f.seg.base[refs[i] + k], i % 3 == 0 ? 0x5A : 0);
}

/* ---- each invariant, broken by hand, is reported --------------------------------------------- */

static hf_ref refs[500];

static void populate(void)
{
    for (unsigned i = 0; i < 500; i++) {
        refs[i] = fixture_allocate(&f, 128);
        memset(f.seg.base + refs[i], (int)i, 128);
    }
    for (unsigned i = 0; i < 500; i += 5)
        fixture_free(&f, refs[i]);
    hf_ref other = fixture_allocate(&f, 640); /* a spare */
    fixture_free(&f, other);
    clean();
}

static void test_s1_wrong_counts_and_bits_are_reported(void **state)
{
    (void)state;
    populate();
    struct hf__chunk *chunk = record_of(refs[7]);
    struct hf__chunk_word *word = (struct hf__chunk_word *)(chunk + 1);
    uint64_t *words[] = {&word->taken, &word->pending};
    for (unsigned i = 0; i < 2; i++)
        for (unsigned bit = 0; bit < 64; bit++) {
            *words[i] ^= UINT64_C(1) << bit;
            assert_reported("chunk.bitmap");
            *words[i] ^= UINT64_C(1) << bit;
        }
    /* As many slots as before, but others. */
    uint64_t was = word->taken;
    word->taken = (was & (was - 1)) | (~was & (was + 1));
    assert_int_equal(__builtin_popcountll(word->taken), __builtin_popcountll(was));
    assert_reported("chunk.bitmap");
    word->taken = was;
    chunk->taken++;
    assert_reported("chunk.bitmap");
    assert_reported("heap.counters");
    chunk->taken--;
    chunk->first_room++;
    assert_reported("chunk.bitmap");
    chunk->first_room--;
    chunk->slot_class ^= 1;
    assert_reported("chunk.header");
    chunk->slot_class ^= 1;
    clean();
}

static void test_s2_wrong_links_are_reported(void **state)
{
    (void)state;
    populate();
    struct hf__slabs_entry *entry = entry_of(HF__BLOCK_RAW, 15);
    struct hf__chunk_ref first, second;
    assert_true(hf__chunk_at(&f.heap, entry->first, &first));
    assert_true(hf__chunk_at(&f.heap, first.chunk->next, &second));
    struct hf__chunk *chunk = (struct hf__chunk *)(f.seg.base + second.record);
    uint64_t next = chunk->next, previous = chunk->previous;
    chunk->previous = 0;
    assert_reported("chunk.list");
    chunk->previous = second.offset;
    assert_reported("chunk.links");
    chunk->previous = previous;
    chunk->next = first.offset; /* a circle */
    assert_reported("chunk.links");
    chunk->next = next;
    entry->first = second.offset; /* the first is lost */
    assert_reported("slabs.list");
    entry->first = first.offset;
    clean();
}

static void test_s3_a_wrong_spare_and_wrong_bytes_are_reported(void **state)
{
    (void)state;
    populate();
    struct hf__slabs_entry *entry = entry_of(HF__BLOCK_RAW, record_of(refs[1])->slot_class);
    entry->spare = entry->first;
    assert_reported("slabs.spare");
    entry->spare = 0;
    entry->bytes += 4096;
    assert_reported("slabs.bytes");
    entry->bytes -= 4096;
    uint64_t *field = (uint64_t *)(f.seg.base + FIXTURE_ROOT - 8), was = *field;
    *field = 0;
    assert_reported("slabs.directory");
    *field = was;
    clean();
}

static void test_damage_is_met_before_the_first_change(void **state)
{
    hf_ref out, entry;
    (void)state;
    populate();
    struct hf__slabs_entry *at = entry_of(HF__BLOCK_RAW, 15);
    struct hf__chunk *chunk = (struct hf__chunk *)(f.seg.base + chunk_of(at->first).record);
    unsigned char *copy = malloc(f.seg.size_bytes);
    assert_non_null(copy);
    chunk->first_room = 0xFFFF;
    memcpy(copy, f.seg.base, f.seg.size_bytes);
    assert_int_equal(fixture_try(&f, 128, &out), HF_ECORRUPT);
    assert_memory_equal(copy, f.seg.base, f.seg.size_bytes);
    at->first = 4096;
    memcpy(copy, f.seg.base, f.seg.size_bytes);
    assert_int_equal(fixture_try(&f, 128, &out), HF_ECORRUPT);
    chunk = record_of(refs[3]);
    chunk->taken = 0;
    memcpy(copy, f.seg.base, f.seg.size_bytes);
    assert_int_equal(hf__slab_free(&f.heap, refs[3]), HF_ECORRUPT);
    assert_memory_equal(copy, f.seg.base, f.seg.size_bytes);
    assert_int_equal(hf__block_free_later(&f.heap, refs[3], 0, &entry), 0);
    chunk->pending = 9;
    assert_int_equal(hf__heap_free_entry(&f.heap, entry), HF_ECORRUPT);
    free(copy);
}

/* ---- repair ---------------------------------------------------------------------------------- */

static void mend_and_rebuild(uint64_t lost_expected)
{
    uint64_t lost = 1;
    assert_int_equal(hf__heap_mend_walk(&f.heap, &lost), 0);
    assert_int_equal(lost, lost_expected);
    assert_int_equal(f.heap.algorithm->rebuild(&f.heap), 0);
    clean();
}

static uint64_t count_alive(void)
{
    struct hf__block_info info;
    uint64_t alive = 0;
    for (unsigned i = 0; i < 500; i++)
        if (i % 5 != 0 && hf__heap_identify(&f.heap, refs[i], &info) == 0) {
            alive++;
            assert_int_equal(f.seg.base[refs[i]], (unsigned char)i);
        }
    return alive;
}

static void test_mending_a_broken_bitmap_keeps_everything(void **state)
{
    (void)state;
    populate();
    struct hf__chunk *chunk = record_of(refs[7]);
    struct hf__chunk_word *word = (struct hf__chunk_word *)(chunk + 1);
    word->taken = 0;
    mend_and_rebuild(0);
    assert_int_equal(count_alive(), 400);
    assert_int_equal(chunk->taken, chunk->slots); /* the free ones too: nobody knows */
}

static void test_mending_wrong_counts_needs_no_guess(void **state)
{
    (void)state;
    populate();
    uint64_t live = root()->live_blocks;
    struct hf__chunk *chunk = record_of(refs[7]);
    chunk->taken = chunk->pending = chunk->first_room = 77;
    chunk->next = chunk->previous = 12345;
    mend_and_rebuild(0);
    assert_int_equal(count_alive(), 400);
    assert_int_equal(root()->live_blocks, live);
}

static void test_mending_a_broken_chunk_sets_it_aside(void **state)
{
    (void)state;
    populate();
    struct hf__chunk_ref chunk = chunk_of(refs[499]);
    uint64_t inside = 0;
    for (unsigned i = 0; i < 500; i++)
        inside += i % 5 != 0 && chunk_of(refs[i]).offset == chunk.offset;
    f.seg.base[chunk.offset + 3] ^= 4; /* the block's header: the record is still true */
    mend_and_rebuild(HF__CHUNK_BYTES(chunk.order));
    assert_int_equal(count_alive(), 400 - inside);
    assert_false(in_chunk(refs[499]));
}

static void test_a_directory_that_is_gone_is_made_anew(void **state)
{
    (void)state;
    populate();
    uint64_t slabs = hf__slabs_of(&f.heap);
    memset(f.seg.base + slabs - 16, 0xDD, 1000);
    mend_and_rebuild(HF__SLABS_BYTES + 16);
    assert_int_equal(count_alive(), 400);
    assert_int_not_equal(hf__slabs_of(&f.heap), 0);
    assert_true(in_chunk(fixture_allocate(&f, 128)));
    clean();
}

static void test_mending_leaves_a_sound_heap_alone(void **state)
{
    uint64_t lost;
    (void)state;
    populate();
    unsigned char *copy = malloc(f.seg.size_bytes);
    assert_non_null(copy);
    memcpy(copy, f.seg.base, f.seg.size_bytes);
    assert_int_equal(hf__heap_mend_walk(&f.heap, &lost), 0);
    assert_int_equal(lost, 0);
    assert_memory_equal(copy, f.seg.base, f.seg.size_bytes);
    free(copy);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, open_slab, close_it)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_every_small_size_gets_a_slot_of_its_alignment),
        CASE(test_large_aligned_and_system_blocks_are_best_fits),
        CASE(test_kinds_are_never_mixed),
        CASE(test_a_small_segment_has_no_chunks),
        CASE(test_chunks_grow_with_their_class),
        CASE(test_where_no_chunk_fits_a_block_does),
        CASE(test_a_spare_is_given_back_before_anything_is_refused),
        CASE(test_a_pair_at_a_chunks_edge_makes_no_chunk_each_time),
        CASE(test_of_two_empty_chunks_the_larger_stays),
        CASE(test_one_entry_stands_for_all_pending_slots_of_a_chunk),
        CASE(test_freeing_by_an_entry_touches_few_lines),
        CASE(test_a_slot_is_neither_expanded_nor_split),
        CASE(test_the_walk_visits_live_slots_only),
        CASE(test_wrong_pointers_into_a_chunk_are_refused),
        CASE(test_a_header_in_a_chunk_is_no_blocks),
        CASE(test_users_bytes_are_never_a_record),
        CASE(test_zero_free_wipes_free_slots),
        CASE(test_s1_wrong_counts_and_bits_are_reported),
        CASE(test_s2_wrong_links_are_reported),
        CASE(test_s3_a_wrong_spare_and_wrong_bytes_are_reported),
        CASE(test_damage_is_met_before_the_first_change),
        CASE(test_mending_a_broken_bitmap_keeps_everything),
        CASE(test_mending_wrong_counts_needs_no_guess),
        CASE(test_mending_a_broken_chunk_sets_it_aside),
        CASE(test_a_directory_that_is_gone_is_made_anew),
        CASE(test_mending_leaves_a_sound_heap_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
