/* SPDX-License-Identifier: MIT
 *
 * demux/live_sockets.h - the connected sockets of this host as they come and go, each with its time and its process.
 *
 * A table of what is known of each socket, found by its cookie (the identity) or by its pair. Several sockets may have
 * one pair, one after the other: which of them has a connection is told by the time at which that began. A process is
 * known in some way, and a better way replaces it: who has used the socket, before who has connected it, before who
 * held a descriptor when somebody looked, before who closed it unused; of two in the same way the first stays. A
 * socket that has ended is kept for the segments that are still on their way, then live_sockets_expire() gives it back
 * to its owner's care. At most `most` are kept: then one that has ended makes room, or the new one is not taken in.
 *
 * Pointers are good until the next socket is added. Hashing has a secret, since pairs are others' choice. Not thread-
 * safe; no kernel in here; the only failure is of memory, where the socket is not taken in either.
 */
#ifndef DEMUX_LIVE_SOCKETS_H
#define DEMUX_LIVE_SOCKETS_H

#include "addr/pair.h"
#include "demux/hash.h"
#include "sys/procfs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LIVE_PROCESSES 4
#define LIVE_FOREVER   INT64_MAX
/* Segments and sockets have their times of two clocks, which are compared now and again. */
#define LIVE_CLOCK_ERROR_NS 20000

/* How a process is known, worst first. */
enum live_way {
    LIVE_UNKNOWN,
    LIVE_CLOSED,
    LIVE_HELD,
    LIVE_CONNECTED,
    LIVE_USED,
    LIVE_LISTENS, /* it holds the listening socket; not of a connected one */
};

struct live_process {
    pid_t pid; /* 0: the kernel */
    char name[PROCFS_NAME_SIZE];
};

struct live_socket {
    uint64_t cookie;
    struct pair pair;   /* without a port: not known yet */
    int64_t start_ns;   /* CLOCK_MONOTONIC */
    int64_t end_ns;     /* LIVE_FOREVER: it lives */
    bool active;        /* it was seen to connect */
    bool passive;       /* it comes from a listening socket */
    bool not_permitted; /* its process may not be looked into */
    bool seen;          /* its owner's mark */
    uint8_t way;        /* enum live_way */
    uint8_t process_count;
    uint32_t more; /* processes that hold it too */
    struct live_process processes[LIVE_PROCESSES];
    /* The table's own. */
    uint32_t next[2];
    uint32_t next_ended;
};

struct live_sockets {
    struct live_socket *items;
    uint32_t count; /* of items, free ones included */
    uint32_t room;
    uint32_t free;
    uint32_t most;
    uint32_t used;
    uint32_t *heads[2]; /* by cookie, by pair */
    uint32_t mask;
    uint32_t first_ended; /* in the order of their ends */
    uint32_t last_ended;
    struct hash_secret secret;
};

/* False: no memory. */
bool live_sockets_init(struct live_sockets *sockets, uint32_t most);
void live_sockets_done(struct live_sockets *sockets);

struct live_socket *live_sockets_by_cookie(const struct live_sockets *sockets, uint64_t cookie);
/* The connection whose socket is looked for: from when on it was seen, and whether that was its handshake. */
struct live_moment {
    int64_t time_ns;
    bool opens;
};

/*
 * The socket of this pair that has the connection: of a handshake the one that connected before it, or that came of it;
 * else the one that lived then, the next to come, or the last that has ended. NULL: none.
 */
struct live_socket *live_sockets_by_pair(const struct live_sockets *sockets, const struct pair *pair,
                                         const struct live_moment *moment);
/* A new one, without a pair. NULL: no room. */
struct live_socket *live_sockets_add(struct live_sockets *sockets, uint64_t cookie, int64_t start_ns);
/* Gives it its pair, in place of the one that it has. */
void live_sockets_set_pair(struct live_sockets *sockets, struct live_socket *socket, const struct pair *pair);
void live_sockets_end(struct live_sockets *sockets, struct live_socket *socket, int64_t time_ns);
/* The process, where it is better known than the one there. */
void live_socket_name(struct live_socket *socket, enum live_way way, const struct live_process *processes,
                      size_t count);

/* Takes out one that has ended before; false: there is none. */
bool live_sockets_expire(struct live_sockets *sockets, int64_t before_ns, struct live_socket *ret_socket);
/* Walks over all: from NULL to NULL. */
struct live_socket *live_sockets_next(const struct live_sockets *sockets, const struct live_socket *socket);

#endif
