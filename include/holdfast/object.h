/* SPDX-License-Identifier: MIT */
/*
 * object.h - types and objects
 *
 * An object is an array of count elements of a type. It is named (found by name), unique (one for
 * each type name) or anonymous (reached through a reference stored elsewhere). Types are registered
 * in the store by name and version when first used; a later use must describe the same type.
 *
 * Example
 *
 *   struct node { hf_ref next; uint64_t key; };
 *   static const hf_type node_type;
 *   static const hf_field node_refs[] = {{offsetof(struct node, next), HF_FIELD_REF, &node_type}};
 *   static const hf_type node_type = {"node", 1, sizeof(struct node), 8, 0, node_refs, 1};
 *
 *   struct node *n = hf_new(txn, &node_type, 1);
 *   struct list *l = hf_construct(txn, "lists/main", &list_type, 1);
 *   if (n == NULL || l == NULL) { hf_abort(txn); return hf_last_error()->code; }
 *   l->head = hf_ref_of(hf_txn_view(txn), n);
 *
 * Caveats
 *
 *   - New objects are zeroed. There are no destructors: destroying an object frees its own memory
 *     only, not what it refers to.
 *   - What is destroyed stays allocated until the transaction ends.
 *   - hf_type and hf_field structs are read during the call only; they may be temporary.
 *   - A NULL type means plain bytes: size 1, alignment 16.
 *   - A descriptor names all the pointers its type holds, or the check, the search for leaks and
 *     compaction go wrong by it. What has no type (NULL, and memory of hf_alloc) is opaque: it may
 *     hold anything, and is never moved.
 */
#ifndef HOLDFAST_OBJECT_H
#define HOLDFAST_OBJECT_H

#include "txn.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { /* hf_field.kind, its low 7 bits */
    HF_FIELD_REF = 0, /* an hf_ref; target NULL = to anything                                     */
    HF_FIELD_PTR = 1, /* a self-relative pointer, HF_PTR                                          */
    /* Plain data. The library has no use for it, but dump, load and upgrades have. target is NULL. */
    HF_FIELD_U8 = 2,
    HF_FIELD_U16 = 3,
    HF_FIELD_U32 = 4,
    HF_FIELD_U64 = 5,
    HF_FIELD_I8 = 6,
    HF_FIELD_I16 = 7,
    HF_FIELD_I32 = 8,
    HF_FIELD_I64 = 9,
    HF_FIELD_F32 = 10,
    HF_FIELD_F64 = 11,
    HF_FIELD_TEXT = 12, /* an array of char: text up to the first NUL, or all of it               */
    HF_FIELD_BYTES = 13 /* anything                                                               */
};
#define HF_FIELD_KIND(kind) ((uint32_t)(kind) & 0x7fu)
/* In kind, too: an array of n (up to 2^24 - 1) such fields, one behind the other. */
#define HF_FIELD_ARRAY(kind, n) ((uint32_t)(kind) | (uint32_t)(n) << 8)
#define HF_FIELD_TIMES(kind) ((uint32_t)(kind) >> 8 == 0 ? 1u : (uint32_t)(kind) >> 8)
/* Of an array only as many entries count as the field before it in the table says, which is a single
 * unsigned number; the others are never followed. More than there are: all. */
#define HF_FIELD_COUNTED 0x80u

enum { /* hf_type.flags */
    HF_TYPE_BLOB = 1, /* bytes that hold no references of any kind: may be moved                  */
    HF_TYPE_FIELD_NAMES = 2 /* behind the NUL of hf_type.name follow the names of the fields, one for
                               each, each with a NUL: "node\0next\0key"                           */
};

struct hf_type;
typedef struct hf_field {
    uint32_t offset;              /* in bytes, from the start of an element                       */
    uint32_t kind;
    const struct hf_type *target;
} hf_field;

typedef struct hf_type {
    const char *name;
    uint32_t version, size_bytes, align_bytes, flags; /* align 0 = 16; a power of two, <= 64 KiB  */
    const hf_field *refs; /* all pointer fields, in any order; plain ones as one likes            */
    size_t ref_count;
} hf_type;

