/* SPDX-License-Identifier: MIT */
/*
 * set.c - the default index: a tree of pages in the order of names
 *
 * A B+tree whose pages hold eight bytes of each name beside the ref: most comparisons read the page
 * and nothing else, and a find of a million names reads one entry, the one that is found. Pages are
 * 1024 bytes and come from the edit door; those of level 0 are linked, so prefix scans just go on.
 *
 *   root.root -> level 2   |     k    k |                   prefix ""
 *                            /    |    \
 *                level 1   |  k  k | ...                    prefix "obj/"
 *                            /
 *                level 0   | k k k k k | -next-> | k k k |  prefix "obj/00", key = the next 8 bytes
 *                            | | | | |
 *                            entries
 *
 * Invariants, besides I1..I3 of index.h:
 *   S1  pages of one level lie equally deep; the topmost has at least 2 slots, or is of level 0 and
 *       has 1; all others have at least 15
 *   S2  all names below a page begin with its prefix
 *   S3  a key of level 0 is that of its entry; one of another level (but in the first slot, where
 *       it is 0) sorts after none of those below the slot before and before none below its own
 *   S4  next leads to the following page of level 0
 *   S5  root.capacity, root.buckets, and links and name_hash of each entry are zero
 *
 * A key of an inner page is nobody's name: it stays while entries come and go, so erasing an entry
 * that is the first of its page touches no other page. Where keys are equal, the first entry below
 * the slot decides, and it is found by going down.
 *
 * set_down.c goes down, and remembers ways. Before a page is changed otherwise than by a slot that comes
 * into level 0 or goes from it, hf__set_changes lets it forget those over that page.
 *
 * On damage. Every page is looked at before it is used (page_of) and levels go down one by one, so
 * a descent ends. What an operation will change is looked at before the first edit, and once more
 * at it: on a damaged file a page may lie over another.
 */
#include "set_down.h"

#define SLOTS_MIN  HF__SET_SLOTS_MIN
#define SLOTS_JOIN 45u /* two pages become one if they have no more                               */
#define ROOT_COST  HF__EDIT_COST(sizeof(struct hf__index_root))

static int set_init(struct hf__index *index)
{
    (void)index;
    return 0;
}

static int set_find(const struct hf__index *index, const void *name, size_t size_bytes, hf_ref *out)
{
    struct path path;
    int error = hf__set_seek(index, name, size_bytes, &path);
    if (error != 0)
        return error;
    if (path.found == 0)
        return HF_ENOTFOUND;
    *out = path.found;
    return 0;
}

static int set_seek(const struct hf__index *index, const void *name, size_t size_bytes,
                    struct hf__index_place *place, hf_ref *out)
{
    struct path *path = (struct path *)place->opaque;
    int error = hf__set_seek(index, name, size_bytes, path);
    if (error != 0)
        return error;
    if (path->found == 0)
        return HF_ENOTFOUND;
    *out = path->found;
    return 0;
}

/* ---- small changes --------------------------------------------------------------------------- */

/* The page for writing to its slots [from, end), with `count` slots from now on. */
static struct hf__set_page *edit_slots(struct hf__segment *seg, hf_ref at, unsigned from,
                                       unsigned end, unsigned count)
{
    uint16_t *field = (uint16_t *)hf__edit(seg, at + offsetof(struct hf__set_page, count), 8);
    *field = (uint16_t)count;
    (void)hf__edit(seg,
                   at + offsetof(struct hf__set_page, slot) + from * sizeof(struct hf__set_slot),
                   (end - from) * sizeof(struct hf__set_slot));
    return (struct hf__set_page *)(seg->base + at);
}

static void add_slot(struct hf__segment *seg, hf_ref at, unsigned slot, struct hf__set_slot to)
{
    const unsigned count = page_at(seg, at)->count;
    assert(count < CAPACITY && slot <= count);
    struct hf__set_page *page = edit_slots(seg, at, slot, count + 1, count + 1);
    memmove(page->slot + slot + 1, page->slot + slot, (count - slot) * sizeof to);
    page->slot[slot] = to;
}

