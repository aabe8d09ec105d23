/* SPDX-License-Identifier: MIT */
#include "addr/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *formatted(const struct address *address)
{
    static char buffer[ADDRESS_TEXT_SIZE];
    struct text text;

    text_init(&text, buffer, sizeof(buffer));
    address_format(address, &text);
    assert_true(text_end(&text) < sizeof(buffer));
    return buffer;
}

static const char *formatted_host(const struct address *address)
{
    static char buffer[ADDRESS_TEXT_SIZE];
    struct text text;

    text_init(&text, buffer, sizeof(buffer));
    address_format_host(address, &text);
    text_end(&text);
    return buffer;
}

static const struct {
    const char *string;
    const char *notation;
    const char *host;
    int family;
    uint16_t port;
    const char *device;
} good[] = {
    {"21", "*:21", "*", AF_UNSPEC, 21, ""},
    {":21", "*:21", "*", AF_UNSPEC, 21, ""},
    {"*:21", "*:21", "*", AF_UNSPEC, 21, ""},
    {"0021", "*:21", "*", AF_UNSPEC, 21, ""},
    {"0", "*:*", "*", AF_UNSPEC, 0, ""},
    {"*:*", "*:*", "*", AF_UNSPEC, 0, ""},
    {"65535", "*:65535", "*", AF_UNSPEC, 65535, ""},
    {"0.0.0.0:21", "*:21", "*", AF_INET, 21, ""},
    {"[::]:21", "*:21", "*", AF_INET6, 21, ""},
    {"[::ffff:0.0.0.0]:21", "*:21", "*", AF_INET, 21, ""},
    {"192.0.2.1:21", "192.0.2.1:21", "192.0.2.1", AF_INET, 21, ""},
    {"255.255.255.255:1", "255.255.255.255:1", "255.255.255.255", AF_INET, 1, ""},
    {"192.0.2.1:0", "192.0.2.1:*", "192.0.2.1", AF_INET, 0, ""},
    {"192.0.2.1:*", "192.0.2.1:*", "192.0.2.1", AF_INET, 0, ""},
    {"[2001:db8::1]:21", "[2001:db8::1]:21", "2001:db8::1", AF_INET6, 21, ""},
    {"[2001:0DB8:0:0:0:0:0:1]:21", "[2001:db8::1]:21", "2001:db8::1", AF_INET6, 21, ""},
    {"[::1]:21", "[::1]:21", "::1", AF_INET6, 21, ""},
    {"[::192.0.2.1]:21", "[::192.0.2.1]:21", "::192.0.2.1", AF_INET6, 21, ""},
    {"[::ffff:192.0.2.1]:21", "192.0.2.1:21", "192.0.2.1", AF_INET, 21, ""},
    {"[fe80::1%lo]:21", "[fe80::1%lo]:21", "fe80::1%lo", AF_INET6, 21, ""},
    {"[fe80::1%1]:21", "[fe80::1%lo]:21", "fe80::1%lo", AF_INET6, 21, ""},
    {"[fe80::1%4294967295]:21", "[fe80::1%4294967295]:21", "fe80::1%4294967295", AF_INET6, 21, ""},
    {"[febf::1%lo]:21", "[febf::1%lo]:21", "febf::1%lo", AF_INET6, 21, ""}, /* the last that is link-local */
    {"[ff01::1%lo]:21", "[ff01::1%lo]:21", "ff01::1%lo", AF_INET6, 21, ""},
    {"[ff02::1%lo]:21", "[ff02::1%lo]:21", "ff02::1%lo", AF_INET6, 21, ""},
    {"[fe80::1]:21", "[fe80::1]:21", "fe80::1", AF_INET6, 21, ""},
    {"192.0.2.1%eth0:21", "192.0.2.1%eth0:21", "192.0.2.1", AF_INET, 21, "eth0"},
    {"*%eth0:21", "*%eth0:21", "*", AF_UNSPEC, 21, "eth0"},
    {"0.0.0.0%eth0:21", "*%eth0:21", "*", AF_INET, 21, "eth0"},
    {"[::]%eth0:21", "*%eth0:21", "*", AF_INET6, 21, "eth0"},
    {"[2001:db8::1]%br-lan.7:21", "[2001:db8::1]%br-lan.7:21", "2001:db8::1", AF_INET6, 21, "br-lan.7"},
    {"[fe80::1%lo]%lo:21", "[fe80::1%lo]%lo:21", "fe80::1%lo", AF_INET6, 21, "lo"},
    {"*%abcdefghijklmno:21", "*%abcdefghijklmno:21", "*", AF_UNSPEC, 21, "abcdefghijklmno"},
    {"ftp", "*:21", "*", AF_UNSPEC, 21, ""},
    {":ftp", "*:21", "*", AF_UNSPEC, 21, ""},
    {"*:ftp", "*:21", "*", AF_UNSPEC, 21, ""},
    {"192.0.2.1:ftp", "192.0.2.1:21", "192.0.2.1", AF_INET, 21, ""},
    {"[::1]:http", "[::1]:80", "::1", AF_INET6, 80, ""},
};

