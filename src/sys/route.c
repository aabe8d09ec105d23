/* SPDX-License-Identifier: MIT */
#include "sys/route.h"

#include "sys/fd.h"
#include "sys/netlink.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Of devices that are each other's ports: as deep as the kernel lets them be. */
#define DEPTH_MAX 8

struct question {
    struct nlmsghdr header;
    struct rtmsg route;
    char attributes[64];
};

static void put(struct question *question, uint16_t type, const void *bytes, size_t length)
{
    size_t at = NLMSG_ALIGN(question->header.nlmsg_len) - offsetof(struct question, attributes);
    struct rtattr attribute = {.rta_len = (uint16_t)RTA_LENGTH(length), .rta_type = type};

    memcpy(question->attributes + at, &attribute, sizeof(attribute));
    memcpy(question->attributes + at + RTA_LENGTH(0), bytes, length);
    question->header.nlmsg_len =
        NLMSG_ALIGN(question->header.nlmsg_len) + (uint32_t)RTA_ALIGN(RTA_LENGTH(length));
}

/* An address that is not reached gives an error, whose number depends on the kind of the route that says so. */
static bool is_unreachable(int errnum)
{
    return errnum == ENETUNREACH || errnum == EHOSTUNREACH || errnum == EACCES || errnum == EINVAL;
}

static int read_route(const char *bytes, size_t length, struct route *ret_route)
{
    const struct nlmsghdr *header = (const struct nlmsghdr *)(const void *)bytes;
    struct route found = {.local = false};

    if (!NLMSG_OK(header, length)) {
        errno = EPROTO;
        return -1;
    }
    if (header->nlmsg_type == NLMSG_ERROR) {
        const struct nlmsgerr *error = NLMSG_DATA(header);
        errno = header->nlmsg_len >= NLMSG_LENGTH(sizeof(*error)) ? -error->error : EPROTO;
        *ret_route = found;
        return is_unreachable(errno) ? 0 : -1;
    }
    const struct rtmsg *route = NLMSG_DATA(header);
    if (header->nlmsg_type != RTM_NEWROUTE || header->nlmsg_len < NLMSG_LENGTH(sizeof(*route))) {
        errno = EPROTO;
        return -1;
    }
    found.local = route->rtm_type == RTN_LOCAL;
    found.broadcast = route->rtm_type == RTN_BROADCAST;
    found.reachable = true;
    size_t left = RTM_PAYLOAD(header);
    for (const struct rtattr *at = RTM_RTA(route); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
        if (at->rta_type == RTA_OIF && RTA_PAYLOAD(at) >= sizeof(found.interface))
            memcpy(&found.interface, RTA_DATA(at), sizeof(found.interface));
    }
    *ret_route = found;
    return 0;
}

/* `from` is the address to be sent from, or NULL. */
static int ask(int fd, int family, const uint8_t *bytes, const uint8_t *from, uint32_t interface,
               unsigned flags, struct route *ret_route)
{
    _Alignas(struct nlmsghdr) char answer[4096];
    size_t length = family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
    struct question question = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
                   .nlmsg_type = RTM_GETROUTE,
                   .nlmsg_flags = NLM_F_REQUEST},
        .route = {.rtm_family = (uint8_t)family, .rtm_dst_len = (uint8_t)(8 * length), .rtm_flags = flags},
    };

    put(&question, RTA_DST, bytes, length);
    if (from != NULL)
        put(&question, RTA_SRC, from, length);
    if (interface != 0)
        put(&question, RTA_OIF, &interface, sizeof(interface));
    if (netlink_send(fd, &question, question.header.nlmsg_len) < 0)
        return -1;
    ssize_t got = recv(fd, answer, sizeof(answer), 0);
    return got < 0 ? -1 : read_route(answer, (size_t)got, ret_route);
}

int route_find(int family, const uint8_t *bytes, uint32_t scope, struct route *ret_route)
{
    struct route entry;
    struct route found;

    FD_AUTO fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || ask(fd, family, bytes, NULL, scope, 0, &found) < 0)
        return -1;
    found.through = found.interface;
    /* Of a local address only the entry of the table itself names the interface that owns it: else it is lo. */
    if (found.local) {
        if (ask(fd, family, bytes, NULL, scope, RTM_F_FIB_MATCH, &entry) < 0)
            return -1;
        if (entry.local && entry.interface != 0)
            found.interface = entry.interface;
    }
    *ret_route = found;
    return 0;
}

