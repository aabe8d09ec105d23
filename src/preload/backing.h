/* SPDX-License-Identifier: MIT
 *
 * preload/backing.h - large private memory of a template, with a file behind it that forks need not copy, or else in huge pages.
 *
 * fork(2) copies an entry for each page of anonymous memory, and for each huge page an empty table besides. Of a private mapping of a
 * file it copies only what was written since, for the rest can be read from the file again. So what is large is moved, piece by
 * piece and at its place, into a file without a name (memfd_create(2)) in huge pages; nobody has it open afterwards. What
 * a program could tell by, preload/moved.h sees to (doc/decisions.md has what is left); and memory that is not quite ordinary (locked,
 * left out of forks, sparse, the C library's further arenas) stays what it is.
 * Should the kernel refuse on the way, what was not moved stays, too. What stays is made huge pages where it is, piece by piece, but for what is
 * mostly not there. Calls are bare system calls; errno stays.
 */
#ifndef PRELOAD_BACKING_H
#define PRELOAD_BACKING_H

#include "wire/template_message.h"

#include <stdbool.h>

/* Says on the board what was done. False: a piece of memory is lost, and the process must end. */
bool backing_move(struct template_board *board);

#endif
