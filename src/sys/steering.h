/* SPDX-License-Identifier: MIT
 *
 * sys/steering.h - what decides, besides addresses and ports, which listening socket receives a segment.
 *
 * SO_REUSEPORT, the group of a socket, its SO_INCOMING_CPU and the BPF program of the group cannot be asked for from
 * outside the process that set them. With CAP_BPF and CAP_PERFMON the kernel's iterator over TCP sockets tells them, of
 * the listening ones in the calling thread's network namespace. sk_lookup programs of the namespace are counted with CAP_NET_ADMIN.
 * Without these the calls fail with EPERM, and the caller says that it could not see. Nothing is left behind.
 */
#ifndef SYS_STEERING_H
#define SYS_STEERING_H

#include <stdbool.h>
#include <stdint.h>

struct steering {
    uint64_t cookie; /* of the socket */
    uint64_t group;  /* the same for all members of one; 0: it is in none */
    bool shared;     /* SO_REUSEPORT */
    bool program;    /* its group has a BPF program that chooses the member */
    bool refuses;    /* and that may choose none: then nobody receives it */
    int32_t cpu;     /* SO_INCOMING_CPU, or -1 */
};

/* Calls for each listening socket; false from `each` ends it with errno as it left it. 0, or -1. */
int steering_read(bool (*each)(void *data, const struct steering *steering), void *data);
/* How many sk_lookup programs the thread's network namespace has; -1 with errno set. */
int steering_programs(void);

#endif
