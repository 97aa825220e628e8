/* SPDX-License-Identifier: MIT */
/*
 * corrupt_index.c - damaged bytes in roots, entries and arrays
 *
 * Every byte flipped in turn: check must report it, or it is harmless. Harmless is proved, not
 * believed: the flip must be of a kind listed in harmless_kind with its reason, and the index must
 * then find every entry, iterate over all, take new names and let go of all of them.
 *
 * Then thousands of random corruptions, each followed by every operation. Nothing may crash, hang,
 * announce more than it reserved, write unannounced, or write outside of the segment; what the
 * operations return doesn't matter.
 */
#include "fake_segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ENTRIES = 60, STRANGERS = 24, CANARIES = 8, CORRUPTIONS = 120000 };
#define SEGMENT_BYTES (UINT64_C(128) << 10)

struct ground {
    struct fake fake;
    const struct hf__index_ops *ops;
    hf_ref entry[ENTRIES], stranger[STRANGERS], canary[CANARIES];
    hf_ref owned[40];
    size_t owned_count;
    unsigned char pristine[SEGMENT_BYTES];
    uint64_t pristine_bytes;
    struct hf__index_ahead ahead;
};

static struct ground ground;

static void note_owned(void *user, hf_ref block)
{
    struct ground *g = (struct ground *)user;
    assert_true(g->owned_count < sizeof g->owned / sizeof g->owned[0]);
    g->owned[g->owned_count++] = block;
}

static void break_ground(const struct hf__index_ops *ops)
{
    struct ground *g = &ground;
    char name[32];
    memset(g, 0, sizeof *g);
    g->ops = ops;
    fake_open(&g->fake, ops, SEGMENT_BYTES);
    for (unsigned i = 0; i < ENTRIES; i++) {
        snprintf(name, sizeof name, "e%u/%u", i % 7, i * 7919 % 1009);
        g->entry[i] = fake_insert(&g->fake, name);
        if (i % 8 == 0)
            g->canary[i / 8] = fake_entry(&g->fake, "canary", 6);
    }
    for (unsigned i = 0; i < STRANGERS; i++) {
        snprintf(name, sizeof name, "s%u", i * 7919 % 1009);
        g->stranger[i] = fake_entry(&g->fake, name, strlen(name));
    }
    ops->blocks(&g->fake.index, note_owned, g);
    assert_int_equal(fake_findings(&g->fake, true, NULL), 0);
    g->pristine_bytes = g->fake.bump;
    memcpy(g->pristine, g->fake.seg.base, g->pristine_bytes);
}

static uint64_t array_bytes(const struct ground *g, hf_ref array)
{
    const struct hf__index_array *header =
        (const struct hf__index_array *)(const void *)(g->pristine + array);
    return sizeof *header + header->slots * 8;
}

/* ---- every byte ------------------------------------------------------------------------------ */

/* Why a flip at offset that no finding tells of is nothing to worry about; NULL if there is no
 * reason. */
static const char *harmless_kind(const struct ground *g, uint64_t offset)
{
    const struct hf__index_root *root =
        (const struct hf__index_root *)(const void *)(g->pristine + g->fake.index.root);
    for (unsigned i = 0; i < ENTRIES; i++) {
        uint64_t name_bytes = g->entry[i] + offsetof(struct hf__index_node, name_bytes);
        uint64_t name = g->entry[i] + sizeof(struct hf__index_node);
        if (g->ops->kind == HF_INDEX_FLAT && ((offset >= name && offset < name + 32) ||
                                (offset >= name_bytes && offset < name_bytes + 2)))
            return "a name that still sorts where it is: it is the owner's, who has valid() to "
                   "tell";
    }
    for (size_t i = 0; g->ops->kind == HF_INDEX_SET && i < g->owned_count; i++) {
        const struct hf__set_page *page =
            (const struct hf__set_page *)(const void *)(g->pristine + g->owned[i]);
        uint64_t slots = g->owned[i] + offsetof(struct hf__set_page, slot);
        if (offset >= slots + page->count * sizeof page->slot[0] &&
            offset < g->owned[i] + sizeof *page)
            return "a slot not in use: never read";
        if (page->level != 0 && offset >= slots + sizeof page->slot[0] &&
            offset < g->owned[i] + sizeof *page && (offset - slots) % sizeof page->slot[0] < 8)
            return "a key that parts the names as well";
        uint64_t prefix_bytes = g->owned[i] + offsetof(struct hf__set_page, prefix_bytes);
        if (page->level != 0 && offset >= prefix_bytes && offset < prefix_bytes + 2)
            return "a prefix with which the keys part the names as well";
    }
    if (g->ops->kind == HF_INDEX_FLAT && offset > root->root + 16 + root->count * 8)
        return "a slot behind the 0 that ends the array in use: never read";
    for (size_t i = 1; g->ops->kind == HF_INDEX_HASH && i < g->owned_count; i++) {
        uint64_t first = i == 1 ? 0 : UINT64_C(4) << (i - 2); /* owned[0] is the directory */
        uint64_t used = root->buckets > first ? root->buckets - first : 0, all = i == 1 ? 4 : first;
        used = used < all ? used : all;
        uint64_t begin = HF__HASH_FIRST_BUCKET(g->owned[i]);
        if (offset >= begin + used * 64 && offset < g->owned[i] + array_bytes(g, g->owned[i]))
            return "a bucket not in use: written before it is read";
        if (offset >= g->owned[i] + 16 && offset < begin)
            return "in front of the first bucket: never read";
    }
    if (g->ops->kind == HF_INDEX_HASH && offset >= g->fake.index.root + 24 &&
        offset < g->fake.index.root + 32)
        return "a number of buckets for which every entry is in its place too";
    return NULL;
}

