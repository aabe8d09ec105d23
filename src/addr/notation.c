/* SPDX-License-Identifier: MIT */
#include "addr/notation.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* More than the longest name of a host, a device and a service can be together. */
#define ITEM_MAX          320
#define HOST_NAME_MAX_DNS 253
#define SERVICE_SIZE      64

static const char digits[] = "0123456789";
static const char name_characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

bool span_copy(struct span span, char *buffer, size_t size)
{
    if (span.length >= size)
        return false;
    memcpy(buffer, span.start, span.length);
    buffer[span.length] = '\0';
    return true;
}

static const char *span_find(struct span span, char c)
{
    return span.length != 0 ? memchr(span.start, c, span.length) : NULL;
}

static const char *span_end(struct span span)
{
    return span.start + span.length;
}

static struct span span_between(const char *start, const char *end)
{
    return (struct span){.start = start, .length = (size_t)(end - start)};
}

static bool span_is(struct span span, const char *string)
{
    return span.length == strlen(string) && memcmp(span.start, string, span.length) == 0;
}

/* How many of its first characters are of the set. */
static size_t span_of(struct span span, const char *set)
{
    size_t length = 0;

    while (length < span.length && span.start[length] != '\0' && strchr(set, span.start[length]) != NULL)
        length++;
    return length;
}

static bool span_is_all(struct span span, const char *set)
{
    return span.length != 0 && span_of(span, set) == span.length;
}

/* For "%.*s". */
static int span_width(struct span span)
{
    return span.length < ITEM_MAX ? (int)span.length : ITEM_MAX;
}

/* For "%.*s%s": no more of it than the longest service has. */
static int service_width(struct span span)
{
    return span.length < SERVICE_SIZE ? (int)span.length : SERVICE_SIZE;
}

static const char *service_end(struct span span)
{
    return span.length > SERVICE_SIZE ? "..." : "";
}

struct notation notation_whole(const char *text)
{
    return (struct notation){
        .text = text,
        .item = {.start = text, .length = strlen(text)},
        .operation = "understand the address",
    };
}

enum fp_status notation_fail(const struct notation *notation, const char *at, struct fp_error *err,
                             const char *reason, ...)
{
    struct span item = notation->item;
    char text[160];
    va_list ap;

    if (err == NULL)
        return FP_DATA;
    va_start(ap, reason);
    vsnprintf(text, sizeof(text), reason, ap);
    va_end(ap);
    error_set(err, FP_DATA, 0, notation->operation, "%.*s", span_width(item), item.start);
    err->column = (unsigned)(at - notation->text) + 1;
    return error_reason(err, FP_DATA, "%s, at column %u", text, err->column);
}

enum fp_status notation_fail_device(const struct notation *notation, const char *at, const char *name,
                                    struct fp_error *err)
{
    /* Where no socket can be made to ask with, glibc says that there is no file. */
    if (errno != ENODEV)
        return error_reason(err, error_set(err, FP_SYSTEM, 0, "look up", "the device %s", name),
                            "no socket can be made to ask with");
    return notation_fail(notation, at, err, "there is no device %s", name);
}

/* An IPv6 address without its brackets, as it stands in front of %DEVICE or the end. */
static bool is_bare_ipv6(struct span span)
{
    const char *percent = span_find(span, '%');
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (percent != NULL)
        span.length = (size_t)(percent - span.start);
    return span_copy(span, text, sizeof(text)) && inet_pton(AF_INET6, text, &address) == 1;
}

/* Two or more colons outside brackets. The last one may stand before the port, or belong to the address. */
static enum fp_status fail_colons(const struct notation *notation, const char *last_colon,
                                  struct fp_error *err)
{
    struct span item = notation->item;
    struct span head = span_between(item.start, last_colon);
    struct span port = span_between(last_colon + 1, span_end(item));

