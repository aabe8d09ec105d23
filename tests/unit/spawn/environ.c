/* SPDX-License-Identifier: MIT */
#include "spawn/environ.h"

#include "sys/process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern char **environ;

static char first[] = "FIRST=1";
static char second[] = "SECOND=2";
static char third[] = "THIRD=3";
static char of_worker[] = "OF=worker";

/* An environment of its own for each test; the process has been started with another. */
struct given {
    char *own[4];
    char **before;
    struct environment environment;
    struct environ environ;
    char *array[ENVIRON_SIZE];
};

static int set_up(void **state)
{
    struct given *given = calloc(1, sizeof(*given));
    struct fp_error err;

    assert_non_null(given);
    given->before = environ;
    memcpy(given->own, (char *[]){first, second, third, NULL}, sizeof(given->own));
    environ = given->own;
    assert_int_equal(environment_init(&given->environment, environ, &err), FP_OK);
    *state = given;
    return 0;
}

static int tear_down(void **state)
{
    struct given *given = *state;

    environ = given->before;
    environment_done(&given->environment);
    free(given);
    return 0;
}

static void begin(struct given *given)
{
    if (!process_has_one_thread()) {
        print_message("this C library does not say whether there are threads\n");
        skip();
    }
    assert_int_equal(environ_size(&given->environment), 3 + ENVIRONMENT_CONNECTION_COUNT + 2);
    environ_begin(&given->environ, given->array);
    assert_ptr_equal(environ, given->array);
}

static void test_the_server_has_its_own(void **state)
{
    struct given *given = *state;

    begin(given);
    char **lent = environ_lend(&given->environ);
    assert_ptr_equal(lent, environ);
    lent[0] = of_worker;
    lent[1] = NULL;
    assert_string_equal(getenv("OF"), "worker");
    environ_take_back(&given->environ);
    assert_null(getenv("OF"));
    assert_string_equal(getenv("THIRD"), "3");
    environ_end(&given->environ);
    assert_ptr_equal(environ, given->own);
    assert_string_equal(getenv("SECOND"), "2");
}

static void test_what_it_changes_meanwhile_stays(void **state)
{
    struct given *given = *state;

    begin(given);
    unsetenv("FIRST");
    assert_non_null(environ_lend(&given->environ));
    environ_take_back(&given->environ);
    assert_null(getenv("FIRST"));
    environ_end(&given->environ);
    assert_ptr_equal(environ, given->own);
    assert_ptr_equal(given->own[0], second);
    assert_ptr_equal(given->own[1], third);
    assert_null(given->own[2]);
}

static void test_one_that_replaces_it_keeps_it(void **state)
{
    struct given *given = *state;
    char *other[] = {of_worker, NULL};

    begin(given);
    environ = other;
    assert_null(environ_lend(&given->environ));
    environ_end(&given->environ);
    assert_ptr_equal(environ, other);
    /* What was borrowed is not lent any more. */
    environ = given->array;
    assert_null(environ_lend(&given->environ));
}

static void test_setenv_of_a_new_one(void **state)
{
    struct given *given = *state;

    begin(given);
    assert_int_equal(setenv("NEW", "4", 1), 0);
    assert_ptr_not_equal(environ, given->array);
    assert_null(environ_lend(&given->environ));
    environ_end(&given->environ);
    memset(given->array, 0, sizeof(given->array));
    assert_string_equal(getenv("NEW"), "4");
    assert_string_equal(getenv("FIRST"), "1");
}

static void test_too_many(void **state)
{
    struct given *given = *state;
    char *many[ENVIRON_SIZE + 1];

    if (!process_has_one_thread()) {
        print_message("this C library does not say whether there are threads\n");
        skip();
    }
    for (size_t i = 0; i < ENVIRON_SIZE; i++)
        many[i] = first;
    many[ENVIRON_SIZE] = NULL;
    environ = many;
    assert_int_equal(environ_size(&given->environment), 0);
    many[ENVIRON_SIZE - 1] = NULL;
    assert_int_equal(environ_size(&given->environment), ENVIRON_SIZE);
    environ = NULL;
    assert_int_equal(environ_size(&given->environment), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_server_has_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_it_changes_meanwhile_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_that_replaces_it_keeps_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_setenv_of_a_new_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_many, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
