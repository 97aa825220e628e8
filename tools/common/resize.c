/* SPDX-License-Identifier: MIT */
/* resize.c - the sizes of a store before and after a change */
#include "tools/common/resize.h"

#include "tools/common/json.h"
#include "tools/common/size.h"
#include "tools/common/store.h"

#include <stdio.h>

/* Opened without waiting: whoever has the store open would make the resize fail anyway. */
static int read_info(struct tool *tool, const char *path, hf_store_info *out)
{
    hf_store *store;
    int code;

    tool->wait_ms = -1;
    code = tool_open(tool, path, HF_READ_ONLY, &store);
    if (code != TOOL_OK)
        return code;
    code = hf_info(store, out);
    if (code != 0)
        code = tool_fail_store(tool, path, code);
    return tool_close(tool, path, store, code);
}

int resize_before(struct tool *tool, const char *path, struct resize *resize)
{
    return read_info(tool, path, &resize->before);
}

int resize_after(struct tool *tool, const char *path, const struct resize *resize)
{
    struct json json = JSON_INIT(stdout);
    hf_store_info after;
    int code = read_info(tool, path, &after);

    if (code != TOOL_OK)
        return code;
    if (!tool->json) {
        if (!tool->quiet)
            printf("%s: %s, was %s (file %s, was %s)\n", path, size_format(after.size_bytes).text,
                   size_format(resize->before.size_bytes).text, size_format(after.file_bytes).text,
                   size_format(resize->before.file_bytes).text);
        return TOOL_OK;
    }
    json_object(&json, NULL);
    json_text(&json, "file", path);
    json_uint(&json, "size_bytes_before", resize->before.size_bytes);
    json_uint(&json, "size_bytes", after.size_bytes);
    json_uint(&json, "file_bytes_before", resize->before.file_bytes);
    json_uint(&json, "file_bytes", after.file_bytes);
    json_uint(&json, "disk_bytes", after.disk_bytes);
    json_end(&json);
    return TOOL_OK;
}
