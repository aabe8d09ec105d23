/* SPDX-License-Identifier: MIT
 *
 * sys/program.h - programs and what belongs to them, as files.
 *
 * program_find() looks for a name as execvp(3) would: one without a slash in PATH. The program must be a regular file that
 * the process may execute. The path returned is malloc'ed and the caller's; on failure NULL is returned with errno: ENOENT,
 * EACCES, EISDIR. program_map() gives a file's bytes, read-only, until program_unmap(); they may change or shrink under the
 * reader when the file does. Calls return -1 with errno set.
 */
#ifndef SYS_PROGRAM_H
#define SYS_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

char *program_find(const char *name);
/* Whether a path is that of such a file; -1: not, with errno. */
int program_check(const char *path);

struct program_file {
    const void *bytes;
    size_t length;
    bool gains_rights; /* set-user-ID, set-group-ID, or with capabilities of its own */
};

int program_map(const char *path, struct program_file *ret_file);
void program_unmap(struct program_file *file);

/*
 * Opens a file that comes with forkport: beside the running program (in a build), in `folder` from the parent of the program's
 * folder on, or in the folder it was installed to.
 */
int program_open_companion(const char *name, const char *folder, const char *installed);
/* Has a descriptor a path, for a process that inherits it? Only by /proc. */
bool program_has_path(int fd);
/* May its code be mapped? Not from where nothing is executed (noexec). */
bool program_can_be_mapped(int fd);

#endif
