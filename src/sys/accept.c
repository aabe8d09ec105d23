/* SPDX-License-Identifier: MIT */
#include "sys/accept.h"

#include "sys/child.h"

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

    /* Most calls find that all have been taken. To write that to errno would be to have its page copied after each fork(2). */
    long result =
        child_call(__NR_accept4, listening_fd, (long)&ret_accepted->foreign, (long)&length, SOCK_CLOEXEC);
    if (result >= 0) {
        ret_accepted->fd = (int)result;
        return ACCEPT_CONNECTION;
    }
    ret_accepted->fd = -1;
    ret_accepted->errnum = (int)-result;
    return accept_class(ret_accepted->errnum);
}
