/* SPDX-License-Identifier: MIT
 *
 * sys/task_files.h - the TCP sockets of all processes, in one pass of the kernel's own.
 *
 * A few instructions of BPF are run by the kernel for each file of each process (its iterator task_file), and write
 * down those that are TCP sockets. That takes a small part of what reading /proc does, but it takes CAP_BPF and
 * CAP_PERFMON, the kernel's own description of its types (/sys/kernel/btf/vmlinux, from which all offsets are taken),
 * and the initial PID namespace, since the kernel counts processes there. Where any of these is missing, or the
 * verifier does not like the program, the call fails with errno set, and /proc is still there. Nothing is left behind:
 * program, link and iterator are gone when the call returns. Needs Linux 5.11.
 */
#ifndef SYS_TASK_FILES_H
#define SYS_TASK_FILES_H

#include "sys/descriptors.h"

/* Calls for each socket; false from `each` ends it with errno as it left it. 0, or -1 with some of them given or none. */
int task_files_read(bool (*each)(void *data, const struct descriptor *descriptor), void *data);

#endif
