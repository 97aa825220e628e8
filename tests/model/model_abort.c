/* SPDX-License-Identifier: MIT */
/*
 * model_abort.c - random transactions against a model of names and bytes, and against the segment
 *
 * Each episode makes a store (every backing x allocator x index in turn) and runs transactions of
 * random operations on it: objects of all kinds, raw memory in all ways, edits at random ranges,
 * index upkeep, new types, wrong calls, nested savepoints and rollbacks. It keeps two truths:
 *
 *   the image   the segment's bytes, copied before the transaction and at each savepoint. After an
 *               abort or a rollback every byte must be as in the image, but the payload of blocks
 *               that were free in it (their first bytes, the free set's node, must be equal too).
 *   the model   what objects and raw blocks there are and their bytes. It is compared with what the
 *               public functions say after commits and rollbacks.
 *
 * Of the code it knows alloc/block_format.h alone; where the heap's root lies it finds by looking
 * for the figures that hf_info reports.
 *
 * Invariants of the test:
 *   T1  model.items[i].ref is where the item lies; no two items share a name or a unique type name
 *   T2  items whose born is the present serial were made since the innermost savepoint, and only
 *       those are written without an announcement
 *   T3  marks[i] holds model and image of the moment of that savepoint
 */
#include "holdfast.h"
#include "alloc/block_format.h"
#include "tests/support/campaign.h"

enum item_kind { ITEM_NAMED, ITEM_UNIQUE, ITEM_ANONYMOUS, ITEM_RAW };
enum backing { BACKING_BUFFER, BACKING_HEAP, BACKING_FILE, BACKING_PRIVATE, BACKING_COUNT };

#define ITEMS_MAX    160
#define MARKS_MAX    6
#define NAMES        90
#define TYPE_NAMES   10
#define BUFFER_BYTES ((size_t)1 << 20)

struct item {
    enum item_kind kind;
    uint32_t name;  /* number in the pool of names */
    uint32_t type;  /* number that type_make describes; not for raw */
    uint64_t count; /* elements */
    uint64_t size_bytes;
    hf_ref ref;
    uint64_t born;
    unsigned char *bytes;
};

struct model {
    struct item items[ITEMS_MAX];
    size_t count;
};

struct image {
    unsigned char *bytes;
    uint64_t used_end, capacity;
};

struct mark {
    hf_mark mark;
    struct model model;
    struct image image;
    bool poisoned;
};

struct episode {
    struct campaign *campaign;
    struct rng rng;
    enum backing backing;
    uint32_t engine, allocator, index; /* engine: of the files */
    char path[512], tag[160];
    unsigned char *buffer;
    hf_store *store;
    hf_txn *txn;
    hf_ref anchor; /* a raw block that is always there */
    uint64_t root; /* offset of the heap's root in the segment */
    struct model model;
    struct mark marks[MARKS_MAX];
    size_t marks_count;
    uint64_t serial; /* of the innermost savepoint */
    uint64_t serial_last;
    uint32_t types_used;
    bool poisoned; /* a wrong hf_free was made */
    uint64_t operations, transactions, commits, aborts, rollbacks, refusals, checks;
};

static const char *const backing_names[] = {"buffer", "heap", "file", "copy-on-write"};
static const char *const allocator_names[] = {"?", "best_fit", "seq_fit", "slab"};
static const char *const index_names[] = {"set", "hash", "flat", "null"};

/* ---- the model ------------------------------------------------------------------------------- */

static void model_clear(struct model *model)
{
    for (size_t i = 0; i < model->count; i++)
        free(model->items[i].bytes);
    model->count = 0;
}

static void model_copy(struct model *to, const struct model *from)
{
    model_clear(to);
    for (size_t i = 0; i < from->count; i++) {
        to->items[i] = from->items[i];
        to->items[i].bytes = must_alloc(from->items[i].size_bytes);
        memcpy(to->items[i].bytes, from->items[i].bytes, from->items[i].size_bytes);
    }
    to->count = from->count;
}

static void model_remove(struct model *model, size_t i)
{
    free(model->items[i].bytes);
    model->items[i] = model->items[--model->count];
}

static struct item *model_find(struct model *model, enum item_kind kind, uint32_t name)
{
    for (size_t i = 0; i < model->count; i++)
        if (model->items[i].kind == kind && model->items[i].name == name)
            return &model->items[i];
    return NULL;
}

static uint64_t model_count(const struct model *model, enum item_kind kind)
{
    uint64_t count = 0;
    for (size_t i = 0; i < model->count; i++)
        count += model->items[i].kind == kind;
    return count;
}

/* A random item of a kind; SIZE_MAX if there is none. */
static size_t model_pick(struct episode *e, unsigned kinds)
{
    for (int tries = 0; tries < 12 && e->model.count != 0; tries++) {
        size_t i = (size_t)rng_below(&e->rng, e->model.count);
        if ((kinds >> e->model.items[i].kind & 1) != 0)
            return i;
    }
    return SIZE_MAX;
}

#define KINDS_ALL    15u
#define KINDS_OBJECT 7u
#define KINDS_RAW    (1u << ITEM_RAW)

/* ---- names and types, each from a number ----------------------------------------------------- */

static void name_make(char *out, size_t out_bytes, uint32_t number)
{
    /* Long names, and names that are prefixes of others, belong in. */
    if (number % 13 == 5) {
        size_t length = 200 + number * 7 % 400;
        memset(out, 'a' + (int)(number % 26), length);
        out[length] = '\0';
    } else {
        snprintf(out, out_bytes,
                 number % 3 == 0   ? "n/%u"
                 : number % 3 == 1 ? "object-%u"
                                   : "%u",
                 number / (number % 5 + 1) * 100 + number % 7 + number * 1000);
    }
}

struct made_type {
    char name[32];
    hf_field fields[2];
    hf_type type;
};

