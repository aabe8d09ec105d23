/* SPDX-License-Identifier: MIT */
#include "sys/procfs.h"

#include "sys/fd.h"
#include "sys/read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "socket:[4294967295]" */
#define LINK_SIZE 32

/* 1: it does, 0: it does not or has gone, -1: it may not be looked into. */
static int process_holds(const char *pid, const char *wanted)
{
    char path[32];

    snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
    DIRECTORY_AUTO *directory = opendir(path);
    if (directory == NULL)
        return errno == EACCES || errno == EPERM ? -1 : 0;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char link[LINK_SIZE];
        ssize_t length = readlinkat(dirfd(directory), entry->d_name, link, sizeof(link) - 1);
        if (length < 0 && (errno == EACCES || errno == EPERM) && entry->d_name[0] != '.')
            return -1;
        if (length < 0)
            continue;
        link[length] = '\0';
        if (strcmp(link, wanted) == 0)
            return 1;
    }
    return 0;
}

int procfs_socket_holders(uint32_t inode, pid_t *ret_pids, size_t room, struct procfs_holders *ret_holders)
{
    struct procfs_holders holders = {0};
    char wanted[LINK_SIZE];

    DIRECTORY_AUTO *processes = opendir("/proc");
    if (processes == NULL)
        return -1;
    snprintf(wanted, sizeof(wanted), "socket:[%u]", inode);
    for (const struct dirent *entry; (entry = readdir(processes)) != NULL;) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        int holds = process_holds(entry->d_name, wanted);
        if (holds < 0)
            holders.incomplete = true;
        if (holds <= 0)
            continue;
        if (holders.count < room)
            ret_pids[holders.count] = (pid_t)strtol(entry->d_name, NULL, 10);
        holders.count++;
    }
    *ret_holders = holders;
    return 0;
}

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
    char self[LINK_SIZE];
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
