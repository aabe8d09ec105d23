/* SPDX-License-Identifier: MIT
 *
 * sys/connect.h - TCP sockets of a client: connected without waiting, given to a program.
 *
 * A socket is close-on-exec and non-blocking until connect_socket_give() hands it to a program. Calls return -1 with
 * errno set and leave nothing open; nothing in here waits, retries, logs or decides. Addresses pass as sockaddr; the
 * room addr knows what they mean.
 */
#ifndef SYS_CONNECT_H
#define SYS_CONNECT_H

#include <stdbool.h>
#include <sys/socket.h>

/* What a connected socket shall be. */
struct connect_socket {
    const struct sockaddr *to;
    socklen_t to_length;
    const struct sockaddr *from; /* the local end, or NULL: the kernel chooses */
    socklen_t from_length;
    bool from_free_port; /* the port in `from` is 0 */
    const char *device;  /* SO_BINDTODEVICE, or "" */
};

/* The call that failed, for the message. */
enum connect_step {
    CONNECT_STEP_SOCKET,
    CONNECT_STEP_OPTION,
    CONNECT_STEP_DEVICE,
    CONNECT_STEP_BIND,
    CONNECT_STEP_CONNECT,
};

/* A socket on the way to be connected: it becomes writable when that is decided. *ret_step tells what failed. */
int connect_socket_begin(const struct connect_socket *how, enum connect_step *ret_step);
/* How it was decided, once it is writable: 0, or the errno of connect(2). */
int connect_socket_result(int fd);
/* Makes it blocking and lets it be descriptors 0, 1, 6 and 7 of the program that is executed next. */
int connect_socket_give(int take_fd);

#endif
