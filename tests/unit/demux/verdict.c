/* SPDX-License-Identifier: MIT
 *
 * Of one segment: the model's order where the kernel's real sockets seldom get to (SO_REUSEPORT taken back), and what
 * is made of model and kernel: kind, certainty, reply and words. tests/model has the rest, on real sockets.
 */
#include "demux/explain.h"
#include "demux/judge.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ETH0 2
#define ETH1 3

static struct address address(const char *host, uint16_t port)
{
    struct address made = {.family = strchr(host, ':') != NULL ? AF_INET6 : AF_INET, .port = port};

    assert_int_equal(inet_pton(made.family, host, made.bytes), 1);
    return made;
}

static struct segment segment(const char *foreign, const char *local)
{
    return (struct segment){.pair = {.local = address(local, 21), .foreign = address(foreign, 1500)},
                            .flags = SEGMENT_SYN,
                            .interface = ETH0};
}

/* A listening socket, in the order in which the kernel would list it; its cookie is its number, from 1. */
static void listen_at(struct pairs_table *table, int family, const char *host, uint32_t interface)
{
    struct diag_socket socket = {.pair.local = address(host, 21),
                                 .family = family,
                                 .state = DIAG_LISTEN,
                                 .cookie = table->count + 1,
                                 .send_queue = 16,
                                 .interface = interface};

    if (family == AF_INET6 && strcmp(host, "::") == 0)
        socket.pair.local.family = AF_UNSPEC;
    assert_true(pairs_append(table, &socket));
}

static void connect_at(struct pairs_table *table, const struct pair *pair, uint8_t state, uint32_t interface)
{
    struct diag_socket socket = {.pair = *pair,
                                 .family = pair->local.family,
                                 .state = state,
                                 .cookie = table->count + 1,
                                 .interface = interface};

    assert_true(pairs_append(table, &socket));
}

/* The cookies of the candidates in order, as digits; a group within parentheses. */
static const char *order_of(const struct pairs_table *table, const struct segment *asked,
                            const struct model_steering *steering)
{
    static char room[64];
    struct model model;
    struct text text;

    text_init(&text, room, sizeof(room));
    assert_true(model_find(table, asked, steering, &model));
    for (size_t i = 0; i < model.count; i++) {
        if (i != 0 && model.items[i].rank != model.items[i - 1].rank)
            text_string(&text, " ");
        text_unsigned(&text, table->rows[model.items[i].row].socket.cookie);
    }
    text_end(&text);
    model_done(&model);
    return room;
}

static const struct model_steering unknown;

static void test_scores_decide_where_nothing_is_shared(void **state)
{
    const struct steering alone[] = {{.cookie = 1}, {.cookie = 2}, {.cookie = 3}, {.cookie = 4}};
    const struct model_steering known = {.items = alone, .count = 4, .known = true};
    struct segment four = segment("10.0.0.2", "10.0.0.1");
    struct segment six = segment("fd00::2", "fd00::1");
    struct pairs_table table = {.count = 0};

    (void)state;
    listen_at(&table, AF_INET6, "::", 0);
    listen_at(&table, AF_INET6, "::", ETH0);
    listen_at(&table, AF_INET, "0.0.0.0", 0);
    listen_at(&table, AF_INET, "0.0.0.0", ETH0);
    assert_string_equal(order_of(&table, &four, &known), "4 2 3 1");
    assert_string_equal(order_of(&table, &six, &known), "2 1");
    assert_string_equal(order_of(&table, &four, &unknown), "1 2 3 4");
    four.interface = ETH1;
    assert_string_equal(order_of(&table, &four, &known), "3 1");
    pairs_done(&table);
}

static void test_the_first_that_is_shared_and_better_ends_the_search(void **state)
{
    const struct steering some[] = {{.cookie = 1}, {.cookie = 2, .shared = true}, {.cookie = 3}};
    const struct model_steering known = {.items = some, .count = 3, .known = true};
    struct segment four = segment("10.0.0.2", "10.0.0.1");
    struct pairs_table table = {.count = 0};

    (void)state;
    listen_at(&table, AF_INET6, "::", 0);
    listen_at(&table, AF_INET, "0.0.0.0", 0);
    listen_at(&table, AF_INET, "0.0.0.0", ETH0);
    assert_string_equal(order_of(&table, &four, &known), "2 3 1");
    /* One that has taken it back is in no group, though it has the same address. */
    table.rows[2].socket.interface = 0;
    assert_string_equal(order_of(&table, &four, &known), "2 3 1");
    pairs_done(&table);
}

