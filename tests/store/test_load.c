/* SPDX-License-Identifier: MIT */
/*
 * test_load.c - a transaction far larger than what goes through the log
 *
 * What lies above the used end at its begin is written in place through a window (private.c). Here:
 * that the disk is set to work while the window is filled, and only on what isn't coming back; that
 * private memory doesn't grow with the load; and that savepoints within it are exact.
 */
#include "store_fixture.h"

#include "base/os.h"
#include "store/store.h"

#include <errno.h>
#include <unistd.h>

enum { BLOCK_BYTES = 1000, BLOCKS = 64000, NAMED = 60000, VALUE_BYTES = 500 };

static char path[PATH_BYTES];
static struct hf__os os;
static hf_store *opened;
static uint64_t written_bytes, written_end, spared_at, spared_writes;
static bool refuses, out_of_order;

static int write_back_here(int fd, off_t offset, off_t size_bytes)
{
    out_of_order |= (uint64_t)offset < written_end || size_bytes <= 0;
    written_end = (uint64_t)(offset + size_bytes);
    written_bytes += (uint64_t)size_bytes;
    spared_writes += spared_at >= (uint64_t)offset && spared_at < written_end;
    if (refuses) {
        errno = EIO;
        return -1;
    }
    return hf__os_system.write_back(fd, offset, size_bytes);
}

static int madvise_here(void *address, size_t size_bytes, int advice)
{
    if (refuses) {
        errno = EINVAL;
        return -1;
    }
    return hf__os_system.madvise(address, size_bytes, advice);
}

static void open_store(uint32_t allocator, uint32_t index)
{
    hf_options options = {.allocator = allocator, .index = index};
    os = hf__os_system;
    os.write_back = write_back_here;
    os.madvise = madvise_here;
    hf__os = &os;
    written_bytes = written_end = spared_at = spared_writes = 0;
    refuses = out_of_order = false;
    fixture_path(path, fixture_disk_directory(), "load.hf");
    assert_ok(hf_open(path, &options, &opened));
}

static void close_and_remove(void)
{
    assert_ok(hf_close(opened));
    assert_ok(hf_remove(path));
    hf__os = &hf__os_system;
}

/* ---- writing behind -------------------------------------------------------------------------- */

/* Blocks, each filled once; with each of them one of those 20000 blocks back changes again if
 * everywhere, else always the same one if again: beyond the first span, so that there is a page table
 * between it and the file's beginning. */
static void load_blocks(bool again, bool everywhere)
{
    static unsigned char *blocks[BLOCKS];
    hf_txn *txn;
    assert_ok(hf_begin(opened, &txn));
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = hf_alloc(txn, BLOCK_BYTES);
        assert_got(blocks[i]);
        memset(blocks[i], (int)i, BLOCK_BYTES);
        if (i <= (everywhere ? 20000 : 21000) || !again)
            continue;
        unsigned char *edited = hf_edit(txn, blocks[everywhere ? i - 20000 : 20000], 1);
        assert_got(edited);
        ++*edited;
        spared_at = hf__file_offset((uint64_t)(edited - opened->seg.base));
    }
    assert_ok(hf_commit(txn));
}

static void test_load_writes_behind_in_order(void **unused)
{
    hf_store_info info;
    (void)unused;
    open_store(HF_ALLOC_SLAB, HF_INDEX_SET);
    load_blocks(false, false);
    assert_ok(hf_info(opened, &info));
    assert_false(out_of_order);
    assert_true(written_end < hf__file_offset(info.used_end_bytes));
    assert_true(written_bytes > info.used_end_bytes / 2);
    fixture_assert_sound(opened);
    close_and_remove();
}

static void test_load_spares_what_changes_again(void **unused)
{
    hf_store_info info;
    (void)unused;
    open_store(HF_ALLOC_SLAB, HF_INDEX_SET);
    load_blocks(true, false);
    assert_ok(hf_info(opened, &info));
    assert_int_equal(spared_writes, 0);
    assert_true(written_bytes > info.used_end_bytes / 2);
    fixture_assert_sound(opened);
    close_and_remove();
}

static void test_load_stops_writing_what_changes_everywhere(void **unused)
{
    hf_store_info info;
    (void)unused;
    open_store(HF_ALLOC_SLAB, HF_INDEX_SET);
    load_blocks(true, true);
    assert_ok(hf_info(opened, &info));
    assert_true(written_bytes != 0);
    assert_true(written_bytes < info.used_end_bytes / 2);
    fixture_assert_sound(opened);
    close_and_remove();
}

