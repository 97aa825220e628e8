/* SPDX-License-Identifier: MIT */
/* touched.h - sets of pages that commits have touched, and which commit did last */
#ifndef HF_STORE_TOUCHED_H
#define HF_STORE_TOUCHED_H

#include "log_format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Runs of pages, in order and apart once sorted. Where runs overlap the later commit counts for all of
 * both: for a page that is too late, never too early. */
struct hf__page_run {
    uint64_t first, end, commit;
};
struct hf__touched {
    struct hf__page_run *runs;
    size_t count, room;
    uint64_t used_first, used_low; /* the first state's used end, and the lowest of all           */
    bool lost;           /* there was no memory for one                                          */
};
void hf__touched_init(struct hf__touched *touched, uint64_t used_end);
void hf__touched_free(struct hf__touched *touched);
void hf__touched_add(struct hf__touched *touched, uint64_t from, uint64_t to, uint64_t commit);
/* What a record of a log holds. (Its window lies between used ends: hf__touched_end.) */
void hf__touched_record(struct hf__touched *touched, const struct hf__record *record);
/* After the last one: all from the lowest used end to the last one, fresh space and the pages in which
 * used ends lay; then sorted. HF_ENOMEM. */
int hf__touched_end(struct hf__touched *touched, uint64_t used_end, uint64_t commit);
/* After more were added: sorted again. HF_ENOMEM. */
int hf__touched_sort(struct hf__touched *touched);
bool hf__touched_has(const struct hf__touched *touched, uint64_t page);

#endif
