/* SPDX-License-Identifier: MIT */
#include "sys/ready.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

static char bytes[1 << 20];

static void do_nothing(int number)
{
    (void)number;
}

static void test_waits(void **state)
{
    struct pollfd fd = {.events = POLLIN};
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    fd.fd = ends[0];
    assert_int_equal(ready_wait(&fd, 1, 0), 0);
    assert_int_equal(ready_wait(&fd, 1, 1000000), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(ready_wait(&fd, 1, -1), 1);
    assert_int_equal(fd.revents, POLLIN);
    close(ends[0]);
    close(ends[1]);
}

static void test_interruptions_are_nothing_to_be_had(void **state)
{
    struct sigaction action = {.sa_handler = do_nothing};
    /* Again and again, since the first may come before the call that it shall interrupt. */
    struct itimerval timer = {.it_value.tv_usec = 1000, .it_interval.tv_usec = 1000};
    struct itimerval none = {.it_value.tv_usec = 0};
    struct pollfd fd = {.events = POLLIN};
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    fd.fd = ends[0];
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    assert_int_equal(ready_wait(&fd, 1, -1), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(ready_read(ends[0], bytes, sizeof(bytes)), -1);
    assert_int_equal(errno, EAGAIN);
    while (ready_write(ends[1], false, bytes, sizeof(bytes)) > 0)
        ;
    assert_int_equal(errno, EAGAIN);
    setitimer(ITIMER_REAL, &none, NULL);
    close(ends[0]);
    close(ends[1]);
}

/* A pipe with room for a page is ready to be written, and would let the writer of a byte more wait. */
static void test_writes_what_poll_promises(void **state)
{
    struct pollfd fd = {.events = POLLOUT};
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    fcntl(ends[1], F_SETPIPE_SZ, 4096);
    fd.fd = ends[1];
    assert_int_equal(ready_wait(&fd, 1, 0), 1);
    assert_int_equal(ready_write(ends[1], false, bytes, sizeof(bytes)), PIPE_BUF);
    assert_int_equal(ready_wait(&fd, 1, 0), 0);
    close(ends[0]);
    close(ends[1]);
}

static void test_writes_to_sockets_without_waiting(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_true(ready_write(ends[0], false, bytes, sizeof(bytes)) > PIPE_BUF);
    while (ready_write(ends[0], false, bytes, sizeof(bytes)) > 0)
        ;
    assert_int_equal(errno, EAGAIN);
    close(ends[1]);
    assert_int_equal(ready_write(ends[0], false, bytes, 1), -1); /* and there is no SIGPIPE */
    assert_int_equal(errno, EPIPE);
    close(ends[0]);
}

static void test_ends_output(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(ready_end_output(ends[1]), 0);
    assert_int_equal(ready_read(ends[0], bytes, 1), 0);
    close(ends[0]);

    /* A socket that somebody else holds, too. */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    int other = dup(ends[1]);
    assert_int_equal(ready_end_output(ends[1]), 0);
    assert_int_equal(fcntl(ends[1], F_GETFD), -1);
    assert_int_equal(ready_read(ends[0], bytes, 1), 0);
    assert_int_equal(write(ends[0], "x", 1), 1);
    assert_int_equal(read(other, bytes, 1), 1);
    close(ends[0]);
    close(other);

    assert_int_equal(ready_end_output(-1), -1);
    assert_int_equal(errno, EBADF);
}

static void test_ends_sending(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ready_end_sending(ends[1]);
    assert_int_equal(ready_read(ends[0], bytes, 1), 0);
    assert_int_equal(write(ends[0], "x", 1), 1);
    assert_int_equal(ready_read(ends[1], bytes, 1), 1);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_interruptions_are_nothing_to_be_had),
        cmocka_unit_test(test_writes_what_poll_promises),
        cmocka_unit_test(test_writes_to_sockets_without_waiting),
        cmocka_unit_test(test_ends_output),
        cmocka_unit_test(test_ends_sending),
    };

    return cmocka_run_group_tests_name("ready", tests, NULL, NULL);
}
