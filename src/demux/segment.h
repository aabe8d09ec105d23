/* SPDX-License-Identifier: MIT
 *
 * demux/segment.h - the flags of a segment, as people write them.
 *
 * What of a segment decides who receives it is in struct segment (wire/packet.h): the socket pair as its receiver sees it, the
 * flags, and the interface by which it comes in. As text its flags are the RFC's names, joined by commas, in any order
 * and case ("SYN", "syn,ack"); "none" stands for a segment without any. A text that is none of these is FP_USAGE.
 */
#ifndef DEMUX_SEGMENT_H
#define DEMUX_SEGMENT_H

#include "wire/packet.h"

/* Room for all flags as text, with the NUL. */
#define SEGMENT_FLAGS_SIZE 32

enum fp_status segment_flags_parse(const char *string, uint16_t *ret_flags, struct fp_error *err);
void segment_flags_format(uint16_t flags, struct text *text);

#endif
