/* SPDX-License-Identifier: MIT
 *
 * wire/packet.h - a captured frame as a segment of TCP: bytes in, value out.
 *
 * Takes the frame apart from the link to the TCP header: Ethernet, Linux cooked (both versions), raw IP, BSD loopback;
 * tags of 802.1Q and 802.1ad; IPv4 with options and fragments; IPv6 with extension headers; super-segments whose IP
 * length says 0 (BIG TCP, GRO). The pair is that of whoever receives it: the local end is the destination, the last one
 * of a source route. A later fragment has no ports; its identification tells which datagram, and so which segment, it belongs to.
 *
 * Nothing is read beyond what was captured, nothing is kept, nothing allocated; taking a frame apart never fails but says what the frame
 * is, and of one that is no segment why. What a frame says of itself is believed: checksums are not looked at, since
 * a capture holds segments whose checksum the network card was to fill in. IPv4 mapped in IPv6 on the wire stays IPv6, and
 * sends nothing.
 */
#ifndef WIRE_PACKET_H
#define WIRE_PACKET_H

#include "addr/pair.h"

#include <stdbool.h>
#include <stdint.h>

/* Link types, as pcap_datalink(3) numbers them. */
enum packet_link {
    PACKET_LINK_NULL = 0,
    PACKET_LINK_ETHERNET = 1,
    PACKET_LINK_RAW = 12,
    PACKET_LINK_RAW_OPENBSD = 14,
    PACKET_LINK_RAW_FILE = 101,
    PACKET_LINK_LOOP = 108,
    PACKET_LINK_COOKED = 113,
    PACKET_LINK_IPV4 = 228,
    PACKET_LINK_IPV6 = 229,
    PACKET_LINK_COOKED_2 = 276,
};

enum packet_class {
    PACKET_SEGMENT,   /* of TCP, or the first fragment of one */
    PACKET_FRAGMENT,  /* a later fragment of one */
    PACKET_SPLIT,     /* the first fragment of one, which ends within its header; without ports too */
    PACKET_OTHER,     /* not TCP */
    PACKET_SHORT,     /* the capture kept too little of it to say */
    PACKET_MALFORMED, /* it contradicts itself */
};

/* For whom it is, by what the link says, or by its addresses and its way; TCP takes the first three alone. */
enum packet_direction {
    PACKET_UNKNOWN, /* the link does not say */
    PACKET_INCOMING,
    PACKET_OUTGOING,
    PACKET_BROADCAST,
    PACKET_MULTICAST,
    PACKET_FOR_ANOTHER, /* another host's, seen in passing, or on a source route that has not come to its end */
    PACKET_MARTIAN, /* from an address that is nobody's, or by a wire from or to IPv6's loopback address */
    PACKET_MARTIAN_LOOPBACK, /* the same of IPv4, which route_localnet allows */
};

#define SEGMENT_FIN 0x001
#define SEGMENT_SYN 0x002
#define SEGMENT_RST 0x004
#define SEGMENT_PSH 0x008
#define SEGMENT_ACK 0x010
#define SEGMENT_URG 0x020
#define SEGMENT_ECE 0x040
#define SEGMENT_CWR 0x080
#define SEGMENT_AE  0x100

struct segment {
    struct pair
        pair; /* of the receiver: local is the destination. Without scope and device; a fragment has no ports */
    uint32_t sequence;
    uint32_t acknowledgement;
    uint32_t
        length;     /* bytes of payload in this frame as it was sent, those that were not captured included */
    uint16_t flags; /* SEGMENT_... */
    uint8_t direction;       /* enum packet_direction */
    bool more;               /* further fragments follow */
    uint16_t offset;         /* of a fragment in its datagram, in bytes; 0: it is the first or the only one */
    uint32_t identification; /* of the datagram, where it is fragmented */
    uint32_t interface;      /* it came in or went out by, where the link says so; else 0 */
};

/* False: the host's TCP does not take it, whatever is in it. */
bool packet_is_for_host(const struct segment *segment);
/* Can frames of this link be taken apart? */
bool packet_link_known(int link);

/*
 * `captured` bytes are there of a frame that had `length`. The segment is written for PACKET_SEGMENT, PACKET_FRAGMENT and
 * PACKET_SPLIT alone; *ret_reason is a short phrase for PACKET_SPLIT, PACKET_SHORT and PACKET_MALFORMED, else NULL.
 */
enum packet_class packet_parse(int link, const uint8_t *bytes, uint32_t captured, uint32_t length,
                               struct segment *ret_segment, const char **ret_reason);

/*
 * Flags as text are the names of the RFC, joined by commas: "SYN,ACK"; "none" without any. They are read in any order and
 * case; a text that is none of these is FP_USAGE.
 */
void packet_format_flags(uint16_t flags, struct text *text);
enum fp_status packet_parse_flags(const char *string, uint16_t *ret_flags, struct fp_error *err);

#endif
