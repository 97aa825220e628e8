/* SPDX-License-Identifier: MIT */
/*
 * set_down.c - going down the set's tree: at once, in steps, or not at all
 *
 * A lookup waits for memory twice, for the page of level 0 and for the entry, and each wait is as
 * long as some hundred instructions. Who is told of names before they are looked for (hf_expect) goes
 * down for several at once: each call takes the ways of three names on, from pages that calls before it
 * have asked for.
 *
 *   call n:  name n                            is kept
 *            name n - 10  topmost .. level 2   asks for the page of level 1
 *            name n - 12  level 1              asks for that of level 0
 *            name n - 14  level 0              asks for the entry, if the key is there
 *            name n - 16  is looked for
 *
 * The lookup that comes then goes on where the way has got to: at best it searches a page of level 0
 * that has come, and compares the name with an entry that has come. What was asked for is not sought
 * twice but in that page, in which slots may have moved meanwhile.
 *
 * A transaction keeps the last way as well: names that come in their order belong into the same page
 * most of the time, which its first and last key tell.
 *
 * Ways are kept in the caller's struct hf__index_ahead, in process memory, as long as that says:
 *
 *   D1  nobody but who passes the same ahead changes the index; others make it forget
 *   D2  no page of a way was changed since, but for slots of a page of level 0 that came or went:
 *       whoever is about to do so calls hf__set_changes, and ways over that page are dropped
 *
 * So a way is as good as one that is gone now. On a damaged file it is as bad: pages are looked at
 * before they are used, here as there.
 */
#include "set_down.h"

/* ---- one page -------------------------------------------------------------------------------- */

/* Whether the name has the prefix, of which it is known to share so many bytes: by words, for the usual
 * lengths; false also if that can't tell. */
static inline bool has_prefix(const struct hf__set_page *page, const unsigned char *name,
                              size_t size_bytes, unsigned known)
{
    const size_t bytes = page->prefix_bytes;
    uint64_t of_name, of_prefix;
    if (size_bytes < bytes || size_bytes < 8 || bytes > known + 8u || bytes == 0)
        return false;
    const size_t from = bytes > 8 ? bytes - 8 : 0;
    memcpy(&of_name, name + from, 8);
    memcpy(&of_prefix, page->prefix + from, 8);
    return (bytes < 8 ? (of_name ^ of_prefix) << (64 - 8 * bytes) : of_name ^ of_prefix) == 0;
}

/* Compares the name with a prefix beyond the bytes it is known to share; *known is how many it does
 * then. <0, 0, >0: all names with the prefix sort after it, may be it, sort before it. */
static inline int compare_prefix(const struct hf__set_page *page, const unsigned char *name,
                                 size_t size_bytes, unsigned *known)
{
    if (has_prefix(page, name, size_bytes, *known)) {
        *known = page->prefix_bytes;
        return 0;
    }
    while (*known < page->prefix_bytes) {
        if (*known >= size_bytes)
            return -1;
        if (name[*known] != page->prefix[*known])
            return name[*known] < page->prefix[*known] ? -1 : 1;
        ++*known;
    }
    return 0;
}

/* Among slots [low, high), which have the name's key: the first whose (first) entry doesn't sort
 * before the name (after: sorts after it), in *out. 0, HF_ECORRUPT. */
__attribute__((noinline)) static int search_equal(const struct hf__index *index, hf_ref at,
                                                  unsigned low, unsigned high, bool after,
                                                  const void *name, size_t size_bytes,
                                                  unsigned *out)
{
    const struct hf__segment *seg = index->seg;
    const struct hf__set_page *page = page_at(seg, at);
    while (low < high) {
        const unsigned middle = low + (high - low) / 2;
        const hf_ref ref = page->slot[middle].ref;
        const hf_ref node =
            page->level == 0 ? ref : hf__set_edge(seg, ref, page->level - 1u, false);
        if (!hf__index_node_ok(seg, node))
            return corrupt_page(index, at);
        int order = hf__index_compare_name(seg, name, size_bytes, node);
        if (order > 0 || (after && order == 0))
            low = middle + 1;
        else
            high = middle;
    }
    *out = low;
    return 0;
}

static inline unsigned equal_end(const struct hf__set_page *page, unsigned from, uint64_t key)
{
    while (from < page->count && page->slot[from].key == key)
        from++;
    return from;
}

/* Which slot of an inner page leads on. 0, HF_ECORRUPT. */
static inline int choose(const struct hf__index *index, hf_ref at, const void *name,
                         size_t size_bytes, unsigned *out)
{
    const struct hf__set_page *page = page_at(index->seg, at);
    const uint64_t key = key_of(name, size_bytes, page->prefix_bytes);
    unsigned first = slots_below(page, key);
    first += first == 0; /* the first slot is not below the name, that we know */
    const unsigned end = equal_end(page, first, key);
    int error = 0;
    if (first != end)
        error = search_equal(index, at, first, end, true, name, size_bytes, &first);
    *out = first - 1;
    return error;
}

