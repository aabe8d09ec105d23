/* SPDX-License-Identifier: MIT
 *
 * sys/affinity.h - the calling thread goes from CPU to CPU, and comes back to where it may run.
 *
 * For questions whose answer depends on the CPU that asks. It takes some microseconds for each CPU, more where they are
 * busy. CPUs that the thread may not run on are left out and told. When the call returns, whatever it returns, the
 * thread may run where it might before.
 */
#ifndef SYS_AFFINITY_H
#define SYS_AFFINITY_H

#include <stdbool.h>

/*
 * Calls on each CPU that the thread may run on; false from `each` ends it. *ret_all: there is none on line besides
 * these. -1 with errno set: the thread cannot be moved.
 */
int affinity_each(bool (*each)(void *data, unsigned cpu), void *data, bool *ret_all);

#endif
