/* SPDX-License-Identifier: MIT */
/*
 * model_handles.c - random transactions through several handles of one store, against a model
 *
 * What a writer keeps in process memory (claims of slots and copies of bitmaps, alloc/slab_cache.h; ways
 * to names that are expected, index/set_down.c) must never show: not after a savepoint is rolled back to,
 * not after others have committed, and not if there was no memory for it. So one store is changed by turns
 * through up to three handles, which are as strange to each other as those of three processes, and which
 * close and open again in between. Names are announced some operations ahead, mostly truly. In some
 * transactions malloc, fallocate or fdatasync fails from a random call on, or once. Wrong pointers are freed and destroyed, behind
 * a savepoint. Whatever a commit leaves is compared with the model through another handle; and what an abort
 * leaves, a rollback, or a commit that was refused.
 *
 * There are thousands of names and blocks, so that the tree has three levels and chunks of all orders
 * come and go. Contents follow from a number (campaign.h).
 *
 * Invariants of the test:
 *   T1  `now` is what the open transaction shows, `committed` what the store shows to others
 *   T2  an operation that is refused changes nothing, and is refused only if a call failed before in this
 *       transaction or the backing has no room. A transaction in which neither was commits
 */
#include "base/os.h"
#include "holdfast.h"
#include "store/store.h"
#include "tests/support/campaign.h"
#include "tests/support/failing_malloc.h"

#include <errno.h>

#define NAMES       3000u
#define RAWS        5000u
#define PLAINS      600u
#define NODES       1500u
#define THINGS      (NAMES + RAWS + PLAINS + NODES)
#define POOLS       3u
#define CONTENT_MAX 16384u
#define HANDLES     3u
#define MARKS       4u
#define AHEAD       HF_NAMES_AHEAD
#define TYPES       6u
#define HEAP_BYTES  ((size_t)3 << 20)
#define PRIVATE_TXN 6u

struct thing {
    hf_ref ref; /* 0: it isn't there */
    uint32_t size_bytes;
    uint32_t stamp; /* of its content */
};
enum kind { NAMED, RAW, PLAIN, NODE, KINDS };

struct model {
    struct thing things[THINGS];
    uint64_t count[KINDS];
};

static const uint32_t first_of[KINDS] = {0, NAMES, NAMES + RAWS, NAMES + RAWS + PLAINS};
static const uint32_t node_bytes[POOLS] = {24, 160, 1500};

enum backing { LOGGED, DIRECT, HEAP, BACKINGS };
static const char *const backing_names[BACKINGS] = {"log", "direct", "heap"};

static struct campaign campaign;
static struct rng rng;
static struct model now, committed, shown, in_file;
static struct {
    hf_mark mark;
    struct model model;
} marks[MARKS];
static unsigned mark_count;
static enum backing backing;
static uint32_t allocator, index_kind;
static char path[512], tag[128];
static hf_store *handles[HANDLES];
static hf_store *store; /* one of them */
static hf_txn *txn;
static uint32_t planned[AHEAD], last_name, last_stamp;
static unsigned expect_percent;
static uint64_t operations, transactions, commits, aborts, rollbacks, refusals, refused_commits,
    reopened;
static bool no_room;     /* in this transaction, once */
static bool beside_view; /* an unknown commit could not be looked for */

/* ---- memory and disks that run out ----------------------------------------------------------- */

static uint64_t fails_at; /* 0: never, 1: the next one does */
static enum { MEMORY, SPACE, SYNCS } what_fails;
static bool goes_on, has_failed;
static _Thread_local bool is_tester; /* nothing fails for housekeepers */

static bool fails(unsigned what)
{
    if (!is_tester || what != what_fails || fails_at == 0 || --fails_at != 0)
        return false;
    fails_at = goes_on ? 1 : 0;
    has_failed = true;
    return true;
}

static bool allocation_fails(void)
{
    return fails(MEMORY);
}

static int full_fallocate(int fd, int mode, off_t at, off_t bytes)
{
    if (!fails(SPACE))
        return hf__os_system.fallocate(fd, mode, at, bytes);
    errno = ENOSPC;
    return -1;
}

static int broken_fdatasync(int fd)
{
    if (!fails(SYNCS))
        return hf__os_system.fdatasync(fd);
    errno = EIO;
    return -1;
}

