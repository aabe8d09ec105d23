/* SPDX-License-Identifier: MIT
 *
 * preload/end.h - a worker's connection is closed as the last thing that its program does.
 *
 * The kernel takes a process's memory apart before it closes its descriptors, so a client would wait for the end of its stream
 * for as long as that takes. Here a program that ends by exit(3) closes its connection when its exit handlers, its libraries'
 * destructors and its buffers are done with. For glibc: musl has no place for it. Nothing is done where
 *  - there has been a second thread, which might still write, or hold a stream that exit(3) would not wait for;
 *  - the process has shut itself in, since it could be killed for a call that it did not mean to make;
 *  - 0 and 1 are no sockets: of a file, exit(3) is still to set the position.
 */
#ifndef PRELOAD_END_H
#define PRELOAD_END_H

typedef void end_function(void);

/*
 * What to register in the place of `last`, the dynamic loader's own, which glibc calls after all other exit handlers;
 * `last` itself where nothing is to be done. Before main(), once.
 */
end_function *end_after(end_function *last);

#endif
