/* SPDX-License-Identifier: MIT
 *
 * spawn/template.h - one template: a started program that waits at its gate and is forked from for each connection.
 *
 * Within the room only, behind spawn/templates.h. It is started as a worker is (spawn/child.h), with our preload library
 * in its environment, and is sent orders (wire/template_message.h). An order is answered when its worker exists; until then it
 * is open. The supervisor holds both ends of the socket, so orders that a dead template left open can be taken back, with their
 * connections. Nothing here waits: what the template does is seen by looking at its board. The program could write
 * anything there; a pid in it is the caller's to check against the kernel before it is used for more than a look-up.
 */
#ifndef SPAWN_TEMPLATE_H
#define SPAWN_TEMPLATE_H

#include "spawn/plan.h"
#include "spawn/request.h"
#include "sys/process.h"
#include "wire/template_message.h"

enum template_state {
    TEMPLATE_FREE,    /* no process */
    TEMPLATE_UNREADY, /* started, not yet at its gate */
    TEMPLATE_READY,
    TEMPLATE_RETIRED /* gets no more orders; ends when it has none left */
};

struct template
{
    enum template_state state;
    pid_t pid;
    pid_t own_pid; /* the same, also once it was reaped */
    int send_fd;   /* -1 once retired */
    int claim_fd;  /* the template's own end */
    struct template_board *board;
    struct template_pad *pad;
    uint32_t sent; /* orders, in its life */
    uint32_t answered;
    int64_t started_ns;
    int64_t moved_ns; /* when it last did something, or had nothing to do */
    uint64_t keys[TEMPLATE_ORDERS];
    uint32_t failed_forks; /* that are known */
    uint32_t learnt_pages; /* as many as was told */
    bool is_short;         /* of what a fork takes: some have failed since its last answer ... */
    int64_t short_ns;      /* ... and this was the first */
    bool broken;           /* says what cannot be */
};

/* Starts the process; `is_worker`: one that takes one order, and goes on as its worker itself. */
enum fp_status template_start(struct template *template, const struct spawn_plan *plan, int library_fd,
                              bool is_worker, int64_t now_ns, struct fp_error *err);
/* Sends an order; there is room for it (template_has_room). */
enum fp_status template_order(struct template *template, const struct spawn_plan *plan,
                              const struct spawn_request *request, int64_t now_ns, struct fp_error *err);
/* Has it come to its gate? One that may wait where our library does not see it is asked to. */
bool template_is_at_gate(struct template *template, int64_t now_ns);
/* An order for a process that waits at `control_fd` for another one, which brings its connection. */
enum fp_status template_order_waiting(struct template *template, int control_fd, uint64_t key, int64_t now_ns,
                                      struct fp_error *err);
/* Sends an order to whoever waits; `scratch` has room for an environment's pointers. */
enum fp_status template_send(const struct spawn_plan *plan, int send_fd, uint32_t sequence,
                             const struct spawn_request *request, char **scratch, struct fp_error *err);
bool template_has_room(const struct template *template);
uint32_t template_open_orders(const struct template *template);
/* Is there an order that it has no worker for yet, answers included that nobody has asked for? */
bool template_is_behind(const struct template *template);
/* Has a fork failed that was not known? For a minute it is not stuck then: it tries again. */
bool template_is_refused(struct template *template, int64_t now_ns);
/* The next answer: false, there is none now. */
bool template_answer(struct template *template, int64_t now_ns, uint64_t *ret_key, pid_t *ret_pid);
/*
 * After the process was reaped and its answers were taken: an order that has no worker, and its connected socket, the
 * caller's. 1: one was taken back, 0: there is none, -1: not now, for want of a descriptor, say.
 */
int template_take_back(struct template *template, uint64_t *ret_key, int *ret_fd);
/* Lets it end by itself. */
void template_retire(struct template *template);
/* Gives up all of one that has no process any more. */
void template_done(struct template *template);
/* At the server's end: kills the process, if there is one, waits for it until then, and gives up the rest. */
void template_end(struct template *template, int64_t end_ns);
/* What was seen of a program's way to its gate. */
struct template_trials {
    bool proven;        /* one came to it */
    unsigned stillborn; /* before that: how many were ended by a signal on the way */
};

/* Did it end before its gate, since processes were short? */
bool template_was_short(const struct template *template);
/*
 * Whether a program of which this one ended before its gate is not to be tried again: it says that it cannot wait there,
 * ends by itself, or by a signal, twice. SIGKILL is somebody else's doing, or the want of memory, and does not count, nor does a
 * want of processes. Of a program that has come to its gate before only what it says counts: it may be gone for a moment,
 * while it is replaced; and not that its copies wait too long, which the machine may have to do with.
 */
bool template_is_hopeless(const struct template *template, const struct process_end *end,
                          struct template_trials *trials);
/* Why it ended before its gate, to be read after the program's name. */
void template_why_ended(const struct template *template, const struct process_end *end, char *text,
                        size_t size);

#endif
