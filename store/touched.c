/* SPDX-License-Identifier: MIT */
/*
 * touched.c - sets of pages that commits have touched
 *
 * A growing array of runs. Records come in the order of their commits and touch few runs each, so most
 * of the work is appending; when there are very many, or at the end, they are sorted and merged.
 *
 * Invariants
 *   D1  each page that was added lies in a run; its commit there is the last one that touched it, or later
 *   D2  after hf__touched_end runs are sorted and don't overlap
 */
#include "touched.h"

#include "base/bug.h"
#include "base/error.h"
#include "store_format.h"

#include <stdlib.h>
#include <string.h>

#define DIGIT_BITS  10u
#define DIGIT_MASK  ((UINT64_C(1) << DIGIT_BITS) - 1)
#define DIGITS_FROM 1024u   /* fewer runs are sorted by comparing                                 */
#define RUNS_MAX    262144u /* are merged before there are more                                   */

void hf__touched_init(struct hf__touched *touched, uint64_t used_end)
{
    *touched = (struct hf__touched){.used_first = used_end, .used_low = used_end};
}

void hf__touched_free(struct hf__touched *touched)
{
    free(touched->runs);
    touched->runs = NULL;
}

static int by_first(const void *a, const void *b)
{
    const struct hf__page_run *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* By the digits of the first page, lowest digit first: a checkpoint of many small commits sorts hundreds
 * of thousands of runs while the writer waits, which by comparing took ten times as long. */
static bool sort_by_digits(struct hf__page_run *runs, size_t count)
{
    struct hf__page_run *spare = malloc(count * sizeof *spare), *from = runs, *to = spare;
    uint64_t highest = 0;
    if (spare == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        highest = runs[i].first > highest ? runs[i].first : highest;
    for (unsigned shift = 0; shift < 64 && highest >> shift != 0; shift += DIGIT_BITS) {
        size_t places[1 << DIGIT_BITS] = {0}, sum = 0;
        for (size_t i = 0; i < count; i++)
            places[from[i].first >> shift & DIGIT_MASK]++;
        for (size_t digit = 0; digit <= DIGIT_MASK; digit++) {
            const size_t here = places[digit];
            places[digit] = sum;
            sum += here;
        }
        for (size_t i = 0; i < count; i++)
            to[places[from[i].first >> shift & DIGIT_MASK]++] = from[i];
        struct hf__page_run *swap = from;
        from = to;
        to = swap;
    }
    if (from != runs)
        memcpy(runs, from, count * sizeof *runs);
    free(spare);
    return true;
}

/* Sorts the runs and takes them apart. Of several commits the last counts. */
static void merge(struct hf__touched *touched)
{
    struct hf__page_run *runs = touched->runs;
    size_t count = 0;
    if (touched->count == 0)
        return;
    if (touched->count < DIGITS_FROM || !sort_by_digits(runs, touched->count))
        qsort(runs, touched->count, sizeof *runs, by_first);
    for (size_t i = 1; i < touched->count; i++) {
        struct hf__page_run *last = &runs[count];
        const bool same = runs[i].first == last->end && runs[i].commit == last->commit;
        if (runs[i].first < last->end || same) {
            last->end = runs[i].end > last->end ? runs[i].end : last->end;
            last->commit = runs[i].commit > last->commit ? runs[i].commit : last->commit;
        } else {
            runs[++count] = runs[i];
        }
    }
    touched->count = count + 1;
}

static bool more_room(struct hf__touched *touched)
{
    if (touched->count >= RUNS_MAX && touched->count == touched->room) {
        merge(touched);
        if (touched->count < touched->room / 2)
            return true;
    }
    const size_t room = touched->room == 0 ? 256 : touched->room * 2;
    struct hf__page_run *runs = realloc(touched->runs, room * sizeof *runs);
    if (runs == NULL)
        return false;
    touched->runs = runs;
    touched->room = room;
    return true;
}

void hf__touched_add(struct hf__touched *touched, uint64_t from, uint64_t to, uint64_t commit)
{
    if (from >= to)
        return;
    const struct hf__page_run run = {from / HF__PAGE_BYTES, (to - 1) / HF__PAGE_BYTES + 1, commit};
    struct hf__page_run *last = touched->count == 0 ? NULL : &touched->runs[touched->count - 1];
    if (last != NULL && last->commit == commit && run.first >= last->first &&
        run.first <= last->end) {
        last->end = run.end > last->end ? run.end : last->end;
        return;
    }
    if (touched->count == touched->room && !more_room(touched)) {
        touched->lost = true;
        return;
    }
    touched->runs[touched->count++] = run;
}

void hf__touched_record(struct hf__touched *touched, const struct hf__record *record)
{
    const struct hf__record_range *ranges = hf__record_ranges(record);
    for (uint64_t i = 0; i < record->range_count; i++)
        hf__touched_add(touched, ranges[i].offset, ranges[i].offset + ranges[i].size_bytes,
                        record->commit);
    if (record->used_end < touched->used_low)
        touched->used_low = record->used_end;
}

int hf__touched_end(struct hf__touched *touched, uint64_t used_end, uint64_t commit)
{
    const uint64_t low = used_end < touched->used_low ? used_end : touched->used_low;
    if ((low != used_end || low != touched->used_first) && !HF__BUG(PAGES_OF_RECORDS_ONLY))
        hf__touched_add(touched, low == 0 ? 0 : low - 1, used_end, commit);
    return hf__touched_sort(touched);
}

int hf__touched_sort(struct hf__touched *touched)
{
    if (touched->lost)
        return hf__fail(HF_ENOMEM, "the set of touched pages");
    merge(touched);
    return 0;
}

bool hf__touched_has(const struct hf__touched *touched, uint64_t page)
{
    size_t low = 0, high = touched->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (page < touched->runs[middle].first)
            high = middle;
        else if (page >= touched->runs[middle].end)
            low = middle + 1;
        else
            return true;
    }
    return false;
}
