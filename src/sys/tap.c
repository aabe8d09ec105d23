/* SPDX-License-Identifier: MIT */
#include "sys/tap.h"

#include "sys/fd.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

int tap_open(const char *device)
{
    /* One of a protocol alone is not shown what goes out. */
    struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};

    where.sll_ifindex = (int)if_nametoindex(device);
    if (where.sll_ifindex == 0)
        return -1;
    /* Without a protocol nothing comes in before it is bound to the device. */
    FD_AUTO fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&where, sizeof(where)) < 0)
        return -1;
    return fd_take(&fd);
}

ssize_t tap_read(int fd, void *buffer, size_t size, bool *ret_outgoing)
{
    struct sockaddr_ll from;
    socklen_t from_length = sizeof(from);
    ssize_t length;

    do {
        length = recvfrom(fd, buffer, size, 0, (struct sockaddr *)&from, &from_length);
    } while (length >= 0 && from.sll_protocol != htons(ETH_P_IP));
    if (length >= 0)
        *ret_outgoing = from.sll_pkttype == PACKET_OUTGOING;
    return length;
}
