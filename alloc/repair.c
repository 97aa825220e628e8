/* SPDX-License-Identifier: MIT */
/*
 * repair.c - making a heap sound again from its headers, and wiping what is free
 *
 * Headers are the truth: each carries a checksum over its own offset, and nothing else in the
 * segment can pass for one (H6). mend_walk makes the chain of headers whole (H1, H2): where it is
 * broken, what lies up to the next true header becomes one lost block, so that nothing is put over
 * bytes nobody understands. rebuild then derives the rest from the chain: neighbours merged (H3),
 * the free set (H4), the counters (H5).
 *
 *   1  Both look first and reserve, then write: an error leaves everything as it was.
 *   2  A true header is believed against the root: used_end moves up if a block goes beyond it, or if
 *      one stands beyond a gap that reaches it (the gap may have swallowed the root's page too).
 */
#include "alloc/blocks.h"
#include "alloc/slab.h"

#include <stdlib.h>
#include <string.h>

/* ---- mend_walk ------------------------------------------------------------------------------- */

/* One pass over the chain: the first only counts, the second, the same decisions again, writes. */
struct mend {
    struct hf__heap *heap;
    uint64_t limit; /* the end of what is backed, in whole units                                */
    uint64_t
        used_end; /* as recorded; 0 if that can't be                                          */
    bool write;
    bool believed; /* a true header has been seen                                              */
    uint64_t fixes, lost_bytes;
    uint64_t chunks, directory; /* slab: how many, and the payload of the first directory       */
};

static bool true_header(const struct mend *mend, uint64_t offset, struct hf__block *out)
{
    return offset < mend->limit && hf__block_read(mend->heap->seg, offset, out) &&
           out->size_bytes <= mend->limit - offset &&
           (out->kind <= HF__BLOCK_LOST || mend->heap->algorithm->slabs);
}

/* The first true header at or above offset, or end. */
static uint64_t search(const struct mend *mend, uint64_t offset, uint64_t end)
{
    struct hf__block block;
    for (; offset < end; offset += HF__BLOCK_UNIT) {
        const struct hf__block_header *header =
            (const struct hf__block_header *)hf__at(mend->heap->seg, offset);
        if (header->size_word != 0 && true_header(mend, offset, &block))
            return offset;
    }
    return end;
}

/* The chain is broken at offset. Returns where the gap ends, offset itself if the heap ends
 * here. */
static uint64_t gap_end(const struct mend *mend, uint64_t offset)
{
    bool below = offset < mend->used_end;
    uint64_t end = below ? mend->used_end : mend->limit;
    if (end - offset < HF__BLOCK_BYTES_MIN)
        return offset;
    uint64_t found = search(mend, offset + HF__BLOCK_BYTES_MIN, mend->limit);
    if (found < mend->limit)
        return found;
    if (below)
        return end;
    /* Nothing more, and no end recorded: tail, unless nothing at all could be believed. */
    return mend->believed ? offset : end;
}

/* Slab: records of chunks inside of what is no chunk, or not any more. */
static void mend_stray(struct mend *mend, uint64_t offset, uint64_t end)
{
    if (mend->heap->algorithm->slabs)
        mend->fixes += hf__slab_destroy(mend->heap, offset, end, mend->write);
}

static void lose(struct mend *mend, uint64_t offset, uint64_t end, uint64_t previous_bytes)
{
    struct hf__segment *seg = mend->heap->seg;
    struct hf__block lost = {.offset = offset,
                             .size_bytes = end - offset,
                             .previous_bytes = previous_bytes,
                             .kind = HF__BLOCK_LOST};
    struct hf__block inside;
    mend->fixes++;
    mend->lost_bytes += lost.size_bytes;
    mend_stray(mend, offset, end);
    if (!mend->write)
        return;
    hf__block_write(seg, &lost);
    for (uint64_t i = HF__BLOCK_UNIT; i < HF__BLOCK_BYTES_MIN; i += HF__BLOCK_UNIT)
        if (hf__block_read(seg, offset + i, &inside)) /* too near to be a block */
            hf__block_destroy(seg, offset + i);
}

