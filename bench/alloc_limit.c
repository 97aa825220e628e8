/* SPDX-License-Identifier: MIT */
/*
 * alloc_limit.c - the least that slots with undone and pending frees can cost
 *
 * Not an allocator for anybody: memory only, no file, nothing is checked, nothing is ever given back.
 * It does what a transactional allocator of slots can't leave out, and no more:
 *
 *   a free      a bit in process memory that says which slot; at the commit, once for each chunk in
 *               which something was freed, the line with its bitmap is kept for undo and changed
 *   an alloc    a bit of a word of slots that were claimed; a claim keeps and changes the chunk's line
 *
 * Records lie side by side, so that they have few pages. What alloc_holdfast takes more than this is
 * what it does for damage, other processes, savepoints, chunks of several sizes and giving back.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef void *al_handle;

#include "bench.h"

#include <sys/mman.h>

enum {
    CHUNK = 65536,
    CLASSES = 64,
    LINE = 64,
    WORDS_MAX = CHUNK / 8 / 64,
    AHEAD = 6,
    UNDO_BYTES = 1 << 26
};

/* What would be in the file, from a line's beginning on. */
struct record {
    uint32_t next; /* number + 1 of the next chunk with room of this class */
    uint32_t taken;
    uint64_t bits[];
};

/* What is known of a chunk. */
struct chunk {
    uint32_t inverse;
    uint16_t bytes, slots;
    uint32_t freed; /* where its words of freed slots are */
    uint8_t words, slot_class, dirty, listed;
    uint64_t record;
    uint64_t kept; /* the transaction in which its record was kept last */
};

struct claim {
    uint64_t free, given, start;
    uint32_t chunk, word, had;
};

static unsigned char *arena, *records, *undo;
static struct chunk *chunks;
static uint64_t *freed;
static uint32_t *dirty;
static uint64_t chunk_count, chunk_limit, freed_count, record_bytes, undo_end, transaction;
static uint32_t dirty_count, first[CLASSES];
static struct claim claims[CLASSES];

static void *memory(uint64_t size_bytes, bool large)
{
    void *at = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must(at != MAP_FAILED, "mmap");
    if (large)
        madvise(at, size_bytes, MADV_HUGEPAGE);
    return at;
}

static void al_open(const char *dir, const char *variant, uint64_t capacity_bytes)
{
    (void)dir;
    (void)variant;
    chunk_limit = capacity_bytes / CHUNK + 2 * CLASSES;
    arena = (unsigned char *)memory(chunk_limit * CHUNK, true);
    records = (unsigned char *)memory(chunk_limit * (sizeof(struct record) + WORDS_MAX * 8), false);
    undo = (unsigned char *)memory(UNDO_BYTES, false);
    chunks = (struct chunk *)memory(chunk_limit * sizeof *chunks, false);
    freed = (uint64_t *)memory(chunk_limit * WORDS_MAX * sizeof *freed, false);
    dirty = (uint32_t *)memory(chunk_limit * sizeof *dirty, false);
}

static void al_close(void)
{
    munmap(arena, chunk_limit * CHUNK);
}

static struct record *record_of(const struct chunk *chunk)
{
    return (struct record *)(void *)(records + chunk->record);
}

/* Lines are kept once in a transaction, each with its place. */
static void keep(struct chunk *chunk)
{
    if (chunk->kept == transaction)
        return;
    const uint64_t size = (sizeof(struct record) + chunk->words * 8 + LINE - 1) / LINE * LINE;
    chunk->kept = transaction;
    must(undo_end + size + 16 <= UNDO_BYTES, "so many chunks in one transaction");
    memcpy(undo + undo_end, records + chunk->record, size);
    memcpy(undo + undo_end + size, &chunk->record, sizeof chunk->record);
    undo_end += size + 16;
}

static uint32_t class_of(size_t size_bytes)
{
    const uint32_t below = (uint32_t)size_bytes - 1;
    return below < 256 ? below / 8 : below < 512 ? 16 + below / 16 : 32 + below / 32;
}

static void list(uint32_t slot_class, uint32_t number)
{
    record_of(&chunks[number])->next = first[slot_class];
    chunks[number].listed = 1;
    first[slot_class] = number + 1;
}

