/* SPDX-License-Identifier: MIT */
/*
 * log.h - the log engine's parts (docs/recovery.md has the protocol)
 *
 *   log.c          the two files: headers, records, reading them back, room
 *   private.c      P, the writer's private mapping: changed lines, private pages, fresh window
 *   apply.c        syncing the log, applying
 *   log_switch.c   checkpoints, renewal after a failure, start and end of a log's use
 *   replay.c       writing all of a log into the data file
 *   recover.c      cold recovery and private replay
 *   lazy.c         the housekeeper of LAZY commits
 *   log_info.c     what is told about it, and what can be tuned
 *   log_scan.c     reading the files of a store that need not be open
 *   log_check.c    debug_checks: unannounced changes, stored addresses
 *   log_engine.c   begin, commit, rollback over these
 */
#ifndef HF_STORE_LOG_H
#define HF_STORE_LOG_H

#include "base/segment.h"
#include "lines.h"
#include "log_format.h"
#include "sync/lock_format.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define HF__LOG_SYNC_FDS 4

/* Reads a log's records one after the other, each proved before it is believed. */
struct hf__log_cursor {
    int fd;
    const char *path;
    uint64_t salt;
    uint64_t size_max_bytes;      /* of the segment: ranges must lie within                      */
    uint64_t commit, chain, end;  /* of the last record read, or of where to begin               */
    uint64_t at;                  /* where that record starts                                    */
    unsigned char *bytes;         /* what was read of the file: `have` bytes from `have_at` on   */
    size_t room, have;
    uint64_t have_at;
    size_t start;                 /* where in it the record begins, whole                        */
    size_t ahead;                 /* reads so much at a time: of a log that nobody writes to     */
    uint64_t still;               /* 0, or: below it nobody writes, and no byte behind is read   */
};

struct hf__log {
    char *paths[2];               /* NAME-log0, NAME-log1                                        */
    int fds[2];
    pthread_mutex_t opening;      /* of fds                                                      */
    int sync_fds[2][HF__LOG_SYNC_FDS]; /* one for each thread that syncs: the kernel tells each  */
    uint32_t sync_busy[2][HF__LOG_SYNC_FDS]; /* opened file of a failure once                    */
    struct hf__log_cursor reading;/* for who has the applier's place                             */
    struct hf__log_cursor laying; /* for who has the writer's place                              */
    struct hf__record *record;    /* the record being made; the writer's                         */
    size_t record_room;
    struct hf__record *spare;     /* room for the next one; taken and put back atomically        */

    struct hf__lines changed;     /* lines of this transaction                                   */
    uint64_t changed_end;         /* behind the highest of them                                  */
    bool changed_lost;            /* one may not be noted, or be shown already: the commit fails  */
    uint64_t window_limit;        /* a change beyond it is a reason to open a window             */
    uint64_t window_start;        /* from here on P is mapped shared; UINT64_MAX: no window      */
    uint64_t window_next;         /* a change beyond it: more of the window is made ready        */
    uint64_t window_first;        /* where its first grain begins                                */
    uint64_t window_watched;      /* behind the stretch that is watched; 0: none yet             */
    uint64_t *window_hot;         /* a word a stretch, a bit a grain: it has changed again       */
    size_t window_stretches, window_room;
    uint64_t window_written, window_again; /* grains written behind; those that changed again    */
    uint64_t *private_pages;      /* a bit for each page of P that may be private                */
    uint64_t private_room_bytes;
    uint64_t private_count, private_end;
    uint64_t seen, seen_epoch, seen_end, seen_chain; /* what P shows                             */
    uint64_t block_first, block_last, block_chain; /* commits in the log's last block, and the
                                   * check of the last one, if this handle wrote it              */

    pthread_t housekeeper;
    bool housekeeping;            /* there is one; atomic                                        */
    bool lazy_ended;              /* the handle is being closed: no housekeeper comes any more   */
    uint32_t lazy_word;           /* futex: 1 = something is to be synced, 2 = end               */
    int64_t pid;                  /* of this process                                             */
    unsigned char *shared;        /* S: reserved_bytes from the start of the file                */
    unsigned char *through;       /* W: the file mapped writable, for applying; NULL: not yet    */
    bool through_refused;
    uint64_t log_max_bytes, first_bytes, switch_bytes, private_max_bytes; /* hf_tuning: hf__tuned */
    uint64_t gate_wait_ns, lazy_interval_ns, debug_checks, trim_min_bytes, trim_delay_ns;
    uint64_t trim_floor, trim_since_ns, trim_again, trims; /* space_auto.c; atomic               */
    uint64_t checking;            /* the debug_checks of this transaction                        */
    uint64_t checks, checks_skipped;
};

