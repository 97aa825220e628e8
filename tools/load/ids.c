/* SPDX-License-Identifier: MIT */
/* ids.c - from the dump's numbers of objects to places in the store */
#include "tools/load/ids.h"

#include <stdint.h>
#include <stdlib.h>

#define CAPACITY_FIRST 1024u

/* Where the number is, or would be. */
static struct id_entry *slot_of(const struct ids *ids, uint64_t id)
{
    size_t at = (size_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (ids->capacity - 1);

    while (ids->entries[at].id != 0 && ids->entries[at].id != id)
        at = (at + 1) & (ids->capacity - 1);
    return &ids->entries[at];
}

static int grow(struct ids *ids)
{
    struct ids larger = {NULL, ids->count, ids->capacity == 0 ? CAPACITY_FIRST : 2 * ids->capacity};

    larger.entries = calloc(larger.capacity, sizeof *larger.entries);
    if (larger.entries == NULL)
        return HF_ENOMEM;
    for (size_t i = 0; i < ids->capacity; i++)
        if (ids->entries[i].id != 0)
            *slot_of(&larger, ids->entries[i].id) = ids->entries[i];
    free(ids->entries);
    *ids = larger;
    return 0;
}

int ids_add(struct ids *ids, struct id_entry entry)
{
    struct id_entry *slot;

    if (2 * ids->count >= ids->capacity) {
        int code = grow(ids);
        if (code != 0)
            return code;
    }
    slot = slot_of(ids, entry.id);
    if (slot->id != 0)
        return HF_EEXIST;
    *slot = entry;
    ids->count++;
    return 0;
}

const struct id_entry *ids_find(const struct ids *ids, uint64_t id)
{
    const struct id_entry *slot = ids->capacity == 0 ? NULL : slot_of(ids, id);

    return slot == NULL || slot->id == 0 ? NULL : slot;
}

void ids_free(struct ids *ids)
{
    free(ids->entries);
    *ids = (struct ids){0};
}

int fixups_add(struct fixups *fixups, struct fixup fixup)
{
    if (fixups->count == fixups->room) {
        const size_t room = fixups->room == 0 ? 1024 : 2 * fixups->room;
        struct fixup *larger = realloc(fixups->fixups, room * sizeof *larger);
        if (larger == NULL)
            return HF_ENOMEM;
        fixups->fixups = larger;
        fixups->room = room;
    }
    fixups->fixups[fixups->count++] = fixup;
    return 0;
}
