/* SPDX-License-Identifier: MIT */
#include "spawn/plan.h"

#include "base/time.h"
#include "config/options.h"
#include "spawn/report.h"
#include "sys/child.h"
#include "sys/fd.h"
#include "sys/process.h"
#include "sys/program.h"
#include "sys/signals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Each takes the memory of a started program. */
#define TEMPLATES_AT_ONCE 8

extern char **environ;

/* Whatever keeps a program from being run, the start fails for what was named: 66, or 77 for permission. */
static enum fp_status cannot_run(const char *name, struct fp_error *err)
{
    enum fp_status class = errno == EACCES ? FP_NOT_PERMITTED : FP_NO_INPUT;

    return error_set(err, error_is_shortage(errno) ? FP_SYSTEM : class, errno, "run", "%s", name);
}

static enum fp_status find_program(struct spawn_plan *plan, const struct config *config, struct fp_error *err)
{
    const char *name = config->program[0];
    char interpreter[SHEBANG_LINE_BYTES];

    plan->path = program_find(name);
    if (plan->path == NULL)
        return cannot_run(name, err);
    if (!shebang_can_run(plan->path, interpreter)) {
        enum fp_status status = cannot_run(name, err);
        error_hint(err, "its interpreter, %s", interpreter);
        return status;
    }
    plan->argv = config->program;
    return config->engine == ENGINE_EXEC ? FP_OK : shebang_init(&plan->shebang, plan->path, plan->argv, err);
}

static void set_identity(struct child_setup *setup, const struct config_identity *identity)
{
    setup->set_user = identity->user_set;
    setup->set_groups = identity->user_set || identity->group_set;
    setup->uid = identity->uid;
    setup->gid = identity->gid;
    setup->groups = identity->groups;
    setup->group_count = identity->group_count;
    process_identity(&setup->old_uid, &setup->old_gid);
}

static bool try_in_child(const char *path, const struct child_setup *setup,
                         volatile struct child_report *report)
{
    char interpreter[SHEBANG_LINE_BYTES];

    if (!child_prepare(setup, report))
        return false;
    if (path == NULL || (program_check(path) == 0 && shebang_can_run(path, interpreter)))
        return true;
    report->step = CHILD_STEP_PROGRAM;
    report->errnum = errno;
    return false;
}

static enum fp_status identity_failed(const struct child_setup *setup, const char *path,
                                      const volatile struct child_report *report, struct fp_error *err)
{
    const char *step = child_step_name(report->step);

    if (report->step == CHILD_STEP_PROGRAM)
        return error_set(err, FP_NOT_PERMITTED, report->errnum, step, "%s as a worker", path);
    if (setup->set_user)
        return error_set(err, FP_NOT_PERMITTED, report->errnum, step, "of workers (uid %u, gid %u)",
                         setup->uid, setup->gid);
    return error_set(err, FP_NOT_PERMITTED, report->errnum, step, "of workers (gid %u)", setup->gid);
}

/* A child does all that a worker's child does but run: what fails for it would fail for every connection. */
static enum fp_status try_identity(const struct spawn_plan *plan, struct fp_error *err)
{
    /* The plan is not in forked copies, as all that is the supervisor's. */
    const char *path = plan->path;
    volatile struct child_report *report = NULL;
    FD_AUTO null_fd = fd_reserve();
    struct child_setup setup = plan->setup;

    if (!setup.set_user && !setup.set_groups)
        return FP_OK;
    setup.socket_fd = null_fd;
    setup.stderr_fd = -1;
    setup.to_log = false;
    report = report_map(1);
    if (null_fd < 0 || report == NULL) {
        report_unmap(report, 1);
        return error_set(err, FP_SYSTEM, errno, "try", "the worker's user");
    }
    pid_t pid = process_fork();
    if (pid == 0)
        process_exit(try_in_child(path, &setup, report) ? 0 : CHILD_FAILED);
    enum fp_status status = FP_OK;
    if (pid < 0)
        status = error_set(err, FP_SYSTEM, errno, "try", "the worker's user");
    else if (process_wait(pid) < 0 || report->step != CHILD_STEP_NONE)
        status = identity_failed(&setup, path, report, err);
    report_unmap(report, 1);
    return status;
}

