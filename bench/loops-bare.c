/* SPDX-License-Identifier: MIT
 *
 * The fork loop of loops.c without a C library: the least that a process for each connection can cost here.
 *
 * Four mappings, none of them a library's; a bare clone(2); ended children are nobody's to wait for (SIGCHLD ignored). What a server or a C
 * library does besides is above this. Listens on a free port of 127.0.0.1 and writes the pair to standard output.
 */
#include "sys/child.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#define BACKLOG    4096
#define LINE_BYTES 512
#define PORT_AT    11

static void say(in_port_t port)
{
    char pair[] = "{127.0.0.1:00000, *:*}\n";
    unsigned number = ntohs(port);

    for (int at = PORT_AT + 4; at >= PORT_AT; at--, number /= 10)
        pair[at] = (char)('0' + number % 10);
    child_call(__NR_write, 1, (long)pair, sizeof(pair) - 1, 0);
}

__attribute__((noreturn)) static void answer(long fd)
{
    char line[LINE_BYTES];
    long got = child_call(__NR_read, fd, (long)line, sizeof(line), 0);

    if (got > 0)
        child_call(__NR_write, fd, (long)line, got, 0);
    child_exit(got <= 0);
}

/* The kernel begins a program as no function is called: with its stack aligned. */
#if defined(__x86_64__)
__attribute__((force_align_arg_pointer))
#endif
void _start(void);

void _start(void)
{
    const struct child_sigaction ignored = {.handler = 1};
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    unsigned length = sizeof(local);
    long listening = child_call(__NR_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0, 0);

    if (child_call(__NR_bind, listening, (long)&local, sizeof(local), 0) < 0 ||
        child_call(__NR_listen, listening, BACKLOG, 0, 0) < 0 ||
        child_call(__NR_getsockname, listening, (long)&local, (long)&length, 0) < 0)
        child_exit(69);
    child_call(__NR_rt_sigaction, SIGCHLD, (long)&ignored, 0, sizeof(uint64_t));
    say(local.sin_port);
    for (;;) {
        long fd = child_call(__NR_accept4, listening, 0, 0, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        if (child_call5(__NR_clone, SIGCHLD, 0, 0, 0, 0) == 0)
            answer(fd);
        child_call(__NR_close, fd, 0, 0, 0);
    }
}
