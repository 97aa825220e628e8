/* SPDX-License-Identifier: MIT */
/*
 * fake_segment.c - the segment and door that fake_segment.h describes
 *
 * Blocks have sizes of 16 << class, class 1 up; the books are arrays indexed by offset / 16, and
 * one stack of free blocks a class. A batch's blocks and gifts are on two more stacks, so keeping
 * or undoing it is a matter of moving them to the free ones.
 */
#include "fake_segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIT        16u
#define CLASSES     48u
#define ROOT_AT     64u
#define FIRST_BLOCK 256u

struct fake_stack {
    hf_ref *item;
    size_t count, room;
};

static void *checked(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "the test is out of memory\n");
        exit(2);
    }
    return memory;
}

static void push(struct fake_stack *stack, hf_ref item)
{
    if (stack->count == stack->room) {
        stack->room = stack->room * 2 + 16;
        stack->item = (hf_ref *)checked(realloc(stack->item, stack->room * sizeof(hf_ref)));
    }
    stack->item[stack->count++] = item;
}

static struct fake *fake_of(struct hf__segment *seg)
{
    return (struct fake *)seg->owner;
}

/* ---- the door -------------------------------------------------------------------------------- */

static bool fails_now(uint64_t *fails_in)
{
    return *fails_in != 0 && --*fails_in == 0;
}

static int door_reserve(struct hf__segment *seg, uint64_t cost_bytes)
{
    struct fake *fake = fake_of(seg);
    if (fails_now(&fake->reserve_fails_in))
        return HF_ENOSPC;
    fake->reserved = cost_bytes; /* no more than asked for: two reservations don't add up */
    return 0;
}

static void door_edit(struct hf__segment *seg, uint64_t offset, uint64_t size_bytes)
{
    struct fake *fake = fake_of(seg);
    if (HF__EDIT_COST(size_bytes) > fake->reserved)
        fail_msg("announcing %" PRIu64 " bytes costs more than the %" PRIu64 " reserved",
                 size_bytes, fake->reserved);
    fake->reserved -= HF__EDIT_COST(size_bytes);
    fake->edits++;
    fake->edited_bytes += size_bytes;
    fake->watched_edits += fake->watched >= offset && fake->watched - offset < size_bytes;
    if (!fake->undoing)
        return;
    size_t record = 16 + (size_t)size_bytes;
    if (fake->undo_room - fake->undo_bytes < record + 8) {
        fake->undo_room = (fake->undo_room + record) * 2;
        fake->undo = (unsigned char *)checked(realloc(fake->undo, fake->undo_room));
    }
    /* the size comes last, so that records can be read backwards */
    unsigned char *at = fake->undo + fake->undo_bytes;
    memcpy(at, seg->base + offset, size_bytes);
    memcpy(at + size_bytes, &offset, 8);
    memcpy(at + size_bytes + 8, &size_bytes, 8);
    fake->undo_bytes += record;
}

static int door_grow(struct hf__segment *seg, uint64_t size_bytes)
{
    return size_bytes <= seg->size_bytes ? 0 : HF_EFULL;
}

static unsigned class_of(uint64_t size_bytes)
{
    unsigned class = 1;
    while (((uint64_t)UNIT << class) < size_bytes)
        class ++;
    return class;
}

static int take(struct fake *fake, uint64_t size_bytes, hf_ref *out)
{
    if (size_bytes > fake->seg.size_bytes)
        return HF_EFULL;
    unsigned class = class_of(size_bytes);
    uint64_t rounded = (uint64_t)UNIT << class;
    hf_ref block;
    if (fake->free_blocks[class].count > 0) {
        block = fake->free_blocks[class].item[fake->free_blocks[class].count - 1];
        if (!hf__in_segment(&fake->seg, block, rounded))
            return HF_EFULL; /* a test has cut the segment short */
        fake->free_blocks[class].count--;
    } else {
        if (fake->bump > fake->seg.size_bytes || rounded > fake->seg.size_bytes - fake->bump)
            return HF_EFULL;
        block = fake->bump;
        fake->bump += rounded;
    }
    fake->block_class[block / UNIT] = (unsigned char)class;
    memset(fake->live + block / UNIT, 1, rounded / UNIT);
    memset(fake->seg.base + block, 0xA5, rounded);
    fake->blocks_live++;
    if (fake->undoing)
        push(fake->taken, block);
    *out = block;
    return 0;
}

