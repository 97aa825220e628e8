/* SPDX-License-Identifier: MIT */
/*
 * info.c - what a store says about itself
 *
 * Everything is kept in counters of the segment header, so hf_info costs the same in any store, but
 * for free blocks, of which the allocator has to look the largest ones up.
 */
#include "store.h"

#include "base/os.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The view that this thread reads through: its own transaction's, or one begun here. */
int hf__view_borrow(hf_store *store, hf_view **out, bool *begun)
{
    if (store == NULL)
        return hf__fail(HF_EINVAL, "no store");
    *begun = false;
    /* First whose the transaction is: only its owner may look into it. */
    if (!store->forked &&
        __atomic_load_n(&store->writer_thread, __ATOMIC_RELAXED) == hf__thread_id() &&
        store->txn.active) {
        *out = &store->txn.view;
        return hf__txn_settle(store);
    }
    int code = hf_view_begin(store, out);
    *begun = code == 0;
    return code;
}

static int fill_file_sizes(const hf_store *store, hf_store_info *out)
{
    struct stat st;
    if (store->backing != HF__BACKING_FILE)
        return 0;
    if (hf__os->fstat(store->fd, &st) != 0)
        return hf__fail_os(errno, store->path, "fstat");
    out->is_file = 1;
    out->file_bytes = (uint64_t)st.st_size;
    out->disk_bytes = (uint64_t)st.st_blocks * 512;
    return 0;
}

static void fill_from_segment(const hf_store *store, hf_view *view, hf_store_info *out)
{
    const struct hf__segment_header *header = hf__segment_header(view->seg);
    struct hf__heap heap = hf__heap_over(store, view->seg);
    out->size_bytes = header->size_bytes;
    out->live_bytes = header->heap.live_bytes;
    out->live_blocks = header->heap.live_blocks;
    out->free_bytes = header->heap.free_bytes;
    out->free_blocks = header->heap.free_blocks;
    out->used_end_bytes = header->heap.used_end;
    out->tail_bytes = header->size_bytes - header->heap.used_end;
    out->largest_free_bytes = heap.algorithm->largest_free(&heap);
    out->named_count = header->named.count;
    out->unique_count = header->unique.count;
    out->anonymous_count = header->anonymous_count;
    out->raw_count = header->raw_count;
    out->type_count = header->type_count;
    /* Of a heap that is damaged they aren't told. */
    if (store->backing == HF__BACKING_FILE)
        (void)hf__space_count(store, view->seg, &out->given_back_bytes, &out->trimmable_bytes);
}

int hf_info(hf_store *store, hf_store_info *out)
{
    hf_store_info info = {0};
    hf_view *view;
    bool begun;
    if (out == NULL)
        return hf__fail(HF_EINVAL, "hf_info");
    int code = hf__view_borrow(store, &view, &begun);
    if (code != 0)
        return code;
    info.mode = store->mode;
    info.engine = store->constants.engine;
    info.allocator = store->constants.allocator;
    info.index = store->constants.index;
    info.format_version = HF__FORMAT_VERSION;
    info.page_size_bytes = HF__PAGE_BYTES;
    memcpy(info.uuid, store->constants.uuid, sizeof info.uuid);
    memcpy(info.layout, store->constants.layout, sizeof info.layout);
    info.layout_version = store->constants.layout_version;
    info.created_ns = store->constants.created_ns;
    info.size_max_bytes = store->constants.size_max_bytes;
    info.mapped_bytes = store->reserved_bytes;
    fill_from_segment(store, view, &info);
    code = fill_file_sizes(store, &info);
    if (begun)
        hf_view_end(view);
    if (code == 0)
        *out = info;
    return code;
}

int hf_recovery_info(hf_store *store, hf_recovery *out)
{
    if (store == NULL || out == NULL)
        return hf__fail(HF_EINVAL, "hf_recovery_info");
    *out = store->recovery;
    return 0;
}

/* The kernel counts private pages for us: "Anonymous:" (and "Swap:") of the mappings in our
 * range. */
static int private_bytes(uint64_t from, uint64_t to, uint64_t *out)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    char line[512];
    uint64_t total = 0;
    bool ours = false;
    if (maps == NULL)
        return hf__fail_path(HF_ENOTSUP, errno, "/proc/self/smaps", "needed to count pages");
    while (fgets(line, sizeof line, maps) != NULL) {
        uint64_t low, high, kib;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &low, &high) == 2)
            ours = low >= from && high <= to;
        else if (ours && (sscanf(line, "Anonymous: %" SCNu64 " kB", &kib) == 1 ||
                          sscanf(line, "Swap: %" SCNu64 " kB", &kib) == 1))
            total += kib * 1024;
    }
    fclose(maps);
    *out = total;
    return 0;
}

int hf_dirty_bytes(hf_store *store, uint64_t *out_bytes)
{
    if (store == NULL || out_bytes == NULL)
        return hf__fail(HF_EINVAL, "hf_dirty_bytes");
    if (store->mode != HF_COPY_ON_WRITE)
        return hf__fail_path(HF_ENOTSUP, 0, store->path,
                             "only copy-on-write stores have private pages");
    uint64_t from = (uint64_t)(uintptr_t)store->reserved;
    return private_bytes(from, from + store->reserved_bytes, out_bytes);
}
