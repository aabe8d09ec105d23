/* SPDX-License-Identifier: MIT */
#include "pairs/service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Strings as the kernel gives them, each with its NUL, the last one's being the literal's. */
#define STRINGS(literal) literal, sizeof(literal)

static void test_service_of_arguments(void **state)
{
    static const struct {
        const char *arguments;
        size_t length;
        const char *service;
    } rows[] = {
        {STRINGS("forkport\0serve\0:21\0--name\0ftp\0--\0cat"), "ftp"},
        {STRINGS("forkport\0serve\0:21\0--name=ftp\0--\0cat"), "ftp"},
        {STRINGS("forkport\0serve\0:21\0--\0/usr/bin/ftpd\0--name\0x"), "ftpd"},
        {STRINGS("forkport\0serve\0:7\0--builtin\0echo"), "echo"},
        {STRINGS("forkport\0serve\0:7\0--builtin\0echo\0--name\0mine"), "mine"},
        {STRINGS("forkport\0serve\0:7\0--name\0first\0--name=last\0--\0cat"), "last"},
        {STRINGS("forkport\0serve\0--name"), "forkport"},
        {STRINGS("forkport\0serve\0--"), "forkport"},
        {STRINGS(""), "forkport"},
        {"", 0, "forkport"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *service = service_of_arguments(rows[i].arguments, rows[i].length);
        assert_string_equal(service, rows[i].service);
        free(service);
    }
}

static void test_a_connection_is_that_of_its_pair_alone(void **state)
{
    static const char mine[] =
        "PATH=/bin\0FORKPORT_PAIR={192.0.2.1:21, 192.0.2.2:1500}\0FORKPORT_CONNECTION=17\0X=";
    static const char inherited[] = "FORKPORT_CONNECTION=17\0FORKPORT_PAIR={192.0.2.1:21, 192.0.2.2:1501}";
    static const char bare[] = "FORKPORT_CONNECTION=17";
    static const char bad[] = "FORKPORT_PAIR={192.0.2.1:21, 192.0.2.2:1500}\0FORKPORT_CONNECTION=x17";
    struct pair pair;

    (void)state;
    assert_int_equal(pair_parse("{192.0.2.1:21, 192.0.2.2:1500}", &pair, NULL), FP_OK);
    assert_int_equal(service_connection(mine, sizeof(mine), &pair), 17);
    assert_int_equal(service_connection(inherited, sizeof(inherited), &pair), 0);
    assert_int_equal(service_connection(bare, sizeof(bare), &pair), 0);
    assert_int_equal(service_connection(bad, sizeof(bad), &pair), 0);
    assert_int_equal(service_connection("", 0, &pair), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_service_of_arguments),
        cmocka_unit_test(test_a_connection_is_that_of_its_pair_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
