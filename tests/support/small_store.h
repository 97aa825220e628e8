/* SPDX-License-Identifier: MIT */
/*
 * small_store.h - a small store with something of everything in it, for tests that damage it
 *
 * small_store_make builds one and keeps its file's bytes, what each byte is (its region), and where
 * each object lies. small_store_exercise then opens any file as if it were that store, calls
 * everything that reads, and a transaction in private memory, and says what came of it. It must
 * survive every file whatsoever; that is what is tested.
 */
#ifndef HF_TESTS_SUPPORT_SMALL_STORE_H
#define HF_TESTS_SUPPORT_SMALL_STORE_H

#include "holdfast.h"
#include "base/hash.h"
#include "store/store_format.h"
#include "tests/support/campaign.h"

#include <fcntl.h>

#define SMALL_OBJECTS_MAX 96u
#define SMALL_WALK_MAX    100000u /* more steps in an iteration than any small store has: a loop */

enum region {
    REGION_SLOT_A,
    REGION_SLOT_B,
    REGION_GAP,            /* between header slots and segment */
    REGION_SEGMENT_HEADER, /* used fields */
    REGION_RESERVED,       /* its reserved bytes */
    REGION_BLOCK_HEADER,
    REGION_CHUNK,         /* what stands in front of a chunk's slots, and the directory of chunks */
    REGION_OBJECT_HEADER, /* index node, name, object header */
    REGION_SYSTEM,        /* type records, index arrays */
    REGION_FREE_NODE,
    REGION_USER,  /* the payload of objects and raw blocks */
    REGION_SLACK, /* rounding behind an object */
    REGION_FREE,  /* the payload of free blocks */
    REGION_TAIL,
    REGION_COUNT
};
static const char *const region_names[] = {
    "header slot A", "header slot B", "gap",          "segment header", "reserved",
    "block header",  "chunk",         "object header", "system block",  "free node",
    "user payload",  "slack",         "free payload",  "tail"};

/* Does the format answer for these bytes? */
static inline bool region_is_metadata(unsigned char region)
{
    return region != REGION_GAP && region != REGION_RESERVED && region != REGION_USER &&
           region != REGION_SLACK && region != REGION_FREE && region != REGION_TAIL;
}

enum small_kind { SMALL_NAMED, SMALL_UNIQUE, SMALL_ANONYMOUS, SMALL_RAW };

struct small_object {
    enum small_kind kind;
    char name[80];
    uint32_t type; /* number in small_types; 0 = plain bytes */
    uint64_t count, size_bytes;
    hf_ref ref;
    uint64_t block_from, block_end; /* in the segment, header included */
    uint64_t chunk_from, chunk_end, chunk_record; /* the chunk that its slot is in, 0 = none */
};

/* Where the header of its block, or of its chunk, is. */
static inline uint64_t small_header_of(const struct small_object *object)
{
    return object->chunk_from != 0 ? object->chunk_from : object->block_from;
}

/* What makes a chunk a chunk: who damages that takes all its slots away. Bitmaps and lists can be
 * mended. */
static inline bool small_chunk_essence(const struct small_object *object, uint64_t in_segment)
{
    uint64_t in_record = in_segment - object->chunk_record;
    return object->chunk_from != 0 &&
           (in_segment - object->chunk_from < HF__BLOCK_HEADER_BYTES ||
            (in_record >= offsetof(struct hf__chunk, check) &&
             in_record < offsetof(struct hf__chunk, sum)) ||
            (in_record >= offsetof(struct hf__chunk, slots) &&
             in_record < offsetof(struct hf__chunk, taken)) ||
            (in_record >= offsetof(struct hf__chunk, slot_class) &&
             in_record < offsetof(struct hf__chunk, reserved)));
}

struct small_store {
    uint32_t allocator, index;
    unsigned char *image, *regions;
    size_t image_bytes;
    uint64_t salt, used_end;
    struct small_object objects[SMALL_OBJECTS_MAX];
    size_t objects_count;
};

