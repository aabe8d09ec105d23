/* SPDX-License-Identifier: MIT
 *
 * preload/code.h - the pages of files that each worker comes to, handed down by the fork.
 *
 * fork(2) does not copy the page table of a file's mapping, since all of it can be read again. So each worker comes to code and constants
 * by a fault for each 64 KiB, and the kernel maps, and at the end unmaps, sixteen pages for each. Where there has been a guard in the
 * mapping (MADV_GUARD_INSTALL, madvise(2); of files from Linux 6.15 on) its table is copied. A guard is put there and taken away,
 * and those pages alone are left in the table that a worker comes to: an entry costs a tenth of what a fault does. Which ones, at first only of the C
 * library and its end is known (code_keep()); later what the first workers came to (preload/learn.h, code_hand_down()).
 *
 * On an older kernel, or where a page of the mapping is not the file's any more (a debugger's breakpoint), nothing is done. That is looked at each time, since
 * what is taken out of the table would be the file's again.
 */
#ifndef PRELOAD_CODE_H
#define PRELOAD_CODE_H

#include <stdbool.h>
#include <stdint.h>

/* What is looked at in all; a worker that comes to more has the rest by faults. */
#define CODE_PAGES_MAX 4096

/* Private, not written to, of a file. Pages are numbered through all mappings. */
struct code_mapping {
    uintptr_t start;
    uintptr_t end;
    unsigned first; /* its first page's number */
    bool is_changed;
};

/* Finds the mappings. */
void code_note(void);
const struct code_mapping *code_mappings(unsigned *ret_count);
/*
 * The last that a template does at its gate: what of the C library is called after it comes into the table. `stack_end`: up to where
 * the stack has functions that a worker returns to. How many pages each fork has; 0: it was not done, and cannot be.
 */
uint32_t code_keep(const void *stack_end);
/* Those that so many have come to, by number, come into the table as well. How many pages each fork has. */
uint32_t code_hand_down(const uint8_t counts[CODE_PAGES_MAX], unsigned least);

#endif
