/* SPDX-License-Identifier: MIT */
#include "wire/sock_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* A datagram put together as the kernel does it. */
struct datagram {
    _Alignas(uint32_t) char bytes[4096];
    size_t length;
    struct nlmsghdr *message; /* the last one */
};

static void begin(struct datagram *datagram, uint16_t type, uint16_t flags)
{
    datagram->message = (struct nlmsghdr *)(datagram->bytes + datagram->length);
    *datagram->message =
        (struct nlmsghdr){.nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = type, .nlmsg_flags = flags};
    datagram->length += NLMSG_HDRLEN;
}

static void append(struct datagram *datagram, const void *bytes, size_t length)
{
    assert_true(datagram->length + NLMSG_ALIGN(length) <= sizeof(datagram->bytes));
    memset(datagram->bytes + datagram->length, 0, NLMSG_ALIGN(length));
    memcpy(datagram->bytes + datagram->length, bytes, length);
    datagram->length += NLMSG_ALIGN(length);
    datagram->message->nlmsg_len += (uint32_t)NLMSG_ALIGN(length);
}

static void append_attribute(struct datagram *datagram, uint16_t type, const void *bytes, size_t length)
{
    struct nlattr attribute = {.nla_len = (uint16_t)(NLA_HDRLEN + length), .nla_type = type};

    append(datagram, &attribute, sizeof(attribute));
    append(datagram, bytes, length);
}

/* The body of a socket's message; addresses as inet_pton(3) reads them. */
static struct inet_diag_msg body(int family, uint8_t state, const char *local, uint16_t port,
                                 const char *foreign, uint16_t foreign_port)
{
    struct inet_diag_msg message = {
        .idiag_family = (uint8_t)family,
        .idiag_state = state,
        .id.idiag_sport = htons(port),
        .id.idiag_dport = htons(foreign_port),
        .id.idiag_cookie = {0x89abcdef, 0x01234567},
        .idiag_rqueue = 3,
        .idiag_wqueue = 4096,
        .idiag_uid = 33,
        .idiag_inode = 4711,
    };

    assert_int_equal(inet_pton(family, local, message.id.idiag_src), 1);
    assert_int_equal(inet_pton(family, foreign, message.id.idiag_dst), 1);
    return message;
}

static struct tcp_info info_of(uint64_t received, uint64_t sent, uint64_t again)
{
    return (struct tcp_info){
        .tcpi_bytes_received = received,
        .tcpi_bytes_sent = sent,
        .tcpi_bytes_retrans = again,
        .tcpi_bytes_acked = 77,
        .tcpi_notsent_bytes = 5,
        .tcpi_rtt = 1500,
        .tcpi_rttvar = 700,
        .tcpi_retransmits = 1,
        .tcpi_total_retrans = 3,
    };
}

static void append_socket(struct datagram *datagram, const struct inet_diag_msg *message)
{
    const struct tcp_info info = info_of(1, 2, 0);
    const uint8_t protocol = IPPROTO_TCP;

    begin(datagram, SOCK_DIAG_BY_FAMILY, 0);
    append(datagram, message, sizeof(*message));
    append_attribute(datagram, INET_DIAG_PROTOCOL, &protocol, 1);
    append_attribute(datagram, INET_DIAG_INFO, &info, sizeof(info));
}

static enum diag_item read_one(const struct datagram *datagram, struct diag_socket *ret_socket)
{
    struct diag_reader reader;

    diag_reader_init(&reader, datagram->bytes, datagram->length);
    return diag_reader_next(&reader, ret_socket);
}

static void assert_pair(const struct diag_socket *socket, const char *shown)
{
    char buffer[PAIR_TEXT_SIZE];
    struct text text;

    text_init(&text, buffer, sizeof(buffer));
    pair_format(&socket->pair, &text);
    text_end(&text);
    assert_string_equal(buffer, shown);
}

