/* SPDX-License-Identifier: MIT */
/*
 * test_slab_cache.c - what a writer keeps of its slabs in process memory: C1..C7 of slab_cache.h
 *
 * A transaction here is hf__slab_begin to finish, settle and keep; a commit's number is made up.
 */
#include "alloc/slab_cache.h"
#include "heap_fixture.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SIZE (1024 * 1024)
#define MANY 3000

static struct fixture f;
static hf_ref refs[MANY];
static uint64_t commit;

static int open_cached(void **state)
{
    (void)state;
    fixture_open(&f, &hf__alloc_slab, SIZE, 32 * SIZE);
    f.heap.cache = hf__slab_cache_new();
    assert_non_null(f.heap.cache);
    commit = 0;
    return 0;
}

static int close_cached(void **state)
{
    (void)state;
    hf__slab_cache_free(f.heap.cache);
    f.heap.cache = NULL;
    fixture_close(&f);
    return 0;
}

static void begin(void)
{
    hf__slab_begin(&f.heap, commit);
    hf__slab_new_level(&f.heap);
}

static void end(void)
{
    const hf_ref *entries;
    assert_int_equal(hf__slab_finish(&f.heap), 0);
    assert_int_equal(hf__slab_settle(&f.heap), 0);
    for (size_t i = hf__slab_entries(&f.heap, &entries); i-- > 0;)
        assert_int_equal(hf__heap_free_entry(&f.heap, entries[i]), 0);
    hf__slab_keep(&f.heap, ++commit);
    if (fixture_check(&f) != 0)
        fail_msg("found %s", f.rules[0]);
}

static hf_ref make(uint64_t size_bytes, uint32_t kind)
{
    struct hf__alloc_request request = {size_bytes, 8, 0, kind};
    hf_ref out;
    assert_int_equal(hf__alloc_slab.allocate(&f.heap, &request, &out, NULL), 0);
    return out;
}

static int free_later(hf_ref ref, uint32_t kind)
{
    hf_ref entry = 7;
    int code = hf__block_free_later(&f.heap, ref, kind, &entry);
    if (code == 0)
        assert_int_equal(entry, 0);
    return code;
}

static uint64_t live_blocks(void)
{
    return hf__heap_root_of(&f.heap)->live_blocks;
}

static struct hf__chunk *record_of(hf_ref ref)
{
    struct hf__chunk_ref chunk;
    assert_true(hf__chunk_of(&f.heap, ref, &chunk));
    return (struct hf__chunk *)(f.seg.base + chunk.record);
}

/* MANY slots, so that there are chunks of every order, in one transaction. */
static void populate(uint64_t size_bytes, uint32_t kind)
{
    begin();
    for (unsigned i = 0; i < MANY; i++)
        refs[i] = make(size_bytes, kind);
    end();
    assert_int_equal(live_blocks(), MANY);
}

static void frees_are_bits_until_the_end(uint32_t kind)
{
    struct hf__block_info info;
    populate(80, kind);
    begin();
    unsigned char *copy = malloc(f.seg.size_bytes);
    assert_non_null(copy);
    memcpy(copy, f.seg.base, f.seg.size_bytes);
    for (unsigned i = 0; i < MANY; i += 3) {
        assert_int_equal(free_later(refs[i], kind), 0);
        assert_int_equal(free_later(refs[i], kind), HF_EPTR); /* twice */
        assert_int_equal(free_later(refs[i] + 8, kind), HF_EPTR);
        assert_int_equal(free_later(refs[i + 1], HF__BLOCK_RAW + HF__BLOCK_OBJECT - kind), HF_EPTR);
        assert_int_equal(hf__heap_identify(&f.heap, refs[i], &info), 0);
        assert_true(info.pending);
        assert_int_equal(hf__heap_identify(&f.heap, refs[i + 1], &info), 0);
        assert_false(info.pending);
    }
    assert_memory_equal(copy, f.seg.base, f.seg.size_bytes);
    free(copy);
    end();
    assert_int_equal(live_blocks(), MANY - MANY / 3);
    begin();
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(hf__heap_identify(&f.heap, refs[i], &info), i % 3 == 0 ? HF_EPTR : 0);
        assert_int_equal(free_later(refs[i], kind), i % 3 == 0 ? HF_EPTR : 0);
    }
    end();
    assert_int_equal(live_blocks(), 0);
}

