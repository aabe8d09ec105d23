/* SPDX-License-Identifier: MIT */
#include "spawn/handler.h"

#include "sys/child.h"
#include "sys/process.h"
#include "sys/resolve.h"
#include "sys/signals.h"
#include "sys/socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

/* What a copy runs stands together: each of its pages that the copy comes to must be mapped for it. */
#define IN_COPY __attribute__((hot))

#if defined(__x86_64__)
#define NO_CALLER ".cfi_undefined rip"
#elif defined(__aarch64__)
#define NO_CALLER ".cfi_undefined x30"
#endif

struct fp_connection {
    struct pair pair;
    uint64_t number;
    const char *pair_text;
};

IN_COPY int fp_connection_fd(const struct fp_connection *connection)
{
    (void)connection;
    return 0;
}

IN_COPY const char *fp_connection_pair(const struct fp_connection *connection)
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

/*
 * What the copy needs, on the stack when it is made: the tables of the supervisor are left out of the copy. With the frames of those who
 * call it takes less than the page that they begin at the end of (supervisor_run()).
 */
struct copy {
    struct spawn_plan plan; /* with the connection's descriptors in its setup */
    volatile struct child_report *report;
    struct fp_connection connection;
    bool purges_output;
    bool purges_errors;
    bool purges_input;
    bool has_fork_handlers;
    char **envp;
};

/* How much waits in the buffer of a stream: without a call of the C library where that can be seen from here. */
static inline size_t output_pending(FILE *stream)
{
#if defined(__GLIBC__)
    /* Wide characters wait elsewhere. */
    return stream->_mode > 0 ? __fpending(stream) : (size_t)(stream->_IO_write_ptr - stream->_IO_write_base);
#else
    return __fpending(stream);
#endif
}

/*
 * What the program had in the buffers of stdio when it was copied, such as the lines of its own log, is not the
 * client's to read, nor is its input the handler's. The program writes and reads it itself. Asked before the copy is made.
 */
static void empty_streams(const struct copy *copy)
{
    if (copy->purges_output) {
        __fpurge(stdout);
        clearerr(stdout);
    }
    if (copy->purges_errors)
        __fpurge(stderr);
    if (copy->purges_input) {
        __fpurge(stdin);
        clearerr(stdin);
    }
}

IN_COPY static int call_handler(struct copy *copy)
{
    empty_streams(copy);
    long worker = child_self();
    int status = copy->plan.handler(&copy->connection, copy->plan.handler_data);

    /* Asked first, since flushing would write to pages that are still shared with the supervisor. */
    if (output_pending(stdout) != 0)
        fflush(stdout);
    if (output_pending(stderr) != 0)
        fflush(stderr);
    /* A process that the handler forked may return from it, too, when the report is another connection's already. */
    if (child_self() != worker)
        return status;
    /* The handler may have closed the socket: then nobody knows any more, and the report says so. */
    struct socket_bytes bytes = socket_bytes(0);
    copy->report->bytes_in = bytes.in;
    copy->report->bytes_out = bytes.out;
    return status;
}

/* The client's name, where it has one that leads back to it, as the last entry of the environment. */
static void add_name(const struct copy *copy)
{
    static char variable[sizeof("TCPREMOTEHOST=") + RESOLVE_NAME_SIZE] = "TCPREMOTEHOST=";
    char **end = copy->envp + environment_size(&copy->plan.environment) - 1;
    struct sockaddr_storage foreign;
    socklen_t length = address_to_sockaddr(&copy->connection.pair.foreign, &foreign);

    if (resolve_name((struct sockaddr *)&foreign, length, variable + strlen(variable))) {
        end[0] = variable;
        end[1] = NULL;
    }
}

/*
 * In the child. Until the handler runs it calls next to nothing: each page it touches is one that must be copied or mapped.
 * It has no caller for those who unwind the stack, so an exception that a handler lets go ends its process, as one does that
 * leaves main(), and finds no catch of the server's.
 */
IN_COPY __attribute__((noreturn, noinline)) static void run_copy(struct copy *copy)
{
    __asm__ volatile(NO_CALLER);
    if (!child_prepare(&copy->plan.setup, copy->report))
        child_exit(CHILD_FAILED);
    if (environ != copy->envp)
        environ = copy->envp;
    if (copy->plan.path == NULL)
        child_exit(call_handler(copy) & 255);
    add_name(copy);
    process_execute(copy->plan.path, copy->plan.argv, copy->envp);
    copy->report->errnum = errno;
    copy->report->step = CHILD_STEP_PROGRAM;
    child_exit(CHILD_FAILED);
}

/* With the worker's variables in their place for as long as that takes. */
IN_COPY static pid_t fork_copy(struct engine *engine, const struct spawn_request *request, struct copy *copy)
{
    const struct environment *environment = &engine->plan->environment;
    size_t size = environment_size(environment) + 1;
    /* Fork handlers would find them there, and what they set would be lost. */
    char **lent = copy->has_fork_handlers ? NULL : environ_lend(&engine->environ);
    char **many = NULL;

    if (lent == NULL && size > ENVIRON_SIZE) {
        many = calloc(size, sizeof(char *));
        if (many == NULL)
            return -1;
    }
    copy->envp = lent != NULL ? lent : many != NULL ? many : __builtin_alloca(size * sizeof(char *));
    size_t bytes = environment_fill(environment, request, copy->envp, engine->texts);
    environment_moved(environment, copy->envp, engine->texts,
                      memcpy(__builtin_alloca(bytes), engine->texts, bytes));
    copy->connection = (struct fp_connection){
        .pair = *request->pair,
        .number = request->connection,
        .pair_text = environment_pair(environment, copy->envp),
    };
    pid_t pid = fork_handlers_fork(&engine->fork_handlers, copy->has_fork_handlers);
    if (pid == 0)
        run_copy(copy);
    if (lent != NULL)
        environ_take_back(&engine->environ);
    free(many);
    return pid;
}

IN_COPY enum fp_status handler_start(struct engine *engine, const struct spawn_request *request,
                                     pid_t *ret_pid, struct fp_error *err)
{
    const struct spawn_plan *plan = engine->plan;
    struct copy copy = {.plan = *plan, .report = request->report};
    sigset_t old;

    if (plan->flushes)
        engine_flush();
    copy.purges_output = output_pending(stdout) != 0 || ferror_unlocked(stdout);
    copy.purges_errors = output_pending(stderr) != 0;
    copy.purges_input = __fbufsize(stdin) != 0;
    copy.has_fork_handlers = fork_handlers_possible(&engine->fork_handlers);
    plan_setup(plan, request, &copy.plan.setup);
    /* The program's handlers of signals are neither for the worker nor to find its variables. */
    bool guarded = copy.plan.setup.default_signals != 0;
    if (guarded)
        signals_block_all(&old);
    pid_t pid = fork_copy(engine, request, &copy);
    /* Read only where it says something: to write it is to have its page copied. */
    int errnum = pid < 0 ? errno : 0;
    if (guarded)
        signals_set_mask(&old, NULL);
    if (pid < 0)
        return error_set(err, FP_SYSTEM, errnum, "fork", "a worker");
    *ret_pid = pid;
    return FP_OK;
}
