/* SPDX-License-Identifier: MIT
 *
 * listen/holder.h - who is in the way of an address that is in use.
 *
 * Asks the kernel's socket table (sock_diag(7)) for the sockets whose address keeps `address` from being bound, and
 * /proc for the processes that hold one of them: one that listens, else one that a process holds, bound only or
 * connected, else any. It is only ever called on the way out of a failure, so it may take its time. It writes a
 * hint and nothing else; where the kernel or /proc does not tell, the hint says as much as is known, or is left out.
 * It never changes a socket.
 */
#ifndef LISTEN_HOLDER_H
#define LISTEN_HOLDER_H

#include "addr/address.h"

/* Sets the hint of err: "held by {*:21, *:*} of process 812, vsftpd". */
void holder_hint(const struct address *address, struct fp_error *err);

#endif
