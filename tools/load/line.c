/* SPDX-License-Identifier: MIT */
/*
 * line.c - the dump, line by line
 *
 * Memory holds one line and its tree at a time. jansson makes the tree; it tells the column of
 * what is no JSON. What is JSON and still wrong is told by line and member.
 */
#include "tools/load/line.h"

#include "tools/common/dump_form.h"
#include "tools/common/interrupt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int lines_open(struct lines *lines)
{
    struct stat status;

    lines->element = lines->entry = -1;
    lines->in = strcmp(lines->path, "-") == 0 ? stdin : fopen(lines->path, "re");
    if (lines->in == NULL)
        return tool_fail_os(lines->tool, errno, lines->path, NULL);
    if (lines->in == stdin)
        lines->path = "standard input";
    if (fstat(fileno(lines->in), &status) == 0 && S_ISREG(status.st_mode))
        lines->total = (uint64_t)status.st_size;
    return TOOL_OK;
}

void lines_close(struct lines *lines)
{
    json_decref(lines->line);
    free(lines->text);
    if (lines->in != NULL && lines->in != stdin)
        fclose(lines->in);
    lines->in = NULL;
    lines->line = NULL;
    lines->text = NULL;
}

int lines_fail(const struct lines *lines, const char *format, ...)
{
    char place[160] = "", message[800];
    size_t used = 0;
    va_list arguments;

    if (lines->element >= 0)
        used += (size_t)snprintf(place, sizeof place, "elements[%" PRId64 "]", lines->element);
    if (lines->key != NULL)
        used += (size_t)snprintf(place + used, sizeof place - used, "%s%.80s", used > 0 ? "." : "",
                                 lines->key);
    if (lines->entry >= 0)
        used += (size_t)snprintf(place + used, sizeof place - used, "[%" PRId64 "]", lines->entry);
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return tool_fail(lines->tool, TOOL_DAMAGED, lines->path, "line %" PRIu64 ": %s%s%s",
                     lines->number, place, used > 0 ? ": " : "", message);
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

/*
 * Most of a dump can be base64 in ',"bytes":"..."}' at the end of a line. It is cut out of the
 * text, since to parse it takes longer than all the rest. These characters can't stand within a
 * string, where quotes have a backslash before them, nor in an inner object, behind which there is
 * another bracket. Returns how long the text is then, which ends in '}' as it did.
 */
static size_t cut_base64(struct lines *lines, size_t length)
{
    static const char member[] = ",\"bytes\":\"";
    const size_t member_length = sizeof member - 1;
    char *text = lines->text;
    size_t end = length, start;

    lines->base64 = NULL;
    while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == '\r'))
        end--;
    if (end < member_length + 2 || text[end - 1] != '}' || text[end - 2] != '"')
        return length;
    start = end - 2;
    while (start > 0 && text[start - 1] != '"' && text[start - 1] != '\\')
        start--;
    if (start < member_length || memcmp(text + start - member_length, member, member_length) != 0)
        return length;
    lines->base64 = text + start;
    lines->base64_length = end - 2 - start;
    text[start - member_length] = '}';
    return start - member_length + 1;
}

int lines_next(struct lines *lines, bool *end)
{
    json_error_t error;
    ssize_t length;

    json_decref(lines->line);
    lines->line = NULL;
    lines->element = lines->entry = -1;
    lines->key = NULL;
    do {
        errno = 0;
        length = getline(&lines->text, &lines->room, lines->in);
        if (length < 0 && interrupt_pending())
            return tool_fail(lines->tool, TOOL_CANCELLED, lines->path, "interrupted");
        if (length < 0 && (ferror(lines->in) != 0 || errno == ENOMEM))
            return tool_fail_os(lines->tool, errno, lines->path, NULL);
        *end = length < 0;
        if (*end)
            return TOOL_OK;
        lines->number++;
        lines->bytes += (uint64_t)length;
    } while (is_blank(lines->text) && strlen(lines->text) == (size_t)length);
    lines->line =
        json_loadb(lines->text, cut_base64(lines, (size_t)length), JSON_REJECT_DUPLICATES, &error);
    if (lines->line == NULL)
        return lines_fail(lines, "column %d: %s", error.position > 0 ? error.position : 1,
                          error.text);
    if (!json_is_object(lines->line))
        return lines_fail(lines, "column 1: an object is expected");
    return TOOL_OK;
}

