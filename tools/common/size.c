/* SPDX-License-Identifier: MIT */
/*
 * size.c - parsing and printing sizes
 *
 * Parsing is by hand, because strtoull takes signs, leading blanks and hexadecimal digits, and a
 * size that means something else than it looks is the one thing a resize must not get.
 */
#include "tools/common/size.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What the digit is worth, 16 if it is none. */
static uint64_t digit_value(char c)
{
    return c >= '0' && c <= '9'   ? (uint64_t)(c - '0')
           : c >= 'a' && c <= 'f' ? (uint64_t)(c - 'a' + 10)
           : c >= 'A' && c <= 'F' ? (uint64_t)(c - 'A' + 10)
                                  : 16;
}

/* Reads the digits at *text and moves it past them. */
static bool parse_digits(const char **text, unsigned base, uint64_t *out)
{
    const char *p = *text;
    uint64_t value = 0, digit;

    if (digit_value(*p) >= base)
        return false;
    for (; (digit = digit_value(*p)) < base; p++) {
        if (value > (UINT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    *text = p;
    *out = value;
    return true;
}

bool size_parse(const char *text, uint64_t *out)
{
    static const char letters[] = "KMGTP";
    uint64_t value;
    unsigned shift = 0;

    assert(text != NULL && out != NULL);
    if (!parse_digits(&text, 10, &value))
        return false;
    if (*text != '\0' && *text != 'B') {
        char upper = (char)(*text == 'k' ? 'K' : *text);
        const char *letter = strchr(letters, upper);
        if (letter == NULL)
            return false;
        shift = 10 * (unsigned)(letter - letters + 1);
        text++;
        if (strcmp(text, "iB") == 0)
            text += 2;
    } else if (*text == 'B') {
        text++;
    }
    if (*text != '\0' || value > (UINT64_MAX >> shift))
        return false;
    *out = value << shift;
    return true;
}

bool size_parse_count(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t value;

    if (!parse_digits(&text, 10, &value) || *text != '\0' || value > max)
        return false;
    *out = value;
    return true;
}

bool size_parse_hex(const char *text, uint64_t *out)
{
    uint64_t value;

    if (strncmp(text, "0x", 2) == 0)
        text += 2;
    if (!parse_digits(&text, 16, &value) || *text != '\0')
        return false;
    *out = value;
    return true;
}

bool size_parse_mode(const char *text, uint32_t *out)
{
    uint64_t value;

    if (!parse_digits(&text, 8, &value) || *text != '\0' || value == 0 || value > 0777)
        return false;
    *out = (uint32_t)value;
    return true;
}

struct size_text size_format(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    struct size_text out;
    unsigned unit = 0;
    double value = (double)bytes;

    /* 1023.95 would print as 1024.0, so the next unit begins there. */
    for (; value >= 1023.95 && unit < 6; unit++)
        value /= 1024;
    if (unit == 0)
        snprintf(out.text, sizeof out.text, "%" PRIu64 " B", bytes);
    else
        snprintf(out.text, sizeof out.text, "%.1f %s", value, units[unit]);
    return out;
}