static const hf_field small_fields[] = {{0, HF_FIELD_REF, NULL}, {8, HF_FIELD_PTR, NULL}};
static const hf_type small_types[] = {
    {NULL, 0, 0, 0, 0, NULL, 0},
    {"small/links", 1, 40, 8, 0, small_fields, 2},
    {"small/blob", 3, 24, 8, HF_TYPE_BLOB, NULL, 0},
    {"small/wide", 1, 128, 64, 0, NULL, 0},
};

static inline const hf_type *small_type(const struct small_object *object)
{
    return object->type == 0 ? NULL : &small_types[object->type];
}

/* ---- making ---------------------------------------------------------------------------------- */

static inline bool small_add(struct small_store *s, hf_txn *txn, enum small_kind kind,
                             uint64_t random)
{
    struct small_object *o = &s->objects[s->objects_count];
    void *at = NULL;
    *o = (struct small_object){.kind = kind};
    o->type = kind == SMALL_UNIQUE ? 1 + (uint32_t)(s->objects_count % 3) : (uint32_t)(random % 4);
    o->count = kind == SMALL_UNIQUE || o->type != 0 ? 1 + random / 4 % 3 : random / 4 % 300;
    if (kind == SMALL_RAW) {
        o->type = 0;
        o->count = 16 + random / 4 % 400;
    }
    o->size_bytes = o->count * (o->type == 0 ? 1 : small_types[o->type].size_bytes);
    snprintf(o->name, sizeof o->name, "%s/%llu%.*s", random % 3 == 0 ? "dir" : "other",
             (unsigned long long)(random / 16 % 100000), (int)(random % 40),
             "-a-longer-name-than-most-of-the-others-here");
    switch (kind) {
    case SMALL_NAMED:
        at = hf_construct(txn, o->name, small_type(o), o->count);
        break;
    case SMALL_UNIQUE:
        at = hf_construct_unique(txn, small_type(o), o->count);
        break;
    case SMALL_ANONYMOUS:
        at = hf_new(txn, small_type(o), o->count);
        break;
    case SMALL_RAW:
        at = hf_alloc(txn, o->count);
        break;
    }
    if (at == NULL)
        return false;
    content_fill(at, o->size_bytes, random);
    o->ref = hf_ref_of(hf_txn_view(txn), at);
    s->objects_count++;
    return true;
}

/* Fills the store in two transactions, the second of which leaves gaps. */
static inline bool small_fill(struct small_store *s, hf_store *store, uint64_t seed)
{
    struct rng rng = {seed};
    hf_txn *txn;
    if (hf_begin(store, &txn) != 0)
        return false;
    bool good = true;
    for (uint32_t i = 0; good && i < 60; i++) {
        enum small_kind kind = i % 20 == 7                               ? SMALL_UNIQUE
                               : i % 5 == 1                              ? SMALL_RAW
                               : i % 5 == 3 || s->index == HF_INDEX_NULL ? SMALL_ANONYMOUS
                                                                         : SMALL_NAMED;
        if (kind == SMALL_UNIQUE && s->index == HF_INDEX_NULL)
            kind = SMALL_ANONYMOUS;
        good = small_add(s, txn, kind, rng_next(&rng));
    }
    if (!good) {
        hf_abort(txn);
        return false;
    }
    if (hf_commit(txn) != 0 || hf_begin(store, &txn) != 0)
        return false;
    for (size_t i = s->objects_count; i-- > 0;) {
        const struct small_object *o = &s->objects[i];
        if (o->kind == SMALL_UNIQUE || !rng_percent(&rng, 25))
            continue;
        const void *at = hf_at(hf_txn_view(txn), o->ref);
        if (o->kind == SMALL_RAW)
            hf_free(txn, at);
        else
            good = good && hf_destroy_ptr(txn, at) == 0;
        s->objects[i] = s->objects[--s->objects_count];
    }
    return hf_commit(txn) == 0 && good;
}

static inline bool small_read_file(const char *path, unsigned char **out, size_t *out_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0)
        return false;
    bool good = fstat(fd, &info) == 0;
    if (good) {
        *out_bytes = (size_t)info.st_size;
        *out = must_alloc(*out_bytes);
        good = pread(fd, *out, *out_bytes, 0) == info.st_size;
    }
    close(fd);
    return good;
}

