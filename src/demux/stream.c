/* SPDX-License-Identifier: MIT */
#include "demux/stream.h"

#include "demux/key.h"

#include <assert.h>
#include <string.h>

/* What an end has done, or has been done to it. */
#define KNOWN     0x01 /* its sequence numbers */
#define SYN       0x02 /* it has sent one, and no ACK with it */
#define SYN_ACK   0x04
#define CONFIRMED 0x08 /* its SYN ACK was acknowledged */
#define FIN       0x10
#define FIN_ACKED 0x20
#define PASSIVE   0x40 /* it sent its FIN having acknowledged the other's */
#define RST       0x80
#define HEARD     0x100 /* it has acknowledged what the other sent */
#define ANEW      0x200 /* its last SYN is not that of the connection, which was not over: `first` is the SYN's */
#define DOUBT     0x400 /* a reset came that may have counted, so perhaps it has nothing any more */

/* No window is wider. */
#define WINDOW_MAX (1U << 30)
/* On Linux, and after the last segment that it answered. */
#define TIME_WAIT_NS INT64_C(60000000000)

static_assert(sizeof(struct stream) <= 1U << STREAM_SHIFT, "a connection is a part of the store");
static_assert(offsetof(struct stream, ends) % 8 == 0, "counts are aligned");

unsigned stream_key(const struct pair *pair, struct fp_pair6 *ret_key)
{
    struct fp_pair6 to = key_pair6(pair);
    struct fp_pair6 from = {to.foreign, to.local, to.foreign_port, to.local_port};
    int order = memcmp(&from.local, &to.local, sizeof(to.local));

    if (order == 0)
        order = memcmp(&from.local_port, &to.local_port, sizeof(to.local_port));
    *ret_key = order <= 0 ? from : to;
    return order > 0;
}

static void get_end(const struct in6_addr *address, in_port_t port, struct address *ret_address)
{
    *ret_address = (struct address){.family = AF_INET6, .port = ntohs(port)};
    if (IN6_IS_ADDR_V4MAPPED(address)) {
        ret_address->family = AF_INET;
        memcpy(ret_address->bytes, address->s6_addr + 12, 4);
    } else {
        memcpy(ret_address->bytes, address, sizeof(*address));
    }
}

struct pair stream_pair(const struct stream *stream, unsigned end)
{
    const struct fp_pair6 *key = &stream->key;
    struct pair pair;

    get_end(&key->local, key->local_port, end == 0 ? &pair.local : &pair.foreign);
    get_end(&key->foreign, key->foreign_port, end == 0 ? &pair.foreign : &pair.local);
    return pair;
}

static bool is_syn(const struct segment *segment)
{
    return (segment->flags & (SEGMENT_SYN | SEGMENT_ACK)) == SEGMENT_SYN;
}

/* Sequence numbers go round. */
static bool is_before(uint32_t one, uint32_t other)
{
    return (int32_t)(one - other) < 0;
}

bool stream_is_another(const struct stream *stream, unsigned sender, const struct segment *segment)
{
    return is_syn(segment) && (stream->flags[sender] & KNOWN) != 0 &&
           segment->sequence != stream->ends[sender].first;
}

void stream_count_another(struct stream *stream, unsigned sender, const struct segment *segment)
{
    for (unsigned end = 0; end < 2; end++) {
        stream->ends[end].bytes = 0;
        stream->ends[end].segments = stream->ends[end].repeated = 0;
    }
    stream->ends[sender].first = segment->sequence;
    stream->flags[sender] |= ANEW;
    /* Where the other end of another connection begins is not known. */
    stream->flags[!sender] &= (uint16_t) ~(KNOWN | ANEW);
}

static bool was_reset(const struct stream *stream)
{
    unsigned any = stream->flags[0] | stream->flags[1];

    return (any & (RST | DOUBT)) == RST;
}

static bool is_finished(const struct stream *stream)
{
    unsigned both = stream->flags[0] & stream->flags[1];

    return was_reset(stream) || (both & FIN_ACKED) != 0;
}

