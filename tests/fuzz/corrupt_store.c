/* SPDX-License-Identifier: MIT */
/*
 * corrupt_store.c - small stores damaged in every byte of their metadata, and at random
 *
 * A small store of each allocator x index is made, half of them on each engine. Then each case damages a copy: first every byte
 * of metadata alone (and a sample of all other bytes), then random damage: scattered bytes, words
 * set to telling values, copies of other parts, zeroed ranges, swapped pages, cut and lengthened
 * files, and headers changed but given right checksums. Each case calls hf_check_file, opens the
 * store copy-on-write, reads everything, checks, and runs a transaction. A sample is repaired.
 *
 * Cases run in batches, each in a child process that keeps the case's number in a shared page; a
 * child that crashes or hangs fails that case, and the batch goes on behind it. Case n of a seed is
 * always the same: HF_TEST_CASE=n runs it alone.
 *
 * What is a failure:
 *   C1  a crash, a hang, an iteration without end, an unknown code
 *   C2  every check is clean, yet an object is gone or has other bytes, an iteration fails, or a
 *       transaction says HF_ECORRUPT; or a check says HF_ECORRUPT and names no finding. (The
 *       payload of users carries no checksum in the direct engine: an object whose own payload was
 *       hit is not asked.)
 *       A file that ends before its used end is not opened at all.
 *   C3  a file that copy-on-write or hf_check_file has changed
 *   C4  a repair that says it succeeded, while the check finds something, or an object that the
 *       damage did not touch is gone (but where headers were forged with right checksums)
 * All else is counted by region: found by the check, refused by open, or harmless.
 */
#include "tests/support/small_store.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define STORES       12u
#define PATCHES_MAX  24u
#define BATCH        500u
#define HANG_SECONDS 20u
#define REPAIR_EVERY 16u

struct patch {
    uint64_t offset, size_bytes; /* in the file */
};

enum verdict { FOUND, REFUSED, HARMLESS, VERDICTS };
static const char *const verdict_names[] = {"found", "refused", "harmless"};

enum damage_kind {
    DAMAGE_BYTE,
    DAMAGE_SCATTER,
    DAMAGE_WORD,
    DAMAGE_COPY,
    DAMAGE_ZERO,
    DAMAGE_SWAP,
    DAMAGE_CUT,
    DAMAGE_LENGTHEN,
    DAMAGE_SEALED_BLOCK,
    DAMAGE_SEALED_SLOT,
    DAMAGE_LINK,
    DAMAGE_KINDS
};
static const char *const damage_names[] = {
    "one byte",           "scattered bytes", "telling word",
    "copied part",        "zeroed range",    "swapped pages",
    "cut file",           "lengthened file", "sealed block header",
    "sealed header slot", "crossed link"};

struct damage {
    const struct small_store *store;
    unsigned char *bytes; /* the image with the damage in it */
    struct patch patches[PATCHES_MAX];
    unsigned count;
    uint64_t file_bytes;  /* cut or lengthened to this */
    unsigned char region; /* of the first byte, for the table */
    enum damage_kind kind;
    bool alone; /* one byte, at alone_at */
    uint64_t alone_at;
};

struct shared {
    _Atomic uint64_t current;
    _Atomic uint64_t passed, failed;
    uint64_t table[REGION_COUNT][VERDICTS];
    uint64_t kinds[DAMAGE_KINDS][VERDICTS];
    uint64_t repaired, repair_refused, repair_left, repair_objects;
};
static struct shared *shared;

struct setup {
    struct campaign *campaign;
    struct small_store stores[STORES];
    uint32_t *flips[STORES]; /* file offsets whose byte is damaged alone */
    uint64_t flips_count[STORES], flips_total, cases;
    bool alone; /* HF_TEST_CASE: one case, and all about it */
    char directory[400];
};

/* ---- making damage --------------------------------------------------------------------------- */

/* Bytes about to be changed: noted, so that they can be put back and so that we know what was
 * hit. */