static void test_frees_of_raw_slots_are_bits_until_the_end(void **state)
{
    (void)state;
    frees_are_bits_until_the_end(HF__BLOCK_RAW);
}

static void test_frees_of_objects_are_bits_until_the_end(void **state)
{
    (void)state;
    frees_are_bits_until_the_end(HF__BLOCK_OBJECT);
}

static void test_a_settle_makes_what_was_freed_pending(void **state)
{
    struct hf__block_info info;
    (void)state;
    populate(80, HF__BLOCK_OBJECT);
    begin();
    for (unsigned i = 0; i < MANY; i += 2)
        assert_int_equal(free_later(refs[i], HF__BLOCK_OBJECT), 0);
    assert_int_equal(hf__slab_settle(&f.heap), 0);
    struct hf__slab_cache *cache = f.heap.cache;
    f.heap.cache = NULL; /* as somebody sees it who knows the segment alone */
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(hf__heap_identify(&f.heap, refs[i], &info), 0);
        assert_int_equal(info.pending, i % 2 == 0);
    }
    f.heap.cache = cache;
    assert_int_equal(live_blocks(), MANY);
    for (unsigned i = 1; i < MANY; i += 4) /* of the same chunks, after that */
        assert_int_equal(free_later(refs[i], HF__BLOCK_OBJECT), 0);
    end();
    assert_int_equal(live_blocks(), MANY / 4);
}

static void test_a_raw_slot_comes_back_at_once_and_an_object_at_the_end(void **state)
{
    (void)state;
    for (uint32_t kind = HF__BLOCK_RAW; kind <= HF__BLOCK_OBJECT; kind++) {
        begin();
        for (unsigned i = 0; i < 100; i++)
            refs[i] = make(64, kind);
        const hf_ref first = make(64, kind);
        assert_int_equal(free_later(first, kind), 0);
        assert_int_equal(free_later(first, kind), HF_EPTR);
        const hf_ref second = make(64, kind);
        assert_int_equal(second == first, kind == HF__BLOCK_RAW);
        if (kind == HF__BLOCK_RAW) { /* not the one that was handed out last */
            assert_int_equal(free_later(refs[99], kind), 0);
            assert_int_equal(free_later(refs[99], kind), HF_EPTR);
            refs[99] = make(64, kind);
            const hf_ref last = make(64, kind); /* by who doesn't know the kind, and then again */
            assert_int_equal(free_later(last, 0), 0);
            assert_int_equal(free_later(last, kind), HF_EPTR);
        }
        end();
        assert_int_equal(live_blocks(), 101);
        begin();
        for (unsigned i = 0; i < 100; i++)
            assert_int_equal(free_later(refs[i], kind), 0);
        assert_int_equal(free_later(second, kind), 0);
        end();
        assert_int_equal(live_blocks(), 0);
    }
}

static void test_a_claim_has_slots_of_several_words_and_gives_back_the_rest(void **state)
{
    const struct hf__claim *claim = &f.heap.cache->claims[hf__slot_class_of(64)];
    uint64_t made = 0, claimed = 0;
    (void)state;
    populate(64, HF__BLOCK_RAW);
    begin();
    for (unsigned i = 0; i < MANY; i++)
        if (i % 40 < 2)
            assert_int_equal(free_later(refs[i], HF__BLOCK_RAW), 0);
    end();
    const uint64_t before = live_blocks();
    begin();
    for (; claim->rows < 2; made++) /* the first chunk may have one word */
        make(64, HF__BLOCK_RAW);
    for (unsigned i = 0; i < claim->rows; i++)
        claimed += hf__slot_count(claim->row[i].free);
    assert_true(claimed > 2);
    assert_int_equal(live_blocks(), before + made + claimed);
    for (uint64_t i = 0; i < claimed; i++) { /* each of them, and none twice */
        refs[i] = make(64, HF__BLOCK_RAW);
        for (uint64_t j = 0; j < i; j++)
            assert_int_not_equal(refs[i], refs[j]);
    }
    assert_int_equal(live_blocks(), before + made + claimed);
    for (uint64_t i = 0; i < claimed; i++) {
        assert_int_equal(free_later(refs[i], HF__BLOCK_RAW), 0);
        assert_int_equal(free_later(refs[i], HF__BLOCK_RAW), HF_EPTR);
    }
    end();
    assert_int_equal(live_blocks(), before + made);
    for (unsigned i = 0; i < 4; i++) { /* whoever makes one at a time soon claims one */
        begin();
        make(64, HF__BLOCK_RAW);
        if (i == 3)
            assert_int_equal(claim->count, 1);
        end();
    }
}

