/* SPDX-License-Identifier: MIT
 *
 * sys/procfs.h - processes as /proc shows them: who holds a socket, and what a process is called.
 *
 * Reads the descriptors of every process it may look into, so it takes time in proportion to all open descriptors of
 * the host: it is for a failed start and for people who ask, never for the path of a connection. Processes come and go
 * while it looks; one that has gone is no error and holds nothing. That a process may not be looked into is told apart
 * from that it holds nothing. Processes of other PID namespaces, those that a mount of /proc hides (hidepid), and a
 * socket that is only on its way between two processes (SCM_RIGHTS) cannot be seen at all.
 */
#ifndef SYS_PROCFS_H
#define SYS_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The longest name of a process (TASK_COMM_LEN), with the NUL. */
#define PROCFS_NAME_SIZE 16

/* Who holds a socket. */
struct procfs_holders {
    size_t count;    /* processes seen to hold it; the first of them, by pid, are stored */
    bool incomplete; /* there are processes whose descriptors may not be read */
};

/* The processes that hold the socket `inode`; up to `room` pids go to ret_pids. -1: /proc cannot be read. */
int procfs_socket_holders(uint32_t inode, pid_t *ret_pids, size_t room, struct procfs_holders *ret_holders);
/* The name of a process; "" where it has gone. Any byte but NUL can be in it. */
void procfs_name(pid_t pid, char ret_name[PROCFS_NAME_SIZE]);
/*
 * What a file of the process holds ("cmdline", "environ"), with a NUL behind it, as much as fits. 0: it has gone, or
 * may not be read. Length without that NUL.
 */
size_t procfs_read(pid_t pid, const char *file, char *buffer, size_t size);
/* Are the numbers there those that processes have here? A mount of /proc may be another PID namespace's. */
bool procfs_is_own(void);
/* The parent of a process; 0: it has gone. */
pid_t procfs_parent(pid_t pid);

#endif
