/* SPDX-License-Identifier: MIT
 *
 * preload/standard.h - descriptors 0 to 2 of a template: what stands there for those of a connection, until it comes.
 *
 * A worker gets its connection as 0 and 1, and its standard error as 2. A program may have put something else in the
 * place of 1 or 2 before its gate, as exec would let it (daemons open /dev/null there), or made the one a copy of the
 * other: that stays so in each worker. Bare system calls; errno stays.
 */
#ifndef PRELOAD_STANDARD_H
#define PRELOAD_STANDARD_H

#include <stdbool.h>
#include <stdint.h>

#define STANDARD_COUNT 3

/* A descriptor under another number, closed for programs that are executed, where a limit allows it one that is in nobody's way; negative:
 * there is none. */
int standard_duplicate(int fd);
/* Before the program runs. */
void standard_begin(void);
/* Is this one of them still what it was then? Of 0, that is what stands for the connection. */
bool standard_stands(int fd);
/* Is this what stands for the connection, under whatever number? */
bool standard_is_connection(int fd);
/* Would this other descriptor be of no connection, or of no worker's standard error, because it is a copy of what stands for it? */
bool standard_is_copied_to(int fd);
/* By which a socket under any number is known; 0: it is none, or closed. */
uint64_t standard_socket(int fd);
/* At the gate: what was put in the place of 1 and 2 is kept elsewhere, and 0 to 2 are closed. False: they may not be. */
bool standard_keep(void);
/* Those of a connection are 0 to 2 now: 1 and 2 become what the program had made of them, and all wait, or not, as it had asked for. */
void standard_restore(void);
/* In a worker, after that: nothing is kept any more, and what signals the program asked for come to it. */
void standard_forget(void);

#endif
