/* SPDX-License-Identifier: MIT
 *
 * spawn/pool.h - the pool engine: workers that were started ahead and wait at their gate, each for one connection.
 *
 * Within the room only, behind spawn/engine.h. One is forked from a template or executed with our preload library, which stops it
 * at its gate; an order (wire/template_message.h) brings the connection, and it goes on as the worker. Between `pool_min`
 * and `pool_max` of them wait: more after a connection found none, fewer when some were not needed for a while. They
 * are made good in the background, some at a time. One that dies while it waits is replaced, more slowly each time; one
 * that dies with an order gives the connection back. What cannot be forked is executed, what does not come to its gate
 * then is not started ahead any more. Time is given in; nothing waits, logs or fails: what happened is told in the news.
 */
#ifndef SPAWN_POOL_H
#define SPAWN_POOL_H

#include "policy/pace.h"
#include "spawn/news.h"
#include "spawn/template.h"
#include "spawn/templates.h"

enum pool_state {
    POOL_FREE,
    POOL_STARTING, /* executed, not at its gate yet */
    POOL_FORKING,  /* ordered from a template */
    POOL_WAITING,
    POOL_CALLED, /* was sent its order; whether it has it is not known yet */
    POOL_LEAVING,
    POOL_STATES
};

/* Room for a process, from its start until its connection is known to have it. */
struct pool_seat {
    enum pool_state state;
    pid_t pid;    /* -1: none, or not known */
    int send_fd;  /* where it waits */
    int claim_fd; /* its own end */
    bool is_forked;
    bool is_unwanted;       /* to go once it is forked */
    int64_t since_ns;       /* started, then called */
    int64_t looked_ns;      /* whether it has its order; 0: not yet */
    uint64_t key;           /* of the connection it was called for */
    struct pool_seat *next; /* in the queue of its state */
    struct pool_seat *previous;
    struct template starting; /* until it is at its gate */
};

struct pool_queue {
    struct pool_seat *first;
    struct pool_seat *last;
    uint32_t count;
};

struct pool {
    const struct spawn_plan *plan;
    struct templates *templates; /* NULL: executed, all of them */
    int library_fd;              /* -1: none are executed any more */
    bool is_closed;
    struct pool_seat *seats;
    char **scratch;                        /* for the environments of orders */
    struct pool_queue queues[POOL_STATES]; /* oldest first */
    uint32_t fewest;
    uint32_t most;
    uint32_t target; /* how many shall wait */
    uint32_t least;  /* that waited since `judged_ns` */
    int64_t judged_ns;
    int64_t grown_ns;
    struct pace pace;
    int64_t start_ns; /* the next one not before */
    int64_t due_ns;
    struct template_trials trials;
    uint32_t died; /* that waited, since it was told */
    struct process_end death;
    bool is_filled;   /* and that was told */
    int64_t short_ns; /* when a process could last not be had; 0: never since all waited */
    struct news news;
};

/* The plan, and the templates, are borrowed until pool_end(). */
enum fp_status pool_init(struct pool *pool, const struct spawn_plan *plan, struct templates *templates,
                         struct fp_error *err);
/* Ends those that wait, and waits for them until then. */
void pool_end(struct pool *pool, int64_t end_ns);
/* Starts, replaces and gives up what it is time for. Before pool_due_ns() nothing is; INT64_MAX: never. */
void pool_turn(struct pool *pool, int64_t now_ns);
int64_t pool_due_ns(const struct pool *pool);

bool pool_has_waiting(const struct pool *pool);
/* Has one that waited an order of which nothing is known yet? */
bool pool_has_orders(const struct pool *pool);
/* Sends an order to the one that waits longest; there is one (pool_has_waiting). */
enum fp_status pool_order(struct pool *pool, const struct spawn_request *request, int64_t now_ns,
                          struct fp_error *err);
/* A connection found none that waits. */
void pool_missed(struct pool *pool, int64_t now_ns);
bool pool_outcome(struct pool *pool, int64_t now_ns, struct spawn_outcome *ret_outcome);
/* Each is asked once at a time, but for this one, which has ended meanwhile, or this connection's, which has written. */
void pool_look_again(struct pool *pool, pid_t pid, uint64_t key);
/* An outcome of the templates: true, it was an order of the pool's, which takes all of it. */
bool pool_forked(struct pool *pool, const struct spawn_outcome *take_outcome, int64_t now_ns);
/* A child was reaped that is no connection's, and no template. */
void pool_ended(struct pool *pool, const struct process_end *end, int64_t now_ns);
/* What was forked until now shares a layout that may be known, or is of a program that is to be served no more. */
void pool_distrust(struct pool *pool);
/* No more connections will come: those that wait may go. */
void pool_close(struct pool *pool);

#endif
