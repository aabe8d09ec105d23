/* SPDX-License-Identifier: MIT
 *
 * sys/program.h - finding a program as execvp(3) would.
 *
 * A name without a slash is looked for in PATH. The program must be a regular file that the process may execute.
 * The path returned is malloc'ed and the caller's; on failure NULL is returned with errno: ENOENT, EACCES, EISDIR.
 */
#ifndef SYS_PROGRAM_H
#define SYS_PROGRAM_H

char *program_find(const char *name);

#endif
