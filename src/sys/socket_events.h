/* SPDX-License-Identifier: MIT
 *
 * sys/socket_events.h - who connects, accepts, uses and closes TCP sockets, said by the kernel as it happens.
 *
 * A few instructions of BPF run at tracepoints of the kernel, in the calling thread's network namespace only: where a
 * TCP socket changes its state, and where a process has read or written one. Each event has the socket's cookie and
 * pair. Where a tracepoint is passed in the process's own context, the event has that process: so however short it
 * lives it is named, and never mistaken for the one that the processor happened to run when a segment came in. Of
 * using and closing only that by another process than the one before is told, and of a socket that processes use by
 * turns only the first few. Needs CAP_BPF and CAP_PERFMON, the kernel's description of its types, and the initial PID
 * namespace; otherwise opening fails with errno set. Before Linux 6.3 who only writes is told when it closes. All of
 * it is gone when it is closed. Nothing here blocks; what nobody read in time is counted.
 */
#ifndef SYS_SOCKET_EVENTS_H
#define SYS_SOCKET_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#define SOCKET_EVENTS_PROGRAMS 4

enum socket_event_kind {
    SOCKET_LISTENS,     /* by the process */
    SOCKET_CONNECTS,    /* by the process; it may have no local port yet, so the pair comes with the next */
    SOCKET_ESTABLISHED, /* no process: of a passive open, it waits in the queue of a listening socket */
    SOCKET_USED,        /* the process has read or written */
    SOCKET_CLOSES,      /* the process has closed the last descriptor, or shut it down */
    SOCKET_ENDED,       /* no process: the socket is no more, or what is left of it is in TIME-WAIT */
};

/* Addresses and ports are in network byte order, IPv4 of an IPv6 socket is mapped. */
struct socket_event {
    uint64_t time_ns; /* CLOCK_MONOTONIC */
    uint64_t cookie;
    uint32_t kind; /* enum socket_event_kind */
    uint32_t pid;  /* 0: the kernel itself */
    char name[16]; /* of the process */
    uint16_t family;
    uint16_t local_port;
    uint16_t foreign_port;
    uint16_t unused;
    uint32_t local4;
    uint32_t foreign4;
    uint8_t local6[16];
    uint8_t foreign6[16];
};

struct socket_events {
    int fd; /* for the loop: readable when there may be an event; -1: closed */
    int lost_fd;
    int attached[SOCKET_EVENTS_PROGRAMS];
    void *consumer; /* the ring's pages, shared with the kernel */
    void *producer;
};

/* 0, or -1 with errno set and nothing open. */
int socket_events_open(struct socket_events *events);
/* The next event, in the order of time for each socket; false: there is none now. */
bool socket_events_next(struct socket_events *events, struct socket_event *ret_event);
/* How many events there was no room for, since the opening. */
uint64_t socket_events_lost(const struct socket_events *events);
/* Allowed twice, and after an opening that failed. */
void socket_events_close(struct socket_events *events);

#endif
