/* SPDX-License-Identifier: MIT */
/*
 * model_compact.c - compaction against a model: random graphs are the same before and after
 *
 * A model in plain memory knows each object by a random number in its first bytes, and each pointer by
 * the object and the byte that it leads to. A store is filled from it - all kinds of pointers, cycles,
 * counted arrays, pointers into the middle and one past the end, objects of every kind and alignment,
 * blocks that may hold anything - some of it is destroyed, and the store compacted. Then everything is
 * found again through the public functions and compared. On every allocator, index and engine.
 */
#include "holdfast.h"
#include "tests/support/campaign.h"

#include <stddef.h>

enum { OBJECTS = 260, ELEMENTS = 3, KIDS = 5, LINKS = KIDS + 4, RAWS = 12, PATH_BYTES = 512 };

struct node {
    uint64_t id;
    hf_ref next;
    HF_PTR(void) other;
    uint16_t n;
    char label[6];
    hf_ref kids[KIDS];
    hf_ref any;
    HF_PTR(void) last;
};
#define NODE_FIELDS(F, T)                                                                          \
    F(T, id, HF_FIELD_U64, NULL)                                                                   \
    F(T, next, HF_FIELD_REF, &node_type)                                                           \
    F(T, other, HF_FIELD_PTR, NULL)                                                                \
    F(T, label, HF_FIELD_TEXT, NULL)                                                               \
    F(T, n, HF_FIELD_U16, NULL)                                                                    \
    F(T, kids, HF_FIELD_REF | HF_FIELD_COUNTED, NULL)                                              \
    F(T, any, HF_FIELD_REF, NULL)                                                                  \
    F(T, last, HF_FIELD_PTR, NULL)
HF_TYPE_DEFINE(node_type, "node", 1, struct node, NODE_FIELDS);

static const hf_type blob_types[] = {
    {"blob", 1, 1, 8, HF_TYPE_BLOB, NULL, 0},
    {"blob/64", 1, 64, 64, HF_TYPE_BLOB, NULL, 0},
    {"blob/4096", 1, 512, 4096, HF_TYPE_BLOB, NULL, 0},
    {"blob/65536", 1, 24, 65536, HF_TYPE_BLOB, NULL, 0},
};
enum { BLOB_TYPES = sizeof blob_types / sizeof *blob_types, PLAIN = BLOB_TYPES, NODE };

struct link {
    int to;         /* object, -1 = null                                                         */
    uint64_t delta; /* bytes into it                                                             */
};

struct object {
    bool alive, reached, pinned;
    int type; /* of blob_types, PLAIN or NODE                                                    */
    uint32_t kind;
    char name[40];
    uint64_t id, count, size_bytes;
    hf_ref ref; /* while the store was filled, and then where it was found                       */
    uint16_t n[ELEMENTS];
    struct link links[ELEMENTS][LINKS];
};

struct raw {
    bool alive;
    hf_ref ref;
    uint64_t words, seed;
    int leads_to; /* an object that its word 1 or 2 leads to, or -1                              */
    uint64_t delta;
    bool relative;
};

static struct campaign campaign;
static struct object objects[OBJECTS];
static struct raw raws[RAWS];
static struct rng rng;
static char path[PATH_BYTES];

#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            campaign_expect(&campaign, false, __VA_ARGS__);                                        \
            return false;                                                                          \
        }                                                                                          \
    } while (0)

/* ---- the model ------------------------------------------------------------------------------- */

static unsigned char byte_of(uint64_t id, uint64_t i)
{
    return (unsigned char)(mix64(id + i / 8) >> i % 8 * 8);
}