static const hf_type *type_make(struct made_type *out, uint32_t number)
{
    static const uint32_t sizes[] = {1, 4, 8, 12, 24, 40, 100, 256};
    static const uint32_t aligns[] = {1, 4, 8, 16, 64, 0, 512, 2};
    uint64_t random = mix64(number);
    *out = (struct made_type){.type = {.version = 1 + number / TYPE_NAMES}};
    snprintf(out->name, sizeof out->name, "type/%u", number % TYPE_NAMES);
    out->type.name = out->name;
    out->type.size_bytes = sizes[random % 8];
    out->type.align_bytes = aligns[random / 8 % 8];
    out->type.flags = random / 64 % 4 == 0 ? HF_TYPE_BLOB : 0;
    if (out->type.size_bytes >= 24 && out->type.flags == 0) {
        /* Numbers: the elements are full of random bytes, which as pointers would be findings. */
        out->fields[0] = (hf_field){.offset = 0, .kind = HF_FIELD_U64};
        out->fields[1] = (hf_field){.offset = 8, .kind = HF_FIELD_I64};
        out->type.refs = out->fields;
        out->type.ref_count = 2;
    }
    return &out->type;
}

static uint32_t type_pick(struct episode *e)
{
    if (e->types_used == 0 || (e->types_used < 60 && rng_percent(&e->rng, 8)))
        return e->types_used++;
    return (uint32_t)rng_below(&e->rng, e->types_used);
}

/* ---- reports --------------------------------------------------------------------------------- */

static bool expect(struct episode *e, bool holds, const char *what, int64_t value)
{
    const hf_error *error = hf_last_error();
    return campaign_expect(e->campaign, holds, "%s: %s (%lld); last error %s: %s", e->tag, what,
                           (long long)value, hf_error_name(error->code), error->message);
}

/* Was the NULL or the code a refusal for want of room? Anything else is a fault. */
static void expect_refusal(struct episode *e, const char *what)
{
    int code = hf_last_error()->code;
    e->refusals++;
    expect(e, code == HF_EFULL || code == HF_ENOSPC, what, code);
}

/* ---- the image ------------------------------------------------------------------------------- */

static const unsigned char *segment_base(struct episode *e, hf_view *view)
{
    return (const unsigned char *)hf_at(view, e->anchor) - e->anchor;
}

static struct hf__heap_root root_read(const struct episode *e, const unsigned char *base)
{
    struct hf__heap_root root;
    memcpy(&root, base + e->root, sizeof root);
    return root;
}

/* The heap's root is where the figures of hf_info stand in the order of block_format.h. */
static bool root_find(struct episode *e)
{
    hf_store_info info;
    hf_view *view;
    if (hf_info(e->store, &info) != 0 || hf_view_begin(e->store, &view) != 0)
        return false;
    const unsigned char *base = segment_base(e, view);
    unsigned found = 0;
    for (uint64_t at = 0; at + sizeof(struct hf__heap_root) <= 65536 &&
                          at + sizeof(struct hf__heap_root) <= info.used_end_bytes;
         at += 8) {
        struct hf__heap_root root;
        memcpy(&root, base + at, sizeof root);
        if (root.used_end == info.used_end_bytes && root.free_bytes == info.free_bytes &&
            root.free_blocks == info.free_blocks && root.live_bytes == info.live_bytes &&
            root.live_blocks == info.live_blocks && found++ == 0)
            e->root = at;
    }
    hf_view_end(view);
    return found == 1;
}

static void image_take(struct episode *e, struct image *image, const unsigned char *base)
{
    struct hf__heap_root root = root_read(e, base);
    if (root.used_end > image->capacity) {
        free(image->bytes);
        image->capacity = root.used_end * 2;
        image->bytes = must_alloc(image->capacity);
    }
    image->used_end = root.used_end;
    memcpy(image->bytes, base, root.used_end);
}

static bool range_equal(struct episode *e, const struct image *image, const unsigned char *base,
                        uint64_t from, uint64_t size, const char *what, const char *when)
{
    if (memcmp(image->bytes + from, base + from, size) == 0)
        return true;
    uint64_t at = from, differ = 0;
    while (image->bytes[at] == base[at])
        at++;
    for (uint64_t i = at; i < from + size; i++)
        differ += image->bytes[i] != base[i];
    return campaign_expect(e->campaign, false,
                           "%s: after %s the segment differs at %llu (%s, range %llu + %llu, "
                           "%llu bytes): was %02x, is %02x",
                           e->tag, when, (unsigned long long)at, what, (unsigned long long)from,
                           (unsigned long long)size, (unsigned long long)differ, image->bytes[at],
                           base[at]);
}

/* A chunk: everything but its free slots. Returns false where it differs. */
static bool chunk_compare(struct episode *e, const struct image *image, const unsigned char *base,
                          uint64_t at, uint64_t size, const char *when)
{
    struct hf__chunk chunk;
    struct hf__chunk_word word;
    uint64_t bytes = size & ~UINT64_C(4095), record = at + 64;
    if (bytes == 65536)
        record += 64 * ((uint64_t)((uint32_t)(at >> 16) * 0x9e3779b9u) * 896 >> 32);
    uint64_t words = record + sizeof chunk;
    memcpy(&chunk, image->bytes + record, sizeof chunk);
    uint64_t number = chunk.slot_class;
    uint64_t slot = number < 32   ? 8 * (number + 1)
                    : number < 48 ? 256 + 16 * (number - 31)
                                  : 512 + 32 * (number - 47);
    uint64_t above = words + ((bytes - 64) / (64 * slot) + 1) * sizeof word;
    uint64_t lower = (record - at - HF__BLOCK_HEADER_BYTES) / slot;
    uint64_t slots = lower + (at + bytes - above) / slot;
    bool same = range_equal(e, image, base, at, HF__BLOCK_HEADER_BYTES, "chunk", when) &&
                range_equal(e, image, base, record, above - record, "chunk's record", when);
    for (uint64_t i = 0; same && i < slots; i++) {
        memcpy(&word, image->bytes + words + i / 64 * sizeof word, sizeof word);
        if ((word.taken >> i % 64 & 1) != 0)
            same = range_equal(e, image, base,
                               i < lower ? at + HF__BLOCK_HEADER_BYTES + i * slot
                                         : above + (i - lower) * slot,
                               slot, "slot", when);
    }
    return same;
}

