/* SPDX-License-Identifier: MIT
 *
 * sys/link.h - devices of a network namespace that is one's own: a wire to another one, addresses, up.
 *
 * What ip-link(8) and ip-address(8) do, by messages of rtnetlink(7), for the namespaces that `forkport figures` makes:
 * a wire is a pair of veth(4) devices. A socket of link_open() belongs to the namespace that the calling thread is in
 * then, and so does all that is done by it; it takes CAP_NET_ADMIN there. Each call waits for the kernel's answer,
 * which comes at once; link_wait() alone waits for something else, the wire to carry. Calls return -1 with errno set,
 * and a call that fails has changed nothing. Devices go with their namespace: nothing here removes one.
 */
#ifndef SYS_LINK_H
#define SYS_LINK_H

#include <stdint.h>

int link_open(void);
/* A wire: its one end here, its other in the namespace that `peer_namespace` refers to, of the same name. */
int link_wire(int fd, const char *device, int peer_namespace);
/* An IPv4 address of the device, and the one at its other end, which it leads to. In network byte order. */
int link_address(int fd, const char *device, const uint8_t local[4], const uint8_t peer[4]);
int link_up(int fd, const char *device);
/* Waits until the device carries what is sent; -1 with ETIME at the end of the time. */
int link_wait(const char *device, int64_t timeout_ns);

#endif