/* Where the name is in a page of level 0, or belongs. 0, HF_ECORRUPT. */
static inline int place(const struct hf__index *index, hf_ref at, const void *name,
                        size_t size_bytes, struct path *path)
{
    const struct hf__segment *seg = index->seg;
    const struct hf__set_page *page = page_at(seg, at);
    const uint64_t key = key_of(name, size_bytes, page->prefix_bytes);
    unsigned *slot = &path->step[0].slot;
    *slot = slots_below(page, key);
    const unsigned end = equal_end(page, *slot, key);
    if (*slot == end)
        return 0;
    if (end - *slot > 1) {
        int error = search_equal(index, at, *slot, end, false, name, size_bytes, slot);
        if (error != 0 || *slot == end)
            return error;
    }
    const hf_ref node = page->slot[*slot].ref;
    hf__prefetch(seg, node + HF__LINE_BYTES);
    hf__prefetch(seg, node + 2 * HF__LINE_BYTES);
    if (!hf__index_node_ok(seg, node))
        return corrupt_page(index, at);
    if (hf__index_name_bytes(seg, node) == size_bytes &&
        hf__index_same_bytes(name, hf__index_name_at(seg, node), size_bytes))
        path->found = node;
    else
        *slot += hf__index_compare_name(seg, name, size_bytes, node) > 0;
    return 0;
}

/* ---- down ------------------------------------------------------------------------------------ */

/* How far a way has got: the page that is next. */
struct front {
    hf_ref at;
    unsigned level;  /* of that page: ANY_LEVEL for the topmost, before it was looked at        */
    int side;        /* <0: everything here sorts after the name, >0: before                    */
    unsigned shared; /* the name has these bytes in common with the prefixes so far             */
};

static inline struct front begin_path(const struct hf__index *index, struct path *path)
{
    path->levels = path->shared = 0;
    path->found = 0;
    path->outside = false;
    return (struct front){.at = hf__index_root_of(index)->root, .level = ANY_LEVEL};
}

/* The next page, or NULL; whether the name can be below it is known then. (As a call of its own it made
 * a lookup 15% slower: it is what each load waits for.) */
__attribute__((always_inline)) static inline const struct hf__set_page *
next_page(const struct hf__index *index, struct front *front, const void *name, size_t size_bytes)
{
    const struct hf__set_page *page = page_of(index->seg, front->at, front->level);
    if (page != NULL && front->side == 0 && page->prefix_bytes > front->shared)
        front->side =
            compare_prefix(page, (const unsigned char *)name, size_bytes, &front->shared);
    return page;
}

/* Where the page leads on: it is that of an upper level. 0, HF_ECORRUPT. */
__attribute__((always_inline)) static inline int
step_down(const struct hf__index *index, const void *name, size_t size_bytes, struct front *front,
          const struct hf__set_page *page, struct path *path)
{
    struct step *step = &path->step[front->level];
    step->page = front->at;
    step->slot = front->side < 0 ? 0 : page->count - 1u;
    int error =
        front->side == 0 ? choose(index, front->at, name, size_bytes, &step->slot) : 0;
    front->at = page->slot[step->slot].ref;
    front->level--;
    return error;
}

/* Goes on to the page of that level, or to that of level 0 if there are no more; each page is asked for
 * as soon as it is known, if `asks`. 0, HF_ECORRUPT. */
__attribute__((always_inline)) static inline int
go_down(const struct hf__index *index, const void *name, size_t size_bytes, struct front *front,
        unsigned until, bool asks, struct path *path)
{
    while (front->level > until) {
        const struct hf__set_page *page = next_page(index, front, name, size_bytes);
        if (page == NULL)
            return corrupt_page(
                index, front->level + 1 < path->levels ? path->step[front->level + 1].page : 0);
        if (front->level == ANY_LEVEL) {
            front->level = page->level;
            path->levels = front->level + 1;
            if (front->level == 0)
                return 0;
        }
        int error = step_down(index, name, size_bytes, front, page, path);
        if (error != 0)
            return error;
        if (asks)
            hf__set_fetch(index->seg, front->at);
    }
    return 0;
}

