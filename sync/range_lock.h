/* SPDX-License-Identifier: MIT */
/*
 * range_lock.h - which bytes of the data file's inode are locked for what
 *
 * All are open-file-description locks: they belong to the opened file, not to the process or
 * thread, meet each other under any path, and the kernel drops them when their process dies. The
 * bytes lie far beyond any data.
 *
 *   ATTACH    shared by everyone who has the store open through the lock sidecar; exclusive for who
 *             must be alone: the first one in (recovery, sidecars), the last one out, grow, shrink,
 *             remove, repair
 *   CLOSING   exclusive while a handle closes, so that of two that close together one is the last
 *   WRITERS   shared by handles that may write; proves to FROZEN holders that there are none
 *   FROZEN    shared by handles that need the file to stand still for their whole life: read-only
 *             ones without a lock sidecar, copy-on-write ones
 *   NAMES + p shared by the FROZEN holder with process id p: it has no slot in a lock file that could
 *             name it, and the kernel doesn't tell whose such a lock is
 *   MAKING    of a file under a spare name: exclusive for who is making a store of it (create.c)
 *   LIVE + i  exclusive (shared for files opened read-only) by the handle in process slot i
 *
 * WRITERS and FROZEN exclude each other by the rule: take your own, then test the other, and let go
 * if it is held. Two who come at once may both let go; neither can miss the other.
 */
#ifndef HF_SYNC_RANGE_LOCK_H
#define HF_SYNC_RANGE_LOCK_H

#include "base/os.h"

#include <fcntl.h>

#define HF__RANGE_BASE ((off_t)1 << 62)
#define HF__RANGE_ATTACH (HF__RANGE_BASE + 0)
#define HF__RANGE_CLOSING (HF__RANGE_BASE + 1)
#define HF__RANGE_WRITERS (HF__RANGE_BASE + 2)
#define HF__RANGE_FROZEN (HF__RANGE_BASE + 3)
#define HF__RANGE_MAKING (HF__RANGE_BASE + 4)
#define HF__RANGE_LIVE (HF__RANGE_BASE + 64)
#define HF__RANGE_NAMES (HF__RANGE_BASE + ((off_t)1 << 32))
#define HF__RANGE_NAMES_BITS 30 /* of a process id                                                */

static inline int hf__range_shared(int fd, off_t range)
{
    return hf__os->lock(fd, F_RDLCK, range, 1);
}
static inline int hf__range_exclusive(int fd, off_t range)
{
    return hf__os->lock(fd, F_WRLCK, range, 1);
}
static inline void hf__range_unlock(int fd, off_t range)
{
    hf__os->lock(fd, F_UNLCK, range, 1);
}
/* Does anybody else hold it, in any way? An error counts as held: the safe answer. */
static inline bool hf__range_held(int fd, off_t range)
{
    return hf__os->lock_test(fd, F_WRLCK, range, 1) != 0;
}
/* The lowest process id among those that hold one of the NAMES, or 0. */
static inline int64_t hf__range_name(int fd)
{
    off_t from = 0, count = (off_t)1 << HF__RANGE_NAMES_BITS;
    if (hf__os->lock_test(fd, F_WRLCK, HF__RANGE_NAMES, count) != 1)
        return 0;
    while (count > 1) {
        count /= 2;
        if (hf__os->lock_test(fd, F_WRLCK, HF__RANGE_NAMES + from, count) != 1)
            from += count;
    }
    return from;
}

#endif