/* What the end has of the connection. */
static enum stream_answer state_of(const struct stream *stream, unsigned end)
{
    unsigned flags = stream->flags[end];

    if (was_reset(stream))
        return STREAM_NOBODY;
    if ((flags & FIN_ACKED) != 0 && (flags & PASSIVE) != 0)
        return STREAM_NOBODY;
    if ((flags & FIN_ACKED) != 0 && (stream->flags[!end] & FIN) != 0)
        return STREAM_TIME_WAIT;
    return (flags & (SYN_ACK | CONFIRMED)) == SYN_ACK ? STREAM_SYN_RECEIVED : STREAM_CONNECTED;
}

/* Does a connection stand in the way of this SYN? */
static enum stream_answer state_before(const struct stream *stream, unsigned sender,
                                       const struct segment *segment, int64_t time_ns)
{
    bool began = ((stream->flags[0] | stream->flags[1]) & HEARD) != 0 || (stream->flags[!sender] & SYN) != 0;
    enum stream_answer state = began ? state_of(stream, !sender) : STREAM_NOBODY;
    bool is_newer = is_before(stream->ends[sender].next, segment->sequence);

    if (state == STREAM_TIME_WAIT && (is_newer || time_ns - stream->head.used_ns > TIME_WAIT_NS))
        return STREAM_NOBODY;
    return state;
}

/* Of what was there before no more counts than where the ends of this one begin, as tshark has it. */
static void begin_again(struct stream *stream, unsigned sender)
{
    uint16_t kept = (stream->flags[sender] & ANEW) != 0 ? 0 : KNOWN;

    stream->flags[sender] &= KNOWN;
    stream->flags[!sender] &= kept;
}

/* The SYN ACK, or the reset, that is sent for this SYN. */
static bool answers(const struct stream_end *asks, const struct segment *segment)
{
    return (segment->flags & SEGMENT_ACK) != 0 && (segment->flags & (SEGMENT_SYN | SEGMENT_RST)) != 0 &&
           segment->acknowledgement == asks->first + 1;
}

bool stream_is_anew(struct stream *stream, unsigned sender, const struct segment *segment)
{
    unsigned asked = (stream->flags[sender] & ANEW) != 0 ? sender : !sender;
    struct stream_end *end = &stream->ends[asked];
    bool goes_on = (segment->flags & (SEGMENT_SYN | SEGMENT_RST)) == 0 && segment->sequence == end->first + 1;

    if ((stream->flags[asked] & ANEW) == 0 || (asked == sender ? !goes_on : !answers(end, segment)))
        return false;
    begin_again(stream, asked);
    stream->flags[asked] |= SYN;
    end->next = end->gap = end->gap_end = end->first + 1;
    end->segments--;
    return true;
}

/* As tshark does: an end that has not been heard yet has begun where the other acknowledges. */
static void learn_numbers(struct stream *stream, unsigned sender, const struct segment *segment)
{
    struct stream_end *end = &stream->ends[sender];
    struct stream_end *other = &stream->ends[!sender];
    bool begins = (segment->flags & SEGMENT_SYN) != 0 && (stream->flags[sender] & (SYN | SYN_ACK)) == 0;

    if ((stream->flags[sender] & KNOWN) == 0)
        end->first = segment->sequence - ((segment->flags & SEGMENT_SYN) == 0);
    if ((stream->flags[sender] & KNOWN) == 0 || begins)
        end->next = end->gap = end->gap_end = segment->sequence;
    stream->flags[sender] |= KNOWN;
    if ((stream->flags[!sender] & KNOWN) == 0 && (segment->flags & SEGMENT_ACK) != 0) {
        stream->flags[!sender] |= KNOWN;
        other->first = segment->acknowledgement - 1;
        other->next = other->gap = other->gap_end = segment->acknowledgement;
    }
}

/* Of a segment that ends below what was seen: is it what was missing? */
static bool fills_gap(struct stream_end *end, uint32_t from, uint32_t to)
{
    if (is_before(from, end->gap) || is_before(end->gap_end, to))
        return false;
    /* In its middle: there is one gap to remember, and what is left of it on both sides is new when it comes. */
    if (to == end->gap_end)
        end->gap_end = from;
    else if (from == end->gap)
        end->gap = to;
    return true;
}