static void test_parses_every_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct address address;
        struct fp_error err;
        bool is_name = true;
        if (address_parse(good[i].string, &address, &is_name, &err) != FP_OK)
            fail_msg("%s: %s", good[i].string, err.reason);
        assert_false(is_name);
        assert_string_equal(formatted(&address), good[i].notation);
        assert_string_equal(formatted_host(&address), good[i].host);
        assert_int_equal(address.family, good[i].family);
        assert_int_equal(address.port, good[i].port);
        assert_string_equal(address.device, good[i].device);
    }
}

/* What is formatted is parsed to the same value, but for a wildcard, which has no family of its own in the notation. */
static void test_round_trips(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct address address;
        struct address again;
        assert_int_equal(address_parse(good[i].string, &address, NULL, NULL), FP_OK);
        assert_int_equal(address_parse(good[i].notation, &again, NULL, NULL), FP_OK);
        assert_string_equal(formatted(&again), good[i].notation);
        if (address_is_wildcard(&address))
            again.family = address.family;
        assert_true(address_equal(&address, &again));
    }
}

static void test_goes_through_sockaddr(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct sockaddr_storage sa;
        struct address address;
        struct address again;
        assert_int_equal(address_parse(good[i].string, &address, NULL, NULL), FP_OK);
        socklen_t length = address_to_sockaddr(&address, &sa);
        assert_int_equal(sa.ss_family, address.family == AF_INET ? AF_INET : AF_INET6);
        assert_int_equal(length, address.family == AF_INET ? sizeof(struct sockaddr_in)
                                                           : sizeof(struct sockaddr_in6));
        address_from_sockaddr((struct sockaddr *)&sa, &again);
        memcpy(again.device, address.device, sizeof(again.device));
        if (address.family == AF_UNSPEC)
            again.family = AF_UNSPEC;
        assert_true(address_equal(&address, &again));
    }
}

