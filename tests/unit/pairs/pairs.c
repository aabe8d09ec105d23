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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_a_socket_that_is_there_twice_the_later_state_counts),
    };

    return cmocka_run_group_tests_name("pairs", tests, NULL, NULL);
}
