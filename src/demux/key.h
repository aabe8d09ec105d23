/* SPDX-License-Identifier: MIT
 *
 * demux/key.h - pairs as they are looked up: fixed fields in the byte order of the wire.
 *
 * What is looked up in forkport/demux.h and in tables of captures has neither device nor scope, which no segment says,
 * and where both families stand in one table, IPv4 is mapped in IPv6 (::ffff:192.0.2.1). Any address that is not IPv6
 * is taken for IPv4, the wildcard of both families too, whose bytes are zeros. Values only; nothing fails.
 */
#ifndef DEMUX_KEY_H
#define DEMUX_KEY_H

#include "addr/pair.h"

#include <forkport/demux.h>
#include <string.h>

static inline struct in6_addr key_address(const struct address *address)
{
    struct in6_addr key = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

    if (address->family == AF_INET6)
        memcpy(&key, address->bytes, sizeof(key));
    else
        memcpy(&key.s6_addr[12], address->bytes, 4);
    return key;
}

static inline struct fp_pair4 key_pair4(const struct pair *pair)
{
    struct fp_pair4 key = {.local_port = htons(pair->local.port), .foreign_port = htons(pair->foreign.port)};

    memcpy(&key.local, pair->local.bytes, sizeof(key.local));
    memcpy(&key.foreign, pair->foreign.bytes, sizeof(key.foreign));
    return key;
}

static inline struct fp_pair6 key_pair6(const struct pair *pair)
{
    return (struct fp_pair6){key_address(&pair->local), key_address(&pair->foreign), htons(pair->local.port),
                             htons(pair->foreign.port)};
}

#endif
