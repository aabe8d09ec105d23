/* SPDX-License-Identifier: MIT
 *
 * sys/probe.h - what this kernel does for this process, by trying it.
 *
 * Each probe does the very thing that it asks about, and not one that resembles it: so privileges, limits, seccomp
 * filters and a kernel built without something are all seen, whatever its release says. What would change the process is
 * done in a child, which ends at once. Nothing is left: no process, descriptor, mapping, socket or namespace; no setting of
 * the host is written. A probe takes some milliseconds at most. For `forkport doctor`, never for a server that runs.
 *
 * 0, or -1 with errno set by what was tried; ENOTSUP also where the child was killed for it.
 */
#ifndef SYS_PROBE_H
#define SYS_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The kernel's release ("6.1.0-18-amd64") and the machine ("x86_64"). */
int probe_release(char *ret_release, char *ret_machine, size_t size);
/* A small file, such as a setting of the kernel, with a NUL behind it and without its last newline. Its length. */
ssize_t probe_read(const char *path, char *ret_text, size_t size);

/* A child that is forked, and one that shares the memory, as those have that will execute a program. */
int probe_processes(void);
/* A child makes a child of its parent's. */
int probe_clone_parent(void);
int probe_close_range(void);
/* The descriptors that tell the loop of connections, signals and deadlines. */
int probe_events(void);
/* A TCP socket of AF_INET or AF_INET6. */
int probe_tcp(int family);
/* Binds a socket to a port, without listening; EADDRINUSE: it is another's, and was permitted. */
int probe_bind(uint16_t port);
/* A child becomes another user, in another group. */
int probe_user(uid_t uid, gid_t gid);
/* A child makes a network namespace; and one in a user namespace of its own. */
int probe_namespace(void);
int probe_user_namespace(void);
/* Fills a huge page by small ones, in a file without a name or in none, and has them made one. How long that took. */
int probe_collapse(bool in_file, int64_t *ret_took_ns);
/* Pins a page, so that a fork copies it at once (sys/pinned.h), in a child. */
int probe_pinned(void);
/* Loads a shared library into a child. On failure with ENOEXEC, *ret_reason is the loader's, else "". */
int probe_load(int fd, char *ret_reason, size_t size);
/* The first of the libraries that is there says its version by this function. Empty: none of them, or it has none. */
void probe_version(const char *const libraries[], const char *function, char *ret_version, size_t size);
/* UINT64_MAX: no limit. */
int probe_descriptor_limit(uint64_t *ret_soft, uint64_t *ret_hard);
int probe_process_limit(uint64_t *ret_soft, uint64_t *ret_hard);

#endif
