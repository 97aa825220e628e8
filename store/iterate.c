/* SPDX-License-Identifier: MIT */
/*
 * iterate.c - walking names and objects, and the indexes' own services
 *
 * A cursor holds an index cursor (names) or a position in the block walk (all objects); it refers
 * to the segment by offset only, so it lies in the caller's memory without a destructor.
 */
#include "store.h"

#include <string.h>

_Static_assert(sizeof(struct hf__index_cursor) <= sizeof(((hf_cursor *)0)->opaque), "cursor");

int hf__cursor_usable(const hf_cursor *cursor, const void *out)
{
    if (cursor == NULL || out == NULL)
        return hf__fail(HF_EINVAL, "a cursor is needed, and room for what it finds");
    if ((cursor->flags & ~HF_CURSOR_NO_FOOTPRINT) != 0)
        return hf__fail(HF_EINVAL, "flags of a cursor");
    return 0;
}

static int next_entry(hf_view *view, uint32_t kind, hf_cursor *cursor, hf_object_info *out)
{
    struct hf__index_cursor at;
    struct hf__object object;
    hf_ref node;
    int code = hf__view_usable(view);
    if (code == 0)
        code = hf__cursor_usable(cursor, out);
    if (code != 0)
        return code;
    struct hf__index index = hf__index_over(
        view->store, view->seg, kind == HF_KIND_NAMED ? HF__NAMED_ROOT : HF__UNIQUE_ROOT);
    const char *prefix = cursor->prefix;
    memcpy(&at, cursor->opaque, sizeof at);
    code = index.ops->next(&index, &at, prefix, prefix == NULL ? 0 : strlen(prefix), &node);
    memcpy(cursor->opaque, &at, sizeof at);
    if (code != 1)
        return code;
    code = (cursor->flags & HF_CURSOR_NO_FOOTPRINT) != 0
               ? hf__object_found(view->seg, kind, node, &object)
               : hf__object_of_node(view->store, view->seg, node, &object);
    if (code != 0)
        return code;
    hf__object_info_fill(view->seg, &object, out);
    return 1;
}

int hf_next_named(hf_view *view, hf_cursor *cursor, hf_object_info *out)
{
    return next_entry(view, HF_KIND_NAMED, cursor, out);
}

int hf_next_unique(hf_view *view, hf_cursor *cursor, hf_object_info *out)
{
    return next_entry(view, HF_KIND_UNIQUE, cursor, out);
}

/* The next live block of one kind in the walk over all blocks. */
static int next_block(hf_view *view, hf_cursor *cursor, uint32_t kind, struct hf__block_info *out)
{
    int code;
    if (cursor->prefix != NULL)
        return hf__fail(HF_ENOTSUP, "blocks come in address order, not by name");
    struct hf__heap heap = hf__heap_over(view->store, view->seg);
    while ((code = hf__heap_next(&heap, &cursor->opaque[0], out)) == 1)
        if (out->kind == kind && !out->pending)
            break;
    return code;
}

int hf_next_object(hf_view *view, hf_cursor *cursor, hf_object_info *out)
{
    struct hf__block_info block;
    struct hf__object object;
    int code = hf__view_usable(view);
    if (code == 0)
        code = hf__cursor_usable(cursor, out);
    if (code != 0)
        return code;
    code = next_block(view, cursor, HF__BLOCK_OBJECT, &block);
    if (code != 1)
        return code;
    code = hf__object_of_block(view->store, view->seg, &block, &object);
    if (code != 0)
        return code;
    hf__object_info_fill(view->seg, &object, out);
    return 1;
}

int hf_next_raw(hf_view *view, hf_cursor *cursor, const void **out, size_t *size_bytes)
{
    struct hf__block_info block;
    int code = hf__view_usable(view);
    if (code == 0)
        code = hf__cursor_usable(cursor, size_bytes == NULL ? NULL : (const void *)out);
    if (code != 0)
        return code;
    code = next_block(view, cursor, HF__BLOCK_RAW, &block);
    if (code != 1)
        return code;
    *out = hf__at(view->seg, block.payload);
    *size_bytes = (size_t)block.usable_bytes;
    return 1;
}

static uint64_t count_of(hf_view *view, uint64_t root)
{
    if (hf__view_usable(view) != 0)
        return 0;
    return ((const struct hf__index_root *)hf__at(view->seg, root))->count;
}

uint64_t hf_count_named(hf_view *view)
{
    return count_of(view, HF__NAMED_ROOT);
}

uint64_t hf_count_unique(hf_view *view)
{
    return count_of(view, HF__UNIQUE_ROOT);
}

static int reserve_index(hf_txn *txn, uint64_t root, uint64_t count)
{
    int code = hf__txn_usable(txn);
    if (code != 0)
        return code;
    struct hf__index index = hf__index_over(txn->store, &txn->store->seg, root);
    return index.ops->reserve(&index, count);
}

int hf_reserve_named(hf_txn *txn, uint64_t count)
{
    return reserve_index(txn, HF__NAMED_ROOT, count);
}

int hf_reserve_unique(hf_txn *txn, uint64_t count)
{
    return reserve_index(txn, HF__UNIQUE_ROOT, count);
}

int hf_shrink_indexes(hf_txn *txn)
{
    const uint64_t roots[2] = {HF__NAMED_ROOT, HF__UNIQUE_ROOT};
    int code = hf__txn_usable(txn);
    for (int i = 0; code == 0 && i < 2; i++) {
        struct hf__index index = hf__index_over(txn->store, &txn->store->seg, roots[i]);
        code = index.ops->shrink(&index);
    }
    return code;
}

/* ---- references ------------------------------------------------------------------------------ */

hf_ref hf_ref_of(hf_view *view, const void *p)
{
    if (hf__view_usable(view) != 0 || p == NULL)
        return 0;
    uint64_t offset = hf__offset_of(view, p);
    if (offset >= hf__used_end(view->seg) || offset < HF__FIRST_BLOCK) {
        hf__fail(HF_EPTR, "hf_ref_of: not inside the used part of the store");
        return 0;
    }
    return offset;
}

const void *hf_at(hf_view *view, hf_ref ref)
{
    if (hf__view_usable(view) != 0 || ref == 0)
        return NULL;
    if (ref >= hf__used_end(view->seg) || ref < HF__FIRST_BLOCK) {
        hf__fail(HF_EPTR, "hf_at: not inside the used part of the store");
        return NULL;
    }
    return hf__at(view->seg, ref);
}
