/* SPDX-License-Identifier: MIT */
/*
 * space_auto.c - when free space is given back without anybody having asked for it
 *
 * A commit looks at three counters of the heap. What is free beyond what could not be given back the last
 * time (the floor: small blocks, holes that are there already) is worth a trim if it comes to
 * trim_min_bytes and to an eighth of what is in use; and if each commit of the time trim_delay_ms has found
 * so, the housekeeper trims. So a store that frees and takes again keeps its blocks.
 *
 * Invariants
 *   G1  floor <= what was free at each commit of this handle since it was set
 *   G2  since is 0 if the last commit found too little, unless a trim was begun and has to be gone on with
 *       (again): what it marked isn't free any more for this count
 *   G3  nothing here waits for the writer's place longer than WAIT_MS: hf_close waits for the housekeeper,
 *       perhaps in a transaction
 */
#include "base/os.h"
#include "store.h"

#define WAIT_MS    100
#define IDLE_NS    INT64_C(1000000000)
#define SPAN_MAX   (UINT64_C(1) << 20) /* a free block of fewer bytes is left alone, or 1/16 of     */
#define SPAN_LEAST (UINT64_C(64) << 10) /* trim_min_bytes                                         */

static bool worth(hf_store *store, uint64_t spare)
{
    const struct hf__log *log = &store->log;
    const uint64_t least = hf__tuned(&log->trim_min_bytes);
    const uint64_t used = hf__segment_header(&store->seg)->heap.used_end;
    const uint64_t floor = hf__tuned(&log->trim_floor);
    return least != HF_TRIM_NEVER && spare > floor && spare - floor >= least &&
           spare - floor >= used / 8;
}

void hf__space_look(hf_store *store)
{
    struct hf__log *log = &store->log;
    const uint64_t spare = hf__space_spare(hf__segment_header(&store->seg));
    if (spare < hf__tuned(&log->trim_floor))
        __atomic_store_n(&log->trim_floor, spare, __ATOMIC_RELAXED);
    if (!worth(store, spare) && hf__tuned(&log->trim_again) == 0) {
        __atomic_store_n(&log->trim_since_ns, 0, __ATOMIC_RELAXED);
    } else if (hf__tuned(&log->trim_since_ns) == 0) {
        __atomic_store_n(&log->trim_since_ns, hf__os->now_ns(), __ATOMIC_RELAXED);
        hf__lazy_wake(store);
    }
}

void hf__space_settled(hf_store *store)
{
    struct hf__log *log = &store->log;
    __atomic_store_n(&log->trim_floor, hf__space_spare(hf__segment_header(&store->seg)),
                     __ATOMIC_RELAXED);
    __atomic_store_n(&log->trim_since_ns, 0, __ATOMIC_RELAXED);
}

static void trim(hf_store *store, uint64_t least)
{
    struct hf__log *log = &store->log;
    hf_trim_report report = {0};
    uint64_t span = least / 16 < SPAN_MAX ? least / 16 : SPAN_MAX;
    span = span > SPAN_LEAST ? span : SPAN_LEAST;
    const struct hf__trim_wish wish = {hf__deadline_in_ms(WAIT_MS), span, true};
    int code = hf__space_trim(store, &wish, &report);
    if (code == 0 && report.unsupported)
        __atomic_store_n(&log->trim_min_bytes, HF_TRIM_NEVER, __ATOMIC_RELAXED);
    __atomic_store_n(&log->trim_again, code != 0, __ATOMIC_RELAXED);
    if (code == 0)
        __atomic_add_fetch(&log->trims, 1, __ATOMIC_RELAXED);
    else /* a view is in the way, or the disk */
        __atomic_store_n(&log->trim_since_ns, hf__os->now_ns(), __ATOMIC_RELAXED);
}

int64_t hf__space_keep(hf_store *store)
{
    const uint64_t since = hf__tuned(&store->log.trim_since_ns);
    const uint64_t least = hf__tuned(&store->log.trim_min_bytes);
    if (since == 0 || least == HF_TRIM_NEVER)
        return IDLE_NS;
    const uint64_t due = since + hf__tuned(&store->log.trim_delay_ns), now = hf__os->now_ns();
    if (now < due)
        return due - now < (uint64_t)IDLE_NS ? (int64_t)(due - now) : IDLE_NS;
    trim(store, least);
    return 0;
}