static inline void small_mark(struct small_store *s, uint64_t segment_offset, uint64_t size_bytes,
                              enum region region)
{
    for (uint64_t i = 0; i < size_bytes && HF__SEGMENT_OFFSET + segment_offset + i < s->image_bytes;
         i++)
        s->regions[HF__SEGMENT_OFFSET + segment_offset + i] = (unsigned char)region;
}

static inline void small_mark_object(struct small_store *s, uint64_t from, uint64_t end)
{
    for (size_t i = 0; i < s->objects_count; i++) {
        struct small_object *o = &s->objects[i];
        bool inside = o->size_bytes == 0 ? o->ref > from && o->ref <= end
                                         : o->ref >= from && o->ref < end;
        if (!inside) /* an empty object may lie at its block's very end */
            continue;
        o->block_from = from;
        o->block_end = end;
        small_mark(s, o->ref, o->size_bytes, REGION_USER);
        small_mark(s, o->ref + o->size_bytes, end - o->ref - o->size_bytes, REGION_SLACK);
    }
}

/* The slots of a chunk, as block_format.h describes it. */
static inline void small_map_chunk(struct small_store *s, uint64_t at, uint64_t size_bytes)
{
    uint64_t bytes = size_bytes & ~UINT64_C(4095), record = at + 64;
    if (bytes == 65536)
        record += 64 * ((uint64_t)((uint32_t)(at >> 16) * 0x9e3779b9u) * 896 >> 32);
    const struct hf__chunk *chunk = (const void *)(s->image + HF__SEGMENT_OFFSET + record);
    const struct hf__chunk_word *words = (const void *)(chunk + 1);
    uint64_t number = chunk->slot_class;
    uint64_t slot = number < 32   ? 8 * (number + 1)
                    : number < 48 ? 256 + 16 * (number - 31)
                                  : 512 + 32 * (number - 47);
    uint64_t above = record + sizeof *chunk + ((bytes - 64) / (64 * slot) + 1) * 16;
    uint64_t lower = (record - at - HF__BLOCK_HEADER_BYTES) / slot;
    uint64_t slots = lower + (at + bytes - above) / slot;
    small_mark(s, at + HF__BLOCK_HEADER_BYTES, size_bytes - HF__BLOCK_HEADER_BYTES, REGION_FREE);
    small_mark(s, record, above - record, REGION_CHUNK);
    for (uint64_t i = 0; i < slots; i++) {
        uint64_t from = i < lower ? at + HF__BLOCK_HEADER_BYTES + i * slot
                                  : above + (i - lower) * slot;
        if ((words[i / 64].taken >> i % 64 & 1) == 0)
            continue;
        small_mark(s, from, slot, REGION_OBJECT_HEADER);
        small_mark_object(s, from, from + slot);
        for (size_t o = 0; o < s->objects_count; o++)
            if (s->objects[o].block_from == from) {
                s->objects[o].chunk_from = at;
                s->objects[o].chunk_end = at + size_bytes;
                s->objects[o].chunk_record = record;
            }
    }
}