static void set_directory(struct hf__heap *heap, uint64_t slabs)
{
    uint64_t field = hf__slabs_field(heap);
    if (*(const uint64_t *)hf__at(heap->seg, field) != slabs)
        *(uint64_t *)hf__edit(heap->seg, field, sizeof(uint64_t)) = slabs;
}

/* What is special about a block of the slab algorithm; false if it must be set aside. */
static bool mend_special(struct mend *mend, const struct hf__block *block)
{
    struct hf__chunk_ref chunk;
    if (block->kind == HF__BLOCK_SLABS) {
        bool first = mend->directory == 0;
        if (first)
            mend->directory = block->offset + HF__BLOCK_HEADER_BYTES;
        return first;
    }
    if (block->kind != HF__BLOCK_CHUNK) {
        mend_stray(mend, block->offset, hf__block_end(block));
        return true;
    }
    if (!hf__chunk_of_block(mend->heap, block, mend->limit, &chunk))
        return false;
    mend->chunks++;
    if (mend->write)
        hf__chunk_mend(mend->heap, &chunk);
    return true;
}

static void mend_chain(struct mend *mend)
{
    const struct hf__heap_root *root = hf__heap_root_of(mend->heap);
    uint64_t offset = root->first, previous = 0;
    for (;;) {
        struct hf__block block;
        uint64_t end;
        if (true_header(mend, offset, &block)) {
            mend->believed = true;
            end = hf__block_end(&block);
            if (!mend_special(mend, &block)) {
                lose(mend, offset, end, previous);
            } else if (block.previous_bytes != previous) {
                block.previous_bytes = previous;
                mend->fixes++;
                if (mend->write)
                    hf__block_write(mend->heap->seg, &block);
            }
        } else {
            end = offset == mend->used_end ? offset : gap_end(mend, offset);
            if (end == offset)
                break;
            lose(mend, offset, end, previous);
        }
        previous = end - offset;
        offset = end;
    }
    if (mend->write && (root->used_end != offset || root->last_bytes != previous))
        hf__heap_set_end(mend->heap, offset, previous);
    mend_stray(mend, offset, mend->limit);
    if (mend->write && mend->heap->algorithm->slabs)
        set_directory(mend->heap, mend->directory);
}

int hf__heap_mend_walk(struct hf__heap *heap, uint64_t *lost)
{
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    uint64_t size = heap->seg->size_bytes, used_end = root->used_end;
    struct mend mend = {.heap = heap};
    mend.limit = size < HF__HEAP_BYTES_MAX ? size : HF__HEAP_BYTES_MAX;
    mend.limit -= mend.limit % HF__BLOCK_UNIT;
    if (!hf__heap_first_possible(heap) || root->first > mend.limit)
        return hf__corrupt("heap.root", heap->root);
    if (used_end % HF__BLOCK_UNIT == 0 && used_end >= root->first && used_end <= mend.limit)
        mend.used_end = used_end;
    struct mend second = mend;
    mend_chain(&mend);
    int code =
        hf__reserve(heap->seg, HF__OP_COST + mend.chunks * HF__CHUNK_MEND_COST +
                                   mend.fixes * HF__BLOCK_BYTES_MIN / HF__BLOCK_UNIT *
                                       HF__EDIT_COST(HF__BLOCK_HEADER_BYTES));
    if (code != 0)
        return code;
    second.write = true;
    mend_chain(&second);
    assert(second.lost_bytes == mend.lost_bytes);
    *lost = mend.lost_bytes;
    return 0;
}

/* ---- rebuild --------------------------------------------------------------------------------- */

struct rebuild {
    struct hf__heap *heap;
    struct hf__block
        *runs; /* stretches of free blocks, each to become one                        */
    uint64_t count, runs_max;
    uint64_t free_blocks; /* before merging */
    uint64_t live_bytes, live_blocks, free_bytes;
    uint64_t chunks, directory; /* as in struct mend */
};

