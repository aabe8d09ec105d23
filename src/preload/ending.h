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

typedef void exit_function(int status);

/* exit(3) and _exit(2) of the C library, or of whoever has put one before it. First called before main(), since they ask the loader then. */
exit_function *ending_exit(void);
exit_function *ending_leave(void);
/*
 * What a template does at its gate: notes whether any of its objects could ask to be called, by itself or by what it finds through the loader.
 * What the C library opens by itself later (iconv(3), getaddrinfo(3)) could, and then there is something.
 */
void ending_note(void);
/* Before exit(3), or main()'s return: where it would do nothing, of this process as it is now, it ends here. */
void ending_come(int status);

#endif