/* ---- helpers --------------------------------------------------------------------------------- */

static bool expect(bool holds, const char *what, int64_t figure)
{
    return campaign_expect(&campaign, holds, "%s, transaction %llu: %s (%lld; %s)", tag,
                           (unsigned long long)transactions, what, (long long)figure,
                           hf_last_error()->message);
}

/* An operation was refused: T2. */
static void refused(const char *what)
{
    const int code = hf_last_error()->code;
    refusals++;
    if (code == HF_EFULL || code == HF_ENOSPC) {
        no_room = true;
        expect(backing == HEAP || (has_failed && what_fails == SPACE), what, code);
    } else {
        expect(has_failed && code == (what_fails == MEMORY ? HF_ENOMEM : HF_EIO), what, code);
    }
}

static const char *name_of(uint32_t k)
{
    static char name[128];
    const uint32_t mixed = (uint32_t)mix64(k) % 10000;
    if (k % 5 == 0)
        snprintf(name, sizeof name, "n%u", k);
    else if (k % 5 < 3)
        snprintf(name, sizeof name, "object %05u", mixed * 1000 / 977 * 3000 + k);
    else if (k % 5 == 3)
        snprintf(name, sizeof name, "%04u/a name in a folder", k);
    else /* too long for a way to be kept */
        snprintf(name, sizeof name, "%u: %080u", k % 7, k);
    return name;
}

static struct thing *thing_at(enum kind kind, uint32_t k)
{
    return &now.things[first_of[kind] + k];
}

static uint32_t random_size(void)
{
    const uint64_t shape = rng_below(&rng, 100);
    return (uint32_t)(shape < 60   ? 1 + rng_below(&rng, 64)
                      : shape < 90 ? 1 + rng_below(&rng, 300)
                      : shape < 99 ? 1 + rng_below(&rng, 1100)
                                   : 1 + rng_below(&rng, 12000));
}

static void add_thing(enum kind kind, uint32_t k, void *at, uint32_t size_bytes)
{
    struct thing *thing = thing_at(kind, k);
    *thing = (struct thing){hf_ref_of(hf_txn_view(txn), at), size_bytes, ++last_stamp};
    content_fill(at, size_bytes, last_stamp);
    now.count[kind]++;
}

static void remove_thing(enum kind kind, uint32_t k)
{
    *thing_at(kind, k) = (struct thing){0};
    now.count[kind]--;
}

static bool same_content(const void *at, const struct thing *thing)
{
    static unsigned char bytes[CONTENT_MAX];
    content_fill(bytes, thing->size_bytes, thing->stamp);
    return at != NULL && memcmp(at, bytes, thing->size_bytes) == 0;
}

static const char *pool_name(uint32_t k)
{
    static const char *const names[POOLS] = {"pool of 24", "pool of 160", "pool of 1500"};
    return names[k % POOLS];
}

