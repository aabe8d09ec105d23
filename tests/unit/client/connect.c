/* SPDX-License-Identifier: MIT
 *
 * Against real listening sockets of this process on loopback. A server that says nothing is one whose queue of
 * connections is full: the kernel then drops each SYN. Routes that are missing need a network namespace, and are in
 * the scenario of forkport connect.
 */
#include "client/connect.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND_NS INT64_C(1000000000)

static const struct address_list nothing = {.count = 0};

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static size_t count_fds(void)
{
    DIR *folder = opendir("/proc/self/fd");
    size_t count = 0;

    assert_non_null(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static struct address parsed(const char *string)
{
    struct address address;

    assert_int_equal(address_parse(string, &address, NULL, NULL), FP_OK);
    return address;
}

/* A listening socket at the address, whose port is then filled in; -1 where the host has no such address. */
static int listen_at(struct address *address, int backlog)
{
    struct sockaddr_storage sa;
    socklen_t length = address_to_sockaddr(address, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, length) < 0 || listen(fd, backlog) < 0)
        return -1;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &length), 0);
    address_from_sockaddr((struct sockaddr *)&sa, address);
    return fd;
}

/* An address where nobody listens, and nobody will: the port stays bound. */
static int refuse_at(struct address *address)
{
    int fd = listen_at(address, 1);
    struct sockaddr_storage sa;
    socklen_t length = address_to_sockaddr(address, &sa);

    close(fd);
    fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, length), 0);
    return fd;
}

/* A server that is silent to all but the first: fds[0] listens, fds[1] fills its queue. */
static void silent_at(struct address *address, int fds[2])
{
    struct sockaddr_storage sa;

    fds[0] = listen_at(address, 0);
    socklen_t length = address_to_sockaddr(address, &sa);
    fds[1] = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[1], (struct sockaddr *)&sa, length), 0);
}

static enum fp_status open_one(const struct address_list *servers, const struct address_list *from,
                               int64_t timeout_ns, int *ret_fd, struct pair *ret_pair, struct fp_error *err)
{
    struct connect_request request = {.servers = servers, .from = from, .timeout_ns = timeout_ns};

    return connect_open(&request, ret_fd, ret_pair, err);
}

static void test_connects_and_names_the_pair(void **state)
{
    struct address server = parsed("127.0.0.1:0");
    struct address_list servers = {.items = &server, .count = 1};
    int listening = listen_at(&server, 1);
    size_t fds = count_fds();
    struct sockaddr_storage sa;
    socklen_t length = sizeof(sa);
    struct address accepted_from;
    struct pair pair;
    int fd;

    (void)state;
    assert_int_equal(open_one(&servers, &nothing, 0, &fd, &pair, NULL), FP_OK);
    assert_int_equal(count_fds(), fds + 1);
    int accepted = accept(listening, (struct sockaddr *)&sa, &length);
    address_from_sockaddr((struct sockaddr *)&sa, &accepted_from);
    assert_true(address_equal(&pair.local, &accepted_from));
    assert_true(address_equal(&pair.foreign, &server));
    close(accepted);
    close(fd);
    close(listening);
}

/* The twenty that refuse would take five seconds more if each had its delay; behind one that says nothing, too. */
static void test_goes_on_at_once_when_refused(void **state)
{
    struct address items[22] = {parsed("127.0.0.1:0"), [21] = parsed("127.0.0.2:0")};
    struct address refused = parsed("127.0.0.3:0");
    int bound = refuse_at(&refused);
    int listening = listen_at(&items[21], 2);
    int silent[2];

    (void)state;
    silent_at(&items[0], silent);
    for (int i = 1; i < 21; i++)
        items[i] = refused;
    for (int first = 0; first < 2; first++) {
        struct address_list servers = {.items = items + first, .count = (size_t)(22 - first)};
        size_t fds = count_fds();
        int64_t start_ns = now_ns();
        struct pair pair;
        int fd;
        assert_int_equal(open_one(&servers, &nothing, 0, &fd, &pair, NULL), FP_OK);
        assert_true(now_ns() - start_ns < 4 * SECOND_NS);
        assert_true(address_equal(&pair.foreign, &items[21]));
        assert_int_equal(count_fds(), fds + 1);
        close(fd);
    }
    close(listening);
    close(bound);
    close(silent[0]);
    close(silent[1]);
}

static void test_does_not_wait_for_a_silent_one(void **state)
{
    struct address items[2] = {parsed("127.0.0.1:0"), parsed("127.0.0.2:0")};
    struct address_list servers = {.items = items, .count = 2};
    struct pair pair;
    int silent[2];
    int fd;

    (void)state;
    silent_at(&items[0], silent);
    int listening = listen_at(&items[1], 1);
    size_t fds = count_fds();
    int64_t start_ns = now_ns();
    assert_int_equal(open_one(&servers, &nothing, 0, &fd, &pair, NULL), FP_OK);
    assert_true(now_ns() - start_ns >= SECOND_NS / 4);
    assert_true(address_equal(&pair.foreign, &items[1]));
    assert_int_equal(count_fds(), fds + 1); /* the loser is closed */
    close(fd);
    close(listening);
    close(silent[0]);
    close(silent[1]);
}

