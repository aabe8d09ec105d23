/* SPDX-License-Identifier: MIT */
#include "listen/holder.h"

#include "listen/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "../netns.h"

#define NAME     "vsftpd"
#define PIDS_MAX 8

/* Each test that makes connections has a port of its own, since they leave a TIME-WAIT behind. */

enum kind { LISTENS, IS_BOUND, IS_CONNECTED, HAS_CLIENTS, HAD_CLIENTS, LEFT_A_TIME_WAIT };

/* A socket in the way, and the processes that hold it. */
struct holding {
    enum kind kind;
    const char *address; /* as address_parse() takes it */
    bool v6only;
    bool mapped;   /* an IPv4 address on an IPv6 socket */
    int processes; /* 0: one */
};

struct holders {
    pid_t pids[PIDS_MAX];
    int count;
    pid_t child;    /* the one that is ours; it waits for the others */
    int release_fd; /* closed: they end */
};

static struct address parse(const char *string)
{
    struct address address;

    assert_int_equal(address_parse(string, &address, NULL, NULL), FP_OK);
    return address;
}

static void must(bool done, const char *what)
{
    if (!done) {
        perror(what);
        _exit(1);
    }
}

static socklen_t sockaddr_of(const struct holding *holding, struct sockaddr_storage *ret_sa)
{
    struct address address = parse(holding->address);
    socklen_t length = address_to_sockaddr(&address, ret_sa);

    if (holding->mapped) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(address.port)};
        in6.sin6_addr.s6_addr[10] = in6.sin6_addr.s6_addr[11] = 0xff;
        memcpy(&in6.sin6_addr.s6_addr[12], address.bytes, 4);
        memcpy(ret_sa, &in6, sizeof(in6));
        length = sizeof(in6);
    }
    return length;
}

static int bound_socket(const struct holding *holding)
{
    struct address address = parse(holding->address);
    struct sockaddr_storage sa;
    socklen_t length = sockaddr_of(holding, &sa);
    int v6only = holding->v6only;

    int fd = socket(sa.ss_family, SOCK_STREAM, 0);
    if (sa.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only));
    if (address.device[0] != '\0')
        must(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, address.device, sizeof(address.device)) == 0,
             "device");
    must(bind(fd, (struct sockaddr *)&sa, length) == 0, "bind");
    return fd;
}

/* A listening socket anywhere, to connect to. */
static int other_socket(struct sockaddr_in *ret_sa)
{
    socklen_t length = sizeof(*ret_sa);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    must(listen(fd, 1) == 0, "listen");
    must(getsockname(fd, (struct sockaddr *)ret_sa, &length) == 0, "getsockname");
    ret_sa->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return fd;
}

/* Of the second nothing is left but a TIME-WAIT, and nobody listens any more. */
static void make_clients_and_stop(int fd)
{
    struct sockaddr_in sa;
    socklen_t length = sizeof(sa);
    char byte;

    must(listen(fd, 8) == 0 && getsockname(fd, (struct sockaddr *)&sa, &length) == 0, "listen");
    for (int i = 0; i < 2; i++) {
        int client_fd = socket(AF_INET, SOCK_STREAM, 0);
        must(connect(client_fd, (struct sockaddr *)&sa, sizeof(sa)) == 0, "connect");
        int accepted_fd = accept(fd, NULL, NULL);
        must(accepted_fd >= 0, "accept");
        if (i == 0)
            continue;
        shutdown(accepted_fd, SHUT_WR);
        must(read(client_fd, &byte, 1) == 0, "read");
        close(client_fd);
        must(read(accepted_fd, &byte, 1) == 0, "read");
        close(accepted_fd);
    }
    close(fd);
}

