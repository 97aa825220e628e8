/* SPDX-License-Identifier: MIT */
/* store.h - opening and closing the store that a subcommand works on */
#ifndef HF_TOOLS_COMMON_STORE_H
#define HF_TOOLS_COMMON_STORE_H

#include "tools/common/tool.h"

#include "holdfast/holdfast.h"

/*
 * tool_open - opens with the command's --wait; says so if a dead process's transaction was rolled
 * back. The failure has been reported when it returns something else than TOOL_OK.
 */
int tool_open(struct tool *tool, const char *path, uint32_t mode, hf_store **out);

/* The same, and begins a view in it. */
int tool_open_view(struct tool *tool, const char *path, hf_store **out, hf_view **out_view);

/*
 * Destroys the object of that name, and of a pool the nodes, too: nobody else would find them again.
 * Errors: as hf_destroy and hf_pool_destroy.
 */
int tool_destroy(hf_txn *txn, const char *name);

/* Where an object or block is; also an empty one at the very end of what is used, where hf_ref_of sees
 * nothing. */
hf_ref tool_ref_of(hf_view *view, const void *start);

/* Closes, reporting a failure; returns exit_code unless that is TOOL_OK and closing failed. */
int tool_close(struct tool *tool, const char *path, hf_store *store, int exit_code);

#endif
