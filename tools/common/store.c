/* SPDX-License-Identifier: MIT */
/* store.c - opening and closing with the messages that belong to it */
#include "tools/common/store.h"

#include "tools/common/size.h"

#include <assert.h>
#include <inttypes.h>

static void note_recovery(const struct tool *tool, const char *path, uint32_t mode, hf_store *store)
{
    hf_recovery recovery;

    if (hf_recovery_info(store, &recovery) != 0 || recovery.recoveries == 0)
        return;
    if (recovery.replayed_commits > 0) {
        tool_note(tool, path,
                  "not closed by process %" PRId64 ": %" PRIu64 " commits replayed from its log%s "
                  "(%s in %" PRIu64 " places)",
                  recovery.last_pid, recovery.replayed_commits,
                  mode == HF_READ_ONLY ? " for this reading" : "",
                  size_format(recovery.replayed_bytes).text, recovery.replayed_ranges);
        return;
    }
    tool_note(tool, path,
              "process %" PRId64 " died inside a transaction, which was rolled back%s (%s in "
              "%" PRIu64 " places)",
              recovery.last_pid, mode == HF_READ_ONLY ? " for this reading" : "",
              size_format(recovery.undone_bytes).text, recovery.undone_ranges);
}

static int open_untold(struct tool *tool, const char *path, uint32_t mode, hf_store **out)
{
    hf_options options = HF_OPTIONS_INIT;
    int code;

    assert(path != NULL && out != NULL);
    options.mode = mode;
    options.lock_timeout_ms = tool->wait_ms;
    code = hf_open(path, &options, out);
    return code != 0 ? tool_fail_store(tool, path, code) : TOOL_OK;
}

int tool_open(struct tool *tool, const char *path, uint32_t mode, hf_store **out)
{
    int code = open_untold(tool, path, mode, out);

    if (code == TOOL_OK)
        note_recovery(tool, path, mode, *out);
    return code;
}

int tool_open_view(struct tool *tool, const char *path, hf_store **out, hf_view **out_view)
{
    int code = open_untold(tool, path, HF_READ_ONLY, out);

    if (code != TOOL_OK)
        return code;
    code = hf_view_begin(*out, out_view);
    if (code != 0)
        return tool_close(tool, path, *out, tool_fail_store(tool, path, code));
    note_recovery(tool, path, HF_READ_ONLY, *out); /* who may not write recovers in its first view */
    return TOOL_OK;
}

int tool_destroy(hf_txn *txn, const char *name)
{
    const hf_pool *pool = hf_pool_find(hf_txn_view(txn), name);

    return pool != NULL ? hf_pool_destroy(txn, pool) : hf_destroy(txn, name);
}

hf_ref tool_ref_of(hf_view *view, const void *start)
{
    return hf_ref_of(view, (const char *)start - 1) + 1;
}

int tool_close(struct tool *tool, const char *path, hf_store *store, int exit_code)
{
    int code = hf_close(store);

    if (code == 0 || exit_code != TOOL_OK)
        return exit_code;
    return tool_fail_store(tool, path, code);
}