static unsigned char *damage_open(struct damage *d, uint64_t offset, uint64_t size_bytes)
{
    if (d->count == PATCHES_MAX || offset >= d->store->image_bytes)
        return NULL;
    if (size_bytes > d->store->image_bytes - offset)
        size_bytes = d->store->image_bytes - offset;
    d->patches[d->count++] = (struct patch){offset, size_bytes};
    return d->bytes + offset;
}

/* A place in the file: metadata for choice. */
static uint64_t place_pick(const struct setup *setup, const struct small_store *s, struct rng *rng)
{
    uint64_t which = (uint64_t)(s - setup->stores);
    if (rng_percent(rng, 65))
        return setup->flips[which][rng_below(rng, setup->flips_count[which])];
    return rng_below(rng, s->image_bytes);
}

static void damage_scatter(const struct setup *setup, struct damage *d, struct rng *rng)
{
    for (uint64_t left = 1 + rng_below(rng, 16); left > 0; left--) {
        unsigned char *at = damage_open(d, place_pick(setup, d->store, rng), 1);
        if (at != NULL)
            *at = (unsigned char)rng_next(rng);
    }
}

static uint64_t telling_word(const struct small_store *s, struct rng *rng)
{
    uint64_t object = s->objects[rng_below(rng, s->objects_count)].ref;
    switch (rng_below(rng, 10)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return INT64_MAX;
    case 3:
        return object;
    case 4:
        return object & ~UINT64_C(15);
    case 5:
        return s->image_bytes - HF__SEGMENT_OFFSET;
    case 6:
        return s->image_bytes - HF__SEGMENT_OFFSET - rng_below(rng, 64);
    case 7:
        return UINT64_C(1) << rng_below(rng, 64);
    case 8:
        return rng_below(rng, 4096);
    default:
        return rng_next(rng) >> rng_below(rng, 64);
    }
}

static void damage_word(const struct setup *setup, struct damage *d, struct rng *rng)
{
    for (uint64_t left = 1 + rng_below(rng, 3); left > 0; left--) {
        uint64_t word = telling_word(d->store, rng), size = rng_percent(rng, 70) ? 8 : 4;
        uint64_t offset = place_pick(setup, d->store, rng) & ~(size - 1);
        unsigned char *at = damage_open(d, offset, size);
        if (at != NULL && offset + size <= d->store->image_bytes)
            memcpy(at, &word, size);
    }
}

static void damage_copy(const struct setup *setup, struct damage *d, struct rng *rng)
{
    uint64_t size = 1 + rng_below(rng, rng_percent(rng, 70) ? 64 : 5000);
    uint64_t to = place_pick(setup, d->store, rng), from = place_pick(setup, d->store, rng);
    if (rng_percent(rng, 60)) {
        to &= ~UINT64_C(15);
        from &= ~UINT64_C(15);
    }
    uint64_t room = d->store->image_bytes - (to > from ? to : from);
    size = size < room ? size : room;
    unsigned char *at = damage_open(d, to, size);
    if (at != NULL)
        memmove(at, d->store->image + from, size);
}

static void damage_zero(const struct setup *setup, struct damage *d, struct rng *rng)
{
    uint64_t offset = place_pick(setup, d->store, rng);
    uint64_t size = 1 + rng_below(rng, rng_percent(rng, 60) ? 64 : 9000);
    if (size > d->store->image_bytes - offset)
        size = d->store->image_bytes - offset;
    unsigned char *at = damage_open(d, offset, size);
    if (at != NULL)
        memset(at, rng_percent(rng, 80) ? 0 : 255, size);
}

static void damage_swap(struct damage *d, struct rng *rng)
{
    uint64_t pages = d->store->image_bytes / HF__PAGE_BYTES;
    uint64_t first_page = rng_percent(rng, 70) ? HF__SEGMENT_OFFSET / HF__PAGE_BYTES : 0;
    uint64_t a = first_page + rng_below(rng, pages - first_page);
    uint64_t b = first_page + rng_below(rng, pages - first_page);
    unsigned char *to_a = damage_open(d, a * HF__PAGE_BYTES, HF__PAGE_BYTES);
    unsigned char *to_b = damage_open(d, b * HF__PAGE_BYTES, HF__PAGE_BYTES);
    if (to_a != NULL && to_b != NULL) {
        memcpy(to_a, d->store->image + b * HF__PAGE_BYTES, HF__PAGE_BYTES);
        memcpy(to_b, d->store->image + a * HF__PAGE_BYTES, HF__PAGE_BYTES);
    }
}

