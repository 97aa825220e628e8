/* SPDX-License-Identifier: MIT */
/*
 * tool.c - options, help and errors of every subcommand
 *
 * The option table of a command is the only place that names its options: getopt_long's tables and
 * the --help text are made from it, so they can't disagree.
 */
#include "tools/common/tool.h"

#include "tools/common/json.h"
#include "tools/common/size.h"

#include <assert.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "holdfast/holdfast.h"

/* Names may be as long as they can be: what is wrong with them is told behind. */
#define MESSAGE_BYTES (HF_NAME_BYTES_MAX + 1024)

enum { OPTION_HELP = 'h', OPTION_JSON = 'j', OPTION_QUIET = 'q', OPTION_WAIT = 'w' };

static const struct tool_option common_options[] = {
    {OPTION_JSON, "json", NULL, "print one JSON document"},
    {OPTION_QUIET, "quiet", NULL, "no progress, no remarks"},
    {OPTION_HELP, "help", NULL, "print this and exit"},
    {0, NULL, NULL, NULL},
};
static const struct tool_option wait_options[] = {
    {OPTION_WAIT, "wait", "SECONDS",
     "how long to wait for other processes: 0 not at all,\n"
     "\"forever\"; 10 unless given"},
    {0, NULL, NULL, NULL},
};

static int usage_code(const struct tool *tool)
{
    return tool->command->is_fsck ? FSCK_USAGE : TOOL_USAGE;
}

/* ---- options --------------------------------------------------------------------------------- */

struct getopt_tables {
    struct option longs[TOOL_OPTIONS_MAX + 1];
    char letters[TOOL_OPTIONS_MAX * 2 + 2];
    int count, letter_count;
};

static void add_options(struct getopt_tables *tables, const struct tool_option *options)
{
    for (const struct tool_option *o = options; o != NULL && o->name != NULL; o++) {
        assert(tables->count < TOOL_OPTIONS_MAX);
        tables->longs[tables->count++] = (struct option){
            o->name, o->value == NULL ? no_argument : required_argument, NULL, o->id};
        if (o->id < TOOL_OPTION_LONG) {
            tables->letters[tables->letter_count++] = (char)o->id;
            if (o->value != NULL)
                tables->letters[tables->letter_count++] = ':';
        }
    }
}

static void make_tables(const struct tool_command *command, struct getopt_tables *tables)
{
    memset(tables, 0, sizeof *tables);
    tables->letters[tables->letter_count++] = ':'; /* getopt tells a missing argument apart */
    add_options(tables, command->options);
    add_options(tables, common_options);
    if (command->waits)
        add_options(tables, wait_options);
}

static int stop(struct tool *tool, int exit_code)
{
    tool->stopped = true;
    tool->exit_code = exit_code;
    return TOOL_OPTIONS_END;
}

static bool parse_wait(struct tool *tool, const char *value)
{
    uint64_t seconds;

    if (strcmp(value, "forever") == 0) {
        tool->wait_ms = 0;
        return true;
    }
    if (!size_parse_count(value, INT32_MAX, &seconds))
        return false;
    tool->wait_ms = seconds == 0 ? -1 : (int64_t)seconds * 1000;
    return true;
}

static int finish_options(struct tool *tool)
{
    const struct tool_command *command = tool->command;

    tool->operand_count = tool->argc - optind;
    tool->operands = tool->argv + optind;
    if (tool->operand_count < command->operands_min)
        return stop(tool, tool_usage(tool, "too few operands"));
    if (command->operands_max >= 0 && tool->operand_count > command->operands_max)
        return stop(tool, tool_usage(tool, "too many operands"));
    return TOOL_OPTIONS_END;
}

static bool is_known(const struct getopt_tables *tables, int id)
{
    for (int i = 0; i < tables->count; i++)
        if (tables->longs[i].val == id)
            return true;
    return false;
}

/*
 * Names the option that getopt_long refused. optopt is 0 for a long one that isn't known, else the
 * option. Letters may follow one that isn't known, and then argv[optind] is still their argument;
 * everything else that is refused ends the one before optind.
 */
static int refuse_option(struct tool *tool, const struct getopt_tables *tables, int found)
{
    const char *argument = tool->argv[optind - 1];

    if (found == ':' && strncmp(argument, "--", 2) == 0)
        return stop(tool, tool_usage(tool, "%s needs an argument", argument));
    if (found == ':')
        return stop(tool, tool_usage(tool, "-%c needs an argument", optopt));
    if (optopt != 0 && is_known(tables, optopt))
        return stop(tool, tool_usage(tool, "%s takes no argument", argument));
    if (optopt != 0)
        return stop(tool, tool_usage(tool, "-%c is no option here", optopt));
    return stop(tool, tool_usage(tool, "%s is no option here", argument));
}

int tool_option_next(struct tool *tool, const char **value)
{
    struct getopt_tables tables;

    make_tables(tool->command, &tables);
    opterr = 0;
    for (;;) {
        int id = getopt_long(tool->argc, tool->argv, tables.letters, tables.longs, NULL);
        switch (id) {
        case -1:
            return finish_options(tool);
        case OPTION_HELP:
            tool_print_help(tool->command);
            return stop(tool, TOOL_OK);
        case OPTION_JSON:
            tool->json = true;
            break;
        case OPTION_QUIET:
            tool->quiet = true;
            break;
        case '?':
        case ':':
            return refuse_option(tool, &tables, id);
        default:
            if (id == OPTION_WAIT && tool->command->waits) {
                if (!parse_wait(tool, optarg))
                    return stop(tool,
                                tool_usage(tool, "--wait %s: not a number of seconds", optarg));
                break;
            }
            *value = optarg;
            return id;
        }
    }
}