/* Every byte as in the image, but the payload of what was free in it. */
static bool image_compare(struct episode *e, const struct image *image, const unsigned char *base,
                          const char *when)
{
    static const char *const kinds[] = {"free", "raw",   "object", "system",
                                        "lost", "chunk", "slabs"};
    struct hf__heap_root root = root_read(e, image->bytes);
    uint64_t node_bytes = e->allocator == HF_ALLOC_SEQ_FIT ? 8 : 24;
    if (!range_equal(e, image, base, 0, root.first, "segment header", when))
        return false;
    for (uint64_t at = root.first; at < root.used_end;) {
        struct hf__block_header header;
        memcpy(&header, image->bytes + at, sizeof header);
        uint64_t size = (header.size_word & ((UINT64_C(1) << 44) - 1)) * HF__BLOCK_UNIT;
        uint64_t kind = header.size_word >> 44 & 15;
        if (size < HF__BLOCK_HEADER_BYTES || size > root.used_end - at || kind > 6)
            return expect(e, false, "the image itself has a broken block", (int64_t)at);
        uint64_t compared = kind == HF__BLOCK_FREE ? HF__BLOCK_HEADER_BYTES + node_bytes : size;
        if (kind == HF__BLOCK_CHUNK ? !chunk_compare(e, image, base, at, size, when)
                                    : !range_equal(e, image, base, at, compared, kinds[kind], when))
            return false;
        at += size;
    }
    e->campaign->passed++;
    return true;
}

/* ---- comparing with the model ---------------------------------------------------------------- */

static void verify_item(struct episode *e, hf_view *view, const struct item *item)
{
    struct made_type made;
    const void *at = hf_at(view, item->ref);
    if (!expect(e, at != NULL, "an item's reference leads nowhere", (int64_t)item->ref))
        return;
    if (item->kind == ITEM_RAW) {
        expect(e, hf_usable_bytes(view, at) >= item->size_bytes, "usable bytes shrank",
               (int64_t)item->size_bytes);
    } else {
        const hf_type *type = type_make(&made, item->type);
        char name[1024];
        size_t count = 0;
        const void *found = at;
        name_make(name, sizeof name, item->name);
        if (item->kind == ITEM_NAMED)
            found = hf_find(view, name, type, &count);
        else if (item->kind == ITEM_UNIQUE)
            found = hf_find_unique(view, type, &count);
        else
            count = item->count;
        expect(e, found == at && count == item->count, "find gives another object or count",
               (int64_t)item->name);
        hf_object_info info;
        static const uint32_t kinds[] = {HF_KIND_NAMED, HF_KIND_UNIQUE, HF_KIND_ANONYMOUS};
        int code = hf_object_at(view, at, &info);
        if (expect(e, code == 0, "hf_object_at", code)) {
            expect(e,
                   info.kind == kinds[item->kind] && info.count == item->count &&
                       info.size_bytes == item->size_bytes && info.type_version == type->version &&
                       strcmp(info.type_name, type->name) == 0,
                   "hf_object_at tells something else", (int64_t)item->name);
            if (item->kind == ITEM_NAMED)
                expect(e, info.name != NULL && strcmp(info.name, name) == 0, "hf_object_at's name",
                       (int64_t)item->name);
        }
    }
    expect(e, memcmp(at, item->bytes, item->size_bytes) == 0, "an item's bytes are not the model's",
           (int64_t)item->ref);
}

static void verify_iteration(struct episode *e, hf_view *view)
{
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    char previous[1024] = "";
    uint64_t named = 0, objects = 0;
    int more;
    while ((more = hf_next_named(view, &cursor, &info)) == 1) {
        if (e->index == HF_INDEX_SET || e->index == HF_INDEX_FLAT)
            expect(e, named == 0 || strcmp(previous, info.name) < 0, "names out of order",
                   (int64_t)named);
        snprintf(previous, sizeof previous, "%s", info.name);
        named++;
    }
    if (e->index != HF_INDEX_NULL) {
        expect(e, more == 0 && named == model_count(&e->model, ITEM_NAMED),
               "iteration yields another number of names", (int64_t)named);
        uint64_t with_prefix = 0, expected = 0;
        cursor = (hf_cursor)HF_CURSOR_INIT;
        for (cursor.prefix = "n/"; hf_next_named(view, &cursor, &info) == 1; with_prefix++)
            expect(e, strncmp(info.name, "n/", 2) == 0, "a name without the prefix", 0);
        for (size_t i = 0; i < e->model.count; i++) {
            char name[1024];
            name_make(name, sizeof name, e->model.items[i].name);
            expected += e->model.items[i].kind == ITEM_NAMED && strncmp(name, "n/", 2) == 0;
        }
        expect(e, with_prefix == expected, "the prefix scan yields another number",
               (int64_t)with_prefix - (int64_t)expected);
    }
    cursor = (hf_cursor)HF_CURSOR_INIT;
    while ((more = hf_next_object(view, &cursor, &info)) == 1)
        objects++;
    uint64_t raw = model_count(&e->model, ITEM_RAW);
    expect(e, more == 0 && objects == e->model.count - raw, "hf_next_object yields another number",
           (int64_t)objects - (int64_t)(e->model.count - raw));
}

