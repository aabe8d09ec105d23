/* SPDX-License-Identifier: MIT */
#include "demux/report.h"

#include "demux/report_json.h"
#include "pairs/render.h"

#define PAIR_WIDTH  46 /* of two IPv4 addresses, the longest */
#define FLAGS_WIDTH 7

static const char *const outcome_names[] = {
    [STREAM_OPEN] = "open",       [STREAM_UNANSWERED] = "unanswered",
    [STREAM_REFUSED] = "refused", [STREAM_HALF_CLOSED] = "half closed",
    [STREAM_CLOSED] = "closed",   [STREAM_RESET] = "reset",
};

static const char *const handshake_names[] = {
    [STREAM_NOT_SEEN] = "not seen",
    [STREAM_PARTLY_SEEN] = "partly",
    [STREAM_SEEN] = "seen",
};

const char *report_answer_name(enum stream_answer answer)
{
    static const char *const names[] = {
        [STREAM_LISTENING] = "listening", [STREAM_SYN_RECEIVED] = "syn-received",
        [STREAM_CONNECTED] = "connected", [STREAM_TIME_WAIT] = "time-wait",
        [STREAM_NOBODY] = "nobody",
    };

    return names[answer];
}

const char *report_certainty_name(enum replay_certainty certainty)
{
    static const char *const names[] = {
        [REPLAY_EXACT] = "exact",
        [REPLAY_GROUP] = "group",
        [REPLAY_DEPENDS] = "depends",
        [REPLAY_UNKNOWN] = "unknown",
    };

    return names[certainty];
}

const char *report_direction_name(const struct segment *segment)
{
    static const char *const names[] = {
        [PACKET_UNKNOWN] = "",
        [PACKET_INCOMING] = "",
        [PACKET_OUTGOING] = "outgoing",
        [PACKET_BROADCAST] = "broadcast",
        [PACKET_MULTICAST] = "multicast",
        [PACKET_FOR_ANOTHER] = "for another host",
        [PACKET_MARTIAN] = "martian",
        [PACKET_MARTIAN_LOOPBACK] = "martian",
    };

    return names[segment->direction];
}

const char *report_handshake_name(const struct stream *stream)
{
    return handshake_names[stream_handshake(stream)];
}

/* As the end sees it: "reset by local" is that it has sent the reset. */
const char *report_outcome_name(const struct stream *stream, unsigned end)
{
    enum stream_outcome outcome = stream_outcome(stream);

    if (outcome == STREAM_RESET)
        return stream_resetter(stream) == (int)end ? "reset by local" : "reset by foreign";
    return outcome_names[outcome];
}

struct pair report_end_pair(const struct replay_end *end)
{
    struct stream stream = {.key = {.local = end->address, .local_port = end->port}};
    struct pair pair = stream_pair(&stream, 0);

    pair.foreign = (struct address){.family = AF_UNSPEC};
    return pair;
}

const struct pairs_row *report_row(const struct report *report, const struct pair *pair, bool *ret_depends)
{
    enum known_choice choice = KNOWN_EXACT;
    const struct pairs_row *row = NULL;

    if (report->known != NULL && pair->foreign.family != AF_UNSPEC)
        row = known_connected(report->known, pair);
    if (report->known != NULL && row == NULL)
        row = known_listening(report->known, pair, &choice);
    *ret_depends = choice == KNOWN_DEPENDS;
    return row;
}

static void pad(struct text *text, size_t start, size_t width)
{
    static const char blanks[PAIR_WIDTH + 1] = "                                              ";
    size_t length = text->length - start;

    if (length < width)
        text_bytes(text, blanks, width - length);
}

static void put_string(struct text *text, const char *string, size_t width)
{
    size_t start = text->length;

    text_string(text, string);
    pad(text, start, width);
    text_bytes(text, " ", 1);
}

static void put_number(struct text *text, uint64_t number, unsigned width)
{
    char digits[24];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    while (sizeof(digits) - at < width)
        digits[--at] = ' ';
    text_bytes(text, digits + at, sizeof(digits) - at);
    text_bytes(text, " ", 1);
}

static void put_pair(struct text *text, const struct pair *pair, size_t width)
{
    size_t start = text->length;

    pair_format(pair, text);
    pad(text, start, width);
}

