/* SPDX-License-Identifier: MIT
 *
 * preload/ending.h - exit(3), left out where it has nothing to do.
 *
 * exit(3) calls what atexit(3) and its kin were given, has the loader call termination functions (preload/finish.h), and writes out
 * what streams have. It takes locks and notes where it is, on three pages of the C library's, each of which is copied for a worker. Where
 * nobody can have asked to be called and no stream has anything, a process ends by _exit(2), as it would behind all that.
 */
#ifndef PRELOAD_ENDING_H
#define PRELOAD_ENDING_H

#include <stdbool.h>

typedef void exit_function(int status);

/* That of the C library, or of whoever has put one before it. First called before main(), since it asks the loader then. */
exit_function *ending_exit(void);
/*
 * What a template does at its gate: notes whether any of its objects could ask to be called, by itself or by what it finds through the loader.
 * What the C library opens by itself later (iconv(3), getaddrinfo(3)) could, and then there is something.
 */
void ending_note(void);
/* Would exit(3) do nothing? Of this process as it is now. */
bool ending_is_nothing(void);

#endif
