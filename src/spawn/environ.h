/* SPDX-License-Identifier: MIT
 *
 * spawn/environ.h - environ(7) of a server that is copied for each connection.
 *
 * A copy that sets its environ writes to the C library's data, and that page is copied for it. So while a server of one thread
 * serves, its environ stands in memory on the page of the stack that each copy has for itself anyway: before a copy is made the
 * worker's variables are put there, and afterwards the server's own again, which the program may set and unset. It must not give
 * the array back (realloc(3)), nor leave fp_server_run() but by its return. Where it replaces the whole, or begins a thread,
 * copies set their environ; so they do where fork handlers would find the worker's variables.
 */
#ifndef SPAWN_ENVIRON_H
#define SPAWN_ENVIRON_H

#include "spawn/environment.h"

/* More variables than these, the end included, are the copy's to set. */
#define ENVIRON_SIZE 128

/* Not among what is copied; begins as zeros. */
struct environ {
    char **own;   /* what environ was before */
    char **array; /* what it is meanwhile, on the stack of who serves; NULL: copies set it */
    char *saved[ENVIRON_SIZE];
};

/* How many pointers environ_begin() writes; 0: it shall not be called. */
size_t environ_size(const struct environment *environment);
/* The array is borrowed until environ_end(). */
void environ_begin(struct environ *of_server, char **array);
void environ_end(struct environ *of_server);
/*
 * Where a copy's variables are to be put, until environ_take_back(); NULL: nowhere, and that is not to be called. Only in a
 * process of one thread and without fork handlers (sys/fork_handlers.h), since both would find them there.
 */
char **environ_lend(struct environ *of_server);
void environ_take_back(struct environ *of_server);

#endif
