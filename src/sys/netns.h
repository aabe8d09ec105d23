/* SPDX-License-Identifier: MIT
 *
 * sys/netns.h - the calling thread goes into another network namespace, and comes back.
 *
 * Sockets made and interfaces asked for meanwhile are those of that namespace; sockets stay in the one they were made
 * in. Entering takes CAP_SYS_ADMIN there. The namespace is named as ip-netns(8) names it, or by a process that is in
 * it, or by the path of a file (one with a slash). A namespace that is made here has no name: it lives as long as a
 * process is in it or a descriptor of it is open. Calls return -1 with errno set, and have then changed nothing, but
 * for netns_new(): the thread may be in the new namespace, where only its descriptor could not be had.
 */
#ifndef SYS_NETNS_H
#define SYS_NETNS_H

/* Where the names of ip-netns(8) are. */
#define NETNS_NAMES "/run/netns"

/* A descriptor of the namespace that was left, for netns_leave(). */
int netns_enter(const char *name);
/* Goes back and closes take_home. -1: the thread is still away. */
int netns_leave(int take_home);

/* The thread goes into a new namespace, for good: an empty one, with its loopback device down. A descriptor of it. */
int netns_new(void);
/* The thread goes into the namespace that a descriptor refers to, for good. */
int netns_join(int fd);
/*
 * The process, of one thread, goes into a user namespace of its own, for good: it has every privilege over the
 * namespaces that it makes from now on, and none over others. To the file system it is still the user that it was.
 */
int netns_own_user(void);

#endif
