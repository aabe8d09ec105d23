/* SPDX-License-Identifier: MIT
 *
 * preload/block.h - what the kernel put at the end of the stack, moved to beside the frames of main().
 *
 * A program starts with a block at the end of its stack: the vectors of its arguments and its environment, the auxiliary
 * vector, 16 random bytes, the texts of arguments and environment (System V ABI, "initial process stack"; execve(2)). The
 * kernel scatters it over two pages or three, and the frames of main() are on one more. A template writes the variables of each connection and
 * new random bytes there, so both sides of each fork(2) copied all of these pages. Moved to the end of one page, with
 * the frames below, it is one page that is copied.
 *
 * block_look() says how many bytes it needs, 0 where it is not as the kernel leaves it or is too large to gain; block_move()
 * copies it, and has the kernel know it there (PR_SET_MM_MAP, prctl(2)), so that /proc/PID/environ and cmdline are the new ones;
 * false, where the kernel does not do that: then the old one holds. block_moved() gives, once moved, for a pointer into the old one that into the
 * new one, and others as they are. The old texts stay, for who has kept a pointer; the old vectors point to the new ones. Once, in one thread.
 */
#ifndef PRELOAD_BLOCK_H
#define PRELOAD_BLOCK_H

#include <stdbool.h>
#include <stddef.h>

/* `end`: the NULL that ends the vector of the environment, which the auxiliary vector follows. */
size_t block_look(int argc, char **argv, char **end);
/* `room`: aligned to 16 bytes, of as many as were asked for. */
bool block_move(void *room);
void *block_moved(const void *pointer);

#endif