static void test_groups_are_the_kernels_where_it_tells(void **state)
{
    const struct steering some[] = {{.cookie = 1, .group = 7, .shared = true},
                                    {.cookie = 2, .group = 8, .shared = true},
                                    {.cookie = 3, .group = 7, .shared = true}};
    const struct model_steering known = {.items = some, .count = 3, .known = true};
    struct segment four = segment("10.0.0.2", "10.0.0.1");
    struct pairs_table table = {.count = 0};

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        listen_at(&table, AF_INET, "0.0.0.0", 0);
    assert_string_equal(order_of(&table, &four, &known), "13 2");
    assert_string_equal(order_of(&table, &four, &unknown), "123");
    table.rows[1].socket.v6only = true;
    assert_string_equal(order_of(&table, &four, &unknown), "13 2");
    pairs_done(&table);
}

static void test_connected_comes_first_and_must_match_whole(void **state)
{
    struct segment four = segment("10.0.0.2", "10.0.0.1");
    struct segment other = segment("10.0.0.3", "10.0.0.1");
    struct pairs_table table = {.count = 0};

    (void)state;
    listen_at(&table, AF_INET, "10.0.0.1", 0);
    connect_at(&table, &four.pair, DIAG_ESTABLISHED, ETH1);
    connect_at(&table, &four.pair, DIAG_ESTABLISHED, ETH0);
    connect_at(&table, &four.pair, DIAG_ESTABLISHED, 0);
    connect_at(&table, &other.pair, DIAG_ESTABLISHED, 0);
    connect_at(&table, &four.pair, DIAG_BOUND, 0);
    assert_string_equal(order_of(&table, &four, &unknown), "3 4 1");
    four.pair.foreign.port = 1501;
    assert_string_equal(order_of(&table, &four, &unknown), "1");
    four.pair.local.port = 22;
    assert_string_equal(order_of(&table, &four, &unknown), "");
    pairs_done(&table);
}

/* An answer about the rows of a table, in which the kernel says `kernel`. */
static struct answer answer_of(const struct pairs_table *table, const struct segment *asked, uint32_t kernel)
{
    struct answer answer = {.segment = *asked,
                            .way = WAY_HERE,
                            .table = *table,
                            .kernel = kernel,
                            .agree = true,
                            .cpus_all = true};

    assert_true(model_find(table, asked, &unknown, &answer.model));
    return answer;
}

static void test_what_each_state_does_with_each_segment(void **state)
{
    static const struct {
        uint8_t state;
        const char *flags;
        enum answer_kind kind;
        enum answer_reply reply;
    } cases[] = {
        {DIAG_ESTABLISHED, "SYN", ANSWER_CONNECTED, REPLY_ACK},
        {DIAG_ESTABLISHED, "ACK", ANSWER_CONNECTED, REPLY_NOTHING},
        {DIAG_ESTABLISHED, "PSH,ACK", ANSWER_CONNECTED, REPLY_ACK},
        {DIAG_CLOSE_WAIT, "FIN,ACK", ANSWER_CONNECTED, REPLY_ACK},
        {DIAG_ESTABLISHED, "RST", ANSWER_CONNECTED, REPLY_NOTHING},
        {DIAG_ESTABLISHED, "none", ANSWER_CONNECTED, REPLY_NOTHING},
        {DIAG_SYN_SENT, "SYN", ANSWER_CONNECTED, REPLY_SYN_ACK},
        {DIAG_SYN_SENT, "SYN,ACK", ANSWER_CONNECTED, REPLY_ACK},
        {DIAG_SYN_SENT, "ACK", ANSWER_CONNECTED, REPLY_RESET},
        {DIAG_SYN_SENT, "RST", ANSWER_CONNECTED, REPLY_NOTHING},
        {DIAG_SYN_SENT, "none", ANSWER_CONNECTED, REPLY_NOTHING},
        {DIAG_SYN_RECEIVED, "SYN", ANSWER_NOBODY, REPLY_RESET}, /* nobody listens any more */
        {DIAG_SYN_RECEIVED, "RST,ACK", ANSWER_NOBODY, REPLY_NOTHING},
        {DIAG_TIME_WAIT, "ACK", ANSWER_TIME_WAIT, REPLY_NOTHING},
        {DIAG_TIME_WAIT, "SYN", ANSWER_TIME_WAIT, REPLY_ACK},
        {DIAG_TIME_WAIT, "FIN", ANSWER_TIME_WAIT, REPLY_ACK},
        {DIAG_TIME_WAIT, "RST", ANSWER_TIME_WAIT, REPLY_NOTHING},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct segment asked = segment("10.0.0.2", "10.0.0.1");
        struct pairs_table table = {.count = 0};
        assert_int_equal(packet_parse_flags(cases[i].flags, &asked.flags, NULL), FP_OK);
        connect_at(&table, &asked.pair, cases[i].state, 0);
        struct answer answer = answer_of(&table, &asked, 0);
        judge(&answer);
        print_message("%s in state %u\n", cases[i].flags, cases[i].state);
        assert_int_equal(answer.kind, cases[i].kind);
        assert_int_equal(answer.reply, cases[i].reply);
        assert_int_equal(answer.certainty, CERTAINTY_EXACT);
        answer_done(&answer);
    }
}