static void now_free(struct fake *fake, hf_ref block)
{
    unsigned class = fake->block_class[block / UNIT] & 0x7f;
    fake->block_class[block / UNIT] = 0;
    memset(fake->live + block / UNIT, 0, ((uint64_t)UNIT << class) / UNIT);
    push(&fake->free_blocks[class], block);
}

static int give(struct fake *fake, hf_ref block)
{
    if (block % UNIT != 0 || block >= fake->seg.size_bytes)
        return HF_EPTR;
    unsigned char *class = &fake->block_class[block / UNIT];
    if (*class == 0 || (*class & 0x80) != 0)
        return HF_EPTR;
    fake->blocks_live--;
    if (fake->undoing) {
        *class |= 0x80; /* pending: its bytes stay until the batch is kept */
        push(fake->given, block);
    } else {
        now_free(fake, block);
    }
    return 0;
}

static int door_allocate(struct hf__segment *seg, uint64_t size_bytes, hf_ref *out)
{
    struct fake *fake = fake_of(seg);
    if (fails_now(&fake->allocate_fails_in))
        return HF_EFULL;
    fake->reserved = 0; /* an allocator announces too: what was reserved before it is gone */
    fake->allocations++;
    return take(fake, size_bytes, out);
}

static int door_release(struct hf__segment *seg, hf_ref block)
{
    struct fake *fake = fake_of(seg);
    fake->releases++;
    /* may spend HF__OP_COST of what its caller reserved */
    fake->reserved -= fake->reserved < HF__OP_COST ? fake->reserved : HF__OP_COST;
    return give(fake, block);
}

static const struct hf__door door = {door_reserve, door_edit, door_grow, door_allocate,
                                     door_release, NULL, NULL, NULL};

/* ---- life, batches --------------------------------------------------------------------------- */

void fake_open(struct fake *fake, const struct hf__index_ops *ops, uint64_t size_bytes)
{
    size_t units = size_bytes / UNIT;
    *fake = (struct fake){0};
    fake->seg.base = (unsigned char *)checked(calloc(1, size_bytes));
    fake->seg.size_bytes = size_bytes;
    fake->seg.salt = UINT64_C(0x5eed);
    fake->seg.door = &door;
    fake->seg.owner = fake;
    fake->shadow = (unsigned char *)checked(malloc(size_bytes));
    fake->block_class = (unsigned char *)checked(calloc(1, units));
    fake->live = (unsigned char *)checked(calloc(1, units));
    fake->live_before = (unsigned char *)checked(calloc(1, units));
    fake->free_blocks =
        (struct fake_stack *)checked(calloc(CLASSES + 2, sizeof(struct fake_stack)));
    fake->taken = fake->free_blocks + CLASSES;
    fake->given = fake->taken + 1;
    fake->bump = FIRST_BLOCK;
    memset(fake->live, 1, FIRST_BLOCK / UNIT);
    fake->index = (struct hf__index){.seg = &fake->seg, .root = ROOT_AT, .ops = ops};
    assert_int_equal(ops->init(&fake->index), 0);
}

void fake_close(struct fake *fake)
{
    for (unsigned i = 0; i < CLASSES + 2; i++)
        free(fake->free_blocks[i].item);
    free(fake->free_blocks);
    free(fake->seg.base);
    free(fake->shadow);
    free(fake->block_class);
    free(fake->live);
    free(fake->live_before);
    free(fake->undo);
}

void fake_batch_begin(struct fake *fake)
{
    assert_false(fake->undoing);
    memcpy(fake->shadow, fake->seg.base, fake->bump);
    memset(fake->live_before, 0, fake->seg.size_bytes / UNIT);
    memcpy(fake->live_before, fake->live, fake->bump / UNIT);
    fake->undo_bytes = 0;
    fake->undoing = true;
}

void fake_batch_keep(struct fake *fake)
{
    assert_true(fake->undoing);
    for (size_t i = 0; i < fake->given->count; i++)
        now_free(fake, fake->given->item[i]);
    fake->taken->count = fake->given->count = 0;
    fake->undoing = false;
}

