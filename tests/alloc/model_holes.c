/* SPDX-License-Identifier: MIT */
/*
 * model_holes.c - free blocks with holes: nothing is written where the disk has no blocks
 *
 * Random allocations, frees, expansions, cuts and batches on every algorithm. Now and then large free
 * blocks are marked, and the whole pages of the marked ones become holes: zeros, and write-protected,
 * so that a write that wasn't announced to back() kills the test. back() refuses now and then, as a full
 * disk would; then the heap must be what it was.
 */
#include "heap_fixture.h"

#include "holdfast/memory.h"
#include "tests/support/campaign.h"

#include <sys/mman.h>

#define PAGE 4096u
#define PAGES 1024u
#define LIVE_MAX 200u
#define SPAN_MIN (UINT64_C(16) << 10)

struct live {
    hf_ref block;
    uint64_t size;
};

static struct fixture f;
static struct hf__door door;
static struct rng rng;
static bool hole[PAGES];
static struct live live[LIVE_MAX];
static unsigned count;
static uint64_t punched, backed, lowered, lowered_by_all, refused, refusals_seen;
static bool may_refuse;

static void protect(uint64_t page, bool is_hole)
{
    if (hole[page] == is_hole)
        return;
    unsigned char *at = f.seg.base + page * PAGE;
    if (is_hole)
        memset(at, 0, PAGE);
    MUST(mprotect(at, PAGE, is_hole ? PROT_READ : PROT_READ | PROT_WRITE) == 0);
    hole[page] = is_hole;
    punched += is_hole;
    backed += !is_hole;
}

static int back(struct hf__segment *seg, uint64_t offset, uint64_t size_bytes, uint64_t end)
{
    MUST(seg == &f.seg && size_bytes != 0 && offset + size_bytes <= end);
    MUST(end <= hf__heap_used_end(&f.heap));
    if (may_refuse && rng_percent(&rng, 25)) {
        refused++;
        return hf__fail(HF_ENOSPC, "a full disk");
    }
    for (uint64_t page = offset / PAGE; page * PAGE < offset + size_bytes; page++)
        protect(page, false);
    return 0;
}

/* Growing gives all of the tail blocks. */
static void lower(struct hf__segment *seg, uint64_t size_bytes)
{
    MUST(size_bytes >= hf__heap_used_end(&f.heap) && size_bytes < seg->size_bytes);
    (void)hf__edit(seg, 0, sizeof(uint64_t));
    seg->size_bytes = size_bytes;
    lowered++;
}

static int (*plain_grow)(struct hf__segment *, uint64_t);

static int grow(struct hf__segment *seg, uint64_t size_bytes)
{
    const uint64_t from = seg->size_bytes;
    int code = plain_grow(seg, size_bytes);
    for (uint64_t page = from / PAGE; code == 0 && page < seg->size_bytes / PAGE; page++)
        protect(page, false);
    return code;
}

static int punch(void *user, uint64_t block, uint64_t from, uint64_t to, bool is_hole)
{
    (void)user;
    MUST(from > block && from % PAGE == 0 && to % PAGE == 0 && to - from >= SPAN_MIN);
    for (uint64_t page = from / PAGE; is_hole && page < to / PAGE; page++)
        protect(page, true);
    return 0;
}

static void fill(const struct live *l)
{
    memset(f.seg.base + l->block, (int)(l->block / 16 % 251 + 1), l->size);
}

static void expect(const struct live *l)
{
    for (uint64_t i = 0; i < l->size; i++)
        MUST(f.seg.base[l->block + i] == l->block / 16 % 251 + 1);
}

static void add(hf_ref block, uint64_t size)
{
    live[count] = (struct live){block, size};
    fill(&live[count++]);
}

/* The outcome of a call that back() may have refused: with the heap as it was. */
static bool done(int code, uint64_t refused_before)
{
    MUST(code == 0 || code == HF_EFULL || (code == HF_ENOSPC && refused > refused_before));
    refusals_seen += code == HF_ENOSPC;
    return code == 0;
}

static uint64_t some_size(void)
{
    return rng_percent(&rng, 50) ? 1 + rng_below(&rng, 2000) : 1 + rng_below(&rng, 150000);
}

static void allocate(void)
{
    struct hf__alloc_request request = {.size_bytes = some_size(),
                                        .align_bytes = UINT64_C(1) << rng_below(&rng, 14),
                                        .kind = HF__BLOCK_RAW};
    const uint64_t before = refused;
    hf_ref block;
    if (count < LIVE_MAX &&
        done(f.heap.algorithm->allocate(&f.heap, &request, &block, NULL), before))
        add(block, request.size_bytes);
}

