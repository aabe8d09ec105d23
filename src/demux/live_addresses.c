/* SPDX-License-Identifier: MIT */
#include "demux/live_addresses.h"

#include "base/time.h"
#include "sys/loop.h"

#include <string.h>

/* The host's own change seldom. */
#define KEPT_NS SECOND_NS
/* In each network namespace. */
#define LOOPBACK 1

static const struct route *find(struct live_addresses *addresses, const struct hash_secret *secret,
                                const struct address *address, uint32_t scope)
{
    size_t place = hash_bytes(secret, address->bytes, sizeof(address->bytes)) % LIVE_ADDRESSES;
    struct live_address *item = &addresses->items[place];
    int64_t now_ns = clock_monotonic_ns();

    if (item->until_ns > now_ns && item->scope == scope && item->address.family == address->family &&
        memcmp(item->address.bytes, address->bytes, sizeof(address->bytes)) == 0)
        return &item->route;
    if (route_find(address->family, address->bytes, scope, &item->route) < 0)
        item->route.local = false;
    item->address = *address;
    item->scope = scope;
    item->until_ns = now_ns + KEPT_NS;
    return &item->route;
}

bool live_addresses_is_local(struct live_addresses *addresses, const struct hash_secret *secret,
                             const struct address *address, uint32_t interface)
{
    return find(addresses, secret, address, address_needs_scope(address) ? interface : 0)->local;
}

static uint32_t seen_as(struct live_addresses *addresses, uint32_t interface)
{
    struct live_port *port = &addresses->ports[interface % LIVE_PORTS];
    int64_t now_ns = clock_monotonic_ns();

    if (port->interface != interface || port->until_ns <= now_ns)
        *port = (struct live_port){interface, route_way_in(interface), now_ns + KEPT_NS};
    return port->seen;
}

uint32_t live_addresses_way_in(struct live_addresses *addresses, const struct hash_secret *secret,
                               const struct address *address, uint32_t interface)
{
    const struct route *route = interface == LOOPBACK ? find(addresses, secret, address, 0) : NULL;

    return route != NULL && route->local ? route->interface : seen_as(addresses, interface);
}
