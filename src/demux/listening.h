/* SPDX-License-Identifier: MIT
 *
 * demux/listening.h - the listening ends of a demultiplexer, and the kernel's choice among them.
 *
 * Those of one address and port are a chain, found by hash: first the chain of the segment's local address, then that
 * of the wildcard, so a bound address wins whatever else is true. Within a chain the rule is that of the kernel's
 * compute_score(): two for a bound device else one, and one more for an IPv4 socket with an IPv4 segment; the first
 * with the most wins, except that the first with SO_REUSEPORT that betters those before it ends the search. New ones
 * go to the front, those of IPv6 with SO_REUSEPORT to the end. So an answer depends on the order of listen(), as it
 * does in the kernel.
 *
 * The only failure is of memory. Chains are short but where many sockets share a port on purpose.
 */
#ifndef DEMUX_LISTENING_H
#define DEMUX_LISTENING_H

#include "demux/tuples.h"

#include <forkport/demux.h>

struct listening {
    struct tuples chains; /* address and port to the first of a chain */
    struct store nodes;
    uint32_t fresh;
    uint32_t free; /* the first of the nodes given back, or TUPLES_NONE */
    uint32_t count;
};

void listening_init(struct listening *listeners, const struct hash_secret *secret);
void listening_done(struct listening *listeners);
bool listening_add(struct listening *listeners, const struct fp_listening *listening, uint32_t endpoint);
bool listening_remove(struct listening *listeners, const struct fp_listening *listening, uint32_t endpoint);
/* The endpoint for a segment to this address and port, or FP_NOBODY. */
uint32_t listening_find4(const struct listening *listeners, const struct in_addr *local, in_port_t port,
                         uint32_t device);
uint32_t listening_find6(const struct listening *listeners, const struct in6_addr *local, in_port_t port,
                         uint32_t device);

#endif