    if (is_bare_ipv6(head)) {
        notation_fail(notation, item.start, err, "an IPv6 address stands in brackets");
        error_hint(err, "write [%.*s]:%.*s", span_width(head), head.start, span_width(port), port.start);
    } else if (is_bare_ipv6(item)) {
        notation_fail(notation, item.start, err,
                      "an IPv6 address stands in brackets, and has a port behind them");
        error_hint(err, "write [%.*s]:PORT", span_width(item), item.start);
    } else {
        notation_fail(notation, last_colon, err, "there are too many colons");
        error_hint(err, "write HOST:PORT, or [ADDRESS]:PORT for IPv6");
    }
    return FP_DATA;
}

static enum fp_status fail_no_port(const struct notation *notation, struct fp_error *err)
{
    struct span item = notation->item;

    notation_fail(notation, span_end(item), err, "the port is missing");
    error_hint(err, "write %.*s:PORT", span_width(item), item.start);
    return FP_DATA;
}

static enum fp_status check_item(const struct notation *notation, struct fp_error *err)
{
    struct span item = notation->item;

    if (item.length == 0)
        return notation_fail(notation, item.start, err, "there is nothing where an address should be");
    if (item.length > ITEM_MAX)
        return notation_fail(notation, item.start + ITEM_MAX, err, "it is too long");
    for (const char *at = item.start; at < span_end(item); at++) {
        if (*at == ' ')
            return notation_fail(notation, at, err, "there is a space in it");
        if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
            return notation_fail(notation, at, err, "there is a byte in it that no address has");
    }
    const char *slash = span_find(item, '/');
    if (slash != NULL && slash + 1 < span_end(item) && strchr(digits, slash[1]) != NULL)
        return notation_fail(notation, slash, err, "prefixes of addresses are not supported yet");
    return FP_OK;
}

/* Takes %DEVICE, which may be empty text, from behind the host. */
static enum fp_status split_device(const struct notation *notation, struct span text, struct span *ret_device,
                                   struct fp_error *err)
{
    if (text.length == 0) {
        *ret_device = text;
        return FP_OK;
    }
    struct span device = span_between(text.start + 1, span_end(text));
    if (text.start[0] != '%' || !address_is_device_name(device.start, device.length))
        return notation_fail(notation, text.start, err,
                             "expected ':' and a port, or '%%' and the name of a device");
    *ret_device = device;
    return FP_OK;
}

static enum fp_status split_bracketed(const struct notation *notation, struct notation_parts *ret_parts,
                                      struct fp_error *err)
{
    struct span item = notation->item;
    const char *close = span_find(item, ']');

    if (close == NULL)
        return notation_fail(notation, span_end(item), err, "expected ']' behind the IPv6 address");
    struct span rest = span_between(close + 1, span_end(item));
    const char *colon = span_find(rest, ':');
    ret_parts->bracketed = true;
    ret_parts->host = span_between(item.start + 1, close);
    ret_parts->port = span_between(colon != NULL ? colon + 1 : span_end(item), span_end(item));
    enum fp_status status =
        split_device(notation, span_between(rest.start, colon != NULL ? colon : span_end(rest)),
                     &ret_parts->device, err);
    if (status == FP_OK && colon == NULL)
        return fail_no_port(notation, err);
    return status;
}

static enum fp_status split_plain(const struct notation *notation, struct notation_parts *ret_parts,
                                  struct fp_error *err)
{
    struct span item = notation->item;
    const char *colon = span_find(item, ':');
    const char *last_colon = memrchr(item.start, ':', item.length);

    if (colon != last_colon)
        return fail_colons(notation, last_colon, err);
    if (colon == NULL) {
        /* A port or a service alone; what no service is called must be a host. */
        if (span_find(item, '.') != NULL || span_find(item, '%') != NULL || span_is(item, "*"))
            return fail_no_port(notation, err);
        ret_parts->host = ret_parts->device = span_between(item.start, item.start);
        ret_parts->port = item;
        return FP_OK;
    }
    struct span host = span_between(item.start, colon);
    const char *percent = span_find(host, '%');
    if (percent == host.start)
        return notation_fail(notation, percent, err, "expected an address or '*' before the device");
    ret_parts->host = span_between(host.start, percent != NULL ? percent : colon);
    ret_parts->port = span_between(colon + 1, span_end(item));
    return split_device(notation, span_between(span_end(ret_parts->host), colon), &ret_parts->device, err);
}

