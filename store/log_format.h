/* SPDX-License-Identifier: MIT */
/*
 * log_format.h - the log files NAME-log0 and NAME-log1
 *
 *   offset 0      header, the rest of its 4 KiB zero
 *   offset 4096   records, each at the end of the one before or at the next multiple of 4096
 *
 * The file whose number is epoch % 2 is the active one. Written by who holds the writer's place;
 * made durable by fdatasync. docs/recovery.md has the protocol.
 */
#ifndef HF_STORE_LOG_FORMAT_H
#define HF_STORE_LOG_FORMAT_H

#include "store_format.h"

#define HF__LOG_MAGIC UINT64_C(0x30474f4c444c4f48)    /* "HOLDLOG0" */
#define HF__RECORD_MAGIC UINT64_C(0x4452434552444c48) /* "HLDRECRD" */
#define HF__LOG_BLOCK UINT64_C(4096)
#define HF__LOG_FIRST HF__LOG_BLOCK

struct hf__log_header {
    uint64_t magic;        /* 0                                                                  */
    uint32_t version;      /* 8   HF__FORMAT_VERSION                                             */
    uint32_t byte_order;   /* 12                                                                 */
    uint8_t uuid[16];      /* 16  of the store                                                   */
    uint64_t generation;   /* 32  of the data file's header: a log of another use is not ours    */
    uint64_t epoch;        /* 40  the higher of two valid files counts                           */
    uint64_t base;         /* 48  commit that the data file holds on stable storage              */
    uint64_t used_end;     /* 56  of the segment at the base                                     */
    uint64_t salt;         /* 64  seeds the checks of this epoch's records; chain of the first   */
    uint8_t reserved[432]; /* 72                                                                 */
    uint64_t check;        /* 504 XXH3-64 of the 504 bytes before                                */
};
_Static_assert(sizeof(struct hf__log_header) == 512, "log header");
_Static_assert(offsetof(struct hf__log_header, magic) == 0, "magic");
_Static_assert(offsetof(struct hf__log_header, version) == 8, "version");
_Static_assert(offsetof(struct hf__log_header, byte_order) == 12, "byte_order");
_Static_assert(offsetof(struct hf__log_header, uuid) == 16, "uuid");
_Static_assert(offsetof(struct hf__log_header, generation) == 32, "generation");
_Static_assert(offsetof(struct hf__log_header, epoch) == 40, "epoch");
_Static_assert(offsetof(struct hf__log_header, base) == 48, "base");
_Static_assert(offsetof(struct hf__log_header, used_end) == 56, "used_end");
_Static_assert(offsetof(struct hf__log_header, salt) == 64, "salt");
_Static_assert(offsetof(struct hf__log_header, reserved) == 72, "reserved");
_Static_assert(offsetof(struct hf__log_header, check) == 504, "check");

/* A record: this header, range_count ranges, zeros up to a multiple of 64, the ranges' bytes. */
struct hf__record {
    uint64_t magic;          /* 0                                                                */
    uint64_t commit;         /* 8   counts up by one from base + 1                               */
    uint64_t chain;          /* 16  check of the record before; the salt in the first            */
    uint64_t synced_through; /* 24  highest commit known durable when this was written           */
    uint64_t length_bytes;   /* 32  all of it, a multiple of 64                                  */
    uint64_t used_end;       /* 40  of the segment after this commit                             */
    uint64_t window_start;   /* 48  segment bytes from here to window_end were written in place  */
    uint64_t window_end;     /* 56  0 = there was no window                                      */
    uint64_t range_count;    /* 64                                                               */
    uint64_t time_ns;        /* 72  CLOCK_REALTIME, for people                                   */
    int64_t pid;             /* 80  likewise                                                     */
    uint64_t reserved[2];    /* 88                                                               */
    uint64_t body_check[2];  /* 104 XXH3-128 of what follows this header, seeded with the salt   */
    uint64_t check;          /* 120 XXH3-64 of the 120 bytes before, seeded with the salt        */
};
_Static_assert(sizeof(struct hf__record) == 128, "record");
_Static_assert(offsetof(struct hf__record, magic) == 0, "magic");
_Static_assert(offsetof(struct hf__record, commit) == 8, "commit");
_Static_assert(offsetof(struct hf__record, chain) == 16, "chain");
_Static_assert(offsetof(struct hf__record, synced_through) == 24, "synced_through");
_Static_assert(offsetof(struct hf__record, length_bytes) == 32, "length_bytes");
_Static_assert(offsetof(struct hf__record, used_end) == 40, "used_end");
_Static_assert(offsetof(struct hf__record, window_start) == 48, "window_start");
_Static_assert(offsetof(struct hf__record, window_end) == 56, "window_end");
_Static_assert(offsetof(struct hf__record, range_count) == 64, "range_count");
_Static_assert(offsetof(struct hf__record, time_ns) == 72, "time_ns");
_Static_assert(offsetof(struct hf__record, pid) == 80, "pid");
_Static_assert(offsetof(struct hf__record, reserved) == 88, "reserved");
_Static_assert(offsetof(struct hf__record, body_check) == 104, "body_check");
_Static_assert(offsetof(struct hf__record, check) == 120, "check");

struct hf__record_range {
    uint64_t offset;         /* 0   in the segment, a multiple of 64                             */
    uint64_t size_bytes;     /* 8   a multiple of 64                                             */
};
_Static_assert(sizeof(struct hf__record_range) == 16, "record range");
_Static_assert(offsetof(struct hf__record_range, offset) == 0, "offset");
_Static_assert(offsetof(struct hf__record_range, size_bytes) == 8, "size_bytes");

/* The ranges stand right behind the record's header. */
static inline const struct hf__record_range *hf__record_ranges(const struct hf__record *record)
{
    return (const struct hf__record_range *)(record + 1);
}

#endif
