/* SPDX-License-Identifier: MIT */
#include "spawn/engine.h"

#include "spawn/exec.h"
#include "spawn/handler.h"

static bool executes(const struct spawn_plan *plan)
{
    return plan->path != NULL && !plan->resolve;
}

enum fp_status engine_init(struct engine *engine, const struct spawn_plan *plan, struct fp_error *err)
{
    *engine = (struct engine){.plan = plan};
    return executes(plan) ? exec_init(engine, err) : FP_OK;
}

void engine_done(struct engine *engine)
{
    exec_done(engine);
}

bool engine_has_room(const struct engine *engine)
{
    return !executes(engine->plan) || exec_has_room(engine);
}

enum fp_status engine_start(struct engine *engine, const struct spawn_request *request, pid_t *ret_pid,
                            struct fp_error *err)
{
    if (executes(engine->plan))
        return exec_start(engine, request, ret_pid, err);
    return handler_start(engine->plan, request, ret_pid, err);
}
