/* SPDX-License-Identifier: MIT
 *
 * sys/stream.h - reading and writing a connected, blocking socket in a worker.
 *
 * The calls wait, go on after interruptions, and never raise SIGPIPE. They are for a worker's process, which has
 * nothing else to do; the supervisor does not use them.
 */
#ifndef SYS_STREAM_H
#define SYS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* What came, at least a byte; 0 at the end of the stream; -1 with errno. */
ssize_t stream_read(int fd, void *bytes, size_t size);
/* All of it, or false with errno. */
bool stream_write(int fd, const void *bytes, size_t length);
/* Throws away what has come, without waiting. */
void stream_discard_ready(int fd);

#endif
