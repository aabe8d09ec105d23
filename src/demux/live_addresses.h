/* SPDX-License-Identifier: MIT
 *
 * demux/live_addresses.h - which addresses are the host's own, remembered for a second.
 *
 * Asking the kernel's routes takes some microseconds, and segments come with the same few addresses again and again. A
 * fixed number is kept, one in each place of the hash, whose secret is the caller's. Nothing fails: where it cannot be
 * asked an address is none of the host's. Empty when all is zero.
 */
#ifndef DEMUX_LIVE_ADDRESSES_H
#define DEMUX_LIVE_ADDRESSES_H

#include "addr/address.h"
#include "demux/hash.h"

#define LIVE_ADDRESSES 64

struct live_addresses {
    struct {
        struct address address;
        int64_t until_ns; /* CLOCK_MONOTONIC */
        bool local;
    } items[LIVE_ADDRESSES];
};

/* `interface`: by which it is come to, where the address has a scope. */
bool live_addresses_is_local(struct live_addresses *addresses, const struct hash_secret *secret,
                             const struct address *address, uint32_t interface);

#endif
