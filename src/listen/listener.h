/* SPDX-License-Identifier: MIT
 *
 * listen/listener.h - passive open: a listening socket for each address of a list.
 *
 * Owns the listening sockets from listeners_open() to listeners_close(). One socket serves one address for its whole
 * life; "*:21" is one IPv6 socket that takes IPv4 as well, or an IPv4 one where the host has no IPv6. All of a list
 * are opened or none is: the first that cannot be had ends the call, with the operation and address that failed and,
 * for an address in use, the socket in the way and, where permitted, the processes that hold it (listen/holder.h). Never
 * accepts, never changes an address once bound.
 */
#ifndef LISTEN_LISTENER_H
#define LISTEN_LISTENER_H

#include "addr/pair.h"
#include "addr/resolve.h"

struct listener {
    int fd;             /* owned; non-blocking, close-on-exec */
    struct pair pair;   /* as bound: the port is filled in */
    const char *proto;  /* "tcp4", "tcp6", "tcp46" */
    uint32_t interface; /* of the device it is bound to; 0: none */
    bool local_is_pair; /* the local address is the same for every connection: no need to ask */
};

struct listeners {
    struct listener *items; /* owned */
    size_t count;
};

enum fp_status listeners_open(const struct address_list *addresses, uint32_t backlog,
                              struct listeners *ret_listeners, struct fp_error *err);
/* Closes the sockets; the pairs stay readable until listeners_done(). */
void listeners_close(struct listeners *listeners);
void listeners_done(struct listeners *listeners);
/* In a process that has them closed already: the memory alone. */
void listeners_free(struct listeners *listeners);
/*
 * Writes the pair of each, a line each, to fd. Where nobody reads them it waits, until SIGTERM or SIGINT is pending, which
 * must be blocked, or stop_fd can be read: then not all are written.
 */
enum fp_status listeners_announce(const struct listeners *listeners, int fd, int stop_fd,
                                  struct fp_error *err);

#endif