/*
 * A descriptor in one readable line a field. FIELDS is a macro that is given another one:
 *
 *   struct node { hf_ref next; uint32_t n; hf_ref child[8]; char label[20]; };
 *   #define NODE_FIELDS(F, T)                      \
 *       F(T, next, HF_FIELD_REF, &node_type)       \
 *       F(T, n, HF_FIELD_U32, NULL)                \
 *       F(T, child, HF_FIELD_REF | HF_FIELD_COUNTED, &leaf_type) \
 *       F(T, label, HF_FIELD_TEXT, NULL)
 *   HF_TYPE_DEFINE(node_type, "node", 1, struct node, NODE_FIELDS);
 *
 * A field that is larger than its kind is taken for an array. In C++ the same line does, outside of functions and
 * classes, for types of standard layout (what offsetof takes); the descriptor is in the unnamed namespace then.
 */
#ifdef __cplusplus
#define HF_TYPE_DEFINE(variable, name, version, T, FIELDS)                                         \
    namespace {                                                                                    \
    extern const hf_type variable;                                                                 \
    const hf_field variable##_fields[] = {FIELDS(HF_FIELD_ROW_, T)};                               \
    const hf_type variable = HF_TYPE_ROW_(variable, name, version, T, FIELDS, alignof(T));         \
    }                                                                                              \
    static_assert(sizeof(T) != 0, "HF_TYPE_DEFINE")
#else
#define HF_TYPE_DEFINE(variable, name, version, T, FIELDS)                                         \
    static const hf_type variable;                                                                 \
    static const hf_field variable##_fields[] = {FIELDS(HF_FIELD_ROW_, T)};                        \
    static const hf_type variable =                                                                \
        HF_TYPE_ROW_(variable, name, version, T, FIELDS, _Alignof(T))
#endif
#define HF_TYPE_ROW_(variable, name, version, T, FIELDS, align)                                    \
    {                                                                                              \
        name FIELDS(HF_FIELD_NAME_, T), (version), sizeof(T), align, HF_TYPE_FIELD_NAMES,          \
            variable##_fields, sizeof variable##_fields / sizeof(hf_field)                         \
    }
#define HF_FIELD_SIZE_(kind)                                                                       \
    (HF_FIELD_KIND(kind) == HF_FIELD_U16 || HF_FIELD_KIND(kind) == HF_FIELD_I16 ? 2u               \
     : HF_FIELD_KIND(kind) == HF_FIELD_U32 || HF_FIELD_KIND(kind) == HF_FIELD_I32 ||               \
             HF_FIELD_KIND(kind) == HF_FIELD_F32                                                   \
         ? 4u                                                                                      \
     : HF_FIELD_KIND(kind) == HF_FIELD_U8 || HF_FIELD_KIND(kind) == HF_FIELD_I8 ||                 \
             HF_FIELD_KIND(kind) == HF_FIELD_TEXT || HF_FIELD_KIND(kind) == HF_FIELD_BYTES         \
         ? 1u                                                                                      \
         : 8u)
#define HF_FIELD_ROW_(T, member, kind, target)                                                     \
    {offsetof(T, member),                                                                          \
     HF_FIELD_ARRAY(kind, sizeof(((T *)0)->member) / HF_FIELD_SIZE_(kind)), target},
#define HF_FIELD_NAME_(T, member, kind, target) "\0" #member

/*
 * hf_construct - makes a named object of count zeroed elements (0 = an empty array).
 * Errors: HF_ENAME, HF_EEXIST, HF_ETYPE (registered differently, or a bad descriptor),
 * HF_EOVERFLOW, HF_ENOSPC, HF_EFULL, HF_ENOINDEX (finding and destroying in a null index is
 * HF_ENOTFOUND), HF_EINVAL (a buffer less aligned than the type), HF_ENOMEM; nothing has changed
 * then.
 */
HF_API void *hf_construct(hf_txn *txn, const char *name, const hf_type *type, size_t count);

/*
 * hf_find_or_construct - the object of that name, made if there is none.
 * One that exists is announced as if by hf_edit and must have this type (HF_ETYPE; NULL: any); its count may
 * differ. *created (may be NULL) tells which.
 */
