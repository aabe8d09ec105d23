/* SPDX-License-Identifier: MIT
 *
 * addr/address.h - one end of a socket pair: address, scope, device and port; and the notation for it.
 *
 * Owns the ADDRESS forms of the command line (forkport-serve(1)) and the notation of forkport(1). A `struct address` is
 * a plain value: it holds no pointer and no fd, and may be copied and compared field by field. Parsing is strict (the
 * whole text must be one address), bounded, never allocates, never asks a name server (addr/resolve.h does), and says
 * what was expected and at which column. Formatting never fails: what does not fit is cut.
 *
 * An IPv4 address that came mapped in IPv6 (::ffff:192.0.2.1) is kept and shown as IPv4.
 */
#ifndef ADDR_ADDRESS_H
#define ADDR_ADDRESS_H

#include "base/error.h"
#include "base/text.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Room for any address with scope, device and port in notation, with the NUL. */
#define ADDRESS_TEXT_SIZE 128

struct address {
    int family;            /* AF_UNSPEC: any address of both families; AF_INET; AF_INET6 */
    uint32_t scope;        /* IPv6 scope id (an interface's index), 0: none */
    uint16_t port;         /* host byte order; 0: any ("*"), or for a listening socket to be: a free one */
    uint8_t bytes[16];     /* network byte order, IPv4 in the first four; all zero: the wildcard */
    char device[IFNAMSIZ]; /* the device a socket is bound to, or "" */
};

/* IPv4 and IPv6 (mapped IPv4 becomes AF_INET); anything else gives the AF_UNSPEC wildcard. */
void address_from_sockaddr(const struct sockaddr *sa, struct address *ret_address);

/* The sockaddr to bind or connect to; AF_UNSPEC becomes the IPv6 wildcard. Returns its length. */
socklen_t address_to_sockaddr(const struct address *address, struct sockaddr_storage *ret_sa);

bool address_is_wildcard(const struct address *address);
bool address_equal(const struct address *a, const struct address *b);
/* Is it one that means nothing without its interface (link-local)? */
bool address_needs_scope(const struct address *address);
/* Those that are nobody's own: TCP takes no segment to them. Of a network's own broadcast address only its routes know. */
bool address_is_broadcast(const struct address *address);
bool address_is_multicast(const struct address *address);
bool address_is_loopback(const struct address *address);
/* Of a socket's own end: what it is bound to, in IFNAMSIZ bytes at most; a scope says that already. */
void address_set_device(struct address *address, const char *name);
/* Can it stand in the notation as the name of a device? (Linux allows stranger names than that.) */
bool address_is_device_name(const char *name, size_t length);
/*
 * The index of the device that it names; 0: it names none, or one that is not there (errno). Of none the kernel is not asked: for root it
 * would have a module of that name looked for (modprobe(8)), and be waited for.
 */
uint32_t address_interface(const struct address *address);

/* Why bind(2) has refused an address: sets the hint of err where one is known. */
void address_hint_bind(int errnum, struct fp_error *err);

/*
 * "192.0.2.1:21", "[2001:db8::1]:21", "[fe80::2%eth0]:1500", "192.0.2.1%eth0:21", "[2001:db8::1]%eth0:21", "*%eth0:21",
 * "*:21", "*:*": the wildcard is "*" in every family. Appends to `text`. With address_format_host() the address and its
 * scope alone, without brackets and device ("2001:db8::1", "fe80::2%eth0", "192.0.2.1"). With address_format_wanted() as
 * one that is to be bound was given: "*:0" where a free port shall be taken.
 */
void address_format(const struct address *address, struct text *text);
void address_format_wanted(const struct address *address, struct text *text);
void address_format_host(const struct address *address, struct text *text);

/*
 * Parses one ADDRESS whose host is numeric or a wildcard: "21", ":21", "*:21", "0.0.0.0:21", "[::]:21", "192.0.2.1:21",
 * "[2001:db8::1]:21", "[fe80::2%eth0]:21", "192.0.2.1%eth0:21", "*%eth0:21", "[::]%eth0:21", also in the notation of a
 * pair where a port may be "*". Port names are looked up in services(5) ("*:ftp", "ftp"). A host that is a name gives
 * FP_DATA with *ret_is_name true (where ret_is_name is not NULL): addr/resolve.h takes those. Errors: FP_DATA, what was
 * expected, at which column. Whether a device is there is not asked; a scope must have its interface, or be a number.
 */
enum fp_status address_parse(const char *string, struct address *ret_address, bool *ret_is_name,
                             struct fp_error *err);

#endif
