/* SPDX-License-Identifier: MIT
 *
 * preload/moved.h - which memory was moved into a file (preload/backing.h), and what a worker's program may do with it.
 *
 * To the program it is anonymous memory, and the calls by which it could tell otherwise are ours here: madvise(2), of which what is given
 * back must be zeros, and some advice is for anonymous memory only; and mmap(2), munmap(2), mprotect(2) and mremap(2), which say what stands
 * there from then on. They go to the kernel at once, and make no other call, where nothing of what is asked for was moved; they need nothing of /proc, and set errno as ever.
 * A C library's own calls do not come here: what stands where it has unmapped something is asked of the kernel before it is changed.
 */
#ifndef PRELOAD_MOVED_H
#define PRELOAD_MOVED_H

#include <stdint.h>

/* In the template, by their place, and 32 at most. */
void moved_add(uintptr_t start, uintptr_t end);

#endif
