/* SPDX-License-Identifier: MIT */
/*
 * object.c - named, unique and anonymous objects
 *
 *   payload of the block
 *   | index node 16 | name, NUL, padding to 16 | object header 32 | elements ...
 *     named and unique objects only              ^ checksummed
 *
 * The header lies right in front of the elements, whatever their alignment: from a pointer to the
 * elements the header, the name's length, the node and the block follow, and each is verified, so a
 * pointer that is no object's is told apart without crashing.
 *
 * Order of work: everything that can be refused comes before the first change, so an error leaves
 * nothing behind. Where a new type had to be registered first, the undo list takes that back.
 */
#include "store.h"

#include "base/hash.h"
#include "index/hash_find.h"

#include <string.h>

static uint64_t round16(uint64_t value)
{
    return (value + 15) & ~UINT64_C(15);
}

/* Bytes in front of the elements. */
static uint64_t lead_of(uint32_t kind, uint64_t name_bytes)
{
    uint64_t name = kind == HF_KIND_ANONYMOUS
                        ? 0
                        : sizeof(struct hf__index_node) + round16(name_bytes + 1);
    return name + sizeof(struct hf__object_header);
}

/* ---- taking objects apart -------------------------------------------------------------------- */

/* Both halves of a product: each bit of it depends on all bits of both factors. */
static inline uint64_t fold(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Looked at with every object that is found, so a few multiplications rather than xxhash. first is what
 * comes behind the check in the file: kind, length of the name, type. */
__attribute__((always_inline)) static inline uint32_t
check_of(const struct hf__segment *seg, hf_ref at, const struct hf__object_header *header,
         uint64_t first)
{
    const uint64_t key = at ^ (uint64_t)header->name_check << 32 ^ UINT64_C(0x9e3779b97f4a7c15);
    const uint64_t x = fold(first ^ seg->salt, key) ^ header->count;
    return (uint32_t)(fold(x, header->size_bytes ^ UINT64_C(0xff51afd7ed558ccd)) >> 16);
}

static inline uint32_t object_check(const struct hf__segment *seg, hf_ref at,
                                    const struct hf__object_header *header)
{
    return check_of(seg, at, header,
                    (uint64_t)header->type_id << 32 | (uint64_t)header->name_bytes << 16 |
                        header->kind);
}

uint32_t hf__object_check(const struct hf__segment *seg, hf_ref at,
                          const struct hf__object_header *header)
{
    return object_check(seg, at, header);
}

static bool header_ok(const struct hf__segment *seg, hf_ref at)
{
    if (at % HF__BLOCK_UNIT != 0 || at < HF__FIRST_BLOCK ||
        !hf__in_segment(seg, at, sizeof(struct hf__object_header)))
        return false;
    const struct hf__object_header *header = hf__at(seg, at);
    return header->kind >= HF_KIND_NAMED && header->kind <= HF_KIND_ANONYMOUS &&
           header->check == object_check(seg, at, header);
}

bool hf__object_header_ok(const struct hf__segment *seg, hf_ref at)
{
    return header_ok(seg, at);
}

/* Whether the header there is of that kind, for a name of that length. What waits for the header to
 * come is kept short, as in hash_find.h: kind, length and type are one word. */
__attribute__((always_inline)) static inline bool
is_headed(const struct hf__segment *seg, hf_ref at, uint32_t kind, size_t name_bytes)
{
    const struct hf__object_header *header = hf__at(seg, at);
    uint64_t first;
    _Static_assert(offsetof(struct hf__object_header, kind) == 4 &&
                       offsetof(struct hf__object_header, name_bytes) == 6 &&
                       offsetof(struct hf__object_header, type_id) == 8,
                   "the word behind the check");
    memcpy(&first, (const char *)header + offsetof(struct hf__object_header, kind), sizeof first);
    return (uint32_t)first == ((uint32_t)name_bytes << 16 | kind) &&
           header->check == check_of(seg, at, header, first);
}

/* An object as a find gives it out: its header is right, belongs to this node, and its elements lie
 * in the segment. That takes no look at the block: what only the block tells isn't said. */
struct found {
    const struct hf__object_header *header;
    hf_ref elements;
};

/* The object, of that kind, of a node that the index has found; false if it isn't right. */
__attribute__((always_inline)) static inline bool is_found(const struct hf__segment *seg,
                                                           uint32_t kind, hf_ref node,
                                                           size_t name_bytes, struct found *out)
{
    const uint64_t lead = lead_of(kind, name_bytes);
    const hf_ref elements = node + lead, at = elements - sizeof(struct hf__object_header);
    const struct hf__object_header *header = hf__at(seg, at);
    *out = (struct found){header, elements};
    /* The node is in the segment, which is less than 2^63 bytes. */
    return node >= HF__FIRST_BLOCK && elements <= seg->size_bytes &&
           is_headed(seg, at, kind, name_bytes) && header->size_bytes <= seg->size_bytes - elements;
}

/* The same. 0, HF_ECORRUPT. */
static int found_at(const struct hf__segment *seg, uint32_t kind, hf_ref node, size_t name_bytes,
                    struct found *out)
{
    return is_found(seg, kind, node, name_bytes, out)
               ? 0
               : hf__corrupt("object.header", out->elements - sizeof(struct hf__object_header));
}

int hf__object_found(const struct hf__segment *seg, uint32_t kind, hf_ref node,
                     struct hf__object *out)
{
    struct found found;
    const int code =
        found_at(seg, kind, node, hf__index_node_at(seg, node)->name_bytes, &found);
    if (code == 0)
        *out = (struct hf__object){.block = node,
                                   .node = node,
                                   .header = found.elements - sizeof(struct hf__object_header),
                                   .elements = found.elements};
    return code;
}

/* The rest of *out from block and header; false if they don't fit each other. */
static bool complete(const hf_store *store, struct hf__segment *seg, struct hf__object *out)
{
    struct hf__heap heap = hf__heap_over(store, seg);
    struct hf__block_info block;
    const struct hf__object_header *header = hf__at(seg, out->header);
    uint64_t lead = lead_of(header->kind, header->name_bytes);
    out->elements = out->header + sizeof *header;
    if (out->elements < lead + HF__FIRST_BLOCK)
        return false;
    out->block = out->elements - lead;
    out->node = header->kind == HF_KIND_ANONYMOUS ? 0 : out->block;
    if (hf__heap_identify(&heap, out->block, &block) != 0 || block.kind != HF__BLOCK_OBJECT ||
        block.usable_bytes <= lead || header->size_bytes > block.usable_bytes - lead)
        return false;
    out->block_bytes = block.usable_bytes;
    out->footprint_bytes = block.usable_bytes + (block.slot ? 0 : HF__BLOCK_HEADER_BYTES);
    out->pending = block.pending;
    return out->node == 0 ||
           (hf__index_node_at(seg, out->node)->name_bytes == header->name_bytes &&
            header->name_bytes != 0);
}

int hf__object_at(const hf_store *store, struct hf__segment *seg, hf_ref elements,
                  struct hf__object *out)
{
    out->header = elements - sizeof(struct hf__object_header);
    if (elements < HF__FIRST_BLOCK + sizeof(struct hf__object_header) ||
        !header_ok(seg, out->header) || !complete(store, seg, out))
        return hf__fail(HF_EPTR, "no object is there");
    return 0;
}

int hf__object_of_node(const hf_store *store, struct hf__segment *seg, hf_ref node,
                       struct hf__object *out)
{
    if (!hf__index_node_ok(seg, node))
        return hf__corrupt("object.node", node);
    const struct hf__index_node *at = hf__index_node_at(seg, node);
    out->header = node + sizeof *at + round16((uint64_t)at->name_bytes + 1);
    if (!header_ok(seg, out->header) || !complete(store, seg, out) || out->node != node)
        return hf__corrupt("object.header", out->header);
    return 0;
}

int hf__object_of_block(const hf_store *store, struct hf__segment *seg,
                        const struct hf__block_info *block, struct hf__object *out)
{
    /* An anonymous object's header comes first; else a node and a name come before it. */
    out->header = block->payload;
    if (header_ok(seg, out->header) &&
        ((const struct hf__object_header *)hf__at(seg, out->header))->kind == HF_KIND_ANONYMOUS)
        return complete(store, seg, out) && out->block == block->payload
                   ? 0
                   : hf__corrupt("object.header", out->header);
    return hf__object_of_node(store, seg, block->payload, out);
}

bool hf__object_name_ok(const struct hf__segment *seg, const struct hf__object *object)
{
    const struct hf__object_header *header = hf__object_header(seg, object);
    if (object->node == 0)
        return header->name_check == 0 && header->name_bytes == 0;
    const char *name = hf__index_name_at(seg, object->node);
    return name[header->name_bytes] == '\0' && memchr(name, '\0', header->name_bytes) == NULL &&
           header->name_check == (uint32_t)hf__hash(name, header->name_bytes, seg->salt);
}

/* ---- making ---------------------------------------------------------------------------------- */

/* What is to be made. */
struct recipe {
    uint32_t kind, type_id;
    const char *name;        /* NULL for anonymous objects                                       */
    size_t name_bytes;
    uint32_t name_check;     /* low half of its hash; 0 for anonymous objects                    */
    struct hf__index_place place; /* where the name belongs, not for anonymous objects           */
    const hf_type *type;     /* NULL = plain bytes                                               */
    size_t count;
    uint64_t size_bytes, align_bytes;
};

static int check_name(const char *name, size_t *out_bytes)
{
    size_t bytes = name == NULL ? 0 : strnlen(name, HF_NAME_BYTES_MAX + 1);
    if (bytes == 0 || bytes > HF_NAME_BYTES_MAX)
        return hf__fail(HF_ENAME, "a name has 1 to %d bytes", HF_NAME_BYTES_MAX);
    *out_bytes = bytes;
    return 0;
}

static int prepare(struct recipe *recipe, const hf_txn *txn, uint32_t kind, const char *name,
                   const hf_type *type, size_t count)
{
    recipe->kind = kind;
    recipe->type_id = recipe->name_check = 0;
    recipe->name = name;
    recipe->name_bytes = 0;
    recipe->type = type;
    recipe->count = count;
    int code = kind == HF_KIND_ANONYMOUS ? 0 : check_name(name, &recipe->name_bytes);
    if (code == 0 && type != NULL)
        code = hf__type_descriptor_check(type);
    if (code != 0)
        return code;
    uint64_t size = type == NULL ? 1 : type->size_bytes;
    recipe->align_bytes = type == NULL || type->align_bytes == 0 ? 16 : type->align_bytes;
    if ((uintptr_t)txn->store->seg.base % recipe->align_bytes != 0)
        return hf__fail(HF_EINVAL, "the buffer itself is not aligned to %llu",
                        (unsigned long long)recipe->align_bytes);
    if (__builtin_mul_overflow(size, (uint64_t)count, &recipe->size_bytes) ||
        recipe->size_bytes > UINT64_C(1) << 47)
        return hf__fail(HF_EOVERFLOW, "%zu elements of %llu bytes", count,
                        (unsigned long long)size);
    return 0;
}

static struct hf__index index_of_kind(const hf_store *store, struct hf__segment *seg, uint32_t kind)
{
    return hf__index_over(store, seg, kind == HF_KIND_NAMED ? HF__NAMED_ROOT : HF__UNIQUE_ROOT);
}

/* What a thread remembers of the names of one view, for the indexes that do: of the one that has this
 * number. No two views have the same, nor has one before and after its transaction went back to a
 * savepoint; in a view that is none's nothing changes while it is open (docs/locking.md, G1). */
static _Thread_local struct {
    uint64_t id;
    struct hf__index_ahead ahead;
} memory;

static bool is_remembered(const hf_view *view)
{
    const uint64_t id = __atomic_load_n(&view->memory_id, __ATOMIC_RELAXED);
    return id != 0 && id == memory.id;
}

/* The same for who changes names or tells of some: it becomes that of this view. */
static struct hf__index_ahead *remember(hf_view *view)
{
    static uint64_t last_id;
    if (!is_remembered(view)) {
        memory.id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
        memory.ahead.count = memory.ahead.kept = 0;
        __atomic_store_n(&view->memory_id, memory.id, __ATOMIC_RELAXED);
    }
    return &memory.ahead;
}

/* The index in which a transaction changes names of that kind. */
static struct hf__index index_of_txn(hf_txn *txn, uint32_t kind)
{
    struct hf__index index = index_of_kind(txn->store, &txn->store->seg, kind);
    if (kind == HF_KIND_NAMED && index.ops->remembers)
        index.ahead = remember(&txn->view);
    return index;
}

/* As the index will want it: then it has nothing to announce in it. */
static void write_node(struct hf__segment *seg, hf_ref node, const struct recipe *recipe,
                       bool hashed)
{
    struct hf__index_node *at = (struct hf__index_node *)(seg->base + node);
    char *name = (char *)(at + 1);
    *at = (struct hf__index_node){.name_hash = hashed ? recipe->name_check : 0,
                                  .name_bytes = (uint16_t)recipe->name_bytes};
    memset(name + round16(recipe->name_bytes + 1) - 16, 0, 16); /* what isn't name of its end */
    memcpy(name, recipe->name, recipe->name_bytes);
}

static void write_header(struct hf__segment *seg, hf_ref at, const struct recipe *recipe)
{
    struct hf__object_header header = {.kind = (uint16_t)recipe->kind,
                                       .name_bytes = (uint16_t)recipe->name_bytes,
                                       .type_id = recipe->type_id,
                                       .name_check = recipe->name_check,
                                       .count = recipe->count,
                                       .size_bytes = recipe->size_bytes};
    header.check = object_check(seg, at, &header);
    memcpy(seg->base + at, &header, sizeof header);
}

static int count_anonymous(struct hf__segment *seg, uint64_t change)
{
    int code = hf__reserve(seg, HF__EDIT_COST(sizeof(uint64_t)));
    if (code != 0)
        return code;
    uint64_t *count = hf__edit(seg, offsetof(struct hf__segment_header, anonymous_count),
                               sizeof(uint64_t));
    *count += change;
    return 0;
}

/* The object, with its type registered. *out is its elements. */
static int make(hf_txn *txn, const struct recipe *recipe, hf_ref *out)
{
    hf_store *store = txn->store;
    struct hf__segment *seg = &store->seg;
    struct hf__heap *heap = &store->heap;
    uint64_t lead = lead_of(recipe->kind, recipe->name_bytes), usable;
    /* An empty array has an address of its own too, inside its block. */
    struct hf__alloc_request request = {lead + (recipe->size_bytes != 0 ? recipe->size_bytes : 1),
                                        recipe->align_bytes, lead, HF__BLOCK_OBJECT};
    hf_ref block;
    /* Room for the allocation, its reversal and the counter, so that only the index can refuse. */
    int code = hf__reserve(seg, 10 * HF__OP_COST);
    if (code == 0)
        code = heap->algorithm->allocate(heap, &request, &block, &usable);
    if (code != 0)
        return code;
    hf__txn_fresh(txn, block, usable);
    if (recipe->kind != HF_KIND_ANONYMOUS)
        write_node(seg, block, recipe, store->index_ops->hashed);
    write_header(seg, block + lead - sizeof(struct hf__object_header), recipe);
    memset(seg->base + block + lead, 0, recipe->size_bytes);
    if (recipe->kind == HF_KIND_ANONYMOUS) {
        code = count_anonymous(seg, 1);
    } else {
        struct hf__index index = index_of_txn(txn, recipe->kind);
        code = index.ops->insert(&index, block, &recipe->place);
    }
    if (code != 0) {
        /* The block is this transaction's own, so it may go back at once. */
        hf_error failure = *hf_last_error();
        const int stays = heap->algorithm->free(heap, block);
        if (stays != 0)
            hf__txn_fail(txn, stays);
        return hf__fail_again(&failure);
    }
    *out = block + lead;
    return 0;
}

static int unmake(hf_txn *txn, hf_ref elements);

static int initialise(hf_txn *txn, const struct recipe *recipe, hf_ref elements, hf_init_fn init,
                      void *argument)
{
    if (init == NULL)
        return 0;
    uint64_t size = recipe->type == NULL ? 1 : recipe->type->size_bytes;
    for (size_t i = 0; i < recipe->count; i++) {
        int stop = init(txn->store->seg.base + elements + i * size, i, argument);
        if (stop != 0) {
            unmake(txn, elements);
            return hf__fail_path(HF_ECANCELLED, stop, NULL, "element %zu was not initialised", i);
        }
    }
    return 0;
}

/* The type's id; one that is new is registered, behind a savepoint that takes it back. */
static int type_of(hf_txn *txn, struct recipe *recipe, hf_mark *mark, bool *new_type)
{
    *new_type = false;
    if (recipe->type == NULL)
        return 0;
    int code = hf__type_find(txn->store, recipe->type, &recipe->type_id);
    if (code != HF_ENOTFOUND)
        return code;
    code = hf_savepoint(txn, mark);
    if (code != 0)
        return code;
    *new_type = true;
    return hf__type_register(txn, recipe->type, &recipe->type_id);
}

/* The whole of hf_construct and its kin; the name is known to be free. */
static void *construct(hf_txn *txn, struct recipe *recipe, hf_init_fn init, void *argument)
{
    hf_mark mark;
    hf_ref elements = 0;
    bool new_type;
    int code = type_of(txn, recipe, &mark, &new_type);
    if (code == 0)
        code = make(txn, recipe, &elements);
    if (code == 0)
        code = initialise(txn, recipe, elements, init, argument);
    if (code == 0)
        return txn->store->seg.base + elements;
    if (new_type) {
        hf_error failure = *hf_last_error();
        hf_rollback_to(txn, mark);
        hf__fail_again(&failure);
    }
    return NULL;
}

/* Where the object of that name is, or where a new one's name belongs: then the recipe is complete
 * but for its type. 0, HF_ENOTFOUND (recorded nowhere), HF_ENOINDEX, HF_ECORRUPT. */
static int seek(hf_txn *txn, struct recipe *recipe, hf_ref *node)
{
    const struct hf__segment *seg = &txn->store->seg;
    struct hf__index index = index_of_txn(txn, recipe->kind);
    int code = index.ops->seek(&index, recipe->name, recipe->name_bytes, &recipe->place, node);
    if (code != HF_ENOTFOUND)
        return code;
    if (index.ops->kind == HF_INDEX_NULL)
        return hf__fail(HF_ENOINDEX, "'%.64s'", recipe->name);
    recipe->name_check =
        (uint32_t)(index.ops->hashed ? recipe->place.hash
                                     : hf__hash(recipe->name, recipe->name_bytes, seg->salt));
    return HF_ENOTFOUND;
}

static void *construct_new(hf_txn *txn, uint32_t kind, const char *name, const hf_type *type,
                           size_t count, hf_init_fn init, void *argument)
{
    struct recipe recipe;
    hf_ref node;
    if (hf__txn_usable(txn) != 0 || prepare(&recipe, txn, kind, name, type, count) != 0)
        return NULL;
    if (kind != HF_KIND_ANONYMOUS) {
        int code = seek(txn, &recipe, &node);
        if (code == 0)
            hf__fail(HF_EEXIST, "'%.64s'", name);
        if (code != HF_ENOTFOUND)
            return NULL;
    }
    return construct(txn, &recipe, init, argument);
}

void *hf_construct_with(hf_txn *txn, const char *name, const hf_type *type, size_t count,
                        hf_init_fn init, void *argument)
{
    uint32_t kind = name == NULL ? HF_KIND_ANONYMOUS : HF_KIND_NAMED;
    return construct_new(txn, kind, name, type, count, init, argument);
}

void *hf_construct(hf_txn *txn, const char *name, const hf_type *type, size_t count)
{
    return construct_new(txn, HF_KIND_NAMED, name, type, count, NULL, NULL);
}

void *hf_new(hf_txn *txn, const hf_type *type, size_t count)
{
    return construct_new(txn, HF_KIND_ANONYMOUS, NULL, type, count, NULL, NULL);
}

void *hf_construct_unique(hf_txn *txn, const hf_type *type, size_t count)
{
    if (type == NULL) {
        hf__fail(HF_EINVAL, "a unique object needs a type");
        return NULL;
    }
    return construct_new(txn, HF_KIND_UNIQUE, type->name, type, count, NULL, NULL);
}

/* ---- finding --------------------------------------------------------------------------------- */

static bool has_type(struct hf__segment *seg, const struct found *found, const char *name,
                     const hf_type *type)
{
    if (hf__type_matches(seg, found->header->type_id, type))
        return true;
    hf__fail(HF_ETYPE, "'%.64s' is not of type %.64s version %u", name, type->name, type->version);
    return false;
}

/* The object of that node, if it has the type. 0, HF_ETYPE, HF_ECORRUPT. */
static int typed_at(struct hf__segment *seg, uint32_t kind, hf_ref node, const char *name,
                    size_t name_bytes, const hf_type *type, struct found *out)
{
    int code = found_at(seg, kind, node, name_bytes, out);
    return code == 0 && type != NULL && !has_type(seg, out, name, type) ? HF_ETYPE : code;
}

__attribute__((noinline)) static const void *no_find(const char *name, size_t name_bytes, int code)
{
    if (code == HF_ENOTFOUND)
        (void)hf__fail_missing(name, name_bytes);
    return NULL;
}

__attribute__((noinline, cold)) static const void *find_refused(hf_view *view, const char *name)
{
    size_t name_bytes;
    if (hf__view_usable(view) == 0)
        (void)check_name(name, &name_bytes);
    return NULL;
}

__attribute__((noinline, cold)) static const void *find_damaged(hf_ref elements)
{
    (void)hf__corrupt("object.header", elements - sizeof(struct hf__object_header));
    return NULL;
}

/* Any find; view and name are usable. */
__attribute__((noinline)) static const void *
find_any(hf_view *view, uint32_t kind, const char *name, const hf_type *type, size_t *count)
{
    struct found found;
    hf_ref node;
    if (type != NULL && hf__type_descriptor_check(type) != 0)
        return NULL;
    const size_t name_bytes = strlen(name);
    if (name_bytes - 1 >= HF_NAME_BYTES_MAX)
        return find_refused(view, name);
    struct hf__index index = index_of_kind(view->store, view->seg, kind);
    if (kind == HF_KIND_NAMED && is_remembered(view))
        index.ahead = &memory.ahead;
    const int code = index.ops->find(&index, name, name_bytes, &node);
    if (code != 0)
        return no_find(name, name_bytes, code);
    if (!is_found(view->seg, kind, node, name_bytes, &found))
        return find_damaged(found.elements);
    if (type != NULL && !has_type(view->seg, &found, name, type))
        return NULL;
    if (count != NULL)
        *count = found.header->count;
    return hf__at(view->seg, found.elements);
}

/* Where there are a million names, the instructions of this decide how many finds wait for memory at the
 * same time: hash_find.h. What isn't settled at once is looked at anew. */
__attribute__((noinline)) static const void *find_hashed(hf_view *view, const char *name,
                                                         size_t *count)
{
    const size_t name_bytes = strlen(name);
    const struct hf__segment *seg = view->seg;
    hf_ref node;
    if (!hf__hash_is_short(name_bytes))
        return find_any(view, HF_KIND_NAMED, name, NULL, count);
    const uint64_t hash = hf__hash_9_to_16(name, name_bytes, seg->salt);
    const enum hf__hash_answer answer = hf__hash_first_tagged(seg, HF__NAMED_ROOT, hash, &node);
    if (answer == HF__HASH_MISSING)
        return no_find(name, name_bytes, HF_ENOTFOUND);
    if (answer == HF__HASH_UNSETTLED)
        return find_any(view, HF_KIND_NAMED, name, NULL, count);
    const hf_ref elements = node + lead_of(HF_KIND_NAMED, name_bytes);
    const hf_ref at = elements - sizeof(struct hf__object_header);
    const struct hf__object_header *header = hf__at(seg, at);
    if (!hf__index_same_short(hf__at(seg, node + sizeof(struct hf__index_node)), name, name_bytes) ||
        !is_headed(seg, at, HF_KIND_NAMED, name_bytes) || node < HF__FIRST_BLOCK ||
        header->size_bytes > seg->size_bytes - elements)
        return find_any(view, HF_KIND_NAMED, name, NULL, count);
    if (count != NULL)
        *count = header->count;
    return hf__at(seg, elements);
}

const void *hf_find(hf_view *view, const char *name, const hf_type *type, size_t *count)
{
    if (view == NULL || view->store->forked || name == NULL)
        return find_refused(view, name);
    if (view->store->index_ops == &hf__index_hash && type == NULL)
        return find_hashed(view, name, count);
    return find_any(view, HF_KIND_NAMED, name, type, count);
}

const void *hf_find_unique(hf_view *view, const hf_type *type, size_t *count)
{
    if (type == NULL) {
        hf__fail(HF_EINVAL, "a unique object needs a type");
        return NULL;
    }
    if (view == NULL || view->store->forked || type->name == NULL)
        return find_refused(view, type->name);
    return find_any(view, HF_KIND_UNIQUE, type->name, type, count);
}

void hf_expect(hf_view *view, const char *name)
{
    const size_t bytes = name == NULL ? 0 : strnlen(name, HF_NAME_BYTES_MAX + 1);
    if (view == NULL || view->store->forked || bytes == 0 || bytes > HF_NAME_BYTES_MAX)
        return;
    const struct hf__index index = index_of_kind(view->store, view->seg, HF_KIND_NAMED);
    if (index.ops->expect != NULL)
        (void)index.ops->expect(&index, index.ops->remembers ? remember(view) : &memory.ahead, name,
                                bytes);
}

static void *find_or_construct(hf_txn *txn, uint32_t kind, const char *name, const hf_type *type,
                               size_t count, int *created)
{
    struct found found = {NULL, 0};
    struct recipe recipe;
    hf_ref node;
    if (hf__txn_usable(txn) != 0 || prepare(&recipe, txn, kind, name, type, count) != 0)
        return NULL;
    struct hf__segment *seg = &txn->store->seg;
    void *result = NULL;
    const int code = seek(txn, &recipe, &node);
    if (code == HF_ENOTFOUND)
        result = construct(txn, &recipe, NULL, NULL);
    else if (code == 0 && typed_at(seg, kind, node, name, recipe.name_bytes, type, &found) == 0)
        result = hf_edit(txn, hf__at(seg, found.elements), found.header->size_bytes);
    if (result != NULL && created != NULL)
        *created = code == HF_ENOTFOUND;
    return result;
}

void *hf_find_or_construct(hf_txn *txn, const char *name, const hf_type *type, size_t count,
                           int *created)
{
    return find_or_construct(txn, HF_KIND_NAMED, name, type, count, created);
}

void *hf_find_or_construct_unique(hf_txn *txn, const hf_type *type, size_t count, int *created)
{
    if (type == NULL) {
        hf__fail(HF_EINVAL, "a unique object needs a type");
        return NULL;
    }
    return find_or_construct(txn, HF_KIND_UNIQUE, type->name, type, count, created);
}

/* ---- destroying ------------------------------------------------------------------------------ */

/* place is that of the name in the index, or NULL. HF_EPTR: the block is no live object's. */
static int destroy(hf_txn *txn, uint32_t kind, hf_ref block, const struct hf__index_place *place)
{
    struct hf__segment *seg = &txn->store->seg;
    int code = hf__reserve(seg, 10 * HF__OP_COST);
    if (code == 0)
        code = hf__txn_free_later(txn, block, HF__BLOCK_OBJECT);
    if (code != 0)
        return code;
    if (kind == HF_KIND_ANONYMOUS)
        return count_anonymous(seg, UINT64_MAX);
    struct hf__index index = index_of_txn(txn, kind);
    code = index.ops->erase(&index, block, place); /* the block begins with the node */
    if (code != 0) /* a damaged index, or no room to change a large one: the block stays */
        hf__txn_keep(txn, block);
    return code;
}

static int destroy_object(hf_txn *txn, const struct hf__object *object)
{
    if (object->pending)
        return hf__fail(HF_EPTR, "the object is destroyed already");
    return destroy(txn, hf__object_header(&txn->store->seg, object)->kind, object->block, NULL);
}

static int destroy_found(hf_txn *txn, uint32_t kind, const char *name)
{
    struct hf__index_place place;
    struct found found;
    size_t name_bytes = 0;
    hf_ref node;
    int code = hf__txn_usable(txn);
    if (code == 0)
        code = check_name(name, &name_bytes);
    if (code != 0)
        return code;
    struct hf__segment *seg = &txn->store->seg;
    struct hf__index index = index_of_txn(txn, kind);
    code = index.ops->seek(&index, name, name_bytes, &place, &node);
    if (code == HF_ENOTFOUND)
        return hf__fail_missing(name, name_bytes);
    if (code != 0)
        return code;
    hf__block_expect(&txn->store->heap, node); /* while the object's own lines come */
    code = found_at(seg, kind, node, name_bytes, &found);
    if (code == 0)
        code = destroy(txn, kind, node, &place);
    return code == HF_EPTR ? hf__corrupt("object.header", node) : code;
}

int hf_destroy(hf_txn *txn, const char *name)
{
    return destroy_found(txn, HF_KIND_NAMED, name);
}

int hf_destroy_unique(hf_txn *txn, const hf_type *type)
{
    if (type == NULL)
        return hf__fail(HF_EINVAL, "a unique object needs a type");
    return destroy_found(txn, HF_KIND_UNIQUE, type->name);
}

int hf_destroy_ptr(hf_txn *txn, const void *p)
{
    struct hf__object object;
    int code = hf__txn_usable(txn);
    if (code != 0)
        return code;
    uint64_t offset = hf__offset_of(&txn->view, p);
    if (offset == UINT64_MAX)
        return hf__fail(HF_EPTR, "not an address of this store");
    code = hf__object_at(txn->store, &txn->store->seg, offset, &object);
    return code == 0 ? destroy_object(txn, &object) : code;
}

static int unmake(hf_txn *txn, hf_ref elements)
{
    struct hf__object object;
    int code = hf__object_at(txn->store, &txn->store->seg, elements, &object);
    return code == 0 ? destroy_object(txn, &object) : code;
}

/* ---- what is at a pointer -------------------------------------------------------------------- */

void hf__object_info_fill(const struct hf__segment *seg, const struct hf__object *object,
                          hf_object_info *out)
{
    const struct hf__object_header *header = hf__object_header(seg, object);
    const struct hf__type_record *record = hf__type_record(seg, header->type_id, false);
    *out = (hf_object_info){
        .object = hf__at(seg, object->elements),
        .name = object->node == 0 ? NULL : hf__index_name_at(seg, object->node),
        .type_name = record == NULL ? "" : hf__type_record_name(record),
        .count = header->count,
        .size_bytes = header->size_bytes,
        .footprint_bytes = object->footprint_bytes,
        .kind = header->kind,
        .type_version = record == NULL ? 0 : record->version,
        .type_id = record == NULL ? 0 : header->type_id};
}

int hf_object_at(hf_view *view, const void *p, hf_object_info *out)
{
    struct hf__object object;
    int code = hf__view_usable(view);
    if (code != 0)
        return code;
    if (out == NULL)
        return hf__fail(HF_EINVAL, "hf_object_at");
    uint64_t offset = hf__offset_of(view, p);
    if (offset == UINT64_MAX)
        return hf__fail(HF_EPTR, "not an address of this store");
    code = hf__object_at(view->store, view->seg, offset, &object);
    if (code == 0 && object.pending)
        code = hf__fail(HF_EPTR, "the object is destroyed");
    if (code == 0)
        hf__object_info_fill(view->seg, &object, out);
    return code;
}
