/* SPDX-License-Identifier: MIT
 *
 * spawn/child.h - what a child does between its clone and its program or handler.
 *
 * Runs in the child, which may share the supervisor's memory while the supervisor runs on: child.c may call nothing
 * but sys/child.h, a rule that tools/check-layers holds against its object file. All it needs stands ready in a
 * `struct child_setup`. It fails closed: at the first step that fails, the step and its errno are written to the report, the child
 * ends with CHILD_FAILED and nothing of the worker has run.
 */
#ifndef SPAWN_CHILD_H
#define SPAWN_CHILD_H

#include "sys/child.h"
#include "sys/log_socket.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The exit status of a child that could not become a worker; the report tells it from a worker that exits so. */
#define CHILD_FAILED 127

#define CHILD_STEPS(STEP)                           \
    STEP(NONE, "none")                              \
    STEP(SESSION, "make a session")                 \
    STEP(LOG, "reach the log")                      \
    STEP(DESCRIPTORS, "set up descriptors")         \
    STEP(SIGNALS, "reset signals")                  \
    STEP(GROUPS, "set groups")                      \
    STEP(GROUP, "set the group")                    \
    STEP(USER, "set the user")                      \
    STEP(PRIVILEGES, "give up privileges for good") \
    STEP(PROGRAM, "run the program")

#define STEP(id, text) CHILD_STEP_##id,
enum child_step { CHILD_STEPS(STEP) CHILD_STEP_COUNT };
#undef STEP

/*
 * What a child tells the supervisor, in memory both see. It is read when the child has been reaped. A handler's
 * process could write anything here, so readers check it.
 */
struct child_report {
    int32_t step; /* enum child_step: what failed; NONE: nothing */
    int32_t errnum;
    int64_t bytes_in; /* of the connection, from a handler; -1: unknown */
    int64_t bytes_out;
};

struct child_setup {
    int socket_fd; /* becomes 0 and 1 */
    int stderr_fd; /* becomes 2; -1: stays */
    bool to_log;   /* 2 becomes a socket of its own instead, with these names */
    struct log_socket_names log;
    const int *keep; /* further descriptors that stay open, ascending, each above 2 */
    size_t keep_count;
    uint64_t default_signals; /* bits of the signals to set back to their default */
    bool set_groups;
    bool set_user;
    unsigned uid;
    unsigned gid;
    const unsigned *groups;
    size_t group_count;
    unsigned old_uid; /* that must not be had again */
    unsigned old_gid;
};

/* Makes the calling process what a worker starts as. False: a step failed and is reported. */
bool child_prepare(const struct child_setup *setup, volatile struct child_report *report);

/* Prepares and executes; ends the child where either fails. */
CHILD_NO_RETURN void child_execute(const struct child_setup *setup, const char *path, char *const argv[],
                                   char *const envp[], volatile struct child_report *report);

#endif
