/* SPDX-License-Identifier: MIT */
#include "policy/demand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define TENTH INT64_C(100000000)
#define EASE  (100 * TENTH)

/* A tenth of a second in which so many come, of which so many wait; it is looked at when the first of a later one comes. */
static void tenth(struct demand *demand, int64_t *now, uint32_t came, uint32_t waited)
{
    for (uint32_t i = 0; i < came; i++)
        demand_note(demand, i < waited, *now + i);
    *now += TENTH;
}

static void test_one_more_where_half_must_wait(void **state)
{
    static const struct {
        uint32_t came;
        uint32_t waited;
        uint32_t wanted;
    } cases[] = {{100, 100, 2}, {100, 50, 2}, {100, 49, 1}, {50, 50, 2}, {49, 49, 1}, {1000, 0, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct demand demand;
        int64_t now = EASE;
        demand_init(&demand, 1, 4);
        demand_note(&demand, false, 0);
        tenth(&demand, &now, cases[i].came, cases[i].waited);
        assert_int_equal(demand.wanted, 1);
        assert_int_equal(demand_note(&demand, false, now), cases[i].wanted != 1);
        assert_int_equal(demand.wanted, cases[i].wanted);
        /* What ended it is the one of the next, and that is little. */
        assert_false(demand_note(&demand, false, now + TENTH));
        assert_int_equal(demand.wanted, cases[i].wanted);
    }
}

static void test_as_many_as_there_may_be(void **state)
{
    struct demand demand;
    int64_t now = EASE;

    (void)state;
    demand_init(&demand, 2, 4);
    for (uint32_t i = 0; i < 6; i++)
        tenth(&demand, &now, 100, 100);
    assert_int_equal(demand.wanted, 4);
    demand_init(&demand, 3, 1);
    for (uint32_t i = 0; i < 6; i++)
        tenth(&demand, &now, 100, 100);
    assert_int_equal(demand.wanted, 3);
    assert_true(demand_due_ns(&demand) == INT64_MAX);
}

static void test_one_fewer_after_ten_seconds(void **state)
{
    /* So many of 100 wait; or nothing comes. */
    static const struct {
        uint32_t came;
        uint32_t waited;
        uint32_t wanted;
    } cases[] = {{100, 12, 3}, {100, 11, 2}, {49, 49, 2}, {0, 0, 2}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct demand demand;
        int64_t now = EASE;
        demand_init(&demand, 1, 3);
        for (uint32_t k = 0; k < 4; k++)
            tenth(&demand, &now, 100, 100);
        demand_note(&demand, false, now);
        assert_int_equal(demand.wanted, 3);
        int64_t end = demand_due_ns(&demand);
        assert_true(end == now + EASE);
        for (now += TENTH; now < end;)
            tenth(&demand, &now, cases[i].came, cases[i].waited);
        demand_ease(&demand, end - 1);
        assert_int_equal(demand.wanted, 3);
        demand_ease(&demand, end);
        assert_int_equal(demand.wanted, cases[i].wanted);
        demand_ease(&demand, end + 1);
        assert_int_equal(demand.wanted, cases[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_more_where_half_must_wait),
        cmocka_unit_test(test_as_many_as_there_may_be),
        cmocka_unit_test(test_one_fewer_after_ten_seconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
