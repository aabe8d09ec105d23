/* SPDX-License-Identifier: MIT */
#include "demux/replay.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define END_SHIFT      6
#define FRAGMENT_SHIFT 6
/* Datagrams of which fragments are still to come; a host gives up on one after 30 s. */
#define FRAGMENTS_MAX 4096
#define FRAGMENT_NS   INT64_C(30000000000)

/* What is known of a datagram's first fragment: not seen yet, that it has the ports, or that its header is split. */
enum first { FIRST_MISSING, FIRST_SEEN, FIRST_SPLIT };

/* A datagram of which fragments were seen. */
struct fragment {
    struct recent_head head; /* number: enum first */
    struct in6_addr local;
    struct in6_addr foreign;
    uint32_t identification;
    uint16_t local_port;
    uint16_t foreign_port;
    uint32_t early; /* those that have come before it, ... */
    uint32_t early_bytes;
};

struct replay {
    struct recent streams;
    struct recent ends;
    struct recent fragments;
    const struct known *known;
    struct replay_counts counts;
};

static_assert(sizeof(struct replay_end) <= 1U << END_SHIFT, "an end is a part of the store");
static_assert(sizeof(struct fragment) <= 1U << FRAGMENT_SHIFT, "a fragment is a part of the store");
static_assert(sizeof(struct replay_result) >= RECENT_RECORD_MAX, "it takes in what was given up");

enum fp_status replay_new(uint32_t max_pairs, const struct known *known, struct replay **ret_replay,
                          struct fp_error *err)
{
    struct replay *replay = calloc(1, sizeof(*replay));
    struct hash_secret secret = hash_secret_make();

    if (replay == NULL)
        return error_set(err, FP_SYSTEM, ENOMEM, "demultiplex", "a capture");
    replay->known = known;
    recent_init(&replay->streams, sizeof(struct fp_pair6), offsetof(struct stream, key), STREAM_SHIFT,
                max_pairs, &secret);
    recent_init(&replay->ends, 20, offsetof(struct replay_end, address), END_SHIFT, max_pairs, &secret);
    recent_init(&replay->fragments, 36, offsetof(struct fragment, local), FRAGMENT_SHIFT, FRAGMENTS_MAX,
                &secret);
    *ret_replay = replay;
    return FP_OK;
}

void replay_free(struct replay *replay)
{
    if (replay == NULL)
        return;
    recent_done(&replay->streams);
    recent_done(&replay->ends);
    recent_done(&replay->fragments);
    free(replay);
}

const struct replay_counts *replay_counts(const struct replay *replay)
{
    return &replay->counts;
}

const struct stream *replay_stream(const struct replay *replay, uint32_t index)
{
    return index < replay->streams.count ? recent_at(&replay->streams, index) : NULL;
}

const struct replay_end *replay_end(const struct replay *replay, uint32_t index)
{
    return index < replay->ends.count ? recent_at(&replay->ends, index) : NULL;
}

static void end_stream(struct replay *replay, const struct stream *stream, bool was_followed,
                       struct replay_result *result)
{
    result->has_ended = true;
    result->ended = *stream;
    result->is_given_up = !was_followed && !stream->head.over;
    replay->counts.given_up += result->is_given_up;
}

/* The connection a segment is of, begun where there is none; NULL: no memory. */
static struct stream *find_stream(struct replay *replay, const struct segment *segment, int64_t time_ns,
                                  unsigned *ret_sender, struct replay_result *result)
{
    union {
        struct stream stream;
        unsigned char room[RECENT_RECORD_MAX];
    } old;
    struct fp_pair6 key;
    bool gave_up;

    unsigned sender = stream_key(&segment->pair, &key);
    struct stream *stream = recent_find(&replay->streams, &key);
    *ret_sender = sender;
    if (stream != NULL && !stream_is_another(stream, sender, segment))
        return stream;
    if (stream != NULL) {
        end_stream(replay, stream, true, result);
        stream_count_another(stream, sender, segment);
    } else {
        stream = recent_add(&replay->streams, &key, &old, &gave_up);
        if (stream == NULL)
            return NULL;
        if (gave_up)
            end_stream(replay, &old.stream, false, result);
    }
    stream->head.number = (uint32_t)replay->counts.connections++;
    stream->first_ns = time_ns;
    return stream;
}

static struct replay_end end_key(const struct stream *stream, unsigned end)
{
    return end == 0 ? (struct replay_end){.address = stream->key.local, .port = stream->key.local_port}
                    : (struct replay_end){.address = stream->key.foreign, .port = stream->key.foreign_port};
}

/* Counts a SYN to an end that may listen. NULL: no memory. */
static const struct replay_end *ask_end(struct replay *replay, const struct stream *stream, unsigned receiver,
                                        int64_t time_ns, struct replay_result *result)
{
    union {
        struct replay_end end;
        unsigned char room[RECENT_RECORD_MAX];
    } old;
    struct replay_end key = end_key(stream, receiver);
    struct replay_end *end = recent_find(&replay->ends, &key.address);
    bool gave_up = false;

    if (end == NULL) {
        end = recent_add(&replay->ends, &key.address, &old, &gave_up);
        if (end == NULL)
            return NULL;
        end->first_ns = end->head.used_ns = time_ns;
    }
    if (gave_up) {
        result->has_dropped = true;
        result->dropped = old.end;
    }
    if (end->head.used_ns < time_ns)
        end->head.used_ns = time_ns;
    end->head.number++;
    return end;
}

