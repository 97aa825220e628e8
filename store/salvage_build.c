/* SPDX-License-Identifier: MIT */
/*
 * salvage_build.c - what is saved from a wreck, as a new store
 *
 *   1  reach   from named and unique objects that are wanted through the pointers that types declare
 *   2  copy    each one that is reached, in transactions of some MiB; its new place is noted
 *   3  point   pointers are rewritten to the new places, or become null
 *
 * The new store is made under a spare name, closed, which syncs it, and then given its own. As long as that takes
 * a lock keeps those away who remove what dead makers left (create.c).
 *
 * Invariants
 *   B1  what is intact leads only to what is intact; what isn't proved is reached from what isn't proved
 *   B2  a pointer in the new store is null or leads into an object (or memory) of the new store or one past it,
 *       as far as it led before
 */
#include "salvage.h"

#include "refs.h"

#include "base/bug.h"
#include "base/os.h"
#include "sync/range_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH_BYTES (UINT64_C(8) << 20)
#define SUFFIX      ".unproved"
#define ALIGN_MAX   4096u

/* ---- 1. reach -------------------------------------------------------------------------------- */

/* The one whose bytes or whose very end are there; NULL if nothing is. Where one ends and the next one
 * begins it is the latter. */
static struct hf__found *found_at(const struct hf__wreck *wreck, hf_ref at)
{
    size_t low = 0, high = wreck->found_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (wreck->found[middle].elements <= at)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    struct hf__found *found = &wreck->found[low - 1];
    return at - found->elements <= found->size_bytes ? found : NULL;
}

/* B1: the one a pointer in `from` may lead to, or NULL. */
static struct hf__found *target_of(const struct hf__wreck *wreck, const struct hf__found *from,
                                   const struct hf__ref_field *field)
{
    struct hf__found *found =
        found_at(wreck, hf__ref_read(&wreck->store->seg, field->at, field->kind));
    return found != NULL && hf__found_wanted(wreck, found) &&
                   hf__found_leads(wreck, found,
                                   hf__ref_read(&wreck->store->seg, field->at, field->kind)) &&
                   (found->verdict == HF_SALVAGE_INTACT || from->verdict != HF_SALVAGE_INTACT)
               ? found
               : NULL;
}

struct reach {
    struct hf__wreck *wreck;
    struct hf__found *from;
    uint32_t *stack; /* numbers of those whose pointers weren't followed yet                      */
    size_t count;
};

static int follow(void *user, const struct hf__ref_field *field)
{
    struct reach *reach = user;
    struct hf__wreck *wreck = reach->wreck;
    if (hf__ref_read(&wreck->store->seg, field->at, field->kind) == 0)
        return 0;
    struct hf__found *target = target_of(wreck, reach->from, field);
    wreck->report->pointers++;
    if (target == NULL) {
        reach->from->nulled++;
        wreck->report->nulled++;
    } else if (!target->reached) {
        target->reached = 1;
        reach->stack[reach->count++] = (uint32_t)(target - wreck->found);
    }
    return 0;
}

static void follow_all(struct reach *reach)
{
    struct hf__wreck *wreck = reach->wreck;
    while (reach->count != 0) {
        reach->from = &wreck->found[reach->stack[--reach->count]];
        const struct hf__type_record *record = hf__wreck_type(wreck, reach->from->type_id);
        if (record != NULL && reach->from->pool == 0) /* a pool's lead to its chunks */
            (void)hf__refs_each(&wreck->store->seg, record, reach->from->elements,
                                hf__found_header(wreck, reach->from)->count, follow, reach);
    }
}

/* Objects with one name together, intact ones first. */
static int by_name(const void *a, const void *b, void *context)
{
    const struct hf__wreck *wreck = context;
    const struct hf__found *x = &wreck->found[*(const uint32_t *)a];
    const struct hf__found *y = &wreck->found[*(const uint32_t *)b];
    int order = (int)x->kind - (int)y->kind;
    if (order == 0)
        order = strcmp(hf__found_name(wreck, x), hf__found_name(wreck, y));
    if (order == 0)
        order = (int)x->verdict - (int)y->verdict;
    return order != 0 ? order : (x > y) - (x < y);
}

