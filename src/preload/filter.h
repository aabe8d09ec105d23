/* SPDX-License-Identifier: MIT
 *
 * preload/filter.h - filters of system calls that the program has set itself (seccomp(2)).
 *
 * Such a one might kill for a system call that is the gate's alone. One that was there before is the server's, too, as in
 * containers: by it a call is refused, if at all.
 */
#ifndef PRELOAD_FILTER_H
#define PRELOAD_FILTER_H

#include <stdbool.h>

/* Before the program runs. */
void filter_begin(void);
/* Where the kernel does not say how many there are (before Linux 5.9), any is taken to be the program's. */
bool filter_is_own(void);

#endif
