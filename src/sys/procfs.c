/* SPDX-License-Identifier: MIT */
#include "sys/procfs.h"

#include "sys/fd.h"
#include "sys/read.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void procfs_name(pid_t pid, char ret_name[PROCFS_NAME_SIZE])
{
    char path[32];

    ret_name[0] = '\0';
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t length = read_some(fd, ret_name, PROCFS_NAME_SIZE);
    if (length <= 0)
        length = 1;
    /* The kernel ends the name with a newline, which a name may hold as well. */
    ret_name[length - 1] = '\0';
}

size_t procfs_read(pid_t pid, const char *file, char *buffer, size_t size)
{
    char path[64];

    buffer[0] = '\0';
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t length = read_all(fd, buffer, size - 1);
    if (length < 0)
        length = 0;
    buffer[length] = '\0';
    return (size_t)length;
}

bool procfs_is_own(void)
{
    char self[32];
    ssize_t length = readlink("/proc/self", self, sizeof(self) - 1);

    self[length > 0 ? length : 0] = '\0';
    return strtol(self, NULL, 10) == getpid();
}

pid_t procfs_parent(pid_t pid)
{
    char stat[512];

    procfs_read(pid, "stat", stat, sizeof(stat));
    /* The name stands in parentheses, and can hold any of them itself: "812 (a) b) S 1 ..." */
    const char *end = strrchr(stat, ')');
    if (end == NULL || end[1] != ' ' || end[2] == '\0' || end[3] != ' ')
        return 0;
    return (pid_t)strtol(end + 4, NULL, 10);
}
