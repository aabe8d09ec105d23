/* SPDX-License-Identifier: MIT
 *
 * forkport/demux.h - the demultiplexer as a table: which endpoint receives a segment.
 *
 * The table maps socket pairs to endpoints. An endpoint is a number of the caller's, such as an index into an array
 * of its own. A segment goes to the connected endpoint of its pair; where there is none, to a listening one: bound to
 * the segment's local address before the wildcard address, and among these as Linux ranks them (a bound device, then
 * IPv4 before an IPv6 socket that also takes IPv4, then the newest; the first with FP_LISTEN_REUSEPORT that ranks
 * higher than those before it ends the search, as in the kernel). Not held: which member of a group that shares a
 * port is chosen (the first stands for it), a socket's CPU, BPF programs, network namespaces, TIME-WAIT.
 *
 * Pairs are hashed with a secret of the table's own, so that no choice of addresses and ports makes it slow. It grows
 * a few buckets with each addition, never all at once, and does not shrink. Addresses and ports are in network byte
 * order, as in a segment. `device` is the index of the interface a socket is bound to or a segment came in by;
 * 0: none, which for a segment means unknown and finds unbound sockets only.
 *
 * A table may be read by several threads at once, but not while one changes it. Nothing in here prints or exits.
 */
#ifndef FORKPORT_DEMUX_H
#define FORKPORT_DEMUX_H

#include <forkport/error.h>

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a look-up answers where nobody would receive the segment. */
#define FP_NOBODY UINT32_MAX
/** The highest number an endpoint may have. */
#define FP_ENDPOINT_MAX UINT32_C(0x7ffffffe)

/** A socket pair of IPv4, local end first: for a segment that comes in, its destination. */
struct fp_pair4 {
    struct in_addr local;
    struct in_addr foreign;
    in_port_t local_port;
    in_port_t foreign_port;
};

/** A socket pair of IPv6. Pairs of mapped IPv4 addresses belong in struct fp_pair4. */
struct fp_pair6 {
    struct in6_addr local;
    struct in6_addr foreign;
    in_port_t local_port;
    in_port_t foreign_port;
};

#define FP_LISTEN_V6ONLY    1U /**< an IPv6 socket that takes no IPv4 (IPV6_V6ONLY) */
#define FP_LISTEN_REUSEPORT 2U /**< it shares its address and port (SO_REUSEPORT) */

/** A listening socket's end. */
struct fp_listening {
    int family;              /**< AF_INET or AF_INET6 */
    struct in6_addr address; /**< in6addr_any: the wildcard of either family; IPv4 as ::ffff:192.0.2.1 */
    in_port_t port;
    unsigned flags;  /**< FP_LISTEN_... */
    uint32_t device; /**< bound to this interface, or 0 */
};

struct fp_demux;

/** An empty table, of a few pages at most. NULL and *err (FP_SYSTEM) where memory is short. */
struct fp_demux *fp_demux_new(struct fp_error *err);

/** Releases the table. NULL is allowed. */
void fp_demux_free(struct fp_demux *demux);

/**
 * Makes room for this many connections in all, with memory backed at once and by huge pages where the kernel has them:
 * look-ups are then fastest, and additions up to there never wait for memory. May take some milliseconds a megabyte.
 */
enum fp_status fp_demux_reserve(struct fp_demux *demux, size_t connections4, size_t connections6,
                                struct fp_error *err);

/**
 * Adds a connected endpoint. FP_UNAVAILABLE: the pair is there already with this device; FP_USAGE: `endpoint` is above
 * FP_ENDPOINT_MAX; FP_SYSTEM: no memory. After a failure the table is as before.
 */
enum fp_status fp_demux_add4(struct fp_demux *demux, const struct fp_pair4 *pair, uint32_t device,
                             uint32_t endpoint, struct fp_error *err);
enum fp_status fp_demux_add6(struct fp_demux *demux, const struct fp_pair6 *pair, uint32_t device,
                             uint32_t endpoint, struct fp_error *err);

/** Removes the connected endpoint of this pair and device, and returns it; FP_NOBODY: there was none. */
uint32_t fp_demux_remove4(struct fp_demux *demux, const struct fp_pair4 *pair, uint32_t device);
uint32_t fp_demux_remove6(struct fp_demux *demux, const struct fp_pair6 *pair, uint32_t device);

/**
 * Adds a listening endpoint, as the newest. Several may have the same end, as sockets with SO_REUSEPORT do. FP_USAGE:
 * a family that is neither, or an endpoint above FP_ENDPOINT_MAX, or an address that is not of the family; FP_SYSTEM.
 */
enum fp_status fp_demux_listen(struct fp_demux *demux, const struct fp_listening *listening,
                               uint32_t endpoint, struct fp_error *err);

/** Removes the listening endpoint that was added with just this; false: there is none. */
bool fp_demux_unlisten(struct fp_demux *demux, const struct fp_listening *listening, uint32_t endpoint);

/** Who receives a segment: the connected endpoint, else a listening one, else FP_NOBODY. */
uint32_t fp_demux_find4(const struct fp_demux *demux, const struct fp_pair4 *pair, uint32_t device);
uint32_t fp_demux_find6(const struct fp_demux *demux, const struct fp_pair6 *pair, uint32_t device);

/**
 * The same for `count` segments that came in by one device, several times as fast: what the table has on one is fetched
 * from memory while others are looked at. From about 16 segments on it pays; any number will do.
 */
void fp_demux_find_many4(const struct fp_demux *demux, const struct fp_pair4 pairs[], size_t count,
                         uint32_t device, uint32_t ret_endpoints[]);
void fp_demux_find_many6(const struct fp_demux *demux, const struct fp_pair6 pairs[], size_t count,
                         uint32_t device, uint32_t ret_endpoints[]);

/** How many connected and listening endpoints it holds, and the bytes of memory that are backed for them at most. */
struct fp_demux_usage {
    size_t connected;
    size_t listening;
    size_t bytes;
};
void fp_demux_usage(const struct fp_demux *demux, struct fp_demux_usage *ret_usage);

#ifdef __cplusplus
}
#endif

#endif
