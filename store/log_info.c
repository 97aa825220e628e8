/* SPDX-License-Identifier: MIT */
/*
 * log_info.c - what is told about readers and the log, and what can be tuned
 *
 * The lock table is read without a lock. Words that belong together are read again until they stood
 * still meanwhile, so what is told was true at one moment between the first and the last look.
 */
#include "engine.h"
#include "store.h"

#include "base/os.h"

#include <stdlib.h>
#include <string.h>

#define LOG_MAX_BYTES (UINT64_C(1) << 30)
#define FIRST_BYTES (UINT64_C(256) << 10)
#define SWITCH_BYTES (UINT64_C(32) << 20)
#define PRIVATE_MAX_BYTES (UINT64_C(64) << 20)
#define GATE_WAIT_US UINT64_C(1000)
#define LAZY_INTERVAL_MS UINT64_C(10)
#define TRIM_MIN_BYTES (UINT64_C(64) << 20)
#define TRIM_DELAY_MS UINT64_C(10000)

static uint32_t flag(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST) != 0;
}

static int usable(const hf_store *store, const char *what)
{
    if (store == NULL)
        return hf__fail(HF_EINVAL, "%s", what);
    return store->forked ? hf__fail(HF_EFORKED, "%s", what) : 0;
}

/* ---- readers --------------------------------------------------------------------------------- */

/* Does something wait for views to end? */
static bool deferred(const hf_store *store)
{
    hf_log_state state;
    if (store->engine != &hf__engine_log)
        return flag(&store->locks.table->header.gate) != 0;
    return hf_log_info((hf_store *)(uintptr_t)store, &state) == 0 &&
           state.applied < (state.unsynced ? state.appended : state.durable);
}

int hf_readers(hf_store *store, hf_reader *array, size_t capacity, size_t *count)
{
    int code = usable(store, "hf_readers");
    if (code != 0)
        return code;
    if (count == NULL || (array == NULL && capacity != 0))
        return hf__fail(HF_EINVAL, "hf_readers");
    struct hf__locks *locks = &store->locks;
    const uint32_t high =
        __atomic_load_n(&locks->table->header.readers_high, __ATOMIC_SEQ_CST);
    const uint32_t defers = deferred(store);
    struct hf__reader_slot slot;
    size_t found = 0;
    for (uint32_t i = 0; i < high && i < HF_READERS_MAX; i++) {
        if (!hf__reader_look(locks, i, &slot))
            continue;
        const uint64_t now = hf__os->wall_ns();
        if (found < capacity)
            array[found] = (hf_reader){
                .pid = hf__locks_pid(locks, (uint32_t)slot.word),
                .thread_id = slot.word >> 32,
                .age_ns = now > slot.since_ns ? now - slot.since_ns : 0,
                .commit = slot.commit,
                .defers = defers,
                .own = (uint32_t)slot.word == locks->own};
        found++;
    }
    *count = found;
    return 0;
}

/* ---- the log --------------------------------------------------------------------------------- */

/* What belongs to the log's words, read once. */
static void look(const hf_store *store, hf_log_state *out)
{
    const struct hf__log_words *words = &store->locks.table->header.log;
    struct hf__log_front front;
    struct hf__log_tail tail;
    hf__front_read(store, &front);
    hf__tail_read(store, &tail);
    *out = (hf_log_state){.epoch = tail.epoch,
                          .base = tail.base,
                          .applied = front.applied,
                          .durable = hf__durable(store),
                          .appended = tail.appended,
                          .file_bytes = tail.file_bytes,
                          .end_bytes = tail.end,
                          .log_failed = flag(&words->log_failed),
                          .data_failed = flag(&words->data_failed),
                          .switching = flag(&words->switching),
                          .unsynced = __atomic_load_n(&words->unsynced, __ATOMIC_SEQ_CST) ==
                                      HF__UNSYNCED_YES,
                          .unrecovered = flag(&words->recover) != 0};
}

/* No log is in use: all counters are the data file's commit. */
static void clean_state(const hf_store *store, hf_log_state *state)
{
    const unsigned char *segment = store->log.shared == NULL
                                       ? store->seg.base
                                       : store->log.shared + HF__SEGMENT_OFFSET;
    const uint64_t *commit =
        (const uint64_t *)(const void *)(segment + offsetof(struct hf__segment_header, commit));
    const uint32_t unrecovered = state->unrecovered;
    *state = (hf_log_state){.unrecovered = unrecovered};
    if (!unrecovered)
        state->base = state->applied = state->durable = state->appended =
            __atomic_load_n(commit, __ATOMIC_RELAXED);
}