/* C5: what is not as the copy says is found before anything is written. */
static void test_a_chunk_that_is_not_as_its_copy_says_is_left_alone(void **state)
{
    (void)state;
    for (unsigned what = 0; what < 3; what++) {
        populate(80, HF__BLOCK_RAW);
        begin();
        assert_int_equal(free_later(refs[5], HF__BLOCK_RAW), 0);
        struct hf__chunk *chunk = record_of(refs[5]);
        struct hf__chunk_word *word = (struct hf__chunk_word *)(chunk + 1);
        uint32_t *check = &chunk->check;
        uint64_t *bits = what == 0 ? &word->taken : &word->pending;
        if (what < 2)
            *bits ^= 2;
        else
            *check ^= 1;
        unsigned char *copy = malloc(f.seg.size_bytes);
        assert_non_null(copy);
        memcpy(copy, f.seg.base, f.seg.size_bytes);
        assert_int_equal(hf__slab_finish(&f.heap), HF_ECORRUPT);
        assert_memory_equal(copy, f.seg.base, f.seg.size_bytes);
        free(copy);
        if (what < 2)
            *bits ^= 2;
        else
            *check ^= 1;
        end();
        begin();
        for (unsigned i = 0; i < MANY; i++)
            if (i != 5)
                assert_int_equal(free_later(refs[i], HF__BLOCK_RAW), 0);
        end();
    }
}

/* C6: after a forget, and at another commit, the segment is asked. */
static void test_what_was_forgotten_is_not_believed(void **state)
{
    struct hf__slab_cache *cache = f.heap.cache;
    (void)state;
    populate(80, HF__BLOCK_RAW);
    begin();
    assert_int_equal(free_later(refs[7], HF__BLOCK_RAW), 0);
    cache->age = UINT32_MAX; /* entries of before would hold again after it has gone round */
    hf__slab_forget(&f.heap);
    hf__slab_new_level(&f.heap);
    assert_int_equal(cache->age, 1);
    for (unsigned i = 0; i < MANY; i++)
        assert_null(hf__seen_find(cache, refs[i]));
    assert_int_equal(free_later(refs[7], HF__BLOCK_RAW), 0); /* the other was undone */
    end();
    assert_int_equal(live_blocks(), MANY - 1);
    commit += 5; /* another process has committed */
    f.heap.cache = NULL;
    assert_int_equal(hf__slab_free(&f.heap, refs[8]), 0);
    f.heap.cache = cache;
    begin();
    assert_int_equal(free_later(refs[8], HF__BLOCK_RAW), HF_EPTR);
    assert_int_equal(free_later(refs[9], HF__BLOCK_RAW), 0);
    end();
    assert_int_equal(live_blocks(), MANY - 3);
}

/* Who has no slot that was handed out last can't be given it back: least of all by the address of the
 * whole segment. */
static void test_the_segments_beginning_is_no_slot(void **state)
{
    (void)state;
    populate(80, HF__BLOCK_OBJECT);
    begin();
    assert_false(hf__slab_quick_free(&f.heap, 0, HF__BLOCK_RAW));
    const hf_ref first = make(80, HF__BLOCK_OBJECT);
    assert_false(hf__slab_quick_free(&f.heap, 0, HF__BLOCK_RAW));
    assert_int_not_equal(make(80, HF__BLOCK_OBJECT), first);
    end();
    assert_int_equal(live_blocks(), MANY + 2);
}

/* What was freed and is wanted after all: no memory is asked for, and nothing is written. */
static void test_a_slot_that_is_kept_after_all_takes_nothing(void **state)
{
    (void)state;
    populate(80, HF__BLOCK_OBJECT);
    begin();
    unsigned char *copy = malloc(f.seg.size_bytes);
    assert_non_null(copy);
    memcpy(copy, f.seg.base, f.seg.size_bytes);
    assert_int_equal(free_later(refs[5], HF__BLOCK_OBJECT), 0);
    assert_int_equal(free_later(refs[6], HF__BLOCK_OBJECT), 0);
    assert_int_equal(hf__block_clear_pending(&f.heap, refs[5]), 0);
    assert_int_equal(f.heap.cache->entry_room, 0);
    assert_int_equal(free_later(refs[MANY - 1], HF__BLOCK_OBJECT), 0); /* of another chunk */
    assert_int_equal(hf__block_clear_pending(&f.heap, refs[MANY - 1]), 0);
    assert_memory_equal(copy, f.seg.base, f.seg.size_bytes);
    free(copy);
    end();
    assert_int_equal(live_blocks(), MANY - 1);
    begin();
    assert_int_equal(free_later(refs[5], HF__BLOCK_OBJECT), 0);
    assert_int_equal(free_later(refs[6], HF__BLOCK_OBJECT), HF_EPTR);
    assert_int_equal(free_later(refs[MANY - 1], HF__BLOCK_OBJECT), 0);
    end();
    assert_int_equal(live_blocks(), MANY - 3);
}