/* Changes a block's header and gives it the right checksum: only sense can find this. */
static void damage_sealed_block(struct damage *d, struct rng *rng)
{
    const struct small_store *s = d->store;
    const struct small_object *o = &s->objects[rng_below(rng, s->objects_count)];
    uint64_t at = small_header_of(o);
    const struct hf__block_header *was = (const void *)(s->image + HF__SEGMENT_OFFSET + at);
    if (rng_percent(rng, 50)) /* the block behind it, which may be a free one */
        at += (was->size_word & ((UINT64_C(1) << 44) - 1)) * HF__BLOCK_UNIT;
    if (HF__SEGMENT_OFFSET + at + sizeof *was > s->image_bytes)
        at = small_header_of(o);
    struct hf__block_header *header =
        (void *)damage_open(d, HF__SEGMENT_OFFSET + at, sizeof *header);
    if (header == NULL)
        return;
    switch (rng_below(rng, 5)) {
    case 0:
        header->size_word += rng_below(rng, 20) - 10;
        break;
    case 1:
        header->size_word ^= UINT64_C(1) << (44 + rng_below(rng, 8));
        break;
    case 2:
        header->prev_word += rng_below(rng, 20) - 10;
        break;
    case 3:
        header->size_word = telling_word(s, rng);
        break;
    default:
        header->prev_word = telling_word(s, rng);
        break;
    }
    small_block_seal(header, s->salt, at);
}

static void damage_sealed_slot(struct damage *d, struct rng *rng)
{
    static const uint64_t slots[] = {0, HF__SLOT_B_OFFSET};
    bool both = rng_percent(rng, 50);
    uint64_t field = rng_below(rng, 63) * 8, word = telling_word(d->store, rng);
    unsigned which = (unsigned)rng_below(rng, 2);
    for (unsigned i = 0; i < 2; i++) {
        if (!both && i != which)
            continue;
        unsigned char *slot = damage_open(d, slots[i], HF__SLOT_BYTES);
        if (slot == NULL)
            continue;
        memcpy(slot + field, &word, 8);
        small_slot_seal(slot);
    }
}

/* Words of metadata exchanged: links that lead to true nodes, but wrong ones. */
static void damage_link(const struct setup *setup, struct damage *d, struct rng *rng)
{
    uint64_t places[2];
    unsigned char *at[2];
    for (unsigned i = 0; i < 2; i++) {
        uint64_t which = (uint64_t)(d->store - setup->stores);
        places[i] = setup->flips[which][rng_below(rng, setup->flips_count[which])] & ~UINT64_C(7);
        at[i] = damage_open(d, places[i], 8);
    }
    if (at[0] != NULL && at[1] != NULL) {
        memcpy(at[0], d->store->image + places[1], 8);
        memcpy(at[1], d->store->image + places[0], 8);
    }
}

static enum damage_kind damage_random(const struct setup *setup, struct damage *d, struct rng *rng)
{
    enum damage_kind kind = (enum damage_kind)(1 + rng_below(rng, DAMAGE_KINDS - 1));
    switch (kind) {
    case DAMAGE_WORD:
        damage_word(setup, d, rng);
        break;
    case DAMAGE_COPY:
        damage_copy(setup, d, rng);
        break;
    case DAMAGE_ZERO:
        damage_zero(setup, d, rng);
        break;
    case DAMAGE_SWAP:
        damage_swap(d, rng);
        break;
    case DAMAGE_CUT:
        d->file_bytes = rng_below(rng, d->store->image_bytes);
        break;
    case DAMAGE_LENGTHEN:
        d->file_bytes += rng_below(rng, 100000);
        break;
    case DAMAGE_SEALED_BLOCK:
        damage_sealed_block(d, rng);
        break;
    case DAMAGE_SEALED_SLOT:
        damage_sealed_slot(d, rng);
        break;
    case DAMAGE_LINK:
        damage_link(setup, d, rng);
        break;
    default:
        damage_scatter(setup, d, rng);
        break;
    }
    return kind;
}

