/* SPDX-License-Identifier: MIT */
/*
 * check.h - where every structure's check reports to
 *
 * A check never stops at the first finding and never trusts what it reads. It calls hf__finding for
 * each broken rule; rules are short stable names ("block.checksum"), the text says what was
 * expected and what was found. When hf__check_stopped says so (too many findings, or cancelled) it
 * returns soon. Work is counted with hf__check_step, which drives the progress display.
 */
#ifndef HF_BASE_CHECK_H
#define HF_BASE_CHECK_H

#include "holdfast/check.h"

#include <stdbool.h>

#define HF__FINDINGS_MAX 1000u /* where hf_check_options doesn't say                             */

struct hf__check {
    const hf_check_options *options; /* may be NULL                                              */
    hf_check_report report;
    uint64_t findings_max;
    uint64_t done, total, done_shown;
    bool cancelled;
};

void hf__check_init(struct hf__check *check, const hf_check_options *options, uint64_t total);
void hf__finding(struct hf__check *check, const char *rule, uint64_t offset, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));
void hf__check_step(struct hf__check *check, uint64_t amount);
bool hf__check_stopped(const struct hf__check *check);

#endif