int lines_only(struct lines *lines, json_t *object, const char *const *members)
{
    const char *key;
    json_t *value;
    bool bytes = false;

    for (size_t i = 0; members[i] != NULL; i++)
        bytes |= strcmp(members[i], "bytes") == 0;
    if (object == lines->line && lines->base64 != NULL && !bytes)
        return lines_fail(lines, "there is no member \"bytes\" in this line's form");
    json_object_foreach(object, key, value)
    {
        size_t i = 0;
        while (members[i] != NULL && strcmp(members[i], key) != 0)
            i++;
        if (members[i] == NULL)
            return lines_fail(lines, "there is no member \"%.80s\" in the form", key);
    }
    return TOOL_OK;
}

int lines_value_u64(struct lines *lines, const json_t *value, uint64_t max, uint64_t *out)
{
    uint64_t number;

    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        number = (uint64_t)json_integer_value(value);
    } else if (json_is_string(value)) {
        const char *text = json_string_value(value);
        const size_t length = strlen(text);
        errno = 0;
        number = strtoull(text, NULL, 10);
        if (length == 0 || length != json_string_length(value) ||
            strspn(text, "0123456789") != length || errno != 0)
            return lines_fail(lines, "\"%.40s\" is no whole number of 64 bits", text);
    } else {
        return lines_fail(lines, "a whole number from 0 on is expected");
    }
    if (number > max)
        return lines_fail(lines, "%" PRIu64 " is more than %" PRIu64, number, max);
    *out = number;
    return TOOL_OK;
}

int lines_optional_u64(struct lines *lines, json_t *object, const char *key, uint64_t max,
                       uint64_t *out)
{
    const json_t *value = json_object_get(object, key);
    int code = TOOL_OK;

    if (value != NULL) {
        lines->key = key;
        code = lines_value_u64(lines, value, max, out);
        lines->key = NULL;
    }
    return code;
}

int lines_u64(struct lines *lines, const char *key, uint64_t max, uint64_t *out)
{
    if (json_object_get(lines->line, key) == NULL)
        return lines_fail(lines, "\"%s\" is missing", key);
    return lines_optional_u64(lines, lines->line, key, max, out);
}

int lines_bool(struct lines *lines, json_t *object, const char *key, bool *out)
{
    const json_t *value = json_object_get(object, key);

    *out = json_is_true(value);
    if (value == NULL || json_is_boolean(value))
        return TOOL_OK;
    return lines_fail(lines, "\"%s\": true or false is expected", key);
}

int lines_value_text(struct lines *lines, const json_t *value, char **out, size_t *length)
{
    const json_t *encoded = json_object_get(value, "base64");
    const json_t *string = encoded != NULL ? encoded : value;
    int64_t size;

    if (!json_is_string(string) || (encoded != NULL && json_object_size(value) != 1))
        return lines_fail(lines, "a string, or {\"base64\":\"...\"}, is expected");
    *out = malloc(json_string_length(string) + 1);
    if (*out == NULL)
        return tool_fail_os(lines->tool, ENOMEM, lines->path, NULL);
    size = (int64_t)json_string_length(string);
    if (encoded != NULL)
        size = dump_read_base64(json_string_value(string), (size_t)size, (unsigned char *)*out,
                                (size_t)size);
    else
        memcpy(*out, json_string_value(string), (size_t)size);
    if (size < 0 || memchr(*out, '\0', (size_t)size) != NULL) {
        free(*out);
        *out = NULL;
        return lines_fail(lines, size < 0 ? "that is no base64" : "a NUL is no part of a text");
    }
    (*out)[size] = '\0';
    *length = (size_t)size;
    return TOOL_OK;
}

int lines_text(struct lines *lines, json_t *object, const char *key, char **out, size_t *length)
{
    const json_t *value = json_object_get(object, key);
    int code;

    if (value == NULL)
        return lines_fail(lines, "\"%s\" is missing", key);
    lines->key = key;
    code = lines_value_text(lines, value, out, length);
    lines->key = NULL;
    return code;
}
