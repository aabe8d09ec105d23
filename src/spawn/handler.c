/* SPDX-License-Identifier: MIT */
#include "spawn/handler.h"

#include "sys/process.h"
#include "sys/resolve.h"
#include "sys/signals.h"
#include "sys/socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

struct fp_connection {
    struct pair pair;
    uint64_t number;
    char pair_text[PAIR_TEXT_SIZE];
};

int fp_connection_fd(const struct fp_connection *connection)
{
    (void)connection;
    return 0;
}

const char *fp_connection_pair(const struct fp_connection *connection)
{
    return connection->pair_text;
}

socklen_t fp_connection_foreign(const struct fp_connection *connection, struct sockaddr_storage *ret_address)
{
    return address_to_sockaddr(&connection->pair.foreign, ret_address);
}

socklen_t fp_connection_local(const struct fp_connection *connection, struct sockaddr_storage *ret_address)
{
    return address_to_sockaddr(&connection->pair.local, ret_address);
}

uint64_t fp_connection_number(const struct fp_connection *connection)
{
    return connection->number;
}

static int call_handler(const struct spawn_plan *plan, const struct spawn_request *request)
{
    struct fp_connection connection = {.pair = *request->pair, .number = request->connection};
    struct text text;

    text_init(&text, connection.pair_text, sizeof(connection.pair_text));
    pair_format(&connection.pair, &text);
    text_end(&text);
    int status = plan->handler(&connection, plan->handler_data);
    fflush(NULL);
    /* The handler may have closed the socket: then nobody knows any more, and the report says so. */
    struct socket_bytes bytes = socket_bytes(0);
    request->report->bytes_in = bytes.in;
    request->report->bytes_out = bytes.out;
    return status;
}

/* The client's name, where it has one that leads back to it, as the last entry of the environment. */
static void add_name(const struct spawn_request *request, char **end)
{
    static char variable[sizeof("TCPREMOTEHOST=") + RESOLVE_NAME_SIZE] = "TCPREMOTEHOST=";
    struct sockaddr_storage foreign;
    socklen_t length = address_to_sockaddr(&request->pair->foreign, &foreign);

    if (resolve_name((struct sockaddr *)&foreign, length, variable + strlen(variable))) {
        end[0] = variable;
        end[1] = NULL;
    }
}

__attribute__((noreturn)) static void run_copy(const struct spawn_plan *plan,
                                               const struct spawn_request *request)
{
    size_t env_size = environment_size(&plan->environment);
    char texts[ENVIRONMENT_TEXT_SIZE];
    char **envp = calloc(env_size + 1, sizeof(char *));
    struct child_setup setup = plan->setup;

    setup.socket_fd = request->fd;
    if (plan->stderr_socket)
        setup.stderr_fd = request->fd;
    if (envp == NULL || !child_prepare(&setup, request->report))
        process_exit(CHILD_FAILED);
    environment_fill(&plan->environment, request, envp, texts);
    environ = envp;
    if (plan->path == NULL)
        process_exit(call_handler(plan, request) & 255);
    add_name(request, envp + env_size - 1);
    process_execute(plan->path, plan->argv, envp);
    request->report->errnum = errno;
    request->report->step = CHILD_STEP_PROGRAM;
    process_exit(CHILD_FAILED);
}

enum fp_status handler_start(const struct spawn_plan *plan, const struct spawn_request *request,
                             pid_t *ret_pid, struct fp_error *err)
{
    /* The tables of the supervisor are left out of the copy: what it needs of them goes along on the stack. */
    struct pair pair = *request->pair;
    struct spawn_request copied = *request;
    bool guarded = plan->setup.default_signals != 0;
    sigset_t old;

    copied.pair = &pair;
    if (guarded)
        signals_block_all(&old);
    pid_t pid = process_fork();
    if (pid == 0)
        run_copy(plan, &copied);
    int errnum = errno;
    if (guarded)
        signals_set_mask(&old, NULL);
    if (pid < 0)
        return error_set(err, FP_SYSTEM, errnum, "fork", "a worker");
    *ret_pid = pid;
    return FP_OK;
}