static void remove_slot(struct hf__segment *seg, hf_ref at, unsigned slot)
{
    const unsigned count = page_at(seg, at)->count;
    assert(count > 1 && slot < count);
    struct hf__set_page *page = edit_slots(seg, at, slot, count, count - 1);
    memmove(page->slot + slot, page->slot + slot + 1, (count - slot - 1) * sizeof page->slot[0]);
}

static void set_root(struct hf__index *index, hf_ref page)
{
    hf__index_edit_root(index)->root = page;
}

/* ---- insert ---------------------------------------------------------------------------------- */

/* Pages that an insertion will need: taken before anything changes. */
struct taken {
    hf_ref page[LEVELS_MAX + 1];
    unsigned count, used;
};

static void untake(struct hf__index *index, const struct taken *taken)
{
    for (unsigned i = 0; i < taken->count; i++)
        hf__index_untake(index, taken->page[i]);
}

/* One page for each that is full, from level 0 up, and one for a new root above them. */
static int take_pages(struct hf__index *index, const struct path *path, struct taken *taken)
{
    unsigned full = 0;
    while (full < path->levels && page_at(index->seg, path->step[full].page)->count == CAPACITY)
        full++;
    const unsigned needed = full + (full == path->levels);
    if (needed > 0 && full == LEVELS_MAX)
        return hf__fail(HF_EFULL, "the set index has no room for that many names");
    for (taken->count = taken->used = 0; taken->count < needed; taken->count++) {
        int error = hf__index_take(index, HF__SET_PAGE_SLOTS, &taken->page[taken->count]);
        if (error != 0) {
            untake(index, taken);
            return error;
        }
    }
    return 0;
}

/* Where a page too many is parted: in the middle, or where names arrive in their order (at the end
 * of the last page) so that the left one stays well filled. */
static unsigned part_at(const struct run *run, unsigned slot, bool is_last)
{
    return is_last && slot + 1 == run->count ? run->count - SLOTS_MIN : run->count / 2;
}

/* Writes a page anew with one slot more (if ref is not 0) and the prefix cut; a page that has too
 * many slots then is parted, and *ref is the new one to its right, else 0. */
static void rewrite(struct hf__index *index, const struct path *path, unsigned level,
                    struct taken *taken, struct hf__set_slot to, unsigned slot, hf_ref *ref)
{
    struct hf__segment *seg = index->seg;
    const hf_ref at = path->step[level].page;
    const struct hf__set_page *page = page_at(seg, at);
    const hf_ref next = page->next;
    struct run run;
    hf__set_changes(index, at);
    hf__set_run_load(&run, page);
    if (path->outside)
        hf__set_run_shorten(&run, path->shared);
    if (*ref != 0) {
        const hf_ref first = level == 0 ? *ref : hf__set_edge(seg, *ref, level - 1, false);
        to.key = key_of_node(seg, first, run.prefix_bytes);
        hf__set_run_add(&run, slot, to);
    }
    *ref = 0;
    if (run.count <= CAPACITY) {
        hf__set_run_store(seg, &run, 0, run.count, at, next);
        return;
    }
    if (taken->used == taken->count)
        return; /* a damaged page has changed under our hands */
    const unsigned middle = part_at(&run, slot, level != 0 || next == 0);
    *ref = taken->page[taken->used++];
    hf__set_run_store(seg, &run, middle, run.count, *ref, next);
    hf__set_run_store(seg, &run, 0, middle, at, level == 0 ? *ref : 0);
}