static const struct {
    const char *string;
    const char *reason;
    const char *hint;
} bad[] = {
    {"", "there is nothing where an address should be, at column 1", ""},
    {":", "expected a port behind ':', at column 2", ""},
    {"*:", "expected a port behind ':', at column 3", ""},
    {"192.0.2.1:", "expected a port behind ':', at column 11", ""},
    {"[::1]:", "expected a port behind ':', at column 7", ""},
    {"*", "the port is missing, at column 2", "write *:PORT"},
    {"1.2.3.4", "the port is missing, at column 8", "write 1.2.3.4:PORT"},
    {"1.2.3.4%eth0", "the port is missing, at column 13", "write 1.2.3.4%eth0:PORT"},
    {"*%eth0", "the port is missing, at column 7", "write *%eth0:PORT"},
    {"[::1]", "the port is missing, at column 6", "write [::1]:PORT"},
    {"[::1]%eth0", "the port is missing, at column 11", "write [::1]%eth0:PORT"},
    {"ftp.example.org", "the port is missing, at column 16", "write ftp.example.org:PORT"},
    {"65536", "port 65536 is above 65535, at column 1", ""},
    {"1.2.3.4:65536", "port 65536 is above 65535, at column 9", ""},
    {"*:99999999999999999999", "port 99999999999999999999 is above 65535, at column 3", ""},
    {"-1", "-1 is neither a port nor a TCP service of services(5), at column 1",
     "if it is a host, write -1:PORT"},
    {"localhost", "localhost is neither a port nor a TCP service of services(5), at column 1",
     "if it is a host, write localhost:PORT"},
    {"*:nosuch", "nosuch is neither a port nor a TCP service of services(5), at column 3", ""},
    {"*:tftp", "tftp is neither a port nor a TCP service of services(5), at column 3", ""}, /* UDP only */
    {"*:0x15", "0x15 is neither a port nor a TCP service of services(5), at column 3", ""},
    {"*:+21", "+21 is neither a port nor a TCP service of services(5), at column 3", ""},
    {"2000-2999", "ranges of ports are not supported yet, at column 1", ""},
    {"*:2000-2999", "ranges of ports are not supported yet, at column 3", ""},
    {"192.0.2.0/24:21", "prefixes of addresses are not supported yet, at column 10", ""},
    {"[2001:db8::]/32:21", "prefixes of addresses are not supported yet, at column 13", ""},
    {"2001:db8::/32:21", "prefixes of addresses are not supported yet, at column 11", ""},
    {"2001:db8::1:21", "an IPv6 address stands in brackets, at column 1", "write [2001:db8::1]:21"},
    {"fe80::1%eth0:21", "an IPv6 address stands in brackets, at column 1", "write [fe80::1%eth0]:21"},
    {"::1:21", "an IPv6 address stands in brackets, at column 1", "write [::1]:21"},
    {":::21", "an IPv6 address stands in brackets, at column 1", "write [::]:21"},
    {"::1", "an IPv6 address stands in brackets, and has a port behind them, at column 1",
     "write [::1]:PORT"},
    {"1:2:3:4:5:6:7:8", "an IPv6 address stands in brackets, and has a port behind them, at column 1",
     "write [1:2:3:4:5:6:7:8]:PORT"},
    {"localhost:21:22", "there are too many colons, at column 13",
     "write HOST:PORT, or [ADDRESS]:PORT for IPv6"},
    {"1.2.3.4:21:", "there are too many colons, at column 11", "write HOST:PORT, or [ADDRESS]:PORT for IPv6"},
    {"[::1", "expected ']' behind the IPv6 address, at column 5", ""},
    {"[", "expected ']' behind the IPv6 address, at column 2", ""},
    {"[]:21", "expected an IPv6 address in the brackets, at column 2", ""},
    {"[1.2.3.4]:21", "expected an IPv6 address in the brackets, at column 2", "write 1.2.3.4:21"},
    {"[localhost]:21", "expected an IPv6 address in the brackets, at column 2", ""},
    {"[2001:db8::1::2]:21", "expected an IPv6 address in the brackets, at column 2", ""},
    {"[0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0]:21",
     "expected an IPv6 address in the brackets, at column 2", ""},
    {"[::1]21", "expected ':' and a port, or '%' and the name of a device, at column 6", ""},
    {"[::1]x:21", "expected ':' and a port, or '%' and the name of a device, at column 6", ""},
    {"[::1]%:21", "expected ':' and a port, or '%' and the name of a device, at column 6", ""},
    {"1.2.3.4%:21", "expected ':' and a port, or '%' and the name of a device, at column 8", ""},
    {"1.2.3.4%a%b:21", "expected ':' and a port, or '%' and the name of a device, at column 8", ""},
    {"*%abcdefghijklmnop:21", "expected ':' and a port, or '%' and the name of a device, at column 2", ""},
    {"*%a,b:21", "expected ':' and a port, or '%' and the name of a device, at column 2", ""},
    {"*%a{b:21", "expected ':' and a port, or '%' and the name of a device, at column 2", ""},
    {"*%a}b:21", "expected ':' and a port, or '%' and the name of a device, at column 2", ""},
    {"*%a*b:21", "expected ':' and a port, or '%' and the name of a device, at column 2", ""},
    {"*%a\\b:21", "expected ':' and a port, or '%' and the name of a device, at column 2", ""},
    {"%eth0:21", "expected an address or '*' before the device, at column 1", ""},
    {"[fe80::1%]:21", "expected the name of a device behind '%', at column 10", ""},
    {"[fe80::1%a%b]:21", "expected the name of a device behind '%', at column 10", ""},
    {"[fe80::1%nosuch0]:21", "there is no device nosuch0, at column 10", ""},
    {"[fe80::1%0]:21", "there is no device 0, at column 10", ""},
    {"[fe80::1%4294967296]:21", "there is no device 4294967296, at column 10", ""},
    {"[2001:db8::1%eth0]:21", "only a link-local address has a scope, at column 13",
     "to bind to a device, write [2001:db8::1]%eth0:PORT"},
    {"[fec0::1%lo]:21", "only a link-local address has a scope, at column 9",
     "to bind to a device, write [fec0::1]%lo:PORT"},
    {"[ff05::1%lo]:21", "only a link-local address has a scope, at column 9",
     "to bind to a device, write [ff05::1]%lo:PORT"},
    {"[::%eth0]:21", "only a link-local address has a scope, at column 4",
     "to bind to a device, write [::]%eth0:PORT"},
    {"[::ffff:1.2.3.4%eth0]:21", "only a link-local address has a scope, at column 16",
     "to bind to a device, write [::ffff:1.2.3.4]%eth0:PORT"},
    {"1.2.3:21", "an IPv4 address has four numbers from 0 to 255, at column 1", ""},
    {"1.2.3.4.5:21", "an IPv4 address has four numbers from 0 to 255, at column 1", ""},
    {"1.2.3.256:21", "an IPv4 address has four numbers from 0 to 255, at column 1", ""},
    {"1.2.3.04:21", "an IPv4 address has four numbers from 0 to 255, at column 1", ""},
    {"1.2.3.4.:21", "an IPv4 address has four numbers from 0 to 255, at column 1", ""},
    {"127.1:21", "an IPv4 address has four numbers from 0 to 255, at column 1", ""},
    {"0x7f000001:21", "an IPv4 address has four numbers from 0 to 255, at column 1", ""},
    {"0X7F000001:21", "an IPv4 address has four numbers from 0 to 255, at column 1", ""},
    {"21:21", "an IPv4 address has four numbers from 0 to 255, at column 1", ""},
    {" 21", "there is a space in it, at column 1", ""},
    {"21 ", "there is a space in it, at column 3", ""},
    {"1.2.3.4\n:21", "there is a byte in it that no address has, at column 8", ""},
    {"\x1b[2J:21", "there is a byte in it that no address has, at column 1", ""},
    {"\x7f:21", "there is a byte in it that no address has, at column 1", ""},
    {"b\xc3\xbc"
     "cher.example:21",
     "there is a byte in it that no address has, at column 2", ""},
    {"*.example.org:21", "'*' is in no name of a host, at column 1", ""},
    {"a/b:21", "'/' is in no name of a host, at column 2", ""},
    {"a]:21", "']' is in no name of a host, at column 2", ""},
};

