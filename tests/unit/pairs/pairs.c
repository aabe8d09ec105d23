/* SPDX-License-Identifier: MIT */
#include "pairs/pairs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* In place of the C library's, of which no order of equals is promised: here the later ones come first. */
void qsort(void *items, size_t count, size_t size, int (*compare)(const void *left, const void *right))
{
    struct pairs_row moved;
    char *all = items;

    assert_int_equal(size, sizeof(moved));
    for (size_t i = 1; i < count; i++) {
        size_t to = i;
        while (to > 0 && compare(all + (to - 1) * size, all + i * size) >= 0)
            to--;
        memcpy(&moved, all + i * size, size);
        memmove(all + (to + 1) * size, all + to * size, (i - to) * size);
        memcpy(all + to * size, &moved, size);
    }
}

static void test_of_a_socket_that_is_there_twice_the_later_state_counts(void **state)
{
    static const uint64_t cookies[] = {7, 5, 7, 6, 7, 5};
    struct pairs_table table = {.count = 0};

    (void)state;
    for (size_t i = 0; i < sizeof(cookies) / sizeof(cookies[0]); i++) {
        struct diag_socket socket = {
            .family = AF_INET,
            .state = i < 3 ? DIAG_ESTABLISHED : DIAG_TIME_WAIT,
            .cookie = cookies[i],
            .inode = (uint32_t)i,
        };
        assert_true(pairs_append(&table, &socket));
    }
    pairs_sort(&table);
    assert_int_equal(table.count, 3);
    for (size_t i = 0; i < table.count; i++) {
        assert_int_equal(table.rows[i].socket.cookie, 5 + i);
        assert_int_equal(table.rows[i].socket.state, DIAG_TIME_WAIT);
    }
    assert_int_equal(table.rows[0].socket.inode, 5);
    assert_int_equal(table.rows[2].socket.inode, 4);
    pairs_done(&table);
}

/* By local port, listening ones first, then by address, and a socket by its cookie: the next is more in one of them alone. */
static void test_the_order(void **state)
{
    static const struct {
        const char *pair;
        uint8_t state;
        uint64_t cookie;
    } rows[] = {
        {"{*:21, *:*}", DIAG_LISTEN, 90},
        {"{192.0.2.1:21, *:*}", DIAG_LISTEN, 80},
        {"{192.0.2.2:21, *:*}", DIAG_LISTEN, 70},
        {"{192.0.2.2%a:21, *:*}", DIAG_LISTEN, 60},
        {"{192.0.2.2%b:21, *:*}", DIAG_LISTEN, 50},
        {"{[fe80::1%2]:21, *:*}", DIAG_LISTEN, 40},
        {"{[fe80::1%300]:21, *:*}", DIAG_LISTEN, 30},
        {"{192.0.2.1:21, 192.0.2.9:4}", DIAG_ESTABLISHED, 9},
        {"{192.0.2.1:21, 192.0.2.9:5}", DIAG_ESTABLISHED, 8},
        {"{192.0.2.1:21, 192.0.2.9:256}", DIAG_ESTABLISHED, 7},
        {"{192.0.2.1:21, 192.0.3.1:1}", DIAG_ESTABLISHED, 5},
        {"{192.0.2.1:21, 192.0.3.1:1}", DIAG_ESTABLISHED, 6},
        {"{192.0.2.1:256, *:*}", DIAG_LISTEN, 1},
    };
    const size_t count = sizeof(rows) / sizeof(rows[0]);
    struct pairs_table table = {.count = 0};

    (void)state;
    for (size_t i = 0; i < count; i++) {
        struct diag_socket socket = {.family = AF_INET, .state = rows[i * 5 % count].state};
        socket.cookie = rows[i * 5 % count].cookie;
        assert_int_equal(pair_parse(rows[i * 5 % count].pair, &socket.pair, NULL), FP_OK);
        assert_true(pairs_append(&table, &socket));
    }
    pairs_sort(&table);
    assert_int_equal(table.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(table.rows[i].socket.cookie, rows[i].cookie);
    assert_int_equal(pairs_find_port(&table, 20), 0);
    assert_int_equal(pairs_find_port(&table, 22), count - 1);
    assert_int_equal(pairs_find_port(&table, 257), count);
    pairs_done(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_a_socket_that_is_there_twice_the_later_state_counts),
        cmocka_unit_test(test_the_order),
    };

    return cmocka_run_group_tests_name("pairs", tests, NULL, NULL);
}
