/* SPDX-License-Identifier: MIT */
#include "sys/read.h"

#include <errno.h>
#include <unistd.h>

ssize_t read_some(int fd, void *bytes, size_t size)
{
    ssize_t got;

    do {
        got = read(fd, bytes, size);
    } while (got < 0 && errno == EINTR);
    return got;
}

ssize_t read_all(int fd, void *bytes, size_t size)
{
    size_t length = 0;
    ssize_t got = 1;

    for (; got > 0 && length<size; length += got> 0 ? (size_t)got : 0)
        got = read_some(fd, (char *)bytes + length, size - length);
    return got < 0 ? -1 : (ssize_t)length;
}
