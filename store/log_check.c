/* SPDX-License-Identifier: MIT */
/*
 * log_check.c - hf_tuning.debug_checks: what a program forgot to announce, and addresses it stores
 *
 * A transaction that is checked begins with P and S alike in every byte: all commits are applied
 * and all private pages dropped. At the commit S still shows the old state, since only the writer's
 * records change the data file. So a line of P that differs from S and is not in the set of changed
 * lines was written behind the log's back: the commit would leave it out, and P would show what no
 * other process ever sees.
 *
 * Only pages that the kernel gave this process copies of can differ; /proc/self/pagemap tells
 * which.
 *
 * Invariants
 *   D1  a transaction is compared only if nothing was left unapplied when it began
 *   D2  after a checked transaction that wasn't committed P shows S again, unannounced bytes
 *       included
 */
#include "base/os.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define SHOWN_MAX 3
#define ENTRIES 512u

static void count(uint64_t *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* ---- the beginning --------------------------------------------------------------------------- */

/* Syncs and applies everything. Is there nothing left? */
static bool all_applied(hf_store *store)
{
    struct hf__log_words *words = &store->locks.table->header.log;
    const uint64_t deadline = hf__os->now_ns() + hf__tuned(&store->log.gate_wait_ns);
    struct hf__log_front front;
    struct hf__log_tail tail;
    hf__tail_read(store, &tail);
    hf__front_read(store, &front);
    if (tail.epoch == 0 || front.applied >= tail.appended)
        return true;
    __atomic_store_n(&words->sealed, tail.appended, __ATOMIC_SEQ_CST);
    int code = hf__log_sync_to(store, tail.appended);
    if (code == 0)
        (void)hf__log_apply(store, NULL, 0, false, deadline);
    hf__front_read(store, &front);
    return front.applied >= tail.appended;
}

void hf__log_check_begin(hf_store *store)
{
    struct hf__log *log = &store->log;
    log->checking = hf__tuned(&log->debug_checks);
    if (log->checking == 0)
        return;
    if ((log->checking & HF_DEBUG_ANNOUNCE) == 0) {
        count(&log->checks);
    } else if (all_applied(store) && hf__private_forget(store) == 0) {
        count(&log->checks);
    } else {
        count(&log->checks_skipped);
        log->checking &= ~(uint64_t)HF_DEBUG_ANNOUNCE;
    }
}

void hf__log_check_abandon(hf_store *store)
{
    if ((store->log.checking & HF_DEBUG_ANNOUNCE) != 0 && hf__private_forget(store) != 0)
        store->log.seen_epoch = UINT64_MAX;
    store->log.checking = 0;
}

/* ---- what is where --------------------------------------------------------------------------- */

/* The block that holds the offset, its header included. */
static bool locate(const hf_store *store, struct hf__segment *seg, uint64_t offset,
                   struct hf__block_info *out)
{
    struct hf__heap heap = hf__heap_over(store, seg);
    uint64_t position = 0;
    while (hf__heap_next(&heap, &position, out) == 1)
        if (offset < position)
            return offset >= out->payload - HF__BLOCK_HEADER_BYTES;
    return false;
}

static void describe_object(const hf_store *store, struct hf__segment *seg,
                            const struct hf__block_info *block, uint64_t offset, char *out,
                            size_t room)
{
    struct hf__object object;
    hf_object_info info;
    if (hf__object_of_block(store, seg, block, &object) != 0) {
        snprintf(out, room, "the object in the block at %llu", (unsigned long long)block->payload);
        return;
    }
    hf__object_info_fill(seg, &object, &info);
    const char *part = offset < object.elements ? "the header of " : "";
    const long long at = (long long)(offset - object.elements);
    if (info.name != NULL && *part == '\0')
        snprintf(out, room, "object '%.60s' of type '%.60s', byte %lld", info.name, info.type_name,
                 at);
    else if (info.name != NULL)
        snprintf(out, room, "%sobject '%.60s'", part, info.name);
    else
        snprintf(out, room, "%san anonymous object of type '%.60s' at %llu, byte %lld", part,
                 info.type_name, (unsigned long long)object.elements, at);
}

static void describe(const hf_store *store, struct hf__segment *seg, uint64_t offset, char *out,
                     size_t room)
{
    static const char *const kinds[] = {"the free block at", "the raw block at", "the object at",
                                        "the library's own block at", "the lost block at"};
    struct hf__block_info block;
    if (offset < HF__FIRST_BLOCK || !locate(store, seg, offset, &block)) {
        snprintf(out, room, offset < HF__FIRST_BLOCK ? "the segment's header"
                                                     : "no block that can be found");
        return;
    }
    const char *kind = kinds[block.kind <= HF__BLOCK_LOST ? block.kind : HF__BLOCK_LOST];
    if (offset < block.payload)
        snprintf(out, room, "the header of %s %llu", kind,
                 (unsigned long long)block.payload);
    else if (block.kind == HF__BLOCK_OBJECT)
        describe_object(store, seg, &block, offset, out, room);
    else
        snprintf(out, room, "%s %llu, byte %llu", kind,
                 (unsigned long long)block.payload, (unsigned long long)(offset - block.payload));
}

/* The error, with the first offset where programs can read it. */
static int refuse(hf_store *store, int code, uint64_t offset, const char *what)
{
    hf__fail_path(code, 0, store->path, "%s", what);
    hf_error error = *hf_last_error();
    error.offset = offset;
    return hf__fail_again(&error);
}

/* ---- unannounced changes --------------------------------------------------------------------- */

struct compare {
    hf_store *store;
    struct hf__segment old;       /* the last state: S                                            */
    uint64_t limit;               /* nothing is compared from here on                             */
    int pagemap;                  /* -1: every page may be a copy                                 */
    uint64_t entries[ENTRIES];
    uint64_t first[SHOWN_MAX], last[SHOWN_MAX]; /* stretches of bytes                             */
    uint64_t stretches, lines;
};

static void note_difference(struct compare *c, uint64_t offset)
{
    const uint64_t shown = c->stretches < SHOWN_MAX ? c->stretches : SHOWN_MAX;
    if (c->stretches > 0 && c->stretches <= SHOWN_MAX && offset - c->last[shown - 1] <= 8) {
        c->last[shown - 1] = offset;
        return;
    }
    if (c->stretches < SHOWN_MAX)
        c->first[c->stretches] = c->last[c->stretches] = offset;
    c->stretches++;
}

static void compare_line(struct compare *c, uint64_t at)
{
    const unsigned char *new = c->store->seg.base + at, *old = c->old.base + at;
    if (memcmp(new, old, HF__LINE_BYTES) == 0)
        return;
    for (uint64_t i = 0; i < HF__LINE_BYTES; i++)
        if (new[i] != old[i] && at + i < c->limit)
            note_difference(c, at + i);
    c->lines++;
}

static void compare_page(struct compare *c, uint64_t page)
{
    const uint64_t start = page * HF__PAGE_BYTES;
    const uint64_t announced = hf__lines_of(&c->store->log.changed, page);
    for (uint64_t line = 0; line < HF__LINES_A_PAGE; line++)
        if ((announced >> line & 1) == 0 && start + line * HF__LINE_BYTES < c->limit)
            compare_line(c, start + line * HF__LINE_BYTES);
}

/* The kernel's notes on pages [page, page + ENTRIES); all "may be a copy" where there are none. */
static void read_pagemap(struct compare *c, uint64_t page)
{
    const uint64_t address = (uint64_t)(uintptr_t)c->store->seg.base + page * HF__PAGE_BYTES;
    const ssize_t size = sizeof c->entries;
    if (c->pagemap >= 0 &&
        hf__os->pread(c->pagemap, c->entries, sizeof c->entries,
                      (off_t)(address / HF__PAGE_BYTES * sizeof(uint64_t))) == size)
        return;
    memset(c->entries, 0x40, sizeof c->entries);
}

/* Present and not a page of the file, or swapped out. */
static bool may_be_copy(uint64_t entry)
{
    const uint64_t present = UINT64_C(1) << 63, swapped = UINT64_C(1) << 62,
                   of_file = UINT64_C(1) << 61;
    return (entry & swapped) != 0 || (entry & (present | of_file)) == present;
}

static void compare_all(struct compare *c)
{
    c->pagemap = hf__os->open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
    for (uint64_t page = 0; page * HF__PAGE_BYTES < c->limit; page++) {
        if (page % ENTRIES == 0)
            read_pagemap(c, page);
        if (may_be_copy(c->entries[page % ENTRIES]))
            compare_page(c, page);
    }
    if (c->pagemap >= 0)
        hf__os->close(c->pagemap);
}

static int refuse_unannounced(struct compare *c)
{
    char text[400];
    int length = snprintf(text, sizeof text, "%llu lines; ", (unsigned long long)c->lines);
    for (uint64_t i = 0; i < c->stretches && i < SHOWN_MAX; i++) {
        char where[200];
        describe(c->store, &c->old, c->first[i], where, sizeof where);
        if (length < (int)sizeof text)
            length += snprintf(text + length, sizeof text - (size_t)length,
                               "%soffset %llu to %llu (from address %p) in %s", i == 0 ? "" : "; ",
                               (unsigned long long)c->first[i], (unsigned long long)c->last[i],
                               (void *)(c->store->seg.base + c->first[i]), where);
    }
    return refuse(c->store, HF_EUNANNOUNCED, c->first[0], text);
}

static int check_announced(hf_store *store)
{
    struct compare c = {.store = store, .old = store->seg};
    struct stat st;
    c.old.base = store->log.shared + HF__SEGMENT_OFFSET;
    c.old.door = NULL;
    c.limit = hf__used_end(&store->seg);
    if (c.limit > store->log.window_start)
        c.limit = store->log.window_start;
    /* A file that somebody cut short must not kill us. */
    if (hf__os->fstat(store->fd, &st) != 0 ||
        hf__backed_bytes((uint64_t)st.st_size) < c.limit)
        return hf__fail_path(HF_ETRUNCATED, 0, store->path, "its end is behind the file's end");
    int code = hf__map_shown(store, c.limit);
    if (code != 0)
        return code;
    compare_all(&c);
    return c.stretches == 0 ? 0 : refuse_unannounced(&c);
}

/* ---- stored addresses ------------------------------------------------------------------------ */

/* An address in the used part of one of the mappings? The whole reservation is so large that random
 * bytes would look like one now and then. */
static bool is_address(const hf_store *store, uint64_t word, uint64_t used_end)
{
    const unsigned char *const bases[] = {
        store->seg.base, store->log.shared + HF__SEGMENT_OFFSET,
        store->log.through == NULL ? NULL : store->log.through + HF__SEGMENT_OFFSET};
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++)
        if (bases[i] != NULL && word - (uint64_t)(uintptr_t)bases[i] < used_end)
            return true;
    return false;
}

