/* SPDX-License-Identifier: MIT */
/* archive.c - what the subcommands that work with archives share */
#include "tools/common/archive.h"

#include "tools/common/interrupt.h"
#include "tools/common/json.h"
#include "tools/common/progress.h"
#include "tools/common/size.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool archive_is(const char *path)
{
    /* A skippable frame of zstd, 256 bytes long, that begins with our name. */
    static const unsigned char first[16] = {0x58, 0x2a, 0x4d, 0x18, 0,   1,   0,   0,
                                            'H',  'F',  'S',  'T',  'A', 'R', 'C', 'V'};
    unsigned char found[sizeof first];
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is = fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
              pread(fd, found, sizeof found, 0) == (ssize_t)sizeof found &&
              memcmp(found, first, sizeof first) == 0;

    if (fd >= 0)
        close(fd);
    return is;
}

const char *archive_path(const char *operand)
{
    return strcmp(operand, "-") == 0 ? "/dev/stdin" : operand;
}

static void print_json(const char *key_path, const char *path, const hf_archive_report *report,
                       double seconds)
{
    struct json json = JSON_INIT(stdout);
    char text[33];

    json_object(&json, NULL);
    json_text(&json, key_path, path);
    for (int i = 0; i < 16; i++)
        snprintf(text + i * 2, 3, "%02x", report->uuid[i]);
    json_text(&json, "uuid", text);
    json_bool(&json, "increment", report->is_increment != 0);
    if (report->is_increment != 0)
        json_uint(&json, "from_commit", report->from_commit);
    json_uint(&json, "commit", report->commit);
    snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64, report->digest[1], report->digest[0]);
    json_text(&json, "digest", text);
    json_uint(&json, "pages", report->pages);
    json_uint(&json, "pages_total", report->pages_total);
    json_uint(&json, "blocks", report->blocks);
    json_uint(&json, "plain_bytes", report->plain_bytes);
    json_uint(&json, "archive_bytes", report->archive_bytes);
    json_seconds(&json, "view_seconds", (double)report->view_ns / 1e9);
    json_seconds(&json, "seconds", seconds);
    json_end(&json);
}

void archive_print(const struct tool *tool, const char *key_path, const char *path,
                   const char *verb, const hf_archive_report *report, double seconds)
{
    char since[48] = "";

    if (tool->json) {
        print_json(key_path, path, report, seconds);
        return;
    }
    if (tool->quiet)
        return;
    if (report->is_increment != 0)
        snprintf(since, sizeof since, " since commit %" PRIu64, report->from_commit);
    printf("%s: %s commit %" PRIu64 "%s: %" PRIu64 " of %" PRIu64 " pages, %s in %s, %.2f s\n",
           path, verb, report->commit, since, report->pages, report->pages_total,
           size_format(report->plain_bytes).text, size_format(report->archive_bytes).text, seconds);
}

int archive_on_progress(void *user, uint64_t done, uint64_t total)
{
    if (total != 0)
        progress_set(user, done, total);
    return interrupt_pending() ? 1 : 0;
}

int archive_verify_command(struct tool *tool, const char *path)
{
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    hf_archive_report report;
    struct progress progress;
    double started = tool_clock();
    int code;

    interrupt_catch();
    progress_begin(&progress, "verifying", 0, true, !tool->quiet && !tool->json);
    options.on_progress = archive_on_progress;
    options.user = &progress;
    code = hf_archive_verify(archive_path(path), &options, &report);
    progress_clear(&progress);
    if (code != 0)
        return tool_fail_store(tool, path, code);
    archive_print(tool, "archive", path, "intact,", &report, tool_clock() - started);
    return TOOL_OK;
}
