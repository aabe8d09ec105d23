/* SPDX-License-Identifier: MIT
 *
 * preload/code.h - the pages of the C library's code that each worker comes to, handed down by the fork.
 *
 * fork(2) does not copy the page table of a file's mapping, since all of it can be read again. So each worker comes to its code by a
 * fault for each 64 KiB, and the kernel maps, and at the end unmaps, sixteen pages for each. Where there has been a guard in the mapping
 * (MADV_GUARD_INSTALL, madvise(2); of files from Linux 6.15 on) its table is copied. code_keep() puts one there and takes it
 * away, and leaves in the table those pages alone that a process comes to at its end: an entry costs a tenth of what a fault does.
 *
 * On an older kernel, or where a page of the mapping is not the file's any more (a debugger's breakpoint), nothing is done.
 */
#ifndef PRELOAD_CODE_H
#define PRELOAD_CODE_H

#include <stdint.h>

/* Finds the mapping. Of a process whose memory may not be looked into (PR_SET_DUMPABLE) it says no more than that it is not known. */
void code_note(void);
/*
 * The last that a template does at its gate: what of the C library is called after it comes into the table as well. `stack_end`: up to where
 * the stack has functions that a worker returns to. How many pages each fork has; 0: it was not done.
 */
uint32_t code_keep(const void *stack_end);

#endif
