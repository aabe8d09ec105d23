/* SPDX-License-Identifier: MIT
 *
 * sys/namespaces.h - the network namespaces of the host, each by a process that is in it, or by its name.
 *
 * Looks at each process once, which takes a few microseconds each, and at each name that ip-netns(8) has given
 * (/run/netns), by which a namespace lives without a process. What may not be looked into (processes of other users,
 * without CAP_SYS_PTRACE) is left out, which is told; namespaces that only a descriptor or a file elsewhere keeps are
 * not found. Entering one is for sys/netns.h. -1 with errno set.
 */
#ifndef SYS_NAMESPACES_H
#define SYS_NAMESPACES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct namespace
{
    ino_t inode;
    pid_t pid;               /* 0: no process is seen in it */
    char name[NAME_MAX + 1]; /* "": it has none; any byte but NUL and '/' can be in it */
};

struct namespaces {
    struct namespace *items;
    size_t count;
    bool incomplete;   /* there are processes that may not be looked into */
    bool names_hidden; /* there are names that may not be looked at */
};

/* Those other than the thread's own, each once. */
int namespaces_list(struct namespaces *ret_namespaces);
void namespaces_done(struct namespaces *namespaces);

#endif
