/* SPDX-License-Identifier: MIT */
/*
 * refs.h - the pointers that objects hold, by what their types say of their fields
 *
 * A type record maps an element: fields at offsets, of kinds (HF_FIELD_...), some of them pointers
 * to other objects. The check of references, the search for leaks, upgrades, dumps and compaction
 * all see a store through this map.
 */
#ifndef HF_STORE_REFS_H
#define HF_STORE_REFS_H

#include "base/segment.h"
#include "holdfast/holdfast.h"
#include "object_format.h"

#include <stdbool.h>

static inline bool hf__field_refers(uint32_t kind)
{
    return HF_FIELD_KIND(kind) <= HF_FIELD_PTR;
}
/* The bytes of one entry of a field of that kind. */
uint32_t hf__field_bytes(uint32_t kind);
/* Is it a kind there is, and does the field lie in an element of size_bytes? */
bool hf__field_fits(uint32_t offset, uint32_t kind, uint32_t size_bytes);
/* May a field of that kind follow the one before: a counted one needs a number? */
bool hf__field_count_ok(uint32_t kind, uint32_t kind_before);

static inline const struct hf__type_field *
hf__type_record_fields(const struct hf__type_record *record)
{
    return (const struct hf__type_field *)(record + 1);
}
/* The name of field number i, NULL if the type names none. Safe on any record of hf__type_record. */
const char *hf__type_field_name(const struct hf__type_record *record, uint32_t i);
/* How many entries of field number i count in the element there. The fields are possible. */
uint32_t hf__field_times(const struct hf__type_record *record, uint32_t i,
                         const unsigned char *element);
/* Are all fields possible? Safe on any record of hf__type_record. */
bool hf__type_fields_ok(const struct hf__type_record *record);

/* One pointer field of one element. */
struct hf__ref_field {
    uint64_t at;        /* offset of its 8 bytes in the segment                                  */
    uint32_t kind;      /* HF_FIELD_REF or HF_FIELD_PTR                                          */
    uint32_t target_id; /* of the type it is said to lead to, 0 = anything                       */
    uint32_t field;     /* which field of the type, and which entry of it                        */
    uint32_t entry;
};

/* What a pointer at `at` leads to: an offset, 0 = null, which may be nonsense. */
hf_ref hf__ref_read(const struct hf__segment *seg, uint64_t at, uint32_t kind);
/* The 8 bytes that lead from `at` to target (0 = null). */
uint64_t hf__ref_encode(uint64_t at, uint32_t kind, hf_ref target);

/* Calls back for each pointer field of `count` elements from `elements` on, all of which lie in the
 * segment; not 0 from it ends the walk and is returned. The record's fields are possible
 * (hf__type_fields_ok). */
int hf__refs_each(const struct hf__segment *seg, const struct hf__type_record *record,
                  hf_ref elements, uint64_t count,
                  int (*call)(void *user, const struct hf__ref_field *field), void *user);

#endif
