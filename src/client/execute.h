/* SPDX-License-Identifier: MIT
 *
 * client/execute.h - a program in place of the client, with the connection as its standard input and output.
 *
 * The process becomes the program: nothing is forked and nothing is left to wait. It gets what tcpclient's programs
 * and the workers of `forkport serve` expect: the connected socket, blocking, on descriptors 0 and 1, and on 6 and 7;
 * PROTO, TCPLOCALIP, TCPLOCALPORT, TCPREMOTEIP, TCPREMOTEPORT and FORKPORT_PAIR, while what else is known to such
 * programs of a connection, and would be that of another one, is unset; every signal with its default disposition and
 * none blocked. Other descriptors and the rest of the environment are the caller's, who gave them to us.
 */
#ifndef CLIENT_EXECUTE_H
#define CLIENT_EXECUTE_H

#include "addr/pair.h"

/* Returns only where it failed; standard input and output may then be lost already. */
enum fp_status execute_program(int take_socket, const struct pair *pair, const char *path, char *const argv[],
                               struct fp_error *err);

#endif
