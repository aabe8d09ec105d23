/* SPDX-License-Identifier: MIT */
#include "figures/cast.h"

#include "base/time.h"
#include "listen/listener.h"
#include "sys/accept.h"
#include "sys/connect.h"
#include "sys/fd.h"
#include "sys/process.h"
#include "sys/ready.h"
#include "sys/socket.h"
#include "sys/stream.h"

#include <errno.h>
#include <signal.h>

#define CHILDREN_MAX 8
#define BACKLOG      8
/* Shorter than what the teller waits, so that a failure is reported and not only missed. */
#define WAIT_NS SECOND_NS

struct server {
    int channel;
    struct listeners listeners;
    pid_t children[CHILDREN_MAX];
    size_t child_count;
};

struct client {
    int channel;
    int fd; /* connected; -1: not */
    uint16_t port;
};

/* Nobody is there to hear of a failure of this. */
static void report(int channel, struct actor_report *report)
{
    report->pid = process_self();
    fd_write(channel, true, (char *)report, sizeof(*report));
}

static bool read_order(int channel, struct cast_order *ret_order)
{
    return stream_read(channel, ret_order, sizeof(*ret_order)) == (ssize_t)sizeof(*ret_order);
}

/* -1 with errno where the descriptor does not become ready in time. */
static int wait_for(int fd, short events)
{
    struct pollfd waited = {.fd = fd, .events = events};
    int ready = ready_wait(&waited, 1, WAIT_NS);

    if (ready == 0)
        errno = ETIMEDOUT;
    return ready > 0 ? 0 : -1;
}

/* One line, as much of it as there is room for. */
static int read_line(int fd, char line[ACTOR_LINE_SIZE])
{
    ssize_t length = ready_read(fd, line, ACTOR_LINE_SIZE - 1);

    if (length <= 0)
        return -1;
    if (line[length - 1] == '\n')
        length--;
    line[length] = '\0';
    return 0;
}

static int write_text(int fd, struct text *text)
{
    text_end(text);
    return stream_write(fd, text->start, text_length(text)) ? 0 : -1;
}

/* The child keeps the connected socket alone, and answers each line with who has read it. */
__attribute__((noreturn)) static void serve_connection(struct server *server, int fd)
{
    struct actor_report served = {.of_child = true, .status = FP_OK};
    char answer[ACTOR_LINE_SIZE];
    struct text text;

    listeners_done(&server->listeners);
    report(server->channel, &served);
    while (read_line(fd, served.line) == 0) {
        text_init(&text, answer, sizeof(answer));
        text_printf(&text, "process %d has read it\n", (int)process_self());
        if (write_text(fd, &text) < 0)
            break;
        report(server->channel, &served);
    }
    process_exit(0);
}

static enum fp_status listen_on(struct server *server, const struct address *address, struct fp_error *err)
{
    struct address_list list = {.items = (struct address *)address, .count = 1};

    listeners_done(&server->listeners);
    enum fp_status status = listeners_open(&list, BACKLOG, &server->listeners, err);
    if (status == FP_OK)
        socket_reset_at_close(server->listeners.items[0].fd);
    return status;
}

static enum fp_status bind_again(const struct server *server, const struct address *address,
                                 struct fp_error *err)
{
    struct sockaddr_storage sa;
    socklen_t length = address_to_sockaddr(address, &sa);

    if (socket_bind(server->listeners.items[0].fd, (struct sockaddr *)&sa, length) == 0)
        return FP_OK;
    return error_set(err, FP_UNAVAILABLE, errno, "bind", "a listening socket to one address more");
}

static enum fp_status await(const struct server *server, struct fp_error *err)
{
    if (wait_for(server->listeners.items[0].fd, POLLIN) == 0)
        return FP_OK;
    return error_set(err, FP_SYSTEM, errno, "wait for", "a connection request");
}

/* The book's own: accept, fork, and the connected socket is closed here. */
static enum fp_status accept_and_fork(struct server *server, struct fp_error *err)
{
    struct accepted accepted;

