/* SPDX-License-Identifier: MIT
 *
 * preload/learn.h - which pages of files workers come to, seen of some of a template's first.
 *
 * What a program comes to depends on it and on what its clients ask, and an accessed bit cannot be read without privileges. So the mappings
 * of a few workers are divided into single pages (MADV_RANDOM of every second one), which is all that keeps the kernel from bringing in fifteen
 * more with each. At such a worker's end the template reads its page table; the worker waits for that some milliseconds at most, by
 * looking at a word that both have, since it may have shut itself in and no system call is safe (seccomp(2)). What half of them came to is then in the table
 * of all later ones (preload/code.h). Their numbers are powers of two, so that they are few and not all of one moment.
 *
 * Nothing depends on it but time: a page that is not in the table comes by a fault, as it would have.
 */
#ifndef PRELOAD_LEARN_H
#define PRELOAD_LEARN_H

#include <stdbool.h>
#include <stdint.h>

/* In the template, at its gate, behind code_keep(). Where there is no memory, or not room for many mappings, nothing is learnt. */
void learn_begin(uint32_t mappings);
/* In the template, before and after the fork of this order. True: its worker is one to learn from. */
bool learn_before(uint64_t sequence);
void learn_after(long pid);
/* In the template, before it waits for an order on `control`, for as long as none is there. How many pages forks have now; 0: as before. */
uint32_t learn_wait(int control);
/* In such a worker, before it is the program's. `tid`: where the C library has its thread's number. */
void learn_in_worker(const int *tid);
/* In any worker, at its end: the last that is done. */
void learn_at_end(void);

#endif
