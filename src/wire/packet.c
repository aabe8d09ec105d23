/* SPDX-License-Identifier: MIT */
#include "wire/packet.h"

#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#define TYPE_IPV4     0x0800
#define TYPE_IPV6     0x86dd
#define TYPE_VLAN     0x8100
#define TYPE_QINQ     0x88a8
#define TYPE_QINQ_OLD 0x9100

#define IPV4_LEAST     20
#define IPV6_HEADER    40
#define TCP_LEAST      20
#define ETHERNET_BYTES 14
#define COOKED_BYTES   16
#define COOKED_2_BYTES 20
#define OPTION_JUMBO   0xc2

#define OPTION_LOOSE_ROUTE  131
#define OPTION_STRICT_ROUTE 137
#define ROUTING_SOURCE      0
#define ROUTING_HOME        2
#define ROUTING_SEGMENTS    4

/* ARPHRD_ETHER: not the loopback interface, which has a number of its own. */
#define HARDWARE_ETHERNET 1

/* What is left of a frame: of `length` bytes `captured` are there, and of these `at` is the first. */
struct rest {
    const uint8_t *at;
    uint32_t captured;
    uint32_t length;
    const char *reason;
    bool outside; /* it came by a wire */
};

static uint16_t get16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static uint32_t get32(const uint8_t *bytes)
{
    return (uint32_t)get16(bytes) << 16 | get16(bytes + 2);
}

static enum packet_class malformed(struct rest *rest, const char *reason)
{
    rest->reason = reason;
    return PACKET_MALFORMED;
}

/* A header of so many bytes is not there: because the frame ends, or because the capture did not keep it. */
static enum packet_class missing(struct rest *rest, uint32_t bytes, const char *frame_ends,
                                 const char *was_cut)
{
    if (rest->length < bytes)
        return malformed(rest, frame_ends);
    rest->reason = was_cut;
    return PACKET_SHORT;
}

static void skip(struct rest *rest, uint32_t bytes)
{
    rest->at += bytes;
    rest->captured -= bytes;
    rest->length -= bytes;
}

/* What a header says that there is; it may be less than the frame has (padding), or was kept. */
static void limit(struct rest *rest, uint32_t length)
{
    if (length < rest->length)
        rest->length = length;
    if (rest->captured > rest->length)
        rest->captured = rest->length;
}

static enum packet_class parse_tcp(struct rest *rest, struct segment *segment)
{
    if (segment->more && rest->length < TCP_LEAST) {
        rest->reason = "its TCP header goes on in another, and is not put together";
        return PACKET_SPLIT;
    }
    if (rest->captured < TCP_LEAST)
        return missing(rest, TCP_LEAST, "it ends within the TCP header", "cut within the TCP header");
    const uint8_t *tcp = rest->at;
    uint32_t header = 4U * (tcp[12] >> 4);
    if (header < TCP_LEAST)
        return malformed(rest, "the TCP header says that it is shorter than it can be");
    if (header > rest->length && !segment->more)
        return malformed(rest, "the TCP header says that it is longer than the segment");
    segment->pair.foreign.port = get16(tcp);
    segment->pair.local.port = get16(tcp + 2);
    segment->sequence = get32(tcp + 4);
    segment->acknowledgement = get32(tcp + 8);
    segment->flags = get16(tcp + 12) & 0x1ff;
    /* Its options may go on in the next fragment, and are payload there. */
    segment->length = header < rest->length ? rest->length - header : 0;
    return PACKET_SEGMENT;
}

static enum packet_class parse_payload(struct rest *rest, uint8_t protocol, struct segment *segment)
{
    if (protocol != IPPROTO_TCP)
        return PACKET_OTHER;
    if (segment->offset == 0)
        return parse_tcp(rest, segment);
    segment->length = rest->length;
    return PACKET_FRAGMENT;
}