static inline bool small_map_regions(struct small_store *s)
{
    const struct hf__segment_header *header = (const void *)(s->image + HF__SEGMENT_OFFSET);
    memset(s->regions, REGION_GAP, HF__SEGMENT_OFFSET);
    memset(s->regions, REGION_SLOT_A, HF__SLOT_BYTES);
    memset(s->regions + HF__SLOT_B_OFFSET, REGION_SLOT_B, HF__SLOT_BYTES);
    memset(s->regions + HF__SEGMENT_OFFSET, REGION_TAIL, s->image_bytes - HF__SEGMENT_OFFSET);
    small_mark(s, 0, offsetof(struct hf__segment_header, reserved), REGION_SEGMENT_HEADER);
    small_mark(s, offsetof(struct hf__segment_header, reserved), sizeof header->reserved,
               REGION_RESERVED);
    s->salt = header->constants.salt;
    s->used_end = header->heap.used_end;
    for (uint64_t at = header->heap.first; at < header->heap.used_end;) {
        const struct hf__block_header *block = (const void *)(s->image + HF__SEGMENT_OFFSET + at);
        uint64_t size = (block->size_word & ((UINT64_C(1) << 44) - 1)) * HF__BLOCK_UNIT;
        uint64_t kind = block->size_word >> 44 & 15;
        if (size < HF__BLOCK_HEADER_BYTES || size > header->heap.used_end - at)
            return false;
        small_mark(s, at, HF__BLOCK_HEADER_BYTES, REGION_BLOCK_HEADER);
        small_mark(s, at + HF__BLOCK_HEADER_BYTES, size - HF__BLOCK_HEADER_BYTES,
                   kind == HF__BLOCK_FREE     ? REGION_FREE
                   : kind == HF__BLOCK_SYSTEM ? REGION_SYSTEM
                                              : REGION_OBJECT_HEADER);
        if (kind == HF__BLOCK_FREE)
            small_mark(s, at + HF__BLOCK_HEADER_BYTES, s->allocator == HF_ALLOC_SEQ_FIT ? 8 : 24,
                       REGION_FREE_NODE);
        if (kind == HF__BLOCK_CHUNK)
            small_map_chunk(s, at, size);
        else if (kind == HF__BLOCK_SLABS)
            small_mark(s, at + HF__BLOCK_HEADER_BYTES, HF__SLABS_BYTES, REGION_CHUNK);
        else
            small_mark_object(s, at, at + size);
        at += size;
    }
    return true;
}

static inline void small_store_free(struct small_store *s)
{
    free(s->image);
    free(s->regions);
    *s = (struct small_store){0};
}

/* Builds the store at path, keeps all there is to know of it, and removes the file. */
static inline bool small_store_make(struct small_store *s, const char *path, uint32_t engine,
                                    uint32_t allocator, uint32_t index, uint64_t seed)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    *s = (struct small_store){.allocator = allocator, .index = index};
    options.mode = HF_CREATE_NEW;
    options.engine = engine;
    options.allocator = allocator;
    options.index = index;
    options.size_initial_bytes = allocator == HF_ALLOC_SLAB ? 320 << 10 : 40 << 10;
    options.size_max_bytes = 16 << 20;
    options.layout = "small";
    if (hf_open(path, &options, &store) != 0)
        return false;
    bool good = small_fill(s, store, seed);
    good = hf_close(store) == 0 && good;
    good = good && small_read_file(path, &s->image, &s->image_bytes);
    good = good && s->image_bytes > HF__SEGMENT_OFFSET + HF__SEGMENT_HEADER_BYTES;
    if (good) {
        s->regions = must_alloc(s->image_bytes);
        good = small_map_regions(s);
    }
    hf_remove(path);
    return good;
}

/* The checksum in a block's header, as block_format.h describes it. */
static inline uint32_t small_block_check(uint64_t salt, uint64_t offset, uint64_t size_word,
                                         uint64_t prev_word)
{
    uint64_t words[3] = {offset, size_word & ((UINT64_C(1) << 52) - 1),
                         prev_word & ((UINT64_C(1) << 44) - 1)};
    uint64_t hash = hf__hash(words, sizeof words, salt);
    return (uint32_t)(hash ^ hash >> 32);
}

static inline void small_block_seal(struct hf__block_header *header, uint64_t salt, uint64_t offset)
{
    uint32_t check = small_block_check(salt, offset, header->size_word, header->prev_word);
    header->size_word &= (UINT64_C(1) << 52) - 1;
    header->prev_word &= (UINT64_C(1) << 44) - 1;
    header->size_word |= (uint64_t)(check & 0xFFF) << 52;
    header->prev_word |= (uint64_t)(check >> 12) << 44;
}

