/* SPDX-License-Identifier: MIT
 *
 * sys/netns.h - the calling thread goes into another network namespace, and comes back.
 *
 * Sockets made and interfaces asked for meanwhile are those of that namespace; sockets stay in the one they were made
 * in. Entering takes CAP_SYS_ADMIN there. The namespace is named as ip-netns(8) names it, or by a process that is in
 * it, or by the path of a file (one with a slash). Calls return -1 with errno set, and have then changed nothing.
 */
#ifndef SYS_NETNS_H
#define SYS_NETNS_H

/* A descriptor of the namespace that was left, for netns_leave(). */
int netns_enter(const char *name);
/* Goes back and closes take_home. -1: the thread is still away. */
int netns_leave(int take_home);

#endif