static inline uint64_t hf__tuned(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

/* Flags among the words in the lock table. */
static inline bool hf__flag(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST) != 0;
}
static inline void hf__set_flag(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

/* ---- log.c: files and records ---------------------------------------------------------------- */

void hf__log_init(struct hf__log *log);
void hf__log_dispose(struct hf__log *log);
/* In the child of a fork: the descriptors go, nothing else is touched. */
void hf__log_drop_fds(struct hf__log *log);
/* Opens both files if they aren't yet; create: makes those that are missing; read_only: this call won't
 * write to them, and a handle that may never write gets no more. HF_ELOGMISSING, ... */
int hf__log_open(hf_store *store, bool create, bool read_only);
/* Is there a log file beside the store? */
bool hf__log_leftovers(const hf_store *store);
/* The valid headers of this store's `generation` (0 = of any): bit i for file i. */
int hf__log_headers(hf_store *store, uint64_t generation, struct hf__log_header out[2],
                    unsigned *valid);
/* Which file counts and its header. HF_ELOGMISSING, HF_ELOGFOREIGN. */
int hf__log_choose(hf_store *store, uint64_t generation, struct hf__log_header *out);
/* The file is at least that long. What is new of it is zeros that were written, but below taken_bytes
 * blocks that a record is about to be written to. HF_ENOSPC, HF_EIO: it may be longer than it was. */
int hf__log_reach(hf_store *store, int file, uint64_t size_bytes, uint64_t taken_bytes);
/* Writes file number epoch % 2 as an empty log of at least size_bytes; not synced. */
int hf__log_write_header(hf_store *store, const struct hf__log_header *header, uint64_t size_bytes);
/* Makes a header of that epoch, with a salt of its own. */
void hf__log_make_header(const hf_store *store, uint64_t generation, uint64_t epoch, uint64_t base,
                         uint64_t used_end, struct hf__log_header *out);
/* The same for a file that ends at from_bytes; not synced. */
int hf__log_extend(hf_store *store, int file, uint64_t from_bytes, uint64_t to_bytes,
                   uint64_t taken_bytes);

/* Nothing is known of who writes there: `ahead` and `still` are 0 afterwards. */
void hf__cursor_set(struct hf__log_cursor *cursor, const hf_store *store, int file, uint64_t salt,
                    uint64_t commit, uint64_t chain, uint64_t end);
/* The next record: 1 and hf__cursor_record is it; 0, there is none; or an error. */
int hf__cursor_next(struct hf__log_cursor *cursor);
/* Writes the records up to commit `last`, but for those up to `durable`, over themselves as they stand. */
int hf__cursor_write_again(struct hf__log_cursor *cursor, uint64_t last, uint64_t durable);
static inline const struct hf__record *hf__cursor_record(const struct hf__log_cursor *cursor)
{
    return (const struct hf__record *)(const void *)(cursor->bytes + cursor->start);
}
/* Log files and places in them are whole blocks: the next one up. */
static inline uint64_t hf__whole_blocks(uint64_t bytes)
{
    return (bytes + HF__LOG_BLOCK - 1) / HF__LOG_BLOCK * HF__LOG_BLOCK;
}
static inline uint64_t hf__record_data(uint64_t range_count)
{
    uint64_t bytes = sizeof(struct hf__record) + range_count * sizeof(struct hf__record_range);
    return (bytes + HF__LINE_BYTES - 1) & ~(uint64_t)(HF__LINE_BYTES - 1);
}
/* Is there, behind the end of the chain, a record of this log that claims a commit beyond
 * `commit` was durable, or this one? 1, 0, or an error. */
int hf__log_acknowledged_beyond(const struct hf__log_cursor *cursor);
/* Seals a record whose body stands behind it. */
void hf__record_seal(struct hf__record *record, uint64_t salt);

/* ---- the words in the lock table ------------------------------------------------------------- */

void hf__tail_read(const hf_store *store, struct hf__log_tail *out);
/* The one that counts, as it stands there. With the writer's place held nobody publishes another; it is
 * good until the caller does. */
const struct hf__log_tail *hf__tail_own(const hf_store *store);
void hf__tail_publish(hf_store *store, const struct hf__log_tail *tail);
static inline struct hf__log_front hf__front_at_base(const struct hf__log_tail *tail)
{
    return (struct hf__log_front){
        .epoch = tail->epoch, .applied = tail->base, .end = HF__LOG_FIRST, .chain = tail->salt};
}
/* As it is meant: of an older epoch than the tail's, it is at the tail's base. */
void hf__front_read(const hf_store *store, struct hf__log_front *out);
/* The same, and the tail that was read for it, after the front. */
void hf__front_and_tail_read(const hf_store *store, struct hf__log_front *out,
                             struct hf__log_tail *tail);
/* Where the log of that tail is read from, to find what isn't applied: the front, or while that stands in
 * the next log already (whose tail comes after it, or never, if its maker is dead), the base. */
void hf__front_in(const hf_store *store, const struct hf__log_tail *tail, struct hf__log_front *out);
void hf__front_publish(hf_store *store, const struct hf__log_front *front);
uint64_t hf__durable(const hf_store *store);
void hf__durable_raise(hf_store *store, uint64_t commit);

/* ---- private.c ------------------------------------------------------------------------------- */

/* The bits for private pages. */
int hf__private_open(hf_store *store);
void hf__private_close(hf_store *store);
/* Room for the set of changed lines. */
int hf__private_reserve(hf_store *store, uint64_t cost_bytes);
/* P is about to be changed there. */
void hf__private_change(hf_store *store, uint64_t offset, uint64_t size_bytes);
/* Brings P to the tail's commit. The writer's place is held. */
int hf__private_follow(hf_store *store);
/* A transaction begins: nothing has changed yet. */
void hf__private_begin(hf_store *store);
/* Writes what the window holds to the file, if it isn't mapped shared. HF_ENOSPC, HF_EIO. */
int hf__private_write_window(hf_store *store);
/* Ends the window. */
int hf__private_end(hf_store *store);
/* Drops all private pages if they are many and stand in the data file. */
void hf__private_trim(hf_store *store);
/* Encodes what changed into log->record. *length = 0: nothing did. */
int hf__private_encode(hf_store *store, uint64_t *length);
/* Takes the record out, so that the next writer needn't wait until it is applied; gives it back, which
 * frees it if it has much room. */
struct hf__record *hf__private_record_take(struct hf__log *log);
void hf__private_record_put(struct hf__log *log, struct hf__record *record);

/* Drops all of P, unannounced changes included: it shows the data file. */
int hf__private_forget(hf_store *store);

/* ---- log_check.c ----------------------------------------------------------------------------- */

/* debug_checks: before P follows; of what a commit would record; after a rollback of everything. */
void hf__log_check_begin(hf_store *store);
int hf__log_check_commit(hf_store *store); /* HF_EUNANNOUNCED, HF_EPTR, HF_ETRUNCATED */
void hf__log_check_abandon(hf_store *store);

/* ---- apply.c --------------------------------------------------------------------------------- */

/* Everything up to `commit` on stable storage. HF_ECOMMIT_UNKNOWN. */
int hf__log_sync_to(hf_store *store, uint64_t commit);
/* Applies what is durable, if it can: HF_EBUSY if a reader or another applier is in the way. own: a
 * record that this thread has just appended and still has in memory, or NULL. ahead: also what
 * isn't durable, if the header says that this may be so (NOSYNC). */
int hf__log_apply(hf_store *store, const struct hf__record *own, uint64_t own_end, bool ahead,
                  uint64_t deadline);
/* The deadline of who waits for readers inside, but not for long: gate_wait_ns from now. */
uint64_t hf__log_soon(const hf_store *store);
/* The same for hf__log_apply, from when it first has to wait: so who needn't looks at no clock. */
#define HF__SOON (HF__NO_DEADLINE - 1)
/* With the applier's place held: up to `commit`, which is durable. */
int hf__log_apply_to(hf_store *store, uint64_t commit, uint64_t deadline);
/* The same for all since the base, after a failed sync of the data file: the kernel may have lost
 * pages and calls them clean. */
int hf__log_apply_again(hf_store *store, const struct hf__log_tail *tail, uint64_t deadline);
/* May records be applied before they are durable? With the applier's place held it stays so: who
 * writes another header takes that first. */
bool hf__log_runs_ahead(const hf_store *store);
/* Syncs the data file, with the writer's place held. On success what was suspect before still is. */
int hf__log_sync_data(hf_store *store);
/* Syncs the log file of that epoch, the active one; everybody is told of a failure. */
int hf__log_sync_file(hf_store *store, int file, uint64_t epoch);
/* Asks the processor for the lines that hf__record_write will store to, if they are few. */
void hf__record_expect(const hf_store *store, const struct hf__record *record);
/* Writes the ranges of a record into the data file. */
int hf__record_write(hf_store *store, const struct hf__record *record);

/* ---- log_switch.c ---------------------------------------------------------------------------- */

/* C1 to C6, with the writer's place held: afterwards the active log is empty and at least
 * size_bytes long. */
int hf__log_checkpoint(hf_store *store, uint64_t size_bytes, uint64_t deadline);
/* Sees to it that a record of that length can be appended. The writer's place is held. */
int hf__log_make_room(hf_store *store, uint64_t length_bytes);
/* The first use since the file was clean. */
int hf__log_start(hf_store *store);
/* All applied and synced, the header clean; the log is then of no use. */
int hf__log_finish(hf_store *store, uint64_t deadline);
/* A dead writer's record may stand behind the tail: adopts it. */
int hf__log_adopt(hf_store *store);
/* The header says that commits may be applied before they are durable. */
int hf__log_mark_unsynced(hf_store *store);
/* The header says that they may not: everything appended is made durable for it. The writer's place is
 * held. */
int hf__log_mark_synced(hf_store *store, uint64_t deadline);
/* W, mapped when it is first asked for; NULL if it can't be. */
unsigned char *hf__log_through(hf_store *store);

/* ---- replay.c -------------------------------------------------------------------------------- */

/* What is known of where a whole log writes, before it is written. */
struct hf__replay {
    uint32_t *hits;               /* for each region of the segment: writes of parts of pages    */
    size_t room;
    bool unknown;                 /* there was no memory for them                                */
};

/* Goes through the records before: notes where they write. */
void hf__replay_note(struct hf__replay *replay, const struct hf__record *record);
/* Between the two: reads what many of them will write to. The file reaches to `end` of the segment,
 * behind the highest range. */
int hf__replay_prepare(hf_store *store, const struct hf__replay *replay, uint64_t end);
/* As hf__record_write, for a record that was noted; after the last one comes hf__store_fence. */
int hf__replay_write(hf_store *store, const struct hf__replay *replay,
                     const struct hf__record *record);
void hf__replay_dispose(struct hf__replay *replay);

/* ---- recover.c ------------------------------------------------------------------------------- */

/* With the writer's place held and `recover` set: replays what a former use left, makes the file
 * clean. */
int hf__log_recover(hf_store *store, uint64_t deadline);
/* Lays the log that was left beside a store over a private mapping of it, backing what lies behind
 * the file's end. */
int hf__log_replay_over(hf_store *store, unsigned char *mapping, uint64_t generation);
/* A private mapping of the last commit that counts, for a view that found the gate closed by a dead
 * process and holds its reader slot. The caller munmaps reserved_bytes. */
int hf__log_replay_stuck(hf_store *store, void **out);

/* ---- log_info.c ------------------------------------------------------------------------------ */

void hf__tune_defaults(struct hf__log *log);
/* debug_checks as HOLDFAST_DEBUG asks for. HF_EINVAL for what it doesn't know. */
int hf__tune_from_environment(struct hf__log *log);

/* ---- lazy.c ---------------------------------------------------------------------------------- */

/* A LAZY commit was appended: the housekeeper syncs and applies it soon. */
void hf__lazy_wake(hf_store *store);
/* Whoever attaches takes over what a dead process left undone. */
void hf__lazy_inherit(hf_store *store);
/* Ends the housekeeper, if there is one, after a last try. */
void hf__lazy_stop(hf_store *store);

#endif
