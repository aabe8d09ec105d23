/* SPDX-License-Identifier: MIT */
#include "addr/pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *formatted(const struct pair *pair)
{
    static char buffer[PAIR_TEXT_SIZE];
    struct text text;

    text_init(&text, buffer, sizeof(buffer));
    pair_format(pair, &text);
    assert_true(text_end(&text) < sizeof(buffer));
    return buffer;
}

static void test_round_trips(void **state)
{
    static const char *const pairs[] = {
        "{192.0.2.1:21, 198.51.100.7:1500}",
        "{*:21, *:*}",
        "{*:*, *:*}",
        "{192.0.2.1:21, *:*}",
        "{*:21, 198.51.100.7:1500}",
        "{*%eth0:21, *:*}",
        "{192.0.2.1%eth0:21, 198.51.100.7:1500}",
        "{[2001:db8::1]:21, [fe80::2%lo]:1500}",
        "{[fe80::1%lo]%lo:21, [fe80::2%lo]:1500}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct pair pair;
        struct pair again;
        struct fp_error err;
        if (pair_parse(pairs[i], &pair, &err) != FP_OK)
            fail_msg("%s: %s", pairs[i], err.reason);
        assert_string_equal(formatted(&pair), pairs[i]);
        assert_int_equal(pair_parse(formatted(&pair), &again, NULL), FP_OK);
        assert_true(pair_equal(&pair, &again));
    }
}

static void test_space_is_optional(void **state)
{
    struct pair pair;

    (void)state;
    assert_int_equal(pair_parse("{192.0.2.1:21,198.51.100.7:1500}", &pair, NULL), FP_OK);
    assert_string_equal(formatted(&pair), "{192.0.2.1:21, 198.51.100.7:1500}");
}

static void test_local_end_is_first(void **state)
{
    struct pair pair;

    (void)state;
    assert_int_equal(pair_parse("{192.0.2.1:21, 198.51.100.7:1500}", &pair, NULL), FP_OK);
    assert_int_equal(pair.local.port, 21);
    assert_int_equal(pair.foreign.port, 1500);
    struct pair other = pair;
    other.foreign.port = 1501;
    assert_false(pair_equal(&pair, &other));
    other = pair;
    other.local.port = 22;
    assert_false(pair_equal(&pair, &other));
}

static void test_says_what_is_wrong(void **state)
{
    static const struct {
        const char *string;
        const char *what;
        const char *reason;
    } bad[] = {
        {"", "", "expected a socket pair, at column 1"},
        {"{", "{", "expected a socket pair, at column 1"},
        {"}", "}", "expected a socket pair, at column 1"},
        {"{}", "{}", "expected a socket pair, at column 1"},
        {"{*:21}", "{*:21}", "expected a socket pair, at column 1"},
        {"*:21, *:*", "*:21, *:*", "expected a socket pair, at column 1"},
        {"{*:21, *:*} ", "{*:21, *:*} ", "expected a socket pair, at column 1"},
        {"{,}", "", "there is nothing where an address should be, at column 2"},
        {"{*:21,}", "", "there is nothing where an address should be, at column 7"},
        {"{*:21, }", "", "there is nothing where an address should be, at column 8"},
        {"{*:21,  *:*}", " *:*", "there is a space in it, at column 8"},
        {"{*:21 , *:*}", "*:21 ", "there is a space in it, at column 6"},
        {"{*:21, *:*, *:*}", "*:*, *:*", "there is a space in it, at column 12"},
        {"{*:21, *:*,*:*}", "*:*,*:*", "there are too many colons, at column 13"},
        {"{*:21, *:*}}", "*:*}", "*} is neither a port nor a TCP service of services(5), at column 10"},
        {"{21, *:*}", "21", "expected ADDRESS:PORT at each end, at column 2"},
        {"{:21, *:*}", ":21", "expected ADDRESS:PORT at each end, at column 2"},
        {"{*:ftp, *:*}", "*:ftp", "expected a number or '*' as port, at column 4"},
        {"{*:21, 1.2.3.4:}", "1.2.3.4:", "expected a port behind ':', at column 16"},
        {"{*:21, localhost:5}", "localhost:5", "expected a numeric address, not a name, at column 8"},
        {"{*:21, 1.2.3.4:70000}", "1.2.3.4:70000", "port 70000 is above 65535, at column 16"},
        {"{1.2.3.4:1, [2001:db8::1]:2}", "{1.2.3.4:1, [2001:db8::1]:2}",
         "the ends of a pair are of one family, at column 13"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct pair pair = {.local.port = 4711};
        struct fp_error err;
        if (pair_parse(bad[i].string, &pair, &err) != FP_DATA)
            fail_msg("%s is taken", bad[i].string);
        assert_int_equal(pair.local.port, 4711);
        assert_string_equal(err.operation, "understand the pair");
        assert_string_equal(err.what, bad[i].what);
        assert_string_equal(err.reason, bad[i].reason);
        assert_int_equal(pair_parse(bad[i].string, &pair, NULL), FP_DATA);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_space_is_optional),
        cmocka_unit_test(test_local_end_is_first),
        cmocka_unit_test(test_says_what_is_wrong),
    };

    return cmocka_run_group_tests_name("pair", tests, NULL, NULL);
}
