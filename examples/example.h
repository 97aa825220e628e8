/* SPDX-License-Identifier: MIT */
/* example.h - how the examples check their own results: a surprise is printed and ends them */
#ifndef HF_EXAMPLES_EXAMPLE_H
#define HF_EXAMPLES_EXAMPLE_H

#include <holdfast.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Goes on if what is claimed holds; otherwise says so, with the library's last error, and exits. */
static inline void check(int holds, const char *claim)
{
    if (holds)
        return;
    fprintf(stderr, "surprise: not so: %s\n(last error: %s)\n", claim, hf_last_error()->message);
    exit(1);
}

#endif
