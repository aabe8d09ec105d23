/* SPDX-License-Identifier: MIT
 *
 * preload/join.h - an object's variables in one mapping, where the loader has made two.
 *
 * Those that begin with a value are in a private mapping of the object's file (.data), those that begin with zeros in an anonymous one behind it
 * (.bss; elf(5)). fork(2) copies each mapping and its place among the file's, which costs more than the few pages that are in it. So the
 * first becomes anonymous as well, with what is in it, and the kernel has one for both. It must be of the file whose code stands before it, and small, and nearly all of it
 * be the process's own already, since pages that the file has are copied for that. Under a filter of system calls (seccomp(2)) nothing is done. What differs: MADV_DONTNEED (madvise(2)) there
 * gives zeros and not the file's bytes. In one thread, by bare system calls.
 */
#ifndef PRELOAD_JOIN_H
#define PRELOAD_JOIN_H

#include <stdbool.h>
#include <stdint.h>

/* Gives how many have become one with the next. False: a piece of memory is lost, and the process must end. */
bool join_variables(uint32_t *ret_joined);

#endif