/* Looks at [from, to): the first word that is an address and lies in no free block, or
 * UINT64_MAX. */
static uint64_t find_address(hf_store *store, uint64_t from, uint64_t to, uint64_t used_end)
{
    struct hf__block_info block;
    for (uint64_t at = from; at + sizeof(uint64_t) <= to; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, store->seg.base + at, sizeof word);
        if (is_address(store, word, used_end) &&
            !(locate(store, &store->seg, at, &block) && block.kind == HF__BLOCK_FREE))
            return at;
    }
    return UINT64_MAX;
}

static uint64_t find_in_page(hf_store *store, uint64_t page, uint64_t used_end)
{
    uint64_t lines = hf__lines_of(&store->log.changed, page), found = UINT64_MAX;
    for (; lines != 0 && found == UINT64_MAX; lines &= lines - 1) {
        uint64_t at =
            page * HF__PAGE_BYTES + (uint64_t)__builtin_ctzll(lines) * HF__LINE_BYTES;
        uint64_t to = at + HF__LINE_BYTES;
        if (at < used_end)
            found = find_address(store, at, to < used_end ? to : used_end, used_end);
    }
    return found;
}

static int check_pointers(hf_store *store)
{
    const struct hf__lines *changed = &store->log.changed;
    const uint64_t used_end = hf__used_end(&store->seg);
    uint64_t found = UINT64_MAX, word;
    for (uint64_t i = 0; i < changed->count && found == UINT64_MAX; i++)
        found = find_in_page(store, changed->order[i], used_end);
    if (found == UINT64_MAX && store->log.window_start < used_end)
        found = find_address(store, store->log.window_start, used_end, used_end);
    if (found == UINT64_MAX)
        return 0;
    char where[200], text[400];
    memcpy(&word, store->seg.base + found, sizeof word);
    describe(store, &store->seg, found, where, sizeof where);
    snprintf(text, sizeof text, "the address %#llx of this process is stored at offset %llu, in %s",
             (unsigned long long)word, (unsigned long long)found, where);
    return refuse(store, HF_EPTR, found, text);
}

int hf__log_check_commit(hf_store *store)
{
    const uint64_t checking = store->log.checking;
    int code = 0;
    if ((checking & HF_DEBUG_ANNOUNCE) != 0)
        code = check_announced(store);
    if (code == 0 && (checking & HF_DEBUG_POINTERS) != 0)
        code = check_pointers(store);
    return code;
}
