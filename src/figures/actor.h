/* SPDX-License-Identifier: MIT
 *
 * figures/actor.h - the processes of the story: a server, its children, clients. They do what they are told.
 *
 * Each is a real process with real sockets: the server listens, accepts and forks a child for each connection, which
 * alone keeps the connected socket and answers what it reads; a client connects from a port that it is told, and sends a
 * line. An order and its report are a message each; children report on the server's channel. An actor ends when its
 * channel does, that is also when whoever tells it has been killed, and the server then ends its children first; every
 * connection ends with a reset, so that no TIME-WAIT is left. Waiting for a report has an end. Not for supervisors:
 * actor_start() forks the whole process.
 */
#ifndef FIGURES_ACTOR_H
#define FIGURES_ACTOR_H

#include "addr/pair.h"
#include "base/error.h"

#include <sys/types.h>

enum actor_kind { ACTOR_SERVER, ACTOR_CLIENT };

enum actor_verb {
    /* of a server */
    ORDER_LISTEN,     /* on the local end, in place of where it listened before */
    ORDER_BIND_AGAIN, /* its listening socket to the local end as well */
    ORDER_AWAIT,      /* a connection in its queue */
    ORDER_ACCEPT,     /* it, and have a child serve it */
    /* of a client */
    ORDER_CONNECT, /* from the local to the foreign end */
    ORDER_SEND,    /* a line, and read the answer */
};

#define ACTOR_LINE_SIZE 64

struct actor_report {
    bool of_child; /* of the server's: it has a connection to serve, or has served a line */
    pid_t pid;     /* who reports */
    enum fp_status status;
    struct fp_error error;      /* where the status is not FP_OK */
    char line[ACTOR_LINE_SIZE]; /* read by a child, or by a client */
};

struct actor {
    pid_t pid;
    int channel; /* owned */
};

struct actors {
    struct actor items[8];
    size_t count;
};

/* Forks one, which belongs to the host that the calling thread is at; *ret_actor stays the list's. */
enum fp_status actor_start(struct actors *actors, enum actor_kind kind, const struct actor **ret_actor,
                           struct fp_error *err);
enum fp_status actor_tell(const struct actor *actor, enum actor_verb verb, const struct pair *pair,
                          struct fp_error *err);
/* One report of the actor, or of a child. What it reports may be a failure. */
enum fp_status actor_hear(const struct actor *actor, struct actor_report *ret_report, struct fp_error *err);
/* Tells, hears, and fails where the report is a failure. */
enum fp_status actor_do(const struct actor *actor, enum actor_verb verb, const struct pair *pair,
                        struct fp_error *err);
/* Ends all and waits until they have ended. */
void actor_end_all(struct actors *actors);

#endif