/* full: all items, the iterations and a check of the whole store; else a few items. */
static void verify(struct episode *e, hf_view *view, bool full)
{
    expect(e, hf_count_named(view) == model_count(&e->model, ITEM_NAMED), "number of named objects",
           (int64_t)hf_count_named(view));
    expect(e, hf_count_unique(view) == model_count(&e->model, ITEM_UNIQUE),
           "number of unique objects", (int64_t)hf_count_unique(view));
    if (full) {
        for (size_t i = 0; i < e->model.count; i++)
            verify_item(e, view, &e->model.items[i]);
        verify_iteration(e, view);
    } else {
        for (int i = 0; i < 3 && e->model.count != 0; i++)
            verify_item(e, view, &e->model.items[rng_below(&e->rng, e->model.count)]);
    }
}

static void print_finding(void *user, const hf_finding *finding)
{
    const struct episode *e = user;
    if (e->campaign->failed < CAMPAIGN_MESSAGES_MAX)
        printf("  %s: finding %s at %llu: %s\n", e->tag, finding->rule,
               (unsigned long long)finding->offset, finding->expected);
}

static void verify_sanity(struct episode *e)
{
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    hf_check_report report;
    options.on_finding = print_finding;
    options.user = e;
    options.findings_max = 10;
    memset(&report, 0, sizeof report);
    int code = hf_check_sanity(e->store, &options, &report);
    e->checks++;
    if (!expect(e, code == 0 && report.findings == 0, "hf_check_sanity", code))
        return;
    expect(e, report.named == model_count(&e->model, ITEM_NAMED), "the check's named objects",
           (int64_t)report.named);
    expect(e, report.anonymous == model_count(&e->model, ITEM_ANONYMOUS),
           "the check's anonymous objects", (int64_t)report.anonymous);
    expect(e, report.raw == model_count(&e->model, ITEM_RAW) + 1, "the check's raw blocks",
           (int64_t)report.raw);
}

/* ---- operations ------------------------------------------------------------------------------ */

/* Writes random bytes into part of an item, announced unless T2 allows to go without. */
static void write_item(struct episode *e, struct item *item, uint64_t offset, uint64_t size_bytes)
{
    const unsigned char *at = (const unsigned char *)hf_at(hf_txn_view(e->txn), item->ref) + offset;
    unsigned char *out = (unsigned char *)(uintptr_t)at;
    if (item->born != e->serial || rng_percent(&e->rng, 50))
        out = hf_edit(e->txn, at, size_bytes);
    if (!expect(e, out != NULL, "hf_edit of an item", (int64_t)size_bytes))
        return;
    content_fill(item->bytes + offset, size_bytes, rng_next(&e->rng));
    memcpy(out, item->bytes + offset, size_bytes);
}

static struct item *add_item(struct episode *e, enum item_kind kind, const void *at, uint32_t name,
                             uint32_t type, uint64_t count, uint64_t size_bytes)
{
    struct item *item = &e->model.items[e->model.count++];
    *item = (struct item){kind, name, type, count, size_bytes, 0, e->serial, NULL};
    item->bytes = must_alloc(size_bytes);
    memset(item->bytes, 0, size_bytes);
    item->ref = hf_ref_of(hf_txn_view(e->txn), at);
    expect(e, item->ref != 0, "a new item has no reference", 0);
    return item;
}

static int refuse_last(void *element, size_t index, void *argument)
{
    (void)element;
    return index + 1 == *(const size_t *)argument ? 77 : 0;
}

/* Constructs by whatever function makes this kind; NULL and refused on an error. */
static void *construct(struct episode *e, enum item_kind kind, const char *name,
                       const hf_type *type, uint64_t count, int *created)
{
    bool or_find = rng_percent(&e->rng, 30);
    *created = 1;
    if (kind == ITEM_NAMED)
        return or_find ? hf_find_or_construct(e->txn, name, type, count, created)
                       : hf_construct(e->txn, name, type, count);
    if (kind == ITEM_UNIQUE)
        return or_find ? hf_find_or_construct_unique(e->txn, type, count, created)
                       : hf_construct_unique(e->txn, type, count);
    return hf_new(e->txn, type, count);
}

static void op_construct(struct episode *e, enum item_kind kind)
{
    struct made_type made;
    char text[1024];
    uint32_t type_number = type_pick(e);
    const hf_type *type = type_make(&made, type_number);
    uint32_t name =
        kind == ITEM_NAMED ? (uint32_t)rng_below(&e->rng, NAMES) : type_number % TYPE_NAMES;
    uint64_t count = rng_percent(&e->rng, 60) ? 1 : rng_size(&e->rng, 6000) / type->size_bytes;
    name_make(text, sizeof text, name);
    struct item *old = kind == ITEM_ANONYMOUS ? NULL : model_find(&e->model, kind, name);
    if (old == NULL && e->model.count == ITEMS_MAX)
        return;
    int created;
    void *at = construct(e, kind, text, type, count, &created);
    if (e->index == HF_INDEX_NULL && kind != ITEM_ANONYMOUS) {
        expect(e, at == NULL && hf_last_error()->code == HF_ENOINDEX, "a name without an index", 0);
    } else if (old != NULL) {
        /* find_or_construct of the same type gives the old one; all else is an error. */
        int code = hf_last_error()->code;
        bool same = at != NULL && !created && old->type == type_number &&
                    hf_ref_of(hf_txn_view(e->txn), at) == old->ref;
        expect(e, same || (at == NULL && (code == HF_EEXIST || code == HF_ETYPE)),
               "constructing a name that exists", code);
    } else if (at == NULL) {
        expect_refusal(e, "constructing an object");
    } else {
        struct item *item =
            add_item(e, kind, at, name, type_number, count, count * type->size_bytes);
        uint32_t align = type->align_bytes == 0 ? 16 : type->align_bytes;
        expect(e, created == 1 && (uintptr_t)at % align == 0, "alignment of an object", align);
        expect(e, memcmp(at, item->bytes, item->size_bytes) == 0, "a new object is not zeroed", 0);
        write_item(e, item, 0, item->size_bytes);
    }
}

