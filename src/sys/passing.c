/* SPDX-License-Identifier: MIT */
#include "sys/passing.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define ROOM CMSG_SPACE(PASSING_FDS_MAX * sizeof(int))

static int open_pair(int type, int *ret_one, int *ret_other)
{
    int fds[2];

    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0)
        return -1;
    *ret_one = fds[0];
    *ret_other = fds[1];
    return 0;
}

int passing_open(int *ret_sender, int *ret_receiver)
{
    return open_pair(SOCK_SEQPACKET, ret_sender, ret_receiver);
}

int passing_open_stream(int *ret_one, int *ret_other)
{
    return open_pair(SOCK_STREAM, ret_one, ret_other);
}

int passing_send(int fd, const void *bytes, size_t length, const int *fds, size_t count)
{
    union {
        struct cmsghdr header;
        char room[ROOM];
    } control;
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = length};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = CMSG_SPACE(count * sizeof(int)),
    };
    ssize_t sent;

    control.header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET,
        .cmsg_type = SCM_RIGHTS,
        .cmsg_len = CMSG_LEN(count * sizeof(int)),
    };
    memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
    do
        sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

static void take_descriptors(struct msghdr *message, int *ret_fds)
{
    for (size_t i = 0; i < PASSING_FDS_MAX; i++)
        ret_fds[i] = -1;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at != NULL; at = CMSG_NXTHDR(message, at)) {
        if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_RIGHTS)
            memcpy(ret_fds, CMSG_DATA(at), at->cmsg_len - CMSG_LEN(0));
    }
}

static void forget_message(int fd)
{
    char byte;

    while (recv(fd, &byte, 0, MSG_DONTWAIT | MSG_TRUNC) < 0 && errno == EINTR)
        ;
}

ssize_t passing_receive(int fd, void *bytes, size_t size, int *ret_fds)
{
    union {
        struct cmsghdr header;
        char room[ROOM];
    } control;
    struct iovec part = {.iov_base = bytes, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t got;

    do
        got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_PEEK);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -1;
    take_descriptors(&message, ret_fds);
    /* The kernel would close what finds no place here. */
    if (ret_fds[0] < 0 && (message.msg_flags & MSG_CTRUNC) != 0) {
        errno = EMFILE;
        return -1;
    }
    forget_message(fd);
    return got;
}

bool passing_is_received(int sender)
{
    int unread = 0;

    return ioctl(sender, SIOCOUTQ, &unread) == 0 && unread == 0;
}