/* Blocks of pools. */
static uint64_t chunks_in(hf_view *view)
{
    uint64_t chunks = 0;
    for (uint32_t i = 0; i < POOLS; i++) {
        hf_pool_info info = {0};
        const int code = hf_pool_info_of(view, hf_pool_find(view, pool_name(i)), &info);
        expect(code == 0, "hf_pool_info_of", code);
        chunks += info.chunks;
    }
    return chunks;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void compare_walks(hf_view *view, const struct model *model)
{
    hf_cursor names = {0}, objects = {0}, raws = {0};
    hf_object_info info;
    const void *at;
    size_t bytes;
    uint64_t count = 0;
    int code;
    names.flags = rng_percent(&rng, 50) ? HF_CURSOR_NO_FOOTPRINT : 0;
    while ((code = hf_next_named(view, &names, &info)) == 1)
        count++;
    expect(code == 0 && count == model->count[NAMED] + POOLS, "a walk over names", (int64_t)count);
    for (count = 0; (code = hf_next_object(view, &objects, &info)) == 1;)
        count++;
    expect(code == 0 && count == model->count[NAMED] + model->count[PLAIN] + POOLS,
           "a walk over objects", (int64_t)count);
    for (count = 0; (code = hf_next_raw(view, &raws, &at, &bytes)) == 1;)
        count++;
    expect(code == 0 && count == model->count[RAW] + chunks_in(view), "a walk over blocks",
           (int64_t)count);
}

/* The first thing that isn't as in the model, or -1. */
static int64_t first_difference(hf_view *view, const struct model *model)
{
    const bool expects = rng_percent(&rng, 60);
    for (uint32_t k = 0; k < NAMES; k++) {
        if (expects && k + AHEAD < NAMES)
            hf_expect(view, name_of(k + AHEAD));
        const struct thing *thing = &model->things[k];
        const void *found = hf_find(view, name_of(k), NULL, NULL);
        if (thing->ref == 0 ? found != NULL
                            : found != hf_at(view, thing->ref) || !same_content(found, thing))
            return k;
    }
    for (uint32_t k = NAMES; k < THINGS; k++) {
        const struct thing *thing = &model->things[k];
        if (thing->ref != 0 && !same_content(hf_at(view, thing->ref), thing))
            return k;
    }
    return hf_count_named(view) == model->count[NAMED] + POOLS ? -1 : (int64_t)THINGS;
}

static void compare(hf_view *view, const struct model *model, const char *when)
{
    const int64_t k = first_difference(view, model);
    expect(k < 0, when, k);
    if (rng_percent(&rng, 30))
        compare_walks(view, model);
}

static void print_finding(void *user, const hf_finding *finding)
{
    (void)user;
    printf("finding: %s at %llu, expected %s\n", finding->rule, (unsigned long long)finding->offset,
           finding->expected);
}

static void check_sanity(hf_store *of, hf_view *view, const struct model *model)
{
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    hf_check_report report = {0};
    options.on_finding = print_finding;
    options.findings_max = 10;
    const int code = hf_check_sanity(of, &options, &report);
    expect(code == 0 && report.findings == 0, "hf_check_sanity", code);
    expect(report.named == model->count[NAMED] + POOLS &&
               report.raw == model->count[RAW] + chunks_in(view) &&
               report.anonymous == model->count[PLAIN],
           "figures of hf_check_sanity", (int64_t)report.raw);
}

/* What the store shows outside of transactions, through one of its handles. */
static void compare_committed(hf_store *of, const char *when)
{
    hf_view *view;
    if (backing == LOGGED)
        expect(hf_sync(of) == 0, "hf_sync", 0);
    if (!expect(hf_view_begin(of, &view) == 0, "hf_view_begin", 0))
        return;
    compare(view, &committed, when);
    if (rng_percent(&rng, 20))
        check_sanity(of, view, &committed);
    hf_view_end(view);
}

/* ---- operations ------------------------------------------------------------------------------ */

static uint32_t next_name(bool in_order)
{
    uint32_t *plan = &planned[operations % AHEAD];
    uint32_t k = *plan;
    *plan = in_order ? (last_name + AHEAD) % NAMES : (uint32_t)rng_below(&rng, NAMES);
    if (rng_percent(&rng, expect_percent))
        hf_expect(hf_txn_view(txn), name_of(*plan));
    if (in_order)
        k = (last_name + 1) % NAMES;
    else if (rng_percent(&rng, 6))
        k = (uint32_t)rng_below(&rng, NAMES);
    last_name = k;
    return k;
}

/* A type, or NULL: plain bytes. */
static const hf_type *random_type(void)
{
    static hf_type type;
    static char name[32];
    if (rng_percent(&rng, 95))
        return NULL;
    snprintf(name, sizeof name, "type %u", (unsigned)rng_below(&rng, TYPES));
    type = (hf_type){.name = name, .version = 1, .size_bytes = 8, .align_bytes = 8};
    return &type;
}

static void op_construct(uint32_t k)
{
    const bool there = thing_at(NAMED, k)->ref != 0;
    const hf_type *type = random_type();
    const uint32_t size = type == NULL ? random_size() : 8 * (1 + random_size() / 8);
    void *at = hf_construct(txn, name_of(k), type, type == NULL ? size : size / 8);
    if (there)
        expect(at == NULL && (hf_last_error()->code == HF_EEXIST || has_failed),
               "constructing what is there", k);
    else if (at == NULL)
        refused("hf_construct");
    else
        add_thing(NAMED, k, at, size);
}

static void op_destroy(uint32_t k)
{
    const struct thing *thing = thing_at(NAMED, k);
    const bool by_address = thing->ref != 0 && rng_percent(&rng, 20);
    const int code = by_address ? hf_destroy_ptr(txn, hf_at(hf_txn_view(txn), thing->ref))
                                : hf_destroy(txn, name_of(k));
    if (thing->ref == 0)
        expect(code == HF_ENOTFOUND, "destroying what isn't there", code);
    else if (code != 0)
        refused("hf_destroy");
    else
        remove_thing(NAMED, k);
}

static void op_find(uint32_t k)
{
    struct thing *thing = thing_at(NAMED, k);
    const void *found = hf_find(hf_txn_view(txn), name_of(k), NULL, NULL);
    if (!expect((found != NULL) == (thing->ref != 0) &&
                    (found == NULL || same_content(found, thing)),
                "hf_find in a transaction", k))
        return;
    if (found == NULL || rng_percent(&rng, 70))
        return;
    void *at = hf_edit(txn, found, thing->size_bytes);
    if (at == NULL) {
        refused("hf_edit");
        return;
    }
    thing->stamp = ++last_stamp;
    content_fill(at, thing->size_bytes, last_stamp);
}

static void op_plain(void)
{
    const uint32_t k = (uint32_t)rng_below(&rng, PLAINS);
    const struct thing *thing = thing_at(PLAIN, k);
    const uint32_t size = random_size();
    if (thing->ref == 0) {
        void *at = hf_new(txn, NULL, size);
        if (at != NULL)
            add_thing(PLAIN, k, at, size);
        else
            refused("hf_new");
    } else if (hf_destroy_ptr(txn, hf_at(hf_txn_view(txn), thing->ref)) == 0) {
        remove_thing(PLAIN, k);
    } else {
        refused("hf_destroy_ptr");
    }
}

static void op_raw(uint32_t k, uint32_t size)
{
    const struct thing *thing = thing_at(RAW, k);
    if (thing->ref != 0) {
        /* If it fails the transaction does, and the model is forgotten. */
        hf_free(txn, hf_at(hf_txn_view(txn), thing->ref));
        remove_thing(RAW, k);
        return;
    }
    void *at = rng_percent(&rng, 10)
                   ? hf_alloc_aligned(txn, size, UINT64_C(1) << rng_below(&rng, 9))
                   : hf_alloc(txn, size);
    if (at != NULL)
        add_thing(RAW, k, at, size);
    else
        refused("hf_alloc");
}

/* Many blocks of one size come, or many neighbours go. */
static void op_many(void)
{
    void *blocks[400];
    const uint32_t first = (uint32_t)rng_below(&rng, RAWS), size = random_size() % 1100;
    const bool comes = rng_percent(&rng, 50);
    uint32_t count = 0, which[400];
    for (uint32_t i = first; i < RAWS && count < 1 + first % 400; i++)
        if ((thing_at(RAW, i)->ref == 0) == comes)
            which[count++] = i;
    if (comes && count != 0) {
        if (hf_alloc_many(txn, size, count, blocks) != 0) {
            refused("hf_alloc_many");
            return;
        }
        for (uint32_t i = 0; i < count; i++)
            add_thing(RAW, which[i], blocks[i], size);
    }
    for (uint32_t i = 0; i < count && !comes; i++)
        op_raw(which[i], 0);
}

static void op_nodes(void)
{
    const uint32_t first = (uint32_t)rng_below(&rng, NODES), size = node_bytes[first % POOLS];
    hf_view *view = hf_txn_view(txn);
    const hf_pool *pool = hf_pool_find(view, pool_name(first));
    const bool comes = thing_at(NODE, first)->ref == 0;
    void *nodes[30];
    uint32_t count = 0, which[30];
    const uint32_t count_max = rng_percent(&rng, 60) ? 1 : 1 + (uint32_t)rng_below(&rng, 30);
    for (uint32_t k = first; k < NODES && count < count_max; k += POOLS)
        if ((thing_at(NODE, k)->ref == 0) == comes) {
            nodes[count] = (void *)(uintptr_t)hf_at(view, thing_at(NODE, k)->ref);
            which[count++] = k;
        }
    if (count == 1 && comes)
        nodes[0] = hf_pool_alloc(txn, pool);
    const int code = count == 1 ? (comes ? (nodes[0] == NULL) : hf_pool_free(txn, pool, nodes[0]))
                     : comes    ? hf_pool_alloc_many(txn, pool, count, nodes)
                                : hf_pool_free_many(txn, pool, nodes, count);
    if (code != 0)
        refused("nodes of a pool");
    for (uint32_t i = 0; i < count && code == 0; i++) {
        if (comes)
            add_thing(NODE, which[i], nodes[i], size);
        else
            remove_thing(NODE, which[i]);
    }
    if (!comes && code == 0)
        expect(has_failed || hf_pool_free(txn, pool, nodes[0]) == HF_EPTR, "a node freed twice", 0);
    if (rng_percent(&rng, 2) && hf_pool_trim(txn, pool) != 0)
        refused("hf_pool_trim");
}

static void op_resize(void)
{
    const uint32_t k = (uint32_t)rng_below(&rng, RAWS);
    struct thing *thing = thing_at(RAW, k);
    size_t received = 0;
    if (thing->ref == 0)
        return;
    hf_view *view = hf_txn_view(txn);
    const void *at = hf_at(view, thing->ref);
    const size_t size = hf_usable_bytes(view, at);
    const bool shrinks = rng_percent(&rng, 50);
    const size_t wanted = shrinks ? rng_below(&rng, size + 1) : size + rng_below(&rng, 600);
    void *out = shrinks ? hf_resize(txn, HF_SHRINK_IN_PLACE, at, size, wanted, &received)
                        : hf_resize(txn, HF_EXPAND_FORWARD, at, size, wanted, &received);
    if (out == NULL) {
        expect(hf_last_error()->code == HF_EFULL || has_failed, "hf_resize", 0);
        return;
    }
    expect(out == at && received >= (shrinks ? wanted : size), "hf_resize", (int64_t)received);
    const uint32_t size_now = (uint32_t)(received < CONTENT_MAX ? received : CONTENT_MAX);
    out = hf_edit(txn, out, size_now);
    if (out == NULL) {
        thing->size_bytes =
            thing->size_bytes < size_now ? thing->size_bytes : 0; /* a shorter one isn't known */
        refused("hf_edit");
        return;
    }
    thing->size_bytes = size_now;
    thing->stamp = ++last_stamp;
    content_fill(out, size_now, last_stamp);
}

/* Whether something of the model begins there. */
static bool is_live(hf_ref ref)
{
    for (uint32_t k = 0; k < THINGS; k++)
        if (now.things[k].ref == ref)
            return true;
    return false;
}

/* Wrong pointers are told, and a rollback forgets that they were tried. */
static void op_wrong(void)
{
    hf_view *view = hf_txn_view(txn);
    const uint32_t k = (uint32_t)rng_below(&rng, THINGS);
    const struct thing *of_now = &now.things[k], *before = &committed.things[k];
    const bool raw = k >= NAMES && k < NAMES + RAWS, node = k >= THINGS - NODES;
    hf_mark mark;
    hf_ref ref = before->ref;
    if (has_failed || fails_at != 0 || node || hf_savepoint(txn, &mark) != 0)
        return;
    if (of_now->ref != 0 && rng_percent(&rng, 40))
        ref = of_now->ref +
              8 * (1 + rng_below(&rng, 1 + of_now->size_bytes / 8)); /* inside, or behind */
    else if (of_now->ref != 0 && raw && rng_percent(&rng, 50)) {
        hf_free(txn, hf_at(view, of_now->ref)); /* to free it twice */
        ref = of_now->ref;
    } else if (of_now->ref != 0) {
        ref = raw ? 0 : of_now->ref; /* an object is no raw block */
    }
    const bool twice = raw && ref == of_now->ref;
    const void *at = hf_at(view, ref);
    if (at != NULL && (twice || !is_live(ref) || (ref == of_now->ref && !raw))) {
        hf_free(txn, at);
        expect(hf_last_error()->code == HF_EPTR, "freeing a wrong pointer", hf_last_error()->code);
        if (raw || ref != of_now->ref) {
            const int code = hf_destroy_ptr(txn, at);
            expect(code == HF_EPTR, "destroying a wrong pointer", code);
        }
    }
    const int code = hf_rollback_to(txn, mark);
    expect(code == 0, "hf_rollback_to", code);
}

static void op_savepoint(void)
{
    const uint64_t dice = rng_below(&rng, 100);
    if (dice < 50 && mark_count < MARKS) {
        if (hf_savepoint(txn, &marks[mark_count].mark) != 0) {
            refused("hf_savepoint");
            return;
        }
        marks[mark_count++].model = now;
    } else if (dice >= 50 && mark_count != 0) {
        /* To the innermost, or further; it may be rolled back to again. */
        const unsigned to = dice < 80 ? mark_count - 1 : (unsigned)rng_below(&rng, mark_count);
        const int code = hf_rollback_to(txn, marks[to].mark);
        if (!expect(code == 0, "hf_rollback_to", code))
            return;
        now = marks[to].model;
        mark_count = to + (dice < 90);
        rollbacks++;
        if (!has_failed && rng_percent(&rng, 5))
            compare(hf_txn_view(txn), &now, "after a rollback");
    }
}

/* What settles in the midst of a transaction. */
static void op_look(void)
{
    hf_store_info info;
    const uint64_t dice = rng_below(&rng, 100);
    if (dice < 60) {
        if (hf_info(store, &info) != 0)
            refused("hf_info");
        else if (!has_failed)
            expect(info.raw_count == now.count[RAW] + chunks_in(hf_txn_view(txn)) &&
                       info.named_count == now.count[NAMED] + POOLS &&
                       info.anonymous_count == now.count[PLAIN],
                   "figures of hf_info", (int64_t)info.raw_count);
    } else if (dice < 64 && !has_failed) {
        compare_walks(hf_txn_view(txn), &now);
    } else if (dice < 66 && !has_failed && fails_at == 0) {
        check_sanity(store, hf_txn_view(txn), &now);
    } else if (dice < 80) {
        const int code =
            dice < 74 ? hf_shrink_indexes(txn) : hf_reserve_named(txn, rng_below(&rng, 2 * NAMES));
        if (code != 0)
            refused("another size of the index");
    } else if (dice < 82) {
        if (hf_zero_free_memory(txn) != 0)
            refused("hf_zero_free_memory");
    }
}

static void operate(bool in_order, unsigned bias)
{
    const uint64_t dice = rng_below(&rng, 1000);
    const uint32_t k = next_name(in_order);
    operations++;
    if (dice < 450) {
        if (rng_percent(&rng, bias))
            op_construct(k);
        else
            op_destroy(k);
    } else if (dice < 600) {
        op_find(k);
    } else if (dice < 900) {
        const uint32_t i =
            in_order ? k + (uint32_t)dice % 2 * NAMES : (uint32_t)rng_below(&rng, RAWS);
        const bool there = i < RAWS && thing_at(RAW, i)->ref != 0;
        if (i < RAWS && rng_percent(&rng, there ? 100 - bias : bias))
            op_raw(i, in_order ? 24 : random_size());
    } else if (dice < 920) {
        op_plain();
    } else if (dice < 940) {
        op_nodes();
    } else if (dice < 950) {
        op_resize();
    } else if (dice < 975) {
        op_savepoint();
    } else if (dice < 980) {
        op_many();
    } else if (dice < 990) {
        op_wrong();
    } else {
        op_look();
    }
}

/* ---- transactions ---------------------------------------------------------------------------- */

/* Whether a commit of which nobody knows is there. */
static bool is_there(const struct model *model)
{
    hf_view *view;
    if (!expect(hf_sync(store) == 0 && hf_view_begin(store, &view) == 0, "hf_sync", 0))
        return false;
    const bool there = first_difference(view, model) < 0;
    hf_view_end(view);
    return there;
}

static void end_transaction(void)
{
    const bool commit = rng_percent(&rng, 75);
    const int code = commit ? hf_commit(txn) : 0;
    if (!commit)
        hf_abort(txn);
    fails_at = 0;
    if (commit && code == 0) {
        committed = now;
        commits++;
    } else if (commit) {
        refused_commits++;
        expect(has_failed || no_room, "hf_commit", code);
        if (code == HF_ECOMMIT_UNKNOWN && is_there(&now))
            committed = now;
    } else {
        aborts++;
    }
}

static void run_transaction(void)
{
    const unsigned bias = rng_percent(&rng, 50) ? 80 : 25;
    const bool in_order = rng_percent(&rng, 25);
    const uint64_t length = 1 + rng_below(&rng, rng_percent(&rng, 30) ? 3000 : 200);
    has_failed = no_room = false;
    transactions++;
    if (!beside_view && rng_percent(&rng, 40)) {
        fails_at = 1 + rng_below(&rng, rng_percent(&rng, 50) ? 6 : 40);
        goes_on = rng_percent(&rng, 40);
        what_fails = rng_percent(&rng, 60)                        ? MEMORY
                     : rng_percent(&rng, 50) || backing != LOGGED ? SPACE
                                                                  : SYNCS;
        if (what_fails == SYNCS)
            fails_at = 1 + rng_below(&rng, 3);
    }
    if (hf_begin(store, &txn) != 0) {
        refused("hf_begin");
        fails_at = 0;
        return;
    }
    now = committed;
    mark_count = 0;
    expect_percent = (unsigned)rng_below(&rng, 3) * 45;
    for (uint64_t i = 0; i < length && campaign.failed < 20; i++)
        operate(in_order, bias);
    if (!has_failed && rng_percent(&rng, 5))
        compare(hf_txn_view(txn), &now, "in a transaction");
    end_transaction();
}

/* ---- handles --------------------------------------------------------------------------------- */

static hf_store *open_one(uint32_t mode)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *opened = NULL;
    options.mode = mode;
    options.engine = backing == DIRECT ? HF_ENGINE_DIRECT : HF_ENGINE_LOG;
    options.allocator = allocator;
    options.index = index_kind;
    options.durability = (uint32_t)rng_below(&rng, 3);
    options.size_initial_bytes = 64 << 10;
    options.size_max_bytes = (uint64_t)256 << 20;
    if (mode != HF_CREATE_NEW && mode != HF_OPEN_OR_CREATE)
        options.engine = options.allocator = options.index = 0; /* as recorded */
    const int code = backing == HEAP ? hf_open_heap(HEAP_BYTES, &options, &opened)
                                     : hf_open(path, &options, &opened);
    if (!expect(code == 0, "opening", code))
        return NULL;
    /* A process that has a store open is refused a second handle, but nothing else keeps two of them from
     * being as strange to each other as those of two processes. */
    if (backing != HEAP)
        hf__list_remove(opened);
    return opened;
}

