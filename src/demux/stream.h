/* SPDX-License-Identifier: MIT
 *
 * demux/stream.h - a connection as its segments tell of it: who of the two ends receives the next one, as what.
 *
 * What is known of a connection is what a capture has of it: SYN, ACK, FIN, RST and the sequence numbers of both ends.
 * From these it follows which socket of the receiving host has the segment: the listening one, the request for a
 * connection, the connection, what waits in TIME-WAIT, or none any more. A connection is counted as tshark counts tcp.stream: a SYN
 * that begins at another sequence number than the one before begins another. Who receives that SYN is another question:
 * where the old connection was not over it is the old one's, until it is answered as a new one. Of what was repeated it
 * is told what certainly was: sequence numbers seen before; those that fill a gap were not.
 *
 * The two ends are numbered 0 and 1 in the order of their addresses, so that both directions have one key; counts stand
 * with the end that sent. A plain value of fixed size; nothing fails.
 */
#ifndef DEMUX_STREAM_H
#define DEMUX_STREAM_H

#include "demux/recent.h"
#include "wire/packet.h"

#include <forkport/demux.h>

#define STREAM_SHIFT 7

/* As what a segment is received. */
enum stream_answer {
    STREAM_LISTENING, /* by the listening socket, to begin a connection */
    STREAM_SYN_RECEIVED,
    STREAM_CONNECTED,
    STREAM_TIME_WAIT,
    STREAM_NOBODY, /* it is over, or never began */
};

enum stream_outcome {
    STREAM_OPEN,
    STREAM_UNANSWERED,  /* a SYN, and nothing from the other end */
    STREAM_REFUSED,     /* a SYN, answered by a reset */
    STREAM_HALF_CLOSED, /* one end has sent a FIN, or both and one was not acknowledged */
    STREAM_CLOSED,
    STREAM_RESET,
};

enum stream_handshake { STREAM_NOT_SEEN, STREAM_PARTLY_SEEN, STREAM_SEEN };

/* What an end has sent. */
struct stream_end {
    uint64_t bytes;    /* of payload, repeated ones included */
    uint32_t segments; /* those to a listening socket not included */
    uint32_t repeated; /* segments of them */
    uint32_t first;    /* sequence number */
    uint32_t next;     /* the one behind the highest seen */
    uint32_t gap;      /* where the gap begins that was not seen, and ... */
    uint32_t gap_end;
};

struct stream {
    struct recent_head head; /* number: as tshark counts, from 0 */
    int64_t first_ns;
    struct fp_pair6 key; /* local: end 0, foreign: end 1; IPv4 mapped */
    uint16_t flags[2];
    struct stream_end ends[2];
};

/* The key of a segment's connection, and which end has sent it. */
unsigned stream_key(const struct pair *pair, struct fp_pair6 *ret_key);
/* Is this SYN counted as the beginning of another connection than the one that is there? */
bool stream_is_another(const struct stream *stream, unsigned sender, const struct segment *segment);
/* Counts from this SYN on; what the ends have of the connection before they keep. */
void stream_count_another(struct stream *stream, unsigned sender, const struct segment *segment);
/*
 * Does this segment show that the SYN which seemed to come to the old connection was for a listening socket? It was
 * answered as a new one, by SYN ACK or by a reset, or its sender goes on as if it had been; the connection is then counted
 * as one that was asked for. To be asked before the segment is taken in.
 */
bool stream_is_anew(struct stream *stream, unsigned sender, const struct segment *segment);
/* Takes a segment in, and says as what the other end receives it; head.used_ns is of the segment before. */
enum stream_answer stream_receive(struct stream *stream, unsigned sender, const struct segment *segment,
                                  int64_t time_ns, bool *ret_sure);

enum stream_outcome stream_outcome(const struct stream *stream);
enum stream_handshake stream_handshake(const struct stream *stream);
/* The end that sent the reset; -1: none. */
int stream_resetter(const struct stream *stream);
/* The end that opened the connection actively; -1: not seen. */
int stream_opener(const struct stream *stream);
/* The pair as this end sees it: itself as local. */
struct pair stream_pair(const struct stream *stream, unsigned end);

#endif
