/* SPDX-License-Identifier: MIT */
#include "sys/accept.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "../netns.h"

/* EHWPOISON, the last errno of Linux. */
#define ERRNO_LAST 133

/* accept(2) and the kernel's words, an errno each; what is in no list is PAUSE. */
static const int drained[] = {EAGAIN, EWOULDBLOCK};
static const int retry[] = {
    EINTR, ECONNABORTED,
    /* "Error handling": pending network errors on the new socket, to be treated like EAGAIN */
    ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH,
    /* of which some kernels know more */
    ETIMEDOUT, ECONNRESET,
    /* "Firewall rules forbid connection", and security modules */
    EPERM, EACCES};
static const int dead[] = {EBADF, ENOTSOCK, EINVAL, EFAULT};
static const int paused[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSR};

static bool is_in(const int *list, size_t bytes, int errnum)
{
    for (size_t i = 0; i < bytes / sizeof(*list); i++) {
        if (list[i] == errnum)
            return true;
    }
    return false;
}

static void test_every_errno(void **state)
{
    (void)state;
    for (int errnum = 1; errnum <= ERRNO_LAST; errnum++) {
        enum accept_class expected = is_in(drained, sizeof(drained), errnum) ? ACCEPT_DRAINED
                                     : is_in(retry, sizeof(retry), errnum)   ? ACCEPT_RETRY
                                     : is_in(dead, sizeof(dead), errnum)     ? ACCEPT_DEAD
                                                                             : ACCEPT_PAUSE;
        if (accept_class(errnum) != expected)
            fail_msg("%s: %d, expected %d", strerror(errnum), accept_class(errnum), expected);
    }
    for (size_t i = 0; i < sizeof(paused) / sizeof(paused[0]); i++)
        assert_int_equal(accept_class(paused[i]), ACCEPT_PAUSE);
    assert_int_equal(accept_class(0), ACCEPT_PAUSE);
    assert_int_equal(accept_class(-1), ACCEPT_PAUSE);
    assert_int_equal(accept_class(ERRNO_LAST + 1), ACCEPT_PAUSE);
}

static int listening(struct sockaddr_in *ret_sa)
{
    socklen_t length = sizeof(*ret_sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *ret_sa = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)ret_sa, sizeof(*ret_sa)), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret_sa, &length), 0);
    return fd;
}

static int client(const struct sockaddr_in *sa)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (const struct sockaddr *)sa, sizeof(*sa)), 0);
    return fd;
}

static void test_a_connection(void **state)
{
    struct accepted accepted;
    struct sockaddr_in sa;
    struct sockaddr_in foreign;
    socklen_t length = sizeof(foreign);
    int fd = listening(&sa);
    int client_fd = client(&sa);

    (void)state;
    assert_int_equal(accept_connection(fd, &accepted), ACCEPT_CONNECTION);
    assert_int_equal(getsockname(client_fd, (struct sockaddr *)&foreign, &length), 0);
    assert_memory_equal(&accepted.foreign, &foreign, sizeof(foreign));
    assert_int_equal(fcntl(accepted.fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(accepted.fd, F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(accept_connection(fd, &accepted), ACCEPT_DRAINED);
    assert_int_equal(accepted.fd, -1);
    close(client_fd);
    close(fd);
}

/* A client that has gone again is a connection all the same; it ends when it is read. */
static void test_a_client_that_has_gone(void **state)
{
    struct linger reset = {.l_onoff = 1};
    struct accepted accepted;
    struct sockaddr_in sa;
    int fd = listening(&sa);
    int client_fd = client(&sa);

    (void)state;
    setsockopt(client_fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(client_fd);
    enum accept_class class = accept_connection(fd, &accepted);
    assert_true(class == ACCEPT_CONNECTION || class == ACCEPT_RETRY);
    assert_int_equal(accept_connection(fd, &accepted), ACCEPT_DRAINED);
    close(fd);
}

static void test_no_descriptors(void **state)
{
    struct accepted accepted;
    struct sockaddr_in sa;
    struct rlimit old;
    int fd = listening(&sa);
    int client_fd = client(&sa);

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum accept_class class = accept_connection(fd, &accepted);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(class, ACCEPT_PAUSE);
    assert_int_equal(accepted.errnum, EMFILE);
    /* It was not lost. */
    assert_int_equal(accept_connection(fd, &accepted), ACCEPT_CONNECTION);
    close(accepted.fd);
    close(client_fd);
    close(fd);
}

static void test_no_listening_socket(void **state)
{
    struct accepted accepted;
    int pipes[2];
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(accept_connection(fd, &accepted), ACCEPT_DEAD);
    assert_int_equal(accepted.errnum, EINVAL);
    assert_int_equal(accept_connection(pipes[0], &accepted), ACCEPT_DEAD);
    assert_int_equal(accepted.errnum, ENOTSOCK);
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
    assert_int_equal(accept_connection(fd, &accepted), ACCEPT_DEAD);
    assert_int_equal(accepted.errnum, EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_errno),
        cmocka_unit_test(test_a_connection),
        cmocka_unit_test(test_a_client_that_has_gone),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_no_listening_socket),
    };

    return cmocka_run_group_tests(tests, netns_set_up, NULL);
}
