/* SPDX-License-Identifier: MIT */
#include "demux/live_addresses.h"

#include "sys/loop.h"
#include "sys/route.h"

#include <string.h>

/* The host's own change seldom. */
#define KEPT_NS 1000000000

bool live_addresses_is_local(struct live_addresses *addresses, const struct hash_secret *secret,
                             const struct address *address, uint32_t interface)
{
    size_t place = hash_bytes(secret, address->bytes, sizeof(address->bytes)) % LIVE_ADDRESSES;
    int64_t now_ns = clock_monotonic_ns();
    struct route route;

    if (addresses->items[place].until_ns > now_ns &&
        addresses->items[place].address.family == address->family &&
        memcmp(addresses->items[place].address.bytes, address->bytes, sizeof(address->bytes)) == 0)
        return addresses->items[place].local;
    uint32_t scope = address_needs_scope(address) ? interface : 0;
    if (route_find(address->family, address->bytes, scope, &route) < 0)
        route.local = false;
    addresses->items[place].address = *address;
    addresses->items[place].until_ns = now_ns + KEPT_NS;
    addresses->items[place].local = route.local;
    return route.local;
}
