/* SPDX-License-Identifier: MIT
 *
 * preload/finish.h - what the dynamic loader does at the end of a process, left out where it is nothing.
 *
 * exit(3) has the loader call the termination functions of each object, the last first (ELF gABI, "Initialization and
 * Termination Functions"). Those of most objects are the compiler's own, which do nothing at that time; but to come to them the
 * loader writes to its lists and to each object, and in a worker each page that is written to is copied.
 */
#ifndef PRELOAD_FINISH_H
#define PRELOAD_FINISH_H

#include <link.h>
#include <stdbool.h>

typedef void finish_function(void);

/* What to have called at exit(3) in the place of the loader's function, which it calls where an object has something to do. */
finish_function *finish_begin(finish_function *loader);
/* Is it? */
bool finish_is_called(void);
/* The first of all objects, where none has something to do; NULL: one has, or it is not known. */
const struct link_map *finish_idle_objects(void);

#endif