static void make_chunk(uint32_t c)
{
    const uint32_t bytes = c < 32 ? 8 * (c + 1) : c < 48 ? 16 * (c + 1) - 256 : 32 * (c + 1) - 1024;
    const uint32_t slots = CHUNK / bytes, words = (slots + 63) / 64;
    must(chunk_count < chunk_limit, "memory");
    struct chunk *chunk = &chunks[chunk_count];
    *chunk = (struct chunk){.inverse = (uint32_t)((UINT64_C(1) << 32) / bytes + 1),
                            .bytes = (uint16_t)bytes,
                            .slots = (uint16_t)slots,
                            .freed = (uint32_t)freed_count,
                            .words = (uint8_t)words,
                            .slot_class = (uint8_t)c,
                            .record = record_bytes};
    freed_count += words;
    record_bytes += (sizeof(struct record) + words * 8 + LINE - 1) / LINE * LINE;
    if (slots % 64 != 0) /* what stands for no slot */
        record_of(chunk)->bits[words - 1] = ~UINT64_C(0) << slots % 64;
    list(c, (uint32_t)chunk_count++);
}

static void claim_word(uint32_t c)
{
    if (first[c] == 0)
        make_chunk(c);
    const uint32_t number = first[c] - 1;
    struct chunk *chunk = &chunks[number];
    struct record *record = record_of(chunk);
    struct claim *claim = &claims[c];
    uint32_t word = 0;
    keep(chunk);
    while (record->bits[word] == ~UINT64_C(0))
        word++;
    uint64_t rest = ~record->bits[word];
    claim->free = rest;
    for (uint32_t want = claim->had / 4 + 2; want > 0 && rest != 0; want--, claim->had++)
        rest &= rest - 1;
    claim->free &= ~rest;
    claim->given = 0;
    claim->chunk = number;
    claim->word = word;
    claim->start = (uint64_t)number * CHUNK + (uint64_t)word * 64 * chunk->bytes;
    record->bits[word] |= claim->free;
    for (uint64_t left = claim->free; left != 0; left &= left - 1)
        record->taken++;
    if (record->taken == chunk->slots) {
        first[c] = record->next;
        chunk->listed = 0;
    }
}

static void *al_alloc(size_t size_bytes, al_handle *out)
{
    const uint32_t c = class_of(size_bytes);
    struct claim *claim = &claims[c];
    if (claim->free == 0)
        claim_word(c);
    const uint32_t bit = (uint32_t)__builtin_ctzll(claim->free);
    claim->free &= claim->free - 1;
    claim->given |= UINT64_C(1) << bit;
    return *out = arena + claim->start + (uint64_t)bit * chunks[claim->chunk].bytes;
}

static void al_free(al_handle handle)
{
    const uint64_t offset = (uint64_t)((unsigned char *)handle - arena);
    const uint32_t number = (uint32_t)(offset / CHUNK);
    struct chunk *chunk = &chunks[number];
    const uint32_t slot = (uint32_t)(offset % CHUNK * chunk->inverse >> 32);
    struct claim *claim = &claims[chunk->slot_class];
    const uint64_t bit = UINT64_C(1) << slot % 64;
    if (claim->chunk == number && claim->word == slot / 64 && (claim->given & bit) != 0) {
        claim->given &= ~bit;
        claim->free |= bit;
        return;
    }
    freed[chunk->freed + slot / 64] |= bit;
    if (!chunk->dirty)
        dirty[dirty_count++] = number;
    chunk->dirty = 1;
}

static void al_begin(void)
{
    transaction++;
    undo_end = 0;
}

/* Frees slots of a word in the record; a chunk with some room is listed again. */
static void release(uint32_t number, uint32_t word, uint64_t slots)
{
    struct chunk *chunk = &chunks[number];
    struct record *record = record_of(chunk);
    record->bits[word] &= ~slots;
    for (uint64_t left = slots; left != 0; left &= left - 1)
        record->taken--;
    if (!chunk->listed && chunk->slots - record->taken > chunk->slots / 64u)
        list(chunk->slot_class, number);
}

static void al_commit(void)
{
    while (dirty_count > 0) {
        if (dirty_count > AHEAD)
            __builtin_prefetch(record_of(&chunks[dirty[dirty_count - 1 - AHEAD]]));
        const uint32_t number = dirty[--dirty_count];
        struct chunk *chunk = &chunks[number];
        keep(chunk);
        chunk->dirty = 0;
        for (uint32_t word = 0; word < chunk->words; word++) {
            const uint64_t slots = freed[chunk->freed + word];
            freed[chunk->freed + word] = 0;
            if (slots != 0)
                release(number, word, slots);
        }
    }
    for (uint32_t c = 0; c < CLASSES; c++) {
        if (claims[c].free != 0) {
            keep(&chunks[claims[c].chunk]);
            release(claims[c].chunk, claims[c].word, claims[c].free);
        }
        claims[c] = (struct claim){0};
    }
}

static uint64_t al_used_bytes(void)
{
    return chunk_count * CHUNK + record_bytes;
}

#include "alloc_bench.h"
