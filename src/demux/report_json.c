/* SPDX-License-Identifier: MIT */
#include "demux/report_json.h"

#include "addr/value.h"
#include "base/time.h"
#include "pairs/render.h"

#include <time.h>

/* "2026-11-22T22:30:47.123456789Z" */
static json_t *time_value(int64_t time_ns)
{
    int64_t part_ns = time_ns % SECOND_NS;
    time_t seconds = (time_t)(time_ns / SECOND_NS - (part_ns < 0));
    char room[64];
    struct tm date;
    struct text text;

    if (gmtime_r(&seconds, &date) == NULL || strftime(room, sizeof(room), "%Y-%m-%dT%H:%M:%S.", &date) == 0)
        return json_null();
    text_init(&text, room, sizeof(room));
    text.length = 20;
    text_padded(&text, (uint64_t)(part_ns < 0 ? part_ns + SECOND_NS : part_ns), 9);
    text_string(&text, "Z");
    text_end(&text);
    return json_string(room);
}

static void finish(json_t *object, struct text *text)
{
    value_put(object, text);
    text_bytes(text, "\n", 1);
}

static json_t *processes_value(const struct report *report, const struct pairs_row *row)
{
    return row != NULL ? render_processes(known_table(report->known), row) : json_array();
}

static json_t *segment_value(const struct replay_result *result)
{
    const struct segment *segment = &result->segment;
    json_t *object = json_object();
    char room[64];
    struct text text;

    value_add(object, "foreign", value_address(&segment->pair.foreign));
    value_add(object, "local", value_address(&segment->pair.local));
    value_add(object, "length", json_integer(segment->length));
    if (result->class == PACKET_FRAGMENT) {
        value_add(object, "fragment", json_integer(segment->offset));
        return object;
    }
    text_init(&text, room, sizeof(room));
    packet_format_flags(segment->flags, &text);
    text_end(&text);
    value_add(object, "flags", json_string(room));
    value_add(object, "sequence", json_integer(segment->sequence));
    value_add(object, "acknowledgement", json_integer(segment->acknowledgement));
    return object;
}

/* The pair of the endpoint: its own where it listens, else the segment's. */
static json_t *endpoint_value(const struct replay_result *result)
{
    struct pair pair = result->segment.pair;

    if (result->answer == STREAM_NOBODY)
        return json_null();
    if (result->answer == STREAM_LISTENING) {
        if (result->receiver != NULL)
            return value_pair(&result->receiver->socket.pair);
        pair.foreign = (struct address){.family = AF_UNSPEC};
    }
    return value_pair(&pair);
}

void report_json_frame(const struct report *report, int64_t time_ns, const struct replay_result *result,
                       struct text *text)
{
    static const char *const kinds[] = {
        [PACKET_SPLIT] = "split", [PACKET_SHORT] = "cut", [PACKET_MALFORMED] = "malformed"};

    if (!result->has_answer && result->reason == NULL)
        return;
    json_t *object = json_object();
    value_add(object, "number", json_integer((json_int_t)report->counts->frames));
    value_add(object, "time", time_value(time_ns));
    if (!result->has_answer) {
        value_add(object, kinds[result->class], json_string(result->reason));
        finish(object, text);
        return;
    }
    value_add(object, "segment", segment_value(result));
    value_add(object, "connection", json_integer(result->stream));
    value_add(object, "answer", json_string(report_answer_name(result->answer)));
    value_add(object, "pair", endpoint_value(result));
    value_add(object, "certainty", json_string(report_certainty_name(result->certainty)));
    if (report_direction_name(&result->segment)[0] != '\0')
        value_add(object, "direction", json_string(report_direction_name(&result->segment)));
    if (report->known != NULL) {
        value_add(object, "processes",
                  processes_value(report, result->is_accepted ? NULL : result->receiver));
        if (result->is_accepted)
            value_add(object, "accepted_from", value_pair(&result->receiver->socket.pair));
        if (result->sender != NULL)
            value_add(object, "senders", processes_value(report, result->sender));
    }
    finish(object, text);
}

void report_json_stream(const struct report *report, const struct stream *stream, unsigned end,
                        bool is_given_up, struct text *text)
{
    const struct stream_end *sender = &stream->ends[!end];
    struct pair pair = stream_pair(stream, end);
    bool depends;
    const struct pairs_row *row = report_row(report, &pair, &depends);
    json_t *object = json_object();

    value_add(object, "endpoint", json_string("connected"));
    value_add(object, "pair", value_pair(&pair));
    value_add(object, "connection", json_integer(stream->head.number));
    value_add(object, "segments", json_integer(sender->segments));
    value_add(object, "bytes", json_integer((json_int_t)sender->bytes));
    value_add(object, "repeated", json_integer(sender->repeated));
    value_add(object, "handshake", json_string(report_handshake_name(stream)));
    value_add(object, "first", time_value(stream->first_ns));
    value_add(object, "last", time_value(stream->head.used_ns));
    value_add(object, "end", json_string(report_outcome_name(stream, end)));
    value_add(object, "given_up", json_boolean(is_given_up));
    if (row != NULL && row->socket.state == DIAG_LISTEN)
        value_add(object, "accepted_from", value_pair(&row->socket.pair));
    else if (report->known != NULL)
        value_add(object, "processes", processes_value(report, row));
    if (depends)
        value_add(object, "certainty", json_string(report_certainty_name(REPLAY_DEPENDS)));
    finish(object, text);
}

void report_json_end(const struct report *report, const struct replay_end *end, struct text *text)
{
    struct pair pair = report_end_pair(end);
    bool depends;
    const struct pairs_row *row = report_row(report, &pair, &depends);
    json_t *object = json_object();

    value_add(object, "endpoint",
              end->accepted + end->refused == 0 ? json_null()
                                                : json_string(end->listens ? "listening" : "nobody"));
    value_add(object, "pair", value_pair(row != NULL ? &row->socket.pair : &pair));
    value_add(object, "segments", json_integer(end->head.number));
    value_add(object, "accepted", json_integer(end->accepted));
    value_add(object, "refused", json_integer(end->refused));
    value_add(object, "first", time_value(end->first_ns));
    value_add(object, "last", time_value(end->head.used_ns));
    if (report->known != NULL)
        value_add(object, "processes", processes_value(report, row));
    if (depends)
        value_add(object, "certainty", json_string(report_certainty_name(REPLAY_DEPENDS)));
    finish(object, text);
}

void report_json_counts(const struct report *report, struct text *text)
{
    const struct replay_counts *counts = report->counts;
    json_t *object = json_object();

    value_add(object, "frames", json_integer((json_int_t)counts->frames));
    value_add(object, "segments", json_integer((json_int_t)counts->segments));
    value_add(object, "connections", json_integer((json_int_t)counts->connections));
    value_add(object, "nobody", json_integer((json_int_t)counts->nobody));
    value_add(object, "fragments", json_integer((json_int_t)counts->fragments));
    value_add(object, "fragments_without_first", json_integer((json_int_t)counts->strays));
    value_add(object, "fragments_of_split_header", json_integer((json_int_t)counts->split));
    value_add(object, "other", json_integer((json_int_t)counts->other));
    value_add(object, "cut", json_integer((json_int_t)counts->cut));
    value_add(object, "malformed", json_integer((json_int_t)counts->malformed));
    value_add(object, "given_up", json_integer((json_int_t)counts->given_up));
    finish(object, text);
}