/* Of a SYN: what is known of the end that it went to. */
static void tell_end(const struct replay_end *end, struct replay_result *result)
{
    if (end->accepted + end->refused == 0)
        result->certainty = REPLAY_UNKNOWN;
    if (end->accepted + end->refused != 0 && !end->listens) {
        result->answer = STREAM_NOBODY;
        result->certainty = REPLAY_DEPENDS;
    }
}

/* What an end sends says whether it listens: a first SYN ACK, or a reset instead of one. */
static void hear_end(struct replay *replay, const struct stream *stream, unsigned sender,
                     const struct segment *segment, enum stream_outcome before)
{
    bool accepts = (segment->flags & (SEGMENT_SYN | SEGMENT_ACK)) == (SEGMENT_SYN | SEGMENT_ACK);
    bool refuses = stream_outcome(stream) == STREAM_REFUSED;

    if (before != STREAM_UNANSWERED || (!accepts && !refuses) || stream_opener(stream) == (int)sender)
        return;
    struct replay_end key = end_key(stream, sender);
    struct replay_end *end = recent_find(&replay->ends, &key.address);
    if (end == NULL)
        return;
    end->listens = accepts;
    end->accepted += accepts;
    end->refused += !accepts;
}

/* What the table has to say, where there is one. */
static void match_known(const struct known *known, bool is_new, struct replay_result *result)
{
    const struct pair *pair = &result->segment.pair;
    struct pair reverse = {.local = pair->foreign, .foreign = pair->local};
    enum known_choice choice;

    result->sender = known_connected(known, &reverse);
    /* What is over went to nobody, though a socket of that pair may be in the table, and its end may still listen. */
    if (!is_new && result->answer == STREAM_NOBODY)
        return;
    result->receiver = is_new ? NULL : known_connected(known, pair);
    if (result->receiver != NULL) {
        if (result->answer == STREAM_CONNECTED)
            result->certainty = REPLAY_EXACT;
        return;
    }
    result->receiver = known_listening(known, pair, &choice);
    if (result->receiver == NULL) {
        if (is_new && known_is_local(known, &pair->local)) {
            result->answer = STREAM_NOBODY;
            result->certainty = REPLAY_EXACT;
        }
        return;
    }
    result->is_accepted = !is_new;
    result->certainty = choice == KNOWN_GROUP ? REPLAY_GROUP : REPLAY_DEPENDS;
    if (is_new && choice == KNOWN_EXACT)
        result->certainty = REPLAY_EXACT;
    if (is_new)
        result->answer = STREAM_LISTENING;
}

/* Frames that the host's TCP does not take, whatever is in them. */
static void leave_to_nobody(struct replay_result *result)
{
    if (packet_is_for_host(&result->segment))
        return;
    result->answer = STREAM_NOBODY;
    result->certainty = result->segment.direction == PACKET_MARTIAN_LOOPBACK ? REPLAY_DEPENDS : REPLAY_EXACT;
    result->receiver = NULL;
    result->is_accepted = false;
}

static struct fragment fragment_key(const struct segment *segment)
{
    struct fragment key = {.identification = segment->identification};

    memcpy(&key.local, segment->pair.local.bytes, sizeof(key.local));
    memcpy(&key.foreign, segment->pair.foreign.bytes, sizeof(key.foreign));
    return key;
}

/* What is known of the datagram, and is not that of an older one with the same number. NULL: no memory. */
static struct fragment *find_fragment(struct replay *replay, const struct segment *segment, int64_t time_ns)
{
    unsigned char given_up[RECENT_RECORD_MAX];
    struct fragment key = fragment_key(segment);
    struct fragment *fragment = recent_find(&replay->fragments, &key.local);
    bool gave_up;

    if (fragment == NULL)
        fragment = recent_add(&replay->fragments, &key.local, given_up, &gave_up);
    if (fragment != NULL && time_ns - fragment->head.used_ns > FRAGMENT_NS)
        fragment->head.number = fragment->early = fragment->early_bytes = 0;
    return fragment;
}

/* Other identifications of the same number come sooner or later: the newest first fragment counts. */
static void remember_first(struct replay *replay, struct stream *stream, unsigned sender,
                           const struct segment *segment, int64_t time_ns)
{
    struct fragment *fragment = find_fragment(replay, segment, time_ns);

    if (fragment == NULL)
        return;
    /* Those that came before it have their first now, and a connection. */
    replay->counts.strays -= fragment->early;
    replay->counts.fragments += fragment->early;
    stream->ends[sender].bytes += fragment->early_bytes;
    fragment->early = fragment->early_bytes = 0;
    fragment->head.number = FIRST_SEEN;
    fragment->head.used_ns = time_ns;
    fragment->local_port = segment->pair.local.port;
    fragment->foreign_port = segment->pair.foreign.port;
}

