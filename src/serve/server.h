/* SPDX-License-Identifier: MIT
 *
 * serve/server.h - the public server object, from the inside.
 *
 * <forkport/server.h> is the contract; this adds what the program itself needs beyond it: a server made from a parsed
 * command line, and the log that goes to standard error, which the library never uses by itself.
 */
#ifndef SERVE_SERVER_H
#define SERVE_SERVER_H

#include "config/config.h"

#include <forkport/server.h>

/* The configuration, to be parsed into; the server owns it. */
struct config *server_config(struct fp_server *server);
/* Without "log-file", the log goes to this descriptor, which stays the caller's. */
void server_log_to(struct fp_server *server, int fd);

#endif
