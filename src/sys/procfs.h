/* SPDX-License-Identifier: MIT
 *
 * sys/procfs.h - processes as /proc shows them: what one is called, and what its files say.
 *
 * Processes come and go while it looks; one that has gone is no error, and has no name. For people who ask, never for the path of a
 * connection.
 */
#ifndef SYS_PROCFS_H
#define SYS_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The longest name of a process (TASK_COMM_LEN), with the NUL. */
#define PROCFS_NAME_SIZE 16

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
