/* SPDX-License-Identifier: MIT */
/*
 * cut_looks.h - looks at what a cut has left of what was made of the store
 *
 * Each returns NULL, or what is wrong, and counts what rarely happens. The state stands in scratch (cut_put), and
 * the library uses it (cut_scratch_use).
 */
#ifndef HF_TESTS_CRASH_CUT_LOOKS_H
#define HF_TESTS_CRASH_CUT_LOOKS_H

#include "cut_programs.h"
#include "cut_states.h"
#include "cut_steps.h"

/* t.hf is one of the two goals that the mark names, clean and whole, and isn't ahead of the store, which is at
 * commit k. */
const char *cut_look_target(const struct cut_disk *disk, uint64_t k, uint64_t *rare);
/* An archive that isn't whole is refused; one that is taken for whole leads to its goal. */
const char *cut_look_archives(const struct cut_disk *disk, uint64_t *rare);
/* The broken store is as it was, byte for byte, with its logs, or repaired. */
const char *cut_look_repair(const struct cut_disk *disk, uint64_t *rare);

#endif
