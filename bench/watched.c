/*
 * What it costs everybody else that the kernel's events of sockets are followed: the figures of doc/decisions.md.
 *
 * watched [ROUNDS]
 *
 * Needs CAP_BPF and CAP_PERFMON. In turns, with and without sys/socket_events.h open: 40,000 times a write and a read
 * of one byte over a connection on the loopback device, and 3,000 connections with one byte each. Printed are the
 * medians and the least over the rounds of this process's CPU time, which has both ends in it.
 */
#include "sys/socket_events.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS_MAX  99
#define CALLS       40000
#define CONNECTIONS 3000

static struct sockaddr_in address = {.sin_family = AF_INET};
static int listening;

static double cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void exchange(int from, int to)
{
    char byte;

    if (write(from, "x", 1) != 1 || read(to, &byte, 1) != 1)
        fail("exchange");
}

static void open_connection(int ret_ends[2])
{
    ret_ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(ret_ends[0], (struct sockaddr *)&address, sizeof(address)) < 0)
        fail("connect");
    ret_ends[1] = accept(listening, NULL, NULL);
}

static double time_calls(void)
{
    int ends[2];

    open_connection(ends);
    double start_us = cpu_us();
    for (int i = 0; i < CALLS; i++)
        exchange(ends[0], ends[1]);
    double took_us = cpu_us() - start_us;
    close(ends[0]);
    close(ends[1]);
    return took_us * 1000 / CALLS;
}

/* Ended by a reset, so that no port is used up. */
static double time_connections(void)
{
    struct linger reset = {.l_onoff = 1};
    double start_us = cpu_us();

    for (int i = 0; i < CONNECTIONS; i++) {
        int ends[2];
        open_connection(ends);
        exchange(ends[0], ends[1]);
        setsockopt(ends[0], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(ends[0]);
        close(ends[1]);
    }
    return (cpu_us() - start_us) / CONNECTIONS;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;

    return a < b ? -1 : a > b;
}

int main(int argc, char **argv)
{
    static double calls_ns[2][ROUNDS_MAX];
    static double connections_us[2][ROUNDS_MAX];
    struct socket_events events;
    socklen_t length = sizeof(address);
    int rounds = argc > 1 ? atoi(argv[1]) : 15;

    if (rounds < 1 || rounds > ROUNDS_MAX)
        return 64;
    listening = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listening, (struct sockaddr *)&address, length) < 0 || listen(listening, 128) < 0 ||
        getsockname(listening, (struct sockaddr *)&address, &length) < 0)
        fail("listen");
    for (int i = 0; i < 2 * rounds; i++) {
        int watched = i % 2;
        if (watched && socket_events_open(&events) < 0)
            fail("events of sockets");
        calls_ns[watched][i / 2] = time_calls();
        connections_us[watched][i / 2] = time_connections();
        if (watched)
            socket_events_close(&events);
    }
    for (int watched = 0; watched < 2; watched++) {
        qsort(calls_ns[watched], (size_t)rounds, sizeof(double), compare);
        qsort(connections_us[watched], (size_t)rounds, sizeof(double), compare);
        printf("%-9s write and read %5.0f ns (least %5.0f)   connection %6.2f us (least %6.2f)\n",
               watched ? "watched" : "unwatched", calls_ns[watched][rounds / 2], calls_ns[watched][0],
               connections_us[watched][rounds / 2], connections_us[watched][0]);
    }
    return 0;
}