static void op_destroy(struct episode *e)
{
    size_t i = model_pick(e, KINDS_OBJECT);
    if (i == SIZE_MAX)
        return;
    struct item *item = &e->model.items[i];
    struct made_type made;
    char name[1024];
    int code;
    name_make(name, sizeof name, item->name);
    if (item->kind == ITEM_ANONYMOUS || rng_percent(&e->rng, 40))
        code = hf_destroy_ptr(e->txn, hf_at(hf_txn_view(e->txn), item->ref));
    else if (item->kind == ITEM_NAMED)
        code = hf_destroy(e->txn, name);
    else
        code = hf_destroy_unique(e->txn, type_make(&made, item->type));
    if (!expect(e, code == 0, "destroying an object", code))
        return;
    if (item->kind == ITEM_NAMED)
        expect(e, hf_find(hf_txn_view(e->txn), name, NULL, NULL) == NULL,
               "a destroyed object is found", 0);
    model_remove(&e->model, i);
}

static void op_alloc(struct episode *e)
{
    if (e->model.count == ITEMS_MAX)
        return;
    size_t size = rng_size(&e->rng, 16000), align = (size_t)1 << rng_below(&e->rng, 13);
    bool aligned = rng_percent(&e->rng, 30);
    void *at = aligned ? hf_alloc_aligned(e->txn, size, align) : hf_alloc(e->txn, size);
    if (at == NULL) {
        expect_refusal(e, "allocating");
        return;
    }
    if (!aligned)
        align = size % 16 == 0 ? 16 : 8;
    expect(e, (uintptr_t)at % align == 0, "alignment of a raw block", (int64_t)align);
    struct item *item = add_item(e, ITEM_RAW, at, 0, 0, 0, size);
    write_item(e, item, 0, size);
}

static void op_alloc_many(struct episode *e)
{
    void *blocks[12];
    size_t sizes[12], count = 1 + (size_t)rng_below(&e->rng, 12);
    if (e->model.count + count > ITEMS_MAX)
        return;
    bool one_size = rng_percent(&e->rng, 50);
    for (size_t i = 0; i < count; i++)
        sizes[i] = one_size && i != 0 ? sizes[0] : rng_size(&e->rng, 800);
    int code = one_size ? hf_alloc_many(e->txn, sizes[0], count, blocks)
                        : hf_alloc_many_sizes(e->txn, sizes, count, blocks);
    if (code != 0) {
        expect_refusal(e, "allocating many");
        return;
    }
    for (size_t i = 0; i < count; i++)
        write_item(e, add_item(e, ITEM_RAW, blocks[i], 0, 0, 0, sizes[i]), 0, sizes[i]);
}

static void op_free(struct episode *e)
{
    size_t many = rng_percent(&e->rng, 20) ? 4 : 1;
    void *blocks[4];
    size_t count = 0;
    for (; many > 0; many--) {
        size_t i = model_pick(e, KINDS_RAW);
        if (i == SIZE_MAX)
            break;
        blocks[count++] = (void *)(uintptr_t)hf_at(hf_txn_view(e->txn), e->model.items[i].ref);
        model_remove(&e->model, i);
    }
    if (count == 1)
        hf_free(e->txn, blocks[0]);
    else if (count > 1)
        hf_free_many(e->txn, blocks, count);
}

/* The model's bytes of a block that begins lead bytes earlier now and has size_bytes. */
static void item_reshape(struct item *item, uint64_t lead, uint64_t size_bytes)
{
    unsigned char *bytes = must_alloc(size_bytes);
    memset(bytes, 0, size_bytes);
    uint64_t kept = item->size_bytes;
    if (kept > size_bytes - lead)
        kept = size_bytes - lead;
    memcpy(bytes + lead, item->bytes, kept);
    free(item->bytes);
    item->bytes = bytes;
    item->size_bytes = size_bytes;
}

static void op_shrink_block(struct episode *e, struct item *item)
{
    size_t preferred = (size_t)rng_below(&e->rng, item->size_bytes + 1);
    size_t limit = preferred + (size_t)rng_below(&e->rng, item->size_bytes - preferred + 1);
    size_t received = 0;
    const void *at = hf_at(hf_txn_view(e->txn), item->ref);
    void *out = hf_resize(e->txn, HF_SHRINK_IN_PLACE, at, limit, preferred, &received);
    if (out == NULL) {
        expect_refusal(e, "shrinking a block");
        return;
    }
    expect(e, out == at && received <= limit && received >= preferred, "shrinking",
           (int64_t)received);
    if (received < item->size_bytes)
        item_reshape(item, 0, received);
}

static void op_resize(struct episode *e)
{
    size_t i = model_pick(e, KINDS_RAW);
    if (i == SIZE_MAX || e->model.count == ITEMS_MAX)
        return;
    struct item *item = &e->model.items[i];
    if (item->size_bytes != 0 && rng_percent(&e->rng, 30)) {
        op_shrink_block(e, item);
        return;
    }
    unsigned command = 1 + (unsigned)rng_below(&e->rng, 7);
    hf_view *view = hf_txn_view(e->txn);
    const unsigned char *at = hf_at(view, item->ref);
    size_t usable = hf_usable_bytes(view, at), received = 0;
    size_t limit = usable + (size_t)rng_below(&e->rng, 500);
    size_t preferred = limit + (size_t)rng_below(&e->rng, 2000);
    unsigned char *out = hf_resize(e->txn, command, at, limit, preferred, &received);
    if (out == NULL) {
        expect_refusal(e, "expanding a block");
        return;
    }
    expect(e, received >= limit, "received less than the limit", (int64_t)received);
    if (out <= at && at < out + received) {
        uint64_t lead = (uint64_t)(at - out);
        expect(e, lead == 0 || (command & HF_EXPAND_BACKWARD) != 0, "moved against the command",
               (int64_t)lead);
        uint64_t old_bytes = item->size_bytes;
        item_reshape(item, lead, received);
        item->ref -= lead;
        /* The content stayed; what is new is written, and announced, since T2 speaks of whole
         * items. */
        expect(e, memcmp(out + lead, item->bytes + lead, old_bytes) == 0, "expanding moved content",
               0);
        item->born = 0;
        write_item(e, item, 0, lead);
        write_item(e, item, lead + old_bytes, received - lead - old_bytes);
    } else {
        expect(e, (command & HF_ALLOCATE_NEW) != 0, "a new block against the command", 0);
        write_item(e, add_item(e, ITEM_RAW, out, 0, 0, 0, received), 0, received);
    }
}

