/* SPDX-License-Identifier: MIT */
#include "serve/warm.h"

#include "serve/acceptor.h"

static void say(struct supervisor *supervisor, const struct spawn_news *news)
{
    struct event event = {.kind = news->kind == SPAWN_NEWS_POOL ? EVENT_POOL : EVENT_TEMPLATE};

    if (news->kind == SPAWN_NEWS_NOTICE) {
        supervisor_notice(supervisor, "%s", news->text);
        return;
    }
    if (news->pid > 0)
        EVENT_SET(&event, PID, pid, (uint64_t)news->pid);
    EVENT_SET(&event, REASON, reason, news->text);
    if (news->duration_ns >= 0)
        EVENT_SET(&event, DURATION, duration_ns, (uint64_t)news->duration_ns);
    if (news->count >= 0)
        EVENT_SET(&event, WAITING, waiting, (uint64_t)news->count);
    supervisor_event(supervisor, &event);
}

void warm_collect(struct supervisor *supervisor)
{
    struct spawn_outcome outcome;

    while (engine_outcome(&supervisor->engine, loop_awake_ns(&supervisor->loop), &outcome)) {
        struct connection *connection = connections_find_key(&supervisor->connections, outcome.key);
        acceptor_started(supervisor, connection, outcome.pid, outcome.fd);
    }
}

static void look(struct supervisor *supervisor)
{
    struct loop *loop = &supervisor->loop;
    struct spawn_news news;

    engine_turn(&supervisor->engine, loop_awake_ns(loop));
    while (engine_news(&supervisor->engine, &news))
        say(supervisor, &news);
}

static void set_timer(struct supervisor *supervisor, int64_t at_ns)
{
    if (!supervisor->warm.set || supervisor->warm.at_ns != at_ns)
        loop_timer_set(&supervisor->loop, &supervisor->warm, at_ns);
}

void warm_turn(struct supervisor *supervisor)
{
    struct loop *loop = &supervisor->loop;

    if (!engine_is_warm(&supervisor->engine))
        return;
    warm_collect(supervisor);
    if (engine_due_ns(&supervisor->engine) <= loop_awake_ns(loop))
        look(supervisor);
    int64_t due_ns = engine_due_ns(&supervisor->engine);
    if (due_ns == INT64_MAX)
        loop_timer_clear(loop, &supervisor->warm);
    else
        set_timer(supervisor, due_ns + loop_now_ns(loop) - loop_awake_ns(loop));
}

/* What is due is done in the turn that this makes. */
static void due(void *data)
{
    (void)data;
}

void warm_init(struct supervisor *supervisor)
{
    supervisor->warm = (struct loop_timer){.expired = due, .data = supervisor};
}

void warm_done(struct supervisor *supervisor)
{
    loop_timer_clear(&supervisor->loop, &supervisor->warm);
}
