/* SPDX-License-Identifier: MIT */
#include "wire/sock_diag.h"

#include "base/check.h"

#include <arpa/inet.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h> /* not netinet/tcp.h: glibc's struct tcp_info ends before the byte counts */
#include <netinet/in.h>
#include <string.h>

const char *diag_state_name(uint8_t state)
{
    static const char *const names[] = {
        [DIAG_ESTABLISHED] = "ESTABLISHED",
        [DIAG_SYN_SENT] = "SYN-SENT",
        [DIAG_SYN_RECEIVED] = "SYN-RECEIVED",
        [DIAG_FIN_WAIT_1] = "FIN-WAIT-1",
        [DIAG_FIN_WAIT_2] = "FIN-WAIT-2",
        [DIAG_TIME_WAIT] = "TIME-WAIT",
        [DIAG_CLOSED] = "CLOSED",
        [DIAG_CLOSE_WAIT] = "CLOSE-WAIT",
        [DIAG_LAST_ACK] = "LAST-ACK",
        [DIAG_LISTEN] = "LISTEN",
        [DIAG_CLOSING] = "CLOSING",
        [DIAG_NEW_SYN_RECEIVED] = "SYN-RECEIVED",
        [DIAG_BOUND] = "BOUND",
    };

    if (state >= sizeof(names) / sizeof(names[0]) || names[state] == NULL)
        return "UNKNOWN";
    return names[state];
}

size_t diag_request_dump(char ret_request[DIAG_REQUEST_SIZE], uint32_t states, uint16_t port,
                         uint16_t foreign_port, bool with_counts)
{
    /* The form of before Linux 3.3, which names no family to leave the others out. */
    struct inet_diag_req request = {
        .idiag_ext = with_counts ? 1 << (INET_DIAG_INFO - 1) : 0,
        .id.idiag_sport = htons(port),
        .id.idiag_dport = htons(foreign_port),
        .id.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE},
        .idiag_states = states,
    };
    struct nlmsghdr header = {
        .nlmsg_len = NLMSG_LENGTH(sizeof(request)),
        .nlmsg_type = TCPDIAG_GETSOCK,
        .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
    };

    memcpy(ret_request, &header, sizeof(header));
    memcpy(ret_request + NLMSG_HDRLEN, &request, sizeof(request));
    return header.nlmsg_len;
}

size_t diag_request_exact(char ret_request[DIAG_REQUEST_SIZE], const struct pair *pair, uint32_t interface,
                          uint64_t cookie)
{
    struct inet_diag_req_v2 request = {
        .sdiag_family = pair->local.family == AF_INET ? AF_INET : AF_INET6,
        .sdiag_protocol = IPPROTO_TCP,
        .idiag_ext = 1 << (INET_DIAG_INFO - 1),
        .idiag_states = DIAG_STATES_ALL,
        .id.idiag_sport = htons(pair->local.port),
        .id.idiag_dport = htons(pair->foreign.port),
        .id.idiag_if = interface,
        .id.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE},
    };
    struct nlmsghdr header = {
        .nlmsg_len = NLMSG_LENGTH(sizeof(request)),
        .nlmsg_type = SOCK_DIAG_BY_FAMILY,
        .nlmsg_flags = NLM_F_REQUEST,
    };
    size_t length = pair->local.family == AF_INET ? 4 : 16;

    memcpy(request.id.idiag_src, pair->local.bytes, length);
    memcpy(request.id.idiag_dst, pair->foreign.bytes, length);
    if (cookie != 0) {
        request.id.idiag_cookie[0] = (uint32_t)cookie;
        request.id.idiag_cookie[1] = (uint32_t)(cookie >> 32);
    }
    memcpy(ret_request, &header, sizeof(header));
    memcpy(ret_request + NLMSG_HDRLEN, &request, sizeof(request));
    return header.nlmsg_len;
}

void diag_port_filter(const uint16_t *ports, size_t count, struct sock_filter *ret_filter)
{
    const uint32_t at = NLMSG_HDRLEN + offsetof(struct inet_diag_msg, id.idiag_sport);

    CHECK(count <= DIAG_FILTER_PORTS_MAX);
    *ret_filter++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_H | BPF_ABS, at);
    for (size_t i = 0; i < count; i++) {
        uint8_t to_pass = (uint8_t)(count - i);
        *ret_filter++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ports[i], to_pass, 0);
    }
    *ret_filter++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
    *ret_filter = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
}

void diag_reader_init(struct diag_reader *reader, const void *bytes, size_t length)
{
    *reader = (struct diag_reader){.at = bytes, .left = length < INT_MAX ? (int)length : INT_MAX};
}

/* One end as the message has it; the address is in the first four bytes where the message is of IPv4. */
static struct address read_end(uint8_t family, const uint32_t bytes[4], uint16_t port, uint32_t interface)
{
    struct sockaddr_storage sa = {0};
    struct address address;

    if (family == AF_INET) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = bytes[0]};
        memcpy(&sa, &in, sizeof(in));
    } else {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = port, .sin6_scope_id = interface};
        memcpy(&in6.sin6_addr, bytes, sizeof(in6.sin6_addr));
        memcpy(&sa, &in6, sizeof(in6));
    }
    address_from_sockaddr((struct sockaddr *)&sa, &address);
    return address;
}

