/* SPDX-License-Identifier: MIT */
/* set_check.c - are S1..S5 of set.c true? And which pages are the tree's? */
#include "set_page.h"

struct checking {
    const struct hf__index *index;
    struct hf__check *check;
    bool (*valid)(void *user, hf_ref node);
    void *user;
    uint64_t visited, entries_max;
    uint64_t pages, pages_max; /* a damaged tree may lead to the same pages in many ways         */
    hf_ref previous;           /* entry                                                          */
    hf_ref previous_page;      /* of level 0                                                     */
    bool stopped;
};

static uint64_t pages_max(const struct hf__segment *seg)
{
    return seg->size_bytes / sizeof(struct hf__set_page);
}

static bool has_prefix(const struct hf__segment *seg, const struct hf__set_page *page, hf_ref node)
{
    return hf__index_has_prefix(seg, node, page->prefix, page->prefix_bytes);
}

/* What a page says by itself. */
static void check_page_head(const struct checking *c, hf_ref at, const struct hf__set_page *page,
                            bool is_top)
{
    const unsigned least = !is_top ? HF__SET_SLOTS_MIN : page->level == 0 ? 1 : 2;
    if (page->count < least)
        hf__finding(c->check, "index.balance", at, "%u slots, expected at least %u",
                    (unsigned)page->count, least);
    if (page->reserved != 0)
        hf__finding(c->check, "index.reserved", at, "reserved is %u, expected 0",
                    (unsigned)page->reserved);
    if (page->level != 0 && (page->next != 0 || page->slot[0].key != 0))
        hf__finding(c->check, "index.reserved", at, "next or the first key is not 0");
    for (unsigned i = page->prefix_bytes; i < HF__SET_PREFIX_MAX; i++) {
        if (page->prefix[i] != 0)
            hf__finding(c->check, "index.reserved", at, "byte %u behind the prefix is not 0", i);
    }
}

static void check_entries(struct checking *c, hf_ref at, const struct hf__set_page *page)
{
    const struct hf__segment *seg = c->index->seg;
    if (c->previous_page != 0 && page_at(seg, c->previous_page)->next != at)
        hf__finding(c->check, "index.links", c->previous_page, "next is %llu, expected %llu",
                    (unsigned long long)page_at(seg, c->previous_page)->next,
                    (unsigned long long)at);
    c->previous_page = at;
    for (unsigned i = 0; i < page->count && !hf__check_stopped(c->check); i++) {
        const uint64_t field = at + offsetof(struct hf__set_page, slot) + i * sizeof page->slot[0];
        const hf_ref node = page->slot[i].ref;
        if (c->visited >= c->entries_max) {
            hf__finding(c->check, "index.count", c->index->root,
                        "more entries than the %llu there can be",
                        (unsigned long long)c->entries_max);
            c->stopped = true;
            return;
        }
        c->visited++;
        hf__check_step(c->check, 1);
        if (!hf__index_check_entry(c->index, c->check, field, node, false, false, c->valid,
                                   c->user))
            continue;
        if (!has_prefix(seg, page, node) ||
            page->slot[i].key != key_of_node(seg, node, page->prefix_bytes))
            hf__finding(c->check, "index.key", field, "prefix or key is not that of entry %llu",
                        (unsigned long long)node);
        if (c->previous != 0 && hf__index_compare_nodes(seg, c->previous, node) >= 0)
            hf__finding(c->check, "index.order", node, "does not sort after %llu",
                        (unsigned long long)c->previous);
        c->previous = node;
    }
}

/* S2 and S3 for a slot of an inner page: before and first are the entries on its two sides, 0 if
 * there is none. */
static void check_separator(const struct checking *c, uint64_t field,
                            const struct hf__set_page *page, unsigned slot, hf_ref before,
                            hf_ref first)
{
    const struct hf__segment *seg = c->index->seg;
    if (first == 0)
        return;
    const uint64_t key = page->slot[slot].key;
    const unsigned prefix_bytes = page->prefix_bytes;
    if (!has_prefix(seg, page, first) ||
        (slot > 0 && (key > key_of_node(seg, first, prefix_bytes) ||
                      (before != 0 && key < key_of_node(seg, before, prefix_bytes)))))
        hf__finding(c->check, "index.key", field, "prefix or key doesn't part the names");
}

static void check_page(struct checking *c, uint64_t field, hf_ref at, unsigned level)
{
    const struct hf__segment *seg = c->index->seg;
    const struct hf__set_page *page = page_of(seg, at, level);
    if (page == NULL || c->pages++ >= c->pages_max) {
        hf__finding(c->check, "index.links", field, "leads to %llu, where no page can be",
                    (unsigned long long)at);
        c->stopped |= page != NULL;
        return;
    }
    check_page_head(c, at, page, level == ANY_LEVEL);
    if (page->level == 0) {
        check_entries(c, at, page);
        return;
    }
    const unsigned below = page->level - 1u;
    for (unsigned i = 0; i < page->count && !c->stopped && !hf__check_stopped(c->check); i++) {
        const uint64_t slot = at + offsetof(struct hf__set_page, slot) + i * sizeof page->slot[0];
        const hf_ref before = c->previous;
        check_page(c, slot + offsetof(struct hf__set_slot, ref), page->slot[i].ref, below);
        check_separator(c, slot, page, i, i == 0 ? 0 : before,
                        hf__set_edge(seg, page->slot[i].ref, below, false));
    }
    if (c->previous != 0 && !has_prefix(seg, page, c->previous))
        hf__finding(c->check, "index.key", at, "the prefix is not that of entry %llu",
                    (unsigned long long)c->previous);
}

uint64_t hf__set_check(const struct hf__index *index, uint64_t entries_max, struct hf__check *check,
                       bool (*valid)(void *user, hf_ref node), void *user)
{
    const struct hf__index_root *root = hf__index_root_of(index);
    struct checking c = {.index = index,
                         .check = check,
                         .valid = valid,
                         .user = user,
                         .entries_max = entries_max,
                         .pages_max = pages_max(index->seg)};
    if (root->root != 0)
        check_page(&c, index->root + offsetof(struct hf__index_root, root), root->root, ANY_LEVEL);
    if (c.previous_page != 0 && page_at(index->seg, c.previous_page)->next != 0 && !c.stopped &&
        !hf__check_stopped(check))
        hf__finding(check, "index.links", c.previous_page, "next is not 0 in the last page");
    hf__index_check_root(index, check, c.visited, false, false);
    return c.visited;
}

/* Tells of a page and those below it; returns how many more may be told of. */
static uint64_t tell(const struct hf__segment *seg, hf_ref at, unsigned level, uint64_t left,
                     void (*owned)(void *user, hf_ref block), void *user)
{
    const struct hf__set_page *page = page_of(seg, at, level);
    if (left == 0)
        return 0;
    owned(user, at);
    left--;
    for (unsigned i = 0; page != NULL && page->level != 0 && i < page->count && left > 0; i++)
        left = tell(seg, page->slot[i].ref, page->level - 1u, left, owned, user);
    return left;
}

void hf__set_blocks(const struct hf__index *index, void (*owned)(void *user, hf_ref block),
                    void *user)
{
    if (hf__index_root_of(index)->root != 0)
        (void)tell(index->seg, hf__index_root_of(index)->root, ANY_LEVEL, pages_max(index->seg),
                   owned, user);
}
