/* SPDX-License-Identifier: MIT
 *
 * sys/accept.h - accept(2), and what each of its outcomes means to a server.
 *
 * Every errno has a class, from one table (accept_class()), so that no failure makes a loop spin, none ends the
 * server that need not, and none is silent:
 *
 *   CONNECTION  a connected socket was made; the caller owns it
 *   DRAINED     nothing is waiting: go back to the loop
 *   RETRY       this connection is gone or was refused on its way (accept(2) passes errors of the network on): the
 *               next one may be well
 *   PAUSE       descriptors, memory or buffers are short: leave the queue alone for a while
 *   DEAD        the descriptor is no listening socket any more
 */
#ifndef SYS_ACCEPT_H
#define SYS_ACCEPT_H

#include <sys/socket.h>

enum accept_class {
    ACCEPT_CONNECTION,
    ACCEPT_DRAINED,
    ACCEPT_RETRY,
    ACCEPT_PAUSE,
    ACCEPT_DEAD,
};

struct accepted {
    int fd;     /* owned by the caller for ACCEPT_CONNECTION, else -1; close-on-exec, blocking */
    int errnum; /* of any other class */
    struct sockaddr_storage foreign;
};

enum accept_class accept_connection(int listening_fd, struct accepted *ret_accepted);
/* The class of an errno of accept(2). What is not in the table is PAUSE: unknown trouble must not spin. */
enum accept_class accept_class(int errnum);

#endif
