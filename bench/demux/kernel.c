/* SPDX-License-Identifier: MIT */
#include "kernel.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH      50
#define TCP_STATES 0xfff

struct query {
    struct nlmsghdr header;
    struct inet_diag_req_v2 request;
};

struct connection {
    int client;
    int server;
    uint64_t cookie; /* of the server's end */
    struct sockaddr_in local;
    struct sockaddr_in foreign;
};

static int failed(const char *what)
{
    perror(what);
    return -1;
}

/* Ends by a reset, so that nothing stays in TIME-WAIT. */
static void connection_close(struct connection *connection)
{
    struct linger now = {.l_onoff = 1};

    setsockopt(connection->client, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(connection->client);
    close(connection->server);
}

static bool connection_open(int listening, const struct sockaddr_in *address,
                            struct connection *ret_connection)
{
    struct connection connection = {.client = socket(AF_INET, SOCK_STREAM, 0)};
    socklen_t length = sizeof(connection.local);
    socklen_t cookie_length = sizeof(connection.cookie);

    if (connection.client < 0)
        return false;
    connection.server = connect(connection.client, (const struct sockaddr *)address, sizeof(*address)) == 0
                            ? accept(listening, (struct sockaddr *)&connection.foreign, &length)
                            : -1;
    if (connection.server < 0) {
        close(connection.client);
        return false;
    }
    getsockopt(connection.server, SOL_SOCKET, SO_COOKIE, &connection.cookie, &cookie_length);
    connection.local = *address;
    *ret_connection = connection;
    return true;
}

static int listening_open(struct sockaddr_in *ret_address)
{
    socklen_t length = sizeof(*ret_address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    *ret_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)ret_address, sizeof(*ret_address)) != 0 || listen(fd, 128) != 0)
        return failed("missing: the kernel's query: cannot listen");
    getsockname(fd, (struct sockaddr *)ret_address, &length);
    return fd;
}

static void query_make(const struct connection *connection, struct query *ret_query)
{
    struct query query = {.header = {sizeof(query), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0},
                          .request = {.sdiag_family = AF_INET,
                                      .sdiag_protocol = IPPROTO_TCP,
                                      .idiag_states = TCP_STATES}};

    query.request.id = (struct inet_diag_sockid){
        .idiag_sport = connection->local.sin_port,
        .idiag_dport = connection->foreign.sin_port,
        .idiag_src = {connection->local.sin_addr.s_addr},
        .idiag_dst = {connection->foreign.sin_addr.s_addr},
        .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE},
    };
    *ret_query = query;
}

/* The answers come one a message, in order. */
static bool batch_ask(int fd, const struct connection *connections, const size_t *chosen)
{
    struct query queries[BATCH];
    _Alignas(struct nlmsghdr) char answer[4096];

    for (size_t i = 0; i < BATCH; i++)
        query_make(&connections[chosen[i]], &queries[i]);
    if (send(fd, queries, sizeof(queries), 0) != (ssize_t)sizeof(queries))
        return failed("the kernel's query: send") == 0;
    for (size_t i = 0; i < BATCH; i++) {
        const struct nlmsghdr *header = (const struct nlmsghdr *)(const void *)answer;
        uint64_t cookie;
        if (recv(fd, answer, sizeof(answer), 0) < (ssize_t)NLMSG_SPACE(sizeof(struct inet_diag_msg)) ||
            header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
            return failed("the kernel's query: no answer") == 0;
        memcpy(&cookie, ((const struct inet_diag_msg *)NLMSG_DATA(header))->id.idiag_cookie, sizeof(cookie));
        if (cookie != connections[chosen[i]].cookie) {
            fprintf(stderr, "the kernel's query: another socket than the one accepted\n");
            return false;
        }
    }
    return true;
}

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool ask_for(int fd, double seconds, const struct connection *connections,
                    struct kernel_result *result)
{
    double start = now_s();
    size_t queries = 0;
    bool good = true;

    while (good && now_s() - start < seconds) {
        size_t chosen[BATCH];
        for (size_t i = 0; i < BATCH; i++)
            chosen[i] = (size_t)random() % result->connections;
        good = batch_ask(fd, connections, chosen);
        queries += BATCH;
    }
    result->queries_per_s = (double)queries / (now_s() - start);
    return good;
}

bool kernel_measure(size_t connections, double seconds, struct kernel_result *ret_result)
{
    struct kernel_result result = {0, 0};
    struct connection *opened = calloc(connections, sizeof(*opened));
    struct sockaddr_in address;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    int listening = listening_open(&address);
    int netlink =
        socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG); /* before the connections take what may be open */
    while (listening >= 0 && result.connections < connections &&
           connection_open(listening, &address, &opened[result.connections]))
        result.connections++;
    bool good = netlink >= 0 && result.connections > 0 && ask_for(netlink, seconds, opened, &result);
    if (!good)
        perror("missing: the kernel's query");
    close(netlink);
    for (size_t i = 0; i < result.connections; i++)
        connection_close(&opened[i]);
    if (listening >= 0)
        close(listening);
    free(opened);
    *ret_result = result;
    return good;
}
