/* SPDX-License-Identifier: MIT */
/* grow.c - holdfast grow: reserves room in a store that nobody has open */
#include "tools/commands.h"
#include "tools/common/resize.h"
#include "tools/common/size.h"

static const struct tool_option options[] = {
    {0, NULL, NULL, NULL},
};

static int grow_run(struct tool *tool)
{
    const char *value, *path, *text;
    struct resize resize;
    uint64_t size, extra;
    int code;

    while (tool_option_next(tool, &value) != TOOL_OPTIONS_END)
        ;
    if (tool->stopped)
        return tool->exit_code;
    path = tool->operands[0];
    text = tool->operands[1];
    if (!size_parse(text + (text[0] == '+'), &size))
        return tool_usage(tool, "\"%s\" is not a size", text);
    code = resize_before(tool, path, &resize);
    if (code != TOOL_OK)
        return code;
    extra = size;
    if (text[0] != '+')
        extra = size > resize.before.size_bytes ? size - resize.before.size_bytes : 0;
    code = extra == 0 ? 0 : hf_grow(path, extra);
    if (code != 0)
        return tool_fail_store(tool, path, code);
    return resize_after(tool, path, &resize);
}

const struct tool_command command_grow = {
    .name = "grow",
    .synopsis = "[OPTION...] FILE [+]SIZE",
    .summary = "Make a store larger beforehand",
    .details = "To SIZE, or with + by SIZE, rounded up to pages; one that is as large already is\n"
               "left alone. A store grows by itself while it is used: this reserves the room on\n"
               "the disk now. Nobody may have it open.",
    .example = "  holdfast grow photos.hf 10G",
    .options = options,
    .operands_min = 2,
    .operands_max = 2,
    .run = grow_run,
};