static void close_one(unsigned i)
{
    if (handles[i] != NULL)
        expect(hf_close(handles[i]) == 0, "hf_close", i);
    handles[i] = NULL;
}

/* Between two transactions. */
static void look_after_handles(void)
{
    hf_trim_report report;
    const uint64_t dice = rng_below(&rng, 100);
    if (backing == HEAP)
        return;
    if (dice < 4) {
        close_one((unsigned)rng_below(&rng, HANDLES));
        reopened++;
    } else if (dice < 5) {
        for (unsigned i = 0; i < HANDLES; i++)
            close_one(i);
        int code = rng_percent(&rng, 50) ? hf_shrink_to_fit(path) : hf_grow(path, 300000);
        expect(code == 0, "another size", code);
    } else if (dice < 8) {
        int code = hf_trim(store, &report);
        expect(code == 0, "hf_trim", code);
    }
    for (unsigned i = 0; i < HANDLES; i++)
        if (handles[i] == NULL)
            handles[i] = open_one(HF_OPEN_EXISTING);
}

/* While another handle commits, a view that was open before shows what it showed. */
static void run_beside_view(hf_store *of)
{
    hf_view *view;
    expect(hf_sync(of) == 0, "hf_sync", 0);
    if (!expect(hf_view_begin(of, &view) == 0, "hf_view_begin", 0))
        return;
    shown = committed;
    compare(view, &shown, "a view");
    beside_view = true;
    run_transaction();
    beside_view = false;
    compare(view, &shown, "a view beside a writer");
    hf_view_end(view);
}