/* The index behaves as if nothing had happened. */
static void prove_sound(struct ground *g)
{
    struct hf__index *index = &g->fake.index;
    struct hf__index_cursor cursor = {0};
    hf_ref out;
    unsigned met = 0;
    int more;
    for (unsigned i = 0; i < ENTRIES; i++) {
        assert_int_equal(g->ops->find(index, hf__index_name_at(&g->fake.seg, g->entry[i]),
                                      hf__index_node_at(&g->fake.seg, g->entry[i])->name_bytes,
                                      &out),
                         0);
        assert_int_equal(out, g->entry[i]);
    }
    while ((more = g->ops->next(index, &cursor, NULL, 0, &out)) == 1)
        met++;
    assert_int_equal(more, 0);
    assert_int_equal(met, ENTRIES);
    for (unsigned i = 0; i < STRANGERS; i++)
        assert_int_equal(g->ops->insert(index, g->stranger[i], NULL), 0);
    assert_int_equal(fake_findings(&g->fake, true, NULL), 0);
    for (unsigned i = 0; i < ENTRIES; i++)
        assert_int_equal(g->ops->erase(index, g->entry[i], NULL), 0);
    for (unsigned i = 0; i < STRANGERS; i++)
        assert_int_equal(g->ops->erase(index, g->stranger[i], NULL), 0);
    assert_int_equal(g->ops->shrink(index), 0);
    assert_int_equal(fake_owned(&g->fake), 0);
    for (unsigned i = 0; i < CANARIES; i++)
        assert_memory_equal(g->fake.seg.base + g->canary[i], g->pristine + g->canary[i], 32);
}

static void flip_byte(struct ground *g, uint64_t offset, uint64_t found[2])
{
    static const unsigned char masks[] = {1, 2, 4, 8, 16, 32, 64, 128, 255};
    for (unsigned i = 0; i < sizeof masks; i++) {
        g->fake.seg.base[offset] = (unsigned char)(g->pristine[offset] ^ masks[i]);
        bool harmless = fake_findings(&g->fake, false, NULL) == 0;
        found[harmless]++;
        if (harmless) {
            if (harmless_kind(g, offset) == NULL)
                fail_msg("%s: byte %" PRIu64 " ^ %u is not found by check", g->ops->name, offset,
                         (unsigned)masks[i]);
            fake_batch_begin(&g->fake);
            prove_sound(g);
            fake_batch_undo(&g->fake);
        }
        g->fake.seg.base[offset] = g->pristine[offset];
    }
}

static void flip_every_byte(const struct hf__index_ops *ops)
{
    struct ground *g = &ground;
    uint64_t found[2] = {0, 0}; /* with findings, harmless */
    break_ground(ops);
    for (uint64_t i = 0; i < sizeof(struct hf__index_root); i++)
        flip_byte(g, g->fake.index.root + i, found);
    for (unsigned e = 0; e < ENTRIES; e++) {
        uint64_t size = sizeof(struct hf__index_node) + 1 +
                        hf__index_node_at(&g->fake.seg, g->entry[e])->name_bytes;
        for (uint64_t i = 0; i < size; i++)
            flip_byte(g, g->entry[e] + i, found);
    }
    for (size_t a = 0; a < g->owned_count; a++) {
        for (uint64_t i = 0; i < array_bytes(g, g->owned[a]); i++)
            flip_byte(g, g->owned[a] + i, found);
    }
    assert_int_equal(fake_findings(&g->fake, true, NULL), 0);
    printf("%s: %" PRIu64 " flips found by check, %" PRIu64 " proved harmless\n", ops->name,
           found[0], found[1]);
    fake_close(&g->fake);
}

