/* SPDX-License-Identifier: MIT
 *
 * sys/socket.h - TCP sockets of a server: made, named, measured.
 *
 * Every socket is close-on-exec from its first moment. Calls return -1 with errno set and leave nothing open; nothing
 * in here retries, logs or decides. Addresses pass as sockaddr; the room addr knows what they mean.
 */
#ifndef SYS_SOCKET_H
#define SYS_SOCKET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* What a listening socket shall be. */
struct socket_listen {
    const struct sockaddr *sa;
    socklen_t sa_length;
    bool v6only;        /* of an AF_INET6 socket: not IPv4 as well */
    const char *device; /* SO_BINDTODEVICE, or "" */
    int backlog;
};

/* The call that failed, for the message. */
enum socket_step {
    SOCKET_STEP_SOCKET,
    SOCKET_STEP_OPTION,
    SOCKET_STEP_DEVICE,
    SOCKET_STEP_BIND,
    SOCKET_STEP_LISTEN
};

/* A non-blocking listening socket with SO_REUSEADDR; *ret_step tells what failed. */
int socket_listen(const struct socket_listen *how, enum socket_step *ret_step);
/* The address at this end; length of *ret_sa or -1. */
int socket_local(int fd, struct sockaddr_storage *ret_sa);
/* SO_COOKIE: the kernel's own identity of the socket; 0 where it gives none. */
uint64_t socket_cookie(int fd);

/* Bytes of the stream that this end has read and written so far (TCP_INFO), -1 where unknown. */
struct socket_bytes {
    int64_t in;
    int64_t out;
};
struct socket_bytes socket_bytes(int fd);

/* bind(2), for what it says to a socket that is bound already. */
int socket_bind(int fd, const struct sockaddr *sa, socklen_t sa_length);
/* Its close, and that of what it accepts, resets the connection and leaves no TIME-WAIT. */
int socket_reset_at_close(int fd);

/* Sends what can be sent at once, ends the stream, takes in what has come, and closes take_fd. */
void socket_dismiss(int take_fd, const char *text, size_t length);

#endif
