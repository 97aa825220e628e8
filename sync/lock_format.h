/* SPDX-License-Identifier: MIT */
/*
 * lock_format.h - the lock sidecar, NAME-lock
 *
 * Shared memory between the processes that have a store open; it says nothing about the data and is
 * made anew by whoever opens the store when nobody else has it open. Heap, buffer and copy-on-write
 * stores have the same struct in private memory. All words are written with atomic operations.
 *
 * An owner id names a handle: bits 0..9 its process slot + 1, bits 10..31 the slot's generation.
 * 0 is nobody. An id is dead when its slot no longer carries it, or when nobody holds the liveness
 * byte of that slot (range_lock.h).
 */
#ifndef HF_SYNC_LOCK_FORMAT_H
#define HF_SYNC_LOCK_FORMAT_H

#include "holdfast/types.h"

#include <stddef.h>
#include <stdint.h>

#define HF__LOCK_MAGIC UINT64_C(0x314b434f4c53464c) /* "LFSLOCK1" */

struct hf__process_slot {
    uint32_t owner;      /* 0  id of the handle that has the slot, 0 = free                      */
    uint32_t generation; /* 4  counts the handles this slot has had                              */
    int64_t pid;         /* 8  for messages only                                                 */
    uint64_t since_ns;   /* 16 CLOCK_REALTIME of the attach                                      */
    uint32_t flags;      /* 24 HF__PROCESS_...                                                   */
    uint32_t reserved[9];
};
_Static_assert(sizeof(struct hf__process_slot) == 64, "process slot");
_Static_assert(offsetof(struct hf__process_slot, owner) == 0, "owner");
_Static_assert(offsetof(struct hf__process_slot, generation) == 4, "generation");
_Static_assert(offsetof(struct hf__process_slot, pid) == 8, "pid");
_Static_assert(offsetof(struct hf__process_slot, since_ns) == 16, "since_ns");
_Static_assert(offsetof(struct hf__process_slot, flags) == 24, "flags");
_Static_assert(offsetof(struct hf__process_slot, reserved) == 28, "reserved");
#define HF__PROCESS_READ_ONLY 1u

struct hf__reader_slot {
    uint64_t word;       /* 0  owner id | thread id << 32; 0 = free                              */
    uint64_t since_ns;   /* 8  CLOCK_REALTIME of the view's begin                                */
    uint64_t commit;     /* 16 the commit it shows                                               */
    uint64_t shown;      /* 24 word again, once the two above are this view's                    */
    uint64_t reserved[4];
};
_Static_assert(sizeof(struct hf__reader_slot) == 64, "reader slot");
_Static_assert(offsetof(struct hf__reader_slot, word) == 0, "word");
_Static_assert(offsetof(struct hf__reader_slot, since_ns) == 8, "since_ns");
_Static_assert(offsetof(struct hf__reader_slot, commit) == 16, "commit");
_Static_assert(offsetof(struct hf__reader_slot, shown) == 24, "shown");
_Static_assert(offsetof(struct hf__reader_slot, reserved) == 32, "reserved");

/*
 * The log engine's side: where the log stands (docs/recovery.md). What belongs together is published
 * by one store: two copies and a counter, whose lowest bit says which one counts. Who is killed while
 * he fills the other copy has changed nothing.
 */
struct hf__log_tail {        /* written by who holds the writer's place                          */
    uint64_t epoch;          /* 0  of the active log file; 0 = no log is in use                  */
    uint64_t base;           /* 8  commit the active file starts from                            */
    uint64_t appended;       /* 16 newest commit that stands whole in the log                    */
    uint64_t end;            /* 24 of its record in the file                                     */
    uint64_t chain;          /* 32 its check                                                     */
    uint64_t file_bytes;     /* 40 how far the active file is zero-written and synced            */
    uint64_t fresh_end;      /* 48 highest used end of any state since the base                  */
    uint64_t salt;           /* 56 of the active file                                            */
};
_Static_assert(sizeof(struct hf__log_tail) == 64, "log tail");
_Static_assert(offsetof(struct hf__log_tail, epoch) == 0, "epoch");
_Static_assert(offsetof(struct hf__log_tail, base) == 8, "base");
_Static_assert(offsetof(struct hf__log_tail, appended) == 16, "appended");
_Static_assert(offsetof(struct hf__log_tail, end) == 24, "end");
_Static_assert(offsetof(struct hf__log_tail, chain) == 32, "chain");
_Static_assert(offsetof(struct hf__log_tail, file_bytes) == 40, "file_bytes");
_Static_assert(offsetof(struct hf__log_tail, fresh_end) == 48, "fresh_end");
_Static_assert(offsetof(struct hf__log_tail, salt) == 56, "salt");