/* Case number -> which store, and which of its bytes if it is one alone. */
static void damage_choose(const struct setup *setup, uint64_t number, struct damage *d,
                          struct rng *rng)
{
    unsigned which = 0;
    *rng = (struct rng){mix64(setup->campaign->seed) ^ mix64(number)};
    d->alone = number < setup->flips_total;
    if (d->alone) {
        while (number >= setup->flips_count[which])
            number -= setup->flips_count[which++];
        d->alone_at = setup->flips[which][number];
    } else {
        which = (unsigned)rng_below(rng, STORES);
    }
    d->store = &setup->stores[which];
    d->file_bytes = d->store->image_bytes;
}

/* Makes the damage in d->bytes, which holds the store's image. */
static void damage_make(const struct setup *setup, struct damage *d, struct rng *rng)
{
    d->kind = DAMAGE_BYTE;
    if (d->alone) {
        unsigned char *at = damage_open(d, d->alone_at, 1);
        if (at != NULL)
            *at ^= (unsigned char)(rng_percent(rng, 50) ? 1u << rng_below(rng, 8)
                                                        : 1 + rng_below(rng, 255));
    } else {
        d->kind = damage_random(setup, d, rng);
    }
}

/* Which regions and objects were really changed? */
static void damage_survey(struct damage *d, unsigned char touched_payload[SMALL_OBJECTS_MAX],
                          unsigned char touched_block[SMALL_OBJECTS_MAX])
{
    const struct small_store *s = d->store;
    bool first = true;
    memset(touched_payload, 0, SMALL_OBJECTS_MAX);
    memset(touched_block, 0, SMALL_OBJECTS_MAX);
    d->region = d->file_bytes != s->image_bytes ? REGION_TAIL : REGION_COUNT;
    for (unsigned i = 0; i < d->count; i++) {
        for (uint64_t at = d->patches[i].offset;
             at < d->patches[i].offset + d->patches[i].size_bytes; at++) {
            if (d->bytes[at] == s->image[at])
                continue;
            if (first)
                d->region = s->regions[at];
            first = false;
            uint64_t in_segment = at - HF__SEGMENT_OFFSET;
            for (size_t o = 0; at >= HF__SEGMENT_OFFSET && o < s->objects_count; o++) {
                const struct small_object *object = &s->objects[o];
                if ((in_segment >= object->block_from && in_segment < object->block_end) ||
                    small_chunk_essence(object, in_segment))
                    touched_block[o] = 1;
                if (in_segment >= object->ref && in_segment < object->ref + object->size_bytes)
                    touched_payload[o] = 1;
            }
        }
    }
    for (size_t o = 0; o < s->objects_count; o++)
        if (HF__SEGMENT_OFFSET + s->objects[o].block_end > d->file_bytes ||
            HF__SEGMENT_OFFSET + s->objects[o].chunk_end > d->file_bytes)
            touched_block[o] = touched_payload[o] = 1;
}

/* ---- running a case -------------------------------------------------------------------------- */

struct worker {
    const struct setup *setup;
    char path[480];
    int fd;
    const struct small_store *in_file; /* whose undamaged image the file holds */
    unsigned char *bytes;              /* its copy, where damage is made */
    const struct small_store *in_bytes;
    size_t bytes_max;
};

static void write_at(int fd, const void *bytes, uint64_t size_bytes, uint64_t offset)
{
    if (size_bytes != 0 && pwrite(fd, bytes, size_bytes, (off_t)offset) != (ssize_t)size_bytes) {
        perror("writing a damaged store");
        _exit(2);
    }
}

static void cut_to(int fd, uint64_t size_bytes)
{
    if (ftruncate(fd, (off_t)size_bytes) != 0) {
        perror("cutting a damaged store");
        _exit(2);
    }
}