/* Puts the entry in its page, and goes up as long as pages are parted or prefixes must be cut. */
static void put(struct hf__index *index, const struct path *path, struct taken *taken, hf_ref node)
{
    struct hf__segment *seg = index->seg;
    hf_ref ref = node; /* what the page of this level is to lead to: a new slot */
    assert(path->levels <= LEVELS_MAX);
    for (unsigned level = 0; level < path->levels && level < LEVELS_MAX; level++) {
        const hf_ref at = path->step[level].page;
        const struct hf__set_page *page = page_of(seg, at, level);
        const unsigned slot = path->step[level].slot + (level != 0);
        if (page == NULL || slot > page->count)
            return; /* as above */
        const bool cut = path->outside && page->prefix_bytes > path->shared;
        struct hf__set_slot to = {.ref = ref};
        if (ref == 0 && !cut)
            continue;
        if (ref != 0) {
            const hf_ref first = level == 0 ? ref : hf__set_edge(seg, ref, level - 1, false);
            to.key = key_of_node(seg, first, page->prefix_bytes);
        }
        /* Equal keys in an inner page cost every descent: it gets a longer prefix if it can. */
        const bool equal = level != 0 && ref != 0 &&
                           ((slot > 1 && page->slot[slot - 1].key == to.key) ||
                            (slot < page->count && page->slot[slot].key == to.key));
        if (cut || equal || page->count == CAPACITY) {
            rewrite(index, path, level, taken, to, slot, &ref);
        } else {
            if (level != 0)
                hf__set_changes(index, at);
            add_slot(seg, at, slot, to);
            ref = 0;
        }
    }
    if (ref == 0 || taken->used == taken->count)
        return;
    struct run top = {.level = path->levels}; /* prefix "", which store makes longer */
    const hf_ref page = taken->page[taken->used++];
    if (path->levels != 0) {
        const hf_ref first = hf__set_edge(seg, ref, path->levels - 1, false);
        hf__set_run_add(&top, 0, (struct hf__set_slot){.ref = path->step[path->levels - 1].page});
        hf__set_run_add(&top, 1, (struct hf__set_slot){key_of_node(seg, first, 0), ref});
    } else {
        hf__set_run_add(&top, 0, (struct hf__set_slot){key_of_node(seg, ref, 0), ref});
    }
    hf__set_run_store(seg, &top, 0, top.count, page, 0);
    set_root(index, page);
}

static int insert_at(struct hf__index *index, const struct path *path, hf_ref node)
{
    struct hf__segment *seg = index->seg;
    struct taken taken;
    int error = take_pages(index, path, &taken);
    if (error != 0)
        return error;
    error = hf__reserve(seg, (2 * path->levels + 2) * PAGE_COST + 2 * ROOT_COST +
                                 HF__EDIT_COST(sizeof(struct hf__index_node)));
    if (error != 0) {
        untake(index, &taken);
        return error;
    }
    hf__index_clear_node(seg, node);
    put(index, path, &taken, node);
    hf__index_edit_root(index)->count++;
    return 0;
}

static int set_insert(struct hf__index *index, hf_ref node, const struct hf__index_place *place)
{
    struct hf__segment *seg = index->seg;
    struct path path;
    assert(hf__index_node_ok(seg, node) && hf__index_name_bytes(seg, node) > 0);
    if (place != NULL)
        return insert_at(index, (const struct path *)place->opaque, node);
    int error =
        hf__set_descend(index, hf__index_name_at(seg, node), hf__index_name_bytes(seg, node), &path);
    if (error == 0 && path.found != 0)
        error = hf__fail(HF_EEXIST, "the name is in the index already");
    return error == 0 ? insert_at(index, &path, node) : error;
}

/* ---- erase ----------------------------------------------------------------------------------- */

/* A page that gets too small and its neighbour below the same page. */
struct pair {
    hf_ref left, right;
    unsigned right_slot; /* which leads to the right one                                         */
    bool is_left;        /* the small page is                                                    */
};

