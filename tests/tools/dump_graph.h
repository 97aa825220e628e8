/* SPDX-License-Identifier: MIT */
/* dump_graph.h - random stores with objects of all kinds of fields that refer to each other */
#ifndef HF_TESTS_TOOLS_DUMP_GRAPH_H
#define HF_TESTS_TOOLS_DUMP_GRAPH_H

#include "holdfast.h"
#include "tests/support/campaign.h"

#include <stdbool.h>

/* Makes the store at path, with about count objects. All of them can be reached from names, so that
 * their order in a dump doesn't depend on their places. Exits on a failure. */
void dump_graph_make(const char *path, const hf_options *options, struct rng *rng, unsigned count);

/* Do both stores hold the same, byte for byte but for the pointers, which lead to the same places
 * of the same objects? Prints the first difference. */
bool dump_graph_same(const char *path_a, const char *path_b);

/* Runs `holdfast ARGUMENTS` by the shell; its exit code, or 128 + the signal that killed it. */
int dump_graph_run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The whole file and a NUL behind, to be freed. */
char *dump_graph_read(const char *path, size_t *size_bytes);

#endif