static void find_twins(struct hf__wreck *wreck, uint32_t *roots, size_t count)
{
    const struct hf__found *kept = NULL;
    qsort_r(roots, count, sizeof *roots, by_name, wreck);
    for (size_t i = 0; i < count; i++) {
        struct hf__found *found = &wreck->found[roots[i]];
        if (kept == NULL || kept->kind != found->kind || kept->verdict != found->verdict ||
            strcmp(hf__found_name(wreck, kept), hf__found_name(wreck, found)) != 0) {
            kept = found;
        } else {
            found->verdict = HF_SALVAGE_LOST;
            found->why = HF__WHY_TWICE;
        }
    }
}

int hf__wreck_reach(struct hf__wreck *wreck)
{
    const bool nameless = wreck->constants_known && wreck->store->constants.index == HF_INDEX_NULL;
    struct reach reach = {.wreck = wreck};
    size_t roots = 0;
    if (wreck->found_count > UINT32_MAX)
        return hf__fail(HF_EOVERFLOW, "more than 2^32 objects");
    reach.stack = malloc((wreck->found_count + 1) * sizeof *reach.stack);
    if (reach.stack == NULL)
        return hf__fail(HF_ENOMEM, "following pointers");
    for (size_t i = 0; i < wreck->found_count; i++)
        if (wreck->found[i].lead != 0 && hf__found_wanted(wreck, &wreck->found[i]))
            reach.stack[roots++] = (uint32_t)i;
    find_twins(wreck, reach.stack, roots);
    for (size_t i = 0; i < wreck->found_count; i++) {
        struct hf__found *found = &wreck->found[i];
        if (found->reached || !hf__found_wanted(wreck, found) || (found->lead == 0 && !nameless))
            continue;
        found->reached = 1;
        reach.stack[reach.count++] = (uint32_t)i;
        follow_all(&reach);
    }
    free(reach.stack);
    hf__wreck_reach_chunks(wreck);
    return 0;
}

/* ---- types ----------------------------------------------------------------------------------- */

/* Descriptors as programs have them, from the records: by id. Text and sizes are the records' own. */
struct types {
    hf_type *types;
    hf_field *fields;
};

static int make_types(const struct hf__wreck *wreck, struct types *out)
{
    size_t fields = 0;
    for (uint32_t id = 1; id <= wreck->type_max; id++)
        fields += wreck->records[id] == 0 ? 0 : hf__wreck_type(wreck, id)->field_count;
    out->types = calloc(wreck->type_max + (size_t)1, sizeof *out->types);
    out->fields = calloc(fields + 1, sizeof *out->fields);
    if (out->types == NULL || out->fields == NULL)
        return hf__fail(HF_ENOMEM, "the types");
    hf_field *next = out->fields;
    for (uint32_t id = 1; id <= wreck->type_max; id++) {
        const struct hf__type_record *record = hf__wreck_type(wreck, id);
        if (record == NULL)
            continue;
        const struct hf__type_field *from = hf__type_record_fields(record);
        out->types[id] = (hf_type){hf__type_record_name(record), record->version,
                                   record->size_bytes, record->align_bytes, record->flags, next,
                                   record->field_count};
        for (uint32_t i = 0; i < record->field_count; i++, next++)
            *next = (hf_field){from[i].offset, from[i].kind,
                               from[i].target_id == 0 || from[i].target_id > wreck->type_max
                                   ? NULL
                                   : &out->types[from[i].target_id]};
    }
    return 0;
}

/* ---- 2. copy --------------------------------------------------------------------------------- */

struct build {
    struct hf__wreck *wreck;
    hf_store *store;
    hf_txn *txn;
    int lock_fd;
    uint64_t bytes;  /* written in this transaction                                              */
    struct types types;
    struct hf__found *from; /* whose pointers are rewritten                                       */
    unsigned char *to;
};

/* Ends the transaction if it is large, and begins the next one. */
static int batch(struct build *build, uint64_t bytes)
{
    int code = 0;
    build->bytes += bytes + 256;
    if (build->bytes < BATCH_BYTES)
        return 0;
    code = hf_commit(build->txn);
    build->txn = NULL;
    if (code == 0)
        code = hf__wreck_step(build->wreck, build->bytes);
    if (code == 0)
        code = hf_begin(build->store, &build->txn);
    build->bytes = 0;
    return code;
}

bool hf__wreck_new_name(const struct hf__wreck *wreck, const struct hf__found *found,
                        char out[HF_NAME_BYTES_MAX + 1])
{
    const char *suffix = found->verdict == HF_SALVAGE_INTACT ? "" : SUFFIX;
    const int length =
        snprintf(out, HF_NAME_BYTES_MAX + 1, "%s%s", hf__found_name(wreck, found), suffix);
    return length <= HF_NAME_BYTES_MAX;
}

