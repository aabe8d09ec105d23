/* SPDX-License-Identifier: MIT
 *
 * wire/pcapng.h - a capture file in the form pcapng, to be written: values in, blocks of bytes out.
 *
 * A file is a section block, then an interface block, then a packet block for each frame, with a comment or without.
 * Each function puts one block into the caller's buffer and returns its length, a multiple of four; where it is more
 * than the buffer has, nothing was written. Numbers stand in the byte order of this machine, as the form allows; times
 * are nanoseconds since 1970. Comments are UTF-8, by the caller's care, and cut at PCAPNG_COMMENT_MAX bytes.
 * Nothing is allocated, kept or written to a file in here, and nothing fails.
 */
#ifndef WIRE_PCAPNG_H
#define WIRE_PCAPNG_H

#include <stddef.h>
#include <stdint.h>

#define PCAPNG_COMMENT_MAX 2048
/* Room for a packet block with so many bytes captured, whatever its comment. */
#define PCAPNG_PACKET_SIZE(captured) ((captured) + PCAPNG_COMMENT_MAX + 64)
/* Room for the section and the interface, whatever their names. */
#define PCAPNG_HEAD_SIZE (2 * (PCAPNG_COMMENT_MAX + 64))

struct pcapng_packet {
    uint32_t interface; /* of those in the file, in order, from 0 */
    int64_t time_ns;
    const void *bytes;
    uint32_t captured;
    uint32_t length;     /* of the frame on the wire */
    const char *comment; /* NULL: none */
};

size_t pcapng_section(void *buffer, size_t size, const char *application);
/* `link` as pcap_datalink(3) numbers it; a snap length of 0: frames are whole. The name may be NULL. */
size_t pcapng_interface(void *buffer, size_t size, int link, uint32_t snap_bytes, const char *name);
size_t pcapng_packet(void *buffer, size_t size, const struct pcapng_packet *packet);

#endif
