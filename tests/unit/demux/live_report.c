/* SPDX-License-Identifier: MIT
 *
 * The words for the processes of a segment's two ends: of answers made by hand, since many of them take sockets in
 * states that pass before a test could look.
 */
#include "demux/live_report.h"

#include "demux/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct replay_counts counts = {.frames = 7, .first_ns = 1000};
static const struct live_report plain = {.counts = &counts};
static const struct live_report json = {.json = true, .counts = &counts};

static struct pair pair_of(uint16_t local, uint16_t foreign)
{
    return (struct pair){
        .local = {.family = AF_INET, .bytes = {10, 0, 0, 1}, .port = local},
        .foreign = {.family = AF_INET, .bytes = {10, 0, 0, 2}, .port = foreign},
    };
}

static struct replay_result result_of(enum stream_answer answer)
{
    return (struct replay_result){
        .class = PACKET_SEGMENT,
        .has_answer = true,
        .segment = {.pair = pair_of(21, 1500), .flags = SEGMENT_ACK},
        .answer = answer,
    };
}

static struct attribute_answer held_by(pid_t pid, const char *name)
{
    struct attribute_answer answer = {.kind = ATTRIBUTE_CONNECTED,
                                      .pair = pair_of(21, 1500),
                                      .local = true,
                                      .way = LIVE_USED,
                                      .process_count = 1,
                                      .processes = {{.pid = pid}}};

    memcpy(answer.processes[0].name, name, strlen(name));
    return answer;
}

static const struct attribute_answer nobody;

/* The line from the connection's number on. */
static const char *line_of(const struct live_report *report, const struct replay_result *result,
                           const struct attribute_answer *receiver, const struct attribute_answer *sender)
{
    static char room[REPORT_LINE_SIZE];
    struct text text;

    text_init(&text, room, sizeof(room));
    live_report_frame(report, 1000, result, receiver, sender, &text);
    text_end(&text);
    const char *number = strstr(room, "#0 ");
    return number != NULL ? number + 3 : room;
}

static void test_who_is_at_each_end(void **state)
{
    struct replay_result result = result_of(STREAM_CONNECTED);
    struct attribute_answer receiver = held_by(7, "echo");
    struct attribute_answer sender = held_by(0, "nfsd");

    (void)state;
    assert_string_equal(line_of(&plain, &result, &receiver, &nobody), "connected: echo 7\n");
    assert_string_equal(line_of(&plain, &result, &receiver, &sender),
                        "connected: echo 7, sent by: nfsd of the kernel\n");
    receiver.waiting = sender.waiting = true;
    receiver.more = 2;
    assert_string_equal(line_of(&plain, &result, &receiver, &sender),
                        "connected, waiting for: echo 7 and 2 more, sent for: nfsd of the kernel\n");
    assert_string_equal(line_of(&plain, &result, &nobody, &nobody), "connected\n");
    receiver = (struct attribute_answer){.kind = ATTRIBUTE_CONNECTED, .pair = pair_of(21, 1500)};
    assert_string_equal(line_of(&plain, &result, &receiver, &nobody), "connected: unseen\n");
    receiver.not_permitted = true;
    assert_string_equal(line_of(&plain, &result, &receiver, &nobody), "connected: not permitted to see\n");
    /* What is over is nobody's, though the socket is known. */
    result.answer = STREAM_TIME_WAIT;
    assert_string_equal(line_of(&plain, &result, &receiver, &nobody), "time-wait\n");
}

/* The pair of a listening socket is said where it is not the one that is in the line; that of a connection never. */
static void test_which_socket_it_is(void **state)
{
    struct replay_result result = result_of(STREAM_LISTENING);
    struct attribute_answer receiver = held_by(7, "echo");

    (void)state;
    receiver.pair.local.family = AF_UNSPEC;
    memset(receiver.pair.local.bytes, 0, sizeof(receiver.pair.local.bytes));
    result.answer = STREAM_CONNECTED;
    assert_string_equal(line_of(&plain, &result, &receiver, &nobody), "connected: echo 7\n");
    result.answer = STREAM_LISTENING;
    receiver.kind = ATTRIBUTE_LISTENING;
    receiver.pair.foreign = (struct address){.family = AF_UNSPEC};
    assert_string_equal(line_of(&plain, &result, &receiver, &nobody),
                        "listening {10.0.0.1:21, *:*} by {*:21, *:*}: echo 7\n");
    assert_non_null(strstr(line_of(&json, &result, &receiver, &nobody), "\"pair\":\"{*:21, *:*}\""));
}

