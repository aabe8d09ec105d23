/* SPDX-License-Identifier: MIT */
#include "pairs/owner.h"

#include "sys/steering.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { WAITING, FIRST, SECOND, OTHER, ROWS };

/* In place of the kernel's answer: how many sk_lookup programs there are, -1 where they may not be seen. */
static int programs;

int steering_programs(void)
{
    return programs;
}

/* A group of two that listen, each held by a process of its own number, one of another address, and a connection. */
static void make(struct pairs_table *table, uint8_t state, uint32_t first_queue, uint32_t second_queue)
{
    static const char *const pairs[ROWS] = {"{192.0.2.1:21, 198.51.100.7:1500}", "{192.0.2.1:21, *:*}",
                                            "{192.0.2.1:21, *:*}", "{192.0.2.2:21, *:*}"};
    const uint32_t queues[ROWS] = {0, first_queue, second_queue, 1};

    *table = (struct pairs_table){.count = 0};
    for (uint32_t i = 0; i < ROWS; i++) {
        struct diag_socket socket = {.family = AF_INET,
                                     .state = i == WAITING ? state : DIAG_LISTEN,
                                     .cookie = i};
        struct descriptor holder = {.inode = i, .pid = (pid_t)i, .fd = 3};
        socket.send_queue = i == WAITING ? 0 : 8;
        socket.receive_queue = queues[i];
        socket.inode = i;
        assert_int_equal(pair_parse(pairs[i], &socket.pair, NULL), FP_OK);
        assert_true(pairs_append(table, &socket));
        assert_int_equal(descriptors_append(&table->descriptors, &holder), 0);
        table->rows[i].owner = i == WAITING ? OWNER_WAITING : OWNER_HELD;
        table->rows[i].descriptor = i;
        table->rows[i].descriptors = i == WAITING ? 0 : 1;
    }
    pairs_sort(table);
}

/* Those that are named, as bits. */
static unsigned named(struct pairs_table *table)
{
    struct pairs_cursor cursor = {.row = &table->rows[ROWS - 1]};
    unsigned found = 0;

    assert_int_equal(cursor.row->owner, OWNER_WAITING);
    owner_find_listening(table, &table->rows[ROWS - 1]);
    for (const struct descriptor *holder; (holder = pairs_next_holder(table, &cursor)) != NULL;)
        found |= 1U << holder->pid;
    pairs_done(table);
    return found;
}

static void test_what_waits_may_be_in_a_queue_that_was_read_at_another_moment(void **state)
{
    static const struct {
        uint32_t queues[2];
        uint8_t state;
        int programs;
        unsigned named;
    } cases[] = {
        {{1, 0}, DIAG_ESTABLISHED, 0, 1 << FIRST},
        {{0, 1}, DIAG_CLOSE_WAIT, 1, 1 << SECOND},
        {{1, 1}, DIAG_ESTABLISHED, 0, 1 << FIRST | 1 << SECOND},
        {{0, 0}, DIAG_ESTABLISHED, 0, 1 << FIRST | 1 << SECOND},
        {{0, 0}, DIAG_CLOSE_WAIT, -1, 1 << FIRST | 1 << SECOND},
        {{0, 0}, DIAG_ESTABLISHED, 1, 0},
        /* Of these the queue's length does not tell. */
        {{1, 0}, DIAG_SYN_RECEIVED, 1, 1 << FIRST | 1 << SECOND},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pairs_table table;
        programs = cases[i].programs;
        make(&table, cases[i].state, cases[i].queues[0], cases[i].queues[1]);
        assert_int_equal(named(&table), cases[i].named);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_waits_may_be_in_a_queue_that_was_read_at_another_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