/* Goes on to the name. 0, HF_ECORRUPT. */
__attribute__((always_inline)) static inline int
finish(const struct hf__index *index, const void *name, size_t size_bytes, struct front front,
       struct path *path)
{
    int error = go_down(index, name, size_bytes, &front, 0, true, path);
    if (error != 0)
        return error;
    const struct hf__set_page *page = next_page(index, &front, name, size_bytes);
    if (page == NULL)
        return corrupt_page(index, path->levels > 1 ? path->step[1].page : 0);
    path->step[0] = (struct step){.page = front.at};
    path->shared = front.shared;
    path->outside = front.side != 0;
    if (front.side == 0)
        return place(index, front.at, name, size_bytes, path);
    if (front.side > 0)
        path->step[0].slot = page->count;
    return 0;
}

int hf__set_descend(const struct hf__index *index, const void *name, size_t size_bytes,
                    struct path *path)
{
    const struct front front = begin_path(index, path);
    return front.at == 0 ? 0 : finish(index, name, size_bytes, front, path);
}

/* ---- ways that are kept ---------------------------------------------------------------------- */

#define AHEAD          HF__INDEX_NAMES_AHEAD
#define WAYS           (AHEAD + 4) /* the name that comes now is kept beside those that are ahead */
#define WAY_NAME_BYTES 48u /* of longer names none is kept */

struct way {
    struct front front; /* at is 0: not begun                                                   */
    size_t name_bytes;
    unsigned char name[WAY_NAME_BYTES];
    struct path path;
};

struct ways {
    uint64_t tag[WAYS]; /* tells most names apart; 0: no way is kept here                       */
    unsigned next;      /* the one that will be looked for next, most likely                    */
    hf_ref last;        /* the page of level 0 to which the last name went                      */
    struct path near;   /* the way there, if the one before went there, too; else levels is 0   */
    struct way way[WAYS];
} __attribute__((may_alias));

_Static_assert(sizeof(struct ways) <= sizeof(((struct hf__index_ahead *)0)->opaque), "ways");

static struct ways *ways_in(struct hf__index_ahead *ahead)
{
    struct ways *ways = (struct ways *)ahead->opaque;
    if (ahead->kept != 0)
        return ways;
    memset(ways->tag, 0, sizeof ways->tag);
    ways->next = 0;
    ways->last = 0;
    ways->near.levels = 0;
    ahead->kept = 1;
    return ways;
}

static inline uint64_t tag_of(const void *name, size_t size_bytes)
{
    const unsigned char *end = (const unsigned char *)name + size_bytes;
    uint64_t last = 0;
    memcpy(&last, size_bytes >= 8 ? end - 8 : end - size_bytes, size_bytes >= 8 ? 8 : size_bytes);
    return last ^ (uint64_t)size_bytes << 56;
}

static bool has_page(const struct path *path, unsigned from, hf_ref page)
{
    for (unsigned level = from; level < path->levels; level++) {
        if (path->step[level].page == page)
            return true;
    }
    return false;
}

void hf__set_changes(const struct hf__index *index, hf_ref page)
{
    if (index->ahead == NULL || index->ahead->kept == 0)
        return;
    struct ways *ways = (struct ways *)index->ahead->opaque;
    for (unsigned i = 0; i < WAYS; i++) {
        const struct way *way = &ways->way[i];
        if (ways->tag[i] != 0 &&
            (way->front.at == page || has_page(&way->path, way->front.level + 1, page)))
            ways->tag[i] = 0;
    }
    if (has_page(&ways->near, 0, page))
        ways->near.levels = 0;
}

/* The way of that name, or NULL. */
static const struct way *way_to(struct ways *ways, const void *name, size_t size_bytes)
{
    const uint64_t tag = tag_of(name, size_bytes);
    if (size_bytes > WAY_NAME_BYTES || tag == 0)
        return NULL;
    for (unsigned k = 0; k < WAYS; k++) {
        const unsigned i = (ways->next + k) % WAYS;
        const struct way *way = &ways->way[i];
        if (ways->tag[i] == tag && way->name_bytes == size_bytes &&
            hf__index_same_bytes(way->name, name, size_bytes)) {
            ways->next = (i + 1) % WAYS;
            return way->front.at != 0 ? way : NULL;
        }
    }
    return NULL;
}

static void copy_path(struct path *to, const struct path *from)
{
    to->levels = from->levels;
    to->shared = from->shared;
    to->found = 0;
    to->outside = false;
    for (unsigned level = 0; level < from->levels; level++)
        to->step[level] = from->step[level];
}

/* Whether the name belongs into the page where the last one went, so far as keys tell. */
static bool is_near(const struct hf__segment *seg, const struct ways *ways, const void *name,
                    size_t size_bytes)
{
    if (ways->near.levels == 0)
        return false;
    const struct hf__set_page *page = page_of(seg, ways->near.step[0].page, 0);
    unsigned known = 0;
    if (page == NULL ||
        compare_prefix(page, (const unsigned char *)name, size_bytes, &known) != 0)
        return false;
    const uint64_t key = key_of(name, size_bytes, page->prefix_bytes);
    return page->slot[0].key < key &&
           (page->next == 0 || key < page->slot[page->count - 1u].key);
}