int hf_log_info(hf_store *store, hf_log_state *out)
{
    hf_log_state state, again;
    int code = usable(store, "hf_log_info");
    if (code == 0 && out == NULL)
        code = hf__fail(HF_EINVAL, "hf_log_info");
    if (code == 0 && store->engine != &hf__engine_log)
        code = hf__fail_path(HF_ENOTSUP, 0, store->path, "this handle has no log");
    if (code != 0)
        return code;
    look(store, &state);
    for (;;) {
        look(store, &again);
        if (memcmp(&state, &again, sizeof state) == 0)
            break;
        state = again;
    }
    if (state.epoch == 0)
        clean_state(store, &state);
    state.checks = hf__tuned(&store->log.checks);
    state.checks_skipped = hf__tuned(&store->log.checks_skipped);
    state.trims = hf__tuned(&store->log.trims);
    *out = state;
    return 0;
}

/* ---- tuning ---------------------------------------------------------------------------------- */

static void set(uint64_t *value, uint64_t to, uint64_t or_else)
{
    __atomic_store_n(value, to != 0 ? to : or_else, __ATOMIC_RELAXED);
}

static void tune(struct hf__log *log, const hf_tuning *tuning)
{
    set(&log->log_max_bytes, tuning->log_max_bytes, LOG_MAX_BYTES);
    set(&log->first_bytes, tuning->log_first_bytes, FIRST_BYTES);
    set(&log->switch_bytes, tuning->log_switch_bytes, SWITCH_BYTES);
    set(&log->private_max_bytes, tuning->private_max_bytes, PRIVATE_MAX_BYTES);
    set(&log->gate_wait_ns, tuning->gate_wait_us * 1000, GATE_WAIT_US * 1000);
    set(&log->lazy_interval_ns, tuning->lazy_interval_ms * 1000000, LAZY_INTERVAL_MS * 1000000);
    set(&log->debug_checks, tuning->debug_checks, 0);
    set(&log->trim_min_bytes, tuning->trim_min_bytes, TRIM_MIN_BYTES);
    set(&log->trim_delay_ns, tuning->trim_delay_ms * 1000000, TRIM_DELAY_MS * 1000000);
}

void hf__tune_defaults(struct hf__log *log)
{
    tune(log, &(hf_tuning)HF_TUNING_INIT);
}

int hf__tune_from_environment(struct hf__log *log)
{
    static const struct {
        const char *word;
        uint64_t value;
    } known[] = {{"announce", HF_DEBUG_ANNOUNCE}, {"pointers", HF_DEBUG_POINTERS}};
    const char *at = secure_getenv("HOLDFAST_DEBUG");
    uint64_t checks = 0;
    while (at != NULL && *at != '\0') {
        const size_t length = strcspn(at, ",");
        size_t i = 0;
        while (i < 2 && (strlen(known[i].word) != length || memcmp(known[i].word, at, length) != 0))
            i++;
        if (i == 2)
            return hf__fail(HF_EINVAL, "HOLDFAST_DEBUG knows announce and pointers, not '%.*s'",
                            (int)(length < 64 ? length : 64), at);
        checks |= known[i].value;
        at += length + (at[length] == ',');
    }
    set(&log->debug_checks, checks, 0);
    return 0;
}

static bool within(uint64_t value, uint64_t least, uint64_t most)
{
    return value == 0 || (value >= least && value <= most);
}

int hf_tune(hf_store *store, const hf_tuning *tuning)
{
    static const hf_tuning defaults = HF_TUNING_INIT;
    int code = usable(store, "hf_tune");
    if (code != 0)
        return code;
    if (tuning == NULL)
        tuning = &defaults;
    if (!within(tuning->log_max_bytes, UINT64_C(16) << 10, UINT64_C(1) << 50) ||
        !within(tuning->log_first_bytes, UINT64_C(16) << 10, UINT64_C(1) << 40) ||
        !within(tuning->log_switch_bytes, UINT64_C(16) << 10, UINT64_C(1) << 40) ||
        !within(tuning->private_max_bytes, 1, UINT64_C(1) << 50) ||
        tuning->gate_wait_us > 10 * 1000 * 1000 || tuning->lazy_interval_ms > 24 * 3600 * 1000 ||
        tuning->trim_delay_ms > 24 * 3600 * 1000 ||
        (tuning->trim_min_bytes != HF_TRIM_NEVER &&
         !within(tuning->trim_min_bytes, UINT64_C(64) << 10, UINT64_C(1) << 50)))
        return hf__fail(HF_EINVAL, "hf_tune: a value is out of bounds");
    if ((tuning->debug_checks & ~(uint32_t)(HF_DEBUG_ANNOUNCE | HF_DEBUG_POINTERS)) != 0)
        return hf__fail(HF_EINVAL, "hf_tune: an unknown debugging check");
    if (memcmp(tuning->reserved, defaults.reserved, sizeof defaults.reserved) != 0 ||
        tuning->reserved0 != 0)
        return hf__fail(HF_EINVAL, "hf_tune: reserved words must be zero");
    tune(&store->log, tuning);
    return 0;
}
