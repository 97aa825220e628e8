/* SPDX-License-Identifier: MIT */
/*
 * model_alloc.c - random operations on each memory algorithm against a naive model
 *
 * The model is a list of live blocks with the content each must have. Operations come in batches; a
 * batch is kept or undone, and the undo must bring back every byte but the payload of free blocks,
 * which proves that the announcements are complete (the fixture compares). Like the store, a batch
 * frees at once only what it allocated itself; older blocks are marked pending and freed at its
 * end. What isn't visible to the model's user is checked in samples: H1..H6, largest free,
 * refusals.
 */
#include "heap_fixture.h"

#include "holdfast/memory.h"
#include "tests/support/campaign.h"

#define BLOCKS_MAX  3000
#define SEGMENT_MAX (512 * 1024)

struct live {
    hf_ref ref;
    uint64_t bytes;   /* known to be usable, and filled */
    uint64_t content; /* number of its content */
    bool fresh;       /* allocated in this batch */
    bool pending;
};

struct model {
    struct fixture f;
    struct campaign *campaign;
    struct rng rng;
    struct live blocks[BLOCKS_MAX], saved[BLOCKS_MAX];
    uint64_t count, saved_count, contents, operations;
    uint64_t blocks_max;
    hf_ref entries[BLOCKS_MAX]; /* of the batch's pending blocks */
    uint64_t entries_count;
    uint64_t chunks_max, entries_shared;
};

/* Every byte of small blocks, the ends of large ones. */
static void fill(struct model *m, struct live *b)
{
    b->content = ++m->contents;
    if (b->bytes <= 256) {
        content_fill(m->f.seg.base + b->ref, b->bytes, b->content);
    } else {
        content_fill(m->f.seg.base + b->ref, 128, b->content);
        content_fill(m->f.seg.base + b->ref + b->bytes - 128, 128, b->content);
    }
}

static bool intact(const struct model *m, const struct live *b)
{
    unsigned char wanted[256];
    const unsigned char *at = m->f.seg.base + b->ref;
    if (b->bytes <= 256) {
        content_fill(wanted, b->bytes, b->content);
        return memcmp(at, wanted, b->bytes) == 0;
    }
    content_fill(wanted, 128, b->content);
    return memcmp(at, wanted, 128) == 0 && memcmp(at + b->bytes - 128, wanted, 128) == 0;
}

static uint64_t usable_of(const struct model *m, hf_ref ref)
{
    struct hf__block_info info;
    MUST(hf__heap_identify(&m->f.heap, ref, &info) == 0 && info.payload == ref);
    return info.usable_bytes;
}

static void add(struct model *m, hf_ref ref)
{
    struct live *b = &m->blocks[m->count++];
    MUST(m->count <= BLOCKS_MAX);
    *b = (struct live){.ref = ref, .bytes = usable_of(m, ref), .fresh = true};
    fill(m, b);
}

static void free_later(struct model *m, hf_ref ref)
{
    hf_ref entry = 0;
    MUST(hf__block_free_later(&m->f.heap, ref, 0, &entry) == 0);
    if (entry != 0)
        m->entries[m->entries_count++] = entry;
    m->entries_shared += entry == 0;
}

static void forget(struct model *m, struct live *b)
{
    *b = m->blocks[--m->count];
}

static struct live *any(struct model *m)
{
    return m->count == 0 ? NULL : &m->blocks[rng_below(&m->rng, m->count)];
}

/* ---- operations ------------------------------------------------------------------------------ */

static void op_allocate(struct model *m)
{
    uint64_t size = rng_size(&m->rng, 6000), usable = 0;
    uint64_t align = rng_percent(&m->rng, 20) ? UINT64_C(1) << rng_below(&m->rng, 14) : 1;
    uint64_t lead = rng_percent(&m->rng, 10) ? 16 * rng_below(&m->rng, 20) : 0;
    uint32_t kind = rng_percent(&m->rng, 70) ? HF__BLOCK_RAW : HF__BLOCK_OBJECT;
    struct hf__alloc_request request = {size, align, lead, kind};
    hf_ref ref;
    if (m->count >= m->blocks_max)
        return;
    int code = m->f.heap.algorithm->allocate(&m->f.heap, &request, &ref, &usable);
    if (code == 0) {
        MUST((ref + lead) % align == 0);
        MUST(ref % (m->f.heap.algorithm->slabs && align <= 8 ? 8 : 16) == 0 && usable >= size);
        add(m, ref);
        MUST(m->blocks[m->count - 1].bytes == usable);
    } else {
        MUST(code == HF_EFULL);
        MUST(align > 16 || fixture_largest(&m->f) < size);
    }
}