static void make(const struct holding *holding)
{
    struct sockaddr_in other;
    char byte;
    int fd = bound_socket(holding);

    if (holding->kind == LISTENS || holding->kind == HAS_CLIENTS)
        must(listen(fd, 8) == 0, "listen");
    if (holding->kind == HAD_CLIENTS)
        make_clients_and_stop(fd);
    if (holding->kind == HAS_CLIENTS) {
        struct sockaddr_in sa;
        socklen_t length = sizeof(sa);
        must(getsockname(fd, (struct sockaddr *)&sa, &length) == 0, "getsockname");
        for (int i = 0; i < 3; i++) {
            must(connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&sa, sizeof(sa)) == 0,
                 "connect");
            must(accept(fd, NULL, NULL) >= 0, "accept");
        }
    }
    if (holding->kind == IS_CONNECTED || holding->kind == LEFT_A_TIME_WAIT) {
        int other_fd = other_socket(&other);
        must(connect(fd, (struct sockaddr *)&other, sizeof(other)) == 0, "connect");
        int accepted_fd = accept(other_fd, NULL, NULL);
        must(accepted_fd >= 0, "accept");
        if (holding->kind == LEFT_A_TIME_WAIT) {
            shutdown(fd, SHUT_WR);
            must(read(accepted_fd, &byte, 1) == 0, "read");
            close(accepted_fd);
            must(read(fd, &byte, 1) == 0, "read");
            close(fd);
        }
    }
}

static struct holders hold(const struct holding *holding)
{
    struct holders holders = {.count = holding->processes != 0 ? holding->processes : 1};
    int ready[2];
    int release[2];

    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(release), 0);
    holders.child = fork();
    if (holders.child == 0) {
        prctl(PR_SET_NAME, NAME);
        close(release[1]);
        make(holding);
        for (int i = 1; i < holders.count && fork() != 0; i++)
            ;
        pid_t pid = getpid();
        must(write(ready[1], &pid, sizeof(pid)) == sizeof(pid), "write");
        must(read(release[0], &pid, 1) == 0, "read");
        while (wait(NULL) > 0)
            ;
        _exit(0);
    }
    close(ready[1]);
    close(release[0]);
    for (int i = 0; i < holders.count; i++)
        assert_int_equal(read(ready[0], &holders.pids[i], sizeof(pid_t)), sizeof(pid_t));
    close(ready[0]);
    holders.release_fd = release[1];
    return holders;
}

static void let_go(struct holders *holders)
{
    close(holders->release_fd);
    assert_int_equal(waitpid(holders->child, NULL, 0), holders->child);
}

/* Writes `pattern` with each $ replaced by the next pid, in the order of /proc. */
static const char *expected(const char *pattern, struct holders *holders)
{
    static char shown[512];
    struct text text;
    int next = 0;

    for (int i = 1; i < holders->count; i++) {
        for (int j = i; j > 0 && holders->pids[j - 1] > holders->pids[j]; j--) {
            pid_t pid = holders->pids[j];
            holders->pids[j] = holders->pids[j - 1];
            holders->pids[j - 1] = pid;
        }
    }
    text_init(&text, shown, sizeof(shown));
    for (; *pattern != '\0'; pattern++) {
        if (*pattern == '$')
            text_unsigned(&text, (uint64_t)holders->pids[next++]);
        else
            text_bytes(&text, pattern, 1);
    }
    text_end(&text);
    return shown;
}

/* What the kernel says of the address, and the hint that goes with it ("": it can be had). */
static void check(const struct holding *holding, const char *wanted, const char *hint)
{
    struct holders holders = hold(holding);
    struct address address = parse(wanted);
    struct address_list list = {.items = &address, .count = 1};
    struct listeners listeners;
    struct fp_error err = {.status = FP_OK};

    hint = expected(hint, &holders);
    enum fp_status status = listeners_open(&list, 16, &listeners, &err);
    if (status == FP_OK)
        listeners_done(&listeners);
    assert_int_equal(status, hint[0] == '\0' ? FP_OK : FP_UNAVAILABLE);
    assert_string_equal(err.hint, hint);
    struct fp_error asked = {.status = FP_OK};
    holder_hint(&address, &asked);
    assert_string_equal(asked.hint, hint);
    let_go(&holders);
}

