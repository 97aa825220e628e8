/* SPDX-License-Identifier: MIT */
/* dump_form.h - what dump writes and load reads alike; docs/dump.md describes the form */
#ifndef HF_TOOLS_COMMON_DUMP_FORM_H
#define HF_TOOLS_COMMON_DUMP_FORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define DUMP_FORM_VERSION 1

/* Numbers beyond this are strings: many readers of JSON keep numbers as doubles. */
#define DUMP_EXACT_MAX ((INT64_C(1) << 53) - 1)

/* The member of an element that holds the bytes outside its fields. No key of a field begins so. */
#define DUMP_KEY_BYTES "#bytes"

/* "ref", "u32": the name of HF_FIELD_..., NULL for none; and back, -1 for none. */
const char *dump_kind_name(uint32_t kind);
int dump_kind_of(const char *name);
uint32_t dump_kind_bytes(uint32_t kind);

/*
 * dump_key_from_name - may a field of that name have it for its key? Not if the name is NULL, "",
 * begins with '#' or isn't UTF-8 (and not, which the caller sees to, if another field has it).
 */
bool dump_key_from_name(const char *name);

/* Prints the base64 of the bytes, without quotes. */
void dump_print_base64(FILE *out, const void *bytes, size_t size_bytes);

/* What text stands for, at most room bytes; -1 if it isn't base64 or doesn't fit. */
int64_t dump_read_base64(const char *text, size_t length, unsigned char *out, size_t room);

/* Floating-point numbers by their bits: the shortest decimals that read back the same, or "inf",
 * "-inf", "nan" and "nan:BITS" as strings. */
void dump_print_f32(FILE *out, uint32_t bits);
void dump_print_f64(FILE *out, uint64_t bits);

/* The strings among them. */
bool dump_read_special(const char *text, bool is_f64, uint64_t *bits);

#endif