static void read_info(const char *bytes, size_t length, struct diag_socket *socket)
{
    struct tcp_info info = {0};

    if (length < offsetof(struct tcp_info, tcpi_bytes_retrans) + sizeof(info.tcpi_bytes_retrans))
        return;
    memcpy(&info, bytes, length < sizeof(info) ? length : sizeof(info));
    if (info.tcpi_bytes_retrans > info.tcpi_bytes_sent)
        return;
    socket->has_bytes = true;
    socket->bytes_received = info.tcpi_bytes_received;
    socket->bytes_sent = info.tcpi_bytes_sent - info.tcpi_bytes_retrans;
    socket->bytes_acked = info.tcpi_bytes_acked;
    socket->bytes_unsent = info.tcpi_notsent_bytes;
    socket->bytes_resent = info.tcpi_bytes_retrans;
    socket->segments_resent = info.tcpi_total_retrans;
    socket->rtt_us = info.tcpi_rtt;
    socket->rtt_variation_us = info.tcpi_rttvar;
}

static void read_attributes(const struct nlmsghdr *message, struct diag_socket *socket)
{
    const char *at = (const char *)message + NLMSG_SPACE(sizeof(struct inet_diag_msg));
    const char *end = (const char *)message + message->nlmsg_len;
    struct nlattr attribute;

    while (end - at >= NLA_HDRLEN) {
        memcpy(&attribute, at, sizeof(attribute));
        if (attribute.nla_len < NLA_HDRLEN || attribute.nla_len > end - at)
            return;
        size_t length = attribute.nla_len - (size_t)NLA_HDRLEN;
        if (attribute.nla_type == INET_DIAG_INFO)
            read_info(at + NLA_HDRLEN, length, socket);
        else if (attribute.nla_type == INET_DIAG_SKV6ONLY && length >= 1)
            socket->v6only = at[NLA_HDRLEN] != 0;
        if (NLA_ALIGN(attribute.nla_len) >= end - at)
            return;
        at += NLA_ALIGN(attribute.nla_len);
    }
}

static bool read_socket(const struct nlmsghdr *message, struct diag_socket *ret_socket)
{
    struct inet_diag_msg body;

    if (message->nlmsg_len < NLMSG_LENGTH(sizeof(body)))
        return false;
    memcpy(&body, NLMSG_DATA(message), sizeof(body));
    if (body.idiag_family != AF_INET && body.idiag_family != AF_INET6)
        return false;
    const struct inet_diag_sockid *id = &body.id;
    *ret_socket = (struct diag_socket){
        .pair.local = read_end(body.idiag_family, id->idiag_src, id->idiag_sport, id->idiag_if),
        .pair.foreign = read_end(body.idiag_family, id->idiag_dst, id->idiag_dport, id->idiag_if),
        .family = body.idiag_family,
        .state = body.idiag_state,
        .cookie = id->idiag_cookie[0] | (uint64_t)id->idiag_cookie[1] << 32,
        .inode = body.idiag_inode,
        .uid = body.idiag_uid,
        .interface = id->idiag_if,
        .receive_queue = body.idiag_rqueue,
        .send_queue = body.idiag_wqueue,
    };
    read_attributes(message, ret_socket);
    struct pair *pair = &ret_socket->pair;
    if (pair->local.family == AF_INET6 && address_is_wildcard(&pair->local) && !ret_socket->v6only)
        pair->local.family = AF_UNSPEC;
    if (address_is_wildcard(&pair->foreign) && pair->foreign.port == 0)
        pair->foreign.family = AF_UNSPEC;
    /* The kernel calls one that is only bound closed; one that is destroyed has no inode any more. */
    if (ret_socket->state == DIAG_CLOSED && ret_socket->inode != 0)
        ret_socket->state = DIAG_BOUND;
    return true;
}

/* The end of a dump and an error both carry an errno, negative, or 0. */
static int read_errnum(const struct nlmsghdr *message)
{
    int32_t number;

    if (message->nlmsg_len < NLMSG_LENGTH(sizeof(number)))
        return 0;
    memcpy(&number, NLMSG_DATA(message), sizeof(number));
    return number < 0 && number > -4096 ? -number : 0;
}

enum diag_item diag_reader_next(struct diag_reader *reader, struct diag_socket *ret_socket)
{
    while (reader->left > 0) {
        const struct nlmsghdr *message = reader->at;
        if (!NLMSG_OK(message, (uint32_t)reader->left))
            break;
        int step = (int)NLMSG_ALIGN(message->nlmsg_len);
        reader->at = (const char *)reader->at + step;
        reader->left -= step;
        /* Each form of request is answered under its own number. */
        if ((message->nlmsg_type == SOCK_DIAG_BY_FAMILY || message->nlmsg_type == TCPDIAG_GETSOCK) &&
            read_socket(message, ret_socket))
            return DIAG_SOCKET;
        if (message->nlmsg_type != NLMSG_DONE && message->nlmsg_type != NLMSG_ERROR)
            continue;
        reader->errnum = read_errnum(message);
        if (reader->errnum != 0)
            return DIAG_ERROR;
        if (message->nlmsg_type == NLMSG_DONE)
            return DIAG_END;
    }
    return DIAG_NOTHING;
}