static void test_addresses(void **state)
{
    static const struct {
        struct holding holding;
        const char *wanted;
        const char *hint;
    } rows[] = {
        {{.address = "0.0.0.0:21"}, "127.0.0.1:21", "held by {*:21, *:*} of process $, " NAME},
        {{.address = "127.0.0.1:21"}, "127.0.0.1:21", "held by {127.0.0.1:21, *:*} of process $, " NAME},
        {{.address = "127.0.0.1:21"}, "*:21", "held by {127.0.0.1:21, *:*} of process $, " NAME},
        {{.address = "127.0.0.1:21"}, "127.0.0.2:21", ""},
        {{.address = "127.0.0.1:21"}, "127.0.0.1:22", ""},
        {{.address = "127.0.0.1:21"}, "[::]:21", ""},
        {{.address = "*:21"}, "127.0.0.1:21", "held by {*:21, *:*} of process $, " NAME},
        {{.address = "*:21"}, "[::1]:21", "held by {*:21, *:*} of process $, " NAME},
        {{.address = "*:21"}, "0.0.0.0:21", "held by {*:21, *:*} of process $, " NAME},
        {{.address = "[::]:21", .v6only = true}, "*:21", "held by {*:21, *:*} of process $, " NAME},
        {{.address = "[::]:21", .v6only = true}, "127.0.0.1:21", ""},
        {{.address = "[::]:21", .v6only = true}, "0.0.0.0:21", ""},
        {{.address = "[::1]:21"}, "*:21", "held by {[::1]:21, *:*} of process $, " NAME},
        {{.address = "[::1]:21"}, "[::]:21", "held by {[::1]:21, *:*} of process $, " NAME},
        {{.address = "[::1]:21"}, "127.0.0.1:21", ""},
        {{.address = "[::1]:21"}, "0.0.0.0:21", ""},
        {{.address = "127.0.0.1:21", .mapped = true},
         "127.0.0.1:21",
         "held by {127.0.0.1:21, *:*} of process $, " NAME},
        {{.address = "127.0.0.1:21", .mapped = true}, "[::1]:21", ""},
        {{.address = "*%lo:21"}, "*:21", "held by {*%lo:21, *:*} of process $, " NAME},
        {{.address = "*%lo:21"}, "127.0.0.1%lo:21", "held by {*%lo:21, *:*} of process $, " NAME},
        {{.address = "127.0.0.1:21"}, "127.0.0.1%lo:21", "held by {127.0.0.1:21, *:*} of process $, " NAME},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check(&rows[i].holding, rows[i].wanted, rows[i].hint);
}

/* A socket bound to one device is in nobody's way on another. */
static void test_another_device(void **state)
{
    const struct holding on_lo = {.address = "*%lo:21"};
    const struct holding on_another = {.address = "*%va:21"};

    (void)state;
    if (system("ip link add va type veth peer name vb") != 0) {
        print_message("ip(8) can make no second device here\n");
        skip();
    }
    check(&on_lo, "*%va:21", "");
    check(&on_another, "*%lo:21", "");
    check(&on_another, "*%va:21", "held by {*%va:21, *:*} of process $, " NAME);
    check(&on_another, "0.0.0.0:21", "held by {*%va:21, *:*} of process $, " NAME);
}

/* An address of a scope is one of its device, and is named with it once. */
static void test_a_scope(void **state)
{
    const struct holding on_scope = {.address = "[fe80::1%wa]:21"};
    const struct holding on_another = {.address = "*%wb:21"};

    (void)state;
    if (system("ip link add wa type veth peer name wb && ip link set wa up && ip link set wb up && "
               "ip address add fe80::1/64 dev wa nodad && ip address add fe80::1/64 dev wb nodad") != 0) {
        print_message("ip(8) can make no devices with addresses here\n");
        skip();
    }
    check(&on_scope, "[fe80::1%wa]:21", "held by {[fe80::1%wa]:21, *:*} of process $, " NAME);
    check(&on_scope, "*%wa:21", "held by {[fe80::1%wa]:21, *:*} of process $, " NAME);
    check(&on_scope, "[fe80::1%wb]:21", "");
    check(&on_another, "[fe80::1%wa]:21", "");
    check(&on_another, "[fe80::1%wb]:21", "held by {*%wb:21, *:*} of process $, " NAME);
}

static void test_what_is_not_listening(void **state)
{
    const struct holding connected = {.kind = IS_CONNECTED, .address = "127.0.0.1:22"};
    struct holders holders = hold(&connected);
    struct address wanted = parse("127.0.0.1:22");
    struct fp_error err = {.status = FP_OK};
    unsigned port;

    (void)state;
    holder_hint(&wanted, &err);
    assert_int_equal(sscanf(err.hint, "held by {127.0.0.1:22, 127.0.0.1:%u}", &port), 1);
    assert_non_null(strstr(err.hint, "} in ESTABLISHED of process "));
    assert_non_null(strstr(err.hint, NAME));
    let_go(&holders);

    const struct holding left = {.kind = LEFT_A_TIME_WAIT, .address = "127.0.0.2:22"};
    holders = hold(&left);
    wanted = parse("127.0.0.2:22");
    err = (struct fp_error){.status = FP_OK};
    holder_hint(&wanted, &err);
    assert_int_equal(sscanf(err.hint, "held by {127.0.0.2:22, 127.0.0.1:%u}", &port), 1);
    assert_non_null(strstr(err.hint, "} in TIME-WAIT, which no process holds any more"));
    let_go(&holders);
}

static void test_what_is_only_bound(void **state)
{
    const struct holding bound = {.kind = IS_BOUND, .address = "127.0.0.1:23"};
    struct holders holders = hold(&bound);
    struct address wanted = parse("127.0.0.1:23");
    struct fp_error err = {.status = FP_OK};

    (void)state;
    holder_hint(&wanted, &err);
    let_go(&holders);
    if (err.hint[0] == '\0') {
        print_message("before Linux 6.8 sock_diag does not tell of sockets that are only bound\n");
        skip();
    }
    assert_string_equal(err.hint,
                        expected("held by {127.0.0.1:23, *:*} in BOUND of process $, " NAME, &holders));
}

static void test_the_listening_one_first(void **state)
{
    const struct holding server = {.kind = HAS_CLIENTS, .address = "127.0.0.1:24"};

    (void)state;
    check(&server, "127.0.0.1:24", "held by {127.0.0.1:24, *:*} of process $, " NAME);
}

/* A connection that somebody has before one that is over, whose socket is nobody's. */
static void test_one_that_is_held_first(void **state)
{
    const struct holding server = {.kind = HAD_CLIENTS, .address = "127.0.0.1:25"};
    struct holders holders = hold(&server);
    struct address wanted = parse("127.0.0.1:25");
    struct fp_error err = {.status = FP_OK};

    (void)state;
    holder_hint(&wanted, &err);
    let_go(&holders);
    assert_non_null(strstr(err.hint, "} in ESTABLISHED of process "));
}

static void test_several_processes(void **state)
{
    struct holding server = {.address = "127.0.0.1:21", .processes = 2};

    (void)state;
    check(&server, "127.0.0.1:21", "held by {127.0.0.1:21, *:*} of processes $ and $, " NAME);
    server.processes = 3;
    check(&server, "127.0.0.1:21", "held by {127.0.0.1:21, *:*} of processes $, $ and $, " NAME);
    server.processes = 4;
    check(&server, "127.0.0.1:21", "held by {127.0.0.1:21, *:*} of processes $, $ and 2 more, " NAME);
    server.processes = 8;
    check(&server, "127.0.0.1:21", "held by {127.0.0.1:21, *:*} of processes $, $ and 6 more, " NAME);
}

static void test_a_list_that_overlaps(void **state)
{
    struct address addresses[] = {parse("127.0.0.1:21"), parse("*:21")};
    struct address_list list = {.items = addresses, .count = 2};
    struct listeners listeners;
    struct fp_error err;

    (void)state;
    assert_int_equal(listeners_open(&list, 16, &listeners, &err), FP_UNAVAILABLE);
    assert_string_equal(err.hint, "held by {127.0.0.1:21, *:*} of this server itself");
}

/* Asked by somebody who may not look into the process: who it is cannot be told, whose it is can. */
static void test_not_permitted(void **state)
{
    const struct holding server = {.address = "127.0.0.1:21"};
    struct address wanted = parse("127.0.0.1:21");
    int status;

    (void)state;
    if (geteuid() != 0) {
        print_message("only root can become another user\n");
        skip();
    }
    struct holders holders = hold(&server);
    pid_t pid = fork();
    if (pid == 0) {
        struct fp_error err = {.status = FP_OK};
        must(setuid(65534) == 0, "setuid");
        holder_hint(&wanted, &err);
        _exit(
            strcmp(err.hint, "held by {127.0.0.1:21, *:*} of user 0; its process cannot be seen from here"));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    let_go(&holders);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_another_device),
        cmocka_unit_test(test_a_scope),
        cmocka_unit_test(test_one_that_is_held_first),
        cmocka_unit_test(test_what_is_not_listening),
        cmocka_unit_test(test_what_is_only_bound),
        cmocka_unit_test(test_the_listening_one_first),
        cmocka_unit_test(test_several_processes),
        cmocka_unit_test(test_a_list_that_overlaps),
        cmocka_unit_test(test_not_permitted),
    };

    return cmocka_run_group_tests(tests, netns_set_up, NULL);
}