static void set_addresses(struct segment *segment, int family, const uint8_t *addresses, size_t bytes)
{
    segment->pair.foreign.family = segment->pair.local.family = family;
    memcpy(segment->pair.foreign.bytes, addresses, bytes);
    memcpy(segment->pair.local.bytes, addresses + bytes, bytes);
}

static void set_last(struct segment *segment, const uint8_t *address, size_t bytes)
{
    segment->direction = PACKET_FOR_ANOTHER;
    memcpy(segment->pair.local.bytes, address, bytes);
}

/* Of a source route: the destination is the next one on the way, and the last one stands at the end. */
static void note_options(const uint8_t *ip, uint32_t header, struct segment *segment)
{
    for (uint32_t at = IPV4_LEAST; at + 1 < header && ip[at] != 0;) {
        uint32_t bytes = ip[at] == 1 ? 1 : ip[at + 1];
        bool is_route = ip[at] == OPTION_LOOSE_ROUTE || ip[at] == OPTION_STRICT_ROUTE;
        if (bytes == 0 || at + bytes > header)
            return;
        if (is_route && bytes >= 7 && ip[at + 2] <= bytes)
            set_last(segment, ip + at + bytes - 4, 4);
        at += bytes;
    }
}

static enum packet_class parse_ipv4(struct rest *rest, struct segment *segment)
{
    if (rest->captured < IPV4_LEAST)
        return missing(rest, IPV4_LEAST, "it ends within the IPv4 header", "cut within the IPv4 header");
    const uint8_t *ip = rest->at;
    uint32_t header = 4U * (ip[0] & 0xf);
    uint32_t total = get16(ip + 2);
    uint16_t fragment = get16(ip + 6);
    if (ip[0] >> 4 != 4)
        return malformed(rest, "it is said to be IPv4, and its version is another");
    if (header < IPV4_LEAST)
        return malformed(rest, "the IPv4 header says that it is shorter than it can be");
    if (total != 0 && total < header)
        return malformed(rest, "the IPv4 header says that it is longer than the packet");
    if (total > rest->length)
        return malformed(rest, "the IPv4 header says that there is more than the frame has");
    /* 0: a super-segment that is longer than the field can say. */
    if (total != 0)
        limit(rest, total);
    if (rest->captured < header)
        return missing(rest, header, "it ends within the IPv4 header", "cut within the IPv4 header");
    set_addresses(segment, AF_INET, ip + 12, 4);
    note_options(ip, header, segment);
    segment->offset = (uint16_t)((fragment & 0x1fff) << 3);
    segment->more = (fragment & 0x2000) != 0;
    segment->identification = segment->more || segment->offset != 0 ? get16(ip + 4) : 0;
    skip(rest, header);
    return parse_payload(rest, ip[9], segment);
}

/* The payload length of a jumbogram (RFC 2675), of the hop-by-hop options; 0: there is none. */
static uint32_t jumbo_length(const uint8_t *options, uint32_t bytes)
{
    for (uint32_t at = 2; at < bytes;) {
        if (options[at] == 0) {
            at++;
            continue;
        }
        if (at + 2 > bytes)
            break;
        if (options[at] == OPTION_JUMBO && options[at + 1] == 4 && at + 6 <= bytes)
            return get32(options + at + 2);
        at += 2U + options[at + 1];
    }
    return 0;
}

static uint32_t extension_bytes(uint8_t kind, const uint8_t *header)
{
    switch (kind) {
    case IPPROTO_FRAGMENT:
        return 8;
    case IPPROTO_AH:
        return 4U * (header[1] + 2U);
    default:
        return 8U * (header[1] + 1U);
    }
}

static bool is_extension(uint8_t kind)
{
    return kind == IPPROTO_HOPOPTS || kind == IPPROTO_ROUTING || kind == IPPROTO_DSTOPTS ||
           kind == IPPROTO_FRAGMENT || kind == IPPROTO_AH;
}

