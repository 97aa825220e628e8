/* SPDX-License-Identifier: MIT */
/* shrink.c - holdfast shrink: cuts the free end off a store that nobody has open */
#include "tools/commands.h"
#include "tools/common/resize.h"

static const struct tool_option options[] = {
    {0, NULL, NULL, NULL},
};

static int shrink_run(struct tool *tool)
{
    const char *value, *path;
    struct resize resize;
    int code;

    while (tool_option_next(tool, &value) != TOOL_OPTIONS_END)
        ;
    if (tool->stopped)
        return tool->exit_code;
    path = tool->operands[0];
    code = resize_before(tool, path, &resize);
    if (code != TOOL_OK)
        return code;
    code = hf_shrink_to_fit(path);
    if (code != 0)
        return tool_fail_store(tool, path, code);
    return resize_after(tool, path, &resize);
}

const struct tool_command command_shrink = {
    .name = "shrink",
    .synopsis = "[OPTION...] FILE",
    .summary = "Give a store's free end back to the disk",
    .details = "Nothing moves, so free space between objects stays. Nobody may have it open.",
    .example = "  holdfast shrink photos.hf",
    .options = options,
    .operands_min = 1,
    .operands_max = 1,
    .run = shrink_run,
};
