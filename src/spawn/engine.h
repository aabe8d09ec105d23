/* SPDX-License-Identifier: MIT
 *
 * spawn/engine.h - how an admitted connection gets its process.
 *
 * An engine takes a request and gives back the pid of a worker that is the caller's own child; nothing above it knows
 * which engine it was. Starting never waits for the child: what fails inside it (the program, the identity) stands in the request's
 * report once the child has been reaped. The connected socket stays the caller's, to be closed after the call.
 * engine_start() itself fails with FP_SYSTEM where no process can be made now (EAGAIN, ENOMEM); the caller tries again later.
 *
 *   exec     a child in the supervisor's memory, with a stack of its own, executes the program
 *   fork     a template, a started program that waits, forks itself; until one waits, exec
 *   pool     a program that was started ahead, and waits, goes on with the connection; where none does, exec
 *   handler  a forked copy of the supervisor calls a C function
 *
 * Where the start is under way when engine_start() returns, its outcome comes later from engine_outcome(), which
 * has it at the latest when the worker has ended: it is asked before ended children are looked up.
 */
#ifndef SPAWN_ENGINE_H
#define SPAWN_ENGINE_H

#include "spawn/environ.h"
#include "spawn/news.h"
#include "spawn/plan.h"
#include "spawn/pool.h"
#include "spawn/request.h"
#include "spawn/templates.h"
#include "sys/fork_handlers.h"

#include <sys/types.h>

struct launch_pad;

struct engine {
    const struct spawn_plan *plan;
    struct launch_pad *pads; /* of the exec engine */
    uint32_t pad_last;
    struct templates *templates; /* of the fork engine, else NULL */
    struct pool *pool;           /* of the pool engine, else NULL */
    /* Of the handler engine; texts of its environment, until it is known how many bytes they are. */
    struct fork_handlers fork_handlers;
    struct environ environ;
    int pinned_fd; /* -1: no page is */
    char texts[ENVIRONMENT_TEXT_SIZE];
};

/* The plan is borrowed until engine_done(). */
enum fp_status engine_init(struct engine *engine, const struct spawn_plan *plan, struct fp_error *err);
/* Ends what waits for connections; what does not end within two seconds is left. */
void engine_done(struct engine *engine);
/* Does it keep processes between connections, or starts that are under way? */
bool engine_is_warm(const struct engine *engine);
/* Is a start under way? Its process may be there, and have ended, before engine_outcome() tells of it. */
bool engine_is_starting(const struct engine *engine);
/* Can a process be started now, as far as the engine itself goes? If not, it can within about a millisecond. */
bool engine_has_room(const struct engine *engine);
/*
 * Around all starts: what copies of this process need of memory that they have anyway, which is on the stack of who serves. So many
 * pointers; 0: nothing, and then it shall not begin. The pages that this process and each copy write to are pinned (sys/pinned.h): that of
 * the pointers, and that of the thread's number.
 */
size_t engine_stack_size(const struct engine *engine);
void engine_begin(struct engine *engine, char **memory);
void engine_end(struct engine *engine);
/* *ret_pid 0: it is under way. */
enum fp_status engine_start(struct engine *engine, const struct spawn_request *request, int64_t now_ns,
                            pid_t *ret_pid, struct fp_error *err);

/* What became of a start under way; false: nothing of any of them, yet. */
bool engine_outcome(struct engine *engine, int64_t now_ns, struct spawn_outcome *ret_outcome);
/*
 * The next engine_outcome() has that of a process that has ended (else 0), or of a connection whose worker has written (else 0), though
 * nothing was known of it a moment ago.
 */
void engine_look_again(struct engine *engine, pid_t pid, uint64_t key);
/* A child ended that is no connection's. */
void engine_child_ended(struct engine *engine, const struct process_end *end, int64_t now_ns);
/* A worker was ended by a signal. */
void engine_worker_signalled(struct engine *engine, int number, int64_t now_ns);
/* Looks after what the engine keeps; to be called again at engine_due_ns(), INT64_MAX: need not be. */
void engine_turn(struct engine *engine, int64_t now_ns);
int64_t engine_due_ns(const struct engine *engine);
/* Connections for which no process can be made for now come back. */
void engine_hurry(struct engine *engine);
/* No more connections will come, but those held: what was started ahead of them may go. */
void engine_close(struct engine *engine);
/* What happened meanwhile that is worth an event. */
bool engine_news(struct engine *engine, struct spawn_news *ret_news);

/*
 * Before copies are made: writes out what stdio has buffered, which each copy would have too. While another thread reads from
 * standard input, which may take for ever, it is done for standard output alone.
 */
void engine_flush(void);

#endif