static void op_edit(struct episode *e)
{
    size_t i = model_pick(e, KINDS_ALL);
    if (i == SIZE_MAX || e->model.items[i].size_bytes == 0)
        return;
    struct item *item = &e->model.items[i];
    uint64_t offset = rng_below(&e->rng, item->size_bytes);
    write_item(e, item, offset, 1 + rng_below(&e->rng, item->size_bytes - offset));
}

/* Announces a stretch over many blocks and writes nothing. */
static void op_edit_wide(struct episode *e)
{
    const unsigned char *base = segment_base(e, hf_txn_view(e->txn));
    uint64_t used_end = root_read(e, base).used_end;
    uint64_t from = e->anchor + rng_below(&e->rng, used_end - e->anchor);
    void *out = hf_edit(e->txn, base + from, rng_below(&e->rng, used_end - from) / 4);
    expect(e, out != NULL, "hf_edit of a wide range", (int64_t)from);
}

static void op_index(struct episode *e)
{
    uint64_t which = rng_below(&e->rng, 3);
    int code = which == 0   ? hf_reserve_named(e->txn, rng_below(&e->rng, 400))
               : which == 1 ? hf_reserve_unique(e->txn, rng_below(&e->rng, 50))
                            : hf_shrink_indexes(e->txn);
    if (code != 0 && !(code == HF_ENOINDEX && e->index == HF_INDEX_NULL))
        expect_refusal(e, "index reserve or shrink");
}

/* Calls that must be refused, and must have changed nothing. */
static void op_wrong(struct episode *e)
{
    hf_view *view = hf_txn_view(e->txn);
    const unsigned char *base = segment_base(e, view);
    struct image before = {0};
    struct made_type made;
    struct hf_type strange;
    char long_name[HF_NAME_BYTES_MAX + 8];
    size_t count = 5, many = 3;
    void *blocks[3];
    size_t sizes[3] = {16, SIZE_MAX / 2, 16};
    bool names = e->index != HF_INDEX_NULL;
    hf_store_info info; /* brings the segment up to what is kept in process memory */
    expect(e, hf_info(e->store, &info) == 0, "hf_info failed", 0);
    image_take(e, &before, base);
    type_make(&made, 1000000);
    strange = made.type;
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    int code = 0;
    void *at = NULL;
    switch (rng_below(&e->rng, 12)) {
    case 0:
        at = hf_construct(e->txn, "", NULL, 1);
        break;
    case 1:
        at = hf_construct(e->txn, long_name, NULL, 1);
        break;
    case 2:
        at = hf_construct(e->txn, "too-many", &made.type, SIZE_MAX / 2);
        break;
    case 3:
        code = hf_destroy(e->txn, "no such name");
        break;
    case 4:
        code = hf_destroy_ptr(e->txn, base + e->anchor + 16);
        break;
    case 5:
        at = hf_alloc_aligned(e->txn, 10, 48);
        break;
    case 6:
        at = hf_alloc(e->txn, SIZE_MAX - 100);
        break;
    case 7:
        at = hf_construct_with(e->txn, NULL, &made.type, count, refuse_last, &count);
        break;
    case 8:
        code = hf_alloc_many_sizes(e->txn, sizes, many, blocks);
        break;
    case 9:
        at = hf_edit(e->txn, base + root_read(e, base).used_end, 64);
        break;
    case 10:
        at = hf_construct(e->txn, names ? "bad-align" : "x", (strange.align_bytes = 24, &strange),
                          1);
        break;
    default:
        at = hf_construct_with(e->txn, "refused", &made.type, count, refuse_last, &count);
        break;
    }
    expect(e, at == NULL && (code < 0 || hf_last_error()->code < 0), "a wrong call was accepted",
           0);
    /* What a refused construction took and gave back may differ inside free payload only. */
    image_compare(e, &before, base, "a refused call");
    free(before.bytes);
}

static void op_wrong_free(struct episode *e)
{
    hf_free(e->txn, (const unsigned char *)hf_at(hf_txn_view(e->txn), e->anchor) + 8);
    e->poisoned = true;
}

/* ---- savepoints ------------------------------------------------------------------------------ */

static void op_savepoint(struct episode *e)
{
    if (e->marks_count == MARKS_MAX)
        return;
    struct mark *mark = &e->marks[e->marks_count];
    int code = hf_savepoint(e->txn, &mark->mark);
    if (!expect(e, code == 0, "hf_savepoint", code))
        return;
    image_take(e, &mark->image, segment_base(e, hf_txn_view(e->txn)));
    model_copy(&mark->model, &e->model);
    mark->poisoned = e->poisoned;
    e->marks_count++;
    e->serial = ++e->serial_last;
}

static void op_rollback(struct episode *e)
{
    if (e->marks_count == 0)
        return;
    size_t to = (size_t)rng_below(&e->rng, e->marks_count);
    struct mark *mark = &e->marks[to];
    int code = hf_rollback_to(e->txn, mark->mark);
    if (!expect(e, code == 0, "hf_rollback_to", code))
        return;
    if (to + 1 < e->marks_count)
        expect(e, hf_rollback_to(e->txn, e->marks[e->marks_count - 1].mark) == HF_EINVAL,
               "a mark that was taken back is good", 0);
    e->rollbacks++;
    e->marks_count = to + 1;
    e->serial = ++e->serial_last;
    e->poisoned = mark->poisoned;
    model_copy(&e->model, &mark->model);
    image_compare(e, &mark->image, segment_base(e, hf_txn_view(e->txn)), "a rollback");
    if (rng_percent(&e->rng, 20))
        verify(e, hf_txn_view(e->txn), rng_percent(&e->rng, 20));
}