/* Makes both checksums of a header slot right again. */
static inline void small_slot_seal(unsigned char *slot)
{
    struct hf__file_header *header = (void *)slot;
    header->constants.check =
        hf__hash(&header->constants, offsetof(struct hf__constants, check), 0);
    header->check = hf__hash(header, offsetof(struct hf__file_header, check), 0);
}

/* ---- exercising ------------------------------------------------------------------------------ */

/* Keeps what the check says, for the report of a case. */
static inline void small_note_finding(void *user, const hf_finding *finding)
{
    char *said = user;
    if (said[0] == '\0')
        snprintf(said, 120, "%s at %llu: %s", finding->rule, (unsigned long long)finding->offset,
                 finding->expected);
}

struct outcome {
    int check_code, open_code, sanity_code, begin_code, transaction_code;
    uint64_t findings;
    bool walk_looped, walk_failed, code_unknown;
    uint32_t equal, differ, missing; /* of the objects that were asked for */
    char said[200];                  /* what the check and hf_open said, the first of each */
};

static inline int outcome_code(struct outcome *out, int code)
{
    if (code > 0 || code < HF_ECANCELLED)
        out->code_unknown = true;
    return code;
}

/* Is this object there as it was? 1 equal, 0 other bytes or shape, -1 not there. */
static inline int small_compare(const struct small_store *s, const struct small_object *o,
                                hf_view *view, bool any_type)
{
    const hf_type *type = any_type ? NULL : small_type(o);
    const void *at = NULL;
    size_t count = (size_t)o->count;
    hf_object_info info;
    if (o->kind == SMALL_NAMED)
        at = hf_find(view, o->name, type, &count);
    else if (o->kind == SMALL_UNIQUE)
        at = hf_find_unique(view, small_type(o), &count);
    else
        at = hf_at(view, o->ref);
    if (at == NULL)
        return -1;
    if (o->kind == SMALL_RAW && hf_usable_bytes(view, at) < o->size_bytes)
        return -1;
    if (o->kind != SMALL_RAW && (hf_object_at(view, at, &info) != 0 || info.count != o->count))
        return -1;
    return count == o->count &&
           memcmp(at, s->image + HF__SEGMENT_OFFSET + o->ref, o->size_bytes) == 0;
}

static inline void small_walk(struct outcome *out, hf_view *view,
                              int (*next)(hf_view *, hf_cursor *, hf_object_info *))
{
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    uint64_t steps = 0, letters = 0;
    int more;
    while ((more = next(view, &cursor, &info)) == 1) {
        if (info.name != NULL)
            letters += strlen(info.name);
        letters += strlen(info.type_name);
        if (info.size_bytes != 0) /* the last byte that it claims can be read */
            letters += ((const volatile unsigned char *)info.object)[info.size_bytes - 1];
        if (++steps > SMALL_WALK_MAX) {
            out->walk_looped = true;
            return;
        }
    }
    if (more != 0 || letters == UINT64_MAX)
        out->walk_failed = true;
}

static inline void small_read_all(const struct small_store *s, hf_store *store, struct outcome *out,
                                  const unsigned char *touched)
{
    hf_view *view;
    hf_store_info info;
    hf_type_info type;
    hf_cursor cursor = HF_CURSOR_INIT;
    uint64_t steps = 0;
    int more;
    if (outcome_code(out, hf_view_begin(store, &view)) != 0) {
        out->walk_failed = true;
        return;
    }
    for (size_t i = 0; i < s->objects_count; i++) {
        int found = small_compare(s, &s->objects[i], view, false);
        if (touched != NULL && touched[i])
            continue;
        out->equal += found == 1;
        out->differ += found == 0;
        out->missing += found < 0;
    }
    small_walk(out, view, hf_next_object);
    if (s->index != HF_INDEX_NULL) {
        small_walk(out, view, hf_next_named);
        small_walk(out, view, hf_next_unique);
        cursor.prefix = "dir/";
        hf_object_info object;
        while (hf_next_named(view, &cursor, &object) == 1 && ++steps <= SMALL_WALK_MAX)
            ;
        out->walk_looped = out->walk_looped || steps > SMALL_WALK_MAX;
    }
    cursor = (hf_cursor)HF_CURSOR_INIT;
    for (steps = 0; (more = hf_next_type(view, &cursor, &type)) == 1; steps++) {
        if (steps > SMALL_WALK_MAX || strlen(type.name) == SIZE_MAX) {
            out->walk_looped = true;
            break;
        }
    }
    out->walk_failed = out->walk_failed || more < 0;
    hf_view_end(view);
    outcome_code(out, hf_info(store, &info));
}

