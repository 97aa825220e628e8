/* SPDX-License-Identifier: MIT */
/*
 * object_format.h - objects and type records, as they are in their blocks
 *
 * A block of kind OBJECT:   [index node, name, NUL, padding to 16]  object header  elements
 *                            named and unique objects only
 * A block of kind SYSTEM that holds a type:   type record, its fields, its text
 *
 * Written by the owner of the transaction, under the writer's lock; undone or made durable with it.
 */
#ifndef HF_STORE_OBJECT_FORMAT_H
#define HF_STORE_OBJECT_FORMAT_H

#include <stddef.h>
#include <stdint.h>

struct hf__object_header {
    uint32_t check;      /* 0  of its offset and the 28 bytes behind, salted: object.c            */
    uint16_t kind;       /* 4  HF_KIND_...                                                       */
    uint16_t name_bytes; /* 6  0 for anonymous objects                                           */
    uint32_t type_id;    /* 8  0 = plain bytes                                                   */
    uint32_t name_check; /* 12 low half of XXH3-64 of the name, salted; 0 for anonymous objects  */
    uint64_t count;      /* 16 elements                                                          */
    uint64_t size_bytes; /* 24 of all elements                                                   */
};
_Static_assert(sizeof(struct hf__object_header) == 32, "object header");
_Static_assert(offsetof(struct hf__object_header, check) == 0, "check");
_Static_assert(offsetof(struct hf__object_header, kind) == 4, "kind");
_Static_assert(offsetof(struct hf__object_header, name_bytes) == 6, "name_bytes");
_Static_assert(offsetof(struct hf__object_header, type_id) == 8, "type_id");
_Static_assert(offsetof(struct hf__object_header, name_check) == 12, "name_check");
_Static_assert(offsetof(struct hf__object_header, count) == 16, "count");
_Static_assert(offsetof(struct hf__object_header, size_bytes) == 24, "size_bytes");

#define HF__TYPE_MAGIC UINT32_C(0x50595446) /* "FTYP" */

struct hf__type_record {
    uint32_t magic;       /* 0                                                                   */
    uint32_t id;          /* 4  place in the type table, from 1                                  */
    uint32_t version;     /* 8                                                                   */
    uint32_t size_bytes;  /* 12 of an element                                                    */
    uint32_t align_bytes; /* 16                                                                  */
    uint32_t flags;       /* 20 HF_TYPE_...                                                      */
    uint32_t field_count; /* 24                                                                  */
    uint32_t name_bytes;  /* 28                                                                  */
    uint64_t check;       /* 32 XXH3-64 of all other bytes of record, fields, text, salted       */
    uint32_t text_bytes;  /* 40 the name, the names of the fields if it has them, each with a NUL */
    uint32_t reserved;    /* 44 zero                                                             */
};
_Static_assert(sizeof(struct hf__type_record) == 48, "type record");
_Static_assert(offsetof(struct hf__type_record, magic) == 0, "magic");
_Static_assert(offsetof(struct hf__type_record, id) == 4, "id");
_Static_assert(offsetof(struct hf__type_record, version) == 8, "version");
_Static_assert(offsetof(struct hf__type_record, size_bytes) == 12, "size_bytes");
_Static_assert(offsetof(struct hf__type_record, align_bytes) == 16, "align_bytes");
_Static_assert(offsetof(struct hf__type_record, flags) == 20, "flags");
_Static_assert(offsetof(struct hf__type_record, field_count) == 24, "field_count");
_Static_assert(offsetof(struct hf__type_record, name_bytes) == 28, "name_bytes");
_Static_assert(offsetof(struct hf__type_record, check) == 32, "check");
_Static_assert(offsetof(struct hf__type_record, text_bytes) == 40, "text_bytes");
_Static_assert(offsetof(struct hf__type_record, reserved) == 44, "reserved");

struct hf__type_field {
    uint32_t offset;    /* 0  in an element                                                      */
    uint32_t kind;      /* 4  HF_FIELD_...                                                       */
    uint32_t target_id; /* 8  0 = anything                                                       */
    uint32_t reserved;  /* 12 zero                                                               */
};
_Static_assert(sizeof(struct hf__type_field) == 16, "type field");
_Static_assert(offsetof(struct hf__type_field, offset) == 0, "offset");
_Static_assert(offsetof(struct hf__type_field, kind) == 4, "kind");
_Static_assert(offsetof(struct hf__type_field, target_id) == 8, "target_id");
_Static_assert(offsetof(struct hf__type_field, reserved) == 12, "reserved");

#define HF__TYPE_FIELDS_MAX 4096u
#define HF__TYPE_TEXT_MAX (UINT32_C(1) << 20)
#define HF__TYPES_MAX 1000000u

#endif
