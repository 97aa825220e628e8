/* SPDX-License-Identifier: MIT */
/* restore.c - holdfast restore: a store from archives; or one of them checked */
#include "tools/commands.h"
#include "tools/common/archive.h"
#include "tools/common/interrupt.h"
#include "tools/common/progress.h"
#include "tools/common/size.h"

#include <stdio.h>
#include <stdlib.h>

enum { OPTION_VERIFY = TOOL_OPTION_LONG };

static const struct tool_option options[] = {
    {OPTION_VERIFY, "verify", NULL, "make nothing: check the one archive that is given"},
    {'m', "mode", "OCTAL", "permissions of the file; 0644 less the umask unless\ngiven"},
    {0, NULL, NULL, NULL},
};

static int restore(struct tool *tool, const char *const *archives, size_t count,
                   uint32_t permissions)
{
    hf_restore_options restoring = HF_RESTORE_OPTIONS_INIT;
    const char *to = tool->operands[0];
    hf_archive_report report;
    struct progress progress;
    double started = tool_clock();
    int code;

    interrupt_catch();
    progress_begin(&progress, "restoring", 0, true, !tool->quiet && !tool->json);
    restoring.on_progress = archive_on_progress;
    restoring.user = &progress;
    restoring.permissions = permissions;
    code = hf_restore(to, archives, count, &restoring, &report);
    progress_clear(&progress);
    if (code != 0)
        return tool_fail_store(tool, to, code);
    archive_print(tool, "file", to, "restored to", &report, tool_clock() - started);
    return TOOL_OK;
}

static int restore_run(struct tool *tool)
{
    const char *value, **archives;
    uint32_t permissions = 0;
    bool verify = false;
    int id, code;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END) {
        verify |= id == OPTION_VERIFY;
        if (id == 'm' && !size_parse_mode(value, &permissions))
            return tool_usage(tool, "\"%s\" is not a file mode", value);
    }
    if (tool->stopped)
        return tool->exit_code;
    if (verify)
        return tool->operand_count == 1 ? archive_verify_command(tool, tool->operands[0])
                                        : tool_usage(tool, "--verify checks one archive at a time");
    if (tool->operand_count < 2)
        return tool_usage(tool, "an ARCHIVE is missing");
    archives = calloc((size_t)tool->operand_count, sizeof *archives);
    if (archives == NULL)
        return tool_fail(tool, TOOL_OTHER, NULL, "out of memory");
    for (int i = 1; i < tool->operand_count; i++)
        archives[i - 1] = archive_path(tool->operands[i]);
    code = restore(tool, archives, (size_t)tool->operand_count - 1, permissions);
    free(archives);
    return code;
}

const struct tool_command command_restore = {
    .name = "restore",
    .synopsis = "[OPTION...] FILE ARCHIVE...",
    .summary = "Make a store from archives",
    .details = "FILE becomes what the store was: a full archive comes first, increments follow in\n"
               "their order. What does not fit or is damaged is refused, and then there is no\n"
               "FILE. One that exists is never replaced. An ARCHIVE - is standard input.",
    .example = "  holdfast restore photos.hf monday.hfz tuesday.hfz\n"
               "  holdfast restore --verify monday.hfz",
    .options = options,
    .operands_min = 1,
    .operands_max = -1,
    .run = restore_run,
};
