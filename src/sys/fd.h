/* SPDX-License-Identifier: MIT
 *
 * sys/fd.h - file descriptors: who owns one is visible at the call.
 *
 * FD_AUTO closes a descriptor when the variable's scope is left; fd_take() moves ownership out of a variable. A
 * parameter named take_fd is owned by the callee from the call on, whether it fails or not. Every descriptor made in
 * this room is close-on-exec, but those in the places of 0, 1 and 2. Functions return -1 with errno set, as the system calls under them do; -1 is also "no
 * descriptor" for fd_close() and FD_AUTO. Nothing in here loops over descriptors: no cost grows with RLIMIT_NOFILE.
 */
#ifndef SYS_FD_H
#define SYS_FD_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Closes fd (where it is one) and leaves errno as it was. */
void fd_close(int fd);
void fd_close_variable(int *fd);
#define FD_AUTO __attribute__((cleanup(fd_close_variable))) int
/* The same of a folder that is listed; NULL is none. */
void fd_close_directory(DIR **directory);
#define DIRECTORY_AUTO __attribute__((cleanup(fd_close_directory))) DIR

/* Returns *fd and leaves -1 in it: the caller owns it now. */
int fd_take(int *fd);

/* Opens /dev/null on each of the descriptors 0, 1 and 2 that is closed, so that nothing else can land there. */
int fd_open_standard(void);
/* The same, but to write to 1 fails still (EBADF), as if it were closed, until fd_open_standard() is called. */
int fd_hold_standard(void);

/* A descriptor that is held to be given up when there are no more: fd_reserve() opens it, on nothing that might not be there. */
int fd_reserve(void);

/* How many may be open. */
size_t fd_limit(void);
/* /dev/null, for writing. */
int fd_open_null(void);
/* What fp_server_stop() writes to: an eventfd(2), non-blocking. */
int fd_open_event(void);
void fd_signal_event(int fd);
/* How often it was signalled since it was taken last. */
uint64_t fd_take_event(int fd);

/* Opens for appending, creating with mode 0640 whatever the umask. */
int fd_open_append(const char *path);
/* A second open file description of what fd refers to, non-blocking, for writing; fails for sockets (ENXIO). */
int fd_reopen_nonblocking(int fd);
/* Another number for the same open file description. */
int fd_duplicate(int fd);
/* write(2), or for a socket send(2) without waiting and without SIGPIPE; never retried. What was written, or -1. */
ssize_t fd_write(int fd, bool is_socket, const char *bytes, size_t length);
/* Writes all of it, waiting where it must. For short texts at start-up. */
int fd_write_all(int fd, const char *bytes, size_t length);
bool fd_is_open(int fd);
/* Was it opened for writing? */
bool fd_is_for_writing(int fd);
/* Did this process start with fd open? */
bool fd_is_inherited(int fd);
/* Does fd refer to a socket, a regular file, or a terminal? */
bool fd_is_socket(int fd);
bool fd_is_file(int fd);
bool fd_is_terminal(int fd);
/* Room for at least one write to fd without blocking, now or within so long? */
bool fd_is_writable(int fd, int within_ms);
/* Is there nobody any more who reads what fd is written, or will there be within so long? */
bool fd_is_left(int fd, int within_ms);
/* Is there something to read now, or of a listening socket a connection to accept? */
bool fd_is_readable(int fd);

#endif
