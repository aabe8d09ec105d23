/* SPDX-License-Identifier: MIT */
#include "demux/live.h"

#include "base/time.h"
#include "demux/attribute.h"
#include "demux/live_addresses.h"
#include "demux/live_file.h"
#include "demux/live_report.h"
#include "demux/report.h"
#include "sys/capture.h"
#include "sys/fd.h"
#include "sys/loop.h"
#include "sys/signals.h"
#include "sys/steering.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

/* What a segment waits for: that the process that it goes to has come to use its socket, and that was told. */
#define HELD_NS 20000000
/* Of segments that wait; beyond it the oldest is not held any longer. */
#define HELD_BYTES_MAX (64U << 20)
/* Enough for the headers; the payload is not looked at. */
#define SNAP_HEADERS 256
#define BUFFER_BYTES (16U << 20)
/* In a turn, lest the events wait too long. */
#define FRAMES_A_TURN 1024
/* A TIME-WAIT is a minute, and its last segment may wait to be shown. */
#define KEPT_NS 65000000000

/* TCP, also behind extension headers and in a VLAN, and fragments. libpcap knows of a VLAN in Ethernet alone. */
static const char *filter_of(int link)
{
    return link == PACKET_LINK_ETHERNET ? "tcp or ip6 or vlan" : "tcp or ip6";
}

struct held {
    struct held *next;
    struct capture_frame frame; /* its bytes stand behind */
};

struct live {
    const struct live_options *options;
    const struct live_sink *sink;
    struct capture *capture;
    struct replay *replay;
    struct attribute *attribute;
    struct live_report report;
    struct live_file file;
    struct live_addresses addresses;
    struct hash_secret secret;
    struct loop loop;
    struct loop_source captured;
    struct loop_source happened;
    struct loop_source signalled;
    struct loop_timer timer;
    struct held *first;
    struct held **last;
    size_t held_bytes;
    uint32_t interface; /* 0: "any", whose frames say it themselves */
    uint64_t segments;
    int64_t next_second_ns;
    bool steered;     /* a program of the namespace decides who listens (sk_lookup) */
    uint64_t dropped; /* that have been said */
    uint64_t lost;
    bool ending;
    enum fp_status status;
    struct fp_error err;
};

static void end(struct live *live, enum fp_status status)
{
    live->ending = true;
    if (live->status == FP_OK)
        live->status = status;
}

static bool has_enough(const struct live *live)
{
    return live->options->count != 0 && live->segments >= live->options->count;
}

/* Also where there is nothing to say of the last one: lines before it may have been told that more is to come. */
static void put_line(struct live *live, struct text *text)
{
    bool more = live->first != NULL;

    text_end(text);
    size_t length = text_length(text);
    if ((length != 0 || !more) && !live->sink->line(live->sink->data, text->start, length, more))
        live->ending = true;
}

static void notice(const struct live *live, uint64_t count, const char *what)
{
    char room[256];
    struct text text;

    text_init(&text, room, sizeof(room));
    if (count != 0)
        text_unsigned(&text, count);
    text_string(&text, what);
    text_end(&text);
    live->sink->notice(live->sink->data, room);
}

static uint32_t way_in(struct live *live, const struct address *local, uint32_t interface)
{
    return live_addresses_way_in(&live->addresses, &live->secret, local,
                                 interface != 0 ? interface : live->interface);
}

/* The two ends of a segment, by the sockets of this host; each may be of another. */
static void find_ends(struct live *live, int64_t time_ns, const struct replay_result *result,
                      struct attribute_answer *receiver, struct attribute_answer *sender)
{
    const struct segment *segment = &result->segment;
    struct attribute_segment to = {
        .pair = segment->pair,
        .opening = result->answer == STREAM_LISTENING,
        .interface = way_in(live, &segment->pair.local, segment->interface),
        .time_ns = time_ns,
        .moment = {.time_ns = result->stream_first_ns, .opens = result->stream_opened},
    };

    attribute_find(live->attribute, &to, receiver);
    receiver->group |= live->steered && (receiver->kind != ATTRIBUTE_CONNECTED || receiver->waiting);
    to.pair = (struct pair){.local = segment->pair.foreign, .foreign = segment->pair.local};
    to.interface = way_in(live, &to.pair.local, segment->interface);
    to.opening = false;
    attribute_find(live->attribute, &to, sender);
}

