/* SPDX-License-Identifier: MIT */
/*
 * dump_graph.c - random stores for the tests of dump and load
 *
 * Every byte of every object is random, the padding and what lies behind a text's NUL included: so
 * floats are NaNs with payloads, texts aren't UTF-8, numbers need all their bits. Then the
 * pointers are set. The comparison knows nothing of the dump: it walks both stores side by side.
 */
#include "tests/tools/dump_graph.h"

#include <assert.h>
#include <stddef.h>
#include <sys/wait.h>

struct every {
    hf_ref next;
    uint8_t u8;
    uint16_t u16; /* padding before */
    uint32_t u32;
    uint64_t u64;
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    float f32;
    double f64;
    HF_PTR(struct every) self_relative;
    char text[13];
    unsigned char bytes[9];
    uint8_t used;
    hf_ref counted[5];
    uint16_t used_numbers;
    int32_t numbers[6];
    HF_PTR(void) many[3];
    uint64_t untold; /* no field */
    float floats[3];
    double one[1];
};
#define EVERY_FIELDS(F, T)                                                                         \
    F(T, next, HF_FIELD_REF, &every_type)                                                          \
    F(T, u8, HF_FIELD_U8, NULL)                                                                    \
    F(T, u16, HF_FIELD_U16, NULL)                                                                  \
    F(T, u32, HF_FIELD_U32, NULL)                                                                  \
    F(T, u64, HF_FIELD_U64, NULL)                                                                  \
    F(T, i8, HF_FIELD_I8, NULL)                                                                    \
    F(T, i16, HF_FIELD_I16, NULL)                                                                  \
    F(T, i32, HF_FIELD_I32, NULL)                                                                  \
    F(T, i64, HF_FIELD_I64, NULL)                                                                  \
    F(T, f32, HF_FIELD_F32, NULL)                                                                  \
    F(T, f64, HF_FIELD_F64, NULL)                                                                  \
    F(T, self_relative, HF_FIELD_PTR, NULL)                                                        \
    F(T, text, HF_FIELD_TEXT, NULL)                                                                \
    F(T, bytes, HF_FIELD_BYTES, NULL)                                                              \
    F(T, used, HF_FIELD_U8, NULL)                                                                  \
    F(T, counted, HF_FIELD_REF | HF_FIELD_COUNTED, NULL)                                           \
    F(T, used_numbers, HF_FIELD_U16, NULL)                                                         \
    F(T, numbers, HF_FIELD_I32 | HF_FIELD_COUNTED, NULL)                                           \
    F(T, many, HF_FIELD_PTR, NULL)                                                                 \
    F(T, floats, HF_FIELD_F32, NULL)                                                               \
    F(T, one, HF_FIELD_F64, NULL)
HF_TYPE_DEFINE(every_type, "every", 7, struct every, EVERY_FIELDS);

/* Names that can't be keys: none, twice the same, not UTF-8, reserved. */
static const hf_field odd_fields[] = {{0, HF_FIELD_REF, &every_type},
                                      {8, HF_FIELD_U32, NULL},
                                      {12, HF_FIELD_U32, NULL},
                                      {16, HF_FIELD_U16, NULL},
                                      {20, HF_FIELD_U8, NULL}};
static const hf_type odd_type = {
    "odd \xff name\0x\0x\0\0\xfe\0#bytes", 1, 24, 8, HF_TYPE_FIELD_NAMES, odd_fields, 5};
/* No names at all. */
static const hf_field bare_fields[] = {{8, HF_FIELD_REF, &odd_type}, {0, HF_FIELD_PTR, NULL}};
static const hf_type bare_type = {"bare", 2, 16, 0, 0, bare_fields, 2};
static const hf_type blob_type = {"blob", 1, 3, 1, HF_TYPE_BLOB, NULL, 0};
/* The root: holds all others, so that all can be reached. */
static const hf_field root_fields[] = {{0, HF_FIELD_REF, NULL}};
static const hf_type root_type = {"root", 1, 8, 8, 0, root_fields, 1};

static const hf_type *const types[] = {&every_type, &odd_type, &bare_type, &blob_type, NULL};
enum { TYPE_COUNT = sizeof types / sizeof types[0], RAW = TYPE_COUNT };

struct object {
    unsigned char *at;
    const hf_type *type;
    size_t count, size_bytes;
};

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s: %s\n", what, hf_last_error()->message);
    exit(2);
}

/* ---- making ---------------------------------------------------------------------------------- */

