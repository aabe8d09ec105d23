/* SPDX-License-Identifier: MIT */
#include "demux/live_report.h"

#include "addr/value.h"
#include "demux/report.h"

#include <string.h>

static const char *const way_names[] = {
    [LIVE_UNKNOWN] = "none",      [LIVE_CLOSED] = "close", [LIVE_HELD] = "descriptor",
    [LIVE_CONNECTED] = "connect", [LIVE_USED] = "use",     [LIVE_LISTENS] = "listening",
};

static void put_processes(const struct attribute_answer *answer, struct text *text)
{
    if (answer->process_count == 0)
        text_string(text, answer->not_permitted ? "not permitted to see" : "unseen");
    for (size_t i = 0; i < answer->process_count; i++) {
        const struct live_process *process = &answer->processes[i];
        text_string(text, i != 0 ? ", " : "");
        text_escape(text, process->name, strlen(process->name));
        if (process->pid != 0)
            text_printf(text, " %d", (int)process->pid);
        else
            text_string(text, " of the kernel");
    }
    if (answer->more != 0)
        text_printf(text, " and %u more", answer->more);
}

/* `local`: the end that is said already; of a listening socket that has the wildcard it is not the socket's. */
static void put_receiver(const struct address *local, const struct attribute_answer *receiver,
                         struct text *text)
{
    if (receiver->kind == ATTRIBUTE_LISTENING && !address_equal(local, &receiver->pair.local)) {
        text_string(text, " by ");
        pair_format(&receiver->pair, text);
    }
    text_string(text, receiver->waiting ? ", waiting for: " : ": ");
    put_processes(receiver, text);
}

static void put_sender(const struct attribute_answer *sender, struct text *text)
{
    if (sender->kind != ATTRIBUTE_CONNECTED)
        return;
    text_string(text, sender->waiting ? ", sent for: " : ", sent by: ");
    put_processes(sender, text);
}

static json_t *processes_value(const struct attribute_answer *answer)
{
    json_t *array = json_array();

    for (size_t i = 0; i < answer->process_count; i++) {
        json_t *object = json_object();
        value_add(object, "pid", json_integer(answer->processes[i].pid));
        value_add(object, "name", value_string(answer->processes[i].name));
        json_array_append_new(array, object);
    }
    return array;
}

static void add_answer(json_t *object, const struct attribute_answer *answer)
{
    value_add(object, "processes", processes_value(answer));
    value_add(object, "known_by",
              answer->process_count != 0 ? json_string(way_names[answer->way]) : json_null());
    value_add(object, "waiting", json_boolean(answer->waiting));
    if (answer->more != 0)
        value_add(object, "more", json_integer(answer->more));
}

/* The line of the replay is an object, and ends with its brace; further fields go before that. */
static void reopen(const struct live_report *report, struct text *text)
{
    text->length -= report->json ? strlen("}\n") : strlen("\n");
}

static void splice(json_t *fields, struct text *text)
{
    size_t start = text->length;

    value_put(fields, text);
    if (start < text->size)
        text->start[start] = ',';
    text_string(text, "\n");
}

/* The end that listens is of the segment's pair, but the socket may have a wildcard. */
static bool is_listening(const struct replay_result *result, const struct attribute_answer *receiver)
{
    return result->answer == STREAM_LISTENING && receiver->kind == ATTRIBUTE_LISTENING;
}

/* Who has it matters where the answer is a socket with a process, not what is left in TIME-WAIT, nor a foreign one. */
static bool has_receiver(const struct replay_result *result, const struct attribute_answer *receiver)
{
    return (receiver->kind != ATTRIBUTE_NOBODY || receiver->local) && result->answer != STREAM_NOBODY &&
           result->answer != STREAM_TIME_WAIT;
}

static void put_json(const struct live_report *report, int64_t time_ns, const struct replay_result *result,
                     const struct attribute_answer *receiver, const struct attribute_answer *sender,
                     struct text *text)
{
    static const struct attribute_answer nobody = {.kind = ATTRIBUTE_NOBODY};
    struct report replayed = {.json = true, .counts = report->counts};
    struct pairs_row listening = {.socket = {.pair = receiver->pair}};
    struct replay_result whole = *result;

