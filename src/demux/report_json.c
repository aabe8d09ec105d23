/* SPDX-License-Identifier: MIT */
#include "demux/report_json.h"

#include "pairs/render.h"

#include <jansson.h>
#include <time.h>

static void add(json_t *object, const char *key, json_t *value)
{
    if (value != NULL)
        json_object_set_new_nocheck(object, key, value);
}

static json_t *pair_value(const struct pair *pair)
{
    char room[PAIR_TEXT_SIZE];
    struct text text;

    text_init(&text, room, sizeof(room));
    pair_format(pair, &text);
    text_end(&text);
    return json_string(room);
}

static json_t *address_value(const struct address *address)
{
    char room[ADDRESS_TEXT_SIZE];
    struct text text;

    text_init(&text, room, sizeof(room));
    address_format(address, &text);
    text_end(&text);
    return json_string(room);
}

/* "2026-11-22T22:30:47.123456789Z" */
static json_t *time_value(int64_t time_ns)
{
    int64_t part_ns = time_ns % 1000000000;
    time_t seconds = (time_t)(time_ns / 1000000000 - (part_ns < 0));
    char room[64];
    struct tm date;
    struct text text;

    if (gmtime_r(&seconds, &date) == NULL || strftime(room, sizeof(room), "%Y-%m-%dT%H:%M:%S.", &date) == 0)
        return json_null();
    text_init(&text, room, sizeof(room));
    text.length = 20;
    text_padded(&text, (uint64_t)(part_ns < 0 ? part_ns + 1000000000 : part_ns), 9);
    text_string(&text, "Z");
    text_end(&text);
    return json_string(room);
}

static int append(const char *bytes, size_t length, void *data)
{
    text_bytes(data, bytes, length);
    return 0;
}

static void finish(json_t *object, struct text *text)
{
    json_dump_callback(object, append, text, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(object);
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

    add(object, "foreign", address_value(&segment->pair.foreign));
    add(object, "local", address_value(&segment->pair.local));
    add(object, "length", json_integer(segment->length));
    if (result->class == PACKET_FRAGMENT) {
        add(object, "fragment", json_integer(segment->offset));
        return object;
    }
    text_init(&text, room, sizeof(room));
    packet_format_flags(segment->flags, &text);
    text_end(&text);
    add(object, "flags", json_string(room));
    add(object, "sequence", json_integer(segment->sequence));
    add(object, "acknowledgement", json_integer(segment->acknowledgement));
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
            return pair_value(&result->receiver->socket.pair);
        pair.foreign = (struct address){.family = AF_UNSPEC};
    }
    return pair_value(&pair);
}

void report_json_frame(const struct report *report, int64_t time_ns, const struct replay_result *result,
                       struct text *text)
{
    if (!result->has_answer && result->reason == NULL)
        return;
    json_t *object = json_object();
    add(object, "number", json_integer((json_int_t)report->counts->frames));
    add(object, "time", time_value(time_ns));
    if (!result->has_answer) {
        add(object, result->class == PACKET_MALFORMED ? "malformed" : "cut", json_string(result->reason));
        finish(object, text);
        return;
    }
    add(object, "segment", segment_value(result));
    add(object, "connection", json_integer(result->stream));
    add(object, "answer", json_string(report_answer_name(result->answer)));
    add(object, "pair", endpoint_value(result));
    add(object, "certainty", json_string(report_certainty_name(result->certainty)));
    if (report_direction_name(&result->segment)[0] != '\0')
        add(object, "direction", json_string(report_direction_name(&result->segment)));
    if (report->known != NULL) {
        add(object, "processes", processes_value(report, result->is_accepted ? NULL : result->receiver));
        if (result->is_accepted)
            add(object, "accepted_from", pair_value(&result->receiver->socket.pair));
        if (result->sender != NULL)
            add(object, "senders", processes_value(report, result->sender));
    }
    finish(object, text);
}

void report_json_stream(const struct report *report, const struct stream *stream, unsigned end,
                        bool is_given_up, struct text *text)
{
    const struct stream_end *sender = &stream->ends[!end];
    struct pair pair = stream_pair(stream, end);
    const struct pairs_row *row = report_row(report, &pair);
    json_t *object = json_object();

    add(object, "endpoint", json_string("connected"));
    add(object, "pair", pair_value(&pair));
    add(object, "connection", json_integer(stream->head.number));
    add(object, "segments", json_integer(sender->segments));
    add(object, "bytes", json_integer((json_int_t)sender->bytes));
    add(object, "repeated", json_integer(sender->repeated));
    add(object, "handshake", json_string(report_handshake_name(stream)));
    add(object, "first", time_value(stream->first_ns));
    add(object, "last", time_value(stream->head.used_ns));
    add(object, "end", json_string(report_outcome_name(stream, end)));
    add(object, "given_up", json_boolean(is_given_up));
    if (row != NULL && row->socket.state == DIAG_LISTEN)
        add(object, "accepted_from", pair_value(&row->socket.pair));
    else if (report->known != NULL)
        add(object, "processes", processes_value(report, row));
    finish(object, text);
}

void report_json_end(const struct report *report, const struct replay_end *end, struct text *text)
{
    struct pair pair = report_end_pair(end);
    const struct pairs_row *row = report_row(report, &pair);
    json_t *object = json_object();

    add(object, "endpoint",
        end->accepted + end->refused == 0 ? json_null() : json_string(end->listens ? "listening" : "nobody"));
    add(object, "pair", pair_value(row != NULL ? &row->socket.pair : &pair));
    add(object, "segments", json_integer(end->head.number));
    add(object, "accepted", json_integer(end->accepted));
    add(object, "refused", json_integer(end->refused));
    add(object, "first", time_value(end->first_ns));
    add(object, "last", time_value(end->head.used_ns));
    if (report->known != NULL)
        add(object, "processes", processes_value(report, row));
    finish(object, text);
}

void report_json_counts(const struct report *report, struct text *text)
{
    const struct replay_counts *counts = report->counts;
    json_t *object = json_object();

    add(object, "frames", json_integer((json_int_t)counts->frames));
    add(object, "segments", json_integer((json_int_t)counts->segments));
    add(object, "connections", json_integer((json_int_t)counts->connections));
    add(object, "nobody", json_integer((json_int_t)counts->nobody));
    add(object, "fragments", json_integer((json_int_t)counts->fragments));
    add(object, "fragments_without_first", json_integer((json_int_t)counts->strays));
    add(object, "other", json_integer((json_int_t)counts->other));
    add(object, "cut", json_integer((json_int_t)counts->cut));
    add(object, "malformed", json_integer((json_int_t)counts->malformed));
    add(object, "given_up", json_integer((json_int_t)counts->given_up));
    finish(object, text);
}
