/* SPDX-License-Identifier: MIT */
#include "sys/netlink.h"

#include "sys/fd.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <sys/socket.h>

int netlink_open(void)
{
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
}

int netlink_open_announced(uint32_t groups, const struct sock_filter *filter, size_t count, int buffer_bytes)
{
    struct sock_fprog program = {.len = (unsigned short)count, .filter = (struct sock_filter *)filter};
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};

    FD_AUTO fd = netlink_open();
    if (fd < 0)
        return -1;
    if (count != 0 && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
        return -1;
    /* More than net.core.rmem_max takes CAP_NET_ADMIN; without it as much as there may be has to do. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof(buffer_bytes)) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(buffer_bytes));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -1;
    return fd_take(&fd);
}

int netlink_send(int fd, const void *request, size_t length)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

    return sendto(fd, request, length, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0 ? -1 : 0;
}

ssize_t netlink_receive(int fd, void *buffer, size_t size)
{
    struct sockaddr_nl sender;
    ssize_t length;

    do {
        socklen_t sender_length = sizeof(sender);
        length = recvfrom(fd, buffer, size, MSG_TRUNC, (struct sockaddr *)&sender, &sender_length);
        if (length < 0)
            return -1;
    } while (sender.nl_pid != 0);
    if ((size_t)length > size) {
        errno = EMSGSIZE;
        return -1;
    }
    return length;
}
