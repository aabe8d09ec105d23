/* SPDX-License-Identifier: MIT
 *
 * A server in this process, and its clients in a thread. Included by one file of a test program.
 */
#ifndef TESTS_UNIT_SERVE_VISIT_H
#define TESTS_UNIT_SERVE_VISIT_H

#include <forkport/server.h>

#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* What the clients of a test do, in order, and what came of it. */
struct visit {
    struct fp_server *server;
    const char *say; /* by each, or NULL */
    int clients;
    char heard[4096]; /* by all of them, one after another */
    size_t length;
};

static int connect_to(const struct fp_server *server)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    /* "{127.0.0.1:PORT, *:*}" */
    sa.sin_port = htons((uint16_t)atoi(strchr(fp_server_pair(server, 0), ':') + 1));
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        abort();
    return fd;
}

static void *run_clients(void *data)
{
    struct visit *visit = data;

    for (int i = 0; i < visit->clients; i++) {
        int fd = connect_to(visit->server);
        ssize_t length;
        if (visit->say != NULL && write(fd, visit->say, strlen(visit->say)) < 0)
            abort();
        shutdown(fd, SHUT_WR);
        while ((length = read(fd, visit->heard + visit->length, sizeof(visit->heard) - 1 - visit->length)) >
               0)
            visit->length += (size_t)length;
        close(fd);
    }
    fp_server_stop(visit->server);
    return NULL;
}

/* A thread beside the server's, which leaves the signals to it. */
static void start_thread(pthread_t *ret_thread, void *(*run)(void *data), void *data)
{
    sigset_t all;
    sigset_t old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    assert_int_equal(pthread_create(ret_thread, NULL, run, data), 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Runs the server for the clients of a visit, who come in their own way; what it returns. */
static enum fp_status run_for(struct visit *visit, void *(*clients)(void *visit))
{
    struct fp_error err = {.status = FP_OK};
    pthread_t thread;

    assert_int_equal(fp_server_open(visit->server, &err), FP_OK);
    start_thread(&thread, clients, visit);
    enum fp_status status = fp_server_run(visit->server, &err);
    pthread_join(thread, NULL);
    return status;
}

static enum fp_status run(struct visit *visit)
{
    return run_for(visit, run_clients);
}

static struct fp_server *make(fp_handler *handler)
{
    struct fp_server *server = fp_server_new(NULL);

    assert_non_null(server);
    assert_int_equal(fp_server_listen(server, "127.0.0.1:0", NULL), FP_OK);
    if (handler != NULL)
        fp_server_handler(server, handler, NULL);
    return server;
}

#endif
