/* SPDX-License-Identifier: MIT
 *
 * demux/replay.h - the frames of a capture, one after another: who received each segment.
 *
 * From the capture alone: the connections (demux/stream.h), and the ends that answered a SYN, which so are known to
 * listen. With the sockets of a saved table (demux/known.h) a segment is matched against these too: the socket that
 * has its pair, else the listening one that its connection was accepted from. Later fragments are given to the segment
 * whose datagram they belong to.
 *
 * Memory grows with the connections up to the bound, never with the file: beyond it the longest idle connection is
 * given up, and is told in the result so that it can be reported; so is the one that another on the same pair follows. Whatever
 * the frames hold, each is taken in or says why not; only a lack of memory for the first record fails.
 */
#ifndef DEMUX_REPLAY_H
#define DEMUX_REPLAY_H

#include "base/error.h"
#include "demux/known.h"
#include "demux/stream.h"

/* How sure an answer is, of the capture and the table. */
enum replay_certainty {
    REPLAY_EXACT,
    REPLAY_GROUP, /* one of several listening sockets that share the end */
    /* The connection began before the capture, or may be over, its own socket is not in the table, or KNOWN_DEPENDS. */
    REPLAY_DEPENDS,
    REPLAY_UNKNOWN, /* so far nothing has shown that anybody listens there */
};

/* An end that was asked for connections. */
struct replay_end {
    struct recent_head head; /* number: segments that asked */
    struct in6_addr address; /* IPv4 mapped */
    in_port_t port;
    uint16_t zero;
    uint32_t accepted; /* those that a SYN ACK answered */
    uint32_t refused;  /* those that a reset answered */
    int64_t first_ns;
    bool listens; /* the last answer was a SYN ACK; with `accepted` and `refused` 0: there was none */
};

struct replay_counts {
    uint64_t frames;
    uint64_t segments;
    uint64_t connections;
    uint64_t nobody;    /* segments that nobody received */
    uint64_t fragments; /* later ones that belong to a segment */
    uint64_t strays;    /* later ones whose first was not seen, or too long ago */
    uint64_t split;     /* those of segments whose header is in several */
    uint64_t other;     /* frames that are not TCP */
    uint64_t cut;       /* frames of which too little was captured */
    uint64_t malformed;
    uint64_t given_up; /* connections that were not over */
    int64_t first_ns;  /* of the first frame */
};

struct replay_result {
    enum packet_class class;
    const char *reason; /* of PACKET_SPLIT, PACKET_SHORT and PACKET_MALFORMED */
    /* Of PACKET_SEGMENT, and of a PACKET_FRAGMENT that belongs to one (with its ports): */
    bool has_answer;
    struct segment segment;
    enum stream_answer answer;
    enum replay_certainty certainty;
    uint32_t stream;
    int64_t stream_first_ns;          /* when the connection was first seen, ... */
    bool stream_opened;               /* ... which was its handshake */
    const struct pairs_row *receiver; /* of the table; of a connection not in it the listening socket */
    const struct pairs_row *sender;   /* of the table, where it was sent by its host; else NULL */
    bool is_accepted; /* `receiver` is the listening socket, and the connection's own is not known */
    bool has_ended;   /* `ended` is a connection that is no longer kept, ... */
    bool is_given_up; /* ... though it was not over */
    struct stream ended;
    bool has_dropped; /* the same of an end */
    struct replay_end dropped;
};

struct replay;

/* `known` may be NULL. FP_SYSTEM. */
enum fp_status replay_new(uint32_t max_pairs, const struct known *known, struct replay **ret_replay,
                          struct fp_error *err);
/* NULL is allowed. */
void replay_free(struct replay *replay);

/* FP_SYSTEM: no memory at all; the result is then not written. */
enum fp_status replay_frame(struct replay *replay, int link, const uint8_t *bytes, uint32_t captured,
                            uint32_t length, int64_t time_ns, struct replay_result *ret_result,
                            struct fp_error *err);

const struct replay_counts *replay_counts(const struct replay *replay);
/* What is kept, by index from 0; NULL: there are no more. Connections are in no order. */
const struct stream *replay_stream(const struct replay *replay, uint32_t index);
const struct replay_end *replay_end(const struct replay *replay, uint32_t index);

#endif