/* Those of other types have their addresses in other ways. */
static void note_routing(const uint8_t *header, uint32_t bytes, struct segment *segment)
{
    if (header[3] == 0)
        return;
    segment->direction = PACKET_FOR_ANOTHER;
    if (bytes >= 24 && header[2] == ROUTING_SEGMENTS)
        set_last(segment, header + 8, 16);
    else if (bytes >= 24 && (header[2] == ROUTING_SOURCE || header[2] == ROUTING_HOME))
        set_last(segment, header + bytes - 16, 16);
}

/* Why it cannot be; NULL: it can. */
static const char *note_extension(struct rest *rest, uint8_t kind, uint32_t bytes, struct segment *segment)
{
    if (kind == IPPROTO_FRAGMENT) {
        segment->offset = get16(rest->at + 2) & 0xfff8;
        segment->more = (rest->at[3] & 1) != 0;
        segment->identification = get32(rest->at + 4);
    } else if (kind == IPPROTO_ROUTING) {
        note_routing(rest->at, bytes, segment);
    } else if (kind == IPPROTO_HOPOPTS) {
        uint32_t jumbo = jumbo_length(rest->at, bytes);
        if (jumbo != 0 && jumbo < bytes)
            return "the jumbo option says less than its own length";
        if (jumbo > rest->length)
            return "the jumbo option says that there is more than the frame has";
        if (jumbo != 0)
            limit(rest, jumbo);
    }
    return NULL;
}

static bool is_mapped(const uint8_t *address)
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(address, prefix, sizeof(prefix)) == 0;
}

static enum packet_class parse_ipv6(struct rest *rest, struct segment *segment)
{
    if (rest->captured < IPV6_HEADER)
        return missing(rest, IPV6_HEADER, "it ends within the IPv6 header", "cut within the IPv6 header");
    const uint8_t *ip = rest->at;
    uint8_t kind = ip[6];
    if (ip[0] >> 4 != 6)
        return malformed(rest, "it is said to be IPv6, and its version is another");
    /* No connection can begin with it (RFC 6890), and it is not to be taken for one of IPv4. */
    if (is_mapped(ip + 8))
        return malformed(rest, "its source is an IPv4 address that is mapped in IPv6");
    set_addresses(segment, AF_INET6, ip + 8, 16);
    skip(rest, IPV6_HEADER);
    if (get16(ip + 4) > rest->length)
        return malformed(rest, "the IPv6 header says that there is more than the frame has");
    /* 0: a jumbogram, or a super-segment from which the kernel took that option. */
    if (get16(ip + 4) != 0)
        limit(rest, get16(ip + 4));
    /* Behind a later fragment's header comes the middle of the datagram and no header. */
    while (is_extension(kind) && segment->offset == 0) {
        uint32_t bytes = rest->captured < 8 ? 8 : extension_bytes(kind, rest->at);
        if (rest->captured < bytes)
            return missing(rest, bytes, "it ends within an extension header of IPv6",
                           "cut within an extension header of IPv6");
        uint8_t next = rest->at[0];
        const char *wrong = note_extension(rest, kind, bytes, segment);
        if (wrong != NULL)
            return malformed(rest, wrong);
        skip(rest, bytes);
        kind = next;
    }
    return parse_payload(rest, kind, segment);
}

/* Raw IP says itself which version it is. */
static enum packet_class parse_ip(struct rest *rest, struct segment *segment)
{
    if (rest->captured == 0)
        return missing(rest, 1, "it is empty", "nothing of it was kept");
    switch (rest->at[0] >> 4) {
    case 4:
        return parse_ipv4(rest, segment);
    case 6:
        return parse_ipv6(rest, segment);
    default:
        return PACKET_OTHER;
    }
}

static enum packet_class parse_type(struct rest *rest, uint16_t type, struct segment *segment)
{
    while (type == TYPE_VLAN || type == TYPE_QINQ || type == TYPE_QINQ_OLD) {
        if (rest->captured < 4)
            return missing(rest, 4, "it ends within a VLAN tag", "cut within a VLAN tag");
        type = get16(rest->at + 2);
        skip(rest, 4);
    }
    switch (type) {
    case TYPE_IPV4:
        return parse_ipv4(rest, segment);
    case TYPE_IPV6:
        return parse_ipv6(rest, segment);
    default:
        return PACKET_OTHER;
    }
}

