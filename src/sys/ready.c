/* SPDX-License-Identifier: MIT */
#include "sys/ready.h"

#include "base/time.h"

#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int ready_wait(struct pollfd *fds, size_t count, int64_t timeout_ns)
{
    struct timespec timeout = {.tv_sec = timeout_ns / SECOND_NS, .tv_nsec = timeout_ns % SECOND_NS};
    int ready = ppoll(fds, count, timeout_ns < 0 ? NULL : &timeout, NULL);

    if (ready < 0 && errno == EINTR)
        errno = EAGAIN;
    return ready;
}

static ssize_t again_if_interrupted(ssize_t result)
{
    if (result < 0 && errno == EINTR)
        errno = EAGAIN;
    return result;
}

ssize_t ready_read(int fd, char *bytes, size_t size)
{
    return again_if_interrupted(read(fd, bytes, size));
}

ssize_t ready_write(int fd, bool is_output, const char *bytes, size_t length)
{
    ssize_t written = send(fd, bytes, length, MSG_DONTWAIT | (is_output ? 0 : MSG_NOSIGNAL));

    if (written < 0 && errno == ENOTSOCK)
        written = write(fd, bytes, length < PIPE_BUF ? length : PIPE_BUF);
    return again_if_interrupted(written);
}

int ready_end_output(int take_fd)
{
    shutdown(take_fd, SHUT_WR);
    /* Interrupted or not, Linux has closed it. */
    return close(take_fd) < 0 && errno != EINTR ? -1 : 0;
}

void ready_end_sending(int fd)
{
    shutdown(fd, SHUT_WR);
}
