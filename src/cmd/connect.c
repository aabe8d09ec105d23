/* SPDX-License-Identifier: MIT */
#include "client/connect.h"

#include "addr/resolve.h"
#include "client/execute.h"
#include "client/relay.h"
#include "cmd/cmd.h"
#include "sys/fd.h"
#include "sys/program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* A day: beyond that, somebody has mistaken the unit. */
#define TIMEOUT_MAX_S 86400

struct arguments {
    const char *server;
    const char *from;
    uint64_t timeout_s; /* 0: the kernel's */
    bool quiet;
    bool help;
    char **program; /* NULL: relay */
};

static const char help_text[] =
    "usage: forkport connect ADDRESS [OPTION...] [-- PROGRAM [ARGUMENT...]]\n"
    "\n"
    "Connects to ADDRESS, which is localhost:2121, 192.0.2.1:ftp, [2001:db8::1]:21 or [fe80::1%eth0]:21, "
    "and\n"
    "relays standard input to it and what it sends to standard output; or becomes PROGRAM, with the\n"
    "connection on descriptors 0 and 1, and 6 and 7.\n"
    "\n"
    "  --from ADDRESS[,ADDRESS]\n"
    "      the local end: its address, its port (0: any), or both\n"
    "  --timeout SECONDS\n"
    "      give up when no connection was made by then (default: when the kernel does, after some minutes)\n"
    "  --quiet\n"
    "      do not print the socket pair\n"
    "  --help\n"
    "      print this\n";

static enum fp_status usage(struct fp_error *err, const char *what, const char *reason)
{
    return error_reason(err, error_set(err, FP_USAGE, 0, "connect", "%s", what), "%s", reason);
}

/* "--name=VALUE" or "--name" "VALUE": the value; NULL: it is another option, or the value is missing. */
static const char *option_value(const char *name, int argc, char **argv, int *at)
{
    size_t length = strlen(name);

    if (strncmp(argv[*at], name, length) != 0)
        return NULL;
    if (argv[*at][length] == '=')
        return argv[*at] + length + 1;
    return argv[*at][length] == '\0' && *at + 1 < argc ? argv[++*at] : NULL;
}

static enum fp_status parse_option(struct arguments *arguments, int argc, char **argv, int *at,
                                   struct fp_error *err)
{
    const char *option = argv[*at];
    const char *value;

    if (strcmp(option, "--quiet") == 0) {
        arguments->quiet = true;
    } else if (strcmp(option, "--help") == 0) {
        arguments->help = true;
    } else if ((value = option_value("--from", argc, argv, at)) != NULL) {
        arguments->from = value;
    } else if ((value = option_value("--timeout", argc, argv, at)) != NULL) {
        if (!text_parse_unsigned(value, TIMEOUT_MAX_S, &arguments->timeout_s) || arguments->timeout_s == 0)
            return usage(err, option, "seconds are expected, 1 to 86400");
    } else if (strcmp(option, "--from") == 0 || strcmp(option, "--timeout") == 0) {
        return usage(err, option, "a value is expected behind it");
    } else {
        return usage(err, option, "there is no such option (see forkport connect --help)");
    }
    return FP_OK;
}

static enum fp_status parse_arguments(struct arguments *arguments, int argc, char **argv,
                                      struct fp_error *err)
{
    for (int at = 1; at < argc; at++) {
        if (strcmp(argv[at], "--") == 0) {
            arguments->program = argv + at + 1;
            break;
        }
        enum fp_status status = FP_OK;
        if (argv[at][0] == '-')
            status = parse_option(arguments, argc, argv, &at, err);
        else if (arguments->server != NULL)
            status = usage(err, argv[at], "one address is expected, and -- before the program");
        else
            arguments->server = argv[at];
        if (status != FP_OK)
            return status;
    }
    if (arguments->help)
        return FP_OK;
    if (arguments->server == NULL)
        return usage(err, "", "an address is expected, as in forkport connect localhost:2121");
    if (arguments->program != NULL && arguments->program[0] == NULL)
        return usage(err, arguments->server, "a program is expected behind --");
    return FP_OK;
}

static void print_pair(const struct pair *pair)
{
    char shown[PAIR_TEXT_SIZE];
    struct text text;

    text_init(&text, shown, sizeof(shown));
    pair_format(pair, &text);
    text_end(&text);
    fprintf(stderr, "connected %s\n", shown);
}

static enum fp_status open_connection(const struct arguments *arguments, int *ret_fd, struct pair *ret_pair,
                                      struct fp_error *err)
{
    struct address_list servers = {.count = 0};
    struct address_list from = {.count = 0};
    struct connect_request request = {
        .servers = &servers,
        .from = &from,
        .timeout_ns = (int64_t)arguments->timeout_s * 1000000000,
    };

    enum fp_status status = address_list_resolve(arguments->server, &servers, err);
    if (status == FP_OK && arguments->from != NULL)
        status = address_list_parse(arguments->from, &from, err);
    if (status == FP_OK)
        status = connect_open(&request, ret_fd, ret_pair, err);
    address_list_done(&servers);
    address_list_done(&from);
    return status;
}

static enum fp_status run(const struct arguments *arguments, const char *path, struct fp_error *err)
{
    struct pair pair;
    int fd;

    enum fp_status status = open_connection(arguments, &fd, &pair, err);
    if (status != FP_OK)
        return status;
    if (!arguments->quiet)
        print_pair(&pair);
    if (path != NULL)
        return execute_program(fd, &pair, path, arguments->program, err);
    struct relay relay = {
        .socket = fd,
        .input = STDIN_FILENO,
        .output = STDOUT_FILENO,
        /* Who types sees that the server has ended, and does not expect to be asked for more. */
        .end_with_peer = fd_is_terminal(STDIN_FILENO),
        .pair = &pair,
    };
    status = relay_run(&relay, err);
    fd_close(fd);
    return status;
}

int cmd_connect(int argc, char **argv)
{
    struct arguments arguments = {.quiet = false};
    struct fp_error err;
    char *path = NULL;

    enum fp_status status = parse_arguments(&arguments, argc, argv, &err);
    if (status == FP_OK && arguments.help) {
        fputs(help_text, stdout);
        return EX_OK;
    }
    /* Looked for first: a server need not see a connection that nobody can use. */
    if (status == FP_OK && arguments.program != NULL && (path = program_find(arguments.program[0])) == NULL)
        status = error_set(&err, error_class(errno), errno, "run", "%s", arguments.program[0]);
    if (status == FP_OK)
        status = run(&arguments, path, &err);
    free(path);
    return status == FP_OK ? EX_OK : cmd_fail(&err);
}
