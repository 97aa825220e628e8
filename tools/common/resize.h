/* SPDX-License-Identifier: MIT */
/* resize.h - what grow and shrink share: the sizes before and after */
#ifndef HF_TOOLS_COMMON_RESIZE_H
#define HF_TOOLS_COMMON_RESIZE_H

#include "tools/common/tool.h"

#include "holdfast/holdfast.h"

struct resize {
    hf_store_info before;
};

/* Reads the sizes; the failure has been reported when it returns something else than TOOL_OK. */
int resize_before(struct tool *tool, const char *path, struct resize *resize);

/* Reads them again and prints both. */
int resize_after(struct tool *tool, const char *path, const struct resize *resize);

#endif