static void count_numbers(struct stream_end *end, const struct segment *segment)
{
    uint32_t from = segment->sequence;
    /* How much there is behind its first fragment is not known, and it counts when all of it has come. */
    uint32_t behind = segment->more ? 0 : segment->length + ((segment->flags & SEGMENT_FIN) != 0);
    uint32_t space = ((segment->flags & SEGMENT_SYN) != 0) + behind;
    uint32_t to = from + space;
    bool is_keep_alive = segment->length <= 1 && space == segment->length && from == end->next - 1;

    if (space == 0 || is_keep_alive || (segment->flags & SEGMENT_RST) != 0)
        return;
    if (is_before(end->next, to)) {
        if (is_before(end->next, from)) {
            /* A further gap makes one with the first: what lies between was seen, and may be called new again. */
            if (end->gap == end->gap_end)
                end->gap = end->next;
            end->gap_end = from;
        } else if (from != end->next) {
            end->repeated++;
        }
        end->next = to;
    } else if (!fills_gap(end, from, to)) {
        end->repeated++;
    }
}

/* It asks for a connection and has heard nothing: only what acknowledges its SYN refuses it (RFC 9293, 3.10.7.3). */
static bool is_asking(const struct stream *stream, unsigned end)
{
    return (stream->flags[end] & (SYN | HEARD)) == SYN && (stream->flags[!end] & (SYN | SYN_ACK)) == 0;
}

static bool refuses(const struct stream_end *asks, const struct segment *segment)
{
    return (segment->flags & SEGMENT_ACK) != 0 && is_before(asks->first, segment->acknowledgement) &&
           !is_before(asks->next, segment->acknowledgement);
}

enum reset { RESET_IGNORED, RESET_IN_DOUBT, RESET_COUNTS };

/* Behind all that was sent, or where something is missing; of an end that has sent its FIN also that. */
static bool is_awaited(const struct stream *stream, unsigned sender, uint32_t sequence)
{
    const struct stream_end *end = &stream->ends[sender];
    bool has_gap = end->gap != end->gap_end;
    bool has_fin = (stream->flags[sender] & FIN) != 0;

    return sequence == end->next || (has_gap && sequence == end->gap) ||
           (has_fin && sequence == end->next - 1);
}

/*
 * A reset counts where its sequence number is the one that is awaited, and is ignored else (RFC 5961, 3). But what is
 * awaited is known as far as the capture has it.
 */
static enum reset weigh_reset(const struct stream *stream, unsigned sender, const struct segment *segment)
{
    const struct stream_end *end = &stream->ends[sender];
    uint32_t sequence = segment->sequence;

    if (is_asking(stream, !sender))
        return refuses(&stream->ends[!sender], segment) ? RESET_COUNTS : RESET_IGNORED;
    /* Its number is that of the ACK it answers, which was of a connection older than the capture. */
    if (is_asking(stream, sender))
        return RESET_COUNTS;
    if ((stream->flags[sender] & KNOWN) == 0 || was_reset(stream) || is_awaited(stream, sender, sequence))
        return RESET_COUNTS;
    return sequence - end->next + WINDOW_MAX <= 2 * WINDOW_MAX ? RESET_IN_DOUBT : RESET_IGNORED;
}

static void take_reset(struct stream *stream, unsigned sender, enum reset reset)
{
    if (reset == RESET_IGNORED)
        return;
    stream->flags[sender] |= RST;
    for (unsigned end = 0; end < 2; end++) {
        if (reset == RESET_IN_DOUBT)
            stream->flags[end] |= DOUBT;
        else
            stream->flags[end] &= (uint16_t)~DOUBT;
    }
}

/* An end that goes on has its connection still. */
static void dispel_doubt(struct stream *stream, unsigned sender)
{
    if ((stream->flags[sender] & DOUBT) == 0)
        return;
    stream->flags[sender] &= (uint16_t) ~(DOUBT | RST);
    stream->flags[!sender] &= (uint16_t)~RST;
}

