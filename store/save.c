/* SPDX-License-Identifier: MIT */
/*
 * save.c - hf_save_as: what a view shows, as a new closed store
 *
 * The used part of the segment is written as it is; only the constants differ (a uuid and a date of
 * its own; the salt stays, since block checksums depend on it). Runs of zero pages become holes.
 */
#include "pages.h"
#include "snapshot.h"
#include "store.h"

#include "base/os.h"

#include <errno.h>
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

static int write_copy(int fd, const char *path, const void *what)
{
    const hf_view *view = what;
    struct hf__segment_header header = *hf__segment_header(view->seg);
    const uint64_t used = header.heap.used_end;
    const uint64_t size = hf__whole_pages(used);
    hf__random_bytes(header.constants.uuid, sizeof header.constants.uuid);
    header.constants.created_ns = hf__os->wall_ns();
    if (view->store->backing != HF__BACKING_FILE)
        header.constants.engine = HF_ENGINE_LOG; /* what files have by default */
    /* A file's sizes are whole pages, whatever a buffer's were. */
    header.constants.size_max_bytes = hf__whole_pages(header.constants.size_max_bytes);
    hf__constants_seal(&header.constants);
    header.size_bytes = size;
    if (hf__os->ftruncate(fd, (off_t)hf__file_bytes(size)) != 0 ||
        hf__segment_write(fd, &header, sizeof header, 0) != 0)
        return hf__fail_os(errno, path, "writing");
    hf_snapshot_report report = {0};
    struct hf__copy copy = {.fd = fd, .path = path, .report = &report};
    int code = hf__copy_memory(&copy, view->seg->base, sizeof header, used);
    if (code != 0)
        return code;
    /* Holes inside the copy must not become SIGBUS when they are written on a full disk. */
    if (hf__space_allocate(fd, &header, size) != 0)
        return hf__fail_os(errno, path, "allocating");
    code = hf__pages_write_all(fd, path, header.constants.salt, used, header.commit);
    return code != 0 ? code : hf__header_write_first(fd, path, &header.constants, size, used);
}

int hf_save_as(hf_store *store, const char *path, uint32_t permissions)
{
    hf_view *view;
    bool begun;
    if (path == NULL || permissions > 07777)
        return hf__fail(HF_EINVAL, "hf_save_as");
    int code = hf__view_borrow(store, &view, &begun);
    if (code != 0)
        return code;
    if (!begun && store->txn.pending_count != 0)
        return hf__fail(HF_ENOTSUP, "commit first: blocks are waiting to be freed");
    code = hf__create_with(path, permissions, write_copy, view);
    if (begun)
        hf_view_end(view);
    return code;
}