/* The first is silent; of the two others, both there, the one of the other family has its turn before the second. */
static void test_takes_the_families_by_turns(void **state)
{
    struct address items[3] = {parsed("127.0.0.1:0"), parsed("127.0.0.2:0"), parsed("[::1]:0")};
    struct address_list servers = {.items = items, .count = 3};
    int ipv6 = listen_at(&items[2], 1);
    struct pair pair;
    int silent[2];
    int fd;

    (void)state;
    if (ipv6 < 0) {
        print_message("the host has no ::1\n");
        skip();
    }
    silent_at(&items[0], silent);
    int ipv4 = listen_at(&items[1], 1);
    assert_int_equal(open_one(&servers, &nothing, 0, &fd, &pair, NULL), FP_OK);
    assert_true(address_equal(&pair.foreign, &items[2]));
    close(fd);
    close(ipv4);
    close(ipv6);
    close(silent[0]);
    close(silent[1]);
}

static void test_times_out(void **state)
{
    struct address items[2] = {parsed("127.0.0.1:0"), parsed("127.0.0.2:0")};
    struct address_list servers = {.items = items, .count = 2};
    struct fp_error err;
    struct pair pair;
    int silent[4];
    int fd = 4711;

    (void)state;
    silent_at(&items[0], silent);
    silent_at(&items[1], silent + 2);
    size_t fds = count_fds();
    int64_t start_ns = now_ns();
    assert_int_equal(open_one(&servers, &nothing, SECOND_NS / 2, &fd, &pair, &err), FP_TIMED_OUT);
    int64_t took_ns = now_ns() - start_ns;
    assert_true(took_ns >= SECOND_NS / 2 && took_ns < 5 * SECOND_NS / 4);
    assert_int_equal(err.errnum, ETIMEDOUT);
    assert_string_equal(err.hint, "the server has 2 addresses, this one got furthest");
    assert_int_equal(fd, 4711);
    assert_int_equal(count_fds(), fds);
    for (int i = 0; i < 4; i++)
        close(silent[i]);
}

/* The one that has failed is not what is waited for. */
static void test_times_out_for_the_one_that_is_silent(void **state)
{
    struct address items[2] = {parsed("[::1]:9"), parsed("127.0.0.1:0")};
    struct address_list servers = {.items = items, .count = 2};
    struct address choice = parsed("127.0.0.1:0");
    struct address_list from = {.items = &choice, .count = 1};
    char shown[ADDRESS_TEXT_SIZE];
    struct text text;
    struct fp_error err;
    struct pair pair;
    int silent[2];
    int fd;

    (void)state;
    silent_at(&items[1], silent);
    text_init(&text, shown, sizeof(shown));
    address_format(&items[1], &text);
    text_end(&text);
    assert_int_equal(open_one(&servers, &from, SECOND_NS / 4, &fd, &pair, &err), FP_TIMED_OUT);
    assert_string_equal(err.what, shown);
    close(silent[0]);
    close(silent[1]);
}

/* A refusal says more than silence, whichever comes first. */
static void test_tells_the_most_useful_error(void **state)
{
    struct address items[2] = {parsed("127.0.0.1:0"), parsed("127.0.0.2:0")};
    struct address_list servers = {.items = items, .count = 2};
    struct fp_error err;
    struct pair pair;
    int silent[2];
    int fd;

    (void)state;
    silent_at(&items[0], silent);
    int bound = refuse_at(&items[1]);
    for (int i = 0; i < 2; i++) {
        struct address first = items[0];
        assert_int_equal(open_one(&servers, &nothing, SECOND_NS / 2, &fd, &pair, &err), FP_UNAVAILABLE);
        assert_int_equal(err.errnum, ECONNREFUSED);
        assert_string_equal(err.operation, "connect to");
        items[0] = items[1];
        items[1] = first;
    }
    close(bound);
    close(silent[0]);
    close(silent[1]);
}