    if (accept_connection(server->listeners.items[0].fd, &accepted) != ACCEPT_CONNECTION)
        return error_set(err, FP_SYSTEM, accepted.errnum, "accept", "a connection");
    FD_AUTO fd = accepted.fd;
    if (server->child_count == CHILDREN_MAX)
        return error_set(err, FP_BUG, ENOSPC, "fork", "so many children");
    pid_t pid = process_fork();
    if (pid < 0)
        return error_set(err, FP_SYSTEM, errno, "fork", "a child");
    if (pid == 0)
        serve_connection(server, fd);
    server->children[server->child_count++] = pid;
    return FP_OK;
}

static enum fp_status obey(struct server *server, const struct cast_order *order, struct fp_error *err)
{
    if (order->verb == ORDER_LISTEN)
        return listen_on(server, &order->pair.local, err);
    if (server->listeners.count == 0)
        return error_set(err, FP_BUG, 0, "obey", "before it listens");
    if (order->verb == ORDER_BIND_AGAIN)
        return bind_again(server, &order->pair.local, err);
    if (order->verb == ORDER_AWAIT)
        return await(server, err);
    return accept_and_fork(server, err);
}

void cast_serve(int channel)
{
    struct server server = {.channel = channel};
    struct cast_order order;

    while (read_order(channel, &order)) {
        struct actor_report done = {.of_child = false};
        done.status = obey(&server, &order, &done.error);
        report(channel, &done);
    }
    for (size_t i = 0; i < server.child_count; i++) {
        process_signal(server.children[i], SIGKILL);
        process_wait(server.children[i]);
    }
}

static int connect_from(const struct pair *pair, int *ret_fd)
{
    struct sockaddr_storage from;
    struct sockaddr_storage to;
    enum connect_step step;
    struct connect_socket how = {
        .to = (struct sockaddr *)&to,
        .to_length = address_to_sockaddr(&pair->foreign, &to),
        .from = (struct sockaddr *)&from,
        .from_length = address_to_sockaddr(&pair->local, &from),
        .device = "",
    };

    FD_AUTO fd = connect_socket_begin(&how, &step);
    if (fd < 0 || socket_reset_at_close(fd) < 0 || wait_for(fd, POLLOUT) < 0)
        return -1;
    errno = connect_socket_result(fd);
    if (errno != 0)
        return -1;
    *ret_fd = fd_take(&fd);
    return 0;
}

static enum fp_status active_open(struct client *client, const struct pair *pair, struct fp_error *err)
{
    char foreign[ADDRESS_TEXT_SIZE];
    struct text text;

    if (connect_from(pair, &client->fd) == 0) {
        client->port = pair->local.port;
        return FP_OK;
    }
    int errnum = errno;
    text_init(&text, foreign, sizeof(foreign));
    address_format(&pair->foreign, &text);
    text_end(&text);
    return error_set(err, FP_UNAVAILABLE, errnum, "connect to", "%s from port %u", foreign, pair->local.port);
}

static enum fp_status say(const struct client *client, char ret_line[ACTOR_LINE_SIZE], struct fp_error *err)
{
    char line[ACTOR_LINE_SIZE];
    struct text text;

    text_init(&text, line, sizeof(line));
    text_printf(&text, "from port %u\n", client->port);
    if (write_text(client->fd, &text) == 0 && wait_for(client->fd, POLLIN) == 0 &&
        read_line(client->fd, ret_line) == 0)
        return FP_OK;
    return error_set(err, FP_SYSTEM, errno, "be served", "from port %u", client->port);
}

void cast_connect(int channel)
{
    struct client client = {.channel = channel, .fd = -1};
    struct cast_order order;

    while (read_order(channel, &order)) {
        struct actor_report done = {.of_child = false};
        if (order.verb == ORDER_CONNECT)
            done.status = active_open(&client, &order.pair, &done.error);
        else
            done.status = say(&client, done.line, &done.error);
        report(channel, &done);
    }
}
