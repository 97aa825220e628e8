/* SPDX-License-Identifier: MIT */
/*
 * main.c - the `holdfast` command: finds the subcommand and runs it
 *
 * Called under a name that ends in fsck.holdfast it is `holdfast fsck`, so that fsck(8) finds it.
 */
#include "tools/commands.h"
#include "tools/common/output.h"

#include "holdfast/holdfast.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS_DEFAULT 10000

static const struct tool_command *const commands[] = {
    &command_create, &command_put,  &command_get,  &command_ls,   &command_rm,     &command_import,
    &command_export, &command_stat, &command_fsck, &command_grow, &command_shrink,
    &command_trim, &command_compact, &command_readers, &command_log, &command_archive, &command_restore, &command_snapshot, &command_verify, &command_dump, &command_load, &command_salvage,
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

/*
 * A standard descriptor that came closed is opened on /dev/null the wrong way round, so that using
 * it fails. Otherwise the store's file would get its number, and messages would be written into it.
 */
static bool fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            return false;
    }
    return true;
}

static void print_overview(FILE *out)
{
    fputs("Usage: holdfast COMMAND [OPTION...] FILE [...]\n"
          "\n"
          "Works on Holdfast stores: named objects in a memory-mapped file.\n"
          "\n"
          "Commands:\n",
          out);
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n"
          "  holdfast COMMAND --help    options, exit codes and an example\n"
          "  holdfast --version         the version of the library\n"
          "\n"
          "Every command has --json. Sizes take the suffixes K, M, G, T and P (powers of 1024).\n",
          out);
}

static const struct tool_command *find_command(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int run(const struct tool_command *command, int argc, char **argv)
{
    struct tool tool = {.command = command, .argc = argc, .argv = argv, .wait_ms = WAIT_MS_DEFAULT};

    optind = 0; /* makes getopt_long begin anew, at argv[1] */
    return output_finish(command->run(&tool), command->is_fsck);
}

static bool is_fsck_name(const char *name)
{
    static const char suffix[] = "fsck.holdfast";
    size_t length = strlen(name);

    return length >= sizeof suffix - 1 && strcmp(name + length - (sizeof suffix - 1), suffix) == 0;
}

int main(int argc, char **argv)
{
    const struct tool_command *command;

    if (!fill_standard_descriptors())
        return TOOL_OTHER;
    /* A reader of ours that goes away is an error of write, so that the store is closed first. */
    signal(SIGPIPE, SIG_IGN);
    if (argc > 0 && is_fsck_name(argv[0]))
        return run(&command_fsck, argc, argv);
    if (argc < 2) {
        print_overview(stderr);
        return TOOL_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("holdfast %s\n", hf_version());
        return output_finish(TOOL_OK, false);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_overview(stdout);
        return output_finish(TOOL_OK, false);
    }
    if (strcmp(argv[1], "help") == 0) {
        command = find_command(argv[2]);
        if (command != NULL) {
            tool_print_help(command);
            return output_finish(TOOL_OK, false);
        }
        argv++;
    }
    command = find_command(argv[1]);
    if (command == NULL) {
        fprintf(stderr, "holdfast: there is no command \"%s\"; holdfast --help lists them\n",
                argv[1]);
        return TOOL_USAGE;
    }
    return run(command, argc - 1, argv + 1);
}