static void *make(struct build *build, const struct hf__found *found)
{
    const struct hf__wreck *wreck = build->wreck;
    const hf_type *type = found->type_id == 0 ? NULL : &build->types.types[found->type_id];
    char name[HF_NAME_BYTES_MAX + 1];
    if (found->kind == 0) {
        /* How it was aligned is known only by where it lies. */
        const uint64_t low = found->elements & (0 - found->elements);
        const uint64_t most = found->size_bytes >= ALIGN_MAX ? ALIGN_MAX : HF__LINE_BYTES;
        return hf_alloc_aligned(build->txn, found->size_bytes, low < most ? low : most);
    }
    const size_t count = (size_t)(type == NULL ? found->size_bytes
                                               : hf__found_header(wreck, found)->count);
    if (found->lead == 0)
        return hf_new(build->txn, type, count);
    if (found->kind == HF_KIND_UNIQUE && found->verdict == HF_SALVAGE_INTACT)
        return hf_construct_unique(build->txn, type, count);
    if (!hf__wreck_new_name(wreck, found, name)) {
        hf__fail(HF_ENAME, "with its suffix the name is too long");
        return NULL;
    }
    return found->pool != 0 ? hf__salvaged_pool(wreck, found, build->txn, name)
                            : hf_construct(build->txn, name, type, count);
}

/* What the new store won't take is left out, and told. */
static bool refuses(int code)
{
    return code == HF_EEXIST || code == HF_ENAME || code == HF_ETYPE || code == HF_EOVERFLOW ||
           code == HF_EINVAL || code == HF_ENOINDEX;
}

static int copy_one(struct build *build, struct hf__found *found)
{
    struct hf__wreck *wreck = build->wreck;
    void *to = make(build, found);
    if (to == NULL) {
        const int code = hf_last_error()->code;
        if (!refuses(code))
            return code;
        found->verdict = HF_SALVAGE_LOST;
        found->why = code == HF_EEXIST ? HF__WHY_TWICE : HF__WHY_REFUSED;
        return 0;
    }
    if (found->pool == 0)
        memcpy(to, hf__at(&wreck->store->seg, found->elements), (size_t)found->size_bytes);
    found->now = hf_ref_of(hf_txn_view(build->txn), to);
    return batch(build, found->size_bytes);
}

/* ---- 3. point -------------------------------------------------------------------------------- */

static int point_one(void *user, const struct hf__ref_field *field)
{
    struct build *build = user;
    struct hf__wreck *wreck = build->wreck;
    const struct hf__segment *seg = &wreck->store->seg;
    const hf_ref was = hf__ref_read(seg, field->at, field->kind);
    const uint64_t in = field->at - build->from->elements;
    if (was == 0)
        return 0;
    const struct hf__found *target = target_of(wreck, build->from, field);
    const hf_ref now = target == NULL || target->now == 0
                           ? 0
                           : target->now + (was - target->elements);
    if (target != NULL && target->now == 0) { /* refused when it was copied */
        build->from->nulled++;
        wreck->report->nulled++;
    }
    const uint64_t value = hf__ref_encode(build->from->now + in, field->kind, now);
    memcpy(build->to + in, &value, sizeof value);
    return 0;
}

static bool has_pointers(const struct hf__type_record *record)
{
    for (uint32_t i = 0; record != NULL && i < record->field_count; i++)
        if (hf__field_refers(hf__type_record_fields(record)[i].kind))
            return true;
    return false;
}

static int point(struct build *build, struct hf__found *found)
{
    const struct hf__wreck *wreck = build->wreck;
    const struct hf__type_record *record = hf__wreck_type(wreck, found->type_id);
    if (!has_pointers(record) || found->size_bytes == 0 || found->pool != 0)
        return 0;
    build->from = found;
    build->to = hf_edit(build->txn, hf_at(hf_txn_view(build->txn), found->now),
                        (size_t)found->size_bytes);
    if (build->to == NULL)
        return hf_last_error()->code;
    (void)hf__refs_each(&wreck->store->seg, record, found->elements,
                        hf__found_header(wreck, found)->count, point_one, build);
    return batch(build, found->size_bytes);
}

/* ---- the new store --------------------------------------------------------------------------- */

/* Pools before their chunks, all of those, and then what doesn't live in them. A pool that was refused takes its
 * chunks with it. */