static void random_bytes(struct rng *rng, unsigned char *at, size_t size_bytes)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     UINT64_MAX,
                                     UINT64_C(1) << 63,
                                     INT64_MAX,
                                     (UINT64_C(1) << 53) - 1,
                                     UINT64_C(1) << 53,
                                     UINT64_C(0x7ff0000000000000),
                                     UINT64_C(0xfff0000000000000),
                                     UINT64_C(0x7ff8000000000000),
                                     UINT64_C(0x7f8000007f800000),
                                     UINT64_C(0x8000000080000000),
                                     UINT64_C(0x3ff0000000000000)};
    const unsigned zeros = (unsigned)rng_below(rng, 100);
    for (size_t i = 0; i < size_bytes; i += 8) {
        uint64_t word = rng_percent(rng, 30) ? edges[rng_below(rng, sizeof edges / sizeof edges[0])]
                                             : rng_next(rng);
        if (rng_percent(rng, zeros))
            word = 0;
        memcpy(at + i, &word, size_bytes - i < 8 ? size_bytes - i : 8);
    }
}

static void random_name(struct rng *rng, char *name, unsigned number)
{
    static const char *const tails[] = {"",
                                        "/\xff\xfe",
                                        "/gr\xc3\xbc\xc3\x9f",
                                        "/\"\\\n\t\x01\x7f",
                                        "/\xed\xa0\x80",
                                        "/\xf0\x9f\x8c\x8a"};
    snprintf(name, 64, "%c/%u%s", (char)('a' + rng_below(rng, 3)), number,
             tails[rng_below(rng, sizeof tails / sizeof tails[0])]);
}

static struct object make_object(hf_txn *txn, struct rng *rng, unsigned number)
{
    const size_t kind = (size_t)rng_below(rng, TYPE_COUNT + 1);
    struct object object = {NULL, kind < TYPE_COUNT ? types[kind] : NULL,
                            (size_t)rng_below(rng, rng_percent(rng, 5) ? 3000 : 6), 0};
    char name[64];
    if (kind == RAW) {
        object.at = hf_alloc(txn, object.count * 16 + 16);
        must(object.at != NULL, "hf_alloc");
        object.count = object.size_bytes = hf_usable_bytes(hf_txn_view(txn), object.at);
    } else if (rng_percent(rng, 30)) {
        random_name(rng, name, number);
        object.at = hf_construct(txn, name, object.type, object.count);
    } else {
        object.at = hf_new(txn, object.type, object.count);
    }
    must(object.at != NULL, "an object");
    if (kind != RAW)
        object.size_bytes = object.count * (object.type == NULL ? 1 : object.type->size_bytes);
    random_bytes(rng, object.at, object.size_bytes);
    return object;
}

/* Mostly to the start of an object, else into it or to its end. */
static void set_pointer(hf_view *view, struct rng *rng, unsigned char *at, uint32_t kind,
                        const struct object *objects, unsigned count)
{
    const struct object *target = &objects[rng_below(rng, count)];
    uint64_t value = HF_FIELD_KIND(kind) == HF_FIELD_REF ? 0 : (uint64_t)HF_PTR_NULL;
    if (!rng_percent(rng, 20)) {
        uint64_t offset = rng_percent(rng, 60) ? 0 : rng_below(rng, target->size_bytes);
        hf_ref ref = hf_ref_of(view, target->at - 1) + 1 + offset;
        value = HF_FIELD_KIND(kind) == HF_FIELD_REF ? ref : ref - hf_ref_of(view, at);
    }
    memcpy(at, &value, sizeof value);
}

static void set_pointers(hf_view *view, struct rng *rng, const struct object *object,
                         const struct object *objects, unsigned count)
{
    for (size_t e = 0; object->type != NULL && e < object->count; e++) {
        unsigned char *element = object->at + e * object->type->size_bytes;
        if (object->type == &every_type && rng_percent(rng, 50)) {
            element[offsetof(struct every, used)] = (unsigned char)rng_below(rng, 7);
            element[offsetof(struct every, used_numbers)] = (unsigned char)rng_below(rng, 8);
            element[offsetof(struct every, used_numbers) + 1] = 0;
            memcpy(element + offsetof(struct every, text), "text\0behind", 12);
        }
        for (size_t i = 0; i < object->type->ref_count; i++) {
            const hf_field *field = &object->type->refs[i];
            for (uint32_t k = 0;
                 HF_FIELD_KIND(field->kind) <= HF_FIELD_PTR && k < HF_FIELD_TIMES(field->kind); k++)
                set_pointer(view, rng, element + field->offset + 8 * k, field->kind, objects,
                            count);
        }
    }
}