int hf__set_seek(const struct hf__index *index, const void *name, size_t size_bytes,
                 struct path *path)
{
    if (index->ahead == NULL)
        return hf__set_descend(index, name, size_bytes, path);
    struct ways *ways = ways_in(index->ahead);
    struct front front;
    const struct way *way;
    if (is_near(index->seg, ways, name, size_bytes)) {
        copy_path(path, &ways->near);
        front = (struct front){.at = path->step[0].page, .shared = HF__SET_PREFIX_MAX};
        return finish(index, name, size_bytes, front, path);
    }
    if (index->ahead->count != 0 && (way = way_to(ways, name, size_bytes)) != NULL) {
        copy_path(path, &way->path);
        front = way->front;
    } else {
        front = begin_path(index, path);
        if (front.at == 0)
            return 0;
    }
    int error = finish(index, name, size_bytes, front, path);
    if (error != 0)
        return error;
    if (ways->last == path->step[0].page)
        copy_path(&ways->near, path);
    else
        ways->near.levels = 0;
    ways->last = path->step[0].page;
    return 0;
}

/* Begins the way of a name: down to the page of level 1, which it asks for. Those above are so few that
 * they are in the cache. */
static void begin_way(const struct hf__index *index, struct ways *ways, unsigned i)
{
    struct way *way = &ways->way[i];
    if (ways->tag[i] == 0 || ways->near.levels != 0) /* names come in their order: no need */
        return;
    way->front = begin_path(index, &way->path);
    if (way->front.at == 0 ||
        go_down(index, way->name, way->name_bytes, &way->front, 1, false, &way->path) != 0) {
        ways->tag[i] = 0; /* the lookup will tell */
        return;
    }
    hf__set_fetch(index->seg, way->front.at);
}

/* The page of level 1 has come: asks for that of level 0. */
static void ask_for_page(const struct hf__index *index, struct ways *ways, unsigned i)
{
    struct way *way = &ways->way[i];
    struct front front = way->front;
    if (ways->tag[i] == 0 || front.at == 0 || front.level == 0)
        return;
    if (go_down(index, way->name, way->name_bytes, &front, 0, true, &way->path) != 0)
        ways->tag[i] = 0;
    way->front = front;
}

/* The page of level 0 has come: asks for the entry, if its key is there. The entry, or 0. */
static hf_ref ask_for_entry(const struct hf__index *index, const struct ways *ways, unsigned i)
{
    const struct hf__segment *seg = index->seg;
    const struct way *way = &ways->way[i];
    struct front front = way->front;
    if (ways->tag[i] == 0 || front.at == 0 || front.level != 0)
        return 0;
    const struct hf__set_page *page = next_page(index, &front, way->name, way->name_bytes);
    if (page == NULL || front.side != 0)
        return 0;
    const uint64_t key = key_of(way->name, way->name_bytes, page->prefix_bytes);
    const unsigned slot = slots_below(page, key);
    if (slot == page->count || page->slot[slot].key != key)
        return 0;
    const hf_ref node = page->slot[slot].ref;
    hf__index_expect(seg, node);
    hf__prefetch(seg, node + 2 * HF__LINE_BYTES);
    return node;
}

/* Keeps the name in place i, without a way as yet. */
static void keep_name(struct ways *ways, unsigned i, const void *name, size_t size_bytes)
{
    struct way *way = &ways->way[i];
    ways->tag[i] = 0;
    if (size_bytes > WAY_NAME_BYTES)
        return;
    way->front.at = 0;
    way->path.levels = 0;
    way->name_bytes = size_bytes;
    memcpy(way->name, name, size_bytes);
    ways->tag[i] = tag_of(name, size_bytes);
}

hf_ref hf__set_expect(const struct hf__index *index, struct hf__index_ahead *ahead,
                      const void *name, size_t size_bytes)
{
    struct ways *ways = ways_in(ahead);
    const unsigned i = (unsigned)(ahead->count++ % WAYS);
    keep_name(ways, i, name, size_bytes);
    /* Two calls apart is enough, and the less has changed meanwhile. */
    begin_way(index, ways, (i + WAYS - (AHEAD - 6)) % WAYS);
    ask_for_page(index, ways, (i + WAYS - (AHEAD - 4)) % WAYS);
    return ask_for_entry(index, ways, (i + WAYS - (AHEAD - 2)) % WAYS);
}