struct hf__log_front {       /* written by who holds the applier's place                         */
    uint64_t epoch;          /* 0  older than the tail's: applied is the tail's base             */
    uint64_t applied;        /* 8  newest commit that stands in the data file                    */
    uint64_t end;            /* 16 of its record in the log                                      */
    uint64_t chain;          /* 24 its check                                                     */
    uint64_t reserved[4];
};
_Static_assert(sizeof(struct hf__log_front) == 64, "log front");
_Static_assert(offsetof(struct hf__log_front, epoch) == 0, "epoch");
_Static_assert(offsetof(struct hf__log_front, applied) == 8, "applied");
_Static_assert(offsetof(struct hf__log_front, end) == 16, "end");
_Static_assert(offsetof(struct hf__log_front, chain) == 24, "chain");
_Static_assert(offsetof(struct hf__log_front, reserved) == 32, "reserved");

#define HF__RECOVER_ALL       1u /* what of it is durable isn't known                                 */
#define HF__RECOVER_UNDURABLE 2u /* `durable` says what is                                            */
struct hf__log_words {
    uint32_t tail_count;     /* 0   tails[tail_count % 2] counts                                 */
    uint32_t front_count;    /* 4   likewise                                                     */
    uint32_t applier;        /* 8   owner id of who applies: a futex word                        */
    uint32_t applier_waiters;/* 12                                                               */
    uint64_t durable;        /* 16  everything up to it is on stable storage                     */
    uint64_t sealed;         /* 24  no record goes into a block of one up to this: a sync makes
                                *     just these durable. Highest bit: one is being written      */
    uint32_t recover;        /* 32  the log was left behind: recover before anything else; one of
                              *     HF__RECOVER_..., 0 = it wasn't                               */
    uint32_t log_failed;     /* 36  a write or sync of the active log failed                     */
    uint32_t data_failed;    /* 40  a sync of the data file failed                               */
    uint32_t switching;      /* 44  the other log's header may be on the disk already            */
    uint32_t unsynced;       /* 48  HF__UNSYNCED_...: what the file's header says of `applied`   */
    uint32_t adopt;          /* 52  a dead writer's record may stand behind the tail             */
    uint64_t generation;     /* 56  of the file's header while a log is in use                   */
    struct hf__log_tail tails[2];   /* 64                                                        */
    struct hf__log_front fronts[2]; /* 192                                                       */
};
_Static_assert(sizeof(struct hf__log_words) == 320, "log words");
_Static_assert(offsetof(struct hf__log_words, tail_count) == 0, "tail_count");
_Static_assert(offsetof(struct hf__log_words, front_count) == 4, "front_count");
_Static_assert(offsetof(struct hf__log_words, applier) == 8, "applier");
_Static_assert(offsetof(struct hf__log_words, applier_waiters) == 12, "applier_waiters");
_Static_assert(offsetof(struct hf__log_words, durable) == 16, "durable");
_Static_assert(offsetof(struct hf__log_words, sealed) == 24, "sealed");
_Static_assert(offsetof(struct hf__log_words, recover) == 32, "recover");
_Static_assert(offsetof(struct hf__log_words, log_failed) == 36, "log_failed");
_Static_assert(offsetof(struct hf__log_words, data_failed) == 40, "data_failed");
_Static_assert(offsetof(struct hf__log_words, switching) == 44, "switching");
_Static_assert(offsetof(struct hf__log_words, unsynced) == 48, "unsynced");
_Static_assert(offsetof(struct hf__log_words, adopt) == 52, "adopt");
_Static_assert(offsetof(struct hf__log_words, generation) == 56, "generation");
_Static_assert(offsetof(struct hf__log_words, tails) == 64, "tails");
_Static_assert(offsetof(struct hf__log_words, fronts) == 192, "fronts");

struct hf__lock_header {
    uint64_t magic;           /* 0                                                               */
    uint8_t uuid[16];         /* 8   of the store                                                */
    uint64_t device;          /* 24  of the data file: a hard link elsewhere has no lock file    */
    uint64_t inode;           /* 32                                                              */
    uint32_t processes_backed;/* 40  slots that have disk blocks under them                      */
    uint32_t readers_backed;  /* 44                                                              */
    uint32_t processes_high;  /* 48  slots from here on were never used                          */
    uint32_t readers_high;    /* 52                                                              */
    uint32_t header_marked;   /* 56  the file's header says "in use" already (attach.c, T6)      */
    uint32_t sync_failed;     /* 60  a sync of the data failed: it can't be made clean any more  */
    uint32_t writer;          /* 64  owner id of the writer: a futex word                        */
    uint32_t writer_waiters;  /* 68  processes that sleep on it                                  */
    uint32_t reserved1[14];
    uint32_t gate;            /* 128 owner id of who closed it, 0 = open: a futex word           */
    uint32_t gate_waiters;    /* 132 readers that sleep on it                                    */
    uint32_t readers_due;     /* 136 of those, how many to let in before it closes again         */
    uint32_t drain;           /* 140 counts readers that left while it was closed: a futex word  */
    uint32_t reserved2[12];
    uint8_t boot_id[16];      /* 192 of the kernel: one of another boot is garbage               */
    uint8_t reserved3[48];
    struct hf__log_words log; /* 256                                                             */
    uint32_t touched;         /* 576 since the first one found the file settled and alone, somebody
                               *     made a sidecar or wrote a header, or may have               */
    uint8_t reserved4[1024 - 580];
};
_Static_assert(sizeof(struct hf__lock_header) == 1024, "lock header");
_Static_assert(offsetof(struct hf__lock_header, magic) == 0, "magic");
_Static_assert(offsetof(struct hf__lock_header, uuid) == 8, "uuid");
_Static_assert(offsetof(struct hf__lock_header, device) == 24, "device");
_Static_assert(offsetof(struct hf__lock_header, inode) == 32, "inode");
_Static_assert(offsetof(struct hf__lock_header, processes_backed) == 40, "processes_backed");
_Static_assert(offsetof(struct hf__lock_header, readers_backed) == 44, "readers_backed");
_Static_assert(offsetof(struct hf__lock_header, processes_high) == 48, "processes_high");
_Static_assert(offsetof(struct hf__lock_header, readers_high) == 52, "readers_high");
_Static_assert(offsetof(struct hf__lock_header, header_marked) == 56, "header_marked");
_Static_assert(offsetof(struct hf__lock_header, sync_failed) == 60, "sync_failed");
_Static_assert(offsetof(struct hf__lock_header, writer) == 64, "writer");
_Static_assert(offsetof(struct hf__lock_header, writer_waiters) == 68, "writer_waiters");
_Static_assert(offsetof(struct hf__lock_header, reserved1) == 72, "reserved1");
_Static_assert(offsetof(struct hf__lock_header, gate) == 128, "gate");
_Static_assert(offsetof(struct hf__lock_header, gate_waiters) == 132, "gate_waiters");
_Static_assert(offsetof(struct hf__lock_header, readers_due) == 136, "readers_due");
_Static_assert(offsetof(struct hf__lock_header, drain) == 140, "drain");
_Static_assert(offsetof(struct hf__lock_header, reserved2) == 144, "reserved2");