static void test_a_connection(void **state)
{
    struct inet_diag_msg message = body(AF_INET, 1, "192.0.2.1", 21, "198.51.100.7", 1500);
    struct tcp_info info = info_of(101, 5000, 1000);
    struct datagram datagram = {.length = 0};
    struct diag_socket socket;

    (void)state;
    begin(&datagram, SOCK_DIAG_BY_FAMILY, NLM_F_MULTI);
    append(&datagram, &message, sizeof(message));
    append_attribute(&datagram, INET_DIAG_SHUTDOWN, "", 1);
    append_attribute(&datagram, INET_DIAG_INFO, &info, sizeof(info));
    append_attribute(&datagram, 999, "what a newer kernel says", 24);
    assert_int_equal(read_one(&datagram, &socket), DIAG_SOCKET);
    assert_pair(&socket, "{192.0.2.1:21, 198.51.100.7:1500}");
    assert_int_equal(socket.family, AF_INET);
    assert_int_equal(socket.state, DIAG_ESTABLISHED);
    assert_int_equal(socket.cookie, UINT64_C(0x0123456789abcdef));
    assert_int_equal(socket.inode, 4711);
    assert_int_equal(socket.uid, 33);
    assert_int_equal(socket.receive_queue, 3);
    assert_int_equal(socket.send_queue, 4096);
    assert_int_equal(socket.interface, 0);
    assert_true(socket.has_bytes);
    assert_int_equal(socket.bytes_received, 101);
    assert_int_equal(socket.bytes_sent, 4000);
    assert_int_equal(socket.bytes_acked, 77);
    assert_int_equal(socket.bytes_unsent, 5);
    assert_int_equal(socket.bytes_resent, 1000);
    assert_int_equal(socket.segments_resent, 3);
    assert_int_equal(socket.rtt_us, 1500);
    assert_int_equal(socket.rtt_variation_us, 700);
}

