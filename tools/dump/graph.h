/* SPDX-License-Identifier: MIT */
/* graph.h - what a dump holds, and in which order: the objects' numbers */
#ifndef HF_TOOLS_DUMP_GRAPH_H
#define HF_TOOLS_DUMP_GRAPH_H

#include "tools/dump/types.h"

#include "holdfast/holdfast.h"

#include <stdbool.h>

enum { GRAPH_RAW = 4, GRAPH_LEFT_OUT = 5 }; /* after HF_KIND_...: pools and their chunks          */

struct graph_item {
    hf_ref ref; /* of its first byte                                                             */
    uint64_t size_bytes;
    uint64_t number; /* 0: none yet                                                              */
    uint32_t type;   /* number, 0 = plain bytes                                                  */
    uint32_t kind;
};

struct graph {
    hf_view *view;
    struct graph_item *items; /* by address                                                      */
    size_t count;
    size_t *order; /* places of items, by number                                      */
    size_t numbered;
    uint64_t size_bytes; /* of all items                                                    */
    uint64_t left_out;   /* pools                                                           */
    size_t rest;         /* all items before are numbered                                   */
    uint64_t dangling;   /* pointers that led nowhere                                       */
};

/* Lists all that is in the view. 0 or an HF_E... code. */
int graph_read(struct graph *graph, hf_view *view, const struct dump_types *types);
void graph_free(struct graph *graph);

/* Number the named objects whose names begin with prefix (NULL = all) in the order of their names,
 * the unique ones, the object at this address. */
int graph_number_named(struct graph *graph, const char *prefix);
int graph_number_unique(struct graph *graph);
void graph_number_object(struct graph *graph, const void *object);

/* Numbers the first item that has no number yet; false if there is none. */
bool graph_number_rest(struct graph *graph);

/* What a pointer leads to, with a number now, and where in it; NULL if that is nothing. */
const struct graph_item *graph_follow(struct graph *graph, hf_ref target, uint64_t *offset);

/* The same without a number. */
const struct graph_item *graph_find(const struct graph *graph, hf_ref target);

#endif