/* What a link gives to many is for nobody here, whoever listens. */
static void test_what_sockets_correct(void **state)
{
    struct replay_result result = result_of(STREAM_NOBODY);
    struct attribute_answer receiver = held_by(7, "echo");

    (void)state;
    result.certainty = REPLAY_UNKNOWN;
    live_report_correct(&result, &receiver);
    assert_int_equal(result.certainty, REPLAY_EXACT);
    receiver.group = true;
    live_report_correct(&result, &receiver);
    assert_int_equal(result.certainty, REPLAY_GROUP);
    receiver.unsure = true;
    live_report_correct(&result, &receiver);
    assert_int_equal(result.certainty, REPLAY_DEPENDS);
    result.segment.direction = PACKET_BROADCAST;
    result.certainty = REPLAY_UNKNOWN;
    live_report_correct(&result, &receiver);
    assert_int_equal(result.certainty, REPLAY_UNKNOWN);
}

/* A socket that was there when the segment came has it, whatever the capture makes of that. */
static void test_what_a_socket_that_lives_corrects(void **state)
{
    static const struct {
        enum stream_answer answer;
        bool lives;
        uint16_t flags;
        enum stream_answer corrected;
        enum replay_certainty certainty;
    } rows[] = {
        {STREAM_LISTENING, true, SEGMENT_SYN, STREAM_CONNECTED, REPLAY_EXACT},
        {STREAM_CONNECTED, true, SEGMENT_SYN, STREAM_CONNECTED, REPLAY_EXACT},
        {STREAM_NOBODY, true, SEGMENT_ACK, STREAM_CONNECTED, REPLAY_EXACT},
        {STREAM_NOBODY, false, SEGMENT_ACK, STREAM_NOBODY, REPLAY_EXACT},
        {STREAM_CONNECTED, false, SEGMENT_ACK, STREAM_CONNECTED, REPLAY_EXACT},
        {STREAM_CONNECTED, false, SEGMENT_SYN, STREAM_CONNECTED, REPLAY_DEPENDS},
        {STREAM_TIME_WAIT, false, SEGMENT_SYN, STREAM_TIME_WAIT, REPLAY_DEPENDS},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct replay_result result = result_of(rows[i].answer);
        struct attribute_answer receiver = held_by(7, "echo");
        result.certainty = REPLAY_DEPENDS;
        result.segment.flags = rows[i].flags;
        receiver.lives = rows[i].lives;
        live_report_correct(&result, &receiver);
        assert_int_equal(result.answer, rows[i].corrected);
        assert_int_equal(result.certainty, rows[i].certainty);
    }
}

/* A connection to `server`, of three segments, whose ends are processes 7 (the server) and 8; its two lines. */
static const char *lines_of(struct pair server, char room[2 * REPORT_LINE_SIZE])
{
    const struct pair client = {.local = server.foreign, .foreign = server.local};
    const struct segment segments[] = {
        {.pair = server, .flags = SEGMENT_SYN, .sequence = 100},
        {.pair = client, .flags = SEGMENT_SYN | SEGMENT_ACK, .sequence = 500, .acknowledgement = 101},
        {.pair = server, .flags = SEGMENT_ACK, .sequence = 101, .acknowledgement = 501},
    };
    struct stream stream = {.first_ns = 1000, .head.used_ns = 1000};
    struct attribute_answer ends[2];
    struct text text;
    bool sure;

    for (unsigned i = 0; i < 3; i++) {
        unsigned sender = stream_key(&segments[i].pair, &stream.key);
        stream_receive(&stream, sender, &segments[i], 1000, &sure);
        ends[sender] = i == 1 ? held_by(7, "server") : held_by(8, "client");
    }
    ends[0].pair = stream_pair(&stream, 0);
    ends[1].pair = stream_pair(&stream, 1);
    text_init(&text, room, 2 * (size_t)REPORT_LINE_SIZE);
    live_report_stream(&plain, &stream, true, ends, &text);
    text_end(&text);
    return room;
}

/* A line for each end that has received something, with its own process; whom it was opened to comes first. */
static void test_the_ends_of_a_connection(void **state)
{
    const struct pair low = pair_of(21, 1500);
    const struct pair high = {.local = low.foreign, .foreign = low.local};
    char room[2 * REPORT_LINE_SIZE];

    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        const char *first = lines_of(turn == 0 ? low : high, room);
        char *second = strchr(room, '\n') + 1;
        assert_ptr_equal(strstr(second, turn == 0 ? "{10.0.0.2:1500, " : "{10.0.0.1:21, "), second);
        assert_non_null(strstr(second, "open, given up: client 8\n"));
        assert_null(strchr(strchr(second, '\n') + 1, '\n'));
        second[-1] = '\0';
        assert_ptr_equal(strstr(first, turn == 0 ? "{10.0.0.1:21, " : "{10.0.0.2:1500, "), first);
        assert_non_null(strstr(first, "open, given up: server 7"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_at_each_end),
        cmocka_unit_test(test_which_socket_it_is),
        cmocka_unit_test(test_what_sockets_correct),
        cmocka_unit_test(test_what_a_socket_that_lives_corrects),
        cmocka_unit_test(test_the_ends_of_a_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
