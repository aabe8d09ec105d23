/* SPDX-License-Identifier: MIT
 *
 * sys/route.h - where the kernel's routing tables lead to, and the interfaces of the host.
 *
 * Asks rtnetlink(7) in the calling thread's network namespace: is an address of this host, by which interface is it
 * reached, or which one owns it. Nothing is sent on a wire, and no privilege is needed. Calls return -1 with errno set;
 * that an address cannot be reached at all is an answer and no failure. Addresses are 4 or 16 bytes in network order.
 */
#ifndef SYS_ROUTE_H
#define SYS_ROUTE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct route {
    bool local;     /* it is an address of this host, to which segments are delivered */
    bool broadcast; /* it is that of a network of this host */
    bool reachable; /* there is a way to it */
    /*
     * Local: the interface that owns it, by which the segments of this host to itself count as coming in. Else the one
     * that leads to it; 0: none, or several.
     */
    uint32_t interface;
    uint32_t through; /* what is sent to it passes this one: of a local address lo, or its VRF; 0: none */
};

/* `scope`: the interface of an address that needs one, or 0. */
int route_find(int family, const uint8_t *bytes, uint32_t scope, struct route *ret_route);
/* The way of what a socket sends to the address, from one of this host; bound to the interface, or (0) to none. */
int route_find_from(int family, const uint8_t *bytes, const uint8_t *from, uint32_t interface,
                    struct route *ret_route);

/*
 * As which interface TCP sees what comes in by this one: the bridge, bond or team that it is a port of, which may be a port
 * itself; else it is the same, as where it cannot be asked for.
 */
uint32_t route_way_in(uint32_t interface);

struct route_interface {
    uint32_t number;
    bool up;
    bool loopback;
    char name[IF_NAMESIZE];
};

/* The list is the caller's to free(3). */
int route_interfaces(struct route_interface **ret_items, size_t *ret_count);

#endif
