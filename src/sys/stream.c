/* SPDX-License-Identifier: MIT */
#include "sys/stream.h"

#include <errno.h>
#include <sys/socket.h>

ssize_t stream_read(int fd, void *bytes, size_t size)
{
    ssize_t length;

    do {
        length = recv(fd, bytes, size, 0);
    } while (length < 0 && errno == EINTR);
    return length;
}

bool stream_write(int fd, const void *bytes, size_t length)
{
    const char *at = bytes;

    while (length > 0) {
        ssize_t written = send(fd, at, length, MSG_NOSIGNAL);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        at += written;
        length -= (size_t)written;
    }
    return true;
}

void stream_discard_ready(int fd)
{
    char bytes[4096];

    while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        ;
}