/* Some of everything, in private memory. Errors are fine; the first HF_ECORRUPT is noted. */
static inline void small_transact(const struct small_store *s, hf_store *store, struct outcome *out,
                                  uint64_t random)
{
    hf_txn *txn;
    hf_mark mark;
    int codes[8] = {0};
    out->begin_code = outcome_code(out, hf_begin(store, &txn));
    if (out->begin_code != 0)
        return;
    hf_view *view = hf_txn_view(txn);
    void *made = s->index == HF_INDEX_NULL ? hf_new(txn, &small_types[1], 2)
                                           : hf_construct(txn, "dir/new", &small_types[1], 2);
    if (made == NULL)
        codes[0] = hf_last_error()->code;
    void *raw = hf_alloc(txn, random % 3000);
    if (raw == NULL)
        codes[1] = hf_last_error()->code;
    if (hf_alloc_aligned(txn, 100, 256) == NULL)
        codes[2] = hf_last_error()->code;
    hf_savepoint(txn, &mark);
    for (unsigned i = 0; i < 6; i++) {
        const struct small_object *o = &s->objects[(random >> i * 8 & 255) % s->objects_count];
        const void *at = hf_at(view, o->ref);
        if (at == NULL || (random >> 60 & 1) != 0)
            continue;
        if (hf_edit(txn, at, o->size_bytes) != NULL && i % 2 == 0)
            continue;
        if (o->kind == SMALL_RAW)
            hf_free(txn, at);
        else
            codes[3] = o->kind == SMALL_NAMED ? hf_destroy(txn, o->name) : hf_destroy_ptr(txn, at);
    }
    if ((random >> 61 & 1) != 0)
        hf_rollback_to(txn, mark);
    codes[4] = (random >> 62 & 1) != 0 ? hf_reserve_named(txn, 200) : hf_shrink_indexes(txn);
    if ((random >> 63 & 1) != 0)
        codes[5] = hf_commit(txn);
    else
        hf_abort(txn);
    for (unsigned i = 0; i < 6; i++)
        if (outcome_code(out, codes[i]) == HF_ECORRUPT)
            out->transaction_code = HF_ECORRUPT;
}

/* touched[i] != 0: object i's own bytes were changed, what it looks like is not asked. */
static inline void small_store_exercise(const struct small_store *s, const char *path,
                                        const unsigned char *touched, uint64_t random,
                                        struct outcome *out)
{
    hf_check_options check = HF_CHECK_OPTIONS_INIT;
    hf_options options = HF_OPTIONS_INIT;
    hf_check_report report;
    hf_store *store;
    *out = (struct outcome){0};
    memset(&report, 0, sizeof report);
    check.findings_max = 50;
    check.on_finding = small_note_finding;
    check.user = out->said;
    out->check_code = outcome_code(out, hf_check_file(path, &check, &report));
    out->findings = report.findings;
    if (out->check_code != 0 && out->said[0] == '\0')
        snprintf(out->said, 120, "%.100s", hf_last_error()->message);
    options.mode = HF_COPY_ON_WRITE;
    options.lock_timeout_ms = 2000;
    out->open_code = outcome_code(out, hf_open(path, &options, &store));
    if (out->open_code != 0) {
        size_t length = strlen(out->said);
        snprintf(out->said + length, sizeof out->said - length, "; open: %.60s",
                 hf_last_error()->message);
        return;
    }
    small_read_all(s, store, out, touched);
    out->sanity_code = outcome_code(out, hf_check_sanity(store, &check, &report));
    small_transact(s, store, out, random);
    outcome_code(out, hf_close(store));
}

#endif
