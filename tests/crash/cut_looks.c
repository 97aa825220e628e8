/* SPDX-License-Identifier: MIT */
/*
 * cut_looks.c - is what a cut has left of a copy, an archive or a repair what it may be?
 *
 * What has been looked at and found good isn't looked at again: in most states t.hf and the archives hold what
 * they held in the one before. A worker has one recording, so this is remembered by content alone.
 */
#include "cut_looks.h"

#include "base/hash.h"
#include "store/store.h"

#include <fcntl.h>

static char text[700];

static const char *wrong(const char *what)
{
    snprintf(text, sizeof text, "%s: %s", what, hf_last_error()->message);
    return text;
}

/* ---- stores ---------------------------------------------------------------------------------- */

static bool says_clean(const struct cut_scratch *scratch, enum cut_name place, const char *path)
{
    struct hf__file_header header;
    return hf__header_read(scratch->fds[place], path, false, &header) == 0 &&
           header.state == HF__STATE_CLEAN;
}

/* A store that is closed and sound, and what it shows. */
static const char *look_at_store(const char *path, struct cut_state *out, uint64_t *cells)
{
    hf_options options = cut_options(HF_READ_ONLY);
    hf_verify_report pages;
    hf_store *store;
    if (hf_open(path, &options, &store) != 0)
        return wrong("opening it");
    const char *what = !cut_state_of(store, out)                    ? wrong("the walk")
                       : !cut_cells_of(store, cells)                ? wrong("its cells")
                       : hf_check_sanity(store, NULL, NULL) != 0    ? wrong("its check")
                       : hf_verify(store, NULL, &pages) != 0        ? wrong("its page table")
                       : pages.stale != 0 || pages.pages_newer != 0 ? "its page table is stale"
                                                                    : NULL;
    const int code = hf_close(store);
    return what == NULL && code != 0 ? wrong("closing it") : what;
}

/* ---- t.hf ------------------------------------------------------------------------------------ */

const char *cut_look_target(const struct cut_disk *disk, uint64_t k, uint64_t *rare)
{
    static uint64_t good[CUT_GOALS + 1];
    const struct cut_mark *mark = &disk->mark;
    const struct cut_trace *trace = disk->trace;
    const bool may_be_absent = mark->target_was == CUT_NOTHING || mark->target_is == CUT_NOTHING;
    char path[800];
    if (!disk->scratch->present[CUT_TARGET]) {
        rare[RARE_NAME_LOST] += disk->rename_pending && may_be_absent;
        return may_be_absent ? NULL : "it is gone";
    }
    const uint64_t content = cut_content(disk, CUT_TARGET);
    const int aims[] = {mark->target_was, mark->target_is};
    int goal = CUT_NOTHING;
    for (int i = 0; i < 2; i++)
        if (aims[i] != CUT_NOTHING && good[aims[i]] == content)
            goal = aims[i];
    if (goal == CUT_NOTHING) {
        struct cut_state state;
        uint64_t cells;
        cut_place_path(disk->scratch, CUT_TARGET, path);
        if (!says_clean(disk->scratch, CUT_TARGET, path))
            return "it doesn't say that it is clean";
        const char *what = look_at_store(path, &state, &cells);
        if (what != NULL)
            return what;
        for (int i = 0; i < 2; i++)
            if (aims[i] != CUT_NOTHING && trace->goals[aims[i]].plain == state.plain)
                goal = aims[i];
        if (goal == CUT_NOTHING)
            return "it shows something else";
        good[goal] = content;
    }
    rare[RARE_NAME_KEPT] += disk->rename_pending && goal == mark->target_is;
    return k != UINT64_MAX && trace->goals[goal].commit > k ? "it is ahead of its store" : NULL;
}

/* ---- archives -------------------------------------------------------------------------------- */

static const char *restored(const struct cut_disk *disk, const char *const *archives, size_t count,
                            uint64_t plain)
{
    char path[800];
    struct cut_state state;
    uint64_t cells;
    snprintf(path, sizeof path, "%s/r.hf", disk->scratch->directory);
    if (hf_restore(path, archives, count, NULL, NULL) != 0)
        return wrong("it is said to be whole, but can't be restored");
    const char *what = look_at_store(path, &state, &cells);
    if (what == NULL && state.plain != plain)
        what = "it leads to another state";
    hf_remove(path);
    return what;
}

const char *cut_look_archives(const struct cut_disk *disk, uint64_t *rare)
{
    static uint64_t good[2];
    char paths[2][800];
    const char *const archives[] = {paths[0], paths[1]};
    bool full = false;
    for (int i = 0; i < 2; i++) {
        const enum cut_name place = (enum cut_name)(CUT_FULL + i);
        const bool must = disk->mark.archives > i;
        const char *what = NULL;
        cut_place_path(disk->scratch, place, paths[i]);
        if (!disk->scratch->present[place]) {
            if (must)
                return "an archive is gone";
            continue;
        }
        const uint64_t content = cut_content(disk, place);
        if (content != good[i]) {
            if (hf_archive_verify(paths[i], NULL, NULL) != 0) {
                rare[RARE_ARCHIVE_TORN]++;
                if (must)
                    return wrong("an archive");
                continue;
            }
            if (i == 0 || full)
                what = restored(disk, archives, (size_t)i + 1, disk->trace->goals[i + 1].plain);
            if (what != NULL)
                return what;
            good[i] = content;
        }
        rare[RARE_ARCHIVE_WHOLE] += !must;
        full = true;
    }
    return NULL;
}

/* ---- a repair -------------------------------------------------------------------------------- */

static bool as_at_the_start(const struct cut_disk *disk)
{
    for (int name = CUT_DATA; name <= CUT_LOG1; name++) {
        const struct cut_start *start = &disk->trace->starts[name];
        if (disk->scratch->present[name] != (start->file >= 0))
            return false;
        if (start->file >= 0 &&
            cut_content(disk, (enum cut_name)name) !=
                hf__hash(start->bytes, (size_t)start->size_bytes, start->size_bytes))
            return false;
    }
    return true;
}

const char *cut_look_repair(const struct cut_disk *disk, uint64_t *rare)
{
    static uint64_t good;
    struct cut_state state;
    uint64_t cells;
    if (!disk->scratch->present[CUT_DATA])
        return "it is gone";
    if (disk->mark.repair == CUT_BROKEN && as_at_the_start(disk)) {
        rare[RARE_STILL_BROKEN]++;
        return NULL;
    }
    rare[RARE_REPAIRED] += disk->mark.repair == CUT_BROKEN;
    const uint64_t content = cut_content(disk, CUT_DATA);
    if (content == good)
        return NULL;
    const char *what = look_at_store(disk->scratch->path, &state, &cells);
    if (what == NULL && cells != cut_cells_broken)
        what = "it isn't what it was, and not repaired";
    if (what == NULL)
        good = content;
    return what;
}
