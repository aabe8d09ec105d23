/* SPDX-License-Identifier: MIT
 *
 * sys/tap.h - the IPv4 packets that pass a device, as they come and go (packet(7)).
 *
 * For a device of one's own that carries a handful of packets; a capture of what a host does is another thing. A packet begins
 * with its IPv4 header. It takes CAP_NET_RAW over the network namespace that the calling thread is in, which the socket
 * then belongs to. Nothing is filtered, nothing waits, and what is not read in time is lost. Calls return -1 with errno
 * set: EAGAIN, nothing is there.
 */
#ifndef SYS_TAP_H
#define SYS_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

int tap_open(const char *device);
/* A packet, cut where it is longer than the buffer; *ret_outgoing: it leaves by the device. */
ssize_t tap_read(int fd, void *buffer, size_t size, bool *ret_outgoing);

#endif