/* Each is announced whole before it is filled. */
static void test_load_writes_large_blocks_behind(void **unused)
{
    enum { LARGE = 6, LARGE_BYTES = 30 << 20 };
    hf_txn *txn;
    (void)unused;
    open_store(HF_ALLOC_SLAB, HF_INDEX_SET);
    assert_ok(hf_begin(opened, &txn));
    for (int i = 0; i < LARGE; i++) {
        void *block = hf_alloc(txn, LARGE_BYTES);
        assert_got(block);
        memset(block, i, LARGE_BYTES);
    }
    assert_true(written_bytes > (uint64_t)LARGE_BYTES * LARGE / 2);
    /* Nothing of the last one, which was not full yet. */
    assert_true(written_end <= hf__file_offset(hf__used_end(&opened->seg) - LARGE_BYTES));
    assert_ok(hf_commit(txn));
    assert_false(out_of_order);
    close_and_remove();
}

static void test_load_needs_no_hints(void **unused)
{
    (void)unused;
    open_store(HF_ALLOC_SLAB, HF_INDEX_SET);
    refuses = true;
    load_blocks(false, false);
    assert_true(written_bytes != 0);
    refuses = false;
    fixture_assert_sound(opened);
    close_and_remove();
}

/* ---- memory, savepoints ---------------------------------------------------------------------- */

static void construct_some(hf_txn *txn, unsigned from, unsigned to)
{
    char name[24];
    for (unsigned i = from; i < to; i++) {
        snprintf(name, sizeof name, "object %u", i * 7919 % NAMED);
        unsigned char *value = hf_construct(txn, name, NULL, VALUE_BYTES);
        assert_got(value);
        memset(value, (int)(i % 251), VALUE_BYTES);
    }
}

static void assert_named(hf_view *view, unsigned count)
{
    unsigned char expected[VALUE_BYTES];
    char name[24];
    for (unsigned i = 0; i < NAMED; i++) {
        snprintf(name, sizeof name, "object %u", i * 7919 % NAMED);
        const void *value = hf_find(view, name, NULL, NULL);
        if (i >= count) {
            assert_null(value);
            continue;
        }
        memset(expected, (int)(i % 251), sizeof expected);
        assert_got(value);
        assert_memory_equal(value, expected, sizeof expected);
    }
}

/* What is taken from the tail needs no old lines, and what is in the window no place in the set. */
static void test_load_keeps_little_memory(void **unused)
{
    static const uint32_t indexes[] = {HF_INDEX_SET, HF_INDEX_HASH};
    (void)unused;
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++) {
        hf_txn *txn;
        open_store(HF_ALLOC_SLAB, indexes[i]);
        assert_ok(hf_begin(opened, &txn));
        construct_some(txn, 0, NAMED);
        assert_true(opened->undo.capacity <= UINT64_C(2) << 20);
        assert_true(opened->log.changed.count * HF__PAGE_BYTES <= UINT64_C(4) << 20);
        assert_ok(hf_commit(txn));
        close_and_remove();
    }
}

/* The old lines of what was live at the savepoint are kept, wherever they lie. */
static void test_load_rolls_back_to_a_savepoint(void **unused)
{
    static const uint32_t allocators[] = {HF_ALLOC_SLAB, HF_ALLOC_BEST_FIT, HF_ALLOC_SEQ_FIT};
    (void)unused;
    for (size_t i = 0; i < sizeof allocators / sizeof *allocators; i++) {
        hf_view *view;
        hf_txn *txn;
        hf_mark mark;
        char name[24];
        open_store(allocators[i], i == 0 ? HF_INDEX_HASH : HF_INDEX_SET);
        assert_ok(hf_begin(opened, &txn));
        construct_some(txn, 0, NAMED / 4);
        assert_ok(hf_savepoint(txn, &mark));
        construct_some(txn, NAMED / 4, NAMED / 2);
        for (unsigned k = 0; k < NAMED / 2; k += 3) {
            snprintf(name, sizeof name, "object %u", k * 7919 % NAMED);
            void *value = hf_edit(txn, hf_find(hf_txn_view(txn), name, NULL, NULL), VALUE_BYTES);
            assert_got(value);
            memset(value, 0xff, VALUE_BYTES);
        }
        assert_ok(hf_rollback_to(txn, mark));
        assert_named(hf_txn_view(txn), NAMED / 4);
        construct_some(txn, NAMED / 4, NAMED / 3);
        assert_ok(hf_commit(txn));
        fixture_assert_sound(opened);
        assert_ok(hf_begin(opened, &txn));
        construct_some(txn, NAMED / 3, NAMED);
        hf_abort(txn);
        fixture_assert_sound(opened);
        assert_ok(hf_view_begin(opened, &view));
        assert_named(view, NAMED / 3);
        hf_view_end(view);
        close_and_remove();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_writes_behind_in_order),
        cmocka_unit_test(test_load_spares_what_changes_again),
        cmocka_unit_test(test_load_stops_writing_what_changes_everywhere),
        cmocka_unit_test(test_load_writes_large_blocks_behind),
        cmocka_unit_test(test_load_needs_no_hints),
        cmocka_unit_test(test_load_keeps_little_memory),
        cmocka_unit_test(test_load_rolls_back_to_a_savepoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
