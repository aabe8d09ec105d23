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
 *   handler  a forked copy of the supervisor calls a C function
 */
#ifndef SPAWN_ENGINE_H
#define SPAWN_ENGINE_H

#include "spawn/plan.h"
#include "spawn/request.h"

#include <sys/types.h>

struct launch_pad;

struct engine {
    const struct spawn_plan *plan;
    struct launch_pad *pads; /* of the exec engine */
    uint32_t pad_last;
};

/* The plan is borrowed until engine_done(). */
enum fp_status engine_init(struct engine *engine, const struct spawn_plan *plan, struct fp_error *err);
void engine_done(struct engine *engine);
/* Can a process be started now, as far as the engine itself goes? If not, it can within about a millisecond. */
bool engine_has_room(const struct engine *engine);
enum fp_status engine_start(struct engine *engine, const struct spawn_request *request, pid_t *ret_pid,
                            struct fp_error *err);

#endif