/* One message and how its pair is to be shown. */
static void test_addresses(void **state)
{
    static const struct {
        int family;
        uint8_t state;
        const char *local;
        const char *foreign;
        uint16_t foreign_port;
        int v6only; /* -1: the kernel does not say */
        int local_family;
        const char *shown;
    } rows[] = {
        {AF_INET, 10, "0.0.0.0", "0.0.0.0", 0, -1, AF_INET, "{*:21, *:*}"},
        {AF_INET, 10, "127.0.0.1", "0.0.0.0", 0, -1, AF_INET, "{127.0.0.1:21, *:*}"},
        {AF_INET6, 10, "::", "::", 0, 0, AF_UNSPEC, "{*:21, *:*}"},
        {AF_INET6, 10, "::", "::", 0, 1, AF_INET6, "{*:21, *:*}"},
        {AF_INET6, 10, "::", "::", 0, -1, AF_UNSPEC, "{*:21, *:*}"},
        {AF_INET6, 10, "2001:db8::1", "::", 0, 0, AF_INET6, "{[2001:db8::1]:21, *:*}"},
        {AF_INET6, 1, "2001:db8::1", "2001:db8::2", 9, -1, AF_INET6, "{[2001:db8::1]:21, [2001:db8::2]:9}"},
        {AF_INET6, 1, "::ffff:192.0.2.1", "::ffff:192.0.2.2", 9, -1, AF_INET, "{192.0.2.1:21, 192.0.2.2:9}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct inet_diag_msg message =
            body(rows[i].family, rows[i].state, rows[i].local, 21, rows[i].foreign, rows[i].foreign_port);
        uint8_t v6only = rows[i].v6only == 1;
        struct datagram datagram = {.length = 0};
        struct diag_socket socket;
        begin(&datagram, SOCK_DIAG_BY_FAMILY, 0);
        append(&datagram, &message, sizeof(message));
        if (rows[i].v6only >= 0)
            append_attribute(&datagram, INET_DIAG_SKV6ONLY, &v6only, 1);
        assert_int_equal(read_one(&datagram, &socket), DIAG_SOCKET);
        assert_pair(&socket, rows[i].shown);
        assert_int_equal(socket.family, rows[i].family);
        assert_int_equal(socket.pair.local.family, rows[i].local_family);
        assert_int_equal(socket.v6only, v6only);
        assert_false(socket.has_bytes);
    }
}

static void test_scope_and_interface(void **state)
{
    struct inet_diag_msg message = body(AF_INET6, 1, "fe80::1", 21, "fe80::2", 1500);
    struct datagram datagram = {.length = 0};
    struct diag_socket socket;

    (void)state;
    message.id.idiag_if = 99999;
    append_socket(&datagram, &message);
    assert_int_equal(read_one(&datagram, &socket), DIAG_SOCKET);
    assert_pair(&socket, "{[fe80::1%99999]:21, [fe80::2%99999]:1500}");
    assert_int_equal(socket.interface, 99999);
}

/* The kernel has one number for what is bound and what is no more. */
static void test_bound_and_closed(void **state)
{
    struct inet_diag_msg message = body(AF_INET, 7, "127.0.0.1", 21, "0.0.0.0", 0);
    struct datagram datagram = {.length = 0};
    struct diag_socket socket;

    (void)state;
    append_socket(&datagram, &message);
    assert_int_equal(read_one(&datagram, &socket), DIAG_SOCKET);
    assert_int_equal(socket.state, DIAG_BOUND);
    message.idiag_inode = 0;
    datagram.length = 0;
    append_socket(&datagram, &message);
    assert_int_equal(read_one(&datagram, &socket), DIAG_SOCKET);
    assert_int_equal(socket.state, DIAG_CLOSED);
}

/* What an older kernel does not count, and counts that cannot be, are unknown; what a newer one adds is passed over. */
static void test_counts_of_other_kernels(void **state)
{
    struct inet_diag_msg message = body(AF_INET, 1, "127.0.0.1", 21, "127.0.0.1", 1500);
    const size_t least = offsetof(struct tcp_info, tcpi_bytes_retrans) + sizeof(uint64_t);
    char longer[sizeof(struct tcp_info) + 64] = {0};

    (void)state;
    for (size_t length = 0; length <= sizeof(longer); length++) {
        struct datagram datagram = {.length = 0};
        struct diag_socket socket;
        begin(&datagram, SOCK_DIAG_BY_FAMILY, 0);
        append(&datagram, &message, sizeof(message));
        append_attribute(&datagram, INET_DIAG_INFO, longer, length);
        assert_int_equal(read_one(&datagram, &socket), DIAG_SOCKET);
        assert_int_equal(socket.has_bytes, length >= least);
    }
    struct tcp_info absurd = info_of(1, 10, 11);
    struct datagram datagram = {.length = 0};
    struct diag_socket socket;
    begin(&datagram, SOCK_DIAG_BY_FAMILY, 0);
    append(&datagram, &message, sizeof(message));
    append_attribute(&datagram, INET_DIAG_INFO, &absurd, sizeof(absurd));
    assert_int_equal(read_one(&datagram, &socket), DIAG_SOCKET);
    assert_false(socket.has_bytes);
}

static void test_a_dump(void **state)
{
    struct inet_diag_msg one = body(AF_INET, 10, "127.0.0.1", 21, "0.0.0.0", 0);
    struct inet_diag_msg two = body(AF_INET6, 10, "::1", 22, "::", 0);
    struct inet_diag_msg unix_socket = {.idiag_family = AF_UNIX};
    struct datagram datagram = {.length = 0};
    struct diag_reader reader;
    struct diag_socket socket;
    int32_t zero = 0;

    (void)state;
    append_socket(&datagram, &one);
    begin(&datagram, NLMSG_NOOP, 0);
    begin(&datagram, SOCK_DIAG_BY_FAMILY, 0);
    append(&datagram, &unix_socket, sizeof(unix_socket));
    begin(&datagram, SOCK_DIAG_BY_FAMILY, 0);
    append(&datagram, "short", 5);
    append_socket(&datagram, &two);
    begin(&datagram, NLMSG_DONE, NLM_F_MULTI);
    append(&datagram, &zero, sizeof(zero));
    diag_reader_init(&reader, datagram.bytes, datagram.length);
    assert_int_equal(diag_reader_next(&reader, &socket), DIAG_SOCKET);
    assert_int_equal(socket.pair.local.port, 21);
    assert_int_equal(diag_reader_next(&reader, &socket), DIAG_SOCKET);
    assert_int_equal(socket.pair.local.port, 22);
    assert_int_equal(diag_reader_next(&reader, &socket), DIAG_END);
    assert_int_equal(diag_reader_next(&reader, &socket), DIAG_NOTHING);
}

static void test_errors(void **state)
{
    static const struct {
        uint16_t type;
        int32_t number;
        enum diag_item item;
        int errnum;
    } rows[] = {
        {NLMSG_ERROR, -ENOENT, DIAG_ERROR, ENOENT}, {NLMSG_DONE, -EINVAL, DIAG_ERROR, EINVAL},
        {NLMSG_ERROR, 0, DIAG_NOTHING, 0},          {NLMSG_DONE, 0, DIAG_END, 0},
        {NLMSG_ERROR, INT32_MIN, DIAG_NOTHING, 0},  {NLMSG_ERROR, 5, DIAG_NOTHING, 0},
        {NLMSG_DONE, INT32_MIN, DIAG_END, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct datagram datagram = {.length = 0};
        struct diag_reader reader;
        struct diag_socket socket;
        begin(&datagram, rows[i].type, 0);
        append(&datagram, &rows[i].number, sizeof(rows[i].number));
        diag_reader_init(&reader, datagram.bytes, datagram.length);
        assert_int_equal(diag_reader_next(&reader, &socket), rows[i].item);
        assert_int_equal(reader.errnum, rows[i].errnum);
    }
}

/* Reads all of `length` bytes from memory that ends where they do, so that a tool sees what is read beyond. */
static size_t count_sockets(const char *bytes, size_t length)
{
    char *copy = malloc(length + 1);
    struct diag_reader reader;
    struct diag_socket socket;
    enum diag_item item;
    size_t count = 0;

    /* malloc() aligns the start; the one byte more is for a length of 0. */
    memcpy(copy, bytes, length);
    diag_reader_init(&reader, copy, length);
    for (size_t turns = 0; (item = diag_reader_next(&reader, &socket)) != DIAG_NOTHING; turns++) {
        assert_in_range(turns, 0, length / NLMSG_HDRLEN);
        count += item == DIAG_SOCKET;
    }
    free(copy);
    return count;
}

static void make_dump(struct datagram *datagram)
{
    struct inet_diag_msg one = body(AF_INET, 10, "127.0.0.1", 21, "0.0.0.0", 0);
    struct inet_diag_msg two = body(AF_INET6, 1, "::1", 22, "::1", 7);
    int32_t zero = 0;

    datagram->length = 0;
    append_socket(datagram, &one);
    append_socket(datagram, &two);
    begin(datagram, NLMSG_DONE, 0);
    append(datagram, &zero, sizeof(zero));
}

static void test_cut_anywhere(void **state)
{
    struct datagram datagram;

    (void)state;
    make_dump(&datagram);
    size_t first = ((struct nlmsghdr *)datagram.bytes)->nlmsg_len;
    for (size_t length = 0; length <= datagram.length; length++)
        assert_int_equal(count_sockets(datagram.bytes, length), (length >= first) + (length >= 2 * first));
}

/* A message that says it is shorter than what follows it: what is behind its end is not taken for a part of it. */
static void test_a_shorter_message(void **state)
{
    struct datagram whole;

    (void)state;
    make_dump(&whole);
    struct nlmsghdr *message = (struct nlmsghdr *)whole.bytes;
    const size_t complete = message->nlmsg_len;
    for (size_t length = NLMSG_HDRLEN; length <= complete; length++) {
        struct diag_reader reader;
        struct diag_socket socket;
        message->nlmsg_len = (uint32_t)length;
        diag_reader_init(&reader, whole.bytes, NLMSG_ALIGN(length));
        enum diag_item item = diag_reader_next(&reader, &socket);
        assert_int_equal(item == DIAG_SOCKET, length >= NLMSG_HDRLEN + sizeof(struct inet_diag_msg));
        if (item == DIAG_SOCKET)
            assert_int_equal(socket.has_bytes, length == complete);
    }
}

static void test_any_bytes(void **state)
{
    struct datagram whole;
    unsigned seed = 21;

    (void)state;
    make_dump(&whole);
    for (int round = 0; round < 100000; round++) {
        struct datagram broken = whole;
        for (int change = rand_r(&seed) % 8; change >= 0; change--) {
            /* The lengths and types are at the start of messages and attributes: hit these often. */
            size_t at = (size_t)rand_r(&seed) % broken.length;
            if (change % 2 == 0)
                at &= ~(size_t)3;
            broken.bytes[at] = (char)rand_r(&seed);
        }
        assert_in_range(count_sockets(broken.bytes, broken.length), 0, 3);
    }
}

static void assert_request(const char *request, size_t length, int type, uint16_t flags, void *ret_body,
                           size_t body_size)
{
    struct nlmsghdr header;

    assert_int_equal(length, NLMSG_HDRLEN + body_size);
    memcpy(&header, request, sizeof(header));
    memcpy(ret_body, request + NLMSG_HDRLEN, body_size);
    assert_int_equal(header.nlmsg_len, length);
    assert_int_equal(header.nlmsg_type, type);
    assert_int_equal(header.nlmsg_flags, NLM_F_REQUEST | flags);
}

static void assert_exact(const char *request, size_t length, struct inet_diag_req_v2 *ret_body)
{
    assert_request(request, length, SOCK_DIAG_BY_FAMILY, 0, ret_body, sizeof(*ret_body));
    assert_int_equal(ret_body->sdiag_protocol, IPPROTO_TCP);
}

static void assert_dump(const char *request, size_t length, struct inet_diag_req *ret_body)
{
    assert_request(request, length, TCPDIAG_GETSOCK, NLM_F_DUMP, ret_body, sizeof(*ret_body));
}

static void test_requests(void **state)
{
    struct pair pair4 = {
        .local = {.family = AF_INET, .port = 21, .bytes = {192, 0, 2, 1}},
        .foreign = {.family = AF_INET, .port = 1500, .bytes = {198, 51, 100, 7}},
    };
    struct pair pair6 = {
        .local = {.family = AF_INET6, .port = 21, .bytes = {0xfe, 0x80, [15] = 1}},
        .foreign = {.family = AF_INET6, .port = 1500, .bytes = {0xfe, 0x80, [15] = 2}},
    };
    char request[DIAG_REQUEST_SIZE];
    struct inet_diag_req_v2 sent;
    struct inet_diag_req dump;

    (void)state;
    assert_dump(request, diag_request_dump(request, DIAG_STATE_BIT(DIAG_LISTEN), 21, 0, true), &dump);
    assert_int_equal(dump.idiag_ext, 1 << (INET_DIAG_INFO - 1));
    assert_dump(request, diag_request_dump(request, DIAG_STATE_BIT(DIAG_LISTEN), 21, 1500, false), &dump);
    assert_int_equal(dump.idiag_ext, 0);
    assert_int_equal(dump.idiag_states, 1 << 10);
    assert_int_equal(ntohs(dump.id.idiag_sport), 21);
    assert_int_equal(ntohs(dump.id.idiag_dport), 1500);
    assert_exact(request, diag_request_exact(request, &pair4, 0, 0), &sent);
    assert_int_equal(sent.idiag_ext, 1 << (INET_DIAG_INFO - 1));
    assert_int_equal(sent.sdiag_family, AF_INET);
    assert_int_equal(ntohs(sent.id.idiag_sport), 21);
    assert_int_equal(ntohs(sent.id.idiag_dport), 1500);
    assert_memory_equal(sent.id.idiag_src, pair4.local.bytes, 16);
    assert_memory_equal(sent.id.idiag_dst, pair4.foreign.bytes, 16);
    assert_int_equal(sent.id.idiag_cookie[0] & sent.id.idiag_cookie[1], INET_DIAG_NOCOOKIE);
    assert_exact(request, diag_request_exact(request, &pair6, 7, UINT64_C(0x0123456789abcdef)), &sent);
    assert_int_equal(sent.sdiag_family, AF_INET6);
    assert_int_equal(sent.id.idiag_if, 7);
    assert_memory_equal(sent.id.idiag_dst, pair6.foreign.bytes, 16);
    assert_int_equal(sent.id.idiag_cookie[0], 0x89abcdef);
    assert_int_equal(sent.id.idiag_cookie[1], 0x01234567);
}

/* The kernel runs the filter, on a socket that takes any bytes. */
static bool passes(const uint16_t *ports, size_t count, uint16_t port)
{
    struct inet_diag_msg message = body(AF_INET, 7, "127.0.0.1", port, "127.0.0.1", 21);
    struct sock_filter filter[DIAG_FILTER_SIZE(DIAG_FILTER_PORTS_MAX)];
    struct sock_fprog program = {.len = (unsigned short)DIAG_FILTER_SIZE(count), .filter = filter};
    struct datagram datagram = {.length = 0};
    char received[sizeof(datagram.bytes)];
    int fds[2];

    append_socket(&datagram, &message);
    diag_port_filter(ports, count, filter);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
    assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)), 0);
    (void)!send(fds[1], datagram.bytes, datagram.length, MSG_DONTWAIT);
    ssize_t length = recv(fds[0], received, sizeof(received), MSG_DONTWAIT);
    if (length >= 0)
        assert_int_equal(length, datagram.length);
    close(fds[0]);
    close(fds[1]);
    return length >= 0;
}

