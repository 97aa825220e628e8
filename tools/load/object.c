/* SPDX-License-Identifier: MIT */
/*
 * object.c - objects from their lines
 *
 * The first line of an object makes it, zeroed; that line and those that go on ("at") fill it.
 * After a commit in between, addresses are dead: then what a line fills is announced by itself.
 *
 * Invariants:
 *   1. current.id is an object whose lines are being read, or 0; it is in ids.
 *   2. next elements (or bytes) have been told, in order; elements without gaps.
 *   3. after a commit in between, nothing is written to an object, and no pointer to it, before it was
 *      looked at in the transaction that writes: others may have destroyed it.
 */
#include "tools/load/object.h"

#include "tools/common/dump_form.h"
#include "tools/common/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { KIND_RAW = 4 }; /* after HF_KIND_... */

static bool has_fields(const struct load *load)
{
    return load->type != NULL && load->type->type.ref_count > 0;
}

static uint64_t element_bytes(const struct load *load)
{
    return load->type == NULL ? 1 : load->type->type.size_bytes;
}

/* The library refused what this line asks for. */
static int fail_store(const struct load *load, const char *name)
{
    const hf_error *last = hf_last_error();

    switch (last->code) {
    case HF_ETYPE:
    case HF_ENAME:
    case HF_EOVERFLOW:
    case HF_EINVAL:
        return lines_fail(&load->lines, "%s", last->message);
    case HF_EFULL:
    case HF_ENOSPC:
        return tool_fail(load->tool, TOOL_NOSPACE, load->target.path,
                         "%s (line %" PRIu64 " of the dump)", last->message, load->lines.number);
    default:
        return tool_fail_object(load->tool, load->target.path, name, last->code);
    }
}

/* ---- an object that is there already --------------------------------------------------------- */

/* Empties the object, so that its address stays good; what refers to it then refers to the new
   one. */
static int reuse(struct load *load, const void *object, uint64_t size_bytes)
{
    load->base = hf_edit(load->target.txn, object, (size_t)size_bytes);
    if (load->base == NULL)
        return fail_store(load, NULL);
    memset(load->base, 0, (size_t)size_bytes);
    return TOOL_OK;
}

/* The object found has the same type and count, or goes: *found is then false. */
static int replace(struct load *load, const void *object, const char *name, bool *found)
{
    hf_object_info info;
    int code = hf_object_at(load->target.view, object, &info);
    const bool same_type = load->type == NULL
                               ? info.type_name[0] == '\0'
                               : strcmp(info.type_name, load->type->type.name) == 0 &&
                                     info.type_version == load->type->type.version;

    if (code != 0)
        return fail_store(load, name);
    load->replaced++;
    if (same_type && info.count == load->count)
        return info.size_bytes == 0 ? TOOL_OK : reuse(load, object, info.size_bytes);
    *found = false;
    code = name != NULL ? tool_destroy(load->target.txn, name)
                        : hf_destroy_ptr(load->target.txn, object);
    return code == 0 ? TOOL_OK : fail_store(load, name);
}

/* What lies there: kind, type, size and name in one number; 0 if nothing does. */
static uint64_t identity_at(const struct load *load, hf_ref ref)
{
    const char *before = hf_at(load->target.view, ref - 1);
    hf_object_info info = {.kind = KIND_RAW};
    uint64_t hash;

    if (before == NULL)
        return 0;
    if (hf_object_at(load->target.view, before + 1, &info) != 0)
        info.size_bytes = hf_usable_bytes(load->target.view, before + 1);
    if (info.kind == KIND_RAW && info.size_bytes == 0)
        return 0;
    hash = info.size_bytes * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)info.type_id << 2 ^
           (info.kind - 1);
    for (const char *c = info.name == NULL ? "" : info.name; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    return hash | UINT64_C(1) << 63;
}

bool load_still_there(const struct load *load, const struct id_entry *entry)
{
    return !load->target.into || load->target.transactions == 0 ||
           identity_at(load, entry->ref) == entry->identity;
}

/* Is there an object of this name, or (NULL) the unique one of this type? One that this dump has told of
 * already must not go: its number, and its pointers to what comes later, would lead to free space. */
static int meet(struct load *load, const char *name, bool *found, const void **object)
{
    hf_object_info info;

    *object = name != NULL ? hf_find(load->target.view, name, NULL, NULL)
                           : hf_find_unique(load->target.view, &load->type->type, NULL);
    *found = *object != NULL;
    if (*object == NULL)
        return hf_last_error()->code == HF_ENOTFOUND ? TOOL_OK : fail_store(load, name);
    if (!load->target.into ||
        ids_find(&load->placed, tool_ref_of(load->target.view, *object)) != NULL)
        return lines_fail(&load->lines, "the dump has this object twice");
    switch (load->conflict) {
    case CONFLICT_KEEP:
        if (hf_object_at(load->target.view, *object, &info) != 0)
            return fail_store(load, name);
        load->current.size_bytes = info.size_bytes;
        load->kept = true;
        load->kept_count++;
        return TOOL_OK;
    case CONFLICT_REPLACE:
        return replace(load, *object, name, found);
    default:
        return tool_fail(load->tool, TOOL_EXISTS, load->target.path,
                         "%s: exists already (line %" PRIu64 " of the dump)",
                         name != NULL ? name : load->type->type.name, load->lines.number);
    }
}

