/* SPDX-License-Identifier: MIT
 *
 * sys/passing.h - messages that carry descriptors from one process to another.
 *
 * A pair of connected SOCK_SEQPACKET sockets, close-on-exec; one message is one send. (A pair of stream sockets is made
 * here too: what stands in for the connection in a template.) What was sent and not received is kept by
 * the kernel, descriptors and all, for as long as the receiving end is open in any process: so whoever sent it can
 * take it back. Nothing here waits. Calls return -1 with errno set (EAGAIN: no room, or none there).
 */
#ifndef SYS_PASSING_H
#define SYS_PASSING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PASSING_FDS_MAX 3

int passing_open(int *ret_sender, int *ret_receiver);
/* Two connected stream sockets, close-on-exec. */
int passing_open_stream(int *ret_one, int *ret_other);
int passing_send(int fd, const void *bytes, size_t length, const int *fds, size_t count);
/* Was everything that was sent received, or its receiver's last end closed? */
bool passing_is_received(int sender);
/*
 * How many bytes; the descriptors received, -1 for each of the PASSING_FDS_MAX that did not come, are the caller's. EMFILE:
 * there is no descriptor free for any of them; the message stays where it is.
 */
ssize_t passing_receive(int fd, void *bytes, size_t size, int *ret_fds);

#endif