int route_find_from(int family, const uint8_t *bytes, const uint8_t *from, uint32_t interface,
                    struct route *ret_route)
{
    FD_AUTO fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || ask(fd, family, bytes, from, interface, 0, ret_route) < 0)
        return -1;
    /* IPv6 heeds the interface here as it does for a bound socket where no address is named to be sent from. */
    if (family == AF_INET6 && interface != 0 && (ret_route->local || ret_route->interface != interface) &&
        ask(fd, family, bytes, NULL, interface, 0, ret_route) < 0)
        return -1;
    ret_route->through = ret_route->interface;
    return 0;
}

/* Other devices that have ports, as VRFs, leave it to be seen by which one it came. */
static bool takes_for_its_own(const char *kind, size_t length)
{
    static const char *const KINDS[] = {"bridge", "bond", "team"};

    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
        if (strnlen(kind, length) == strlen(KINDS[i]) && memcmp(kind, KINDS[i], strlen(KINDS[i])) == 0)
            return true;
    }
    return false;
}

static bool is_port(const struct rtattr *info)
{
    size_t left = RTA_PAYLOAD(info);

    for (const struct rtattr *at = RTA_DATA(info); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
        if (at->rta_type == IFLA_INFO_SLAVE_KIND)
            return takes_for_its_own(RTA_DATA(at), RTA_PAYLOAD(at));
    }
    return false;
}

/* What it is a port of; 0: of nothing. */
static int read_master(const char *bytes, size_t length, uint32_t *ret_master)
{
    const struct nlmsghdr *header = (const struct nlmsghdr *)(const void *)bytes;
    const struct ifinfomsg *link = NLMSG_DATA(header);
    uint32_t master = 0;
    bool port = false;

    if (!NLMSG_OK(header, length) || header->nlmsg_type != RTM_NEWLINK ||
        header->nlmsg_len < NLMSG_LENGTH(sizeof(*link))) {
        errno = EPROTO;
        return -1;
    }
    size_t left = IFLA_PAYLOAD(header);
    for (const struct rtattr *at = IFLA_RTA(link); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
        if (at->rta_type == IFLA_MASTER && RTA_PAYLOAD(at) >= sizeof(master))
            memcpy(&master, RTA_DATA(at), sizeof(master));
        else if (at->rta_type == IFLA_LINKINFO)
            port = is_port(at);
    }
    *ret_master = port ? master : 0;
    return 0;
}

static int ask_master(int fd, uint32_t interface, uint32_t *ret_master)
{
    _Alignas(struct nlmsghdr) char answer[8192];
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
    } asked = {
        .header = {.nlmsg_len = sizeof(asked), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST},
        .link = {.ifi_family = AF_UNSPEC, .ifi_index = (int)interface},
    };

    if (netlink_send(fd, &asked, sizeof(asked)) < 0)
        return -1;
    ssize_t got = recv(fd, answer, sizeof(answer), 0);
    return got < 0 ? -1 : read_master(answer, (size_t)got, ret_master);
}

uint32_t route_way_in(uint32_t interface)
{
    uint32_t master;

    FD_AUTO fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
        if (fd < 0 || ask_master(fd, interface, &master) < 0 || master == 0)
            break;
        interface = master;
    }
    return interface;
}

int route_interfaces(struct route_interface **ret_items, size_t *ret_count)
{
    struct ifaddrs *all;
    size_t count = 0;

    if (getifaddrs(&all) < 0)
        return -1;
    for (const struct ifaddrs *at = all; at != NULL; at = at->ifa_next)
        count++;
    struct route_interface *items = calloc(count + 1, sizeof(*items));
    count = 0;
    for (const struct ifaddrs *at = all; at != NULL && items != NULL; at = at->ifa_next) {
        /* Each interface stands in the list once with its address of the link, whatever else it has. */
        if (at->ifa_addr == NULL || at->ifa_addr->sa_family != AF_PACKET)
            continue;
        struct route_interface *item = &items[count];
        item->number = if_nametoindex(at->ifa_name);
        item->up = (at->ifa_flags & IFF_UP) != 0;
        item->loopback = (at->ifa_flags & IFF_LOOPBACK) != 0;
        strncpy(item->name, at->ifa_name, sizeof(item->name) - 1);
        count += item->number != 0;
    }
    freeifaddrs(all);
    if (items == NULL) {
        errno = ENOMEM;
        return -1;
    }
    *ret_items = items;
    *ret_count = count;
    return 0;
}