static void test_what_the_sender_is_said_to_see(void **state)
{
    static const struct {
        uint8_t state;
        const char *flags;
        enum answer_way way;
        const char *words; /* how they begin */
    } cases[] = {
        {DIAG_LISTEN, "SYN", WAY_HERE, "SYN,ACK"},
        {DIAG_LISTEN, "ACK", WAY_HERE, "RST"},
        {DIAG_LISTEN, "FIN", WAY_HERE, "nothing: a listening socket drops it"},
        {DIAG_LISTEN, "RST", WAY_HERE, "nothing: a reset is never answered"},
        {DIAG_LISTEN, "SYN", WAY_FOREIGN, "nothing from here"},
        {DIAG_LISTEN, "SYN", WAY_MARTIAN, "nothing: the segment is dropped before TCP"},
        {DIAG_ESTABLISHED, "SYN", WAY_HERE, "ACK of the connection that is there"},
        {DIAG_ESTABLISHED, "PSH,ACK", WAY_HERE, "ACK"},
        {DIAG_ESTABLISHED, "ACK", WAY_HERE, "nothing, where there is nothing new in it"},
        {DIAG_ESTABLISHED, "none", WAY_HERE, "nothing: a segment without ACK is dropped"},
        {DIAG_TIME_WAIT, "none", WAY_HERE, "nothing, where there is nothing new in it"},
        {DIAG_TIME_WAIT, "SYN", WAY_HERE, "ACK, where the SYN is not taken for a new connection's"},
        {DIAG_TIME_WAIT, "FIN", WAY_HERE, "ACK"},
        {DIAG_FIN_WAIT_2, "ACK", WAY_HERE, "nothing, where the sequence number is one that is awaited"},
        {DIAG_FIN_WAIT_2, "SYN", WAY_HERE, "ACK, or RST where the sequence number is"},
        {DIAG_FIN_WAIT_2, "PSH,ACK", WAY_HERE, "RST, where the data is new"},
    };
    char room[256];
    struct text text;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct segment asked = segment("10.0.0.2", "10.0.0.1");
        struct pairs_table table = {.count = 0};
        assert_int_equal(packet_parse_flags(cases[i].flags, &asked.flags, NULL), FP_OK);
        if (cases[i].state == DIAG_LISTEN)
            listen_at(&table, AF_INET, "0.0.0.0", 0);
        else
            connect_at(&table, &asked.pair, cases[i].state, 0);
        struct answer answer = answer_of(&table, &asked, 0);
        answer.way = cases[i].way;
        judge(&answer);
        text_init(&text, room, sizeof(room));
        explain_sender(&answer, &text);
        text_end(&text);
        print_message("%s in state %u\n", cases[i].flags, cases[i].state);
        size_t length = strlen(cases[i].words);
        assert_memory_equal(room, cases[i].words, length);
        /* One word by itself is all. */
        assert_true(strpbrk(cases[i].words, " ") != NULL || room[length] == '\0');
        answer_done(&answer);
    }
}