static void worker_load(struct worker *w, const struct small_store *s)
{
    if (w->in_file != s) {
        cut_to(w->fd, 0);
        write_at(w->fd, s->image, s->image_bytes, 0);
        w->in_file = s;
    }
    if (w->in_bytes != s) {
        memcpy(w->bytes, s->image, s->image_bytes);
        w->in_bytes = s;
    }
}

static void damage_write(struct worker *w, const struct damage *d)
{
    for (unsigned i = 0; i < d->count; i++)
        write_at(w->fd, d->bytes + d->patches[i].offset, d->patches[i].size_bytes,
                 d->patches[i].offset);
    if (d->file_bytes != d->store->image_bytes)
        cut_to(w->fd, d->file_bytes);
}

static void damage_take_back(struct worker *w, const struct damage *d)
{
    const struct small_store *s = d->store;
    if (d->file_bytes != s->image_bytes) {
        cut_to(w->fd, s->image_bytes);
        if (d->file_bytes < s->image_bytes)
            write_at(w->fd, s->image + d->file_bytes, s->image_bytes - d->file_bytes,
                     d->file_bytes);
    }
    for (unsigned i = 0; i < d->count; i++) {
        const struct patch *p = &d->patches[i];
        write_at(w->fd, s->image + p->offset, p->size_bytes, p->offset);
        memcpy(w->bytes + p->offset, s->image + p->offset, p->size_bytes);
    }
}

__attribute__((format(printf, 3, 4))) static void
case_failed(const struct damage *d, uint64_t number, const char *format, ...)
{
    if (atomic_fetch_add(&shared->failed, 1) >= 60)
        return;
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    printf("FAILED: case %llu (allocator %u, index %u; %s, %s", (unsigned long long)number,
           d->store->allocator, d->store->index, damage_names[d->kind],
           d->region < REGION_COUNT ? region_names[d->region] : "nothing");
    if (d->count != 0)
        printf(", file offset %llu", (unsigned long long)d->patches[0].offset);
    printf("): %s\n", text);
}

/* C3: the file is still the damaged image. */
static bool file_unchanged(struct worker *w, const struct damage *d)
{
    struct stat info;
    uint64_t size = d->file_bytes < d->store->image_bytes ? d->file_bytes : d->store->image_bytes;
    unsigned char *bytes = must_alloc(size);
    bool same = fstat(w->fd, &info) == 0 && (uint64_t)info.st_size == d->file_bytes &&
                pread(w->fd, bytes, size, 0) == (ssize_t)size && memcmp(bytes, d->bytes, size) == 0;
    free(bytes);
    return same;
}

/* C1, C2: what came of it, and whether that is a failure. */
static enum verdict judge(const struct damage *d, uint64_t number, const struct outcome *out)
{
    bool clean = out->check_code == 0 && out->open_code == 0 && out->sanity_code == 0;
    bool changed = out->differ != 0 || out->missing != 0;
    if (out->walk_looped || out->code_unknown)
        case_failed(d, number, out->walk_looped ? "an iteration without end" : "an unknown code");
    else if (clean && (changed || out->walk_failed || out->transaction_code == HF_ECORRUPT ||
                       out->begin_code != 0))
        case_failed(d, number,
                    "the check is clean, but %u objects differ, %u are gone, iteration %s, "
                    "begin %s, transaction %s",
                    out->differ, out->missing, out->walk_failed ? "fails" : "works",
                    hf_error_name(out->begin_code), hf_error_name(out->transaction_code));
    else if (out->open_code == 0 && out->check_code == 0 && out->sanity_code != 0)
        case_failed(d, number, "hf_check_file is clean, hf_check_sanity says %s",
                    hf_error_name(out->sanity_code));
    else if (out->open_code == 0 && d->file_bytes < HF__SEGMENT_OFFSET + d->store->used_end)
        case_failed(d, number, "a file that ends before its used end is opened");
    else if (out->check_code == HF_ECORRUPT && out->findings == 0)
        case_failed(d, number, "HF_ECORRUPT without a finding: %s", out->said);
    return out->check_code != 0 || out->sanity_code != 0 ? FOUND
           : out->open_code != 0                         ? REFUSED
                                                         : HARMLESS;
}