_Static_assert(offsetof(struct hf__lock_header, boot_id) == 192, "boot_id");
_Static_assert(offsetof(struct hf__lock_header, reserved3) == 208, "reserved3");
_Static_assert(offsetof(struct hf__lock_header, log) == 256, "log");
_Static_assert(offsetof(struct hf__lock_header, touched) == 576, "touched");
_Static_assert(offsetof(struct hf__lock_header, reserved4) == 580, "reserved4");

/* Stands in `gate` when the sidecar was made while an undo list waited: closed by somebody dead. */
#define HF__NOBODY UINT32_C(0x3ff)

/* In `unsynced`. Who dies while he changes the header leaves MAYBE: neither is anything applied before it
 * is durable, nor a SYNC commit acknowledged, until it has been written again. */
#define HF__UNSYNCED_NO 0u    /* no record is in the data file before it is durable               */
#define HF__UNSYNCED_MAYBE 1u
#define HF__UNSYNCED_YES 2u   /* it says "unsynced": `applied` may be ahead of `durable`          */

/* In `sealed`: a record that shares a block is being written. */
#define HF__SHARING (UINT64_C(1) << 63)

/* The first slots of either kind share the header's page: a store that one process opens for a moment
 * needs, faults in and gives back one page. */
#define HF__NEAR_PROCESSES 16u
#define HF__NEAR_READERS 32u
#define HF__FAR_PROCESSES 1024u /* with the near ones at least HF_PROCESSES_MAX; whole pages     */
#define HF__FAR_READERS 4096u   /* likewise HF_READERS_MAX                                       */

struct hf__lock_table {
    struct hf__lock_header header;                               /* 0                            */
    struct hf__process_slot near_processes[HF__NEAR_PROCESSES];  /* 1024                         */
    struct hf__reader_slot near_readers[HF__NEAR_READERS];       /* 2048                         */
    struct hf__process_slot far_processes[HF__FAR_PROCESSES];    /* 4096                         */
    struct hf__reader_slot far_readers[HF__FAR_READERS];         /* 69632                        */
};
_Static_assert(offsetof(struct hf__lock_table, header) == 0, "header");
_Static_assert(offsetof(struct hf__lock_table, near_processes) == 1024, "near_processes");
_Static_assert(offsetof(struct hf__lock_table, near_readers) == 2048, "near_readers");
_Static_assert(offsetof(struct hf__lock_table, far_processes) == 4096, "far_processes");
_Static_assert(offsetof(struct hf__lock_table, far_readers) == 69632, "far_readers");
_Static_assert(sizeof(struct hf__lock_table) == 69632 + 64 * HF__FAR_READERS, "lock table");
_Static_assert(HF__NEAR_PROCESSES + HF__FAR_PROCESSES >= HF_PROCESSES_MAX, "process slots");
_Static_assert(HF__NEAR_READERS + HF__FAR_READERS >= HF_READERS_MAX, "reader slots");

static inline struct hf__process_slot *hf__process_slot(struct hf__lock_table *table, uint32_t index)
{
    return index < HF__NEAR_PROCESSES ? &table->near_processes[index]
                                      : &table->far_processes[index - HF__NEAR_PROCESSES];
}

static inline struct hf__reader_slot *hf__reader_slot(struct hf__lock_table *table, uint32_t index)
{
    return index < HF__NEAR_READERS ? &table->near_readers[index]
                                    : &table->far_readers[index - HF__NEAR_READERS];
}

#endif