enum fp_status notation_split(const struct notation *notation, struct notation_parts *ret_parts,
                              struct fp_error *err)
{
    struct notation_parts parts = {.bracketed = false};
    enum fp_status status = check_item(notation, err);

    if (status == FP_OK && notation->item.start[0] == '[')
        status = split_bracketed(notation, &parts, err);
    else if (status == FP_OK)
        status = split_plain(notation, &parts, err);
    if (status == FP_OK)
        *ret_parts = parts;
    return status;
}

static bool is_port_range(struct span port)
{
    size_t low = span_of(port, digits);

    return low != 0 && low < port.length && port.start[low] == '-' &&
           span_is_all(span_between(port.start + low + 1, span_end(port)), digits);
}

/* Not found: FP_DATA, and nothing is said of it. */
static enum fp_status find_service(const char *name, uint16_t *ret_port, struct fp_error *err)
{
    struct servent entry;
    struct servent *found;
    char room[1024];

    errno = 0;
    int failure = getservbyname_r(name, "tcp", &entry, room, sizeof(room), &found);
    if (failure == 0 && found != NULL) {
        *ret_port = ntohs((uint16_t)found->s_port);
        return FP_OK;
    }
    return error_is_shortage(errno) ? error_set(err, FP_SYSTEM, errno, "look up", "the service %s", name)
                                    : FP_DATA;
}

enum fp_status notation_port(const struct notation *notation, struct span port, uint16_t *ret_port,
                             struct fp_error *err)
{
    char name[SERVICE_SIZE];
    uint64_t number;

    if (port.length == 0)
        return notation_fail(notation, port.start, err, "expected a port behind ':'");
    if (span_is(port, "*")) {
        *ret_port = 0;
        return FP_OK;
    }
    bool fits = span_copy(port, name, sizeof(name));
    if (fits && text_parse_unsigned(name, UINT16_MAX, &number)) {
        *ret_port = (uint16_t)number;
        return FP_OK;
    }
    if (span_is_all(port, digits))
        return notation_fail(notation, port.start, err, "port %.*s%s is above 65535", service_width(port),
                             port.start, service_end(port));
    if (is_port_range(port))
        return notation_fail(notation, port.start, err, "ranges of ports are not supported yet");
    enum fp_status status = fits ? find_service(name, ret_port, err) : FP_DATA;
    if (status != FP_DATA)
        return status;
    notation_fail(notation, port.start, err, "%.*s%s is neither a port nor a TCP service of services(5)",
                  service_width(port), port.start, service_end(port));
    if (port.start == notation->item.start)
        error_hint(err, "if it is a host, write %.*s:PORT", span_width(port), port.start);
    return FP_DATA;
}

static enum fp_status find_scope(const struct notation *notation, struct span scope, uint32_t *ret_scope,
                                 struct fp_error *err)
{
    char name[IF_NAMESIZE];
    uint64_t number;

    if (!span_copy(scope, name, sizeof(name)) || !address_is_device_name(name, scope.length))
        return notation_fail(notation, scope.start, err, "expected the name of a device behind '%%'");
    uint32_t index = if_nametoindex(name);
    if (index == 0 && text_parse_unsigned(name, UINT32_MAX, &number))
        index = (uint32_t)number;
    if (index == 0)
        return notation_fail_device(notation, scope.start, name, err);
    *ret_scope = index;
    return FP_OK;
}

static enum fp_status fail_no_ipv6(const struct notation *notation, const struct notation_parts *parts,
                                   const char *host, struct fp_error *err)
{
    struct in_addr ipv4;

    notation_fail(notation, parts->host.start, err, "expected an IPv6 address in the brackets");
    if (inet_pton(AF_INET, host, &ipv4) == 1)
        error_hint(err, "write %s:%.*s", host, span_width(parts->port), parts->port.start);
    return FP_DATA;
}

