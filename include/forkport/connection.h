/* SPDX-License-Identifier: MIT
 *
 * forkport/connection.h - one connection, as the handler that serves it sees it.
 *
 * A handler runs in a process of its own, a forked copy of the server made for this connection alone. Descriptors 0
 * and 1 are the connected socket, so printf(3) writes to the client and scanf(3) reads from it; 2 goes to the server's
 * log; everything else the server had open is closed, but for what fp_server_keep() named. Signals are at their
 * defaults, none is blocked, and the environment has the variables of forkport-serve(1) (TCPREMOTEIP and so on).
 *
 * The object belongs to the library and lives until the handler returns. Nothing in here fails.
 */
#ifndef FORKPORT_CONNECTION_H
#define FORKPORT_CONNECTION_H

#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fp_connection;

/**
 * Serves one connection. What it returns (0 to 255) is the exit status of its process, as it stands in the "end"
 * event. When it returns, stdout and stderr are flushed and the process ends, without the atexit(3) functions, which are the
 * server's; other streams that it opened it must close itself. `data` is the server's, as it was when the process was forked.
 */
typedef int fp_handler(struct fp_connection *connection, void *data);

/** The connected socket, blocking. It is descriptor 0, and may be closed or shut down. */
int fp_connection_fd(const struct fp_connection *connection);

/** The socket pair, local end first: "{192.0.2.1:21, 198.51.100.7:1500}". Valid until the handler returns. */
const char *fp_connection_pair(const struct fp_connection *connection);

/** The client's end: its length is returned, its address copied to *ret_address. IPv4 is AF_INET whatever the listening socket is. */
socklen_t fp_connection_foreign(const struct fp_connection *connection, struct sockaddr_storage *ret_address);

/** The server's end, filled in even where the listening socket has the wildcard address. */
socklen_t fp_connection_local(const struct fp_connection *connection, struct sockaddr_storage *ret_address);

/** The number of the connection, from 1, as in the log. */
uint64_t fp_connection_number(const struct fp_connection *connection);

#ifdef __cplusplus
}
#endif

#endif
