/* SPDX-License-Identifier: MIT */
/*
 * check.c - the sink of all findings
 *
 * Counts findings, hands each to the caller's function, and stops the walk when there are too many
 * or the caller wants no more. Progress is reported in steps of a thousandth, so that a check of
 * many small structures doesn't spend its time on the display.
 */
#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>

void hf__check_init(struct hf__check *check, const hf_check_options *options, uint64_t total)
{
    *check = (struct hf__check){.options = options, .total = total};
    check->findings_max =
        options != NULL && options->findings_max != 0 ? options->findings_max : HF__FINDINGS_MAX;
}

void hf__finding(struct hf__check *check, const char *rule, uint64_t offset, const char *format,
                 ...)
{
    if (hf__check_stopped(check))
        return;
    check->report.findings++;
    if (check->options != NULL && check->options->on_finding != NULL) {
        char text[256];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        hf_finding finding = {rule, offset, text};
        check->options->on_finding(check->options->user, &finding);
    }
}

void hf__check_step(struct hf__check *check, uint64_t amount)
{
    check->done += amount;
    if (check->options == NULL || check->options->on_progress == NULL)
        return;
    if (check->done - check->done_shown < check->total / 1000 + 1)
        return;
    check->done_shown = check->done;
    uint64_t done = check->done < check->total ? check->done : check->total;
    if (check->options->on_progress(check->options->user, done, check->total) != 0)
        check->cancelled = true;
}

bool hf__check_stopped(const struct hf__check *check)
{
    return check->cancelled || check->report.findings >= check->findings_max;
}
