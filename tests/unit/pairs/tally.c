/* SPDX-License-Identifier: MIT */
#include "pairs/tally.h"

#include "sys/socket.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "../netns.h"

#define PORT 21
/* Of which the test is only that it comes at all. */
#define PATIENCE_MS 20000

static char bytes[1 << 16];

static void write_bytes(int fd, size_t count)
{
    while (count > 0) {
        ssize_t written = send(fd, bytes, count < sizeof(bytes) ? count : sizeof(bytes), MSG_NOSIGNAL);
        if (written <= 0)
            _exit(3);
        count -= (size_t)written;
    }
}

/* Reads at most `count` bytes; returns how many there were before the end or an error. */
static size_t read_bytes(int fd, size_t count)
{
    size_t got = 0;

    while (got < count) {
        size_t left = count - got;
        ssize_t length = read(fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes));
        if (length <= 0)
            break;
        got += (size_t)length;
    }
    return got;
}

enum worker_way {
    READ_COUNT,     /* reads the request by its length, replies, ends */
    READ_TO_END,    /* reads until the client's end, replies, ends */
    REPLY_AND_WAIT, /* replies, ends its own direction, waits for the client's end */
    READ_NOTHING,   /* replies and ends with the request unread */
};

enum client_way {
    CLOSE_AT_END, /* sends the request, reads to the end, closes */
    HALF_CLOSE,   /* ends its direction behind the request */
    STAY,         /* reads to the end and holds the connection open */
    STAY_AND_ACK, /* so does this, but acknowledges the end at once: the server's socket is then gone already */
    RESET,        /* resets the connection once it has the reply */
};

struct exchange {
    const char *name;
    enum worker_way worker;
    enum client_way client;
    size_t request;
    size_t reply;
    size_t in; /* expected */
    size_t out;
};

static void run_worker(int fd, const struct exchange *exchange)
{
    if (exchange->worker == READ_COUNT || exchange->worker == REPLY_AND_WAIT)
        read_bytes(fd, exchange->request);
    if (exchange->worker == READ_TO_END)
        read_bytes(fd, SIZE_MAX);
    if (exchange->worker == READ_NOTHING) {
        struct pollfd request = {.fd = fd, .events = POLLIN};
        poll(&request, 1, -1);
    }
    write_bytes(fd, exchange->reply);
    if (exchange->worker == REPLY_AND_WAIT)
        shutdown(fd, SHUT_WR);
    if (exchange->worker == REPLY_AND_WAIT || exchange->client == RESET)
        read_bytes(fd, SIZE_MAX);
    _exit(0);
}

/* Up to the point where the worker can end. */
static void run_client(int fd, const struct exchange *exchange)
{
    struct linger reset = {.l_onoff = 1};
    int on = 1;

    write_bytes(fd, exchange->request);
    if (exchange->client == HALF_CLOSE)
        shutdown(fd, SHUT_WR);
    if (exchange->client == STAY_AND_ACK)
        setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
    read_bytes(fd, exchange->client == RESET ? exchange->reply : SIZE_MAX);
    if (exchange->client == STAY_AND_ACK)
        setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
    if (exchange->client == RESET)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    if (exchange->client != STAY && exchange->client != STAY_AND_ACK)
        close(fd);
}

/* One connection as a supervisor sees it. */
struct served {
    struct pair pair;
    uint64_t cookie;
    int fd;        /* until it is given to a process */
    int client_fd; /* closed already unless the client stays */
};

static struct served take(int listening_fd)
{
    struct sockaddr_storage local;
    struct sockaddr_storage foreign;
    socklen_t length = sizeof(foreign);
    struct served served = {.fd = accept4(listening_fd, (struct sockaddr *)&foreign, &length, SOCK_CLOEXEC)};

    assert_true(served.fd >= 0);
    assert_true(socket_local(served.fd, &local) > 0);
    address_from_sockaddr((struct sockaddr *)&local, &served.pair.local);
    address_from_sockaddr((struct sockaddr *)&foreign, &served.pair.foreign);
    served.cookie = socket_cookie(served.fd);
    assert_true(served.cookie != 0);
    return served;
}

