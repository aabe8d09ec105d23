/* SPDX-License-Identifier: MIT
 *
 * sys/fork_handlers.h - whether fork(3) would call anybody.
 *
 * fork(3) runs what pthread_atfork(3) was given, and makes the C library's locks usable where there were other threads. It
 * writes to five pages for that, each of which is copied, even where there is nothing to run. Where there is nothing, _Fork(3)
 * does the same without them, and where the C library's thread is as expected, its system call alone, of which a copy does not come back
 * to the C library's page. What is not seen: who finds pthread_atfork(3) by dlsym(3) alone, and a library that is opened in the
 * place of another of the same name. The loader's own lock is not renewed, as by fork(3): a server that runs in the constructor of a library
 * that is being opened has copies that can open none.
 */
#ifndef SYS_FORK_HANDLERS_H
#define SYS_FORK_HANDLERS_H

#include "sys/thread.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What was found of the objects that are loaded; begins as zeros. */
struct fork_handlers {
    uint64_t objects; /* which they were; 0: not looked at yet */
    bool possible;
    struct thread_known thread; /* cleared is where the C library has its number, or NULL */
};

/*
 * There may be some where there is another thread, an object that is loaded imports what registers them, or fork(3) is somebody else's than
 * the C library's. Looks again where objects have come or gone.
 */
bool fork_handlers_possible(struct fork_handlers *found);
/* As fork(2); with handlers where there may be any. By the thread that asked whether there may. */
pid_t fork_handlers_fork(const struct fork_handlers *found, bool are_possible);

#endif
