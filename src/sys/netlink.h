/* SPDX-License-Identifier: MIT
 *
 * sys/netlink.h - sock_diag(7) sockets: bytes to the kernel's socket table and bytes back.
 *
 * What the bytes mean is known to wire/sock_diag.h alone. A socket made here is close-on-exec and non-blocking, and
 * never waits: the kernel has answered a request, or as much of it as one buffer holds, by the time it has been sent,
 * and makes the rest of an answer as it is read. Datagrams that do not come from the kernel are dropped unseen. Calls
 * return -1 with errno set: EAGAIN, nothing is there; ENOBUFS, some of what was announced to the socket was lost
 * because it was not read in time; EMSGSIZE, a datagram was longer than the buffer and is gone. No privilege is
 * needed to read the sockets of one's own network namespace.
 */
#ifndef SYS_NETLINK_H
#define SYS_NETLINK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Room for any datagram that the kernel sends to such a socket when it is read with buffers of this size. */
#define NETLINK_BUFFER_SIZE 8192

/* A statement of classic BPF, as SO_ATTACH_FILTER takes it. */
struct sock_filter;

/* A socket to ask with. */
int netlink_open(void);
/*
 * A socket to which the kernel announces what happens to the `groups` (bits of enum sknetlink_groups from 1), as far
 * as the filter (count 0: none) lets it pass. About `buffer_bytes` of announcements wait to be read.
 */
int netlink_open_announced(uint32_t groups, const struct sock_filter *filter, size_t count, int buffer_bytes);
/* To the kernel, by a socket of any of netlink(7)'s protocols. */
int netlink_send(int fd, const void *request, size_t length);
/* One datagram. */
ssize_t netlink_receive(int fd, void *buffer, size_t size);

#endif
