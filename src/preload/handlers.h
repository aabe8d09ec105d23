/* SPDX-License-Identifier: MIT
 *
 * preload/handlers.h - what libraries want done around a fork.
 *
 * pthread_atfork(3) is kept count of from the program's start to its gate, and passed on to the C library. Our fork is none of
 * the C library's, so what was asked for is done here: handlers_before() and handlers_after() in the template,
 * handlers_in_worker() in the worker, in the order that fork(3) has. Libraries count on it to seed random numbers anew and to
 * forget what belongs to another process. What lies in a library that was unloaded since is left out. There is room for 128;
 * a program with more is not to be forked.
 */
#ifndef PRELOAD_HANDLERS_H
#define PRELOAD_HANDLERS_H

#include <stdbool.h>

/* Is there none that was not kept? */
bool handlers_are_known(void);
void handlers_before(void);
void handlers_after(void);
void handlers_in_worker(void);

#endif
