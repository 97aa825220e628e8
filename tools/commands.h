/* SPDX-License-Identifier: MIT */
/* commands.h - the subcommands, each from its own folder */
#ifndef HF_TOOLS_COMMANDS_H
#define HF_TOOLS_COMMANDS_H

#include "tools/common/tool.h"

extern const struct tool_command command_create, command_put, command_get, command_ls, command_rm,
    command_import, command_export, command_stat, command_fsck, command_grow, command_shrink, command_readers,
    command_log, command_trim, command_compact, command_archive, command_restore, command_snapshot, command_verify, command_dump, command_load, command_salvage;

#endif