static void report_one_stream(struct live *live, const struct stream *stream, bool is_given_up)
{
    char room[2 * REPORT_LINE_SIZE];
    struct attribute_answer ends[2];
    struct text text;

    for (unsigned i = 0; i < 2; i++) {
        struct attribute_segment one = {
            .pair = stream_pair(stream, i),
            .time_ns = stream->head.used_ns,
            .moment = {.time_ns = stream->first_ns, .opens = stream_handshake(stream) != STREAM_NOT_SEEN},
        };
        one.interface = way_in(live, &one.pair.local, 0);
        attribute_find(live->attribute, &one, &ends[i]);
    }
    text_init(&text, room, sizeof(room));
    live_report_stream(&live->report, stream, is_given_up, ends, &text);
    put_line(live, &text);
}

static void keep(struct live *live, const struct held *held, const struct replay_result *result,
                 const struct attribute_answer *receiver, const struct attribute_answer *sender)
{
    char room[2048];
    struct text comment;

    if (live->options->write == NULL)
        return;
    text_init(&comment, room, sizeof(room));
    if (result->has_answer)
        live_report_comment(result, receiver, sender, &comment);
    text_end(&comment);
    enum fp_status status = live_file_write(&live->file, &held->frame, room, &live->err);
    if (status != FP_OK)
        end(live, status);
}

static void tell(struct live *live, const struct held *held)
{
    const struct capture_frame *frame = &held->frame;
    struct attribute_answer receiver = {.kind = ATTRIBUTE_NOBODY};
    struct attribute_answer sender = {.kind = ATTRIBUTE_NOBODY};
    struct replay_result result;
    char room[REPORT_LINE_SIZE];
    struct text text;

    enum fp_status status = replay_frame(live->replay, capture_link(live->capture), frame->bytes,
                                         frame->captured, frame->length, frame->time_ns, &result, &live->err);
    if (status != FP_OK) {
        end(live, status);
        return;
    }
    if (result.has_answer) {
        find_ends(live, frame->time_ns, &result, &receiver, &sender);
        live_report_correct(&result, &receiver);
    }
    if (result.has_ended && live->options->summary)
        report_one_stream(live, &result.ended, result.is_given_up);
    text_init(&text, room, sizeof(room));
    if (!live->options->summary)
        live_report_frame(&live->report, frame->time_ns, &result, &receiver, &sender, &text);
    put_line(live, &text);
    keep(live, held, &result, &receiver, &sender);
    live->segments += result.class == PACKET_SEGMENT;
    live->ending |= has_enough(live);
}

static void tell_first(struct live *live)
{
    struct held *held = live->first;

    live->first = held->next;
    if (live->first == NULL)
        live->last = &live->first;
    live->held_bytes -= sizeof(*held) + held->frame.captured;
    tell(live, held);
    free(held);
}

/* All that have waited long enough by that time. */
static void tell_until(struct live *live, int64_t time_ns)
{
    attribute_drain(live->attribute);
    while (live->first != NULL && live->status == FP_OK && live->first->frame.time_ns <= time_ns &&
           !has_enough(live))
        tell_first(live);
}

static void set_timer(struct live *live)
{
    int64_t now_ns = clock_monotonic_ns();
    int64_t left_ns = SECOND_NS;

    if (live->first != NULL)
        left_ns = live->first->frame.time_ns + HELD_NS - clock_realtime_ns();
    if (left_ns > SECOND_NS)
        left_ns = SECOND_NS;
    loop_timer_set(&live->loop, &live->timer, now_ns + (left_ns > 0 ? left_ns : 0));
}

/* Losses are said when there are more of them. */
static void say_losses(struct live *live)
{
    struct capture_counts counts;
    uint64_t lost = attribute_lost(live->attribute);

    if (capture_counts(live->capture, &counts) && counts.dropped + counts.dropped_interface > live->dropped) {
        live->dropped = counts.dropped + counts.dropped_interface;
        notice(live, live->dropped, " frames were dropped so far: they came faster than they were read");
    }
    if (lost > live->lost) {
        live->lost = lost;
        notice(live, lost, " events of sockets were lost so far: processes may be unseen");
    }
}

static void see_second(struct live *live)
{
    if (clock_monotonic_ns() < live->next_second_ns)
        return;
    live->next_second_ns = clock_monotonic_ns() + SECOND_NS;
    live->steered = steering_programs() > 0;
    say_losses(live);
}

