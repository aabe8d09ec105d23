/* SPDX-License-Identifier: MIT */
#include "sys/socket_events.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "../netns.h"

#define SEEN_MAX 64

static struct socket_events events;

struct seen {
    struct socket_event items[SEEN_MAX];
    size_t count;
};

static int refused; /* errno */

static int open_events(void **state)
{
    (void)state;
    refused = socket_events_open(&events) == 0 ? 0 : errno;
    return 0;
}

static void need_events(void)
{
    if (refused == 0)
        return;
    print_message("the kernel's events cannot be had here: %s\n", strerror(refused));
    skip();
}

static int close_events(void **state)
{
    (void)state;
    socket_events_close(&events);
    socket_events_close(&events);
    assert_int_equal(events.fd, -1);
    return 0;
}

/* What is done is in the ring when the call returns that did it. */
static struct seen read_events(void)
{
    struct seen seen = {.count = 0};

    while (seen.count < SEEN_MAX && socket_events_next(&events, &seen.items[seen.count]))
        seen.count++;
    return seen;
}

static uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t length = sizeof(cookie);

    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length), 0);
    return cookie;
}

/* The one event of this kind; all zero: there is none. */
static struct socket_event find(const struct seen *seen, enum socket_event_kind kind, uint64_t cookie)
{
    struct socket_event found = {.cookie = 0};

    for (size_t i = 0; i < seen->count; i++) {
        if (seen->items[i].kind != kind || seen->items[i].cookie != cookie)
            continue;
        assert_int_equal(found.cookie, 0);
        found = seen->items[i];
    }
    return found;
}

static int listen_on(int family, struct sockaddr_storage *ret_address)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(*ret_address);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    const void *address = family == AF_INET ? (const void *)&four : (const void *)&six;
    assert_int_equal(bind(fd, address, family == AF_INET ? sizeof(four) : sizeof(six)), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret_address, &length), 0);
    return fd;
}

/* A child connects, says which socket it was, writes if it is told to, and ends. */
static pid_t visit(const struct sockaddr_in *to, bool writes, uint64_t *ret_cookie)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        uint64_t cookie = 0;
        socklen_t length = sizeof(cookie);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length);
        bool failed = connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0;
        failed |= writes && write(fd, "x", 1) != 1;
        failed |= write(ends[1], &cookie, sizeof(cookie)) != sizeof(cookie);
        _exit(failed);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(read(ends[0], ret_cookie, sizeof(*ret_cookie)), sizeof(*ret_cookie));
    close(ends[0]);
    close(ends[1]);
    return pid;
}

static void test_a_connection_from_beginning_to_end(void **state)
{
    struct sockaddr_storage address;
    const struct sockaddr_in *four = (const struct sockaddr_in *)&address;
    uint64_t client;
    char byte;

    (void)state;
    need_events();
    read_events();
    int listening = listen_on(AF_INET, &address);
    pid_t pid = visit(four, true, &client);
    struct seen seen = read_events();
    struct socket_event listens = find(&seen, SOCKET_LISTENS, cookie_of(listening));
    assert_int_not_equal(listens.cookie, 0);
    assert_int_equal(listens.pid, getpid());
    assert_int_equal(listens.local_port, four->sin_port);

    struct socket_event connects = find(&seen, SOCKET_CONNECTS, client);
    struct socket_event established = find(&seen, SOCKET_ESTABLISHED, client);
    /* Before Linux 6.3 no kernel tells of what is sent: then that it closes is told. */
    bool is_sending_told = events.attached[SOCKET_EVENTS_PROGRAMS - 1] >= 0;
    struct socket_event used = find(&seen, is_sending_told ? SOCKET_USED : SOCKET_CLOSES, client);
    assert_true(connects.cookie != 0 && established.cookie != 0 && used.cookie != 0);
    assert_int_equal(connects.pid, pid);
    assert_int_equal(used.pid, pid);
    assert_int_equal(used.foreign_port, four->sin_port);
    assert_int_equal(used.local_port, established.local_port);
    assert_int_equal(used.local4, htonl(INADDR_LOOPBACK));
    assert_true(connects.time_ns < established.time_ns && established.time_ns < used.time_ns);
    /* It has used it, so that it closes it goes without saying. */
    assert_int_equal(find(&seen, is_sending_told ? SOCKET_CLOSES : SOCKET_USED, client).cookie, 0);

    int accepted = accept(listening, NULL, NULL);
    uint64_t server = cookie_of(accepted);
    struct socket_event passive = find(&seen, SOCKET_ESTABLISHED, server);
    assert_int_not_equal(passive.cookie, 0);
    assert_int_equal(passive.local_port, four->sin_port);
    assert_int_equal(passive.foreign_port, used.local_port);
    assert_int_equal(read(accepted, &byte, 1), 1);
    seen = read_events();
    used = find(&seen, SOCKET_USED, server);
    assert_int_not_equal(used.cookie, 0);
    assert_int_equal(used.pid, getpid());
    assert_int_equal(read(accepted, &byte, 1), 0);
    close(accepted);
    close(listening);
    seen = read_events();
    assert_int_equal(find(&seen, SOCKET_USED, server).cookie, 0);
    assert_int_not_equal(find(&seen, SOCKET_ENDED, server).cookie, 0);
    assert_int_equal(socket_events_lost(&events), 0);
}

