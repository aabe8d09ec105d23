/* SPDX-License-Identifier: MIT
 *
 * sys/capture.h - frames from a capture file or from an interface, by libpcap; and the file to keep them in.
 *
 * libpcap is opened when the first capture is and not linked, since each mapping of the program would cost every
 * worker that is forked from it. A build without its headers, or a host without the library, says so in the error.
 *
 * A frame belongs to the capture and is valid until the next call. A file is read to its end; an interface never
 * makes anybody wait: capture_next() says CAPTURE_NOTHING, and capture_fd() becomes readable. CAPTURE_BROKEN is the end
 * too: capture_fail() then says why (the file is cut off, the interface is gone). Link types are those of wire/packet.h,
 * times nanoseconds since 1970, also where the file has microseconds. Opening changes nothing on the host but
 * promiscuous mode, where asked for; it needs CAP_NET_RAW.
 */
#ifndef SYS_CAPTURE_H
#define SYS_CAPTURE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* What the library may be called; Debian counts its versions in another way than libpcap does itself. */
#define CAPTURE_LIBRARIES "libpcap.so.1", "libpcap.so.0.8", "libpcap.so"

struct capture;

struct capture_frame {
    const uint8_t *bytes;
    uint32_t captured; /* bytes that are there */
    uint32_t length;   /* of the frame as it was sent */
    int64_t time_ns;
};

struct capture_live {
    const char
        *interface; /* "any": all of them; each frame then says by which it came, where libpcap can tell */
    /* By the link type, a filter of pcap-filter(7); NULL in either place: everything. */
    const char *(*filter)(int link);
    uint32_t snap_bytes;   /* kept of a frame; 0: 262144 */
    uint32_t buffer_bytes; /* of the kernel, for what has not been read yet; 0: its own choice */
    bool promiscuous;
};

struct capture_counts {
    uint64_t received;          /* passed the filter */
    uint64_t dropped;           /* no room in the buffer: not read in time */
    uint64_t dropped_interface; /* by the interface or its driver; 0 where it does not say */
};

enum capture_item {
    CAPTURE_FRAME,
    CAPTURE_END,     /* of the file */
    CAPTURE_NOTHING, /* no frame now */
    CAPTURE_BROKEN,
};

/* "-": standard input. FP_NO_INPUT, FP_NOT_PERMITTED; FP_DATA: it is no capture file; FP_UNAVAILABLE: no libpcap. */
enum fp_status capture_open_file(const char *path, struct capture **ret_capture, struct fp_error *err);
/* FP_USAGE: the filter; FP_NO_INPUT: no such interface; FP_NOT_PERMITTED; FP_UNAVAILABLE: no libpcap, or it is down. */
enum fp_status capture_open_live(const struct capture_live *how, struct capture **ret_capture,
                                 struct fp_error *err);
/* NULL is allowed. */
void capture_close(struct capture *capture);

enum capture_item capture_next(struct capture *capture, struct capture_frame *ret_frame);
/* After CAPTURE_BROKEN: FP_DATA of a file, FP_SYSTEM of an interface, and libpcap's reason. */
enum fp_status capture_fail(const struct capture *capture, struct fp_error *err);

int capture_link(const struct capture *capture);
/* "Ethernet", for people; never NULL. */
const char *capture_link_name(const struct capture *capture);
uint32_t capture_snap_bytes(const struct capture *capture);
/* To wait on; -1: a file. Not owned. */
int capture_fd(const struct capture *capture);
/* False: a file has none. */
bool capture_counts(struct capture *capture, struct capture_counts *ret_counts);

/*
 * A file for frames, that only its owner may read and is emptied where it was there; a FIFO or a device is left as it is.
 * `input`: the file that the frames are read from, which is not written over: FP_USAGE; NULL: none.
 */
enum fp_status capture_create(const char *path, const char *input, int *ret_fd, struct fp_error *err);

#endif
