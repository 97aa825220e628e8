/* SPDX-License-Identifier: MIT */
/*
 * set_page.c - taking pages of the set apart and putting them together
 *
 * A page's prefix is what all names below it begin with, as far as it goes: a shorter one is as
 * right as a longer one, only keys tell less. So a prefix is made shorter when a name comes that
 * has less in common, which needs nothing but the page itself, and made longer only when a page is
 * written anew and has equal keys in it: then names are read.
 */
#include "set_page.h"

hf_ref hf__set_edge(const struct hf__segment *seg, hf_ref at, unsigned level, bool last)
{
    for (;; level--) {
        const struct hf__set_page *page = page_of(seg, at, level);
        if (page == NULL)
            return 0;
        at = page->slot[last ? page->count - 1u : 0].ref;
        if (level == 0)
            return hf__index_node_ok(seg, at) ? at : 0;
    }
}

static hf_ref edge_of_slot(const struct hf__segment *seg, const struct run *run, unsigned slot,
                           bool last)
{
    const hf_ref ref = run->slot[slot].ref;
    if (run->level != 0)
        return hf__set_edge(seg, ref, run->level - 1, last);
    return hf__index_node_ok(seg, ref) ? ref : 0;
}

/* The first slot that has a key: the one that leads to the first page below needs none. */
static unsigned first_keyed(const struct run *run)
{
    return run->level != 0;
}

/* Makes the prefix shorter: what it loses comes in front of the keys. */
static void shorten(struct run *run, unsigned prefix_bytes)
{
    const unsigned more = run->prefix_bytes - prefix_bytes;
    if (more == 0)
        return;
    const uint64_t lost = key_of(run->prefix, run->prefix_bytes, prefix_bytes);
    for (unsigned i = first_keyed(run); i < run->count; i++)
        run->slot[i].key = lost | (more < 8 ? run->slot[i].key >> (8 * more) : 0);
    run->prefix_bytes = prefix_bytes;
    memset(run->prefix + prefix_bytes, 0, sizeof run->prefix - prefix_bytes);
}

static unsigned same_bytes(const void *a, size_t a_bytes, const void *b, size_t b_bytes,
                           unsigned max)
{
    const unsigned char *x = a, *y = b;
    unsigned same = 0;
    while (same < max && same < a_bytes && same < b_bytes && x[same] == y[same])
        same++;
    return same;
}

/* Makes the prefix as long as the first and the last name allow, if there is none yet or keys are
 * equal for want of it. */
static void lengthen(const struct hf__segment *seg, struct run *run)
{
    bool equal = run->prefix_bytes == 0;
    for (unsigned i = first_keyed(run) + 1; i < run->count; i++)
        equal |= run->slot[i].key == run->slot[i - 1].key;
    if (!equal || run->prefix_bytes == HF__SET_PREFIX_MAX)
        return;
    const hf_ref first = edge_of_slot(seg, run, 0, false);
    const hf_ref last = edge_of_slot(seg, run, run->count - 1, true);
    if (first == 0 || last == 0)
        return;
    const char *name = hf__index_name_at(seg, first);
    const unsigned same =
        same_bytes(name, hf__index_name_bytes(seg, first), hf__index_name_at(seg, last),
                   hf__index_name_bytes(seg, last), HF__SET_PREFIX_MAX);
    if (same <= run->prefix_bytes)
        return;
    run->prefix_bytes = same;
    memcpy(run->prefix, name, same);
    for (unsigned i = first_keyed(run); i < run->count; i++)
        run->slot[i].key = key_of_node(seg, edge_of_slot(seg, run, i, false), same);
}

void hf__set_run_load(struct run *run, const struct hf__set_page *page)
{
    run->count = page->count;
    run->level = page->level;
    run->prefix_bytes = page->prefix_bytes;
    memcpy(run->prefix, page->prefix, sizeof run->prefix);
    memset(run->prefix + run->prefix_bytes, 0, sizeof run->prefix - run->prefix_bytes);
    memcpy(run->slot, page->slot, page->count * sizeof page->slot[0]);
}

void hf__set_run_append(const struct hf__segment *seg, struct run *run,
                        const struct hf__set_page *page)
{
    struct run right;
    hf__set_run_load(&right, page);
    const unsigned same = same_bytes(run->prefix, run->prefix_bytes, right.prefix,
                                     right.prefix_bytes, HF__SET_PREFIX_MAX);
    shorten(run, same);
    shorten(&right, same);
    if (right.level != 0)
        right.slot[0].key = key_of_node(seg, edge_of_slot(seg, &right, 0, false), same);
    memcpy(run->slot + run->count, right.slot, right.count * sizeof right.slot[0]);
    run->count += right.count;
}

void hf__set_run_shorten(struct run *run, unsigned prefix_bytes)
{
    if (prefix_bytes < run->prefix_bytes)
        shorten(run, prefix_bytes);
}

void hf__set_run_add(struct run *run, unsigned at, struct hf__set_slot slot)
{
    assert(at <= run->count && run->count <= 2 * CAPACITY);
    memmove(run->slot + at + 1, run->slot + at, (run->count - at) * sizeof slot);
    run->slot[at] = slot;
    run->count++;
}

void hf__set_run_remove(struct run *run, unsigned at)
{
    assert(at < run->count);
    run->count--;
    memmove(run->slot + at, run->slot + at + 1, (run->count - at) * sizeof run->slot[0]);
}

void hf__set_run_store(struct hf__segment *seg, const struct run *run, unsigned from, unsigned end,
                       hf_ref at, hf_ref next)
{
    struct run part = {.count = end - from, .level = run->level, .prefix_bytes = run->prefix_bytes};
    assert(from < end && end <= run->count && end - from <= CAPACITY);
    memcpy(part.prefix, run->prefix, sizeof part.prefix);
    memcpy(part.slot, run->slot + from, (end - from) * sizeof part.slot[0]);
    if (part.level != 0)
        part.slot[0].key = 0;
    lengthen(seg, &part);

    struct hf__set_page *page = (struct hf__set_page *)hf__edit(seg, at, sizeof *page);
    page->array = (struct hf__index_array){at, HF__SET_PAGE_SLOTS};
    page->next = next;
    page->count = (uint16_t)part.count;
    page->level = (uint16_t)part.level;
    page->prefix_bytes = (uint16_t)part.prefix_bytes;
    page->reserved = 0;
    memcpy(page->prefix, part.prefix, sizeof page->prefix);
    memcpy(page->slot, part.slot, part.count * sizeof part.slot[0]);
}