/* ---- a new one ------------------------------------------------------------------------------- */

static int make(struct load *load, uint32_t kind, const char *name)
{
    const hf_type *type = load->type == NULL ? NULL : &load->type->type;
    hf_txn *txn = load->target.txn;
    const size_t count = (size_t)load->count;

    switch (kind) {
    case HF_KIND_NAMED:
        load->base = hf_construct(txn, name, type, count);
        break;
    case HF_KIND_UNIQUE:
        load->base = hf_construct_unique(txn, type, count);
        break;
    case HF_KIND_ANONYMOUS:
        load->base = hf_new(txn, type, count);
        break;
    default:
        load->base = hf_alloc(txn, count);
        if (load->base != NULL)
            memset(load->base, 0, count);
    }
    return load->base == NULL ? fail_store(load, name) : TOOL_OK;
}

static int place_object(struct load *load, uint32_t kind, const char *name)
{
    const bool may_meet = kind == HF_KIND_NAMED || kind == HF_KIND_UNIQUE;
    const void *object = NULL;
    bool found = false;
    int code = TOOL_OK;

    load->base = NULL;
    load->kept = false;
    load->current.size_bytes = load->count * element_bytes(load);
    if (may_meet)
        code = meet(load, name, &found, &object);
    if (code == TOOL_OK && !found)
        code = make(load, kind, name);
    if (code != TOOL_OK)
        return code;
    if (!found)
        object = load->base;
    load->current.ref = tool_ref_of(load->target.view, object);
    if (load->target.into && load->target.batch != 0)
        load->current.identity = identity_at(load, load->current.ref);
    code = ids_add(&load->ids, load->current);
    if (code == HF_EEXIST)
        return lines_fail(&load->lines, "there is an object %" PRIu64 " already", load->current.id);
    if (code == 0 && may_meet && load->target.into)
        code = ids_add(&load->placed, (struct id_entry){.id = load->current.ref});
    if (code == HF_EEXIST) /* what lay there was destroyed between two batches */
        code = 0;
    return code == 0 ? TOOL_OK : tool_fail_os(load->tool, ENOMEM, load->lines.path, NULL);
}

static void count_object(struct load *load, uint32_t kind)
{
    uint64_t *const counts[] = {&load->named, &load->unique, &load->anonymous, &load->raw};

    ++*counts[kind - 1];
    load->opaque += load->type == NULL;
    load->size_bytes += load->kept ? 0 : load->current.size_bytes;
}

static uint32_t kind_of(const json_t *value)
{
    static const char *const names[] = {"named", "unique", "anonymous", "raw"};

    for (uint32_t i = 0; json_is_string(value) && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], json_string_value(value)) == 0)
            return i + 1;
    return 0;
}

static int begin_object(struct load *load, uint64_t id)
{
    const uint32_t kind = kind_of(json_object_get(load->lines.line, "kind"));
    uint64_t type = 0;
    char *name = NULL;
    size_t length;
    int code = load_object_end(load);

    if (code == TOOL_OK && kind == 0)
        code = lines_fail(&load->lines, "\"kind\" is named, unique, anonymous or raw");
    if (code == TOOL_OK)
        code = lines_optional_u64(&load->lines, load->lines.line, "type", load->types.count, &type);
    if (code == TOOL_OK)
        code = lines_u64(&load->lines, "count", INT64_MAX, &load->count);
    if (code == TOOL_OK && (type == 0 ? kind == HF_KIND_UNIQUE : kind == KIND_RAW))
        code = lines_fail(&load->lines, "a unique object has a \"type\", a raw block none");
    if (code == TOOL_OK && kind == HF_KIND_NAMED)
        code = lines_text(&load->lines, load->lines.line, "name", &name, &length);
    if (code == TOOL_OK) {
        load->type = type == 0 ? NULL : &load->types.types[type - 1];
        load->current.id = id;
        load->next = 0;
        code = place_object(load, kind, name);
    }
    free(name);
    if (code == TOOL_OK)
        count_object(load, kind);
    return code;
}

/* ---- its content ----------------------------------------------------------------------------- */

/* Writable memory for this part of the object, in the transaction that is open. */
static unsigned char *part_of(struct load *load, uint64_t offset, uint64_t size_bytes)
{
    if (load->base != NULL)
        return load->base + offset;
    return hf_edit(load->target.txn, hf_at(load->target.view, load->current.ref + offset),
                   (size_t)size_bytes);
}