/* C4. */
static void run_repair(struct worker *w, const struct damage *d, uint64_t number,
                       const unsigned char *touched_block)
{
    hf_check_report report;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    hf_view *view;
    memset(&report, 0, sizeof report);
    int code = hf_repair_file(w->path, NULL, &report);
    w->in_file = NULL; /* it has been written, or another file has its name */
    close(w->fd);
    w->fd = open(w->path, O_RDWR | O_CLOEXEC);
    if (w->fd < 0) {
        perror(w->path);
        _exit(2);
    }
    if (code != 0) {
        shared->repair_left += code == HF_ECORRUPT;
        shared->repair_refused += code != HF_ECORRUPT;
        return;
    }
    shared->repaired++;
    code = hf_check_file(w->path, NULL, &report);
    if (code != 0) {
        case_failed(d, number, "repaired, yet the check says %s", hf_error_name(code));
        return;
    }
    options.mode = HF_COPY_ON_WRITE;
    code = hf_open(w->path, &options, &store);
    if (code != 0) {
        case_failed(d, number, "repaired and clean, yet hf_open says %s", hf_error_name(code));
        return;
    }
    /* Sense alone can't tell which of two headers with right checksums is the wrong one. */
    bool sealed = d->kind == DAMAGE_SEALED_BLOCK || d->kind == DAMAGE_SEALED_SLOT;
    if (!sealed && hf_view_begin(store, &view) == 0) {
        for (size_t i = 0; i < d->store->objects_count; i++) {
            if (touched_block[i])
                continue;
            shared->repair_objects++;
            int found = small_compare(d->store, &d->store->objects[i], view, true);
            if (found != 1) {
                case_failed(d, number,
                            "repaired, yet object %zu (kind %u, '%s'), which was not hit, "
                            "%s",
                            i, d->store->objects[i].kind, d->store->objects[i].name,
                            found == 0 ? "has other bytes" : "is gone");
                break;
            }
        }
        hf_view_end(view);
    }
    hf_close(store);
}

/* HF_TEST_CASE: what was done, what came of it, and the damaged file for a debugger. */
static void case_show(struct worker *w, const struct damage *d, const struct outcome *out)
{
    printf("%s: %u patches, file of %llu bytes (was %llu)\n", damage_names[d->kind], d->count,
           (unsigned long long)d->file_bytes, (unsigned long long)d->store->image_bytes);
    for (unsigned i = 0; i < d->count; i++)
        printf("  file offset %llu, segment %lld, %llu bytes, %s\n",
               (unsigned long long)d->patches[i].offset,
               (long long)d->patches[i].offset - (long long)HF__SEGMENT_OFFSET,
               (unsigned long long)d->patches[i].size_bytes,
               region_names[d->store->regions[d->patches[i].offset]]);
    printf("  check %s (%llu findings: %s), open %s, sanity %s; %u equal, %u differ, %u gone\n",
           hf_error_name(out->check_code), (unsigned long long)out->findings, out->said,
           hf_error_name(out->open_code), hf_error_name(out->sanity_code), out->equal, out->differ,
           out->missing);
    FILE *copy = fopen("damaged-copy.hf", "wb");
    unsigned char *bytes = must_alloc(d->file_bytes);
    if (copy != NULL && pread(w->fd, bytes, d->file_bytes, 0) == (ssize_t)d->file_bytes &&
        fwrite(bytes, 1, d->file_bytes, copy) == d->file_bytes)
        printf("  the damaged file is damaged-copy.hf\n");
    if (copy != NULL)
        fclose(copy);
    free(bytes);
}

