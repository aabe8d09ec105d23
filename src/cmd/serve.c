/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"
#include "cmd/command_line.h"
#include "config/options.h"
#include "serve/server.h"
#include "sys/fd.h"
#include "sys/signals.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static void print_help(void)
{
    const char *section = "";

    puts("usage: forkport serve ADDRESS[,ADDRESS...] [OPTION...] -- PROGRAM [ARGUMENT...]\n"
         "       forkport serve ADDRESS[,ADDRESS...] [OPTION...] --builtin NAME\n\n"
         "ADDRESS is 21 or *:21 (any), 0.0.0.0:21, [::]:21 (any of a family), 192.0.2.1:21,\n"
         "[2001:db8::1]:21, [fe80::1%eth0]:21, localhost:ftp, or 192.0.2.1%eth0:21 (bound\n"
         "to a device). Port 0 takes a free port. Defaults stand in parentheses.");
    for (size_t i = 0; i < option_row_count; i++) {
        if (strcmp(option_rows[i].section, section) != 0)
            printf("\n%s:\n", section = option_rows[i].section);
        command_line_print_option(option_rows[i].name, option_rows[i].placeholder,
                                  option_rows[i].default_text, option_rows[i].help);
    }
}

/* Before anything is opened, lest a wrong number be that of a descriptor of our own. */
static enum fp_status check_ready(int fd, struct fp_error *err)
{
    if (fd < 0 || fd_is_inherited(fd))
        return FP_OK;
    return error_set(err, FP_USAGE, EBADF, "write the pairs to", "descriptor %d of --ready-fd", fd);
}

static enum fp_status serve(struct fp_server *server, int argc, char **argv, struct fp_error *err)
{
    enum fp_status status = options_parse(server_config(server), argc, argv, err);

    if (status == FP_OK)
        status = check_ready(server_config(server)->ready_fd, err);
    if (status != FP_OK)
        return status;
    server_log_to(server, STDERR_FILENO);
    return fp_server_run(server, err);
}

int cmd_serve(int argc, char **argv)
{
    struct fp_error err;

    if (command_line_wants_help(argc, argv)) {
        print_help();
        return EX_OK;
    }
    signals_reset_ignored();
    struct fp_server *server = fp_server_new(&err);
    if (server == NULL)
        return cmd_fail(&err);
    enum fp_status status = serve(server, argc, argv, &err);
    fp_server_free(server);
    return status == FP_OK ? EX_OK : cmd_fail(&err);
}