void dump_graph_make(const char *path, const hf_options *options, struct rng *rng, unsigned count)
{
    struct object *objects = must_alloc((count + 1) * sizeof *objects);
    hf_store *store;
    hf_txn *txn;
    must(hf_open(path, options, &store) == 0, path);
    must(hf_begin(store, &txn) == 0, "hf_begin");
    hf_view *view = hf_txn_view(txn);
    for (unsigned i = 0; i < count; i++)
        objects[i] = make_object(txn, rng, i);
    objects[count] = (struct object){hf_construct_unique(txn, &every_type, 2), &every_type, 2,
                                     2 * sizeof(struct every)};
    must(objects[count].at != NULL, "hf_construct_unique");
    random_bytes(rng, objects[count].at, objects[count].size_bytes);
    for (unsigned i = 0; i <= count; i++)
        set_pointers(view, rng, &objects[i], objects, count + 1);
    hf_ref *root = hf_construct(txn, "root", &root_type, count);
    must(root != NULL, "the root");
    for (unsigned i = 0; i < count; i++)
        root[i] = hf_ref_of(view, objects[i].at - 1) + 1;
    must(hf_commit(txn) == 0, "hf_commit");
    must(hf_close(store) == 0, "hf_close");
    free(objects);
}

/* ---- comparing ------------------------------------------------------------------------------- */

struct side {
    hf_store *store;
    hf_view *view;
};

/* Places of the first store that have their counterpart, and which. */
struct pairs {
    struct pair {
        hf_ref a, b;
    } * pairs;
    size_t count, done;
};

static bool differ(const char *what, const char *name)
{
    printf("the stores differ: %s%s%s\n", what, name == NULL ? "" : " of ",
           name == NULL ? "" : name);
    return false;
}

/* The object at or before the address: raw blocks are looked for, too. */
static hf_ref start_of(const struct side *side, hf_ref ref, hf_object_info *info)
{
    hf_cursor objects = HF_CURSOR_INIT, blocks = HF_CURSOR_INIT;
    hf_object_info found;
    hf_ref best = 0;
    const void *raw;
    size_t size;
    while (hf_next_object(side->view, &objects, &found) == 1) {
        hf_ref start = hf_ref_of(side->view, (const char *)found.object - 1) + 1;
        if (start <= ref && ref - start <= found.size_bytes && start >= best) {
            best = start;
            *info = found;
        }
    }
    while (hf_next_raw(side->view, &blocks, &raw, &size) == 1) {
        hf_ref start = hf_ref_of(side->view, raw);
        if (start <= ref && ref - start <= size && start >= best) {
            best = start;
            *info = (hf_object_info){.object = raw, .type_name = "", .size_bytes = size};
        }
    }
    return best;
}

static bool pair_up(struct pairs *pairs, hf_ref a, hf_ref b)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (pairs->pairs[i].a == a || pairs->pairs[i].b == b)
            return pairs->pairs[i].a == a && pairs->pairs[i].b == b
                       ? true
                       : differ("two objects have become one, or one two", NULL);
    pairs->pairs = realloc(pairs->pairs, (pairs->count + 1) * sizeof *pairs->pairs);
    must(pairs->pairs != NULL, "memory");
    pairs->pairs[pairs->count++] = (struct pair){a, b};
    return true;
}

static bool same_pointer(const struct side *a, const struct side *b, struct pairs *pairs,
                         const unsigned char *at_a, const unsigned char *at_b, uint32_t kind)
{
    hf_object_info info_a, info_b;
    uint64_t value_a, value_b;
    memcpy(&value_a, at_a, 8);
    memcpy(&value_b, at_b, 8);
    const uint64_t null = kind == HF_FIELD_REF ? 0 : (uint64_t)HF_PTR_NULL;
    if (value_a == null || value_b == null)
        return value_a == value_b ? true : differ("a null pointer", NULL);
    if (kind == HF_FIELD_PTR) {
        value_a += hf_ref_of(a->view, at_a);
        value_b += hf_ref_of(b->view, at_b);
    }
    hf_ref start_a = start_of(a, value_a, &info_a), start_b = start_of(b, value_b, &info_b);
    if (start_a == 0 || start_b == 0 || value_a - start_a != value_b - start_b)
        return differ("a pointer's place in its object", NULL);
    return pair_up(pairs, start_a, start_b);
}

