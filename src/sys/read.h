/* SPDX-License-Identifier: MIT
 *
 * sys/read.h - read(2) of files that do not make anybody wait, begun again where a signal came between.
 *
 * For files of /proc and /sys, and of the disk: such a read is hardly ever interrupted, but where it is, what there is
 * to be read is not missing. A file of /proc or /sys gives no more than a page at a time, and so is read until it says
 * that this is its end. Not for sockets and pipes, which are sys/stream.h's and sys/ready.h's. -1 with errno set, but
 * never EINTR.
 */
#ifndef SYS_READ_H
#define SYS_READ_H

#include <stddef.h>
#include <sys/types.h>

/* At most `size` bytes; 0 at the end. */
ssize_t read_some(int fd, void *bytes, size_t size);
/* All up to the end, or `size` bytes. How many there are. */
ssize_t read_all(int fd, void *bytes, size_t size);

#endif