static void put_seconds(const struct report *report, int64_t time_ns, struct text *text)
{
    int64_t since_ns = time_ns - report->counts->first_ns;
    uint64_t us = (uint64_t)(since_ns < 0 ? -since_ns : since_ns) / 1000;
    size_t start = text->length;

    text_bytes(text, since_ns < 0 ? "-" : " ", 1);
    text_unsigned(text, us / 1000000);
    text_bytes(text, ".", 1);
    text_padded(text, us % 1000000, 6);
    pad(text, start, 12);
    text_bytes(text, " ", 1);
}

/* Who has it: the socket's row, its pair said where it is another than the segment's. */
static void put_row(const struct report *report, const struct pairs_row *row, bool with_pair,
                    struct text *text)
{
    if (with_pair) {
        text_bytes(text, " ", 1);
        pair_format(&row->socket.pair, text);
    }
    text_string(text, ": ");
    render_owner(known_table(report->known), row, text);
}

static void put_answer(const struct report *report, const struct replay_result *result, struct text *text)
{
    const struct pairs_row *receiver = result->receiver;

    text_string(text, report_answer_name(result->answer));
    if (receiver == NULL && result->answer == STREAM_LISTENING) {
        struct pair listening = {.local = result->segment.pair.local};
        text_bytes(text, " ", 1);
        pair_format(&listening, text);
    }
    if (receiver != NULL && result->answer != STREAM_NOBODY) {
        text_string(text, result->is_accepted ? ", accepted from" : "");
        put_row(report, receiver, receiver->socket.state == DIAG_LISTEN, text);
    }
    if (result->sender != NULL) {
        text_string(text, ", sent by");
        put_row(report, result->sender, false, text);
    }
    if (result->certainty != REPLAY_EXACT) {
        text_string(text, " (");
        text_string(text, report_certainty_name(result->certainty));
        text_string(text, ")");
    }
    if (report_direction_name(&result->segment)[0] != '\0') {
        text_string(text, ", ");
        text_string(text, report_direction_name(&result->segment));
    }
    if (result->class == PACKET_FRAGMENT)
        text_string(text, ", fragment");
}

static void put_reason(const struct report *report, int64_t time_ns, const struct replay_result *result,
                       struct text *text)
{
    static const char *const kinds[] = {
        [PACKET_SPLIT] = "fragment: ",
        [PACKET_SHORT] = "not all captured: ",
        [PACKET_MALFORMED] = "malformed: ",
    };

    put_number(text, report->counts->frames, 7);
    put_seconds(report, time_ns, text);
    text_string(text, kinds[result->class]);
    text_string(text, result->reason);
    text_bytes(text, "\n", 1);
}

void report_frame(const struct report *report, int64_t time_ns, const struct replay_result *result,
                  struct text *text)
{
    if (report->json) {
        report_json_frame(report, time_ns, result, text);
        return;
    }
    if (result->reason != NULL)
        put_reason(report, time_ns, result, text);
    if (!result->has_answer)
        return;
    put_number(text, report->counts->frames, 7);
    put_seconds(report, time_ns, text);
    put_pair(text, &result->segment.pair, PAIR_WIDTH);
    text_bytes(text, " ", 1);
    size_t start = text->length;
    if (result->class == PACKET_SEGMENT)
        packet_format_flags(result->segment.flags, text);
    pad(text, start, FLAGS_WIDTH);
    text_bytes(text, " ", 1);
    put_number(text, result->segment.length, 5);
    text_string(text, "-> #");
    text_unsigned(text, result->stream);
    text_bytes(text, " ", 1);
    put_answer(report, result, text);
    text_bytes(text, "\n", 1);
}

void report_comment(const struct report *report, const struct replay_result *result, struct text *text)
{
    if (!result->has_answer)
        return;
    pair_format(&result->segment.pair, text);
    text_bytes(text, " ", 1);
    put_answer(report, result, text);
}

void report_heading(const struct report *report, struct text *text)
{
    if (report->json)
        return;
    put_string(text, "PAIR", PAIR_WIDTH);
    text_string(text, "CONNECTION SEGMENTS        BYTES REPEATED HANDSHAKE  FIRST        LAST         END\n");
}