/* Accepted, given to a process, closed here; the process has been reaped. */
static struct served serve(int listening_fd, const struct sockaddr_storage *sa,
                           const struct exchange *exchange)
{
    int client_fd = socket(sa->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(client_fd, (const struct sockaddr *)sa, sizeof(*sa)), 0);
    struct served served = take(listening_fd);
    served.client_fd = client_fd;
    pid_t pid = fork();
    if (pid == 0) {
        close(client_fd);
        run_worker(served.fd, exchange);
    }
    close(served.fd);
    run_client(client_fd, exchange);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return served;
}

static void await(struct tally *tally, uint64_t cookie, struct tally_bytes *ret_bytes)
{
    struct pollfd readable = {.fd = tally->fd, .events = POLLIN};

    do {
        while (tally_read(tally, ret_bytes)) {
            if (ret_bytes->cookie == cookie)
                return;
        }
    } while (poll(&readable, 1, PATIENCE_MS) == 1);
    fail_msg("the kernel did not announce the socket");
}

static void check(const struct exchange *exchange, const char *how, const struct tally_bytes *counted)
{
    if (counted->in != exchange->in || counted->out != exchange->out)
        fail_msg("%s, %s: in %llu, expected %zu; out %llu, expected %zu", exchange->name, how,
                 (unsigned long long)counted->in, exchange->in, (unsigned long long)counted->out,
                 exchange->out);
}

static void run(struct tally *tally, int listening_fd, const struct sockaddr_storage *sa,
                const struct exchange *exchange)
{
    struct served served = serve(listening_fd, sa, exchange);
    bool stays = exchange->client == STAY || exchange->client == STAY_AND_ACK;
    struct tally_bytes counted;
    bool alive = tally_ask(tally, &served.pair, 0, served.cookie, &counted);

    if (alive)
        check(exchange, "asked", &counted);
    if (exchange->client == STAY)
        close(served.client_fd);
    await(tally, served.cookie, &counted);
    check(exchange, "announced", &counted);
    assert_false(tally_ask(tally, &served.pair, 0, served.cookie, &counted));
    if (stays && exchange->client != STAY)
        close(served.client_fd);
}

static const struct exchange exchanges[] = {
    {"nothing at all", READ_COUNT, CLOSE_AT_END, 0, 0, 0, 0},
    {"a line", READ_COUNT, CLOSE_AT_END, 12, 12, 12, 12},
    {"a line, the client half-closes", READ_TO_END, HALF_CLOSE, 12, 12, 12, 12},
    {"nothing but the client's end", READ_TO_END, HALF_CLOSE, 0, 0, 0, 0},
    {"the client's end is there, but not read", READ_COUNT, HALF_CLOSE, 12, 12, 12, 12},
    /* Not 12: the one case that the kernel does not let us tell, see fin_was_read() in tally.c. */
    {"the server ends and waits for the client's end", REPLY_AND_WAIT, CLOSE_AT_END, 12, 12, 13, 12},
    {"the client stays", READ_COUNT, STAY, 12, 12, 12, 12},
    {"the client stays and acknowledges", READ_COUNT, STAY_AND_ACK, 12, 12, 12, 12},
    {"the request is not read", READ_NOTHING, CLOSE_AT_END, 100, 0, 0, 0},
    {"the client resets", READ_COUNT, RESET, 12, 12, 12, 12},
    {"a large request", READ_COUNT, CLOSE_AT_END, 3000000, 1, 3000000, 1},
    {"a large reply", READ_COUNT, CLOSE_AT_END, 1, 3000000, 1, 3000000},
    {"a large reply to a half-closed client", READ_TO_END, HALF_CLOSE, 1, 3000000, 1, 3000000},
    {"both are large", READ_COUNT, CLOSE_AT_END, 1000003, 1000033, 1000003, 1000033},
};