/* Adds a free block, to the last run if that ends here. 0, HF_ENOMEM. */
static int add_free(struct rebuild *rebuild, const struct hf__block *block)
{
    struct hf__block *last = rebuild->count != 0 ? &rebuild->runs[rebuild->count - 1] : NULL;
    rebuild->free_blocks++;
    rebuild->free_bytes += block->size_bytes;
    if (last != NULL && hf__block_end(last) == block->offset) {
        last->size_bytes += block->size_bytes;
        last->hole |= block->hole;
        return 0;
    }
    if (rebuild->count == rebuild->runs_max) {
        uint64_t more = rebuild->runs_max * 2 + 64;
        struct hf__block *runs =
            (struct hf__block *)realloc(rebuild->runs, more * sizeof *rebuild->runs);
        if (runs == NULL)
            return hf__fail(HF_ENOMEM, "%llu free blocks", (unsigned long long)more);
        rebuild->runs = runs;
        rebuild->runs_max = more;
    }
    rebuild->runs[rebuild->count++] = *block;
    return 0;
}

/* Adds a chunk or the directory. 0, HF_ECORRUPT. */
static int add_special(struct rebuild *rebuild, const struct hf__block *block)
{
    struct hf__chunk_ref chunk;
    struct hf__slab_share share;
    hf__slab_share(rebuild->heap, block, &share);
    rebuild->free_bytes += share.free_bytes;
    rebuild->live_bytes += block->size_bytes - share.free_bytes;
    rebuild->live_blocks += share.live_blocks;
    if (block->kind == HF__BLOCK_CHUNK) {
        rebuild->chunks++;
        return hf__chunk_of_block(rebuild->heap, block, hf__heap_used_end(rebuild->heap), &chunk) &&
                       hf__chunk_wrong(&chunk) == NULL
                   ? 0
                   : hf__corrupt("chunk.header", block->offset);
    }
    if (rebuild->directory != 0)
        return hf__corrupt("slabs.directory", block->offset);
    rebuild->directory = block->offset + HF__BLOCK_HEADER_BYTES;
    return 0;
}

/* Reads the whole walk. 0, HF_ECORRUPT, HF_ENOMEM. */
static int survey(struct rebuild *rebuild)
{
    const struct hf__heap_root *root = hf__heap_root_of(rebuild->heap);
    uint64_t previous = 0;
    struct hf__block block;
    for (uint64_t offset = root->first; offset < root->used_end; offset = hf__block_end(&block)) {
        int code = hf__heap_block(rebuild->heap, offset, &block);
        if (code == 0 && block.previous_bytes != previous)
            code = hf__corrupt("block.previous", offset);
        if (code == 0 && block.kind == HF__BLOCK_FREE) {
            code = add_free(rebuild, &block);
        } else if (code == 0 && block.kind > HF__BLOCK_LOST) {
            code = add_special(rebuild, &block);
        } else if (code == 0) {
            rebuild->live_bytes += block.size_bytes;
            rebuild->live_blocks++;
        }
        if (code != 0)
            return code;
        previous = block.size_bytes;
    }
    return previous == root->last_bytes ? 0 : hf__corrupt("heap.root", rebuild->heap->root);
}

/* Destroys the headers inside a run of several free blocks. Returns whether there were any. */
static bool swallow(struct hf__segment *seg, const struct hf__block *run)
{
    struct hf__block block;
    bool any = false;
    if (!hf__block_read(seg, run->offset, &block))
        return false;
    for (uint64_t offset = hf__block_end(&block); offset < hf__block_end(run);
         offset = hf__block_end(&block)) {
        if (!hf__block_read(seg, offset, &block))
            break; /* not after survey */
        hf__block_destroy(seg, offset);
        any = true;
    }
    return any;
}

static void merge_runs(struct rebuild *rebuild)
{
    struct hf__heap *heap = rebuild->heap;
    for (uint64_t i = 0; i < rebuild->count; i++) {
        struct hf__block *run = &rebuild->runs[i];
        bool merged = swallow(heap->seg, run);
        if (hf__block_end(run) == hf__heap_used_end(heap)) {
            assert(i + 1 == rebuild->count);
            hf__block_destroy(heap->seg, run->offset);
            hf__heap_set_end(heap, run->offset, run->previous_bytes);
            hf__heap_lower(heap, run);
            rebuild->free_bytes -= run->size_bytes;
            rebuild->count--;
        } else if (merged) {
            hf__block_write(heap->seg, run);
            hf__heap_set_previous(heap, hf__block_end(run), run->size_bytes);
        }
    }
}