static void test_connects_from(void **state)
{
    struct address server = parsed("127.0.0.1:0");
    struct address_list servers = {.items = &server, .count = 1};
    struct address choices[2] = {parsed("[::1]:0"), parsed("127.0.0.9:0")};
    struct address_list from = {.items = choices, .count = 2};
    int listening = listen_at(&server, 8);
    struct address other = parsed("127.0.0.8:0");
    struct pair pair;
    struct fp_error err;
    int fd;

    (void)state;
    assert_int_equal(open_one(&servers, &from, 0, &fd, &pair, NULL), FP_OK);
    assert_memory_equal(pair.local.bytes, choices[1].bytes, 4);
    close(fd);

    /* A port of one's own choice, whatever the address: one that was free a moment ago. */
    close(listen_at(&other, 1));
    choices[0] = parsed("*:0");
    choices[0].port = other.port;
    assert_int_equal(open_one(&servers, &from, 0, &fd, &pair, NULL), FP_OK);
    assert_int_equal(pair.local.port, other.port);
    close(fd);

    choices[0] = parsed("*%lo:0");
    assert_int_equal(open_one(&servers, &from, 0, &fd, &pair, &err), FP_OK);
    close(fd);

    /* Not this host's. */
    choices[0] = parsed("192.0.2.1:0");
    assert_int_equal(open_one(&servers, &from, 0, &fd, &pair, &err), FP_UNAVAILABLE);
    assert_int_equal(err.errnum, EADDRNOTAVAIL);
    assert_string_equal(err.operation, "connect from");
    assert_string_equal(err.what, "192.0.2.1:0");
    assert_string_equal(err.hint, "no interface of this host has that address, or not yet");

    from.count = 1;
    choices[0] = parsed("[::1]:0");
    assert_int_equal(open_one(&servers, &from, 0, &fd, &pair, &err), FP_DATA);
    assert_string_equal(err.reason, "the address to connect from is of the other family");
    close(listening);
}

/* What became of an address that could be tried is told, and not that another one could not; a hint stays. */
static void test_tells_what_was_tried_of_several(void **state)
{
    struct address items[2] = {parsed("127.0.0.1:0"), parsed("[::1]:9")};
    struct address_list servers = {.items = items, .count = 2};
    struct address choice = parsed("127.0.0.9:0");
    struct address_list from = {.items = &choice, .count = 1};
    struct fp_error err;
    struct pair pair;
    int fd;

    (void)state;
    int bound = refuse_at(&items[0]);
    assert_int_equal(open_one(&servers, &from, 0, &fd, &pair, &err), FP_UNAVAILABLE);
    assert_int_equal(err.errnum, ECONNREFUSED);
    assert_string_equal(err.reason, "Connection refused");
    assert_string_equal(err.hint, "the server has 2 addresses, this one got furthest");
    choice = parsed("192.0.2.1:0");
    assert_int_equal(open_one(&servers, &from, 0, &fd, &pair, &err), FP_UNAVAILABLE);
    assert_string_equal(err.hint, "no interface of this host has that address, or not yet");
    close(bound);
}

/* The port is in use, by a socket that listens: nothing else can have it. */
static void test_from_port_in_use(void **state)
{
    struct address server = parsed("127.0.0.1:0");
    struct address_list servers = {.items = &server, .count = 1};
    struct address taken = parsed("127.0.0.1:0");
    struct address_list from = {.items = &taken, .count = 1};
    int listening = listen_at(&server, 1);
    int other = listen_at(&taken, 1);
    struct fp_error err;
    struct pair pair;
    int fd;

    (void)state;
    assert_int_equal(open_one(&servers, &from, 0, &fd, &pair, &err), FP_UNAVAILABLE);
    assert_int_equal(err.errnum, EADDRINUSE);
    close(listening);
    close(other);
}

static void test_classes(void **state)
{
    static const struct {
        int errnum;
        enum fp_status status;
    } rows[] = {
        {ECONNREFUSED, FP_UNAVAILABLE}, {ECONNRESET, FP_UNAVAILABLE},
        {EPIPE, FP_UNAVAILABLE},        {ETIMEDOUT, FP_TIMED_OUT},
        {EHOSTUNREACH, FP_NO_HOST},     {ENETUNREACH, FP_NO_HOST},
        {EAFNOSUPPORT, FP_NO_HOST},     {EINVAL, FP_NO_HOST},
        {EACCES, FP_NOT_PERMITTED},     {EMFILE, FP_SYSTEM},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(connect_error_class(rows[i].errnum), rows[i].status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connects_and_names_the_pair),
        cmocka_unit_test(test_goes_on_at_once_when_refused),
        cmocka_unit_test(test_does_not_wait_for_a_silent_one),
        cmocka_unit_test(test_takes_the_families_by_turns),
        cmocka_unit_test(test_times_out),
        cmocka_unit_test(test_times_out_for_the_one_that_is_silent),
        cmocka_unit_test(test_tells_the_most_useful_error),
        cmocka_unit_test(test_connects_from),
        cmocka_unit_test(test_tells_what_was_tried_of_several),
        cmocka_unit_test(test_from_port_in_use),
        cmocka_unit_test(test_classes),
    };

    return cmocka_run_group_tests_name("connect", tests, NULL, NULL);
}