/* ---- transactions ---------------------------------------------------------------------------- */

static void operate(struct episode *e)
{
    uint64_t which = rng_below(&e->rng, 100);
    bool crowded = e->model.count > ITEMS_MAX * 3 / 5;
    e->operations++;
    if (crowded && which < 40)
        which = which < 20 ? 24 : 44;
    if (which < 12)
        op_construct(e, ITEM_NAMED);
    else if (which < 15)
        op_construct(e, ITEM_UNIQUE);
    else if (which < 21)
        op_construct(e, ITEM_ANONYMOUS);
    else if (which < 34)
        op_destroy(e);
    else if (which < 42)
        op_alloc(e);
    else if (which < 44)
        op_alloc_many(e);
    else if (which < 52)
        op_free(e);
    else if (which < 62)
        op_resize(e);
    else if (which < 80)
        op_edit(e);
    else if (which < 82)
        op_edit_wide(e);
    else if (which < 84)
        op_index(e);
    else if (which < 86)
        op_wrong(e);
    else if (which < 93)
        op_savepoint(e);
    else if (which < 98)
        op_rollback(e);
    else if (which < 99)
        expect(e, hf_zero_free_memory(e->txn) == 0, "hf_zero_free_memory", 0);
    else if (rng_percent(&e->rng, 15))
        op_wrong_free(e);
    else
        op_edit(e);
}

/* The way a transaction ends decides what must be there afterwards. */
static void end_transaction(struct episode *e, struct model *before)
{
    bool commit = rng_percent(&e->rng, 50);
    int code = 0;
    if (commit)
        code = hf_commit(e->txn);
    else
        hf_abort(e->txn);
    e->txn = NULL;
    if (commit && e->poisoned) {
        expect(e, code == HF_EPTR, "hf_commit after a wrong hf_free", code);
        commit = false;
    } else if (commit) {
        expect(e, code == 0, "hf_commit", code);
        commit = code == 0;
    }
    if (commit) {
        e->commits++;
    } else {
        e->aborts++;
        model_copy(&e->model, before);
    }
}

static void run_transaction(struct episode *e, struct image *before, struct model *model_before)
{
    hf_view *view;
    int code = hf_view_begin(e->store, &view);
    if (!expect(e, code == 0, "hf_view_begin", code))
        return;
    image_take(e, before, segment_base(e, view));
    hf_view_end(view);
    model_copy(model_before, &e->model);

    code = hf_begin(e->store, &e->txn);
    if (!expect(e, code == 0, "hf_begin", code))
        return;
    e->poisoned = false;
    e->marks_count = 0;
    e->serial = ++e->serial_last;
    for (uint64_t left = 1 + rng_below(&e->rng, 40); left > 0; left--)
        operate(e);
    uint64_t aborts = e->aborts;
    end_transaction(e, model_before);
    e->transactions++;

    code = hf_view_begin(e->store, &view);
    if (!expect(e, code == 0, "hf_view_begin", code))
        return;
    if (e->aborts != aborts)
        image_compare(e, before, segment_base(e, view), "an abort");
    verify(e, view, rng_percent(&e->rng, 8));
    hf_view_end(view);
    if (rng_percent(&e->rng, 5))
        verify_sanity(e);
}

/* ---- episodes -------------------------------------------------------------------------------- */

static int open_store(struct episode *e, uint32_t mode)
{
    hf_options options = HF_OPTIONS_INIT;
    options.mode = mode;
    options.engine = e->engine;
    options.allocator = e->allocator;
    options.index = e->index;
    options.size_initial_bytes = 64 << 10;
    options.size_max_bytes = 8 << 20;
    switch (e->backing) {
    case BACKING_BUFFER:
        return hf_open_buffer(e->buffer, BUFFER_BYTES, &options, &e->store);
    case BACKING_HEAP:
        return hf_open_heap(256 << 10, &options, &e->store);
    default:
        return hf_open(e->path, &options, &e->store);
    }
}

/* Raw blocks with a gap, so that the heap root's figures are unmistakable. */
static bool prepare(struct episode *e)
{
    hf_txn *txn;
    if (!expect(e, hf_begin(e->store, &txn) == 0, "the first hf_begin", 0))
        return false;
    void *blocks[3] = {hf_alloc(txn, 1000), hf_alloc(txn, 2000), hf_alloc(txn, 96)};
    if (!expect(e, blocks[0] && blocks[1] && blocks[2], "the first hf_alloc", 0))
        return false;
    memset(blocks[2], 0x5A, 96);
    e->anchor = hf_ref_of(hf_txn_view(txn), blocks[2]);
    bool committed = hf_commit(txn) == 0;
    if (!expect(e, committed && hf_begin(e->store, &txn) == 0, "the first hf_commit", 0))
        return false;
    hf_view *view = hf_txn_view(txn);
    hf_free(txn, hf_at(view, hf_ref_of(view, blocks[0])));
    hf_free(txn, hf_at(view, hf_ref_of(view, blocks[1])));
    committed = hf_commit(txn) == 0;
    return expect(e, committed && root_find(e), "finding the heap's root", 0);
}

/* A private store lies over a file that another handle made, with something in it. */
static bool prepare_private(struct episode *e)
{
    e->backing = BACKING_FILE;
    bool good = expect(e, open_store(e, HF_CREATE_NEW) == 0, "hf_open", 0) && prepare(e) &&
                expect(e, hf_close(e->store) == 0, "hf_close", 0);
    e->backing = BACKING_PRIVATE;
    return good && expect(e, open_store(e, HF_COPY_ON_WRITE) == 0, "hf_open copy-on-write", 0);
}

