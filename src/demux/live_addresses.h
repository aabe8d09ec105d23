/* SPDX-License-Identifier: MIT
 *
 * demux/live_addresses.h - which addresses are the host's own, and by which interface; remembered for a second.
 *
 * Asking the kernel's routes takes some microseconds, and segments come with the same few addresses again and again. A
 * fixed number is kept, one in each place of the hash, whose secret is the caller's. Nothing fails: where it cannot be
 * asked an address is none of the host's. Empty when all is zero.
 */
#ifndef DEMUX_LIVE_ADDRESSES_H
#define DEMUX_LIVE_ADDRESSES_H

#include "addr/address.h"
#include "demux/hash.h"
#include "sys/route.h"

#define LIVE_PORTS     16
#define LIVE_ADDRESSES 64

struct live_address {
    struct address address;
    uint32_t scope;
    int64_t until_ns; /* CLOCK_MONOTONIC */
    struct route route;
};

struct live_port {
    uint32_t interface;
    uint32_t seen;
    int64_t until_ns; /* CLOCK_MONOTONIC */
};

struct live_addresses {
    struct live_port ports[LIVE_PORTS]; /* interfaces, each at its number */
    struct live_address items[LIVE_ADDRESSES];
};

/* `interface`: by which it is come to, where the address has a scope. */
bool live_addresses_is_local(struct live_addresses *addresses, const struct hash_secret *secret,
                             const struct address *address, uint32_t interface);
/*
 * By which interface TCP takes what comes to this address and was captured on that one: what the host sends to itself passes lo,
 * and counts as coming in by the one that owns the address; what comes in by a port, by what that is a port of.
 */
uint32_t live_addresses_way_in(struct live_addresses *addresses, const struct hash_secret *secret,
                               const struct address *address, uint32_t interface);

#endif
