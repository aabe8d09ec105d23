/* SPDX-License-Identifier: MIT
 *
 * tests/unit/netns.h - a network namespace of its own for a test program, with its loopback device up.
 *
 * So that ports and addresses are free whatever else runs, and the kernel's tables hold the test's sockets alone. As
 * another user than root a user namespace goes with it. Behind <cmocka.h>: for cmocka_run_group_tests().
 */
#ifndef TESTS_UNIT_NETNS_H
#define TESTS_UNIT_NETNS_H

#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static inline int netns_set_up(void **state)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};

    (void)state;
    if (unshare(geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) < 0) {
        print_error("the kernel gives no network namespace\n");
        return -1;
    }
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result = ioctl(fd, SIOCSIFFLAGS, &lo);
    close(fd);
    return result;
}

#endif