static void hold(struct live *live, const struct capture_frame *frame)
{
    struct held *held = malloc(sizeof(*held) + frame->captured);

    if (held == NULL) {
        end(live, error_set(&live->err, FP_SYSTEM, ENOMEM, "hold", "a segment"));
        return;
    }
    held->next = NULL;
    held->frame = *frame;
    held->frame.bytes = memcpy(held + 1, frame->bytes, frame->captured);
    *live->last = held;
    live->last = &held->next;
    live->held_bytes += sizeof(*held) + frame->captured;
    while (live->held_bytes > HELD_BYTES_MAX)
        tell_first(live);
}

/* Where only looking helps, it has to be done while the connection is there. */
static void notice_segment(struct live *live, const struct capture_frame *frame)
{
    struct attribute_segment segment;
    struct segment parsed;
    const char *reason;

    if (attribute_fd(live->attribute) >= 0 ||
        packet_parse(capture_link(live->capture), frame->bytes, frame->captured, frame->length, &parsed,
                     &reason) != PACKET_SEGMENT)
        return;
    segment = (struct attribute_segment){
        .pair = parsed.pair,
        .interface = way_in(live, &parsed.pair.local, parsed.interface),
        .moment = {.time_ns = frame->time_ns,
                   .opens = (parsed.flags & (SEGMENT_SYN | SEGMENT_ACK)) == SEGMENT_SYN},
    };
    attribute_notice(live->attribute, &segment);
    segment.pair = (struct pair){.local = parsed.pair.foreign, .foreign = parsed.pair.local};
    segment.interface = way_in(live, &segment.pair.local, parsed.interface);
    attribute_notice(live->attribute, &segment);
}

/* False: there is none now, or it is younger than that. */
static bool take_frame(struct live *live, int64_t until_ns)
{
    struct capture_frame frame;

    enum capture_item item = capture_next(live->capture, &frame);
    if (item == CAPTURE_FRAME && frame.time_ns <= until_ns) {
        notice_segment(live, &frame);
        hold(live, &frame);
        return true;
    }
    if (item == CAPTURE_BROKEN || item == CAPTURE_END)
        end(live, capture_fail(live->capture, &live->err));
    return false;
}

static void frames_are_there(void *data)
{
    struct live *live = data;

    for (int i = 0; i < FRAMES_A_TURN && !live->ending && take_frame(live, INT64_MAX);)
        i++;
}

static void time_is_up(void *data)
{
    struct live *live = data;

    /* That an interface has gone does not always make its descriptor readable. */
    frames_are_there(live);
    tell_until(live, clock_realtime_ns() - HELD_NS);
    enum fp_status status = attribute_look(live->attribute, &live->err);
    if (status != FP_OK)
        end(live, status);
    attribute_expire(live->attribute);
    see_second(live);
}

static void events_are_there(void *data)
{
    struct live *live = data;

    attribute_drain(live->attribute);
}

static void signal_is_there(void *data)
{
    struct live *live = data;
    int number;

    /* Taken, lest it come again when it is not blocked any more. */
    signals_read(live->signalled.fd, &number, 1);
    live->ending = true;
}

static enum fp_status open_sources(struct live *live, int signals, struct fp_error *err)
{
    live->captured =
        (struct loop_source){.fd = capture_fd(live->capture), .ready = frames_are_there, .data = live};
    live->happened =
        (struct loop_source){.fd = attribute_fd(live->attribute), .ready = events_are_there, .data = live};
    live->signalled = (struct loop_source){.fd = signals, .ready = signal_is_there, .data = live};
    live->timer = (struct loop_timer){.expired = time_is_up, .data = live};
    if (loop_add(&live->loop, &live->captured) < 0 || loop_add(&live->loop, &live->signalled) < 0 ||
        (live->happened.fd >= 0 && loop_add(&live->loop, &live->happened) < 0))
        return error_set(err, FP_SYSTEM, errno, "wait for", "segments");
    return FP_OK;
}

/* What the kernel has captured until now belongs to it too. */
static void finish(struct live *live)
{
    int64_t now_ns = clock_realtime_ns();

    if (live->status == FP_OK && !has_enough(live)) {
        while (take_frame(live, now_ns))
            continue;
    }
    tell_until(live, INT64_MAX);
    say_losses(live);
}

