/* SPDX-License-Identifier: MIT */
#include "base/line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_any_length(void **state)
{
    static const int lengths[] = {0, 1, 5000, 3, 5000, 5001};
    struct line line = {0};

    (void)state;
    assert_null(line_text(&line));
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t made = 0;
        do {
            text_printf(line_begin(&line), "%*s", lengths[i], "");
            made++;
        } while (line_again(&line));
        assert_true(made <= 2);
        assert_int_equal(line.text.length, lengths[i]);
        assert_int_equal(strlen(line_text(&line)), lengths[i]);
    }
    line_done(&line);
    assert_null(line_text(&line));
}

/* As where there is no memory for more. */
static void test_nothing_is_shown_of_what_is_cut(void **state)
{
    struct line line = {0};

    (void)state;
    text_string(line_begin(&line), "short");
    assert_true(line_again(&line));
    text_string(line_begin(&line), "a longer one");
    assert_null(line_text(&line));
    assert_true(line_again(&line));
    text_string(line_begin(&line), "a longer one");
    assert_false(line_again(&line));
    assert_string_equal(line_text(&line), "a longer one");
    line_done(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_length),
        cmocka_unit_test(test_nothing_is_shown_of_what_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
