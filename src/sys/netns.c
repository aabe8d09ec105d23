/* SPDX-License-Identifier: MIT */
#include "sys/netns.h"

#include "base/text.h"
#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int open_namespace(const char *name)
{
    char path[PATH_MAX];
    struct text text;
    uint64_t pid;

    text_init(&text, path, sizeof(path));
    if (text_parse_unsigned(name, INT_MAX, &pid))
        text_printf(&text, "/proc/%llu/ns/net", (unsigned long long)pid);
    else
        text_printf(&text, "%s%s", strchr(name, '/') != NULL ? "" : NETNS_NAMES "/", name);
    if (text_end(&text) >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, O_RDONLY | O_CLOEXEC);
}

int netns_enter(const char *name)
{
    FD_AUTO home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    FD_AUTO there = open_namespace(name);

    if (home < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0)
        return -1;
    return fd_take(&home);
}

int netns_leave(int take_home)
{
    FD_AUTO home = take_home;

    return setns(home, CLONE_NEWNET);
}

int netns_new(void)
{
    if (unshare(CLONE_NEWNET) < 0)
        return -1;
    /* By way of a socket in it, for which /proc need not be there. */
    FD_AUTO inside = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return inside < 0 ? -1 : ioctl(inside, SIOCGSKNS);
}

int netns_join(int fd)
{
    return setns(fd, CLONE_NEWNET);
}

int netns_own_user(void)
{
    return unshare(CLONE_NEWUSER);
}