/* A damaged segment names a chunk with live slots as its class's spare, and it is dropped while some of
 * them are freed. */
static void test_a_spare_with_freed_slots_is_found(void **state)
{
    (void)state;
    struct hf__chunk_ref full, large, chunk;
    hf_ref of_large = 0;
    populate(80, HF__BLOCK_OBJECT);
    assert_true(hf__chunk_of(&f.heap, refs[0], &full));
    assert_int_equal(full.chunk->taken, full.chunk->slots);
    large.order = full.order;
    for (unsigned i = 0; i < MANY && large.order == full.order; i++)
        assert_true(hf__chunk_of(&f.heap, refs[i], &large));
    assert_true(large.order > full.order);
    begin();
    for (unsigned i = 0; i < MANY; i++)
        if (hf__chunk_of(&f.heap, refs[i], &chunk) && chunk.offset == large.offset) {
            if (of_large != 0)
                assert_int_equal(free_later(of_large, HF__BLOCK_OBJECT), 0);
            of_large = refs[i];
        }
    end();
    struct hf__slabs_entry *entry = (struct hf__slabs_entry *)(
        f.seg.base + hf__slabs_entry_offset(hf__slabs_of(&f.heap), full.chunk->slot_kind,
                                            full.chunk->slot_class));
    record_of(refs[0])->taken = 0;
    entry->spare = full.offset;
    begin();
    assert_int_equal(free_later(refs[0], HF__BLOCK_OBJECT), 0);
    assert_int_equal(free_later(of_large, HF__BLOCK_OBJECT), 0);
    assert_int_equal(hf__slab_finish(&f.heap), HF_ECORRUPT);
    hf__slab_forget(&f.heap);
}

/* Where a chunk lay there is another one, with more words than the copy has. */
static void test_a_copy_is_of_one_chunk(void **state)
{
    (void)state;
    struct hf__chunk_ref chunk;
    populate(1000, HF__BLOCK_RAW);
    begin();
    assert_true(hf__chunk_of(&f.heap, refs[MANY - 1], &chunk));
    assert_non_null(hf__slab_see(&f.heap, &chunk));
    struct hf__chunk other = *chunk.chunk;
    other.check++;
    chunk.chunk = &other;
    chunk.words = 64;
    const size_t bytes = f.heap.cache->bits_count * sizeof(struct hf__seen_word);
    void *copy = malloc(bytes);
    assert_non_null(copy);
    memcpy(copy, f.heap.cache->bits, bytes);
    for (uint32_t word = 0; word < chunk.words; word++) {
        hf__slab_taken(&f.heap, &chunk, word, UINT64_MAX);
        assert_int_equal(hf__slab_freed(&f.heap, &chunk, word, UINT64_MAX), 0);
    }
    assert_memory_equal(copy, f.heap.cache->bits, bytes);
    free(copy);
    end();
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, open_cached, close_cached)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_frees_of_raw_slots_are_bits_until_the_end),
        CASE(test_frees_of_objects_are_bits_until_the_end),
        CASE(test_a_settle_makes_what_was_freed_pending),
        CASE(test_a_raw_slot_comes_back_at_once_and_an_object_at_the_end),
        CASE(test_a_claim_has_slots_of_several_words_and_gives_back_the_rest),
        CASE(test_a_chunk_that_is_not_as_its_copy_says_is_left_alone),
        CASE(test_what_was_forgotten_is_not_believed),
        CASE(test_the_segments_beginning_is_no_slot),
        CASE(test_a_slot_that_is_kept_after_all_takes_nothing),
        CASE(test_a_spare_with_freed_slots_is_found),
        CASE(test_a_copy_is_of_one_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
