/* SPDX-License-Identifier: MIT
 *
 * spawn/pool.h - the pool engine: workers that were started ahead and wait at their gate, each for one connection.
 *
 * Within the room only, behind spawn/engine.h. Each is executed as the exec engine does it, with our preload library, which stops it at its
 * gate; an order (wire/template_message.h) brings the connection, and it goes on as the worker. So nothing is shared between two
 * of them, and what a program does before its gate (threads, rings) is its own affair. Between `pool_min` and
 * `pool_max` of them wait: more after a connection found none, fewer when some were not needed for a while. They are
 * made good in the background, some at a time. One that dies while it waits is replaced, more slowly each time; one that dies with an
 * order gives the connection back; a program that does not come to its gate makes the service go on without, for good. While
 * none waits, the engine executes. Time is given in; nothing waits, logs or fails: what happened is told in the news.
 */
#ifndef SPAWN_POOL_H
#define SPAWN_POOL_H

#include "policy/pace.h"
#include "spawn/news.h"
#include "spawn/template.h"
#include "spawn/templates.h"

enum pool_state {
    POOL_FREE,
    POOL_STARTING,
    POOL_WAITING,
    POOL_CALLED, /* was sent its order; whether it has it is not known yet */
    POOL_LEAVING,
    POOL_STATES
};

struct pool_seat {
    struct template worker;
    enum pool_state state;
    struct pool_seat *next; /* in the queue of its state */
    struct pool_seat *previous;
};

struct pool_queue {
    struct pool_seat *first;
    struct pool_seat *last;
    uint32_t count;
};

struct pool {
    const struct spawn_plan *plan;
    int library_fd; /* -1: none are started any more */
    struct pool_seat *seats;
    struct pool_queue queues[POOL_STATES]; /* oldest first */
    uint32_t target;                       /* how many shall wait */
    uint32_t least;                        /* that waited since `judged_ns` */
    int64_t judged_ns;
    struct pace pace;
    int64_t start_ns; /* the next one not before */
    int64_t due_ns;
    unsigned stillborn; /* in a row, that did not come to the gate */
    uint32_t died;      /* that waited, since it was told */
    struct process_end death;
    bool is_filled; /* and that was told */
    struct news news;
};

/* The plan is borrowed until pool_done(). */
enum fp_status pool_init(struct pool *pool, const struct spawn_plan *plan, struct fp_error *err);
/* Ends those that wait. */
void pool_done(struct pool *pool);
/* Starts, replaces and gives up what it is time for. Before pool_due_ns() nothing is; INT64_MAX: never. */
void pool_turn(struct pool *pool, int64_t now_ns);
int64_t pool_due_ns(const struct pool *pool);

bool pool_has_waiting(const struct pool *pool);
/* Sends an order to the one that waits longest; there is one (pool_has_waiting). */
enum fp_status pool_order(struct pool *pool, const struct spawn_request *request, int64_t now_ns,
                          struct fp_error *err);
bool pool_outcome(struct pool *pool, struct spawn_outcome *ret_outcome);
/* A child was reaped that is no connection's: true, it was of the pool. */
bool pool_ended(struct pool *pool, const struct process_end *end, int64_t now_ns);
/* No more connections will come: those that wait may go. */
void pool_close(struct pool *pool);

#endif
