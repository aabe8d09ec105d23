/* SPDX-License-Identifier: MIT
 *
 * holders COUNT: so many processes, each with one accepted connection as descriptors 0 and 1, and one with the clients'
 * ends, in a network namespace of their own. Prints its pid when all are there; they end with it. For bench/pairs.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int open_namespace(struct sockaddr_in *ret_address)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);

    if (unshare(CLONE_NEWNET) < 0)
        fail("unshare");
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (ioctl(fd, SIOCSIFFLAGS, &lo) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, 128) < 0 || getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        fail("listen");
    *ret_address = address;
    return fd;
}

__attribute__((noreturn)) static void hold(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        pause();
}

/* One after the other, each when the one before is held: the table of descriptors of a holder must stay small. */
__attribute__((noreturn)) static void connect_all(const struct sockaddr_in *address, long count)
{
    char byte;

    for (long i = 0; i < count; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 || read(fd, &byte, 1) != 1)
            fail("connect");
    }
    hold();
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    struct sockaddr_in address;
    long count = argc == 2 ? strtol(argv[1], NULL, 10) : 0;

    if (count <= 0)
        return 64;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    close_range(3, ~0U, 0);
    int listening_fd = open_namespace(&address);
    if (fork() == 0) {
        close(listening_fd);
        connect_all(&address, count);
    }
    for (long i = 0; i < count; i++) {
        int fd = accept(listening_fd, NULL, NULL);
        pid_t pid = fd < 0 ? -1 : fork();
        if (pid < 0)
            fail("fork");
        if (pid == 0) {
            dup2(fd, 0);
            dup2(fd, 1);
            close_range(3, ~0U, 0);
            if (write(0, "", 1) != 1)
                fail("write");
            hold();
        }
        close(fd);
    }
    printf("%d\n", (int)getpid());
    fflush(stdout);
    hold();
}