/* By the address that it goes to; whether a host's own is this host's is not known. */
static uint8_t ethernet_direction(const uint8_t *address)
{
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    if (memcmp(address, all, sizeof(all)) == 0)
        return PACKET_BROADCAST;
    return (address[0] & 1) != 0 ? PACKET_MULTICAST : PACKET_UNKNOWN;
}

static enum packet_class parse_ethernet(struct rest *rest, struct segment *segment)
{
    /* Both addresses of what passes the loopback interface. */
    static const uint8_t nowhere[12];

    if (rest->captured < ETHERNET_BYTES)
        return missing(rest, ETHERNET_BYTES, "it ends within the Ethernet header",
                       "cut within the Ethernet header");
    uint16_t type = get16(rest->at + 12);
    segment->direction = ethernet_direction(rest->at);
    rest->outside = memcmp(rest->at, nowhere, sizeof(nowhere)) != 0;
    skip(rest, ETHERNET_BYTES);
    return parse_type(rest, type, segment);
}

static uint8_t cooked_direction(unsigned kind)
{
    static const uint8_t directions[] = {PACKET_INCOMING, PACKET_BROADCAST, PACKET_MULTICAST,
                                         PACKET_FOR_ANOTHER, PACKET_OUTGOING};

    return kind < sizeof(directions) ? directions[kind] : PACKET_UNKNOWN;
}

static enum packet_class parse_cooked(struct rest *rest, struct segment *segment)
{
    if (rest->captured < COOKED_BYTES)
        return missing(rest, COOKED_BYTES, "it ends within the cooked header",
                       "cut within the cooked header");
    uint16_t type = get16(rest->at + 14);
    segment->direction = cooked_direction(get16(rest->at));
    rest->outside = get16(rest->at + 2) == HARDWARE_ETHERNET;
    skip(rest, COOKED_BYTES);
    return parse_type(rest, type, segment);
}

static enum packet_class parse_cooked_2(struct rest *rest, struct segment *segment)
{
    if (rest->captured < COOKED_2_BYTES)
        return missing(rest, COOKED_2_BYTES, "it ends within the cooked header",
                       "cut within the cooked header");
    uint16_t type = get16(rest->at);
    segment->interface = get32(rest->at + 4);
    segment->direction = cooked_direction(rest->at[10]);
    rest->outside = get16(rest->at + 8) == HARDWARE_ETHERNET;
    skip(rest, COOKED_2_BYTES);
    return parse_type(rest, type, segment);
}

/* The family, in the byte order of whoever captured it; IPv6 has a number of its own on each system. */
static enum packet_class parse_loopback(struct rest *rest, struct segment *segment)
{
    if (rest->captured < 4)
        return missing(rest, 4, "it ends within the loopback header", "cut within the loopback header");
    uint32_t family = get32(rest->at);
    if (family > 0xffff)
        family = __builtin_bswap32(family);
    skip(rest, 4);
    switch (family) {
    case 2:
        return parse_ipv4(rest, segment);
    case 10:
    case 24:
    case 28:
    case 30:
        return parse_ipv6(rest, segment);
    default:
        return PACKET_OTHER;
    }
}

typedef enum packet_class link_parser(struct rest *, struct segment *);

static link_parser *parser_of(int link)
{
    switch (link) {
    case PACKET_LINK_ETHERNET:
        return parse_ethernet;
    case PACKET_LINK_COOKED:
        return parse_cooked;
    case PACKET_LINK_COOKED_2:
        return parse_cooked_2;
    case PACKET_LINK_NULL:
    case PACKET_LINK_LOOP:
        return parse_loopback;
    case PACKET_LINK_RAW:
    case PACKET_LINK_RAW_OPENBSD:
    case PACKET_LINK_RAW_FILE:
        return parse_ip;
    case PACKET_LINK_IPV4:
        return parse_ipv4;
    case PACKET_LINK_IPV6:
        return parse_ipv6;
    default:
        return NULL;
    }
}

