/* SPDX-License-Identifier: MIT */
#include "serve/connection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MAX     8
#define BUCKETS 64 /* of pids and cookies, at the least */

/* Has the lowest free slot, and the next number. */
static struct connection *add(struct connections *connections, uint64_t number)
{
    struct connection *connection = connections_add(connections, -1);

    connection->number = number;
    return connection;
}

static struct connection *add_running(struct connections *connections, uint64_t number, pid_t pid)
{
    struct connection *connection = add(connections, number);

    connection_enter_running(connections, connection, pid);
    return connection;
}

static void test_pids_and_cookies_that_share_a_bucket(void **state)
{
    struct connections connections;
    struct connection *of[4];

    (void)state;
    assert_int_equal(connections_init(&connections, MAX, NULL), FP_OK);
    for (int i = 0; i < 4; i++) {
        of[i] = add_running(&connections, (uint64_t)i + 1, 7 + i * BUCKETS);
        connections_set_cookie(&connections, of[i], (uint64_t)(9 + i * BUCKETS));
    }
    assert_null(connections_find(&connections, 7 + 4 * BUCKETS));
    assert_null(connections_find_cookie(&connections, 9 + 4 * BUCKETS));
    /* From the middle, from the end, the first, the only one. */
    static const int leave[] = {1, 0, 3, 2};
    for (int gone = 0; gone < 4; gone++) {
        for (int i = gone; i < 4; i++) {
            assert_ptr_equal(connections_find(&connections, 7 + leave[i] * BUCKETS), of[leave[i]]);
            assert_ptr_equal(connections_find_cookie(&connections, (uint64_t)(9 + leave[i] * BUCKETS)),
                             of[leave[i]]);
        }
        connections_remove(&connections, of[leave[gone]]);
        assert_null(connections_find(&connections, 7 + leave[gone] * BUCKETS));
        assert_null(connections_find_cookie(&connections, (uint64_t)(9 + leave[gone] * BUCKETS)));
    }
    assert_int_equal(connections.running, 0);
    assert_int_equal(connections.slots.live, 0);
    connections_done(&connections);
}

static void test_a_pid_that_comes_again(void **state)
{
    struct connections connections;

    (void)state;
    assert_int_equal(connections_init(&connections, MAX, NULL), FP_OK);
    struct connection *first = add_running(&connections, 1, 7);
    assert_null(connections_reap(&connections, 8));
    assert_ptr_equal(connections_reap(&connections, 7), first);
    assert_null(connections_reap(&connections, 7));
    assert_ptr_equal(connections_find(&connections, 7), first);
    struct connection *second = add_running(&connections, 2, 7);
    assert_ptr_equal(connections_find(&connections, 7), second);
    connections_remove(&connections, first);
    assert_ptr_equal(connections_reap(&connections, 7), second);
    connections_remove(&connections, second);
    assert_null(connections_find(&connections, 7));
    connections_done(&connections);
}

/* Each leaves as the first in the list: as one that runs, that starts, or is given up. */
static void leave_held(struct connections *connections, struct connection *connection, int how)
{
    assert_ptr_equal(connections_held(connections), connection);
    if (how == 0)
        connection_enter_running(connections, connection, 7);
    else if (how == 1)
        connection_enter_starting(connections, connection);
    connections_remove(connections, connection);
}

static void test_held_ones_in_their_order(void **state)
{
    struct connections connections;
    struct connection *held[3];

    (void)state;
    assert_int_equal(connections_init(&connections, MAX, NULL), FP_OK);
    assert_null(connections_held(&connections));
    for (int how = 0; how < 3; how++) {
        for (int i = 0; i < 3; i++) {
            held[i] = add(&connections, (uint64_t)i + 1);
            connection_enter_held(&connections, held[i]);
        }
        leave_held(&connections, held[0], how);
        /* Behind the others, not in the place of its slot. */
        held[0] = add(&connections, 4);
        connection_enter_held(&connections, held[0]);
        for (int i = 1; i <= 3; i++)
            leave_held(&connections, held[i % 3], how);
        assert_null(connections_held(&connections));
    }
    assert_int_equal(connections.slots.live, 0);
    connections_done(&connections);
}

static void test_one_that_is_held_again(void **state)
{
    struct connections connections;

    (void)state;
    assert_int_equal(connections_init(&connections, MAX, NULL), FP_OK);
    struct connection *first = add(&connections, 1);
    struct connection *second = add(&connections, 2);
    connection_enter_held(&connections, first);
    connection_enter_held(&connections, second);
    connection_enter_starting(&connections, first);
    connection_enter_held(&connections, first);
    leave_held(&connections, second, 2);
    leave_held(&connections, first, 2);
    assert_null(connections_held(&connections));
    connections_done(&connections);
}

static void test_a_key_is_of_one_connection(void **state)
{
    struct connections connections;

    (void)state;
    assert_int_equal(connections_init(&connections, MAX, NULL), FP_OK);
    struct connection *first = add(&connections, 1);
    struct connection *second = add(&connections, 2);
    uint64_t old = connection_key(second);
    assert_int_equal(connection_key_number(old), 2);
    assert_ptr_equal(connections_find_key(&connections, connection_key(first)), first);
    assert_ptr_equal(connections_find_key(&connections, old), second);
    connection_enter_held(&connections, second);
    connections_remove(&connections, second);
    assert_null(connections_find_key(&connections, old));
    struct connection *third = add(&connections, 3);
    assert_ptr_equal(third, second);
    assert_null(connections_find_key(&connections, old));
    assert_ptr_equal(connections_find_key(&connections, connection_key(third)), third);
    connections_done(&connections);
}

static void note(struct connection *connection, void *numbers)
{
    *(uint64_t *)numbers = *(uint64_t *)numbers * 10 + connection->number;
}

static void test_each_that_runs(void **state)
{
    struct connections connections;
    uint64_t numbers = 0;

    (void)state;
    assert_int_equal(connections_init(&connections, MAX, NULL), FP_OK);
    add_running(&connections, 1, 101);
    connection_enter_starting(&connections, add(&connections, 2));
    struct connection *gone = add_running(&connections, 3, 103);
    connection_enter_held(&connections, add(&connections, 4));
    add(&connections, 5);
    add_running(&connections, 6, 106);
    connections_remove(&connections, gone);
    connections_each(&connections, CONNECTION_RUNNING, note, &numbers);
    assert_int_equal(numbers, 16);
    connections_done(&connections);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pids_and_cookies_that_share_a_bucket),
        cmocka_unit_test(test_a_pid_that_comes_again),
        cmocka_unit_test(test_held_ones_in_their_order),
        cmocka_unit_test(test_one_that_is_held_again),
        cmocka_unit_test(test_a_key_is_of_one_connection),
        cmocka_unit_test(test_each_that_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