static void test_corrupt_every_byte_of_set(void **state)
{
    (void)state;
    flip_every_byte(&hf__index_set);
}

static void test_corrupt_every_byte_of_hash(void **state)
{
    (void)state;
    flip_every_byte(&hf__index_hash);
}

static void test_corrupt_every_byte_of_flat(void **state)
{
    (void)state;
    flip_every_byte(&hf__index_flat);
}

/* ---- random corruption ----------------------------------------------------------------------- */

static uint64_t random_place(const struct ground *g, struct fake_random *random)
{
    uint64_t what = fake_random_below(random, 10);
    if (what < 2)
        return g->fake.index.root + fake_random_below(random, sizeof(struct hf__index_root));
    if (what < 5 && g->owned_count > 0) {
        hf_ref array = g->owned[fake_random_below(random, g->owned_count)];
        return array + fake_random_below(random, array_bytes(g, array));
    }
    return g->entry[fake_random_below(random, ENTRIES)] + fake_random_below(random, 32);
}

static uint64_t random_word(const struct ground *g, struct fake_random *random)
{
    switch (fake_random_below(random, 8)) {
    case 0:
        return fake_random_next(random);
    case 1:
        return fake_random_below(random, 100);
    case 2:
        return SEGMENT_BYTES - 16 * fake_random_below(random, 8);
    case 3:
        return 16 * fake_random_below(random, SEGMENT_BYTES / 16);
    case 4:
        return g->stranger[fake_random_below(random, STRANGERS)];
    case 5:
        return UINT64_C(1) << fake_random_below(random, 64);
    case 6: /* an entry shifted, so that entries and arrays overlap */
        return g->entry[fake_random_below(random, ENTRIES)] + 16 * fake_random_below(random, 3);
    default:
        return g->entry[fake_random_below(random, ENTRIES)] + fake_random_below(random, 4);
    }
}

static void corrupt_at_random(struct ground *g, struct fake_random *random)
{
    for (uint64_t n = 1 + fake_random_below(random, 6); n > 0; n--) {
        uint64_t offset = random_place(g, random);
        if (fake_random_below(random, 3) == 0) {
            g->fake.seg.base[offset] = (unsigned char)fake_random_next(random);
        } else {
            uint64_t word = random_word(g, random);
            memcpy(g->fake.seg.base + (offset & ~UINT64_C(7)), &word, 8);
        }
    }
    if (fake_random_below(random, 10) == 0) /* and cut short */
        g->fake.seg.size_bytes = 256 + fake_random_below(random, g->pristine_bytes - 256);
}

static void iterate(struct ground *g, const char *prefix)
{
    struct hf__index_cursor cursor = {0};
    hf_ref out;
    uint64_t steps = 0;
    while (g->ops->next(&g->fake.index, &cursor, prefix, strlen(prefix), &out) == 1) {
        assert_true(hf__index_node_ok(&g->fake.seg, out));
        assert_true(++steps <= SEGMENT_BYTES / 16);
    }
}

/* As an allocation does that on a damaged file lies over what the index has. */
static void damage_something(struct ground *g, struct fake_random *random)
{
    const uint64_t offset = random_place(g, random) & ~UINT64_C(7);
    if (fake_random_below(random, 2) == 0 || !hf__in_segment(&g->fake.seg, offset, 8) ||
        hf__reserve(&g->fake.seg, HF__EDIT_COST(8)) != 0)
        return;
    *(uint64_t *)hf__edit(&g->fake.seg, offset, 8) = random_word(g, random);
}

/* Seeks the name of a stranger and inserts it there, with damage done in between. */
static void insert_where_it_belonged(struct ground *g, struct fake_random *random, hf_ref node)
{
    struct hf__index *index = &g->fake.index;
    struct hf__index_place place;
    hf_ref out;
    if (!hf__index_node_ok(&g->fake.seg, node) ||
        hf__index_node_at(&g->fake.seg, node)->name_bytes == 0 ||
        g->ops->seek(index, hf__index_name_at(&g->fake.seg, node),
                     hf__index_node_at(&g->fake.seg, node)->name_bytes, &place,
                     &out) != HF_ENOTFOUND)
        return;
    damage_something(g, random);
    if (hf__index_node_ok(&g->fake.seg, node) &&
        hf__index_node_at(&g->fake.seg, node)->name_bytes > 0)
        (void)g->ops->insert(index, node, &place);
}

