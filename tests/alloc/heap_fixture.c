/* SPDX-License-Identifier: MIT */
#include "heap_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fixture_must(bool condition, const char *what, const char *file, int line)
{
    if (condition)
        return;
    printf("%s:%d: must hold: %s (last error: %s)\n", file, line, what, hf_last_error()->message);
    fflush(stdout);
    abort();
}

/* ---- the door -------------------------------------------------------------------------------- */

static int door_reserve(struct hf__segment *seg, uint64_t cost_bytes)
{
    struct fixture *f = (struct fixture *)seg->owner;
    if (f->reserve_refusal != 0)
        return f->reserve_refusal;
    f->room = cost_bytes;
    return 0;
}

static void door_edit(struct hf__segment *seg, uint64_t offset, uint64_t size_bytes)
{
    struct fixture *f = (struct fixture *)seg->owner;
    MUST(hf__in_segment(seg, offset, size_bytes));
    MUST(HF__EDIT_COST(size_bytes) <= f->room);
    f->room -= HF__EDIT_COST(size_bytes);
    f->edits++;
    f->edited_bytes += size_bytes;
    if (f->before == NULL)
        return;
    uint64_t need = f->undo_bytes + 16 + size_bytes;
    if (need > f->undo_room) {
        f->undo_room = need * 2;
        f->undo = (unsigned char *)realloc(f->undo, f->undo_room);
        MUST(f->undo != NULL);
    }
    memcpy(f->undo + f->undo_bytes, seg->base + offset, size_bytes);
    memcpy(f->undo + f->undo_bytes + size_bytes, &offset, 8);
    memcpy(f->undo + f->undo_bytes + size_bytes + 8, &size_bytes, 8);
    f->undo_bytes = need;
}

static int door_grow(struct hf__segment *seg, uint64_t size_bytes)
{
    struct fixture *f = (struct fixture *)seg->owner;
    if (f->grow_refusal != 0)
        return f->grow_refusal;
    if (size_bytes > f->size_max)
        return HF_EFULL;
    uint64_t grown = (size_bytes + FIXTURE_STEP - 1) / FIXTURE_STEP * FIXTURE_STEP;
    seg->size_bytes = grown < f->size_max ? grown : f->size_max;
    return 0;
}

static const struct hf__door door = {.reserve = door_reserve, .edit = door_edit, .grow = door_grow};

/* ---- opening --------------------------------------------------------------------------------- */

void fixture_open(struct fixture *f, const struct hf__allocator *algorithm, uint64_t size_bytes,
                  uint64_t size_max)
{
    memset(f, 0, sizeof *f);
    f->size_max = size_max;
    void *memory = NULL; /* not a byte more than size_max, so that a sanitizer sees the end */
    MUST(posix_memalign(&memory, HF_ALIGN_BYTES_MAX, size_max) == 0);
    f->seg.base = (unsigned char *)memory;
    memset(f->seg.base, 0xA5, size_max);
    memset(f->seg.base, 0, FIXTURE_FIRST);
    f->seg.size_bytes = size_bytes;
    f->seg.salt = UINT64_C(0x1234567890ABCDEF);
    f->seg.door = &door;
    f->seg.owner = f;
    f->heap = (struct hf__heap){.seg = &f->seg, .root = FIXTURE_ROOT, .algorithm = algorithm};
    MUST(algorithm->init(&f->heap, FIXTURE_FIRST) == 0);
}

void fixture_close(struct fixture *f)
{
    free(f->seg.base);
    free(f->before);
    free(f->undo);
}

int fixture_try(struct fixture *f, uint64_t size_bytes, hf_ref *out)
{
    struct hf__alloc_request request = {
        .size_bytes = size_bytes, .align_bytes = 1, .kind = HF__BLOCK_RAW};
    return f->heap.algorithm->allocate(&f->heap, &request, out, NULL);
}

hf_ref fixture_allocate(struct fixture *f, uint64_t size_bytes)
{
    hf_ref out = 0;
    MUST(fixture_try(f, size_bytes, &out) == 0);
    return out;
}

hf_ref fixture_allocate_aligned(struct fixture *f, uint64_t size_bytes, uint64_t align,
                                uint64_t lead)
{
    struct hf__alloc_request request = {.size_bytes = size_bytes,
                                        .align_bytes = align,
                                        .lead_bytes = lead,
                                        .kind = HF__BLOCK_OBJECT};
    hf_ref out = 0;
    uint64_t usable = 0;
    MUST(f->heap.algorithm->allocate(&f->heap, &request, &out, &usable) == 0);
    MUST(usable >= size_bytes && (out + lead) % (align > 16 ? align : 16) == 0);
    return out;
}

void fixture_free(struct fixture *f, hf_ref block)
{
    MUST(f->heap.algorithm->free(&f->heap, block) == 0);
}