int hf__heap_rebuild(struct hf__heap *heap)
{
    struct rebuild rebuild = {.heap = heap};
    int code = hf__heap_sound(heap);
    if (code == 0)
        code = survey(&rebuild);
    /* a free block: header or destruction, the next one's previous size, node */
    if (code == 0)
        code = hf__reserve(heap->seg,
                           HF__OP_COST + rebuild.chunks * HF__CHUNK_MEND_COST +
                               rebuild.free_blocks * 3 * HF__EDIT_COST(sizeof(uint64_t[3])));
    if (code == 0) {
        merge_runs(&rebuild);
        const struct hf__heap_root *root = hf__heap_root_of(heap);
        hf__heap_count(heap, (int64_t)(rebuild.free_bytes - root->free_bytes),
                       (int64_t)(rebuild.count - root->free_blocks),
                       (int64_t)(rebuild.live_bytes - root->live_bytes),
                       (int64_t)(rebuild.live_blocks - root->live_blocks));
        heap->algorithm->free_set->build(heap, rebuild.runs, rebuild.count);
        if (heap->algorithm->slabs) {
            set_directory(heap, rebuild.directory);
            hf__slab_relist(heap);
        }
    }
    /* Only a directory that is gone needs room. */
    if (code == 0 && rebuild.chunks != 0 && rebuild.directory == 0) {
        code = hf__slabs_make(heap, &rebuild.directory);
        if (code == 0)
            code = hf__reserve(heap->seg, HF__OP_COST + rebuild.chunks * HF__CHUNK_MEND_COST);
        if (code == 0)
            hf__slab_relist(heap);
    }
    free(rebuild.runs);
    return code;
}

/* ---- zero_free ------------------------------------------------------------------------------- */

#define PAGE_BYTES UINT64_C(4096)

/* Only what isn't zero is written, so that a sparse tail stays sparse. */
static void zero(struct hf__segment *seg, uint64_t offset, uint64_t end, hf__zeroed_fn *zeroed,
                 void *user)
{
    static const unsigned char zeros[4096];
    while (offset < end) {
        size_t size = sizeof zeros - offset % sizeof zeros;
        if (size > end - offset)
            size = end - offset;
        if (memcmp(seg->base + offset, zeros, size) != 0) {
            memset(seg->base + offset, 0, size);
            if (zeroed != NULL)
                zeroed(user, offset, size);
        }
        offset += size;
    }
}

/* Pages that may be holes are left to who knows which are: to write, or only to look, would fill them. */
static void zero_block(struct hf__heap *heap, const struct hf__block *block, hf__zeroed_fn *zeroed,
                       void *user)
{
    struct hf__segment *seg = heap->seg;
    uint64_t from =
        block->offset + HF__BLOCK_HEADER_BYTES + heap->algorithm->free_set->node_bytes;
    const uint64_t hole = (from + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    const uint64_t end = hf__block_end(block), hole_end = end / PAGE_BYTES * PAGE_BYTES;
    if (block->hole && hole < hole_end && seg->door != NULL && seg->door->back != NULL) {
        zero(seg, from, hole, zeroed, user);
        from = hole_end;
    }
    zero(seg, from, end, zeroed, user);
}

void hf__heap_zero_free(struct hf__heap *heap, hf__zeroed_fn *zeroed, void *user)
{
    if (hf__heap_sound(heap) != 0)
        return;
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    struct hf__block block;
    struct hf__chunk_ref chunk;
    for (uint64_t offset = root->first; offset < root->used_end; offset = hf__block_end(&block)) {
        if (hf__heap_block(heap, offset, &block) != 0)
            return;
        if (hf__chunk_of_block(heap, &block, root->used_end, &chunk))
            hf__slab_zero_free(heap, &chunk, hf__block_end(&block), zero, zeroed, user);
        if (block.kind == HF__BLOCK_FREE)
            zero_block(heap, &block, zeroed, user);
    }
    zero(heap->seg, root->used_end, heap->seg->size_bytes, zeroed, user);
}
