/* SPDX-License-Identifier: MIT */
/*
 * salvage.c - hf_salvage: what is provably intact in a wreck, in a new store
 *
 *   wreck --- prove (salvage_proof.c) --- find (salvage_find.c) --- build (salvage_build.c) --- told here
 *
 * The memory this takes is 2 bytes for each page, 48 for each object (52 while pointers are followed; the array
 * doubles, so up to twice that is reserved), and the pages that the log changes;
 * everything else is looked at through a private mapping that the kernel can drop again.
 *
 * Invariants
 *   S1  nothing is written to the wreck or beside it
 *   S2  objects are told of when the new store stands under its name, or would have nothing to say
 */
#include "salvage.h"

#include "base/os.h"

#include <errno.h>
#include <string.h>

static const char *const reasons[] = {
    [HF__WHY_NOTHING] = "",
    [HF__WHY_DIFFERS] = "one of its pages isn't what its checksum says",
    [HF__WHY_UNKNOWN] = "one of its pages has no checksum that is true of it",
    [HF__WHY_UNREADABLE] = "one of its pages can't be read from the medium",
    [HF__WHY_COMMITS] = "its pages may be of different commits: the log is lost",
    [HF__WHY_BITMAP] = "its chunk's bitmap is damaged: it may have been destroyed before",
    [HF__WHY_TYPE] = "its type, or one that this leads to, is lost",
    [HF__WHY_SIZE] = "its size isn't what its block or its type says",
    [HF__WHY_HEADER] = "its header is damaged",
    [HF__WHY_NAME] = "its name is damaged",
    [HF__WHY_TWICE] = "another object has its name",
    [HF__WHY_POOL] = "of its pool of nodes not all is intact",
    [HF__WHY_UNREACHED] = "nothing that was saved leads to it",
    [HF__WHY_REFUSED] = "the new store doesn't take it",
};

/* ---- telling --------------------------------------------------------------------------------- */

static bool is_saved(const struct hf__found *found, bool built)
{
    return built ? found->now != 0 : found->reached && found->verdict != HF_SALVAGE_LOST;
}

/* Without those that are parts of a pool. */
static bool is_raw(const struct hf__found *found)
{
    return found->kind == 0 && found->verdict != HF_SALVAGE_LOST && found->pool == 0;
}

static void count(const struct hf__wreck *wreck, const struct hf__found *found, bool saved)
{
    hf_salvage_report *report = wreck->report;
    if (found->pool != 0 && found->kind != 0 && saved) {
        report->pools++;
        report->pool_nodes += hf__found_nodes(wreck, found);
    }
    if (found->kind == 0 && found->pool != 0)
        return;
    if (is_raw(found)) {
        report->raw_saved += saved;
        report->raw_left += !saved;
    } else if (found->kind == HF_KIND_ANONYMOUS) {
        report->anonymous_saved += saved;
        report->anonymous_left += !saved;
    } else {
        report->intact += found->verdict == HF_SALVAGE_INTACT;
        report->unproved += found->verdict == HF_SALVAGE_NOT_PROVED;
        report->lost += found->verdict == HF_SALVAGE_LOST;
        report->saved += saved;
        report->saved_bytes += saved ? found->size_bytes : 0;
    }
}

static void tell(const struct hf__wreck *wreck, const struct hf__found *found, bool saved)
{
    const struct hf__type_record *record = hf__wreck_type(wreck, found->type_id);
    char new_name[HF_NAME_BYTES_MAX + 1];
    hf_salvage_object out = {.name = hf__found_name(wreck, found),
                             .type_name = record == NULL ? "" : hf__type_record_name(record),
                             .why = reasons[found->why],
                             .kind = found->kind,
                             .verdict = found->verdict,
                             .type_version = record == NULL ? 0 : record->version,
                             .saved = saved,
                             .size_bytes = found->size_bytes,
                             .offset = found->elements,
                             .nulled = found->nulled};
    if (found->kind == HF_KIND_ANONYMOUS && !saved && found->verdict == HF_SALVAGE_INTACT)
        out.why = reasons[HF__WHY_UNREACHED];
    if (found->kind != 0)
        out.count = hf__found_header(wreck, found)->count;
    if (saved && found->lead != 0 && hf__wreck_new_name(wreck, found, new_name))
        out.new_name = new_name;
    const uint64_t from = found->elements - found->lead;
    out.commit = hf__wreck_commit(wreck, from, found->elements + found->size_bytes - from);
    wreck->options->on_object(wreck->options->user, &out);
}

static void tell_all(const struct hf__wreck *wreck, bool built)
{
    for (size_t i = 0; i < wreck->found_count; i++) {
        const struct hf__found *found = &wreck->found[i];
        const bool saved = is_saved(found, built);
        count(wreck, found, saved);
        if (wreck->options->on_object != NULL && !is_raw(found) &&
            (found->kind != 0 || found->pool == 0) &&
            (found->lead != 0 || !saved || found->nulled != 0))
            tell(wreck, found, saved);
    }
}

/* ---- all together ---------------------------------------------------------------------------- */

static int salvage(struct hf__wreck *wreck, const char *to_path)
{
    int code = hf__wreck_open(wreck);
    if (code == 0)
        code = hf__wreck_search(wreck);
    if (code == 0)
        code = hf__wreck_reach(wreck);
    if (code == 0 && to_path != NULL)
        code = hf__wreck_build(wreck, to_path);
    if (code == 0)
        tell_all(wreck, to_path != NULL);
    return code;
}

int hf_salvage(const char *path, const char *to_path, const hf_salvage_options *options,
               hf_salvage_report *report)
{
    static const hf_salvage_options defaults = HF_SALVAGE_OPTIONS_INIT;
    static const hf_options open_defaults = HF_OPTIONS_INIT;
    hf_salvage_report own = {.log = ""};
    struct hf__wreck wreck = {.options = options == NULL ? &defaults : options, .report = &own};
    struct stat st;
    if (path == NULL || (wreck.options->flags & ~HF_SALVAGE_UNPROVED) != 0 ||
        wreck.options->permissions > 07777)
        return hf__fail(HF_EINVAL, "hf_salvage");
    if (to_path != NULL && hf__os->stat(to_path, &st) == 0)
        return hf__fail_path(HF_EEXIST, 0, to_path, "the new store");
    int code = hf__store_new(&wreck.store, HF__BACKING_FILE, &open_defaults);
    if (code != 0)
        return code;
    wreck.store->role = HF__ROLE_FROZEN;
    wreck.store->mode = HF_COPY_ON_WRITE;
    code = hf__paths_set(wreck.store, path);
    if (code == 0)
        code = hf__attach_to_look(wreck.store);
    if (code == 0) {
        code = salvage(&wreck, to_path);
        const hf_error failure = *hf_last_error();
        hf__detach_unused(wreck.store);
        hf__wreck_close(&wreck);
        if (code != 0)
            hf__fail_again(&failure);
        else if (report != NULL)
            *report = own;
    }
    hf__store_free(wreck.store);
    return code;
}
