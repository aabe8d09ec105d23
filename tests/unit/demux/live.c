/* SPDX-License-Identifier: MIT */
#include "demux/live.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static bool is_blocked(int number)
{
    sigset_t now;

    assert_int_equal(sigprocmask(SIG_SETMASK, NULL, &now), 0);
    return sigismember(&now, number) == 1;
}

/* With so few descriptors that it fails at one after the other: what it blocks is given back each time. */
static void test_signals_are_given_back_where_descriptors_are_short(void **state)
{
    const struct live_options options = {.interface = "lo", .max_pairs = 16};
    const struct live_sink sink = {.line = NULL};
    struct rlimit before;
    int next = dup(0);

    (void)state;
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int free = 0; free < 3; free++) {
        struct rlimit few = {.rlim_cur = (rlim_t)(next + free), .rlim_max = before.rlim_max};
        struct fp_error err;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        enum fp_status status = live_run(&options, &sink, &err);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_not_equal(status, FP_OK);
        assert_int_equal(err.status, status);
        assert_false(is_blocked(SIGINT));
        assert_false(is_blocked(SIGTERM));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals_are_given_back_where_descriptors_are_short),
    };

    return cmocka_run_group_tests_name("live", tests, NULL, NULL);
}