/* The pair of the page of `level`. False if there is none, or no page is where one should be. */
static bool pair_of(const struct hf__segment *seg, const struct path *path, unsigned level,
                    struct pair *out)
{
    const struct step *above = &path->step[level + 1];
    const struct hf__set_page *parent = page_of(seg, above->page, level + 1);
    if (parent == NULL || parent->count < 2 || above->slot >= parent->count)
        return false;
    out->is_left = above->slot == 0;
    out->right_slot = above->slot + out->is_left;
    out->left = parent->slot[out->right_slot - 1].ref;
    out->right = parent->slot[out->right_slot].ref;
    return out->left != out->right && page_of(seg, out->left, level) != NULL &&
           page_of(seg, out->right, level) != NULL;
}

/* Does the page keep enough slots if it loses one? */
static bool may_lose(const struct path *path, unsigned level, const struct hf__set_page *page)
{
    if (level + 1 == path->levels)
        return page->count > (level == 0 ? 1 : 2);
    return page->count > SLOTS_MIN;
}

/* Looks at all pages that the removal of an entry will change. 0, HF_ECORRUPT. */
static int plan_removal(const struct hf__index *index, const struct path *path)
{
    const struct hf__segment *seg = index->seg;
    struct pair pair;
    for (unsigned level = 0; level + 1 < path->levels; level++) {
        if (may_lose(path, level, page_at(seg, path->step[level].page)))
            return 0;
        if (!pair_of(seg, path, level, &pair))
            return corrupt_page(index, path->step[level + 1].page);
        if (page_at(seg, pair.left)->count + page_at(seg, pair.right)->count - 1u > SLOTS_JOIN)
            return 0;
    }
    return 0;
}

/* Takes `slot` out of the page of `level` and evens it out with its neighbour. True if they became
 * one: then the slot in *slot is to go from the page above, and *freed from the file. */
static bool join_or_share(struct hf__index *index, const struct path *path, unsigned level,
                          unsigned *slot, hf_ref *freed)
{
    struct hf__segment *seg = index->seg;
    struct pair pair;
    struct run run;
    if (!pair_of(seg, path, level, &pair))
        return false;
    const hf_ref next = page_at(seg, pair.right)->next;
    hf__set_changes(index, pair.left);
    hf__set_changes(index, pair.right);
    hf__set_changes(index, path->step[level + 1].page);
    hf__set_run_load(&run, page_at(seg, pair.left));
    const unsigned gone = *slot + (pair.is_left ? 0 : run.count);
    hf__set_run_append(seg, &run, page_at(seg, pair.right));
    if (gone >= run.count)
        return false;
    hf__set_run_remove(&run, gone);
    if (run.count <= SLOTS_JOIN) {
        hf__set_run_store(seg, &run, 0, run.count, pair.left, next);
        *slot = pair.right_slot;
        *freed = pair.right;
        return true;
    }
    const unsigned half = run.count / 2;
    hf__set_run_store(seg, &run, half, run.count, pair.right, next);
    hf__set_run_store(seg, &run, 0, half, pair.left, level == 0 ? pair.right : 0);
    const hf_ref above = path->step[level + 1].page;
    const struct hf__set_page *parent = page_of(seg, above, level + 1);
    if (parent == NULL || pair.right_slot >= parent->count)
        return false;
    const uint64_t key =
        key_of_node(seg, hf__set_edge(seg, pair.right, level, false), parent->prefix_bytes);
    edit_slots(seg, above, pair.right_slot, pair.right_slot + 1, parent->count)
        ->slot[pair.right_slot]
        .key = key;
    return false;
}