static void put_endpoint(const struct report *report, const struct stream *stream, unsigned end,
                         bool is_given_up, struct text *text)
{
    const struct stream_end *sender = &stream->ends[!end];
    struct pair pair = stream_pair(stream, end);
    bool depends;
    const struct pairs_row *row = report_row(report, &pair, &depends);

    put_pair(text, &pair, PAIR_WIDTH);
    text_bytes(text, " ", 1);
    put_number(text, stream->head.number, 10);
    put_number(text, sender->segments, 8);
    put_number(text, sender->bytes, 12);
    put_number(text, sender->repeated, 8);
    put_string(text, report_handshake_name(stream), 9);
    put_seconds(report, stream->first_ns, text);
    put_seconds(report, stream->head.used_ns, text);
    text_string(text, report_outcome_name(stream, end));
    text_string(text, is_given_up ? ", given up" : "");
    if (row != NULL) {
        text_string(text, row->socket.state == DIAG_LISTEN ? ", accepted from" : "");
        put_row(report, row, row->socket.state == DIAG_LISTEN, text);
    }
    text_string(text, depends ? " (depends)" : "");
    text_bytes(text, "\n", 1);
}

void report_stream(const struct report *report, const struct stream *stream, bool is_given_up,
                   struct text *text)
{
    int opener = stream_opener(stream);

    /* Whom it was opened to comes first. */
    for (unsigned i = 0; i < 2; i++) {
        unsigned end = opener == 0 ? !i : i;
        if (stream->ends[!end].segments == 0)
            continue;
        if (report->json)
            report_json_stream(report, stream, end, is_given_up, text);
        else
            put_endpoint(report, stream, end, is_given_up, text);
    }
}

void report_end(const struct report *report, const struct replay_end *end, struct text *text)
{
    struct pair pair = report_end_pair(end);
    bool depends;
    const struct pairs_row *row = report_row(report, &pair, &depends);

    if (report->json) {
        report_json_end(report, end, text);
        return;
    }
    put_pair(text, &pair, PAIR_WIDTH);
    text_bytes(text, " ", 1);
    put_string(text, "         -", 10);
    put_number(text, end->head.number, 8);
    put_string(text, "           -", 12);
    put_string(text, "       -", 8);
    put_string(text, "-", 9);
    put_seconds(report, end->first_ns, text);
    put_seconds(report, end->head.used_ns, text);
    if (end->accepted + end->refused == 0) {
        text_string(text, "never answered");
    } else {
        text_string(text, end->listens ? "listening" : "nobody");
        text_string(text, ", accepted ");
        text_unsigned(text, end->accepted);
        text_string(text, ", refused ");
        text_unsigned(text, end->refused);
    }
    if (row != NULL)
        put_row(report, row, true, text);
    text_string(text, depends ? " (depends)" : "");
    text_bytes(text, "\n", 1);
}

static void put_count(struct text *text, uint64_t count, const char *before, const char *what,
                      const char *whats)
{
    if (count == 0)
        return;
    text_string(text, before);
    text_unsigned(text, count);
    text_bytes(text, " ", 1);
    text_string(text, count == 1 ? what : whats);
}

void report_counts(const struct report *report, struct text *text)
{
    const struct replay_counts *counts = report->counts;

    if (report->json) {
        report_json_counts(report, text);
        return;
    }
    text_unsigned(text, counts->frames);
    text_string(text, counts->frames == 1 ? " frame: " : " frames: ");
    text_unsigned(text, counts->segments);
    text_string(text, counts->segments == 1 ? " segment" : " segments");
    put_count(text, counts->connections, " of ", "connection", "connections");
    put_count(text, counts->nobody, ", ", "received by nobody", "received by nobody");
    put_count(text, counts->fragments, ", ", "further fragment", "further fragments");
    put_count(text, counts->strays, ", ", "fragment without its first", "fragments without their first");
    put_count(text, counts->split, ", ", "fragment of a segment whose TCP header is split",
              "fragments of segments whose TCP header is split");
    put_count(text, counts->other, ", ", "not of TCP", "not of TCP");
    put_count(text, counts->cut, ", ", "of which too little was captured",
              "of which too little was captured");
    put_count(text, counts->malformed, ", ", "malformed", "malformed");
    put_count(text, counts->given_up, "; ", "idle connection was given up to make room",
              "idle connections were given up to make room");
    text_bytes(text, "\n", 1);
}
