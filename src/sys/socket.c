/* SPDX-License-Identifier: MIT */
#include "sys/socket.h"

#include "sys/child.h"
#include "sys/fd.h"

#include <linux/tcp.h> /* not netinet/tcp.h: glibc's struct tcp_info ends before the byte counts */
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value));
}

int socket_listen(const struct socket_listen *how, enum socket_step *ret_step)
{
    *ret_step = SOCKET_STEP_SOCKET;
    FD_AUTO fd = socket(how->sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return -1;
    *ret_step = SOCKET_STEP_OPTION;
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0)
        return -1;
    if (how->sa->sa_family == AF_INET6 && set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, how->v6only) < 0)
        return -1;
    *ret_step = SOCKET_STEP_DEVICE;
    if (how->device[0] != '\0' &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, how->device, (socklen_t)strlen(how->device)) < 0)
        return -1;
    *ret_step = SOCKET_STEP_BIND;
    if (bind(fd, how->sa, how->sa_length) < 0)
        return -1;
    *ret_step = SOCKET_STEP_LISTEN;
    if (listen(fd, how->backlog) < 0)
        return -1;
    return fd_take(&fd);
}

int socket_local(int fd, struct sockaddr_storage *ret_sa)
{
    socklen_t length = sizeof(*ret_sa);

    if (getsockname(fd, (struct sockaddr *)ret_sa, &length) < 0)
        return -1;
    return (int)length;
}

uint64_t socket_cookie(int fd)
{
    uint64_t cookie = 0;
    socklen_t length = sizeof(cookie);

    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) < 0)
        return 0;
    return cookie;
}

/* Of enum tcp_state in netinet/tcp.h. */
enum { STATE_FIN_WAIT_1 = 4, STATE_CLOSE = 7, STATE_CLOSE_WAIT = 8, STATE_LAST_ACK = 9, STATE_CLOSING = 11 };

static bool is_in(const struct tcp_info *info, unsigned states)
{
    return (1U << info->tcpi_state & states) != 0;
}

/* The peer's FIN is counted as a byte received, whether it was read or not. */
static int64_t bytes_read(const struct tcp_info *info, int waiting)
{
    bool fin_came = is_in(info, 1U << STATE_CLOSE_WAIT | 1U << STATE_LAST_ACK | 1U << STATE_CLOSING);
    /* TCP is done with the connection: by a reset, or by both ends' FIN, and then ours was acknowledged. */
    bool both_came = is_in(info, 1U << STATE_CLOSE) && info->tcpi_bytes_acked > info->tcpi_bytes_sent;

    return (int64_t)info->tcpi_bytes_received - (fin_came || both_came) - waiting;
}

/* Ours is counted as a byte not sent yet, if it is not, and stands behind all that was written. */
static int64_t bytes_written(const struct tcp_info *info)
{
    bool fin_waits = is_in(info, 1U << STATE_FIN_WAIT_1 | 1U << STATE_LAST_ACK | 1U << STATE_CLOSING);

    return (int64_t)(info->tcpi_bytes_sent - info->tcpi_bytes_retrans) + info->tcpi_notsent_bytes -
           (fin_waits && info->tcpi_notsent_bytes > 0);
}

struct socket_bytes socket_bytes(int fd)
{
    struct socket_bytes unknown = {.in = -1, .out = -1};
    struct tcp_info info;
    socklen_t length = sizeof(info);
    int waiting = 0;

    /* A handler's process asks, as its last act. */
    if (child_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0 ||
        child_ioctl(fd, FIONREAD, &waiting) < 0)
        return unknown;
    if (length < offsetof(struct tcp_info, tcpi_bytes_retrans) + sizeof(info.tcpi_bytes_retrans))
        return unknown;
    return (struct socket_bytes){
        .in = bytes_read(&info, waiting),
        .out = bytes_written(&info),
    };
}

int socket_bind(int fd, const struct sockaddr *sa, socklen_t sa_length)
{
    return bind(fd, sa, sa_length);
}

int socket_reset_at_close(int fd)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

void socket_dismiss(int take_fd, const char *text, size_t length)
{
    char discarded[4096];

    if (length > 0)
        send(take_fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(take_fd, SHUT_WR);
    /* Closing with bytes unread makes TCP send a reset, which may reach the client before the text does. */
    for (int i = 0; i < 16 && recv(take_fd, discarded, sizeof(discarded), MSG_DONTWAIT) > 0; i++)
        ;
    fd_close(take_fd);
}
