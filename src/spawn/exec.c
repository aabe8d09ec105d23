/* SPDX-License-Identifier: MIT */
#include "spawn/exec.h"

#include "sys/memory.h"
#include "sys/process.h"
#include "sys/signals.h"

#include <errno.h>

/*
 * Why CLONE_VM without CLONE_VFORK: with it the supervisor would stand still until the program has been executed, for as
 * long as its file system takes. The cost is the same (doc/decisions.md has the figures); the price is a stack
 * for each child under way. No pidfd: it would be a descriptor for each connection that lives, and the
 * supervisor reaps all its children anyway, so a pid it holds cannot be another's.
 */
#define PAD_COUNT       64
#define PAD_STACK_BYTES 8192

struct launch_pad {
    volatile int in_use; /* cleared by the kernel, CLONE_CHILD_CLEARTID */
    struct child_setup setup;
    const struct spawn_plan *plan;
    volatile struct child_report *report;
    char **envp; /* in the memory behind the pads */
    char texts[ENVIRONMENT_TEXT_SIZE];
    char stack[PAD_STACK_BYTES] __attribute__((aligned(16)));
};

static size_t pads_bytes(const struct spawn_plan *plan)
{
    return PAD_COUNT * (sizeof(struct launch_pad) + environment_size(&plan->environment) * sizeof(char *));
}

enum fp_status exec_init(struct engine *engine, struct fp_error *err)
{
    size_t env_size = environment_size(&engine->plan->environment);

    engine->pads = memory_map_private(pads_bytes(engine->plan));
    if (engine->pads == NULL)
        return error_set(err, FP_SYSTEM, errno, "prepare", "the exec engine");
    char **envp = (char **)(engine->pads + PAD_COUNT);
    for (size_t i = 0; i < PAD_COUNT; i++)
        engine->pads[i].envp = envp + i * env_size;
    return FP_OK;
}

void exec_done(struct engine *engine)
{
    bool is_used = false;

    for (size_t i = 0; engine->pads != NULL && i < PAD_COUNT; i++)
        is_used = is_used || __atomic_load_n(&engine->pads[i].in_use, __ATOMIC_ACQUIRE) != 0;
    /* A process that could not be ended may still be on its own: then they are left to it. */
    if (engine->pads != NULL && !is_used)
        memory_unmap(engine->pads, pads_bytes(engine->plan));
    engine->pads = NULL;
}

/* The number of a pad that is free, or PAD_COUNT. The one used last is taken again where it can be: its pages are warm. */
static uint32_t find_pad(const struct engine *engine)
{
    for (uint32_t i = 0; i < PAD_COUNT; i++) {
        uint32_t number = (engine->pad_last + i) % PAD_COUNT;
        if (__atomic_load_n(&engine->pads[number].in_use, __ATOMIC_ACQUIRE) == 0)
            return number;
    }
    return PAD_COUNT;
}

bool exec_has_room(const struct engine *engine)
{
    return find_pad(engine) != PAD_COUNT;
}

/* In the child. */
CHILD_NO_RETURN static int launch(void *data)
{
    struct launch_pad *pad = data;

    child_execute(&pad->setup, pad->plan->path, pad->plan->argv, pad->envp, pad->report);
}

enum fp_status exec_start(struct engine *engine, const struct spawn_request *request, pid_t *ret_pid,
                          struct fp_error *err)
{
    const struct spawn_plan *plan = engine->plan;
    uint32_t number = find_pad(engine);
    sigset_t old;

    if (number == PAD_COUNT)
        return error_set(err, FP_SYSTEM, EAGAIN, "start", "%s", plan->path);
    struct launch_pad *pad = &engine->pads[number];
    engine->pad_last = number;
    pad->plan = plan;
    plan_setup(plan, request, &pad->setup);
    pad->report = request->report;
    environment_fill(&plan->environment, request, pad->envp, pad->texts);
    pad->in_use = 1;
    /* A handler of the embedding program must not run in the child, on our stack, before it is set back. */
    bool guarded = plan->setup.default_signals != 0;
    if (guarded)
        signals_block_all(&old);
    pid_t pid = process_clone_vm(launch, pad, pad->stack, sizeof(pad->stack), &pad->in_use);
    int errnum = errno;
    if (guarded)
        signals_set_mask(&old, NULL);
    if (pid < 0) {
        pad->in_use = 0;
        return error_set(err, FP_SYSTEM, errnum, "start", "%s", plan->path);
    }
    *ret_pid = pid;
    return FP_OK;
}