bool packet_is_for_host(const struct segment *segment)
{
    return segment->direction <= PACKET_OUTGOING;
}

bool packet_link_known(int link)
{
    return parser_of(link) != NULL;
}

/* The kernel drops it by its addresses. */
static uint8_t martian_direction(const struct pair *pair, bool outside)
{
    bool is_four = pair->local.family == AF_INET;

    if (address_is_broadcast(&pair->foreign) || address_is_multicast(&pair->foreign) ||
        (is_four && address_is_wildcard(&pair->foreign)))
        return PACKET_MARTIAN;
    if (outside && (address_is_loopback(&pair->foreign) || address_is_loopback(&pair->local)))
        return is_four ? PACKET_MARTIAN_LOOPBACK : PACKET_MARTIAN;
    return PACKET_UNKNOWN;
}

enum packet_class packet_parse(int link, const uint8_t *bytes, uint32_t captured, uint32_t length,
                               struct segment *ret_segment, const char **ret_reason)
{
    struct rest rest = {bytes, captured, length < captured ? captured : length, NULL, false};
    struct segment segment = {.sequence = 0};
    link_parser *parser = parser_of(link);
    enum packet_class class = parser != NULL ? parser(&rest, &segment) : PACKET_OTHER;

    if (address_is_broadcast(&segment.pair.local))
        segment.direction = PACKET_BROADCAST;
    if (address_is_multicast(&segment.pair.local))
        segment.direction = PACKET_MULTICAST;
    uint8_t martian = martian_direction(&segment.pair, rest.outside);
    if (packet_is_for_host(&segment) && martian != PACKET_UNKNOWN)
        segment.direction = martian;
    *ret_reason = rest.reason;
    if (class == PACKET_SEGMENT || class == PACKET_FRAGMENT || class == PACKET_SPLIT)
        *ret_segment = segment;
    return class;
}

static const struct flag {
    uint16_t bit;
    const char *name;
} flag_names[] = {
    {SEGMENT_SYN, "SYN"}, {SEGMENT_FIN, "FIN"}, {SEGMENT_RST, "RST"},
    {SEGMENT_PSH, "PSH"}, {SEGMENT_ACK, "ACK"}, {SEGMENT_URG, "URG"},
    {SEGMENT_ECE, "ECE"}, {SEGMENT_CWR, "CWR"}, {SEGMENT_AE, "AE"},
};
#define FLAG_COUNT (sizeof(flag_names) / sizeof(flag_names[0]))

void packet_format_flags(uint16_t flags, struct text *text)
{
    const char *before = "";

    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if ((flags & flag_names[i].bit) == 0)
            continue;
        text_string(text, before);
        text_string(text, flag_names[i].name);
        before = ",";
    }
    if (before[0] == '\0')
        text_string(text, "none");
}

static uint16_t find_flag(const char *name, size_t length)
{
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if (strlen(flag_names[i].name) == length && strncasecmp(flag_names[i].name, name, length) == 0)
            return flag_names[i].bit;
    }
    return 0;
}

enum fp_status packet_parse_flags(const char *string, uint16_t *ret_flags, struct fp_error *err)
{
    uint16_t found = 0;

    if (strcasecmp(string, "none") == 0) {
        *ret_flags = 0;
        return FP_OK;
    }
    for (const char *at = string;; at++) {
        size_t length = strcspn(at, ",");
        uint16_t bit = find_flag(at, length);
        if (bit == 0)
            return error_reason(
                err, error_set(err, FP_USAGE, 0, "understand the flags", "%s", string),
                "expected SYN, ACK, FIN, RST, PSH or URG, joined by commas, or none, at column %zu",
                (size_t)(at - string) + 1);
        found |= bit;
        at += length;
        if (*at == '\0')
            break;
    }
    *ret_flags = found;
    return FP_OK;
}
