/* SPDX-License-Identifier: MIT */
/* size.h - sizes as people write them: 64M in, "1.5 MiB" out; and other numbers. Suffixes are powers of 1024. */
#ifndef HF_TOOLS_COMMON_SIZE_H
#define HF_TOOLS_COMMON_SIZE_H

#include <stdbool.h>
#include <stdint.h>

/* Decimal digits and K, M, G, T or P (also KiB ..., and B for bytes), nothing else. False for
 * anything else and for what does not fit into 64 bits; *out is then unchanged. */
bool size_parse(const char *text, uint64_t *out);

/* A plain number without suffix, at most max. */
bool size_parse_count(const char *text, uint64_t max, uint64_t *out);

/* A number in hexadecimal digits, after 0x or not. */
bool size_parse_hex(const char *text, uint64_t *out);

/* A file's permissions in octal digits: 1 to 777. */
bool size_parse_mode(const char *text, uint32_t *out);

struct size_text {
    char text[24];
};

/* "0 B", "1023 B", "1.5 MiB". */
struct size_text size_format(uint64_t bytes);

#endif
