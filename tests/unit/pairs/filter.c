/* SPDX-License-Identifier: MIT */
#include "pairs/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct diag_socket socket_of(const char *pair, int family, uint8_t state)
{
    struct diag_socket socket = {.family = family, .state = state, .cookie = 0x1f, .inode = 4711, .uid = 33};

    assert_int_equal(pair_parse(pair, &socket.pair, NULL), FP_OK);
    return socket;
}

static bool matches(const char *term, const struct diag_socket *socket)
{
    struct filter filter = {.count = 0};
    struct fp_error err;

    if (filter_add(&filter, term, &err) != FP_OK)
        fail_msg("%s: %s", term, err.reason);
    return filter_matches_socket(&filter, socket);
}

static void test_ends(void **state)
{
    static const struct {
        const char *pair;
        const char *yes;
        const char *no;
    } rows[] = {
        {"{192.0.2.1:21, 198.51.100.7:1500}",
         ":21 21 ftp :ftp :1500 local::21 local:21 foreign:1500 192.0.2.1 198.51.100.0/24 192.0.2.1:21 *:21 "
         "0.0.0.0/0 :20-22 192.0.2.0/31:21 ::ffff:192.0.2.1 ::ffff:192.0.2.0/120 ::ffff:203.0.113.1/90 "
         "local:192.0.2.1 foreign:198.51.100.7:* {192.0.2.1:21,198.51.100.7:1500} 192.0.2.1/31 tcp4 uid:33 "
         "cookie:1f cookie:1F inode:4711 established connected",
         ":22 foreign::21 local:1500 192.0.2.2 192.0.2.1:1500 192.0.2.0:21 192.0.2.2/31 ::/0 :22-30 :1-20 "
         "foreign:192.0.2.1 {*:21,*:*} tcp6 tcp46 uid:0 cookie:2f inode:4 listening bound device:eth0"},
        {"{[2001:db8::1]:21, [2001:db8::2]:9}",
         "2001:db8::1 2001:db8::/32 [2001:db8::1]:21 ::/0 local:2001:db8::1 "
         "[2001:db8::/32]:9 foreign:[2001:db8::2] 2001:db8::3/127 tcp6",
         "2001:db8::3 [2001:db8::1]:9 2001:db9::/32 0.0.0.0/0 foreign:2001:db8::1 tcp4"},
        {"{*:21, *:*}", ":21 local::21 {*:21,*:*} :1-65535",
         "192.0.2.1 :22 0.0.0.0/1 foreign::21 :1-20 {*%eth0:21,*:*}"},
        {"{*%eth0:21, *:*}", ":21 device:eth0 {*%eth0:21,*:*}",
         "device:eth1 device:eth {*:21,*:*} {*%eth1:21,*:*}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct diag_socket socket = socket_of(rows[i].pair, i == 1 ? AF_INET6 : AF_INET, DIAG_ESTABLISHED);
        for (int yes = 0; yes < 2; yes++) {
            char *terms = strdup(yes ? rows[i].yes : rows[i].no);
            char *rest = terms;
            for (char *term; (term = strsep(&rest, " ")) != NULL;) {
                if (matches(term, &socket) != yes)
                    fail_msg("%s %s", rows[i].pair, term);
            }
            free(terms);
        }
    }
}

static void test_states(void **state)
{
    struct diag_socket listening = socket_of("{*:21, *:*}", AF_INET, DIAG_LISTEN);
    struct diag_socket request = socket_of("{192.0.2.1:21, 192.0.2.2:9}", AF_INET, DIAG_NEW_SYN_RECEIVED);
    struct filter filter = {.count = 0};

    (void)state;
    assert_true(matches("listening", &listening));
    /* As the column STATE and the JSON form have them. */
    assert_true(matches("LISTEN", &listening));
    assert_false(matches("TIME-WAIT", &listening));
    assert_true(matches("SYN-RECEIVED", &request));
    assert_false(matches("connected", &listening));
    assert_true(matches("syn-received", &request));
    assert_true(matches("connected", &request));
    assert_int_equal(filter_states(&filter), DIAG_STATES_ALL);
    assert_int_equal(filter_add(&filter, "established", NULL), FP_OK);
    /* What waits is accepted by those that listen, so their sockets are always asked for. */
    assert_int_equal(filter_states(&filter), DIAG_STATE_BIT(DIAG_ESTABLISHED) | DIAG_STATE_BIT(DIAG_LISTEN));
}

/* Each word is of its own states and no others. */
static void test_every_state(void **state)
{
    static const struct {
        const char *word;
        uint8_t states[2];
    } rows[] = {
        {"listening", {DIAG_LISTEN}},
        {"listen", {DIAG_LISTEN}},
        {"established", {DIAG_ESTABLISHED}},
        {"syn-sent", {DIAG_SYN_SENT}},
        {"syn-received", {DIAG_SYN_RECEIVED, DIAG_NEW_SYN_RECEIVED}},
        {"fin-wait-1", {DIAG_FIN_WAIT_1}},
        {"fin-wait-2", {DIAG_FIN_WAIT_2}},
        {"close-wait", {DIAG_CLOSE_WAIT}},
        {"last-ack", {DIAG_LAST_ACK}},
        {"closing", {DIAG_CLOSING}},
        {"time-wait", {DIAG_TIME_WAIT}},
        {"bound", {DIAG_BOUND}},
    };
    struct diag_socket socket = socket_of("{192.0.2.1:21, 192.0.2.2:9}", AF_INET, 0);
    struct filter filter = {.count = 0};

    (void)state;
    for (socket.state = DIAG_ESTABLISHED; socket.state <= DIAG_BOUND; socket.state++) {
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            bool is_of_it = socket.state == rows[i].states[0] || socket.state == rows[i].states[1];
            if (matches(rows[i].word, &socket) != is_of_it)
                fail_msg("%s: %s", rows[i].word, diag_state_name(socket.state));
        }
        assert_int_equal(matches("connected", &socket), socket.state != DIAG_LISTEN &&
                                                            socket.state != DIAG_BOUND &&
                                                            socket.state != DIAG_CLOSED);
    }
    /* A kernel before Linux 6.8 calls closed what is bound. */
    assert_int_equal(filter_add(&filter, "bound", NULL), FP_OK);
    assert_int_equal(filter_states(&filter),
                     DIAG_STATE_BIT(DIAG_BOUND) | DIAG_STATE_BIT(DIAG_CLOSED) | DIAG_STATE_BIT(DIAG_LISTEN));
}