static void test_says_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct address address = {.port = 4711};
        struct fp_error err;
        bool is_name = true;
        if (address_parse(bad[i].string, &address, &is_name, &err) != FP_DATA)
            fail_msg("%s is taken", bad[i].string);
        assert_false(is_name);
        assert_int_equal(address.port, 4711);
        assert_int_equal(err.status, FP_DATA);
        assert_string_equal(err.operation, "understand the address");
        assert_string_equal(err.what, bad[i].string);
        assert_string_equal(err.reason, bad[i].reason);
        assert_string_equal(err.hint, bad[i].hint);
        assert_int_equal(address_parse(bad[i].string, &address, NULL, NULL), FP_DATA);
    }
}

static void test_tells_names(void **state)
{
    static const char *const names[] = {"localhost:21", "ftp.example.org:ftp", "example.org.:21", "a-b_c:21",
                                        "face:21",      "1.example:21",        "name%eth0:21"};

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        struct address address = {.port = 4711};
        struct fp_error err;
        bool is_name = false;
        assert_int_equal(address_parse(names[i], &address, &is_name, &err), FP_DATA);
        assert_true(is_name);
        assert_int_equal(address.port, 4711);
        assert_string_equal(err.reason, "expected a numeric address, not a name, at column 1");
    }
}

