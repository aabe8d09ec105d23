/* SPDX-License-Identifier: MIT */
#include "figures/actor.h"

#include "figures/cast.h"
#include "sys/fd.h"
#include "sys/passing.h"
#include "sys/process.h"
#include "sys/ready.h"
#include "sys/signals.h"

#include <errno.h>

#define REPORT_WAIT_NS INT64_C(2000000000)

/*
 * Signals end whoever tells it, and that ends the actor, in order: it holds copies of the teller's ends of earlier
 * actors' channels, so the last one sees the end of its own first.
 */
__attribute__((noreturn)) static void be_actor(enum actor_kind kind, int channel)
{
    sigset_t old;

    signals_block_all(&old);
    if (kind == ACTOR_SERVER)
        cast_serve(channel);
    else
        cast_connect(channel);
    process_exit(0);
}

enum fp_status actor_start(struct actors *actors, enum actor_kind kind, const struct actor **ret_actor,
                           struct fp_error *err)
{
    FD_AUTO ours = -1;
    FD_AUTO theirs = -1;

    if (passing_open(&ours, &theirs) < 0)
        return error_set(err, FP_SYSTEM, errno, "make", "a channel to a process");
    pid_t pid = process_fork();
    if (pid < 0)
        return error_set(err, FP_SYSTEM, errno, "fork", "a process");
    if (pid == 0) {
        fd_close(fd_take(&ours));
        be_actor(kind, theirs);
    }
    struct actor *actor = &actors->items[actors->count++];
    *actor = (struct actor){.pid = pid, .channel = fd_take(&ours)};
    *ret_actor = actor;
    return FP_OK;
}

enum fp_status actor_tell(const struct actor *actor, enum actor_verb verb, const struct pair *pair,
                          struct fp_error *err)
{
    struct cast_order order = {.verb = verb, .pair = *pair};

    if (fd_write(actor->channel, true, (char *)&order, sizeof(order)) == (ssize_t)sizeof(order))
        return FP_OK;
    return error_set(err, FP_SYSTEM, errno, "tell", "process %d what to do", (int)actor->pid);
}

enum fp_status actor_hear(const struct actor *actor, struct actor_report *ret_report, struct fp_error *err)
{
    struct pollfd waited = {.fd = actor->channel, .events = POLLIN};
    struct actor_report report;
    ssize_t length = -1;

    int ready = ready_wait(&waited, 1, REPORT_WAIT_NS);
    if (ready == 0)
        errno = ETIMEDOUT;
    if (ready > 0)
        length = ready_read(actor->channel, (char *)&report, sizeof(report));
    if (length == (ssize_t)sizeof(report)) {
        *ret_report = report;
        return FP_OK;
    }
    enum fp_status status =
        error_set(err, FP_SYSTEM, length < 0 ? errno : 0, "hear from", "process %d", (int)actor->pid);
    return length < 0 ? status : error_reason(err, status, "it has ended");
}

enum fp_status actor_do(const struct actor *actor, enum actor_verb verb, const struct pair *pair,
                        struct fp_error *err)
{
    struct actor_report report;

    enum fp_status status = actor_tell(actor, verb, pair, err);
    if (status == FP_OK)
        status = actor_hear(actor, &report, err);
    if (status == FP_OK && report.status != FP_OK) {
        *err = report.error;
        return report.status;
    }
    return status;
}

void actor_end_all(struct actors *actors)
{
    for (size_t i = 0; i < actors->count; i++)
        fd_close(actors->items[i].channel);
    for (size_t i = 0; i < actors->count; i++)
        process_wait(actors->items[i].pid);
    actors->count = 0;
}