HF_API void *hf_find_or_construct(hf_txn *txn, const char *name, const hf_type *type, size_t count,
                                  int *created);

/*
 * hf_init_fn - sets element number index of a new array; not 0 stops the construction, which is
 * then undone, and is returned as hf_last_error()->os_errno with HF_ECANCELLED.
 */
typedef int (*hf_init_fn)(void *element, size_t index, void *argument);

/* hf_construct_with - hf_construct, then init (may be NULL) for each element in order. A NULL name
 * makes an anonymous object. */
HF_API void *hf_construct_with(hf_txn *txn, const char *name, const hf_type *type, size_t count,
                               hf_init_fn init, void *argument);

/*
 * hf_find - the named object, or NULL: HF_ENOTFOUND, HF_ETYPE (another type or version than asked
 * for; type NULL = any), HF_ENAME, HF_ECORRUPT. *count (may be NULL) is its number of elements.
 */
HF_API const void *hf_find(hf_view *view, const char *name, const hf_type *type, size_t *count);

/*
 * hf_expect - says that this name will be found, constructed or destroyed soon, in this view or the
 * transaction it is the view of. Who has many names knows the next ones:
 *
 *   for (i = 0; i < n; i++) {
 *       if (i + HF_NAMES_AHEAD < n)
 *           hf_expect(view, names[i + HF_NAMES_AHEAD]);
 *       found = hf_find(view, names[i], NULL, NULL);
 *   }
 *
 * A hint: it changes nothing and reports nothing, and a wrong one costs time only. The indexes hash and
 * set fetch what they would wait for otherwise, which is much of the time in a large store
 * (docs/performance.md); flat takes no notice, nor does set of names of more than 48 bytes.
 */
#define HF_NAMES_AHEAD 16
HF_API void hf_expect(hf_view *view, const char *name);

/* The calls above for the one object of a type; the type's name is the key. type is not NULL. */
HF_API void *hf_construct_unique(hf_txn *txn, const hf_type *type, size_t count);
HF_API void *hf_find_or_construct_unique(hf_txn *txn, const hf_type *type, size_t count,
                                         int *created);
HF_API const void *hf_find_unique(hf_view *view, const hf_type *type, size_t *count);
HF_API int hf_destroy_unique(hf_txn *txn, const hf_type *type);

/* hf_new - an anonymous object. Errors: as hf_construct, less those of the name. */
HF_API void *hf_new(hf_txn *txn, const hf_type *type, size_t count);

/* hf_destroy - destroys the named object. Errors: HF_ENOTFOUND, HF_ENAME, HF_ENOSPC,
 * HF_ECORRUPT. */
HF_API int hf_destroy(hf_txn *txn, const char *name);

/* hf_destroy_ptr - destroys the object at this address, of whichever kind. Errors: HF_EPTR, and as
 * hf_destroy. */
HF_API int hf_destroy_ptr(hf_txn *txn, const void *object);

/* ---- looking around -------------------------------------------------------------------------- */

enum { /* hf_object_info.kind */
    HF_KIND_NAMED = 1,
    HF_KIND_UNIQUE = 2,
    HF_KIND_ANONYMOUS = 3
};

typedef struct hf_object_info {
    const void *object;
    const char *name;        /* named: its name; unique: its type's name; anonymous: NULL         */
    const char *type_name;   /* "" for plain bytes                                                */
    uint64_t count;          /* elements                                                          */
    uint64_t size_bytes;     /* of all elements                                                   */
    uint64_t footprint_bytes;/* with name, headers and rounding                                   */
    uint32_t kind, type_version;
    uint32_t type_id;        /* for hf_next_field; 0 = plain bytes                                */
    uint32_t reserved32;
} hf_object_info;

/* hf_object_at - name, count, kind and type of the object at this address. Errors: HF_EPTR. */
HF_API int hf_object_at(hf_view *view, const void *object, hf_object_info *out);

/* A place in an iteration. Good until its view ends or a name is added or removed. */
typedef struct hf_cursor {
    const char *prefix;  /* only names that begin with this; NULL = all                           */
    uint64_t opaque[4];
    uint64_t flags;      /* HF_CURSOR_...                                                         */
} hf_cursor;
#define HF_CURSOR_INIT                                                                             \
    { NULL, {0, 0, 0, 0}, 0 }

