/* SPDX-License-Identifier: MIT
 *
 * sys/namespaces.h - the network namespaces of the host, each by a process that is in it.
 *
 * Looks at each process once, which takes a few microseconds each. Processes that may not be looked into (those of
 * other users, without CAP_SYS_PTRACE) are left out, which is told; namespaces that only a file or a descriptor keeps,
 * in which there is no process, are not found. Entering one is for sys/netns.h. -1 with errno set.
 */
#ifndef SYS_NAMESPACES_H
#define SYS_NAMESPACES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct namespace
{
    ino_t inode;
    pid_t pid;
};

/*
 * Those other than the thread's own, each once; the list is the caller's to free(3). *ret_incomplete: there are
 * processes that may not be looked into.
 */
int namespaces_list(struct namespace **ret_items, size_t *ret_count, bool *ret_incomplete);

#endif
