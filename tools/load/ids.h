/* SPDX-License-Identifier: MIT */
/* ids.h - from the dump's numbers of objects to places in the store */
#ifndef HF_TOOLS_LOAD_IDS_H
#define HF_TOOLS_LOAD_IDS_H

#include "holdfast/holdfast.h"

#include <stdbool.h>

struct id_entry {
    uint64_t id; /* 0: free */
    hf_ref ref;
    uint64_t size_bytes;
    uint64_t identity; /* of what lies there, where others may destroy it: load_still_there       */
};

struct ids {
    struct id_entry *entries; /* a hash table, linear probing, at most half full */
    size_t count, capacity;
};

/* A pointer whose target had not been read yet. */
struct fixup {
    hf_ref at;
    uint64_t id, offset, line;
    uint64_t holder; /* the object that it lies in                                                */
    uint32_t kind;
};

struct fixups {
    struct fixup *fixups;
    size_t count, room;
};

/* 0, HF_EEXIST or HF_ENOMEM. */
int ids_add(struct ids *ids, struct id_entry entry);
const struct id_entry *ids_find(const struct ids *ids, uint64_t id);
void ids_free(struct ids *ids);

/* 0 or HF_ENOMEM. */
int fixups_add(struct fixups *fixups, struct fixup fixup);

#endif
