/* SPDX-License-Identifier: MIT
 *
 * traffic.h - socket pairs of a server, and the order in which their segments come in.
 *
 * Uniform: any connection's segment may be next. TPC/A: the traffic of McKenney and Dove, "Efficient demultiplexing of
 * incoming TCP packets" (1992): each user sends a query, acknowledges the answer 0.2 s later, and thinks for some 10 s
 * (exponentially distributed) before the next. Trains: sixteen trains of segments under way at once, of eight on average (Jain and
 * Routhier 1986), each of a connection that is chosen by Zipf's law. All from a seed.
 */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include <forkport/demux.h>

#include <stddef.h>
#include <stdint.h>

enum traffic { TRAFFIC_UNIFORM, TRAFFIC_TPCA, TRAFFIC_TRAINS, TRAFFIC_KINDS };

extern const char *const traffic_names[TRAFFIC_KINDS];

/* A server at one address and port with clients from many networks, some ports each; all different, in random order. */
struct fp_pair4 *traffic_pairs4(size_t count, uint64_t seed);
struct fp_pair6 *traffic_pairs6(size_t count, uint64_t seed);

/* `length` numbers of connections, each below `count`; the caller frees them. */
uint32_t *traffic_order(enum traffic kind, size_t count, size_t length, uint64_t seed);

#endif
