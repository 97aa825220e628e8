/* SPDX-License-Identifier: MIT */
/* dump_form.c - names, base64 and numbers of the dump's form */
#include "tools/common/dump_form.h"

#include "tools/common/json.h"

#include "holdfast/holdfast.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    uint32_t bytes;
} kinds[] = {
    [HF_FIELD_REF] = {"ref", 8},   [HF_FIELD_PTR] = {"ptr", 8},     [HF_FIELD_U8] = {"u8", 1},
    [HF_FIELD_U16] = {"u16", 2},   [HF_FIELD_U32] = {"u32", 4},     [HF_FIELD_U64] = {"u64", 8},
    [HF_FIELD_I8] = {"i8", 1},     [HF_FIELD_I16] = {"i16", 2},     [HF_FIELD_I32] = {"i32", 4},
    [HF_FIELD_I64] = {"i64", 8},   [HF_FIELD_F32] = {"f32", 4},     [HF_FIELD_F64] = {"f64", 8},
    [HF_FIELD_TEXT] = {"text", 1}, [HF_FIELD_BYTES] = {"bytes", 1},
};
enum { KIND_COUNT = sizeof kinds / sizeof kinds[0] };

const char *dump_kind_name(uint32_t kind)
{
    return kind < KIND_COUNT ? kinds[kind].name : NULL;
}

int dump_kind_of(const char *name)
{
    for (int i = 0; i < KIND_COUNT; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return i;
    return -1;
}

uint32_t dump_kind_bytes(uint32_t kind)
{
    return kind < KIND_COUNT ? kinds[kind].bytes : 0;
}

bool dump_key_from_name(const char *name)
{
    return name != NULL && name[0] != '\0' && name[0] != '#' && json_is_utf8(name, strlen(name));
}

/* ---- base64 (RFC 4648) ----------------------------------------------------------------------- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void encode_group(char *to, const unsigned char *p)
{
    const uint32_t bits = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

    to[0] = digits[bits >> 18];
    to[1] = digits[bits >> 12 & 63];
    to[2] = digits[bits >> 6 & 63];
    to[3] = digits[bits & 63];
}

void dump_print_base64(FILE *out, const void *bytes, size_t size_bytes)
{
    const unsigned char *p = bytes;
    char text[4096];
    size_t used = 0;

    for (; size_bytes >= 3; size_bytes -= 3, p += 3) {
        encode_group(text + used, p);
        used += 4;
        if (used == sizeof text) {
            fwrite(text, 1, used, out);
            used = 0;
        }
    }
    if (size_bytes > 0) {
        const unsigned char last[3] = {p[0], size_bytes > 1 ? p[1] : 0, 0};
        encode_group(text + used, last);
        memset(text + used + 1 + size_bytes, '=', 3 - size_bytes);
        used += 4;
    }
    fwrite(text, 1, used, out);
}

/* The values of the digits, and -1: filled at the first use. */
static signed char values[256];

static void fill_values(void)
{
    if (values['B'] != 0)
        return;
    memset(values, -1, sizeof values);
    for (int i = 0; i < 64; i++)
        values[(unsigned char)digits[i]] = (signed char)i;
}

int64_t dump_read_base64(const char *text, size_t length, unsigned char *out, size_t room)
{
    size_t used = 0, padding = 0;

    fill_values();
    if (length % 4 != 0)
        return -1;
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
        padding++;
    if (length / 4 * 3 - padding > room)
        return -1;
    for (size_t i = 0; i < length; i += 4) {
        const size_t left_out = i + 4 == length ? padding : 0;
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; k++) {
            int value = k < 4 - left_out ? values[(unsigned char)text[i + k]] : 0;
            if (value < 0)
                return -1;
            bits = bits << 6 | (uint32_t)value;
        }
        for (size_t k = 0; k < 3 - left_out; k++)
            out[used++] = (unsigned char)(bits >> (16 - 8 * k));
    }
    return (int64_t)used;
}

/* ---- floating point -------------------------------------------------------------------------- */

static void print_special(FILE *out, bool negative, bool is_nan, bool is_plain, uint64_t bits,
                          int hex_digits)
{
    if (!is_nan)
        fputs(negative ? "\"-inf\"" : "\"inf\"", out);
    else if (is_plain)
        fputs("\"nan\"", out);
    else
        fprintf(out, "\"nan:%0*" PRIx64 "\"", hex_digits, bits);
}

/* Whole numbers get a ".0", so that what reads them knows them for floating point. */
static void print_decimal(FILE *out, const char *text)
{
    fputs(text, out);
    if (strpbrk(text, ".e") == NULL)
        fputs(".0", out);
}

void dump_print_f64(FILE *out, uint64_t bits)
{
    char text[40];
    double value, back;

    memcpy(&value, &bits, sizeof value);
    if (!isfinite(value)) {
        print_special(out, signbit(value) != 0, isnan(value), bits == UINT64_C(0x7ff8000000000000),
                      bits, 16);
        return;
    }
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, value);
        back = strtod(text, NULL);
        if (memcmp(&back, &value, sizeof value) == 0)
            break;
    }
    print_decimal(out, text);
}

void dump_print_f32(FILE *out, uint32_t bits)
{
    char text[40];
    float value, back;

    memcpy(&value, &bits, sizeof value);
    if (!isfinite(value)) {
        print_special(out, signbit(value) != 0, isnan(value), bits == UINT32_C(0x7fc00000), bits,
                      8);
        return;
    }
    for (int precision = 6; precision <= 9; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, (double)value);
        back = (float)strtod(text, NULL); /* as load reads it */
        if (memcmp(&back, &value, sizeof value) == 0)
            break;
    }
    print_decimal(out, text);
}

bool dump_read_special(const char *text, bool is_f64, uint64_t *bits)
{
    const uint64_t infinity = is_f64 ? UINT64_C(0x7ff0000000000000) : UINT64_C(0x7f800000);
    const uint64_t quiet = is_f64 ? UINT64_C(0x0008000000000000) : UINT64_C(0x00400000);
    const uint64_t sign = is_f64 ? UINT64_C(1) << 63 : UINT64_C(1) << 31;
    const size_t hex_digits = is_f64 ? 16 : 8;

    if (strcmp(text, "inf") == 0)
        *bits = infinity;
    else if (strcmp(text, "-inf") == 0)
        *bits = infinity | sign;
    else if (strcmp(text, "nan") == 0)
        *bits = infinity | quiet;
    else if (strncmp(text, "nan:", 4) == 0 && strlen(text + 4) == hex_digits &&
             strspn(text + 4, "0123456789abcdef") == hex_digits)
        *bits = strtoull(text + 4, NULL, 16);
    else
        return false;
    return (*bits & infinity) == infinity;
}
