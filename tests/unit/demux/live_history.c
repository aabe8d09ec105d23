/* SPDX-License-Identifier: MIT
 *
 * Which listening socket a segment came to, and who is believed to hold it: of tables made by hand, at times made by
 * hand, where real sockets come and go faster than a test can look.
 */
#include "demux/live_history.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)
#define ETH0   2
#define ETH1   3

static struct pair pair_to(const char *host, uint16_t port)
{
    struct pair pair = {.local = {.family = strchr(host, ':') != NULL ? AF_INET6 : AF_INET, .port = port}};

    assert_int_equal(inet_pton(pair.local.family, host, pair.local.bytes), 1);
    pair.foreign = pair.local;
    pair.foreign.port = 1500;
    return pair;
}

/* A socket that listens there; its cookie is its port. */
static struct pairs_row *listen_at(struct pairs_table *table, const char *host, uint16_t port)
{
    struct diag_socket socket = {.pair.local = pair_to(host, port).local,
                                 .state = DIAG_LISTEN,
                                 .cookie = port};

    socket.family = socket.pair.local.family;
    assert_true(pairs_append(table, &socket));
    return &table->rows[table->count - 1];
}

/* Held by these processes, until 0. */
static void hold(struct pairs_table *table, struct pairs_row *row, const pid_t *pids)
{
    row->descriptor = (uint32_t)table->descriptors.count;
    for (; *pids != 0; pids++) {
        struct descriptor one = {.pid = *pids};
        assert_int_equal(descriptors_append(&table->descriptors, &one), 0);
        row->descriptors++;
    }
}

static void set(struct live_history *history, struct pairs_table *take_table, int64_t from_s)
{
    assert_int_equal(live_history_set(history, take_table, from_s * SECOND, (from_s + 1) * SECOND, NULL),
                     FP_OK);
}

static void change(struct live_history *history, uint64_t cookie, in_port_t port, int64_t time_s, bool began)
{
    struct live_change one = {time_s * SECOND, time_s * SECOND, cookie, port, began};

    live_history_change(history, &one);
}

static bool finds(const struct live_history *history, uint16_t port, int64_t time_s)
{
    struct pair pair = pair_to("127.0.0.1", port);
    struct live_listener listener;

    return live_history_find(history, &pair, 0, time_s * SECOND, &listener) && listener.cookie == port;
}

static void test_a_table_holds_while_nothing_changes_at_the_port(void **state)
{
    struct live_history history = {.change_count = 0};
    struct pairs_table table = {.count = 0};

    (void)state;
    listen_at(&table, "127.0.0.1", 21);
    set(&history, &table, 10);
    change(&history, 22, 22, 13, true);
    assert_true(live_history_is_sure(&history, 21, 14 * SECOND));
    assert_false(live_history_is_sure(&history, 22, 14 * SECOND));
    assert_true(live_history_is_sure(&history, 22, 12 * SECOND));
    /* Of sockets that are not known any may have changed. */
    change(&history, 0, 0, 15, false);
    assert_true(live_history_is_sure(&history, 21, 14 * SECOND));
    assert_false(live_history_is_sure(&history, 21, 16 * SECOND));
    /* Of changes that are not kept it is not known what they were. */
    for (int i = 0; i < LIVE_CHANGES; i++)
        change(&history, 23, 23, 17, true);
    assert_false(live_history_is_sure(&history, 21, 14 * SECOND));
    live_history_done(&history);
}

/* The table that was read before the newest one is of use as long as segments of its time are told of. */
static void test_the_table_before(void **state)
{
    struct live_history history = {.change_count = 0};
    struct pairs_table table = {.count = 0};
    struct pairs_table later = {.count = 0};

    (void)state;
    listen_at(&table, "127.0.0.1", 21);
    set(&history, &table, 10);
    change(&history, 21, 21, 15, false);
    set(&history, &later, 20);
    assert_true(finds(&history, 21, 12));
    assert_true(live_history_is_sure(&history, 21, 12 * SECOND));
    assert_false(finds(&history, 21, 16));
    assert_true(live_history_is_sure(&history, 21, 16 * SECOND));
    live_history_expire(&history, 19 * SECOND);
    assert_true(finds(&history, 21, 12));
    live_history_expire(&history, 22 * SECOND);
    assert_false(finds(&history, 21, 12));
    assert_false(live_history_is_sure(&history, 21, 12 * SECOND));
    live_history_done(&history);
}

/* Where no table holds, what is known of the one socket tells whether it listened. */
static void test_what_one_socket_did_tells(void **state)
{
    struct live_history history = {.change_count = 0};
    struct pairs_table table = {.count = 0};

    (void)state;
    listen_at(&table, "127.0.0.1", 21);
    listen_at(&table, "127.0.0.1", 22);
    set(&history, &table, 10);
    change(&history, 21, 21, 5, true);
    assert_false(finds(&history, 21, 4));
    assert_true(finds(&history, 21, 6));
    change(&history, 21, 21, 12, false);
    assert_false(finds(&history, 21, 13));
    assert_true(finds(&history, 21, 6));
    assert_true(finds(&history, 22, 4));
    live_history_done(&history);
}