/* What is done in private memory above the file stays there. */
static void run_private(void)
{
    for (unsigned i = 0; i < HANDLES; i++)
        close_one(i);
    in_file = committed;
    store = handles[0] = open_one(HF_COPY_ON_WRITE);
    for (unsigned i = 0; i < PRIVATE_TXN && store != NULL && campaign.failed < 20; i++) {
        run_transaction();
        compare_committed(store, "copy-on-write");
    }
    close_one(0);
    committed = in_file;
    store = handles[0] = open_one(HF_READ_ONLY);
    if (store != NULL) {
        hf_view *view;
        if (expect(hf_view_begin(store, &view) == 0, "hf_view_begin", 0)) {
            compare(view, &committed, "read-only");
            check_sanity(store, view, &committed);
            hf_view_end(view);
        }
    }
    close_one(0);
}

static void make_pools(void)
{
    txn = NULL;
    expect(hf_begin(store, &txn) == 0, "hf_begin", 0);
    for (uint32_t i = 0; i < POOLS; i++)
        expect(hf_pool_create(txn, pool_name(i), node_bytes[i], i) != NULL, "hf_pool_create", i);
    expect(hf_commit(txn) == 0, "hf_commit", 0);
}

static void run_episode(uint64_t count)
{
    memset(&committed, 0, sizeof committed);
    store = handles[0] = open_one(HF_CREATE_NEW);
    if (store == NULL)
        return;
    make_pools();
    for (uint64_t i = 0; i < count && campaign.failed < 20; i++) {
        look_after_handles();
        const unsigned h = backing == HEAP ? 0 : (unsigned)rng_below(&rng, HANDLES);
        store = handles[h];
        if (store == NULL)
            break;
        if (backing == LOGGED && rng_percent(&rng, 10))
            run_beside_view(handles[(h + 1) % HANDLES]);
        else
            run_transaction();
        if (rng_percent(&rng, 30))
            compare_committed(backing == HEAP ? store : handles[rng_below(&rng, HANDLES)],
                              "outside of transactions");
    }
    if (backing != HEAP && campaign.failed < 20)
        run_private();
    for (unsigned i = 0; i < HANDLES; i++)
        close_one(i);
    if (backing != HEAP)
        expect(hf_remove(path) == 0, "hf_remove", 0);
}