static void op_many(struct model *m)
{
    hf_ref out[16];
    uint64_t sizes[16], count = rng_below(&m->rng, 17), each = rng_size(&m->rng, 300);
    bool same = rng_percent(&m->rng, 50);
    if (m->count + count > m->blocks_max)
        return;
    for (uint64_t i = 0; i < count; i++)
        sizes[i] = same ? each : rng_size(&m->rng, 1000);
    int code = m->f.heap.algorithm->allocate_many(&m->f.heap, same ? NULL : sizes, each, count,
                                                  HF__BLOCK_RAW, out);
    MUST(code == 0 || code == HF_EFULL);
    for (uint64_t i = 0; code == 0 && i < count; i++) {
        add(m, out[i]);
        MUST(m->blocks[m->count - 1].bytes >= sizes[i]);
    }
}

static void op_free(struct model *m)
{
    struct live *b = any(m);
    if (b == NULL || b->pending)
        return;
    MUST(intact(m, b));
    if (b->fresh) {
        fixture_free(&m->f, b->ref);
        forget(m, b);
    } else {
        free_later(m, b->ref);
        b->pending = true;
    }
}

static void op_expand(struct model *m)
{
    struct live *b = any(m);
    unsigned flags = (unsigned)(1 + rng_below(&m->rng, 3)) * HF_EXPAND_FORWARD;
    if (b == NULL || b->pending)
        return;
    uint64_t limit = b->bytes + rng_below(&m->rng, 300), received = 0;
    uint64_t preferred = limit + rng_below(&m->rng, 300);
    hf_ref out = 0;
    MUST(intact(m, b));
    int code =
        m->f.heap.algorithm->expand(&m->f.heap, b->ref, flags, limit, preferred, &out, &received);
    if (code != 0) {
        MUST(code == HF_EFULL && received < limit && usable_of(m, b->ref) == b->bytes);
        return;
    }
    MUST(received >= limit && received <= preferred + 47 + 15);
    MUST(out <= b->ref && (out == b->ref || (flags & HF_EXPAND_BACKWARD) != 0));
    MUST(intact(m, b) && usable_of(m, out) == received);
    if (b->fresh) {
        b->ref = out;
        b->bytes = received;
        fill(m, b);
    } else { /* its old content may not be written without an announcement */
        MUST(out == b->ref ||
             hf__heap_identify(&m->f.heap, b->ref, &(struct hf__block_info){0}) == HF_EPTR);
        memset(m->f.seg.base + out, 0x77, b->ref - out);
        memset(m->f.seg.base + b->ref + b->bytes, 0x77, out + received - b->ref - b->bytes);
        MUST(intact(m, b));
        free_later(m, out);
        b->ref = out;
        b->pending = true;
    }
}

static void op_split(struct model *m)
{
    struct live *b = any(m);
    hf_ref rest = 0;
    if (b == NULL || b->pending || m->count >= m->blocks_max)
        return;
    uint64_t keep = rng_below(&m->rng, b->bytes + 20);
    MUST(m->f.heap.algorithm->split(&m->f.heap, b->ref, keep, &rest) == 0);
    uint64_t left = usable_of(m, b->ref);
    MUST((rest == 0) == (left == b->bytes));
    MUST(keep > b->bytes || left >= keep);
    if (rest == 0)
        return;
    MUST(rest == b->ref + left + 16 && rest + usable_of(m, rest) == b->ref + b->bytes);
    if (b->fresh) {
        b->bytes = left;
        fill(m, b);
        add(m, rest);
    } else { /* both parts hold old content */
        free_later(m, b->ref);
        free_later(m, rest);
        *b = (struct live){.ref = b->ref, .pending = true};
        m->blocks[m->count++] = (struct live){.ref = rest, .pending = true};
    }
}

/* ---- batches --------------------------------------------------------------------------------- */

/* One by one, or by their entries. */
static void free_pending(struct model *m)
{
    bool singly = rng_percent(&m->rng, 20);
    for (uint64_t i = 0; !singly && i < m->entries_count; i++)
        MUST(hf__heap_free_entry(&m->f.heap, m->entries[i]) == 0);
    for (uint64_t i = 0; i < m->count;) {
        if (m->blocks[i].pending) {
            if (singly)
                fixture_free(&m->f, m->blocks[i].ref);
            forget(m, &m->blocks[i]);
        } else {
            i++;
        }
    }
}