/* A blocking listening socket; *ret_sa is where clients connect to. */
static int open_listening(int family, const char *host, uint16_t port, struct sockaddr_storage *ret_sa)
{
    struct address address = {.family = family, .port = port};
    struct sockaddr_storage any;
    socklen_t length = address_to_sockaddr(&address, &any);
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST};
    struct addrinfo *found;
    int off = 0;
    int on = 1;

    int fd = socket(any.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (any.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    assert_int_equal(bind(fd, (struct sockaddr *)&any, length), 0);
    assert_int_equal(listen(fd, 128), 0);
    assert_int_equal(getaddrinfo(host, NULL, &hints, &found), 0);
    memset(ret_sa, 0, sizeof(*ret_sa));
    memcpy(ret_sa, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    /* The port stands at the same place in both families. */
    ((struct sockaddr_in *)ret_sa)->sin_port = htons(port);
    return fd;
}

static void run_all(int family, const char *host)
{
    const uint16_t port = PORT;
    struct sockaddr_storage sa;
    struct tally tally;

    int listening_fd = open_listening(family, host, PORT, &sa);
    assert_int_equal(tally_open(&tally, &port, 1), 0);
    for (size_t i = 0; i < sizeof(exchanges) / sizeof(exchanges[0]); i++)
        run(&tally, listening_fd, &sa, &exchanges[i]);
    assert_int_equal(tally.overruns, 0);
    tally_close(&tally);
    close(listening_fd);
}

static void test_ipv4(void **state)
{
    (void)state;
    run_all(AF_INET, "127.0.0.1");
}

static void test_ipv6(void **state)
{
    (void)state;
    run_all(AF_UNSPEC, "::1");
}

static void test_ipv4_on_an_ipv6_socket(void **state)
{
    (void)state;
    run_all(AF_UNSPEC, "127.0.0.1");
}

/* The kernel drops what is not of the ports asked for before it is queued: nothing is readable. */
static void test_other_ports_are_not_announced(void **state)
{
    static const struct exchange exchange = {"", READ_COUNT, CLOSE_AT_END, 1, 1, 1, 1};
    const uint16_t ports[] = {5, PORT, 7};
    struct sockaddr_storage sa;
    struct sockaddr_storage other_sa;
    struct tally_bytes counted;
    struct tally tally;

    (void)state;
    int listening_fd = open_listening(AF_INET, "127.0.0.1", PORT, &sa);
    int other_fd = open_listening(AF_INET, "127.0.0.1", 4711, &other_sa);
    assert_int_equal(tally_open(&tally, ports, 3), 0);
    struct served other = serve(other_fd, &other_sa, &exchange);
    struct served served = serve(listening_fd, &sa, &exchange);
    struct pollfd readable = {.fd = tally.fd, .events = POLLIN};
    do {
        while (!tally_read(&tally, &counted))
            assert_int_equal(poll(&readable, 1, PATIENCE_MS), 1);
        assert_true(counted.cookie != other.cookie);
    } while (counted.cookie != served.cookie);
    tally_close(&tally);
    close(listening_fd);
    close(other_fd);
}

/* Writes the reply and ends once TCP has sent some of it again. */
static void run_worker_unheard(int fd, size_t request, size_t reply)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof(info);

    read_bytes(fd, request);
    write_bytes(fd, reply);
    while (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_total_retrans == 0)
        poll(NULL, 0, 5);
    _exit(0);
}

/* From now on nothing that comes is heard. */
static void deafen(int fd)
{
    struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {.len = 1, .filter = &drop};

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)), 0);
}