static void one_random_operation(struct ground *g, struct fake_random *random)
{
    struct hf__index *index = &g->fake.index;
    uint64_t i = fake_random_below(random, ENTRIES);
    hf_ref out;
    const struct hf__index_node *entry =
        (const struct hf__index_node *)(const void *)(g->pristine + g->entry[i]);
    struct hf__index_place place;
    if (g->ops->expect != NULL && fake_random_below(random, 2) == 0)
        (void)g->ops->expect(index, &g->ahead, entry + 1, entry->name_bytes);
    switch (fake_random_below(random, 11)) {
    case 0:
    case 1:
        (void)g->ops->find(index, entry + 1, entry->name_bytes, &out);
        break;
    case 2:
    case 3:
        out = g->stranger[i % STRANGERS];
        if (hf__index_node_ok(&g->fake.seg, out) &&
            hf__index_node_at(&g->fake.seg, out)->name_bytes > 0)
            (void)g->ops->insert(index, out, NULL);
        break;
    case 4:
    case 5:
        (void)g->ops->erase(index, g->entry[i], NULL);
        break;
    case 9:
        insert_where_it_belonged(g, random, g->stranger[i % STRANGERS]);
        break;
    case 10:
        if (g->ops->seek(index, entry + 1, entry->name_bytes, &place, &out) == 0) {
            damage_something(g, random);
            (void)g->ops->erase(index, out, &place);
        }
        break;
    case 6:
        iterate(g, fake_random_below(random, 2) == 0 ? "" : "e3/");
        break;
    case 7:
        (void)g->ops->reserve(index, 40 + fake_random_below(random, 200));
        break;
    default:
        (void)g->ops->shrink(index);
        break;
    }
}

static void corrupt_many(const struct hf__index_ops *ops, uint64_t seed)
{
    struct ground *g = &ground;
    struct fake_random random = {.state = seed};
    uint64_t found = 0;
    const uint64_t rounds = CORRUPTIONS / 3 * fake_scale();
    break_ground(ops);
    for (uint64_t round = 0; round < rounds; round++) {
        fake_batch_begin(&g->fake);
        corrupt_at_random(g, &random);
        memcpy(g->fake.shadow, g->fake.seg.base, g->fake.bump); /* what undo goes back to */
        if (fake_random_below(&random, 2) == 0)
            found += fake_findings(&g->fake, false, NULL) > 0;
        g->ahead.kept = 0;
        g->fake.index.ahead = ops->remembers ? &g->ahead : NULL;
        for (uint64_t n = 10 + fake_random_below(&random, 40); n > 0; n--)
            one_random_operation(g, &random);
        g->fake.index.ahead = NULL;
        (void)fake_findings(&g->fake, false, NULL);
        (void)fake_owned(&g->fake);
        g->fake.seg.size_bytes = SEGMENT_BYTES;
        fake_batch_undo(&g->fake);
        memcpy(g->fake.seg.base, g->pristine, g->pristine_bytes);
    }
    assert_int_equal(fake_findings(&g->fake, true, NULL), 0);
    printf("%s: %" PRIu64 " random corruptions, %" PRIu64 " of about half had findings\n",
           ops->name, rounds, found);
    assert_true(found > rounds / 4);
    fake_close(&g->fake);
}

static uint64_t seed;

static void test_corrupt_set_at_random(void **state)
{
    (void)state;
    corrupt_many(&hf__index_set, seed);
}

static void test_corrupt_hash_at_random(void **state)
{
    (void)state;
    corrupt_many(&hf__index_hash, seed + 1);
}

static void test_corrupt_flat_at_random(void **state)
{
    (void)state;
    corrupt_many(&hf__index_flat, seed + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corrupt_every_byte_of_set),
        cmocka_unit_test(test_corrupt_every_byte_of_hash),
        cmocka_unit_test(test_corrupt_every_byte_of_flat),
        cmocka_unit_test(test_corrupt_set_at_random),
        cmocka_unit_test(test_corrupt_hash_at_random),
        cmocka_unit_test(test_corrupt_flat_at_random),
    };
    seed = fake_seed("corrupt_index");
    return cmocka_run_group_tests_name("index corruption", tests, NULL, NULL);
}
