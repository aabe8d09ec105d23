/* SPDX-License-Identifier: MIT
 *
 * sys/descriptors.h - the sockets that processes have open, as /proc shows them.
 *
 * A list of (inode, process, descriptor), made for all processes or for those named, in one pass. It costs a few
 * microseconds for each process and each descriptor, so it is for people who ask, never for the path of a connection.
 * Processes come and go while it looks: one that has gone is no error and holds nothing. One that may not be looked
 * into makes the list `incomplete`, and so do those that the mount of /proc hides (hidepid), as long as the first is
 * one of them. What is in other PID namespaces or on its way between two processes (SCM_RIGHTS) cannot be seen at all.
 * The list belongs to the caller, who releases it with descriptors_done(), also after a failure. Functions return -1
 * with errno set.
 *
 * Listing a process's directory of descriptors makes the kernel build an entry for each, which is most of the cost.
 * Since Linux 6.2 the directory tells their number, so the descriptors of a process are asked for one by one from 0
 * until that many were there; a process whose numbers are far apart is listed, and so is each where Linux is older.
 * Where there are many processes and it is permitted, sys/task_files.h is asked instead.
 *
 * What a process has open is what its main thread has, or, where that has ended, the others. A thread may also have
 * descriptors of its own (unshare(2), CLONE_FILES): few do, and to find out takes a look at each thread, so it is for
 * a socket that nobody has else, and only the kernel's word (kcmp(2)): where it gives none, a sandbox say, threads have
 * what the others have. They are listed as the process's, each number once.
 */
#ifndef SYS_DESCRIPTORS_H
#define SYS_DESCRIPTORS_H

#include "sys/procfs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct descriptor {
    uint32_t inode; /* of the socket */
    pid_t pid;
    int fd;
    char name[PROCFS_NAME_SIZE]; /* of the process; "": not known yet */
};

struct descriptors {
    struct descriptor *items; /* sorted by inode, pid, fd once descriptors_sort() was called */
    size_t count;
    size_t room;
    bool incomplete;
    bool with_threads; /* what threads have of their own has been told with the rest */
};

/* Appends the sockets of every process; needs /proc. */
int descriptors_read_all(struct descriptors *descriptors);
/* Then those that only threads have, of every process. */
int descriptors_read_threads(struct descriptors *descriptors);
/* Appends the sockets of one process and its threads; none where it has gone. */
int descriptors_read(struct descriptors *descriptors, pid_t pid);
/* One more, found in another way. */
int descriptors_append(struct descriptors *descriptors, const struct descriptor *item);
/* What is in it twice is there once then. */
void descriptors_sort(struct descriptors *descriptors);
/* The first that refers to the inode, in a sorted list; *ret_count of them follow each other. NULL: none. */
const struct descriptor *descriptors_find(const struct descriptors *descriptors, uint32_t inode,
                                          size_t *ret_count);
void descriptors_done(struct descriptors *descriptors);

/* How many processes are seen to hold the socket `inode`; up to `room` of them, by pid, go to ret_pids. */
size_t descriptors_holders(uint32_t inode, pid_t *ret_pids, size_t room);

#endif
