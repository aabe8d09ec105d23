/* SPDX-License-Identifier: MIT */
#include "demux/live_history.h"

enum fp_status live_history_set(struct live_history *history, struct pairs_table *take_table, int64_t from_ns,
                                int64_t to_ns, struct fp_error *err)
{
    struct live_listening next = {.from_ns = from_ns, .to_ns = to_ns};

    enum fp_status status = live_listening_set(&next, &history->now.holders, take_table, err);
    if (status != FP_OK) {
        live_listening_done(&next);
        return status;
    }
    live_listening_done(&history->before);
    history->before = history->now;
    history->now = next;
    return FP_OK;
}

void live_history_change(struct live_history *history, const struct live_change *change)
{
    struct live_change *kept = &history->changes[history->change_count % LIVE_CHANGES];

    if (history->change_count >= LIVE_CHANGES && kept->to_ns > history->forgotten_ns)
        history->forgotten_ns = kept->to_ns;
    *kept = *change;
    history->change_count++;
}

void live_history_expire(struct live_history *history, int64_t before_ns)
{
    if (history->now.to_ns < before_ns)
        live_listening_done(&history->before);
}

void live_history_done(struct live_history *history)
{
    live_listening_done(&history->now);
    live_listening_done(&history->before);
}

static size_t kept_changes(const struct live_history *history)
{
    return history->change_count < LIVE_CHANGES ? (size_t)history->change_count : LIVE_CHANGES;
}

static bool may_have_changed(const struct live_history *history, in_port_t port, int64_t from_ns,
                             int64_t to_ns)
{
    if (history->blind || from_ns <= history->forgotten_ns)
        return true;
    for (size_t i = 0; i < kept_changes(history); i++) {
        const struct live_change *change = &history->changes[i];
        if ((change->port == 0 || change->port == port) && change->to_ns >= from_ns - LIVE_CLOCK_ERROR_NS &&
            change->from_ns <= to_ns + LIVE_CLOCK_ERROR_NS)
            return true;
    }
    return false;
}

static bool holds(const struct live_history *history, const struct live_listening *table, in_port_t port,
                  int64_t time_ns)
{
    return table->demux != NULL &&
           !may_have_changed(history, port, time_ns < table->from_ns ? time_ns : table->from_ns,
                             time_ns > table->to_ns ? time_ns : table->to_ns);
}

bool live_history_is_sure(const struct live_history *history, in_port_t port, int64_t time_ns)
{
    return holds(history, &history->now, port, time_ns) || holds(history, &history->before, port, time_ns);
}

/* By what is known of this one socket: the last change before that time tells, else the first after it. */
static bool may_have_listened(const struct live_history *history, uint64_t cookie, int64_t time_ns)
{
    const struct live_change *last = NULL;
    const struct live_change *next = NULL;

    for (size_t i = 0; i < kept_changes(history); i++) {
        const struct live_change *change = &history->changes[i];
        if (change->cookie != cookie)
            continue;
        if (change->to_ns <= time_ns && (last == NULL || change->to_ns > last->to_ns))
            last = change;
        if (change->to_ns > time_ns && (next == NULL || change->to_ns < next->to_ns))
            next = change;
    }
    return last != NULL ? last->began : next == NULL || !next->began;
}

static bool find_likely(const struct live_history *history, const struct live_listening *table,
                        const struct pair *pair, uint32_t interface, int64_t time_ns,
                        struct live_listener *ret_listener)
{
    return live_listening_find(table, pair, interface, ret_listener) &&
           may_have_listened(history, ret_listener->cookie, time_ns);
}

bool live_history_find(const struct live_history *history, const struct pair *pair, uint32_t interface,
                       int64_t time_ns, struct live_listener *ret_listener)
{
    in_port_t port = pair->local.port;

    if (holds(history, &history->now, port, time_ns))
        return live_listening_find(&history->now, pair, interface, ret_listener);
    if (holds(history, &history->before, port, time_ns))
        return live_listening_find(&history->before, pair, interface, ret_listener);
    /* The last that was read before it is the likeliest. */
    bool now_first = history->now.to_ns <= time_ns;
    const struct live_listening *first = now_first ? &history->now : &history->before;
    const struct live_listening *second = now_first ? &history->before : &history->now;
    return find_likely(history, first, pair, interface, time_ns, ret_listener) ||
           find_likely(history, second, pair, interface, time_ns, ret_listener);
}