static const char *why(const struct answer *answer, size_t place)
{
    static char room[256];
    struct text text;

    text_init(&text, room, sizeof(room));
    explain_candidate(answer, &answer->model.items[place], &text);
    text_end(&text);
    return room;
}

static void test_why_a_candidate_stands_where_it_does(void **state)
{
    struct segment four = segment("10.0.0.2", "10.0.0.1");
    struct segment six = segment("fd00::2", "fd00::1");
    struct pairs_table table = {.count = 0};

    (void)state;
    listen_at(&table, AF_INET, "10.0.0.1", 0);
    listen_at(&table, AF_INET, "0.0.0.0", 0);
    listen_at(&table, AF_INET6, "::", 0);
    struct answer answer = answer_of(&table, &four, 0);
    assert_string_equal(why(&answer, 0), "listens on the segment's own address");
    assert_string_equal(why(&answer, 1), "listens on any address, and the kernel prefers it to the next");
    assert_string_equal(why(&answer, 2), "listens on any address, being an IPv6 socket that takes IPv4 too, "
                                         "but the kernel prefers the one before");
    model_done(&answer.model);
    answer.segment = six;
    assert_true(model_find(&answer.table, &six, &unknown, &answer.model));
    assert_string_equal(why(&answer, 0), "listens on any address");
    model_done(&answer.model);
    listen_at(&answer.table, AF_INET, "10.0.0.1", 0);
    assert_true(model_find(&answer.table, &four, &unknown, &answer.model));
    answer.segment = four;
    assert_string_equal(why(&answer, 0),
                        "listens on the segment's own address, in a group of 2 that share it "
                        "(SO_REUSEPORT)");
    answer_done(&answer);
}

static void add_line(void *data, const char *line)
{
    struct text *text = data;

    text_string(text, line);
    text_string(text, "\n");
}

static const char *reasons_of(const struct answer *answer)
{
    static char room[4096];
    struct text text;

    text_init(&text, room, sizeof(room));
    explain_reasons(answer, add_line, &text);
    text_end(&text);
    return room;
}

static void test_a_difference_is_shown_and_never_exact(void **state)
{
    struct segment asked = segment("10.0.0.2", "10.0.0.1");
    struct pairs_table table = {.count = 0};

    (void)state;
    listen_at(&table, AF_INET, "0.0.0.0", 0);
    listen_at(&table, AF_INET, "10.0.0.1", 0);
    struct answer answer = answer_of(&table, &asked, 0);
    answer.agree = false;
    answer.programs = -1;
    judge(&answer);
    assert_int_equal(answer.certainty, CERTAINTY_UNKNOWN);
    assert_int_equal(answer.row, 0);
    assert_string_equal(
        reasons_of(&answer),
        "the kernel says {*:21, *:*}, but by the rules it would be {10.0.0.1:21, *:*}; sk_lookup "
        "programs, if there are any, may not be seen\n");
    answer.kernel = ANSWER_NONE;
    judge(&answer);
    assert_int_equal(answer.kind, ANSWER_NOBODY);
    assert_int_equal(answer.certainty, CERTAINTY_UNKNOWN);
    answer_done(&answer);
}

static void test_what_is_certain_of_a_group(void **state)
{
    struct steering items[] = {{.cookie = 1, .group = 7, .shared = true, .cpu = -1},
                               {.cookie = 2, .group = 7, .shared = true, .cpu = -1}};
    struct segment asked = segment("10.0.0.2", "10.0.0.1");
    struct pairs_table table = {.count = 0};

    (void)state;
    listen_at(&table, AF_INET, "0.0.0.0", 0);
    listen_at(&table, AF_INET, "0.0.0.0", 0);
    struct answer answer = answer_of(&table, &asked, 1);
    judge(&answer);
    assert_int_equal(answer.certainty, CERTAINTY_GROUP);
    struct answer told = answer;
    told.steering = (struct model_steering){.items = items, .count = 2, .known = true};
    judge(&told);
    assert_int_equal(told.certainty, CERTAINTY_EXACT);
    items[0].cpu = 1;
    judge(&told);
    assert_int_equal(told.certainty, CERTAINTY_EXACT); /* asked on all CPUs, and the answers are the same */
    told.cpus_all = false;
    judge(&told);
    assert_int_equal(told.certainty, CERTAINTY_GROUP);
    items[0].cpu = -1;
    items[1].program = true;
    judge(&told);
    assert_int_equal(told.certainty, CERTAINTY_GROUP);
    told.steering.count = 1; /* one that came since */
    judge(&told);
    assert_int_equal(told.certainty, CERTAINTY_GROUP);
    answer_done(&answer);
}

