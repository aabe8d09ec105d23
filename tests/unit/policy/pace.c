/* SPDX-License-Identifier: MIT */
#include "policy/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define FIRST   INT64_C(100)
#define LONGEST INT64_C(1000)

static void test_doubles_up_to_the_longest(void **state)
{
    static const int64_t delays[] = {100, 200, 400, 800, 1000, 1000};
    struct pace pace;
    int64_t now = 5;

    (void)state;
    pace_init(&pace, FIRST, LONGEST);
    for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        assert_int_equal(pace_failure_ns(&pace, now), delays[i]);
        now += delays[i];
    }
}

/* The next delay after the delay of 800 and `quiet` without a failure behind it. */
static int64_t after_quiet(int64_t quiet)
{
    struct pace pace;
    int64_t now = 0;

    pace_init(&pace, FIRST, 10000);
    for (int i = 0; i < 4; i++)
        now += pace_failure_ns(&pace, now);
    return pace_failure_ns(&pace, now + quiet);
}

static void test_forgets(void **state)
{
    static const struct {
        int64_t quiet;
        int64_t delay;
    } rows[] = {
        {0, 1600},   {1599, 1600},      /* 800 doubles */
        {1600, 800}, {1600 + 799, 800}, /* halved to 400 by twice 800 */
        {2400, 400}, {2400 + 399, 400}, {2800, 200},
        {2999, 200},                                             /* and so on */
        {3000, 100}, {3001, 100},       {INT64_C(1) << 50, 100}, /* and forgotten */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(after_quiet(rows[i].quiet), rows[i].delay);
}

/* Whatever happens when: never under the first nor over the longest; a clock that stands still is well too. */
static void test_stays_in_bounds(void **state)
{
    unsigned seed = 3;

    (void)state;
    for (int round = 0; round < 200; round++) {
        int64_t first = 1 + rand_r(&seed) % 1000000;
        int64_t longest = first + rand_r(&seed);
        int64_t now = rand_r(&seed);
        struct pace pace;
        pace_init(&pace, first, longest);
        assert_int_equal(pace_failure_ns(&pace, now), first);
        for (int step = 0; step < 200; step++) {
            int64_t last = pace.delay_ns;
            now += step % 3 == 0 ? 0 : (int64_t)rand_r(&seed) << (rand_r(&seed) % 20) >> 10;
            int64_t delay = pace_failure_ns(&pace, now);
            assert_true(delay >= first && delay <= longest);
            assert_true(delay <= 2 * last);
        }
    }
}

/* The bounds as the server sets them (milliseconds to seconds) and at the edges. */
static void test_edges(void **state)
{
    struct pace pace;

    (void)state;
    pace_init(&pace, 500, 100);
    assert_int_equal(pace_failure_ns(&pace, 0), 100);
    assert_int_equal(pace_failure_ns(&pace, 0), 100);
    pace_init(&pace, 100, 100);
    assert_int_equal(pace_failure_ns(&pace, 0), 100);
    assert_int_equal(pace_failure_ns(&pace, 100), 100);
    pace_init(&pace, 0, 0);
    assert_int_equal(pace_failure_ns(&pace, 0), 0);
    assert_int_equal(pace_failure_ns(&pace, INT64_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_up_to_the_longest),
        cmocka_unit_test(test_forgets),
        cmocka_unit_test(test_stays_in_bounds),
        cmocka_unit_test(test_edges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
