/* SPDX-License-Identifier: MIT
 *
 * sys/socket_program.h - the instructions of sys/socket_events.h, for the kernel that runs.
 *
 * Four short programs of one making: each finds its socket in what a tracepoint of the kernel was passed with, leaves
 * where that is of another network namespace or (where it is passed often) of the process that was told last, and
 * writes one struct socket_event to the ring; what does not fit is counted. They are put together here from the
 * offsets of sys/btf.h, loaded and attached. A program is attached as long as the descriptor that is returned is open.
 * Fails with errno set where a tracepoint, a member or the permission is not there. Used by sys/socket_events.c alone.
 */
#ifndef SYS_SOCKET_PROGRAM_H
#define SYS_SOCKET_PROGRAM_H

#include "sys/socket_events.h"

struct socket_program_maps {
    int ring_fd; /* what the events go to */
    int lost_fd; /* an array of one count */
    int last_fd; /* by cookie: the process that was told last, and how many have been */
};

/* All of them (but what the kernel may lack: -1) or, returning -1, none. */
int socket_program_attach(const struct socket_program_maps *maps, int ret_attached[SOCKET_EVENTS_PROGRAMS]);

#endif