/* ---- help ------------------------------------------------------------------------------------ */

static void print_option_help(const struct tool_option *option)
{
    char left[64];
    const char *line = option->help;

    if (option->id < TOOL_OPTION_LONG)
        snprintf(left, sizeof left, "-%c, --%s%s%s", option->id, option->name,
                 option->value == NULL ? "" : " ", option->value == NULL ? "" : option->value);
    else
        snprintf(left, sizeof left, "    --%s%s%s", option->name, option->value == NULL ? "" : " ",
                 option->value == NULL ? "" : option->value);
    printf("  %-26s", left);
    if (strlen(left) > 25)
        printf("\n%28s", "");
    for (const char *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
        printf("%.*s\n%28s", (int)(end - line), line, "");
    puts(line);
}

static void print_options_help(const struct tool_option *options)
{
    for (const struct tool_option *o = options; o != NULL && o->name != NULL; o++)
        if (o->help != NULL)
            print_option_help(o);
}

static void print_exit_codes(bool is_fsck)
{
    static const struct {
        int value;
        const char *text;
    } codes[] =
        {
#define EXIT_ROW(name, value, text) {value, text},
            TOOL_EXIT_TABLE(EXIT_ROW)},
      fsck_codes[] = {FSCK_EXIT_TABLE(EXIT_ROW)
#undef EXIT_ROW
      };

    puts("\nExit codes:");
    if (is_fsck)
        for (size_t i = 0; i < sizeof fsck_codes / sizeof fsck_codes[0]; i++)
            printf("  %2d  %s\n", fsck_codes[i].value, fsck_codes[i].text);
    else
        for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
            printf("  %2d  %s\n", codes[i].value, codes[i].text);
}

void tool_print_help(const struct tool_command *command)
{
    printf("Usage: holdfast %s %s\n\n%s.\n", command->name, command->synopsis, command->summary);
    if (command->details[0] != '\0')
        printf("\n%s\n", command->details);
    puts("\nOptions:");
    print_options_help(command->options);
    if (command->waits)
        print_options_help(wait_options);
    print_options_help(common_options);
    print_exit_codes(command->is_fsck);
    printf("\nExample:\n%s\n", command->example);
}

/* ---- errors ---------------------------------------------------------------------------------- */

/* With --json a failure is a document too, so that a program needn't read standard error. */
static void print_json_failure(struct tool *tool, int exit_code, const char *path,
                               const char *code_name, const char *message)
{
    struct json json = JSON_INIT(stdout);

    if (!tool->json || tool->failure_shown)
        return;
    tool->failure_shown = true;
    json_object(&json, NULL);
    json_object(&json, "error");
    json_int(&json, "exit_code", exit_code);
    if (code_name != NULL)
        json_text(&json, "code", code_name);
    if (path != NULL)
        json_text(&json, "path", path);
    json_text(&json, "message", message);
    json_end(&json);
    json_end(&json);
}

static void print_message(const char *path, const char *message)
{
    if (path != NULL)
        fprintf(stderr, "holdfast: %s: %s\n", path, message);
    else
        fprintf(stderr, "holdfast: %s\n", message);
}

int tool_usage(struct tool *tool, const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    fprintf(stderr, "holdfast %s: %s\nUsage: holdfast %s %s\n", tool->command->name, message,
            tool->command->name, tool->command->synopsis);
    print_json_failure(tool, usage_code(tool), NULL, NULL, message);
    return usage_code(tool);
}

int tool_fail(struct tool *tool, int exit_code, const char *path, const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list arguments;

    assert(exit_code != TOOL_OK);
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    print_message(path, message);
    print_json_failure(tool, exit_code, path, NULL, message);
    return exit_code;
}

int tool_fail_os(struct tool *tool, int os_errno, const char *path, const char *what)
{
    int exit_code = tool_exit_of_errno(os_errno);

    if (what == NULL)
        return tool_fail(tool, exit_code, path, "%s", strerror(os_errno));
    return tool_fail(tool, exit_code, path, "%s: %s", what, strerror(os_errno));
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* The library's messages begin with the store's full path; as the user wrote it is enough. */
static const char *without_path(const char *message, const hf_error *last, const char *path)
{
    size_t length = strlen(last->path);

    if (length == 0 || path == NULL || strcmp(last_part(path), last_part(last->path)) != 0 ||
        strncmp(message, last->path, length) != 0 || strncmp(message + length, ": ", 2) != 0)
        return message;
    return message + length + 2;
}

int tool_fail_object(struct tool *tool, const char *path, const char *name, int hf_code)
{
    const hf_error *last = hf_last_error();
    const char *message = last->code == hf_code ? last->message : hf_strerror(hf_code);
    char text[HF_NAME_BYTES_MAX + sizeof last->message + 8];

    assert(hf_code < 0);
    message = without_path(message, last, path);
    if (name != NULL && strstr(message, name) == NULL)
        snprintf(text, sizeof text, "%s: %s", name, message);
    else
        snprintf(text, sizeof text, "%s", message);
    print_message(path, text);
    print_json_failure(tool, tool_exit_of(hf_code), path, hf_error_name(hf_code), text);
    return tool_exit_of(hf_code);
}

int tool_fail_store(struct tool *tool, const char *path, int hf_code)
{
    return tool_fail_object(tool, path, NULL, hf_code);
}

void tool_note(const struct tool *tool, const char *path, const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list arguments;

    if (tool->quiet)
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    print_message(path, message);
}

void tool_warn(const char *path, const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    print_message(path, message);
}
