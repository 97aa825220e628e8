/* SPDX-License-Identifier: MIT */
/*
 * corrupt_alloc.c - damaged heaps are reported, and nothing crashes, loops or leaves the segment
 *
 * One byte at a time: every value of every byte of the root, the headers and the nodes of a small
 * heap is tried with three flips; check must report each one. There is no harmless one: all 64
 * bytes of the root, all 16 of a header (its reserved bits are under the checksum) and all bytes of
 * a node mean something. Then random damage of many bytes, some of it with true checksums, and
 * everything the contract offers on top of it.
 */
#include "heap_fixture.h"

#include "holdfast/memory.h"
#include "tests/support/campaign.h"

#define SIZE_MAX_BYTES                                                                             \
    (256 * 1024) /* slab makes chunks only in segments of 128 KiB and more      */
#define BLOCKS_MAX 400

static struct fixture f;
static uint64_t size, blocks; /* of the segment; how many blocks */
static hf_ref refs[BLOCKS_MAX];
static unsigned char pristine[SIZE_MAX_BYTES];
static uint64_t headers[BLOCKS_MAX * 2], headers_count; /* of blocks, and what else has a check */

static void populate(const struct hf__allocator *algorithm)
{
    size = algorithm->slabs ? SIZE_MAX_BYTES : 16384;
    blocks = algorithm->slabs ? BLOCKS_MAX : 48;
    fixture_open(&f, algorithm, size, size);
    for (unsigned i = 0; i < blocks; i++) {
        /* In chunks: a long list of one class, with bitmaps of several words, and short ones. */
        uint64_t bytes = !algorithm->slabs ? 32 + 16 * (i * 7 % 13)
                         : i % 3 == 0      ? 32
                         : i % 20 == 1     ? 1100 + i
                                           : 200 + 80 * (i * 7 % 5);
        refs[i] = fixture_allocate(&f, bytes);
        memset(f.seg.base + refs[i], 0x42, 32);
    }
    for (unsigned i = 0; i < blocks - 1; i += 2)
        fixture_free(&f, refs[i]);
    hf_ref alone = fixture_allocate(&f, 900); /* leaves a spare */
    fixture_free(&f, alone);
    MUST(fixture_check(&f) == 0);
    memcpy(pristine, f.seg.base, size);
}

static uint64_t flip(struct campaign *c, uint64_t offset, uint64_t count)
{
    static const unsigned char masks[] = {0x01, 0x80, 0xFF, 0x10};
    for (uint64_t i = offset; i < offset + count; i++)
        for (size_t m = 0; m < sizeof masks; m++) {
            f.seg.base[i] ^= masks[m];
            campaign_expect(c, fixture_check(&f) != 0, "%s: byte %llu ^ %02x goes unseen",
                            f.heap.algorithm->name, (unsigned long long)i, masks[m]);
            f.seg.base[i] ^= masks[m];
        }
    return count;
}

static void flip_every_byte(struct campaign *c)
{
    uint64_t bytes = flip(c, FIXTURE_ROOT, sizeof(struct hf__heap_root));
    struct hf__block block;
    struct hf__chunk_ref chunk;
    if (f.heap.algorithm->slabs)
        bytes += flip(c, FIXTURE_ROOT - HF__SLABS_FIELD_BYTES, HF__SLABS_FIELD_BYTES);
    headers_count = 0;
    for (uint64_t offset = FIXTURE_FIRST; offset < hf__heap_used_end(&f.heap);
         offset = hf__block_end(&block)) {
        MUST(hf__heap_block(&f.heap, offset, &block) == 0);
        uint64_t known = block.kind == HF__BLOCK_FREE    ? f.heap.algorithm->free_set->node_bytes
                         : block.kind == HF__BLOCK_SLABS ? HF__SLABS_BYTES
                                                         : 0;
        if (block.kind == HF__BLOCK_CHUNK) {
            MUST(hf__chunk_at(&f.heap, offset, &chunk));
            headers[headers_count++] = chunk.record;
            bytes += flip(c, chunk.record, hf__chunk_record_bytes(&chunk));
        }
        headers[headers_count++] = offset;
        bytes += flip(c, offset, HF__BLOCK_HEADER_BYTES + known);
    }
    MUST(memcmp(pristine, f.seg.base, size) == 0);
    printf("%s: %llu bytes flipped\n", f.heap.algorithm->name, (unsigned long long)bytes);
}

/* ---- random damage --------------------------------------------------------------------------- */

static uint64_t plausible(struct rng *rng)
{
    switch (rng_below(rng, 5)) {
    case 0:
        return rng_next(rng);
    case 1:
        return rng_below(rng, size + 64);
    case 2:
        return refs[rng_below(rng, blocks)] + rng_below(rng, 4);
    case 3:
        return 16 * rng_below(rng, size / 16);
    default:
        return 0;
    }
}

