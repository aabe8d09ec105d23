/* SPDX-License-Identifier: MIT
 *
 * demux/segment.h - what of a segment decides who receives it.
 *
 * The socket pair as its receiver sees it (local: the destination), the flags, and the interface by which it comes in.
 * A plain value. The flags are those of TCP's header with its bits; as text they are the RFC's names, joined by
 * commas, in any order and case ("SYN", "syn,ack"); "none" stands for a segment without any. A text that is none of
 * these is FP_USAGE.
 */
#ifndef DEMUX_SEGMENT_H
#define DEMUX_SEGMENT_H

#include "addr/pair.h"

#define SEGMENT_FIN 0x01
#define SEGMENT_SYN 0x02
#define SEGMENT_RST 0x04
#define SEGMENT_PSH 0x08
#define SEGMENT_ACK 0x10

/* Room for all flags as text, with the NUL. */
#define SEGMENT_FLAGS_SIZE 32

struct segment {
    struct pair pair;   /* of IPv4 or of IPv6, both ends whole */
    uint8_t flags;      /* SEGMENT_... */
    uint32_t interface; /* 0: none is known */
};

enum fp_status segment_flags_parse(const char *string, uint8_t *ret_flags, struct fp_error *err);
void segment_flags_format(uint8_t flags, struct text *text);

#endif
