/* SPDX-License-Identifier: MIT */
/* object.h - filling objects with what their lines say */
#ifndef HF_TOOLS_LOAD_OBJECT_H
#define HF_TOOLS_LOAD_OBJECT_H

#include "tools/load/ids.h"
#include "tools/load/line.h"
#include "tools/load/target.h"
#include "tools/load/types.h"

enum conflict { CONFLICT_ERROR, CONFLICT_KEEP, CONFLICT_REPLACE };

struct load {
    struct tool *tool;
    struct lines lines;
    struct target target;
    struct load_types types;
    struct ids ids;
    struct ids placed; /* with --into: the named and unique ones, by their places                 */
    struct fixups fixups;
    enum conflict conflict;

    /* The object of the lines that are being read. */
    struct id_entry current;
    unsigned char *base;          /* of its bytes, NULL: announce each part                       */
    const struct load_type *type; /* NULL = plain bytes                                           */
    uint64_t count, next;         /* elements in all, and told so far; or bytes                   */
    bool kept; /* an object of the store stays: what the dump tells is passed over */

    uint64_t named, unique, anonymous, raw, opaque, kept_count, replaced, dangling, pointers;
    uint64_t pools_left_out; /* says the dump                                                     */
    uint64_t size_bytes;
};

/* Each returns an exit code; the failure has been reported unless it is TOOL_OK.
 *
 * load_object_line - makes or goes on with the object of the current line.
 * load_object_end - were all elements told?
 * load_pointers - sets the pointers whose targets came later.
 * load_still_there - false if somebody has destroyed the object between two batches. What has no name is
 *   known again by its place, kind, type and size alone. */
int load_object_line(struct load *load);
int load_object_end(struct load *load);
int load_pointers(struct load *load);
bool load_still_there(const struct load *load, const struct id_entry *entry);

/* element.c: fills one element at `at`, which lies in the store at ref, zeroed. */
int load_element(struct load *load, const json_t *element, unsigned char *at, hf_ref ref);

#endif