/* footprint_bytes stays 0 in what hf_next_named and hf_next_unique tell: it is the one thing that only
 * the allocator knows, and a scan takes half the time without asking it. hf_object_at tells it of a
 * single object. */
#define HF_CURSOR_NO_FOOTPRINT UINT64_C(1)

/*
 * hf_next_named, hf_next_unique - the next object: 1 and *out, 0 at the end, or HF_ECORRUPT
 * (HF_EINVAL: flags that there aren't).
 * In name order for the set and flat indexes. With a prefix an ordered index starts right there.
 * hf_next_object - the next object of any kind, in address order; HF_ENOTSUP with a prefix.
 * hf_next_raw - the same for the blocks of hf_alloc and its kin: the address and what the block
 * really holds. The chunks of pools (pool.h) are among them. These, hf_next_type and hf_next_field too
 * answer flags that there aren't with HF_EINVAL; HF_CURSOR_NO_FOOTPRINT says nothing to them.
 *
 *   hf_cursor cursor = HF_CURSOR_INIT; hf_object_info info; int more;
 *   for (cursor.prefix = "a/"; (more = hf_next_named(view, &cursor, &info)) == 1;) puts(info.name);
 */
HF_API int hf_next_named(hf_view *view, hf_cursor *cursor, hf_object_info *out);
HF_API int hf_next_unique(hf_view *view, hf_cursor *cursor, hf_object_info *out);
HF_API int hf_next_object(hf_view *view, hf_cursor *cursor, hf_object_info *out);
HF_API int hf_next_raw(hf_view *view, hf_cursor *cursor, const void **out, size_t *size_bytes);

/* Number of named and unique objects. */
HF_API uint64_t hf_count_named(hf_view *view);
HF_API uint64_t hf_count_unique(hf_view *view);

/* hf_reserve_named, hf_reserve_unique - makes room in the index for count names in all, so that
 * later inserts needn't grow it (the set index has nothing to reserve). hf_shrink_indexes gives unused index memory back.
 * Errors: HF_ENOSPC, HF_EFULL, HF_ENOMEM. Idea: Boost's advanced index functions. */
HF_API int hf_reserve_named(hf_txn *txn, uint64_t count);
HF_API int hf_reserve_unique(hf_txn *txn, uint64_t count);
HF_API int hf_shrink_indexes(hf_txn *txn);

typedef struct hf_type_info {
    const char *name;
    uint32_t version, size_bytes, align_bytes, flags, ref_count, id;
} hf_type_info;

/* hf_next_type - the next registered type: 1 and *out, 0 at the end, or HF_ECORRUPT. */
HF_API int hf_next_type(hf_view *view, hf_cursor *cursor, hf_type_info *out);

typedef struct hf_field_info {
    const char *name;        /* NULL where the type names none                                    */
    const char *target_name; /* of a pointer: the type it leads to, NULL = anything               */
    uint32_t offset;         /* in bytes, from the start of an element                            */
    uint32_t kind;           /* HF_FIELD_REF ... HF_FIELD_BYTES alone                             */
    uint32_t times;          /* entries, one behind the other; 1 = no array                       */
    uint32_t entry_bytes;    /* of each                                                           */
    uint32_t target_version, target_id; /* 0 = anything                                           */
    uint32_t counted;        /* 1: only as many entries count as the field before says            */
    uint32_t reserved32;
} hf_field_info;

/*
 * hf_next_field - the next field of a registered type, in the order of its descriptor: 1 and *out, 0
 * at the end, HF_ENOTFOUND (no type of this id), or HF_ECORRUPT. Names live as long as the view. This
 * is how tools read objects whose declarations they have never seen:
 *
 *   hf_cursor cursor = HF_CURSOR_INIT; hf_field_info field;
 *   while (hf_next_field(view, info.type_id, &cursor, &field) == 1)
 *       show((const char *)info.object + field.offset, field.kind, field.times);
 */
HF_API int hf_next_field(hf_view *view, uint32_t type_id, hf_cursor *cursor, hf_field_info *out);

#ifdef __cplusplus
}
#endif
#endif