static void invent_object(struct object *o, int number, bool opaque)
{
    const uint64_t sizes = rng_below(&rng, 20);
    memset(o, 0, sizeof *o);
    o->alive = true;
    o->id = rng_next(&rng) | UINT64_C(1) << 63;
    o->type = rng_percent(&rng, 60)             ? NODE
              : opaque && rng_percent(&rng, 15) ? PLAIN
                                                : (int)rng_below(&rng, BLOB_TYPES);
    if (o->type == 3 && rng_percent(&rng, 80))
        o->type = 0;
    o->kind = rng_percent(&rng, 30) ? HF_KIND_NAMED : HF_KIND_ANONYMOUS;
    o->count = o->type == NODE ? 1 + rng_below(&rng, ELEMENTS)
               : o->type <= 0 || o->type == PLAIN
                   ? 8 + (sizes == 0 ? rng_below(&rng, 3u << 20) : rng_below(&rng, 600))
                   : 1 + rng_below(&rng, 5);
    o->size_bytes = o->count * (o->type == NODE    ? sizeof(struct node)
                                : o->type == PLAIN ? 1
                                                   : blob_types[o->type].size_bytes);
    snprintf(o->name, sizeof o->name, "%.*s/%d", (int)rng_below(&rng, 20), "directory/of/objects",
             number);
}

static void invent_links(struct object *o)
{
    for (uint64_t e = 0; e < o->count && o->type == NODE; e++) {
        o->n[e] = (uint16_t)rng_below(&rng, KIDS + 1);
        for (int i = 0; i < LINKS; i++) {
            struct link *link = &o->links[e][i];
            link->to = rng_percent(&rng, 25) ? -1 : (int)rng_below(&rng, OBJECTS);
            const uint64_t size = link->to < 0 ? 0 : objects[link->to].size_bytes;
            link->delta = rng_percent(&rng, 60)   ? 0
                          : rng_percent(&rng, 30) ? size
                                                  : rng_below(&rng, size);
        }
    }
}

/* Only those that are said to count are pointers. */
static bool link_counts(const struct object *o, uint64_t e, int i)
{
    return i >= KIDS || i < o->n[e];
}

static void reach(int number)
{
    static int queue[OBJECTS];
    int from = 0, to = 0;
    if (objects[number].reached)
        return;
    objects[number].reached = true;
    queue[to++] = number;
    while (from < to) {
        const struct object *o = &objects[queue[from++]];
        for (uint64_t e = 0; o->type == NODE && e < o->count; e++)
            for (int i = 0; i < LINKS; i++) {
                const int target = link_counts(o, e, i) ? o->links[e][i].to : -1;
                if (target >= 0 && !objects[target].reached) {
                    objects[target].reached = true;
                    queue[to++] = target;
                }
            }
    }
}

/* ---- filling a store -------------------------------------------------------------------------- */

static const hf_type *type_of(const struct object *o)
{
    return o->type == NODE ? &node_type : o->type == PLAIN ? NULL : &blob_types[o->type];
}

static bool make_object(hf_txn *txn, struct object *o)
{
    unsigned char *at = o->kind == HF_KIND_NAMED ? hf_construct(txn, o->name, type_of(o), o->count)
                                                 : hf_new(txn, type_of(o), o->count);
    EXPECT(at != NULL, "making an object: %s", hf_last_error()->message);
    o->ref = hf_ref_of(hf_txn_view(txn), at);
    if (o->type != NODE)
        for (uint64_t i = 0; i < o->size_bytes; i++)
            at[i] = i < 8 ? (unsigned char)(o->id >> i * 8) : byte_of(o->id, i);
    return true;
}

static void set_links(hf_txn *txn, struct object *o)
{
    unsigned char *base = (unsigned char *)(uintptr_t)hf_at(hf_txn_view(txn), o->ref) - o->ref;
    struct node *node = (struct node *)(base + o->ref);
    for (uint64_t e = 0; e < o->count; e++, node++) {
        node->id = e == 0 ? o->id : o->id ^ e;
        node->n = o->n[e];
        memcpy(node->label, "label", 6);
        for (int i = 0; i < LINKS; i++) {
            const struct link *link = &o->links[e][i];
            hf_ref to = link->to < 0 ? 0 : objects[link->to].ref + link->delta;
            void *address = to == 0 ? NULL : base + to;
            if (i < KIDS)
                node->kids[i] = link_counts(o, e, i) ? to : mix64(o->id + (uint64_t)i);
            else if (i == KIDS)
                node->next = to;
            else if (i == KIDS + 1)
                hf_ptr_set(&node->other, address);
            else if (i == KIDS + 2)
                node->any = to;
            else
                hf_ptr_set(&node->last, address);
        }
    }
}