/* ---- checking -------------------------------------------------------------------------------- */

static void note(void *user, const hf_finding *finding)
{
    struct fixture *f = (struct fixture *)user;
    if (f->rule_count < FIXTURE_RULES_MAX)
        f->rules[f->rule_count] = finding->rule;
    f->rule_count++;
    MUST(finding->expected[0] != '\0');
}

uint64_t fixture_check(struct fixture *f)
{
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    struct hf__check check;
    options.on_finding = note;
    options.user = f;
    f->rule_count = 0;
    hf__check_init(&check, &options, f->seg.size_bytes);
    f->heap.algorithm->check(&f->heap, &check);
    MUST(check.report.findings == f->rule_count);
    return f->rule_count;
}

bool fixture_found(const struct fixture *f, const char *rule)
{
    for (uint64_t i = 0; i < f->rule_count && i < FIXTURE_RULES_MAX; i++)
        if (strcmp(f->rules[i], rule) == 0)
            return true;
    return false;
}

bool fixture_headers_are_blocks(const struct fixture *f)
{
    uint64_t next = FIXTURE_FIRST;
    struct hf__block block;
    for (uint64_t offset = FIXTURE_FIRST; offset < f->seg.size_bytes; offset += 16) {
        bool is_header = hf__block_read(&f->seg, offset, &block);
        bool is_block = offset == next && offset < hf__heap_used_end(&f->heap);
        if (is_header != is_block)
            return false;
        if (is_block)
            next = hf__block_end(&block);
    }
    return true;
}

uint64_t fixture_largest(const struct fixture *f)
{
    uint64_t position = 0, largest = f->seg.size_bytes - hf__heap_used_end(&f->heap);
    struct hf__block_info info;
    largest = largest >= 48 ? largest / 16 * 16 - 16 : 0;
    int found;
    while ((found = hf__heap_next(&f->heap, &position, &info)) == 1)
        if (info.kind == HF__BLOCK_FREE && info.usable_bytes > largest)
            largest = info.usable_bytes;
    MUST(found == 0);
    return largest;
}

/* ---- batches --------------------------------------------------------------------------------- */

void fixture_begin(struct fixture *f)
{
    MUST(f->before == NULL);
    f->before = (unsigned char *)malloc(f->seg.size_bytes);
    MUST(f->before != NULL);
    memcpy(f->before, f->seg.base, f->seg.size_bytes);
    f->size_before = f->seg.size_bytes;
    f->undo_bytes = 0;
}

void fixture_keep(struct fixture *f)
{
    free(f->before);
    f->before = NULL;
}

static void compare(const struct fixture *f, uint64_t offset, uint64_t end)
{
    for (uint64_t i = offset; i < end; i++)
        if (f->before[i] != f->seg.base[i])
            printf("byte %llu differs after undo\n", (unsigned long long)i);
    MUST(memcmp(f->before + offset, f->seg.base + offset, end - offset) == 0);
}

void fixture_undo(struct fixture *f)
{
    while (f->undo_bytes != 0) {
        uint64_t offset, size;
        memcpy(&size, f->undo + f->undo_bytes - 8, 8);
        memcpy(&offset, f->undo + f->undo_bytes - 16, 8);
        f->undo_bytes -= 16 + size;
        memcpy(f->seg.base + offset, f->undo + f->undo_bytes, size);
    }
    compare(f, 0, FIXTURE_FIRST);
    struct hf__block block;
    struct hf__chunk_ref chunk;
    uint64_t offset = FIXTURE_FIRST;
    for (; offset < hf__heap_used_end(&f->heap); offset = hf__block_end(&block)) {
        MUST(hf__heap_block(&f->heap, offset, &block) == 0);
        uint64_t known = block.kind == HF__BLOCK_FREE
                             ? HF__BLOCK_HEADER_BYTES + f->heap.algorithm->free_set->node_bytes
                             : block.size_bytes;
        if (block.kind == HF__BLOCK_CHUNK) {
            MUST(hf__chunk_at(&f->heap, offset, &chunk));
            known = HF__BLOCK_HEADER_BYTES;
            compare(f, chunk.record, chunk.record + hf__chunk_record_bytes(&chunk));
            for (uint32_t i = 0; i < chunk.chunk->slots; i++)
                if ((hf__chunk_words(&chunk)[i / 64].taken >> i % 64 & 1) != 0)
                    compare(f, hf__chunk_slot(&chunk, i),
                            hf__chunk_slot(&chunk, i) + chunk.slot_class->bytes);
        }
        compare(f, offset, offset + known);
    }
    MUST(offset == hf__heap_used_end(&f->heap));
    fixture_keep(f);
}

void fixture_forge(struct fixture *f, const struct hf__block *block)
{
    struct hf__segment plain = f->seg;
    plain.door = NULL;
    hf__block_write(&plain, block);
}