static void run_case(struct worker *w, uint64_t number)
{
    struct damage d = {.count = 0};
    struct rng rng;
    struct outcome out;
    unsigned char touched_payload[SMALL_OBJECTS_MAX], touched_block[SMALL_OBJECTS_MAX];
    uint64_t failed = atomic_load(&shared->failed);
    alarm(HANG_SECONDS);
    damage_choose(w->setup, number, &d, &rng);
    worker_load(w, d.store);
    d.bytes = w->bytes;
    damage_make(w->setup, &d, &rng);
    damage_survey(&d, touched_payload, touched_block);
    damage_write(w, &d);
    small_store_exercise(d.store, w->path, touched_payload, rng_next(&rng), &out);
    enum verdict verdict = judge(&d, number, &out);
    if (w->setup->alone)
        case_show(w, &d, &out);
    if (number % 61 == 0 && !file_unchanged(w, &d))
        case_failed(&d, number, "the file was changed");
    if (number % REPAIR_EVERY == 0)
        run_repair(w, &d, number, touched_block);
    damage_take_back(w, &d);
    if (d.region < REGION_COUNT && d.alone)
        shared->table[d.region][verdict]++;
    shared->kinds[d.kind][verdict]++;
    if (atomic_load(&shared->failed) == failed)
        atomic_fetch_add(&shared->passed, 1);
    alarm(0);
}

/* ---- batches --------------------------------------------------------------------------------- */

static void run_batch(const struct setup *setup, uint64_t from, uint64_t to)
{
    struct worker w = {.setup = setup};
    snprintf(w.path, sizeof w.path, "%s/damaged.hf", setup->directory);
    for (unsigned i = 0; i < STORES; i++)
        if (setup->stores[i].image_bytes > w.bytes_max)
            w.bytes_max = setup->stores[i].image_bytes;
    w.bytes = must_alloc(w.bytes_max);
    unlink(w.path);
    w.fd = open(w.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (w.fd < 0) {
        perror(w.path);
        _exit(2);
    }
    for (uint64_t number = from; number < to; number++) {
        atomic_store(&shared->current, number);
        run_case(&w, number);
    }
    close(w.fd);
    free(w.bytes);
    fflush(stdout);
    exit(0); /* so that a leak checker has its say */
}

/* Runs [from, to) in children; what kills a child is the failure of the case it was at. */
static void run_cases(const struct setup *setup, uint64_t from, uint64_t to)
{
    while (from < to && atomic_load(&shared->failed) < 200) {
        uint64_t end = to - from < BATCH ? to : from + BATCH;
        int status;
        atomic_store(&shared->current, from);
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            run_batch(setup, from, end);
        if (pid < 0 || waitpid(pid, &status, 0) != pid) {
            perror("fork");
            atomic_fetch_add(&shared->failed, 1);
            return;
        }
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            from = end;
            continue;
        }
        uint64_t at = atomic_load(&shared->current);
        atomic_fetch_add(&shared->failed, 1);
        if (WIFSIGNALED(status))
            printf("FAILED: case %llu: signal %d%s\n", (unsigned long long)at, WTERMSIG(status),
                   WTERMSIG(status) == SIGALRM ? " (it hung)" : "");
        else
            printf("FAILED: case %llu: the process ended with %d\n", (unsigned long long)at,
                   WEXITSTATUS(status));
        from = at + 1;
    }
}

/* ---- the campaign ---------------------------------------------------------------------------- */

/* Every byte of metadata, and of the rest a sample. */
static void flips_choose(struct setup *setup, unsigned which, struct rng *rng)
{
    const struct small_store *s = &setup->stores[which];
    uint64_t count = 0;
    setup->flips[which] = must_alloc(s->image_bytes * sizeof(uint32_t));
    for (uint64_t at = 0; at < s->image_bytes; at++) {
        unsigned char region = s->regions[at];
        unsigned one_in = region_is_metadata(region)                        ? 1
                          : region == REGION_USER || region == REGION_SLACK ? 16
                          : region == REGION_RESERVED                       ? 8
                                                                            : 200;
        if (rng_below(rng, one_in) == 0)
            setup->flips[which][count++] = (uint32_t)at;
    }
    setup->flips_count[which] = count;
    setup->flips_total += count;
}