/* A word is read as an hf_ref and as a self-relative pointer. Whether what it isn't meant for leads
 * somewhere, too: into something, or what comes behind. */
static bool leads_twice(const struct raw *raw, hf_ref to, uint64_t end_bytes)
{
    const hf_ref other = raw->relative ? to - (raw->ref + 16) : raw->ref + 8 + to;
    return other <= end_bytes + (64 << 10);
}

/* One past an object may be its neighbour's beginning, which then counts as reached, too: not where it
 * matters what exactly is. */
static bool make_raw(hf_store *store, hf_txn *txn, struct raw *raw, bool past)
{
    hf_store_info info;
    raw->alive = true;
    raw->words = 4 + rng_below(&rng, 400);
    raw->seed = rng_next(&rng);
    raw->leads_to = rng_percent(&rng, 30) ? -1 : (int)rng_below(&rng, OBJECTS);
    raw->relative = rng_percent(&rng, 50);
    raw->delta = raw->leads_to < 0 ? 0 : rng_below(&rng, objects[raw->leads_to].size_bytes + past);
    uint64_t *words = hf_alloc(txn, (size_t)raw->words * 8);
    EXPECT(words != NULL, "hf_alloc: %s", hf_last_error()->message);
    raw->ref = hf_ref_of(hf_txn_view(txn), words);
    EXPECT(hf_info(store, &info) == 0, "hf_info: %s", hf_last_error()->message);
    if (raw->leads_to >= 0 &&
        leads_twice(raw, objects[raw->leads_to].ref + raw->delta, info.used_end_bytes))
        raw->leads_to = -1;
    for (uint64_t i = 0; i < raw->words; i++)
        words[i] = mix64(raw->seed + i) | UINT64_C(1) << 62;
    if (raw->leads_to >= 0 && raw->relative)
        words[2] = objects[raw->leads_to].ref + raw->delta - (raw->ref + 16);
    else if (raw->leads_to >= 0)
        words[1] = objects[raw->leads_to].ref + raw->delta;
    return true;
}

/* Nobody may lead to what goes. */
static bool destroy(hf_txn *txn, int number)
{
    struct object *o = &objects[number];
    const int code = hf_destroy_ptr(txn, hf_at(hf_txn_view(txn), o->ref));
    EXPECT(code == 0, "destroying: %s", hf_last_error()->message);
    o->alive = false;
    for (int i = 0; i < OBJECTS; i++)
        for (int e = 0; e < ELEMENTS; e++)
            for (int l = 0; l < LINKS; l++)
                if (objects[i].links[e][l].to == number)
                    objects[i].links[e][l].to = -1;
    return true;
}