    if (is_listening(result, receiver))
        whole.receiver = &listening;
    report_frame(&replayed, time_ns, &whole, text);
    if (!result->has_answer)
        return;
    json_t *fields = json_object();
    add_answer(fields, has_receiver(result, receiver) ? receiver : &nobody);
    value_add(fields, "senders", processes_value(sender));
    reopen(report, text);
    splice(fields, text);
}

/* To a connection, or what is left of one. */
static bool is_late_syn(const struct replay_result *result)
{
    return (result->segment.flags & (SEGMENT_SYN | SEGMENT_ACK)) == SEGMENT_SYN &&
           result->answer != STREAM_LISTENING && result->answer != STREAM_NOBODY;
}

void live_report_correct(struct replay_result *result, const struct attribute_answer *receiver)
{
    if (!packet_is_for_host(&result->segment))
        return;
    if (receiver->kind == ATTRIBUTE_NOBODY && receiver->local && result->answer == STREAM_LISTENING)
        result->answer = STREAM_NOBODY;
    /* What the capture takes for over, or has never seen, goes on. */
    if (receiver->lives && (result->answer == STREAM_LISTENING || result->answer == STREAM_NOBODY))
        result->answer = STREAM_CONNECTED;
    /* A socket of the pair may have been there before. */
    if (is_late_syn(result) && !receiver->lives)
        return;
    if (receiver->kind != ATTRIBUTE_NOBODY || (receiver->local && result->answer == STREAM_NOBODY))
        result->certainty = receiver->unsure ? REPLAY_DEPENDS : receiver->group ? REPLAY_GROUP : REPLAY_EXACT;
}

void live_report_frame(const struct live_report *report, int64_t time_ns, const struct replay_result *result,
                       const struct attribute_answer *receiver, const struct attribute_answer *sender,
                       struct text *text)
{
    struct report replayed = {.counts = report->counts};

    if (report->json) {
        put_json(report, time_ns, result, receiver, sender, text);
        return;
    }
    report_frame(&replayed, time_ns, result, text);
    if (!result->has_answer)
        return;
    reopen(report, text);
    if (has_receiver(result, receiver))
        put_receiver(&result->segment.pair.local, receiver, text);
    put_sender(sender, text);
    text_string(text, "\n");
}

void live_report_comment(const struct replay_result *result, const struct attribute_answer *receiver,
                         const struct attribute_answer *sender, struct text *text)
{
    struct report replayed = {.json = false};

    report_comment(&replayed, result, text);
    if (has_receiver(result, receiver))
        put_receiver(&result->segment.pair.local, receiver, text);
    put_sender(sender, text);
}

void live_report_heading(const struct live_report *report, struct text *text)
{
    struct report replayed = {.json = report->json, .counts = report->counts};

    report_heading(&replayed, text);
}

void live_report_stream(const struct live_report *report, const struct stream *stream, bool is_given_up,
                        const struct attribute_answer ends[2], struct text *text)
{
    struct report replayed = {.json = report->json, .counts = report->counts};
    int opener = stream_opener(stream);

    for (unsigned i = 0; i < 2; i++) {
        unsigned end = opener == 0 ? !i : i;
        struct stream one = *stream;
        size_t before = text->length;
        /* The one line of an end is that of what the other end has sent. */
        one.ends[end].segments = 0;
        report_stream(&replayed, &one, is_given_up, text);
        if (text->length == before)
            continue;
        reopen(report, text);
        if (report->json) {
            json_t *fields = json_object();
            add_answer(fields, &ends[end]);
            splice(fields, text);
        } else {
            if (ends[end].kind != ATTRIBUTE_NOBODY)
                put_receiver(&ends[end].pair.local, &ends[end], text);
            text_string(text, "\n");
        }
    }
}
