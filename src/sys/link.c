/* SPDX-License-Identifier: MIT */
#include "sys/link.h"

#include "base/check.h"
#include "sys/fd.h"
#include "sys/loop.h"
#include "sys/netlink.h"
#include "sys/ready.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

/* IFLA_OPERSTATE of a device that carries; linux/if.h and net/if.h do not go together. */
#define OPERSTATE_UP 6

struct message {
    _Alignas(struct nlmsghdr) char bytes[512];
};

static struct nlmsghdr *header_of(struct message *message)
{
    return (struct nlmsghdr *)message->bytes;
}

/* Appends so many bytes, aligned, and returns where they are. */
static void *put(struct message *message, const void *bytes, size_t length)
{
    struct nlmsghdr *header = header_of(message);
    char *at = message->bytes + NLMSG_ALIGN(header->nlmsg_len);

    CHECK(NLMSG_ALIGN(header->nlmsg_len) + length <= sizeof(message->bytes));
    if (length > 0)
        memcpy(at, bytes, length);
    header->nlmsg_len = (uint32_t)(NLMSG_ALIGN(header->nlmsg_len) + length);
    return at;
}

static void begin(struct message *message, uint16_t type, uint16_t flags, const void *family, size_t length)
{
    memset(message, 0, sizeof(*message));
    header_of(message)->nlmsg_len = NLMSG_HDRLEN;
    header_of(message)->nlmsg_type = type;
    header_of(message)->nlmsg_flags = NLM_F_REQUEST | flags;
    put(message, family, length);
}

static struct rtattr *put_attribute(struct message *message, uint16_t type, const void *value, size_t length)
{
    struct rtattr head = {.rta_type = type, .rta_len = (uint16_t)RTA_LENGTH(length)};
    struct rtattr *attribute = put(message, &head, sizeof(head));

    put(message, value, length);
    return attribute;
}

static struct rtattr *begin_nest(struct message *message, uint16_t type)
{
    return put_attribute(message, type, NULL, 0);
}

static void end_nest(struct message *message, struct rtattr *nest)
{
    nest->rta_len = (uint16_t)(message->bytes + header_of(message)->nlmsg_len - (char *)nest);
}

static void put_name(struct message *message, const char *device)
{
    put_attribute(message, IFLA_IFNAME, device, strlen(device) + 1);
}

static int open_groups(uint32_t groups)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};

    FD_AUTO fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -1;
    return fd_take(&fd);
}

int link_open(void)
{
    return open_groups(0);
}

/* Nothing but the acknowledgement is sent to a socket without groups that asks for nothing else. */
static int request(int fd, struct message *message)
{
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[sizeof(struct message)];
    } answer;

    if (netlink_send(fd, message->bytes, header_of(message)->nlmsg_len) < 0)
        return -1;
    ssize_t length = recv(fd, &answer, sizeof(answer), 0);
    if (length < 0)
        return -1;
    if ((size_t)length < sizeof(answer.header) + sizeof(answer.error) ||
        answer.header.nlmsg_type != NLMSG_ERROR) {
        errno = EPROTO;
        return -1;
    }
    errno = -answer.error.error;
    return answer.error.error == 0 ? 0 : -1;
}

int link_wire(int fd, const char *device, int peer_namespace)
{
    struct ifinfomsg any = {.ifi_family = AF_UNSPEC};
    struct message message;

    begin(&message, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &any, sizeof(any));
    put_name(&message, device);
    struct rtattr *info = begin_nest(&message, IFLA_LINKINFO);
    put_attribute(&message, IFLA_INFO_KIND, "veth", sizeof("veth"));
    struct rtattr *data = begin_nest(&message, IFLA_INFO_DATA);
    struct rtattr *peer = begin_nest(&message, VETH_INFO_PEER);
    put(&message, &any, sizeof(any));
    put_name(&message, device);
    put_attribute(&message, IFLA_NET_NS_FD, &peer_namespace, sizeof(peer_namespace));
    end_nest(&message, peer);
    end_nest(&message, data);
    end_nest(&message, info);
    return request(fd, &message);
}

int link_address(int fd, const char *device, const uint8_t local[4], const uint8_t peer[4])
{
    struct ifaddrmsg address = {
        .ifa_family = AF_INET,
        .ifa_prefixlen = 32,
        .ifa_index = if_nametoindex(device),
    };
    struct message message;

    if (address.ifa_index == 0)
        return -1;
    begin(&message, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &address, sizeof(address));
    put_attribute(&message, IFA_LOCAL, local, 4);
    put_attribute(&message, IFA_ADDRESS, peer, 4);
    return request(fd, &message);
}

int link_up(int fd, const char *device)
{
    struct ifinfomsg up = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct message message;

    up.ifi_index = (int)if_nametoindex(device);
    if (up.ifi_index == 0)
        return -1;
    begin(&message, RTM_NEWLINK, NLM_F_ACK, &up, sizeof(up));
    return request(fd, &message);
}

/* Does the message say of the device that it carries? */
static bool says_up(const struct nlmsghdr *header, int index)
{
    const struct ifinfomsg *info = NLMSG_DATA(header);

    if (header->nlmsg_type != RTM_NEWLINK || header->nlmsg_len < NLMSG_LENGTH(sizeof(*info)) ||
        info->ifi_index != index)
        return false;
    size_t left = IFLA_PAYLOAD(header);
    for (const struct rtattr *at = IFLA_RTA(info); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
        if (at->rta_type == IFLA_OPERSTATE)
            return *(const uint8_t *)RTA_DATA(at) == OPERSTATE_UP;
    }
    return false;
}

/* An answer and an announcement are a datagram with a message each. */
static int read_state(int fd, int index)
{
    _Alignas(struct nlmsghdr) char bytes[8192];
    const struct nlmsghdr *header = (const struct nlmsghdr *)bytes;
    ssize_t received = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (received < 0)
        return -1;
    return (size_t)received >= sizeof(*header) && header->nlmsg_len <= (size_t)received &&
           says_up(header, index);
}

/* The answer to the question looks as the announcements of changes do, so both are read alike, in any order. */
int link_wait(const char *device, int64_t timeout_ns)
{
    struct ifinfomsg asked = {.ifi_family = AF_UNSPEC, .ifi_index = (int)if_nametoindex(device)};
    int64_t end_ns = clock_monotonic_ns() + timeout_ns;
    struct message message;
    int up = 0;

    FD_AUTO fd = open_groups(RTMGRP_LINK);
    if (fd < 0 || asked.ifi_index == 0)
        return -1;
    begin(&message, RTM_GETLINK, 0, &asked, sizeof(asked));
    if (netlink_send(fd, message.bytes, header_of(&message)->nlmsg_len) < 0)
        return -1;
    while (up == 0) {
        struct pollfd waited = {.fd = fd, .events = POLLIN};
        int64_t left_ns = end_ns - clock_monotonic_ns();
        if (left_ns <= 0) {
            errno = ETIME;
            return -1;
        }
        if (ready_wait(&waited, 1, left_ns) > 0)
            up = read_state(fd, asked.ifi_index);
    }
    return up < 0 ? -1 : 0;
}