/* The kernel says 0 for what it does not know: nobody asks for that. */
static void test_what_is_not_known_matches_nothing(void **state)
{
    struct diag_socket socket = socket_of("{192.0.2.1:21, 192.0.2.2:9}", AF_INET, DIAG_TIME_WAIT);
    struct pairs_table table = {.count = 0};
    struct pairs_row row = {.connection = 0};
    struct filter filter = {.count = 0};

    (void)state;
    socket.inode = 0;
    socket.uid = 0;
    assert_false(matches("uid:0", &socket));
    assert_int_equal(filter_add(&filter, "connection:0", NULL), FP_OK);
    assert_false(filter_matches_owner(&filter, &table, &row));
}

static void test_all_terms_must_match(void **state)
{
    struct diag_socket socket = socket_of("{192.0.2.1:21, 198.51.100.7:1500}", AF_INET, DIAG_ESTABLISHED);
    struct filter filter = {.count = 0};

    (void)state;
    assert_true(filter_matches_socket(&filter, &socket));
    assert_int_equal(filter_add(&filter, ":21", NULL), FP_OK);
    assert_int_equal(filter_add(&filter, "established", NULL), FP_OK);
    assert_true(filter_matches_socket(&filter, &socket));
    assert_int_equal(filter_add(&filter, "foreign:21", NULL), FP_OK);
    assert_false(filter_matches_socket(&filter, &socket));
}

/* The descriptors of one process alone are enough only where no other is asked about. */
static void test_whose_descriptors_matter(void **state)
{
    static const struct {
        const char *terms[3];
        pid_t pid;
    } rows[] = {{{"pid:812"}, 812},
                {{":21", "pid:812", "listening"}, 812},
                {{"pid:812", "pid:813"}, 0},
                {{"name:sshd", "pid:812"}, 0},
                {{"pid:812", "name:sshd"}, 0},
                {{"name:sshd"}, 0},
                {{":21"}, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct filter filter = {.count = 0};
        for (size_t term = 0; term < 3 && rows[i].terms[term] != NULL; term++)
            assert_int_equal(filter_add(&filter, rows[i].terms[term], NULL), FP_OK);
        assert_int_equal(filter_pid(&filter), rows[i].pid);
    }
}

#define LONG "0123456789012345678901234567890123456789012345678901234567890123"

static void test_bad_terms(void **state)
{
    static const char *const terms[] = {
        "",
        ":",
        "x:y",
        "x",
        ":0",
        "0",
        ":65536",
        ":5-4",
        ":5-",
        ":-5",
        "192.0.2.1/33",
        "192.0.2",
        "192.0.2.0/",
        "[2001:db8::1",
        "[2001:db8::1]x",
        "2001:db8::/129",
        "pid:",
        "pid:-1",
        "pid:99999999999",
        "cookie:xyz",
        "cookie:11111111111111111",
        "name:",
        "{",
        "{*:21}",
        "local:",
        "foreign:",
        "local:listening",
        "LISTENS",
        "*",
        "name:" LONG LONG LONG LONG,
        ":0123456789012345678901234567890123456789012345678901234567890123456789",
    };
    struct filter filter = {.count = 0};
    struct fp_error full;

    (void)state;
    for (size_t i = 0; i < sizeof(terms) / sizeof(terms[0]); i++) {
        struct fp_error err = {.status = FP_OK};
        if (filter_add(&filter, terms[i], &err) != FP_USAGE || err.status != FP_USAGE ||
            err.reason[0] == '\0')
            fail_msg("%s is taken", terms[i]);
        assert_int_equal(filter.count, 0);
    }
    for (int i = 0; i < FILTER_TERMS_MAX; i++)
        assert_int_equal(filter_add(&filter, ":21", NULL), FP_OK);
    assert_int_equal(filter_add(&filter, ":21", &full), FP_USAGE);
    assert_string_equal(full.reason, "there are more than 32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_every_state),
        cmocka_unit_test(test_what_is_not_known_matches_nothing),
        cmocka_unit_test(test_all_terms_must_match),
        cmocka_unit_test(test_whose_descriptors_matter),
        cmocka_unit_test(test_bad_terms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