static void test_unused_is_told_of_when_it_closes(void **state)
{
    struct sockaddr_storage address;
    uint64_t client;

    (void)state;
    need_events();
    int listening = listen_on(AF_INET6, &address);
    struct sockaddr_in four = {
        .sin_family = AF_INET,
        .sin_port = ((const struct sockaddr_in6 *)&address)->sin6_port,
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    read_events();
    visit(&four, false, &client);
    int accepted = accept(listening, NULL, NULL);
    uint64_t server = cookie_of(accepted);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t holder = fork();
    if (holder == 0) {
        char byte;
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) != 0); /* it holds `accepted` longest */
    }
    close(accepted);
    close(ends[1]);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
    struct seen seen = read_events();
    struct socket_event closes = find(&seen, SOCKET_CLOSES, server);
    assert_int_not_equal(closes.cookie, 0);
    assert_int_equal(closes.pid, holder);
    /* The child of an IPv6 socket has IPv4 addresses, mapped. */
    assert_int_equal(closes.family, AF_INET6);
    assert_memory_equal(closes.local6, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1", 16);
    close(ends[0]);
    close(listening);
}

/* The end that closes first, of a connection that nobody has read or written: by FIN-WAIT-1. */
static void test_unused_that_closes_first(void **state)
{
    struct sockaddr_storage address;

    (void)state;
    need_events();
    int listening = listen_on(AF_INET, &address);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(struct sockaddr_in)), 0);
    uint64_t cookie = cookie_of(client);
    read_events();
    assert_int_equal(shutdown(client, SHUT_WR), 0);
    struct seen seen = read_events();
    struct socket_event closes = find(&seen, SOCKET_CLOSES, cookie);
    assert_int_equal(closes.pid, getpid());
    close(client);
    close(listening);
}

static void test_a_refused_connection_has_its_pair_at_the_end(void **state)
{
    struct sockaddr_in nobody = {.sin_family = AF_INET,
                                 .sin_port = htons(9),
                                 .sin_addr = {htonl(INADDR_LOOPBACK)}};

    (void)state;
    need_events();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint64_t cookie = cookie_of(fd);
    read_events();
    assert_int_equal(connect(fd, (struct sockaddr *)&nobody, sizeof(nobody)), -1);
    struct seen seen = read_events();
    struct socket_event connects = find(&seen, SOCKET_CONNECTS, cookie);
    struct socket_event ended = find(&seen, SOCKET_ENDED, cookie);
    assert_true(connects.cookie != 0 && ended.cookie != 0);
    assert_int_equal(connects.pid, getpid());
    assert_int_equal(ended.foreign_port, htons(9));
    assert_int_not_equal(ended.local_port, 0);
    close(fd);
}

/* However many processes use one socket: as many are told of as the program's bound says, and no more. */
static void test_processes_of_one_socket_are_told_up_to_a_bound(void **state)
{
    struct sockaddr_storage address;
    size_t told = 0;

    (void)state;
    need_events();
    int listening = listen_on(AF_INET, &address);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(struct sockaddr_in)), 0);
    int accepted = accept(listening, NULL, NULL);
    uint64_t server = cookie_of(accepted);
    assert_int_equal(write(client, "0123456789abcdef", 16), 16);
    read_events();
    for (int i = 0; i < 16; i++) {
        char byte;
        pid_t pid = fork();
        if (pid == 0)
            _exit(read(accepted, &byte, 1) != 1);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
    struct seen seen = read_events();
    for (size_t i = 0; i < seen.count; i++)
        told += seen.items[i].kind == SOCKET_USED && seen.items[i].cookie == server;
    assert_int_equal(told, 8);
    close(accepted);
    close(client);
    close(listening);
}

static void test_other_namespaces_are_not_told_of(void **state)
{
    (void)state;
    need_events();
    read_events();
    pid_t pid = fork();
    if (pid == 0) {
        struct sockaddr_storage address;
        uint64_t cookie;
        if (netns_set_up(NULL) < 0)
            _exit(1);
        listen_on(AF_INET, &address);
        visit((const struct sockaddr_in *)&address, true, &cookie);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(read_events().count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_connection_from_beginning_to_end),
        cmocka_unit_test(test_unused_is_told_of_when_it_closes),
        cmocka_unit_test(test_unused_that_closes_first),
        cmocka_unit_test(test_a_refused_connection_has_its_pair_at_the_end),
        cmocka_unit_test(test_processes_of_one_socket_are_told_up_to_a_bound),
        cmocka_unit_test(test_other_namespaces_are_not_told_of),
    };

    if (netns_set_up(NULL) < 0)
        return 1;
    return cmocka_run_group_tests(tests, open_events, close_events);
}
