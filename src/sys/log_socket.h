/* SPDX-License-Identifier: MIT
 *
 * sys/log_socket.h - the socket that workers' standard errors are connected to.
 *
 * A reader, bound to a name in the file system that nobody else can use: in /run it stays until the reader is closed, in a folder that
 * only we may enter. Elsewhere, and where others may write to /run, who could put their own in its place, it is gone again at once, and a
 * socket can still be connected by way of /proc, through the descriptor of that name (log_socket.path_fd), which costs more. Each worker
 * has a datagram socket of its own, made in its process (log_socket_make()), so that nothing a worker does to it touches another's, and
 * bound to a name that says whose it is: the tag of this reader and a number. The kernel gives that name with each datagram,
 * whichever process of the worker sent it and whether that is still there. Nothing is held for a worker in the supervisor.
 *
 * Calls return -1 with errno set.
 */
#ifndef SYS_LOG_SOCKET_H
#define SYS_LOG_SOCKET_H

#include "sys/child.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

struct log_socket {
    int reader;  /* non-blocking; -1: none */
    int path_fd; /* of the reader's name */
    uint64_t tag;
    char name[sizeof("/run/forkport.XXXXXX/log")]; /* "": it is gone */
};

/* Where a worker's socket is bound and connected. A plain value, complete but for the number. */
struct log_socket_names {
    struct sockaddr_un own;
    socklen_t own_length;
    struct sockaddr_un reader;
    socklen_t reader_length;
    struct sockaddr_un inside; /* the reader, as any process that has our descriptors reaches it */
    socklen_t inside_length;
};

/* Makes the reader and proves that it can be connected to. The tag should be nobody else's. */
int log_socket_open(struct log_socket *log, uint64_t tag);
/* Removes the name. errno stays as it is. */
void log_socket_close(struct log_socket *log);
/* Removes the names that servers which were killed have left in /run. One that was killed before it had one leaves an empty folder. */
void log_socket_remove_stale(void);
/* A socket connected to the reader, for workers that are told apart by their pids: the only one, the reader's name goes. */
int log_socket_share(struct log_socket *log);
void log_socket_names(const struct log_socket *log, struct log_socket_names *ret_names);
/* Makes the names those of the worker with this number. */
void log_socket_number(struct log_socket_names *names, uint64_t number);

/*
 * A worker's socket, bound and connected: its number, or a negative errno. Without its name (somebody else has it) it is still connected;
 * whoever reads cannot tell then whose it is. Bare system calls, in the supervisor or a child that has its descriptors.
 *
 * A name can have been removed. A child that changes its user in the supervisor's memory has the kernel keep that from others
 * (PR_SET_DUMPABLE), and then /proc/PID/fd is closed to the next child, unless it has CAP_SYS_PTRACE; but not its own.
 */
static inline long log_socket_make(const struct log_socket_names *names)
{
    long fd = child_call(__NR_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, 0);

    if (fd < 0)
        return fd;
    child_call(__NR_bind, fd, (long)&names->own, names->own_length, 0);
    long result = child_call(__NR_connect, fd, (long)&names->reader, names->reader_length, 0);
    if (result < 0)
        result = child_call(__NR_connect, fd, (long)&names->inside, names->inside_length, 0);
    return result < 0 ? result : fd;
}

struct log_socket_sender {
    pid_t pid;
    uint64_t number; /* of the worker; 0: it has no name of ours */
};

/* One datagram: its whole length, of which up to `size` bytes are in the buffer, and sender; or -1 (EAGAIN: none). */
ssize_t log_socket_read(const struct log_socket *log, char *buffer, size_t size,
                        struct log_socket_sender *ret_sender);

#endif
