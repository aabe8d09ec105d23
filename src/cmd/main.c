/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"

#include "base/error.h"
#include "sys/fd.h"
#include "version.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct command commands[] = {
    {"serve", cmd_serve,
     "serve a program, or a builtin service, on TCP ports: a process for each connection"},
    {"connect", cmd_connect, "connect to a TCP server: relay standard input and output, or run a program"},
    {"pairs", cmd_pairs, "show every TCP socket pair of the host, and the processes that hold it"},
    {"demux", cmd_demux, "say which endpoint receives a segment, and why: one, those of a capture, or live"},
    {"figures", cmd_figures, "play section 2.10 on real sockets, draw its figures, check what it says"},
    {"doctor", cmd_doctor, "say what this build and this host lack, and what follows from that"},
};

int cmd_fail(const struct fp_error *err)
{
    char message[3072]; /* room for all of an error, though each byte of it were escaped */

    fp_error_format(err, message, sizeof(message));
    fprintf(stderr, "forkport: %s\n", message);
    return fp_status_exit_code(err->status);
}

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *out)
{
    fputs("usage: forkport COMMAND [ARGUMENT...]\n\n", out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
    fputs("\n`forkport COMMAND --help` tells more of each, and so do the manual pages forkport(1)\n"
          "and forkport-COMMAND(1). `forkport --version` prints the version.\n",
          out);
}

static bool is_word(const char *argument, const char *word, const char *other)
{
    return strcmp(argument, word) == 0 || strcmp(argument, other) == 0;
}

static int run(int argc, char **argv)
{
    char *help[] = {argv[1], argv[2], (char[]){"--help"}, NULL};
    struct fp_error err;

    /* "help COMMAND" is "COMMAND --help". */
    if (argc > 2 && strcmp(argv[1], "help") == 0)
        return run(3, help);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    if (is_word(argv[1], "--help", "-h") || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return EX_OK;
    }
    if (is_word(argv[1], "--version", "-V")) {
        puts("forkport " FORKPORT_VERSION);
        return EX_OK;
    }
    error_set(&err, FP_USAGE, 0, "run the command", "%s", argv[1]);
    error_reason(&err, FP_USAGE, "there is none of that name (see forkport --help)");
    return cmd_fail(&err);
}

int main(int argc, char **argv)
{
    struct fp_error err;

    /* With one of these closed, the next descriptor opened would take its place and be written to as if it were it. */
    if (fd_hold_standard() < 0) {
        error_set(&err, FP_SYSTEM, errno, "open", "/dev/null as a standard descriptor");
        return cmd_fail(&err);
    }
    if (argc < 2) {
        print_help(stderr);
        return EX_USAGE;
    }
    int code = run(argc, argv);
    /* From EX__BASE on it has failed and said so; below, it has an answer. */
    if (code >= EX__BASE || (fflush(stdout) == 0 && !ferror(stdout)))
        return code;
    error_set(&err, FP_SYSTEM, errno, "print", "to standard output");
    return cmd_fail(&err);
}
