/* SPDX-License-Identifier: MIT */
#include "serve/reaper.h"

#include "base/time.h"
#include "serve/acceptor.h"
#include "serve/account.h"
#include "serve/warm.h"
#include "serve/worker_log.h"
#include "sys/process.h"

#include <stdio.h>
#include <string.h>

/* Children waited for before what they wrote is read. */
#define ENDS_AT_ONCE 16
/* And before all else has its turn: a worker may make children of the server's as fast as they are reaped (CLONE_PARENT). */
#define ENDS_IN_A_TURN 1024
/* After a SIGCHLD of which no child is there: it was looked after already, or somebody else has waited for it. */
#define LOST_NS SECOND_NS
/* How late an end may be seen whose SIGCHLD another thread has taken. */
#define UNTOLD_NS SECOND_NS

struct reaped {
    struct process_end end;
    struct connection *connection; /* NULL: nobody's */
};

/* Said once, not for each connection that meets it; how often it happened meanwhile is said with the next other one. */
static bool log_failure(struct supervisor *supervisor, const struct connection *connection, int step,
                        int errnum)
{
    struct event event = {.kind = EVENT_FAIL};
    char text[256];
    int failure = (int)((unsigned)step << 16 | ((unsigned)errnum & 0xffff));

    if (failure == supervisor->last_failure) {
        supervisor->same_failures++;
        return false;
    }
    account_describe(supervisor, connection, &event);
    EVENT_SET(&event, STEP, step, child_step_name(step));
    const char *error = errnum != 0 ? strerror(errnum) : "the old ones can be had again";
    if (step == CHILD_STEP_PROGRAM) {
        snprintf(text, sizeof(text), "%s: %s", supervisor->plan.path, error);
        error = text;
    }
    EVENT_SET(&event, ERROR, error, error);
    if (supervisor->same_failures != 0)
        EVENT_SET(&event, COUNT, count, supervisor->same_failures);
    supervisor->last_failure = failure;
    supervisor->same_failures = 0;
    supervisor_event(supervisor, &event);
    return true;
}

/* A child that ends as one that could not become a worker, and says so; a worker's own 127 has no report. */
static bool could_not_run(const struct process_end *end, const volatile struct child_report *report)
{
    return !end->signalled && end->code == CHILD_FAILED && report->step != CHILD_STEP_NONE;
}

static void finish(struct supervisor *supervisor, struct connection *connection,
                   const struct process_end *end)
{
    const volatile struct child_report *report = connection_report(&supervisor->connections, connection);

    worker_log_end(supervisor, connection);
    admit_release(&supervisor->admit, connection->source);
    if (could_not_run(end, report)) {
        supervisor->failed++;
        acceptor_back_off(supervisor, log_failure(supervisor, connection, report->step, report->errnum));
    } else {
        supervisor->served++;
        supervisor->last_failure = 0;
    }
    account_end(supervisor, connection, end);
    if (end->signalled)
        engine_worker_signalled(&supervisor->engine, end->code, loop_awake_ns(&supervisor->loop));
    connections_remove(&supervisor->connections, connection);
}

static void drop_foreign(struct connection *connection, void *data)
{
    struct supervisor *supervisor = data;

    if (process_is_child(connection->pid))
        return;
    supervisor_notice(
        supervisor,
        "the process %d of connection #%llu is no child of the server, or was waited for by somebody else",
        (int)connection->pid, (unsigned long long)connection->number);
    worker_log_end(supervisor, connection);
    admit_release(&supervisor->admit, connection->source);
    supervisor->served++;
    connections_remove(&supervisor->connections, connection);
}

void reaper_lost(struct supervisor *supervisor)
{
    connections_each(&supervisor->connections, CONNECTION_RUNNING, drop_foreign, supervisor);
}

static void look_for_lost(void *data)
{
    reaper_lost(data);
    acceptor_update(data);
}

/*
 * As process_reap(). Whose it was is asked at once, and what templates have said of it is heard before: once it was reaped they may
 * tell of a new process with its pid. With no start under way there is nothing to hear.
 */
static int reap(struct supervisor *supervisor, struct reaped *ret_reaped)
{
    pid_t pid = -1;

    if (engine_is_starting(&supervisor->engine)) {
        pid = process_ended();
        if (pid <= 0)
            return pid;
        if (connections_living(&supervisor->connections, pid) == NULL) {
            engine_look_again(&supervisor->engine, pid, 0);
            warm_collect(supervisor);
        }
    }
    int result = process_reap(pid, &ret_reaped->end);
    if (result != 1)
        return result;
    ret_reaped->connection = connections_reap(&supervisor->connections, ret_reaped->end.pid);
    if (ret_reaped->connection == NULL)
        engine_child_ended(&supervisor->engine, &ret_reaped->end, loop_awake_ns(&supervisor->loop));
    return result;
}

/* Some children, as process_reap() of the last one; how many is added to *found. */
static int reap_some(struct supervisor *supervisor, size_t *found)
{
    struct reaped ends[ENDS_AT_ONCE];
    size_t count = 0;
    int result = 1;

    for (size_t i = 0; i < ENDS_AT_ONCE && (result = reap(supervisor, &ends[count])) == 1; i++, ++*found)
        count += ends[count].connection != NULL;
    /* Now that they have ended all that they wrote is there, and the connections know their pids still. */
    worker_log_read(supervisor);
    account_read(supervisor);
    for (size_t i = 0; i < count; i++)
        finish(supervisor, ends[i].connection, &ends[i].end);
    return result;
}

void reaper_run(struct supervisor *supervisor)
{
    size_t found = 0;
    int result;

    do
        result = reap_some(supervisor, &found);
    while (result == 1 && found < ENDS_IN_A_TURN);
    if (result == 1)
        loop_timer_set(&supervisor->loop, &supervisor->reap_again, loop_now_ns(&supervisor->loop) + 1);
    if (supervisor->connections.running == 0)
        loop_timer_clear(&supervisor->loop, &supervisor->lost);
    else if (result < 0)
        reaper_lost(supervisor);
    else if (found == 0 && !supervisor->lost.set)
        loop_timer_set(&supervisor->loop, &supervisor->lost, loop_now_ns(&supervisor->loop) + LOST_NS);
    if (found > 0)
        acceptor_retry(supervisor);
    acceptor_update(supervisor);
}

/* As after a signal: who took it may have waited for the process as well. */
static void look_again(void *data)
{
    reaper_run(data);
}

/*
 * A signal is the process's: a thread that waits for it in sigwait(3), or does not block it, takes it from the server. It may be that of a
 * template, which has a connection that does not run yet.
 */
void reaper_turn(struct supervisor *supervisor)
{
    if (supervisor->connections.slots.live != 0 && !supervisor->reap_again.set && !process_has_one_thread())
        loop_timer_set(&supervisor->loop, &supervisor->reap_again,
                       loop_now_ns(&supervisor->loop) + UNTOLD_NS);
}

void reaper_init(struct supervisor *supervisor)
{
    supervisor->lost = (struct loop_timer){.expired = look_for_lost, .data = supervisor};
    supervisor->reap_again = (struct loop_timer){.expired = look_again, .data = supervisor};
}