static int fill_pools(struct build *build)
{
    struct hf__wreck *wreck = build->wreck;
    int code = 0;
    for (size_t i = 0; code == 0 && i < wreck->found_count; i++)
        if (wreck->found[i].reached && wreck->found[i].pool != 0 && wreck->found[i].kind != 0)
            code = copy_one(build, &wreck->found[i]);
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; code == 0 && i < wreck->found_count; i++) {
            struct hf__found *found = &wreck->found[i];
            if (found->pool == 0 || found->kind != 0 || wreck->found[found->pool - 1].now == 0)
                continue;
            code = round == 0 ? hf__salvaged_chunk(wreck, found, build->txn)
                              : hf__salvaged_trim(wreck, found, build->txn);
            if (code == 0)
                code = batch(build, found->size_bytes);
        }
    return code;
}

static int fill(struct build *build)
{
    struct hf__wreck *wreck = build->wreck;
    int code = hf_begin(build->store, &build->txn);
    if (code == 0)
        code = fill_pools(build);
    /* Intact ones first, so that a name that is there twice goes to them. */
    for (uint8_t verdict = 0; code == 0 && verdict <= HF_SALVAGE_NOT_PROVED; verdict++)
        for (size_t i = 0; code == 0 && i < wreck->found_count; i++)
            if (wreck->found[i].reached && wreck->found[i].verdict == verdict &&
                wreck->found[i].pool == 0)
                code = copy_one(build, &wreck->found[i]);
    for (size_t i = 0; code == 0 && i < wreck->found_count; i++)
        if (wreck->found[i].now != 0)
            code = point(build, &wreck->found[i]);
    if (code == 0) {
        code = hf_commit(build->txn);
        build->txn = NULL;
    }
    if (code != 0 && build->txn != NULL) {
        const hf_error failure = *hf_last_error();
        hf_abort(build->txn);
        hf__fail_again(&failure);
    }
    return code;
}

static int make_store(struct build *build, const char *path)
{
    const struct hf__wreck *wreck = build->wreck;
    const struct hf__constants *constants = &wreck->store->constants;
    hf_options options = HF_OPTIONS_INIT;
    options.mode = HF_CREATE_NEW;
    options.durability = HF_NOSYNC; /* closing it syncs it                                      */
    options.lock_timeout_ms = 1000; /* nobody knows of it                                       */
    options.permissions = wreck->options->permissions;
    if (wreck->constants_known) {
        options.engine = constants->engine;
        options.allocator = constants->allocator;
        options.index = constants->index;
        options.size_max_bytes = constants->size_max_bytes;
        options.size_initial_bytes =
            constants->size_max_bytes < (UINT64_C(1) << 20) ? constants->size_max_bytes : 0;
        options.layout = constants->layout[0] == '\0' ? NULL : constants->layout;
        options.layout_version = constants->layout_version;
    }
    int code = make_types(wreck, &build->types);
    if (code == 0)
        code = hf_open(path, &options, &build->store);
    if (code != 0)
        return code;
    build->lock_fd = hf__os->open(path, O_RDWR | O_CLOEXEC, 0);
    if (build->lock_fd < 0 || hf__range_exclusive(build->lock_fd, HF__RANGE_MAKING) != 0)
        code = hf__fail_os(errno, path, "keeping its spare name");
    else
        code = fill(build);
    const hf_error failure = *hf_last_error();
    const int closed = hf_close(build->store);
    return code != 0 ? hf__fail_again(&failure) : closed;
}

int hf__wreck_build(struct hf__wreck *wreck, const char *to_path)
{
    struct build build = {.wreck = wreck, .lock_fd = -1};
    char *spare;
    uint32_t number;
    hf__random_bytes(&number, sizeof number);
    if (asprintf(&spare, "%s.new-%ld-%08x", to_path, (long)getpid(), number) < 0)
        return hf__fail(HF_ENOMEM, "a file name");
    int code = make_store(&build, spare);
    if (code == 0)
        code = hf__give_name(spare, to_path, hf__os->rename_new,
                             !HF__BUG(SALVAGE_DIRECTORY_NOT_SYNCED));
    /* After a success, too: a close that couldn't look at the file has left its sidecars. */
    const hf_error failure = *hf_last_error();
    hf__spare_unlink(spare);
    hf__fail_again(&failure);
    if (build.lock_fd >= 0)
        hf__os->close(build.lock_fd);
    free(build.types.types);
    free(build.types.fields);
    free(spare);
    return code;
}