void fake_batch_undo(struct fake *fake)
{
    assert_true(fake->undoing);
    while (fake->undo_bytes > 0) {
        uint64_t offset, size_bytes;
        memcpy(&size_bytes, fake->undo + fake->undo_bytes - 8, 8);
        memcpy(&offset, fake->undo + fake->undo_bytes - 16, 8);
        fake->undo_bytes -= 16 + size_bytes;
        memcpy(fake->seg.base + offset, fake->undo + fake->undo_bytes, size_bytes);
    }
    for (size_t i = 0; i < fake->given->count; i++) {
        fake->block_class[fake->given->item[i] / UNIT] &= 0x7f;
        fake->blocks_live++;
    }
    for (size_t i = 0; i < fake->taken->count; i++) {
        now_free(fake, fake->taken->item[i]);
        fake->blocks_live--;
    }
    fake->taken->count = fake->given->count = 0;
    fake->undoing = false;
    for (uint64_t unit = 0; unit < fake->bump / UNIT; unit++) {
        if (fake->live_before[unit] &&
            memcmp(fake->seg.base + unit * UNIT, fake->shadow + unit * UNIT, UNIT) != 0)
            fail_msg("undone, but the bytes at %" PRIu64 " differ: a write was not announced",
                     unit * UNIT);
    }
}

/* ---- entries --------------------------------------------------------------------------------- */

hf_ref fake_entry(struct fake *fake, const void *name, size_t name_bytes)
{
    hf_ref node;
    int error = take(fake, sizeof(struct hf__index_node) + name_bytes + 1, &node);
    assert_int_equal(error, 0);
    struct hf__index_node *entry = (struct hf__index_node *)(void *)(fake->seg.base + node);
    entry->name_bytes = (uint16_t)name_bytes;
    memcpy(entry + 1, name, name_bytes);
    ((char *)(entry + 1))[name_bytes] = '\0';
    return node;
}

void fake_entry_free(struct fake *fake, hf_ref node)
{
    assert_int_equal(give(fake, node), 0);
}

bool fake_is_block(const struct fake *fake, hf_ref block)
{
    return block % UNIT == 0 && block < fake->seg.size_bytes &&
           fake->block_class[block / UNIT] != 0 && (fake->block_class[block / UNIT] & 0x80) == 0;
}

hf_ref fake_insert(struct fake *fake, const char *name)
{
    hf_ref node = fake_entry(fake, name, strlen(name));
    assert_int_equal(fake->index.ops->insert(&fake->index, node, NULL), 0);
    return node;
}

int fake_find(const struct fake *fake, const char *name, hf_ref *out)
{
    return fake->index.ops->find(&fake->index, name, strlen(name), out);
}

int fake_erase(struct fake *fake, const char *name)
{
    hf_ref node;
    int error = fake_find(fake, name, &node);
    if (error == 0)
        error = fake->index.ops->erase(&fake->index, node, NULL);
    if (error == 0)
        fake_entry_free(fake, node);
    return error;
}

static bool entry_is_block(void *user, hf_ref node)
{
    return fake_is_block((const struct fake *)user, node);
}

static void print_finding(void *user, const hf_finding *finding)
{
    (void)user;
    fprintf(stderr, "finding: %s at %" PRIu64 ": %s\n", finding->rule, finding->offset,
            finding->expected);
}

uint64_t fake_findings(struct fake *fake, bool expect_none, uint64_t *visited)
{
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    struct hf__check check;
    if (expect_none)
        options.on_finding = print_finding;
    hf__check_init(&check, &options, 0);
    uint64_t entries =
        fake->index.ops->check(&fake->index, fake->blocks_live + 1, &check, entry_is_block, fake);
    if (visited != NULL)
        *visited = entries;
    return check.report.findings;
}

static void count_owned(void *user, hf_ref block)
{
    (void)block;
    ++*(uint64_t *)user;
}

uint64_t fake_owned(const struct fake *fake)
{
    uint64_t count = 0;
    fake->index.ops->blocks(&fake->index, count_owned, &count);
    return count;
}

/* ---- chance ---------------------------------------------------------------------------------- */

uint64_t fake_random_next(struct fake_random *random)
{
    /* splitmix64 */
    uint64_t z = random->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

uint64_t fake_random_below(struct fake_random *random, uint64_t end)
{
    return fake_random_next(random) % end;
}

uint64_t fake_seed(const char *suite)
{
    const char *text = getenv("HF_TEST_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 20240611;
    printf("%s: HF_TEST_SEED=%" PRIu64 "\n", suite, seed);
    return seed;
}

uint64_t fake_scale(void)
{
    const char *text = getenv("HF_TEST_SCALE");
    uint64_t scale = text != NULL ? strtoull(text, NULL, 0) : 1;
    return scale > 0 ? scale : 1;
}