/* Removes the entry at the end of the path; freed[] are the pages that are not used any more. */
static unsigned take_out(struct hf__index *index, const struct path *path, hf_ref *freed)
{
    struct hf__segment *seg = index->seg;
    unsigned slot = path->step[0].slot, count = 0;
    for (unsigned level = 0; level < path->levels; level++) {
        const hf_ref at = path->step[level].page;
        const struct hf__set_page *page = page_of(seg, at, level);
        if (page == NULL || slot >= page->count)
            return count; /* a damaged page has changed under our hands */
        if (level != 0 || !may_lose(path, level, page))
            hf__set_changes(index, at);
        if (may_lose(path, level, page)) {
            remove_slot(seg, at, slot);
            return count;
        }
        if (level + 1 == path->levels) { /* the last entry, or the last page but one */
            set_root(index, level == 0 ? 0 : page->slot[0].ref);
            freed[count++] = at;
            return count;
        }
        if (!join_or_share(index, path, level, &slot, &freed[count]))
            return count;
        count++;
    }
    return count;
}

static int erase_at(struct hf__index *index, const struct path *path)
{
    struct hf__segment *seg = index->seg;
    hf_ref freed[LEVELS_MAX];
    int error = plan_removal(index, path);
    if (error == 0)
        error = hf__reserve(seg, (3 * path->levels + 2) * PAGE_COST + 2 * ROOT_COST +
                                     path->levels * HF__OP_COST);
    if (error != 0)
        return error;
    const unsigned count = take_out(index, path, freed);
    hf__index_edit_root(index)->count--;
    /* A door that refuses a page has found it damaged; fsck picks it up. */
    for (unsigned i = 0; i < count; i++)
        hf__index_untake(index, freed[i]);
    return 0;
}

/* Whether the path still ends at the entry. */
static bool ends_at(const struct hf__index *index, const struct path *path, hf_ref node)
{
    const struct hf__set_page *page = page_of(index->seg, path->step[0].page, 0);
    return page != NULL && path->step[0].slot < page->count &&
           page->slot[path->step[0].slot].ref == node;
}

static int set_erase(struct hf__index *index, hf_ref node, const struct hf__index_place *place)
{
    struct hf__segment *seg = index->seg;
    struct path path;
    if (!hf__index_node_ok(seg, node) || hf__index_root_of(index)->count == 0)
        return hf__corrupt("index.links", node);
    if (place != NULL && ends_at(index, (const struct path *)place->opaque, node))
        return erase_at(index, (const struct path *)place->opaque);
    int error =
        hf__set_descend(index, hf__index_name_at(seg, node), hf__index_name_bytes(seg, node), &path);
    if (error == 0 && path.found != node)
        error = hf__corrupt("index.links", node);
    return error == 0 ? erase_at(index, &path) : error;
}

static int set_reserve(struct hf__index *index, uint64_t count)
{
    (void)index, (void)count;
    return 0;
}

static int set_shrink(struct hf__index *index)
{
    (void)index; /* pages are joined and given back as entries go */
    return 0;
}

/* ---- iteration ------------------------------------------------------------------------------- */

/* Positions the cursor before the first entry whose name doesn't sort before the prefix:
 * cursor->position is its page, cursor->started one more than its slot. 0, HF_ECORRUPT. */
static int start(const struct hf__index *index, struct hf__index_cursor *cursor, const void *prefix,
                 size_t prefix_bytes)
{
    struct path path;
    int error = hf__set_descend(index, prefix, prefix_bytes, &path);
    if (error != 0)
        return error;
    cursor->position = path.levels == 0 ? 0 : path.step[0].page;
    cursor->started = 1 + (path.levels == 0 ? 0 : path.step[0].slot);
    return 0;
}

/* Asks for what the scan will read in a while: the next page as soon as it comes to this one, and
 * entries, also those of the next page, four at once: each is in a page of memory of its own, and the
 * processor looks up several at the same time only if nothing lies in between. (A call that only
 * prefetches does nothing, gcc says, and drops it.) */
