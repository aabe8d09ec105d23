/* SPDX-License-Identifier: MIT */
#include "client/connect.h"

#include "addr/resolve.h"
#include "base/time.h"
#include "client/execute.h"
#include "client/relay.h"
#include "cmd/cmd.h"
#include "cmd/command_line.h"
#include "sys/fd.h"
#include "sys/program.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

struct arguments {
    const char *server;
    const char *from;
    uint64_t timeout_s; /* 0: the kernel's */
    bool quiet;
    char **program; /* NULL: relay */
};

#define OPTION(name, kind, member, least, most, placeholder, help) \
    {#name, COMMAND_##kind, offsetof(struct arguments, member), least, most, placeholder, help},
static const struct command_option options[] = {
#include "cmd/connect.def"
};
#undef OPTION

static enum fp_status set_server(void *data, const char *operand, struct fp_error *err);

static const struct command_line line = {
    .name = "connect",
    .doing = "connect",
    .usage = "usage: forkport connect ADDRESS [OPTION...] [-- PROGRAM [ARGUMENT...]]\n"
             "\n"
             "Connects to ADDRESS, which is localhost:2121, 192.0.2.1:ftp, [2001:db8::1]:21 or\n"
             "[fe80::1%eth0]:21, and relays standard input to it and what it sends to standard output;\n"
             "or becomes PROGRAM, with the connection on descriptors 0 and 1, and 6 and 7.\n",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .program_offset = offsetof(struct arguments, program),
    .operand = set_server,
};

static enum fp_status set_server(void *data, const char *operand, struct fp_error *err)
{
    struct arguments *arguments = data;

    if (arguments->server != NULL)
        return command_line_usage(&line, operand, "one address is expected, and -- before the program", err);
    arguments->server = operand;
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
        .timeout_ns = (int64_t)arguments->timeout_s * SECOND_NS,
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
    bool help;

    enum fp_status status = command_line_parse(&line, argc, argv, &arguments, &help, &err);
    if (status == FP_OK && help)
        return EX_OK;
    if (status == FP_OK && arguments.server == NULL)
        status = command_line_usage(&line, "",
                                    "an address is expected, as in forkport connect localhost:2121", &err);
    /* Looked for first: a server need not see a connection that nobody can use. */
    if (status == FP_OK && arguments.program != NULL && (path = program_find(arguments.program[0])) == NULL)
        status = error_set(&err, error_class(errno), errno, "run", "%s", arguments.program[0]);
    if (status == FP_OK)
        status = run(&arguments, path, &err);
    free(path);
    return status == FP_OK ? EX_OK : cmd_fail(&err);
}
