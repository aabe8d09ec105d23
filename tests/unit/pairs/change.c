/* SPDX-License-Identifier: MIT */
#include "pairs/change.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A table of one row, which two descriptors hold; what is to be another is set by the test before it looks. */
struct one {
    struct pairs_table table;
    struct pairs_row row;
    struct descriptor items[2];
};

static void make(struct one *one)
{
    *one = (struct one){
        .row = {.socket = {.family = AF_INET, .state = DIAG_ESTABLISHED, .cookie = 7, .inode = 4711},
                .shown = true,
                .owner = OWNER_HELD,
                .descriptors = 2},
        .items = {{.inode = 4711, .pid = 5, .fd = 3}, {.inode = 4711, .pid = 6, .fd = 3}},
    };
    one->table.rows = &one->row;
    one->table.count = 1;
    one->table.descriptors.items = one->items;
    one->table.descriptors.count = 2;
}

static enum change of(const struct one *before, const struct one *now)
{
    struct change_walk walk = {.before = &before->table, .now = &now->table};
    struct change_row row;

    assert_true(change_next(&walk, &row));
    assert_ptr_equal(row.table, &now->table);
    assert_ptr_equal(row.row, &now->row);
    assert_false(change_next(&walk, &row));
    return row.change;
}

static void test_what_is_a_change(void **state)
{
    struct one before;
    struct one now;

    (void)state;
    make(&before);
    make(&now);
    assert_int_equal(of(&before, &now), CHANGE_NONE);
    now.row.socket.state = DIAG_CLOSE_WAIT;
    assert_int_equal(of(&before, &now), CHANGE_CHANGED);
    make(&now);
    now.row.socket.receive_queue = 1;
    assert_int_equal(of(&before, &now), CHANGE_CHANGED);
    make(&now);
    now.row.socket.send_queue = 1;
    assert_int_equal(of(&before, &now), CHANGE_CHANGED);
    make(&now);
    now.row.owner = OWNER_NONE;
    now.row.descriptors = before.row.descriptors = 0;
    assert_int_equal(of(&before, &now), CHANGE_CHANGED);
}

/* As many hold it as before, and yet others; and one more or less. */
static void test_who_holds_it(void **state)
{
    struct one before;
    struct one now;

    (void)state;
    make(&before);
    make(&now);
    now.items[1].pid = 7;
    assert_int_equal(of(&before, &now), CHANGE_CHANGED);
    make(&now);
    now.items[1].fd = 4;
    assert_int_equal(of(&before, &now), CHANGE_CHANGED);
    make(&now);
    now.row.descriptors = 1;
    assert_int_equal(of(&before, &now), CHANGE_CHANGED);
    assert_int_equal(of(&now, &before), CHANGE_CHANGED);
}

/* Another socket at the same pair: the one is gone, the other new, in the order of their cookies. */
static void test_another_socket(void **state)
{
    struct one before;
    struct one now;
    struct change_row row;

    (void)state;
    make(&before);
    make(&now);
    now.row.socket.cookie = 8;
    struct change_walk walk = {.before = &before.table, .now = &now.table};
    assert_true(change_next(&walk, &row));
    assert_int_equal(row.change, CHANGE_REMOVED);
    assert_ptr_equal(row.row, &before.row);
    assert_true(change_next(&walk, &row));
    assert_int_equal(row.change, CHANGE_ADDED);
    assert_ptr_equal(row.row, &now.row);
    assert_false(change_next(&walk, &row));
    now.row.shown = false;
    walk = (struct change_walk){.before = &now.table, .now = &before.table};
    assert_true(change_next(&walk, &row));
    assert_int_equal(row.change, CHANGE_ADDED);
    assert_false(change_next(&walk, &row));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_a_change),
        cmocka_unit_test(test_who_holds_it),
        cmocka_unit_test(test_another_socket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
