/* SPDX-License-Identifier: MIT */
#include "addr/address.h"

#include "addr/notation.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

static size_t bytes_used(int family)
{
    return family == AF_INET ? 4 : 16;
}

void address_from_sockaddr(const struct sockaddr *sa, struct address *ret_address)
{
    struct address address = {.family = AF_UNSPEC};

    /* Copied out, since a sockaddr need not lie where its real type may be read. */
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof(in));
        address.family = AF_INET;
        address.port = ntohs(in.sin_port);
        memcpy(address.bytes, &in.sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof(in6));
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr);
        address.family = mapped ? AF_INET : AF_INET6;
        address.port = ntohs(in6.sin6_port);
        memcpy(address.bytes, &in6.sin6_addr.s6_addr[mapped ? 12 : 0], mapped ? 4 : 16);
        if (address_needs_scope(&address))
            address.scope = in6.sin6_scope_id;
    }
    *ret_address = address;
}

socklen_t address_to_sockaddr(const struct address *address, struct sockaddr_storage *ret_sa)
{
    memset(ret_sa, 0, sizeof(*ret_sa));
    if (address->family == AF_INET) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(address->port)};
        memcpy(&in.sin_addr, address->bytes, 4);
        memcpy(ret_sa, &in, sizeof(in));
        return sizeof(in);
    }
    struct sockaddr_in6 in6 = {
        .sin6_family = AF_INET6,
        .sin6_port = htons(address->port),
        .sin6_scope_id = address->scope,
    };
    if (address->family == AF_INET6)
        memcpy(&in6.sin6_addr, address->bytes, 16);
    memcpy(ret_sa, &in6, sizeof(in6));
    return sizeof(in6);
}

bool address_is_wildcard(const struct address *address)
{
    static const uint8_t zero[16];

    return address->family == AF_UNSPEC || memcmp(address->bytes, zero, bytes_used(address->family)) == 0;
}

bool address_needs_scope(const struct address *address)
{
    const uint8_t *bytes = address->bytes;

    if (address->family != AF_INET6)
        return false;
    return (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80) || (bytes[0] == 0xff && (bytes[1] & 0x0f) <= 2);
}

bool address_is_broadcast(const struct address *address)
{
    static const uint8_t all[4] = {0xff, 0xff, 0xff, 0xff};

    return address->family == AF_INET && memcmp(address->bytes, all, sizeof(all)) == 0;
}

bool address_is_multicast(const struct address *address)
{
    if (address->family == AF_INET)
        return (address->bytes[0] & 0xf0) == 0xe0;
    return address->family == AF_INET6 && address->bytes[0] == 0xff;
}

bool address_is_loopback(const struct address *address)
{
    static const uint8_t loopback6[16] = {[15] = 1};

    if (address->family == AF_INET)
        return address->bytes[0] == 127;
    return address->family == AF_INET6 && memcmp(address->bytes, loopback6, sizeof(loopback6)) == 0;
}

void address_hint_bind(int errnum, struct fp_error *err)
{
    if (errnum == EADDRNOTAVAIL)
        error_hint(err, "no interface of this host has that address, or not yet");
    else if (errnum == EACCES)
        error_hint(err, "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE");
}

bool address_equal(const struct address *a, const struct address *b)
{
    if (a->family != b->family || a->port != b->port || a->scope != b->scope ||
        strcmp(a->device, b->device) != 0)
        return false;
    return a->family == AF_UNSPEC || memcmp(a->bytes, b->bytes, bytes_used(a->family)) == 0;
}

/* For every accepted connection, so not by inet_ntop(3), which goes through sprintf(3) and takes about twice as long. */
static void format_ipv4(const uint8_t bytes[4], struct text *text)
{
    for (int i = 0; i < 4; i++) {
        if (i > 0)
            text_bytes(text, ".", 1);
        text_unsigned(text, bytes[i]);
    }
}

uint32_t address_interface(const struct address *address)
{
    return address->device[0] != '\0' ? if_nametoindex(address->device) : 0;
}

/* The index stands for a scope whose interface is gone, or has a name that would break the notation. */
static void format_scope(uint32_t scope, struct text *text)
{
    char name[IF_NAMESIZE];

    text_bytes(text, "%", 1);
    if (if_indextoname(scope, name) != NULL && address_is_device_name(name, strlen(name)))
        text_string(text, name);
    else
        text_unsigned(text, scope);
}

static void format_ipv6(const struct address *address, struct text *text)
{
    char digits[INET6_ADDRSTRLEN];

    text_string(text, inet_ntop(AF_INET6, address->bytes, digits, sizeof(digits)));
    if (address->scope != 0)
        format_scope(address->scope, text);
}

void address_format_host(const struct address *address, struct text *text)
{
    if (address_is_wildcard(address))
        text_bytes(text, "*", 1);
    else if (address->family == AF_INET)
        format_ipv4(address->bytes, text);
    else
        format_ipv6(address, text);
}

static void format_end(const struct address *address, const char *no_port, struct text *text)
{
    bool bracketed = address->family == AF_INET6 && !address_is_wildcard(address);

    if (bracketed)
        text_bytes(text, "[", 1);
    address_format_host(address, text);
    if (bracketed)
        text_bytes(text, "]", 1);
    if (address->device[0] != '\0') {
        text_bytes(text, "%", 1);
        text_escape(text, address->device, strnlen(address->device, sizeof(address->device)));
    }
    text_bytes(text, ":", 1);
    if (address->port != 0)
        text_unsigned(text, address->port);
    else
        text_string(text, no_port);
}

void address_format(const struct address *address, struct text *text)
{
    format_end(address, "*", text);
}

void address_format_wanted(const struct address *address, struct text *text)
{
    format_end(address, "0", text);
}

void address_set_device(struct address *address, const char *name)
{
    address->device[0] = '\0';
    if (address->scope == 0)
        strncat(address->device, name, sizeof(address->device) - 1);
}

bool address_is_device_name(const char *name, size_t length)
{
    if (length == 0 || length >= IFNAMSIZ)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (name[i] <= ' ' || name[i] > '~' || strchr("%:/[],{}*\\", name[i]) != NULL)
            return false;
    }
    return true;
}

enum fp_status address_parse(const char *string, struct address *ret_address, bool *ret_is_name,
                             struct fp_error *err)
{
    struct notation notation = notation_whole(string);

    return notation_address(&notation, ret_address, ret_is_name, err);
}
