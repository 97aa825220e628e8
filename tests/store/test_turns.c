/* SPDX-License-Identifier: MIT */
/*
 * test_turns.c - two processes allocate and free small blocks in turns, in one store
 *
 * What a writer remembers of its slabs from one transaction to the next (alloc/slab_cache.h) must be
 * forgotten when the other one has committed, and when a transaction ends in another way than by a
 * commit: turns, aborts and rollbacks follow each other at random. Both work on one list of live
 * blocks, in shared memory; every block has a stamp at both ends. A slot that is given out twice, or
 * is lost, shows in the stamps or in the count that hf_check_sanity compares.
 */
#include "store_fixture.h"

#include "base/os.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 600, TURNS = 400, KINDS = 5 };

struct block {
    hf_ref ref; /* 0: none                                                                        */
    uint64_t size_bytes, stamp;
};
struct model {
    struct block blocks[BLOCKS];
    uint64_t seed, stamp;
};
static struct model *model; /* shared by both                                                     */
static char path[PATH_BYTES];

static uint64_t random_below(uint64_t limit)
{
    model->seed = model->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (model->seed >> 33) % limit;
}

static bool stamped(hf_view *view, const struct block *block)
{
    const unsigned char *p = hf_at(view, block->ref);
    uint64_t ends[2];
    if (p == NULL || hf_usable_bytes(view, p) < block->size_bytes)
        return false;
    memcpy(&ends[0], p, sizeof ends[0]);
    memcpy(&ends[1], p + block->size_bytes - sizeof ends[1], sizeof ends[1]);
    return ends[0] == block->stamp && ends[1] == block->stamp;
}

/* Frees, allocates or replaces one block; false: something is wrong. */
static bool change(hf_txn *txn, struct block *block)
{
    static const uint64_t sizes[KINDS] = {8, 24, 64, 200, 1000};
    hf_view *view = hf_txn_view(txn);
    if (block->ref != 0) {
        if (!stamped(view, block))
            return false;
        hf_free(txn, hf_at(view, block->ref));
        block->ref = 0;
        if (random_below(2) == 0)
            return true;
    }
    block->size_bytes = sizes[random_below(KINDS)];
    block->stamp = ++model->stamp;
    unsigned char *p = hf_alloc(txn, (size_t)block->size_bytes);
    if (p == NULL)
        return false;
    memcpy(p, &block->stamp, sizeof block->stamp);
    memcpy(p + block->size_bytes - sizeof block->stamp, &block->stamp, sizeof block->stamp);
    block->ref = hf_ref_of(view, p);
    return true;
}

static bool some_changes(hf_txn *txn, struct block *blocks)
{
    for (uint64_t left = random_below(60); left > 0; left--)
        if (!change(txn, &blocks[random_below(BLOCKS)]))
            return false;
    return true;
}

/* One transaction, with a rollback in it now and then, which is sometimes aborted. */
static bool turn(hf_store *store)
{
    static struct block blocks[BLOCKS], kept[BLOCKS];
    hf_txn *txn = NULL;
    hf_mark mark;
    memcpy(blocks, model->blocks, sizeof blocks);
    if (hf_begin(store, &txn) != 0 || !some_changes(txn, blocks))
        return false;
    if (random_below(3) == 0) {
        memcpy(kept, blocks, sizeof kept);
        if (hf_savepoint(txn, &mark) != 0 || !some_changes(txn, blocks))
            return false;
        if (random_below(2) == 0) {
            memcpy(blocks, kept, sizeof blocks);
            if (hf_rollback_to(txn, mark) != 0)
                return false;
        }
        if (!some_changes(txn, blocks))
            return false;
    }
    if (random_below(4) == 0) {
        hf_abort(txn);
        return true;
    }
    if (hf_commit(txn) != 0)
        return false;
    memcpy(model->blocks, blocks, sizeof blocks);
    return true;
}

static void other(struct child *self, void *argument)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    (void)argument;
    options.lock_timeout_ms = -1;
    child_expect(hf_open(path, &options, &store) == 0);
    child_signal(self);
    while (child_wait(self)) {
        const uint64_t turns = model->stamp == UINT64_MAX ? 0 : 1 + random_below(3);
        for (uint64_t i = 0; i < turns; i++)
            child_expect(turn(store));
        child_signal(self);
        if (turns == 0)
            break;
    }
    child_expect(hf_close(store) == 0);
}

static void assert_as_modelled(hf_store *store)
{
    uint64_t count = 0;
    hf_store_info info;
    hf_view *view = NULL;
    fixture_assert_sound(store);
    assert_ok(hf_sync(store));
    assert_ok(hf_info(store, &info));
    assert_ok(hf_view_begin(store, &view));
    for (int i = 0; i < BLOCKS; i++) {
        count += model->blocks[i].ref != 0;
        assert_true(model->blocks[i].ref == 0 || stamped(view, &model->blocks[i]));
    }
    hf_view_end(view);
    assert_int_equal(info.raw_count, count);
}

static void test_two_processes_in_turns(void **state)
{
    (void)state;
    fixture_path(path, fixture_disk_directory(), "turns.hf");
    fixture_create(path);
    model = mmap(NULL, sizeof *model, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(model != MAP_FAILED);
    model->seed = 1;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    struct child child = child_start(other, NULL);
    assert_true(child_wait(&child));
    for (int i = 0; i < TURNS; i++) {
        if (random_below(2) == 0)
            assert_true(turn(store));
        else {
            child_signal(&child);
            assert_true(child_wait(&child));
        }
        if (i % 20 == 0)
            assert_as_modelled(store);
    }
    assert_as_modelled(store);
    model->stamp = UINT64_MAX; /* that is all */
    child_signal(&child);
    assert_true(child_wait(&child));
    child_join(&child);
    assert_ok(hf_close(store));
    assert_ok(hf_remove(path));
    munmap(model, sizeof *model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_processes_in_turns)};
    fixture_engine = HF_ENGINE_LOG;
    int failed = cmocka_run_group_tests_name("turns, log engine", tests, NULL, NULL);
    fixture_engine = HF_ENGINE_DIRECT;
    return failed + cmocka_run_group_tests_name("turns, direct engine", tests, NULL, NULL);
}