int main(void)
{
    char directory[400];
    static const uint32_t indexes[] = {HF_INDEX_SET, HF_INDEX_HASH, HF_INDEX_SET, HF_INDEX_FLAT};
    static const uint32_t allocators[] = {HF_ALLOC_SLAB, HF_ALLOC_SLAB, HF_ALLOC_BEST_FIT,
                                          HF_ALLOC_SLAB, HF_ALLOC_SEQ_FIT};
    campaign_start(&campaign, "model_handles");
    if (!(getenv("HF_TEST_DIR") == NULL &&
          campaign_directory("/dev/shm", directory, sizeof directory)) &&
        !campaign_directory(NULL, directory, sizeof directory)) {
        printf("no directory for the files\n0 passed, 1 failed\n");
        return 1;
    }
    rng.state = campaign.seed;
    struct hf__os os = hf__os_system;
    is_tester = true;
    os.fallocate = full_fallocate;
    os.fdatasync = broken_fdatasync;
    hf__os = &os;
    snprintf(path, sizeof path, "%s/model.hf", directory);
    const uint64_t wanted = campaign_count(&campaign, 800000);
    for (uint64_t episode = 0; (operations < wanted || episode < BACKINGS) && campaign.failed < 20;
         episode++) {
        backing = (enum backing)(episode % BACKINGS);
        index_kind = indexes[episode / BACKINGS % 4];
        allocator = allocators[episode / BACKINGS % 5];
        snprintf(tag, sizeof tag, "episode %llu (%s, allocator %u, index %u)",
                 (unsigned long long)episode, backing_names[backing], allocator, index_kind);
        run_episode(25);
    }
    rmdir(directory);
    printf("%llu operations in %llu transactions: %llu commits, %llu refused, %llu aborts, %llu "
           "rollbacks, %llu refusals, %llu handles opened again\n",
           (unsigned long long)operations, (unsigned long long)transactions,
           (unsigned long long)commits, (unsigned long long)refused_commits,
           (unsigned long long)aborts, (unsigned long long)rollbacks, (unsigned long long)refusals,
           (unsigned long long)reopened);
    return campaign_end(&campaign);
}
