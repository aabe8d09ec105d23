/* SPDX-License-Identifier: MIT
 *
 * figures/stage.h - the two hosts of the section, on which its story is played: a server with two addresses, a client.
 *
 * With privileges they are two network namespaces with a wire for each address of the server; without, the same in a
 * user namespace of one's own; and where the kernel gives none of these, addresses of the loopback device (127/8),
 * with a port that needs no privilege. In namespaces the addresses and ports are those of the book, and no packet
 * leaves them. stage_open() takes the process there for good: it never comes back to where it was, so it is for one
 * that has nothing else to do. Between the hosts it goes by stage_enter(); sockets that are made belong to the host it
 * is at. Nothing has a name in the file system, so nothing is left when the last process ends, however it ends.
 */
#ifndef FIGURES_STAGE_H
#define FIGURES_STAGE_H

#include "addr/pair.h"
#include "base/error.h"

enum stage_kind {
    STAGE_NAMESPACES,      /* network namespaces */
    STAGE_USER_NAMESPACES, /* the same in a user namespace */
    STAGE_LOOPBACK,
};

enum stage_host { STAGE_SERVER, STAGE_CLIENT, STAGE_HOSTS };

struct stage {
    enum stage_kind kind;
    struct address server[2];    /* with the port */
    struct address client;       /* without */
    int namespaces[STAGE_HOSTS]; /* owned; -1: there is but one host */
    int tap;                     /* owned; the wire of the server's first address; -1: cannot be had */
    int errnum;                  /* why it cannot */
    char why[208];               /* of the loopback: why no namespace was made; "": it was asked for */
};

/* `loopback`: its addresses are asked for. On failure nothing is open, but the process may be in a namespace. */
enum fp_status stage_open(bool loopback, struct stage *ret_stage, struct fp_error *err);
void stage_close(struct stage *stage);
enum fp_status stage_enter(const struct stage *stage, enum stage_host host, struct fp_error *err);
/* Is the local end of a pair at this host? */
bool stage_is_at(const struct stage *stage, enum stage_host host, const struct pair *pair);
/* "network namespaces", ... */
const char *stage_kind_name(enum stage_kind kind);

#endif
