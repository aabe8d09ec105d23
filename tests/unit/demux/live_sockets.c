/* SPDX-License-Identifier: MIT */
#include "demux/live_sockets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static struct pair pair_of(uint16_t foreign_port)
{
    return (struct pair){
        .local = {.family = AF_INET, .bytes = {127, 0, 0, 1}, .port = 21},
        .foreign = {.family = AF_INET, .bytes = {127, 0, 0, 1}, .port = foreign_port},
    };
}

static struct live_socket *add(struct live_sockets *sockets, uint64_t cookie, uint16_t foreign_port,
                               int64_t start_ns)
{
    struct pair pair = pair_of(foreign_port);
    struct live_socket *socket = live_sockets_add(sockets, cookie, start_ns);

    assert_non_null(socket);
    live_sockets_set_pair(sockets, socket, &pair);
    return socket;
}

static uint64_t cookie_at(const struct live_sockets *sockets, uint16_t foreign_port, int64_t time_ns)
{
    struct pair pair = pair_of(foreign_port);
    struct live_moment moment = {.time_ns = time_ns};
    const struct live_socket *socket = live_sockets_by_pair(sockets, &pair, &moment);

    return socket != NULL ? socket->cookie : 0;
}

static uint64_t cookie_of_syn(const struct live_sockets *sockets, uint16_t foreign_port, int64_t time_ns)
{
    struct pair pair = pair_of(foreign_port);
    struct live_moment moment = {.time_ns = time_ns, .opens = true};
    const struct live_socket *socket = live_sockets_by_pair(sockets, &pair, &moment);

    return socket != NULL ? socket->cookie : 0;
}

/* One pair, three sockets, one after the other: the time tells which. */
static void test_a_pair_that_is_used_again(void **state)
{
    struct live_sockets sockets;

    (void)state;
    assert_true(live_sockets_init(&sockets, 1000));
    assert_int_equal(cookie_at(&sockets, 1500, 5 * SECOND), 0);
    add(&sockets, 1, 1500, 10 * SECOND);
    live_sockets_end(&sockets, live_sockets_by_cookie(&sockets, 1), 20 * SECOND);
    add(&sockets, 2, 1500, 30 * SECOND);
    live_sockets_end(&sockets, live_sockets_by_cookie(&sockets, 2), 40 * SECOND);
    add(&sockets, 3, 1500, 50 * SECOND);
    add(&sockets, 4, 1501, 10 * SECOND);

    assert_int_equal(cookie_at(&sockets, 1500, 15 * SECOND), 1);
    assert_int_equal(cookie_at(&sockets, 1500, 35 * SECOND), 2);
    assert_int_equal(cookie_at(&sockets, 1500, 55 * SECOND), 3);
    assert_int_equal(cookie_at(&sockets, 1501, 55 * SECOND), 4);
    /* Nobody had it then: what is seen is of the next, or late. */
    assert_int_equal(cookie_at(&sockets, 1500, 5 * SECOND), 1);
    assert_int_equal(cookie_at(&sockets, 1500, 25 * SECOND), 2);
    live_sockets_done(&sockets);
}

/*
 * A handshake is of the socket that connected just before it, or of the one that comes of it; the one before it may
 * not have been told of as ended yet.
 */
static void test_a_handshake(void **state)
{
    struct live_sockets sockets;

    (void)state;
    assert_true(live_sockets_init(&sockets, 1000));
    add(&sockets, 1, 1500, 10 * SECOND)->passive = true;
    live_sockets_end(&sockets, live_sockets_by_cookie(&sockets, 1), 20 * SECOND + 5000);
    add(&sockets, 2, 1500, 20 * SECOND + 90000)->passive = true;
    assert_int_equal(cookie_of_syn(&sockets, 1500, 20 * SECOND), 2);
    assert_int_equal(cookie_of_syn(&sockets, 1500, 10 * SECOND - 9000), 1);
    /* Two clocks: its SYN may seem to be a little later than it. */
    assert_int_equal(cookie_of_syn(&sockets, 1500, 10 * SECOND + 9000), 1);
    assert_int_equal(cookie_at(&sockets, 1500, 20 * SECOND), 1);

    add(&sockets, 3, 1501, 10 * SECOND)->active = true;
    live_sockets_end(&sockets, live_sockets_by_cookie(&sockets, 3), 20 * SECOND);
    add(&sockets, 4, 1501, 20 * SECOND + 50000)->active = true;
    assert_int_equal(cookie_of_syn(&sockets, 1501, 10 * SECOND + 9000), 3);
    assert_int_equal(cookie_of_syn(&sockets, 1501, 20 * SECOND + 60000), 4);
    /* What connected and has ended has no handshake any more. */
    live_sockets_end(&sockets, live_sockets_by_cookie(&sockets, 4), 25 * SECOND);
    add(&sockets, 5, 1501, 30 * SECOND + 90000)->passive = true;
    assert_int_equal(cookie_of_syn(&sockets, 1501, 30 * SECOND), 5);
    live_sockets_done(&sockets);
}

