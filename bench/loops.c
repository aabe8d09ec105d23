/* SPDX-License-Identifier: MIT
 *
 * The floors that a server with a process for each connection is measured against: the same work
 * with nothing else in it. No limits, no log, no environment, no sessions, no error handling
 * beyond going on. Each takes a connection, has one line answered, and is ready for the next.
 *
 * loops fork-exec|vfork-exec ADDRESS PORT PROGRAM    a new program for each connection
 * loops fork ADDRESS PORT                            a forked copy of this process answers
 * loops fork-exit ADDRESS PORT                       the same, and ends as a program does, by exit(3)
 * loops epoll ADDRESS PORT                           no process: this one answers them all
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKLOG        4096
#define LINE_BYTES     512
#define EVENTS_AT_ONCE 64

static int passive_open(const char *address, const char *port)
{
    const int on = 1;
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    socklen_t bytes = sizeof local;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, address, &local.sin_addr) != 1 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&local, sizeof local) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&local, &bytes) < 0) {
        fprintf(stderr, "loops: cannot listen on %s:%s: %s\n", address, port, strerror(errno));
        exit(69);
    }
    printf("{%s:%d, *:*}\n", address, ntohs(local.sin_port));
    fflush(stdout);
    return fd;
}

static void reap(int signal)
{
    int saved = errno;
    (void)signal;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    errno = saved;
}

static bool answer(int fd)
{
    char line[LINE_BYTES];
    ssize_t got = read(fd, line, sizeof line);
    return got > 0 && write(fd, line, (size_t)got) == got;
}

static void loop_fork_exec(int listening, char *program)
{
    char *arguments[] = {program, NULL};
    for (;;) {
        int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        if (fork() == 0) {
            dup2(fd, STDIN_FILENO);
            dup2(fd, STDOUT_FILENO);
            execv(program, arguments);
            _exit(127);
        }
        close(fd);
    }
}

static void loop_vfork_exec(int listening, char *program)
{
    char *arguments[] = {program, NULL};
    for (;;) {
        int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        if (vfork() == 0) {
            dup2(fd, STDIN_FILENO);
            dup2(fd, STDOUT_FILENO);
            execv(program, arguments);
            _exit(127);
        }
        close(fd);
    }
}

static void loop_fork(int listening, void (*end)(int status))
{
    for (;;) {
        int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        if (fork() == 0) {
            close(listening);
            end(answer(fd) ? 0 : 1);
        }
        close(fd);
    }
}

/* Stops accepting at EAGAIN; a line already there, as it nearly always is, is answered at once. */
static void accept_all(int listening, int epoll_fd)
{
    int fd;
    while ((fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (answer(fd) || errno != EAGAIN || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            close(fd);
    }
}

static void loop_epoll(int listening)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listening};
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    fcntl(listening, F_SETFL, O_NONBLOCK);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listening, &event);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listening) {
                accept_all(listening, epoll_fd);
            } else {
                answer(events[i].data.fd);
                close(events[i].data.fd);
            }
        }
    }
}

int main(int argc, char **argv)
{
    struct sigaction on_child = {.sa_handler = reap, .sa_flags = SA_RESTART | SA_NOCLDSTOP};

    sigaction(SIGCHLD, &on_child, NULL);
    if (argc == 5 && strcmp(argv[1], "fork-exec") == 0)
        loop_fork_exec(passive_open(argv[2], argv[3]), argv[4]);
    else if (argc == 5 && strcmp(argv[1], "vfork-exec") == 0)
        loop_vfork_exec(passive_open(argv[2], argv[3]), argv[4]);
    else if (argc == 4 && strcmp(argv[1], "fork") == 0)
        loop_fork(passive_open(argv[2], argv[3]), _exit);
    else if (argc == 4 && strcmp(argv[1], "fork-exit") == 0)
        loop_fork(passive_open(argv[2], argv[3]), exit);
    else if (argc == 4 && strcmp(argv[1], "epoll") == 0)
        loop_epoll(passive_open(argv[2], argv[3]));
    fprintf(stderr, "usage: loops fork-exec|vfork-exec ADDRESS PORT PROGRAM\n"
                    "       loops fork|fork-exit|epoll ADDRESS PORT\n");
    return 64;
}
