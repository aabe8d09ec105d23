/* SPDX-License-Identifier: MIT
 *
 * pairs/gather.h - the rows of the table, from the kernel.
 *
 * Asks sock_diag(7) for the TCP sockets of both families in the calling thread's network namespace, in the states
 * asked for, and appends them to the table, sorted and with the names of the devices they are bound to. The kernel
 * makes its answer piece by piece, so the rows are not of one moment: a socket that comes or goes meanwhile may be
 * there or not, but one that stays is there, once. Where so many listen at one port that a piece ends among them, the
 * kernel passes over some when others go, so those that listen are asked for again until they stay the same, at most
 * five times in all. No privilege is needed. On failure the table holds what was read.
 */
#ifndef PAIRS_GATHER_H
#define PAIRS_GATHER_H

#include "base/error.h"
#include "pairs/pairs.h"

/* `states` are DIAG_STATE_BITs. With counts the bytes and round trips are known, which takes about twice the time. */
enum fp_status gather_rows(struct pairs_table *table, uint32_t states, bool with_counts,
                           struct fp_error *err);

/*
 * The sockets that segments from one port to another can go to: those connected by both, and those that listen at or
 * are only bound to the local one. A row's `order` tells which the kernel looks at first (diag_request_dump()).
 */
enum fp_status gather_endpoints(struct pairs_table *table, uint16_t port, uint16_t foreign_port,
                                struct fp_error *err);

#endif
