/* SPDX-License-Identifier: MIT
 *
 * spawn/environment.h - the environment of a worker: the server's, with the connection's variables.
 *
 * The server's environment is gone through once, in environment_init(): what a worker must not have inherited (the
 * variables of a connection, which would be another's) is left out, and the rest is copied, since a program that has a
 * server in it may change its own. environment_fill() adds the variables of one connection in memory of the
 * caller, without allocating; whatever a client can choose in them is an address or a number that we have formatted.
 */
#ifndef SPAWN_ENVIRONMENT_H
#define SPAWN_ENVIRONMENT_H

#include "base/error.h"
#include "spawn/request.h"

/* PROTO TCPLOCALIP TCPLOCALPORT TCPREMOTEIP TCPREMOTEPORT TCPCONNNUM REMOTE_ADDR REMOTE_PORT FORKPORT_PAIR FORKPORT_CONNECTION */
#define ENVIRONMENT_CONNECTION_COUNT 10
/* Room for the texts of those. */
#define ENVIRONMENT_TEXT_SIZE 1024

struct environment {
    char **inherited; /* not terminated; the texts are behind it, in one block */
    size_t count;
};

enum fp_status environment_init(struct environment *environment, char *const inherited[],
                                struct fp_error *err);
void environment_done(struct environment *environment);

/* Has the server's a variable of this name? */
bool environment_has(const struct environment *environment, const char *name);
/* How many pointers environment_fill() writes, the NULL at the end included. */
size_t environment_size(const struct environment *environment);
/* Fills envp[] (of that size) and the texts its last entries point to; how many bytes these are. */
size_t environment_fill(const struct environment *environment, const struct spawn_request *request,
                        char **envp, char texts[ENVIRONMENT_TEXT_SIZE]);
/* The texts that were filled in have been copied from there to there. */
void environment_moved(const struct environment *environment, char **envp, const char *from, char *to);
/* The pair's text among what was filled in, without the name of its variable. */
const char *environment_pair(const struct environment *environment, char *const *envp);

#endif
