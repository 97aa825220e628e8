/* SPDX-License-Identifier: MIT */
/*
 * save.c - hf_save_as: what a view shows, as a new closed store
 *
 * It is a snapshot (snapshot.c) that any thread may ask for, also inside its transaction. Pages keep the
 * checksums they have: a page that has rotted is named, and not taken for what it should be.
 */
#include "snapshot.h"
#include "store.h"

#include "base/os.h"

#include <stdio.h>
#include <string.h>

#define CHUNK ((uint64_t)1 << 20)

static bool all_zero(const unsigned char *p, uint64_t size_bytes)
{
    return size_bytes == 0 || (p[0] == 0 && memcmp(p, p + 1, size_bytes - 1) == 0);
}

int hf__write_sparse(int fd, const unsigned char *base, uint64_t from, uint64_t to)
{
    while (from < to) {
        uint64_t end = from;
        while (end < to && end - from < CHUNK) {
            uint64_t page = to - end < HF__PAGE_BYTES ? to - end : HF__PAGE_BYTES;
            if (all_zero(base + end, page))
                break;
            end += page;
        }
        if (end > from && hf__segment_write(fd, base + from, end - from, from) != 0)
            return -1;
        uint64_t zero = end < to && end - from < CHUNK ? HF__PAGE_BYTES : 0;
        from = end + zero < to ? end + zero : to;
    }
    return 0;
}

/* Of the rotten pages the first is named: there is nobody else to tell. */
struct first {
    char text[400];
};

static void on_finding(void *user, const hf_finding *finding)
{
    struct first *first = user;
    if (first->text[0] == '\0')
        snprintf(first->text, sizeof first->text, "%s at %llu: %s", finding->rule,
                 (unsigned long long)finding->offset, finding->expected);
}

int hf_save_as(hf_store *store, const char *path, uint32_t permissions)
{
    hf_snapshot_options options = HF_SNAPSHOT_OPTIONS_INIT;
    struct first first = {""};
    if (store == NULL || path == NULL || permissions > 07777)
        return hf__fail(HF_EINVAL, "hf_save_as");
    if (store->forked)
        return hf__fail(HF_EFORKED, "open the store anew in the child");
    if (__atomic_load_n(&store->writer_thread, __ATOMIC_RELAXED) == hf__thread_id()) {
        const int settled = hf__txn_settle(store); /* what was freed is in the list then */
        if (settled != 0)
            return settled;
        if (store->txn.pending_count != 0)
            return hf__fail(HF_ENOTSUP, "commit first: blocks are waiting to be freed");
    }
    options.flags = HF_SNAPSHOT_VERIFY;
    options.permissions = permissions;
    options.on_finding = on_finding;
    options.user = &first;
    const int code = hf__snapshot(store, path, &options, true);
    return code == HF_ECORRUPT && first.text[0] != '\0'
               ? hf__fail_path(HF_ECORRUPT, 0, store->path, "%s", first.text)
               : code;
}
