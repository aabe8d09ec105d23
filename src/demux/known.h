/* SPDX-License-Identifier: MIT
 *
 * demux/known.h - the sockets of a saved table, ready to be asked who receives a segment.
 *
 * Made once from a socket-pair table (pairs/pairs.h), to whose rows it points and which must outlive it: the connected
 * ones by their pair, then the listening ones by the kernel's precedence (doc/demultiplexing.md). By which device a segment
 * came a capture does not say, and of the order in which sockets that share a port began to listen a table knows nothing:
 * where these decide it is said, and one of the sockets stands for all, of a group the first.
 * Nothing is changed or asked: it knows what the table knew when it was saved. Memory is the only failure.
 */
#ifndef DEMUX_KNOWN_H
#define DEMUX_KNOWN_H

#include "base/error.h"
#include "pairs/pairs.h"

struct known;

enum fp_status known_new(const struct pairs_table *table, struct known **ret_known, struct fp_error *err);
/* NULL is allowed. */
void known_free(struct known *known);

const struct pairs_table *known_table(const struct known *known);
/* The socket that has exactly this pair, TIME-WAIT included; NULL: there is none. */
const struct pairs_row *known_connected(const struct known *known, const struct pair *pair);
/* How sure it is that a segment is for a listening socket. */
enum known_choice {
    KNOWN_EXACT,
    KNOWN_GROUP,   /* it is one of several that share the end */
    KNOWN_DEPENDS, /* on the interface by which it comes, and may be on the order of those that listen */
};

/* The listening socket for a segment to this local end; NULL: there is none, and *ret_choice is not set. */
const struct pairs_row *known_listening(const struct known *known, const struct pair *pair,
                                        enum known_choice *ret_choice);
/* Is it an address of the host the table is of? False: not that the table shows. */
bool known_is_local(const struct known *known, const struct address *address);

#endif