static bool fill(hf_store *store, bool opaque, bool past)
{
    hf_txn *txn;
    EXPECT(hf_begin(store, &txn) == 0, "hf_begin: %s", hf_last_error()->message);
    for (int i = 0; i < OBJECTS; i++) {
        invent_object(&objects[i], i, opaque);
        if (i == 0) { /* one that is unique */
            objects[i].kind = HF_KIND_UNIQUE;
            objects[i].type = 1;
            objects[i].size_bytes = 64 * objects[i].count;
            unsigned char *at = hf_construct_unique(txn, &blob_types[1], objects[i].count);
            EXPECT(at != NULL, "a unique object: %s", hf_last_error()->message);
            objects[i].ref = hf_ref_of(hf_txn_view(txn), at);
            for (uint64_t b = 0; b < objects[i].size_bytes; b++)
                at[b] = b < 8 ? (unsigned char)(objects[i].id >> b * 8) : byte_of(objects[i].id, b);
        } else if (!make_object(txn, &objects[i])) {
            return false;
        }
    }
    for (int i = 0; i < OBJECTS; i++)
        invent_links(&objects[i]);
    memset(raws, 0, sizeof raws);
    for (int i = 0; opaque && i < RAWS; i++)
        if (!make_raw(store, txn, &raws[i], past))
            return false;
    EXPECT(hf_commit(txn) == 0 && hf_begin(store, &txn) == 0, "%s", hf_last_error()->message);
    for (int i = 1; i < OBJECTS; i++) {
        bool held = false;
        for (int r = 0; r < RAWS; r++)
            held |= raws[r].alive && raws[r].leads_to == i;
        if (!held && rng_percent(&rng, 50) && !destroy(txn, i))
            return false;
    }
    for (int i = 0; i < OBJECTS; i++)
        if (objects[i].alive && objects[i].type == NODE) {
            hf_edit(txn, hf_at(hf_txn_view(txn), objects[i].ref), (size_t)objects[i].size_bytes);
            set_links(txn, &objects[i]);
        }
    EXPECT(hf_commit(txn) == 0, "%s", hf_last_error()->message);
    return true;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static struct object *by_id(uint64_t id)
{
    for (int i = 0; i < OBJECTS; i++)
        if (objects[i].id == id)
            return &objects[i];
    return NULL;
}

static bool same_node(hf_view *view, const struct object *o)
{
    const struct node *node = hf_at(view, o->ref);
    const unsigned char *base = (const unsigned char *)node - o->ref;
    for (uint64_t e = 0; e < o->count; e++, node++) {
        EXPECT(node->id == (e == 0 ? o->id : (o->id ^ e)) && node->n == o->n[e] &&
                   memcmp(node->label, "label", 6) == 0,
               "an element is another");
        const void *other = hf_ptr_get(&node->other), *last = hf_ptr_get(&node->last);
        for (int i = 0; i < LINKS; i++) {
            const struct link *link = &o->links[e][i];
            const hf_ref to = link->to < 0 ? 0 : objects[link->to].ref + link->delta;
            const hf_ref got =
                i < KIDS    ? node->kids[i]
                : i == KIDS ? node->next
                : i == KIDS + 1
                    ? (other == NULL ? 0 : (hf_ref)((const unsigned char *)other - base))
                : i == KIDS + 2 ? node->any
                                : (last == NULL ? 0 : (hf_ref)((const unsigned char *)last - base));
            const hf_ref want = link_counts(o, e, i) ? to : mix64(o->id + (uint64_t)i);
            EXPECT(got == want, "link %d leads to %llu, not %llu", i, (unsigned long long)got,
                   (unsigned long long)want);
        }
    }
    return true;
}

static bool same_bytes(const unsigned char *at, const struct object *o)
{
    for (uint64_t i = 0; i < o->size_bytes; i++)
        EXPECT(at[i] == (i < 8 ? (unsigned char)(o->id >> i * 8) : byte_of(o->id, i)),
               "byte %llu of %llu differs", (unsigned long long)i,
               (unsigned long long)o->size_bytes);
    return true;
}

/* Finds where each object lies now. */
static bool find_all(hf_view *view)
{
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    hf_ref old[OBJECTS];
    int more, found = 0, wanted = 0;
    for (int i = 0; i < OBJECTS; i++) {
        wanted += objects[i].alive;
        old[i] = objects[i].ref;
        objects[i].ref = 0;
    }
    while ((more = hf_next_object(view, &cursor, &info)) == 1) {
        uint64_t id;
        memcpy(&id, info.object, sizeof id);
        struct object *o = by_id(id);
        EXPECT(o != NULL && o->alive && o->ref == 0, "an object that shouldn't be there");
        o->ref = hf_ref_of(view, info.object);
        found++;
        EXPECT(info.kind == o->kind && info.count == o->count && info.size_bytes == o->size_bytes &&
                   strcmp(info.type_name, type_of(o) == NULL ? "" : type_of(o)->name) == 0,
               "an object of another kind, type or size");
        EXPECT(type_of(o) == NULL || type_of(o)->align_bytes == 0 ||
                   o->ref % type_of(o)->align_bytes == 0,
               "an object out of line");
        EXPECT((o->type != PLAIN && !o->pinned) || o->ref == old[o - objects],
               "what was pinned has moved");
        EXPECT(o->kind != HF_KIND_NAMED || hf_find(view, o->name, type_of(o), NULL) == info.object,
               "%s isn't found", o->name);
    }
    EXPECT(more == 0 && found == wanted, "%d of %d objects are there", found, wanted);
    EXPECT(hf_ref_of(view, hf_find_unique(view, &blob_types[1], NULL)) == objects[0].ref,
           "the unique one isn't found");
    return true;
}

static bool same_raws(hf_view *view)
{
    for (int r = 0; r < RAWS; r++) {
        const struct raw *raw = &raws[r];
        const uint64_t *words = raw->alive ? hf_at(view, raw->ref) : NULL;
        for (uint64_t i = 0; raw->alive && i < raw->words; i++) {
            const uint64_t to = raw->leads_to < 0 ? 0 : objects[raw->leads_to].ref + raw->delta;
            const uint64_t want = i == 2 && raw->leads_to >= 0 && raw->relative
                                      ? to - (raw->ref + 16)
                                  : i == 1 && raw->leads_to >= 0 && !raw->relative
                                      ? to
                                      : (mix64(raw->seed + i) | UINT64_C(1) << 62);
            EXPECT(words[i] == want, "word %llu of an opaque block", (unsigned long long)i);
        }
    }
    return true;
}

static bool same_store(void)
{
    hf_options options = HF_OPTIONS_INIT;
    options.mode = HF_READ_ONLY;
    hf_store *store;
    hf_view *view;
    EXPECT(hf_open(path, &options, &store) == 0 && hf_view_begin(store, &view) == 0, "opening: %s",
           hf_last_error()->message);
    bool same = find_all(view) && same_raws(view);
    for (int i = 0; same && i < OBJECTS; i++)
        if (objects[i].alive)
            same = objects[i].type == NODE ? same_node(view, &objects[i])
                                           : same_bytes(hf_at(view, objects[i].ref), &objects[i]);
    hf_view_end(view);
    hf_close(store);
    return same;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

/* It must not only look right: a transaction, and a second compaction that finds nothing to do. */
static bool goes_on(const hf_compact_report *first)
{
    hf_check_report checked;
    hf_compact_report again;
    hf_compact_options options = HF_COMPACT_OPTIONS_INIT;
    options.report = &again;
    hf_check_options structures = HF_CHECK_OPTIONS_INIT;
    structures.flags = HF_CHECK_NO_POINTERS; /* they are drawn: some lead to what they shouldn't */
    EXPECT(hf_check_file(path, &structures, &checked) == 0 && checked.pages_compared != 0, "check: %s",
           hf_last_error()->message);
    EXPECT(hf_compact(path, &options) == 0, "again: %s", hf_last_error()->message);
    EXPECT(again.commit == first->commit + 1 && again.dropped == 0 && again.dangling == 0 &&
               again.size_after_bytes <= first->size_after_bytes + 65536,
           "again: %llu bytes, then %llu", (unsigned long long)first->size_after_bytes,
           (unsigned long long)again.size_after_bytes);
    return same_store();
}

static bool run(uint32_t allocator, uint32_t index, uint32_t engine, bool opaque, bool drop)
{
    hf_options options = HF_OPTIONS_INIT;
    options.mode = HF_CREATE_NEW;
    options.allocator = allocator;
    options.index = index;
    options.engine = engine;
    options.size_max_bytes = UINT64_C(1) << 30;
    hf_store *store;
    unlink(path);
    EXPECT(hf_open(path, &options, &store) == 0, "creating: %s", hf_last_error()->message);
    const bool filled = fill(store, opaque, !drop);
    EXPECT(hf_close(store) == 0 && filled, "filling: %s", hf_last_error()->message);

    uint64_t unreachable = 0;
    for (int i = 0; i < OBJECTS; i++)
        if (objects[i].alive && objects[i].kind != HF_KIND_ANONYMOUS)
            reach(i);
    for (int r = 0; r < RAWS; r++)
        if (raws[r].alive && raws[r].leads_to >= 0) {
            objects[raws[r].leads_to].pinned = true;
            reach(raws[r].leads_to);
        }
    for (int i = 0; i < OBJECTS; i++)
        unreachable += objects[i].alive && !objects[i].reached;
    for (int i = 0; drop && i < OBJECTS; i++)
        objects[i].alive = objects[i].alive && objects[i].reached;

    hf_compact_report dry, report;
    hf_compact_options compact = HF_COMPACT_OPTIONS_INIT;
    compact.flags = HF_COMPACT_DRY_RUN | (drop ? HF_COMPACT_DROP_UNREACHABLE : 0);
    compact.report = &dry;
    EXPECT(hf_compact(path, &compact) == 0, "dry run: %s", hf_last_error()->message);
    compact.flags &= ~(uint32_t)HF_COMPACT_DRY_RUN;
    compact.report = &report;
    EXPECT(hf_compact(path, &compact) == 0, "compacting: %s", hf_last_error()->message);
    dry.time_ns = report.time_ns;
    EXPECT(memcmp(&dry, &report, sizeof dry) == 0, "a dry run says something else");
    EXPECT((report.unreachable == unreachable ||
            (opaque && !drop && report.unreachable < unreachable)) &&
               report.dropped == (drop ? unreachable : 0) && report.dangling == 0,
           "%llu unreachable, found %llu", (unsigned long long)unreachable,
           (unsigned long long)report.unreachable);
    struct stat st;
    EXPECT(stat(path, &st) == 0 && (uint64_t)st.st_size == report.size_after_bytes, "its size");
    EXPECT(opaque || (report.pinned_opaque == 0 && report.pinned_referred == 0), "pins");
    return same_store() && goes_on(&report);
}

int main(void)
{
    static const uint32_t allocators[] = {HF_ALLOC_SLAB, HF_ALLOC_BEST_FIT, HF_ALLOC_SEQ_FIT};
    static const uint32_t indexes[] = {HF_INDEX_SET, HF_INDEX_HASH, HF_INDEX_FLAT};
    static const uint32_t engines[] = {HF_ENGINE_LOG, HF_ENGINE_DIRECT};
    char directory[PATH_BYTES - 16];
    campaign_start(&campaign, "model_compact");
    if (!campaign_directory(NULL, directory, sizeof directory))
        return 2;
    snprintf(path, sizeof path, "%s/s.hf", directory);
    const uint64_t rounds = campaign_count(&campaign, 1);
    for (uint64_t round = 0; round < rounds; round++)
        for (int i = 0; i < 3 * 3 * 2 * 4; i++) {
            rng.state = campaign.seed + round * 1000 + (uint64_t)i;
            const int engine = i / 9 % 2, opaque = i / 18 % 2, drop = i / 36;
            if (run(allocators[i % 3], indexes[i / 3 % 3], engines[engine], opaque, drop))
                campaign_expect(&campaign, true, "%s", "");
            else
                fprintf(stderr, "  round %llu, allocator %d, index %d, engine %d%s%s\n",
                        (unsigned long long)round, i % 3, i / 3 % 3, engine,
                        opaque ? ", opaque" : "", drop ? ", drop" : "");
        }
    unlink(path);
    rmdir(directory);
    return campaign_end(&campaign);
}