static void check_all(struct model *m)
{
    const struct hf__heap_root *root = hf__heap_root_of(&m->f.heap);
    MUST(fixture_check(&m->f) == 0);
    MUST(root->live_blocks == m->count);
    MUST(m->f.heap.algorithm->largest_free(&m->f.heap) == fixture_largest(&m->f));
    for (uint64_t i = 0; i < m->count; i++)
        MUST(intact(m, &m->blocks[i]));
    if (rng_percent(&m->rng, 10))
        MUST(fixture_headers_are_blocks(&m->f));
}

static void batch(struct model *m)
{
    uint64_t operations = 1 + rng_below(&m->rng, 40);
    bool recorded = rng_percent(&m->rng, 10); /* a copy of the memory is dear */
    bool undone = recorded && rng_percent(&m->rng, 80);
    uint64_t mood = m->operations / (10 * m->blocks_max) % 2 ? 55 : 25; /* fills and empties */
    if (recorded) {
        fixture_begin(&m->f);
        memcpy(m->saved, m->blocks, sizeof m->saved);
        m->saved_count = m->count;
    }
    m->entries_count = 0;
    for (uint64_t i = 0; i < operations; i++, m->operations++) {
        uint64_t kind = rng_below(&m->rng, 100);
        if (kind < mood)
            op_free(m);
        else if (kind < mood + 10)
            op_expand(m);
        else if (kind < mood + 16)
            op_split(m);
        else if (kind < mood + 19)
            op_many(m);
        else
            op_allocate(m);
    }
    if (!undone || rng_percent(&m->rng, 50))
        free_pending(m);
    if (undone) {
        fixture_undo(&m->f);
        memcpy(m->blocks, m->saved, sizeof m->saved);
        m->count = m->saved_count;
    } else if (recorded) {
        fixture_keep(&m->f);
    }
    for (uint64_t i = 0; i < m->count; i++)
        m->blocks[i].fresh = false;
}

static uint64_t count_chunks(const struct model *m)
{
    struct hf__block block;
    uint64_t count = 0;
    for (uint64_t offset = FIXTURE_FIRST; offset < hf__heap_used_end(&m->f.heap);
         offset = hf__block_end(&block)) {
        MUST(hf__heap_block(&m->f.heap, offset, &block) == 0);
        count += block.kind == HF__BLOCK_CHUNK;
    }
    return count;
}

static void run(struct campaign *campaign, const struct hf__allocator *algorithm,
                uint64_t operations)
{
    static struct model m;
    memset(&m, 0, sizeof m);
    m.campaign = campaign;
    m.rng.state = campaign->seed + algorithm->kind;
    m.blocks_max = algorithm->slabs ? BLOCKS_MAX : 400;
    fixture_open(&m.f, algorithm, 16384, algorithm->slabs ? 8 * SEGMENT_MAX : SEGMENT_MAX);
    for (uint64_t batches = 0; m.operations < operations; batches++) {
        batch(&m);
        if (batches % 50 == 0) {
            check_all(&m);
            uint64_t chunks = count_chunks(&m);
            m.chunks_max = chunks > m.chunks_max ? chunks : m.chunks_max;
        }
    }
    check_all(&m);
    MUST((m.chunks_max > 50 && m.entries_shared > operations / 100) == algorithm->slabs);
    for (uint64_t i = 0; i < m.count; i++)
        fixture_free(&m.f, m.blocks[i].ref);
    if (algorithm->trim != NULL)
        MUST(algorithm->trim(&m.f.heap) == 0);
    MUST(hf__heap_used_end(&m.f.heap) == FIXTURE_FIRST && fixture_headers_are_blocks(&m.f));
    campaign_expect(campaign, fixture_check(&m.f) == 0, "%s: findings at the end", algorithm->name);
    printf("%s: %llu operations, %llu chunks, %llu frees with another's entry\n", algorithm->name,
           (unsigned long long)m.operations, (unsigned long long)m.chunks_max,
           (unsigned long long)m.entries_shared);
    fixture_close(&m.f);
}

int main(void)
{
    struct campaign campaign;
    campaign_start(&campaign, "model_alloc");
    run(&campaign, &hf__alloc_best_fit, campaign_count(&campaign, 4000000));
    run(&campaign, &hf__alloc_seq_fit, campaign_count(&campaign, 2000000));
    run(&campaign, &hf__alloc_slab, campaign_count(&campaign, 4000000));
    return campaign_end(&campaign);
}
