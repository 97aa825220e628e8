/* SPDX-License-Identifier: MIT */
/* pretty.h - an object with its fields, for people */
#ifndef HF_TOOLS_DUMP_PRETTY_H
#define HF_TOOLS_DUMP_PRETTY_H

#include "tools/dump/print.h"

/* Prints the object; name is NULL for those that have none. */
void pretty_object(const struct printer *printer, const struct graph_item *item, const char *name,
                   const unsigned char *bytes);

#endif