__attribute__((always_inline)) static inline void
fetch_ahead(const struct hf__segment *seg, const struct hf__set_page *page, unsigned slot)
{
    enum { AT_ONCE = 4, AHEAD = 8 };
    if (slot == 0)
        hf__set_fetch(seg, page->next);
    if (slot % AT_ONCE != 0)
        return;
    const struct hf__set_page *next =
        slot + AHEAD + AT_ONCE > page->count ? page_of(seg, page->next, 0) : NULL;
    for (unsigned i = slot + AHEAD; i < slot + AHEAD + AT_ONCE; i++) {
        if (i < page->count)
            hf__index_expect(seg, page->slot[i].ref);
        else if (next != NULL && i - page->count < next->count)
            hf__index_expect(seg, next->slot[i - page->count].ref);
    }
}

/* Whether b sorts after a; both are node_ok. */
static inline bool in_order(const struct hf__segment *seg, hf_ref a, hf_ref b)
{
    const size_t bytes = hf__index_name_bytes(seg, a);
    if (bytes != hf__index_name_bytes(seg, b) || bytes < 8 || bytes > 16)
        return hf__index_compare_nodes(seg, a, b) < 0;
    const char *x = hf__index_name_at(seg, a), *y = hf__index_name_at(seg, b);
    const uint64_t first = big_endian(x), other = big_endian(y);
    return first != other ? first < other : big_endian(x + bytes - 8) < big_endian(y + bytes - 8);
}

/* The entry at the cursor, or 0 at the end; the cursor moves behind it. 0, HF_ECORRUPT. */
static int step_on(const struct hf__index *index, struct hf__index_cursor *cursor, hf_ref *out)
{
    const struct hf__segment *seg = index->seg;
    *out = 0;
    if (cursor->position == 0)
        return 0;
    const struct hf__set_page *page = page_of(seg, cursor->position, 0);
    if (page != NULL && cursor->started > page->count) {
        cursor->position = page->next;
        cursor->started = 1;
        if (cursor->position == 0)
            return 0;
        page = page_of(seg, cursor->position, 0);
    }
    if (page == NULL)
        return hf__corrupt("index.links", cursor->position);
    *out = page->slot[cursor->started - 1].ref;
    fetch_ahead(seg, page, (unsigned)cursor->started - 1);
    if (!hf__index_node_ok(seg, *out))
        return hf__corrupt("index.links", cursor->position);
    cursor->started++;
    return 0;
}

static int set_next(const struct hf__index *index, struct hf__index_cursor *cursor,
                    const void *prefix, size_t prefix_bytes, hf_ref *out)
{
    const struct hf__segment *seg = index->seg;
    const uint64_t count = hf__index_root_of(index)->count;
    hf_ref node = 0;
    int error = 0;
    if (prefix == NULL) {
        prefix = "";
        prefix_bytes = 0;
    }
    if (cursor->started == 0)
        error = start(index, cursor, prefix, prefix_bytes);
    if (error == 0)
        error = step_on(index, cursor, &node);
    if (error != 0)
        return error;
    if (node == 0)
        return prefix_bytes == 0 && cursor->steps != count ? hf__corrupt("index.count", index->root)
                                                           : 0;
    if (cursor->node != 0 &&
        (!hf__index_node_ok(seg, cursor->node) || !in_order(seg, cursor->node, node)))
        return hf__corrupt("index.order", node);
    if (!hf__index_has_prefix(seg, node, prefix, prefix_bytes)) {
        cursor->position = 0;
        return 0;
    }
    if (cursor->steps >= count)
        return hf__corrupt("index.count", index->root);
    cursor->node = node;
    cursor->steps++;
    *out = node;
    return 1;
}

const struct hf__index_ops hf__index_set = {
    .kind = HF_INDEX_SET,
    .name = "set",
    .ordered = true,
    .remembers = true,
    .init = set_init,
    .find = set_find,
    .seek = set_seek,
    .expect = hf__set_expect,
    .insert = set_insert,
    .erase = set_erase,
    .reserve = set_reserve,
    .shrink = set_shrink,
    .next = set_next,
    .check = hf__set_check,
    .blocks = hf__set_blocks,
};