static void allocate_many(void)
{
    hf_ref blocks[8];
    const uint64_t size = some_size() / 8 + 1, before = refused;
    if (count + 8 <= LIVE_MAX && done(f.heap.algorithm->allocate_many(&f.heap, NULL, size, 8,
                                                                      HF__BLOCK_RAW, blocks),
                                      before))
        for (int i = 0; i < 8; i++)
            add(blocks[i], size);
}

static void release(void)
{
    if (count == 0)
        return;
    const uint64_t i = rng_below(&rng, count);
    expect(&live[i]);
    fixture_free(&f, live[i].block);
    live[i] = live[--count];
}

static void expand(void)
{
    struct hf__block_info info;
    hf_ref out;
    uint64_t received;
    if (count == 0)
        return;
    struct live *l = &live[rng_below(&rng, count)];
    MUST(hf__heap_identify(&f.heap, l->block, &info) == 0);
    if (info.slot)
        return;
    const unsigned flags = 1 + (unsigned)rng_below(&rng, 3);
    const uint64_t before = refused, more = l->size + some_size();
    if (done(f.heap.algorithm->expand(&f.heap, l->block, flags, l->size, more, &out, &received),
             before)) {
        *l = (struct live){out, received};
        fill(l);
    }
}

static void split(void)
{
    struct hf__block_info info;
    hf_ref rest;
    if (count == 0 || count == LIVE_MAX)
        return;
    struct live *l = &live[rng_below(&rng, count)];
    MUST(hf__heap_identify(&f.heap, l->block, &info) == 0);
    if (info.slot || l->size < 200)
        return;
    MUST(f.heap.algorithm->split(&f.heap, l->block, l->size / 2, &rest) == 0);
    if (rest != 0) {
        MUST(hf__heap_identify(&f.heap, l->block, &info) == 0);
        l->size = info.usable_bytes;
        fill(l);
        MUST(hf__heap_identify(&f.heap, rest, &info) == 0);
        add(rest, info.usable_bytes);
    }
}

static void make_holes(void)
{
    MUST(hf__heap_mark_holes(&f.heap, SPAN_MIN) == 0);
    MUST(hf__heap_each_span(&f.heap, SPAN_MIN, punch, NULL) == 0);
}

static void step(void)
{
    const uint64_t what = rng_below(&rng, 100);
    if (what < 35)
        allocate();
    else if (what < 40)
        allocate_many();
    else if (what < 75)
        release();
    else if (what < 85)
        expand();
    else if (what < 90)
        split();
    else if (what < 95)
        make_holes();
    else if (what < 96)
        MUST(f.heap.algorithm->rebuild(&f.heap) == 0);
    else if (f.heap.algorithm->trim != NULL)
        MUST(f.heap.algorithm->trim(&f.heap) == 0);
    MUST(fixture_check(&f) == 0);
}

static void run(const struct hf__allocator *algorithm, int steps)
{
    fixture_open(&f, algorithm, (uint64_t)64 * PAGE, (uint64_t)PAGES * PAGE);
    door = *f.seg.door;
    door.back = back;
    door.lower = lower;
    plain_grow = door.grow;
    door.grow = grow;
    f.seg.door = &door;
    count = 0;
    punched = backed = lowered = refused = refusals_seen = 0;
    for (int i = 0; i < steps; i++) {
        may_refuse = i % 3 == 0;
        step();
    }
    while (count > 0)
        release();
    MUST(fixture_check(&f) == 0);
    printf("%s: %llu pages became holes, %llu got blocks again, %llu refusals, %llu of them told, "
           "%llu times in front of the tail\n",
           algorithm->name, (unsigned long long)punched, (unsigned long long)backed,
           (unsigned long long)refused, (unsigned long long)refusals_seen,
           (unsigned long long)lowered);
    MUST(punched > 100 && backed > 100 && refusals_seen > 5);
    lowered_by_all += lowered; /* a few times by each, and with some seeds not at all by one */
    for (uint64_t page = 0; page < PAGES; page++)
        protect(page, false);
    fixture_close(&f);
}

int main(void)
{
    static const struct hf__allocator *const all[] = {&hf__alloc_best_fit, &hf__alloc_seq_fit,
                                                      &hf__alloc_slab};
    struct campaign c;
    campaign_start(&c, "holes in free blocks");
    rng.state = c.seed;
    const int steps = 3000 + (int)campaign_count(&c, 3000);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        run(all[i], steps);
    MUST(lowered_by_all != 0);
    printf("3 passed, 0 failed\n");
    return 0;
}
