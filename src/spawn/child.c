/* SPDX-License-Identifier: MIT */
#include "spawn/child.h"

#include "sys/child.h"

static bool failed(volatile struct child_report *report, enum child_step step, long result)
{
    report->errnum = (int32_t)-result;
    report->step = step;
    return false;
}

static long close_others(const struct child_setup *setup)
{
    unsigned first = 3;

    for (size_t i = 0; i < setup->keep_count; i++) {
        unsigned kept = (unsigned)setup->keep[i];
        long result = kept > first ? child_close_range(first, kept - 1) : 0;
        /* A program is to have it as well, however it was opened. */
        if (result >= 0)
            result = child_move(setup->keep[i], setup->keep[i]);
        if (result < 0)
            return result;
        first = kept + 1;
    }
    return child_close_range(first, ~0U);
}

/* The log's socket has the number that the connection had, should it be the last one. */
static long make_log_socket(const struct child_setup *setup)
{
    unsigned old = (unsigned)setup->socket_fd;
    long result = old > 2 ? child_close_range(old, old) : 0;

    return result < 0 ? result : log_socket_make(&setup->log);
}

/* Before the identity changes, since only ours may connect to the log. */
static long set_stderr(const struct child_setup *setup)
{
    long fd = setup->stderr_fd;

    if (setup->to_log)
        fd = make_log_socket(setup);
    else if (fd < 0)
        return 0;
    return fd < 0 ? fd : child_move((int)fd, 2);
}

static long set_connection(const struct child_setup *setup)
{
    long result = child_move(setup->socket_fd, 0);

    return result < 0 ? result : child_move(0, 1);
}

/* 1 is SIGHUP, 2 is SIGINT: a terminal sends them to all of its group, of which the child was one until it had its session. */
#define OF_TERMINAL (UINT64_C(1) << 0 | UINT64_C(1) << 1)

static long reset_signals(uint64_t signals)
{
    child_forget_signals(OF_TERMINAL);
    for (int number = 1; signals != 0; number++, signals >>= 1) {
        if ((signals & 1) == 0)
            continue;
        long result = child_default_signal(number);
        if (result < 0)
            return result;
    }
    return child_set_mask(0);
}

/* That the way back is shut is not believed but tried: a success here is the failure. */
static bool can_regain(const struct child_setup *setup)
{
    if (setup->old_uid != setup->uid && child_try_uid(setup->old_uid) >= 0)
        return true;
    return setup->old_gid != setup->gid && child_try_gid(setup->old_gid) >= 0;
}

/*
 * The kernel empties the sets only on the way from root to another user, and not where the program has asked it to keep them
 * (PR_SET_KEEPCAPS, securebits); a server that is no root may have been given ambient ones. With any of those a worker could be root again.
 */
static bool give_up_privileges(const struct child_setup *setup, volatile struct child_report *report)
{
    long result = child_drop_capabilities();

    if (result >= 0)
        result = child_has_capabilities();
    if (result < 0)
        return failed(report, CHILD_STEP_PRIVILEGES, result);
    if (result > 0 || can_regain(setup))
        return failed(report, CHILD_STEP_PRIVILEGES, 0);
    return true;
}

static bool set_identity(const struct child_setup *setup, volatile struct child_report *report)
{
    long result = 0;

    if (setup->set_groups) {
        result = child_setgroups(setup->group_count, setup->groups);
        if (result < 0)
            return failed(report, CHILD_STEP_GROUPS, result);
        result = child_setresgid(setup->gid);
        if (result < 0)
            return failed(report, CHILD_STEP_GROUP, result);
    }
    if (!setup->set_user)
        return true;
    result = child_setresuid(setup->uid);
    if (result < 0)
        return failed(report, CHILD_STEP_USER, result);
    return setup->uid == 0 || give_up_privileges(setup, report);
}

/*
 * With a session the kernel makes a scheduling group, and whoever leads it has to give way to those that wait for its CPU. So a forked
 * copy makes it before all else, and a program's process after all else (doc/decisions.md) but its user: whoever that is could stop
 * it there, and a stopped child keeps its memory from the next. Hot: all of it lies beside what else a forked copy runs (spawn/handler.c).
 */
__attribute__((hot)) static bool make_session(volatile struct child_report *report)
{
    /* Fails with EPERM for a process that leads a group already, which a new child never does. */
    long result = child_setsid();

    return result >= 0 || failed(report, CHILD_STEP_SESSION, result);
}

__attribute__((hot)) static bool set_up(const struct child_setup *setup, volatile struct child_report *report)
{
    long result = set_connection(setup);

    if (result < 0)
        return failed(report, CHILD_STEP_DESCRIPTORS, result);
    result = set_stderr(setup);
    if (result < 0)
        return failed(report, CHILD_STEP_LOG, result);
    result = close_others(setup);
    return result >= 0 || failed(report, CHILD_STEP_DESCRIPTORS, result);
}

/* The signals last, so that none can act on a child that is half a worker. */
__attribute__((hot)) static bool become_worker(const struct child_setup *setup,
                                               volatile struct child_report *report)
{
    if (!set_identity(setup, report))
        return false;
    long result = reset_signals(setup->default_signals);
    return result >= 0 || failed(report, CHILD_STEP_SIGNALS, result);
}

__attribute__((hot)) bool child_prepare(const struct child_setup *setup, volatile struct child_report *report)
{
    return make_session(report) && set_up(setup, report) && become_worker(setup, report);
}

void child_execute(const struct child_setup *setup, const char *path, char *const argv[], char *const envp[],
                   volatile struct child_report *report)
{
    if (set_up(setup, report) && make_session(report) && become_worker(setup, report))
        failed(report, CHILD_STEP_PROGRAM, child_execve(path, argv, envp));
    child_exit(CHILD_FAILED);
}
