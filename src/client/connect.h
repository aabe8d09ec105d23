/* SPDX-License-Identifier: MIT
 *
 * client/connect.h - the active open: one connection to a server that may have several addresses.
 *
 * Happy eyeballs (RFC 8305): the addresses are tried in the order given, but with the families taken by turns; the
 * next one is begun when the one before has failed, or has said nothing for 250 ms; the first that is connected wins
 * and the others are closed. When all have failed, the error is that of the attempt that got furthest: a server that
 * refused says more than a route that is missing. The local end is the kernel's to choose, but for what `from` asks:
 * for each server its first address of the same family, or of no family.
 *
 * It waits, so it is for a client, not for a server. The socket is the caller's, non-blocking and close-on-exec.
 */
#ifndef CLIENT_CONNECT_H
#define CLIENT_CONNECT_H

#include "addr/pair.h"
#include "addr/resolve.h"

struct connect_request {
    const struct address_list *servers;
    const struct address_list *from; /* empty: anything */
    int64_t timeout_ns;              /* for all of them; 0: as long as the kernel tries */
};

enum fp_status connect_open(const struct connect_request *request, int *ret_fd, struct pair *ret_pair,
                            struct fp_error *err);

/* The class of the errno that a connection failed or ended with. */
enum fp_status connect_error_class(int errnum);

#endif