static void learn_flags(struct stream *stream, unsigned sender, const struct segment *segment)
{
    uint16_t *flags = &stream->flags[sender];
    uint16_t *others = &stream->flags[!sender];
    bool acknowledges = (segment->flags & SEGMENT_ACK) != 0;
    bool all = acknowledges && !is_before(segment->acknowledgement, stream->ends[!sender].next);

    if (acknowledges)
        *flags |= HEARD;
    if ((segment->flags & SEGMENT_SYN) != 0)
        *flags |= acknowledges ? SYN_ACK : SYN;
    else if (acknowledges && (*others & SYN_ACK) != 0)
        *others |= CONFIRMED;
    if (all && (*others & FIN) != 0)
        *others |= FIN_ACKED;
    if ((segment->flags & SEGMENT_FIN) != 0 && (*flags & FIN) == 0)
        *flags |= FIN | ((*others & FIN_ACKED) != 0 ? PASSIVE : 0);
}

static void learn(struct stream *stream, unsigned sender, const struct segment *segment)
{
    enum reset reset = RESET_IGNORED;

    if ((segment->flags & SEGMENT_RST) != 0)
        reset = weigh_reset(stream, sender, segment);
    else
        dispel_doubt(stream, sender);
    learn_numbers(stream, sender, segment);
    count_numbers(&stream->ends[sender], segment);
    if ((segment->flags & SEGMENT_RST) != 0)
        take_reset(stream, sender, reset);
    else
        learn_flags(stream, sender, segment);
}

enum stream_answer stream_receive(struct stream *stream, unsigned sender, const struct segment *segment,
                                  int64_t time_ns, bool *ret_sure)
{
    struct stream_end *end = &stream->ends[sender];
    enum stream_answer result;

    if (is_syn(segment)) {
        result = state_before(stream, sender, segment, time_ns);
        if (result == STREAM_NOBODY) {
            begin_again(stream, sender);
            result = STREAM_LISTENING;
        }
    } else {
        result = state_of(stream, !sender);
    }
    /* A SYN to what was not over: the capture may have missed the end. */
    bool is_old = is_syn(segment) && (stream->flags[sender] & ANEW) != 0;
    *ret_sure = !is_old && (stream->flags[!sender] & DOUBT) == 0;
    if (!is_old)
        learn(stream, sender, segment);
    end->segments += result != STREAM_LISTENING;
    end->bytes += segment->length;
    stream->head.over = is_finished(stream);
    return result;
}

enum stream_handshake stream_handshake(const struct stream *stream)
{
    unsigned any = stream->flags[0] | stream->flags[1];

    if ((any & SYN) != 0 && (any & CONFIRMED) != 0)
        return STREAM_SEEN;
    return (any & (SYN | SYN_ACK)) != 0 ? STREAM_PARTLY_SEEN : STREAM_NOT_SEEN;
}

int stream_resetter(const struct stream *stream)
{
    if ((stream->flags[0] & RST) != 0)
        return 0;
    return (stream->flags[1] & RST) != 0 ? 1 : -1;
}

int stream_opener(const struct stream *stream)
{
    for (int end = 0; end < 2; end++) {
        if ((stream->flags[end] & SYN) != 0 || (stream->flags[!end] & SYN_ACK) != 0)
            return end;
    }
    return -1;
}

enum stream_outcome stream_outcome(const struct stream *stream)
{
    unsigned any = stream->flags[0] | stream->flags[1];
    unsigned both = stream->flags[0] & stream->flags[1];
    bool began = (any & SYN_ACK) != 0 || (any & SYN) == 0;

    if ((any & RST) != 0)
        return began ? STREAM_RESET : STREAM_REFUSED;
    if (!began && (both & SYN) == 0)
        return STREAM_UNANSWERED;
    if ((both & FIN_ACKED) != 0)
        return STREAM_CLOSED;
    return (any & FIN) != 0 ? STREAM_HALF_CLOSED : STREAM_OPEN;
}
