/* SPDX-License-Identifier: MIT */
#include "spawn/engine.h"

#include "spawn/exec.h"
#include "spawn/handler.h"
#include "sys/fd.h"
#include "sys/loop.h"
#include "sys/memory.h"
#include "sys/pinned.h"
#include "sys/process.h"

#include <errno.h>
#include <stdio.h>

/* What was killed is waited for so long; what has not ended then is left. */
#define END_NS INT64_C(2000000000)

static bool executes(const struct spawn_plan *plan)
{
    return plan->path != NULL && !plan->resolve;
}

static void drop_templates(struct engine *engine, int64_t end_ns)
{
    if (engine->templates == NULL)
        return;
    templates_end(engine->templates, end_ns);
    memory_unmap(engine->templates, sizeof(*engine->templates));
    engine->templates = NULL;
}

enum fp_status engine_init(struct engine *engine, const struct spawn_plan *plan, struct fp_error *err)
{
    *engine = (struct engine){.plan = plan, .pinned_fd = -1};
    if (plan->path != NULL && plan->forks) {
        engine->templates = memory_map_private(sizeof(*engine->templates));
        if (engine->templates == NULL)
            return error_set(err, FP_SYSTEM, errno, "prepare", "the fork engine");
        templates_init(engine->templates, plan);
    }
    if (plan->pool_max > 0 && engine->templates != NULL && templates_are_given_up(engine->templates))
        /* The pool says why. */
        drop_templates(engine, 0);
    if (plan->path != NULL && plan->pool_max > 0) {
        engine->pool = memory_map_private(sizeof(*engine->pool));
        if (engine->pool == NULL)
            return error_set(err, FP_SYSTEM, errno, "prepare", "the pool engine");
        enum fp_status status = pool_init(engine->pool, plan, engine->templates, err);
        if (status != FP_OK)
            return status;
    }
    return executes(plan) ? exec_init(engine, err) : FP_OK;
}

size_t engine_stack_size(const struct engine *engine)
{
    return executes(engine->plan) ? 0 : environ_size(&engine->plan->environment);
}

void engine_begin(struct engine *engine, char **memory)
{
    environ_begin(&engine->environ, memory);
    fork_handlers_possible(&engine->fork_handlers);
    if (process_is_filtered())
        return;
    /* One byte stands for its page. */
    const struct iovec written[] = {
        {.iov_base = memory, .iov_len = 1},
        {.iov_base = engine->fork_handlers.thread.cleared, .iov_len = 1},
    };
    engine->pinned_fd = (int)pinned_make(written, written[1].iov_base != NULL ? 2 : 1);
}

void engine_end(struct engine *engine)
{
    environ_end(&engine->environ);
    fd_close(fd_take(&engine->pinned_fd));
}

void engine_done(struct engine *engine)
{
    int64_t end_ns = clock_monotonic_ns() + END_NS;
    struct spawn_outcome outcome;

    /* Of those that were still to wait the templates alone know. */
    if (engine->templates != NULL)
        templates_stop(engine->templates, end_ns);
    while (engine->templates != NULL && templates_outcome(engine->templates, end_ns, &outcome)) {
        if (engine->pool == NULL || !pool_forked(engine->pool, &outcome, end_ns))
            fd_close(outcome.fd);
    }
    if (engine->pool != NULL) {
        pool_end(engine->pool, end_ns);
        memory_unmap(engine->pool, sizeof(*engine->pool));
        engine->pool = NULL;
    }
    drop_templates(engine, end_ns);
    exec_done(engine);
}

bool engine_is_warm(const struct engine *engine)
{
    return engine->templates != NULL || engine->pool != NULL;
}

bool engine_is_starting(const struct engine *engine)
{
    return (engine->templates != NULL && templates_have_orders(engine->templates)) ||
           (engine->pool != NULL && pool_has_orders(engine->pool));
}