/* Compares an element; pointers pair up what they lead to, and are then taken for the same. */
static bool same_element(const struct side *a, const struct side *b, struct pairs *pairs,
                         const hf_object_info *info, const unsigned char *at_a,
                         const unsigned char *at_b, size_t size_bytes)
{
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_field_info field, before = {0};
    unsigned char *left = must_alloc(size_bytes), *right = must_alloc(size_bytes);
    bool same = true;
    memcpy(left, at_a, size_bytes);
    memcpy(right, at_b, size_bytes);
    for (; same && hf_next_field(a->view, info->type_id, &cursor, &field) == 1; before = field) {
        uint64_t times = field.times, told = 0;
        if (field.counted)
            memcpy(&told, at_a + before.offset, before.entry_bytes);
        if (field.counted && told < times)
            times = told;
        if (field.kind > HF_FIELD_PTR)
            continue;
        for (uint64_t k = 0; k < times && same; k++)
            same = same_pointer(a, b, pairs, at_a + field.offset + 8 * k,
                                at_b + field.offset + 8 * k, field.kind);
        memset(left + field.offset, 0, 8 * (size_t)field.times);
        memset(right + field.offset, 0, 8 * (size_t)field.times);
    }
    if (same && memcmp(left, right, size_bytes) != 0)
        same = differ("bytes", info->type_name);
    free(left);
    free(right);
    return same;
}

static bool same_object(const struct side *a, const struct side *b, struct pairs *pairs,
                        struct pair pair)
{
    hf_object_info info_a, info_b;
    if (start_of(a, pair.a, &info_a) != pair.a || start_of(b, pair.b, &info_b) != pair.b)
        return differ("an object's start", NULL);
    if (strcmp(info_a.type_name, info_b.type_name) != 0 || info_a.kind != info_b.kind ||
        info_a.count != info_b.count || (info_a.name == NULL) != (info_b.name == NULL) ||
        (info_a.name != NULL && strcmp(info_a.name, info_b.name) != 0))
        return differ("type, kind, name or count", info_a.name);
    /* The capacity of a raw block is its allocator's business, at least what was there. */
    if (info_a.kind == 0 ? info_a.size_bytes > info_b.size_bytes
                         : info_a.size_bytes != info_b.size_bytes)
        return differ("the size", info_a.name);
    const size_t size =
        info_a.count == 0 ? (size_t)info_a.size_bytes : (size_t)(info_a.size_bytes / info_a.count);
    const uint64_t count = info_a.count == 0 && info_a.size_bytes > 0 ? 1 : info_a.count;
    for (uint64_t i = 0; i < count; i++)
        if (!same_element(a, b, pairs, &info_a, (const unsigned char *)info_a.object + i * size,
                          (const unsigned char *)info_b.object + i * size, size))
            return false;
    return true;
}

static void open_side(struct side *side, const char *path)
{
    hf_options options = HF_OPTIONS_INIT;
    options.mode = HF_READ_ONLY;
    must(hf_open(path, &options, &side->store) == 0, path);
    must(hf_view_begin(side->store, &side->view) == 0, "a view");
}

static void close_side(struct side *side)
{
    hf_view_end(side->view);
    must(hf_close(side->store) == 0, "hf_close");
}

bool dump_graph_same(const char *path_a, const char *path_b)
{
    hf_cursor cursor = HF_CURSOR_INIT;
    struct pairs pairs = {NULL, 0, 0};
    hf_object_info info;
    struct side a, b;
    open_side(&a, path_a);
    open_side(&b, path_b);
    bool same = hf_count_named(a.view) == hf_count_named(b.view) &&
                hf_count_unique(a.view) == hf_count_unique(b.view);
    while (same && hf_next_named(a.view, &cursor, &info) == 1) {
        const void *other = hf_find(b.view, info.name, NULL, NULL);
        same = other != NULL ? pair_up(&pairs, hf_ref_of(a.view, (const char *)info.object - 1) + 1,
                                       hf_ref_of(b.view, (const char *)other - 1) + 1)
                             : differ("a name is missing", info.name);
    }
    for (; same && pairs.done < pairs.count; pairs.done++)
        same = same_object(&a, &b, &pairs, pairs.pairs[pairs.done]);
    free(pairs.pairs);
    close_side(&a);
    close_side(&b);
    return same;
}

/* ---- running --------------------------------------------------------------------------------- */

int dump_graph_run(const char *format, ...)
{
    const char *command = getenv("HF_COMMAND");
    char text[2048];
    va_list arguments;
    int length = snprintf(text, sizeof text, "'%s' ", command == NULL ? "holdfast" : command);
    va_start(arguments, format);
    vsnprintf(text + length, sizeof text - (size_t)length, format, arguments);
    va_end(arguments);
    int status = system(text);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

char *dump_graph_read(const char *path, size_t *size_bytes)
{
    FILE *file = fopen(path, "re");
    struct stat status;
    must(file != NULL && fstat(fileno(file), &status) == 0, path);
    char *text = must_alloc((size_t)status.st_size + 1);
    *size_bytes = fread(text, 1, (size_t)status.st_size, file);
    text[*size_bytes] = '\0';
    fclose(file);
    return text;
}
