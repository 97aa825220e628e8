/* SPDX-License-Identifier: MIT */
/*
 * slab_many.c - many blocks of one size in one call, as slots
 *
 * Slots are taken a word of the bitmap at a time, so that a block costs a few instructions and its
 * reference. They lie side by side where the chunks are new or empty. Blocks of different sizes,
 * large ones and those of a store that has no slabs are cut by best fit from one stretch (many.c).
 *
 * All or none: the segment is made large enough for all of them first, and where it can't be, best
 * fit, which plans before it cuts, says what can be done. What may still be refused is room for the
 * announcements: then what was taken is freed again.
 */
#include "alloc/slab_cache.h"

/* Puts the references of slots of a word behind those that are there. Returns their number. */
static uint64_t put_slots(struct hf__heap *heap, const struct hf__chunk_ref *chunk, uint32_t word,
                          uint64_t slots, hf_ref *out)
{
    const struct hf__door *door = heap->seg->door;
    const uint32_t first = (uint32_t)__builtin_ctzll(slots), bytes = chunk->slot_class->bytes;
    const uint64_t at = hf__chunk_slot(chunk, word * 64 + first);
    const bool tell = door != NULL && door->fresh != NULL;
    const uint64_t row = slots >> first;
    uint64_t count = 0;
    if ((row & (row + 1)) == 0) { /* all side by side */
        const uint64_t end = hf__slot_count(slots);
        for (; count < end; count++)
            out[count] = at + count * bytes;
        if (tell)
            door->fresh(heap->seg, at, end * bytes);
        return count;
    }
    for (uint64_t left = row; left != 0; left &= left - 1) {
        out[count] = at + (uint64_t)__builtin_ctzll(left) * bytes;
        if (tell)
            door->fresh(heap->seg, out[count], bytes);
        count++;
    }
    return count;
}

static void take_back(struct hf__heap *heap, uint64_t count, const hf_ref *out)
{
    hf_error failure = *hf_last_error();
    while (count-- > 0)
        if (hf__slab_free(heap, out[count]) != 0)
            break;
    hf__fail_again(&failure);
}

/* Free slots of a class in the chunks of its list, as many as are wanted. */
static uint64_t free_slots(const struct hf__heap *heap, uint32_t kind, uint32_t slot_class,
                           uint64_t wanted)
{
    const uint64_t slabs = hf__slabs_of(heap);
    struct hf__chunk_ref chunk;
    uint64_t found = 0;
    if (slabs == 0)
        return 0;
    const struct hf__slabs_entry *entry = (const struct hf__slabs_entry *)hf__at(
        heap->seg, hf__slabs_entry_offset(slabs, kind, slot_class));
    uint64_t left = entry->bytes / HF__CHUNK_BYTES(0); /* links may be a ring, in a damaged file */
    for (uint64_t at = entry->first; at != 0 && left-- > 0 && found < wanted;
         at = chunk.chunk->next) {
        if (!hf__chunk_at(heap, at, &chunk) || chunk.chunk->taken > chunk.chunk->slots)
            break;
        found += (uint64_t)(chunk.chunk->slots - chunk.chunk->taken);
    }
    return found < wanted ? found : wanted;
}

/* Whether there is room for so many slots, after growing the segment if it must be. */
static bool room_for(struct hf__heap *heap, uint32_t kind, uint32_t slot_class, uint64_t count)
{
    const uint64_t chunk = HF__CHUNK_BYTES(HF__CHUNK_ORDERS - 1);
    const struct hf__heap_root *root = hf__heap_root_of(heap);
    count -= free_slots(heap, kind, slot_class, count);
    if (count == 0)
        return true;
    /* Of 64 KiB, 60 at least are slots. */
    const uint64_t bytes = count * hf__slot_classes[slot_class].bytes;
    const uint64_t need = bytes / 60 / 1024 * chunk + 3 * chunk;
    hf_error before = *hf_last_error();
    if (root->free_bytes / 2 >= need || hf__heap_back(heap, root->used_end + need) == 0)
        return heap->seg->size_bytes >= HF__SLABS_FROM_BYTES;
    hf__fail_again(&before);
    return false;
}

static int one(struct hf__heap *heap, const struct hf__alloc_request *request, hf_ref *out,
               uint64_t *done)
{
    uint64_t usable;
    int code = hf__slab_allocate(heap, request, &out[*done], &usable);
    if (code != 0)
        return code;
    if (heap->seg->door != NULL && heap->seg->door->fresh != NULL)
        heap->seg->door->fresh(heap->seg, out[*done], usable);
    ++*done;
    return 0;
}

int hf__slab_allocate_many(struct hf__heap *heap, const uint64_t *sizes, uint64_t size_each,
                           uint64_t count, uint32_t kind, hf_ref *out)
{
    struct hf__alloc_request request = {size_each, size_each % HF__BLOCK_UNIT == 0 ? 16 : 8, 0,
                                        kind};
    struct hf__chunk_ref chunk;
    struct hf__slot_row rows[HF__SLOT_ROWS];
    uint64_t done = 0;
    if (sizes != NULL || size_each > HF__SLOT_BYTES_MAX ||
        (kind != HF__BLOCK_RAW && kind != HF__BLOCK_OBJECT))
        return hf__heap_allocate_many(heap, sizes, size_each, count, kind, out);
    if (size_each == 0 || kind == HF__BLOCK_OBJECT)
        request.size_bytes = size_each = (size_each + 15) / 16 * 16 + (size_each == 0 ? 8 : 0);
    if (count > HF__HEAP_BYTES_MAX / HF__SLOT_BYTES_MAX)
        return hf__fail(HF_EOVERFLOW, "%llu blocks of %llu bytes", (unsigned long long)count,
                        (unsigned long long)size_each);
    if (count == 0)
        return 0;
    const uint32_t slot_class = hf__slot_class_of(size_each);
    int code = hf__heap_sound(heap);
    if (code == 0)
        code = hf__slab_settle(heap); /* takes slots behind the back of claims and copies */
    if (code != 0)
        return code;
    if (!room_for(heap, kind, slot_class, count))
        return hf__heap_allocate_many(heap, NULL, size_each, count, kind, out);
    while (code == 0 && done < count) {
        const uint64_t slabs = hf__slabs_of(heap), left = count - done;
        const uint64_t entry = hf__slabs_entry_offset(slabs, kind, slot_class);
        code = slabs == 0 ? HF_EFULL : hf__chunk_room(heap, entry, kind, slot_class, &chunk);
        if (code == 0)
            code = hf__chunk_take(heap, &chunk, entry,
                                  left < UINT16_MAX ? (uint32_t)left : UINT16_MAX, rows);
        for (int i = 0; i < code; i++) {
            hf__slab_taken(heap, &chunk, rows[i].word, rows[i].slots);
            done += put_slots(heap, &chunk, rows[i].word, rows[i].slots, out + done);
        }
        if (code >= 0)
            code = 0;
        else if (code == HF_EFULL || code == HF_ENOSPC) /* makes the directory, or does without */
            code = one(heap, &request, out, &done);
    }
    if (code != 0)
        take_back(heap, done, out);
    return code;
}
