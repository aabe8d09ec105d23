/* SPDX-License-Identifier: MIT
 *
 * pairs/service.h - which sockets are a running forkport's, and what they are there.
 *
 * A server is a process called forkport that holds a listening socket, or the parent of a worker; its service is what
 * its command line says. A connection is of that service where its process says so itself: by the environment that a
 * worker is executed with, which names the connection's number and its pair, and the pair must be this one, for a
 * program that a worker starts has that environment too; or else, at a port where a server listens, by being the server
 * or its child, where the number is not known (a worker of a handler or builtin is a copy of the server, and its
 * environment is not in sight). All that is read may be forged by whoever owns the process, so it says nothing about
 * permissions. Only processes of such ports and children of servers are read; of others the parent's name.
 */
#ifndef PAIRS_SERVICE_H
#define PAIRS_SERVICE_H

#include "pairs/pairs.h"

/* The owners are known. False: no memory. */
bool service_find(struct pairs_table *table);

/* The service of the arguments of a `forkport serve`, each ended by a NUL; newly allocated, or NULL: no memory. */
char *service_of_arguments(const char *arguments, size_t length);
/* The number of the connection that an environment is for, if it is of this pair; else 0. */
uint64_t service_connection(const char *environment, size_t length, const struct pair *pair);

#endif