/* Somewhere in the root, a header or a node. */
static void damage(struct rng *rng)
{
    hf_ref ref = headers[rng_below(rng, headers_count)] + 16;
    switch (rng_below(rng, 6)) {
    case 0: {
        uint64_t word = FIXTURE_ROOT - 8 + 8 * rng_below(rng, 9), value = plausible(rng);
        memcpy(f.seg.base + word, &value, 8);
        break;
    }
    case 1: {
        uint64_t word = ref - 16 + 8 * rng_below(rng, 5), value = plausible(rng);
        memcpy(f.seg.base + word, &value, 8);
        break;
    }
    case 2:
        f.seg.base[ref - 16 + rng_below(rng, 40)] ^= (unsigned char)(1 + rng_below(rng, 255));
        break;
    case 4: /* bitmaps and entries */
        f.seg.base[ref + rng_below(rng, 200)] ^= (unsigned char)(1 + rng_below(rng, 255));
        break;
    case 3: { /* the worst: a lie with a true checksum */
        struct hf__block lie = {
            .offset = rng_percent(rng, 70) ? ref - 16 : 16 * rng_below(rng, size / 16),
            .size_bytes = 48 + 16 * rng_below(rng, rng_percent(rng, 90) ? 40 : 2000),
            .previous_bytes = 16 * rng_below(rng, 40),
            .kind = (uint32_t)rng_below(rng, 7)};
        if (lie.kind == HF__BLOCK_CHUNK) {
            lie.size_bytes = HF__CHUNK_BYTES(rng_below(rng, 3)) + 16 * rng_below(rng, 4);
            lie.offset &= ~(uint64_t)4095;
        } else if (lie.kind == HF__BLOCK_SLABS) {
            lie.size_bytes = 16 + HF__SLABS_BYTES;
        }
        if (lie.offset >= FIXTURE_FIRST)
            fixture_forge(&f, &lie);
        break;
    }
    default: {
        uint64_t at = rng_below(rng, size), count = rng_below(rng, 200);
        for (uint64_t i = at; i < at + count && i < size; i++)
            f.seg.base[i] = (unsigned char)rng_next(rng);
    }
    }
}

static void use(struct rng *rng)
{
    const struct hf__allocator *a = f.heap.algorithm;
    hf_ref out[20], ref = refs[rng_below(rng, blocks)];
    uint64_t received, bytes = rng_size(rng, 3000);
    struct hf__alloc_request request = {bytes, UINT64_C(1) << rng_below(rng, 9), 0, HF__BLOCK_RAW};
    switch (rng_below(rng, 10)) {
    case 8:
        if (hf__block_free_later(&f.heap, ref, 0, out) == 0 && out[0] != 0)
            hf__heap_free_entry(&f.heap, out[0]);
        break;
    case 9:
        if (a->trim != NULL)
            a->trim(&f.heap);
        break;
    case 0:
    case 1:
        a->allocate(&f.heap, &request, out, &received);
        break;
    case 2:
    case 3:
        a->free(&f.heap, ref);
        break;
    case 4:
        a->expand(&f.heap, ref, (unsigned)rng_below(rng, 4) * HF_EXPAND_FORWARD, bytes, bytes + 100,
                  out, &received);
        break;
    case 5:
        a->split(&f.heap, ref, bytes, out);
        break;
    case 6:
        a->allocate_many(&f.heap, NULL, bytes % 300, rng_below(rng, 20), HF__BLOCK_RAW, out);
        break;
    default:
        hf__block_set_pending(&f.heap, ref);
    }
}

static void walk(void)
{
    struct hf__block_info info;
    uint64_t position = 0, steps = 0;
    while (hf__heap_next(&f.heap, &position, &info) == 1)
        MUST(++steps <= size / 8 && info.payload + info.usable_bytes <= size);
    f.heap.algorithm->largest_free(&f.heap);
    for (unsigned i = 0; i < blocks; i++)
        if (hf__heap_identify(&f.heap, refs[i], &info) == 0)
            MUST(info.usable_bytes <= size - refs[i]);
}

/* Whatever the bytes are: mended and rebuilt, the heap is sound, unless its root can't say where it
 * begins. */
static bool repair(void)
{
    uint64_t lost;
    if (hf__heap_mend_walk(&f.heap, &lost) != 0)
        return hf__heap_root_of(&f.heap)->first % 16 != 0 ||
               hf__heap_root_of(&f.heap)->first > size ||
               hf__heap_root_of(&f.heap)->first < FIXTURE_ROOT + sizeof(struct hf__heap_root);
    if (f.heap.algorithm->rebuild(&f.heap) != 0 || fixture_check(&f) != 0)
        return false;
    f.heap.algorithm->zero_free(&f.heap, NULL, NULL);
    return fixture_check(&f) == 0;
}

static void damage_at_random(struct campaign *c)
{
    struct rng rng = {c->seed + f.heap.algorithm->kind};
    for (uint64_t round = campaign_count(c, f.heap.algorithm->slabs ? 20000 : 60000); round > 0;
         round--) {
        memcpy(f.seg.base, pristine, size);
        f.seg.size_bytes = size;
        for (uint64_t k = 1 + rng_below(&rng, 8); k > 0; k--)
            damage(&rng);
        fixture_check(&f);
        walk();
        for (uint64_t k = rng_below(&rng, 24); k > 0; k--)
            use(&rng);
        fixture_check(&f);
        walk();
        if (rng_percent(&rng, 20))
            f.heap.algorithm->zero_free(&f.heap, NULL, NULL);
        f.rule_count = 0;
        campaign_expect(c, repair(), "%s: not sound after the repair, round %llu: %s (%s)",
                        f.heap.algorithm->name, (unsigned long long)round,
                        f.rule_count != 0 ? f.rules[0] : "an error", hf_last_error()->message);
    }
}

int main(void)
{
    struct campaign campaign;
    campaign_start(&campaign, "corrupt_alloc");
    static const struct hf__allocator *const algorithms[] = {&hf__alloc_best_fit,
                                                             &hf__alloc_seq_fit, &hf__alloc_slab};
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
        populate(algorithms[i]);
        flip_every_byte(&campaign);
        damage_at_random(&campaign);
        fixture_close(&f);
    }
    return campaign_end(&campaign);
}
