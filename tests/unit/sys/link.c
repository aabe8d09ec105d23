/* SPDX-License-Identifier: MIT */
#include "sys/link.h"

#include "sys/fd.h"
#include "sys/netns.h"

#include <errno.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../netns.h"

#define LONG_NS  INT64_C(5000000000)
#define SHORT_NS INT64_C(20000000)

static const uint8_t here[4] = {192, 0, 2, 1};
static const uint8_t there[4] = {198, 51, 100, 7};

/* Each test has two hosts of its own; they go with the descriptors and the process. */
struct hosts {
    int one;
    int two;
};

static int make_hosts(void **state)
{
    static struct hosts hosts;

    hosts = (struct hosts){.one = -1, .two = -1};
    hosts.two = netns_new();
    hosts.one = netns_new();
    *state = &hosts;
    return hosts.one < 0 || hosts.two < 0 ? -1 : 0;
}

static int close_hosts(void **state)
{
    struct hosts *hosts = *state;

    fd_close(hosts->one);
    fd_close(hosts->two);
    return 0;
}

static void set_up(int host, const uint8_t *own, const uint8_t *other)
{
    assert_int_equal(netns_join(host), 0);
    int fd = link_open();
    assert_int_equal(link_address(fd, "wire", own, other), 0);
    assert_int_equal(link_up(fd, "wire"), 0);
    fd_close(fd);
}

static void make_wire(const struct hosts *hosts)
{
    assert_int_equal(netns_join(hosts->one), 0);
    int fd = link_open();
    assert_int_equal(link_wire(fd, "wire", hosts->two), 0);
    fd_close(fd);
}

static void test_a_wire_carries_when_both_ends_are_up(void **state)
{
    const struct hosts *hosts = *state;

    make_wire(hosts);
    set_up(hosts->one, here, there);
    assert_int_equal(link_wait("wire", SHORT_NS), -1);
    assert_int_equal(errno, ETIME);
    set_up(hosts->two, there, here);
    assert_int_equal(link_wait("wire", LONG_NS), 0);
    assert_int_equal(netns_join(hosts->one), 0);
    assert_int_equal(link_wait("wire", LONG_NS), 0);
}

static void test_what_the_kernel_refuses_has_its_errno(void **state)
{
    const struct hosts *hosts = *state;

    make_wire(hosts);
    int fd = link_open();
    assert_int_equal(link_wire(fd, "wire", hosts->two), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(link_wire(fd, "wire2", fd), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(link_address(fd, "wire", here, there), 0);
    assert_int_equal(link_address(fd, "wire", here, there), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(link_up(fd, "none"), -1);
    assert_int_equal(errno, ENODEV);
    assert_int_equal(link_wait("none", SHORT_NS), -1);
    fd_close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_wire_carries_when_both_ends_are_up, make_hosts, close_hosts),
        cmocka_unit_test_setup_teardown(test_what_the_kernel_refuses_has_its_errno, make_hosts, close_hosts),
    };

    return cmocka_run_group_tests(tests, netns_set_up, NULL);
}