/* A client that hears nothing for a while: what TCP sends again counts once, and the socket lives on to be asked for. */
static void test_unheard_reply(void **state)
{
    static const struct exchange exchange = {"unheard", READ_COUNT, STAY, 5000, 7001, 5000, 7001};
    const uint16_t port = PORT;
    struct sockaddr_storage sa;
    struct tally_bytes counted;
    struct tally tally;
    int small = 4096;

    (void)state;
    int listening_fd = open_listening(AF_INET, "127.0.0.1", PORT, &sa);
    assert_int_equal(tally_open(&tally, &port, 1), 0);
    int client_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* So that some of the reply cannot even be sent yet. */
    setsockopt(client_fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(connect(client_fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    deafen(client_fd);
    struct served served = take(listening_fd);
    pid_t pid = fork();
    if (pid == 0)
        run_worker_unheard(served.fd, exchange.request, exchange.reply);
    close(served.fd);
    write_bytes(client_fd, exchange.request);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(tally_ask(&tally, &served.pair, 0, served.cookie, &counted));
    assert_int_equal(counted.cookie, served.cookie);
    check(&exchange, "asked", &counted);
    assert_false(tally_ask(&tally, &served.pair, 0, served.cookie + 1, &counted));
    struct pair another = served.pair;
    another.foreign.port ^= 1;
    assert_false(tally_ask(&tally, &another, 0, served.cookie, &counted));
    assert_int_equal(setsockopt(client_fd, SOL_SOCKET, SO_DETACH_FILTER, &small, sizeof(small)), 0);
    assert_int_equal(read_bytes(client_fd, SIZE_MAX), exchange.reply);
    close(client_fd);
    await(&tally, served.cookie, &counted);
    check(&exchange, "announced", &counted);
    tally_close(&tally);
    close(listening_fd);
}

/* By itself nothing has a link-local address here. */
static void add_link_local(void)
{
    struct {
        struct in6_addr address;
        uint32_t prefix;
        int interface;
    } wanted = {.prefix = 64, .interface = 1};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(9), .sin6_scope_id = 1};

    inet_pton(AF_INET6, "fe80::1", &wanted.address);
    in6.sin6_addr = wanted.address;
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(ioctl(fd, SIOCSIFADDR, &wanted), 0);
    /* The kernel takes its time to be sure that the address is nobody else's. */
    for (int waited = 0; bind(fd, (struct sockaddr *)&in6, sizeof(in6)) < 0; waited += 5) {
        assert_in_range(waited, 0, PATIENCE_MS);
        poll(NULL, 0, 5);
    }
    close(fd);
}

static int state_of(int fd)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof(info);

    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
    return info.tcpi_state;
}

/*
 * A client that hears nothing more once the connection is there: the process has gone, and TCP waits for the client to
 * acknowledge that. The client's end has come and was read, before ours or behind it: it does not count.
 */
static void run_unheard_end(int family, const char *host, const struct exchange *exchange)
{
    const uint16_t port = PORT;
    struct sockaddr_storage sa;
    struct tally_bytes counted;
    struct tally tally;

    int listening_fd = open_listening(family, host, PORT, &sa);
    assert_int_equal(tally_open(&tally, &port, 1), 0);
    int client_fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client_fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    struct served served = take(listening_fd);
    deafen(client_fd);
    pid_t pid = fork();
    if (pid == 0) {
        close(client_fd);
        run_worker(served.fd, exchange);
    }
    write_bytes(client_fd, exchange->request);
    while (exchange->worker == REPLY_AND_WAIT && state_of(served.fd) != TCP_FIN_WAIT1)
        poll(NULL, 0, 5);
    close(served.fd);
    shutdown(client_fd, SHUT_WR);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(tally_ask(&tally, &served.pair, 0, served.cookie, &counted));
    check(exchange, host, &counted);
    tally_close(&tally);
    close(client_fd);
    close(listening_fd);
}

static void test_unheard_ends(void **state)
{
    static const struct exchange first = {
        "the server ends first", REPLY_AND_WAIT, HALF_CLOSE, 12, 12, 12, 12};
    static const struct exchange last = {"the server ends last", READ_TO_END, HALF_CLOSE, 12, 12, 12, 12};

    (void)state;
    run_unheard_end(AF_INET, "127.0.0.1", &first);
    run_unheard_end(AF_INET, "127.0.0.1", &last);
    /* The kernel looks for such an address only on the interface of its scope. */
    add_link_local();
    run_unheard_end(AF_UNSPEC, "fe80::1%lo", &last);
}

/* What is not read in time is lost, and that is counted; later announcements come again. */
static void test_overrun(void **state)
{
    static const struct exchange exchange = {"", READ_NOTHING, RESET, 1, 1, 0, 1};
    const uint16_t port = PORT;
    struct sockaddr_storage sa;
    struct tally_bytes counted;
    struct tally tally;
    int small = 4096;
    int large = 1 << 20;

    (void)state;
    int listening_fd = open_listening(AF_INET, "127.0.0.1", PORT, &sa);
    assert_int_equal(tally_open(&tally, &port, 1), 0);
    setsockopt(tally.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    /* They come when the kernel has time for them, so some may be read before the others overflow. */
    for (int round = 0; round < 100 && tally.overruns == 0; round++) {
        for (int i = 0; i < 20; i++)
            serve(listening_fd, &sa, &exchange);
        while (tally_read(&tally, &counted))
            ;
    }
    assert_true(tally.overruns >= 1);
    setsockopt(tally.fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof(large));
    struct served served = serve(listening_fd, &sa, &exchange);
    await(&tally, served.cookie, &counted);
    assert_int_equal(counted.out, exchange.reply);
    tally_close(&tally);
    close(listening_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ipv4),
        cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_ipv4_on_an_ipv6_socket),
        cmocka_unit_test(test_other_ports_are_not_announced),
        cmocka_unit_test(test_unheard_reply),
        cmocka_unit_test(test_unheard_ends),
        cmocka_unit_test(test_overrun),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, netns_set_up, NULL);
}
