/* SPDX-License-Identifier: MIT
 *
 * sys/ready.h - waiting for descriptors of any kind, and moving bytes through those that are ready.
 *
 * poll(2), because a client's standard input may be a file, which epoll(7) does not take. The descriptors may be
 * shared with other processes, so none is made non-blocking here: a read or a write is made only when poll(2) has said
 * that it will not wait, and a write to anything but a socket is no longer than that promise, PIPE_BUF bytes. Calls
 * return -1 with errno set, EAGAIN where there is nothing to be had after all, which includes interruptions.
 */
#ifndef SYS_READY_H
#define SYS_READY_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Waits for one of them, or `timeout_ns` nanoseconds (-1: for ever). How many are ready; 0 at the time's end. */
int ready_wait(struct pollfd *fds, size_t count, int64_t timeout_ns);

/* At most `size` bytes; 0 at the end. */
ssize_t ready_read(int fd, char *bytes, size_t size);
/* SIGPIPE is raised where nobody reads any more, as a filter is ended by it, but for a socket only if it `is_output`. */
ssize_t ready_write(int fd, bool is_output, const char *bytes, size_t length);
/* Nothing more will be written: the reader sees the end, also where others hold the same socket. Closes take_fd, and
 * fails with what a file system had kept back until then. */
int ready_end_output(int take_fd);
/* Ends the sending side of a socket. */
void ready_end_sending(int fd);

#endif
