/* SPDX-License-Identifier: MIT
 *
 * kernel.h - the kernel's own look-up: an exact sock_diag(7) query for each segment, fifty in a message.
 *
 * It makes real connections over the loopback, asks for each in random order and checks the cookies of the answers. A query pays for netlink
 * and for the description of the socket, not for the look-up alone; it is what a program outside the kernel can have.
 */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdbool.h>
#include <stddef.h>

struct kernel_result {
    size_t connections;
    double queries_per_s;
};

/* Up to so many connections, as the limit of descriptors allows. False, and a reason on standard error: not here. */
bool kernel_measure(size_t connections, double seconds, struct kernel_result *ret_result);

#endif