/* The one call of each child that older containers refuse, since their filters do not know it: every connection would fail by it. */
static enum fp_status try_close_range(struct fp_error *err)
{
    long result = child_close_range(~0U, ~0U);

    if (result >= 0)
        return FP_OK;
    enum fp_status status = error_set(err, error_class((int)-result), (int)-result, "keep",
                                      "the server's descriptors from workers");
    error_hint(err, "close_range(2) is refused, as the seccomp filters of older containers do");
    return status;
}

static void set_templates(struct spawn_plan *plan, const struct config *config)
{
    plan->forks = config->engine == ENGINE_FORK ||
                  (config->engine == ENGINE_POOL && config->pool_start == POOL_START_FORK);
    plan->gate = config->gate;
    plan->template_least = config->templates > 0 ? config->templates : 1;
    plan->template_most = config->templates > 0 ? config->templates : process_cpus(TEMPLATES_AT_ONCE);
    plan->template_connections = config->template_connections;
    plan->template_age_ns = config->template_age_s * SECOND_NS;
    plan->template_start_ns = config->template_start_s * SECOND_NS;
    if (config->engine != ENGINE_POOL)
        return;
    uint32_t most = config->pool_max;
    if (config->pool_min > most && !option_is_given(config, "pool-max"))
        most = config->pool_min;
    /* More than may be served at once would wait for nothing. */
    plan->pool_max = most < config->limits.max ? most : config->limits.max;
    plan->pool_min = config->pool_min < plan->pool_max ? config->pool_min : plan->pool_max;
}

void plan_setup(const struct spawn_plan *plan, const struct spawn_request *request,
                struct child_setup *ret_setup)
{
    *ret_setup = plan->setup;
    ret_setup->socket_fd = request->fd;
    if (plan->stderr_socket)
        ret_setup->stderr_fd = request->fd;
    if (plan->setup.to_log)
        log_socket_number(&ret_setup->log, request->key);
}

enum fp_status plan_init(struct spawn_plan *plan, const struct config *config, const struct spawn_stderr *to,
                         const int *keep, size_t keep_count, struct fp_error *err)
{
    memset(plan, 0, sizeof(*plan));
    plan->resolve = config->resolve;
    set_templates(plan, config);
    plan->stderr_socket = config->worker_stderr == STDERR_SOCKET;
    plan->setup.stderr_fd = to->fd;
    plan->setup.to_log = to->log != NULL;
    if (to->log != NULL)
        log_socket_names(to->log, &plan->setup.log);
    plan->setup.keep = keep;
    plan->setup.keep_count = keep_count;
    plan->setup.default_signals = signals_not_default();
    set_identity(&plan->setup, &config->identity);
    enum fp_status status = try_close_range(err);
    if (status == FP_OK)
        status = environment_init(&plan->environment, environ, err);
    if (status == FP_OK && config->program != NULL)
        status = find_program(plan, config, err);
    if (status == FP_OK)
        status = try_identity(plan, err);
    if (status != FP_OK)
        plan_done(plan);
    return status;
}

const char *plan_template_path(const struct spawn_plan *plan)
{
    return plan->shebang.path != NULL ? plan->shebang.path : plan->path;
}

char *const *plan_template_argv(const struct spawn_plan *plan)
{
    return plan->shebang.path != NULL ? plan->shebang.argv : plan->argv;
}

void plan_done(struct spawn_plan *plan)
{
    shebang_done(&plan->shebang);
    free(plan->path);
    environment_done(&plan->environment);
    memset(plan, 0, sizeof(*plan));
}