static enum fp_status host_bracketed(const struct notation *notation, const struct notation_parts *parts,
                                     struct address *ret_address, struct fp_error *err)
{
    const char *percent = span_find(parts->host, '%');
    struct span host = span_between(parts->host.start, percent != NULL ? percent : span_end(parts->host));
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    char text[INET6_ADDRSTRLEN];
    struct address address;

    if (!span_copy(host, text, sizeof(text)) || inet_pton(AF_INET6, text, &in6.sin6_addr) != 1)
        return fail_no_ipv6(notation, parts, host.length < sizeof(text) ? text : "", err);
    address_from_sockaddr((const struct sockaddr *)&in6, &address);
    if (percent != NULL && !address_needs_scope(&address)) {
        notation_fail(notation, percent, err, "only a link-local address has a scope");
        error_hint(err, "to bind to a device, write [%s]%.*s:PORT", text,
                   span_width(span_between(percent, span_end(parts->host))), percent);
        return FP_DATA;
    }
    if (percent != NULL) {
        struct span scope = span_between(percent + 1, span_end(parts->host));
        enum fp_status status = find_scope(notation, scope, &address.scope, err);
        if (status != FP_OK)
            return status;
    }
    *ret_address = address;
    return FP_OK;
}

/* No name of a host ends in a number, so what does was meant as an IPv4 address (and getaddrinfo would take "1.2"). */
static bool ends_in_number(struct span host)
{
    const char *dot = memrchr(host.start, '.', host.length);
    struct span label = span_between(dot != NULL ? dot + 1 : host.start, span_end(host));

    if (label.length > 2 && label.start[0] == '0' && (label.start[1] == 'x' || label.start[1] == 'X'))
        return span_is_all(span_between(label.start + 2, span_end(label)), "0123456789abcdefABCDEF");
    return span_is_all(label, digits) || span_is_all(host, "0123456789.");
}

static enum fp_status host_plain(const struct notation *notation, struct span host,
                                 struct address *ret_address, bool *ret_is_name, struct fp_error *err)
{
    struct address address = {.family = AF_INET};
    char text[INET_ADDRSTRLEN];

    if (host.length == 0 || span_is(host, "*")) {
        *ret_address = (struct address){.family = AF_UNSPEC};
        return FP_OK;
    }
    if (span_copy(host, text, sizeof(text)) && inet_pton(AF_INET, text, address.bytes) == 1) {
        *ret_address = address;
        return FP_OK;
    }
    if (ends_in_number(host))
        return notation_fail(notation, host.start, err, "an IPv4 address has four numbers from 0 to 255");
    size_t good = span_of(host, name_characters);
    if (good < host.length)
        return notation_fail(notation, host.start + good, err, "'%c' is in no name of a host",
                             host.start[good]);
    if (host.length > HOST_NAME_MAX_DNS)
        return notation_fail(notation, host.start, err, "no name of a host is longer than %d",
                             HOST_NAME_MAX_DNS);
    *ret_is_name = true;
    return notation_fail(notation, host.start, err, "expected a numeric address, not a name");
}

enum fp_status notation_address(const struct notation *notation, struct address *ret_address,
                                bool *ret_is_name, struct fp_error *err)
{
    struct notation_parts parts;
    struct address address;
    bool is_name = false;
    uint16_t port;

    enum fp_status status = notation_split(notation, &parts, err);
    if (status == FP_OK)
        status = notation_port(notation, parts.port, &port, err);
    if (status == FP_OK)
        status = parts.bracketed ? host_bracketed(notation, &parts, &address, err)
                                 : host_plain(notation, parts.host, &address, &is_name, err);
    if (ret_is_name != NULL)
        *ret_is_name = is_name;
    if (status != FP_OK)
        return status;
    address.port = port;
    span_copy(parts.device, address.device, sizeof(address.device));
    *ret_address = address;
    return FP_OK;
}