static void report_end_of_all(struct live *live)
{
    char room[REPORT_LINE_SIZE];
    struct report replayed = {.json = live->options->json, .counts = live->report.counts};
    const struct stream *stream;
    struct text text;

    for (uint32_t i = 0; live->options->summary && (stream = replay_stream(live->replay, i)) != NULL; i++)
        report_one_stream(live, stream, false);
    text_init(&text, room, sizeof(room));
    if (live->options->summary)
        report_counts(&replayed, &text);
    put_line(live, &text);
}

static enum fp_status run(struct live *live, int signals, struct fp_error *err)
{
    char room[REPORT_LINE_SIZE];
    struct text text;

    enum fp_status status = open_sources(live, signals, err);
    if (status != FP_OK)
        return status;
    text_init(&text, room, sizeof(room));
    if (live->options->summary)
        live_report_heading(&live->report, &text);
    put_line(live, &text);
    while (!live->ending) {
        set_timer(live);
        if (loop_turn(&live->loop) < 0)
            return error_set(err, FP_SYSTEM, errno, "wait for", "segments");
    }
    finish(live);
    report_end_of_all(live);
    if (live->status != FP_OK && err != NULL)
        *err = live->err;
    return live->status;
}

static enum fp_status open_capture(struct live *live, struct fp_error *err)
{
    const struct live_options *options = live->options;
    struct capture_live how = {
        .interface = options->interface,
        .filter = filter_of,
        .snap_bytes = options->write != NULL ? 0 : SNAP_HEADERS,
        .buffer_bytes = BUFFER_BYTES,
    };

    enum fp_status status = capture_open_live(&how, &live->capture, err);
    if (status != FP_OK)
        return status;
    if (!packet_link_known(capture_link(live->capture)))
        return error_reason(err, error_set(err, FP_DATA, 0, "capture on", "%s", options->interface),
                            "its frames are of a kind that is not known: %s",
                            capture_link_name(live->capture));
    live->interface = if_nametoindex(options->interface);
    return FP_OK;
}

static enum fp_status open_all(struct live *live, struct fp_error *err)
{
    const struct live_options *options = live->options;
    int why = 0;

    /* The events first, so that whatever is captured has been told of. */
    enum fp_status status = attribute_new(options->max_pairs, options->summary ? LIVE_FOREVER / 2 : KEPT_NS,
                                          &live->attribute, &why, err);
    if (status == FP_OK)
        status = open_capture(live, err);
    if (status == FP_OK)
        status = replay_new(options->max_pairs, NULL, &live->replay, err);
    if (status == FP_OK && options->write != NULL)
        status = live_file_open(&live->file, options->write, live->capture, options->interface, err);
    if (status != FP_OK)
        return status;
    live->steered = steering_programs() > 0;
    live->report = (struct live_report){.json = options->json, .counts = replay_counts(live->replay)};
    if (why != 0)
        notice(
            live, 0,
            why == EPERM
                ? "processes that live shortly may be unseen: the kernel's events take CAP_BPF and "
                  "CAP_PERFMON"
                : "processes that live shortly may be unseen: this kernel has no events of sockets, or tells "
                  "them in another PID namespace");
    return FP_OK;
}

enum fp_status live_run(const struct live_options *options, const struct live_sink *sink,
                        struct fp_error *err)
{
    struct live live = {.options = options,
                        .sink = sink,
                        .secret = hash_secret_make(),
                        .file = {.fd = -1},
                        .loop = {.fd = -1}};
    sigset_t ends;
    sigset_t before;

    live.last = &live.first;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    FD_AUTO signals = signals_open(&ends, &before);
    enum fp_status status = FP_OK;
    if (signals < 0 || loop_init(&live.loop) < 0)
        status = error_set(err, FP_SYSTEM, errno, "wait for", "segments");
    if (status == FP_OK)
        status = open_all(&live, err);
    if (status == FP_OK)
        status = run(&live, signals, err);
    enum fp_status closed = live_file_close(&live.file, status == FP_OK ? err : NULL);
    loop_done(&live.loop);
    while (live.first != NULL) {
        struct held *next = live.first->next;
        free(live.first);
        live.first = next;
    }
    attribute_free(live.attribute);
    replay_free(live.replay);
    capture_close(live.capture);
    signals_set_mask(&before, NULL);
    return status != FP_OK ? status : closed;
}
