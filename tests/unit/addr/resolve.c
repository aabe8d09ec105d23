/* SPDX-License-Identifier: MIT
 *
 * The resolver itself is asked only for localhost, which every host has; names with several addresses, and hosts
 * without a resolver, are in the scenario of forkport connect.
 */
#include "addr/resolve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The list as one text, in notation. */
static const char *joined(const struct address_list *list)
{
    static char buffer[1024];
    struct text text;

    text_init(&text, buffer, sizeof(buffer));
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0)
            text_string(&text, " ");
        address_format(&list->items[i], &text);
    }
    text_end(&text);
    return buffer;
}

static void test_lists(void **state)
{
    static const struct {
        const char *string;
        const char *joined;
    } rows[] = {
        {"21", "*:21"},
        {"21,22,:23", "*:21 *:22 *:23"},
        {"127.0.0.1:2121,[::1]:2121", "127.0.0.1:2121 [::1]:2121"},
        {"0.0.0.0:21,[::]:21", "*:21 *:21"},
        {"*:ftp,*%lo:21", "*:21 *%lo:21"},
        {"127.0.0.1:21,127.0.0.1%lo:21", "127.0.0.1:21 127.0.0.1%lo:21"},
        {"[fe80::1%lo]:21,[fe80::1]%lo:21", "[fe80::1%lo]:21 [fe80::1]%lo:21"},
        {"0,0,127.0.0.1:0,127.0.0.1:0", "*:* *:* 127.0.0.1:* 127.0.0.1:*"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct address_list list;
        struct fp_error err;
        if (address_list_parse(rows[i].string, &list, &err) != FP_OK)
            fail_msg("%s: %s", rows[i].string, err.reason);
        assert_string_equal(joined(&list), rows[i].joined);
        address_list_done(&list);
        assert_null(list.items);
    }
}

static void test_says_what_is_wrong_with_a_list(void **state)
{
    static const struct {
        const char *string;
        const char *what;
        const char *reason;
        const char *hint;
    } rows[] = {
        {"", "", "there is nothing where an address should be, at column 1", ""},
        {"21,", "", "there is nothing where an address should be, at column 4", ""},
        {",21", "", "there is nothing where an address should be, at column 1", ""},
        {"21,,22", "", "there is nothing where an address should be, at column 4", ""},
        {"21, 22", " 22", "there is a space in it, at column 4", ""},
        {"21,1.2.3.4:65536", "1.2.3.4:65536", "port 65536 is above 65535, at column 12", ""},
        {"21,2001:db8::1:21", "2001:db8::1:21", "an IPv6 address stands in brackets, at column 4",
         "write [2001:db8::1]:21"},
        {"21,21", "21", "it is in the list already, at column 4", ""},
        {"127.0.0.1:21,[::ffff:127.0.0.1]:ftp", "[::ffff:127.0.0.1]:ftp",
         "it is in the list already, at column 14", ""},
        {"*:*", "*:*", "one port is expected, not every one, at column 3", "port 0 takes a free one"},
        {"*:*1", "*:*1", "*1 is neither a port nor a TCP service of services(5), at column 3", ""},
        {"[fe80::1]:21", "[fe80::1]:21",
         "fe80::1 is on every link, so it needs the scope of one, at column 1",
         "write [fe80::1%eth0]:21, with its device for eth0"},
        {"127.0.0.1%nosuch0:21", "127.0.0.1%nosuch0:21", "there is no device nosuch0, at column 1", ""},
        {"*%nosuch0:21", "*%nosuch0:21", "there is no device nosuch0, at column 1", ""},
        {"21,localhost", "localhost",
         "localhost is neither a port nor a TCP service of services(5), at column 4",
         "if it is a host, write localhost:PORT"},
        {"21,224.0.0.1:21", "224.0.0.1:21", "a multicast address has no TCP, at column 4", ""},
        {"239.255.255.255:0", "239.255.255.255:0", "a multicast address has no TCP, at column 1", ""},
        {"[ff02::1%lo]:0", "[ff02::1%lo]:0", "a multicast address has no TCP, at column 1", ""},
        {"[ff0e::1]:21", "[ff0e::1]:21", "a multicast address has no TCP, at column 1", ""},
        {"255.255.255.255:0", "255.255.255.255:0", "a broadcast address has no TCP, at column 1", ""},
        {"localhost%nosuch0:21", "localhost%nosuch0:21", "there is no device nosuch0, at column 1", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct address_list list = {.count = 4711};
        struct fp_error err;
        if (address_list_parse(rows[i].string, &list, &err) != FP_DATA)
            fail_msg("%s is taken", rows[i].string);
        assert_int_equal(list.count, 4711);
        assert_string_equal(err.what, rows[i].what);
        assert_string_equal(err.reason, rows[i].reason);
        assert_string_equal(err.hint, rows[i].hint);
        assert_int_equal(address_list_parse(rows[i].string, &list, NULL), FP_DATA);
    }
}

static void test_names_give_each_address_once(void **state)
{
    struct address_list list;
    struct fp_error err = {.status = FP_OK};

    (void)state;
    assert_int_equal(address_list_parse("localhost%lo:ftp", &list, &err), FP_OK);
    assert_int_equal(err.status, FP_OK); /* is written on failure only */
    assert_true(list.count >= 1);
    for (size_t i = 0; i < list.count; i++) {
        assert_int_equal(list.items[i].port, 21);
        assert_string_equal(list.items[i].device, "lo");
        assert_false(address_is_wildcard(&list.items[i]));
        for (size_t k = 0; k < i; k++)
            assert_false(address_equal(&list.items[i], &list.items[k]));
    }
    address_list_done(&list);
}

static void test_name_and_number_cannot_be_both(void **state)
{
    struct address_list list;
    struct fp_error err;

    (void)state;
    assert_int_equal(address_list_parse("localhost:21,22,localhost:21", &list, &err), FP_DATA);
    assert_string_equal(err.what, "localhost:21");
    assert_string_equal(err.reason, "it is in the list already, at column 17");
    assert_int_equal(address_list_parse("localhost:0,localhost:0", &list, &err), FP_OK);
    address_list_done(&list);
}

/* A name that cannot be in the DNS, so that no server is asked for it. */
static void test_unknown_name_is_no_host(void **state)
{
    struct address_list list = {.count = 4711};
    struct fp_error err;

    (void)state;
    assert_int_equal(address_list_parse("21,no..such:21", &list, &err), FP_NO_HOST);
    assert_int_equal(list.count, 4711);
    assert_string_equal(err.operation, "look up");
    assert_string_equal(err.what, "no..such");
    assert_string_not_equal(err.reason, "");
}

/* Without a descriptor nothing is known of the device: that it does not exist would be a lie. */
static void test_a_device_that_cannot_be_asked_for_is_not_said_to_be_none(void **state)
{
    struct address_list list = {.count = 4711};
    struct rlimit before;
    struct fp_error err;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum fp_status status = address_list_parse("*%lo:21", &list, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(status, FP_SYSTEM);
    assert_int_equal(list.count, 4711);
    assert_string_equal(err.what, "the device lo");
    assert_string_equal(err.reason, "no socket can be made to ask with");
}

static void test_list_is_bounded(void **state)
{
    char *string = malloc(8 * 1025 + 1);
    struct address_list list;
    struct fp_error err;

    (void)state;
    assert_non_null(string);
    for (int i = 0; i < 1025; i++)
        sprintf(string + (size_t)i * 6, "%s%05d", i == 0 ? ":" : ",", i + 1);
    assert_int_equal(address_list_parse(string, &list, &err), FP_DATA);
    assert_string_equal(err.reason, "there are more than 1024, at column 6146");
    string[strlen(string) - 6] = '\0';
    assert_int_equal(address_list_parse(string, &list, &err), FP_OK);
    assert_int_equal(list.count, 1024);
    address_list_done(&list);
    free(string);
}

static void test_resolves_a_server(void **state)
{
    static const struct {
        const char *string;
        const char *joined;
    } rows[] = {
        {"127.0.0.1:ftp", "127.0.0.1:21"},
        {"[::1]:21", "[::1]:21"},
        {"[fe80::1%lo]:21", "[fe80::1%lo]:21"},
        {"127.0.0.1%lo:21", "127.0.0.1%lo:21"},
    };
    struct address_list list;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(address_list_resolve(rows[i].string, &list, NULL), FP_OK);
        assert_string_equal(joined(&list), rows[i].joined);
        address_list_done(&list);
    }
    assert_int_equal(address_list_resolve("localhost:21", &list, NULL), FP_OK);
    assert_true(list.count >= 1);
    address_list_done(&list);
}

static void test_says_what_no_server_can_be(void **state)
{
    static const struct {
        const char *string;
        const char *reason;
        const char *hint;
    } rows[] = {
        {"127.0.0.1:21,127.0.0.1:22", "expected one address, not a list, at column 13", ""},
        {"127.0.0.1:0", "expected the port of a server, at column 11", ""},
        {"127.0.0.1:*", "expected the port of a server, at column 11", ""},
        {"localhost:0", "expected the port of a server, at column 11", ""},
        {"21", "expected the host of a server, at column 1", "write localhost:21 for this host"},
        {"*:21", "expected the host of a server, at column 1", "write localhost:21 for this host"},
        {"0.0.0.0:21", "expected the host of a server, at column 1", "write localhost:21 for this host"},
        {"[::]:21", "expected the host of a server, at column 1", "write localhost:21 for this host"},
        {"[fe80::1]:21", "fe80::1 is on every link, so it needs the scope of one, at column 1",
         "write [fe80::1%eth0]:21, with its device for eth0"},
        {"127.0.0.1%nosuch0:21", "there is no device nosuch0, at column 1", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct address_list list = {.count = 4711};
        struct fp_error err;
        if (address_list_resolve(rows[i].string, &list, &err) != FP_DATA)
            fail_msg("%s is taken", rows[i].string);
        assert_int_equal(list.count, 4711);
        assert_string_equal(err.reason, rows[i].reason);
        assert_string_equal(err.hint, rows[i].hint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_says_what_is_wrong_with_a_list),
        cmocka_unit_test(test_names_give_each_address_once),
        cmocka_unit_test(test_name_and_number_cannot_be_both),
        cmocka_unit_test(test_unknown_name_is_no_host),
        cmocka_unit_test(test_a_device_that_cannot_be_asked_for_is_not_said_to_be_none),
        cmocka_unit_test(test_list_is_bounded),
        cmocka_unit_test(test_resolves_a_server),
        cmocka_unit_test(test_says_what_no_server_can_be),
    };

    return cmocka_run_group_tests_name("resolve", tests, NULL, NULL);
}