/* The whole store again through a copy that hf_save_as made. */
static void verify_saved(struct episode *e)
{
    char path[600];
    snprintf(path, sizeof path, "%s.saved", e->path);
    int code = hf_save_as(e->store, path, 0);
    if (!expect(e, code == 0, "hf_save_as", code))
        return;
    hf_store *live = e->store;
    hf_options options = HF_OPTIONS_INIT;
    hf_view *view;
    options.mode = HF_READ_ONLY;
    code = hf_open(path, &options, &e->store);
    if (expect(e, code == 0, "opening what hf_save_as wrote", code)) {
        if (expect(e, hf_view_begin(e->store, &view) == 0, "a view of it", 0)) {
            verify(e, view, true);
            hf_view_end(view);
        }
        verify_sanity(e);
        hf_close(e->store);
    }
    e->store = live;
    expect(e, hf_remove(path) == 0, "hf_remove of it", 0);
}

/* Closing and opening again changes nothing; destroying everything leaves nothing. */
static void finish(struct episode *e)
{
    hf_view *view;
    hf_txn *txn;
    if (rng_percent(&e->rng, 25))
        verify_saved(e);
    if (e->backing == BACKING_FILE || e->backing == BACKING_BUFFER) {
        expect(e, hf_close(e->store) == 0, "hf_close", 0);
        int code = open_store(e, HF_OPEN_EXISTING);
        if (!expect(e, code == 0, "opening again", code)) {
            e->store = NULL;
            return;
        }
    }
    if (expect(e, hf_view_begin(e->store, &view) == 0, "hf_view_begin", 0)) {
        verify(e, view, true);
        hf_view_end(view);
    }
    verify_sanity(e);
    if (!expect(e, hf_begin(e->store, &txn) == 0, "hf_begin", 0))
        return;
    view = hf_txn_view(txn);
    for (size_t i = 0; i < e->model.count; i++) {
        const void *at = hf_at(view, e->model.items[i].ref);
        if (e->model.items[i].kind == ITEM_RAW)
            hf_free(txn, at);
        else
            expect(e, hf_destroy_ptr(txn, at) == 0, "destroying all", 0);
    }
    hf_free(txn, hf_at(view, e->anchor));
    expect(e, hf_commit(txn) == 0, "committing the end", 0);
    if (expect(e, hf_view_begin(e->store, &view) == 0, "hf_view_begin", 0)) {
        expect(e, hf_all_memory_deallocated(view) == 1, "something is left", 0);
        hf_view_end(view);
    }
}

static void run_episode(struct episode *e, uint64_t transactions)
{
    struct image before = {0};
    struct model *model_before = must_alloc(sizeof *model_before);
    model_before->count = 0;
    e->model.count = 0;
    e->types_used = 0;
    e->store = NULL;
    bool good = e->backing == BACKING_PRIVATE
                    ? prepare_private(e)
                    : expect(e, open_store(e, HF_CREATE_NEW) == 0, "creating", 0) && prepare(e);
    if (good) {
        for (uint64_t i = 0; i < transactions && e->campaign->failed < 200; i++)
            run_transaction(e, &before, model_before);
        finish(e);
    }
    if (e->store != NULL)
        expect(e, hf_close(e->store) == 0, "hf_close", 0);
    if (e->backing == BACKING_FILE || e->backing == BACKING_PRIVATE)
        expect(e, hf_remove(e->path) == 0, "hf_remove", 0);
    model_clear(&e->model);
    model_clear(model_before);
    free(model_before);
    free(before.bytes);
}

int main(void)
{
    static struct episode e;
    struct campaign campaign;
    char directory[400];
    campaign_start(&campaign, "model_abort");
    /* In memory: it is about what a rollback restores, not about the disk. */
    if (!(getenv("HF_TEST_DIR") == NULL &&
          campaign_directory("/dev/shm", directory, sizeof directory)) &&
        !campaign_directory(NULL, directory, sizeof directory)) {
        printf("no directory for the files\n0 passed, 1 failed\n");
        return 1;
    }
    e.campaign = &campaign;
    e.rng.state = campaign.seed;
    snprintf(e.path, sizeof e.path, "%s/model.hf", directory);
    e.buffer = aligned_alloc(65536, BUFFER_BYTES);
    uint64_t wanted = campaign_count(&campaign, 1500000), episode = 0;
    while (e.buffer != NULL && campaign.failed < 200 && (e.operations < wanted || episode < 48)) {
        e.backing = (enum backing)(episode % BACKING_COUNT);
        e.index = (uint32_t)(episode / BACKING_COUNT % 4);
        e.allocator = HF_ALLOC_BEST_FIT + (uint32_t)(episode / BACKING_COUNT / 4 % 3);
        /* Each allocator and index with both. */
        e.engine = (uint32_t)(episode / 4 ^ episode / 8 ^ episode / 16) & 1;
        memset(e.buffer, 0xA5, BUFFER_BYTES);
        snprintf(e.tag, sizeof e.tag, "episode %llu (%s, %s, %s, %s)", (unsigned long long)episode,
                 backing_names[e.backing], e.engine == HF_ENGINE_LOG ? "log" : "direct", allocator_names[e.allocator], index_names[e.index]);
        run_episode(&e, 100);
        episode++;
    }
    for (size_t i = 0; i < MARKS_MAX; i++) {
        model_clear(&e.marks[i].model);
        free(e.marks[i].image.bytes);
    }
    free(e.buffer);
    rmdir(directory);
    printf("%llu episodes, %llu operations in %llu transactions: %llu commits, %llu aborts, "
           "%llu rollbacks, %llu refusals for want of room, %llu checks\n",
           (unsigned long long)episode, (unsigned long long)e.operations,
           (unsigned long long)e.transactions, (unsigned long long)e.commits,
           (unsigned long long)e.aborts, (unsigned long long)e.rollbacks,
           (unsigned long long)e.refusals, (unsigned long long)e.checks);
    return campaign_end(&campaign);
}