static void test_of_a_device_and_of_one_family(void **state)
{
    struct live_history history = {.change_count = 0};
    struct pairs_table table = {.count = 0};
    struct pair four = pair_to("127.0.0.1", 21);
    struct pair six = pair_to("::1", 22);
    struct live_listener listener;

    (void)state;
    struct pairs_row *bound = listen_at(&table, "0.0.0.0", 21);
    bound->socket.interface = ETH0;
    bound->owner = OWNER_NOT_PERMITTED;
    listen_at(&table, "::", 22)->socket.v6only = true;
    set(&history, &table, 10);
    assert_true(live_history_find(&history, &four, ETH0, 12 * SECOND, &listener));
    assert_true(listener.not_permitted);
    assert_int_equal(listener.sockets, 1);
    assert_false(live_history_find(&history, &four, ETH1, 12 * SECOND, &listener));
    assert_true(live_history_find(&history, &six, ETH0, 12 * SECOND, &listener));
    assert_false(listener.not_permitted);
    four.local.port = 22;
    assert_false(live_history_find(&history, &four, ETH0, 12 * SECOND, &listener));
    live_history_done(&history);
}

/* Who is believed to hold the one row of a table, looked at at this time after the one before; as digits. */
static const char *believed(struct live_holders *holders, const struct pairs_table *table, int64_t time_ns)
{
    static char room[64];
    struct live_process processes[LIVE_PROCESSES];
    struct live_holders next;
    struct text text;

    assert_true(live_holders_look(holders, table, time_ns, &next));
    live_holders_done(holders);
    *holders = next;
    size_t count = live_holders_add(holders, table, &table->rows[0], processes, 0);
    text_init(&text, room, sizeof(room));
    for (size_t i = 0; i < count && i < LIVE_PROCESSES; i++)
        text_unsigned(&text, (uint64_t)processes[i].pid);
    text_end(&text);
    return room;
}

/* A child that is just being forked holds all that its parent does, and is not meant. Both are processes that there are. */
static void test_who_is_believed_to_hold_it(void **state)
{
    const pid_t parent = getppid();
    char alone[16];
    char both[32];
    struct live_holders holders = {.count = 0};
    struct pairs_table server = {.count = 0};
    struct pairs_table later = {.count = 0};

    (void)state;
    snprintf(alone, sizeof(alone), "%d", (int)parent);
    const pid_t low = parent < getpid() ? parent : getpid();
    const pid_t high = parent < getpid() ? getpid() : parent;
    snprintf(both, sizeof(both), "%d%d", (int)low, (int)high);
    hold(&server, listen_at(&server, "127.0.0.1", 21), (pid_t[]){parent, parent, 0});
    hold(&later, listen_at(&later, "127.0.0.1", 21), (pid_t[]){low, high, high, 0});
    assert_string_equal(believed(&holders, &server, 0), alone);
    assert_string_equal(believed(&holders, &later, SECOND), alone);
    assert_string_equal(believed(&holders, &later, 2 * SECOND - 1), alone);
    assert_string_equal(believed(&holders, &later, 2 * SECOND), both);
    /* A connection is believed to be of whoever is seen with it twice. */
    later.rows[0].socket.cookie = 7;
    later.rows[0].socket.state = DIAG_ESTABLISHED;
    assert_string_equal(believed(&holders, &later, 3 * SECOND), "");
    assert_string_equal(believed(&holders, &later, 3 * SECOND + 1), both);
    live_holders_done(&holders);
    pairs_done(&server);
    pairs_done(&later);
}

static void test_each_process_is_named_once_and_some_are_counted(void **state)
{
    struct live_process processes[LIVE_PROCESSES] = {{.pid = 4}};
    struct live_holders none = {.count = 0};
    struct live_holders first;
    struct live_holders holders;
    struct pairs_table table = {.count = 0};

    (void)state;
    hold(&table, listen_at(&table, "127.0.0.1", 21), (pid_t[]){2, 3, 4, 5, 6, 7, 0});
    assert_true(live_holders_look(&none, &table, 0, &first));
    assert_true(live_holders_look(&first, &table, SECOND, &holders));
    assert_int_equal(live_holders_add(&holders, &table, &table.rows[0], processes, 1), 6);
    assert_int_equal(processes[LIVE_PROCESSES - 1].pid, 5);
    live_holders_done(&first);
    live_holders_done(&holders);
    pairs_done(&table);
}

/* Of several that nobody has seen for long the oldest is, whatever their numbers. */
static void test_the_oldest_is_no_such_child(void **state)
{
    const struct timespec some_ticks = {.tv_nsec = 50000000};
    struct live_holders holders = {.count = 0};
    struct live_process processes[LIVE_PROCESSES];
    struct pairs_table table = {.count = 0};
    int wait[2];

    (void)state;
    assert_int_equal(pipe(wait), 0);
    nanosleep(&some_ticks, NULL);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        close(wait[1]);
        _exit((int)read(wait[0], &byte, 1));
    }
    assert_true(child > 0);
    hold(&table, listen_at(&table, "127.0.0.1", 21), (pid_t[]){child, getpid(), 0});
    assert_int_equal(live_holders_add(&holders, &table, &table.rows[0], processes, 0), 1);
    assert_int_equal(processes[0].pid, getpid());
    close(wait[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(wait[0]);
    pairs_done(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_table_holds_while_nothing_changes_at_the_port),
        cmocka_unit_test(test_the_table_before),
        cmocka_unit_test(test_what_one_socket_did_tells),
        cmocka_unit_test(test_of_a_device_and_of_one_family),
        cmocka_unit_test(test_who_is_believed_to_hold_it),
        cmocka_unit_test(test_each_process_is_named_once_and_some_are_counted),
        cmocka_unit_test(test_the_oldest_is_no_such_child),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