bool engine_has_room(const struct engine *engine)
{
    if (engine->pool != NULL && pool_has_waiting(engine->pool))
        return true;
    if (engine->templates != NULL && templates_are_ready(engine->templates))
        return templates_choose(engine->templates) != NULL;
    return !executes(engine->plan) || exec_has_room(engine);
}

enum fp_status engine_start(struct engine *engine, const struct spawn_request *request, int64_t now_ns,
                            pid_t *ret_pid, struct fp_error *err)
{
    if (engine->pool != NULL && pool_has_waiting(engine->pool)) {
        enum fp_status status = pool_order(engine->pool, request, now_ns, err);
        if (status == FP_OK)
            *ret_pid = 0;
        return status;
    }
    if (engine->pool != NULL)
        pool_missed(engine->pool, now_ns);
    struct template *template = engine->templates != NULL ? templates_choose(engine->templates) : NULL;
    if (template != NULL) {
        enum fp_status status = templates_order(engine->templates, template, request, now_ns, err);
        if (status == FP_OK)
            *ret_pid = 0;
        return status;
    }
    if (executes(engine->plan))
        return exec_start(engine, request, ret_pid, err);
    return handler_start(engine, request, ret_pid, err);
}

bool engine_outcome(struct engine *engine, int64_t now_ns, struct spawn_outcome *ret_outcome)
{
    while (engine->templates != NULL && templates_outcome(engine->templates, now_ns, ret_outcome)) {
        if (engine->pool == NULL || !pool_forked(engine->pool, ret_outcome, now_ns))
            return true;
    }
    return engine->pool != NULL && pool_outcome(engine->pool, now_ns, ret_outcome);
}

void engine_look_again(struct engine *engine, pid_t pid, uint64_t key)
{
    if (engine->pool != NULL)
        pool_look_again(engine->pool, pid, key);
}

void engine_child_ended(struct engine *engine, const struct process_end *end, int64_t now_ns)
{
    bool was_ready;

    if (engine->templates != NULL && templates_ended(engine->templates, end, now_ns, &was_ready)) {
        /* Whoever ends one wants the program as it is now: those that it has forked to wait have the old one. */
        if (was_ready && engine->pool != NULL)
            pool_distrust(engine->pool);
    } else if (engine->pool != NULL) {
        pool_ended(engine->pool, end, now_ns);
    }
}

void engine_worker_signalled(struct engine *engine, int number, int64_t now_ns)
{
    if (engine->templates != NULL && templates_distrust(engine->templates, number, now_ns) &&
        engine->pool != NULL)
        pool_distrust(engine->pool);
}

void engine_turn(struct engine *engine, int64_t now_ns)
{
    if (engine->templates != NULL)
        templates_turn(engine->templates, now_ns);
    if (engine->pool != NULL)
        pool_turn(engine->pool, now_ns);
}

int64_t engine_due_ns(const struct engine *engine)
{
    int64_t templates_ns = engine->templates != NULL ? templates_due_ns(engine->templates) : INT64_MAX;
    int64_t pool_ns = engine->pool != NULL ? pool_due_ns(engine->pool) : INT64_MAX;

    return templates_ns < pool_ns ? templates_ns : pool_ns;
}

bool engine_news(struct engine *engine, struct spawn_news *ret_news)
{
    return (engine->templates != NULL && news_take(&engine->templates->news, ret_news)) ||
           (engine->pool != NULL && news_take(&engine->pool->news, ret_news));
}

void engine_hurry(struct engine *engine)
{
    if (engine->templates != NULL)
        templates_hurry(engine->templates);
}

void engine_close(struct engine *engine)
{
    if (engine->pool != NULL)
        pool_close(engine->pool);
}

void engine_flush(void)
{
    if (ftrylockfile(stdin) == 0) {
        fflush(NULL);
        funlockfile(stdin);
    } else if (ftrylockfile(stdout) == 0) {
        fflush_unlocked(stdout);
        funlockfile(stdout);
    }
}
