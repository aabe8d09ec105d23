/* SPDX-License-Identifier: MIT */
#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

void fd_close(int fd)
{
    int saved = errno;

    /* Written to only where it has changed: after a fork(2) its page is shared, and would be copied. */
    if (fd >= 0 && close(fd) < 0)
        errno = saved;
}

void fd_close_variable(int *fd)
{
    fd_close(*fd);
}

void fd_close_directory(DIR **directory)
{
    if (*directory != NULL)
        closedir(*directory);
}

int fd_take(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

/* Is it closed, or was it until fd_hold_standard() took its place? Of a closed one the flags are -1. */
static bool is_vacant(int fd)
{
    return (fcntl(fd, F_GETFL) & O_PATH) != 0;
}

static int open_vacant(int fd, int flags)
{
    int opened = open("/dev/null", flags); /* NOLINT(android-cloexec-open): they are inherited */

    if (opened < 0 || opened == fd)
        return opened;
    int placed = dup2(opened, fd);
    fd_close(opened);
    return placed;
}

int fd_open_standard(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (is_vacant(fd) && open_vacant(fd, O_RDWR) < 0)
            return -1;
    }
    return 0;
}

int fd_hold_standard(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (is_vacant(fd) && open_vacant(fd, fd == 1 ? O_PATH : O_RDWR) < 0)
            return -1;
    }
    return 0;
}

int fd_reserve(void)
{
    return fd_open_event();
}

int fd_open_null(void)
{
    return open("/dev/null", O_WRONLY | O_CLOEXEC);
}

int fd_open_event(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void fd_signal_event(int fd)
{
    uint64_t one = 1;
    int saved = errno;

    /* Fails only where the count is at its top already: it is signalled then. */
    if (write(fd, &one, sizeof(one)) < 0)
        errno = saved;
}

uint64_t fd_take_event(int fd)
{
    uint64_t count = 0;

    return read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count) ? count : 0;
}

int fd_duplicate(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* The umask is every thread's, so it is left alone: what it took of the mode is given back. */
int fd_open_append(const char *path)
{
    const int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    const mode_t mode = 0640;
    int fd = open(path, flags);

    if (fd >= 0 || errno != ENOENT)
        return fd;
    fd = open(path, flags | O_CREAT | O_EXCL, mode);
    if (fd >= 0)
        fchmod(fd, mode);
    else if (errno == EEXIST) /* a symbolic link to what is not there, or somebody was quicker */
        fd = open(path, flags | O_CREAT, mode);
    return fd;
}

int fd_reopen_nonblocking(int fd)
{
    const int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    char path[32];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int own = open(path, flags);
    /* After su(1) the terminal is still another user's, but the controlling one has a name that is everybody's. */
    if (own < 0 && tcgetsid(fd) >= 0)
        own = open("/dev/tty", flags);
    return own;
}

ssize_t fd_write(int fd, bool is_socket, const char *bytes, size_t length)
{
    return is_socket ? send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL) : write(fd, bytes, length);
}

int fd_write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        bytes += written;
        length -= (size_t)written;
    }
    return 0;
}

bool fd_is_inherited(int fd)
{
    int flags = fcntl(fd, F_GETFD);

    /* What is opened here is close-on-exec; what came through an exec is not. */
    return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

bool fd_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

bool fd_is_for_writing(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

bool fd_is_socket(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

bool fd_is_file(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

bool fd_is_terminal(int fd)
{
    return isatty(fd) == 1;
}

bool fd_is_writable(int fd, int within_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};

    return poll(&poll_fd, 1, within_ms) == 1 && (poll_fd.revents & POLLOUT) != 0;
}

bool fd_is_left(int fd, int within_ms)
{
    /* Errors and hang-ups are told unasked. */
    struct pollfd poll_fd = {.fd = fd};

    return poll(&poll_fd, 1, within_ms) == 1;
}

bool fd_is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, 0) == 1;
}

size_t fd_limit(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (size_t)limit.rlim_cur : 0;
}