/* block_format.h's checksum as this test computes it must be the library's. */
static bool seal_known(const struct small_store *s)
{
    uint64_t at = small_header_of(&s->objects[0]);
    struct hf__block_header header;
    memcpy(&header, s->image + HF__SEGMENT_OFFSET + at, sizeof header);
    small_block_seal(&header, s->salt, at);
    unsigned char slot[HF__SLOT_BYTES];
    memcpy(slot, s->image, sizeof slot);
    small_slot_seal(slot);
    return memcmp(&header, s->image + HF__SEGMENT_OFFSET + at, sizeof header) == 0 &&
           memcmp(slot, s->image, sizeof slot) == 0;
}

static bool setup_make(struct setup *setup)
{
    struct rng rng = {setup->campaign->seed};
    char path[480];
    snprintf(path, sizeof path, "%s/small.hf", setup->directory);
    for (unsigned i = 0; i < STORES; i++) {
        uint32_t allocator = HF_ALLOC_BEST_FIT + i % 3, index = i / 3;
        uint32_t engine = (i ^ i >> 2 ^ i >> 3) & 1; /* each allocator and index meets both */
        if (!small_store_make(&setup->stores[i], path, engine, allocator, index, rng_next(&rng))) {
            printf("making a small store: %s\n", hf_last_error()->message);
            return false;
        }
        flips_choose(setup, i, &rng);
        campaign_expect(setup->campaign, seal_known(&setup->stores[i]),
                        "the checksums are not what the format says (store %u)", i);
    }
    return true;
}

static void print_tables(const struct setup *setup)
{
    printf("%llu bytes damaged alone, %llu random damages\n",
           (unsigned long long)setup->flips_total,
           (unsigned long long)(setup->cases - setup->flips_total));
    for (unsigned pass = 0; pass < 2; pass++) {
        unsigned rows = pass == 0 ? REGION_COUNT : DAMAGE_KINDS;
        printf("  %-20s %10s %10s %10s\n", pass == 0 ? "one byte in" : "damage", verdict_names[0],
               verdict_names[1], verdict_names[2]);
        for (unsigned i = 0; i < rows; i++) {
            const uint64_t *row = pass == 0 ? shared->table[i] : shared->kinds[i];
            printf("  %-20s %10llu %10llu %10llu\n", pass == 0 ? region_names[i] : damage_names[i],
                   (unsigned long long)row[FOUND], (unsigned long long)row[REFUSED],
                   (unsigned long long)row[HARMLESS]);
        }
    }
    printf("repairs: %llu succeeded (%llu objects compared), %llu left findings, %llu refused\n",
           (unsigned long long)shared->repaired, (unsigned long long)shared->repair_objects,
           (unsigned long long)shared->repair_left, (unsigned long long)shared->repair_refused);
}

static void remove_files(const struct setup *setup)
{
    static const char *const names[] = {"damaged.hf", "damaged.hf-lock", "damaged.hf-undo",
                                        "damaged.hf-log0", "damaged.hf-log1"};
    char path[480];
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", setup->directory, names[i]);
        unlink(path);
    }
    if (rmdir(setup->directory) != 0)
        printf("note: something is left in %s\n", setup->directory);
}

int main(void)
{
    struct campaign c;
    static struct setup setup;
    campaign_start(&c, "corrupt_store");
    setup.campaign = &c;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool place = campaign_directory("/dev/shm", setup.directory, sizeof setup.directory) ||
                 campaign_directory(NULL, setup.directory, sizeof setup.directory);
    if (shared == MAP_FAILED || !place || !setup_make(&setup)) {
        printf("0 passed, 1 failed\n");
        return 1;
    }
    setup.cases = setup.flips_total + campaign_count(&c, 100000);
    const char *one = getenv("HF_TEST_CASE");
    if (one != NULL) {
        setup.alone = true;
        uint64_t number = strtoull(one, NULL, 0);
        run_cases(&setup, number, number + 1);
    } else {
        run_cases(&setup, 0, setup.cases);
    }
    print_tables(&setup);
    remove_files(&setup);
    for (unsigned i = 0; i < STORES; i++) {
        small_store_free(&setup.stores[i]);
        free(setup.flips[i]);
    }
    c.passed += atomic_load(&shared->passed);
    c.failed += atomic_load(&shared->failed);
    return campaign_end(&c);
}
