/* SPDX-License-Identifier: MIT */
#include "doctor/look.h"

#include "pairs/tally.h"
#include "sys/fd.h"
#include "sys/log_socket.h"
#include "sys/probe.h"
#include "sys/random.h"
#include "sys/ready.h"
#include "sys/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#define OLDEST_MAJOR 5
#define OLDEST_MINOR 10
/* The kernel announces from a thread of its own. */
#define ANNOUNCED_WITHIN_NS INT64_C(200000000)

void look_kernel(struct doctor_finding *ret_finding)
{
    char release[96];
    char machine[96];
    char *rest;

    if (probe_release(release, machine, sizeof(release)) < 0) {
        look_failed(ret_finding, errno);
        return;
    }
    unsigned long major = strtoul(release, &rest, 10);
    unsigned long minor = *rest == '.' ? strtoul(rest + 1, &rest, 10) : 0;
    bool is_new = major > OLDEST_MAJOR || (major == OLDEST_MAJOR && minor >= OLDEST_MINOR);
    look_found(ret_finding, is_new ? DOCTOR_OK : DOCTOR_MISSING, "Linux %s, %s", release, machine);
}

void look_proc(struct doctor_finding *ret_finding)
{
    char line[256];
    ssize_t length = probe_read("/proc/self/stat", line, sizeof(line));

    look_tried(ret_finding, length > 0, "mounted");
}

void look_processes(struct doctor_finding *ret_finding)
{
    look_tried(ret_finding, probe_processes() == 0, "forked and cloned");
}

void look_close_range(struct doctor_finding *ret_finding)
{
    look_tried(ret_finding, probe_close_range() == 0, "works");
}

void look_events(struct doctor_finding *ret_finding)
{
    look_tried(ret_finding, probe_events() == 0, "epoll, signalfd and eventfd work");
}

void look_tcp4(struct doctor_finding *ret_finding)
{
    look_tried(ret_finding, probe_tcp(AF_INET) == 0, "TCP sockets can be made");
}

void look_tcp6(struct doctor_finding *ret_finding)
{
    look_tried(ret_finding, probe_tcp(AF_INET6) == 0, "TCP sockets can be made");
}

void look_standard_error(struct doctor_finding *ret_finding)
{
    struct log_socket log;

    if (log_socket_open(&log, random_seed()) < 0) {
        look_failed(ret_finding, errno);
        return;
    }
    log_socket_close(&log);
    look_found(ret_finding, DOCTOR_OK, "its socket can be made and connected to");
}

/* A socket of our own is destroyed, which the kernel then announces with its counts, or does not. -1: it cannot be read. */
static int is_announced(struct tally *tally, uint64_t cookie)
{
    struct pollfd fd = {.fd = tally->fd, .events = POLLIN};
    struct tally_bytes bytes;

    while (ready_wait(&fd, 1, ANNOUNCED_WITHIN_NS) > 0) {
        while (tally_read(tally, &bytes)) {
            if (bytes.cookie == cookie)
                return 1;
        }
        /* What is not read stays ready. */
        if (errno != EAGAIN)
            return -1;
    }
    return 0;
}

void look_bytes(struct doctor_finding *ret_finding)
{
    const struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct socket_listen how = {.sa = (const struct sockaddr *)&loopback,
                                      .sa_length = sizeof(loopback),
                                      .device = "",
                                      .backlog = 1};
    struct sockaddr_storage local;
    enum socket_step step;
    struct tally tally;

    FD_AUTO fd = socket_listen(&how, &step);
    if (fd < 0 || socket_local(fd, &local) < 0) {
        look_failed(ret_finding, errno);
        return;
    }
    uint16_t port = ntohs(((const struct sockaddr_in *)(const void *)&local)->sin_port);
    uint64_t cookie = socket_cookie(fd);
    if (tally_open(&tally, &port, 1) < 0) {
        look_failed(ret_finding, errno);
        return;
    }
    fd_close(fd_take(&fd));
    int announced = is_announced(&tally, cookie);
    if (announced < 0)
        look_failed(ret_finding, errno);
    else if (announced > 0)
        look_found(ret_finding, DOCTOR_OK, "the kernel announces sockets that it destroys");
    else
        look_found(ret_finding, DOCTOR_MISSING, "the kernel did not announce a socket that it destroyed");
    tally_close(&tally);
}

/* The highest of the ports that are kept, since what holds for it holds for the others. */
void look_low_ports(struct doctor_finding *ret_finding)
{
    enum { AS_KERNEL_STARTS = 1024 };
    uint64_t start;

    /* A /proc of processes alone (subset=pid) does not show it, and a port is to be had all the same. */
    if (!look_number(ret_finding, "/proc/sys/net/ipv4/ip_unprivileged_port_start", &start))
        start = AS_KERNEL_STARTS;
    if (start <= 1) {
        look_found(ret_finding, DOCTOR_OK, "none is kept");
        return;
    }
    bool may = probe_bind((uint16_t)(start - 1)) == 0 || errno == EADDRINUSE;
    if (may || (errno != EACCES && errno != EPERM))
        look_tried(ret_finding, may, "may be used");
    else
        look_found(ret_finding, DOCTOR_NOT_PERMITTED, "ports below %llu: not permitted",
                   (unsigned long long)start);
}

void look_users(struct doctor_finding *ret_finding)
{
    enum { NOBODY = 65534 };

    bool changed = probe_user(NOBODY, NOBODY) == 0;
    /* Ids that a user namespace does not map. */
    if (!changed && errno == EINVAL)
        look_found(ret_finding, DOCTOR_NOT_PERMITTED, "this user namespace has no user %d", NOBODY);
    else
        look_tried(ret_finding, changed, "can be changed");
}