static void test_a_program_of_one_alone_can_only_refuse(void **state)
{
    struct steering one = {.cookie = 1, .group = 7, .shared = true, .cpu = -1, .program = true};
    struct segment asked = segment("10.0.0.2", "10.0.0.1");
    struct pairs_table table = {.count = 0};

    (void)state;
    listen_at(&table, AF_INET, "0.0.0.0", 0);
    struct answer answer = answer_of(&table, &asked, 0);
    struct answer told = answer;
    told.steering = (struct model_steering){.items = &one, .count = 1, .known = true};
    judge(&told);
    assert_int_equal(told.certainty, CERTAINTY_EXACT);
    assert_string_equal(reasons_of(&told), "");
    one.refuses = true;
    judge(&told);
    assert_int_equal(told.certainty, CERTAINTY_GROUP);
    assert_non_null(strstr(reasons_of(&told), "may refuse the segment"));
    answer_done(&answer);
}

static size_t count_of(const char *text, const char *what)
{
    size_t count = 0;

    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        count++;
    return count;
}

/* Of many only some are told, and how many there are besides. */
static void test_more_than_anybody_reads(void **state)
{
    struct segment asked = segment("10.0.0.2", "10.0.0.1");
    struct pairs_table table = {.count = 0};

    (void)state;
    for (int i = 0; i < 16; i++)
        listen_at(&table, AF_INET, "10.0.0.3", 0);
    struct answer answer = answer_of(&table, &asked, ANSWER_NONE);
    judge(&answer);
    assert_int_equal(count_of(reasons_of(&answer), " has another address\n"), 16);
    assert_null(strstr(reasons_of(&answer), "more"));
    for (int i = 0; i < 4; i++)
        listen_at(&answer.table, AF_INET, "10.0.0.3", 0);
    assert_int_equal(count_of(reasons_of(&answer), " has another address\n"), 16);
    assert_non_null(strstr(reasons_of(&answer), "\nand 4 more at this port\n"));
    answer.elsewhere = (struct elsewhere){.looked = true, .permitted = true, .count = ELSEWHERE_MAX + 3};
    assert_int_equal(count_of(reasons_of(&answer), "in the network namespace "), ELSEWHERE_MAX);
    assert_non_null(strstr(reasons_of(&answer), "\nand so it is in 3 more network namespaces\n"));
    answer_done(&answer);
}

/* While somebody listens a request is answered like a connection, but for its SYN, which is answered again. */
static void test_what_a_request_answers(void **state)
{
    struct segment asked = segment("10.0.0.2", "10.0.0.1");
    struct pairs_table table = {.count = 0};

    (void)state;
    connect_at(&table, &asked.pair, DIAG_SYN_RECEIVED, 0);
    listen_at(&table, AF_INET, "0.0.0.0", 0);
    struct answer answer = answer_of(&table, &asked, 0);
    judge(&answer);
    assert_int_equal(answer.kind, ANSWER_SYN_RECEIVED);
    assert_int_equal(answer.reply, REPLY_SYN_ACK);
    /* Accepted already (TCP Fast Open) it does not end with who listens, but a SYN may be another than its own. */
    answer.table.rows[0].socket.inode = 7;
    judge(&answer);
    assert_int_equal(answer.certainty, CERTAINTY_DEPENDS);
    assert_int_equal(answer.reply, REPLY_SYN_ACK);
    answer.segment.flags = SEGMENT_ACK;
    judge(&answer);
    assert_int_equal(answer.certainty, CERTAINTY_EXACT);
    answer.table.rows[0].socket.inode = 0;
    judge(&answer);
    assert_int_equal(answer.certainty, CERTAINTY_DEPENDS);
    assert_int_equal(answer.reply, REPLY_NOTHING);
    answer.segment.flags = SEGMENT_PSH | SEGMENT_ACK;
    judge(&answer);
    assert_int_equal(answer.reply, REPLY_ACK);
    answer_done(&answer);
}

