/* SPDX-License-Identifier: MIT */
#include "sys/accept.h"

#include <errno.h>

enum accept_class accept_class(int errnum)
{
    switch (errnum) {
    case EAGAIN:
        return ACCEPT_DRAINED;
    case EINTR:
    case ECONNABORTED:
    /* accept(2), "Error handling": Linux passes pending errors of the new socket, to be treated like EAGAIN. */
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case ETIMEDOUT:
    case ECONNRESET:
    /* A firewall or a security module refused this one. */
    case EPERM:
    case EACCES:
        return ACCEPT_RETRY;
    case EBADF:
    case ENOTSOCK:
    case EINVAL:
    case EFAULT:
        return ACCEPT_DEAD;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case ENOSR:
    default:
        return ACCEPT_PAUSE;
    }
}

enum accept_class accept_connection(int listening_fd, struct accepted *ret_accepted)
{
    socklen_t length = sizeof(ret_accepted->foreign);

    ret_accepted->fd =
        accept4(listening_fd, (struct sockaddr *)&ret_accepted->foreign, &length, SOCK_CLOEXEC);
    if (ret_accepted->fd >= 0)
        return ACCEPT_CONNECTION;
    ret_accepted->errnum = errno;
    return accept_class(errno);
}