/* Nobody knows what it is of, and the others neither. */
static void receive_split(struct replay *replay, const struct segment *segment, int64_t time_ns)
{
    struct fragment *fragment = find_fragment(replay, segment, time_ns);

    replay->counts.split++;
    if (fragment == NULL)
        return;
    replay->counts.strays -= fragment->early;
    replay->counts.split += fragment->early;
    fragment->early = fragment->early_bytes = 0;
    fragment->head.number = FIRST_SPLIT;
    fragment->head.used_ns = time_ns;
}

static void tell_stream(const struct stream *stream, struct replay_result *result)
{
    result->has_answer = true;
    result->stream = stream->head.number;
    result->stream_first_ns = stream->first_ns;
    result->stream_opened = stream_handshake(stream) != STREAM_NOT_SEEN;
}

/* The ports of a later fragment, and the number that its connection has. */
static void receive_fragment(struct replay *replay, int64_t time_ns, struct replay_result *result)
{
    struct segment *segment = &result->segment;
    struct fragment *fragment = find_fragment(replay, segment, time_ns);
    struct fp_pair6 pair;

    if (fragment != NULL && fragment->head.number == FIRST_SPLIT) {
        replay->counts.split++;
        return;
    }
    if (fragment == NULL || fragment->head.number == FIRST_MISSING) {
        replay->counts.strays++;
        if (fragment != NULL) {
            fragment->head.used_ns = time_ns;
            fragment->early++;
            fragment->early_bytes += segment->length;
        }
        return;
    }
    segment->pair.local.port = fragment->local_port;
    segment->pair.foreign.port = fragment->foreign_port;
    unsigned sender = stream_key(&segment->pair, &pair);
    struct stream *stream = recent_find(&replay->streams, &pair);
    if (stream == NULL) {
        replay->counts.strays++;
        return;
    }
    replay->counts.fragments++;
    stream->ends[sender].bytes += segment->length;
    stream->head.used_ns = time_ns;
    tell_stream(stream, result);
    result->answer = stream->head.over ? STREAM_NOBODY : STREAM_CONNECTED;
    result->certainty = REPLAY_DEPENDS;
    if (replay->known != NULL)
        match_known(replay->known, false, result);
    leave_to_nobody(result);
}

static bool receive_segment(struct replay *replay, int64_t time_ns, struct replay_result *result)
{
    const struct segment *segment = &result->segment;
    unsigned sender;
    bool sure;
    struct stream *stream = find_stream(replay, segment, time_ns, &sender, result);

    if (stream == NULL)
        return false;
    /* The SYN of which this is only known now came when the connection began. */
    if (stream_is_anew(stream, sender, segment))
        ask_end(replay, stream, !stream_opener(stream), stream->first_ns, result);
    enum stream_outcome before = stream_outcome(stream);
    result->answer = stream_receive(stream, sender, segment, time_ns, &sure);
    tell_stream(stream, result);
    stream->head.used_ns = time_ns;
    sure &= stream_handshake(stream) != STREAM_NOT_SEEN;
    result->certainty = sure ? REPLAY_EXACT : REPLAY_DEPENDS;
    bool is_new = result->answer == STREAM_LISTENING;
    const struct replay_end *end = is_new ? ask_end(replay, stream, !sender, time_ns, result) : NULL;
    if (end != NULL)
        tell_end(end, result);
    if (!is_new)
        hear_end(replay, stream, sender, segment, before);
    if (segment->more)
        remember_first(replay, stream, sender, segment, time_ns);
    if (replay->known != NULL)
        match_known(replay->known, is_new, result);
    leave_to_nobody(result);
    replay->counts.segments++;
    replay->counts.nobody += result->answer == STREAM_NOBODY;
    return true;
}

enum fp_status replay_frame(struct replay *replay, int link, const uint8_t *bytes, uint32_t captured,
                            uint32_t length, int64_t time_ns, struct replay_result *ret_result,
                            struct fp_error *err)
{
    struct replay_counts *counts = &replay->counts;

    if (counts->frames++ == 0)
        counts->first_ns = time_ns;
    ret_result->has_answer = ret_result->has_ended = ret_result->has_dropped = false;
    ret_result->is_accepted = ret_result->is_given_up = false;
    ret_result->receiver = ret_result->sender = NULL;
    ret_result->class =
        packet_parse(link, bytes, captured, length, &ret_result->segment, &ret_result->reason);
    counts->other += ret_result->class == PACKET_OTHER;
    counts->cut += ret_result->class == PACKET_SHORT;
    counts->malformed += ret_result->class == PACKET_MALFORMED;
    if (ret_result->class == PACKET_SPLIT)
        receive_split(replay, &ret_result->segment, time_ns);
    else if (ret_result->class == PACKET_FRAGMENT)
        receive_fragment(replay, time_ns, ret_result);
    else if (ret_result->class == PACKET_SEGMENT && !receive_segment(replay, time_ns, ret_result))
        return error_set(err, FP_SYSTEM, ENOMEM, "keep", "a connection");
    return FP_OK;
}