static void test_filter(void **state)
{
    uint16_t ports[DIAG_FILTER_PORTS_MAX];

    (void)state;
    for (size_t i = 0; i < DIAG_FILTER_PORTS_MAX; i++)
        ports[i] = (uint16_t)(65535 - 3 * i);
    for (size_t count = 0; count <= DIAG_FILTER_PORTS_MAX; count += count < 3 ? 1 : 197) {
        for (size_t i = 0; i < DIAG_FILTER_PORTS_MAX; i += i < 3 || i > 195 ? 1 : 50) {
            assert_int_equal(passes(ports, count, ports[i]), i < count);
            assert_false(passes(ports, count, (uint16_t)(ports[i] - 1)));
        }
    }
}

static void test_state_names(void **state)
{
    static const char *const names[] = {"UNKNOWN",      "ESTABLISHED", "SYN-SENT",  "SYN-RECEIVED",
                                        "FIN-WAIT-1",   "FIN-WAIT-2",  "TIME-WAIT", "CLOSED",
                                        "CLOSE-WAIT",   "LAST-ACK",    "LISTEN",    "CLOSING",
                                        "SYN-RECEIVED", "BOUND"};

    (void)state;
    for (uint8_t number = 0; number < 14; number++)
        assert_string_equal(diag_state_name(number), names[number]);
    for (int number = 14; number < 256; number++)
        assert_string_equal(diag_state_name((uint8_t)number), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_connection),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_scope_and_interface),
        cmocka_unit_test(test_bound_and_closed),
        cmocka_unit_test(test_counts_of_other_kernels),
        cmocka_unit_test(test_a_dump),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_a_shorter_message),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_state_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