/* Of each length up to far too long, and of each kind of character: never more than a refusal. */
static void test_bounds_lengths(void **state)
{
    static const char kinds[] = "1a.:[]%*,-/0f";
    char string[700];

    (void)state;
    for (const char *kind = kinds; *kind != '\0'; kind++) {
        for (size_t length = 1; length < sizeof(string); length++) {
            struct address address;
            struct fp_error err;
            memset(string, *kind, length);
            string[length] = '\0';
            if (length > 320) {
                assert_int_equal(address_parse(string, &address, NULL, &err), FP_DATA);
                assert_string_equal(err.reason, "it is too long, at column 321");
            } else if (address_parse(string, &address, NULL, &err) != FP_OK) {
                assert_string_not_equal(err.reason, "");
            }
        }
    }
    memset(string, 'a', 254);
    strcpy(string + 254, ":21");
    struct fp_error err;
    assert_int_equal(address_parse(string, &(struct address){0}, NULL, &err), FP_DATA);
    assert_string_equal(err.reason, "no name of a host is longer than 253, at column 1");
    bool is_name = false;
    assert_int_equal(address_parse(string + 1, &(struct address){0}, &is_name, &err), FP_DATA);
    assert_true(is_name);
}

static void test_equal_looks_at_every_field(void **state)
{
    const struct address base = {
        .family = AF_INET6, .scope = 1, .port = 2, .bytes = {0xfe, 0x80, [15] = 1}, .device = "a"};
    struct address other[6];

    (void)state;
    assert_true(address_equal(&base, &base));
    for (size_t i = 0; i < COUNT(other); i++)
        other[i] = base;
    other[0].family = AF_INET;
    other[1].scope = 2;
    other[2].port = 3;
    other[3].bytes[15] = 2;
    other[4].device[0] = 'b';
    other[5].bytes[0] = 0xfd;
    for (size_t i = 0; i < COUNT(other); i++)
        assert_false(address_equal(&base, &other[i]));
    /* What does not belong to the family is not looked at. */
    struct address a = {.family = AF_INET, .bytes = {1, 2, 3, 4, 5}};
    struct address b = {.family = AF_INET, .bytes = {1, 2, 3, 4, 6}};
    assert_true(address_equal(&a, &b));
    b.bytes[3] = 5;
    assert_false(address_equal(&a, &b));
}

static void test_unknown_family_is_the_wildcard(void **state)
{
    struct sockaddr sa = {.sa_family = AF_UNIX};
    struct address address;

    (void)state;
    address_from_sockaddr(&sa, &address);
    assert_int_equal(address.family, AF_UNSPEC);
    assert_true(address_is_wildcard(&address));
    assert_string_equal(formatted(&address), "*:*");
}

/* The kernel leaves a scope only where it means something; others may not. */
static void test_scope_of_global_address_is_dropped(void **state)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(21), .sin6_scope_id = 1};
    struct address address;

    (void)state;
    inet_pton(AF_INET6, "2001:db8::1", &in6.sin6_addr);
    address_from_sockaddr((struct sockaddr *)&in6, &address);
    assert_int_equal(address.scope, 0);
    assert_string_equal(formatted(&address), "[2001:db8::1]:21");
}

/* A device can have any name but a few; none of them may forge a line. */
static void test_device_is_escaped(void **state)
{
    struct address address = {.family = AF_INET, .port = 21, .bytes = {192, 0, 2, 1}, .device = "a\n\x1b"};

    (void)state;
    assert_string_equal(formatted(&address), "192.0.2.1%a\\x0a\\x1b:21");
    memset(address.device, '\n',
           sizeof(address.device)); /* not terminated, four bytes a character: the longest */
    assert_int_equal(strlen(formatted(&address)), strlen("192.0.2.1%:21") + 4 * sizeof(address.device));
}

static void test_format_is_cut(void **state)
{
    struct address address = {.family = AF_INET, .port = 21, .bytes = {192, 0, 2, 1}};
    char buffer[10];
    struct text text;

    (void)state;
    text_init(&text, buffer, sizeof(buffer));
    address_format(&address, &text);
    assert_int_equal(text_end(&text), 12);
    assert_string_equal(buffer, "192.0.2.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parses_every_form),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_goes_through_sockaddr),
        cmocka_unit_test(test_says_what_is_wrong),
        cmocka_unit_test(test_tells_names),
        cmocka_unit_test(test_bounds_lengths),
        cmocka_unit_test(test_equal_looks_at_every_field),
        cmocka_unit_test(test_unknown_family_is_the_wildcard),
        cmocka_unit_test(test_scope_of_global_address_is_dropped),
        cmocka_unit_test(test_device_is_escaped),
        cmocka_unit_test(test_format_is_cut),
    };

    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
