/* SPDX-License-Identifier: MIT
 *
 * spawn/plan.h - everything about a worker that can be known before its connection comes.
 *
 * Made once at start from the configuration, read by the engines, never changed. It finds the program (as execvp(3)
 * would, but once), proves that it can be run, that the identity can be taken on (in a child that tries), and keeps what each child needs as
 * flat values, so that a child has nothing left to find out. Owns its copies, that of the environment too; borrows argv from
 * the configuration. Errors are those of a bad start: FP_NO_INPUT, FP_NOT_PERMITTED, FP_SYSTEM.
 */
#ifndef SPAWN_PLAN_H
#define SPAWN_PLAN_H

#include "config/config.h"
#include "spawn/environment.h"
#include "spawn/shebang.h"

#include <forkport/connection.h>

struct spawn_plan {
    char *path; /* of the program, owned; NULL: a handler */
    char *const *argv;
    struct shebang shebang; /* what a template executes in its place, where it is a script of env */
    fp_handler *handler;
    void *handler_data;
    bool flushes; /* the program runs between two forks, and may leave something in its buffers */
    bool resolve;
    bool forks; /* from templates: the fork engine, and the pool engine where it does */
    int gate;   /* enum template_gate */
    uint32_t template_least;
    uint32_t template_most;
    uint32_t template_connections;
    int64_t template_age_ns;
    int64_t template_start_ns;
    uint32_t pool_min;
    uint32_t pool_max;        /* workers that wait; 0: there is no pool */
    bool stderr_socket;       /* fd 2 is the connection */
    struct child_setup setup; /* as for every child; socket_fd is the connection's */
    struct environment environment;
};

/* What a worker's standard error becomes, unless it is the connection. */
struct spawn_stderr {
    const struct log_socket *log; /* NULL: not the log */
    int fd;                       /* without a log; -1: it stays what it is */
};

/* `keep` are the descriptors that stay open, ascending; all of these stay the caller's. */
enum fp_status plan_init(struct spawn_plan *plan, const struct config *config, const struct spawn_stderr *to,
                         const int *keep, size_t keep_count, struct fp_error *err);
/* The plan's setup with what is this connection's. */
void plan_setup(const struct spawn_plan *plan, const struct spawn_request *request,
                struct child_setup *ret_setup);
/* What a template, or a worker that is executed ahead, executes. */
const char *plan_template_path(const struct spawn_plan *plan);
char *const *plan_template_argv(const struct spawn_plan *plan);
void plan_done(struct spawn_plan *plan);

#endif