static void test_what_is_known_better_replaces(void **state)
{
    static const struct live_process first = {.pid = 7, .name = "first"};
    static const struct live_process two[] = {{.pid = 8, .name = "second"}, {.pid = 9, .name = "third"}};
    static const struct live_process many[LIVE_PROCESSES + 3] = {{.pid = 10}};
    struct live_socket socket = {.way = LIVE_UNKNOWN};
    struct live_socket shared = {.way = LIVE_UNKNOWN};

    (void)state;
    live_socket_name(&socket, LIVE_HELD, &first, 0);
    assert_int_equal(socket.way, LIVE_UNKNOWN);
    live_socket_name(&socket, LIVE_HELD, two, 2);
    assert_int_equal(socket.process_count, 2);
    live_socket_name(&socket, LIVE_CLOSED, &first, 1);
    assert_int_equal(socket.processes[0].pid, 8);
    live_socket_name(&socket, LIVE_USED, &first, 1);
    assert_int_equal(socket.process_count, 1);
    assert_string_equal(socket.processes[0].name, "first");
    /* Of two that have used it the first stays. */
    live_socket_name(&socket, LIVE_USED, two, 1);
    live_socket_name(&socket, LIVE_CONNECTED, two, 1);
    assert_int_equal(socket.processes[0].pid, 7);
    /* Of many some are kept, and the rest is counted. */
    live_socket_name(&shared, LIVE_HELD, many, LIVE_PROCESSES + 3);
    assert_int_equal(shared.process_count, LIVE_PROCESSES);
    assert_int_equal(shared.more, 3);
}

/* Full, given back, full again; whatever the order, each is found and no other. */
static void test_room(void **state)
{
    struct live_sockets sockets;
    struct live_socket expired;

    (void)state;
    assert_true(live_sockets_init(&sockets, 300));
    for (uint64_t i = 1; i <= 300; i++)
        add(&sockets, i, (uint16_t)i, (int64_t)i);
    assert_null(live_sockets_add(&sockets, 301, 0));
    assert_false(live_sockets_expire(&sockets, LIVE_FOREVER, &expired));
    for (uint64_t i = 2; i <= 300; i += 2) {
        live_sockets_end(&sockets, live_sockets_by_cookie(&sockets, i), (int64_t)(1000 + i));
        live_sockets_end(&sockets, live_sockets_by_cookie(&sockets, i), 1);
    }
    assert_false(live_sockets_expire(&sockets, 1002, &expired));
    for (uint64_t i = 2; i <= 300; i += 2) {
        assert_true(live_sockets_expire(&sockets, LIVE_FOREVER, &expired));
        assert_int_equal(expired.cookie, i);
        assert_null(live_sockets_by_cookie(&sockets, i));
        assert_int_equal(cookie_at(&sockets, (uint16_t)i, 5000), 0);
    }
    assert_int_equal(sockets.used, 150);
    for (uint64_t i = 1001; i <= 1150; i++)
        add(&sockets, i, (uint16_t)i, 1);
    assert_null(live_sockets_add(&sockets, 1, 0));
    size_t count = 0;
    struct live_socket *socket = NULL;
    while ((socket = live_sockets_next(&sockets, socket)) != NULL) {
        assert_ptr_equal(live_sockets_by_cookie(&sockets, socket->cookie), socket);
        assert_int_equal(cookie_at(&sockets, socket->pair.foreign.port, 5000), socket->cookie);
        count++;
    }
    assert_int_equal(count, 300);
    /* All that had ended are gone, and those that end now are given back like them. */
    for (uint64_t i = 1001; i <= 1002; i++) {
        live_sockets_end(&sockets, live_sockets_by_cookie(&sockets, i), 6000);
        assert_true(live_sockets_expire(&sockets, LIVE_FOREVER, &expired));
        assert_int_equal(expired.cookie, i);
    }
    live_sockets_done(&sockets);
}

/* A socket that connects has no port yet, and one that failed may get another pair. */
static void test_a_pair_that_comes_later(void **state)
{
    struct live_sockets sockets;

    (void)state;
    assert_true(live_sockets_init(&sockets, 10));
    struct live_socket *socket = live_sockets_add(&sockets, 5, 1);
    assert_int_equal(cookie_at(&sockets, 1500, 2), 0);
    struct pair pair = pair_of(1500);
    live_sockets_set_pair(&sockets, socket, &pair);
    assert_int_equal(cookie_at(&sockets, 1500, 2), 5);
    pair = pair_of(1501);
    live_sockets_set_pair(&sockets, socket, &pair);
    assert_int_equal(cookie_at(&sockets, 1500, 2), 0);
    assert_int_equal(cookie_at(&sockets, 1501, 2), 5);
    live_sockets_done(&sockets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pair_that_is_used_again),     cmocka_unit_test(test_a_handshake),
        cmocka_unit_test(test_what_is_known_better_replaces), cmocka_unit_test(test_room),
        cmocka_unit_test(test_a_pair_that_comes_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
