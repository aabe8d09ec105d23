/* SPDX-License-Identifier: MIT
 *
 * spawn/templates.h - the templates of a service: how many there are, when one is replaced, when to do without.
 *
 * Within the room only, behind spawn/engine.h. Keeps as many templates ready as are in demand, within what the plan says, and starts each one's
 * successor before it is worn out: after so many connections or so much time. After a worker's fault, all are retired at
 * once, since their workers share a layout that may have been guessed. A template that dies is started anew, more slowly each
 * time; where the first does not come to its gate, but for want of processes, the service goes on without, for good. While there is none, the engine
 * executes. Orders that a dead template left open are given back, each once. Time is given in; nothing waits, logs or
 * fails: what happened is told in its news.
 */
#ifndef SPAWN_TEMPLATES_H
#define SPAWN_TEMPLATES_H

#include "policy/demand.h"
#include "policy/pace.h"
#include "spawn/news.h"
#include "spawn/template.h"

#define TEMPLATES_MAX 16

/* What became of an order. */
struct spawn_outcome {
    uint64_t key;
    pid_t pid; /* of the worker, or -1: it has none */
    int fd;    /* without a worker: the connected socket, the caller's again; -1: lost */
};

struct templates {
    const struct spawn_plan *plan;
    int library_fd; /* -1: there are none, for good */
    struct template items[TEMPLATES_MAX];
    uint32_t last; /* that was given an order */
    struct demand demand;
    struct pace pace;
    int64_t start_ns; /* the next one not before */
    int64_t due_ns;
    int64_t short_ns; /* when a process could last not be had; 0: never since one came to its gate */
    struct template_trials trials;
    struct news news;
};

void templates_init(struct templates *templates, const struct spawn_plan *plan);
/* Ends the templates, and waits for them until then. */
void templates_end(struct templates *templates, int64_t end_ns);
/* At the server's end: no process is forked any more once this returns; what was is in the outcomes. Waits until then. */
void templates_stop(struct templates *templates, int64_t end_ns);
/* Ends those that have connections and can make no process for them now: these come back. */
void templates_hurry(struct templates *templates);
/* Starts, replaces and gives up what it is time for. Before templates_due_ns() nothing is; INT64_MAX: never. */
void templates_turn(struct templates *templates, int64_t now_ns);
int64_t templates_due_ns(const struct templates *templates);

/* The one that shall have the next order; NULL: none has room. */
struct template *templates_choose(struct templates *templates);
/* Are there none, and will there be none any more? */
bool templates_are_given_up(const struct templates *templates);
/* Is any at its gate? */
bool templates_are_ready(const struct templates *templates);
/* Is an order open, to any of them? */
bool templates_have_orders(const struct templates *templates);
/* All orders that are open, where processes are short; 0: they are not. */
uint32_t templates_short_orders(const struct templates *templates);
enum fp_status templates_order(struct templates *templates, struct template *template,
                               const struct spawn_request *request, int64_t now_ns, struct fp_error *err);
/* An order for a process that waits for another one; its outcome comes with this key. */
enum fp_status templates_order_waiting(struct templates *templates, struct template *template, int control_fd,
                                       uint64_t key, int64_t now_ns, struct fp_error *err);
bool templates_outcome(struct templates *templates, int64_t now_ns, struct spawn_outcome *ret_outcome);
/* A child was reaped that is no worker: true, it was a template; one that served until then, or not. */
bool templates_ended(struct templates *templates, const struct process_end *end, int64_t now_ns,
                     bool *ret_was_ready);
/* A worker ended by a signal; true: of a fault, so that what was forked before is not to be used any more. */
bool templates_distrust(struct templates *templates, int number, int64_t now_ns);

#endif
