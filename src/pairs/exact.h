/* SPDX-License-Identifier: MIT
 *
 * pairs/exact.h - the kernel is asked for one socket: the one that a segment with this pair would reach.
 *
 * By a question of sock_diag(7) for exactly one pair, which the kernel answers by the look-up that it does for segments:
 * a connected socket, a request, what is left in TIME-WAIT, or the listening socket. It has answered when the question
 * has been sent, so nothing waits. Counts and queues come with the answer. The caller has the descriptor, of
 * netlink_open(), and with it chose the network namespace. No privilege is needed.
 */
#ifndef PAIRS_EXACT_H
#define PAIRS_EXACT_H

#include "wire/sock_diag.h"

/* `cookie` 0: whichever socket it is. -1 with errno set: ENOENT, there is none. */
int exact_ask(int fd, const struct pair *pair, uint32_t interface, uint64_t cookie,
              struct diag_socket *ret_socket);

#endif
