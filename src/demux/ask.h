/* SPDX-License-Identifier: MIT
 *
 * demux/ask.h - the kernel's own answer: which socket would receive this segment.
 *
 * Asks sock_diag(7) for the one socket that the kernel itself finds for a segment of this pair from this interface: it
 * takes the way that a segment takes, through the connected sockets, the sk_lookup programs of the namespace and the
 * listening sockets with the hash of their groups. What it does not do: programs of SO_REUSEPORT groups do not run,
 * since there is no segment, and the CPU is that of the asking thread. No privilege is needed, and nothing is changed.
 * The answer is of the moment. A socket with its own files (ask_open()) asks as often as is wanted.
 */
#ifndef DEMUX_ASK_H
#define DEMUX_ASK_H

#include "wire/packet.h"
#include "wire/sock_diag.h"

struct ask {
    int fd;
};

enum fp_status ask_open(struct ask *ask, struct fp_error *err);
void ask_close(struct ask *ask);
/* FP_OK with *ret_found false: nobody. */
enum fp_status ask_segment(const struct ask *ask, const struct segment *segment,
                           struct diag_socket *ret_socket, bool *ret_found, struct fp_error *err);
/*
 * Asks on each CPU that the thread may run on. *ret_varies: not all the answers are the same. *ret_all: there is no CPU
 * on which it was not asked.
 */
enum fp_status ask_cpus(const struct ask *ask, const struct segment *segment, bool *ret_varies, bool *ret_all,
                        struct fp_error *err);

#endif
