/* SPDX-License-Identifier: MIT
 *
 * addr/resolve.h - a list of ADDRESSes, names included, as the addresses they stand for.
 *
 * The one place that asks the host's resolver (getaddrinfo(3)), so it may block: it is for the start of a program,
 * before any client is served, and for the client. The list returned is owned by the caller and is released by
 * address_list_done(). Either every item of the text is resolved or the call fails and nothing is returned: half a
 * list is never given. Duplicates are refused, since they could not be bound twice (but for port 0, which takes another
 * port each time). A name gives all its addresses, each once. What bind(2) and connect(2) would refuse with a bare
 * EINVAL or ENODEV, a link-local address without its scope or a device that is not there, is refused here in words.
 */
#ifndef ADDR_RESOLVE_H
#define ADDR_RESOLVE_H

#include "addr/address.h"

struct address_list {
    struct address *items; /* owned */
    size_t count;
};

/* For a passive open: "21", "192.0.2.1:21,[2001:db8::1]:21", "localhost:ftp". FP_DATA, FP_NO_HOST. */
enum fp_status address_list_parse(const char *string, struct address_list *ret_list, struct fp_error *err);

/* For an active open: one ADDRESS with a host and a port, in the order in which to try (RFC 6724 by getaddrinfo). */
enum fp_status address_list_resolve(const char *string, struct address_list *ret_list, struct fp_error *err);

void address_list_done(struct address_list *list);

#endif