/* As many may wait as the backlog says, and one more. */
static void test_when_a_queue_is_full(void **state)
{
    struct segment asked = segment("10.0.0.2", "10.0.0.1");
    struct pairs_table table = {.count = 0};

    (void)state;
    listen_at(&table, AF_INET, "0.0.0.0", 0);
    struct answer answer = answer_of(&table, &asked, 0);
    answer.table.rows[0].socket.receive_queue = answer.table.rows[0].socket.send_queue;
    judge(&answer);
    assert_int_equal(answer.reply, REPLY_SYN_ACK);
    answer.table.rows[0].socket.receive_queue++;
    judge(&answer);
    assert_int_equal(answer.reply, REPLY_NOTHING);
    answer_done(&answer);
}

/* With a descriptor it is a socket like any other in that state. */
static void test_what_is_left_in_fin_wait_2(void **state)
{
    struct segment asked = segment("10.0.0.2", "10.0.0.1");
    struct pairs_table table = {.count = 0};

    (void)state;
    connect_at(&table, &asked.pair, DIAG_FIN_WAIT_2, 0);
    struct answer answer = answer_of(&table, &asked, 0);
    answer.segment.flags = SEGMENT_PSH | SEGMENT_ACK;
    judge(&answer);
    assert_int_equal(answer.certainty, CERTAINTY_DEPENDS);
    assert_int_equal(answer.reply, REPLY_RESET);
    /* Whether its process has shut down reading as well is not known. */
    answer.table.rows[0].socket.inode = 7;
    judge(&answer);
    assert_int_equal(answer.certainty, CERTAINTY_DEPENDS);
    assert_int_equal(answer.reply, REPLY_ACK);
    answer.segment.flags = SEGMENT_FIN | SEGMENT_ACK;
    judge(&answer);
    assert_int_equal(answer.certainty, CERTAINTY_EXACT);
    assert_int_equal(answer.reply, REPLY_ACK);
    answer_done(&answer);
}

static void test_what_never_comes_to_tcp(void **state)
{
    struct segment asked = segment("10.0.0.2", "10.0.0.1");
    struct pairs_table table = {.count = 0};

    (void)state;
    listen_at(&table, AF_INET, "0.0.0.0", 0);
    struct answer answer = answer_of(&table, &asked, 0);
    answer.way = WAY_FOREIGN;
    judge(&answer);
    assert_int_equal(answer.kind, ANSWER_NOBODY);
    assert_int_equal(answer.certainty, CERTAINTY_UNKNOWN);
    assert_int_equal(answer.reply, REPLY_NOTHING);
    answer.way = WAY_MARTIAN;
    judge(&answer);
    assert_int_equal(answer.certainty, CERTAINTY_DEPENDS);
    assert_int_equal(answer.row, ANSWER_NONE);
    answer.way = WAY_OWN_SOURCE;
    judge(&answer);
    assert_int_equal(answer.certainty, CERTAINTY_DEPENDS);
    answer.segment.pair.local.family = AF_INET6;
    judge(&answer);
    assert_int_equal(answer.certainty, CERTAINTY_EXACT);
    answer.segment.pair.local.family = AF_INET;
    answer.way = WAY_NO_SOURCE;
    judge(&answer);
    assert_int_equal(answer.kind, ANSWER_NOBODY);
    assert_int_equal(answer.certainty, CERTAINTY_EXACT);
    answer_done(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores_decide_where_nothing_is_shared),
        cmocka_unit_test(test_the_first_that_is_shared_and_better_ends_the_search),
        cmocka_unit_test(test_groups_are_the_kernels_where_it_tells),
        cmocka_unit_test(test_connected_comes_first_and_must_match_whole),
        cmocka_unit_test(test_what_each_state_does_with_each_segment),
        cmocka_unit_test(test_what_the_sender_is_said_to_see),
        cmocka_unit_test(test_why_a_candidate_stands_where_it_does),
        cmocka_unit_test(test_a_difference_is_shown_and_never_exact),
        cmocka_unit_test(test_what_is_certain_of_a_group),
        cmocka_unit_test(test_a_program_of_one_alone_can_only_refuse),
        cmocka_unit_test(test_more_than_anybody_reads),
        cmocka_unit_test(test_what_a_request_answers),
        cmocka_unit_test(test_when_a_queue_is_full),
        cmocka_unit_test(test_what_is_left_in_fin_wait_2),
        cmocka_unit_test(test_what_never_comes_to_tcp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
