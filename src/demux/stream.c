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

static bool is_finished(const struct stream *stream)
{
    unsigned both = stream->flags[0] & stream->flags[1];

    return ((stream->flags[0] | stream->flags[1]) & RST) != 0 || (both & FIN_ACKED) != 0;
}

static enum stream_answer answer_syn(struct stream *stream, unsigned receiver)
{
    unsigned flags = stream->flags[receiver];

    /* The same SYN once more after the end: whoever sent it tries again. */
    if (is_finished(stream)) {
        stream->flags[0] &= KNOWN;
        stream->flags[1] &= KNOWN;
        return STREAM_LISTENING;
    }
    if ((flags & SYN_ACK) != 0)
        return (flags & CONFIRMED) != 0 ? STREAM_CONNECTED : STREAM_SYN_RECEIVED;
    return (flags & SYN) != 0 ? STREAM_CONNECTED : STREAM_LISTENING;
}

static enum stream_answer answer(struct stream *stream, unsigned sender, const struct segment *segment)
{
    unsigned flags = stream->flags[!sender];

    if (is_syn(segment))
        return answer_syn(stream, !sender);
    if (((stream->flags[0] | stream->flags[1]) & RST) != 0)
        return STREAM_NOBODY;
    if ((flags & FIN_ACKED) != 0 && (flags & PASSIVE) != 0)
        return STREAM_NOBODY;
    if ((flags & FIN_ACKED) != 0 && (stream->flags[sender] & FIN) != 0)
        return STREAM_TIME_WAIT;
    return (flags & (SYN_ACK | CONFIRMED)) == SYN_ACK ? STREAM_SYN_RECEIVED : STREAM_CONNECTED;
}

/* As tshark does: an end that has not been heard yet has begun where the other acknowledges. */
static void learn_numbers(struct stream *stream, unsigned sender, const struct segment *segment)
{
    struct stream_end *end = &stream->ends[sender];
    struct stream_end *other = &stream->ends[!sender];

    if ((stream->flags[sender] & KNOWN) == 0) {
        stream->flags[sender] |= KNOWN;
        end->first = segment->sequence - ((segment->flags & SEGMENT_SYN) == 0);
        end->next = end->gap = end->gap_end = segment->sequence;
    }
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
    uint32_t space =
        segment->length + ((segment->flags & SEGMENT_SYN) != 0) + ((segment->flags & SEGMENT_FIN) != 0);
    uint32_t to = from + space;
    bool is_keep_alive = segment->length <= 1 && space == segment->length && from == end->next - 1;

    if (space == 0 || is_keep_alive)
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

static void learn_flags(struct stream *stream, unsigned sender, const struct segment *segment)
{
    uint8_t *flags = &stream->flags[sender];
    uint8_t *others = &stream->flags[!sender];
    bool acknowledges = (segment->flags & SEGMENT_ACK) != 0;
    bool all = acknowledges && !is_before(segment->acknowledgement, stream->ends[!sender].next);

    if ((segment->flags & SEGMENT_RST) != 0) {
        *flags |= RST;
        return;
    }
    if ((segment->flags & SEGMENT_SYN) != 0)
        *flags |= acknowledges ? SYN_ACK : SYN;
    else if (acknowledges && (*others & SYN_ACK) != 0)
        *others |= CONFIRMED;
    if (all && (*others & FIN) != 0)
        *others |= FIN_ACKED;
    if ((segment->flags & SEGMENT_FIN) != 0 && (*flags & FIN) == 0)
        *flags |= FIN | ((*others & FIN_ACKED) != 0 ? PASSIVE : 0);
}

enum stream_answer stream_receive(struct stream *stream, unsigned sender, const struct segment *segment)
{
    enum stream_answer result = answer(stream, sender, segment);
    struct stream_end *end = &stream->ends[sender];

    learn_numbers(stream, sender, segment);
    count_numbers(end, segment);
    learn_flags(stream, sender, segment);
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