static int load_elements(struct load *load, const json_t *elements)
{
    const uint64_t size = element_bytes(load), count = json_array_size(elements);
    const uint64_t from = load->next * size;
    unsigned char *at;
    int code = TOOL_OK;

    if (!json_is_array(elements))
        return lines_fail(&load->lines, "\"elements\": an array is expected");
    if (count > load->count - load->next)
        return lines_fail(&load->lines, "%" PRIu64 " elements, of which %" PRIu64 " were left",
                          count, load->count - load->next);
    load->next += count;
    if (load->kept || count == 0)
        return TOOL_OK;
    at = part_of(load, from, count * size);
    if (at == NULL)
        return fail_store(load, NULL);
    for (uint64_t i = 0; i < count && code == TOOL_OK; i++) {
        load->lines.element = (int64_t)i;
        code = load_element(load, json_array_get(elements, (size_t)i), at + i * size,
                            load->current.ref + from + i * size);
    }
    load->lines.element = -1;
    return code;
}

static int load_bytes(struct load *load, const char *base64, size_t length, uint64_t offset)
{
    const uint64_t left = load->kept ? 0 : load->current.size_bytes - offset;
    const uint64_t room = length / 4 * 3 < left ? length / 4 * 3 : left;
    unsigned char *at;
    int64_t used;

    if (load->kept || length == 0)
        return TOOL_OK;
    at = room == 0 ? NULL : part_of(load, offset, room);
    if (room != 0 && at == NULL)
        return fail_store(load, NULL);
    used = dump_read_base64(base64, length, at, (size_t)room);
    if (used < 0)
        return lines_fail(&load->lines, "\"bytes\": no base64 of at most %" PRIu64 " bytes", left);
    load->next = offset + (uint64_t)used;
    return TOOL_OK;
}

static int load_content(struct load *load)
{
    const json_t *elements = json_object_get(load->lines.line, "elements");
    const json_t *bytes = json_object_get(load->lines.line, "bytes");
    uint64_t at = 0, size = load->count * element_bytes(load);
    int code = lines_optional_u64(&load->lines, load->lines.line, "at", INT64_MAX, &at);

    if (code != TOOL_OK)
        return code;
    if (bytes != NULL && (load->lines.base64 != NULL || !json_is_string(bytes)))
        return lines_fail(&load->lines, "\"bytes\": one string of base64 is expected");
    if (has_fields(load) ? bytes != NULL || load->lines.base64 != NULL : elements != NULL)
        return lines_fail(&load->lines, has_fields(load)
                                            ? "an object with fields has \"elements\""
                                            : "an object without fields has \"bytes\"");
    if (has_fields(load) ? at != load->next : at < load->next || at > size)
        return lines_fail(&load->lines, "\"at\" is %" PRIu64 ", and %" PRIu64 " is the next", at,
                          load->next);
    if (elements != NULL)
        code = load_elements(load, elements);
    else if (load->lines.base64 != NULL)
        code = load_bytes(load, load->lines.base64, load->lines.base64_length, at);
    else if (bytes != NULL)
        code = load_bytes(load, json_string_value(bytes), json_string_length(bytes), at);
    return code;
}

int load_object_line(struct load *load)
{
    static const char *const members[] = {"object", "kind",     "name",  "type", "count",
                                          "at",     "elements", "bytes", NULL};
    uint64_t id = 0;
    bool begins, committed;
    int code = lines_only(&load->lines, load->lines.line, members);

    if (code == TOOL_OK)
        code = lines_u64(&load->lines, "object", INT64_MAX, &id);
    if (code != TOOL_OK)
        return code;
    if (id == 0)
        return lines_fail(&load->lines, "objects are numbered from 1 on");
    begins = json_object_get(load->lines.line, "at") == NULL;
    if (begins)
        code = begin_object(load, id);
    else if (id != load->current.id)
        code = lines_fail(&load->lines, "goes on with an object that isn't the last one");
    else if (load->base == NULL && !load_still_there(load, &load->current))
        load->kept = true; /* nobody has it any more */
    if (code == TOOL_OK)
        code = load_content(load);
    if (code == TOOL_OK)
        code = target_step(&load->target, begins, strlen(load->lines.text), &committed);
    if (code == TOOL_OK && committed)
        load->base = NULL;
    return code;
}

int load_object_end(struct load *load)
{
    const uint64_t id = load->current.id;

    load->current.id = 0;
    if (id == 0 || !has_fields(load) || load->next == load->count)
        return TOOL_OK;
    return lines_fail(&load->lines,
                      "object %" PRIu64 " ended after %" PRIu64 " of %" PRIu64 " elements", id,
                      load->next, load->count);
}
