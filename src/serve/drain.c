/* SPDX-License-Identifier: MIT */
#include "serve/drain.h"

#include "base/time.h"
#include "serve/acceptor.h"
#include "serve/reaper.h"
#include "serve/warm.h"
#include "sys/process.h"

/* Between SIGTERM and SIGKILL, and between one SIGKILL and the next. */
#define PATIENCE_NS (5 * SECOND_NS)

static void signal_worker(struct connection *connection, void *data)
{
    const int *number = data;

    process_signal(connection->pid, *number);
}

static void set_timer(struct supervisor *supervisor, int64_t delay_ns)
{
    supervisor->drain_ns = loop_awake_ns(&supervisor->loop) + delay_ns;
    loop_timer_set(&supervisor->loop, &supervisor->drain, loop_now_ns(&supervisor->loop));
}

/* A second at a time: for how long the server was stopped, and workers with it, is seen by how late it comes. */
static bool waits(struct supervisor *supervisor)
{
    struct loop *loop = &supervisor->loop;
    int64_t left_ns = supervisor->drain_ns - loop_awake_ns(loop);

    if (left_ns <= 0)
        return false;
    loop_timer_set(loop, &supervisor->drain, loop_now_ns(loop) + (left_ns < SECOND_NS ? left_ns : SECOND_NS));
    return true;
}

static void begin(struct supervisor *supervisor)
{
    struct event event = {.kind = EVENT_DRAIN};

    supervisor->phase = PHASE_DRAINING;
    acceptor_close(supervisor);
    engine_close(&supervisor->engine);
    EVENT_SET(&event, LIVE, live, admit_live(&supervisor->admit));
    supervisor_event(supervisor, &event);
    set_timer(supervisor, supervisor->config->drain_s * SECOND_NS);
}

void drain_held(struct supervisor *supervisor)
{
    struct connection *connection;

    while ((connection = connections_held(&supervisor->connections)) != NULL) {
        struct event event = {.kind = EVENT_REFUSE};
        EVENT_SET(&event, CONNECTION, connection, connection->number);
        EVENT_SET(&event, PAIR, pair, &connection->pair);
        EVENT_SET(&event, REASON, reason, "server ends");
        supervisor_event(supervisor, &event);
        supervisor->refused++;
        admit_release(&supervisor->admit, connection->source);
        connections_remove(&supervisor->connections, connection);
    }
    loop_timer_clear(&supervisor->loop, &supervisor->retry);
}

static void hurry(struct supervisor *supervisor, enum supervisor_phase phase, int number)
{
    struct event event = {.kind = EVENT_HURRY};

    supervisor->phase = phase;
    acceptor_give_up(supervisor);
    engine_hurry(&supervisor->engine);
    warm_collect(supervisor);
    drain_held(supervisor);
    reaper_lost(supervisor);
    EVENT_SET(&event, SIGNAL, signal, (uint64_t)number);
    EVENT_SET(&event, LIVE, live, admit_live(&supervisor->admit));
    if (admit_live(&supervisor->admit) != 0)
        supervisor_event(supervisor, &event);
    connections_each(&supervisor->connections, CONNECTION_RUNNING, signal_worker, &number);
    set_timer(supervisor, PATIENCE_NS);
}

void drain_step(struct supervisor *supervisor)
{
    switch (supervisor->phase) {
    case PHASE_SERVING:
        begin(supervisor);
        break;
    case PHASE_DRAINING:
        hurry(supervisor, PHASE_TERMINATING, SIGTERM);
        break;
    case PHASE_TERMINATING:
    case PHASE_KILLING:
    case PHASE_LEAVING:
        hurry(supervisor, PHASE_KILLING, SIGKILL);
        break;
    }
}

static void tell_left(struct connection *connection, void *data)
{
    supervisor_notice(data, "the process %d of connection #%llu does not end, and is left",
                      (int)connection->pid, (unsigned long long)connection->number);
}

/* A killed template that does not end may have taken it, or not: it is where nobody else can have it. */
static void tell_not_started(struct connection *connection, void *data)
{
    supervisor_notice(data, "connection #%llu was given to a process that does not end, and is left unserved",
                      (unsigned long long)connection->number);
}

/* SIGKILL is obeyed at once, but for what waits in the kernel for what does not come (a file system, say), or is traced. */
static void time_over(void *data)
{
    struct supervisor *supervisor = data;

    if (waits(supervisor))
        return;
    if (supervisor->phase != PHASE_KILLING) {
        drain_step(supervisor);
        return;
    }
    connections_each(&supervisor->connections, CONNECTION_RUNNING, tell_left, supervisor);
    connections_each(&supervisor->connections, CONNECTION_STARTING, tell_not_started, supervisor);
    supervisor->phase = PHASE_LEAVING;
}

void drain_init(struct supervisor *supervisor)
{
    supervisor->drain.expired = time_over;
    supervisor->drain.data = supervisor;
}
