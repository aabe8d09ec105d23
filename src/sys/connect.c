/* SPDX-License-Identifier: MIT */
#include "sys/connect.h"

#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

static int set_option(int fd, int level, int name)
{
    static const int on = 1;

    return setsockopt(fd, level, name, &on, sizeof(on));
}

/* The option that lets a port be used again is only for one that was asked for: it may still be in TIME_WAIT, or be
 * tried for several addresses at once. A free one is left to connect(2), which may share it between destinations. */
static int set_options(int fd, const struct connect_socket *how)
{
    if (how->from == NULL)
        return 0;
    if (!how->from_free_port)
        return set_option(fd, SOL_SOCKET, SO_REUSEADDR);
    return set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
}

int connect_socket_begin(const struct connect_socket *how, enum connect_step *ret_step)
{
    *ret_step = CONNECT_STEP_SOCKET;
    FD_AUTO fd = socket(how->to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return -1;
    *ret_step = CONNECT_STEP_OPTION;
    if (set_options(fd, how) < 0)
        return -1;
    *ret_step = CONNECT_STEP_DEVICE;
    if (how->device[0] != '\0' &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, how->device, (socklen_t)strlen(how->device)) < 0)
        return -1;
    *ret_step = CONNECT_STEP_BIND;
    if (how->from != NULL && bind(fd, how->from, how->from_length) < 0)
        return -1;
    *ret_step = CONNECT_STEP_CONNECT;
    /* Interrupted, it goes on by itself like one that is in progress. */
    if (connect(fd, how->to, how->to_length) < 0 && errno != EINPROGRESS && errno != EINTR)
        return -1;
    return fd_take(&fd);
}

int connect_socket_result(int fd)
{
    int result = 0;
    socklen_t length = sizeof(result);

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &result, &length) < 0 ? errno : result;
}

int connect_socket_give(int take_fd)
{
    static const int given[] = {0, 1, 6, 7};

    /* Moved above them all: dup2(2) onto itself would leave close-on-exec set. */
    int above = fcntl(take_fd, F_DUPFD_CLOEXEC, 8);
    /* So the kernel calls a number that is not below the limit. */
    if (above < 0 && errno == EINVAL)
        errno = EMFILE;
    fd_close(take_fd);
    FD_AUTO fd = above;
    if (fd < 0 || fcntl(fd, F_SETFL, 0) < 0)
        return -1;
    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
        if (dup2(fd, given[i]) < 0)
            return -1;
    }
    return 0;
}
